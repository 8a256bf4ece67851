//! How each schedule family's kernels are built.

mod column;
mod dot;
mod index;
mod r#loop;
pub mod nest;
mod reduction;
mod row;
mod scaled;
mod sort;
mod work;

use super::emission::{Division, Emission};
use super::units::Builtin;
use crate::mlir::elemental::Unsupported;
use tessera_ir::plan::{Family, Kernel};
use tessera_runtime::bundle::Code;

/// The kernel as one that the runtime computes itself; `None` where it becomes a function.
pub fn builtin(kernel: &Kernel) -> Option<Builtin> {
    match kernel.family {
        Family::Dot => match dot::gemm(kernel) {
            Some((gemm, operands)) => Some(Builtin {
                code: Code::Gemm(gemm),
                operands: operands.into(),
            }),
            None => scaled::builtin(kernel),
        },
        Family::Quantize | Family::Solve => scaled::builtin(kernel),
        Family::Loop | Family::Row | Family::Column | Family::Index | Family::Sort => None,
    }
}

/// Fills a kernel's function.
///
/// # Errors
/// The body holds what its family cannot do.
pub fn emit(emission: &mut Emission<'_, '_>) -> Result<Division, Unsupported> {
    match emission.kernel.family {
        Family::Loop => r#loop::emit(emission),
        Family::Row => row::emit(emission),
        Family::Column => column::emit(emission),
        Family::Dot => dot::emit(emission),
        Family::Index => index::emit(emission),
        Family::Sort => sort::emit(emission),
        Family::Quantize | Family::Solve => Err(Unsupported::new(
            &emission.kernel.body.operations()[0],
            "is not in the form that the runtime computes",
        )),
    }
}
