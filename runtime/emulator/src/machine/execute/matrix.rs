//! Matrix fragments: all lanes of a warp at once.

use super::super::context::{Context, Fault};
use super::Outcome;
use crate::arithmetic::block_scaled::{Dot, Pair, Scale, Sum};
use crate::arithmetic::dot::{Accumulation, Operand, fused};
use crate::arithmetic::integer::Integer;
use crate::finding::FindingKind;
use crate::instruction::{
    Access, Accumulator, Element, Location, Matrix, Multiply, Ordering, Scales, Source, Space,
};
use crate::machine::Lanes;
use crate::machine::places::Places;
use crate::memory::address::Window;
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
            Matrix::Load {
                matrices,
                transposed,
                location,
                generic,
                destinations,
            } => {
                let rows = self.rows(
                    frame,
                    location,
                    *generic,
                    *matrices,
                    "reads from shared memory",
                )?;
                for (matrix, &destination) in destinations.iter().enumerate() {
                    let mut lanes = Lanes::splat(0);
                    for lane in 0..32 {
                        for half in 0..2 {
                            let (row, column) = place(lane, half, *transposed);
                            let (window, begin) = rows[matrix * 8 + row];
                            let (value, written) =
                                self.element(frame, matrix * 8 + row, window, begin, column)?;
                            lanes.values[lane] |= value << (16 * half);
                            lanes.written &= !(u32::from(!written) << lane);
                        }
                    }
                    self.set(frame, destination, u32::MAX, &lanes);
                }
            }
            Matrix::Store {
                matrices,
                transposed,
                location,
                generic,
                sources,
            } => {
                let rows = self.rows(
                    frame,
                    location,
                    *generic,
                    *matrices,
                    "writes to shared memory",
                )?;
                for (matrix, source) in sources.iter().enumerate() {
                    let values = self.values(frame, source);
                    for lane in 0..32 {
                        for half in 0..2 {
                            let (row, column) = place(lane, half, *transposed);
                            let (window, begin) = rows[matrix * 8 + row];
                            let value = (
                                values.values[lane] >> (16 * half) & 0xffff,
                                values.written >> lane & 1 == 1,
                            );
                            let address = begin + 2 * column as u64;
                            let owner = (matrix * 8 + row) as u32;
                            if self
                                .write(frame, owner, window, address, 2, value)
                                .is_none()
                            {
                                return Err(beyond("writes to shared memory", address, owner));
                            }
                        }
                    }
                }
            }
            Matrix::Multiply(multiply) => self.multiply(frame, multiply)?,
        }
        Ok(Outcome::Done)
    }

    /// Where each row of some matrices lies; the lane of a row has its address.
    fn rows(
        &mut self,
        frame: usize,
        location: &Location,
        generic: bool,
        matrices: u32,
        what: &'static str,
    ) -> Result<Places, Fault> {
        let space = if generic {
            Space::Generic
        } else {
            Space::Shared
        };
        let access = Access {
            space,
            location: location.clone(),
            bytes: 16,
        };
        let lanes = u32::MAX >> (32 - 8 * matrices);
        let places = self.places(frame, lanes, &access, 16, what)?;
        for lane in 0..8 * matrices {
            if places[lane as usize].0 != Window::Shared {
                return Err(beyond(what, places[lane as usize].1, lane));
            }
        }
        let writes = what.starts_with("writes");
        self.accesses(lanes, &places, (!writes, writes), Ordering::default());
        Ok(places)
    }

    fn element(
        &self,
        frame: usize,
        owner: usize,
        window: Window,
        row: u64,
        column: usize,
    ) -> Result<(u64, bool), Fault> {
        let address = row + 2 * column as u64;
        let read = self.read(frame, owner as u32, window, address, 2);
        read.ok_or_else(|| beyond("reads from shared memory", address, owner as u32))
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
        let accumulation =
            Accumulation::of(self.program.architecture(), is_fp8(multiply.a_type), false);
        let mut undecided = 0;
        let is_ring = self.program.is_ring && multiply.result != Accumulator::S32;
        let results: Vec<[u64; 8]> = (0..multiply.shape.m)
            .map(|row| {
                std::array::from_fn(|column| {
                    let addend = c_element(multiply, &c, row, column);
                    if is_ring {
                        let products = (0..multiply.shape.k).map(|k| {
                            let a = multiply.a_type.payload(a_bits(multiply, &a, row, k));
                            let b = multiply.b_type.payload(b_bits(multiply, &b, k, column));
                            a.wrapping_mul(b)
                        });
                        let pairs = scales.as_ref().map(|own| own.pairs((row, column)));
                        let scales = pairs.as_deref().unwrap_or_default();
                        return ring_sum(products, scales, addend, multiply.result);
                    }
                    if let Some(scales) = scales.as_ref().filter(|_| multiply.shape.k == 64) {
                        let sum = scales.sum(multiply, (&a, &b), (row, column), addend as u32);
                        undecided += u64::from(!sum.is_decided);
                        return u64::from(sum.bits);
                    }
                    let pairs = (0..multiply.shape.k).map(|k| {
                        (
                            a_element(multiply, &a, row, k),
                            b_element(multiply, &b, k, column),
                        )
                    });
                    one(
                        multiply,
                        pairs,
                        addend,
                        scales.as_ref(),
                        (row, column),
                        accumulation,
                    )
                })
            })
            .collect();
        let counts = &mut self.ctas[self.rank].counts;
        counts.model_dependent += undecided;
        counts.multiply_adds += (multiply.shape.m * 8 * multiply.shape.k) as u64;
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

    /// A number of D where A and B are E2M1.
    fn sum(
        &self,
        multiply: &Multiply,
        (a, b): (&[Lanes], &[Lanes]),
        at: (usize, usize),
        c: u32,
    ) -> Sum {
        let k = 0..multiply.shape.k;
        let row: Vec<u8> = k
            .clone()
            .map(|k| a_bits(multiply, a, at.0, k) as u8)
            .collect();
        let column: Vec<u8> = k.map(|k| b_bits(multiply, b, k, at.1) as u8).collect();
        Dot {
            a: &row,
            b: &column,
            scales: &self.pairs(at),
            format: self.format,
            c,
        }
        .sum()
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

/// One number of D.
fn one(
    multiply: &Multiply,
    pairs: impl Iterator<Item = (f64, f64)>,
    c: u64,
    scales: Option<&BlockScales>,
    (row, column): (usize, usize),
    accumulation: Accumulation,
) -> u64 {
    let pairs: Vec<(f64, f64)> = pairs.collect();
    match multiply.result {
        Accumulator::S32 => {
            // Products of 8 bits are integers of 16, exact in f64 as their sums are.
            let sum: f64 = pairs.iter().map(|(a, b)| a * b).sum();
            let s32 = Integer {
                bits: 32,
                signed: true,
            };
            let sum = sum as i128 + s32.value(c);
            return if multiply.saturates {
                s32.saturate(sum)
            } else {
                s32.wrap(sum)
            };
        }
        Accumulator::F64 => {
            return pairs
                .iter()
                .fold(f64::from_bits(c), |sum, &(a, b)| a.mul_add(b, sum))
                .to_bits();
        }
        Accumulator::F16 | Accumulator::F32 => {}
    }
    let half = multiply.result == Accumulator::F16;
    let c = if half {
        crate::arithmetic::Float::F16.value(c)
    } else {
        crate::arithmetic::Float::F32.value(c)
    };
    let Some(scales) = scales else {
        return fused(&operands(multiply, &pairs), c, 0, accumulation, half);
    };
    // One scale for each side: powers of two, which go into the exponent.
    let [Some(pair)] = scales.pairs((row, column))[..] else {
        return crate::arithmetic::Float::F32.nan();
    };
    fused(
        &operands(multiply, &pairs),
        c,
        pair.exponent(),
        accumulation,
        half,
    )
}

fn operands(multiply: &Multiply, pairs: &[(f64, f64)]) -> Vec<(Operand, Operand)> {
    let (a, b) = (
        multiply.a_type.smallest_exponent(),
        multiply.b_type.smallest_exponent(),
    );
    pairs.iter().map(|&(x, y)| ((x, a), (y, b))).collect()
}

fn is_fp8(element: Element) -> bool {
    matches!(element, Element::Low { .. })
}

/// Row and column in an 8×8 matrix of the number in a half of a lane's register.
fn place(lane: usize, half: usize, transposed: bool) -> (usize, usize) {
    let (row, column) = (lane / 4, lane % 4 * 2 + half);
    if transposed {
        (column, row)
    } else {
        (row, column)
    }
}

fn a_element(multiply: &Multiply, a: &[Lanes], row: usize, k: usize) -> f64 {
    multiply.a_type.value(a_bits(multiply, a, row, k))
}

fn b_element(multiply: &Multiply, b: &[Lanes], k: usize, column: usize) -> f64 {
    multiply.b_type.value(b_bits(multiply, b, k, column))
}

fn a_bits(multiply: &Multiply, a: &[Lanes], row: usize, k: usize) -> u64 {
    let (register, thread, slot) = along_k(multiply.a_type, k);
    let number = 2 * register + row / 8;
    bits_of(multiply.a_type, &a[number], 4 * (row % 8) + thread, slot)
}

fn b_bits(multiply: &Multiply, b: &[Lanes], k: usize, column: usize) -> u64 {
    let (register, thread, slot) = along_k(multiply.b_type, k);
    bits_of(multiply.b_type, &b[register], 4 * column + thread, slot)
}

/// Which of the registers, of which lane of four, in which place holds an element.
fn along_k(element: Element, k: usize) -> (usize, usize, usize) {
    let each = (32 / element.bits()).max(1);
    (k / (4 * each), k / each % 4, k % each)
}

fn bits_of(element: Element, register: &Lanes, lane: usize, slot: usize) -> u64 {
    let bits = element.bits();
    register.values[lane] >> (slot * bits) & (u64::MAX >> (64 - bits))
}

fn c_element(multiply: &Multiply, c: &[Lanes], row: usize, column: usize) -> u64 {
    let lane = 4 * (row % 8) + column / 2;
    if multiply.result == Accumulator::F16 {
        c[row / 8].values[lane] >> (16 * (column % 2)) & 0xffff
    } else {
        c[2 * (row / 8) + column % 2].values[lane]
    }
}

fn beyond(access: &'static str, address: u64, lane: u32) -> Fault {
    Fault {
        kind: FindingKind::OutOfBounds {
            access,
            address,
            bytes: 16,
        },
        lane,
    }
}
