//! Where `tcgen05.cp` puts the rows of a matrix in shared memory (PTX ISA 9.7.16.9.1, 9.7.16.9.2).

/// Rows, and bits of each, with the warps' lanes that get them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopyShape {
    /// `.128x256b`
    Rows128By256,
    /// `.128x128b`
    Rows128By128,
    /// `.4x256b`: a row to each warp's first lane.
    Rows4By256,
    /// `.64x128b.warpx2::02_13`: 64 rows twice.
    Rows64Alternate,
    /// `.64x128b.warpx2::01_23`: each 32 rows twice.
    Rows64Paired,
    /// `.32x128b.warpx4`: 32 rows to each warp.
    Rows32,
}

impl CopyShape {
    pub const fn rows(self) -> u32 {
        match self {
            Self::Rows128By256 | Self::Rows128By128 => 128,
            Self::Rows4By256 => 4,
            Self::Rows64Alternate | Self::Rows64Paired => 64,
            Self::Rows32 => 32,
        }
    }

    /// Pieces of 16 bytes of a row, each of which becomes four columns.
    pub const fn pieces(self) -> u32 {
        match self {
            Self::Rows128By256 | Self::Rows4By256 => 2,
            _ => 1,
        }
    }

    /// The lanes that a row goes to.
    pub fn lanes(self, row: u32) -> Vec<u32> {
        match self {
            Self::Rows128By256 | Self::Rows128By128 => vec![row],
            Self::Rows4By256 => vec![32 * row],
            Self::Rows64Alternate => vec![row, row + 64],
            Self::Rows64Paired => {
                let first = row % 32 + 64 * (row / 32);
                vec![first, first + 32]
            }
            Self::Rows32 => (0..4).map(|warp| row + 32 * warp).collect(),
        }
    }
}

/// Sixteen elements of four or six bits with padding behind them become sixteen bytes: of four bits each in a byte's middle, of
/// six in its lower part, as tensor cores read them.
pub(crate) fn decompress(bits: usize, piece: [u8; 16]) -> [u8; 16] {
    let all = u128::from_le_bytes(piece);
    std::array::from_fn(|element| {
        let own = (all >> (bits * element)) as u8;
        match bits {
            4 => (own & 0xf) << 2,
            6 => own & 0x3f,
            _ => own,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_their_lanes() {
        assert_eq!(CopyShape::Rows128By256.lanes(77), [77]);
        assert_eq!(CopyShape::Rows4By256.lanes(3), [96]);
        // Warps 0 and 2 have the first half of the rows, 1 and 3 the second.
        assert_eq!(CopyShape::Rows64Alternate.lanes(5), [5, 69]);
        assert_eq!(CopyShape::Rows64Alternate.lanes(40), [40, 104]);
        // Warps 0 and 1 have the first half, 2 and 3 the second.
        assert_eq!(CopyShape::Rows64Paired.lanes(5), [5, 37]);
        assert_eq!(CopyShape::Rows64Paired.lanes(40), [72, 104]);
        assert_eq!(CopyShape::Rows32.lanes(9), [9, 41, 73, 105]);
    }

    #[test]
    fn all_lanes_but_of_the_smallest_are_written_once() {
        for shape in [
            CopyShape::Rows128By256,
            CopyShape::Rows128By128,
            CopyShape::Rows64Alternate,
            CopyShape::Rows64Paired,
            CopyShape::Rows32,
        ] {
            let mut lanes: Vec<u32> = (0..shape.rows()).flat_map(|row| shape.lanes(row)).collect();
            lanes.sort_unstable();
            assert_eq!(lanes, (0..128).collect::<Vec<_>>(), "{shape:?}");
        }
    }

    #[test]
    fn four_bits_stand_in_the_middle_of_a_byte() {
        let mut piece = [0xff; 16];
        piece[0] = 0x21;
        piece[7] = 0xf3;
        let bytes = decompress(4, piece);
        assert_eq!(bytes[..2], [1 << 2, 2 << 2]);
        assert_eq!(bytes[14..], [3 << 2, 15 << 2]);
    }

    #[test]
    fn six_bits_are_packed_by_four_in_three_bytes() {
        let mut piece = [0xff; 16];
        // 1, 2, 3 and 4, the lowest first.
        piece[..3].copy_from_slice(&(1u32 | 2 << 6 | 3 << 12 | 4 << 18).to_le_bytes()[..3]);
        let bytes = decompress(6, piece);
        assert_eq!(bytes[..4], [1, 2, 3, 4]);
        assert_eq!(bytes[15], 0x3f);
    }
}
