//! What keeps a product of codes on the warps' matrix units right: a kernel that lacks any of it is found out, by the
//! emulator's checker or by its numbers.

use crate::matrix_units::nvfp4;
use crate::wrong::{Kernel, RACE, Shown, UNDEFINED};

/// 16 × 256 by 256 × 32: the kernel whose text is in the snapshot of scaled products on sm_120a, of two steps in as many
/// stages.
fn of_two_steps() -> Kernel {
    Kernel::new(&nvfp4(16, 32, 256), "sm_120a", 4 * 16 * 32)
}

/// Of more steps than there are stages, so that a stage is filled again.
fn of_many_steps() -> Kernel {
    Kernel::new(&nvfp4(33, 40, 1600), "sm_120a", 4 * 33 * 40)
}

#[test]
fn a_right_kernel_is_silent_in_a_hundred_orders() {
    of_two_steps().check_silence(100);
    // Of more steps than there are stages.
    Kernel::new(&nvfp4(17, 24, 1600), "sm_120a", 4 * 17 * 24).check_silence(100);
}

#[test]
fn stages_that_are_read_or_filled_too_early_are_found_by_the_checker() {
    let defects = [
        // Copies are not waited for, or not by all threads.
        (
            "cp.async.wait_group \t",
            "cp.async.wait_group \t1",
            Shown::Found(RACE, "cp.async.cg.shared.global"),
        ),
        ("bar.sync \t0;", "", Shown::Found(RACE, "ldmatrix")),
        (
            "cp.async.commit_group;",
            "",
            Shown::Found(RACE, "cp.async.cg.shared.global"),
        ),
    ];
    of_many_steps().check(&defects);
    of_two_steps().check(&defects);
}

#[test]
fn a_kernel_with_one_defect_is_found_out() {
    let kernel = of_two_steps();
    // The checker finds what never comes, what is out of memory, and the address; the others show in the numbers.
    kernel.check(&[
        // A's codes of the first step never come, or its scales by halves.
        (
            "cp.async.cg.shared.global [%rd24]",
            "// cp.async.cg.shared.global [%rd24]",
            Shown::Found(UNDEFINED, "st.global"),
        ),
        ("[%rd9], [%rd7], 8;", "[%rd9], [%rd7], 4;", Shown::Numbers),
        // The second step's scales come over the first's, or B's codes from a row on.
        (
            "[%rd16], [%rd15], 8;",
            "[%rd9], [%rd15], 8;",
            Shown::Found(RACE, "[%rd9], [%rd15], 8;"),
        ),
        (
            "[%rd13+5120], [%rd14+64]",
            "[%rd13+5120], [%rd14+192]",
            Shown::Numbers,
        ),
        // Out of shared memory, out of the operand, at an address that is no multiple of 16.
        (
            "[%rd13+7680]",
            "[%rd13+20480]",
            Shown::Found(RACE, "[%rd13+20480]"),
        ),
        (
            "[%rd14+64]",
            "[%rd14+8192]",
            Shown::Found("where no memory is", "[%rd14+8192]"),
        ),
        (
            "[%rd54+32]",
            "[%rd54+24]",
            Shown::Found("no multiple of 16", "[%rd54+24]"),
        ),
        // Rows stand at other places than they are read from.
        (
            "mul.wide.u32 \t%rd22, %r11, 80;",
            "mul.wide.u32 \t%rd22, %r11, 64;",
            Shown::Found(UNDEFINED, "st.global"),
        ),
        // The second half of a step is the first once more; the second step is; fragments are turned or change places.
        ("[%rd56+32]", "[%rd56]", Shown::Numbers),
        ("[%rd54+1280]", "[%rd54]", Shown::Numbers),
        ("m8n8.x4.shared", "m8n8.x4.trans.shared", Shown::Numbers),
        ("{%r40, %r41},", "{%r41, %r40},", Shown::Numbers),
        // Scales: of other threads, of B for those of A, of other rows, of another step, of another sort.
        ("{%rs1, %rs2}", "{%rs1, %rs1}", Shown::Numbers),
        ("%r34, {%rs1, %rs1}", "%r33, {%rs1, %rs1}", Shown::Numbers),
        (
            "mul.wide.u32 \t%rd42, %r17, 64;",
            "mul.wide.u32 \t%rd42, %r17, 32;",
            Shown::Numbers,
        ),
        ("[%rd52+512]", "[%rd52]", Shown::Numbers),
        (
            "scale_vec::4X.f32.e2m1.e2m1.f32.ue4m3",
            "scale_vec::2X.f32.e2m1.e2m1.f32.ue8m0",
            Shown::Numbers,
        ),
        // Sums of the first half are left out, or the tensor scale is.
        (
            "{%r45, %r46, %r47, %r48},\n\t\t%r33",
            "{%r44, %r44, %r44, %r44},\n\t\t%r33",
            Shown::Numbers,
        ),
        (
            "mul.rn.f32 \t%r102, %r100, %r101;",
            "mov.b32 \t%r102, %r100;",
            Shown::Numbers,
        ),
        // Rows of the result change places, and threads without a part of it write one.
        ("[%rd62+1024]", "[%rd62+512]", Shown::Numbers),
        (
            "@%p3 bra \t$L__BB0_13;",
            "",
            Shown::Found(RACE, "st.global.v2"),
        ),
    ]);
}
