//! Which ops of a graph shall be one kernel.
//!
//! Ops are visited from the last to the first, so that all that reads an op's results is in groups when the op's turn
//! comes. It then joins its readers, is computed again in each of them, or stands alone:
//!
//! 1. What costs nothing to compute (constants, iota, broadcasts, reshapes) is computed again by every reader.
//! 2. An op with one reader joins it.
//! 3. Several readers become one group together with the op, where they walk over the same elements.
//! 4. Else the op is computed again in each of them, where that is cheaper than writing and reading its result.
//! 5. Else it joins the first reader it can, which writes its result for the others.
//!
//! All that only if the group keeps the rules of a family, stays below the limits, and no group comes to need its own
//! results by way of others.

use super::Fuse;
use super::contract::{Analysis, analyse};
use super::cost::{LAUNCH, weight};
use std::collections::{BTreeMap, BTreeSet};
use tessera_ir::plan::Family;
use tessera_ir::{Definition, Graph, OpKind, Operation, ValueId};

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
        homes: vec![0; graph.operations().len()],
        groups: Vec::new(),
    };
    for result in graph.results() {
        grouping.is_result[result.value.index()] = true;
    }
    for number in (0..graph.operations().len()).rev() {
        grouping.visit(number);
    }
    grouping.merge_chains();
    grouping.merge_siblings();
    grouping.in_order()
}

struct Grouping<'g> {
    graph: &'g Graph,
    limits: Fuse,
    /// Whether a value is a result of the graph.
    is_result: Vec<bool>,
    /// The groups that read a value which they do not compute.
    readers: Vec<BTreeSet<GroupId>>,
    /// In how many groups an op is.
    homes: Vec<usize>,
    /// `None` where a group has become part of another.
    groups: Vec<Option<Group>>,
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
        if readers.is_empty() && !is_result {
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

    /// The group that an op and some of its readers would be, if they may.
    fn candidate(&self, number: usize, readers: &[GroupId], own: Own) -> Option<Candidate> {
        let operation = self.operation(number);
        let mut members = BTreeSet::from([number]);
        let mut exports: BTreeSet<ValueId> = operation.results().collect();
        for &reader in readers {
            let group = self.group(reader);
            if !group.is_kernel {
                return None;
            }
            members.extend(&group.members);
            exports.extend(&group.exports);
        }
        exports.retain(|&value| {
            let is_repeated = own == Own::Repeated && self.defines(number, value);
            !is_repeated && self.is_needed(value, readers)
        });
        self.checked(members, exports, readers)
    }

    fn defines(&self, number: usize, value: ValueId) -> bool {
        matches!(self.graph.definition(value), Definition::Result { op, .. } if op.index() == number)
    }

    /// Whether a value is a result of the graph or read by a group other than those.
    fn is_needed(&self, value: ValueId, but: &[GroupId]) -> bool {
        self.is_result[value.index()]
            || self.readers[value.index()]
                .iter()
                .any(|reader| !but.contains(reader))
    }

    /// The group of those members in place of those groups, if it may be.
    fn checked(
        &self,
        members: BTreeSet<usize>,
        exports: BTreeSet<ValueId>,
        merged: &[GroupId],
    ) -> Option<Candidate> {
        if members.len() > self.limits.max_ops {
            return None;
        }
        let reads = self.reads(&members);
        if reads.len() > self.limits.max_operands {
            return None;
        }
        let analysis = analyse(self.graph, &members, &exports).ok()?;
        if self.needs_itself(&exports, merged) {
            return None;
        }
        let group = Group {
            is_kernel: true,
            members,
            exports,
            reads,
        };
        Some(Candidate { group, analysis })
    }

    /// What those ops read and do not compute.
    fn reads(&self, members: &BTreeSet<usize>) -> BTreeSet<ValueId> {
        let operands = members.iter().flat_map(|&m| &self.operation(m).op.operands);
        let is_read = |value: &&ValueId| match self.graph.definition(**value) {
            Definition::Input(_) => true,
            Definition::Result { op, .. } => !members.contains(&op.index()),
        };
        operands.filter(is_read).copied().collect()
    }

    /// Whether a group that writes those values and takes the place of those groups would, by way of others, read what
    /// depends on it.
    fn needs_itself(&self, exports: &BTreeSet<ValueId>, merged: &[GroupId]) -> bool {
        let mut seen = vec![false; self.groups.len()];
        let mut open: Vec<GroupId> = Vec::new();
        let mut visit = |values: &BTreeSet<ValueId>, open: &mut Vec<GroupId>, first: bool| {
            for &reader in values.iter().flat_map(|value| &self.readers[value.index()]) {
                if merged.contains(&reader) {
                    // A group read directly by its own parts is one; by way of another it is a cycle.
                    if !first {
                        return true;
                    }
                } else if !std::mem::replace(&mut seen[reader.0], true) {
                    open.push(reader);
                }
            }
            false
        };
        visit(exports, &mut open, true);
        while let Some(id) = open.pop() {
            if visit(&self.group(id).exports, &mut open, false) {
                return true;
            }
        }
        false
    }

    /// Whether an op that is computed in more places than its elements are costs no more than keeping it.
    fn is_worth_joining(&self, number: usize, candidate: &Candidate) -> bool {
        let operation = self.operation(number);
        let Some(member) = candidate.analysis.members.get(&number) else {
            return false;
        };
        let elements = self.elements(operation);
        if matches!(operation.op.kind, OpKind::Reduce { .. }) && !has_parallel_rows(candidate) {
            return false;
        }
        let again = member.evaluations().saturating_sub(elements);
        let kept_cost = LAUNCH + 2 * self.bytes(operation);
        again.saturating_mul(member.chain_weight) <= kept_cost
    }

    /// Whether computing an op in each of its readers costs less than writing its result once and reading it in each.
    fn is_worth_repeating(&self, number: usize, readers: &[GroupId]) -> bool {
        let operation = self.operation(number);
        if matches!(
            operation.op.kind,
            OpKind::Reduce { .. } | OpKind::DotGeneral { .. }
        ) {
            return false;
        }
        let (mut evaluations, mut chain) = (0u64, 0);
        let (mut leaves, mut most_leaves) = (0u64, 0);
        for &reader in readers {
            let Some(candidate) = self.candidate(number, &[reader], Own::Repeated) else {
                return false;
            };
            let Some(member) = candidate.analysis.members.get(&number) else {
                return false;
            };
            evaluations = evaluations.saturating_add(member.evaluations());
            chain = chain.max(self.repeated_weight(number, reader));
            let read = self.leaf_bytes(operation, reader, member.evaluations());
            leaves += read;
            most_leaves = read.max(most_leaves);
        }
        let again = evaluations.saturating_sub(self.elements(operation));
        let repeated = again
            .saturating_mul(chain)
            .saturating_add(leaves - most_leaves);
        // One reader writes it for the others on the way.
        let kept = self.bytes(operation) * readers.len() as u64;
        repeated <= kept
    }

    /// What an element of an op costs together with what of its reader is computed in other groups as well.
    fn repeated_weight(&self, number: usize, reader: GroupId) -> u64 {
        let mut weights: BTreeMap<ValueId, u64> = BTreeMap::new();
        let members = &self.group(reader).members;
        for &member in members.iter().rev() {
            let operation = self.operation(member);
            let mine = operation.results().filter_map(|value| weights.get(&value));
            let above = mine.copied().max().unwrap_or(0);
            let is_repeated = !operation
                .results()
                .any(|value| self.group(reader).exports.contains(&value))
                && self.homes[member] > 1;
            let chain = if is_repeated {
                above + weight(&operation.op.kind)
            } else {
                0
            };
            for &operand in &operation.op.operands {
                let entry = weights.entry(operand).or_default();
                *entry = chain.max(*entry);
            }
        }
        let operation = self.operation(number);
        let above = operation
            .results()
            .filter_map(|value| weights.get(&value))
            .max();
        above.copied().unwrap_or(0) + weight(&operation.op.kind)
    }

    fn elements(&self, operation: &Operation) -> u64 {
        self.graph.value_type(operation.result()).len() as u64
    }

    fn bytes(&self, operation: &Operation) -> u64 {
        let sizes = operation
            .results()
            .map(|value| self.graph.value_type(value).byte_size());
        sizes.sum::<usize>() as u64
    }

    /// The bytes a group comes to read beside what it reads already when it computes so many elements of an op.
    fn leaf_bytes(&self, operation: &Operation, reader: GroupId, evaluations: u64) -> u64 {
        let distinct: BTreeSet<ValueId> = operation.op.operands.iter().copied().collect();
        let group = self.group(reader);
        let is_known = |value: ValueId| match self.graph.definition(value) {
            Definition::Result { op, .. } if group.members.contains(&op.index()) => true,
            Definition::Result { op, .. } => {
                let role = role(&self.graph.operation(op).op.kind);
                matches!(role, Role::Anywhere { .. }) || group.reads.contains(&value)
            }
            Definition::Input(_) => group.reads.contains(&value),
        };
        let unknown = distinct.iter().filter(|&&value| !is_known(value));
        let sizes = unknown.map(|&operand| {
            let tensor_type = self.graph.value_type(operand);
            evaluations.min(tensor_type.len() as u64) * tensor_type.element.size() as u64
        });
        sizes.sum()
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
            if let Some(old) = self.groups[id.0].take() {
                for read in &old.reads {
                    self.readers[read.index()].remove(&id);
                }
                for &member in &old.members {
                    self.homes[member] -= 1;
                }
            }
        }
        self.insert(group);
    }

    /// Merges each group with those that read its results, where that makes no more work: a row that is reduced, say, with
    /// what is computed of it and of the row.
    fn merge_chains(&mut self) {
        let mut next = 0;
        while next < self.groups.len() {
            let id = GroupId(next);
            // What is merged is a new group at the end, which gets its turn.
            if self.groups[next].is_some() {
                self.merge_with_reader(id);
            }
            next += 1;
        }
    }

    /// Merges a group with one that reads its results, if there is one that it can be merged with.
    fn merge_with_reader(&mut self, id: GroupId) {
        let group = self.group(id);
        let readers: BTreeSet<GroupId> = group
            .exports
            .iter()
            .flat_map(|export| &self.readers[export.index()])
            .copied()
            .collect();
        for reader in readers {
            if let Some(candidate) = self.merged(id, reader) {
                return self.replace(&[id, reader], candidate.group);
            }
        }
    }

    /// Two groups as one, if they may be and that makes no more work.
    fn merged(&self, a: GroupId, b: GroupId) -> Option<Candidate> {
        let (first, second) = (self.group(a), self.group(b));
        if !first.is_kernel || !second.is_kernel {
            return None;
        }
        let members = &first.members | &second.members;
        let mut exports = &first.exports | &second.exports;
        exports.retain(|&value| self.is_needed(value, &[a, b]));
        let candidate = self.checked(members, exports, &[a, b])?;
        let before = self.work_of(first)?.saturating_add(self.work_of(second)?);
        let after = self.work(&candidate.analysis);
        (after <= before && has_parallel_rows(&candidate)).then_some(candidate)
    }

    fn work_of(&self, group: &Group) -> Option<u64> {
        let analysis = analyse(self.graph, &group.members, &group.exports).ok()?;
        Some(self.work(&analysis))
    }

    /// What computing all elements of a group costs.
    fn work(&self, analysis: &Analysis) -> u64 {
        let members = analysis.members.iter().map(|(&number, member)| {
            let weight = weight(&self.operation(number).op.kind);
            member.evaluations().saturating_mul(weight)
        });
        members.fold(0, u64::saturating_add)
    }

    /// Merges groups that read the same elements of a value at the same places, and all that compute scalars.
    fn merge_siblings(&mut self) {
        for value in self.graph.values() {
            let tensor_type = self.graph.value_type(value);
            if tensor_type.rank() > 0 && tensor_type.byte_size() > LAUNCH as usize {
                let readers = self.readers[value.index()].clone();
                self.merge_pairs(readers.into_iter().collect(), &tensor_type.shape);
            }
        }
        let all = (0..self.groups.len()).filter(|&id| self.groups[id].is_some());
        self.merge_pairs(all.map(GroupId).collect(), &[]);
    }

    /// Merges those of the groups that walk over that shape, as far as they may.
    fn merge_pairs(&mut self, ids: Vec<GroupId>, shape: &[usize]) {
        let mut into: Option<GroupId> = None;
        for id in ids {
            let Some(group) = &self.groups[id.0] else {
                continue;
            };
            let Ok(analysis) = analyse(self.graph, &group.members, &group.exports) else {
                continue;
            };
            let mergeable = group.is_kernel
                && matches!(analysis.family, Family::Loop | Family::Row)
                && analysis.domain == shape;
            if !mergeable {
                continue;
            }
            let Some(first) = into else {
                into = Some(id);
                continue;
            };
            if let Some(candidate) = self.merged(first, id) {
                self.replace(&[first, id], candidate.group);
                into = Some(GroupId(self.groups.len() - 1));
            }
        }
    }

    /// The groups, each after those it reads from; of several possible orders the one nearest to that of the ops.
    fn in_order(mut self) -> Vec<Group> {
        let mut waits: Vec<usize> = vec![0; self.groups.len()];
        let mut owner: BTreeMap<ValueId, usize> = BTreeMap::new();
        let mut ready: BTreeSet<(usize, usize)> = BTreeSet::new();
        let last = |group: &Group| group.members.last().copied().unwrap_or(0);
        for (id, group) in self.groups.iter().enumerate() {
            for &export in group.iter().flat_map(|group| &group.exports) {
                owner.insert(export, id);
            }
        }
        for (id, group) in self.groups.iter().enumerate() {
            let Some(group) = group else { continue };
            waits[id] = group
                .reads
                .iter()
                .filter(|read| owner.contains_key(read))
                .count();
            if waits[id] == 0 {
                ready.insert((last(group), id));
            }
        }
        let mut ordered = Vec::new();
        while let Some((_, id)) = ready.pop_first() {
            let Some(group) = self.groups[id].take() else {
                continue;
            };
            for export in &group.exports {
                for reader in &self.readers[export.index()] {
                    waits[reader.0] -= 1;
                    if let (0, Some(group)) = (waits[reader.0], &self.groups[reader.0]) {
                        ready.insert((last(group), reader.0));
                    }
                }
            }
            ordered.push(group);
        }
        debug_assert!(
            self.groups.iter().all(Option::is_none),
            "groups wait for each other"
        );
        ordered
    }
}

/// Whether a kernel that reduces rows has enough rows for all threads, or rows so short that it does not matter.
fn has_parallel_rows(candidate: &Candidate) -> bool {
    const ROWS: usize = 16;
    const SHORT: usize = 8192;
    let analysis = &candidate.analysis;
    if analysis.family != Family::Row {
        return true;
    }
    let elements: usize = analysis.domain.iter().product();
    let rows: usize = analysis.row_count();
    rows >= ROWS || elements <= SHORT
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
        | OpKind::TopK { .. } => Role::Kernel,
    }
}
