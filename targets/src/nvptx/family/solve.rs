//! Orthonormal factors: a CTA has a matrix.
//!
//! Gram–Schmidt in f64, done twice so that columns are orthogonal to working precision ("twice is enough": Giraud, Langou,
//! Rozložník, 2005), in its classical form: what lies along all earlier columns is found first, a warp having one column
//! after the other, then taken away by all threads at once. So a column waits at a few barriers however many are before
//! it. Matrices lie by columns in memory of the kernel's own, each followed by the numbers that say what lies along them.
//! A sum is each lane's part of the rows, in order, combined in halves: the shape alone says its order.

use super::grid;
use crate::blocks::extent;
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::{self, Expression};
use crate::mlir::{Builder, Emission, FloatPredicate, Value};
use crate::nvptx::Grid;
use crate::nvptx::combine::in_warp;
use crate::nvptx::thread::{self, WARP};
use tessera_ir::{OpKind, Operation};

/// Threads of a CTA.
const THREADS: i64 = 512;
/// Warps of a CTA.
const WARPS: i64 = THREADS / WARP;

/// The orthonormal factors of the operation's matrices.
pub fn emit(emission: &mut Emission<'_, '_>) -> Result<Grid, Unsupported> {
    let (operation, others) = match emission.kernel.body.operations() {
        [operation, others @ ..] => (operation, others),
        [] => return Ok(Grid::EMPTY),
    };
    if !matches!(operation.op.kind, OpKind::Orthonormalize {}) || !others.is_empty() {
        return Err(Unsupported::new(operation, "has no kernel for GPUs"));
    }
    let shape = &emission
        .kernel
        .body
        .tensor_type(operation.op.operands[0])
        .shape;
    let (batch, matrix) = shape.split_at(shape.len() - 2);
    let [rows, columns] = [matrix[0], matrix[1]].map(|n| n as i64);
    let matrices = extent(batch);
    if matrices * rows * columns == 0 {
        return Ok(Grid::EMPTY);
    }
    let own = (rows * columns + columns) * size_of::<f64>() as i64;
    let b = emission.elemental.builder();
    let workspace = b.argument(b.pointer());
    let number = thread::cta(&b);
    let begin = b.binary("arith.muli", number, b.constant_i64(own));
    let matrix = b.element_address(workspace, b.integer(8), begin);
    let work = Work {
        rows,
        columns,
        matrix,
        along: b.element_address(matrix, b.f64(), b.constant_i64(rows * columns)),
        thread: thread::thread(&b),
        warp: thread::warp(&b),
        lane: thread::lane(&b),
    };
    emission.when_below(number, matrices, |emission, number| {
        work.copy_in(emission, operation, &number, batch)?;
        let b = emission.elemental.builder();
        let bounds = [0, columns, 1].map(|n| b.constant_i64(n));
        emission.for_bounds(bounds, (0, columns - 1), None, |emission, column| {
            let column = emission.elemental.number(&column);
            work.column(emission, column)
        })?;
        work.copy_out(emission, &number, batch)
    })?;
    let mut grid = grid(emission, matrices, THREADS)?;
    grid.workspace_bytes = (matrices * own) as usize;
    Ok(grid)
}

/// A CTA's matrix, and who a thread of it is.
struct Work<'c> {
    rows: i64,
    columns: i64,
    /// Its columns, one after the other.
    matrix: Value<'c>,
    /// How much of a column lies along each earlier one.
    along: Value<'c>,
    thread: Value<'c>,
    warp: Value<'c>,
    lane: Value<'c>,
}

impl<'c> Work<'c> {
    /// Copies the operand's matrix of that number, column by column, as f64.
    fn copy_in(
        &self,
        emission: &mut Emission<'c, '_>,
        operation: &Operation,
        number: &Expression,
        batch: &[usize],
    ) -> Result<(), Unsupported> {
        self.each_element(emission, number, batch, |emission, indices, place| {
            let x = emission
                .elemental
                .element(operation.op.operands[0], &indices)?;
            let b = emission.elemental.builder();
            b.store(b.cast("arith.extf", x, b.f64()), place);
            Ok(())
        })?;
        thread::barrier(&emission.elemental.builder());
        Ok(())
    }

    /// Writes the columns as the result's matrix of that number.
    fn copy_out(
        &self,
        emission: &mut Emission<'c, '_>,
        number: &Expression,
        batch: &[usize],
    ) -> Result<(), Unsupported> {
        self.each_element(emission, number, batch, |emission, indices, place| {
            let b = emission.elemental.builder();
            let x = b.cast("arith.truncf", b.load(place, b.f64()), b.f32());
            emission.store_result(0, &indices, x);
            Ok(())
        })
    }

    /// The thread's elements of a matrix, neighbours in memory for neighbours: their indices, and where they are in the
    /// workspace.
    fn each_element<'g>(
        &self,
        emission: &mut Emission<'c, 'g>,
        number: &Expression,
        batch: &[usize],
        body: impl FnOnce(&mut Emission<'c, 'g>, Vec<Expression>, Value<'c>) -> Result<(), Unsupported>,
    ) -> Result<(), Unsupported> {
        let b = emission.elemental.builder();
        let count = self.rows * self.columns;
        let bounds = [self.thread, b.constant_i64(count), b.constant_i64(THREADS)];
        emission.for_bounds(bounds, (0, count - 1), None, |emission, position| {
            let matrix = [self.rows as usize, self.columns as usize];
            let at = index::delinearize(&position, &matrix);
            let place = at[1].times(self.rows).plus(&at[0]);
            let place = emission.elemental.number(&place);
            let b = emission.elemental.builder();
            let place = b.element_address(self.matrix, b.f64(), place);
            let mut indices = index::delinearize(number, batch);
            indices.extend(at);
            body(emission, indices, place)
        })
    }

    /// Takes what lies along earlier columns from a column and makes what is left 1 long, or zero where nothing is.
    fn column(
        &self,
        emission: &mut Emission<'c, '_>,
        column: Value<'c>,
    ) -> Result<(), Unsupported> {
        let before = self.length(emission, column)?;
        for _ in 0..2 {
            self.find_along(emission, column)?;
            thread::barrier(&emission.elemental.builder());
            self.take_away(emission, column)?;
            thread::barrier(&emission.elemental.builder());
        }
        let length = self.length(emission, column)?;
        // All have read the column.
        thread::barrier(&emission.elemental.builder());
        let b = emission.elemental.builder();
        let constant = |x| b.constant_float(b.f64(), x);
        // What is left of a dependent column is the rounding of f32 inputs.
        let rounding = b.binary("arith.mulf", before, constant(f64::from(f32::EPSILON)));
        let is_dependent = b.compare_floats(FloatPredicate::Ole, length, rounding);
        let inverse = b.binary("arith.divf", constant(1.0), length);
        let factor = b.select(is_dependent, constant(0.0), inverse);
        self.each_row(emission, self.thread, THREADS, &[], |emission, row, _| {
            let b = emission.elemental.builder();
            let place = self.place(&b, column, row);
            let scaled = b.binary("arith.mulf", b.load(place, b.f64()), factor);
            b.store(scaled, place);
            Ok(Vec::new())
        })?;
        thread::barrier(&emission.elemental.builder());
        Ok(())
    }

    /// How long a column is: each warp finds it by itself.
    fn length(
        &self,
        emission: &mut Emission<'c, '_>,
        column: Value<'c>,
    ) -> Result<Value<'c>, Unsupported> {
        let square = self.dot(emission, column, column)?;
        Ok(emission.elemental.builder().unary("math.sqrt", square))
    }

    /// Writes how much of a column lies along each earlier one.
    fn find_along(
        &self,
        emission: &mut Emission<'c, '_>,
        column: Value<'c>,
    ) -> Result<(), Unsupported> {
        let b = emission.elemental.builder();
        let bounds = [self.warp, column, b.constant_i64(WARPS)];
        emission.for_bounds(bounds, (0, self.columns - 1), None, |emission, earlier| {
            let earlier = emission.elemental.number(&earlier);
            let along = self.dot(emission, earlier, column)?;
            emission.when_below(self.lane, 1, |emission, _| {
                let b = emission.elemental.builder();
                b.store(along, b.element_address(self.along, b.f64(), earlier));
                Ok(())
            })
        })
    }

    /// Takes from a column what was found to lie along earlier ones.
    fn take_away(
        &self,
        emission: &mut Emission<'c, '_>,
        column: Value<'c>,
    ) -> Result<(), Unsupported> {
        self.each_row(emission, self.thread, THREADS, &[], |emission, row, _| {
            let b = emission.elemental.builder();
            let place = self.place(&b, column, row);
            let bounds = [b.constant_i64(0), column, b.constant_i64(1)];
            let initial = [b.load(place, b.f64())];
            let range = (0, self.columns - 1);
            let left =
                emission.for_carried(bounds, range, &initial, |emission, earlier, left| {
                    let earlier = emission.elemental.number(&earlier);
                    let b = emission.elemental.builder();
                    let along = b.load(b.element_address(self.along, b.f64(), earlier), b.f64());
                    let other = b.load(self.place(&b, earlier, row), b.f64());
                    let part = b.binary("arith.mulf", along, other);
                    Ok(vec![b.binary("arith.subf", left[0], part)])
                })?;
            emission.elemental.builder().store(left[0], place);
            Ok(Vec::new())
        })?;
        Ok(())
    }

    /// The scalar product of two columns, by a warp.
    fn dot(
        &self,
        emission: &mut Emission<'c, '_>,
        first: Value<'c>,
        second: Value<'c>,
    ) -> Result<Value<'c>, Unsupported> {
        let b = emission.elemental.builder();
        let zero = [b.constant_float(b.f64(), 0.0)];
        let sums = self.each_row(emission, self.lane, WARP, &zero, |emission, row, sums| {
            let b = emission.elemental.builder();
            let [x, y] = [first, second].map(|column| b.load(self.place(&b, column, row), b.f64()));
            let product = b.binary("arith.mulf", x, y);
            Ok(vec![b.binary("arith.addf", sums[0], product)])
        })?;
        in_warp(emission, sums[0], &|emission, x, y| {
            Ok(emission.elemental.builder().binary("arith.addf", x, y))
        })
    }

    /// The rows from `first` on, `step` apart, with values carried along.
    fn each_row<'g>(
        &self,
        emission: &mut Emission<'c, 'g>,
        first: Value<'c>,
        step: i64,
        initial: &[Value<'c>],
        body: impl FnOnce(
            &mut Emission<'c, 'g>,
            Value<'c>,
            &[Value<'c>],
        ) -> Result<Vec<Value<'c>>, Unsupported>,
    ) -> Result<Vec<Value<'c>>, Unsupported> {
        let b = emission.elemental.builder();
        let bounds = [first, b.constant_i64(self.rows), b.constant_i64(step)];
        emission.for_carried(
            bounds,
            (0, self.rows - 1),
            initial,
            |emission, row, carried| {
                let row = emission.elemental.number(&row);
                body(emission, row, carried)
            },
        )
    }

    /// Where a row of a column is.
    fn place(&self, b: &Builder<'c>, column: Value<'c>, row: Value<'c>) -> Value<'c> {
        let begin = b.binary("arith.muli", column, b.constant_i64(self.rows));
        b.element_address(self.matrix, b.f64(), b.binary("arith.addi", begin, row))
    }
}
