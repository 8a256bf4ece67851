//! Comparisons and selections (PTX ISA 9.7.6, 9.7.7).

use super::floats::{flushed, value};
use super::row::{Form, Row, bits, integer};
use std::cmp::Ordering::{Equal, Greater, Less};

fn is_float(name: &str) -> bool {
    matches!(name, "f16" | "bf16" | "f32" | "f64")
}

/// What the form's comparison says of two numbers of its last type.
fn holds(form: &Form, name: &str, a: u64, b: u64) -> bool {
    let order = if is_float(name) {
        let [a, b] = [a, b].map(|own| value(name, flushed(form, name, own)));
        a.partial_cmp(&b)
    } else {
        Some(integer(name, a).cmp(&integer(name, b)))
    };
    match &form.words[1][..] {
        "eq" => order == Some(Equal),
        "ne" => matches!(order, Some(Less | Greater)),
        "lt" | "lo" => order == Some(Less),
        "le" | "ls" => matches!(order, Some(Less | Equal)),
        "gt" | "hi" => order == Some(Greater),
        "ge" | "hs" => matches!(order, Some(Greater | Equal)),
        "equ" => matches!(order, None | Some(Equal)),
        "neu" => order != Some(Equal),
        "ltu" => matches!(order, None | Some(Less)),
        "leu" => matches!(order, None | Some(Less | Equal)),
        "gtu" => matches!(order, None | Some(Greater)),
        "geu" => matches!(order, None | Some(Greater | Equal)),
        "num" => order.is_some(),
        _ => order.is_none(),
    }
}

/// A comparison joined with a predicate.
fn joined(form: &Form, holds: bool, with: bool) -> bool {
    match form.one_of(&["and", "or", "xor"]) {
        Some("and") => holds && with,
        Some("or") => holds || with,
        Some(_) => holds != with,
        None => holds,
    }
}

fn compared(form: &Form, [a, b, c, _]: [u64; 4]) -> bool {
    joined(form, holds(form, form.of(), a, b), c & 1 == 1)
}

/// What `set` writes of a type.
fn yes(name: &str) -> u64 {
    match name {
        "f32" => 0x3f80_0000,
        "f16" => 0x3c00,
        "bf16" => 0x3f80,
        _ => u64::MAX >> (64 - bits(name).unwrap_or(32)),
    }
}

fn set(form: &Form, values: [u64; 4]) -> Option<u64> {
    Some(if compared(form, values) {
        yes(form.to())
    } else {
        0
    })
}

/// Two comparisons of halves.
fn both(form: &Form, [a, b, c, _]: [u64; 4]) -> [bool; 2] {
    let name = form.of().trim_end_matches("x2");
    [0, 16].map(|place| {
        let [a, b] = [a, b].map(|own| own >> place & 0xffff);
        joined(form, holds(form, name, a, b), c & 1 == 1)
    })
}

fn set_both(form: &Form, values: [u64; 4]) -> Option<u64> {
    let yes = match form.to() {
        "f16x2" => 0x3c00,
        "bf16x2" => 0x3f80,
        _ => 0xffff,
    };
    let [low, high] = both(form, values).map(|holds| if holds { yes } else { 0 });
    Some(low | high << 16)
}

pub const ROWS: &[Row] = &[
    Row {
        forms: "setp[.eq|.ne][.b16|.b32|.b64]",
        operands: "d1, a#, b#",
        result: |form, values| Some(compared(form, values).into()),
    },
    Row {
        forms: "setp[.eq|.ne|.lt|.le|.gt|.ge][.u16|.u32|.u64|.s16|.s32|.s64]",
        operands: "d1, a#, b#",
        result: |form, values| Some(compared(form, values).into()),
    },
    Row {
        forms: "setp[.eq|.ne][.and|.or|.xor][.b16|.b32|.b64]",
        operands: "d1, a#, b#, c1",
        result: |form, values| Some(compared(form, values).into()),
    },
    Row {
        forms: "setp[.lo|.ls|.hi|.hs][.u16|.u32|.u64]",
        operands: "d1, a#, b#",
        result: |form, values| Some(compared(form, values).into()),
    },
    Row {
        forms: "setp[.lo|.ls|.hi|.hs][.and|.or|.xor][.u16|.u32|.u64]",
        operands: "d1, a#, b#, c1",
        result: |form, values| Some(compared(form, values).into()),
    },
    Row {
        forms: "setp[.eq|.ne|.lt|.le|.gt|.ge][.and|.or|.xor][.u16|.u32|.u64|.s16|.s32|.s64|.f32|.ftz.f32|.f64|.f16|.ftz.f16|.bf16]",
        operands: "d1, a#, b#, c1",
        result: |form, values| Some(compared(form, values).into()),
    },
    Row {
        forms: "setp[.equ|.neu|.ltu|.leu|.gtu|.geu|.num|.nan][.and|.or|.xor][.f32|.ftz.f32|.f64|.f16|.ftz.f16|.bf16]",
        operands: "d1, a#, b#, !c1",
        result: |form, [a, b, c, e]| Some(compared(form, [a, b, c ^ 1, e]).into()),
    },
    Row {
        forms: "setp[.eq|.ne|.lt|.le|.gt|.ge|.equ|.neu|.ltu|.leu|.gtu|.geu|.num|.nan][.f32|.ftz.f32|.f64|.f16|.ftz.f16|.bf16]",
        operands: "d1, a#, b#",
        result: |form, values| Some(compared(form, values).into()),
    },
    Row {
        // The second result is of the opposite.
        forms: "setp[.lt|.geu|.num][.f32|.ftz.f32]",
        operands: "_|d1, a#, b#",
        result: |form, [a, b, ..]| Some((!holds(form, "f32", a, b)).into()),
    },
    Row {
        forms: "setp[.lt|.geu][.and|.or|.xor][.f32|.ftz.f32]",
        operands: "_|d1, a#, b#, c1",
        result: |form, [a, b, c, _]| {
            Some(joined(form, !holds(form, "f32", a, b), c & 1 == 1).into())
        },
    },
    Row {
        forms: "setp[.eq|.ne|.lt|.le|.gt|.ge|.equ|.neu|.ltu|.leu|.gtu|.geu|.num|.nan][.f16x2|.ftz.f16x2|.bf16x2]",
        operands: "d1|_, a#, b#",
        result: |form, values| Some(both(form, values)[0].into()),
    },
    Row {
        forms: "setp[.eq|.ne|.lt|.le|.gt|.ge|.equ|.neu|.ltu|.leu|.gtu|.geu|.num|.nan][.and|.or|.xor][.f16x2|.ftz.f16x2|.bf16x2]",
        operands: "_|d1, a#, b#, c1",
        result: |form, values| Some(both(form, values)[1].into()),
    },
    Row {
        forms: "set[.eq|.ne|.lt|.le|.gt|.ge][.u32|.s32|.f32][.u16|.u32|.u64|.s16|.s32|.s64]",
        operands: "d32, a#, b#",
        result: set,
    },
    Row {
        forms: "set[.eq|.ne][.u32|.s32|.f32][.b16|.b32|.b64]",
        operands: "d32, a#, b#",
        result: set,
    },
    Row {
        forms: "set[.lo|.ls|.hi|.hs][.u32|.s32|.f32][.u16|.u32|.u64]",
        operands: "d32, a#, b#",
        result: set,
    },
    Row {
        forms: "set[.eq|.ne|.lt|.le|.gt|.ge|.equ|.neu|.ltu|.leu|.gtu|.geu|.num|.nan][.ftz|][.u32|.s32|.f32].f32",
        operands: "d32, a#, b#",
        result: set,
    },
    Row {
        forms: "set[.eq|.ne|.lt|.le|.gt|.ge|.equ|.neu|.ltu|.leu|.gtu|.geu|.num|.nan][.u32|.s32|.f32].f64",
        operands: "d32, a#, b#",
        result: set,
    },
    Row {
        forms: "set[.eq|.ne|.lt|.le|.gt|.ge|.equ|.neu|.ltu|.leu|.gtu|.geu|.num|.nan][.and|.or|.xor][.ftz|][.u32|.s32|.f32].f32",
        operands: "d32, a#, b#, c1",
        result: set,
    },
    Row {
        forms: "set[.eq|.ne|.lt|.le|.gt|.ge|.equ|.neu|.ltu|.leu|.gtu|.geu|.num|.nan][.ftz|][.f16|.u16|.s16|.u32|.s32].f16",
        operands: "d@, a#, b#",
        result: set,
    },
    Row {
        forms: "set[.eq|.ne|.lt|.le|.gt|.ge|.equ|.neu|.ltu|.leu|.gtu|.geu|.num|.nan][.bf16|.u16|.s16|.u32|.s32].bf16",
        operands: "d@, a#, b#",
        result: set,
    },
    Row {
        forms: "set[.eq|.ne|.lt|.le|.gt|.ge|.equ|.neu|.ltu|.leu|.gtu|.geu|.num|.nan][.ftz|][.f16x2|.u32|.s32].f16x2",
        operands: "d32, a#, b#",
        result: set_both,
    },
    Row {
        forms: "set[.eq|.ne|.lt|.le|.gt|.ge|.equ|.neu|.ltu|.leu|.gtu|.geu|.num|.nan][.and|.or|.xor][.ftz|][.f16x2|.u32|.s32].f16x2",
        operands: "d32, a#, b#, c1",
        result: set_both,
    },
    Row {
        forms: "set[.eq|.ne|.lt|.le|.gt|.ge|.equ|.neu|.ltu|.leu|.gtu|.geu|.num|.nan][.bf16x2|.u32|.s32].bf16x2",
        operands: "d32, a#, b#",
        result: set_both,
    },
    Row {
        forms: "set[.eq|.ne|.lt|.le|.gt|.ge|.equ|.neu|.ltu|.leu|.gtu|.geu|.num|.nan][.and|.or|.xor][.bf16x2|.u32|.s32].bf16x2",
        operands: "d32, a#, b#, c1",
        result: set_both,
    },
    Row {
        forms: "set[.eq|.ne|.lt|.le|.gt|.ge][.and|.or|.xor][.u32|.s32|.f32][.u16|.u32|.u64|.s16|.s32|.s64]",
        operands: "d32, a#, b#, c1",
        result: set,
    },
    Row {
        forms: "set[.eq|.ne][.and|.or|.xor][.u32|.s32|.f32][.b16|.b32|.b64]",
        operands: "d32, a#, b#, c1",
        result: set,
    },
    Row {
        forms: "set[.lo|.ls|.hi|.hs][.and|.or|.xor][.u32|.s32|.f32][.u16|.u32|.u64]",
        operands: "d32, a#, b#, c1",
        result: set,
    },
    Row {
        forms: "set[.eq|.ne|.lt|.le|.gt|.ge|.equ|.neu|.ltu|.leu|.gtu|.geu|.num|.nan][.and|.or|.xor][.u32|.s32|.f32].f64",
        operands: "d32, a#, b#, c1",
        result: set,
    },
    Row {
        forms: "set[.eq|.ne|.lt|.le|.gt|.ge|.equ|.neu|.ltu|.leu|.gtu|.geu|.num|.nan][.and|.or|.xor][.ftz|][.f16|.u16|.s16|.u32|.s32].f16",
        operands: "d@, a#, b#, c1",
        result: set,
    },
    Row {
        forms: "set[.eq|.ne|.lt|.le|.gt|.ge|.equ|.neu|.ltu|.leu|.gtu|.geu|.num|.nan][.and|.or|.xor][.bf16|.u16|.s16|.u32|.s32].bf16",
        operands: "d@, a#, b#, c1",
        result: set,
    },
    Row {
        forms: "selp[.b16|.b32|.b64|.u16|.u32|.u64|.s16|.s32|.s64|.f32|.f64]",
        operands: "d#, a#, b#, c1",
        result: |_, [a, b, c, _]| Some(if c & 1 == 1 { a } else { b }),
    },
    Row {
        forms: "slct[.b16|.b32|.b64|.u16|.u32|.u64|.s16|.s32|.s64|.f32|.f64].s32",
        operands: "d@, a@, b@, c32",
        result: |_, [a, b, c, _]| Some(if integer("s32", c) >= 0 { a } else { b }),
    },
    Row {
        forms: "slct[.ftz|][.b16|.b32|.b64|.u16|.u32|.u64|.s16|.s32|.s64|.f32|.f64].f32",
        operands: "d@, a@, b@, c32",
        result: |form, [a, b, c, _]| {
            let control = value("f32", flushed(form, "f32", c));
            Some(if control >= 0.0 { a } else { b })
        },
    },
];
