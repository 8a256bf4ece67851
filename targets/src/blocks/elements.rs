//! Functions that the runtime calls for elements of a row, in kernels that it computes itself: not blocks but these elements
//! are what they are given the range of, row-major, and the call's own memory holds one number for each.

use super::extent;
use crate::mlir::Emission;
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::{self, Expression};

/// Does `body` for each element of the call, which are of one row of `shape`; it is given the element's indices and its
/// place in the call's own memory.
///
/// # Errors
/// What `body` returns.
pub fn for_each<'c, 'g>(
    emission: &mut Emission<'c, 'g>,
    shape: &[usize],
    mut body: impl FnMut(&mut Emission<'c, 'g>, &[Expression], Expression) -> Result<(), Unsupported>,
) -> Result<(), Unsupported> {
    let (&columns, rows) = shape.split_last().unwrap_or((&1, &[]));
    let columns = columns as i64;
    let (begin, end) = (emission.begin, emission.end);
    let last = extent(shape) - 1;
    let begin = Expression::variable(emission.elemental.variable(begin, 0, last));
    let row = begin.quotient(columns);
    let row_start = row.times(columns);
    let first = begin.remainder(columns);
    let [lower, start] = [&first, &row_start].map(|one| emission.elemental.number(one));
    let b = emission.elemental.builder();
    let bounds = [lower, b.binary("arith.subi", end, start), b.constant_i64(1)];
    let outer = index::delinearize(&row, rows);
    emission.for_bounds(bounds, (0, columns - 1), None, |emission, column| {
        let place = column.plus(&first.times(-1));
        let mut indices = outer.clone();
        if !shape.is_empty() {
            indices.push(column);
        }
        body(emission, &indices, place)
    })
}
