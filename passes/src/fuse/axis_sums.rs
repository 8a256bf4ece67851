//! What a kernel that sums a scaled tensor's numbers along its axis may hold: `dequantize`, and a `reduce` that adds along
//! that axis and begins with zero. The numbers themselves are never written.

use super::contract::Refusal;
use std::collections::BTreeSet;
use tessera_ir::{Binary, Definition, Graph, Op, OpKind, Operation, ValueId};

/// Checks a dequantize and a reduce, by their numbers, and what is around them.
pub(super) fn check(
    graph: &Graph,
    members: &BTreeSet<usize>,
    [dequantize, reduce]: [usize; 2],
    exports: &BTreeSet<ValueId>,
) -> Result<(), Refusal> {
    let operations = graph.operations();
    let (dequantize, reduce) = (&operations[dequantize], &operations[reduce]);
    let OpKind::Reduce { dimensions, body } = &reduce.op.kind else {
        return Err("an op beside one that is a kernel by itself");
    };
    let &[numbers, init] = &reduce.op.operands[..] else {
        return Err("several sums of a scaled tensor");
    };
    let scaled = graph.value_type(dequantize.op.operands[0]).as_scaled();
    let is_along_axis = scaled.is_some_and(|scaled| *dimensions == [scaled.axis()]);
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
