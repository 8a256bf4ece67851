//! What a kernel that sums a scaled tensor's numbers along its axis may hold: `dequantize`, and a `reduce` that adds along
//! that axis and begins with zero, or a `dot_general` by vectors along it. The numbers themselves are never written.

use super::contract::Refusal;
use std::collections::BTreeSet;
use tessera_ir::{Binary, Definition, ElementType, Graph, Op, OpKind, Operation, ValueId};

/// Checks a dequantize and the op that sums, by their numbers, and what is around them.
pub(super) fn check(
    graph: &Graph,
    members: &BTreeSet<usize>,
    [dequantize, sum]: [usize; 2],
    exports: &BTreeSet<ValueId>,
) -> Result<(), Refusal> {
    let operations = graph.operations();
    let (dequantize, sum) = (&operations[dequantize], &operations[sum]);
    match (&dequantize.op.kind, &sum.op.kind) {
        (OpKind::Dequantize { .. }, OpKind::Reduce { dimensions, body }) => {
            check_reduce(graph, members, dequantize, (sum, dimensions, body), exports)
        }
        (OpKind::Dequantize { .. }, OpKind::DotGeneral { .. }) => {
            if !is_product_by_vectors(graph, dequantize, sum) {
                return Err("an op beside one that is a kernel by itself");
            }
            if exports.iter().ne([&sum.result()]) || members.len() != 2 {
                return Err("an op beside a scaled tensor's product by vectors");
            }
            Ok(())
        }
        _ => Err("an op beside one that is a kernel by itself"),
    }
}

fn check_reduce(
    graph: &Graph,
    members: &BTreeSet<usize>,
    dequantize: &Operation,
    (reduce, dimensions, body): (&Operation, &[usize], &Graph),
    exports: &BTreeSet<ValueId>,
) -> Result<(), Refusal> {
    let &[numbers, init] = &reduce.op.operands[..] else {
        return Err("several sums of a scaled tensor");
    };
    let scaled = graph.value_type(dequantize.op.operands[0]).as_scaled();
    let is_along_axis = scaled.is_some_and(|scaled| dimensions == [scaled.axis()]);
    if numbers != dequantize.result() || !is_along_axis {
        return Err("an op beside one that is a kernel by itself");
    }
    let adds = matches!(
        body.operations(),
        [Operation { op: Op { kind: OpKind::Binary(Binary::Add), operands }, .. }]
            if body.input_values().eq(operands.iter().copied())
    );
    let is_zero = graph.defining_operation(init).is_some_and(|init| {
        matches!(&init.op.kind, OpKind::Constant { value } if value.values() == Some(vec![0f32]))
    });
    if !adds || !is_zero {
        return Err("a reduction of a scaled tensor that is no sum");
    }
    if exports.iter().ne([&reduce.result()]) {
        return Err("a result beside a scaled tensor's sums");
    }
    let is_init = |member: usize| matches!(graph.definition(init), Definition::Result { op, .. } if op.index() == member);
    match members.iter().filter(|&&member| !is_init(member)).count() {
        2 => Ok(()),
        _ => Err("an op beside a scaled tensor's sums"),
    }
}

/// Whether a dot_general of f32 multiplies a scaled tensor's numbers by a vector along its axis, in either order; of a batch,
/// each matrix by its own. The result then has the order of the tensor's rows of storage.
fn is_product_by_vectors(graph: &Graph, dequantize: &Operation, product: &Operation) -> bool {
    let OpKind::DotGeneral {
        lhs_batching_dimensions,
        rhs_batching_dimensions,
        lhs_contracting_dimensions,
        rhs_contracting_dimensions,
        accumulator,
        ..
    } = &product.op.kind
    else {
        return false;
    };
    let (Some(scaled), &[lhs, rhs]) = (
        graph.value_type(dequantize.op.operands[0]).as_scaled(),
        &product.op.operands[..],
    ) else {
        return false;
    };
    let is_f32 = [lhs, rhs, product.result()]
        .iter()
        .all(|&value| graph.tensor_type(value).element == ElementType::F32);
    let mut sides = [
        (lhs, lhs_batching_dimensions, lhs_contracting_dimensions),
        (rhs, rhs_batching_dimensions, rhs_contracting_dimensions),
    ];
    if lhs != dequantize.result() {
        sides.reverse();
    }
    let [
        (numbers, batching, contracting),
        (vectors, vectors_batching, vectors_contracting),
    ] = sides;
    let along_axis = numbers == dequantize.result()
        && vectors != numbers
        && *contracting == [scaled.axis()]
        && batching.iter().copied().eq(0..batching.len());
    // In memory the vectors follow each other in the batch's order.
    let shape = &graph.tensor_type(vectors).shape;
    let walked = vectors_batching.iter().chain(vectors_contracting);
    let walked: Vec<usize> = walked.copied().filter(|&d| shape[d] != 1).collect();
    let are_vectors = (0..shape.len()).all(|d| shape[d] == 1 || walked.contains(&d));
    is_f32 && *accumulator == ElementType::F32 && along_axis && are_vectors && walked.is_sorted()
}
