//! Products of scaled tensors on the matrix unit of Blackwell's data-centre family: `tcgen05.mma` with block scales.
//!
//! A CTA has a tile of the result. Its first four warps bring codes and scales to shared memory, a step of 128 bytes of a
//! row at a time, some steps ahead; one thread of the fifth has scales copied to tensor memory and products made there;
//! then the four read the sums, multiply them by the tensor scales and write them.
//!
//! Each stage of shared memory has two mbarriers. *Full* is arrived at by every loading thread, once its copies are done
//! and fenced for the matrix unit; *empty* by the matrix unit, once it has read the stage. *Done* is arrived at when the
//! last product is.
//!
//! The order of a sum is fixed: steps along K, each of which the matrix unit adds to what was there, 32 bytes of a row in
//! one instruction, rounding towards zero once for each.

mod instructions;
mod kind;
mod load;
mod memory;
mod tile;

use super::dot::Factors;
use super::grid;
use super::scaled_dot::ScaledProduct;
use crate::blocks::ceil_div;
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::Expression;
use crate::mlir::{Builder, Emission, IntegerPredicate, Value};
use crate::nvptx::shared::Shared;
use crate::nvptx::{Capability, Feature, Grid, thread};
use instructions::Multiplication;
use kind::Kind;
use load::{Side, Stage};
use memory::{ScaleTile, SharedMemory, SwizzledTile};
use tile::{Places, Tile};

/// Threads that load, and later read the sums: a warp for each quarter of tensor memory's lanes.
const LOADING_THREADS: i64 = 4 * thread::WARP;

/// Threads of a CTA: those, and a warp that allocates, one of whose threads says what is multiplied.
const THREADS: i64 = LOADING_THREADS + thread::WARP;

/// By so many steps the loading threads are ahead of what they say is full.
const AHEAD: i64 = 2;

/// A product that the matrix unit computes.
pub struct Product<'a, 'g> {
    product: &'a ScaledProduct<'g>,
    kind: Kind,
    tile: Tile,
    places: Places,
}

impl<'a, 'g> Product<'a, 'g> {
    /// That product, where the chip has a matrix unit for it.
    pub fn of(product: &'a ScaledProduct<'g>, capability: &Capability) -> Option<Self> {
        if !capability.features.contains(&Feature::Tcgen05) {
            return None;
        }
        let kind = Kind::of(product.types())?;
        let [batches, m, n, k] = product.extents();
        if batches * m * n * k == 0 {
            return None;
        }
        let bytes = load::row_bytes(kind, product.types()[0]);
        let (tile, places) = Tile::of([batches, m, n], bytes).places(kind, capability)?;
        Some(Self {
            product,
            kind,
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
        let [batches, m, n, _] = self.product.extents();
        let extents = if self.tile.a == 0 { [m, n] } else { [n, m] };
        let [down, across] = [0, 1].map(|side| ceil_div(extents[side], self.tile.rows()[side]));
        let ctas = batches * down * across;
        let b = emission.elemental.builder();
        let cta = emission.elemental.variable(thread::cta(&b), 0, ctas - 1);
        let cta = Expression::variable(cta);
        let place = cta.remainder(down * across);
        let tiles = [place.quotient(across), place.remainder(across)];
        let kernel = Kernel {
            own: self,
            extents,
            batch: cta.quotient(down * across),
            corners: [0, 1].map(|side| tiles[side].times(self.tile.rows()[side])),
            shared: shared.dynamic(&b, SharedMemory::BASE),
            warp: thread::warp(&b),
        };
        kernel.emit(emission)?;
        let grid = grid(emission, ctas, THREADS)?;
        Ok(Grid {
            shared_bytes: self.places.shared_bytes,
            ..grid
        })
    }
}

/// A CTA's work.
struct Kernel<'a, 'c, 'g> {
    own: &'a Product<'a, 'g>,
    /// Rows of A and of B.
    extents: [i64; 2],
    batch: Expression,
    /// The first row of A and of B.
    corners: [Expression; 2],
    /// Where shared memory begins.
    shared: Value<'c>,
    warp: Value<'c>,
}

impl<'c> Kernel<'_, 'c, '_> {
    fn emit(&self, emission: &mut Emission<'c, '_>) -> Result<(), Unsupported> {
        let places = &self.own.places;
        let b = emission.elemental.builder();
        let loads = b.compare_integers(
            IntegerPredicate::Slt,
            self.warp,
            b.constant_i64(LOADING_THREADS / thread::WARP),
        );
        let nothing = |_: &mut Emission<'c, '_>, _| Ok::<_, Unsupported>(Vec::new());
        b.if_else(emission, loads, &[], nothing, |emission, inner| {
            emission.inside(inner, |emission| {
                self.prepare(emission);
                Ok(Vec::new())
            })
        })?;
        thread::barrier(&b);
        instructions::fence_after(&b);
        let tensor = instructions::load_word(&b, self.at(&b, places.slot));

        let load = |emission: &mut Emission<'c, '_>, inner| {
            emission.inside(inner, |emission| self.load(emission).map(|()| Vec::new()))
        };
        b.if_else(emission, loads, &[], load, |emission, inner| {
            emission.inside(inner, |emission| {
                self.multiply(emission, tensor)?;
                Ok(Vec::new())
            })
        })?;
        let store = |emission: &mut Emission<'c, '_>, inner| {
            emission.inside(inner, |emission| {
                self.store(emission, tensor).map(|()| Vec::new())
            })
        };
        b.if_else(emission, loads, &[], store, nothing)?;
        instructions::fence_before(&b);
        thread::barrier(&b);
        b.if_else(emission, loads, &[], nothing, |_, inner| {
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

    /// The stage of a step, and the parity of its use: (its number, 0 in its first use, 1 in its second, 0 …).
    fn stage(&self, emission: &mut Emission<'c, '_>, step: &Expression) -> [Value<'c>; 2] {
        let stages = self.own.tile.stages;
        let parity = step.quotient(stages).remainder(2);
        [step.remainder(stages), parity].map(|e| {
            let number = emission.elemental.number(&e);
            let b = emission.elemental.builder();
            b.cast("arith.trunci", number, b.integer(32))
        })
    }

    /// The address of one of a stage's things, `bytes` for each stage.
    fn of_stage(&self, b: &Builder<'c>, first: i64, bytes: i64, stage: Value<'c>) -> Value<'c> {
        let offset = b.binary(
            "arith.muli",
            stage,
            b.constant_integer(b.integer(32), bytes),
        );
        b.binary("arith.addi", self.at(b, first), offset)
    }

    /// The last warp makes mbarriers and allocates tensor memory.
    fn prepare(&self, emission: &mut Emission<'c, '_>) {
        let (tile, places) = (&self.own.tile, &self.own.places);
        let b = emission.elemental.builder();
        let first = b.compare_integers(IntegerPredicate::Eq, thread::lane(&b), b.constant_i64(0));
        let make = |(): &mut (), b: Builder<'c>| {
            for stage in 0..tile.stages {
                let at = |first: i64| self.at(&b, first + 8 * stage);
                instructions::initialise(&b, at(places.full), LOADING_THREADS);
                instructions::initialise(&b, at(places.empty), 1);
            }
            instructions::initialise(&b, self.at(&b, places.done), 1);
            instructions::fence_initialised(&b);
            Ok::<_, std::convert::Infallible>(Vec::new())
        };
        let Ok(_) = b.if_else(&mut (), first, &[], make, |(), _| Ok(Vec::new()));
        thread::warp_barrier(&b);
        instructions::allocate(&b, self.at(&b, places.slot), places.allocation);
    }

    /// Brings codes and scales of all steps to shared memory.
    fn load(&self, emission: &mut Emission<'c, '_>) -> Result<(), Unsupported> {
        let (tile, places) = (&self.own.tile, &self.own.places);
        let b = emission.elemental.builder();
        let own = emission
            .elemental
            .variable(thread::thread(&b), 0, LOADING_THREADS - 1);
        let own = Expression::variable(own);
        let operation = &emission.kernel.body.operations()[0];
        let mut sides = Vec::new();
        for (side, operand) in [tile.a, 1 - tile.a].into_iter().enumerate() {
            sides.push(Side {
                product: self.own.product,
                operand,
                base: (emission.elemental)
                    .scaled_base(operation, operation.op.operands[operand])?,
                extent: self.extents[side],
                rows: tile.rows()[side],
                scale_tiles: tile.scale_tiles()[side],
                batch: self.batch.clone(),
                corner: self.corners[side].clone(),
            });
        }
        let ahead = AHEAD.min(tile.stages - 1);
        let bounds = [0, tile.steps + ahead, 1].map(|n| b.constant_i64(n));
        let range = (0, tile.steps + ahead - 1);
        emission.for_bounds(bounds, range, None, |emission, round| {
            let step = emission.elemental.number(&round);
            emission.when_below(step, tile.steps, |emission, step| {
                let [stage, parity] = self.stage(emission, &step);
                let b = emission.elemental.builder();
                let one = b.constant_integer(b.integer(32), 1);
                // The phase before the first counts as ended, and has the parity 1.
                let before = b.binary("arith.xori", parity, one);
                instructions::wait(&b, self.of_stage(&b, places.empty, 8, stage), before);
                let first = self.of_stage(&b, 0, places.stage_bytes, stage);
                for (number, side) in sides.iter().enumerate() {
                    let [codes, scales] = places.in_stage(&b, first, number);
                    let stage = Stage {
                        kind: self.own.kind,
                        tile,
                        thread: &own,
                        step: &step,
                        codes,
                        scales,
                    };
                    side.load(emission, &stage)?;
                }
                Ok::<_, Unsupported>(())
            })?;
            let b = emission.elemental.builder();
            instructions::commit_copies(&b);
            instructions::wait_for_copies(&b, ahead);
            // Behind the first round that has something done.
            let done = emission.elemental.number(&round.plus_constant(-ahead));
            let b = emission.elemental.builder();
            let is_step = b.compare_integers(IntegerPredicate::Sge, done, b.constant_i64(0));
            let say = |emission: &mut Emission<'c, '_>, inner| {
                emission.inside(inner, |emission| {
                    let variable = emission.elemental.variable(done, 0, tile.steps - 1);
                    let [stage, _] = self.stage(emission, &Expression::variable(variable));
                    let b = emission.elemental.builder();
                    instructions::fence_for_matrix_unit(&b);
                    instructions::arrive(&b, self.of_stage(&b, places.full, 8, stage));
                    Ok(Vec::new())
                })
            };
            b.if_else(emission, is_step, &[], say, |_, _| Ok(Vec::new()))?;
            Ok(())
        })
    }

    /// One thread of the last warp has all steps multiplied.
    fn multiply(
        &self,
        emission: &mut Emission<'c, '_>,
        tensor: Value<'c>,
    ) -> Result<(), Unsupported> {
        let (tile, places) = (&self.own.tile, &self.own.places);
        let b = emission.elemental.builder();
        let first = b.compare_integers(IntegerPredicate::Eq, thread::lane(&b), b.constant_i64(0));
        let all = |emission: &mut Emission<'c, '_>, inner| {
            emission.inside(inner, |emission| {
                emission.for_range(tile.steps, None, |emission, step| {
                    let [stage, parity] = self.stage(emission, &step);
                    let b = emission.elemental.builder();
                    instructions::wait(&b, self.of_stage(&b, places.full, 8, stage), parity);
                    instructions::fence_after(&b);
                    let first = self.of_stage(&b, 0, places.stage_bytes, stage);
                    self.multiply_step(emission, tensor, first, &step);
                    let b = emission.elemental.builder();
                    instructions::commit(&b, self.of_stage(&b, places.empty, 8, stage));
                    Ok::<_, Unsupported>(())
                })?;
                let b = emission.elemental.builder();
                instructions::commit(&b, self.at(&b, places.done));
                Ok(Vec::new())
            })
        };
        b.if_else(emission, first, &[], all, |_, _| Ok(Vec::new()))?;
        thread::warp_barrier(&b);
        Ok(())
    }

    /// Has a step's scales copied to tensor memory and its products added to the sums.
    fn multiply_step(
        &self,
        emission: &mut Emission<'c, '_>,
        tensor: Value<'c>,
        stage: Value<'c>,
        step: &Expression,
    ) {
        let Product {
            product,
            kind,
            tile,
            places,
        } = self.own;
        let step = emission.elemental.number(step);
        let b = emission.elemental.builder();
        let number = |n: i64| b.constant_integer(b.integer(32), n);
        let columns = |first: u32, offset: i64| {
            b.binary("arith.addi", tensor, number(i64::from(first) + offset))
        };
        let [codes, scales] = {
            let [a, b] = [0, 1].map(|side| places.in_stage(&b, stage, side));
            [[a[0], b[0]], [a[1], b[1]]]
        };
        for (side, &scales) in scales.iter().enumerate() {
            for tile in 0..tile.scale_tiles()[side] * tile.words(*kind) {
                let from = descriptor(&b, ScaleTile::DESCRIPTOR, scales, tile * ScaleTile::BYTES);
                let to = columns(places.scale_columns[side], tile * ScaleTile::COLUMNS);
                instructions::copy_scales(&b, to, from);
            }
        }
        let types = product.types();
        let formats = [tile.a, 1 - tile.a].map(|operand| types[operand].format().element());
        for instruction in 0..tile.instructions {
            let block = instruction * kind.scales();
            let (word, byte) = (block / 4, block % 4);
            let of_side = |side: usize| {
                let offset = word * tile.scale_tiles()[side] * ScaleTile::COLUMNS;
                columns(places.scale_columns[side], offset)
            };
            let adds = if instruction > 0 {
                number(1)
            } else {
                let zero = b.constant_i64(0);
                let follows = b.compare_integers(IntegerPredicate::Ne, step, zero);
                b.cast("arith.extui", follows, b.integer(32))
            };
            // Along K the start moves on within the swizzled rows.
            let along = instruction * 32;
            let own = Multiplication {
                sums: columns(places.sums, 0),
                tiles: codes.map(|codes| descriptor(&b, SwizzledTile::DESCRIPTOR, codes, along)),
                scales: [of_side(0), of_side(1)],
                descriptor: number(kind.descriptor(formats, tile.columns, byte).into()),
                adds,
            };
            instructions::multiply(&b, *kind, &own);
        }
    }

    /// Reads the sums once they are done, and writes the results.
    fn store(&self, emission: &mut Emission<'c, '_>, tensor: Value<'c>) -> Result<(), Unsupported> {
        let (tile, places) = (&self.own.tile, &self.own.places);
        let b = emission.elemental.builder();
        let zero = b.constant_integer(b.integer(32), 0);
        instructions::wait(&b, self.at(&b, places.done), zero);
        instructions::fence_after(&b);
        // A warp reaches 32 lanes, which are in the upper half of an address.
        let warp = b.cast("arith.trunci", self.warp, b.integer(32));
        let lanes = b.binary(
            "arith.shli",
            warp,
            b.constant_integer(b.integer(32), 16 + 5),
        );
        let first = b.binary("arith.addi", tensor, lanes);
        let first = b.binary(
            "arith.addi",
            first,
            b.constant_integer(b.integer(32), places.sums.into()),
        );
        let own = emission
            .elemental
            .variable(thread::thread(&b), 0, LOADING_THREADS - 1);
        let row = self.corners[0].plus(&Expression::variable(own));
        let row = emission.elemental.number(&row);
        let at_once = if tile.columns % 32 == 0 { 32 } else { 16 };
        emission.for_range(tile.columns / at_once, None, |emission, chunk| {
            let column = chunk.times(at_once);
            let offset = emission.elemental.number(&column);
            let b = emission.elemental.builder();
            let offset = b.cast("arith.trunci", offset, b.integer(32));
            let from = b.binary("arith.addi", first, offset);
            let sums = instructions::load_columns(&b, from, at_once);
            let sums: Vec<_> = sums.iter().map(|&sum| b.bitcast(sum, b.f32())).collect();
            emission.when_below(row, self.extents[0], |emission, row| {
                for (number, &sum) in sums.iter().enumerate() {
                    let other = self.corners[1].plus(&column).plus_constant(number as i64);
                    let other = emission.elemental.number(&other);
                    emission.when_below(other, self.extents[1], |emission, other| {
                        let [row, column] = match tile.a {
                            0 => [&row, &other],
                            _ => [&other, &row],
                        };
                        (self.own.product).write(emission, sum, [&self.batch, row, column])
                    })?;
                }
                Ok::<_, Unsupported>(())
            })
        })
    }
}

/// A descriptor of what begins so many bytes behind an address in shared memory.
fn descriptor<'c>(b: &Builder<'c>, bits: u64, address: Value<'c>, offset: i64) -> Value<'c> {
    let address = b.binary(
        "arith.addi",
        address,
        b.constant_integer(b.integer(32), offset),
    );
    // Bits 0 to 13: the address in units of sixteen bytes.
    let units = b.binary("arith.shrui", address, b.constant_integer(b.integer(32), 4));
    let units = b.cast("arith.extui", units, b.i64());
    b.binary("arith.ori", units, b.constant_i64(bits.cast_signed()))
}
