//! What the innermost kernels of vectors work on: blocks of rows, blocks of columns, a tile of the result.
//!
//! Elements are packed as integers of a byte, twice the E2M1 number, four along the axis to a word. `GROUPS` is the
//! number of words of a block: 4 for nvfp4, 8 for mxfp4.

use std::ops::Range;

/// Rows of a tile.
pub(super) const ROWS: usize = 3;

/// Columns of a tile.
pub(super) const COLUMNS: usize = 64;

/// What is added to a column's elements, so that they are not negative: the largest of them.
pub(super) const BIAS: i32 = 12;

/// The bits of 3. An integer of less than 22 bits added to them, read as an f32, is 3 + 2⁻²² times the integer.
pub(super) const THREE: i32 = 0x4040_0000;

/// One block of each of [`ROWS`] rows.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub(super) struct RowBlock<const GROUPS: usize> {
    /// Four signed elements to a word, the first in the low byte.
    pub(super) elements: [[i32; GROUPS]; ROWS],
    /// Where the integer sum of each row starts: the bits of 3, less what the columns' bias adds.
    pub(super) start: [i32; ROWS],
    /// The scale of each row's block.
    pub(super) scales: [f32; ROWS],
    /// −3 times the scale.
    pub(super) shifts: [f32; ROWS],
}

impl<const GROUPS: usize> RowBlock<GROUPS> {
    /// Clears the elements outside of a range.
    pub(super) fn keep(&mut self, kept: Range<usize>) {
        for (words, start) in self.elements.iter_mut().zip(&mut self.start) {
            let mut sum = 0;
            for (number, word) in words.iter_mut().enumerate() {
                let mut bytes = word.to_le_bytes();
                for (place, byte) in bytes.iter_mut().enumerate() {
                    if !kept.contains(&(4 * number + place)) {
                        *byte = 0;
                    }
                    sum += i32::from(*byte as i8);
                }
                *word = i32::from_le_bytes(bytes);
            }
            *start = THREE - BIAS * sum;
        }
    }
}

/// One block of each of [`COLUMNS`] columns.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct ColumnBlock<const GROUPS: usize> {
    /// Four elements plus [`BIAS`] to a word, the first in the low byte; words at the same place in their blocks stand
    /// together.
    pub(super) elements: [[u32; COLUMNS]; GROUPS],
    /// The scale of each column's block.
    pub(super) scales: [f32; COLUMNS],
}

/// f32 accumulators.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Tile<const ROWS: usize, const COLUMNS: usize>(pub(super) [[f32; COLUMNS]; ROWS]);

impl<const ROWS: usize, const COLUMNS: usize> Tile<ROWS, COLUMNS> {
    pub(super) const ZERO: Self = Self([[0.0; COLUMNS]; ROWS]);
}

impl<const ROWS: usize, const COLUMNS: usize> AsRef<[f32]> for Tile<ROWS, COLUMNS> {
    /// The rows, one after the other.
    fn as_ref(&self) -> &[f32] {
        self.0.as_flattened()
    }
}

/// A tile of the kernels of vectors.
pub(super) type VectorTile = Tile<ROWS, COLUMNS>;
