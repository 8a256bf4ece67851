//! The thread of a CTA that has tiles of A and B copied: steps of all its tiles, one after the other, as stages become empty.

use super::Kernel;
use super::instructions::PIECE_BYTES;
use super::tile::STEP;
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::Expression;
use crate::mlir::{Emission, Value};
use crate::nvptx::family::rounds::{Round, turn};
use crate::nvptx::family::swizzled::SwizzledTile;
use crate::nvptx::{asynchronous, thread};

impl<'c> Kernel<'_, 'c, '_> {
    /// One thread has all steps of all tiles copied.
    pub(super) fn load(
        &self,
        emission: &mut Emission<'c, '_>,
    ) -> Result<Vec<Value<'c>>, Unsupported> {
        let tile = &self.own.tile;
        let thread = thread::thread(&emission.elemental.builder());
        emission.when_below(thread, 1, |emission, _| {
            tile.rounds.for_each(emission, |emission, round| {
                emission.for_range(tile.steps, None, |emission, step| {
                    self.load_step(emission, round, &step);
                    Ok(())
                })
            })
        })?;
        Ok(Vec::new())
    }

    /// Begins the copies of a step.
    fn load_step(&self, emission: &mut Emission<'c, '_>, round: &Round, step: &Expression) {
        let (tile, places) = (&self.own.tile, &self.own.places);
        let use_number = round.number.times(tile.steps).plus(step);
        let [stage, parity] = turn(emission, &use_number, tile.stages);
        let b = emission.elemental.builder();
        let full = self.one_of(&b, places.full, 8, stage);
        asynchronous::wait_before(&b, self.one_of(&b, places.empty, 8, stage), parity);
        let rows = tile.rows();
        let bytes = (rows[0] + rows[1]) * SwizzledTile::ROW;
        asynchronous::arrive_expecting(&b, full, bytes);
        let corners = self.corners(round);
        for side in [0, 1] {
            let batch = (&round.batch, &self.own.product.batch[..]);
            let at = [&corners[side], &step.times(STEP)];
            let operand = self.own.operand(side);
            let boxes = operand.places(rows[side], batch, at);
            for (number, place) in boxes.iter().enumerate() {
                let place: Vec<Value<'c>> = (place.iter())
                    .map(|place| {
                        let number = emission.elemental.number(place);
                        let b = emission.elemental.builder();
                        b.cast("arith.trunci", number, b.integer(32))
                    })
                    .collect();
                let b = emission.elemental.builder();
                let first = i64::from(places.tiles[side].first());
                let first = first + number as i64 * PIECE_BYTES;
                let to = self.one_of(&b, first, places.stage_bytes, stage);
                asynchronous::copy_box(&b, to, self.maps[side], &place, full);
            }
        }
    }
}
