//! What keeps a product of warpgroups right: a kernel that lacks any of it is found out, by the emulator's checker or by its
//! numbers.

use crate::tcgen05::{NVFP4, Product, cases};
use crate::wgmma::Dense;
use crate::wrong::Kernel;
use tessera_emulator::Swizzle;
use tessera_numerics::ScaleLayout;

/// Of more steps than there are stages, of several tiles, ragged everywhere.
fn dense() -> Kernel {
    let product = Dense::plain(9, 130, 648);
    let operands = product.operands(|random| random.uniform());
    Kernel::new(&product.case(operands.to_vec()), "sm_90a", 4 * 9 * 130)
}

/// The same of codes, which threads decode.
fn codes() -> Kernel {
    let product = Product::plain(9, 130, 656, NVFP4, ScaleLayout::Linear);
    let (cases, _) = cases(&[product]);
    Kernel::new(&cases[0], "sm_90a", 4 * 9 * 130)
}

#[test]
fn a_right_kernel_is_silent_in_many_orders() {
    dense().check_silence(20);
    codes().check_silence(20);
}

#[test]
fn what_orders_products_is_found_by_the_checker() {
    let defects = [
        // Registers are not the products' yet; sums are read before they are there; groups have no end.
        ("wgmma.fence.sync.aligned;", ""),
        ("wgmma.wait_group.sync.aligned 0;", ""),
        ("wgmma.commit_group.sync.aligned;", ""),
        // A stage is said to be empty while its products are under way.
        (
            "wgmma.wait_group.sync.aligned 1;",
            "wgmma.wait_group.sync.aligned 2;",
        ),
        // Stages are full or empty for one arrival more than there is, or before the last.
        ("], 1;\n", "], 2;\n"),
        ("], 4;\n", "], 5;\n"),
        ("], 4;\n", "], 3;\n"),
        // Other lanes arrive.
        ("@arrives", "@!arrives"),
        // Copies are waited for by fewer bytes than come, by more, or not at all.
        ("], 9216;", "], 9200;"),
        ("], 9216;", "], 9232;"),
        ("mbarrier.arrive.expect_tx", "// mbarrier.arrive.expect_tx"),
    ];
    assert_eq!(dense().check(&defects), defects.len());
}

#[test]
fn a_kernel_with_one_defect_is_found_out() {
    let mut kernel = dense();
    // Groups of eight lines 1024 bytes apart, 128 bytes swizzled.
    let own = (0x4000_0040_0001_0000u64).to_string();
    let otherwise_swizzled = (0x8000_0040_0001_0000u64).to_string();
    let apart = (0x4000_0080_0001_0000u64).to_string();
    kernel.check(&[
        (&own, &otherwise_swizzled),
        (&own, &apart),
        // Lines are taken for those of rows; sums are not added to; A has another sign.
        (", 1, 1, 1, 0, 0;", ", 1, 1, 1, 1, 0;"),
        (", 1, 1, 1, 0, 0;", ", 0, 1, 1, 0, 0;"),
        (", 1, 1, 1, 0, 0;", ", 1, -1, 1, 0, 0;"),
        // Operands stay out.
        ("cp.async.bulk.tensor", "// cp.async.bulk.tensor"),
    ]);
    let (_, expected) = kernel.run(&kernel.text, 0);
    kernel.swizzle = Swizzle::None;
    assert_ne!(kernel.run(&kernel.text, 0).1, expected);
}

#[test]
fn a_kernel_that_decodes_with_one_defect_is_found_out() {
    let defects = [
        // What was decoded is not fenced for the matrix unit, or not waited for.
        ("fence.proxy.async.shared::cta;", ""),
        ("], 128;\n", "], 96;\n"),
        ("], 128;\n", "], 129;\n"),
        // A stage is decoded to while products read it.
        (
            "wgmma.wait_group.sync.aligned 1;",
            "wgmma.wait_group.sync.aligned 2;",
        ),
        ("wgmma.wait_group.sync.aligned 0;", ""),
        ("wgmma.fence.sync.aligned;", ""),
        ("@arrives", "@!arrives"),
    ];
    assert_eq!(codes().check(&defects), defects.len());
    let own = (0x4000_0040_0001_0000u64).to_string();
    let otherwise_swizzled = (0x8000_0040_0001_0000u64).to_string();
    // 2¹²⁶ twice, by which codes' bits are multiplied, and 2¹²⁵.
    let factor = 0x7e80_7e80.to_string();
    let half = 0x7e00_7e00.to_string();
    codes().check(&[
        (&own, &otherwise_swizzled),
        (&factor, &half),
        // Pieces are not exchanged, or codes not multiplied.
        ("xor.b32", "or.b32"),
        ("mul.rn.bf16x2", "add.rn.bf16x2"),
    ]);
}
