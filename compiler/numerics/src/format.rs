//! Low-precision formats: how a scaled tensor stores its elements and the scales of its blocks.
//!
//! The block formats are those of the OCP Microscaling Formats specification 1.0 (mx…) and NVIDIA's NVFP4.

use std::fmt;
use std::str::FromStr;

/// How one element of a scaled tensor is encoded. Named for its exponent and mantissa bits; each has a sign bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ElementFormat {
    /// 4 bits: 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives.
    E2m1,
    /// 6 bits, largest 7.5.
    E2m3,
    /// 6 bits, largest 28.
    E3m2,
    /// 8 bits without infinities, largest 448 (OCP's E4M3, also called E4M3FN).
    E4m3,
    /// 8 bits with infinities, largest finite 57344.
    E5m2,
}

/// How the scale of a block is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScaleFormat {
    /// A non-negative [`ElementFormat::E4m3`] number.
    E4m3,
    /// A power of two, 2^(code − 127); code 255 is NaN.
    E8m0,
}

/// How a scaled tensor stores numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// E2M1 elements, an E4M3 scale per 16, an f32 scale per tensor.
    Nvfp4,
    /// E2M1 elements, an E8M0 scale per 32.
    Mxfp4,
    /// E2M3 elements, an E8M0 scale per 32.
    Mxfp6E2m3,
    /// E3M2 elements, an E8M0 scale per 32.
    Mxfp6E3m2,
    /// E4M3 elements, an E8M0 scale per 32.
    Mxfp8E4m3,
    /// E5M2 elements, an E8M0 scale per 32.
    Mxfp8E5m2,
    /// E4M3 elements, an f32 scale per tensor.
    Fp8E4m3,
    /// E5M2 elements, an f32 scale per tensor.
    Fp8E5m2,
}

impl ElementFormat {
    /// Bits of a code.
    pub const fn bits(self) -> usize {
        match self {
            Self::E2m1 => 4,
            Self::E2m3 | Self::E3m2 => 6,
            Self::E4m3 | Self::E5m2 => 8,
        }
    }

    /// Elements that share one byte of memory: two codes of four bits, the first in the low nibble. Codes of six bits
    /// take a byte each, as the matrix units read them; its two upper bits are 0.
    pub const fn elements_per_byte(self) -> usize {
        match self {
            Self::E2m1 => 2,
            Self::E2m3 | Self::E3m2 | Self::E4m3 | Self::E5m2 => 1,
        }
    }
}

impl Format {
    /// Every format, in the order of its declaration.
    pub const ALL: [Self; 8] = [
        Self::Nvfp4,
        Self::Mxfp4,
        Self::Mxfp6E2m3,
        Self::Mxfp6E3m2,
        Self::Mxfp8E4m3,
        Self::Mxfp8E5m2,
        Self::Fp8E4m3,
        Self::Fp8E5m2,
    ];

    /// The format's word in types, recipes and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nvfp4 => "nvfp4",
            Self::Mxfp4 => "mxfp4",
            Self::Mxfp6E2m3 => "mxfp6_e2m3",
            Self::Mxfp6E3m2 => "mxfp6_e3m2",
            Self::Mxfp8E4m3 => "mxfp8_e4m3",
            Self::Mxfp8E5m2 => "mxfp8_e5m2",
            Self::Fp8E4m3 => "fp8_e4m3",
            Self::Fp8E5m2 => "fp8_e5m2",
        }
    }

    /// How an element is encoded.
    pub const fn element(self) -> ElementFormat {
        match self {
            Self::Nvfp4 | Self::Mxfp4 => ElementFormat::E2m1,
            Self::Mxfp6E2m3 => ElementFormat::E2m3,
            Self::Mxfp6E3m2 => ElementFormat::E3m2,
            Self::Mxfp8E4m3 | Self::Fp8E4m3 => ElementFormat::E4m3,
            Self::Mxfp8E5m2 | Self::Fp8E5m2 => ElementFormat::E5m2,
        }
    }

    /// How many elements along the axis share a block scale, and how that is encoded; `None` for formats scaled per
    /// tensor alone.
    pub const fn block(self) -> Option<(usize, ScaleFormat)> {
        match self {
            Self::Nvfp4 => Some((16, ScaleFormat::E4m3)),
            Self::Mxfp4 | Self::Mxfp6E2m3 | Self::Mxfp6E3m2 | Self::Mxfp8E4m3 | Self::Mxfp8E5m2 => {
                Some((32, ScaleFormat::E8m0))
            }
            Self::Fp8E4m3 | Self::Fp8E5m2 => None,
        }
    }

    /// Whether there is an f32 scale for the whole tensor, made from the largest magnitude in it.
    pub const fn has_tensor_scale(self) -> bool {
        matches!(self, Self::Nvfp4 | Self::Fp8E4m3 | Self::Fp8E5m2)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = ();

    /// Reads [`Format::name`].
    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL
            .into_iter()
            .find(|format| format.name() == name)
            .ok_or(())
    }
}
