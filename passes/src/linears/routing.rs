//! Routers: linears whose results say which experts take a token, or how much each of them counts.
//!
//! What a linear gives is followed element by element. It is a router's where it is
//!
//! - put in order (`top_k`, a sort, the place of the largest), and what comes of that is multiplied by a weight again:
//!   the tokens that experts take, or what comes after them. A head whose best guess is compared with the labels is
//!   none, for that ends in a number of the step;
//! - made a share, by a softmax or a sigmoid, each of which is then repeated to multiply many numbers, or weighs matrices
//!   of the same token, on the way to a product with a weight. Shares of a cross-entropy go to no forward product, those
//!   of attention come of a product of activations, not of a linear, and a gated unit's meet one number each.

use super::flow::{Flow, Node, NodeSet, Site};
use super::matching::Step;
use std::collections::HashSet;
use std::fmt;
use tessera_ir::{Binary, OpKind, Unary};

/// How a linear's result decides about experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Routing {
    /// It is put in order.
    Selects,
    /// Its softmax or sigmoid weighs what experts give.
    Weighs,
}

impl fmt::Display for Routing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Selects => "the order of its results chooses what takes a token",
            Self::Weighs => "a softmax or sigmoid of its results weighs what others give",
        })
    }
}

/// What has become of a linear's result, as far as it is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    /// Numbers of any kind.
    Scores,
    /// Exponentials, of which a sum makes shares.
    Exponentials,
    /// Shares.
    Shares,
}

impl Step<'_> {
    /// Of each linear, given by the uses that are its forwards, whether it is a router.
    pub(super) fn routings(&self, forwards: &[Vec<usize>]) -> Vec<Option<Routing>> {
        let uses = forwards.iter().flatten();
        let applications = uses.flat_map(|&number| &self.uses[number].applications);
        let multiplied =
            applications.map(|own| self.dots[own.dot].operands[1 - own.weight_operand]);
        let leads_on = self.flow.reaching(multiplied);
        let of = |uses: &Vec<usize>| {
            let applications = uses
                .iter()
                .flat_map(|&number| &self.uses[number].applications);
            let results = applications.map(|own| self.dots[own.dot].result);
            self.routing(results, &leads_on)
        };
        forwards.iter().map(of).collect()
    }

    fn routing(&self, results: impl Iterator<Item = Node>, leads_on: &NodeSet) -> Option<Routing> {
        let flow = &self.flow;
        let mut open: Vec<(Node, Stage)> = results.map(|node| (node, Stage::Scores)).collect();
        let mut seen: HashSet<(Node, Stage)> = HashSet::new();
        let mut found = None;
        while let Some((node, stage)) = open.pop() {
            if !seen.insert((node, stage)) {
                continue;
            }
            for &next in flow.successors(node) {
                match self.becomes(node, stage, next) {
                    Becomes::Stage(stage) => open.push((next, stage)),
                    Becomes::Routing(routing) if leads_on.contains(next) => {
                        found = found.min(Some(routing)).or(Some(routing));
                    }
                    Becomes::Routing(_) | Becomes::Other => {}
                }
            }
        }
        found
    }

    /// What `next` is, which comes of a node at that stage.
    fn becomes(&self, node: Node, stage: Stage, next: Node) -> Becomes {
        let flow = &self.flow;
        let Some((site, _)) = flow.definition(next) else {
            return Becomes::Stage(stage);
        };
        let operands: Vec<Node> = flow.operands(site).collect();
        let is = |number: usize| operands.get(number) == Some(&node);
        let keeps = |holds: bool| match holds {
            true => Becomes::Stage(stage),
            false => Becomes::Other,
        };
        match &flow.operation(site).op.kind {
            OpKind::Unary(unary) => Becomes::Stage(match unary {
                Unary::Exponential => Stage::Exponentials,
                Unary::Logistic => Stage::Shares,
                _ => Stage::Scores,
            }),
            OpKind::Binary(binary) => {
                let other = operands[usize::from(is(0))];
                Becomes::Stage(combined(*binary, stage, flow.definition(other), flow))
            }
            OpKind::Convert { .. }
            | OpKind::Reshape { .. }
            | OpKind::Transpose { .. }
            | OpKind::Reverse { .. }
            | OpKind::Concatenate { .. }
            | OpKind::While { .. }
            | OpKind::Case { .. }
            | OpKind::Slice { .. }
            | OpKind::OptimizationBarrier {} => Becomes::Stage(stage),
            OpKind::DynamicSlice { .. } | OpKind::Gather { .. } | OpKind::Pad { .. } => {
                keeps(is(0))
            }
            OpKind::Clamp {} => keeps(is(1)),
            OpKind::Select {} => keeps(is(1) || is(2)),
            OpKind::BroadcastInDim { .. } if flow.len(next) == flow.len(node) => {
                Becomes::Stage(stage)
            }
            OpKind::BroadcastInDim { .. } if stage == Stage::Shares => {
                Becomes::Routing(Routing::Weighs)
            }
            OpKind::DotGeneral {
                lhs_batching_dimensions,
                rhs_batching_dimensions,
                lhs_contracting_dimensions,
                rhs_contracting_dimensions,
                ..
            } if stage == Stage::Shares && !self.applies(site) => {
                let [batching, contracting] = match is(0) {
                    true => [lhs_batching_dimensions, lhs_contracting_dimensions],
                    false => [rhs_batching_dimensions, rhs_contracting_dimensions],
                };
                let weighs = batching.len() + contracting.len() == flow.shape(node).len();
                match weighs {
                    true => Becomes::Routing(Routing::Weighs),
                    false => Becomes::Other,
                }
            }
            OpKind::Sort { .. } | OpKind::TopK { .. } => Becomes::Routing(Routing::Selects),
            // Of a value and of where it stands: the place of the largest.
            OpKind::Reduce { .. } if operands.len() >= 4 => Becomes::Routing(Routing::Selects),
            OpKind::BroadcastInDim { .. }
            | OpKind::DotGeneral { .. }
            | OpKind::GroupedDot { .. }
            | OpKind::Reduce { .. }
            | OpKind::ReduceWindow { .. }
            | OpKind::Compare { .. }
            | OpKind::BitcastConvert { .. }
            | OpKind::Constant { .. }
            | OpKind::Iota { .. }
            | OpKind::DynamicUpdateSlice {}
            | OpKind::Scatter { .. }
            | OpKind::Quantize { .. }
            | OpKind::Dequantize { .. }
            | OpKind::Relayout { .. }
            | OpKind::ScaledDot { .. }
            | OpKind::GroupedScaledDot { .. }
            | OpKind::ColumnMean { .. }
            | OpKind::Hadamard { .. }
            | OpKind::Orthonormalize {}
            | OpKind::SubspaceIterate { .. }
            | OpKind::Call { .. } => Becomes::Other,
        }
    }

    /// Whether a product applies a weight.
    fn applies(&self, site: Site) -> bool {
        let mut applications = self.uses.values().flat_map(|found| &found.applications);
        applications.any(|own| self.dots[own.dot].site == site)
    }
}

/// What a value is that comes of a linear's result.
enum Becomes {
    /// One number for each of it.
    Stage(Stage),
    /// What only a router's becomes, if it leads to a product with a weight.
    Routing(Routing),
    /// Something that is not followed.
    Other,
}

/// The stage of a number that is computed of one at a stage and of another number, given by where it comes from.
fn combined(binary: Binary, stage: Stage, other: Option<(Site, usize)>, flow: &Flow<'_>) -> Stage {
    // A sum over the experts, or a number for all.
    let is_repeated = other.is_some_and(|(site, _)| {
        let kind = &flow.operation(site).op.kind;
        matches!(
            kind,
            OpKind::BroadcastInDim { .. } | OpKind::Constant { .. }
        )
    });
    match (binary, stage) {
        (Binary::Divide, Stage::Exponentials) => Stage::Shares,
        (Binary::Multiply, Stage::Exponentials) if is_repeated => Stage::Shares,
        // A gated unit: each share meets a number of its own, and is none any more.
        (Binary::Multiply, Stage::Shares) if !is_repeated => Stage::Scores,
        (_, stage) => stage,
    }
}
