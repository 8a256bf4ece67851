//! Splits: an operand as what is taken out of it, and the residual.

use super::emitter::{Emitter, Sites};
use super::matrix::reshape;
use super::state::StateUse;
use crate::recipes::{Gate, MeanSplit, OperandPrecision, SpectralSplit};
use tessera_ir::{Builder, ComparisonDirection, ElementType, OpError, Tensor, ValueId};

/// M = 1 μ + R, M of f32: rows × columns, or a batch of such.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mean {
    /// μ as it is multiplied: rounded, and 0 where the gate is closed; a number a column.
    pub mean: ValueId,
    /// μ quantised as a matrix of one row, where it is.
    pub scaled: Option<ValueId>,
    /// R = M − 1 μ.
    pub residual: ValueId,
}

/// M = A Λ Vᵀ + R, M of f32: rows × columns, or a batch of such.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spectral {
    /// A, rows × k, each column of length 1: the directions of the columns of M V.
    pub left: Factor,
    /// Λ, their lengths.
    pub lengths: ValueId,
    /// V, columns × k: the basis.
    pub right: Factor,
    /// R = M − (M V) Vᵀ, of what the factors were before they were rounded.
    pub residual: ValueId,
}

/// A tall matrix as it is multiplied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Factor {
    /// Its numbers in f32.
    pub numbers: ValueId,
    /// The same along its rows' dimension, where it is quantised.
    pub scaled: Option<ValueId>,
}

impl Emitter {
    /// The matrix without the mean of its rows. `part` is what the mean is rounded to.
    pub fn mean(
        &mut self,
        x: ValueId,
        split: &MeanSplit,
        part: OperandPrecision,
        gate: Option<&StateUse>,
        sites: &mut Sites,
    ) -> Result<Mean, OpError> {
        let key = (x, *split, part, gate.map(|gate| gate.id));
        if let Some((_, made)) = self.made.means.iter().find(|(known, _)| *known == key) {
            return Ok(*made);
        }
        let wide = self.f32(x)?;
        let shape = self.shape(wide);
        let batch = shape.len() - 2;
        let exact = self.b.column_mean(wide, &[batch])?;
        let (mut mean, mut scaled) = match part {
            OperandPrecision::High(precision) => (self.rounded(exact, precision)?, None),
            OperandPrecision::Scaled(scaling) => {
                let row = [&shape[..batch], &[1, shape[batch + 1]]].concat();
                let row = reshape(&mut self.b, exact, &row)?;
                let scaled = self.scaled(row, scaling, batch + 1, sites)?;
                let numbers = self.numbers(scaled, ElementType::F32)?;
                let vector = self.shape(exact);
                (reshape(&mut self.b, numbers, &vector)?, Some(scaled))
            }
        };
        if let (Some(gate), Some(recipe)) = (gate, split.gate) {
            let open = self.gate(wide, mean, None, &recipe, gate)?;
            let vector = self.shape(mean);
            let open = self.b.broadcast_scalar(open, &vector)?;
            mean = self.b.multiply(mean, open)?;
            scaled = None;
        }
        let rows = self.repeated(mean, 1, &shape)?;
        let residual = self.b.subtract(wide, rows)?;
        // Rounded to a high precision, and times 0 or 1, a NaN of the mean stays one.
        if matches!(part, OperandPrecision::High(_)) && !shape.contains(&0) {
            self.made.centred.insert(residual, (wide, mean));
        }
        let made = Mean {
            mean,
            scaled,
            residual,
        };
        self.made.means.push((key, made));
        Ok(made)
    }

    /// 1 where the operand is centred, else 0: set anew every so many steps from the share of the mean in the energy,
    /// l |μ|² / ‖M‖², over all matrices of a batch. Where each mean is of its own number of rows, `counts` has these in
    /// the means' shape.
    pub(super) fn gate(
        &mut self,
        x: ValueId,
        mean: ValueId,
        counts: Option<ValueId>,
        recipe: &Gate,
        state: &StateUse,
    ) -> Result<ValueId, OpError> {
        let old = self.scope.load(&mut self.b, state)?;
        if !state.refreshes {
            return Ok(old);
        }
        let due = (self.scope).is_due(&mut self.b, state, recipe.refresh().get())?;
        let threshold = recipe.threshold().get();
        let new = self.b.if_else(
            due,
            &[&[x, mean, old], counts.as_slice()].concat(),
            |b, captured| {
                let counts = captured.get(3).copied();
                Ok(vec![pays(b, captured[0], captured[1], counts, threshold)?])
            },
            |_, captured| Ok(vec![captured[2]]),
        )?[0];
        self.scope.store(&mut self.b, state, new)?;
        Ok(new)
    }

    /// The matrix without its part along the basis, which is improved first where that is due. `part` is what the factors
    /// are rounded to.
    pub fn spectral(
        &mut self,
        x: ValueId,
        split: &SpectralSplit,
        part: OperandPrecision,
        basis: &StateUse,
        sites: &mut Sites,
    ) -> Result<Spectral, OpError> {
        let key = (x, *split, part, basis.id);
        if let Some((_, made)) = self.made.spectra.iter().find(|(known, _)| *known == key) {
            return Ok(*made);
        }
        let x = self.f32(x)?;
        let batch = self.shape(x).len() - 2;
        let basis = self.basis(x, split, basis)?;
        let projected = self.dot((x, 1), (basis, 0))?;
        let tall = self.shape(projected);

        let squares = self.b.multiply(projected, projected)?;
        let sums = self.b.reduce_sum(squares, &[batch])?;
        let lengths = self.b.sqrt(sums)?;
        let vector = self.shape(lengths);
        let (zero, one) = (self.splat(0.0, &vector)?, self.splat(1.0, &vector)?);
        let is_zero = self.b.compare(lengths, zero, ComparisonDirection::Eq)?;
        // A column without length has no direction; it stays zero.
        let divisors = self.b.select(is_zero, one, lengths)?;
        let divisors = self.repeated(divisors, 1, &tall)?;
        let directions = self.b.divide(projected, divisors)?;

        let taken = self.dot((projected, 1), (basis, 1))?;
        let residual = self.b.subtract(x, taken)?;
        let made = Spectral {
            left: self.factor(directions, part, sites)?,
            lengths,
            right: self.factor(basis, part, sites)?,
            residual,
        };
        self.made.spectra.push((key, made));
        Ok(made)
    }

    fn factor(
        &mut self,
        x: ValueId,
        part: OperandPrecision,
        sites: &mut Sites,
    ) -> Result<Factor, OpError> {
        match part {
            OperandPrecision::High(precision) => Ok(Factor {
                numbers: self.rounded(x, precision)?,
                scaled: None,
            }),
            OperandPrecision::Scaled(scaling) => {
                let axis = self.shape(x).len() - 2;
                let scaled = self.scaled(x, scaling, axis, sites)?;
                Ok(Factor {
                    numbers: self.numbers(scaled, ElementType::F32)?,
                    scaled: Some(scaled),
                })
            }
        }
    }

    /// The basis of this step.
    fn basis(
        &mut self,
        x: ValueId,
        split: &SpectralSplit,
        state: &StateUse,
    ) -> Result<ValueId, OpError> {
        let old = self.scope.load(&mut self.b, state)?;
        if !state.refreshes {
            return Ok(old);
        }
        let stride = split.refresh().get();
        let due = self.scope.is_due(&mut self.b, state, stride)?;
        let step = self.scope.step();
        let new = self.b.if_else(
            due,
            &[x, old, step],
            |b, captured| Ok(vec![improved(b, captured, split)?]),
            |_, captured| Ok(vec![captured[1]]),
        )?[0];
        self.scope.store(&mut self.b, state, new)?;
        Ok(new)
    }
}

/// 1 where l |μ|² is the threshold's share of ‖M‖² or more, which is not 0; else 0.
fn pays(
    b: &mut Builder,
    x: ValueId,
    mean: ValueId,
    counts: Option<ValueId>,
    threshold: f64,
) -> Result<ValueId, OpError> {
    let shape = b.graph().value_type(x).shape().to_vec();
    let rows = shape[shape.len() - 2] as f64;
    let sum = |b: &mut Builder, x: ValueId| -> Result<ValueId, OpError> {
        let all: Vec<usize> = (0..b.graph().value_type(x).shape().len()).collect();
        b.reduce_sum(x, &all)
    };
    let scalar = tessera_ir::TensorType::scalar(ElementType::F32);
    let squares = b.multiply(x, x)?;
    let all = sum(b, squares)?;
    let squares = b.multiply(mean, mean)?;
    let own = match counts {
        Some(counts) => {
            let weighted = b.multiply(counts, squares)?;
            sum(b, weighted)?
        }
        None => {
            let once = sum(b, squares)?;
            let rows = b.splat(rows, &scalar)?;
            b.multiply(rows, once)?
        }
    };
    let threshold = b.splat(threshold, &scalar)?;
    let least = b.multiply(threshold, all)?;
    let enough = b.compare(own, least, ComparisonDirection::Ge)?;
    let zero = b.splat(0.0, &scalar)?;
    let any = b.compare(own, zero, ComparisonDirection::Gt)?;
    let open = b.and(enough, any)?;
    b.convert(open, ElementType::F32)
}

/// An orthonormal basis by power iteration from the old one, on a sample of the rows. Each matrix of a batch has its own.
fn improved(
    b: &mut Builder,
    captured: &[ValueId],
    split: &SpectralSplit,
) -> Result<ValueId, OpError> {
    let &[x, old, step] = captured else {
        unreachable!("three values are captured");
    };
    let sample = sample(b, x, step, split)?;
    let iterations = split.iterations().get() as usize;
    let shape = b.graph().value_type(old).shape().to_vec();
    let [batch @ .., columns, rank] = &shape[..] else {
        unreachable!("a basis has columns and directions");
    };
    let improve = |b: &mut Builder, matrix, basis| {
        let [basis, _] = b.subspace_iterate(matrix, basis, iterations)?;
        // The iteration gives columns of length 1 that are not orthogonal before it has converged.
        b.orthonormalize(basis)
    };
    let Some(&count) = batch.first() else {
        return improve(b, sample, old);
    };
    let rows = b.graph().value_type(sample).shape()[1];
    let mut bases = Vec::with_capacity(count);
    for number in 0..count {
        let part = |b: &mut Builder, x, height: usize, width: usize| -> Result<ValueId, OpError> {
            let (start, limit) = ([number, 0, 0], [number + 1, height, width]);
            let part = b.slice(x, &start, &limit, &[1, 1, 1])?;
            b.reshape(part, &[height, width])
        };
        let matrix = part(b, sample, rows, *columns)?;
        let basis = part(b, old, *columns, *rank)?;
        let basis = improve(b, matrix, basis)?;
        bases.push(b.reshape(basis, &[1, *columns, *rank])?);
    }
    b.concatenate(&bases, 0)
}

/// Rows of each matrix of a batch for improvement number i = step / refresh: where at least two samples fit, the rows
/// o, o + d, o + 2 d, … with d the number of samples that fit and o = i mod d; else rows that follow each other from
/// i mod (number of places) on. So tokens of all sequences are seen, and others each time.
fn sample(
    b: &mut Builder,
    x: ValueId,
    step: ValueId,
    split: &SpectralSplit,
) -> Result<ValueId, OpError> {
    let shape = b.graph().value_type(x).shape().to_vec();
    let [batch @ .., rows, columns] = &shape[..] else {
        unreachable!("a matrix has rows and columns");
    };
    let (rows, columns) = (*rows, *columns);
    let count = split.sampled_rows(rows, columns);
    if count == rows {
        return Ok(x);
    }
    let stride = rows / count;
    let places = if stride > 1 { stride } else { rows - count + 1 };
    let refresh = b.constant(Tensor::scalar(split.refresh().get()))?;
    let improvement = b.divide(step, refresh)?;
    // A matrix of 2³² rows has no place in memory.
    let modulus = b.constant(Tensor::scalar(u32::try_from(places).unwrap_or(u32::MAX)))?;
    let offset = b.remainder(improvement, modulus)?;
    let offset = b.convert(offset, ElementType::I32)?;
    let zero = b.constant(Tensor::scalar(0i32))?;
    let mut starts = vec![zero; batch.len()];
    if stride == 1 {
        starts.extend([offset, zero]);
        return b.dynamic_slice(x, &starts, &[batch, &[count, columns]].concat());
    }
    let start = vec![0; shape.len()];
    let limit = [batch, &[count * stride, columns]].concat();
    let whole = b.slice(x, &start, &limit, &vec![1; shape.len()])?;
    let apart = b.reshape(whole, &[batch, &[count, stride, columns]].concat())?;
    starts.extend([zero, offset, zero]);
    let rows = b.dynamic_slice(apart, &starts, &[batch, &[count, 1, columns]].concat())?;
    b.reshape(rows, &[batch, &[count, columns]].concat())
}
