//! Scaled tensors with their bytes in another order.
//!
//! Block scales have two layouts. Codes run along the axis; square blocks are the same sixteen by sixteen elements whichever
//! of two dimensions that is, and so are their codes and scales, where the rounding is not random: random bits go by the
//! place in memory. So one quantisation serves both directions of a matrix.

use crate::{BlockShape, ScaledTensor, ScaledTensorError, ScaledType};

/// Why a scaled tensor has no such order of bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelayoutError {
    /// The types differ in more than the order of bytes.
    #[error(
        "expected the shape, format and blocks of {from}, and its axis or square blocks along one of the last two \
         dimensions, found {to}"
    )]
    Types {
        /// What it is.
        from: Box<ScaledType>,
        /// What was asked for.
        to: Box<ScaledType>,
    },
    /// The bytes made are not the type's.
    #[error(transparent)]
    Bytes(#[from] ScaledTensorError),
}

impl ScaledType {
    /// Whether [`relayout`] makes the other type of this one.
    pub fn can_be_laid_out_as(&self, to: &Self) -> bool {
        let rank = self.shape().len();
        let is_last_of_square =
            |axis: usize| self.blocks() == BlockShape::Square && rank >= 2 && axis + 2 >= rank;
        self.shape() == to.shape()
            && self.format() == to.format()
            && self.blocks() == to.blocks()
            && (self.axis() == to.axis()
                || is_last_of_square(self.axis()) && is_last_of_square(to.axis()))
    }
}

/// The same numbers in the order of bytes of another type.
///
/// # Errors
/// The types differ in more than that.
pub fn relayout(tensor: &ScaledTensor, to: &ScaledType) -> Result<ScaledTensor, RelayoutError> {
    let from = tensor.scaled_type();
    if !from.can_be_laid_out_as(to) {
        let (from, to) = (Box::new(from.clone()), Box::new(to.clone()));
        return Err(RelayoutError::Types { from, to });
    }
    let mut bytes = vec![0; to.byte_size()];
    let mut places = vec![(0, 0); from.rows() * from.columns()];
    for row in 0..from.rows() {
        for column in 0..from.columns() {
            places[from.logical_index(row, column)] = (row, column);
        }
    }
    for row in 0..to.rows() {
        for column in 0..to.columns() {
            let (old_row, old_column) = places[to.logical_index(row, column)];
            let code = tensor.code(old_row, old_column);
            match to.format().element().elements_per_byte() {
                1 => bytes[row * to.row_bytes() + column] = code,
                _ => bytes[row * to.row_bytes() + column / 2] |= code << (4 * (column % 2)),
            }
            if let Some((length, _)) = to.format().block() {
                let old = from.scale_position(old_row, old_column / length);
                let new = to.scales_offset() + to.scale_position(row, column / length);
                bytes[new] = tensor.scales()[old];
            }
        }
    }
    if to.format().has_tensor_scale() {
        let start = to.tensor_scale_offset();
        bytes[start..].copy_from_slice(&tensor.tensor_scale().to_le_bytes());
    }
    Ok(ScaledTensor::new(to.clone(), bytes)?)
}
