//! How those who make a tile wait for each other: the warps of a CTA, or those of a pair of CTAs, a cluster.
//!
//! Of a pair the first CTA is the leader. One of its threads has products made for both, so that both say to its mbarriers
//! what it waits for: that a stage is full, that sums are read. What the matrix unit has done it says to both.

use super::{Kernel, instructions};
use crate::mlir::{Builder, Value};
use crate::nvptx::family::dot::Factors;
use crate::nvptx::thread;

impl<'c, P: Factors> Kernel<'_, 'c, P> {
    /// CTAs that make a tile.
    pub(super) fn ctas(&self) -> i64 {
        self.own.tile.ctas
    }

    /// Whether they are a pair.
    pub(super) fn is_pair(&self) -> bool {
        self.ctas() > 1
    }

    /// All threads arrive, and see what the others wrote before.
    pub(super) fn barrier(&self, b: &Builder<'c>) {
        match self.is_pair() {
            false => thread::barrier(b),
            true => thread::cluster_barrier(b),
        }
    }

    /// Waits until the phase of that parity has ended.
    pub(super) fn wait(&self, b: &Builder<'c>, barrier: Value<'c>, parity: Value<'c>) {
        match self.is_pair() {
            false => instructions::wait(b, barrier, parity),
            true => instructions::wait_in_cluster(b, barrier, parity),
        }
    }

    /// Waits until the phase before that of a parity has ended: that before the first has.
    pub(super) fn wait_before(&self, b: &Builder<'c>, barrier: Value<'c>, parity: Value<'c>) {
        let one = b.constant_integer(b.integer(32), 1);
        self.wait(b, barrier, b.binary("arith.xori", parity, one));
    }

    /// How often an mbarrier is arrived at where so many threads of each CTA have `arrive`.
    pub(super) fn arrivals(&self, threads: i64) -> i64 {
        match self.is_pair() {
            false => threads,
            true => self.ctas() * threads / thread::WARP,
        }
    }

    /// Arrives at an mbarrier: each thread at the CTA's, or one of the warp at the leader's, for all.
    pub(super) fn arrive(&self, b: &Builder<'c>, barrier: Value<'c>) {
        if !self.is_pair() {
            return instructions::arrive(b, barrier);
        }
        let lane = b.cast("arith.trunci", thread::lane(b), b.integer(32));
        instructions::arrive_in_cluster(b, instructions::of_leader(b, barrier), lane);
    }

    /// So many bytes more have to come before the phase of the mbarrier ends, at which copies arrive.
    pub(super) fn expect_bytes(&self, b: &Builder<'c>, barrier: Value<'c>, bytes: i64) {
        match self.is_pair() {
            false => instructions::expect_bytes(b, barrier, bytes),
            true => instructions::expect_bytes_in_cluster(b, barrier, bytes),
        }
    }

    /// The same, and the thread arrives.
    pub(super) fn arrive_expecting(&self, b: &Builder<'c>, barrier: Value<'c>, bytes: i64) {
        match self.is_pair() {
            false => instructions::arrive_expecting(b, barrier, bytes),
            true => instructions::arrive_expecting_in_cluster(b, barrier, bytes),
        }
    }

    /// The mbarrier at which copies arrive: of those at that place the CTA's, or the leader's.
    pub(super) fn told(&self, b: &Builder<'c>, barrier: Value<'c>) -> Value<'c> {
        match self.is_pair() {
            false => barrier,
            true => instructions::of_leader(b, barrier),
        }
    }

    /// The mbarrier, of a pair both, is arrived at once all is done that the thread began for the matrix unit.
    pub(super) fn commit(&self, b: &Builder<'c>, barrier: Value<'c>) {
        match self.is_pair() {
            false => instructions::commit(b, barrier),
            true => instructions::commit_to_pair(b, barrier),
        }
    }
}
