//! Tensor maps that threads write, `tensormap` in every form (PTX ISA 9.7.9.28, 9.7.13.17), what fences stand between them and
//! copies by them (PTX ISA 9.7.13.4), and Triton's kernel that makes its own, with one thing wrong.

use super::modifiers::row::{Form, forms};
use tessera_emulator::{
    Fill, FindingKind, Global, Launch, Program, Report, Swizzle, TensorElement, TensorMap, launch,
    ptx::Module,
};

/// Fields that become other values.
pub const REPLACES: &[&str] = &[
    "tensormap.replace.tile[.global_address|.global_stride][.global|.shared::cta|].b1024.b64",
    "tensormap.replace.tile[.rank|.box_dim|.global_dim|.element_stride|.elemtype|.interleave_layout|.swizzle_mode\
     |.swizzle_atomicity|.fill_mode][.global|.shared::cta|].b1024.b32",
];

/// Copies of maps, with a release.
pub const COPIES: &[&str] = &[
    "tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release[.cta|.cluster|.gpu|.sys].sync.aligned",
];

const TRITON: &str = include_str!("../kernels/triton_descriptors_sm_90.ptx");

fn all(patterns: &[&str]) -> Vec<Form> {
    patterns.iter().flat_map(|pattern| forms(pattern)).collect()
}

fn map() -> TensorMap {
    TensorMap {
        element: TensorElement::F32,
        address: 0x7f00_0000_1000,
        dimensions: vec![64, 8, 4],
        strides: vec![256, 2048],
        box_dimensions: vec![32, 4, 2],
        swizzle: Swizzle::B128,
        fill: Fill::Zero,
    }
}

/// Executes a body on a map: `%global` holds it and `%shared` a copy, both generic addresses; what both are afterwards.
fn replaced(before: &[u8], body: &str) -> (Report, [Vec<u8>; 2]) {
    let text = format!(
        ".version 8.8\n.target sm_100a\n.address_size 64\n.visible .entry main(.param .u64 p) {{\n\
         .reg .b64 %p, %global, %shared, %x, %at, %to;\n.reg .b32 %i;\n.reg .pred %q;\n\
         .shared .align 128 .b8 own[128];\nld.param.u64 %global, [p];\nmov.u64 %shared, own;\n\
         mov.u32 %i, 0;\nIN:\ncvt.u64.u32 %x, %i;\nadd.u64 %at, %global, %x;\nld.global.u64 %p, [%at];\nadd.u64 %at, %shared, %x;\n\
         st.shared.u64 [%at], %p;\nadd.u32 %i, %i, 8;\nsetp.lt.u32 %q, %i, 128;\n@%q bra IN;\n\
         cvta.shared.u64 %shared, %shared;\n{body}\n\
         mov.u32 %i, 0;\nOUT:\ncvt.u64.u32 %x, %i;\nadd.u64 %at, %shared, %x;\nld.u64 %p, [%at];\nadd.u64 %at, %global, %x;\n\
         st.global.u64 [%at+128], %p;\nadd.u32 %i, %i, 8;\nsetp.lt.u32 %q, %i, 128;\n@%q bra OUT;\nret;\n}}"
    );
    let program = Program::new(&Module::parse(&text).unwrap()).unwrap();
    let mut memory = Global::new();
    let at = memory.allocate_with([before, &[0xee; 128]].concat());
    let report = launch(&program, &mut memory, &Launch::new("main").u64(at)).unwrap();
    let both = memory.read_bytes(at, 256).unwrap();
    (report, [both[..128].to_vec(), both[128..].to_vec()])
}

/// The operands of a replacement, and the map that comes of it: that which has the new value from the beginning.
fn replacement(field: &str) -> (&'static str, TensorMap) {
    let mut map = map();
    let operands = match field {
        "global_address" => {
            map.address = 0x7f00_0000_2000;
            "0x7f0000002000"
        }
        "global_stride" => {
            map.strides[1] = 4096;
            "1, 4096"
        }
        // Of three dimensions, as it was.
        "rank" => "2",
        "box_dim" => {
            map.box_dimensions[2] = 3;
            "2, 3"
        }
        "global_dim" => {
            map.dimensions[0] = 63;
            "0, 63"
        }
        "element_stride" => "1, 1",
        "elemtype" => {
            map.element = TensorElement::S32;
            "3"
        }
        "interleave_layout" => "0",
        "swizzle_mode" => {
            map.swizzle = Swizzle::None;
            "0"
        }
        "swizzle_atomicity" => {
            map.swizzle = Swizzle::B128Atom64;
            "3"
        }
        _ => {
            map.fill = Fill::Nan;
            "1"
        }
    };
    (operands, map)
}

#[test]
fn a_field_becomes_a_value() {
    for form in all(REPLACES) {
        let (operands, after) = replacement(&form.words[3]);
        let (place, is_shared) = match &form.words[4][..] {
            "global" => ("%global", false),
            "shared::cta" => ("own", true),
            _ => ("%shared", true),
        };
        let text = form.text();
        let before = map().encode().unwrap();
        let (report, found) = replaced(&before, &format!("{text} [{place}], {operands};"));
        assert_eq!(report.findings, [], "{text}");
        let after = after.encode().unwrap();
        let expected = if is_shared {
            [before, after]
        } else {
            [after, before]
        };
        assert_eq!(found, expected, "{text}");
    }
}

/// Every number of the types, and of the ways of swizzling, with its meaning.
#[test]
fn the_numbers_of_types_and_swizzles() {
    use TensorElement as E;
    let types = [
        (0, E::U8),
        (1, E::U16),
        (2, E::U32),
        (3, E::S32),
        (4, E::U64),
        (5, E::S64),
        (6, E::F16),
        (7, E::F32),
        (9, E::F64),
        (10, E::Bf16),
        (13, E::U4Align8),
        (14, E::U4Align16),
        (15, E::U6Align16),
    ];
    let plain = TensorMap {
        element: E::U8,
        dimensions: vec![256],
        strides: vec![],
        box_dimensions: vec![128],
        swizzle: Swizzle::None,
        ..map()
    };
    let is = |before: &TensorMap, body: &str, after: &TensorMap| {
        let (report, [found, _]) = replaced(&before.encode().unwrap(), body);
        assert_eq!(report.findings, [], "{body}");
        assert_eq!(found, after.encode().unwrap(), "{body}");
    };
    for (number, element) in types {
        let body = format!("tensormap.replace.tile.elemtype.global.b1024.b32 [%global], {number};");
        let after = TensorMap {
            element,
            ..plain.clone()
        };
        is(&plain, &body, &after);
    }
    let swizzles = [
        (0, 0, Swizzle::None, 32),
        (1, 0, Swizzle::B32, 32),
        (2, 0, Swizzle::B64, 64),
        (3, 0, Swizzle::B128, 128),
        (3, 1, Swizzle::B128Atom32, 128),
        (3, 2, Swizzle::B128Atom32Flip8, 128),
        (3, 3, Swizzle::B128Atom64, 128),
    ];
    for (mode, atomicity, swizzle, bytes) in swizzles {
        let body = format!(
            "tensormap.replace.tile.swizzle_mode.global.b1024.b32 [%global], {mode};\n\
             tensormap.replace.tile.swizzle_atomicity.global.b1024.b32 [%global], {atomicity};"
        );
        let of = |swizzle| TensorMap {
            box_dimensions: vec![bytes],
            swizzle,
            ..plain.clone()
        };
        is(&of(Swizzle::None), &body, &of(swizzle));
    }
}

/// Replacements that make a map of zeros.
fn from_zeros(place: &str, address: &str) -> String {
    let replace = |field: &str, bits: u32, operands: &str| {
        format!("tensormap.replace.tile.{field}.b1024.b{bits} [{place}], {operands};\n")
    };
    [
        replace("global_address", 64, address),
        replace("rank", 32, "1"),
        replace("box_dim", 32, "0, 4"),
        replace("box_dim", 32, "1, 2"),
        replace("global_dim", 32, "0, 4"),
        replace("global_dim", 32, "1, 2"),
        replace("global_stride", 64, "0, 16"),
        replace("element_stride", 32, "0, 1"),
        replace("element_stride", 32, "1, 1"),
        replace("elemtype", 32, "2"),
        replace("interleave_layout", 32, "0"),
        replace("swizzle_mode", 32, "0"),
        replace("fill_mode", 32, "0"),
    ]
    .concat()
}

#[test]
fn zeros_become_a_map() {
    let (report, [found, _]) = replaced(&[0; 128], &from_zeros("%global", "0x7f0000001000"));
    assert_eq!(report.findings, []);
    let expected = TensorMap {
        element: TensorElement::U32,
        dimensions: vec![4, 2],
        strides: vec![16],
        box_dimensions: vec![4, 2],
        swizzle: Swizzle::None,
        ..map()
    };
    assert_eq!(found, expected.encode().unwrap());
}

/// What is found in two warps of one CTA, or of two, under some schedules. The first writes a map and says so by a flag, the
/// second waits for that and copies by it. Of global memory at `%x` 128 bytes are the map, 32 its tensor and 4 the flag.
fn told(is_one_cta: bool, write: &str, before: &str, behind: &str) -> Vec<FindingKind> {
    let text = format!(
        ".version 8.8\n.target sm_100a\n.address_size 64\n.visible .entry main(.param .u64 p) {{\n\
         .reg .b64 %x, %tensor, %y, %own;\n.reg .b32 %t, %c, %w, %f;\n.reg .pred %p;\n.shared .align 128 .b8 own[128];\n\
         .shared .align 128 .b8 box[128];\n.shared .align 8 .b64 object;\n\
         ld.param.u64 %x, [p];\nadd.u64 %tensor, %x, 128;\nadd.u64 %y, %x, 256;\nmov.u32 %t, %tid.x;\nmov.u32 %c, %ctaid.x;\n\
         shr.u32 %w, %t, 5;\nadd.u32 %w, %w, %c;\nand.b32 %t, %t, 31;\nsetp.ne.u32 %p, %w, 0;\n@%p bra COPIES;\n\
         {write}\n{before}\nsetp.ne.u32 %p, %t, 0;\n@!%p st.relaxed.gpu.global.u32 [%x+160], 1;\nbra END;\nCOPIES:\n\
         setp.ne.u32 %p, %t, 0;\n@%p bra END;\nmbarrier.init.shared.b64 [object], 1;\nfence.proxy.async;\n\
         WAIT:\nld.relaxed.gpu.global.u32 %f, [%x+160];\nsetp.eq.u32 %p, %f, 0;\n@%p bra WAIT;\n{behind}\n\
         mbarrier.arrive.expect_tx.shared.b64 _, [object], 32;\n\
         cp.async.bulk.tensor.2d.shared::cta.global.mbarrier::complete_tx::bytes [box], [%x, {{0, 0}}], [object];\n\
         DONE:\nmbarrier.try_wait.parity.shared.b64 %p, [object], 0;\n@!%p bra DONE;\nEND:\nret;\n}}"
    );
    let program = Program::new(&Module::parse(&text).unwrap()).unwrap();
    let mut all = Vec::new();
    for seed in 0..4 {
        let mut memory = Global::new();
        let x = memory.allocate_with(vec![0; 512]);
        let (ctas, threads) = if is_one_cta { (1, 64) } else { (2, 32) };
        let mut grid = Launch::new("main")
            .grid([ctas, 1, 1])
            .block([threads, 1, 1])
            .u64(x);
        grid.seed = seed;
        grid.step_limit = 1 << 16;
        let report = launch(&program, &mut memory, &grid).unwrap();
        all.extend(report.findings.into_iter().map(|finding| finding.kind));
    }
    all
}

const RELEASE: &str = "fence.proxy.tensormap::generic.release.gpu;";
const ACQUIRE: &str = "fence.proxy.tensormap::generic.acquire.gpu [%x], 128;";

#[test]
fn a_map_is_released_and_acquired() {
    let replace = format!(
        "setp.ne.u32 %p, %t, 0;\n@%p bra WROTE;\n{}WROTE:\nbar.warp.sync -1;",
        from_zeros("%x", "%tensor")
    );
    let threads = ["fence.release.gpu;", "fence.acquire.gpu;"];
    let other = "fence.proxy.tensormap::generic.acquire.gpu [%y], 128;\nfence.acquire.gpu;";
    for is_one_cta in [true, false] {
        assert_eq!(told(is_one_cta, &replace, RELEASE, ACQUIRE), []);
        for (before, behind) in [
            (threads[0], ACQUIRE),
            (RELEASE, threads[1]),
            (RELEASE, other),
            // The asynchronous proxy is another one.
            ("fence.proxy.async;\nfence.release.gpu;", ACQUIRE),
        ] {
            let found = told(is_one_cta, &replace, before, behind);
            assert!(!found.is_empty(), "{before} {behind}");
            for kind in found {
                let is_named =
                    matches!(kind, FindingKind::TensorMap { address, .. } if address % 128 == 0);
                assert!(is_named, "{before} {behind}: {kind}");
            }
        }
        // What orders nothing leaves a race.
        let found = told(is_one_cta, &replace, "", "");
        assert!(
            found
                .iter()
                .any(|kind| matches!(kind, FindingKind::Race { .. }))
        );
    }
}

#[test]
fn a_copy_of_a_map_releases_it() {
    let make = format!(
        "setp.ne.u32 %p, %t, 0;\n@%p bra MADE;\nst.shared.v4.b32 [own], {{0, 0, 0, 0}};\n{}\
         MADE:\nbar.warp.sync -1;",
        (1..8)
            .map(|i| format!("st.shared.v4.b32 [own+{}], {{0, 0, 0, 0}};\n", 16 * i))
            .chain([format!(
                "cvta.shared.u64 %own, own;\n{}",
                from_zeros("%own", "%tensor")
            )])
            .collect::<String>()
    )
    .replace(
        "cvta.shared.u64 %own, own;",
        "mov.u64 %own, own;\ncvta.shared.u64 %own, %own;",
    );
    for form in all(COPIES) {
        let copy = format!("{} [%x], [own], 128;", form.text());
        // To who is in its scope.
        let is_one_cta = form.has("cta") || form.has("cluster");
        assert_eq!(told(is_one_cta, &make, &copy, ACQUIRE), [], "{copy}");
        let found = told(is_one_cta, &make, &copy, "fence.acquire.gpu;");
        let is_map = |kind: &FindingKind| matches!(kind, FindingKind::TensorMap { .. });
        assert!(
            !found.is_empty() && found.iter().all(is_map),
            "{copy}: {found:?}"
        );
    }
    // A warp does it as one.
    let copy = COPIES[0].replace("[.cta|.cluster|.gpu|.sys]", ".gpu");
    let alone = replaced(&[0; 128], &format!("{copy} [%global], [own], 128;")).0;
    let kinds = alone.findings.iter().map(|finding| &finding.kind);
    let kinds: Vec<_> = kinds.collect();
    assert!(
        matches!(kinds[..], [FindingKind::Divergence { .. }]),
        "{kinds:?}"
    );
}

#[test]
fn maps_that_no_copy_can_use() {
    let told_by = |replacement: &str| {
        let write = format!(
            "setp.ne.u32 %p, %t, 0;\n@%p bra WROTE;\n{}{replacement}WROTE:\nbar.warp.sync -1;",
            from_zeros("%x", "%tensor")
        );
        told(true, &write, RELEASE, ACQUIRE)[0].to_string()
    };
    let replace = |field: &str, operands: &str| {
        let bits = if field == "global_stride" { 64 } else { 32 };
        told_by(&format!(
            "tensormap.replace.tile.{field}.global.b1024.b{bits} [%x], {operands};\n"
        ))
    };
    let is = |found: String, expected: &str| assert!(found.contains(expected), "{found}");
    is(
        replace("rank", "0"),
        "a tensor of 2 dimensions has a map of 1",
    );
    is(replace("rank", "5"), "the rank: expected 1 to 5, found 6");
    is(
        replace("box_dim", "1, 0"),
        "a length of the box: expected 1 to 256, found 0",
    );
    is(
        replace("box_dim", "1, 65538"),
        "a length of the box: expected 1 to 256, found 65535",
    );
    is(
        replace("global_stride", "0, 20"),
        "a stride: expected a multiple of 16",
    );
    is(
        replace("element_stride", "1, 2"),
        "an element stride: expected 1, found 2",
    );
    is(replace("interleave_layout", "1"), "the interleave layout");
    is(replace("elemtype", "8"), "the type's number");
    is(replace("swizzle_mode", "3"), "expected 128, found 16");
}

/// Sums of two matrices by tiles of 16×32, of which some are partly outside: the kernel makes the three maps.
fn sums(text: &str, seed: u64) -> (Report, Option<Vec<f32>>) {
    let (m, n) = (20, 36);
    let program = Program::new(&Module::parse(text).unwrap()).unwrap();
    let mut memory = Global::new();
    let numbers = |step: f32| -> Vec<u8> {
        (0..m * n)
            .flat_map(|i| (i as f32 * step).to_le_bytes())
            .collect()
    };
    let (a, b) = (
        memory.allocate_with(numbers(1.0)),
        memory.allocate_with(numbers(0.5)),
    );
    let c = memory.allocate(4 * m * n);
    let scratch = memory.allocate(4 * 384);
    let mut grid = Launch::new("descriptors")
        .grid([2, 2, 1])
        .block([128, 1, 1])
        .u64(a)
        .u64(b)
        .u64(c)
        .u32(m as u32)
        .u32(n as u32)
        .u64(scratch)
        .u64(0);
    grid.dynamic_shared = 4096;
    grid.seed = seed;
    grid.step_limit = 1 << 18;
    let report = launch(&program, &mut memory, &grid).unwrap();
    let bytes = memory.read_bytes(c, 4 * m * n).ok();
    let numbers = bytes.map(|bytes| {
        let number = |chunk: &[u8]| f32::from_le_bytes(chunk.try_into().unwrap());
        bytes.chunks_exact(4).map(number).collect()
    });
    (report, numbers)
}

#[test]
fn a_kernel_of_triton_makes_its_maps() {
    for seed in 0..100 {
        let (report, found) = sums(TRITON, seed);
        assert_eq!(report.findings, [], "seed {seed}");
        let expected: Vec<f32> = (0..20 * 36).map(|i| i as f32 * 1.5).collect();
        assert_eq!(found, Some(expected), "seed {seed}");
    }
}

/// A place of the kernel's text that is another one, and what finds it.
#[test]
fn defects_of_that_kernel() {
    let is_map = |kind: &FindingKind| matches!(kind, FindingKind::TensorMap { .. });
    let is_race = |kind: &FindingKind| matches!(kind, FindingKind::Race { .. });
    let is_refused = |kind: &FindingKind| matches!(kind, FindingKind::Refused { .. });
    let is_out = |kind: &FindingKind| matches!(kind, FindingKind::OutOfBounds { .. });
    type Is<'i> = &'i dyn Fn(&FindingKind) -> bool;
    let fence = "@%p2 fence.proxy.tensormap::generic.acquire.gpu [ %rd11 + 0 ], 0x80;";
    let copy = "@%p2 tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.gpu.sync.aligned \
                [ %rd15 + 0 ], [ %rd12 + 0 ], 0x80;";
    let stride =
        "tensormap.replace.tile.global_stride.shared::cta.b1024.b64 [ %rd12 + 0 ], 0x0, %rd14;";
    let rank = "tensormap.replace.tile.rank.shared::cta.b1024.b32 [ %rd7 + 0 ], 0x1;";
    let address =
        "tensormap.replace.tile.global_address.shared::cta.b1024.b64 [ %rd12 + 0 ], %rd13;";
    let defects: [(&str, &str, &str, Is<'_>); 6] = [
        ("no acquire", fence, "", &is_map),
        (
            "an acquire of another map",
            fence,
            &fence.replace("%rd11", "%rd9"),
            &is_map,
        ),
        (
            "no release",
            copy,
            // Lane by lane the same bytes, by ordinary stores.
            "@%p2 ld.shared.u32 %r26, [%r16];\n@%p2 shl.b32 %r50, %r4, 2;\n@%p2 cvt.u64.u32 %rd17, %r50;\n\
             @%p2 add.u64 %rd17, %rd15, %rd17;\n@%p2 st.global.u32 [%rd17], %r26;\nmov.b32 %r26, 0;\ncvta.global.u64 %rd17, %rd11;",
            &is_map,
        ),
        ("rows that lie over each other", stride, "", &is_race),
        (
            "another rank",
            rank,
            &rank.replace("0x1", "0x2"),
            &is_refused,
        ),
        (
            "an address that is not there",
            address,
            &address.replace("%rd13", "%rd12"),
            &is_out,
        ),
    ];
    for (name, from, to, is_found) in defects {
        assert!(TRITON.contains(from), "{name}");
        let text = TRITON.replace(from, to);
        let found = (0..8).flat_map(|seed| sums(&text, seed).0.findings);
        let kinds: Vec<FindingKind> = found.map(|finding| finding.kind).collect();
        assert!(kinds.iter().any(is_found), "{name}: {kinds:?}");
    }
}
