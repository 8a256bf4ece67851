//! Linears that a recipe treats otherwise: kept in high precision, or by an override.

use super::{Fraction, HighPrecision, Pattern, Products};
use crate::linears::{Dimensions, Role, Routing};
use std::fmt;

/// A product of a step, as far as a recipe asks about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearProduct<'a> {
    /// The linear's name: its weight's.
    pub name: &'a str,
    /// What the part of the linear is called that is asked about, if it is one: its layer, then its expert.
    pub parts: &'a [String],
    /// Which of the model's linears it is, in the order of the forward pass, from 0: microbatches of one step count once.
    pub index: usize,
    /// How many linears the model has.
    pub count: usize,
    /// The block of layers it lies in, where that is known; the head and what else stands outside has none.
    pub block: Option<Block>,
    /// How many blocks of layers the model has, as far as names tell; 0 where they do not.
    pub block_count: usize,
    /// Whether its activation is a one-hot, so that it looks up rows of its weight: an embedding.
    pub is_lookup: bool,
    /// Whether the step does not update its weight.
    pub is_frozen: bool,
    /// Whether its results decide about experts: a router.
    pub routing: Option<Routing>,
    /// Which of the linear's products.
    pub role: Role,
    /// The linear's sizes.
    pub sizes: Dimensions,
}

impl LinearProduct<'_> {
    /// Whether a pattern fits the linear's name or that of the part.
    fn is_fitted(&self, pattern: &Pattern) -> bool {
        pattern.matches(self.name) || self.parts.iter().any(|part| pattern.matches(part))
    }
}

/// Which of a model's blocks of layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// From 0, in the order of the forward pass.
    pub index: usize,
    /// How many there are.
    pub count: usize,
}

/// Which linears stay in high precision: those that any of this says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keep {
    /// The precision that they are kept in.
    pub precision: HighPrecision,
    /// By name.
    pub names: Vec<Pattern>,
    /// The first ones in the order of the forward pass.
    pub first: Depth,
    /// The last ones.
    pub last: Depth,
    /// Whether shares are of blocks of layers where names tell blocks.
    pub whole_blocks: bool,
    /// Those whose weight the step does not update.
    pub frozen: bool,
    /// Those one of whose three sizes is smaller: there a block is mostly padding.
    pub smallest_dimension: usize,
}

/// How many linears at one end of a model: as many as the greatest of the three says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// So many linears.
    pub linears: usize,
    /// All linears of so many blocks.
    pub blocks: usize,
    /// This share of all linears, to the nearest; of all blocks, where whole blocks are kept and names tell them.
    pub fraction: Fraction,
}

impl Depth {
    /// None.
    pub const NONE: Self = Self {
        linears: 0,
        blocks: 0,
        fraction: Fraction::ZERO,
    };

    /// Whether the linear with `distance` others between it and the end is among them.
    fn reaches(
        &self,
        end: End,
        whole_blocks: bool,
        linear: &LinearProduct<'_>,
    ) -> Option<KeptReason> {
        let distance = end.distance(linear.index, linear.count);
        let (place, count) = (linear.index + 1, linear.count);
        let (share, blocks) = match whole_blocks && linear.block_count > 0 {
            true => (0, self.fraction.of(linear.block_count)),
            false => (self.fraction.of(count), 0),
        };
        let linears = self.linears.max(share);
        if distance < linears {
            return Some(KeptReason::Linears {
                end,
                linears,
                place,
                count,
            });
        }
        let block = linear.block?;
        let blocks = self.blocks.max(blocks);
        let kept = end.distance(block.index, block.count) < blocks;
        kept.then_some(KeptReason::Blocks {
            end,
            blocks,
            place: block.index + 1,
            count: block.count,
        })
    }
}

/// An end of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Where the forward pass begins.
    First,
    /// Where it ends.
    Last,
}

impl End {
    fn distance(self, index: usize, count: usize) -> usize {
        match self {
            Self::First => index,
            Self::Last => count.saturating_sub(index + 1),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Last => "last",
        }
    }
}

impl Keep {
    /// Why the linear stays in high precision, if it does.
    pub fn reason(&self, linear: &LinearProduct<'_>) -> Option<KeptReason> {
        let by_name = || {
            let pattern = self.names.iter().find(|name| linear.is_fitted(name));
            pattern.cloned().map(KeptReason::Name)
        };
        let by_size = || {
            let Dimensions { l, m, n, .. } = linear.sizes;
            let (smallest, least) = (l.min(m).min(n), self.smallest_dimension);
            (smallest < least).then_some(KeptReason::Size { smallest, least })
        };
        let by_frozen = (self.frozen && linear.is_frozen).then_some(KeptReason::Frozen);
        let by_lookup = linear.is_lookup.then_some(KeptReason::Lookup);
        by_name()
            .or(by_lookup)
            .or(by_frozen)
            .or(linear.routing.map(KeptReason::Router))
            .or_else(|| self.first.reaches(End::First, self.whole_blocks, linear))
            .or_else(|| self.last.reaches(End::Last, self.whole_blocks, linear))
            .or_else(by_size)
    }

    /// Whether it asks for the blocks of linears.
    pub const fn asks_for_blocks(&self) -> bool {
        self.first.blocks > 0 || self.last.blocks > 0
    }
}

/// Why a product stays in high precision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeptReason {
    /// The recipe quantises neither operand of this role.
    Role(Role),
    /// The linear's name fits this pattern of `keep`.
    Name(Pattern),
    /// Its activation is a one-hot.
    Lookup,
    /// The step does not update its weight.
    Frozen,
    /// Its results decide about experts.
    Router(Routing),
    /// The linear's name fits this pattern of an override that keeps its linears.
    Override(Pattern),
    /// It is one of the first or last linears.
    Linears {
        /// The end of the model.
        end: End,
        /// How many are kept there.
        linears: usize,
        /// Which one it is, from 1.
        place: usize,
        /// Of how many.
        count: usize,
    },
    /// It is in one of the first or last blocks.
    Blocks {
        /// The end of the model.
        end: End,
        /// How many are kept there.
        blocks: usize,
        /// Which block it is in, from 1.
        place: usize,
        /// Of how many.
        count: usize,
    },
    /// It is too small.
    Size {
        /// Its smallest size.
        smallest: usize,
        /// The least that is quantised.
        least: usize,
    },
    /// It is too small for a spectral split: it would take more than half of the
    /// directions.
    Rank {
        /// The rank.
        rank: usize,
        /// The smaller dimension of the operand.
        smaller: usize,
    },
}

impl fmt::Display for KeptReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role(role) => write!(f, "the recipe does not quantise {role}"),
            Self::Name(pattern) => write!(f, "its name fits '{pattern}'"),
            Self::Lookup => f.write_str(
                "its activation is a one-hot: an embedding, which looks up rows of the weight",
            ),
            Self::Frozen => f.write_str("the step does not update its weight"),
            Self::Router(routing) => write!(f, "a router: {routing}"),
            Self::Override(pattern) => write!(f, "the override for '{pattern}' keeps it"),
            Self::Linears {
                end,
                linears,
                place,
                count,
            } => {
                let end = end.name();
                write!(f, "linear {place} of {count}; the {end} {linears} are kept")
            }
            Self::Blocks {
                end,
                blocks,
                place,
                count,
            } => {
                let end = end.name();
                write!(
                    f,
                    "in block {place} of {count}; the {end} {blocks} are kept"
                )
            }
            Self::Size { smallest, least } => {
                write!(f, "a dimension of {smallest} is below {least}")
            }
            Self::Rank { rank, smaller } => write!(
                f,
                "a spectral split of rank {rank} is more than half of a dimension of {smaller}"
            ),
        }
    }
}

/// Another treatment for the linears of some names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// Whose: linears that one of the patterns fits.
    pub names: Vec<Pattern>,
    /// What is done with them.
    pub effect: OverrideEffect,
}

/// What an override does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OverrideEffect {
    /// Keeps the linears in this precision.
    Keep(HighPrecision),
    /// Quantises them so.
    Quantise {
        /// In place of the recipe's own products.
        products: Box<Products>,
        /// Even where the recipe would keep them.
        always: bool,
    },
}

impl Override {
    /// The pattern that fits the name, if one does.
    pub fn pattern_for(&self, name: &str) -> Option<&Pattern> {
        self.names.iter().find(|pattern| pattern.matches(name))
    }

    /// The pattern that fits a linear or the part of it that is asked about, if one does.
    pub fn pattern_for_product(&self, linear: &LinearProduct<'_>) -> Option<&Pattern> {
        self.names.iter().find(|pattern| linear.is_fitted(pattern))
    }
}
