//! Reductions of a kernel's body.

use crate::mlir::Emission;
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::Expression;
use crate::mlir::{Builder, Value, scalar};
use tessera_ir::{
    Binary, ComparisonDirection, ElementType, Graph, OpKind, Operation, Region, Unary, ValueId,
};

/// A reduction and the memory of its accumulators.
pub struct Reduction<'c, 'g> {
    pub operation: &'g Operation,
    pub dimensions: &'g [usize],
    body: &'g Region,
    /// The function that the body is, where it is one and its order does not matter.
    pub function: Option<Binary>,
    elements: Vec<ElementType>,
    /// Whether it is the maximum of magnitudes, f32 without a sign: their order is that of their bits, NaN above all.
    of_magnitudes: bool,
    /// Whether it is the greatest or the least number by comparison with the accumulator, which NaN never replaces, from
    /// the infinity on that all numbers replace.
    of_comparison: bool,
    /// The accumulators of each input.
    arrays: Vec<Value<'c>>,
}

impl<'c, 'g> Reduction<'c, 'g> {
    /// The reductions of a graph, in its order.
    pub fn all(graph: &'g Graph) -> Vec<Self> {
        let reductions = graph.operations().iter().filter_map(|operation| {
            let OpKind::Reduce { dimensions, body } = &operation.op.kind else {
                return None;
            };
            Some(Self::new(graph, operation, dimensions, body))
        });
        reductions.collect()
    }

    /// A reduce_window, if the operation is one.
    pub fn of_window(graph: &'g Graph, operation: &'g Operation) -> Option<Self> {
        let OpKind::ReduceWindow { body, .. } = &operation.op.kind else {
            return None;
        };
        Some(Self::new(graph, operation, &[], body))
    }

    fn new(
        graph: &'g Graph,
        operation: &'g Operation,
        dimensions: &'g [usize],
        body: &'g Region,
    ) -> Self {
        let inputs = &operation.op.operands[..operation.op.operands.len() / 2];
        let function = body.as_binary();
        let function = function.filter(|&f| inputs.len() == 1 && is_commutative_and_associative(f));
        Self {
            operation,
            dimensions,
            body,
            function,
            of_comparison: is_comparison(graph, operation, body),
            of_magnitudes: function == Some(Binary::Maximum) && are_magnitudes(graph, operation),
            elements: inputs
                .iter()
                .map(|&v| graph.tensor_type(v).element)
                .collect(),
            arrays: Vec::new(),
        }
    }

    /// The values reduced.
    pub fn inputs(&self) -> &'g [ValueId] {
        let operands = &self.operation.op.operands;
        &operands[..operands.len() / 2]
    }

    /// What each accumulator starts with.
    pub fn inits(&self) -> &'g [ValueId] {
        let operands = &self.operation.op.operands;
        &operands[operands.len() / 2..]
    }

    /// The shape of the inputs.
    pub fn shape(&self, graph: &'g Graph) -> &'g [usize] {
        &graph.tensor_type(self.inputs()[0]).shape
    }

    /// Makes room for so many accumulators of each input.
    pub fn reserve(&mut self, emission: &Emission<'c, 'g>, count: i64) {
        self.arrays = (self.elements.iter())
            .map(|&element| emission.stack_array(count, element))
            .collect();
    }

    /// The type of the first input's elements.
    pub fn element(&self) -> ElementType {
        self.elements[0]
    }

    /// The neutral element; only where the reduction is a function.
    pub fn neutral(&self, b: &Builder<'c>) -> Value<'c> {
        let neutral = self
            .function
            .and_then(|f| scalar::neutral(b, f, self.elements[0]));
        neutral.expect("the function is one of those that have one")
    }

    /// Whether its function is associative, and so accumulators of neighbouring parts can be combined.
    pub fn is_associative(&self) -> bool {
        self.function.is_some() || self.of_comparison
    }

    /// An accumulator of no element; only where the function is associative.
    pub fn of_nothing(&self, emission: &mut Emission<'c, 'g>) -> Result<Value<'c>, Unsupported> {
        match self.function {
            Some(_) => Ok(self.neutral(&emission.elemental.builder())),
            None => emission.elemental.element(self.inits()[0], &[]),
        }
    }

    /// Sets an accumulator to the neutral element; only where the reduction is a function.
    pub fn set_neutral(&self, emission: &mut Emission<'c, 'g>, index: &Expression) {
        let neutral = self.neutral(&emission.elemental.builder());
        emission.store_accumulator(neutral, self.arrays[0], self.elements[0], index);
    }

    /// Sets an accumulator to the inits.
    pub fn set_inits(
        &self,
        emission: &mut Emission<'c, 'g>,
        index: &Expression,
    ) -> Result<(), Unsupported> {
        for (number, &init) in self.inits().iter().enumerate() {
            let init = emission.elemental.element(init, &[])?;
            emission.store_accumulator(init, self.arrays[number], self.elements[number], index);
        }
        Ok(())
    }

    /// The accumulators at an index.
    pub fn accumulators(
        &self,
        emission: &mut Emission<'c, 'g>,
        index: &Expression,
    ) -> Vec<Value<'c>> {
        (self.arrays.iter().zip(&self.elements))
            .map(|(&array, &element)| emission.load_accumulator(array, element, index))
            .collect()
    }

    /// Sets the accumulators at an index.
    pub fn set(&self, emission: &mut Emission<'c, 'g>, index: &Expression, values: &[Value<'c>]) {
        for ((&array, &element), &value) in self.arrays.iter().zip(&self.elements).zip(values) {
            emission.store_accumulator(value, array, element, index);
        }
    }

    /// Accumulators and the inputs' elements at `indices`, combined.
    pub fn step(
        &self,
        emission: &mut Emission<'c, 'g>,
        accumulators: &[Value<'c>],
        indices: &[Expression],
    ) -> Result<Vec<Value<'c>>, Unsupported> {
        let mut arguments = accumulators.to_vec();
        for &input in self.inputs() {
            arguments.push(emission.elemental.element(input, indices)?);
        }
        self.merge(emission, &arguments)
    }

    /// As [`combine`](Self::combine), of accumulators and elements, or of accumulators.
    pub fn merge(
        &self,
        emission: &mut Emission<'c, 'g>,
        arguments: &[Value<'c>],
    ) -> Result<Vec<Value<'c>>, Unsupported> {
        let (true, &[accumulator, x]) = (self.of_magnitudes, arguments) else {
            return self.combine(emission, arguments);
        };
        // As signed integers, all negative floats are below all others, whichever of them is an accumulator's start.
        let b = emission.elemental.builder();
        let [accumulator, x] = [accumulator, x].map(|value| b.bitcast(value, b.integer(32)));
        let largest = b.binary("arith.maxsi", accumulator, x);
        Ok(vec![b.bitcast(largest, b.f32())])
    }

    /// Two sets of accumulators, one after the other, combined.
    pub fn combine(
        &self,
        emission: &mut Emission<'c, 'g>,
        arguments: &[Value<'c>],
    ) -> Result<Vec<Value<'c>>, Unsupported> {
        match (self.function, arguments) {
            (Some(function), &[accumulator, x]) => {
                let b = emission.elemental.builder();
                let element = self.elements[0];
                Ok(vec![scalar::accumulate(
                    &b,
                    function,
                    element,
                    accumulator,
                    x,
                )])
            }
            _ => emission.elemental.apply(self.body, arguments),
        }
    }

    /// The results, of accumulators that the inits are not in yet.
    pub fn finish_with_inits(
        &self,
        emission: &mut Emission<'c, 'g>,
        accumulators: &[Value<'c>],
    ) -> Result<Vec<Value<'c>>, Unsupported> {
        let mut arguments = Vec::new();
        for &init in self.inits() {
            arguments.push(emission.elemental.element(init, &[])?);
        }
        arguments.extend(accumulators);
        let combined = self.combine(emission, &arguments)?;
        Ok(self.round(emission, combined))
    }

    /// Accumulators as results: what was kept in more digits is rounded.
    pub fn round(&self, emission: &Emission<'c, 'g>, values: Vec<Value<'c>>) -> Vec<Value<'c>> {
        let b = emission.elemental.builder();
        (values.into_iter().zip(&self.elements))
            .map(|(value, &element)| match (self.function, element) {
                (Some(Binary::Add), ElementType::F16 | ElementType::Bf16) => {
                    scalar::convert(&b, ElementType::F32, element, value)
                }
                _ => value,
            })
            .collect()
    }

    /// Says that the results are known at these indices.
    pub fn provide(
        &self,
        emission: &mut Emission<'c, 'g>,
        indices: &[Expression],
        values: Vec<Value<'c>>,
    ) {
        for (result, value) in self.operation.results().zip(values) {
            emission.elemental.provide(result, indices.to_vec(), value);
        }
    }

    /// Says so with some values, for a trial.
    pub fn provide_anything(&self, emission: &mut Emission<'c, 'g>, indices: &[Expression]) {
        let b = emission.elemental.builder();
        let values = (self.elements.iter())
            .map(|&element| scalar::constant_number(&b, element, 0.0))
            .collect();
        self.provide(emission, indices, values);
    }
}

/// Whether a reduction is of absolute values of f32 and starts from a number.
fn are_magnitudes(graph: &Graph, reduction: &Operation) -> bool {
    let &[input, init] = &reduction.op.operands[..] else {
        return false;
    };
    let defining = graph.defining_operation(input).map(|o| &o.op.kind);
    constant(graph, init).is_some_and(|init| !init.is_nan())
        && matches!(defining, Some(OpKind::Unary(Unary::Abs)))
}

/// Whether a reduction of f32 takes an element in place of the accumulator where the element is the greater one, or the
/// lesser, and starts from −∞, or ∞.
fn is_comparison(graph: &Graph, reduction: &Operation, body: &Region) -> bool {
    let (&[_, init], [accumulator, element], [compare, select]) = (
        &reduction.op.operands[..],
        &body.input_values().collect::<Vec<_>>()[..],
        body.operations(),
    ) else {
        return false;
    };
    let OpKind::Compare { direction, .. } = compare.op.kind else {
        return false;
    };
    let worst = match direction {
        ComparisonDirection::Gt | ComparisonDirection::Ge => f32::NEG_INFINITY,
        ComparisonDirection::Lt | ComparisonDirection::Le => f32::INFINITY,
        ComparisonDirection::Eq | ComparisonDirection::Ne => return false,
    };
    matches!(select.op.kind, OpKind::Select {})
        && compare.op.operands[..] == [*element, *accumulator]
        && select.op.operands[..] == [compare.result(), *element, *accumulator]
        && body
            .results()
            .iter()
            .map(|result| result.value)
            .eq([select.result()])
        && constant(graph, init) == Some(worst)
}

/// The number of f32 that a value is, where it is one.
fn constant(graph: &Graph, value: ValueId) -> Option<f32> {
    match &graph.defining_operation(value)?.op.kind {
        OpKind::Constant { value } => match value.values::<f32>()?[..] {
            [number] => Some(number),
            _ => None,
        },
        _ => None,
    }
}

fn is_commutative_and_associative(function: Binary) -> bool {
    match function {
        Binary::Add
        | Binary::And
        | Binary::Maximum
        | Binary::Minimum
        | Binary::Multiply
        | Binary::Or
        | Binary::Xor => true,
        Binary::Atan2
        | Binary::Divide
        | Binary::Power
        | Binary::Remainder
        | Binary::ShiftLeft
        | Binary::ShiftRightArithmetic
        | Binary::ShiftRightLogical
        | Binary::Subtract => false,
    }
}
