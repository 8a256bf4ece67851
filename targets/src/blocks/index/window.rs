//! reduce_window: for each element of the result, the elements that its window covers, in row-major order.
//!
//! Neighbouring results of the fastest dimension are accumulated side by side.

use super::super::nest::extent;
use super::super::reduction::Reduction;
use crate::blocks::Division;
use crate::mlir::Emission;
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::{self, Expression};
use tessera_ir::{OpKind, Operation, WindowAttributes};

/// Results accumulated side by side.
const LANES: i64 = 64;

pub fn emit<'g>(
    emission: &mut Emission<'_, 'g>,
    operation: &'g Operation,
) -> Result<Division, Unsupported> {
    let graph = &emission.kernel.body;
    let (Some(mut reduction), Some(window)) = (
        Reduction::of_window(graph, operation),
        attributes(&operation.op.kind),
    ) else {
        return Err(Unsupported::new(operation, "is not a reduce_window"));
    };
    let shape = &graph.tensor_type(operation.result()).shape[..];
    if shape.contains(&0) {
        return Ok(Division::EMPTY);
    }
    let (columns, outer) = match shape.split_last() {
        Some((&last, outer)) => (last as i64, outer),
        None => (1, shape),
    };
    let lanes = largest_divisor(columns);
    let runs = columns / lanes;
    reduction.reserve(emission, lanes);
    let units = extent(outer) * runs;
    let sliding = Sliding { window, lanes };
    emission.for_each_unit(units, 1, |emission, unit| {
        let at = index::delinearize(&unit.quotient(runs), outer);
        let first = unit.remainder(runs).times(lanes);
        let result = |lane: &Expression| {
            let mut result = at.clone();
            if !shape.is_empty() {
                result.push(first.plus(lane));
            }
            result
        };
        emission.for_range(lanes, None, |emission, lane| {
            reduction.set_inits(emission, &lane)
        })?;
        sliding.accumulate(emission, &reduction, &result, &mut Vec::new())?;
        let numbers: Vec<usize> = (0..emission.results.len()).collect();
        emission.for_range(lanes, None, |emission, lane| {
            let accumulators = reduction.accumulators(emission, &lane);
            let rounded = reduction.round(emission, accumulators);
            let result = result(&lane);
            reduction.provide(emission, &result, rounded);
            emission.store_results(&numbers, &result)
        })
    })?;
    let covered: usize = sliding.window.window_dimensions.iter().product();
    Ok(Division::new(units, (covered as i64 * lanes) as f64))
}

/// The greatest divisor that is no more than the lanes.
fn largest_divisor(columns: i64) -> i64 {
    (1..=LANES.min(columns))
        .rev()
        .find(|lanes| columns % lanes == 0)
        .unwrap_or(1)
}

fn attributes(kind: &OpKind) -> Option<WindowAttributes<'_>> {
    match kind {
        OpKind::ReduceWindow {
            window_dimensions,
            window_strides,
            base_dilations,
            window_dilations,
            padding_low,
            padding_high,
            ..
        } => Some(WindowAttributes {
            window_dimensions,
            window_strides,
            base_dilations,
            window_dilations,
            padding_low,
            padding_high,
        }),
        _ => None,
    }
}

/// A window on its way.
struct Sliding<'g> {
    window: WindowAttributes<'g>,
    lanes: i64,
}

impl Sliding<'_> {
    /// Loops over the window's elements, then over the lanes.
    fn accumulate<'c, 'g>(
        &self,
        emission: &mut Emission<'c, 'g>,
        reduction: &Reduction<'c, 'g>,
        result: &dyn Fn(&Expression) -> Vec<Expression>,
        at: &mut Vec<Expression>,
    ) -> Result<(), Unsupported> {
        let window = &self.window;
        if let Some(&extent) = window.window_dimensions.get(at.len()) {
            return emission.for_range(extent as i64, None, |emission, index| {
                at.push(index);
                let done = self.accumulate(emission, reduction, result, at);
                at.pop();
                done
            });
        }
        emission.for_range(self.lanes, None, |emission, lane| {
            let offsets: Vec<Expression> = (result(&lane).iter().zip(at.iter()).enumerate())
                .map(|(d, (result, at))| {
                    let from = result.times(window.window_strides[d] as i64);
                    let inside = at.times(window.window_dilations[d] as i64);
                    from.plus(&inside).plus_constant(-window.padding_low[d])
                })
                .collect();
            let steps: Vec<i64> = window.base_dilations.iter().map(|&d| d as i64).collect();
            let mut arguments = reduction.accumulators(emission, &lane);
            for (&input, &init) in reduction.inputs().iter().zip(reduction.inits()) {
                let elemental = &mut emission.elemental;
                arguments.push(elemental.element_or_padding(input, &offsets, &steps, init)?);
            }
            let next = reduction.combine(emission, &arguments)?;
            reduction.set(emission, &lane, &next);
            Ok(())
        })
    }
}
