//! Products of matrices: all lanes of a warp at once.

use super::super::context::{Context, Fault};
use super::Outcome;
use crate::arithmetic::Float;
use crate::arithmetic::block_scaled::{self, Pair, Scale};
use crate::arithmetic::dot::{Accumulation, COLUMNS, Columns, Lines};
use crate::arithmetic::integer::Integer;
use crate::counts::MatrixKind;
use crate::finding::FindingKind;
use crate::instruction::{Accumulator, Element, Matrix, Multiply, Scales, Source};
use crate::machine::Lanes;
use crate::machine::kept::{Fragment, KeptFragments};
use tessera_numerics::ScaleFormat;

/// 8×8 numbers of 16 bits transposed: lane 4r + c/2 has those of row r at columns c and c + 1.
fn transposed(from: &Lanes) -> Lanes {
    let mut to = Lanes::splat(0);
    for row in 0..8 {
        for column in 0..8 {
            let (its, own) = (4 * column + row / 2, 4 * row + column / 2);
            let number = from.values[its] >> (16 * (row % 2)) & 0xffff;
            to.values[own] |= number << (16 * (column % 2));
            to.written &= !(u32::from(from.written >> its & 1 == 0) << own);
        }
    }
    to
}

impl Context<'_> {
    pub(super) fn matrix(
        &mut self,
        strand: usize,
        active: u32,
        matrix: &Matrix,
    ) -> Result<Outcome, Fault> {
        if active == 0 {
            return Ok(Outcome::Done);
        }
        if !self.gathers_warp(strand, active)? {
            return Ok(Outcome::Waits);
        }
        let frame = self.warp.strands[strand].frame;
        match matrix {
            Matrix::Move(own) => self.move_matrices(frame, own)?,
            Matrix::Multiply(multiply) => self.multiply(frame, multiply)?,
            Matrix::Transpose {
                source,
                destination,
            } => {
                let from = self.values(frame, source);
                let to = transposed(&from);
                self.set(frame, *destination, active, &to);
            }
            Matrix::QuadPairs(quad_pairs) => self.quad_pairs(frame, quad_pairs),
        }
        Ok(Outcome::Done)
    }

    fn multiply(&mut self, frame: usize, multiply: &Multiply) -> Result<(), Fault> {
        let scales = match &multiply.scales {
            Some(scales) => Some(self.scales(frame, scales)?),
            None => None,
        };
        let mut kept = std::mem::take(self.fragments);
        // Registers are read where they are; other sources have their values made.
        let is_made = |source: &&Source| !matches!(source, Source::Register(_));
        let sources = [&multiply.a, &multiply.b, &multiply.c];
        let made = sources.into_iter().flatten().filter(is_made);
        let made: Vec<Lanes> = made.map(|source| self.values(frame, source)).collect();
        let mut made = made.iter();
        let [a, b, c] = sources.map(|sources| {
            let lanes = sources.iter().map(|source| match source {
                Source::Register(register) => self.register(frame, *register),
                _ => made.next().unwrap_or(&super::NOTHING),
            });
            lanes.collect::<Vec<&Lanes>>()
        });
        let all_written =
            |fragment: &[&Lanes]| fragment.iter().all(|register| register.written == u32::MAX);
        // One number that nobody has written makes a row or column of the result such; the warp's whole result is said to be.
        let written = if all_written(&a) && all_written(&b) && all_written(&c) {
            u32::MAX
        } else {
            0
        };
        let tile = Tile {
            multiply,
            a: &a,
            b: &b,
            c: &c,
            scales: scales.as_ref(),
        };
        let mut undecided = 0;
        let results = if self.program.is_ring && multiply.result != Accumulator::S32 {
            tile.ring()
        } else {
            match (multiply.result, &scales) {
                (_, Some(scales)) if multiply.shape.k == 64 => {
                    tile.block_scaled(scales, &mut kept, &mut undecided)
                }
                (Accumulator::S32, _) => tile.integers(),
                (Accumulator::F64, _) => tile.doubles(),
                (Accumulator::F16 | Accumulator::F32, _) => {
                    let is_fp8 = matches!(multiply.a_type, Element::Low { .. });
                    let how = Accumulation::of(self.program.architecture(), is_fp8, false);
                    tile.numbers(how, &mut kept)
                }
            }
        };
        *self.fragments = kept;
        let counts = &mut self.ctas[self.rank].counts;
        counts.model_dependent += undecided;
        let kind = MatrixKind {
            instruction: "mma",
            kind: multiply.kind,
            types: [multiply.a_type.name(), multiply.b_type.name()],
        };
        counts.multiply(kind, (multiply.shape.m * 8 * multiply.shape.k) as u64);
        for (number, &destination) in multiply.d.iter().enumerate() {
            let mut lanes = Lanes {
                values: [0; 32],
                written,
            };
            for lane in 0..32 {
                let (group, thread) = (lane / 4, lane % 4);
                lanes.values[lane] = if multiply.result == Accumulator::F16 {
                    let row = group + 8 * number;
                    results[row][2 * thread] | results[row][2 * thread + 1] << 16
                } else {
                    results[group + 8 * (number / 2)][2 * thread + number % 2]
                };
            }
            self.set(frame, destination, u32::MAX, &lanes);
        }
        Ok(())
    }

    /// The scales of each row of A and column of B, block by block.
    fn scales(&self, frame: usize, scales: &Scales) -> Result<BlockScales, Fault> {
        let [a, b] = [&scales.a, &scales.b].map(|selected| {
            [&selected.register, &selected.byte, &selected.thread]
                .map(|source| self.values(frame, source))
        });
        let (a_byte, a_thread) = (a[1].values[0] as usize, a[2].values[0] as usize);
        let (b_byte, b_thread) = (b[1].values[0] as usize, b[2].values[0] as usize);
        if a_thread > 1 || b_thread > 3 || a_byte + scales.blocks > 4 || b_byte + scales.blocks > 4
        {
            let reason = "'mma' selects scales that are not there: a thread of A is 0 or 1, one of B 0 to 3, and bytes are \
                          within a register";
            return Err(Fault {
                kind: FindingKind::Refused {
                    reason: reason.into(),
                },
                lane: 0,
            });
        }
        let mask = u32::MAX >> (32 - 8 * scales.blocks);
        let word = |register: &Lanes, lane: usize, byte: usize| {
            (register.values[lane] as u32) >> (8 * byte) & mask
        };
        Ok(BlockScales {
            format: scales.format,
            blocks: scales.blocks,
            rows: std::array::from_fn(|row| {
                let lane = 4 * (row % 8) + 2 * a_thread + row / 8;
                word(&a[0], lane, a_byte)
            }),
            columns: std::array::from_fn(|column| word(&b[0], 4 * column + b_thread, b_byte)),
        })
    }
}

/// Scales by row of A and by column of B, those of a line's blocks the bytes of a word.
struct BlockScales {
    format: ScaleFormat,
    blocks: usize,
    rows: [u32; ROWS],
    columns: [u32; COLUMNS],
}

impl BlockScales {
    /// The scales of a line's blocks; none is NaN.
    fn of(&self, word: u32) -> impl Iterator<Item = Option<Scale>> {
        let bytes = word.to_le_bytes().into_iter().take(self.blocks);
        bytes.map(|code| Scale::new(self.format, code))
    }

    /// The scale of each block of a row and a column.
    fn pairs(&self, (row, column): (usize, usize)) -> Vec<Option<Pair>> {
        let blocks = (self.of(self.rows[row])).zip(self.of(self.columns[column]));
        blocks.map(|(a, b)| Some(a?.times(b?))).collect()
    }

    /// The scale of a line that has one; none if it is NaN.
    fn one(&self, word: u32) -> Option<Scale> {
        Scale::new(self.format, word as u8)
    }
}

/// Rows of D, at most.
const ROWS: usize = 16;

/// What `mma` multiplies: 8 columns.
struct Tile<'t> {
    multiply: &'t Multiply,
    a: &'t [&'t Lanes],
    b: &'t [&'t Lanes],
    c: &'t [&'t Lanes],
    scales: Option<&'t BlockScales>,
}

/// The bits of rows of D.
type Rows = [[u64; COLUMNS]; ROWS];

impl Tile<'_> {
    /// Rows of numbers, which are made of a row, a column and the bits of what is added.
    fn rows(&self, number: impl Fn(usize, usize, u64) -> u64) -> Rows {
        self.each_row(|row, c| std::array::from_fn(|column| number(row, column, c[column])))
    }

    /// Rows, which are made of the bits of what is added to each.
    fn each_row(&self, mut of: impl FnMut(usize, [u64; COLUMNS]) -> [u64; COLUMNS]) -> Rows {
        let mut rows = self.addends();
        for (row, bits) in rows.iter_mut().enumerate().take(self.multiply.shape.m) {
            *bits = of(row, *bits);
        }
        rows
    }

    /// Bits of A's rows and of B's columns, as `of` takes them.
    fn operands<T>(&self, of: impl Fn(Element, u64) -> T) -> (Vec<Vec<T>>, Vec<Vec<T>>) {
        let Multiply {
            shape,
            a_type,
            b_type,
            ..
        } = *self.multiply;
        let a = lines(a_type, (shape.m / 8, shape.k), self.a, &of);
        (a, lines(b_type, (1, shape.k), self.b, &of))
    }

    /// The bits of what is added.
    fn addends(&self) -> Rows {
        let mut rows = [[0; COLUMNS]; ROWS];
        for (number, register) in self.c.iter().enumerate() {
            for (lane, &value) in register.values.iter().enumerate() {
                let (group, column) = (lane / 4, lane % 4 * 2);
                if self.multiply.result == Accumulator::F16 {
                    let two = &mut rows[group + 8 * number][column..column + 2];
                    two.copy_from_slice(&[value & 0xffff, value >> 16]);
                } else {
                    rows[group + 8 * (number / 2)][column + number % 2] = value;
                }
            }
        }
        rows
    }

    fn ring(&self) -> Rows {
        let (a, b) = self.operands(|element, bits| element.payload(bits));
        self.rows(|row, column, c| {
            let products = a[row].iter().zip(&b[column]);
            let products = products.map(|(a, b)| a.wrapping_mul(*b));
            let pairs = self.scales.map(|own| own.pairs((row, column)));
            let scales = pairs.as_deref().unwrap_or_default();
            ring_sum(products, scales, c, self.multiply.result)
        })
    }

    /// The words of A's rows and of B's columns.
    fn fragments(&self) -> (Fragment, Fragment) {
        let Multiply {
            shape,
            b_type,
            a_type,
            ..
        } = *self.multiply;
        let fours = |element: Element| shape.k * element.bits() / 128;
        let a = fragment(a_type, (shape.m / 8, fours(a_type)), self.a);
        (a, fragment(b_type, (1, fours(b_type)), self.b))
    }

    /// The first registers of A and B.
    fn registers(&self) -> [u32; 2] {
        [&self.multiply.a, &self.multiply.b].map(|own| match own.first() {
            Some(Source::Register(register)) => register.0,
            _ => 0,
        })
    }

    /// A and B are E2M1, with several scales along k.
    fn block_scaled(
        &self,
        scales: &BlockScales,
        kept: &mut KeptFragments,
        undecided: &mut u64,
    ) -> Rows {
        let ((mut a, mut b), registers) = (self.fragments(), self.registers());
        let lines = |fragment: &Fragment, of_blocks: &[u32]| {
            let words = fragment.words().iter();
            let words = words.take(of_blocks.len() * self.multiply.shape.k / 8);
            let codes = words.flat_map(|word| (0..8).map(move |i| (word >> (4 * i)) as u8 & 15));
            let of_blocks = of_blocks.iter().flat_map(|&word| scales.of(word));
            block_scaled::Lines::new(
                (codes.collect(), self.multiply.shape.k),
                (of_blocks.collect(), scales.blocks),
            )
        };
        let form = [scales.format as u32, scales.blocks as u32];
        a.push(scales.rows.into_iter().chain(form));
        b.push(scales.columns.into_iter().chain(form));
        let rows = (kept.rows_of_codes).get(registers[0], &a, || lines(&a, &scales.rows));
        let columns = (kept.columns_of_codes).get(registers[1], &b, || {
            block_scaled::Columns::of(lines(&b, &scales.columns))
        });
        self.each_row(|row, c| {
            let c = c.map(|bits| bits as u32);
            let sums = columns.sums((rows, row), 0, c, scales.format);
            *undecided += sums.iter().filter(|sum| !sum.is_decided).count() as u64;
            sums.map(|sum| u64::from(sum.bits))
        })
    }

    /// Integers.
    fn integers(&self) -> Rows {
        let multiply = self.multiply;
        let (a, b) = self.operands(|element, bits| element.value(bits) as i64);
        self.rows(|row, column, c| {
            let pairs = a[row].iter().zip(&b[column]);
            // The exclusive or of bits is the square of their difference.
            let products = pairs.map(|(a, b)| {
                if multiply.is_xor {
                    (a - b).pow(2)
                } else {
                    a * b
                }
            });
            integer_sum(products, c, multiply.saturates)
        })
    }

    /// Numbers of f64, each sum from the first to the last.
    fn doubles(&self) -> Rows {
        let (a, b) = self.operands(|_, bits| f64::from_bits(bits));
        self.rows(|row, column, c| {
            let pairs = a[row].iter().zip(&b[column]);
            pairs
                .fold(f64::from_bits(c), |sum, (a, b)| a.mul_add(*b, sum))
                .to_bits()
        })
    }

    /// Any other numbers.
    fn numbers(&self, accumulation: Accumulation, kept: &mut KeptFragments) -> Rows {
        let multiply = self.multiply;
        let half = multiply.result == Accumulator::F16;
        let value = |bits: u64| match half {
            true => f64::from(Element::F16.number(bits as u32)),
            false => f64::from(f32::from_bits(bits as u32)),
        };
        let ((a, b), registers) = (self.fragments(), self.registers());
        let lines = |element: Element, fragment: &Fragment| {
            let smallest = element.smallest_exponent();
            Lines::new(
                multiply.shape.k,
                element.numbers(fragment.words()),
                smallest,
            )
        };
        let rows = (kept.rows).get(registers[0], &a, || lines(multiply.a_type, &a));
        let columns = (kept.columns).get(registers[1], &b, || {
            Columns::first(&lines(multiply.b_type, &b))
        });
        let Some(scales) = self.scales else {
            return self.each_row(|row, c| {
                let none = [0; COLUMNS];
                columns.fused((rows, row), c.map(value), none, accumulation, half)
            });
        };
        // One scale for each side: powers of two, which go into the exponent; that of a NaN is not there.
        let of_columns = scales.columns.map(|word| scales.one(word));
        self.each_row(|row, c| {
            let own = scales.one(scales.rows[row]);
            let exponents = of_columns.map(|other| Some(own?.times(other?).exponent()));
            let exponent = exponents.map(|own| own.unwrap_or(0));
            let mut sums = columns.fused((rows, row), c.map(value), exponent, accumulation, half);
            for (sum, scale) in sums.iter_mut().zip(exponents) {
                if scale.is_none() {
                    *sum = Float::F32.nan();
                }
            }
            sums
        })
    }
}

/// The sum of products of integers of up to 8 bits, and of what is added.
pub(super) fn integer_sum(products: impl Iterator<Item = i64>, c: u64, saturates: bool) -> u64 {
    let s32 = Integer {
        bits: 32,
        signed: true,
    };
    let sum = i128::from(products.sum::<i64>()) + s32.value(c);
    if saturates {
        s32.saturate(sum)
    } else {
        s32.wrap(sum)
    }
}

/// One number of D in the ring mode: the products, their blocks' scales, and what is added, as its bits are.
pub(crate) fn ring_sum(
    products: impl ExactSizeIterator<Item = i64>,
    scales: &[Option<Pair>],
    addend: u64,
    result: Accumulator,
) -> u64 {
    use crate::arithmetic::{Float, ring::Ring};
    let ring = Ring::of(match result {
        Accumulator::F16 => Float::F16,
        Accumulator::F64 => Float::F64,
        Accumulator::F32 | Accumulator::S32 => Float::F32,
    });
    let block = products.len() / scales.len().max(1);
    let sum = products.enumerate().fold(0i64, |sum, (k, product)| {
        let scale = match scales.get(k / block.max(1)) {
            Some(Some(pair)) => pair.payload(),
            // A NaN, which is a number like others.
            Some(None) => 0x7f,
            None => 1,
        };
        sum.wrapping_add(product.wrapping_mul(scale))
    });
    ring.pattern(sum.wrapping_add(ring.payload(addend)))
}

/// The words of rows of A or columns of B, `eights` times eight of four times `fours` words each: as [`lines`], of words.
fn fragment(element: Element, (eights, fours): (usize, usize), registers: &[&Lanes]) -> Fragment {
    let mut fragment = Fragment::new(element);
    for line in 0..8 * eights {
        for register in registers.iter().skip(line / 8).step_by(eights).take(fours) {
            let four = &register.values[4 * (line % 8)..][..4];
            fragment.push(four.iter().map(|&word| word as u32));
        }
    }
    fragment
}

/// Rows of A or columns of B, `eights` times eight of `k` numbers each. Of each the numbers are in the same place of four
/// lanes, so many in a register, one register behind the other along k; those of the next eight lie between them.
fn lines<T>(
    element: Element,
    (eights, k): (usize, usize),
    registers: &[&Lanes],
    of: impl Fn(Element, u64) -> T,
) -> Vec<Vec<T>> {
    let bits = element.bits();
    let each = (32 / bits).max(1);
    let mask = u64::MAX >> (64 - bits);
    let line = |line: usize| {
        let mut numbers = Vec::with_capacity(k);
        for register in registers.iter().skip(line / 8).step_by(eights) {
            for &four in &register.values[4 * (line % 8)..][..4] {
                numbers.extend((0..each).map(|slot| of(element, four >> (slot * bits) & mask)));
            }
        }
        numbers.truncate(k);
        numbers
    };
    (0..8 * eights).map(line).collect()
}
