//! Memory that kernels work on.

use crate::bundle::ALIGNMENT;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

/// The system has no memory of that many bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct OutOfMemory {
    pub(super) bytes: usize,
}

/// Bytes on the heap from a multiple of [`ALIGNMENT`] on, at first zero, that stay where they are.
///
/// Kernels reach them through [`pointer`](Self::pointer); Rust code through slices, while no kernel runs.
pub(super) struct Memory {
    pointer: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the bytes belong to this value alone; those who hold its pointer answer for how they use it.
unsafe impl Send for Memory {}
// SAFETY: as above; through a shared reference the bytes are only read.
unsafe impl Sync for Memory {}

impl Memory {
    /// That many zero bytes.
    pub(super) fn zeroed(bytes: usize) -> Result<Self, OutOfMemory> {
        let fail = || OutOfMemory { bytes };
        // No bytes still need an aligned address: kernels may assume that every address is.
        let layout = Layout::from_size_align(bytes.max(1), ALIGNMENT).map_err(|_| fail())?;
        // SAFETY: the layout's size is not zero.
        let pointer = unsafe { alloc_zeroed(layout) };
        Ok(Self {
            pointer: NonNull::new(pointer).ok_or_else(fail)?,
            layout: Layout::from_size_align(bytes, ALIGNMENT).map_err(|_| fail())?,
        })
    }

    /// The address of the first byte.
    pub(super) fn pointer(&self) -> *mut u8 {
        self.pointer.as_ptr()
    }

    /// The bytes. No kernel runs on them meanwhile.
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: the allocation has that many initialised bytes; the executor only lets kernels run while it holds the
        // instance that owns this value exclusively.
        unsafe { std::slice::from_raw_parts(self.pointer(), self.layout.size()) }
    }

    /// The bytes, to be written. No kernel runs on them meanwhile.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `bytes`, and this reference is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.pointer(), self.layout.size()) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let layout = Layout::from_size_align(self.layout.size().max(1), ALIGNMENT)
            .expect("a layout that was allocated");
        // SAFETY: `zeroed` allocated with this layout, and nothing has freed it.
        unsafe { dealloc(self.pointer(), layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_aligned_and_zero() {
        for bytes in [0, 1, 63, 64, 65, 4097] {
            let memory = Memory::zeroed(bytes).unwrap();
            assert_eq!(memory.pointer() as usize % ALIGNMENT, 0);
            assert_eq!(memory.bytes(), vec![0; bytes]);
        }
    }

    #[test]
    fn too_much_memory_is_an_error() {
        assert!(Memory::zeroed(isize::MAX as usize - 63).is_err());
        assert!(Memory::zeroed(usize::MAX).is_err());
    }
}
