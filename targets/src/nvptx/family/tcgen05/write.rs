//! The writing threads of a CTA: the sums of every tile, times the tensor scales, to the result.

use super::{Kernel, LOADING_THREADS, Round, WRITING_THREADS, instructions};
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::Expression;
use crate::mlir::{Emission, Value};
use crate::nvptx::family::dot::Factors;
use crate::nvptx::family::rounds::turn;
use crate::nvptx::thread;

impl<'c, P: Factors> Kernel<'_, 'c, P> {
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
        let count = self.products(emission)?;
        self.for_each_product(emission, count, |emission, own_round| {
            let round = self.round(emission, own_round)?;
            let [buffer, parity] = turn(emission, &own_round.number, tile.buffers);
            let b = emission.elemental.builder();
            instructions::wait(&b, self.one_of(&b, places.done, 8, buffer), parity);
            instructions::fence_after(&b);
            let sums = self.sums(&b, tensor, buffer);
            self.write_tile(emission, &round, Some(sums), &own)?;
            let b = emission.elemental.builder();
            instructions::fence_before(&b);
            self.say_read(&b, buffer);
            Ok(())
        })?;
        if let Some(count) = count {
            let b = emission.elemental.builder();
            let rest = [count, tile.rounds.count(&b)];
            tile.rounds.for_each_of(emission, rest, |emission, round| {
                let round = self.round(emission, round)?;
                self.write_tile(emission, &round, None, &own)
            })?;
        }
        Ok(Vec::new())
    }

    /// Writes a tile whose sums a thread has in its lane, or zeros.
    fn write_tile(
        &self,
        emission: &mut Emission<'c, '_>,
        round: &Round<'c>,
        sums: Option<Value<'c>>,
        lane: &Expression,
    ) -> Result<(), Unsupported> {
        let tile = &self.own.tile;
        let row = emission.elemental.number(&round.loaded[0].plus(lane));
        let at_once = if tile.columns % 32 == 0 { 32 } else { 16 };
        emission.for_range(tile.columns / at_once, None, |emission, chunk| {
            let column = chunk.times(at_once);
            let offset = emission.elemental.number(&column);
            let b = emission.elemental.builder();
            let sums: Vec<_> = match sums {
                Some(sums) => {
                    let offset = b.cast("arith.trunci", offset, b.integer(32));
                    let from = b.binary("arith.addi", sums, offset);
                    let sums = instructions::load_columns(&b, from, at_once);
                    sums.iter().map(|&sum| b.bitcast(sum, b.f32())).collect()
                }
                None => vec![b.constant_float(b.f32(), 0.0); at_once as usize],
            };
            let sums = self.own.product.scaled(emission, &sums)?;
            let [rows, columns] = [0, 1].map(|side| {
                let b = emission.elemental.builder();
                round.ends[side].unwrap_or_else(|| b.constant_i64(self.extents[side]))
            });
            emission.when_before((row, self.extents[0]), rows, |emission, row| {
                for (number, &sum) in sums.iter().enumerate() {
                    let other = round.corners[1].plus(&column).plus_constant(number as i64);
                    let other = emission.elemental.number(&other);
                    let other = (other, self.extents[1]);
                    emission.when_before(other, columns, |emission, other| {
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
