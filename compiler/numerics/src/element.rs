//! Element types: the names and sizes of the numbers a tensor can hold.

use std::fmt;
use std::str::FromStr;

/// The type of one tensor element, spelt as MLIR and StableHLO spell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ElementType {
    /// Boolean; one byte in memory, 0 or 1.
    I1,
    /// Signed 8-bit integer.
    I8,
    /// Signed 16-bit integer.
    I16,
    /// Signed 32-bit integer.
    I32,
    /// Signed 64-bit integer.
    I64,
    /// Unsigned 8-bit integer.
    Ui8,
    /// Unsigned 16-bit integer.
    Ui16,
    /// Unsigned 32-bit integer.
    Ui32,
    /// Unsigned 64-bit integer.
    Ui64,
    /// IEEE 754 binary16.
    F16,
    /// The upper half of an IEEE 754 binary32.
    Bf16,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
}

impl ElementType {
    /// Every element type, in the order of its declaration.
    pub const ALL: [ElementType; 13] = [
        Self::I1,
        Self::I8,
        Self::I16,
        Self::I32,
        Self::I64,
        Self::Ui8,
        Self::Ui16,
        Self::Ui32,
        Self::Ui64,
        Self::F16,
        Self::Bf16,
        Self::F32,
        Self::F64,
    ];

    /// MLIR's spelling: `f32`, `ui8`, `i1`, ….
    pub const fn name(self) -> &'static str {
        match self {
            Self::I1 => "i1",
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::Ui8 => "ui8",
            Self::Ui16 => "ui16",
            Self::Ui32 => "ui32",
            Self::Ui64 => "ui64",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }

    /// Bytes one element takes in memory.
    pub const fn size(self) -> usize {
        match self {
            Self::I1 | Self::I8 | Self::Ui8 => 1,
            Self::I16 | Self::Ui16 | Self::F16 | Self::Bf16 => 2,
            Self::I32 | Self::Ui32 | Self::F32 => 4,
            Self::I64 | Self::Ui64 | Self::F64 => 8,
        }
    }

    /// Bits of the value: 1 for a boolean, otherwise eight times [`size`](Self::size).
    pub const fn bits(self) -> usize {
        match self {
            Self::I1 => 1,
            _ => 8 * self.size(),
        }
    }

    /// Whether this is a floating-point type.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::Bf16 | Self::F32 | Self::F64)
    }

    /// Whether this is a signed integer type. Booleans are neither signed nor unsigned.
    pub const fn is_signed_integer(self) -> bool {
        matches!(self, Self::I8 | Self::I16 | Self::I32 | Self::I64)
    }

    /// Whether this is an unsigned integer type. Booleans are neither signed nor unsigned.
    pub const fn is_unsigned_integer(self) -> bool {
        matches!(self, Self::Ui8 | Self::Ui16 | Self::Ui32 | Self::Ui64)
    }

    /// Whether this is a signed or unsigned integer type.
    pub const fn is_integer(self) -> bool {
        self.is_signed_integer() || self.is_unsigned_integer()
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ElementType {
    type Err = ();

    /// Reads MLIR's spelling. Anything else, `index` and `f8E4M3FN` among it, is an error.
    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL
            .into_iter()
            .find(|element| element.name() == name)
            .ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for element in ElementType::ALL {
            assert_eq!(element.name().parse(), Ok(element));
        }
        assert_eq!("index".parse::<ElementType>(), Err(()));
    }

    #[test]
    fn classes_are_disjoint_and_complete() {
        for element in ElementType::ALL {
            let classes = [
                element == ElementType::I1,
                element.is_float(),
                element.is_signed_integer(),
                element.is_unsigned_integer(),
            ];
            assert_eq!(classes.iter().filter(|&&c| c).count(), 1, "{element}");
        }
    }
}
