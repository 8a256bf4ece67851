//! The dot family on the cores that do one multiplication a thread: a CTA has a tile of the result, of which both operands'
//! tiles are staged in shared memory, and a thread has a few rows and columns of it.
//!
//! A sum is made in the accumulator's type, in the order of the contracted dimensions.

use super::grid;
use super::scaled_dot::ScaledProduct;
use super::tcgen05;
use crate::blocks::dot::Product;
use crate::blocks::{ceil_div, extent};
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::Expression;
use crate::mlir::{Builder, Emission, Value, scalar};
use crate::nvptx::shared::Shared;
use crate::nvptx::{GpuTarget, Grid, thread};
use tessera_ir::ElementType;

/// Rows and columns of a thread.
const SIDE: i64 = 4;

/// Threads along a tile's rows, and along its columns.
const THREADS: i64 = 16;

/// Rows of a tile, and columns.
const TILE: i64 = SIDE * THREADS;

/// Contracted elements that are staged at a time.
const DEPTH: i64 = 16;

pub fn emit(
    emission: &mut Emission<'_, '_>,
    target: GpuTarget,
    shared: &mut Shared,
) -> Result<Grid, Unsupported> {
    if let Some(product) = ScaledProduct::of(&emission.kernel.body) {
        if let Some(product) = tcgen05::Product::of(&product, target.capability()) {
            return product.emit(emission, shared);
        }
        return tiles(emission, shared, &product);
    }
    let Some(product) = Product::of(&emission.kernel.body) else {
        return super::r#loop::emit(emission);
    };
    product.check()?;
    tiles(emission, shared, &product)
}

/// A product of two tensors in flat dimensions, as tiles are made of it.
pub trait Factors {
    /// Products of a batch; rows and columns of each; contracted elements.
    fn extents(&self) -> [i64; 4];

    /// What sums are made in.
    fn accumulator(&self) -> ElementType;

    /// The element of an operand (0: lhs, 1: rhs) at places in the batch, among its rows or columns, and among the contracted
    /// elements, in the accumulator's type.
    ///
    /// # Errors
    /// It cannot be computed here.
    fn factor<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        operand: usize,
        places: [&Expression; 3],
    ) -> Result<Value<'c>, Unsupported>;

    /// `x y + sum`.
    fn multiply_add<'c>(
        &self,
        b: &Builder<'c>,
        x: Value<'c>,
        y: Value<'c>,
        sum: Value<'c>,
    ) -> Value<'c>;

    /// Writes the result at places in the batch, rows and columns.
    ///
    /// # Errors
    /// It cannot be computed here.
    fn write<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        sum: Value<'c>,
        places: [&Expression; 3],
    ) -> Result<(), Unsupported>;
}

impl Factors for Product<'_> {
    fn extents(&self) -> [i64; 4] {
        [&self.batch, &self.rows, &self.columns, &self.contracted].map(|shape| extent(shape))
    }

    fn accumulator(&self) -> ElementType {
        self.accumulator
    }

    fn factor<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        operand: usize,
        places: [&Expression; 3],
    ) -> Result<Value<'c>, Unsupported> {
        self.operand(emission, operand, places)
    }

    fn multiply_add<'c>(
        &self,
        b: &Builder<'c>,
        x: Value<'c>,
        y: Value<'c>,
        sum: Value<'c>,
    ) -> Value<'c> {
        Product::multiply_add(self, b, x, y, sum)
    }

    fn write<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        sum: Value<'c>,
        places: [&Expression; 3],
    ) -> Result<(), Unsupported> {
        self.store(emission, sum, places);
        Ok(())
    }
}

fn tiles(
    emission: &mut Emission<'_, '_>,
    shared: &mut Shared,
    product: &impl Factors,
) -> Result<Grid, Unsupported> {
    let [batches, m, n, k] = product.extents();
    if batches * m * n == 0 {
        return Ok(Grid::EMPTY);
    }
    let b = emission.elemental.builder();
    let bytes = TILE * DEPTH * product.accumulator().size() as i64;
    let staged = [(); 2].map(|()| shared.array(&b, bytes as u32));
    let (across, down) = (ceil_div(n, TILE), ceil_div(m, TILE));
    let tile = Tile {
        product,
        extents: [m, n, k],
        staged,
        thread: thread::thread(&b),
    };
    let ctas = batches * across * down;
    let cta = emission.elemental.variable(thread::cta(&b), 0, ctas - 1);
    let cta = Expression::variable(cta);
    let batch = cta.quotient(across * down);
    let place = cta.remainder(across * down);
    let corner = [place.quotient(across), place.remainder(across)].map(|t| t.times(TILE));
    tile.compute(emission, &batch, &corner)?;
    grid(emission, ctas, THREADS * THREADS)
}

/// A tile of the result.
struct Tile<'a, 'c, P> {
    product: &'a P,
    extents: [i64; 3],
    /// Where the tiles of lhs and rhs are, contracted elements outermost.
    staged: [Value<'c>; 2],
    thread: Value<'c>,
}

impl<'c, P: Factors> Tile<'_, 'c, P> {
    fn compute(
        &self,
        emission: &mut Emission<'c, '_>,
        batch: &Expression,
        corner: &[Expression; 2],
    ) -> Result<(), Unsupported> {
        let b = emission.elemental.builder();
        let accumulator = self.product.accumulator();
        let zero = scalar::constant_number(&b, accumulator, 0.0);
        let sums = vec![zero; (SIDE * SIDE) as usize];
        let steps = ceil_div(self.extents[2], DEPTH);
        let bounds = [0, steps, 1].map(|n| b.constant_i64(n));
        let [row, column] = self.own(emission);
        let sums = if steps == 0 {
            sums
        } else {
            emission.for_carried(bounds, (0, steps - 1), &sums, |emission, step, sums| {
                let first = step.times(DEPTH);
                for (operand, corner) in corner.iter().enumerate() {
                    self.stage(emission, operand, batch, corner, &first)?;
                }
                thread::barrier(&emission.elemental.builder());
                let sums = self.multiply(emission, [row, column], sums);
                thread::barrier(&emission.elemental.builder());
                Ok(sums)
            })?
        };
        self.store(emission, batch, corner, [row, column], &sums)
    }

    /// The thread's row and column among the threads.
    fn own(&self, emission: &Emission<'c, '_>) -> [Value<'c>; 2] {
        let b = emission.elemental.builder();
        let side = b.constant_i64(THREADS);
        ["arith.divui", "arith.remui"].map(|name| b.binary(name, self.thread, side))
    }

    /// Copies an operand's tile to shared memory, in the accumulator's type; zeros where the operand ends.
    fn stage(
        &self,
        emission: &mut Emission<'c, '_>,
        operand: usize,
        batch: &Expression,
        corner: &Expression,
        first: &Expression,
    ) -> Result<(), Unsupported> {
        let [_, _, k] = self.extents;
        let free = self.extents[operand];
        let accumulator = self.product.accumulator();
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
                emission.value_below(contracted, k, &[zero], |emission, contracted| {
                    let places = [batch, &at, &contracted];
                    Ok::<_, Unsupported>(vec![self.product.factor(emission, operand, places)?])
                })
            })?[0];
            let b = emission.elemental.builder();
            let memory = scalar::accumulator_memory_type(&b, accumulator);
            let position = emission.elemental.number(&deep.times(TILE).plus(&wide));
            let b = emission.elemental.builder();
            let stored = scalar::to_accumulator_memory(&b, x, accumulator);
            b.store(
                stored,
                b.element_address(self.staged[operand], memory, position),
            );
            Ok(())
        })
    }

    /// Adds the products of what is staged.
    fn multiply(
        &self,
        emission: &mut Emission<'c, '_>,
        own: [Value<'c>; 2],
        sums: &[Value<'c>],
    ) -> Vec<Value<'c>> {
        let accumulator = self.product.accumulator();
        let mut sums = sums.to_vec();
        let b = emission.elemental.builder();
        let memory = scalar::accumulator_memory_type(&b, accumulator);
        for deep in 0..DEPTH {
            let [x, y] = [0, 1].map(|operand| {
                let first = b.binary("arith.muli", own[operand], b.constant_i64(SIDE));
                (0..SIDE)
                    .map(|i| {
                        let offset = b.constant_i64(deep * TILE + i);
                        let place = b.binary("arith.addi", first, offset);
                        let address = b.element_address(self.staged[operand], memory, place);
                        scalar::from_accumulator_memory(&b, b.load(address, memory), accumulator)
                    })
                    .collect::<Vec<_>>()
            });
            for (i, &x) in x.iter().enumerate() {
                for (j, &y) in y.iter().enumerate() {
                    let sum = &mut sums[i * SIDE as usize + j];
                    *sum = self.product.multiply_add(&b, x, y, *sum);
                }
            }
        }
        sums
    }

    fn store(
        &self,
        emission: &mut Emission<'c, '_>,
        batch: &Expression,
        corner: &[Expression; 2],
        own: [Value<'c>; 2],
        sums: &[Value<'c>],
    ) -> Result<(), Unsupported> {
        let [m, n, _] = self.extents;
        let [row, column] = [0, 1].map(|side| {
            let variable = emission.elemental.variable(own[side], 0, THREADS - 1);
            let own = Expression::variable(variable).times(SIDE);
            corner[side].plus(&own)
        });
        for (number, &sum) in sums.iter().enumerate() {
            let number = number as i64;
            let at = [
                row.plus_constant(number / SIDE),
                column.plus_constant(number % SIDE),
            ];
            let [row, column] = at.map(|e| emission.elemental.number(&e));
            emission.when_below(row, m, |emission, row| {
                emission.when_below(column, n, |emission, column| {
                    self.product.write(emission, sum, [batch, &row, &column])
                })
            })?;
        }
        Ok(())
    }
}
