//! The loop family: a thread computes a few neighbouring elements of each result, as many as one access of 16 bytes moves.

use super::grid;
use crate::blocks::{ceil_div, extent};
use crate::mlir::Emission;
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::{self, Expression};
use crate::nvptx::{Grid, thread};

/// Threads of a CTA.
const THREADS: i64 = 256;

/// The bytes that one access of a thread moves at most.
const ACCESS: usize = 16;

pub fn emit(emission: &mut Emission<'_, '_>) -> Result<Grid, Unsupported> {
    let values = emission.result_values();
    let Some(&first) = values.first() else {
        return Ok(Grid::EMPTY);
    };
    let graph = &emission.kernel.body;
    let shape = &graph.tensor_type(first).shape;
    if shape.contains(&0) {
        return Ok(Grid::EMPTY);
    }
    let sizes = values.iter().map(|&v| graph.tensor_type(v).element.size());
    let width = (ACCESS / sizes.max().unwrap_or(ACCESS)) as i64;
    let row = shape.last().map_or(1, |&last| last as i64);
    let width = if row % width == 0 { width } else { 1 };
    let count = extent(shape) / width;
    let numbers: Vec<usize> = (0..values.len()).collect();
    let number = thread::global(&emission.elemental.builder(), THREADS);
    emission.when_below(number, count, |emission, chunk| {
        let places: Vec<Vec<Expression>> = (0..width)
            .map(|i| index::delinearize(&chunk.times(width).plus_constant(i), shape))
            .collect();
        // All are computed before the first is written: a result may lie where an operand does.
        let mut elements = Vec::new();
        for indices in &places {
            for &value in &values {
                elements.push(emission.elemental.element(value, indices)?);
            }
        }
        for (indices, elements) in places.iter().zip(elements.chunks(values.len())) {
            for (&number, &element) in numbers.iter().zip(elements) {
                emission.store_result(number, indices, element);
            }
        }
        Ok(())
    })?;
    grid(emission, ceil_div(count, THREADS), THREADS)
}
