//! Means, orthonormal bases and the singular directions found with them.

use crate::elements::{elements, tensor};
use crate::error::OpFailure;
use crate::number::{Number, Wide, with_element};
use crate::shape;
use crate::strided::others;
use tessera_ir::Tensor;

/// The mean along dimensions: summed in f64 in row-major order, divided by their number, rounded once.
pub(crate) fn column_mean(
    dimensions: &[usize],
    x: &Tensor,
    result: &[usize],
) -> Result<Tensor, OpFailure> {
    let kept = others(x.shape().len(), dimensions);
    let count: usize = dimensions.iter().map(|&d| x.shape()[d]).product();
    let columns: usize = result.iter().product();
    let rows = shape::transpose(&[dimensions, &kept].concat(), x)?;
    with_element!(x.element(), T => {
        let mut sums = vec![0.0; columns];
        for (position, value) in elements::<T>(&rows).enumerate() {
            if let Wide::Float(value) = value.widen() {
                sums[position % columns] += value;
            }
        }
        let means = sums.into_iter().map(|sum| Wide::Float(sum / count as f64));
        Ok(tensor(result, means.map(T::narrow))?)
    })
}

/// Matrices of the last two dimensions, each by modified Gram–Schmidt, done twice so that columns are orthogonal to
/// working precision ("twice is enough": Giraud, Langou, Rozložník, 2005).
pub(crate) fn orthonormalize(x: &Tensor) -> Result<Tensor, OpFailure> {
    let [.., rows, columns] = x.shape()[..] else {
        return Ok(x.clone());
    };
    let mut values: Vec<f64> = elements::<f32>(x).map(f64::from).collect();
    if rows * columns > 0 {
        for matrix in values.chunks_exact_mut(rows * columns) {
            orthonormalize_columns(matrix, columns);
        }
    }
    Ok(tensor(x.shape(), values.into_iter().map(|v| v as f32))?)
}

/// `matrix` is row-major with that many columns. Column after column, what lies along earlier ones is taken away; what is
/// left is made 1 long. A column of which nothing is left becomes zero.
fn orthonormalize_columns(matrix: &mut [f64], columns: usize) {
    let dot = |matrix: &[f64], a: usize, b: usize| -> f64 {
        let rows = matrix.chunks_exact(columns);
        rows.map(|row| row[a] * row[b]).sum()
    };
    for column in 0..columns {
        let before = dot(matrix, column, column).sqrt();
        for _ in 0..2 {
            for earlier in 0..column {
                let along = dot(matrix, earlier, column);
                for row in matrix.chunks_exact_mut(columns) {
                    row[column] -= along * row[earlier];
                }
            }
        }
        let length = dot(matrix, column, column).sqrt();
        // What is left of a dependent column is the rounding of f32 inputs.
        let is_dependent = length <= before * f64::from(f32::EPSILON);
        let factor = if is_dependent { 0.0 } else { length.recip() };
        for row in matrix.chunks_exact_mut(columns) {
            row[column] *= factor;
        }
    }
}

/// U = orthonormalize(m v), W = mᵀ U, s the norms of W's columns, v = W / s, in f64; v and s are rounded in the end.
pub(crate) fn subspace_iterate(
    iterations: usize,
    matrix: &Tensor,
    basis: &Tensor,
) -> Result<Vec<Tensor>, OpFailure> {
    let (n, k) = (basis.shape()[0], basis.shape()[1]);
    let m: Vec<f64> = elements::<f32>(matrix).map(f64::from).collect();
    let mut v: Vec<f64> = elements::<f32>(basis).map(f64::from).collect();
    let mut norms = vec![0.0; k];
    if n == 0 || k == 0 {
        let norms = tensor(&[k], norms.into_iter().map(|s: f64| s as f32))?;
        return Ok(vec![basis.clone(), norms]);
    }
    for _ in 0..iterations {
        let mut u = vec![0.0; matrix.shape()[0] * k];
        for (row, result) in m.chunks_exact(n).zip(u.chunks_exact_mut(k)) {
            for (x, v) in row.iter().zip(v.chunks_exact(k)) {
                add_scaled(result, *x, v);
            }
        }
        orthonormalize_columns(&mut u, k);
        let mut w = vec![0.0; n * k];
        for (row, u) in m.chunks_exact(n).zip(u.chunks_exact(k)) {
            for (x, result) in row.iter().zip(w.chunks_exact_mut(k)) {
                add_scaled(result, *x, u);
            }
        }
        for column in 0..k {
            let squares = w.chunks_exact(k).map(|row| row[column] * row[column]);
            norms[column] = squares.sum::<f64>().sqrt();
            if norms[column] > 0.0 {
                for (w, v) in w.chunks_exact(k).zip(v.chunks_exact_mut(k)) {
                    v[column] = w[column] / norms[column];
                }
            }
        }
    }
    let v = tensor(&[n, k], v.into_iter().map(|value| value as f32))?;
    Ok(vec![v, tensor(&[k], norms.into_iter().map(|s| s as f32))?])
}

fn add_scaled(result: &mut [f64], factor: f64, values: &[f64]) {
    for (result, value) in result.iter_mut().zip(values) {
        *result += factor * value;
    }
}
