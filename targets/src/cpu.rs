//! The CPU target: a plan's kernels as machine code for x86-64, in one shared object.
//!
//! Each kernel becomes an MLIR module (built by its family), LLVM IR, an object file; dense f32 and f64 matrix
//! products become calls of the runtime's own. A kernel is compiled once for each way in which launches give it
//! overlapping memory: where a result lies in an operand's memory, LLVM is told that they are one and the same, and that
//! nothing else overlaps.

mod codegen;
mod elf;
mod emission;
mod family;
mod header;
mod link;
mod lower;
mod machine;
mod manifest;
mod units;
mod worker;

pub use codegen::CodeStage;
pub use link::linker;
pub use machine::{CpuTarget, CpuTargetError};
pub use worker::{ReproducerError, WorkerCommand, compile_reproducer, worker_main};

use crate::mlir::elemental::Unsupported;
use std::path::PathBuf;
use tessera_ir::plan::Plan;
use tessera_runtime::bundle::BundleWriter;

/// How a plan is compiled; nothing here changes the code.
#[derive(Clone, Debug, Default)]
pub struct CpuOptions {
    /// The pass pipeline that made the plan, for the manifest.
    pub pipeline: String,
    /// How many kernels are compiled at once; 0 for as many as there are processors.
    pub threads: usize,
    /// LLVM's linker; found by itself where this is not given.
    pub linker: Option<PathBuf>,
    /// Who compiles the kernels, so that an abort within LLVM is an error; this process where this is not given.
    pub worker: Option<WorkerCommand>,
}

/// Why a plan does not become code.
#[derive(Debug, thiserror::Error)]
pub enum CpuError {
    /// The target is none.
    #[error(transparent)]
    Target(#[from] CpuTargetError),
    /// A kernel holds an op that the target cannot do there.
    #[error("kernel '{kernel}': {source}")]
    Unsupported {
        /// The kernel's name.
        kernel: String,
        /// Which op, and why.
        source: Unsupported,
    },
    /// MLIR or LLVM refused a kernel: a defect of this compiler.
    #[error("{stage} failed: {message}")]
    Lowering {
        /// Who refused.
        stage: &'static str,
        /// What they said.
        message: String,
    },
    /// The same, of a kernel.
    #[error("kernel '{kernel}' cannot be compiled: {message}")]
    Kernel {
        /// The kernel's name.
        kernel: String,
        /// What went wrong.
        message: String,
        /// The kernel in its text form, to find out why.
        reproducer: String,
    },
    /// A process that is to compile kernels cannot be used.
    #[error("{program} does not compile kernels: {message}", program = .program.display())]
    Worker {
        /// The program.
        program: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The plan breaks a promise.
    #[error("the plan is not sound: {0}")]
    Plan(String),
    /// There is no linker.
    #[error(
        "ld.lld-22 was not found in PATH nor in {folder}: install the package lld-22, or name the linker"
    )]
    NoLinker {
        /// LLVM's folder of programs.
        folder: PathBuf,
    },
    /// The linker refused the object files.
    #[error("{linker} failed: {message}", linker = .linker.display())]
    Linker {
        /// The program.
        linker: PathBuf,
        /// What it said.
        message: String,
    },
    /// A temporary file cannot be written or read.
    #[error("a temporary file: {0}")]
    Io(#[from] std::io::Error),
}

/// Compiles a plan to a bundle, to be written by the caller.
///
/// # Errors
/// A kernel holds what the target cannot do, or a tool fails.
pub fn compile(
    plan: &Plan,
    target: &CpuTarget,
    options: &CpuOptions,
) -> Result<BundleWriter, CpuError> {
    let units = units::Units::of(plan)?;
    let compiled = codegen::compile(&units, target, options)?;
    let manifest = manifest::manifest(plan, &units, &compiled, target, options);
    let header = header::header(&manifest);
    let mut writer = BundleWriter::new(manifest)
        .constants(&plan.constants)
        .file("step.h", header.into_bytes());
    let objects: Vec<&[u8]> = compiled
        .iter()
        .flatten()
        .map(|code| &code.bytes[..])
        .collect();
    if !objects.is_empty() {
        writer = writer.kernels(link::link(&objects, options)?);
    }
    Ok(writer)
}

/// The text or the object files of a plan's kernels at a stage of their compilation, in the order of the plan: pairs of
/// the kernel's symbol and its code.
///
/// # Errors
/// A kernel holds what the target cannot do, or a tool fails.
pub fn emit(
    plan: &Plan,
    target: &CpuTarget,
    stage: CodeStage,
    options: &CpuOptions,
) -> Result<Vec<(String, Vec<u8>)>, CpuError> {
    codegen::emit(&units::Units::of(plan)?, target, stage, options)
}
