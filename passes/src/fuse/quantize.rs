//! What a quantize kernel may hold: quantisations of one tensor, which is read once.
//!
//! The tensor may be less a mean: `subtract(x, broadcast_in_dim(mean))`, the mean of f32 with one number for each index of
//! the last dimension. What else a quantisation takes, the largest magnitude and the step, is computed elsewhere.

use super::contract::Refusal;
use std::collections::BTreeSet;
use tessera_ir::{Binary, Definition, ElementType, Graph, OpKind, ValueId};

/// Checks the quantize ops of numbers `roots` and what is around them. Gives how many more ops have to become members:
/// the broadcast of the mean.
pub(super) fn check(
    graph: &Graph,
    members: &BTreeSet<usize>,
    roots: &[usize],
    exports: &BTreeSet<ValueId>,
) -> Result<usize, Refusal> {
    let mut allowed: BTreeSet<usize> = roots.iter().copied().collect();
    let results: BTreeSet<ValueId> = (roots.iter())
        .map(|&root| graph.operations()[root].result())
        .collect();
    if !exports.is_subset(&results) {
        return Err("a result beside those of quantize");
    }
    let mut tensors = roots.iter().map(|&root| {
        let operation = &graph.operations()[root];
        operation.op.operands[0]
    });
    let tensor = tensors.next().ok_or("a quantize kernel without quantize")?;
    if tensors.any(|other| other != tensor) {
        return Err("quantisations of several tensors");
    }
    let mut missing = 0;
    if let Some(subtract) = member(graph, members, tensor) {
        let mean = subtracted_mean(graph, tensor).ok_or("an op before quantize")?;
        allowed.insert(subtract);
        match member(graph, members, mean) {
            Some(broadcast) => drop(allowed.insert(broadcast)),
            None => missing = 1,
        }
    }
    if members.is_subset(&allowed) {
        Ok(missing)
    } else {
        Err("an op beside quantize")
    }
}

/// The repeated mean that a value is less of; `None` where it is something else.
fn subtracted_mean(graph: &Graph, value: ValueId) -> Option<ValueId> {
    let subtract = graph.defining_operation(value)?;
    if subtract.op.kind != OpKind::Binary(Binary::Subtract) {
        return None;
    }
    let repeated = subtract.op.operands[1];
    let broadcast = graph.defining_operation(repeated)?;
    let OpKind::BroadcastInDim {
        broadcast_dimensions,
        shape,
    } = &broadcast.op.kind
    else {
        return None;
    };
    let mean = graph.tensor_type(broadcast.op.operands[0]);
    let is_along_last = mean.element == ElementType::F32
        && broadcast_dimensions.len() == 1
        && broadcast_dimensions[0] + 1 == shape.len()
        && mean.shape[0] == shape[broadcast_dimensions[0]];
    is_along_last.then_some(repeated)
}

/// The number of the member that defines a value.
fn member(graph: &Graph, members: &BTreeSet<usize>, value: ValueId) -> Option<usize> {
    match graph.definition(value) {
        Definition::Result { op, .. } => Some(op.index()).filter(|number| members.contains(number)),
        Definition::Input(_) => None,
    }
}
