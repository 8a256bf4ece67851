//! Quantisation as its definition: plain, slow, one function an idea. [`Quantizer`](crate::Quantizer)
//! computes the same bits fast.
//!
//! The steps: order the tensor as storage has it, with the axis fastest; make the tensor scale from the largest magnitude;
//! cut the rows into blocks; per block make the scale and encode the elements, each multiplied by the block's factor.
//!
//! **What is not finite stays visible.** A largest magnitude of NaN makes nvfp4's tensor scale NaN, and a block with a NaN
//! in it has the scale NaN (E4M3's 0x7F, E8M0's 0xFF), so that all of it is NaN when read. fp8's elements are NaN by
//! themselves. ∞ saturates as the rules' sources have it: with `te` the tensor scale is 1 and ∞ becomes 448 · 6, or
//! fp8's largest number; in the mx formats it reads as ∞ again, because the block's scale is that large; with `torchao` and
//! MS-EDEN the tensor scale is ∞ and nothing of the tensor stays finite.

mod four_over_six;
mod ms_eden;
mod scale;

pub(crate) use four_over_six::RANGE as FOUR_OVER_SIX_RANGE;
pub(crate) use ms_eden::GROUP as MS_EDEN_GROUP;
pub(crate) use scale::{MS_EDEN_ELEMENT_LARGEST, TORCHAO_SCALE_LEAST, TensorScale};

use crate::{
    BlockShape, ElementFormat, Quantization, RandomStream, Rounding, ScaleRule, ScaledTensor,
    ScaledTensorError, ScaledType, largest_magnitude,
};
use scale::{BlockScale, block_scale};
use std::ops::Range;

/// Why numbers cannot be quantised.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantizeError {
    /// The numbers are not as many as the type's shape says.
    #[error("expected {expected} numbers for {scaled_type}, found {found}")]
    Length {
        /// The type asked for.
        scaled_type: ScaledType,
        /// The numbers it has.
        expected: usize,
        /// The numbers given.
        found: usize,
    },
    /// A random rounding without random bits.
    #[error("rounding {rounding} needs a random stream")]
    Stream {
        /// The rounding asked for.
        rounding: Rounding,
    },
    /// The bytes made are not the type's.
    #[error(transparent)]
    Bytes(#[from] ScaledTensorError),
}

/// Quantises numbers in the row-major order of the type's shape.
///
/// `amax` is [`largest_magnitude`] of the numbers where the caller already knows it; it matters to formats with a tensor
/// scale alone. `stream` gives the bits of random roundings, and nothing to the others.
///
/// # Errors
/// The numbers are not as many as the shape says, or the rounding is random and has no stream.
pub fn quantize(
    values: &[f32],
    quantization: &Quantization,
    amax: Option<f32>,
    stream: Option<RandomStream>,
) -> Result<ScaledTensor, QuantizeError> {
    let scaled_type = quantization.scaled_type();
    check(values.len(), quantization, stream)?;
    let amax = amax.unwrap_or_else(|| largest_magnitude(values));
    let tensor_scale = TensorScale::new(quantization, amax);
    let rows = stored_rows(values, scaled_type);
    let mut storage = Storage::new(scaled_type);
    storage.put_tensor_scale(tensor_scale.decode);
    match (quantization.rounding(), stream) {
        (Rounding::MsEden, Some(stream)) => {
            ms_eden::quantize(&rows, tensor_scale, stream, &mut storage);
        }
        (Rounding::MsEden | Rounding::NearestEven, _) | (Rounding::Stochastic, None) => {
            let encode = |element: ElementFormat, _, value| element.encode(value);
            blocks(&rows, quantization, tensor_scale, encode, &mut storage);
        }
        (Rounding::Stochastic, Some(stream)) => {
            let encode = |element: ElementFormat, index, value| {
                element.encode_stochastic(value, stream.byte(index))
            };
            blocks(&rows, quantization, tensor_scale, encode, &mut storage);
        }
    }
    Ok(ScaledTensor::new(scaled_type.clone(), storage.bytes)?)
}

/// Refuses numbers of another count than the shape's and random rounding without a stream.
pub(crate) fn check(
    count: usize,
    quantization: &Quantization,
    stream: Option<RandomStream>,
) -> Result<(), QuantizeError> {
    let scaled_type = quantization.scaled_type();
    let expected = scaled_type.shape().iter().product();
    if count != expected {
        return Err(QuantizeError::Length {
            scaled_type: scaled_type.clone(),
            expected,
            found: count,
        });
    }
    let rounding = quantization.rounding();
    if rounding.is_random() && stream.is_none() {
        return Err(QuantizeError::Stream { rounding });
    }
    Ok(())
}

/// The numbers of a scaled tensor, in the row-major order of its shape: `(code · block scale) · tensor scale` in f32.
pub fn dequantize(tensor: &ScaledTensor) -> Vec<f32> {
    let scaled_type = tensor.scaled_type();
    let (element, block) = (scaled_type.format().element(), scaled_type.format().block());
    let tensor_scale = tensor.tensor_scale();
    let mut values = vec![0.0; scaled_type.rows() * scaled_type.columns()];
    for row in 0..scaled_type.rows() {
        for column in 0..scaled_type.columns() {
            let code = element.decode(tensor.code(row, column));
            let scale = block.map_or(1.0, |(length, format)| {
                let position = scaled_type.scale_position(row, column / length);
                format.decode(tensor.scales()[position])
            });
            values[scaled_type.logical_index(row, column)] = code * scale * tensor_scale;
        }
    }
    values
}

/// The numbers in the order of storage, without the rows' padding.
fn stored_rows(values: &[f32], scaled_type: &ScaledType) -> Vec<f32> {
    let columns = scaled_type.columns();
    (0..values.len())
        .map(|index| values[scaled_type.logical_index(index / columns, index % columns)])
        .collect()
}

/// The elements that share a scale: some rows of storage, some of their columns.
struct Block {
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Block {
    /// The elements' rows and columns, row by row.
    fn places(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let columns = self.columns.clone();
        self.rows
            .clone()
            .flat_map(move |row| columns.clone().map(move |column| (row, column)))
    }

    /// The elements, row by row.
    fn values(&self, stored: &[f32], row_length: usize) -> Vec<f32> {
        self.places()
            .map(|(row, column)| stored[row * row_length + column])
            .collect()
    }
}

/// Cuts storage into the blocks of its type; a format without block scales is one block.
fn cut(scaled_type: &ScaledType) -> Vec<Block> {
    let (all_rows, all_columns) = (scaled_type.rows(), scaled_type.columns());
    let Some((length, _)) = scaled_type.format().block() else {
        return vec![Block {
            rows: 0..all_rows,
            columns: 0..all_columns,
        }];
    };
    let (height, period) = match scaled_type.blocks() {
        BlockShape::Vector => (1, 1),
        BlockShape::Square => (length, scaled_type.rows_before_axis()),
    };
    let mut blocks = Vec::new();
    // Where a dimension is 0 there are no rows or no columns, and the period does not matter.
    for period_start in (0..all_rows).step_by(period.max(1)) {
        let period_end = period_start + period;
        for row in (period_start..period_end).step_by(height) {
            for column in (0..all_columns).step_by(length) {
                blocks.push(Block {
                    rows: row..(row + height).min(period_end),
                    columns: column..(column + length).min(all_columns),
                });
            }
        }
    }
    blocks
}

/// Encodes block by block, each with the scale of its largest magnitude.
fn blocks(
    stored: &[f32],
    quantization: &Quantization,
    tensor_scale: TensorScale,
    encode: impl Fn(ElementFormat, u64, f32) -> u8,
    storage: &mut Storage,
) {
    let scaled_type = quantization.scaled_type();
    let element = scaled_type.format().element();
    let row_length = scaled_type.columns();
    for block in cut(scaled_type) {
        let values = block.values(stored, row_length);
        let BlockScale { code, factor } = match quantization.rule() {
            ScaleRule::FourOverSix => {
                let columns = block.columns.len();
                four_over_six::block_scale(&values, columns, scaled_type.blocks(), tensor_scale)
            }
            ScaleRule::Te
            | ScaleRule::Torchao
            | ScaleRule::Rceil
            | ScaleRule::Floor
            | ScaleRule::Even
            | ScaleRule::Ceil => {
                block_scale(quantization, largest_magnitude(&values), tensor_scale)
            }
        };
        storage.put_scale(&block, code);
        for ((row, column), value) in block.places().zip(values) {
            let index = (row * scaled_type.padded_columns() + column) as u64;
            storage.put_code(row, column, encode(element, index, value * factor));
        }
    }
}

/// The bytes of a scaled tensor while it is made.
struct Storage<'a> {
    scaled_type: &'a ScaledType,
    bytes: Vec<u8>,
}

impl<'a> Storage<'a> {
    /// Codes, scales and padding of zeros.
    fn new(scaled_type: &'a ScaledType) -> Self {
        let bytes = vec![0; scaled_type.byte_size()];
        Self { scaled_type, bytes }
    }

    fn put_code(&mut self, row: usize, column: usize, code: u8) {
        let start = row * self.scaled_type.row_bytes();
        match self.scaled_type.format().element().elements_per_byte() {
            1 => self.bytes[start + column] = code,
            _ => self.bytes[start + column / 2] |= code << (4 * (column % 2)),
        }
    }

    /// Writes a block's scale to each of its rows, where the format has block scales.
    fn put_scale(&mut self, block: &Block, code: u8) {
        if let Some((length, _)) = self.scaled_type.format().block() {
            for row in block.rows.clone() {
                let place = self
                    .scaled_type
                    .scale_position(row, block.columns.start / length);
                self.bytes[self.scaled_type.scales_offset() + place] = code;
            }
        }
    }

    /// Writes the tensor scale, where the format has one.
    fn put_tensor_scale(&mut self, scale: f32) {
        if self.scaled_type.format().has_tensor_scale() {
            let start = self.scaled_type.tensor_scale_offset();
            self.bytes[start..start + size_of::<f32>()].copy_from_slice(&scale.to_le_bytes());
        }
    }
}
