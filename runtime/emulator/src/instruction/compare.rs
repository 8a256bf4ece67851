//! Comparison and selection (PTX ISA 9.7.6, 9.7.7).

use super::number::{Number, in_format};
use super::words::Words;
use super::{Action, Compute, Refusal, Source};
use crate::arithmetic::Float;
use crate::arithmetic::integer::Integer;
use std::cmp::Ordering;

/// What is asked of two numbers: the orders that it holds for, and whether it does where one is NaN.
#[derive(Clone, Copy)]
pub(super) struct Comparison {
    less: bool,
    equal: bool,
    greater: bool,
    unordered: bool,
    /// `.lo` and its like: as unsigned integers, whatever the type.
    unsigned: bool,
}

impl Comparison {
    fn from_name(name: &str) -> Option<Self> {
        let of = |less, equal, greater, unordered| Self {
            less,
            equal,
            greater,
            unordered,
            unsigned: false,
        };
        let unsigned = |comparison: Self| Self {
            unsigned: true,
            ..comparison
        };
        Some(match name {
            "eq" => of(false, true, false, false),
            "ne" => of(true, false, true, false),
            "lt" => of(true, false, false, false),
            "le" => of(true, true, false, false),
            "gt" => of(false, false, true, false),
            "ge" => of(false, true, true, false),
            "equ" => of(false, true, false, true),
            "neu" => of(true, false, true, true),
            "ltu" => of(true, false, false, true),
            "leu" => of(true, true, false, true),
            "gtu" => of(false, false, true, true),
            "geu" => of(false, true, true, true),
            "num" => of(true, true, true, false),
            "nan" => of(false, false, false, true),
            "lo" => unsigned(of(true, false, false, false)),
            "ls" => unsigned(of(true, true, false, false)),
            "hi" => unsigned(of(false, false, true, false)),
            "hs" => unsigned(of(false, true, true, false)),
            _ => return None,
        })
    }

    /// Of two integers, without branches: lanes are compared side by side.
    #[inline(always)]
    fn of_integers(self, integer: Integer, a: u64, b: u64) -> bool {
        let signed = integer.signed && !self.unsigned;
        let order = Integer { signed, ..integer }.order(a, b);
        self.less & order.is_lt() | self.equal & order.is_eq() | self.greater & order.is_gt()
    }

    fn holds(self, order: Option<Ordering>) -> bool {
        match order {
            Some(Ordering::Less) => self.less,
            Some(Ordering::Equal) => self.equal,
            Some(Ordering::Greater) => self.greater,
            None => self.unordered,
        }
    }

    pub(super) fn of(self, number: Number, flush: bool, a: u64, b: u64) -> bool {
        let order = match number {
            Number::Integer(integer) => return self.of_integers(integer, a, b),
            Number::Float(format) => {
                let value = |bits| {
                    if flush && format.is_subnormal(bits) {
                        0.0
                    } else {
                        format.value(bits & (format.sign() | (format.sign() - 1)))
                    }
                };
                value(a).partial_cmp(&value(b))
            }
            _ => None,
        };
        self.holds(order)
    }
}

/// How a comparison is joined with a predicate.
#[derive(Clone, Copy)]
enum Join {
    And,
    Or,
    Xor,
}

impl Join {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "and" => Self::And,
            "or" => Self::Or,
            "xor" => Self::Xor,
            _ => return None,
        })
    }

    fn of(self, a: bool, b: bool) -> bool {
        match self {
            Self::And => a & b,
            Self::Or => a | b,
            Self::Xor => a ^ b,
        }
    }
}

pub(super) fn decode(words: &mut Words<'_>) -> Result<Action, Refusal> {
    match words.opcode() {
        "selp" => {
            let number = words.number()?;
            match number {
                Number::Float(format) => {
                    words.compute_in(format, |[a, b, which]| if which & 1 == 1 { a } else { b })
                }
                Number::Integer(integer) => words.compute(move |[a, b, which]| {
                    (if which & 1 == 1 { a } else { b }) & integer.mask()
                }),
                _ => Err(words.refuse("is of numbers")),
            }
        }
        "slct" => {
            let result = words.number()?;
            let control = words.number()?;
            let is_s32 = Number::from_name("s32") == Some(control);
            if !is_s32 && control != Number::Float(Float::F32) {
                return Err(words.refuse("selects by .s32 or .f32"));
            }
            let flush = !is_s32 && words.has("ftz");
            if words.scope.is_ring() && matches!(control, Number::Float(_)) {
                return Err(words.refuse("is not modelled in the ring mode"));
            }
            let at_least_zero =
                Comparison::from_name("ge").ok_or_else(|| words.refuse("is not modelled"))?;
            let format = if let Number::Float(format) = result {
                format
            } else {
                Float::F64
            };
            words.compute_in(format, move |[a, b, c]| {
                if at_least_zero.of(control, flush, c, 0) {
                    a
                } else {
                    b
                }
            })
        }
        _ => compare(words),
    }
}

fn compare(words: &mut Words<'_>) -> Result<Action, Refusal> {
    let comparison = words.needed("comparison", Comparison::from_name)?;
    let join = words.choice(Join::from_name);
    let sets = words.opcode() == "set";
    let is_ring = words.scope.is_ring();
    let result = if sets { Some(words.number()?) } else { None };
    let mut types = words.instruction.modifiers.iter();
    let is_of_bits = types.any(|word| matches!(&word[..], "b16" | "b32" | "b64"));
    let number = words.number()?;
    if is_of_bits && (comparison.less != comparison.greater || comparison.unordered) {
        return Err(words.refuse("compares bits, which are equal or are not"));
    }
    let is_flushed = |format| matches!(format, Float::F16 | Float::F32);
    let flush = match number {
        Number::Float(format) | Number::Two(format) if is_flushed(format) => words.has("ftz"),
        _ => false,
    };
    let arguments = if join.is_some() { 3 } else { 2 };
    words.counted(&[arguments + 1])?;
    let format = match number {
        Number::Float(format) | Number::Two(format) => format,
        _ => Float::F64,
    };
    let sources = (1..=arguments)
        .map(|place| Ok(in_format(words.source(place)?, format)))
        .collect::<Result<Vec<Source>, Refusal>>()?;
    let destinations = words.destinations(0)?;
    let joined = move |holds: bool, predicate: u64| {
        join.map_or(holds, |join| join.of(holds, predicate & 1 == 1))
    };
    let compare = move |number: Number, a: u64, b: u64| match number {
        Number::Float(format) if is_ring => super::ring::holds(comparison, format, a, b),
        _ => comparison.of(number, flush, a, b),
    };
    if let Number::Float(Float::F16 | Float::Bf16) = number
        && destinations.len() > 1
    {
        return Err(words.refuse("of halves has one result"));
    }
    if let Number::Two(format) = number {
        return two((compare, joined), format, sources, destinations, result)
            .ok_or_else(|| words.refuse("is not modelled in this form"));
    }
    if let Number::Integer(integer) = number
        && !sets
        && join.is_none()
        && destinations.len() == 1
    {
        return words.compute(move |[a, b]| u64::from(comparison.of_integers(integer, a, b)));
    }
    let yes = match result {
        None => 1,
        Some(Number::Float(format)) => format.round(1.0, crate::arithmetic::Rounding::NearestEven),
        Some(Number::Integer(integer)) => integer.mask(),
        Some(_) => return Err(words.refuse("has no result type that is modelled")),
    };
    Ok(Action::Compute(Compute {
        parts: 0,
        function: super::of_each_lane(move |&[a, b, predicate, _]| {
            let holds = compare(number, a, b);
            // The second result is of the opposite, joined with the same predicate.
            let [first, second] = [joined(holds, predicate), joined(!holds, predicate)];
            [if first { yes } else { 0 }, u64::from(second), 0, 0]
        }),
        sources,
        destinations,
    }))
}

/// Two comparisons of halves, each with a predicate of its own, or with a half of the result. A predicate that they are joined
/// with is joined with both.
fn two(
    (compare, joined): (
        impl Fn(Number, u64, u64) -> bool + Copy + Send + Sync + 'static,
        impl Fn(bool, u64) -> bool + Copy + Send + Sync + 'static,
    ),
    format: Float,
    sources: Vec<Source>,
    destinations: Vec<Option<crate::program::Register>>,
    result: Option<Number>,
) -> Option<Action> {
    let bits = format.bits();
    let mask = u64::MAX >> (64 - bits);
    let number = Number::Float(format);
    let halves = move |&[a, b, predicate, _]: &[u64; 4]| {
        [
            joined(compare(number, a & mask, b & mask), predicate),
            joined(
                compare(number, a >> bits & mask, b >> bits & mask),
                predicate,
            ),
        ]
    };
    let yes = match result {
        None => None,
        Some(Number::Two(result)) => {
            Some(result.round(1.0, crate::arithmetic::Rounding::NearestEven))
        }
        Some(Number::Integer(integer)) if integer.bits == 32 => Some(mask),
        Some(_) => return None,
    };
    let function = super::of_each_lane(move |values| {
        let [low, high] = halves(values);
        match yes {
            None => [u64::from(low), u64::from(high), 0, 0],
            Some(yes) => {
                let [low, high] = [low, high].map(|holds| if holds { yes } else { 0 });
                [low | high << bits, 0, 0, 0]
            }
        }
    });
    Some(Action::Compute(Compute {
        parts: 0,
        function,
        sources,
        destinations,
    }))
}
