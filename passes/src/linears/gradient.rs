//! What a parameter's new value is made of: the way back from it, through the optimizer's arithmetic, clipping,
//! accumulation and stacking, to the products whose results it holds.

use super::flow::{Flow, Node};
use tessera_ir::{Binary, OpKind};

/// The way back from a value along what keeps its elements apart.
///
/// Not followed are ways on which every element meets every other: out of a broadcast, which is how a global norm or a
/// learning rate comes in, and through what orders, compares or counts. Sums are followed: over microbatches, say.
pub(super) struct Walk<'f, 'a> {
    flow: &'f Flow<'a>,
    seen: Vec<bool>,
    open: Vec<Node>,
}

impl<'f, 'a> Walk<'f, 'a> {
    /// Starts at a value.
    pub(super) fn from(flow: &'f Flow<'a>, node: Node) -> Self {
        Self {
            flow,
            seen: vec![false; flow.node_count()],
            open: vec![node],
        }
    }

    /// Goes on from a node to what `carrying` says of the op that gives it.
    pub(super) fn follow(&mut self, node: Node) {
        self.open.extend(carrying(self.flow, node));
    }
}

/// The nodes in the order in which the walk meets them; a node is gone on from only by [`Walk::follow`].
impl Iterator for Walk<'_, '_> {
    type Item = Node;

    fn next(&mut self) -> Option<Node> {
        loop {
            let node = self.open.pop()?;
            if !std::mem::replace(&mut self.seen[node], true) {
                return Some(node);
            }
        }
    }
}

/// The sources of a node whose elements its own elements hold, changed one by one, moved, chosen, or summed. Both
/// operands of a product are among them, for optimizers that multiply a gradient's matrix.
fn carrying(flow: &Flow<'_>, node: Node) -> Vec<Node> {
    let sources = flow.sources(node);
    let Some((site, _)) = flow.definition(node) else {
        return sources;
    };
    let operands = |chosen: &[usize]| -> Vec<Node> {
        let chosen = chosen.iter().filter_map(|&number| sources.get(number));
        chosen.copied().collect()
    };
    match &flow.operation(site).op.kind {
        OpKind::Unary(_)
        | OpKind::Binary(_)
        | OpKind::Convert { .. }
        | OpKind::Reshape { .. }
        | OpKind::Transpose { .. }
        | OpKind::Reverse { .. }
        | OpKind::Concatenate { .. }
        | OpKind::DotGeneral { .. }
        | OpKind::While { .. }
        | OpKind::Case { .. }
        | OpKind::OptimizationBarrier {} => sources,
        OpKind::Slice { .. }
        | OpKind::DynamicSlice { .. }
        | OpKind::Pad { .. }
        | OpKind::Gather { .. } => operands(&[0]),
        OpKind::Clamp {} => operands(&[1]),
        OpKind::Select {} => operands(&[1, 2]),
        OpKind::DynamicUpdateSlice {} => operands(&[0, 1]),
        OpKind::Scatter { .. } => operands(&[0, 2]),
        OpKind::BroadcastInDim { .. } if flow.len(sources[0]) == flow.len(node) => sources,
        OpKind::Reduce { body, .. } if body.as_binary() == Some(Binary::Add) => operands(&[0]),
        OpKind::BroadcastInDim { .. }
        | OpKind::Reduce { .. }
        | OpKind::ReduceWindow { .. }
        | OpKind::Compare { .. }
        | OpKind::BitcastConvert { .. }
        | OpKind::Constant { .. }
        | OpKind::Iota { .. }
        | OpKind::Sort { .. }
        | OpKind::TopK { .. }
        | OpKind::Call { .. } => Vec::new(),
    }
}
