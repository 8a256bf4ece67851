//! Rules of matrix products: transposes and reshapes go through them, repeated rows and terms out of them.

use super::super::rule::{NumericClass, Rule, Terms};
use super::layout::{reshape_sources, transpose_sources};
use super::repetition::repetitions;
use super::sums::sum;
use crate::canonicalise::reshape_groups;
use egg::Id;
use tessera_ir::{ElementType, Op, OpKind};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "product of transpose",
        numerics: NumericClass::Exact,
        equality: "dot_general(transpose x, y) = dot_general(x, y) with other dimension numbers",
        heads: &["dot_general"],
        apply: product_of_transpose,
    },
    Rule {
        name: "transpose of product",
        numerics: NumericClass::Exact,
        equality: "transpose(dot_general(x, y)) = dot_general(y, x) where that is its order",
        heads: &["transpose"],
        apply: transpose_of_product,
    },
    Rule {
        name: "product of reshape",
        numerics: NumericClass::Exact,
        equality: "dot_general(reshape x, reshape y) = reshape(dot_general(x, y)), where whole dimensions are contracted",
        heads: &["dot_general"],
        apply: product_of_reshape,
    },
    Rule {
        name: "product of repeated rows",
        numerics: NumericClass::Exact,
        equality: "dot_general(broadcast μ, w) = broadcast(dot_general(μ, w))",
        heads: &["dot_general"],
        apply: product_of_repeated_rows,
    },
    Rule {
        name: "product along repeated terms",
        numerics: NumericClass::Reassociating,
        equality: "Σ_t d[t, j] · μ[i] = μ[i] · Σ_t d[t, j]: dot_general(d, broadcast μ) = dot_general(reduce d, μ)",
        heads: &["dot_general"],
        apply: product_along_repeated_terms,
    },
    Rule {
        name: "product with a product of low rank",
        numerics: NumericClass::Reassociating,
        equality: "(a bᵀ) c = a (bᵀ c), where a and b have at most half as many columns as rows",
        heads: &["dot_general"],
        apply: product_with_low_rank,
    },
];

/// A dot_general as a list of two sides.
#[derive(Clone, Debug)]
pub(super) struct Product {
    pub(super) sides: [Side; 2],
    pub(super) accumulator: ElementType,
    pub(super) element: ElementType,
}

/// One operand of a dot_general and what its dimensions are.
#[derive(Clone, Debug)]
pub(super) struct Side {
    pub(super) value: Id,
    pub(super) batching: Vec<usize>,
    pub(super) contracting: Vec<usize>,
}

impl Product {
    pub(super) fn of(op: &Op<Id>) -> Option<Self> {
        let OpKind::DotGeneral {
            lhs_batching_dimensions,
            rhs_batching_dimensions,
            lhs_contracting_dimensions,
            rhs_contracting_dimensions,
            accumulator,
            element,
        } = &op.kind
        else {
            return None;
        };
        let [lhs, rhs] = *op.operands.as_slice() else {
            return None;
        };
        let lhs = Side {
            value: lhs,
            batching: lhs_batching_dimensions.clone(),
            contracting: lhs_contracting_dimensions.clone(),
        };
        let rhs = Side {
            value: rhs,
            batching: rhs_batching_dimensions.clone(),
            contracting: rhs_contracting_dimensions.clone(),
        };
        Some(Self {
            sides: [lhs, rhs],
            accumulator: *accumulator,
            element: *element,
        })
    }

    pub(super) fn add(&self, terms: &mut Terms<'_>) -> Option<Id> {
        let [lhs, rhs] = &self.sides;
        let kind = OpKind::DotGeneral {
            lhs_batching_dimensions: lhs.batching.clone(),
            rhs_batching_dimensions: rhs.batching.clone(),
            lhs_contracting_dimensions: lhs.contracting.clone(),
            rhs_contracting_dimensions: rhs.contracting.clone(),
            accumulator: self.accumulator,
            element: self.element,
        };
        terms.add(kind, &[lhs.value, rhs.value])
    }

    /// The result's shape.
    pub(super) fn shape(&self, terms: &Terms<'_>) -> Vec<usize> {
        let [lhs, rhs] = &self.sides;
        let lhs_shape = terms.shape(lhs.value);
        let mut shape: Vec<usize> = lhs.batching.iter().map(|&d| lhs_shape[d]).collect();
        for side in [lhs, rhs] {
            let sizes = terms.shape(side.value);
            shape.extend(side.free(sizes.len()).into_iter().map(|d| sizes[d]));
        }
        shape
    }
}

impl Side {
    /// The dimensions that go into the result alone.
    pub(super) fn free(&self, rank: usize) -> Vec<usize> {
        let is_free = |d: &usize| !self.batching.contains(d) && !self.contracting.contains(d);
        (0..rank).filter(is_free).collect()
    }
}

fn product_of_transpose(terms: &mut Terms<'_>, op: &Op<Id>) -> Option<Vec<Id>> {
    let product = Product::of(op)?;
    let mut equal = Vec::new();
    for number in 0..2 {
        let side = &product.sides[number];
        for (source, permutation) in transpose_sources(terms, side.value) {
            let free = side.free(permutation.len());
            // Free dimensions in another order would be another product.
            if !free.iter().map(|&d| permutation[d]).is_sorted() {
                continue;
            }
            let through = |dimensions: &[usize]| -> Vec<usize> {
                dimensions.iter().map(|&d| permutation[d]).collect()
            };
            let mut other = product.clone();
            other.sides[number] = Side {
                value: source,
                batching: through(&side.batching),
                contracting: through(&side.contracting),
            };
            equal.extend(other.add(terms));
        }
    }
    Some(equal)
}

fn transpose_of_product(terms: &mut Terms<'_>, op: &Op<Id>) -> Option<Vec<Id>> {
    let OpKind::Transpose { permutation } = &op.kind else {
        return None;
    };
    let products = terms.ops(op.operands[0], Product::of);
    let mut equal = Vec::new();
    for mut product in products {
        let [lhs, _] = &product.sides;
        let batch = lhs.batching.len();
        let lhs_end = batch + lhs.free(terms.shape(lhs.value).len()).len();
        let swapped = (0..batch)
            .chain(lhs_end..permutation.len())
            .chain(batch..lhs_end);
        if permutation.iter().copied().eq(swapped) {
            product.sides.swap(0, 1);
            equal.extend(product.add(terms));
        }
    }
    Some(equal)
}

/// A side under another shape: the source of a reshape, or the value itself.
fn unreshaped_sides(terms: &Terms<'_>, side: &Side) -> Vec<Side> {
    let to = terms.shape(side.value).to_vec();
    let sources = reshape_sources(terms, side.value).into_iter();
    let mut sides: Vec<Side> = sources
        .filter_map(|source| {
            let groups = reshape_groups(terms.shape(source), &to)?;
            let through = |dimensions: &[usize]| -> Option<Vec<usize>> {
                let mut places = Vec::new();
                let mut rest = dimensions;
                while let Some(&first) = rest.first() {
                    let group = groups.iter().find(|group| group.to.start == first)?;
                    let of_group: Vec<usize> = group.to.clone().filter(|&d| to[d] != 1).collect();
                    rest = rest.strip_prefix(of_group.as_slice())?;
                    let sizes = terms.shape(source);
                    places.extend(group.from.clone().filter(|&d| sizes[d] != 1));
                }
                Some(places)
            };
            Some(Side {
                value: source,
                batching: through(&side.batching)?,
                contracting: through(&side.contracting)?,
            })
        })
        .collect();
    sides.push(side.clone());
    sides
}

fn product_of_reshape(terms: &mut Terms<'_>, op: &Op<Id>) -> Option<Vec<Id>> {
    let product = Product::of(op)?;
    let shape = product.shape(terms);
    let [lhs, rhs] = &product.sides;
    let (lhs, rhs) = (unreshaped_sides(terms, lhs), unreshaped_sides(terms, rhs));
    let mut equal = Vec::new();
    for left in &lhs {
        for right in &rhs {
            // The rule of dot_general refuses sides whose sizes do not go together.
            let mut other = product.clone();
            other.sides = [left.clone(), right.clone()];
            if let Some(value) = other.add(terms) {
                equal.extend(terms.reshape(value, &shape));
            }
        }
    }
    Some(equal)
}

fn product_of_repeated_rows(terms: &mut Terms<'_>, op: &Op<Id>) -> Option<Vec<Id>> {
    let product = Product::of(op)?;
    let shape = product.shape(terms);
    let batch = product.sides[0].batching.len();
    let lhs_free = shape.len() - batch - free_of(terms, &product.sides[1]).len();
    let mut equal = Vec::new();
    for number in 0..2 {
        let side = &product.sides[number];
        let free = free_of(terms, side);
        for repetition in repetitions(terms, side.value) {
            let removed: Vec<usize> = free
                .iter()
                .copied()
                .filter(|&d| repetition.is_along(d))
                .collect();
            if removed.is_empty() {
                continue;
            }
            let first = if number == 0 { batch } else { batch + lhs_free };
            let is_kept = |place: &usize| {
                let of_side = place.checked_sub(first).and_then(|p| free.get(p));
                of_side.is_none_or(|d| !removed.contains(d))
            };
            let kept: Vec<usize> = (0..shape.len()).filter(is_kept).collect();
            let Some(smaller) = without(terms, side, &removed, |terms| {
                repetition.without(terms, &removed)
            }) else {
                continue;
            };
            let mut other = product.clone();
            other.sides[number] = smaller;
            if let Some(value) = other.add(terms) {
                equal.extend(terms.broadcast(value, &kept, &shape));
            }
        }
    }
    Some(equal)
}

fn free_of(terms: &Terms<'_>, side: &Side) -> Vec<usize> {
    side.free(terms.shape(side.value).len())
}

/// A side without some dimensions, which are free or contracting ones; `value` makes its value.
fn without(
    terms: &mut Terms<'_>,
    side: &Side,
    removed: &[usize],
    value: impl FnOnce(&mut Terms<'_>) -> Option<Id>,
) -> Option<Side> {
    let value = value(terms)?;
    let through = |dimensions: &[usize]| -> Vec<usize> {
        let kept = dimensions.iter().filter(|d| !removed.contains(d));
        kept.map(|&d| d - removed.iter().filter(|&&r| r < d).count())
            .collect()
    };
    Some(Side {
        value,
        batching: through(&side.batching),
        contracting: through(&side.contracting),
    })
}

fn product_along_repeated_terms(terms: &mut Terms<'_>, op: &Op<Id>) -> Option<Vec<Id>> {
    let product = Product::of(op)?;
    let accumulator = product.accumulator;
    if !accumulator.is_float() {
        return None;
    }
    let mut equal = Vec::new();
    for number in 0..2 {
        let (side, other) = (&product.sides[number], &product.sides[1 - number]);
        for repetition in repetitions(terms, side.value) {
            let along: Vec<usize> = (0..side.contracting.len())
                .filter(|&place| repetition.is_along(side.contracting[place]))
                .collect();
            if along.is_empty() {
                continue;
            }
            let dimensions_of = |side: &Side| -> Vec<usize> {
                along.iter().map(|&place| side.contracting[place]).collect()
            };
            let (removed, summed) = (dimensions_of(side), dimensions_of(other));
            let smaller = without(terms, side, &removed, |terms| {
                let value = repetition.without(terms, &removed)?;
                terms.convert(value, accumulator)
            });
            let sums = without(terms, other, &summed, |terms| {
                let value = terms.convert(other.value, accumulator)?;
                sum(terms, value, &summed)
            });
            let (Some(smaller), Some(sums)) = (smaller, sums) else {
                continue;
            };
            let mut changed = product.clone();
            changed.sides[number] = smaller;
            changed.sides[1 - number] = sums;
            equal.extend(changed.add(terms));
        }
    }
    Some(equal)
}

/// The dimensions of a matrix, or of each of a batch of matrices, in a product: which one is free and which contracted.
struct MatrixSide {
    batch: usize,
    free: usize,
    contracting: usize,
}

impl MatrixSide {
    /// `None` where the value is not a batch of matrices with the batch first.
    fn of(terms: &Terms<'_>, side: &Side) -> Option<Self> {
        let rank = terms.shape(side.value).len();
        let batch = side.batching.len();
        let (&[contracting], &[free]) = (side.contracting.as_slice(), side.free(rank).as_slice())
        else {
            return None;
        };
        let batch_first = side.batching.iter().copied().eq(0..batch);
        (batch_first && rank == batch + 2).then_some(Self {
            batch,
            free,
            contracting,
        })
    }
}

fn product_with_low_rank(terms: &mut Terms<'_>, op: &Op<Id>) -> Option<Vec<Id>> {
    let product = Product::of(op)?;
    let in_one_type = |terms: &Terms<'_>, product: &Product| {
        let mut sides = product.sides.iter();
        let element = product.element;
        element.is_float()
            && element == product.accumulator
            && sides.all(|side| {
                terms
                    .tensor(side.value)
                    .is_some_and(|t| t.element == element)
            })
    };
    if !in_one_type(terms, &product) {
        return None;
    }
    let mut equal = Vec::new();
    for number in 0..2 {
        let (side, other) = (&product.sides[number], &product.sides[1 - number]);
        let place = MatrixSide::of(terms, side)?;
        MatrixSide::of(terms, other)?;
        for factors in terms.ops(side.value, Product::of) {
            if !in_one_type(terms, &factors) || factors.element != product.element {
                continue;
            }
            // The factor whose rows are summed over meets the other side first, then the one whose rows stay.
            let met = place.contracting - place.batch;
            let (first, last) = (&factors.sides[met], &factors.sides[1 - met]);
            let (Some(first_place), Some(last_place)) =
                (MatrixSide::of(terms, first), MatrixSide::of(terms, last))
            else {
                continue;
            };
            let first_shape = terms.shape(first.value);
            let rank = first_shape[first_place.contracting];
            let rows = first_shape[first_place.free].min(terms.shape(last.value)[last_place.free]);
            if 2 * rank > rows || first_place.batch != place.batch {
                continue;
            }
            let contracting = |side: &Side, value: Id, dimension: usize| Side {
                value,
                batching: side.batching.clone(),
                contracting: vec![dimension],
            };
            let mut inner = product.clone();
            inner.sides[number] = contracting(first, first.value, first_place.free);
            let Some(met) = inner.add(terms) else {
                continue;
            };
            // On the left, the rank is the first dimension of what they make; on the right, the last.
            let mut outer = product.clone();
            outer.sides[number] = last.clone();
            outer.sides[1 - number] = contracting(other, met, place.batch + number);
            outer.sides[1 - number].batching = (0..place.batch).collect();
            equal.extend(outer.add(terms));
        }
    }
    Some(equal)
}
