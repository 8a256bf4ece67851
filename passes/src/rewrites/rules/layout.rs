//! Rules that move reshapes, transposes and broadcasts out of the way.
//!
//! They all go one way: what only says where an element lies goes towards the results. So computations that differ in
//! layout alone come to be on the same operands, where they are one class.

use super::super::rule::{NumericClass, Rule, Terms};
use super::repetition::{repetitions, reshaped_broadcast, splat_of_shape};
use crate::canonicalise::reshape_groups;
use egg::Id;
use tessera_ir::{Op, OpKind};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "reshape of reshape",
        numerics: NumericClass::Exact,
        equality: "reshape(reshape x) = reshape x; reshape(broadcast x) = broadcast(reshape x)",
        heads: &["reshape"],
        apply: reshape,
    },
    Rule {
        name: "transpose of transpose",
        numerics: NumericClass::Exact,
        equality: "transpose(transpose x) = transpose x; transpose(broadcast x) = broadcast x",
        heads: &["transpose"],
        apply: transpose,
    },
    Rule {
        name: "broadcast of broadcast",
        numerics: NumericClass::Exact,
        equality: "broadcast(broadcast x) = broadcast x",
        heads: &["broadcast_in_dim"],
        apply: broadcast,
    },
    Rule {
        name: "elementwise of reshapes",
        numerics: NumericClass::Exact,
        equality: "f(reshape x, reshape y) = reshape f(x, y)",
        heads: &[],
        apply: elementwise_of_reshapes,
    },
    Rule {
        name: "elementwise of transposes",
        numerics: NumericClass::Exact,
        equality: "f(transpose x, transpose y) = transpose f(x, y)",
        heads: &[],
        apply: elementwise_of_transposes,
    },
    Rule {
        name: "elementwise of broadcasts",
        numerics: NumericClass::Exact,
        equality: "f(broadcast x, broadcast y) = broadcast f(x, y)",
        heads: &[],
        apply: elementwise_of_broadcasts,
    },
    Rule {
        name: "reduction of reshape",
        numerics: NumericClass::Exact,
        equality: "reduce(reshape x) = reshape(reduce x), column_mean likewise, where whole dimensions are reduced",
        heads: &["reduce", "column_mean"],
        apply: reduction_of_reshape,
    },
    Rule {
        name: "reduction of transpose",
        numerics: NumericClass::Exact,
        equality: "reduce(transpose x) = transpose(reduce x), column_mean likewise, where the reduced dimensions keep their order or that is of no account",
        heads: &["reduce", "column_mean"],
        apply: reduction_of_transpose,
    },
    Rule {
        name: "hadamard of broadcast",
        numerics: NumericClass::Exact,
        equality: "hadamard(broadcast x) = broadcast(hadamard x), where the axis is one of x's",
        heads: &["hadamard"],
        apply: hadamard_of_broadcast,
    },
];

/// The operands of reshapes that a value is equal to.
pub(super) fn reshape_sources(terms: &Terms<'_>, id: Id) -> Vec<Id> {
    terms.ops(id, |op| {
        matches!(op.kind, OpKind::Reshape { .. }).then(|| op.operands[0])
    })
}

/// The operands and permutations of transposes that a value is equal to.
pub(super) fn transpose_sources(terms: &Terms<'_>, id: Id) -> Vec<(Id, Vec<usize>)> {
    terms.ops(id, |op| match &op.kind {
        OpKind::Transpose { permutation } => Some((op.operands[0], permutation.clone())),
        _ => None,
    })
}

/// The operands and dimensions of broadcasts that a value is equal to.
fn broadcast_sources(terms: &Terms<'_>, id: Id) -> Vec<(Id, Vec<usize>)> {
    terms.ops(id, |op| match &op.kind {
        OpKind::BroadcastInDim {
            broadcast_dimensions,
            ..
        } => Some((op.operands[0], broadcast_dimensions.clone())),
        _ => None,
    })
}

fn reshape(terms: &mut Terms<'_>, op: &Op<Id>) -> Option<Vec<Id>> {
    let OpKind::Reshape { shape } = &op.kind else {
        return None;
    };
    let x = op.operands[0];
    if terms.shape(x) == shape {
        return Some(vec![x]);
    }
    let mut equal = Vec::new();
    for source in reshape_sources(terms, x) {
        equal.extend(terms.reshape(source, shape));
    }
    let middle = terms.shape(x).to_vec();
    for (source, dimensions) in broadcast_sources(terms, x) {
        equal.extend(reshaped_broadcast(
            terms,
            (source, &dimensions),
            &middle,
            shape,
        ));
    }
    Some(equal)
}

fn transpose(terms: &mut Terms<'_>, op: &Op<Id>) -> Option<Vec<Id>> {
    let OpKind::Transpose { permutation } = &op.kind else {
        return None;
    };
    let x = op.operands[0];
    if permutation.is_sorted() {
        return Some(vec![x]);
    }
    let mut equal = Vec::new();
    for (source, first) in transpose_sources(terms, x) {
        let both: Vec<usize> = permutation.iter().map(|&d| first[d]).collect();
        equal.extend(terms.transpose(source, &both));
    }
    let shape: Vec<usize> = permutation.iter().map(|&d| terms.shape(x)[d]).collect();
    for (source, dimensions) in broadcast_sources(terms, x) {
        let places = dimensions.iter();
        let places: Option<Vec<usize>> = places
            .map(|d| permutation.iter().position(|p| p == d))
            .collect();
        equal.extend(terms.broadcast(source, &places?, &shape));
    }
    let moved = permutation.iter().filter(|&&d| terms.shape(x)[d] != 1);
    if moved.is_sorted() {
        equal.extend(terms.reshape(x, &shape));
    }
    Some(equal)
}

fn broadcast(terms: &mut Terms<'_>, op: &Op<Id>) -> Option<Vec<Id>> {
    let OpKind::BroadcastInDim {
        broadcast_dimensions,
        shape,
    } = &op.kind
    else {
        return None;
    };
    let x = op.operands[0];
    if terms.shape(x) == shape && broadcast_dimensions.is_sorted() {
        return Some(vec![x]);
    }
    let mut equal = Vec::new();
    for (source, first) in broadcast_sources(terms, x) {
        let both: Vec<usize> = first.iter().map(|&d| broadcast_dimensions[d]).collect();
        equal.extend(terms.broadcast(source, &both, shape));
    }
    if terms.value_type(x).len() == shape.iter().product() && broadcast_dimensions.is_sorted() {
        equal.extend(terms.reshape(x, shape));
    }
    Some(equal)
}

/// The shape that all elementwise operands but scalars have; `None` where an operand is no tensor.
fn elementwise_shape(terms: &Terms<'_>, op: &Op<Id>) -> Option<Vec<usize>> {
    let mut shape = Vec::new();
    for &operand in &op.operands {
        let operand = terms.tensor(operand)?;
        if operand.rank() > 0 {
            shape.clone_from(&operand.shape);
        }
    }
    (!shape.is_empty() && !shape.contains(&0)).then_some(shape)
}

/// The op on what `lift` makes of its operands. Scalars among operands of a shape stay.
fn lifted(
    terms: &mut Terms<'_>,
    op: &Op<Id>,
    mut lift: impl FnMut(&mut Terms<'_>, Id) -> Option<Id>,
) -> Option<Id> {
    let mut operands = Vec::with_capacity(op.operands.len());
    for &operand in &op.operands {
        let is_scalar = terms.shape(operand).is_empty();
        operands.push(if is_scalar {
            operand
        } else {
            lift(terms, operand)?
        });
    }
    terms.add(op.kind.clone(), &operands)
}

fn elementwise_of_reshapes(terms: &mut Terms<'_>, op: &Op<Id>) -> Option<Vec<Id>> {
    let shape = elementwise_shape(terms, op)?;
    let mut shapes: Vec<Vec<usize>> = Vec::new();
    for &operand in &op.operands {
        for source in reshape_sources(terms, operand) {
            let source = terms.shape(source).to_vec();
            if source != shape && !shapes.contains(&source) {
                shapes.push(source);
            }
        }
    }
    let mut equal = Vec::new();
    for from in shapes {
        let value = lifted(terms, op, |terms, operand| {
            unreshaped(terms, operand, &shape, &from)
        });
        if let Some(value) = value {
            equal.extend(terms.reshape(value, &shape));
        }
    }
    Some(equal)
}

/// The value of shape `from` of which a value is the reshape.
fn unreshaped(terms: &mut Terms<'_>, id: Id, shape: &[usize], from: &[usize]) -> Option<Id> {
    if terms.splat(id).is_some() {
        return splat_of_shape(terms, id, from);
    }
    let sources = reshape_sources(terms, id);
    if let Some(&source) = sources.iter().find(|&&source| terms.shape(source) == from) {
        return Some(source);
    }
    let sources = broadcast_sources(terms, id);
    sources.into_iter().find_map(|(source, dimensions)| {
        reshaped_broadcast(terms, (source, &dimensions), shape, from)
    })
}

fn elementwise_of_transposes(terms: &mut Terms<'_>, op: &Op<Id>) -> Option<Vec<Id>> {
    let shape = elementwise_shape(terms, op)?;
    let mut permutations: Vec<Vec<usize>> = Vec::new();
    for &operand in &op.operands {
        for (_, permutation) in transpose_sources(terms, operand) {
            // A scalar among operands of a shape, a predicate or a bound, has none of their dimensions.
            if permutation.len() == shape.len() && !permutations.contains(&permutation) {
                permutations.push(permutation);
            }
        }
    }
    let mut equal = Vec::new();
    for permutation in permutations {
        let value = lifted(terms, op, |terms, operand| {
            untransposed(terms, operand, &shape, &permutation)
        });
        if let Some(value) = value {
            equal.extend(terms.transpose(value, &permutation));
        }
    }
    Some(equal)
}

/// The value of which a value is the transpose.
fn untransposed(
    terms: &mut Terms<'_>,
    id: Id,
    shape: &[usize],
    permutation: &[usize],
) -> Option<Id> {
    let mut from = vec![0; shape.len()];
    for (&old, &size) in permutation.iter().zip(shape) {
        from[old] = size;
    }
    if terms.splat(id).is_some() {
        return splat_of_shape(terms, id, &from);
    }
    let sources = transpose_sources(terms, id).into_iter();
    let mut sources = sources.filter(|(_, other)| other == permutation);
    if let Some((source, _)) = sources.next() {
        return Some(source);
    }
    let (source, dimensions) = broadcast_sources(terms, id).into_iter().next()?;
    let places: Vec<usize> = dimensions.iter().map(|&d| permutation[d]).collect();
    terms.broadcast(source, &places, &from)
}

fn elementwise_of_broadcasts(terms: &mut Terms<'_>, op: &Op<Id>) -> Option<Vec<Id>> {
    let shape = elementwise_shape(terms, op)?;
    let elements: usize = shape.iter().product();
    let mut forms: Vec<(Vec<usize>, Vec<usize>)> = Vec::new();
    for &operand in &op.operands {
        for (source, dimensions) in broadcast_sources(terms, operand) {
            let form = (terms.shape(source).to_vec(), dimensions);
            if terms.value_type(source).len() < elements && !forms.contains(&form) {
                forms.push(form);
            }
        }
    }
    let mut equal = Vec::new();
    for (source_shape, dimensions) in forms {
        let value = lifted(terms, op, |terms, operand| {
            if terms.splat(operand).is_some() {
                return splat_of_shape(terms, operand, &source_shape);
            }
            let mut sources = broadcast_sources(terms, operand).into_iter();
            let source = sources.find(|(source, others)| {
                *others == dimensions && terms.shape(*source) == source_shape
            });
            source.map(|(source, _)| source)
        });
        if let Some(value) = value {
            equal.extend(terms.broadcast(value, &dimensions, &shape));
        }
    }
    Some(equal)
}

/// The dimensions that a reduction reduces, and whether the order of what it combines matters.
fn reduced(kind: &OpKind) -> Option<(&[usize], bool)> {
    match kind {
        OpKind::ColumnMean { dimensions } => Some((dimensions, true)),
        OpKind::Reduce { dimensions, body } => {
            use tessera_ir::Binary;
            let unordered = matches!(
                body.as_binary(),
                Some(Binary::Maximum | Binary::Minimum | Binary::And | Binary::Or)
            );
            Some((dimensions, !unordered))
        }
        _ => None,
    }
}

/// The same reduction along other dimensions.
fn along(kind: &OpKind, dimensions: Vec<usize>) -> OpKind {
    match kind {
        OpKind::Reduce { body, .. } => OpKind::Reduce {
            dimensions,
            body: body.clone(),
        },
        _ => OpKind::ColumnMean { dimensions },
    }
}

/// A reduction of another value along other dimensions.
fn reduction_of(
    terms: &mut Terms<'_>,
    op: &Op<Id>,
    source: Id,
    dimensions: Vec<usize>,
) -> Option<Id> {
    if dimensions.is_empty() {
        return None;
    }
    let mut operands = op.operands.clone();
    operands[0] = source;
    terms.add(along(&op.kind, dimensions), &operands)
}

fn reduction_of_reshape(terms: &mut Terms<'_>, op: &Op<Id>) -> Option<Vec<Id>> {
    let (dimensions, _) = reduced(&op.kind)?;
    let x = op.operands[0];
    let shape = terms.shape(x).to_vec();
    let result: Vec<usize> = (0..shape.len())
        .filter(|d| !dimensions.contains(d))
        .map(|d| shape[d])
        .collect();
    let mut equal = Vec::new();
    for source in reshape_sources(terms, x) {
        let Some(groups) = reshape_groups(terms.shape(source), &shape) else {
            continue;
        };
        let mut of_source = Vec::new();
        let whole = groups.into_iter().all(|group| {
            let mut sides = group.to.filter(|&d| shape[d] != 1);
            let is_reduced = sides.clone().any(|d| dimensions.contains(&d));
            if is_reduced {
                of_source.extend(group.from);
            }
            sides.all(|d| dimensions.contains(&d) == is_reduced)
        });
        if whole && let Some(value) = reduction_of(terms, op, source, of_source) {
            equal.extend(terms.reshape(value, &result));
        }
    }
    Some(equal)
}

fn reduction_of_transpose(terms: &mut Terms<'_>, op: &Op<Id>) -> Option<Vec<Id>> {
    let (dimensions, ordered) = reduced(&op.kind)?;
    let x = op.operands[0];
    let mut equal = Vec::new();
    for (source, permutation) in transpose_sources(terms, x) {
        let is_reduced = |place: &usize| dimensions.contains(place);
        let places = 0..permutation.len();
        let mut of_source: Vec<usize> = places
            .clone()
            .filter(is_reduced)
            .map(|place| permutation[place])
            .collect();
        if ordered && !of_source.is_sorted() {
            continue;
        }
        of_source.sort_unstable();
        let kept: Vec<usize> = places
            .filter(|place| !is_reduced(place))
            .map(|place| permutation[place])
            .collect();
        let mut in_order = kept.clone();
        in_order.sort_unstable();
        let back: Option<Vec<usize>> = kept
            .iter()
            .map(|d| in_order.iter().position(|other| other == d))
            .collect();
        if let (Some(value), Some(back)) = (reduction_of(terms, op, source, of_source), back) {
            equal.extend(terms.transpose(value, &back));
        }
    }
    Some(equal)
}

fn hadamard_of_broadcast(terms: &mut Terms<'_>, op: &Op<Id>) -> Option<Vec<Id>> {
    let OpKind::Hadamard { axis, signs } = &op.kind else {
        return None;
    };
    let mut equal = Vec::new();
    for repetition in repetitions(terms, op.operands[0]) {
        let own = repetition.dimensions.iter().position(|d| d == axis);
        let kind = own.map(|axis| OpKind::Hadamard {
            axis,
            signs: signs.clone(),
        });
        if let Some(value) = kind.and_then(|kind| terms.add(kind, &[repetition.source])) {
            equal.extend(terms.broadcast(value, &repetition.dimensions, &repetition.shape));
        }
    }
    Some(equal)
}
