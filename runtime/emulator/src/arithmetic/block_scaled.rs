//! Block-scaled products of E2M1: `mxf4` and `mxf4nvf4` of `mma.sync` and `tcgen05.mma`.
//!
//! The PTX ISA leaves the accumulation open. What is computed here is the exact sum of all scaled products and C, rounded once
//! towards zero to f32. Beside it stand the two models of hardware that are published, each of which cuts some terms off
//! before they are added:
//!
//! * MMA-Sim (P. Xie et al., arXiv 2511.10909): the exact sum of sixteen products with its scales' significands is a term
//!   whose exponent is that of the scales. C and the terms are cut off 35 bits below the largest exponent.
//! * tcgen05-model (github.com/sf-tensor/tcgen05, fitted to words measured on a B200): products are summed exactly by fours,
//!   with E8M0 scales by sixteens, and cut off 39 bits below the largest product or C, or 35 bits below the largest scales;
//!   where C has the largest exponent, sums of sixteen are cut off 35 bits below it.
//!
//! All three agree on every sum of numbers that were quantised together; where they do not the number is *model-dependent*.

mod columns;
mod models;
mod scale;

use super::exact::Exact;
use super::{Float, Rounding};
use tessera_numerics::ScaleFormat;

pub use columns::{Columns, Lines};
pub use scale::{Pair, Scale};

/// Products that one term of a model is the sum of.
const GROUP: usize = 16;

/// One number of D.
#[derive(Clone, Copy, Debug)]
pub struct Dot<'d> {
    /// The codes of a row of A and of a column of B.
    pub a: &'d [u8],
    pub b: &'d [u8],
    /// Of each block along k the scale of A times that of B; none is NaN.
    pub scales: &'d [Option<Pair>],
    /// Of the scales.
    pub format: ScaleFormat,
    /// The bits of C, an f32.
    pub c: u32,
}

/// A sum, and whether all models give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sum {
    pub bits: u32,
    pub is_decided: bool,
}

/// The exponent of the smallest normal f32.
const SMALLEST: i32 = -126;
const NAN: u32 = 0x7fff_ffff;

/// Twice the number of a code of E2M1.
const HALVES: [i64; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];
/// The exponent that a code of E2M1 has, subnormal numbers that of the smallest normal one.
const EXPONENTS: [i32; 16] = [0, 0, 0, 0, 1, 1, 2, 2, 0, 0, 0, 0, 1, 1, 2, 2];

impl Dot<'_> {
    /// The sum, and whether all models give it.
    pub fn sum(&self) -> Sum {
        if let Some(bits) = self.special() {
            return Sum {
                bits,
                is_decided: true,
            };
        }
        if let Some(sum) = self.narrow() {
            return sum;
        }
        let bits = self.exact();
        Sum {
            bits,
            is_decided: bits == self.mma_sim() && bits == self.tcgen05_model(),
        }
    }

    /// NaN, or C where it is infinite: products are finite.
    fn special(&self) -> Option<u32> {
        let c = f32::from_bits(self.c);
        if c.is_nan() || self.scales.contains(&None) {
            return Some(NAN);
        }
        c.is_infinite().then_some(self.c)
    }

    fn products(&self) -> impl Iterator<Item = i64> {
        let codes = self.a.iter().zip(self.b);
        codes.map(|(&a, &b)| HALVES[usize::from(a & 15)] * HALVES[usize::from(b & 15)])
    }

    /// The sums of so many products each, as quarters, and the scales that they have.
    fn groups(&self, size: usize) -> impl Iterator<Item = (i64, Pair)> {
        let block = (self.a.len() / self.scales.len().max(1)).max(1);
        let codes = self.a.chunks(size).zip(self.b.chunks(size));
        codes.enumerate().filter_map(move |(group, (a, b))| {
            let pair = *self.scales.get(group * size / block)?;
            let part = Dot { a, b, ..*self };
            Some((part.products().sum(), pair?))
        })
    }

    /// C as significand · 2^exponent, and the exponent that it is encoded with.
    fn addend(&self) -> (i128, i32, i32) {
        let fraction = i128::from(self.c & 0x007f_ffff);
        let code = (self.c >> 23 & 0xff) as i32;
        let magnitude = if code == 0 {
            fraction
        } else {
            fraction | 1 << 23
        };
        let exponent = code.max(1) - 127;
        let sign = if self.c >> 31 == 1 { -1 } else { 1 };
        (sign * magnitude, exponent - 23, exponent)
    }

    /// The sum where all terms lie so near to each other that no model cuts anything off.
    fn narrow(&self) -> Option<Sum> {
        let (c, c_lowest, c_exponent) = self.addend();
        let mut largest = c_exponent.max(SMALLEST);
        let mut lowest = if c == 0 { largest } else { c_lowest };
        let mut is_empty = true;
        let groups: Vec<(i64, Pair)> = self.groups(GROUP).collect();
        for &(_, pair) in &groups {
            largest = largest.max(pair.exponent);
            if !pair.is_zero {
                lowest = lowest.min(pair.lowest());
            }
        }
        if largest - lowest > columns::NARROW {
            return None;
        }
        let mut sum = c << (if c == 0 { 0 } else { c_lowest - lowest });
        for (quarters, pair) in groups {
            let term = i128::from(quarters * pair.significand);
            is_empty &= term == 0;
            if !pair.is_zero {
                sum += term << (pair.lowest() - lowest);
            }
        }
        let bits = toward_zero(sum, lowest);
        // Without a product one model gives C, a negative zero among others.
        let is_decided = !(is_empty && self.c == 1 << 31);
        Some(Sum { bits, is_decided })
    }

    /// All terms added without rounding.
    fn exact(&self) -> u32 {
        let mut sum = Exact::default();
        sum.add(f64::from(f32::from_bits(self.c)));
        for (quarters, pair) in self.groups(GROUP) {
            let scale = pair.significand as f64 * 2f64.powi(pair.lowest());
            sum.add(quarters as f64 * scale);
        }
        canonical(sum.toward_zero() as u32)
    }
}

/// A number significand · 2^exponent in units of 2^quantum, cut off towards zero.
fn cut_off(significand: i128, exponent: i32, quantum: i32) -> i128 {
    let shift = exponent - quantum;
    // A zero may have any exponent.
    if significand == 0 {
        return 0;
    }
    if shift >= 0 {
        return significand << shift;
    }
    let magnitude = significand
        .unsigned_abs()
        .checked_shr(shift.unsigned_abs())
        .unwrap_or(0) as i128;
    magnitude * significand.signum()
}

/// The f32 next to units · 2^quantum on zero's side.
fn toward_zero(units: i128, quantum: i32) -> u32 {
    let magnitude = units.unsigned_abs();
    // What f64 has no room for only says on which side of a number of f32 the sum lies.
    let spare = 128 - magnitude.leading_zeros() as i32 - 53;
    let (kept, exponent) = if spare > 0 {
        ((magnitude >> spare) as f64, quantum + spare)
    } else {
        (magnitude as f64, quantum)
    };
    let value = kept * 2f64.powi(exponent);
    let value = if units < 0 { -value } else { value };
    canonical(round(value))
}

fn round(value: f64) -> u32 {
    if value.abs() >= 2f64.powi(128) {
        return Float::F32.round(value * f64::INFINITY, Rounding::NearestEven) as u32;
    }
    Float::F32.round(value, Rounding::TowardZero) as u32
}

/// A sum that is zero is positive.
fn canonical(bits: u32) -> u32 {
    if bits == 1 << 31 { 0 } else { bits }
}

#[cfg(test)]
mod tests;
