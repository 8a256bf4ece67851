//! Chips' own conversions to the elements of low-precision formats: two numbers by one instruction.
//!
//! `cvt.rn.satfinite` rounds to nearest even, takes what is beyond the largest number for that, and NaN for the format's,
//! or for the largest number where it has none (PTX ISA, "cvt"): what [`low_precision::encode`] does in some twenty
//! operations a number. E5M2 is left to that: its NaN is 0x7E there, of `cvt` 0x7F (`cuda_fp8.hpp`).
//!
//! [`low_precision::encode`]: crate::mlir::low_precision::encode

use super::inline::Ptx;
use super::{Feature, GpuTarget};
use crate::mlir::{Builder, Value};
use tessera_numerics::ElementFormat;

/// A conversion of two numbers.
#[derive(Clone, Copy)]
pub struct Conversion {
    text: &'static str,
    /// How far apart the two codes are.
    bits: i64,
}

impl Conversion {
    /// That to a format's elements, where the target has one.
    pub fn of(format: ElementFormat, target: GpuTarget) -> Option<Self> {
        let (feature, text, bits) = match format {
            ElementFormat::E2m1 => (
                Feature::ConvertToE2m1,
                "{ .reg .b8 c; cvt.rn.satfinite.e2m1x2.f32 c, $2, $1; cvt.u32.u8 $0, c; }",
                4,
            ),
            ElementFormat::E2m3 => (
                Feature::ConvertToE2m1,
                "{ .reg .b16 c; cvt.rn.satfinite.e2m3x2.f32 c, $2, $1; cvt.u32.u16 $0, c; }",
                8,
            ),
            ElementFormat::E3m2 => (
                Feature::ConvertToE2m1,
                "{ .reg .b16 c; cvt.rn.satfinite.e3m2x2.f32 c, $2, $1; cvt.u32.u16 $0, c; }",
                8,
            ),
            ElementFormat::E4m3 => (
                Feature::ConvertToFp8,
                "{ .reg .b16 c; cvt.rn.satfinite.e4m3x2.f32 c, $2, $1; cvt.u32.u16 $0, c; }",
                8,
            ),
            ElementFormat::E5m2 => return None,
        };
        target.has(feature).then_some(Self { text, bits })
    }

    /// The codes of numbers, an `i32` each.
    pub fn codes<'c>(self, b: &Builder<'c>, values: &[Value<'c>]) -> Vec<Value<'c>> {
        let number = |n: i64| b.constant_integer(b.integer(32), n);
        let pair = |pair: &[Value<'c>]| {
            let (first, second) = (pair[0], pair[pair.len() - 1]);
            let both = Ptx::new(self.text).word(b, &[first, second]);
            let low = b.binary("arith.andi", both, number((1 << self.bits) - 1));
            let high = b.binary("arith.shrui", both, number(self.bits));
            [low, high].into_iter().take(pair.len()).collect::<Vec<_>>()
        };
        values.chunks(2).flat_map(pair).collect()
    }
}
