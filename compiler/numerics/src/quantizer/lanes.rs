//! Sixteen numbers at a time: E2M1 codes, block scales and random words as arithmetic without branches.
//!
//! Rounding to a format is done by the processor's own rounding: a number with exponent e added to `1.5 · 2^(e + 23 − m)`
//! is rounded to m mantissa bits, to nearest even, and the sum's low bits count its steps.

use super::vector::{LANES, Vector};
use crate::RandomStream;
use crate::philox::{KEY_INCREMENTS, MULTIPLIERS, ROUNDS};

const EXPONENT: u32 = 0x7f80_0000;
/// All bits but the sign. They compare as integers like magnitudes, and NaN's are above ∞'s.
pub(super) const MAGNITUDE: u32 = 0x7fff_ffff;
const ONE: u32 = 0x3f80_0000;

/// A float in every lane.
#[inline(always)]
fn float<V: Vector>(value: f32) -> V {
    V::splat(value.to_bits())
}

/// The magnitudes, at most 6, which also stands for NaN; and the signs as a code's bit 3, which NaN does not have.
#[inline(always)]
fn magnitudes_and_signs<V: Vector>(values: V) -> (V, V) {
    let magnitudes = values.and(V::splat(MAGNITUDE)).min(float(6.0));
    let signs = values.shift_right::<28>().and(V::splat(8));
    (magnitudes, values.if_nan(V::splat(0), signs))
}

/// The largest powers of two not above the magnitudes, at least 1, where E2M1's steps stop to shrink.
#[inline(always)]
fn binades<V: Vector>(magnitudes: V) -> V {
    magnitudes.and(V::splat(EXPONENT)).max_words(V::splat(ONE))
}

/// [`ElementFormat::E2m1`](crate::ElementFormat::E2m1)'s nearest codes.
#[inline(always)]
pub(super) fn encode_nearest<V: Vector>(values: V) -> V {
    const CENTRE: f32 = 1.5 * (1 << 22) as f32;
    let (magnitudes, signs) = magnitudes_and_signs(values);
    let sums = magnitudes.add(binades(magnitudes).mul(float(CENTRE)));
    // Bits 23 and up: the exponent above 1; the low bits: steps of half the binade.
    let places = sums.sub_words(float(CENTRE));
    let codes = places.add_words(places.shift_right::<22>());
    codes.and(V::splat(7)).or(signs)
}

/// [`ElementFormat::E2m1`](crate::ElementFormat::E2m1)'s codes chosen by random bytes.
#[inline(always)]
pub(super) fn encode_stochastic<V: Vector>(values: V, random: V) -> V {
    let (magnitudes, signs) = magnitudes_and_signs(values);
    // u · step, exact: the byte over 256, times half the binade.
    let parts = binades(magnitudes).sub_words(V::splat(9 << 23));
    let moved = magnitudes.add(random.to_float().mul(parts));
    let binades = binades(moved);
    // 2 over the binade, exact; `moved` is finite and below 8, so there are 0 … 3 whole steps.
    let steps = moved.mul(V::splat(EXPONENT).sub_words(binades)).truncate();
    let exponents = binades.shift_right::<22>().sub_words(V::splat(ONE >> 22));
    steps.add_words(exponents).or(signs)
}

/// How block scales are made from the largest magnitudes' bits: their codes, and the factors for the blocks' numbers.
pub(super) trait Scales: Copy {
    fn scales<V: Vector>(&self, largest: V) -> (V, V);
}

/// nvfp4's by the rule `te`.
#[derive(Clone, Copy)]
pub(super) struct TransformerEngine {
    /// The tensor's encoding factor times 1/6.
    pub encode: f32,
    /// The reciprocal of the tensor's encoding factor.
    pub decode: f32,
}

impl Scales for TransformerEngine {
    #[inline(always)]
    fn scales<V: Vector>(&self, largest: V) -> (V, V) {
        const LEAST_BINADE: u32 = (127 - 6) << 23;
        const CENTRE: f32 = 1.5 * (1 << 20) as f32;
        let wanted = largest.mul(float(self.encode));
        let bounded = wanted.min(float(448.0));
        let binades = bounded
            .and(V::splat(EXPONENT))
            .max_words(V::splat(LEAST_BINADE));
        let centres = binades.mul(float(CENTRE));
        let sums = bounded.add(centres);
        // Bits 23 and up: the exponent, which may be negative; the low bits: steps, 16 at most.
        let places = sums.sub_words(float(CENTRE));
        let codes = places
            .shift_right_signed::<20>()
            .add_words(V::splat(6 << 3))
            .add_words(places.and(V::splat(0x1f)));
        let codes = wanted.if_nan(V::splat(0x7f), codes);
        let scales = wanted.if_nan(wanted, sums.sub(centres));
        let factors = float::<V>(1.0).div(scales.mul(float(self.decode)));
        (codes, factors.min(float(f32::MAX)))
    }
}

/// mxfp4's by the rule `rceil`.
#[derive(Clone, Copy)]
pub(super) struct Rceil;

impl Scales for Rceil {
    #[inline(always)]
    fn scales<V: Vector>(&self, largest: V) -> (V, V) {
        /// 2^−126, f32's least normal number.
        const LEAST_NORMAL: u32 = 1 << 23;
        let quotients = largest.div(float(6.0));
        let magnitudes = quotients.and(V::splat(MAGNITUDE));
        // What is above a power of two reaches the next; of subnormal numbers the power is 2^−127.
        let up = magnitudes.if_less(
            V::splat(LEAST_NORMAL),
            V::splat(LEAST_NORMAL / 2 - 1),
            V::splat(LEAST_NORMAL - 1),
        );
        let codes = magnitudes.add_words(up).shift_right::<23>();
        let codes = codes.if_less(V::splat(254), codes, V::splat(254));
        // 2^(127 − code), subnormal for the largest.
        let powers = V::splat(254).sub_words(codes).shift_left::<23>();
        let factors = powers.max_words(V::splat(LEAST_NORMAL / 2));
        (quotients.if_nan(V::splat(255), codes), factors)
    }
}

/// The four random words of each of sixteen blocks of elements: [`RandomStream::words`].
#[inline(always)]
pub(super) fn random_words<V: Vector>(stream: RandomStream, blocks: &[u64; LANES]) -> [V; 4] {
    let [mut low, mut high] = [[0; LANES]; 2];
    for lane in 0..LANES {
        low[lane] = blocks[lane] as u32;
        high[lane] = (blocks[lane] >> 32) as u32;
    }
    let mut state = [
        V::of_words(&low),
        V::of_words(&high),
        V::splat(stream.step),
        V::splat(stream.site),
    ];
    let mut keys = [stream.seed as u32, (stream.seed >> 32) as u32];
    for _ in 0..ROUNDS {
        let (high0, low0) = state[0].mul_wide(MULTIPLIERS[0]);
        let (high1, low1) = state[2].mul_wide(MULTIPLIERS[1]);
        state = [
            high1.xor(state[1]).xor(V::splat(keys[0])),
            low1,
            high0.xor(state[3]).xor(V::splat(keys[1])),
            low0,
        ];
        keys[0] = keys[0].wrapping_add(KEY_INCREMENTS[0]);
        keys[1] = keys[1].wrapping_add(KEY_INCREMENTS[1]);
    }
    state
}
