//! Sums of a row and eight columns at once. Where all terms of a sum lie near to each other f64 has all their bits, so that
//! vectors of it give what every model does; the rest is [`Dot`]'s.

use super::super::dot::{COLUMNS, toward_zero};
use super::{Dot, HALVES, Pair, SMALLEST, Scale, Sum};
use tessera_numerics::ScaleFormat;

/// How far apart the highest and the lowest bits of terms lie of which no model cuts anything off.
pub(super) const NARROW: i32 = 35;

/// The exponent of the lowest bit of zero: above all others.
const NOWHERE: i32 = 1 << 20;

/// Rows of A or columns of B, as codes and as numbers.
#[derive(Debug)]
pub struct Lines {
    /// Codes and blocks of a line.
    length: usize,
    blocks: usize,
    codes: Vec<u8>,
    halves: Vec<i16>,
    scales: Vec<Option<Scale>>,
    parts: Vec<Part>,
}

/// A scale as a sum of products takes it.
#[derive(Clone, Copy, Debug)]
struct Part {
    /// NaN where the scale is.
    value: f64,
    exponent: i32,
    /// The exponent of its lowest bit.
    lowest: i32,
}

impl Part {
    fn of(scale: Option<Scale>) -> Self {
        let Some(scale) = scale else {
            let (value, exponent, lowest) = (f64::NAN, 0, 0);
            return Self {
                value,
                exponent,
                lowest,
            };
        };
        Self {
            value: scale.value(),
            exponent: scale.exponent,
            lowest: if scale.significand == 0 {
                NOWHERE
            } else {
                scale.exponent - 3
            },
        }
    }
}

impl Lines {
    /// Of codes, so many a line, and of the scales of their blocks, so many a line.
    pub fn new(
        (codes, length): (Vec<u8>, usize),
        (scales, blocks): (Vec<Option<Scale>>, usize),
    ) -> Self {
        Self {
            length,
            blocks,
            halves: codes
                .iter()
                .map(|code| HALVES[usize::from(code & 15)] as i16)
                .collect(),
            parts: scales.iter().map(|&scale| Part::of(scale)).collect(),
            codes,
            scales,
        }
    }

    /// The codes of a line and its blocks' scales.
    fn line(&self, line: usize) -> (&[u8], &[Option<Scale>]) {
        let codes = &self.codes[line * self.length..][..self.length];
        (codes, &self.scales[line * self.blocks..][..self.blocks])
    }
}

/// Columns of B by eights, of which there is a multiple.
#[derive(Debug)]
pub struct Columns {
    lines: Lines,
    eights: Vec<Eight>,
}

/// Eight columns side by side.
#[derive(Debug)]
struct Eight {
    /// Of each two places along k twice the numbers of all columns, both of one column side by side.
    halves: Vec<[i16; 2 * COLUMNS]>,
    /// Of each block the scales of all columns: values, exponents, and those of their lowest bits.
    values: Vec<[f64; COLUMNS]>,
    exponents: Vec<[i32; COLUMNS]>,
    lowest: Vec<[i32; COLUMNS]>,
}

impl Eight {
    fn new(lines: &Lines, first: usize) -> Self {
        let Lines { length, blocks, .. } = *lines;
        let part = |block: usize, column: usize| lines.parts[(first + column) * blocks + block];
        let all = |block: usize| std::array::from_fn(|column| part(block, column));
        let mut own = Self {
            halves: vec![[0; 2 * COLUMNS]; length / 2],
            values: Vec::with_capacity(blocks),
            exponents: Vec::with_capacity(blocks),
            lowest: Vec::with_capacity(blocks),
        };
        for column in 0..COLUMNS {
            let line = &lines.halves[(first + column) * length..][..length];
            for (halves, two) in own.halves.iter_mut().zip(line.chunks_exact(2)) {
                halves[2 * column..][..2].copy_from_slice(two);
            }
        }
        for block in 0..blocks {
            let parts: [Part; COLUMNS] = all(block);
            own.values.push(parts.map(|part| part.value));
            own.exponents.push(parts.map(|part| part.exponent));
            own.lowest.push(parts.map(|part| part.lowest));
        }
        own
    }

    /// [`narrow`](Self::narrow) in vectors of 32 bytes.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn narrow_avx2(
        &self,
        row: (&Lines, usize),
        c: [u32; COLUMNS],
    ) -> ([u64; COLUMNS], [bool; COLUMNS]) {
        self.narrow(row, c, |row: &[i16], columns: &[[i16; 2 * COLUMNS]]| {
            avx2::quarters(row, columns)
        })
    }

    /// Sums in f64, and which of them are those of all models: a term has 20 bits above the lowest of its scale, so within
    /// [`NARROW`] there are less than 53.
    #[inline(always)]
    fn narrow(
        &self,
        (rows, row): (&Lines, usize),
        c: [u32; COLUMNS],
        quarters: impl Fn(&[i16], &[[i16; 2 * COLUMNS]]) -> [i32; COLUMNS],
    ) -> ([u64; COLUMNS], [bool; COLUMNS]) {
        let Lines { length, blocks, .. } = *rows;
        let block = length / blocks.max(1);
        let halves = &rows.halves[row * length..][..length];
        let parts = &rows.parts[row * blocks..][..blocks];
        let mut sums = c.map(|bits| f64::from(f32::from_bits(bits)));
        let mut high = c.map(|bits| ((bits >> 23 & 0xff) as i32 - 127).max(SMALLEST));
        let mut low = [0; COLUMNS];
        for j in 0..COLUMNS {
            low[j] = if c[j] << 1 == 0 {
                NOWHERE
            } else {
                high[j] - 23
            };
        }
        for (number, part) in parts.iter().enumerate() {
            let (from, to) = (number * block, (number + 1) * block);
            let quarters = quarters(&halves[from..to], &self.halves[from / 2..to / 2]);
            for j in 0..COLUMNS {
                let scale = part.value * self.values[number][j] * 0.25;
                sums[j] += f64::from(quarters[j]) * scale;
                high[j] = high[j].max(part.exponent + self.exponents[number][j]);
                // Sums of products are multiples of a quarter.
                low[j] = low[j].min(part.lowest + self.lowest[number][j] - 2);
            }
        }
        let mut is_narrow = [false; COLUMNS];
        for j in 0..COLUMNS {
            // A negative zero is kept by one model.
            is_narrow[j] = high[j] - low[j] <= NARROW && sums[j].is_finite() && c[j] != 1 << 31;
        }
        (toward_zero(&sums), is_narrow)
    }
}

/// Of each column four times the sum of its products with a row, both by two places along k.
fn quarters(row: &[i16], columns: &[[i16; 2 * COLUMNS]]) -> [i32; COLUMNS] {
    let mut sums = [0; COLUMNS];
    for (own, others) in row.chunks_exact(2).zip(columns) {
        for j in 0..COLUMNS {
            let products = [0, 1].map(|i| i32::from(own[i]) * i32::from(others[2 * j + i]));
            sums[j] += products[0] + products[1];
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
    pub fn quarters(row: &[i16], columns: &[[i16; 2 * COLUMNS]]) -> [i32; COLUMNS] {
        let mut sums = _mm256_setzero_si256();
        for (own, others) in row.chunks_exact(2).zip(columns) {
            let own = i32::from(own[0] as u16) | i32::from(own[1]) << 16;
            // SAFETY: sixteen numbers are read, which there are.
            let others = unsafe { _mm256_loadu_si256(others.as_ptr().cast()) };
            sums = _mm256_add_epi32(sums, _mm256_madd_epi16(_mm256_set1_epi32(own), others));
        }
        let mut numbers = [0; COLUMNS];
        // SAFETY: eight numbers are written, for which there is room.
        unsafe { _mm256_storeu_si256(numbers.as_mut_ptr().cast(), sums) };
        numbers
    }
}

impl Columns {
    /// Of lines of an even length.
    pub fn of(lines: Lines) -> Self {
        let count = lines.codes.len() / lines.length.max(1);
        let eights = (0..count).step_by(COLUMNS);
        Self {
            eights: eights.map(|first| Eight::new(&lines, first)).collect(),
            lines,
        }
    }

    /// The sums of a row and each of eight columns, with the bits of what is added to each.
    pub fn sums(
        &self,
        (rows, row): (&Lines, usize),
        eight: usize,
        c: [u32; COLUMNS],
        format: ScaleFormat,
    ) -> [Sum; COLUMNS] {
        let columns = &self.eights[eight];
        #[cfg(target_arch = "x86_64")]
        let (narrow, is_narrow) = if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the CPU has what the function asks for.
            unsafe { columns.narrow_avx2((rows, row), c) }
        } else {
            columns.narrow((rows, row), c, quarters)
        };
        #[cfg(not(target_arch = "x86_64"))]
        let (narrow, is_narrow) = columns.narrow((rows, row), c, quarters);
        std::array::from_fn(|column| {
            if is_narrow[column] {
                let bits = narrow[column] as u32;
                return Sum {
                    bits,
                    is_decided: true,
                };
            }
            let ((a, a_scales), (b, b_scales)) =
                (rows.line(row), self.lines.line(COLUMNS * eight + column));
            let pairs = a_scales.iter().zip(b_scales);
            let pairs: Vec<Option<Pair>> = pairs.map(|(a, b)| Some((*a)?.times((*b)?))).collect();
            Dot {
                a,
                b,
                scales: &pairs,
                format,
                c: c[column],
            }
            .sum()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_by_two_are_those_one_by_one() {
        let row: Vec<i16> = (0..32).map(|k| HALVES[k * 7 % 16] as i16).collect();
        let code = |k: usize, column: usize| HALVES[(k * 5 + column * 3) % 16] as i16;
        let columns: Vec<[i16; 2 * COLUMNS]> = (0..16)
            .map(|two| std::array::from_fn(|i| code(2 * two + i % 2, i / 2)))
            .collect();
        let expected: [i32; COLUMNS] = std::array::from_fn(|column| {
            let products = row.iter().enumerate();
            let products = products.map(|(k, &own)| i32::from(own) * i32::from(code(k, column)));
            products.sum()
        });
        assert_eq!(quarters(&row, &columns), expected);
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the CPU has what the function asks for.
            assert_eq!(unsafe { avx2::quarters(&row, &columns) }, expected);
        }
    }
}
