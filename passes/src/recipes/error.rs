//! Why a recipe is refused.

use super::{Fraction, Hadamard, HighPrecision, Signs};
use crate::linears::{Role, Side};
use std::ops::Range;
use tessera_ir::diagnostic::{Diagnostic, edit_distance};
use tessera_numerics::{BlockShape, Format, Rounding, ScaleRule, ScaledTypeError};

/// What is wrong with a recipe, in the words of its file.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The text is no TOML.
    #[error("{0}")]
    Toml(String),
    /// There is no such key here.
    #[error("{table} has no key '{found}'{suggestion}", suggestion = did_you_mean(.found, .keys))]
    Key {
        /// The table, as `[weight]`, or `a recipe` for the outermost.
        table: String,
        /// The key in the file.
        found: String,
        /// The keys there are.
        keys: Vec<&'static str>,
    },
    /// A value of another kind.
    #[error("expected {expected} for '{key}', found {found}")]
    Kind {
        /// The key.
        key: String,
        /// What it takes.
        expected: String,
        /// What the file has.
        found: String,
    },
    /// A word that is none of those a key takes.
    #[error("unknown {what} '{found}'{suggestion}", suggestion = did_you_mean(.found, .words))]
    Word {
        /// What it should be one of.
        what: &'static str,
        /// The word in the file.
        found: String,
        /// The words there are.
        words: Vec<&'static str>,
    },
    /// An operand that a role's product does not have.
    #[error("the product of {role} has the operands {} and {}, found '{found}'", Side::of(*.role)[0], Side::of(*.role)[1])]
    OperandOfRole {
        /// The role.
        role: Role,
        /// The operand in the file.
        found: Side,
    },
    /// A transform of one operand alone.
    #[error(
        "'hadamard' is a key of a product, [forward], [dgrad] or [wgrad], and transforms both of its operands: \
         transforming one alone would change the product"
    )]
    HadamardOfOperand,
    /// Blocks that a format does not have.
    #[error(transparent)]
    Blocks(#[from] ScaledTypeError),
    /// A scale rule of other formats.
    #[error("the scale rule {rule} does not apply to {format}, expected {}", rules_of(*.format))]
    Rule {
        /// The rule.
        rule: ScaleRule,
        /// The format.
        format: Format,
    },
    /// A rounding that does not go with the rest.
    #[error(
        "rounding {rounding} is for nvfp4 in vector blocks by the scale rule te, found {format} in {blocks} blocks by \
         the scale rule {rule}"
    )]
    Rounding {
        /// The rounding.
        rounding: Rounding,
        /// The format.
        format: Format,
        /// The blocks.
        blocks: BlockShape,
        /// The rule.
        rule: ScaleRule,
    },
    /// A key that says how to quantise what is not quantised.
    #[error("'{key}' says nothing about {precision}, which is not quantised")]
    NotQuantised {
        /// The key.
        key: &'static str,
        /// The precision.
        precision: HighPrecision,
    },
    /// A mean over the tokens of what has none.
    #[error(
        "a weight has no mean over tokens: its rows are inputs; 'mean' is for an activation or a gradient"
    )]
    MeanOfWeight,
    /// Samples of what is no sample.
    #[error(
        "the rows of a weight are no samples of a distribution: 'sampling' must be 1 for a weight"
    )]
    SamplingOfWeight,
    /// No rank, or one that is not low.
    #[error(
        "expected a rank above 0 and of at most {} of the smaller dimension, found {}",
        super::SpectralSplit::GREATEST_RANK.get(),
        .found.get()
    )]
    Rank {
        /// The rank in the file.
        found: Fraction,
    },
    /// Nothing to find directions in.
    #[error("expected a sampling above 0: a basis cannot be made of no rows")]
    Sampling,
    /// A gate that is always open or always shut.
    #[error(
        "expected a threshold above 0 and below 1, found {}: at 0 a gate centres always, which is 'gate = false', and \
         at 1 never, which is 'mean = false'",
        .found.get()
    )]
    Threshold {
        /// The threshold in the file.
        found: Fraction,
    },
    /// A size that no Hadamard transform has.
    #[error("expected a Hadamard transform of size 16, 32, 64 or 128, found {found}")]
    HadamardSize {
        /// The size in the file.
        found: usize,
    },
    /// The fixed signs are sixteen.
    #[error(
        "the {} signs are TransformerEngine's sixteen, found a Hadamard transform of size {size}; its signs can be {} \
         or {}",
        Signs::Fixed,
        Signs::Random,
        Signs::RandomPerStep
    )]
    FixedSigns {
        /// The size in the file.
        size: usize,
    },
    /// Two high precisions in one product.
    #[error(
        "the operands of {role} are in {left} and in {right}: a product that is not quantised has one precision"
    )]
    PrecisionsDiffer {
        /// The role.
        role: Role,
        /// The first operand's precision.
        left: HighPrecision,
        /// The second's.
        right: HighPrecision,
    },
    /// Two formats of 4 bits whose blocks differ.
    #[error(
        "the operands of {role} are in {left} and in {right}, whose blocks differ: no kernel multiplies the two in 4 bits"
    )]
    NoKernel {
        /// The role.
        role: Role,
        /// The first operand's format.
        left: Format,
        /// The second's.
        right: Format,
    },
    /// MS-EDEN corrects the scales of rotated groups.
    #[error(
        "rounding {} needs a Hadamard transform of size 128 on the product, found {} in {role}",
        Rounding::MsEden,
        found_size(*.found)
    )]
    EdenWithoutHadamard {
        /// The role.
        role: Role,
        /// The transform's size.
        found: Option<usize>,
    },
    /// An override for no linear.
    #[error("expected the names that the override is for, as 'names = [\"*\"]'")]
    NoNames,
    /// Kept in high precision and quantised at once.
    #[error(
        "the override keeps its linears in {precision}: '{key}' would say how to quantise them"
    )]
    KeptAndQuantised {
        /// The precision they are kept in.
        precision: HighPrecision,
        /// The table beside it.
        key: &'static str,
    },
}

/// A refusal with its place in the recipe's text.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{refusal}")]
pub struct RecipeError {
    /// What is wrong.
    pub refusal: Refusal,
    /// Where: bytes of the text.
    pub span: Range<usize>,
    /// What of it was said elsewhere, in a preset.
    pub notes: Vec<String>,
}

impl RecipeError {
    pub(super) fn new(refusal: Refusal, span: Range<usize>) -> Self {
        Self {
            refusal,
            span,
            notes: Vec::new(),
        }
    }

    /// The error as it is shown beside the text.
    pub fn diagnostic(&self) -> Diagnostic {
        let diagnostic = Diagnostic::new(self.to_string(), self.span.clone());
        let available = match &self.refusal {
            Refusal::Key { keys: words, .. } | Refusal::Word { words, .. } => {
                Some(format!("there are: {}", words.join(", ")))
            }
            _ => None,
        };
        let notes = available.into_iter().chain(self.notes.iter().cloned());
        notes.fold(diagnostic, |diagnostic, note| {
            diagnostic.with_note(note, None)
        })
    }
}

/// There is no preset of that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown recipe '{found}'{suggestion}", suggestion = did_you_mean(.found, .names))]
pub struct UnknownPreset {
    /// The name asked for.
    pub found: String,
    /// The names there are.
    pub names: Vec<&'static str>,
}

fn did_you_mean(found: &str, words: &[&'static str]) -> String {
    let distance = |word: &&&str| edit_distance(found, word);
    let nearest = words.iter().min_by_key(distance);
    let nearest = nearest.filter(|word| distance(word) * 3 <= found.len());
    nearest.map_or_else(String::new, |word| format!(", did you mean '{word}'?"))
}

fn rules_of(format: Format) -> String {
    let rules = ScaleRule::ALL.into_iter();
    let names: Vec<&str> = rules
        .filter(|rule| rule.applies_to(format))
        .map(ScaleRule::name)
        .collect();
    match names.as_slice() {
        [] => "none".to_owned(),
        [one] => (*one).to_owned(),
        [firsts @ .., last] => format!("{} or {last}", firsts.join(", ")),
    }
}

fn found_size(size: Option<usize>) -> String {
    size.map_or_else(|| "none".to_owned(), |size| format!("size {size}"))
}

// The message above lists the sizes.
const _: () = assert!(Hadamard::SIZES.len() == 4);
