//! The innermost kernel for AVX-512 VNNI.
//!
//! A tile's accumulators and the integer sums of one block take 12 registers each. A load of 16 columns then serves
//! three rows and a load of a row serves 64 columns, which leaves most of the work to the arithmetic units.

#![expect(
    clippy::needless_range_loop,
    reason = "rows and vectors are registers, which several arrays number alike"
)]

use super::tile::{COLUMNS, ColumnBlock, ROWS, RowBlock, VectorTile};
use std::arch::x86_64::*;

/// Numbers of a vector.
const LANES: usize = 16;

/// Vectors of a row of a tile.
const VECTORS: usize = COLUMNS / LANES;

/// Adds the products of `rows` and `columns`, block after block, to `tile`.
#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) fn accumulate<const GROUPS: usize>(
    rows: &[RowBlock<GROUPS>],
    columns: &[ColumnBlock<GROUPS>],
    tile: &mut VectorTile,
) {
    let mut accumulators = [[_mm512_setzero_ps(); VECTORS]; ROWS];
    for row in 0..ROWS {
        for vector in 0..VECTORS {
            accumulators[row][vector] = load_f32(&tile.0[row], vector);
        }
    }
    for (row_block, column_block) in rows.iter().zip(columns) {
        let mut sums = [[_mm512_setzero_si512(); VECTORS]; ROWS];
        for row in 0..ROWS {
            sums[row] = [_mm512_set1_epi32(row_block.start[row]); VECTORS];
        }
        for group in 0..GROUPS {
            let mut rhs = [_mm512_setzero_si512(); VECTORS];
            for vector in 0..VECTORS {
                rhs[vector] = load_words(&column_block.elements[group], vector);
            }
            for row in 0..ROWS {
                let lhs = _mm512_set1_epi32(row_block.elements[row][group]);
                for vector in 0..VECTORS {
                    sums[row][vector] = _mm512_dpbusd_epi32(sums[row][vector], rhs[vector], lhs);
                }
            }
        }
        for row in 0..ROWS {
            let scale = _mm512_set1_ps(row_block.scales[row]);
            let shift = _mm512_set1_ps(row_block.shifts[row]);
            for vector in 0..VECTORS {
                let sum = _mm512_castsi512_ps(sums[row][vector]);
                let scaled = _mm512_fmadd_ps(sum, scale, shift);
                let column_scales = load_f32(&column_block.scales, vector);
                let accumulator = &mut accumulators[row][vector];
                *accumulator = _mm512_fmadd_ps(scaled, column_scales, *accumulator);
            }
        }
    }
    for row in 0..ROWS {
        let line = tile.0[row].as_chunks_mut::<LANES>().0;
        for vector in 0..VECTORS {
            // SAFETY: a reference to 16 numbers.
            unsafe { _mm512_storeu_ps(line[vector].as_mut_ptr(), accumulators[row][vector]) };
        }
    }
}

/// Writes accumulators times one scale and then another.
///
/// # Safety
/// From `place` on there is room for all of them, which nobody else reads or writes meanwhile.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn write(sums: &[f32], first: f32, second: f32, place: *mut f32) {
    let scales = [first, second].map(|scale| _mm512_set1_ps(scale));
    for (number, sums) in sums.chunks(LANES).enumerate() {
        let mask = u16::MAX >> (LANES - sums.len());
        // SAFETY: the mask has the numbers there are; the caller's promise.
        unsafe {
            let sums = _mm512_maskz_loadu_ps(mask, sums.as_ptr());
            let values = _mm512_mul_ps(_mm512_mul_ps(sums, scales[0]), scales[1]);
            _mm512_mask_storeu_ps(place.add(number * LANES), mask, values);
        }
    }
}

/// One vector of a line of numbers.
#[target_feature(enable = "avx512f")]
fn load_f32(line: &[f32; COLUMNS], vector: usize) -> __m512 {
    // SAFETY: a reference to 16 numbers.
    unsafe { _mm512_loadu_ps(line.as_chunks::<LANES>().0[vector].as_ptr()) }
}

/// One vector of a line of words.
#[target_feature(enable = "avx512f")]
fn load_words(line: &[u32; COLUMNS], vector: usize) -> __m512i {
    // SAFETY: a reference to 16 words.
    unsafe { _mm512_loadu_si512(line.as_chunks::<LANES>().0[vector].as_ptr().cast()) }
}
