//! Loads, stores and atomics of a cell of memory (PTX ISA 9.7.9, 9.7.13).

use super::floats::{is_nan, value};
use super::row::{Form, bits, forms, integer, low};
use rustc_apfloat::Float;
use rustc_apfloat::ieee::{BFloat, Double, Half, Single};

/// An access in all its forms, with its definition.
pub struct Access {
    pub forms: &'static str,
    /// As those of a row; the cell is at `[%at]`.
    pub operands: &'static str,
    /// What becomes of the cell, by values of `a`, `b`, `c`, `e`; the value of `d`.
    pub result: fn(&Form, &mut [u8], [u64; 4]) -> u64,
}

impl Access {
    pub fn forms(&self) -> Vec<Form> {
        forms(self.forms)
    }
}

/// Elements of an access.
pub fn count(form: &Form) -> usize {
    match form.one_of(&["v2", "v4", "v8"]) {
        Some("v2") => 2,
        Some("v4") => 4,
        Some(_) => 8,
        None => 1,
    }
}

fn read(cell: &[u8], at: usize, bytes: usize) -> u64 {
    let mut own = [0; 8];
    own[..bytes].copy_from_slice(&cell[at..at + bytes]);
    u64::from_le_bytes(own)
}

/// The last element, extended to 64 bits by its sign if it has one.
fn load(form: &Form, cell: &mut [u8], _: [u64; 4]) -> u64 {
    let bytes = bits(form.of()).unwrap_or(8) as usize / 8;
    let element = read(cell, (count(form) - 1) * bytes, bytes);
    low(integer(form.of(), element), 64)
}

fn store(form: &Form, cell: &mut [u8], values: [u64; 4]) -> u64 {
    let bytes = bits(form.of()).unwrap_or(8) as usize / 8;
    for i in 0..count(form) {
        let own = values[i % 4].to_le_bytes();
        cell[i * bytes..(i + 1) * bytes].copy_from_slice(&own[..bytes]);
    }
    0
}

/// A sum to the nearest; subnormal numbers stay.
fn sum(name: &str, a: u64, b: u64) -> u64 {
    macro_rules! sum {
        ($type:ty) => {{
            let of = |own: u64| <$type>::from_bits(own.into());
            (of(a) + of(b)).value.to_bits() as u64
        }};
    }
    match name {
        "f16" => sum!(Half),
        "bf16" => sum!(BFloat),
        "f32" => sum!(Single),
        _ => sum!(Double),
    }
}

/// The smaller or larger of two halves, -0 below +0; of a number and NaN the number.
fn extreme(smaller: bool, format: &str, [a, b]: [u64; 2]) -> u64 {
    let [x, y] = [a, b].map(|own| value(format, own));
    if x.is_nan() || y.is_nan() {
        return if x.is_nan() { b } else { a };
    }
    if (x.total_cmp(&y).is_lt()) == smaller {
        a
    } else {
        b
    }
}

/// What memory becomes (PTX ISA 9.7.13.5).
fn new(form: &Form, old: u64, b: u64, c: u64) -> u64 {
    let name = form.of();
    let width = bits(name).unwrap_or(64);
    let operation = form.one_of(&[
        "exch", "cas", "add", "min", "max", "inc", "dec", "and", "or", "xor",
    ]);
    let is_float = matches!(name, "f16" | "bf16" | "f32" | "f64" | "f16x2" | "bf16x2");
    match operation.unwrap_or("exch") {
        "exch" => b,
        "cas" => {
            if old == b {
                c
            } else {
                old
            }
        }
        "and" => old & b,
        "or" => old | b,
        "xor" => old ^ b,
        "add" if is_float && name.ends_with("x2") => {
            let half = name.trim_end_matches("x2");
            let of = |place: u32| sum(half, old >> place & 0xffff, b >> place & 0xffff) << place;
            of(0) | of(16)
        }
        // In global memory f32 has no subnormal numbers.
        "add" if name == "f32" && !form.words.iter().any(|word| word.starts_with("shared")) => {
            let flushed = |own: u64| {
                if own & 0x7f80_0000 == 0 {
                    own & 0x8000_0000
                } else {
                    own
                }
            };
            flushed(sum(name, flushed(old), flushed(b)))
        }
        "add" if is_float => sum(name, old, b),
        operation @ ("min" | "max") if is_float => {
            let half = name.trim_end_matches("x2");
            let of = |place: u32| {
                let both = [old, b].map(|own| own >> place & 0xffff);
                extreme(operation == "min", half, both) << place
            };
            of(0) | if name.ends_with("x2") { of(16) } else { 0 }
        }
        "add" => low(integer(name, old) + integer(name, b), width),
        "min" => low(integer(name, old).min(integer(name, b)), width),
        "max" => low(integer(name, old).max(integer(name, b)), width),
        "inc" => {
            if old >= b {
                0
            } else {
                old + 1
            }
        }
        _ => {
            if old == 0 || old > b {
                b
            } else {
                old - 1
            }
        }
    }
}

/// A NaN of any bits is the same.
pub fn canonical(form: &Form, own: u64) -> u64 {
    let name = form.of();
    let format = name.trim_end_matches("x2");
    if !matches!(format, "f16" | "bf16" | "f32" | "f64")
        || form.one_of(&["add", "min", "max"]).is_none()
    {
        return own;
    }
    let one = |own: u64| {
        if is_nan(format, own) || value(format, own).is_nan() {
            u64::MAX
        } else {
            own
        }
    };
    if name.ends_with("x2") {
        (one(own >> 16 & 0xffff) & 0xffff) << 16 | one(own & 0xffff) & 0xffff
    } else {
        one(own)
    }
}

fn atomic(form: &Form, cell: &mut [u8], [_, b, c, _]: [u64; 4]) -> u64 {
    let bytes = bits(form.of()).unwrap_or(64) as usize / 8;
    let old = read(cell, 0, bytes);
    let mask = u64::MAX >> (64 - 8 * bytes);
    let new = canonical(form, new(form, old, b & mask, c & mask));
    cell[..bytes].copy_from_slice(&new.to_le_bytes()[..bytes]);
    old
}

/// Sums of elements one behind the other; what the last one was.
fn each_element(form: &Form, cell: &mut [u8], values: &[u64]) -> u64 {
    let bytes = bits(form.of()).unwrap_or(64) as usize / 8;
    let mut last = 0;
    for (own, &value) in cell.chunks_mut(bytes).zip(values) {
        last = atomic(form, own, [0, value, 0, 0]);
    }
    last
}

pub const ACCESSES: &[Access] = &[
    Access {
        forms: "ld[.global|.shared|.shared::cta|.local|][.b8|.b16|.b32|.b64|.u8|.u16|.u32|.u64|.s8|.s16|.s32|.s64]",
        operands: "d64, [%at]",
        result: load,
    },
    Access {
        forms: "ld[.global|.shared|.local|][.f32|.f64]",
        operands: "d#, [%at]",
        result: load,
    },
    Access {
        forms: "ld[.global|.shared|.local|].v2[.b8|.u8|.s8|.b16|.u16|.s16|.b32|.u32|.s32|.b64|.u64|.s64]",
        operands: "{e64, d64}, [%at]",
        result: load,
    },
    Access {
        forms: "ld[.global|.shared|.local|].v4[.b8|.u8|.s8|.b16|.u16|.s16|.b32|.u32|.s32]",
        operands: "{a64, b64, e64, d64}, [%at]",
        result: load,
    },
    Access {
        // 256 bits.
        forms: "ld.global.v4[.b64|.u64|.s64]",
        operands: "{a64, b64, e64, d64}, [%at]",
        result: load,
    },
    Access {
        forms: "ld.global.v8[.b32|.u32|.s32]",
        operands: "{a64, b64, e64, c64, a32, b32, e32, d64}, [%at]",
        result: load,
    },
    Access {
        forms: "ld[.volatile|.weak|.relaxed.cta|.relaxed.cluster|.relaxed.gpu|.relaxed.sys|.acquire.cta|.acquire.cluster|.acquire.gpu|.acquire.sys][.global|.shared|][.u32|.s64]",
        operands: "d64, [%at]",
        result: load,
    },
    Access {
        forms: "ld.global[.ca|.cg|.cs|.lu|.cv|.nc|.ca.nc|.nc.L1::no_allocate.L2::128B|.L1::evict_first|.L2::64B|.L2::256B].u32",
        operands: "d64, [%at]",
        result: load,
    },
    Access {
        forms: "ldu.global[.u32|.s16|.u64]",
        operands: "d64, [%at]",
        result: load,
    },
    Access {
        forms: "st[.global|.shared|.shared::cta|.local|][.b8|.b16|.b32|.b64|.u8|.u16|.u32|.u64|.s8|.s16|.s32|.s64]",
        operands: "[%at], a64",
        result: store,
    },
    Access {
        forms: "st[.global|.shared|.local|][.f32|.f64]",
        operands: "[%at], a#",
        result: store,
    },
    Access {
        forms: "st[.global|.shared|.local|].v2[.b8|.u8|.s8|.b16|.u16|.s16|.b32|.u32|.s32|.b64|.u64|.s64]",
        operands: "[%at], {a64, b64}",
        result: store,
    },
    Access {
        forms: "st[.global|.shared|.local|].v4[.b8|.u8|.s8|.b16|.u16|.s16|.b32|.u32|.s32]",
        operands: "[%at], {a64, b64, c64, e64}",
        result: store,
    },
    Access {
        forms: "st.global.v4[.b64|.u64|.s64]",
        operands: "[%at], {a64, b64, c64, e64}",
        result: store,
    },
    Access {
        forms: "st.global.v8[.b32|.u32|.s32]",
        operands: "[%at], {a64, b64, c64, e64, a64, b64, c64, e64}",
        result: store,
    },
    Access {
        forms: "st[.volatile|.weak|.relaxed.cta|.relaxed.cluster|.relaxed.gpu|.relaxed.sys|.release.cta|.release.cluster|.release.gpu|.release.sys][.global|.shared|][.u32|.s64]",
        operands: "[%at], a64",
        result: store,
    },
    Access {
        forms: "st.global[.wb|.cg|.cs|.wt|.L1::no_allocate|.L1::evict_last].u32",
        operands: "[%at], a64",
        result: store,
    },
    Access {
        forms: "atom[.global|.shared|.shared::cta|][.add.u32|.add.s32|.add.u64|.min.u32|.min.s32|.min.u64|.min.s64|.max.u32|.max.s32|.max.u64|.max.s64|.and.b32|.and.b64|.or.b32|.or.b64|.xor.b32|.xor.b64|.inc.u32|.dec.u32|.exch.b32|.exch.b64|.add.f32|.add.f64|.add.noftz.f16|.add.noftz.bf16|.add.noftz.f16x2|.add.noftz.bf16x2]",
        operands: "d#, [%at], b#",
        result: atomic,
    },
    Access {
        forms: "atom[.global|.shared|][.cas.b16|.cas.b32|.cas.b64]",
        operands: "d#, [%at], b#, c#",
        result: atomic,
    },
    Access {
        forms: "atom[.relaxed|.acquire|.release|.acq_rel][.cta|.cluster|.gpu|.sys][.global|.shared|][.add.u32|.exch.b64]",
        operands: "d#, [%at], b#",
        result: atomic,
    },
    Access {
        forms: "atom[.cta|.cluster|.gpu|.sys].global[.add.u32|.max.s64]",
        operands: "d#, [%at], b#",
        result: atomic,
    },
    Access {
        forms: "red[.global|.shared|.shared::cta|][.add.u32|.add.s32|.add.u64|.min.u32|.min.s32|.min.u64|.min.s64|.max.u32|.max.s32|.max.u64|.max.s64|.and.b32|.and.b64|.or.b32|.or.b64|.xor.b32|.xor.b64|.inc.u32|.dec.u32|.add.f32|.add.f64|.add.noftz.f16|.add.noftz.bf16|.add.noftz.f16x2|.add.noftz.bf16x2]",
        operands: "[%at], b#",
        result: |form, cell, values| {
            atomic(form, cell, values);
            0
        },
    },
    Access {
        forms: "red[.relaxed|.release][.cta|.cluster|.gpu|.sys][.global|.shared|][.add.u32|.or.b64]",
        operands: "[%at], b#",
        result: |form, cell, values| {
            atomic(form, cell, values);
            0
        },
    },
    Access {
        // Each element by itself; the last one's old number is the result.
        forms: "atom.global.add.v2[.f32|.noftz.f16|.noftz.bf16|.noftz.f16x2|.noftz.bf16x2]",
        operands: "{_, d#}, [%at], {b#, c#}",
        result: |form, cell, [_, b, c, _]| each_element(form, cell, &[b, c]),
    },
    Access {
        forms: "atom.global.add.v4[.f32|.noftz.f16|.noftz.bf16|.noftz.f16x2|.noftz.bf16x2]",
        operands: "{_, _, _, d#}, [%at], {b#, c#, e#, a#}",
        result: |form, cell, [a, b, c, e]| each_element(form, cell, &[b, c, e, a]),
    },
    Access {
        forms: "atom.global[.min|.max].noftz.v2[.f16|.bf16|.f16x2|.bf16x2]",
        operands: "{_, d#}, [%at], {b#, c#}",
        result: |form, cell, [_, b, c, _]| each_element(form, cell, &[b, c]),
    },
    Access {
        forms: "atom.global[.min|.max].noftz.v4[.f16|.bf16|.f16x2|.bf16x2]",
        operands: "{_, _, _, d#}, [%at], {b#, c#, e#, a#}",
        result: |form, cell, [a, b, c, e]| each_element(form, cell, &[b, c, e, a]),
    },
    Access {
        forms: "red.global[.min|.max].noftz.v8[.f16|.bf16]",
        operands: "[%at], {b#, c#, e#, a#, b#, c#, e#, a#}",
        result: |form, cell, [a, b, c, e]| {
            each_element(form, cell, &[b, c, e, a, b, c, e, a]);
            0
        },
    },
    Access {
        forms: "red[.global|.relaxed.gpu.global].add.v2[.f32|.noftz.f16|.noftz.bf16x2]",
        operands: "[%at], {b#, c#}",
        result: |form, cell, [_, b, c, _]| {
            each_element(form, cell, &[b, c]);
            0
        },
    },
    Access {
        forms: "red.global.add.v8.noftz[.f16|.bf16]",
        operands: "[%at], {b#, c#, e#, a#, b#, c#, e#, a#}",
        result: |form, cell, [a, b, c, e]| {
            each_element(form, cell, &[b, c, e, a, b, c, e, a]);
            0
        },
    },
    Access {
        // Numbers that are written, which have all bits of a register.
        forms: "atom[.global|.shared].cas.b32",
        operands: "d32, [%at], -1, 5",
        result: |form, cell, [a, _, _, e]| atomic(form, cell, [a, 0xffff_ffff, 5, e]),
    },
    Access {
        forms: "atom[.global|.shared][.min.s32|.add.s32|.exch.b32|.and.b32]",
        operands: "d32, [%at], -2",
        result: |form, cell, [a, _, c, e]| atomic(form, cell, [a, 0xffff_fffe, c, e]),
    },
];
