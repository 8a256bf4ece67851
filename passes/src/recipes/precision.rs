//! What an operand of a product is stored in: a high precision, or a scaled format and how numbers become it.

use super::Refusal;
use std::fmt;
use tessera_numerics::{
    BlockShape, Format, Quantization, QuantizationError, Rounding, ScaleLayout, ScaleRule,
    ScaledType,
};

/// A precision without block scales. Products of it are summed in f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HighPrecision {
    /// bfloat16: what has more digits is rounded to the nearest.
    Bf16,
    /// f32: a step written in f32 stays as it is.
    F32,
}

/// A precision by its word: `bf16`, `f32` or a scaled format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Precision {
    /// Not scaled.
    High(HighPrecision),
    /// Scaled. For a part of a split; an operand says more, see [`Scaling`].
    Scaled(Format),
}

/// How an operand becomes a scaled tensor. Only combinations that [`Quantization`] knows exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scaling {
    format: Format,
    blocks: BlockShape,
    rule: ScaleRule,
    rounding: Rounding,
}

/// The precision of an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OperandPrecision {
    /// Not quantised.
    High(HighPrecision),
    /// Quantised so.
    Scaled(Scaling),
}

impl HighPrecision {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Bf16, Self::F32];

    /// The word in recipes and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bf16 => "bf16",
            Self::F32 => "f32",
        }
    }
}

impl Precision {
    /// Every precision.
    pub fn all() -> impl Iterator<Item = Self> {
        let high = HighPrecision::ALL.into_iter().map(Self::High);
        high.chain(Format::ALL.into_iter().map(Self::Scaled))
    }

    /// The word in recipes and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::High(precision) => precision.name(),
            Self::Scaled(format) => format.name(),
        }
    }
}

impl Scaling {
    /// A way to quantise.
    ///
    /// # Errors
    /// Format, blocks, rule and rounding do not go together.
    pub fn new(
        format: Format,
        blocks: BlockShape,
        rule: ScaleRule,
        rounding: Rounding,
    ) -> Result<Self, Refusal> {
        // Whether the four go together is the same for every matrix.
        let matrix = ScaledType::new([16, 16], format, 1, blocks, ScaleLayout::Linear)?;
        Quantization::new(matrix, rule, rounding).map_err(|error| match error {
            QuantizationError::Rule { rule, format } => Refusal::Rule { rule, format },
            QuantizationError::Rounding { .. } => Refusal::Rounding {
                rounding,
                format,
                blocks,
                rule,
            },
        })?;
        Ok(Self {
            format,
            blocks,
            rule,
            rounding,
        })
    }

    /// The plain way: vector blocks, the format's own rule, to the nearest.
    pub const fn plain(format: Format) -> Self {
        Self {
            format,
            blocks: BlockShape::Vector,
            rule: ScaleRule::default_for(format),
            rounding: Rounding::NearestEven,
        }
    }

    /// The same with stochastic rounding, which every format has, in the place of MS-EDEN.
    pub(super) fn without_eden(self) -> Self {
        let rounding = match self.rounding {
            Rounding::MsEden => Rounding::Stochastic,
            rounding => rounding,
        };
        Self { rounding, ..self }
    }

    /// How numbers are stored.
    pub const fn format(&self) -> Format {
        self.format
    }

    /// What shares a block scale.
    pub const fn blocks(&self) -> BlockShape {
        self.blocks
    }

    /// How scales are made.
    pub const fn rule(&self) -> ScaleRule {
        self.rule
    }

    /// How elements are rounded.
    pub const fn rounding(&self) -> Rounding {
        self.rounding
    }
}

impl OperandPrecision {
    /// How it is quantised, if it is.
    pub const fn scaling(&self) -> Option<&Scaling> {
        match self {
            Self::High(_) => None,
            Self::Scaled(scaling) => Some(scaling),
        }
    }

    /// The high precision, if it is one.
    pub const fn high(&self) -> Option<HighPrecision> {
        match self {
            Self::High(precision) => Some(*precision),
            Self::Scaled(_) => None,
        }
    }
}

impl fmt::Display for HighPrecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
