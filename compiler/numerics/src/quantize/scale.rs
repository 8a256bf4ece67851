//! How scales are made from largest magnitudes, one rule after the other. All arithmetic is f32, each operation rounded, in
//! the order written: other orders give other bits.

use crate::codec::{E8M0_NAN, encode_e8m0, encode_e8m0_up};
use crate::{ElementFormat, Format, Quantization, Rounding, ScaleFormat, ScaleRule};

/// E2M1's largest number.
const ELEMENT_LARGEST: f32 = 6.0;
/// E4M3's largest number.
const SCALE_LARGEST: f32 = 448.0;
/// What `four_over_six` uses of the scales' range: leaves room for a scale times 1.5.
const FOUR_OVER_SIX_SCALE_LARGEST: f32 = 256.0;
/// What MS-EDEN uses of the scales' range: leaves room for the correction.
const MS_EDEN_SCALE_LARGEST: f32 = 255.99;
/// What a block's largest magnitude maps to with MS-EDEN, above 6: Quartet II shrinks the scale by 17/16 · 0.93, for a
/// smaller error than without saturation.
pub(crate) const MS_EDEN_ELEMENT_LARGEST: f32 = ELEMENT_LARGEST / (17.0 / 16.0 * 0.93);
/// torchao's least block scale, E4M3's least normal number.
pub(crate) const TORCHAO_SCALE_LEAST: f32 = 0.015625;

/// The scale of a whole tensor: 1 for formats that have none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct TensorScale {
    /// The largest magnitude it was made from.
    pub amax: f32,
    /// What numbers are multiplied by on their way into the range of codes and block scales.
    pub encode: f32,
    /// What they are multiplied by on their way back; what is stored.
    pub decode: f32,
}

impl TensorScale {
    /// The tensor scale that a quantisation makes from the tensor's largest magnitude.
    pub fn new(quantization: &Quantization, amax: f32) -> Self {
        let format = quantization.scaled_type().format();
        match format {
            Format::Nvfp4 if amax.is_nan() => Self::both(amax, f32::NAN, f32::NAN),
            Format::Nvfp4 => match (quantization.rounding(), quantization.rule()) {
                (Rounding::MsEden, _) => {
                    Self::of_decode(amax, amax / MS_EDEN_SCALE_LARGEST / MS_EDEN_ELEMENT_LARGEST)
                }
                (_, ScaleRule::Torchao) => {
                    Self::of_decode(amax, amax / (SCALE_LARGEST * ELEMENT_LARGEST))
                }
                (_, ScaleRule::FourOverSix) => {
                    Self::transformer_engine(amax, FOUR_OVER_SIX_SCALE_LARGEST * ELEMENT_LARGEST)
                }
                (_, _) => Self::transformer_engine(amax, SCALE_LARGEST * ELEMENT_LARGEST),
            },
            Format::Fp8E4m3 | Format::Fp8E5m2 => Self::fp8(amax, format.element().largest()),
            Format::Mxfp4
            | Format::Mxfp6E2m3
            | Format::Mxfp6E3m2
            | Format::Mxfp8E4m3
            | Format::Mxfp8E5m2 => Self::both(amax, 1.0, 1.0),
        }
    }

    fn both(amax: f32, encode: f32, decode: f32) -> Self {
        Self {
            amax,
            encode,
            decode,
        }
    }

    /// TransformerEngine's for NVFP4 (`compute_global_encode_scaling_factor_FP4`): `largest / amax`, at most f32's largest
    /// number; 1 for a largest magnitude of 0 or ∞.
    fn transformer_engine(amax: f32, largest: f32) -> Self {
        let encode = (largest / amax).min(f32::MAX);
        let encode = if amax == 0.0 || encode == 0.0 {
            1.0
        } else {
            encode
        };
        Self::both(amax, encode, 1.0 / encode)
    }

    /// The rules that make the decoding factor first; 1 for a tensor of zeros, which torchao leaves undefined.
    fn of_decode(amax: f32, decode: f32) -> Self {
        let decode = if decode == 0.0 { 1.0 } else { decode };
        Self::both(amax, 1.0 / decode, decode)
    }

    /// TransformerEngine's for FP8 with current scaling: `largest / amax`, at most f32's largest number; 1 for a largest
    /// magnitude of 0, ∞ or NaN.
    fn fp8(amax: f32, largest: f32) -> Self {
        let encode = if amax == 0.0 || !amax.is_finite() {
            1.0
        } else {
            (largest / amax).min(f32::MAX)
        };
        Self::both(amax, encode, 1.0 / encode)
    }
}

/// The scale of a block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct BlockScale {
    /// Its code; 0 where the format has no block scales.
    pub code: u8,
    /// What the block's numbers are multiplied by before they are encoded.
    pub factor: f32,
}

/// The scale of a block by every rule that looks at the largest magnitude alone.
pub(crate) fn block_scale(
    quantization: &Quantization,
    block_amax: f32,
    tensor: TensorScale,
) -> BlockScale {
    let format = quantization.scaled_type().format();
    let element = format.element();
    match format.block() {
        None => BlockScale {
            code: 0,
            factor: tensor.encode,
        },
        Some((_, ScaleFormat::E4m3)) => match quantization.rule() {
            ScaleRule::Torchao => torchao(block_amax, tensor),
            _ => transformer_engine(block_amax, tensor),
        },
        Some((_, ScaleFormat::E8m0)) => {
            let code = match quantization.rule() {
                _ if block_amax.is_nan() => E8M0_NAN,
                ScaleRule::Floor => floor(block_amax, element),
                ScaleRule::Even => even(block_amax, element),
                ScaleRule::Ceil => ceil(block_amax, element),
                _ => encode_e8m0_up(block_amax / element.largest()),
            };
            // Exact: a power of two. A block that is NaN has the factor of the largest scale, with which zeros stay zeros.
            let factor = 1.0 / ScaleFormat::E8m0.decode(code.min(E8M0_NAN - 1));
            BlockScale { code, factor }
        }
    }
}

/// TransformerEngine's (`compute_decoding_scaling_factor`, `compute_scaling_coefficient`). A block of zeros has the scale 0
/// and f32's largest number as its factor, which keeps the zeros.
fn transformer_engine(block_amax: f32, tensor: TensorScale) -> BlockScale {
    let code = ElementFormat::E4m3.encode(block_amax * (tensor.encode * (1.0 / ELEMENT_LARGEST)));
    BlockScale {
        code,
        factor: transformer_engine_factor(code, tensor),
    }
}

/// The reciprocal of block scale times tensor scale, at most f32's largest number, which also stands in for NaN.
pub(super) fn transformer_engine_factor(code: u8, tensor: TensorScale) -> f32 {
    (1.0 / (ScaleFormat::E4m3.decode(code) * (1.0 / tensor.encode))).min(f32::MAX)
}

/// torchao's (`nvfp4_quantize`). Where its reciprocals overflow, f32's largest number keeps zeros zero.
fn torchao(block_amax: f32, tensor: TensorScale) -> BlockScale {
    let wanted = block_amax / ELEMENT_LARGEST / tensor.decode;
    // `clamp` lets NaN through.
    let code = ElementFormat::E4m3.encode(wanted.clamp(TORCHAO_SCALE_LEAST, SCALE_LARGEST));
    let factor = (tensor.encode / ScaleFormat::E4m3.decode(code)).min(f32::MAX);
    BlockScale { code, factor }
}

/// The exponent of the largest power of two not above a magnitude; −127 for all below f32's normal numbers, where every
/// rule has reached the least scale.
fn exponent(magnitude: f32) -> i32 {
    (magnitude.to_bits() >> 23) as i32 - 127
}

/// OCP Microscaling Formats 1.0, section 6.3.
fn floor(block_amax: f32, element: ElementFormat) -> u8 {
    encode_e8m0(exponent(block_amax) - element.largest_exponent())
}

/// `floor` of the magnitude rounded to the elements' mantissa. Half a unit of that mantissa carries into the exponent
/// from the largest mantissa alone, where ties to even round up too.
fn even(block_amax: f32, element: ElementFormat) -> u8 {
    let half_unit = 1 << (22 - element.mantissa_bits());
    let rounded = f32::from_bits(block_amax.to_bits() + half_unit);
    encode_e8m0(exponent(rounded) - element.largest_exponent())
}

/// One above `floor` where the magnitude is no power of two.
fn ceil(block_amax: f32, element: ElementFormat) -> u8 {
    let is_above = i32::from(block_amax.to_bits() & 0x7f_ffff != 0);
    encode_e8m0(exponent(block_amax) + is_above - element.largest_exponent())
}
