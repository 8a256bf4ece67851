//! Lanes that go past a barrier at which others of their warp wait for them: whole warps must come to it (PTX ISA 9.7.13.1).
//! Lanes that come to their end instead, before they do anything that is seen outside, need not.

use super::super::State;
use super::super::asynchronous::Origin;
use super::super::context::Context;
use crate::finding::FindingKind;
use crate::instruction::Action;
use crate::program::Step;

impl Context<'_> {
    /// Notes it where a strand executes a step that is seen outside and lies behind such a barrier.
    pub(super) fn goes_past_barriers(&mut self, strand: usize, step: &Step) {
        let is_seen = matches!(
            step.action,
            Action::Store(_)
                | Action::Atomic(_)
                | Action::Synchronise(_)
                | Action::Mbarrier(_)
                | Action::Copy(_)
        );
        if !is_seen {
            return;
        }
        let own = self.warp.strands[strand];
        let function = &self.program.functions[self.function];
        for other in &self.warp.strands {
            let State::Gathering { needed } = other.state else {
                continue;
            };
            if other.frame == own.frame
                && needed & own.lanes != 0
                && function.is_behind(own.step, other.step)
            {
                let origin = Origin {
                    function: self.function,
                    place: function.steps[other.step].place,
                    rank: self.rank as u32,
                    warp: self.warp.index,
                    lane: other.lanes.trailing_zeros(),
                };
                let kind = FindingKind::Divergence {
                    found: other.lanes,
                    expected: needed,
                };
                self.late.push((origin, kind));
            }
        }
    }
}
