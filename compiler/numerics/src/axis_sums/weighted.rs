//! Sums of weighted numbers along the axis: the product of a scaled tensor and a vector.
//!
//! **Order of operations**, all in f32, each operation rounded by itself. A number is what `dequantize` makes of it: its
//! element times the block scale, times the tensor scale. Number i of a row times weight i is added to partial sum
//! i mod 16, in order; then partial sums 8 … 15 to 0 … 7, 4 … 7 to 0 … 3, 2 and 3 to 0 and 1, and 1 to 0.

use super::{AxisSums, GROUP};
use crate::ScaledTensor;
use crate::simd::for_each_level;
#[cfg(target_arch = "x86_64")]
use crate::{ElementFormat, ScaleLayout};
use std::ops::Range;

impl AxisSums {
    /// The sums of all rows of storage, each number times its weight; the weights are as [`run_weighted`] takes them.
    ///
    /// # Panics
    /// The tensor is of another type, or the weights are not as many as they may be.
    ///
    /// [`run_weighted`]: Self::run_weighted
    pub fn of_weighted(&self, tensor: &ScaledTensor, weights: &[f32]) -> Vec<f32> {
        assert_eq!(tensor.scaled_type(), self.scaled_type());
        let mut sums = vec![0.0; self.scaled_type().rows()];
        self.run_weighted(tensor.bytes(), 0..sums.len(), weights, &mut sums);
        sums
    }

    /// Writes the sums of some rows of storage, each number times its weight. `bytes` are a tensor's. The weights are one
    /// or more vectors, a number for each place along the axis; of n, each is that of a nth of the rows that follow each
    /// other.
    ///
    /// # Panics
    /// The bytes are not as many as the type's, the rows are not the type's, or the sums are not as many; the weights are
    /// no vectors, or not as many as divide the rows.
    pub fn run_weighted(
        &self,
        bytes: &[u8],
        rows: Range<usize>,
        weights: &[f32],
        sums: &mut [f32],
    ) {
        self.check(bytes, &rows, sums);
        let columns = self.scaled_type.columns();
        if columns == 0 {
            assert!(weights.is_empty());
            return sums.fill(0.0);
        }
        let vectors = weights.len() / columns;
        assert_eq!(weights.len(), vectors * columns);
        assert!(rows.is_empty() || self.scaled_type.rows().is_multiple_of(vectors));
        let row_sum = RowSum {
            sums: self,
            bytes,
            tensor_scale: self.tensor_scale(bytes),
        };
        let each = self.scaled_type.rows() / vectors.max(1);
        sum_rows(self.level, row_sum, rows, each, weights, sums);
    }
}

/// What the sum of any row is made of.
#[derive(Clone, Copy)]
pub(crate) struct RowSum<'a> {
    sums: &'a AxisSums,
    bytes: &'a [u8],
    tensor_scale: f32,
}

impl<'a> RowSum<'a> {
    /// The bytes of a row's codes.
    #[inline(always)]
    fn codes(&self, row: usize) -> &'a [u8] {
        let length = self.sums.scaled_type.row_bytes();
        &self.bytes[row * length..(row + 1) * length]
    }

    /// Adds a row's numbers from that column on, a multiple of sixteen, to the partial sums, and adds these up.
    #[inline(always)]
    fn finish(&self, row: usize, begin: usize, weights: &[f32], mut partial: [f32; GROUP]) -> f32 {
        let codes = self.codes(row);
        let elements = &self.sums.elements;
        let groups = weights.chunks(GROUP).enumerate().skip(begin / GROUP);
        for (group, weights) in groups {
            let scale = self.sums.scale(self.bytes, row, group);
            for (lane, weight) in weights.iter().enumerate() {
                let column = group * GROUP + lane;
                let code = if elements.len() == 16 {
                    (codes[column / 2] >> (4 * (column % 2))) & 0xf
                } else {
                    codes[column]
                };
                partial[lane] += elements[usize::from(code)] * scale * self.tensor_scale * weight;
            }
        }
        for half in [8, 4, 2, 1] {
            for lane in 0..half {
                partial[lane] += partial[lane + half];
            }
        }
        partial[0]
    }

    /// The block scales, where elements are of E2M1 and a row's scales lie side by side.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn plain_scales(&self) -> Option<PlainScales<'a>> {
        let scaled_type = &self.sums.scaled_type;
        let is_plain = scaled_type.layout() == ScaleLayout::Linear
            && scaled_type.format().element() == ElementFormat::E2m1;
        let (length, numbers) = self.sums.scales.as_ref().filter(|_| is_plain)?;
        Some(PlainScales {
            codes: &self.bytes[scaled_type.scales_offset()..],
            per_row: scaled_type.blocks_per_row(),
            numbers,
            groups_as_power: (length / GROUP).trailing_zeros(),
        })
    }
}

/// Block scales, those of a row side by side.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct PlainScales<'a> {
    codes: &'a [u8],
    per_row: usize,
    /// The number of each code.
    numbers: &'a [f32; 256],
    /// How many groups share a scale, as a power of two.
    groups_as_power: u32,
}

#[cfg(target_arch = "x86_64")]
impl<'a> PlainScales<'a> {
    /// The scales of a row's groups.
    #[inline(always)]
    fn of_row(self, row: usize) -> impl Fn(usize) -> f32 + 'a {
        let codes = &self.codes[row * self.per_row..(row + 1) * self.per_row];
        move |group| self.numbers[usize::from(codes[group >> self.groups_as_power])]
    }
}

for_each_level! {
    fn sum_rows(
        row_sum: RowSum<'_>,
        rows: Range<usize>,
        rows_of_a_vector: usize,
        weights: &[f32],
        sums: &mut [f32],
    ) = {
        avx512: sum_rows_avx512,
        avx2: sum_rows_avx2,
        portable: sum_rows_portable,
    };
}

/// The rows with the weights and the place of the sum of each.
#[inline(always)]
fn walk<'a>(
    rows: Range<usize>,
    rows_of_a_vector: usize,
    weights: &'a [f32],
    columns: usize,
    sums: &'a mut [f32],
) -> impl Iterator<Item = (usize, &'a [f32], &'a mut f32)> {
    rows.zip(sums).map(move |(row, sum)| {
        let vector = row / rows_of_a_vector;
        (row, &weights[vector * columns..(vector + 1) * columns], sum)
    })
}

#[inline(always)]
fn sum_rows_portable(
    row_sum: RowSum<'_>,
    rows: Range<usize>,
    rows_of_a_vector: usize,
    weights: &[f32],
    sums: &mut [f32],
) {
    let columns = row_sum.sums.scaled_type.columns();
    for (row, weights, sum) in walk(rows, rows_of_a_vector, weights, columns, sums) {
        *sum = row_sum.finish(row, 0, weights, [0.0; GROUP]);
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn sum_rows_avx2(
    row_sum: RowSum<'_>,
    rows: Range<usize>,
    rows_of_a_vector: usize,
    weights: &[f32],
    sums: &mut [f32],
) {
    use std::arch::x86_64::*;

    let Some(scales) = row_sum.plain_scales() else {
        return sum_rows_portable(row_sum, rows, rows_of_a_vector, weights, sums);
    };
    let columns = row_sum.sums.scaled_type.columns();
    for (row, weights, sum) in walk(rows, rows_of_a_vector, weights, columns, sums) {
        let (codes, _) = row_sum.codes(row).as_chunks::<{ GROUP / 2 }>();
        let (chunks, _) = weights.as_chunks::<GROUP>();
        let scale_of = scales.of_row(row);
        let mut partial = [0.0; GROUP];
        // SAFETY: this is only reached with AVX2; loads and stores are inside the chunks and arrays whose places they take,
        // that of the table inside its sixteen entries.
        unsafe {
            let table = _mm256_loadu_ps(row_sum.sums.elements.as_ptr());
            let shifts = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
            let tensor_scale = _mm256_set1_ps(row_sum.tensor_scale);
            let [mut low, mut high] = [_mm256_setzero_ps(); 2];
            for (group, (codes, weights)) in codes.iter().zip(chunks).enumerate() {
                let scale = _mm256_set1_ps(scale_of(group));
                let [first, second] = [0, 4]
                    .map(|place| i32::from_le_bytes([0, 1, 2, 3].map(|byte| codes[place + byte])));
                let weighted = |codes: i32, weights: *const f32| {
                    let codes = _mm256_srlv_epi32(_mm256_set1_epi32(codes), shifts);
                    // The low three bits choose, the fourth is the sign.
                    let magnitudes = _mm256_permutevar8x32_ps(table, codes);
                    let signs = _mm256_slli_epi32::<31>(_mm256_srli_epi32::<3>(codes));
                    let elements = _mm256_xor_ps(magnitudes, _mm256_castsi256_ps(signs));
                    let numbers = _mm256_mul_ps(_mm256_mul_ps(elements, scale), tensor_scale);
                    _mm256_mul_ps(numbers, _mm256_loadu_ps(weights))
                };
                low = _mm256_add_ps(low, weighted(first, weights.as_ptr()));
                high = _mm256_add_ps(high, weighted(second, weights.as_ptr().add(8)));
            }
            _mm256_storeu_ps(partial.as_mut_ptr(), low);
            _mm256_storeu_ps(partial.as_mut_ptr().add(8), high);
        }
        *sum = row_sum.finish(row, chunks.len() * GROUP, weights, partial);
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn sum_rows_avx512(
    row_sum: RowSum<'_>,
    rows: Range<usize>,
    rows_of_a_vector: usize,
    weights: &[f32],
    sums: &mut [f32],
) {
    use std::arch::x86_64::*;

    let Some(scales) = row_sum.plain_scales() else {
        return sum_rows_portable(row_sum, rows, rows_of_a_vector, weights, sums);
    };
    let columns = row_sum.sums.scaled_type.columns();
    for (row, weights, sum) in walk(rows, rows_of_a_vector, weights, columns, sums) {
        let (codes, _) = row_sum.codes(row).as_chunks::<{ GROUP / 2 }>();
        let (chunks, _) = weights.as_chunks::<GROUP>();
        let scale_of = scales.of_row(row);
        let mut partial = [0.0; GROUP];
        // SAFETY: this is only reached with AVX-512 F and BW; loads and stores are inside the chunks and arrays whose places
        // they take, that of the table of its sixteen entries.
        unsafe {
            let table = _mm512_loadu_ps(row_sum.sums.elements.as_ptr());
            let tensor_scale = _mm512_set1_ps(row_sum.tensor_scale);
            let mut total = _mm512_setzero_ps();
            for (group, (codes, weights)) in codes.iter().zip(chunks).enumerate() {
                let scale = _mm512_set1_ps(scale_of(group));
                let pairs = _mm_loadl_epi64(codes.as_ptr().cast());
                // In order, each in the low half of its byte: the permutation looks at nothing else.
                let codes = _mm_unpacklo_epi8(pairs, _mm_srli_epi16::<4>(pairs));
                let elements = _mm512_permutexvar_ps(_mm512_cvtepu8_epi32(codes), table);
                let scaled = _mm512_mul_ps(elements, scale);
                let numbers = _mm512_mul_ps(scaled, tensor_scale);
                let weighted = _mm512_mul_ps(numbers, _mm512_loadu_ps(weights.as_ptr()));
                total = _mm512_add_ps(total, weighted);
            }
            _mm512_storeu_ps(partial.as_mut_ptr(), total);
        }
        *sum = row_sum.finish(row, chunks.len() * GROUP, weights, partial);
    }
}
