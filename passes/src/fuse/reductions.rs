//! Reductions and dots become ones that kernels can walk: what they sum over lies side by side, by a transpose before them
//! if need be. The maximum of all of a large tensor is made row by row first, so that threads can share it and it can be
//! computed where its operand is.

use super::dot::are_neighbours;
use crate::rebuild::{map_regions, push_like};
use std::ops::Range;
use tessera_ir::{Binary, Graph, Op, OpError, OpKind, Operation, Region, ValueId};

/// The graph in which every reduction and every dot_general is one that a kernel can be.
pub(super) fn with_plain_reductions(graph: &Graph) -> Result<Graph, OpError> {
    graph.rebuild(|new, operation, operands| {
        let kind = map_regions(&operation.op.kind, with_plain_reductions)?;
        match kind {
            OpKind::Reduce { .. } => plain_reduce(new, operation, kind, operands),
            OpKind::DotGeneral { .. } => plain_dot(new, operation, kind, operands),
            _ => push_like(new, operation, kind, operands),
        }
    })
}

/// A reduction of its last dimensions or its first ones, never neither nor both but all.
///
/// Where the fastest dimension is reduced, the reduced ones come last; else they come first and the fastest stays. Both
/// the reduced dimensions and the others keep their order, so elements are combined in the same order as before.
fn plain_reduce(
    new: &mut Graph,
    operation: &Operation,
    kind: OpKind,
    mut operands: Vec<ValueId>,
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
    if let Some(rows) = rows_of_extremum(new, &operands, dimensions, body) {
        return extremum_by_rows(new, operation, rows, body, operands);
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

/// How many leading dimensions count the rows of a maximum or minimum of all of a large tensor, which any order of
/// combining gives; `None` where the reduction is another or the tensor has no two dimensions to share among threads.
fn rows_of_extremum(
    graph: &Graph,
    operands: &[ValueId],
    dimensions: &[usize],
    body: &Graph,
) -> Option<usize> {
    const LARGE: usize = 8192;
    const LEAST_ROWS: usize = 16;
    const LEAST_ROW: usize = 64;
    let &[input, _] = operands else {
        return None;
    };
    let shape = &graph.tensor_type(input).shape;
    let is_extremum = matches!(
        body.operations(),
        [Operation { op: Op { kind: OpKind::Binary(Binary::Maximum | Binary::Minimum), operands }, .. }]
            if body.input_values().eq(operands.iter().copied())
    );
    if !is_extremum || dimensions.len() < shape.len() {
        return None;
    }
    let size = |dimensions: &[usize]| dimensions.iter().product::<usize>();
    let rows = (1..shape.len())
        .rev()
        .find(|&rows| size(&shape[rows..]) >= LEAST_ROW)?;
    (size(&shape[..rows]) >= LEAST_ROWS && size(shape) >= LARGE).then_some(rows)
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
