//! What is worth doing: computing something again against writing and reading it.

use super::{Candidate, Group, GroupId, Grouping, Own, Role, role};
use crate::fuse::contract::{Analysis, analyse};
use crate::fuse::cost::{LAUNCH, weight};
use std::collections::{BTreeMap, BTreeSet};
use tessera_ir::plan::Family;
use tessera_ir::{Definition, OpKind, Operation, ValueId};

/// What it costs to compute an op in several groups.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Repetition {
    /// The elements computed in all of them.
    evaluations: u64,
    /// What one element costs, where it costs most.
    weight: u64,
    /// The bytes that they come to read.
    bytes: u64,
    /// The bytes that one of them comes to read at most.
    most_bytes: u64,
}

impl Repetition {
    /// Adds a group.
    pub(super) fn add(&mut self, evaluations: u64, weight: u64, bytes: u64) {
        self.evaluations = self.evaluations.saturating_add(evaluations);
        self.weight = self.weight.max(weight);
        self.bytes = self.bytes.saturating_add(bytes);
        self.most_bytes = self.most_bytes.max(bytes);
    }

    /// The same without the group that comes to read most, in which so many elements are computed.
    fn without_one(self, elements: u64) -> Self {
        Self {
            evaluations: self.evaluations.saturating_sub(elements),
            bytes: self.bytes - self.most_bytes,
            ..self
        }
    }

    pub(super) fn cost(self) -> u64 {
        let computed = self.evaluations.saturating_mul(self.weight);
        computed.saturating_add(self.bytes)
    }
}

impl Grouping<'_> {
    /// Whether an op that is computed in more places than its elements are costs no more than keeping it.
    pub(super) fn is_worth_joining(&self, number: usize, candidate: &Candidate) -> bool {
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
    pub(super) fn is_worth_repeating(&self, number: usize, readers: &[GroupId]) -> bool {
        let operation = self.operation(number);
        if matches!(
            operation.op.kind,
            OpKind::Reduce { .. } | OpKind::DotGeneral { .. }
        ) {
            return false;
        }
        let mut repetition = Repetition::default();
        for &reader in readers {
            let Some(candidate) = self.candidate(number, &[reader], Own::Repeated) else {
                return false;
            };
            let Some(member) = candidate.analysis.members.get(&number) else {
                return false;
            };
            let evaluations = member.evaluations();
            let bytes = self.leaf_bytes(operation, reader, evaluations);
            repetition.add(evaluations, self.repeated_weight(number, reader), bytes);
        }
        if matches!(operation.op.kind, OpKind::Hadamard { .. }) {
            return repetition.cost() <= self.cost_alone(number, readers.len() as u64);
        }
        // One reader computes it and reads what it is made of anyway, and writes it for the others on the way.
        let once = repetition.without_one(self.elements(operation));
        once.cost() <= self.bytes(operation) * readers.len() as u64
    }

    /// What an op costs in a kernel by itself, which so many others read.
    fn cost_alone(&self, number: usize, readers: u64) -> u64 {
        let operation = self.operation(number);
        let read = operation.op.operands.iter();
        let read: usize = read.map(|&x| self.graph.value_type(x).byte_size()).sum();
        let computed = self.elements(operation) * weight(&operation.op.kind);
        LAUNCH + computed + read as u64 + self.bytes(operation) * (1 + readers)
    }

    /// What an element of an op costs together with what of its reader is computed in other groups as well.
    pub(super) fn repeated_weight(&self, number: usize, reader: GroupId) -> u64 {
        let mut weights: BTreeMap<ValueId, u64> = BTreeMap::new();
        let members = &self.group(reader).members;
        for &member in members.iter().rev() {
            let operation = self.operation(member);
            let mine = operation.results().filter_map(|value| weights.get(&value));
            let above = mine.copied().max().unwrap_or(0);
            let is_repeated = !operation
                .results()
                .any(|value| self.group(reader).exports.contains(&value))
                && self.homes[member] > 1
                // Whatever is written before a transform, no reader of it can write it for the others.
                && !matches!(operation.op.kind, OpKind::Hadamard { .. });
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

    pub(super) fn elements(&self, operation: &Operation) -> u64 {
        self.graph.value_type(operation.result()).len() as u64
    }

    pub(super) fn bytes(&self, operation: &Operation) -> u64 {
        let sizes = operation
            .results()
            .map(|value| self.graph.value_type(value).byte_size());
        sizes.sum::<usize>() as u64
    }

    /// The bytes a group comes to read beside what it reads already when it computes so many elements of an op.
    pub(super) fn leaf_bytes(
        &self,
        operation: &Operation,
        reader: GroupId,
        evaluations: u64,
    ) -> u64 {
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
            let operand = self.graph.value_type(operand);
            let elements = (operand.len() as u64).max(1);
            // A scaled element has less than a byte or a little more.
            evaluations.min(elements) * (operand.byte_size() as u64).div_ceil(elements)
        });
        sizes.sum()
    }

    pub(super) fn work_of(&self, group: &Group) -> Option<u64> {
        let analysis = analyse(self.graph, &group.members, &group.exports).ok()?;
        Some(self.work(&analysis))
    }

    /// What computing all elements of a group costs.
    pub(super) fn work(&self, analysis: &Analysis) -> u64 {
        let members = analysis.members.iter().map(|(&number, member)| {
            let weight = weight(&self.operation(number).op.kind);
            member.evaluations().saturating_mul(weight)
        });
        members.fold(0, u64::saturating_add)
    }
}

/// Whether a kernel that reduces rows has enough rows for all threads, or rows so short that it does not matter.
pub(super) fn has_parallel_rows(candidate: &Candidate) -> bool {
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
