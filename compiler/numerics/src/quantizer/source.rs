//! The input as a matrix: groups of sixteen numbers along its rows and along its columns, centred and padded with zeros.

use super::vector::{Floats, LANES, Vector};

/// The columns of a tile, unless it is as wide as the matrix: sixteen groups, whose codes are two cache lines.
pub(super) const TILE_COLUMNS: usize = LANES * LANES;
/// The rows of a tile at most: eight groups, whose codes are a cache line.
pub(super) const TILE_ROWS: usize = 8 * LANES;

/// The input matrix.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub matrix: &'a [f32],
    /// The elements from one row to the next.
    pub pitch: usize,
    /// What is subtracted from each column, with zeros after up to a whole number of [`TILE_COLUMNS`].
    pub mean: Option<&'a [f32]>,
    /// The rows of storage before this matrix's, for blocks along its rows and along its columns.
    pub rows_before: usize,
    pub columns_before: usize,
}

/// A part of the input matrix.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub row: usize,
    pub column: usize,
    pub rows: usize,
    pub columns: usize,
}

impl Place {
    /// What of the place lies so many rows and columns behind its first; nothing, where it is smaller.
    #[inline(always)]
    pub fn part(self, rows: usize, columns: usize) -> Self {
        Self {
            row: self.row + rows,
            column: self.column + columns,
            rows: self.rows.saturating_sub(rows),
            columns: self.columns.saturating_sub(columns),
        }
    }
}

/// The tile that comes after one, to be fetched into cache while that one is worked on: what lies at a tile's distance is
/// not next in memory, and the processor does not see it coming.
#[derive(Clone, Copy)]
pub(super) struct Ahead<'a> {
    /// The input from the tile's first element on.
    values: &'a [f32],
    /// The elements from one row to the next.
    pitch: usize,
}

impl<'a> Ahead<'a> {
    /// Nothing to fetch.
    pub const NOTHING: Self = Self {
        values: &[],
        pitch: 0,
    };

    /// The tile of a matrix from `row` and `column` on.
    pub fn new(matrix: &'a [f32], pitch: usize, row: usize, column: usize) -> Self {
        let values = matrix.get(row * pitch + column..).unwrap_or(&[]);
        Self { values, pitch }
    }

    /// Fetches a row.
    #[inline(always)]
    pub fn fetch(&self, row: usize) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
            let start = row * self.pitch;
            let Some(stretch) = self.values.get(start..start + TILE_COLUMNS) else {
                return;
            };
            let (lines, _) = stretch.as_chunks::<LANES>();
            for line in lines {
                // SAFETY: fetching changes nothing but the caches, and the address is an element's.
                unsafe { _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()) };
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = row;
    }
}

impl Source<'_> {
    /// Sixteen groups along the rows: `run` of each row of the place, a power of two, or zeros where these end.
    #[inline(always)]
    pub fn along<V: Vector>(&self, place: Place, run: usize) -> [V; LANES] {
        let mut values = [V::splat(0); LANES];
        let start = place.row * self.pitch + place.column;
        if run < LANES || place.columns < TILE_COLUMNS {
            let padded = self.padded(place, run);
            for (value, group) in values.iter_mut().zip(&padded) {
                *value = V::load(group);
            }
            return values;
        }
        let groups = groups(&self.matrix[start..]);
        match self.mean {
            None => {
                for (value, group) in values.iter_mut().zip(groups) {
                    *value = V::load(group);
                }
            }
            Some(mean) => {
                let means = self::groups(&mean[place.column..]);
                for (value, (group, mean)) in values.iter_mut().zip(groups.iter().zip(means)) {
                    *value = V::load(group).sub(V::load(mean));
                }
            }
        }
        values
    }

    /// Sixteen rows of sixteen columns, or zeros where the place ends.
    #[inline(always)]
    pub fn across<V: Vector>(&self, place: Place) -> [V; LANES] {
        let mut values = [V::splat(0); LANES];
        if place.rows < LANES || place.columns < LANES {
            let padded = self.padded(place, 1);
            for (value, row) in values.iter_mut().zip(&padded) {
                *value = V::load(row);
            }
            return values;
        }
        let rows = &self.matrix[place.row * self.pitch + place.column..];
        for (index, value) in values.iter_mut().enumerate() {
            *value = V::load(first_group(&rows[index * self.pitch..]));
        }
        if let Some(mean) = self.mean {
            let mean = V::load(first_group(&mean[place.column..]));
            for value in &mut values {
                *value = value.sub(mean);
            }
        }
        values
    }

    /// Sixteen groups along the rows, `run` of each, centred, and zeros where the place ends.
    #[inline(never)]
    fn padded(&self, place: Place, run: usize) -> [Floats; LANES] {
        let mut padded = [[0.0; LANES]; LANES];
        let columns = place.columns.min(run * LANES);
        let rows = padded.as_flattened_mut().chunks_exact_mut(run * LANES);
        for (index, row) in rows.take(place.rows).enumerate() {
            let row = &mut row[..columns];
            let start = (place.row + index) * self.pitch + place.column;
            row.copy_from_slice(&self.matrix[start..start + columns]);
            if let Some(mean) = self.mean {
                for (value, mean) in row.iter_mut().zip(&mean[place.column..]) {
                    *value -= mean;
                }
            }
        }
        padded
    }
}

/// The first sixteen groups of numbers that have as many.
#[inline(always)]
fn groups(values: &[f32]) -> &[Floats; LANES] {
    let (groups, _) = values[..TILE_COLUMNS].as_chunks::<LANES>();
    groups
        .first_chunk()
        .expect("that many numbers are that many groups")
}

/// The first group of numbers that have as many.
#[inline(always)]
fn first_group(values: &[f32]) -> &Floats {
    values[..LANES]
        .first_chunk()
        .expect("that many numbers are a group")
}
