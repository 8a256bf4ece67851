//! MS-EDEN: unbiased quantisation by correcting block scales instead of rounding elements at random.
//!
//! "Quartet II: Accurate LLM Pre-Training in NVFP4 by Improved Unbiased Gradient Estimation", arXiv 2601.22813. The input
//! has been rotated by a random Hadamard transform over groups of 128 along the axis. Elements round to nearest, ties to
//! even, with scales a little too small for the largest of them. Per group, `Σ x² / Σ x · q` of the numbers x and their
//! codes q, both in units of their block's scale, is what undoes the shrinking that rounding did on average over rotations;
//! it multiplies the group's block scales, and these are rounded to E4M3 at random.

use super::Storage;
use super::scale::{MS_EDEN_ELEMENT_LARGEST, TensorScale};
use crate::codec::encode_e4m3_scale_stochastic;
use crate::{ElementFormat, RandomStream, ScaleFormat, largest_magnitude};

/// The elements that were rotated together and share a correction.
pub(crate) const GROUP: usize = 128;
/// The elements that share a block scale.
const BLOCK: usize = 16;

/// Quantises all rows, group by group; the last group and block of a row may be shorter.
pub(super) fn quantize(
    stored: &[f32],
    tensor: TensorScale,
    stream: RandomStream,
    storage: &mut Storage,
) {
    let scaled_type = storage.scaled_type;
    let padded_columns = scaled_type.padded_columns();
    for row in 0..scaled_type.rows() {
        let values = &stored[row * scaled_type.columns()..][..scaled_type.columns()];
        for (number, group) in values.chunks(GROUP).enumerate() {
            let start = number * GROUP;
            let blocks: Vec<Block> = group
                .chunks(BLOCK)
                .map(|block| Block::new(block, tensor))
                .collect();
            let correction = correction(&blocks);
            for (index, block) in blocks.iter().enumerate() {
                let column = start + index * BLOCK;
                let [random, ..] = stream.words(((row * padded_columns + column) / BLOCK) as u64);
                let code = encode_e4m3_scale_stochastic(block.scale * correction, random);
                let place = super::Block {
                    rows: row..row + 1,
                    columns: column..column + block.codes.len(),
                };
                storage.put_scale(&place, code);
                for (offset, &code) in block.codes.iter().enumerate() {
                    storage.put_code(row, column + offset, code);
                }
            }
        }
    }
}

/// A block before its scale is corrected.
struct Block {
    /// Its scale, an E4M3 number; 1 where that would be 0, and NaN where an element is.
    scale: f32,
    /// Its elements in units of the scale.
    scaled: Vec<f32>,
    codes: Vec<u8>,
}

impl Block {
    fn new(values: &[f32], tensor: TensorScale) -> Self {
        let wanted = largest_magnitude(values) / MS_EDEN_ELEMENT_LARGEST / tensor.decode;
        let nearest = ScaleFormat::E4m3.decode(ElementFormat::E4m3.encode(wanted));
        let scale = if nearest == 0.0 { 1.0 } else { nearest };
        let factor = (1.0 / (scale * tensor.decode)).min(f32::MAX);
        let scaled: Vec<f32> = values.iter().map(|value| value * factor).collect();
        let codes = scaled
            .iter()
            .map(|&value| ElementFormat::E2m1.encode(value))
            .collect();
        Self {
            scale,
            scaled,
            codes,
        }
    }
}

/// `Σ x² / Σ x · q` over a group, the sums one element after the other; 1 where that is no finite number.
fn correction(blocks: &[Block]) -> f32 {
    let (mut squares, mut products) = (0.0, 0.0);
    for block in blocks {
        for (&value, &code) in block.scaled.iter().zip(&block.codes) {
            squares += value * value;
            products += value * ElementFormat::E2m1.decode(code);
        }
    }
    let correction: f32 = squares / products;
    if correction.is_finite() {
        correction
    } else {
        1.0
    }
}
