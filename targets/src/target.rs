//! What code is made for.

use crate::codegen::Code;
use crate::cpu::{self, CpuTarget, CpuTargetError};
use crate::nvptx::{self, GpuTarget, GpuTargetError};
use crate::units::{Builtin, Unit};
use crate::{CodeStage, CodegenError};
use std::fmt;
use std::str::FromStr;
use tessera_ir::plan::Kernel;

/// A target: `cpu`, `cpu:x86-64-v3`, `sm_90a`, …
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An x86-64 processor.
    Cpu(CpuTarget),
    /// An NVIDIA GPU.
    Gpu(GpuTarget),
}

/// A name that is no target's, or a target that no code can be made for here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Among the CPUs.
    #[error(transparent)]
    Cpu(#[from] CpuTargetError),
    /// Among the GPUs.
    #[error(transparent)]
    Gpu(#[from] GpuTargetError),
    /// Of neither kind.
    #[error("unknown target '{name}': expected cpu, cpu:LEVEL or a GPU: {gpus}", gpus = nvptx::names())]
    Unknown {
        /// The name given.
        name: String,
    },
}

impl Target {
    /// What the runtime computes itself in a kernel's place, calling the function of that name where it calls one; `None`
    /// where code is made for all of it.
    pub(crate) fn builtin(&self, kernel: &Kernel, symbol: &str) -> Option<Builtin> {
        match self {
            Self::Cpu(_) => cpu::builtin(kernel, symbol),
            Self::Gpu(_) => None,
        }
    }

    /// The stage of the code that a bundle holds.
    pub(crate) fn stage(&self) -> CodeStage {
        match self {
            Self::Cpu(_) => CodeStage::Object,
            Self::Gpu(_) => CodeStage::Assembly,
        }
    }

    /// Compiles a unit in this process, up to a stage.
    pub(crate) fn compile_unit(
        &self,
        unit: &Unit<'_>,
        stage: CodeStage,
    ) -> Result<Code, CodegenError> {
        match self {
            Self::Cpu(target) => cpu::compile_unit(unit, target, stage),
            Self::Gpu(target) => nvptx::compile_unit(unit, *target, stage),
        }
    }

    /// Whether its kernels multiply f16 and bf16 as they are, with sums in f32.
    pub fn has_matrix_units(&self) -> bool {
        match self {
            Self::Cpu(_) => false,
            Self::Gpu(target) => target.has(nvptx::Feature::MmaSync),
        }
    }

    /// Whether its matrix unit has block scales copied in tiles of 128 rows by four.
    pub fn reads_tiles_of_scales(&self) -> bool {
        match self {
            Self::Cpu(_) => false,
            Self::Gpu(target) => target.has(nvptx::Feature::Tcgen05),
        }
    }

    /// What the code is made for, whatever the target's name.
    pub(crate) fn description(&self) -> String {
        match self {
            Self::Cpu(target) => target.description(),
            Self::Gpu(target) => target.to_string(),
        }
    }

    /// The target of a [description](Self::description).
    pub(crate) fn described(text: &str) -> Option<Self> {
        let gpu = text.parse().ok().map(Self::Gpu);
        gpu.or_else(|| CpuTarget::described(text).map(Self::Cpu))
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        if name.starts_with("sm_") {
            return Ok(Self::Gpu(name.parse()?));
        }
        if name == "cpu" || name.starts_with("cpu:") {
            return Ok(Self::Cpu(name.parse()?));
        }
        Err(TargetError::Unknown {
            name: name.to_owned(),
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu(target) => target.fmt(f),
            Self::Gpu(target) => target.fmt(f),
        }
    }
}
