//! Scales of blocks, and the products of two.

use super::SMALLEST;
use crate::arithmetic::ring::Ring;
use tessera_numerics::ScaleFormat;

/// A scale as hardware takes it apart: significand · 2^(exponent − 3), the exponent that of the smallest normal number for
/// numbers below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    pub(super) significand: i64,
    pub(super) exponent: i32,
    format: ScaleFormat,
    code: u8,
}

impl Scale {
    /// The scale of a code, whose sign is not looked at; none is NaN.
    pub fn new(format: ScaleFormat, code: u8) -> Option<Self> {
        let (significand, exponent) = match (format, code) {
            (ScaleFormat::E8m0, 0xff) => return None,
            (ScaleFormat::E8m0, _) => (8, i32::from(code) - 127),
            (ScaleFormat::E4m3, _) => match code & 0x7f {
                0x7f => return None,
                low @ 0..8 => (low, -6),
                normal => (8 | normal & 7, i32::from(normal >> 3) - 7),
            },
        };
        Some(Self {
            significand: i64::from(significand),
            exponent,
            format,
            code: match format {
                ScaleFormat::E8m0 => code,
                ScaleFormat::E4m3 => code & 0x7f,
            },
        })
    }

    /// The number that it is.
    pub(super) fn value(self) -> f64 {
        self.significand as f64 * 2f64.powi(self.exponent - 3)
    }

    /// The product of two scales.
    pub fn times(self, other: Self) -> Pair {
        Pair {
            significand: self.significand * other.significand,
            exponent: self.exponent + other.exponent,
            is_zero: self.significand == 0 || other.significand == 0,
            parts: [self, other],
        }
    }
}

/// The product of two scales: significand · 2^(exponent − 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    pub(super) significand: i64,
    pub(super) exponent: i32,
    pub(super) is_zero: bool,
    pub(super) parts: [Scale; 2],
}

impl Pair {
    /// The product in the ring mode.
    pub fn payload(self) -> i64 {
        let [a, b] = self
            .parts
            .map(|scale| Ring::of_scale(scale.format, scale.code));
        a.wrapping_mul(b)
    }

    /// The exponent, which is all there is of powers of two.
    pub fn exponent(self) -> i32 {
        self.exponent
    }

    /// The exponent of the lowest bit of sums of products, which are multiples of a quarter.
    pub(super) fn lowest(self) -> i32 {
        self.exponent - 8
    }

    /// The sum of both exponents as MMA-Sim takes it: zero has that of the smallest normal f32.
    pub(super) fn exponent_of_zero_too(self) -> i32 {
        let own = |scale: Scale| {
            if scale.significand == 0 {
                SMALLEST
            } else {
                scale.exponent
            }
        };
        own(self.parts[0]) + own(self.parts[1])
    }
}
