//! Tensor maps: how a tensor lies in global memory, and how boxes of it lie in shared memory.
//!
//! What `cuTensorMapEncodeTiled` takes, checked as the driver documents it (CUDA Driver API, "Tensor Map Object Management").
//! How the driver arranges the 128 bytes that it makes is not public; `encoding.rs` has this machine's own way.

mod encoding;

pub use encoding::TENSOR_MAP_BYTES;
pub(crate) use encoding::{Field, MapBytes, REPLACED, replace};

/// What a tensor is made of (`CUtensorMapDataType`). Those that convert while they copy, `…_FTZ` and `TFLOAT32`, are not
/// modelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are CUDA's")]
pub enum TensorElement {
    U8,
    U16,
    U32,
    S32,
    U64,
    S64,
    F16,
    Bf16,
    F32,
    F64,
    /// 4 bits, packed in both memories.
    U4Align8,
    /// 4 bits, packed in global memory; in shared memory 8 bytes are left free behind each 16 numbers.
    U4Align16,
    /// 6 bits, packed in global memory; in shared memory 4 bytes are left free behind each 16 numbers.
    U6Align16,
}

impl TensorElement {
    /// Bits of a number in global memory.
    pub const fn bits(self) -> u64 {
        match self {
            Self::U4Align8 | Self::U4Align16 => 4,
            Self::U6Align16 => 6,
            Self::U8 => 8,
            Self::U16 | Self::F16 | Self::Bf16 => 16,
            Self::U32 | Self::S32 | Self::F32 => 32,
            Self::U64 | Self::S64 | Self::F64 => 64,
        }
    }

    /// Bits of a number in shared memory, with what is left free.
    pub const fn shared_bits(self) -> u64 {
        if self.has_gaps() { 8 } else { self.bits() }
    }

    /// Whether parts of shared memory are left free.
    pub const fn has_gaps(self) -> bool {
        matches!(self, Self::U4Align16 | Self::U6Align16)
    }

    const fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::Bf16 | Self::F32 | Self::F64)
    }
}

/// How 16 bytes of shared memory change places (`CUtensorMapSwizzle`): bits of their address are added, without carry, to
/// lower ones. The order of those within 32 and 64 bytes is kept by the modes of larger atoms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swizzle {
    /// None.
    None,
    /// Within 32 bytes.
    B32,
    /// Within 64 bytes.
    B64,
    /// Within 128 bytes.
    B128,
    /// Within 128 bytes, 32 bytes together.
    B128Atom32,
    /// The same, and halves of 16 bytes are exchanged in every other line of 128.
    B128Atom32Flip8,
    /// Within 128 bytes, 64 bytes together.
    B128Atom64,
}

impl Swizzle {
    /// All of them, in the order of `CUtensorMapSwizzle`.
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::B32,
        Self::B64,
        Self::B128,
        Self::B128Atom32,
        Self::B128Atom32Flip8,
        Self::B128Atom64,
    ];

    /// Bytes that change places among each other; none without a swizzle.
    pub const fn span(self) -> Option<u64> {
        Some(match self {
            Self::None => return None,
            Self::B32 => 32,
            Self::B64 => 64,
            _ => 128,
        })
    }

    /// Where a byte of a place in shared memory really lies.
    pub const fn apply(self, place: u64) -> u64 {
        let line = place >> 7;
        place
            ^ match self {
                Self::None => 0,
                Self::B32 => (line & 1) << 4,
                Self::B64 => (line & 3) << 4,
                Self::B128 => (line & 7) << 4,
                Self::B128Atom32 => (line & 3) << 5,
                Self::B128Atom32Flip8 => (line & 3) << 5 | (line & 1) << 3,
                Self::B128Atom64 => (line & 1) << 6,
            }
    }

    /// Bytes that stay together.
    pub(crate) const fn atom(self) -> u64 {
        match self {
            Self::B128Atom32Flip8 => 8,
            _ => 16,
        }
    }
}

/// What stands for numbers outside of the tensor (`CUtensorMapFloatOOBfill`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Zeros.
    Zero,
    /// A NaN. Which one is not documented; here all bits but the sign are ones.
    Nan,
}

/// How a tensor lies in global memory, and boxes of it in shared memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorMap {
    /// What it is made of.
    pub element: TensorElement,
    /// Its first number's.
    pub address: u64,
    /// In numbers, the innermost first.
    pub dimensions: Vec<u64>,
    /// In bytes, from the second dimension on.
    pub strides: Vec<u64>,
    /// In numbers.
    pub box_dimensions: Vec<u32>,
    /// How a box lies in shared memory.
    pub swizzle: Swizzle,
    /// What stands for numbers that are not there.
    pub fill: Fill,
}

/// A tensor map that the driver would refuse, or that is not modelled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: expected {expected}, found {found}")]
pub struct TensorMapError {
    /// What is wrong.
    pub what: &'static str,
    /// What could be.
    pub expected: String,
    /// What is.
    pub found: String,
}

impl TensorMap {
    /// Bytes of a box in shared memory, those left free among them.
    pub fn box_bytes(&self) -> u64 {
        let numbers: u64 = self.box_dimensions.iter().map(|&n| u64::from(n)).product();
        numbers * self.element.shared_bits() / 8
    }

    fn check(&self) -> Result<(), TensorMapError> {
        let rank = self.dimensions.len();
        let alignment: u64 = if self.element.has_gaps() { 32 } else { 16 };
        expect("the rank", "1 to 5", rank, (1..=5).contains(&rank))?;
        let lengths = (self.strides.len() + 1, self.box_dimensions.len());
        expect(
            "the numbers of strides and of the box's lengths",
            format!("{} and {rank}", rank - 1),
            format!("{} and {}", lengths.0 - 1, lengths.1),
            lengths == (rank, rank),
        )?;
        expect(
            "the address",
            format!("a multiple of {alignment}"),
            format!("{:#x}", self.address),
            self.address.is_multiple_of(alignment),
        )?;
        for &dimension in &self.dimensions {
            let is_length = dimension != 0 && dimension <= 1 << 32;
            expect("a dimension", "1 to 2^32", dimension, is_length)?;
        }
        for &stride in &self.strides {
            let is_stride = stride.is_multiple_of(alignment) && stride < 1 << 40;
            expect(
                "a stride",
                format!("a multiple of {alignment} below 2^40"),
                stride,
                is_stride,
            )?;
        }
        for &length in &self.box_dimensions {
            expect(
                "a length of the box",
                "1 to 256",
                length,
                (1..=256).contains(&length),
            )?;
        }
        self.check_innermost()
    }

    /// What the innermost dimension must be for its type and swizzle.
    fn check_innermost(&self) -> Result<(), TensorMapError> {
        let (dimension, length) = (self.dimensions[0], u64::from(self.box_dimensions[0]));
        let bits = self.element.shared_bits();
        let row = length * bits / 8;
        expect(
            "bytes of the box's innermost dimension",
            "a multiple of 16",
            row,
            (length * bits).is_multiple_of(128),
        )?;
        if let Some(span) = self.swizzle.span() {
            // The driver takes less; how it lies in memory then is not documented.
            expect(
                "bytes of the box's innermost dimension",
                span.to_string(),
                row,
                row == span,
            )?;
        }
        if self.fill == Fill::Nan {
            expect(
                "the type of a tensor that is filled with NaN",
                "a floating-point type",
                format!("{:?}", self.element),
                self.element.is_float(),
            )?;
        }
        if self.element == TensorElement::U4Align8 {
            let is_even = dimension.is_multiple_of(2);
            expect(
                "the innermost dimension",
                "an even number",
                dimension,
                is_even,
            )?;
        }
        if self.element.has_gaps() {
            let is_whole = dimension.is_multiple_of(128);
            expect(
                "the innermost dimension",
                "a multiple of 128",
                dimension,
                is_whole,
            )?;
            expect(
                "the box's innermost dimension",
                "128",
                length,
                length == 128,
            )?;
            let swizzles = [Swizzle::None, Swizzle::B128, Swizzle::B128Atom32];
            expect(
                "the swizzle",
                format!("one of {swizzles:?}"),
                format!("{:?}", self.swizzle),
                swizzles.contains(&self.swizzle),
            )?;
        }
        Ok(())
    }
}

fn expect(
    what: &'static str,
    expected: impl Into<String>,
    found: impl ToString,
    holds: bool,
) -> Result<(), TensorMapError> {
    if holds {
        return Ok(());
    }
    Err(TensorMapError {
        what,
        expected: expected.into(),
        found: found.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map() -> TensorMap {
        TensorMap {
            element: TensorElement::F16,
            address: 0x7f00_0000_0100,
            dimensions: vec![100, 30],
            strides: vec![208],
            box_dimensions: vec![64, 8],
            swizzle: Swizzle::B128,
            fill: Fill::Nan,
        }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let map = map();
        assert_eq!(TensorMap::decode(&map.encode().unwrap()), Ok(map));
        let nothing = TensorMap::decode(&[0; TENSOR_MAP_BYTES]).unwrap_err();
        assert_eq!(
            nothing.to_string(),
            "the tensor map: expected one that was encoded here, found other bytes"
        );
    }

    #[test]
    fn what_the_driver_refuses() {
        let refused = |change: &dyn Fn(&mut TensorMap)| {
            let mut map = map();
            change(&mut map);
            map.encode().unwrap_err().to_string()
        };
        assert_eq!(
            refused(&|map| map.strides[0] = 200),
            "a stride: expected a multiple of 16 below 2^40, found 200"
        );
        assert!(refused(&|map| map.address += 8).starts_with("the address"));
        assert!(refused(&|map| map.box_dimensions[1] = 257).starts_with("a length of the box"));
        assert!(refused(&|map| map.box_dimensions[0] = 60).contains("a multiple of 16, found 120"));
        assert!(refused(&|map| map.box_dimensions[0] = 128).contains("expected 128, found 256"));
        assert!(refused(&|map| map.element = TensorElement::U16).contains("floating-point"));
        let four_bits = |map: &mut TensorMap| {
            map.fill = Fill::Zero;
            map.element = TensorElement::U4Align16;
            map.box_dimensions[0] = 128;
        };
        assert!(refused(&four_bits).starts_with("a stride"));
        let narrow = |map: &mut TensorMap| {
            four_bits(map);
            map.strides[0] = 256;
        };
        assert!(refused(&narrow).contains("a multiple of 128, found 100"));
    }

    #[test]
    fn swizzles_exchange_bytes_within_their_span() {
        // The line of 128 bytes and the chunk of 16 in it, and where that chunk goes.
        let chunk = |swizzle: Swizzle, line: u64, chunk: u64| {
            swizzle.apply(128 * line + 16 * chunk) % 128 / 16
        };
        for line in 0..16 {
            for own in 0..8 {
                assert_eq!(chunk(Swizzle::B128, line, own), own ^ (line % 8));
                assert_eq!(chunk(Swizzle::B64, line, own), own ^ (line % 4));
                assert_eq!(chunk(Swizzle::B32, line, own), own ^ (line % 2));
                assert_eq!(
                    chunk(Swizzle::B128Atom32, line, own) / 2,
                    (own / 2) ^ (line % 4)
                );
                assert_eq!(chunk(Swizzle::B128Atom32, line, own) % 2, own % 2);
                assert_eq!(
                    chunk(Swizzle::B128Atom64, line, own) / 4,
                    (own / 4) ^ (line % 2)
                );
            }
        }
        assert_eq!(Swizzle::B128Atom32Flip8.apply(128), 128 + 32 + 8);
        assert_eq!(Swizzle::B128Atom32Flip8.apply(256 + 8), 256 + 64 + 8);
    }
}
