//! What a dot kernel computes of an element of its product before it writes: the epilogue, or nothing.

use super::{Division, elements};
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::{self, Expression};
use crate::mlir::{Emission, Value};
use std::collections::BTreeSet;
use tessera_ir::{Graph, OpKind, Operation, ValueId};

/// The op of a dot kernel's body that multiplies.
pub fn product(graph: &Graph) -> Option<&Operation> {
    let is_product = |operation: &&Operation| operation.op.kind.is_product();
    let mut found = graph.operations().iter().filter(is_product);
    let operation = found.next()?;
    found.next().is_none().then_some(operation)
}

/// Fills a function that the runtime calls for elements of a product it has made, which are in the call's own memory.
///
/// # Errors
/// What follows the product cannot be computed here.
pub fn emit(emission: &mut Emission<'_, '_>, product: &Operation) -> Result<Division, Unsupported> {
    let product_type = emission.kernel.body.tensor_type(product.result());
    if product_type.shape.contains(&0) {
        return Ok(Division::EMPTY);
    }
    let (base, element) = (emission.scratch, product_type.element);
    elements::for_each(emission, &product_type.shape, |emission, indices, place| {
        let made = emission.elemental.load(base, element, place);
        write(emission, product, indices, made)
    })?;
    Ok(Division::EMPTY)
}

/// Writes what the body's results are at an element of the product's.
///
/// # Errors
/// It cannot be computed here.
pub fn write<'c>(
    emission: &mut Emission<'c, '_>,
    product: &Operation,
    indices: &[Expression],
    element: Value<'c>,
) -> Result<(), Unsupported> {
    let body = &emission.kernel.body;
    let shape = &body.tensor_type(product.result()).shape;
    let place = index::linearize(indices, shape);
    let at = |other: &[usize]| match other == shape {
        true => indices.to_vec(),
        false => index::delinearize(&place, other),
    };
    (emission.elemental).provide(product.result(), indices.to_vec(), element);
    // Elements of reshapes are those at the same place, which their indices alone need not tell.
    let mut of_product = BTreeSet::from([product.result()]);
    for operation in body.operations() {
        if !(operation.op.operands.iter()).any(|operand| of_product.contains(operand)) {
            continue;
        }
        of_product.extend(operation.results());
        if matches!(operation.op.kind, OpKind::Reshape { .. }) {
            let from = operation.op.operands[0];
            let element = (emission.elemental).element(from, &at(&body.tensor_type(from).shape))?;
            let to = &body.tensor_type(operation.result()).shape;
            (emission.elemental).provide(operation.result(), at(to), element);
        }
    }
    let results = emission.result_values();
    let mut elements = Vec::with_capacity(results.len());
    for &value in &results {
        let value = reduced(body, value).map_or(value, |reduction| reduction.op.operands[0]);
        let indices = at(&body.tensor_type(value).shape);
        elements.push(emission.elemental.element(value, &indices)?);
    }
    // All are computed before the first is written: a result may lie where an operand does.
    for ((number, &value), element) in results.iter().enumerate().zip(elements) {
        if let Some(reduction) = reduced(body, value) {
            if !emission.count_magnitude(number, element) {
                let reason = "finds the largest of a product, which this target's kernels do not";
                return Err(Unsupported::new(reduction, reason));
            }
            continue;
        }
        let indices = at(&body.tensor_type(value).shape);
        emission.store_result(number, &indices, element);
    }
    Ok(())
}

/// The reduction that makes a value, if one does: of the magnitudes of all that is made of the product.
fn reduced(body: &Graph, value: ValueId) -> Option<&Operation> {
    let operation = body.defining_operation(value)?;
    matches!(operation.op.kind, OpKind::Reduce { .. }).then_some(operation)
}
