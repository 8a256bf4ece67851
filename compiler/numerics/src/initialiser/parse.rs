//! Reading an initialiser from text.

use super::{Initialiser, Number};
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// A text that is no initialiser.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {}: {problem}", .span.start + 1)]
pub struct ParseInitialiserError {
    /// Where: bytes of the text.
    pub span: Range<usize>,
    /// What is wrong there.
    pub problem: ParseProblem,
}

/// What is wrong with a text that is no initialiser.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseProblem {
    /// No initialiser has that name.
    #[error("unknown initialiser '{found}', expected one of {}", known_names())]
    UnknownInitialiser {
        /// The name read.
        found: String,
    },
    /// The initialiser has no argument of that name.
    #[error("{initialiser} has no argument '{found}', expected {}", Listed(.known))]
    UnknownArgument {
        /// The initialiser's name.
        initialiser: &'static str,
        /// The name read.
        found: String,
        /// The names of its arguments.
        known: &'static [&'static str],
    },
    /// An argument is given twice.
    #[error("argument '{name}' is given twice")]
    DuplicateArgument {
        /// The argument's name.
        name: &'static str,
    },
    /// An argument without a default is not given.
    #[error("{initialiser} lacks its argument '{name}'")]
    MissingArgument {
        /// The initialiser's name.
        initialiser: &'static str,
        /// The argument's name.
        name: &'static str,
    },
    /// There are more arguments than the initialiser has.
    #[error("too many arguments: {initialiser} takes {}", Listed(.known))]
    TooManyArguments {
        /// The initialiser's name.
        initialiser: &'static str,
        /// The names of its arguments.
        known: &'static [&'static str],
    },
    /// An argument without a name follows one with a name.
    #[error("expected 'name=number': arguments without a name stand before those with one")]
    PositionalAfterNamed,
    /// Something else stands in a number's place.
    #[error("expected a number, found '{found}'")]
    Number {
        /// The text read.
        found: String,
    },
    /// A bound, mean or standard deviation is infinite or NaN.
    #[error("expected a finite number for '{name}', found {found}")]
    NotFinite {
        /// The argument's name.
        name: &'static str,
        /// The number as written.
        found: String,
    },
    /// The seed is not an unsigned 64-bit integer.
    #[error("expected an integer in 0 ..= 18446744073709551615 for 'seed', found {found}")]
    Seed {
        /// The number as written.
        found: String,
    },
    /// Punctuation is missing.
    #[error("expected {expected}, found {}", Found(.found))]
    Expected {
        /// What should stand there.
        expected: &'static str,
        /// What stands there; empty at the end of the text.
        found: String,
    },
}

/// The names of the initialisers and of their arguments, in the order in which they may stand without names.
const SIGNATURES: [(&str, &[&str]); 5] = [
    ("zeros", &[]),
    ("ones", &[]),
    ("splat", &["value"]),
    ("normal", &["mean", "std", "seed"]),
    ("uniform", &["low", "high", "seed"]),
];

fn known_names() -> String {
    SIGNATURES.map(|(name, _)| name).join(", ")
}

struct Listed<'a>(&'a [&'static str]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("no argument"),
            names => f.write_str(&names.join(", ")),
        }
    }
}

struct Found<'a>(&'a str);

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => f.write_str("the end"),
            text => write!(f, "'{text}'"),
        }
    }
}

impl FromStr for Initialiser {
    type Err = ParseInitialiserError;

    fn from_str(text: &str) -> Result<Self, ParseInitialiserError> {
        let mut reader = Reader { text, position: 0 };
        let (name, span) = reader.word();
        let Some(&(name, known)) = SIGNATURES.iter().find(|(known, _)| *known == name) else {
            let found = name.to_owned();
            return Err(error(span, ParseProblem::UnknownInitialiser { found }));
        };
        let arguments = reader.arguments(name, known)?;
        reader.end()?;
        match name {
            "zeros" => Ok(Self::Zeros),
            "ones" => Ok(Self::Ones),
            "splat" => {
                let value = arguments.get("value").map(|argument| argument.number);
                Ok(Self::Splat(arguments.required("value", value)?))
            }
            "normal" => Ok(Self::Normal {
                mean: arguments.finite("mean")?.map_or(0.0, Number::to_f64),
                std: arguments.finite("std")?.map_or(1.0, Number::to_f64),
                seed: arguments.seed()?,
            }),
            _ => Ok(Self::Uniform {
                low: arguments.required("low", arguments.finite("low")?)?,
                high: arguments.required("high", arguments.finite("high")?)?,
                seed: arguments.seed()?,
            }),
        }
    }
}

fn error(span: Range<usize>, problem: ParseProblem) -> ParseInitialiserError {
    ParseInitialiserError { span, problem }
}

/// The arguments read, each at most once.
struct Arguments {
    initialiser: &'static str,
    given: Vec<Argument>,
    end: Range<usize>,
}

struct Argument {
    name: &'static str,
    number: Number,
    span: Range<usize>,
}

impl Arguments {
    fn get(&self, name: &str) -> Option<&Argument> {
        self.given.iter().find(|argument| argument.name == name)
    }

    fn required(
        &self,
        name: &'static str,
        number: Option<Number>,
    ) -> Result<Number, ParseInitialiserError> {
        let initialiser = self.initialiser;
        number.ok_or_else(|| {
            let problem = ParseProblem::MissingArgument { initialiser, name };
            error(self.end.clone(), problem)
        })
    }

    fn finite(&self, name: &'static str) -> Result<Option<Number>, ParseInitialiserError> {
        match self.get(name) {
            Some(argument) if !argument.number.to_f64().is_finite() => {
                let found = argument.number.to_string();
                let problem = ParseProblem::NotFinite { name, found };
                Err(error(argument.span.clone(), problem))
            }
            found => Ok(found.map(|argument| argument.number)),
        }
    }

    fn seed(&self) -> Result<u64, ParseInitialiserError> {
        let Some(argument) = self.get("seed") else {
            return Ok(0);
        };
        argument
            .number
            .to_integer()
            .and_then(|seed| u64::try_from(seed).ok())
            .ok_or_else(|| {
                let found = argument.number.to_string();
                error(argument.span.clone(), ParseProblem::Seed { found })
            })
    }
}

struct Reader<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Reader<'a> {
    /// The characters up to the next space or punctuation; none, where there are none.
    fn word(&mut self) -> (&'a str, Range<usize>) {
        self.skip_spaces();
        let rest = &self.text[self.position..];
        let is_end = |c: char| c.is_whitespace() || "(),=".contains(c);
        let word = &rest[..rest.find(is_end).unwrap_or(rest.len())];
        let span = self.position..self.position + word.len();
        self.position = span.end;
        (word, span)
    }

    fn skip_spaces(&mut self) {
        let rest = &self.text[self.position..];
        self.position += rest.len() - rest.trim_start().len();
    }

    fn take(&mut self, punctuation: char) -> bool {
        self.skip_spaces();
        let found = self.text[self.position..].starts_with(punctuation);
        self.position += if found { punctuation.len_utf8() } else { 0 };
        found
    }

    /// An error about the next character.
    fn expected(&self, expected: &'static str) -> ParseInitialiserError {
        let next = self.text[self.position..].chars().next();
        let found = next.map(String::from).unwrap_or_default();
        let span = self.position..self.position + found.len();
        error(span, ParseProblem::Expected { expected, found })
    }

    fn end(&mut self) -> Result<(), ParseInitialiserError> {
        self.skip_spaces();
        match self.position == self.text.len() {
            true => Ok(()),
            false => Err(self.expected("the end")),
        }
    }

    /// The arguments in parentheses, or none where no parenthesis opens.
    fn arguments(
        &mut self,
        initialiser: &'static str,
        known: &'static [&'static str],
    ) -> Result<Arguments, ParseInitialiserError> {
        let mut given: Vec<Argument> = Vec::new();
        let mut named = false;
        if self.take('(') && !self.take(')') {
            loop {
                let (word, span) = self.word();
                let argument = if self.take('=') {
                    named = true;
                    self.named(initialiser, known, word, span)?
                } else if named {
                    return Err(error(span, ParseProblem::PositionalAfterNamed));
                } else {
                    let number = number(word, span.clone())?;
                    let name = known.get(given.len()).copied().ok_or_else(|| {
                        let problem = ParseProblem::TooManyArguments { initialiser, known };
                        error(span.clone(), problem)
                    })?;
                    Argument { name, number, span }
                };
                if given.iter().any(|earlier| earlier.name == argument.name) {
                    let problem = ParseProblem::DuplicateArgument {
                        name: argument.name,
                    };
                    return Err(error(argument.span, problem));
                }
                given.push(argument);
                if self.take(')') {
                    break;
                }
                if !self.take(',') {
                    return Err(self.expected("',' or ')'"));
                }
            }
        }
        Ok(Arguments {
            initialiser,
            given,
            end: self.position..self.position,
        })
    }

    /// The rest of an argument after `name=`.
    fn named(
        &mut self,
        initialiser: &'static str,
        known: &'static [&'static str],
        name: &str,
        name_span: Range<usize>,
    ) -> Result<Argument, ParseInitialiserError> {
        let Some(name) = known.iter().copied().find(|known| *known == name) else {
            let found = name.to_owned();
            let problem = ParseProblem::UnknownArgument {
                initialiser,
                found,
                known,
            };
            return Err(error(name_span, problem));
        };
        let (word, span) = self.word();
        let number = number(word, span.clone())?;
        Ok(Argument { name, number, span })
    }
}

fn number(word: &str, span: Range<usize>) -> Result<Number, ParseInitialiserError> {
    let unsigned = word.strip_prefix(['+', '-']).unwrap_or(word);
    let is_decimal = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let number = match word {
        "true" => Some(Number::Integer(1)),
        "false" => Some(Number::Integer(0)),
        "nan" => Some(Number::Float(f64::NAN)),
        "inf" => Some(Number::Float(f64::INFINITY)),
        "-inf" => Some(Number::Float(f64::NEG_INFINITY)),
        _ if is_decimal => {
            let integer = word.parse().ok().map(Number::Integer);
            integer.or_else(|| word.parse().ok().map(Number::Float))
        }
        _ => None,
    };
    number.ok_or_else(|| {
        let found = word.to_owned();
        error(span, ParseProblem::Number { found })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Initialiser {
        text.parse().unwrap()
    }

    fn message(text: &str) -> String {
        text.parse::<Initialiser>().unwrap_err().to_string()
    }

    #[test]
    fn arguments_are_positional_then_named() {
        let expected = Initialiser::Normal {
            mean: 1.0,
            std: 0.5,
            seed: 9,
        };
        for text in [
            "normal(1, 0.5, 9)",
            "normal(1, seed=9, std=5e-1)",
            " normal ( mean = 1,std=.5 , seed=9 ) ",
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_given_has_its_default() {
        let standard = Initialiser::Normal {
            mean: 0.0,
            std: 1.0,
            seed: 0,
        };
        assert_eq!(parse("normal"), standard);
        assert_eq!(parse("normal()"), standard);
    }

    #[test]
    fn numbers_are_integers_decimals_or_words() {
        for (text, number) in [
            ("splat(-7)", Number::Integer(-7)),
            ("splat(+7)", Number::Integer(7)),
            (
                "splat(18446744073709551615)",
                Number::Integer(u64::MAX.into()),
            ),
            ("splat(1e-3)", Number::Float(1e-3)),
            ("splat(-inf)", Number::Float(f64::NEG_INFINITY)),
            ("splat(true)", Number::Integer(1)),
            ("splat(false)", Number::Integer(0)),
        ] {
            assert_eq!(parse(text), Initialiser::Splat(number), "{text}");
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        assert_eq!(
            message("gaussian(1)"),
            "column 1: unknown initialiser 'gaussian', expected one of zeros, ones, splat, normal, uniform"
        );
        assert_eq!(
            message("normal(0, sigma=2)"),
            "column 11: normal has no argument 'sigma', expected mean, std, seed"
        );
        assert_eq!(
            message("ones(x=2)"),
            "column 6: ones has no argument 'x', expected no argument"
        );
    }

    #[test]
    fn each_argument_is_given_once() {
        assert_eq!(
            message("normal(std=1, std=2)"),
            "column 19: argument 'std' is given twice"
        );
        assert_eq!(
            message("uniform(0, low=2)"),
            "column 16: argument 'low' is given twice"
        );
        assert_eq!(
            message("uniform(0)"),
            "column 11: uniform lacks its argument 'high'"
        );
        assert_eq!(
            message("splat"),
            "column 6: splat lacks its argument 'value'"
        );
        assert_eq!(
            message("uniform(0, 1, 2, 3)"),
            "column 18: too many arguments: uniform takes low, high, seed"
        );
        assert_eq!(
            message("normal(std=1, 2)"),
            "column 15: expected 'name=number': arguments without a name stand before those with one"
        );
    }

    #[test]
    fn a_number_is_asked_for_in_its_place() {
        for (text, found) in [
            ("splat(x)", "column 7: expected a number, found 'x'"),
            ("splat(1.2.3)", "column 7: expected a number, found '1.2.3'"),
            (
                "splat(infinity)",
                "column 7: expected a number, found 'infinity'",
            ),
            ("normal(std=)", "column 12: expected a number, found ''"),
            ("uniform(0, 1,)", "column 14: expected a number, found ''"),
        ] {
            assert_eq!(message(text), found);
        }
    }

    #[test]
    fn a_seed_is_an_unsigned_integer() {
        assert_eq!(
            message("normal(seed=-1)"),
            "column 13: expected an integer in 0 ..= 18446744073709551615 for 'seed', found -1"
        );
        assert_eq!(
            message("normal(seed=0.5)"),
            "column 13: expected an integer in 0 ..= 18446744073709551615 for 'seed', found 0.5"
        );
    }

    #[test]
    fn distributions_have_finite_parameters() {
        assert_eq!(
            message("uniform(0, inf)"),
            "column 12: expected a finite number for 'high', found inf"
        );
        assert_eq!(
            message("normal(std=nan)"),
            "column 12: expected a finite number for 'std', found nan"
        );
    }

    #[test]
    fn the_text_ends_with_the_initialiser() {
        assert_eq!(
            message(""),
            "column 1: unknown initialiser '', expected one of zeros, ones, splat, normal, uniform"
        );
        assert_eq!(
            message("zeros ones"),
            "column 7: expected the end, found 'o'"
        );
        assert_eq!(
            message("splat(1"),
            "column 8: expected ',' or ')', found the end"
        );
        assert_eq!(
            message("splat(1 2)"),
            "column 9: expected ',' or ')', found '2'"
        );
        assert_eq!(
            message("splat(1))"),
            "column 9: expected the end, found ')'"
        );
    }
}
