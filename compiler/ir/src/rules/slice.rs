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

#[cfg(test)]
mod tests {
    use crate::rules::testing::outcome;
    use crate::{OpKind, ValueId};

    #[test]
    fn a_slice_lies_inside_its_operand() {
        let slice = |start: &[usize], limit: &[usize], strides: &[usize]| {
            outcome(["4x10xf32"], |b, [x]| b.slice(x, start, limit, strides))
        };
        assert_eq!(slice(&[1, 0], &[3, 10], &[1, 3]), "tensor<2x4xf32>");
        assert_eq!(slice(&[4, 10], &[4, 10], &[1, 1]), "tensor<0x0xf32>");
        assert_eq!(
            slice(&[0, 0], &[4, 10], &[9, usize::MAX]),
            "tensor<1x1xf32>"
        );
        for (start, limit, strides, name) in [
            (&[0][..], &[4, 10][..], &[1, 1][..], "start_indices"),
            (&[0, 0], &[4], &[1, 1], "limit_indices"),
            (&[0, 0], &[4, 10], &[1], "strides"),
        ] {
            assert_eq!(
                slice(start, limit, strides),
                format!(
                    "'tsr.slice' (C2): {name} must have one entry for each of the 2 dimension(s) of tensor<4x10xf32>, found 1"
                )
            );
        }
        assert_eq!(
            slice(&[0, 0], &[4, 11], &[1, 1]),
            "'tsr.slice' (C3): in dimension 1 of tensor<4x10xf32> expected start ≤ limit ≤ 10, found start 0 and limit 11"
        );
        assert_eq!(
            slice(&[3, 0], &[2, 10], &[1, 1]),
            "'tsr.slice' (C3): in dimension 0 of tensor<4x10xf32> expected start ≤ limit ≤ 4, found start 3 and limit 2"
        );
        assert_eq!(
            slice(&[0, 0], &[4, 10], &[1, 0]),
            "'tsr.slice' (C4): the stride of dimension 1 must be positive, found 0"
        );
    }

    #[test]
    fn a_dynamic_slice_starts_at_integer_scalars() {
        let slice = |starts: [&str; 2], sizes: &[usize]| {
            outcome(["4x10xf32", starts[0], starts[1]], |b, [x, i, j]| {
                b.dynamic_slice(x, &[i, j], sizes)
            })
        };
        assert_eq!(slice(["i32", "i32"], &[1, 10]), "tensor<1x10xf32>");
        assert_eq!(
            slice(["f32", "f32"], &[1, 1]),
            "'tsr.dynamic_slice' (I2): start indices must be integer scalars, found tensor<f32>"
        );
        assert_eq!(
            slice(["i32", "1xi32"], &[1, 1]),
            "'tsr.dynamic_slice' (I2): start indices must be integer scalars, found tensor<1xi32>"
        );
        assert_eq!(
            slice(["i32", "i32"], &[1]),
            "'tsr.dynamic_slice' (C2): slice_sizes must have one entry for each of the 2 dimension(s) of tensor<4x10xf32>, found 1"
        );
        assert_eq!(
            outcome(["4xf32"], |b, [x]| b.dynamic_slice(x, &[], &[1])),
            "'tsr.dynamic_slice' (C2): the start indices must have one entry for each of the 1 dimension(s) of tensor<4xf32>, found 0"
        );
        assert_eq!(
            slice(["i32", "i64"], &[1, 1]),
            "'tsr.dynamic_slice' (C3): start indices must have one type, found tensor<i32>, tensor<i64>"
        );
        assert_eq!(
            slice(["i32", "i32"], &[1, 11]),
            "'tsr.dynamic_slice' (C4): in dimension 1 of tensor<4x10xf32> the slice must be no larger than 10, found 11"
        );
        let kind = OpKind::DynamicSlice {
            slice_sizes: vec![],
        };
        assert_eq!(
            outcome([], |b, []| b.push(kind, [])),
            "'tsr.dynamic_slice' (operands): expected an operand and its start indices, found no operands"
        );
    }

    #[test]
    fn an_update_is_a_part_of_the_operand() {
        let update = |update: &str, starts: [&str; 2]| {
            outcome(
                ["4x10xf32", update, starts[0], starts[1]],
                |b, [x, u, i, j]| b.dynamic_update_slice(x, u, &[i, j]),
            )
        };
        let starts = ["i32", "i32"];
        assert_eq!(update("1x10xf32", starts), "tensor<4x10xf32>");
        assert_eq!(
            update("1x10xf64", starts),
            "'tsr.dynamic_update_slice' (C2): operand and update must have one element type, found tensor<4x10xf32> and tensor<1x10xf64>"
        );
        assert_eq!(
            update("10xf32", starts),
            "'tsr.dynamic_update_slice' (C3): operand and update must have one rank, found tensor<4x10xf32> and tensor<10xf32>"
        );
        assert_eq!(
            outcome(["4xf32"], |b, [x]| b.dynamic_update_slice(x, x, &[])),
            "'tsr.dynamic_update_slice' (C4): the start indices must have one entry for each of the 1 dimension(s) of tensor<4xf32>, found 0"
        );
        assert_eq!(
            update("1x10xf32", ["i1", "i1"]),
            "'tsr.dynamic_update_slice' (I3): start indices must be integer scalars, found tensor<i1>"
        );
        assert_eq!(
            update("1x10xf32", ["i32", "ui32"]),
            "'tsr.dynamic_update_slice' (C5): start indices must have one type, found tensor<i32>, tensor<ui32>"
        );
        assert_eq!(
            update("5x10xf32", starts),
            "'tsr.dynamic_update_slice' (C6): in dimension 0 of tensor<4x10xf32> the update must be no larger than 4, found 5"
        );
        assert_eq!(
            outcome(["f32"], |b, [x]| b.push(OpKind::DynamicUpdateSlice {}, [x])),
            "'tsr.dynamic_update_slice' (operands): expected an operand, an update and start indices, found 1 operand(s)"
        );
    }

    #[test]
    fn padding_adds_to_each_dimension_or_takes_away() {
        let pad = |value: &str, low: &[i64], high: &[i64], interior: &[usize]| {
            outcome(["3x0xf32", value], |b, [x, v]: [ValueId; 2]| {
                b.pad(x, v, low, high, interior)
            })
        };
        assert_eq!(pad("f32", &[1, 0], &[2, 4], &[1, 9]), "tensor<8x4xf32>");
        assert_eq!(pad("f32", &[-2, 0], &[-1, 0], &[0, 0]), "tensor<0x0xf32>");
        assert_eq!(
            pad("1xf32", &[0, 0], &[0, 0], &[0, 0]),
            "'tsr.pad' (I2): the padding value must be a scalar, found tensor<1xf32>"
        );
        assert_eq!(
            pad("f64", &[0, 0], &[0, 0], &[0, 0]),
            "'tsr.pad' (C1): operand and padding value must have one element type, found tensor<3x0xf32> and tensor<f64>"
        );
        for (low, high, interior, name) in [
            (&[0][..], &[0, 0][..], &[0, 0][..], "edge_padding_low"),
            (&[0, 0], &[0], &[0, 0], "edge_padding_high"),
            (&[0, 0], &[0, 0], &[0], "interior_padding"),
        ] {
            assert_eq!(
                pad("f32", low, high, interior),
                format!(
                    "'tsr.pad' (C2): {name} must have one entry for each of the 2 dimension(s) of tensor<3x0xf32>, found 1"
                )
            );
        }
        assert_eq!(
            pad("f32", &[-2, 0], &[-2, 0], &[0, 0]),
            "'tsr.pad' (C4): dimension 0 of tensor<3x0xf32> with padding -2 and -2 must not become negative, found -1"
        );
        assert_eq!(
            pad("f32", &[0, 0], &[0, 0], &[usize::MAX, 0]),
            "'tsr.pad' (size): the result is larger than the address space: tensor<18446744073709551615x0xf32>"
        );
    }
}
