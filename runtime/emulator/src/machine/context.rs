//! What an instruction sees of the machine: its warp, its cluster's CTAs, global memory.

use super::asynchronous::{Memories, Origin, Queue, Spot, race};
use super::frame::lanes_of;
use super::kept::KeptFragments;
use super::mbarrier::Mbarrier;
use super::order::{self, Agent, Order};
use super::paths;
use super::places::Places;
use super::random::Random;
use super::shadow::{Accessor, Conflict, Missing, Proxy, Shadow, Stamp};
use super::tensor_memory::Tensor;
use super::{Lanes, Strand, Warp};
use crate::counts::Counts;
use crate::finding::FindingKind;
use crate::instruction::{Ordering, Source, Special, ThreadScope};
use crate::launch::Launch;
use crate::memory::address::{self, Window};
use crate::memory::{Bytes, View};
use crate::program::{Program, Register};
use crate::ptx::Place;
use crate::tensor_map::TENSOR_MAP_BYTES;
use std::cell::Cell;
use std::collections::BTreeMap;

/// A CTA without its warps.
pub(crate) struct Cta {
    /// Along x, y and z in the grid.
    pub id: [u32; 3],
    pub shared: Bytes,
    /// What its warps did, and of the cluster's first CTA what asynchronous copies did too.
    pub counts: Counts,
    pub barriers: [Barrier; 16],
    /// Barrier objects by their place in shared memory.
    pub mbarriers: BTreeMap<u64, Mbarrier>,
    /// Who accessed shared memory.
    pub shadow: Shadow,
    pub tensor: Tensor,
    /// Whether all its threads have ended, and its shared memory with them.
    pub has_ended: bool,
    /// Of each warp of other CTAs its last access of this one's shared memory.
    pub visits: BTreeMap<Agent, Visit>,
}

/// An access of another CTA's shared memory.
pub(crate) struct Visit {
    pub clock: u32,
    pub origin: Origin,
    pub address: u64,
    pub barrier: Passage,
}

/// How far the cluster's barrier stands behind an access, with or without what it tells of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    /// Not at all.
    None,
    /// Whoever accessed has come to it since.
    Came,
    /// And so have all others.
    Full,
}

impl Cta {
    /// A thread has passed the cluster's barrier: what others accessed before they came to it is known to be done.
    pub fn passes_cluster(&mut self) {
        self.visits
            .retain(|_, visit| visit.barrier != Passage::Full);
    }

    /// An mbarrier that lies in some bytes of shared memory.
    pub fn mbarrier_in(&self, place: u64, bytes: u64) -> Option<u64> {
        if self.mbarriers.is_empty() {
            return None;
        }
        let first = place.saturating_sub(7);
        let mut found = self.mbarriers.range(first..place + bytes);
        found.next().map(|(&place, _)| place)
    }
}

/// One of a CTA's barriers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Barrier {
    /// Lanes that have come, those that do not wait among them.
    pub arrived: u32,
    /// Lanes that must; all of the CTA if nobody says.
    pub expected: Option<u32>,
    /// Lanes whose predicate was true, and all that gave one.
    pub votes: (u32, u32),
}

/// What an instruction must not do, and the lane that does.
pub(crate) struct Fault {
    pub kind: FindingKind,
    pub lane: u32,
}

/// The machine as a warp sees it.
pub(crate) struct Context<'m> {
    pub program: &'m Program,
    pub launch: &'m Launch,
    /// The addresses of the module's variables in global memory.
    pub variables: &'m [u64],
    /// The kernel's arguments as its parameter memory.
    pub arguments: &'m Bytes,
    pub memory: &'m mut View,
    /// The cluster's CTAs, and which of them is the warp's own.
    pub ctas: &'m mut [Cta],
    pub rank: usize,
    pub warp: &'m mut Warp,
    /// Work of the cluster that is not done.
    pub queue: &'m mut Queue,
    pub order: &'m mut Order,
    /// Who accessed global memory; nothing where races are not looked for.
    pub shadow: Option<&'m mut Shadow>,
    pub random: &'m mut Random,
    /// What its products took apart.
    pub fragments: &'m mut KeptFragments,
    /// Instructions of the grid so far: the clock.
    pub clock: u64,
    /// Where the instruction is that is executed: its function and its place in the text.
    pub function: usize,
    pub place: Place,
    /// The lanes that go along with those that execute it.
    pub along: u32,
    /// What the checker finds without stopping.
    pub found: Vec<Fault>,
    /// What is wrong about the registers that the instruction uses, which asynchronous work holds or reads.
    pub early: Cell<Option<&'static str>>,
    /// What it finds of work that was begun elsewhere.
    pub late: Vec<(Origin, FindingKind)>,
}

impl Context<'_> {
    /// The warp's number in the cluster.
    pub fn agent(&self) -> u32 {
        let threads: u32 = self.launch.block.iter().product();
        self.rank as u32 * threads.div_ceil(32) + self.warp.index
    }

    /// What asynchronous work sees.
    pub fn memories(&mut self) -> Memories<'_> {
        Memories {
            memory: self.memory,
            ctas: self.ctas,
            queue: self.queue,
            order: self.order,
            shadow: self.shadow.as_deref_mut(),
            random: self.random,
            warp: Some(self.warp),
            found: &mut self.late,
        }
    }

    /// Where a lane of a frame is.
    pub fn origin(&self, frame: usize, lane: u32) -> Origin {
        Origin {
            function: self.warp.frame(frame).function,
            place: self.place,
            rank: self.rank as u32,
            warp: self.warp.index,
            lane,
        }
    }

    /// A place of memory that all warps see; nothing of a lane's own memory.
    pub fn spot(&self, window: Window, place: u64) -> Option<Spot> {
        match window {
            Window::Global => Some(Spot::Global(place)),
            Window::Shared => {
                let (rank, own) = address::rank(place);
                let rank = rank.unwrap_or(self.rank as u64);
                ((rank as usize) < self.ctas.len()).then_some(Spot::Shared(rank as u32, own))
            }
            Window::Local | Window::Parameter => None,
        }
    }

    /// Counts an access by lanes, and whether it reads and writes.
    fn count(&mut self, active: u32, places: &Places, access: (bool, bool)) {
        let counts = &mut self.ctas[self.rank].counts;
        let bytes = u64::from(places.bytes);
        if let Some(together) = places.together {
            let lanes = u64::from(active.count_ones());
            let (begin, all) = (together.begin, together.bytes);
            match together.window {
                Window::Global => counts.global_together(begin, all, lanes * bytes, access),
                Window::Shared => counts.shared_together(lanes, bytes, access),
                Window::Local => counts.local.count(lanes * bytes, access),
                Window::Parameter => counts.parameter.count(lanes * bytes, access),
            }
            return;
        }
        for window in [
            Window::Global,
            Window::Shared,
            Window::Local,
            Window::Parameter,
        ] {
            let mut own = [0; 32];
            let mut lanes = 0;
            for lane in lanes_of(active) {
                let (of, place) = places.of(lane);
                if of == window {
                    own[lanes] = place;
                    lanes += 1;
                }
            }
            match window {
                _ if lanes == 0 => {}
                Window::Global => counts.global(&own[..lanes], bytes, access),
                Window::Shared => counts.shared(&own[..lanes], bytes, access),
                Window::Local => counts.local.count(lanes as u64 * bytes, access),
                Window::Parameter => counts.parameter.count(lanes as u64 * bytes, access),
            }
        }
    }

    /// Counts accesses by lanes, and notes them for the race checker, and what strong ones are told and tell.
    pub fn accesses(
        &mut self,
        active: u32,
        places: &Places,
        access: (bool, bool),
        ordering: Ordering,
    ) {
        self.count(active, places, access);
        self.notes(active, places, access, ordering);
    }

    /// As [`accesses`](Self::accesses), without counting them.
    pub fn notes(
        &mut self,
        active: u32,
        places: &Places,
        access: (bool, bool),
        ordering: Ordering,
    ) {
        if self.shadow.is_none() {
            return;
        }
        if self.warp.strands.len() > 1 || !self.warp.paths.is_empty() {
            self.note_paths(active, places, access, ordering);
        }
        if ordering.is_strong {
            // What strong accesses are told and tell is of each place by itself.
            for lane in lanes_of(active) {
                self.note_strong(lane, places, access, ordering);
            }
        } else {
            let proxy = match ordering.is_of_a_constant {
                true => Proxy::Constant,
                false => Proxy::Generic,
            };
            self.note(proxy, active, places, access.1);
        }
    }

    /// Notes what lanes do while others of their warp are elsewhere, or did.
    fn note_paths(
        &mut self,
        active: u32,
        places: &Places,
        (_, writes): (bool, bool),
        ordering: Ordering,
    ) {
        let is_apart = self.warp.strands.len() > 1;
        for lane in lanes_of(active) {
            let (window, place) = places.of(lane);
            let Some(spot) = self.spot(window, place) else {
                continue;
            };
            let (memory, own) = match spot {
                Spot::Global(address) => (None, address),
                Spot::Shared(rank, own) => (Some(rank), own),
            };
            let access = paths::Access {
                lane,
                writes,
                is_strong: ordering.is_strong,
                line: self.place.line,
                known: self.along,
            };
            let bytes = places.bytes.into();
            let met = self
                .warp
                .paths
                .access(memory, (own, bytes), access, is_apart);
            if let Some((address, other)) = met {
                let kind = FindingKind::Paths {
                    memory: spot.name(),
                    writes,
                    address,
                    other: other.lane,
                    other_writes: other.writes,
                    other_line: other.line,
                };
                self.found.push(Fault { kind, lane });
            }
        }
    }

    /// Notes accesses that are not strong, for the race checker: lanes one behind the other as one.
    fn note(&mut self, proxy: Proxy, active: u32, places: &Places, writes: bool) {
        let run = |lane, (window, begin), bytes| {
            let spot = self.spot(window, begin)?;
            Some(Run { lane, spot, bytes })
        };
        let (one, mut several) = (places.together, Vec::new());
        let one = one.and_then(|own| {
            let lane = active.trailing_zeros();
            run(lane, (own.window, own.begin), own.bytes)
        });
        if places.together.is_none() {
            several.reserve(32);
            let mut left = active;
            while let Some((lane, begin, bytes)) = take_run(places, &mut left) {
                several.extend(run(lane, begin, bytes));
            }
        }
        let runs = one.as_slice().iter().chain(&several).copied();
        for (run, conflict) in self.shadowed_by(proxy, runs, writes, None) {
            let (window, begin) = places.of(run.lane);
            let at = begin + (conflict.place - run.spot.place());
            let lane = places.owner(active, run.lane, (window, at));
            let kind = race(run.spot, places.bytes.into(), writes, &conflict);
            self.found.push(Fault { kind, lane });
        }
    }

    /// Notes a lane's strong access, what it is told and what it tells.
    fn note_strong(
        &mut self,
        lane: u32,
        places: &Places,
        (reads, writes): (bool, bool),
        ordering: Ordering,
    ) {
        let (window, place) = places.of(lane);
        let Some(spot) = self.spot(window, place) else {
            return;
        };
        let bytes = places.bytes.into();
        let conflict = self.shadowed(spot, bytes, writes, Some(ordering.scope), lane);
        let warp = self.agent();
        let (agent, _) = self.order.warp(warp);
        let of_cta = self.order.warps() / self.ctas.len() as u32;
        let own = spot.place();
        let shadow = match spot {
            Spot::Shared(rank, _) => Some(&mut self.ctas[rank as usize].shadow),
            Spot::Global(_) => self.shadow.as_deref_mut(),
        };
        let Some(shadow) = shadow else {
            return;
        };
        let audience = |scope| order::audience(agent, scope, of_cta);
        for scope in ThreadScope::ALL {
            if reads
                && scope <= ordering.scope
                && let Some(told) = shadow.told(own, audience(scope))
            {
                self.order.hears(warp, &told, scope, ordering.acquires);
                if ordering.acquires {
                    self.warp.paths.clear();
                }
            }
        }
        if writes {
            let told = self.order.told(warp, ordering.releases, ordering.scope);
            for (scope, told) in ThreadScope::ALL.into_iter().zip(told) {
                shadow.tell(own, audience(scope), told);
            }
        }
        if let Some(conflict) = conflict {
            let kind = race(spot, bytes, writes, &conflict);
            self.found.push(Fault { kind, lane });
        }
    }

    /// Notes that a lane's copies read the tensor map at an address of global memory.
    pub fn reads_map(&mut self, lane: u32, map: u64) {
        if self.shadow.is_none() {
            return;
        }
        let (spot, proxy) = (Spot::Global(map), Proxy::TensorMap(map));
        let bytes = TENSOR_MAP_BYTES as u64;
        let run = Run { lane, spot, bytes };
        let conflicts = self.shadowed_by(proxy, [run].into_iter(), false, None);
        let Some((_, conflict)) = conflicts.first() else {
            return;
        };
        let kind = match conflict.missing {
            Missing::TensorMapFence => FindingKind::TensorMap {
                address: map,
                other_line: conflict.earlier.line(),
            },
            _ => race(spot, bytes, false, conflict),
        };
        self.found.push(Fault { kind, lane });
    }

    /// Notes an access of some bytes, strong to a scope or not, with the memory's shadow; the lane is who is told of memory
    /// that is no more.
    pub fn shadowed(
        &mut self,
        spot: Spot,
        bytes: u64,
        writes: bool,
        strong: Option<ThreadScope>,
        lane: u32,
    ) -> Option<Conflict> {
        let run = Run { lane, spot, bytes };
        let conflicts = self.shadowed_by(Proxy::Generic, [run].into_iter(), writes, strong);
        conflicts.first().map(|&(_, conflict)| conflict)
    }

    /// Notes accesses by a proxy; of each that has a conflict the first.
    fn shadowed_by(
        &mut self,
        proxy: Proxy,
        runs: impl Iterator<Item = Run>,
        writes: bool,
        strong: Option<ThreadScope>,
    ) -> Vec<(Run, Conflict)> {
        let warp = self.agent();
        let (agent, clock) = self.order.warp(warp);
        let stamp = Stamp::new(agent, clock, self.place.line, strong);
        let accessor = Accessor {
            stamp: match proxy {
                Proxy::Constant => stamp.of_a_constant(),
                _ => stamp,
            },
            knows: self.order.knows(warp),
            warps: self.order.warps(),
            of_cta: self.order.warps() / self.ctas.len() as u32,
            proxy,
        };
        let mut conflicts = Vec::new();
        for run in runs {
            let conflict = match run.spot {
                Spot::Global(place) => {
                    let shadow = self.shadow.as_deref_mut();
                    shadow.and_then(|own| own.access(place, run.bytes, writes, &accessor))
                }
                Spot::Shared(rank, place) => {
                    let cta = &mut self.ctas[rank as usize];
                    if cta.has_ended {
                        let kind = FindingKind::Ended {
                            address: place,
                            before: true,
                        };
                        let lane = run.lane;
                        self.found.push(Fault { kind, lane });
                    } else if rank as usize != self.rank {
                        let origin = Origin {
                            function: self.function,
                            place: self.place,
                            rank: self.rank as u32,
                            warp: self.warp.index,
                            lane: run.lane,
                        };
                        let visit = Visit {
                            clock,
                            origin,
                            address: place,
                            barrier: Passage::None,
                        };
                        cta.visits.insert(agent, visit);
                    }
                    cta.shadow.access(place, run.bytes, writes, &accessor)
                }
            };
            conflicts.extend(conflict.map(|conflict| (run, conflict)));
        }
        conflicts
    }

    /// The values of a source in a frame.
    pub fn values(&self, frame: usize, source: &Source) -> Lanes {
        match *source {
            Source::Register(register) => *self.register(frame, register),
            Source::Not(register) => {
                let mut lanes = *self.warp.frame(frame).register(register);
                lanes
                    .values
                    .iter_mut()
                    .for_each(|value| *value = *value & 1 ^ 1);
                lanes
            }
            Source::Value(value) => Lanes::splat(value),
            Source::Double(value) => Lanes::splat(value.to_bits()),
            Source::Special(special) => self.special(special),
            Source::Global(index, offset) => {
                Lanes::splat(self.variables[index].wrapping_add_signed(offset))
            }
            Source::Local(offset) => Lanes::splat(self.warp.frame(frame).local + offset),
        }
    }

    /// A register of a frame, which an instruction uses.
    pub fn register(&self, frame: usize, register: Register) -> &Lanes {
        self.looks_at(frame, register);
        self.warp.frame(frame).register(register)
    }

    /// Notes that an instruction uses a register that asynchronous work holds.
    fn looks_at(&self, frame: usize, register: Register) {
        if self.warp.is_held(frame, register) {
            self.early.set(Some(
                "are used, and belong to a wgmma or tcgen05.ld that is not waited for",
            ));
        }
    }

    pub fn set(&mut self, frame: usize, register: Option<Register>, lanes: u32, values: &Lanes) {
        if let Some(register) = register {
            self.looks_at(frame, register);
            if self.warp.is_lent(frame, register) {
                self.early.set(Some(
                    "are written, and a wgmma that is not waited for reads A in them",
                ));
            }
            self.warp.frame_mut(frame).set(register, lanes, values);
        }
    }

    /// The lanes of a strand that a step's guard lets execute it.
    pub fn guarded(&mut self, strand: Strand, guard: Option<(Register, bool)>) -> u32 {
        let Some((register, negated)) = guard else {
            return strand.lanes;
        };
        let own = self.warp.frame(strand.frame).register(register);
        let (mask, missing) = (own.mask(), strand.lanes & !own.written);
        self.report_unwritten(missing, "a branch's or an instruction's guard");
        strand.lanes & if negated { !mask } else { mask }
    }

    /// Reports a value that decides something and that nobody has written.
    pub fn need_written(&mut self, values: &Lanes, lanes: u32, what: &'static str) {
        self.report_unwritten(lanes & !values.written, what);
    }

    /// Reports lanes, if there are any, whose value decides something and that nobody has written.
    pub fn report_unwritten(&mut self, missing: u32, what: &'static str) {
        if missing != 0 {
            self.found.push(Fault {
                kind: FindingKind::Uninitialised { what },
                lane: missing.trailing_zeros(),
            });
        }
    }

    fn special(&self, special: Special) -> Lanes {
        let launch = self.launch;
        let cta = self.ctas[self.rank].id;
        let own = |lane: u32| self.warp.index * 32 + lane;
        let threads: u32 = launch.block.iter().product();
        let of = |triple: [u32; 3], component: u8| {
            u64::from(triple.get(usize::from(component)).copied().unwrap_or(0))
        };
        let quotient = |a: [u32; 3], b: [u32; 3]| std::array::from_fn(|i| a[i] / b[i]);
        let splat = Lanes::splat;
        match special {
            Special::Tid(component) => Lanes::from_fn(|lane| {
                let [x, y, _] = launch.block;
                let thread = own(lane);
                of([thread % x, thread / x % y, thread / (x * y)], component)
            }),
            Special::Ntid(component) => splat(of(launch.block, component)),
            Special::Ctaid(component) => splat(of(cta, component)),
            Special::Nctaid(component) => splat(of(launch.grid, component)),
            Special::Clusterid(component) => splat(of(quotient(cta, launch.cluster), component)),
            Special::Nclusterid(component) => {
                splat(of(quotient(launch.grid, launch.cluster), component))
            }
            Special::ClusterCtaid(component) => splat(of(
                std::array::from_fn(|i| cta[i] % launch.cluster[i]),
                component,
            )),
            Special::ClusterNctaid(component) => splat(of(launch.cluster, component)),
            Special::ClusterCtarank => splat(self.rank as u64),
            Special::ClusterNctarank => splat(self.ctas.len() as u64),
            Special::IsExplicitCluster => splat(u64::from(launch.cluster != [1; 3])),
            Special::Laneid => Lanes::from_fn(u64::from),
            Special::Warpid => splat(u64::from(self.warp.index)),
            Special::Nwarpid => splat(u64::from(threads.div_ceil(32))),
            // One multiprocessor for each CTA.
            Special::Smid => {
                let [x, y, z] = cta.map(u64::from);
                let [width, height, _] = launch.grid.map(u64::from);
                splat(x + width * (y + height * z))
            }
            Special::Nsmid => splat(launch.grid.iter().map(|&size| u64::from(size)).product()),
            Special::Gridid | Special::Nothing => splat(0),
            Special::LanemaskEq => Lanes::from_fn(|lane| 1 << lane),
            Special::LanemaskLe => Lanes::from_fn(|lane| (2u64 << lane) - 1),
            Special::LanemaskLt => Lanes::from_fn(|lane| (1 << lane) - 1),
            Special::LanemaskGe => Lanes::from_fn(|lane| 0xffff_ffff & !((1 << lane) - 1)),
            Special::LanemaskGt => Lanes::from_fn(|lane| 0xffff_ffff & !((2u64 << lane) - 1)),
            Special::Clock | Special::GlobaltimerLow => splat(self.clock & 0xffff_ffff),
            Special::ClockHigh | Special::GlobaltimerHigh => splat(self.clock >> 32),
            Special::Clock64 | Special::Globaltimer => splat(self.clock),
            Special::DynamicSharedSize => splat(launch.dynamic_shared),
            Special::TotalSharedSize => splat(self.ctas[self.rank].shared.len() as u64),
        }
    }

    /// Reads up to eight bytes as a lane of a frame sees them; `None` where no memory is.
    pub fn read(
        &self,
        frame: usize,
        lane: u32,
        window: Window,
        place: u64,
        size: usize,
    ) -> Option<(u64, bool)> {
        match window {
            Window::Global => self.memory.read(place, size),
            Window::Shared => self
                .shared(place)?
                .read(address::rank(place).1 as usize, size),
            Window::Local => self.warp.local.of(lane).read(place as usize, size),
            Window::Parameter => self
                .parameters(frame, lane, place)
                .read(place as usize, size),
        }
    }

    /// As [`read`](Self::read), to write.
    pub fn write(
        &mut self,
        frame: usize,
        lane: u32,
        window: Window,
        place: u64,
        size: usize,
        value: (u64, bool),
    ) -> Option<()> {
        let (value, written) = value;
        match window {
            Window::Global => self.memory.write(place, size, value, written),
            Window::Shared => {
                let (rank, own) = address::rank(place);
                let rank = rank.map_or(self.rank, |rank| rank as usize);
                self.ctas
                    .get_mut(rank)?
                    .shared
                    .write(own as usize, size, value, written)
            }
            Window::Local => {
                self.warp
                    .local
                    .of_mut(lane)
                    .write(place as usize, size, value, written)
            }
            Window::Parameter => self.warp.frame_mut(frame).parameters.of_mut(lane).write(
                place as usize,
                size,
                value,
                written,
            ),
        }
    }

    /// A stretch of memory that is the same to all lanes; `None` where there is none, or not as much.
    pub fn stretch(
        &self,
        frame: usize,
        window: Window,
        place: u64,
        size: u64,
    ) -> Option<(&[u8], &[bool])> {
        match window {
            Window::Global => self.memory.stretch(place, size),
            Window::Shared => self
                .shared(place)?
                .stretch(address::rank(place).1 as usize, size as usize),
            Window::Parameter if self.warp.frame(frame).caller.is_none() => {
                self.arguments.stretch(place as usize, size as usize)
            }
            Window::Local | Window::Parameter => None,
        }
    }

    /// As [`stretch`](Self::stretch), to write.
    pub fn stretch_mut(
        &mut self,
        window: Window,
        place: u64,
        size: u64,
    ) -> Option<(&mut [u8], &mut [bool])> {
        match window {
            Window::Global => self.memory.stretch_mut(place, size),
            Window::Shared => {
                let (rank, own) = address::rank(place);
                let rank = rank.map_or(self.rank, |rank| rank as usize);
                let shared = &mut self.ctas.get_mut(rank)?.shared;
                shared.stretch_mut(own as usize, size as usize)
            }
            Window::Local | Window::Parameter => None,
        }
    }

    fn shared(&self, place: u64) -> Option<&Bytes> {
        let rank = address::rank(place)
            .0
            .map_or(self.rank, |rank| rank as usize);
        Some(&self.ctas.get(rank)?.shared)
    }

    /// A kernel's own parameters are the arguments; what else it declares is each lane's.
    fn parameters(&self, frame: usize, lane: u32, place: u64) -> &Bytes {
        let own = self.warp.frame(frame);
        if own.caller.is_none() && (place as usize) < self.arguments.len() {
            return self.arguments;
        }
        own.parameters.of(lane)
    }

    /// Makes room for a frame's variables in the local memory of its lanes; what was there before is forgotten.
    pub fn enter_local(&mut self, lanes: u32, begin: u64, end: u64) {
        if end == 0 {
            return;
        }
        for lane in lanes_of(lanes) {
            let local = self.warp.local.of_mut(lane);
            local.grow(end as usize);
            local.forget(begin as usize, (end - begin) as usize);
        }
    }
}

/// Bytes one behind the other of lanes, of which the first is named.
#[derive(Clone, Copy)]
struct Run {
    lane: u32,
    spot: Spot,
    bytes: u64,
}

/// Lanes whose bytes lie one behind the other, taken from those that are left: the first, where they begin, how many bytes.
fn take_run(places: &Places, left: &mut u32) -> Option<(u32, (Window, u64), u64)> {
    if *left == 0 {
        return None;
    }
    let first = left.trailing_zeros();
    let (window, begin) = places.of(first);
    let mut bytes = 0;
    for lane in lanes_of(*left) {
        if places.of(lane) != (window, begin.wrapping_add(bytes)) {
            break;
        }
        bytes += u64::from(places.bytes);
        *left &= !(1 << lane);
    }
    Some((first, (window, begin), bytes))
}
