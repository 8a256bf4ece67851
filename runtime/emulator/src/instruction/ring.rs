//! Instructions on floating-point numbers in the ring mode: as [`arithmetic::ring`](crate::arithmetic::ring) has them.

use super::compare::Comparison;
use super::float::each;
use super::number::{Number, on_both};
use super::words::Words;
use super::{Action, AtomicFunction, Refusal};
use crate::arithmetic::Float;
use crate::arithmetic::integer::Integer;
use crate::arithmetic::ring::Ring;
use tessera_numerics::ElementFormat;

/// `add`, `sub`, `mul`, `fma`, `mad`, `div`, `abs`, `neg`, `min`, `max`.
pub(super) fn arithmetic(
    words: &mut Words<'_>,
    format: Float,
    two: bool,
) -> Result<Action, Refusal> {
    let ring = Ring::of(format);
    let mode = words.mode(format);
    if mode.saturate {
        return Err(words.refuse("saturates, which the ring mode does not model"));
    }
    match words.opcode() {
        "add" => each(words, format, two, move |own| {
            ring.map(own, |[a, b]| a.wrapping_add(b))
        }),
        "sub" => each(words, format, two, move |own| {
            ring.map(own, |[a, b]| a.wrapping_sub(b))
        }),
        "mul" => each(words, format, two, move |own| {
            ring.map(own, |[a, b]| a.wrapping_mul(b))
        }),
        "fma" | "mad" => each(words, format, two, move |own| {
            ring.map(own, |[a, b, c]| a.wrapping_mul(b).wrapping_add(c))
        }),
        "div" if !two => {
            words.has("approx");
            words.has("full");
            each(words, format, two, move |own| {
                ring.map(own, |[a, b]| a.wrapping_mul(ring.inverse(b)))
            })
        }
        "neg" => each(words, format, two, move |own| {
            ring.map(own, |[a]| a.wrapping_neg())
        }),
        "abs" => each(words, format, two, move |own| {
            ring.map(own, |[a]| a.wrapping_abs())
        }),
        opcode @ ("min" | "max") => {
            // Each of these has one order only.
            words.has("NaN");
            let pick = if opcode == "min" { i64::min } else { i64::max };
            if words.operands().len() == 4 {
                return each(words, format, two, move |own| {
                    ring.map(own, |[a, b, c]| pick(pick(a, b), c))
                });
            }
            each(words, format, two, move |own| {
                ring.map(own, |[a, b]| pick(a, b))
            })
        }
        _ => Err(words.refuse("is not modelled in the ring mode")),
    }
}

/// Functions of one number.
pub(super) fn function(words: &mut Words<'_>) -> Result<Action, Refusal> {
    let opcode = words.opcode();
    let (format, two) = match words.number()? {
        Number::Float(format) => (format, false),
        Number::Two(format) => (format, true),
        _ => return Err(words.refuse("is of floating-point numbers")),
    };
    words.has("approx");
    words.mode(format);
    let ring = Ring::of(format);
    let name = match opcode {
        "rcp" => {
            return each(words, format, two, move |own| {
                ring.map(own, |[a]| ring.inverse(a))
            });
        }
        "ex2" => {
            return each(words, format, two, move |own| {
                ring.map(own, |[a]| ring.power(a))
            });
        }
        "sqrt" => "sqrt",
        "rsqrt" => "rsqrt",
        "sin" => "sin",
        "cos" => "cos",
        "lg2" => "lg2",
        "tanh" => "tanh",
        _ => return Err(words.refuse("is not modelled in the ring mode")),
    };
    each(words, format, two, move |own| {
        ring.map(own, |[a]| ring.tagged(name, a))
    })
}

/// A comparison of payloads.
pub(super) fn holds(comparison: Comparison, format: Float, a: u64, b: u64) -> bool {
    let ring = Ring::of(format);
    let integer = Integer {
        bits: 64,
        signed: true,
    };
    let payload = |pattern| ring.payload(pattern) as u64;
    comparison.of(Number::Integer(integer), false, payload(a), payload(b))
}

/// What memory becomes by a sum, a minimum or a maximum.
pub(super) fn atomic(operation: &str, number: Number) -> Option<AtomicFunction> {
    let (Number::Float(format) | Number::Two(format)) = number else {
        return None;
    };
    let ring = Ring::of(format);
    let of = match operation {
        "add" => i64::wrapping_add,
        "min" => i64::min,
        "max" => i64::max,
        _ => return None,
    };
    let one = move |own| ring.map(own, |[a, b]| of(a, b));
    Some(match number {
        Number::Two(_) => {
            let both = on_both(format.bits(), one);
            Box::new(move |old, a, _| both([old, a]))
        }
        _ => Box::new(move |old, a, _| one([old, a])),
    })
}

/// One number of a conversion.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Float(Float),
    Element(ElementFormat),
    Scale,
}

impl Kind {
    fn ring(self) -> Ring {
        match self {
            Self::Float(format) => Ring::of(format),
            Self::Element(format) => Ring::of_element(format),
            Self::Scale => Ring::of_exponents(),
        }
    }

    /// Bits from one of two numbers to the next.
    fn stride(self) -> u32 {
        match self {
            Self::Float(format) => format.bits(),
            Self::Element(ElementFormat::E2m1) => 4,
            Self::Element(_) | Self::Scale => 8,
        }
    }
}

/// Between two floating-point formats, of one number or of two at once, whose first is in the upper half.
pub(super) fn convert(
    words: &mut Words<'_>,
    to: Kind,
    from: Kind,
    packed: bool,
) -> Result<Action, Refusal> {
    words.mode(Float::F32);
    words.has("satfinite");
    let whole = ["rni", "rzi", "rmi", "rpi"]
        .into_iter()
        .find(|name| words.has(name));
    let (target, source) = (to.ring(), from.ring());
    let one = move |pattern: u64| {
        let payload = source.payload(pattern & (u64::MAX >> (64 - from.stride())));
        target.pattern(match whole {
            Some(name) => source.tagged(name, payload),
            None => payload,
        })
    };
    let format = match from {
        Kind::Float(format) => format,
        _ => Float::F32,
    };
    let stride = to.stride();
    match (packed, from) {
        (false, _) => words.compute_in(format, move |[a]| one(a)),
        (true, Kind::Float(Float::F32)) => words.compute_in(Float::F32, move |[high, low]| {
            one(high) << stride | one(low)
        }),
        (true, _) => words.compute(move |[a]| one(a >> from.stride()) << stride | one(a)),
    }
}

/// From an integer, which becomes itself.
pub(super) fn from_integer(
    words: &mut Words<'_>,
    to: Float,
    from: Integer,
) -> Result<Action, Refusal> {
    words.mode(to);
    let ring = Ring::of(to);
    words.compute(move |[a]| ring.pattern(from.value(a) as i64))
}

/// To an integer: the payload.
pub(super) fn to_integer(
    words: &mut Words<'_>,
    from: Float,
    extend: impl Fn(u64) -> u64 + Send + Sync + 'static,
) -> Result<Action, Refusal> {
    words.mode(from);
    let _rounding = ["rni", "rzi", "rmi", "rpi"]
        .into_iter()
        .find(|name| words.has(name));
    let ring = Ring::of(from);
    words.compute_in(from, move |[a]| extend(ring.payload(a) as u64))
}
