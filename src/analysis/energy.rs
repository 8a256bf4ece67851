//! Where a tensor's energy lies.

use super::{Matrix, Spectrum};
use serde::Serialize;

/// Shares of ‖M‖².
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Energy {
    /// Of the mean over the rows.
    pub mean: f64,
    /// Of the leading singular direction.
    pub first: f64,
    /// Of the leading 1.5 % of the directions.
    pub leading_1_5_percent: f64,
    /// Of the leading 5 % of the directions.
    pub leading_5_percent: f64,
}

/// The shares of the directions that are looked at.
const SHARES: [f64; 2] = [0.015, 0.05];

impl Energy {
    /// The number of directions that are a share of all, one at least.
    fn count(matrix: &Matrix, share: f64) -> usize {
        let all = matrix.rows().min(matrix.columns());
        ((share * all as f64).round() as usize).max(1)
    }

    /// The number of directions that [`Energy::of`] asks for.
    pub fn rank(matrix: &Matrix) -> usize {
        Self::count(matrix, SHARES[1])
    }

    /// The shares of a matrix with that spectrum.
    pub fn of(matrix: &Matrix, spectrum: &Spectrum) -> Self {
        let squares = matrix.squares();
        let share = |count| (spectrum.energy(count) / squares).min(1.0);
        let [one_and_a_half, five] = SHARES.map(|one| share(Self::count(matrix, one)));
        Self {
            mean: mean_share(matrix),
            first: share(1),
            leading_1_5_percent: one_and_a_half,
            leading_5_percent: five,
        }
    }
}

/// `l·|μ|² / ‖M‖²`.
pub(super) fn mean_share(matrix: &Matrix) -> f64 {
    let mean: f64 = matrix.mean().iter().map(|mean| mean * mean).sum();
    (matrix.rows() as f64 * mean / matrix.squares()).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_holds_all_of_equal_rows_and_nothing_of_opposite_ones() {
        let share = |values: [f32; 4]| mean_share(&Matrix::new(&[2, 2], values.into()).unwrap());
        assert_eq!(share([1.0, 2.0, 1.0, 2.0]), 1.0);
        assert_eq!(share([1.0, 2.0, -1.0, -2.0]), 0.0);
        // Means 1 and 0: 2 · 1 of 9 + 1 + 1 + 1.
        assert!((share([3.0, 1.0, -1.0, -1.0]) - 2.0 / 12.0).abs() < 1e-15);
    }

    #[test]
    fn shares_of_directions_grow_with_their_number() {
        // A diagonal of 40: 5 % of the directions are two of them.
        let mut values = vec![0.0; 1600];
        for i in 0..40 {
            values[41 * i] = if i < 2 { 10.0 } else { 1.0 };
        }
        let matrix = Matrix::new(&[40, 40], values).unwrap();
        let spectrum = Spectrum::leading(&matrix, Energy::rank(&matrix), 0);
        let energy = Energy::of(&matrix, &spectrum);
        // (10² + 10²) / (2 · 10² + 38)
        assert!((energy.first - 100.0 / 238.0).abs() < 1e-9);
        assert_eq!(energy.leading_1_5_percent, energy.first);
        assert!((energy.leading_5_percent - 200.0 / 238.0).abs() < 1e-9);
    }
}
