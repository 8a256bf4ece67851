//! Groups that might be made: whether they keep the rules, the limits, and need nothing that comes of themselves.

use super::{Candidate, Group, GroupId, Grouping, Own};
use crate::fuse::contract::{Analysis, analyse};
use crate::fuse::quantize::Before;
use crate::fuse::{Epilogues, Transforms};
use std::collections::BTreeSet;
use tessera_ir::plan::Family;
use tessera_ir::{Definition, Graph, OpKind, Operation, ValueId};

impl Grouping<'_> {
    /// The group that an op and some of its readers would be, if they may.
    pub(super) fn candidate(
        &self,
        number: usize,
        readers: &[GroupId],
        own: Own,
    ) -> Option<Candidate> {
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

    pub(super) fn defines(&self, number: usize, value: ValueId) -> bool {
        matches!(self.graph.definition(value), Definition::Result { op, .. } if op.index() == number)
    }

    /// Whether a value is a result of the graph or read by a group other than those.
    pub(super) fn is_needed(&self, value: ValueId, but: &[GroupId]) -> bool {
        self.is_result[value.index()]
            || self.readers[value.index()]
                .iter()
                .any(|reader| !but.contains(reader))
    }

    /// The group of those members in place of those groups, if it may be.
    pub(super) fn checked(
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
        if self.limits.hadamard == Transforms::Alone && members.len() > 1 {
            let mut kinds = members.iter().map(|&m| &self.operation(m).op.kind);
            if kinds.any(|kind| matches!(kind, OpKind::Hadamard { .. })) {
                return None;
            }
        }
        let analysis = analyse(self.graph, &members, &exports).ok()?;
        // What is to be one is known from the start.
        if analysis.family == Family::Attention {
            return None;
        }
        if analysis.before == Before::Prologue && !self.has_prologues {
            return None;
        }
        if self.has_epilogue(&analysis) && !self.may_have_epilogue(&analysis) {
            return None;
        }
        if members.len() + analysis.before.missing() > self.limits.max_ops {
            return None;
        }
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

    /// Whether a kernel of a product computes something of it.
    fn has_epilogue(&self, analysis: &Analysis) -> bool {
        let mut kinds = (analysis.members.keys()).map(|&member| &self.operation(member).op.kind);
        analysis.family == Family::Dot && kinds.any(OpKind::is_elementwise)
    }

    /// Whether kernels of that product are wanted with an epilogue.
    fn may_have_epilogue(&self, analysis: &Analysis) -> bool {
        let operations = analysis
            .members
            .keys()
            .map(|&member| self.operation(member));
        let is_reduction = |one: &&Operation| matches!(one.op.kind, OpKind::Reduce { .. });
        let mut reductions = operations.clone().filter(is_reduction);
        let mut kinds = operations.map(|operation| &operation.op.kind);
        match self.limits.epilogues {
            Epilogues::None => false,
            Epilogues::Scaled => {
                reductions.next().is_none()
                    && kinds.any(|kind| matches!(kind, OpKind::ScaledDot { .. }))
            }
            Epilogues::All => reductions.all(|one| begins_with_constant(self.graph, one)),
        }
    }

    /// What those ops read and do not compute.
    pub(super) fn reads(&self, members: &BTreeSet<usize>) -> BTreeSet<ValueId> {
        let operands = members.iter().flat_map(|&m| &self.operation(m).op.operands);
        let is_read = |value: &&ValueId| match self.graph.definition(**value) {
            Definition::Input(_) => true,
            Definition::Result { op, .. } => !members.contains(&op.index()),
        };
        operands.filter(is_read).copied().collect()
    }

    /// Whether a group that writes those values and takes the place of those groups would, by way of others, read what
    /// depends on it.
    pub(super) fn needs_itself(&self, exports: &BTreeSet<ValueId>, merged: &[GroupId]) -> bool {
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
}

/// Whether what a reduction begins with is known: no NaN, whose sign would make it less than all magnitudes.
fn begins_with_constant(graph: &Graph, reduction: &Operation) -> bool {
    let init = reduction.op.operands.last();
    let init = init.and_then(|&init| graph.defining_operation(init));
    init.is_some_and(|init| match &init.op.kind {
        OpKind::Constant { value } => value
            .values::<f32>()
            .is_some_and(|values| values.iter().all(|one| !one.is_nan())),
        _ => false,
    })
}
