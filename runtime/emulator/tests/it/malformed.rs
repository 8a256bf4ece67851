//! Texts that nobody should write: refused with a place, however deep or large.

use tessera_emulator::{Global, Launch, Program, launch, ptx::Module};

fn error(body: &str) -> String {
    let text = format!(".version 8.7\n.target sm_90\n.entry main() {{\n{body}\n}}");
    Module::parse(&text).unwrap_err().to_string()
}

#[test]
fn what_is_nested_too_deep() {
    for open in [
        "{",
        "mov.u32 %r, (",
        "mov.u32 %r, -",
        "mov.u32 %r, {",
        "mov.u32 %r, 1?",
    ] {
        let repeated = open
            .split_once(", ")
            .map_or(("", open), |(_, last)| ("mov.u32 %r, ", last));
        let found = error(&format!("{}{}", repeated.0, repeated.1.repeat(100_000)));
        assert!(
            found.contains("fewer braces and parentheses"),
            "{open}: {found}"
        );
    }
}

#[test]
fn what_is_too_large() {
    assert!(error(".reg .b32 %r<4294967295>;").contains("2^20 variables"));
    assert!(error(".shared .b8 a[4294967297];").contains("2^32 bytes"));
    assert!(error(".shared .align 3 .b8 a[4];").contains("a power of two"));
}

#[test]
fn products_of_64_bits_wrap() {
    let text = ".version 8.7\n.target sm_90\n.address_size 64\n.entry main(.param .u64 p) {\n.reg .b64 %rd<4>;\n\
                ld.param.u64 %rd1, [p];\nmov.u64 %rd2, -1;\nmul.hi.u64 %rd3, %rd2, %rd2;\n\
                st.global.u64 [%rd1], %rd3;\nret;\n}";
    let program = Program::new(&Module::parse(text).unwrap()).unwrap();
    let mut memory = Global::new();
    let address = memory.allocate(8);
    let report = launch(&program, &mut memory, &Launch::new("main").u64(address)).unwrap();
    assert!(report.completed);
    assert_eq!(
        memory.read_bytes(address, 8).unwrap(),
        (u64::MAX - 1).to_le_bytes()
    );
}

#[test]
fn clusters_of_targets_that_have_none() {
    let text = |target: &str| {
        format!(
            ".version 8.7\n.target {target}\n.address_size 64\n.visible .entry main() {{ ret; }}"
        )
    };
    let launched = |target: &str| {
        let program = Program::new(&Module::parse(&text(target)).unwrap()).unwrap();
        let grid = Launch::new("main").grid([4, 1, 1]).cluster([2, 1, 1]);
        launch(&program, &mut Global::new(), &grid).map_err(|error| error.to_string())
    };
    assert!(launched("sm_90").is_ok());
    let error = launched("sm_89").unwrap_err();
    assert!(error.contains("the target has no clusters"), "{error}");
}

#[test]
fn shapes_that_a_kernel_does_not_take() {
    let error = |directive: &str| {
        let text = format!(
            ".version 8.7\n.target sm_90\n.address_size 64\n.visible .entry main() {directive} {{ ret; }}"
        );
        let program = Program::new(&Module::parse(&text).unwrap()).unwrap();
        let grid = Launch::new("main").grid([4, 1, 1]).cluster([4, 1, 1]);
        let error = launch(&program, &mut Global::new(), &grid).unwrap_err();
        error.to_string()
    };
    let max_rank = error(".maxclusterrank 2");
    assert_eq!(
        max_rank,
        "CTAs of a cluster: expected at most 2 of .maxclusterrank, found [4, 1, 1]"
    );
    let clusters = error(".reqntid 1 .reqnctapercluster 4 .blocksareclusters");
    assert!(clusters.contains("which is not modelled"), "{clusters}");
}

#[test]
fn what_is_not_modelled_at_all() {
    let error = |text: &str| Module::parse(text).unwrap_err().to_string();
    let begin = ".version 8.7\n.target sm_90\n";
    assert_eq!(
        error(&format!("{begin}.address_size 32\n")),
        "3:15: expected 64, since addresses of 32 bits are not modelled, found the number 32"
    );
    assert_eq!(
        error(&format!("{begin}.global .texref t;\n")),
        "3:9: expected a variable of numbers, since textures are not modelled, found '.texref'"
    );
    assert_eq!(
        error(&format!("\u{feff}{begin}")),
        "1:1: expected PTX, found a byte order mark"
    );
}

/// Why a body of instructions is refused before anything is launched; the first one's line is the seventh.
fn refusal(body: &str) -> String {
    let text = format!(
        ".version 8.7\n.target sm_90\n.address_size 64\n.visible .entry main() {{\n\
         .reg .b32 %r<4>;\n.reg .pred %p;\n{body}\n}}"
    );
    let program = Program::new(&Module::parse(&text).unwrap());
    let error = program.err().expect("a refusal");
    error.to_string()
}

#[test]
fn names_that_nothing_declares() {
    let undeclared = |name: &str| format!("7:1: expected a name that is declared, found {name}");
    assert_eq!(refusal("mov.b32 %r1, %x;"), undeclared("%x"));
    assert_eq!(refusal("mov.b32 %r4, 1;"), undeclared("%r4"));
    assert_eq!(refusal("@%q mov.b32 %r1, 1;"), undeclared("%q"));
    assert_eq!(refusal("bra L;"), undeclared("L"));
    assert_eq!(refusal("call f;"), undeclared("f"));
    assert_eq!(refusal("ld.shared.b32 %r1, [tile+4];"), undeclared("tile"));
    assert_eq!(refusal("list: .branchtargets L;"), undeclared("L"));
    // A label of a block is none outside of it, and one that is there twice is refused by its place.
    assert_eq!(refusal("bra L;\n{ L: ret; }"), undeclared("L"));
    assert_eq!(refusal("L: ret;\nL: ret;"), "8:1: L is declared already");
}

#[test]
fn instructions_that_the_target_does_not_have() {
    assert_eq!(
        refusal("fence.acq_rel.gpu;\ntcgen05.fence::before_thread_sync;"),
        "8:1: 'tcgen05.fence::before_thread_sync' is not supported on .target sm_90"
    );
}

#[test]
fn instructions_that_nobody_knows_are_errors_when_they_are_reached() {
    let text = ".version 8.7\n.target sm_90\n.address_size 64\n.visible .entry main() {\n\
                .reg .b32 %r<4>;\n.reg .pred %p;\nsetp.eq.u32 %p, 0, 0;\n@%p bra END;\n\
                unheard.of.b32 %r1, %unheard;\nmov.b32 %r1, %pm0;\nEND: ret;\n}";
    let program = Program::new(&Module::parse(text).unwrap()).unwrap();
    let report = launch(&program, &mut Global::new(), &Launch::new("main")).unwrap();
    assert_eq!(report.findings, []);
}
