//! MS-EDEN: a correction multiplies the scales of a group of blocks, which neighbouring lanes have.
//!
//! It is a quotient of two sums over the group, one element after the other: each lane in turn goes on with the sums of the
//! one before it.

use super::output::{Output, largest};
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::Expression;
use crate::mlir::low_precision::{self, Encoding};
use crate::mlir::quantization;
use crate::mlir::{Builder, Emission, FloatPredicate, Value};
use crate::nvptx::thread;
use tessera_numerics::ElementFormat;

/// The elements that share a correction. ("Quartet II", arXiv 2601.22813.)
pub const GROUP: i64 = 128;

/// Blocks of a group, each of 16 elements.
pub const BLOCKS: i64 = GROUP / 16;

impl<'c, 'g> Output<'c, 'g> {
    /// The scale's code, and the codes, of a block. Beyond a row's end blocks are zeros, which add nothing to the sums.
    pub(super) fn eden_block(
        &self,
        emission: &mut Emission<'c, 'g>,
        at: [&Expression; 2],
        values: &[Value<'c>],
    ) -> Result<(Value<'c>, Vec<Value<'c>>), Unsupported> {
        let b = emission.elemental.builder();
        let amax = largest(&b, values);
        let (scale, factor) = quantization::ms_eden_block_scale(&b, amax, self.tensor);
        let codes = self.codes(emission, at, values, factor)?;
        let [random, ..] = self.random_words(emission, at, 0)?;
        let b = emission.elemental.builder();
        let terms: Vec<[Value<'c>; 2]> = values
            .iter()
            .map(|&value| {
                let scaled = b.binary("arith.mulf", value, factor);
                let code =
                    low_precision::encode(&b, ElementFormat::E2m1, scaled, Encoding::Nearest);
                let rounded = low_precision::decode(&b, ElementFormat::E2m1, code);
                [scaled, rounded].map(|other| b.binary("arith.mulf", scaled, other))
            })
            .collect();
        let wanted = b.binary("arith.mulf", scale, correction(&b, sums(&b, &terms)));
        let code = low_precision::encode_e4m3_scale_stochastic(&b, wanted, random);
        Ok((code, codes))
    }
}

/// The sums over the group of each of the two terms of a lane's elements.
fn sums<'c>(b: &Builder<'c>, terms: &[[Value<'c>; 2]]) -> [Value<'c>; 2] {
    let word = b.integer(32);
    let lane = b.cast("arith.trunci", thread::lane(b), word);
    let first = b.binary("arith.andi", lane, b.constant_integer(word, -BLOCKS));
    let mut sums = [b.constant_float(b.f32(), 0.0); 2];
    for block in 0..BLOCKS {
        let lane = b.binary("arith.addi", first, b.constant_integer(word, block));
        for (number, sum) in sums.iter_mut().enumerate() {
            let own =
                (terms.iter()).fold(*sum, |sum, term| b.binary("arith.addf", sum, term[number]));
            *sum = thread::from_lane(b, own, lane);
        }
    }
    sums
}

/// The first sum over the second, 1 where that is no finite number.
fn correction<'c>(b: &Builder<'c>, [squares, products]: [Value<'c>; 2]) -> Value<'c> {
    let quotient = b.binary("arith.divf", squares, products);
    let magnitude = b.unary("math.absf", quotient);
    let infinity = b.constant_float(b.f32(), f64::INFINITY);
    let is_finite = b.compare_floats(FloatPredicate::Olt, magnitude, infinity);
    b.select(is_finite, quotient, b.constant_float(b.f32(), 1.0))
}
