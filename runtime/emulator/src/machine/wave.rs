//! A wave: clusters that are resident together, whose warps take turns until all have ended.

mod cluster;
mod waits;

use super::State;
use super::asynchronous::{Memories, Origin};
use super::context::{Context, Fault};
use super::kept::KeptFragments;
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

impl Setting<'_> {
    pub fn kernel_name(&self) -> &str {
        &self.program.functions[self.kernel].name
    }
}

/// Clusters at work.
pub(super) struct Wave<'w> {
    setting: &'w Setting<'w>,
    memory: &'w mut View,
    /// Who accessed global memory.
    shadow: Option<&'w mut Shadow>,
    random: Random,
    fragments: KeptFragments,
    resident: Vec<Cluster>,
    /// Instructions after which it is held to run for ever.
    limit: u64,
    /// Rounds of answers that phases have not ended, since anything happened.
    timeouts: u32,
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
            fragments: KeptFragments::default(),
            resident: resident
                .map(|(&first, number)| Cluster::new(setting, first, number))
                .collect(),
            limit,
            timeouts: 0,
            report: Report::default(),
        }
    }

    /// Executes all to their end, or to what ends the grid.
    pub fn run(mut self) -> Report {
        self.report.completed = self.goes_to_the_end();
        for cluster in &self.resident {
            for cta in &cluster.ctas {
                self.report.counts.add(&cta.counts);
            }
        }
        self.report
    }

    /// Whether all come to their end.
    fn goes_to_the_end(&mut self) -> bool {
        loop {
            let ready = self.resident.iter().map(Cluster::ready).sum();
            if ready == 0 {
                if self.advance() {
                    continue;
                }
                self.retire();
                if self.resident.is_empty() {
                    return true;
                }
                self.timeouts += 1;
                if self.timeouts > TIMEOUTS || !self.time_out() {
                    self.deadlock();
                    return false;
                }
                continue;
            }
            // Asynchronous work mostly waits until nothing else goes on.
            if self.random.below(32) == 0 {
                self.advance();
            }
            let number = self.random.below(ready);
            let Some((cluster, cta, warp)) = self.ready(number) else {
                continue;
            };
            if !self.turn(cluster, cta, warp) {
                return false;
            }
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
            kernel: self.setting.kernel_name().to_owned(),
            function: self.setting.program.functions[origin.function].name.clone(),
            place: origin.place,
            cta: self.resident[cluster].ctas[origin.rank as usize].id,
            warp: origin.warp,
            lane: origin.lane,
        };
        self.report.add(found);
    }

    /// A warp that can go on by its number among them: cluster, CTA, warp.
    fn ready(&self, mut number: usize) -> Option<(usize, usize, usize)> {
        for (index, cluster) in self.resident.iter().enumerate() {
            let count = cluster.ready();
            if number < count {
                let (cta, warp) = cluster.nth_ready(number)?;
                return Some((index, cta, warp));
            }
            number -= count;
        }
        None
    }

    /// A warp goes on for some steps. Whether the wave does.
    fn turn(&mut self, cluster: usize, cta: usize, warp: usize) -> bool {
        let steps = 1 + self.random.below(TURN);
        let before = self.resident[cluster].warps[cta][warp].live();
        if !self.steps(cluster, cta, warp, steps) {
            return false;
        }
        let own = &mut self.resident[cluster];
        own.look_at(cta, warp);
        let went = &own.warps[cta][warp];
        let sleeps = |state| matches!(state, State::AtMbarrier { .. } | State::AtAllocation { .. });
        own.has_sleepers |= went.strands.iter().any(|strand| sleeps(strand.state));
        // Nobody else came to a barrier, and for nobody else's end a barrier waits.
        let comes = went.at_cluster != 0
            || own.ctas[cta].barriers.iter().any(|one| one.arrived != 0)
            || went.live() != before;
        if comes {
            self.release(cluster);
        }
        self.wake(cluster);
        true
    }

    /// A warp goes on for so many steps, or until it waits. Whether the wave does.
    fn steps(&mut self, cluster: usize, cta: usize, warp: usize, steps: usize) -> bool {
        let program = self.setting.program;
        let Cluster {
            ctas,
            warps,
            queue,
            order,
            ..
        } = &mut self.resident[cluster];
        let id = ctas[cta].id;
        let mut context = Context {
            program,
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
            fragments: &mut self.fragments,
            clock: self.report.instructions,
            function: 0,
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
            let function = context.warp.frame(at.frame).function;
            let outcome = context.step(strand);
            context.clock += 1;
            self.report.instructions += 1;
            let fault = match outcome {
                Ok(lanes) => {
                    self.report.lane_instructions += u64::from(lanes);
                    None
                }
                Err(fault) => Some(fault),
            };
            let fault = fault.or((self.report.instructions > self.limit).then_some(Fault {
                kind: FindingKind::StepLimit,
                lane: at.lanes.trailing_zeros(),
            }));
            let ends = fault.is_some();
            if ends || !context.found.is_empty() {
                let function = &program.functions[function];
                let step = function.steps.get(at.step);
                let place = step.map_or_else(Default::default, |step| step.place);
                for fault in context.found.drain(..).chain(fault) {
                    self.report.add(Finding {
                        kind: fault.kind,
                        kernel: self.setting.kernel_name().to_owned(),
                        function: function.name.clone(),
                        place,
                        cta: id,
                        warp: context.warp.index,
                        lane: fault.lane,
                    });
                }
            }
            for (origin, kind) in context.late.drain(..) {
                self.report.add(Finding {
                    kind,
                    kernel: self.setting.kernel_name().to_owned(),
                    function: program.functions[origin.function].name.clone(),
                    place: origin.place,
                    cta: context.ctas[origin.rank as usize].id,
                    warp: origin.warp,
                    lane: origin.lane,
                });
            }
            if ends {
                return false;
            }
            if context.warp.strands.len() > 1 {
                context.warp.merge();
            }
        }
        true
    }
}
