//! How numbers become a scaled tensor: the rule that makes scales, the rounding of elements, the random stream.

use crate::philox::philox_4x32_10;
use crate::{Format, ScaledType};
use std::fmt;

/// How the scales are made from the largest magnitudes. The order of operations is part of each rule: results are
/// compared bit for bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScaleRule {
    /// TransformerEngine's: the tensor's largest magnitude maps to 448 · 6, a block's to 6. nvfp4 and fp8.
    Te,
    /// torchao's: divisions instead of products with reciprocals, and no scale below E4M3's smallest normal. nvfp4.
    Torchao,
    /// Four over six: a block's largest magnitude maps to 6 or to 4, whichever loses less. nvfp4.
    FourOverSix,
    /// The smallest power of two with which no element saturates. The mx formats.
    Rceil,
    /// The OCP specification's: the largest power of two not above the largest magnitude, over the elements' largest.
    Floor,
    /// As `Floor`, with the largest magnitude first rounded to the elements' mantissa.
    Even,
    /// As `Floor`, one more where the largest magnitude is no power of two.
    Ceil,
}

/// How a scaled number becomes a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rounding {
    /// To the nearest code, ties to the even one.
    NearestEven,
    /// Up or down at random, by TransformerEngine's rule with eight random bits an element: unbiased to 1/256 of a step.
    Stochastic,
    /// MS-EDEN (Quartet II): elements to the nearest, scales corrected per group and rounded at random. nvfp4 only.
    MsEden,
}

impl ScaleRule {
    /// Every rule, in the order of its declaration.
    pub const ALL: [Self; 7] = [
        Self::Te,
        Self::Torchao,
        Self::FourOverSix,
        Self::Rceil,
        Self::Floor,
        Self::Even,
        Self::Ceil,
    ];

    /// The rule's word in attributes, recipes and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Te => "te",
            Self::Torchao => "torchao",
            Self::FourOverSix => "four_over_six",
            Self::Rceil => "rceil",
            Self::Floor => "floor",
            Self::Even => "even",
            Self::Ceil => "ceil",
        }
    }

    /// The rule that a format has where none is named.
    pub const fn default_for(format: Format) -> Self {
        match format {
            Format::Nvfp4 | Format::Fp8E4m3 | Format::Fp8E5m2 => Self::Te,
            Format::Mxfp4
            | Format::Mxfp6E2m3
            | Format::Mxfp6E3m2
            | Format::Mxfp8E4m3
            | Format::Mxfp8E5m2 => Self::Rceil,
        }
    }

    /// Whether the rule says how that format's scales are made.
    pub const fn applies_to(self, format: Format) -> bool {
        match (self, format) {
            (Self::Te, Format::Nvfp4 | Format::Fp8E4m3 | Format::Fp8E5m2)
            | (Self::Torchao | Self::FourOverSix, Format::Nvfp4) => true,
            (Self::Te | Self::Torchao | Self::FourOverSix, _) => false,
            (Self::Rceil | Self::Floor | Self::Even | Self::Ceil, format) => {
                matches!(Self::default_for(format), Self::Rceil)
            }
        }
    }
}

impl Rounding {
    /// Every rounding, in the order of its declaration.
    pub const ALL: [Self; 3] = [Self::NearestEven, Self::Stochastic, Self::MsEden];

    /// The rounding's word in attributes, recipes and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NearestEven => "nearest_even",
            Self::Stochastic => "stochastic",
            Self::MsEden => "ms_eden",
        }
    }

    /// Whether it draws random bits.
    pub const fn is_random(self) -> bool {
        !matches!(self, Self::NearestEven)
    }
}

impl fmt::Display for ScaleRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Rounding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where the random bits of one quantisation come from.
///
/// Element `i`, counted row by row in the padded rows of storage ([`ScaledType::padded_columns`]), draws byte `i % 16` of
/// the little-endian words that [`philox_4x32_10`] gives for the counter
/// `[i / 16 mod 2³², i / 16 / 2³², step, site]` and the key `[seed mod 2³², seed / 2³²]`. A block scale that is rounded at
/// random takes the first of the four words of its sixteen elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RandomStream {
    /// The run's seed.
    pub seed: u64,
    /// The training step, or whatever counts the executions of one quantisation.
    pub step: u32,
    /// The number of the quantisation in its program.
    pub site: u32,
}

impl RandomStream {
    /// The random words of the elements 16 · `block` … 16 · `block` + 15.
    pub const fn words(self, block: u64) -> [u32; 4] {
        let counter = [block as u32, (block >> 32) as u32, self.step, self.site];
        philox_4x32_10(counter, [self.seed as u32, (self.seed >> 32) as u32])
    }

    /// The random byte of an element.
    pub const fn byte(self, element: u64) -> u8 {
        let place = element % 16;
        self.words(element / 16)[place as usize / 4].to_le_bytes()[place as usize % 4]
    }
}

/// A quantisation: what is made, by which rule and rounding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantization {
    scaled_type: ScaledType,
    rule: ScaleRule,
    rounding: Rounding,
}

/// Why there is no such quantisation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantizationError {
    /// The rule says nothing of that format's scales.
    #[error("the scale rule {rule} does not apply to {format}")]
    Rule {
        /// The rule asked for.
        rule: ScaleRule,
        /// The format asked for.
        format: Format,
    },
    /// The rounding is for other formats or rules.
    #[error("rounding {rounding} is for vector blocks of nvfp4 by the rule te, found {found}")]
    Rounding {
        /// The rounding asked for.
        rounding: Rounding,
        /// The rule and the type it was asked for with.
        found: String,
    },
}

impl Quantization {
    /// A quantisation to `scaled_type`.
    ///
    /// # Errors
    /// Rule and rounding are not for that format.
    pub fn new(
        scaled_type: ScaledType,
        rule: ScaleRule,
        rounding: Rounding,
    ) -> Result<Self, QuantizationError> {
        let format = scaled_type.format();
        if !rule.applies_to(format) {
            return Err(QuantizationError::Rule { rule, format });
        }
        let is_eden_ready = format == Format::Nvfp4
            && rule == ScaleRule::Te
            && scaled_type.blocks() == crate::BlockShape::Vector;
        if rounding == Rounding::MsEden && !is_eden_ready {
            let found = format!("{rule} and {scaled_type}");
            return Err(QuantizationError::Rounding { rounding, found });
        }
        Ok(Self {
            scaled_type,
            rule,
            rounding,
        })
    }

    /// What is made.
    pub fn scaled_type(&self) -> &ScaledType {
        &self.scaled_type
    }

    /// How scales are made.
    pub fn rule(&self) -> ScaleRule {
        self.rule
    }

    /// How elements are rounded.
    pub fn rounding(&self) -> Rounding {
        self.rounding
    }
}
