//! Plan to bundle: MLIR, LLVM and machine code.
//!
//! [`mlir`] is what every target builds kernels with; [`cpu`] makes machine code for x86-64 of them, [`nvptx`] PTX for
//! NVIDIA's GPUs. [`compile`] is the whole way for either.

mod blocks;
mod codegen;
pub mod cpu;
mod error;
mod llvm;
mod manifest;
pub mod mlir;
pub mod nvptx;
mod stage;
mod target;
mod units;
mod work;
mod worker;

pub use error::CodegenError;
pub use llvm::LoweringError;
pub use stage::CodeStage;
pub use target::{Target, TargetError};
pub use units::UnsoundPlan;
pub use worker::{ReproducerError, WorkerCommand, compile_reproducer, worker_main};

use std::collections::BTreeMap;
use std::path::PathBuf;
use tessera_ir::plan::Plan;
use tessera_runtime::bundle::BundleWriter;
use units::Units;

/// How a plan is compiled; nothing here changes a result, and only tiles change the code.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The pass pipeline that made the plan, for the manifest.
    pub pipeline: String,
    /// How many kernels are compiled at once; 0 for as many as there are processors.
    pub threads: usize,
    /// LLVM's linker; found by itself where this is not given.
    pub linker: Option<PathBuf>,
    /// What assembles a GPU's kernels; without it a bundle has them as PTX alone.
    pub assembler: Option<nvptx::Assembler>,
    /// The rows and columns of a result that a CTA of a GPU makes at a time, by the name of a product's kernel, where the
    /// target's own choice is not wanted.
    pub tiles: BTreeMap<String, [u32; 2]>,
    /// Who compiles the kernels, so that an abort within LLVM is an error; this process where this is not given.
    pub worker: Option<WorkerCommand>,
}

/// Compiles a plan to a bundle, to be written by the caller.
///
/// # Errors
/// A kernel holds what the target cannot do, or a tool fails.
pub fn compile(
    plan: &Plan,
    target: &Target,
    options: &Options,
) -> Result<BundleWriter, CodegenError> {
    let units = units(plan, target, options)?;
    let compiled = codegen::compile(&units, target, options)?;
    match target {
        Target::Cpu(cpu) => cpu::bundle(plan, &units, &compiled, cpu, options),
        Target::Gpu(gpu) => nvptx::bundle(plan, &units, &compiled, *gpu, options),
    }
}

/// The text or the object files of a plan's kernels at a stage of their compilation, in the order of the plan: pairs of
/// the kernel's symbol and its code.
///
/// # Errors
/// A kernel holds what the target cannot do, or a tool fails.
pub fn emit(
    plan: &Plan,
    target: &Target,
    stage: CodeStage,
    options: &Options,
) -> Result<Vec<(String, Vec<u8>)>, CodegenError> {
    let units = units(plan, target, options)?;
    codegen::emit(&units, target, stage, options)
}

/// What is compiled for a plan.
fn units<'p>(
    plan: &'p Plan,
    target: &Target,
    options: &Options,
) -> Result<Units<'p>, CodegenError> {
    if matches!(target, Target::Cpu(_)) && !options.tiles.is_empty() {
        return Err(CodegenError::NoTiles {
            target: target.to_string(),
        });
    }
    Units::of(plan, |kernel, symbol| target.builtin(kernel, symbol))?.in_tiles(&options.tiles)
}

/// The version of the LLVM that code is generated with: `22.1.8`.
pub fn llvm_version() -> String {
    let (major, minor, patch) = inkwell::support::get_llvm_version();
    format!("{major}.{minor}.{patch}")
}
