//! Tiles of codes as boxes of tensor maps: one thread has a whole tile copied, swizzled, and zeros where the operand ends.

use super::kind::Kind;
use super::memory::SwizzledTile;
use super::stage;
use crate::mlir::index::{Expression, Variable};
use crate::nvptx::family::scaled_dot::Codes;
use tessera_runtime::bundle::TensorMap;

/// The tensor map of the rows of codes in a kernel's buffer, `rows` in a box: bytes of a row, rows, products. `None` where
/// codes do not go to shared memory as they lie, rows are no whole pieces of 16 bytes, or their distances are unequal or too
/// large. (CUDA Driver API, `cuTensorMapEncodeTiled`.)
pub fn tensor_map(codes: &Codes<'_>, kind: Kind, buffer: usize, rows: i64) -> Option<TensorMap> {
    let scaled = codes.scaled_type;
    let row_bytes = scaled.row_bytes() as i64;
    if row_bytes % 16 != 0 || !stage::is_whole(kind, scaled) {
        return None;
    }
    let (batches, extent) = (codes.batches(), codes.rows());
    let counter = |number: u32, extent: i64| {
        Expression::variable(Variable {
            number,
            lower: 0,
            upper: extent - 1,
        })
    };
    let row = codes.stored_row(&counter(0, batches), &counter(1, extent));
    let strides = [row.stride(1)?, row.stride(0)?];
    // Of a single row or product there is no distance; any will do.
    let strides = [(strides[0], extent), (strides[1], batches)]
        .map(|(stride, count)| if count == 1 { 1 } else { stride })
        .map(|stride| (stride * row_bytes) as u64);
    let is_far = |stride: u64| stride >= 1 << 40;
    let extents = [row_bytes, extent, batches].map(|n| n as u64);
    // Places are given as 32-bit numbers with a sign.
    if strides.into_iter().any(is_far) || extents.into_iter().any(|n| n >= 1 << 31) {
        return None;
    }
    Some(TensorMap {
        buffer,
        extents: extents.to_vec(),
        strides: strides.to_vec(),
        box_extents: vec![SwizzledTile::ROW as u32, rows as u32, 1],
        swizzle_bytes: SwizzledTile::ROW as u32,
    })
}
