//! Functions of a bundle that compute elements of a row, for kernels that the runtime computes itself.

use super::library::KernelFunction;
use std::ffi::c_void;
use std::ops::Range;

/// A function that is called for elements of a row: an [`Epilogue`](crate::bundle::Epilogue) or a
/// [`Prologue`](crate::bundle::Prologue).
#[derive(Clone, Copy, Debug)]
pub(super) struct RowFunction {
    /// The code.
    pub(super) function: KernelFunction,
    /// The elements of a row, which no call reaches over.
    pub(super) row: usize,
}

impl RowFunction {
    /// Room for what calls are given: the buffers, and the call's own elements.
    pub(super) fn addresses(buffers: &[*mut u8]) -> Vec<*mut c_void> {
        let own = std::ptr::null_mut();
        buffers.iter().map(|one| one.cast()).chain([own]).collect()
    }

    /// Calls it for those elements, which are at `place`. `addresses` are made of its buffers.
    ///
    /// # Safety
    /// The function is one for these buffers, whose elements it may read and write as it does.
    pub(super) unsafe fn run(
        &self,
        addresses: &mut [*mut c_void],
        elements: Range<usize>,
        place: *mut f32,
    ) {
        let mut begin = elements.start;
        while begin < elements.end {
            let end = elements.end.min(begin - begin % self.row + self.row);
            if let Some(own) = addresses.last_mut() {
                *own = place.wrapping_add(begin - elements.start).cast();
            }
            // SAFETY: the caller's promise.
            unsafe { (self.function)(addresses.as_ptr(), begin as i64, end as i64) };
            begin = end;
        }
    }
}
