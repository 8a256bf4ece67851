//! What a recipe does with grouped products: as with those of a batch, a product for each group.
//!
//! The mean that is taken out of an operand with tokens is that of each group over its own rows, as a batch of products has
//! one for each: groups are the rows of different experts, and each expert's product is one of its own. Leading directions
//! of such an operand are those of all rows, which are quantised as one tensor; a weight has a matrix and directions for
//! each group. So an operand with tokens is `X = R + Σᵢ Fᵢ Sᵢ` on the rows of each group, Fᵢ of few columns along all rows
//! and Sᵢ of as many rows, one such matrix for each group: of means F = 1 and S = μ, of directions F = A Λ and S = Vᵀ,
//! everywhere the same. A weight is `W = R + K Lᵀ`, both of few columns. With `{F, X}` the sums `Fᵀ X` over each group's
//! rows the products are, for each group,
//!
//! ```text
//! X W  = R_X R_W  +  Σᵢ Fᵢ (Sᵢ R_W + (Sᵢ K) Lᵀ)  +  (R_X K) Lᵀ                                  forward, dgrad
//! XᵀD  = R_XᵀR_D  +  Σᵢ Sᵢᵀ ({Fᵢ, R_D} + Σⱼ {Fᵢ, Fⱼ} Sⱼ)  +  Σⱼ {R_X, Fⱼ} Sⱼ                    wgrad
//! ```
//!
//! `F S` and `{F, X}` are grouped products themselves. What is in no group has no mean, and takes no part.

use super::decision::{ScaledOperand, ScaledProduct};
use super::emitter::{Emitter, MeanKey, Sites};
use super::matrix::Axis;
use super::outcome::GroupedReason;
use super::product::{ProductWriter, Residual};
use super::rotation::Rotation;
use super::split::Spectral;
use super::state::StateUse;
use crate::linears::Role;
use crate::recipes::{MeanSplit, OperandPrecision, ProductRecipe};
use tessera_ir::{ElementType, OpError, ValueId};

/// A matrix without the means of its groups.
#[derive(Clone, Copy, Debug)]
pub(super) struct GroupMeans {
    /// As they are multiplied: groups × 1 × columns.
    means: ValueId,
    residual: ValueId,
}

/// What the mean of a matrix is known by, and the group sizes.
pub(super) type GroupMeansKey = (MeanKey, ValueId);

/// An operand of a grouped product, ready to be multiplied.
struct Prepared {
    contracted: Axis,
    residual: Residual,
    /// What was taken out of an operand with tokens.
    rows: Vec<RowsPart>,
    /// What was taken out of a weight.
    weight: Option<WeightPart>,
}

/// F S.
struct RowsPart {
    /// F: rows × few.
    along: ValueId,
    /// S: groups × few × columns.
    groups: ValueId,
}

/// K Lᵀ of each group.
struct WeightPart {
    /// K: groups × contracted × few.
    contracted: ValueId,
    /// L: groups × free × few.
    free: ValueId,
}

/// What of a recipe is left out for a grouped product, by [`ProductRecipe::for_groups`].
pub(super) fn left_out(recipe: &ProductRecipe) -> Vec<GroupedReason> {
    let transforms = recipe.role() == Role::Wgrad && recipe.hadamard().is_some();
    (transforms.then_some(GroupedReason::Hadamard).into_iter()).collect()
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
            self.with_wgrad_parts(main, &left, &right, sizes)
        } else {
            self.with_row_parts(main, &left, &right, sizes, rotation)
        }
    }

    fn of_groups(
        &mut self,
        operand: &ScaledOperand,
        tensor: ValueId,
        sizes: ValueId,
        rotation: Option<&Rotation>,
    ) -> Result<Prepared, OpError> {
        let recipe = &operand.recipe;
        let mut rest = self.matrix(operand, tensor)?;
        let (mut rows, mut weight) = (Vec::new(), None);
        if let Some(split) = recipe.mean() {
            let part = recipe.part(split.precision);
            let gate = operand.gate.as_ref();
            let made = (self.e).group_means(rest, sizes, split, part, gate, self.sites)?;
            rows.push(RowsPart {
                along: self.e.ones(rest)?,
                groups: made.means,
            });
            rest = made.residual;
        }
        if let (Some(split), Some(basis)) = (recipe.spectral(), &operand.basis) {
            let part = recipe.part(split.factors());
            let made = self.e.spectral(rest, split, part, basis, self.sites)?;
            match self.e.shape(rest)[..] {
                [_, _] => rows.push(self.directions_of_rows(&made, sizes)?),
                _ => weight = Some(self.directions_of_weight(&made, operand.contracted)?),
            }
            rest = made.residual;
        }
        let axis = self.e.shape(rest).len() - 2 + operand.contracted.index();
        if let Some(rotation) = rotation {
            rest = self.e.rotated(rest, axis, rotation)?;
        }
        let residual = match recipe.precision() {
            OperandPrecision::Scaled(scaling) => {
                Residual::Scaled(self.e.scaled(rest, scaling, axis, self.sites)?)
            }
            OperandPrecision::High(precision) => Residual::High(precision, rest),
        };
        Ok(Prepared {
            contracted: operand.contracted,
            residual,
            rows,
            weight,
        })
    }

    /// A Λ and Vᵀ, the same for each group.
    fn directions_of_rows(&mut self, made: &Spectral, sizes: ValueId) -> Result<RowsPart, OpError> {
        let along = self.lengthened(made.left.numbers, made.lengths)?;
        let right = self.e.b.transpose(made.right.numbers, &[1, 0])?;
        let shape = [&self.e.shape(sizes)[..], &self.e.shape(right)].concat();
        let groups = self.e.b.broadcast_in_dim(right, &[1, 2], &shape)?;
        Ok(RowsPart { along, groups })
    }

    fn directions_of_weight(
        &mut self,
        made: &Spectral,
        contracted: Axis,
    ) -> Result<WeightPart, OpError> {
        let (contracted, free) = match contracted {
            Axis::Rows => (made.left, made.right),
            Axis::Columns => (made.right, made.left),
        };
        Ok(WeightPart {
            contracted: contracted.numbers,
            free: self.lengthened(free.numbers, made.lengths)?,
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

    /// Forward and dgrad. What meets a residual that is transformed is transformed with it.
    fn with_row_parts(
        &mut self,
        main: ValueId,
        left: &Prepared,
        right: &Prepared,
        sizes: ValueId,
        rotation: Option<&Rotation>,
    ) -> Result<ValueId, OpError> {
        let mut sum = main;
        for part in &left.rows {
            let weight = self.numbers(right.residual)?;
            let own = match rotation {
                Some(rotation) => self.e.rotated(part.groups, 2, rotation)?,
                None => part.groups,
            };
            let mut rows = self.e.dot((own, 1), (weight, right.contracted.index()))?;
            if let Some(weight) = &right.weight {
                let inner = self.e.dot((part.groups, 1), (weight.contracted, 0))?;
                let more = self.e.dot((inner, 1), (weight.free, 1))?;
                rows = self.e.b.add(rows, more)?;
            }
            let term = self.e.at_rows(part.along, (rows, 1), sizes)?;
            sum = self.e.b.add(sum, term)?;
        }
        if let Some(weight) = &right.weight {
            let numbers = self.numbers(left.residual)?;
            let contracted = match rotation {
                Some(rotation) => self.e.rotated(weight.contracted, 1, rotation)?,
                None => weight.contracted,
            };
            let met = self.e.at_rows(numbers, (contracted, 1), sizes)?;
            let term = self.e.at_rows(met, (weight.free, 2), sizes)?;
            sum = self.e.b.add(sum, term)?;
        }
        Ok(sum)
    }

    fn with_wgrad_parts(
        &mut self,
        main: ValueId,
        left: &Prepared,
        right: &Prepared,
        sizes: ValueId,
    ) -> Result<ValueId, OpError> {
        let mut sum = main;
        for part in &left.rows {
            let numbers = self.numbers(right.residual)?;
            let mut sums = self.e.sums_of_groups(part.along, numbers, sizes)?;
            for other in &right.rows {
                let inner = self.e.sums_of_groups(part.along, other.along, sizes)?;
                let more = self.e.dot((inner, 1), (other.groups, 0))?;
                sums = self.e.b.add(sums, more)?;
            }
            let term = self.e.dot((part.groups, 0), (sums, 0))?;
            sum = self.e.b.add(sum, term)?;
        }
        for part in &right.rows {
            let numbers = self.numbers(left.residual)?;
            let sums = self.e.sums_of_groups(numbers, part.along, sizes)?;
            let term = self.e.dot((sums, 1), (part.groups, 0))?;
            sum = self.e.b.add(sum, term)?;
        }
        Ok(sum)
    }
}

impl Emitter {
    /// A matrix without the mean of each group's rows. `part` is what the means are rounded to.
    fn group_means(
        &mut self,
        x: ValueId,
        sizes: ValueId,
        split: &MeanSplit,
        part: OperandPrecision,
        gate: Option<&StateUse>,
        sites: &mut Sites,
    ) -> Result<GroupMeans, OpError> {
        let key: GroupMeansKey = ((x, *split, part, gate.map(|gate| gate.id)), sizes);
        let mut known = self.made.group_means.iter();
        if let Some((_, made)) = known.find(|(known, _)| *known == key) {
            return Ok(*made);
        }
        let wide = self.f32(x)?;
        let ones = self.ones(wide)?;
        let sums = self.sums_of_groups(ones, wide, sizes)?;
        let shape = self.shape(sums);
        let counts = self.b.convert(sizes, ElementType::F32)?;
        let counts = self.b.broadcast_in_dim(counts, &[0], &shape)?;
        // Of no rows the sum is zero, and so the mean.
        let one = self.splat(1.0, &shape)?;
        let divisors = self.b.maximum(counts, one)?;
        let exact = self.b.divide(sums, divisors)?;
        let mut means = match part {
            OperandPrecision::High(precision) => self.rounded(exact, precision)?,
            OperandPrecision::Scaled(scaling) => {
                let scaled = self.scaled(exact, scaling, 2, sites)?;
                self.numbers(scaled, ElementType::F32)?
            }
        };
        if let (Some(gate), Some(recipe)) = (gate, split.gate) {
            let open = self.gate(wide, means, Some(counts), &recipe, gate)?;
            let open = self.b.broadcast_scalar(open, &shape)?;
            means = self.b.multiply(means, open)?;
        }
        let rows = self.at_rows(ones, (means, 1), sizes)?;
        let residual = self.b.subtract(wide, rows)?;
        let made = GroupMeans { means, residual };
        self.made.group_means.push((key, made));
        Ok(made)
    }

    /// A one for each row of a matrix.
    fn ones(&mut self, x: ValueId) -> Result<ValueId, OpError> {
        self.splat(1.0, &[self.shape(x)[0], 1])
    }

    /// `{F, X}`: of each group the products of the columns of F and X over its rows.
    fn sums_of_groups(
        &mut self,
        along: ValueId,
        x: ValueId,
        sizes: ValueId,
    ) -> Result<ValueId, OpError> {
        let f32 = ElementType::F32;
        self.b.grouped_dot(along, x, sizes, [0, 0], f32)
    }

    /// `F S`: each row of a matrix times its group's, along that dimension of those.
    fn at_rows(
        &mut self,
        along: ValueId,
        (groups, axis): (ValueId, usize),
        sizes: ValueId,
    ) -> Result<ValueId, OpError> {
        let f32 = ElementType::F32;
        self.b.grouped_dot(along, groups, sizes, [1, axis], f32)
    }
}
