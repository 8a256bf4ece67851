//! Boxes of tensors in shared and global memory: every mode against its definition, a pipeline of nvcc, and that with one
//! thing wrong.

use super::asynchronous::{Case, is_race, to_bytes, words};
use tessera_emulator::{
    Awaited, Fill, FindingKind, Global, Launch, Program, Report, Swizzle, TensorElement, TensorMap,
    launch, ptx::Module,
};

const TEXT: &str = include_str!("../kernels/tensor.ptx");

/// Runs a kernel of one thread in each of some CTAs, a cluster, on a tensor map: `own` is shared memory aligned to 1024,
/// `%rd1` the map's address, `%rd2` that of 8 KiB of global memory, which are given afterwards.
pub fn run(map: [u8; 128], memory: &mut Global, body: &str, ctas: u32) -> (Report, Vec<u8>) {
    let text = format!(
        ".version 8.7\n.target sm_100a\n.address_size 64\n\
         .visible .entry main(.param .align 64 .b8 map[128], .param .u64 p) {{\n\
         .reg .pred %p<8>;\n.reg .b16 %rs<4>;\n.reg .b32 %r<16>;\n.reg .b64 %rd<16>;\n\
         .shared .align 1024 .b8 own[8192];\n.shared .align 8 .b64 object;\n\
         mov.b64 %rd3, map;\ncvta.param.u64 %rd1, %rd3;\nld.param.u64 %rd2, [p];\nmov.u32 %r1, %cluster_ctarank;\n\
         {body}\nret;\n}}"
    );
    let program = Program::new(&Module::parse(&text).unwrap()).unwrap();
    let results = memory.allocate_with(vec![0xee; 8192]);
    let mut grid = Launch::new("main")
        .grid([ctas, 1, 1])
        .cluster([ctas, 1, 1])
        .bytes(map.to_vec())
        .u64(results);
    grid.step_limit = 1 << 16;
    let report = launch(&program, memory, &grid).unwrap();
    (report, memory.read_bytes(results, 8192).unwrap_or_default())
}

/// Shared memory behind the load of a box: what nobody wrote is 0xcd.
fn load(map: &TensorMap, memory: &mut Global, coordinates: &[i32]) -> Vec<u8> {
    let rank = coordinates.len();
    let at: Vec<String> = coordinates.iter().map(ToString::to_string).collect();
    let bytes = map.box_bytes();
    let body = format!(
        "mbarrier.init.shared.b64 [object], 1;\nmov.u32 %r2, 0;\nmov.u32 %r3, 0xcdcdcdcd;\n\
         F:\nst.shared.u32 [%r2], %r3;\nadd.u32 %r2, %r2, 4;\nsetp.lt.u32 %p1, %r2, 8192;\n@%p1 bra F;\n\
         fence.proxy.async;\nmbarrier.arrive.expect_tx.shared.b64 _, [object], {bytes};\n\
         cp.async.bulk.tensor.{rank}d.shared::cta.global.tile.mbarrier::complete_tx::bytes \
         [own], [%rd1, {{{at}}}], [object];\n\
         W:\nmbarrier.try_wait.parity.shared.b64 %p1, [object], 0;\n@!%p1 bra W;\nmov.u32 %r2, 0;\n\
         C:\nld.shared.u32 %r3, [%r2];\ncvt.u64.u32 %rd4, %r2;\nadd.u64 %rd4, %rd2, %rd4;\nst.global.u32 [%rd4], %r3;\n\
         add.u32 %r2, %r2, 4;\nsetp.lt.u32 %p1, %r2, 8192;\n@%p1 bra C;",
        at = at.join(", ")
    );
    let (report, bytes) = run(map.encode().unwrap(), memory, &body, 1);
    assert_eq!(report.findings, []);
    bytes
}

/// A tensor of random bytes: its dimensions in numbers, rows of a multiple of 64 bytes.
pub fn tensor(
    element: TensorElement,
    dimensions: &[u64],
    lengths: &[u32],
) -> (TensorMap, Global, Vec<u8>) {
    let mut strides = vec![(dimensions[0] * element.bits() / 8).next_multiple_of(64) + 64];
    for i in 1..dimensions.len() {
        strides.push(strides[i - 1] * dimensions[i] + 32);
    }
    let size = strides.pop().unwrap();
    let content: Vec<u8> = words(size as usize, 1)
        .iter()
        .map(|word| (word >> 9) as u8)
        .collect();
    let mut memory = Global::new();
    let map = TensorMap {
        element,
        address: memory.allocate_with(content.clone()),
        dimensions: dimensions.to_vec(),
        strides,
        box_dimensions: lengths.to_vec(),
        swizzle: Swizzle::None,
        fill: Fill::Zero,
    };
    (map, memory, content)
}

/// The number at some coordinates, of whole bytes; nothing outside.
fn number(map: &TensorMap, content: &[u8], at: &[i64]) -> Option<Vec<u8>> {
    let inside = at
        .iter()
        .zip(&map.dimensions)
        .all(|(&at, &n)| at >= 0 && (at as u64) < n);
    let bytes = map.element.bits() as usize / 8;
    let strides = std::iter::once(bytes as u64).chain(map.strides.iter().copied());
    let place: i64 = at
        .iter()
        .zip(strides)
        .map(|(&at, stride)| at * stride as i64)
        .sum();
    inside.then(|| content[place as usize..][..bytes].to_vec())
}

/// A box by its definition: numbers one behind the other, the innermost dimension first.
pub fn expected(map: &TensorMap, content: &[u8], from: &[i32], outside: &[u8]) -> Vec<u8> {
    let count: u32 = map.box_dimensions.iter().product();
    let mut bytes = Vec::new();
    for i in 0..count {
        let mut left = i;
        let at: Vec<i64> = from
            .iter()
            .zip(&map.box_dimensions)
            .map(|(&from, &length)| {
                let own = left % length;
                left /= length;
                i64::from(from) + i64::from(own)
            })
            .collect();
        bytes.extend(number(map, content, &at).unwrap_or(outside.to_vec()));
    }
    bytes
}

#[test]
fn boxes_of_one_to_five_dimensions() {
    let dimensions = [21, 6, 5, 4, 3];
    let lengths = [8, 4, 3, 2, 2];
    for rank in 1..=5 {
        let (map, mut memory, content) =
            tensor(TensorElement::U32, &dimensions[..rank], &lengths[..rank]);
        for from in [
            [3, 1, 1, 1, 0],
            [-3, -1, 2, -1, 1],
            [16, 4, 4, 3, 2],
            [100, 0, 0, 0, 0],
        ] {
            let from = &from[..rank];
            let found = load(&map, &mut memory, from);
            let expected = expected(&map, &content, from, &[0; 4]);
            assert_eq!(found[..expected.len()], expected, "{from:?}");
            assert!(found[expected.len()..].iter().all(|&byte| byte == 0xcd));
        }
    }
}

#[test]
fn numbers_of_every_size() {
    for element in [
        TensorElement::U8,
        TensorElement::U16,
        TensorElement::S32,
        TensorElement::U64,
        TensorElement::F64,
    ] {
        let (map, mut memory, content) = tensor(element, &[37, 5], &[16, 4]);
        let outside = vec![0; element.bits() as usize / 8];
        let found = load(&map, &mut memory, &[29, -1]);
        let expected = expected(&map, &content, &[29, -1], &outside);
        assert_eq!(found[..expected.len()], expected, "{element:?}");
    }
}

#[test]
fn what_is_outside_may_be_nan() {
    for (element, nan) in [
        (TensorElement::F16, vec![0xff, 0x7f]),
        (TensorElement::Bf16, vec![0xff, 0x7f]),
        (TensorElement::F32, vec![0xff, 0xff, 0xff, 0x7f]),
    ] {
        let (mut map, mut memory, content) = tensor(element, &[21, 5], &[8, 4]);
        map.fill = Fill::Nan;
        let found = load(&map, &mut memory, &[17, 2]);
        let expected = expected(&map, &content, &[17, 2], &nan);
        assert_eq!(found[..expected.len()], expected);
    }
}

#[test]
fn swizzled_boxes() {
    // The place of a byte: which bits of a row of 128 bytes are added to which of the place in it.
    type Place = fn(usize) -> usize;
    let modes: [(Swizzle, u32, Place); 6] = [
        (Swizzle::B32, 32, |i| i ^ (i / 128 % 2 * 16)),
        (Swizzle::B64, 64, |i| i ^ (i / 128 % 4 * 16)),
        (Swizzle::B128, 128, |i| i ^ (i / 128 % 8 * 16)),
        (Swizzle::B128Atom32, 128, |i| i ^ (i / 128 % 4 * 32)),
        (Swizzle::B128Atom32Flip8, 128, |i| {
            i ^ (i / 128 % 4 * 32) ^ (i / 128 % 2 * 8)
        }),
        (Swizzle::B128Atom64, 128, |i| i ^ (i / 128 % 2 * 64)),
    ];
    for (swizzle, span, place) in modes {
        let (mut map, mut memory, content) =
            tensor(TensorElement::U16, &[150, 40], &[span / 2, 20]);
        map.swizzle = swizzle;
        let found = load(&map, &mut memory, &[100, 3]);
        let plain = expected(&map, &content, &[100, 3], &[0; 2]);
        for (i, &byte) in plain.iter().enumerate() {
            assert_eq!(found[place(i)], byte, "{swizzle:?} byte {i}");
        }
    }
}

#[test]
fn numbers_of_four_and_six_bits() {
    // Packed in both memories.
    let (map, mut memory, content) = tensor(TensorElement::U4Align8, &[70, 5], &[32, 2]);
    let found = load(&map, &mut memory, &[54, 3]);
    for row in 0..2 {
        for i in 0..16 {
            let inside = 54 + 2 * i < 70;
            let byte = content[(3 + row) * map.strides[0] as usize + 27 + i];
            assert_eq!(found[16 * row + i], if inside { byte } else { 0 });
        }
    }
    // Packed in global memory; 16 bytes for each 16 numbers in shared memory.
    for (element, bytes) in [
        (TensorElement::U4Align16, 8),
        (TensorElement::U6Align16, 12),
    ] {
        let (mut map, mut memory, content) = tensor(element, &[256, 3], &[128, 2]);
        map.swizzle = Swizzle::B128;
        let found = load(&map, &mut memory, &[128, 1]);
        for row in 0..2 {
            for i in 0..128 {
                let (group, own) = (i / 16, i % 16);
                let place = 128 * row + 16 * (group ^ row) + own;
                let byte = content
                    [(1 + row) * map.strides[0] as usize + 8 * bytes + group * bytes + own % bytes];
                assert_eq!(
                    found[place],
                    if own < bytes { byte } else { 0xcd },
                    "{element:?} {row} {i}"
                );
            }
        }
    }
}

#[test]
fn stores_leave_out_what_is_outside_and_reductions_add() {
    for (operation, reduce) in [("", ""), (".add", "reduce."), (".min", "reduce.")] {
        let (map, mut memory, content) = tensor(TensorElement::U32, &[21, 6], &[8, 4]);
        let body = format!(
            "mov.u32 %r2, 0;\nF:\nst.shared.u32 [%r2], %r2;\nadd.u32 %r2, %r2, 4;\nsetp.lt.u32 %p1, %r2, 128;\n@%p1 bra F;\n\
             fence.proxy.async;\n\
             cp.{reduce}async.bulk.tensor.2d.global.shared::cta{operation}.tile.bulk_group [%rd1, {{-2, 4}}], [own];\n\
             cp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;"
        );
        let (report, _) = run(map.encode().unwrap(), &mut memory, &body, 1);
        assert_eq!(report.findings, []);
        let size = content.len();
        let found = memory.read_bytes(map.address, size).unwrap();
        let mut expected = content.clone();
        for (row, column) in [4, 5]
            .into_iter()
            .flat_map(|row| (0..6).map(move |column| (row, column)))
        {
            let place = row * map.strides[0] as usize + 4 * column;
            let moved = 32 * (row as u32 - 4) + 4 * (column as u32 + 2);
            let old = u32::from_le_bytes(content[place..place + 4].try_into().unwrap());
            let new = match operation {
                ".add" => old.wrapping_add(moved),
                ".min" => old.min(moved),
                _ => moved,
            };
            expected[place..place + 4].copy_from_slice(&new.to_le_bytes());
        }
        assert_eq!(found, expected, "{operation}");
    }
}

#[test]
fn a_box_for_several_ctas() {
    let (map, mut memory, content) = tensor(TensorElement::U32, &[21, 6], &[4, 1]);
    let body = "mbarrier.init.shared.b64 [object], 1;\nmbarrier.arrive.expect_tx.shared.b64 _, [object], 16;\n\
                fence.mbarrier_init.release.cluster;\nbarrier.cluster.arrive;\nbarrier.cluster.wait;\n\
                setp.eq.u32 %p1, %r1, 1;\nmov.b16 %rs1, 3;\n\
                @%p1 cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster\
                .L2::cache_hint [own], [%rd1, {5, 2}], [object], %rs1, %rd1;\n\
                W:\nmbarrier.try_wait.parity.shared.b64 %p2, [object], 0;\n@!%p2 bra W;\n\
                ld.shared.u32 %r3, [own];\nmul.wide.u32 %rd4, %r1, 4;\nadd.u64 %rd4, %rd2, %rd4;\n\
                st.global.u32 [%rd4], %r3;\nbarrier.cluster.arrive;\nbarrier.cluster.wait;";
    let (report, found) = run(map.encode().unwrap(), &mut memory, body, 2);
    assert_eq!(report.findings, []);
    let number = number(&map, &content, &[5, 2]).unwrap();
    assert_eq!(found[..8], [number.clone(), number].concat());
}

#[test]
fn what_no_tensor_copy_can_do() {
    let (map, mut memory, _) = tensor(TensorElement::U32, &[21, 6], &[8, 4]);
    let encoded = map.encode().unwrap();
    let mut reason = |map: [u8; 128], instruction: &str| {
        let body = format!("mbarrier.init.shared.b64 [object], 1;\n{instruction}");
        let (report, _) = run(map, &mut memory, &body, 1);
        report
            .findings
            .first()
            .map(|found| found.kind.to_string())
            .unwrap_or_default()
    };
    let load = |rank: u32, to: &str, from: &str| {
        format!(
            "cp.async.bulk.tensor.{rank}d.shared::cta.global.mbarrier::complete_tx::bytes [{to}], [{from}], [object];"
        )
    };
    let mut other = encoded;
    other[0] ^= 1;
    assert!(reason(other, &load(2, "own", "%rd1, {0, 0}")).contains("one that was encoded here"));
    assert!(reason(encoded, &load(3, "own", "%rd1, {0, 0, 0}")).contains("a map of 2"));
    assert!(reason(encoded, &load(2, "own", "%rd1, {0}")).contains("needs 2 coordinates"));
    assert!(reason(encoded, &load(2, "own+64", "%rd1, {0, 0}")).contains("no multiple of 128"));
    assert!(reason(encoded, &load(2, "own", "%rd1+8, {0, 0}")).contains("no multiple of 64"));
    assert!(reason(encoded, &load(2, "own+8192", "%rd1, {0, 0}")).contains("where no memory is"));
    let columns = "cp.async.bulk.tensor.3d.shared::cta.global.im2col.mbarrier::complete_tx::bytes \
                   [own], [%rd1, {0, 0, 0}], [object], {%rs1};";
    assert!(
        reason(encoded, columns).contains("im2col"),
        "{}",
        reason(encoded, columns)
    );
    assert_eq!(
        reason(
            encoded,
            "cp.async.bulk.prefetch.tensor.2d.L2.global.tile [%rd1, {0, 0}];"
        ),
        ""
    );
}

/// The negative of 70×50 numbers; tiles at the ends are cut off.
fn negate() -> Case {
    let (columns, rows) = (70, 50);
    let x: Vec<f32> = words(72 * rows, 0)
        .iter()
        .map(|word| (word >> 12) as f32)
        .collect();
    let mut memory = Global::new();
    let input = memory.allocate_with(to_bytes(&x, f32::to_le_bytes));
    let results = memory.allocate_with(vec![0; 4 * 72 * rows]);
    let map = |address| TensorMap {
        element: TensorElement::F32,
        address,
        dimensions: vec![columns as u64, rows as u64],
        strides: vec![288],
        box_dimensions: vec![32, 16],
        swizzle: Swizzle::B128,
        fill: Fill::Zero,
    };
    let expected: Vec<f32> = (0..72 * rows)
        .map(|i| if i % 72 < columns { -x[i] } else { 0.0 })
        .collect();
    Case {
        grid: Launch::new("negate")
            .grid([2, 1, 1])
            .block([96, 1, 1])
            .bytes(map(input).encode().unwrap().to_vec())
            .bytes(map(results).encode().unwrap().to_vec())
            .u32(columns as u32)
            .u32(rows as u32),
        memory,
        results,
        expected: to_bytes(&expected, f32::to_le_bytes),
    }
}

#[test]
fn a_pipeline_of_boxes() {
    negate().check(TEXT);
}

#[test]
fn a_box_that_is_stored_without_a_fence() {
    let (kind, line) = negate().mutant(TEXT, "fence.proxy.async.shared::cta;", 0, "");
    assert!(is_race(&kind, true), "{kind:?}");
    assert!(line.starts_with("cp.async.bulk.tensor.2d.global"), "{line}");
}

#[test]
fn a_box_that_is_stored_before_all_have_written_it() {
    let (kind, line) = negate().mutant(TEXT, "bar.sync 1, 64;", 0, "");
    assert!(is_race(&kind, false), "{kind:?}");
    assert!(
        line.starts_with("cp.async.bulk.tensor") || line.contains("shared"),
        "{line}"
    );
}

#[test]
fn a_stage_that_is_loaded_while_it_is_stored() {
    let (kind, line) = negate().mutant(TEXT, "cp.async.bulk.wait_group.read 0;", 0, "");
    assert!(
        is_race(&kind, false) || kind == FindingKind::Unfinished,
        "{kind:?}"
    );
    assert!(line.starts_with("cp.async.bulk.tensor"), "{line}");
}

#[test]
fn bytes_that_are_not_those_of_the_box() {
    for bytes in [1024, 4096] {
        let other = format!(", {bytes};");
        let (kind, _) = negate().mutant(TEXT, ", 2048;", 0, &other);
        match bytes {
            1024 => assert!(
                matches!(
                    kind,
                    FindingKind::Race { .. } | FindingKind::Deadlock { .. }
                ),
                "{kind:?}"
            ),
            _ => assert!(
                matches!(
                    kind,
                    FindingKind::Deadlock {
                        what: Awaited::Mbarrier { bytes: 2048, .. }
                    }
                ),
                "{kind:?}"
            ),
        }
    }
}
