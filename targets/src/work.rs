//! What a launch of a kernel has to do: bytes of memory and operations, for a roofline.
//!
//! Every operand is read once and every result written once, as if caches held all else; of what is sliced or gathered no
//! more than that is read, and of what is updated in place no more than the update. An operation is one of an element of an
//! op's result, whatever the function; a product and a sum are two.

use crate::units::Unit;
use tessera_ir::{Graph, OpKind, Operation, Region, Type, ValueId};
use tessera_runtime::bundle::{MatrixUnit, Work};

/// What a launch of a unit has to do, its products on that matrix unit, or on the cores where there is none.
pub fn work(unit: &Unit<'_>, matrix_unit: Option<MatrixUnit>) -> Work {
    let body = &unit.kernel.body;
    let [mut operations, mut matrix_operations] = [0; 2];
    for operation in body.operations() {
        let count = operations_of(body, operation);
        match matrix_unit {
            Some(_) if operation.op.kind.is_product() => matrix_operations += count,
            _ => operations += count,
        }
    }
    let read = (body.inputs().iter().zip(body.input_values()).enumerate())
        .map(|(number, (input, value))| bytes_read(unit, number, &input.value_type, value));
    let written = (body.results().iter().enumerate())
        .map(|(number, result)| bytes_written(unit, number, result.value));
    Work {
        bytes: read.sum::<u64>() + written.sum::<u64>(),
        operations,
        matrix_operations,
        matrix_unit: matrix_unit.filter(|_| matrix_operations > 0),
    }
}

fn bytes(value_type: &Type) -> u64 {
    value_type.byte_size() as u64
}

fn elements(value_type: &Type) -> u64 {
    value_type.len() as u64
}

/// The bytes of an operand that are read.
fn bytes_read(unit: &Unit<'_>, number: usize, value_type: &Type, value: ValueId) -> u64 {
    let body = &unit.kernel.body;
    let is_in_place = unit.in_place[number].is_some();
    let all = bytes(value_type);
    let of_use = |operation: &Operation, operand: usize| {
        let result = || bytes(body.value_type(operation.result()));
        match (&operation.op.kind, operand) {
            (OpKind::Slice { .. } | OpKind::DynamicSlice { .. } | OpKind::Gather { .. }, 0) => {
                result()
            }
            (OpKind::DynamicUpdateSlice {}, 0) if is_in_place => 0,
            (OpKind::Scatter { .. }, operand) if is_in_place && operand < inputs_of(operation) => {
                bytes(body.value_type(update_of(operation, operand)))
            }
            _ => all,
        }
    };
    let uses = body.operations().iter().flat_map(|operation| {
        let operands = operation.op.operands.iter().enumerate();
        let own = operands.filter(|&(_, &operand)| operand == value);
        own.map(move |(operand, _)| of_use(operation, operand))
    });
    let is_result = body.results().iter().any(|result| result.value == value);
    let read: u64 = uses.sum();
    if is_result { all } else { read.min(all) }
}

/// The bytes of a result that are written.
fn bytes_written(unit: &Unit<'_>, number: usize, value: ValueId) -> u64 {
    let body = &unit.kernel.body;
    let all = bytes(body.value_type(value));
    if !unit.in_place.contains(&Some(number)) {
        return all;
    }
    match body.defining_operation(value) {
        Some(operation) => match operation.op.kind {
            OpKind::DynamicUpdateSlice {} => bytes(body.value_type(operation.op.operands[1])),
            OpKind::Scatter { .. } => {
                let results: Vec<ValueId> = operation.results().collect();
                let own = results.iter().position(|&result| result == value);
                let update = own.map(|own| update_of(operation, own));
                update.map_or(all, |update| bytes(body.value_type(update)).min(all))
            }
            _ => all,
        },
        None => all,
    }
}

/// How many tensors a scatter changes: it has as many updates, and the indices.
fn inputs_of(scatter: &Operation) -> usize {
    scatter.op.operands.len() / 2
}

fn update_of(scatter: &Operation, input: usize) -> ValueId {
    scatter.op.operands[inputs_of(scatter) + 1 + input]
}

/// The operations of an op.
fn operations_of(graph: &Graph, operation: &Operation) -> u64 {
    let made = elements(graph.value_type(operation.result()));
    let operand = |number: usize| graph.value_type(operation.op.operands[number]);
    let taken = || elements(operand(0));
    match &operation.op.kind {
        OpKind::Unary(_)
        | OpKind::Binary(_)
        | OpKind::Compare { .. }
        | OpKind::Select {}
        | OpKind::Clamp {}
        | OpKind::Convert { .. } => made,
        // These only say where an element lies.
        OpKind::BitcastConvert { .. }
        | OpKind::Constant { .. }
        | OpKind::Iota { .. }
        | OpKind::BroadcastInDim { .. }
        | OpKind::Reshape { .. }
        | OpKind::Transpose { .. }
        | OpKind::Slice { .. }
        | OpKind::DynamicSlice { .. }
        | OpKind::DynamicUpdateSlice {}
        | OpKind::Pad { .. }
        | OpKind::Concatenate { .. }
        | OpKind::Reverse { .. }
        | OpKind::Gather { .. }
        | OpKind::Relayout { .. }
        | OpKind::OptimizationBarrier {} => 0,
        OpKind::Reduce { body, .. } => taken() * functions(body),
        OpKind::ReduceWindow {
            window_dimensions,
            body,
            ..
        } => made * window_dimensions.iter().product::<usize>() as u64 * functions(body),
        OpKind::Scatter {
            update_computation, ..
        } => {
            let update = graph.value_type(update_of(operation, 0));
            elements(update) * functions(update_computation)
        }
        OpKind::Sort {
            dimension,
            comparator,
            ..
        } => {
            let along = operand(0).shape()[*dimension];
            taken() * doublings(along) * functions(comparator)
        }
        OpKind::TopK { .. } => taken() * doublings(operand(0).shape().last().map_or(1, |&n| n)),
        OpKind::DotGeneral {
            lhs_contracting_dimensions,
            ..
        } => {
            let sizes = operand(0).shape();
            let depth = lhs_contracting_dimensions.iter().map(|&d| sizes[d]);
            2 * made * depth.product::<usize>() as u64
        }
        OpKind::ScaledDot { .. } => {
            2 * made * operand(0).as_scaled().map_or(0, |lhs| lhs.columns()) as u64
        }
        // As many as there are where the groups take all rows: each element of lhs meets every column of rhs.
        OpKind::GroupedDot {
            rhs_contracting_dimension,
            ..
        } => 2 * taken() * columns(operand(1), *rhs_contracting_dimension),
        OpKind::GroupedScaledDot { .. } => {
            let axis = operand(1).as_scaled().map_or(0, |rhs| rhs.axis());
            2 * taken() * columns(operand(1), axis)
        }
        // The magnitude and its part in the largest one; by its block's factor; to a code.
        OpKind::Quantize { .. } => 4 * taken(),
        // By its block's scale and by the tensor's.
        OpKind::Dequantize { .. } => 2 * made,
        OpKind::ColumnMean { .. } => taken() + made,
        OpKind::Hadamard { signs, .. } => made * doublings(signs.len()),
        // Householder's: 2 m n² for a matrix of m × n, and as many for Q.
        OpKind::Orthonormalize {} => {
            4 * taken() * operand(0).shape().last().map_or(1, |&n| n as u64)
        }
        // m v and mᵀ U.
        OpKind::SubspaceIterate { iterations } => {
            let directions = operand(1).shape().last().map_or(1, |&k| k as u64);
            4 * taken() * directions * *iterations as u64
        }
        // No kernel holds these.
        OpKind::While { .. } | OpKind::Case { .. } | OpKind::Call { .. } => 0,
    }
}

/// The columns that a grouped product's rhs has beside its groups and what is summed over.
fn columns(rhs: &Type, contracting: usize) -> u64 {
    let shape = rhs.shape();
    let first = shape.len() - 2;
    shape[2 * first + 1 - contracting] as u64
}

/// The functions that a region of scalars computes.
fn functions(region: &Region) -> u64 {
    region.operations().len() as u64
}

/// How often 1 has to be doubled to have n or more.
fn doublings(n: usize) -> u64 {
    u64::from(n.max(1).next_power_of_two().ilog2())
}
