//! Seeded initialisers: short strings that stand for whole tensors.
//!
//! ```text
//! spec     = "zeros" | "ones" | "splat" "(" number ")"
//!          | "normal"  [ "(" arguments ")" ]      mean = 0, std = 1, seed = 0
//!          | "uniform" "(" arguments ")"          low, high, seed = 0
//! ```
//! Arguments are positional in the order given, then `name=number`; a number is an integer, a decimal (`1e-3`), `inf`,
//! `-inf`, `nan`, `true` or `false`.
//!
//! **Words.** A tensor's elements are numbered 0, 1, 2, … in row-major order. Element i takes the 32-bit word xᵢ, word
//! i mod 4 of [Philox-4x32-10](philox_4x32_10) with key = seed and counter = (i div 4, stream), two words each, least
//! significant first. The stream is the number of the program's input, so that two inputs with one seed differ.
//!
//! **Values**, computed in f64 in the order written:
//! - uniform, floats: low + (high − low) · ((xᵢ + 0.5) · 2⁻³²);
//! - uniform, integers and booleans: low + ⌊xᵢ · (high − low) / 2³²⌋, so `high` is exclusive;
//! - normal: by Box and Muller from the words of an even element e and the next: u₁ = (xₑ + 0.5) · 2⁻³²,
//!   u₂ = (xₑ₊₁ + 0.5) · 2⁻³², r = √(−2 ln u₁), a = 2π · u₂; zₑ = r cos a, zₑ₊₁ = r sin a; mean + std · z. The last
//!   element of an odd number takes the first of its pair.
//!
//! **Rounding.** An f64 stays; another float is rounded to f32 and from there, where narrower, to the element type, each
//! time to nearest, ties to even.
//!
//! `tests/fixtures/jax/initialisers.py` is the same definition in Python.

mod parse;

pub use parse::{ParseInitialiserError, ParseProblem};

use crate::philox::philox_4x32_10;
use crate::{Element, ElementType, Tensor, TensorError};
use half::{bf16, f16};
use std::fmt;
use std::ops::RangeInclusive;

/// What fills a tensor. Read from text by [`FromStr`](std::str::FromStr), printed back by [`Display`](fmt::Display).
#[derive(Clone, Copy, Debug)]
pub enum Initialiser {
    /// Zero, or false, everywhere.
    Zeros,
    /// One, or true, everywhere.
    Ones,
    /// The same number everywhere.
    Splat(Number),
    /// Floats of a normal distribution.
    Normal {
        /// The distribution's mean.
        mean: f64,
        /// The distribution's standard deviation.
        std: f64,
        /// The random stream's seed.
        seed: u64,
    },
    /// Numbers of a uniform distribution over low ≤ x < high.
    Uniform {
        /// The lower bound.
        low: Number,
        /// The upper bound, exclusive.
        high: Number,
        /// The random stream's seed.
        seed: u64,
    },
}

/// A number as it is written: integers stay exact.
#[derive(Clone, Copy, Debug)]
pub enum Number {
    /// An integer, or `true` (1) and `false` (0).
    Integer(i128),
    /// A decimal, `inf`, `-inf` or `nan`.
    Float(f64),
}

/// What makes two numbers the same: how they are written, and an f64's bits, so that NaN is itself and −0 is not 0.
impl Number {
    fn key(self) -> (bool, i128) {
        match self {
            Self::Integer(value) => (false, value),
            Self::Float(value) => (true, value.to_bits().into()),
        }
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Number {}

impl Initialiser {
    /// What makes two initialisers the same.
    fn key(self) -> (u8, [Number; 2], u64) {
        let none = Number::Integer(0);
        match self {
            Self::Zeros => (0, [none; 2], 0),
            Self::Ones => (1, [none; 2], 0),
            Self::Splat(value) => (2, [value, none], 0),
            Self::Normal { mean, std, seed } => {
                (3, [Number::Float(mean), Number::Float(std)], seed)
            }
            Self::Uniform { low, high, seed } => (4, [low, high], seed),
        }
    }
}

impl PartialEq for Initialiser {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Initialiser {}

/// Why an initialiser does not make a tensor of an element type.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InitialiseError {
    /// A normal distribution for integers or booleans.
    #[error("'{initialiser}' makes floats, found element type {element}")]
    NotFloat {
        /// The initialiser.
        initialiser: Box<Initialiser>,
        /// The element type asked for.
        element: ElementType,
    },
    /// A number that the element type does not have.
    #[error("'{initialiser}': expected an integer in {} for {element}, found {found}", range_of(*.element))]
    OutOfRange {
        /// The initialiser.
        initialiser: Box<Initialiser>,
        /// The element type asked for.
        element: ElementType,
        /// The number given.
        found: Number,
    },
    /// A uniform distribution over no integers or over more than a random word can choose from.
    #[error("'{initialiser}': expected high - low in 1 ..= 2^32 for {element}, found {found}")]
    Width {
        /// The initialiser.
        initialiser: Box<Initialiser>,
        /// The element type asked for.
        element: ElementType,
        /// The difference of the bounds given.
        found: i128,
    },
    /// The shape does not fit into memory.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

impl Initialiser {
    /// The tensor that this stands for, as input number `stream` of a program.
    ///
    /// # Errors
    /// The element type does not have the numbers asked for, or the shape does not fit into memory.
    pub fn tensor(
        &self,
        element: ElementType,
        shape: &[usize],
        stream: u64,
    ) -> Result<Tensor, InitialiseError> {
        // Refuses a shape too large for memory before any number is made.
        let zeros = Tensor::zeros(element, shape)?;
        let count = zeros.len() as u64;
        let bytes = match *self {
            Self::Zeros => return Ok(zeros),
            Self::Ones => self.splat(element, Number::Integer(1), count)?,
            Self::Splat(value) => self.splat(element, value, count)?,
            Self::Normal { mean, std, seed } => {
                if !element.is_float() {
                    return Err(InitialiseError::NotFloat {
                        initialiser: Box::new(*self),
                        element,
                    });
                }
                float_bytes(element, normal(Words { seed, stream }, mean, std, count))
            }
            Self::Uniform { low, high, seed } if element.is_float() => {
                let (low, high) = (low.to_f64(), high.to_f64());
                let words = Words { seed, stream };
                let value = |i| low + (high - low) * words.unit(i);
                float_bytes(element, (0..count).map(value))
            }
            Self::Uniform { low, high, seed } => {
                let (low, width) = self.integer_range(element, low, high)?;
                let words = Words { seed, stream };
                let value = |i| low + ((i128::from(words.word(i)) * width) >> 32);
                integer_bytes(element, (0..count).map(value))
            }
        };
        Ok(Tensor::new(element, shape, bytes)?)
    }

    fn splat(
        &self,
        element: ElementType,
        value: Number,
        count: u64,
    ) -> Result<Vec<u8>, InitialiseError> {
        if element.is_float() {
            let value = value.to_f64();
            return Ok(float_bytes(element, (0..count).map(|_| value)));
        }
        let value = self.integer(element, value)?;
        Ok(integer_bytes(element, (0..count).map(|_| value)))
    }

    /// The least integer of a uniform distribution and the number of integers.
    fn integer_range(
        &self,
        element: ElementType,
        low: Number,
        high: Number,
    ) -> Result<(i128, i128), InitialiseError> {
        let low = self.integer(element, low)?;
        let Some(end) = high.to_integer() else {
            return Err(self.out_of_range(element, high));
        };
        let width = end.saturating_sub(low);
        if !(1..=1 << 32).contains(&width) {
            return Err(InitialiseError::Width {
                initialiser: Box::new(*self),
                element,
                found: width,
            });
        }
        self.integer(element, Number::Integer(end - 1))?;
        Ok((low, width))
    }

    /// The integer that a number is, if the element type has it.
    fn integer(&self, element: ElementType, number: Number) -> Result<i128, InitialiseError> {
        number
            .to_integer()
            .filter(|value| integer_range(element).contains(value))
            .ok_or_else(|| self.out_of_range(element, number))
    }

    fn out_of_range(&self, element: ElementType, found: Number) -> InitialiseError {
        InitialiseError::OutOfRange {
            initialiser: Box::new(*self),
            element,
            found,
        }
    }
}

impl Number {
    fn to_f64(self) -> f64 {
        match self {
            Self::Integer(value) => value as f64,
            Self::Float(value) => value,
        }
    }

    /// The number as an integer, where it is one.
    fn to_integer(self) -> Option<i128> {
        match self {
            Self::Integer(value) => Some(value),
            // Above 2¹²⁰ a float is out of every element type's range.
            Self::Float(value) => {
                (value.fract() == 0.0 && value.abs() < 2f64.powi(120)).then_some(value as i128)
            }
        }
    }
}

/// The random words of one tensor.
#[derive(Clone, Copy)]
struct Words {
    seed: u64,
    stream: u64,
}

impl Words {
    fn word(self, element: u64) -> u32 {
        let [block, stream, key] = [element / 4, self.stream, self.seed].map(halves);
        let words = philox_4x32_10([block[0], block[1], stream[0], stream[1]], key);
        words[(element % 4) as usize]
    }

    /// The element's word as a number in (0, 1).
    fn unit(self, element: u64) -> f64 {
        (f64::from(self.word(element)) + 0.5) * 2f64.powi(-32)
    }
}

/// The lower and the upper 32 bits.
const fn halves(word: u64) -> [u32; 2] {
    [word as u32, (word >> 32) as u32]
}

fn normal(words: Words, mean: f64, std: f64, count: u64) -> impl Iterator<Item = f64> {
    let pair = move |even: u64| {
        let radius = (-2.0 * libm::log(words.unit(even))).sqrt();
        let angle = std::f64::consts::TAU * words.unit(even + 1);
        [radius * libm::cos(angle), radius * libm::sin(angle)].map(|z| mean + std * z)
    };
    (0..count)
        .step_by(2)
        .flat_map(move |even| pair(even).into_iter().take((count - even) as usize))
}

fn float_bytes(element: ElementType, values: impl Iterator<Item = f64>) -> Vec<u8> {
    match element {
        ElementType::F16 => bytes(values.map(|x| f16::from_f32(x as f32))),
        ElementType::Bf16 => bytes(values.map(|x| bf16::from_f32(x as f32))),
        ElementType::F32 => bytes(values.map(|x| x as f32)),
        _ => bytes(values),
    }
}

/// The values' bytes in an element type that is no float and has each of them.
fn integer_bytes(element: ElementType, values: impl Iterator<Item = i128>) -> Vec<u8> {
    let size = element.size();
    values
        .flat_map(|value| value.to_le_bytes().into_iter().take(size))
        .collect()
}

fn bytes<T: Element>(values: impl Iterator<Item = T>) -> Vec<u8> {
    let mut bytes = Vec::new();
    values.for_each(|value| value.write(&mut bytes));
    bytes
}

/// The numbers of an element type that is no float.
fn integer_range(element: ElementType) -> RangeInclusive<i128> {
    let bits = element.bits();
    if element.is_signed_integer() {
        -(1 << (bits - 1))..=(1 << (bits - 1)) - 1
    } else {
        0..=(1 << bits) - 1
    }
}

/// The numbers of an element type that is no float, for a message.
fn range_of(element: ElementType) -> String {
    let range = integer_range(element);
    format!("{} ..= {}", range.start(), range.end())
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(value) => write!(f, "{value}"),
            Self::Float(value) if value.is_nan() => f.write_str("nan"),
            // Debug keeps the point or exponent that tells a decimal from an integer.
            Self::Float(value) => write!(f, "{value:?}"),
        }
    }
}

impl fmt::Display for Initialiser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Zeros => f.write_str("zeros"),
            Self::Ones => f.write_str("ones"),
            Self::Splat(value) => write!(f, "splat({value})"),
            Self::Normal { mean, std, seed } => {
                let mut arguments = Vec::new();
                if mean != 0.0 {
                    arguments.push(format!("mean={mean}"));
                }
                if std != 1.0 {
                    arguments.push(format!("std={std}"));
                }
                if seed != 0 {
                    arguments.push(format!("seed={seed}"));
                }
                match arguments.is_empty() {
                    true => f.write_str("normal"),
                    false => write!(f, "normal({})", arguments.join(", ")),
                }
            }
            Self::Uniform { low, high, seed: 0 } => write!(f, "uniform({low}, {high})"),
            Self::Uniform { low, high, seed } => write!(f, "uniform({low}, {high}, seed={seed})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(spec: &str, element: ElementType, shape: &[usize]) -> Result<Tensor, InitialiseError> {
        let initialiser: Initialiser = spec.parse().unwrap();
        initialiser.tensor(element, shape, 0)
    }

    fn message(spec: &str, element: ElementType) -> String {
        make(spec, element, &[2]).unwrap_err().to_string()
    }

    #[test]
    fn constants_fill_every_element() {
        let splat = make("splat(-3)", ElementType::I16, &[2]).unwrap();
        assert_eq!(splat.values::<i16>(), Some(vec![-3, -3]));
        let ones = make("ones", ElementType::I1, &[2]).unwrap();
        assert_eq!(ones.values::<bool>(), Some(vec![true, true]));
        let zeros = make("zeros", ElementType::Bf16, &[1]).unwrap();
        assert_eq!(zeros.values::<bf16>(), Some(vec![bf16::ZERO]));
        let infinite = make("splat(-inf)", ElementType::F16, &[]).unwrap();
        assert_eq!(infinite.values::<f16>(), Some(vec![f16::NEG_INFINITY]));
    }

    #[test]
    fn a_uniform_float_lies_where_its_word_says() {
        // The first word of key 0, counter 0 is 6627e8d5.
        let tensor = make("uniform(-1, 1)", ElementType::F64, &[1]).unwrap();
        let expected = -1.0 + 2.0 * ((f64::from(0x6627_e8d5_u32) + 0.5) / 4_294_967_296.0);
        assert_eq!(tensor.values::<f64>(), Some(vec![expected]));
    }

    #[test]
    fn a_uniform_integer_takes_the_upper_bits_of_its_word() {
        let tensor = make("uniform(0, 16)", ElementType::Ui8, &[4]).unwrap();
        // The words begin with the digits 6, e, b, 9.
        assert_eq!(tensor.values::<u8>(), Some(vec![0x6, 0xe, 0xb, 0x9]));
        let whole = make("uniform(0, 4294967296)", ElementType::Ui32, &[1]).unwrap();
        assert_eq!(whole.values::<u32>(), Some(vec![0x6627_e8d5]));
    }

    #[test]
    fn seed_and_stream_choose_other_words() {
        let uniform = |seed, stream| {
            let (low, high) = (Number::Integer(0), Number::Integer(1));
            Initialiser::Uniform { low, high, seed }
                .tensor(ElementType::F64, &[5], stream)
                .unwrap()
        };
        assert_ne!(uniform(0, 0), uniform(1, 0));
        assert_ne!(uniform(0, 0), uniform(0, 1));
        assert_ne!(uniform(1, 0), uniform(1 << 32 | 1, 0));
    }

    #[test]
    fn an_element_does_not_depend_on_those_after_it() {
        for spec in ["normal", "uniform(0, 1)"] {
            let long = make(spec, ElementType::F32, &[9]).unwrap();
            let short = make(spec, ElementType::F32, &[5]).unwrap();
            assert_eq!(long.bytes()[..20], *short.bytes(), "{spec}");
        }
    }

    #[test]
    fn normal_makes_floats_only() {
        assert_eq!(
            message("normal(seed=1)", ElementType::I32),
            "'normal(seed=1)' makes floats, found element type i32"
        );
    }

    #[test]
    fn numbers_outside_the_element_type_are_refused() {
        assert_eq!(
            message("splat(128)", ElementType::I8),
            "'splat(128)': expected an integer in -128 ..= 127 for i8, found 128"
        );
        assert_eq!(
            message("splat(0.5)", ElementType::I1),
            "'splat(0.5)': expected an integer in 0 ..= 1 for i1, found 0.5"
        );
        assert_eq!(
            message("uniform(0, 3)", ElementType::I1),
            "'uniform(0, 3)': expected an integer in 0 ..= 1 for i1, found 2"
        );
        assert_eq!(
            message("uniform(-1, 3)", ElementType::Ui64),
            "'uniform(-1, 3)': expected an integer in 0 ..= 18446744073709551615 for ui64, found -1"
        );
    }

    #[test]
    fn a_range_of_integers_is_neither_empty_nor_wider_than_a_word() {
        assert_eq!(
            message("uniform(3, 3)", ElementType::I32),
            "'uniform(3, 3)': expected high - low in 1 ..= 2^32 for i32, found 0"
        );
        assert_eq!(
            message("uniform(0, 4294967297)", ElementType::I64),
            "'uniform(0, 4294967297)': expected high - low in 1 ..= 2^32 for i64, found 4294967297"
        );
        let whole = make("uniform(-1, 1e3)", ElementType::I32, &[1]);
        assert!(
            whole.is_ok(),
            "an integral decimal is an integer: {whole:?}"
        );
    }

    #[test]
    fn printing_leaves_out_what_is_the_default() {
        for spec in [
            "zeros",
            "ones",
            "splat(-1.5)",
            "splat(7)",
            "splat(1.0)",
            "splat(nan)",
            "normal",
            "normal(std=0.02, seed=7)",
            "normal(mean=-3)",
            "uniform(-1, 1)",
            "uniform(0, 1e30, seed=18446744073709551615)",
        ] {
            assert_eq!(spec.parse::<Initialiser>().unwrap().to_string(), spec);
        }
    }
}
