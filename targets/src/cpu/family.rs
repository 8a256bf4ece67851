//! How each schedule family's kernels are built.

mod column;
mod dot;
mod index;
mod r#loop;
pub mod nest;
mod reduction;
mod row;
mod sort;
mod work;

pub use dot::gemm;

use super::emission::{Division, Emission};
use crate::mlir::elemental::Unsupported;
use tessera_ir::plan::Family;

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
            "is computed by the runtime, not by a function",
        )),
    }
}
