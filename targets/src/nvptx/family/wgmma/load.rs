//! The loading threads of a CTA: steps of all its tiles, one after the other, as stages become empty.

use super::codes::Side;
use super::tile::STEP;
use super::{Kernel, Operands, WARPGROUP};
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::Expression;
use crate::mlir::{Emission, Value};
use crate::nvptx::asynchronous::{self, word};
use crate::nvptx::family::boxes::{Boxed, PIECE_BYTES};
use crate::nvptx::family::dot::Factors;
use crate::nvptx::family::rounds::{Round, turn};
use crate::nvptx::family::scaled_dot::ScaledProduct;
use crate::nvptx::family::swizzled::SwizzledTile;
use crate::nvptx::thread;

/// Tensor maps of lhs and rhs, and the dimensions of the batch.
type Boxes<'a> = (&'a [Boxed; 2], &'a [usize]);

impl<'c, P: Factors> Kernel<'_, 'c, '_, P> {
    /// Brings all steps of all tiles to shared memory.
    pub(super) fn load(
        &self,
        emission: &mut Emission<'c, '_>,
    ) -> Result<Vec<Value<'c>>, Unsupported> {
        match &self.own.operands {
            Operands::Boxes(boxes, batch) => self.copy(emission, (boxes, batch))?,
            Operands::Codes(product) => self.decode(emission, product)?,
        }
        Ok(Vec::new())
    }

    /// One thread has all steps copied.
    fn copy(&self, emission: &mut Emission<'c, '_>, boxes: Boxes<'_>) -> Result<(), Unsupported> {
        let tile = &self.own.tile;
        let thread = thread::thread(&emission.elemental.builder());
        emission.when_below(thread, 1, |emission, _| {
            tile.rounds.for_each(emission, |emission, round| {
                emission.for_range(tile.steps, None, |emission, step| {
                    self.copy_step(emission, boxes, round, &step);
                    Ok(())
                })
            })
        })
    }

    /// Begins the copies of a step.
    fn copy_step(
        &self,
        emission: &mut Emission<'c, '_>,
        (boxes, batch): Boxes<'_>,
        round: &Round,
        step: &Expression,
    ) {
        let (tile, places) = (&self.own.tile, &self.own.places);
        let [stage, full] = self.empty_stage(emission, round, step);
        let rows = tile.rows();
        let bytes = (rows[0] + rows[1]) * SwizzledTile::ROW;
        let b = emission.elemental.builder();
        asynchronous::arrive_expecting(&b, full, bytes);
        let corners = self.corners(round);
        for side in [0, 1] {
            let at = [&corners[side], &step.times(STEP)];
            let boxed = &boxes[self.own.operand(side)];
            let all = boxed.places(rows[side], (&round.batch, batch), at);
            for (number, place) in all.iter().enumerate() {
                let place = place.iter().map(|place| {
                    let number = emission.elemental.number(place);
                    word(&emission.elemental.builder(), number)
                });
                let place: Vec<Value<'c>> = place.collect();
                let b = emission.elemental.builder();
                let offset = b.constant_integer(b.integer(32), number as i64 * PIECE_BYTES);
                let to = self.one_of(
                    &b,
                    places.tiles[side].first().into(),
                    places.stage_bytes,
                    stage,
                );
                let to = b.binary("arith.addi", to, offset);
                asynchronous::copy_box(&b, to, self.maps[side], &place, full);
            }
        }
    }

    /// All threads decode their part of all steps. What a step is decoded from is read while the one before it waits.
    fn decode(
        &self,
        emission: &mut Emission<'c, '_>,
        product: &ScaledProduct<'_>,
    ) -> Result<(), Unsupported> {
        let tile = &self.own.tile;
        let b = emission.elemental.builder();
        let thread = emission
            .elemental
            .variable(thread::thread(&b), 0, WARPGROUP - 1);
        let thread = Expression::variable(thread);
        tile.rounds.for_each(emission, |emission, round| {
            let sides = self.sides(emission, product, round, &thread)?;
            let read = |emission: &mut Emission<'c, '_>, step: &Expression| {
                let [x, y] = &sides;
                Ok::<_, Unsupported>([x.read(emission, step)?, y.read(emission, step)?].concat())
            };
            let first = read(emission, &Expression::constant(0))?;
            let b = emission.elemental.builder();
            let bounds = [0, tile.steps, 1].map(|n| b.constant_i64(n));
            let range = (0, tile.steps - 1);
            emission.for_carried(bounds, range, &first, |emission, step, own| {
                // Behind the last step there are zeros.
                let next = read(emission, &step.plus_constant(1))?;
                self.decode_step(emission, (round, &step), &sides, own);
                Ok::<_, Unsupported>(next)
            })?;
            Ok(())
        })
    }

    /// Writes a thread's part of a step, as it was read.
    fn decode_step(
        &self,
        emission: &mut Emission<'c, '_>,
        (round, step): (&Round, &Expression),
        sides: &[Side<'_, 'c, '_>; 2],
        read: &[Value<'c>],
    ) {
        let places = &self.own.places;
        let [stage, full] = self.empty_stage(emission, round, step);
        let (x, y) = read.split_at(sides[0].registers());
        for (number, own) in [x, y].into_iter().enumerate() {
            let b = emission.elemental.builder();
            let first = places.tiles[number].first().into();
            let to = self.one_of(&b, first, places.stage_bytes, stage);
            sides[number].write(emission, own, to);
        }
        let b = emission.elemental.builder();
        asynchronous::fence_for_matrix_unit(&b);
        asynchronous::arrive(&b, full);
    }

    /// A and B of a tile, as they are decoded.
    fn sides<'s>(
        &self,
        emission: &Emission<'c, '_>,
        product: &'s ScaledProduct<'s>,
        round: &Round,
        thread: &'s Expression,
    ) -> Result<[Side<'s, 'c, 's>; 2], Unsupported> {
        let operation = product.operation();
        let corners = self.corners(round);
        let side = |number: usize| {
            let operand = self.own.operand(number);
            let value = operation.op.operands[operand];
            Ok(Side {
                codes: &product.codes()[operand],
                base: emission.elemental.scaled_base(operation, value)?,
                rows: self.own.tile.rows()[number],
                batch: round.batch.clone(),
                corner: corners[number].clone(),
                thread,
            })
        };
        Ok([side(0)?, side(1)?])
    }

    /// Waits until the stage of a step is empty: its number, and the mbarrier that says that it is full.
    fn empty_stage(
        &self,
        emission: &mut Emission<'c, '_>,
        round: &Round,
        step: &Expression,
    ) -> [Value<'c>; 2] {
        let (tile, places) = (&self.own.tile, &self.own.places);
        let use_number = round.number.times(tile.steps).plus(step);
        let [stage, parity] = turn(emission, &use_number, tile.stages);
        let b = emission.elemental.builder();
        asynchronous::wait_before(&b, self.one_of(&b, places.empty, 8, stage), parity);
        [stage, self.one_of(&b, places.full, 8, stage)]
    }
}
