//! Low-rank adapters: trained linears whose results are added to those of frozen ones, `x W + (x A) B`.

use super::flow::{Flow, Node};
use super::matching::Step;
use super::{Linear, LinearId};
use std::collections::HashSet;
use tessera_ir::{Binary, OpKind};

impl Step<'_> {
    /// Says of the linears, each given with the uses that are its forwards, which frozen one they are adapters of.
    pub(super) fn find_adapters(&self, linears: &mut [Linear], forwards: &[Vec<usize>]) {
        let shown = |number: usize| self.shown_of(&forwards[number]);
        let frozen = (0..linears.len()).filter(|&number| linears[number].is_frozen);
        let frozen: Vec<(usize, HashSet<Node>)> = frozen.map(|own| (own, shown(own))).collect();
        let trained: Vec<usize> = (0..linears.len())
            .filter(|&number| !linears[number].is_frozen)
            .collect();
        if frozen.is_empty() {
            return;
        }
        // B, whose result meets the frozen one's; then A, of whose result B is applied.
        for &number in &trained {
            let own = shown(number);
            let met = frozen.iter().find(|(_, base)| self.are_added(&own, base));
            linears[number].adapts = met.map(|&(base, _)| LinearId(base));
        }
        for &number in &trained {
            let own = shown(number);
            let applied = |&&other: &&usize| {
                let values = forwards[other].iter().map(|&uses| self.value(uses));
                let mut values = values.into_iter();
                other != number && values.any(|value| own.contains(&value))
            };
            if linears[number].adapts.is_none()
                && let Some(&other) = trained.iter().find(applied)
            {
                linears[number].adapts = linears[other].adapts;
            }
        }
    }

    /// What shows the results of forwards: in another layout or element type, or multiplied by a number for all.
    fn shown_of(&self, uses: &[usize]) -> HashSet<Node> {
        let applications = uses
            .iter()
            .flat_map(|&number| &self.uses[number].applications);
        let mut open: Vec<Node> = applications.map(|own| self.dots[own.dot].result).collect();
        let mut shown = HashSet::new();
        while let Some(node) = open.pop() {
            if shown.insert(node) {
                let next = self.flow.successors(node).iter().copied();
                open.extend(next.filter(|&next| shows(&self.flow, node, next)));
            }
        }
        shown
    }

    /// Whether a value of the one is added to a value of the other.
    fn are_added(&self, one: &HashSet<Node>, other: &HashSet<Node>) -> bool {
        let flow = &self.flow;
        let mut sums = one.iter().flat_map(|&node| flow.successors(node));
        sums.any(|&sum| {
            let Some((site, _)) = flow.definition(sum) else {
                return false;
            };
            matches!(flow.operation(site).op.kind, OpKind::Binary(Binary::Add))
                && flow.operands(site).any(|node| one.contains(&node))
                && flow
                    .operands(site)
                    .any(|node| other.contains(&node) && !one.contains(&node))
        })
    }
}

fn shows(flow: &Flow<'_>, node: Node, next: Node) -> bool {
    let Some((site, _)) = flow.definition(next) else {
        return false;
    };
    match &flow.operation(site).op.kind {
        OpKind::Convert { .. } | OpKind::Reshape { .. } | OpKind::Transpose { .. } => true,
        OpKind::Binary(Binary::Multiply | Binary::Divide) => {
            let mut others = flow.operands(site).filter(|&other| other != node);
            others.all(|other| {
                let definition = flow.definition(other);
                let kind = definition.map(|(site, _)| &flow.operation(site).op.kind);
                matches!(
                    kind,
                    Some(OpKind::BroadcastInDim { .. } | OpKind::Constant { .. })
                )
            })
        }
        _ => false,
    }
}
