//! Memory that kernels work on.
//!
//! Much of it is mapped by itself, and the system is asked for huge pages: a kernel that goes down a matrix's columns touches
//! another small page with every row, and their addresses would be looked up over and over.

use crate::bundle::ALIGNMENT;
use memmap2::MmapMut;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

/// The system has no memory of that many bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct OutOfMemory {
    pub(super) bytes: usize,
}

/// From so many bytes on memory is mapped: what a huge page has.
const MAPPED: usize = 2 << 20;

/// Bytes from a multiple of [`ALIGNMENT`] on, at first zero, that stay where they are.
///
/// Kernels reach them through [`pointer`](Self::pointer); Rust code through slices, while no kernel runs.
pub(super) struct Memory {
    pointer: NonNull<u8>,
    bytes: usize,
    owner: Owner,
}

/// Whose the bytes are.
enum Owner {
    /// The heap's, with this layout.
    Heap(Layout),
    /// A mapping's, which lives as long.
    Mapping(#[expect(dead_code, reason = "held to be dropped")] MmapMut),
}

// SAFETY: the bytes belong to this value alone; those who hold its pointer answer for how they use it.
unsafe impl Send for Memory {}
// SAFETY: as above; through a shared reference the bytes are only read.
unsafe impl Sync for Memory {}

impl Memory {
    /// That many zero bytes.
    pub(super) fn zeroed(bytes: usize) -> Result<Self, OutOfMemory> {
        let fail = || OutOfMemory { bytes };
        if bytes >= MAPPED {
            let mut mapping = MmapMut::map_anon(bytes).map_err(|_| fail())?;
            #[cfg(target_os = "linux")]
            // Without huge pages it is slower, and nothing else.
            let _ = mapping.advise(memmap2::Advice::HugePage);
            return Ok(Self {
                pointer: NonNull::new(mapping.as_mut_ptr()).ok_or_else(fail)?,
                bytes,
                owner: Owner::Mapping(mapping),
            });
        }
        // No bytes still need an aligned address: kernels may assume that every address is.
        let layout = Layout::from_size_align(bytes.max(1), ALIGNMENT).map_err(|_| fail())?;
        // SAFETY: the layout's size is not zero.
        let pointer = unsafe { alloc_zeroed(layout) };
        Ok(Self {
            pointer: NonNull::new(pointer).ok_or_else(fail)?,
            bytes,
            owner: Owner::Heap(layout),
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
        unsafe { std::slice::from_raw_parts(self.pointer(), self.bytes) }
    }

    /// The bytes, to be written. No kernel runs on them meanwhile.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `bytes`, and this reference is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.pointer(), self.bytes) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Owner::Heap(layout) = self.owner {
            // SAFETY: `zeroed` allocated with this layout, and nothing has freed it.
            unsafe { dealloc(self.pointer(), layout) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_aligned_and_zero() {
        for bytes in [0, 1, 63, 64, 65, 4097, MAPPED - 1, MAPPED, MAPPED + 1] {
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
