//! The product of two operands that are sums: of a quantised residual, and of what splits took out.
//!
//! An operand is `R + Σᵢ Fᵢ Λᵢ Gᵢᵀ`, Fᵢ along the dimension that stays and Gᵢ along the one that is summed over, both of few
//! columns. A mean is 1 μ: F = 1 and G = μ where features are summed over, F = μ and G = 1 where tokens are. The product of
//! two is
//!
//! ```text
//! Rₐ Rᵦ  +  Σᵢ Fᵢ Λᵢ (Gᵢᵀ Rᵦ)  +  Σⱼ (Rₐ Gⱼ + Σᵢ Fᵢ Λᵢ (Gᵢᵀ Gⱼ)) Λⱼ Fⱼᵀ
//! ```
//!
//! where only the first term is a large product. With means alone that is a row added to each row in forward and dgrad,
//! and `μ_Xᵀ s_D + (s_X + l μ_X)ᵀ μ_D` in wgrad, s the sums of the quantised residual's columns. R is what its codes stand
//! for in every term, so that the result is the product of the two sums exactly, up to the rounding of f32.
//!
//! A Hadamard transform H is of the residuals alone: their codes stand for R H. Where such a residual meets a G, G is
//! transformed too, `(R H)(Hᵀ G) = R G`; the sums of columns above become sums weighted by H 1.
//!
//! [`Form::Plain`] multiplies every term out: means are repeated to whole matrices, and each pair of terms is a product of
//! two matrices.

use super::Form;
use super::decision::{ScaledOperand, ScaledProduct};
use super::emitter::{Emitter, Sites};
use super::matrix::{Axis, reshape};
use super::rotation::Rotation;
use super::split::Factor;
use crate::recipes::{HighPrecision, OperandPrecision};
use tessera_ir::{ElementType, OpError, ValueId};

/// An operand, ready to be multiplied.
struct Prepared {
    contracted: Axis,
    residual: Residual,
    pieces: Vec<Piece>,
}

/// What the splits leave, transformed where the product is.
#[derive(Clone, Copy)]
pub(super) enum Residual {
    Scaled(ValueId),
    High(HighPrecision, ValueId),
}

/// F Λ Gᵀ.
struct Piece {
    free: Part,
    lengths: Option<ValueId>,
    contracted: Part,
}

/// A matrix of few columns.
#[derive(Clone, Copy)]
enum Part {
    /// One column of so many ones.
    Ones(usize),
    Tall(Factor),
}

/// A product that is written.
pub(super) struct ProductWriter<'a> {
    pub e: &'a mut Emitter,
    pub sites: &'a mut Sites,
    pub seed: u64,
    pub form: Form,
}

impl ProductWriter<'_> {
    /// Writes the product of two tensors, given as the graph that is written has them, and gives it as the op gave it.
    /// Of a grouped product the sizes of the groups are given, too.
    pub fn write(
        &mut self,
        product: &ScaledProduct,
        tensors: [ValueId; 2],
        group_sizes: Option<ValueId>,
    ) -> Result<ValueId, OpError> {
        let rotation = match product.recipe.hadamard() {
            Some(recipe) => {
                let first = product.repeats.unwrap_or(product.number);
                Some(Rotation::new(self.e, recipe, self.seed, first)?)
            }
            None => None,
        };
        let rotation = rotation.as_ref();
        let sum = match group_sizes {
            Some(sizes) => self.grouped(product, tensors, sizes, rotation)?,
            None => {
                let [left, right] = &product.operands;
                self.begin(product, 0);
                let left = self.prepared(left, tensors[0], rotation)?;
                self.begin(product, 1);
                let right = self.prepared(right, tensors[1], rotation)?;
                let main = self.residuals(&left, &right)?;
                match self.form {
                    Form::Factored => self.factored(main, &left, &right, rotation)?,
                    Form::Plain => self.plain(main, &left, &right, rotation)?,
                }
            }
        };
        let restored = product.product.restore(&mut self.e.b, sum)?;
        match product.element {
            ElementType::F32 => Ok(restored),
            element => self.e.b.convert(restored, element),
        }
    }

    /// Begins the random roundings of an operand.
    pub(super) fn begin(&mut self, product: &ScaledProduct, number: usize) {
        let repeats = product.repeats.map(|first| (first, number));
        self.sites.begin((product.number, number), repeats);
    }

    fn prepared(
        &mut self,
        operand: &ScaledOperand,
        tensor: ValueId,
        rotation: Option<&Rotation>,
    ) -> Result<Prepared, OpError> {
        let recipe = &operand.recipe;
        let mut rest = self.matrix(operand, tensor)?;
        let shape = self.e.shape(rest);
        let batch = shape.len() - 2;
        let rows = shape[batch];
        let mut pieces = Vec::new();
        if let Some(split) = recipe.mean() {
            let part = recipe.part(split.precision);
            let mean = self
                .e
                .mean(rest, split, part, operand.gate.as_ref(), self.sites)?;
            rest = mean.residual;
            let column = [&self.e.shape(mean.mean)[..], &[1]].concat();
            let tall = Part::Tall(Factor {
                numbers: reshape(&mut self.e.b, mean.mean, &column)?,
                scaled: mean.scaled,
            });
            pieces.push(Piece::new(operand.contracted, Part::Ones(rows), None, tall));
        }
        if let (Some(split), Some(basis)) = (recipe.spectral(), &operand.basis) {
            let part = recipe.part(split.factors());
            let spectral = self.e.spectral(rest, split, part, basis, self.sites)?;
            rest = spectral.residual;
            let (left, right) = (Part::Tall(spectral.left), Part::Tall(spectral.right));
            let lengths = Some(spectral.lengths);
            pieces.push(Piece::new(operand.contracted, left, lengths, right));
        }
        let axis = batch + operand.contracted.index();
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
            pieces,
        })
    }

    pub(super) fn matrix(
        &mut self,
        operand: &ScaledOperand,
        tensor: ValueId,
    ) -> Result<ValueId, OpError> {
        if let Some(&made) = self.e.made.matrices.get(&operand.layout) {
            return Ok(made);
        }
        let made = operand.layout.emit(&mut self.e.b, tensor)?;
        self.e.made.matrices.insert(operand.layout.clone(), made);
        Ok(made)
    }

    /// The product of the residuals.
    fn residuals(&mut self, left: &Prepared, right: &Prepared) -> Result<ValueId, OpError> {
        let axes = (left.contracted.index(), right.contracted.index());
        if let (Residual::Scaled(lhs), Residual::Scaled(rhs)) = (left.residual, right.residual)
            && self.e.multiply_as_scaled(lhs, rhs)
        {
            return self.e.scaled_dot(lhs, rhs);
        }
        let [lhs, rhs] = self.in_one_element([left.residual, right.residual])?;
        self.e.dot((lhs, axes.0), (rhs, axes.1))
    }

    /// Two residuals that are not multiplied as they are, as numbers of the precision that they are multiplied in.
    pub(super) fn in_one_element(
        &mut self,
        residuals: [Residual; 2],
    ) -> Result<[ValueId; 2], OpError> {
        let precision = match (residuals[0], residuals[1]) {
            (Residual::Scaled(_), Residual::Scaled(_)) => HighPrecision::F32,
            (Residual::High(precision, _), _) | (_, Residual::High(precision, _)) => precision,
        };
        let element = match precision {
            HighPrecision::Bf16 => ElementType::Bf16,
            HighPrecision::F32 => ElementType::F32,
        };
        let mut in_element = |residual| match residual {
            Residual::Scaled(scaled) => self.e.numbers(scaled, element),
            Residual::High(_, x) if self.e.b.graph().tensor_type(x).element == element => Ok(x),
            Residual::High(_, x) => self.e.b.convert(x, element),
        };
        Ok([in_element(residuals[0])?, in_element(residuals[1])?])
    }

    /// What a residual stands for, in f32: transformed, where the product is.
    pub(super) fn numbers(&mut self, residual: Residual) -> Result<ValueId, OpError> {
        match residual {
            Residual::Scaled(scaled) => self.e.numbers(scaled, ElementType::F32),
            Residual::High(precision, x) => {
                let wide = self.e.f32(x)?;
                self.e.rounded(wide, precision)
            }
        }
    }

    fn factored(
        &mut self,
        main: ValueId,
        left: &Prepared,
        right: &Prepared,
        rotation: Option<&Rotation>,
    ) -> Result<ValueId, OpError> {
        let shape = self.e.shape(main);
        let mut sum = main;
        for piece in &left.pieces {
            let met = self.met(right, piece, rotation)?;
            let term = self.outer(piece.free, piece.lengths, Part::dense(met), &shape)?;
            sum = self.e.b.add(sum, term)?;
        }
        for piece in &right.pieces {
            let mut met = self.met(left, piece, rotation)?;
            for other in &left.pieces {
                let inner = self.inner(other.contracted, piece.contracted, &shape)?;
                let tall = self.e.shape(met);
                // inner is k of the other by k of the piece; outer wants it the other way round.
                let inner = self.swapped(inner)?;
                let term = self.outer(other.free, other.lengths, Part::dense(inner), &tall)?;
                met = self.e.b.add(met, term)?;
            }
            let term = self.outer(Part::dense(met), piece.lengths, piece.free, &shape)?;
            sum = self.e.b.add(sum, term)?;
        }
        Ok(sum)
    }

    /// R G: a residual times what a piece of the other operand has along the dimension that is summed over.
    fn met(
        &mut self,
        operand: &Prepared,
        piece: &Piece,
        rotation: Option<&Rotation>,
    ) -> Result<ValueId, OpError> {
        if let (None, Residual::Scaled(residual), Part::Tall(factor)) =
            (rotation, operand.residual, piece.contracted)
            && let Some(scaled) = factor.scaled
            && self.e.multiply_as_scaled(residual, scaled)
        {
            return self.e.scaled_dot(residual, scaled);
        }
        let numbers = self.numbers(operand.residual)?;
        let axis = operand.contracted.index();
        let shape = self.e.shape(numbers);
        let batch = shape.len() - 2;
        let along = match (piece.contracted, rotation) {
            (Part::Ones(_), None) => {
                let sums = self.e.b.reduce_sum(numbers, &[batch + axis])?;
                let column = [&self.e.shape(sums)[..], &[1]].concat();
                return reshape(&mut self.e.b, sums, &column);
            }
            (part, None) => self.tall(part, &shape[..batch])?,
            (part, Some(rotation)) => {
                let tall = self.tall(part, &shape[..batch])?;
                self.e.rotated(tall, batch, rotation)?
            }
        };
        self.e.dot((numbers, axis), (along, 0))
    }

    /// Gₐᵀ Gᵦ, k of a by k of b.
    fn inner(&mut self, a: Part, b: Part, shape: &[usize]) -> Result<ValueId, OpError> {
        let batch = &shape[..shape.len() - 2];
        match (a, b) {
            // The number of tokens.
            (Part::Ones(count), Part::Ones(_)) => {
                self.e.splat(count as f64, &[batch, &[1, 1]].concat())
            }
            (Part::Ones(_), Part::Tall(tall)) | (Part::Tall(tall), Part::Ones(_)) => {
                let sums = self.e.b.reduce_sum(tall.numbers, &[batch.len()])?;
                let directions = self.e.shape(sums)[batch.len()];
                let matrix = match a {
                    Part::Ones(_) => [1, directions],
                    Part::Tall(_) => [directions, 1],
                };
                reshape(&mut self.e.b, sums, &[batch, &matrix].concat())
            }
            (Part::Tall(a), Part::Tall(b)) => match (a.scaled, b.scaled) {
                (Some(lhs), Some(rhs)) if self.e.multiply_as_scaled(lhs, rhs) => {
                    self.e.scaled_dot(lhs, rhs)
                }
                _ => self.e.dot((a.numbers, 0), (b.numbers, 0)),
            },
        }
    }

    /// F Λ Gᵀ of a left and a right part, in a matrix of that shape.
    fn outer(
        &mut self,
        left: Part,
        lengths: Option<ValueId>,
        right: Part,
        shape: &[usize],
    ) -> Result<ValueId, OpError> {
        let batch = shape.len() - 2;
        let (left, right) = match (left, lengths) {
            (Part::Tall(tall), Some(lengths)) => {
                let factor = self.lengthened(tall.numbers, lengths)?;
                (Part::dense(factor), right)
            }
            (left, _) => (left, right),
        };
        match (left, right) {
            (Part::Ones(_), Part::Ones(_)) => self.e.splat(1.0, shape),
            (Part::Ones(_), Part::Tall(row)) => self.spread(row.numbers, 1, shape),
            (Part::Tall(column), Part::Ones(_)) => self.spread(column.numbers, 0, shape),
            (Part::Tall(left), Part::Tall(right)) => {
                if self.e.shape(left.numbers)[batch + 1] != 1 {
                    return self.e.dot((left.numbers, 1), (right.numbers, 1));
                }
                let column = self.spread(left.numbers, 0, shape)?;
                let row = self.spread(right.numbers, 1, shape)?;
                self.e.b.multiply(column, row)
            }
        }
    }

    /// A column of numbers laid along dimension `along` of matrices and repeated along the other.
    fn spread(
        &mut self,
        column: ValueId,
        along: usize,
        shape: &[usize],
    ) -> Result<ValueId, OpError> {
        let own = self.e.shape(column);
        let vector = reshape(&mut self.e.b, column, &own[..own.len() - 1])?;
        self.e.repeated(vector, along, shape)
    }

    /// The columns of a matrix multiplied by their lengths.
    pub(super) fn lengthened(&mut self, x: ValueId, lengths: ValueId) -> Result<ValueId, OpError> {
        let shape = self.e.shape(x);
        let lengths = self.e.repeated(lengths, 1, &shape)?;
        self.e.b.multiply(x, lengths)
    }

    /// The part as numbers, with the ones written out.
    fn tall(&mut self, part: Part, batch: &[usize]) -> Result<ValueId, OpError> {
        match part {
            Part::Ones(count) => self.e.splat(1.0, &[batch, &[count, 1]].concat()),
            Part::Tall(factor) => Ok(factor.numbers),
        }
    }

    fn swapped(&mut self, x: ValueId) -> Result<ValueId, OpError> {
        let shape = self.e.shape(x);
        let rank = shape.len();
        let mut swapped = shape.clone();
        swapped.swap(rank - 2, rank - 1);
        if shape[rank - 2] == 1 || shape[rank - 1] == 1 {
            return reshape(&mut self.e.b, x, &swapped);
        }
        let mut permutation: Vec<usize> = (0..rank).collect();
        permutation.swap(rank - 2, rank - 1);
        self.e.b.transpose(x, &permutation)
    }

    /// Every pair of terms but that of the residuals, each a product of two matrices.
    fn plain(
        &mut self,
        main: ValueId,
        left: &Prepared,
        right: &Prepared,
        rotation: Option<&Rotation>,
    ) -> Result<ValueId, OpError> {
        let axes = (left.contracted.index(), right.contracted.index());
        let mut sum = main;
        for left_piece in terms(left) {
            for right_piece in terms(right) {
                if left_piece.is_none() && right_piece.is_none() {
                    continue;
                }
                // A residual's numbers are transformed; what it meets has to be, too.
                let meets_residual = left_piece.is_none() || right_piece.is_none();
                let rotation = rotation.filter(|_| meets_residual);
                let lhs = self.whole(left, left_piece, rotation)?;
                let rhs = self.whole(right, right_piece, rotation)?;
                let term = self.e.dot((lhs, axes.0), (rhs, axes.1))?;
                sum = self.e.b.add(sum, term)?;
            }
        }
        Ok(sum)
    }

    /// A term of an operand as a matrix.
    fn whole(
        &mut self,
        operand: &Prepared,
        piece: Option<&Piece>,
        rotation: Option<&Rotation>,
    ) -> Result<ValueId, OpError> {
        let Some(piece) = piece else {
            return self.numbers(operand.residual);
        };
        let (rows, columns) = match operand.contracted {
            Axis::Rows => (piece.contracted, piece.free),
            Axis::Columns => (piece.free, piece.contracted),
        };
        let residual = match operand.residual {
            Residual::Scaled(x) | Residual::High(_, x) => x,
        };
        let residual = self.e.shape(residual);
        let batch = residual.len() - 2;
        let height = self.length(rows, batch);
        let width = self.length(columns, batch);
        let shape = [&residual[..batch], &[height, width]].concat();
        let whole = self.outer(rows, piece.lengths, columns, &shape)?;
        match rotation {
            None => Ok(whole),
            Some(rotation) => {
                let axis = batch + operand.contracted.index();
                self.e.rotated(whole, axis, rotation)
            }
        }
    }

    fn length(&self, part: Part, batch: usize) -> usize {
        match part {
            Part::Ones(count) => count,
            Part::Tall(factor) => self.e.shape(factor.numbers)[batch],
        }
    }
}

/// The terms of an operand: the residual, which is no piece, then the pieces.
fn terms(operand: &Prepared) -> impl Iterator<Item = Option<&Piece>> {
    std::iter::once(None).chain(operand.pieces.iter().map(Some))
}

impl Piece {
    /// A piece with parts along rows and columns, of an operand that is summed over `contracted`.
    fn new(contracted: Axis, rows: Part, lengths: Option<ValueId>, columns: Part) -> Self {
        let (free, contracted) = match contracted {
            Axis::Rows => (columns, rows),
            Axis::Columns => (rows, columns),
        };
        Self {
            free,
            lengths,
            contracted,
        }
    }
}

impl Part {
    fn dense(numbers: ValueId) -> Self {
        Self::Tall(Factor {
            numbers,
            scaled: None,
        })
    }
}
