//! `wgmma`: begun here, done when its group is waited for.
//!
//! Four warps that execute it together each compute their own rows, so that each is work of its own. Until then the registers
//! of D are in flight: who uses them is found, and so is who begins on registers written since the last `wgmma.fence`.

use super::super::asynchronous::{Begun, Doer, Memories, Operation, Signal, Spot};
use super::super::context::{Context, Fault};
use super::Outcome;
use super::matrix::{integer_sum, ring_sum};
use crate::arithmetic::Float;
use crate::arithmetic::dot::{Accumulation, COLUMNS, Columns, Lines};
use crate::counts::MatrixKind;
use crate::finding::FindingKind;
use crate::instruction::{
    Accumulator, Element, Family, Product, SharedOperand, Warpgroup, WarpgroupOperand,
};
use crate::machine::Lanes;
use crate::memory::SharedMatrix;
use crate::program::Register;
use std::rc::Rc;
use std::sync::Arc;

impl Context<'_> {
    pub(super) fn warpgroup(
        &mut self,
        strand: usize,
        active: u32,
        warpgroup: &Warpgroup,
    ) -> Result<Outcome, Fault> {
        if active == 0 {
            return Ok(Outcome::Done);
        }
        if !self.gathers_warp(strand, active)? {
            return Ok(Outcome::Waits);
        }
        let threads: u32 = self.launch.block.iter().product();
        if self.warp.index / 4 * 128 + 128 > threads {
            return Err(refuse(
                "'wgmma' is of four warps, which the CTA does not have".into(),
            ));
        }
        match warpgroup {
            Warpgroup::Fence => self.warp.fence_registers(),
            Warpgroup::Commit => self.commit(active, Family::Multiply),
            Warpgroup::Wait(left) => self.wait(active, Family::Multiply, Some(*left), false),
            Warpgroup::Multiply(product) => {
                let frame = self.warp.strands[strand].frame;
                self.begin_product(frame, product)?;
            }
        }
        Ok(Outcome::Done)
    }

    fn begin_product(&mut self, frame: usize, product: &Arc<Product>) -> Result<(), Fault> {
        let matrix = |context: &Self, operand: &SharedOperand, element: Element| {
            let descriptor = context.values(frame, &operand.descriptor).values[0];
            let bytes = element.bits() as u64 / 8;
            SharedMatrix::new(descriptor, operand.is_transposed, bytes)
                .map_err(|reason| refuse(format!("'wgmma' {reason}")))
        };
        let a = match &product.a {
            WarpgroupOperand::Registers(_) => None,
            WarpgroupOperand::Shared(operand) => Some(matrix(self, operand, product.a_type)?),
        };
        let b = matrix(self, &product.b, product.b_type)?;
        let adds = self.values(frame, &product.adds);
        self.need_written(&adds, u32::MAX, "whether D is added to a product");
        let registers = match &product.a {
            WarpgroupOperand::Registers(a) => &a[..],
            WarpgroupOperand::Shared(_) => &[],
        };
        let unfenced = |register: &Register| self.warp.is_unfenced(frame, *register);
        if product.d.iter().chain(registers).any(unfenced) {
            self.found.push(Fault {
                kind: FindingKind::Registers {
                    reason: "are used by a wgmma, and were written since the last wgmma.fence",
                },
                lane: 0,
            });
        }
        for &register in registers {
            self.warp.lend(frame, register);
        }
        for &register in &product.d {
            self.warp.hold(frame, register);
        }
        // A warp's quarter of the product.
        let shape = product.shape;
        let kind = MatrixKind {
            instruction: "wgmma",
            kind: None,
            types: [product.a_type.name(), product.b_type.name()],
        };
        let count = (shape.m / 4 * shape.n * shape.k) as u64;
        self.ctas[self.rank].counts.multiply(kind, count);
        let warp = self.agent();
        let number = self.warp.groups[Family::Multiply as usize][0];
        let multiplication = Multiplication {
            product: Arc::clone(product),
            frame,
            a,
            b,
            adds: adds.values[0] & 1 == 1,
            row: u64::from(self.warp.index % 4 * 16),
            rank: self.rank as u32,
            taken: None,
        };
        let begun = Begun {
            // Products of one warp are done in their order.
            after: self
                .queue
                .in_groups(warp, u32::MAX, Family::Multiply, u64::MAX),
            origin: self.origin(frame, 0),
            operation: Box::new(multiplication),
            signal: Signal::Group {
                warp,
                lanes: u32::MAX,
                family: Family::Multiply,
                number,
            },
            knows: Rc::new(self.order.snapshot(warp)),
            is_asynchronous: true,
        };
        self.queue.push(begun);
        Ok(())
    }
}

/// A warp's part of a product.
struct Multiplication {
    product: Arc<Product>,
    frame: usize,
    /// None where A is in registers.
    a: Option<SharedMatrix>,
    b: SharedMatrix,
    adds: bool,
    /// The first of the warp's rows.
    row: u64,
    rank: u32,
    taken: Option<Taken>,
}

/// The codes of rows of A and of columns of B.
struct Taken {
    a: Vec<u32>,
    b: Vec<u32>,
    is_written: bool,
}

impl Operation for Multiplication {
    fn read(&mut self, machine: &mut Memories<'_>, by: &Doer<'_>) {
        let product = Arc::clone(&self.product);
        let shape = product.shape;
        let (b, mut is_written) =
            self.matrix(machine, by, self.b, (0, shape.n as u64), product.b_type);
        let a = match (&product.a, self.a) {
            (WarpgroupOperand::Registers(registers), _) => {
                let Some(frame) = machine
                    .warp
                    .as_ref()
                    .and_then(|warp| warp.frame_at(self.frame))
                else {
                    return;
                };
                let lanes: Vec<&Lanes> = registers.iter().map(|&r| frame.register(r)).collect();
                is_written &= lanes.iter().all(|lanes| lanes.written == u32::MAX);
                let rows = fragment(product.a_type, &lanes, shape.k);
                if let Some(warp) = machine.warp.as_deref_mut() {
                    for &register in registers {
                        warp.take_back(self.frame, register);
                    }
                }
                rows
            }
            (WarpgroupOperand::Shared(_), Some(matrix)) => {
                let rows = (self.row, self.row + 16);
                let (a, written) = self.matrix(machine, by, matrix, rows, product.a_type);
                is_written &= written;
                a
            }
            (WarpgroupOperand::Shared(_), None) => return,
        };
        self.taken = Some(Taken { a, b, is_written });
    }

    fn write(&mut self, machine: &mut Memories<'_>, _: &Doer<'_>) {
        let (Some(taken), Some(warp)) = (self.taken.take(), machine.warp.as_deref_mut()) else {
            return;
        };
        let product = &self.product;
        let before: Option<Vec<Lanes>> = product
            .d
            .iter()
            .map(|&register| warp.held(self.frame, register))
            .collect();
        let Some(before) = before else {
            return;
        };
        let known = before.iter().all(|lanes| lanes.written == u32::MAX);
        let written = if taken.is_written && (known || !self.adds) {
            u32::MAX
        } else {
            0
        };
        let half = product.result == Accumulator::F16;
        // Of each register of eight columns, the place of D's number in a lane's.
        let each = if half { 2 } else { 1 };
        let registers = 4 / each;
        let factors = Factors::new(product, &taken);
        for eight in 0..product.shape.n / COLUMNS {
            let own = eight * registers..(eight + 1) * registers;
            let c = |row: usize, column: usize| {
                if !self.adds {
                    return 0;
                }
                let lane = 4 * (row % 8) + column / 2;
                let number = 2 * (row / 8) + column % 2;
                let value = before[own.start + number / each].values[lane];
                if half {
                    value >> (16 * (number % 2)) & 0xffff
                } else {
                    value
                }
            };
            let rows: Vec<[u64; COLUMNS]> = (0..16)
                .map(|row| {
                    let c = std::array::from_fn(|column| c(row, column));
                    factors.numbers(product, row, eight, c)
                })
                .collect();
            for register in own.clone() {
                let mut lanes = Lanes {
                    values: [0; 32],
                    written,
                };
                for lane in 0..32 {
                    let one = |number: usize| {
                        rows[lane / 4 + 8 * (number / 2)][2 * (lane % 4) + number % 2]
                    };
                    let number = (register - own.start) * each;
                    lanes.values[lane] = if half {
                        one(number) | one(number + 1) << 16
                    } else {
                        one(number)
                    };
                }
                warp.give(self.frame, product.d[register], &lanes);
            }
        }
    }

    fn needs_shared(&self, has_read: bool) -> bool {
        !has_read
    }
}

impl Multiplication {
    /// Some rows of a matrix in shared memory, 32 bytes along k each; and whether all was written.
    fn matrix(
        &self,
        machine: &mut Memories<'_>,
        by: &Doer<'_>,
        matrix: SharedMatrix,
        (from, to): (u64, u64),
        element: Element,
    ) -> (Vec<u32>, bool) {
        let bytes = element.bits() / 8;
        let mut is_written = true;
        let k = self.product.shape.k;
        let rows = (to - from) as usize;
        let mut codes = vec![0; rows * k];
        // Numbers of 16 bytes are next to each other: along k, or along the rows.
        let each = 16 / bytes;
        let (lines, pieces) = match matrix.is_transposed() {
            false => (rows, k / each),
            true => (k, rows / each),
        };
        for (line, piece) in (0..lines).flat_map(|line| (0..pieces).map(move |piece| (line, piece)))
        {
            let place = |i: usize| match matrix.is_transposed() {
                false => (line, piece * each + i),
                true => (piece * each + i, line),
            };
            let (row, column) = place(0);
            let begin = Spot::Shared(self.rank, matrix.place(from + row as u64, column as u64));
            let taken = machine.take(begin, 16, by);
            for i in 0..each {
                let read = taken
                    .as_ref()
                    .and_then(|taken| taken.read(i * bytes, bytes));
                let (value, written) = read.unwrap_or((0, false));
                is_written &= written;
                let (row, column) = place(i);
                codes[row * k + column] = value as u32;
            }
        }
        (codes, is_written)
    }
}

/// A's rows from registers: those of `mma`.
fn fragment(element: Element, registers: &[&Lanes], k: usize) -> Vec<u32> {
    let bits = element.bits();
    let each = 32 / bits;
    let code = |row: usize, k: usize| {
        let register = registers[2 * (k / (4 * each)) + row / 8];
        let lane = 4 * (row % 8) + k / each % 4;
        (register.values[lane] >> (k % each * bits) & (u64::MAX >> (64 - bits))) as u32
    };
    let places = (0..16).flat_map(|row| (0..k).map(move |k| (row, k)));
    places.map(|(row, k)| code(row, k)).collect()
}

/// What is multiplied.
enum Factors {
    /// Floating-point numbers, the columns of B by eights: of `wgmma` there are a multiple.
    Numbers { a: Lines, b: Vec<Columns> },
    /// Integers, and numbers in the ring mode.
    Integers { a: Vec<i64>, b: Vec<i64> },
}

impl Factors {
    fn new(product: &Product, taken: &Taken) -> Self {
        let [a, b] = [
            (&taken.a, product.a_type, product.negated[0]),
            (&taken.b, product.b_type, product.negated[1]),
        ];
        if product.is_ring || product.result == Accumulator::S32 {
            let integers = |(codes, element, is_negated): (&Vec<u32>, Element, bool)| {
                let sign = if is_negated { -1 } else { 1 };
                let codes = codes.iter();
                codes
                    .map(|&code| sign * product.value(element, code.into()) as i64)
                    .collect()
            };
            return Self::Integers {
                a: integers(a),
                b: integers(b),
            };
        }
        let lines = |(codes, element, is_negated): (&Vec<u32>, Element, bool)| {
            let sign = if is_negated { -1.0 } else { 1.0 };
            let values = codes.iter().map(|&code| sign * element.number(code));
            Lines::new(
                product.shape.k,
                values.collect(),
                element.smallest_exponent(),
            )
        };
        Self::Numbers {
            a: lines(a),
            b: Columns::of(&lines(b)),
        }
    }

    /// A row of D, in eight columns.
    fn numbers(
        &self,
        product: &Product,
        row: usize,
        eight: usize,
        c: [u64; COLUMNS],
    ) -> [u64; COLUMNS] {
        match self {
            Self::Numbers { a, b } => {
                let half = product.result == Accumulator::F16;
                let c_type = if half { Float::F16 } else { Float::F32 };
                let is_fp8 = matches!(product.a_type, Element::Low { .. });
                let accumulation = Accumulation::of(90, is_fp8, true);
                let c = c.map(|c| c_type.value(c));
                b[eight].fused((a, row), c, [0; COLUMNS], accumulation, half)
            }
            Self::Integers { a, b } => std::array::from_fn(|column| {
                let k = product.shape.k;
                let own = (COLUMNS * eight + column) * k..(COLUMNS * eight + column + 1) * k;
                let pairs = a[row * k..(row + 1) * k].iter().zip(&b[own]);
                let products = pairs.map(|(a, b)| a.wrapping_mul(*b));
                if product.result == Accumulator::S32 {
                    integer_sum(products, c[column], product.saturates)
                } else {
                    ring_sum(products, &[], c[column], product.result)
                }
            }),
        }
    }
}

fn refuse(reason: String) -> Fault {
    Fault {
        kind: FindingKind::Refused { reason },
        lane: 0,
    }
}
