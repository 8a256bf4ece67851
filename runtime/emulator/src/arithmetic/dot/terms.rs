//! The terms of eight dot products at once, in vectors: aligned, cut off, added and rounded as [`fused`](super::fused) does.

use super::lines::COLUMNS;
use super::{Accumulation, exponent, round};

/// A row and eight columns of finite numbers, with what is added to each of their dot products.
pub(super) struct Terms<'t> {
    pub row: &'t [f32],
    pub row_exponents: &'t [i32],
    pub columns: &'t [[f32; COLUMNS]],
    pub column_exponents: &'t [[i32; COLUMNS]],
    pub c: [f64; COLUMNS],
    pub scales: [i32; COLUMNS],
    pub how: Accumulation,
    pub half: bool,
}

/// Terms whose sum i32 has room for: each is below 4 · 2^25.
const CHUNK: usize = 16;

impl Terms<'_> {
    /// The sums as bits of the result; `near` is whether all numbers of the row and the columns are zero or have exponents of
    /// [`NEAR`](super::lines::NEAR) at most.
    #[inline(always)]
    pub fn rounded_sums(&self, near: bool) -> [u64; COLUMNS] {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the CPU has what the function asks for.
            return unsafe { self.rounded_sums_avx2(near) };
        }
        let largest = largest_sum(self.row_exponents, self.column_exponents);
        self.finish(near, largest, near_sum, |value| value as i64 as f64)
    }

    /// [`rounded_sums`](Self::rounded_sums) in vectors of 32 bytes.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn rounded_sums_avx2(&self, near: bool) -> [u64; COLUMNS] {
        let largest = avx2::largest_sum(self.row_exponents, self.column_exponents);
        let near_sum = |row: &[f32], columns: &[[f32; COLUMNS]], units: [f32; COLUMNS]| {
            avx2::near_sum(row, columns, units)
        };
        self.finish(near, largest, near_sum, f64::trunc)
    }

    /// The sums, of the largest exponents of products, of what [`near_sum`] is and of what cuts numbers of f64 off.
    #[inline(always)]
    fn finish(
        &self,
        near: bool,
        products: [i32; COLUMNS],
        near_sum: impl Fn(&[f32], &[[f32; COLUMNS]], [f32; COLUMNS]) -> [i32; COLUMNS],
        truncate: impl Fn(f64) -> f64,
    ) -> [u64; COLUMNS] {
        let fraction = self.how.fraction as i32;
        let smallest = if self.half { -14 } else { -126 };
        let mut largest = [0; COLUMNS];
        let mut units = [0; COLUMNS];
        // What is added, in units of so many bits below the largest exponent.
        let mut sums = [0.0; COLUMNS];
        for j in 0..COLUMNS {
            largest[j] = (products[j] + self.scales[j]).max(exponent(self.c[j], smallest));
            units[j] = self.scales[j] + fraction - largest[j];
            sums[j] = truncate(self.c[j] * power_of_two(fraction - largest[j]));
        }
        if near {
            // A product that is not zero is 2^-80 at least, so no unit above 2^107 counts; nor does one below 2^-126, in which
            // every product is below 1.
            let units = units.map(|unit| f32::from_bits(((unit + 127).clamp(1, 254) as u32) << 23));
            for (row, columns) in self.row.chunks(CHUNK).zip(self.columns.chunks(CHUNK)) {
                let chunk = near_sum(row, columns, units);
                for j in 0..COLUMNS {
                    sums[j] += f64::from(chunk[j]);
                }
            }
        } else {
            // A product of significands is below 4, so all are integers below 2^28: f64 has room for their sums.
            let units = units.map(power_of_two);
            for (own, others) in self.row.iter().zip(self.columns) {
                for j in 0..COLUMNS {
                    sums[j] += truncate(f64::from(*own) * f64::from(others[j]) * units[j]);
                }
            }
        }
        for j in 0..COLUMNS {
            // What was cut off to nothing is a positive zero, as sums of integers are.
            sums[j] = (sums[j] + 0.0) * power_of_two(largest[j] - fraction);
        }
        if self.half || self.how.result != 23 {
            return sums.map(|sum| round(sum, self.how.result, self.half));
        }
        toward_zero(&sums)
    }
}

/// The largest sum of a number of a row and its partner in each column.
fn largest_sum(row: &[i32], columns: &[[i32; COLUMNS]]) -> [i32; COLUMNS] {
    let mut largest = [i32::MIN / 2; COLUMNS];
    for (own, others) in row.iter().zip(columns) {
        for j in 0..COLUMNS {
            largest[j] = largest[j].max(own + others[j]);
        }
    }
    largest
}

/// Products in these units, cut off and added: of numbers near to 1, so that f32 has all bits of each product.
fn near_sum(row: &[f32], columns: &[[f32; COLUMNS]], units: [f32; COLUMNS]) -> [i32; COLUMNS] {
    let mut sums = [0; COLUMNS];
    for (own, others) in row.iter().zip(columns) {
        for j in 0..COLUMNS {
            sums[j] += (own * others[j] * units[j]) as i32;
        }
    }
    sums
}

/// The same in vectors of 32 bytes.
#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::COLUMNS;
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx2")]
    pub fn largest_sum(row: &[i32], columns: &[[i32; COLUMNS]]) -> [i32; COLUMNS] {
        let mut largest = _mm256_set1_epi32(i32::MIN / 2);
        for (own, others) in row.iter().zip(columns) {
            // SAFETY: eight numbers are read, which there are.
            let others = unsafe { _mm256_loadu_si256(others.as_ptr().cast()) };
            largest = _mm256_max_epi32(largest, _mm256_add_epi32(_mm256_set1_epi32(*own), others));
        }
        stored(largest)
    }

    #[target_feature(enable = "avx2")]
    pub fn near_sum(
        row: &[f32],
        columns: &[[f32; COLUMNS]],
        units: [f32; COLUMNS],
    ) -> [i32; COLUMNS] {
        // SAFETY: eight numbers are read, which there are.
        let units = unsafe { _mm256_loadu_ps(units.as_ptr()) };
        let mut sums = _mm256_setzero_si256();
        for (own, others) in row.iter().zip(columns) {
            // SAFETY: as above.
            let others = unsafe { _mm256_loadu_ps(others.as_ptr()) };
            let product = _mm256_mul_ps(_mm256_set1_ps(*own), others);
            let term = _mm256_cvttps_epi32(_mm256_mul_ps(product, units));
            sums = _mm256_add_epi32(sums, term);
        }
        stored(sums)
    }

    #[target_feature(enable = "avx2")]
    fn stored(vector: __m256i) -> [i32; COLUMNS] {
        let mut numbers = [0; COLUMNS];
        // SAFETY: eight numbers are written, for which there is room.
        unsafe { _mm256_storeu_si256(numbers.as_mut_ptr().cast(), vector) };
        numbers
    }
}

/// 2 to an exponent that f64 has normal numbers of; beyond that some number.
#[inline(always)]
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023).clamp(0, 2047) as u64) << 52)
}

/// As [`round`] to f32, without a branch.
#[inline(always)]
pub(in super::super) fn toward_zero(values: &[f64; COLUMNS]) -> [u64; COLUMNS] {
    let mut bits = [0u32; COLUMNS];
    for j in 0..COLUMNS {
        let nearest = values[j] as f32;
        let is_beyond = f64::from(nearest).abs() > values[j].abs();
        // From 2^128 on a sum is an infinity.
        let is_finite = values[j].abs() < power_of_two(128);
        bits[j] = nearest.to_bits() - u32::from(is_beyond & is_finite);
    }
    bits.map(u64::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arithmetic::{Float, Rounding};

    #[test]
    fn sums_are_rounded_as_one_is() {
        let values = [
            1.0 + 2f64.powi(-25),
            -1.0 - 2f64.powi(-24) * 1.5,
            3.0e-42,
            -2f64.powi(-150),
            3.402_823_55e38,
            -3.402_823_6e38,
            2f64.powi(128),
            -0.0,
        ];
        let expected = values.map(|value| round(value, 23, false));
        assert_eq!(toward_zero(&values), expected);
        assert_eq!(expected[0], Float::F32.round(1.0, Rounding::TowardZero));
    }

    #[test]
    fn what_has_no_long_vectors_gives_the_same() {
        let row = [1.5, -3.0, 0.0, 2f32.powi(-9)];
        let columns = [1.0, -1.25, 2f32.powi(7), 4.0]
            .map(|first| std::array::from_fn(|j| first * (j as f32 - 3.0) / 8.0));
        let code = |value: f32| {
            if value == 0.0 {
                -126
            } else {
                (value.to_bits() >> 23 & 0xff) as i32 - 127
            }
        };
        let terms = Terms {
            row: &row,
            row_exponents: &row.map(code),
            columns: &columns,
            column_exponents: &columns.map(|each| each.map(code)),
            c: std::array::from_fn(|j| 0.1 * j as f64),
            scales: [0, 0, 7, -7, 100, -100, 254, -254],
            how: Accumulation::of(90, false, false),
            half: false,
        };
        let largest = largest_sum(terms.row_exponents, terms.column_exponents);
        let plain = terms.finish(true, largest, near_sum, |value| value as i64 as f64);
        assert_eq!(terms.rounded_sums(true), plain);
        assert_eq!(terms.rounded_sums(false), plain);
    }
}
