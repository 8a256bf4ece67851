//! A grid: clusters become resident, their warps take turns, barriers let warps go on.

use super::asynchronous::{Memories, Origin, Queue};
use super::context::{Barrier, Context, Cta, Fault};
use super::order::Order;
use super::random::Random;
use super::setup::{arguments, check_shape, clusters, load};
use super::shadow::Shadow;
use super::tensor_memory::Tensor;
use super::warp::Pending;
use super::{Frame, Lanes, State, Warp};
use crate::counts::Counts;
use crate::finding::{Finding, FindingKind};
use crate::instruction::{Action, Mbarrier, Synchronise};
use crate::launch::{Launch, LaunchError, Report};
use crate::memory::tensor::TensorMemory;
use crate::memory::{Bytes, Global};
use crate::program::Program;
use std::collections::BTreeMap;

/// Clusters that are executed at one time.
const RESIDENT: usize = 8;
/// Steps of a warp before another one's turn, at most.
const TURN: usize = 48;
/// How often all who wait for mbarriers may be told that their phases have not ended, with nothing happening between.
const TIMEOUTS: u32 = 64;

/// Launches a grid and executes it to its end.
///
/// # Errors
/// The grid cannot be launched. What is wrong with the kernel itself is in the report.
pub fn launch(
    program: &Program,
    memory: &mut Global,
    launch: &Launch,
) -> Result<Report, LaunchError> {
    let index = program
        .index(&launch.kernel)
        .filter(|&index| program.functions[index].is_kernel);
    let Some(kernel) = index else {
        let kernels = program.kernels().map(str::to_owned).collect();
        return Err(LaunchError::UnknownKernel {
            kernel: launch.kernel.clone(),
            kernels,
        });
    };
    check_shape(program, kernel, launch)?;
    let arguments = arguments(program, kernel, launch)?;
    let variables = load(program, memory)?;
    let clusters: Vec<[u32; 3]> = clusters(launch);
    let mut grid = Grid {
        program,
        kernel,
        launch,
        arguments,
        variables,
        memory,
        random: Random(launch.seed),
        waiting: clusters,
        resident: Vec::new(),
        launched: 0,
        shadow: launch.races.then(Shadow::default),
        timeouts: 0,
        report: Report::default(),
    };
    grid.run();
    Ok(grid.report)
}

/// CTAs that share a barrier and each other's memory.
struct Cluster {
    ctas: Vec<Cta>,
    /// Of each CTA. A warp at work is taken out meanwhile.
    warps: Vec<Vec<Warp>>,
    /// Work that is not done.
    queue: Queue,
    order: Order,
}

impl Cluster {
    fn is_live(&self) -> bool {
        self.warps.iter().flatten().any(|warp| warp.live() != 0)
    }
}

struct Grid<'g> {
    program: &'g Program,
    kernel: usize,
    launch: &'g Launch,
    arguments: Bytes,
    variables: Vec<u64>,
    memory: &'g mut Global,
    random: Random,
    /// The first CTAs of clusters that are not resident yet.
    waiting: Vec<[u32; 3]>,
    resident: Vec<Cluster>,
    /// Clusters so far.
    launched: u32,
    /// Who accessed global memory.
    shadow: Option<Shadow>,
    /// Rounds of answers that phases have not ended, since anything happened.
    timeouts: u32,
    report: Report,
}

impl Grid<'_> {
    fn run(&mut self) {
        loop {
            while self.resident.len() < RESIDENT && !self.waiting.is_empty() {
                let next = self.random.below(self.waiting.len());
                let first = self.waiting.swap_remove(next);
                let cluster = self.cluster(first);
                self.launched += 1;
                self.resident.push(cluster);
            }
            let ready = self.ready();
            if ready.is_empty() {
                if self.advance() {
                    continue;
                }
                self.retire();
                if self.resident.is_empty() && self.waiting.is_empty() {
                    self.report.completed = true;
                    return;
                }
                if self.resident.len() < RESIDENT && !self.waiting.is_empty() {
                    continue;
                }
                self.timeouts += 1;
                if self.timeouts > TIMEOUTS || !self.time_out() {
                    self.deadlock();
                    return;
                }
                continue;
            }
            // Asynchronous work mostly waits until nothing else goes on.
            if self.random.below(32) == 0 {
                self.advance();
            }
            let (cluster, cta, warp) = ready[self.random.below(ready.len())];
            if !self.turn(cluster, cta, warp) {
                return;
            }
            self.release(cluster);
            self.wake(cluster);
        }
    }

    /// Does one work that somebody sleeps for; whether there was one.
    fn advance(&mut self) -> bool {
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
            shadow: self.shadow.as_mut(),
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

    /// Lets strands look again whose mbarrier's phase has ended, or for whom there is tensor memory.
    fn wake(&mut self, cluster: usize) {
        let Cluster { ctas, warps, .. } = &mut self.resident[cluster];
        let strands = warps.iter_mut().enumerate().flat_map(|(rank, warps)| {
            let strands = warps.iter_mut().flat_map(|warp| &mut warp.strands);
            strands.map(move |strand| (rank, strand))
        });
        for (rank, strand) in strands {
            if let State::AtAllocation { columns } = strand.state
                && ctas[rank].tensor.memory.has_room(columns)
            {
                strand.state = State::Ready;
                self.timeouts = 0;
            }
            if let State::AtMbarrier { rank, place, phase } = strand.state {
                let object = ctas[rank as usize].mbarriers.get(&place);
                if object.is_none_or(|object| object.phase() != phase) {
                    strand.state = State::Ready;
                    self.timeouts = 0;
                }
            }
        }
    }

    /// Tells all who wait for mbarriers that their phases have not ended; whether there are any.
    fn time_out(&mut self) -> bool {
        let mut any = false;
        for warp in self
            .resident
            .iter_mut()
            .flat_map(|cluster| &mut cluster.warps)
            .flatten()
        {
            for strand in 0..warp.strands.len() {
                if matches!(warp.strands[strand].state, State::AtMbarrier { .. }) {
                    not_yet(self.program, warp, strand);
                    any = true;
                }
            }
        }
        any
    }

    fn report_late(&mut self, cluster: usize, origin: Origin, kind: FindingKind) {
        let found = Finding {
            kind,
            function: self.program.functions[origin.function].name.clone(),
            place: origin.place,
            cta: self.resident[cluster].ctas[origin.rank as usize].id,
            warp: origin.warp,
            lane: origin.lane,
        };
        self.report.add(found);
    }

    /// The warps that can go on: cluster, CTA, warp.
    fn ready(&self) -> Vec<(usize, usize, usize)> {
        let mut ready = Vec::new();
        for (c, cluster) in self.resident.iter().enumerate() {
            for (b, warps) in cluster.warps.iter().enumerate() {
                for (w, warp) in warps.iter().enumerate() {
                    if warp
                        .strands
                        .iter()
                        .any(|strand| strand.state == State::Ready)
                    {
                        ready.push((c, b, w));
                    }
                }
            }
        }
        ready
    }

    /// A warp goes on for some steps. Whether the grid does.
    fn turn(&mut self, cluster: usize, cta: usize, warp: usize) -> bool {
        let steps = 1 + self.random.below(TURN);
        let Cluster {
            ctas,
            warps,
            queue,
            order,
        } = &mut self.resident[cluster];
        let id = ctas[cta].id;
        let ids: Vec<[u32; 3]> = ctas.iter().map(|cta| cta.id).collect();
        let mut context = Context {
            program: self.program,
            launch: self.launch,
            variables: &self.variables,
            arguments: &self.arguments,
            memory: self.memory,
            ctas,
            rank: cta,
            warp: &mut warps[cta][warp],
            queue,
            order,
            shadow: self.shadow.as_mut(),
            random: &mut self.random,
            clock: self.report.instructions,
            place: Default::default(),
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
            let function = &self.program.functions[context.warp.frame(at.frame).function];
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
                    function: self.program.functions[origin.function].name.clone(),
                    place: origin.place,
                    cta: ids[origin.rank as usize],
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
            if self.report.instructions > self.launch.step_limit {
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

    /// Lets warps go on whose barriers are full.
    fn release(&mut self, cluster: usize) {
        let program = self.program;
        let Cluster {
            ctas, warps, order, ..
        } = &mut self.resident[cluster];
        let each = warps.first().map_or(0, Vec::len) as u32;
        for (rank, (cta, warps)) in ctas.iter_mut().zip(warps.iter_mut()).enumerate() {
            let live: u32 = warps.iter().map(|warp| warp.live().count_ones()).sum();
            cta.has_ended = live == 0;
            for (number, barrier) in cta.barriers.iter_mut().enumerate() {
                if barrier.arrived == 0 || barrier.arrived < barrier.expected.unwrap_or(live) {
                    continue;
                }
                self.timeouts = 0;
                let votes = std::mem::take(barrier).votes;
                let barrier = number as u32;
                let known = order.at_barrier(rank as u32, barrier);
                for warp in warps.iter_mut() {
                    for strand in 0..warp.strands.len() {
                        if warp.strands[strand].state == (State::AtBarrier { barrier }) {
                            order.goes_on(rank as u32 * each + warp.index, &known);
                            pass(program, warp, strand, votes);
                        }
                    }
                }
            }
        }
        let missing = |warp: &Warp| warp.live() & !warp.at_cluster != 0;
        let came = warps.iter().flatten().any(|warp| warp.at_cluster != 0);
        if !came || warps.iter().flatten().any(missing) {
            return;
        }
        // All have come: those that wait go on, and who comes to wait later has nothing to wait for.
        self.timeouts = 0;
        let known = order.at_cluster();
        for (number, warp) in warps.iter_mut().flatten().enumerate() {
            warp.at_cluster = 0;
            order.goes_on(number as u32, &known);
            for strand in &mut warp.strands {
                if strand.state == State::AtCluster {
                    strand.state = State::Ready;
                    strand.step += 1;
                }
            }
        }
    }

    /// Every warp waits: what the first one waits for; one that waits for an mbarrier, if one does, since others mostly wait
    /// for it.
    fn deadlock(&mut self) {
        let all = self.resident.iter().flat_map(|cluster| {
            let ctas = cluster.ctas.iter().zip(&cluster.warps);
            ctas.flat_map(|(cta, warps)| warps.iter().map(move |warp| (cta, warp)))
        });
        let strands = all.flat_map(|(cta, warp)| warp.strands.iter().map(move |s| (cta, warp, s)));
        let is_first = |(_, _, strand): &(&Cta, &Warp, &super::Strand)| {
            !matches!(strand.state, State::AtMbarrier { .. })
        };
        let Some((cta, warp, strand)) = strands.min_by_key(is_first) else {
            return;
        };
        let what = |what| FindingKind::Deadlock { what };
        let kind = match strand.state {
            State::AtBarrier { .. } => what("a barrier"),
            State::AtCluster => what("the cluster's barrier"),
            State::AtMbarrier { .. } => what("an mbarrier's phase"),
            State::AtAllocation { .. } => what("columns of tensor memory"),
            State::Gathering { needed } => FindingKind::Divergence {
                found: strand.lanes,
                expected: needed,
            },
            State::Ready => what("nothing"),
        };
        let function = &self.program.functions[warp.frame(strand.frame).function];
        let step = function.steps.get(strand.step);
        let found = Finding {
            kind,
            function: function.name.clone(),
            place: step.map_or_else(Default::default, |step| step.place),
            cta: cta.id,
            warp: warp.index,
            lane: strand.lanes.trailing_zeros(),
        };
        self.report.findings.push(found);
    }

    /// The cluster whose first CTA is at a place.
    fn cluster(&self, first: [u32; 3]) -> Cluster {
        let [x, y, z] = self.launch.cluster;
        let ids = (0..z).flat_map(|k| (0..y).flat_map(move |j| (0..x).map(move |i| [i, j, k])));
        let shared = self.program.dynamic_shared + self.launch.dynamic_shared;
        let ctas: Vec<Cta> = ids
            .map(|own| Cta {
                id: std::array::from_fn(|i| first[i] + own[i]),
                shared: Bytes::unwritten(shared as usize),
                counts: Counts::default(),
                barriers: [Barrier::default(); 16],
                mbarriers: BTreeMap::new(),
                shadow: Shadow::default(),
                tensor: Tensor {
                    memory: TensorMemory::new(self.launch.seed & 1 == 1),
                    ..Tensor::default()
                },
                has_ended: false,
            })
            .collect();
        let warps: Vec<Vec<Warp>> = ctas.iter().map(|_| self.warps()).collect();
        let count = warps.iter().map(Vec::len).sum::<usize>() as u32;
        Cluster {
            ctas,
            warps,
            queue: Queue::default(),
            order: Order::new(self.launched, count),
        }
    }

    fn warps(&self) -> Vec<Warp> {
        let threads: u32 = self.launch.block.iter().product();
        let function = &self.program.functions[self.kernel];
        (0..threads.div_ceil(32))
            .map(|index| {
                let lanes = u32::MAX >> (32 - (threads - index * 32).min(32));
                let mut warp = Warp::new(
                    index,
                    lanes,
                    Frame::new(self.kernel, function, None, lanes, 0),
                );
                for local in &mut warp.local {
                    local.grow(function.local_bytes as usize);
                }
                warp
            })
            .collect()
    }
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
            .set(destination, at.lanes, &super::Lanes::splat(value));
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
