//! What tensor cores compute: sums of products that are rounded once, as far as is known (PTX ISA 9.7.14 leaves it open).
//!
//! All terms are aligned to the largest exponent, cut off towards zero some bits below it, and added exactly; the sum is
//! rounded towards zero to f32. How many bits are kept was measured on hardware: M. Fasi et al., "Numerical behavior of
//! NVIDIA tensor cores", PeerJ CS 2021; P. Xie et al., "MMA-Sim", arXiv 2511.10909, whose widths these are. Products of
//! block-scaled FP4 are summed otherwise: [`block_scaled`](super::block_scaled).

mod lines;
mod terms;

pub use lines::{COLUMNS, Columns, Lines};
pub(super) use terms::toward_zero;

use super::{Float, Rounding};

/// How terms are added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accumulation {
    /// Bits kept below the largest exponent.
    pub fraction: u32,
    /// Bits of the result's fraction: 23, or 13 where FP8 is added in hardware before Blackwell.
    pub result: u32,
    /// Whether the sum is of halves, one behind the other: hardware whose dot products are half as long.
    pub halves: bool,
}

impl Accumulation {
    /// Of `mma.sync` and `wgmma` on an architecture, `sm_90` being 90.
    pub const fn of(architecture: u32, is_fp8: bool, warpgroup: bool) -> Self {
        let fp8_is_short = is_fp8 && (architecture == 89 || (warpgroup && architecture == 90));
        let fraction = match architecture {
            _ if fp8_is_short => 13,
            0..75 => 23,
            75..90 => 24,
            _ => 25,
        };
        Self {
            fraction,
            result: if fp8_is_short { 13 } else { 23 },
            halves: matches!(architecture, 80..90),
        }
    }
}

/// A number as tensor cores take it apart: significand · 2^(exponent − 23), the significand of a normal number in [2^23, 2^24).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parts {
    significand: i64,
    exponent: i32,
}

/// Takes a number of a format apart, whose smallest normal exponent is `smallest`.
fn parts(value: f64, smallest: i32) -> Parts {
    let own = exponent(value, smallest);
    Parts {
        significand: (value * 2f64.powi(23 - own)) as i64,
        exponent: own,
    }
}

/// The exponent that a number of such a format has: that of zero is the smallest of f32.
fn exponent(value: f64, smallest: i32) -> i32 {
    if value == 0.0 {
        return -126;
    }
    ((value.abs().to_bits() >> 52) as i32 - 1023).max(smallest)
}

/// An operand's value and its format's smallest normal exponent.
pub type Operand = (f64, i32);

/// The dot product of two rows plus `c`, of f32; f16 with `half`.
pub fn fused(
    pairs: &[(Operand, Operand)],
    c: f64,
    scale: i32,
    how: Accumulation,
    half: bool,
) -> u64 {
    let result = if half { Float::F16 } else { Float::F32 };
    if how.halves && pairs.len() > 1 {
        let (first, second) = pairs.split_at(pairs.len() / 2);
        let whole = Accumulation {
            halves: false,
            ..how
        };
        let middle = result.value(fused(first, c, scale, whole, half));
        return fused(second, middle, scale, whole, half);
    }
    if let Some(special) = special(pairs, c, result) {
        return special;
    }
    // Products have 46 bits of fraction, and so has c.
    let smallest = if half { -14 } else { -126 };
    let own = parts(c, smallest);
    let mut terms = vec![(own.significand << 23, own.exponent)];
    for &((a, a_smallest), (b, b_smallest)) in pairs {
        let (a, b) = (parts(a, a_smallest), parts(b, b_smallest));
        terms.push((
            a.significand * b.significand,
            a.exponent + b.exponent + scale,
        ));
    }
    let (sum, exponent) = truncated_sum(&terms, 46, how.fraction);
    round(
        sum as f64 * 2f64.powi(exponent - how.fraction as i32),
        how.result,
        half,
    )
}

/// A sum that is not finite: NaN, or an infinity.
fn special(pairs: &[(Operand, Operand)], c: f64, result: Float) -> Option<u64> {
    let products = pairs.iter().map(|&((a, _), (b, _))| a * b);
    let sum: f64 = products.chain([c]).filter(|term| !term.is_finite()).sum();
    if sum == 0.0 {
        return None;
    }
    Some(if sum.is_nan() {
        result.nan()
    } else {
        result.round(sum, Rounding::NearestEven)
    })
}

/// Terms (significand · 2^(exponent − bits)) aligned to the largest exponent, cut off, added; and that exponent.
fn truncated_sum(terms: &[(i64, i32)], bits: u32, fraction: u32) -> (i64, i32) {
    let largest = terms
        .iter()
        .map(|&(_, exponent)| exponent)
        .max()
        .unwrap_or(0);
    let sum = terms.iter().map(|&(significand, exponent)| {
        let dropped = (bits as i32 - fraction as i32) + (largest - exponent);
        // Towards zero: the magnitude is shifted.
        let magnitude = significand
            .unsigned_abs()
            .checked_shr(dropped.max(0) as u32)
            .unwrap_or(0) as i64;
        let magnitude = if dropped < 0 {
            magnitude << -dropped
        } else {
            magnitude
        };
        if significand < 0 {
            -magnitude
        } else {
            magnitude
        }
    });
    (sum.sum(), largest)
}

/// Towards zero to so many bits of fraction; of f16 to the nearest.
pub(super) fn round(value: f64, fraction: u32, half: bool) -> u64 {
    if half {
        return Float::F16.round(value, Rounding::NearestEven);
    }
    if value.abs() >= 2f64.powi(128) {
        return Float::F32.round(value * f64::INFINITY, Rounding::NearestEven);
    }
    let nearest = value as f32;
    let is_beyond = f64::from(nearest).abs() > value.abs();
    let bits = u64::from(nearest.to_bits() - u32::from(is_beyond));
    bits & !((1 << (23 - fraction)) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOPPER: Accumulation = Accumulation::of(90, false, false);

    fn f32s(bits: u64) -> f32 {
        f32::from_bits(bits as u32)
    }

    #[test]
    fn small_integers_are_summed_exactly() {
        let pairs: Vec<_> = (1..=16)
            .map(|i| ((f64::from(i), -14), (f64::from(i % 5) - 2.0, -14)))
            .collect();
        let expected: i32 = (1..=16).map(|i| i * (i % 5 - 2)).sum();
        assert_eq!(
            f32s(fused(&pairs, 7.0, 0, HOPPER, false)),
            (expected + 7) as f32
        );
    }

    #[test]
    fn numbers_are_cut_off_towards_zero() {
        for value in [
            1.0 + 2f64.powi(-25),
            -1.0 - 2f64.powi(-24) * 1.5,
            3.0e-42,
            -2f64.powi(-150),
            3.402_823_55e38,
            -3.402_823_6e38,
            0.0,
        ] {
            assert_eq!(
                round(value, 23, false),
                Float::F32.round(value, Rounding::TowardZero),
                "{value:e}"
            );
        }
    }

    #[test]
    fn what_lies_below_the_kept_bits_is_cut_off() {
        // 2^12 + 2^-13 is 25 binary places apart: kept on Hopper, cut off on Ampere.
        let pairs = [
            ((2f64.powi(12), -14), (1.0, -14)),
            ((2f64.powi(-13), -14), (1.0, -14)),
            ((-2f64.powi(12), -14), (1.0, -14)),
        ];
        let ampere = Accumulation {
            halves: false,
            ..Accumulation::of(80, false, false)
        };
        assert_eq!(f32s(fused(&pairs, 0.0, 0, HOPPER, false)), 2f32.powi(-13));
        assert_eq!(f32s(fused(&pairs, 0.0, 0, ampere, false)), 0.0);
    }

    #[test]
    fn sums_are_rounded_towards_zero() {
        let pairs = [
            ((1.0, -14), (1.0, -14)),
            ((1.0, -14), (2f64.powi(-24), -24)),
        ];
        assert_eq!(f32s(fused(&pairs, 0.0, 0, HOPPER, false)), 1.0);
        assert_eq!(
            f32s(fused(&pairs, -3.0, 0, HOPPER, false)),
            2f32.powi(-23) - 2.0
        );
    }

    #[test]
    fn infinities_and_nan() {
        let one = ((1.0, -14), (1.0, -14));
        let infinite = ((f64::INFINITY, -14), (-1.0, -14));
        assert_eq!(
            f32s(fused(&[one, infinite], 0.0, 0, HOPPER, false)),
            f32::NEG_INFINITY
        );
        assert_eq!(
            fused(&[one, infinite], f64::INFINITY, 0, HOPPER, false),
            0x7fff_ffff
        );
        assert_eq!(
            fused(&[((f64::INFINITY, -14), (0.0, -14))], 0.0, 0, HOPPER, true),
            0x7fff
        );
    }
}
