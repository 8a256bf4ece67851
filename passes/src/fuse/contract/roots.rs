//! The ops that give their kernel a family.

use super::Refusal;
use tessera_ir::plan::Family;
use tessera_ir::{Graph, OpKind, ValueId};

/// The only op that multiplies matrices among those that give their kernel a family, where the others reduce.
pub(super) fn only_product(graph: &Graph, roots: &[(usize, Family)]) -> Option<usize> {
    let kind = |root: usize| &graph.operations()[root].op.kind;
    let (products, others): (Vec<usize>, Vec<usize>) =
        (roots.iter().map(|&(root, _)| root)).partition(|&root| kind(root).is_product());
    let are_reductions = (others.iter()).all(|&root| matches!(kind(root), OpKind::Reduce { .. }));
    match products[..] {
        [product] if are_reductions => Some(product),
        _ => None,
    }
}

pub(super) fn is_quantize(graph: &Graph, number: usize) -> bool {
    matches!(graph.operations()[number].op.kind, OpKind::Quantize { .. })
}

pub(super) fn is_hadamard(graph: &Graph, number: usize) -> bool {
    matches!(graph.operations()[number].op.kind, OpKind::Hadamard { .. })
}

pub(super) fn is_dequantized(graph: &Graph, value: ValueId) -> bool {
    let operation = graph.defining_operation(value);
    operation.is_some_and(|operation| matches!(operation.op.kind, OpKind::Dequantize { .. }))
}

/// Whether ops that give their kernel a family are quantisations, and transforms before them.
pub(super) fn are_of_quantize_kernel(graph: &Graph, roots: &[(usize, Family)]) -> bool {
    let mut numbers = roots.iter().map(|&(root, _)| root);
    let is_either = |root| is_quantize(graph, root) || is_hadamard(graph, root);
    numbers.clone().any(|root| is_quantize(graph, root)) && numbers.all(is_either)
}

/// The family an op gives its kernel; `None` for those that are in a kernel of any.
pub(super) fn root_family(kind: &OpKind) -> Result<Option<Family>, Refusal> {
    match kind {
        OpKind::Unary(_)
        | OpKind::Binary(_)
        | OpKind::Compare { .. }
        | OpKind::Select {}
        | OpKind::Clamp {}
        | OpKind::Convert { .. }
        | OpKind::BitcastConvert { .. }
        | OpKind::Iota { .. }
        | OpKind::BroadcastInDim { .. }
        | OpKind::Reshape { .. }
        | OpKind::Transpose { .. }
        | OpKind::Slice { .. }
        | OpKind::DynamicSlice { .. }
        | OpKind::Pad { .. }
        | OpKind::Concatenate { .. }
        | OpKind::Reverse { .. }
        | OpKind::Gather { .. } => Ok(None),
        OpKind::Constant { value } if value.shape().is_empty() => Ok(None),
        OpKind::Constant { .. } => Err("a constant that is a tensor"),
        // Column, where it reduces the slow dimensions.
        OpKind::Reduce { .. } => Ok(Some(Family::Row)),
        OpKind::DotGeneral { .. } => Ok(Some(Family::Dot)),
        OpKind::DynamicUpdateSlice {} | OpKind::Scatter { .. } | OpKind::ReduceWindow { .. } => {
            Ok(Some(Family::Index))
        }
        OpKind::Sort { .. } | OpKind::TopK { .. } => Ok(Some(Family::Sort)),
        OpKind::ScaledDot { .. } | OpKind::GroupedDot { .. } | OpKind::GroupedScaledDot { .. } => {
            Ok(Some(Family::Dot))
        }
        OpKind::Quantize { .. }
        | OpKind::Dequantize { .. }
        | OpKind::Relayout { .. }
        | OpKind::Hadamard { .. } => Ok(Some(Family::Quantize)),
        OpKind::Orthonormalize {} => Ok(Some(Family::Solve)),
        OpKind::ColumnMean { .. } | OpKind::SubspaceIterate { .. } => {
            Err("an op that the pass 'decompose' makes simpler ones of")
        }
        OpKind::While { .. }
        | OpKind::Case { .. }
        | OpKind::Call { .. }
        | OpKind::OptimizationBarrier {} => Err("an op that is no part of a kernel"),
    }
}
