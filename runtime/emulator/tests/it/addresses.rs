//! Moves of values and of addresses, and hints to caches, in every form, against what the ISA says of them (PTX ISA 6.4.1.1,
//! 9.7.9.1 to 9.7.9.23).

use super::modifiers::row::{Form, bits, forms};
use tessera_emulator::{FindingKind, Global, Launch, Program, Report, launch, ptx::Module};

/// Moves of one value.
pub const MOVES: &[&str] =
    &["mov[.pred|.b16|.b32|.b64|.b128|.u16|.u32|.u64|.s16|.s32|.s64|.f32|.f64]"];

/// Addresses to and from generic ones.
pub const GENERIC: &[&str] = &[
    "cvta[.to|][.global|.shared|.shared::cta|.shared::cluster|.local|.const|.param|.param::entry].u64",
];

/// Which space an address is of.
pub const SPACES: &[&str] =
    &["isspacep[.global|.shared|.shared::cta|.shared::cluster|.local|.param|.param::entry]"];

/// Addresses in other CTAs.
pub const RANKS: &[&str] = &[
    "mapa.shared::cluster[.u32|.u64]",
    "mapa.u64",
    "getctarank.shared::cluster[.u32|.u64]",
    "getctarank.u64",
];

/// Hints, which change nothing that a program sees.
pub const HINTS: &[&str] = &[
    "prefetch[.global|.local|][.L1|.L2]",
    "prefetch[.global|][.L2::evict_last|.L2::evict_normal]",
    "prefetch[.const|.param|].tensormap",
    "prefetchu.L1",
    "applypriority[.global|].L2::evict_normal",
];

/// Ends of what memory holds.
pub const ENDS: &[&str] = &["discard[.global|].L2"];

/// Descriptions of how caches are to be used.
pub const POLICIES: &[&str] = &[
    "createpolicy[.fractional|.range|.range.global][.L2::evict_last|.L2::evict_normal|.L2::evict_first|.L2::evict_unchanged]\
     [.L2::evict_first|.L2::evict_unchanged|].b64",
    "createpolicy.cvt.L2.b64",
];

fn forms_of(patterns: &[&str]) -> Vec<Form> {
    patterns.iter().flat_map(|pattern| forms(pattern)).collect()
}

/// Executes a body in a thread of each CTA of a cluster of so many: what is found, and what each leaves in `%d`. `%x` is 256
/// bytes of global memory, words from 100 on; `shr`, `loc` and `cst` are words of their spaces, 11, 12 and 13; `p` is the
/// parameter that has `%x`.
fn run(body: &str, ctas: u32) -> (Report, Vec<u64>) {
    let text = format!(
        ".version 8.8\n.target sm_100a\n.address_size 64\n.const .align 4 .b32 cst = 13;\n\
         .visible .entry main(.param .u64 p, .param .u64 q) {{\n\
         .reg .b64 %x, %out, %d, %a, %b, %rank64;\n.reg .b32 %r, %s, %rank, %other;\n.reg .b16 %h<4>;\n.reg .b8 %b<2>;\n.reg .pred %p, %q;\n\
         .shared .align 4 .b32 shr;\n.local .align 4 .b32 loc;\n\
         ld.param.u64 %x, [p];\nld.param.u64 %out, [q];\nmov.u32 %rank, %cluster_ctarank;\nmad.wide.u32 %out, %rank, 8, %out;\n\
         xor.b32 %other, %rank, 1;\nst.shared.b32 [shr], 11;\nst.local.b32 [loc], 12;\nmov.b64 %d, 0;\n{body}\n\
         st.global.b64 [%out], %d;\nbarrier.cluster.arrive;\nbarrier.cluster.wait;\nret;\n}}"
    );
    let program = Program::new(&Module::parse(&text).unwrap()).unwrap();
    let mut memory = Global::new();
    let x = memory.allocate_with((100u32..164).flat_map(u32::to_le_bytes).collect());
    let out = memory.allocate_with(vec![0xff; 8 * ctas as usize]);
    let grid = Launch::new("main")
        .grid([ctas, 1, 1])
        .cluster([ctas, 1, 1])
        .u64(x)
        .u64(out);
    let report = launch(&program, &mut memory, &grid).unwrap();
    let bytes = memory.read_bytes(out, 8 * ctas as usize).unwrap();
    let words = bytes.chunks(8);
    let words = words.map(|own| u64::from_le_bytes(own.try_into().unwrap()));
    (report, words.collect())
}

/// What each CTA leaves in `%d`, where nothing is found.
fn values(body: &str, ctas: u32) -> Vec<u64> {
    let (report, values) = run(body, ctas);
    assert_eq!(report.findings, [], "{body}");
    values
}

fn value(body: &str) -> u64 {
    values(body, 1)[0]
}

/// Why an instruction is refused.
fn refusal(instruction: &str) -> String {
    let (report, _) = run(instruction, 1);
    match &report.findings[..] {
        [finding] => match &finding.kind {
            FindingKind::Refused { reason } => reason.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{instruction}: {other:?}"),
    }
}

const PATTERN: u64 = 0x8123_4567_89ab_cdef;

#[test]
fn moves_of_one_value() {
    // Numbers of 128 bits are in `wide.rs`.
    for form in forms_of(MOVES).into_iter().filter(|form| !form.has("b128")) {
        let text = form.text();
        let width = bits(form.of()).unwrap();
        let expected = PATTERN & (u64::MAX >> (64 - width));
        if form.has("pred") {
            for holds in [0, 1] {
                let body =
                    format!("setp.eq.u32 %p, {holds}, 1;\n{text} %q, %p;\nselp.b64 %d, 1, 0, %q;");
                assert_eq!(value(&body), holds);
            }
            continue;
        }
        let register = match width {
            16 => "%h0",
            32 => "%r",
            _ => "%a",
        };
        let of = |name: &str| match width {
            16 => format!("cvt.u64.u16 %d, {name};"),
            32 => format!("cvt.u64.u32 %d, {name};"),
            _ => format!("mov.b64 %d, {name};"),
        };
        // From a register, and from a number as it is written.
        let from = match width {
            16 => "%h1",
            32 => "%s",
            _ => "%b",
        };
        let made = match width {
            16 => format!("cvt.u16.u64 %h1, {PATTERN:#x};"),
            32 => format!("cvt.u32.u64 %s, {PATTERN:#x};"),
            _ => format!(
                "ld.global.b64 %b, [%x];\nadd.u64 %b, %b, {PATTERN:#x};\nld.global.b64 %a, [%x];\nsub.u64 %b, %b, %a;"
            ),
        };
        let body = format!("{made}\n{text} {register}, {from};\n{}", of(register));
        assert_eq!(value(&body), expected, "{text}");
        let (written, expected) = match form.of() {
            "f32" => ("0f40490fdb".to_owned(), 0x4049_0fdb),
            "f64" => ("0d400921fb54442d18".to_owned(), 0x4009_21fb_5444_2d18),
            _ => (format!("{:#x}", expected), expected),
        };
        let body = format!("{text} {register}, {written};\n{}", of(register));
        assert_eq!(value(&body), expected, "{text} {written}");
    }
}

/// Registers of the system that mean nothing here, and one that is as large as what is known of it.
#[test]
fn registers_of_the_system() {
    for name in ["%envreg0", "%envreg17", "%envreg31"] {
        assert_eq!(
            value(&format!("mov.b32 %r, {name};\ncvt.u64.u32 %d, %r;")),
            0
        );
    }
    assert_eq!(value("mov.u64 %d, %current_graph_exec;"), 0);
    let sizes = "mov.u32 %r, %aggr_smem_size;\nmov.u32 %s, %total_smem_size;\nsub.u32 %r, %r, %s;\ncvt.u64.u32 %d, %r;";
    assert_eq!(value(sizes), 0);
}

#[test]
fn parts_and_wholes() {
    let halves =
        "mov.b16 %h0, 0x1122;\nmov.b16 %h1, 0x3344;\nmov.b16 %h2, 0x5566;\nmov.b16 %h3, 0x7788;\n";
    for (body, expected) in [
        ("mov.b32 %r, {%h0, %h1};\ncvt.u64.u32 %d, %r;", 0x3344_1122),
        ("mov.b64 %d, {%h0, %h1, %h2, %h3};", 0x7788_5566_3344_1122),
        (
            "mov.b32 %r, 0x10203;\nmov.b32 %s, 0x40506;\nmov.b64 %d, {%r, %s};",
            0x0004_0506_0001_0203,
        ),
        (
            "mov.b32 {%h2, %h3}, 0xaabbccdd;\nmov.b32 %r, {%h3, %h2};\ncvt.u64.u32 %d, %r;",
            0xccdd_aabb,
        ),
        (
            "mov.b64 {%r, %s}, 0x1122334455667788;\nmov.b64 %d, {%s, %r};",
            0x5566_7788_1122_3344,
        ),
        (
            "mov.b64 {%h3, %h2, %h1, %h0}, 0x1122334455667788;\nmov.b64 %d, {%h0, %h1, %h2, %h3};",
            0x7788_5566_3344_1122,
        ),
        (
            "mov.b16 {%b0, %b1}, %h1;\nmov.b16 %h2, {%b1, %b0};\ncvt.u64.u16 %d, %h2;",
            0x4433,
        ),
        (
            "mov.b16 {%b0, _}, %h1;\nmov.b16 %h2, {%b0, 0};\ncvt.u64.u16 %d, %h2;",
            0x44,
        ),
    ] {
        assert_eq!(value(&format!("{halves}{body}")), expected, "{body}");
    }
    for instruction in [
        "mov.u32 %r, {%h0, %h1};",
        "mov.s64 {%r, %s}, %a;",
        "mov.f64 %d, {%r, %s};",
    ] {
        assert!(refusal(instruction).contains("of no type of bits"));
    }
    let parts = refusal("mov.b16 %h0, {%h1, %h2};");
    assert!(
        parts.contains("parts of 8 bits, and a register of 16"),
        "{parts}"
    );
}

/// Registers that are of another size than the instruction, each of which ptxas refuses.
#[test]
fn registers_of_other_sizes() {
    for (instruction, reason) in [
        (
            "mov.u64 %r, 5;",
            "%r, a register of 32 bits, as operand 1, which has 64",
        ),
        (
            "mov.u32 %p, %r;",
            "%p, a register of 1 bits, as operand 1, which has 32",
        ),
        (
            "add.u32 %a, %a, 1;",
            "%a, a register of 64 bits, as operand 1",
        ),
        (
            "add.u32 %r, %r, %h0;",
            "%h0, a register of 16 bits, as operand 3",
        ),
        (
            "mul.wide.u32 %r, %r, %r;",
            "%r, a register of 32 bits, as operand 1, which has 64",
        ),
        (
            "mad.wide.u32 %a, %r, %r, %r;",
            "%r, a register of 32 bits, as operand 4",
        ),
        (
            "shl.b64 %a, %a, %a;",
            "%a, a register of 64 bits, as operand 3, which has 32",
        ),
        (
            "setp.lt.u64 %p, %r, %r;",
            "%r, a register of 32 bits, as operand 2",
        ),
        (
            "selp.b64 %a, %a, %r, %p;",
            "%r, a register of 32 bits, as operand 3",
        ),
        (
            "and.pred %r, %r, %r;",
            "%r, a register of 32 bits, as operand 1, which has 1",
        ),
        (
            "fma.rn.f32 %a, %a, %a, %a;",
            "%a, a register of 64 bits, as operand 1",
        ),
    ] {
        let found = refusal(instruction);
        assert!(found.contains(reason), "{instruction}: {found}");
    }
    let right = "mov.u32 %r, 3;\nmov.u16 %h0, 2;\nmul.wide.u32 %a, %r, 5;\nmad.wide.u16 %s, %h0, %h0, %r;\n\
                 shl.b64 %a, %a, %r;\ncvt.u64.u32 %b, %s;\nadd.u64 %d, %a, %b;";
    assert_eq!(value(right), ((3 * 5) << 3) + 2 * 2 + 3);
}

/// A variable of a space, its address there in `%a`, what it holds, and what loads it by that address.
fn variable(space: &str) -> (&'static str, u64, &'static str) {
    match space {
        "global" => ("mov.b64 %a, %x;", 100, "ld.global"),
        "local" => ("mov.u64 %a, loc;", 12, "ld.local"),
        "const" => ("mov.u64 %a, cst;", 13, "ld.const"),
        "param" | "param::entry" => ("mov.b64 %a, p;", 0, "ld.param"),
        _ => ("mov.u64 %a, shr;", 11, "ld.shared"),
    }
}

#[test]
fn generic_addresses() {
    for form in forms_of(GENERIC) {
        let text = form.text();
        let space = &form.words[form.words.len() - 2];
        let (address, mut expected, load) = variable(space);
        let load_wide = space.starts_with("param");
        let width = if load_wide { "b64" } else { "u32" };
        if load_wide {
            expected = value("mov.b64 %d, %x;");
        }
        // There by one, and back by the other: what lies at either is the same.
        let body = if form.has("to") {
            let there = text.replace(".to", "");
            format!("{address}\n{there} %b, %a;\n{text} %a, %b;\n{load}.{width} %d, [%a];")
        } else {
            format!("{address}\n{text} %b, %a;\nld.{width} %d, [%b];")
        };
        assert_eq!(value(&body), expected, "{text}");
    }
    assert!(refusal("cvta.shared.u32 %r, %s;").contains(".u32"));
}

#[test]
fn spaces_of_addresses() {
    // The spaces that generic addresses are of, by the variables.
    let all: [(&str, &[&str]); 5] = [
        ("global", &["global"]),
        // A kernel's parameters lie in global memory's window.
        ("param", &["param", "param::entry", "global"]),
        ("local", &["local"]),
        ("shared", &["shared", "shared::cta", "shared::cluster"]),
        ("other", &["shared::cluster"]),
    ];
    for form in forms_of(SPACES) {
        let text = form.text();
        let asked = &form.words[1][..];
        for (space, of) in all {
            let body = if space == "other" {
                "mov.u64 %a, shr;\ncvta.shared.u64 %a, %a;\nmapa.u64 %b, %a, %other;".to_owned()
            } else {
                format!("{}\ncvta.{space}.u64 %b, %a;", variable(space).0)
            };
            let body = format!("{body}\n{text} %p, %b;\nselp.b64 %d, 1, 0, %p;");
            let expected = u64::from(of.contains(&asked));
            assert_eq!(values(&body, 2), [expected; 2], "{text} of {space}");
        }
        // No memory's.
        let body = format!("{text} %p, 16;\nselp.b64 %d, 1, 0, %p;");
        assert_eq!(value(&body), 0, "{text}");
    }
    assert!(refusal("isspacep.const %p, %x;").contains("no space that is modelled"));
}

#[test]
fn addresses_in_other_ctas() {
    // Each CTA's word is its rank and ten.
    let begin = "add.u32 %r, %rank, 10;\nst.shared.b32 [shr], %r;\nbarrier.cluster.arrive;\nbarrier.cluster.wait;\n";
    for form in forms_of(RANKS) {
        let text = form.text();
        let (register, own, small) = match form.of() {
            "u32" => ("%r", "mov.u32 %s, shr;", "%s"),
            _ => ("%a", "mov.u64 %b, shr;", "%b"),
        };
        let is_generic = !form.has("shared::cluster");
        let own = if is_generic {
            format!("{own}\ncvta.shared.u64 %b, %b;")
        } else {
            own.to_owned()
        };
        let load = if is_generic {
            "ld"
        } else {
            "ld.shared::cluster"
        };
        if form.words[0] == "mapa" {
            let body = format!(
                "{begin}{own}\n{text} {register}, {small}, %other;\n{load}.u32 %d, [{register}];"
            );
            assert_eq!(values(&body, 2), [11, 10], "{text}");
            let body = format!(
                "{begin}{own}\n{text} {register}, {small}, 1;\n{load}.u32 %d, [{register}];"
            );
            assert_eq!(values(&body, 2), [11, 11], "{text}");
            continue;
        }
        let maps = text.replace("getctarank", "mapa");
        let rank = |address: &str| format!("{text} %r, {address};\ncvt.u64.u32 %d, %r;");
        let body = format!(
            "{begin}{own}\n{maps} {small}, {small}, %other;\n{}",
            rank(small)
        );
        assert_eq!(values(&body, 2), [1, 0], "{text}");
        // An address of the own CTA.
        let body = format!("{begin}{own}\n{}", rank(small));
        assert_eq!(values(&body, 2), [0, 1], "{text}");
    }
}

#[test]
fn hints_change_nothing() {
    for form in forms_of(HINTS) {
        let address = match &form.words[1][..] {
            "local" => "mov.u64 %a, loc;",
            "const" => "mov.u64 %a, cst;",
            "param" => "mov.b64 %a, p;",
            _ => "mov.b64 %a, %x;",
        };
        let size = if form.words[0] == "applypriority" {
            ", 128"
        } else {
            ""
        };
        let body = format!(
            "{address}\n{} [%a]{size};\nld.global.u32 %d, [%x+12];\nld.local.u32 %r, [loc];\ncvt.u64.u32 %a, %r;\n\
             add.u64 %d, %d, %a;",
            form.text()
        );
        assert_eq!(value(&body), 103 + 12, "{}", form.text());
    }
}

#[test]
fn what_is_discarded_is_nobodys() {
    for form in forms_of(ENDS) {
        let discard = |at: u32| format!("{} [%x+{at}], 128;\n", form.text());
        // What lies beside it stays, and what is written again is there.
        let beside = format!("{}ld.global.u32 %d, [%x+128];", discard(0));
        assert_eq!(value(&beside), 132);
        let again = format!(
            "{}st.global.u32 [%x+4], 5;\nld.global.u32 %d, [%x+4];",
            discard(0)
        );
        assert_eq!(value(&again), 5);
        let used = "ld.global.u32 %r, [%x+132];\nsetp.eq.u32 %p, %r, 0;\n@%p trap;";
        let (report, _) = run(&format!("{}{used}", discard(128)), 1);
        assert!(
            matches!(report.findings[..], [ref one] if matches!(one.kind, FindingKind::Uninitialised { .. })),
            "{:?}",
            report.findings
        );
        let (report, _) = run(&discard(64), 1);
        assert!(matches!(
            report.findings[0].kind,
            FindingKind::Misaligned { .. }
        ));
        let (report, _) = run(&discard(256), 1);
        assert!(matches!(
            report.findings[0].kind,
            FindingKind::OutOfBounds { .. }
        ));
    }
    let fewer = "discard.global.L2 [%x], 64;";
    assert!(refusal(fewer).contains("128 bytes"));
}

#[test]
fn policies_are_values_that_hints_take() {
    for form in forms_of(POLICIES) {
        let operands = match &form.words[1][..] {
            "fractional" => ", 0.5",
            "range" => ", [%x], 128, 256",
            _ => ", 0x10f0000000000000",
        };
        let body = format!(
            "{} %a{operands};\nld.global.L2::cache_hint.u32 %d, [%x+8], %a;",
            form.text()
        );
        assert_eq!(value(&body), 102, "{}", form.text());
    }
}
