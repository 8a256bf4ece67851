//! Which ops may be one kernel: the rules of [`Family`], checked on a set of ops of a graph.
//!
//! The grouping asks this of every group it would like to make, and [`kernel_family`] of the kernels made, so there is
//! one account of the rules.
//!
//! Each member is computed in one or more *spaces*. In the space of all elements (`Full`) and in that of the reduced
//! ones (`Reduced`), the kernel stands at element `i` of the member when it stands at element `i` of its domain: such a
//! member may be a result. In any other space (`Free`) it is computed wherever an op that moves elements asks for it.

mod domain;
mod reads;
mod roots;

pub(crate) use reads::ReadsInPlace;

use super::cost::weight;
use super::quantize::Before;
use domain::Domain;
use std::collections::{BTreeMap, BTreeSet};
use tessera_ir::plan::Family;
use tessera_ir::{Definition, Graph, OpKind, ValueId};

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

fn count(shape: &[usize]) -> u64 {
    shape.iter().map(|&d| d as u64).product()
}
