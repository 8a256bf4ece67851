//! Products of pairs of CTAs on the matrix unit of sm_100a, run in the emulator with its checker on: the same bits as a
//! single CTA's, whatever the shape, and what keeps them right.

use crate::epilogues;
use crate::harness::{Case, Random, plan_of};
use crate::ptx::tools;
use crate::tcgen05::{MXFP4, NVFP4, Product, cases};
use crate::wgmma::Dense;
use crate::wrong::{Kernel, NEVER, RACE, Shown, UNDEFINED};
use std::path::Path;
use std::process::Command;
use tessera_ir::{ElementType, Tensor};
use tessera_numerics::{Format, ScaleLayout};
use tessera_runtime::bundle::CUBIN_FILE;
use tessera_runtime::{Bundle, Device, Program, RunOptions};
use tessera_targets::{Options, compile};

/// Cases as a bundle at a path, in tiles of so many rows and columns if these are given.
fn compiled(
    path: &Path,
    cases: &[Case],
    target: &str,
    tile: Option<[u32; 2]>,
    options: Options,
) -> Bundle {
    let plan = plan_of(cases);
    let names = plan.kernels.iter().map(|kernel| kernel.name.clone());
    let options = Options {
        tiles: (names.zip(std::iter::repeat(tile)))
            .filter_map(|(name, tile)| Some((name, tile?)))
            .collect(),
        ..options
    };
    let writer = compile(&plan, &target.parse().unwrap(), &options).unwrap();
    writer.write(path).unwrap();
    Bundle::open(path).unwrap()
}

/// What cases give, all of them products by so many CTAs a cluster.
fn run(cases: &[Case], tile: Option<[u32; 2]>, cluster: u32) -> Vec<Tensor> {
    run_on("sm_100a", cases, tile, cluster)
}

fn run_on(target: &str, cases: &[Case], tile: Option<[u32; 2]>, cluster: u32) -> Vec<Tensor> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("products");
    let bundle = compiled(&path, cases, target, tile, Options::default());
    for kernel in &bundle.manifest().kernels {
        let code = kernel.code.as_ptx().unwrap();
        assert_eq!(code.cluster, [cluster, 1, 1], "{}", kernel.name);
        let made = code.tile.unwrap();
        assert!(tile.is_none_or(|tile| tile == [made.rows, made.columns]));
    }
    let program = Program::load_on(&bundle, &Device::Emulator(None)).unwrap();
    let inputs = cases.iter().flat_map(|case| case.inputs.clone());
    let found = program.run(&inputs.collect::<Vec<_>>(), &RunOptions::default());
    found.unwrap_or_else(|error| panic!("{error}"))
}

/// That pairs of CTAs make the bits that single CTAs make, in tiles of these sides.
fn check_bits(cases: &[Case], single: [u32; 2], pair: [u32; 2]) {
    let expected = run(cases, Some(single), 1);
    let found = run(cases, Some(pair), 2);
    for (number, (expected, found)) in expected.iter().zip(&found).enumerate() {
        assert!(found == expected, "result {number} in tiles of {pair:?}");
    }
}

fn check(products: &[Product], single: [u32; 2], pair: [u32; 2]) {
    check_bits(&cases(products).0, single, pair);
}

/// One row, and one row less or more than a CTA and a pair have; columns that are no multiple of the tile; K of one block,
/// of a part of a step, and of more steps than stages.
const SHAPES: [(usize, usize, usize); 6] = [
    (1, 1, 32),
    (127, 40, 64),
    (129, 70, 224),
    (255, 33, 1120),
    (256, 16, 96),
    (257, 9, 288),
];

fn all(formats: [Format; 2], layout: ScaleLayout) -> [Product; 6] {
    SHAPES.map(|(m, n, k)| Product::plain(m, n, k, formats, layout))
}

#[test]
fn products_of_nvfp4() {
    use ScaleLayout::{Linear, Tiled128x4};
    for layout in [Linear, Tiled128x4] {
        check(&all(NVFP4, layout), [128, 32], [256, 32]);
    }
    // A block of K; the other operand as A; tiles of two tiles of scales; rows that threads copy.
    check(
        &[Product::plain(1, 1, 16, NVFP4, Linear)],
        [128, 32],
        [256, 32],
    );
    check(&all(NVFP4, Linear), [32, 128], [32, 256]);
    check(
        &[Product::plain(300, 200, 80, NVFP4, Linear)],
        [128, 208],
        [256, 256],
    );
    check(
        &[Product::plain(300, 70, 1104, NVFP4, Tiled128x4)],
        [128, 64],
        [256, 96],
    );
}

/// Tiles of scales that each CTA has copied: of B one, two, and of several tiles across.
#[test]
fn products_whose_scales_are_copied_in_whole_tiles() {
    let tiled = |m, n, k| Product::plain(m, n, k, NVFP4, ScaleLayout::Tiled128x4);
    check(
        &[tiled(257, 30, 1376), tiled(1, 1, 32)],
        [128, 32],
        [256, 32],
    );
    check(&[tiled(300, 140, 96)], [128, 160], [256, 160]);
    check(&[tiled(300, 300, 96)], [128, 128], [128, 256]);
    check(&[tiled(300, 300, 96)], [128, 128], [256, 256]);
}

#[test]
fn each_target_of_the_family_has_pairs() {
    let product = Product::plain(257, 20, 80, NVFP4, ScaleLayout::Linear);
    let (cases, _) = cases(&[product]);
    let expected = run(&cases, Some([128, 32]), 1);
    for target in ["sm_100f", "sm_103a"] {
        assert!(
            run_on(target, &cases, Some([256, 32]), 2) == expected,
            "{target}"
        );
    }
}

#[test]
fn products_of_mxfp4() {
    for layout in [ScaleLayout::Linear, ScaleLayout::Tiled128x4] {
        check(&all(MXFP4, layout), [128, 32], [256, 32]);
    }
}

#[test]
fn products_of_eight_six_and_four_bits() {
    use ScaleLayout::{Linear, Tiled128x4};
    let [e4m3, e5m2] = [Format::Mxfp8E4m3, Format::Mxfp8E5m2];
    check(&all([e4m3, e5m2], Linear), [128, 32], [256, 32]);
    let mixed = [
        Product::plain(257, 20, 160, [Format::Mxfp6E3m2, e4m3], Tiled128x4),
        Product::plain(130, 40, 160, [Format::Mxfp4, Format::Mxfp6E2m3], Linear),
    ];
    check(&mixed, [128, 32], [256, 32]);
    let plain = [Format::Fp8E4m3, Format::Fp8E5m2];
    let without_blocks = [(1, 3, 8), (257, 40, 288), (129, 33, 600)]
        .map(|(m, n, k)| Product::plain(m, n, k, plain, Linear));
    check(&without_blocks, [128, 32], [256, 32]);
}

#[test]
fn products_of_16_bits_of_both_majors() {
    let cases = |products: &[Dense]| {
        let case = |own: &Dense| own.case(own.operands(|random| random.uniform() * 2.0).to_vec());
        products.iter().map(case).collect::<Vec<Case>>()
    };
    let along_k = [
        Dense::plain(1, 1, 8),
        Dense::plain(257, 40, 648),
        Dense::plain(129, 70, 72).of(ElementType::F16),
    ];
    check_bits(&cases(&along_k), [128, 32], [256, 32]);
    // Of lines of rows a CTA has a whole one of B: 64 of the columns.
    let across = [
        Dense::plain(264, 136, 100).transposed(0).transposed(1),
        Dense::plain(24, 200, 72).transposed(1).of(ElementType::F16),
    ];
    check_bits(&cases(&across[..1]), [128, 128], [256, 128]);
    check_bits(&cases(&across[1..]), [128, 128], [128, 256]);
}

#[test]
fn products_of_a_batch_whose_tiles_pairs_have_several_of() {
    let product = |lhs, rhs| Product {
        lhs,
        rhs,
        formats: NVFP4,
        layout: ScaleLayout::Linear,
    };
    // Of 150 tiles the first of 74 pairs have three, whose sums take turns; of a row each, and of three steps in four stages.
    let products = [
        product((&[150, 1, 16], 2, &[0]), (&[150, 1, 16], 2, &[0])),
        product((&[76, 1, 528], 2, &[0]), (&[76, 1, 528], 2, &[0])),
    ];
    check(&products, [128, 32], [256, 32]);
}

/// Of 75 tiles a pair has two, whose sums have room for one: tiles of 256 columns.
#[test]
fn sums_of_one_tile_after_the_other() {
    let product = Product {
        lhs: (&[75, 2, 16], 2, &[0]),
        rhs: (&[75, 1, 16], 2, &[0]),
        formats: NVFP4,
        layout: ScaleLayout::Linear,
    };
    check(&[product], [128, 32], [256, 256]);
}

#[test]
fn epilogues_of_pairs() {
    check_bits(&epilogues::kernels_of_pairs(), [32, 128], [32, 256]);
}

/// 74 tiles of 256 rows, as many as a chip of 148 processors has pairs of; in tiles of 128 rows one for each processor.
#[test]
fn pairs_are_chosen_where_they_have_tiles_enough() {
    let batch = |batches: usize, m: usize| Product {
        lhs: (Box::leak(Box::new([batches, m, 16])), 2, &[0]),
        rhs: (Box::leak(Box::new([batches, 16, 16])), 2, &[0]),
        formats: NVFP4,
        layout: ScaleLayout::Linear,
    };
    let (many, _) = cases(&[batch(74, 256)]);
    let chosen = run(&many, None, 2);
    assert!(chosen == run(&many, Some([128, 16]), 1));
    for (batches, m) in [(73, 256), (148, 128)] {
        let case = [batch(batches, m).case(Vec::new())];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("products");
        let bundle = compiled(&path, &case, "sm_100a", None, Options::default());
        let code = bundle.manifest().kernels[0].code.as_ptx().unwrap();
        assert_eq!(code.cluster, [1; 3], "{batches} products of {m} rows");
    }
}

/// Of 257 rows by `n` columns, of `k` elements, in tiles of 256 by 32: the second tile down has a row.
fn kernel(formats: [Format; 2], n: usize, k: usize) -> Kernel {
    with_layout(formats, n, k, ScaleLayout::Linear)
}

/// The same of NVFP4, with scales in the tiles that the matrix unit reads.
fn tiled(n: usize, k: usize) -> Kernel {
    with_layout(NVFP4, n, k, ScaleLayout::Tiled128x4)
}

fn with_layout(formats: [Format; 2], n: usize, k: usize, layout: ScaleLayout) -> Kernel {
    let product = Product::plain(257, n, k, formats, layout);
    let (cases, _) = cases(&[product]);
    Kernel::in_tiles(&cases[0], "sm_100a", 4 * 257 * n, [256, 32])
}

#[test]
fn a_right_pair_is_silent_in_a_hundred_orders() {
    let kernel = kernel(NVFP4, 20, 1120);
    assert_eq!(kernel.code.tensor_maps.len(), 2);
    kernel.check_silence(100);
}

#[test]
fn right_pairs_of_each_kind_are_silent_in_twenty_orders() {
    // Rows that threads copy, too.
    for (formats, k) in [
        (NVFP4, 1104),
        (MXFP4, 1120),
        ([Format::Mxfp8E4m3, Format::Mxfp6E3m2], 544),
        ([Format::Fp8E4m3; 2], 544),
    ] {
        kernel(formats, 20, k).check_silence(20);
    }
    let dense = Dense::plain(264, 72, 328).transposed(0).transposed(1);
    let operands = dense.operands(Random::uniform);
    let case = dense.case(operands.to_vec());
    Kernel::in_tiles(&case, "sm_100a", 4 * 264 * 72, [256, 128]).check_silence(20);
}

#[test]
fn a_right_pair_that_copies_tiles_of_scales_is_silent_in_twenty_orders() {
    tiled(20, 1120).check_silence(20);
}

#[test]
fn a_pair_with_wrong_copies_of_tiles_of_scales_is_found_out() {
    let never = Shown::Found(NEVER, "mbarrier.try_wait.parity");
    tiled(20, 1120).check(&[
        // Of four words of scales a tile of A's rows and one of B's; and the codes of both CTAs.
        ("], 4096;", "], 3584;", never),
        ("], 4096;", "], 4608;", never),
        ("], 512, [", "], 256, [", never),
        ("cp.async.bulk.shared", "// cp.async.bulk.shared", never),
        // The leader is not told that its peer's tiles are there.
        (
            "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%r35];",
            "",
            never,
        ),
    ]);
}

/// All of a cluster's threads come together.
const TOGETHER: &str =
    "barrier.cluster.arrive.release.aligned;\n\tbarrier.cluster.wait.acquire.aligned;";

#[test]
fn a_pair_that_does_not_come_together_is_found_out() {
    let before_the_end = format!(
        "tcgen05.fence::before_thread_sync;\n\t// end inline asm\n\t// begin inline asm\n\t{TOGETHER}"
    );
    let alone = before_the_end.replace(TOGETHER, "bar.sync 0;");
    kernel(NVFP4, 40, 1120).check(&[
        // Before anything is begun, or before CTAs end.
        (TOGETHER, "bar.sync 0;", Shown::Found(RACE, "cp.async.bulk")),
        (
            &before_the_end,
            &alone,
            Shown::Found(
                "none of whose threads waits for it before it ends",
                "mbarrier.arrive",
            ),
        ),
    ]);
}

#[test]
fn what_a_pair_does_not_say_to_both_is_found_out() {
    let never = Shown::Found(NEVER, "mbarrier.try_wait.parity");
    kernel(NVFP4, 40, 1120).check(&[
        // Stages are said to be empty, and sums to be done, to the leader alone, to its peer alone, to a third CTA.
        ("mov.b16 both, 3;", "mov.b16 both, 1;", never),
        ("mov.b16 both, 3;", "mov.b16 both, 2;", never),
        (
            "mov.b16 both, 3;",
            "mov.b16 both, 7;",
            Shown::Found("which the cluster does not have", "tcgen05.commit"),
        ),
        (
            "shared::cluster.multicast::cluster.b64 [%r139], both;",
            "shared::cluster.b64 [%r139];",
            never,
        ),
        (
            "shared::cluster.multicast::cluster.b64 [%r140], both;",
            "shared::cluster.b64 [%r140];",
            never,
        ),
        // Copies arrive at the peer's mbarriers, or at the CTA's own.
        ("%r238, %r236, 0;", "%r238, %r236, 1;", never),
        (
            "complete_tx::bytes.cta_group::2 [",
            "complete_tx::bytes [",
            Shown::Found("in another CTA than its destination", "cp.async.bulk"),
        ),
        // The bytes of one CTA are waited for.
        ("], 36864;", "], 18432;", never),
    ]);
}

#[test]
fn what_a_leader_is_not_told_is_found_out() {
    let never = Shown::Found(NEVER, "mbarrier.try_wait.parity");
    let too_early = Shown::Found(RACE, "tcgen05.cp");
    kernel(NVFP4, 40, 1120).check(&[
        // Its peer does not say that it has filled a stage, says it to itself, or before it is so.
        (
            "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%r70];",
            "",
            never,
        ),
        ("%r70, %r69, 0;", "%r70, %r69, 1;", never),
        ("@%p6 bra \t$L__BB0_81;", "", too_early),
        // It waits for no more than its own threads; what is said is said to one CTA.
        ("], 129;", "], 128;", too_early),
        (".acquire.cluster", ".acquire.cta", too_early),
        (
            "mbarrier.arrive.release.cluster",
            "mbarrier.arrive.release.cta",
            too_early,
        ),
        // Both have products made, and nobody tells.
        ("@%p5 bra \t$L__BB0_91;", "bra \t$L__BB0_91;", never),
        (
            "tcgen05.dealloc.cta_group::2",
            "tcgen05.dealloc.cta_group::1",
            Shown::Found(
                "with .cta_group::1 and with .cta_group::2",
                "tcgen05.dealloc",
            ),
        ),
    ]);
}

/// 149 tiles of 74 pairs, of which the first has three: the third's sums are where the first's were.
#[test]
fn sums_that_are_made_before_both_have_read_are_found_out() {
    let product = Product {
        lhs: (&[149, 1, 16], 2, &[0]),
        rhs: (&[149, 1, 16], 2, &[0]),
        formats: NVFP4,
        layout: ScaleLayout::Linear,
    };
    let (cases, _) = cases(&[product]);
    let kernel = Kernel::in_tiles(&cases[0], "sm_100a", 4 * 149, [256, 32]);
    kernel.check(&[("], 8;", "], 4;", Shown::Found(RACE, "tcgen05.mma"))]);
}

#[test]
fn a_half_that_is_wrong_is_found_out() {
    kernel(NVFP4, 40, 1120).check(&[
        // Of B the other CTA's half.
        (
            "shl.b32 \t%r243, %r224, 4;",
            "xor.b32 \t%r243, %r224, 1;\n\tshl.b32 \t%r243, %r243, 4;",
            Shown::Numbers,
        ),
        // Scales of B from the half's first on; in the leader alone.
        (
            "min.u64 \t%rd97, %rd17, 39;",
            "mad.lo.u64 \t%rd97, %rd4, 16, %rd17;\n\tmin.u64 \t%rd97, %rd97, 39;",
            Shown::Numbers,
        ),
        (
            "st.shared.b32 [%r252], %r253;",
            "{ .reg .pred leads; setp.eq.u32 leads, %r219, 0; @leads st.shared.b32 [%r252], %r253; }",
            Shown::Found(UNDEFINED, "st.global"),
        ),
    ]);
}

/// A product of each kind, large enough for pairs, and what it is in machine code.
fn kinds() -> [(Case, &'static str); 5] {
    let codes =
        |formats| Product::plain(4096, 4096, 1120, formats, ScaleLayout::Linear).case(Vec::new());
    [
        (codes(NVFP4), "UTCOMMA.2CTA"),
        (codes(MXFP4), "UTCOMMA.2CTA"),
        (
            codes([Format::Mxfp6E2m3, Format::Mxfp8E5m2]),
            "UTCQMMA.2CTA",
        ),
        (codes([Format::Fp8E4m3, Format::Fp8E5m2]), "UTCQMMA.2CTA"),
        (
            Dense::plain(4096, 4096, 1120)
                .transposed(0)
                .case(Vec::new()),
            "UTCHMMA.2CTA",
        ),
    ]
}

#[test]
fn the_assembler_makes_instructions_of_pairs_and_spills_nothing() {
    let (Some(assembler), Some(nvdisasm)) = tools() else {
        eprintln!(
            "SKIPPED: no ptxas on PATH, under CUDA_HOME or in a virtual environment, or no nvdisasm beside it"
        );
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("product");
    for target in ["sm_100a", "sm_100f", "sm_103a"] {
        for (case, expected) in kinds() {
            let options = Options {
                assembler: Some(assembler.clone()),
                ..Options::default()
            };
            let bundle = compiled(&path, &[case], target, None, options);
            let code = bundle.manifest().kernels[0].code.as_ptx().unwrap();
            let made = code.tile.unwrap();
            assert_eq!((made.rows, made.columns), (256, 256));
            assert_eq!(code.cluster, [2, 1, 1]);
            let resources = code.resources.unwrap();
            assert_eq!(resources.spill_store_bytes, 0, "{target}: {resources:?}");
            let cubin = path.join(CUBIN_FILE);
            let output = Command::new(&nvdisasm).arg(cubin).output().unwrap();
            let machine_code = String::from_utf8_lossy(&output.stdout);
            let copies = ["UTMALDG", "UTCBAR.2CTA.MULTICAST", "UCGABAR_WAIT"];
            for expected in [&[expected][..], &copies].concat() {
                assert!(machine_code.contains(expected), "{target}: no {expected}");
            }
        }
    }
}

/// What its threads begin and how they wait, in the order of the text.
#[test]
fn a_pair_in_ptx() {
    let text = kernel(NVFP4, 40, 1120).text;
    let shown = [
        "cluster", "tcgen05", "mbarrier", "bulk", "proxy", "mapa", "both",
    ];
    let lines = text
        .lines()
        .filter(|line| shown.iter().any(|word| line.contains(word)));
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
}
