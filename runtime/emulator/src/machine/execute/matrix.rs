//! Products of matrices: all lanes of a warp at once.

use super::super::context::{Context, Fault};
use super::Outcome;
use crate::arithmetic::Float;
use crate::arithmetic::block_scaled::{Dot, Pair, Scale};
use crate::arithmetic::dot::{Accumulation, COLUMNS, Columns, Line};
use crate::arithmetic::integer::Integer;
use crate::counts::MatrixKind;
use crate::finding::FindingKind;
use crate::instruction::{Accumulator, Element, Matrix, Multiply, Scales, Source};
use crate::machine::Lanes;
use tessera_numerics::ScaleFormat;

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
            Matrix::QuadPairs(quad_pairs) => self.quad_pairs(frame, quad_pairs),
        }
        Ok(Outcome::Done)
    }

    fn multiply(&mut self, frame: usize, multiply: &Multiply) -> Result<(), Fault> {
        let gather = |context: &Self, sources: &[Source]| -> Vec<Lanes> {
            sources
                .iter()
                .map(|source| context.values(frame, source))
                .collect()
        };
        let (a, b, c) = (
            gather(self, &multiply.a),
            gather(self, &multiply.b),
            gather(self, &multiply.c),
        );
        let all_written =
            |fragment: &[Lanes]| fragment.iter().all(|register| register.written == u32::MAX);
        // One number that nobody has written makes a row or column of the result such; the warp's whole result is said to be.
        let written = if all_written(&a) && all_written(&b) && all_written(&c) {
            u32::MAX
        } else {
            0
        };
        let scales = match &multiply.scales {
            Some(scales) => Some(self.scales(frame, scales)?),
            None => None,
        };
        let tile = Tile {
            multiply,
            a: &a,
            b: &b,
            c: &c,
            scales: scales.as_ref(),
        };
        let mut undecided = 0;
        let results: Vec<[u64; COLUMNS]> =
            if self.program.is_ring && multiply.result != Accumulator::S32 {
                tile.ring()
            } else if multiply.shape.k == 64 && scales.is_some() {
                tile.block_scaled(&mut undecided)
            } else {
                let is_fp8 = matches!(multiply.a_type, Element::Low { .. });
                tile.numbers(Accumulation::of(self.program.architecture(), is_fp8, false))
            };
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
    fn scales(&mut self, frame: usize, scales: &Scales) -> Result<BlockScales, Fault> {
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
        let decode = |register: &Lanes, lane: usize, byte: usize| {
            Scale::new(scales.format, (register.values[lane] >> (8 * byte)) as u8)
        };
        let rows = (0..16).map(|row| {
            let lane = 4 * (row % 8) + 2 * a_thread + row / 8;
            (0..scales.blocks)
                .map(|block| decode(&a[0], lane, a_byte + block))
                .collect()
        });
        let columns = (0..8).map(|column| {
            let lane = 4 * column + b_thread;
            (0..scales.blocks)
                .map(|block| decode(&b[0], lane, b_byte + block))
                .collect()
        });
        Ok(BlockScales {
            format: scales.format,
            rows: rows.collect(),
            columns: columns.collect(),
        })
    }
}

/// Scales by row of A and by column of B, block by block; none is NaN.
struct BlockScales {
    format: ScaleFormat,
    rows: Vec<Vec<Option<Scale>>>,
    columns: Vec<Vec<Option<Scale>>>,
}

impl BlockScales {
    /// The scale of each block of a row and a column.
    fn pairs(&self, (row, column): (usize, usize)) -> Vec<Option<Pair>> {
        let blocks = self.rows[row].iter().zip(&self.columns[column]);
        blocks.map(|(a, b)| Some((*a)?.times((*b)?))).collect()
    }

    /// The scale of a row and a column that have one; none if it is NaN.
    fn one(&self, (row, column): (usize, usize)) -> Option<Pair> {
        match (&self.rows[row][..], &self.columns[column][..]) {
            (&[Some(a)], &[Some(b)]) => Some(a.times(b)),
            _ => None,
        }
    }
}

/// What `mma` multiplies: 8 columns.
struct Tile<'t> {
    multiply: &'t Multiply,
    a: &'t [Lanes],
    b: &'t [Lanes],
    c: &'t [Lanes],
    scales: Option<&'t BlockScales>,
}

/// The bits of rows of D.
type Rows = Vec<[u64; COLUMNS]>;

impl Tile<'_> {
    fn rows(&self, number: impl FnMut(usize, usize) -> u64) -> Rows {
        let mut number = number;
        (0..self.multiply.shape.m)
            .map(|row| std::array::from_fn(|column| number(row, column)))
            .collect()
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

    fn addend(&self, row: usize, column: usize) -> u64 {
        c_element(self.multiply, self.c, row, column)
    }

    fn ring(&self) -> Rows {
        let (a, b) = self.operands(|element, bits| element.payload(bits));
        self.rows(|row, column| {
            let products = a[row].iter().zip(&b[column]);
            let products = products.map(|(a, b)| a.wrapping_mul(*b));
            let pairs = self.scales.map(|own| own.pairs((row, column)));
            let scales = pairs.as_deref().unwrap_or_default();
            ring_sum(
                products,
                scales,
                self.addend(row, column),
                self.multiply.result,
            )
        })
    }

    /// A and B are E2M1, with several scales along k.
    fn block_scaled(&self, undecided: &mut u64) -> Rows {
        let Some(scales) = self.scales else {
            return Vec::new();
        };
        let (a, b) = self.operands(|_, bits| bits as u8);
        self.rows(|row, column| {
            let sum = Dot {
                a: &a[row],
                b: &b[column],
                scales: &scales.pairs((row, column)),
                format: scales.format,
                c: self.addend(row, column) as u32,
            }
            .sum();
            *undecided += u64::from(!sum.is_decided);
            u64::from(sum.bits)
        })
    }

    /// Any other numbers.
    fn numbers(&self, accumulation: Accumulation) -> Rows {
        let multiply = self.multiply;
        // Of the formats that most products are of, a loop that asks for no format.
        let (a, b) = match (multiply.a_type, multiply.b_type) {
            (Element::F16, Element::F16) => self.operands(|_, bits| Float::F16.value(bits)),
            (Element::Bf16, Element::Bf16) => self.operands(|_, bits| Float::Bf16.value(bits)),
            _ => self.operands(|element, bits| element.value(bits)),
        };
        let half = match multiply.result {
            Accumulator::S32 => {
                return self.rows(|row, column| {
                    let c = self.addend(row, column);
                    if multiply.is_xor {
                        // Of bits that differ the square of the difference is 1.
                        let differences = a[row].iter().zip(&b[column]).map(|(a, b)| a - b);
                        let differences: Vec<f64> = differences.collect();
                        return integer_sum(&differences, &differences, c, false);
                    }
                    integer_sum(&a[row], &b[column], c, multiply.saturates)
                });
            }
            Accumulator::F64 => {
                return self.rows(|row, column| {
                    let c = f64::from_bits(self.addend(row, column));
                    let pairs = a[row].iter().zip(&b[column]);
                    pairs.fold(c, |sum, (a, b)| a.mul_add(*b, sum)).to_bits()
                });
            }
            Accumulator::F16 => true,
            Accumulator::F32 => false,
        };
        let c_type = if half { Float::F16 } else { Float::F32 };
        let column = |values| Line::new(values, multiply.b_type.smallest_exponent());
        let columns = Columns::new(b.into_iter().map(column).collect());
        let rows = a.into_iter().enumerate().map(|(row, values)| {
            let line = Line::new(values, multiply.a_type.smallest_exponent());
            let c = std::array::from_fn(|column| c_type.value(self.addend(row, column)));
            // One scale for each side: powers of two, which go into the exponent; that of a NaN is not there.
            let exponents = std::array::from_fn(|column| {
                let pair = self.scales?.one((row, column));
                Some(pair.map(Pair::exponent))
            });
            let scales = exponents.map(|scale| scale.flatten().unwrap_or(0));
            let mut sums = columns.fused(&line, c, scales, accumulation, half);
            for (sum, scale) in sums.iter_mut().zip(exponents) {
                if scale == Some(None) {
                    *sum = Float::F32.nan();
                }
            }
            sums
        });
        rows.collect()
    }
}

/// The dot product of integers of up to 8 bits, and what is added.
pub(super) fn integer_sum(a: &[f64], b: &[f64], c: u64, saturates: bool) -> u64 {
    // Products of 8 bits are integers of 16, exact in f64 as their sums are.
    let sum: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
    let s32 = Integer {
        bits: 32,
        signed: true,
    };
    let sum = sum as i128 + s32.value(c);
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

/// Rows of A or columns of B, `eights` times eight of `k` numbers each. Of each the numbers are in the same place of four
/// lanes, so many in a register, one register behind the other along k; those of the next eight lie between them.
fn lines<T>(
    element: Element,
    (eights, k): (usize, usize),
    registers: &[Lanes],
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

fn c_element(multiply: &Multiply, c: &[Lanes], row: usize, column: usize) -> u64 {
    let lane = 4 * (row % 8) + column / 2;
    if multiply.result == Accumulator::F16 {
        c[row / 8].values[lane] >> (16 * (column % 2)) & 0xffff
    } else {
        c[2 * (row / 8) + column % 2].values[lane]
    }
}
