//! Rules for reductions.

use super::shape::squeezed;
use super::simplifier::{Applied, Candidate, Rule, Simplifier};
use tessera_ir::{OpError, OpKind, Region, ValueId};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "reduce of no elements",
        apply: reduce_of_none,
    },
    Rule {
        name: "reduce of one element",
        apply: reduce_of_one,
    },
];

/// A reduction along a dimension of 0 gives the inits.
fn reduce_of_none(s: &mut Simplifier<'_>, c: &Candidate<'_>) -> Applied {
    let OpKind::Reduce { dimensions, .. } = c.kind else {
        return Ok(None);
    };
    let (inputs, inits) = c.operands.split_at(c.operands.len() / 2);
    let shape = s.shape(inputs[0]);
    if dimensions.iter().all(|&d| shape[d] != 0) {
        return Ok(None);
    }
    let mut values = Vec::with_capacity(inits.len());
    for &init in inits {
        values.push(s.broadcast(init, &[], &c.results[0].shape, c.location)?);
    }
    Ok(Some(values))
}

/// A reduction along dimensions of 1 is its body applied once, to the inits and the elements: elementwise ops.
fn reduce_of_one(s: &mut Simplifier<'_>, c: &Candidate<'_>) -> Applied {
    let OpKind::Reduce { dimensions, body } = c.kind else {
        return Ok(None);
    };
    let (inputs, inits) = c.operands.split_at(c.operands.len() / 2);
    let shape = s.shape(inputs[0]);
    if dimensions.iter().any(|&d| shape[d] != 1) || !can_be_lifted(body) {
        return Ok(None);
    }
    let shape = &c.results[0].shape;
    debug_assert_eq!(squeezed(shape), squeezed(s.shape(inputs[0])));
    let mut arguments = Vec::with_capacity(c.operands.len());
    for &init in inits {
        arguments.push(s.broadcast(init, &[], shape, c.location)?);
    }
    for &input in inputs {
        arguments.push(s.reshape(input, shape, c.location)?);
    }
    lift(s, body, &arguments, shape, c).map(Some)
}

/// Whether each op of a graph of scalars has an elementwise op to itself on tensors.
fn can_be_lifted(body: &Region) -> bool {
    let ops = body.operations().iter().map(|operation| &operation.op.kind);
    let mut lifted = ops.filter(|kind| !kind.is_elementwise());
    lifted.all(|kind| matches!(kind, OpKind::Constant { .. }))
}

/// A graph of scalars, applied to each element of tensors of a shape.
fn lift(
    s: &mut Simplifier<'_>,
    body: &Region,
    arguments: &[ValueId],
    shape: &[usize],
    c: &Candidate<'_>,
) -> Result<Vec<ValueId>, OpError> {
    let mut values = arguments.to_vec();
    for operation in body.operations() {
        let operands: Vec<_> = operation
            .op
            .operands
            .iter()
            .map(|o| values[o.index()])
            .collect();
        let mut results = s.emit(operation.op.kind.clone(), operands, c.location)?;
        if let OpKind::Constant { .. } = operation.op.kind {
            results[0] = s.broadcast(results[0], &[], shape, c.location)?;
        }
        values.extend(results);
    }
    let results = body.results().iter();
    Ok(results.map(|result| values[result.value.index()]).collect())
}
