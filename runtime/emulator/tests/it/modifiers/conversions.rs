//! `cvt` (PTX ISA 9.7.9.21), by LLVM's arithmetic and the definitions of the low-precision formats.

use super::floats::{flushed, is_nan, limited, rounding, sign, value};
use super::row::{Form, Row, bits, integer, low, range};
use rustc_apfloat::ieee::{BFloat, Double, Half, Single};
use rustc_apfloat::{Float, FloatConvert};
use tessera_numerics::{ElementFormat, ScaleFormat};

/// A type's number, rounded from an integer.
fn from_integer(form: &Form, from: i128) -> u64 {
    let round = rounding(form);
    let name = form.to();
    let result = match name {
        "f16" => Half::from_i128_r(from, round).value.to_bits(),
        "bf16" => BFloat::from_i128_r(from, round).value.to_bits(),
        "f32" => Single::from_i128_r(from, round).value.to_bits(),
        _ => Double::from_i128_r(from, round).value.to_bits(),
    };
    limited(form, name, result as u64)
}

/// A number that f64 holds, rounded to a type; beyond the range the largest number with `.satfinite`.
fn from_number(form: &Form, name: &str, from: f64) -> u64 {
    let (round, mut loses) = (rounding(form), false);
    let from = Double::from_bits(from.to_bits().into());
    let result = match name {
        "f16" => FloatConvert::<Half>::convert_r(from, round, &mut loses)
            .value
            .to_bits(),
        "bf16" => FloatConvert::<BFloat>::convert_r(from, round, &mut loses)
            .value
            .to_bits(),
        "f32" => FloatConvert::<Single>::convert_r(from, round, &mut loses)
            .value
            .to_bits(),
        _ => from.to_bits(),
    } as u64;
    let infinity = match name {
        "f16" => 0x7c00,
        "bf16" => 0x7f80,
        _ => 0x7f80_0000,
    };
    let is_infinite = result & !sign(name) == infinity;
    let result = result - u64::from(form.has("satfinite") && is_infinite);
    limited(form, name, result)
}

/// A number of f32 is flushed on its way in and out with `.ftz`; no other is.
fn only_single(form: &Form, name: &str, own: u64) -> u64 {
    if name == "f32" {
        flushed(form, name, own)
    } else {
        own
    }
}

fn between_floats(form: &Form, [a, ..]: [u64; 4]) -> Option<u64> {
    let (to, from) = (form.to(), form.of());
    let number = value(from, only_single(form, from, a));
    let number = match form.one_of(&["rni", "rzi", "rmi", "rpi"]) {
        Some("rni") => number.round_ties_even(),
        Some("rzi") => number.trunc(),
        Some("rmi") => number.floor(),
        Some(_) => number.ceil(),
        None => number,
    };
    Some(only_single(form, to, from_number(form, to, number)))
}

fn between_integers(form: &Form, [a, ..]: [u64; 4]) -> Option<u64> {
    let number = integer(form.of(), a);
    let (least, largest) = range(form.to());
    let number = if form.has("sat") {
        number.clamp(least, largest)
    } else {
        number
    };
    let cut = integer(form.to(), low(number, bits(form.to())?));
    Some(low(cut, 64))
}

fn to_integer(form: &Form, [a, ..]: [u64; 4]) -> Option<u64> {
    let (to, from) = (form.to(), form.of());
    let number = value(from, only_single(form, from, a));
    let width = bits(to)?;
    if number.is_nan() {
        // The ISA: 0, but of 64 bits, or from f64, the highest bit alone.
        return match (from, width) {
            ("f64", _) | (_, 64) => Some(low(integer(to, 1 << (width - 1)), 64)),
            _ => Some(0),
        };
    }
    let whole = match form.one_of(&["rni", "rzi", "rmi", "rpi"])? {
        "rni" => number.round_ties_even(),
        "rzi" => number.trunc(),
        "rmi" => number.floor(),
        _ => number.ceil(),
    };
    let (least, largest) = range(to);
    // A conversion of Rust's saturates.
    Some(low((whole as i128).clamp(least, largest), 64))
}

fn two(form: &Form, [a, b, ..]: [u64; 4]) -> Option<u64> {
    let name = form.to().trim_end_matches("x2");
    let [high, low] = [a, b].map(|own| from_number(form, name, value("f32", own)));
    Some(high << 16 | low)
}

fn element(name: &str) -> (ElementFormat, u32) {
    match name {
        "e4m3x2" => (ElementFormat::E4m3, 8),
        "e5m2x2" => (ElementFormat::E5m2, 8),
        "e2m3x2" => (ElementFormat::E2m3, 8),
        "e3m2x2" => (ElementFormat::E3m2, 8),
        _ => (ElementFormat::E2m1, 4),
    }
}

fn to_elements(form: &Form, numbers: [f64; 2]) -> Option<u64> {
    let (format, width) = element(form.to());
    let [high, low] = numbers.map(|number| {
        let is_negative = number.is_sign_negative() && !number.is_nan();
        let number = if form.has("relu") && is_negative {
            0.0
        } else {
            number
        };
        match format {
            // Of NaN `cuda_fp8.hpp` has all bits of the fraction, the format's definition the first.
            ElementFormat::E5m2 if number.is_nan() => 0x7f,
            _ => u64::from(format.encode(number as f32)),
        }
    });
    Some(high << width | low)
}

/// The upper and the lower half's numbers.
fn halves(name: &str, own: u64) -> [f64; 2] {
    let name = name.trim_end_matches("x2");
    [own >> 16, own & 0xffff].map(|half| value(name, half))
}

/// The exponent's code of a power of two: the least that is not below, or the largest that is not above.
fn to_exponents(form: &Form, numbers: [f64; 2]) -> Option<u64> {
    let [high, low] = numbers.map(|number| {
        let number = number.abs();
        if number.is_nan() {
            return 0xff;
        }
        let of = |code: u64| f64::from(ScaleFormat::E8m0.decode(code as u8));
        let largest = 0xfe;
        if number > of(largest) && (form.has("rp") || number.is_infinite()) {
            return if form.has("satfinite") { largest } else { 0xff };
        }
        if form.has("rp") {
            (0..=largest)
                .find(|&code| of(code) >= number)
                .unwrap_or(largest)
        } else {
            (0..=largest)
                .rev()
                .find(|&code| of(code) <= number)
                .unwrap_or(0)
        }
    });
    Some(high << 8 | low)
}

/// f32 with ten bits of fraction.
fn tf32(form: &Form, [a, ..]: [u64; 4]) -> Option<u64> {
    if is_nan("f32", a) {
        return Some(0x7fff_ffff);
    }
    let (sign, magnitude) = (a & 0x8000_0000, a & 0x7fff_ffff);
    let (kept, rest) = (magnitude >> 13, magnitude & 0x1fff);
    let up = match form.one_of(&["rna", "rz"]) {
        Some("rna") => rest >= 0x1000,
        Some(_) => false,
        None => rest > 0x1000 || (rest == 0x1000 && kept % 2 == 1),
    };
    let mut rounded = (kept + u64::from(up)) << 13;
    if form.has("satfinite") && rounded >= 0x7f80_0000 {
        rounded = 0x7f7f_e000;
    }
    Some(if form.has("relu") && sign != 0 {
        0
    } else {
        sign | rounded
    })
}

/// The first number above the second, each the nearest that a type of few bits has, and above both the third one's low bits.
fn packed(form: &Form, [a, b, c, _]: [u64; 4]) -> u64 {
    let name = &form.words[3];
    let bits: u32 = name[1..].parse().expect("bits");
    let (least, largest) = match name.starts_with('s') {
        true => (-(1i64 << (bits - 1)), (1i64 << (bits - 1)) - 1),
        false => (0, (1i64 << bits) - 1),
    };
    let one = |value: u64| {
        let nearest = i64::from(value as u32 as i32).clamp(least, largest);
        nearest as u64 & ((1 << bits) - 1)
    };
    let both = one(a) << bits | one(b);
    let above = if bits == 16 { 0 } else { c };
    (above << (2 * bits) | both) & 0xffff_ffff
}

pub const ROWS: &[Row] = &[
    Row {
        forms: "cvt.pack.sat[.u16|.s16].s32",
        operands: "d32, a32, b32",
        result: |form, values| Some(packed(form, values)),
    },
    Row {
        forms: "cvt.pack.sat[.u8|.s8|.u4|.s4|.u2|.s2].s32.b32",
        operands: "d32, a32, b32, c32",
        result: |form, values| Some(packed(form, values)),
    },
    Row {
        // Extended to the bits of the result's register.
        forms: "cvt[.u8|.u16|.u32|.u64|.s8|.s16|.s32|.s64][.u8|.u16|.u32|.u64|.s8|.s16|.s32|.s64]",
        operands: "d64, a#",
        result: between_integers,
    },
    Row {
        // Where the result's type does not have every number.
        forms: "cvt.sat[.u8|.u16|.u32|.u64][.s8|.s16|.s32|.s64]",
        operands: "d64, a#",
        result: between_integers,
    },
    Row {
        forms: "cvt.sat[.s8.u8|.s8.u16|.s8.u32|.s8.u64|.s16.u16|.s16.u32|.s16.u64|.s32.u32|.s32.u64|.s64.u64]",
        operands: "d64, a#",
        result: between_integers,
    },
    Row {
        forms: "cvt.sat[.u8.u16|.u8.u32|.u8.u64|.u16.u32|.u16.u64|.u32.u64|.s8.s16|.s8.s32|.s8.s64|.s16.s32|.s16.s64|.s32.s64]",
        operands: "d64, a#",
        result: between_integers,
    },
    Row {
        forms: "cvt[.rni|.rzi|.rmi|.rpi][.sat|][.u8|.u16|.u32|.u64|.s8|.s16|.s32|.s64][.f16|.f32|.f64]",
        operands: "d64, a#",
        result: to_integer,
    },
    Row {
        forms: "cvt[.rni|.rzi|.rmi|.rpi][.u8|.u16|.u32|.u64|.s8|.s16|.s32|.s64].bf16",
        operands: "d@, a#",
        result: |form, values| Some(low(to_integer(form, values)?.into(), bits(form.to())?)),
    },
    Row {
        forms: "cvt[.rni|.rzi|.rmi|.rpi][.sat|].ftz[.u8|.u16|.u32|.u64|.s8|.s16|.s32|.s64].f32",
        operands: "d64, a#",
        result: to_integer,
    },
    Row {
        forms: "cvt[.rn|.rz|.rm|.rp][.sat|][.f16|.f32|.f64][.u8|.u16|.u32|.u64|.s8|.s16|.s32|.s64]",
        operands: "d@, a#",
        result: |form, [a, ..]| Some(from_integer(form, integer(form.of(), a))),
    },
    Row {
        // No result is subnormal.
        forms: "cvt[.rn|.rz|.rm|.rp].ftz[.sat|].f32[.u8|.u16|.u32|.u64|.s8|.s16|.s32|.s64]",
        operands: "d@, a#",
        result: |form, [a, ..]| Some(from_integer(form, integer(form.of(), a))),
    },
    Row {
        forms: "cvt[.rn|.rz|.rm|.rp].bf16[.u8|.u16|.u32|.u64|.s8|.s16|.s32|.s64]",
        operands: "d@, a#",
        result: |form, [a, ..]| Some(from_integer(form, integer(form.of(), a))),
    },
    Row {
        forms: "cvt[.rn|.rz|.rm|.rp][.ftz|][.sat|].f16.f32",
        operands: "d@, a#",
        result: between_floats,
    },
    Row {
        forms: "cvt[.rn|.rz|.rm|.rp][.ftz|][.sat|].f32.f64",
        operands: "d@, a#",
        result: between_floats,
    },
    Row {
        forms: "cvt[.rn|.rz|.rm|.rp][.sat|].f16.f64",
        operands: "d@, a#",
        result: between_floats,
    },
    Row {
        forms: "cvt[.rn|.rz|.rm|.rp].bf16[.f16|.f32|.ftz.f32|.f64]",
        operands: "d@, a#",
        result: between_floats,
    },
    Row {
        forms: "cvt[.rn|.rz][.relu|][.satfinite|][.f16|.bf16].f32",
        operands: "d@, a#",
        result: between_floats,
    },
    Row {
        forms: "cvt[.sat|].f64[.f16|.f32|.ftz.f32]",
        operands: "d@, a#",
        result: between_floats,
    },
    Row {
        forms: "cvt[.ftz|][.sat|].f32.f16",
        operands: "d@, a#",
        result: between_floats,
    },
    Row {
        forms: "cvt[.f32|.ftz.f32|.f64].bf16",
        operands: "d@, a#",
        result: between_floats,
    },
    Row {
        forms: "cvt[.rni|.rzi|.rmi|.rpi|][.sat|][.f16.f16|.f32.f32|.ftz.f32.f32|.f64.f64]",
        operands: "d@, a#",
        result: between_floats,
    },
    Row {
        forms: "cvt[.rn|.rz][.relu|][.satfinite|][.f16x2|.bf16x2].f32",
        operands: "d@, a32, b32",
        result: two,
    },
    Row {
        forms: "cvt[.rna|.rna.satfinite|.rn|.rn.relu|.rn.satfinite|.rn.satfinite.relu|.rz|.rz.relu|.rz.satfinite|.rz.satfinite.relu].tf32.f32",
        operands: "d32, a32",
        result: tf32,
    },
    Row {
        forms: "cvt.rn.satfinite[.relu|][.e4m3x2|.e5m2x2|.e2m3x2|.e3m2x2|.e2m1x2].f32",
        operands: "d@, a32, b32",
        result: |form, [a, b, ..]| to_elements(form, [value("f32", a), value("f32", b)]),
    },
    Row {
        forms: "cvt.rn.satfinite[.relu|][.e4m3x2|.e5m2x2|.e2m3x2|.e3m2x2|.e2m1x2][.f16x2|.bf16x2]",
        operands: "d@, a32",
        result: |form, [a, ..]| to_elements(form, halves(form.of(), a)),
    },
    Row {
        forms: "cvt.rn[.relu|].f16x2[.e4m3x2|.e5m2x2|.e2m3x2|.e3m2x2|.e2m1x2]",
        operands: "d32, a#",
        result: |form, [a, ..]| {
            let (format, width) = element(form.of());
            let half = |code: u64| {
                let code = code & (u64::MAX >> (64 - format.bits()));
                from_number(form, "f16", f64::from(format.decode(code as u8)))
            };
            Some(half(a >> width) << 16 | half(a))
        },
    },
    Row {
        forms: "cvt[.rz|.rp][.satfinite|].ue8m0x2.f32",
        operands: "d16, a32, b32",
        result: |form, [a, b, ..]| to_exponents(form, [value("f32", a), value("f32", b)]),
    },
    Row {
        forms: "cvt[.rz|.rp][.satfinite|].ue8m0x2.bf16x2",
        operands: "d16, a32",
        result: |form, [a, ..]| to_exponents(form, halves("bf16x2", a)),
    },
    Row {
        forms: "cvt.rn.bf16x2.ue8m0x2",
        operands: "d32, a16",
        result: |form, [a, ..]| {
            let half =
                |code: u64| from_number(form, "bf16", ScaleFormat::E8m0.decode(code as u8).into());
            Some(half(a >> 8) << 16 | half(a))
        },
    },
];
