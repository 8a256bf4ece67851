//! Matrices that a step multiplies and does not change: frozen weights, as those that low-rank adapters are trained beside.
//!
//! A frozen input is a donated one whose new value is the old one, or one that is not donated and no data of the batch.
//! That is told by its use: numbers of two dimensions or more that are themselves, in whatever layout and part by part,
//! multiplied with what depends on the batch, and along no batch dimension, as data would be that belong to the tokens one
//! by one. Data that meet a parameter are known by that: what a parameter multiplies is an activation. Where two inputs
//! meet of which both could be either, the first operand is taken for the data.
//!
//! A linear of frozen weights has a forward and, where gradients go on to what stands before it, a dgrad.

use super::flow::{Flow, Node, NodeSet, Site};
use super::matching::{Match, Step};
use super::products::Dot;
use super::roles::Gradients;
use super::state::State;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tessera_ir::{OpKind, Type};

/// The inputs that are not donated and that the step multiplies as it does weights.
pub(super) fn undonated(flow: &Flow<'_>, states: &[State], dots: &[Dot]) -> Vec<State> {
    let entry = flow.frames[0].graph;
    let inputs: Vec<Node> = (entry.input_values())
        .map(|value| flow.node(0, value))
        .collect();
    let is_state = |node: Node| states.iter().any(|state| state.before == node);
    let by_site: HashMap<Site, usize> = (dots.iter().enumerate())
        .map(|(number, dot)| (dot.site, number))
        .collect();
    let outside: Vec<Node> = (inputs.iter().copied())
        .filter(|&node| !is_state(node))
        .collect();
    let of_outside = flow.reachable(outside.iter().copied());
    let mut candidates: BTreeMap<Node, Vec<(usize, usize)>> = BTreeMap::new();
    for (input, &node) in inputs.iter().enumerate() {
        let is_donated = entry.inputs()[input].donate.is_some();
        if is_donated || !is_matrix(flow, node) {
            continue;
        }
        let met = multiplied(flow, node, &by_site);
        let is_weight = |&(dot, operand): &(usize, usize)| {
            of_outside.contains(dots[dot].operands[1 - operand])
                && has_weights_form(flow, &dots[dot], operand)
        };
        if !met.is_empty() && met.iter().all(is_weight) {
            candidates.insert(node, met);
        }
    }
    while let Some(data) = data_among(flow, &outside, &candidates, dots) {
        candidates.remove(&data);
    }
    let states = inputs.into_iter().enumerate();
    let states = states.filter(|(_, node)| candidates.contains_key(node));
    states
        .map(|(input, node)| State {
            input,
            before: node,
            after: node,
        })
        .collect()
}

/// Of candidates that meet what depends on no other input one that is rather data: the first operand of the first product.
fn data_among(
    flow: &Flow<'_>,
    outside: &[Node],
    candidates: &BTreeMap<Node, Vec<(usize, usize)>>,
    dots: &[Dot],
) -> Option<Node> {
    let others = outside
        .iter()
        .filter(|&node| !candidates.contains_key(node));
    let batch = flow.reachable(others.copied());
    let met = candidates
        .iter()
        .flat_map(|(&node, met)| met.iter().map(move |&(dot, operand)| (dot, operand, node)));
    let met = met.filter(|&(dot, operand, _)| !batch.contains(dots[dot].operands[1 - operand]));
    met.min().map(|(_, _, node)| node)
}

fn is_matrix(flow: &Flow<'_>, node: Node) -> bool {
    let (frame, value) = flow.value(node);
    match flow.frames[frame].graph.value_type(value) {
        Type::Tensor(own) => own.element.is_float() && own.shape.len() >= 2,
        Type::Scaled(_) => false,
    }
}

/// The products that have a value as an operand, in whatever layout, part by part, through loops.
fn multiplied(flow: &Flow<'_>, from: Node, by_site: &HashMap<Site, usize>) -> Vec<(usize, usize)> {
    let mut met = Vec::new();
    let mut seen = NodeSet::new(flow.node_count());
    let mut open = vec![from];
    while let Some(node) = open.pop() {
        if !seen.insert(node) {
            continue;
        }
        for &next in flow.successors(node) {
            let Some((site, _)) = flow.definition(next) else {
                open.push(next);
                continue;
            };
            if let Some(&dot) = by_site.get(&site) {
                let operands = flow.operands(site).take(2).enumerate();
                let own = operands.filter(|&(_, operand)| operand == node);
                met.extend(own.map(|(operand, _)| (dot, operand)));
            } else if shows(flow, site, node, next) {
                open.push(next);
            }
        }
    }
    met
}

/// Whether an op's result holds an operand's numbers and no others.
fn shows(flow: &Flow<'_>, site: Site, node: Node, result: Node) -> bool {
    match &flow.operation(site).op.kind {
        OpKind::Convert { .. }
        | OpKind::Reshape { .. }
        | OpKind::Transpose { .. }
        | OpKind::Slice { .. }
        | OpKind::While { .. }
        | OpKind::Case { .. }
        | OpKind::OptimizationBarrier {} => true,
        OpKind::DynamicSlice { .. } => flow.operands(site).next() == Some(node),
        OpKind::BroadcastInDim { .. } => flow.len(node) == flow.len(result),
        _ => false,
    }
}

/// Whether an operand of a product can be a weight: some of it stays, and no dimension goes along with the other's; of a
/// grouped product it has a matrix for each group.
fn has_weights_form(flow: &Flow<'_>, dot: &Dot, operand: usize) -> bool {
    let rank = flow.shape(dot.operands[operand]).len();
    match &flow.operation(dot.site).op.kind {
        OpKind::GroupedDot { .. } => rank == 3,
        OpKind::DotGeneral {
            lhs_batching_dimensions,
            lhs_contracting_dimensions,
            ..
        } => lhs_batching_dimensions.is_empty() && lhs_contracting_dimensions.len() < rank,
        _ => false,
    }
}

impl Step<'_> {
    /// The uses of frozen weights alone that are forwards, those of one linear together.
    pub(super) fn frozen_forwards(
        &self,
        wgrads: &BTreeMap<usize, Vec<Match>>,
        trained: &[Vec<usize>],
        gradients: &Gradients,
    ) -> Vec<Vec<usize>> {
        let matches = wgrads.values().flatten();
        let dgrads: BTreeSet<usize> = matches.filter_map(|found| found.dgrad).collect();
        let is_free = |number: &usize| {
            let states = &self.uses[*number].applications[0].states;
            states.iter().all(|&state| self.states[state].is_frozen())
                && !dgrads.contains(number)
                && !trained.iter().flatten().any(|own| own == number)
        };
        let mut forwards: Vec<Vec<usize>> = Vec::new();
        for number in (0..self.uses.len()).filter(is_free) {
            let found = &self.uses[number];
            let value = self.value(number);
            if self.reports(found, Some(gradients)) {
                forwards.push(vec![number]);
                continue;
            }
            let [l, m, n] = self.application_sizes(found);
            let comes_of = |uses: &&mut Vec<usize>| {
                let forward = &self.uses[uses[0]];
                self.is_same_part(uses[0], number) && forward.reached.contains(value)
            };
            let is_dgrad = gradients.activations.contains(value)
                || (forwards.iter_mut().filter(comes_of))
                    .any(|uses| self.application_sizes(&self.uses[uses[0]]) == [l, n, m]);
            if is_dgrad {
                continue;
            }
            // A forward that the backward computes again, or one of which no result comes.
            let again = forwards.iter_mut().find(|uses| {
                self.is_same_part(uses[0], number)
                    && self.application_sizes(&self.uses[uses[0]]) == [l, m, n]
            });
            match again {
                Some(uses) => uses.push(number),
                None => forwards.push(vec![number]),
            }
        }
        forwards
    }
}
