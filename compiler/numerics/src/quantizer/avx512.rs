//! Sixteen lanes in one register of AVX-512.

use super::vector::{Floats, LANES, Vector, Words};
use std::arch::x86_64::*;

#[derive(Clone, Copy)]
pub(super) struct Avx512(__m512i);

/// Calls intrinsics in a method of [`Avx512`].
macro_rules! avx512 {
    ($($intrinsics:tt)*) => {
        // SAFETY: by the contract of `Vector` the processor has AVX-512 F, BW, DQ and VL.
        unsafe { $($intrinsics)* }
    };
}

impl Avx512 {
    #[inline(always)]
    fn floats(self) -> __m512 {
        avx512!(_mm512_castsi512_ps(self.0))
    }

    #[inline(always)]
    fn of(floats: __m512) -> Self {
        Self(avx512!(_mm512_castps_si512(floats)))
    }
}

// SAFETY: the methods use AVX-512 F, BW, DQ and VL, which `SimdLevel::Avx512` stands for.
unsafe impl Vector for Avx512 {
    #[inline(always)]
    fn load(values: &Floats) -> Self {
        Self::of(avx512!(_mm512_loadu_ps(values.as_ptr())))
    }

    #[inline(always)]
    fn of_words(words: &Words) -> Self {
        Self(avx512!(_mm512_loadu_si512(words.as_ptr().cast())))
    }

    #[inline(always)]
    fn splat(word: u32) -> Self {
        Self(avx512!(_mm512_set1_epi32(word as i32)))
    }

    #[inline(always)]
    fn words(self) -> Words {
        let mut words = [0; LANES];
        avx512!(_mm512_storeu_si512(words.as_mut_ptr().cast(), self.0));
        words
    }

    #[inline(always)]
    fn of_bytes(words: &[u32; 4]) -> Self {
        Self(avx512!(_mm512_cvtepu8_epi32(_mm_loadu_si128(
            words.as_ptr().cast()
        ))))
    }

    #[inline(always)]
    fn interleave(vectors: &[Self; 4]) -> [[u32; 4]; LANES] {
        let mut words = [[0; 4]; LANES];
        let [a, b, c, d] = *vectors;
        avx512! {
            let (low0, high0) = (_mm512_unpacklo_epi32(a.0, b.0), _mm512_unpackhi_epi32(a.0, b.0));
            let (low1, high1) = (_mm512_unpacklo_epi32(c.0, d.0), _mm512_unpackhi_epi32(c.0, d.0));
            // Each has the words of four lanes, 4 apart.
            let place: *mut __m512i = words.as_mut_ptr().cast();
            _mm512_storeu_si512(place, _mm512_unpacklo_epi64(low0, low1));
            _mm512_storeu_si512(place.add(1), _mm512_unpackhi_epi64(low0, low1));
            _mm512_storeu_si512(place.add(2), _mm512_unpacklo_epi64(high0, high1));
            _mm512_storeu_si512(place.add(3), _mm512_unpackhi_epi64(high0, high1));
        }
        words
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self::of(avx512!(_mm512_add_ps(self.floats(), other.floats())))
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self::of(avx512!(_mm512_sub_ps(self.floats(), other.floats())))
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self::of(avx512!(_mm512_mul_ps(self.floats(), other.floats())))
    }

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        Self::of(avx512!(_mm512_div_ps(self.floats(), other.floats())))
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        Self::of(avx512!(_mm512_min_ps(self.floats(), other.floats())))
    }

    #[inline(always)]
    fn to_float(self) -> Self {
        Self::of(avx512!(_mm512_cvtepi32_ps(self.0)))
    }

    #[inline(always)]
    fn truncate(self) -> Self {
        Self(avx512!(_mm512_cvttps_epi32(self.floats())))
    }

    #[inline(always)]
    fn if_nan(self, then: Self, other: Self) -> Self {
        Self(avx512! {
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(self.floats(), self.floats());
            _mm512_mask_blend_epi32(nan, other.0, then.0)
        })
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        Self(avx512!(_mm512_and_si512(self.0, other.0)))
    }

    #[inline(always)]
    fn or(self, other: Self) -> Self {
        Self(avx512!(_mm512_or_si512(self.0, other.0)))
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Self(avx512!(_mm512_xor_si512(self.0, other.0)))
    }

    #[inline(always)]
    fn add_words(self, other: Self) -> Self {
        Self(avx512!(_mm512_add_epi32(self.0, other.0)))
    }

    #[inline(always)]
    fn sub_words(self, other: Self) -> Self {
        Self(avx512!(_mm512_sub_epi32(self.0, other.0)))
    }

    #[inline(always)]
    fn max_words(self, other: Self) -> Self {
        Self(avx512!(_mm512_max_epu32(self.0, other.0)))
    }

    #[inline(always)]
    fn shift_left<const BITS: i32>(self) -> Self {
        Self(avx512!(_mm512_sll_epi32(self.0, _mm_cvtsi32_si128(BITS))))
    }

    #[inline(always)]
    fn shift_right<const BITS: i32>(self) -> Self {
        Self(avx512!(_mm512_srl_epi32(self.0, _mm_cvtsi32_si128(BITS))))
    }

    #[inline(always)]
    fn shift_right_signed<const BITS: i32>(self) -> Self {
        Self(avx512!(_mm512_sra_epi32(self.0, _mm_cvtsi32_si128(BITS))))
    }

    #[inline(always)]
    fn if_less(self, limit: Self, then: Self, other: Self) -> Self {
        Self(avx512! {
            let less = _mm512_cmplt_epi32_mask(self.0, limit.0);
            _mm512_mask_blend_epi32(less, other.0, then.0)
        })
    }

    #[inline(always)]
    fn mul_wide(self, other: u32) -> (Self, Self) {
        /// The odd 32-bit lanes.
        const ODD: u16 = 0xaaaa;
        avx512! {
            let other = _mm512_set1_epi32(other as i32);
            let even = _mm512_mul_epu32(self.0, other);
            let odd = _mm512_mul_epu32(_mm512_srli_epi64::<32>(self.0), other);
            let high = _mm512_mask_blend_epi32(ODD, _mm512_srli_epi64::<32>(even), odd);
            let low = _mm512_mask_blend_epi32(ODD, even, _mm512_slli_epi64::<32>(odd));
            (Self(high), Self(low))
        }
    }

    #[inline(always)]
    fn largest(self) -> u32 {
        avx512!(_mm512_reduce_max_epu32(self.0))
    }

    #[inline(always)]
    fn pack(self) -> u64 {
        avx512! {
            let bytes = _mm512_cvtepi32_epi8(self.0);
            // The first of two bytes once, the second sixteen times.
            let pairs = _mm_maddubs_epi16(bytes, _mm_set1_epi16(0x1001));
            _mm_cvtsi128_si64(_mm_packus_epi16(pairs, pairs)) as u64
        }
    }
}
