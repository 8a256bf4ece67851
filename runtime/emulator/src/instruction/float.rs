//! Floating-point arithmetic (PTX ISA 9.7.3 to 9.7.5).
//!
//! Approximations (`.approx`, `.full`) are the exact result rounded to the nearest, which lies within every documented
//! error; what the ISA says of special operands holds.

use super::number::{Number, Roundings, Takes, in_format, on_both};
use super::words::Words;
use super::{Action, Refusal};
use crate::arithmetic::float::{Extreme, Mode};
use crate::arithmetic::{Float, Rounding};

/// `add`, `sub`, `mul`, `fma`, `mad`, `div`, `abs`, `neg`, `min`, `max`, of one number or of two in a register.
pub(super) fn arithmetic(
    words: &mut Words<'_>,
    format: Float,
    two: bool,
) -> Result<Action, Refusal> {
    if words.scope.is_ring() {
        return super::ring::arithmetic(words, format, two);
    }
    let opcode = words.opcode();
    let mode = words.mode_of(format, takes(opcode, format, two));
    if mode.is_single() {
        // What the host's own arithmetic does, which is that of nearly every instruction.
        match opcode {
            "add" => {
                return each(words, format, two, move |[a, b]| {
                    mode.single([a, b], |[a, b]| a + b)
                });
            }
            "sub" => {
                return each(words, format, two, move |[a, b]| {
                    mode.single([a, b], |[a, b]| a - b)
                });
            }
            "mul" => {
                return each(words, format, two, move |[a, b]| {
                    mode.single([a, b], |[a, b]| a * b)
                });
            }
            "fma" | "mad" => {
                return each(words, format, two, move |[a, b, c]| {
                    mode.single([a, b, c], |[a, b, c]| a.mul_add(b, c))
                });
            }
            _ => {}
        }
    }
    match opcode {
        "add" => each(words, format, two, move |[a, b]| mode.add(a, b)),
        "sub" => each(words, format, two, move |[a, b]| mode.subtract(a, b)),
        "mul" => each(words, format, two, move |[a, b]| mode.multiply(a, b)),
        "fma" | "mad" => each(words, format, two, move |[a, b, c]| {
            mode.multiply_add(a, b, c)
        }),
        "div" if !two => divide(words, mode),
        "abs" => each(words, format, two, move |[a]| mode.read(a) & !format.sign()),
        "neg" => each(words, format, two, move |[a]| mode.read(a) ^ format.sign()),
        "min" | "max" => {
            let of_three = words.operands().len() == 4;
            let is_f64 = format == Float::F64;
            let xor_sign = !is_f64 && !of_three && words.has("xorsign");
            let how = Extreme {
                smaller: opcode == "min",
                nan: !is_f64 && words.has("NaN"),
                absolute: (xor_sign || of_three) && words.has("abs"),
                xor_sign,
            };
            if xor_sign && !how.absolute {
                return Err(words.refuse("has .xorsign without .abs"));
            }
            if of_three {
                if format != Float::F32 || two {
                    return Err(words.refuse("is of three numbers of f32 alone"));
                }
                return each(words, format, two, move |[a, b, c]| {
                    mode.extreme(mode.extreme(a, b, how), c, how)
                });
            }
            each(words, format, two, move |[a, b]| mode.extreme(a, b, how))
        }
        _ => Err(words.refuse("is not of floating-point numbers")),
    }
}

/// `add`, `sub` and `fma` of f32, whose first operand or factors are of halves' types (PTX ISA 9.7.5).
pub(super) fn mixed(words: &mut Words<'_>, narrow: Float) -> Result<Action, Refusal> {
    if words.scope.is_ring() {
        return Err(words.refuse("is not modelled in the ring mode"));
    }
    let mode = words.mode_of(
        Float::F32,
        Takes {
            rounding: Roundings::All,
            saturate: true,
            ..Takes::default()
        },
    );
    // Every number of the narrow types is one of f32.
    let wide = move |bits| Float::F32.round(narrow.value(bits), Rounding::NearestEven);
    match words.opcode() {
        "add" => words.compute_in(Float::F32, move |[a, b]| mode.add(wide(a), b)),
        "sub" => words.compute_in(Float::F32, move |[a, b]| mode.subtract(wide(a), b)),
        _ => words.compute_in(Float::F32, move |[a, b, c]| {
            mode.multiply_add(wide(a), wide(b), c)
        }),
    }
}

/// What the ISA lets an arithmetic instruction say.
fn takes(opcode: &str, format: Float, two: bool) -> Takes {
    let is_half = matches!(format, Float::F16 | Float::Bf16);
    let is_rounded = matches!(opcode, "add" | "sub" | "mul" | "fma" | "mad" | "div");
    Takes {
        rounding: match (is_rounded, is_half) {
            (false, _) => Roundings::None,
            (true, true) => Roundings::Nearest,
            (true, false) => Roundings::All,
        },
        flush: matches!(format, Float::F16 | Float::F32),
        saturate: is_rounded
            && opcode != "div"
            && (format == Float::F16 || (format == Float::F32 && !two)),
        relu: is_half && opcode == "fma",
    }
}

/// A function of one number, or of each of two.
pub(super) fn each<const N: usize>(
    words: &Words<'_>,
    format: Float,
    two: bool,
    function: impl Fn([u64; N]) -> u64 + Send + Sync + 'static,
) -> Result<Action, Refusal> {
    if two {
        words.compute(on_both(format.bits(), function))
    } else {
        words.compute_in(format, function)
    }
}

const UPPER_HALF: u64 = !0xffff_ffff;

fn divide(words: &mut Words<'_>, mode: Mode) -> Result<Action, Refusal> {
    // Only of f32, and without a rounding.
    let is_rounded = ["rn", "rz", "rm", "rp"]
        .iter()
        .any(|word| words.instruction.has(word));
    let can_be_near = mode.format == Float::F32 && !is_rounded;
    if !(can_be_near && words.has("approx")) {
        // `.full` is within two units, for the whole range.
        let _ = can_be_near && words.has("full");
        return words.compute_in(mode.format, move |[a, b]| mode.divide(a, b));
    }
    words.compute_in(mode.format, move |[a, b]| {
        // For 2^126 < |b| < 2^128 the result is 0, of an infinity NaN.
        let (x, y) = (mode.format.value(mode.read(a)), mode.format.value(b).abs());
        if y > 2f64.powi(126) && y.is_finite() {
            return if x.is_infinite() || x.is_nan() {
                mode.format.nan()
            } else {
                mode.divide(a, b) & mode.format.sign()
            };
        }
        mode.divide(a, b)
    })
}

/// Functions of one number, and those of its sign and class.
pub(super) fn decode(words: &mut Words<'_>) -> Result<Action, Refusal> {
    let opcode = words.opcode();
    if words.scope.is_ring() {
        return super::ring::function(words);
    }
    if opcode == "testp" {
        return test(words);
    }
    let (format, two) = match words.number()? {
        Number::Float(format) => (format, false),
        Number::Two(format) => (format, true),
        _ => return Err(words.refuse("is of floating-point numbers")),
    };
    let approximate = words.has("approx");
    if !approximate && !matches!(opcode, "rcp" | "sqrt" | "copysign") {
        return Err(words.refuse("is modelled with .approx alone"));
    }
    let is_rounded = !approximate && opcode != "copysign";
    let mode = words.mode_of(
        format,
        Takes {
            rounding: if is_rounded {
                Roundings::All
            } else {
                Roundings::None
            },
            flush: match format {
                Float::F32 => opcode != "tanh" && opcode != "copysign",
                Float::F64 => approximate,
                Float::Bf16 => opcode == "ex2",
                Float::F16 => false,
            },
            ..Takes::default()
        },
    );
    let is_coarse = mode.flush && format == Float::F64;
    let of = |function: fn(f64) -> f64| {
        each(words, format, two, move |[a]| {
            // Of f64 the upper half of the number is looked at and of the result given.
            let a = if is_coarse { a & UPPER_HALF } else { a };
            let value = format.value(mode.read(a));
            let result = mode.write(format.round(function(value), Rounding::NearestEven));
            if is_coarse {
                result & UPPER_HALF
            } else {
                result
            }
        })
    };
    match opcode {
        "rcp" if !approximate => {
            let one = format.round(1.0, Rounding::NearestEven);
            each(words, format, two, move |[a]| mode.divide(one, a))
        }
        "sqrt" if !approximate => each(words, format, two, move |[a]| mode.square_root(a)),
        "rcp" => of(|x| 1.0 / x),
        "sqrt" => of(f64::sqrt),
        "rsqrt" => of(|x| 1.0 / x.sqrt()),
        "sin" => of(f64::sin),
        "cos" => of(f64::cos),
        "lg2" => of(f64::log2),
        "ex2" => of(f64::exp2),
        "tanh" => of(f64::tanh),
        "copysign" if !approximate => words.compute_in(format, move |[a, b]| {
            (b & !format.sign()) | (a & format.sign())
        }),
        _ => Err(words.refuse("is not modelled in this form")),
    }
}

/// `testp`: a number's class.
fn test(words: &mut Words<'_>) -> Result<Action, Refusal> {
    type Test = fn(Float, u64) -> bool;
    let test = words.needed("class", |word| {
        Some::<Test>(match word {
            "finite" => |format, bits| bits & !format.sign() < format.infinity(),
            "infinite" => |format, bits| bits & !format.sign() == format.infinity(),
            "number" => |format, bits| !format.is_nan(bits),
            "notanumber" => |format, bits| format.is_nan(bits),
            "normal" => |format, bits| {
                let magnitude = bits & !format.sign();
                magnitude != 0 && magnitude < format.infinity() && !format.is_subnormal(bits)
            },
            "subnormal" => |format, bits| format.is_subnormal(bits),
            _ => return None,
        })
    })?;
    let Number::Float(format) = words.number()? else {
        return Err(words.refuse("is of floating-point numbers"));
    };
    let source = in_format(words.source(1)?, format);
    Ok(Action::Compute(super::Compute {
        parts: 0,
        function: super::of_each_lane(move |values| [u64::from(test(format, values[0])), 0, 0, 0]),
        sources: vec![source],
        destinations: vec![words.destination(0)?],
    }))
}
