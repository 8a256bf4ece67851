//! The rules of the ops that make tensors and rearrange their dimensions.

use super::OpError;
use super::check::{ElementClass, Rule, require};
use crate::TensorType;
use tessera_numerics::Tensor;

/// The result has the value's type.
pub(super) fn constant(
    rule: Rule,
    value: &Tensor,
    operands: &[&TensorType],
) -> Result<TensorType, OpError> {
    let [] = rule.operands(operands)?;
    Ok(TensorType::of(value))
}

/// - (C1) the dimension is one of the result's.
/// - (T1) the result holds integers or floats.
pub(super) fn iota(
    rule: Rule,
    dimension: usize,
    result: &TensorType,
    operands: &[&TensorType],
) -> Result<TensorType, OpError> {
    let [] = rule.operands(operands)?;
    rule.in_rank(
        "C1",
        "the dimension",
        &[dimension],
        "the result",
        result.rank(),
    )?;
    rule.element("T1", ElementClass::IntegerOrFloat, "the result", result)?;
    Ok(result.clone())
}

/// - (C2) `broadcast_dimensions` has an entry for each operand dimension.
/// - (C3) each is a dimension of the result.
/// - (C4) they are distinct.
/// - (C5) an operand dimension is 1 or as large as the result dimension it becomes.
pub(super) fn broadcast_in_dim(
    rule: Rule,
    broadcast_dimensions: &[usize],
    shape: &[usize],
    operands: &[&TensorType],
) -> Result<TensorType, OpError> {
    let [operand] = rule.operands(operands)?;
    let name = "broadcast_dimensions";
    rule.entry_per_dimension("C2", name, broadcast_dimensions.len(), operand)?;
    rule.in_rank("C3", name, broadcast_dimensions, "the result", shape.len())?;
    rule.unique("C4", name, broadcast_dimensions)?;
    for (dimension, (&size, &becomes)) in operand.shape.iter().zip(broadcast_dimensions).enumerate()
    {
        require!(
            rule,
            "C5",
            size == 1 || size == shape[becomes],
            "dimension {dimension} of {operand} must be 1 or {}, the size of result dimension {becomes}, found {size}",
            shape[becomes]
        );
    }
    Ok(operand.with_shape(shape))
}

/// - (C2) operand and result have one number of elements.
pub(super) fn reshape(
    rule: Rule,
    shape: &[usize],
    operands: &[&TensorType],
) -> Result<TensorType, OpError> {
    let [operand] = rule.operands(operands)?;
    let result = operand.with_shape(shape);
    require!(
        rule,
        "size",
        result.byte_size_checked().is_some(),
        "the result is larger than the address space: {result}"
    );
    require!(
        rule,
        "C2",
        result.len() == operand.len(),
        "operand and result must have one number of elements, found {operand} with {} and {result} with {}",
        operand.len(),
        result.len()
    );
    Ok(result)
}

/// - (C2) the permutation names each of the operand's dimensions once.
pub(super) fn transpose(
    rule: Rule,
    permutation: &[usize],
    operands: &[&TensorType],
) -> Result<TensorType, OpError> {
    let [operand] = rule.operands(operands)?;
    let name = "the permutation";
    rule.entry_per_dimension("C2", name, permutation.len(), operand)?;
    rule.in_rank("C2", name, permutation, "the operand", operand.rank())?;
    rule.unique("C2", name, permutation)?;
    let shape: Vec<_> = permutation
        .iter()
        .map(|&from| operand.shape[from])
        .collect();
    Ok(operand.with_shape(shape))
}

/// - (C3) there is an operand.
/// - (C1) all have one element type.
/// - (C4) the dimension is one of theirs.
/// - (C2) they have one shape but for that dimension.
pub(super) fn concatenate(
    rule: Rule,
    dimension: usize,
    operands: &[&TensorType],
) -> Result<TensorType, OpError> {
    let Some((&first, rest)) = operands.split_first() else {
        return Err(rule.error("C3", "expected at least one operand".to_owned()));
    };
    rule.in_rank(
        "C4",
        "the dimension",
        &[dimension],
        "operand 0",
        first.rank(),
    )?;
    let mut shape = first.shape.clone();
    for &operand in rest {
        require!(
            rule,
            "C1",
            operand.element == first.element,
            "the operands must have one element type, found {first} and {operand}"
        );
        let mut but_for_dimension = operand.shape.clone();
        if let Some(size) = but_for_dimension.get_mut(dimension) {
            *size = first.shape[dimension];
        }
        require!(
            rule,
            "C2",
            but_for_dimension == first.shape,
            "the operands must have one shape but for dimension {dimension}, found {first} and {operand}"
        );
        // Dimensions of addressable tensors are below 2⁶³, and a sum that passes it is caught as a result too large.
        shape[dimension] = shape[dimension].saturating_add(operand.shape[dimension]);
    }
    Ok(first.with_shape(shape))
}

/// - (C2) the dimensions are distinct.
/// - (C3) each is one of the operand's.
pub(super) fn reverse(
    rule: Rule,
    dimensions: &[usize],
    operands: &[&TensorType],
) -> Result<TensorType, OpError> {
    let [operand] = rule.operands(operands)?;
    rule.unique("C2", "the dimensions", dimensions)?;
    rule.in_rank(
        "C3",
        "the dimensions",
        dimensions,
        "the operand",
        operand.rank(),
    )?;
    Ok(operand.clone())
}
