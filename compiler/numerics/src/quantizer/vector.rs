//! Sixteen 32-bit lanes in the registers of each instruction set.
//!
//! A vector is bits; each operation says what it takes them for. All implementations give the same bits, which the
//! portable one spells out lane by lane.

use super::elements::{self, Element};
use super::rounding;
use crate::simd::SimdLevel;

/// The lanes of a vector; also the elements that share a block of random words.
pub(super) const LANES: usize = 16;

pub(super) type Floats = [f32; LANES];
pub(super) type Words = [u32; LANES];

/// All bits of a float but the sign. They compare as integers like magnitudes, and NaN's are above ∞'s.
pub(super) const MAGNITUDE: u32 = 0x7fff_ffff;

/// Sixteen lanes.
///
/// # Safety
/// Whoever calls a method of an implementation makes sure that the processor has its instructions. Methods are called from
/// functions compiled for these instructions, and inlined there; not from closures, which are functions of their own.
pub(super) unsafe trait Vector: Copy {
    /// The instructions that the methods are made of.
    const LEVEL: SimdLevel;

    fn load(values: &Floats) -> Self;
    fn store(self, values: &mut Floats);
    fn of_words(words: &Words) -> Self;
    fn splat(word: u32) -> Self;
    fn words(self) -> Words;
    /// The bytes of four words, least significant first, each as a lane.
    fn of_bytes(words: &[u32; 4]) -> Self;
    /// The first lanes of all vectors, the second lanes …
    #[inline(always)]
    fn transpose(vectors: &[Self; LANES]) -> [Self; LANES] {
        let mut transposed = [[0; LANES]; LANES];
        let (fours, _) = vectors.as_chunks::<4>();
        for (index, four) in fours.iter().enumerate() {
            let four = Self::interleave(four);
            for (lane, words) in transposed.iter_mut().enumerate() {
                words[4 * index..][..4].copy_from_slice(&four[interleaved(lane)]);
            }
        }
        let mut vectors = *vectors;
        for (vector, words) in vectors.iter_mut().zip(&transposed) {
            *vector = Self::of_words(words);
        }
        vectors
    }
    /// Writes 64 bytes, past the caches if there is a way.
    ///
    /// # Safety
    /// The place is 64 bytes that may be written, from a multiple of 64 on. Other threads see them after a
    /// [`fence`](super::sink::fence).
    #[inline(always)]
    unsafe fn stream(self, place: *mut u8) {
        let words = self.words();
        // SAFETY: the caller's promises.
        unsafe { place.copy_from_nonoverlapping(words.as_ptr().cast(), size_of::<Words>()) };
    }
    /// The four words that vectors have in each lane; those of lane i at [`interleaved`]`(i)`.
    fn interleave(vectors: &[Self; 4]) -> [[u32; 4]; LANES];

    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn div(self, other: Self) -> Self;
    /// The lanes of `self` that are less than `other`'s, else `other`'s; these also for NaN.
    fn min(self, other: Self) -> Self;
    /// The lanes of `self` that are greater than `other`'s, else `other`'s; these also for NaN.
    fn max(self, other: Self) -> Self;
    /// `self · factor + other`, where the product is exact, so that it does not matter whether it is rounded.
    fn mul_add(self, factor: Self, other: Self) -> Self;
    /// The lanes as signed integers, to f32.
    fn to_float(self) -> Self;
    /// Floats in 0 .. 2^31 without their fractions.
    fn truncate(self) -> Self;
    /// The lanes of `then` where `self` is NaN, else of `other`.
    fn if_nan(self, then: Self, other: Self) -> Self;

    fn and(self, other: Self) -> Self;
    fn or(self, other: Self) -> Self;
    fn xor(self, other: Self) -> Self;
    fn add_words(self, other: Self) -> Self;
    fn sub_words(self, other: Self) -> Self;
    fn max_words(self, other: Self) -> Self;
    fn shift_left(self, bits: u32) -> Self;
    fn shift_right(self, bits: u32) -> Self;
    /// With copies of the sign bit from above.
    fn shift_right_signed(self, bits: u32) -> Self;
    /// The lanes of `then` where `self` is less than `limit`, both below 2^31, else of `other`.
    fn if_less(self, limit: Self, then: Self, other: Self) -> Self;
    /// Each lane's place taken by the lane whose number has another bit of `DISTANCE`, which is 1, 2, 4 or 8.
    fn exchange<const DISTANCE: usize>(self) -> Self;
    /// The products of the even lanes with an unsigned word; the odd lanes are their upper halves.
    fn mul_even(self, other: u32) -> Self;
    /// The odd lanes in the places of the even ones, and zeros in theirs.
    fn upper_halves(self) -> Self;
    /// The even lanes, and for odd ones the even lanes of another.
    fn with_odd(self, odd: Self) -> Self;

    // What is called in many places is a function of its own where no instructions stand against it.

    /// [`elements::encode_nearest`].
    #[inline(always)]
    fn encode_nearest<E: Element>(self) -> Self {
        elements::encode_nearest::<Self, E>(self)
    }
    /// Whether [`encode_small`](Self::encode_small) knows a shorter way for numbers that are no larger than these.
    #[inline(always)]
    fn are_small<E: Element>(self) -> bool {
        false
    }
    /// [`elements::encode_nearest`] of numbers that are small.
    #[inline(always)]
    fn encode_small<E: Element>(self) -> Self {
        self.encode_nearest::<E>()
    }
    /// [`elements::encode_stochastic`].
    #[inline(always)]
    fn encode_stochastic<E: Element>(self, random: Self) -> Self {
        elements::encode_stochastic::<Self, E>(self, random)
    }
    /// [`rounding::philox_round`].
    #[inline(always)]
    fn philox_round(state: [Self; 4], key: [u32; 2]) -> [Self; 4] {
        rounding::philox_round(state, key)
    }

    /// The lowest bytes of the lanes.
    fn bytes(self) -> [u8; LANES];
    /// The bits of the largest magnitude of each of sixteen groups of numbers.
    fn largest_magnitudes(groups: &[Floats; LANES]) -> Self;
    /// The lowest four bits of the lanes of each vector, which are all that they have, the first in the lowest.
    fn pack(vectors: [Self; 4]) -> [[u8; 8]; 4];
}

/// Where [`Vector::interleave`] puts a lane: the order in which registers of 512 bits unpack.
#[inline(always)]
pub(super) const fn interleaved(lane: usize) -> usize {
    lane % 4 * 4 + lane / 4
}

/// Lanes that the compiler computes with what the target has.
#[derive(Clone, Copy)]
pub(super) struct Portable(Words);

impl Portable {
    #[inline(always)]
    fn map(self, operation: impl Fn(u32) -> u32) -> Self {
        Self(self.0.map(operation))
    }

    #[inline(always)]
    fn zip(self, other: Self, operation: impl Fn(u32, u32) -> u32) -> Self {
        let mut words = [0; LANES];
        for (lane, word) in words.iter_mut().enumerate() {
            *word = operation(self.0[lane], other.0[lane]);
        }
        Self(words)
    }

    #[inline(always)]
    fn zip_floats(self, other: Self, operation: impl Fn(f32, f32) -> f32) -> Self {
        self.zip(other, |a, b| {
            operation(f32::from_bits(a), f32::from_bits(b)).to_bits()
        })
    }
}

// SAFETY: every processor can do this.
unsafe impl Vector for Portable {
    const LEVEL: SimdLevel = SimdLevel::Portable;

    #[inline(always)]
    fn load(values: &Floats) -> Self {
        Self(values.map(f32::to_bits))
    }

    #[inline(always)]
    fn store(self, values: &mut Floats) {
        *values = self.0.map(f32::from_bits);
    }

    #[inline(always)]
    fn of_words(words: &Words) -> Self {
        Self(*words)
    }

    #[inline(always)]
    fn splat(word: u32) -> Self {
        Self([word; LANES])
    }

    #[inline(always)]
    fn words(self) -> Words {
        self.0
    }

    #[inline(always)]
    fn of_bytes(words: &[u32; 4]) -> Self {
        let mut bytes = [0; LANES];
        for (lane, byte) in bytes.iter_mut().enumerate() {
            *byte = words[lane / 4] >> (8 * (lane % 4)) & 0xff;
        }
        Self(bytes)
    }

    #[inline(never)]
    fn interleave(vectors: &[Self; 4]) -> [[u32; 4]; LANES] {
        let mut words = [[0; 4]; LANES];
        for lane in 0..LANES {
            for (word, vector) in vectors.iter().enumerate() {
                words[interleaved(lane)][word] = vector.0[lane];
            }
        }
        words
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip_floats(other, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip_floats(other, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.zip_floats(other, |a, b| a * b)
    }

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        self.zip_floats(other, |a, b| a / b)
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.zip_floats(other, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.zip_floats(other, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, other: Self) -> Self {
        self.mul(factor).add(other)
    }

    #[inline(always)]
    fn to_float(self) -> Self {
        self.map(|word| (word as i32 as f32).to_bits())
    }

    #[inline(always)]
    fn truncate(self) -> Self {
        self.map(|word| f32::from_bits(word) as i32 as u32)
    }

    #[inline(always)]
    fn if_nan(self, then: Self, other: Self) -> Self {
        let mut words = other.0;
        for (lane, word) in words.iter_mut().enumerate() {
            if f32::from_bits(self.0[lane]).is_nan() {
                *word = then.0[lane];
            }
        }
        Self(words)
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        self.zip(other, |a, b| a & b)
    }

    #[inline(always)]
    fn or(self, other: Self) -> Self {
        self.zip(other, |a, b| a | b)
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        self.zip(other, |a, b| a ^ b)
    }

    #[inline(always)]
    fn add_words(self, other: Self) -> Self {
        self.zip(other, u32::wrapping_add)
    }

    #[inline(always)]
    fn sub_words(self, other: Self) -> Self {
        self.zip(other, u32::wrapping_sub)
    }

    #[inline(always)]
    fn max_words(self, other: Self) -> Self {
        self.zip(other, u32::max)
    }

    #[inline(always)]
    fn shift_left(self, bits: u32) -> Self {
        self.map(|word| word << bits)
    }

    #[inline(always)]
    fn shift_right(self, bits: u32) -> Self {
        self.map(|word| word >> bits)
    }

    #[inline(always)]
    fn shift_right_signed(self, bits: u32) -> Self {
        self.map(|word| (word as i32 >> bits) as u32)
    }

    #[inline(always)]
    fn if_less(self, limit: Self, then: Self, other: Self) -> Self {
        let mut words = other.0;
        for (lane, word) in words.iter_mut().enumerate() {
            if self.0[lane] < limit.0[lane] {
                *word = then.0[lane];
            }
        }
        Self(words)
    }

    #[inline(always)]
    fn exchange<const DISTANCE: usize>(self) -> Self {
        let mut words = self.0;
        for (lane, word) in words.iter_mut().enumerate() {
            *word = self.0[lane ^ DISTANCE];
        }
        Self(words)
    }

    #[inline(always)]
    fn mul_even(self, other: u32) -> Self {
        let mut words = self.0;
        for pair in words.chunks_exact_mut(2) {
            let product = u64::from(pair[0]) * u64::from(other);
            (pair[0], pair[1]) = (product as u32, (product >> 32) as u32);
        }
        Self(words)
    }

    #[inline(always)]
    fn upper_halves(self) -> Self {
        let mut words = self.0;
        for pair in words.chunks_exact_mut(2) {
            (pair[0], pair[1]) = (pair[1], 0);
        }
        Self(words)
    }

    #[inline(always)]
    fn with_odd(self, odd: Self) -> Self {
        let mut words = self.0;
        for (pair, odd) in words.chunks_exact_mut(2).zip(odd.0.chunks_exact(2)) {
            pair[1] = odd[0];
        }
        Self(words)
    }

    #[inline(never)]
    fn encode_nearest<E: Element>(self) -> Self {
        elements::encode_nearest::<Self, E>(self)
    }

    #[inline(never)]
    fn encode_stochastic<E: Element>(self, random: Self) -> Self {
        elements::encode_stochastic::<Self, E>(self, random)
    }

    #[inline(never)]
    fn philox_round(state: [Self; 4], key: [u32; 2]) -> [Self; 4] {
        rounding::philox_round(state, key)
    }

    #[inline(always)]
    fn bytes(self) -> [u8; LANES] {
        self.0.map(|word| word as u8)
    }

    #[inline(never)]
    fn largest_magnitudes(groups: &[Floats; LANES]) -> Self {
        let mut largest = [0; LANES];
        for (largest, group) in largest.iter_mut().zip(groups) {
            for number in group {
                *largest = (*largest).max(number.to_bits() & MAGNITUDE);
            }
        }
        Self(largest)
    }

    #[inline(never)]
    fn pack(vectors: [Self; 4]) -> [[u8; 8]; 4] {
        let mut packed = [[0; 8]; 4];
        for (packed, vector) in packed.iter_mut().zip(vectors) {
            for (index, byte) in packed.iter_mut().enumerate() {
                *byte = (vector.0[2 * index] | vector.0[2 * index + 1] << 4) as u8;
            }
        }
        packed
    }
}
