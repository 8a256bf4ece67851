//! Reductions along any dimensions become reductions along the last or the first ones, of a transpose.

use crate::rebuild::{map_regions, push_like};
use tessera_ir::{Graph, OpError, OpKind};

/// The graph in which every reduction reduces its last dimensions or its first ones, never neither nor both but all.
///
/// Where the fastest dimension is reduced, the reduced ones come last; else they come first and the fastest stays. Both
/// the reduced dimensions and the others keep their order, so elements are combined in the same order as before.
pub(super) fn with_plain_reductions(graph: &Graph) -> Result<Graph, OpError> {
    graph.rebuild(|new, operation, mut operands| {
        let kind = map_regions(&operation.op.kind, with_plain_reductions)?;
        let OpKind::Reduce { dimensions, body } = &kind else {
            return push_like(new, operation, kind, operands);
        };
        let rank = new.value_type(operands[0]).rank();
        let is_reduced = |d: &usize| dimensions.contains(d);
        let (reduced, others): (Vec<usize>, Vec<usize>) = (0..rank).partition(is_reduced);
        let (permutation, first) = if rank > 0 && is_reduced(&(rank - 1)) {
            (
                [others.as_slice(), reduced.as_slice()].concat(),
                others.len(),
            )
        } else {
            ([reduced.as_slice(), others.as_slice()].concat(), 0)
        };
        if !permutation.is_sorted() {
            let inputs = operands.len() / 2;
            for input in &mut operands[..inputs] {
                let transpose = OpKind::Transpose {
                    permutation: permutation.clone(),
                };
                *input = push_like(new, operation, transpose, vec![*input])?[0];
            }
        }
        let kind = OpKind::Reduce {
            dimensions: (first..first + reduced.len()).collect(),
            body: body.clone(),
        };
        push_like(new, operation, kind, operands)
    })
}
