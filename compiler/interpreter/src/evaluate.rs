//! Evaluating graphs: op by op, each value freed after its last use.

use crate::contraction::{Roles, dot_general};
use crate::error::{EvaluateError, OpFailure};
use crate::grouped::{grouped_dot, grouped_scaled_dot};
use crate::indexing::{Gather, Scatter, Starts, gather, scatter};
use crate::reduction::{Reduced, Window, reduce, reduce_window};
use crate::value::Value;
use crate::{control, elementwise, scaled, shape, solve, sorting};
use tessera_ir::{
    Graph, Location, Module, OpKind, ScaledTensor, Tensor, TensorType, Type, ValueId, infer,
};
use tessera_numerics::Quantization;

/// The results of a graph of the module on the given inputs.
///
/// # Errors
/// The inputs are not those of the graph, or an op cannot be evaluated: a result does not fit into memory, a graph is
/// not there, a graph calls itself.
pub fn evaluate(
    module: &Module,
    graph: &Graph,
    inputs: &[Tensor],
) -> Result<Vec<Tensor>, EvaluateError> {
    let inputs: Vec<Value> = inputs.iter().cloned().map(Value::Tensor).collect();
    only_tensors(graph, evaluate_values(module, graph, &inputs)?)
}

/// As [`evaluate`], for a graph that may take and give scaled tensors.
///
/// # Errors
/// As [`evaluate`].
pub fn evaluate_values(
    module: &Module,
    graph: &Graph,
    inputs: &[Value],
) -> Result<Vec<Value>, EvaluateError> {
    if inputs.len() != graph.inputs().len() {
        return Err(EvaluateError::InputCount {
            graph: graph.name.clone(),
            expected: graph.inputs().len(),
            found: inputs.len(),
        });
    }
    for (number, (given, input)) in inputs.iter().zip(graph.inputs()).enumerate() {
        let found = given.value_type();
        if found != input.value_type {
            return Err(EvaluateError::InputType {
                graph: graph.name.clone(),
                input: number,
                name: input.name.clone(),
                expected: Box::new(input.value_type.clone()),
                found: Box::new(found),
            });
        }
    }
    let scope = Scope::new(module, Some(graph));
    scope.graph(graph, inputs.to_vec())
}

/// The results of one op on the given operands. A `call` is of a graph of the module.
///
/// # Errors
/// The op breaks a constraint on these operands, or as [`evaluate`].
pub fn evaluate_op(
    module: &Module,
    kind: &OpKind,
    operands: &[Value],
) -> Result<Vec<Value>, OpFailure> {
    let operand_types: Vec<Type> = operands.iter().map(Value::value_type).collect();
    let results = infer(kind, &operand_types.iter().collect::<Vec<_>>())?;
    let scope = Scope::new(module, None);
    scope.op(kind, operands.to_vec(), &results.iter().collect::<Vec<_>>())
}

/// The results of a graph that gives tensors.
fn only_tensors(graph: &Graph, results: Vec<Value>) -> Result<Vec<Tensor>, EvaluateError> {
    let tensors = results.into_iter().enumerate().map(|(result, value)| {
        value
            .into_tensor()
            .map_err(|scaled| EvaluateError::ScaledResult {
                graph: graph.name.clone(),
                result,
                found: scaled.scaled_type().clone(),
            })
    });
    tensors.collect()
}

/// Where a graph is evaluated: in which module, and called by which graphs.
pub(crate) struct Scope<'a> {
    pub module: &'a Module,
    graph: Option<&'a Graph>,
    caller: Option<&'a Scope<'a>>,
}

impl<'a> Scope<'a> {
    fn new(module: &'a Module, graph: Option<&'a Graph>) -> Self {
        Self {
            module,
            graph,
            caller: None,
        }
    }

    /// The scope of a graph called from this one, or `None` where it is being evaluated already.
    pub fn enter(&'a self, graph: &'a Graph) -> Option<Scope<'a>> {
        let mut callers = std::iter::successors(Some(self), |scope| scope.caller);
        let is_active = callers.any(|scope| {
            scope
                .graph
                .is_some_and(|active| std::ptr::eq(active, graph))
        });
        (!is_active).then_some(Scope {
            module: self.module,
            graph: Some(graph),
            caller: Some(self),
        })
    }

    /// The results of a graph on inputs of its types.
    pub fn graph(&self, graph: &Graph, inputs: Vec<Value>) -> Result<Vec<Value>, EvaluateError> {
        let mut values = Values {
            uses: graph.use_counts(),
            values: Vec::with_capacity(graph.value_count()),
        };
        inputs.into_iter().for_each(|input| values.define(input));
        for operation in graph.operations() {
            let operands = operation
                .op
                .operands
                .iter()
                .map(|&value| values.take(value));
            let operands = operands.collect();
            let types: Vec<_> = operation
                .results()
                .map(|value| graph.value_type(value))
                .collect();
            let results = self.op(&operation.op.kind, operands, &types);
            for result in results
                .map_err(|failure| located(failure, &operation.op.kind, &operation.location))?
            {
                values.define(result);
            }
        }
        Ok(graph
            .results()
            .iter()
            .map(|result| values.take(result.value))
            .collect())
    }

    /// The results of a reducer, comparator or update, a graph of scalars.
    pub fn scalars(
        &self,
        graph: &Graph,
        inputs: Vec<Tensor>,
    ) -> Result<Vec<Tensor>, EvaluateError> {
        let inputs = inputs.into_iter().map(Value::Tensor).collect();
        only_tensors(graph, self.graph(graph, inputs)?)
    }

    /// The results of an op, whose types are given, on operands that it allows.
    fn op(
        &self,
        kind: &OpKind,
        values: Vec<Value>,
        result_types: &[&Type],
    ) -> Result<Vec<Value>, OpFailure> {
        result_types
            .iter()
            .try_for_each(|result| expect_memory(result))?;
        // What is a tensor; for an op on tensors, everything.
        let operands: Vec<Tensor> = values
            .iter()
            .filter_map(Value::as_tensor)
            .cloned()
            .collect();
        let scaled_operands: Vec<ScaledTensor> = values
            .iter()
            .filter_map(Value::as_scaled)
            .cloned()
            .collect();
        let results: Vec<&TensorType> = (result_types.iter())
            .filter_map(|result| result.as_tensor())
            .collect();
        let tensors = |results: Vec<Tensor>| results.into_iter().map(Value::Tensor).collect();
        let one = match kind {
            OpKind::Unary(function) => elementwise::unary(*function, &operands[0]),
            OpKind::Binary(function) => elementwise::binary(*function, &operands[0], &operands[1]),
            OpKind::Compare {
                direction,
                compare_type,
            } => elementwise::compare(*direction, *compare_type, &operands[0], &operands[1]),
            OpKind::Select {} => elementwise::select(&operands[0], &operands[1], &operands[2]),
            OpKind::Clamp {} => elementwise::clamp(&operands[0], &operands[1], &operands[2]),
            OpKind::Convert { element } => elementwise::convert(*element, &operands[0]),
            OpKind::BitcastConvert { element } => {
                elementwise::bitcast_convert(*element, &results[0].shape, &operands[0])
            }
            OpKind::Constant { value } => Ok(value.clone()),
            OpKind::Iota {
                dimension,
                tensor_type,
            } => shape::iota(*dimension, tensor_type),
            OpKind::BroadcastInDim {
                broadcast_dimensions,
                shape,
            } => shape::broadcast_in_dim(broadcast_dimensions, shape, &operands[0]),
            OpKind::Reshape { shape } => shape::reshape(shape, &operands[0]),
            OpKind::Transpose { permutation } => shape::transpose(permutation, &operands[0]),
            OpKind::Slice {
                start_indices,
                limit_indices: _,
                strides,
            } => shape::slice(start_indices, strides, &results[0].shape, &operands[0]),
            OpKind::DynamicSlice { slice_sizes } => {
                shape::dynamic_slice(slice_sizes, &operands[0], &operands[1..])
            }
            OpKind::DynamicUpdateSlice {} => {
                shape::dynamic_update_slice(&operands[0], &operands[1], &operands[2..])
            }
            OpKind::Pad {
                edge_padding_low,
                edge_padding_high: _,
                interior_padding,
            } => shape::pad(
                edge_padding_low,
                interior_padding,
                &results[0].shape,
                &operands[0],
                &operands[1],
            ),
            OpKind::Concatenate { dimension } => {
                shape::concatenate(*dimension, &results[0].shape, &operands)
            }
            OpKind::Reverse { dimensions } => shape::reverse(dimensions, &operands[0]),
            OpKind::DotGeneral {
                lhs_batching_dimensions,
                rhs_batching_dimensions,
                lhs_contracting_dimensions,
                rhs_contracting_dimensions,
                accumulator,
                element,
            } => {
                let lhs = Roles {
                    batching: lhs_batching_dimensions,
                    contracting: lhs_contracting_dimensions,
                };
                let rhs = Roles {
                    batching: rhs_batching_dimensions,
                    contracting: rhs_contracting_dimensions,
                };
                let (lhs, rhs) = ((&operands[0], lhs), (&operands[1], rhs));
                dot_general(lhs, rhs, *accumulator, *element, &results[0].shape)
            }
            OpKind::Quantize {
                rule,
                rounding,
                seed,
                site,
                scaled_type,
            } => {
                let how = Quantization::new(scaled_type.clone(), *rule, *rounding)?;
                let one = scaled::quantize(&how, (*seed, *site), &operands)?;
                return Ok(vec![Value::Scaled(one)]);
            }
            OpKind::Dequantize { element } => scaled::dequantize(*element, &scaled_operands[0]),
            OpKind::Relayout { scaled_type } => {
                let one = tessera_numerics::relayout(&scaled_operands[0], scaled_type)?;
                return Ok(vec![Value::Scaled(one)]);
            }
            OpKind::ScaledDot {
                lhs_batching_dimensions,
                rhs_batching_dimensions,
                element,
            } => {
                let lhs = (&scaled_operands[0], &lhs_batching_dimensions[..]);
                let rhs = (&scaled_operands[1], &rhs_batching_dimensions[..]);
                scaled::scaled_dot(lhs, rhs, *element, &results[0].shape)
            }
            OpKind::GroupedDot {
                lhs_contracting_dimension,
                rhs_contracting_dimension,
                accumulator,
                element,
            } => grouped_dot(
                (&operands[0], *lhs_contracting_dimension),
                (&operands[1], *rhs_contracting_dimension),
                &operands[2],
                (*accumulator, *element),
                &results[0].shape,
            ),
            OpKind::GroupedScaledDot { element } => {
                let [lhs, rhs] = [&scaled_operands[0], &scaled_operands[1]];
                grouped_scaled_dot(lhs, rhs, &operands[0], *element, &results[0].shape)
            }
            OpKind::ColumnMean { dimensions } => {
                solve::column_mean(dimensions, &operands[0], &results[0].shape)
            }
            OpKind::Hadamard { axis, signs } => scaled::hadamard(*axis, signs, &operands[0]),
            OpKind::Orthonormalize {} => solve::orthonormalize(&operands[0]),
            OpKind::SubspaceIterate { iterations } => {
                return solve::subspace_iterate(*iterations, &operands[0], &operands[1])
                    .map(tensors);
            }
            OpKind::Gather {
                offset_dims,
                collapsed_slice_dims,
                operand_batching_dims,
                start_indices_batching_dims,
                start_index_map,
                index_vector_dim,
                slice_sizes,
                indices_are_sorted: _,
            } => {
                let starts = Starts {
                    index_map: start_index_map,
                    index_vector_dim: *index_vector_dim,
                    operand_batching_dims,
                    indices_batching_dims: start_indices_batching_dims,
                };
                let attributes = Gather {
                    starts,
                    offset_dims,
                    collapsed_slice_dims,
                    slice_sizes,
                };
                gather(&attributes, &operands[0], &operands[1], &results[0].shape)
            }
            OpKind::Reduce { dimensions, body } => {
                let reduced = Reduced::new(&operands);
                return reduce(self, dimensions, body, reduced, &results).map(tensors);
            }
            OpKind::ReduceWindow {
                window_dimensions,
                window_strides,
                base_dilations,
                window_dilations,
                padding_low,
                padding_high: _,
                body,
            } => {
                let window = Window {
                    dimensions: window_dimensions,
                    strides: window_strides,
                    base_dilations,
                    dilations: window_dilations,
                    padding_low,
                };
                return reduce_window(self, &window, body, Reduced::new(&operands), &results)
                    .map(tensors);
            }
            OpKind::Scatter {
                update_window_dims,
                inserted_window_dims,
                input_batching_dims,
                scatter_indices_batching_dims,
                scatter_dims_to_operand_dims,
                index_vector_dim,
                indices_are_sorted: _,
                unique_indices: _,
                update_computation,
            } => {
                let starts = Starts {
                    index_map: scatter_dims_to_operand_dims,
                    index_vector_dim: *index_vector_dim,
                    operand_batching_dims: input_batching_dims,
                    indices_batching_dims: scatter_indices_batching_dims,
                };
                let attributes = Scatter {
                    starts,
                    update_window_dims,
                    inserted_window_dims,
                };
                return scatter(self, &attributes, update_computation, &operands, &results)
                    .map(tensors);
            }
            OpKind::Sort {
                dimension,
                is_stable: _,
                comparator,
            } => return sorting::sort(self, *dimension, comparator, &operands).map(tensors),
            OpKind::TopK { k } => return sorting::top_k(*k, &operands[0], &results).map(tensors),
            OpKind::While { condition, body } => {
                return Ok(control::while_loop(self, condition, body, values)?);
            }
            OpKind::Case { branches } => return Ok(control::case(self, branches, values)?),
            OpKind::Call {
                callee,
                result_types: _,
            } => return control::call(self, callee, values),
            OpKind::OptimizationBarrier {} => return Ok(values),
        };
        Ok(vec![Value::Tensor(one?)])
    }
}

/// The values of a graph defined so far, each until its last use.
struct Values {
    /// By value number, how many uses are still to come.
    uses: Vec<usize>,
    /// By value number.
    values: Vec<Option<Value>>,
}

impl Values {
    /// Defines the next value.
    fn define(&mut self, value: Value) {
        let is_used = self.uses[self.values.len()] > 0;
        self.values.push(is_used.then_some(value));
    }

    /// The value for one of its uses; with the last one it is given away.
    fn take(&mut self, value: ValueId) -> Value {
        let index = value.index();
        self.uses[index] -= 1;
        let found = match self.uses[index] {
            0 => self.values[index].take(),
            _ => self.values[index].clone(),
        };
        found.expect("a graph's values are defined before their uses, and the uses were counted")
    }
}

/// The error of an op at a place. One of an op further inside keeps its own place.
fn located(failure: OpFailure, kind: &OpKind, location: &Location) -> EvaluateError {
    match failure {
        OpFailure::Inner(error) => *error,
        failure => EvaluateError::Op {
            op: kind.name(),
            location: location.clone(),
            failure,
        },
    }
}

/// Refuses a result that cannot be allocated, where allocating it would end the process.
fn expect_memory(result: &Type) -> Result<(), OpFailure> {
    let bytes = result.byte_size_checked();
    let fits = bytes.is_some_and(|bytes| Vec::<u8>::new().try_reserve_exact(bytes).is_ok());
    fits.then_some(()).ok_or_else(|| OpFailure::OutOfMemory {
        value_type: result.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tessera_ir::{ElementType, Input};

    #[test]
    fn a_value_is_freed_with_its_last_use() {
        let scalar = TensorType::scalar(ElementType::I32);
        let graph = Graph::new("", vec![Input::new(scalar.clone()), Input::new(scalar)]);
        let ids: Vec<ValueId> = graph.input_values().collect();
        let mut values = Values {
            uses: vec![2, 0],
            values: Vec::new(),
        };
        values.define(Value::Tensor(Tensor::scalar(7)));
        values.define(Value::Tensor(Tensor::scalar(8)));
        assert_eq!(values.values[1], None, "it has no use");
        assert_eq!(values.take(ids[0]), Value::Tensor(Tensor::scalar(7)));
        assert_eq!(values.values[0], Some(Value::Tensor(Tensor::scalar(7))));
        assert_eq!(values.take(ids[0]), Value::Tensor(Tensor::scalar(7)));
        assert_eq!(values.values[0], None);
    }
}
