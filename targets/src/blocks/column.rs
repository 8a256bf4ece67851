//! The column family: reductions of the same dimensions, of which the fastest is none.
//!
//! A unit of work is a run of neighbouring columns. Its accumulators, one a column, stand next to each other, so that an
//! element of each column is added in one vector instruction, and memory is read in runs. Every column is reduced in
//! row-major order of the reduced dimensions, the init first: the reference order.

use super::Division;
use super::nest::{ceil_div, extent, lane_loop};
use super::reduction::Reduction;
use super::work;
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::{self, Expression};
use crate::mlir::{Emission, try_out};

/// Neighbouring columns of a unit, at most and at least.
const MOST_COLUMNS: i64 = 512;
const LEAST_COLUMNS: i64 = 64;

/// Elements added to an accumulator each time it is in a register.
const UNROLL: i64 = 4;

pub fn emit<'c, 'g>(emission: &mut Emission<'c, 'g>) -> Result<Division, Unsupported> {
    let graph = &emission.kernel.body;
    let mut reductions = Reduction::all(graph);
    let Some(reduction) = reductions.first() else {
        return super::r#loop::emit(emission);
    };
    let (shape, dimensions) = (reduction.shape(graph), reduction.dimensions);
    let other = (reductions.iter())
        .find(|other| other.shape(graph) != shape || !is_permutation(other.dimensions, dimensions));
    if let Some(other) = other {
        return Err(Unsupported::new(
            other.operation,
            "reduces other dimensions than the first reduction of a column kernel",
        ));
    }
    let kept: Vec<usize> = (0..shape.len())
        .filter(|d| !dimensions.contains(d))
        .collect();
    let layout = Layout::choose(emission, shape, &kept, reduction)?;
    if layout.columns == 0 || extent(&layout.outer_shape) == 0 {
        return Ok(Division::EMPTY);
    }
    let outer = extent(&layout.outer_shape);
    let width = (outer * layout.columns / 16)
        .clamp(LEAST_COLUMNS, MOST_COLUMNS)
        .min(layout.columns);
    let runs = ceil_div(layout.columns, width);
    for reduction in &mut reductions {
        reduction.reserve(emission, width);
    }
    let units = outer * runs;
    emission.for_each_unit(units, 1, |emission, unit| {
        let at = index::delinearize(&unit.quotient(runs), &layout.outer_shape);
        let first = unit.remainder(runs).times(width);
        let run = Run {
            layout: &layout,
            at,
            first,
            width,
        };
        run.reduce(emission, &reductions)
    })?;
    let reduced: i64 = (dimensions.iter()).map(|&d| shape[d] as i64).product();
    let element = work::nanoseconds_per_element(graph);
    Ok(Division::new(units, element * (width * reduced) as f64))
}

fn is_permutation(dimensions: &[usize], others: &[usize]) -> bool {
    dimensions.len() == others.len() && dimensions.iter().all(|d| others.contains(d))
}

/// What stands where in the inputs' shape.
struct Layout {
    shape: Vec<usize>,
    /// The reduced dimensions, in order.
    reduced: Vec<usize>,
    /// The kept dimensions before the columns, and their shape.
    outer: Vec<usize>,
    outer_shape: Vec<usize>,
    /// The kept dimensions whose elements are neighbours, and how many elements they have.
    inner_shape: Vec<usize>,
    columns: i64,
}

impl Layout {
    /// As many of the last dimensions as possible are columns: those after the last reduced one for which every place is
    /// affine in the column's number.
    fn choose<'c>(
        emission: &Emission<'c, '_>,
        shape: &[usize],
        kept: &[usize],
        reduction: &Reduction<'c, '_>,
    ) -> Result<Self, Unsupported> {
        let mut reduced = reduction.dimensions.to_vec();
        reduced.sort_unstable();
        let after_reduced = reduced.last().map_or(0, |last| last + 1);
        if after_reduced >= shape.len() {
            return Err(Unsupported::new(
                reduction.operation,
                "reduces the fastest dimension, which stays in a column kernel",
            ));
        }
        let mut start = after_reduced;
        loop {
            let outer: Vec<usize> = kept.iter().copied().filter(|&d| d < start).collect();
            let layout = Self {
                shape: shape.to_vec(),
                reduced: reduced.clone(),
                outer_shape: outer.iter().map(|&d| shape[d]).collect(),
                outer,
                inner_shape: shape[start..].to_vec(),
                columns: extent(&shape[start..]),
            };
            if start + 1 >= shape.len() || shape.contains(&0) || layout.is_affine(emission)? {
                return Ok(layout);
            }
            start += 1;
        }
    }

    fn is_affine(&self, emission: &Emission<'_, '_>) -> Result<bool, Unsupported> {
        let context = emission.elemental.builder().context();
        try_out(context, emission.kernel, emission.in_place, |emission| {
            let zero = emission.elemental.builder().constant_i64(0);
            let mut counter = |extent: i64| emission.elemental.variable(zero, 0, extent - 1);
            let reduced: Vec<Expression> = (self.reduced.iter())
                .map(|&d| Expression::variable(counter(self.shape[d] as i64)))
                .collect();
            let outer = Expression::variable(counter(extent(&self.outer_shape)));
            let column = counter(self.columns);
            let at = index::delinearize(&outer, &self.outer_shape);
            let (element, result) = self.indices(&at, &reduced, &Expression::variable(column));
            for reduction in Reduction::all(&emission.kernel.body) {
                for &input in reduction.inputs() {
                    emission.elemental.element(input, &element)?;
                }
                reduction.provide_anything(emission, &result);
            }
            let numbers: Vec<usize> = (0..emission.results.len()).collect();
            emission.store_results(&numbers, &result)?;
            let trace = &emission.elemental.trace;
            let conditions = trace.undecided.iter().map(|(expression, _)| expression);
            Ok((trace.positions.iter().chain(conditions))
                .all(|expression| expression.stride(column.number).is_some()))
        })
    }

    /// The indices of an input's element and of the result it goes to.
    fn indices(
        &self,
        outer: &[Expression],
        reduced: &[Expression],
        column: &Expression,
    ) -> (Vec<Expression>, Vec<Expression>) {
        let inner = index::delinearize(column, &self.inner_shape);
        let mut element = vec![Expression::constant(0); self.shape.len() - inner.len()];
        for (&d, index) in self.outer.iter().zip(outer) {
            element[d] = index.clone();
        }
        for (&d, index) in self.reduced.iter().zip(reduced) {
            element[d] = index.clone();
        }
        element.extend(inner.iter().cloned());
        let mut result = outer.to_vec();
        result.extend(inner);
        (element, result)
    }
}

/// A run of neighbouring columns.
struct Run<'a> {
    layout: &'a Layout,
    /// The indices in the kept dimensions before the columns.
    at: Vec<Expression>,
    /// The first column.
    first: Expression,
    /// How many columns, the last run perhaps fewer.
    width: i64,
}

impl Run<'_> {
    fn reduce<'c, 'g>(
        &self,
        emission: &mut Emission<'c, 'g>,
        reductions: &[Reduction<'c, 'g>],
    ) -> Result<(), Unsupported> {
        self.for_each_column(emission, |emission, column| {
            (reductions.iter()).try_for_each(|reduction| reduction.set_inits(emission, column))
        })?;
        self.rows(emission, reductions, &[])?;
        let numbers: Vec<usize> = (0..emission.results.len()).collect();
        self.for_each_column(emission, |emission, column| {
            let number = self.first.plus(column);
            let (_, result) = self.layout.indices(&self.at, &[], &number);
            for reduction in reductions {
                let accumulators = reduction.accumulators(emission, column);
                let rounded = reduction.round(emission, accumulators);
                reduction.provide(emission, &result, rounded);
            }
            emission.store_results(&numbers, &result)
        })
    }

    /// Loops over the reduced dimensions that are left, then over the columns.
    fn rows<'c, 'g>(
        &self,
        emission: &mut Emission<'c, 'g>,
        reductions: &[Reduction<'c, 'g>],
        reduced: &[Expression],
    ) -> Result<(), Unsupported> {
        let layout = self.layout;
        let next = |index: Expression| {
            let mut reduced = reduced.to_vec();
            reduced.push(index);
            reduced
        };
        let left = layout.reduced.len() - reduced.len();
        if left == 0 {
            return self.step(emission, reductions, &[reduced.to_vec()]);
        }
        let extent = layout.shape[layout.reduced[reduced.len()]] as i64;
        if left > 1 {
            return emission.for_range(extent, None, |emission, index| {
                self.rows(emission, reductions, &next(index))
            });
        }
        emission.for_range(extent / UNROLL, None, |emission, group| {
            let group: Vec<_> = (0..UNROLL)
                .map(|i| next(group.times(UNROLL).plus_constant(i)))
                .collect();
            self.step(emission, reductions, &group)
        })?;
        let rest: Vec<_> = (extent / UNROLL * UNROLL..extent)
            .map(|i| next(Expression::constant(i)))
            .collect();
        match rest.len() {
            0 => Ok(()),
            _ => self.step(emission, reductions, &rest),
        }
    }

    /// Adds an element of each of these rows to every column.
    fn step<'c, 'g>(
        &self,
        emission: &mut Emission<'c, 'g>,
        reductions: &[Reduction<'c, 'g>],
        rows: &[Vec<Expression>],
    ) -> Result<(), Unsupported> {
        self.for_each_column(emission, |emission, column| {
            let number = self.first.plus(column);
            let mut accumulators: Vec<_> = (reductions.iter())
                .map(|reduction| reduction.accumulators(emission, column))
                .collect();
            for row in rows {
                let (element, _) = self.layout.indices(&self.at, row, &number);
                for (reduction, accumulators) in reductions.iter().zip(&mut accumulators) {
                    *accumulators = reduction.step(emission, accumulators, &element)?;
                }
            }
            for (reduction, accumulators) in reductions.iter().zip(&accumulators) {
                reduction.set(emission, column, accumulators);
            }
            Ok(())
        })
    }

    /// A loop over the columns, counted from the first of the run.
    fn for_each_column<'c, 'g>(
        &self,
        emission: &mut Emission<'c, 'g>,
        body: impl FnOnce(&mut Emission<'c, 'g>, &Expression) -> Result<(), Unsupported>,
    ) -> Result<(), Unsupported> {
        if self.layout.columns % self.width == 0 {
            let annotation = lane_loop(self.width);
            return emission.for_range(self.width, annotation, |emission, column| {
                body(emission, &column)
            });
        }
        let left = emission
            .elemental
            .number(&self.first.times(-1).plus_constant(self.layout.columns));
        let b = emission.elemental.builder();
        let count = b.binary("arith.minsi", left, b.constant_i64(self.width));
        let bounds = [b.constant_i64(0), count, b.constant_i64(1)];
        emission.for_bounds(bounds, (0, self.width - 1), None, |emission, column| {
            body(emission, &column)
        })
    }
}
