//! Kernels for GPUs, run in the emulator with its checker on, and where `TESSERA_DEVICE=cuda:0` names a GPU, on that.

use crate::harness::{Case, loaded};
use tessera_ir::Tensor;
use tessera_runtime::{Device, RunError, RunOptions};

/// The target that the cases are compiled for: the oldest with all that these families use.
const TARGET: &str = "sm_90a";

/// The results of every kernel, one after the other.
pub fn run(cases: &[Case]) -> Vec<Tensor> {
    run_on(cases, TARGET)
}

/// The results on the GPU that the environment names, of code for all that it has; `None` where none is named.
pub fn run_on_gpu(cases: &[Case]) -> Option<Vec<Tensor>> {
    let device: Device = std::env::var("TESSERA_DEVICE").ok()?.parse().unwrap();
    let target = device
        .default_target()
        .unwrap()
        .expect("a GPU has a target");
    let (program, inputs) = loaded(cases, &target, &device);
    let results = program.run(&inputs, &RunOptions::default());
    Some(results.unwrap_or_else(|error| panic!("{error}")))
}

/// The results of every kernel compiled for a target.
pub fn run_on(cases: &[Case], target: &str) -> Vec<Tensor> {
    try_run_on(cases, target).unwrap_or_else(|error| panic!("{error}"))
}

/// The results of every kernel compiled for a target, or what ended the step.
pub fn try_run_on(cases: &[Case], target: &str) -> Result<Vec<Tensor>, RunError> {
    let (program, inputs) = loaded(cases, target, &Device::Emulator(None));
    program.run(&inputs, &RunOptions::default())
}

/// How many roundings of a sum's magnitudes, of 2⁻²⁴ each, the matrix units' products of so many bf16 or f16 are at most.
///
/// An instruction of 16 products is on Ampere two of eight. There all nine terms are cut off 24 bits below the largest one's
/// exponent, and the sum to the 24 bits of an f32: 9 · 2⁻²⁴ + 2⁻²³. Elsewhere it is one, 17 · 2⁻²⁵ + 2⁻²³.
pub fn roundings_of_halves(contracted: usize) -> usize {
    2 * (9 + 2) * contracted.div_ceil(16)
}
