//! What is said often and takes several ops.

use super::Builder;
use crate::rules::{Constraint, OpError};
use crate::{Binary, DotDimensionNumbers, ElementType, TensorType, ValueId};
use tessera_numerics::initialiser::{Initialiser, Number};

/// Constants, sums and products in one word.
impl Builder {
    /// A tensor of that type that holds one number everywhere: a constant scalar, broadcast. Floats are rounded to
    /// nearest.
    ///
    /// # Errors
    /// As [`push`](Self::push), and where the element type does not have the number.
    pub fn splat(&mut self, value: f64, tensor_type: &TensorType) -> Result<ValueId, OpError> {
        self.splat_number(Number::Float(value), tensor_type)
    }

    fn splat_number(
        &mut self,
        value: Number,
        tensor_type: &TensorType,
    ) -> Result<ValueId, OpError> {
        let scalar = Initialiser::Splat(value).tensor(tensor_type.element, &[], 0);
        let scalar = scalar.map_err(|error| OpError {
            op: "constant",
            constraint: Constraint("T1"),
            message: error.to_string(),
        })?;
        let scalar = self.constant(scalar)?;
        self.broadcast_scalar(scalar, &tensor_type.shape)
    }

    /// A scalar repeated to a shape; itself where the shape is a scalar's.
    ///
    /// # Errors
    /// As [`push`](Self::push); the operand must be a scalar.
    pub fn broadcast_scalar(
        &mut self,
        scalar: ValueId,
        shape: &[usize],
    ) -> Result<ValueId, OpError> {
        if shape.is_empty() && self.type_of("broadcast_in_dim", scalar)?.rank() == 0 {
            return Ok(scalar);
        }
        self.broadcast_in_dim(scalar, &[], shape)
    }

    /// The elements combined along the dimensions by one binary function, from an init that is its neutral element.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn reduce_binary(
        &mut self,
        input: ValueId,
        init: ValueId,
        dimensions: &[usize],
        function: Binary,
    ) -> Result<ValueId, OpError> {
        let results = self.reduce(
            &[input],
            &[init],
            dimensions,
            |b, accumulators, elements| {
                let operands = [accumulators, elements].concat();
                b.push(crate::OpKind::Binary(function), operands)
            },
        )?;
        Ok(results[0])
    }

    /// Sums along the dimensions, made in the operand's element type.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn reduce_sum(&mut self, input: ValueId, dimensions: &[usize]) -> Result<ValueId, OpError> {
        let init = self.splat_scalar_for(input, |_| Number::Integer(0))?;
        self.reduce_binary(input, init, dimensions, Binary::Add)
    }

    /// The largest along the dimensions; −∞, or the least integer, where there are none.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn reduce_max(&mut self, input: ValueId, dimensions: &[usize]) -> Result<ValueId, OpError> {
        let init = self.splat_scalar_for(input, |element| {
            if element.is_float() {
                Number::Float(f64::NEG_INFINITY)
            } else if element.is_signed_integer() {
                Number::Integer(-(1 << (element.bits() - 1)))
            } else {
                Number::Integer(0)
            }
        })?;
        self.reduce_binary(input, init, dimensions, Binary::Maximum)
    }

    /// The smallest along the dimensions; ∞, or the greatest integer, where there are none.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn reduce_min(&mut self, input: ValueId, dimensions: &[usize]) -> Result<ValueId, OpError> {
        let init = self.splat_scalar_for(input, |element| {
            if element.is_float() {
                Number::Float(f64::INFINITY)
            } else if element.is_signed_integer() {
                Number::Integer((1 << (element.bits() - 1)) - 1)
            } else {
                Number::Integer((1 << element.bits()) - 1)
            }
        })?;
        self.reduce_binary(input, init, dimensions, Binary::Minimum)
    }

    fn splat_scalar_for(
        &mut self,
        input: ValueId,
        value: impl FnOnce(ElementType) -> Number,
    ) -> Result<ValueId, OpError> {
        let element = self.type_of("reduce", input)?.element;
        self.splat_number(value(element), &TensorType::scalar(element))
    }

    /// `lhs · rhs`: the fastest dimension of lhs goes together with the slowest of rhs. Halves accumulate in f32, other
    /// element types in themselves; the result has the operands' element type.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn matmul(&mut self, lhs: ValueId, rhs: ValueId) -> Result<ValueId, OpError> {
        let operand = self.type_of("dot_general", lhs)?;
        let element = operand.element;
        let accumulator = match element {
            ElementType::F16 | ElementType::Bf16 => ElementType::F32,
            other => other,
        };
        // Of a scalar, which has no dimension, dimension 0 is refused as every other would be.
        let numbers = DotDimensionNumbers {
            lhs_contracting: &[operand.rank().saturating_sub(1)],
            rhs_contracting: &[0],
            ..Default::default()
        };
        self.dot_general(lhs, rhs, &numbers, accumulator, element)
    }

    /// `on_true` applied to the captured values where the predicate (a boolean scalar) is true, otherwise `on_false`.
    ///
    /// # Errors
    /// As [`push`](Self::push), and those of the closures.
    pub fn if_else(
        &mut self,
        predicate: ValueId,
        captured: &[ValueId],
        on_true: impl FnOnce(&mut Self, &[ValueId]) -> Result<Vec<ValueId>, OpError>,
        on_false: impl FnOnce(&mut Self, &[ValueId]) -> Result<Vec<ValueId>, OpError>,
    ) -> Result<Vec<ValueId>, OpError> {
        let index = self.convert(predicate, ElementType::I32)?;
        let types = captured
            .iter()
            .map(|&value| self.type_of("case", value).cloned())
            .collect::<Result<Vec<_>, _>>()?;
        // The predicate's numbers: false is 0, true is 1.
        let branches = vec![
            self.region(types.clone(), on_false)?,
            self.region(types, on_true)?,
        ];
        let operands = [&[index], captured].concat();
        self.push(crate::OpKind::Case { branches }, operands)
    }
}
