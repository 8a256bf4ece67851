//! `mma.m8n8k4` of f16 (PTX ISA 9.7.14.5.1): four products at once, each of a *quad pair*, lanes 4p to 4p + 3 and those 16
//! behind them. The first to tensor cores; hardware after sm_70 makes it of others.

use super::matrix::{Accumulator, result};
use super::words::Words;
use super::{Refusal, Source};
use crate::program::Register;

/// D = A·B + C, of 8×4 and 4×8 numbers.
pub(crate) struct QuadPairs {
    /// A is in columns: a lane has four numbers of one.
    pub a_in_columns: bool,
    /// B is in columns.
    pub b_in_columns: bool,
    pub d_type: Accumulator,
    pub c_type: Accumulator,
    pub a: Vec<Source>,
    pub b: Vec<Source>,
    pub c: Vec<Source>,
    pub d: Vec<Option<Register>>,
}

/// Row and column of C's or D's number `i` of a lane, the `member`th of its pair.
pub(crate) fn of_d(kind: Accumulator, member: usize, i: usize) -> (usize, usize) {
    match kind {
        Accumulator::F16 => (member, i),
        _ => (
            (member & 1) + (i & 2) + (member & 4),
            (i & 4) + (member & 2) + (i & 1),
        ),
    }
}

pub(super) fn decode(words: &mut Words<'_>) -> Result<QuadPairs, Refusal> {
    words.needed("shape", |word| (word == "m8n8k4").then_some(()))?;
    let in_columns = |word: &str| match word {
        "row" => Some(false),
        "col" => Some(true),
        _ => None,
    };
    let a_in_columns = words.needed("layout of A", in_columns)?;
    let b_in_columns = words.needed("layout of B", in_columns)?;
    let of_floats =
        |word: &str| result(word).filter(|own| matches!(own, Accumulator::F16 | Accumulator::F32));
    let d_type = words.needed("result type", of_floats)?;
    for side in ["type of A", "type of B"] {
        if !matches!(words.needed(side, of_floats)?, Accumulator::F16) {
            return Err(words.refuse("of this shape multiplies f16 or f64"));
        }
    }
    let c_type = words.needed("type of C", of_floats)?;
    if (d_type, c_type) == (Accumulator::F16, Accumulator::F32) {
        return Err(words.refuse("gives f32 where C is f32"));
    }
    words.counted(&[4])?;
    let quad_pairs = QuadPairs {
        a_in_columns,
        b_in_columns,
        d_type,
        c_type,
        a: words.sources(1)?,
        b: words.sources(2)?,
        c: words.sources(3)?,
        d: words.destinations(0)?,
    };
    let of = |kind| if kind == Accumulator::F16 { 4 } else { 8 };
    let expected = [2, 2, of(c_type), of(d_type)];
    let found = [
        quad_pairs.a.len(),
        quad_pairs.b.len(),
        quad_pairs.c.len(),
        quad_pairs.d.len(),
    ];
    if expected != found {
        return Err(words.refuse(format!(
            "needs {expected:?} registers for A, B, C and D, not {found:?}"
        )));
    }
    Ok(quad_pairs)
}
