//! Rules for dot_general: transposes go into its dimension numbers.

use super::simplifier::{Applied, Candidate, Rule, Simplifier};
use tessera_ir::{OpKind, ValueId};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "dot of transpose",
        apply: dot_of_transpose,
    },
    Rule {
        name: "transpose of dot",
        apply: transpose_of_dot,
    },
];

/// A dot_general of a transpose is one of what is transposed, with other dimension numbers, unless the dimensions that
/// stay change their order.
fn dot_of_transpose(s: &mut Simplifier<'_>, c: &Candidate<'_>) -> Applied {
    let OpKind::DotGeneral {
        lhs_batching_dimensions,
        rhs_batching_dimensions,
        lhs_contracting_dimensions,
        rhs_contracting_dimensions,
        accumulator,
        element,
    } = c.kind
    else {
        return Ok(None);
    };
    let [lhs, rhs] = *c.operands else {
        return Ok(None);
    };
    let lhs = Side {
        value: lhs,
        batching: lhs_batching_dimensions.clone(),
        contracting: lhs_contracting_dimensions.clone(),
    };
    let rhs = Side {
        value: rhs,
        batching: rhs_batching_dimensions.clone(),
        contracting: rhs_contracting_dimensions.clone(),
    };
    let (new_lhs, new_rhs) = (lhs.untransposed(s), rhs.untransposed(s));
    if new_lhs.is_none() && new_rhs.is_none() {
        return Ok(None);
    }
    let (lhs, rhs) = (new_lhs.unwrap_or(lhs), new_rhs.unwrap_or(rhs));
    let kind = OpKind::DotGeneral {
        lhs_batching_dimensions: lhs.batching,
        rhs_batching_dimensions: rhs.batching,
        lhs_contracting_dimensions: lhs.contracting,
        rhs_contracting_dimensions: rhs.contracting,
        accumulator: *accumulator,
        element: *element,
    };
    s.emit(kind, vec![lhs.value, rhs.value], c.location)
        .map(Some)
}

/// One operand of a dot_general and what its dimensions are.
struct Side {
    value: ValueId,
    batching: Vec<usize>,
    contracting: Vec<usize>,
}

impl Side {
    /// The same of the value that is transposed to this one.
    fn untransposed(&self, s: &Simplifier<'_>) -> Option<Self> {
        let op = s.definition(self.value)?;
        let OpKind::Transpose { permutation } = &op.kind else {
            return None;
        };
        let stays = |d: &usize| !self.batching.contains(d) && !self.contracting.contains(d);
        let rest = (0..permutation.len()).filter(stays).map(|d| permutation[d]);
        if !rest.is_sorted() {
            return None;
        }
        let through = |dimensions: &[usize]| dimensions.iter().map(|&d| permutation[d]).collect();
        Some(Self {
            value: op.operands[0],
            batching: through(&self.batching),
            contracting: through(&self.contracting),
        })
    }
}

/// A transpose that puts the dimensions of the right operand before those of the left one, is the dot_general with the
/// operands in opposite order: `(A B)ᵀ = Bᵀ Aᵀ`. Each product has the same factors and the sums the same order.
fn transpose_of_dot(s: &mut Simplifier<'_>, c: &Candidate<'_>) -> Applied {
    let OpKind::Transpose { permutation } = c.kind else {
        return Ok(None);
    };
    // Whoever else needs the product as it was would have it made twice.
    if !s.is_used_once(c.operands[0]) {
        return Ok(None);
    }
    let Some(inner) = s.definition(c.operands[0]) else {
        return Ok(None);
    };
    let OpKind::DotGeneral {
        lhs_batching_dimensions,
        rhs_batching_dimensions,
        lhs_contracting_dimensions,
        rhs_contracting_dimensions,
        accumulator,
        element,
    } = &inner.kind
    else {
        return Ok(None);
    };
    let [lhs, rhs] = *inner.operands.as_slice() else {
        return Ok(None);
    };
    let batch = lhs_batching_dimensions.len();
    let lhs_end = s.shape(lhs).len() - lhs_contracting_dimensions.len();
    let end = permutation.len();
    let swapped = (0..batch).chain(lhs_end..end).chain(batch..lhs_end);
    if !permutation.iter().copied().eq(swapped) {
        return Ok(None);
    }
    let kind = OpKind::DotGeneral {
        lhs_batching_dimensions: rhs_batching_dimensions.clone(),
        rhs_batching_dimensions: lhs_batching_dimensions.clone(),
        lhs_contracting_dimensions: rhs_contracting_dimensions.clone(),
        rhs_contracting_dimensions: lhs_contracting_dimensions.clone(),
        accumulator: *accumulator,
        element: *element,
    };
    s.emit(kind, vec![rhs, lhs], c.location).map(Some)
}
