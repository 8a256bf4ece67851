//! The stages of a kernel's compilation.

/// A stage of a kernel's compilation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeStage {
    /// The MLIR that the kernel's family builds.
    Mlir,
    /// Optimised LLVM IR.
    Llvm,
    /// Assembly.
    Assembly,
    /// An ELF object file.
    Object,
}

impl CodeStage {
    /// Every stage, from the plan on.
    pub const ALL: [Self; 4] = [Self::Mlir, Self::Llvm, Self::Assembly, Self::Object];

    /// The stage's word: `mlir`, `llvm`, `asm`, `obj`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mlir => "mlir",
            Self::Llvm => "llvm",
            Self::Assembly => "asm",
            Self::Object => "obj",
        }
    }
}
