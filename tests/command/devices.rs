//! `tessera run --device`, and bundles for a GPU.

use super::{Outcome, tessera, tessera_reading};
use tessera_runtime::tensors;

/// A state that each step adds to, and the sum of its squares.
const STEP: &str = "\
func.func public @main(%state: tensor<300xf32> {tf.aliasing_output = 0 : i32}, %x: tensor<300xf32>) -> (tensor<300xf32>, tensor<f32>) {
  %zero = stablehlo.constant dense<0.0> : tensor<f32>
  %0 = stablehlo.add %state, %x : tensor<300xf32>
  %1 = stablehlo.multiply %0, %0 : tensor<300xf32>
  %2 = stablehlo.reduce(%1 init: %zero) applies stablehlo.add across dimensions = [0] : (tensor<300xf32>, tensor<f32>) -> tensor<f32>
  return %0, %2 : tensor<300xf32>, tensor<f32>
}
";

/// Three steps from ones, by ones: sums of small integers, which are exact in any order.
fn run(flags: &[&str]) -> Outcome {
    let inputs = ["--input", "arg*=ones", "--steps", "3", "-q"];
    tessera_reading(
        [&["run", "-"], &inputs[..], flags].concat(),
        STEP.as_bytes(),
    )
}

const LOSSES: &str = "step 1  result1 1200\nstep 2  result1 2700\nstep 3  result1 4800\n";

#[test]
fn a_step_runs_on_an_emulated_gpu() {
    for device in [
        "cpu",
        "emulator:sm_80",
        "emulator:sm_90a",
        "emulator:sm_120a",
    ] {
        let outcome = run(&["--device", device]);
        let found = (outcome.code, &outcome.stderr[..], &outcome.stdout[..]);
        assert_eq!(found, (Some(0), "", LOSSES), "{device}");
    }
}

/// Results that are inputs need no kernel.
#[test]
fn a_step_without_kernels_runs_on_an_emulated_gpu() {
    let step =
        "func.func public @main(%x: tensor<2xf32>) -> tensor<2xf32> { return %x : tensor<2xf32> }";
    for device in ["emulator:sm_80", "emulator:sm_100a"] {
        let flags = ["run", "-", "--device", device, "--input", "arg*=ones", "-q"];
        let outcome = tessera_reading(flags, step.as_bytes());
        assert_eq!(
            (outcome.code, &outcome.stderr[..]),
            (Some(0), ""),
            "{device}"
        );
    }
}

/// The last six of a row of 70 are loaded together with two behind them, which nobody uses and which are no memory.
#[test]
fn rows_that_end_within_a_load_are_read_to_their_end() {
    let step = "func.func @main(%x: tensor<128x64xbf16>, %y: tensor<70x64xbf16>, %b: tensor<70xf32>) -> tensor<128x70xf32> {
      %0 = stablehlo.dot_general %x, %y, contracting_dims = [1] x [1] : (tensor<128x64xbf16>, tensor<70x64xbf16>) -> tensor<128x70xf32>
      %1 = stablehlo.broadcast_in_dim %b, dims = [1] : (tensor<70xf32>) -> tensor<128x70xf32>
      %2 = stablehlo.add %0, %1 : tensor<128x70xf32>
      return %2 : tensor<128x70xf32>
    }";
    let flags = [
        "run",
        "-",
        "--device",
        "emulator:sm_100a",
        "--input",
        "arg*=ones",
        "-q",
    ];
    let outcome = tessera_reading(flags, step.as_bytes());
    assert_eq!((outcome.code, &outcome.stderr[..]), (Some(0), ""));
}

#[test]
fn a_report_has_the_times_of_kernels_where_they_were_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.json");
    let outcome = run(&["--profile", "--report", path.to_str().unwrap()]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let kernels = report["kernels"].as_array().unwrap();
    assert!(!kernels.is_empty());
    for kernel in kernels {
        assert_eq!(kernel["launches"], 3);
        let [all, least] = ["seconds", "least_seconds"].map(|key| kernel[key].as_f64().unwrap());
        assert!(0.0 < least && 3.0 * least <= all, "{kernel}");
    }
}

#[test]
fn a_gpu_s_bundle_runs_where_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("step.tessera");
    let bundle = bundle.to_str().unwrap();
    let flags = ["compile", "-", "--target", "sm_90a", "-o", bundle];
    let compiled = tessera_reading(flags, STEP.as_bytes());
    assert_eq!(compiled.code, Some(0), "{}", compiled.stderr);

    let shown = tessera(["inspect", bundle]).stdout;
    assert!(shown.contains("target    sm_90a (nvptx64)\n"), "{shown}");
    assert!(shown.contains("  grid "), "{shown}");
    assert!(shown.contains(", block "), "{shown}");
    let chip = "chip      H200, 4.8 TB/s, 67 Tflop/s in f32; times at least are for it\n";
    assert!(shown.contains(chip), "{shown}");
    assert!(
        shown.contains("3.5 KiB, 900 op, at least 0.8 ns (memory)\n"),
        "{shown}"
    );

    let results = folder.path().join("results.safetensors");
    let run = |device: &[&str]| {
        let flags = ["run", bundle, "--input", "arg*=ones", "-q", "--outputs"];
        tessera([&flags[..], &[results.to_str().unwrap()], device].concat())
    };
    for seed in ["0", "1"] {
        let outcome = run(&["--device", "emulator", "--emulator-seed", seed]);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        let found = tensors::read(&results).unwrap();
        assert_eq!(found[1].1.values::<f32>().unwrap(), [1200.0]);
    }
    for (device, name) in [
        (&[][..], "cpu"),
        (&["--device", "emulator:sm_120a"], "emulator:sm_120a"),
    ] {
        let outcome = run(device);
        assert_eq!(outcome.code, Some(1));
        let expected = format!(
            "made for sm_90a, which {name} does not run; expected the device emulator:sm_90a, or cuda:N where GPU N is one\n"
        );
        assert!(outcome.stderr.ends_with(&expected), "{}", outcome.stderr);
    }
}

#[test]
fn a_device_that_is_none_is_told_the_choices() {
    let outcome = run(&["--device", "gpu"]);
    assert_eq!(outcome.code, Some(2));
    assert!(
        outcome.stderr.contains("expected a device: cpu, emulator"),
        "{}",
        outcome.stderr
    );

    let outcome = run(&["--device", "emulator"]);
    assert_eq!(outcome.code, Some(1));
    assert!(
        outcome
            .stderr
            .contains("name one with --target sm_90a, or the device as emulator:sm_90a"),
        "{}",
        outcome.stderr
    );
    let outcome = run(&["--device", "emulator", "--target", "sm_100a"]);
    assert_eq!(
        (outcome.code, &outcome.stdout[..]),
        (Some(0), LOSSES),
        "{}",
        outcome.stderr
    );
}

/// The whole way: named on the command line, asked of a worker, printed.
#[test]
fn a_products_tile_can_be_chosen() {
    let step = "func.func @main(%x: tensor<100x64xbf16>, %y: tensor<40x64xbf16>) -> tensor<100x40xf32> {
      %0 = tsr.dot_general %x, %y {lhs_batching_dimensions = [], rhs_batching_dimensions = [], lhs_contracting_dimensions = [1], rhs_contracting_dimensions = [1], accumulator = f32} : (tensor<100x64xbf16>, tensor<40x64xbf16>) -> tensor<100x40xf32>
      return %0 : tensor<100x40xf32>
    }";
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("step.tessera");
    let bundle = bundle.to_str().unwrap();
    let compiled = |tile: &str| {
        let flags = [
            "compile", "-", "--target", "sm_90a", "--tile", tile, "-o", bundle,
        ];
        tessera_reading(flags, step.as_bytes())
    };
    let outcome = compiled("dot=128x16");
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let shown = tessera(["inspect", bundle]).stdout;
    assert!(shown.contains(", tile 128x16x64 in 1 stage"), "{shown}");
    for (tile, expected) in [
        ("dot=128x20", "is not made in tiles of 128x20: expected "),
        (
            "dot_1=128x16",
            "there is no kernel 'dot_1' to choose a tile for: expected one of dot\n",
        ),
        (
            "dot",
            "expected KERNEL=ROWSxCOLUMNS, dot_1=128x64 for one\n",
        ),
    ] {
        let outcome = compiled(tile);
        assert_ne!(outcome.code, Some(0));
        assert!(outcome.stderr.contains(expected), "{}", outcome.stderr);
    }
}
