//! The path to GPUs, by CUDA's driver interface, with a driver whose GPU is in software: what it computes is what the emulator
//! does as a device of the runtime.

use super::{Outcome, step, tessera};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tessera_numerics::{ElementType, Tensor};
use tessera_runtime::bundle::Bundle;
use tessera_runtime::{Device, Program, RunOptions};

/// A folder in which the emulated driver has the name of CUDA's.
fn driver() -> tempfile::TempDir {
    let tests = std::env::current_exe().unwrap();
    let built = tests.with_file_name("libtessera_emulated_driver.so");
    assert!(built.exists(), "{} is not built", built.display());
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(built, folder.path().join("libcuda.so")).unwrap();
    folder
}

/// Runs a program that finds the emulated driver, with that GPU, and no assembler: its modules have to be PTX.
pub fn with_gpu(gpu: &str, program: PathBuf, arguments: &[&str]) -> Outcome {
    let driver = driver();
    let output = Command::new(program)
        .args(arguments)
        .env("LD_LIBRARY_PATH", driver.path())
        .env(tessera_emulated_driver::TARGET, gpu)
        .env("PATH", "")
        .env_remove("VIRTUAL_ENV")
        .env_remove("CUDA_HOME")
        .output()
        .unwrap();
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Three steps on a device: what they print.
fn steps(gpu: &str, recipe: &str, device: &str, more: &[&str]) -> String {
    let (text, inputs) = step("llama_tiny");
    let run = ["run", &text, "--inputs", &inputs, "--steps", "3", "--quiet"];
    let device = ["--recipe", recipe, "--device", device];
    let program = env!("CARGO_BIN_EXE_tessera").into();
    let outcome = with_gpu(gpu, program, &[&run[..], &device, more].concat());
    assert_eq!(outcome.code, Some(0), "{recipe}: {}", outcome.stderr);
    outcome.stdout
}

/// The second step is captured as graphs, the third launches them. Matrices of codes are copied by tensor maps.
#[test]
fn three_steps_by_the_driver_are_those_of_the_emulator() {
    let gpu = "sm_100a";
    let device = format!("emulator:{gpu}");
    let by_driver = steps(gpu, "nvfp4", "cuda:0", &[]);
    assert_eq!(by_driver, steps(gpu, "nvfp4", &device, &[]));
    assert_eq!(by_driver.lines().count(), 3, "{by_driver}");
}

/// A value for an input: small numbers, or zeros.
fn input(element: ElementType, shape: &[usize]) -> Tensor {
    let count: usize = shape.iter().product();
    let numbers = 0..count;
    let made = match element {
        ElementType::F32 => {
            let values: Vec<f32> = numbers.map(|i| (i as f32 * 0.37).sin() / 8.0).collect();
            Tensor::from_values(shape, &values)
        }
        ElementType::I32 => {
            let values: Vec<i32> = numbers.map(|i| i as i32 % 3).collect();
            Tensor::from_values(shape, &values)
        }
        counter => Tensor::zeros(counter, shape),
    };
    made.unwrap()
}

/// Runs a step's bundle with the loader in C, on the GPU that it is for, and compares the results, byte by byte, with those of
/// the emulator as a device of the runtime.
fn check_loader(folder: &Path, bundle: &str, gpu: &str) {
    let opened = Bundle::open(bundle).unwrap();
    let inputs: Vec<Tensor> = (opened.manifest().inputs.iter())
        .map(|one| input(one.tensor_type.element_type, &one.tensor_type.shape))
        .collect();
    let [loader, own, results] =
        ["run_step", "inputs.bin", "results.bin"].map(|name| folder.join(name));
    let compiled = Command::new("cc")
        .args([
            "-std=c99",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-pedantic",
            "-I",
            bundle,
        ])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/run_step.c"))
        .args(["-ldl", "-o"])
        .arg(&loader)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&compiled.stderr);
    assert!(compiled.status.success(), "{said}");
    fs::write(
        &own,
        inputs
            .iter()
            .map(Tensor::bytes)
            .collect::<Vec<_>>()
            .concat(),
    )
    .unwrap();
    let arguments = [bundle, own.to_str().unwrap(), results.to_str().unwrap()];
    let outcome = with_gpu(gpu, loader.clone(), &arguments);
    assert_eq!((outcome.code, &outcome.stderr[..]), (Some(0), ""));

    let program = Program::load_on(&opened, &Device::Emulator(None)).unwrap();
    let expected = program.run(&inputs, &RunOptions::default()).unwrap();
    let expected: Vec<&[u8]> = expected.iter().map(Tensor::bytes).collect();
    assert!(fs::read(&results).unwrap() == expected.concat());

    fs::write(&own, [0; 3]).unwrap();
    let short = with_gpu(gpu, loader, &arguments);
    assert_eq!(short.code, Some(1));
    assert!(
        short.stderr.starts_with("error: ") && short.stderr.contains("found 3 bytes"),
        "{}",
        short.stderr
    );
}

fn compile(text: &str, bundle: &str, more: &[&str]) {
    let flags = ["compile", text, "--ptxas", "none", "-o", bundle];
    let compiled = tessera([&flags[..], more].concat());
    assert_eq!(compiled.code, Some(0), "{}", compiled.stderr);
}

/// A loop, a choice, a constant, and a state that is donated.
const CONTROL: &str = "\
func.func public @main(%state: tensor<300xf32> {tf.aliasing_output = 0 : i32}, %which: tensor<i32>) -> (tensor<300xf32>, tensor<i32>) {
  %zero = stablehlo.constant dense<0> : tensor<i32>
  %one = stablehlo.constant dense<1> : tensor<i32>
  %five = stablehlo.constant dense<5> : tensor<i32>
  %table = stablehlo.constant dense<[1.0, 2.0, 4.0]> : tensor<3xf32>
  %chosen = \"stablehlo.case\"(%which) ({
    %0 = stablehlo.slice %table [0:1] : (tensor<3xf32>) -> tensor<1xf32>
    \"stablehlo.return\"(%0) : (tensor<1xf32>) -> ()
  }, {
    %0 = stablehlo.slice %table [2:3] : (tensor<3xf32>) -> tensor<1xf32>
    \"stablehlo.return\"(%0) : (tensor<1xf32>) -> ()
  }) : (tensor<i32>) -> tensor<1xf32>
  %scalar = stablehlo.reshape %chosen : (tensor<1xf32>) -> tensor<f32>
  %added = stablehlo.broadcast_in_dim %scalar, dims = [] : (tensor<f32>) -> tensor<300xf32>
  %done:2 = stablehlo.while(%i = %zero, %s = %state) : tensor<i32>, tensor<300xf32>
    cond {
      %0 = stablehlo.compare LT, %i, %five : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %0 : tensor<i1>
    } do {
      %0 = stablehlo.add %i, %one : tensor<i32>
      %1 = stablehlo.add %s, %added : tensor<300xf32>
      stablehlo.return %0, %1 : tensor<i32>, tensor<300xf32>
    }
  return %done#1, %done#0 : tensor<300xf32>, tensor<i32>
}
";

#[test]
fn the_loader_in_c_follows_loops_and_choices() {
    let folder = tempfile::tempdir().unwrap();
    let [text, bundle] = ["step.mlir", "step.tessera"].map(|name| folder.path().join(name));
    fs::write(&text, CONTROL).unwrap();
    let bundle = bundle.to_str().unwrap();
    compile(text.to_str().unwrap(), bundle, &["--target", "sm_90a"]);
    let header = fs::read_to_string(Path::new(bundle).join("step.h")).unwrap();
    for op in ["{TESSERA_UNLESS, ", "{TESSERA_CASE, "] {
        assert!(header.contains(op), "{op}{header}");
    }
    check_loader(folder.path(), bundle, "sm_90a");
}

/// Products of codes that tensor maps copy.
#[test]
fn the_loader_in_c_runs_a_step_in_four_bits() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("step.tessera");
    let bundle = bundle.to_str().unwrap();
    let (text, _) = step("llama_tiny");
    compile(&text, bundle, &["--target", "sm_100a", "--recipe", "nvfp4"]);
    let header = fs::read_to_string(Path::new(bundle).join("step.h")).unwrap();
    assert!(
        !header.contains("step_maps[] = {\n    {0}"),
        "no tensor map"
    );
    check_loader(folder.path(), bundle, "sm_100a");
}

/// 74 products of 256 rows, one for each pair of a chip's processors.
const PAIRS: &str = "\
func.func public @main(%x: tensor<74x256x8xf32>, %y: tensor<74x16x8xf32>) -> tensor<74x256x16xf32> {
  %0 = stablehlo.convert %x : (tensor<74x256x8xf32>) -> tensor<74x256x8xbf16>
  %1 = stablehlo.convert %y : (tensor<74x16x8xf32>) -> tensor<74x16x8xbf16>
  %2 = stablehlo.dot_general %0, %1, batching_dims = [0] x [0], contracting_dims = [2] x [2] : (tensor<74x256x8xbf16>, tensor<74x16x8xbf16>) -> tensor<74x256x16xf32>
  return %2 : tensor<74x256x16xf32>
}
";

/// Launches ask for the clusters that the manifest says: in the emulator, by CUDA's driver, by the loader in C.
#[test]
fn pairs_of_ctas_are_launched_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let [text, bundle, results] =
        ["step.mlir", "step.tessera", "results"].map(|name| folder.path().join(name));
    fs::write(&text, PAIRS).unwrap();
    let [bundle, results] = [&bundle, &results].map(|path| path.to_str().unwrap());
    compile(text.to_str().unwrap(), bundle, &["--target", "sm_100a"]);
    let inspected = tessera(["inspect", bundle]).stdout;
    assert!(inspected.contains("cluster 2x1x1"), "{inspected}");
    check_loader(folder.path(), bundle, "sm_100a");

    let run = |more: &[&str]| {
        let program = env!("CARGO_BIN_EXE_tessera").into();
        let own = ["run", bundle, "--quiet", "--input", "*=normal(seed=7)"];
        let outcome = with_gpu("sm_100a", program, &[&own[..], more].concat());
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    };
    run(&["--device", "emulator", "--outputs", results]);
    let exactly = ["--expected", results, "--rtol", "0", "--atol", "0"];
    run(&[&["--device", "cuda:0"][..], &exactly].concat());
}
