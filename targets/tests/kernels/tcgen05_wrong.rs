//! What keeps a product of the matrix unit right: a kernel that lacks any of it is found out, by the emulator's checker or
//! by its numbers.

use crate::tcgen05::{MXFP4, NVFP4, Product, cases};
use crate::wrong::{Kernel, NEVER, PROXY, RACE, Shown, UNDEFINED};
use tessera_emulator::Swizzle;
use tessera_numerics::{Format, ScaleLayout};

/// Of `n` columns, ragged everywhere, `k` elements summed over.
fn of(formats: [Format; 2], n: usize, k: usize, layout: ScaleLayout) -> Kernel {
    let product = Product::plain(9, n, k, formats, layout);
    let (cases, _) = cases(&[product]);
    Kernel::new(&cases[0], "sm_100a", 4 * 9 * n)
}

/// Of more steps than there are stages, of several tiles.
fn kernel(k: usize) -> Kernel {
    of(NVFP4, 130, k, ScaleLayout::Linear)
}

/// A tile of more steps than there are stages: of 256 elements of FP4, of 128 of FP8.
fn check_silence(formats: [Format; 2], k: usize, layout: ScaleLayout, has_maps: bool) {
    let kernel = of(formats, 20, k, layout);
    assert_eq!(!kernel.code.tensor_maps.is_empty(), has_maps);
    kernel.check_silence(100);
}

#[test]
fn a_right_kernel_of_nvfp4_is_silent_in_a_hundred_orders() {
    check_silence(NVFP4, 1104, ScaleLayout::Linear, false);
    check_silence(NVFP4, 1120, ScaleLayout::Tiled128x4, true);
}

#[test]
fn a_right_kernel_of_mxfp4_is_silent_in_a_hundred_orders() {
    check_silence(MXFP4, 1120, ScaleLayout::Linear, true);
}

#[test]
fn a_right_kernel_of_mxfp8_is_silent_in_a_hundred_orders() {
    check_silence([Format::Mxfp8E4m3; 2], 544, ScaleLayout::Linear, true);
    let mixed = [Format::Mxfp8E5m2, Format::Mxfp4];
    check_silence(mixed, 544, ScaleLayout::Tiled128x4, true);
}

#[test]
fn a_kernel_that_lacks_something_is_found_out() {
    // Rows that are no multiple of 16 bytes are copied by threads.
    let kernel = kernel(1616);
    assert!(kernel.code.tensor_maps.is_empty());
    let swizzled = (0x4000_4040_0001_0000u64).to_string();
    let otherwise_swizzled = (0x8000_4040_0001_0000u64).to_string();
    let scales = (0x0000_4008_0000_0000u64).to_string();
    let other_scales = (0x0000_4010_0000_0000u64).to_string();
    kernel.check(&[
        // Copies are not waited for long enough, or not fenced for the matrix unit.
        (
            "cp.async.wait_group 2;",
            "cp.async.wait_group 3;",
            Shown::Found(RACE, "tcgen05.mma"),
        ),
        (
            "fence.proxy.async.shared::cta;",
            "",
            Shown::Found(PROXY, "tcgen05.cp"),
        ),
        // Stages never become empty; sums are never said to be done.
        (
            "tcgen05.commit",
            "// tcgen05.commit",
            Shown::Found(NEVER, "mbarrier.try_wait.parity"),
        ),
        // Registers are used before they are loaded.
        (
            "tcgen05.wait::ld.sync.aligned;",
            "",
            Shown::Found("that is not waited for", "mul.rn.f32"),
        ),
        // Tensor memory is kept; scales stay where they are; mbarriers expect too few.
        (
            "tcgen05.dealloc",
            "// tcgen05.dealloc",
            Shown::Found("at the CTA's end", "tcgen05.alloc"),
        ),
        (
            "tcgen05.cp",
            "// tcgen05.cp",
            Shown::Found(UNDEFINED, "st.global"),
        ),
        ("], 128;", "], 96;", Shown::Found(RACE, "tcgen05.mma")),
        // Another swizzling; scales read from other rows.
        (&swizzled, &otherwise_swizzled, Shown::Numbers),
        (&scales, &other_scales, Shown::Found(RACE, "tcgen05.cp")),
        // Scales of E4M3 by blocks of 32 have no instruction.
        (
            ".block16 ",
            ".block32 ",
            Shown::Found("has E8M0, 1 in bit 23", ".block32"),
        ),
    ]);
}

#[test]
fn a_kernel_with_wrong_copies_by_tensor_maps_is_found_out() {
    let mut kernel = kernel(1632);
    assert_eq!(kernel.code.tensor_maps.len(), 2);
    // Tiles of 128 and of 16 rows of 128 bytes.
    kernel.check(&[
        // Fewer bytes are waited for, or more than come; or the copies are not waited for at all.
        (
            "], 18432;",
            "], 18304;",
            Shown::Found(NEVER, "mbarrier.try_wait.parity"),
        ),
        (
            "], 18432;",
            "], 18560;",
            Shown::Found(NEVER, "mbarrier.try_wait.parity"),
        ),
        (
            "mbarrier.expect_tx",
            "// mbarrier.expect_tx",
            Shown::Found(NEVER, "mbarrier.try_wait.parity"),
        ),
        // One operand's stay out.
        (
            "cp.async.bulk.tensor.3d",
            "// cp.async.bulk.tensor.3d",
            Shown::Found(NEVER, "mbarrier.try_wait.parity"),
        ),
    ]);
    let (_, expected) = kernel.run(&kernel.text, 0);
    kernel.swizzle = Swizzle::None;
    assert_ne!(kernel.run(&kernel.text, 0).1, expected);
}

#[test]
fn a_right_kernel_that_copies_tiles_of_scales_is_silent_in_twenty_orders() {
    for (formats, n, k) in [(NVFP4, 130, 1376), (MXFP4, 20, 1376), (NVFP4, 256, 96)] {
        let kernel = of(formats, n, k, ScaleLayout::Tiled128x4);
        assert!(kernel.text.contains("cp.async.bulk.shared"));
        kernel.check_silence(20);
    }
}

#[test]
fn a_kernel_with_wrong_copies_of_tiles_of_scales_is_found_out() {
    let kernel = of(NVFP4, 130, 1632, ScaleLayout::Tiled128x4);
    // Of four words of scales a step one tile of the 9 rows, which are B's, and one of 128 columns, A's.
    let never = Shown::Found(NEVER, "mbarrier.try_wait.parity");
    let too_often = Shown::Found("that waits for 0 more arrivals", "mbarrier.arrive");
    kernel.check(&[
        // Fewer bytes are waited for, or more than come; a tile is not whole, or stays out.
        ("], 4096;", "], 3584;", never),
        ("], 4096;", "], 4608;", never),
        ("], 512, [", "], 256, [", never),
        ("cp.async.bulk.shared", "// cp.async.bulk.shared", never),
        // A stage is read before its tiles are there, or filled before it is read.
        ("@%p6 bra \t$L__BB0_21;", "", too_often),
        ("@%p14 bra \t$L__BB0_14;", "", too_often),
        // Tiles of another step, of other rows.
        ("%rd61, %rd76, 11;", "%rd61, %rd76, 10;", Shown::Numbers),
        ("%r120, 13312;", "%r120, 12800;", Shown::Numbers),
    ]);
}

#[test]
fn a_product_that_is_told_something_wrong_is_found_out() {
    let kernel = kernel(1616);
    // 128 rows by 16 columns of codes of FP4, scales of E4M3.
    let own = (8 << 24 | 2 << 17 | 1 << 10 | 1 << 7).to_string();
    let with = |bits: u32| (8 << 24 | 2 << 17 | 1 << 10 | 1 << 7 | bits).to_string();
    let columns = (8 << 24 | 3 << 17 | 1 << 10 | 1 << 7).to_string();
    kernel.check(&[
        // A has another sign, scales another format; there are more columns than B has; another byte of a row's scales is the first.
        (&own, &with(1 << 13), Shown::Numbers),
        (&own, &with(1 << 23), Shown::Numbers),
        (&own, &columns, Shown::Numbers),
        (
            &own,
            &with(1 << 29),
            Shown::Found(
                "selects a multiple of 4 as the first byte of A's",
                "tcgen05.mma",
            ),
        ),
        // B's scales are copied to other columns than they are read from, to some that are not allocated, or from another step.
        (
            "[%r40], %rd57;",
            "[%r41], %rd57;",
            Shown::Found(UNDEFINED, "st.global"),
        ),
        (
            "%r286, 44;",
            "%r286, 64;",
            Shown::Found("no allocation at column", "tcgen05.cp"),
        ),
        ("[%r39], %rd54;", "[%r39], %rd53;", Shown::Numbers),
    ]);
}

#[test]
fn stages_that_are_mistaken_are_found_out() {
    let kernel = kernel(1616);
    kernel.check(&[
        // Threads do not come together; a stage is filled while products read it; sums are read while they are made.
        (
            "bar.sync \t0;",
            "",
            Shown::Found("was not initialised", "mbarrier.try_wait"),
        ),
        (
            "@%p13 bra \t$L__BB0_13;",
            "",
            Shown::Found(RACE, "cp.async"),
        ),
        (
            "@%p11 bra \t$L__BB0_7;",
            "",
            Shown::Found(RACE, "tcgen05.mma"),
        ),
        // Another phase is waited for; stages are further apart than there is memory.
        (
            "shr.u32 \t%r37, %r33, 2;",
            "shr.u32 \t%r37, %r33, 1;",
            Shown::Found(RACE, "cp.async"),
        ),
        (
            "%r195, 22528;",
            "%r195, 45056;",
            Shown::Found("where no memory is", "cp.async"),
        ),
    ]);
}

#[test]
fn swizzled_tiles_that_do_not_begin_at_multiples_of_1024_are_found_out() {
    let moved = |k: usize| {
        let mut kernel = kernel(k);
        kernel.code.shared_bytes += 512;
        kernel
    };
    // Threads swizzle from the tile's beginning on, the matrix unit by addresses.
    moved(1616).check(&[("_dynamic;", "_dynamic+512;", Shown::Found(RACE, "cp.async"))]);
    // Copies by tensor maps swizzle by addresses too, and begin at multiples of 128.
    moved(1632).check(&[(
        "_dynamic;",
        "_dynamic+64;",
        Shown::Found("which is no multiple of 128", "cp.async.bulk"),
    )]);
}
