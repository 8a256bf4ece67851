//! What a parameter's new value is made of: the way back from it, through the optimizer's arithmetic, clipping,
//! accumulation and stacking, to the products whose results it holds.

use super::flow::{Flow, Node, NodeSet};
use std::collections::HashMap;
use tessera_ir::{Binary, OpKind};

/// The way back from a value along what keeps its elements apart.
///
/// Not followed are ways on which every element meets every other: out of a broadcast, which is how a global norm or a
/// learning rate comes in, and through what orders, compares or counts. Sums are followed: over microbatches, say.
pub(super) struct Walk<'f, 'a> {
    flow: &'f Flow<'a>,
    seen: NodeSet,
    open: Vec<Node>,
    /// Of each node met the number of the part that it is of the value the walk started at, where it is put in its
    /// place on the way.
    parts: HashMap<Node, usize>,
}

impl<'f, 'a> Walk<'f, 'a> {
    /// Starts at a value.
    pub(super) fn from(flow: &'f Flow<'a>, node: Node) -> Self {
        Self {
            flow,
            seen: NodeSet::new(flow.node_count()),
            open: vec![node],
            parts: HashMap::new(),
        }
    }

    /// Goes on from a node to what `carrying` says of the op that gives it.
    pub(super) fn follow(&mut self, node: Node) {
        let whole = self.parts.get(&node).copied();
        for (number, source) in carrying(self.flow, node).into_iter().enumerate() {
            if let Some(part) = whole.or_else(|| part(self.flow, node, number)) {
                self.parts.entry(source).or_insert(part);
            }
            self.open.push(source);
        }
    }

    /// The number of the part that a node is of the value the walk started at: of a parameter whose parts are stacked
    /// along a dimension, and whose gradient is put together from theirs.
    pub(super) fn part(&self, node: Node) -> Option<usize> {
        self.parts.get(&node).copied()
    }
}

/// Where an operand of size 1 is put in a larger result, along the dimension in which it is.
fn part(flow: &Flow<'_>, node: Node, operand: usize) -> Option<usize> {
    let (site, _) = flow.definition(node)?;
    let source = flow.operands(site).nth(operand)?;
    let mut sizes = flow.shape(source).iter().zip(flow.shape(node));
    let dimension = sizes.position(|(&part, &whole)| part == 1 && whole > 1)?;
    match &flow.operation(site).op.kind {
        OpKind::Pad {
            edge_padding_low, ..
        } => usize::try_from(edge_padding_low[dimension]).ok(),
        OpKind::Concatenate { dimension: along } if *along == dimension => {
            let before = flow.operands(site).take(operand);
            Some(before.map(|node| flow.shape(node)[dimension]).sum())
        }
        _ => None,
    }
}

/// The nodes in the order in which the walk meets them; a node is gone on from only by [`Walk::follow`].
impl Iterator for Walk<'_, '_> {
    type Item = Node;

    fn next(&mut self) -> Option<Node> {
        loop {
            let node = self.open.pop()?;
            if self.seen.insert(node) {
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
        OpKind::GroupedDot { .. } => operands(&[0, 1]),
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
        | OpKind::Quantize { .. }
        | OpKind::Dequantize { .. }
        | OpKind::Relayout { .. }
        | OpKind::ScaledDot { .. }
        | OpKind::GroupedScaledDot { .. }
        | OpKind::ColumnMean { .. }
        | OpKind::Hadamard { .. }
        | OpKind::Orthonormalize {}
        | OpKind::SubspaceIterate { .. }
        | OpKind::Call { .. } => Vec::new(),
    }
}
