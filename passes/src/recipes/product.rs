//! What a recipe does with one product: both operands, and the transform they share.

use super::{
    HighPrecision, MeanSplit, OperandPrecision, Precision, Refusal, Scaling, SpectralSplit,
};
use crate::linears::{Dimensions, Role, Side};
use std::fmt;
use tessera_numerics::Rounding;

impl Role {
    /// Every role, in the order of a step.
    pub const ALL: [Self; 3] = [Self::Forward, Self::Dgrad, Self::Wgrad];

    /// The word in recipes and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Dgrad => "dgrad",
            Self::Wgrad => "wgrad",
        }
    }
}

impl Side {
    /// Every side, in the order of a recipe's tables.
    pub const ALL: [Self; 3] = [Self::Activation, Self::Weight, Self::Gradient];

    /// The word in recipes and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Activation => "activation",
            Self::Weight => "weight",
            Self::Gradient => "gradient",
        }
    }

    /// The two sides of a role's product, in the order of its formula.
    pub const fn of(role: Role) -> [Self; 2] {
        match role {
            Role::Forward => [Self::Activation, Self::Weight],
            Role::Dgrad => [Self::Gradient, Self::Weight],
            Role::Wgrad => [Self::Activation, Self::Gradient],
        }
    }

    /// Rows and columns of that operand of a linear.
    pub const fn shape(self, sizes: &Dimensions) -> (usize, usize) {
        match self {
            Self::Activation => (sizes.l, sizes.m),
            Self::Weight => (sizes.m, sizes.n),
            Self::Gradient => (sizes.l, sizes.n),
        }
    }

    /// Whether its rows are tokens: what has a mean over tokens, and rows that are samples.
    pub const fn has_tokens(self) -> bool {
        match self {
            Self::Activation | Self::Gradient => true,
            Self::Weight => false,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a recipe does with one operand of one product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperandRecipe {
    precision: OperandPrecision,
    mean: Option<MeanSplit>,
    spectral: Option<SpectralSplit>,
}

impl OperandRecipe {
    /// The treatment of an operand. Where both splits are given the mean comes first, and the spectral split is that of
    /// the residual.
    ///
    /// # Errors
    /// A split of what is not quantised, a mean of a weight, or samples of a weight's rows.
    pub fn new(
        operand: Side,
        precision: OperandPrecision,
        mean: Option<MeanSplit>,
        spectral: Option<SpectralSplit>,
    ) -> Result<Self, Refusal> {
        if let OperandPrecision::High(precision) = precision {
            let split = match (mean, spectral) {
                (Some(_), _) => Some("mean"),
                (None, Some(_)) => Some("spectral"),
                (None, None) => None,
            };
            if let Some(key) = split {
                return Err(Refusal::NotQuantised { key, precision });
            }
        }
        if !operand.has_tokens() {
            if mean.is_some() {
                return Err(Refusal::MeanOfWeight);
            }
            let sampling = spectral.map(|split| split.sampling());
            if sampling.is_some_and(|sampling| sampling < super::Fraction::ONE) {
                return Err(Refusal::SamplingOfWeight);
            }
        }
        Ok(Self {
            precision,
            mean,
            spectral,
        })
    }

    /// What the operand, or what the splits leave of it, is stored in.
    pub const fn precision(&self) -> OperandPrecision {
        self.precision
    }

    /// The mean that is taken out first, if any.
    pub const fn mean(&self) -> Option<&MeanSplit> {
        self.mean.as_ref()
    }

    /// The leading directions that are taken out, after the mean, if any.
    pub const fn spectral(&self) -> Option<&SpectralSplit> {
        self.spectral.as_ref()
    }

    /// How a part of a split (the mean, a factor) is stored: vector blocks by the format's own rule; rounded at random
    /// where the operand is, by [`Rounding::Stochastic`].
    pub fn part(&self, precision: Precision) -> OperandPrecision {
        let format = match precision {
            Precision::High(precision) => return OperandPrecision::High(precision),
            Precision::Scaled(format) => format,
        };
        let plain = Scaling::plain(format);
        let is_random = |scaling: &Scaling| scaling.rounding().is_random();
        let scaling = match self.precision.scaling().is_some_and(is_random) {
            // Stochastic rounding is there for every format; were it not, the nearest is.
            true => Scaling::new(format, plain.blocks(), plain.rule(), Rounding::Stochastic)
                .unwrap_or(plain),
            false => plain,
        };
        OperandPrecision::Scaled(scaling)
    }
}

/// A Hadamard transform of both operands along the dimension they are contracted over, in blocks of `size`. It leaves
/// the product as it is: `(A H)(Hᵀ B) = A B`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hadamard {
    size: usize,
    signs: Signs,
}

/// The signs that randomise a Hadamard transform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signs {
    /// TransformerEngine's sixteen, for every product and step: size 16 alone.
    Fixed,
    /// Drawn from the seed, other ones for each product, the same in every step.
    Random,
    /// Drawn from the seed, other ones for each product and each step.
    RandomPerStep,
}

impl Signs {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Fixed, Self::Random, Self::RandomPerStep];

    /// The word in recipes and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Random => "random",
            Self::RandomPerStep => "random_per_step",
        }
    }
}

impl fmt::Display for Signs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Hadamard {
    /// The sizes there are.
    pub const SIZES: [usize; 4] = [16, 32, 64, 128];

    /// A transform.
    ///
    /// # Errors
    /// There is none of that size, or the fixed signs are not as many.
    pub fn new(size: usize, signs: Signs) -> Result<Self, Refusal> {
        if !Self::SIZES.contains(&size) {
            return Err(Refusal::HadamardSize { found: size });
        }
        if signs == Signs::Fixed && size != 16 {
            return Err(Refusal::FixedSigns { size });
        }
        Ok(Self { size, signs })
    }

    /// The elements of a block, a power of two.
    pub const fn size(&self) -> usize {
        self.size
    }

    /// Its signs.
    pub const fn signs(&self) -> Signs {
        self.signs
    }

    /// The contracted size with its padding: whole blocks. Both operands are padded with zeros, which adds nothing to
    /// the product.
    pub const fn padded(&self, contracted: usize) -> usize {
        contracted.next_multiple_of(self.size)
    }
}

/// What a recipe does with one product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProductRecipe {
    role: Role,
    operands: [OperandRecipe; 2],
    hadamard: Option<Hadamard>,
}

impl ProductRecipe {
    /// The treatment of a product, the operands in the order of [`Side::of`].
    ///
    /// A product of one scaled and one high-precision operand is computed in the latter, on the numbers that the scaled
    /// one stands for.
    ///
    /// # Errors
    /// The operands' precisions do not go together: two high ones, or two of 4 bits that no kernel multiplies; or the transform does not go with them.
    pub fn new(
        role: Role,
        operands: [OperandRecipe; 2],
        hadamard: Option<Hadamard>,
    ) -> Result<Self, Refusal> {
        let [left, right] = operands.map(|operand| operand.precision.high());
        if let (Some(left), Some(right)) = (left, right) {
            if left != right {
                return Err(Refusal::PrecisionsDiffer { role, left, right });
            }
            if hadamard.is_some() {
                let (key, precision) = ("hadamard", left);
                return Err(Refusal::NotQuantised { key, precision });
            }
        }
        let formats = operands.map(|operand| operand.precision.scaling().map(Scaling::format));
        if let [Some(left), Some(right)] = formats
            && [left, right]
                .iter()
                .all(|format| format.element().bits() == 4)
            && left.block() != right.block()
        {
            return Err(Refusal::NoKernel { role, left, right });
        }
        let is_eden = |operand: &OperandRecipe| {
            let rounding = operand.precision.scaling().map(Scaling::rounding);
            rounding == Some(Rounding::MsEden)
        };
        let size = hadamard.map(|hadamard| hadamard.size);
        if operands.iter().any(is_eden) && size != Some(EDEN_GROUP) {
            return Err(Refusal::EdenWithoutHadamard { role, found: size });
        }
        Ok(Self {
            role,
            operands,
            hadamard,
        })
    }

    /// Which product it is.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// Both operands, in the order of the role's formula.
    pub fn operands(&self) -> [(Side, &OperandRecipe); 2] {
        let [first, second] = Side::of(self.role);
        let [left, right] = &self.operands;
        [(first, left), (second, right)]
    }

    /// The same with what a grouped product has a meaning for: all but wgrad's transform, which would mix the rows of
    /// different groups, and with it MS-EDEN, which becomes stochastic rounding.
    pub fn for_groups(&self) -> Self {
        let hadamard = self.hadamard.filter(|_| self.role != Role::Wgrad);
        let operands = self.operands.map(|operand| {
            let precision = match operand.precision {
                OperandPrecision::Scaled(scaling) if hadamard.is_none() => {
                    OperandPrecision::Scaled(scaling.without_eden())
                }
                precision => precision,
            };
            OperandRecipe {
                precision,
                ..operand
            }
        });
        Self {
            role: self.role,
            operands,
            hadamard,
        }
    }

    /// One operand; `None` if the product has no such.
    pub fn operand(&self, operand: Side) -> Option<&OperandRecipe> {
        let own = self.operands().into_iter();
        own.filter(|&(name, _)| name == operand)
            .map(|(_, recipe)| recipe)
            .next()
    }

    /// The transform of both operands, applied to what the splits leave of them.
    pub const fn hadamard(&self) -> Option<&Hadamard> {
        self.hadamard.as_ref()
    }

    /// The high precision of both operands, if nothing is quantised.
    pub fn high_precision(&self) -> Option<HighPrecision> {
        let [left, right] = self.operands.map(|operand| operand.precision.high());
        left.and(right)
    }
}

/// MS-EDEN corrects the scales of groups that a Hadamard transform of this size has mixed (Quartet II, arXiv 2601.22813).
const EDEN_GROUP: usize = 128;

/// What a recipe does with a linear's three products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Products {
    forward: ProductRecipe,
    dgrad: ProductRecipe,
    wgrad: ProductRecipe,
}

impl Products {
    /// The three, each made by `product`.
    pub(super) fn from_roles<E>(
        mut product: impl FnMut(Role) -> Result<ProductRecipe, E>,
    ) -> Result<Self, E> {
        Ok(Self {
            forward: product(Role::Forward)?,
            dgrad: product(Role::Dgrad)?,
            wgrad: product(Role::Wgrad)?,
        })
    }

    /// That of a role.
    pub const fn get(&self, role: Role) -> &ProductRecipe {
        match role {
            Role::Forward => &self.forward,
            Role::Dgrad => &self.dgrad,
            Role::Wgrad => &self.wgrad,
        }
    }
}
