//! How the warps of a CTA multiply what is in shared memory: which fragments each has, and where their sums are in the tile.

use super::copied::{self, line_stride};
use super::window::Masks;
use super::{
    DEEP, Division, Halves, NUMBERS, Piece, ROW_STRIDE, Staging, WORD, address, scale_bytes,
};
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::Expression;
use crate::mlir::{Emission, Value};
use crate::nvptx::family::boxes::{Boxed, Major};
use crate::nvptx::family::dot::Factors;
use crate::nvptx::family::part::Part;
use crate::nvptx::matrix::{self, Mma, Scales};
use crate::nvptx::thread;

/// The warps of a CTA, as they multiply tiles that are in shared memory.
#[derive(Clone)]
pub struct Warps {
    /// By which instruction.
    pub mma: Mma,
    /// Who has what.
    pub division: Division,
    /// The thread in its CTA.
    pub thread: Expression,
    /// Which numbers of lhs and of rhs are next to each other in shared memory.
    pub majors: [Major; 2],
}

/// Where lhs and rhs are in shared memory, and in which of their stages.
pub type Staged<'a, 'c> = ([Value<'c>; 2], &'a Expression);

impl Warps {
    /// How many sums a thread has.
    pub fn sums(&self) -> usize {
        let [down, across] = self.division.fragments;
        (down * across * 4) as usize
    }

    /// Bytes of an operand in a stage.
    pub fn stage_bytes(&self, operand: usize) -> i64 {
        let rows = self.division.tile()[operand];
        match self.majors[operand] {
            Major::K => rows * ROW_STRIDE,
            Major::Rows => NUMBERS * line_stride(rows),
        }
    }

    /// The thread's number in its warp.
    pub fn lane(&self) -> Expression {
        self.thread.remainder(thread::WARP)
    }

    /// The first row and column of this thread's warp in the tile.
    pub fn warp(&self) -> [Expression; 2] {
        let warp = self.thread.quotient(thread::WARP);
        let across = self.division.warps[1];
        let [rows, columns] = self.division.warp();
        [
            warp.quotient(across).times(rows),
            warp.remainder(across).times(columns),
        ]
    }

    /// The rows and columns, in the tile, of the thread's sums. (PTX ISA, "Matrix Fragments for mma.m16n8k16".)
    pub fn places(&self) -> Vec<[Expression; 2]> {
        let lane = self.lane();
        let [row, column] = self.warp();
        let row = row.plus(&lane.quotient(4));
        let column = column.plus(&lane.remainder(4).times(2));
        let [down, across] = self.division.fragments;
        let fragments = (0..down).flat_map(|i| (0..across).map(move |j| (i, j)));
        fragments
            .flat_map(|(i, j)| (0..4).map(move |number| (i, j, number)))
            .map(|(i, j, number)| {
                [
                    row.plus_constant(i * matrix::ROWS + number / 2 * (matrix::ROWS / 2)),
                    column.plus_constant(j * matrix::COLUMNS + number % 2),
                ]
            })
            .collect()
    }

    /// Brings a step of an operand of 16-bit numbers (the operand's number, how many steps of the part come before) into shared
    /// memory.
    ///
    /// # Errors
    /// It cannot be computed here.
    pub fn stage<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        product: &impl Factors,
        part: &Part<'c>,
        (operand, step): (usize, &Expression),
        to: Value<'c>,
    ) -> Result<(), Unsupported> {
        let zero = Expression::constant(0);
        let piece = self.piece((part, &zero), (operand, step), to);
        Halves::new(product, self.mma).stage(emission, &piece)
    }

    /// Begins to copy a step of an operand that is in memory as boxes have it, in 16 bytes at a time: every line of it begins at
    /// a multiple of 16 bytes and has whole such.
    ///
    /// # Errors
    /// None of its own.
    pub fn copy<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        in_memory: (&Boxed, Value<'c>, &[usize]),
        (part, extents): (&Part<'c>, [i64; 2]),
        (operand, step): (usize, &Expression),
        to: Value<'c>,
    ) -> Result<(), Unsupported> {
        let zero = Expression::constant(0);
        let piece = self.piece((part, &zero), (operand, step), to);
        copied::copy(emission, &piece, in_memory, extents)
    }

    /// The part of an operand without scales that is multiplied in a step, behind so many of the part's.
    fn piece<'a, 'c>(
        &'a self,
        (part, before): (&'a Part<'c>, &'a Expression),
        (operand, step): (usize, &'a Expression),
        to: Value<'c>,
    ) -> Piece<'a, 'c> {
        Piece {
            operand,
            part,
            rows: self.division.tile()[operand],
            step,
            before,
            to,
            scales: to,
            thread: &self.thread,
            threads: self.division.threads(),
        }
    }

    /// Sums and the products of what a stage has. Beside it are, of codes, the registers of its block scales, and the masks of
    /// what is summed.
    pub fn multiply<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        staged: Staged<'_, 'c>,
        (scales, masks): (Option<&[Vec<Value<'c>>; 2]>, Option<&Masks<'c>>),
        sums: &[Value<'c>],
    ) -> Vec<Value<'c>> {
        let [down, across] = self.division.fragments;
        let mut sums = sums.to_vec();
        for deep in 0..DEEP {
            let mut lhs: Vec<_> = (0..down)
                .map(|i| self.load_lhs(emission, staged, deep, i))
                .collect();
            let mut rhs: Vec<_> = (0..across / 2)
                .flat_map(|pair| {
                    let both = self.load_rhs_pair(emission, staged, deep, pair);
                    [both[..2].to_vec(), both[2..].to_vec()]
                })
                .collect();
            let b = emission.elemental.builder();
            if let Some(masks) = masks {
                // Registers of lhs are of two halves of the rows each.
                for (fragments, same) in [(&mut lhs, 2), (&mut rhs, 1)] {
                    for fragment in fragments {
                        *fragment = masks.of_codes(&b, fragment, deep as usize, same);
                    }
                }
            }
            for (i, lhs) in lhs.iter().enumerate() {
                for (j, rhs) in rhs.iter().enumerate() {
                    let first = (i * across as usize + j) * 4;
                    let own = scales.map(|[lhs, rhs]| {
                        [lhs[i], rhs[j]].map(|register| self.selected(register, deep))
                    });
                    let sum = (self.mma).multiply(&b, (lhs, rhs), &sums[first..first + 4], own);
                    sums[first..first + 4].copy_from_slice(&sum);
                }
            }
        }
        sums
    }

    /// A fragment of lhs: of four matrices the upper and lower half of its rows, first of the first 16 bytes.
    fn load_lhs<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        staged: Staged<'_, 'c>,
        deep: i64,
        fragment: i64,
    ) -> Vec<Value<'c>> {
        let lane = self.lane();
        let first = self.warp()[0].plus_constant(fragment * matrix::ROWS);
        if self.majors[0] == Major::Rows {
            let row = first.plus(&lane.quotient(8).remainder(2).times(8));
            let along = lane.remainder(8).plus(&lane.quotient(16).times(8));
            return self.load_transposed(emission, 0, staged, (deep, [&row, &along]));
        }
        let row = self.warp()[0]
            .plus(&lane.remainder(matrix::ROWS))
            .plus_constant(fragment * matrix::ROWS);
        let byte = lane.quotient(matrix::ROWS).times(16);
        let byte = byte.plus_constant(deep * matrix::BYTES);
        self.load(emission, 0, staged, [&row, &byte])
    }

    /// Two fragments of rhs: of four matrices the first and last 16 bytes of the first columns, then of the others.
    fn load_rhs_pair<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        staged: Staged<'_, 'c>,
        deep: i64,
        pair: i64,
    ) -> Vec<Value<'c>> {
        let lane = self.lane();
        let first = self.warp()[1].plus_constant(pair * 2 * matrix::COLUMNS);
        if self.majors[1] == Major::Rows {
            let column = first.plus(&lane.quotient(16).times(matrix::COLUMNS));
            let along = lane.remainder(16);
            return self.load_transposed(emission, 1, staged, (deep, [&column, &along]));
        }
        let column = self.warp()[1]
            .plus(&lane.remainder(matrix::COLUMNS))
            .plus(&lane.quotient(16).times(matrix::COLUMNS))
            .plus_constant(pair * 2 * matrix::COLUMNS);
        let byte = lane.quotient(8).remainder(2).times(16);
        let byte = byte.plus_constant(deep * matrix::BYTES);
        self.load(emission, 1, staged, [&column, &byte])
    }

    fn load<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        operand: usize,
        (rows, stage): Staged<'_, 'c>,
        [row, byte]: [&Expression; 2],
    ) -> Vec<Value<'c>> {
        let row = stage.times(self.division.tile()[operand]).plus(row);
        let place = row.times(ROW_STRIDE).plus(byte);
        let address = address(emission, rows[operand], &place);
        matrix::load(&emission.elemental.builder(), address)
    }

    /// The same of rows whose numbers lie in lines, one for each place along K: the lane's row of a matrix is such a line.
    fn load_transposed<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        operand: usize,
        (rows, stage): Staged<'_, 'c>,
        (deep, [row, along]): (i64, [&Expression; 2]),
    ) -> Vec<Value<'c>> {
        let line = along.plus_constant(deep * matrix::BYTES / 2);
        let stride = line_stride(self.division.tile()[operand]);
        let first = stage.times(self.stage_bytes(operand));
        let place = first.plus(&line.times(stride)).plus(&row.times(2));
        let address = address(emission, rows[operand], &place);
        matrix::load_transposed(&emission.elemental.builder(), address)
    }

    /// The scales of an instruction in a register of a stage's.
    fn selected<'c>(&self, register: Value<'c>, deep: i64) -> Scales<'c> {
        let each = scale_bytes(self.mma) / DEEP;
        Scales {
            register,
            byte: deep * each % WORD,
            thread: deep * each / WORD,
        }
    }
}
