//! What keeps attention's kernels right: one that lacks any of it is found out, by the emulator's checker or by its numbers.

use crate::attention::of_many_tiles;
use crate::wrong::{Kernel, RACE, Shown};

#[test]
fn right_kernels_are_silent_in_a_hundred_orders() {
    let (case, bytes) = &of_many_tiles()[0];
    Kernel::new(case, "sm_120a", *bytes).check_silence(100);
}

/// Between staging and multiplying, multiplying and staging, scores and weights, weights and their product.
#[test]
fn every_barrier_is_needed() {
    for (case, bytes) in &of_many_tiles() {
        let kernel = Kernel::new(case, "sm_80", *bytes);
        let (findings, expected) = kernel.run(&kernel.text, 0);
        assert_eq!(findings, []);
        assert!(expected.is_some());
        let barriers: Vec<usize> = (kernel.text.match_indices("bar.sync"))
            .map(|(place, _)| place)
            .collect();
        assert!(barriers.len() >= 3, "{}", kernel.text);
        for (number, &place) in barriers.iter().enumerate() {
            let mut text = kernel.text.clone();
            text.insert_str(place, "// ");
            let is_found = (0..4).any(|seed| {
                let (findings, _) = kernel.run(&text, seed);
                findings
                    .iter()
                    .any(|found| found.kind.to_string().contains(RACE))
            });
            let name = &case.kernel.name;
            assert!(
                is_found,
                "{name} without barrier {number} of {}",
                barriers.len()
            );
        }
    }
}

#[test]
fn a_kernel_with_one_defect_is_found_out() {
    let (case, bytes) = &of_many_tiles()[0];
    Kernel::new(case, "sm_80", *bytes).check(&[
        // Fragments are turned that are not to be, and not those that are.
        ("m8n8.x4.shared", "m8n8.x4.trans.shared", Shown::Numbers),
        ("m8n8.x4.trans.shared", "m8n8.x4.shared", Shown::Numbers),
        // Copies are not waited for.
        (
            "cp.async.wait_group \t0;",
            "cp.async.wait_group \t1;",
            Shown::Found(RACE, "cp.async.cg.shared.global"),
        ),
    ]);
}
