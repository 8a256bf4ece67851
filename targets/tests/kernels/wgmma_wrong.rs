//! What keeps a product of warpgroups right: a kernel that lacks any of it is found out, by the emulator's checker or by its
//! numbers.

use crate::tcgen05::{NVFP4, Product, cases};
use crate::wgmma::Dense;
use crate::wrong::{Kernel, NEVER, PROXY, RACE, Shown};
use tessera_emulator::Swizzle;
use tessera_numerics::ScaleLayout;

/// Of more steps than there are stages, of `n` columns, ragged everywhere.
fn dense_of(n: usize) -> Kernel {
    let product = Dense::plain(9, n, 648);
    let operands = product.operands(|random| random.uniform());
    Kernel::new(&product.case(operands.to_vec()), "sm_90a", 4 * 9 * n)
}

/// Of several tiles.
fn dense() -> Kernel {
    dense_of(130)
}

/// The same of codes, which threads decode.
fn codes_of(n: usize) -> Kernel {
    let product = Product::plain(9, n, 656, NVFP4, ScaleLayout::Linear);
    let (cases, _) = cases(&[product]);
    Kernel::new(&cases[0], "sm_90a", 4 * 9 * n)
}

fn codes() -> Kernel {
    codes_of(130)
}

#[test]
fn a_right_kernel_is_silent_in_a_hundred_orders() {
    dense_of(20).check_silence(100);
}

#[test]
fn a_right_kernel_that_decodes_is_silent_in_a_hundred_orders() {
    codes_of(20).check_silence(100);
}

#[test]
fn what_orders_products_is_found_by_the_checker() {
    let defects = [
        // Registers are not the products' yet; sums are read before they are there; groups have no end.
        (
            "wgmma.fence.sync.aligned;",
            "",
            Shown::Found("were written since the last wgmma.fence", "wgmma.mma_async"),
        ),
        (
            "wgmma.wait_group.sync.aligned 0;",
            "",
            Shown::Found("that is not waited for", "st.global"),
        ),
        (
            "wgmma.commit_group.sync.aligned;",
            "",
            Shown::Found("is not waited for before the CTA's end", "wgmma.mma_async"),
        ),
        // A stage is said to be empty while its products are under way.
        (
            "wgmma.wait_group.sync.aligned 1;",
            "wgmma.wait_group.sync.aligned 2;",
            Shown::Found(RACE, "cp.async.bulk.tensor"),
        ),
        // Stages are full or empty for one arrival more than there is, or before the last.
        (
            "], 1;\n",
            "], 2;\n",
            Shown::Found(NEVER, "mbarrier.try_wait.parity"),
        ),
        (
            "], 4;\n",
            "], 5;\n",
            Shown::Found(NEVER, "mbarrier.try_wait.parity"),
        ),
        (
            "], 4;\n",
            "], 3;\n",
            Shown::Found(RACE, "cp.async.bulk.tensor"),
        ),
        // Other lanes arrive.
        (
            "@arrives",
            "@!arrives",
            Shown::Found(RACE, "cp.async.bulk.tensor"),
        ),
        // Copies are waited for by fewer bytes than come, by more, or not at all.
        (
            "], 9216;",
            "], 9200;",
            Shown::Found(NEVER, "mbarrier.try_wait.parity"),
        ),
        (
            "], 9216;",
            "], 9232;",
            Shown::Found(NEVER, "mbarrier.try_wait.parity"),
        ),
        (
            "mbarrier.arrive.expect_tx",
            "// mbarrier.arrive.expect_tx",
            Shown::Found(NEVER, "mbarrier.try_wait.parity"),
        ),
    ];
    dense().check(&defects);
}

#[test]
fn a_kernel_with_one_defect_is_found_out() {
    let mut kernel = dense();
    // Groups of eight lines 1024 bytes apart, 128 bytes swizzled.
    let own = (0x4000_0040_0001_0000u64).to_string();
    let otherwise_swizzled = (0x8000_0040_0001_0000u64).to_string();
    let apart = (0x4000_0080_0001_0000u64).to_string();
    kernel.check(&[
        (&own, &otherwise_swizzled, Shown::Numbers),
        (
            &own,
            &apart,
            Shown::Found("where no memory is", "wgmma.mma_async"),
        ),
        // Lines are taken for those of rows; sums are not added to; A has another sign.
        (", 1, 1, 1, 0, 0;", ", 1, 1, 1, 1, 0;", Shown::Numbers),
        (", 1, 1, 1, 0, 0;", ", 0, 1, 1, 0, 0;", Shown::Numbers),
        (", 1, 1, 1, 0, 0;", ", 1, -1, 1, 0, 0;", Shown::Numbers),
        // Operands stay out.
        (
            "cp.async.bulk.tensor",
            "// cp.async.bulk.tensor",
            Shown::Found(NEVER, "mbarrier.try_wait.parity"),
        ),
    ]);
    let (_, expected) = kernel.run(&kernel.text, 0);
    kernel.swizzle = Swizzle::None;
    assert_ne!(kernel.run(&kernel.text, 0).1, expected);
}

#[test]
fn a_kernel_that_decodes_with_one_defect_is_found_out() {
    let defects = [
        // What was decoded is not fenced for the matrix unit, or not waited for.
        (
            "fence.proxy.async.shared::cta;",
            "",
            Shown::Found(PROXY, "wgmma.mma_async"),
        ),
        (
            "], 128;\n",
            "], 96;\n",
            Shown::Found(RACE, "wgmma.mma_async"),
        ),
        (
            "], 128;\n",
            "], 129;\n",
            Shown::Found(NEVER, "mbarrier.try_wait.parity"),
        ),
        // A stage is decoded to while products read it.
        (
            "wgmma.wait_group.sync.aligned 1;",
            "wgmma.wait_group.sync.aligned 2;",
            Shown::Found(RACE, "st.shared"),
        ),
        (
            "wgmma.wait_group.sync.aligned 0;",
            "",
            Shown::Found("that is not waited for", "mul.rn.f32"),
        ),
        (
            "wgmma.fence.sync.aligned;",
            "",
            Shown::Found("were written since the last wgmma.fence", "wgmma.mma_async"),
        ),
        ("@arrives", "@!arrives", Shown::Found(RACE, "st.shared")),
    ];
    codes().check(&defects);
    let own = (0x4000_0040_0001_0000u64).to_string();
    let otherwise_swizzled = (0x8000_0040_0001_0000u64).to_string();
    // 2¹²⁶ twice, by which codes' bits are multiplied, and 2¹²⁵.
    let factor = 0x7e80_7e80.to_string();
    let half = 0x7e00_7e00.to_string();
    codes().check(&[
        (&own, &otherwise_swizzled, Shown::Numbers),
        (&factor, &half, Shown::Numbers),
        // Pieces are not exchanged, or codes not multiplied.
        (
            "xor.b32",
            "or.b32",
            Shown::Found(NEVER, "mbarrier.try_wait.parity"),
        ),
        ("mul.rn.bf16x2", "add.rn.bf16x2", Shown::Numbers),
    ]);
}

#[test]
fn swizzled_tiles_that_do_not_begin_at_multiples_of_1024_are_found_out() {
    let moved = |mut kernel: Kernel| {
        kernel.code.shared_bytes += 512;
        kernel
    };
    // Threads swizzle from the tile's beginning on, the matrix unit by addresses.
    moved(codes()).check(&[("_dynamic;", "_dynamic+512;", Shown::Numbers)]);
    // Copies by tensor maps swizzle by addresses too, and begin at multiples of 128.
    moved(dense()).check(&[(
        "_dynamic;",
        "_dynamic+64;",
        Shown::Found("which is no multiple of 128", "cp.async.bulk"),
    )]);
}
