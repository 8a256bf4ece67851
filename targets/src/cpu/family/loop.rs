//! The loop family: elementwise and index ops, each element of the results by itself.

use super::super::emission::{Division, Emission};
use super::nest::{Nest, Range, ceil_div, extent};
use super::work;
use crate::mlir::elemental::Unsupported;
use crate::mlir::index;

/// Elements of a block: enough that a block's own cost does not matter, few enough to balance threads.
const BLOCK: i64 = 4096;

pub fn emit(emission: &mut Emission<'_, '_>) -> Result<Division, Unsupported> {
    let numbers: Vec<usize> = (0..emission.results.len()).collect();
    let Some(&first) = emission.result_values().first() else {
        return Ok(Division::EMPTY);
    };
    let shape = emission.kernel.body.value_type(first).shape.clone();
    if shape.contains(&0) {
        return Ok(Division::EMPTY);
    }
    let nest = Nest::choose(emission, &[], &shape, |emission, indices| {
        emission.store_results(&numbers, indices)
    })?;
    let units = Units::of(&nest, &shape);
    emission.for_each_unit(units.count, units.per_block, |emission, unit| {
        let (outer, range) = match units.chunk {
            None => (unit, Range::All),
            Some(length) => {
                let chunks = ceil_div(nest.inner(), length);
                let number = unit.remainder(chunks);
                (unit.quotient(chunks), Range::Chunk { number, length })
            }
        };
        let indices = index::delinearize(&outer, &shape[..units.dimensions]);
        nest.walk_from(
            emission,
            &indices,
            units.dimensions,
            &range,
            &mut |emission, indices| emission.store_results(&numbers, indices),
        )
    })?;
    let element = work::nanoseconds_per_element(&emission.kernel.body);
    let block = (units.elements * units.per_block) as f64;
    Ok(Division::new(
        ceil_div(units.count, units.per_block),
        element * block,
    ))
}

/// How the elements of a nest are counted in units.
struct Units {
    count: i64,
    per_block: i64,
    /// How many elements a unit has, the last one perhaps fewer.
    elements: i64,
    /// A unit's number counts this many dimensions of the shape,
    dimensions: usize,
    /// and the chunks of that length of an inner loop that is too long for one unit.
    chunk: Option<i64>,
}

impl Units {
    fn of(nest: &Nest, shape: &[usize]) -> Self {
        let split = nest.outer().len();
        if nest.inner() >= 2 * BLOCK {
            return Self {
                count: extent(&shape[..split]) * ceil_div(nest.inner(), BLOCK),
                per_block: 1,
                elements: BLOCK,
                dimensions: split,
                chunk: Some(BLOCK),
            };
        }
        let dimensions = (0..split)
            .find(|&dimensions| extent(&shape[dimensions..]) <= BLOCK)
            .unwrap_or(split);
        let elements = extent(&shape[dimensions..]);
        Self {
            count: extent(&shape[..dimensions]),
            per_block: (BLOCK / elements).max(1),
            elements,
            dimensions,
            chunk: None,
        }
    }
}
