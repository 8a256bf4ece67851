//! The innermost kernels for vectors of 256 bits: AVX-VNNI and AVX2.
//!
//! There are 16 registers, so a tile is computed in parts of 16 columns, each over all blocks: six accumulators, six
//! integer sums.

#![expect(
    clippy::needless_range_loop,
    reason = "rows and vectors are registers, which several arrays number alike"
)]

use super::tile::{COLUMNS, ColumnBlock, ROWS, RowBlock, VectorTile};
use std::arch::x86_64::*;

/// Numbers of a vector.
const LANES: usize = 8;

/// Vectors of a row of a part.
const VECTORS: usize = 2;

/// The sums of one block of a part, or its accumulators.
type Sums<Vector> = [[Vector; VECTORS]; ROWS];

/// Defines the kernel of one level: adds the products of `rows` and `columns`, block after block, to `tile`. The two
/// levels differ in how they add up a block, which `$sum` does.
macro_rules! accumulate {
    ($(#[$documentation:meta])* $name:ident, $features:literal, $sum:ident) => {
        $(#[$documentation])*
        #[target_feature(enable = $features)]
        pub(super) fn $name<const GROUPS: usize>(
            rows: &[RowBlock<GROUPS>],
            columns: &[ColumnBlock<GROUPS>],
            tile: &mut VectorTile,
        ) {
            for first in (0..COLUMNS / LANES).step_by(VECTORS) {
                let mut accumulators = load_accumulators(tile, first);
                for (row_block, column_block) in rows.iter().zip(columns) {
                    let sums = $sum(row_block, column_block, first);
                    for row in 0..ROWS {
                        let scale = _mm256_set1_ps(row_block.scales[row]);
                        let shift = _mm256_set1_ps(row_block.shifts[row]);
                        for vector in 0..VECTORS {
                            let sum = _mm256_castsi256_ps(sums[row][vector]);
                            let scaled = _mm256_fmadd_ps(sum, scale, shift);
                            let column_scales = load_f32(&column_block.scales, first + vector);
                            let accumulator = &mut accumulators[row][vector];
                            *accumulator = _mm256_fmadd_ps(scaled, column_scales, *accumulator);
                        }
                    }
                }
                store_accumulators(tile, first, accumulators);
            }
        }
    };
}

accumulate!(
    /// The kernel for AVX-VNNI.
    accumulate_vnni,
    "avx2,fma,avxvnni",
    sum_vnni
);

accumulate!(
    /// The kernel for AVX2.
    accumulate,
    "avx2,fma",
    sum
);

/// The integer sums of one block; `first` is the part's first vector in the tile.
#[target_feature(enable = "avx2,avxvnni")]
fn sum_vnni<const GROUPS: usize>(
    rows: &RowBlock<GROUPS>,
    columns: &ColumnBlock<GROUPS>,
    first: usize,
) -> Sums<__m256i> {
    let mut sums = [[_mm256_setzero_si256(); VECTORS]; ROWS];
    for row in 0..ROWS {
        sums[row] = [_mm256_set1_epi32(rows.start[row]); VECTORS];
    }
    for group in 0..GROUPS {
        let rhs = load_words(&columns.elements[group], first);
        for row in 0..ROWS {
            let lhs = _mm256_set1_epi32(rows.elements[row][group]);
            for vector in 0..VECTORS {
                sums[row][vector] = _mm256_dpbusd_avx_epi32(sums[row][vector], rhs[vector], lhs);
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
    columns: &ColumnBlock<GROUPS>,
    first: usize,
) -> Sums<__m256i> {
    let mut sums = [[_mm256_setzero_si256(); VECTORS]; ROWS];
    for group in 0..GROUPS {
        let rhs = load_words(&columns.elements[group], first);
        for row in 0..ROWS {
            let lhs = _mm256_set1_epi32(rows.elements[row][group]);
            for vector in 0..VECTORS {
                let pairs = _mm256_maddubs_epi16(rhs[vector], lhs);
                sums[row][vector] = _mm256_add_epi16(sums[row][vector], pairs);
            }
        }
    }
    for row in 0..ROWS {
        let start = _mm256_set1_epi32(rows.start[row]);
        for vector in 0..VECTORS {
            let whole = _mm256_madd_epi16(sums[row][vector], _mm256_set1_epi16(1));
            sums[row][vector] = _mm256_add_epi32(whole, start);
        }
    }
    sums
}

#[target_feature(enable = "avx2")]
fn load_accumulators(tile: &VectorTile, first: usize) -> Sums<__m256> {
    let mut accumulators = [[_mm256_setzero_ps(); VECTORS]; ROWS];
    for row in 0..ROWS {
        for vector in 0..VECTORS {
            accumulators[row][vector] = load_f32(&tile.0[row], first + vector);
        }
    }
    accumulators
}

#[target_feature(enable = "avx2")]
fn store_accumulators(tile: &mut VectorTile, first: usize, accumulators: Sums<__m256>) {
    for row in 0..ROWS {
        let line = tile.0[row].as_chunks_mut::<LANES>().0;
        for vector in 0..VECTORS {
            let place = line[first + vector].as_mut_ptr();
            // SAFETY: a reference to 8 numbers.
            unsafe { _mm256_storeu_ps(place, accumulators[row][vector]) };
        }
    }
}

/// One vector of a line of numbers.
#[target_feature(enable = "avx2")]
fn load_f32(line: &[f32; COLUMNS], vector: usize) -> __m256 {
    // SAFETY: a reference to 8 numbers.
    unsafe { _mm256_loadu_ps(line.as_chunks::<LANES>().0[vector].as_ptr()) }
}

/// The vectors of a line of words from `first` on.
#[target_feature(enable = "avx2")]
fn load_words(line: &[u32; COLUMNS], first: usize) -> [__m256i; VECTORS] {
    let line = line.as_chunks::<LANES>().0;
    // SAFETY: references to 8 words.
    let load = |vector: usize| unsafe { _mm256_loadu_si256(line[vector].as_ptr().cast()) };
    [load(first), load(first + 1)]
}
