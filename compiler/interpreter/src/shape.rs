//! Ops that move elements without computing.

use crate::elements::{cells, integers, tensor, tensor_of_cells, with_size};
use crate::error::OpFailure;
use crate::number::{Number, Wide, with_element};
use crate::strided::{Positions, count, for_each_index, position, strides};
use tessera_ir::{Tensor, TensorType};

/// The tensor of the elements at the given positions of another.
fn elements_at(
    operand: &Tensor,
    shape: &[usize],
    positions: Positions,
) -> Result<Tensor, OpFailure> {
    with_size!(operand.element(), N => {
        let from = cells::<N>(operand);
        let moved = positions.map(|position| from[position]).collect();
        Ok(tensor_of_cells(operand.element(), shape, moved)?)
    })
}

/// The distance in elements from the first one of a dense array to the one at an index.
fn offset(strides: &[isize], index: impl Iterator<Item = usize>) -> isize {
    let terms = strides.iter().zip(index);
    terms.map(|(stride, at)| stride * at as isize).sum()
}

pub(crate) fn iota(dimension: usize, tensor_type: &TensorType) -> Result<Tensor, OpFailure> {
    let shape = &tensor_type.shape;
    let mut unit = vec![0; shape.len()];
    unit[dimension] = 1;
    let counts = Positions::new(shape, &unit, 0).map(|count| Wide::Integer(count as i128));
    with_element!(tensor_type.element, T => Ok(tensor(shape, counts.map(T::narrow))?))
}

pub(crate) fn broadcast_in_dim(
    broadcast_dimensions: &[usize],
    shape: &[usize],
    operand: &Tensor,
) -> Result<Tensor, OpFailure> {
    let mut result_strides = vec![0; shape.len()];
    let dimensions = broadcast_dimensions.iter().zip(operand.shape());
    for ((&dimension, &size), stride) in dimensions.zip(strides(operand.shape())) {
        result_strides[dimension] = if size == 1 { 0 } else { stride };
    }
    elements_at(operand, shape, Positions::new(shape, &result_strides, 0))
}

pub(crate) fn reshape(shape: &[usize], operand: &Tensor) -> Result<Tensor, OpFailure> {
    Ok(operand.reshaped(shape)?)
}

pub(crate) fn transpose(permutation: &[usize], operand: &Tensor) -> Result<Tensor, OpFailure> {
    let strides = strides(operand.shape());
    let shape: Vec<usize> = permutation.iter().map(|&d| operand.shape()[d]).collect();
    let result_strides: Vec<isize> = permutation.iter().map(|&d| strides[d]).collect();
    elements_at(operand, &shape, Positions::new(&shape, &result_strides, 0))
}

pub(crate) fn slice(
    start_indices: &[usize],
    slice_strides: &[usize],
    shape: &[usize],
    operand: &Tensor,
) -> Result<Tensor, OpFailure> {
    let strides = strides(operand.shape());
    let steps = strides.iter().zip(slice_strides);
    let result_strides: Vec<isize> = steps
        .map(|(stride, &step)| stride * step as isize)
        .collect();
    let base = offset(&strides, start_indices.iter().copied());
    elements_at(operand, shape, Positions::new(shape, &result_strides, base))
}

pub(crate) fn reverse(dimensions: &[usize], operand: &Tensor) -> Result<Tensor, OpFailure> {
    let shape = operand.shape();
    let mut strides = strides(shape);
    let last = |d| {
        if dimensions.contains(&d) {
            shape[d].saturating_sub(1)
        } else {
            0
        }
    };
    let base = offset(&strides, (0..shape.len()).map(last));
    for &dimension in dimensions {
        strides[dimension] = -strides[dimension];
    }
    elements_at(operand, shape, Positions::new(shape, &strides, base))
}

/// Where a slice starts so that it lies inside: the start operands, clamped.
fn clamped_starts(starts: &[Tensor], shape: &[usize], slice_sizes: &[usize]) -> Vec<usize> {
    let starts = starts.iter().flat_map(integers);
    let greatest = shape
        .iter()
        .zip(slice_sizes)
        .map(|(size, slice)| size.saturating_sub(*slice));
    let clamp = |(start, greatest)| usize::try_from(start).unwrap_or(0).min(greatest);
    starts.zip(greatest).map(clamp).collect()
}

pub(crate) fn dynamic_slice(
    slice_sizes: &[usize],
    operand: &Tensor,
    starts: &[Tensor],
) -> Result<Tensor, OpFailure> {
    let starts = clamped_starts(starts, operand.shape(), slice_sizes);
    slice(&starts, &vec![1; starts.len()], slice_sizes, operand)
}

pub(crate) fn dynamic_update_slice(
    operand: &Tensor,
    update: &Tensor,
    starts: &[Tensor],
) -> Result<Tensor, OpFailure> {
    let strides = strides(operand.shape());
    let starts = clamped_starts(starts, operand.shape(), update.shape());
    let base = offset(&strides, starts.into_iter());
    with_size!(operand.element(), N => {
        let mut updated = cells::<N>(operand).to_vec();
        let places = Positions::new(update.shape(), &strides, base);
        for (place, cell) in places.zip(cells(update)) {
            updated[place] = *cell;
        }
        Ok(tensor_of_cells(operand.element(), operand.shape(), updated)?)
    })
}

pub(crate) fn concatenate(
    dimension: usize,
    shape: &[usize],
    operands: &[Tensor],
) -> Result<Tensor, OpFailure> {
    let strides = strides(shape);
    let element = operands[0].element();
    with_size!(element, N => {
        let mut joined = vec![[0; N]; count(shape)];
        let mut base = 0;
        for operand in operands {
            let places = Positions::new(operand.shape(), &strides, base);
            for (place, cell) in places.zip(cells(operand)) {
                joined[place] = *cell;
            }
            base += strides[dimension].wrapping_mul(operand.shape()[dimension] as isize);
        }
        Ok(tensor_of_cells(element, shape, joined)?)
    })
}

pub(crate) fn pad(
    edge_padding_low: &[i64],
    interior_padding: &[usize],
    shape: &[usize],
    operand: &Tensor,
    padding_value: &Tensor,
) -> Result<Tensor, OpFailure> {
    with_size!(operand.element(), N => {
        let mut padded = vec![cells::<N>(padding_value)[0]; count(shape)];
        let mut cells = cells(operand).iter();
        for_each_index(operand.shape(), |index| {
            let place = |(d, &at): (usize, &usize)| edge_padding_low[d] + (at * (1 + interior_padding[d])) as i64;
            let place: Vec<i64> = index.iter().enumerate().map(place).collect();
            // Negative padding cuts elements away.
            if let (Some(cell), Some(position)) = (cells.next(), position(shape, &place)) {
                padded[position] = *cell;
            }
        });
        Ok(tensor_of_cells(operand.element(), shape, padded)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tessera_ir::ElementType;

    fn matrix(rows: usize, values: &[i32]) -> Tensor {
        Tensor::from_values([rows, values.len() / rows], values).unwrap()
    }

    fn vector(values: &[i32]) -> Tensor {
        Tensor::from_values([values.len()], values).unwrap()
    }

    fn scalars<const N: usize>(values: [i32; N]) -> [Tensor; N] {
        values.map(Tensor::scalar)
    }

    #[test]
    fn iota_counts_along_its_dimension() {
        let iota =
            |dimension, element| super::iota(dimension, &TensorType::new(element, [2, 3])).unwrap();
        assert_eq!(iota(0, ElementType::I32), matrix(2, &[0, 0, 0, 1, 1, 1]));
        assert_eq!(iota(1, ElementType::I32), matrix(2, &[0, 1, 2, 0, 1, 2]));
        let floats = iota(1, ElementType::F32).values::<f32>();
        assert_eq!(floats, Some(vec![0.0, 1.0, 2.0, 0.0, 1.0, 2.0]));
    }

    #[test]
    fn broadcast_repeats_new_dimensions_and_those_of_one() {
        let rows = broadcast_in_dim(&[1], &[2, 3], &vector(&[1, 2, 3]));
        assert_eq!(rows, Ok(matrix(2, &[1, 2, 3, 1, 2, 3])));
        let columns = broadcast_in_dim(&[0, 1], &[2, 3], &matrix(2, &[1, 2]));
        assert_eq!(columns, Ok(matrix(2, &[1, 1, 1, 2, 2, 2])));
        let transposed = broadcast_in_dim(&[1, 0], &[2, 2], &matrix(2, &[1, 2, 3, 4]));
        assert_eq!(transposed, Ok(matrix(2, &[1, 3, 2, 4])));
        let scalar = broadcast_in_dim(&[], &[2], &Tensor::scalar(7i32));
        assert_eq!(scalar, Ok(vector(&[7, 7])));
    }

    #[test]
    fn reshape_keeps_row_major_order() {
        let reshaped = reshape(&[3, 2], &matrix(2, &[1, 2, 3, 4, 5, 6]));
        assert_eq!(reshaped, Ok(matrix(3, &[1, 2, 3, 4, 5, 6])));
    }

    #[test]
    fn transpose_permutes_dimensions() {
        let transposed = transpose(&[1, 0], &matrix(2, &[1, 2, 3, 4, 5, 6]));
        assert_eq!(transposed, Ok(matrix(3, &[1, 4, 2, 5, 3, 6])));
        let cube = Tensor::from_values([2, 1, 2], &[1u8, 2, 3, 4]).unwrap();
        // Result dimension 0 is operand dimension 2, and so on.
        let turned = Tensor::from_values([2, 2, 1], &[1u8, 3, 2, 4]).unwrap();
        assert_eq!(transpose(&[2, 0, 1], &cube), Ok(turned));
    }

    #[test]
    fn slice_takes_every_so_manyth_element() {
        let x = matrix(2, &[0, 1, 2, 3, 10, 11, 12, 13]);
        assert_eq!(
            slice(&[0, 1], &[1, 2], &[2, 2], &x),
            Ok(matrix(2, &[1, 3, 11, 13]))
        );
        assert_eq!(
            slice(&[1, 0], &[1, 1], &[1, 4], &x),
            Ok(matrix(1, &[10, 11, 12, 13]))
        );
    }

    #[test]
    fn reverse_turns_dimensions_round() {
        let x = matrix(2, &[1, 2, 3, 4]);
        assert_eq!(reverse(&[1], &x), Ok(matrix(2, &[2, 1, 4, 3])));
        assert_eq!(reverse(&[0, 1], &x), Ok(matrix(2, &[4, 3, 2, 1])));
        let empty = Tensor::zeros(ElementType::I32, [0, 2]).unwrap();
        assert_eq!(reverse(&[0], &empty), Ok(empty.clone()));
    }

    #[test]
    fn a_dynamic_slice_stays_inside() {
        let x = vector(&[0, 1, 2, 3]);
        let slice = |start| dynamic_slice(&[2], &x, &scalars([start])).unwrap();
        assert_eq!(slice(1), vector(&[1, 2]));
        assert_eq!(slice(3), vector(&[2, 3]));
        assert_eq!(slice(-5), vector(&[0, 1]));
    }

    #[test]
    fn starts_may_be_of_any_integer_type() {
        let x = vector(&[0, 1, 2, 3]);
        let slice = |start| dynamic_slice(&[1], &x, &[start]).unwrap();
        assert_eq!(slice(Tensor::scalar(u64::MAX)), vector(&[3]));
        assert_eq!(slice(Tensor::scalar(200u8)), vector(&[3]));
        assert_eq!(slice(Tensor::scalar(i64::MIN)), vector(&[0]));
    }

    #[test]
    fn a_dynamic_update_stays_inside() {
        let x = matrix(2, &[0, 0, 0, 0, 0, 0]);
        let update =
            |row, column| dynamic_update_slice(&x, &matrix(1, &[1, 2]), &scalars([row, column]));
        assert_eq!(update(1, 0), Ok(matrix(2, &[0, 0, 0, 1, 2, 0])));
        assert_eq!(update(-1, 9), Ok(matrix(2, &[0, 1, 2, 0, 0, 0])));
    }

    #[test]
    fn concatenate_joins_along_a_dimension() {
        let (x, y) = (matrix(2, &[1, 2, 3, 4]), matrix(2, &[5, 6]));
        let wide = concatenate(1, &[2, 3], &[x.clone(), y]);
        assert_eq!(wide, Ok(matrix(2, &[1, 2, 5, 3, 4, 6])));
        let tall = concatenate(0, &[3, 2], &[x, matrix(1, &[5, 6])]);
        assert_eq!(tall, Ok(matrix(3, &[1, 2, 3, 4, 5, 6])));
    }

    #[test]
    fn pad_adds_at_the_edges_and_between() {
        let padded = pad(&[1], &[2], &[9], &vector(&[1, 2, 3]), &Tensor::scalar(0));
        assert_eq!(padded, Ok(vector(&[0, 1, 0, 0, 2, 0, 0, 3, 0])));
        let framed = pad(
            &[1, 0],
            &[0, 0],
            &[2, 3],
            &matrix(1, &[1, 2]),
            &Tensor::scalar(9),
        );
        assert_eq!(framed, Ok(matrix(2, &[9, 9, 9, 1, 2, 9])));
    }

    #[test]
    fn negative_padding_cuts_away() {
        let x = vector(&[1, 2, 3, 4]);
        assert_eq!(
            pad(&[-1], &[0], &[2], &x, &Tensor::scalar(0)),
            Ok(vector(&[2, 3]))
        );
        // The interior padding comes first: 1 0 2 0 3 0 4 without its first number and with one more behind.
        assert_eq!(
            pad(&[-1], &[1], &[7], &x, &Tensor::scalar(0)),
            Ok(vector(&[0, 2, 0, 3, 0, 4, 0]))
        );
    }
}
