//! Some experts of a grouped product, as a grouped product of their own.
//!
//! Which rows are an expert's is known only when the step runs, but they lie together. Those of a range of experts are
//! brought to the front, and the rows behind them become zero: a range has the shape of all, and what is made of it, a
//! tensor scale above all, sees no row of others. A product of groups ends behind its last group, so it multiplies the
//! range's rows alone.

use super::slice;
use crate::manager::PassFailure;
use std::collections::HashMap;
use std::ops::Range;
use tessera_ir::{Builder, ComparisonDirection, ElementType, OpError, OpKind, TensorType, ValueId};

/// What was made of the values of a graph: so that an operand of several products stays one.
#[derive(Default)]
pub(super) struct GroupSlices {
    /// The sum of group sizes in a range.
    sums: HashMap<(ValueId, Range<usize>), ValueId>,
    /// Of a matrix with groups along a dimension, by group sizes, the rows of a range.
    rows: HashMap<(ValueId, usize, ValueId, Range<usize>), ValueId>,
}

impl GroupSlices {
    /// The grouped products of those ranges of experts, which are all, and their results put together.
    pub fn products(
        &mut self,
        b: &mut Builder,
        kind: &OpKind,
        operands: &[ValueId],
        ranges: &[Range<usize>],
    ) -> Result<(Vec<ValueId>, ValueId), PassFailure> {
        let (
            &OpKind::GroupedDot {
                lhs_contracting_dimension,
                rhs_contracting_dimension,
                ..
            },
            &[lhs, rhs, sizes],
        ) = (kind, operands)
        else {
            return Err(PassFailure::internal(
                "a grouped product has two matrices and the sizes of groups",
            ));
        };
        let has_matrices = b.graph().value_type(rhs).shape().len() == 3;
        let mut results = Vec::with_capacity(ranges.len());
        for range in ranges {
            let [lhs, rhs] = if has_matrices {
                let rows = 1 - lhs_contracting_dimension;
                [
                    self.rows(b, (lhs, rows), sizes, range)?,
                    slice(b, rhs, 0, range)?,
                ]
            } else {
                [
                    self.rows(b, (lhs, lhs_contracting_dimension), sizes, range)?,
                    self.rows(b, (rhs, rhs_contracting_dimension), sizes, range)?,
                ]
            };
            let own = slice(b, sizes, 0, range)?;
            results.push(b.push_value(kind.clone(), [lhs, rhs, own])?);
        }
        let whole = match has_matrices {
            true => self.in_place(b, &results, sizes, ranges)?,
            false => b.concatenate(&results, 0)?,
        };
        Ok((results, whole))
    }

    /// The rows of a range of groups, first, and zeros behind them.
    fn rows(
        &mut self,
        b: &mut Builder,
        (matrix, dimension): (ValueId, usize),
        sizes: ValueId,
        range: &Range<usize>,
    ) -> Result<ValueId, OpError> {
        let key = (matrix, dimension, sizes, range.clone());
        if let Some(&made) = self.rows.get(&key) {
            return Ok(made);
        }
        let matrix_type = b.graph().tensor_type(matrix).clone();
        let mut moved = matrix;
        if range.start > 0 {
            let zeros = b.splat(0.0, &matrix_type)?;
            let double = b.concatenate(&[matrix, zeros], dimension)?;
            let start = self.sum(b, sizes, 0..range.start)?;
            let starts = starts(b, start, dimension)?;
            moved = b.dynamic_slice(double, &starts, &matrix_type.shape)?;
        }
        let count = self.sum(b, sizes, range.clone())?;
        let numbers = TensorType::new(ElementType::I32, &matrix_type.shape[..]);
        let number = b.iota(dimension, numbers)?;
        let count = b.broadcast_scalar(count, &matrix_type.shape)?;
        let is_own = b.compare(number, count, ComparisonDirection::Lt)?;
        let zeros = b.splat(0.0, &matrix_type)?;
        let own = b.select(is_own, moved, zeros)?;
        self.rows.insert(key, own);
        Ok(own)
    }

    /// The rows that ranges of groups have made, each range's first in its own result, where all groups have them.
    ///
    /// What a range writes behind its rows the next one writes again, and behind the last there are zeros.
    fn in_place(
        &mut self,
        b: &mut Builder,
        results: &[ValueId],
        sizes: ValueId,
        ranges: &[Range<usize>],
    ) -> Result<ValueId, OpError> {
        let result_type = b.graph().tensor_type(results[0]).clone();
        let zeros = b.splat(0.0, &result_type)?;
        let mut whole = b.concatenate(&[results[0], zeros], 0)?;
        for (&result, range) in results.iter().zip(ranges).skip(1) {
            let start = self.sum(b, sizes, 0..range.start)?;
            let starts = starts(b, start, 0)?;
            whole = b.dynamic_update_slice(whole, result, &starts)?;
        }
        slice(b, whole, 0, &(0..result_type.shape[0]))
    }

    fn sum(
        &mut self,
        b: &mut Builder,
        sizes: ValueId,
        range: Range<usize>,
    ) -> Result<ValueId, OpError> {
        let key = (sizes, range);
        if let Some(&made) = self.sums.get(&key) {
            return Ok(made);
        }
        let own = slice(b, sizes, 0, &key.1)?;
        let sum = b.reduce_sum(own, &[0])?;
        self.sums.insert(key, sum);
        Ok(sum)
    }
}

/// The starts of a slice of a matrix that begins somewhere along one dimension.
fn starts(b: &mut Builder, start: ValueId, dimension: usize) -> Result<[ValueId; 2], OpError> {
    let zero = b.splat(0.0, &TensorType::scalar(ElementType::I32))?;
    let mut starts = [zero; 2];
    starts[dimension] = start;
    Ok(starts)
}
