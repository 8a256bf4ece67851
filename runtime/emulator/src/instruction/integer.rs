//! Integer arithmetic (PTX ISA 9.7.1, 9.7.2), and the opcodes that it shares with floating point.

use super::number::Number;
use super::number::on_both;
use super::words::Words;
use super::{Action, Compute, Refusal, float};
use crate::arithmetic::Float;
use crate::arithmetic::integer::Integer;

/// Opcodes whose type says whether they are of integers.
pub(super) fn or_float(words: &mut Words<'_>) -> Result<Action, Refusal> {
    let wide = matches!(words.opcode(), "mul" | "mad") && words.has("wide");
    match words.number()? {
        Number::Integer(integer) => decode(words, integer, wide),
        Number::TwoIntegers(integer) => two(words, integer),
        Number::Float(Float::F32) if matches!(words.opcode(), "add" | "sub" | "fma") => {
            let narrow = words.choice(|word| match word {
                "f16" => Some(Float::F16),
                "bf16" => Some(Float::Bf16),
                _ => None,
            });
            match narrow {
                Some(narrow) => float::mixed(words, narrow),
                None => float::arithmetic(words, Float::F32, false),
            }
        }
        Number::Float(format) if !wide => float::arithmetic(words, format, false),
        Number::Two(format) if !wide => float::arithmetic(words, format, true),
        _ => Err(words.refuse("has no type that is modelled")),
    }
}

/// What half of a product is the result.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Low,
    High,
    Wide,
}

impl Half {
    fn of(self, integer: Integer, product: i128) -> i128 {
        if self == Self::High {
            product >> integer.bits
        } else {
            product
        }
    }
}

fn decode(words: &mut Words<'_>, integer: Integer, wide: bool) -> Result<Action, Refusal> {
    let opcode = words.opcode();
    let is_product = matches!(opcode, "mul" | "mad" | "mul24" | "mad24" | "madc" | "dp2a");
    let half = if wide {
        Half::Wide
    } else if is_product {
        words.needed("half of the product", |word| match word {
            "lo" => Some(Half::Low),
            "hi" => Some(Half::High),
            _ => None,
        })?
    } else {
        Half::Low
    };
    let is_s32 = integer.signed && integer.bits == 32;
    let can_saturate = match opcode {
        "add" | "sub" => true,
        "mad" | "mad24" => half == Half::High,
        _ => false,
    };
    let saturates = is_s32 && can_saturate && words.has("sat");
    let can_carry = matches!(opcode, "add" | "sub" | "mad" | "addc" | "subc" | "madc")
        && half != Half::Wide
        && !saturates
        && integer.bits >= 32;
    let carries_out = can_carry && words.has("cc");
    let value = move |bits| integer.value(bits);
    // What is wrapped is so mod 2^64 too, where lanes are computed side by side.
    let mask = integer.mask();
    let fit = move |result| {
        if saturates {
            integer.saturate(result)
        } else {
            integer.wrap(result)
        }
    };
    if wide && !matches!(integer.bits, 16 | 32) {
        return Err(words.refuse("has no type of twice the bits"));
    }
    if carries_out || matches!(opcode, "addc" | "subc" | "madc") {
        return carry(words, integer, half, carries_out);
    }
    // The result's type: of a wide product it has twice the bits.
    let result = if wide { integer.wider() } else { integer };
    match opcode {
        "add" if !saturates => words.compute(move |[a, b]| a.wrapping_add(b) & mask),
        "sub" if !saturates => words.compute(move |[a, b]| a.wrapping_sub(b) & mask),
        "mul" if half == Half::Low => words.compute(move |[a, b]| a.wrapping_mul(b) & mask),
        "mul" if wide => {
            words.compute(move |[a, b]| integer.low(a).wrapping_mul(integer.low(b)) & result.mask())
        }
        "mad" if half == Half::Low => {
            words.compute(move |[a, b, c]| a.wrapping_mul(b).wrapping_add(c) & mask)
        }
        "mad" if wide => words.compute(move |[a, b, c]| {
            let product = integer.low(a).wrapping_mul(integer.low(b));
            product.wrapping_add(c) & result.mask()
        }),
        "add" => words.compute(move |[a, b]| fit(value(a) + value(b))),
        "sub" => words.compute(move |[a, b]| fit(value(a) - value(b))),
        "mul" => words
            .compute(move |[a, b]| result.wrap(half.of(integer, value(a).wrapping_mul(value(b))))),
        "mad" => words.compute(move |[a, b, c]| {
            let sum = half
                .of(integer, value(a).wrapping_mul(value(b)))
                .wrapping_add(result.value(c));
            if saturates {
                result.saturate(sum)
            } else {
                result.wrap(sum)
            }
        }),
        "mul24" => words.compute(move |[a, b]| integer.wrap(product_24(integer, half, a, b))),
        "mad24" => {
            words.compute(move |[a, b, c]| fit(product_24(integer, half, a, b) + integer.value(c)))
        }
        "sad" => {
            words.compute(move |[a, b, c]| integer.wrap((value(a) - value(b)).abs() + value(c)))
        }
        "div" => words.compute(move |[a, b]| integer.divide(a, b)),
        "rem" => words.compute(move |[a, b]| integer.remainder(a, b)),
        "abs" => words.compute(move |[a]| integer.wrap(value(a).abs())),
        "neg" => words.compute(move |[a]| integer.wrap(-value(a))),
        "min" | "max" => {
            let relu = is_s32 && words.has("relu");
            let smaller = opcode == "min";
            words.compute(move |[a, b]| {
                let picked = if smaller {
                    value(a).min(value(b))
                } else {
                    value(a).max(value(b))
                };
                integer.wrap(if relu { picked.max(0) } else { picked })
            })
        }
        "dp4a" | "dp2a" => dot(words, integer, half == Half::High),
        _ => Err(words.refuse("is not of integers")),
    }
}

/// The product of the low 24 bits: its low or its high 32 of 48 bits.
fn product_24(integer: Integer, half: Half, a: u64, b: u64) -> i128 {
    let low_24 = |bits: u64| {
        let unused = 40;
        if integer.signed {
            i128::from(((bits << unused) as i64) >> unused)
        } else {
            i128::from(bits & 0xff_ffff)
        }
    };
    let product = low_24(a) * low_24(b);
    if half == Half::High {
        product >> 16
    } else {
        product
    }
}

/// Sums with a carry from and to the condition code. The code is the function's register of that name.
fn carry(
    words: &mut Words<'_>,
    integer: Integer,
    half: Half,
    carries_out: bool,
) -> Result<Action, Refusal> {
    let opcode = words.opcode();
    let carries_in = matches!(opcode, "addc" | "subc" | "madc");
    let is_product = matches!(opcode, "mad" | "madc");
    let subtracts = matches!(opcode, "sub" | "subc");
    let arguments = if is_product { 3 } else { 2 };
    words.counted(&[arguments + 1])?;
    let mut sources = (1..=arguments)
        .map(|place| words.source(place))
        .collect::<Result<Vec<_>, _>>()?;
    let code = words.scope.condition_code();
    if carries_in {
        sources.push(super::Source::Register(code));
    }
    let unsigned = Integer {
        signed: false,
        ..integer
    };
    let function = move |values: &[u64; 4]| {
        let [a, b] = if is_product {
            let product = half.of(
                integer,
                integer
                    .value(values[0])
                    .wrapping_mul(integer.value(values[1])),
            );
            [integer.wrap(product), values[2]]
        } else {
            [values[0], values[1]]
        };
        let carry = if carries_in {
            i128::from(values[arguments])
        } else {
            0
        };
        // The code of a difference is its borrow.
        let sum = if subtracts {
            unsigned.value(a) - unsigned.value(b) - carry
        } else {
            unsigned.value(a) + unsigned.value(b) + carry
        };
        [unsigned.wrap(sum), (sum >> integer.bits & 1) as u64, 0, 0]
    };
    Ok(Action::Compute(Compute {
        parts: 0,
        function: super::of_each_lane(function),
        sources,
        destinations: vec![words.destination(0)?, carries_out.then_some(code)],
    }))
}

/// `dp4a.a.b`, `dp2a.half.a.b`: sums of products of bytes, and of halves and bytes.
fn dot(words: &mut Words<'_>, first: Integer, high: bool) -> Result<Action, Refusal> {
    let Number::Integer(second) = words.number()? else {
        return Err(words.refuse("needs two integer types"));
    };
    let signed = first.signed || second.signed;
    let result = Integer { bits: 32, signed };
    let four = words.opcode() == "dp4a";
    let part = move |bits: u64, index: u32, width: u32, signed: bool| {
        Integer {
            bits: width,
            signed,
        }
        .value(bits >> (index * width))
    };
    words.compute(move |[a, b, c]| {
        let sum: i128 = if four {
            (0..4)
                .map(|i| part(a, i, 8, first.signed) * part(b, i, 8, second.signed))
                .sum()
        } else {
            let from = if high { 2 } else { 0 };
            (0..2)
                .map(|i| part(a, i, 16, first.signed) * part(b, from + i, 8, second.signed))
                .sum()
        };
        result.wrap(sum + result.value(c))
    })
}

/// Two integers of 16 bits at once.
fn two(words: &mut Words<'_>, integer: Integer) -> Result<Action, Refusal> {
    let value = move |bits| integer.value(bits);
    let can_relu = integer.signed && matches!(words.opcode(), "min" | "max");
    let relu = can_relu && words.has("relu");
    let fit = move |result: i128| integer.wrap(if relu { result.max(0) } else { result });
    match words.opcode() {
        "add" => words.compute(on_both(16, move |[a, b]| fit(value(a) + value(b)))),
        "min" => words.compute(on_both(16, move |[a, b]| fit(value(a).min(value(b))))),
        "max" => words.compute(on_both(16, move |[a, b]| fit(value(a).max(value(b))))),
        _ => Err(words.refuse("is not modelled for two integers of 16 bits")),
    }
}
