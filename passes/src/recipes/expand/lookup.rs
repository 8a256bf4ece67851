//! Embeddings that a step writes as products: a one-hot of tokens times the table.

use crate::linears::{LinearId, Linears, Side};
use tessera_ir::{ComparisonDirection, Graph, Module, OpKind, ValueId};

/// Of each linear whether its activation is a one-hot: a comparison of numbers with 0, 1, 2, …, as 0 and 1.
pub(super) fn lookups(module: &Module, linears: &Linears) -> Vec<bool> {
    let ids = (0..linears.linears.len()).map(LinearId);
    let is_lookup = |id| {
        linears.products_of(id).any(|product| {
            let graph = product.place.graph_of(module);
            let operands = graph.zip(product.place.find(module));
            let sides = [product.lhs, product.rhs].into_iter().enumerate();
            operands.is_some_and(|(graph, operation)| {
                sides
                    .filter(|&(_, side)| side == Side::Activation)
                    .any(|(number, _)| is_one_hot(graph, operation.op.operands[number]))
            })
        })
    };
    ids.map(is_lookup).collect()
}

fn is_one_hot(graph: &Graph, value: ValueId) -> bool {
    let value = shown(graph, value);
    let Some(operation) = graph.defining_operation(value) else {
        return false;
    };
    let operands = &operation.op.operands;
    match &operation.op.kind {
        OpKind::Compare { direction, .. } => {
            let counts = |&operand: &ValueId| {
                let source = graph.defining_operation(shown(graph, operand));
                source.is_some_and(|source| matches!(source.op.kind, OpKind::Iota { .. }))
            };
            *direction == ComparisonDirection::Eq && operands.iter().any(counts)
        }
        // 1 where equal, else 0.
        OpKind::Select {} => is_one_hot(graph, operands[0]),
        _ => false,
    }
}

/// What a value shows in another layout or element type.
fn shown(graph: &Graph, mut value: ValueId) -> ValueId {
    while let Some(operation) = graph.defining_operation(value)
        && let OpKind::Convert { .. }
        | OpKind::Reshape { .. }
        | OpKind::Transpose { .. }
        | OpKind::BroadcastInDim { .. } = operation.op.kind
    {
        value = operation.op.operands[0];
    }
    value
}
