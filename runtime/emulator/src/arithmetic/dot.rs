//! What tensor cores compute: sums of products that are rounded once, as far as is known (PTX ISA 9.7.14 leaves it open).
//!
//! All terms are aligned to the largest exponent, cut off towards zero some bits below it, and added exactly; the sum is
//! rounded towards zero to f32. How many bits are kept was measured on hardware: M. Fasi et al., "Numerical behavior of
//! NVIDIA tensor cores", PeerJ CS 2021; P. Xie et al., "MMA-Sim", arXiv 2511.10909, whose widths these are. Products of
//! block-scaled FP4 are summed otherwise: [`block_scaled`](super::block_scaled).

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

/// One row or column of a matrix, taken apart once for all the dot products that it is in.
pub struct Line {
    values: Vec<f64>,
    smallest: i32,
    exponents: Vec<i32>,
    is_finite: bool,
}

impl Line {
    /// Of numbers of a format, whose smallest normal exponent is `smallest`.
    pub fn new(values: Vec<f64>, smallest: i32) -> Self {
        Self {
            exponents: values
                .iter()
                .map(|&value| exponent(value, smallest))
                .collect(),
            is_finite: values.iter().all(|value| value.is_finite()),
            values,
            smallest,
        }
    }

    pub fn values(&self) -> &[f64] {
        &self.values
    }
}

/// Columns that are multiplied at once.
pub const COLUMNS: usize = 8;

/// Columns of a matrix side by side.
pub struct Columns {
    lines: Vec<Line>,
    /// Of each place along k the numbers of all columns, and their exponents.
    values: Vec<[f64; COLUMNS]>,
    exponents: Vec<[i32; COLUMNS]>,
}

impl Columns {
    /// Of so many columns at most, which are all of one length.
    pub fn new(lines: Vec<Line>) -> Self {
        let length = lines.first().map_or(0, |line| line.values.len());
        let mut values = vec![[0.0; COLUMNS]; length];
        let mut exponents = vec![[0; COLUMNS]; length];
        for (column, line) in lines.iter().enumerate().take(COLUMNS) {
            for k in 0..length {
                values[k][column] = line.values[k];
                exponents[k][column] = line.exponents[k];
            }
        }
        Self {
            lines,
            values,
            exponents,
        }
    }

    pub fn line(&self, column: usize) -> &Line {
        &self.lines[column]
    }

    /// What [`fused`] gives of a row and each column, with what is added and the exponent of the scale of each.
    pub fn fused(
        &self,
        row: &Line,
        c: [f64; COLUMNS],
        scales: [i32; COLUMNS],
        how: Accumulation,
        half: bool,
    ) -> [u64; COLUMNS] {
        let result = if half { Float::F16 } else { Float::F32 };
        let length = self.values.len();
        let middle = if how.halves && length > 1 {
            length / 2
        } else {
            0
        };
        let begun = if middle > 0 {
            let bits = self.part(row, (0, middle), c, scales, how, half);
            bits.map(|bits| result.value(bits))
        } else {
            c
        };
        let mut bits = self.part(row, (middle, length), begun, scales, how, half);
        for (column, line) in self.lines.iter().enumerate().take(COLUMNS) {
            let is_finite = row.is_finite && line.is_finite && begun[column].is_finite();
            if !is_finite || !c[column].is_finite() {
                let pairs = row.values.iter().zip(&line.values);
                let pairs: Vec<_> = pairs
                    .map(|(&x, &y)| ((x, row.smallest), (y, line.smallest)))
                    .collect();
                bits[column] = fused(&pairs, c[column], scales[column], how, half);
            }
        }
        bits
    }

    /// As [`fused`](Self::fused), of a part along k and as if all were finite: what is not has no meaning.
    fn part(
        &self,
        row: &Line,
        (from, to): (usize, usize),
        c: [f64; COLUMNS],
        scales: [i32; COLUMNS],
        how: Accumulation,
        half: bool,
    ) -> [u64; COLUMNS] {
        let smallest = if half { -14 } else { -126 };
        let terms = Terms {
            row: (&row.values[from..to], &row.exponents[from..to]),
            columns: (&self.values[from..to], &self.exponents[from..to]),
            c,
            c_exponents: c.map(|c| exponent(c, smallest)),
            scales,
            fraction: how.fraction as i32,
        };
        #[cfg(target_arch = "x86_64")]
        let sums = if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the CPU has what the function asks for.
            unsafe { terms.sums_avx2() }
        } else {
            terms.sums(|value| value as i64 as f64)
        };
        #[cfg(not(target_arch = "x86_64"))]
        let sums = terms.sums(f64::trunc);
        sums.map(|sum| round(sum, how.result, half))
    }
}

/// A row and columns of finite numbers, with what is added to each of their dot products.
struct Terms<'t> {
    row: (&'t [f64], &'t [i32]),
    columns: (&'t [[f64; COLUMNS]], &'t [[i32; COLUMNS]]),
    c: [f64; COLUMNS],
    c_exponents: [i32; COLUMNS],
    scales: [i32; COLUMNS],
    fraction: i32,
}

impl Terms<'_> {
    /// [`sums`](Self::sums), four columns at a time.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn sums_avx2(&self) -> [f64; COLUMNS] {
        self.sums(f64::trunc)
    }

    /// Terms in units that many bits below the largest exponent, cut off towards zero by `truncate`, and added. A product of
    /// significands is below 4, so all are integers below 2^28: f64 has room for their sums.
    #[inline(always)]
    fn sums(&self, truncate: impl Fn(f64) -> f64) -> [f64; COLUMNS] {
        let mut largest = [i32::MIN; COLUMNS];
        for (own, others) in self.row.1.iter().zip(self.columns.1) {
            for j in 0..COLUMNS {
                largest[j] = largest[j].max(own + others[j]);
            }
        }
        let mut units = [0.0; COLUMNS];
        let mut sums = [0.0; COLUMNS];
        for j in 0..COLUMNS {
            largest[j] = (largest[j].saturating_add(self.scales[j])).max(self.c_exponents[j]);
            units[j] = power_of_two(self.scales[j] + self.fraction - largest[j]);
            sums[j] = truncate(self.c[j] * power_of_two(self.fraction - largest[j]));
        }
        for (own, others) in self.row.0.iter().zip(self.columns.0) {
            for j in 0..COLUMNS {
                sums[j] += truncate(own * others[j] * units[j]);
            }
        }
        for j in 0..COLUMNS {
            sums[j] *= power_of_two(largest[j] - self.fraction);
        }
        sums
    }
}

/// 2 to an exponent that f64 has normal numbers of; beyond that some number.
#[inline(always)]
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023).clamp(0, 2047) as u64) << 52)
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

    /// Numbers of f16 of all exponents, from a linear congruence; and some that are not finite.
    fn numbers(state: &mut u64, count: usize) -> Vec<f64> {
        let number = |_| {
            *state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            Float::F16.value(*state >> 48)
        };
        (0..count).map(number).collect()
    }

    #[test]
    fn columns_give_what_pairs_do() {
        let mut state = 1;
        for how in [
            HOPPER,
            Accumulation::of(80, false, false),
            Accumulation::of(90, true, true),
        ] {
            for count in 0..1000 {
                let length = [1, 8, 16, 32][count % 4];
                let row = numbers(&mut state, length);
                let columns: Vec<Vec<f64>> =
                    (0..COLUMNS).map(|_| numbers(&mut state, length)).collect();
                let c: [f64; COLUMNS] = std::array::from_fn(|_| numbers(&mut state, 1)[0]);
                let scales = [0, 0, 7, -7, 100, -100, 254, -254];
                let lines = columns.iter().map(|column| Line::new(column.clone(), -14));
                let side_by_side = Columns::new(lines.collect());
                for half in [false, true] {
                    let found =
                        side_by_side.fused(&Line::new(row.clone(), -14), c, scales, how, half);
                    let expected = std::array::from_fn(|j| {
                        let pairs = row.iter().zip(&columns[j]);
                        let pairs: Vec<_> = pairs.map(|(&a, &b)| ((a, -14), (b, -14))).collect();
                        fused(&pairs, c[j], scales[j], how, half)
                    });
                    assert_eq!(found, expected, "{how:?} {row:?} {columns:?} {c:?}");
                }
            }
        }
    }

    #[test]
    fn what_has_no_vectors_of_four_gives_the_same() {
        let mut state = 2;
        for _ in 0..200 {
            let row = Line::new(numbers(&mut state, 16), -14);
            let lines = (0..COLUMNS).map(|_| Line::new(numbers(&mut state, 16), -14));
            let columns = Columns::new(lines.collect());
            if !row.is_finite || columns.lines.iter().any(|line| !line.is_finite) {
                continue;
            }
            let terms = Terms {
                row: (&row.values, &row.exponents),
                columns: (&columns.values, &columns.exponents),
                c: [0.0; COLUMNS],
                c_exponents: [-126; COLUMNS],
                scales: [0; COLUMNS],
                fraction: 25,
            };
            assert_eq!(
                terms.sums(|value| value as i64 as f64),
                terms.sums(f64::trunc)
            );
        }
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
