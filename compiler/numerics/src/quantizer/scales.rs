//! Block scales, sixteen at a time: their codes, and the factors for the blocks' numbers.

#[cfg(target_arch = "x86_64")]
use super::avx2::Avx2;
#[cfg(target_arch = "x86_64")]
use super::avx512::Avx512;
use super::elements::{E2m1, E4m3, EXPONENT, Element, float, round_nearest};
use super::vector::{Floats, LANES, MAGNITUDE, Portable, Vector, Words};
use crate::quantize::{FOUR_OVER_SIX_RANGE, TORCHAO_SCALE_LEAST, TensorScale};
use crate::simd::for_each_level;
use crate::{BlockShape, Quantization, ScaleFormat, ScaleRule};

/// f32's exponent field and mantissa.
const MANTISSA_BITS: u32 = 23;
/// 2^−126, f32's least normal number.
const LEAST_NORMAL: u32 = 1 << MANTISSA_BITS;

/// What makes the block scales of one execution.
#[derive(Clone, Copy)]
pub(super) enum ScaleMaker {
    /// One factor for all: the format has no block scales.
    Tensor { factor: f32 },
    /// nvfp4's by the rule `te`.
    TransformerEngine {
        /// The tensor's encoding factor times 1/6.
        encode: f32,
        /// The reciprocal of the tensor's encoding factor.
        decode: f32,
    },
    /// nvfp4's by the rule `torchao`.
    Torchao { encode: f32, decode: f32 },
    /// nvfp4's by the rule `four_over_six`, of vector blocks.
    FourOverSix { amax: f32, encode: f32 },
    /// The same of square blocks, whose wanted scales take the place of largest magnitudes.
    FourOverSixOfSquares(TensorScale),
    /// The mx formats' by `rceil`; the elements' largest number.
    Rceil { largest: f32 },
    /// The mx formats' by `floor`, `even` and `ceil`: what is added to the magnitude's bits before its exponent is taken,
    /// and the exponent of the elements' largest number.
    Exponent { up: u32, largest: u32 },
}

impl ScaleMaker {
    /// What makes the scales of a quantisation whose tensor has that scale.
    pub fn new(quantization: &Quantization, tensor: TensorScale) -> Self {
        let format = quantization.scaled_type().format();
        let element = format.element();
        let exponent = |up| Self::Exponent {
            up,
            largest: element.largest_exponent() as u32,
        };
        match (format.block(), quantization.rule()) {
            (None, _) => Self::Tensor {
                factor: tensor.encode,
            },
            (Some((_, ScaleFormat::E4m3)), ScaleRule::Torchao) => Self::Torchao {
                encode: tensor.encode,
                decode: tensor.decode,
            },
            (Some((_, ScaleFormat::E4m3)), ScaleRule::FourOverSix) => {
                match quantization.scaled_type().blocks() {
                    BlockShape::Vector => Self::FourOverSix {
                        amax: tensor.amax,
                        encode: tensor.encode,
                    },
                    BlockShape::Square => Self::FourOverSixOfSquares(tensor),
                }
            }
            (Some((_, ScaleFormat::E4m3)), _) => Self::TransformerEngine {
                encode: tensor.encode * (1.0 / E2m1::LARGEST),
                decode: 1.0 / tensor.encode,
            },
            (Some((_, ScaleFormat::E8m0)), ScaleRule::Floor) => exponent(0),
            (Some((_, ScaleFormat::E8m0)), ScaleRule::Even) => {
                exponent(1 << (MANTISSA_BITS - 1 - element.mantissa_bits()))
            }
            (Some((_, ScaleFormat::E8m0)), ScaleRule::Ceil) => exponent(LEAST_NORMAL - 1),
            (Some((_, ScaleFormat::E8m0)), _) => Self::Rceil {
                largest: element.largest(),
            },
        }
    }

    /// The groups of sixteen elements of a block.
    #[inline(always)]
    pub fn block_groups(self) -> usize {
        match self {
            Self::Tensor { .. }
            | Self::TransformerEngine { .. }
            | Self::Torchao { .. }
            | Self::FourOverSix { .. }
            | Self::FourOverSixOfSquares(_) => 1,
            Self::Rceil { .. } | Self::Exponent { .. } => 2,
        }
    }

    /// Whether the scales depend on more than the largest magnitudes.
    #[inline(always)]
    fn needs_elements(self) -> bool {
        matches!(self, Self::FourOverSix { .. })
    }

    #[inline(always)]
    fn scales<V: Vector>(self, largest: V, elements: &[Floats; LANES]) -> (V, V) {
        match self {
            Self::Tensor { factor } => (V::splat(0), float(factor)),
            Self::TransformerEngine { encode, decode } => {
                transformer_engine(largest.mul(float(encode)), decode)
            }
            Self::Torchao { encode, decode } => {
                let wanted = largest.div(float(E2m1::LARGEST)).div(float(decode));
                let (codes, scales) = e4m3(wanted, wanted.max(float(TORCHAO_SCALE_LEAST)));
                let factors = float::<V>(encode).div(scales);
                (codes, factors.min(float(f32::MAX)))
            }
            Self::FourOverSix { amax, encode } => four_over_six(largest, amax, encode, elements),
            Self::FourOverSixOfSquares(tensor) => transformer_engine(largest, 1.0 / tensor.encode),
            Self::Rceil { largest: most } => {
                let quotients = largest.div(float(most));
                let magnitudes = quotients.and(V::splat(MAGNITUDE));
                // What is above a power of two reaches the next; of subnormal numbers the power is 2^−127.
                let up = magnitudes.if_less(
                    V::splat(LEAST_NORMAL),
                    V::splat(LEAST_NORMAL / 2 - 1),
                    V::splat(LEAST_NORMAL - 1),
                );
                e8m0(
                    magnitudes.add_words(up).shift_right(MANTISSA_BITS),
                    quotients,
                )
            }
            Self::Exponent { up, largest: most } => {
                let fields = largest.add_words(V::splat(up)).shift_right(MANTISSA_BITS);
                let codes = fields.max_words(V::splat(most)).sub_words(V::splat(most));
                e8m0(codes, largest)
            }
        }
    }
}

/// What block scales are made of, and then these.
#[repr(align(64))]
pub(super) struct BlockScales {
    /// The bits of the largest magnitudes of sixteen blocks.
    largest: Words,
    /// The blocks' first, second … numbers, where the scales need them.
    elements: [Floats; LANES],
    /// The scales' codes.
    codes: Words,
    /// The factors for the blocks' numbers.
    factors: Words,
}

impl BlockScales {
    pub fn new() -> Self {
        Self {
            largest: [0; LANES],
            elements: [[0.0; LANES]; LANES],
            codes: [0; LANES],
            factors: [0; LANES],
        }
    }
}

/// The codes of the scales of sixteen blocks whose largest magnitudes, or what takes their place, have these bits, and the factors for their numbers;
/// `put_elements` puts their first, second … numbers where they are needed.
///
/// What the default rules of E2M1's formats do is made where it is used, the rest in a function of its own.
#[inline(always)]
pub(super) fn scales_of<V: Vector, E: Element>(
    maker: ScaleMaker,
    largest: V,
    blocks: &mut BlockScales,
    put_elements: impl Fn(&mut [Floats; LANES]),
) -> (V, V) {
    if E::FORMAT.bits() == 4
        && let ScaleMaker::TransformerEngine { encode, decode } = maker
    {
        return transformer_engine(largest.mul(float(encode)), decode);
    }
    blocks.largest = largest.words();
    if maker.needs_elements() {
        put_elements(&mut blocks.elements);
    }
    block_scales(V::LEVEL, maker, blocks);
    (V::of_words(&blocks.codes), V::of_words(&blocks.factors))
}

for_each_level! {
    /// Makes the scales of sixteen blocks.
    fn block_scales(maker: ScaleMaker, blocks: &mut BlockScales) = {
        avx512: block_scales_with::<Avx512>,
        avx2: block_scales_with::<Avx2>,
        portable: block_scales_with::<Portable>,
    };
}

#[inline(always)]
fn block_scales_with<V: Vector>(maker: ScaleMaker, blocks: &mut BlockScales) {
    let (codes, factors) = maker.scales(V::of_words(&blocks.largest), &blocks.elements);
    (blocks.codes, blocks.factors) = (codes.words(), factors.words());
}

/// Codes of powers of two, 254 at most, and what undoes these; of NaN the code 255.
#[inline(always)]
fn e8m0<V: Vector>(codes: V, wanted: V) -> (V, V) {
    let codes = codes.if_less(V::splat(254), codes, V::splat(254));
    let codes = wanted.if_nan(V::splat(254), codes);
    // 2^(127 − code), subnormal for the largest.
    let powers = V::splat(254).sub_words(codes).shift_left(MANTISSA_BITS);
    let factors = powers.max_words(V::splat(LEAST_NORMAL / 2));
    (wanted.if_nan(V::splat(255), codes), factors)
}

/// The nearest E4M3 codes of non-negative numbers, and what they stand for; NaN where `wanted` is.
#[inline(always)]
pub(super) fn e4m3<V: Vector>(wanted: V, magnitudes: V) -> (V, V) {
    const LEAST_BINADE: u32 = (127 - 6) << MANTISSA_BITS;
    const CENTRE: f32 = 1.5 * (1 << 20) as f32;
    let bounded = magnitudes.min(float(448.0));
    let binades = bounded
        .and(V::splat(EXPONENT))
        .max_words(V::splat(LEAST_BINADE));
    let centres = binades.mul(float(CENTRE));
    let sums = bounded.add(centres);
    // Bits 23 and up: the exponent, which may be negative; the low bits: steps, 16 at most.
    let places = sums.sub_words(float(CENTRE));
    let codes = places
        .shift_right_signed(20)
        .add_words(V::splat(6 << 3))
        .add_words(places.and(V::splat(0x1f)));
    (
        wanted.if_nan(V::splat(0x7f), codes),
        wanted.if_nan(wanted, sums.sub(centres)),
    )
}

/// [`encode_e4m3_scale_stochastic`](crate::codec::encode_e4m3_scale_stochastic) of non-negative numbers.
#[inline(always)]
pub(super) fn e4m3_stochastic<V: Vector>(wanted: V, random: V) -> V {
    const LARGEST: u32 = E4m3::LARGEST.to_bits();
    let binades = wanted
        .min(float(E4m3::LARGEST))
        .and(V::splat(EXPONENT))
        .max_words(V::splat(E4m3::LEAST));
    // A power of two over the binade, so that the product is in steps, exactly.
    let inverses = V::splat((254 + E4m3::MANTISSA) << MANTISSA_BITS).sub_words(binades);
    let steps = wanted.min(float(E4m3::LARGEST)).mul(inverses);
    let whole = steps.truncate();
    let shift = MANTISSA_BITS - E4m3::MANTISSA;
    let below = binades
        .shift_right(shift)
        .sub_words(V::splat(E4m3::LEAST >> shift))
        .add_words(whole);
    let part = steps.sub(whole.to_float());
    let uniform = random
        .shift_right(8)
        .to_float()
        .mul(float(1.0 / (1 << 24) as f32));
    let codes = below.add_words(uniform.if_less(part, V::splat(1), V::splat(0)));
    // Non-negative numbers compare as their bits do.
    let codes = wanted.if_less(V::splat(LARGEST), codes, V::splat(0x7e));
    wanted.if_nan(V::splat(0x7f), codes)
}

/// The nearest codes of wanted scales, and the factors by TransformerEngine's rule.
#[inline(always)]
fn transformer_engine<V: Vector>(wanted: V, decode: f32) -> (V, V) {
    let (codes, scales) = e4m3(wanted, wanted);
    let factors = float::<V>(1.0).div(scales.mul(float(decode)));
    (codes, factors.min(float(f32::MAX)))
}

/// Of two scales the one that loses less.
#[inline(always)]
fn four_over_six<V: Vector>(
    largest: V,
    amax: f32,
    encode: f32,
    elements: &[Floats; LANES],
) -> (V, V) {
    let base = largest.div(float(E2m1::LARGEST)).mul(float(encode));
    let decode = 1.0 / encode;
    let [six, four] = [base, base.mul(float(1.5))].map(|wanted| Candidate::new(wanted, decode));
    let [lost_by_six, lost_by_four] = [&six, &four].map(|candidate| {
        elements.iter().fold(V::splat(0), |error, value| {
            error.add(candidate.error(V::load(value), amax))
        })
    });
    // Errors are not negative, so that they compare as their bits do, but for NaN: nothing is less than that.
    let choose = |four, six| {
        let better = lost_by_four.if_less(lost_by_six, four, six);
        lost_by_six.if_nan(six, better)
    };
    (choose(four.code, six.code), choose(four.factor, six.factor))
}

/// One of the scales to choose from by the rule `four_over_six`.
pub(super) struct Candidate<V> {
    code: V,
    scale: V,
    factor: V,
}

impl<V: Vector> Candidate<V> {
    #[inline(always)]
    pub fn new(wanted: V, decode: f32) -> Self {
        let (code, scale) = e4m3(wanted, wanted);
        let (_, factor) = transformer_engine(wanted, decode);
        Self {
            code,
            scale,
            factor,
        }
    }

    /// The absolute error of an element of each block.
    #[inline(always)]
    pub fn error(&self, value: V, amax: f32) -> V {
        let rounded = round_nearest::<V, E2m1>(value.mul(self.factor));
        let decoded = rounded.mul(self.scale).mul(float(amax));
        let lost = decoded.div(float(FOUR_OVER_SIX_RANGE)).sub(value);
        lost.and(V::splat(MAGNITUDE))
    }
}
