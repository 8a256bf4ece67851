//! Floating-point arithmetic (PTX ISA 9.7.3 to 9.7.5), by LLVM's arithmetic of any format and rounding.

use super::row::{Form, Row, bits};
use rustc_apfloat::ieee::{BFloat, Double, Half, Single};
use rustc_apfloat::{Float, Round};

/// The format of a type's numbers.
fn format(name: &str) -> &str {
    name.trim_end_matches("x2")
}

/// The type that the result is of.
fn result_type(form: &Form) -> &str {
    match &form.words[0][..] {
        "setp" | "testp" => "pred",
        _ => form.to(),
    }
}

/// Whether two results are one: bits, and any NaN for NaN.
pub fn same(form: &Form, found: u64, expected: u64) -> bool {
    let name = result_type(form);
    let format = format(name);
    if found == expected || !matches!(format, "f16" | "bf16" | "f32" | "f64" | "tf32") {
        return found == expected;
    }
    let width = if name.ends_with("x2") {
        bits(name).map_or(64, |bits| bits / 2)
    } else {
        64
    };
    let mask = u64::MAX >> (64 - width);
    let same = |found: u64, expected: u64| {
        found == expected || (is_nan(format, found) && is_nan(format, expected))
    };
    let mut equal = same(found & mask, expected & mask);
    if width < 64 {
        equal &= same(found >> width, expected >> width);
    }
    equal
}

pub fn is_nan(format: &str, value: u64) -> bool {
    let (magnitude, infinity) = match format {
        "f16" => (value & 0x7fff, 0x7c00),
        "bf16" => (value & 0x7fff, 0x7f80),
        "f32" | "tf32" => (value & 0x7fff_ffff, 0x7f80_0000),
        _ => (value & !(1 << 63), 0x7ff0_0000_0000_0000),
    };
    magnitude > infinity
}

pub fn sign(format: &str) -> u64 {
    match format {
        "f16" | "bf16" => 0x8000,
        "f32" | "tf32" => 0x8000_0000,
        _ => 1 << 63,
    }
}

/// The smallest magnitude of a normal number.
fn smallest(format: &str) -> u64 {
    match format {
        "f16" => 0x0400,
        "bf16" => 0x0080,
        "f32" | "tf32" => 0x0080_0000,
        _ => 0x0010_0000_0000_0000,
    }
}

fn one(format: &str) -> u64 {
    match format {
        "f16" => 0x3c00,
        "bf16" => 0x3f80,
        "f32" => 0x3f80_0000,
        _ => 0x3ff0_0000_0000_0000,
    }
}

pub fn rounding(form: &Form) -> Round {
    match form.one_of(&["rz", "rm", "rp", "rna"]) {
        Some("rz") => Round::TowardZero,
        Some("rm") => Round::TowardNegative,
        Some("rp") => Round::TowardPositive,
        Some(_) => Round::NearestTiesToAway,
        None => Round::NearestTiesToEven,
    }
}

/// A subnormal number is a zero of its sign where the form says so.
pub fn flushed(form: &Form, format: &str, value: u64) -> u64 {
    let magnitude = value & (sign(format) - 1);
    let is_subnormal = magnitude != 0 && magnitude < smallest(format);
    if form.has("ftz") && is_subnormal {
        value & sign(format)
    } else {
        value
    }
}

/// A result between 0 and 1, or not negative, where the form says so; NaN is 0 for the first.
pub fn limited(form: &Form, format: &str, value: u64) -> u64 {
    let is_negative = value & sign(format) != 0;
    if form.has("sat") {
        return match (is_nan(format, value), is_negative) {
            (true, _) | (_, true) => 0,
            _ => value.min(one(format)),
        };
    }
    if form.has("relu") && is_negative && !is_nan(format, value) {
        0
    } else {
        value
    }
}

/// Exact arithmetic of numbers of a type, rounded once.
macro_rules! arithmetic {
    ($type:ty, $form:expr, $a:expr, $b:expr, $c:expr) => {{
        let of = |value: u64| <$type>::from_bits(value.into());
        let (a, b, c, round) = (of($a), of($b), of($c), rounding($form));
        let result = match &$form.words[0][..] {
            "add" => a.add_r(b, round),
            "sub" => a.sub_r(b, round),
            "mul" => a.mul_r(b, round),
            "div" => a.div_r(b, round),
            "rcp" => of(one(format($form.of()))).div_r(a, round),
            _ => a.mul_add_r(b, c, round),
        };
        result.value.to_bits() as u64
    }};
}

fn of_one(form: &Form, format: &str, values: [u64; 3]) -> u64 {
    let [a, b, c] = values.map(|value| flushed(form, format, value));
    let result = match format {
        "f16" => arithmetic!(Half, form, a, b, c),
        "bf16" => arithmetic!(BFloat, form, a, b, c),
        "f32" => arithmetic!(Single, form, a, b, c),
        _ => arithmetic!(Double, form, a, b, c),
    };
    limited(form, format, flushed(form, format, result))
}

/// A function of numbers, of each of two where a register has two.
fn each(form: &Form, [a, b, c, _]: [u64; 4], of: impl Fn(&str, [u64; 3]) -> u64) -> Option<u64> {
    let name = form.of();
    let format = format(name);
    if !name.ends_with("x2") {
        return Some(of(format, [a, b, c]));
    }
    let width = bits(name)? / 2;
    let mask = u64::MAX >> (64 - width);
    let low = of(format, [a, b, c].map(|value| value & mask));
    let high = of(format, [a, b, c].map(|value| value >> width));
    Some(low | high << width)
}

fn by_definition(form: &Form, values: [u64; 4]) -> Option<u64> {
    each(form, values, |format, values| of_one(form, format, values))
}

/// A number as f64, exactly.
pub fn value(format: &str, bits: u64) -> f64 {
    match format {
        "f16" => half::f16::from_bits(bits as u16).to_f64(),
        "bf16" => half::bf16::from_bits(bits as u16).to_f64(),
        "f32" => f32::from_bits(bits as u32).into(),
        _ => f64::from_bits(bits),
    }
}

/// The smaller or larger number; the ISA: -0 is below +0, a NaN loses, or wins with `.NaN`; `.abs` compares magnitudes,
/// `.xorsign` gives the result the exclusive or of the signs.
fn extreme(form: &Form, format: &str, [a, b]: [u64; 2]) -> u64 {
    let sign = sign(format);
    let [a, b] = [a, b].map(|value| flushed(form, format, value));
    let signs = (a ^ b) & sign;
    let [a, b] = [a, b].map(|value| {
        if form.has("abs") {
            value & !sign
        } else {
            value
        }
    });
    let nan = sign - 1;
    let picked = match (is_nan(format, a), is_nan(format, b)) {
        (true, true) => return nan,
        (true, _) | (_, true) if form.has("NaN") => return nan,
        (true, _) => b,
        (_, true) => a,
        _ => {
            let (x, y) = (value(format, a), value(format, b));
            let a_is_less = x < y || (x == y && x.is_sign_negative());
            if a_is_less == (form.words[0] == "min") {
                a
            } else {
                b
            }
        }
    };
    if form.has("xorsign") {
        picked & !sign | signs
    } else {
        picked
    }
}

/// The root to the nearest, or the one next to it that is on the other side of the exact one.
fn root(form: &Form, format: &str, a: u64) -> u64 {
    let x = value(format, flushed(form, format, a));
    let nearest = x.sqrt();
    if format == "f32" {
        let single = x as f32;
        let nearest = single.sqrt();
        let rest = f64::from(nearest) * f64::from(nearest) - x;
        let bits = nearest.to_bits();
        let moved = match rounding(form) {
            _ if !nearest.is_finite() || rest == 0.0 => bits,
            Round::TowardZero | Round::TowardNegative if rest > 0.0 => bits - 1,
            Round::TowardPositive if rest < 0.0 => bits + 1,
            _ => bits,
        };
        return flushed(form, format, moved.into());
    }
    if !nearest.is_finite() || nearest == 0.0 {
        return nearest.to_bits();
    }
    // nearest^2 and x as integers of the same unit.
    let ((root, unit), (own, own_unit)) = (parts(nearest), parts(x));
    let order = (root * root).cmp(&(own << (own_unit - 2 * unit)));
    let bits = nearest.to_bits();
    match rounding(form) {
        Round::TowardZero | Round::TowardNegative if order.is_gt() => bits - 1,
        Round::TowardPositive if order.is_lt() => bits + 1,
        _ => bits,
    }
}

/// An integer and the power of two that a positive number is.
fn parts(value: f64) -> (u128, i32) {
    let (field, fraction) = (value.to_bits() >> 52, value.to_bits() & ((1 << 52) - 1));
    match field {
        0 => (fraction.into(), -1074),
        _ => ((fraction | 1 << 52).into(), field as i32 - 1075),
    }
}

/// A number of the form's last type, as f32.
fn wide(form: &Form, bits: u64) -> u64 {
    (value(form.of(), bits & 0xffff) as f32).to_bits().into()
}

/// What the form gives without its last type: of f32 alone.
fn of_f32(form: &Form, values: [u64; 4]) -> Option<u64> {
    let mut words = form.words.clone();
    words.pop();
    by_definition(&Form { words }, values)
}

pub const ROWS: &[Row] = &[
    Row {
        forms: "[add|sub|mul][.rn|.rz|.rm|.rp|][.ftz|][.sat|].f32",
        operands: "d#, a#, b#",
        result: by_definition,
    },
    Row {
        forms: "[add|sub|mul][.rn|.rz|.rm|.rp|][.f64|.f32x2|.ftz.f32x2]",
        operands: "d#, a#, b#",
        result: by_definition,
    },
    Row {
        forms: "[add|sub|mul][.rn|][.ftz|][.sat|][.f16|.f16x2]",
        operands: "d#, a#, b#",
        result: by_definition,
    },
    Row {
        forms: "[add|sub|mul][.rn|][.bf16|.bf16x2]",
        operands: "d#, a#, b#",
        result: by_definition,
    },
    Row {
        forms: "add[.rn|.rz|.rm|.rp|][.sat|].f32[.f16|.bf16]",
        operands: "d32, a#, b32",
        result: |form, [a, b, c, e]| of_f32(form, [wide(form, a), b, c, e]),
    },
    Row {
        forms: "sub[.rn|.rz|.rm|.rp|][.sat|].f32[.f16|.bf16]",
        operands: "d32, a#, b32",
        result: |form, [a, b, c, e]| of_f32(form, [wide(form, a), b, c, e]),
    },
    Row {
        forms: "fma[.rn|.rz|.rm|.rp][.sat|].f32[.f16|.bf16]",
        operands: "d32, a#, b#, c32",
        result: |form, [a, b, c, e]| of_f32(form, [wide(form, a), wide(form, b), c, e]),
    },
    Row {
        forms: "fma[.rn|.rz|.rm|.rp][.ftz|][.sat|].f32",
        operands: "d#, a#, b#, c#",
        result: by_definition,
    },
    Row {
        forms: "fma[.rn|.rz|.rm|.rp][.f64|.f32x2|.ftz.f32x2]",
        operands: "d#, a#, b#, c#",
        result: by_definition,
    },
    Row {
        forms: "fma.rn[.ftz|][.sat|.relu|][.f16|.f16x2]",
        operands: "d#, a#, b#, c#",
        result: by_definition,
    },
    Row {
        forms: "fma.rn[.relu|][.bf16|.bf16x2]",
        operands: "d#, a#, b#, c#",
        result: by_definition,
    },
    Row {
        forms: "mad[.rn|.rz|.rm|.rp][.ftz|][.sat|].f32",
        operands: "d#, a#, b#, c#",
        result: by_definition,
    },
    Row {
        forms: "mad[.rn|.rz|.rm|.rp].f64",
        operands: "d#, a#, b#, c#",
        result: by_definition,
    },
    Row {
        forms: "div[.rn|.rz|.rm|.rp][.f32|.ftz.f32|.f64]",
        operands: "d#, a#, b#",
        result: by_definition,
    },
    Row {
        forms: "rcp[.rn|.rz|.rm|.rp][.f32|.ftz.f32|.f64]",
        operands: "d#, a#",
        result: by_definition,
    },
    Row {
        forms: "sqrt[.rn|.rz|.rm|.rp][.f32|.ftz.f32|.f64]",
        operands: "d#, a#",
        result: |form, [a, ..]| Some(root(form, format(form.of()), a)),
    },
    Row {
        forms: "[abs|neg][.f32|.ftz.f32|.f64|.f16|.ftz.f16|.bf16|.f16x2|.ftz.f16x2|.bf16x2]",
        operands: "d#, a#",
        result: |form, values| {
            each(form, values, |format, [a, ..]| {
                let a = flushed(form, format, a);
                if form.words[0] == "abs" {
                    a & !sign(format)
                } else {
                    a ^ sign(format)
                }
            })
        },
    },
    Row {
        forms: "[min|max][.ftz|][.NaN|][.xorsign.abs|].f32",
        operands: "d#, a#, b#",
        result: |form, values| {
            each(form, values, |format, [a, b, _]| {
                extreme(form, format, [a, b])
            })
        },
    },
    Row {
        // Of three numbers.
        forms: "[min|max][.ftz|][.NaN|][.abs|].f32",
        operands: "d#, a#, b#, c#",
        result: |form, values| {
            each(form, values, |format, [a, b, c]| {
                let first = extreme(form, format, [a, b]);
                extreme(form, format, [first, c])
            })
        },
    },
    Row {
        forms: "[min|max].f64",
        operands: "d#, a#, b#",
        result: |form, values| {
            each(form, values, |format, [a, b, _]| {
                extreme(form, format, [a, b])
            })
        },
    },
    Row {
        forms: "[min|max][.ftz|][.NaN|][.xorsign.abs|][.f16|.f16x2]",
        operands: "d#, a#, b#",
        result: |form, values| {
            each(form, values, |format, [a, b, _]| {
                extreme(form, format, [a, b])
            })
        },
    },
    Row {
        forms: "[min|max][.NaN|][.xorsign.abs|][.bf16|.bf16x2]",
        operands: "d#, a#, b#",
        result: |form, values| {
            each(form, values, |format, [a, b, _]| {
                extreme(form, format, [a, b])
            })
        },
    },
    Row {
        forms: "copysign[.f32|.f64]",
        operands: "d#, a#, b#",
        result: |form, [a, b, ..]| {
            let sign = sign(form.of());
            Some(a & sign | b & !sign)
        },
    },
    Row {
        forms: "testp[.finite|.infinite|.number|.notanumber|.normal|.subnormal][.f32|.f64]",
        operands: "d1, a#",
        result: |form, [a, ..]| {
            let x = value(form.of(), a);
            let class = if form.of() == "f32" {
                f32::from_bits(a as u32).classify()
            } else {
                x.classify()
            };
            use std::num::FpCategory::{Normal, Subnormal};
            Some(u64::from(match &form.words[1][..] {
                "finite" => x.is_finite(),
                "infinite" => x.is_infinite(),
                "number" => !x.is_nan(),
                "notanumber" => x.is_nan(),
                "normal" => class == Normal,
                _ => class == Subnormal,
            }))
        },
    },
];
