//! Matrix products of groups of rows.

use crate::contraction::{Roles, dot_general};
use crate::elements::{elements, tensor};
use crate::error::OpFailure;
use crate::number::{Number, Wide, with_element};
use crate::scaled::Rows;
use crate::shape;
use std::ops::Range;
use tessera_ir::{ElementType, ScaledTensor, Tensor};
use tessera_numerics::group_ranges;

/// Each operand with the dimension that is summed over.
pub(crate) fn grouped_dot(
    (lhs, lhs_contracting): (&Tensor, usize),
    (rhs, rhs_contracting): (&Tensor, usize),
    group_sizes: &Tensor,
    (accumulator, element): (ElementType, ElementType),
    shape: &[usize],
) -> Result<Tensor, OpFailure> {
    let dot = |lhs: &Tensor, rhs: &Tensor, shape: &[usize]| {
        let [left, right] = [[lhs_contracting], [rhs_contracting]];
        let roles = |contracting| Roles {
            batching: &[],
            contracting,
        };
        let (lhs, rhs) = ((lhs, roles(&left)), (rhs, roles(&right)));
        dot_general(lhs, rhs, accumulator, element, shape)
    };
    let has_groups = rhs.shape().len() == 3;
    let ragged = if has_groups {
        1 - lhs_contracting
    } else {
        lhs_contracting
    };
    let rows = lhs.shape()[ragged];
    let mut parts = Vec::new();
    let mut end = 0;
    for (group, range) in groups(group_sizes, rows)?.into_iter().enumerate() {
        end = range.end;
        let lhs = cut(lhs, ragged, range.clone())?;
        parts.push(if has_groups {
            let rhs = cut(rhs, 0, group..group + 1)?;
            dot(&lhs, &rhs, &[range.len(), shape[1]])?
        } else {
            let rhs = cut(rhs, rhs_contracting, range)?;
            dot(&lhs, &rhs, &[1, shape[1], shape[2]])?
        });
    }
    if has_groups {
        parts.push(Tensor::zeros(element, [rows - end, shape[1]])?);
    }
    match parts.is_empty() {
        true => Ok(Tensor::zeros(element, shape)?),
        false => shape::concatenate(0, shape, &parts),
    }
}

pub(crate) fn grouped_scaled_dot(
    lhs: &ScaledTensor,
    rhs: &ScaledTensor,
    group_sizes: &Tensor,
    element: ElementType,
    shape: &[usize],
) -> Result<Tensor, OpFailure> {
    let tensor_scales = f64::from(lhs.tensor_scale()) * f64::from(rhs.tensor_scale());
    let dot = |left: &[f64], right: &[f64]| {
        let products = left.iter().zip(right).map(|(x, y)| x * y);
        products.sum::<f64>() * tensor_scales
    };
    let lhs_type = lhs.scaled_type();
    let has_groups = rhs.scaled_type().shape().len() == 3;
    let ragged = if has_groups {
        1 - lhs_type.axis()
    } else {
        lhs_type.axis()
    };
    let ranges = groups(group_sizes, lhs_type.shape()[ragged])?;
    let left = Rows::of(lhs, &[]).batches.swap_remove(0);
    let mut sums = Vec::with_capacity(shape.iter().product());
    if has_groups {
        let right = Rows::of(rhs, &[0]).batches;
        for (range, right) in ranges.into_iter().zip(&right) {
            for left in &left[range] {
                sums.extend(right.iter().map(|right| dot(left, right)));
            }
        }
        sums.resize(shape.iter().product(), 0.0);
    } else {
        let right = Rows::of(rhs, &[]).batches.swap_remove(0);
        for range in ranges {
            for left in &left {
                let own = right.iter();
                sums.extend(own.map(|right| dot(&left[range.clone()], &right[range.clone()])));
            }
        }
    }
    let sums = sums.into_iter().map(Wide::Float);
    with_element!(element, T => Ok(tensor(shape, sums.map(T::narrow))?))
}

fn groups(group_sizes: &Tensor, rows: usize) -> Result<Vec<Range<usize>>, OpFailure> {
    let sizes: Vec<i32> = elements(group_sizes).collect();
    Ok(group_ranges(&sizes, rows)?)
}

/// The part of a tensor that lies in a range of one dimension.
fn cut(operand: &Tensor, dimension: usize, range: Range<usize>) -> Result<Tensor, OpFailure> {
    let mut shape = operand.shape().to_vec();
    let mut starts = vec![0; shape.len()];
    (starts[dimension], shape[dimension]) = (range.start, range.len());
    shape::slice(&starts, &vec![1; shape.len()], &shape, operand)
}
