//! The loop family: elementwise and index ops, each element of the results by itself.

use super::Division;
use super::nest::{Nest, Range, ceil_div, extent};
use super::work;
use crate::mlir::Emission;
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::{self, Expression};

/// Elements of a block: enough that a block's own cost does not matter, few enough to balance threads.
const BLOCK: i64 = 4096;

/// The sides of a tile.
const TILE: i64 = 32;

pub fn emit(emission: &mut Emission<'_, '_>) -> Result<Division, Unsupported> {
    let numbers: Vec<usize> = (0..emission.results.len()).collect();
    let Some(&first) = emission.result_values().first() else {
        return Ok(Division::EMPTY);
    };
    let shape = emission.kernel.body.tensor_type(first).shape.clone();
    if shape.contains(&0) {
        return Ok(Division::EMPTY);
    }
    let nest = Nest::choose(emission, &[], &shape, |emission, indices| {
        emission.store_results(&numbers, indices)
    })?;
    if let Some(dimension) = nest.across()
        && shape[dimension] as i64 >= TILE
        && nest.inner() >= TILE
    {
        return tiles(emission, &nest, &shape, dimension, &numbers);
    }
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

/// Square tiles of a dimension and the inner loop: what one operand has in a row, another has in a column, and the lines
/// of both stay in the first-level cache.
fn tiles(
    emission: &mut Emission<'_, '_>,
    nest: &Nest,
    shape: &[usize],
    dimension: usize,
    numbers: &[usize],
) -> Result<Division, Unsupported> {
    let mut others = nest.outer().to_vec();
    let across = ceil_div(others.remove(dimension) as i64, TILE);
    let along = ceil_div(nest.inner(), TILE);
    let units = extent(&others) * across * along;
    emission.for_each_unit(units, 1, |emission, unit| {
        let tile = unit.remainder(across * along);
        let mut indices = index::delinearize(&unit.quotient(across * along), &others);
        indices.insert(dimension, Expression::constant(0));
        let chunk = |number: Expression| Range::Chunk {
            number,
            length: TILE,
        };
        let (rows, columns) = (chunk(tile.quotient(along)), chunk(tile.remainder(along)));
        nest.walk_tile(
            emission,
            &indices,
            (dimension, &rows),
            &columns,
            &mut |emission, indices| emission.store_results(numbers, indices),
        )
    })?;
    let element = work::nanoseconds_per_element(&emission.kernel.body);
    let elements = extent(shape) / units;
    Ok(Division::new(units, 4.0 * element * elements as f64))
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
