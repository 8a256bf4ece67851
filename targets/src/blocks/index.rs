//! The index family: updates of parts of a tensor, and windows that slide over one.

mod update;
mod window;

use super::Division;
use crate::mlir::Emission;
use crate::mlir::elemental::Unsupported;
use tessera_ir::OpKind;

pub fn emit(emission: &mut Emission<'_, '_>) -> Result<Division, Unsupported> {
    let body = &emission.kernel.body;
    for operation in body.operations() {
        match &operation.op.kind {
            OpKind::Scatter { .. } => return update::scatter(emission, operation),
            OpKind::DynamicUpdateSlice {} => return update::slice(emission, operation),
            OpKind::ReduceWindow { .. } => return window::emit(emission, operation),
            _ => {}
        }
    }
    super::r#loop::emit(emission)
}
