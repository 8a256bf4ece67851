//! Rows and columns that are taken apart once, for all the dot products that they are in.

use super::super::Float;
use super::terms::Terms;
use super::{Accumulation, fused};

/// Rows of A or columns of B, one behind the other.
#[derive(Debug)]
pub struct Lines {
    /// Numbers of a line.
    length: usize,
    values: Vec<f32>,
    exponents: Vec<i32>,
    ranges: Vec<Range>,
    smallest: i32,
}

/// What is known of the numbers of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Range {
    /// All but zeros are so near to 1 that f32 has the product of any two, and that product in units of the sum.
    Near,
    Finite,
    Special,
}

/// The largest magnitude of exponents in [`Range::Near`].
pub(super) const NEAR: i32 = 40;

impl Lines {
    /// Of numbers, so many a line, of a format whose significands have 11 bits at most: f32 has all products of two. `smallest`
    /// is the exponent of its smallest normal number.
    pub fn new(length: usize, values: Vec<f32>, smallest: i32) -> Self {
        // That of zero is the smallest of f32.
        let exponent = |value: &f32| {
            let magnitude = value.to_bits() & 0x7fff_ffff;
            let own = ((magnitude >> 23) as i32 - 127).max(smallest);
            if magnitude == 0 { -126 } else { own }
        };
        let range = |line: &[f32]| {
            let magnitudes = || {
                line.iter()
                    .map(|value| (value.to_bits() & 0x7fff_ffff) as i32)
            };
            let largest = magnitudes().fold(0, i32::max);
            // One less, which makes zero the largest of all.
            let least = magnitudes().fold(i32::MAX, |least, own| least.min((own - 1) & i32::MAX));
            if largest >> 23 == 255 {
                Range::Special
            } else if largest >> 23 <= 127 + NEAR && least >= (127 - NEAR) << 23 {
                Range::Near
            } else {
                Range::Finite
            }
        };
        let ranges = values.chunks_exact(length.max(1)).map(range).collect();
        Self {
            length,
            exponents: values.iter().map(exponent).collect(),
            ranges,
            values,
            smallest,
        }
    }

    fn count(&self) -> usize {
        self.ranges.len()
    }

    /// The numbers of a line.
    pub fn values(&self, line: usize) -> &[f32] {
        &self.values[line * self.length..][..self.length]
    }
}

/// Columns that are multiplied at once.
pub const COLUMNS: usize = 8;

/// Columns of B side by side.
#[derive(Debug)]
pub struct Columns {
    /// Of each place along k the numbers of all columns, and their exponents.
    values: Vec<[f32; COLUMNS]>,
    exponents: Vec<[i32; COLUMNS]>,
    /// Of as many as there are.
    ranges: Vec<Range>,
    /// The largest of these.
    range: Range,
    smallest: i32,
}

impl Columns {
    /// All lines by eights; those that the last lacks are of zeros.
    pub fn of(lines: &Lines) -> Vec<Self> {
        let eights = (0..lines.count()).step_by(COLUMNS);
        eights.map(|first| Self::new(lines, first)).collect()
    }

    /// The first eight lines.
    pub fn first(lines: &Lines) -> Self {
        Self::new(lines, 0)
    }

    fn new(lines: &Lines, first: usize) -> Self {
        let length = lines.length;
        let count = COLUMNS.min(lines.count() - first);
        let mut values = vec![[0.0; COLUMNS]; length];
        let mut exponents = vec![[0; COLUMNS]; length];
        for column in 0..count {
            let own = (first + column) * length..(first + column + 1) * length;
            let numbers = lines.values[own.clone()].iter().zip(&lines.exponents[own]);
            let places = values.iter_mut().zip(&mut exponents);
            for ((value, exponent), (own, own_exponent)) in places.zip(numbers) {
                value[column] = *own;
                exponent[column] = *own_exponent;
            }
        }
        let ranges = lines.ranges[first..first + count].to_vec();
        Self {
            values,
            exponents,
            range: ranges.iter().copied().fold(Range::Near, Range::max),
            ranges,
            smallest: lines.smallest,
        }
    }

    /// What [`fused`] gives of a row and each column, with what is added and the exponent of the scale of each.
    pub fn fused(
        &self,
        (rows, row): (&Lines, usize),
        c: [f64; COLUMNS],
        scales: [i32; COLUMNS],
        how: Accumulation,
        half: bool,
    ) -> [u64; COLUMNS] {
        let length = self.values.len();
        let begun = if how.halves && length > 1 {
            let result = if half { Float::F16 } else { Float::F32 };
            let bits = self.part((rows, row), (0, length / 2), c, scales, how, half);
            bits.map(|bits| result.value(bits))
        } else {
            c
        };
        let from = if how.halves { length / 2 } else { 0 };
        let mut bits = self.part((rows, row), (from, length), begun, scales, how, half);
        let is_finite = |c: [f64; COLUMNS]| c.iter().all(|c| c.is_finite());
        let range = rows.ranges[row].max(self.range);
        if range < Range::Special && is_finite(c) && is_finite(begun) {
            return bits;
        }
        for (column, &range) in self.ranges.iter().enumerate() {
            let is_special = rows.ranges[row].max(range) == Range::Special;
            if is_special || !c[column].is_finite() || !begun[column].is_finite() {
                let own = self.values.iter().map(|values| values[column]);
                let pairs: Vec<_> = rows
                    .values(row)
                    .iter()
                    .zip(own)
                    .map(|(&x, y)| ((f64::from(x), rows.smallest), (f64::from(y), self.smallest)))
                    .collect();
                bits[column] = fused(&pairs, c[column], scales[column], how, half);
            }
        }
        bits
    }

    /// As [`fused`](Self::fused), of a part along k and as if all were finite: what is not has no meaning.
    #[inline(always)]
    fn part(
        &self,
        (rows, row): (&Lines, usize),
        (from, to): (usize, usize),
        c: [f64; COLUMNS],
        scales: [i32; COLUMNS],
        how: Accumulation,
        half: bool,
    ) -> [u64; COLUMNS] {
        let own = row * rows.length;
        let range = self.range.max(rows.ranges[row]);
        let terms = Terms {
            row: &rows.values[own + from..own + to],
            row_exponents: &rows.exponents[own + from..own + to],
            columns: &self.values[from..to],
            column_exponents: &self.exponents[from..to],
            c,
            scales,
            how,
            half,
        };
        terms.rounded_sums(range == Range::Near)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers from a linear congruence, of codes of sixteen bits.
    fn numbers(state: &mut u64, count: usize, of: impl Fn(u64) -> f64) -> Vec<f32> {
        let number = |_| {
            *state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            of(*state >> 48) as f32
        };
        (0..count).map(number).collect()
    }

    fn check(smallest: i32, of: impl Fn(u64) -> f64) {
        let mut state = 1;
        for how in [
            Accumulation::of(90, false, false),
            Accumulation::of(80, false, false),
            Accumulation::of(90, true, true),
        ] {
            for count in 0..1000 {
                let length = [1, 8, 16, 32][count % 4];
                let row = numbers(&mut state, length, &of);
                let columns = numbers(&mut state, length * COLUMNS, &of);
                // What is added is of the result's format.
                let halves = numbers(&mut state, COLUMNS, |code| Float::F16.value(code));
                let singles = numbers(&mut state, COLUMNS, &of);
                let scales = [0, 0, 7, -7, 100, -100, 254, -254];
                let side_by_side = Columns::of(&Lines::new(length, columns.clone(), smallest));
                let rows = Lines::new(length, row.clone(), smallest);
                for (half, c) in [(false, &singles), (true, &halves)] {
                    let c = std::array::from_fn(|j| f64::from(c[j]));
                    let found = side_by_side[0].fused((&rows, 0), c, scales, how, half);
                    let expected = std::array::from_fn(|j| {
                        let number = |value: &f32| (f64::from(*value), smallest);
                        let pairs = row.iter().zip(&columns[j * length..]);
                        let pairs: Vec<_> = pairs.map(|(a, b)| (number(a), number(b))).collect();
                        fused(&pairs, c[j], scales[j], how, half)
                    });
                    assert_eq!(found, expected, "{how:?} {row:?} {columns:?} {c:?}");
                }
            }
        }
    }

    #[test]
    fn columns_of_f16_give_what_pairs_do() {
        check(-14, |code| Float::F16.value(code));
    }

    /// Exponents from the smallest of f32 to its largest: most products are no numbers of f32.
    #[test]
    fn columns_of_bf16_give_what_pairs_do() {
        check(-126, |code| Float::Bf16.value(code));
    }

    /// Exponents of 32 to 47, below zero too, beside zeros: some rows are near to 1, some are not.
    #[test]
    fn columns_at_the_edge_of_what_is_near_give_what_pairs_do() {
        check(-126, |code| {
            let exponent = 127 + 32 + (code >> 7 & 15);
            let exponent = if code & 0x800 == 0 {
                exponent
            } else {
                254 - exponent
            };
            let is_zero = code & 0x3000 == 0;
            Float::Bf16.value(if is_zero {
                0
            } else {
                code & 0x807f | exponent << 7
            })
        });
    }

    #[test]
    fn columns_that_are_not_there_are_not_looked_at() {
        let columns = Columns::of(&Lines::new(1, vec![1.0, f32::INFINITY, 3.0], -14));
        let row = Lines::new(1, vec![2.0], -14);
        let how = Accumulation::of(90, false, false);
        let found = columns[0].fused((&row, 0), [0.0; COLUMNS], [0; COLUMNS], how, false);
        let found = found.map(|bits| f32::from_bits(bits as u32));
        assert_eq!(found, [2.0, f32::INFINITY, 6.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }
}
