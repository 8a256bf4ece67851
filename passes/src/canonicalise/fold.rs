//! Constant folding: an op on known tensors is evaluated by the interpreter, so that folding cannot differ from it.

use super::simplifier::{Applied, Candidate, Rule, Simplifier};
use tessera_interpreter::Value;
use tessera_ir::{Graph, Module, OpKind, Tensor, TensorType, ValueId};

pub(super) const RULES: &[Rule] = &[Rule {
    name: "constants folded",
    apply: fold,
}];

/// An op whose operands are constants is its results, where all these are small.
fn fold(s: &mut Simplifier<'_>, c: &Candidate<'_>) -> Applied {
    let Some(limits) = s.limits else {
        return Ok(None);
    };
    let is_scalar_reshaped = matches!(c.kind, OpKind::Reshape { .. }) && c.results[0].len() == 1;
    if !can_be_folded(c.kind) || c.operands.is_empty() || is_scalar_reshaped {
        return Ok(None);
    }
    let operand_types = c.operands.iter().map(|&o| s.tensor_type(o));
    let elements: usize = operand_types.chain(c.results).map(TensorType::len).sum();
    if elements > limits.fold_elements {
        return Ok(None);
    }
    let Some(operands) = c
        .operands
        .iter()
        .map(|&o| known(s, o).map(Value::Tensor))
        .collect()
    else {
        return Ok(None);
    };
    let operands: Vec<Value> = operands;
    // What the interpreter refuses is left to whoever runs the program.
    let Ok(results) = tessera_interpreter::evaluate_op(&Module::default(), c.kind, &operands)
    else {
        return Ok(None);
    };
    let mut values = Vec::with_capacity(results.len());
    for result in results {
        let Ok(result) = result.into_tensor() else {
            return Ok(None);
        };
        values.push(s.constant(result, c.location)?);
    }
    Ok(Some(values))
}

/// A constant, or a scalar constant broadcast, as the tensor it is.
fn known(s: &Simplifier<'_>, value: ValueId) -> Option<Tensor> {
    let op = s.definition(value)?;
    match &op.kind {
        OpKind::Constant { value } => Some(value.clone()),
        OpKind::BroadcastInDim { .. } | OpKind::Reshape { .. } => {
            let scalar = super::facts::splat(&s.graph, value)?;
            let tensor_type = s.tensor_type(value);
            let bytes = scalar.bytes().repeat(tensor_type.len());
            Tensor::new(tensor_type.element, tensor_type.shape.clone(), bytes).ok()
        }
        _ => None,
    }
}

/// Whether evaluating the op makes the program smaller. A broadcast is smaller than its result, a scalar under another
/// shape no smaller, control flow has rules of its own, and a barrier stays.
fn can_be_folded(kind: &OpKind) -> bool {
    match kind {
        OpKind::Unary(_)
        | OpKind::Binary(_)
        | OpKind::Compare { .. }
        | OpKind::Select {}
        | OpKind::Clamp {}
        | OpKind::Convert { .. }
        | OpKind::BitcastConvert { .. }
        | OpKind::Reshape { .. }
        | OpKind::Transpose { .. }
        | OpKind::Slice { .. }
        | OpKind::DynamicSlice { .. }
        | OpKind::DynamicUpdateSlice {}
        | OpKind::Pad { .. }
        | OpKind::Concatenate { .. }
        | OpKind::Reverse { .. }
        | OpKind::Reduce { .. }
        | OpKind::ReduceWindow { .. }
        | OpKind::DotGeneral { .. }
        | OpKind::Gather { .. }
        | OpKind::Scatter { .. }
        | OpKind::Sort { .. }
        | OpKind::TopK { .. } => true,
        OpKind::Constant { .. }
        | OpKind::Iota { .. }
        | OpKind::BroadcastInDim { .. }
        | OpKind::While { .. }
        | OpKind::Case { .. }
        | OpKind::Call { .. }
        | OpKind::Quantize { .. }
        | OpKind::Dequantize { .. }
        | OpKind::Relayout { .. }
        | OpKind::ScaledDot { .. }
        | OpKind::GroupedDot { .. }
        | OpKind::GroupedScaledDot { .. }
        | OpKind::ColumnMean { .. }
        | OpKind::Hadamard { .. }
        | OpKind::Orthonormalize {}
        | OpKind::SubspaceIterate { .. }
        | OpKind::OptimizationBarrier {} => false,
    }
}

/// A small graph's results on known inputs.
pub(super) fn evaluate_graph(
    graph: &Graph,
    arguments: &[Tensor],
    limit: usize,
) -> Option<Vec<Tensor>> {
    let values = graph.values();
    let elements: usize = values.map(|value| graph.value_type(value).len()).sum();
    let mut ops = graph
        .operations()
        .iter()
        .map(|operation| &operation.op.kind);
    let has_loops = ops.any(|kind| matches!(kind, OpKind::While { .. } | OpKind::Call { .. }));
    if elements > limit || has_loops {
        return None;
    }
    tessera_interpreter::evaluate(&Module::default(), graph, arguments).ok()
}
