//! Products of scaled tensors on the matrix unit of Blackwell's data-centre family: `tcgen05.mma` with block scales.
//!
//! A CTA has tiles of the result, one after the other. Its first four warps bring codes and scales to shared memory, a step
//! of 128 bytes of a row at a time, some steps ahead: each thread its share of the scales; codes that go there as they lie
//! by tensor maps, a tile at once, others each thread its share. The next four warps read the sums of a tile that is done,
//! multiply them by the tensor scales and write them, while the next one is made. One thread of the last warp has scales
//! copied to tensor memory and products made there.
//!
//! Each stage of shared memory has two mbarriers. *Full* is arrived at by every loading thread, once its copies are done
//! and fenced for the matrix unit, and waits for the bytes that come by tensor maps; *empty* by the matrix unit, once it
//! has read the stage. Each buffer of sums in tensor memory has two: *done* is arrived at by the matrix unit with its last
//! product, *read* by every writing thread.
//!
//! The order of a sum is fixed: steps along K, each of which the matrix unit adds to what was there, 32 bytes of a row in
//! one instruction, rounding towards zero once for each. Which CTA has which tiles depends on the shape alone.

mod boxes;
mod instructions;
mod kind;
mod load;
mod memory;
mod multiply;
mod stage;
mod tile;
mod write;

use super::dot::{Factors, no_such_tile};
use super::grid;
use super::scaled_dot::ScaledProduct;
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::Expression;
use crate::mlir::{Builder, Emission, IntegerPredicate, Value};
use crate::nvptx::shared::Shared;
use crate::nvptx::{Capability, Feature, Grid, asynchronous, thread};
use boxes::Boxed;
use kind::Kind;
use memory::SharedMemory;
use tessera_ir::Definition;
use tessera_runtime::bundle::{self, TensorMap};
use tile::{Places, Tile};

/// Threads that load.
const LOADING_THREADS: i64 = 4 * thread::WARP;

/// Threads that write: a warp for each quarter of tensor memory's lanes, of which a warp reaches those of its number's
/// remainder by four.
const WRITING_THREADS: i64 = 4 * thread::WARP;

/// Threads of a CTA: those, and a warp that allocates, one of whose threads says what is multiplied.
const THREADS: i64 = LOADING_THREADS + WRITING_THREADS + thread::WARP;

/// A product that the matrix unit computes.
pub struct Product<'a, 'g> {
    product: &'a ScaledProduct<'g>,
    kind: Kind,
    capability: &'a Capability,
    tile: Tile,
    places: Places,
}

impl<'a, 'g> Product<'a, 'g> {
    /// That product, where the chip has a matrix unit for it.
    pub fn of(product: &'a ScaledProduct<'g>, capability: &'a Capability) -> Option<Self> {
        if !capability.features.contains(&Feature::Tcgen05) {
            return None;
        }
        let kind = Kind::of(product.types())?;
        let [batches, m, n, k] = product.extents();
        if batches * m * n * k == 0 {
            return None;
        }
        let bytes = stage::row_bytes(kind, product.types()[0]);
        let (tile, places) = Tile::of([batches, m, n], bytes).places(kind, capability)?;
        Some(Self {
            product,
            kind,
            capability,
            tile,
            places,
        })
    }

    /// The same in tiles of so many rows and columns, where these are given.
    ///
    /// # Errors
    /// There are no such tiles.
    pub fn in_tiles(self, tile: Option<[i64; 2]>) -> Result<Self, Unsupported> {
        let Some(wanted) = tile else {
            return Ok(self);
        };
        let [batches, m, n, _] = self.product.extents();
        let bytes = stage::row_bytes(self.kind, self.product.types()[0]);
        let tile = self.tile.in_tiles([batches, m, n], bytes, wanted);
        let placed = tile.and_then(|tile| tile.places(self.kind, self.capability));
        let (tile, places) = placed.ok_or_else(|| {
            let expected = "128 rows or columns by a multiple of 16 up to 256";
            no_such_tile(self.product.operation(), wanted, expected)
        })?;
        Ok(Self {
            tile,
            places,
            ..self
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
        let [batches, m, n, _] = self.product.extents();
        let extents = if self.tile.a == 0 { [m, n] } else { [n, m] };
        let maps = self.tensor_maps(emission, batches, extents);
        let b = emission.elemental.builder();
        let parameter = |_: &TensorMap| asynchronous::map_parameter(&b);
        let kernel = Kernel {
            own: self,
            maps: maps.each_ref().map(|map| map.as_ref().map(parameter)),
            extents,
            shared: shared.dynamic(&b, SharedMemory::BASE),
            warp: thread::warp(&b),
        };
        kernel.emit(emission)?;
        let grid = grid(emission, self.tile.rounds.ctas, THREADS)?;
        Ok(Grid {
            shared_bytes: self.places.shared_bytes,
            tile: self.manifest_tile(),
            tensor_maps: maps.into_iter().flatten().collect(),
            ..grid
        })
    }

    /// The tile as the manifest says it.
    fn manifest_tile(&self) -> Option<bundle::Tile> {
        let depth = self.tile.instructions * self.kind.depth();
        super::tile(self.tile.of_result(), depth, self.tile.stages)
    }

    /// The tensor maps of A's and B's codes, where these are copied by one.
    fn tensor_maps(
        &self,
        emission: &Emission<'_, '_>,
        batches: i64,
        extents: [i64; 2],
    ) -> [Option<TensorMap>; 2] {
        let graph = &emission.kernel.body;
        [0, 1].map(|side| {
            let operand = if side == 0 {
                self.tile.a
            } else {
                1 - self.tile.a
            };
            let value = self.product.operation().op.operands[operand];
            let Definition::Input(buffer) = graph.definition(value) else {
                return None;
            };
            let boxed = Boxed {
                buffer,
                batches,
                extent: extents[side],
                rows: self.tile.rows()[side],
            };
            boxed.tensor_map(&self.product.codes()[operand], self.kind)
        })
    }
}

/// A CTA's work.
struct Kernel<'a, 'c, 'g> {
    own: &'a Product<'a, 'g>,
    /// Rows of A and of B.
    extents: [i64; 2],
    /// Addresses of tensor maps of A and B.
    maps: [Option<Value<'c>>; 2],
    /// Where shared memory begins.
    shared: Value<'c>,
    warp: Value<'c>,
}

/// A tile of a CTA.
struct Round {
    /// The CTA's tiles before it.
    number: Expression,
    /// The product of the batch.
    batch: Expression,
    /// The first row of A and of B.
    corners: [Expression; 2],
}

impl<'c> Kernel<'_, 'c, '_> {
    fn emit(&self, emission: &mut Emission<'c, '_>) -> Result<(), Unsupported> {
        let places = &self.own.places;
        let b = emission.elemental.builder();
        let below = |threads: i64| {
            let warps = b.constant_i64(threads / thread::WARP);
            b.compare_integers(IntegerPredicate::Slt, self.warp, warps)
        };
        let loads = below(LOADING_THREADS);
        let loads_or_writes = below(LOADING_THREADS + WRITING_THREADS);
        let nothing = |_: &mut Emission<'c, '_>, _| Ok::<_, Unsupported>(Vec::new());
        b.if_else(
            emission,
            loads_or_writes,
            &[],
            nothing,
            |emission, inner| {
                emission.inside(inner, |emission| {
                    self.prepare(emission);
                    Ok(Vec::new())
                })
            },
        )?;
        thread::barrier(&b);
        instructions::fence_after(&b);
        let tensor = instructions::load_word(&b, self.at(&b, places.slot));

        let load_or_write = |emission: &mut Emission<'c, '_>, inner: Builder<'c>| {
            inner.if_else(
                emission,
                loads,
                &[],
                |emission, inner| emission.inside(inner, |emission| self.load(emission)),
                |emission, inner| emission.inside(inner, |emission| self.write(emission, tensor)),
            )
        };
        b.if_else(
            emission,
            loads_or_writes,
            &[],
            load_or_write,
            |emission, inner| emission.inside(inner, |emission| self.multiply(emission, tensor)),
        )?;
        instructions::fence_before(&b);
        thread::barrier(&b);
        b.if_else(emission, loads_or_writes, &[], nothing, |_, inner| {
            instructions::fence_after(&inner);
            instructions::deallocate(&inner, tensor, places.allocation);
            Ok::<_, Unsupported>(Vec::new())
        })?;
        Ok(())
    }

    /// The address of a place in shared memory.
    fn at(&self, b: &Builder<'c>, offset: i64) -> Value<'c> {
        let offset = b.constant_integer(b.integer(32), offset);
        b.binary("arith.addi", self.shared, offset)
    }

    /// The address of one of so many things of `bytes` bytes, the first of which is at a place in shared memory.
    fn one_of(&self, b: &Builder<'c>, first: i64, bytes: i64, number: Value<'c>) -> Value<'c> {
        let offset = b.binary(
            "arith.muli",
            number,
            b.constant_integer(b.integer(32), bytes),
        );
        b.binary("arith.addi", self.at(b, first), offset)
    }

    /// Does something for each tile of the CTA.
    fn for_each_tile(
        &self,
        emission: &mut Emission<'c, '_>,
        body: impl FnOnce(&mut Emission<'c, '_>, &Round) -> Result<(), Unsupported>,
    ) -> Result<(), Unsupported> {
        let tile = &self.own.tile;
        tile.rounds.for_each(emission, |emission, round| {
            let rows = tile.rows();
            let round = Round {
                number: round.number.clone(),
                batch: round.batch.clone(),
                corners: [0, 1].map(|side| round.tile[side].times(rows[side])),
            };
            body(emission, &round)
        })
    }

    /// The last warp makes mbarriers and allocates tensor memory.
    fn prepare(&self, emission: &mut Emission<'c, '_>) {
        let (tile, places) = (&self.own.tile, &self.own.places);
        let b = emission.elemental.builder();
        let first = b.compare_integers(IntegerPredicate::Eq, thread::lane(&b), b.constant_i64(0));
        let make = |(): &mut (), b: Builder<'c>| {
            for (first, count, arrivals) in [
                (places.full, tile.stages, LOADING_THREADS),
                (places.empty, tile.stages, 1),
                (places.done, tile.buffers, 1),
                (places.read, tile.buffers, WRITING_THREADS),
            ] {
                for number in 0..count {
                    instructions::initialise(&b, self.at(&b, first + 8 * number), arrivals);
                }
            }
            instructions::fence_initialised(&b);
            Ok::<_, std::convert::Infallible>(Vec::new())
        };
        let Ok(_) = b.if_else(&mut (), first, &[], make, |(), _| Ok(Vec::new()));
        thread::warp_barrier(&b);
        instructions::allocate(&b, self.at(&b, places.slot), places.allocation);
        instructions::fence_before(&b);
    }

    /// The address of a buffer of sums.
    fn sums(&self, b: &Builder<'c>, tensor: Value<'c>, buffer: Value<'c>) -> Value<'c> {
        let number = |n: i64| b.constant_integer(b.integer(32), n);
        let first = b.binary("arith.muli", buffer, number(self.own.tile.columns));
        let first = b.binary("arith.addi", first, number(self.own.places.sums.into()));
        b.binary("arith.addi", tensor, first)
    }
}
