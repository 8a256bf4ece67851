//! MLIR itself reads the generic form and verifies it.

use super::EXAMPLE;
use super::random::modules;
use crate::Module;
use crate::text::{PrintOptions, parse, print};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use std::io::Write;
use std::process::{Command, Stdio};

/// The program's names, by Debian's packages and by LLVM's own.
const NAMES: [&str; 2] = ["mlir-opt-22", "mlir-opt"];

/// The program of release 22, the one whose syntax the generic form has.
fn program() -> Option<&'static str> {
    NAMES.into_iter().find(|name| {
        let output = Command::new(name).arg("--version").output();
        output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("version 22."))
    })
}

/// What stands between modules.
const SEPARATOR: &str = "// -----\n";

/// Each text of `mlir-opt`'s own for the texts, or what it says against them.
fn mlir_opt(program: &str, texts: &[String]) -> Result<Vec<String>, String> {
    let mut process = Command::new(program)
        .arg("--allow-unregistered-dialect")
        .args(["--mlir-print-op-generic", "--mlir-print-debuginfo"])
        .arg(format!("--split-input-file={}", SEPARATOR.trim()))
        .arg(format!("--output-split-marker={}", SEPARATOR.trim()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it started before");
    let mut input = process.stdin.take().expect("the input is piped");
    let text = texts.join(SEPARATOR);
    // It reads all before it writes anything, so neither waits for the other.
    input
        .write_all(text.as_bytes())
        .expect("it reads its input");
    drop(input);
    let output = process.wait_with_output().expect("it ends");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.split(SEPARATOR).map(str::to_owned).collect())
}

#[test]
fn mlir_reads_the_generic_form_and_its_own_text_is_the_same_module() {
    let Some(program) = program() else {
        eprintln!(
            "SKIPPED: no {} of release 22 on the path",
            NAMES.join(" or ")
        );
        return;
    };
    let mut modules: Vec<Module> = random(60);
    modules.push(parse(EXAMPLE, Some("example.tsr")).unwrap());
    let options = PrintOptions {
        locations: true,
        generic: true,
    };
    let texts: Vec<String> = modules
        .iter()
        .map(|module| print(module, options))
        .collect();
    let printed = mlir_opt(program, &texts).unwrap();
    assert_eq!(printed.len(), modules.len());
    for (text, module) in printed.iter().zip(&modules) {
        let read = parse(text, None).map_err(|error| error.render("mlir-opt", text));
        assert_eq!(read.as_ref(), Ok(module), "{text}");
    }
}

/// The same random modules each time.
fn random(count: usize) -> Vec<Module> {
    let mut runner = TestRunner::deterministic();
    let strategy = modules();
    let sample = |_| {
        strategy
            .new_tree(&mut runner)
            .expect("nothing is filtered")
            .current()
    };
    (0..count).map(sample).collect()
}
