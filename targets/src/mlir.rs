//! The MLIR layer: what every target builds kernels with.
//!
//! Kernels are built in the dialects `llvm` (functions, memory), `scf` (loops), `arith` and `math`. Indices are `i64`;
//! memory is reached through pointers and element offsets, never through memrefs, so that what a loop touches is as
//! plain to LLVM as it is here.
//!
//! * [`Builder`] appends operations and hands back their results.
//! * [`index`] computes with index expressions before any code exists, so that a reshape, a transpose or a broadcast
//!   costs nothing where it needs nothing.
//! * [`scalar`] has each elementwise op on single elements, [`math`] the functions without an instruction.
//! * [`elemental`] gives the value of any fused op at given indices: this is what fusion is.

mod builder;
mod constants;
pub mod elemental;
mod emission;
pub mod index;
pub mod low_precision;
pub mod math;
pub mod quantization;
pub mod scalar;

pub use builder::{Builder, FloatPredicate, IntegerPredicate, Value};
pub use constants::Constants;
pub use emission::{Emission, Frame, try_out};

use melior::{
    Context,
    dialect::DialectRegistry,
    utility::{register_all_dialects, register_all_llvm_translations},
};

/// An MLIR context with the dialects that kernels are built of.
pub fn context() -> Context {
    let registry = DialectRegistry::new();
    register_all_dialects(&registry);
    let context = Context::new_with_registry(&registry, false);
    for dialect in ["llvm", "scf", "cf", "arith", "math", "nvvm"] {
        context.get_or_load_dialect(dialect);
    }
    register_all_llvm_translations(&context);
    context
}
