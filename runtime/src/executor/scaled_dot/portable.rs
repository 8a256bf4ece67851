//! The innermost kernel in plain Rust.

use super::tile::{COLUMNS, ColumnBlock, RowBlock, VectorTile};

/// Adds the products of `rows` and `columns`, block after block, to `tile`.
pub(super) fn accumulate<const GROUPS: usize>(
    rows: &[RowBlock<GROUPS>],
    columns: &[ColumnBlock<GROUPS>],
    tile: &mut VectorTile,
) {
    for (row_block, column_block) in rows.iter().zip(columns) {
        for (row, accumulators) in tile.0.iter_mut().enumerate() {
            let mut sums = [row_block.start[row]; COLUMNS];
            for (lhs, rhs) in row_block.elements[row].iter().zip(&column_block.elements) {
                let lhs = lhs.to_le_bytes().map(|element| i32::from(element as i8));
                for (sum, rhs) in sums.iter_mut().zip(rhs) {
                    let rhs = rhs.to_le_bytes().map(i32::from);
                    *sum +=
                        (lhs[0] * rhs[0] + lhs[1] * rhs[1]) + (lhs[2] * rhs[2] + lhs[3] * rhs[3]);
                }
            }
            let scale = row_block.scales[row];
            for ((accumulator, sum), column_scale) in
                accumulators.iter_mut().zip(sums).zip(column_block.scales)
            {
                // Difference and product are exact.
                let scaled = (f32::from_bits(sum as u32) - 3.0) * scale;
                *accumulator = scaled.mul_add(column_scale, *accumulator);
            }
        }
    }
}
