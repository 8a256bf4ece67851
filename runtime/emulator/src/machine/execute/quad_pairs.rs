//! `mma.m8n8k4` of f16: four products, each of eight lanes.

use super::super::context::Context;
use crate::arithmetic::Float;
use crate::arithmetic::dot::{Accumulation, COLUMNS, Columns, Lines};
use crate::arithmetic::ring::Ring;
use crate::counts::MatrixKind;
use crate::instruction::{Accumulator, Element, QuadPairs, Source, of_d};
use crate::machine::Lanes;

/// What is summed over.
const K: usize = 4;
/// Rows, and lanes of a pair.
const ROWS: usize = 8;

impl Context<'_> {
    pub(super) fn quad_pairs(&mut self, frame: usize, own: &QuadPairs) {
        let gather = |sources: &[Source]| -> Vec<Lanes> {
            let lanes = sources.iter().map(|source| self.values(frame, source));
            lanes.collect()
        };
        let operands = [gather(&own.a), gather(&own.b), gather(&own.c)];
        let is_written = operands.iter().flatten().all(|own| own.written == u32::MAX);
        let mut results = vec![Lanes::splat(0); own.d.len()];
        for pair in 0..4 {
            let lanes: [usize; ROWS] =
                std::array::from_fn(|member| 4 * pair + member % 4 + 16 * (member / 4));
            let pair = Pair {
                own,
                lanes,
                operands: &operands,
            };
            let sums = if self.program.is_ring {
                pair.ring()
            } else {
                // What is made of longer products is not made of halves of this one.
                let how = Accumulation::of(self.program.architecture(), false, false);
                pair.numbers(Accumulation {
                    halves: false,
                    ..how
                })
            };
            for (member, lane) in lanes.into_iter().enumerate() {
                for i in 0..COLUMNS {
                    let (row, column) = of_d(own.d_type, member, i);
                    let (register, shift) = slot(own.d_type, i);
                    results[register].values[lane] |= sums[row][column] << shift;
                }
            }
        }
        let kind = MatrixKind {
            instruction: "mma",
            kind: None,
            types: ["f16"; 2],
        };
        let count = (4 * ROWS * COLUMNS * K) as u64;
        self.ctas[self.rank].counts.multiply(kind, count);
        for (lanes, &destination) in results.iter_mut().zip(&own.d) {
            lanes.written = if is_written { u32::MAX } else { 0 };
            self.set(frame, destination, u32::MAX, lanes);
        }
    }
}

/// Register of a lane's number `i` of C or D, and the bit that it begins at.
fn slot(kind: Accumulator, i: usize) -> (usize, usize) {
    match kind {
        Accumulator::F16 => (i / 2, 16 * (i % 2)),
        _ => (i, 0),
    }
}

fn float(kind: Accumulator) -> Float {
    match kind {
        Accumulator::F16 => Float::F16,
        _ => Float::F32,
    }
}

/// One of the products.
struct Pair<'p> {
    own: &'p QuadPairs,
    lanes: [usize; ROWS],
    /// Registers of A, B, C.
    operands: &'p [Vec<Lanes>; 3],
}

impl Pair<'_> {
    fn half(&self, operand: usize, member: usize, i: usize) -> u64 {
        let register = &self.operands[operand][i / 2];
        register.values[self.lanes[member]] >> (16 * (i % 2)) & 0xffff
    }

    fn a(&self, row: usize, k: usize) -> u64 {
        if self.own.a_in_columns {
            self.half(0, k + row / 4 * 4, row % 4)
        } else {
            self.half(0, row, k)
        }
    }

    fn b(&self, k: usize, column: usize) -> u64 {
        if self.own.b_in_columns {
            self.half(1, column, k)
        } else {
            self.half(1, k + column / 4 * 4, column % 4)
        }
    }

    /// The bits of C.
    fn c(&self) -> [[u64; COLUMNS]; ROWS] {
        let kind = self.own.c_type;
        let mut all = [[0; COLUMNS]; ROWS];
        for (member, lane) in self.lanes.into_iter().enumerate() {
            for i in 0..COLUMNS {
                let (row, column) = of_d(kind, member, i);
                let (register, shift) = slot(kind, i);
                let bits = self.operands[2][register].values[lane] >> shift;
                all[row][column] = match kind {
                    Accumulator::F16 => bits & 0xffff,
                    _ => bits,
                };
            }
        }
        all
    }

    fn ring(&self) -> [[u64; COLUMNS]; ROWS] {
        let c = self.c();
        let halves = Ring::of(Float::F16);
        let (from, to) = (
            Ring::of(float(self.own.c_type)),
            Ring::of(float(self.own.d_type)),
        );
        let one = |row: usize, column: usize| {
            let products = (0..K).map(|k| {
                let a = halves.payload(self.a(row, k));
                a.wrapping_mul(halves.payload(self.b(k, column)))
            });
            let addend = from.payload(c[row][column]);
            to.pattern(products.fold(addend, i64::wrapping_add))
        };
        std::array::from_fn(|row| std::array::from_fn(|column| one(row, column)))
    }

    fn numbers(&self, how: Accumulation) -> [[u64; COLUMNS]; ROWS] {
        let c = self.c();
        let lines = |count: usize, bits: &dyn Fn(usize, usize) -> u64| {
            let places = (0..count).flat_map(|line| (0..K).map(move |k| (line, k)));
            let values = places.map(|(line, k)| Element::F16.number(bits(line, k) as u32));
            Lines::new(K, values.collect(), Element::F16.smallest_exponent())
        };
        let rows = lines(ROWS, &|row, k| self.a(row, k));
        let columns = Columns::of(&lines(COLUMNS, &|column, k| self.b(k, column)));
        let kind = float(self.own.c_type);
        std::array::from_fn(|row| {
            let addends = c[row].map(|bits| kind.value(bits));
            let half = self.own.d_type == Accumulator::F16;
            columns[0].fused((&rows, row), addends, [0; COLUMNS], how, half)
        })
    }
}
