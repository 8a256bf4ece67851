use super::super::emission::{Division, Emission};
use crate::mlir::elemental::Unsupported;
pub fn emit(emission: &mut Emission<'_, '_>) -> Result<Division, Unsupported> {
    Err(Unsupported::new(
        &emission.kernel.body.operations()[0],
        "not yet",
    ))
}
