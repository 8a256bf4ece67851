//! The types and state spaces of PTX variables (PTX ISA 5.1, 5.2).

use std::fmt;

/// A fundamental type. Packed and low-precision types (`.e2m1x2`, …) are types of instructions, never of variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are PTX's")]
pub enum ScalarType {
    B8,
    B16,
    B32,
    B64,
    B128,
    U8,
    U16,
    U32,
    U64,
    S8,
    S16,
    S32,
    S64,
    F16,
    F16x2,
    Bf16,
    Bf16x2,
    F32,
    F64,
    Predicate,
}

impl ScalarType {
    const NAMES: [(Self, &'static str); 20] = [
        (Self::B8, "b8"),
        (Self::B16, "b16"),
        (Self::B32, "b32"),
        (Self::B64, "b64"),
        (Self::B128, "b128"),
        (Self::U8, "u8"),
        (Self::U16, "u16"),
        (Self::U32, "u32"),
        (Self::U64, "u64"),
        (Self::S8, "s8"),
        (Self::S16, "s16"),
        (Self::S32, "s32"),
        (Self::S64, "s64"),
        (Self::F16, "f16"),
        (Self::F16x2, "f16x2"),
        (Self::Bf16, "bf16"),
        (Self::Bf16x2, "bf16x2"),
        (Self::F32, "f32"),
        (Self::F64, "f64"),
        (Self::Predicate, "pred"),
    ];

    /// The type of a name without its dot, `u32`.
    pub fn from_name(name: &str) -> Option<Self> {
        let found = Self::NAMES.iter().find(|(_, own)| *own == name);
        found.map(|&(scalar, _)| scalar)
    }

    /// Its name without a dot.
    pub fn name(self) -> &'static str {
        let found = Self::NAMES.iter().find(|(scalar, _)| *scalar == self);
        found.map_or("", |(_, name)| name)
    }

    /// Bits of a value. A predicate has one.
    pub const fn bits(self) -> u32 {
        match self {
            Self::Predicate => 1,
            Self::B8 | Self::U8 | Self::S8 => 8,
            Self::B16 | Self::U16 | Self::S16 | Self::F16 | Self::Bf16 => 16,
            Self::B32 | Self::U32 | Self::S32 | Self::F16x2 | Self::Bf16x2 | Self::F32 => 32,
            Self::B64 | Self::U64 | Self::S64 | Self::F64 => 64,
            Self::B128 => 128,
        }
    }

    /// Bytes of a value in memory, where a predicate cannot be.
    pub const fn bytes(self) -> u64 {
        (self.bits() / 8) as u64
    }

    /// Whether values are signed integers.
    pub const fn is_signed(self) -> bool {
        matches!(self, Self::S8 | Self::S16 | Self::S32 | Self::S64)
    }
}

impl fmt::Display for ScalarType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, ".{}", self.name())
    }
}

/// Where a variable lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StateSpace {
    /// A lane's register.
    Register,
    /// A grid's memory.
    Global,
    /// A grid's memory that kernels only read.
    Constant,
    /// A CTA's memory.
    Shared,
    /// A lane's memory.
    Local,
    /// A kernel's or a function's arguments.
    Parameter,
}

impl StateSpace {
    /// The space of a directive without its dot, `global`.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "reg" => Self::Register,
            "global" => Self::Global,
            "const" => Self::Constant,
            "shared" => Self::Shared,
            "local" => Self::Local,
            "param" => Self::Parameter,
            _ => return None,
        })
    }
}

impl fmt::Display for StateSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Register => ".reg",
            Self::Global => ".global",
            Self::Constant => ".const",
            Self::Shared => ".shared",
            Self::Local => ".local",
            Self::Parameter => ".param",
        })
    }
}
