//! The rules of each op: its numbered constraints and its result types.
//!
//! [`infer`] is the one place that knows them. It is total: whatever the attributes and operand types, it gives result
//! types or an [`OpError`], and never a type whose tensors no memory can hold.
//!
//! A constraint's label says where it comes from:
//!
//! | label | meaning |
//! |---|---|
//! | `C1`, `C2`, … | the constraint of that number of the op of that name in StableHLO's specification |
//! | `I1`, `I2`, … | what that specification says of the type of the op's input of that number |
//! | `T1`, `T2`, … | a constraint of this IR alone, listed at the op's rule |
//! | `operands` | the number of operands |
//! | `size` | a tensor is larger than the address space |
//! | `tensors` | an operand of an op on tensors is a scaled tensor |
//! | `SSA` | an operand is not a value of the graph |
//!
//! Constraints on quantised and complex tensors, which this IR lacks, are left out, and so are those that say nothing
//! but the result type that is inferred here.

mod check;
mod contraction;
mod control;
mod elementwise;
mod gather;
mod grouped;
mod order;
mod reduction;
mod scaled;
mod scatter;
mod shape;
mod slice;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod totality;

use crate::{
    DotDimensionNumbers, GatherDimensionNumbers, OpKind, ScatterDimensionNumbers, TensorType, Type,
    ValueId, WindowAttributes,
};
use check::{Rule, require};
pub(crate) use check::{list, signature_text};

/// Which constraint of its op an error speaks of, e.g. `C1`. Numbers are those of StableHLO's specification where the
/// op is its; `I1` is what that says of the op's first input; `T1` is a constraint of this IR alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Constraint(pub &'static str);

/// An op that breaks one of its constraints.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'tsr.{op}' ({}): {message}", .constraint.0)]
pub struct OpError {
    /// The op's name without the dialect.
    pub op: &'static str,
    /// The constraint broken.
    pub constraint: Constraint,
    /// What was expected and what was found.
    pub message: String,
}

impl OpError {
    pub(crate) fn undefined_operand(op: &'static str, operand: ValueId) -> Self {
        Self {
            op,
            constraint: Constraint("SSA"),
            message: format!("operand {} is not a value of the graph", operand.index()),
        }
    }
}

/// The result types of an op on operands of the given types.
///
/// # Errors
/// The op breaks one of its constraints: the first one, in the order in which its rule checks them.
pub fn infer(kind: &OpKind, operands: &[&Type]) -> Result<Vec<Type>, OpError> {
    let rule = Rule::of(kind);
    for (number, operand) in operands.iter().enumerate() {
        require!(
            rule,
            "size",
            operand.byte_size_checked().is_some(),
            "operand {number} is larger than the address space: {operand}"
        );
    }
    let results = infer_unbounded(kind, rule, operands)?;
    for result in &results {
        require!(
            rule,
            "size",
            result.byte_size_checked().is_some(),
            "the result is larger than the address space: {result}"
        );
    }
    Ok(results)
}

/// [`infer`] on operands that memory can hold, before it is known whether memory can hold the results.
fn infer_unbounded(kind: &OpKind, rule: Rule, operands: &[&Type]) -> Result<Vec<Type>, OpError> {
    let tensors = rule.tensors(operands);
    let one = |result: TensorType| vec![Type::Tensor(result)];
    let several = |results: Vec<TensorType>| results.into_iter().map(Type::Tensor).collect();
    match kind {
        OpKind::Unary(function) => elementwise::unary(rule, *function, &tensors?).map(one),
        OpKind::Binary(function) => elementwise::binary(rule, *function, &tensors?).map(one),
        OpKind::Compare {
            direction: _,
            compare_type,
        } => elementwise::compare(rule, *compare_type, &tensors?).map(one),
        OpKind::Select {} => elementwise::select(rule, &tensors?).map(one),
        OpKind::Clamp {} => elementwise::clamp(rule, &tensors?).map(one),
        OpKind::Convert { element } => elementwise::convert(rule, *element, &tensors?).map(one),
        OpKind::BitcastConvert { element } => {
            elementwise::bitcast_convert(rule, *element, &tensors?).map(one)
        }
        OpKind::Constant { value } => shape::constant(rule, value, &tensors?).map(one),
        OpKind::Iota {
            dimension,
            tensor_type,
        } => shape::iota(rule, *dimension, tensor_type, &tensors?).map(one),
        OpKind::BroadcastInDim {
            broadcast_dimensions,
            shape,
        } => shape::broadcast_in_dim(rule, broadcast_dimensions, shape, &tensors?).map(one),
        OpKind::Reshape { shape } => shape::reshape(rule, shape, &tensors?).map(one),
        OpKind::Transpose { permutation } => {
            shape::transpose(rule, permutation, &tensors?).map(one)
        }
        OpKind::Slice {
            start_indices,
            limit_indices,
            strides,
        } => slice::slice(rule, start_indices, limit_indices, strides, &tensors?).map(one),
        OpKind::DynamicSlice { slice_sizes } => {
            slice::dynamic_slice(rule, slice_sizes, &tensors?).map(one)
        }
        OpKind::DynamicUpdateSlice {} => slice::dynamic_update_slice(rule, &tensors?).map(one),
        OpKind::Pad {
            edge_padding_low,
            edge_padding_high,
            interior_padding,
        } => {
            let edges = (edge_padding_low.as_slice(), edge_padding_high.as_slice());
            slice::pad(rule, edges, interior_padding, &tensors?).map(one)
        }
        OpKind::Concatenate { dimension } => {
            shape::concatenate(rule, *dimension, &tensors?).map(one)
        }
        OpKind::Reverse { dimensions } => shape::reverse(rule, dimensions, &tensors?).map(one),
        OpKind::Reduce { dimensions, body } => {
            reduction::reduce(rule, dimensions, body, &tensors?).map(several)
        }
        OpKind::ReduceWindow {
            window_dimensions,
            window_strides,
            base_dilations,
            window_dilations,
            padding_low,
            padding_high,
            body,
        } => {
            let window = WindowAttributes {
                window_dimensions,
                window_strides,
                base_dilations,
                window_dilations,
                padding_low,
                padding_high,
            };
            reduction::reduce_window(rule, &window, body, &tensors?).map(several)
        }
        OpKind::DotGeneral {
            lhs_batching_dimensions,
            rhs_batching_dimensions,
            lhs_contracting_dimensions,
            rhs_contracting_dimensions,
            accumulator,
            element,
        } => {
            let dimensions = DotDimensionNumbers {
                lhs_batching: lhs_batching_dimensions,
                rhs_batching: rhs_batching_dimensions,
                lhs_contracting: lhs_contracting_dimensions,
                rhs_contracting: rhs_contracting_dimensions,
            };
            contraction::dot_general(rule, &dimensions, *accumulator, *element, &tensors?).map(one)
        }
        OpKind::Quantize {
            rule: scale_rule,
            rounding,
            seed: _,
            site,
            scaled_type,
        } => {
            let how = (*scale_rule, *rounding);
            scaled::quantize(rule, how, *site, scaled_type, &tensors?).map(|one| vec![one])
        }
        OpKind::Dequantize { element } => scaled::dequantize(rule, *element, operands).map(one),
        OpKind::Relayout { scaled_type } => {
            scaled::relayout(rule, scaled_type, operands).map(|one| vec![one])
        }
        OpKind::ScaledDot {
            lhs_batching_dimensions,
            rhs_batching_dimensions,
            element,
        } => {
            let batching = (&lhs_batching_dimensions[..], &rhs_batching_dimensions[..]);
            scaled::scaled_dot(rule, batching, *element, operands).map(one)
        }
        OpKind::GroupedDot {
            lhs_contracting_dimension,
            rhs_contracting_dimension,
            accumulator,
            element,
        } => {
            let contracting = [*lhs_contracting_dimension, *rhs_contracting_dimension];
            grouped::grouped_dot(rule, contracting, *accumulator, *element, &tensors?).map(one)
        }
        OpKind::GroupedScaledDot { element } => {
            grouped::grouped_scaled_dot(rule, *element, operands).map(one)
        }
        OpKind::ColumnMean { dimensions } => {
            scaled::column_mean(rule, dimensions, &tensors?).map(one)
        }
        OpKind::Hadamard { axis, signs } => {
            scaled::hadamard(rule, *axis, signs, &tensors?).map(one)
        }
        OpKind::Orthonormalize {} => scaled::orthonormalize(rule, &tensors?).map(one),
        OpKind::SubspaceIterate { iterations } => {
            scaled::subspace_iterate(rule, *iterations, &tensors?).map(several)
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
            let dimensions = GatherDimensionNumbers {
                offset_dims,
                collapsed_slice_dims,
                operand_batching_dims,
                start_indices_batching_dims,
                start_index_map,
                index_vector_dim: *index_vector_dim,
            };
            gather::gather(rule, &dimensions, slice_sizes, &tensors?).map(one)
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
            let dimensions = ScatterDimensionNumbers {
                update_window_dims,
                inserted_window_dims,
                input_batching_dims,
                scatter_indices_batching_dims,
                scatter_dims_to_operand_dims,
                index_vector_dim: *index_vector_dim,
            };
            scatter::scatter(rule, &dimensions, update_computation, &tensors?).map(several)
        }
        OpKind::Sort {
            dimension,
            is_stable: _,
            comparator,
        } => order::sort(rule, *dimension, comparator, &tensors?).map(several),
        OpKind::TopK { k } => order::top_k(rule, *k, &tensors?).map(several),
        OpKind::While { condition, body } => control::while_loop(rule, condition, body, operands),
        OpKind::Case { branches } => control::case(rule, branches, operands),
        OpKind::Call {
            callee: _,
            result_types,
        } => Ok(result_types.clone()),
        OpKind::OptimizationBarrier {} => {
            Ok(operands.iter().map(|&operand| operand.clone()).collect())
        }
    }
}
