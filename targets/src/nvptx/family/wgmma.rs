//! Products on Hopper's matrix units: `wgmma`, by warpgroups of four warps, of tiles in shared memory.
//!
//! A CTA has tiles of the result, one after the other. Its first warpgroup brings tiles of A and B to shared memory, a step
//! of 128 bytes of a row at a time, some steps ahead: one thread has them copied by tensor maps, swizzled. The other one or
//! two warpgroups multiply 64 rows of A each by all of B, one step's products behind the other, keep the sums in registers
//! and write them.
//!
//! Each stage of shared memory has two mbarriers. *Full* waits for the bytes that come by tensor maps; *empty* for every
//! multiplying warp, once the products that read the stage are done.
//!
//! The order of a sum is fixed: steps along K, each of which is 16 numbers of a row in one instruction, which the matrix unit
//! adds to what was there, rounding towards zero once for each. Which CTA has which tiles depends on the shape alone.

mod boxes;
mod instructions;
mod load;
mod multiply;
mod tile;

pub use instructions::Half;

use super::dot::Factors;
use super::grid;
use super::rounds::Round;
use super::swizzled::SharedMemory;
use crate::blocks::dot;
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::Expression;
use crate::mlir::{Builder, Emission, IntegerPredicate, Value};
use crate::nvptx::shared::Shared;
use crate::nvptx::{Capability, Feature, Grid, asynchronous, thread};
use boxes::Boxed;
use instructions::Major;
use tessera_ir::Graph;
use tile::{Places, Tile};

/// Threads of a warpgroup.
const WARPGROUP: i64 = 4 * thread::WARP;

/// A product that the matrix unit computes.
pub struct Product<'a, 'g> {
    product: &'a dot::Product<'g>,
    half: Half,
    /// Lhs and rhs.
    operands: [Boxed; 2],
    tile: Tile,
    places: Places,
}

impl<'a, 'g> Product<'a, 'g> {
    /// That product of numbers that are all represented in 16 bits, where the chip has the matrix unit and tensor maps reach
    /// the operands.
    pub fn of(
        graph: &Graph,
        product: &'a dot::Product<'g>,
        half: Half,
        capability: &Capability,
    ) -> Option<Self> {
        let extents = product.extents();
        if !capability.features.contains(&Feature::Wgmma) || extents.contains(&0) {
            return None;
        }
        let operands = [Boxed::of(graph, product, 0)?, Boxed::of(graph, product, 1)?];
        let is_whole = operands.each_ref().map(|one| one.major == Major::Rows);
        let (tile, places) = Tile::of(extents, is_whole).places(capability)?;
        Some(Self {
            product,
            half,
            operands,
            tile,
            places,
        })
    }

    /// Fills the kernel's function.
    ///
    /// # Errors
    /// It cannot be computed here.
    pub fn emit(
        &self,
        emission: &mut Emission<'_, '_>,
        shared: &mut Shared,
    ) -> Result<Grid, Unsupported> {
        let rows = self.tile.rows();
        let maps = [0, 1].map(|side| self.operand(side).tensor_map(rows[side]));
        let b = emission.elemental.builder();
        let kernel = Kernel {
            own: self,
            // An address by which instructions, not loads, find the map.
            maps: [0, 1].map(|_| {
                let parameter = b.argument(b.pointer());
                b.cast("llvm.ptrtoint", parameter, b.i64())
            }),
            shared: shared.dynamic(&b, SharedMemory::BASE),
            warp: thread::warp(&b),
        };
        kernel.emit(emission)?;
        let threads = (1 + self.tile.consumers) * WARPGROUP;
        let grid = grid(emission, self.tile.rounds.ctas, threads)?;
        Ok(Grid {
            shared_bytes: self.places.shared_bytes,
            tensor_maps: maps.to_vec(),
            ..grid
        })
    }

    /// A (0) or B (1).
    fn operand(&self, side: usize) -> &Boxed {
        match side {
            0 => &self.operands[self.tile.a],
            _ => &self.operands[1 - self.tile.a],
        }
    }
}

/// A CTA's work.
struct Kernel<'a, 'c, 'g> {
    own: &'a Product<'a, 'g>,
    /// Addresses of tensor maps of A and B.
    maps: [Value<'c>; 2],
    /// Where shared memory begins.
    shared: Value<'c>,
    warp: Value<'c>,
}

impl<'c> Kernel<'_, 'c, '_> {
    fn emit(&self, emission: &mut Emission<'c, '_>) -> Result<(), Unsupported> {
        let b = emission.elemental.builder();
        let first = b.compare_integers(IntegerPredicate::Eq, thread::thread(&b), b.constant_i64(0));
        let prepare = |emission: &mut Emission<'c, '_>, inner: Builder<'c>| {
            emission.inside(inner, |emission| {
                self.prepare(emission);
                Ok(Vec::new())
            })
        };
        b.if_else(emission, first, &[], prepare, |_, _| {
            Ok::<_, Unsupported>(Vec::new())
        })?;
        thread::barrier(&b);
        let warps = b.constant_i64(WARPGROUP / thread::WARP);
        let loads = b.compare_integers(IntegerPredicate::Slt, self.warp, warps);
        b.if_else(
            emission,
            loads,
            &[],
            |emission, inner| emission.inside(inner, |emission| self.load(emission)),
            |emission, inner| emission.inside(inner, |emission| self.multiply(emission)),
        )?;
        Ok(())
    }

    /// One thread makes the mbarriers.
    fn prepare(&self, emission: &mut Emission<'c, '_>) {
        let (tile, places) = (&self.own.tile, &self.own.places);
        let b = emission.elemental.builder();
        let warps = tile.consumers * WARPGROUP / thread::WARP;
        for (first, arrivals) in [(places.full, 1), (places.empty, warps)] {
            for number in 0..tile.stages {
                asynchronous::initialise(&b, self.at(&b, first + 8 * number), arrivals);
            }
        }
        asynchronous::fence_initialised(&b);
    }

    /// The address of a place in shared memory.
    fn at(&self, b: &Builder<'c>, offset: i64) -> Value<'c> {
        let offset = b.constant_integer(b.integer(32), offset);
        b.binary("arith.addi", self.shared, offset)
    }

    /// The address of one of so many things of `bytes` bytes, the first of which is at a place in shared memory.
    fn one_of(&self, b: &Builder<'c>, first: i64, bytes: i64, number: Value<'c>) -> Value<'c> {
        let bytes = b.constant_integer(b.integer(32), bytes);
        let offset = b.binary("arith.muli", number, bytes);
        b.binary("arith.addi", self.at(b, first), offset)
    }

    /// The first row of A and of B in a tile.
    fn corners(&self, round: &Round) -> [Expression; 2] {
        let rows = self.own.tile.rows();
        [0, 1].map(|side| round.tile[side].times(rows[side]))
    }
}
