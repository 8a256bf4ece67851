//! What the kernel of a set of ops walks over, and where it stands in what each op reads.

use super::roots::{
    are_of_quantize_kernel, is_dequantized, is_hadamard, is_quantize, only_product, root_family,
};
use super::{Place, Refusal, Space, count};
use crate::fuse::quantize::{self, Before};
use crate::fuse::{attention, axis_sums, dot, epilogue, magnitudes};
use std::collections::BTreeSet;
use tessera_ir::plan::Family;
use tessera_ir::{Graph, OpKind, Operation, ValueId};

/// What a kernel walks over.
pub(super) struct Domain {
    pub family: Family,
    /// All elements.
    pub shape: Vec<usize>,
    /// What is left of them after reduction; the same in a kernel without.
    pub reduced: Vec<usize>,
    /// The op that gives the family its name, in those that have one.
    pub root: Option<usize>,
    /// What is done before numbers are quantised.
    pub before: Before,
    /// In an attention kernel, what is made of its scores.
    pub weights: BTreeSet<ValueId>,
}

impl Domain {
    /// Finds what makes a family of the ops.
    pub fn of(
        graph: &Graph,
        members: &BTreeSet<usize>,
        exports: &BTreeSet<ValueId>,
    ) -> Result<Self, Refusal> {
        let mut roots = Vec::new();
        for &member in members {
            let kind = &graph.operations()[member].op.kind;
            roots.extend(root_family(kind)?.map(|family| (member, family)));
        }
        let numbers: Vec<usize> = roots.iter().map(|&(root, _)| root).collect();
        match *roots.as_slice() {
            [] => {
                let mut exports = exports.iter();
                let first = exports.next().ok_or("a kernel without results")?;
                let shape = graph.value_type(*first).shape();
                if exports.any(|&export| graph.value_type(export).shape() != shape) {
                    return Err("results of different shapes");
                }
                Ok(Self {
                    family: Family::Loop,
                    shape: shape.to_vec(),
                    reduced: shape.to_vec(),
                    root: None,
                    before: Before::NOTHING,
                    weights: BTreeSet::new(),
                })
            }
            [(hadamard, Family::Quantize), (maximum, Family::Row)]
                if is_hadamard(graph, hadamard) =>
            {
                let result = graph.operations()[maximum].result();
                let shape = graph.value_type(result).shape().to_vec();
                Ok(Self {
                    family: Family::Quantize,
                    reduced: shape.clone(),
                    shape,
                    root: Some(maximum),
                    before: Before::Centring {
                        missing: magnitudes::check(graph, members, [hadamard, maximum], exports)?,
                    },
                    weights: BTreeSet::new(),
                })
            }
            _ if are_of_quantize_kernel(graph, &roots) => {
                let roots = roots.iter().map(|&(root, _)| root);
                let roots: Vec<usize> = roots.filter(|&root| is_quantize(graph, root)).collect();
                let first = roots[0];
                let result = graph.operations()[first].result();
                let shape = graph.value_type(result).shape().to_vec();
                Ok(Self {
                    family: Family::Quantize,
                    reduced: shape.clone(),
                    shape,
                    root: None,
                    before: quantize::check(graph, members, &roots, exports)?,
                    weights: BTreeSet::new(),
                })
            }
            [
                (dequantize, Family::Quantize),
                (sum, Family::Row | Family::Dot),
            ] => {
                axis_sums::check(graph, members, [dequantize, sum], exports)?;
                let result = graph.operations()[sum].result();
                let shape = graph.value_type(result).shape().to_vec();
                Ok(Self {
                    family: Family::Quantize,
                    reduced: shape.clone(),
                    shape,
                    root: Some(sum),
                    before: Before::NOTHING,
                    weights: BTreeSet::new(),
                })
            }
            [(root, family)] if !matches!(family, Family::Row | Family::Column | Family::Loop) => {
                Self::of_one(graph, members, exports, (root, family))
            }
            _ if attention::has_scores(graph, &numbers) => {
                let scores = attention::check(graph, members, exports)?;
                Ok(Self {
                    family: Family::Attention,
                    reduced: scores
                        .shape
                        .split_last()
                        .map_or(&[][..], |(_, rows)| rows)
                        .to_vec(),
                    shape: scores.shape,
                    root: scores.product,
                    before: Before::NOTHING,
                    weights: scores.weights,
                })
            }
            _ => match only_product(graph, &roots) {
                Some(root) => Self::of_one(graph, members, exports, (root, Family::Dot)),
                None => Self::of_reductions(graph, &roots),
            },
        }
    }

    /// What one op makes a family of.
    fn of_one(
        graph: &Graph,
        members: &BTreeSet<usize>,
        exports: &BTreeSet<ValueId>,
        (root, family): (usize, Family),
    ) -> Result<Self, Refusal> {
        let operation = &graph.operations()[root];
        match operation.op.kind {
            OpKind::DotGeneral { .. } => dot::check(graph, members, root, exports)?,
            OpKind::ScaledDot { .. }
            | OpKind::GroupedDot { .. }
            | OpKind::GroupedScaledDot { .. } => {
                epilogue::check(graph, members, &BTreeSet::from([root]), root, exports)?;
            }
            OpKind::Dequantize { .. }
            | OpKind::Relayout { .. }
            | OpKind::Hadamard { .. }
            | OpKind::Orthonormalize {}
                if members.len() > 1 =>
            {
                return Err("an op beside one that is a kernel by itself");
            }
            _ => {}
        }
        let shape = graph.value_type(operation.result()).shape().to_vec();
        Ok(Self {
            family,
            reduced: shape.clone(),
            shape,
            root: Some(root),
            before: Before::NOTHING,
            weights: BTreeSet::new(),
        })
    }

    fn of_reductions(graph: &Graph, roots: &[(usize, Family)]) -> Result<Self, Refusal> {
        let mut domain: Option<Self> = None;
        for &(root, family) in roots {
            let operation = &graph.operations()[root];
            let OpKind::Reduce { dimensions, .. } = &operation.op.kind else {
                return Err("two ops of which each is a kernel");
            };
            let shape = graph.tensor_type(operation.op.operands[0]).shape.clone();
            let reduced = graph.tensor_type(operation.result()).shape.clone();
            let is_trailing = (reduced.len()..shape.len()).all(|d| dimensions.contains(&d));
            let is_leading = (0..dimensions.len()).all(|d| dimensions.contains(&d));
            let family = match family {
                Family::Row if is_trailing => Family::Row,
                Family::Row if is_leading => Family::Column,
                _ => return Err("a reduction along dimensions that are neither first nor last"),
            };
            match &domain {
                None => {
                    domain = Some(Self {
                        family,
                        shape,
                        reduced,
                        root: Some(root),
                        before: Before::NOTHING,
                        weights: BTreeSet::new(),
                    });
                }
                Some(first) => {
                    let same = first.shape == shape && first.reduced == reduced;
                    if !same || family != first.family {
                        return Err("reductions that do not go together");
                    }
                }
            }
        }
        domain.ok_or("a kernel without ops")
    }

    /// The space of a result.
    pub fn of_result(
        &self,
        graph: &Graph,
        number: usize,
        shape: &[usize],
    ) -> Result<Space, Refusal> {
        match self.family {
            Family::Loop => Ok(self.full()),
            Family::Row if shape == self.shape && shape != self.reduced => Ok(self.full()),
            Family::Row | Family::Column if shape == self.reduced => Ok(self.reduced()),
            Family::Row | Family::Column => Err("a result of another shape than the reductions'"),
            // Where the results lie, its check has looked at; so with those of several quantisations.
            Family::Dot => {
                let is_largest =
                    matches!(graph.operations()[number].op.kind, OpKind::Reduce { .. });
                let evaluations = if is_largest { 1 } else { count(&self.shape) };
                Ok(Space {
                    place: Place::Full,
                    evaluations,
                })
            }
            // Its check has looked at these, too.
            Family::Attention if shape == self.reduced => Ok(self.reduced()),
            Family::Attention => Ok(self.full()),
            Family::Quantize if self.root.is_none() => Ok(self.full()),
            _ if self.root == Some(number) => Ok(self.full()),
            Family::Index | Family::Sort | Family::Quantize | Family::Solve => {
                let _ = graph;
                Err("a result beside that of the op that is the kernel")
            }
        }
    }

    pub fn full(&self) -> Space {
        Space {
            place: Place::Full,
            evaluations: count(&self.shape),
        }
    }

    pub fn reduced(&self) -> Space {
        Space {
            place: Place::Reduced,
            evaluations: count(&self.reduced),
        }
    }

    /// The space in which an operand is computed for an op that is computed in `space`.
    pub fn of_operand(
        &self,
        graph: &Graph,
        user: usize,
        position: usize,
        space: &Space,
    ) -> Result<Space, Refusal> {
        let operation = &graph.operations()[user];
        let operand = operation.op.operands[position];
        let shape = graph.value_type(operand).shape();
        let free = |evaluations: u64| {
            let mut path = vec![(user, position)];
            if let Place::Free(rest) = &space.place {
                path.extend_from_slice(rest);
            }
            Ok(Space {
                place: Place::Free(path),
                evaluations,
            })
        };
        let result_shape = graph.value_type(operation.result()).shape();
        match &operation.op.kind {
            OpKind::Unary(_)
            | OpKind::Binary(_)
            | OpKind::Compare { .. }
            | OpKind::Select {}
            | OpKind::Clamp {}
            | OpKind::Convert { .. }
            | OpKind::BitcastConvert { .. } => {
                if shape == result_shape {
                    Ok(space.clone())
                } else {
                    free(space.evaluations)
                }
            }
            OpKind::BroadcastInDim {
                broadcast_dimensions,
                ..
            } => {
                let is_row = matches!(self.family, Family::Row | Family::Attention)
                    && space.place == Place::Full
                    && *shape == self.reduced
                    && broadcast_dimensions.iter().copied().eq(0..shape.len());
                if is_row {
                    Ok(self.reduced())
                } else {
                    free(space.evaluations)
                }
            }
            // A product is computed in the order of its elements, whatever its shape.
            OpKind::Reshape { .. } if self.family == Family::Dot && space.place == Place::Full => {
                Ok(space.clone())
            }
            OpKind::Constant { .. }
            | OpKind::Iota { .. }
            | OpKind::Reshape { .. }
            | OpKind::Transpose { .. }
            | OpKind::Slice { .. }
            | OpKind::Pad { .. }
            | OpKind::Reverse { .. } => free(space.evaluations),
            OpKind::Concatenate { .. } => {
                let share = count(shape).saturating_mul(space.evaluations);
                free(share / count(result_shape).max(1))
            }
            OpKind::DynamicSlice { .. } => free(if position == 0 { space.evaluations } else { 1 }),
            OpKind::Gather { .. } if position == 0 => free(space.evaluations),
            OpKind::Gather {
                start_index_map, ..
            } => free(
                space
                    .evaluations
                    .saturating_mul(start_index_map.len() as u64),
            ),
            OpKind::Reduce { .. } => {
                if position < operation.op.operands.len() / 2 {
                    let mut space = self.full();
                    if self.family == Family::Quantize && !is_dequantized(graph, operand) {
                        // Sums of scaled tensors are made of codes; these numbers are made one by one.
                        space.evaluations = count(shape);
                    }
                    Ok(space)
                } else {
                    constant_only(graph, operand).and_then(|()| free(1))
                }
            }
            OpKind::ReduceWindow {
                window_dimensions, ..
            } => {
                if position < operation.op.operands.len() / 2 {
                    free(count(result_shape).saturating_mul(count(window_dimensions)))
                } else {
                    constant_only(graph, operand).and_then(|()| free(1))
                }
            }
            OpKind::DynamicUpdateSlice {} => match position {
                0 => fill_only(graph, operand).and_then(|()| free(count(shape))),
                1 => free(count(shape)),
                _ => free(1),
            },
            OpKind::Scatter {
                scatter_dims_to_operand_dims,
                ..
            } => {
                let inputs = operation.op.operands.len() / 2;
                let updates = &graph.tensor_type(operation.op.operands[inputs + 1]).shape;
                if position < inputs {
                    fill_only(graph, operand).and_then(|()| free(count(shape)))
                } else if position == inputs {
                    let coordinates = scatter_dims_to_operand_dims.len() as u64;
                    free(count(updates).saturating_mul(coordinates))
                } else {
                    free(count(shape))
                }
            }
            // Each number is made once, for all that are quantised.
            OpKind::Quantize { .. } if position == 0 && self.family == Family::Quantize => {
                Ok(self.full())
            }
            OpKind::DotGeneral { .. } if self.weights.contains(&operand) => Ok(self.full()),
            OpKind::DotGeneral { .. }
            | OpKind::ScaledDot { .. }
            | OpKind::GroupedDot { .. }
            | OpKind::GroupedScaledDot { .. }
            | OpKind::Quantize { .. }
            | OpKind::Dequantize { .. }
            | OpKind::Relayout { .. }
            | OpKind::Hadamard { .. }
            | OpKind::Orthonormalize {} => free(count(shape)),
            OpKind::Sort { .. } | OpKind::TopK { .. } => Err("ops before a sort"),
            OpKind::ColumnMean { .. } | OpKind::SubspaceIterate { .. } => {
                Err("an op that the pass 'decompose' makes simpler ones of")
            }
            OpKind::While { .. }
            | OpKind::Case { .. }
            | OpKind::Call { .. }
            | OpKind::OptimizationBarrier {} => Err("an op that is no part of a kernel"),
        }
    }
}

fn constant_only(graph: &Graph, operand: ValueId) -> Result<(), Refusal> {
    match graph.defining_operation(operand).map(|o| &o.op.kind) {
        Some(OpKind::Constant { .. }) => Ok(()),
        _ => Err("an init that is computed in the kernel"),
    }
}

fn fill_only(graph: &Graph, operand: ValueId) -> Result<(), Refusal> {
    let is_fill = |operation: &Operation| {
        matches!(operation.op.kind, OpKind::BroadcastInDim { .. })
            && graph.tensor_type(operation.op.operands[0]).rank() == 0
    };
    match graph.defining_operation(operand) {
        Some(operation) if is_fill(operation) => Ok(()),
        _ => Err("what is updated is computed in the kernel"),
    }
}
