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

use super::exact::Exact;
use super::ring::Ring;
use super::{Float, Rounding};
use tessera_numerics::ScaleFormat;

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

/// A scale as hardware takes it apart: significand · 2^(exponent − 3), the exponent that of the smallest normal number for
/// numbers below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    significand: i64,
    exponent: i32,
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
    significand: i64,
    exponent: i32,
    is_zero: bool,
    parts: [Scale; 2],
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
    fn lowest(self) -> i32 {
        self.exponent - 8
    }

    /// The sum of both exponents as MMA-Sim takes it: zero has that of the smallest normal f32.
    fn exponent_of_zero_too(self) -> i32 {
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
        if largest - lowest > 35 {
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

    fn mma_sim(&self) -> u32 {
        let (c, c_lowest, c_exponent) = self.addend();
        let c_exponent = if c == 0 { SMALLEST } else { c_exponent };
        let exponents = self
            .groups(GROUP)
            .map(|(_, pair)| pair.exponent_of_zero_too());
        let quantum = exponents.fold(c_exponent, i32::max) - 35;
        let terms = self.groups(GROUP).map(|(quarters, pair)| {
            cut_off(
                i128::from(quarters * pair.significand),
                pair.lowest(),
                quantum,
            )
        });
        toward_zero(cut_off(c, c_lowest, quantum) + terms.sum::<i128>(), quantum)
    }

    fn tcgen05_model(&self) -> u32 {
        let block = (self.a.len() / self.scales.len().max(1)).max(1);
        // Of each product that is not zero its own exponent and that of its scales.
        let raw = |from: usize, to: usize| {
            (from..to.min(self.a.len())).filter_map(move |k| {
                let (a, b) = (usize::from(self.a[k] & 15), usize::from(self.b[k] & 15));
                let pair = (*self.scales.get(k / block)?)?;
                let is_zero = HALVES[a] * HALVES[b] == 0 || pair.is_zero;
                (!is_zero).then_some((EXPONENTS[a] + EXPONENTS[b] + pair.exponent, pair.exponent))
            })
        };
        let largest_of = |from, to| {
            raw(from, to).fold(None, |all: Option<(i32, i32)>, (product, scale)| {
                let (p, s) = all.unwrap_or((product, scale));
                Some((p.max(product), s.max(scale)))
            })
        };
        let Some((product, scale)) = largest_of(0, self.a.len()) else {
            return self.c;
        };
        let (c, c_lowest, c_exponent) = self.addend();
        let term = |(quarters, pair): (i64, Pair), quantum| {
            cut_off(
                i128::from(quarters * pair.significand),
                pair.lowest(),
                quantum,
            )
        };
        if c != 0 && c_exponent >= product {
            let quantum = c_exponent - 35;
            let terms: i128 = self.groups(GROUP).map(|group| term(group, quantum)).sum();
            return toward_zero(cut_off(c, c_lowest, quantum) + terms, quantum);
        }
        let largest = if c == 0 {
            product
        } else {
            product.max(c_exponent)
        };
        let quantum = (largest - 39).max(scale - 35);
        let c_units = cut_off(c, c_lowest, quantum);
        if self.format == ScaleFormat::E4m3 {
            let terms: i128 = self.groups(4).map(|group| term(group, quantum)).sum();
            return toward_zero(c_units + terms, quantum);
        }
        // Sums of sixteen, cut off below C where C is larger than they are.
        let terms: Vec<(i128, i32)> = self
            .groups(GROUP)
            .enumerate()
            .map(|(number, group)| {
                let own = largest_of(number * GROUP, (number + 1) * GROUP);
                let is_below = own.is_some_and(|(product, _)| c != 0 && c_exponent >= product);
                let own_quantum = if is_below {
                    quantum.max(c_exponent - 35)
                } else {
                    quantum
                };
                let units = term(group, own_quantum) << (own_quantum - quantum);
                (units, own.map_or(i32::MAX, |(_, scale)| scale))
            })
            .collect();
        let sum = toward_zero(
            c_units + terms.iter().map(|(units, _)| units).sum::<i128>(),
            quantum,
        );
        if !(1..1 << 23).contains(&(sum & 0x7fff_ffff)) {
            return sum;
        }
        // Of a subnormal sum, terms below 2^-174 are left out unless their scales are the largest.
        let floor = 1i128 << (-174 - quantum).clamp(0, 126);
        let kept = terms
            .iter()
            .filter(|(units, own)| *own >= scale || units.abs() >= floor);
        toward_zero(
            c_units + kept.map(|(units, _)| units).sum::<i128>(),
            quantum,
        )
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
mod tests {
    use super::*;
    use ScaleFormat::{E4m3, E8m0};

    /// Codes of which each is a hexadecimal digit.
    fn codes(digits: &str) -> Vec<u8> {
        let digit = |c: char| c.to_digit(16).unwrap() as u8;
        digits.chars().map(digit).collect()
    }

    fn pairs(format: ScaleFormat, a: &[u8], b: &[u8]) -> Vec<Option<Pair>> {
        let pair =
            |(&a, &b): (&u8, &u8)| Some(Scale::new(format, a)?.times(Scale::new(format, b)?));
        a.iter().zip(b).map(pair).collect()
    }

    fn with<T>(
        format: ScaleFormat,
        (a, b): (&[u8], &[u8]),
        scales: (&[u8], &[u8]),
        c: u32,
        what: impl Fn(&Dot<'_>) -> T,
    ) -> T {
        let scales = pairs(format, scales.0, scales.1);
        what(&Dot {
            a,
            b,
            scales: &scales,
            format,
            c,
        })
    }

    /// Words that tcgen05-model's authors measured on a B200 (its `validation.py`): A, B, their scales, C, D.
    #[test]
    fn words_of_a_b200() {
        type Word = (
            ScaleFormat,
            &'static str,
            &'static str,
            &'static [u8],
            &'static [u8],
            u32,
            u32,
        );
        let measured: [Word; 6] = [
            (
                E4m3,
                "56e6a0257a959aac7221bc1d1f25d3c1dd69bb19ff54c54dd0ec01d866402c79",
                "cc65fb01dd3122ca5ebdf507cd408b2d48d0bf9e74d585f8c693b2e47c74ebe9",
                &[0x0c, 0x04, 0x74, 0x47],
                &[0x17, 0x50, 0x24, 0x61],
                0xb232_10eb,
                0x4429_730b,
            ),
            (
                E4m3,
                "27f0bd2b4d3f41a211cf03c8ad764f05ed5a3aa53e4fad3903c2604fdf6b9e1a",
                "ca2c1d615cf7d2b03a55d133f4a689f45714941325bdbfe804a29ddfe565ebc2",
                &[0x66, 0x0e, 0x73, 0x0d],
                &[0x16, 0x48, 0x03, 0x16],
                0x8976_9172,
                0xc305_45d3,
            ),
            // One quantum below a number of f32 where products are not first summed by fours.
            (
                E4m3,
                "eeb608f9ab39f7e02615a8647c6b1c6dbb86c8c5041f16f52465a7b701adbfe7",
                "6cb289b43d299c187263d29a59f5a8608dd2cc52834ff11aba5bf3bea571178a",
                &[0x09, 0x7c, 0x6d, 0x44],
                &[0x07, 0x78, 0x26, 0x79],
                0x094e_5986,
                0x49fc_afb7,
            ),
            (
                E8m0,
                "ad4a507cf20c761cd59e4a699b9230134ab7fb06de60d7620f512910c9a660e6",
                "5a3d0978d0bf24b5a2a0a568621905b24478bffdf762b654c23981a51fce061b",
                // What the measurement calls a scale for sixteen, the first two of four.
                &[0x7c, 0x7a, 0x7f, 0x7f],
                &[0x8a, 0x76, 0x7f, 0x7f],
                0,
                0x46ba_8000,
            ),
            (
                E8m0,
                "bbc25075c1d6add223328beb6af32f858bad41d4430a300ed02566d91b376e28",
                "d93d8d306d8ca16269b6ae93b18aff1eee2fbc28b6c424f8f6dadcfa8d45ba3c",
                &[0x7f, 0x83],
                &[0x74, 0x77],
                0,
                0x4058_0000,
            ),
            (
                E8m0,
                "1f66279a349a7ad4d74846d6ab1d94eb35d417008ed426d9f2aad93b144144ff",
                "d15f3da8b505a5d8e57dbebe375891bf91dcfb8940a97f8d46167705344e119b",
                &[0x7c, 0x7a, 0x81, 0x78],
                &[0x8b, 0x7a, 0x85, 0x84],
                0,
                0xc6a8_8896,
            ),
        ];
        for (number, (format, a, b, a_scales, b_scales, c, d)) in measured.into_iter().enumerate() {
            let (a, b) = (codes(a), codes(b));
            // The fourth was measured with blocks of 32.
            let scales = if number == 3 {
                (&a_scales[..2], &b_scales[..2])
            } else {
                (a_scales, b_scales)
            };
            let found = with(format, (&a, &b), scales, c, |dot| dot.tcgen05_model());
            assert_eq!(found, d, "word {number}: {found:#010x} for {d:#010x}");
        }
    }

    /// MMA-Sim's rule as its authors write it, in f64: significands between 1 and 2, cut off by `trunc`.
    fn mma_sim_in_f64(
        format: ScaleFormat,
        (a, b): (&[u8], &[u8]),
        scales: (&[u8], &[u8]),
        c: f32,
    ) -> f32 {
        let parts = |value: f64, smallest: i32| {
            if value == 0.0 {
                return (0.0, -126);
            }
            let exponent = ((value.abs().to_bits() >> 52) as i32 - 1023).max(smallest);
            (value / 2f64.powi(exponent), exponent)
        };
        let smallest = if format == E4m3 { -6 } else { -127 };
        let element = |code: u8| f64::from(tessera_numerics::ElementFormat::E2m1.decode(code));
        let block = a.len() / scales.0.len();
        let mut terms = vec![parts(f64::from(c), -126)];
        for k in (0..a.len()).step_by(16) {
            let sum: f64 = (k..k + 16).map(|k| element(a[k]) * element(b[k])).sum();
            let (x, x_exponent) = parts(f64::from(format.decode(scales.0[k / block])), smallest);
            let (y, y_exponent) = parts(f64::from(format.decode(scales.1[k / block])), smallest);
            terms.push((sum * x * y, x_exponent + y_exponent));
        }
        let largest = terms.iter().map(|term| term.1).max().unwrap();
        let cut = |&(significand, exponent): &(f64, i32)| {
            (significand * 2f64.powi(35 + exponent - largest)).trunc()
        };
        let sum = terms.iter().map(cut).sum::<f64>() * 2f64.powi(largest - 35);
        let nearest = sum as f32;
        if f64::from(nearest).abs() > sum.abs() {
            f32::from_bits(nearest.to_bits() - 1)
        } else {
            nearest
        }
    }

    fn random(state: &mut u64) -> u64 {
        *state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        *state >> 33
    }

    fn draw(state: &mut u64, count: usize, from: u64, below: u64) -> Vec<u8> {
        let one = |_| (from + random(state) % (below - from)) as u8;
        (0..count).map(one).collect()
    }

    #[test]
    fn mma_sim_of_any_scales_is_its_authors() {
        let mut state = 1;
        for round in 0..2000 {
            let (format, blocks, below) = match round % 3 {
                0 => (E4m3, 4, 0x7f),
                1 => (E8m0, 4, 160),
                _ => (E8m0, 2, 160),
            };
            let from = if format == E4m3 { 0 } else { 95 };
            let a = draw(&mut state, 64, 0, 16);
            let b = draw(&mut state, 64, 0, 16);
            let x = draw(&mut state, blocks, from, below);
            let y = draw(&mut state, blocks, from, below);
            let c = f32::from_bits(
                (random(&mut state) as u32 & 0x807f_ffff) | (100 + round % 50) << 23,
            );
            let found = with(format, (&a, &b), (&x, &y), c.to_bits(), |dot| dot.mma_sim());
            let expected = mma_sim_in_f64(format, (&a, &b), (&x, &y), c);
            assert_eq!(f32::from_bits(found), expected, "round {round}");
        }
    }

    #[test]
    fn sums_of_scales_near_to_each_other_are_decided_and_exact() {
        let mut state = 7;
        for _ in 0..500 {
            let a = draw(&mut state, 64, 0, 16);
            let b = draw(&mut state, 64, 0, 16);
            // 2^-3 to 2^3.
            let x = draw(&mut state, 4, 0x20, 0x50);
            let y = draw(&mut state, 4, 0x20, 0x50);
            let c = (random(&mut state) % 4096) as f32 / 16.0;
            let (narrow, slow) = with(E4m3, (&a, &b), (&x, &y), c.to_bits(), |dot| {
                let slow = [dot.exact(), dot.mma_sim(), dot.tcgen05_model()];
                (dot.sum(), slow)
            });
            assert!(narrow.is_decided);
            assert_eq!(slow, [narrow.bits; 3]);
            let element = |code: u8| f64::from(tessera_numerics::ElementFormat::E2m1.decode(code));
            let scale = |code: u8| f64::from(E4m3.decode(code));
            let exact: f64 = (0..64)
                .map(|k| element(a[k]) * element(b[k]) * scale(x[k / 16]) * scale(y[k / 16]))
                .sum::<f64>()
                + f64::from(c);
            assert_eq!(
                narrow.bits,
                Float::F32.round(exact, Rounding::TowardZero) as u32
            );
        }
    }

    #[test]
    fn large_scales_of_a_block_of_zeros_are_not_decided() {
        // MMA-Sim aligns all terms to the scales of the block of zeros, 2^17, and loses 2^-22.
        let mut a = [2; 64];
        a[..16].fill(0);
        let b = [2; 64];
        let x = [0x7e, 0x08, 0x08, 0x08];
        let y = [0x7e, 0x01, 0x01, 0x01];
        let (sum, sims) = with(E4m3, (&a, &b), (&x, &y), 0, |dot| {
            (dot.sum(), [dot.mma_sim(), dot.tcgen05_model()])
        });
        // 48 products of 2^-6 · 2^-9, none of which is below the quantum: decided after all.
        assert!(sum.is_decided, "{sum:?} {sims:?}");
        let c = 2f32.powi(-24).to_bits();
        let (sum, sims) = with(E4m3, (&a, &b), (&x, &y), c, |dot| {
            (dot.sum(), [dot.mma_sim(), dot.tcgen05_model()])
        });
        assert!(!sum.is_decided, "{sum:?} {sims:?}");
        assert_eq!(sum.bits, sims[1]);
        assert_eq!(
            f32::from_bits(sum.bits),
            48.0 * 2f32.powi(-15) + 2f32.powi(-24)
        );
        assert_eq!(f32::from_bits(sims[0]), 48.0 * 2f32.powi(-15));
    }

    #[test]
    fn zeros_may_have_scales_of_any_size() {
        let mut a = [2; 64];
        a[..16].fill(0);
        let b = [2; 64];
        let x = [0xfe, 0x01, 0x01, 0x01];
        for c in [0.0, 1.0, f32::MAX] {
            let sum = with(E8m0, (&a, &b), (&x, &x), c.to_bits(), |dot| dot.sum());
            assert_eq!(f32::from_bits(sum.bits), c);
        }
    }

    #[test]
    fn scales_that_are_nan_and_addends_that_are_not_finite() {
        let zeros = [0; 64];
        let one = [0x38; 4];
        let nan = [0x38, 0x7f, 0x38, 0x38];
        let sum = |x: &[u8], c: f32| {
            with(E4m3, (&zeros, &zeros), (x, &one), c.to_bits(), |dot| {
                dot.sum().bits
            })
        };
        assert_eq!(sum(&nan, 0.0), NAN);
        assert_eq!(sum(&one, f32::NAN), NAN);
        assert_eq!(sum(&one, f32::NEG_INFINITY), f32::NEG_INFINITY.to_bits());
        // The sign of a scale is not looked at, nor is that of 0x7f.
        assert_eq!(sum(&[0x38, 0xff, 0x38, 0x38], 0.0), NAN);
        assert_eq!(Scale::new(E4m3, 0xb8), Scale::new(E4m3, 0x38));
        assert_eq!(Scale::new(E8m0, 0xff), None);
    }

    #[test]
    fn scales_are_those_of_the_formats() {
        for format in [E4m3, E8m0] {
            for code in 0..=255 {
                let looked_at = if format == E4m3 { code & 0x7f } else { code };
                let value = format.decode(looked_at);
                let scale = Scale::new(format, code);
                match scale {
                    None => assert!(value.is_nan()),
                    Some(scale) => assert_eq!(
                        scale.significand as f64 * 2f64.powi(scale.exponent - 3),
                        f64::from(value)
                    ),
                }
            }
        }
    }
}
