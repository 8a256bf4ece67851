//! The largest magnitudes of a Hadamard transform, which itself is written nowhere.

#[cfg(target_arch = "x86_64")]
use super::avx2::Avx2;
#[cfg(target_arch = "x86_64")]
use super::avx512::Avx512;
use super::kernel::{Direction, take};
use super::rotated::Rotation;
use super::source::{Patch, Place, Source, TILE_ROWS, patch_rows, run};
use super::vector::{MAGNITUDE, Portable, Vector};
use super::{HadamardTransform, from_magnitude};
use crate::HadamardError;
use crate::simd::{SimdLevel, for_each_level};
use std::ops::Range;

/// The largest magnitude of each row of a tensor's Hadamard transform along one of its last two axes; a row is what has all
/// indices but the last. Less a mean first, if there is one.
#[derive(Clone, Debug)]
pub struct HadamardMagnitudes {
    rotation: Rotation,
    /// The tensor as matrices of so many rows and columns.
    count: usize,
    rows: usize,
    columns: usize,
    level: SimdLevel,
}

impl HadamardMagnitudes {
    /// Of tensors of a shape, for a transform with those signs, true for −1, along the last axis or the one before it.
    ///
    /// # Errors
    /// There is no transform of that size, or it does not divide the axis.
    pub fn new(shape: &[usize], axis: usize, signs: &[bool]) -> Result<Self, HadamardError> {
        let transform = HadamardTransform::new(signs)?;
        let (size, found) = (transform.size(), shape.get(axis).copied().unwrap_or(0));
        if !found.is_multiple_of(size) || axis + 2 < shape.len() {
            return Err(HadamardError::Length { size, found });
        }
        let (before, after) = shape.split_at(axis);
        let before = before.iter().product();
        let (direction, count, rows, columns) = match *after {
            [columns] => (Direction::Rows, 1, before, columns),
            _ => (
                Direction::Columns,
                before,
                found,
                after[1..].iter().product(),
            ),
        };
        Ok(Self {
            rotation: Rotation {
                transform,
                direction,
            },
            count,
            rows,
            columns,
            level: SimdLevel::detect(),
        })
    }

    /// The same with chosen instructions; one of [`SimdLevel::available`], or else the best that there are.
    pub fn with_level(mut self, level: SimdLevel) -> Self {
        if SimdLevel::available().contains(&level) {
            self.level = level;
        }
        self
    }

    /// How many stripes of rows there are, which threads may share.
    pub fn stripes(&self) -> usize {
        self.count * self.rows.div_ceil(TILE_ROWS)
    }

    /// The rows of some stripes, counted over all matrices.
    pub fn rows(&self, stripes: Range<usize>) -> Range<usize> {
        let per_matrix = self.rows.div_ceil(TILE_ROWS).max(1);
        let row = |stripe: usize| {
            let (matrix, stripe) = (stripe / per_matrix, stripe % per_matrix);
            matrix * self.rows + stripe * TILE_ROWS
        };
        row(stripes.start)..row(stripes.end)
    }

    /// Writes the largest magnitude of each of the stripes' rows, NaN where any number of it is NaN. `mean` is subtracted
    /// before the transform, in f32, one number for each index of the last dimension.
    ///
    /// # Panics
    /// The numbers are not as many as the shape says, the means not as many as the last dimension, or the results not as
    /// many as [`rows`](Self::rows).
    pub fn run(
        &self,
        values: &[f32],
        mean: Option<&[f32]>,
        stripes: Range<usize>,
        results: &mut [f32],
    ) {
        assert_eq!(values.len(), self.count * self.rows * self.columns);
        let first = self.rows(stripes.clone()).start;
        assert_eq!(results.len(), self.rows(stripes.clone()).len());
        assert!(mean.is_none_or(|mean| mean.len() == self.columns));
        let mut patches = [Patch::new(), Patch::new()];
        let per_matrix = self.rows.div_ceil(TILE_ROWS);
        for stripe in stripes {
            let (matrix, row) = (stripe / per_matrix, stripe % per_matrix * TILE_ROWS);
            let source = Source {
                matrix: &values[matrix * self.rows * self.columns..],
                first_row: 0,
                pitch: self.columns,
                mean,
                rows_before: matrix * self.rows,
                columns_before: matrix * self.columns,
            };
            let rows = TILE_ROWS.min(self.rows - row);
            let results = &mut results[matrix * self.rows + row - first..][..rows];
            self.stripe(source, row, &mut patches, results);
        }
    }

    /// The rows of a stripe from `first` on.
    fn stripe(
        &self,
        source: Source<'_>,
        first: usize,
        [patch, rotated]: &mut [Patch; 2],
        results: &mut [f32],
    ) {
        let mut largest = [0; TILE_ROWS];
        let width = self.rotation.patch_columns().min(self.columns).max(1);
        let height = patch_rows(run(width));
        for row in (0..results.len()).step_by(height) {
            for column in (0..self.columns).step_by(width) {
                let place = Place {
                    row: first + row,
                    column,
                    rows: height.min(results.len() - row),
                    columns: width.min(self.columns - column),
                };
                take(self.level, patch, source, place);
                self.rotation.rotate(self.level, patch, rotated);
                largest_of_rows(self.level, rotated, &mut largest[row..]);
            }
        }
        for (result, largest) in results.iter_mut().zip(largest) {
            *result = from_magnitude(largest);
        }
    }
}

for_each_level! {
    /// Raises the bits of the largest magnitude of each row to those of a patch.
    fn largest_of_rows(patch: &Patch, largest: &mut [u32]) = {
        avx512: largest_of_rows_with::<Avx512>,
        avx2: largest_of_rows_with::<Avx2>,
        portable: largest_of_rows_with::<Portable>,
    };
}

#[inline(always)]
fn largest_of_rows_with<V: Vector>(patch: &Patch, largest: &mut [u32]) {
    for (row, largest) in largest.iter_mut().take(patch.place.rows).enumerate() {
        let mut lanes = V::splat(0);
        for group in patch.groups_of_row(row) {
            lanes = lanes.max_words(V::load(group).and(V::splat(MAGNITUDE)));
        }
        *largest = lanes
            .words()
            .iter()
            .fold(*largest, |all, &one| all.max(one));
    }
}
