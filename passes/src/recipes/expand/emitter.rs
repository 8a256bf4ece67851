//! A graph that is being written, with what was made of each value: so that nothing is made twice.

use super::grouped::{GroupMeans, GroupMeansKey};
use super::matrix::Layout;
use super::rotation::Rotation;
use super::scope::Scope;
use super::split::{Mean, Spectral};
use super::state::StateId;
use crate::recipes::{HighPrecision, MeanSplit, OperandPrecision, Scaling, SpectralSplit};
use std::collections::HashMap;
use tessera_ir::{
    Builder, ComparisonDirection, Constraint, DotDimensionNumbers, ElementType, OpError,
    QuantizeOperands, TensorType, ValueId,
};
use tessera_numerics::{Quantization, ScaleLayout, ScaledType};

/// An operand of a product with scaled operands: the product's number, and which of the two it is.
pub(super) type OperandId = (usize, usize);

/// Numbers the random roundings of a step, in the order in which they are written. What is computed again is rounded at
/// the sites of what it repeats.
#[derive(Debug)]
pub(super) struct Sites {
    seed: usize,
    next: usize,
    /// The sites of each operand, in order.
    taken: HashMap<OperandId, Vec<usize>>,
    /// The operand that is being written.
    current: OperandId,
    /// The sites that it repeats and has not come to yet, the next one last.
    repeated: Vec<usize>,
}

impl Sites {
    pub fn new(seed: u64) -> Self {
        // Seeds are 64 bits wide, as is usize on every machine that the compiler runs on.
        Self {
            seed: seed as usize,
            next: 0,
            taken: HashMap::new(),
            current: (0, 0),
            repeated: Vec::new(),
        }
    }

    /// Begins an operand, which may be another one computed again.
    pub fn begin(&mut self, operand: OperandId, repeats: Option<OperandId>) {
        self.current = operand;
        let repeated = repeats.and_then(|first| self.taken.get(&first));
        self.repeated = repeated.into_iter().flatten().rev().copied().collect();
    }

    pub fn count(&self) -> usize {
        self.next
    }

    fn take(&mut self) -> (usize, usize) {
        let site = self.repeated.pop().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        });
        self.taken.entry(self.current).or_default().push(site);
        (self.seed, site)
    }
}

/// The graph being written.
pub(super) struct Emitter {
    pub b: Builder,
    pub scope: Scope,
    pub made: Made,
}

/// A matrix, its split, what the mean is rounded to, the gate.
pub(super) type MeanKey = (ValueId, MeanSplit, OperandPrecision, Option<StateId>);

/// A matrix, its split, what the factors are rounded to, the basis.
type SpectralKey = (ValueId, SpectralSplit, OperandPrecision, StateId);

/// What was made of the values of the graph.
#[derive(Default)]
pub(super) struct Made {
    pub matrices: HashMap<Layout, ValueId>,
    pub f32s: HashMap<ValueId, ValueId>,
    pub amax: HashMap<ValueId, ValueId>,
    pub scaled: HashMap<(ValueId, Scaling, usize), ValueId>,
    pub numbers: HashMap<(ValueId, ElementType), ValueId>,
    pub rotated: HashMap<(ValueId, Rotation, usize), ValueId>,
    pub means: Vec<(MeanKey, Mean)>,
    /// Of residuals without NaN that the mean has not, what they are residuals of, in f32, and the mean.
    pub centred: HashMap<ValueId, (ValueId, ValueId)>,
    pub group_means: Vec<(GroupMeansKey, GroupMeans)>,
    pub spectra: Vec<(SpectralKey, Spectral)>,
}

impl Emitter {
    pub fn new(b: Builder, scope: Scope) -> Self {
        Self {
            b,
            scope,
            made: Made::default(),
        }
    }

    pub fn shape(&self, x: ValueId) -> Vec<usize> {
        self.b.graph().value_type(x).shape().to_vec()
    }

    /// A tensor of f32 that holds one number.
    pub fn splat(&mut self, value: f64, shape: &[usize]) -> Result<ValueId, OpError> {
        let tensor_type = TensorType::new(ElementType::F32, shape);
        self.b.splat(value, &tensor_type)
    }

    /// A tensor in f32.
    pub fn f32(&mut self, x: ValueId) -> Result<ValueId, OpError> {
        if self.b.graph().tensor_type(x).element == ElementType::F32 {
            return Ok(x);
        }
        if let Some(&made) = self.made.f32s.get(&x) {
            return Ok(made);
        }
        let made = self.b.convert(x, ElementType::F32)?;
        self.made.f32s.insert(x, made);
        Ok(made)
    }

    /// A tensor of f32 rounded to a high precision, in f32.
    pub fn rounded(&mut self, x: ValueId, precision: HighPrecision) -> Result<ValueId, OpError> {
        match precision {
            HighPrecision::F32 => Ok(x),
            HighPrecision::Bf16 => {
                let narrow = self.b.convert(x, ElementType::Bf16)?;
                self.f32(narrow)
            }
        }
    }

    /// The largest magnitude of a tensor.
    fn amax(&mut self, x: ValueId) -> Result<ValueId, OpError> {
        if let Some(&made) = self.made.amax.get(&x) {
            return Ok(made);
        }
        let magnitudes = match self.made.centred.get(&x) {
            Some(&(whole, mean)) => self.centred_magnitudes(whole, mean)?,
            None => self.b.abs(x)?,
        };
        let all: Vec<usize> = (0..self.shape(magnitudes).len()).collect();
        let largest = self.b.reduce_max(magnitudes, &all)?;
        let made = self.f32(largest)?;
        self.made.amax.insert(x, made);
        Ok(made)
    }

    /// The largest magnitude of each column of M − 1 μ, of matrices M of at least a row, exactly: since rounding keeps the
    /// order of numbers, it is that of the column's largest number less μ, or of its smallest. Of both, a comparison lets NaN
    /// pass by; a μ that is then NaN makes it up. So there is no pass over M − 1 μ, and one over M gives all that is asked of
    /// its columns.
    fn centred_magnitudes(&mut self, whole: ValueId, mean: ValueId) -> Result<ValueId, OpError> {
        let largest = self.extreme(whole, ComparisonDirection::Gt, f64::NEG_INFINITY)?;
        let smallest = self.extreme(whole, ComparisonDirection::Lt, f64::INFINITY)?;
        let above = self.b.subtract(largest, mean)?;
        let below = self.b.subtract(smallest, mean)?;
        let (above, below) = (self.b.abs(above)?, self.b.abs(below)?);
        self.b.maximum(above, below)
    }

    /// Of each column the number that is before all others in a direction, or the last place there is.
    fn extreme(
        &mut self,
        x: ValueId,
        direction: ComparisonDirection,
        last: f64,
    ) -> Result<ValueId, OpError> {
        let init = self.splat(last, &[])?;
        let rows = self.shape(x).len() - 2;
        let reduced = self.b.reduce(&[x], &[init], &[rows], |b, best, found| {
            let is_better = b.compare(found[0], best[0], direction)?;
            Ok(vec![b.select(is_better, found[0], best[0])?])
        })?;
        Ok(reduced[0])
    }

    /// A tensor quantised in blocks along a dimension. Equal quantisations are one, random ones too: that is one site.
    pub fn scaled(
        &mut self,
        x: ValueId,
        scaling: Scaling,
        axis: usize,
        sites: &mut Sites,
    ) -> Result<ValueId, OpError> {
        if let Some(&made) = self.made.scaled.get(&(x, scaling, axis)) {
            return Ok(made);
        }
        let (format, blocks) = (scaling.format(), scaling.blocks());
        // What a recipe says goes together; a tensor may be larger than memory.
        let refused = |message: String| OpError {
            op: "quantize",
            constraint: Constraint("T3"),
            message,
        };
        let kind = ScaledType::new(self.shape(x), format, axis, blocks, ScaleLayout::Linear)
            .map_err(|error| refused(error.to_string()))?;
        let quantization = Quantization::new(kind, scaling.rule(), scaling.rounding())
            .map_err(|error| refused(error.to_string()))?;
        let amax = match format.has_tensor_scale() {
            true => Some(self.amax(x)?),
            false => None,
        };
        let is_random = scaling.rounding().is_random();
        let site = if is_random { sites.take() } else { (0, 0) };
        let step = is_random.then(|| self.scope.counter());
        let operands = QuantizeOperands { amax, step };
        let made = self.b.quantize(x, operands, &quantization, site)?;
        self.made.scaled.insert((x, scaling, axis), made);
        Ok(made)
    }

    /// The numbers of a scaled tensor.
    pub fn numbers(&mut self, scaled: ValueId, element: ElementType) -> Result<ValueId, OpError> {
        if let Some(&made) = self.made.numbers.get(&(scaled, element)) {
            return Ok(made);
        }
        let made = self.b.dequantize(scaled, element)?;
        self.made.numbers.insert((scaled, element), made);
        Ok(made)
    }

    /// The product of matrices summed over a dimension of each, 0 or 1, in f32; batches go together.
    pub fn dot(
        &mut self,
        (lhs, lhs_axis): (ValueId, usize),
        (rhs, rhs_axis): (ValueId, usize),
    ) -> Result<ValueId, OpError> {
        let batch = self.shape(lhs).len() - 2;
        let batching: Vec<usize> = (0..batch).collect();
        let numbers = DotDimensionNumbers {
            lhs_batching: &batching,
            rhs_batching: &batching,
            lhs_contracting: &[batch + lhs_axis],
            rhs_contracting: &[batch + rhs_axis],
        };
        let f32 = ElementType::F32;
        self.b.dot_general(lhs, rhs, &numbers, f32, f32)
    }

    /// The product of scaled matrices along their axes, in f32; batches go together.
    pub fn scaled_dot(&mut self, lhs: ValueId, rhs: ValueId) -> Result<ValueId, OpError> {
        let batch: Vec<usize> = (0..self.shape(lhs).len() - 2).collect();
        let kind = tessera_ir::OpKind::ScaledDot {
            lhs_batching_dimensions: batch.clone(),
            rhs_batching_dimensions: batch,
            element: ElementType::F32,
        };
        self.b.push_value(kind, [lhs, rhs])
    }

    /// Whether two scaled tensors can be multiplied as they are: blocks of one length, scales of one encoding.
    pub fn multiply_as_scaled(&self, lhs: ValueId, rhs: ValueId) -> bool {
        let block = |x: ValueId| {
            let scaled = self.b.graph().value_type(x).as_scaled();
            scaled.map(|scaled| scaled.format().block())
        };
        block(lhs).is_some() && block(lhs) == block(rhs)
    }

    /// A vector for each matrix of a batch, repeated along the rows or columns (whichever `along` is not) of matrices.
    pub fn repeated(
        &mut self,
        vector: ValueId,
        along: usize,
        shape: &[usize],
    ) -> Result<ValueId, OpError> {
        let batch = shape.len() - 2;
        let dimensions: Vec<usize> = (0..batch).chain([batch + along]).collect();
        self.b.broadcast_in_dim(vector, &dimensions, shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipes::Precision;
    use tessera_interpreter::evaluate;
    use tessera_ir::{Input, Module, Tensor};

    /// The largest magnitude of a column of three numbers less its mean, as it is found and by definition.
    fn largest_magnitudes(part: HighPrecision) -> Module {
        let x = Input::new(TensorType::new(ElementType::F32, [3, 1]));
        let (b, [x]) = Builder::new("main", [x]);
        let mut e = Emitter::new(b, Scope::default());
        let split = MeanSplit {
            precision: Precision::High(HighPrecision::Bf16),
            gate: None,
        };
        let part = OperandPrecision::High(part);
        let mean = e.mean(x, &split, part, None, &mut Sites::new(0)).unwrap();
        let found = e.amax(mean.residual).unwrap();
        let magnitudes = e.b.abs(mean.residual).unwrap();
        let defined = e.b.reduce_max(magnitudes, &[0, 1]).unwrap();
        let mut module = Module::new(None);
        module.insert(e.b.finish([found, defined]));
        module
    }

    #[test]
    fn the_largest_magnitude_of_a_residual_is_exact() {
        let special = [
            1.5,
            -2.25,
            0.0,
            -0.0,
            1e-40,
            16_777_217.0,
            f32::MAX,
            f32::MIN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
            -f32::NAN,
        ];
        for part in [HighPrecision::F32, HighPrecision::Bf16] {
            let module = largest_magnitudes(part);
            for place in 0..special.len().pow(3) {
                let column = [144, 12, 1].map(|step| special[place / step % 12]);
                let x = Tensor::from_values([3, 1], &column).unwrap();
                let results = evaluate(&module, module.entry().unwrap(), &[x]).unwrap();
                let [found, defined] = [0, 1].map(|n| results[n].values::<f32>().unwrap()[0]);
                let are_same = found.to_bits() == defined.to_bits();
                assert!(
                    are_same || found.is_nan() && defined.is_nan(),
                    "{column:?}: {found}, by definition {defined}"
                );
            }
        }
    }
}
