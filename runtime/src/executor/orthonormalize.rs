//! Orthonormal factors of tall matrices, by modified Gram–Schmidt in f64, done twice so that columns are orthogonal to
//! working precision ("twice is enough": Giraud, Langou, Rozložník, 2005).
//!
//! Each matrix is one thread's work; its columns are copied to contiguous memory. Sums are made in a fixed number of
//! lanes.

use super::team::Member;
use crate::bundle::ALIGNMENT;

/// The partial sums of a scalar product.
const LANES: usize = 8;

/// The matrices of a tensor's last two dimensions.
pub(super) struct OrthonormalizeKernel {
    matrices: usize,
    rows: usize,
    columns: usize,
}

/// The addresses of a launch.
struct Buffers {
    x: *const f32,
    result: *mut f32,
    workspace: *mut f64,
}

// SAFETY: addresses that `OrthonormalizeKernel::run` alone uses, each call for a matrix and a workspace of its own.
unsafe impl Sync for Buffers {}

impl OrthonormalizeKernel {
    /// `shape` has at least two dimensions.
    pub(super) fn new(shape: &[usize]) -> Self {
        let (batch, matrix) = shape.split_at(shape.len() - 2);
        Self {
            matrices: batch.iter().product(),
            rows: matrix[0],
            columns: matrix[1],
        }
    }

    /// The numbers of one matrix's workspace.
    fn workspace_length(&self) -> usize {
        (self.rows * self.columns).next_multiple_of(ALIGNMENT / size_of::<f64>())
    }

    /// The bytes of workspace that a launch on that many threads needs.
    pub(super) fn workspace_bytes(&self, threads: usize) -> usize {
        let workers = if self.matrices > 1 { threads } else { 1 };
        workers
            .saturating_mul(self.workspace_length())
            .saturating_mul(size_of::<f64>())
    }

    /// Writes the factors.
    ///
    /// # Safety
    /// Both tensors have all matrices' elements, the workspace its bytes, aligned and initialised; all three are apart.
    /// Nobody else writes any of them, or reads workspace and result, meanwhile.
    pub(super) unsafe fn run(
        &self,
        member: Member,
        x: *const f32,
        result: *mut f32,
        workspace: *mut f64,
    ) {
        let buffers = Buffers {
            x,
            result,
            workspace,
        };
        let length = self.rows * self.columns;
        if length == 0 {
            return;
        }
        member.share(self.matrices as u64, 1, &|worker, range| {
            // The whole struct is shared, for its fields may not be.
            let buffers = &buffers;
            let worker = if self.matrices > 1 { worker } else { 0 };
            for matrix in range {
                let begin = matrix as usize * length;
                // SAFETY: the caller's promises; a matrix is one call's, and a worker makes one call at a time.
                let (x, result, columns) = unsafe {
                    let own = worker * self.workspace_length();
                    (
                        std::slice::from_raw_parts(buffers.x.add(begin), length),
                        std::slice::from_raw_parts_mut(buffers.result.add(begin), length),
                        std::slice::from_raw_parts_mut(buffers.workspace.add(own), length),
                    )
                };
                self.matrix(x, result, columns);
            }
        });
    }

    fn matrix(&self, x: &[f32], result: &mut [f32], columns: &mut [f64]) {
        for (column, numbers) in columns.chunks_exact_mut(self.rows).enumerate() {
            for (number, row) in numbers.iter_mut().zip(x.chunks_exact(self.columns)) {
                *number = f64::from(row[column]);
            }
        }
        orthonormalize(columns, self.rows);
        for (column, numbers) in columns.chunks_exact(self.rows).enumerate() {
            for (row, number) in result.chunks_exact_mut(self.columns).zip(numbers) {
                row[column] = *number as f32;
            }
        }
    }
}

/// Column after column, what lies along earlier ones is taken away; what is left is made 1 long. A column of which
/// nothing is left becomes zero.
fn orthonormalize(columns: &mut [f64], rows: usize) {
    for begin in (0..columns.len()).step_by(rows) {
        let (earlier, rest) = columns.split_at_mut(begin);
        let column = &mut rest[..rows];
        let before = dot(column, column).sqrt();
        for _ in 0..2 {
            for earlier in earlier.chunks_exact(rows) {
                let along = dot(earlier, column);
                for (number, earlier) in column.iter_mut().zip(earlier) {
                    *number -= along * earlier;
                }
            }
        }
        let length = dot(column, column).sqrt();
        // What is left of a dependent column is the rounding of f32 inputs.
        let is_dependent = length <= before * f64::from(f32::EPSILON);
        let factor = if is_dependent { 0.0 } else { length.recip() };
        column.iter_mut().for_each(|number| *number *= factor);
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a_lanes, b_lanes) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a_lanes.remainder().iter().zip(b_lanes.remainder());
    let rest: f64 = rest.map(|(a, b)| a * b).sum();
    let mut sums = [0f64; LANES];
    for (a, b) in a_lanes.zip(b_lanes) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f64>() + rest
}
