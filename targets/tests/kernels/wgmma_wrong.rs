//! What keeps a product of warpgroups right: a kernel that lacks any of it is found out, by the emulator's checker or by its
//! numbers.

use crate::wgmma::Dense;
use crate::wrong::Kernel;
use tessera_emulator::Swizzle;

/// Of more steps than there are stages, of several tiles, ragged everywhere.
fn dense() -> Kernel {
    let product = Dense::plain(9, 130, 648);
    let operands = product.operands(|random| random.uniform());
    Kernel::new(&product.case(operands.to_vec()), "sm_90a", 4 * 9 * 130)
}

#[test]
fn a_right_kernel_is_silent_in_many_orders() {
    dense().check_silence(20);
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
