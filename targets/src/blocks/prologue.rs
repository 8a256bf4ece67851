//! What a quantize kernel computes of its operands where it reads the tensor that it quantises: the prologue.

use super::{Division, elements};
use crate::mlir::Emission;
use crate::mlir::elemental::Unsupported;
use tessera_ir::{Graph, OpKind, ValueId};

/// The tensor that a body of quantisations, some perhaps of its Hadamard transforms, reads; `None` where the body is
/// something else.
pub fn quantized(body: &Graph) -> Option<ValueId> {
    let mut tensor = None;
    for result in body.results() {
        let op = &body.defining_operation(result.value)?.op;
        let OpKind::Quantize { .. } = op.kind else {
            return None;
        };
        let quantized = op.operands[0];
        let read = match body.defining_operation(quantized).map(|one| &one.op) {
            Some(op) if matches!(op.kind, OpKind::Hadamard { .. }) => op.operands[0],
            _ => quantized,
        };
        if *tensor.get_or_insert(read) != read {
            return None;
        }
    }
    tensor
}

/// Fills a function that the runtime calls for elements of the tensor, which it writes to the call's own memory.
///
/// # Errors
/// They cannot be computed here.
pub fn emit(emission: &mut Emission<'_, '_>, tensor: ValueId) -> Result<Division, Unsupported> {
    let tensor_type = emission.kernel.body.tensor_type(tensor);
    let (room, element) = (emission.scratch, tensor_type.element);
    elements::for_each(emission, &tensor_type.shape, |emission, indices, place| {
        let made = emission.elemental.element(tensor, indices)?;
        emission.elemental.store(made, room, element, &place);
        Ok(())
    })?;
    Ok(Division::EMPTY)
}
