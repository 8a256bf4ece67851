//! Sums of products.

use super::Scope;
use crate::raw::RawOp;
use tessera_ir::diagnostic::Diagnostic;
use tessera_ir::text::{AttributeValue, Dictionary};
use tessera_ir::{ElementType, OpKind, ValueId};

/// A product with the accumulator that its algorithm names, or else that its types ask for: f64 and integers add up
/// in themselves, the other floats in f32.
pub(super) fn dot_general(
    scope: &mut Scope<'_, '_>,
    op: &RawOp<'_>,
) -> Result<Vec<ValueId>, Diagnostic> {
    let numbers = op.attribute("dot_dimension_numbers")?.dictionary()?;
    let element = op.result_type()?.element;
    let mut operands = scope.operands(op)?;
    let algorithm = algorithm(op)?;
    if let Some(algorithm) = &algorithm {
        for (operand, precision) in operands.iter_mut().zip(algorithm.operands) {
            if scope.graph.tensor_type(*operand).element != precision {
                let kind = OpKind::Convert { element: precision };
                *operand = scope.push_one(op, kind, vec![*operand])?;
            }
        }
    }
    let kind = OpKind::DotGeneral {
        lhs_batching_dimensions: dimensions(numbers, "lhs_batching_dimensions")?,
        rhs_batching_dimensions: dimensions(numbers, "rhs_batching_dimensions")?,
        lhs_contracting_dimensions: dimensions(numbers, "lhs_contracting_dimensions")?,
        rhs_contracting_dimensions: dimensions(numbers, "rhs_contracting_dimensions")?,
        accumulator: match algorithm {
            Some(algorithm) => algorithm.accumulator,
            None => accumulator(op, element),
        },
        element,
    };
    scope.push_on(op, kind, operands)
}

/// The accumulator that a product's types ask for.
pub(super) fn accumulator(op: &RawOp<'_>, element: ElementType) -> ElementType {
    let types = op.operand_types.iter().map(|operand| operand.element);
    match element {
        _ if types.chain([element]).any(|one| one == ElementType::F64) => ElementType::F64,
        element if element.is_float() => ElementType::F32,
        integer => integer,
    }
}

/// How a product is to be made: the precisions the operands are rounded to, and that of the sum.
struct Algorithm {
    operands: [ElementType; 2],
    accumulator: ElementType,
}

/// The algorithm the op names. One product of each pair of elements is supported; those that split an operand into
/// several parts are not, nor is tf32.
fn algorithm(op: &RawOp<'_>) -> Result<Option<Algorithm>, Diagnostic> {
    let Some(attribute) = op.attributes.get("algorithm") else {
        return Ok(None);
    };
    let entries = attribute.dictionary()?;
    let refused = || {
        let message = "the product's algorithm is not supported";
        let note = "supported: one component and one primitive operation, in f16, bf16, f32 or f64";
        Diagnostic::new(message, attribute.span.clone()).with_note(note, None)
    };
    for count in [
        "lhs_component_count",
        "rhs_component_count",
        "num_primitive_operations",
    ] {
        if entries
            .get(count)
            .map_or(Ok(1), |value| value.integer::<u64>())?
            != 1
        {
            return Err(refused());
        }
    }
    let element = |name| match entries.get(name).map(|value| &value.value) {
        Some(AttributeValue::ElementType(element)) if element.is_float() => Ok(*element),
        _ => Err(refused()),
    };
    Ok(Some(Algorithm {
        operands: [
            element("lhs_precision_type")?,
            element("rhs_precision_type")?,
        ],
        accumulator: element("accumulation_type")?,
    }))
}

fn dimensions(numbers: &Dictionary, name: &str) -> Result<Vec<usize>, Diagnostic> {
    numbers
        .get(name)
        .map_or(Ok(Vec::new()), |attribute| attribute.integers())
}
