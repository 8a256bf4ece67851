//! What a graph has at hand of what the recipe added: the step's number, random bits' counter, the round, the state.
//!
//! A graph of a loop or branch is closed, so these come in as operands. A loop that has random roundings or state in it
//! counts its rounds.
//!
//! **Random bits.** A random rounding draws from (seed, counter, site). Outside of loops the counter is the number of the
//! step; in round i of a loop it is `2654435761 · c + i` (mod 2³²) with c the counter outside of the loop. The factor is odd
//! and near 2³² divided by the golden ratio, whose multiples lie apart: over n steps no two rounds of one loop share a
//! counter as long as it has fewer than about 2³² / (2.6 n) rounds; for loops in loops it is applied again.

use super::loops::Order;
use super::state::{StateId, StateUse};
use std::collections::BTreeMap;
use tessera_ir::{Builder, OpError, Tensor, ValueId};

/// 2³² over the golden ratio, odd.
const GOLDEN: u32 = 2_654_435_761;

/// Values of the graph that is being written.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    /// The number of the step, where something in the graph asks for it.
    pub step: Option<ValueId>,
    /// The counter of random bits, as often.
    pub counter: Option<ValueId>,
    /// The rounds of the loops around, the outermost first, each an i32; empty where nothing asks.
    pub rounds: Vec<ValueId>,
    /// State, what there is for each round stacked.
    pub states: BTreeMap<StateId, ValueId>,
}

impl Scope {
    /// The counter of random bits.
    pub fn counter(&self) -> ValueId {
        self.counter
            .expect("what asks for the step is asked before its graph is begun")
    }

    /// The number of the step.
    pub fn step(&self) -> ValueId {
        self.step
            .expect("what asks for the step is asked before its graph is begun")
    }

    /// The state of this round.
    pub fn load(&self, b: &mut Builder, state: &StateUse) -> Result<ValueId, OpError> {
        let stack = self.states[&state.id];
        let Some(round) = self.part(b, state)? else {
            return Ok(stack);
        };
        let shape = b.graph().value_type(stack).shape().to_vec();
        let sizes = [&[1], &shape[1..]].concat();
        let starts = starts(b, round, sizes.len())?;
        let slice = b.dynamic_slice(stack, &starts, &sizes)?;
        b.reshape(slice, &shape[1..])
    }

    /// Puts a new state of this round in place of the old one.
    pub fn store(
        &mut self,
        b: &mut Builder,
        state: &StateUse,
        new: ValueId,
    ) -> Result<(), OpError> {
        let stored = match self.part(b, state)? {
            None => new,
            Some(round) => {
                let stack = self.states[&state.id];
                let shape = b.graph().value_type(new).shape().to_vec();
                let slice = b.reshape(new, &[&[1], &shape[..]].concat())?;
                let starts = starts(b, round, shape.len() + 1)?;
                b.dynamic_update_slice(stack, slice, &starts)?
            }
        };
        self.states.insert(state.id, stored);
        Ok(())
    }

    /// Which part of a state's stack this round has; `None` where the state is no stack.
    fn part(&self, b: &mut Builder, state: &StateUse) -> Result<Option<ValueId>, OpError> {
        let mut part: Option<ValueId> = None;
        for (&round, own) in self.rounds.iter().zip(&state.parts) {
            let &Some((count, order)) = own else {
                continue;
            };
            // A state of more than 2³¹ rounds has no place in memory.
            let count = i32::try_from(count).unwrap_or(i32::MAX);
            let own = match order {
                Order::Ascending => round,
                Order::Descending => {
                    let last = b.constant(Tensor::scalar(count - 1))?;
                    b.subtract(last, round)?
                }
            };
            part = Some(match part {
                None => own,
                Some(outer) => {
                    let count = b.constant(Tensor::scalar(count))?;
                    let before = b.multiply(outer, count)?;
                    b.add(before, own)?
                }
            });
        }
        Ok(part)
    }

    /// Whether this is a step, or a round of one, at which what is refreshed every `stride` steps is refreshed. A state that
    /// several rounds share is refreshed in the first of them.
    pub fn is_due(
        &self,
        b: &mut Builder,
        state: &StateUse,
        stride: u32,
    ) -> Result<ValueId, OpError> {
        let stride = b.constant(Tensor::scalar(stride))?;
        let left = b.remainder(self.step(), stride)?;
        let zero = b.constant(Tensor::scalar(0u32))?;
        let mut due = b.compare(left, zero, tessera_ir::ComparisonDirection::Eq)?;
        for (&round, own) in self.rounds.iter().zip(&state.parts) {
            if own.is_none() {
                let zero = b.constant(Tensor::scalar(0i32))?;
                let first = b.compare(round, zero, tessera_ir::ComparisonDirection::Eq)?;
                due = b.and(due, first)?;
            }
        }
        Ok(due)
    }
}

/// The counter of random bits in a round of a loop.
pub(super) fn round_counter(
    b: &mut Builder,
    outside: ValueId,
    iteration: ValueId,
) -> Result<ValueId, OpError> {
    let factor = b.constant(Tensor::scalar(GOLDEN))?;
    let apart = b.multiply(outside, factor)?;
    b.add(apart, iteration)
}

/// A start at a position along the first dimension.
fn starts(b: &mut Builder, first: ValueId, rank: usize) -> Result<Vec<ValueId>, OpError> {
    let zero = b.constant(Tensor::scalar(0i32))?;
    Ok(std::iter::once(first)
        .chain(std::iter::repeat_n(zero, rank - 1))
        .collect())
}
