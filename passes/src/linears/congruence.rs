//! Which values are the same: computed by the same ops from the same values, whatever their layout and element type.
//!
//! A backward pass meets the forward's values in other clothes: transposed, converted, out of a stack that a loop wrote
//! and another reads, or computed a second time. All of these have one [`Key`].

use super::ValueClass;
use super::flow::{Flow, Node, Site};
use indexmap::IndexSet;
use std::collections::{HashMap, HashSet};
use tessera_ir::{Definition, Graph, OpKind, ValueId};

/// What congruent values have in common: the number of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key(usize);

/// No node keeps it.
const NONE: Key = Key(usize::MAX);

#[derive(PartialEq, Eq, Hash)]
enum Expression<'a> {
    /// An input of the step, or what a loop carries from round to round.
    Leaf(Node),
    /// A result of an op on congruent operands.
    Result(&'a OpKind, Vec<Key>, usize),
}

/// The keys of all nodes.
pub(super) struct Congruence<'a> {
    of: Vec<Key>,
    expressions: IndexSet<Expression<'a>>,
}

impl Key {
    /// The key as other passes see it.
    pub(super) fn class(self) -> ValueClass {
        ValueClass(self.0)
    }
}

impl<'a> Congruence<'a> {
    /// Of the values of a flow.
    pub(super) fn of(flow: &Flow<'a>) -> Self {
        let mut keys = Keys {
            flow,
            of: vec![NONE; flow.node_count()],
            expressions: IndexSet::new(),
            alternatives: HashMap::new(),
            controlled: HashMap::new(),
        };
        keys.frame(0);
        Self {
            of: keys.of,
            expressions: keys.expressions,
        }
    }

    /// A node's key.
    pub(super) fn key(&self, node: Node) -> Key {
        self.of[node]
    }

    /// The node that a key shows a part of, where that is an input of the step or what a loop carries.
    pub(super) fn shown(&self, key: Key) -> Option<Node> {
        match self.expressions.get_index(key.0)? {
            Expression::Leaf(node) => Some(*node),
            Expression::Result(OpKind::Slice { .. } | OpKind::Gather { .. }, operands, _) => {
                self.shown(operands[0])
            }
            Expression::Result(..) => None,
        }
    }

    /// The number of the part that a key shows, where parts are numbered: a slice of size 1.
    pub(super) fn index(&self, key: Key) -> Option<usize> {
        let Expression::Result(kind, operands, _) = self.expressions.get_index(key.0)? else {
            return None;
        };
        let OpKind::Slice {
            start_indices,
            limit_indices,
            ..
        } = kind
        else {
            return None;
        };
        self.index(operands[0]).or_else(|| {
            let mut ranges = start_indices.iter().zip(limit_indices);
            let single = ranges.find(|(start, limit)| *start + 1 == **limit);
            single.map(|(start, _)| *start)
        })
    }
}

struct Keys<'f, 'a> {
    flow: &'f Flow<'a>,
    of: Vec<Key>,
    expressions: IndexSet<Expression<'a>>,
    /// Of what a `case` gives, where its branches differ: the key of its index and those of what each branch gives.
    alternatives: HashMap<Key, (Key, Vec<Key>)>,
    /// The first of the loops and `case`s that are equal and run on congruent operands.
    controlled: HashMap<(&'a OpKind, Vec<Key>), Site>,
}

impl<'a> Keys<'_, 'a> {
    fn key(&mut self, expression: Expression<'a>) -> Key {
        Key(self.expressions.insert_full(expression).0)
    }

    /// Gives keys to the values of a frame, its inputs first: those of a region that have none yet are leaves.
    fn frame(&mut self, frame: usize) {
        let graph = self.flow.frames[frame].graph;
        for input in graph.input_values() {
            let node = self.flow.node(frame, input);
            if self.of[node] == NONE {
                self.of[node] = self.key(Expression::Leaf(node));
            }
        }
        for operation in self.flow.operations(frame) {
            self.operation(Site { frame, operation });
        }
    }

    fn operation(&mut self, site: Site) {
        let flow = self.flow;
        let operands: Vec<Key> = flow.operands(site).map(|node| self.of[node]).collect();
        let operation = flow.operation(site);
        let count = operation.results().len();
        let results = match &operation.op.kind {
            kind @ (OpKind::While { .. } | OpKind::Case { .. }) => {
                self.control(site, kind, operands, count)
            }
            OpKind::OptimizationBarrier {} => operands,
            kind if shows_operand(kind) => vec![operands[0]],
            kind => (0..count)
                .map(|index| self.key(Expression::Result(kind, operands.clone(), index)))
                .collect(),
        };
        for (index, key) in results.into_iter().enumerate() {
            self.of[flow.result(site, index)] = key;
        }
    }

    /// A loop or `case` that is equal to one before it, and runs on congruent operands, computes the same throughout.
    fn control(
        &mut self,
        site: Site,
        kind: &'a OpKind,
        operands: Vec<Key>,
        count: usize,
    ) -> Vec<Key> {
        let flow = self.flow;
        if let Some(&first) = self.controlled.get(&(kind, operands.clone())) {
            for (node, same) in flow.inside(site).zip(flow.inside(first)) {
                self.of[node] = self.of[same];
            }
            let results = (0..count).map(|index| self.of[flow.result(first, index)]);
            return results.collect();
        }
        let results = if let OpKind::While { .. } = kind {
            self.while_loop(site, &operands, count)
        } else {
            self.case(site, &operands, count)
        };
        self.controlled.insert((kind, operands), site);
        results
    }

    /// What a loop does not change is what it was outside; what it writes into a stack, round by round, is what the
    /// stack then holds.
    fn while_loop(&mut self, site: Site, operands: &[Key], carried: usize) -> Vec<Key> {
        let flow = self.flow;
        let &[condition, body] = flow.children(site) else {
            return operands[..carried].to_vec();
        };
        let graph = flow.frames[body].graph;
        for (number, (input, &key)) in graph.input_values().zip(operands).enumerate() {
            let result = graph.results().get(number).map(|result| result.value);
            if result.is_none_or(|result| result == input) {
                self.of[flow.node(body, input)] = key;
            }
        }
        self.frame(body);
        for input in graph.input_values() {
            self.of[flow.node(condition, input)] = self.of[flow.node(body, input)];
        }
        self.frame(condition);
        let results = (0..carried).map(|index| {
            let (input, result) = (
                graph.input_values().nth(index),
                graph.results()[index].value,
            );
            if input == Some(result) {
                return operands[index];
            }
            match stacked(graph, input, result) {
                Some(update) => self.of[flow.node(body, update)],
                None => {
                    let node = flow.result(site, index);
                    self.key(Expression::Leaf(node))
                }
            }
        });
        results.collect()
    }

    /// What all branches give that give more than constants is what the `case` gives. A branch of a `case` with the same
    /// index as one before it sees of that one's results what its branch gave.
    fn case(&mut self, site: Site, operands: &[Key], count: usize) -> Vec<Key> {
        let flow = self.flow;
        for (number, &branch) in flow.children(site).iter().enumerate() {
            let inputs = flow.frames[branch].graph.input_values();
            for (input, &key) in inputs.zip(&operands[1..]) {
                let seen = self.alternatives.get(&key);
                let seen = seen.filter(|(index, _)| *index == operands[0]);
                let seen = seen.and_then(|(_, given)| given.get(number));
                self.of[flow.node(branch, input)] = *seen.unwrap_or(&key);
            }
            self.frame(branch);
        }
        let results = (0..count).map(|index| {
            let given = flow.children(site).iter();
            let given: Vec<_> = given
                .map(|&branch| flow.frame_result(branch, index))
                .collect();
            let mut distinct = given.iter().filter(|&&node| !is_constant(flow, node));
            let first = distinct.next().map(|&node| self.of[node]);
            match first.filter(|&first| distinct.all(|&node| self.of[node] == first)) {
                Some(key) => key,
                None => {
                    let key = self.key(Expression::Leaf(flow.result(site, index)));
                    let given = given.iter().map(|&node| self.of[node]).collect();
                    self.alternatives.insert(key, (operands[0], given));
                    key
                }
            }
        });
        results.collect()
    }
}

/// The value that a loop's body writes, each round at another place, into what it carries: `result` is `input` with a
/// slice replaced.
fn stacked(graph: &Graph, input: Option<ValueId>, result: ValueId) -> Option<ValueId> {
    let op = &graph.defining_operation(result)?.op;
    let is_stack =
        matches!(op.kind, OpKind::DynamicUpdateSlice {}) && Some(op.operands[0]) == input;
    is_stack.then(|| op.operands[1])
}

/// Whether an op shows its first operand, in another layout, another element type, or the part of it that a loop's
/// round is at.
fn shows_operand(kind: &OpKind) -> bool {
    matches!(
        kind,
        OpKind::Convert { .. }
            | OpKind::BroadcastInDim { .. }
            | OpKind::Reshape { .. }
            | OpKind::Transpose { .. }
            | OpKind::DynamicSlice { .. }
    )
}

/// Whether a value is made of constants alone, in its own frame.
fn is_constant(flow: &Flow<'_>, node: Node) -> bool {
    let (frame, _) = flow.value(node);
    let (mut seen, mut open) = (HashSet::new(), vec![node]);
    while let Some(node) = open.pop() {
        let (own, value) = flow.value(node);
        let graph = flow.frames[own].graph;
        if own == frame && matches!(graph.definition(value), Definition::Input(_)) {
            return false;
        }
        if seen.insert(node) {
            open.extend(flow.sources(node));
        }
    }
    true
}
