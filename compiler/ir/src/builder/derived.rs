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

#[cfg(test)]
mod tests {
    use crate::{Builder, ElementType, Input, OpKind, Tensor, TensorType};

    /// The value of the only constant in a builder's graph.
    fn constant(b: &Builder) -> Tensor {
        let kinds = b.graph().operations().iter().map(|o| &o.op.kind);
        let constants: Vec<_> = kinds
            .filter_map(|kind| match kind {
                OpKind::Constant { value } => Some(value.clone()),
                _ => None,
            })
            .collect();
        let [constant] = constants.as_slice() else {
            panic!("expected one constant, found {constants:?}");
        };
        constant.clone()
    }

    #[test]
    fn a_splat_is_a_scalar_broadcast() {
        let (mut b, []) = Builder::new("main", []);
        let shape = TensorType::new(ElementType::Bf16, [2, 3]);
        let splat = b.splat(1.5, &shape).unwrap();
        assert_eq!(b.graph().tensor_type(splat), &shape);
        assert_eq!(constant(&b), Tensor::scalar(half::bf16::from_f32(1.5)));
        let names: Vec<_> = b
            .graph()
            .operations()
            .iter()
            .map(|o| o.op.kind.name())
            .collect();
        assert_eq!(names, ["constant", "broadcast_in_dim"]);
    }

    #[test]
    fn a_splat_of_a_scalar_is_a_constant() {
        let (mut b, []) = Builder::new("main", []);
        b.splat(-7.0, &TensorType::scalar(ElementType::I8)).unwrap();
        assert_eq!(constant(&b), Tensor::scalar(-7i8));
        assert_eq!(b.graph().operations().len(), 1);
    }

    #[test]
    fn a_splat_that_the_element_type_lacks_is_refused() {
        let (mut b, []) = Builder::new("main", []);
        let refused = b.splat(300.0, &TensorType::scalar(ElementType::Ui8));
        assert_eq!(
            refused.unwrap_err().to_string(),
            "'tsr.constant' (T1): 'splat(300.0)': expected an integer in 0 ..= 255 for ui8, found 300.0"
        );
    }

    #[test]
    fn reductions_start_from_their_neutral_element() {
        let init = |element, reduce: fn(&mut Builder, crate::ValueId)| {
            let (mut b, [x]) = Builder::new("main", [Input::new(TensorType::new(element, [2]))]);
            reduce(&mut b, x);
            constant(&b)
        };
        let sum = |b: &mut Builder, x| {
            b.reduce_sum(x, &[0]).unwrap();
        };
        let max = |b: &mut Builder, x| {
            b.reduce_max(x, &[0]).unwrap();
        };
        let min = |b: &mut Builder, x| {
            b.reduce_min(x, &[0]).unwrap();
        };
        assert_eq!(init(ElementType::F32, sum), Tensor::scalar(0f32));
        assert_eq!(
            init(ElementType::F32, max),
            Tensor::scalar(f32::NEG_INFINITY)
        );
        assert_eq!(init(ElementType::F32, min), Tensor::scalar(f32::INFINITY));
        assert_eq!(init(ElementType::I64, max), Tensor::scalar(i64::MIN));
        assert_eq!(init(ElementType::I64, min), Tensor::scalar(i64::MAX));
        assert_eq!(init(ElementType::Ui16, max), Tensor::scalar(0u16));
        assert_eq!(init(ElementType::Ui64, min), Tensor::scalar(u64::MAX));
        assert_eq!(init(ElementType::I1, max), Tensor::scalar(false));
        assert_eq!(init(ElementType::I1, min), Tensor::scalar(true));
    }

    #[test]
    fn matmul_contracts_the_fastest_dimension_with_the_slowest() {
        let f16s = |shape: &[usize]| Input::new(TensorType::new(ElementType::F16, shape));
        let (mut b, [x, w]) = Builder::new("main", [f16s(&[8, 2, 3]), f16s(&[3, 5])]);
        let y = b.matmul(x, w).unwrap();
        let expected = TensorType::new(ElementType::F16, [8, 2, 5]);
        assert_eq!(b.graph().tensor_type(y), &expected);
        let OpKind::DotGeneral { accumulator, .. } = b.graph().operations()[0].op.kind else {
            panic!("expected a dot_general");
        };
        assert_eq!(accumulator, ElementType::F32);
    }

    #[test]
    fn matmul_of_a_scalar_is_refused() {
        let scalar = Input::new(TensorType::scalar(ElementType::F32));
        let (mut b, [x]) = Builder::new("main", [scalar]);
        assert_eq!(
            b.matmul(x, x).unwrap_err().to_string(),
            "'tsr.dot_general' (C6): contracting dimensions must be less than the rank of lhs, 0, found dimension 0"
        );
    }

    #[test]
    fn the_branch_of_true_comes_second() {
        let boolean = Input::new(TensorType::scalar(ElementType::I1));
        let (mut b, [p]) = Builder::new("main", [boolean]);
        let results = b
            .if_else(
                p,
                &[p],
                |b, captured| Ok(vec![b.not(captured[0])?]),
                |_, captured| Ok(captured.to_vec()),
            )
            .unwrap();
        assert_eq!(results.len(), 1);
        let operations = b.graph().operations();
        let OpKind::Case { branches } = &operations[1].op.kind else {
            panic!("expected a case");
        };
        let lengths: Vec<_> = branches.iter().map(|b| b.operations().len()).collect();
        assert_eq!(lengths, [0, 1]);
        assert_eq!(
            operations[0].op.kind,
            OpKind::Convert {
                element: ElementType::I32
            }
        );
    }
}
