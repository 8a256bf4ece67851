//! Matrices in shared memory as `wgmma` reads them: where a number lies (PTX ISA 9.7.15.5.1).
//!
//! Numbers are in *core matrices* of eight lines of 16 bytes. A matrix is k-major where the numbers of a line are along k, and
//! mn-major where they are along the other dimension, m of A and n of B. The descriptor has two strides, which mean (with the
//! layouts of CUTLASS's `mma_sm90_desc.hpp`, in whose words these are):
//!
//! | swizzle | k-major | mn-major |
//! |---|---|---|
//! | none | a core matrix is 128 bytes; leading: the next one along k; stride: along m or n | a core matrix is 128 bytes; leading: along k; stride: along m or n |
//! | 32, 64, 128 bytes | a line has so many bytes, along k; stride: the next eight lines along m or n | a line has so many bytes, along m or n; leading: the next line's length; stride: the next eight lines along k |

use crate::tensor_map::Swizzle;

/// A matrix in the shared memory of a CTA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SharedMatrix {
    begin: u64,
    leading: u64,
    stride: u64,
    swizzle: Swizzle,
    is_transposed: bool,
    /// Of a number.
    bytes: u64,
}

impl SharedMatrix {
    /// Of a descriptor: bits 0 to 13 are the address, 16 to 29 the leading offset, 32 to 45 the stride offset, each without
    /// its lowest four bits; 49 to 51 a base offset; 62 and 63 the swizzle.
    pub fn new(descriptor: u64, is_transposed: bool, bytes: u64) -> Result<Self, String> {
        const FIELDS: u64 = 0x3fff | 0x3fff << 16 | 0x3fff << 32 | 7 << 49 | 3 << 62;
        let field = |begin: u32| (descriptor >> begin & 0x3fff) << 4;
        if descriptor & !FIELDS != 0 {
            let others = descriptor & !FIELDS;
            return Err(format!(
                "has a descriptor with bits between its fields, {others:#x}, as an address beyond 256 KiB makes them"
            ));
        }
        if descriptor >> 49 & 7 != 0 {
            return Err("has a descriptor with a base offset, which is not modelled".into());
        }
        Ok(Self {
            begin: field(0),
            leading: field(16),
            stride: field(32),
            swizzle: match descriptor >> 62 {
                0 => Swizzle::None,
                1 => Swizzle::B128,
                2 => Swizzle::B64,
                _ => Swizzle::B32,
            },
            is_transposed,
            bytes,
        })
    }

    pub fn is_transposed(&self) -> bool {
        self.is_transposed
    }

    /// The place of the number at `row` along m or n, and at `k`.
    pub fn place(&self, row: u64, k: u64) -> u64 {
        let (lines, along) = if self.is_transposed {
            (k, row * self.bytes)
        } else {
            (row, k * self.bytes)
        };
        let offset = match (self.swizzle.span(), self.is_transposed) {
            (None, false) => {
                lines / 8 * self.stride + lines % 8 * 16 + along / 16 * self.leading + along % 16
            }
            (None, true) => {
                lines / 8 * self.leading + lines % 8 * 16 + along / 16 * self.stride + along % 16
            }
            // k is 32 bytes at most, which the narrowest line holds.
            (Some(span), false) => lines / 8 * self.stride + lines % 8 * span + along,
            (Some(span), true) => {
                lines / 8 * self.stride
                    + lines % 8 * span
                    + along / span * self.leading
                    + along % span
            }
        };
        self.swizzle.apply(self.begin + offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A descriptor at 1024, with a leading offset and a stride offset.
    fn matrix(leading: u64, stride: u64, swizzle: u64, is_transposed: bool) -> SharedMatrix {
        let descriptor = 1024 >> 4 | leading >> 4 << 16 | stride >> 4 << 32 | swizzle << 62;
        SharedMatrix::new(descriptor, is_transposed, 2).unwrap()
    }

    #[test]
    fn core_matrices_without_a_swizzle() {
        let k_major = matrix(128, 256, 0, false);
        assert_eq!(k_major.place(0, 7), 1024 + 14);
        assert_eq!(k_major.place(3, 0), 1024 + 48);
        assert_eq!(k_major.place(0, 8), 1024 + 128);
        assert_eq!(k_major.place(17, 9), 1024 + 2 * 256 + 16 + 128 + 2);
        let mn_major = matrix(128, 256, 0, true);
        assert_eq!(mn_major.place(7, 0), 1024 + 14);
        assert_eq!(mn_major.place(0, 3), 1024 + 48);
        assert_eq!(mn_major.place(8, 0), 1024 + 256);
        assert_eq!(mn_major.place(0, 8), 1024 + 128);
    }

    #[test]
    fn lines_of_a_swizzle() {
        // Row 1 of lines of 128 bytes: its chunks of 16 bytes are exchanged in pairs.
        let wide = matrix(16, 1024, 1, false);
        assert_eq!(wide.place(1, 0), 1024 + 128 + 16);
        assert_eq!(wide.place(1, 8), 1024 + 128);
        assert_eq!(wide.place(9, 0), 1024 + 1024 + 128 + 16);
        // Four rows of 32 bytes are a line of 128, and change together.
        let narrow = matrix(16, 256, 3, false);
        assert_eq!(narrow.place(1, 0), 1024 + 32);
        assert_eq!(narrow.place(4, 0), 1024 + 128 + 16);
        let columns = matrix(4096, 1024, 1, true);
        assert_eq!(columns.place(0, 1), 1024 + 128 + 16);
        assert_eq!(columns.place(64, 0), 1024 + 4096);
        assert_eq!(columns.place(0, 8), 1024 + 1024);
    }

    #[test]
    fn bits_between_fields_are_refused() {
        let beyond = (256 << 10) >> 4;
        let error = SharedMatrix::new(beyond, false, 2).unwrap_err();
        assert!(error.contains("between its fields, 0x4000"), "{error}");
    }

    #[test]
    fn a_base_offset_is_refused() {
        assert!(SharedMatrix::new(1 << 49, false, 2).is_err());
    }
}
