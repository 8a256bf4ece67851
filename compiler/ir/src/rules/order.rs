//! The rules of the ops that put elements in order.

use super::OpError;
use super::check::{Rule, list, require};
use crate::{Region, TensorType};
use tessera_numerics::ElementType;

/// - (C1) there is an operand.
/// - (C3) all have one shape.
/// - (C4) the dimension is one of theirs.
/// - (C5) the comparator takes two scalars of each operand's element type and gives a boolean.
pub(super) fn sort(
    rule: Rule,
    dimension: usize,
    comparator: &Region,
    operands: &[&TensorType],
) -> Result<Vec<TensorType>, OpError> {
    let Some(first) = operands.first() else {
        return Err(rule.error("C1", "expected at least one operand".to_owned()));
    };
    require!(
        rule,
        "C3",
        operands.iter().all(|operand| operand.shape == first.shape),
        "the operands must have one shape, found {}",
        list(operands)
    );
    rule.in_rank(
        "C4",
        "the dimension",
        &[dimension],
        "the operands",
        first.rank(),
    )?;
    let scalars: Vec<_> = operands
        .iter()
        .map(|operand| TensorType::scalar(operand.element))
        .collect();
    let pairs: Vec<_> = scalars.iter().flat_map(|scalar| [scalar, scalar]).collect();
    let boolean = TensorType::scalar(ElementType::I1);
    rule.signature("C5", "the comparator", comparator, &pairs, &[&boolean])?;
    Ok(operands.iter().map(|&operand| operand.clone()).collect())
}

/// - (T1) the operand is not a scalar.
/// - (T2) `k` is at most its fastest dimension.
/// - (T3) the indices of that dimension fit in an i32.
///
/// The results have the operand's shape with `k` for the fastest dimension.
pub(super) fn top_k(
    rule: Rule,
    k: usize,
    operands: &[&TensorType],
) -> Result<Vec<TensorType>, OpError> {
    let [operand] = rule.operands(operands)?;
    let mut shape = operand.shape.clone();
    let Some(fastest) = shape.last_mut() else {
        let message = format!("the operand must have a dimension, found {operand}");
        return Err(rule.error("T1", message));
    };
    require!(
        rule,
        "T2",
        k <= *fastest,
        "k must be at most {fastest}, the fastest dimension of {operand}, found {k}"
    );
    require!(
        rule,
        "T3",
        i32::try_from(*fastest).is_ok(),
        "the fastest dimension must be below 2^31, so that indices are i32, found {operand}"
    );
    *fastest = k;
    let indices = TensorType::new(ElementType::I32, shape.clone());
    Ok(vec![operand.with_shape(shape), indices])
}
