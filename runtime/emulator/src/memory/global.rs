//! Global memory: what the host allocates and kernels read and write.

use super::Bytes;
use super::address::GLOBAL_BEGIN;

/// The allocations of a device.
#[derive(Clone, Debug, Default)]
pub struct Global {
    /// In the order of their addresses.
    allocations: Vec<Allocation>,
    end: u64,
}

#[derive(Clone, Debug)]
struct Allocation {
    begin: u64,
    bytes: Bytes,
}

/// Addresses between two allocations: whoever runs over an end meets nothing.
const GAP: u64 = 1 << 16;
/// What `cudaMalloc` aligns to.
const ALIGNMENT: u64 = 256;

/// An access of the host that no allocation holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GlobalError {
    /// Of addresses of no allocation.
    #[error("expected {size} bytes of one allocation at {address:#x}, found fewer")]
    OutOfBounds {
        /// The first address.
        address: u64,
        /// The number of bytes.
        size: usize,
    },
    /// Of a byte that nobody has written.
    #[error("the byte at {address:#x} was never written")]
    Unwritten {
        /// The byte's address.
        address: u64,
    },
}

impl Global {
    /// Memory without allocations.
    pub fn new() -> Self {
        Self::default()
    }

    /// Allocates so many bytes, which nobody has written, and gives their address.
    pub fn allocate(&mut self, size: usize) -> u64 {
        self.push(Bytes::unwritten(size), ALIGNMENT)
    }

    /// Allocates memory that holds these bytes, and gives its address.
    pub fn allocate_with(&mut self, bytes: Vec<u8>) -> u64 {
        self.push(Bytes::of(bytes), ALIGNMENT)
    }

    /// Allocates memory that begins so far beyond a multiple of 256, and gives its address.
    pub fn allocate_beyond(&mut self, offset: u64, bytes: Bytes) -> u64 {
        let begin = (self.end.max(GLOBAL_BEGIN) + GAP).next_multiple_of(ALIGNMENT) + offset;
        self.end = begin + bytes.len() as u64;
        self.allocations.push(Allocation { begin, bytes });
        begin
    }

    pub(crate) fn push(&mut self, bytes: Bytes, alignment: u64) -> u64 {
        let begin = (self.end.max(GLOBAL_BEGIN) + GAP).next_multiple_of(alignment.max(ALIGNMENT));
        self.end = begin + bytes.len() as u64;
        self.allocations.push(Allocation { begin, bytes });
        begin
    }

    fn find(&self, address: u64) -> Option<usize> {
        let after = self
            .allocations
            .partition_point(|allocation| allocation.begin <= address);
        after.checked_sub(1)
    }

    pub(crate) fn write(
        &mut self,
        address: u64,
        size: usize,
        value: u64,
        written: bool,
    ) -> Option<()> {
        let index = self.find(address)?;
        let allocation = &mut self.allocations[index];
        allocation
            .bytes
            .write((address - allocation.begin) as usize, size, value, written)
    }

    /// Whether so many bytes are of one allocation.
    pub(crate) fn holds(&self, address: u64, size: u64) -> bool {
        let Some(index) = self.find(address) else {
            return false;
        };
        let allocation = &self.allocations[index];
        let end = (address - allocation.begin).checked_add(size);
        end.is_some_and(|end| end <= allocation.bytes.len() as u64)
    }

    /// So many bytes from an address on, of whatever allocation lies there; what is of none was never written.
    pub(crate) fn page(&self, address: u64, size: usize) -> Bytes {
        let mut page = Bytes::unwritten(size);
        let end = address + size as u64;
        for allocation in &self.allocations {
            let last = allocation.begin + allocation.bytes.len() as u64;
            let (from, to) = (address.max(allocation.begin), end.min(last));
            if from < to
                && let Some(part) = self.part(from, (to - from) as usize)
            {
                // Within the page by construction.
                let _ = page.put((from - address) as usize, &part);
            }
        }
        page
    }

    /// A stretch of an allocation.
    pub(crate) fn stretch(&self, address: u64, size: u64) -> Option<(&[u8], &[bool])> {
        let allocation = &self.allocations[self.find(address)?];
        allocation
            .bytes
            .stretch((address - allocation.begin) as usize, size as usize)
    }

    /// As [`stretch`](Self::stretch), to write.
    pub(crate) fn stretch_mut(
        &mut self,
        address: u64,
        size: u64,
    ) -> Option<(&mut [u8], &mut [bool])> {
        let index = self.find(address)?;
        let allocation = &mut self.allocations[index];
        allocation
            .bytes
            .stretch_mut((address - allocation.begin) as usize, size as usize)
    }

    /// A part of an allocation.
    pub(crate) fn part(&self, address: u64, size: usize) -> Option<Bytes> {
        let allocation = &self.allocations[self.find(address)?];
        allocation
            .bytes
            .part((address - allocation.begin) as usize, size)
    }

    /// Writes a part of an allocation.
    pub(crate) fn put(&mut self, address: u64, bytes: &Bytes) -> Option<()> {
        let index = self.find(address)?;
        let allocation = &mut self.allocations[index];
        allocation
            .bytes
            .put((address - allocation.begin) as usize, bytes)
    }

    /// Bytes of an allocation, written or not.
    ///
    /// # Errors
    /// There is no allocation that has all of them.
    pub fn contents(&self, address: u64, size: usize) -> Result<Bytes, GlobalError> {
        let missing = GlobalError::OutOfBounds { address, size };
        self.part(address, size).ok_or(missing)
    }

    /// Writes bytes of an allocation, those that nobody has written included.
    ///
    /// # Errors
    /// There is no allocation that has all of them.
    pub fn set_contents(&mut self, address: u64, bytes: &Bytes) -> Result<(), GlobalError> {
        let size = bytes.len();
        self.put(address, bytes)
            .ok_or(GlobalError::OutOfBounds { address, size })
    }

    /// Bytes of an allocation, for the host.
    ///
    /// # Errors
    /// There is no allocation that has all of them, or nobody has written one.
    pub fn read_bytes(&self, address: u64, size: usize) -> Result<Vec<u8>, GlobalError> {
        let (values, written) = self
            .stretch(address, size as u64)
            .ok_or(GlobalError::OutOfBounds { address, size })?;
        match written.iter().position(|&written| !written) {
            None => Ok(values.to_vec()),
            Some(place) => Err(GlobalError::Unwritten {
                address: address + place as u64,
            }),
        }
    }

    /// Writes bytes of an allocation, for the host.
    ///
    /// # Errors
    /// There is no allocation that has all of them.
    pub fn write_bytes(&mut self, address: u64, bytes: &[u8]) -> Result<(), GlobalError> {
        self.set_contents(address, &Bytes::of(bytes.to_vec()))
    }
}
