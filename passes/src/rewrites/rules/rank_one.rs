//! Rules of outer products and other products along few terms: wgrad's corrections.
//!
//! A product is *thin* where it has at most [`MAX_RANK`] terms: it costs its result's bytes and little else. Sums are
//! rearranged so that thin products stand together, and only then: sums in general keep their order.

use super::super::rule::{NumericClass, Rule, Terms};
use super::contraction::{Product, Side};
use super::repetition::{repetitions, splat_of_shape};
use egg::Id;
use tessera_ir::{Binary, ElementType, Op, OpKind};

/// The largest number of terms of a product that is thin: a few epilogue operations per element.
const MAX_RANK: usize = 8;

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "outer product by broadcast",
        numerics: NumericClass::Reassociating,
        equality: "dot_general(a, b) without contraction = broadcast a · broadcast b (but for the sign of a zero)",
        heads: &["dot_general"],
        apply: outer_product_by_broadcast,
    },
    Rule {
        name: "broadcast factors as outer product",
        numerics: NumericClass::Reassociating,
        equality: "broadcast a · broadcast b = a ⊗ b, of vectors along the two dimensions (but for the sign of a zero)",
        heads: &["multiply"],
        apply: broadcast_factors,
    },
    Rule {
        name: "product with an outer product",
        numerics: NumericClass::Reassociating,
        equality: "(a ⊗ b) c = a ⊗ (b c)",
        heads: &["dot_general"],
        apply: product_with_outer_product,
    },
    Rule {
        name: "thin products together",
        numerics: NumericClass::Reassociating,
        equality: "(p + a ⊗ b) + c ⊗ d = p + (a ⊗ b + c ⊗ d)",
        heads: &["add"],
        apply: thin_products_together,
    },
    Rule {
        name: "common factor of outer products",
        numerics: NumericClass::Reassociating,
        equality: "(p + a ⊗ c) + b ⊗ c = p + (a + b) ⊗ c, with p or without",
        heads: &["add"],
        apply: common_factor,
    },
    Rule {
        name: "sum of thin products",
        numerics: NumericClass::Reassociating,
        equality: "a ⊗ c + b ⊗ d = dot_general(concatenate(a, b), concatenate(c, d)): one product of rank 2",
        heads: &["add"],
        apply: sum_of_thin_products,
    },
    Rule {
        name: "multiple of outer product",
        numerics: NumericClass::Reassociating,
        equality: "(a ⊗ b) · s = (a · s) ⊗ b for a number s",
        heads: &["multiply"],
        apply: multiple_of_outer_product,
    },
];

/// A thin product of two matrices, without batches, in one float type.
struct Thin {
    product: Product,
    rank: usize,
}

fn thin(terms: &Terms<'_>, id: Id) -> Vec<Thin> {
    let products = terms.ops(id, Product::of).into_iter();
    products
        .filter_map(|product| {
            let mut sides = product.sides.iter();
            let one_type = sides.all(|side| {
                let element = terms.tensor(side.value).map(|tensor| tensor.element);
                element == Some(product.element)
            });
            let [lhs, rhs] = &product.sides;
            let sizes = terms.shape(lhs.value);
            let rank = lhs.contracting.iter().map(|&d| sizes[d]).product();
            let is_matrix = |side: &Side| {
                side.batching.is_empty()
                    && side.contracting.len() <= 1
                    && side.free(terms.shape(side.value).len()).len() == 1
            };
            let holds = one_type
                && product.element.is_float()
                && product.accumulator == product.element
                && is_matrix(lhs)
                && is_matrix(rhs)
                && (1..=MAX_RANK).contains(&rank);
            holds.then_some(Thin { product, rank })
        })
        .collect()
}

/// The vectors of an outer product, where that is one.
fn outer(thin: &Thin) -> Option<[Id; 2]> {
    let [lhs, rhs] = &thin.product.sides;
    lhs.contracting.is_empty().then_some([lhs.value, rhs.value])
}

fn outer_product(terms: &mut Terms<'_>, [a, b]: [Id; 2], element: ElementType) -> Option<Id> {
    let kind = OpKind::DotGeneral {
        lhs_batching_dimensions: Vec::new(),
        rhs_batching_dimensions: Vec::new(),
        lhs_contracting_dimensions: Vec::new(),
        rhs_contracting_dimensions: Vec::new(),
        accumulator: element,
        element,
    };
    terms.add(kind, &[a, b])
}

fn outer_product_by_broadcast(terms: &mut Terms<'_>, op: &Op<Id>) -> Option<Vec<Id>> {
    let product = Product::of(op)?;
    let [lhs, rhs] = &product.sides;
    let one_type = [lhs, rhs].iter().all(|side| {
        let element = terms.tensor(side.value).map(|tensor| tensor.element);
        element == Some(product.element)
    });
    if !lhs.contracting.is_empty() || !one_type || product.accumulator != product.element {
        return None;
    }
    let shape = product.shape(terms);
    let batch = lhs.batching.len();
    let lhs_rank = terms.shape(lhs.value).len();
    // Where the dimensions of a side are in the result: batching first, then those of lhs, then those of rhs.
    let places = |side: &Side, rank: usize, first: usize| -> Vec<usize> {
        let free = side.free(rank);
        let place = |d: usize| match side.batching.iter().position(|&b| b == d) {
            Some(batch) => batch,
            None => first + free.iter().filter(|&&f| f < d).count(),
        };
        (0..rank).map(place).collect()
    };
    let lhs_places = places(lhs, lhs_rank, batch);
    let rhs_places = places(rhs, terms.shape(rhs.value).len(), lhs_rank);
    let a = terms.broadcast(lhs.value, &lhs_places, &shape)?;
    let b = terms.broadcast(rhs.value, &rhs_places, &shape)?;
    Some(vec![terms.add(OpKind::Binary(Binary::Multiply), &[a, b])?])
}

fn broadcast_factors(terms: &mut Terms<'_>, op: &Op<Id>) -> Option<Vec<Id>> {
    let &[x, y] = op.operands.as_slice() else {
        return None;
    };
    let element = terms.tensor(x)?.element;
    if op.kind != OpKind::Binary(Binary::Multiply) || !element.is_float() {
        return None;
    }
    let mut equal = Vec::new();
    let (first, second) = (repetitions(terms, x), repetitions(terms, y));
    for first in &first {
        for second in &second {
            let vectors = match (&first.dimensions[..], &second.dimensions[..]) {
                ([0], [1]) => [first.source, second.source],
                ([1], [0]) => [second.source, first.source],
                _ => continue,
            };
            if first.shape.len() == 2 {
                equal.extend(outer_product(terms, vectors, element));
            }
        }
    }
    Some(equal)
}

fn product_with_outer_product(terms: &mut Terms<'_>, op: &Op<Id>) -> Option<Vec<Id>> {
    let product = Product::of(op)?;
    let element = product.element;
    let mut equal = Vec::new();
    for number in 0..2 {
        let (side, other) = (&product.sides[number], &product.sides[1 - number]);
        let matrices = [side, other].iter().all(|side| {
            let tensor = terms.tensor(side.value);
            tensor.is_some_and(|t| t.rank() == 2 && t.element == element)
        });
        let &[contracted] = side.contracting.as_slice() else {
            continue;
        };
        if !matrices || product.accumulator != element {
            continue;
        }
        for (vectors, _) in outer_products(terms, side.value) {
            let mut inner = product.clone();
            inner.sides[number] = Side {
                value: vectors[contracted],
                batching: Vec::new(),
                contracting: vec![0],
            };
            let Some(met) = inner.add(terms) else {
                continue;
            };
            let rest = vectors[1 - contracted];
            let both = if number == 0 {
                [rest, met]
            } else {
                [met, rest]
            };
            equal.extend(outer_product(terms, both, element));
        }
    }
    Some(equal)
}

const ADD: OpKind = OpKind::Binary(Binary::Add);

fn thin_products_together(terms: &mut Terms<'_>, op: &Op<Id>) -> Option<Vec<Id>> {
    if op.kind != ADD {
        return None;
    }
    let mut equal = Vec::new();
    for (sum, last) in both_ways(op)? {
        if thin(terms, last).is_empty() || !thin(terms, sum).is_empty() {
            continue;
        }
        let inner = terms.ops(sum, |op| (op.kind == ADD).then(|| op.clone()));
        for inner in inner {
            for (rest, first) in both_ways(&inner)? {
                if thin(terms, first).is_empty() || !thin(terms, rest).is_empty() {
                    continue;
                }
                if let Some(together) = terms.add(ADD, &[first, last]) {
                    equal.extend(terms.add(ADD, &[rest, together]));
                }
            }
        }
    }
    Some(equal)
}

/// The two operands of a commutative op, in both orders.
fn both_ways(op: &Op<Id>) -> Option<[(Id, Id); 2]> {
    let [x, y] = *op.operands.as_slice() else {
        return None;
    };
    Some([(x, y), (y, x)])
}

fn common_factor(terms: &mut Terms<'_>, op: &Op<Id>) -> Option<Vec<Id>> {
    if op.kind != ADD {
        return None;
    }
    let mut equal = Vec::new();
    for (x, last) in both_ways(op)? {
        let last = outer_products(terms, last);
        if last.is_empty() {
            continue;
        }
        equal.extend(joined(terms, x, &last));
        for inner in terms.ops(x, |op| (op.kind == ADD).then(|| op.clone())) {
            for (rest, term) in both_ways(&inner)? {
                for joined in joined(terms, term, &last) {
                    equal.extend(terms.add(ADD, &[rest, joined]));
                }
            }
        }
    }
    Some(equal)
}

/// The vectors of the outer products that a value is equal to.
fn outer_products(terms: &Terms<'_>, id: Id) -> Vec<([Id; 2], ElementType)> {
    let products = thin(terms, id).into_iter();
    products
        .filter_map(|thin| Some((outer(&thin)?, thin.product.element)))
        .collect()
}

/// A value plus one of equal outer products, as one outer product, where they have a factor in common.
fn joined(terms: &mut Terms<'_>, id: Id, others: &[([Id; 2], ElementType)]) -> Vec<Id> {
    let mut equal = Vec::new();
    for ([a, c], element) in outer_products(terms, id) {
        for &([b, d], _) in others {
            if terms.same(c, d) {
                let sum = terms.add(ADD, &[a, b]);
                equal.extend(sum.and_then(|sum| outer_product(terms, [sum, c], element)));
            }
            if terms.same(a, b) {
                let sum = terms.add(ADD, &[c, d]);
                equal.extend(sum.and_then(|sum| outer_product(terms, [a, sum], element)));
            }
        }
    }
    equal
}

fn sum_of_thin_products(terms: &mut Terms<'_>, op: &Op<Id>) -> Option<Vec<Id>> {
    if op.kind != ADD {
        return None;
    }
    let &[x, y] = op.operands.as_slice() else {
        return None;
    };
    // One form of each is enough: others are equal, and combinations of all of them many.
    let (first, second) = (thin(terms, x), thin(terms, y));
    let (first, second) = (first.first()?, second.first()?);
    if first.rank + second.rank > MAX_RANK {
        return None;
    }
    let mut sides = Vec::with_capacity(2);
    for number in 0..2 {
        let parts = [
            terms_by_rows(terms, first, number)?,
            terms_by_rows(terms, second, number)?,
        ];
        sides.push(terms.add(OpKind::Concatenate { dimension: 0 }, &parts)?);
    }
    let kind = OpKind::DotGeneral {
        lhs_batching_dimensions: Vec::new(),
        rhs_batching_dimensions: Vec::new(),
        lhs_contracting_dimensions: vec![0],
        rhs_contracting_dimensions: vec![0],
        accumulator: first.product.accumulator,
        element: first.product.element,
    };
    Some(vec![terms.add(kind, &sides)?])
}

/// One side of a thin product as a matrix with a row for each term.
fn terms_by_rows(terms: &mut Terms<'_>, thin: &Thin, side: usize) -> Option<Id> {
    let side = &thin.product.sides[side];
    let shape = terms.shape(side.value).to_vec();
    match (side.contracting.as_slice(), shape.as_slice()) {
        ([], &[size]) => terms.reshape(side.value, &[1, size]),
        ([0], _) => Some(side.value),
        ([1], _) => terms.transpose(side.value, &[1, 0]),
        _ => None,
    }
}

fn multiple_of_outer_product(terms: &mut Terms<'_>, op: &Op<Id>) -> Option<Vec<Id>> {
    if op.kind != OpKind::Binary(Binary::Multiply) {
        return None;
    }
    let mut equal = Vec::new();
    for (product, factor) in both_ways(op)? {
        if terms.splat(factor).is_none() {
            continue;
        }
        for thin in thin(terms, product) {
            let Some([a, b]) = outer(&thin) else {
                continue;
            };
            let shape = terms.shape(a).to_vec();
            let factor = splat_of_shape(terms, factor, &shape)?;
            let multiple = terms.add(OpKind::Binary(Binary::Multiply), &[a, factor])?;
            equal.extend(outer_product(terms, [multiple, b], thin.product.element));
        }
    }
    Some(equal)
}
