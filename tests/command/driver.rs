//! The path to GPUs, by CUDA's driver interface, with a driver whose GPU is in software: what it computes is what the emulator
//! does as a device of the runtime.

use super::{Outcome, step};
use std::path::PathBuf;
use std::process::Command;

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
