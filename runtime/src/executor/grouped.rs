//! Products of groups of rows of f32 or f64: a matrix product for each group, where its rows lie.
//!
//! How long groups are is read when the kernel runs. Each group's product is cut as any product of its shape is, so the
//! bits of the result depend neither on the other groups nor on the number of threads.

use super::gemm::{GemmBuffers, GemmKernel};
use super::team::Member;
use crate::bundle::{Gemm, GroupedGemm, MatrixLayout, TensorType};
use std::ops::Range;
use std::slice;
use tessera_numerics::{GroupSizesError, group_ranges};

/// A grouped product with the strides of its operands.
#[derive(Clone, Debug)]
pub(super) struct GroupedKernel {
    /// All rows as one group: what one group's product is but for its size.
    whole: Gemm,
    mode: Mode,
    groups: usize,
    /// Elements from one matrix of the groups' to the next.
    group_stride: usize,
}

/// Which dimension the groups lie along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// The rows of lhs and result; rhs has a matrix for each group.
    Rows,
    /// What is summed over; the result has a matrix for each group.
    Depth,
}

/// The addresses of a launch.
#[derive(Clone, Copy, Debug)]
pub(super) struct GroupedBuffers {
    pub(super) lhs: *const u8,
    pub(super) rhs: *const u8,
    pub(super) group_sizes: *const i32,
    pub(super) result: *mut u8,
}

// SAFETY: addresses; `GroupedKernel::run`, which uses them, is unsafe and states what must hold of them.
unsafe impl Sync for GroupedBuffers {}

impl GroupedKernel {
    /// Operands and result are of types that a manifest's validation has found to fit.
    pub(super) fn new(
        grouped: &GroupedGemm,
        lhs: &TensorType,
        rhs: &TensorType,
        group_sizes: &TensorType,
    ) -> Self {
        let (left, right) = (grouped.lhs_contracting, grouped.rhs_contracting);
        let strides = |shape: &[usize]| [shape[shape.len() - 1], 1];
        // The matrices' own two dimensions: of each operand, (free, summed over).
        let lhs_strides = strides(&lhs.shape);
        let (mode, matrix, right) = match rhs.shape.len() {
            3 => (Mode::Rows, &rhs.shape[1..], right - 1),
            _ => (Mode::Depth, &rhs.shape[..], right),
        };
        let rhs_strides = strides(&rhs.shape);
        let (m, k, n) = (lhs.shape[1 - left], lhs.shape[left], matrix[1 - right]);
        Self {
            whole: Gemm {
                element_type: lhs.element_type,
                m,
                n,
                k,
                batch: Vec::new(),
                lhs: MatrixLayout {
                    row_stride: lhs_strides[1 - left],
                    column_stride: lhs_strides[left],
                },
                rhs: MatrixLayout {
                    row_stride: rhs_strides[right],
                    column_stride: rhs_strides[1 - right],
                },
                result: MatrixLayout {
                    row_stride: n,
                    column_stride: 1,
                },
            },
            mode,
            groups: group_sizes.shape[0],
            group_stride: match mode {
                Mode::Rows => k * n,
                Mode::Depth => m * n,
            },
        }
    }

    /// Computes the products of all groups; rows in no group become zero.
    ///
    /// # Errors
    /// A group's size is negative, or the groups are longer together than what they lie along. Nothing is written then.
    ///
    /// # Safety
    /// The buffers hold elements of the operands' and the result's types, aligned, and the result shares no memory with
    /// the operands; nobody else writes any of them or reads the result meanwhile.
    pub(super) unsafe fn run(
        &self,
        member: Member,
        buffers: GroupedBuffers,
    ) -> Result<(), GroupSizesError> {
        let whole = &self.whole;
        let length = match self.mode {
            Mode::Rows => whole.m,
            Mode::Depth => whole.k,
        };
        // SAFETY: the caller's promise.
        let ranges = unsafe { read_ranges(buffers.group_sizes, self.groups, length)? };
        let size = whole.element_type.size();
        if self.mode == Mode::Rows {
            let end = ranges.last().map_or(0, |range| range.end);
            // SAFETY: the caller's promise; the result is row-major, and zero bytes are zeros.
            unsafe {
                let rest = buffers.result.add(end * whole.n * size);
                rest.write_bytes(0, (whole.m - end) * whole.n * size);
            }
        }
        member.share(self.groups as u64, 1, &|_, groups| {
            // The whole struct is shared, for its fields may not be.
            let buffers = &buffers;
            for group in groups {
                let group = group as usize;
                let (gemm, [lhs, rhs, result]) = self.product(group, &ranges[group]);
                // SAFETY: a group's rows, its matrix and its part of the result lie inside the buffers; different
                // groups write different parts.
                unsafe {
                    let buffers = GemmBuffers {
                        lhs: buffers.lhs.add(lhs * size),
                        rhs: buffers.rhs.add(rhs * size),
                        result: buffers.result.add(result * size),
                        workspace: std::ptr::null_mut(),
                    };
                    // Groups are computed at the same time: a thread's workspace would be that of several.
                    GemmKernel::without_workspace(&gemm).run(member, buffers);
                }
            }
        });
        Ok(())
    }

    /// One group's product, and where its matrices begin, in elements.
    fn product(&self, group: usize, range: &Range<usize>) -> (Gemm, [usize; 3]) {
        let mut gemm = self.whole.clone();
        let (lhs, rhs, matrix) = (gemm.lhs, gemm.rhs, group * self.group_stride);
        let begin = range.start;
        match self.mode {
            Mode::Rows => {
                gemm.m = range.len();
                let offsets = [begin * lhs.row_stride, matrix, begin * gemm.n];
                (gemm, offsets)
            }
            Mode::Depth => {
                gemm.k = range.len();
                let offsets = [begin * lhs.column_stride, begin * rhs.row_stride, matrix];
                (gemm, offsets)
            }
        }
    }
}

/// The rows of each group, of groups along so many.
///
/// # Safety
/// There are so many sizes there, aligned, and nobody writes them.
pub(super) unsafe fn read_ranges(
    group_sizes: *const i32,
    groups: usize,
    rows: usize,
) -> Result<Vec<Range<usize>>, GroupSizesError> {
    // SAFETY: the caller's promise.
    group_ranges(unsafe { slice::from_raw_parts(group_sizes, groups) }, rows)
}

#[cfg(test)]
mod tests {
    use super::super::team::Team;
    use super::*;
    use std::num::NonZeroUsize;
    use tessera_numerics::ElementType;

    fn f32s(shape: &[usize]) -> TensorType {
        TensorType::new(ElementType::F32, shape)
    }

    /// Small integers, whose products and sums f32 holds exactly.
    fn values(count: usize, seed: usize) -> Vec<f32> {
        (0..count)
            .map(|i| ((i * 7 + seed) % 11) as f32 - 5.0)
            .collect()
    }

    fn run(
        contracting: [usize; 2],
        [lhs, rhs]: [(&[usize], &[f32]); 2],
        sizes: &[i32],
        result: &mut [f32],
    ) -> Result<(), GroupSizesError> {
        let grouped = GroupedGemm {
            lhs_contracting: contracting[0],
            rhs_contracting: contracting[1],
        };
        let sizes_type = TensorType::new(ElementType::I32, [sizes.len()]);
        let kernel = GroupedKernel::new(&grouped, &f32s(lhs.0), &f32s(rhs.0), &sizes_type);
        let buffers = GroupedBuffers {
            lhs: lhs.1.as_ptr().cast(),
            rhs: rhs.1.as_ptr().cast(),
            group_sizes: sizes.as_ptr(),
            result: result.as_mut_ptr().cast(),
        };
        let team = Team::new(NonZeroUsize::new(2)).unwrap();
        // SAFETY: the tests' slices are as long as their types say.
        team.enter(|member| unsafe { kernel.run(member, buffers) })
    }

    #[test]
    fn rows_of_groups_meet_their_matrix_however_it_lies() {
        let (rows, k, n, sizes) = (300, 20, 33, [130, 0, 150]);
        let (lhs, rhs) = (values(rows * k, 1), values(3 * k * n, 2));
        for (left, right) in [(1, 1), (1, 2), (0, 1), (0, 2)] {
            let lhs_at = |i: usize, l: usize| lhs[if left == 1 { i * k + l } else { l * rows + i }];
            let rhs_at = |g: usize, l: usize, j: usize| {
                rhs[g * k * n + if right == 1 { l * n + j } else { j * k + l }]
            };
            let mut expected = vec![0.0; rows * n];
            let mut begin = 0;
            for (group, size) in sizes.into_iter().enumerate() {
                for i in begin..begin + size as usize {
                    for j in 0..n {
                        expected[i * n + j] =
                            (0..k).map(|l| lhs_at(i, l) * rhs_at(group, l, j)).sum();
                    }
                }
                begin += size as usize;
            }
            let lhs_shape = if left == 1 { [rows, k] } else { [k, rows] };
            let rhs_shape = if right == 1 { [3, k, n] } else { [3, n, k] };
            let mut found = vec![f32::NAN; rows * n];
            let operands = [(&lhs_shape[..], &lhs[..]), (&rhs_shape[..], &rhs[..])];
            run([left, right], operands, &sizes, &mut found).unwrap();
            assert!(found == expected, "{left} {right}");
        }
    }

    #[test]
    fn sums_over_rows_stay_inside_their_group() {
        let (rows, m, n, sizes) = (300, 40, 33, [130, 0, 150]);
        let (lhs, rhs) = (values(rows * m, 1), values(rows * n, 2));
        let mut expected = vec![0.0; 3 * m * n];
        let mut begin = 0;
        for (group, size) in sizes.into_iter().enumerate() {
            for l in begin..begin + size as usize {
                for i in 0..m {
                    for j in 0..n {
                        expected[(group * m + i) * n + j] += lhs[l * m + i] * rhs[l * n + j];
                    }
                }
            }
            begin += size as usize;
        }
        let mut found = vec![f32::NAN; 3 * m * n];
        let operands = [(&[rows, m][..], &lhs[..]), (&[rows, n][..], &rhs[..])];
        run([0, 0], operands, &sizes, &mut found).unwrap();
        assert!(found == expected);
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused_and_nothing_is_written() {
        let (lhs, rhs) = ([1f32; 6], [1f32; 4]);
        for sizes in [[2, 2], [-1, 2]] {
            let mut result = [7f32; 6];
            let operands = [(&[3, 2][..], &lhs[..]), (&[2, 2, 1][..], &rhs[..])];
            let error = run([1, 1], operands, &sizes, &mut result).unwrap_err();
            assert!(error.to_string().starts_with("expected group"), "{error}");
            assert_eq!(result, [7.0; 6]);
        }
    }
}
