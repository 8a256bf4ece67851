//! Plan to bundle: MLIR, LLVM and machine code.
//!
//! [`mlir`] is what every target builds kernels with; [`cpu`] makes machine code for x86-64 of them.

pub mod cpu;
pub mod mlir;

/// The version of the LLVM that code is generated with: `22.1.8`.
pub fn llvm_version() -> String {
    let (major, minor, patch) = inkwell::support::get_llvm_version();
    format!("{major}.{minor}.{patch}")
}
