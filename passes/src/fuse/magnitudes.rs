//! What a kernel that finds the largest magnitudes of a Hadamard transform may hold: `hadamard` along one of the last two
//! dimensions, `abs`, and a `reduce` to the largest of each row or of all. The tensor may be less a mean, as in a quantize
//! kernel. The transform itself is never written.

use super::contract::Refusal;
use super::quantize::{Centring, member};
use std::collections::BTreeSet;
use tessera_ir::{Binary, Graph, Op, OpKind, Operation, Unary, ValueId};

/// Checks a hadamard and a reduce, by their numbers, and what is around them. Gives how many more ops have to become
/// members: the broadcast of the mean.
pub(super) fn check(
    graph: &Graph,
    members: &BTreeSet<usize>,
    [hadamard, reduce]: [usize; 2],
    exports: &BTreeSet<ValueId>,
) -> Result<usize, Refusal> {
    let transform = &graph.operations()[hadamard];
    let maximum = &graph.operations()[reduce];
    let (OpKind::Hadamard { axis, .. }, OpKind::Reduce { dimensions, body }) =
        (&transform.op.kind, &maximum.op.kind)
    else {
        return Err("an op beside one that is a kernel by itself");
    };
    let &[magnitudes, init] = &maximum.op.operands[..] else {
        return Err("several extrema of a transform");
    };
    let abs = member(graph, members, magnitudes).filter(|&number| {
        let op = &graph.operations()[number].op;
        op.kind == OpKind::Unary(Unary::Abs) && op.operands == [transform.result()]
    });
    let abs = abs.ok_or("an op beside one that is a kernel by itself")?;
    let shape = &graph.tensor_type(transform.result()).shape;
    let rank = shape.len();
    let is_of_rows = *dimensions == [rank - 1];
    if !is_of_rows && dimensions.len() != rank || axis + 2 < rank || shape.contains(&0) {
        return Err("an extremum of a transform that is not by rows");
    }
    if !is_maximum(graph, body, init) {
        return Err("a reduction of a transform that is not to the largest magnitude");
    }
    if exports.iter().ne([&maximum.result()]) {
        return Err("a result beside a transform's magnitudes");
    }
    let centring = Centring::of(graph, members, transform.op.operands[0])?;
    let mut allowed = BTreeSet::from([hadamard, reduce, abs]);
    allowed.extend(member(graph, members, init));
    let missing = centring.as_ref().map_or(0, |centring| centring.missing);
    allowed.extend(centring.into_iter().flat_map(|centring| centring.members));
    if members.is_subset(&allowed) {
        Ok(missing)
    } else {
        Err("an op beside a transform's magnitudes")
    }
}

/// Whether a reduction gives the largest of magnitudes: it begins with what is no larger than any.
fn is_maximum(graph: &Graph, body: &Graph, init: ValueId) -> bool {
    let is_maximum = matches!(
        body.operations(),
        [Operation { op: Op { kind: OpKind::Binary(Binary::Maximum), operands }, .. }]
            if body.input_values().eq(operands.iter().copied())
    );
    let is_below = graph.defining_operation(init).is_some_and(|init| {
        matches!(&init.op.kind, OpKind::Constant { value }
            if value.values::<f32>().is_some_and(|values| values.iter().all(|&one| one <= 0.0)))
    });
    is_maximum && is_below
}
