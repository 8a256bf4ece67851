//! The input as a matrix, of which patches are fetched, centred and padded with zeros.

use super::rotation::HadamardTransform;
use super::vector::{Floats, LANES, Vector};
use crate::SimdLevel;

/// The columns of a patch: sixteen groups, whose codes are two cache lines.
pub(super) const PATCH_COLUMNS: usize = LANES * LANES;
/// The columns of a tile at most: what is staged of as many is a part of the cache next to a core.
pub(super) const TILE_COLUMNS: usize = 16 * PATCH_COLUMNS;
/// The rows of a tile at most: eight groups, whose codes along the columns are a cache line.
pub(super) const TILE_ROWS: usize = 8 * LANES;
/// The rows of a patch are a multiple of these: the longest block.
pub(super) const PATCH_ROWS: usize = 2 * LANES;
/// The numbers of a patch: as much of a near cache as leaves room for what is made of it.
const PATCH_NUMBERS: usize = PATCH_ROWS * PATCH_COLUMNS;

/// The bytes of a matrix that is read as it lies, without a copy.
const NEAR_BYTES: usize = 8 << 20;

/// The input matrix, or as many of its rows as are needed.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub matrix: &'a [f32],
    /// The row that comes first there.
    pub first_row: usize,
    /// The elements from one row to the next.
    pub pitch: usize,
    /// What is subtracted from each column.
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

impl<'a> Source<'a> {
    /// Where an element lies.
    #[inline(always)]
    pub fn position(&self, row: usize, column: usize) -> usize {
        (row - self.first_row) * self.pitch + column
    }

    /// What lies there, to be fetched.
    pub fn ahead(&self, row: usize, column: usize) -> Ahead<'a> {
        let values = self.matrix.get(self.position(row, column)..);
        Ahead {
            values: values.unwrap_or(&[]),
            pitch: self.pitch,
        }
    }

    /// Sixteen groups along a row, centred; in `centred`, where there is a mean.
    #[inline(always)]
    pub fn along<'b, V: Vector>(
        &self,
        row: usize,
        column: usize,
        centred: &'b mut [Floats; LANES],
    ) -> &'b [Floats; LANES]
    where
        'a: 'b,
    {
        let values = groups(&self.matrix[self.position(row, column)..]);
        let Some(mean) = self.mean else {
            return values;
        };
        let means = groups(&mean[column..]);
        for (centred, (group, mean)) in centred.iter_mut().zip(values.iter().zip(means)) {
            V::load(group).sub(V::load(mean)).store(centred);
        }
        centred
    }

    /// What [`along`](Self::along) gave, which has centred it in `centred` where there is a mean.
    #[inline(always)]
    pub fn again<'b>(
        &self,
        row: usize,
        column: usize,
        centred: &'b [Floats; LANES],
    ) -> &'b [Floats; LANES]
    where
        'a: 'b,
    {
        match self.mean {
            None => groups(&self.matrix[self.position(row, column)..]),
            Some(_) => centred,
        }
    }

    /// Whether the matrix is as small as the caches next to a core, which hold it from one output to the next.
    pub fn is_near(&self) -> bool {
        is_near(self.matrix.len())
    }
}

/// Whether the caches next to a core hold so many numbers.
pub(super) fn is_near(count: usize) -> bool {
    count <= NEAR_BYTES / size_of::<f32>()
}

/// How many groups a row of a patch takes for a matrix of that many columns: a power of two that holds the longest block.
pub(super) fn run(columns: usize) -> usize {
    let groups = columns.div_ceil(LANES).next_power_of_two();
    groups.clamp(PATCH_ROWS / LANES, LANES)
}

/// The rows of a patch whose rows take that many groups.
pub(super) fn patch_rows(run: usize) -> usize {
    (PATCH_NUMBERS / (run * LANES)).min(TILE_ROWS)
}

/// A part of the input in memory of its own, one row after the other.
///
/// What lies at a power of two's distance shares the few places that a near cache has for it; here it does not, however
/// often it is read.
#[repr(align(64))]
pub(super) struct Patch {
    numbers: [f32; PATCH_NUMBERS],
    /// Where the patch comes from.
    pub place: Place,
    /// The groups of a row.
    pub run: usize,
}

/// Sixteen rows of sixteen columns of a patch.
#[derive(Clone, Copy)]
pub(super) struct Across<'a> {
    groups: &'a [Floats],
    run: usize,
}

impl Across<'_> {
    /// One of the rows.
    #[inline(always)]
    pub fn row(&self, index: usize) -> &Floats {
        &self.groups[index * self.run]
    }
}

impl Patch {
    /// A patch of nothing.
    pub fn new() -> Self {
        Self {
            numbers: [0.0; PATCH_NUMBERS],
            place: Place {
                row: 0,
                column: 0,
                rows: 0,
                columns: 0,
            },
            run: LANES,
        }
    }

    /// Sixteen groups along the rows, from the first of a row on.
    #[inline(always)]
    pub fn along(&self, row: usize) -> &[Floats; LANES] {
        groups(&self.numbers[row * self.run * LANES..])
    }

    /// The groups of a row; behind the place's columns they are zeros of either sign.
    #[inline(always)]
    pub fn groups_of_row(&self, row: usize) -> &[Floats] {
        let (groups, _) = self.numbers[row * self.run * LANES..][..self.run * LANES].as_chunks();
        groups
    }

    /// Sixteen rows of sixteen columns.
    #[inline(always)]
    pub fn across(&self, row: usize, chunk: usize) -> Across<'_> {
        let (groups, _) = self.numbers.as_chunks();
        let run = self.run;
        let groups = &groups[row * run + chunk..];
        // One check for all rows.
        let groups = &groups[..(LANES - 1) * run + 1];
        Across { groups, run }
    }

    /// Stands for a place of the input without taking it.
    pub fn stand_for(&mut self, place: Place) {
        (self.place, self.run) = (place, run(place.columns));
    }

    /// Becomes the transform of another patch's whole blocks along its columns, with zeros below.
    #[inline(always)]
    pub fn rotate_columns<V: Vector>(&mut self, patch: &Self, transform: &HadamardTransform) {
        (self.place, self.run) = (patch.place, patch.run);
        let pitch = patch.run * LANES;
        let (filled, rows) = (
            patch.place.rows,
            patch.place.rows.next_multiple_of(PATCH_ROWS),
        );
        let (values, _) = patch.numbers[..filled * pitch].as_chunks();
        let (results, rest) = self.numbers[..rows * pitch].split_at_mut(filled * pitch);
        let (results, _) = results.as_chunks_mut();
        transform.side_by_side::<V>(values, results, patch.run);
        rest.fill(0.0);
    }

    /// Becomes the transform of another patch's whole blocks along its rows, with zeros around them.
    pub fn rotate_rows(&mut self, level: SimdLevel, patch: &Self, transform: &HadamardTransform) {
        (self.place, self.run) = (patch.place, patch.run);
        let (pitch, filled) = (patch.run * LANES, patch.place.columns);
        let rows = patch.place.rows.next_multiple_of(PATCH_ROWS) * pitch;
        let values = patch.numbers[..rows].chunks_exact(pitch);
        let results = self.numbers[..rows].chunks_exact_mut(pitch);
        for (index, (values, results)) in values.zip(results).enumerate() {
            let filled = if index < patch.place.rows { filled } else { 0 };
            let (results, rest) = results.split_at_mut(filled);
            transform.along_with(level, &values[..filled], results);
            rest.fill(0.0);
        }
    }

    /// Takes what lies at a place of the input, which is no larger than a patch, centres it and puts zeros around it.
    #[inline(always)]
    pub fn take<V: Vector>(&mut self, source: Source<'_>, place: Place) {
        self.stand_for(place);
        let pitch = self.run * LANES;
        let rows = place.rows.next_multiple_of(PATCH_ROWS);
        for (index, row) in self.numbers[..rows * pitch]
            .chunks_exact_mut(pitch)
            .enumerate()
        {
            let filled = if index < place.rows { place.columns } else { 0 };
            let (row, rest) = row.split_at_mut(filled);
            rest.fill(0.0);
            if filled == 0 {
                continue;
            }
            let start = source.position(place.row + index, place.column);
            let values = &source.matrix[start..start + filled];
            match source.mean {
                None => copy::<V>(row, values),
                Some(mean) => copy_less::<V>(row, values, &mean[place.column..][..filled]),
            }
        }
    }
}

#[inline(always)]
fn copy<V: Vector>(to: &mut [f32], values: &[f32]) {
    let (groups, rest) = to.as_chunks_mut::<LANES>();
    let (value_groups, value_rest) = values.as_chunks::<LANES>();
    for (group, values) in groups.iter_mut().zip(value_groups) {
        V::load(values).store(group);
    }
    rest.copy_from_slice(value_rest);
}

#[inline(always)]
fn copy_less<V: Vector>(to: &mut [f32], values: &[f32], means: &[f32]) {
    let (groups, rest) = to.as_chunks_mut::<LANES>();
    let (value_groups, value_rest) = values.as_chunks::<LANES>();
    let (mean_groups, mean_rest) = means.as_chunks::<LANES>();
    for (group, (values, means)) in groups.iter_mut().zip(value_groups.iter().zip(mean_groups)) {
        V::load(values).sub(V::load(means)).store(group);
    }
    for (to, (value, mean)) in rest.iter_mut().zip(value_rest.iter().zip(mean_rest)) {
        *to = value - mean;
    }
}

/// The patch that comes after one, to be fetched into cache while that one is worked on: what lies at a patch's distance
/// is not next in memory, and the processor does not see it coming.
#[derive(Clone, Copy)]
pub(super) struct Ahead<'a> {
    /// The input from the patch's first element on.
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

    /// Fetches a row.
    #[inline(always)]
    pub fn fetch(&self, row: usize) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
            let start = row * self.pitch;
            let Some(stretch) = self.values.get(start..start + PATCH_COLUMNS) else {
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

/// The first sixteen groups of numbers that have as many.
#[inline(always)]
fn groups(values: &[f32]) -> &[Floats; LANES] {
    let (groups, _) = values[..LANES * LANES].as_chunks();
    groups
        .first_chunk()
        .expect("that many numbers are as many groups")
}
