//! Sixteen lanes in two registers of AVX2.

use super::vector::{Floats, LANES, MAGNITUDE, Vector, Words};
use crate::simd::SimdLevel;
use std::arch::x86_64::*;

#[derive(Clone, Copy)]
pub(super) struct Avx2([__m256i; 2]);

/// Calls intrinsics in a method of [`Avx2`].
macro_rules! avx2 {
    ($($intrinsics:tt)*) => {
        // SAFETY: by the contract of `Vector` the processor has AVX2.
        unsafe { $($intrinsics)* }
    };
}

/// One operation on each of the two registers of vectors.
macro_rules! each {
    (|$a:ident = $vector:ident| $operation:expr) => {{
        let [first, second] = $vector.0;
        Avx2([
            {
                let $a = first;
                avx2!($operation)
            },
            {
                let $a = second;
                avx2!($operation)
            },
        ])
    }};
    (|$a:ident = $vector:ident, $b:ident = $other:ident| $operation:expr) => {{
        let ([first, second], [third, fourth]) = ($vector.0, $other.0);
        Avx2([
            {
                let ($a, $b) = (first, third);
                avx2!($operation)
            },
            {
                let ($a, $b) = (second, fourth);
                avx2!($operation)
            },
        ])
    }};
}

/// As `each`, of two vectors of floats.
macro_rules! each_float {
    (|$a:ident = $vector:ident, $b:ident = $other:ident| $operation:expr) => {
        each!(|$a = $vector, $b = $other| {
            let ($a, $b) = (_mm256_castsi256_ps($a), _mm256_castsi256_ps($b));
            _mm256_castps_si256($operation)
        })
    };
}

impl Avx2 {
    /// The lanes of `then` where the mask is set, else of `other`.
    #[inline(always)]
    fn choose(mask: Self, then: Self, other: Self) -> Self {
        let ([m, n], [a, b], [c, d]) = (mask.0, then.0, other.0);
        avx2!(Self([
            _mm256_blendv_epi8(c, a, m),
            _mm256_blendv_epi8(d, b, n)
        ]))
    }

    /// The largest word.
    #[inline(always)]
    fn largest(self) -> u32 {
        avx2! {
            let eight = _mm256_max_epu32(self.0[0], self.0[1]);
            let four = _mm_max_epu32(
                _mm256_castsi256_si128(eight),
                _mm256_extracti128_si256::<1>(eight),
            );
            let two = _mm_max_epu32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
            let one = _mm_max_epu32(two, _mm_shuffle_epi32::<0b10_11_00_01>(two));
            _mm_cvtsi128_si32(one) as u32
        }
    }
}

// SAFETY: the methods use AVX2, which `SimdLevel::Avx2` stands for.
unsafe impl Vector for Avx2 {
    const LEVEL: SimdLevel = SimdLevel::Avx2;

    #[inline(always)]
    fn load(values: &Floats) -> Self {
        let place = values.as_ptr();
        avx2!(Self([
            _mm256_loadu_si256(place.cast()),
            _mm256_loadu_si256(place.add(LANES / 2).cast())
        ]))
    }

    #[inline(always)]
    fn store(self, values: &mut Floats) {
        let place = values.as_mut_ptr();
        avx2! {
            _mm256_storeu_si256(place.cast(), self.0[0]);
            _mm256_storeu_si256(place.add(LANES / 2).cast(), self.0[1]);
        }
    }

    #[inline(always)]
    fn of_words(words: &Words) -> Self {
        let place = words.as_ptr();
        avx2!(Self([
            _mm256_loadu_si256(place.cast()),
            _mm256_loadu_si256(place.add(LANES / 2).cast())
        ]))
    }

    #[inline(always)]
    fn splat(word: u32) -> Self {
        Self([avx2!(_mm256_set1_epi32(word as i32)); 2])
    }

    #[inline(always)]
    fn words(self) -> Words {
        let mut words = [0; LANES];
        let place = words.as_mut_ptr();
        avx2! {
            _mm256_storeu_si256(place.cast(), self.0[0]);
            _mm256_storeu_si256(place.add(LANES / 2).cast(), self.0[1]);
        }
        words
    }

    #[inline(always)]
    fn of_bytes(words: &[u32; 4]) -> Self {
        let place: *const __m128i = words.as_ptr().cast();
        avx2! {
            let bytes = _mm_loadu_si128(place);
            Self([
                _mm256_cvtepu8_epi32(bytes),
                _mm256_cvtepu8_epi32(_mm_srli_si128::<8>(bytes)),
            ])
        }
    }

    #[inline(always)]
    fn interleave(vectors: &[Self; 4]) -> [[u32; 4]; LANES] {
        let mut words = [[0; 4]; LANES];
        let [a, b, c, d] = *vectors;
        // The two registers have the lanes 0 … 7 and 8 … 15; each result the words of two lanes of a register, 4 apart.
        for register in 0..2 {
            let (a, b, c, d) = (a.0[register], b.0[register], c.0[register], d.0[register]);
            avx2! {
                let (low0, high0) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
                let (low1, high1) = (_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
                let place: *mut __m256i = words.as_mut_ptr().cast();
                let place = place.add(register);
                _mm256_storeu_si256(place, _mm256_unpacklo_epi64(low0, low1));
                _mm256_storeu_si256(place.add(2), _mm256_unpackhi_epi64(low0, low1));
                _mm256_storeu_si256(place.add(4), _mm256_unpacklo_epi64(high0, high1));
                _mm256_storeu_si256(place.add(6), _mm256_unpackhi_epi64(high0, high1));
            }
        }
        words
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        each_float!(|a = self, b = other| _mm256_add_ps(a, b))
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        each_float!(|a = self, b = other| _mm256_sub_ps(a, b))
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        each_float!(|a = self, b = other| _mm256_mul_ps(a, b))
    }

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        each_float!(|a = self, b = other| _mm256_div_ps(a, b))
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        each_float!(|a = self, b = other| _mm256_min_ps(a, b))
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        each_float!(|a = self, b = other| _mm256_max_ps(a, b))
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, other: Self) -> Self {
        self.mul(factor).add(other)
    }

    #[inline(always)]
    fn to_float(self) -> Self {
        each!(|a = self| _mm256_castps_si256(_mm256_cvtepi32_ps(a)))
    }

    #[inline(always)]
    fn truncate(self) -> Self {
        each!(|a = self| _mm256_cvttps_epi32(_mm256_castsi256_ps(a)))
    }

    #[inline(always)]
    fn if_nan(self, then: Self, other: Self) -> Self {
        let nan = each_float!(|a = self, b = self| _mm256_cmp_ps::<_CMP_UNORD_Q>(a, b));
        Self::choose(nan, then, other)
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        each!(|a = self, b = other| _mm256_and_si256(a, b))
    }

    #[inline(always)]
    fn or(self, other: Self) -> Self {
        each!(|a = self, b = other| _mm256_or_si256(a, b))
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        each!(|a = self, b = other| _mm256_xor_si256(a, b))
    }

    #[inline(always)]
    fn add_words(self, other: Self) -> Self {
        each!(|a = self, b = other| _mm256_add_epi32(a, b))
    }

    #[inline(always)]
    fn sub_words(self, other: Self) -> Self {
        each!(|a = self, b = other| _mm256_sub_epi32(a, b))
    }

    #[inline(always)]
    fn max_words(self, other: Self) -> Self {
        each!(|a = self, b = other| _mm256_max_epu32(a, b))
    }

    #[inline(always)]
    fn shift_left(self, bits: u32) -> Self {
        each!(|a = self| _mm256_sll_epi32(a, _mm_cvtsi32_si128(bits as i32)))
    }

    #[inline(always)]
    fn shift_right(self, bits: u32) -> Self {
        each!(|a = self| _mm256_srl_epi32(a, _mm_cvtsi32_si128(bits as i32)))
    }

    #[inline(always)]
    fn shift_right_signed(self, bits: u32) -> Self {
        each!(|a = self| _mm256_sra_epi32(a, _mm_cvtsi32_si128(bits as i32)))
    }

    #[inline(always)]
    fn if_less(self, limit: Self, then: Self, other: Self) -> Self {
        let less = each!(|a = self, b = limit| _mm256_cmpgt_epi32(b, a));
        Self::choose(less, then, other)
    }

    #[inline(always)]
    fn exchange<const DISTANCE: usize>(self) -> Self {
        match DISTANCE {
            1 => each!(|a = self| _mm256_shuffle_epi32::<0b10_11_00_01>(a)),
            2 => each!(|a = self| _mm256_shuffle_epi32::<0b01_00_11_10>(a)),
            4 => each!(|a = self| _mm256_permute2x128_si256::<1>(a, a)),
            _ => Self([self.0[1], self.0[0]]),
        }
    }

    #[inline(always)]
    fn mul_even(self, other: u32) -> Self {
        let other = Self::splat(other);
        each!(|a = self, b = other| _mm256_mul_epu32(a, b))
    }

    #[inline(always)]
    fn upper_halves(self) -> Self {
        each!(|a = self| _mm256_srli_epi64::<32>(a))
    }

    #[inline(always)]
    fn with_odd(self, odd: Self) -> Self {
        /// The odd lanes.
        const ODD: i32 = 0xaa;
        each!(|a = self, b = odd| _mm256_blend_epi32::<ODD>(a, _mm256_slli_epi64::<32>(b)))
    }

    #[inline(always)]
    fn bytes(self) -> [u8; LANES] {
        let lowest = self.and(Self::splat(0xff)).0;
        let mut bytes = [0; LANES];
        avx2! {
            // Within each half of 128 bits the lanes of the first register, then those of the second; then in order.
            let halves = _mm256_packus_epi32(lowest[0], lowest[1]);
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(halves);
            let packed = _mm_packus_epi16(
                _mm256_castsi256_si128(words),
                _mm256_extracti128_si256::<1>(words),
            );
            _mm_storeu_si128(bytes.as_mut_ptr().cast(), packed);
        }
        bytes
    }

    #[inline(always)]
    fn largest_magnitudes(groups: &[Floats; LANES]) -> Self {
        let mut words = [0; LANES];
        for (word, group) in words.iter_mut().zip(groups) {
            *word = Self::load(group).and(Self::splat(MAGNITUDE)).largest();
        }
        Self::of_words(&words)
    }

    #[inline(always)]
    fn pack(vectors: [Self; 4]) -> [[u8; 8]; 4] {
        let mut packed = [[0; 8]; 4];
        for (packed, vector) in packed.iter_mut().zip(vectors) {
            avx2! {
                // Within each half of 128 bits the lanes of the first register, then those of the second; then in order.
                let halves = _mm256_packus_epi32(vector.0[0], vector.0[1]);
                let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(halves);
                let bytes = _mm_packus_epi16(
                    _mm256_castsi256_si128(words),
                    _mm256_extracti128_si256::<1>(words),
                );
                // The first of two bytes once, the second sixteen times.
                let pairs = _mm_maddubs_epi16(bytes, _mm_set1_epi16(0x1001));
                let codes = _mm_cvtsi128_si64(_mm_packus_epi16(pairs, pairs));
                *packed = codes.to_le_bytes();
            }
        }
        packed
    }
}
