//! What keeps a product of the matrix unit right: a kernel that lacks any of it is found out, by the emulator's checker or
//! by its numbers.

use crate::tcgen05::{NVFP4, Product, cases};
use crate::wrong::Kernel;
use tessera_emulator::Swizzle;
use tessera_numerics::ScaleLayout;

/// Of more steps than there are stages, of several tiles, ragged everywhere, `k` elements summed over.
fn kernel(k: usize) -> Kernel {
    let product = Product::plain(9, 130, k, NVFP4, ScaleLayout::Linear);
    let (cases, _) = cases(&[product]);
    Kernel::new(&cases[0], "sm_100a", 4 * 9 * 130)
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
        ("cp.async.wait_group 2;", "cp.async.wait_group 3;"),
        ("fence.proxy.async.shared::cta;", ""),
        // Stages never become empty; sums are never said to be done.
        ("tcgen05.commit", "// tcgen05.commit"),
        // Registers are used before they are loaded.
        ("tcgen05.wait::ld.sync.aligned;", ""),
        // Tensor memory is kept; scales stay where they are; mbarriers expect too few.
        ("tcgen05.dealloc", "// tcgen05.dealloc"),
        ("tcgen05.cp", "// tcgen05.cp"),
        ("], 128;", "], 96;"),
        // Another swizzling; scales read from other rows.
        (&swizzled, &otherwise_swizzled),
        (&scales, &other_scales),
        // Scales of E4M3 by blocks of 32 have no instruction.
        (".block16 ", ".block32 "),
    ]);
}

#[test]
fn a_kernel_with_wrong_copies_by_tensor_maps_is_found_out() {
    let mut kernel = kernel(1632);
    assert_eq!(kernel.code.tensor_maps.len(), 2);
    // Tiles of 128 and of 16 rows of 128 bytes.
    kernel.check(&[
        // Fewer bytes are waited for, or more than come; or the copies are not waited for at all.
        ("], 18432;", "], 18304;"),
        ("], 18432;", "], 18560;"),
        ("mbarrier.expect_tx", "// mbarrier.expect_tx"),
        // One operand's stay out.
        ("cp.async.bulk.tensor.3d", "// cp.async.bulk.tensor.3d"),
    ]);
    let (_, expected) = kernel.run(&kernel.text, 0);
    kernel.swizzle = Swizzle::None;
    assert_ne!(kernel.run(&kernel.text, 0).1, expected);
}
