//! The part of a product that a CTA makes: a tile of the result, and what is summed for it.

use crate::blocks::ceil_div;
use crate::mlir::index::Expression;
use crate::mlir::{Emission, Value};
use crate::nvptx::thread;

/// A tile of the result, and what is summed for it.
pub struct Part<'c> {
    /// Which product of the batch it is of.
    pub batch: Expression,
    /// Its first row and column.
    pub corner: [Expression; 2],
    /// The row to stop before, an `i64`.
    pub rows_end: Value<'c>,
    /// The first contracted element.
    pub first: Expression,
    /// The contracted element to stop before, an `i64`.
    pub end: Value<'c>,
}

impl<'c> Part<'c> {
    /// The part of this CTA where each product of a batch is divided into equal tiles, and how many CTAs that needs. The
    /// extents are those of the batch, rows, columns and contracted elements.
    pub fn of_equal_tiles(
        emission: &mut Emission<'c, '_>,
        [batches, m, n, k]: [i64; 4],
        tile: [i64; 2],
    ) -> (i64, Self) {
        let (down, across) = (ceil_div(m, tile[0]), ceil_div(n, tile[1]));
        let ctas = batches * down * across;
        let cta = cta(emission, ctas);
        let place = cta.remainder(down * across);
        let b = emission.elemental.builder();
        let part = Self {
            batch: cta.quotient(down * across),
            corner: [
                place.quotient(across).times(tile[0]),
                place.remainder(across).times(tile[1]),
            ],
            rows_end: b.constant_i64(m),
            first: Expression::constant(0),
            end: b.constant_i64(k),
        };
        (ctas, part)
    }

    /// The steps of so many contracted elements each that it takes, an `i64`.
    pub fn steps(&self, emission: &mut Emission<'c, '_>, depth: i64) -> Value<'c> {
        let first = emission.elemental.number(&self.first);
        let b = emission.elemental.builder();
        let count = b.binary("arith.subi", self.end, first);
        let count = b.binary("arith.addi", count, b.constant_i64(depth - 1));
        b.binary("arith.divui", count, b.constant_i64(depth))
    }
}

/// The number of this CTA, of so many.
pub fn cta(emission: &mut Emission<'_, '_>, ctas: i64) -> Expression {
    let number = thread::cta(&emission.elemental.builder());
    Expression::variable(emission.elemental.variable(number, 0, ctas - 1))
}
