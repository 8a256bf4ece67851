//! Products without block scales on the matrix unit of sm_100a, run in the emulator with its checker on: of bf16 and f16 of
//! both majors, and of codes of eight bits with a scale for the tensor.

use crate::harness::{Case, Random, assert_within_roundings, interpret, loaded, numbers};
use crate::ptx::{assembled, ptx, tools};
use crate::tcgen05::{Product, cases};
use crate::wgmma::{Dense, Unit, check, check_exact, large};
use crate::wrong::{Kernel, NEVER, Shown};
use std::process::Command;
use tessera_emulator::Swizzle;
use tessera_ir::ElementType;
use tessera_numerics::{Format, ScaleLayout};
use tessera_runtime::bundle::CUBIN_FILE;
use tessera_runtime::{Device, RunOptions};

const HALVES: Unit = ["sm_100a", "tcgen05.mma.cta_group::1.kind::f16"];

#[test]
fn operands_stored_along_k() {
    check(
        HALVES,
        &[
            // One row, one column, a part of one step.
            Dense::plain(1, 1, 8),
            Dense::plain(1, 70, 40),
            // Tiles that go beyond the result and beyond K.
            Dense::plain(130, 9, 72),
            Dense::plain(130, 100, 200).of(ElementType::F16),
            // More steps than stages.
            Dense::plain(20, 33, 648),
        ],
    );
}

#[test]
fn operands_stored_along_rows() {
    check(
        HALVES,
        &[
            Dense::plain(8, 64, 33).transposed(0).transposed(1),
            Dense::plain(72, 136, 100).transposed(0).transposed(1),
            Dense::plain(200, 24, 72).transposed(0),
            Dense::plain(24, 200, 72).transposed(1).of(ElementType::F16),
            Dense::plain(40, 1, 8).transposed(0),
        ],
    );
}

#[test]
fn batches_and_more_tiles_than_processors() {
    let product = |lhs, rhs| Dense {
        lhs,
        rhs,
        element: ElementType::Bf16,
    };
    check(
        HALVES,
        &[
            product((&[3, 9, 40], &[0], 2), (&[3, 40, 16], &[0], 1)),
            product((&[2, 11, 3, 8], &[0, 2], 3), (&[2, 13, 3, 8], &[0, 2], 3)),
            // Two or three tiles of three steps, whose stages follow each other, and whose sums take turns.
            product((&[310, 5, 136], &[0], 2), (&[310, 3, 136], &[0], 2)),
        ],
    );
}

#[test]
fn sums_that_are_exact() {
    let products = [
        Dense::plain(300, 520, 96),
        Dense::plain(136, 328, 80).transposed(0).transposed(1),
    ];
    check_exact(HALVES, &products);
}

const FP8: [Format; 2] = [Format::Fp8E4m3, Format::Fp8E5m2];

/// Each of 32 products of an instruction and what was there is cut off 25 bits below the largest, half a rounding, before the
/// sum is, two; then come two for the tensor scales, and the interpreter's one for each term.
#[test]
fn products_of_codes_with_a_scale_for_the_tensor() {
    let plain = |m, n, k, formats| Product::plain(m, n, k, formats, ScaleLayout::Linear);
    let products = [
        plain(1, 3, 8, FP8),
        // Rows that tensor maps reach, and others.
        plain(40, 130, 288, FP8),
        plain(130, 20, 600, [Format::Fp8E5m2; 2]),
        plain(17, 20, 616, [Format::Fp8E4m3; 2]),
    ];
    let (cases, sizes) = cases(&products);
    for case in &cases {
        let text = ptx(std::slice::from_ref(case), "sm_100a");
        assert!(text.contains("kind::f8f6f4"), "{text}");
    }
    let (program, inputs) = loaded(&cases, "sm_100a", &Device::Emulator(None));
    let found = program.run(&inputs, &RunOptions::default()).unwrap();
    for (((product, case), sizes), found) in products.iter().zip(&cases).zip(&sizes).zip(&found) {
        let expected = numbers(&interpret(&case.kernel.body, &case.inputs)[0]);
        let k = product.types()[0].columns();
        let roundings = k.div_ceil(32) as f64 * (33.0 / 2.0 + 2.0) + 2.0 + k as f64;
        assert_within_roundings(
            &numbers(found),
            &expected,
            sizes,
            roundings,
            &product.name(),
        );
    }
}

/// What no copy of eight bytes and no tensor map reaches is left to the warps' units.
#[test]
fn rows_that_are_no_whole_copies() {
    let dense = Dense::plain(64, 64, 33).case(Vec::new());
    let codes = Product::plain(64, 64, 36, FP8, ScaleLayout::Linear).case(Vec::new());
    for case in [dense, codes] {
        let text = ptx(&[case], "sm_100a");
        assert!(
            !text.contains("tcgen05") && text.contains("mma.sync"),
            "{text}"
        );
    }
}

/// Of more steps than there are stages, of several tiles, ragged everywhere.
fn kernel(n: usize) -> Kernel {
    let product = Dense::plain(9, n, 648);
    let operands = product.operands(Random::uniform);
    Kernel::new(&product.case(operands.to_vec()), "sm_100a", 4 * 9 * n)
}

#[test]
fn a_right_kernel_is_silent_in_a_hundred_orders() {
    kernel(20).check_silence(100);
}

#[test]
fn a_kernel_with_one_defect_is_found_out() {
    let mut kernel = kernel(130);
    // Groups of eight lines 1024 bytes apart, 128 bytes swizzled; bf16 into f32, 16 columns.
    let own = (0x4000_4040_0001_0000u64).to_string();
    let otherwise_swizzled = (0x8000_4040_0001_0000u64).to_string();
    let says = |bits: u32| (8 << 24 | 2 << 17 | 1 << 10 | 1 << 7 | 1 << 4 | bits).to_string();
    kernel.check(&[
        (&own, &otherwise_swizzled, Shown::Numbers),
        // A has another sign; B lies across; there are more columns than B has.
        (&says(0), &says(1 << 13), Shown::Numbers),
        (&says(0), &says(1 << 16), Shown::Numbers),
        (
            &says(0),
            &says(1 << 17),
            Shown::Found("where no memory is", "tcgen05.mma"),
        ),
        // Copies are waited for by fewer bytes than come, by more, or not at all; operands stay out.
        (
            "], 18432;",
            "], 18416;",
            Shown::Found(NEVER, "mbarrier.try_wait.parity"),
        ),
        (
            "], 18432;",
            "], 18448;",
            Shown::Found(NEVER, "mbarrier.try_wait.parity"),
        ),
        (
            "mbarrier.arrive.expect_tx",
            "// mbarrier.arrive.expect_tx",
            Shown::Found(NEVER, "mbarrier.try_wait.parity"),
        ),
        (
            "cp.async.bulk.tensor",
            "// cp.async.bulk.tensor",
            Shown::Found(NEVER, "mbarrier.try_wait.parity"),
        ),
        // Stages never become empty; sums are never said to be done, or read before they are there.
        (
            "tcgen05.commit",
            "// tcgen05.commit",
            Shown::Found(NEVER, "mbarrier.try_wait.parity"),
        ),
        // Registers are used before they are loaded; tensor memory is kept.
        (
            "tcgen05.wait::ld.sync.aligned;",
            "",
            Shown::Found("that is not waited for", "st.global"),
        ),
        (
            "tcgen05.dealloc",
            "// tcgen05.dealloc",
            Shown::Found("at the CTA's end", "tcgen05.alloc"),
        ),
        // Stages are full for one arrival more than there is; sums are read for one less.
        (
            "], 1;\n",
            "], 2;\n",
            Shown::Found(NEVER, "mbarrier.try_wait.parity"),
        ),
        (
            "bar.sync \t0;",
            "",
            Shown::Found("was not initialised", "mbarrier.try_wait"),
        ),
    ]);
    let (_, expected) = kernel.run(&kernel.text, 0);
    kernel.swizzle = Swizzle::None;
    assert_ne!(kernel.run(&kernel.text, 0).1, expected);
}

/// Operands of lines of rows: two pieces of 64 rows of A, and one of B.
#[test]
fn a_kernel_of_lines_of_rows_with_one_defect_is_found_out() {
    let product = Dense::plain(72, 200, 648).transposed(0).transposed(1);
    let operands = product.operands(Random::uniform);
    let kernel = Kernel::new(&product.case(operands.to_vec()), "sm_100a", 4 * 72 * 200);
    // Pieces 8192 bytes apart, groups of eight lines 1024.
    let own = (0x4000_4040_0200_0000u64).to_string();
    let nearer = (0x4000_4040_0100_0000u64).to_string();
    let groups_nearer = (0x4000_4020_0200_0000u64).to_string();
    kernel.check(&[
        (&own, &nearer, Shown::Numbers),
        (&own, &groups_nearer, Shown::Numbers),
    ]);
}

#[test]
fn the_assembler_makes_the_instruction_and_spills_nothing() {
    let (Some(assembler), Some(nvdisasm)) = tools() else {
        eprintln!(
            "SKIPPED: no ptxas on PATH, under CUDA_HOME or in a virtual environment, or no nvdisasm beside it"
        );
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("products");
    let codes = Product::plain(1000, 1100, 1120, FP8, ScaleLayout::Linear).case(Vec::new());
    let of_codes: Vec<Case> = vec![codes];
    for target in ["sm_100a", "sm_103a"] {
        for (cases, instruction) in [(&large(), "UTCHMMA"), (&of_codes, "UTCQMMA")] {
            let manifest = assembled(&assembler, cases, target, &bundle);
            for kernel in &manifest.kernels {
                let resources = kernel.code.as_ptx().unwrap().resources.unwrap();
                assert_eq!(
                    resources.spill_store_bytes, 0,
                    "{}: {resources:?}",
                    kernel.name
                );
            }
            let cubin = bundle.join(CUBIN_FILE);
            let output = Command::new(&nvdisasm).arg(cubin).output().unwrap();
            let machine_code = String::from_utf8_lossy(&output.stdout);
            for expected in [instruction, "UTMALDG"] {
                assert!(machine_code.contains(expected), "{target}: no {expected}");
            }
        }
    }
}
