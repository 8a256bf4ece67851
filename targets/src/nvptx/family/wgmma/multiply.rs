//! The warpgroups of a CTA that multiply: every step as soon as it is full, then the sums of a tile to the result.

use super::instructions::{Step, descriptor, wait};
use super::tile::ROWS;
use super::{Kernel, WARPGROUP};
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::Expression;
use crate::mlir::{Emission, IntegerPredicate, Value};
use crate::nvptx::family::boxes::PIECE_BYTES;
use crate::nvptx::family::dot::Factors;
use crate::nvptx::family::rounds::{Round, turn};
use crate::nvptx::{asynchronous, thread};

/// Columns of the sums that lie in a row of four lanes.
const FRAGMENT: i64 = 8;

impl<'c, P: Factors> Kernel<'_, 'c, '_, P> {
    /// Multiplies all steps of all tiles.
    pub(super) fn multiply(
        &self,
        emission: &mut Emission<'c, '_>,
    ) -> Result<Vec<Value<'c>>, Unsupported> {
        let tile = &self.own.tile;
        let b = emission.elemental.builder();
        let before = b.constant_i64(WARPGROUP);
        let own = b.binary("arith.subi", thread::thread(&b), before);
        let own = (emission.elemental).variable(own, 0, tile.consumers * WARPGROUP - 1);
        let own = Expression::variable(own);
        tile.rounds.for_each(emission, |emission, round| {
            let sums = self.sums(emission, round, &own)?;
            self.write(emission, round, &own, &sums)
        })?;
        Ok(Vec::new())
    }

    /// The sums of a tile that a thread has.
    fn sums(
        &self,
        emission: &mut Emission<'c, '_>,
        round: &Round,
        own: &Expression,
    ) -> Result<Vec<Value<'c>>, Unsupported> {
        let (tile, places) = (&self.own.tile, &self.own.places);
        let b = emission.elemental.builder();
        let zeros = vec![b.constant_float(b.f32(), 0.0); (tile.columns / 2) as usize];
        let step = Step {
            half: self.own.half,
            majors: self.own.majors(),
            columns: tile.columns,
            count: tile.instructions,
        };
        let bounds = [0, tile.steps, 1].map(|n| b.constant_i64(n));
        let range = (0, tile.steps - 1);
        let sums = emission.for_carried(bounds, range, &zeros, |emission, number, sums| {
            let use_number = round.number.times(tile.steps).plus(&number);
            let [stage, parity] = turn(emission, &use_number, tile.stages);
            let b = emission.elemental.builder();
            asynchronous::wait(&b, self.one_of(&b, places.full, 8, stage), parity);
            let rows = emission
                .elemental
                .number(&own.quotient(WARPGROUP).times(PIECE_BYTES));
            let b = emission.elemental.builder();
            let rows = b.cast("arith.trunci", rows, b.integer(32));
            let [x, y] = places.tiles.map(|tile| {
                let first = i64::from(tile.first());
                self.one_of(&b, first, places.stage_bytes, stage)
            });
            let x = b.binary("arith.addi", x, rows);
            let descriptors = [
                descriptor(&b, step.majors[0], x),
                descriptor(&b, step.majors[1], y),
            ];
            let sums = step.multiply(&b, sums, descriptors);
            // The products of the step before are done.
            self.say_empty(emission, &use_number.plus_constant(-1), Some(&number));
            Ok::<_, Unsupported>(sums)
        })?;
        let sums = wait(&emission.elemental.builder(), &sums);
        let last = round.number.times(tile.steps).plus_constant(tile.steps - 1);
        self.say_empty(emission, &last, None);
        Ok(sums)
    }

    /// The stage of a use is empty, as far as the warp has read it; nothing where a step is the first.
    fn say_empty(
        &self,
        emission: &mut Emission<'c, '_>,
        use_number: &Expression,
        step: Option<&Expression>,
    ) {
        let (tile, places) = (&self.own.tile, &self.own.places);
        let [stage, _] = turn(emission, use_number, tile.stages);
        let step = step.map(|step| emission.elemental.number(step));
        let b = emission.elemental.builder();
        let zero = b.constant_i64(0);
        let mut says = b.compare_integers(IntegerPredicate::Eq, thread::lane(&b), zero);
        if let Some(step) = step {
            let follows = b.compare_integers(IntegerPredicate::Ne, step, zero);
            says = b.binary("arith.andi", says, follows);
        }
        let says = b.cast("arith.extui", says, b.integer(32));
        asynchronous::arrive_where(&b, self.one_of(&b, places.empty, 8, stage), says);
    }

    /// Writes a thread's sums of a tile: of two rows, of every eight columns two that are next to each other. (PTX ISA,
    /// "Register Fragments and Shared Memory Matrix Layouts", D of `wgmma`.)
    fn write(
        &self,
        emission: &mut Emission<'c, '_>,
        round: &Round,
        own: &Expression,
        sums: &[Value<'c>],
    ) -> Result<(), Unsupported> {
        let (tile, product) = (&self.own.tile, self.own.product);
        let [down, across] = self.own.extents();
        let sums = product.scaled(emission, sums)?;
        let [row, column] = self.corners(round);
        let lane = own.remainder(thread::WARP);
        let row = row
            .plus(&own.quotient(thread::WARP).times(ROWS / 4))
            .plus(&lane.quotient(4));
        let column = column.plus(&lane.remainder(4).times(2));
        for lower in 0..2 {
            let row = row.plus_constant(lower * FRAGMENT);
            within(emission, &row, down, |emission, row| {
                for number in 0..tile.columns / 4 {
                    let column = column.plus_constant(number / 2 * FRAGMENT + number % 2);
                    let place = number / 2 * 4 + lower * 2 + number % 2;
                    let sum = sums[place as usize];
                    within(emission, &column, across, |emission, column| {
                        let [row, column] = match tile.a {
                            0 => [row, column],
                            _ => [column, row],
                        };
                        product.write(emission, sum, [&round.batch, row, column])
                    })?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// Does `body` where a place is below `extent`, which may be always.
fn within<'c, 'g>(
    emission: &mut Emission<'c, 'g>,
    place: &Expression,
    extent: i64,
    body: impl FnOnce(&mut Emission<'c, 'g>, &Expression) -> Result<(), Unsupported>,
) -> Result<(), Unsupported> {
    if place.range().1 < extent {
        return body(emission, place);
    }
    let number = emission.elemental.number(place);
    emission.when_below(number, extent, |emission, place| body(emission, &place))
}
