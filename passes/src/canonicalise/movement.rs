//! Rules for ops that put elements elsewhere.

use super::facts;
use super::shape::{reshape_groups, squeezed, squeezed_positions};
use super::simplifier::{Applied, Candidate, Rule, Simplifier};
use tessera_ir::{Location, OpError, OpKind, ValueId};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "splat constant",
        apply: splat_constant,
    },
    Rule {
        name: "reshape of reshape",
        apply: reshape,
    },
    Rule {
        name: "reshape of broadcast",
        apply: reshape_of_broadcast,
    },
    Rule {
        name: "transpose of transpose",
        apply: transpose,
    },
    Rule {
        name: "broadcast of broadcast",
        apply: broadcast,
    },
    Rule {
        name: "slice",
        apply: slice,
    },
    Rule {
        name: "dynamic slice at known place",
        apply: dynamic_slice,
    },
    Rule {
        name: "whole update",
        apply: dynamic_update_slice,
    },
    Rule {
        name: "pad with nothing",
        apply: pad,
    },
    Rule {
        name: "concatenate",
        apply: concatenate,
    },
    Rule {
        name: "reverse of one",
        apply: reverse,
    },
];

/// A constant whose elements are all one number becomes that number, broadcast.
fn splat_constant(s: &mut Simplifier<'_>, c: &Candidate<'_>) -> Applied {
    let OpKind::Constant { value } = c.kind else {
        return Ok(None);
    };
    if value.shape().is_empty() || value.is_empty() {
        return Ok(None);
    }
    let size = value.element().size();
    let (first, rest) = value.bytes().split_at(size);
    if rest.chunks_exact(size).any(|element| element != first) {
        return Ok(None);
    }
    let Ok(scalar) = tessera_ir::Tensor::new(value.element(), [], first) else {
        return Ok(None);
    };
    let scalar = s.constant(scalar, c.location)?;
    Ok(Some(vec![s.broadcast(
        scalar,
        &[],
        value.shape(),
        c.location,
    )?]))
}

/// A reshape to the same shape goes, and of two in a row the first one.
fn reshape(s: &mut Simplifier<'_>, c: &Candidate<'_>) -> Applied {
    let OpKind::Reshape { shape } = c.kind else {
        return Ok(None);
    };
    let x = c.operands[0];
    if s.shape(x) == shape {
        return Ok(Some(vec![x]));
    }
    match s.definition(x) {
        Some(inner) if matches!(inner.kind, OpKind::Reshape { .. }) => {
            let source = inner.operands[0];
            Ok(Some(vec![s.reshape(source, shape, c.location)?]))
        }
        _ => Ok(None),
    }
}

/// `reshape(broadcast x) → broadcast(reshape x)` where no dimension of the result holds both elements of x and
/// repetitions.
fn reshape_of_broadcast(s: &mut Simplifier<'_>, c: &Candidate<'_>) -> Applied {
    let OpKind::Reshape { shape } = c.kind else {
        return Ok(None);
    };
    let Some(inner) = s.definition(c.operands[0]) else {
        return Ok(None);
    };
    let OpKind::BroadcastInDim {
        broadcast_dimensions,
        shape: middle,
    } = &inner.kind
    else {
        return Ok(None);
    };
    let source = inner.operands[0];
    let source_shape = s.shape(source);
    let Some(groups) = reshape_groups(middle, shape) else {
        return Ok(None);
    };
    let (mut new_shape, mut dimensions) = (Vec::new(), Vec::new());
    for group in groups {
        let from_source = |&dimension: &usize| {
            let position = broadcast_dimensions.iter().position(|&d| d == dimension);
            position.is_some_and(|p| source_shape[p] == middle[dimension])
        };
        let members = || {
            group
                .from
                .clone()
                .filter(|&dimension| middle[dimension] != 1)
        };
        if members().all(|d| from_source(&d)) {
            let kept = group.to.filter(|&dimension| shape[dimension] != 1);
            for dimension in kept {
                new_shape.push(shape[dimension]);
                dimensions.push(dimension);
            }
        } else if members().any(|d| from_source(&d)) {
            return Ok(None);
        }
    }
    if !broadcast_dimensions.is_sorted() {
        return Ok(None);
    }
    let (shape, new_shape) = (shape.clone(), new_shape);
    let value = s.reshape(source, &new_shape, c.location)?;
    let result = s.broadcast(value, &dimensions, &shape, c.location)?;
    Ok(Some(vec![result]))
}

/// A transpose that changes nothing goes, two in a row become one, one of a broadcast becomes a broadcast, and one that
/// moves only dimensions of 1 a reshape.
fn transpose(s: &mut Simplifier<'_>, c: &Candidate<'_>) -> Applied {
    let OpKind::Transpose { permutation } = c.kind else {
        return Ok(None);
    };
    let x = c.operands[0];
    if permutation.is_sorted() {
        return Ok(Some(vec![x]));
    }
    let shape = s.shape(x);
    let moved = permutation.iter().filter(|&&d| shape[d] != 1);
    if moved.is_sorted() || c.results[0].is_empty() {
        return Ok(Some(vec![s.reshape(x, &c.results[0].shape, c.location)?]));
    }
    let Some(inner) = s.definition(x) else {
        return Ok(None);
    };
    let source = inner.operands.first().copied();
    match (&inner.kind, source) {
        (OpKind::Transpose { permutation: first }, Some(source)) => {
            let permutation = permutation.iter().map(|&d| first[d]).collect();
            let kind = OpKind::Transpose { permutation };
            s.emit(kind, vec![source], c.location).map(Some)
        }
        (
            OpKind::BroadcastInDim {
                broadcast_dimensions,
                ..
            },
            Some(source),
        ) => {
            let new_place = |old: &usize| permutation.iter().position(|d| d == old);
            let Some(dimensions) = broadcast_dimensions.iter().map(new_place).collect() else {
                return Ok(None);
            };
            let dimensions: Vec<usize> = dimensions;
            let result = s.broadcast(source, &dimensions, &c.results[0].shape, c.location)?;
            Ok(Some(vec![result]))
        }
        _ => Ok(None),
    }
}

/// A broadcast that changes nothing goes; two in a row become one; one that repeats nothing is a reshape. Dimensions
/// come in order, by a transpose of the operand; the operand has no dimensions of 1.
fn broadcast(s: &mut Simplifier<'_>, c: &Candidate<'_>) -> Applied {
    let OpKind::BroadcastInDim {
        broadcast_dimensions: dimensions,
        shape,
    } = c.kind
    else {
        return Ok(None);
    };
    let x = c.operands[0];
    if !dimensions.is_sorted() {
        let mut permutation: Vec<usize> = (0..dimensions.len()).collect();
        permutation.sort_by_key(|&position| dimensions[position]);
        let sorted: Vec<usize> = permutation.iter().map(|&p| dimensions[p]).collect();
        let kind = OpKind::Transpose { permutation };
        let value = s.emit_value(kind, [x], c.location)?;
        let shape = shape.clone();
        return Ok(Some(vec![s.broadcast(value, &sorted, &shape, c.location)?]));
    }
    if s.shape(x) == shape {
        return Ok(Some(vec![x]));
    }
    if !c.results[0].is_empty() && s.tensor_type(x).len() == c.results[0].len() {
        return Ok(Some(vec![s.reshape(x, shape, c.location)?]));
    }
    if s.shape(x).contains(&1) {
        let kept = squeezed_positions(s.shape(x));
        let dimensions: Vec<usize> = kept.into_iter().map(|p| dimensions[p]).collect();
        let new_shape = squeezed(s.shape(x));
        let value = s.reshape(x, &new_shape, c.location)?;
        let shape = shape.clone();
        return Ok(Some(vec![s.broadcast(
            value,
            &dimensions,
            &shape,
            c.location,
        )?]));
    }
    let Some(inner) = s.definition(x) else {
        return Ok(None);
    };
    if let OpKind::BroadcastInDim {
        broadcast_dimensions: first,
        ..
    } = &inner.kind
    {
        let source = inner.operands[0];
        let dimensions: Vec<usize> = first.iter().map(|&d| dimensions[d]).collect();
        let shape = shape.clone();
        return Ok(Some(vec![s.broadcast(
            source,
            &dimensions,
            &shape,
            c.location,
        )?]));
    }
    Ok(None)
}

/// A slice of everything goes; two in a row become one; one of a broadcast slices what is broadcast; one of a
/// concatenation that lies in one operand slices that.
fn slice(s: &mut Simplifier<'_>, c: &Candidate<'_>) -> Applied {
    let OpKind::Slice {
        start_indices: start,
        limit_indices: limit,
        strides,
    } = c.kind
    else {
        return Ok(None);
    };
    let x = c.operands[0];
    let result = &c.results[0];
    if s.shape(x) == result.shape {
        return Ok(Some(vec![x]));
    }
    let Some(inner) = s.definition(x) else {
        return Ok(None);
    };
    match inner.kind.clone() {
        OpKind::Slice {
            start_indices: first,
            strides: step,
            ..
        } => {
            let rank = start.len();
            let source = inner.operands[0];
            let start_indices: Vec<usize> =
                (0..rank).map(|d| first[d] + start[d] * step[d]).collect();
            let strides: Vec<usize> = (0..rank).map(|d| step[d] * strides[d]).collect();
            let kind = slice_of(start_indices, &result.shape, strides);
            s.emit(kind, vec![source], c.location).map(Some)
        }
        OpKind::BroadcastInDim {
            broadcast_dimensions: dimensions,
            ..
        } => {
            let source = inner.operands[0];
            let source_shape = s.shape(source).to_vec();
            let own = |at: &[usize], of_repeated: usize| -> Vec<usize> {
                let places = dimensions.iter().zip(&source_shape);
                places
                    .map(|(&d, &size)| if size == 1 { of_repeated } else { at[d] })
                    .collect()
            };
            let kind = OpKind::Slice {
                start_indices: own(start, 0),
                limit_indices: own(limit, 1),
                strides: own(strides, 1),
            };
            let value = s.emit_value(kind, [source], c.location)?;
            let result = s.broadcast(value, &dimensions, &result.shape, c.location)?;
            Ok(Some(vec![result]))
        }
        OpKind::Concatenate { dimension } => {
            let operands = inner.operands.clone();
            let mut offset = 0;
            for operand in operands {
                let size = s.shape(operand)[dimension];
                if start[dimension] >= offset && limit[dimension] <= offset + size {
                    let (mut start, mut limit) = (start.clone(), limit.clone());
                    start[dimension] -= offset;
                    limit[dimension] -= offset;
                    let kind = OpKind::Slice {
                        start_indices: start,
                        limit_indices: limit,
                        strides: strides.clone(),
                    };
                    return s.emit(kind, vec![operand], c.location).map(Some);
                }
                offset += size;
            }
            Ok(None)
        }
        _ => Ok(None),
    }
}

/// The slice of that shape from there on.
fn slice_of(start_indices: Vec<usize>, shape: &[usize], strides: Vec<usize>) -> OpKind {
    let limits = start_indices.iter().zip(shape).zip(&strides);
    let limit_indices = limits
        .map(|((start, &size), stride)| match size {
            0 => *start,
            _ => start + (size - 1) * stride + 1,
        })
        .collect();
    OpKind::Slice {
        start_indices,
        limit_indices,
        strides,
    }
}

/// A dynamic slice of everything goes; one at known places is a slice.
fn dynamic_slice(s: &mut Simplifier<'_>, c: &Candidate<'_>) -> Applied {
    let OpKind::DynamicSlice { slice_sizes } = c.kind else {
        return Ok(None);
    };
    let (x, indices) = (c.operands[0], &c.operands[1..]);
    let shape = s.shape(x).to_vec();
    if shape == *slice_sizes {
        return Ok(Some(vec![x]));
    }
    let mut start_indices = Vec::with_capacity(indices.len());
    for (dimension, &index) in indices.iter().enumerate() {
        // Where the slice fills the dimension, its start is clamped to 0, whatever it is.
        let room = shape[dimension] - slice_sizes[dimension];
        if room == 0 {
            start_indices.push(0);
        } else if let Some(start) = facts::integer(&s.graph, index) {
            let clamped = usize::try_from(start.max(0)).map_or(room, |start| start.min(room));
            start_indices.push(clamped);
        } else {
            return Ok(None);
        }
    }
    let strides = vec![1; start_indices.len()];
    let kind = slice_of(start_indices, slice_sizes, strides);
    s.emit(kind, vec![x], c.location).map(Some)
}

/// An update of everything is the update; an update by what stands there changes nothing.
fn dynamic_update_slice(s: &mut Simplifier<'_>, c: &Candidate<'_>) -> Applied {
    let OpKind::DynamicUpdateSlice {} = c.kind else {
        return Ok(None);
    };
    let (operand, update) = (c.operands[0], c.operands[1]);
    if s.shape(operand) == s.shape(update) {
        return Ok(Some(vec![update]));
    }
    let unchanged = s.definition(update).is_some_and(|op| {
        matches!(op.kind, OpKind::DynamicSlice { .. })
            && op.operands[0] == operand
            && op.operands[1..] == c.operands[2..]
    });
    Ok((unchanged || s.tensor_type(update).is_empty()).then(|| vec![operand]))
}

/// Padding by nothing goes; padding a splat by the same number is that splat.
fn pad(s: &mut Simplifier<'_>, c: &Candidate<'_>) -> Applied {
    let OpKind::Pad {
        edge_padding_low: low,
        edge_padding_high: high,
        interior_padding: interior,
    } = c.kind
    else {
        return Ok(None);
    };
    let (x, padding) = (c.operands[0], c.operands[1]);
    let nothing = low.iter().chain(high).all(|&n| n == 0)
        && s.shape(x)
            .iter()
            .zip(interior)
            .all(|(&size, &n)| n == 0 || size <= 1);
    if nothing {
        return Ok(Some(vec![x]));
    }
    let same = match s.definition(x) {
        Some(op) => matches!(op.kind, OpKind::BroadcastInDim { .. }) && op.operands[0] == padding,
        None => false,
    };
    if same || s.tensor_type(x).is_empty() {
        return splat_like(s, padding, &c.results[0].shape, c.location);
    }
    Ok(None)
}

fn splat_like(
    s: &mut Simplifier<'_>,
    scalar: ValueId,
    shape: &[usize],
    location: &Location,
) -> Result<Option<Vec<ValueId>>, OpError> {
    Ok(Some(vec![s.broadcast(scalar, &[], shape, location)?]))
}

/// A concatenation of one operand is that; empty operands go; one of concatenations along the same dimension becomes
/// one; one of equal broadcasts of a scalar is a broadcast.
fn concatenate(s: &mut Simplifier<'_>, c: &Candidate<'_>) -> Applied {
    let OpKind::Concatenate { dimension } = *c.kind else {
        return Ok(None);
    };
    if let [x] = *c.operands {
        return Ok(Some(vec![x]));
    }
    let scalar = |value: ValueId| match s.definition(value) {
        Some(op) if matches!(op.kind, OpKind::BroadcastInDim { .. }) => {
            let source = op.operands[0];
            s.shape(source).is_empty().then_some(source)
        }
        _ => None,
    };
    if let Some(first) = scalar(c.operands[0])
        && c.operands.iter().all(|&o| scalar(o) == Some(first))
    {
        return splat_like(s, first, &c.results[0].shape, c.location);
    }
    let mut parts = Vec::with_capacity(c.operands.len());
    for &operand in c.operands {
        match s.definition(operand) {
            _ if s.shape(operand)[dimension] == 0 && c.operands.len() > 1 => {}
            Some(op) if op.kind == *c.kind => parts.extend_from_slice(&op.operands),
            _ => parts.push(operand),
        }
    }
    if parts == c.operands || parts.is_empty() {
        return Ok(None);
    }
    s.emit(c.kind.clone(), parts, c.location).map(Some)
}

/// Reversing dimensions of 1, or a splat, changes nothing.
fn reverse(s: &mut Simplifier<'_>, c: &Candidate<'_>) -> Applied {
    let OpKind::Reverse { dimensions } = c.kind else {
        return Ok(None);
    };
    let x = c.operands[0];
    let shape = s.shape(x);
    let nothing = dimensions.iter().all(|&d| shape[d] <= 1);
    let splat = s.definition(x).is_some_and(|op| {
        matches!(op.kind, OpKind::BroadcastInDim { .. }) && s.shape(op.operands[0]).is_empty()
    });
    Ok((nothing || splat).then(|| vec![x]))
}
