//! Streams and exit codes: the product on standard output, the rest on standard error.

use super::{fixtures, step, tessera, tessera_reading};
use insta::assert_snapshot;

const BLOCK: &str = "\
func.func @main(%x: tensor<4x8xf32>, %w: tensor<8x8xf32>) -> tensor<4x8xf32> {
  %zero = stablehlo.constant dense<0.0> : tensor<f32>
  %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
  %1 = stablehlo.broadcast_in_dim %zero, dims = [] : (tensor<f32>) -> tensor<4x8xf32>
  %2 = stablehlo.maximum %0, %1 : tensor<4x8xf32>
  return %2 : tensor<4x8xf32>
}
";

#[test]
fn opt_prints_the_graph_as_it_was_read() {
    let outcome = tessera_reading(["opt", "-"], BLOCK.as_bytes());
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(outcome.stderr, "");
    assert_snapshot!(outcome.stdout);
}

#[test]
fn opt_reads_what_it_prints() {
    for form in [&[][..], &["--generic"], &["--locations"]] {
        let once = tessera_reading([&["opt", "-"], form].concat(), BLOCK.as_bytes());
        let twice = tessera_reading([&["opt", "-"], form].concat(), once.stdout.as_bytes());
        assert_eq!(
            (twice.code, twice.stdout),
            (Some(0), once.stdout),
            "{form:?}"
        );
    }
}

#[test]
fn print_ir_after_all_goes_to_standard_error() {
    let arguments = [
        "opt",
        "-",
        "--passes",
        "inline,canonicalise",
        "--print-ir-after-all",
    ];
    let outcome = tessera_reading(arguments, BLOCK.as_bytes());
    assert_eq!(outcome.code, Some(0));
    assert!(
        outcome.stderr.contains("// after 0: inline"),
        "{}",
        outcome.stderr
    );
    assert!(
        outcome.stderr.contains("// after 1: canonicalise"),
        "{}",
        outcome.stderr
    );
    assert!(!outcome.stdout.contains("// after"));
}

#[test]
fn an_unknown_pass_is_refused_with_a_suggestion() {
    let outcome = tessera_reading(["opt", "-", "--passes", "inlin"], BLOCK.as_bytes());
    assert_eq!(outcome.code, Some(1));
    assert!(
        outcome.stderr.contains("did you mean 'inline'"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn wrong_usage_exits_with_two() {
    assert_eq!(tessera(["run"]).code, Some(2));
    assert_eq!(
        tessera(["compile", "-", "--emit", "everything"]).code,
        Some(2)
    );
    assert_eq!(tessera(["--version"]).code, Some(0));
}

#[test]
fn the_text_of_a_stage_can_be_compiled_further() {
    let tsr = tessera_reading(["opt", "-"], BLOCK.as_bytes()).stdout;
    for emit in ["tsr", "plan", "mlir", "llvm", "asm"] {
        let outcome = tessera_reading(["compile", "-", "--emit", emit], tsr.as_bytes());
        assert_eq!(outcome.code, Some(0), "{emit}: {}", outcome.stderr);
        assert!(!outcome.stdout.is_empty(), "{emit}");
    }
}

#[test]
fn a_failed_compilation_leaves_no_output() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("step.tessera");
    let arguments = [
        "compile",
        "-",
        "-o",
        output.to_str().unwrap(),
        "--target",
        "cpu:no-such-chip",
    ];
    let outcome = tessera_reading(arguments, BLOCK.as_bytes());
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("no-such-chip"),
        "{}",
        outcome.stderr
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn two_compilations_give_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (text, _) = step("moe_tiny");
    let bundles = ["a.tessera", "b.tessera"].map(|name| folder.path().join(name));
    for (bundle, jobs) in bundles.iter().zip(["1", "2"]) {
        let arguments = [
            "compile",
            &text,
            "-o",
            bundle.to_str().unwrap(),
            "--jobs",
            jobs,
        ];
        let outcome = tessera(arguments);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    }
    let mut names: Vec<_> = std::fs::read_dir(&bundles[0])
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert!(names.len() >= 3, "{names:?}");
    for name in names {
        let [a, b] = bundles
            .each_ref()
            .map(|bundle| std::fs::read(bundle.join(&name)).unwrap());
        assert!(a == b, "{name:?} differs");
    }
}

#[test]
fn inspect_shows_what_a_bundle_holds() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("block.tessera");
    let bundle = bundle.to_str().unwrap();
    let compiled = tessera_reading(["compile", "-", "-o", bundle], BLOCK.as_bytes());
    assert_eq!(compiled.code, Some(0), "{}", compiled.stderr);
    let outcome = tessera(["inspect", bundle]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    for expected in [
        "graph     main",
        "arg0      tensor<4x8xf32>",
        "result0   tensor<4x8xf32>",
        "gemm",
    ] {
        assert!(
            outcome.stdout.contains(expected),
            "{expected}: {}",
            outcome.stdout
        );
    }
}

#[test]
fn doctor_finds_what_the_build_needed() {
    let outcome = tessera(["doctor"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("LLVM"));
}

#[test]
fn the_generic_form_is_read_by_mlir_opt() {
    let mlir_opt = "/usr/lib/llvm-22/bin/mlir-opt";
    if !std::path::Path::new(mlir_opt).exists() {
        eprintln!("SKIPPED: mlir-opt is not installed (Debian: mlir-22-tools)");
        return;
    }
    let texts = ["steps/moe_tiny/step.mlir", "steps/llama_tiny/step.mlir"];
    for text in texts.map(|text| fixtures().join(text)) {
        let folder = tempfile::tempdir().unwrap();
        let generic = folder.path().join("generic.mlir");
        let arguments = [
            "opt",
            text.to_str().unwrap(),
            "--generic",
            "--locations",
            "-o",
            generic.to_str().unwrap(),
        ];
        assert_eq!(tessera(arguments).code, Some(0));
        let read = std::process::Command::new(mlir_opt)
            .arg("--allow-unregistered-dialect")
            .arg(&generic)
            .output()
            .unwrap();
        assert!(
            read.status.success(),
            "{}",
            String::from_utf8_lossy(&read.stderr)
        );
    }
}

#[test]
fn nobody_reading_standard_error_is_no_failure() {
    let status = std::process::Command::new(env!("CARGO_BIN_EXE_tessera"))
        .args([
            "run",
            &step("llama_tiny").0,
            "--inputs",
            &step("llama_tiny").1,
        ])
        .stdout(std::process::Stdio::null())
        .stderr(std::fs::File::create("/dev/full").unwrap())
        .status();
    assert_eq!(status.unwrap().code(), Some(0));
}

#[test]
fn a_bundle_with_other_files_in_it_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("block.tessera");
    let arguments = ["compile", "-", "-o", bundle.to_str().unwrap()];
    assert_eq!(tessera_reading(arguments, BLOCK.as_bytes()).code, Some(0));
    assert_eq!(tessera_reading(arguments, BLOCK.as_bytes()).code, Some(0));
    std::fs::write(bundle.join("notes.txt"), "mine").unwrap();
    let outcome = tessera_reading(arguments, BLOCK.as_bytes());
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.contains("notes.txt"), "{}", outcome.stderr);
    assert!(bundle.join("notes.txt").exists());
}

#[test]
fn a_bundle_is_compiled_already() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["run", folder.path().to_str().unwrap(), "--target", "cpu"];
    let outcome = tessera(arguments);
    assert_eq!(outcome.code, Some(1));
    assert_eq!(
        outcome.stderr,
        "error: --target takes a step's text, not a bundle\n"
    );
}
