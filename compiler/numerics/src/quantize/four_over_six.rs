//! Four over six: each block's largest magnitude maps to 6 or to 4, whichever loses less.
//!
//! J. Cook et al., "Four Over Six: more accurate NVFP4 quantization with adaptive block scaling", arXiv 2512.02010, in
//! TransformerEngine's order of operations (`quantize_4over6_nvfp4.cuh`): E2M1's coarse step from 4 to 6 hurts numbers near
//! the largest; with the largest at 4 the codes above it go unused, and the grid below is finer.

use super::scale::{BlockScale, TensorScale, transformer_engine_factor};
use crate::{BlockShape, ElementFormat, ScaleFormat, largest_magnitude};

/// What the tensor's largest magnitude maps to: the elements' largest number times what is used of the scales' range.
pub(crate) const RANGE: f32 = 6.0 * 256.0;

/// The better of two scales: the sum of absolute errors decides, and 6 where they are equal. The values are row by row, each
/// of `columns` numbers.
///
/// The errors are those of elements rounded to nearest, also where the rounding is random: a choice by the outcome of
/// random rounding would favour some outcomes.
pub(super) fn block_scale(
    values: &[f32],
    columns: usize,
    shape: BlockShape,
    tensor: TensorScale,
) -> BlockScale {
    let base = largest_magnitude(values) / 6.0 * tensor.encode;
    let [six, four] = [base, base * 1.5].map(|wanted| {
        let code = ElementFormat::E4m3.encode(wanted);
        let factor = transformer_engine_factor(code, tensor);
        BlockScale { code, factor }
    });
    let [lost_by_six, lost_by_four] = [six, four].map(|scale| {
        let errors = errors(values, scale, tensor);
        match shape {
            BlockShape::Vector => sum(errors.into_iter()),
            BlockShape::Square => twice_the_sum(&errors, columns),
        }
    });
    if lost_by_four < lost_by_six {
        four
    } else {
        six
    }
}

/// The absolute errors of a block's elements.
fn errors(values: &[f32], scale: BlockScale, tensor: TensorScale) -> Vec<f32> {
    let decoded_scale = ScaleFormat::E4m3.decode(scale.code);
    let errors = values.iter().map(|value| {
        let element = ElementFormat::E2m1.decode(ElementFormat::E2m1.encode(value * scale.factor));
        (element * decoded_scale * tensor.amax / RANGE - value).abs()
    });
    errors.collect()
}

/// The sum of the rows' sums and the columns', so that a matrix and its transpose have the same.
fn twice_the_sum(errors: &[f32], columns: usize) -> f32 {
    let of_row = |row: &[f32]| sum(row.iter().copied());
    let of_column = |column| sum(errors.iter().skip(column).step_by(columns).copied());
    sum(errors.chunks(columns).map(of_row)) + sum((0..columns).map(of_column))
}

/// One added after the other.
fn sum(numbers: impl Iterator<Item = f32>) -> f32 {
    numbers.fold(0.0, |sum, number| sum + number)
}
