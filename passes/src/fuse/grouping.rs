//! Which ops of a graph shall be one kernel.
//!
//! Attention is first: its kernels are known by what they end with. Then ops are visited from the last to the first, so that all that reads an op's results is in groups when the op's turn
//! comes. It then joins its readers, is computed again in each of them, or stands alone:
//!
//! 1. What costs nothing to compute (constants, iota, broadcasts, reshapes) is computed again by every reader.
//! 2. An op with one reader joins it.
//! 3. Several readers become one group together with the op, where they walk over the same elements.
//! 4. Else the op is computed again in each of them, where that is cheaper than writing and reading its result.
//! 5. Else it joins the first reader it can, which writes its result for the others.
//!
//! When all ops are in groups, groups are merged with what reads their results and with what reads the same as they do,
//! and what is cheaper to compute again in all its readers, as these are now, is; so at last what quantisations read, if
//! they are made of little more than memory holds anyway.
//!
//! All that only if the group keeps the rules of a family, stays below the limits, and no group comes to need its own
//! results by way of others.

mod attention;
mod candidates;
mod merging;
mod order;
mod prologues;
mod repeating;
mod worth;

use super::contract::Analysis;
use super::{Attentions, Fuse};
use std::collections::{BTreeMap, BTreeSet};
use tessera_ir::{Graph, OpKind, Operation, ValueId};

/// The number of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct GroupId(usize);

/// Ops that are done together.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// Whether they are a kernel. If not it is one op: control flow, a reshape, a barrier or a constant.
    pub(super) is_kernel: bool,
    /// The numbers of the ops. Those that are computed again are in several groups.
    pub(super) members: BTreeSet<usize>,
    /// The values that others read.
    pub(super) exports: BTreeSet<ValueId>,
    /// The values of others that it reads.
    reads: BTreeSet<ValueId>,
}

impl Group {
    /// The kernel that fills one value.
    pub(super) fn of_fill(members: Vec<usize>, value: ValueId) -> Self {
        Self {
            is_kernel: true,
            members: members.into_iter().collect(),
            exports: BTreeSet::from([value]),
            reads: BTreeSet::new(),
        }
    }
}

/// The groups of a graph, each after all that it reads from.
pub(super) fn group(graph: &Graph, limits: Fuse) -> Vec<Group> {
    let mut grouping = Grouping {
        graph,
        limits,
        is_result: vec![false; graph.value_count()],
        readers: vec![BTreeSet::new(); graph.value_count()],
        has_prologues: false,
        homes: vec![0; graph.operations().len()],
        groups: Vec::new(),
        users: users(graph),
        preset: BTreeSet::new(),
    };
    for result in graph.results() {
        grouping.is_result[result.value.index()] = true;
    }
    if limits.attention == Attentions::Tiled {
        grouping.attend();
    }
    for number in (0..graph.operations().len()).rev() {
        grouping.visit(number);
    }
    grouping.merge_chains();
    grouping.merge_siblings();
    grouping.repeat_in_readers();
    grouping.make_where_quantized();
    grouping.in_order()
}

struct Grouping<'g> {
    graph: &'g Graph,
    limits: Fuse,
    /// Whether quantisations may make their tensor where they read it.
    has_prologues: bool,
    /// Whether a value is a result of the graph.
    is_result: Vec<bool>,
    /// The groups that read a value which they do not compute.
    readers: Vec<BTreeSet<GroupId>>,
    /// In how many groups an op is.
    homes: Vec<usize>,
    /// `None` where a group has become part of another.
    groups: Vec<Option<Group>>,
    /// The numbers of the ops that have a value as operand, each once.
    users: BTreeMap<ValueId, Vec<usize>>,
    /// What groups write that were made before all others.
    preset: BTreeSet<ValueId>,
}

/// The numbers of the ops that have each value as operand.
fn users(graph: &Graph) -> BTreeMap<ValueId, Vec<usize>> {
    let mut users: BTreeMap<ValueId, Vec<usize>> = BTreeMap::new();
    for (number, operation) in graph.operations().iter().enumerate() {
        for &operand in &operation.op.operands {
            let users = users.entry(operand).or_default();
            if users.last() != Some(&number) {
                users.push(number);
            }
        }
    }
    users
}

/// What becomes of the results of an op that others read beside the group it joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Own {
    /// The group writes them.
    Written,
    /// The others compute them again.
    Repeated,
}

/// A group that might be made.
struct Candidate {
    group: Group,
    analysis: Analysis,
}

impl Grouping<'_> {
    fn operation(&self, number: usize) -> &Operation {
        &self.graph.operations()[number]
    }

    fn group(&self, id: GroupId) -> &Group {
        self.groups[id.0]
            .as_ref()
            .expect("readers are groups that are there")
    }

    fn visit(&mut self, number: usize) {
        let operation = self.operation(number);
        let results: Vec<ValueId> = operation.results().collect();
        let is_result = results.iter().any(|value| self.is_result[value.index()]);
        let readers: BTreeSet<GroupId> = results
            .iter()
            .flat_map(|value| &self.readers[value.index()])
            .copied()
            .collect();
        let is_written = results.iter().any(|value| self.preset.contains(value));
        if is_written || readers.is_empty() && !is_result {
            return;
        }
        match role(&operation.op.kind) {
            Role::Alone => self.stand_alone(number, false),
            Role::Anywhere { is_kernel } => self.repeat(number, &readers, is_result, is_kernel),
            Role::Kernel => self.join(number, &readers, is_result),
        }
    }

    /// Makes a group of one op.
    fn stand_alone(&mut self, number: usize, is_kernel: bool) {
        let operation = self.operation(number);
        let exports = operation
            .results()
            .filter(|&value| self.is_needed(value, &[]));
        let group = Group {
            is_kernel,
            members: BTreeSet::from([number]),
            exports: exports.collect(),
            reads: operation.op.operands.iter().copied().collect(),
        };
        self.insert(group);
    }

    /// Computes an op again in each reader that can.
    fn repeat(
        &mut self,
        number: usize,
        readers: &BTreeSet<GroupId>,
        is_result: bool,
        is_kernel: bool,
    ) {
        let mut is_read = is_result;
        for &reader in readers {
            match self.candidate(number, &[reader], Own::Repeated) {
                Some(candidate) => self.replace(&[reader], candidate.group),
                None => is_read = true,
            }
        }
        if is_read {
            self.stand_alone(number, is_kernel);
        }
    }

    fn join(&mut self, number: usize, readers: &BTreeSet<GroupId>, is_result: bool) {
        let mut fusible: Vec<GroupId> = readers
            .iter()
            .copied()
            .filter(|&reader| self.candidate(number, &[reader], Own::Repeated).is_some())
            .collect();
        fusible.sort_by_key(|&reader| self.group(reader).members.first().copied());
        let all_fusible = fusible.len() == readers.len() && !is_result;
        if all_fusible
            && let Some(candidate) = self.candidate(number, &fusible, Own::Written)
            && self.is_worth_joining(number, &candidate)
        {
            return self.replace(&fusible, candidate.group);
        }
        if all_fusible && self.is_worth_repeating(number, &fusible) {
            for reader in fusible {
                if let Some(candidate) = self.candidate(number, &[reader], Own::Repeated) {
                    self.replace(&[reader], candidate.group);
                }
            }
            return;
        }
        if self.join_some(number, &fusible) {
            return;
        }
        self.stand_alone(number, true);
    }

    /// Joins the first reader that can write the op's result for the others, and those that can go with it.
    fn join_some(&mut self, number: usize, fusible: &[GroupId]) -> bool {
        let mut readers: Vec<GroupId> = Vec::new();
        let mut joined: Option<Candidate> = None;
        for &reader in fusible {
            readers.push(reader);
            let candidate = self.candidate(number, &readers, Own::Written);
            match candidate.filter(|candidate| self.is_worth_joining(number, candidate)) {
                Some(candidate) => joined = Some(candidate),
                None => drop(readers.pop()),
            }
        }
        let Some(candidate) = joined else {
            return false;
        };
        self.replace(&readers, candidate.group);
        true
    }

    fn insert(&mut self, group: Group) -> GroupId {
        let id = GroupId(self.groups.len());
        for read in &group.reads {
            self.readers[read.index()].insert(id);
        }
        for &member in &group.members {
            self.homes[member] += 1;
        }
        self.groups.push(Some(group));
        id
    }

    /// Puts a group in the place of others.
    fn replace(&mut self, old: &[GroupId], group: Group) {
        for &id in old {
            self.remove(id);
        }
        self.insert(group);
    }

    fn remove(&mut self, id: GroupId) {
        let Some(group) = self.groups[id.0].take() else {
            return;
        };
        for read in &group.reads {
            self.readers[read.index()].remove(&id);
        }
        for &member in &group.members {
            self.homes[member] -= 1;
        }
    }
}

/// How an op may be grouped.
enum Role {
    /// By itself, in no kernel.
    Alone,
    /// Computed again by every reader; else by itself, in a kernel or as what costs nothing.
    Anywhere { is_kernel: bool },
    /// In a kernel.
    Kernel,
}

fn role(kind: &OpKind) -> Role {
    match kind {
        OpKind::While { .. }
        | OpKind::Case { .. }
        | OpKind::Call { .. }
        | OpKind::OptimizationBarrier {} => Role::Alone,
        OpKind::Constant { value } if !value.shape().is_empty() => Role::Alone,
        OpKind::Constant { .. } | OpKind::Reshape { .. } => Role::Anywhere { is_kernel: false },
        OpKind::Iota { .. } | OpKind::BroadcastInDim { .. } => Role::Anywhere { is_kernel: true },
        OpKind::Unary(_)
        | OpKind::Binary(_)
        | OpKind::Compare { .. }
        | OpKind::Select {}
        | OpKind::Clamp {}
        | OpKind::Convert { .. }
        | OpKind::BitcastConvert { .. }
        | OpKind::Transpose { .. }
        | OpKind::Slice { .. }
        | OpKind::DynamicSlice { .. }
        | OpKind::DynamicUpdateSlice {}
        | OpKind::Pad { .. }
        | OpKind::Concatenate { .. }
        | OpKind::Reverse { .. }
        | OpKind::Reduce { .. }
        | OpKind::ReduceWindow { .. }
        | OpKind::DotGeneral { .. }
        | OpKind::Gather { .. }
        | OpKind::Scatter { .. }
        | OpKind::Sort { .. }
        | OpKind::Quantize { .. }
        | OpKind::Dequantize { .. }
        | OpKind::Relayout { .. }
        | OpKind::ScaledDot { .. }
        | OpKind::GroupedDot { .. }
        | OpKind::GroupedScaledDot { .. }
        | OpKind::ColumnMean { .. }
        | OpKind::Hadamard { .. }
        | OpKind::Orthonormalize {}
        | OpKind::SubspaceIterate { .. }
        | OpKind::TopK { .. } => Role::Kernel,
    }
}
