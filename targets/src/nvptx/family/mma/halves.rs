//! Operands whose numbers are computed one by one, and brought into shared memory in 16 bits that represent them.

use super::{NUMBERS, Piece, ROW_STRIDE, Staging, address};
use crate::mlir::elemental::Unsupported;
use crate::mlir::{Builder, Emission, Value};
use crate::nvptx::family::dot::Factors;
use crate::nvptx::matrix::Mma;

/// Bytes that a thread writes at a time: two numbers.
const PAIR: i64 = 4;

/// The staging of a product's operands as numbers of 16 bits.
pub struct Halves<'p, P> {
    product: &'p P,
    mma: Mma,
}

impl<'p, P: Factors> Halves<'p, P> {
    /// For an instruction of 16-bit numbers.
    pub fn new(product: &'p P, mma: Mma) -> Self {
        Self { product, mma }
    }

    /// Two numbers of f32, which 16 bits represent, in a word; the first in the lower half.
    fn pair<'c>(&self, b: &Builder<'c>, numbers: [Value<'c>; 2]) -> Value<'c> {
        let word = b.integer(32);
        let constant = |value| b.constant_integer(word, value);
        let [lower, upper] = match self.mma {
            Mma::F16 => numbers.map(|number| {
                let half = b.cast("arith.truncf", number, b.f16());
                b.cast("arith.extui", b.bitcast(half, b.integer(16)), word)
            }),
            // The upper half of an f32 is a bf16, and here the lower one is zero but of a NaN.
            Mma::Bf16 | Mma::BlockScaled(_) => numbers.map(|number| {
                let bits = b.bitcast(number, word);
                b.binary("arith.shrui", bits, constant(16))
            }),
        };
        let upper = b.binary("arith.shli", upper, constant(16));
        b.binary("arith.ori", lower, upper)
    }
}

impl<P: Factors> Staging for Halves<'_, P> {
    fn stage<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        piece: &Piece<'_, 'c>,
    ) -> Result<(), Unsupported> {
        let [_, m, n, k] = self.product.extents();
        let free = [m, n][piece.operand];
        let b = emission.elemental.builder();
        let pairs = NUMBERS / 2;
        let thread = emission.elemental.number(piece.thread);
        let count = piece.rows * pairs;
        let bounds = [thread, b.constant_i64(count), b.constant_i64(piece.threads)];
        emission.for_bounds(bounds, (0, count - 1), None, |emission, place| {
            let (row, pair) = (place.quotient(pairs), place.remainder(pairs));
            let at = emission
                .elemental
                .number(&piece.part.corner[piece.operand].plus(&row));
            let first = piece.step.times(NUMBERS).plus(&pair.times(2));
            let first = piece.part.first.plus(&first);
            let b = emission.elemental.builder();
            let zero = b.constant_float(b.f32(), 0.0);
            let numbers = emission.value_below(at, free, &[zero; 2], |emission, at| {
                let mut numbers = Vec::with_capacity(2);
                for next in [0, 1] {
                    let contracted = emission.elemental.number(&first.plus_constant(next));
                    let (contracted, end) = ((contracted, k), piece.part.end);
                    let number =
                        emission.value_before(contracted, end, &[zero], |emission, place| {
                            let places = [&piece.part.batch, &at, &place];
                            let number = self.product.factor(emission, piece.operand, places)?;
                            Ok::<_, Unsupported>(vec![number])
                        })?;
                    numbers.extend(number);
                }
                Ok::<_, Unsupported>(numbers)
            })?;
            let word = self.pair(&emission.elemental.builder(), [numbers[0], numbers[1]]);
            let to = row.times(ROW_STRIDE).plus(&pair.times(PAIR));
            let to = address(emission, piece.to, &to);
            emission.elemental.builder().store(word, to);
            Ok(())
        })
    }
}
