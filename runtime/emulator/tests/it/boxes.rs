//! `cp` of tensors in every form, against where a tensor's numbers lie (PTX ISA 9.7.9.25.5). Elements, swizzles and what is
//! outside in other ways are in `tensor.rs`.

use super::modifiers::row::{Form, forms};
use super::tensor::{expected, run, tensor};
use tessera_emulator::{Finding, FindingKind, Report, TensorElement, TensorMap};

/// From global memory.
pub const LOADS: &[&str] = &[
    "cp.async.bulk.tensor[.1d|.2d|.3d|.4d|.5d].shared::cluster.global[.tile|].mbarrier::complete_tx::bytes\
     [.multicast::cluster|][.cta_group::1|.cta_group::2|][.L2::cache_hint|]",
    "cp.async.bulk.tensor[.1d|.2d|.3d|.4d|.5d].shared::cta.global[.tile|].mbarrier::complete_tx::bytes\
     [.cta_group::1|.cta_group::2|][.L2::cache_hint|]",
];

/// To global memory.
pub const STORES: &[&str] = &[
    "cp.async.bulk.tensor[.1d|.2d|.3d|.4d|.5d].global.shared::cta[.tile|].bulk_group[.L2::cache_hint|]",
    "cp.reduce.async.bulk.tensor[.1d|.2d|.3d|.4d|.5d].global.shared::cta[.add|.min|.max|.inc|.dec|.and|.or|.xor]\
     [.tile|].bulk_group[.L2::cache_hint|]",
];

/// What changes nothing.
pub const PREFETCHES: &[&str] =
    &["cp.async.bulk.prefetch.tensor[.1d|.2d|.3d|.4d|.5d].L2.global[.tile|][.L2::cache_hint|]"];

const DIMENSIONS: [u64; 5] = [21, 6, 5, 4, 3];
const LENGTHS: [u32; 5] = [8, 4, 3, 2, 2];
/// Part of each box is outside.
const FROM: [i32; 5] = [-3, -1, 2, -1, 1];

fn all(patterns: &[&str]) -> Vec<Form> {
    patterns.iter().flat_map(|pattern| forms(pattern)).collect()
}

fn rank(form: &Form) -> usize {
    let names = ["1d", "2d", "3d", "4d", "5d"];
    let place = names.iter().position(|name| form.has(name));
    place.expect("a rank") + 1
}

fn policy(form: &Form) -> &'static str {
    if form.has("L2::cache_hint") {
        ", %rd9"
    } else {
        ""
    }
}

/// `{x, y, …}`
fn coordinates(rank: usize) -> String {
    let all: Vec<String> = FROM[..rank].iter().map(ToString::to_string).collect();
    format!("{{{}}}", all.join(", "))
}

const POLICY: &str = "createpolicy.fractional.L2::evict_last.b64 %rd9, 0.5;\n";

#[test]
fn loads() {
    for form in all(LOADS) {
        let (rank, text, policy) = (rank(&form), form.text(), policy(&form));
        let (map, mut memory, content) =
            tensor(TensorElement::U32, &DIMENSIONS[..rank], &LENGTHS[..rank]);
        let bytes = map.box_bytes();
        let is_for_both = form.has("multicast::cluster");
        let (ctas, issuer, mask) = if is_for_both {
            (
                2,
                "setp.eq.u32 %p1, %r1, 1;\nmov.b16 %rs1, 3;\n@%p1 ",
                ", %rs1",
            )
        } else {
            (1, "", "")
        };
        // Of a pair the second CTA's mbarrier, which its thread names, is told of both boxes.
        let is_told_of_both = is_for_both && form.has("cta_group::2");
        let told = if is_told_of_both {
            format!("mul.lo.u32 %r5, %r1, {};", 2 * bytes)
        } else {
            format!("mov.u32 %r5, {bytes};")
        };
        // Each CTA's box behind the one before it.
        let body = format!(
            "{POLICY}{told}\nmbarrier.init.shared.b64 [object], 1;\nmbarrier.arrive.expect_tx.shared.b64 _, [object], %r5;\n\
             fence.mbarrier_init.release.cluster;\nbarrier.cluster.arrive;\nbarrier.cluster.wait;\n\
             {issuer}{text} [own], [%rd1, {}], [object]{mask}{policy};\n\
             W:\nmbarrier.try_wait.parity.shared.b64 %p2, [object], 0;\n@!%p2 bra W;\n\
             barrier.cluster.arrive;\nbarrier.cluster.wait;\nmad.wide.u32 %rd2, %r1, {bytes}, %rd2;\nmov.u32 %r2, 0;\n\
             C:\nmov.u32 %r4, own;\nadd.u32 %r4, %r4, %r2;\nld.shared.u32 %r3, [%r4];\ncvt.u64.u32 %rd4, %r2;\n\
             add.u64 %rd4, %rd2, %rd4;\nst.global.u32 [%rd4], %r3;\nadd.u32 %r2, %r2, 4;\n\
             setp.lt.u32 %p1, %r2, {bytes};\n@%p1 bra C;\nbarrier.cluster.arrive;\nbarrier.cluster.wait;",
            coordinates(rank)
        );
        let (report, found) = run(map.encode().unwrap(), &mut memory, &body, ctas);
        assert_eq!(report.findings, [], "{text}");
        let expected = expected(&map, &content, &FROM[..rank], &[0; 4]).repeat(ctas as usize);
        assert_eq!(found[..expected.len()], expected, "{text}");
        assert!(
            found[expected.len()..].iter().all(|&byte| byte == 0xee),
            "{text}"
        );
    }
}

/// What a word of global memory becomes.
fn reduced(form: &Form, old: u32, new: u32) -> u32 {
    match form.one_of(&["add", "min", "max", "inc", "dec", "and", "or", "xor"]) {
        Some("add") => old.wrapping_add(new),
        Some("min") => old.min(new),
        Some("max") => old.max(new),
        Some("inc") => {
            if old >= new {
                0
            } else {
                old + 1
            }
        }
        Some("dec") => {
            if old == 0 || old > new {
                new
            } else {
                old - 1
            }
        }
        Some("and") => old & new,
        Some("or") => old | new,
        Some(_) => old ^ new,
        None => new,
    }
}

/// Word `i` of a box in shared memory.
fn word(i: u32) -> u32 {
    (4 * i).wrapping_mul(0x9e37_79b9)
}

/// The tensor behind a store of the box of all words.
fn stored(form: &Form, map: &TensorMap, content: &[u8], rank: usize) -> Vec<u8> {
    let mut memory = content.to_vec();
    let count: u32 = map.box_dimensions.iter().product();
    for i in 0..count {
        let (mut left, mut place, mut is_inside) = (i, 0, true);
        for dimension in 0..rank {
            let own = i64::from(FROM[dimension]) + i64::from(left % LENGTHS[dimension]);
            left /= LENGTHS[dimension];
            is_inside &= (0..DIMENSIONS[dimension] as i64).contains(&own);
            let stride = if dimension == 0 {
                4
            } else {
                map.strides[dimension - 1]
            };
            place += own * stride as i64;
        }
        if is_inside {
            let old = &mut memory[place as usize..place as usize + 4];
            let before = u32::from_le_bytes(old.try_into().unwrap());
            old.copy_from_slice(&reduced(form, before, word(i)).to_le_bytes());
        }
    }
    memory
}

#[test]
fn stores() {
    for form in all(STORES) {
        let (rank, text, policy) = (rank(&form), form.text(), policy(&form));
        let (map, mut memory, content) =
            tensor(TensorElement::U32, &DIMENSIONS[..rank], &LENGTHS[..rank]);
        let bytes = map.box_bytes();
        let body = format!(
            "{POLICY}mov.u32 %r2, 0;\nF:\nmov.u32 %r4, own;\nadd.u32 %r4, %r4, %r2;\nmul.lo.u32 %r3, %r2, 0x9e3779b9;\n\
             st.shared.u32 [%r4], %r3;\nadd.u32 %r2, %r2, 4;\nsetp.lt.u32 %p1, %r2, {bytes};\n@%p1 bra F;\n\
             fence.proxy.async;\n{text} [%rd1, {}], [own]{policy};\ncp.async.bulk.commit_group;\n\
             cp.async.bulk.wait_group 0;",
            coordinates(rank)
        );
        let (report, _) = run(map.encode().unwrap(), &mut memory, &body, 1);
        assert_eq!(report.findings, [], "{text}");
        let found = memory.read_bytes(map.address, content.len()).unwrap();
        assert_eq!(found, stored(&form, &map, &content, rank), "{text}");
        // Part of the box is in the tensor.
        assert_ne!(found, content, "{text}");
    }
}

#[test]
fn prefetches() {
    for form in all(PREFETCHES) {
        let (rank, text, policy) = (rank(&form), form.text(), policy(&form));
        let (map, mut memory, content) =
            tensor(TensorElement::U32, &DIMENSIONS[..rank], &LENGTHS[..rank]);
        let body = format!("{POLICY}{text} [%rd1, {}]{policy};", coordinates(rank));
        let (report, _) = run(map.encode().unwrap(), &mut memory, &body, 1);
        assert_eq!(report.findings, [], "{text}");
        assert_eq!(
            memory.read_bytes(map.address, content.len()).unwrap(),
            content,
            "{text}"
        );
    }
}

/// Four CTAs, of which the second loads a box into its own memory and has an mbarrier of another one told.
fn told_elsewhere(modifier: &str, rank: u32) -> (Report, bool) {
    let (map, mut memory, content) = tensor(TensorElement::U32, &[21, 6], &[8, 4]);
    let bytes = map.box_bytes();
    let body = format!(
        "mbarrier.init.shared.b64 [object], 1;\nfence.mbarrier_init.release.cluster;\nbarrier.cluster.arrive;\n\
         barrier.cluster.wait;\nsetp.ne.u32 %p1, %r1, {rank};\n@%p1 bra LOAD;\n\
         mbarrier.arrive.expect_tx.shared.b64 _, [object], {bytes};\n\
         LOAD:\nsetp.ne.u32 %p1, %r1, 1;\n@%p1 bra WAIT;\nmov.u32 %r2, object;\nmapa.shared::cluster.u32 %r2, %r2, {rank};\n\
         cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes{modifier} [own], [%rd1, {{3, 1}}], [%r2];\n\
         WAIT:\nsetp.ne.u32 %p1, %r1, {rank};\n@%p1 bra DONE;\n\
         W:\nmbarrier.try_wait.parity.acquire.cluster.shared.b64 %p2, [object], 0;\n@!%p2 bra W;\n\
         DONE:\nbarrier.cluster.arrive;\nbarrier.cluster.wait;\nsetp.ne.u32 %p1, %r1, 1;\n@%p1 bra END;\nmov.u32 %r2, 0;\n\
         C:\nmov.u32 %r4, own;\nadd.u32 %r4, %r4, %r2;\nld.shared.u32 %r3, [%r4];\ncvt.u64.u32 %rd4, %r2;\n\
         add.u64 %rd4, %rd2, %rd4;\nst.global.u32 [%rd4], %r3;\nadd.u32 %r2, %r2, 4;\n\
         setp.lt.u32 %p1, %r2, {bytes};\n@%p1 bra C;\nEND:"
    );
    let (report, found) = run(map.encode().unwrap(), &mut memory, &body, 4);
    let expected = expected(&map, &content, &[3, 1], &[0; 4]);
    let is_there = found.starts_with(&expected);
    (report, is_there)
}

#[test]
fn a_pair_of_ctas_waits_at_the_mbarrier_of_one() {
    for rank in [0, 1] {
        let (report, is_there) = told_elsewhere(".cta_group::2", rank);
        assert_eq!(report.findings, []);
        assert!(is_there);
    }
    let (report, is_there) = told_elsewhere(".cta_group::1", 1);
    assert!(report.findings.is_empty() && is_there);
    for (modifier, rank, reason) in [
        ("", 0, "in another CTA than its destination"),
        (".cta_group::1", 0, "in another CTA than its destination"),
        (
            ".cta_group::2",
            2,
            "in another pair of CTAs than its destination",
        ),
    ] {
        let (report, _) = told_elsewhere(modifier, rank);
        let found = report.findings[0].kind.to_string();
        assert!(found.contains(reason), "{modifier}: {found}");
    }
}

/// Who reads what its peer's mbarrier was told of, and waits for nothing itself.
#[test]
fn a_box_of_a_pair_that_is_read_too_early() {
    let (map, mut memory, _) = tensor(TensorElement::U32, &[21, 6], &[8, 4]);
    let body = "mbarrier.init.shared.b64 [object], 1;\nfence.mbarrier_init.release.cluster;\nbarrier.cluster.arrive;\n\
                barrier.cluster.wait;\nsetp.eq.u32 %p1, %r1, 0;\n@%p1 bra WAIT;\nmov.u32 %r2, object;\n\
                mapa.shared::cluster.u32 %r2, %r2, 0;\n\
                cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.cta_group::2 \
                [own], [%rd1, {3, 1}], [%r2];\nld.shared.u32 %r3, [own];\nst.global.u32 [%rd2], %r3;\nbra END;\n\
                WAIT:\nmbarrier.arrive.expect_tx.shared.b64 _, [object], 128;\n\
                W:\nmbarrier.try_wait.parity.shared.b64 %p2, [object], 0;\n@!%p2 bra W;\n\
                END:\nbarrier.cluster.arrive;\nbarrier.cluster.wait;";
    let (report, _) = run(map.encode().unwrap(), &mut memory, body, 2);
    let is_race = |finding: &Finding| matches!(finding.kind, FindingKind::Race { .. });
    assert!(report.findings.iter().any(is_race), "{:?}", report.findings);
}
