//! Sixteen lanes in one register of AVX-512.

use super::elements::Element;
use super::vector::{Floats, LANES, MAGNITUDE, Vector, Words};
use crate::ElementFormat;
use crate::simd::SimdLevel;
use std::arch::x86_64::*;

#[derive(Clone, Copy)]
pub(super) struct Avx512(__m512i);

/// 1.5 · 2^22: added to a number it rounds it to halves, which the sum's low bits count in two's complement.
const HALVES: f32 = (3 << 21) as f32;

/// By the number of halves of an E2M1 number, modulo 32, of which 18 and up are negative: what is added to it so that it is
/// rounded to its binade's steps, and the sum's lowest three bits are the code of its magnitude. 2^22 makes steps of 1/2 from
/// the code 0 on, 2^23 + 2 steps of 1 from the code 2 on, 2^24 + 8 steps of 2 from the code 4 on: even, so that ties stay ties.
/// Where binades meet, either of both will do.
const CENTRES: [[f32; LANES]; 2] = {
    let mut centres = [[0.0; LANES]; 2];
    let mut halves = 0;
    while halves < LANES {
        let centre = match halves {
            // Of either sign: also what is a little less stays in its binade.
            0 => HALVES,
            1..4 => (1 << 22) as f32,
            4..8 => ((1 << 23) + 2) as f32,
            _ => ((1 << 24) + 8) as f32,
        };
        centres[0][halves] = centre;
        if halves > 0 {
            centres[1][LANES - halves] = -centre;
        }
        halves += 1;
    }
    centres
};

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
    const LEVEL: SimdLevel = SimdLevel::Avx512;

    #[inline(always)]
    fn load(values: &Floats) -> Self {
        Self::of(avx512!(_mm512_loadu_ps(values.as_ptr())))
    }

    #[inline(always)]
    fn store(self, values: &mut Floats) {
        avx512!(_mm512_storeu_ps(values.as_mut_ptr(), self.floats()));
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
    fn transpose(vectors: &[Self; LANES]) -> [Self; LANES] {
        let mut transposed = *vectors;
        avx512! {
            // By four vectors: the words of four lanes, 4 apart, in 128 bits each.
            let mut fours = [[_mm512_setzero_si512(); 4]; 4];
            for (number, four) in fours.iter_mut().enumerate() {
                let first = 4 * number;
                let (a, b) = (vectors[first].0, vectors[first + 1].0);
                let (c, d) = (vectors[first + 2].0, vectors[first + 3].0);
                let (low0, high0) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
                let (low1, high1) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
                *four = [
                    _mm512_unpacklo_epi64(low0, low1),
                    _mm512_unpackhi_epi64(low0, low1),
                    _mm512_unpacklo_epi64(high0, high1),
                    _mm512_unpackhi_epi64(high0, high1),
                ];
            }
            // Then each lane's 128 bits of all.
            const FIRST: i32 = 0b01_00_01_00;
            const LAST: i32 = 0b11_10_11_10;
            const EVEN: i32 = 0b10_00_10_00;
            const ODD: i32 = 0b11_01_11_01;
            for lane in 0..4 {
                let (a, b, c, d) = (fours[0][lane], fours[1][lane], fours[2][lane], fours[3][lane]);
                let (low0, low1) = (
                    _mm512_shuffle_i32x4::<FIRST>(a, b),
                    _mm512_shuffle_i32x4::<FIRST>(c, d),
                );
                let (high0, high1) = (
                    _mm512_shuffle_i32x4::<LAST>(a, b),
                    _mm512_shuffle_i32x4::<LAST>(c, d),
                );
                transposed[lane].0 = _mm512_shuffle_i32x4::<EVEN>(low0, low1);
                transposed[lane + 4].0 = _mm512_shuffle_i32x4::<ODD>(low0, low1);
                transposed[lane + 8].0 = _mm512_shuffle_i32x4::<EVEN>(high0, high1);
                transposed[lane + 12].0 = _mm512_shuffle_i32x4::<ODD>(high0, high1);
            }
        }
        transposed
    }

    #[inline(always)]
    unsafe fn stream(self, place: *mut u8) {
        // SAFETY: the caller's promises; the processor has AVX-512 F.
        unsafe { _mm512_stream_si512(place.cast(), self.0) };
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
    fn max(self, other: Self) -> Self {
        Self::of(avx512!(_mm512_max_ps(self.floats(), other.floats())))
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, other: Self) -> Self {
        Self::of(avx512!(_mm512_fmadd_ps(
            self.floats(),
            factor.floats(),
            other.floats()
        )))
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
    fn shift_left(self, bits: u32) -> Self {
        Self(avx512!(_mm512_sll_epi32(
            self.0,
            _mm_cvtsi32_si128(bits as i32)
        )))
    }

    #[inline(always)]
    fn shift_right(self, bits: u32) -> Self {
        Self(avx512!(_mm512_srl_epi32(
            self.0,
            _mm_cvtsi32_si128(bits as i32)
        )))
    }

    #[inline(always)]
    fn shift_right_signed(self, bits: u32) -> Self {
        Self(avx512!(_mm512_sra_epi32(
            self.0,
            _mm_cvtsi32_si128(bits as i32)
        )))
    }

    #[inline(always)]
    fn if_less(self, limit: Self, then: Self, other: Self) -> Self {
        Self(avx512! {
            let less = _mm512_cmplt_epi32_mask(self.0, limit.0);
            _mm512_mask_blend_epi32(less, other.0, then.0)
        })
    }

    #[inline(always)]
    fn exchange<const DISTANCE: usize>(self) -> Self {
        Self(avx512! {
            match DISTANCE {
                1 => _mm512_shuffle_epi32::<0b10_11_00_01>(self.0),
                2 => _mm512_shuffle_epi32::<0b01_00_11_10>(self.0),
                4 => _mm512_shuffle_i32x4::<0b10_11_00_01>(self.0, self.0),
                _ => _mm512_shuffle_i32x4::<0b01_00_11_10>(self.0, self.0),
            }
        })
    }

    #[inline(always)]
    fn mul_even(self, other: u32) -> Self {
        Self(avx512!(_mm512_mul_epu32(
            self.0,
            _mm512_set1_epi32(other as i32)
        )))
    }

    #[inline(always)]
    fn upper_halves(self) -> Self {
        Self(avx512!(_mm512_srli_epi64::<32>(self.0)))
    }

    #[inline(always)]
    fn with_odd(self, odd: Self) -> Self {
        /// The odd lanes.
        const ODD: u16 = 0xaaaa;
        Self(avx512! {
            _mm512_mask_blend_epi32(ODD, self.0, _mm512_slli_epi64::<32>(odd.0))
        })
    }

    #[inline(always)]
    fn are_small<E: Element>(self) -> bool {
        // What is less is rounded to 6 at most; NaN is less than nothing.
        const LIMIT: f32 = 7.0;
        let less = avx512!(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(
            self.floats(),
            _mm512_set1_ps(LIMIT)
        ));
        E::FORMAT == ElementFormat::E2m1 && less == u16::MAX
    }

    #[inline(always)]
    fn encode_small<E: Element>(self) -> Self {
        /// The bits of the first operand where the third has ones, else the second's.
        const SELECT: i32 = 0xe4;
        if E::FORMAT != ElementFormat::E2m1 {
            return self.encode_nearest::<E>();
        }
        Self(avx512! {
            let halves = _mm512_add_ps(self.floats(), _mm512_set1_ps(HALVES));
            let centres = _mm512_permutex2var_ps(
                _mm512_loadu_ps(CENTRES[0].as_ptr()),
                _mm512_castps_si512(halves),
                _mm512_loadu_ps(CENTRES[1].as_ptr()),
            );
            let sums = _mm512_castps_si512(_mm512_add_ps(self.floats(), centres));
            let signs = _mm512_srli_epi32::<28>(self.0);
            _mm512_ternarylogic_epi32::<SELECT>(sums, signs, _mm512_set1_epi32(7))
        })
    }

    #[inline(always)]
    fn bytes(self) -> [u8; LANES] {
        let mut bytes = [0; LANES];
        avx512!(_mm_storeu_si128(
            bytes.as_mut_ptr().cast(),
            _mm512_cvtepi32_epi8(self.0)
        ));
        bytes
    }

    #[inline(always)]
    fn largest_magnitudes(groups: &[Floats; LANES]) -> Self {
        // Each step puts the numbers of two vectors side by side and keeps the larger: of a, b with two numbers each, then
        // of a, b, c, d with one in every 128 bits, then with the 128 bits of two and of four such vectors.
        avx512! {
            let mut fours = [_mm512_setzero_si512(); 4];
            for (number, four) in fours.iter_mut().enumerate() {
                let mut twos = [_mm512_setzero_si512(); 2];
                for (half, two) in twos.iter_mut().enumerate() {
                    let first = 4 * number + 2 * half;
                    let magnitude = _mm512_set1_epi32(MAGNITUDE as i32);
                    let a = _mm512_and_si512(Self::load(&groups[first]).0, magnitude);
                    let b = _mm512_and_si512(Self::load(&groups[first + 1]).0, magnitude);
                    let (low, high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
                    *two = _mm512_max_epu32(low, high);
                }
                let [a, b] = twos;
                let (low, high) = (_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
                *four = _mm512_max_epu32(low, high);
            }
            let [a, b, c, d] = fours;
            const EVEN: i32 = 0b10_00_10_00;
            const ODD: i32 = 0b11_01_11_01;
            let ab = _mm512_max_epu32(
                _mm512_shuffle_i32x4::<EVEN>(a, b),
                _mm512_shuffle_i32x4::<ODD>(a, b),
            );
            let cd = _mm512_max_epu32(
                _mm512_shuffle_i32x4::<EVEN>(c, d),
                _mm512_shuffle_i32x4::<ODD>(c, d),
            );
            Self(_mm512_max_epu32(
                _mm512_shuffle_i32x4::<EVEN>(ab, cd),
                _mm512_shuffle_i32x4::<ODD>(ab, cd),
            ))
        }
    }

    #[inline(always)]
    fn pack([a, b, c, d]: [Self; 4]) -> [[u8; 8]; 4] {
        let mut packed = [[0; 8]; 4];
        avx512! {
            // Every 128 bits: four codes of each vector, as bytes.
            let ab = _mm512_packus_epi32(a.0, b.0);
            let cd = _mm512_packus_epi32(c.0, d.0);
            let bytes = _mm512_packus_epi16(ab, cd);
            // The first of two bytes once, the second sixteen times.
            let pairs = _mm512_maddubs_epi16(bytes, _mm512_set1_epi16(0x1001));
            let words = _mm512_cvtepi16_epi8(pairs);
            // From four words of each quarter to a vector's words side by side.
            let order = _mm256_setr_epi16(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            let ordered = _mm256_permutexvar_epi16(order, words);
            _mm256_storeu_si256(packed.as_mut_ptr().cast(), ordered);
        }
        packed
    }
}
