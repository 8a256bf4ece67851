//! What NVIDIA's assembler says of each instruction that a target has or has not: a small kernel of every one for every
//! target, its outcome recorded in `probes.table`.
//!
//! With `PROBES=record` in the environment the table is written anew.

use crate::ptx::tools;
use std::fmt::Write;
use std::path::Path;
use tessera_targets::nvptx::{Assembler, CAPABILITIES, Feature, GpuTarget};

/// An instruction, the feature that a target has it by, and the statements that hold it. `r` are registers of 32 bits, `d`
/// of 64, `h` of 16, `f` of f32, `p` a predicate, `s` an array in shared memory.
struct Probe {
    name: &'static str,
    feature: Option<Feature>,
    text: &'static str,
}

const fn probe(name: &'static str, feature: Option<Feature>, text: &'static str) -> Probe {
    Probe {
        name,
        feature,
        text,
    }
}

use Feature::{
    AsyncCopy, BlockScaledMmaSync, Clusters, ConvertToE2m1, ConvertToFp8, MmaSync,
    StochasticConversions, Tcgen05, TensorCopies, Wgmma,
};

const PROBES: &[Probe] = &[
    probe(
        "shfl.sync.bfly",
        None,
        "shfl.sync.bfly.b32 r0, r1, 16, 31, -1;",
    ),
    probe(
        "ldmatrix.m8n8.x4.b16",
        Some(MmaSync),
        "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {r0, r1, r2, r3}, [r4];",
    ),
    probe(
        "stmatrix.m8n8.x4.b16",
        Some(Clusters),
        "stmatrix.sync.aligned.m8n8.x4.shared.b16 [r4], {r0, r1, r2, r3};",
    ),
    probe(
        "cp.async.cg.16",
        Some(AsyncCopy),
        "cp.async.cg.shared.global [r0], [d0], 16, r1; cp.async.commit_group; cp.async.wait_group 1;",
    ),
    probe(
        "mma.m16n8k16.bf16",
        Some(MmaSync),
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {f0, f1, f2, f3}, {r0, r1, r2, r3}, {r4, r5}, {f0, f1, f2, f3};",
    ),
    probe(
        "mma.m16n8k16.f16",
        Some(MmaSync),
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {f0, f1, f2, f3}, {r0, r1, r2, r3}, {r4, r5}, {f0, f1, f2, f3};",
    ),
    probe(
        "mma.m16n8k64.mxf4nvf4.4X",
        Some(BlockScaledMmaSync),
        "mma.sync.aligned.m16n8k64.row.col.kind::mxf4nvf4.block_scale.scale_vec::4X.f32.e2m1.e2m1.f32.ue4m3 {f0, f1, f2, f3}, {r0, r1, r2, r3}, {r4, r5}, {f0, f1, f2, f3}, r6, {0, 0}, r7, {0, 0};",
    ),
    probe(
        "mma.m16n8k64.mxf4.2X",
        Some(BlockScaledMmaSync),
        "mma.sync.aligned.m16n8k64.row.col.kind::mxf4.block_scale.scale_vec::2X.f32.e2m1.e2m1.f32.ue8m0 {f0, f1, f2, f3}, {r0, r1, r2, r3}, {r4, r5}, {f0, f1, f2, f3}, r6, {0, 0}, r7, {0, 0};",
    ),
    probe(
        "mma.m16n8k32.mxf8f6f4.1X",
        Some(BlockScaledMmaSync),
        "mma.sync.aligned.m16n8k32.row.col.kind::mxf8f6f4.block_scale.scale_vec::1X.f32.e4m3.e2m1.f32.ue8m0 {f0, f1, f2, f3}, {r0, r1, r2, r3}, {r4, r5}, {f0, f1, f2, f3}, r6, {0, 0}, r7, {0, 0};",
    ),
    probe(
        "barrier.cluster",
        Some(Clusters),
        "barrier.cluster.arrive; barrier.cluster.wait;",
    ),
    probe(
        "mapa.shared::cluster",
        Some(Clusters),
        "mapa.shared::cluster.u32 r0, r1, r2;",
    ),
    probe("elect.sync", Some(Clusters), "elect.sync _|p, -1;"),
    probe(
        "griddepcontrol.wait",
        Some(Clusters),
        "griddepcontrol.wait;",
    ),
    probe(
        "mbarrier.try_wait.parity",
        Some(Clusters),
        "mbarrier.try_wait.parity.shared::cta.b64 p, [r0], r1;",
    ),
    probe(
        "fence.proxy.async",
        Some(TensorCopies),
        "fence.proxy.async.shared::cta;",
    ),
    probe(
        "cp.async.bulk.tensor.2d",
        Some(TensorCopies),
        "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [r0], [d0, {r1, r2}], [r3];",
    ),
    probe(
        "wgmma.m64n8k16.bf16",
        Some(Wgmma),
        "wgmma.fence.sync.aligned; wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {f0, f1, f2, f3}, d0, d1, p, 1, 1, 0, 0; wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;",
    ),
    probe("setmaxnreg", None, "setmaxnreg.inc.sync.aligned.u32 232;"),
    probe(
        "tcgen05.alloc",
        Some(Tcgen05),
        "tcgen05.alloc.cta_group::1.sync.aligned.shared::cta.b32 [r0], 32; tcgen05.relinquish_alloc_permit.cta_group::1.sync.aligned; tcgen05.dealloc.cta_group::1.sync.aligned.b32 r0, 32;",
    ),
    probe(
        "tcgen05.cp.32x128b.warpx4",
        Some(Tcgen05),
        "tcgen05.cp.cta_group::1.32x128b.warpx4 [r0], d0;",
    ),
    probe(
        "tcgen05.ld.32x32b.x16",
        Some(Tcgen05),
        "tcgen05.ld.sync.aligned.32x32b.x16.b32 {r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10, r11, r12, r13, r14, r15}, [r16]; tcgen05.wait::ld.sync.aligned;",
    ),
    probe(
        "tcgen05.mma.f16",
        Some(Tcgen05),
        "tcgen05.mma.cta_group::1.kind::f16 [r0], d0, d1, r1, p;",
    ),
    probe(
        "tcgen05.mma.f8f6f4",
        Some(Tcgen05),
        "tcgen05.mma.cta_group::1.kind::f8f6f4 [r0], d0, d1, r1, p;",
    ),
    probe(
        "tcgen05.mma.i8",
        None,
        "tcgen05.mma.cta_group::1.kind::i8 [r0], d0, d1, r1, p;",
    ),
    probe(
        "tcgen05.mma.mxf8f6f4",
        Some(Tcgen05),
        "tcgen05.mma.cta_group::1.kind::mxf8f6f4.block_scale.block32 [r0], d0, d1, r1, [r2], [r3], p;",
    ),
    probe(
        "tcgen05.mma.mxf4",
        Some(Tcgen05),
        "tcgen05.mma.cta_group::1.kind::mxf4.block_scale.block32 [r0], d0, d1, r1, [r2], [r3], p;",
    ),
    probe(
        "tcgen05.mma.mxf4nvf4",
        Some(Tcgen05),
        "tcgen05.mma.cta_group::1.kind::mxf4nvf4.block_scale.block16 [r0], d0, d1, r1, [r2], [r3], p;",
    ),
    probe(
        "tcgen05.mma.mxf4nvf4 of two CTAs",
        Some(Tcgen05),
        "tcgen05.mma.cta_group::2.kind::mxf4nvf4.block_scale.block16 [r0], d0, d1, r1, [r2], [r3], p;",
    ),
    probe(
        "tcgen05.commit",
        Some(Tcgen05),
        "tcgen05.commit.cta_group::1.mbarrier::arrive::one.shared::cluster.b64 [r0];",
    ),
    probe(
        "cvt.rn.e2m1x2",
        Some(ConvertToE2m1),
        "{ .reg .b8 c; cvt.rn.satfinite.e2m1x2.f32 c, f0, f1; cvt.u16.u8 h0, c; }",
    ),
    probe(
        "cvt.rn.e4m3x2",
        Some(ConvertToFp8),
        "cvt.rn.satfinite.e4m3x2.f32 h0, f0, f1;",
    ),
    probe(
        "cvt.rp.ue8m0x2",
        Some(ConvertToE2m1),
        "cvt.rp.satfinite.ue8m0x2.f32 h0, f0, f1;",
    ),
    probe(
        "cvt.rs.e2m1x4",
        Some(StochasticConversions),
        "cvt.rs.satfinite.e2m1x4.f32 h0, {f0, f1, f2, f3}, r0;",
    ),
];

/// The module of a probe for a target, in the version of PTX that the target's code is written in.
fn module(probe: &Probe, target: GpuTarget) -> String {
    let version = target.capability().ptx_version;
    format!(
        ".version {}.{}\n.target {target}\n.address_size 64\n.visible .entry probe() {{\n\
         .reg .b32 r<32>;\n.reg .b64 d<4>;\n.reg .b16 h<4>;\n.reg .f32 f<8>;\n.reg .pred p;\n\
         .shared .align 1024 .b8 s[1024];\n\
         mov.u32 r0, s;\nmov.u32 r1, s;\nmov.u32 r2, s;\nmov.u32 r3, s;\nmov.u32 r4, s;\n\
         {}\nret;\n}}\n",
        version / 10,
        version % 10,
        probe.text
    )
}

/// A line a probe: its name, and `yes` or `-` for each target.
fn table(outcome: impl Fn(&Probe, GpuTarget) -> bool) -> String {
    let mut text = format!("{:<34}", "");
    for row in &CAPABILITIES {
        let _ = write!(text, "{:>9}", row.name);
    }
    for probe in PROBES {
        let _ = write!(text, "\n{:<34}", probe.name);
        for row in &CAPABILITIES {
            let target = row.name.parse().expect("a row of the table");
            let outcome = if outcome(probe, target) { "yes" } else { "-" };
            let _ = write!(text, "{outcome:>9}");
        }
    }
    text.push('\n');
    text
}

const RECORDED: &str = include_str!("probes.table");

fn assembles(assembler: &Assembler, probe: &Probe, target: GpuTarget) -> bool {
    assembler.assemble(&module(probe, target), target).is_ok()
}

#[test]
fn the_assembler_says_of_every_instruction_what_is_recorded() {
    let (Some(assembler), _) = tools() else {
        eprintln!("SKIPPED: no ptxas on PATH, under CUDA_HOME or in a virtual environment");
        return;
    };
    let found = table(|probe, target| assembles(&assembler, probe, target));
    if std::env::var("PROBES").is_ok_and(|value| value == "record") {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernels/probes.table");
        std::fs::write(path, &found).unwrap();
    }
    assert_eq!(found, RECORDED);
}

/// An instruction that a feature stands for is taken for the targets that have the feature, and for no other.
#[test]
fn a_target_has_a_feature_where_its_instructions_are_taken() {
    let lines: Vec<&str> = RECORDED.lines().skip(1).collect();
    assert_eq!(lines.len(), PROBES.len());
    for (probe, line) in PROBES.iter().zip(lines) {
        let taken = line.strip_prefix(probe.name).expect("a line a probe");
        let taken: Vec<bool> = taken.split_whitespace().map(|word| word == "yes").collect();
        assert!(taken.contains(&true), "{}", probe.name);
        for (row, taken) in CAPABILITIES.iter().zip(taken) {
            if let Some(feature) = probe.feature {
                let has = row.features.contains(&feature);
                assert_eq!(has, taken, "{} on {}", probe.name, row.name);
            }
        }
    }
}

#[test]
fn every_feature_has_a_probe() {
    for feature in Feature::ALL {
        let has = |probe: &&Probe| probe.feature == Some(feature);
        assert!(PROBES.iter().find(has).is_some(), "{feature:?}");
    }
}
