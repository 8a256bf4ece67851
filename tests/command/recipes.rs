//! `tessera recipe`.

use super::{tessera, tessera_reading};
use insta::assert_snapshot;

#[test]
fn list_names_every_preset_with_a_summary() {
    let outcome = tessera(["recipe", "list"]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    assert_snapshot!(outcome.stdout);
}

#[test]
fn show_reads_what_it_prints() {
    let once = tessera(["recipe", "show", "averis-metis"]);
    assert_eq!((once.code, once.stderr.as_str()), (Some(0), ""));
    let twice = tessera_reading(["recipe", "show", "-"], once.stdout.as_bytes());
    assert_eq!((twice.code, twice.stdout), (Some(0), once.stdout));
}

#[test]
fn show_remarks_what_is_seldom_meant_on_standard_error() {
    let text = b"extends = \"nvfp4\"\n[forward.weight]\nrounding = \"stochastic\"\n";
    let outcome = tessera_reading(["recipe", "show", "-"], text);
    assert_eq!(outcome.code, Some(0));
    assert!(
        outcome.stdout.starts_with("name = \"-\"\n"),
        "{}",
        outcome.stdout
    );
    assert_eq!(
        outcome.stderr,
        "note: forward rounds the weight stochastically: without bias, but with more noise than to the nearest\n"
    );
}

#[test]
fn a_file_that_is_no_recipe_is_refused_at_its_place() {
    let text = b"extends = \"nvidia\"\n[weight]\nprecision = \"mxfp4\"\n";
    let outcome = tessera_reading(["recipe", "show", "-"], text);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""));
    assert_snapshot!(outcome.stderr);
}

#[test]
fn an_unknown_preset_is_refused_with_the_nearest() {
    let outcome = tessera(["recipe", "show", "avers"]);
    assert_eq!(outcome.code, Some(1));
    let first = outcome.stderr.lines().next();
    assert_eq!(
        first,
        Some("error: unknown recipe 'avers', did you mean 'averis'?")
    );
}

#[test]
fn explain_gives_each_product_a_line() {
    let (step, _) = super::step("llama_tiny");
    let outcome = tessera(["recipe", "explain", &step, "--recipe", "nvidia"]);
    // This step's text has no names.
    let warning = "warning: [keep] whole_blocks: no linear's name tells its block, so single linears are kept;";
    assert_eq!(outcome.code, Some(0));
    assert!(outcome.stderr.starts_with(warning), "{}", outcome.stderr);
    assert_eq!(outcome.stderr.lines().count(), 1);
    assert_snapshot!(outcome.stdout);
}

#[test]
fn what_a_recipe_asks_for_in_vain_is_a_warning() {
    let (step, inputs) = super::step("llama_tiny");
    let text = b"extends = \"fp8\"\n[[override]]\nnames = [\"nobody\"]\nkeep = \"bf16\"\n\
                 [forward.weight]\nrounding = \"stochastic\"\n";
    let explain = ["recipe", "explain", &step, "--recipe", "-"];
    let run = [
        "run",
        &step,
        "--inputs",
        &inputs,
        "--recipe",
        "-",
        "--quiet",
        "--interpret",
    ];
    for arguments in [&explain[..], &run] {
        let outcome = tessera_reading(arguments, text);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        let lines: Vec<&str> = outcome.stderr.lines().collect();
        let [remark, warning] = lines[..] else {
            panic!("{}", outcome.stderr);
        };
        assert!(
            remark.starts_with("note: forward rounds the weight stochastically"),
            "{remark}"
        );
        assert!(
            warning.starts_with("warning: [[override]] names: 'nobody' fits no linear"),
            "{warning}"
        );
    }
    let explained = tessera_reading(explain, text).stdout;
    assert!(
        explained.contains(
            "\nthe CPU multiplies fp8_e4m3 × fp8_e4m3, fp8_e5m2 × fp8_e4m3, fp8_e4m3 × fp8_e5m2 in f32, "
        ),
        "{explained}"
    );
}

#[test]
fn a_step_runs_under_a_recipe() {
    let (step, inputs) = super::step("llama_tiny");
    let arguments = [
        "run", &step, "--inputs", &inputs, "--recipe", "averis", "--quiet",
    ];
    let interpreted = tessera([&arguments[..], &["--interpret"]].concat());
    assert_eq!(interpreted.code, Some(0), "{}", interpreted.stderr);
    // The state that the recipe adds is not shown.
    assert!(
        interpreted
            .stdout
            .starts_with("step 1  result0 1  result61 4.1"),
        "{}",
        interpreted.stdout
    );
    assert_eq!(
        interpreted
            .stdout
            .lines()
            .next()
            .map(|line| line.split("  ").count()),
        Some(3)
    );
}
