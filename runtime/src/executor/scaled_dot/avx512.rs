//! The innermost kernel for AVX-512 VNNI.

use super::tile::{COLUMNS, ColumnBlock, ROWS, RowBlock, Tile};
use std::arch::x86_64::*;

/// Rows whose integer sums are in registers at a time, beside the f32 accumulators of all.
const STRIP: usize = 4;

/// Adds the products of `rows` and `columns`, block after block, to `tile`.
#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) fn accumulate<const GROUPS: usize>(
    rows: &[RowBlock<GROUPS>],
    columns: &[ColumnBlock<GROUPS>],
    tile: &mut Tile,
) {
    let mut accumulators = tile.0.map(|row| [load_f32(&row, 0), load_f32(&row, 1)]);
    for (row_block, column_block) in rows.iter().zip(columns) {
        let column_scales = [0, 1].map(|half| load_f32(&column_block.scales, half));
        for strip in 0..ROWS / STRIP {
            let first = strip * STRIP;
            let mut sums = [[_mm512_setzero_si512(); 2]; STRIP];
            for row in 0..STRIP {
                sums[row] = [_mm512_set1_epi32(row_block.start[first + row]); 2];
            }
            for group in 0..GROUPS {
                let rhs = [0, 1].map(|half| load_words(&column_block.elements[group], half));
                for row in 0..STRIP {
                    let lhs = _mm512_set1_epi32(row_block.elements[first + row][group]);
                    for half in 0..2 {
                        sums[row][half] = _mm512_dpbusd_epi32(sums[row][half], rhs[half], lhs);
                    }
                }
            }
            for row in 0..STRIP {
                let scale = _mm512_set1_ps(row_block.scales[first + row]);
                let shift = _mm512_set1_ps(row_block.shifts[first + row]);
                for half in 0..2 {
                    let sum = _mm512_castsi512_ps(sums[row][half]);
                    let scaled = _mm512_fmadd_ps(sum, scale, shift);
                    accumulators[first + row][half] = _mm512_fmadd_ps(
                        scaled,
                        column_scales[half],
                        accumulators[first + row][half],
                    );
                }
            }
        }
    }
    for (row, accumulators) in tile.0.iter_mut().zip(accumulators) {
        for (half, accumulator) in row.as_chunks_mut::<16>().0.iter_mut().zip(accumulators) {
            // SAFETY: a reference to 16 numbers.
            unsafe { _mm512_storeu_ps(half.as_mut_ptr(), accumulator) };
        }
    }
}

/// One half of a line of numbers.
#[target_feature(enable = "avx512f")]
fn load_f32(line: &[f32; COLUMNS], half: usize) -> __m512 {
    // SAFETY: a reference to 16 numbers.
    unsafe { _mm512_loadu_ps(line.as_chunks::<16>().0[half].as_ptr()) }
}

/// One half of a line of words.
#[target_feature(enable = "avx512f")]
fn load_words(line: &[u32; COLUMNS], half: usize) -> __m512i {
    // SAFETY: a reference to 16 words.
    unsafe { _mm512_loadu_si512(line.as_chunks::<16>().0[half].as_ptr().cast()) }
}
