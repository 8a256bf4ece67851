//! Which ops may be one kernel: the rules of [`Family`], checked on a set of ops of a graph.
//!
//! The grouping asks this of every group it would like to make, and [`kernel_family`] of the kernels made, so there is
//! one account of the rules.
//!
//! Each member is computed in one or more *spaces*. In the space of all elements (`Full`) and in that of the reduced
//! ones (`Reduced`), the kernel stands at element `i` of the member when it stands at element `i` of its domain: such a
//! member may be a result. In any other space (`Free`) it is computed wherever an op that moves elements asks for it.

use super::cost::weight;
use super::quantize::{self, Before};
use super::{attention, axis_sums, dot, epilogue, magnitudes};
use std::collections::{BTreeMap, BTreeSet};
use tessera_ir::plan::Family;
use tessera_ir::{Definition, Graph, OpKind, Operation, ValueId};

/// What the rules make of a set of ops.
#[derive(Clone, Debug)]
pub(super) struct Analysis {
    pub(super) family: Family,
    /// By the op's number in the graph.
    pub(super) members: BTreeMap<usize, Member>,
    /// The shape of what the kernel walks over: that of its results, or what its reductions reduce.
    pub(super) domain: Vec<usize>,
    /// The shape of what is reduced, if anything is.
    reduced: Vec<usize>,
    /// What is done before numbers are quantised.
    pub(super) before: Before,
}

impl Analysis {
    /// How many rows or columns are reduced; without a reduction, how many elements there are.
    pub(super) fn row_count(&self) -> usize {
        self.reduced.iter().product()
    }
}

/// How a member is computed.
#[derive(Clone, Debug, Default)]
pub(super) struct Member {
    spaces: Vec<Space>,
    /// Whether it depends on a reduction of the group.
    after_reduction: bool,
    /// What one element costs together with what is computed of it in free spaces.
    pub(super) chain_weight: u64,
}

impl Member {
    /// How many elements are computed, over all spaces.
    pub(super) fn evaluations(&self) -> u64 {
        self.spaces.iter().map(|space| space.evaluations).sum()
    }

    /// Whether it is computed anywhere else.
    pub(super) fn is_free(&self) -> bool {
        self.spaces.iter().any(|space| !space.place.is_aligned())
    }

    fn add(&mut self, space: Space) {
        if !self.spaces.contains(&space) {
            self.spaces.push(space);
        }
    }
}

/// Where a member is computed, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Space {
    place: Place,
    evaluations: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Full,
    Reduced,
    /// Where the ops of these numbers ask, the last one at the kernel's own element; each with the operand's number.
    Free(Vec<(usize, usize)>),
}

impl Place {
    fn is_aligned(&self) -> bool {
        !matches!(self, Self::Free(_))
    }
}

/// Why ops are not a kernel.
pub(super) type Refusal = &'static str;

/// The family of a kernel's body.
///
/// # Errors
/// The body breaks the rules of every family.
pub fn kernel_family(body: &Graph) -> Result<Family, &'static str> {
    let members = (0..body.operations().len()).collect();
    let exports = body.results().iter().map(|result| result.value);
    match analyse(body, &members, &exports.collect())? {
        Analysis { before, family, .. } if before.missing() == 0 => Ok(family),
        _ => Err("a mean that is repeated outside of the kernel"),
    }
}

/// Checks that ops are one kernel with those results.
pub(super) fn analyse(
    graph: &Graph,
    members: &BTreeSet<usize>,
    exports: &BTreeSet<ValueId>,
) -> Result<Analysis, Refusal> {
    let domain = Domain::of(graph, members, exports)?;
    let mut analysis = Analysis {
        family: domain.family,
        members: members.iter().map(|&m| (m, Member::default())).collect(),
        domain: domain.shape.clone(),
        reduced: domain.reduced.clone(),
        before: domain.before,
    };
    seed(graph, &domain, exports, &mut analysis)?;
    for &number in members.iter().rev() {
        let operation = &graph.operations()[number];
        let member = &analysis.members[&number];
        if member.spaces.is_empty() {
            return Err("an op that nothing in the kernel needs");
        }
        let (spaces, chain) = (
            member.spaces.clone(),
            member.chain_weight + weight(&operation.op.kind),
        );
        let is_free = member.is_free();
        for (position, &operand) in operation.op.operands.iter().enumerate() {
            let Some(producer) = defining_member(graph, members, operand) else {
                continue;
            };
            for space in &spaces {
                let space = domain.of_operand(graph, number, position, space)?;
                let below = analysis.members.entry(producer).or_default();
                below.add(space);
                if is_free {
                    below.chain_weight = below.chain_weight.max(chain);
                }
            }
        }
        let member = analysis.members.entry(number).or_default();
        member.chain_weight = chain;
    }
    check_after_reduction(graph, &domain, members, &mut analysis)?;
    Ok(analysis)
}

/// Puts the results where the kernel stands.
fn seed(
    graph: &Graph,
    domain: &Domain,
    exports: &BTreeSet<ValueId>,
    analysis: &mut Analysis,
) -> Result<(), Refusal> {
    for &export in exports {
        let Definition::Result { op, .. } = graph.definition(export) else {
            return Err("a kernel that gives back an input");
        };
        let space = domain.of_result(graph, op.index(), graph.value_type(export).shape())?;
        match analysis.members.get_mut(&op.index()) {
            Some(member) => member.add(space),
            None => return Err("a result that is not computed in the kernel"),
        }
    }
    Ok(())
}

/// What follows a reduction stays at the row or column that was reduced.
fn check_after_reduction(
    graph: &Graph,
    domain: &Domain,
    members: &BTreeSet<usize>,
    analysis: &mut Analysis,
) -> Result<(), Refusal> {
    if !matches!(
        domain.family,
        Family::Row | Family::Column | Family::Attention
    ) {
        return Ok(());
    }
    for &number in members {
        let operation = &graph.operations()[number];
        let is_reduction = matches!(operation.op.kind, OpKind::Reduce { .. });
        let operands = operation.op.operands.iter();
        let mut producers = operands.filter_map(|&o| defining_member(graph, members, o));
        let after = producers.any(|producer| analysis.members[&producer].after_reduction);
        if is_reduction && after && domain.family == Family::Column {
            return Err("a reduction along a slow dimension of what was reduced");
        }
        let member = analysis.members.entry(number).or_default();
        member.after_reduction = after || is_reduction;
        if member.after_reduction && member.is_free() {
            return Err("what is computed of a reduction is moved");
        }
        let stays = is_reduction
            || operation.op.kind.is_elementwise()
            || matches!(operation.op.kind, OpKind::BroadcastInDim { .. })
                && domain.family != Family::Column;
        if after && !stays {
            return Err("what is computed of a reduction is moved");
        }
    }
    Ok(())
}

/// The member that defines a value.
fn defining_member(graph: &Graph, members: &BTreeSet<usize>, value: ValueId) -> Option<usize> {
    match graph.definition(value) {
        Definition::Result { op, .. } if members.contains(&op.index()) => Some(op.index()),
        _ => None,
    }
}

/// What a kernel walks over.
struct Domain {
    family: Family,
    /// All elements.
    shape: Vec<usize>,
    /// What is left of them after reduction; the same in a kernel without.
    reduced: Vec<usize>,
    /// The op that gives the family its name, in those that have one.
    root: Option<usize>,
    /// What is done before numbers are quantised.
    before: Before,
    /// In an attention kernel, what is made of its scores.
    weights: BTreeSet<ValueId>,
}

impl Domain {
    /// Finds what makes a family of the ops.
    fn of(
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
    fn of_result(&self, graph: &Graph, number: usize, shape: &[usize]) -> Result<Space, Refusal> {
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

    fn full(&self) -> Space {
        Space {
            place: Place::Full,
            evaluations: count(&self.shape),
        }
    }

    fn reduced(&self) -> Space {
        Space {
            place: Place::Reduced,
            evaluations: count(&self.reduced),
        }
    }

    /// The space in which an operand is computed for an op that is computed in `space`.
    fn of_operand(
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

/// The only op that multiplies matrices among those that give their kernel a family, where the others reduce.
fn only_product(graph: &Graph, roots: &[(usize, Family)]) -> Option<usize> {
    let kind = |root: usize| &graph.operations()[root].op.kind;
    let (products, others): (Vec<usize>, Vec<usize>) =
        (roots.iter().map(|&(root, _)| root)).partition(|&root| kind(root).is_product());
    let are_reductions = (others.iter()).all(|&root| matches!(kind(root), OpKind::Reduce { .. }));
    match products[..] {
        [product] if are_reductions => Some(product),
        _ => None,
    }
}

fn is_quantize(graph: &Graph, number: usize) -> bool {
    matches!(graph.operations()[number].op.kind, OpKind::Quantize { .. })
}

fn is_hadamard(graph: &Graph, number: usize) -> bool {
    matches!(graph.operations()[number].op.kind, OpKind::Hadamard { .. })
}

fn is_dequantized(graph: &Graph, value: ValueId) -> bool {
    let operation = graph.defining_operation(value);
    operation.is_some_and(|operation| matches!(operation.op.kind, OpKind::Dequantize { .. }))
}

/// Whether ops that give their kernel a family are quantisations, and transforms before them.
fn are_of_quantize_kernel(graph: &Graph, roots: &[(usize, Family)]) -> bool {
    let mut numbers = roots.iter().map(|&(root, _)| root);
    let is_either = |root| is_quantize(graph, root) || is_hadamard(graph, root);
    numbers.clone().any(|root| is_quantize(graph, root)) && numbers.all(is_either)
}

/// The family an op gives its kernel; `None` for those that are in a kernel of any.
fn root_family(kind: &OpKind) -> Result<Option<Family>, Refusal> {
    match kind {
        OpKind::Unary(_)
        | OpKind::Binary(_)
        | OpKind::Compare { .. }
        | OpKind::Select {}
        | OpKind::Clamp {}
        | OpKind::Convert { .. }
        | OpKind::BitcastConvert { .. }
        | OpKind::Iota { .. }
        | OpKind::BroadcastInDim { .. }
        | OpKind::Reshape { .. }
        | OpKind::Transpose { .. }
        | OpKind::Slice { .. }
        | OpKind::DynamicSlice { .. }
        | OpKind::Pad { .. }
        | OpKind::Concatenate { .. }
        | OpKind::Reverse { .. }
        | OpKind::Gather { .. } => Ok(None),
        OpKind::Constant { value } if value.shape().is_empty() => Ok(None),
        OpKind::Constant { .. } => Err("a constant that is a tensor"),
        // Column, where it reduces the slow dimensions.
        OpKind::Reduce { .. } => Ok(Some(Family::Row)),
        OpKind::DotGeneral { .. } => Ok(Some(Family::Dot)),
        OpKind::DynamicUpdateSlice {} | OpKind::Scatter { .. } | OpKind::ReduceWindow { .. } => {
            Ok(Some(Family::Index))
        }
        OpKind::Sort { .. } | OpKind::TopK { .. } => Ok(Some(Family::Sort)),
        OpKind::ScaledDot { .. } | OpKind::GroupedDot { .. } | OpKind::GroupedScaledDot { .. } => {
            Ok(Some(Family::Dot))
        }
        OpKind::Quantize { .. }
        | OpKind::Dequantize { .. }
        | OpKind::Relayout { .. }
        | OpKind::Hadamard { .. } => Ok(Some(Family::Quantize)),
        OpKind::Orthonormalize {} => Ok(Some(Family::Solve)),
        OpKind::ColumnMean { .. } | OpKind::SubspaceIterate { .. } => {
            Err("an op that the pass 'decompose' makes simpler ones of")
        }
        OpKind::While { .. }
        | OpKind::Case { .. }
        | OpKind::Call { .. }
        | OpKind::OptimizationBarrier {} => Err("an op that is no part of a kernel"),
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

fn count(shape: &[usize]) -> u64 {
    shape.iter().map(|&d| d as u64).product()
}

/// Where a kernel reads its operands.
#[derive(Clone, Debug)]
pub(crate) struct ReadsInPlace {
    /// For each input of the body, whether all its uses are of the element at which the kernel stands.
    inputs: Vec<bool>,
}

impl ReadsInPlace {
    /// Looks at a kernel's body; `None` where it is no kernel.
    pub(crate) fn of(body: &Graph) -> Option<Self> {
        let members: BTreeSet<usize> = (0..body.operations().len()).collect();
        let exports = body.results().iter().map(|result| result.value).collect();
        let domain = Domain::of(body, &members, &exports).ok()?;
        let analysis = analyse(body, &members, &exports).ok()?;
        let mut inputs = vec![true; body.inputs().len()];
        for (number, operation) in body.operations().iter().enumerate() {
            for (position, &operand) in operation.op.operands.iter().enumerate() {
                let Definition::Input(input) = body.definition(operand) else {
                    continue;
                };
                let mut spaces = analysis.members[&number].spaces.iter();
                inputs[input] &= spaces.all(|space| {
                    let space = domain.of_operand(body, number, position, space);
                    space.is_ok_and(|space| space.place.is_aligned())
                });
            }
        }
        Some(Self { inputs })
    }

    /// Whether a value is an input that is read only at the element at which the kernel stands.
    pub(crate) fn is_read_in_place(&self, value: ValueId) -> bool {
        self.inputs.get(value.index()).copied().unwrap_or(false)
    }
}
