//! The row family: a warp or a CTA has a row.
//!
//! A thread adds what it reads, chunk after chunk; the threads' numbers are combined in halves by shuffles in the warp,
//! and those of the warps one after the other through shared memory, by each thread for itself. So the order is fixed by
//! the shape. As on the CPU, reductions that do not depend on each other are made in one pass over the row, those that
//! depend on them in the next, and the results of the row's full shape in a last one. Kernels with a reduction by a body
//! whose order matters go by blocks.

use super::{blocks, grid};
use crate::blocks::{Reduction, Results, ceil_div, extent, passes};
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::{self, Expression};
use crate::mlir::{Emission, Value};
use crate::nvptx::Grid;
use crate::nvptx::combine::{Combine, in_cta, in_warp};
use crate::nvptx::shared::Shared;
use crate::nvptx::thread::{self, WARP};

/// Threads of a CTA where a warp has a row.
const THREADS: i64 = 128;

/// Threads of a row, at most.
const MOST_THREADS: i64 = 512;

/// Chunks that a thread reads of a row before it is worth to have more threads.
const CHUNKS: i64 = 4;

pub fn emit(emission: &mut Emission<'_, '_>, shared: &mut Shared) -> Result<Grid, Unsupported> {
    let graph = &emission.kernel.body;
    let reductions = Reduction::all(graph);
    let Some(first) = reductions.first() else {
        return super::r#loop::emit(emission);
    };
    if reductions
        .iter()
        .any(|reduction| reduction.function.is_none())
    {
        return blocks::emit(emission);
    }
    let shape = first.shape(graph);
    let rows = &shape[..shape.len() - first.dimensions.len()];
    let results = Results::of_rows(emission, &reductions, shape, rows)?;
    if rows.contains(&0) {
        return Ok(Grid::EMPTY);
    }
    let row = Row::new(shape, rows);
    let b = emission.elemental.builder();
    let (threads, number, lane) = if row.threads == WARP {
        let warps = THREADS / WARP;
        let warp = thread::warp(&b);
        let first = b.binary("arith.muli", thread::cta(&b), b.constant_i64(warps));
        (
            THREADS,
            b.binary("arith.addi", first, warp),
            thread::lane(&b),
        )
    } else {
        (row.threads, thread::cta(&b), thread::thread(&b))
    };
    emission.when_below(number, row.count, |emission, number| {
        let at = index::delinearize(&number, rows);
        let values = emission.result_values();
        for pass in passes(graph, &reductions) {
            row.reduce(emission, shared, &at, lane, &pass)?;
        }
        let mut reduced = Vec::new();
        for &number in &results.reduced {
            reduced.push(emission.elemental.element(values[number], &at)?);
        }
        if !results.full.is_empty() {
            row.walk(emission, lane, &[], |emission, position, _| {
                let indices = row.indices(&at, &position);
                emission.store_results(&results.full, &indices)?;
                Ok(Vec::new())
            })?;
        }
        if reduced.is_empty() {
            return Ok(());
        }
        // Only when all have read: a result may lie where an operand does.
        let b = emission.elemental.builder();
        match row.threads {
            WARP => thread::warp_barrier(&b),
            _ => thread::barrier(&b),
        }
        emission.when_below(lane, 1, |emission, _| {
            for (&number, &element) in results.reduced.iter().zip(&reduced) {
                emission.store_result(number, &at, element);
            }
            Ok(())
        })
    })?;
    let rows_of_cta = threads / row.threads;
    grid(emission, ceil_div(row.count, rows_of_cta), threads)
}

/// How a row is shared out.
struct Row {
    /// How many there are, and of how many elements.
    count: i64,
    length: i64,
    shape: Vec<usize>,
    /// Threads of a row.
    threads: i64,
}

impl Row {
    fn new(shape: &[usize], rows: &[usize]) -> Self {
        let row = &shape[rows.len()..];
        let length = extent(row);
        let wanted = (length / CHUNKS).max(1).cast_unsigned().next_power_of_two();
        Self {
            count: extent(rows),
            length,
            shape: row.to_vec(),
            threads: wanted.cast_signed().clamp(WARP, MOST_THREADS),
        }
    }

    /// The indices of the element at a position in the row.
    fn indices(&self, at: &[Expression], position: &Expression) -> Vec<Expression> {
        let mut indices = at.to_vec();
        indices.extend(index::delinearize(position, &self.shape));
        indices
    }

    /// The elements of the row that thread `lane` has, one after the other, with values carried along.
    fn walk<'c, 'g>(
        &self,
        emission: &mut Emission<'c, 'g>,
        lane: Value<'c>,
        initial: &[Value<'c>],
        body: impl FnOnce(
            &mut Emission<'c, 'g>,
            Expression,
            &[Value<'c>],
        ) -> Result<Vec<Value<'c>>, Unsupported>,
    ) -> Result<Vec<Value<'c>>, Unsupported> {
        if self.length == 0 {
            return Ok(initial.to_vec());
        }
        let b = emission.elemental.builder();
        let bounds = [
            lane,
            b.constant_i64(self.length),
            b.constant_i64(self.threads),
        ];
        emission.for_carried(bounds, (0, self.length - 1), initial, body)
    }

    /// Makes the reductions of a pass, and says what they are at the row's indices.
    fn reduce<'c, 'g>(
        &self,
        emission: &mut Emission<'c, 'g>,
        shared: &mut Shared,
        at: &[Expression],
        lane: Value<'c>,
        pass: &[&Reduction<'c, 'g>],
    ) -> Result<(), Unsupported> {
        let b = emission.elemental.builder();
        let neutral: Vec<Value<'c>> = pass.iter().map(|r| r.neutral(&b)).collect();
        let sums = self.walk(emission, lane, &neutral, |emission, position, sums| {
            let indices = self.indices(at, &position);
            (pass.iter().zip(sums))
                .map(|(reduction, &sum)| Ok(reduction.step(emission, &[sum], &indices)?[0]))
                .collect()
        })?;
        for (reduction, sum) in pass.iter().zip(sums) {
            let combine: &Combine<'_, 'c, 'g> =
                &|emission, x, y| Ok(reduction.merge(emission, &[x, y])?[0]);
            let sum = match self.threads {
                WARP => in_warp(emission, sum, combine)?,
                threads => {
                    let element = reduction.element();
                    in_cta(emission, shared, (threads, element), sum, combine)?
                }
            };
            let results = reduction.finish_with_inits(emission, &[sum])?;
            reduction.provide(emission, at, results);
        }
        Ok(())
    }
}
