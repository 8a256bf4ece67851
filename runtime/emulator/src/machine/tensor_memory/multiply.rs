//! `tcgen05.mma`: a product of operands in shared and tensor memory, in tensor memory.

use super::super::asynchronous::{Doer, Memories, Spot};
use super::read;
use crate::arithmetic::dot::COLUMNS;
use crate::counts::MatrixKind;
use crate::instruction::Accumulator;
use crate::memory::tensor::{Misuse, WHOLE};
use crate::tcgen05::Cell;
use crate::tcgen05::datapath::{self, A_COLUMNS};
use crate::tcgen05::factors::{Factors, Scales};
use crate::tcgen05::instruction_descriptor::{InstructionDescriptor, Operand};
use crate::tcgen05::multiply::{Codes, ROW, codes, pieces, scales};
use crate::tcgen05::shared_descriptor::SharedDescriptor;

/// A product that was begun.
pub(crate) struct Multiplying {
    pub descriptor: InstructionDescriptor,
    /// The CTAs, one or a pair.
    pub ranks: Vec<u32>,
    pub d: Cell,
    pub a: FromA,
    pub b: SharedDescriptor,
    /// Where the scales of A and of B begin.
    pub scales: Option<(Cell, Cell)>,
    /// Lanes that are not written, 32 in each.
    pub disabled: Vec<u32>,
    /// Whether D is added to.
    pub adds: bool,
    /// What D is divided by before, as an exponent.
    pub shift: u32,
    /// Whether floating-point numbers are the integers of the ring mode.
    pub is_ring: bool,
}

/// Where A is.
pub(crate) enum FromA {
    Shared(SharedDescriptor),
    Tensor(Cell),
}

/// A row of A or a column of B, and whether all of it is written.
type Line = (Codes, bool);
/// The scales of rows or columns, and whether those of each are written.
type WrittenScales = (Scales, Vec<bool>);

impl Multiplying {
    pub(super) fn execute(&self, machine: &mut Memories<'_>, by: &Doer<'_>) -> Result<(), Misuse> {
        let InstructionDescriptor { layout, m, n, .. } = self.descriptor;
        let Some(a) = self.lines_of_a(machine, by)? else {
            return Ok(());
        };
        let ctas = self.ranks.len() as u32;
        let each = n / ctas;
        let mut b = Vec::new();
        for column in 0..n {
            let rank = self.ranks[(column / each) as usize];
            let operand = self.descriptor.b;
            match self.line(machine, by, (rank, self.b), operand, column % each) {
                Some(line) => b.push(line),
                None => return Ok(()),
            }
        }
        let rows = layout.rows_of_a_cta();
        let (mut a_scales, mut b_scales) = (WrittenScales::default(), Vec::new());
        for &rank in &self.ranks {
            let mut own_b = WrittenScales::default();
            if let Some((a_first, b_first)) = self.scales {
                let own = self.all_scales(machine, by, (rank, a_first), self.descriptor.a, rows)?;
                a_scales.0.extend(own.0);
                a_scales.1.extend(own.1);
                own_b = self.all_scales(machine, by, (rank, b_first), self.descriptor.b, n)?;
            }
            b_scales.push(own_b);
        }
        for row in 0..m {
            // The columns of a row lie in one lane, or in two.
            for column in (0..n).step_by(layout.columns(n) as usize) {
                let (cta, cell) = layout.place(row, column, n);
                let first = self.d.plus(cell.lane, cell.column);
                let rank = self.ranks[cta as usize];
                if self.adds {
                    machine.touch_tensor(rank, first, layout.columns(n), false, by);
                }
                machine.touch_tensor(rank, first, layout.columns(n), true, by);
            }
        }
        let (a, a_written): (Vec<Codes>, Vec<bool>) = a.into_iter().unzip();
        let (b, b_written): (Vec<Codes>, Vec<bool>) = b.into_iter().unzip();
        let (b_scales, b_scales_written): (Vec<Scales>, Vec<_>) = b_scales.into_iter().unzip();
        let is_written = |row: usize, column: usize, cta: usize| {
            let scale = |written: &[bool], line: usize| written.get(line).copied().unwrap_or(true);
            a_written[row]
                && b_written[column]
                && scale(&a_scales.1, row)
                && scale(&b_scales_written[cta], column)
        };
        let k = a.first().map_or(0, Vec::len);
        let factors = Factors::new(
            &self.descriptor,
            (a, a_scales.0),
            (b, b_scales),
            self.is_ring,
        );
        let half = self.descriptor.result == Accumulator::F16;
        let whole = if half { 0b0011 } else { WHOLE };
        let mut undecided = 0;
        for (row, eight) in (0..m).flat_map(|row| (0..n / 8).map(move |eight| (row, eight))) {
            // Eight columns that begin at a multiple of eight lie side by side in one lane.
            let (cta, cell) = layout.place(row, 8 * eight, n);
            let first = self.d.plus(cell.lane, cell.column);
            let lane = cta * 128 + first.lane;
            let mask = self.disabled.get((lane / 32) as usize);
            if mask.is_some_and(|mask| mask >> (lane % 32) & 1 == 1) {
                continue;
            }
            let rank = self.ranks[cta as usize];
            let mut d = [(0, WHOLE); COLUMNS];
            if self.adds {
                d = machine.ctas[rank as usize].tensor.memory.read_run(first)?;
            }
            let place = (cta as usize, eight as usize);
            let sums = factors.numbers(row as usize, place, d.map(|(bits, _)| bits), self.shift);
            let made = std::array::from_fn::<_, COLUMNS, _>(|column| {
                let number = COLUMNS * eight as usize + column;
                let all =
                    is_written(row as usize, number, cta as usize) && d[column].1 & whole == whole;
                (sums[column].bits, if all { whole } else { 0 })
            });
            undecided += sums.iter().filter(|sum| !sum.is_decided).count() as u64;
            let memory = &mut machine.ctas[rank as usize].tensor.memory;
            memory.write_run(first, made)?;
        }
        let counts = &mut machine.ctas[self.ranks[0] as usize].counts;
        counts.model_dependent += undecided;
        let kind = MatrixKind {
            instruction: "tcgen05.mma",
            kind: Some(self.descriptor.kind.name()),
            types: [self.descriptor.a, self.descriptor.b].map(|own| own.element.name()),
        };
        counts.multiply(kind, u64::from(m) * u64::from(n) * k as u64);
        Ok(())
    }

    /// The rows of A; none where a part lies in no memory, which was said.
    fn lines_of_a(
        &self,
        machine: &mut Memories<'_>,
        by: &Doer<'_>,
    ) -> Result<Option<Vec<Line>>, Misuse> {
        let InstructionDescriptor {
            layout, m, n, a, ..
        } = self.descriptor;
        let mut lines = Vec::new();
        for row in 0..m {
            let (cta, cell) = layout.place(row, 0, n);
            let rank = self.ranks[cta as usize];
            match self.a {
                FromA::Shared(descriptor) => {
                    let own = row % layout.rows_of_a_cta();
                    match self.line(machine, by, (rank, descriptor), a, own) {
                        Some(line) => lines.push(line),
                        None => return Ok(None),
                    }
                }
                FromA::Tensor(first) => {
                    let first = first.plus(cell.lane, 0);
                    machine.touch_tensor(rank, first, A_COLUMNS, false, by);
                    let mut bytes = [0; ROW];
                    let mut written = true;
                    for word in 0..A_COLUMNS {
                        let (value, own) = read(machine.ctas, rank, first.plus(0, word))?;
                        let at = 4 * word as usize;
                        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
                        written &= own == WHOLE;
                    }
                    lines.push((codes(a.element, bytes, false), written));
                }
            }
        }
        Ok(Some(lines))
    }

    /// A row of A or a column of B in shared memory; none where it is in no memory, which was said.
    fn line(
        &self,
        machine: &mut Memories<'_>,
        by: &Doer<'_>,
        (rank, descriptor): (u32, SharedDescriptor),
        operand: Operand,
        row: u32,
    ) -> Option<Line> {
        let mut bytes = [0; ROW];
        // Of elements of four and six bits padding is not looked at.
        let looked_at = match operand.element.padded_bits() {
            Some(bits) => 2 * bits,
            None => 16,
        };
        let mut all = true;
        for (address, size, at) in pieces(descriptor, operand, row) {
            let taken = machine.take(Spot::Shared(rank, address), size as u64, by)?;
            let (values, written) = taken.stretch(0, size)?;
            bytes[at..at + size].copy_from_slice(values);
            all &= written.iter().take(looked_at).all(|&written| written);
        }
        Some((codes(operand.element, bytes, true), all))
    }

    /// The scales of so many rows or columns, which lie in the lanes of each warp.
    fn all_scales(
        &self,
        machine: &mut Memories<'_>,
        by: &Doer<'_>,
        (rank, first): (u32, Cell),
        operand: Operand,
        rows: u32,
    ) -> Result<WrittenScales, Misuse> {
        let Some((format, blocks)) = self.descriptor.scales else {
            return Ok(WrittenScales::default());
        };
        for lane in 0..32.min(rows) {
            for warp in 0..4 {
                let cell = datapath::scales(lane, warp);
                let columns = rows.div_ceil(32);
                machine.touch_tensor(rank, first.plus(cell.lane, 0), columns, false, by);
            }
        }
        let mask = ((1u32 << blocks) - 1) << operand.scale_id;
        let bytes = (0..4)
            .filter(|byte| mask >> byte & 1 == 1)
            .fold(0u32, |bits, byte| bits | 0xff << (8 * byte));
        let mut all = WrittenScales::default();
        for row in 0..rows {
            let at = |warp| {
                let cell = datapath::scales(row, warp);
                first.plus(cell.lane, cell.column)
            };
            let (word, written) = read(machine.ctas, rank, at(0))?;
            for warp in 1..4 {
                let (copy, copy_written) = read(machine.ctas, rank, at(warp))?;
                if (word ^ copy) & bytes != 0 || (written ^ copy_written) & mask as u8 != 0 {
                    let Cell { lane, column } = at(warp);
                    return Err(format!(
                        "has at lane {lane} and column {column} other scales than 32 · {warp} lanes before: each of the four \
                         warps' lanes needs a copy"
                    ));
                }
            }
            all.0.push(scales((format, blocks), operand, word));
            all.1.push(written & mask as u8 == mask as u8);
        }
        Ok(all)
    }
}
