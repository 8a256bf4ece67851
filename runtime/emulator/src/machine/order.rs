//! What is ordered before what: the knowledge of warps, and of asynchronous work, as vector clocks.
//!
//! Every warp is an *agent* with a clock of its own, and so is every way in which asynchronous work says that it is done: the
//! groups of a warp's copies, an mbarrier with its phases. A stamp names an agent and its clock. Who knows of an agent's
//! clock at least that of a stamp comes behind what the stamp is of (L. Lamport, "Time, clocks, and the ordering of events
//! in a distributed system", CACM 1978). Barriers, mbarriers, fences and atomics pass knowledge on (PTX ISA 8.9, 8.10).
//!
//! Of what went through the generic proxy, the asynchronous proxy sees what a proxy fence stands behind, anywhere on the way:
//! so knowledge is in parts, all of it and that which a `fence.proxy.async` was executed for, which may be of one memory alone.
//!
//! Who tells and who is told must each be in the scope that the other one's access or fence names (PTX ISA 8.5, 8.9.2): what
//! strong accesses pass on is kept by whom it is for, and by whom it came.

mod maps;

use crate::instruction::ThreadScope;
use maps::Maps;
use std::collections::HashMap;
use std::sync::Arc;

/// Agents of a cluster: bits of their numbers.
const LOCAL_BITS: u32 = 12;

/// An agent: its cluster's number in the order of launch, and its own in the cluster.
pub(crate) type Agent = u32;

/// Whether an agent is a warp, where each cluster has so many.
pub(crate) fn is_warp(agent: Agent, warps: u32) -> bool {
    agent & ((1 << LOCAL_BITS) - 1) < warps
}

/// Whether an agent accesses memory through the generic proxy, where each cluster has so many warps: a warp, or the groups of
/// its `cp.async`, which are no bulk copies (PTX ISA 9.7.9.25.3).
pub(crate) fn is_generic(agent: Agent, warps: u32) -> bool {
    is_warp(agent, 2 * warps)
}

/// The narrowest scope that two warps are both in, where each CTA has so many.
pub(crate) fn together(a: Agent, b: Agent, of_cta: u32) -> ThreadScope {
    let local = |agent| agent & ((1 << LOCAL_BITS) - 1);
    if a >> LOCAL_BITS != b >> LOCAL_BITS {
        ThreadScope::Device
    } else if local(a) / of_cta != local(b) / of_cta {
        ThreadScope::Cluster
    } else {
        ThreadScope::Cta
    }
}

/// Those that a strong write tells something: of a scope that a warp is in, where each CTA has so many.
pub(crate) fn audience(agent: Agent, scope: ThreadScope, of_cta: u32) -> Audience {
    match scope {
        ThreadScope::Cta => {
            let local = agent & ((1 << LOCAL_BITS) - 1);
            Audience::Cta(agent - local % of_cta)
        }
        ThreadScope::Cluster => Audience::Cluster(agent >> LOCAL_BITS),
        ThreadScope::Device => Audience::All,
    }
}

/// Threads that are told something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Audience {
    /// By its first warp.
    Cta(Agent),
    Cluster(u32),
    All,
}

/// The last clock of each agent that is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock {
    /// Of agents of the own cluster.
    own: Vec<u32>,
    /// Of agents of other ones.
    others: HashMap<Agent, u32>,
}

impl Clock {
    fn get(&self, cluster: u32, agent: Agent) -> u32 {
        if agent >> LOCAL_BITS == cluster {
            let local = agent & ((1 << LOCAL_BITS) - 1);
            return self.own.get(local as usize).copied().unwrap_or(0);
        }
        self.others.get(&agent).copied().unwrap_or(0)
    }

    fn raise(&mut self, local: u32, clock: u32) {
        let local = local as usize;
        if self.own.len() <= local {
            self.own.resize(local + 1, 0);
        }
        self.own[local] = self.own[local].max(clock);
    }

    /// All that another clock knows too, each of its cluster.
    fn join_in(&mut self, (cluster, other_cluster): (u32, u32), other: &Self) {
        if cluster == other_cluster {
            self.join(other);
        } else {
            self.join_from(cluster, other_cluster, other);
        }
    }

    /// All that a clock of another cluster knows too.
    fn join_from(&mut self, cluster: u32, other_cluster: u32, other: &Self) {
        let own = other.own.iter().enumerate();
        let named = own.map(|(local, &known)| (other_cluster << LOCAL_BITS | local as u32, known));
        for (agent, known) in named.chain(other.others.iter().map(|(&a, &k)| (a, k))) {
            if known == 0 {
                continue;
            }
            if agent >> LOCAL_BITS == cluster {
                self.raise(agent & ((1 << LOCAL_BITS) - 1), known);
            } else {
                let entry = self.others.entry(agent).or_default();
                *entry = (*entry).max(known);
            }
        }
    }

    /// All that the other one knows too, which is of the same cluster.
    fn join(&mut self, other: &Self) {
        if self.own.len() < other.own.len() {
            self.own.resize(other.own.len(), 0);
        }
        for (own, other) in self.own.iter_mut().zip(&other.own) {
            *own = (*own).max(*other);
        }
        for (&agent, &clock) in &other.others {
            let own = self.others.entry(agent).or_default();
            *own = (*own).max(clock);
        }
    }
}

/// What is known, and what of it the asynchronous proxy sees.
#[derive(Clone, Debug, Default)]
pub(crate) struct Knowledge {
    cluster: u32,
    all: Clock,
    /// By memory.
    fenced: [Clock; 2],
    maps: Maps,
}

/// A memory that a fence between proxies may be for alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FencedMemory {
    Shared,
    Global,
}

impl Knowledge {
    pub fn join(&mut self, other: &Self) {
        let parts = [&mut self.all].into_iter().chain(&mut self.fenced);
        let others = [&other.all].into_iter().chain(&other.fenced);
        let clusters = (self.cluster, other.cluster);
        parts
            .zip(others)
            .for_each(|(own, other)| own.join_in(clusters, other));
        self.maps.join(clusters, &other.maps);
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.all.own.is_empty() && self.all.others.is_empty()
    }

    /// Whether what an agent did by a clock comes before.
    pub fn covers(&self, agent: Agent, clock: u32) -> bool {
        self.all.get(self.cluster, agent) >= clock
    }

    /// Whether the asynchronous proxy sees what an agent did in a memory by a clock through the generic one.
    pub fn covers_fenced(&self, agent: Agent, clock: u32, memory: FencedMemory) -> bool {
        self.fenced[memory as usize].get(self.cluster, agent) >= clock
    }

    /// Whether copies by the tensor map at an address see what an agent did by a clock through the generic proxy.
    pub fn covers_map(&self, agent: Agent, clock: u32, map: u64) -> bool {
        self.maps.covers(self.cluster, agent, clock, map)
    }

    /// Knows of an agent of the own cluster.
    pub fn learn(&mut self, agent: Agent, clock: u32) {
        self.all.raise(agent & ((1 << LOCAL_BITS) - 1), clock);
    }
}

/// A way in which asynchronous work of a cluster says that it is done. Warps are counted through the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Channel {
    /// Groups of a warp's `cp.async`.
    Copies(u32),
    /// Groups of a warp's bulk copies, done.
    Bulk(u32),
    /// The same, of which no more than the source is known to have been read.
    BulkRead(u32),
    /// Groups of a warp's `wgmma`.
    Multiply(u32),
    /// The phases of an mbarrier: the CTA's rank, and the place in its shared memory.
    Mbarrier(u32, u64),
    /// What a thread of a warp commits of `tcgen05`.
    Tensor(u32, u32),
}

/// What is told to threads of the CTA, of the cluster and of the device, each by itself.
pub(crate) type Told = [Arc<Knowledge>; ThreadScope::COUNT];

/// The order of a cluster's warps.
pub(crate) struct Order {
    cluster: u32,
    /// Whether anybody asks: else nothing is kept.
    is_kept: bool,
    warps: Vec<Warp>,
    channels: HashMap<Channel, u32>,
    next: u32,
    /// What those know who have come to a barrier: of a CTA by its rank and number, of the cluster.
    barriers: HashMap<(u32, u32), Knowledge>,
    clustered: Knowledge,
    mbarriers: HashMap<(u32, u64), Phases>,
    /// Nothing.
    empty: Arc<Knowledge>,
}

struct Warp {
    knows: Knowledge,
    /// What it knew at its last fence that was strong to a scope: what its relaxed writes make known there.
    released: Told,
    /// What its relaxed reads were told by who is in a scope: known from the next fence on that is strong to it.
    seen: [Knowledge; ThreadScope::COUNT],
}

/// What arrivals at an mbarrier have made known: those of the object's CTA, and those that are of its cluster at least.
#[derive(Clone)]
struct Phases {
    /// In the phase that is open.
    open: [Knowledge; 2],
    /// In those that have ended.
    ended: [Knowledge; 2],
}

impl Order {
    /// Of a cluster of so many warps; kept, if anybody is to ask for it.
    pub fn new(cluster: u32, warps: u32, is_kept: bool) -> Self {
        let empty = Knowledge {
            cluster,
            ..Knowledge::default()
        };
        let nothing = Arc::new(empty.clone());
        let warps = (0..warps).map(|warp| {
            let mut knows = empty.clone();
            knows.all.raise(warp, 1);
            Warp {
                knows,
                released: std::array::from_fn(|_| Arc::clone(&nothing)),
                seen: std::array::from_fn(|_| empty.clone()),
            }
        });
        let warps: Vec<Warp> = warps.collect();
        Self {
            cluster,
            is_kept,
            next: 2 * warps.len() as u32,
            warps,
            channels: HashMap::new(),
            barriers: HashMap::new(),
            clustered: empty,
            mbarriers: HashMap::new(),
            empty: nothing,
        }
    }

    fn empty(&self) -> Knowledge {
        Knowledge {
            cluster: self.cluster,
            ..Knowledge::default()
        }
    }

    /// A warp as an agent, and its clock.
    pub fn warp(&self, warp: u32) -> (Agent, u32) {
        let agent = self.cluster << LOCAL_BITS | warp;
        (
            agent,
            self.warps[warp as usize].knows.all.own[warp as usize],
        )
    }

    /// The number of warps, which are the first agents of every cluster.
    pub fn warps(&self) -> u32 {
        self.warps.len() as u32
    }

    pub fn knows(&self, warp: u32) -> &Knowledge {
        &self.warps[warp as usize].knows
    }

    /// The agent that a channel is: behind the warps the groups of their copies, then all others. A cluster that has more than
    /// there are numbers for shares the last one.
    pub fn channel(&mut self, channel: Channel) -> Agent {
        if let Channel::Copies(warp) = channel {
            return self.cluster << LOCAL_BITS | (self.warps() + warp);
        }
        let next = &mut self.next;
        let local = *self.channels.entry(channel).or_insert_with(|| {
            let local = (*next).min((1 << LOCAL_BITS) - 1);
            *next += 1;
            local
        });
        self.cluster << LOCAL_BITS | local
    }

    /// What a warp does from now on is not yet known to whom its clock was told.
    fn tick(&mut self, warp: u32) {
        self.warps[warp as usize].knows.all.own[warp as usize] += 1;
    }

    /// What a warp knows at the moment, for asynchronous work that begins.
    pub fn snapshot(&mut self, warp: u32) -> Knowledge {
        if !self.is_kept {
            return self.empty();
        }
        let knows = self.warps[warp as usize].knows.clone();
        self.tick(warp);
        knows
    }

    /// A warp has seen that a channel's work is done up to a clock.
    pub fn learn(&mut self, warp: u32, channel: Channel, clock: u32) {
        if !self.is_kept {
            return;
        }
        let agent = self.channel(channel);
        self.warps[warp as usize].knows.learn(agent, clock);
    }

    /// A fence between the generic and the asynchronous proxy, for some memories.
    pub fn fence_proxy(&mut self, warp: u32, memories: &[FencedMemory]) {
        if !self.is_kept {
            return;
        }
        let own = &mut self.warps[warp as usize].knows;
        for &memory in memories {
            own.fenced[memory as usize] = own.all.clone();
        }
        self.tick(warp);
    }

    /// A fence between the generic proxy and that of tensor maps: it releases what the warp knows, or acquires for the map at an
    /// address what was released. Between threads it orders as any fence of its kind does.
    pub fn fence_maps(&mut self, warp: u32, acquired: Option<u64>, scope: ThreadScope) {
        if !self.is_kept {
            return;
        }
        // What is told of a release has it.
        if acquired.is_none() {
            let own = &mut self.warps[warp as usize].knows;
            own.maps.release(&own.all);
        }
        self.fence(warp, (acquired.is_none(), acquired.is_some()), scope);
        if let Some(map) = acquired {
            self.warps[warp as usize].knows.maps.acquire(map);
        }
    }

    /// A fence of the generic proxy: what was done before it is told by later relaxed writes, if it releases, to threads of
    /// its scope; and what earlier relaxed reads were told by such threads is known, if it acquires.
    pub fn fence(&mut self, warp: u32, (releases, acquires): (bool, bool), scope: ThreadScope) {
        if !self.is_kept {
            return;
        }
        let own = &mut self.warps[warp as usize];
        for within in ThreadScope::ALL
            .into_iter()
            .filter(|&within| within <= scope)
        {
            if acquires && !own.seen[within as usize].is_empty() {
                let seen = std::mem::take(&mut own.seen[within as usize]);
                own.seen[within as usize].cluster = self.cluster;
                own.knows.join(&seen);
            }
        }
        if releases {
            let knows = Arc::new(own.knows.clone());
            for within in ThreadScope::ALL
                .into_iter()
                .filter(|&within| within <= scope)
            {
                own.released[within as usize] = Arc::clone(&knows);
            }
        }
        self.tick(warp);
    }

    /// What a strong write of a warp tells who reads it: of a release all that the warp knows, else what it knew at a fence;
    /// nothing beyond the write's scope.
    pub fn told(&mut self, warp: u32, releases: bool, scope: ThreadScope) -> Told {
        let nothing = || Arc::clone(&self.empty);
        if !self.is_kept {
            return std::array::from_fn(|_| nothing());
        }
        let all = if releases {
            let knows = Arc::new(self.snapshot(warp));
            std::array::from_fn(|_| Arc::clone(&knows))
        } else {
            self.warps[warp as usize].released.clone()
        };
        let mut told = all;
        for beyond in ThreadScope::ALL
            .into_iter()
            .filter(|&within| within > scope)
        {
            told[beyond as usize] = Arc::clone(&self.empty);
        }
        told
    }

    /// A strong read has been told something by threads of a scope: of an acquire it is known at once.
    pub fn hears(&mut self, warp: u32, told: &Knowledge, within: ThreadScope, acquires: bool) {
        let own = &mut self.warps[warp as usize];
        if acquires {
            own.knows.join(told);
        } else {
            own.seen[within as usize].join(told);
        }
    }

    /// A warp comes to a CTA's barrier.
    pub fn comes_to_barrier(&mut self, warp: u32, rank: u32, barrier: u32) {
        if !self.is_kept {
            return;
        }
        let empty = self.empty();
        let all = self.barriers.entry((rank, barrier)).or_insert(empty);
        all.join(&self.warps[warp as usize].knows);
        self.tick(warp);
    }

    /// A CTA's barrier is full: what all know that came.
    pub fn at_barrier(&mut self, rank: u32, barrier: u32) -> Knowledge {
        if !self.is_kept {
            return self.empty();
        }
        let empty = self.empty();
        self.barriers.remove(&(rank, barrier)).unwrap_or(empty)
    }

    /// A warp comes to the cluster's barrier.
    pub fn comes_to_cluster(&mut self, warp: u32, releases: bool) {
        if !self.is_kept {
            return;
        }
        let told = self.told(warp, releases, ThreadScope::Cluster);
        self.clustered.join(&told[ThreadScope::Cluster as usize]);
    }

    /// The cluster's barrier is full.
    pub fn at_cluster(&mut self) -> Knowledge {
        if !self.is_kept {
            return self.empty();
        }
        let empty = self.empty();
        std::mem::replace(&mut self.clustered, empty)
    }

    /// A warp goes on behind a barrier.
    pub fn goes_on(&mut self, warp: u32, knowledge: &Knowledge) {
        if !self.is_kept {
            return;
        }
        self.warps[warp as usize].knows.join(knowledge);
    }

    /// Asynchronous work arrives at an mbarrier and tells something to who waits for its phase.
    pub fn comes_to_mbarrier(&mut self, rank: u32, place: u64, told: &Knowledge) {
        if self.is_kept {
            for open in &mut self.phases(rank, place).open {
                open.join(told);
            }
        }
    }

    /// A thread arrives at an mbarrier, of its own CTA or of another's, and tells something to who waits for its phase.
    pub fn arrives(&mut self, (rank, place): (u32, u64), is_own: bool, told: &Told) {
        if !self.is_kept {
            return;
        }
        let phases = self.phases(rank, place);
        if is_own {
            phases.open[0].join(&told[ThreadScope::Cta as usize]);
            phases.open[1].join(&told[ThreadScope::Cta as usize]);
        } else {
            phases.open[1].join(&told[ThreadScope::Cluster as usize]);
        }
    }

    fn phases(&mut self, rank: u32, place: u64) -> &mut Phases {
        let empty = &self.empty;
        let phases = self.mbarriers.entry((rank, place));
        phases.or_insert_with(|| {
            let nothing = [Knowledge::clone(empty), Knowledge::clone(empty)];
            Phases {
                open: nothing.clone(),
                ended: nothing,
            }
        })
    }

    /// The number of work that says at an mbarrier that it is done, as a stamp.
    pub fn at_phase(&mut self, rank: u32, place: u64, phase: u64) -> (Agent, u32) {
        (
            self.channel(Channel::Mbarrier(rank, place)),
            phase as u32 + 1,
        )
    }

    /// A phase of an mbarrier has ended.
    pub fn ends_phase(&mut self, rank: u32, place: u64, phase: u64) {
        if !self.is_kept {
            return;
        }
        let agent = self.channel(Channel::Mbarrier(rank, place));
        let empty = self.empty();
        let Phases { open, ended } = self.phases(rank, place);
        for (open, ended) in open.iter_mut().zip(ended) {
            open.learn(agent, phase as u32 + 1);
            ended.join(open);
            *open = empty.clone();
        }
    }

    /// A warp has seen that phases have ended; what arrivals of its scope told is known at once if it acquires.
    pub fn passes_mbarrier(
        &mut self,
        warp: u32,
        (rank, place): (u32, u64),
        acquires: bool,
        scope: ThreadScope,
    ) {
        let Some(Phases { ended, .. }) = self.mbarriers.get(&(rank, place)) else {
            return;
        };
        let own = &mut self.warps[warp as usize];
        let [in_cta, in_cluster] = ended;
        match (acquires, scope) {
            (true, ThreadScope::Cta) => own.knows.join(in_cta),
            (true, _) => own.knows.join(in_cluster),
            (false, _) => {
                own.seen[ThreadScope::Cta as usize].join(in_cta);
                if scope > ThreadScope::Cta {
                    own.seen[ThreadScope::Cluster as usize].join(in_cluster);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_barrier_orders_what_was_before_it() {
        let mut order = Order::new(0, 2, true);
        let (first, clock) = order.warp(0);
        assert!(!order.knows(1).covers(first, clock));
        order.comes_to_barrier(0, 0, 1);
        let all = order.at_barrier(0, 1);
        order.goes_on(1, &all);
        assert!(order.knows(1).covers(first, clock));
        let (_, after) = order.warp(0);
        assert!(!order.knows(1).covers(first, after));
    }

    #[test]
    fn the_asynchronous_proxy_sees_what_a_fence_stands_behind_on_either_side_of_a_barrier() {
        for fence_first in [true, false] {
            let mut order = Order::new(0, 2, true);
            let (first, clock) = order.warp(0);
            let covers = |order: &Order, memory| order.knows(1).covers_fenced(first, clock, memory);
            if fence_first {
                order.fence_proxy(0, &[FencedMemory::Shared]);
            }
            order.comes_to_barrier(0, 0, 0);
            let all = order.at_barrier(0, 0);
            order.goes_on(1, &all);
            if !fence_first {
                assert!(!covers(&order, FencedMemory::Shared));
                order.fence_proxy(1, &[FencedMemory::Shared]);
            }
            assert!(covers(&order, FencedMemory::Shared));
            assert!(!covers(&order, FencedMemory::Global));
        }
    }

    #[test]
    fn a_relaxed_write_tells_what_was_before_the_last_fence() {
        let mut order = Order::new(0, 2, true);
        let (first, before) = order.warp(0);
        order.fence(0, (true, true), ThreadScope::Device);
        let (_, between) = order.warp(0);
        let [told, ..] = order.told(0, false, ThreadScope::Device);
        order.hears(1, &told, ThreadScope::Cta, false);
        assert!(!order.knows(1).covers(first, before));
        order.fence(1, (true, false), ThreadScope::Cta);
        assert!(!order.knows(1).covers(first, before));
        order.fence(1, (true, true), ThreadScope::Cta);
        assert!(order.knows(1).covers(first, before));
        assert!(!order.knows(1).covers(first, between));
    }

    #[test]
    fn a_fence_tells_nobody_beyond_its_scope() {
        let mut order = Order::new(0, 1, true);
        let (own, clock) = order.warp(0);
        order.fence(0, (true, true), ThreadScope::Cta);
        let who = |told: &Told, clock| told.each_ref().map(|told| told.covers(own, clock));
        let told = order.told(0, false, ThreadScope::Device);
        assert_eq!(who(&told, clock), [true, false, false]);
        order.fence(0, (true, true), ThreadScope::Device);
        let told = order.told(0, false, ThreadScope::Device);
        assert_eq!(who(&told, clock), [true; 3]);
        // Nor does the write itself.
        let told = order.told(0, false, ThreadScope::Cluster);
        assert_eq!(who(&told, clock), [true, true, false]);
        let (_, clock) = order.warp(0);
        let told = order.told(0, true, ThreadScope::Cta);
        assert_eq!(who(&told, clock), [true, false, false]);
    }

    #[test]
    fn a_fence_takes_up_what_was_heard_within_its_scope() {
        let (mut here, mut there) = (Order::new(0, 1, true), Order::new(1, 1, true));
        let (agent, clock) = here.warp(0);
        let told = here.told(0, true, ThreadScope::Device);
        there.hears(
            0,
            &told[ThreadScope::Device as usize],
            ThreadScope::Device,
            false,
        );
        there.fence(0, (true, true), ThreadScope::Cta);
        assert!(!there.knows(0).covers(agent, clock));
        there.fence(0, (true, true), ThreadScope::Device);
        assert!(there.knows(0).covers(agent, clock));
    }

    #[test]
    fn an_arrival_from_another_cta_is_seen_by_who_looks_beyond_its_own() {
        let mut order = Order::new(0, 2, true);
        let (first, clock) = order.warp(0);
        let told = order.told(0, true, ThreadScope::Cluster);
        order.arrives((1, 64), false, &told);
        order.ends_phase(1, 64, 0);
        order.passes_mbarrier(1, (1, 64), true, ThreadScope::Cta);
        assert!(!order.knows(1).covers(first, clock));
        order.passes_mbarrier(1, (1, 64), false, ThreadScope::Cluster);
        assert!(!order.knows(1).covers(first, clock));
        order.fence(1, (false, true), ThreadScope::Cluster);
        assert!(order.knows(1).covers(first, clock));
    }

    #[test]
    fn a_wait_sees_the_phases_that_have_ended_and_no_other() {
        let mut order = Order::new(0, 2, true);
        let (agent, first) = order.at_phase(0, 64, 0);
        let (_, second) = order.at_phase(0, 64, 1);
        order.ends_phase(0, 64, 0);
        order.passes_mbarrier(1, (0, 64), true, ThreadScope::Cta);
        assert!(order.knows(1).covers(agent, first));
        assert!(!order.knows(1).covers(agent, second));
    }

    #[test]
    fn clusters_learn_of_each_other_by_what_they_are_told() {
        let (mut here, mut there) = (Order::new(0, 1, true), Order::new(1, 1, true));
        let (agent, clock) = here.warp(0);
        let [.., told] = here.told(0, true, ThreadScope::Device);
        there.hears(0, &told, ThreadScope::Device, true);
        assert!(there.knows(0).covers(agent, clock));
        let [.., back] = there.told(0, true, ThreadScope::Device);
        here.hears(0, &back, ThreadScope::Device, true);
        assert!(here.knows(0).covers(there.warp(0).0, 1));
    }
}
