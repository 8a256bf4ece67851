//! The innermost kernels for vectors of 256 bits: AVX-VNNI and AVX2.
//!
//! There are 16 registers, so a tile is computed in parts of four rows by 16 columns, each over all blocks.

use super::tile::{COLUMNS, ColumnBlock, ROWS, RowBlock, Tile};
use std::arch::x86_64::*;

/// Numbers of a vector.
const LANES: usize = 8;

/// Rows of a part of a tile.
const PART_ROWS: usize = 4;

/// Vectors of a part of a tile along its columns.
const PART_VECTORS: usize = 2;

/// Rows whose integer sums are in registers at a time, beside the f32 accumulators of the part.
const STRIP: usize = 2;

/// Defines `accumulate` for one level: adds the products of `rows` and `columns`, block after block, to `tile`. The two
/// levels differ in how they add products of bytes to a vector of sums, which `$sum` does.
macro_rules! accumulate {
    ($(#[$documentation:meta])* $name:ident, $features:literal, $sum:ident) => {
        $(#[$documentation])*
        #[target_feature(enable = $features)]
        pub(super) fn $name<const GROUPS: usize>(
            rows: &[RowBlock<GROUPS>],
            columns: &[ColumnBlock<GROUPS>],
            tile: &mut Tile,
        ) {
            for first_row in (0..ROWS).step_by(PART_ROWS) {
                for first_vector in (0..COLUMNS / LANES).step_by(PART_VECTORS) {
                    let mut accumulators = [[_mm256_setzero_ps(); PART_VECTORS]; PART_ROWS];
                    for row in 0..PART_ROWS {
                        for vector in 0..PART_VECTORS {
                            accumulators[row][vector] =
                                load_f32(&tile.0[first_row + row], first_vector + vector);
                        }
                    }
                    for (row_block, column_block) in rows.iter().zip(columns) {
                        for strip in (0..PART_ROWS).step_by(STRIP) {
                            let sums = $sum(row_block, first_row + strip, column_block, first_vector);
                            for row in 0..STRIP {
                                let scale = _mm256_set1_ps(row_block.scales[first_row + strip + row]);
                                let shift = _mm256_set1_ps(row_block.shifts[first_row + strip + row]);
                                for vector in 0..PART_VECTORS {
                                    let sum = _mm256_castsi256_ps(sums[row][vector]);
                                    let scaled = _mm256_fmadd_ps(sum, scale, shift);
                                    let accumulator = &mut accumulators[strip + row][vector];
                                    *accumulator = _mm256_fmadd_ps(
                                        scaled,
                                        load_f32(&column_block.scales, first_vector + vector),
                                        *accumulator,
                                    );
                                }
                            }
                        }
                    }
                    for row in 0..PART_ROWS {
                        let line = tile.0[first_row + row].as_chunks_mut::<LANES>().0;
                        for vector in 0..PART_VECTORS {
                            let place = line[first_vector + vector].as_mut_ptr();
                            // SAFETY: a reference to 8 numbers.
                            unsafe { _mm256_storeu_ps(place, accumulators[row][vector]) };
                        }
                    }
                }
            }
        }
    };
}

accumulate!(
    /// The kernel for AVX-VNNI.
    accumulate_vnni, "avx2,fma,avxvnni", sum_vnni
);

accumulate!(
    /// The kernel for AVX2.
    accumulate, "avx2,fma", sum
);

/// The integer sums of one block of `STRIP` rows and `PART_VECTORS` vectors of columns.
#[target_feature(enable = "avx2,avxvnni")]
fn sum_vnni<const GROUPS: usize>(
    rows: &RowBlock<GROUPS>,
    first_row: usize,
    columns: &ColumnBlock<GROUPS>,
    first_vector: usize,
) -> [[__m256i; PART_VECTORS]; STRIP] {
    let mut sums = [[_mm256_setzero_si256(); PART_VECTORS]; STRIP];
    for row in 0..STRIP {
        sums[row] = [_mm256_set1_epi32(rows.start[first_row + row]); PART_VECTORS];
    }
    for group in 0..GROUPS {
        for vector in 0..PART_VECTORS {
            let rhs = load_words(&columns.elements[group], first_vector + vector);
            for row in 0..STRIP {
                let lhs = _mm256_set1_epi32(rows.elements[first_row + row][group]);
                sums[row][vector] = _mm256_dpbusd_avx_epi32(sums[row][vector], rhs, lhs);
            }
        }
    }
    sums
}

/// As [`sum_vnni`]. The sums of pairs, at most 2·24·24 each, are added in 16 bits: the 8 of them that a block of 32 has in
/// one place stay below 2¹⁵.
#[target_feature(enable = "avx2")]
fn sum<const GROUPS: usize>(
    rows: &RowBlock<GROUPS>,
    first_row: usize,
    columns: &ColumnBlock<GROUPS>,
    first_vector: usize,
) -> [[__m256i; PART_VECTORS]; STRIP] {
    let mut sums = [[_mm256_setzero_si256(); PART_VECTORS]; STRIP];
    for group in 0..GROUPS {
        for vector in 0..PART_VECTORS {
            let rhs = load_words(&columns.elements[group], first_vector + vector);
            for row in 0..STRIP {
                let lhs = _mm256_set1_epi32(rows.elements[first_row + row][group]);
                let pairs = _mm256_maddubs_epi16(rhs, lhs);
                sums[row][vector] = _mm256_add_epi16(sums[row][vector], pairs);
            }
        }
    }
    for row in 0..STRIP {
        let start = _mm256_set1_epi32(rows.start[first_row + row]);
        for vector in 0..PART_VECTORS {
            let whole = _mm256_madd_epi16(sums[row][vector], _mm256_set1_epi16(1));
            sums[row][vector] = _mm256_add_epi32(whole, start);
        }
    }
    sums
}

/// One vector of a line of numbers.
#[target_feature(enable = "avx2")]
fn load_f32(line: &[f32; COLUMNS], vector: usize) -> __m256 {
    // SAFETY: a reference to 8 numbers.
    unsafe { _mm256_loadu_ps(line.as_chunks::<LANES>().0[vector].as_ptr()) }
}

/// One vector of a line of words.
#[target_feature(enable = "avx2")]
fn load_words(line: &[u32; COLUMNS], vector: usize) -> __m256i {
    // SAFETY: a reference to 8 words.
    unsafe { _mm256_loadu_si256(line.as_chunks::<LANES>().0[vector].as_ptr().cast()) }
}
