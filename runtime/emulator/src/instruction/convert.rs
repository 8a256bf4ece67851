//! `cvt` (PTX ISA 9.7.9.21): between integers, floating-point formats, and packed low-precision ones.

use super::number::{Number, Roundings, Takes, in_format};
use super::words::Words;
use super::{Action, Compute, Refusal, pack, stochastic};
use crate::arithmetic::float::Mode;
use crate::arithmetic::integer::Integer;
use crate::arithmetic::{Float, Rounding};
use tessera_numerics::{ElementFormat, ScaleFormat};

/// A type of a conversion.
#[derive(Clone, Copy, PartialEq)]
enum Type {
    Plain(Number),
    /// f32 with 10 bits of mantissa, in a register of 32.
    Tf32,
    /// Two or four low-precision numbers, the last operand's in the lowest part.
    Elements(ElementFormat, u32),
    /// Two or more scales of eight bits of exponent.
    Exponents(u32),
}

impl Type {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "tf32" => Self::Tf32,
            "e4m3x2" => Self::Elements(ElementFormat::E4m3, 2),
            "e5m2x2" => Self::Elements(ElementFormat::E5m2, 2),
            "e2m1x2" => Self::Elements(ElementFormat::E2m1, 2),
            "e2m3x2" => Self::Elements(ElementFormat::E2m3, 2),
            "e3m2x2" => Self::Elements(ElementFormat::E3m2, 2),
            "e4m3x4" => Self::Elements(ElementFormat::E4m3, 4),
            "e5m2x4" => Self::Elements(ElementFormat::E5m2, 4),
            "e2m1x4" => Self::Elements(ElementFormat::E2m1, 4),
            "e2m3x4" => Self::Elements(ElementFormat::E2m3, 4),
            "e3m2x4" => Self::Elements(ElementFormat::E3m2, 4),
            "ue8m0x2" => Self::Exponents(2),
            _ => Self::Plain(Number::from_name(name)?),
        })
    }
}

pub(super) fn decode(words: &mut Words<'_>) -> Result<Action, Refusal> {
    if words.has("pack") {
        return pack::decode(words);
    }
    let to = words.needed("result type", Type::from_name)?;
    let from = words.needed("operand type", Type::from_name)?;
    if words.scope.is_ring()
        && let Some(action) = in_ring(words, to, from)
    {
        return action;
    }
    if words.has("rs") {
        return match (to, from) {
            (Type::Elements(format, 4), Type::Plain(Number::Float(Float::F32))) => {
                stochastic::to_elements(words, format)
            }
            (Type::Plain(Number::Two(format)), Type::Plain(Number::Float(Float::F32))) => {
                stochastic::to_two(words, format)
            }
            _ => Err(words.refuse("is between types that are not modelled")),
        };
    }
    match (to, from) {
        (Type::Plain(Number::Integer(to)), Type::Plain(Number::Integer(from))) => {
            integers(words, to, from)
        }
        (Type::Plain(Number::Integer(to)), Type::Plain(Number::Float(from))) => {
            to_integer(words, to, from)
        }
        (Type::Plain(Number::Float(to)), Type::Plain(Number::Integer(from))) => {
            // No integer becomes a subnormal number of f32.
            let takes = Takes {
                rounding: Roundings::All,
                flush: to == Float::F32,
                saturate: to != Float::Bf16,
                relu: false,
            };
            let mode = words.mode_of(to, takes);
            words.compute(move |[a]| mode.write(integer_to_float(mode, from.value(a))))
        }
        (Type::Plain(Number::Float(to)), Type::Plain(Number::Float(from))) => {
            floats(words, to, from)
        }
        (Type::Plain(Number::Two(to)), Type::Plain(Number::Float(Float::F32))) => {
            let finite = words.has("satfinite");
            let rounding = words.needed("rounding", |word| match word {
                "rn" => Some(Rounding::NearestEven),
                "rz" => Some(Rounding::TowardZero),
                _ => None,
            })?;
            let mode = Mode {
                rounding,
                relu: words.has("relu"),
                ..Mode::plain(to)
            };
            let one = move |bits: u64| narrow(mode, finite, Float::F32.value(bits));
            // The first operand goes to the upper half.
            words.compute_in(Float::F32, move |[high, low]| {
                one(high) << to.bits() | one(low)
            })
        }
        (Type::Tf32, Type::Plain(Number::Float(Float::F32))) => tf32(words),
        (Type::Elements(format, 2), Type::Plain(source)) => to_elements(words, format, source),
        (Type::Plain(Number::Two(to)), Type::Elements(format, 2)) => {
            from_elements(words, to, format)
        }
        (Type::Exponents(2), Type::Plain(source)) => to_exponents(words, source),
        (Type::Plain(Number::Two(Float::Bf16)), Type::Exponents(2)) => from_exponents(words),
        _ => Err(words.refuse("is between types that are not modelled")),
    }
}

/// The conversion in the ring mode; none of integers alone.
fn in_ring(words: &mut Words<'_>, to: Type, from: Type) -> Option<Result<Action, Refusal>> {
    use super::ring::{self, Kind};
    let kind = |own: Type| {
        Some(match own {
            Type::Plain(Number::Float(format)) => (Kind::Float(format), false),
            Type::Plain(Number::Two(format)) => (Kind::Float(format), true),
            Type::Tf32 => (Kind::Float(Float::F32), false),
            Type::Elements(format, 2) => (Kind::Element(format), true),
            Type::Exponents(2) => (Kind::Scale, true),
            _ => return None,
        })
    };
    match (to, from) {
        (Type::Plain(Number::Integer(_)), Type::Plain(Number::Integer(_))) => None,
        (Type::Plain(Number::Float(to)), Type::Plain(Number::Integer(from))) => {
            Some(ring::from_integer(words, to, from))
        }
        (Type::Plain(Number::Integer(to)), Type::Plain(Number::Float(from))) => {
            let extend = extended(words, to);
            Some(extend.and_then(|extend| ring::to_integer(words, from, extend)))
        }
        _ => Some(match (kind(to), kind(from)) {
            (Some((to, packed)), Some((from, _))) => ring::convert(words, to, from, packed),
            _ => Err(words.refuse("is between types that are not modelled")),
        }),
    }
}

/// The result has the type's bits, extended to the register's.
fn extended(
    words: &Words<'_>,
    to: Integer,
) -> Result<impl Fn(u64) -> u64 + Send + Sync + 'static, Refusal> {
    let bits = words.register_bits(words.destination(0)?).max(to.bits);
    let register = Integer {
        bits: bits.min(64),
        signed: to.signed,
    };
    Ok(move |value: u64| register.wrap(to.value(value)))
}

fn integers(words: &mut Words<'_>, to: Integer, from: Integer) -> Result<Action, Refusal> {
    let saturates = words.has("sat");
    if saturates && to.holds(from) {
        return Err(words.refuse("has the modifier .sat, but the result's type has every number"));
    }
    let extend = extended(words, to)?;
    words.compute(move |[a]| {
        let value = from.value(a);
        extend(if saturates {
            to.saturate(value)
        } else {
            to.wrap(value)
        })
    })
}

/// To an integer, which is clamped to its range; of NaN it is 0, but the highest bit alone where it has 64 bits or NaN is an
/// f64 (PTX ISA 9.7.9.22).
fn to_integer(words: &mut Words<'_>, to: Integer, from: Float) -> Result<Action, Refusal> {
    let rounding =
        integer_rounding(words).ok_or_else(|| words.refuse("needs a rounding to an integer"))?;
    let flush = from == Float::F32 && words.has("ftz");
    // It is clamped with it and without.
    let _ = from != Float::Bf16 && words.has("sat");
    let extend = extended(words, to)?;
    words.compute_in(from, move |[a]| {
        let a = if flush && from.is_subnormal(a) {
            a & from.sign()
        } else {
            a
        };
        let value = from.value(a);
        if value.is_nan() {
            let top = to.bits == 64 || from == Float::F64;
            return extend(if top { 1 << (to.bits - 1) } else { 0 });
        }
        extend(to.saturate(to_whole(value, rounding) as i128))
    })
}

fn integer_rounding(words: &mut Words<'_>) -> Option<Rounding> {
    words.choice(|word| {
        Some(match word {
            "rni" => Rounding::NearestEven,
            "rzi" => Rounding::TowardZero,
            "rmi" => Rounding::Down,
            "rpi" => Rounding::Up,
            _ => return None,
        })
    })
}

fn to_whole(value: f64, rounding: Rounding) -> f64 {
    match rounding {
        Rounding::NearestEven => value.round_ties_even(),
        Rounding::NearestAway => value.round(),
        Rounding::TowardZero => value.trunc(),
        Rounding::Down => value.floor(),
        Rounding::Up => value.ceil(),
    }
}

/// An integer of 64 bits rounded once.
fn integer_to_float(mode: Mode, value: i128) -> u64 {
    if mode.format != Float::F64 {
        // To odd: what an f64 drops is marked in its last bit.
        let near = value as f64;
        let rest = value - near as i128;
        let odd = if rest == 0 || near.to_bits() & 1 == 1 {
            near
        } else if (rest > 0) == (value > 0) {
            f64::from_bits(near.to_bits() + 1)
        } else {
            f64::from_bits(near.to_bits() - 1)
        };
        return mode.format.round(odd, mode.rounding);
    }
    let nearest = value as f64;
    let rest = value - nearest as i128;
    let (grow, shrink) = match mode.rounding {
        Rounding::NearestEven | Rounding::NearestAway => (false, false),
        Rounding::TowardZero => (false, (rest < 0) == (value > 0) && rest != 0),
        Rounding::Down => (rest < 0 && value < 0, rest < 0 && value > 0),
        Rounding::Up => (rest > 0 && value > 0, rest > 0 && value < 0),
    };
    nearest.to_bits() + u64::from(grow) - u64::from(shrink)
}

fn floats(words: &mut Words<'_>, to: Float, from: Float) -> Result<Action, Refusal> {
    let whole = if to == from {
        integer_rounding(words)
    } else {
        None
    };
    let narrows = to.bits() < from.bits() || (to == Float::Bf16 && from == Float::F16);
    let to_half = from == Float::F32 && narrows;
    let finite = to_half && words.has("satfinite");
    let relu = to_half && words.has("relu");
    let is_plain = !finite && !relu;
    let takes = Takes {
        rounding: if narrows {
            Roundings::All
        } else {
            Roundings::None
        },
        flush: is_plain && [to, from].contains(&Float::F32),
        saturate: is_plain && ![to, from].contains(&Float::Bf16),
        relu: false,
    };
    let mode = Mode {
        relu,
        ..words.mode_of(to, takes)
    };
    if !is_plain && matches!(mode.rounding, Rounding::Down | Rounding::Up) {
        return Err(words.refuse("is modelled with .rn and .rz alone"));
    }
    // `.ftz` is of f32 alone, be it read or written.
    let flush = |format| mode.flush && format == Float::F32;
    let read = Mode {
        format: from,
        flush: flush(from),
        ..mode
    };
    let mode = Mode {
        flush: flush(to),
        ..mode
    };
    words.compute_in(from, move |[a]| {
        let value = from.value(read.read(a));
        let value = whole.map_or(value, |rounding| to_whole(value, rounding));
        // f64 to narrower formats is rounded once from the exact value; to wider ones it is exact.
        mode.write(narrow(mode, finite, value))
    })
}

/// Rounds a number to a format; `finite` clamps to the largest number, and makes NaN the canonical one.
fn narrow(mode: Mode, finite: bool, value: f64) -> u64 {
    let format = mode.format;
    let bits = format.round(value, mode.rounding);
    let magnitude = bits & !format.sign();
    let bits = if finite && magnitude == format.infinity() {
        bits - 1
    } else {
        bits
    };
    if mode.relu && bits & format.sign() != 0 && !format.is_nan(bits) {
        0
    } else {
        bits
    }
}

/// 11 bits of significand; the rest of the register's is zero.
fn tf32(words: &mut Words<'_>) -> Result<Action, Refusal> {
    let rounding = words
        .rounding()
        .ok_or_else(|| words.refuse("needs a rounding"))?;
    if matches!(rounding, Rounding::Down | Rounding::Up) {
        return Err(words.refuse("is modelled with .rn, .rna and .rz alone"));
    }
    let finite = words.has("satfinite");
    let relu = rounding != Rounding::NearestAway && words.has("relu");
    words.compute_in(Float::F32, move |[a]| {
        if Float::F32.is_nan(a) {
            return Float::F32.nan();
        }
        let sign = a & Float::F32.sign();
        if relu && sign != 0 {
            return 0;
        }
        let (kept, rest) = (a >> 13, a & 0x1fff);
        let up = match rounding {
            Rounding::NearestEven => rest > 0x1000 || (rest == 0x1000 && kept & 1 == 1),
            Rounding::NearestAway => rest >= 0x1000,
            Rounding::TowardZero | Rounding::Down | Rounding::Up => false,
        };
        let rounded = (kept + u64::from(up)) << 13;
        let overflows = rounded & !Float::F32.sign() >= Float::F32.infinity()
            && a & !Float::F32.sign() < Float::F32.infinity();
        if finite && (overflows || rounded & !Float::F32.sign() == Float::F32.infinity()) {
            sign | 0x7f7f_e000
        } else {
            rounded
        }
    })
}

/// Two numbers to low precision; the first operand's is in the upper half, of E2M1 in the upper four bits of a byte.
fn to_elements(
    words: &mut Words<'_>,
    format: ElementFormat,
    source: Number,
) -> Result<Action, Refusal> {
    if !words.has("satfinite") {
        return Err(words.refuse("needs .satfinite"));
    }
    if words.rounding() != Some(Rounding::NearestEven) {
        return Err(words.refuse("is modelled with .rn alone"));
    }
    let relu = words.has("relu");
    let encode = move |value: f32| {
        let is_negative = value.is_sign_negative() && !value.is_nan();
        let value = if relu && is_negative { 0.0 } else { value };
        u64::from(element(format, value))
    };
    let width = if format == ElementFormat::E2m1 { 4 } else { 8 };
    let f32s = |bits: u64| f32::from_bits(bits as u32);
    match source {
        Number::Float(Float::F32) => words.compute_in(Float::F32, move |[high, low]| {
            encode(f32s(high)) << width | encode(f32s(low))
        }),
        Number::Two(half) if half != Float::F32 => words.compute(move |[a]| {
            let value = |bits: u64| half.value(bits & 0xffff) as f32;
            encode(value(a >> 16)) << width | encode(value(a))
        }),
        _ => Err(words.refuse("is from a type that is not modelled")),
    }
}

/// The nearest number of a format. Of NaN E5M2's code is the one with all bits of the fraction, as NVIDIA's `cuda_fp8.hpp` has it
/// in software (`__nv_cvt_float_to_fp8`), not the format's definition's, which is that without payload.
pub(super) fn element(format: ElementFormat, value: f32) -> u8 {
    match format {
        ElementFormat::E5m2 if value.is_nan() => 0x7f,
        _ => format.encode(value),
    }
}

/// Low precision to two numbers, which is exact.
fn from_elements(
    words: &mut Words<'_>,
    to: Float,
    format: ElementFormat,
) -> Result<Action, Refusal> {
    if to != Float::F16 || !words.has("rn") {
        return Err(words.refuse("is modelled with .rn and to .f16x2 alone"));
    }
    let mode = Mode {
        relu: words.has("relu"),
        ..Mode::plain(to)
    };
    let width = if format == ElementFormat::E2m1 { 4 } else { 8 };
    let decode = move |code: u64| {
        narrow(
            mode,
            false,
            f64::from(format.decode(code as u8 & (u8::MAX >> (8 - width)))),
        )
    };
    words.compute(move |[a]| decode(a >> width) << to.bits() | decode(a))
}

/// To powers of two, rounded up or towards zero; what is beyond the largest is that one with `.satfinite`, else NaN.
fn to_exponents(words: &mut Words<'_>, source: Number) -> Result<Action, Refusal> {
    let beyond = if words.has("satfinite") { 0xfe } else { 0xff };
    let up = match words.rounding() {
        Some(Rounding::Up) => true,
        Some(Rounding::TowardZero) => false,
        _ => return Err(words.refuse("needs .rp or .rz")),
    };
    let encode = move |value: f64| -> u64 {
        let value = value.abs();
        if value.is_nan() {
            return 0xff;
        }
        if value.is_infinite() {
            return beyond;
        }
        // The exponent of the smallest power of two that is not less, or of the largest that is not more.
        let exponent = exponent(value);
        let exact = value == 2f64.powi(exponent);
        let code = exponent + i32::from(up && !exact) + 127;
        if code > 0xfe {
            beyond
        } else {
            code.max(0) as u64
        }
    };
    match source {
        Number::Float(Float::F32) => words.compute_in(Float::F32, move |[high, low]| {
            encode(Float::F32.value(high)) << 8 | encode(Float::F32.value(low))
        }),
        Number::Two(Float::Bf16) => words.compute(move |[a]| {
            encode(Float::Bf16.value(a >> 16 & 0xffff)) << 8 | encode(Float::Bf16.value(a & 0xffff))
        }),
        _ => Err(words.refuse("is from a type that is not modelled")),
    }
}

/// ⌊log₂ x⌋ of a positive number of f32, the smallest exponent of zero.
fn exponent(value: f64) -> i32 {
    if value == 0.0 {
        -1000
    } else {
        (value.to_bits() >> 52) as i32 - 1023
    }
}

fn from_exponents(words: &mut Words<'_>) -> Result<Action, Refusal> {
    if !words.has("rn") {
        return Err(words.refuse("needs .rn"));
    }
    let decode = |code: u64| {
        let value = f64::from(ScaleFormat::E8m0.decode(code as u8));
        Float::Bf16.round(value, Rounding::NearestEven)
    };
    words.counted(&[2])?;
    Ok(Action::Compute(Compute {
        parts: 0,
        function: super::of_each_lane(move |values| {
            [
                decode(values[0] >> 8 & 0xff) << 16 | decode(values[0] & 0xff),
                0,
                0,
                0,
            ]
        }),
        sources: vec![in_format(words.source(1)?, Float::F32)],
        destinations: vec![words.destination(0)?],
    }))
}
