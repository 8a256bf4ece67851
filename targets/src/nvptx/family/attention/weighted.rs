//! Products of weights by an operand that is in memory: a tile of the weights is one operand's tile in shared memory.

use super::body::{Body, Side, Weighted};
use super::unit::Unit;
use super::{Cta, TILE, in_stage, multiply, stages};
use crate::blocks::ceil_div;
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::Expression;
use crate::mlir::{Emission, Value, scalar};
use crate::nvptx::family::dot::Factors;
use crate::nvptx::family::part::{Part, cta};
use crate::nvptx::shared::Shared;
use crate::nvptx::{GpuTarget, Grid, thread};

/// Bytes of a thread's sums in registers, at most: those of 256 columns of f32.
const SUM_BYTES: usize = 256;

/// Fills a kernel's function.
///
/// # Errors
/// A weight or the other operand cannot be computed here.
pub fn emit<'c, 'g>(
    emission: &mut Emission<'c, 'g>,
    body: &Body<'c, 'g>,
    weighted: &Weighted<'g>,
    on: (GpuTarget, &mut Shared),
) -> Result<Grid, Unsupported> {
    let [batches, m, n, _] = weighted.product.extents();
    // The weights' side of the result, and the other.
    let (own, other) = match weighted.weights {
        0 => (m, n),
        _ => (n, m),
    };
    if batches * own * other == 0 {
        return Ok(Grid::EMPTY);
    }
    let sum_bytes = crate::nvptx::family::fma::SUMS as usize * weighted.product.accumulator.size();
    let most = (SUM_BYTES / sum_bytes).max(1) as i64;
    let parts = ceil_div(other, most * TILE);
    let panels = ceil_div(ceil_div(other, TILE), parts);
    let blocks = ceil_div(own, TILE);
    let ctas = batches * blocks * parts;
    let number = cta(emission, ctas);
    let batch = number.quotient(blocks * parts);
    let place = number.remainder(blocks * parts);
    let strip = Strip {
        weighted,
        corner: place.quotient(parts).times(TILE),
        across: place.remainder(parts).times(panels * TILE),
        panels,
        cta: Cta::new(emission, body, on, batch)?,
    };
    let sums = strip.sums(emission)?;
    strip.store(emission, &sums)?;
    strip.cta.grid(emission, ctas)
}

/// The result of a CTA: as many of the weights' free side as a tile has, by tiles of the other operand's.
struct Strip<'a, 'c, 'g> {
    weighted: &'a Weighted<'g>,
    /// The first of the weights' free side.
    corner: Expression,
    /// The first of the other's, and how many tiles.
    across: Expression,
    panels: i64,
    cta: Cta<'a, 'c, 'g>,
}

impl<'c, 'g> Strip<'_, 'c, 'g> {
    fn unit(&self) -> &Unit<'c> {
        let last = self.cta.units.last();
        last.expect("the product of weights is made by a unit, too")
    }

    /// The thread's sums of each tile, one after the other.
    fn sums(&self, emission: &mut Emission<'c, 'g>) -> Result<Vec<Value<'c>>, Unsupported> {
        let zeros = self.unit().zeros(emission);
        let sums: Vec<_> = (0..self.panels).flat_map(|_| zeros.clone()).collect();
        let [_, _, _, contracted] = self.weighted.product.extents();
        let tiles = ceil_div(contracted, TILE);
        if tiles == 0 {
            return Ok(sums);
        }
        let b = emission.elemental.builder();
        let bounds = [0, tiles, 1].map(|n| b.constant_i64(n));
        emission.for_carried(bounds, (0, tiles - 1), &sums, |emission, tile, sums| {
            let first = tile.times(TILE);
            let corner = match self.weighted.contracted {
                Side::Columns => [&self.corner, &first],
                Side::Rows => [&first, &self.corner],
            };
            self.cta.make_scores(emission, corner)?;
            self.make_weights(emission, corner)?;
            let mut next = Vec::with_capacity(sums.len());
            for (panel, sums) in sums.chunks(zeros.len()).enumerate() {
                next.extend(self.multiply(emission, &first, panel as i64, sums)?);
            }
            Ok(next)
        })
    }

    /// Brings the weights of a tile into shared memory; zeros where there are none.
    fn make_weights(
        &self,
        emission: &mut Emission<'c, 'g>,
        corner: [&Expression; 2],
    ) -> Result<(), Unsupported> {
        let (cta, unit) = (&self.cta, self.unit());
        let value = self.weighted.product.operation.op.operands[self.weighted.weights];
        let from = cta.body.graph.tensor_type(value).element;
        let accumulator = unit.accumulator();
        let to = cta.at(emission, cta.places.weights);
        let zero = scalar::constant_number(&emission.elemental.builder(), accumulator, 0.0);
        let put = |emission: &mut Emission<'c, 'g>, weight: Value<'c>, column: &Expression| {
            let [row, _] = cta.row();
            let place = match self.weighted.contracted {
                Side::Columns => [&row, column],
                Side::Rows => [column, &row],
            };
            unit.put(emission, weight, place, to);
        };
        let then = |emission: &mut Emission<'c, 'g>, row: &Expression| {
            cta.walk(emission, &[], |emission, column, _| {
                let at = (row, corner[1], column);
                let weight = cta.value_of_scores(emission, at, &[zero], |emission, indices| {
                    let weight = emission.elemental.element(value, indices)?;
                    let b = emission.elemental.builder();
                    Ok(vec![scalar::convert(&b, from, accumulator, weight)])
                })?[0];
                put(emission, weight, column);
                Ok(Vec::new())
            })
        };
        let beyond = |emission: &mut Emission<'c, 'g>| {
            cta.walk(emission, &[], |emission, column, _| {
                put(emission, zero, column);
                Ok(Vec::new())
            })?;
            Ok(())
        };
        cta.in_row(emission, corner[0], &[], then, beyond)?;
        Ok(())
    }

    /// Sums and the products of the tile of weights, whose contracted elements begin with `first`, by one of the other
    /// operand. When it ends, no thread reads any more what is in shared memory.
    fn multiply(
        &self,
        emission: &mut Emission<'c, 'g>,
        first: &Expression,
        panel: i64,
        sums: &[Value<'c>],
    ) -> Result<Vec<Value<'c>>, Unsupported> {
        let (cta, unit, product) = (&self.cta, self.unit(), &self.weighted.product);
        let other = 1 - self.weighted.weights;
        let [_, m, _, contracted] = product.extents();
        let across = self.across.plus_constant(panel * TILE);
        let b = emission.elemental.builder();
        let part = Part {
            batch: cta.batch.clone(),
            corner: match other {
                0 => [across, self.corner.clone()],
                _ => [self.corner.clone(), across],
            },
            rows_end: b.constant_i64(m),
            first: first.clone(),
            end: b.constant_i64(contracted),
        };
        let all = stages(unit, TILE);
        let together = stages(unit, cta.places.together).min(all);
        let weights = cta.at(emission, cta.places.weights);
        let staged = cta.at(emission, cta.places.staged[other]);
        let mut sums = sums.to_vec();
        for begin in (0..all).step_by(together as usize) {
            for stage in 0..together {
                let to = in_stage(emission, unit, staged, stage);
                let step = Expression::constant(begin + stage);
                unit.stage(emission, product, &part, (other, &step), to)?;
            }
            unit.wait(&emission.elemental.builder());
            thread::barrier(&emission.elemental.builder());
            let own = in_stage(emission, unit, weights, begin);
            let operands = match other {
                0 => [staged, own],
                _ => [own, staged],
            };
            sums = multiply(emission, unit, operands, together, &sums)?;
            thread::barrier(&emission.elemental.builder());
        }
        Ok(sums)
    }

    /// Writes the thread's elements of the result.
    fn store(
        &self,
        emission: &mut Emission<'c, 'g>,
        sums: &[Value<'c>],
    ) -> Result<(), Unsupported> {
        let product = &self.weighted.product;
        let [_, m, n, _] = product.extents();
        let places = self.unit().places(emission);
        for (panel, sums) in sums.chunks(places.len()).enumerate() {
            let across = self.across.plus_constant(panel as i64 * TILE);
            let corner = match self.weighted.weights {
                0 => [&self.corner, &across],
                _ => [&across, &self.corner],
            };
            for (place, &sum) in places.iter().zip(sums) {
                let at = [0, 1].map(|side| corner[side].plus(&place[side]));
                let [row, column] = at.map(|e| emission.elemental.number(&e));
                emission.when_below(row, m, |emission, row| {
                    emission.when_below(column, n, |emission, column| {
                        product.write(emission, sum, [&self.cta.batch, &row, &column])
                    })
                })?;
            }
        }
        Ok(())
    }
}
