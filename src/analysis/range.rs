//! How far a tensor's magnitudes lie apart, in powers of two.

use super::Matrix;
use rayon::prelude::*;
use serde::Serialize;

/// Log₂ of the largest over the smallest nonzero magnitude: of the tensor, and of its blocks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Range {
    /// The largest magnitude.
    pub largest: f32,
    /// The smallest magnitude that is not zero.
    pub smallest: f32,
    /// Log₂ of the largest over the smallest.
    pub tensor: f64,
    /// The same within a block of 16 along the axis, the median over the blocks that are not all zero.
    pub block_median: f64,
    /// The same within a block, the largest of all blocks.
    pub block_largest: f64,
    /// Log₂ of the largest over the smallest of the blocks' largest magnitudes: what block scales must span.
    pub scales: f64,
}

/// nvfp4's.
const BLOCK: usize = 16;

impl Range {
    /// The ranges of a matrix in blocks along an axis of its shape.
    pub fn of(matrix: &Matrix, axis: usize) -> Self {
        let shape = matrix.shape();
        let (columns, after) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
        let values = matrix.values();
        let rows = 0..values.len() / columns;
        let blocks: Vec<(f32, f32)> = rows
            .into_par_iter()
            .flat_map_iter(|row| {
                let first = row / after * columns * after + row % after;
                let starts = (0..columns).step_by(BLOCK);
                starts.filter_map(move |start| {
                    let places = start..(start + BLOCK).min(columns);
                    ends(places.map(|column| values[first + column * after].abs()))
                })
            })
            .collect();
        let (largest, smallest) = extremes(&blocks, |&(largest, smallest)| (largest, smallest));
        let (most, least) = extremes(&blocks, |&(largest, _)| (largest, largest));
        let mut ranges: Vec<f64> = blocks
            .iter()
            .map(|&(most, least)| log(most, least))
            .collect();
        ranges.sort_by(f64::total_cmp);
        Self {
            largest,
            smallest,
            tensor: log(largest, smallest),
            block_median: ranges.get(ranges.len() / 2).copied().unwrap_or(0.0),
            block_largest: ranges.last().copied().unwrap_or(0.0),
            scales: log(most, least),
        }
    }
}

/// The largest and the smallest nonzero magnitude, where there is one.
fn ends(magnitudes: impl Iterator<Item = f32>) -> Option<(f32, f32)> {
    let nonzero = magnitudes.filter(|&magnitude| magnitude > 0.0);
    nonzero.fold(None, |ends, own| match ends {
        None => Some((own, own)),
        Some((largest, smallest)) => Some((own.max(largest), own.min(smallest))),
    })
}

/// The largest of the firsts and the smallest of the seconds.
fn extremes(blocks: &[(f32, f32)], of: impl Fn(&(f32, f32)) -> (f32, f32)) -> (f32, f32) {
    let each = blocks.iter().map(of);
    each.reduce(|a, b| (a.0.max(b.0), a.1.min(b.1)))
        .unwrap_or((0.0, 0.0))
}

fn log(largest: f32, smallest: f32) -> f64 {
    if smallest == 0.0 {
        return 0.0;
    }
    (f64::from(largest) / f64::from(smallest)).log2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_of_the_tensor_its_blocks_and_their_largest() {
        // Two rows of two blocks: 8 … 1, 2 … 2, 1 … ½ and zeros.
        let mut values = vec![0.0; 64];
        values[0] = -8.0;
        values[15] = 1.0;
        values[16] = 2.0;
        values[32] = 1.0;
        values[33] = 0.5;
        let range = Range::of(&Matrix::new(&[2, 32], values).unwrap(), 1);
        assert_eq!((range.largest, range.smallest), (8.0, 0.5));
        assert_eq!(range.tensor, 4.0);
        assert_eq!((range.block_median, range.block_largest), (1.0, 3.0));
        assert_eq!(range.scales, 3.0);
    }

    #[test]
    fn blocks_run_along_the_axis() {
        // Columns of equal numbers: along the columns no block has a range.
        let values = (0..32).map(|at| f32::exp2((at % 2) as f32 * 5.0)).collect();
        let matrix = Matrix::new(&[16, 2], values).unwrap();
        assert_eq!(Range::of(&matrix, 0).block_largest, 0.0);
        assert_eq!(Range::of(&matrix, 1).block_largest, 5.0);
        assert_eq!(Range::of(&matrix, 0).scales, 5.0);
    }
}
