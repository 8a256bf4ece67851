//! Functions that are approximate (PTX ISA 9.7.3, 9.7.4): within the error that the ISA allows, and exact where it names
//! results.

use super::floats::{flushed, value};
use super::row::{Form, Row};

/// The function of numbers of f64.
fn exact(form: &Form, a: f64, b: f64) -> f64 {
    match &form.words[0][..] {
        "div" => a / b,
        "rcp" => 1.0 / a,
        "sqrt" => a.sqrt(),
        "rsqrt" => 1.0 / a.sqrt(),
        "sin" => a.sin(),
        "cos" => a.cos(),
        "lg2" => a.log2(),
        "ex2" => a.exp2(),
        _ => a.tanh(),
    }
}

/// The error that the ISA allows: of the number as a whole, and as a part of it.
fn allowed(form: &Form) -> (f64, f64) {
    let two = |exponent: f64| exponent.exp2();
    // An ulp is at most this part of a number.
    let ulp = two(-23.0);
    match (&form.words[0][..], form.of().trim_end_matches("x2")) {
        ("div", _) => (0.0, 2.0 * ulp),
        ("rcp" | "rsqrt", "f64") => (0.0, two(-20.0)),
        ("rcp", _) => (0.0, ulp),
        ("sqrt", _) => (0.0, two(-23.0)),
        ("rsqrt", _) => (0.0, two(-22.9)),
        ("sin" | "cos", _) => (two(-20.5), 0.0),
        ("lg2", _) => (two(-22.0), two(-22.0)),
        ("ex2", "f16") => (0.0, two(-9.9)),
        ("ex2", "bf16") => (0.0, two(-7.0)),
        ("ex2", _) => (0.0, two(-22.5)),
        (_, "f16") => (two(-10.987), 0.0),
        (_, "bf16") => (two(-8.0), 0.0),
        _ => (0.0, two(-11.0)),
    }
}

/// Whether a result of numbers is near enough to the exact one.
fn is_near(form: &Form, found: u64, [a, b]: [u64; 2]) -> bool {
    let name = form.of().trim_end_matches("x2");
    let [a, b] = [a, b].map(|own| value(name, flushed(form, name, own)));
    let exact = exact(form, a, b);
    let opcode = &form.words[0][..];
    if matches!(opcode, "sin" | "cos") && a.abs() > std::f64::consts::PI && a.is_finite() {
        // The error is bounded for these alone.
        return true;
    }
    // The ISA: of f64 with `.ftz` the lower half is 0.
    if name == "f64" && form.has("ftz") && found & 0xffff_ffff != 0 {
        return false;
    }
    let (smallest, largest) = match name {
        "f16" => (2f64.powi(-14), 65504.0),
        "f64" => (f64::MIN_POSITIVE, f64::MAX),
        "bf16" => (2f64.powi(-126), 3.3895e38),
        _ => (2f64.powi(-126), f32::MAX.into()),
    };
    let found = value(name, found);
    if opcode == "div" && form.has("approx") && b.abs() > 2f64.powi(126) && b.is_finite() {
        // The ISA: 0, and NaN of an infinity.
        return if a.is_finite() {
            found == 0.0
        } else {
            found.is_nan()
        };
    }
    if exact.is_nan() {
        return found.is_nan();
    }
    let (whole, part) = allowed(form);
    let error = whole + part * exact.abs();
    if exact.abs() > largest * (1.0 - part) {
        return found == exact || found.abs() >= largest * (1.0 - 2.0 * part);
    }
    // Below the normal numbers a unit is the smallest subnormal's, or all of it with `.ftz`; of f64 they are zeros.
    let below = if form.has("ftz") || name == "f64" {
        smallest
    } else {
        smallest * ulp_of(name)
    };
    (found - exact).abs() <= error.max(below)
        && found.is_sign_negative() == exact.is_sign_negative()
        || (found == 0.0 && exact.abs() <= error.max(below))
}

fn ulp_of(name: &str) -> f64 {
    match name {
        "f16" => 2f64.powi(-10),
        "bf16" => 2f64.powi(-7),
        _ => 2f64.powi(-23),
    }
}

/// Whether a result, or each half of it, is near enough.
pub fn near(form: &Form, found: u64, [a, b, ..]: [u64; 4]) -> bool {
    if !form.of().ends_with("x2") {
        return is_near(form, found, [a, b]);
    }
    [0, 16].into_iter().all(|place| {
        let half = |own: u64| own >> place & 0xffff;
        is_near(form, half(found), [half(a), half(b)])
    })
}

/// The tables' results are not exact: [`near`] is what is asked.
const OPEN: fn(&Form, [u64; 4]) -> Option<u64> = |_, _| None;

pub const ROWS: &[Row] = &[
    Row {
        forms: "div[.approx|.full][.f32|.ftz.f32]",
        operands: "d32, a32, b32",
        result: OPEN,
    },
    Row {
        forms: "[rcp|sqrt|rsqrt|sin|cos|lg2|ex2].approx[.f32|.ftz.f32]",
        operands: "d32, a32",
        result: OPEN,
    },
    Row {
        forms: "[rcp.approx.ftz|rsqrt.approx|rsqrt.approx.ftz].f64",
        operands: "d64, a64",
        result: OPEN,
    },
    Row {
        forms: "ex2.approx[.f16|.f16x2|.ftz.bf16|.ftz.bf16x2]",
        operands: "d#, a#",
        result: OPEN,
    },
    Row {
        forms: "tanh.approx[.f32|.f16|.f16x2|.bf16|.bf16x2]",
        operands: "d#, a#",
        result: OPEN,
    },
];
