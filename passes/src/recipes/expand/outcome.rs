//! What is said of each product: what its operands become, or why it stays.

use crate::linears;
use crate::recipes::{
    HighPrecision, KeptReason, OperandPrecision, OperandRecipe, ProductRecipe, Scaling,
};
use std::fmt;
use tessera_ir::ElementType;
use tessera_numerics::{BlockShape, Rounding, ScaleRule};

/// A product of a linear and what becomes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The product.
    pub row: linears::Row,
    /// What becomes of it.
    pub outcome: Outcome,
}

/// What becomes of a product.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// At least one operand is quantised.
    Scaled(Expanded),
    /// It stays in high precision.
    Kept(Kept),
}

/// What the operands of a product become, in the order of the role's formula.
#[derive(Clone, Debug, PartialEq)]
pub struct Expanded {
    /// Each operand's side and what it becomes.
    pub operands: [(linears::Side, String); 2],
    /// The transform of both, if there is one.
    pub transform: Option<String>,
    /// The precisions of both, `a × b`, where no kernel multiplies them in 4 bits: the numbers that they stand for are.
    pub dequantised: Option<String>,
    /// What of the recipe is left out, because the product is a grouped one.
    pub left_out: Vec<GroupedReason>,
}

/// Why a product stays in high precision, and in which.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// What both operands are converted to; `None` where the product stays as it was.
    pub precision: Option<HighPrecision>,
    /// Why.
    pub reason: StayReason,
}

/// Why a product stays in high precision.
#[derive(Clone, Debug, PartialEq)]
pub enum StayReason {
    /// The recipe says so.
    Recipe(KeptReason),
    /// An operand or the result is of a type that no recipe replaces.
    Element(ElementType),
    /// There is nothing to multiply.
    Empty,
    /// It decides whether a loop goes on.
    Condition,
    /// It needs state for each round of a loop that does not run a fixed number of times.
    Rounds,
    /// It is no product of two matrices.
    Form,
}

/// What a recipe asks for that a grouped product goes without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupedReason {
    /// A transform of both operands of wgrad, over the rows, which would mix those of different groups.
    Hadamard,
}

impl fmt::Display for GroupedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hadamard => "no transform over rows of different groups",
        })
    }
}

impl fmt::Display for StayReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recipe(reason) => reason.fmt(f),
            Self::Element(element) => {
                write!(f, "recipes are for f16, bf16 and f32, and it has {element}")
            }
            Self::Empty => f.write_str("a dimension is 0"),
            Self::Condition => f.write_str("it is part of a loop's condition"),
            Self::Rounds => f.write_str(
                "its split keeps state for each round of a loop, which does not run a fixed number of times",
            ),
            Self::Form => f.write_str("it is no product of two matrices"),
        }
    }
}

impl Expanded {
    pub(super) fn of(recipe: &ProductRecipe, left_out: Vec<GroupedReason>) -> Self {
        let operands = recipe.operands();
        Self {
            operands: operands.map(|(side, own)| (side, operand_text(own))),
            transform: recipe
                .hadamard()
                .map(|own| format!("hadamard {} ({} signs)", own.size(), own.signs())),
            dequantised: dequantised(recipe),
            left_out,
        }
    }
}

/// Both precisions, unless both are the same of 4 bits.
fn dequantised(recipe: &ProductRecipe) -> Option<String> {
    let precisions = recipe.operands().map(|(_, own)| own.precision());
    let formats = precisions.map(|own| own.scaling().map(Scaling::format));
    let is_fast =
        formats[0] == formats[1] && formats[0].is_some_and(|format| format.element().bits() == 4);
    let [left, right] = precisions.map(|own| match own {
        OperandPrecision::High(precision) => precision.to_string(),
        OperandPrecision::Scaled(scaling) => scaling.format().to_string(),
    });
    (!is_fast).then(|| format!("{left} × {right}"))
}

/// `mean bf16 + nvfp4 16x16 stochastic`.
fn operand_text(recipe: &OperandRecipe) -> String {
    let mut parts = Vec::new();
    if let Some(mean) = recipe.mean() {
        let gate = if mean.gate.is_some() { "gated " } else { "" };
        parts.push(format!("{gate}mean {}", mean.precision));
    }
    if let Some(spectral) = recipe.spectral() {
        let share = spectral.rank().get() * 100.0;
        parts.push(format!("{share} % of directions {}", spectral.factors()));
    }
    parts.push(match recipe.precision() {
        OperandPrecision::High(precision) => precision.to_string(),
        OperandPrecision::Scaled(scaling) => scaling_text(&scaling),
    });
    parts.join(" + ")
}

/// The format, and what is not as usual.
fn scaling_text(scaling: &Scaling) -> String {
    let mut text = scaling.format().to_string();
    if scaling.blocks() == BlockShape::Square {
        text.push_str(" 16x16");
    }
    if scaling.rule() != ScaleRule::default_for(scaling.format()) {
        text.push_str(&format!(" {}", scaling.rule()));
    }
    if scaling.rounding() != Rounding::NearestEven {
        text.push_str(&format!(" {}", scaling.rounding()));
    }
    text
}

impl fmt::Display for Outcome {
    /// In one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scaled(Expanded {
                operands: [(left, left_text), (right, right_text)],
                transform,
                dequantised: _,
                left_out,
            }) => {
                write!(f, "{left}: {left_text}; {right}: {right_text}")?;
                if let Some(transform) = transform {
                    write!(f, "; {transform}")?;
                }
                if left_out.is_empty() {
                    return Ok(());
                }
                let left_out: Vec<String> = left_out.iter().map(ToString::to_string).collect();
                write!(f, "; a grouped product: {}", left_out.join(", "))
            }
            Self::Kept(Kept {
                precision: Some(precision),
                reason,
            }) => write!(f, "{precision}: {reason}"),
            Self::Kept(Kept {
                precision: None,
                reason,
            }) => write!(f, "as it is: {reason}"),
        }
    }
}
