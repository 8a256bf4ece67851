//! The codes of low-precision numbers: what each stands for and how an f32 becomes one.
//!
//! A code is sign, exponent, mantissa, from its highest bit down. With `m` mantissa bits and bias `b`, exponent field `e`
//! and mantissa field `f` it stands for `(1 + f / 2^m) · 2^(e − b)`, where `e` is 0 for `f / 2^m · 2^(1 − b)`.
//!
//! Every conversion from f32 saturates: beyond the largest number, ∞ included, lies the largest number. The sign of zero
//! stays. NaN becomes E4M3's and E5M2's positive quiet NaN, and where a format has none its largest positive number.
//! These are the rules of PTX's `cvt.rn.satfinite` (PTX ISA, "cvt"), but for E5M2's NaN: here it is 0x7E, the quiet one without
//! payload, as JAX's formats (ml_dtypes) have it, of `cvt` 0x7F.

use crate::{ElementFormat, ScaleFormat};

/// The fields of an element format.
struct Layout {
    mantissa_bits: u32,
    bias: i32,
    /// The code of the largest finite number.
    largest: u8,
    /// The code that NaN becomes.
    nan: u8,
}

impl ElementFormat {
    /// Every element format, in the order of its declaration.
    pub const ALL: [Self; 5] = [Self::E2m1, Self::E2m3, Self::E3m2, Self::E4m3, Self::E5m2];

    const fn layout(self) -> Layout {
        let (mantissa_bits, bias, largest, nan) = match self {
            Self::E2m1 => (1, 1, 0x7, 0x7),
            Self::E2m3 => (3, 1, 0x1f, 0x1f),
            Self::E3m2 => (2, 3, 0x1f, 0x1f),
            Self::E4m3 => (3, 7, 0x7e, 0x7f),
            Self::E5m2 => (2, 15, 0x7b, 0x7e),
        };
        Layout {
            mantissa_bits,
            bias,
            largest,
            nan,
        }
    }

    /// Bits of the mantissa field.
    pub const fn mantissa_bits(self) -> u32 {
        self.layout().mantissa_bits
    }

    /// The largest finite number.
    pub const fn largest(self) -> f32 {
        match self {
            Self::E2m1 => 6.0,
            Self::E2m3 => 7.5,
            Self::E3m2 => 28.0,
            Self::E4m3 => 448.0,
            Self::E5m2 => 57344.0,
        }
    }

    /// The least normal number: below it the distance between neighbours stays the same.
    pub const fn least_normal(self) -> f32 {
        let exponent = 1 - self.layout().bias;
        f32::from_bits(((127 + exponent) as u32) << 23)
    }

    /// The exponent of the largest finite number: the largest power of two is 2 to it.
    pub const fn largest_exponent(self) -> i32 {
        match self {
            Self::E2m1 | Self::E2m3 => 2,
            Self::E3m2 => 4,
            Self::E4m3 => 8,
            Self::E5m2 => 15,
        }
    }

    /// The bit of a code that is its sign.
    pub const fn sign_bit(self) -> u8 {
        1 << (self.bits() - 1)
    }

    /// The number that a code stands for. Bits above the code's are ignored.
    pub fn decode(self, code: u8) -> f32 {
        let layout = self.layout();
        let magnitude = code & (self.sign_bit() - 1);
        let sign = if code & self.sign_bit() != 0 {
            -1.0
        } else {
            1.0
        };
        if magnitude > layout.largest {
            return match self {
                Self::E5m2 if magnitude == 0x7c => sign * f32::INFINITY,
                Self::E2m1 | Self::E2m3 | Self::E3m2 | Self::E4m3 | Self::E5m2 => f32::NAN,
            };
        }
        let exponent = i32::from(magnitude >> layout.mantissa_bits);
        let mantissa = u32::from(magnitude) & ((1 << layout.mantissa_bits) - 1);
        let steps = if exponent == 0 {
            mantissa
        } else {
            mantissa | 1 << layout.mantissa_bits
        };
        let unit = exponent.max(1) - layout.bias - layout.mantissa_bits as i32;
        sign * steps as f32 * power_of_two(unit)
    }

    /// The exponent of the distance between neighbouring numbers at a finite magnitude.
    fn step_exponent(self, magnitude: f32) -> i32 {
        let layout = self.layout();
        let least = 1 - layout.bias;
        // Below the least normal number of the format the distance stays; f32's own subnormals are far below.
        let exponent = (magnitude.to_bits() >> 23) as i32 - 127;
        exponent.max(least) - layout.mantissa_bits as i32
    }

    /// The code of `steps` times two to the power of `step_exponent`, or the largest one.
    fn code_of(self, steps: f32, step_exponent: i32) -> u8 {
        let layout = self.layout();
        let binade = step_exponent + layout.mantissa_bits as i32 - (1 - layout.bias);
        // A normal number's steps have their leading bit at 2^m, which carries one into the exponent field, as do steps
        // of 2^(m+1) after rounding up.
        let code = (binade << layout.mantissa_bits) + steps as i32;
        code.min(i32::from(layout.largest)) as u8
    }

    /// The code nearest to a number; of two equally near, the one with an even mantissa.
    pub fn encode(self, value: f32) -> u8 {
        self.encode_magnitude(value, |magnitude| {
            let exponent = self.step_exponent(magnitude);
            let steps = magnitude * power_of_two(-exponent);
            self.code_of(steps.round_ties_even(), exponent)
        })
    }

    /// One of the two codes next to a number, chosen by eight random bits.
    ///
    /// The rule is TransformerEngine's software rounding to E2M1, with the format's own steps, in f32: with
    /// `u = random / 256` and `step` the distance between neighbours at |x|, `t = |x| + u · step`, and the result is `t`
    /// rounded down to a multiple of the distance between neighbours at `t`. The sum rounds once (as a fused multiply-add
    /// would: `u · step` is exact). Over the 256 values of `random` the mean is x or up to 1/256 of a step nearer to zero.
    pub fn encode_stochastic(self, value: f32, random: u8) -> u8 {
        self.encode_magnitude(value, |magnitude| {
            let step = power_of_two(self.step_exponent(magnitude));
            let moved = magnitude + f32::from(random) / 256.0 * step;
            let exponent = self.step_exponent(moved);
            let steps = moved * power_of_two(-exponent);
            self.code_of(steps.floor(), exponent)
        })
    }

    /// Puts sign, NaN and saturation around a rounding of finite magnitudes no larger than the largest.
    fn encode_magnitude(self, value: f32, round: impl Fn(f32) -> u8) -> u8 {
        if value.is_nan() {
            return self.layout().nan;
        }
        let sign = if value.is_sign_negative() {
            self.sign_bit()
        } else {
            0
        };
        sign | round(value.abs().min(self.largest()))
    }
}

impl ScaleFormat {
    /// The number that a code stands for. The sign bit of an E4M3 scale is ignored, as the matrix units do.
    pub fn decode(self, code: u8) -> f32 {
        match self {
            Self::E4m3 => ElementFormat::E4m3.decode(code & 0x7f),
            Self::E8m0 if code == E8M0_NAN => f32::NAN,
            Self::E8m0 => power_of_two(i32::from(code) - 127),
        }
    }
}

/// The E8M0 code of NaN.
pub const E8M0_NAN: u8 = 0xff;

/// The E8M0 code of 2 to that power; beyond the format's ±127 the nearest.
pub fn encode_e8m0(exponent: i32) -> u8 {
    (exponent.clamp(-127, 127) + 127) as u8
}

/// The E8M0 code of the least power of two not below a magnitude: PTX's `cvt.rp.satfinite.ue8m0x2.f32`.
///
/// Anything up to 2^−127, zero included, gives 2^−127; ∞ gives 2^127; NaN gives NaN.
pub fn encode_e8m0_up(magnitude: f32) -> u8 {
    if magnitude.is_nan() {
        return E8M0_NAN;
    }
    let bits = magnitude.abs().to_bits();
    let (field, mantissa) = ((bits >> 23) as i32, bits & 0x7f_ffff);
    let is_above = if field == 0 {
        // The power of two in question is 2^−127, half of f32's least normal number.
        mantissa > 0x40_0000
    } else {
        mantissa > 0
    };
    encode_e8m0(field - 127 + i32::from(is_above))
}

/// The E4M3 code of one of the two scales next to a non-negative number, chosen by a random word: the upper one with the
/// probability that makes the mean the number, to within 2^−24 of the distance of the two. Saturates at 448; NaN gives
/// NaN.
pub fn encode_e4m3_scale_stochastic(value: f32, random: u32) -> u8 {
    let nearest = ElementFormat::E4m3.encode(value);
    if value.is_nan() || value >= ElementFormat::E4m3.largest() {
        return nearest;
    }
    let below = nearest - u8::from(ScaleFormat::E4m3.decode(nearest) > value);
    let (low, high) = (
        ScaleFormat::E4m3.decode(below),
        ScaleFormat::E4m3.decode(below + 1),
    );
    // Exact: the difference of numbers within a factor of two (or multiples of the least subnormal), over a power of two.
    let part = (value - low) / (high - low);
    let uniform = (random >> 8) as f32 * power_of_two(-24);
    below + u8::from(uniform < part)
}

/// 2 to a power between −149 and 127, exact.
pub(crate) fn power_of_two(exponent: i32) -> f32 {
    if exponent >= -126 {
        f32::from_bits(((exponent + 127) as u32) << 23)
    } else {
        f32::from_bits(1 << (exponent + 149))
    }
}
