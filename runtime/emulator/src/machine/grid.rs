//! A grid: clusters become resident, their warps take turns, barriers let warps go on.

use super::context::{Barrier, Context, Cta, Fault};
use super::random::Random;
use super::{Frame, State, Warp};
use crate::finding::{Finding, FindingKind};
use crate::instruction::{Action, Synchronise};
use crate::launch::{Launch, LaunchError, Report};
use crate::memory::{Bytes, Global};
use crate::program::{Formal, Program};
use crate::ptx::{Initializer, Literal, ScalarType};

/// Clusters that are executed at one time.
const RESIDENT: usize = 8;
/// Steps of a warp before another one's turn, at most.
const TURN: usize = 48;
/// Threads of a CTA, at most (CUDA C++ Programming Guide, "Compute capabilities").
const THREADS: u32 = 1024;

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
    report: Report,
}

impl Grid<'_> {
    fn run(&mut self) {
        loop {
            while self.resident.len() < RESIDENT && !self.waiting.is_empty() {
                let next = self.random.below(self.waiting.len());
                let first = self.waiting.swap_remove(next);
                let cluster = self.cluster(first);
                self.resident.push(cluster);
            }
            let ready = self.ready();
            if ready.is_empty() {
                self.resident
                    .retain(|cluster| cluster.warps.iter().flatten().any(|warp| warp.live() != 0));
                if self.resident.is_empty() && self.waiting.is_empty() {
                    self.report.completed = true;
                    return;
                }
                if self.resident.len() < RESIDENT && !self.waiting.is_empty() {
                    continue;
                }
                self.deadlock();
                return;
            }
            let (cluster, cta, warp) = ready[self.random.below(ready.len())];
            if !self.turn(cluster, cta, warp) {
                return;
            }
            self.release(cluster);
        }
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
        let Cluster { ctas, warps } = &mut self.resident[cluster];
        let id = ctas[cta].id;
        let mut context = Context {
            program: self.program,
            launch: self.launch,
            variables: &self.variables,
            arguments: &self.arguments,
            memory: self.memory,
            ctas,
            rank: cta,
            warp: &mut warps[cta][warp],
            clock: self.report.instructions,
            found: Vec::new(),
        };
        for _ in 0..steps {
            // One time of eight a strand that is not the furthest behind: none may need that it waits.
            let draw = self.random.next();
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
            let mut report = |fault: Fault| {
                let found = Finding {
                    kind: fault.kind,
                    function: name.clone(),
                    place,
                    cta: id,
                    warp: index,
                    lane: fault.lane,
                };
                let same = |own: &Finding| {
                    own.place == found.place
                        && std::mem::discriminant(&own.kind) == std::mem::discriminant(&found.kind)
                };
                if !self.report.findings.iter().any(same) {
                    self.report.findings.push(found);
                }
            };
            for fault in context.found.drain(..) {
                report(fault);
            }
            match outcome {
                Ok(lanes) => self.report.lane_instructions += u64::from(lanes),
                Err(fault) => {
                    report(fault);
                    return false;
                }
            }
            if self.report.instructions > self.launch.step_limit {
                report(Fault {
                    kind: FindingKind::StepLimit,
                    lane: at.lanes.trailing_zeros(),
                });
                return false;
            }
            if context.warp.strands.len() > 1 {
                context.warp.merge();
            }
        }
        for cta in context.ctas {
            self.report.model_dependent += std::mem::take(&mut cta.model_dependent);
        }
        true
    }

    /// Lets warps go on whose barriers are full.
    fn release(&mut self, cluster: usize) {
        let program = self.program;
        let Cluster { ctas, warps } = &mut self.resident[cluster];
        for (cta, warps) in ctas.iter_mut().zip(warps.iter_mut()) {
            let live: u32 = warps.iter().map(|warp| warp.live().count_ones()).sum();
            for (number, barrier) in cta.barriers.iter_mut().enumerate() {
                if barrier.arrived == 0 || barrier.arrived < barrier.expected.unwrap_or(live) {
                    continue;
                }
                let votes = std::mem::take(barrier).votes;
                for warp in warps.iter_mut() {
                    for strand in 0..warp.strands.len() {
                        if warp.strands[strand].state
                            == (State::AtBarrier {
                                barrier: number as u32,
                            })
                        {
                            pass(program, warp, strand, votes);
                        }
                    }
                }
            }
        }
        let live: u32 = warps
            .iter()
            .flatten()
            .map(|warp| warp.live().count_ones())
            .sum();
        let arrived: u32 = ctas.iter().map(|cta| cta.cluster_arrived).sum();
        if arrived == 0 || arrived < live {
            return;
        }
        // All have come: those that wait go on, and who comes to wait later has nothing to wait for.
        let waits = |warp: &Warp| {
            warp.strands
                .iter()
                .filter(|strand| strand.state == State::AtCluster)
                .map(|s| s.lanes.count_ones())
                .sum::<u32>()
        };
        let waiting: u32 = warps.iter().flatten().map(waits).sum();
        if waiting < live {
            return;
        }
        ctas.iter_mut().for_each(|cta| cta.cluster_arrived = 0);
        for warp in warps.iter_mut().flatten() {
            for strand in &mut warp.strands {
                if strand.state == State::AtCluster {
                    strand.state = State::Ready;
                    strand.step += 1;
                }
            }
        }
    }

    /// Every warp waits: what the first one waits for.
    fn deadlock(&mut self) {
        for cluster in &self.resident {
            for (cta, warps) in cluster.ctas.iter().zip(&cluster.warps) {
                for warp in warps {
                    let Some(strand) = warp.strands.first() else {
                        continue;
                    };
                    let kind = match strand.state {
                        State::AtBarrier { .. } => FindingKind::Deadlock { what: "a barrier" },
                        State::AtCluster => FindingKind::Deadlock {
                            what: "the cluster's barrier",
                        },
                        State::Gathering { needed } => FindingKind::Divergence {
                            found: strand.lanes,
                            expected: needed,
                        },
                        State::Ready => continue,
                    };
                    let function = &self.program.functions[warp.frame(strand.frame).function];
                    self.report.findings.push(Finding {
                        kind,
                        function: function.name.clone(),
                        place: function
                            .steps
                            .get(strand.step)
                            .map_or_else(Default::default, |step| step.place),
                        cta: cta.id,
                        warp: warp.index,
                        lane: strand.lanes.trailing_zeros(),
                    });
                    return;
                }
            }
        }
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
                model_dependent: 0,
                barriers: [Barrier::default(); 16],
                cluster_arrived: 0,
            })
            .collect();
        let warps = ctas.iter().map(|_| self.warps()).collect();
        Cluster { ctas, warps }
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

/// The first CTA of every cluster.
fn clusters(launch: &Launch) -> Vec<[u32; 3]> {
    let [x, y, z] = launch.grid;
    let [i, j, k] = launch.cluster.map(|size| size as usize);
    (0..z)
        .step_by(k)
        .flat_map(|c| {
            (0..y)
                .step_by(j)
                .flat_map(move |b| (0..x).step_by(i).map(move |a| [a, b, c]))
        })
        .collect()
}

fn check_shape(program: &Program, kernel: usize, launch: &Launch) -> Result<(), LaunchError> {
    let error = |what, expected: String, found: String| {
        Err(LaunchError::Shape {
            what,
            expected,
            found,
        })
    };
    let threads: u64 = launch.block.iter().map(|&size| u64::from(size)).product();
    if threads == 0 || threads > u64::from(THREADS) {
        return error(
            "threads of a CTA",
            format!("1 to {THREADS}"),
            threads.to_string(),
        );
    }
    if launch.grid.contains(&0) {
        return error(
            "the grid",
            "at least one CTA".into(),
            format!("{:?}", launch.grid),
        );
    }
    if launch.cluster.contains(&0)
        || (0..3).any(|i| !launch.grid[i].is_multiple_of(launch.cluster[i]))
    {
        return error(
            "the cluster",
            format!("a divisor of the grid {:?}", launch.grid),
            format!("{:?}", launch.cluster),
        );
    }
    let directives = &program.functions[kernel].directives;
    let three = |numbers: &[u64]| -> [u64; 3] {
        std::array::from_fn(|i| numbers.get(i).copied().unwrap_or(1))
    };
    for (name, numbers) in directives {
        let asked = three(numbers);
        let block = launch.block.map(u64::from);
        match &name[..] {
            "reqntid" if block != asked => {
                return error(
                    "the CTA",
                    format!("{asked:?} of .reqntid"),
                    format!("{block:?}"),
                );
            }
            "maxntid" if threads > asked.iter().product() => {
                return error(
                    "threads of a CTA",
                    format!("at most {asked:?} of .maxntid"),
                    threads.to_string(),
                );
            }
            "reqnctapercluster" if launch.cluster.map(u64::from) != asked => {
                return error(
                    "the cluster",
                    format!("{asked:?} of .reqnctapercluster"),
                    format!("{:?}", launch.cluster),
                );
            }
            _ => {}
        }
    }
    Ok(())
}

/// The arguments where the kernel's parameters lie.
fn arguments(program: &Program, kernel: usize, launch: &Launch) -> Result<Bytes, LaunchError> {
    let function = &program.functions[kernel];
    let places: Vec<(u64, u64)> = function
        .parameters
        .iter()
        .map(|formal| match *formal {
            Formal::Memory { offset, bytes } => (offset, bytes),
            Formal::Register(_) => (0, 0),
        })
        .collect();
    let expected: Vec<u64> = places.iter().map(|&(_, bytes)| bytes).collect();
    let found: Vec<u64> = launch
        .arguments
        .iter()
        .map(|argument| argument.len() as u64)
        .collect();
    if expected != found {
        return Err(LaunchError::Arguments {
            kernel: launch.kernel.clone(),
            expected,
            found,
        });
    }
    let end = places.last().map_or(0, |&(offset, bytes)| offset + bytes);
    let mut memory = vec![0; end as usize];
    for (&(offset, bytes), argument) in places.iter().zip(&launch.arguments) {
        memory[offset as usize..(offset + bytes) as usize].copy_from_slice(argument);
    }
    Ok(Bytes::of(memory))
}

/// Puts the module's variables into global memory and gives their addresses.
fn load(program: &Program, memory: &mut Global) -> Result<Vec<u64>, LaunchError> {
    // Variables that nothing is written to begin as zeros.
    let addresses: Vec<u64> = program
        .globals
        .iter()
        .map(|global| memory.push(Bytes::of(vec![0; global.bytes as usize]), global.alignment))
        .collect();
    for (global, &address) in program.globals.iter().zip(&addresses) {
        if let Some(initializer) = &global.initializer {
            let mut place = address;
            initialise(
                program,
                &addresses,
                memory,
                global.element,
                initializer,
                &mut place,
            )?;
        }
    }
    Ok(addresses)
}

fn initialise(
    program: &Program,
    addresses: &[u64],
    memory: &mut Global,
    element: ScalarType,
    initializer: &Initializer,
    place: &mut u64,
) -> Result<(), LaunchError> {
    let size = element.bytes();
    let value = match initializer {
        Initializer::List(list) => {
            return list
                .iter()
                .try_for_each(|one| initialise(program, addresses, memory, element, one, place));
        }
        Initializer::Literal(literal) => match *literal {
            Literal::Signed(value) => value as u64,
            Literal::Unsigned(value) => value,
            Literal::Single(bits) => u64::from(bits),
            Literal::Double(value) if element == ScalarType::F32 => {
                u64::from((value as f32).to_bits())
            }
            Literal::Double(value) => value.to_bits(),
        },
        Initializer::Address {
            name, offset, mask, ..
        } => {
            let address = program
                .address(name, addresses)
                .ok_or_else(|| LaunchError::Initializer { name: name.clone() })?;
            let address = address.wrapping_add_signed(*offset);
            match mask {
                // One byte of it, that which the mask names.
                Some(mask) if *mask != 0 => (address & mask) >> (mask.trailing_zeros() / 8 * 8),
                _ => address,
            }
        }
    };
    // A place inside of the variable, which was made of the initializer's size or a larger one.
    memory.write(*place, size.min(8) as usize, value, true);
    *place += size;
    Ok(())
}
