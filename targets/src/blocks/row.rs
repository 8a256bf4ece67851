//! The row family: reductions along the fastest dimensions, with elementwise and index ops around them.
//!
//! A row is done whole before the next: reductions that do not depend on each other in one pass over it, those that
//! depend on them in the next, and the results of the row's full shape in a last one. Rows are what is divided into
//! blocks.
//!
//! A reduction by a function whose order does not matter is made in 64 lanes: element `i` goes to lane `i mod 64`, and
//! the lanes are combined in halves. So the order is fixed by the shape, the same for every processor and every number
//! of threads, and has vector instructions. Other reductions go element by element.

mod kept;

use super::Division;
use super::nest::{Nest, ceil_div, extent, lane_loop};
use super::reduction::Reduction;
use super::work;
use crate::mlir::Emission;
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::{self, Expression};
use kept::Kept;
use tessera_ir::{Graph, ValueId};

/// Elements of a block, where rows are short.
const BLOCK: i64 = 4096;

/// Lanes of a long reduction: four vectors of the widest kind, so that one addition need not wait for the one before.
const LANES: i64 = 64;

pub fn emit<'c, 'g>(emission: &mut Emission<'c, 'g>) -> Result<Division, Unsupported> {
    let graph = &emission.kernel.body;
    let mut reductions = Reduction::all(graph);
    let Some(first) = reductions.first() else {
        return super::r#loop::emit(emission);
    };
    let shape = first.shape(graph);
    let rows = &shape[..shape.len() - first.dimensions.len()];
    let results = Results::of_rows(emission, &reductions, shape, rows)?;
    if rows.contains(&0) {
        return Ok(Division::EMPTY);
    }
    let row = &shape[rows.len()..];
    let nest = Nest::choose(emission, rows, row, |emission, indices| {
        for reduction in Reduction::all(&emission.kernel.body) {
            reduction.provide_anything(emission, &indices[..rows.len()]);
            for &input in reduction.inputs() {
                emission.elemental.element(input, indices)?;
            }
        }
        emission.store_results(&results.full, indices)
    })?;
    let lanes = largest_power_of_two(nest.inner().clamp(1, LANES));
    for reduction in &mut reductions {
        reduction.reserve(emission, lanes);
    }
    let passes = passes(graph, &reductions);
    let mut roots: Vec<Vec<ValueId>> = (passes.iter())
        .map(|pass| pass.iter().flat_map(|r| r.inputs()).copied().collect())
        .collect();
    let values = emission.result_values();
    roots.push(results.full.iter().map(|&number| values[number]).collect());
    let kept = Kept::choose(emission, shape, rows, &roots);

    let (count, length) = (extent(rows), extent(row));
    let per_block = (BLOCK / length.max(1)).clamp(1, count);
    emission.for_each_unit(count, per_block, |emission, unit| {
        let at = index::delinearize(&unit, rows);
        for (number, pass) in passes.iter().enumerate() {
            if pass.iter().all(|reduction| reduction.function.is_some()) {
                reduce_in_lanes(emission, &nest, lanes, &at, pass, (&kept, number))?;
            } else {
                reduce_in_order(emission, &nest, &at, pass, (&kept, number))?;
            }
        }
        let mut reduced = Vec::new();
        for &number in &results.reduced {
            reduced.push(emission.elemental.element(values[number], &at)?);
        }
        if !results.full.is_empty() {
            nest.walk(emission, &at, &mut |emission, indices| {
                kept.provide(emission, passes.len(), indices);
                emission.store_results(&results.full, indices)
            })?;
        }
        // Only now: a result may lie where an operand does that the loop has read.
        for (&number, element) in results.reduced.iter().zip(reduced) {
            emission.store_result(number, &at, element);
        }
        Ok(())
    })?;
    let element = work::nanoseconds_per_element(graph);
    let block = element * (length.max(1) * per_block) as f64;
    Ok(Division {
        scratch_bytes: kept.bytes(),
        ..Division::new(ceil_div(count, per_block), block)
    })
}

fn check_dimensions(
    graph: &Graph,
    reductions: &[Reduction<'_, '_>],
    shape: &[usize],
    rows: &[usize],
) -> Result<(), Unsupported> {
    let trailing: Vec<usize> = (rows.len()..shape.len()).collect();
    for reduction in reductions {
        let mut dimensions = reduction.dimensions.to_vec();
        dimensions.sort_unstable();
        if reduction.shape(graph) != shape || dimensions != trailing {
            return Err(Unsupported::new(
                reduction.operation,
                "does not reduce the fastest dimensions of the shape that the kernel's other reductions do",
            ));
        }
    }
    Ok(())
}

/// Which results have the rows' full shape, and which one element a row.
pub(crate) struct Results {
    pub full: Vec<usize>,
    pub reduced: Vec<usize>,
}

impl Results {
    /// Of a kernel whose reductions all have to be of rows of that shape.
    ///
    /// # Errors
    /// A reduction is of something else, or a result has another shape.
    pub fn of_rows(
        emission: &Emission<'_, '_>,
        reductions: &[Reduction<'_, '_>],
        shape: &[usize],
        rows: &[usize],
    ) -> Result<Self, Unsupported> {
        let graph = &emission.kernel.body;
        check_dimensions(graph, reductions, shape, rows)?;
        let (mut full, mut reduced) = (Vec::new(), Vec::new());
        for (number, value) in emission.result_values().into_iter().enumerate() {
            let found = &graph.tensor_type(value).shape;
            if found == shape {
                full.push(number);
            } else if found == rows {
                reduced.push(number);
            } else if let Some(operation) = graph.defining_operation(value) {
                let reason =
                    "has neither the shape of this kernel's rows nor that of its reductions";
                return Err(Unsupported::new(operation, reason));
            }
        }
        Ok(Self { full, reduced })
    }
}

/// The reductions that are made in one pass over the row, in an order in which each finds what it needs. Those of any
/// body have a pass of their own.
pub(crate) fn passes<'a, 'c, 'g>(
    graph: &Graph,
    reductions: &'a [Reduction<'c, 'g>],
) -> Vec<Vec<&'a Reduction<'c, 'g>>> {
    let levels = levels(graph, reductions);
    let mut passes = Vec::new();
    for level in 0..=levels.iter().copied().max().unwrap_or(0) {
        let now = || {
            (reductions.iter().zip(&levels))
                .filter(|(_, of)| **of == level)
                .map(|(r, _)| r)
        };
        let in_lanes: Vec<_> = now().filter(|r| r.function.is_some()).collect();
        if !in_lanes.is_empty() {
            passes.push(in_lanes);
        }
        passes.extend(
            now()
                .filter(|r| r.function.is_none())
                .map(|reduction| vec![reduction]),
        );
    }
    passes
}

/// For each reduction, how many others have to be done one after the other before it.
fn levels(graph: &Graph, reductions: &[Reduction<'_, '_>]) -> Vec<usize> {
    // Of each value, the number of passes before it is known.
    let mut known_after = vec![0; graph.value_count()];
    let mut levels = Vec::with_capacity(reductions.len());
    for operation in graph.operations() {
        let operands = operation.op.operands.iter();
        let ready = operands.map(|v| known_after[v.index()]).max().unwrap_or(0);
        let reduction = (reductions.iter()).any(|r| std::ptr::eq(r.operation, operation));
        if reduction {
            levels.push(ready);
        }
        for result in operation.results() {
            known_after[result.index()] = ready + usize::from(reduction);
        }
    }
    levels
}

/// The reductions of one pass whose order does not matter.
fn reduce_in_lanes<'c, 'g>(
    emission: &mut Emission<'c, 'g>,
    nest: &Nest,
    lanes: i64,
    at: &[Expression],
    reductions: &[&Reduction<'c, 'g>],
    (kept, pass): (&Kept, usize),
) -> Result<(), Unsupported> {
    emission.for_range::<Unsupported>(lanes, lane_loop(lanes), |emission, lane| {
        for reduction in reductions {
            reduction.set_neutral(emission, &lane);
        }
        Ok(())
    })?;
    nest.walk_in_lanes(emission, at, lanes, &mut |emission, lane, indices| {
        kept.provide(emission, pass, indices);
        for reduction in reductions {
            let accumulators = reduction.accumulators(emission, lane);
            let next = reduction.step(emission, &accumulators, indices)?;
            reduction.set(emission, lane, &next);
        }
        kept.keep(emission, pass, indices)
    })?;
    let mut width = lanes / 2;
    while width > 0 {
        emission.for_range(width, lane_loop(width), |emission, lane| {
            for reduction in reductions {
                let mut halves = reduction.accumulators(emission, &lane);
                let upper = lane.plus_constant(width);
                halves.extend(reduction.accumulators(emission, &upper));
                let sum = reduction.merge(emission, &halves)?;
                reduction.set(emission, &lane, &sum);
            }
            Ok::<_, Unsupported>(())
        })?;
        width /= 2;
    }
    for reduction in reductions {
        let all = reduction.accumulators(emission, &Expression::constant(0));
        let results = reduction.finish_with_inits(emission, &all)?;
        reduction.provide(emission, at, results);
    }
    Ok(())
}

/// Reductions by any body: one element after the other, the inits first.
fn reduce_in_order<'c, 'g>(
    emission: &mut Emission<'c, 'g>,
    nest: &Nest,
    at: &[Expression],
    reductions: &[&Reduction<'c, 'g>],
    (kept, pass): (&Kept, usize),
) -> Result<(), Unsupported> {
    let only = Expression::constant(0);
    for reduction in reductions {
        reduction.set_inits(emission, &only)?;
    }
    nest.walk(emission, at, &mut |emission, indices| {
        kept.provide(emission, pass, indices);
        for reduction in reductions {
            let accumulators = reduction.accumulators(emission, &only);
            let next = reduction.step(emission, &accumulators, indices)?;
            reduction.set(emission, &only, &next);
        }
        kept.keep(emission, pass, indices)
    })?;
    for reduction in reductions {
        let results = reduction.accumulators(emission, &only);
        reduction.provide(emission, at, results);
    }
    Ok(())
}

fn largest_power_of_two(n: i64) -> i64 {
    1 << n.ilog2()
}
