//! What strands of a wave wait for, and how they go on: barriers, phases of mbarriers, columns of tensor memory.

use super::super::asynchronous::Origin;
use super::super::context::{Cta, Passage};
use super::super::order::Order;
use super::super::{Lanes, State, Strand, Warp};
use super::{Cluster, Wave};
use crate::finding::{Awaited, Finding, FindingKind};
use crate::instruction::{Action, Mbarrier, Synchronise};
use crate::program::Program;
use std::ops::Range;

impl Wave<'_> {
    /// Does one work that somebody sleeps for; whether there was one.
    pub(super) fn advance(&mut self) -> bool {
        let mut needed = Vec::new();
        for (c, cluster) in self.resident.iter().enumerate() {
            if cluster.queue.is_empty() {
                continue;
            }
            for strand in cluster
                .warps
                .iter()
                .flatten()
                .flat_map(|warp| &warp.strands)
            {
                if let State::AtMbarrier { rank, place, .. } = strand.state {
                    let works = cluster.queue.at_barrier(rank, place);
                    needed.extend(works.into_iter().map(|work| (c, work)));
                }
            }
        }
        if needed.is_empty() {
            return false;
        }
        let (cluster, work) = needed[self.random.below(needed.len())];
        self.finish(cluster, vec![work]);
        self.wake(cluster);
        true
    }

    /// Lets strands look again whose mbarrier's phase has ended, or for whom there is tensor memory.
    pub(super) fn wake(&mut self, cluster: usize) {
        let own = &mut self.resident[cluster];
        if !own.has_sleepers {
            return;
        }
        own.has_sleepers = false;
        let Cluster {
            ctas,
            warps,
            has_sleepers,
            ..
        } = own;
        let strands = warps.iter_mut().enumerate().flat_map(|(rank, warps)| {
            let strands = warps.iter_mut().flat_map(|warp| &mut warp.strands);
            strands.map(move |strand| (rank, strand))
        });
        for (rank, strand) in strands {
            let wakes = match strand.state {
                State::AtAllocation { columns } => ctas[rank].tensor.memory.has_room(columns),
                State::AtMbarrier { rank, place, phase } => {
                    let object = ctas[rank as usize].mbarriers.get(&place);
                    object.is_none_or(|object| object.phase() != phase)
                }
                _ => continue,
            };
            if wakes {
                strand.state = State::Ready;
                self.timeouts = 0;
            } else {
                *has_sleepers = true;
            }
        }
        own.look();
    }

    /// Tells all who wait for mbarriers that their phases have not ended; whether there are any.
    pub(super) fn time_out(&mut self) -> bool {
        let mut any = false;
        for cluster in &mut self.resident {
            for warp in cluster.warps.iter_mut().flatten() {
                for strand in 0..warp.strands.len() {
                    if matches!(warp.strands[strand].state, State::AtMbarrier { .. }) {
                        not_yet(self.setting.program, warp, strand);
                        any = true;
                    }
                }
            }
            cluster.look();
        }
        any
    }

    /// Lets warps go on whose barriers are full.
    pub(super) fn release(&mut self, cluster: usize) {
        let program = self.setting.program;
        let Cluster {
            ctas, warps, order, ..
        } = &mut self.resident[cluster];
        let each = warps.first().map_or(0, Vec::len) as u32;
        let mut goes_on = false;
        let mut found = Vec::new();
        for (rank, (cta, warps)) in ctas.iter_mut().zip(warps.iter_mut()).enumerate() {
            let live: u32 = warps.iter().map(|warp| warp.live().count_ones()).sum();
            if live == 0 && !cta.has_ended {
                cta.has_ended = true;
                let all = rank as u32 * each..(rank as u32 + 1) * each;
                found.extend(unawaited(cta, all, order));
            }
            for (number, barrier) in cta.barriers.iter_mut().enumerate() {
                if barrier.arrived == 0 || barrier.arrived < barrier.expected.unwrap_or(live) {
                    continue;
                }
                self.timeouts = 0;
                goes_on = true;
                let votes = std::mem::take(barrier).votes;
                let barrier = number as u32;
                let known = order.at_barrier(rank as u32, barrier);
                for warp in warps.iter_mut() {
                    for strand in 0..warp.strands.len() {
                        if warp.strands[strand].state == (State::AtBarrier { barrier }) {
                            order.goes_on(rank as u32 * each + warp.index, &known);
                            warp.paths.clear();
                            pass(program, warp, strand, votes);
                        }
                    }
                }
            }
        }
        for (origin, kind) in found {
            self.report_late(cluster, origin, kind);
        }
        let Cluster {
            ctas, warps, order, ..
        } = &mut self.resident[cluster];
        let missing = |warp: &Warp| warp.live() & !warp.at_cluster != 0;
        let came = warps.iter().flatten().any(|warp| warp.at_cluster != 0);
        if !came || warps.iter().flatten().any(missing) {
            if goes_on {
                self.resident[cluster].look();
            }
            return;
        }
        // All have come: those that wait go on, and who comes to wait later has nothing to wait for.
        self.timeouts = 0;
        let known = order.at_cluster();
        for (cta, warps) in ctas.iter_mut().zip(warps.iter()) {
            for visit in cta.visits.values_mut() {
                if visit.barrier == Passage::Came {
                    visit.barrier = Passage::Full;
                }
            }
            let mut strands = warps.iter().flat_map(|warp| &warp.strands);
            if strands.any(|strand| strand.state == State::AtCluster) {
                cta.passes_cluster();
            }
        }
        for (number, warp) in warps.iter_mut().flatten().enumerate() {
            warp.at_cluster = 0;
            warp.paths.clear();
            order.goes_on(number as u32, &known);
            for strand in &mut warp.strands {
                if strand.state == State::AtCluster {
                    strand.state = State::Ready;
                    strand.step += 1;
                }
            }
        }
        self.resident[cluster].look();
    }

    /// Every warp waits: what each waits for, what several wait for at one line once. First who waits for an mbarrier, since
    /// others mostly wait for it, and of these who waits for one that lacks nothing but bytes, which no warp brings; then who
    /// waits for lanes of its own, for which others at a barrier wait.
    pub(super) fn deadlock(&mut self) {
        let mut waits = Vec::new();
        for cluster in &self.resident {
            for (cta, warps) in cluster.ctas.iter().zip(&cluster.warps) {
                for warp in warps {
                    let strands = warp.strands.iter();
                    waits.extend(strands.map(|strand| {
                        let kind = awaited(cluster, (cta, warps), strand);
                        self.wait(cta, warp, strand, kind)
                    }));
                }
            }
        }
        let turn = |wait: &Finding| match wait.kind {
            FindingKind::Deadlock {
                what: Awaited::Mbarrier { arrivals: 0, .. },
            } => 0,
            FindingKind::Deadlock {
                what: Awaited::Mbarrier { .. },
            } => 1,
            FindingKind::Divergence { .. } => 2,
            _ => 3,
        };
        waits.sort_by_key(turn);
        for wait in waits {
            self.report.add(wait);
        }
    }

    fn wait(&self, cta: &Cta, warp: &Warp, strand: &Strand, kind: FindingKind) -> Finding {
        let function = &self.setting.program.functions[warp.frame(strand.frame).function];
        let step = function.steps.get(strand.step);
        Finding {
            kind,
            kernel: self.setting.kernel_name().to_owned(),
            function: function.name.clone(),
            place: step.map_or_else(Default::default, |step| step.place),
            cta: cta.id,
            warp: warp.index,
            lane: strand.lanes.trailing_zeros(),
        }
    }
}

/// What a strand of a CTA's waits for, and nothing brings.
fn awaited(cluster: &Cluster, (cta, warps): (&Cta, &[Warp]), strand: &Strand) -> FindingKind {
    let what = match strand.state {
        State::AtBarrier { barrier } => {
            let own = cta.barriers[barrier as usize];
            let live = || warps.iter().map(|warp| warp.live().count_ones()).sum();
            Awaited::Barrier {
                number: barrier,
                arrived: own.arrived,
                expected: own.expected.unwrap_or_else(live),
            }
        }
        State::AtCluster => Awaited::Cluster,
        State::AtMbarrier { rank, place, phase } => {
            let object = cluster.ctas[rank as usize].mbarriers.get(&place);
            let (arrivals, bytes) = object.map_or((0, 0), |object| object.lacks());
            Awaited::Mbarrier {
                address: place,
                parity: (phase & 1) as u32,
                arrivals,
                bytes,
            }
        }
        State::AtAllocation { columns } => Awaited::TensorMemory { columns },
        State::Gathering { needed } => {
            return FindingKind::Divergence {
                found: strand.lanes,
                expected: needed,
            };
        }
        State::Ready => Awaited::Nothing,
    };
    FindingKind::Deadlock { what }
}

/// Accesses of a CTA's shared memory by others of which none of its own warps knew when it ended: it might have ended before.
fn unawaited(cta: &mut Cta, warps: Range<u32>, order: &Order) -> Vec<(Origin, FindingKind)> {
    let visits = std::mem::take(&mut cta.visits).into_iter();
    let unknown = visits.filter(|(agent, visit)| {
        !warps
            .clone()
            .any(|warp| order.knows(warp).covers(*agent, visit.clock))
    });
    let kind = |address| FindingKind::Ended {
        address,
        before: false,
    };
    unknown
        .map(|(_, visit)| (visit.origin, kind(visit.address)))
        .collect()
}

/// A strand goes on behind a barrier; of one that reduces, with its result.
fn pass(program: &Program, warp: &mut Warp, strand: usize, votes: (u32, u32)) {
    let at = warp.strands[strand];
    let step = &program.functions[warp.frame(at.frame).function].steps[at.step];
    if let Action::Synchronise(Synchronise::Barrier {
        reduction: Some(reduction),
        ..
    }) = &step.action
        && let Some(destination) = reduction.destination
    {
        let value = reduction.function.of(votes);
        warp.frame_mut(at.frame)
            .set(destination, at.lanes, &Lanes::splat(value));
    }
    warp.strands[strand].state = State::Ready;
    warp.strands[strand].step += 1;
}

/// A strand that waits for an mbarrier's phase goes on with the answer that it has not ended.
fn not_yet(program: &Program, warp: &mut Warp, strand: usize) {
    let at = warp.strands[strand];
    let step = &program.functions[warp.frame(at.frame).function].steps[at.step];
    if let Action::Mbarrier(mbarrier) = &step.action
        && let Mbarrier::Test(test) = &**mbarrier
        && let Some(destination) = test.destination
    {
        let lanes = match step.guard {
            Some((guard, negated)) => {
                let mask = warp.frame(at.frame).register(guard).mask();
                at.lanes & if negated { !mask } else { mask }
            }
            None => at.lanes,
        };
        warp.frame_mut(at.frame)
            .set(destination, lanes, &Lanes::splat(0));
    }
    warp.strands[strand].state = State::Ready;
    warp.strands[strand].step += 1;
}
