//! Sums of a scaled tensor's numbers along its axis, computed of its codes.
//!
//! **Order of operations**, all in f32. A row of storage is cut into groups of sixteen elements. A group's numbers before
//! scaling are added in their order (of E2M1 elements the sum is exact) and the sum is multiplied by the group's block
//! scale. Group i is added to partial sum i mod 8, the groups in their order; then partial sums 4 … 7 to 0 … 3, 2 and 3 to
//! 0 and 1, and 1 to 0. The total is multiplied by the tensor scale. Sums of weighted numbers have an order of their own,
//! `weighted`'s.

mod weighted;

use crate::simd::{SimdLevel, for_each_level};
use crate::{ScaledTensor, ScaledType};
use std::ops::Range;

/// The elements of a group, a divisor of every block's.
const GROUP: usize = 16;

/// The partial sums of a row.
const LANES: usize = 8;

/// The sums along the axis of tensors of one type, of their numbers or of these times weights.
#[derive(Clone, Debug)]
pub struct AxisSums {
    scaled_type: ScaledType,
    /// The number of each element code.
    elements: Vec<f32>,
    /// The elements of a block and the number of each scale code.
    scales: Option<(usize, Box<[f32; 256]>)>,
    level: SimdLevel,
}

impl AxisSums {
    /// Sums of tensors of that type, with the best instructions of this processor.
    pub fn new(scaled_type: &ScaledType) -> Self {
        let element = scaled_type.format().element();
        let codes = match element.elements_per_byte() {
            1 => 256,
            _ => 16u16,
        };
        let scales = scaled_type.format().block().map(|(length, format)| {
            let mut numbers = Box::new([0.0; 256]);
            for (code, number) in (0..=u8::MAX).zip(numbers.iter_mut()) {
                *number = format.decode(code);
            }
            (length, numbers)
        });
        Self {
            elements: (0..codes).map(|code| element.decode(code as u8)).collect(),
            scales,
            scaled_type: scaled_type.clone(),
            level: SimdLevel::detect(),
        }
    }

    /// The same with chosen instructions; one of [`SimdLevel::available`], or else the best that there are.
    pub fn with_level(mut self, level: SimdLevel) -> Self {
        if SimdLevel::available().contains(&level) {
            self.level = level;
        }
        self
    }

    /// The type of the tensors.
    pub fn scaled_type(&self) -> &ScaledType {
        &self.scaled_type
    }

    /// The sums of all rows of storage: of the tensor without its axis, in row-major order.
    ///
    /// # Panics
    /// The tensor is of another type.
    pub fn of(&self, tensor: &ScaledTensor) -> Vec<f32> {
        assert_eq!(tensor.scaled_type(), &self.scaled_type);
        let mut sums = vec![0.0; self.scaled_type.rows()];
        self.run(tensor.bytes(), 0..sums.len(), &mut sums);
        sums
    }

    /// Writes the sums of some rows of storage. `bytes` are a tensor's.
    ///
    /// # Panics
    /// The bytes are not as many as the type's, the rows are not the type's, or the sums are not as many.
    pub fn run(&self, bytes: &[u8], rows: Range<usize>, sums: &mut [f32]) {
        self.check(bytes, &rows, sums);
        let tensor_scale = self.tensor_scale(bytes);
        sum_rows(self.level, self, bytes, rows, tensor_scale, sums);
    }

    fn check(&self, bytes: &[u8], rows: &Range<usize>, sums: &[f32]) {
        assert_eq!(bytes.len(), self.scaled_type.byte_size());
        assert!(rows.end <= self.scaled_type.rows() && rows.len() == sums.len());
    }

    fn tensor_scale(&self, bytes: &[u8]) -> f32 {
        let start = self.scaled_type.tensor_scale_offset();
        match bytes.get(start..).and_then(|bytes| bytes.first_chunk()) {
            Some(&scale) if self.scaled_type.format().has_tensor_scale() => {
                f32::from_le_bytes(scale)
            }
            _ => 1.0,
        }
    }

    /// The number that the elements of a group are multiplied by.
    #[inline(always)]
    fn scale(&self, bytes: &[u8], row: usize, group: usize) -> f32 {
        self.scales.as_ref().map_or(1.0, |(length, numbers)| {
            let place = self.scaled_type.scale_position(row, group * GROUP / length);
            numbers[usize::from(bytes[self.scaled_type.scales_offset() + place])]
        })
    }

    /// The sum of a group's numbers before scaling.
    #[inline(always)]
    fn group(&self, codes: &[u8], group: usize) -> f32 {
        let elements = &self.elements;
        if elements.len() == 16 {
            let end = codes.len().min((group + 1) * GROUP / 2);
            let pairs = codes[group * GROUP / 2..end].iter();
            return pairs.fold(0.0, |sum, &pair| {
                sum + elements[usize::from(pair & 0xf)] + elements[usize::from(pair >> 4)]
            });
        }
        let end = codes.len().min((group + 1) * GROUP);
        let codes = codes[group * GROUP..end].iter();
        codes.fold(0.0, |sum, &code| sum + elements[usize::from(code)])
    }

    /// Adds the groups from number `begin` on, a multiple of eight, to the partial sums, and adds these up.
    #[inline(always)]
    fn finish(&self, bytes: &[u8], row: usize, begin: usize, mut partial: [f32; LANES]) -> f32 {
        let length = self.scaled_type.row_bytes();
        let codes = &bytes[row * length..(row + 1) * length];
        for group in begin..self.scaled_type.columns().div_ceil(GROUP) {
            partial[group % LANES] += self.group(codes, group) * self.scale(bytes, row, group);
        }
        for half in [4, 2, 1] {
            for lane in 0..half {
                partial[lane] += partial[lane + half];
            }
        }
        partial[0]
    }
}

for_each_level! {
    fn sum_rows(
        sums: &AxisSums,
        bytes: &[u8],
        rows: Range<usize>,
        tensor_scale: f32,
        results: &mut [f32],
    ) = {
        avx512: sum_rows_avx2,
        avx2: sum_rows_avx2,
        portable: sum_rows_portable,
    };
}

#[inline(always)]
fn sum_rows_portable(
    sums: &AxisSums,
    bytes: &[u8],
    rows: Range<usize>,
    tensor_scale: f32,
    results: &mut [f32],
) {
    for (row, result) in rows.zip(results) {
        *result = sums.finish(bytes, row, 0, [0.0; LANES]) * tensor_scale;
    }
}

/// Eight groups of E2M1 codes at a time, where their scales lie side by side.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn sum_rows_avx2(
    sums: &AxisSums,
    bytes: &[u8],
    rows: Range<usize>,
    tensor_scale: f32,
    results: &mut [f32],
) {
    use crate::{ElementFormat, ScaleLayout};
    use std::arch::x86_64::*;

    /// The doubled numbers of the codes, and 12 to make them unsigned.
    const DOUBLED: [i8; 16] = [12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0];
    /// 12 for each element of a group.
    const ADDED: i32 = 12 * GROUP as i32;
    let scaled_type = &sums.scaled_type;
    let is_plain = scaled_type.layout() == ScaleLayout::Linear
        && scaled_type.format().element() == ElementFormat::E2m1;
    let Some((length, numbers)) = sums.scales.as_ref().filter(|_| is_plain) else {
        return sum_rows_portable(sums, bytes, rows, tensor_scale, results);
    };
    let is_pair = *length == 2 * GROUP;
    let (row_bytes, blocks_per_row) = (scaled_type.row_bytes(), scaled_type.blocks_per_row());
    let all_scales = &bytes[scaled_type.scales_offset()..];
    for (row, result) in rows.zip(results) {
        let codes = &bytes[row * row_bytes..(row + 1) * row_bytes];
        let (codes, _) = codes.as_chunks::<{ LANES * GROUP / 2 }>();
        let scales = &all_scales[row * blocks_per_row..(row + 1) * blocks_per_row];
        let mut partial = [0.0; LANES];
        // SAFETY: this is only reached with AVX2; loads are inside the chunks of codes and the stretches of scales that
        // slicing has checked, and gathered are entries of a table of all bytes.
        unsafe {
            let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(DOUBLED.as_ptr().cast()));
            let nibble = _mm256_set1_epi8(0xf);
            let halves = |place: *const u8| {
                let codes = _mm256_loadu_si256(place.cast());
                let low = _mm256_and_si256(codes, nibble);
                let high = _mm256_and_si256(_mm256_srli_epi16::<4>(codes), nibble);
                let pairs = _mm256_add_epi8(
                    _mm256_shuffle_epi8(table, low),
                    _mm256_shuffle_epi8(table, high),
                );
                _mm256_sad_epu8(pairs, _mm256_setzero_si256())
            };
            let mut sum = _mm256_setzero_ps();
            for (index, codes) in codes.iter().enumerate() {
                let first = halves(codes.as_ptr());
                let second = halves(codes.as_ptr().add(32));
                // Sums of groups 0 1 4 5 2 3 6 7, then in order.
                let packed = _mm256_castps_si256(_mm256_shuffle_ps::<0b10_00_10_00>(
                    _mm256_castsi256_ps(first),
                    _mm256_castsi256_ps(second),
                ));
                let ordered = _mm256_permute4x64_epi64::<0b11_01_10_00>(packed);
                let doubled = _mm256_sub_epi32(ordered, _mm256_set1_epi32(ADDED));
                let each = _mm256_mul_ps(_mm256_cvtepi32_ps(doubled), _mm256_set1_ps(0.5));
                let scale_codes = if is_pair {
                    let four = &scales[index * LANES / 2..][..LANES / 2];
                    let four =
                        _mm_cvtsi32_si128(i32::from_le_bytes([four[0], four[1], four[2], four[3]]));
                    _mm_unpacklo_epi8(four, four)
                } else {
                    let eight = &scales[index * LANES..][..LANES];
                    _mm_loadl_epi64(eight.as_ptr().cast())
                };
                let scales =
                    _mm256_i32gather_ps::<4>(numbers.as_ptr(), _mm256_cvtepu8_epi32(scale_codes));
                sum = _mm256_add_ps(sum, _mm256_mul_ps(each, scales));
            }
            _mm256_storeu_ps(partial.as_mut_ptr(), sum);
        }
        *result = sums.finish(bytes, row, codes.len() * LANES, partial) * tensor_scale;
    }
}
