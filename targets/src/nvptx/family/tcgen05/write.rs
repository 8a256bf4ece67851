//! The writing threads of a CTA: the sums of every tile, times the tensor scales, to the result.

use super::{Kernel, LOADING_THREADS, Round, WRITING_THREADS, instructions};
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::Expression;
use crate::mlir::{Emission, Value};
use crate::nvptx::family::dot::Factors;
use crate::nvptx::family::rounds::turn;
use crate::nvptx::thread;

impl<'c> Kernel<'_, 'c, '_> {
    /// Reads the sums of each tile once they are done, and writes the results.
    pub(super) fn write(
        &self,
        emission: &mut Emission<'c, '_>,
        tensor: Value<'c>,
    ) -> Result<Vec<Value<'c>>, Unsupported> {
        let (tile, places) = (&self.own.tile, &self.own.places);
        let b = emission.elemental.builder();
        let number = |n: i64| b.constant_integer(b.integer(32), n);
        let before = b.constant_i64(LOADING_THREADS);
        let thread = b.binary("arith.subi", thread::thread(&b), before);
        let own = (emission.elemental).variable(thread, 0, WRITING_THREADS - 1);
        let own = Expression::variable(own);
        // A warp reaches 32 lanes, which are in the upper half of an address.
        let quarter = b.cast("arith.trunci", self.warp, b.integer(32));
        let quarter = b.binary("arith.andi", quarter, number(3));
        let lanes = b.binary("arith.shli", quarter, number(16 + 5));
        let tensor = b.binary("arith.addi", tensor, lanes);
        self.for_each_tile(emission, |emission, round| {
            let [buffer, parity] = turn(emission, &round.number, tile.buffers);
            let b = emission.elemental.builder();
            instructions::wait(&b, self.one_of(&b, places.done, 8, buffer), parity);
            instructions::fence_after(&b);
            let sums = self.sums(&b, tensor, buffer);
            self.write_tile(emission, round, sums, &own)?;
            let b = emission.elemental.builder();
            instructions::fence_before(&b);
            instructions::arrive(&b, self.one_of(&b, places.read, 8, buffer));
            Ok(())
        })?;
        Ok(Vec::new())
    }

    /// Writes a tile whose sums a thread has in its lane.
    fn write_tile(
        &self,
        emission: &mut Emission<'c, '_>,
        round: &Round,
        sums: Value<'c>,
        lane: &Expression,
    ) -> Result<(), Unsupported> {
        let tile = &self.own.tile;
        let row = emission.elemental.number(&round.corners[0].plus(lane));
        let at_once = if tile.columns % 32 == 0 { 32 } else { 16 };
        emission.for_range(tile.columns / at_once, None, |emission, chunk| {
            let column = chunk.times(at_once);
            let offset = emission.elemental.number(&column);
            let b = emission.elemental.builder();
            let offset = b.cast("arith.trunci", offset, b.integer(32));
            let from = b.binary("arith.addi", sums, offset);
            let sums = instructions::load_columns(&b, from, at_once);
            let sums: Vec<_> = sums.iter().map(|&sum| b.bitcast(sum, b.f32())).collect();
            let sums = self.own.product.scaled(emission, &sums)?;
            emission.when_below(row, self.extents[0], |emission, row| {
                for (number, &sum) in sums.iter().enumerate() {
                    let other = round.corners[1].plus(&column).plus_constant(number as i64);
                    let other = emission.elemental.number(&other);
                    emission.when_below(other, self.extents[1], |emission, other| {
                        let [row, column] = match tile.a {
                            0 => [&row, &other],
                            _ => [&other, &row],
                        };
                        (self.own.product).write(emission, sum, [&round.batch, row, column])
                    })?;
                }
                Ok::<_, Unsupported>(())
            })
        })
    }
}
