//! Values of other lanes of a warp (PTX ISA 9.7.9.6, 9.7.13.5 to 9.7.13.12).

use super::number::Number;
use super::words::Words;
use super::{Action, Refusal, Source};
use crate::arithmetic::float::{Extreme, Mode};
use crate::program::Register;

/// Lanes that tell each other values: those of a mask, which all must come.
pub(crate) enum Exchange {
    /// `shfl.sync`: another lane's value, and whether that lane is within bounds.
    Shuffle {
        shuffle: Shuffle,
        value: Source,
        lane: Source,
        bounds: Source,
        mask: Source,
        destination: Option<Register>,
        within: Option<Register>,
    },
    /// `vote.sync`
    Vote {
        vote: Vote,
        predicate: Source,
        mask: Source,
        destination: Option<Register>,
    },
    /// `match.any.sync`: the lanes that have the same value.
    MatchAny {
        value: Source,
        mask: Source,
        destination: Option<Register>,
    },
    /// `match.all.sync`: the lanes, if all have the same value, and whether they do.
    MatchAll {
        value: Source,
        mask: Source,
        destination: Option<Register>,
        all: Option<Register>,
    },
    /// `redux.sync`: a function of all values.
    Reduce {
        /// What a lane's value counts as.
        each: Box<dyn Fn(u64) -> u64 + Send + Sync>,
        function: ReduceFunction,
        value: Source,
        mask: Source,
        destination: Option<Register>,
    },
    /// `activemask`: the lanes that execute it.
    Active { destination: Option<Register> },
    /// `elect.sync`: one lane of the mask, the lowest.
    Elect {
        mask: Source,
        destination: Option<Register>,
        elected: Option<Register>,
    },
}

/// Whose value a lane takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shuffle {
    Up,
    Down,
    Butterfly,
    Index,
}

impl Shuffle {
    /// The lane whose value a lane takes, and whether it is within bounds; out of them it is the lane itself. The bounds'
    /// low five bits clamp, the five from bit 8 on say which bits of a lane's number name its segment.
    pub fn lane(self, own: u32, by: u32, bounds: u32) -> (u32, bool) {
        let (clamp, segment) = (bounds & 31, bounds >> 8 & 31);
        let by = by & 31;
        let highest = (own & segment) | (clamp & !segment);
        let lowest = own & segment;
        let (lane, within) = match self {
            Self::Up => (
                own as i32 - by as i32,
                own as i32 - by as i32 >= highest as i32,
            ),
            Self::Down => ((own + by) as i32, own + by <= highest),
            Self::Butterfly => ((own ^ by) as i32, own ^ by <= highest),
            Self::Index => (
                (lowest | (by & !segment)) as i32,
                lowest | (by & !segment) <= highest,
            ),
        };
        if within {
            (lane as u32, true)
        } else {
            (own, false)
        }
    }
}

/// What of the lanes' predicates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vote {
    All,
    Any,
    Unanimous,
    Ballot,
}

/// A function of two values.
pub(crate) type ReduceFunction = Box<dyn Fn(u64, u64) -> u64 + Send + Sync>;

pub(super) fn decode(words: &mut Words<'_>) -> Result<Action, Refusal> {
    let opcode = words.opcode();
    if opcode != "activemask" && !words.has("sync") {
        return Err(
            words.refuse("is not modelled without .sync, which architectures since sm_70 need")
        );
    }
    let action = match opcode {
        "shfl" => shuffle(words)?,
        "vote" => vote(words)?,
        "match" => matching(words)?,
        "redux" => reduce(words)?,
        "activemask" => {
            words.has("b32");
            words.counted(&[1])?;
            Exchange::Active {
                destination: words.destination(0)?,
            }
        }
        _ => {
            words.counted(&[2])?;
            let (destination, elected) = pair(words)?;
            Exchange::Elect {
                mask: words.source(1)?,
                destination,
                elected,
            }
        }
    };
    Ok(Action::Exchange(action))
}

/// `d|p`, of which the second may be missing.
fn pair(words: &Words<'_>) -> Result<(Option<Register>, Option<Register>), Refusal> {
    let registers = words.destinations(0)?;
    Ok((registers[0], registers.get(1).copied().flatten()))
}

fn shuffle(words: &mut Words<'_>) -> Result<Exchange, Refusal> {
    let shuffle = words.needed("mode", |word| {
        Some(match word {
            "up" => Shuffle::Up,
            "down" => Shuffle::Down,
            "bfly" => Shuffle::Butterfly,
            "idx" => Shuffle::Index,
            _ => return None,
        })
    })?;
    words.has("b32");
    words.counted(&[5])?;
    let (destination, within) = pair(words)?;
    Ok(Exchange::Shuffle {
        shuffle,
        value: words.source(1)?,
        lane: words.source(2)?,
        bounds: words.source(3)?,
        mask: words.source(4)?,
        destination,
        within,
    })
}

fn vote(words: &mut Words<'_>) -> Result<Exchange, Refusal> {
    let vote = words.needed("mode", |word| {
        Some(match word {
            "all" => Vote::All,
            "any" => Vote::Any,
            "uni" => Vote::Unanimous,
            "ballot" => Vote::Ballot,
            _ => return None,
        })
    })?;
    words.needed("type", |word| matches!(word, "pred" | "b32").then_some(()))?;
    words.counted(&[3])?;
    Ok(Exchange::Vote {
        vote,
        predicate: words.source(1)?,
        mask: words.source(2)?,
        destination: words.destination(0)?,
    })
}

fn matching(words: &mut Words<'_>) -> Result<Exchange, Refusal> {
    let all = words.has("all");
    if !all && !words.has("any") {
        return Err(words.refuse("needs .all or .any"));
    }
    words.needed("type", |word| matches!(word, "b32" | "b64").then_some(()))?;
    words.counted(&[3])?;
    let (destination, holds) = pair(words)?;
    let (value, mask) = (words.source(1)?, words.source(2)?);
    Ok(if all {
        Exchange::MatchAll {
            value,
            mask,
            destination,
            all: holds,
        }
    } else {
        Exchange::MatchAny {
            value,
            mask,
            destination,
        }
    })
}

fn reduce(words: &mut Words<'_>) -> Result<Exchange, Refusal> {
    let operation = words.needed("operation", |word| {
        ["add", "min", "max", "and", "or", "xor"]
            .into_iter()
            .find(|own| *own == word)
    })?;
    let number = words.number()?;
    let is_float = matches!(number, Number::Float(_));
    let (nan, absolute) = (is_float && words.has("NaN"), is_float && words.has("abs"));
    words.counted(&[3])?;
    let mut each: Box<dyn Fn(u64) -> u64 + Send + Sync> = Box::new(|value| value);
    let function: ReduceFunction = match (operation, number) {
        ("add", Number::Integer(integer)) => {
            Box::new(move |a, b| integer.wrap(integer.value(a) + integer.value(b)))
        }
        ("min", Number::Integer(integer)) => {
            Box::new(move |a, b| integer.wrap(integer.value(a).min(integer.value(b))))
        }
        ("max", Number::Integer(integer)) => {
            Box::new(move |a, b| integer.wrap(integer.value(a).max(integer.value(b))))
        }
        ("and", Number::Integer(_)) => Box::new(|a, b| a & b),
        ("or", Number::Integer(_)) => Box::new(|a, b| a | b),
        ("xor", Number::Integer(_)) => Box::new(|a, b| a ^ b),
        ("min" | "max", Number::Float(format)) => {
            let how = Extreme {
                smaller: operation == "min",
                nan,
                absolute,
                xor_sign: false,
            };
            let mode = Mode::plain(format);
            // The magnitude, where that is asked for, and of NaN the canonical one.
            each = Box::new(move |value| mode.extreme(value, value, how));
            Box::new(move |a, b| mode.extreme(a, b, how))
        }
        _ => return Err(words.refuse("is an operation that is not modelled for its type")),
    };
    Ok(Exchange::Reduce {
        each,
        function,
        value: words.source(1)?,
        mask: words.source(2)?,
        destination: words.destination(0)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_of_a_shuffle() {
        // What __shfl_*_sync passes: 31 for segments of 32, and 0 for `up`.
        assert_eq!(Shuffle::Up.lane(5, 2, 0), (3, true));
        assert_eq!(Shuffle::Up.lane(1, 2, 0), (1, false));
        assert_eq!(Shuffle::Down.lane(30, 1, 31), (31, true));
        assert_eq!(Shuffle::Down.lane(31, 1, 31), (31, false));
        assert_eq!(Shuffle::Butterfly.lane(5, 16, 31), (21, true));
        assert_eq!(Shuffle::Index.lane(5, 40, 31), (8, true));
    }

    #[test]
    fn lanes_of_a_shuffle_in_segments_of_eight() {
        let segments = 0b11000 << 8;
        assert_eq!(Shuffle::Down.lane(6, 1, segments | 31), (7, true));
        assert_eq!(Shuffle::Down.lane(7, 1, segments | 31), (7, false));
        assert_eq!(Shuffle::Up.lane(8, 1, segments), (8, false));
        assert_eq!(Shuffle::Index.lane(13, 2, segments | 31), (10, true));
    }
}
