//! Four over six: each block's largest magnitude maps to 6 or to 4, whichever loses less.
//!
//! J. Cook et al., "Four Over Six: more accurate NVFP4 quantization with adaptive block scaling", arXiv 2512.02010, in
//! TransformerEngine's order of operations (`quantize_4over6_nvfp4.cuh`): E2M1's coarse step from 4 to 6 hurts numbers near
//! the largest; with the largest at 4 the codes above it go unused, and the grid below is finer.

use super::scale::{BlockScale, TensorScale, transformer_engine_factor};
use crate::{BlockShape, ElementFormat, ScaleFormat, largest_magnitude};

/// What the tensor's largest magnitude maps to: the elements' largest number times what is used of the scales' range.
pub(crate) const RANGE: f32 = 6.0 * 256.0;

/// The better of two scales: the sum of absolute errors decides, and 6 where they are equal.
///
/// The errors are those of elements rounded to nearest, also where the rounding is random: a choice by the outcome of
/// random rounding would favour some outcomes.
pub(super) fn block_scale(values: &[f32], shape: BlockShape, tensor: TensorScale) -> BlockScale {
    let base = largest_magnitude(values) / 6.0 * tensor.encode;
    let [six, four] = [base, base * 1.5].map(|wanted| {
        let code = ElementFormat::E4m3.encode(wanted);
        let factor = transformer_engine_factor(code, tensor);
        BlockScale { code, factor }
    });
    if error(values, shape, four, tensor) < error(values, shape, six, tensor) {
        four
    } else {
        six
    }
}

/// The sum of absolute errors of a block's elements. A vector block's are added one after the other; a square block's in
/// ascending order, so that a matrix and its transpose make the same choice.
fn error(values: &[f32], shape: BlockShape, scale: BlockScale, tensor: TensorScale) -> f32 {
    let decoded_scale = ScaleFormat::E4m3.decode(scale.code);
    let mut errors: Vec<f32> = values
        .iter()
        .map(|value| {
            let element =
                ElementFormat::E2m1.decode(ElementFormat::E2m1.encode(value * scale.factor));
            (element * decoded_scale * tensor.amax / RANGE - value).abs()
        })
        .collect();
    if shape == BlockShape::Square {
        errors.sort_by(f32::total_cmp);
    }
    errors.iter().fold(0.0, |sum, error| sum + error)
}
