//! A wave: clusters that are resident together, whose warps take turns until all have ended.

mod cluster;
mod waits;

use super::State;
use super::asynchronous::{Memories, Origin};
use super::context::{Context, Fault};
use super::random::Random;
use super::shadow::Shadow;
use super::warp::Pending;
use crate::finding::{Finding, FindingKind};
use crate::launch::{Launch, Report};
use crate::memory::{Bytes, View};
use crate::program::Program;
use cluster::Cluster;

/// Steps of a warp before another one's turn, at most.
const TURN: usize = 48;
/// How often all who wait for mbarriers may be told that their phases have not ended, with nothing happening between.
const TIMEOUTS: u32 = 64;

/// What every wave of a grid is executed with.
pub(super) struct Setting<'g> {
    pub program: &'g Program,
    pub kernel: usize,
    pub launch: &'g Launch,
    pub arguments: Bytes,
    pub variables: Vec<u64>,
}

/// Clusters at work.
pub(super) struct Wave<'w> {
    setting: &'w Setting<'w>,
    memory: &'w mut View,
    /// Who accessed global memory.
    shadow: Option<&'w mut Shadow>,
    random: Random,
    resident: Vec<Cluster>,
    /// Instructions after which it is held to run for ever.
    limit: u64,
    /// Rounds of answers that phases have not ended, since anything happened.
    timeouts: u32,
    /// Warps that can go on, made anew for each turn.
    ready: Vec<(usize, usize, usize)>,
    report: Report,
}

impl<'w> Wave<'w> {
    /// Of clusters, by their first CTAs; `number` is the first one's among all of the grid.
    pub fn new(
        setting: &'w Setting<'w>,
        memory: &'w mut View,
        shadow: Option<&'w mut Shadow>,
        (number, clusters): (u32, &[[u32; 3]]),
        limit: u64,
    ) -> Self {
        // Each wave draws by itself: what it does depends on no other's turns.
        let mut seed = Random(setting.launch.seed ^ u64::from(number) << 32);
        let resident = clusters.iter().zip(number..);
        Self {
            setting,
            memory,
            shadow,
            random: Random(seed.next()),
            resident: resident
                .map(|(&first, number)| Cluster::new(setting, first, number))
                .collect(),
            limit,
            timeouts: 0,
            ready: Vec::new(),
            report: Report::default(),
        }
    }

    /// Executes all to their end, or to what ends the grid.
    pub fn run(mut self) -> Report {
        loop {
            self.find_ready();
            if self.ready.is_empty() {
                if self.advance() {
                    continue;
                }
                self.retire();
                if self.resident.is_empty() {
                    self.report.completed = true;
                    return self.report;
                }
                self.timeouts += 1;
                if self.timeouts > TIMEOUTS || !self.time_out() {
                    self.deadlock();
                    return self.report;
                }
                continue;
            }
            // Asynchronous work mostly waits until nothing else goes on.
            if self.random.below(32) == 0 {
                self.advance();
            }
            let (cluster, cta, warp) = self.ready[self.random.below(self.ready.len())];
            if !self.turn(cluster, cta, warp) {
                return self.report;
            }
            self.release(cluster);
            self.wake(cluster);
        }
    }

    /// Does some works of a cluster.
    fn finish(&mut self, cluster: usize, works: Vec<u64>) {
        let mut found = Vec::new();
        let Cluster {
            ctas, queue, order, ..
        } = &mut self.resident[cluster];
        let mut memories = Memories {
            memory: self.memory,
            ctas,
            queue,
            order,
            shadow: self.shadow.as_deref_mut(),
            random: &mut self.random,
            warp: None,
            found: &mut found,
        };
        memories.finish(works);
        for (origin, kind) in found {
            self.report_late(cluster, origin, kind);
        }
    }

    /// Ends clusters all of whose threads have ended, with the work that is left.
    fn retire(&mut self) {
        let mut cluster = 0;
        while cluster < self.resident.len() {
            if self.resident[cluster].is_live() {
                cluster += 1;
                continue;
            }
            let (works, unfinished) = self.resident[cluster].queue.rest();
            for origin in unfinished {
                self.report_late(cluster, origin, FindingKind::Unfinished);
            }
            self.finish(cluster, works);
            self.check_tensor_memory(cluster);
            for cta in self.resident.swap_remove(cluster).ctas {
                self.report.counts.add(&cta.counts);
            }
            self.timeouts = 0;
        }
    }

    /// What is left in tensor memory, or on the way to it, at a cluster's end.
    fn check_tensor_memory(&mut self, cluster: usize) {
        let Cluster { ctas, warps, .. } = &mut self.resident[cluster];
        let mut found = Vec::new();
        for cta in ctas.iter_mut() {
            found.extend(cta.tensor.left_over());
        }
        for warp in warps.iter().flatten() {
            let pending = warp.pending.iter().map(Pending::origin);
            found.extend(
                pending.map(|origin| (origin, "is accessed by what nobody waited for".into())),
            );
        }
        for (origin, reason) in found {
            self.report_late(cluster, origin, FindingKind::TensorMemory { reason });
        }
    }

    fn report_late(&mut self, cluster: usize, origin: Origin, kind: FindingKind) {
        let found = Finding {
            kind,
            function: self.setting.program.functions[origin.function].name.clone(),
            place: origin.place,
            cta: self.resident[cluster].ctas[origin.rank as usize].id,
            warp: origin.warp,
            lane: origin.lane,
        };
        self.report.add(found);
    }

    /// Finds the warps that can go on: cluster, CTA, warp.
    fn find_ready(&mut self) {
        self.ready.clear();
        for (c, cluster) in self.resident.iter().enumerate() {
            for (b, warps) in cluster.warps.iter().enumerate() {
                for (w, warp) in warps.iter().enumerate() {
                    let mut strands = warp.strands.iter();
                    if strands.any(|strand| strand.state == State::Ready) {
                        self.ready.push((c, b, w));
                    }
                }
            }
        }
    }

    /// A warp goes on for some steps. Whether the wave does.
    fn turn(&mut self, cluster: usize, cta: usize, warp: usize) -> bool {
        let steps = 1 + self.random.below(TURN);
        let Cluster {
            ctas,
            warps,
            queue,
            order,
        } = &mut self.resident[cluster];
        let id = ctas[cta].id;
        let mut context = Context {
            program: self.setting.program,
            launch: self.setting.launch,
            variables: &self.setting.variables,
            arguments: &self.setting.arguments,
            memory: self.memory,
            ctas,
            rank: cta,
            warp: &mut warps[cta][warp],
            queue,
            order,
            shadow: self.shadow.as_deref_mut(),
            random: &mut self.random,
            clock: self.report.instructions,
            place: Default::default(),
            along: 0,
            found: Vec::new(),
            early: Default::default(),
            late: Vec::new(),
        };
        for _ in 0..steps {
            // One time of eight a strand that is not the furthest behind: none may need that it waits.
            let draw = context.random.next();
            let any = draw.is_multiple_of(8).then_some((draw >> 8) as usize);
            let Some(strand) = context.warp.next(any) else {
                break;
            };
            let at = context.warp.strands[strand];
            let function = &self.setting.program.functions[context.warp.frame(at.frame).function];
            let place = function
                .steps
                .get(at.step)
                .map_or_else(Default::default, |step| step.place);
            let name = &function.name;
            let outcome = context.step(strand);
            context.clock += 1;
            self.report.instructions += 1;
            let index = context.warp.index;
            let report = |to: &mut Report, fault: Fault| {
                let found = Finding {
                    kind: fault.kind,
                    function: name.clone(),
                    place,
                    cta: id,
                    warp: index,
                    lane: fault.lane,
                };
                to.add(found);
            };
            for fault in context.found.drain(..) {
                report(&mut self.report, fault);
            }
            for (origin, kind) in context.late.drain(..) {
                self.report.add(Finding {
                    kind,
                    function: self.setting.program.functions[origin.function].name.clone(),
                    place: origin.place,
                    cta: context.ctas[origin.rank as usize].id,
                    warp: origin.warp,
                    lane: origin.lane,
                });
            }
            match outcome {
                Ok(lanes) => self.report.lane_instructions += u64::from(lanes),
                Err(fault) => {
                    report(&mut self.report, fault);
                    return false;
                }
            }
            if self.report.instructions > self.limit {
                let fault = Fault {
                    kind: FindingKind::StepLimit,
                    lane: at.lanes.trailing_zeros(),
                };
                report(&mut self.report, fault);
                return false;
            }
            if context.warp.strands.len() > 1 {
                context.warp.merge();
            }
        }
        for cta in context.ctas {
            self.report.counts.add(&std::mem::take(&mut cta.counts));
        }
        true
    }
}
