//! What copies of tensors see of the maps that threads write: the proxy of tensor maps (PTX ISA 8.6, 9.7.13.4).
//!
//! Who wrote a map releases it, by `fence.proxy.tensormap::generic.release` or `tensormap.cp_fenceproxy`; behind that, by whatever
//! order, somebody acquires the 128 bytes at its address. Only who comes behind both may copy by it.

use super::{Agent, Clock};
use std::collections::BTreeMap;

/// The parts of knowledge that fences of tensor maps stand behind.
#[derive(Clone, Debug, Default)]
pub(super) struct Maps {
    released: Clock,
    /// By the map's address.
    acquired: BTreeMap<u64, Clock>,
}

impl Maps {
    pub fn join(&mut self, clusters: (u32, u32), other: &Self) {
        self.released.join_in(clusters, &other.released);
        for (&map, clock) in &other.acquired {
            let own = self.acquired.entry(map).or_default();
            own.join_in(clusters, clock);
        }
    }

    /// All that is known is released.
    pub fn release(&mut self, all: &Clock) {
        self.released = all.clone();
    }

    /// What was released is acquired for a map.
    pub fn acquire(&mut self, map: u64) {
        self.acquired.entry(map).or_default().join(&self.released);
    }

    pub fn covers(&self, cluster: u32, agent: Agent, clock: u32, map: u64) -> bool {
        let acquired = self.acquired.get(&map);
        acquired.is_some_and(|acquired| acquired.get(cluster, agent) >= clock)
    }
}
