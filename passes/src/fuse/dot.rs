//! What a dot kernel may hold beside its dot_general: transposes and reshapes that are strides of its buffers, and an
//! epilogue where the result is not moved.
//!
//! Each dimension of each operand of the dot_general, and each of its result, then has one stride in the buffer the
//! kernel reads or writes. The contracting dimensions of an operand, where they are several, can be walked as one.

use super::contract::Refusal;
use super::epilogue;
use crate::canonicalise::reshape_groups;
use std::collections::BTreeSet;
use tessera_ir::{Definition, Graph, OpKind, ValueId};

/// A dimension of a value: its size and how many elements of the buffer lie between two neighbours along it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Strided {
    size: usize,
    stride: usize,
}

/// Checks the ops around the dot_general of number `root`.
pub(super) fn check(
    graph: &Graph,
    members: &BTreeSet<usize>,
    root: usize,
    exports: &BTreeSet<ValueId>,
) -> Result<(), Refusal> {
    let operation = &graph.operations()[root];
    let OpKind::DotGeneral {
        lhs_contracting_dimensions,
        rhs_contracting_dimensions,
        ..
    } = &operation.op.kind
    else {
        return Err("a dot kernel without dot_general");
    };
    let contracting = [lhs_contracting_dimensions, rhs_contracting_dimensions];
    let mut seen = BTreeSet::from([root]);
    for (&operand, contracting) in operation.op.operands.iter().zip(contracting) {
        let chain = producers(graph, members, operand);
        seen.extend(chain.iter().copied());
        let source = chain
            .last()
            .map_or(operand, |&first| graph.operations()[first].op.operands[0]);
        let mut dimensions = dense(&graph.tensor_type(source).shape);
        for &member in chain.iter().rev() {
            let kind = &graph.operations()[member].op.kind;
            dimensions = moved(kind, &dimensions).ok_or("an operand without strides")?;
        }
        let summed: Vec<Strided> = contracting.iter().map(|&d| dimensions[d]).collect();
        if !walk_as_one(&summed) {
            return Err("contracting dimensions that cannot be walked as one");
        }
    }
    let chain = consumers(graph, members, operation.result());
    if seen.len() + chain.len() != members.len() {
        return epilogue::check(graph, members, &seen, root, exports);
    }
    let last = chain.last().map_or(operation.result(), |&last| {
        graph.operations()[last].result()
    });
    if !exports.iter().eq([&last]) {
        return Err("a dot_general that is needed in two layouts");
    }
    // The strides of the result's dimensions, seen from the buffer: each op undone.
    let mut dimensions = dense(&graph.tensor_type(last).shape);
    for &member in chain.iter().rev() {
        let operation = &graph.operations()[member];
        let before = &graph.tensor_type(operation.op.operands[0]).shape;
        let undo = match &operation.op.kind {
            OpKind::Transpose { permutation } => {
                let mut inverse = vec![0; permutation.len()];
                for (new, &old) in permutation.iter().enumerate() {
                    inverse[old] = new;
                }
                OpKind::Transpose {
                    permutation: inverse,
                }
            }
            _ => OpKind::Reshape {
                shape: before.clone(),
            },
        };
        dimensions = moved(&undo, &dimensions).ok_or("a result without strides")?;
    }
    Ok(())
}

/// Whether dimensions of a dense tensor lie side by side in that order, those of 1 aside.
pub(super) fn are_neighbours(shape: &[usize], dimensions: &[usize]) -> bool {
    let strided = dense(shape);
    let walked: Vec<Strided> = dimensions.iter().map(|&d| strided[d]).collect();
    walk_as_one(&walked)
}

/// The transposes and reshapes among the members that make a value, last first.
pub(super) fn producers(graph: &Graph, members: &BTreeSet<usize>, value: ValueId) -> Vec<usize> {
    let mut chain = Vec::new();
    let mut value = value;
    while let Definition::Result { op, .. } = graph.definition(value)
        && members.contains(&op.index())
        && is_movement(&graph.operation(op).op.kind)
    {
        chain.push(op.index());
        value = graph.operation(op).op.operands[0];
    }
    chain
}

/// The transposes and reshapes among the members that a value becomes one after another.
pub(super) fn consumers(graph: &Graph, members: &BTreeSet<usize>, value: ValueId) -> Vec<usize> {
    let mut chain = Vec::new();
    let mut value = value;
    for &member in members {
        let operation = &graph.operations()[member];
        if is_movement(&operation.op.kind) && operation.op.operands[0] == value {
            chain.push(member);
            value = operation.result();
        }
    }
    chain
}

fn is_movement(kind: &OpKind) -> bool {
    matches!(kind, OpKind::Transpose { .. } | OpKind::Reshape { .. })
}

/// A dense, row-major buffer.
fn dense(shape: &[usize]) -> Vec<Strided> {
    let mut stride = 1;
    let mut dimensions: Vec<Strided> = Vec::with_capacity(shape.len());
    for &size in shape.iter().rev() {
        dimensions.push(Strided { size, stride });
        stride *= size;
    }
    dimensions.reverse();
    dimensions
}

/// Whether dimensions can be walked as one, those of 1 aside.
fn walk_as_one(dimensions: &[Strided]) -> bool {
    let walked: Vec<&Strided> = dimensions.iter().filter(|d| d.size != 1).collect();
    let mut pairs = walked.array_windows();
    pairs.all(|[slow, fast]| slow.stride == fast.stride * fast.size)
}

/// The dimensions after a transpose or reshape; `None` where one of them has no stride.
fn moved(kind: &OpKind, dimensions: &[Strided]) -> Option<Vec<Strided>> {
    match kind {
        OpKind::Transpose { permutation } => {
            Some(permutation.iter().map(|&d| dimensions[d]).collect())
        }
        OpKind::Reshape { shape } => {
            let from: Vec<usize> = dimensions.iter().map(|d| d.size).collect();
            // The stride of a dimension of 1 is never taken.
            let mut new: Vec<Strided> = shape
                .iter()
                .map(|&size| Strided { size, stride: 1 })
                .collect();
            for group in reshape_groups(&from, shape)? {
                let merged = &dimensions[group.from];
                if !walk_as_one(merged) {
                    return None;
                }
                let mut stride = merged.iter().rfind(|d| d.size != 1)?.stride;
                for dimension in group.to.rev() {
                    new[dimension].stride = stride;
                    stride *= new[dimension].size;
                }
            }
            Some(new)
        }
        _ => None,
    }
}
