//! LLVM's code generator for GPUs.

use super::GpuTarget;
use crate::llvm::{LoweringError, Machine};
use inkwell::{
    OptimizationLevel,
    targets::{CodeModel, InitializationConfig, RelocMode, Target, TargetTriple},
};

/// LLVM's code generator for the target.
pub fn machine(target: GpuTarget) -> Result<Machine, LoweringError> {
    let fail = |message: String| LoweringError {
        stage: "LLVM's target",
        message,
    };
    Target::initialize_nvptx(&InitializationConfig::default());
    let triple = TargetTriple::create("nvptx64-nvidia-cuda");
    let found = Target::from_triple(&triple).map_err(|error| fail(error.to_string()))?;
    let capability = target.capability();
    let machine = found.create_target_machine(
        &triple,
        capability.name,
        &format!("+ptx{}", capability.ptx_version),
        OptimizationLevel::Aggressive,
        RelocMode::Default,
        CodeModel::Default,
    );
    let machine = machine.ok_or_else(|| fail(format!("there is none for {target}")))?;
    Ok(Machine(machine))
}
