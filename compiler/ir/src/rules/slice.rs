//! The rules of the ops that take, replace and pad rectangular parts of a tensor.

use super::OpError;
use super::check::{Rule, list, require};
use crate::TensorType;

/// - (C2) starts, limits and strides have an entry for each dimension.
/// - (C3) in each dimension start ≤ limit ≤ size.
/// - (C4) strides are positive.
pub(super) fn slice(
    rule: Rule,
    start_indices: &[usize],
    limit_indices: &[usize],
    strides: &[usize],
    operands: &[&TensorType],
) -> Result<TensorType, OpError> {
    let [operand] = rule.operands(operands)?;
    rule.entry_per_dimension("C2", "start_indices", start_indices.len(), operand)?;
    rule.entry_per_dimension("C2", "limit_indices", limit_indices.len(), operand)?;
    rule.entry_per_dimension("C2", "strides", strides.len(), operand)?;
    let mut shape = Vec::with_capacity(operand.rank());
    for dimension in 0..operand.rank() {
        let size = operand.shape[dimension];
        let (start, limit) = (start_indices[dimension], limit_indices[dimension]);
        require!(
            rule,
            "C3",
            start <= limit && limit <= size,
            "in dimension {dimension} of {operand} expected start ≤ limit ≤ {size}, found start {start} and limit {limit}"
        );
        let stride = strides[dimension];
        require!(
            rule,
            "C4",
            stride > 0,
            "the stride of dimension {dimension} must be positive, found 0"
        );
        shape.push((limit - start).div_ceil(stride));
    }
    Ok(operand.with_shape(shape))
}

/// - (C2) there are a start and a slice size for each of the operand's dimensions.
/// - (I2) starts are integer scalars.
/// - (C3) they have one type.
/// - (C4) a slice is no larger than the operand.
pub(super) fn dynamic_slice(
    rule: Rule,
    slice_sizes: &[usize],
    operands: &[&TensorType],
) -> Result<TensorType, OpError> {
    let Some((&operand, starts)) = operands.split_first() else {
        let message = "expected an operand and its start indices, found no operands";
        return Err(rule.error("operands", message.to_owned()));
    };
    rule.entry_per_dimension("C2", "slice_sizes", slice_sizes.len(), operand)?;
    rule.entry_per_dimension("C2", "the start indices", starts.len(), operand)?;
    start_indices(rule, "I2", "C3", starts)?;
    slice_inside(rule, "C4", "the slice", slice_sizes, operand)?;
    Ok(operand.with_shape(slice_sizes))
}

/// - (C2) operand and update have one element type.
/// - (C3) they have one rank.
/// - (C4) there is a start for each dimension.
/// - (I3) starts are integer scalars.
/// - (C5) they have one type.
/// - (C6) the update is no larger than the operand.
pub(super) fn dynamic_update_slice(
    rule: Rule,
    operands: &[&TensorType],
) -> Result<TensorType, OpError> {
    let [operand, update, starts @ ..] = operands else {
        let found = operands.len();
        return Err(rule.error(
            "operands",
            format!("expected an operand, an update and start indices, found {found} operand(s)"),
        ));
    };
    require!(
        rule,
        "C2",
        update.element == operand.element,
        "operand and update must have one element type, found {operand} and {update}"
    );
    require!(
        rule,
        "C3",
        update.rank() == operand.rank(),
        "operand and update must have one rank, found {operand} and {update}"
    );
    rule.entry_per_dimension("C4", "the start indices", starts.len(), operand)?;
    start_indices(rule, "I3", "C5", starts)?;
    slice_inside(rule, "C6", "the update", &update.shape, operand)?;
    Ok((*operand).clone())
}

/// Checks that start indices are integer scalars of one type.
fn start_indices(
    rule: Rule,
    scalar: &'static str,
    same: &'static str,
    starts: &[&TensorType],
) -> Result<(), OpError> {
    for start in starts {
        if start.rank() != 0 || !start.element.is_integer() {
            let message = format!("start indices must be integer scalars, found {start}");
            return Err(rule.error(scalar, message));
        }
    }
    if starts.array_windows().any(|[a, b]| a != b) {
        let found = list(starts);
        let message = format!("start indices must have one type, found {found}");
        return Err(rule.error(same, message));
    }
    Ok(())
}

/// Checks that a slice, whose rank is the operand's, is no larger than it in any dimension.
pub(super) fn slice_inside(
    rule: Rule,
    constraint: &'static str,
    name: &str,
    slice_sizes: &[usize],
    operand: &TensorType,
) -> Result<(), OpError> {
    let mut sizes = slice_sizes.iter().zip(&operand.shape).enumerate();
    match sizes.find(|(_, (slice, size))| slice > size) {
        None => Ok(()),
        Some((dimension, (slice, size))) => Err(rule.error(
            constraint,
            format!(
                "in dimension {dimension} of {operand} {name} must be no larger than {size}, found {slice}"
            ),
        )),
    }
}

/// - (I2) the padding value is a scalar.
/// - (C1) operand and padding value have one element type.
/// - (C2) the paddings have an entry for each dimension.
/// - (C4) no dimension of the result is negative.
pub(super) fn pad(
    rule: Rule,
    (edge_padding_low, edge_padding_high): (&[i64], &[i64]),
    interior_padding: &[usize],
    operands: &[&TensorType],
) -> Result<TensorType, OpError> {
    let [operand, padding_value] = rule.operands(operands)?;
    require!(
        rule,
        "I2",
        padding_value.rank() == 0,
        "the padding value must be a scalar, found {padding_value}"
    );
    require!(
        rule,
        "C1",
        padding_value.element == operand.element,
        "operand and padding value must have one element type, found {operand} and {padding_value}"
    );
    rule.entry_per_dimension("C2", "edge_padding_low", edge_padding_low.len(), operand)?;
    rule.entry_per_dimension("C2", "edge_padding_high", edge_padding_high.len(), operand)?;
    rule.entry_per_dimension("C2", "interior_padding", interior_padding.len(), operand)?;
    let mut shape = Vec::with_capacity(operand.rank());
    for (dimension, &size) in operand.shape.iter().enumerate() {
        let (low, high) = (edge_padding_low[dimension], edge_padding_high[dimension]);
        let interior = interior_padding[dimension];
        // Sizes are below 2⁶³, paddings below 2⁶⁴: all sums and products of them fit in 128 bits.
        let between = size.saturating_sub(1) as i128 * interior as i128;
        let padded = size as i128 + between + i128::from(low) + i128::from(high);
        require!(
            rule,
            "C4",
            padded >= 0,
            "dimension {dimension} of {operand} with padding {low} and {high} must not become negative, found {padded}"
        );
        shape.push(usize::try_from(padded).unwrap_or(usize::MAX));
    }
    Ok(operand.with_shape(shape))
}
