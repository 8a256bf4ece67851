//! Moves of matrices between shared memory and the registers of a warp: `ldmatrix`, `stmatrix` (PTX ISA 9.7.14.5.15,
//! 9.7.14.5.16).
//!
//! A matrix is rows of 16 bytes; of each a lane has the address. The layouts of transposed matrices of bytes are those of
//! CUTLASS's traits (`copy_traits_sm100.hpp`), in which a load's registers are exchanged by `copy_sm100.hpp` first.

use super::words::Words;
use super::{Location, Refusal, Source};
use crate::program::Register;

/// Matrices that are loaded or stored.
pub(crate) struct Move {
    pub numbers: Numbers,
    pub matrices: usize,
    pub location: Location,
    pub generic: bool,
    pub direction: Direction,
}

/// Which way, and the registers of all matrices, one behind the other.
pub(crate) enum Direction {
    Load(Vec<Option<Register>>),
    Store(Vec<Source>),
}

/// What a matrix is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Numbers {
    /// `.m8n8.b16`.
    Halves { transposed: bool },
    /// `.m8n16`: eight rows of sixteen numbers of so many bits, each of which comes into a byte.
    Rows { bits: usize },
    /// `.m16n16.trans`: sixteen rows of sixteen numbers of so many bits, each of which comes into a byte.
    Columns { bits: usize },
    /// `.m16n8.trans`: eight rows of sixteen bytes, the columns of what is in the registers.
    Bytes,
}

/// A number of a matrix in shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub row: usize,
    /// Where it begins in the row's bits.
    pub bit: usize,
}

impl Numbers {
    /// Rows of 16 bytes.
    pub fn rows(self) -> usize {
        match self {
            Self::Columns { .. } => 16,
            Self::Halves { .. } | Self::Rows { .. } | Self::Bytes => 8,
        }
    }

    /// Registers of a lane.
    pub fn registers(self) -> usize {
        self.rows() / 8
    }

    /// Bits of a number in shared memory.
    pub fn bits(self) -> usize {
        match self {
            Self::Halves { .. } => 16,
            Self::Rows { bits } | Self::Columns { bits } => bits,
            Self::Bytes => 8,
        }
    }

    /// Numbers in a register.
    pub fn each(self) -> usize {
        match self {
            Self::Halves { .. } => 2,
            Self::Rows { .. } | Self::Columns { .. } | Self::Bytes => 4,
        }
    }

    /// Where number `part` of a lane's register lies.
    pub fn place(self, register: usize, lane: usize, part: usize) -> Place {
        let (group, thread) = (lane / 4, lane % 4);
        let (row, column) = match self {
            Self::Halves { transposed: false } => (group, 2 * thread + part),
            Self::Halves { transposed: true } => (2 * thread + part, group),
            Self::Rows { .. } => (group, 4 * thread + part),
            Self::Columns { .. } => (4 * thread + part, group + 8 * register),
            Self::Bytes => (2 * thread + part % 2, group + 8 * (part / 2)),
        };
        Place {
            row,
            bit: self.bits() * column,
        }
    }
}

pub(super) fn decode(words: &mut Words<'_>) -> Result<Move, Refusal> {
    let loads = words.opcode() == "ldmatrix";
    let shape = words.needed("shape", |word| match (word, loads) {
        ("m8n8", _) => Some("m8n8"),
        ("m8n16", true) => Some("m8n16"),
        ("m16n16", true) => Some("m16n16"),
        ("m16n8", false) => Some("m16n8"),
        _ => None,
    })?;
    let matrices = words.needed("number of matrices", |word| match word {
        "x1" => Some(1),
        "x2" => Some(2),
        "x4" => Some(4),
        _ => None,
    })?;
    let transposed = words.has("trans");
    let generic = words
        .choice(|word| matches!(word, "shared" | "shared::cta").then_some(()))
        .is_none();
    let bits = if words.has("b8x16") {
        words.needed("source's format", |word| match word {
            "b6x16_p32" => Some(6),
            "b4x16_p64" => Some(4),
            _ => None,
        })?
    } else {
        words.needed("type", |word| match word {
            "b16" => Some(16),
            "b8" => Some(8),
            _ => None,
        })?
    };
    let numbers = match (shape, bits, transposed) {
        ("m8n8", 16, transposed) => Numbers::Halves { transposed },
        ("m8n16", 4 | 6, false) => Numbers::Rows { bits },
        ("m16n16", 4 | 6 | 8, true) => Numbers::Columns { bits },
        ("m16n8", 8, true) => Numbers::Bytes,
        ("m16n16" | "m16n8", 4 | 6 | 8, false) => {
            return Err(words.refuse(format!("with .{shape} is .trans")));
        }
        _ => return Err(words.refuse(format!("has no numbers of these with .{shape}"))),
    };
    if matrices * numbers.rows() > 32 {
        return Err(words.refuse("has more rows than lanes"));
    }
    words.counted(&[2])?;
    let (location, direction, registers) = if loads {
        let destinations = words.destinations(0)?;
        let count = destinations.len();
        (words.location(1)?, Direction::Load(destinations), count)
    } else {
        let sources = words.sources(1)?;
        let count = sources.len();
        (words.location(0)?, Direction::Store(sources), count)
    };
    let needed = matrices * numbers.registers();
    if registers != needed {
        return Err(words.refuse(format!("needs {needed} registers, not {registers}")));
    }
    Ok(Move {
        numbers,
        matrices,
        location,
        generic,
        direction,
    })
}
