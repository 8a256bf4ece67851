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

#[cfg(test)]
mod tests {
    use crate::ComparisonDirection;
    use crate::rules::testing::outcome;

    #[test]
    fn sort_gives_the_types_it_takes() {
        let sort = |operands: [&str; 2], dimension| {
            outcome(operands, |b, [keys, values]| {
                b.sort(&[keys, values], dimension, |b, pairs| {
                    b.compare(pairs[0].0, pairs[0].1, ComparisonDirection::Lt)
                })
            })
        };
        assert_eq!(
            sort(["2x3xf32", "2x3xi32"], 1),
            "tensor<2x3xf32>, tensor<2x3xi32>"
        );
        assert_eq!(
            sort(["2x3xf32", "3x2xi32"], 1),
            "'tsr.sort' (C3): the operands must have one shape, found tensor<2x3xf32>, tensor<3x2xi32>"
        );
        assert_eq!(
            sort(["2x3xf32", "2x3xi32"], 2),
            "'tsr.sort' (C4): the dimension must be less than the rank of the operands, 2, found dimension 2"
        );
        assert_eq!(
            outcome(["f32"], |b, [x]| b.sort(&[], 0, |_, _| Ok(x))),
            "'tsr.sort' (C1): expected at least one operand"
        );
    }

    #[test]
    fn a_comparator_takes_pairs_of_scalars_and_gives_a_boolean() {
        assert_eq!(
            outcome(["3xf32", "3xi32"], |b, [x, y]| b.sort(
                &[x, y],
                0,
                |b, pairs| { b.add(pairs[1].0, pairs[1].1) }
            )),
            "'tsr.sort' (C5): the comparator must have type (tensor<f32>, tensor<f32>, tensor<i32>, tensor<i32>) -> tensor<i1>, found (tensor<f32>, tensor<f32>, tensor<i32>, tensor<i32>) -> tensor<i32>"
        );
    }

    #[test]
    fn top_k_takes_the_largest_of_the_fastest_dimension() {
        let top_k = |operand: &str, k| outcome([operand], |b, [x]| b.top_k(x, k));
        assert_eq!(top_k("4x8xbf16", 2), "tensor<4x2xbf16>, tensor<4x2xi32>");
        assert_eq!(top_k("8xf32", 0), "tensor<0xf32>, tensor<0xi32>");
        assert_eq!(
            top_k("f32", 0),
            "'tsr.top_k' (T1): the operand must have a dimension, found tensor<f32>"
        );
        assert_eq!(
            top_k("4x8xf32", 9),
            "'tsr.top_k' (T2): k must be at most 8, the fastest dimension of tensor<4x8xf32>, found 9"
        );
        assert_eq!(
            top_k("2147483648xi8", 1),
            "'tsr.top_k' (T3): the fastest dimension must be below 2^31, so that indices are i32, found tensor<2147483648xi8>"
        );
    }
}
