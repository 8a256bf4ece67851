//! Barriers and fences. A barrier is counted here; who waits at it is released by the grid, which sees all warps.

use super::super::State;
use super::super::context::{Context, Fault, Passage};
use super::super::frame::lanes_of;
use super::Outcome;
use crate::finding::FindingKind;
use crate::instruction::{Fence, Source, Synchronise};

impl Context<'_> {
    pub(super) fn synchronise(
        &mut self,
        strand: usize,
        active: u32,
        synchronise: &Synchronise,
    ) -> Result<Outcome, Fault> {
        match synchronise {
            Synchronise::Barrier {
                barrier,
                threads,
                reduction,
                aligned,
            } => {
                let Some(number) =
                    self.comes(strand, active, barrier, threads.as_ref(), *aligned)?
                else {
                    return Ok(Outcome::Waits);
                };
                if active == 0 {
                    return Ok(Outcome::Done);
                }
                if let Some(reduction) = reduction {
                    let frame = self.warp.strands[strand].frame;
                    let predicates = self.values(frame, &reduction.predicate).mask();
                    let votes = &mut self.ctas[self.rank].barriers[number as usize].votes;
                    votes.0 += (predicates & active).count_ones();
                    votes.1 += active.count_ones();
                }
                self.warp.strands[strand].state = State::AtBarrier { barrier: number };
                Ok(Outcome::Waits)
            }
            Synchronise::Arrive {
                barrier,
                threads,
                aligned,
            } => {
                let comes = self.comes(strand, active, barrier, Some(threads), *aligned)?;
                Ok(if comes.is_some() {
                    Outcome::Done
                } else {
                    Outcome::Waits
                })
            }
            Synchronise::Warp { mask } => {
                let frame = self.warp.strands[strand].frame;
                let masks = self.values(frame, mask);
                let needed =
                    lanes_of(active).fold(0, |all, lane| all | masks.values[lane as usize] as u32);
                Ok(if self.gathers(strand, active, needed & self.warp.live()) {
                    Outcome::Done
                } else {
                    Outcome::Waits
                })
            }
            Synchronise::ClusterArrive { releases } => {
                if active != 0 {
                    self.warp.at_cluster |= active;
                    let warp = self.agent();
                    let (agent, _) = self.order.warp(warp);
                    for cta in self.ctas.iter_mut() {
                        if let Some(visit) = cta.visits.get_mut(&agent) {
                            visit.barrier = Passage::Came;
                        }
                    }
                    self.order.comes_to_cluster(warp, *releases);
                }
                Ok(Outcome::Done)
            }
            Synchronise::ClusterWait => {
                // Who came in a phase that is over has nothing to wait for.
                if self.warp.at_cluster & active == 0 {
                    self.ctas[self.rank].passes_cluster();
                    return Ok(Outcome::Done);
                }
                self.warp.strands[strand].state = State::AtCluster;
                Ok(Outcome::Waits)
            }
            Synchronise::Fence(fence) => {
                if active != 0 {
                    match fence {
                        &Fence::Threads {
                            releases,
                            acquires,
                            scope,
                        } => {
                            let what = (releases, acquires);
                            self.order.fence(self.agent(), what, scope);
                            if acquires {
                                self.warp.paths.clear();
                            }
                        }
                        Fence::Proxies(memories) => self.order.fence_proxy(self.agent(), memories),
                        Fence::Maps { acquired, scope } => {
                            let frame = self.warp.strands[strand].frame;
                            self.fence_maps(frame, active, acquired.as_ref(), *scope)?;
                        }
                        Fence::Nothing => {}
                    }
                }
                Ok(Outcome::Done)
            }
        }
    }

    /// Lanes come to a barrier and are counted: its number, or nothing while others of the warp must come first.
    fn comes(
        &mut self,
        strand: usize,
        active: u32,
        barrier: &Source,
        threads: Option<&Source>,
        aligned: bool,
    ) -> Result<Option<u32>, Fault> {
        if active == 0 {
            return Ok(Some(0));
        }
        if aligned && !self.gathers(strand, active, self.warp.live()) {
            return Ok(None);
        }
        let frame = self.warp.strands[strand].frame;
        let first = active.trailing_zeros();
        let refuse = |reason: String| Fault {
            kind: FindingKind::Refused { reason },
            lane: first,
        };
        let number = self.values(frame, barrier).values[first as usize] as u32;
        let Some(own) = self.ctas[self.rank].barriers.get(number as usize).copied() else {
            return Err(refuse(format!(
                "a CTA has the barriers 0 to 15, and none {number}"
            )));
        };
        let expected =
            threads.map(|threads| self.values(frame, threads).values[first as usize] as u32);
        if expected.is_some_and(|threads| threads == 0 || !threads.is_multiple_of(32)) {
            return Err(refuse("a barrier's threads are a multiple of 32".into()));
        }
        if own.arrived > 0 && own.expected != expected {
            return Err(refuse(format!(
                "barrier {number} is waited for with different numbers of threads"
            )));
        }
        let barrier = &mut self.ctas[self.rank].barriers[number as usize];
        barrier.expected = expected;
        // A warp is counted whole, lanes that have come to their end and those that never were among them.
        barrier.arrived += if expected.is_some() && aligned {
            32
        } else {
            active.count_ones()
        };
        self.order
            .comes_to_barrier(self.agent(), self.rank as u32, number);
        Ok(Some(number))
    }
}
