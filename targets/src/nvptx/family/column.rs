//! The column family: a CTA has neighbouring columns, each of its warps an equal part of their rows, one after the other.
//!
//! A thread of a warp has a column, so that a warp reads neighbours. The warps' accumulators are combined one after the
//! other through shared memory, by the first warp, which writes the results. So elements are combined in their order, which
//! a function that is associative asks for. Kernels with a reduction by another body go by blocks.

use super::{blocks, grid};
use crate::blocks::{Reduction, ceil_div, extent};
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::{self, Expression};
use crate::mlir::{Emission, Value, scalar};
use crate::nvptx::Grid;
use crate::nvptx::shared::Shared;
use crate::nvptx::thread::{self, WARP};

/// Warps of a CTA, at most.
const MOST_WARPS: i64 = 16;

/// Rows that a warp reads before it is worth to have more warps.
const ROWS: i64 = 4;

/// The bytes of the largest accumulator.
const ACCUMULATOR_BYTES: i64 = 8;

pub fn emit(emission: &mut Emission<'_, '_>, shared: &mut Shared) -> Result<Grid, Unsupported> {
    let graph = &emission.kernel.body;
    let reductions = Reduction::all(graph);
    let Some(first) = reductions.first() else {
        return super::r#loop::emit(emission);
    };
    if !reductions.iter().all(Reduction::is_associative) {
        return blocks::emit(emission);
    }
    let columns = Columns::new(first.shape(graph), first.dimensions);
    if let Some(other) = (reductions.iter()).find(|other| !columns.are_of(other, graph)) {
        return Err(Unsupported::new(
            other.operation,
            "reduces other dimensions than the first reduction of a column kernel",
        ));
    }
    if columns.kept_shape.contains(&0) {
        return Ok(Grid::EMPTY);
    }
    let b = emission.elemental.builder();
    let cta = b.binary("arith.muli", thread::cta(&b), b.constant_i64(WARP));
    let column = b.binary("arith.addi", cta, thread::lane(&b));
    let warp = thread::warp(&b);
    let count = extent(&columns.kept_shape);
    let own = columns.own(emission, &reductions, column, warp)?;
    let arrays = columns.exchange(emission, shared, &reductions, warp, &own);
    emission.when_below(warp, 1, |emission, _| {
        emission.when_below(column, count, |emission, column| {
            columns.finish(emission, &reductions, &column, &arrays, &own)
        })
    })?;
    grid(emission, ceil_div(count, WARP), columns.warps * WARP)
}

/// What stands where in the inputs' shape, and who does what.
struct Columns {
    shape: Vec<usize>,
    reduced: Vec<usize>,
    kept: Vec<usize>,
    reduced_shape: Vec<usize>,
    kept_shape: Vec<usize>,
    /// Rows of a warp, at most, and how many warps that takes.
    rows: i64,
    warps: i64,
}

impl Columns {
    fn new(shape: &[usize], dimensions: &[usize]) -> Self {
        let mut reduced = dimensions.to_vec();
        reduced.sort_unstable();
        let kept: Vec<usize> = (0..shape.len()).filter(|d| !reduced.contains(d)).collect();
        let pick = |dimensions: &[usize]| dimensions.iter().map(|&d| shape[d]).collect::<Vec<_>>();
        let (reduced_shape, kept_shape) = (pick(&reduced), pick(&kept));
        let all = extent(&reduced_shape);
        let wanted = (all / ROWS).max(1).cast_unsigned().next_power_of_two();
        let rows = ceil_div(all, wanted.cast_signed().min(MOST_WARPS)).max(1);
        Self {
            shape: shape.to_vec(),
            reduced,
            kept,
            reduced_shape,
            kept_shape,
            rows,
            warps: ceil_div(all, rows).max(1),
        }
    }

    fn are_of(&self, reduction: &Reduction<'_, '_>, graph: &tessera_ir::Graph) -> bool {
        reduction.shape(graph) == self.shape
            && reduction.dimensions.len() == self.reduced.len()
            && (reduction.dimensions.iter()).all(|d| self.reduced.contains(d))
    }

    /// The indices of an input's element.
    fn indices(&self, row: &Expression, column: &Expression) -> Vec<Expression> {
        let mut indices = vec![Expression::constant(0); self.shape.len()];
        let rows = index::delinearize(row, &self.reduced_shape);
        let columns = index::delinearize(column, &self.kept_shape);
        let groups = [(&self.reduced, rows), (&self.kept, columns)];
        for (dimensions, group) in groups {
            for (&d, index) in dimensions.iter().zip(group) {
                indices[d] = index;
            }
        }
        indices
    }

    /// The accumulator of each reduction with the thread's rows of its column in it; of nothing where there is no column.
    fn own<'c, 'g>(
        &self,
        emission: &mut Emission<'c, 'g>,
        reductions: &[Reduction<'c, 'g>],
        column: Value<'c>,
        warp: Value<'c>,
    ) -> Result<Vec<Value<'c>>, Unsupported> {
        let of_nothing = (reductions.iter())
            .map(|reduction| reduction.of_nothing(emission))
            .collect::<Result<Vec<_>, _>>()?;
        let all = extent(&self.reduced_shape);
        if all == 0 {
            return Ok(of_nothing);
        }
        let b = emission.elemental.builder();
        let first = b.binary("arith.muli", warp, b.constant_i64(self.rows));
        let end = b.binary("arith.addi", first, b.constant_i64(self.rows));
        let end = b.binary("arith.minsi", end, b.constant_i64(all));
        let count = extent(&self.kept_shape);
        emission.value_below(column, count, &of_nothing, |emission, column| {
            let b = emission.elemental.builder();
            let bounds = [first, end, b.constant_i64(1)];
            emission.for_carried(bounds, (0, all - 1), &of_nothing, |emission, row, own| {
                let indices = self.indices(&row, &column);
                (reductions.iter().zip(own))
                    .map(|(reduction, &own)| Ok(reduction.step(emission, &[own], &indices)?[0]))
                    .collect()
            })
        })
    }

    /// Puts the accumulators of all warps but the first into shared memory, and waits until all are there.
    fn exchange<'c, 'g>(
        &self,
        emission: &Emission<'c, 'g>,
        shared: &mut Shared,
        reductions: &[Reduction<'c, 'g>],
        warp: Value<'c>,
        own: &[Value<'c>],
    ) -> Vec<Value<'c>> {
        if self.warps == 1 {
            return Vec::new();
        }
        let b = emission.elemental.builder();
        let bytes = (self.warps * WARP * ACCUMULATOR_BYTES) as u32;
        let arrays: Vec<Value<'c>> = own.iter().map(|_| shared.array(&b, bytes)).collect();
        let first = b.binary("arith.muli", warp, b.constant_i64(WARP));
        let place = b.binary("arith.addi", first, thread::lane(&b));
        for ((reduction, &array), &own) in reductions.iter().zip(&arrays).zip(own) {
            let element = reduction.element();
            let memory = scalar::accumulator_memory_type(&b, element);
            let stored = scalar::to_accumulator_memory(&b, own, element);
            b.store(stored, b.element_address(array, memory, place));
        }
        thread::barrier(&b);
        arrays
    }

    /// Combines the first warp's accumulators with the others', and writes the results of a column.
    fn finish<'c, 'g>(
        &self,
        emission: &mut Emission<'c, 'g>,
        reductions: &[Reduction<'c, 'g>],
        column: &Expression,
        arrays: &[Value<'c>],
        own: &[Value<'c>],
    ) -> Result<(), Unsupported> {
        let at = index::delinearize(column, &self.kept_shape);
        for (number, (reduction, &own)) in reductions.iter().zip(own).enumerate() {
            let mut accumulator = own;
            for warp in 1..self.warps {
                let b = emission.elemental.builder();
                let element = reduction.element();
                let memory = scalar::accumulator_memory_type(&b, element);
                let first = b.constant_i64(warp * WARP);
                let place = b.binary("arith.addi", first, thread::lane(&b));
                let stored = b.load(b.element_address(arrays[number], memory, place), memory);
                let other = scalar::from_accumulator_memory(&b, stored, element);
                accumulator = reduction.merge(emission, &[accumulator, other])?[0];
            }
            let results = reduction.finish_with_inits(emission, &[accumulator])?;
            reduction.provide(emission, &at, results);
        }
        let numbers: Vec<usize> = (0..emission.results.len()).collect();
        emission.store_results(&numbers, &at)
    }
}
