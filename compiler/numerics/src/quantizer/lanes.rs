//! Sixteen numbers at a time: E2M1 codes, block scales and random words as arithmetic without branches.
//!
//! Rounding to a format is done by the processor's own rounding: a number with exponent e added to `1.5 · 2^(e + 23 − m)`
//! is rounded to m mantissa bits, to nearest even, and the sum's low bits count its steps.

use super::vector::{LANES, MAGNITUDE, Vector};
use crate::RandomStream;
use crate::philox::{KEY_INCREMENTS, MULTIPLIERS, ROUNDS};

const EXPONENT: u32 = 0x7f80_0000;
const ONE: u32 = 0x3f80_0000;

/// A float in every lane.
#[inline(always)]
fn float<V: Vector>(value: f32) -> V {
    V::splat(value.to_bits())
}

/// The numbers between −6 and 6; NaN becomes 6.
#[inline(always)]
fn bounded<V: Vector>(values: V) -> V {
    values.min(float(6.0)).max(float(-6.0))
}

/// Codes of magnitudes, of which only the lowest three bits count, with the signs of bounded numbers.
#[inline(always)]
fn with_signs<V: Vector>(magnitudes: V, bounded: V) -> V {
    let signs = bounded.shift_right::<28>();
    magnitudes.and(V::splat(7)).or(signs.and(V::splat(!7)))
}

/// The largest powers of two not above the magnitudes, at least 1, where E2M1's steps stop to shrink.
#[inline(always)]
fn binades<V: Vector>(magnitudes: V) -> V {
    magnitudes.and(V::splat(EXPONENT)).max_words(V::splat(ONE))
}

/// [`ElementFormat::E2m1`](crate::ElementFormat::E2m1)'s nearest codes.
#[inline(always)]
pub(super) fn encode_nearest<V: Vector>(values: V) -> V {
    /// 2^22 and six steps, which are to make up for the exponent's bits: 2^22's bits 22 … 24 are 2, and 2 + 6 is 0 modulo
    /// 8. An even number of steps leaves ties as they are.
    const CENTRE: f32 = (1 << 22) as f32 + 3.0;
    let bounded = bounded(values);
    let magnitudes = bounded.and(V::splat(MAGNITUDE));
    let sums = binades(magnitudes).mul_add(float(CENTRE), magnitudes);
    // The low bits: steps of half the binade; bits 23 and up: the exponent, whose unit is two codes.
    let codes = sums.add_words(sums.shift_right::<22>());
    with_signs(codes, bounded)
}

/// [`ElementFormat::E2m1`](crate::ElementFormat::E2m1)'s codes chosen by random bytes.
#[inline(always)]
pub(super) fn encode_stochastic<V: Vector>(values: V, random: V) -> V {
    let bounded = bounded(values);
    let magnitudes = bounded.and(V::splat(MAGNITUDE));
    // u · step, exact: the byte over 256, times half the binade.
    let parts = binades(magnitudes).sub_words(V::splat(9 << 23));
    let moved = random.to_float().mul_add(parts, magnitudes);
    let binades = binades(moved);
    // 2 over the binade, exact; `moved` is finite and below 8, so there are 0 … 3 whole steps.
    let steps = moved.mul(V::splat(EXPONENT).sub_words(binades)).truncate();
    let exponents = binades.shift_right::<22>().sub_words(V::splat(ONE >> 22));
    with_signs(steps.add_words(exponents), bounded)
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

/// A stream's keys of every round.
#[derive(Clone, Copy)]
pub(super) struct Keys([[u32; 2]; ROUNDS]);

impl Keys {
    pub fn new(seed: u64) -> Self {
        let mut keys = [[0; 2]; ROUNDS];
        let mut key = [seed as u32, (seed >> 32) as u32];
        for place in &mut keys {
            *place = key;
            for (key, increment) in key.iter_mut().zip(KEY_INCREMENTS) {
                *key = key.wrapping_add(increment);
            }
        }
        Self(keys)
    }
}

/// The four random words of each of sixteen blocks of elements: [`RandomStream::words`].
///
/// Products are of the even lanes, 64 bits each, so that the odd lanes' words take turns of their own; what is in the upper
/// halves of a state does not matter.
#[inline(always)]
pub(super) fn random_words<V: Vector>(
    stream: RandomStream,
    keys: &Keys,
    blocks: &[u64; LANES],
) -> [V; 4] {
    let [mut low, mut high] = [[0; LANES]; 2];
    for lane in 0..LANES {
        low[lane] = blocks[lane] as u32;
        high[lane] = (blocks[lane] >> 32) as u32;
    }
    let (low, high) = (V::of_words(&low), V::of_words(&high));
    let (step, site) = (V::splat(stream.step), V::splat(stream.site));
    let mut even = [low, high, step, site];
    let mut odd = [low.upper_halves(), high.upper_halves(), step, site];
    for key in &keys.0 {
        even = V::philox_round(even, *key);
        odd = V::philox_round(odd, *key);
    }
    [
        even[0].with_odd(odd[0]),
        even[1].with_odd(odd[1]),
        even[2].with_odd(odd[2]),
        even[3].with_odd(odd[3]),
    ]
}

/// A round of Philox-4x32 on the even lanes.
#[inline(always)]
pub(super) fn philox_round<V: Vector>(state: [V; 4], key: [u32; 2]) -> [V; 4] {
    let first = state[0].mul_even(MULTIPLIERS[0]);
    let second = state[2].mul_even(MULTIPLIERS[1]);
    [
        second.upper_halves().xor(state[1]).xor(V::splat(key[0])),
        second,
        first.upper_halves().xor(state[3]).xor(V::splat(key[1])),
        first,
    ]
}
