//! A recipe: what is done with every product of a step.

use super::exceptions::{Keep, KeptReason, LinearProduct, Override, OverrideEffect};
use super::{Fraction, HighPrecision, ProductRecipe, Products, Scaling};
use crate::linears::{Dimensions, Role, Side};
use tessera_numerics::Rounding;

/// What is done with every product of a step. Any value of this type has a meaning; see the module for its text form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    pub(super) name: String,
    pub(super) summary: String,
    pub(super) seed: u64,
    pub(super) products: Products,
    pub(super) keep: Keep,
    pub(super) overrides: Vec<Override>,
}

/// What a recipe does with one product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Treatment<'r> {
    /// At least one operand is quantised.
    Quantised(&'r ProductRecipe),
    /// The product is computed in high precision.
    Kept {
        /// Of both operands.
        precision: HighPrecision,
        /// Why.
        reason: KeptReason,
    },
}

impl Recipe {
    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is, in one line.
    pub fn summary(&self) -> &str {
        &self.summary
    }

    /// What all random bits are drawn from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What is done with linears that no exception is for.
    pub fn products(&self) -> &Products {
        &self.products
    }

    /// Which linears stay in high precision.
    pub fn keep(&self) -> &Keep {
        &self.keep
    }

    /// Linears treated otherwise. Of several that fit, the last one decides.
    pub fn overrides(&self) -> &[Override] {
        &self.overrides
    }

    /// What is done with a product. The last override that fits its linear decides, then [`keep`](Self::keep), unless the
    /// override quantises always; then what the linear's sizes allow.
    pub fn for_product(&self, linear: &LinearProduct<'_>) -> Treatment<'_> {
        let mut fitting = self.overrides.iter().rev();
        let fitting = fitting.find_map(|own| Some((own, own.pattern_for_product(linear)?)));
        let (products, always) = match fitting.map(|(own, pattern)| (&own.effect, pattern)) {
            None => (&self.products, false),
            Some((OverrideEffect::Quantise { products, always }, _)) => (&**products, *always),
            Some((&OverrideEffect::Keep(precision), pattern)) => {
                let reason = KeptReason::Override(pattern.clone());
                return Treatment::Kept { precision, reason };
            }
        };
        let precision = self.keep.precision;
        if let Some(reason) = self.keep.reason(linear).filter(|_| !always) {
            return Treatment::Kept { precision, reason };
        }
        let product = products.get(linear.role);
        if let Some(precision) = product.high_precision() {
            let reason = KeptReason::Role(linear.role);
            return Treatment::Kept { precision, reason };
        }
        match product.check_against(&linear.sizes) {
            Ok(()) => Treatment::Quantised(product),
            Err(reason) => Treatment::Kept { precision, reason },
        }
    }

    /// What is allowed and yet seldom meant, a sentence each.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        let forward = self.products.get(Role::Forward);
        for (operand, own) in forward.operands() {
            let precision = own.precision();
            let rounding = precision.scaling().map(Scaling::rounding);
            if rounding == Some(Rounding::Stochastic) {
                remarks.push(format!(
                    "forward rounds the {operand} stochastically: without bias, but with more noise than to the nearest"
                ));
            }
        }
        let weights = [Role::Forward, Role::Dgrad].map(|role| {
            let weight = self.products.get(role).operand(Side::Weight);
            weight.and_then(|weight| weight.precision().scaling().copied())
        });
        if let [Some(forward), Some(dgrad)] = weights
            && forward.blocks() == tessera_numerics::BlockShape::Square
            && forward != dgrad
        {
            remarks.push(
                "the weight's square blocks in forward serve dgrad too, which quantises it otherwise: the two see \
                 different weights"
                    .to_owned(),
            );
        }
        let rotations = [Role::Forward, Role::Dgrad].map(|role| self.products.get(role).hadamard());
        if let [Some(forward), _] = weights
            && forward.blocks() == tessera_numerics::BlockShape::Square
            && rotations[0] != rotations[1]
        {
            remarks.push(
                "the weight has square blocks, and forward and dgrad rotate it otherwise: the two see different weights"
                    .to_owned(),
            );
        }
        let ends = [self.keep.first, self.keep.last];
        let has_shares = ends.iter().any(|end| end.fraction > Fraction::ZERO);
        if self.keep.whole_blocks && !has_shares {
            remarks.push(
                "[keep] whole_blocks is of first_fraction and last_fraction, which keep nothing"
                    .to_owned(),
            );
        }
        remarks
    }
}

impl ProductRecipe {
    /// Whether the recipe has a meaning for a linear of these sizes. Dimensions that are no multiple of a block or of a
    /// Hadamard transform do: rows are padded with zeros ([`padded`](super::Hadamard::padded)).
    ///
    /// # Errors
    /// A spectral split takes more than half of an operand's directions.
    pub fn check_against(&self, sizes: &Dimensions) -> Result<(), KeptReason> {
        if sizes.is_grouped {
            // No split is of grouped products.
            return Ok(());
        }
        for (operand, own) in self.operands() {
            let Some(split) = own.spectral() else {
                continue;
            };
            let (rows, columns) = operand.shape(sizes);
            let (rank, smaller) = (split.rank_of(rows, columns), rows.min(columns));
            if 2 * rank > smaller {
                return Err(KeptReason::Rank { rank, smaller });
            }
        }
        Ok(())
    }
}
