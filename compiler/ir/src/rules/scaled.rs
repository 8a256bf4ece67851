//! The rules of the ops that make, multiply and prepare scaled tensors.

use super::OpError;
use super::check::{ElementClass, Rule, require, without};
use crate::{TensorType, Type};
use tessera_numerics::{
    ElementType, HADAMARD_SIZES, Quantization, Rounding, ScaleFormat, ScaleRule, ScaledType,
};

/// The floats that are quantised and dequantised to.
fn is_wide_float(element: ElementType) -> bool {
    matches!(
        element,
        ElementType::F16 | ElementType::Bf16 | ElementType::F32
    )
}

/// - (T1) x holds f16, bf16 or f32.
/// - (T2) the result has x's shape.
/// - (T3) rule and rounding are for the result's format and blocks.
/// - (T4) amax, a `tensor<f32>`, follows x where the format has a tensor scale; step, a `tensor<ui32>`, follows where the
///   rounding is random; nothing else.
/// - (T5) the site is less than 2³².
pub(super) fn quantize(
    rule: Rule,
    (scale_rule, rounding): (ScaleRule, Rounding),
    site: usize,
    scaled: &ScaledType,
    operands: &[&TensorType],
) -> Result<Type, OpError> {
    let Some((x, rest)) = operands.split_first() else {
        return Err(rule.error(
            "operands",
            "expected a tensor, found no operands".to_owned(),
        ));
    };
    require!(
        rule,
        "T1",
        is_wide_float(x.element),
        "the operand must be a tensor of f16, bf16 or f32, found {x}"
    );
    require!(
        rule,
        "T2",
        scaled.shape() == x.shape,
        "the result must have the operand's shape, {:?}, found {scaled}",
        x.shape
    );
    Quantization::new(scaled.clone(), scale_rule, rounding)
        .map_err(|error| rule.error("T3", error.to_string()))?;
    let amax = scaled.format().has_tensor_scale();
    let amax = amax.then(|| TensorType::scalar(ElementType::F32));
    let step = (rounding.is_random()).then(|| TensorType::scalar(ElementType::Ui32));
    let expected: Vec<TensorType> = amax.into_iter().chain(step).collect();
    require!(
        rule,
        "T4",
        rest.iter().copied().eq(&expected),
        "{} with rounding {rounding} takes ({}) after x, found ({})",
        scaled.format(),
        super::list(&expected),
        super::list(rest)
    );
    require!(
        rule,
        "T5",
        u32::try_from(site).is_ok(),
        "the site must be less than 2^32, found {site}"
    );
    Ok(scaled.clone().into())
}

/// - (T1) the operand is a scaled tensor.
/// - (T2) the result holds f16, bf16 or f32.
pub(super) fn dequantize(
    rule: Rule,
    element: ElementType,
    operands: &[&Type],
) -> Result<TensorType, OpError> {
    let [operand] = scaled_operands(rule, operands)?;
    check_result(rule, "T2", element)?;
    Ok(TensorType::new(element, operand.shape()))
}

/// - (T1) the operand is a scaled tensor.
/// - (T2) the result has its shape, format and blocks.
/// - (T3) the result has its axis; or blocks are square and both axes are among the last two dimensions, between which
///   blocks lie alike.
pub(super) fn relayout(rule: Rule, to: &ScaledType, operands: &[&Type]) -> Result<Type, OpError> {
    let [from] = scaled_operands(rule, operands)?;
    require!(
        rule,
        "T2",
        from.shape() == to.shape() && from.format() == to.format() && from.blocks() == to.blocks(),
        "the result must have the operand's shape, format and blocks, those of {from}, found {to}"
    );
    require!(
        rule,
        "T3",
        from.can_be_laid_out_as(to),
        "the result must have the operand's axis, {}, or blocks of 16x16 and an axis that is one of the last two \
         dimensions, as the operand's, found {to}",
        from.axis()
    );
    Ok(to.clone().into())
}

/// - (T1) both operands are scaled tensors.
/// - (T2) both have block scales, encoded alike and for as many elements, or neither has.
/// - (T3) both have one layout of block scales.
/// - (T4) the axes, which are summed over, have one size.
/// - (T5) there are as many batching dimensions of lhs as of rhs, distinct, dimensions of their operand, not its axis.
/// - (T6) batching dimensions that go together have one size.
/// - (T7) the result holds f16, bf16 or f32.
///
/// The result's dimensions are batching, then the rest of lhs, then the rest of rhs.
pub(super) fn scaled_dot(
    rule: Rule,
    (lhs_batching, rhs_batching): (&[usize], &[usize]),
    element: ElementType,
    operands: &[&Type],
) -> Result<TensorType, OpError> {
    let [lhs, rhs] = scaled_operands(rule, operands)?;
    check_pair(rule, ["T2", "T3"], lhs, rhs)?;
    require!(
        rule,
        "T4",
        lhs.columns() == rhs.columns(),
        "the axes must have one size, found {lhs} and {rhs}"
    );
    require!(
        rule,
        "T5",
        lhs_batching.len() == rhs_batching.len(),
        "lhs and rhs must have as many batching dimensions, found {lhs_batching:?} and {rhs_batching:?}"
    );
    for (name, batching, scaled) in [("lhs", lhs_batching, lhs), ("rhs", rhs_batching, rhs)] {
        let (name, of) = (format!("{name}_batching_dimensions"), scaled.to_string());
        rule.in_rank("T5", &name, batching, &of, scaled.shape().len())?;
        rule.unique("T5", &name, &[batching, &[scaled.axis()]].concat())?;
    }
    for (&left, &right) in lhs_batching.iter().zip(rhs_batching) {
        require!(
            rule,
            "T6",
            lhs.shape()[left] == rhs.shape()[right],
            "batching dimensions must have one size, found dimension {left} of {lhs} and {right} of {rhs}"
        );
    }
    check_result(rule, "T7", element)?;
    let mut shape: Vec<_> = lhs_batching.iter().map(|&d| lhs.shape()[d]).collect();
    shape.extend(without(lhs.shape(), &[lhs_batching, &[lhs.axis()]]));
    shape.extend(without(rhs.shape(), &[rhs_batching, &[rhs.axis()]]));
    Ok(TensorType::new(element, shape))
}

/// The constraints on the block scales of what is multiplied: their kind, their layout.
pub(super) fn check_pair(
    rule: Rule,
    [of_blocks, of_layout]: [&'static str; 2],
    lhs: &ScaledType,
    rhs: &ScaledType,
) -> Result<(), OpError> {
    let blocks = |scaled: &ScaledType| -> Option<(usize, ScaleFormat)> { scaled.format().block() };
    if blocks(lhs) != blocks(rhs) {
        let message = format!(
            "the operands must have block scales of one kind, found {} and {}",
            lhs.format(),
            rhs.format()
        );
        return Err(rule.error(of_blocks, message));
    }
    if lhs.layout() != rhs.layout() {
        let message = format!(
            "the operands must have one layout of block scales, found {} and {}",
            lhs.layout(),
            rhs.layout()
        );
        return Err(rule.error(of_layout, message));
    }
    Ok(())
}

/// The constraint on what numbers made of a scaled tensor are rounded to.
pub(super) fn check_result(
    rule: Rule,
    constraint: &'static str,
    element: ElementType,
) -> Result<(), OpError> {
    if is_wide_float(element) {
        return Ok(());
    }
    let message = format!("the result must hold f16, bf16 or f32, found {element}");
    Err(rule.error(constraint, message))
}

/// - (T1) the operand holds floats.
/// - (T2) the dimensions are the operand's, distinct, at least one.
///
/// The result has the other dimensions.
pub(super) fn column_mean(
    rule: Rule,
    dimensions: &[usize],
    operands: &[&TensorType],
) -> Result<TensorType, OpError> {
    let [x] = rule.operands(operands)?;
    rule.element("T1", ElementClass::Float, "the operand", x)?;
    rule.in_rank("T2", "dimensions", dimensions, "the operand", x.rank())?;
    rule.unique("T2", "dimensions", dimensions)?;
    require!(
        rule,
        "T2",
        !dimensions.is_empty(),
        "expected at least one dimension, found none"
    );
    Ok(x.with_shape(without(&x.shape, &[dimensions])))
}

/// - (T1) the operand holds f16, bf16 or f32.
/// - (T2) the axis is a dimension of the operand.
/// - (T3) there are 16, 32, 64 or 128 signs, each 1 or −1.
/// - (T4) the axis is a multiple of that.
pub(super) fn hadamard(
    rule: Rule,
    axis: usize,
    signs: &[i64],
    operands: &[&TensorType],
) -> Result<TensorType, OpError> {
    let [x] = rule.operands(operands)?;
    require!(
        rule,
        "T1",
        is_wide_float(x.element),
        "the operand must be a tensor of f16, bf16 or f32, found {x}"
    );
    rule.in_rank("T2", "axis", &[axis], "the operand", x.rank())?;
    require!(
        rule,
        "T3",
        HADAMARD_SIZES.contains(&signs.len()),
        "expected {HADAMARD_SIZES:?} signs, found {}",
        signs.len()
    );
    let other = signs.iter().find(|sign| sign.abs() != 1);
    require!(
        rule,
        "T3",
        other.is_none(),
        "expected signs of 1 and -1, found {}",
        other.copied().unwrap_or_default()
    );
    require!(
        rule,
        "T4",
        x.shape[axis].is_multiple_of(signs.len()),
        "dimension {axis} of {x} must be a multiple of {}",
        signs.len()
    );
    Ok((*x).clone())
}

/// - (T1) the operand holds f32.
/// - (T2) its last two dimensions are a matrix with at least as many rows as columns.
pub(super) fn orthonormalize(rule: Rule, operands: &[&TensorType]) -> Result<TensorType, OpError> {
    let [x] = rule.operands(operands)?;
    require_f32(rule, x)?;
    let is_tall = matches!(x.shape[..], [.., rows, columns] if rows >= columns);
    require!(
        rule,
        "T2",
        is_tall,
        "the operand must be matrices with at least as many rows as columns, found {x}"
    );
    Ok((*x).clone())
}

/// - (T1) both operands hold f32.
/// - (T2) they are matrices, l × n and n × k, and k is no more than l.
/// - (T3) there is at least one iteration.
///
/// The results are v, n × k, and s, k.
pub(super) fn subspace_iterate(
    rule: Rule,
    iterations: usize,
    operands: &[&TensorType],
) -> Result<Vec<TensorType>, OpError> {
    let [matrix, basis] = rule.operands(operands)?;
    require_f32(rule, matrix)?;
    require_f32(rule, basis)?;
    let k = match (&matrix.shape[..], &basis.shape[..]) {
        (&[l, n], &[rows, k]) if rows == n && k <= l => k,
        _ => {
            let message =
                format!("expected l × n and n × k with k at most l, found {matrix} and {basis}");
            return Err(rule.error("T2", message));
        }
    };
    require!(
        rule,
        "T3",
        iterations > 0,
        "expected at least one iteration, found none"
    );
    let norms = TensorType::new(ElementType::F32, [k]);
    Ok(vec![(*basis).clone(), norms])
}

fn require_f32(rule: Rule, x: &TensorType) -> Result<(), OpError> {
    require!(
        rule,
        "T1",
        x.element == ElementType::F32,
        "the operands must be tensors of f32, found {x}"
    );
    Ok(())
}

/// The operands' types, where they are `N` scaled tensors.
pub(super) fn scaled_operands<'a, const N: usize>(
    rule: Rule,
    operands: &[&'a Type],
) -> Result<[&'a ScaledType; N], OpError> {
    let mut found = Vec::with_capacity(operands.len());
    for (number, operand) in operands.iter().enumerate() {
        let scaled = operand.as_scaled().ok_or_else(|| {
            let message = format!("operand {number} must be a scaled tensor, found {operand}");
            rule.error("T1", message)
        });
        found.push(scaled?);
    }
    let count = found.len();
    found.try_into().map_err(|_| {
        let message = format!("expected {N} operand(s), found {count}");
        rule.error("operands", message)
    })
}

#[cfg(test)]
mod tests {
    use crate::rules::testing::outcome;
    use crate::{Builder, OpError, QuantizeOperands, ValueId};
    use tessera_numerics::{
        BlockShape, ElementType, Format, Quantization, Rounding, ScaleLayout, ScaleRule, ScaledType,
    };

    fn scaled(shape: &[usize], format: Format, axis: usize) -> ScaledType {
        ScaledType::new(shape, format, axis, BlockShape::Vector, ScaleLayout::Linear).unwrap()
    }

    fn nvfp4(shape: &[usize], axis: usize, rounding: Rounding) -> Quantization {
        Quantization::new(scaled(shape, Format::Nvfp4, axis), ScaleRule::Te, rounding).unwrap()
    }

    /// `x` in mxfp4, which needs nothing beside it.
    fn mxfp4(
        b: &mut Builder,
        x: ValueId,
        shape: &[usize],
        axis: usize,
    ) -> Result<ValueId, OpError> {
        let kind = scaled(shape, Format::Mxfp4, axis);
        let quantization = Quantization::new(kind, ScaleRule::Rceil, Rounding::NearestEven);
        b.quantize(
            x,
            QuantizeOperands::default(),
            &quantization.unwrap(),
            (0, 0),
        )
    }

    #[test]
    fn nvfp4_takes_the_largest_magnitude_and_random_rounding_the_step() {
        let quantize = |rounding, amax: bool, step: bool| {
            outcome(["4x32xf32", "f32", "ui32"], |b, [x, largest, count]| {
                let operands = QuantizeOperands {
                    amax: amax.then_some(largest),
                    step: step.then_some(count),
                };
                b.quantize(x, operands, &nvfp4(&[4, 32], 1, rounding), (0, 0))
            })
        };
        let result = "!tsr.scaled<4x32, nvfp4, axis = 1>";
        assert_eq!(quantize(Rounding::NearestEven, true, false), result);
        assert_eq!(quantize(Rounding::Stochastic, true, true), result);
        assert_eq!(
            quantize(Rounding::NearestEven, false, false),
            "'tsr.quantize' (T4): nvfp4 with rounding nearest_even takes (tensor<f32>) after x, found ()"
        );
        assert_eq!(
            quantize(Rounding::Stochastic, true, false),
            "'tsr.quantize' (T4): nvfp4 with rounding stochastic takes (tensor<f32>, tensor<ui32>) after x, found (tensor<f32>)"
        );
    }

    #[test]
    fn bytes_have_another_order_between_the_last_two_dimensions_of_square_blocks() {
        let relayout = |shape: &[usize], blocks, from, to| {
            let scaled = |axis| {
                ScaledType::new(shape, Format::Nvfp4, axis, blocks, ScaleLayout::Linear).unwrap()
            };
            let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
            let x = format!("{}xf32", sizes.join("x"));
            outcome([x.as_str(), "f32"], |b, [x, largest]| {
                let how = Quantization::new(scaled(from), ScaleRule::Te, Rounding::NearestEven);
                let operands = QuantizeOperands {
                    amax: Some(largest),
                    step: None,
                };
                let codes = b.quantize(x, operands, &how.unwrap(), (0, 0))?;
                b.relayout(codes, &scaled(to))
            })
        };
        let (square, vector) = (BlockShape::Square, BlockShape::Vector);
        assert_eq!(
            relayout(&[3, 4, 32], square, 1, 2),
            "!tsr.scaled<3x4x32, nvfp4, axis = 2, blocks = square>"
        );
        assert_eq!(
            relayout(&[3, 4, 32], square, 0, 2),
            "'tsr.relayout' (T3): the result must have the operand's axis, 0, or blocks of 16x16 and an axis that is one of \
             the last two dimensions, as the operand's, found !tsr.scaled<3x4x32, nvfp4, axis = 2, blocks = square>"
        );
        assert_eq!(
            relayout(&[4, 32], vector, 0, 1),
            "'tsr.relayout' (T3): the result must have the operand's axis, 0, or blocks of 16x16 and an axis that is one of \
             the last two dimensions, as the operand's, found !tsr.scaled<4x32, nvfp4, axis = 1>"
        );
    }

    #[test]
    fn a_scaled_tensor_has_the_operands_shape() {
        assert_eq!(
            outcome(["4x32xf32"], |b, [x]| mxfp4(b, x, &[32, 4], 0)),
            "'tsr.quantize' (T2): the result must have the operand's shape, [4, 32], found !tsr.scaled<32x4, mxfp4, axis = 0>"
        );
    }

    #[test]
    fn ops_on_tensors_refuse_scaled_tensors() {
        assert_eq!(
            outcome(["4x32xf32"], |b, [x]| {
                let x = mxfp4(b, x, &[4, 32], 1)?;
                b.negate(x)
            }),
            "'tsr.negate' (tensors): operand 0 must be a tensor, found !tsr.scaled<4x32, mxfp4, axis = 1>"
        );
    }

    #[test]
    fn a_product_sums_along_both_axes() {
        let product = |lhs_axis, rhs: &'static [usize], rhs_axis| {
            let text = format!("{}x{}xf32", rhs[0], rhs[1]);
            outcome(["4x32xf32", text.as_str()], |b, [x, y]| {
                let x = mxfp4(b, x, &[4, 32], lhs_axis)?;
                let y = mxfp4(b, y, rhs, rhs_axis)?;
                b.scaled_dot(x, y, ElementType::F32)
            })
        };
        assert_eq!(product(1, &[32, 6], 0), "tensor<4x6xf32>");
        assert_eq!(product(1, &[6, 32], 1), "tensor<4x6xf32>");
        assert_eq!(
            product(0, &[32, 6], 0),
            "'tsr.scaled_dot' (T4): the axes must have one size, found !tsr.scaled<4x32, mxfp4, axis = 0> and !tsr.scaled<32x6, mxfp4, axis = 0>"
        );
    }

    #[test]
    fn operands_of_a_product_have_one_layout_of_scales() {
        assert_eq!(
            outcome(["4x32xf32"], |b, [x]| {
                let (blocks, layout) = (BlockShape::Vector, ScaleLayout::Tiled128x4);
                let tiled = ScaledType::new([4, 32], Format::Mxfp4, 1, blocks, layout).unwrap();
                let tiled = Quantization::new(tiled, ScaleRule::Rceil, Rounding::NearestEven);
                let tiled = b.quantize(x, QuantizeOperands::default(), &tiled.unwrap(), (0, 0))?;
                let linear = mxfp4(b, x, &[4, 32], 1)?;
                b.scaled_dot(tiled, linear, ElementType::F32)
            }),
            "'tsr.scaled_dot' (T3): the operands must have one layout of block scales, found tiled_128x4 and linear"
        );
    }

    #[test]
    fn means_are_taken_along_named_dimensions() {
        let mean = |dimensions: &'static [usize]| {
            outcome(["2x3x4xbf16"], |b, [x]| b.column_mean(x, dimensions))
        };
        assert_eq!(mean(&[0, 1]), "tensor<4xbf16>");
        assert_eq!(
            mean(&[]),
            "'tsr.column_mean' (T2): expected at least one dimension, found none"
        );
    }

    #[test]
    fn hadamard_blocks_divide_the_axis() {
        let hadamard = |axis, signs: usize| {
            outcome(["24x32xf32"], |b, [x]| {
                b.hadamard(x, axis, &vec![false; signs])
            })
        };
        assert_eq!(hadamard(1, 16), "tensor<24x32xf32>");
        assert_eq!(
            hadamard(0, 16),
            "'tsr.hadamard' (T4): dimension 0 of tensor<24x32xf32> must be a multiple of 16"
        );
        assert_eq!(
            hadamard(1, 8),
            "'tsr.hadamard' (T3): expected [16, 32, 64, 128] signs, found 8"
        );
    }

    #[test]
    fn subspaces_are_no_larger_than_the_matrix() {
        let iterate = |basis| {
            outcome(["8x6xf32", basis], |b, [matrix, basis]| {
                Ok(b.subspace_iterate(matrix, basis, 2)?[0])
            })
        };
        assert_eq!(iterate("6x2xf32"), "tensor<6x2xf32>, tensor<2xf32>");
        assert_eq!(
            iterate("6x9xf32"),
            "'tsr.subspace_iterate' (T2): expected l × n and n × k with k at most l, found tensor<8x6xf32> and tensor<6x9xf32>"
        );
    }
}
