//! Where things are in the memories that the matrix unit reads: columns of tensor memory, tiles in shared memory and the
//! descriptors that say how they lie there.

use crate::nvptx::family::boxes::{Major, PIECE_BYTES};
pub use crate::nvptx::family::swizzled::{SharedMemory, SwizzledTile};

/// The columns of tensor memory of a CTA, given out one after the other.
#[derive(Debug)]
pub struct TensorMemory {
    columns: u32,
    taken: u32,
}

/// A kernel asks for more tensor memory than an SM has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("needs {needed} columns of tensor memory, of which there are {columns}")]
pub struct OutOfColumns {
    needed: u32,
    columns: u32,
}

impl TensorMemory {
    /// All of an SM's columns.
    pub fn new(columns: u32) -> Self {
        Self { columns, taken: 0 }
    }

    /// The first of so many columns that are nobody else's.
    ///
    /// # Errors
    /// There are not that many left.
    pub fn take(&mut self, count: u32) -> Result<u32, OutOfColumns> {
        let first = self.taken;
        let needed = first + count;
        if needed > self.columns {
            let columns = self.columns;
            return Err(OutOfColumns { needed, columns });
        }
        self.taken = needed;
        Ok(first)
    }

    /// What `tcgen05.alloc` is asked for: a power of two, 32 or more.
    pub fn allocation(&self) -> u32 {
        self.taken.next_power_of_two().max(32)
    }
}

/// The descriptor of a [`SwizzledTile`] but for the address: lines in groups of eight, one behind the other. Of lines along K
/// the leading distance is not looked at, 1 by convention; of lines of rows it is that of pieces of 64 rows.
pub const fn swizzled(major: Major) -> u64 {
    let leading = match major {
        Major::K => 1,
        Major::Rows => PIECE_BYTES as u64 >> 4,
    };
    descriptor(leading, 1024, 2)
}

/// Bytes from what an instruction multiplies to what the next one does, of 16-bit numbers where they lie across: along K
/// within swizzled lines, or whole lines.
pub const fn bytes_along_k(major: Major) -> i64 {
    match major {
        Major::K => 32,
        Major::Rows => 16 * SwizzledTile::ROW,
    }
}

/// Tiles of 128 rows by four scales in shared memory: 32 rows of 16 bytes without swizzling.
pub struct ScaleTile;

impl ScaleTile {
    /// Bytes of a tile.
    pub const BYTES: i64 = 512;
    /// Rows of a tile.
    pub const ROWS: i64 = 128;
    /// Columns of tensor memory that it is copied to.
    pub const COLUMNS: i64 = 4;

    /// Its descriptor but for the address: rows of 16 bytes in groups of eight, one behind the other.
    pub const DESCRIPTOR: u64 = descriptor(0, 128, 0);
}

/// A shared-memory descriptor but for the address: the leading dimension's distance in units of 16 bytes, the distance of
/// groups of eight lines, and the swizzling mode. (PTX ISA, "Shared memory descriptor": bits 16 to 29, 32 to 45 and 61 to 63;
/// bits 46 to 48 are 0b001.)
const fn descriptor(leading: u64, group_bytes: u64, swizzle: u64) -> u64 {
    leading << 16 | group_bytes >> 4 << 32 | 1 << 46 | swizzle << 61
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_512_columns_and_no_more() {
        let mut memory = TensorMemory::new(512);
        assert_eq!(memory.take(256), Ok(0));
        assert_eq!(memory.take(16), Ok(256));
        assert_eq!(memory.allocation(), 512);
        assert_eq!(memory.take(240), Ok(272));
        let error = memory.take(1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "needs 513 columns of tensor memory, of which there are 512"
        );
    }

    #[test]
    fn columns_are_allocated_by_powers_of_two_from_32_on() {
        for (taken, allocated) in [(1, 32), (32, 32), (33, 64), (200, 256), (512, 512)] {
            let mut memory = TensorMemory::new(512);
            memory.take(taken).unwrap();
            assert_eq!(memory.allocation(), allocated);
        }
    }

    #[test]
    fn descriptors_are_those_of_the_instruction_set() {
        // Groups 1024 bytes apart, leading distance 1, 128-byte swizzling.
        assert_eq!(swizzled(Major::K), 0x4000_4040_0001_0000);
        // Pieces of 64 rows 8192 bytes apart.
        assert_eq!(swizzled(Major::Rows), 0x4000_4040_0200_0000);
        assert_eq!(ScaleTile::DESCRIPTOR, 0x0000_4008_0000_0000);
    }
}
