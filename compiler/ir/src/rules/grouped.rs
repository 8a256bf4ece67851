//! The rules of matrix products of groups of rows.

use super::check::{ElementClass, Rule, require};
use super::contraction::check_elements;
use super::{OpError, scaled};
use crate::{TensorType, Type};
use tessera_numerics::ElementType;

/// - (T1) lhs is a matrix, rhs a matrix or one for each group.
/// - (T2) contracting dimensions are their operand's, that of rhs not the groups'.
/// - (T3) contracting dimensions have one size.
/// - (T4) group_sizes is a `tensor<Gxi32>`, with as many groups as rhs where that has any.
/// - (T5) both operands hold floats, of one element type.
/// - (T6) the accumulator is that type or a wider float.
/// - (T7) the result holds floats.
///
/// The result's dimensions are the groups' where rhs has none, then the rest of lhs, then the rest of rhs.
pub(super) fn grouped_dot(
    rule: Rule,
    contracting: [usize; 2],
    accumulator: ElementType,
    element: ElementType,
    operands: &[&TensorType],
) -> Result<TensorType, OpError> {
    let [lhs, rhs, group_sizes] = rule.operands(operands)?;
    let shape = result_shape(rule, contracting, [&lhs.shape, &rhs.shape], group_sizes)?;
    require!(
        rule,
        "T5",
        lhs.element == rhs.element,
        "the operands must have one element type, found {lhs} and {rhs}"
    );
    rule.element("T5", ElementClass::Float, "each operand", lhs)?;
    check_elements(rule, ["T6", "T7"], lhs.element, accumulator, element)?;
    Ok(TensorType::new(element, shape))
}

/// - (T1) lhs is a scaled matrix, rhs one too, or one for each group.
/// - (T2) the axis of rhs is not the groups' dimension.
/// - (T3) the axes have one size.
/// - (T4) group_sizes is a `tensor<Gxi32>`, with as many groups as rhs where that has any.
/// - (T5) both have block scales, encoded alike and for as many elements, or neither has.
/// - (T6) both have one layout of block scales.
/// - (T7) the result holds f16, bf16 or f32.
///
/// The result's dimensions are those of `grouped_dot`.
pub(super) fn grouped_scaled_dot(
    rule: Rule,
    element: ElementType,
    operands: &[&Type],
) -> Result<TensorType, OpError> {
    let &[lhs, rhs, group_sizes] = operands else {
        let message = format!("expected 3 operand(s), found {}", operands.len());
        return Err(rule.error("operands", message));
    };
    let [lhs, rhs] = scaled::scaled_operands(rule, &[lhs, rhs])?;
    let Some(group_sizes) = group_sizes.as_tensor() else {
        let message = format!("the group sizes must be a tensor<Gxi32>, found {group_sizes}");
        return Err(rule.error("T4", message));
    };
    let axes = [lhs.axis(), rhs.axis()];
    let shape = result_shape(rule, axes, [lhs.shape(), rhs.shape()], group_sizes)?;
    scaled::check_pair(rule, ["T5", "T6"], lhs, rhs)?;
    scaled::check_result(rule, "T7", element)?;
    Ok(TensorType::new(element, shape))
}

/// T1 to T4 of both.
fn result_shape(
    rule: Rule,
    [lhs_contracting, rhs_contracting]: [usize; 2],
    [lhs, rhs]: [&[usize]; 2],
    group_sizes: &TensorType,
) -> Result<Vec<usize>, OpError> {
    let has_groups = rhs.len() == 3;
    require!(
        rule,
        "T1",
        lhs.len() == 2 && (rhs.len() == 2 || has_groups),
        "lhs must have 2 dimensions and rhs 2 or 3, found {lhs:?} and {rhs:?}"
    );
    rule.in_rank(
        "T2",
        "lhs_contracting_dimension",
        &[lhs_contracting],
        "lhs",
        2,
    )?;
    let name = "rhs_contracting_dimension";
    rule.in_rank("T2", name, &[rhs_contracting], "rhs", rhs.len())?;
    require!(
        rule,
        "T2",
        !(has_groups && rhs_contracting == 0),
        "dimension 0 of rhs is that of the groups and cannot be summed over"
    );
    let (left, right) = (lhs[lhs_contracting], rhs[rhs_contracting]);
    require!(
        rule,
        "T3",
        left == right,
        "contracting dimensions must have one size, found {left} and {right}"
    );
    require!(
        rule,
        "T4",
        group_sizes.element == ElementType::I32
            && group_sizes.rank() == 1
            && !(has_groups && group_sizes.shape[0] != rhs[0]),
        "the group sizes must be a {}, found {group_sizes}",
        match has_groups {
            true => format!("tensor<{}xi32>, one for each matrix of rhs", rhs[0]),
            false => "tensor<Gxi32>".to_owned(),
        }
    );
    let rows = lhs[1 - lhs_contracting];
    Ok(match has_groups {
        true => vec![rows, rhs[3 - rhs_contracting]],
        false => vec![group_sizes.shape[0], rows, rhs[1 - rhs_contracting]],
    })
}

#[cfg(test)]
mod tests {
    use crate::rules::testing::outcome;
    use crate::{Builder, OpError, QuantizeOperands, ValueId};
    use tessera_numerics::{
        BlockShape, ElementType, Format, Quantization, Rounding, ScaleLayout, ScaleRule, ScaledType,
    };

    const F32: ElementType = ElementType::F32;

    fn dot(operands: [&str; 3], contracting: [usize; 2]) -> String {
        outcome(operands, |b, [lhs, rhs, sizes]| {
            b.grouped_dot(lhs, rhs, sizes, contracting, F32)
        })
    }

    #[test]
    fn rows_of_groups_meet_their_groups_matrix() {
        let operands = ["8x4xf32", "3x4x5xf32", "3xi32"];
        assert_eq!(dot(operands, [1, 1]), "tensor<8x5xf32>");
        let transposed = ["4x8xf32", "3x5x4xf32", "3xi32"];
        assert_eq!(dot(transposed, [0, 2]), "tensor<8x5xf32>");
    }

    #[test]
    fn rows_of_groups_are_summed_over() {
        let operands = ["8x4xf32", "8x5xf32", "3xi32"];
        assert_eq!(dot(operands, [0, 0]), "tensor<3x4x5xf32>");
        let transposed = ["4x8xf32", "5x8xf32", "0xi32"];
        assert_eq!(dot(transposed, [1, 1]), "tensor<0x4x5xf32>");
    }

    #[test]
    fn what_is_no_grouped_product_is_refused() {
        let sizes = "3xi32";
        assert_eq!(
            dot(["2x8x4xf32", "3x4x5xf32", sizes], [1, 1]),
            "'tsr.grouped_dot' (T1): lhs must have 2 dimensions and rhs 2 or 3, found [2, 8, 4] and [3, 4, 5]"
        );
        assert_eq!(
            dot(["8x4xf32", "3x4x5xf32", sizes], [2, 1]),
            "'tsr.grouped_dot' (T2): lhs_contracting_dimension must be less than the rank of lhs, 2, found dimension 2"
        );
        assert_eq!(
            dot(["8x3xf32", "3x4x5xf32", sizes], [1, 0]),
            "'tsr.grouped_dot' (T2): dimension 0 of rhs is that of the groups and cannot be summed over"
        );
        assert_eq!(
            dot(["8x4xf32", "3x4x5xf32", sizes], [1, 2]),
            "'tsr.grouped_dot' (T3): contracting dimensions must have one size, found 4 and 5"
        );
        assert_eq!(
            dot(["8x4xf32", "3x4x5xf32", "2xi32"], [1, 1]),
            "'tsr.grouped_dot' (T4): the group sizes must be a tensor<3xi32>, one for each matrix of rhs, found tensor<2xi32>"
        );
        assert_eq!(
            dot(["8x4xf32", "8x5xf32", "3xi64"], [0, 0]),
            "'tsr.grouped_dot' (T4): the group sizes must be a tensor<Gxi32>, found tensor<3xi64>"
        );
        assert_eq!(
            dot(["8x4xf32", "8x5xbf16", sizes], [0, 0]),
            "'tsr.grouped_dot' (T5): the operands must have one element type, found tensor<8x4xf32> and tensor<8x5xbf16>"
        );
        assert_eq!(
            dot(["8x4xi32", "8x5xi32", sizes], [0, 0]),
            "'tsr.grouped_dot' (T5): each operand must be a tensor of floats, found tensor<8x4xi32>"
        );
        assert_eq!(
            dot(["8x4xf64", "8x5xf64", sizes], [0, 0]),
            "'tsr.grouped_dot' (T6): the accumulator must be f64 or wider, found f32"
        );
    }

    /// `x` in a format that needs nothing beside it.
    fn quantized(
        b: &mut Builder,
        x: ValueId,
        format: Format,
        axis: usize,
    ) -> Result<ValueId, OpError> {
        let shape = b.graph().tensor_type(x).shape.clone();
        let kind =
            ScaledType::new(shape, format, axis, BlockShape::Vector, ScaleLayout::Linear).unwrap();
        let how = Quantization::new(kind, ScaleRule::Rceil, Rounding::NearestEven).unwrap();
        b.quantize(x, QuantizeOperands::default(), &how, (0, 0))
    }

    #[test]
    fn scaled_operands_are_summed_over_along_their_axes() {
        let product = |axes: [usize; 2], formats: [Format; 2], rhs: &str| {
            outcome(["8x4xf32", rhs, "3xi32"], |b, [lhs, rhs, sizes]| {
                let lhs = quantized(b, lhs, formats[0], axes[0])?;
                let rhs = quantized(b, rhs, formats[1], axes[1])?;
                b.grouped_scaled_dot(lhs, rhs, sizes, ElementType::Bf16)
            })
        };
        let mxfp4 = [Format::Mxfp4; 2];
        assert_eq!(product([1, 1], mxfp4, "3x4x5xf32"), "tensor<8x5xbf16>");
        assert_eq!(product([1, 2], mxfp4, "3x7x4xf32"), "tensor<8x7xbf16>");
        assert_eq!(product([0, 0], mxfp4, "8x5xf32"), "tensor<3x4x5xbf16>");
        let mixed = [Format::Mxfp4, Format::Mxfp8E4m3];
        assert_eq!(product([0, 0], mixed, "8x5xf32"), "tensor<3x4x5xbf16>");
        assert_eq!(
            product([1, 0], mxfp4, "4x4x5xf32"),
            "'tsr.grouped_scaled_dot' (T2): dimension 0 of rhs is that of the groups and cannot be summed over"
        );
    }
}
