//! Reductions and dots become ones that kernels can walk: what they sum over lies side by side, by a transpose before them
//! if need be. The maximum of all of a large tensor is made row by row first, so that threads can share it and it can be
//! computed where its operand is: rows are those of the shape in which that is computed, whatever shape it has since.

use super::Epilogues;
use super::dot::are_neighbours;
use super::epilogue::is_magnitude_of_product;
use crate::rebuild::{map_regions, push_like};
use std::collections::BTreeSet;
use std::ops::Range;
use tessera_ir::{Binary, Graph, Op, OpError, OpKind, Operation, Region, ValueId};

/// The graph in which every reduction and every dot_general is one that a kernel can be. The largest magnitude of what is
/// made of a product stays the reduction of all where that product's kernel may find it.
pub(super) fn with_plain_reductions(graph: &Graph, epilogues: Epilogues) -> Result<Graph, OpError> {
    graph.rebuild(|new, operation, operands| {
        let mut operands = operands;
        let kind = map_regions(&operation.op.kind, |region| {
            with_plain_reductions(region, epilogues)
        })?;
        let is_in_epilogue =
            epilogues == Epilogues::All && is_magnitude_of_product(graph, operation);
        match kind {
            OpKind::Reduce { .. } => {
                if is_in_epilogue && let Some(init) = operands.last_mut() {
                    // Each is written over its own.
                    *init = again(new, *init)?;
                }
                plain_reduce(new, (operation, kind), operands, is_in_epilogue)
            }
            OpKind::DotGeneral { .. } => plain_dot(new, operation, kind, operands),
            _ => push_like(new, operation, kind, operands),
        }
    })
}

/// A constant once more; any other value as it is.
fn again(graph: &mut Graph, value: ValueId) -> Result<ValueId, OpError> {
    let definition = graph.defining_operation(value);
    let constant = definition.filter(|one| matches!(one.op.kind, OpKind::Constant { .. }));
    match constant.map(|one| (one.op.kind.clone(), one.location.clone())) {
        Some((kind, location)) => graph.push_value(kind, [], location),
        None => Ok(value),
    }
}

/// A reduction of its last dimensions or its first ones, never neither nor both but all.
///
/// Where the fastest dimension is reduced, the reduced ones come last; else they come first and the fastest stays. Both
/// the reduced dimensions and the others keep their order, so elements are combined in the same order as before.
fn plain_reduce(
    new: &mut Graph,
    (operation, kind): (&Operation, OpKind),
    mut operands: Vec<ValueId>,
    is_in_epilogue: bool,
) -> Result<Vec<ValueId>, OpError> {
    let OpKind::Reduce { dimensions, body } = &kind else {
        return push_like(new, operation, kind, operands);
    };
    let rank = new.tensor_type(operands[0]).rank();
    let is_reduced = |d: &usize| dimensions.contains(d);
    let (reduced, others): (Vec<usize>, Vec<usize>) = (0..rank).partition(is_reduced);
    let (permutation, first) = if rank > 0 && is_reduced(&(rank - 1)) {
        let permutation = [others.as_slice(), reduced.as_slice()].concat();
        (permutation, others.len())
    } else {
        ([reduced.as_slice(), others.as_slice()].concat(), 0)
    };
    if is_extremum_of_all(new, &operands, dimensions, body) {
        let as_computed = with_source_shape(new, operation, operands[0])?;
        let rows = as_computed.and_then(|input| Some((input, rows_of(new, input)?)));
        let otherwise = rows_of(new, operands[0]).filter(|_| !is_in_epilogue);
        let rows = rows.or_else(|| Some((operands[0], otherwise?)));
        if let Some((input, rows)) = rows {
            operands[0] = input;
            return extremum_by_rows(new, operation, rows, body, operands);
        }
    }
    let inputs = operands.len() / 2;
    for input in &mut operands[..inputs] {
        *input = transposed(new, operation, *input, &permutation)?;
    }
    let kind = OpKind::Reduce {
        dimensions: (first..first + reduced.len()).collect(),
        body: body.clone(),
    };
    push_like(new, operation, kind, operands)
}

/// The numbers of the ops that [`with_plain_reductions`] has left whole, though they reduce large tensors.
pub(super) fn left_whole(graph: &Graph) -> BTreeSet<usize> {
    let operations = graph.operations().iter().enumerate();
    let whole = operations.filter(|(_, operation)| {
        is_magnitude_of_product(graph, operation)
            && rows_of(graph, operation.op.operands[0]).is_some()
    });
    whole.map(|(number, _)| number).collect()
}

/// The graph in which those of [`left_whole`] that stand by themselves are found row by row.
pub(super) fn by_rows(graph: &Graph, alone: &BTreeSet<usize>) -> Result<Graph, OpError> {
    let alone: BTreeSet<ValueId> = (alone.iter())
        .map(|&number| graph.operations()[number].result())
        .collect();
    graph.rebuild(|new, operation, operands| {
        let kind = operation.op.kind.clone();
        let is_alone = operation.results().any(|result| alone.contains(&result));
        let rows = match is_alone {
            true => rows_of(graph, operation.op.operands[0]),
            false => None,
        };
        match (&kind, rows) {
            (OpKind::Reduce { body, .. }, Some(rows)) => {
                extremum_by_rows(new, operation, rows, body, operands)
            }
            _ => push_like(new, operation, kind, operands),
        }
    })
}

/// Whether a reduction is the maximum or minimum of all of one tensor, which any order of combining gives.
fn is_extremum_of_all(
    graph: &Graph,
    operands: &[ValueId],
    dimensions: &[usize],
    body: &Graph,
) -> bool {
    let &[input, _] = operands else {
        return false;
    };
    let is_extremum = matches!(
        body.operations(),
        [Operation { op: Op { kind: OpKind::Binary(Binary::Maximum | Binary::Minimum), operands }, .. }]
            if body.input_values().eq(operands.iter().copied())
    );
    is_extremum && dimensions.len() == graph.tensor_type(input).rank()
}

/// How many leading dimensions count the rows of a large tensor; `None` where it has no two dimensions to share among
/// threads.
fn rows_of(graph: &Graph, tensor: ValueId) -> Option<usize> {
    const LARGE: usize = 8192;
    const LEAST_ROWS: usize = 16;
    const LEAST_ROW: usize = 64;
    let shape = &graph.tensor_type(tensor).shape;
    let size = |dimensions: &[usize]| dimensions.iter().product::<usize>();
    let rows = (1..shape.len())
        .rev()
        .find(|&rows| size(&shape[rows..]) >= LEAST_ROW)?;
    (size(&shape[..rows]) >= LEAST_ROWS && size(shape) >= LARGE).then_some(rows)
}

/// The elements of a value in the shape that they are computed in: elementwise ops of one operand, of what a reshape only
/// regards as other rows of the same length. `None` where there is no such reshape, or where what it is of is not made of
/// what has been reduced of the same rows. A kernel that reduces them anyway has the rows near; one that would only do so
/// for this takes longer by as much as a pass of its own.
fn with_source_shape(
    graph: &mut Graph,
    operation: &Operation,
    value: ValueId,
) -> Result<Option<ValueId>, OpError> {
    let mut between = Vec::new();
    let mut reshaped = value;
    let mut source = loop {
        let Some(definition) = graph.defining_operation(reshaped) else {
            return Ok(None);
        };
        match (&definition.op.kind, &definition.op.operands[..]) {
            (OpKind::Reshape { .. }, &[source]) => break source,
            (kind @ OpKind::Unary(_), &[operand]) => {
                between.push(kind.clone());
                reshaped = operand;
            }
            _ => return Ok(None),
        }
    };
    let [row, source_row] =
        [reshaped, source].map(|value| graph.tensor_type(value).shape.last().copied());
    if row != source_row || !is_made_of_reduced_rows(graph, source) {
        return Ok(None);
    }
    for kind in between.into_iter().rev() {
        source = push_like(graph, operation, kind, vec![source])?[0];
    }
    Ok(Some(source))
}

/// Whether elementwise ops make a tensor of reductions of its rows, each repeated along them.
fn is_made_of_reduced_rows(graph: &Graph, tensor: ValueId) -> bool {
    let shape = &graph.tensor_type(tensor).shape;
    let Some((_, rows)) = shape.split_last() else {
        return false;
    };
    let mut seen = BTreeSet::new();
    let mut open = vec![tensor];
    while let Some(value) = open.pop() {
        if !seen.insert(value) {
            continue;
        }
        let Some(definition) = graph.defining_operation(value) else {
            continue;
        };
        let found = graph.value_type(value).shape();
        match &definition.op.kind {
            OpKind::Reduce { .. } if found == rows => return true,
            OpKind::BroadcastInDim { .. } => open.extend(&definition.op.operands),
            kind if kind.is_elementwise() && (found == shape || found == rows) => {
                open.extend(&definition.op.operands);
            }
            _ => {}
        }
    }
    false
}

/// The extremum of each row, then of these.
fn extremum_by_rows(
    new: &mut Graph,
    operation: &Operation,
    rows: usize,
    body: &Region,
    mut operands: Vec<ValueId>,
) -> Result<Vec<ValueId>, OpError> {
    let rank = new.tensor_type(operands[0]).rank();
    let reduce = |dimensions: Range<usize>| OpKind::Reduce {
        dimensions: dimensions.collect(),
        body: body.clone(),
    };
    operands[0] = push_like(new, operation, reduce(rows..rank), operands.clone())?[0];
    push_like(new, operation, reduce(0..rows), operands)
}

/// A dot_general whose contracting dimensions are neighbours, in each operand and in the order in which they are summed.
fn plain_dot(
    new: &mut Graph,
    operation: &Operation,
    mut kind: OpKind,
    mut operands: Vec<ValueId>,
) -> Result<Vec<ValueId>, OpError> {
    let OpKind::DotGeneral {
        lhs_batching_dimensions,
        rhs_batching_dimensions,
        lhs_contracting_dimensions,
        rhs_contracting_dimensions,
        ..
    } = &mut kind
    else {
        return push_like(new, operation, kind, operands);
    };
    let sides = [
        (lhs_batching_dimensions, lhs_contracting_dimensions),
        (rhs_batching_dimensions, rhs_contracting_dimensions),
    ];
    for (operand, (batching, contracting)) in operands.iter_mut().zip(sides) {
        let shape = new.tensor_type(*operand).shape.clone();
        if are_neighbours(&shape, contracting) {
            continue;
        }
        let others = (0..shape.len()).filter(|d| !contracting.contains(d));
        let permutation: Vec<usize> = others.chain(contracting.iter().copied()).collect();
        *operand = transposed(new, operation, *operand, &permutation)?;
        for dimension in batching.iter_mut().chain(contracting.iter_mut()) {
            let place = permutation.iter().position(|d| d == dimension);
            *dimension = place.unwrap_or(*dimension);
        }
    }
    push_like(new, operation, kind, operands)
}

/// The value transposed, where that changes anything.
fn transposed(
    graph: &mut Graph,
    operation: &Operation,
    value: ValueId,
    permutation: &[usize],
) -> Result<ValueId, OpError> {
    if permutation.is_sorted() {
        return Ok(value);
    }
    let kind = OpKind::Transpose {
        permutation: permutation.to_vec(),
    };
    Ok(push_like(graph, operation, kind, vec![value])?[0])
}
