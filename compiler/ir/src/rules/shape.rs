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
    rule.entry_per_dimension("C2", "the permutation", permutation.len(), operand)?;
    let name = "the permutation's entries";
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

#[cfg(test)]
mod tests {
    use crate::rules::testing::{outcome, tensor};
    use crate::{OpKind, Tensor};

    #[test]
    fn a_constant_has_its_values_type() {
        let value = Tensor::from_values([2], &[1.0f32, 2.0]).unwrap();
        assert_eq!(
            outcome([], |b, []| b.constant(value.clone())),
            "tensor<2xf32>"
        );
        assert_eq!(
            outcome(["f32"], |b, [x]| b.push(OpKind::Constant { value }, [x])),
            "'tsr.constant' (operands): expected 0 operand(s), found 1"
        );
    }

    #[test]
    fn iota_counts_along_a_dimension() {
        assert_eq!(
            outcome([], |b, []| b.iota(1, tensor("2x3xi32"))),
            "tensor<2x3xi32>"
        );
        assert_eq!(
            outcome([], |b, []| b.iota(0, tensor("i32"))),
            "'tsr.iota' (C1): the dimension must be less than the rank of the result, 0, found dimension 0"
        );
        assert_eq!(
            outcome([], |b, []| b.iota(0, tensor("2xi1"))),
            "'tsr.iota' (T1): the result must be a tensor of integers or floats, found tensor<2xi1>"
        );
    }

    #[test]
    fn broadcast_names_where_each_dimension_goes() {
        let broadcast = |operand: &str, dimensions: &[usize], shape: &[usize]| {
            outcome([operand], |b, [x]| b.broadcast_in_dim(x, dimensions, shape))
        };
        assert_eq!(broadcast("3xf32", &[1], &[2, 3]), "tensor<2x3xf32>");
        assert_eq!(broadcast("1xf32", &[0], &[2, 3]), "tensor<2x3xf32>");
        assert_eq!(broadcast("f32", &[], &[2]), "tensor<2xf32>");
        assert_eq!(
            broadcast("3xf32", &[], &[2, 3]),
            "'tsr.broadcast_in_dim' (C2): broadcast_dimensions must have one entry for each of the 1 dimension(s) of tensor<3xf32>, found 0"
        );
        assert_eq!(
            broadcast("3xf32", &[2], &[2, 3]),
            "'tsr.broadcast_in_dim' (C3): broadcast_dimensions must be less than the rank of the result, 2, found dimension 2"
        );
        assert_eq!(
            broadcast("3x3xf32", &[1, 1], &[3, 3]),
            "'tsr.broadcast_in_dim' (C4): broadcast_dimensions must be distinct, found dimension 1 twice in [1, 1]"
        );
        assert_eq!(
            broadcast("3xf32", &[0], &[2, 3]),
            "'tsr.broadcast_in_dim' (C5): dimension 0 of tensor<3xf32> must be 1 or 2, the size of result dimension 0, found 3"
        );
        assert_eq!(
            broadcast("f32", &[], &[1 << 40, 1 << 40]),
            "'tsr.broadcast_in_dim' (size): the result is larger than the address space: tensor<1099511627776x1099511627776xf32>"
        );
    }

    #[test]
    fn reshape_keeps_the_number_of_elements() {
        let reshape =
            |operand: &str, shape: &[usize]| outcome([operand], |b, [x]| b.reshape(x, shape));
        assert_eq!(reshape("2x3xf32", &[3, 2]), "tensor<3x2xf32>");
        assert_eq!(reshape("1x1xf32", &[]), "tensor<f32>");
        assert_eq!(reshape("0x3xf32", &[5, 0]), "tensor<5x0xf32>");
        assert_eq!(
            reshape("2x3xf32", &[4]),
            "'tsr.reshape' (C2): operand and result must have one number of elements, found tensor<2x3xf32> with 6 and tensor<4xf32> with 4"
        );
        assert_eq!(
            reshape("0xf32", &[usize::MAX, 2, 0]),
            "'tsr.reshape' (size): the result is larger than the address space: tensor<18446744073709551615x2x0xf32>"
        );
    }

    #[test]
    fn transpose_names_each_dimension_once() {
        let transpose =
            |permutation: &[usize]| outcome(["2x3x4xf32"], |b, [x]| b.transpose(x, permutation));
        assert_eq!(transpose(&[2, 0, 1]), "tensor<4x2x3xf32>");
        assert_eq!(
            transpose(&[0, 1]),
            "'tsr.transpose' (C2): the permutation must have one entry for each of the 3 dimension(s) of tensor<2x3x4xf32>, found 2"
        );
        assert_eq!(
            transpose(&[0, 1, 3]),
            "'tsr.transpose' (C2): the permutation's entries must be less than the rank of the operand, 3, found dimension 3"
        );
        assert_eq!(
            transpose(&[0, 1, 1]),
            "'tsr.transpose' (C2): the permutation's entries must be distinct, found dimension 1 twice in [0, 1, 1]"
        );
    }

    #[test]
    fn concatenate_adds_up_one_dimension() {
        let concatenate = |operands: [&str; 2], dimension| {
            outcome(operands, |b, operands| b.concatenate(&operands, dimension))
        };
        assert_eq!(concatenate(["2x3xf32", "2x5xf32"], 1), "tensor<2x8xf32>");
        assert_eq!(
            concatenate(["2xf32", "2xf64"], 0),
            "'tsr.concatenate' (C1): the operands must have one element type, found tensor<2xf32> and tensor<2xf64>"
        );
        assert_eq!(
            concatenate(["2x3xf32", "2x5xf32"], 0),
            "'tsr.concatenate' (C2): the operands must have one shape but for dimension 0, found tensor<2x3xf32> and tensor<2x5xf32>"
        );
        assert_eq!(
            concatenate(["2x3xf32", "2xf32"], 1),
            "'tsr.concatenate' (C2): the operands must have one shape but for dimension 1, found tensor<2x3xf32> and tensor<2xf32>"
        );
        assert_eq!(
            outcome([], |b, []| b.concatenate(&[], 0)),
            "'tsr.concatenate' (C3): expected at least one operand"
        );
        assert_eq!(
            concatenate(["f32", "f32"], 0),
            "'tsr.concatenate' (C4): the dimension must be less than the rank of operand 0, 0, found dimension 0"
        );
        let half = "6917529027641081856xi8";
        assert_eq!(
            concatenate([half, half], 0),
            "'tsr.concatenate' (size): the result is larger than the address space: tensor<13835058055282163712xi8>"
        );
    }

    #[test]
    fn reverse_names_distinct_dimensions() {
        let reverse =
            |dimensions: &[usize]| outcome(["2x3xf32"], |b, [x]| b.reverse(x, dimensions));
        assert_eq!(reverse(&[1, 0]), "tensor<2x3xf32>");
        assert_eq!(
            reverse(&[1, 1]),
            "'tsr.reverse' (C2): the dimensions must be distinct, found dimension 1 twice in [1, 1]"
        );
        assert_eq!(
            reverse(&[2]),
            "'tsr.reverse' (C3): the dimensions must be less than the rank of the operand, 2, found dimension 2"
        );
    }
}
