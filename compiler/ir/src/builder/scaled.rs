//! Ops that make, read, multiply and prepare scaled tensors.

use super::Builder;
use crate::rules::OpError;
use crate::{OpKind, ValueId};
use tessera_numerics::{ElementType, Quantization, ScaledType};

/// What a quantisation takes beside its tensor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuantizeOperands {
    /// The largest magnitude, a `tensor<f32>`, for formats with a tensor scale.
    pub amax: Option<ValueId>,
    /// The step, a `tensor<ui32>`, for random roundings.
    pub step: Option<ValueId>,
}

/// Scaled tensors.
impl Builder {
    /// `x` as a scaled tensor; `seed` and `site` name the random stream of a random rounding.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn quantize(
        &mut self,
        x: ValueId,
        operands: QuantizeOperands,
        quantization: &Quantization,
        (seed, site): (usize, usize),
    ) -> Result<ValueId, OpError> {
        let kind = OpKind::Quantize {
            rule: quantization.rule(),
            rounding: quantization.rounding(),
            seed,
            site,
            scaled_type: quantization.scaled_type().clone(),
        };
        let given = [Some(x), operands.amax, operands.step];
        self.push_value(kind, given.into_iter().flatten().collect::<Vec<_>>())
    }

    /// The numbers of a scaled tensor.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn dequantize(&mut self, x: ValueId, element: ElementType) -> Result<ValueId, OpError> {
        self.push_value(OpKind::Dequantize { element }, [x])
    }

    /// A scaled tensor in the order of bytes of another type.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn relayout(&mut self, x: ValueId, to: &ScaledType) -> Result<ValueId, OpError> {
        let scaled_type = to.clone();
        self.push_value(OpKind::Relayout { scaled_type }, [x])
    }

    /// The product of scaled tensors along their axes, without batching dimensions.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn scaled_dot(
        &mut self,
        lhs: ValueId,
        rhs: ValueId,
        element: ElementType,
    ) -> Result<ValueId, OpError> {
        let kind = OpKind::ScaledDot {
            lhs_batching_dimensions: Vec::new(),
            rhs_batching_dimensions: Vec::new(),
            element,
        };
        self.push_value(kind, [lhs, rhs])
    }

    /// The product of scaled tensors, by groups, along their axes.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn grouped_scaled_dot(
        &mut self,
        lhs: ValueId,
        rhs: ValueId,
        group_sizes: ValueId,
        element: ElementType,
    ) -> Result<ValueId, OpError> {
        let kind = OpKind::GroupedScaledDot { element };
        self.push_value(kind, [lhs, rhs, group_sizes])
    }

    /// The mean along dimensions.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn column_mean(&mut self, x: ValueId, dimensions: &[usize]) -> Result<ValueId, OpError> {
        let dimensions = dimensions.to_vec();
        self.push_value(OpKind::ColumnMean { dimensions }, [x])
    }

    /// The Hadamard transform of blocks along an axis; a sign of true is −1.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn hadamard(
        &mut self,
        x: ValueId,
        axis: usize,
        signs: &[bool],
    ) -> Result<ValueId, OpError> {
        let signs = signs.iter().map(|&negative| if negative { -1 } else { 1 });
        let signs = signs.collect();
        self.push_value(OpKind::Hadamard { axis, signs }, [x])
    }

    /// The orthonormal factor of matrices.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn orthonormalize(&mut self, x: ValueId) -> Result<ValueId, OpError> {
        self.push_value(OpKind::Orthonormalize {}, [x])
    }

    /// Power iteration for the leading right singular directions, warm-started from `basis`: the new basis and the
    /// singular values along it.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn subspace_iterate(
        &mut self,
        matrix: ValueId,
        basis: ValueId,
        iterations: usize,
    ) -> Result<[ValueId; 2], OpError> {
        let results = self.push(OpKind::SubspaceIterate { iterations }, [matrix, basis])?;
        Ok([results[0], results[1]])
    }
}
