//! Leading singular directions, by randomised subspace iteration.
//!
//! A random basis of a few more columns than are wanted is multiplied by `MᵀM` and orthonormalised, some times over; what
//! the directions hold is then the spectrum of the small matrix `Vᵀ MᵀM V` (Rayleigh–Ritz). Shares found this way are at
//! most the true ones, and the closer the faster the spectrum falls; of a flat one a few hundredths of the share may be
//! missing. All sums are f64, in an order that the shape fixes. Source: N. Halko, P. Martinsson, J. Tropp, "Finding
//! structure with randomness", SIAM Review 53 (2011), algorithm 4.4.

use super::Matrix;
use super::product::{View, add_product, product};
use super::symmetric::eigen;
use rayon::prelude::*;
use tessera_numerics::philox::philox_4x32_10;

/// The leading singular values of a matrix and its right singular vectors.
#[derive(Clone, Debug)]
pub struct Spectrum {
    /// σ², the largest first.
    energies: Vec<f64>,
    /// A right singular vector a row.
    directions: Vec<f64>,
    columns: usize,
}

/// Multiplications with `MᵀM` after which a basis is taken for what it is.
const ITERATIONS: usize = 4;
/// Rows that are converted to f64 at a time.
const PANEL: usize = 256;
/// Sums over rows that are made side by side, at most: each is as large as the basis.
const SUMS: usize = 8;

impl Spectrum {
    /// The `rank` leading directions, or all where there are fewer, from the random basis of a seed.
    pub fn leading(matrix: &Matrix, rank: usize, seed: u64) -> Self {
        let (rows, columns) = (matrix.rows(), matrix.columns());
        let smaller = rows.min(columns);
        let rank = rank.min(smaller);
        let width = (rank + rank / 5 + 8).min(smaller);
        let mut basis = random(columns * width, seed);
        orthonormalise(&mut basis, columns);
        for _ in 0..ITERATIONS {
            basis = gram_times(matrix, &basis);
            orthonormalise(&mut basis, columns);
        }
        let multiplied = gram_times(matrix, &basis);
        let rows_of = |values| View::new(values, width, columns);
        let small = product(rows_of(&basis), rows_of(&multiplied).transposed());
        let (energies, rotation) = eigen(small, width);
        let directions = product(
            View::new(&rotation[..rank * width], rank, width),
            rows_of(&basis),
        );
        Self {
            energies: energies[..rank].iter().map(|&one| one.max(0.0)).collect(),
            directions,
            columns,
        }
    }

    /// The number of directions.
    pub fn rank(&self) -> usize {
        self.energies.len()
    }

    /// σ₁² + … + σₖ² for the `count` leading directions.
    pub fn energy(&self, count: usize) -> f64 {
        self.energies[..count.min(self.rank())].iter().sum()
    }

    /// The `count` leading right singular vectors, one a row.
    pub fn directions(&self, count: usize) -> &[f64] {
        &self.directions[..count.min(self.rank()) * self.columns]
    }
}

/// Numbers from −½ to ½, uniformly: any distribution that no direction is orthogonal to will do for a start.
fn random(count: usize, seed: u64) -> Vec<f64> {
    let key = [seed as u32, (seed >> 32) as u32];
    let words = (0..count.div_ceil(4)).flat_map(|block| {
        let block = block as u64;
        philox_4x32_10([block as u32, (block >> 32) as u32, 0, 0], key)
    });
    let numbers = words.map(|word| f64::from(word) / f64::from(u32::MAX) - 0.5);
    numbers.take(count).collect()
}

/// `MᵀM` times each of the basis' vectors, a vector a row.
fn gram_times(matrix: &Matrix, basis: &[f64]) -> Vec<f64> {
    let (rows, columns) = (matrix.rows(), matrix.columns());
    let width = basis.len() / columns;
    let basis = View::new(basis, width, columns);
    let stretch = rows.div_ceil(SUMS).next_multiple_of(PANEL);
    let sums = matrix
        .values()
        .par_chunks(stretch * columns)
        .map(|stretch| {
            let mut sum = vec![0.0; width * columns];
            for panel in stretch.chunks(PANEL * columns) {
                let wide: Vec<f64> = panel.iter().map(|&value| f64::from(value)).collect();
                let wide = View::new(&wide, panel.len() / columns, columns);
                let projected = product(basis, wide.transposed());
                let projected = View::new(&projected, width, panel.len() / columns);
                add_product(&mut sum, projected, wide);
            }
            sum
        });
    let sums: Vec<Vec<f64>> = sums.collect();
    let mut total = vec![0.0; width * columns];
    for sum in sums {
        total
            .iter_mut()
            .zip(&sum)
            .for_each(|(total, own)| *total += own);
    }
    total
}

/// Makes the rows orthonormal, each in turn, by Gram and Schmidt's method, twice so that nothing but rounding is left. A
/// row that hangs on those before it becomes zero.
fn orthonormalise(rows: &mut [f64], length: usize) {
    for start in (0..rows.len()).step_by(length) {
        let (before, own) = rows.split_at_mut(start);
        let own = &mut own[..length];
        let original = dot(own, own).sqrt();
        for _ in 0..2 {
            for other in before.chunks_exact(length) {
                let share = dot(other, own);
                own.iter_mut()
                    .zip(other)
                    .for_each(|(own, other)| *own -= share * other);
            }
        }
        let norm = dot(own, own).sqrt();
        let factor = if norm > 1e-12 * original {
            1.0 / norm
        } else {
            0.0
        };
        own.iter_mut().for_each(|own| *own *= factor);
    }
}

/// The sum of the products, in eight sums side by side, so that it vectorises.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A matrix with the singular values 8, 4, 2, 1 and directions that are columns of a Hadamard matrix.
    fn known(rows: usize, columns: usize) -> Matrix {
        let sign = |i: usize, j: usize| 1.0 - 2.0 * ((i & j).count_ones() % 2) as f64;
        let norm = ((rows * columns) as f64).sqrt();
        let value = |at: usize| {
            let (row, column) = (at / columns, at % columns);
            let terms = [(1, 8.0), (2, 4.0), (3, 2.0), (5, 1.0)];
            let sum: f64 = terms
                .map(|(k, s)| s * sign(row, k) * sign(column, k))
                .iter()
                .sum();
            (sum / norm) as f32
        };
        Matrix::new(&[rows, columns], (0..rows * columns).map(value).collect()).unwrap()
    }

    #[test]
    fn known_singular_values_are_found() {
        for (rows, columns) in [(16, 64), (64, 16), (512, 8)] {
            let matrix = known(rows, columns);
            let spectrum = Spectrum::leading(&matrix, 4, 1);
            let energies: Vec<f64> = (1..=4).map(|count| spectrum.energy(count)).collect();
            for (found, expected) in energies.iter().zip([64.0, 80.0, 84.0, 85.0]) {
                // The elements are rounded to f32: 2⁻²⁴ each, relative.
                assert!(
                    (found - expected).abs() < 1e-5,
                    "{rows}x{columns}: {energies:?}"
                );
            }
        }
    }

    #[test]
    fn directions_are_orthonormal_and_span_what_they_should() {
        let matrix = known(64, 16);
        let spectrum = Spectrum::leading(&matrix, 3, 1);
        let rows: Vec<&[f64]> = spectrum.directions(3).chunks(16).collect();
        for (i, a) in rows.iter().enumerate() {
            for (j, b) in rows.iter().enumerate() {
                let expected = f64::from(u8::from(i == j));
                assert!((dot(a, b) - expected).abs() < 1e-12);
            }
        }
        // The first direction is the first column of signs, over √16.
        for (column, value) in rows[0].iter().enumerate() {
            let sign = if column % 2 == 0 { 1.0 } else { -1.0 };
            assert!((value * rows[0][0].signum() - 0.25 * sign).abs() < 1e-6);
        }
    }

    #[test]
    fn no_more_directions_are_found_than_there_are() {
        let matrix = Matrix::new(&[2, 3], vec![3.0, 0.0, 0.0, 0.0, 4.0, 0.0]).unwrap();
        let spectrum = Spectrum::leading(&matrix, 10, 0);
        assert_eq!(spectrum.rank(), 2);
        assert!((spectrum.energy(1) - 16.0).abs() < 1e-12);
        assert!((spectrum.energy(10) - 25.0).abs() < 1e-12);
    }

    #[test]
    fn a_matrix_of_one_direction_leaves_nothing_for_the_others() {
        let matrix = Matrix::new(&[8, 8], vec![1.0; 64]).unwrap();
        let spectrum = Spectrum::leading(&matrix, 3, 0);
        assert!((spectrum.energy(1) - 64.0).abs() < 1e-10);
        assert!((spectrum.energy(3) - 64.0).abs() < 1e-10);
    }
}
