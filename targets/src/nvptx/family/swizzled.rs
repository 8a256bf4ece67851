//! Tiles in shared memory as matrix units read them, and the places that are given to them.

/// Places in a CTA's shared memory, given out one after the other from an address that is a multiple of
/// [`BASE`](Self::BASE).
#[derive(Debug, Default)]
pub struct SharedMemory {
    bytes: u32,
}

impl SharedMemory {
    /// The alignment of what begins with swizzled tiles.
    pub const BASE: u32 = SwizzledTile::ALIGNMENT;

    /// A place for a tile.
    pub fn tile(&mut self, rows: i64) -> SwizzledTile {
        let first = self.take(
            rows as u32 * SwizzledTile::ROW as u32,
            SwizzledTile::ALIGNMENT,
        );
        SwizzledTile { first }
    }

    /// The first of so many bytes, a multiple of `alignment`.
    pub fn take(&mut self, bytes: u32, alignment: u32) -> u32 {
        debug_assert!(Self::BASE.is_multiple_of(alignment));
        let first = self.bytes.next_multiple_of(alignment);
        self.bytes = first + bytes;
        first
    }

    /// The bytes up to here.
    pub fn bytes(&self) -> u32 {
        self.bytes
    }
}

/// Rows of 128 bytes along K in shared memory, their eight pieces of 16 bytes exchanged by the row's number: the layout
/// that the matrix unit reads without conflicts of banks. (PTX ISA, "Swizzling modes", 128 bytes.)
///
/// The pattern repeats every eight rows and goes by the address, so a tile begins at a multiple of 1024 bytes: only
/// [`SharedMemory::tile`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwizzledTile {
    first: u32,
}

impl SwizzledTile {
    /// Bytes of a row.
    pub const ROW: i64 = 128;
    /// Pieces of a row.
    pub const PIECES: i64 = 8;
    /// Bytes of a piece.
    pub const PIECE: i64 = 16;
    /// Eight rows.
    const ALIGNMENT: u32 = 1024;

    /// Where it begins.
    pub fn first(self) -> u32 {
        self.first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swizzled_tiles_begin_at_multiples_of_1024() {
        let mut memory = SharedMemory::default();
        memory.take(8, 8);
        for rows in [16, 128, 24, 1] {
            assert_eq!(memory.tile(rows).first() % 1024, 0);
            memory.take(4, 4);
        }
        assert_eq!(memory.take(8, 8) % 8, 0);
    }
}
