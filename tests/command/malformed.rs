//! Malformed texts and inputs: a message with its place, exit code 1, never a panic.

use super::{Outcome, fixtures, step, tessera, tessera_reading};
use insta::assert_snapshot;

/// The message for a text that does not import; nothing on standard output.
fn refusal(text: impl AsRef<[u8]>) -> String {
    let outcome = tessera_reading(["opt", "-"], text.as_ref());
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert_eq!(outcome.stdout, "");
    outcome.stderr
}

/// A function of two vectors around the given lines.
fn function(lines: &str) -> String {
    format!(
        "func.func @main(%a: tensor<2xf32>, %b: tensor<3xf32>) -> tensor<2xf32> {{\n{lines}\n}}\n"
    )
}

#[test]
fn a_syntax_error_shows_what_was_expected() {
    assert_snapshot!(refusal(function(
        "  %0 = stablehlo.add %a %a : tensor<2xf32>"
    )));
}

#[test]
fn an_unknown_op_is_named() {
    assert_snapshot!(refusal(function(
        "  %0 = stablehlo.frobnicate %a : tensor<2xf32>"
    )));
}

#[test]
fn an_unknown_op_of_our_own_dialect_comes_with_a_suggestion() {
    assert_snapshot!(refusal(function(
        "  %0 = tsr.exponentail %a : tensor<2xf32>\n  return %0 : tensor<2xf32>"
    )));
}

#[test]
fn operands_of_two_shapes_break_a_constraint() {
    let lines = "  %0 = stablehlo.add %a, %b : (tensor<2xf32>, tensor<3xf32>) -> tensor<2xf32>\n  return %0 : tensor<2xf32>";
    assert_snapshot!(refusal(function(lines)));
}

#[test]
fn a_result_type_that_does_not_follow_is_refused() {
    let lines = "  %0 = stablehlo.exponential %a : (tensor<2xf32>) -> tensor<4xf32>\n  return %0 : tensor<4xf32>";
    assert_snapshot!(refusal(function(lines)));
}

#[test]
fn an_undefined_value_is_pointed_at() {
    assert_snapshot!(refusal(function("  return %c : tensor<2xf32>")));
}

#[test]
fn an_unknown_callee_is_pointed_at() {
    assert_snapshot!(refusal(function(
        "  %0 = call @nobody(%a) : (tensor<2xf32>) -> tensor<2xf32>\n  return %0 : tensor<2xf32>"
    )));
}

#[test]
fn an_element_type_that_is_not_supported_is_named() {
    assert_snapshot!(refusal(
        "func.func @main(%a: tensor<2xf8E4M3FN>) {\n  return\n}\n"
    ));
}

#[test]
fn bytes_that_are_not_utf8_are_pointed_at() {
    assert_snapshot!(refusal(b"module {\n  \xff\n}"));
}

#[test]
fn an_empty_text_is_no_module() {
    assert_snapshot!(refusal(""));
}

#[test]
fn a_text_may_end_anywhere_and_is_still_diagnosed() {
    let text = std::fs::read(fixtures().join("operations/control_scan.mlir"))
        .or_else(|_| std::fs::read(step("moe_tiny").0))
        .unwrap();
    // Every prefix would take minutes in a debug build; primes hit all kinds of places.
    for end in (1..text.len().min(20_000)).step_by(997) {
        let message = refusal(&text[..end]);
        assert!(message.contains(": error: "), "cut at {end}: {message}");
    }
}

#[test]
fn deep_nesting_is_refused_before_the_stack_ends() {
    let open = "\"stablehlo.case\"(%i) ({\n".repeat(100_000);
    let text = format!("func.func @main(%i: tensor<i32>) {{\n{open}");
    let message = refusal(&text);
    assert!(message.contains("levels deep"), "{message}");
    let message = refusal(format!("module attributes {{a = {}", "[".repeat(1_000_000)));
    assert!(message.contains("levels deep"), "{message}");
}

fn run(arguments: &[&str]) -> Outcome {
    let outcome = tessera([&["run", &step("llama_tiny").0, "--interpret"], arguments].concat());
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    outcome
}

#[test]
fn a_missing_input_is_named_with_its_type() {
    assert_snapshot!(run(&["--input", "arg0=zeros"]).stderr);
}

#[test]
fn an_initialiser_that_is_not_understood_is_shown() {
    assert_snapshot!(run(&["--input", "arg0=normal(std=high)"]).stderr);
}

#[test]
fn an_input_that_the_step_does_not_have_is_refused() {
    assert_snapshot!(run(&["--input", "arg*=zeros", "--input", "arg999=zeros"]).stderr);
}

#[test]
fn a_truncated_tensor_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    let whole = std::fs::read(fixtures().join("steps/llama_tiny/expected.safetensors")).unwrap();
    for length in [0, 4, 100, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let stderr = run(&["--inputs", path.to_str().unwrap()]).stderr;
        assert!(stderr.starts_with("error: "), "{length}: {stderr}");
        assert!(stderr.contains("state.safetensors"), "{length}: {stderr}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let outcome = tessera(["run", "nowhere/step.mlir"]);
    assert_eq!(outcome.code, Some(1));
    assert!(
        outcome.stderr.starts_with("nowhere/step.mlir: error: "),
        "{}",
        outcome.stderr
    );
}
