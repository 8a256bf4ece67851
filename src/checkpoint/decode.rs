//! Scaled tensors back to f32, row by row on all threads, with the bits of [`tessera_numerics::dequantize`]; and what
//! quantising cost.

use rayon::prelude::*;
use tessera_numerics::{ScaledTensor, ScaledType};

/// The numbers of a scaled tensor, in the row-major order of its shape.
pub fn decode(tensor: &ScaledTensor) -> Vec<f32> {
    let scaled_type = tensor.scaled_type();
    let (rows, columns) = (scaled_type.rows(), scaled_type.columns());
    let decoder = Decoder::new(tensor);
    let mut stored = vec![0.0; rows * columns];
    let targets = stored.par_chunks_mut(columns.max(1)).enumerate();
    targets.for_each(|(row, target)| decoder.row(row, target));
    let after: usize = scaled_type.shape()[scaled_type.axis() + 1..]
        .iter()
        .product();
    if after <= 1 {
        return stored;
    }
    // Stretches of the dimensions after the axis: place (before, column, 0) and on.
    let mut values = vec![0.0; rows * columns];
    let stretches = values.par_chunks_mut(after).enumerate();
    stretches.for_each(|(stretch, target)| {
        let (before, column) = (stretch / columns, stretch % columns);
        for (place, value) in target.iter_mut().enumerate() {
            *value = stored[(before * after + place) * columns + column];
        }
    });
    values
}

/// What quantising cost a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loss {
    /// ‖M − M̂‖ / ‖M‖, in the Frobenius norm; 0 for a tensor of zeros.
    pub relative: f64,
    /// The largest |mᵢ − m̂ᵢ|.
    pub largest: f64,
    /// The share of the elements that read as 0 afterwards.
    pub zeros: f64,
}

/// Rows whose sums one thread makes; the same for every number of threads, so that the sums are.
const ROWS: usize = 64;

#[derive(Clone, Copy, Default)]
struct Sums {
    squares: f64,
    errors: f64,
    largest: f64,
    zeros: usize,
}

impl Loss {
    /// The loss of a tensor of these numbers, in the row-major order of the shape.
    pub fn of(tensor: &ScaledTensor, values: &[f32]) -> Self {
        let scaled_type = tensor.scaled_type();
        let (rows, columns) = (scaled_type.rows(), scaled_type.columns());
        let decoder = Decoder::new(tensor);
        let parts: Vec<Sums> = (0..rows.div_ceil(ROWS))
            .into_par_iter()
            .map(|part| {
                let mut decoded = vec![0.0; columns];
                let mut sums = Sums::default();
                for row in part * ROWS..((part + 1) * ROWS).min(rows) {
                    decoder.row(row, &mut decoded);
                    sums.add_row(values, &decoded, scaled_type, row);
                }
                sums
            })
            .collect();
        let mut total = Sums::default();
        parts.iter().for_each(|sums| total.add(sums));
        Self {
            relative: relative(total.errors, total.squares),
            largest: total.largest,
            zeros: total.zeros as f64 / (rows * columns).max(1) as f64,
        }
    }
}

/// √(errors / squares), 0 where nothing is lost.
pub(crate) fn relative(errors: f64, squares: f64) -> f64 {
    if errors == 0.0 {
        0.0
    } else {
        (errors / squares).sqrt()
    }
}

impl Sums {
    fn add_row(&mut self, values: &[f32], decoded: &[f32], scaled_type: &ScaledType, row: usize) {
        let after: usize = scaled_type.shape()[scaled_type.axis() + 1..]
            .iter()
            .product();
        let first = scaled_type.logical_index(row, 0);
        let originals = values[first..].iter().step_by(after);
        for (&original, &decoded) in originals.zip(decoded) {
            let original = f64::from(original);
            let error = (original - f64::from(decoded)).abs();
            self.squares += original * original;
            self.errors += error * error;
            // A NaN is the largest of all and stays.
            if error > self.largest || error.is_nan() {
                self.largest = error;
            }
            self.zeros += usize::from(decoded == 0.0);
        }
    }

    fn add(&mut self, other: &Self) {
        self.squares += other.squares;
        self.errors += other.errors;
        if other.largest > self.largest || other.largest.is_nan() {
            self.largest = other.largest;
        }
        self.zeros += other.zeros;
    }
}

/// Tables of what codes and block scales stand for.
struct Decoder<'a> {
    tensor: &'a ScaledTensor,
    elements: [f32; 256],
    scales: [f32; 256],
    tensor_scale: f32,
}

impl<'a> Decoder<'a> {
    fn new(tensor: &'a ScaledTensor) -> Self {
        let format = tensor.scaled_type().format();
        let (mut elements, mut scales) = ([0.0; 256], [1.0; 256]);
        let codes = 0..1u16 << format.element().bits();
        for (code, element) in codes.zip(&mut elements) {
            *element = format.element().decode(code as u8);
        }
        if let Some((_, scale_format)) = format.block() {
            for (code, scale) in (0..=u8::MAX).zip(&mut scales) {
                *scale = scale_format.decode(code);
            }
        }
        Self {
            tensor,
            elements,
            scales,
            tensor_scale: tensor.tensor_scale(),
        }
    }

    /// The numbers of a row of storage, without its padding.
    fn row(&self, row: usize, target: &mut [f32]) {
        let scaled_type = self.tensor.scaled_type();
        let start = row * scaled_type.row_bytes();
        let codes = &self.tensor.codes()[start..start + scaled_type.row_bytes()];
        let per_byte = scaled_type.format().element().elements_per_byte();
        let length = scaled_type.format().block().map(|(length, _)| length);
        let length = length.unwrap_or(target.len()).max(1);
        for (block, stretch) in target.chunks_mut(length).enumerate() {
            let scale = match scaled_type.format().block() {
                Some(_) => {
                    let position = scaled_type.scale_position(row, block);
                    self.scales[usize::from(self.tensor.scales()[position])]
                }
                None => 1.0,
            };
            for (place, value) in stretch.iter_mut().enumerate() {
                let column = block * length + place;
                let code = match per_byte {
                    1 => codes[column],
                    _ => codes[column / 2] >> (4 * (column % 2)) & 0xf,
                };
                *value = self.elements[usize::from(code)] * scale * self.tensor_scale;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tessera_numerics::{
        BlockShape, Format, Quantization, Rounding, ScaleLayout, ScaleRule, dequantize, quantize,
    };

    fn wave(count: usize) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * 0.7).sin() * 3.0).collect()
    }

    #[test]
    fn the_bits_are_those_of_the_definition_for_every_format_and_axis() {
        for format in Format::ALL {
            for axis in 0..3 {
                let layout = match format.block() {
                    Some(_) => ScaleLayout::Tiled128x4,
                    None => ScaleLayout::Linear,
                };
                let own =
                    ScaledType::new([3, 35, 5], format, axis, BlockShape::Vector, layout).unwrap();
                let rule = ScaleRule::default_for(format);
                let own = Quantization::new(own, rule, Rounding::NearestEven).unwrap();
                let tensor = quantize(&wave(3 * 35 * 5), &own, None, None).unwrap();
                assert_eq!(
                    decode(&tensor),
                    dequantize(&tensor),
                    "{}",
                    tensor.scaled_type()
                );
            }
        }
    }

    #[test]
    fn the_loss_is_that_of_the_decoded_numbers() {
        let own = ScaledType::new(
            [100, 20],
            Format::Nvfp4,
            0,
            BlockShape::Vector,
            ScaleLayout::Linear,
        );
        let own = Quantization::new(own.unwrap(), ScaleRule::Te, Rounding::NearestEven).unwrap();
        let values = wave(2000);
        let tensor = quantize(&values, &own, None, None).unwrap();
        let loss = Loss::of(&tensor, &values);
        let decoded = dequantize(&tensor);
        let pairs = || values.iter().zip(&decoded);
        let errors: f64 = pairs().map(|(a, b)| f64::from(a - b).powi(2)).sum();
        let squares: f64 = values.iter().map(|a| f64::from(*a).powi(2)).sum();
        // The sums are of the same f64 in another order; a − b is exact in f32 to one rounding.
        assert!((loss.relative - (errors / squares).sqrt()).abs() < 1e-7);
        let largest = pairs().map(|(a, b)| f64::from(*a) - f64::from(*b));
        assert_eq!(loss.largest, largest.map(f64::abs).fold(0.0, f64::max));
        let zeros = decoded.iter().filter(|&&value| value == 0.0).count();
        assert_eq!(loss.zeros, zeros as f64 / 2000.0);
    }

    #[test]
    fn a_tensor_of_zeros_loses_nothing() {
        let own = ScaledType::new(
            [2, 16],
            Format::Mxfp4,
            1,
            BlockShape::Vector,
            ScaleLayout::Linear,
        );
        let own = Quantization::new(own.unwrap(), ScaleRule::Rceil, Rounding::NearestEven).unwrap();
        let tensor = quantize(&[0.0; 32], &own, None, None).unwrap();
        let expected = Loss {
            relative: 0.0,
            largest: 0.0,
            zeros: 1.0,
        };
        assert_eq!(Loss::of(&tensor, &[0.0; 32]), expected);
    }
}
