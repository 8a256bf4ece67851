//! Whole training steps against JAX: losses step by step, and every result of the first.

use super::{fixtures, step, tessera};

/// Runs a step of the fixtures and compares the losses with JAX's to 1e-4 relative.
fn agrees_with_jax(name: &str, steps: &str, more: &[&str]) {
    let (text, inputs) = step(name);
    let losses = fixtures().join("steps").join(name).join("losses.jsonl");
    let arguments = ["run", &text, "--inputs", &inputs, "--steps", steps];
    let expected = [
        "--expected",
        losses.to_str().unwrap(),
        "--rtol",
        "1e-4",
        "--atol",
        "0",
    ];
    let outcome = tessera([&arguments[..], &expected[..], more].concat());
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(
        outcome.stdout.lines().count().to_string(),
        steps,
        "{}",
        outcome.stdout
    );
}

#[test]
fn a_tiny_llama_trains_as_in_jax() {
    agrees_with_jax("llama_tiny", "20", &[]);
}

#[test]
fn a_tiny_mixture_of_experts_trains_as_in_jax() {
    agrees_with_jax("moe_tiny", "20", &[]);
}

#[test]
fn a_tiny_mixture_of_experts_with_grouped_products_trains_as_in_jax() {
    agrees_with_jax("moe_ragged_tiny", "20", &[]);
    agrees_with_jax("moe_ragged_tiny", "3", &["--interpret"]);
}

#[test]
fn the_interpreter_trains_as_jax_does() {
    agrees_with_jax("llama_tiny", "3", &["--interpret"]);
    agrees_with_jax("moe_tiny", "3", &["--interpret"]);
}

#[test]
fn a_llama_trains_as_in_jax() {
    agrees_with_jax("llama", "2", &[]);
}

#[test]
fn a_mixture_of_experts_trains_as_in_jax() {
    agrees_with_jax("moe", "3", &[]);
}

#[test]
fn a_bundle_trains_like_its_text() {
    let folder = tempfile::tempdir().unwrap();
    let (text, inputs) = step("llama_tiny");
    let bundle = folder.path().join("step.tessera");
    let bundle = bundle.to_str().unwrap();
    let compiled = tessera(["compile", &text, "-o", bundle]);
    assert_eq!(compiled.code, Some(0), "{}", compiled.stderr);
    let from_bundle = tessera(["run", bundle, "--inputs", &inputs, "--steps", "3"]);
    let from_text = tessera(["run", &text, "--inputs", &inputs, "--steps", "3"]);
    assert_eq!(from_bundle.code, Some(0), "{}", from_bundle.stderr);
    assert_eq!(from_bundle.stdout, from_text.stdout);
}

#[test]
fn threads_do_not_change_a_bit() {
    let (text, inputs) = step("moe_tiny");
    let run = |threads| {
        tessera([
            "run",
            &text,
            "--inputs",
            &inputs,
            "--steps",
            "3",
            "--threads",
            threads,
        ])
    };
    let [one, two, three] = ["1", "2", "3"].map(run);
    assert_eq!(one.code, Some(0), "{}", one.stderr);
    assert_eq!(one.stdout, two.stdout);
    assert_eq!(one.stdout, three.stdout);
}

#[test]
fn results_that_differ_exit_with_three() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (text, inputs) = step("llama_tiny");
    let (outputs, log) = (path("results.safetensors"), path("losses.jsonl"));
    let run = ["run", &text, "--inputs", &inputs, "--interpret"];
    let first = tessera([&run[..], &["--outputs", &outputs, "--log", &log]].concat());
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    let same = tessera(
        [
            &run[..],
            &["--expected", &outputs, "--rtol", "0", "--atol", "0"],
        ]
        .concat(),
    );
    assert_eq!(same.code, Some(0), "{}", same.stderr);
    let line = std::fs::read_to_string(&log).unwrap();
    assert!(line.starts_with("{\"step\": 1, \"result"), "{line}");
    let other = path("other.jsonl");
    std::fs::write(&other, line.replace(": 4.", ": 5.")).unwrap();
    let differs = tessera([&run[..], &["--expected", &other]].concat());
    assert_eq!(differs.code, Some(3), "{line}{}", differs.stderr);
    assert!(differs.stderr.contains("expected 5."), "{}", differs.stderr);
}
