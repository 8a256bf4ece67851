//! What is computed of a product before it is written: a function of the bundle, called for each task's elements while they
//! are in a cache.

use crate::bundle::MatrixLayout;
use crate::executor::library::KernelFunction;
use std::ffi::c_void;

/// A function that computes a kernel's results at elements of its product; see
/// [`bundle::Epilogue`](crate::bundle::Epilogue).
#[derive(Clone, Copy, Debug)]
pub(in crate::executor) struct Epilogue {
    /// The code.
    pub(in crate::executor) function: KernelFunction,
    /// The elements of a row, which no call reaches over.
    pub(in crate::executor) row: usize,
}

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

impl Epilogue {
    /// Computes all results at a part of the product, which is at `place`.
    ///
    /// # Safety
    /// The function is one of an epilogue, and `buffers` are its operands and results, of which nobody else writes
    /// anything or reads the results' elements of the part meanwhile. The part is of the product, and all at `place`.
    pub(super) unsafe fn run(&self, buffers: &[*mut u8], part: &Lines, place: *mut f32) {
        let mut addresses: Vec<*mut c_void> = buffers.iter().map(|one| one.cast()).collect();
        let product = addresses.len();
        addresses.push(place.cast());
        for line in 0..part.lines {
            let begin = part.first + line * part.stride;
            let mut done = 0;
            while done < part.length {
                let rest_of_row = self.row - (begin + done) % self.row;
                let count = rest_of_row.min(part.length - done);
                let range = (begin + done) as i64..(begin + done + count) as i64;
                // SAFETY: the line is at `place`; the caller's promise.
                unsafe {
                    addresses[product] = place.add(line * part.place_stride + done).cast();
                    (self.function)(addresses.as_ptr(), range.start, range.end);
                }
                done += count;
            }
        }
    }
}
