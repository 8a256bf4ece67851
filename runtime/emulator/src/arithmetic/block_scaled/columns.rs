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
    /// Of each place along k twice the numbers of all columns.
    halves: Vec<[i16; COLUMNS]>,
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
            halves: vec![[0; COLUMNS]; length],
            values: Vec::with_capacity(blocks),
            exponents: Vec::with_capacity(blocks),
            lowest: Vec::with_capacity(blocks),
        };
        for column in 0..COLUMNS {
            let line = &lines.halves[(first + column) * length..][..length];
            for (halves, &half) in own.halves.iter_mut().zip(line) {
                halves[column] = half;
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
        self.narrow(row, c)
    }

    /// Sums in f64, and which of them are those of all models: a term has 20 bits above the lowest of its scale, so within
    /// [`NARROW`] there are less than 53.
    #[inline(always)]
    fn narrow(
        &self,
        (rows, row): (&Lines, usize),
        c: [u32; COLUMNS],
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
            let mut quarters = [0i16; COLUMNS];
            let own = number * block..(number + 1) * block;
            for (own, others) in halves[own.clone()].iter().zip(&self.halves[own]) {
                for j in 0..COLUMNS {
                    quarters[j] += own * others[j];
                }
            }
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

impl Columns {
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
            columns.narrow((rows, row), c)
        };
        #[cfg(not(target_arch = "x86_64"))]
        let (narrow, is_narrow) = columns.narrow((rows, row), c);
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
