//! Products of groups of rows of scaled tensors.
//!
//! A group's product is computed as any other. Where groups lie along the axes, they cut through blocks: a block takes
//! part in the product of every group that has elements of it, packed without those of the others, so that in the terms
//! of the [module's documentation](super) `I` is the sum over the group's elements and only blocks with some of them count.

use super::{Groups, Level, ScaledDot, ScaledDotBuffers, ScaledDotError, ScaledProduct};
use crate::bundle::{BatchDimension, MatrixLayout};
use crate::executor::grouped::read_ranges;
use crate::executor::team::Member;
use tessera_numerics::{GroupSizesError, ScaledType};

/// A grouped product of scaled tensors, prepared for its shapes.
#[derive(Clone, Debug)]
pub(in crate::executor) struct GroupedScaledDot {
    dot: ScaledDot,
    groups: usize,
    /// Whether groups are of rows of the lhs; else they lie along the axes.
    by_rows: bool,
}

/// The addresses of a launch.
#[derive(Clone, Copy, Debug)]
pub(in crate::executor) struct GroupedScaledDotBuffers {
    pub(in crate::executor) lhs: *const u8,
    pub(in crate::executor) rhs: *const u8,
    pub(in crate::executor) group_sizes: *const i32,
    pub(in crate::executor) result: *mut f32,
    pub(in crate::executor) workspace: *mut u8,
}

// SAFETY: addresses; `GroupedScaledDot::run`, which uses them, is unsafe and states what must hold of them.
unsafe impl Sync for GroupedScaledDotBuffers {}

impl GroupedScaledDot {
    /// Of operands that a manifest's validation has found to fit: a matrix, and a matrix or one for each of the groups.
    ///
    /// # Errors
    /// What is packed is larger than memory.
    pub(in crate::executor) fn new(
        lhs: ScaledType,
        rhs: ScaledType,
        groups: usize,
    ) -> Result<Self, ScaledDotError> {
        let by_rows = rhs.shape().len() == 3;
        let (m, mut n) = (lhs.rows(), rhs.rows());
        let mut batch = Vec::new();
        if by_rows {
            n = rhs.shape()[3 - rhs.axis()];
            batch.push(BatchDimension {
                extent: groups,
                lhs_stride: 0,
                rhs_stride: n,
                result_stride: 0,
            });
        }
        let product = ScaledProduct {
            lhs,
            rhs,
            m,
            n,
            batch,
            lhs_stride: 1,
            rhs_stride: 1,
            result: MatrixLayout {
                row_stride: n,
                column_stride: 1,
            },
        };
        Ok(Self {
            dot: ScaledDot::prepare(product, Level::detect(), false)?,
            groups,
            by_rows,
        })
    }

    /// The same product computed with other instructions, which this CPU has.
    #[cfg(test)]
    pub(super) fn with_level(self, level: Level) -> Self {
        let dot = ScaledDot::prepare(self.dot.product, level, false).unwrap();
        Self { dot, ..self }
    }

    /// The bytes of workspace that a launch on that many threads needs.
    pub(in crate::executor) fn workspace_bytes(&self, threads: usize) -> usize {
        self.dot.workspace_bytes(threads)
    }

    /// Computes the products of all groups; rows in no group become zero.
    ///
    /// # Errors
    /// A group's size is negative, or the groups are longer together than what they lie along. Nothing is written then.
    ///
    /// # Safety
    /// As for [`ScaledDot::run`], with as many sizes as there are groups, aligned, which nobody writes meanwhile.
    pub(in crate::executor) unsafe fn run(
        &self,
        member: Member,
        buffers: GroupedScaledDotBuffers,
    ) -> Result<(), GroupSizesError> {
        let product = &self.dot.product;
        let length = if self.by_rows {
            product.m
        } else {
            product.lhs.columns()
        };
        // SAFETY: the caller's promise.
        let ranges = unsafe { read_ranges(buffers.group_sizes, self.groups, length)? };
        if product.m == 0 || product.n == 0 {
            return Ok(());
        }
        let groups = if self.by_rows {
            let end = ranges.last().map_or(0, |range| range.end);
            // SAFETY: the result has m rows of n elements, row-major, and zero bytes are zeros.
            unsafe {
                let rest = buffers.result.add(end * product.n);
                rest.write_bytes(0, (product.m - end) * product.n);
            }
            Groups::Rows(ranges)
        } else {
            Groups::Depth(ranges)
        };
        let buffers = ScaledDotBuffers {
            lhs: buffers.lhs,
            rhs: buffers.rhs,
            result: buffers.result,
            workspace: buffers.workspace,
            epilogue: &[],
        };
        // SAFETY: the caller's promises; groups were found to lie inside.
        unsafe { self.dot.run_groups(member, buffers, &groups) };
        Ok(())
    }
}
