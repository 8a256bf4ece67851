//! Integers (PTX ISA 9.7.1, 9.7.2) and their bits (9.7.8).

use super::row::{Form, Row, bits, integer, low, range};

/// The low bits of a function of two integers of the form's type.
fn two(form: &Form, [a, b, ..]: [u64; 4], of: impl Fn(i128, i128) -> i128) -> Option<u64> {
    let name = form.of();
    let result = of(integer(name, a), integer(name, b));
    let (least, largest) = range(name);
    let result = if form.has("sat") {
        result.clamp(least, largest)
    } else {
        result
    };
    Some(low(result, bits(name)?))
}

/// The half of a product of integers of the form's type that it asks for, and the bits of the result.
fn product(form: &Form, a: u64, b: u64) -> Option<(i128, u32)> {
    let name = form.of();
    let width = bits(name)?;
    // Of the largest unsigned numbers the product has all 128 bits, and is shifted without a sign.
    let whole = integer(name, a).wrapping_mul(integer(name, b));
    let high = if name == "u64" {
        (whole as u128 >> 64) as i128
    } else {
        whole >> width
    };
    Some(match form.one_of(&["lo", "hi", "wide"])? {
        "lo" => (whole, width),
        "hi" => (high, width),
        _ => (whole, 2 * width),
    })
}

/// The product of the low 24 bits, and bits 16 to 47 of it.
fn product_24(form: &Form, a: u64, b: u64) -> i128 {
    let is_signed = form.of() == "s32";
    let own = |value: u64| {
        let value = i128::from(value & 0xff_ffff);
        value
            - if is_signed && value >> 23 == 1 {
                1 << 24
            } else {
                0
            }
    };
    let whole = own(a) * own(b);
    if form.has("hi") { whole >> 16 } else { whole }
}

/// Both halves of a register.
fn halves(name: &str, value: u64) -> [i128; 2] {
    let half = name.trim_end_matches("x2");
    [0, 16].map(|place| integer(half, value >> place & 0xffff))
}

fn of_halves(form: &Form, [a, b, ..]: [u64; 4], of: impl Fn(i128, i128) -> i128) -> Option<u64> {
    let ([x, y], [u, v]) = (halves(form.of(), a), halves(form.of(), b));
    Some(low(of(x, u), 16) | low(of(y, v), 16) << 16)
}

fn smaller_or_larger(form: &Form, x: i128, y: i128) -> i128 {
    let picked = if form.words[0] == "min" {
        x.min(y)
    } else {
        x.max(y)
    };
    if form.has("relu") {
        picked.max(0)
    } else {
        picked
    }
}

/// Bits of a value as booleans, the lowest first.
fn each_bit(value: u64, width: u32) -> Vec<bool> {
    (0..width).map(|place| value >> place & 1 == 1).collect()
}

fn of_bits(all: &[bool]) -> u64 {
    (0..)
        .zip(all)
        .map(|(place, &bit)| u64::from(bit) << place)
        .sum()
}

/// The eight bytes that `prmt` chooses from.
fn bytes(a: u64, b: u64) -> [u8; 8] {
    ((b & 0xffff_ffff) << 32 | (a & 0xffff_ffff)).to_le_bytes()
}

/// Bytes by the numbers that a table of the ISA has for each of four selectors, of the highest byte first.
fn chosen(a: u64, b: u64, selector: u64, table: [[usize; 4]; 4]) -> Option<u64> {
    let own = table[(selector & 3) as usize].map(|number| u64::from(bytes(a, b)[number]));
    Some(own[0] << 24 | own[1] << 16 | own[2] << 8 | own[3])
}

pub const ROWS: &[Row] = &[
    Row {
        forms: "add[.u16|.u32|.u64|.s16|.s32|.s64|.sat.s32]",
        operands: "d#, a#, b#",
        result: |form, values| two(form, values, |a, b| a + b),
    },
    Row {
        // The sum itself; the carry is looked at elsewhere.
        forms: "[add|sub].cc[.u32|.u64|.s32|.s64]",
        operands: "d#, a#, b#",
        result: |form, values| {
            let adds = form.words[0] == "add";
            two(form, values, |a, b| if adds { a + b } else { a - b })
        },
    },
    Row {
        forms: "mad[.lo|.hi].cc[.u32|.u64|.s32|.s64]",
        operands: "d#, a#, b#, c#",
        result: |form, [a, b, c, _]| {
            let (product, width) = product(form, a, b)?;
            Some(low(product.wrapping_add(integer(form.of(), c)), width))
        },
    },
    Row {
        forms: "sub[.u16|.u32|.u64|.s16|.s32|.s64|.sat.s32]",
        operands: "d#, a#, b#",
        result: |form, values| two(form, values, |a, b| a - b),
    },
    Row {
        forms: "add[.u16x2|.s16x2]",
        operands: "d#, a#, b#",
        result: |form, values| of_halves(form, values, |a, b| a + b),
    },
    Row {
        forms: "mul[.lo|.hi][.u16|.u32|.u64|.s16|.s32|.s64]",
        operands: "d#, a#, b#",
        result: |form, [a, b, ..]| {
            let (product, width) = product(form, a, b)?;
            Some(low(product, width))
        },
    },
    Row {
        forms: "mul.wide[.u16|.s16]",
        operands: "d32, a16, b16",
        result: |form, [a, b, ..]| Some(low(product(form, a, b)?.0, 32)),
    },
    Row {
        forms: "mul.wide[.u32|.s32]",
        operands: "d64, a32, b32",
        result: |form, [a, b, ..]| Some(low(product(form, a, b)?.0, 64)),
    },
    Row {
        forms: "mad[.lo|.hi][.u16|.u32|.u64|.s16|.s32|.s64]",
        operands: "d#, a#, b#, c#",
        result: |form, [a, b, c, _]| {
            let (product, width) = product(form, a, b)?;
            Some(low(product.wrapping_add(integer(form.of(), c)), width))
        },
    },
    Row {
        forms: "mad.hi.sat.s32",
        operands: "d#, a#, b#, c#",
        result: |form, [a, b, c, _]| {
            let sum = product(form, a, b)?.0 + integer("s32", c);
            Some(low(sum.clamp(i32::MIN.into(), i32::MAX.into()), 32))
        },
    },
    Row {
        forms: "mad.wide[.u16|.s16]",
        operands: "d32, a16, b16, c32",
        result: |form, [a, b, c, _]| Some(low(product(form, a, b)?.0 + i128::from(c), 32)),
    },
    Row {
        forms: "mad.wide[.u32|.s32]",
        operands: "d64, a32, b32, c64",
        result: |form, [a, b, c, _]| Some(low(product(form, a, b)?.0 + i128::from(c), 64)),
    },
    Row {
        forms: "mul24[.lo|.hi][.u32|.s32]",
        operands: "d32, a32, b32",
        result: |form, [a, b, ..]| Some(low(product_24(form, a, b), 32)),
    },
    Row {
        forms: "mad24[.lo|.hi][.u32|.s32]",
        operands: "d32, a32, b32, c32",
        result: |form, [a, b, c, _]| Some(low(product_24(form, a, b) + i128::from(c), 32)),
    },
    Row {
        forms: "mad24.hi.sat.s32",
        operands: "d32, a32, b32, c32",
        result: |form, [a, b, c, _]| {
            let sum = product_24(form, a, b) + integer("s32", c);
            Some(low(sum.clamp(i32::MIN.into(), i32::MAX.into()), 32))
        },
    },
    Row {
        forms: "sad[.u16|.u32|.u64|.s16|.s32|.s64]",
        operands: "d#, a#, b#, c#",
        result: |form, [a, b, c, _]| {
            let name = form.of();
            let distance = (integer(name, a) - integer(name, b)).abs();
            Some(low(distance + i128::from(c), bits(name)?))
        },
    },
    Row {
        // By zero the ISA leaves it open; so is what the least number is divided by -1.
        forms: "div[.u16|.u32|.u64|.s16|.s32|.s64]",
        operands: "d#, a#, b#",
        result: |form, values| {
            let divisor = integer(form.of(), values[1]);
            (divisor != 0).then(|| two(form, values, |a, b| a / b))?
        },
    },
    Row {
        forms: "rem[.u16|.u32|.u64|.s16|.s32|.s64]",
        operands: "d#, a#, b#",
        result: |form, values| {
            let divisor = integer(form.of(), values[1]);
            (divisor != 0).then(|| two(form, values, |a, b| a % b))?
        },
    },
    Row {
        forms: "abs[.s16|.s32|.s64]",
        operands: "d#, a#",
        result: |form, values| two(form, values, |a, _| a.abs()),
    },
    Row {
        forms: "neg[.s16|.s32|.s64]",
        operands: "d#, a#",
        result: |form, values| two(form, values, |a, _| -a),
    },
    Row {
        forms: "[min|max][.u16|.u32|.u64|.s16|.s32|.s64|.relu.s32]",
        operands: "d#, a#, b#",
        result: |form, values| two(form, values, |a, b| smaller_or_larger(form, a, b)),
    },
    Row {
        forms: "[min|max][.u16x2|.s16x2|.relu.s16x2]",
        operands: "d#, a#, b#",
        result: |form, values| of_halves(form, values, |a, b| smaller_or_larger(form, a, b)),
    },
    Row {
        forms: "dp4a[.u32|.s32][.u32|.s32]",
        operands: "d32, a32, b32, c32",
        result: |form, [a, b, c, _]| {
            let byte = |name: &str, value: u64, i: u32| {
                integer(&name.replace("32", "8"), value >> (8 * i) & 0xff)
            };
            let products = (0..4).map(|i| byte(form.to(), a, i) * byte(form.of(), b, i));
            Some(low(products.sum::<i128>() + i128::from(c), 32))
        },
    },
    Row {
        forms: "dp2a[.lo|.hi][.u32|.s32][.u32|.s32]",
        operands: "d32, a32, b32, c32",
        result: |form, [a, b, c, _]| {
            let first = if form.has("hi") { 2 } else { 0 };
            let half = |i: u32| integer(&form.to().replace("32", "16"), a >> (16 * i) & 0xffff);
            let byte =
                |i: u32| integer(&form.of().replace("32", "8"), b >> (8 * (first + i)) & 0xff);
            let products = (0..2).map(|i| half(i) * byte(i));
            Some(low(products.sum::<i128>() + i128::from(c), 32))
        },
    },
    Row {
        forms: "popc[.b32|.b64]",
        operands: "d32, a#",
        result: |form, [a, ..]| {
            let ones = each_bit(a, bits(form.of())?).into_iter().filter(|&bit| bit);
            Some(ones.count() as u64)
        },
    },
    Row {
        forms: "clz[.b32|.b64]",
        operands: "d32, a#",
        result: |form, [a, ..]| {
            let all = each_bit(a, bits(form.of())?);
            Some(all.iter().rev().take_while(|&&bit| !bit).count() as u64)
        },
    },
    Row {
        forms: "bfind[.shiftamt|][.u32|.u64|.s32|.s64]",
        operands: "d32, a#",
        result: |form, [a, ..]| {
            let width = bits(form.of())?;
            let all = each_bit(a, width);
            let sign = form.of().starts_with('s') && all[width as usize - 1];
            let Some(place) = (0..width).rev().find(|&i| all[i as usize] != sign) else {
                return Some(0xffff_ffff);
            };
            Some(u64::from(if form.has("shiftamt") {
                width - 1 - place
            } else {
                place
            }))
        },
    },
    Row {
        forms: "brev[.b32|.b64]",
        operands: "d#, a#",
        result: |form, [a, ..]| {
            let mut all = each_bit(a, bits(form.of())?);
            all.reverse();
            Some(of_bits(&all))
        },
    },
    Row {
        // The ISA's own loop over bits.
        forms: "bfe[.u32|.u64|.s32|.s64]",
        operands: "d#, a#, b32, c32",
        result: |form, [a, b, c, _]| {
            let width = bits(form.of())?;
            let (from, length) = (b as u32 & 0xff, c as u32 & 0xff);
            let all = each_bit(a, width);
            let sign = form.of().starts_with('s')
                && length != 0
                && all[(from + length - 1).min(width - 1) as usize];
            let bit = |i: u32| {
                if i < length && from + i < width {
                    all[(from + i) as usize]
                } else {
                    sign
                }
            };
            Some(of_bits(&(0..width).map(bit).collect::<Vec<_>>()))
        },
    },
    Row {
        forms: "bfi[.b32|.b64]",
        operands: "d#, a#, b#, c32, e32",
        result: |form, [a, b, c, e]| {
            let width = bits(form.of())?;
            let (from, length) = (c as u32 & 0xff, e as u32 & 0xff);
            let (own, mut all) = (each_bit(a, width), each_bit(b, width));
            for i in 0..length.min(width) {
                if let Some(bit) = all.get_mut((from + i) as usize) {
                    *bit = own[i as usize];
                }
            }
            Some(of_bits(&all))
        },
    },
    Row {
        forms: "szext[.clamp|.wrap][.u32|.s32]",
        operands: "d32, a32, b32",
        result: |form, [a, b, ..]| {
            let length = if form.has("clamp") { b.min(32) } else { b % 32 } as u32;
            if length == 0 {
                return Some(0);
            }
            let kept = low(a.into(), length);
            let is_negative = form.of() == "s32" && kept >> (length - 1) == 1;
            let above = if is_negative { 1i128 << length } else { 0 };
            Some(low(i128::from(kept) - above, 32))
        },
    },
    Row {
        forms: "bmsk[.clamp|.wrap].b32",
        operands: "d32, a32, b32",
        result: |form, [a, b, ..]| {
            let own = |value: u64| {
                if form.has("clamp") {
                    value.min(32)
                } else {
                    value % 32
                }
            };
            let (from, end) = (own(a), own(a) + own(b));
            Some((from..end.min(32)).map(|place| 1 << place).sum())
        },
    },
    Row {
        // The ISA's own loop.
        forms: "fns.b32",
        operands: "d32, a32, b32, c32",
        result: |_, [mask, base, offset, _]| {
            // A base beyond the mask is what the ISA does not speak of.
            if base > 31 {
                return None;
            }
            let offset = offset as u32 as i32;
            let is_set = |place: i64| mask >> place & 1 == 1;
            if offset == 0 {
                return Some(if is_set(base as i64) {
                    base
                } else {
                    0xffff_ffff
                });
            }
            let (mut place, mut count) = (base as i64, offset.unsigned_abs());
            while (0..32).contains(&place) {
                if is_set(place) {
                    count -= 1;
                    if count == 0 {
                        return Some(place as u64);
                    }
                }
                place += if offset > 0 { 1 } else { -1 };
            }
            Some(0xffff_ffff)
        },
    },
    Row {
        forms: "and[.pred|.b16|.b32|.b64]",
        operands: "d#, a#, b#",
        result: |form, [a, b, ..]| Some(low((a & b).into(), bits(form.of())?)),
    },
    Row {
        forms: "or[.pred|.b16|.b32|.b64]",
        operands: "d#, a#, b#",
        result: |form, [a, b, ..]| Some(low((a | b).into(), bits(form.of())?)),
    },
    Row {
        forms: "xor[.pred|.b16|.b32|.b64]",
        operands: "d#, a#, b#",
        result: |form, [a, b, ..]| Some(low((a ^ b).into(), bits(form.of())?)),
    },
    Row {
        forms: "not[.pred|.b16|.b32|.b64]",
        operands: "d#, a#",
        result: |form, [a, ..]| Some(low((!a).into(), bits(form.of())?)),
    },
    Row {
        forms: "cnot[.b16|.b32|.b64]",
        operands: "d#, a#",
        result: |form, [a, ..]| Some(u64::from(low(a.into(), bits(form.of())?) == 0)),
    },
    Row {
        forms: "shl[.b16|.b32|.b64]",
        operands: "d#, a#, b32",
        result: |form, [a, b, ..]| {
            let width = bits(form.of())?;
            let by = b.min(width.into());
            Some(low(i128::from(a) << by, width))
        },
    },
    Row {
        forms: "shr[.b16|.b32|.b64|.u16|.u32|.u64|.s16|.s32|.s64]",
        operands: "d#, a#, b32",
        result: |form, [a, b, ..]| {
            let width = bits(form.of())?;
            Some(low(integer(form.of(), a) >> b.min(width.into()), width))
        },
    },
    Row {
        forms: "shf[.l|.r][.clamp|.wrap].b32",
        operands: "d32, a32, b32, c32",
        result: |form, [a, b, c, _]| {
            let by = if form.has("clamp") { c.min(32) } else { c % 32 };
            let both = u128::from(b) << 32 | u128::from(a);
            let moved = if form.has("l") {
                both << by >> 32
            } else {
                both >> by
            };
            Some(moved as u64 & 0xffff_ffff)
        },
    },
    Row {
        forms: "prmt.b32",
        operands: "d32, a32, b32, c32",
        result: |_, [a, b, c, _]| {
            let byte = |place: u32| {
                let choice = c >> (4 * place) & 15;
                let byte = bytes(a, b)[(choice % 8) as usize];
                let byte = if choice < 8 {
                    byte
                } else {
                    ((byte as i8) >> 7) as u8
                };
                u64::from(byte) << (8 * place)
            };
            Some((0..4).map(byte).sum())
        },
    },
    Row {
        forms: "prmt.b32.f4e",
        operands: "d32, a32, b32, c32",
        result: |_, [a, b, c, _]| {
            chosen(
                a,
                b,
                c,
                [[3, 2, 1, 0], [4, 3, 2, 1], [5, 4, 3, 2], [6, 5, 4, 3]],
            )
        },
    },
    Row {
        forms: "prmt.b32.b4e",
        operands: "d32, a32, b32, c32",
        result: |_, [a, b, c, _]| {
            chosen(
                a,
                b,
                c,
                [[5, 6, 7, 0], [6, 7, 0, 1], [7, 0, 1, 2], [0, 1, 2, 3]],
            )
        },
    },
    Row {
        forms: "prmt.b32.rc8",
        operands: "d32, a32, b32, c32",
        result: |_, [a, b, c, _]| chosen(a, b, c, [[0; 4], [1; 4], [2; 4], [3; 4]]),
    },
    Row {
        forms: "prmt.b32.ecl",
        operands: "d32, a32, b32, c32",
        result: |_, [a, b, c, _]| {
            chosen(
                a,
                b,
                c,
                [[3, 2, 1, 0], [3, 2, 1, 1], [3, 2, 2, 2], [3, 3, 3, 3]],
            )
        },
    },
    Row {
        forms: "prmt.b32.ecr",
        operands: "d32, a32, b32, c32",
        result: |_, [a, b, c, _]| {
            chosen(
                a,
                b,
                c,
                [[0, 0, 0, 0], [1, 1, 1, 0], [2, 2, 1, 0], [3, 2, 1, 0]],
            )
        },
    },
    Row {
        forms: "prmt.b32.rc16",
        operands: "d32, a32, b32, c32",
        result: |_, [a, b, c, _]| {
            chosen(
                a,
                b,
                c,
                [[1, 0, 1, 0], [3, 2, 3, 2], [1, 0, 1, 0], [3, 2, 3, 2]],
            )
        },
    },
    Row {
        // Whether the result has a bit, joined with a predicate.
        forms: "lop3[.or|.and].b32",
        operands: "_|d1, a32, b32, c32, 0x80, e1",
        result: |form, [a, b, c, e]| {
            let (is_some, with) = (a & b & c != 0, e & 1 == 1);
            Some(u64::from(match form.has("and") {
                true => is_some && with,
                false => is_some || with,
            }))
        },
    },
    Row {
        forms: "lop3[.or|.and].b32",
        operands: "d32|e1, a32, b32, c32, 0xfe, !e1",
        result: |_, [a, b, c, _]| Some(a | b | c),
    },
    Row {
        // A table with no symmetry.
        forms: "lop3.b32",
        operands: "d32, a32, b32, c32, 0x4d",
        result: |_, [a, b, c, _]| {
            let bit = |place: u32| {
                let entry = (a >> place & 1) << 2 | (b >> place & 1) << 1 | (c >> place & 1);
                (0x4d >> entry & 1) << place
            };
            Some((0..32).map(bit).sum())
        },
    },
];
