//! `.pragma "used_bytes_mask …"`: of the load behind it nobody uses the other bytes, and nothing is said of these (PTX ISA
//! 11.4).

use tessera_emulator::{Finding, FindingKind, Global, Launch, Program, launch, ptx::Module};

/// What is found in a body of one thread, on 24 bytes at `%x`, of which the first four are not written.
fn found(body: &str) -> Vec<Finding> {
    let text = format!(
        ".version 8.8\n.target sm_90\n.address_size 64\n.visible .entry main(.param .u64 p) {{\n\
         .reg .b64 %x;\n.reg .b32 %a, %b, %c, %d;\nld.param.u64 %x, [p];\n{body}\nret;\n}}"
    );
    let program = Program::new(&Module::parse(&text).unwrap()).unwrap();
    let mut memory = Global::new();
    let x = memory.allocate(24);
    for word in 1..6u32 {
        memory
            .write_bytes(x + 4 * u64::from(word), &word.to_le_bytes())
            .unwrap();
    }
    let grid = Launch::new("main").block([1, 1, 1]).u64(x);
    launch(&program, &mut memory, &grid).unwrap().findings
}

/// A load of 16 bytes, half of it behind the end.
const LOAD: &str = "ld.global.v4.b32 {%a, %b, %c, %d}, [%x+16];";

#[test]
fn bytes_behind_the_end_may_be_loaded_where_nobody_uses_them() {
    assert_eq!(
        found(&format!(
            ".pragma \"used_bytes_mask 0xff\";\n{LOAD}\nst.global.b32 [%x+8], %b;"
        )),
        []
    );
    let kinds =
        |body: &str| -> Vec<FindingKind> { found(body).into_iter().map(|one| one.kind).collect() };
    for body in [LOAD, &format!(".pragma \"used_bytes_mask 0xfff\";\n{LOAD}")] {
        assert!(
            matches!(kinds(body)[..], [FindingKind::OutOfBounds { .. }]),
            "{body}"
        );
    }
}

/// The pragma is of one load alone.
#[test]
fn the_next_load_uses_all_bytes_again() {
    let body =
        format!(".pragma \"used_bytes_mask 0xff\";\nld.global.v2.b32 {{%a, %b}}, [%x+8];\n{LOAD}");
    assert_eq!(found(&body).len(), 1);
}

/// What is not used is not there: who uses it all the same has a number that nobody has written.
#[test]
fn what_is_not_used_is_no_number() {
    let body = format!(".pragma \"used_bytes_mask 0xff\";\n{LOAD}\nst.global.b32 [%x+8], %c;");
    let kinds: Vec<FindingKind> = found(&body).into_iter().map(|one| one.kind).collect();
    assert!(
        matches!(kinds[..], [FindingKind::UninitialisedResult { .. }]),
        "{kinds:?}"
    );
}
