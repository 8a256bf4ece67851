//! Ops that put elements in order.

use crate::elements::{elements, scalar_at, tensor};
use crate::error::OpFailure;
use crate::evaluate::Scope;
use crate::number::{Number, Wide, with_element};
use crate::strided::{Positions, others, pick, strides};
use tessera_ir::{Graph, Tensor, TensorType};

/// Sorts every line along the dimension. The order is stable whether or not that is asked for.
pub(crate) fn sort(
    scope: &Scope<'_>,
    dimension: usize,
    comparator: &Graph,
    operands: &[Tensor],
) -> Result<Vec<Tensor>, OpFailure> {
    let shape = operands[0].shape();
    let strides = strides(shape);
    let lines = others(shape.len(), &[dimension]);
    let lines = Positions::new(&pick(shape, &lines), &pick(&strides, &lines), 0);
    let (length, stride) = (shape[dimension], strides[dimension] as usize);
    let mut sorted: Vec<Vec<u8>> = operands.iter().map(|x| x.bytes().to_vec()).collect();
    for first in lines {
        let mut line = Vec::with_capacity(length);
        for number in 0..length {
            let element = |operand| scalar_at(operand, first + number * stride);
            line.push(
                operands
                    .iter()
                    .map(element)
                    .collect::<Result<Vec<_>, _>>()?,
            );
        }
        let line = merge_sort(line, &mut |a: &Vec<Tensor>, b: &Vec<Tensor>| {
            let pairs = a.iter().zip(b).flat_map(|(a, b)| [a.clone(), b.clone()]);
            let stands_before = scope.scalars(comparator, pairs.collect())?;
            Ok(stands_before[0].bytes()[0] != 0)
        })?;
        for (number, elements) in line.into_iter().enumerate() {
            for (bytes, element) in sorted.iter_mut().zip(elements) {
                let size = element.element().size();
                let place = (first + number * stride) * size;
                bytes[place..place + size].copy_from_slice(element.bytes());
            }
        }
    }
    let result = |(bytes, operand): (Vec<u8>, &Tensor)| {
        Ok(Tensor::new(operand.element(), operand.shape(), bytes)?)
    };
    sorted.into_iter().zip(operands).map(result).collect()
}

/// A stable sort whose comparator may fail, and which ends even where the comparator is no order.
fn merge_sort<T>(
    mut items: Vec<T>,
    stands_before: &mut impl FnMut(&T, &T) -> Result<bool, OpFailure>,
) -> Result<Vec<T>, OpFailure> {
    if items.len() < 2 {
        return Ok(items);
    }
    let right = items.split_off(items.len() / 2);
    let mut left = merge_sort(items, stands_before)?.into_iter().peekable();
    let mut right = merge_sort(right, stands_before)?.into_iter().peekable();
    let mut merged = Vec::with_capacity(left.len() + right.len());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let next = if stands_before(b, a)? {
            &mut right
        } else {
            &mut left
        };
        merged.extend(next.next());
    }
    merged.extend(left.chain(right));
    Ok(merged)
}

/// The greatest along the fastest dimension by the total order (NaN above ∞, −0 below +0, −NaN below −∞), greatest
/// first, and where each stood; of equal ones the one that stood first.
pub(crate) fn top_k(
    k: usize,
    operand: &Tensor,
    results: &[&TensorType],
) -> Result<Vec<Tensor>, OpFailure> {
    let length = operand.shape().last().copied().unwrap_or(1);
    with_element!(operand.element(), T => {
        let values: Vec<T> = elements(operand).collect();
        let mut greatest = Vec::new();
        let mut places = Vec::new();
        for row in values.chunks(length.max(1)) {
            let mut order: Vec<usize> = (0..row.len()).collect();
            order.sort_by(|&a, &b| row[b].total_order(&row[a]));
            for place in order.into_iter().take(k) {
                greatest.push(row[place]);
                places.push(Wide::Integer(place as i128));
            }
        }
        let values = tensor(&results[0].shape, greatest.into_iter())?;
        let indices = with_element!(results[1].element, I => {
            tensor(&results[1].shape, places.into_iter().map(I::narrow))?
        });
        Ok(vec![values, indices])
    })
}
