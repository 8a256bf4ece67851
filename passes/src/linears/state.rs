//! What a step keeps from one run to the next.

use super::flow::{Flow, Node};
use super::gradient::Walk;
use tessera_ir::OpKind;

/// A donated input whose new value comes of the old one, or a frozen one, whose new value is the old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// The number among the step's inputs.
    pub(super) input: usize,
    /// The value before.
    pub(super) before: Node,
    /// The value after.
    pub(super) after: Node,
}

impl State {
    /// Whether a step leaves it as it is.
    pub(super) fn is_frozen(&self) -> bool {
        self.before == self.after
    }
}

/// The state of a step, in the order of its inputs.
///
/// A step that runs several steps in a loop carries its state from round to round; there, the state is that of a round.
/// Such loops are cut in the flow: a round's values do not flow into the next round's by way of the state.
pub(super) fn states(flow: &mut Flow<'_>) -> Vec<State> {
    let entry = flow.frames[0].graph;
    let donated = entry.inputs().iter().zip(entry.input_values()).enumerate();
    let states = donated.filter_map(|(input, (attributes, value))| {
        let result = entry.results().get(attributes.donate?)?;
        Some(State {
            input,
            before: flow.node(0, value),
            after: flow.node(0, result.value),
        })
    });
    let states: Vec<State> = states.map(|state| within_loops(flow, state)).collect();
    let states: Vec<State> = states
        .into_iter()
        .filter(|state| keeps(flow, state))
        .collect();
    let carried: Vec<Node> = states.iter().map(|state| state.before).collect();
    flow.cut(&carried);
    states
}

/// The state of a round, where a loop carries the state.
fn within_loops(flow: &Flow<'_>, mut state: State) -> State {
    while let Some((site, index)) = flow.definition(state.after)
        && let OpKind::While { .. } = flow.operation(site).op.kind
        && flow.operands(site).nth(index) == Some(state.before)
    {
        let body = flow.children(site)[1];
        let Some(input) = flow.frames[body].graph.input_value(index) else {
            break;
        };
        state.before = flow.node(body, input);
        state.after = flow.frame_result(body, index);
    }
    state
}

/// Whether the new value comes of the old one, not by way of a product: unlike a recurrent network's last activations.
fn keeps(flow: &Flow<'_>, state: &State) -> bool {
    let mut walk = Walk::from(flow, state.after);
    while let Some(node) = walk.next() {
        if node == state.before {
            return true;
        }
        let definition = flow.definition(node);
        let kind = definition.map(|(site, _)| &flow.operation(site).op.kind);
        if !matches!(
            kind,
            Some(OpKind::DotGeneral { .. } | OpKind::GroupedDot { .. })
        ) {
            walk.follow(node);
        }
    }
    false
}
