//! Products on the cores that do one multiplication a thread: a CTA has a tile of the result, of which both operands' tiles
//! are staged in shared memory, and a thread has a few rows and columns of it.
//!
//! A sum is made in the accumulator's type, in the order of the contracted dimensions.

use super::dot::{Factors, no_such_tile};
use super::grid;
use super::part::Part;
use crate::blocks::ceil_div;
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::Expression;
use crate::mlir::{Builder, Emission, Value, scalar};
use crate::nvptx::shared::Shared;
use crate::nvptx::{Grid, thread};
use tessera_ir::ElementType;

/// Rows and columns of a thread.
const SIDE: i64 = 4;

/// Threads along a tile's rows, and along its columns.
const THREADS: i64 = 16;

/// Rows of a tile, and columns.
pub const TILE: i64 = SIDE * THREADS;

/// Contracted elements that are staged at a time.
pub const DEPTH: i64 = 16;

/// Sums of a thread.
pub const SUMS: i64 = SIDE * SIDE;

/// Fills a kernel's function with a product.
///
/// # Errors
/// An operand or the result cannot be computed here.
pub fn tiles(
    emission: &mut Emission<'_, '_>,
    shared: &mut Shared,
    product: &impl Factors,
    tile: Option<[i64; 2]>,
) -> Result<Grid, Unsupported> {
    if let Some(tile) = tile.filter(|&tile| tile != [TILE; 2]) {
        return Err(no_such_tile(product.operation(), tile, "64x64"));
    }
    let [batches, m, n, k] = product.extents();
    if batches * m * n == 0 {
        return Ok(Grid::EMPTY);
    }
    let b = emission.elemental.builder();
    let bytes = TILE * DEPTH * product.accumulator().size() as i64;
    let staged = [(); 2].map(|()| shared.array(&b, bytes as u32));
    let (ctas, part) = product.part(emission, [TILE, TILE])?;
    let tile = Tile {
        product,
        extents: [m, n, k],
        staged,
        threads: Threads {
            accumulator: product.accumulator(),
            thread: thread::thread(&b),
        },
        part,
    };
    tile.compute(emission)?;
    let tile = super::tile([TILE, TILE], DEPTH, 1);
    Ok(Grid {
        tile,
        ..grid(emission, ctas, THREADS * THREADS)?
    })
}

/// A tile of the result.
struct Tile<'a, 'c, P> {
    product: &'a P,
    extents: [i64; 3],
    /// Where the tiles of lhs and rhs are, contracted elements outermost.
    staged: [Value<'c>; 2],
    threads: Threads<'c>,
    part: Part<'c>,
}

/// The threads of a CTA, as they multiply tiles that are in shared memory.
#[derive(Clone, Copy)]
pub struct Threads<'c> {
    /// What operands are staged and sums are made in.
    pub accumulator: ElementType,
    /// The thread in its CTA.
    pub thread: Value<'c>,
}

impl<'c, P: Factors> Tile<'_, 'c, P> {
    fn compute(&self, emission: &mut Emission<'c, '_>) -> Result<(), Unsupported> {
        let b = emission.elemental.builder();
        let zero = scalar::constant_number(&b, self.threads.accumulator, 0.0);
        let sums = vec![zero; SUMS as usize];
        let most = ceil_div(self.extents[2], DEPTH);
        let steps = self.part.steps(emission, DEPTH);
        let bounds = [b.constant_i64(0), steps, b.constant_i64(1)];
        let own = self.threads.own(&emission.elemental.builder());
        let sums = if most == 0 {
            sums
        } else {
            emission.for_carried(bounds, (0, most - 1), &sums, |emission, step, sums| {
                let first = self.part.first.plus(&step.times(DEPTH));
                for operand in [0, 1] {
                    let piece = (operand, &first, self.staged[operand]);
                    self.threads
                        .stage(emission, self.product, &self.part, piece)?;
                }
                thread::barrier(&emission.elemental.builder());
                let b = emission.elemental.builder();
                let sums = self.threads.multiply(&b, self.staged, own, sums);
                thread::barrier(&b);
                Ok(sums)
            })?
        };
        self.store(emission, own, &sums)
    }

    fn store(
        &self,
        emission: &mut Emission<'c, '_>,
        own: [Value<'c>; 2],
        sums: &[Value<'c>],
    ) -> Result<(), Unsupported> {
        let [m, n, _] = self.extents;
        let Part {
            batch,
            corner,
            rows_end,
            ..
        } = &self.part;
        let sums = self.product.scaled(emission, sums)?;
        let places = self.threads.places(emission, own);
        for (place, &sum) in places.iter().zip(&sums) {
            let at = [0, 1].map(|side| corner[side].plus(&place[side]));
            let [row, column] = at.map(|e| emission.elemental.number(&e));
            emission.when_before((row, m), *rows_end, |emission, row| {
                emission.when_below(column, n, |emission, column| {
                    self.product.write(emission, sum, [batch, &row, &column])
                })
            })?;
        }
        Ok(())
    }
}

impl<'c> Threads<'c> {
    /// The thread's row and column among the threads.
    pub fn own(&self, b: &Builder<'c>) -> [Value<'c>; 2] {
        let side = b.constant_i64(THREADS);
        ["arith.divui", "arith.remui"].map(|name| b.binary(name, self.thread, side))
    }

    /// The rows and columns, in the tile, of the thread's sums.
    pub fn places(
        &self,
        emission: &mut Emission<'c, '_>,
        own: [Value<'c>; 2],
    ) -> Vec<[Expression; 2]> {
        let [row, column] = own.map(|own| {
            let variable = emission.elemental.variable(own, 0, THREADS - 1);
            Expression::variable(variable).times(SIDE)
        });
        (0..SUMS)
            .map(|number| {
                [
                    row.plus_constant(number / SIDE),
                    column.plus_constant(number % SIDE),
                ]
            })
            .collect()
    }

    /// Copies an operand's tile (its number, its first contracted element, where it goes) to shared memory, contracted elements
    /// outermost, in the accumulator's type; zeros where the operand ends.
    ///
    /// # Errors
    /// It cannot be computed here.
    pub fn stage(
        &self,
        emission: &mut Emission<'c, '_>,
        product: &impl Factors,
        part: &Part<'c>,
        (operand, first, to): (usize, &Expression, Value<'c>),
    ) -> Result<(), Unsupported> {
        let [_, m, n, k] = product.extents();
        let Part { batch, end, .. } = part;
        let corner = &part.corner[operand];
        let free = [m, n][operand];
        let accumulator = self.accumulator;
        let b = emission.elemental.builder();
        let all = b.constant_i64(THREADS * THREADS);
        let bounds = [self.thread, b.constant_i64(TILE * DEPTH), all];
        emission.for_bounds(bounds, (0, TILE * DEPTH - 1), None, |emission, place| {
            // Neighbouring threads read neighbours where the operand's contracted dimension is its fastest.
            let (deep, wide) = (place.remainder(DEPTH), place.quotient(DEPTH));
            let [at, contracted] = [corner.plus(&wide), first.plus(&deep)];
            let [at, contracted] = [at, contracted].map(|e| emission.elemental.number(&e));
            let b = emission.elemental.builder();
            let zero = scalar::constant_number(&b, accumulator, 0.0);
            let x = emission.value_below(at, free, &[zero], |emission, at| {
                emission.value_before((contracted, k), *end, &[zero], |emission, contracted| {
                    let places = [batch, &at, &contracted];
                    Ok::<_, Unsupported>(vec![product.factor(emission, operand, places)?])
                })
            })?[0];
            let b = emission.elemental.builder();
            let memory = scalar::accumulator_memory_type(&b, accumulator);
            let position = emission.elemental.number(&deep.times(TILE).plus(&wide));
            let b = emission.elemental.builder();
            let stored = scalar::to_accumulator_memory(&b, x, accumulator);
            b.store(stored, b.element_address(to, memory, position));
            Ok(())
        })
    }

    /// Sums and the products of the elements that are staged.
    pub fn multiply(
        &self,
        b: &Builder<'c>,
        staged: [Value<'c>; 2],
        own: [Value<'c>; 2],
        sums: &[Value<'c>],
    ) -> Vec<Value<'c>> {
        let accumulator = self.accumulator;
        let mut sums = sums.to_vec();
        let memory = scalar::accumulator_memory_type(b, accumulator);
        for deep in 0..DEPTH {
            let [x, y] = [0, 1].map(|operand| {
                let first = b.binary("arith.muli", own[operand], b.constant_i64(SIDE));
                (0..SIDE)
                    .map(|i| {
                        let offset = b.constant_i64(deep * TILE + i);
                        let place = b.binary("arith.addi", first, offset);
                        let address = b.element_address(staged[operand], memory, place);
                        scalar::from_accumulator_memory(b, b.load(address, memory), accumulator)
                    })
                    .collect::<Vec<_>>()
            });
            for (i, &x) in x.iter().enumerate() {
                for (j, &y) in y.iter().enumerate() {
                    let sum = &mut sums[i * SIDE as usize + j];
                    *sum = scalar::multiply_add(b, accumulator, x, y, *sum);
                }
            }
        }
        sums
    }
}
