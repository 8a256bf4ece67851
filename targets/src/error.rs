//! Why a plan does not become code.

use crate::llvm::LoweringError;
use crate::mlir::elemental::Unsupported;
use crate::units::UnsoundPlan;
use std::path::PathBuf;

/// Why a plan does not become code.
#[derive(Debug, thiserror::Error)]
pub enum CodegenError {
    /// A kernel holds an op that the target cannot do there.
    #[error("kernel '{kernel}': {source}")]
    Unsupported {
        /// The kernel's name.
        kernel: String,
        /// Which op, and why.
        source: Unsupported,
    },
    /// MLIR or LLVM refused a kernel.
    #[error(transparent)]
    Lowering(#[from] LoweringError),
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
    #[error(transparent)]
    Plan(#[from] UnsoundPlan),
    /// A tile is chosen for a kernel that is not there.
    #[error("there is no kernel '{name}' to choose a tile for: expected one of {products}")]
    NoKernel {
        /// The name given.
        name: String,
        /// The kernels that make products.
        products: String,
    },
    /// Tiles are chosen where there are none to choose.
    #[error("there are no tiles to choose for {target}: only GPUs' kernels are cut into them")]
    NoTiles {
        /// The target.
        target: String,
    },
    /// Object files are asked for where there are none.
    #[error("there are no object files for {target}: its code is PTX")]
    NoObjects {
        /// The target.
        target: String,
    },
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
    /// The GPU's assembler cannot be run, or refuses the kernels.
    #[error("{program} does not assemble for {target}: {message}", program = .program.display())]
    Assembler {
        /// The program.
        program: PathBuf,
        /// The target.
        target: String,
        /// What it said.
        message: String,
    },
    /// A temporary file cannot be written or read.
    #[error("a temporary file: {0}")]
    Io(#[from] std::io::Error),
}
