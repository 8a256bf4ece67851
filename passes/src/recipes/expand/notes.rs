//! What a recipe asks of a step in vain.

use super::division::Described;
use super::outcome::{Outcome, Row};
use super::parts::{NamedPart, Stack};
use crate::linears::{LinearId, Role};
use crate::recipes::{Fraction, Pattern, Recipe, names, preset};
use std::fmt;

/// Something that a recipe says and that no linear of the step answers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A pattern of `keep` fits no linear.
    Keep(Pattern),
    /// A pattern of an override fits no linear.
    Override(Pattern),
    /// A pattern fits a part of a linear that cannot be treated apart, beside others that it is followed for.
    Part(NamedPart),
    /// The first or last blocks of layers are kept, and no name tells blocks.
    Blocks,
    /// Whole blocks are to be kept, and no name tells blocks: single linears are kept.
    WholeBlocks,
    /// Nothing of the step is quantised.
    Nothing {
        /// The step's products of linears, all of which stay in high precision.
        products: usize,
    },
    /// The first or last layers are kept, and some linears are one for all layers of loops that cannot be parted.
    Loop {
        /// How many linears.
        linears: usize,
        /// Of how many layers.
        rounds: usize,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unnamed = "names are those that JAX's as_text(debug_info=True) gives, or arg0, arg1, …";
        match self {
            Self::Keep(pattern) => {
                write!(f, "[keep] names: '{pattern}' fits no linear; {unnamed}")
            }
            Self::Override(pattern) => {
                write!(
                    f,
                    "[[override]] names: '{pattern}' fits no linear; {unnamed}"
                )
            }
            Self::Part(part) => part.fmt(f),
            Self::Blocks => write!(
                f,
                "[keep] first_blocks, last_blocks: no linear's name tells its block; {unnamed}"
            ),
            Self::WholeBlocks => write!(
                f,
                "[keep] whole_blocks: no linear's name tells its block, so single linears are kept; {unnamed}"
            ),
            Self::Nothing { products: 0 } => f.write_str(
                "nothing is quantised: the step has no linear, a product of activations by a weight",
            ),
            Self::Nothing { products } => write!(
                f,
                "nothing is quantised: all {products} products of linears stay in high precision; 'recipe explain' says why"
            ),
            Self::Loop { linears, rounds } => write!(
                f,
                "of the linears {linears} run in loops over {rounds} layers that cannot be parted, for not all their \
                 products run in loops over the same layers: the first and last layers cannot be kept in high \
                 precision there"
            ),
        }
    }
}

/// What there is to say. Patterns that presets have are for models of all kinds, and need fit nothing.
pub(super) fn notes(described: &Described<'_>, recipe: &Recipe) -> Vec<Note> {
    let mut notes = Vec::new();
    let Described { linears, parts, .. } = described;
    let fits = |pattern: &Pattern| parts.fits(linears, pattern);
    let keep = recipe.keep();
    let own = keep.names.iter().filter(|pattern| !is_presets(pattern));
    let unmet = own.filter(|pattern| !fits(pattern));
    notes.extend(unmet.cloned().map(Note::Keep));
    let overrides = recipe.overrides().iter().flat_map(|own| &own.names);
    let unmet = overrides.filter(|pattern| !fits(pattern));
    notes.extend(unmet.cloned().map(Note::Override));
    let has_blocks = parts.block_count > 0;
    if keep.asks_for_blocks() && !has_blocks {
        notes.push(Note::Blocks);
    }
    let ends = [keep.first, keep.last];
    let shares = ends.iter().any(|end| end.fraction > Fraction::ZERO);
    if keep.whole_blocks && shares && !has_blocks {
        notes.push(Note::WholeBlocks);
    }
    // The head alone is no layer.
    let asks = ends
        .iter()
        .any(|end| end.fraction > Fraction::ZERO || end.blocks > 0);
    if asks {
        notes.extend(looped(described));
    }
    notes
}

/// Whether a recipe that quantises has met nothing to quantise.
pub(super) fn in_vain(recipe: &Recipe, rows: &[Row]) -> Option<Note> {
    let roles = [Role::Forward, Role::Dgrad, Role::Wgrad];
    let products = roles.map(|role| recipe.products().get(role));
    let operands = products.iter().flat_map(|product| product.operands());
    let quantises = operands
        .into_iter()
        .any(|(_, operand)| operand.precision().scaling().is_some());
    let is_scaled = |row: &Row| matches!(row.outcome, Outcome::Scaled(_));
    (quantises && !rows.iter().any(is_scaled)).then_some(Note::Nothing {
        products: rows.len(),
    })
}

/// The linears that are one for all layers; those of the most layers, if there are several numbers.
fn looped(described: &Described<'_>) -> Option<Note> {
    let ids = (0..described.linears.linears.len()).map(LinearId);
    let rounds = ids.filter_map(|id| match described.parts.layers.stack(id) {
        Stack::Divisible(_) => None,
        Stack::Whole(sizes) => Some(sizes.iter().product()),
    });
    let rounds: Vec<usize> = rounds.filter(|&rounds| rounds > 1).collect();
    let longest = rounds.iter().copied().max()?;
    Some(Note::Loop {
        linears: rounds.len(),
        rounds: longest,
    })
}

fn is_presets(pattern: &Pattern) -> bool {
    let presets = names().filter_map(|name| preset(name).ok());
    let mut kept = presets.flat_map(|preset| preset.keep().names.clone());
    kept.any(|own| own == *pattern)
}
