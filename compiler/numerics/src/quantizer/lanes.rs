//! Sixteen numbers at a time: E2M1 codes, block scales and random words as arithmetic without branches.
//!
//! Rounding to a format is done by the processor's own rounding: a number with exponent e added to `1.5 · 2^(e + 23 − m)`
//! is rounded to m mantissa bits, to nearest even, and the sum's low bits count its steps.

use crate::RandomStream;

/// Numbers that are computed together; also the elements that share a block of random words.
pub(super) const LANES: usize = 16;

pub(super) type Floats = [f32; LANES];
pub(super) type Words = [u32; LANES];

const EXPONENT: u32 = 0x7f80_0000;
const MAGNITUDE: u32 = 0x7fff_ffff;
const ONE: u32 = 0x3f80_0000;

/// The magnitude's bits, at most 6, which also stands for NaN; and the sign as a code's bit 3, which NaN does not have.
#[inline(always)]
fn magnitude_and_sign(value: f32) -> (f32, u32) {
    let bits = value.to_bits();
    let magnitude = f32::from_bits(bits & MAGNITUDE);
    let sign = if magnitude.is_nan() {
        0
    } else {
        bits >> 28 & 8
    };
    let magnitude = if magnitude < 6.0 { magnitude } else { 6.0 };
    (magnitude, sign)
}

/// The largest power of two not above a magnitude, at least 1, where E2M1's steps stop to shrink.
#[inline(always)]
fn binade(magnitude: f32) -> u32 {
    (magnitude.to_bits() & EXPONENT).max(ONE)
}

/// [`ElementFormat::E2m1`](crate::ElementFormat::E2m1)'s nearest code.
#[inline(always)]
fn encode_nearest(value: f32) -> u32 {
    const CENTRE: f32 = 1.5 * (1 << 22) as f32;
    let (magnitude, sign) = magnitude_and_sign(value);
    let sum = magnitude + f32::from_bits(binade(magnitude)) * CENTRE;
    // Bits 23 and up: the exponent above 1; the low bits: steps of half the binade.
    let places = sum.to_bits().wrapping_sub(CENTRE.to_bits());
    (places.wrapping_add(places >> 22) & 7) | sign
}

/// [`ElementFormat::E2m1`](crate::ElementFormat::E2m1)'s code chosen by a random byte.
#[inline(always)]
fn encode_stochastic(value: f32, random: u32) -> u32 {
    let (magnitude, sign) = magnitude_and_sign(value);
    // u · step, exact: the byte over 256, times half the binade.
    let part = f32::from_bits(binade(magnitude).wrapping_sub(9 << 23));
    let moved = magnitude + random as i32 as f32 * part;
    let binade = binade(moved);
    // 2 over the binade, exact.
    let steps = moved * f32::from_bits(EXPONENT.wrapping_sub(binade));
    // SAFETY: `moved` is finite and below 8, and below twice its binade where that is above 1: `steps` is in 0 .. 4.
    let steps: i32 = unsafe { steps.to_int_unchecked() };
    (steps as u32).wrapping_add((binade >> 22).wrapping_sub(ONE >> 22)) | sign
}

/// Codes to nearest.
#[inline(always)]
pub(super) fn encode_all_nearest(values: &Floats, factors: &Floats) -> Words {
    let mut codes = [0; LANES];
    for lane in 0..LANES {
        codes[lane] = encode_nearest(values[lane] * factors[lane]);
    }
    codes
}

/// Codes by random bytes.
#[inline(always)]
pub(super) fn encode_all_stochastic(values: &Floats, factors: &Floats, random: &Words) -> Words {
    let mut codes = [0; LANES];
    for lane in 0..LANES {
        codes[lane] = encode_stochastic(values[lane] * factors[lane], random[lane]);
    }
    codes
}

/// The bits of the larger magnitudes, lane by lane. NaN's are above all numbers'.
#[inline(always)]
pub(super) fn larger_magnitudes(largest: &mut Words, values: &Floats) {
    for lane in 0..LANES {
        largest[lane] = largest[lane].max(values[lane].to_bits() & MAGNITUDE);
    }
}

/// The bits of the largest magnitude of all lanes.
#[inline(always)]
pub(super) fn largest_of_all(values: &Floats) -> u32 {
    let mut largest = 0;
    for value in values {
        largest = largest.max(value.to_bits() & MAGNITUDE);
    }
    largest
}

/// How block scales are made from the largest magnitudes' bits: their codes, and the factors for the blocks' numbers.
pub(super) trait Scales: Copy {
    fn scales(&self, largest: &Words) -> (Words, Floats);
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
    fn scales(&self, largest: &Words) -> (Words, Floats) {
        const LEAST_BINADE: u32 = (127 - 6) << 23;
        const CENTRE: f32 = 1.5 * (1 << 20) as f32;
        let (mut codes, mut factors) = ([0; LANES], [0.0; LANES]);
        for lane in 0..LANES {
            let wanted = f32::from_bits(largest[lane]) * self.encode;
            let bounded = if wanted < 448.0 { wanted } else { 448.0 };
            let binade = (bounded.to_bits() & EXPONENT).max(LEAST_BINADE);
            let centre = f32::from_bits(binade) * CENTRE;
            let sum = bounded + centre;
            let places = sum.to_bits().wrapping_sub(CENTRE.to_bits()) as i32;
            let code = (places >> 20) as u32;
            let code = code.wrapping_add(6 << 3).wrapping_add(places as u32 & 0x1f);
            codes[lane] = if wanted.is_nan() { 0x7f } else { code };
            let scale = if wanted.is_nan() {
                wanted
            } else {
                sum - centre
            };
            let factor = 1.0 / (scale * self.decode);
            factors[lane] = if factor < f32::MAX { factor } else { f32::MAX };
        }
        (codes, factors)
    }
}

/// mxfp4's by the rule `rceil`.
#[derive(Clone, Copy)]
pub(super) struct Rceil;

impl Scales for Rceil {
    #[inline(always)]
    fn scales(&self, largest: &Words) -> (Words, Floats) {
        /// 2^−126, f32's least normal number.
        const LEAST_NORMAL: u32 = 1 << 23;
        let (mut codes, mut factors) = ([0; LANES], [0.0; LANES]);
        for lane in 0..LANES {
            let quotient = (f32::from_bits(largest[lane]) / 6.0).to_bits() & MAGNITUDE;
            // What is above a power of two reaches the next; of subnormal numbers the power is 2^−127.
            let up = if quotient < LEAST_NORMAL {
                LEAST_NORMAL / 2 - 1
            } else {
                LEAST_NORMAL - 1
            };
            let bounded = (quotient.wrapping_add(up) >> 23).min(254);
            codes[lane] = if quotient > EXPONENT { 255 } else { bounded };
            let factor = if bounded == 254 {
                LEAST_NORMAL / 2
            } else {
                (254 - bounded) << 23
            };
            factors[lane] = f32::from_bits(factor);
        }
        (codes, factors)
    }
}

/// The four random words of each of sixteen blocks of elements: [`RandomStream::words`].
#[inline(always)]
pub(super) fn random_words(stream: RandomStream, blocks: &[u64; LANES]) -> [Words; 4] {
    const LOW: u64 = 0xffff_ffff;
    // The words are kept in the low halves of 64 bits, as the multiplier takes them; what is above them is dropped.
    let mut state = [[0u64; LANES]; 4];
    for lane in 0..LANES {
        state[0][lane] = blocks[lane];
        state[1][lane] = blocks[lane] >> 32;
        state[2][lane] = u64::from(stream.step);
        state[3][lane] = u64::from(stream.site);
    }
    let mut keys = [stream.seed as u32, (stream.seed >> 32) as u32];
    for _ in 0..crate::philox::ROUNDS {
        let mut next = [[0u64; LANES]; 4];
        for lane in 0..LANES {
            let first = (state[0][lane] & LOW) * u64::from(crate::philox::MULTIPLIERS[0]);
            let second = (state[2][lane] & LOW) * u64::from(crate::philox::MULTIPLIERS[1]);
            next[0][lane] = second >> 32 ^ state[1][lane] ^ u64::from(keys[0]);
            next[1][lane] = second;
            next[2][lane] = first >> 32 ^ state[3][lane] ^ u64::from(keys[1]);
            next[3][lane] = first;
        }
        state = next;
        keys[0] = keys[0].wrapping_add(crate::philox::KEY_INCREMENTS[0]);
        keys[1] = keys[1].wrapping_add(crate::philox::KEY_INCREMENTS[1]);
    }
    let mut words = [[0; LANES]; 4];
    for (words, state) in words.iter_mut().zip(&state) {
        for lane in 0..LANES {
            words[lane] = state[lane] as u32;
        }
    }
    words
}

/// The random bytes of one block's sixteen elements.
#[inline(always)]
pub(super) fn random_bytes(words: [u32; 4]) -> Words {
    let mut random = [0; LANES];
    for lane in 0..LANES {
        random[lane] = words[lane / 4] >> (8 * (lane % 4)) & 0xff;
    }
    random
}

/// Sixteen codes of four bits, the first in the lowest.
#[inline(always)]
pub(super) fn pack(codes: &Words) -> u64 {
    let mut bytes = [0u8; LANES];
    for lane in 0..LANES {
        bytes[lane] = codes[lane] as u8;
    }
    let mut packed = [0u8; LANES / 2];
    for (index, byte) in packed.iter_mut().enumerate() {
        let pair = u16::from_le_bytes([bytes[2 * index], bytes[2 * index + 1]]);
        *byte = (pair | pair >> 4) as u8;
    }
    u64::from_le_bytes(packed)
}
