//! Types that instructions compute in.

use super::words::Words;
use super::{Refusal, Source};
use crate::arithmetic::float::Mode;
use crate::arithmetic::integer::Integer;
use crate::arithmetic::{Float, Rounding};

/// A type of an arithmetic instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    /// `.u32`, `.s32`, `.b32` and their like.
    Integer(Integer),
    /// A floating-point number.
    Float(Float),
    /// Two of these in one register, the first in its lower half.
    Two(Float),
    /// Two integers of 16 bits in one register.
    TwoIntegers(Integer),
    /// A predicate.
    Predicate,
}

impl Number {
    pub fn from_name(name: &str) -> Option<Self> {
        let integer = |bits, signed| Self::Integer(Integer { bits, signed });
        Some(match name {
            "u8" | "b8" => integer(8, false),
            "u16" | "b16" => integer(16, false),
            "u32" | "b32" => integer(32, false),
            "u64" | "b64" => integer(64, false),
            "s8" => integer(8, true),
            "s16" => integer(16, true),
            "s32" => integer(32, true),
            "s64" => integer(64, true),
            "f16" => Self::Float(Float::F16),
            "bf16" => Self::Float(Float::Bf16),
            "f32" => Self::Float(Float::F32),
            "f64" => Self::Float(Float::F64),
            "f16x2" => Self::Two(Float::F16),
            "bf16x2" => Self::Two(Float::Bf16),
            "f32x2" => Self::Two(Float::F32),
            "u16x2" => Self::TwoIntegers(Integer {
                bits: 16,
                signed: false,
            }),
            "s16x2" => Self::TwoIntegers(Integer {
                bits: 16,
                signed: true,
            }),
            "pred" => Self::Predicate,
            _ => return None,
        })
    }

    /// Bits of a value.
    pub const fn bits(self) -> u32 {
        match self {
            Self::Integer(integer) => integer.bits,
            Self::Float(float) => float.bits(),
            Self::Two(float) => 2 * float.bits(),
            Self::TwoIntegers(_) => 32,
            Self::Predicate => 1,
        }
    }
}

impl Words<'_> {
    /// Takes the instruction's type.
    pub fn number(&mut self) -> Result<Number, Refusal> {
        self.needed("type", Number::from_name)
    }

    /// Takes a rounding of a floating-point result.
    pub fn rounding(&mut self) -> Option<Rounding> {
        self.choice(rounding)
    }

    /// Takes what an instruction may say about how floating-point operands and results are treated; the rest is left.
    pub fn mode_of(&mut self, format: Float, takes: Takes) -> Mode {
        let rounding = match takes.rounding {
            Roundings::None => None,
            Roundings::Nearest => self.has("rn").then_some(Rounding::NearestEven),
            Roundings::All => self.choice(|word| match rounding(word) {
                Some(Rounding::NearestAway) => None,
                other => other,
            }),
        };
        let saturate = takes.saturate && self.has("sat");
        Mode {
            format,
            rounding: rounding.unwrap_or(Rounding::NearestEven),
            flush: takes.flush && self.has("ftz"),
            saturate,
            relu: !saturate && takes.relu && self.has("relu"),
        }
    }

    /// Takes all that can be said about how floating-point operands and results are treated.
    pub fn mode(&mut self, format: Float) -> Mode {
        Mode {
            format,
            rounding: self.rounding().unwrap_or(Rounding::NearestEven),
            flush: self.has("ftz"),
            saturate: self.has("sat"),
            relu: self.has("relu"),
        }
    }
}

/// The modifiers that an instruction of floating-point numbers takes, of those that several have.
#[derive(Clone, Copy, Default)]
pub(crate) struct Takes {
    pub rounding: Roundings,
    /// `.ftz`
    pub flush: bool,
    /// `.sat`
    pub saturate: bool,
    /// `.relu`
    pub relu: bool,
}

/// The roundings of a result.
#[derive(Clone, Copy, Default)]
pub(crate) enum Roundings {
    #[default]
    None,
    /// `.rn`
    Nearest,
    /// `.rn`, `.rz`, `.rm`, `.rp`
    All,
}

fn rounding(name: &str) -> Option<Rounding> {
    Some(match name {
        "rn" => Rounding::NearestEven,
        "rna" => Rounding::NearestAway,
        "rz" => Rounding::TowardZero,
        "rm" => Rounding::Down,
        "rp" => Rounding::Up,
        _ => return None,
    })
}

/// A number that is written in decimals or in double precision, as bits of a format.
pub(crate) fn in_format(source: Source, format: Float) -> Source {
    match source {
        Source::Double(value) => Source::Value(format.round(value, Rounding::NearestEven)),
        other => other,
    }
}

/// A function of numbers on both halves of registers.
pub(crate) fn on_both<const N: usize>(
    bits: u32,
    function: impl Fn([u64; N]) -> u64 + Send + Sync + 'static,
) -> impl Fn([u64; N]) -> u64 + Send + Sync + 'static {
    let mask = u64::MAX >> (64 - bits);
    move |values| {
        let low = function(values.map(|value| value & mask));
        let high = function(values.map(|value| value >> bits & mask));
        low | high << bits
    }
}
