//! Logic, shifts and single bits (PTX ISA 9.7.1.19 to 9.7.1.27, 9.7.8).

use super::number::Number;
use super::words::Words;
use super::{Action, Refusal};
use crate::arithmetic::integer::{self, Integer, Permutation};

pub(super) fn decode(words: &mut Words<'_>) -> Result<Action, Refusal> {
    let opcode = words.opcode();
    if opcode == "lop3" {
        return lop3(words);
    }
    if opcode == "fns" {
        words.has("b32");
        return words.compute(|[mask, base, offset]| {
            find_nth_set(mask as u32, base as u32, offset as u32 as i32)
        });
    }
    if opcode == "szext" || opcode == "bmsk" {
        return mask(words);
    }
    let number = words.number()?;
    let bits = match number {
        Number::Integer(integer) => integer,
        Number::Predicate => Integer {
            bits: 1,
            signed: false,
        },
        _ => return Err(words.refuse("is of bits")),
    };
    let all = if bits.bits == 1 { 1 } else { bits.mask() };
    match opcode {
        "and" => words.compute(move |[a, b]| a & b & all),
        "or" => words.compute(move |[a, b]| (a | b) & all),
        "xor" => words.compute(move |[a, b]| (a ^ b) & all),
        "not" => words.compute(move |[a]| !a & all),
        _ if number == Number::Predicate => Err(words.refuse("is not of predicates")),
        "cnot" => words.compute(move |[a]| u64::from(a & all == 0)),
        "shl" => words.compute(move |[a, by]| bits.shift_left(a, by as u32)),
        "shr" => words.compute(move |[a, by]| bits.shift_right(a, by as u32)),
        "shf" => {
            let left = words.needed("direction", |word| match word {
                "l" => Some(true),
                "r" => Some(false),
                _ => None,
            })?;
            let clamp = words.needed("mode", |word| match word {
                "clamp" => Some(true),
                "wrap" => Some(false),
                _ => None,
            })?;
            words.compute(move |[a, b, by]| integer::funnel_shift(a, b, by, left, clamp))
        }
        "prmt" => {
            let how = words.choice(|word| {
                Some(match word {
                    "f4e" => Permutation::F4e,
                    "b4e" => Permutation::B4e,
                    "rc8" => Permutation::Rc8,
                    "ecl" => Permutation::Ecl,
                    "ecr" => Permutation::Ecr,
                    "rc16" => Permutation::Rc16,
                    _ => return None,
                })
            });
            let how = how.unwrap_or(Permutation::Index);
            let permuted =
                words.compute(move |[a, b, selector]| integer::permute(a, b, selector, how))?;
            Ok(match permuted {
                Action::Compute(compute) => Action::Compute(super::Compute {
                    parts: 2,
                    ..compute
                }),
                other => other,
            })
        }
        "popc" => words.compute(move |[a]| u64::from((a & all).count_ones())),
        "clz" => words.compute(move |[a]| u64::from((a & all).leading_zeros() - (64 - bits.bits))),
        "brev" => words.compute(move |[a]| (a & all).reverse_bits() >> (64 - bits.bits)),
        "bfind" => {
            let shift = words.has("shiftamt");
            words.compute(move |[a]| bits.highest_bit(a, shift))
        }
        "bfe" => {
            words.compute(move |[a, from, length]| bits.extract(a, from as u32, length as u32))
        }
        "bfi" => {
            words.compute(move |[a, b, from, length]| bits.insert(a, b, from as u32, length as u32))
        }
        _ => Err(words.refuse("is not modelled")),
    }
}

/// The table is written, so it is part of the function.
fn lop3(words: &mut Words<'_>) -> Result<Action, Refusal> {
    words.has("b32");
    let joins = words.choice(|word| match word {
        "or" => Some(false),
        "and" => Some(true),
        _ => None,
    });
    words.counted(&[if joins.is_some() { 6 } else { 5 }])?;
    let table = words.immediate(4)? as u8;
    if let Some(is_and) = joins {
        let destinations = words.destinations(0)?;
        if destinations.len() != 2 {
            return Err(words.refuse("has a result and a predicate"));
        }
        let sources = [1, 2, 3, 5].map(|place| words.source(place));
        return Ok(Action::Compute(super::Compute {
            parts: 0,
            function: super::of_each_lane(move |&[a, b, c, with]| {
                let result = integer::logic(a, b, c, table);
                let (is_some, with) = (result & 0xffff_ffff != 0, with & 1 == 1);
                let joined = if is_and {
                    is_some & with
                } else {
                    is_some | with
                };
                [result, u64::from(joined), 0, 0]
            }),
            sources: sources.into_iter().collect::<Result<_, _>>()?,
            destinations,
        }));
    }
    let sources = (1..=3)
        .map(|place| words.source(place))
        .collect::<Result<_, _>>()?;
    Ok(Action::Compute(super::Compute {
        parts: 0,
        function: super::of_each_lane(move |&[a, b, c, _]| {
            [integer::logic(a, b, c, table), 0, 0, 0]
        }),
        sources,
        destinations: vec![words.destination(0)?],
    }))
}

/// `fns`: the place of the n-th bit that is set from a place on, downwards for a negative n.
fn find_nth_set(mask: u32, base: u32, offset: i32) -> u64 {
    const NONE: u64 = 0xffff_ffff;
    if offset == 0 {
        return if base < 32 && mask >> base & 1 == 1 {
            u64::from(base)
        } else {
            NONE
        };
    }
    let step = offset.signum();
    let mut left = offset.unsigned_abs();
    let mut place = base as i32;
    while (0..32).contains(&place) {
        left -= u32::from(mask >> place & 1 == 1);
        if left == 0 {
            return place as u64;
        }
        place += step;
    }
    NONE
}

/// `bmsk`: so many bits from a place. `szext`: the low bits of a value, extended.
fn mask(words: &mut Words<'_>) -> Result<Action, Refusal> {
    let clamp = words.needed("mode", |word| match word {
        "clamp" => Some(true),
        "wrap" => Some(false),
        _ => None,
    })?;
    let Number::Integer(result) = words.number()? else {
        return Err(words.refuse("is of integers"));
    };
    let count = move |value: u64| {
        let value = value & 0xffff_ffff;
        if clamp { value.min(32) } else { value & 31 }
    };
    let ones = |count: u64| (1u64 << count) - 1;
    if words.opcode() == "bmsk" {
        return words
            .compute(move |[from, length]| (ones(count(length)) << count(from)) & 0xffff_ffff);
    }
    words.compute(move |[a, length]| {
        let length = count(length);
        if length == 0 {
            return 0;
        }
        result.wrap(
            Integer {
                bits: length as u32,
                signed: result.signed,
            }
            .value(a),
        )
    })
}
