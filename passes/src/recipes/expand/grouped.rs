//! What a recipe does with grouped products: as with those of a batch, a product for each group.
//!
//! The mean that is taken out of an operand with tokens is that of each group over its own rows, as a batch of products has
//! one for each: groups are the rows of different experts, and each expert's product is one of its own. With E the rows'
//! membership, `Eᵢ_g` = 1 where row i is in group g, M the means, a row for each group, and s the sums of a residual's rows
//! in each group, the products of `X = E M_X + R_X` are
//!
//! ```text
//! X W   = R_X W  +  E (M_X W)                                      forward, dgrad
//! XᵀD   = R_XᵀR_D  +  M_X ⊗ (s_D + c M_D)  +  s_X ⊗ M_D            wgrad, for each group; c its rows
//! ```
//!
//! `E M` and `Eᵀ R` are grouped products with a column of ones. What is in no group has no mean, and takes no part.

use super::decision::{ScaledOperand, ScaledProduct};
use super::emitter::Emitter;
use super::matrix::Axis;
use super::outcome::GroupedReason;
use super::product::{ProductWriter, Residual};
use super::rotation::Rotation;
use crate::linears::Role;
use crate::recipes::{HighPrecision, OperandPrecision, OperandRecipe, ProductRecipe};
use tessera_ir::{ElementType, OpError, ValueId};

/// A matrix without the means of its groups.
#[derive(Clone, Copy, Debug)]
pub(super) struct GroupMeans {
    /// A matrix of one row for each group.
    means: ValueId,
    residual: ValueId,
}

/// A matrix, the group sizes, what means are rounded to.
pub(super) type GroupMeansKey = (ValueId, ValueId, HighPrecision);

/// An operand of a grouped product, ready to be multiplied.
struct Prepared {
    contracted: Axis,
    residual: Residual,
    means: Option<ValueId>,
}

/// What of a recipe is left out for a grouped product, by [`ProductRecipe::for_groups`].
pub(super) fn left_out(recipe: &ProductRecipe) -> Vec<GroupedReason> {
    let own = |check: fn(&OperandRecipe) -> bool| recipe.operands().iter().any(|(_, o)| check(o));
    let left_out = [
        (
            recipe.role() == Role::Wgrad && recipe.hadamard().is_some(),
            GroupedReason::Hadamard,
        ),
        (
            own(|operand| operand.spectral().is_some()),
            GroupedReason::Spectral,
        ),
        (
            own(|operand| operand.mean().is_some_and(|mean| mean.gate.is_some())),
            GroupedReason::Gate,
        ),
        (
            own(|operand| mean_precision(operand).is_none() && operand.mean().is_some()),
            GroupedReason::ScaledMean,
        ),
    ];
    let left_out = left_out.into_iter().filter(|&(is_asked, _)| is_asked);
    left_out.map(|(_, reason)| reason).collect()
}

/// What an operand's means are rounded to, where it has some and that is no scaled format.
fn mean_precision(operand: &OperandRecipe) -> Option<HighPrecision> {
    operand.part(operand.mean()?.precision).high()
}

impl ProductWriter<'_> {
    /// The product of matrices of groups, in f32 and in the shape of the op's result.
    pub(super) fn grouped(
        &mut self,
        product: &ScaledProduct,
        tensors: [ValueId; 2],
        sizes: ValueId,
        rotation: Option<&Rotation>,
    ) -> Result<ValueId, OpError> {
        let [left, right] = &product.operands;
        self.begin(product, 0);
        let left = self.of_groups(left, tensors[0], sizes, rotation)?;
        self.begin(product, 1);
        let right = self.of_groups(right, tensors[1], sizes, rotation)?;
        let main = self.grouped_residuals(&left, &right, sizes)?;
        if product.recipe.role() == Role::Wgrad {
            self.with_wgrad_means(main, &left, &right, sizes)
        } else {
            self.with_row_means(main, &left, &right, sizes, rotation)
        }
    }

    fn of_groups(
        &mut self,
        operand: &ScaledOperand,
        tensor: ValueId,
        sizes: ValueId,
        rotation: Option<&Rotation>,
    ) -> Result<Prepared, OpError> {
        let mut rest = self.matrix(operand, tensor)?;
        let mut means = None;
        if let Some(precision) = mean_precision(&operand.recipe) {
            let made = self.e.group_means(rest, sizes, precision)?;
            (rest, means) = (made.residual, Some(made.means));
        }
        let axis = self.e.shape(rest).len() - 2 + operand.contracted.index();
        if let Some(rotation) = rotation {
            rest = self.e.rotated(rest, axis, rotation)?;
        }
        let residual = match operand.recipe.precision() {
            OperandPrecision::Scaled(scaling) => {
                Residual::Scaled(self.e.scaled(rest, scaling, axis, self.sites)?)
            }
            OperandPrecision::High(precision) => Residual::High(precision, rest),
        };
        Ok(Prepared {
            contracted: operand.contracted,
            residual,
            means,
        })
    }

    fn grouped_residuals(
        &mut self,
        left: &Prepared,
        right: &Prepared,
        sizes: ValueId,
    ) -> Result<ValueId, OpError> {
        let f32 = ElementType::F32;
        if let (Residual::Scaled(lhs), Residual::Scaled(rhs)) = (left.residual, right.residual)
            && self.e.multiply_as_scaled(lhs, rhs)
        {
            return self.e.b.grouped_scaled_dot(lhs, rhs, sizes, f32);
        }
        let [lhs, rhs] = self.in_one_element([left.residual, right.residual])?;
        let axes = [
            left.contracted.index(),
            self.e.shape(rhs).len() - 2 + right.contracted.index(),
        ];
        self.e.b.grouped_dot(lhs, rhs, sizes, axes, f32)
    }

    /// Forward and dgrad: each row gets its group's mean times the weight.
    fn with_row_means(
        &mut self,
        main: ValueId,
        left: &Prepared,
        right: &Prepared,
        sizes: ValueId,
        rotation: Option<&Rotation>,
    ) -> Result<ValueId, OpError> {
        let Some(mut means) = left.means else {
            return Ok(main);
        };
        let weight = self.numbers(right.residual)?;
        if let Some(rotation) = rotation {
            // As the weight is.
            means = self.e.rotated(means, 2, rotation)?;
        }
        let rows = self.e.dot((means, 1), (weight, right.contracted.index()))?;
        let count = self.e.shape(main)[0];
        let rows = self.e.rows_of_groups(rows, sizes, count)?;
        self.e.b.add(main, rows)
    }

    fn with_wgrad_means(
        &mut self,
        main: ValueId,
        left: &Prepared,
        right: &Prepared,
        sizes: ValueId,
    ) -> Result<ValueId, OpError> {
        let mut sum = main;
        if let Some(means) = left.means {
            let numbers = self.numbers(right.residual)?;
            let mut sums = self.e.sums_of_groups(numbers, sizes)?;
            if let Some(other) = right.means {
                let shape = self.e.shape(other);
                let counts = self.e.counts(sizes, &shape)?;
                let whole = self.e.b.multiply(counts, other)?;
                sums = self.e.b.add(sums, whole)?;
            }
            let term = self.e.dot((means, 0), (sums, 0))?;
            sum = self.e.b.add(sum, term)?;
        }
        if let Some(means) = right.means {
            let numbers = self.numbers(left.residual)?;
            let sums = self.e.sums_of_groups(numbers, sizes)?;
            let term = self.e.dot((sums, 0), (means, 0))?;
            sum = self.e.b.add(sum, term)?;
        }
        Ok(sum)
    }
}

impl Emitter {
    /// A matrix without the mean of each group's rows.
    fn group_means(
        &mut self,
        x: ValueId,
        sizes: ValueId,
        precision: HighPrecision,
    ) -> Result<GroupMeans, OpError> {
        let key: GroupMeansKey = (x, sizes, precision);
        if let Some(&made) = self.made.group_means.get(&key) {
            return Ok(made);
        }
        let wide = self.f32(x)?;
        let sums = self.sums_of_groups(wide, sizes)?;
        let shape = self.shape(sums);
        let counts = self.counts(sizes, &shape)?;
        // Of no rows the sum is zero, and so the mean.
        let one = self.splat(1.0, &shape)?;
        let divisors = self.b.maximum(counts, one)?;
        let exact = self.b.divide(sums, divisors)?;
        let means = self.rounded(exact, precision)?;
        let count = self.shape(x)[0];
        let rows = self.rows_of_groups(means, sizes, count)?;
        let residual = self.b.subtract(wide, rows)?;
        let made = GroupMeans { means, residual };
        self.made.group_means.insert(key, made);
        Ok(made)
    }

    /// Of each group the sum of its rows: groups × 1 × columns.
    fn sums_of_groups(&mut self, x: ValueId, sizes: ValueId) -> Result<ValueId, OpError> {
        let ones = self.splat(1.0, &[self.shape(x)[0], 1])?;
        let f32 = ElementType::F32;
        self.b.grouped_dot(ones, x, sizes, [0, 0], f32)
    }

    /// Each group's row, groups × 1 × columns, at every row of the group.
    fn rows_of_groups(
        &mut self,
        rows: ValueId,
        sizes: ValueId,
        count: usize,
    ) -> Result<ValueId, OpError> {
        let ones = self.splat(1.0, &[count, 1])?;
        let f32 = ElementType::F32;
        self.b.grouped_dot(ones, rows, sizes, [1, 1], f32)
    }

    /// The sizes as numbers, in a tensor whose first dimension is the groups'.
    fn counts(&mut self, sizes: ValueId, shape: &[usize]) -> Result<ValueId, OpError> {
        let counts = self.b.convert(sizes, ElementType::F32)?;
        self.b.broadcast_in_dim(counts, &[0], shape)
    }
}
