//! Which steps must wait for which.

use super::memory::{Memory, RangeMap};
use super::{Access, Plan, Step};
use petgraph::graph::{DiGraph, NodeIndex};
use std::collections::BTreeMap;

/// Why a step must wait for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dependence {
    /// It overwrites what the other reads.
    WriteAfterRead,
    /// It overwrites what the other writes.
    WriteAfterWrite,
    /// It reads what the other writes.
    ReadAfterWrite,
}

/// Who used a byte last: steps by number.
#[derive(Clone, Debug, Default)]
struct Users {
    writer: Option<usize>,
    readers: Vec<usize>,
}

impl Plan {
    /// The steps of the schedule, not those inside them, with an edge from each step to those that must follow it
    /// because both touch a byte that one of them writes. Nodes are numbered as the steps are, and hold that number.
    ///
    /// Steps that do not reach each other may change places or run together. An edge is left out where a chain of
    /// others over the same byte says as much. Of several reasons, the last in [`Dependence`]'s order is given.
    ///
    /// Buffers must exist, as [`check`](Self::check) says; those that do not are taken to touch nothing.
    pub fn dependences(&self) -> DiGraph<usize, Dependence> {
        let mut graph = DiGraph::with_capacity(self.schedule.len(), self.schedule.len());
        let mut memories: BTreeMap<Memory, RangeMap<Users>> = BTreeMap::new();
        for (number, step) in self.schedule.iter().enumerate() {
            let node = graph.add_node(number);
            let mut before: BTreeMap<usize, Dependence> = BTreeMap::new();
            let mut depend = |on: usize, why: Dependence| {
                if on != number {
                    let reason = before.entry(on).or_insert(why);
                    *reason = why.max(*reason);
                }
            };
            self.each_access(step, |memory, range, access| {
                let bytes = memories.entry(memory).or_default();
                bytes.change(range, |users| match access {
                    Access::Read => {
                        if let Some(writer) = users.writer {
                            depend(writer, Dependence::ReadAfterWrite);
                        }
                        if users.readers.last() != Some(&number) {
                            users.readers.push(number);
                        }
                    }
                    Access::Write => {
                        for &reader in &users.readers {
                            depend(reader, Dependence::WriteAfterRead);
                        }
                        // Readers waited for the writer already.
                        if let (Some(writer), []) = (users.writer, users.readers.as_slice()) {
                            depend(writer, Dependence::WriteAfterWrite);
                        }
                        users.writer = Some(number);
                        users.readers.clear();
                    }
                });
            });
            for (on, why) in before {
                graph.add_edge(NodeIndex::new(on), node, why);
            }
        }
        graph
    }

    /// The bytes that a step and its inner steps touch, in order.
    fn each_access(
        &self,
        step: &Step,
        mut each: impl FnMut(Memory, std::ops::Range<usize>, Access),
    ) {
        step.visit(&mut |id, access| {
            if let Some(buffer) = self.buffers.get(id.0 as usize) {
                let bytes = self.bytes(buffer);
                each(bytes.memory, bytes.range, access);
            }
        });
    }
}
