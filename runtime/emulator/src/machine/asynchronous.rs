//! Work that is done beside a warp's instructions, at the last moment that the ISA allows.
//!
//! An instruction that only begins something puts [`Work`] into its cluster's [`Queue`] and goes on. The work has two halves:
//! it *reads* its sources, and it *writes* its results. Neither happens before somebody waits for it or the cluster comes to
//! its end; so a kernel that looks at a result too early, or writes over a source too early, meets what is wrong about that.
//! Of several works that may be done next, the launch's seed draws one.
//!
//! How work says that it is done is its [`Signal`]: bytes or an arrival at an mbarrier, or a group of the thread that began it.
//! Who waits calls [`Memories::finish`] with what it waits for: a wait for a group names the thread, the family and the
//! number; a warp that finds an mbarrier's phase open sleeps, and the grid does work that signals that mbarrier as it runs out
//! of other things to do.
//!
//! **To add a family of asynchronous instructions** (`tcgen05` has `cp`, `mma`, `commit` and the like): implement
//! [`Operation`] for what it does, whose halves get all memories and the order of the cluster's warps; choose its signal, a new
//! [`Family`] where it has groups of its own; name in `after` the works that it may not overtake (`tcgen05.commit` is work
//! without an operation, whose signal is an arrival and which comes after all that the thread began). Memory that belongs to a
//! CTA, as tensor memory does, is a field of `Cta`. Accesses that go through [`Memories::touch`] are in the race checker.

pub(crate) mod boxes;
mod moves;

use super::Warp;
use super::context::Cta;
use super::order::{Channel, FencedMemory, Knowledge, Order};
use super::random::Random;
use super::shadow::{Accessor, Missing, Proxy, Shadow, Stamp};
use crate::finding::FindingKind;
use crate::instruction::{Family, ThreadScope};
use crate::memory::{Bytes, View};
use crate::ptx::Place;
use std::rc::Rc;

pub(crate) use moves::{Combine, From, Move, Moves};

/// Where something was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub function: usize,
    pub place: Place,
    /// Of the CTA in its cluster.
    pub rank: u32,
    /// Of the warp in its CTA.
    pub warp: u32,
    pub lane: u32,
}

/// A place of memory that all proxies see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spot {
    Global(u64),
    /// The CTA's rank in the cluster, and the place in its shared memory.
    Shared(u32, u64),
}

impl Spot {
    pub fn plus(self, bytes: u64) -> Self {
        match self {
            Self::Global(address) => Self::Global(address + bytes),
            Self::Shared(rank, place) => Self::Shared(rank, place + bytes),
        }
    }

    pub fn memory(self) -> FencedMemory {
        match self {
            Self::Global(_) => FencedMemory::Global,
            Self::Shared(..) => FencedMemory::Shared,
        }
    }

    /// The place in its memory.
    pub fn place(self) -> u64 {
        match self {
            Self::Global(place) | Self::Shared(_, place) => place,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Global(_) => "global memory",
            Self::Shared(..) => "shared memory",
        }
    }
}

/// How a warp's groups of a family are known to be done.
pub(crate) fn channel(family: Family, warp: u32) -> Channel {
    match family {
        Family::Copies => Channel::Copies(warp),
        Family::Bulk => Channel::Bulk(warp),
        Family::Multiply => Channel::Multiply(warp),
    }
}

/// How work says that it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Bytes come to an mbarrier: the CTA's rank, the place.
    Bytes { rank: u32, place: u64, bytes: u32 },
    /// Arrivals at an mbarrier.
    Arrival { rank: u32, place: u64, count: u32 },
    /// A group of lanes of a warp, which is counted through the cluster.
    Group {
        warp: u32,
        lanes: u32,
        family: Family,
        number: u64,
    },
}

impl Signal {
    fn is_at(&self, barrier: (u32, u64)) -> bool {
        match *self {
            Self::Bytes { rank, place, .. } | Self::Arrival { rank, place, .. } => {
                (rank, place) == barrier
            }
            Self::Group { .. } => false,
        }
    }
}

/// What work does.
pub(crate) trait Operation {
    /// Reads the sources, which may be written again afterwards.
    fn read(&mut self, machine: &mut Memories<'_>, by: &Doer<'_>);
    /// Writes the results.
    fn write(&mut self, machine: &mut Memories<'_>, by: &Doer<'_>);
    /// Whether it uses shared memory, which may not end before; with `has_read` what it does after its first half.
    fn needs_shared(&self, has_read: bool) -> bool;
}

/// Work without sources and results: a signal alone.
pub(crate) struct NoOperation;

impl Operation for NoOperation {
    fn read(&mut self, _: &mut Memories<'_>, _: &Doer<'_>) {}
    fn write(&mut self, _: &mut Memories<'_>, _: &Doer<'_>) {}
    fn needs_shared(&self, _: bool) -> bool {
        false
    }
}

/// Something that was begun.
pub(crate) struct Work {
    pub number: u64,
    /// Work that must be done first.
    pub after: Vec<u64>,
    pub origin: Origin,
    pub operation: Box<dyn Operation>,
    pub signal: Signal,
    /// What the warp knew that began it.
    pub knows: Rc<Knowledge>,
    /// Whether it goes through the asynchronous proxy.
    pub is_asynchronous: bool,
    has_read: bool,
}

/// Who does something: for findings and for the order of accesses.
pub(crate) struct Doer<'w> {
    pub origin: Origin,
    pub knows: &'w Knowledge,
    pub is_asynchronous: bool,
    /// The agent and clock of what it reads and of what it writes.
    pub reads_as: (u32, u32),
    pub writes_as: (u32, u32),
}

/// A cluster's work that is not done.
#[derive(Default)]
pub(crate) struct Queue {
    works: Vec<Work>,
    next: u64,
}

impl Queue {
    /// Begins work; gives its number.
    pub fn push(&mut self, begun: Begun) -> u64 {
        let number = self.next;
        self.next += 1;
        self.works.push(Work {
            number,
            after: begun.after,
            origin: begun.origin,
            operation: begun.operation,
            signal: begun.signal,
            knows: begun.knows,
            is_asynchronous: begun.is_asynchronous,
            has_read: false,
        });
        number
    }

    pub fn is_empty(&self) -> bool {
        self.works.is_empty()
    }

    /// All works, and where those began that use shared memory still.
    pub fn rest(&self) -> (Vec<u64>, Vec<Origin>) {
        let uses = |work: &&Work| work.operation.needs_shared(work.has_read);
        let origins = self.works.iter().filter(uses).map(|work| work.origin);
        (self.which(|_| true), origins.collect())
    }

    /// The numbers of works of a kind, in the order in which they began.
    pub fn which(&self, kind: impl Fn(&Work) -> bool) -> Vec<u64> {
        let found = self.works.iter().filter(|work| kind(work));
        found.map(|work| work.number).collect()
    }

    /// Works that signal an mbarrier.
    pub fn at_barrier(&self, rank: u32, place: u64) -> Vec<u64> {
        self.which(|work| work.signal.is_at((rank, place)))
    }

    /// Works of some lanes of a warp in groups of a family below a number.
    pub fn in_groups(&self, warp: u32, lanes: u32, family: Family, below: u64) -> Vec<u64> {
        self.which(|work| match work.signal {
            Signal::Group {
                warp: own,
                lanes: its,
                family: kind,
                number,
            } => own == warp && its & lanes != 0 && kind == family && number < below,
            _ => false,
        })
    }
}

/// Work as it begins.
pub(crate) struct Begun {
    pub after: Vec<u64>,
    pub origin: Origin,
    pub operation: Box<dyn Operation>,
    pub signal: Signal,
    pub knows: Rc<Knowledge>,
    pub is_asynchronous: bool,
}

/// What asynchronous work sees of the machine.
pub(crate) struct Memories<'m> {
    pub memory: &'m mut View,
    pub ctas: &'m mut [Cta],
    pub queue: &'m mut Queue,
    pub order: &'m mut Order,
    /// Who accessed global memory; nothing where races are not looked for.
    pub shadow: Option<&'m mut Shadow>,
    pub random: &'m mut Random,
    /// The warp that waits, if one does: work with results in registers is waited for by its own.
    pub warp: Option<&'m mut Warp>,
    /// What the checker finds, and where the work began.
    pub found: &'m mut Vec<(Origin, FindingKind)>,
}

impl Memories<'_> {
    /// Does some works, in an order that is drawn.
    pub fn finish(&mut self, mut numbers: Vec<u64>) {
        while !numbers.is_empty() {
            let drawn = self.random.below(numbers.len());
            self.finish_one(numbers.swap_remove(drawn));
        }
    }

    /// Does one work, and before it those that it comes after.
    pub fn finish_one(&mut self, number: u64) {
        let Some(at) = self.position(number) else {
            return;
        };
        self.finish(self.queue.works[at].after.clone());
        let Some(at) = self.position(number) else {
            return;
        };
        let mut work = self.queue.works.remove(at);
        self.halves(&mut work, true);
        self.signal(&work);
    }

    /// Lets some works read their sources, and no more.
    pub fn finish_reading(&mut self, numbers: Vec<u64>) {
        for number in numbers {
            if let Some(at) = self.position(number) {
                let mut work = self.queue.works.remove(at);
                self.halves(&mut work, false);
                self.queue.works.insert(at, work);
            }
        }
    }

    fn position(&self, number: u64) -> Option<usize> {
        self.queue
            .works
            .iter()
            .position(|work| work.number == number)
    }

    fn halves(&mut self, work: &mut Work, whole: bool) {
        let knows = Rc::clone(&work.knows);
        let (reads_as, writes_as) = self.stamps(work);
        let by = Doer {
            origin: work.origin,
            knows: &knows,
            is_asynchronous: work.is_asynchronous,
            reads_as,
            writes_as,
        };
        if !work.has_read {
            work.operation.read(self, &by);
            work.has_read = true;
        }
        if whole {
            work.operation.write(self, &by);
        }
    }

    /// As what the halves of work are known.
    fn stamps(&mut self, work: &Work) -> ((u32, u32), (u32, u32)) {
        match work.signal {
            Signal::Bytes { rank, place, .. } | Signal::Arrival { rank, place, .. } => {
                let phase = self.ctas[rank as usize]
                    .mbarriers
                    .get(&place)
                    .map_or(0, super::mbarrier::Mbarrier::phase);
                let stamp = self.order.at_phase(rank, place, phase);
                (stamp, stamp)
            }
            Signal::Group {
                warp,
                family,
                number,
                ..
            } => {
                let clock = number as u32 + 1;
                let writes = (self.order.channel(channel(family, warp)), clock);
                let reads = match family {
                    Family::Bulk => (self.order.channel(Channel::BulkRead(warp)), clock),
                    _ => writes,
                };
                (reads, writes)
            }
        }
    }

    fn signal(&mut self, work: &Work) {
        match work.signal {
            Signal::Bytes { rank, place, bytes } => {
                self.at_mbarrier(rank, place, work.origin, None, |barrier| {
                    barrier.complete(bytes)
                });
            }
            Signal::Arrival { rank, place, count } => {
                let knows = Rc::clone(&work.knows);
                self.at_mbarrier(rank, place, work.origin, Some(&knows), |barrier| {
                    barrier.arrive(count)
                });
            }
            Signal::Group { .. } => {}
        }
    }

    /// Something happens at an mbarrier, which may end its phase; who does it may tell what it knows.
    pub fn at_mbarrier(
        &mut self,
        rank: u32,
        place: u64,
        origin: Origin,
        tells: Option<&Knowledge>,
        happens: impl FnOnce(&mut super::mbarrier::Mbarrier) -> Result<bool, String>,
    ) {
        let Some(barrier) = self.ctas[rank as usize].mbarriers.get_mut(&place) else {
            let kind = FindingKind::Mbarrier {
                address: place,
                reason: "is used, and was not initialised".into(),
            };
            self.found.push((origin, kind));
            return;
        };
        let phase = barrier.phase();
        if let Some(tells) = tells {
            self.order.comes_to_mbarrier(rank, place, tells);
        }
        match happens(barrier) {
            Ok(true) => self.order.ends_phase(rank, place, phase),
            Ok(false) => {}
            Err(reason) => {
                let kind = FindingKind::Mbarrier {
                    address: place,
                    reason,
                };
                self.found.push((origin, kind));
            }
        }
    }

    /// Bytes of a memory, with whether they were written; a finding where none are, or where nothing orders the read.
    pub fn take(&mut self, from: Spot, bytes: u64, by: &Doer<'_>) -> Option<Bytes> {
        self.count(from, bytes, (true, false));
        self.touch(from, bytes, false, by);
        let taken = self.part(from, bytes);
        if taken.is_none() {
            self.beyond("reads", from, bytes, by);
        }
        taken
    }

    /// Writes bytes of a memory.
    pub fn put(&mut self, to: Spot, bytes: &Bytes, by: &Doer<'_>) {
        self.count(to, bytes.len() as u64, (false, true));
        self.touch(to, bytes.len() as u64, true, by);
        if let Spot::Shared(rank, place) = to {
            let cta = &self.ctas[rank as usize];
            if let Some(address) = cta.mbarrier_in(place, bytes.len() as u64) {
                self.found
                    .push((by.origin, FindingKind::written_over(address)));
            }
        }
        if self.replace(to, bytes).is_none() {
            self.beyond("writes", to, bytes.len() as u64, by);
        }
        self.leaves_undefined(to, bytes, by);
    }

    /// Notes bytes that nobody has written and that are copied to global memory.
    pub(super) fn leaves_undefined(&mut self, to: Spot, bytes: &Bytes, by: &Doer<'_>) {
        let Spot::Global(begin) = to else {
            return;
        };
        let Some((_, mut written)) = bytes.stretch(0, bytes.len()) else {
            return;
        };
        let mut address = begin;
        while let Some(first) = written.iter().position(|&written| !written) {
            let rest = &written[first..];
            let count = rest
                .iter()
                .position(|&written| written)
                .unwrap_or(rest.len());
            address += first as u64;
            let kind = FindingKind::UninitialisedResult {
                address,
                bytes: count as u32,
            };
            self.found.push((by.origin, kind));
            address += count as u64;
            written = &rest[count..];
        }
    }

    /// Counts bytes that are copied.
    pub(super) fn count(&mut self, spot: Spot, bytes: u64, access: (bool, bool)) {
        let counts = &mut self.ctas[0].counts;
        match spot {
            Spot::Global(place) => counts.global(&[place], bytes, access),
            Spot::Shared(..) => counts.shared.count(bytes, access),
        }
    }

    fn part(&self, from: Spot, bytes: u64) -> Option<Bytes> {
        match from {
            Spot::Global(address) => self.memory.part(address, bytes as usize),
            Spot::Shared(rank, place) => self.ctas[rank as usize]
                .shared
                .part(place as usize, bytes as usize),
        }
    }

    fn replace(&mut self, to: Spot, bytes: &Bytes) -> Option<()> {
        match to {
            Spot::Global(address) => self.memory.put(address, bytes),
            Spot::Shared(rank, place) => self.ctas[rank as usize].shared.put(place as usize, bytes),
        }
    }

    fn beyond(&mut self, access: &'static str, at: Spot, bytes: u64, by: &Doer<'_>) {
        let (Spot::Global(address) | Spot::Shared(_, address)) = at;
        let kind = FindingKind::OutOfBounds {
            access,
            address,
            bytes: bytes as u32,
        };
        self.found.push((by.origin, kind));
    }

    /// Notes an access for the race checker.
    pub fn touch(&mut self, at: Spot, bytes: u64, writes: bool, by: &Doer<'_>) {
        self.note(at, bytes, writes, false, by);
    }

    /// Notes a read and write that nothing comes between.
    fn touch_strongly(&mut self, at: Spot, bytes: u64, by: &Doer<'_>) {
        self.note(at, bytes, true, true, by);
    }

    fn note(&mut self, at: Spot, bytes: u64, writes: bool, is_strong: bool, by: &Doer<'_>) {
        let (agent, clock) = if writes { by.writes_as } else { by.reads_as };
        let accessor = Accessor {
            stamp: Stamp::new(
                agent,
                clock,
                by.origin.place.line,
                is_strong.then_some(ThreadScope::Device),
            ),
            knows: by.knows,
            warps: self.order.warps(),
            of_cta: self.order.warps() / self.ctas.len() as u32,
            proxy: match by.is_asynchronous {
                true => Proxy::Asynchronous(at.memory()),
                false => Proxy::Generic,
            },
        };
        let Some(shadow) = &mut self.shadow else {
            return;
        };
        let conflict = match at {
            Spot::Global(address) => shadow.access(address, bytes, writes, &accessor),
            Spot::Shared(rank, place) => self.ctas[rank as usize]
                .shadow
                .access(place, bytes, writes, &accessor),
        };
        if let Some(conflict) = conflict {
            let kind = race(at, bytes, writes, &conflict);
            self.found.push((by.origin, kind));
        }
    }
}

/// What the checker says of a conflict.
pub(crate) fn race(
    at: Spot,
    bytes: u64,
    writes: bool,
    conflict: &super::shadow::Conflict,
) -> FindingKind {
    if conflict.missing == Missing::Constancy {
        return FindingKind::Constancy {
            writes,
            address: conflict.place,
            other_line: conflict.earlier.line(),
        };
    }
    FindingKind::Race {
        memory: at.name(),
        writes,
        address: conflict.place,
        bytes: bytes as u32,
        other_writes: conflict.wrote,
        other_line: conflict.earlier.line(),
        needs_proxy_fence: conflict.missing == Missing::ProxyFence,
    }
}
