//! Scales of blocks and tensors, from their largest magnitudes: `tessera-numerics`' rules, in its order of operations.

use super::low_precision::{self, Encoding};
use super::{Builder, IntegerPredicate, Value};
use tessera_numerics::{ElementFormat, Format, Quantization, Rounding, ScaleFormat, ScaleRule};

/// The scale of a whole tensor.
#[derive(Clone, Copy)]
pub struct TensorScale<'c> {
    amax: Value<'c>,
    /// What numbers are multiplied by on their way into the range of codes and block scales.
    pub encode: Value<'c>,
    /// What is stored.
    pub decode: Value<'c>,
}

/// The scale of a block.
#[derive(Clone, Copy)]
pub struct BlockScale<'c> {
    /// Its code, an `i32`.
    pub code: Value<'c>,
    /// What the block's numbers are multiplied by before they are encoded.
    pub factor: Value<'c>,
}

const ELEMENT_LARGEST: f32 = ElementFormat::E2m1.largest();
const SCALE_LARGEST: f32 = ElementFormat::E4m3.largest();
const FOUR_OVER_SIX_SCALE_LARGEST: f32 = 256.0;
const TORCHAO_SCALE_LEAST: f32 = 0.015625;
/// MS-EDEN leaves room for the correction of scales, and for elements that are a little too large.
const MS_EDEN_SCALE_LARGEST: f32 = 255.99;
const MS_EDEN_ELEMENT_LARGEST: f32 = ELEMENT_LARGEST / (17.0 / 16.0 * 0.93);

/// `f32` arithmetic on values and constants.
struct Floats<'b, 'c>(&'b Builder<'c>);

impl<'c> Floats<'_, 'c> {
    fn c(&self, value: f32) -> Value<'c> {
        self.0.constant_float(self.0.f32(), value.into())
    }

    fn div(&self, x: Value<'c>, y: Value<'c>) -> Value<'c> {
        self.0.binary("arith.divf", x, y)
    }

    fn mul(&self, x: Value<'c>, y: Value<'c>) -> Value<'c> {
        self.0.binary("arith.mulf", x, y)
    }

    /// At most f32's largest number, which also stands in for NaN.
    fn finite(&self, x: Value<'c>) -> Value<'c> {
        self.0.binary("arith.minnumf", x, self.c(f32::MAX))
    }

    fn is_zero(&self, x: Value<'c>) -> Value<'c> {
        self.0
            .compare_floats(super::FloatPredicate::Oeq, x, self.c(0.0))
    }
}

impl<'c> TensorScale<'c> {
    /// Of a tensor with that largest magnitude; formats without a tensor scale have 1.
    pub fn new(b: &Builder<'c>, quantization: &Quantization, amax: Value<'c>) -> Self {
        let f = Floats(b);
        let one = f.c(1.0);
        let both = |encode, decode| Self {
            amax,
            encode,
            decode,
        };
        let format = quantization.scaled_type().format();
        match (format, quantization.rule()) {
            (Format::Nvfp4, rule) => {
                let of_decode = |decode| {
                    let decode = b.select(f.is_zero(decode), one, decode);
                    both(f.div(one, decode), decode)
                };
                let scale = match (quantization.rounding(), rule) {
                    (Rounding::MsEden, _) => {
                        let decode = f.div(amax, f.c(MS_EDEN_SCALE_LARGEST));
                        of_decode(f.div(decode, f.c(MS_EDEN_ELEMENT_LARGEST)))
                    }
                    (_, ScaleRule::Torchao) => {
                        of_decode(f.div(amax, f.c(SCALE_LARGEST * ELEMENT_LARGEST)))
                    }
                    (_, ScaleRule::FourOverSix) => Self::transformer_engine(
                        b,
                        amax,
                        FOUR_OVER_SIX_SCALE_LARGEST * ELEMENT_LARGEST,
                    ),
                    _ => Self::transformer_engine(b, amax, SCALE_LARGEST * ELEMENT_LARGEST),
                };
                let nan = f.c(f32::NAN);
                let is_nan = low_precision::is_nan(b, amax);
                let [encode, decode] =
                    [scale.encode, scale.decode].map(|x| b.select(is_nan, nan, x));
                both(encode, decode)
            }
            (Format::Fp8E4m3 | Format::Fp8E5m2, _) => {
                let encode = f.finite(f.div(f.c(format.element().largest()), amax));
                let infinity = f.c(f32::INFINITY);
                let finite = b.compare_floats(super::FloatPredicate::Olt, amax, infinity);
                let encode = b.select(finite, encode, one);
                let encode = b.select(f.is_zero(amax), one, encode);
                both(encode, f.div(one, encode))
            }
            (
                Format::Mxfp4
                | Format::Mxfp6E2m3
                | Format::Mxfp6E3m2
                | Format::Mxfp8E4m3
                | Format::Mxfp8E5m2,
                _,
            ) => both(one, one),
        }
    }

    fn transformer_engine(b: &Builder<'c>, amax: Value<'c>, largest: f32) -> Self {
        let f = Floats(b);
        let one = f.c(1.0);
        let encode = f.finite(f.div(f.c(largest), amax));
        let encode = b.select(f.is_zero(encode), one, encode);
        let encode = b.select(f.is_zero(amax), one, encode);
        Self {
            amax,
            encode,
            decode: f.div(one, encode),
        }
    }
}

/// The scale of a block of these numbers, whose largest magnitude is `amax`.
pub fn block_scale<'c>(
    b: &Builder<'c>,
    quantization: &Quantization,
    (amax, values): (Value<'c>, &[Value<'c>]),
    tensor: TensorScale<'c>,
) -> BlockScale<'c> {
    let format = quantization.scaled_type().format();
    match (format.block(), quantization.rule()) {
        (None, _) => BlockScale {
            code: b.constant_integer(b.integer(32), 0),
            factor: tensor.encode,
        },
        (Some((_, ScaleFormat::E4m3)), ScaleRule::Torchao) => torchao(b, amax, tensor),
        (Some((_, ScaleFormat::E4m3)), ScaleRule::FourOverSix) => {
            four_over_six(b, amax, values, tensor)
        }
        (Some((_, ScaleFormat::E4m3)), _) => {
            let f = Floats(b);
            let unit = f.mul(tensor.encode, f.c(1.0 / ELEMENT_LARGEST));
            transformer_engine(b, f.mul(amax, unit), tensor)
        }
        (Some((_, ScaleFormat::E8m0)), rule) => power_of_two(b, format.element(), rule, amax),
    }
}

/// The E4M3 code of what the scale should be, and the reciprocal of block scale times tensor scale.
fn transformer_engine<'c>(
    b: &Builder<'c>,
    wanted: Value<'c>,
    tensor: TensorScale<'c>,
) -> BlockScale<'c> {
    let f = Floats(b);
    let code = low_precision::encode(b, ElementFormat::E4m3, wanted, Encoding::Nearest);
    let decoded = low_precision::decode_scale(b, ScaleFormat::E4m3, code);
    let product = f.mul(decoded, f.div(f.c(1.0), tensor.encode));
    BlockScale {
        code,
        factor: f.finite(f.div(f.c(1.0), product)),
    }
}

/// By MS-EDEN: the scale of a block before it is corrected, and what the block's numbers are multiplied by.
pub fn ms_eden_block_scale<'c>(
    b: &Builder<'c>,
    amax: Value<'c>,
    tensor: TensorScale<'c>,
) -> (Value<'c>, Value<'c>) {
    let f = Floats(b);
    let one = f.c(1.0);
    let wanted = f.div(f.div(amax, f.c(MS_EDEN_ELEMENT_LARGEST)), tensor.decode);
    let code = low_precision::encode(b, ElementFormat::E4m3, wanted, Encoding::Nearest);
    let nearest = low_precision::decode_scale(b, ScaleFormat::E4m3, code);
    let scale = b.select(f.is_zero(nearest), one, nearest);
    (scale, f.finite(f.div(one, f.mul(scale, tensor.decode))))
}

fn torchao<'c>(b: &Builder<'c>, amax: Value<'c>, tensor: TensorScale<'c>) -> BlockScale<'c> {
    let f = Floats(b);
    let wanted = f.div(f.div(amax, f.c(ELEMENT_LARGEST)), tensor.decode);
    // These two let NaN through.
    let wanted = b.binary("arith.maximumf", wanted, f.c(TORCHAO_SCALE_LEAST));
    let wanted = b.binary("arith.minimumf", wanted, f.c(SCALE_LARGEST));
    let code = low_precision::encode(b, ElementFormat::E4m3, wanted, Encoding::Nearest);
    let decoded = low_precision::decode_scale(b, ScaleFormat::E4m3, code);
    BlockScale {
        code,
        factor: f.finite(f.div(tensor.encode, decoded)),
    }
}

fn four_over_six<'c>(
    b: &Builder<'c>,
    amax: Value<'c>,
    values: &[Value<'c>],
    tensor: TensorScale<'c>,
) -> BlockScale<'c> {
    let f = Floats(b);
    let candidates = FourOverSix::new(b, amax, tensor);
    let errors = candidates.each(|candidate| {
        let errors = values.iter().map(|&value| candidate.error(b, value));
        errors.fold(f.c(0.0), |sum, error| b.binary("arith.addf", sum, error))
    });
    candidates.better(b, errors)
}

/// The two scales that the rule `four_over_six` chooses from.
pub struct FourOverSix<'c>([Candidate<'c>; 2]);

/// One of them.
pub struct Candidate<'c> {
    scale: BlockScale<'c>,
    /// The number of the scale's code.
    decoded: Value<'c>,
    amax: Value<'c>,
}

impl<'c> FourOverSix<'c> {
    /// Of a block with that largest magnitude.
    pub fn new(b: &Builder<'c>, amax: Value<'c>, tensor: TensorScale<'c>) -> Self {
        let f = Floats(b);
        let six = f.mul(f.div(amax, f.c(ELEMENT_LARGEST)), tensor.encode);
        Self([six, f.mul(six, f.c(1.5))].map(|wanted| {
            let scale = transformer_engine(b, wanted, tensor);
            Candidate {
                decoded: low_precision::decode_scale(b, ScaleFormat::E4m3, scale.code),
                scale,
                amax: tensor.amax,
            }
        }))
    }

    /// Something of each.
    pub fn each<T>(&self, of: impl FnMut(&Candidate<'c>) -> T) -> [T; 2] {
        self.0.each_ref().map(of)
    }

    /// The one whose error is less; the first where they are equal.
    pub fn better(&self, b: &Builder<'c>, [six, four]: [Value<'c>; 2]) -> BlockScale<'c> {
        let is_four = b.compare_floats(super::FloatPredicate::Olt, four, six);
        let [six, four] = [self.0[0].scale, self.0[1].scale];
        BlockScale {
            code: b.select(is_four, four.code, six.code),
            factor: b.select(is_four, four.factor, six.factor),
        }
    }
}

impl<'c> Candidate<'c> {
    /// The absolute error of a number of the block.
    pub fn error(&self, b: &Builder<'c>, value: Value<'c>) -> Value<'c> {
        const RANGE: f32 = FOUR_OVER_SIX_SCALE_LARGEST * ELEMENT_LARGEST;
        let f = Floats(b);
        let scaled = f.mul(value, self.scale.factor);
        let code = low_precision::encode(b, ElementFormat::E2m1, scaled, Encoding::Nearest);
        let element = low_precision::decode(b, ElementFormat::E2m1, code);
        let read = f.mul(f.mul(element, self.decoded), self.amax);
        let difference = b.binary("arith.subf", f.div(read, f.c(RANGE)), value);
        b.unary("math.absf", difference)
    }
}

fn power_of_two<'c>(
    b: &Builder<'c>,
    element: ElementFormat,
    rule: ScaleRule,
    amax: Value<'c>,
) -> BlockScale<'c> {
    let f = Floats(b);
    let word = b.integer(32);
    let c = |value: i64| b.constant_integer(word, value);
    let of = |exponent: Value<'c>| {
        let exponent = b.binary("arith.subi", exponent, c(element.largest_exponent().into()));
        low_precision::encode_e8m0(b, exponent)
    };
    let bits = b.bitcast(amax, word);
    let code = match rule {
        ScaleRule::Floor => of(low_precision::exponent(b, amax)),
        ScaleRule::Even => {
            let half_unit = c(1 << (22 - element.mantissa_bits()));
            let rounded = b.bitcast(b.binary("arith.addi", bits, half_unit), b.f32());
            of(low_precision::exponent(b, rounded))
        }
        ScaleRule::Ceil => {
            let mantissa = b.binary("arith.andi", bits, c(0x7f_ffff));
            let above = b.compare_integers(IntegerPredicate::Ne, mantissa, c(0));
            let above = b.cast("arith.extui", above, word);
            of(b.binary("arith.addi", low_precision::exponent(b, amax), above))
        }
        _ => low_precision::encode_e8m0_up(b, f.div(amax, f.c(element.largest()))),
    };
    let code = b.select(low_precision::is_nan(b, amax), c(0xff), code);
    // A block that is NaN has the factor of the largest scale, with which zeros stay zeros.
    let finite = b.binary("arith.minui", code, c(0xfe));
    let scale = low_precision::decode_scale(b, ScaleFormat::E8m0, finite);
    BlockScale {
        code,
        factor: f.div(f.c(1.0), scale),
    }
}
