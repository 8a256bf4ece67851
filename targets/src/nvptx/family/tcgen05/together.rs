//! How those who make a tile wait for each other: the warps of a CTA, or those of a pair of CTAs, a cluster.
//!
//! Of a pair the first CTA is the leader. One of its threads has products made for both, so that it waits for what both have:
//! copies by tensor maps arrive at its mbarriers, writing warps arrive there, and of what threads have filled in the other CTA
//! a thread there tells it, one for all: an arrival in another CTA is a fence for the whole GPU. What the matrix unit has done
//! it says to both.

use super::{Kernel, LOADING_THREADS, WRITING_THREADS, instructions};
use crate::mlir::elemental::Unsupported;
use crate::mlir::{Builder, Emission, IntegerPredicate, Value};
use crate::nvptx::family::dot::Factors;
use crate::nvptx::family::rounds::turn;
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

    /// How often a stage is said to be full: by all loading threads of a CTA, and by one of the other; by the one that has all
    /// copied.
    pub(super) fn arrivals_at_full(&self) -> i64 {
        self.arrivals_at_filled() + i64::from(self.stages_told() > 0)
    }

    /// How often a CTA's own threads say that they have filled a stage, or had it copied.
    pub(super) fn arrivals_at_filled(&self) -> i64 {
        match self.is_copied() {
            true => 1,
            false => LOADING_THREADS,
        }
    }

    /// Stages of which the leader's peer tells it that they are filled: by its threads, or with scales, whose copies arrive at
    /// no mbarrier but the CTA's own.
    pub(super) fn stages_told(&self) -> i64 {
        let is_told = !self.is_copied() || self.own.has_scale_tiles;
        match self.is_pair() && is_told {
            false => 0,
            true => self.own.tile.stages,
        }
    }

    /// How often sums are said to be read: by all writing threads of a CTA, or by one of each warp of two.
    pub(super) fn arrivals_at_read(&self) -> i64 {
        match self.is_pair() {
            false => WRITING_THREADS,
            true => self.ctas() * WRITING_THREADS / thread::WARP,
        }
    }

    /// The first of the mbarriers at which loading threads arrive: of those that the leader does not wait for there are others.
    fn filled(&self, b: &Builder<'c>) -> Value<'c> {
        let places = &self.own.places;
        let full = self.at(b, places.full);
        let Some((rank, _)) = &self.rank else {
            return full;
        };
        let further = b.constant_i64(places.filled - places.full);
        let further = b.binary("arith.muli", *rank, further);
        let further = b.cast("arith.trunci", further, b.integer(32));
        b.binary("arith.addi", full, further)
    }

    /// The mbarrier at which loading threads arrive for a stage.
    pub(super) fn filled_at(&self, b: &Builder<'c>, stage: Value<'c>) -> Value<'c> {
        let eight = b.constant_integer(b.integer(32), 8);
        let offset = b.binary("arith.muli", stage, eight);
        b.binary("arith.addi", self.filled(b), offset)
    }

    /// A loading thread has filled its part of a stage.
    pub(super) fn say_filled(&self, b: &Builder<'c>, stage: Value<'c>) {
        instructions::arrive(b, self.filled_at(b, stage));
    }

    /// Tells the leader of each stage that is filled in the other CTA, where it does not see that by itself.
    pub(super) fn tell_the_leader(
        &self,
        emission: &mut Emission<'c, '_>,
    ) -> Result<(), Unsupported> {
        let (tile, places) = (&self.own.tile, &self.own.places);
        if self.stages_told() == 0 {
            return Ok(());
        }
        self.for_each_product(emission, None, |emission, round| {
            emission.for_range(tile.steps, None, |emission, step| {
                let use_number = round.number.times(tile.steps).plus(&step);
                let [stage, parity] = turn(emission, &use_number, tile.stages);
                let b = emission.elemental.builder();
                instructions::wait(&b, self.one_of(&b, places.filled, 8, stage), parity);
                let full = self.one_of(&b, places.full, 8, stage);
                instructions::arrive_in_cluster(&b, instructions::of_leader(&b, full));
                Ok(())
            })
        })
    }

    /// Waits until a stage is full.
    pub(super) fn wait_for_full(&self, b: &Builder<'c>, stage: Value<'c>, parity: Value<'c>) {
        let full = self.one_of(b, self.own.places.full, 8, stage);
        match self.stages_told() {
            0 => instructions::wait(b, full, parity),
            _ => instructions::wait_in_cluster(b, full, parity),
        }
    }

    /// A writing thread has read a buffer of sums. All of the warp take part.
    pub(super) fn say_read(&self, b: &Builder<'c>, buffer: Value<'c>) {
        let read = self.one_of(b, self.own.places.read, 8, buffer);
        if !self.is_pair() {
            return instructions::arrive(b, read);
        }
        let lane = b.cast("arith.trunci", thread::lane(b), b.integer(32));
        instructions::warp_arrives_in_cluster(b, instructions::of_leader(b, read), lane);
    }

    /// Waits until a buffer of sums was read before it is used.
    pub(super) fn wait_before_sums(&self, b: &Builder<'c>, buffer: Value<'c>, parity: Value<'c>) {
        let read = self.one_of(b, self.own.places.read, 8, buffer);
        match self.is_pair() {
            false => instructions::wait_before(b, read, parity),
            true => instructions::wait_before_in_cluster(b, read, parity),
        }
    }

    /// The mbarrier at which copies by tensor maps to a stage arrive.
    pub(super) fn told(&self, b: &Builder<'c>, stage: Value<'c>) -> Value<'c> {
        let full = self.one_of(b, self.own.places.full, 8, stage);
        match self.is_pair() {
            false => full,
            true => instructions::of_leader(b, full),
        }
    }

    /// Does something in the leader, or in a CTA by itself, and something else in the leader's peer.
    pub(super) fn when_leading_or<'g>(
        &self,
        emission: &mut Emission<'c, 'g>,
        leads: impl FnOnce(&mut Emission<'c, 'g>) -> Result<(), Unsupported>,
        follows: impl FnOnce(&mut Emission<'c, 'g>) -> Result<(), Unsupported>,
    ) -> Result<(), Unsupported> {
        let Some((rank, _)) = &self.rank else {
            return leads(emission);
        };
        let b = emission.elemental.builder();
        let is_first = b.compare_integers(IntegerPredicate::Eq, *rank, b.constant_i64(0));
        b.if_else(
            emission,
            is_first,
            &[],
            |emission, inner| {
                emission.inside(inner, |emission| leads(emission).map(|()| Vec::new()))
            },
            |emission, inner| {
                emission.inside(inner, |emission| follows(emission).map(|()| Vec::new()))
            },
        )?;
        Ok(())
    }

    /// The mbarrier, of a pair both, is arrived at once all is done that the thread began for the matrix unit.
    pub(super) fn commit(&self, b: &Builder<'c>, barrier: Value<'c>) {
        match self.is_pair() {
            false => instructions::commit(b, barrier),
            true => instructions::commit_to_pair(b, barrier),
        }
    }
}
