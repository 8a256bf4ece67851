//! What is computed again in its readers once all groups are known.

use super::worth::Repetition;
use super::{Candidate, Group, GroupId, Grouping, Role, role};
use std::collections::BTreeSet;
use tessera_ir::{Definition, OpKind, ValueId};

impl Grouping<'_> {
    /// Computes again, in each reader, what a group writes for them though that costs more: a cheap function of values
    /// that are there anyway.
    pub(super) fn repeat_in_readers(&mut self) {
        let mut written: BTreeSet<ValueId> = BTreeSet::new();
        for group in self.groups.iter().flatten() {
            written.extend(&group.exports);
        }
        for number in (0..self.graph.operations().len()).rev() {
            let operation = self.operation(number);
            let value = operation.result();
            let is_candidate = written.contains(&value)
                && operation.results().len() == 1
                && !self.is_result[value.index()]
                && is_repeatable(&operation.op.kind);
            if !is_candidate {
                continue;
            }
            if let Some(readers) = self.worth_repeating(number, &written) {
                written.remove(&value);
                self.repeat_in(value, readers);
            }
        }
    }

    /// The readers of an op's result with the op in them, if they all can compute it and that costs less.
    fn worth_repeating(
        &self,
        number: usize,
        written: &BTreeSet<ValueId>,
    ) -> Option<Vec<(GroupId, Candidate)>> {
        let needed = self.made_of_written(number, written)?;
        let value = self.operation(number).result();
        let mut repetition = Repetition::default();
        let mut readers = Vec::new();
        for &reader in &self.readers[value.index()] {
            let group = self.group(reader);
            if !group.is_kernel {
                return None;
            }
            let members = &group.members | &needed;
            let candidate = self.checked(members, group.exports.clone(), &[reader])?;
            let evaluations = candidate.analysis.members.get(&number)?.evaluations();
            let more = candidate.group.reads.difference(&group.reads);
            let bytes = more.map(|read| self.graph.value_type(*read).byte_size() as u64);
            repetition.add(
                evaluations,
                self.repeated_weight(number, reader),
                bytes.sum(),
            );
            readers.push((reader, candidate));
        }
        // The one write and all reads are saved.
        let saved = self.bytes(self.operation(number)) * (1 + readers.len() as u64);
        let is_worth_it = !readers.is_empty() && repetition.cost() <= saved;
        is_worth_it.then_some(readers)
    }

    /// An op with the ops that cost nothing which it needs, if all else that it needs is written by somebody.
    fn made_of_written(
        &self,
        number: usize,
        written: &BTreeSet<ValueId>,
    ) -> Option<BTreeSet<usize>> {
        let mut needed = BTreeSet::from([number]);
        let mut open = vec![number];
        while let Some(number) = open.pop() {
            for &operand in &self.operation(number).op.operands {
                match self.graph.definition(operand) {
                    Definition::Input(_) => {}
                    Definition::Result { .. } if written.contains(&operand) => {}
                    Definition::Result { op, .. } => {
                        let kind = &self.operation(op.index()).op.kind;
                        if !matches!(role(kind), Role::Anywhere { .. }) {
                            return None;
                        }
                        if needed.insert(op.index()) {
                            open.push(op.index());
                        }
                    }
                }
            }
        }
        Some(needed)
    }

    /// Puts the readers in place of what they were; the value's own group stops writing it.
    fn repeat_in(&mut self, value: ValueId, readers: Vec<(GroupId, Candidate)>) {
        for (reader, candidate) in readers {
            self.replace(&[reader], candidate.group);
        }
        let owner = self.groups.iter().position(|group| {
            group
                .as_ref()
                .is_some_and(|group| group.exports.contains(&value))
        });
        let Some(owner) = owner.map(GroupId) else {
            return;
        };
        let group = self.group(owner);
        let mut exports = group.exports.clone();
        exports.remove(&value);
        let members = self.needed_for(&exports, &group.members);
        if members.is_empty() {
            self.remove(owner);
            return;
        }
        let group = Group {
            is_kernel: group.is_kernel,
            reads: self.reads(&members),
            members,
            exports,
        };
        self.replace(&[owner], group);
    }

    /// Those of the ops that are needed for those of their results.
    pub(super) fn needed_for(
        &self,
        exports: &BTreeSet<ValueId>,
        members: &BTreeSet<usize>,
    ) -> BTreeSet<usize> {
        let mut values = exports.clone();
        let mut needed = BTreeSet::new();
        for &member in members.iter().rev() {
            let operation = self.operation(member);
            if operation.results().any(|result| values.contains(&result)) {
                needed.insert(member);
                values.extend(&operation.op.operands);
            }
        }
        needed
    }
}

/// Whether an op is a function of few elements for each of its own.
fn is_repeatable(kind: &OpKind) -> bool {
    match kind {
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
        | OpKind::Pad { .. }
        | OpKind::Concatenate { .. }
        | OpKind::Reverse { .. }
        | OpKind::Gather { .. } => true,
        OpKind::Constant { .. }
        | OpKind::Iota { .. }
        | OpKind::BroadcastInDim { .. }
        | OpKind::Reshape { .. }
        | OpKind::DynamicUpdateSlice {}
        | OpKind::Reduce { .. }
        | OpKind::ReduceWindow { .. }
        | OpKind::DotGeneral { .. }
        | OpKind::Scatter { .. }
        | OpKind::Sort { .. }
        | OpKind::TopK { .. }
        | OpKind::While { .. }
        | OpKind::Case { .. }
        | OpKind::Call { .. }
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
        | OpKind::OptimizationBarrier {} => false,
    }
}
