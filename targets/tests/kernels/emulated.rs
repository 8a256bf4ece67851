//! Kernels for GPUs, run in the emulator with its checker on.

use crate::harness::{Case, loaded};
use tessera_ir::Tensor;
use tessera_runtime::{Device, RunOptions};

/// The target that the cases are compiled for: the oldest with all that these families use.
const TARGET: &str = "sm_90a";

/// The results of every kernel, one after the other.
pub fn run(cases: &[Case]) -> Vec<Tensor> {
    let (program, inputs) = loaded(cases, TARGET, &Device::Emulator(None));
    let results = program.run(&inputs, &RunOptions::default());
    results.unwrap_or_else(|error| panic!("{error}"))
}
