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
