//! The loops around a product: how often they run, which values are others in each round, and which part of a stack a
//! round is at.
//!
//! A loop over layers takes its weights out of stacks, and what it leaves for the backward it writes into stacks; the
//! backward's loop reads these from the last part to the first. So two loops can meet the same value in other rounds.

use super::divide::LoopPiece;
use crate::linears::{Place, integer, rounds_of, step_of};
use std::collections::HashMap;
use tessera_ir::{
    Binary, ComparisonDirection, Definition, Graph, Module, OpKind, Operation, ValueId,
};

/// In which order the rounds of a loop are at the parts of its stacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Order {
    /// The first round is at the first part.
    Ascending,
    /// The first round is at the last part.
    Descending,
}

/// A loop around a product that runs a fixed number of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loop {
    pub rounds: usize,
    /// `None` where it has no stacks of as many parts, or is at parts in another order.
    pub order: Option<Order>,
    /// The number of the first of those parts: not 0 where the loop is over some layers of several.
    pub first: usize,
}

/// The loops around a place, the outermost first.
pub(super) struct Surroundings {
    pub loops: Vec<Loop>,
    /// Of each value of the innermost graph: bit i where it is another one in each round of loop i.
    varying: Vec<u64>,
}

impl Surroundings {
    /// What stands around a place; `None` where a loop does not run a fixed number of times. Loops over some layers of
    /// several are known by their places.
    pub fn of(module: &Module, place: &Place, pieces: &HashMap<Place, LoopPiece>) -> Option<Self> {
        let rounds = rounds_of(module, place)?;
        let mut graph: &Graph = module.graph(&place.graph)?;
        let mut varying = spread(graph, vec![0; graph.inputs().len()]);
        let mut loops = Vec::new();
        for (depth, &(holder, region)) in place.regions.iter().enumerate() {
            let piece = pieces.get(&super::parts::holder(place, depth));
            let holder = graph.operations().get(holder.index())?;
            let operands = holder.op.operands.iter();
            let outside: Vec<u64> = operands.map(|operand| varying[operand.index()]).collect();
            let inside = holder.op.kind.regions().into_iter().nth(region)?;
            let inputs = match &holder.op.kind {
                OpKind::While { body, .. } => {
                    let own = 1 << loops.len().min(63);
                    let rounds = rounds[loops.len()];
                    let order = match piece {
                        Some(piece) => Some(piece.order),
                        None => order(graph, holder, body, rounds),
                    };
                    loops.push(Loop {
                        rounds,
                        order,
                        first: piece.map_or(0, |piece| piece.layers.start),
                    });
                    carried(body, &outside, own)
                }
                // A branch has what its op has after the index, and stands where that says.
                _ => outside[1..].iter().map(|own| own | outside[0]).collect(),
            };
            graph = inside;
            varying = spread(graph, inputs);
        }
        Some(Self { loops, varying })
    }

    /// Whether a value of the innermost graph is another one in each round of a loop.
    pub fn varies(&self, value: ValueId, number: usize) -> bool {
        self.varying[value.index()] >> number.min(63) & 1 == 1
    }
}

/// What the inputs of a loop's body vary with: what is carried and changed varies with the loop, and with all that
/// anything carried varies with.
fn carried(body: &Graph, outside: &[u64], own: u64) -> Vec<u64> {
    let is_changed = |number: usize| {
        let result = body.results().get(number).map(|result| result.value);
        result.is_some() && result != body.input_value(number)
    };
    let all = outside.iter().fold(own, |all, one| all | one);
    let inputs = outside.iter().enumerate();
    inputs
        .map(|(number, &one)| if is_changed(number) { all } else { one })
        .collect()
}

/// Of each value of a graph what its operands vary with.
fn spread(graph: &Graph, inputs: Vec<u64>) -> Vec<u64> {
    let mut varying = inputs;
    varying.resize(graph.value_count(), 0);
    for operation in graph.operations() {
        let operands = operation.op.operands.iter();
        let all = operands.fold(0, |all, operand| all | varying[operand.index()]);
        for result in operation.results() {
            varying[result.index()] = all;
        }
    }
    varying
}

/// The order in which a loop is at the parts of stacks of as many parts as it has rounds, if that is one.
fn order(outside: &Graph, holder: &Operation, body: &Graph, rounds: usize) -> Option<Order> {
    let mut found = None;
    for operation in body.operations() {
        let operands = &operation.op.operands;
        let (slice, starts): (&[usize], _) = match &operation.op.kind {
            OpKind::DynamicSlice { slice_sizes } => (slice_sizes, &operands[1..]),
            OpKind::DynamicUpdateSlice {} => (body.value_type(operands[1]).shape(), &operands[2..]),
            _ => continue,
        };
        let stack = body.value_type(operands[0]).shape();
        for ((&start, &size), &parts) in starts.iter().zip(slice).zip(stack) {
            if size != 1 || parts != rounds || integer(body, start).is_some() {
                continue;
            }
            let own = order_of(outside, holder, body, start, rounds)?;
            if found.is_some_and(|found| found != own) {
                return None;
            }
            found = Some(own);
        }
    }
    found
}

/// The order in which a number that a loop computes goes through 0, 1, 2, …, one in each round, if it does.
pub(super) fn order_of(
    outside: &Graph,
    holder: &Operation,
    body: &Graph,
    number: ValueId,
    rounds: usize,
) -> Option<Order> {
    let at = |round: usize| {
        let mut counter = Counter {
            outside,
            holder,
            body,
            round: round as i128,
            known: HashMap::new(),
        };
        usize::try_from(counter.number(number)?).ok()
    };
    if (0..rounds).all(|round| at(round) == Some(round)) {
        Some(Order::Ascending)
    } else if (0..rounds).all(|round| at(round) == Some(rounds - 1 - round)) {
        Some(Order::Descending)
    } else {
        None
    }
}

/// The whole numbers that a loop computes from its counters, in one of its rounds.
struct Counter<'a> {
    outside: &'a Graph,
    holder: &'a Operation,
    body: &'a Graph,
    round: i128,
    known: HashMap<ValueId, Option<i128>>,
}

impl Counter<'_> {
    fn number(&mut self, value: ValueId) -> Option<i128> {
        if let Some(&known) = self.known.get(&value) {
            return known;
        }
        let number = self.compute(value);
        self.known.insert(value, number);
        number
    }

    fn compute(&mut self, value: ValueId) -> Option<i128> {
        let body = self.body;
        if let Definition::Input(number) = body.definition(value) {
            let start = integer(self.outside, self.holder.op.operands[number])?;
            let kept = body.results().get(number).map(|result| result.value);
            if kept.is_none_or(|result| result == value) {
                return Some(start);
            }
            return Some(start + step_of(body, number)? * self.round);
        }
        let op = &body.defining_operation(value)?.op;
        let operands = &op.operands;
        match &op.kind {
            OpKind::Constant { .. } => integer(body, value),
            OpKind::Convert { .. } | OpKind::Reshape { .. } => self.number(operands[0]),
            OpKind::Binary(binary) => {
                let (a, b) = (self.number(operands[0])?, self.number(operands[1])?);
                match binary {
                    Binary::Add => Some(a + b),
                    Binary::Subtract => Some(a - b),
                    Binary::Multiply => a.checked_mul(b),
                    Binary::Minimum => Some(a.min(b)),
                    Binary::Maximum => Some(a.max(b)),
                    _ => None,
                }
            }
            OpKind::Compare { direction, .. } => {
                let (a, b) = (self.number(operands[0])?, self.number(operands[1])?);
                Some(i128::from(match direction {
                    ComparisonDirection::Eq => a == b,
                    ComparisonDirection::Ne => a != b,
                    ComparisonDirection::Lt => a < b,
                    ComparisonDirection::Le => a <= b,
                    ComparisonDirection::Gt => a > b,
                    ComparisonDirection::Ge => a >= b,
                }))
            }
            OpKind::Select {} => match self.number(operands[0])? {
                0 => self.number(operands[2]),
                _ => self.number(operands[1]),
            },
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linears::{Role, Side, find};
    use crate::manager::Silent;
    use std::path::Path;

    #[test]
    fn the_backward_loop_is_at_the_layers_from_the_last_to_the_first() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/steps");
        let source = std::fs::read_to_string(fixtures.join("moe_tiny/step.mlir")).unwrap();
        let module = tessera_import::import(&source, "step.mlir").unwrap();
        let prepared: crate::Pipeline = "inline,canonicalise".parse().unwrap();
        let module = prepared.run(&module, &mut Silent).unwrap();
        let mut seen = 0;
        for product in find(&module).unwrap().products {
            let around = Surroundings::of(&module, &product.place, &HashMap::new()).unwrap();
            let [own] = around.loops[..] else {
                continue;
            };
            let order = match product.role {
                Role::Forward => Order::Ascending,
                Role::Dgrad | Role::Wgrad => Order::Descending,
            };
            assert_eq!((own.rounds, own.order), (2, Some(order)));
            let operands = &product.place.find(&module).unwrap().op.operands;
            assert!(
                [0, 1]
                    .iter()
                    .all(|&number| around.varies(operands[number], 0))
            );
            assert_ne!(product.lhs, product.rhs, "{}", Side::Weight);
            seen += 1;
        }
        assert!(seen >= 18, "{seen}");
    }
}
