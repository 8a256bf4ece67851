//! What is computed of a product before it is written: a function of the bundle, called for each task's elements while they
//! are in a cache.

use crate::bundle::MatrixLayout;
use crate::executor::row_function::RowFunction;

/// A part of a product: its `lines` begin `stride` elements apart and have `length` neighbours each.
pub(super) struct Lines {
    /// The number of the first element in the product, row-major.
    pub(super) first: usize,
    pub(super) lines: usize,
    pub(super) length: usize,
    pub(super) stride: usize,
    /// From one line to the next where the part lies.
    pub(super) place_stride: usize,
}

/// Whether the elements along a tile's columns are neighbours in a product of so many columns; else those along its rows
/// are, or it has one column or one row.
pub(super) fn is_along_columns(layout: MatrixLayout, columns: usize) -> bool {
    layout.column_stride == 1 || layout.row_stride != 1 && columns == 1
}

/// Computes all results at a part of the product, which is at `place`.
///
/// # Safety
/// The function is that of an epilogue, and `buffers` are its operands and results, of which nobody else writes anything
/// or reads the results' elements of the part meanwhile. The part is of the product, and all at `place`.
pub(super) unsafe fn run(
    epilogue: &RowFunction,
    buffers: &[*mut u8],
    part: &Lines,
    place: *mut f32,
) {
    let mut addresses = RowFunction::addresses(buffers);
    for line in 0..part.lines {
        let first = part.first + line * part.stride;
        let place = place.wrapping_add(line * part.place_stride);
        // SAFETY: the line is there; the caller's promise.
        unsafe { epilogue.run(&mut addresses, first..first + part.length, place) };
    }
}
