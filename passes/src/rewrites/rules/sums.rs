//! Rules of sums and means of repeated values.

use super::super::rule::{NumericClass, Rule, Terms};
use super::repetition::{Repetition, repetitions, splat_of_shape};
use crate::canonicalise::exact_float;
use egg::Id;
use tessera_ir::{
    Binary, ElementType, Graph, Input, Location, Op, OpKind, Region, Tensor, TensorType,
};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "sum of repetition",
        numerics: NumericClass::Reassociating,
        equality: "Σ_t μ = n · μ: reduce(broadcast μ) by add = μ · n",
        heads: &["reduce"],
        apply: sum_of_repetition,
    },
    Rule {
        name: "mean of repetition",
        numerics: NumericClass::Reassociating,
        equality: "(Σ_t μ) / n = μ: column_mean(broadcast μ) = μ",
        heads: &["column_mean"],
        apply: mean_of_repetition,
    },
];

/// `(a, b) -> a + b` on scalars.
fn addition(element: ElementType) -> Option<Region> {
    let scalar = Input::new(TensorType::scalar(element));
    let mut body = Graph::new("", vec![scalar.clone(), scalar]);
    let inputs: Vec<_> = body.input_values().collect();
    let result = body.push_value(OpKind::Binary(Binary::Add), inputs, Location::Unknown);
    body.set_result_values([result.ok()?]);
    Some(Region::new(body))
}

/// The sum along dimensions.
pub(super) fn sum(terms: &mut Terms<'_>, id: Id, dimensions: &[usize]) -> Option<Id> {
    let element = terms.tensor(id)?.element;
    let value = Tensor::zeros(element, []).ok()?;
    let zero = terms.add(OpKind::Constant { value }, &[])?;
    let mut dimensions = dimensions.to_vec();
    dimensions.sort_unstable();
    let body = addition(element)?;
    terms.add(OpKind::Reduce { dimensions, body }, &[id, zero])
}

/// The dimensions of a value that are repeated among those reduced, with the value without them and the other reduced
/// dimensions' places in that.
fn taken_out(
    terms: &mut Terms<'_>,
    repetition: &Repetition,
    dimensions: &[usize],
) -> Option<(Id, usize, Vec<usize>)> {
    let along = |d: &usize| repetition.is_along(*d);
    let removed: Vec<usize> = dimensions.iter().copied().filter(along).collect();
    if removed.is_empty() {
        return None;
    }
    let count = removed.iter().map(|&d| repetition.shape[d]).product();
    let rest = dimensions.iter().filter(|d| !removed.contains(d));
    let rest = rest
        .map(|&d| d - removed.iter().filter(|&&r| r < d).count())
        .collect();
    let value = repetition.without(terms, &removed)?;
    Some((value, count, rest))
}

fn sum_of_repetition(terms: &mut Terms<'_>, op: &Op<Id>) -> Option<Vec<Id>> {
    let OpKind::Reduce { dimensions, body } = &op.kind else {
        return None;
    };
    let [input, init] = *op.operands.as_slice() else {
        return None;
    };
    let element = terms.tensor(input)?.element;
    let starts_at_zero = *terms.splat(init)? == Tensor::zeros(element, []).ok()?;
    if body.as_binary() != Some(Binary::Add) || !element.is_float() || !starts_at_zero {
        return None;
    }
    let mut equal = Vec::new();
    for repetition in repetitions(terms, input) {
        let Some((value, count, rest)) = taken_out(terms, &repetition, dimensions) else {
            continue;
        };
        let sum = if rest.is_empty() {
            Some(value)
        } else {
            sum(terms, value, &rest)
        };
        equal.extend(sum.and_then(|sum| times(terms, sum, count)));
    }
    Some(equal)
}

/// A value times a whole number that its element type holds.
fn times(terms: &mut Terms<'_>, id: Id, count: usize) -> Option<Id> {
    let shape = terms.shape(id).to_vec();
    let value = exact_float(terms.tensor(id)?.element, count as f64)?;
    let scalar = terms.add(OpKind::Constant { value }, &[])?;
    let factor = splat_of_shape(terms, scalar, &shape)?;
    terms.add(OpKind::Binary(Binary::Multiply), &[id, factor])
}

fn mean_of_repetition(terms: &mut Terms<'_>, op: &Op<Id>) -> Option<Vec<Id>> {
    let OpKind::ColumnMean { dimensions } = &op.kind else {
        return None;
    };
    let mut equal = Vec::new();
    for repetition in repetitions(terms, op.operands[0]) {
        let Some((value, _, rest)) = taken_out(terms, &repetition, dimensions) else {
            continue;
        };
        if rest.is_empty() {
            equal.push(value);
        } else {
            equal.extend(terms.add(OpKind::ColumnMean { dimensions: rest }, &[value]));
        }
    }
    Some(equal)
}
