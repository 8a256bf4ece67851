//! Rules of scaled tensors. None changes what is rounded, nor which random bits round it: codes and scales stay.
//!
//! A scaled tensor of square blocks along one axis has the numbers of one along the other, but not its bytes: codes are
//! stored along the axis, and `scaled_dot` contracts the axis. `relayout` turns one into the other, where nothing random
//! went by the place in memory; so a weight with square blocks need not be quantised for the forward product and again for
//! dgrad. What is cheaper is the cost model's to say.

use super::super::rule::{NumericClass, Rule, Terms};
use super::contraction::Product;
use super::layout::transpose_sources;
use egg::Id;
use tessera_ir::{ElementType, Op, OpKind};
use tessera_numerics::{BlockShape, ScaleLayout, ScaledType};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "stream of no randomness",
        numerics: NumericClass::Exact,
        equality: "quantize with seed and site = quantize with seed 0 and site 0, where the rounding is not random",
        heads: &["quantize"],
        apply: stream_of_no_randomness,
    },
    Rule {
        name: "scaled product of transpose",
        numerics: NumericClass::Exact,
        equality: "scaled_dot(quantize(transpose x), y) = scaled_dot(quantize x along the axis that becomes the other's, y)",
        heads: &["scaled_dot"],
        apply: scaled_product_of_transpose,
    },
    Rule {
        name: "product of numbers",
        numerics: NumericClass::Reassociating,
        equality: "dot_general(dequantize a, dequantize b) = scaled_dot(a, b), where the axes are summed over",
        heads: &["dot_general"],
        apply: product_of_numbers,
    },
    Rule {
        name: "numbers of quantised transpose",
        numerics: NumericClass::Exact,
        equality: "dequantize(quantize(transpose x)) = transpose(dequantize(quantize x))",
        heads: &["dequantize"],
        apply: numbers_of_transpose,
    },
    Rule {
        name: "numbers of square blocks",
        numerics: NumericClass::Exact,
        equality: "dequantize(quantize x along one axis) = dequantize(quantize x along the other) of square blocks, where both are there",
        heads: &["dequantize"],
        apply: numbers_of_square_blocks,
    },
    Rule {
        name: "quantisation in another order",
        numerics: NumericClass::Exact,
        equality: "quantize x = relayout(quantize x along the other axis of square blocks, or with scales in another layout), where that is there",
        heads: &["quantize"],
        apply: quantisation_in_another_order,
    },
];

/// The quantisations that a value is equal to.
fn quantisations(terms: &Terms<'_>, id: Id) -> Vec<Op<Id>> {
    terms.ops(id, |op| {
        matches!(op.kind, OpKind::Quantize { .. }).then(|| op.clone())
    })
}

/// The same quantisation to another type.
fn quantize_to(kind: &OpKind, to: ScaledType) -> Option<OpKind> {
    let OpKind::Quantize {
        rule,
        rounding,
        seed,
        site,
        scaled_type: _,
    } = kind
    else {
        return None;
    };
    Some(OpKind::Quantize {
        rule: *rule,
        rounding: *rounding,
        seed: *seed,
        site: *site,
        scaled_type: to,
    })
}

fn stream_of_no_randomness(terms: &mut Terms<'_>, op: &Op<Id>) -> Option<Vec<Id>> {
    let OpKind::Quantize {
        rule,
        rounding,
        seed,
        site,
        scaled_type,
    } = &op.kind
    else {
        return None;
    };
    if rounding.is_random() || (*seed, *site) == (0, 0) {
        return None;
    }
    let kind = OpKind::Quantize {
        rule: *rule,
        rounding: *rounding,
        seed: 0,
        site: 0,
        scaled_type: scaled_type.clone(),
    };
    Some(vec![terms.add(kind, &op.operands)?])
}

/// What is quantised of a value's transpose, quantised itself: the scaled tensor with the same bytes, and the
/// permutation. The dimensions beside the axis must keep their order, for they are the rows in memory.
fn untransposed(terms: &mut Terms<'_>, quantize: &Op<Id>) -> Vec<(Id, Vec<usize>)> {
    let OpKind::Quantize { scaled_type, .. } = &quantize.kind else {
        return Vec::new();
    };
    let mut equal = Vec::new();
    for (source, permutation) in transpose_sources(terms, quantize.operands[0]) {
        let axis = scaled_type.axis();
        let rows = (0..permutation.len()).filter(|&d| d != axis);
        if !rows.map(|d| permutation[d]).is_sorted() {
            continue;
        }
        let to = ScaledType::new(
            terms.shape(source),
            scaled_type.format(),
            permutation[axis],
            scaled_type.blocks(),
            scaled_type.layout(),
        );
        let kind = to.ok().and_then(|to| quantize_to(&quantize.kind, to));
        let mut operands = quantize.operands.clone();
        operands[0] = source;
        let value = kind.and_then(|kind| terms.add(kind, &operands));
        equal.extend(value.map(|value| (value, permutation)));
    }
    equal
}

fn scaled_product_of_transpose(terms: &mut Terms<'_>, op: &Op<Id>) -> Option<Vec<Id>> {
    let OpKind::ScaledDot {
        lhs_batching_dimensions,
        rhs_batching_dimensions,
        element,
    } = &op.kind
    else {
        return None;
    };
    let mut equal = Vec::new();
    for number in 0..2 {
        for quantize in quantisations(terms, op.operands[number]) {
            for (value, permutation) in untransposed(terms, &quantize) {
                let mut batching = [
                    lhs_batching_dimensions.clone(),
                    rhs_batching_dimensions.clone(),
                ];
                for dimension in &mut batching[number] {
                    *dimension = permutation[*dimension];
                }
                let [lhs_batching_dimensions, rhs_batching_dimensions] = batching;
                let kind = OpKind::ScaledDot {
                    lhs_batching_dimensions,
                    rhs_batching_dimensions,
                    element: *element,
                };
                let mut operands = op.operands.clone();
                operands[number] = value;
                equal.extend(terms.add(kind, &operands));
            }
        }
    }
    Some(equal)
}

/// The scaled tensors whose numbers, in f32, a value is.
fn scaled_sources(terms: &Terms<'_>, id: Id) -> Vec<Id> {
    let numbers = OpKind::Dequantize {
        element: ElementType::F32,
    };
    terms.ops(id, |op| (op.kind == numbers).then(|| op.operands[0]))
}

fn product_of_numbers(terms: &mut Terms<'_>, op: &Op<Id>) -> Option<Vec<Id>> {
    let product = Product::of(op)?;
    if product.accumulator != ElementType::F32 {
        return None;
    }
    let [lhs, rhs] = &product.sides;
    let mut equal = Vec::new();
    for a in scaled_sources(terms, lhs.value) {
        for b in scaled_sources(terms, rhs.value) {
            let axis = |id: Id| terms.scaled(id).map(|scaled| vec![scaled.axis()]);
            let sums_axes = axis(a).as_ref() == Some(&lhs.contracting)
                && axis(b).as_ref() == Some(&rhs.contracting);
            if !sums_axes {
                continue;
            }
            // The rule of scaled_dot refuses blocks and scales that do not go together.
            let kind = OpKind::ScaledDot {
                lhs_batching_dimensions: lhs.batching.clone(),
                rhs_batching_dimensions: rhs.batching.clone(),
                element: product.element,
            };
            equal.extend(terms.add(kind, &[a, b]));
        }
    }
    Some(equal)
}

fn numbers_of_transpose(terms: &mut Terms<'_>, op: &Op<Id>) -> Option<Vec<Id>> {
    let mut equal = Vec::new();
    for quantize in quantisations(terms, op.operands[0]) {
        for (value, permutation) in untransposed(terms, &quantize) {
            if let Some(numbers) = terms.add(op.kind.clone(), &[value]) {
                equal.extend(terms.transpose(numbers, &permutation));
            }
        }
    }
    Some(equal)
}

fn numbers_of_square_blocks(terms: &mut Terms<'_>, op: &Op<Id>) -> Option<Vec<Id>> {
    let scaled = terms.scaled(op.operands[0])?.clone();
    if scaled.blocks() != BlockShape::Square || scaled.shape().len() != 2 {
        return None;
    }
    let other = ScaledType::new(
        scaled.shape(),
        scaled.format(),
        1 - scaled.axis(),
        scaled.blocks(),
        scaled.layout(),
    );
    let other = other.ok()?;
    let mut equal = Vec::new();
    for quantize in quantisations(terms, op.operands[0]) {
        // Random bits go by the place in memory.
        let OpKind::Quantize { rounding, .. } = &quantize.kind else {
            continue;
        };
        if rounding.is_random() {
            continue;
        }
        let kind = quantize_to(&quantize.kind, other.clone())?;
        if let Some(value) = terms.known(kind, &quantize.operands) {
            equal.extend(terms.add(op.kind.clone(), &[value]));
        }
    }
    Some(equal)
}

fn quantisation_in_another_order(terms: &mut Terms<'_>, op: &Op<Id>) -> Option<Vec<Id>> {
    let OpKind::Quantize {
        rounding,
        scaled_type: to,
        ..
    } = &op.kind
    else {
        return None;
    };
    let mut equal = Vec::new();
    for axis in 0..to.shape().len() {
        // Random bits go by the place in memory, which is the same in both layouts of scales alone.
        if rounding.is_random() && axis != to.axis() {
            continue;
        }
        for layout in ScaleLayout::ALL {
            let from = ScaledType::new(to.shape(), to.format(), axis, to.blocks(), layout);
            let Some(from) = from.ok().filter(|from| from != to) else {
                continue;
            };
            if !from.can_be_laid_out_as(to) {
                continue;
            }
            let kind = quantize_to(&op.kind, from)?;
            if let Some(value) = terms.known(kind, &op.operands) {
                let scaled_type = to.clone();
                equal.extend(terms.add(OpKind::Relayout { scaled_type }, &[value]));
            }
        }
    }
    Some(equal)
}
