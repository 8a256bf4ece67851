//! Products of f32 by a small matrix, as attention has them: thousands of rows by a few columns or sums of a few terms.
//!
//! The small matrix is packed once and stays in the nearest caches; the other one, which is read once or little more,
//! is not packed at all, whichever way it lies: its numbers are broadcast from where they are. Each element of the
//! result is one sum over ascending indices, each step a fused multiply-add.

use crate::bundle::MatrixLayout;
use crate::executor::prefetch;
use crate::executor::transpose::{SIDE, transpose};
use std::arch::x86_64::*;

/// Numbers of a vector.
const LANES: usize = SIDE;

/// Vectors of a row of a tile.
const VECTORS: usize = 2;

/// Columns of a tile.
const COLUMNS: usize = VECTORS * LANES;

/// Rows of a tile. Its accumulators are 24 of the 32 registers.
const ROWS: usize = 12;

/// How far ahead rows that lie side by side are fetched: two tiles.
const AHEAD: usize = 2 * ROWS;

/// The elements of the largest small matrix, 64 KiB.
const MAX_ELEMENTS: usize = 1 << 14;

/// A product by a small matrix, whose result's rows are contiguous.
#[derive(Clone, Copy, Debug)]
pub(super) struct Narrow {
    /// The columns of rhs and result.
    pub(super) columns: usize,
    /// The terms of a sum.
    pub(super) depth: usize,
    pub(super) lhs: MatrixLayout,
    pub(super) rhs: MatrixLayout,
    /// From one row of the result to the next.
    pub(super) result_stride: usize,
}

impl Narrow {
    /// Whether this CPU can do this, and it pays for a product of so many rows.
    pub(super) fn pays(&self, rows: usize) -> bool {
        let padded = self.columns.next_multiple_of(COLUMNS);
        is_x86_feature_detected!("avx512f")
            && self.depth > 0
            && padded
                .checked_mul(self.depth)
                .is_some_and(|elements| elements <= MAX_ELEMENTS)
            // A quarter of the work is padding at most.
            && self.columns >= padded / 4 * 3
            // What packing takes is little.
            && rows >= 2 * ROWS
    }

    /// The elements of the packed rhs.
    pub(super) fn packed(&self) -> usize {
        self.columns.next_multiple_of(COLUMNS) * self.depth
    }

    /// Multiplies `rows` rows.
    ///
    /// # Safety
    /// It [`pays`](Self::pays). The addresses have room for every element that the strides reach from there; nobody
    /// else writes any, or reads the result, meanwhile, and the result shares no memory with the operands. `packed` has
    /// the elements that [`packed`](Self::packed) says, in memory of its own.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn multiply(
        &self,
        rows: usize,
        lhs: *const f32,
        rhs: *const f32,
        result: *mut f32,
        packed: &mut [f32],
    ) {
        let panel_elements = COLUMNS * self.depth;
        for (panel, packed) in packed.chunks_exact_mut(panel_elements).enumerate() {
            // SAFETY: the caller's promises.
            unsafe { self.pack(rhs, panel * COLUMNS, packed) };
        }
        for row in (0..rows).step_by(ROWS) {
            let count = ROWS.min(rows - row);
            for (panel, packed) in packed.chunks_exact(panel_elements).enumerate() {
                let column = panel * COLUMNS;
                let left = self.columns - column;
                let tile = Tile {
                    depth: self.depth,
                    lhs: lhs.wrapping_add(row * self.lhs.row_stride),
                    lhs_layout: self.lhs,
                    packed: packed.as_ptr(),
                    result: result.wrapping_add(row * self.result_stride + column),
                    result_stride: self.result_stride,
                    masks: [mask(left), mask(left.saturating_sub(LANES))],
                };
                // SAFETY: the tile's rows and columns lie inside the product; the caller's promises.
                unsafe { tile.multiply(count) };
            }
        }
    }

    /// Packs the columns of a tile from `first` on: for each term the numbers of all columns, zeros behind the last.
    ///
    /// # Safety
    /// As for [`multiply`](Self::multiply).
    #[target_feature(enable = "avx512f")]
    unsafe fn pack(&self, rhs: *const f32, first: usize, packed: &mut [f32]) {
        let MatrixLayout {
            row_stride,
            column_stride,
        } = self.rhs;
        let rhs = rhs.wrapping_add(first * column_stride);
        let columns = COLUMNS.min(self.columns - first);
        let (lines, _) = packed.as_chunks_mut::<COLUMNS>();
        if column_stride == 1 {
            let masks = [mask(columns), mask(columns.saturating_sub(LANES))];
            for (term, line) in lines.iter_mut().enumerate() {
                for (vector, mask) in masks.into_iter().enumerate() {
                    let source = rhs.wrapping_add(term * row_stride + vector * LANES);
                    // SAFETY: the mask has the columns there are; the line has room for all vectors.
                    unsafe {
                        let numbers = _mm512_maskz_loadu_ps(mask, source);
                        _mm512_storeu_ps(line.as_mut_ptr().add(vector * LANES), numbers);
                    }
                }
            }
        } else if row_stride == 1 {
            for (block, lines) in lines.chunks_mut(SIDE).enumerate() {
                for vector in 0..VECTORS {
                    let mut numbers = [_mm512_setzero_si512(); SIDE];
                    for (lane, numbers) in numbers.iter_mut().enumerate() {
                        let column = vector * LANES + lane;
                        if column < columns {
                            let source = rhs.wrapping_add(column * column_stride + block * SIDE);
                            // SAFETY: the mask has the terms there are.
                            *numbers = unsafe {
                                _mm512_maskz_loadu_epi32(mask(lines.len()), source.cast())
                            };
                        }
                    }
                    for (line, numbers) in lines.iter_mut().zip(transpose(numbers)) {
                        let place = line.as_mut_ptr().wrapping_add(vector * LANES);
                        // SAFETY: the line has room for all vectors.
                        unsafe { _mm512_storeu_si512(place.cast(), numbers) };
                    }
                }
            }
        } else {
            for (term, line) in lines.iter_mut().enumerate() {
                for (column, number) in line.iter_mut().enumerate() {
                    *number = 0.0;
                    if column < columns {
                        let offset = term * row_stride + column * column_stride;
                        // SAFETY: an element of the rhs.
                        *number = unsafe { rhs.add(offset).read() };
                    }
                }
            }
        }
    }
}

/// The first `count` lanes of a vector, or all.
fn mask(count: usize) -> __mmask16 {
    match count {
        0..LANES => (1 << count) - 1,
        _ => !0,
    }
}

/// A part of the result of up to [`ROWS`] rows by [`COLUMNS`] columns.
#[derive(Clone, Copy)]
struct Tile {
    depth: usize,
    lhs: *const f32,
    lhs_layout: MatrixLayout,
    packed: *const f32,
    result: *mut f32,
    result_stride: usize,
    /// The columns there are.
    masks: [__mmask16; VECTORS],
}

impl Tile {
    /// # Safety
    /// The addresses have room for `rows` rows, by all terms or by the columns of the masks, and the packed columns for
    /// all terms.
    #[target_feature(enable = "avx512f")]
    unsafe fn multiply(self, rows: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            match rows {
                1 => self.rows::<1>(),
                2 => self.rows::<2>(),
                3 => self.rows::<3>(),
                4 => self.rows::<4>(),
                5 => self.rows::<5>(),
                6 => self.rows::<6>(),
                7 => self.rows::<7>(),
                8 => self.rows::<8>(),
                9 => self.rows::<9>(),
                10 => self.rows::<10>(),
                11 => self.rows::<11>(),
                _ => self.rows::<ROWS>(),
            }
        }
    }

    /// # Safety
    /// As for [`multiply`](Self::multiply).
    #[target_feature(enable = "avx512f")]
    unsafe fn rows<const COUNT: usize>(self) {
        // SAFETY: the caller's promise.
        unsafe {
            // Rows that lie side by side have addresses that are known here.
            match self.lhs_layout.row_stride {
                1 => self.sums::<COUNT>(1),
                stride => self.sums::<COUNT>(stride),
            }
        }
    }

    /// # Safety
    /// As for [`multiply`](Self::multiply).
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn sums<const COUNT: usize>(self, row_stride: usize) {
        let mut sums = [[_mm512_setzero_ps(); VECTORS]; COUNT];
        let (mut lhs, mut packed) = (self.lhs, self.packed);
        for first in (0..self.depth).step_by(LANES) {
            self.prefetch(COUNT, first / LANES, lhs);
            for _ in first..self.depth.min(first + LANES) {
                if row_stride == 1 {
                    prefetch::to_read(lhs.wrapping_add(AHEAD));
                }
                // SAFETY: the caller's promise.
                unsafe {
                    let columns = [_mm512_loadu_ps(packed), _mm512_loadu_ps(packed.add(LANES))];
                    for (row, sums) in sums.iter_mut().enumerate() {
                        let number = _mm512_set1_ps(*lhs.add(row * row_stride));
                        for (sum, columns) in sums.iter_mut().zip(columns) {
                            *sum = _mm512_fmadd_ps(number, columns, *sum);
                        }
                    }
                }
                // The last of these may leave the operands, and is not read.
                lhs = lhs.wrapping_add(self.lhs_layout.column_stride);
                packed = packed.wrapping_add(COLUMNS);
            }
        }
        for (row, sums) in sums.into_iter().enumerate() {
            for (vector, (sum, mask)) in sums.into_iter().zip(self.masks).enumerate() {
                let place = self
                    .result
                    .wrapping_add(row * self.result_stride + vector * LANES);
                // SAFETY: the mask has the columns there are.
                unsafe { _mm512_mask_storeu_ps(place, mask, sum) };
            }
        }
    }
    /// Fetches what the next tile below needs: the lhs where its rows lie apart, and the result. `lhs` is this tile's, from
    /// term `vector · LANES` on.
    ///
    /// These matrices are larger than the caches that a thread has to itself, and the rows of a tile are too many and too
    /// short for the CPU to see where each goes on.
    #[inline(always)]
    fn prefetch(&self, rows: usize, vector: usize, lhs: *const f32) {
        for row in ROWS..ROWS + rows {
            if self.lhs_layout.row_stride != 1 {
                prefetch::to_read(lhs.wrapping_add(row * self.lhs_layout.row_stride));
            }
            if vector < VECTORS {
                let next = row * self.result_stride + vector * LANES;
                prefetch::to_write(self.result.wrapping_add(next));
            }
        }
    }
}
