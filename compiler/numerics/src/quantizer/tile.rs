//! A tile of the input in cache, centred and padded with zeros, and the magnitudes of its groups of sixteen.

use super::vector::{Floats, LANES, MAGNITUDE, Vector};

/// The elements of a tile.
pub(super) const TILE: usize = 16384;
/// The groups of sixteen elements of a tile.
pub(super) const GROUPS: usize = TILE / LANES;

/// A part of the input matrix: `height` × `width` numbers, row by row. Both are powers of two, the width 16 at least.
#[repr(align(64))]
pub(super) struct Tile {
    pub values: [f32; TILE],
    pub height: usize,
    pub width: usize,
}

/// Where a tile lies in the input matrix.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub row: usize,
    pub column: usize,
    /// The rows and columns of the matrix that the tile holds; the rest of it are zeros.
    pub rows: usize,
    pub columns: usize,
}

/// The part of the input that comes after a tile, to be fetched into cache while the tile is worked on: what lies at a tile's
/// distance is not next in memory, and the processor does not see it coming.
///
/// Several tiles side by side are fetched as one, in longer stretches of memory, by the several tiles before them.
#[derive(Clone, Copy)]
pub(super) struct Ahead<'a> {
    /// The input from the part's first element on.
    values: &'a [f32],
    /// The elements from one row to the next.
    pitch: usize,
    /// The elements of each row that are fetched, a power of two, 256 at least.
    width: usize,
}

impl<'a> Ahead<'a> {
    /// Nothing to fetch.
    pub const NOTHING: Self = Self {
        values: &[],
        pitch: 0,
        width: LANES * LANES,
    };

    /// A tile's number of elements of a matrix from `row` and `column` on, `width` of each row.
    pub fn new(matrix: &'a [f32], pitch: usize, row: usize, column: usize, width: usize) -> Self {
        let values = matrix.get(row * pitch + column..).unwrap_or(&[]);
        Self {
            values,
            pitch,
            width,
        }
    }

    /// Fetches part `part` of [`GROUPS`] / 16.
    #[inline(always)]
    pub fn fetch(self, part: usize) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
            let element = part * LANES * LANES;
            let shift = self.width.trailing_zeros();
            let (row, column) = (element >> shift, element & (self.width - 1));
            let start = row * self.pitch + column;
            let Some(stretch) = self.values.get(start..start + LANES * LANES) else {
                return;
            };
            let (lines, _) = stretch.as_chunks::<LANES>();
            for line in lines {
                // SAFETY: fetching changes nothing but the caches, and the address is an element's.
                unsafe { _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()) };
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = part;
    }
}

impl Tile {
    pub fn new(height: usize, width: usize) -> Self {
        assert!(height * width == TILE && height.is_power_of_two() && width.is_power_of_two());
        assert!(width >= LANES);
        let values = [0.0; TILE];
        Self {
            values,
            height,
            width,
        }
    }

    /// Takes a part of a matrix of rows `pitch` apart, less the mean of each column; a row may be several times as long as
    /// there are means, which are then repeated.
    #[inline(always)]
    pub fn fill(&mut self, matrix: &[f32], pitch: usize, mean: Option<&[f32]>, place: Place) {
        if place.rows < self.height || place.columns < self.width {
            self.values.fill(0.0);
        }
        let first_mean = mean.map_or(0, |mean| place.column % mean.len().max(1));
        let rows = self.values.chunks_exact_mut(self.width).take(place.rows);
        for (index, row) in rows.enumerate() {
            let start = (place.row + index) * pitch + place.column;
            let source = &matrix[start..start + place.columns];
            let row = &mut row[..place.columns];
            match mean {
                None => row.copy_from_slice(source),
                Some(mean) => {
                    let (mut column, mut means) = (0, &mean[first_mean..]);
                    while column < place.columns {
                        let end = place.columns.min(column + means.len());
                        let each = row[column..end].iter_mut().zip(&source[column..end]);
                        for ((value, source), mean) in each.zip(means) {
                            *value = source - mean;
                        }
                        (column, means) = (end, mean);
                    }
                }
            }
        }
    }

    /// Group `index` of sixteen elements along the rows.
    #[inline(always)]
    pub fn group(&self, index: usize) -> &Floats {
        let (groups, _) = self.values.as_chunks();
        &groups[index]
    }

    /// The bits of the largest magnitude of each group of sixteen elements along the rows; `[row][group]`.
    #[inline(always)]
    pub fn largest_along_rows<V: Vector>(&self, largest: &mut [u32; GROUPS]) {
        let (groups, _) = self.values.as_chunks::<LANES>();
        let (groups, _) = groups.as_chunks::<LANES>();
        let (largest, _) = largest.as_chunks_mut::<LANES>();
        for (largest, groups) in largest.iter_mut().zip(groups) {
            *largest = V::largest_magnitudes(groups).words();
        }
    }

    /// The bits of the largest magnitude of each group of sixteen elements along the columns; `[group][column]`.
    #[inline(always)]
    pub fn largest_along_columns<V: Vector>(&self, largest: &mut [u32; GROUPS]) {
        let chunks = self.width / LANES;
        let (lanes, _) = largest.as_chunks_mut::<LANES>();
        for (group, lanes) in lanes.chunks_exact_mut(chunks).enumerate() {
            for (chunk, lanes) in lanes.iter_mut().enumerate() {
                let mut all = V::splat(0);
                for row in 0..LANES {
                    let one = V::load(self.group((group * LANES + row) * chunks + chunk));
                    all = all.max_words(one.and(V::splat(MAGNITUDE)));
                }
                *lanes = all.words();
            }
        }
    }

    /// Gives the groups of each square of 16 × 16 elements the largest of them. `largest` is `[row][group]`.
    #[inline(always)]
    pub fn square_rows(&self, largest: &mut [u32; GROUPS]) {
        let width = self.width / LANES;
        for square_row in largest.chunks_exact_mut(LANES * width) {
            for column in 0..width {
                let own = square_row[column..].iter().step_by(width);
                let all = own.fold(0, |all, &one| all.max(one));
                for one in square_row[column..].iter_mut().step_by(width) {
                    *one = all;
                }
            }
        }
    }

    /// As [`square_rows`](Self::square_rows) for `[group][column]`.
    #[inline(always)]
    pub fn square_columns(largest: &mut [u32; GROUPS]) {
        let (squares, _) = largest.as_chunks_mut::<LANES>();
        for square in squares {
            let all = square.iter().fold(0, |all, &one| all.max(one));
            *square = [all; LANES];
        }
    }

    /// Gives both halves of each block of 32 elements along the rows the larger of them. `largest` is `[row][group]`.
    #[inline(always)]
    pub fn pair_rows(largest: &mut [u32; GROUPS]) {
        let (pairs, _) = largest.as_chunks_mut::<2>();
        for pair in pairs {
            *pair = [pair[0].max(pair[1]); 2];
        }
    }

    /// As [`pair_rows`](Self::pair_rows) for `[group][column]`.
    #[inline(always)]
    pub fn pair_columns(&self, largest: &mut [u32; GROUPS]) {
        for pair in largest.chunks_exact_mut(2 * self.width) {
            let (first, second) = pair.split_at_mut(self.width);
            for (first, second) in first.iter_mut().zip(second) {
                let both = (*first).max(*second);
                (*first, *second) = (both, both);
            }
        }
    }
}
