//! The index family: updates of parts of a tensor, and windows that slide over one.

mod update;
mod window;

pub use update::Grain;

use super::Division;
use crate::mlir::Emission;
use crate::mlir::elemental::Unsupported;
use tessera_ir::OpKind;

/// Fills a kernel's function, its updates divided as finely as said.
///
/// # Errors
/// The body holds what the family cannot do.
pub fn emit(emission: &mut Emission<'_, '_>, grain: Grain) -> Result<Division, Unsupported> {
    let body = &emission.kernel.body;
    for operation in body.operations() {
        match &operation.op.kind {
            OpKind::Scatter { .. } => return update::scatter(emission, operation, grain),
            OpKind::DynamicUpdateSlice {} => return update::slice(emission, operation, grain),
            OpKind::ReduceWindow { .. } => return window::emit(emission, operation),
            _ => {}
        }
    }
    super::r#loop::emit(emission)
}
