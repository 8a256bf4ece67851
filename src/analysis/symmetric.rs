//! Eigenvalues of a symmetric matrix, by Jacobi's rotations.
//!
//! Each rotation of a plane (p, q) makes the element there zero; sweeps over all planes are repeated until what is off the
//! diagonal is rounding. Source: G. Golub, C. Van Loan, "Matrix Computations", 4th edition, §8.5.

/// The eigenvalues of an n×n symmetric matrix, the largest first, and the eigenvectors in their order, one a row.
pub(super) fn eigen(mut matrix: Vec<f64>, n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut vectors = vec![0.0; n * n];
    for i in 0..n {
        vectors[i * n + i] = 1.0;
    }
    let norm = matrix.iter().map(|a| a * a).sum::<f64>().sqrt();
    // Quadratic convergence: ten sweeps are more than any matrix of f64 needs.
    for _ in 0..30 {
        let mut off = 0.0;
        for p in 0..n {
            for q in p + 1..n {
                let element = matrix[p * n + q];
                off += element * element;
                if element.abs() > 1e-17 * norm {
                    rotate(&mut matrix, &mut vectors, n, p, q);
                }
            }
        }
        if off.sqrt() <= 1e-15 * norm {
            break;
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| matrix[b * n + b].total_cmp(&matrix[a * n + a]));
    let values = order.iter().map(|&i| matrix[i * n + i]).collect();
    let vectors = order.iter().flat_map(|&i| &vectors[i * n..(i + 1) * n]);
    (values, vectors.copied().collect())
}

/// Makes the element (p, q) zero.
fn rotate(matrix: &mut [f64], vectors: &mut [f64], n: usize, p: usize, q: usize) {
    let (app, aqq, apq) = (matrix[p * n + p], matrix[q * n + q], matrix[p * n + q]);
    let tau = (aqq - app) / (2.0 * apq);
    // The smaller root of t² + 2τt − 1 = 0: the smaller angle.
    let t = tau.signum() / (tau.abs() + (1.0 + tau * tau).sqrt());
    let cosine = 1.0 / (1.0 + t * t).sqrt();
    let sine = t * cosine;
    for k in 0..n {
        let (a, b) = (matrix[k * n + p], matrix[k * n + q]);
        matrix[k * n + p] = cosine * a - sine * b;
        matrix[k * n + q] = sine * a + cosine * b;
    }
    for rows in [matrix, vectors] {
        let (before, from_q) = rows.split_at_mut(q * n);
        let (row_p, row_q) = (&mut before[p * n..(p + 1) * n], &mut from_q[..n]);
        for (a, b) in row_p.iter_mut().zip(row_q) {
            (*a, *b) = (cosine * *a - sine * *b, sine * *a + cosine * *b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagonal_matrix_has_its_elements_in_order() {
        let (values, vectors) = eigen(vec![1.0, 0.0, 0.0, 3.0], 2);
        assert_eq!(values, [3.0, 1.0]);
        assert_eq!(vectors, [0.0, 1.0, 1.0, 0.0]);
    }

    #[test]
    fn vectors_times_values_make_the_matrix_again() {
        let n = 12;
        let entry = |i: usize, j: usize| ((i * j + i + j) as f64).sin();
        let matrix: Vec<f64> = (0..n * n).map(|at| entry(at / n, at % n)).collect();
        let (values, vectors) = eigen(matrix.clone(), n);
        assert!(values.is_sorted_by(|a, b| a >= b));
        for i in 0..n {
            for j in 0..n {
                let terms = (0..n).map(|k| values[k] * vectors[k * n + i] * vectors[k * n + j]);
                let again: f64 = terms.sum();
                // Twelve terms of at most the norm, 12, each with a few roundings of 2⁻⁵³.
                assert!(
                    (again - matrix[i * n + j]).abs() < 1e-12,
                    "{i} {j}: {again}"
                );
            }
        }
    }
}
