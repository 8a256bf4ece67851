//! Square blocks: half a warp has a square, a lane one of its rows.

use super::output::{Output, largest};
use super::tile::{Segment, Tile};
use crate::mlir::quantization::{self, BlockScale, FourOverSix};
use crate::mlir::{Builder, Emission, Value};
use crate::nvptx::thread;
use tessera_numerics::ScaleRule;

/// Rows of a square.
pub const SIDE: i64 = 16;

/// Squares of a warp, next to each other: a lane's number is its row's, times this, plus its square's.
pub const SQUARES: i64 = thread::WARP / SIDE;

impl<'c, 'g> Output<'c, 'g> {
    /// The scale of the square that a segment is a row of.
    pub(super) fn square_scale(
        &self,
        emission: &mut Emission<'c, 'g>,
        (tile, segment): (&Tile<'_, 'c>, &Segment),
        values: &[Value<'c>],
    ) -> BlockScale<'c> {
        let b = emission.elemental.builder();
        let mut amax = largest(&b, values);
        let mut distance = SQUARES;
        while distance < thread::WARP {
            amax = largest(&b, &[amax, thread::shuffle(&b, amax, distance)]);
            distance *= 2;
        }
        if self.quantization.rule() != ScaleRule::FourOverSix {
            return quantization::block_scale(&b, &self.quantization, (amax, &[]), self.tensor);
        }
        let candidates = FourOverSix::new(&b, amax, self.tensor);
        let column = column(segment);
        let column = tile.kept(emission, &column);
        let b = emission.elemental.builder();
        let errors = candidates.each(|candidate| {
            // As the definition adds them up: the rows' sums and the columns'.
            let [rows, columns] = [values, &column].map(|line| {
                let errors = line.iter().map(|&value| candidate.error(&b, value));
                let sum = sum(&b, errors);
                self::sum(&b, of_lanes(&b, sum))
            });
            b.binary("arith.addf", rows, columns)
        });
        candidates.better(&b, errors)
    }
}

/// The column of a square whose number there is a row's.
fn column(row: &Segment) -> Segment {
    Segment {
        side: row.side.other(),
        length: SIDE,
        line: row.number.times(SIDE).plus(&row.line.remainder(SIDE)),
        number: row.line.quotient(SIDE),
    }
}

/// The numbers that the lanes of a square have, by their rows.
fn of_lanes<'c>(b: &Builder<'c>, x: Value<'c>) -> impl Iterator<Item = Value<'c>> {
    let word = b.integer(32);
    let lane = b.cast("arith.trunci", thread::lane(b), word);
    let square = b.binary("arith.andi", lane, b.constant_integer(word, SQUARES - 1));
    let b = *b;
    (0..SIDE).map(move |row| {
        let lane = b.binary(
            "arith.addi",
            square,
            b.constant_integer(word, row * SQUARES),
        );
        thread::from_lane(&b, x, lane)
    })
}

/// One added after the other.
fn sum<'c>(b: &Builder<'c>, numbers: impl Iterator<Item = Value<'c>>) -> Value<'c> {
    let zero = b.constant_float(b.f32(), 0.0);
    numbers.fold(zero, |sum, number| b.binary("arith.addf", sum, number))
}
