//! `cp` in every form but those of tensors, against what the ISA says is where afterwards (PTX ISA 9.7.9.25). What a copy that
//! is not waited for does is the race checker's: `instructions.rs`, `asynchronous.rs`.

use super::fragments::Noise;
use super::modifiers::row::{Form, forms};
use half::{bf16, f16};
use tessera_emulator::{Global, Launch, Program, Report, launch, ptx::Module};

/// Copies of a thread.
pub const COPIES: &[&str] = &[
    "cp.async[.ca|.cg][.shared|.shared::cta].global[.L2::cache_hint|][.L2::64B|.L2::128B|.L2::256B|]",
];

/// What is waited for.
pub const GROUPS: &[&str] = &[
    "cp.async[.commit_group|.wait_group|.wait_all]",
    "cp.async.bulk[.commit_group|.wait_group|.wait_group.read]",
];

/// Arrivals behind copies.
pub const ARRIVALS: &[&str] = &["cp.async.mbarrier.arrive[.noinc|][.shared|.shared::cta|].b64"];

/// Copies of many bytes.
pub const BULK: &[&str] = &[
    "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes[.multicast::cluster|][.L2::cache_hint|]",
    "cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes[.L2::cache_hint|]",
    "cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes",
    "cp.async.bulk.global.shared::cta.bulk_group[.L2::cache_hint|]",
    "cp.async.bulk.prefetch.L2.global[.L2::cache_hint|]",
];

/// Reductions of many bytes.
pub const REDUCTIONS: &[&str] = &[
    "cp.reduce.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes[.and|.or|.xor].b32",
    "cp.reduce.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes[.add|.min|.max][.s32|.u32]",
    "cp.reduce.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes.add.u64",
    "cp.reduce.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes[.inc|.dec].u32",
    "cp.reduce.async.bulk.global.shared::cta.bulk_group[.L2::cache_hint|][.and|.or|.xor][.b32|.b64]",
    "cp.reduce.async.bulk.global.shared::cta.bulk_group[.L2::cache_hint|][.add|.min|.max][.s32|.u32|.u64]",
    "cp.reduce.async.bulk.global.shared::cta.bulk_group[.L2::cache_hint|][.min|.max][.s64|.f16|.bf16]",
    "cp.reduce.async.bulk.global.shared::cta.bulk_group[.L2::cache_hint|][.inc|.dec].u32",
    "cp.reduce.async.bulk.global.shared::cta.bulk_group[.L2::cache_hint|].add[.f32|.f64|.noftz.f16|.noftz.bf16]",
];

/// Bytes of a CTA's shared memory, and of global memory.
const BYTES: usize = 128;

/// What is where when a kernel has ended.
struct Found {
    report: Report,
    /// Shared memory of each CTA, the first words of it that were asked for.
    shared: Vec<Vec<u8>>,
    global: Vec<u8>,
}

/// A cluster of CTAs of one thread each. `own` holds as many bytes of the content as a CTA has, those of its rank; `[%global]`
/// are others, `[%in]` the content. `object` is an mbarrier of one arrival, `%rank` the CTA's.
fn run(body: &str, ctas: usize, content: &[u8], global: &[u8], words: usize) -> Found {
    let text = format!(
        ".version 8.8\n.target sm_100a\n.address_size 64\n\
         .visible .entry main(.param .u64 p, .param .u64 q, .param .u64 r) {{\n\
         .reg .b64 %in, %out, %global, %mine, %policy, %to, %at, %generic;\n.reg .b32 %rank, %i, %x, %n, %a, %b;\n.reg .b16 %ctas;\n\
         .reg .pred %p, %yes, %no;\n.shared .align 128 .b8 own[{BYTES}];\n.shared .align 8 .b64 object;\n\
         ld.param.u64 %in, [p];\nld.param.u64 %out, [q];\nld.param.u64 %global, [r];\nmov.u32 %rank, %cluster_ctarank;\n\
         mad.wide.u32 %mine, %rank, {BYTES}, %in;\nmad.wide.u32 %out, %rank, {BYTES}, %out;\n\
         createpolicy.fractional.L2::evict_last.b64 %policy, 0.5;\nsetp.eq.u32 %yes, 0, 0;\nsetp.ne.u32 %no, 0, 0;\n\
         mbarrier.init.shared.b64 [object], 1;\nfence.mbarrier_init.release.cluster;\n\
         mov.u32 %i, 0;\nFILL:\ncvt.u64.u32 %at, %i;\nadd.u64 %at, %at, %mine;\nld.global.u32 %x, [%at];\nmov.u32 %a, own;\n\
         add.u32 %a, %a, %i;\nst.shared.u32 [%a], %x;\nadd.u32 %i, %i, 4;\nsetp.lt.u32 %p, %i, {BYTES};\n@%p bra FILL;\n\
         fence.proxy.async;\nbarrier.cluster.arrive;\nbarrier.cluster.wait;\n{body}\n\
         mov.u32 %i, 0;\nBACK:\nmov.u32 %a, own;\nadd.u32 %a, %a, %i;\nld.shared.u32 %x, [%a];\ncvt.u64.u32 %at, %i;\n\
         add.u64 %at, %at, %out;\nst.global.u32 [%at], %x;\nadd.u32 %i, %i, 4;\nsetp.lt.u32 %p, %i, {};\n@%p bra BACK;\n\
         barrier.cluster.arrive;\nbarrier.cluster.wait;\nret;\n}}",
        4 * words
    );
    let program = Program::new(&Module::parse(&text).unwrap()).unwrap();
    let mut memory = Global::new();
    let input = memory.allocate_with(content.to_vec());
    let output = memory.allocate_with(vec![0; BYTES * ctas]);
    let others = memory.allocate_with(global.to_vec());
    let cluster = [ctas as u32, 1, 1];
    let mut grid = Launch::new("main").grid(cluster).cluster(cluster);
    grid = grid.u64(input).u64(output).u64(others);
    grid.step_limit = 1 << 14;
    let report = launch(&program, &mut memory, &grid).unwrap();
    let all = memory.read_bytes(output, BYTES * ctas).unwrap_or_default();
    let shared = all.chunks(BYTES).map(|own| own[..4 * words].to_vec());
    let shared = shared.collect();
    let global = memory.read_bytes(others, global.len());
    Found {
        report,
        shared,
        global: global.unwrap_or_default(),
    }
}

fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut noise = Noise(seed);
    (0..count).map(|_| noise.next() as u8).collect()
}

fn all(patterns: &[&str]) -> Vec<Form> {
    patterns.iter().flat_map(|pattern| forms(pattern)).collect()
}

/// The operand of a policy, where the form has one.
fn policy(form: &Form) -> &'static str {
    if form.has("L2::cache_hint") {
        ", %policy"
    } else {
        ""
    }
}

const WAIT: &str = "WAIT:\nmbarrier.try_wait.parity.shared.b64 %p, [object], 0;\n@!%p bra WAIT;\n";

#[test]
fn copies_of_a_thread() {
    let (content, global) = (noise(1, BYTES), noise(2, BYTES));
    for form in all(COPIES) {
        let sizes: &[usize] = if form.has("ca") { &[4, 8, 16] } else { &[16] };
        for &size in sizes {
            // How many bytes are read; the others are zeros.
            let half = size / 2;
            for (operand, kept) in [
                (String::new(), size),
                (format!(", {half}"), half),
                (", %n".to_owned(), half),
                (", 0".to_owned(), 0),
                (", %yes".to_owned(), 0),
                (", %no".to_owned(), size),
            ] {
                let body = format!(
                    "mov.u32 %n, {half};\n{} [own+16], [%global+32], {size}{operand}{};\ncp.async.wait_all;",
                    form.text(),
                    policy(&form)
                );
                let found = run(&body, 1, &content, &global, BYTES / 4);
                assert_eq!(found.report.findings, [], "{body}");
                let mut expected = content.clone();
                expected[16..16 + size].fill(0);
                expected[16..16 + kept].copy_from_slice(&global[32..32 + kept]);
                assert_eq!(found.shared[0], expected, "{body}");
            }
        }
    }
}

#[test]
fn what_is_waited_for() {
    let (content, global) = (noise(3, BYTES), noise(4, BYTES));
    // Two copies, into the first word and the second; how many of them may be read behind the waits.
    let first = "cp.async.ca.shared.global [own], [%global], 4;\n";
    let second = "cp.async.ca.shared.global [own+4], [%global+4], 4;\n";
    let stored = "cp.async.bulk.global.shared::cta.bulk_group [%global], [own], 16;\n";
    let reads = |body: &str, words: usize| {
        let found = run(body, 1, &content, &global, words);
        let is_silent = found.report.findings.is_empty();
        assert!(
            !is_silent || found.shared[0] == global[..4 * words],
            "{body}"
        );
        is_silent
    };
    let is_silent = |body: &str| {
        run(body, 1, &content, &global, 0)
            .report
            .findings
            .is_empty()
    };
    for form in all(GROUPS) {
        let text = form.text();
        let commits = "cp.async.commit_group;\n";
        let bulk_commits = "cp.async.bulk.commit_group;\n";
        let writes = "mov.u32 %x, 5;\nst.shared.u32 [own], %x;\n";
        let last = form.words.last().map_or("", String::as_str);
        match (last, form.has("bulk")) {
            ("commit_group", false) => {
                // What is behind it is of no group.
                let body = format!("{first}{text};\n{second}cp.async.wait_group 0;\n");
                assert!(reads(&body, 1) && !reads(&body, 2), "{text}");
                let body = format!("{first}{second}{text};\ncp.async.wait_group 0;\n");
                assert!(reads(&body, 2), "{text}");
            }
            ("wait_group", false) => {
                let body = |left| format!("{first}{commits}{second}{commits}{text} {left};\n");
                assert!(reads(&body(0), 2), "{text}");
                assert!(reads(&body(1), 1) && !reads(&body(1), 2), "{text}");
                assert!(!reads(&body(2), 1), "{text}");
            }
            ("wait_all", _) => {
                assert!(
                    reads(&format!("{first}{commits}{second}{text};\n"), 2),
                    "{text}"
                );
                assert!(!reads(&format!("{first}{commits}{second}"), 1), "{text}");
            }
            ("commit_group", true) => {
                let body = format!("{stored}{text};\ncp.async.bulk.wait_group 0;\n{writes}");
                assert!(is_silent(&body), "{text}");
                let body = format!("{stored}cp.async.bulk.wait_group 0;\n{writes}");
                assert!(!is_silent(&body), "{text}");
            }
            // Its source may be written, and with the whole group its result be read.
            (kind, _) => {
                let asks = "ld.global.u32 %x, [%global];\n";
                let body = |left, after| format!("{stored}{bulk_commits}{text} {left};\n{after}");
                assert!(is_silent(&body(0, writes)), "{text}");
                assert!(!is_silent(&body(1, writes)), "{text}");
                assert_eq!(is_silent(&body(0, asks)), kind == "wait_group", "{text}");
            }
        }
    }
}

#[test]
fn arrivals_behind_copies() {
    let (content, global) = (noise(5, BYTES), noise(6, BYTES));
    for form in all(ARRIVALS) {
        let is_generic = form.one_of(&["shared", "shared::cta"]).is_none();
        let object = if is_generic { "%generic" } else { "object" };
        let body = |more: &str| {
            format!(
                "mov.u64 %generic, object;\ncvta.shared.u64 %generic, %generic;\n\
                 cp.async.ca.shared.global [own], [%global], 16;\n{} [{object}];\n{more}{WAIT}",
                form.text()
            )
        };
        // With .noinc it is the one arrival that the phase waits for; without, one more comes to be waited for.
        let more = "mbarrier.arrive.shared.b64 _, [object];\n";
        let (right, wrong) = if form.has("noinc") {
            (body(""), None)
        } else {
            (body(more), Some(body("")))
        };
        let found = run(&right, 1, &content, &global, 4);
        assert_eq!(found.report.findings, [], "{right}");
        assert_eq!(found.shared[0], global[..16], "{right}");
        if let Some(wrong) = wrong {
            let found = run(&wrong, 1, &content, &global, 4);
            assert!(!found.report.findings.is_empty(), "{wrong}");
        }
    }
}

#[test]
fn copies_of_many_bytes() {
    let (content, global) = (noise(7, 2 * BYTES), noise(8, BYTES));
    let shared: Vec<Vec<u8>> = content.chunks(BYTES).map(<[u8]>::to_vec).collect();
    for form in all(BULK) {
        let (text, policy) = (form.text(), policy(&form));
        let expects = "mbarrier.arrive.expect_tx.shared.b64 _, [object], 48;\n";
        let body = match (form.words[3].as_str(), form.has("multicast::cluster")) {
            // To both CTAs, by the second.
            ("shared::cluster", true) => format!(
                "{expects}setp.eq.u32 %p, %rank, 1;\nmov.b16 %ctas, 3;\nbarrier.cluster.arrive;\nbarrier.cluster.wait;\n\
                 @%p {text} [own+16], [%global+32], 48, [object], %ctas{policy};\n{WAIT}"
            ),
            // From each CTA to the other.
            ("shared::cluster", false) if form.has("shared::cta") => format!(
                "{expects}barrier.cluster.arrive;\nbarrier.cluster.wait;\nxor.b32 %i, %rank, 1;\nmov.u32 %a, own;\n\
                 add.u32 %a, %a, 16;\nmapa.shared::cluster.u32 %a, %a, %i;\nmov.u32 %b, object;\n\
                 mapa.shared::cluster.u32 %b, %b, %i;\n{text} [%a], [own+64], 48, [%b];\n{WAIT}\
                 barrier.cluster.arrive;\nbarrier.cluster.wait;\n"
            ),
            ("shared::cluster" | "shared::cta", _) => {
                format!("{expects}{text} [own+16], [%global+32], 48, [object]{policy};\n{WAIT}")
            }
            ("global", _) => format!(
                "setp.eq.u32 %p, %rank, 1;\n@%p {text} [%global+16], [own+32], 48{policy};\n\
                 cp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;"
            ),
            _ => format!("{text} [%global+16], 48{policy};"),
        };
        let found = run(&body, 2, &content, &global, BYTES / 4);
        assert_eq!(found.report.findings, [], "{body}");
        let (mut expected, mut memory) = (shared.clone(), global.clone());
        match form.words[3].as_str() {
            "shared::cluster" if form.has("shared::cta") => {
                for rank in 0..2 {
                    expected[rank][16..64].copy_from_slice(&shared[1 - rank][64..112]);
                }
            }
            "shared::cluster" | "shared::cta" => {
                for own in &mut expected {
                    own[16..64].copy_from_slice(&global[32..80]);
                }
            }
            "global" => memory[16..64].copy_from_slice(&shared[1][32..80]),
            _ => {}
        }
        assert_eq!(found.shared, expected, "{body}");
        assert_eq!(found.global, memory, "{body}");
    }
}

/// What an element becomes.
fn reduced(form: &Form, old: u64, new: u64) -> u64 {
    let kind = form.of();
    let operation = form.one_of(&["add", "min", "max", "inc", "dec", "and", "or", "xor"]);
    let operation = operation.expect("an operation");
    let number = |bits: u64| match kind {
        "f16" => f64::from(f16::from_bits(bits as u16)),
        "bf16" => f64::from(bf16::from_bits(bits as u16)),
        "f32" => f64::from(f32::from_bits(bits as u32)),
        _ => f64::from_bits(bits),
    };
    let bits = |number: f64| match kind {
        "f16" => f16::from_f64(number).to_bits().into(),
        "bf16" => bf16::from_f64(number).to_bits().into(),
        "f32" => (number as f32).to_bits().into(),
        _ => number.to_bits(),
    };
    if kind.contains('f') {
        return match operation {
            "add" => bits(number(old) + number(new)),
            "min" => bits(number(old).min(number(new))),
            _ => bits(number(old).max(number(new))),
        };
    }
    let width = if kind.ends_with("64") { 64 } else { 32 };
    let of_kind = |bits: u64| match kind {
        "s32" => i128::from(bits as u32 as i32),
        "s64" => i128::from(bits as i64),
        _ => i128::from(bits),
    };
    let (x, y) = (of_kind(old), of_kind(new));
    let result = match operation {
        "add" => x + y,
        "min" => x.min(y),
        "max" => x.max(y),
        "inc" => {
            if x >= y {
                0
            } else {
                x + 1
            }
        }
        "dec" => {
            if x == 0 || x > y {
                y
            } else {
                x - 1
            }
        }
        "and" => x & y,
        "or" => x | y,
        _ => x ^ y,
    };
    result as u64 & (u64::MAX >> (64 - width))
}

#[test]
fn reductions_of_many_bytes() {
    let mut noise = Noise(9);
    for form in all(REDUCTIONS) {
        let kind = form.of().to_owned();
        let width: usize = kind
            .trim_start_matches(char::is_alphabetic)
            .parse()
            .expect("a width");
        let size = width / 8;
        // Small multiples of 1/4, whose sums each format has; of integers anything, large and small.
        let mut elements = |count: usize| -> Vec<u8> {
            let one = |_| {
                let word = noise.next() << 40 ^ noise.next() << 20 ^ noise.next();
                let quarter = (word % 64) as f64 / 4.0 - 8.0;
                let bits = match &kind[..] {
                    "f16" => f16::from_f64(quarter).to_bits().into(),
                    "bf16" => bf16::from_f64(quarter).to_bits().into(),
                    "f32" => (quarter as f32).to_bits().into(),
                    "f64" => quarter.to_bits(),
                    _ if word.is_multiple_of(3) => word % 5,
                    _ => word << 7,
                };
                bits.to_le_bytes()[..size].to_vec()
            };
            (0..count / size).flat_map(one).collect()
        };
        let (content, global) = (elements(BYTES), elements(BYTES));
        let (text, policy) = (form.text(), policy(&form));
        let to_shared = form.has("shared::cluster");
        let body = if to_shared {
            format!(
                "mbarrier.arrive.expect_tx.shared.b64 _, [object], 48;\n{text} [own], [own+64], 48, [object];\n{WAIT}"
            )
        } else {
            format!(
                "{text} [%global], [own+64], 48{policy};\ncp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;"
            )
        };
        let found = run(&body, 1, &content, &global, BYTES / 4);
        assert_eq!(found.report.findings, [], "{body}");
        let (mut shared, mut memory) = (content.clone(), global.clone());
        let target = if to_shared { &mut shared } else { &mut memory };
        let element = |bytes: &[u8]| {
            let mut word = [0; 8];
            word[..size].copy_from_slice(bytes);
            u64::from_le_bytes(word)
        };
        let sources = content[64..112].chunks(size);
        for (old, new) in target[..48].chunks_mut(size).zip(sources) {
            let result = reduced(&form, element(old), element(new));
            old.copy_from_slice(&result.to_le_bytes()[..size]);
        }
        assert_eq!(
            (found.shared[0].clone(), found.global),
            (shared, memory),
            "{body}"
        );
    }
}
