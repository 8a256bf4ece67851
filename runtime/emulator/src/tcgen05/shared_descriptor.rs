//! Descriptors of matrices in shared memory (PTX ISA 9.7.16.4.1, 9.7.16.10.6): 64 bits that say where the bytes of a matrix
//! lie.
//!
//! A matrix is read by rows of one *width*, which the swizzling mode gives: 16, 32, 64 or 128 bytes along its major
//! dimension. Eight rows (four of the mode with atoms of 32 bytes) are a group, in which rows lie one behind the other; two
//! distances say where the next group begins, and where the next width of the same row. Pieces of 16 bytes (32) of a row
//! change places by the row's number.

/// How pieces of rows change places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Swizzle {
    None,
    Bytes32,
    Bytes64,
    Bytes128,
    /// 128 bytes, by pieces of 32.
    Bytes128Atom32,
}

impl Swizzle {
    /// Bytes of a row.
    const fn width(self) -> u64 {
        match self {
            Self::None => 16,
            Self::Bytes32 => 32,
            Self::Bytes64 => 64,
            Self::Bytes128 | Self::Bytes128Atom32 => 128,
        }
    }

    /// The address where a byte lies that without swizzling is at `address`, where the pattern begins `phase` rows of 128 bytes
    /// behind a multiple of 1024.
    fn apply(self, address: u64, phase: u64) -> u64 {
        let row = (address >> 7).wrapping_sub(phase);
        match self {
            Self::None => address,
            Self::Bytes32 => address ^ (row & 1) << 4,
            Self::Bytes64 => address ^ (row & 3) << 4,
            Self::Bytes128 => address ^ (row & 7) << 4,
            Self::Bytes128Atom32 => address ^ (row & 3) << 5,
        }
    }
}

/// Along which dimension a matrix lies in rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Major {
    K,
    /// M of A, N of B.
    Mn,
}

/// A descriptor, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SharedDescriptor {
    pub start: u64,
    /// The leading dimension's distance in bytes, LBO.
    pub leading: u64,
    /// The stride dimension's, SBO.
    pub stride: u64,
    pub base_offset: u64,
    pub swizzle: Swizzle,
}

impl SharedDescriptor {
    /// Takes a descriptor apart, or says which field is none.
    pub fn new(bits: u64) -> Result<Self, String> {
        let field = |low: u32, count: u32| bits >> low & ((1 << count) - 1);
        // Between the start, the leading and the stride dimension's distances, bits 0, 16 and 32 on.
        const UNUSED: u64 = 3 << 14 | 3 << 30;
        if bits & UNUSED != 0 {
            return Err(format!(
                "a shared-memory descriptor has 0 in bits 14, 15, 30 and 31, and not {:#x}, as an address beyond 256 KiB makes them",
                bits & UNUSED
            ));
        }
        if field(46, 3) != 1 {
            return Err(format!(
                "a shared-memory descriptor has 0b001 in bits 46 to 48, and not {:#05b}",
                field(46, 3)
            ));
        }
        if field(52, 1) != 0 {
            return Err(
                "a shared-memory descriptor with an absolute leading dimension, bit 52, is not modelled".into(),
            );
        }
        if field(53, 8) != 0 {
            return Err(format!(
                "a shared-memory descriptor has 0 in bits 53 to 60, and not {:#x}",
                field(53, 8)
            ));
        }
        let swizzle = match field(61, 3) {
            0 => Swizzle::None,
            1 => Swizzle::Bytes128Atom32,
            2 => Swizzle::Bytes128,
            4 => Swizzle::Bytes64,
            6 => Swizzle::Bytes32,
            other => {
                return Err(format!(
                    "a shared-memory descriptor has the swizzling mode 0, 1, 2, 4 or 6 in bits 61 to 63, and not {other}"
                ));
            }
        };
        Ok(Self {
            start: field(0, 14) << 4,
            leading: field(16, 14) << 4,
            stride: field(32, 14) << 4,
            base_offset: field(49, 3),
            swizzle,
        })
    }

    /// Where a byte lies: of a row along K (`row` of M or N, `along` bytes on K), or along M or N (`row` of K, `along` bytes).
    pub fn address(&self, major: Major, row: u64, along: u64) -> u64 {
        let width = self.swizzle.width();
        let (group, rows) = match (major, self.swizzle) {
            (Major::Mn, Swizzle::Bytes128Atom32) => (row / 4, row % 4),
            _ => (row / 8, row % 8),
        };
        // Without swizzling the two distances of a matrix along M or N change their roles.
        let (next_group, next_width) = match (major, self.swizzle) {
            (Major::Mn, Swizzle::None) => (self.leading, self.stride),
            _ => (self.stride, self.leading),
        };
        let linear = self.start
            + group * next_group
            + rows * width
            + along / width * next_width
            + along % width;
        self.swizzle.apply(linear, self.base_offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A descriptor of its fields.
    fn descriptor(start: u64, leading: u64, stride: u64, mode: u64) -> SharedDescriptor {
        let bits = start >> 4 | leading >> 4 << 16 | stride >> 4 << 32 | 1 << 46 | mode << 61;
        SharedDescriptor::new(bits).unwrap()
    }

    #[test]
    fn fields_are_taken_apart() {
        let found = SharedDescriptor::new(0x4000_4040_0001_0123).unwrap();
        assert_eq!(
            found,
            SharedDescriptor {
                start: 0x1230,
                leading: 16,
                stride: 1024,
                base_offset: 0,
                swizzle: Swizzle::Bytes128,
            }
        );
        assert_eq!(descriptor(0, 0, 0, 1).swizzle, Swizzle::Bytes128Atom32);
        assert_eq!(descriptor(0, 0, 0, 4).swizzle, Swizzle::Bytes64);
        assert_eq!(descriptor(0, 0, 0, 6).swizzle, Swizzle::Bytes32);
    }

    #[test]
    fn fields_that_cannot_be_are_named() {
        let right = 0x4000_4000_0000_0000u64;
        let error = |bits| SharedDescriptor::new(bits).unwrap_err();
        // The start of 256 KiB, and distances as long.
        assert!(error(right | (256 << 10) >> 4).contains("and not 0x4000,"));
        for bit in [14, 15, 30, 31] {
            assert!(error(right | 1 << bit).contains("bits 14, 15, 30 and 31"));
        }
        assert!(error(right ^ 1 << 46).contains("bits 46 to 48"));
        assert!(error(right | 1 << 47).contains("bits 46 to 48"));
        assert!(error(right | 1 << 52).contains("bit 52"));
        assert!(error(right | 1 << 55).contains("bits 53 to 60"));
        assert!(error(right | 1 << 61).contains("mode 0, 1, 2, 4 or 6"));
    }

    /// CUTLASS's canonical layouts (`mma_sm100_desc.hpp`) as strides in bytes, T elements being 16 bytes.
    #[test]
    fn canonical_layouts_along_k() {
        // Without swizzling: ((8,m),(T,2)):((1T,SBO),(1,LBO)).
        let none = descriptor(0x400, 0x800, 0x80, 0);
        assert_eq!(none.address(Major::K, 0, 0), 0x400);
        assert_eq!(none.address(Major::K, 3, 5), 0x400 + 48 + 5);
        assert_eq!(none.address(Major::K, 8, 0), 0x480);
        assert_eq!(none.address(Major::K, 0, 16), 0xc00);
        // Of 128 bytes: ((8,m),(T,2)):((8T,SBO),(1,T)), pieces of 16 bytes exchanged by the row.
        let wide = descriptor(0x400, 16, 0x400, 2);
        assert_eq!(wide.address(Major::K, 0, 20), 0x400 + 20);
        assert_eq!(wide.address(Major::K, 1, 0), 0x480 + 16);
        assert_eq!(wide.address(Major::K, 7, 16), 0x400 + 7 * 128 + 6 * 16);
        assert_eq!(wide.address(Major::K, 11, 0), 0x800 + 3 * 128 + 3 * 16);
        // Of 64 bytes two rows are 128: pieces are exchanged by half the row's number.
        let half = descriptor(0x400, 16, 0x200, 4);
        assert_eq!(half.address(Major::K, 1, 0), 0x440);
        assert_eq!(half.address(Major::K, 2, 0), 0x480 + 16);
        assert_eq!(half.address(Major::K, 7, 16), 0x400 + 7 * 64 + (1 ^ 3) * 16);
        // Of 32 bytes four rows are.
        let quarter = descriptor(0x400, 16, 0x100, 6);
        assert_eq!(quarter.address(Major::K, 3, 0), 0x460);
        assert_eq!(quarter.address(Major::K, 4, 0), 0x480 + 16);
        assert_eq!(quarter.address(Major::K, 4, 16), 0x480);
    }

    #[test]
    fn canonical_layouts_along_m_or_n() {
        // Without swizzling: ((T,1,m),(8,k)):((1,T,SBO),(1T,LBO)).
        let none = descriptor(0, 0x800, 0x80, 0);
        assert_eq!(none.address(Major::Mn, 3, 5), 48 + 5);
        assert_eq!(none.address(Major::Mn, 0, 16), 0x80);
        assert_eq!(none.address(Major::Mn, 8, 0), 0x800);
        // Of 128 bytes: ((T,8,m),(8,k)):((1,T,LBO),(8T,SBO)).
        let wide = descriptor(0, 0x2000, 0x400, 2);
        assert_eq!(wide.address(Major::Mn, 1, 0), 128 + 16);
        assert_eq!(wide.address(Major::Mn, 0, 128), 0x2000);
        assert_eq!(wide.address(Major::Mn, 8, 0), 0x400);
        // With atoms of 32 bytes: groups of four rows, pieces of 32 bytes.
        let atoms = descriptor(0, 0x2000, 0x200, 1);
        assert_eq!(atoms.address(Major::Mn, 1, 0), 128 + 32);
        assert_eq!(atoms.address(Major::Mn, 3, 32), 3 * 128 + (1 ^ 3) * 32);
        assert_eq!(atoms.address(Major::Mn, 4, 0), 0x200);
    }

    #[test]
    fn a_step_along_k_inside_of_a_row_is_a_step_of_the_start() {
        let first = descriptor(0x400, 16, 0x400, 2);
        for step in 1..4 {
            let next = descriptor(0x400 + 32 * step, 16, 0x400, 2);
            for row in 0..16 {
                assert_eq!(
                    next.address(Major::K, row, 0),
                    first.address(Major::K, row, 32 * step)
                );
            }
        }
    }

    #[test]
    fn a_pattern_that_begins_between_multiples_of_1024() {
        let bits = 0x480 >> 4 | (0x400 >> 4) << 32 | 1 << 46 | 1 << 49 | 2 << 61;
        let shifted = SharedDescriptor::new(bits).unwrap();
        assert_eq!(shifted.address(Major::K, 0, 0), 0x480);
        assert_eq!(shifted.address(Major::K, 1, 0), 0x500 + 16);
    }
}
