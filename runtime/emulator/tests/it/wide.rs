//! Numbers of 128 bits: `mov`, `ld`, `st`, `atom.exch` and `atom.cas` (PTX ISA 9.7.9.3, 9.7.9.8, 9.7.9.11, 9.7.13.5).

use tessera_emulator::{Finding, FindingKind, Global, Launch, Program, launch, ptx::Module};

const LOW: u64 = 0x0123_4567_89ab_cdef;
const HIGH: u64 = 0xfedc_ba98_7654_3210;

/// Runs a body in some lanes of one warp on 64 bytes of memory at `%x`, which are given afterwards; the first two words are
/// [`LOW`] and [`HIGH`], the others their number.
fn run(lanes: u32, body: &str) -> (Vec<Finding>, [u64; 8]) {
    let text = format!(
        ".version 8.8\n.target sm_90\n.address_size 64\n.visible .entry main(.param .u64 p) {{\n\
         .reg .b64 %x, %a, %b, %lane;\n.reg .b128 %q, %w, %v;\n.reg .b32 %t;\n.shared .align 16 .b8 own[32];\n\
         ld.param.u64 %x, [p];\nmov.u32 %t, %tid.x;\ncvt.u64.u32 %lane, %t;\n{body}\nret;\n}}"
    );
    let program = Program::new(&Module::parse(&text).unwrap()).unwrap();
    let mut memory = Global::new();
    let words = [LOW, HIGH, 2, 3, 4, 5, 6, 7];
    let x = memory.allocate_with(words.iter().flat_map(|word| word.to_le_bytes()).collect());
    let grid = Launch::new("main").block([lanes, 1, 1]).u64(x);
    let report = launch(&program, &mut memory, &grid).unwrap();
    let bytes = memory.read_bytes(x, 64).unwrap();
    let word = |i: usize| u64::from_le_bytes(bytes[8 * i..8 * i + 8].try_into().unwrap());
    (report.findings, std::array::from_fn(word))
}

fn words(body: &str) -> [u64; 8] {
    let (findings, words) = run(1, body);
    assert_eq!(findings, [], "{body}");
    words
}

#[test]
fn loads_stores_and_moves() {
    for space in ["global.", "", "weak.global.", "relaxed.sys.global."] {
        let body = format!("ld.{space}b128 %q, [%x];\nst.{space}b128 [%x+32], %q;");
        assert_eq!(words(&body)[4..6], [LOW, HIGH], "{body}");
    }
    let halves = "ld.global.b128 %q, [%x];\nmov.b128 {%a, %b}, %q;\nmov.b128 %w, {%b, %a};\nmov.b128 %v, %w;\n\
                  st.shared.b128 [own+16], %v;\nld.shared.b128 %q, [own+16];\nst.global.b128 [%x+16], %q;";
    assert_eq!(words(halves)[2..4], [HIGH, LOW]);
}

#[test]
fn exchanges() {
    let swap =
        "mov.b128 %q, {7, 8};\natom.global.exch.b128 %w, [%x], %q;\nst.global.b128 [%x+16], %w;";
    assert_eq!(words(swap)[..4], [7, 8, LOW, HIGH]);
    // All bits are compared.
    for (low, high, is_equal) in [(LOW, HIGH, true), (LOW, 0, false), (0, HIGH, false)] {
        let body = format!(
            "mov.b128 %q, {{{low:#x}, {high:#x}}};\nmov.b128 %w, {{7, 8}};\n\
             atom.global.cas.b128 %v, [%x], %q, %w;\nst.global.b128 [%x+16], %v;"
        );
        let after = if is_equal { [7, 8] } else { [LOW, HIGH] };
        let found = words(&body);
        assert_eq!(
            (found[..2].to_vec(), &found[2..4]),
            (after.to_vec(), &[LOW, HIGH][..])
        );
    }
}

/// Each lane makes the number one larger in both halves; no other lane's comes between a half and the other.
#[test]
fn lanes_swap_one_after_the_other() {
    let (findings, words) = run(
        32,
        "AGAIN:\nld.relaxed.gpu.global.b128 %q, [%x];\nmov.b128 {%a, %b}, %q;\nadd.u64 %a, %a, 1;\nadd.u64 %b, %b, 1;\n\
         mov.b128 %w, {%a, %b};\natom.global.cas.b128 %v, [%x], %q, %w;\nmov.b128 {%a, %b}, %v;\n.reg .b64 %c, %d;\n\
         mov.b128 {%c, %d}, %q;\n.reg .pred %p;\nsetp.ne.u64 %p, %a, %c;\n@%p bra AGAIN;",
    );
    assert_eq!(findings, []);
    assert_eq!(words[..2], [LOW + 32, HIGH + 32]);
}

#[test]
fn what_is_no_such_access() {
    let reason = |body: &str| match &run(1, body).0[0].kind {
        FindingKind::Refused { reason } => reason.clone(),
        other => other.to_string(),
    };
    for (body, part) in [
        ("ld.global.b128 %q, [%x+8];", "which is no multiple of 16"),
        ("ld.global.v2.b128 {%q, %w}, [%x];", "%q has several"),
        ("atom.global.add.b128 %q, [%x], %w;", "with .add is of"),
        ("mov.b128 {%a, %b}, %a;", "of a number of 128 bits"),
        (
            "mov.b32 %t, %reserved_smem_offset_begin;",
            "which is not modelled",
        ),
    ] {
        let found = reason(body);
        assert!(found.contains(part), "{body}: {found}");
    }
}
