//! A product as loops.

use super::super::nest::{ceil_div, extent, lane_loop};
use super::Product;
use crate::blocks::Division;
use crate::mlir::Emission;
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::Expression;
use crate::mlir::{Builder, Value, scalar};
use tessera_ir::ElementType;

/// Columns of the result that are summed together, or elements of a sum that are added together.
const LANES: i64 = 64;

/// Rows of the result that share the right-hand side's elements.
const MOST_ROWS: i64 = 4;

pub fn emit(emission: &mut Emission<'_, '_>) -> Result<Division, Unsupported> {
    let Some(product) = Product::of(&emission.kernel.body) else {
        return super::super::r#loop::emit(emission);
    };
    if product.is_empty() {
        return Ok(Division::EMPTY);
    }
    let loops = Loops::new(emission, &product)?;
    if loops.in_columns {
        loops.columns(emission)
    } else {
        loops.rows(emission)
    }
}

/// The loops of a product.
struct Loops<'a, 'g> {
    product: &'a Product<'g>,
    batches: i64,
    m: i64,
    n: i64,
    k: i64,
    /// Whether the columns of rhs are neighbours, rather than its contracted elements.
    in_columns: bool,
}

impl<'a, 'g> Loops<'a, 'g> {
    fn new(emission: &Emission<'_, '_>, product: &'a Product<'g>) -> Result<Self, Unsupported> {
        let [batches, m, n, k] = [
            &product.batch,
            &product.rows,
            &product.columns,
            &product.contracted,
        ]
        .map(|shape| extent(shape));
        let mut loops = Self {
            product,
            batches,
            m,
            n,
            k,
            in_columns: true,
        };
        let context = emission.elemental.builder().context();
        if k > 0 {
            loops.in_columns =
                crate::mlir::try_out(context, emission.kernel, emission.in_place, |e| {
                    let zero = e.elemental.builder().constant_i64(0);
                    let counter = |extent: i64| e.elemental.variable(zero, 0, extent - 1);
                    let [b, n, k] = [batches, n, k].map(counter);
                    let [bx, nx, kx] = [b, n, k].map(Expression::variable);
                    product.operand(e, 1, [&bx, &nx, &kx])?;
                    let strides = |number: u32| {
                        e.elemental
                            .trace
                            .positions
                            .iter()
                            .map(move |p| p.stride(number))
                    };
                    let columns_apart = strides(n.number).any(|stride| stride != Some(1));
                    Ok(!(columns_apart && strides(k.number).all(|stride| stride == Some(1))))
                })?;
        }
        product.check()?;
        Ok(loops)
    }

    fn zero<'c>(&self, b: &Builder<'c>) -> Value<'c> {
        scalar::constant_number(b, self.product.accumulator, 0.0)
    }

    /// Tiles of some rows and up to 64 columns, all sums of a tile growing together.
    fn columns(&self, emission: &mut Emission<'_, '_>) -> Result<Division, Unsupported> {
        let rows = (1..=MOST_ROWS)
            .rev()
            .find(|rows| self.m % rows == 0)
            .unwrap_or(1);
        let width = LANES.min(self.n);
        let runs = ceil_div(self.n, width);
        let tiles = self.m / rows;
        let units = self.batches * tiles * runs;
        let accumulator = self.product.accumulator;
        let sums = emission.stack_array(rows * width, accumulator);
        emission.for_each_unit::<Unsupported>(units, 1, |emission, unit| {
            let first = unit.remainder(runs).times(width);
            let tile = unit.quotient(runs);
            let batch = tile.quotient(tiles);
            let row = |r: i64| tile.remainder(tiles).times(rows).plus_constant(r);
            let place = |r: i64, lane: &Expression| lane.plus_constant(r * width);
            self.for_each_lane(emission, &first, width, |emission, lane| {
                let zero = self.zero(&emission.elemental.builder());
                for r in 0..rows {
                    emission.store_accumulator(zero, sums, accumulator, &place(r, lane));
                }
                Ok(())
            })?;
            emission.for_range(self.k, None, |emission, k| {
                let mut x = Vec::new();
                for r in 0..rows {
                    x.push(self.product.operand(emission, 0, [&batch, &row(r), &k])?);
                }
                self.for_each_lane(emission, &first, width, |emission, lane| {
                    let y = self
                        .product
                        .operand(emission, 1, [&batch, &first.plus(lane), &k])?;
                    for (r, &x) in (0..rows).zip(&x) {
                        let sum = emission.load_accumulator(sums, accumulator, &place(r, lane));
                        let sum =
                            self.product
                                .multiply_add(&emission.elemental.builder(), x, y, sum);
                        emission.store_accumulator(sum, sums, accumulator, &place(r, lane));
                    }
                    Ok(())
                })
            })?;
            self.for_each_lane(emission, &first, width, |emission, lane| {
                for r in 0..rows {
                    let sum = emission.load_accumulator(sums, accumulator, &place(r, lane));
                    self.product
                        .store(emission, sum, [&batch, &row(r), &first.plus(lane)]);
                }
                Ok(())
            })
        })?;
        Ok(Division::new(units, (rows * width * self.k) as f64 * 0.1))
    }

    /// The columns `first + lane` that there are.
    fn for_each_lane<'c, 'k>(
        &self,
        emission: &mut Emission<'c, 'k>,
        first: &Expression,
        width: i64,
        body: impl FnOnce(&mut Emission<'c, 'k>, &Expression) -> Result<(), Unsupported>,
    ) -> Result<(), Unsupported> {
        if self.n % width == 0 {
            let annotation = lane_loop(width);
            return emission.for_range(width, annotation, |emission, lane| body(emission, &lane));
        }
        let left = emission
            .elemental
            .number(&first.times(-1).plus_constant(self.n));
        let b = emission.elemental.builder();
        let count = b.binary("arith.minsi", left, b.constant_i64(width));
        let bounds = [b.constant_i64(0), count, b.constant_i64(1)];
        emission.for_bounds(bounds, (0, width - 1), None, |emission, lane| {
            body(emission, &lane)
        })
    }

    /// One sum after the other, each in lanes.
    fn rows(&self, emission: &mut Emission<'_, '_>) -> Result<Division, Unsupported> {
        let lanes = 1 << self.k.clamp(1, LANES).ilog2();
        let accumulator = self.product.accumulator;
        let sums = emission.stack_array(lanes, accumulator);
        let units = self.batches * self.m;
        emission.for_each_unit(units, 1, |emission, unit| {
            let (batch, row) = (unit.quotient(self.m), unit.remainder(self.m));
            emission.for_range(self.n, None, |emission, column| {
                self.sum_in_lanes(emission, sums, lanes, [&batch, &row, &column])?;
                let only = Expression::constant(0);
                let sum = emission.load_accumulator(sums, accumulator, &only);
                self.product.store(emission, sum, [&batch, &row, &column]);
                Ok(())
            })
        })?;
        Ok(Division::new(units, (self.n * self.k) as f64 * 0.1))
    }

    fn sum_in_lanes<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        sums: Value<'c>,
        lanes: i64,
        [batch, row, column]: [&Expression; 3],
    ) -> Result<(), Unsupported> {
        let accumulator = self.product.accumulator;
        emission.for_range::<Unsupported>(lanes, lane_loop(lanes), |emission, lane| {
            let zero = self.zero(&emission.elemental.builder());
            emission.store_accumulator(zero, sums, accumulator, &lane);
            Ok(())
        })?;
        let step = |emission: &mut Emission<'c, '_>, first: &Expression, count: i64| {
            emission.for_range(count, lane_loop(count), |emission, lane| {
                let k = first.plus(&lane);
                let x = self.product.operand(emission, 0, [batch, row, &k])?;
                let y = self.product.operand(emission, 1, [batch, column, &k])?;
                let sum = emission.load_accumulator(sums, accumulator, &lane);
                let sum = self
                    .product
                    .multiply_add(&emission.elemental.builder(), x, y, sum);
                emission.store_accumulator(sum, sums, accumulator, &lane);
                Ok(())
            })
        };
        emission.for_range(self.k / lanes, None, |emission, number| {
            step(emission, &number.times(lanes), lanes)
        })?;
        let rest = Expression::constant(self.k / lanes * lanes);
        step(emission, &rest, self.k % lanes)?;
        let mut width = lanes / 2;
        while width > 0 {
            emission.for_range::<Unsupported>(width, lane_loop(width), |emission, lane| {
                let x = emission.load_accumulator(sums, accumulator, &lane);
                let upper = lane.plus_constant(width);
                let y = emission.load_accumulator(sums, accumulator, &upper);
                let b = emission.elemental.builder();
                let name = match accumulator {
                    t if t.is_float() => "arith.addf",
                    ElementType::I1 => "arith.ori",
                    _ => "arith.addi",
                };
                let sum = b.binary(name, x, y);
                emission.store_accumulator(sum, sums, accumulator, &lane);
                Ok(())
            })?;
            width /= 2;
        }
        Ok(())
    }
}
