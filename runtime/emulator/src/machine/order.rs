//! What is ordered before what: the knowledge of warps, and of asynchronous work, as vector clocks.
//!
//! Every warp is an *agent* with a clock of its own, and so is every way in which asynchronous work says that it is done: the
//! groups of a warp's copies, an mbarrier with its phases. A stamp names an agent and its clock. Who knows of an agent's
//! clock at least that of a stamp comes behind what the stamp is of (L. Lamport, "Time, clocks, and the ordering of events
//! in a distributed system", CACM 1978). Barriers, mbarriers, fences and atomics pass knowledge on (PTX ISA 8.9, 8.10).
//!
//! Of what went through the generic proxy, the asynchronous proxy sees what a proxy fence stands behind, anywhere on the way:
//! so knowledge is in two parts, all of it and that which a `fence.proxy.async` was executed for.

use std::collections::HashMap;

/// Agents of a cluster: bits of their numbers.
const LOCAL_BITS: u32 = 12;

/// An agent: its cluster's number in the order of launch, and its own in the cluster.
pub(crate) type Agent = u32;

/// Whether an agent is a warp, where each cluster has so many.
pub(crate) fn is_warp(agent: Agent, warps: u32) -> bool {
    agent & ((1 << LOCAL_BITS) - 1) < warps
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
    fenced: Clock,
}

impl Knowledge {
    pub fn join(&mut self, other: &Self) {
        if self.cluster == other.cluster {
            self.all.join(&other.all);
            self.fenced.join(&other.fenced);
            return;
        }
        for (clock, other_clock) in [
            (&mut self.all, &other.all),
            (&mut self.fenced, &other.fenced),
        ] {
            let own = other_clock.own.iter().enumerate();
            let named =
                own.map(|(local, &known)| (other.cluster << LOCAL_BITS | local as u32, known));
            for (agent, known) in named.chain(other_clock.others.iter().map(|(&a, &k)| (a, k))) {
                if known == 0 {
                    continue;
                }
                if agent >> LOCAL_BITS == self.cluster {
                    clock.raise(agent & ((1 << LOCAL_BITS) - 1), known);
                } else {
                    let entry = clock.others.entry(agent).or_default();
                    *entry = (*entry).max(known);
                }
            }
        }
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.all.own.is_empty() && self.all.others.is_empty()
    }

    /// Whether what an agent did by a clock comes before.
    pub fn covers(&self, agent: Agent, clock: u32) -> bool {
        self.all.get(self.cluster, agent) >= clock
    }

    /// Whether the asynchronous proxy sees what an agent did by a clock through the generic one.
    pub fn covers_fenced(&self, agent: Agent, clock: u32) -> bool {
        self.fenced.get(self.cluster, agent) >= clock
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

/// What a strong write tells who reads it.
pub(crate) struct Told {
    /// Everybody.
    pub all: Knowledge,
    /// Threads of the CTA, beyond that.
    pub in_cta: Option<Knowledge>,
}

impl Told {
    /// What threads of the own CTA are told.
    fn whole(self) -> Knowledge {
        let mut whole = self.all;
        if let Some(more) = &self.in_cta {
            whole.join(more);
        }
        whole
    }
}

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
    /// What arrivals of the phase that is open, and of those that have ended, have made known.
    mbarriers: HashMap<(u32, u64), [Knowledge; 2]>,
}

#[derive(Clone, Default)]
struct Warp {
    knows: Knowledge,
    /// What it knew at its last fence: what its relaxed writes make known.
    released: Knowledge,
    /// What it knew at its last fence, where that one's scope was its CTA: they make it known there alone.
    released_in_cta: Option<Knowledge>,
    /// What its relaxed reads have seen: known from the next fence on.
    seen: Knowledge,
}

impl Order {
    /// Of a cluster of so many warps; kept, if anybody is to ask for it.
    pub fn new(cluster: u32, warps: u32, is_kept: bool) -> Self {
        let empty = Knowledge {
            cluster,
            ..Knowledge::default()
        };
        let warps = (0..warps).map(|warp| {
            let mut knows = empty.clone();
            knows.all.raise(warp, 1);
            Warp {
                knows,
                released: empty.clone(),
                released_in_cta: None,
                seen: empty.clone(),
            }
        });
        let warps: Vec<Warp> = warps.collect();
        Self {
            cluster,
            is_kept,
            next: warps.len() as u32,
            warps,
            channels: HashMap::new(),
            barriers: HashMap::new(),
            clustered: empty,
            mbarriers: HashMap::new(),
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

    /// The agent that a channel is. A cluster that has more than there are numbers for shares the last one.
    pub fn channel(&mut self, channel: Channel) -> Agent {
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

    /// A fence between the generic and the asynchronous proxy.
    pub fn fence_proxy(&mut self, warp: u32) {
        if !self.is_kept {
            return;
        }
        let own = &mut self.warps[warp as usize].knows;
        own.fenced = own.all.clone();
        self.tick(warp);
    }

    /// A fence of the generic proxy: what was done before it is told by later relaxed writes, to threads of the CTA alone where
    /// that is its scope, and what earlier relaxed reads were told is known. Of those the scope is not looked at.
    pub fn fence(&mut self, warp: u32, in_cta: bool) {
        if !self.is_kept {
            return;
        }
        let own = &mut self.warps[warp as usize];
        let seen = std::mem::take(&mut own.seen);
        own.knows.join(&seen);
        own.seen.cluster = self.cluster;
        if in_cta {
            own.released_in_cta = Some(own.knows.clone());
        } else {
            own.released = own.knows.clone();
            own.released_in_cta = None;
        }
        self.tick(warp);
    }

    /// What a strong write of a warp tells who reads it: of a release all that the warp knows, to threads of the CTA where that
    /// is its scope.
    pub fn told(&mut self, warp: u32, releases: bool, in_cta: bool) -> Told {
        if !self.is_kept {
            return Told {
                all: self.empty(),
                in_cta: None,
            };
        }
        if releases && !in_cta {
            return Told {
                all: self.snapshot(warp),
                in_cta: None,
            };
        }
        let all = self.warps[warp as usize].released.clone();
        let in_cta = if releases {
            Some(self.snapshot(warp))
        } else {
            self.warps[warp as usize].released_in_cta.clone()
        };
        Told { all, in_cta }
    }

    /// What an arrival of a warp at a barrier object tells: its scope is not looked at.
    pub fn told_at_barrier(&mut self, warp: u32, releases: bool) -> Knowledge {
        self.told(warp, releases, false).whole()
    }

    /// A strong read has been told something: of an acquire it is known at once.
    pub fn hears(&mut self, warp: u32, told: &Knowledge, acquires: bool) {
        let own = &mut self.warps[warp as usize];
        if acquires {
            own.knows.join(told);
        } else {
            own.seen.join(told);
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
        let told = self.told_at_barrier(warp, releases);
        self.clustered.join(&told);
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

    /// An arrival at an mbarrier tells something to who waits for its phase.
    pub fn comes_to_mbarrier(&mut self, rank: u32, place: u64, told: &Knowledge) {
        if !self.is_kept {
            return;
        }
        let empty = self.empty();
        let [open, _] = self
            .mbarriers
            .entry((rank, place))
            .or_insert_with(|| [empty.clone(), empty]);
        open.join(told);
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
        let [open, ended] = self
            .mbarriers
            .entry((rank, place))
            .or_insert_with(|| [empty.clone(), empty.clone()]);
        open.learn(agent, phase as u32 + 1);
        ended.join(open);
        *open = empty;
    }

    /// A warp has seen that phases have ended.
    pub fn passes_mbarrier(&mut self, warp: u32, rank: u32, place: u64) {
        if let Some([_, ended]) = self.mbarriers.get(&(rank, place)) {
            self.warps[warp as usize].knows.join(ended);
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
            if fence_first {
                order.fence_proxy(0);
            }
            order.comes_to_barrier(0, 0, 0);
            let all = order.at_barrier(0, 0);
            order.goes_on(1, &all);
            if !fence_first {
                assert!(!order.knows(1).covers_fenced(first, clock));
                order.fence_proxy(1);
            }
            assert!(order.knows(1).covers_fenced(first, clock));
        }
    }

    #[test]
    fn a_relaxed_write_tells_what_was_before_the_last_fence() {
        let mut order = Order::new(0, 2, true);
        let (first, before) = order.warp(0);
        order.fence(0, false);
        let (_, between) = order.warp(0);
        let told = order.told(0, false, false).all;
        order.hears(1, &told, false);
        assert!(!order.knows(1).covers(first, before));
        order.fence(1, false);
        assert!(order.knows(1).covers(first, before));
        assert!(!order.knows(1).covers(first, between));
    }

    #[test]
    fn a_fence_of_the_cta_tells_nobody_else() {
        let mut order = Order::new(0, 1, true);
        let (own, clock) = order.warp(0);
        order.fence(0, true);
        let told = order.told(0, false, false);
        assert!(!told.all.covers(own, clock));
        assert!(told.in_cta.unwrap().covers(own, clock));
        // One of a wider scope tells all.
        order.fence(0, false);
        let told = order.told(0, false, false);
        assert!(told.all.covers(own, clock) && told.in_cta.is_none());
        let (_, clock) = order.warp(0);
        let told = order.told(0, true, true);
        assert!(!told.all.covers(own, clock));
        assert!(told.in_cta.unwrap().covers(own, clock));
    }

    #[test]
    fn a_wait_sees_the_phases_that_have_ended_and_no_other() {
        let mut order = Order::new(0, 2, true);
        let (agent, first) = order.at_phase(0, 64, 0);
        let (_, second) = order.at_phase(0, 64, 1);
        order.ends_phase(0, 64, 0);
        order.passes_mbarrier(1, 0, 64);
        assert!(order.knows(1).covers(agent, first));
        assert!(!order.knows(1).covers(agent, second));
    }

    #[test]
    fn clusters_learn_of_each_other_by_what_they_are_told() {
        let (mut here, mut there) = (Order::new(0, 1, true), Order::new(1, 1, true));
        let (agent, clock) = here.warp(0);
        let told = here.told(0, true, false).all;
        there.hears(0, &told, true);
        assert!(there.knows(0).covers(agent, clock));
        let back = there.told(0, true, false).all;
        here.hears(0, &back, true);
        assert!(here.knows(0).covers(there.warp(0).0, 1));
    }
}
