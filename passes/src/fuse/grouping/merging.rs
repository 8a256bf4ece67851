//! Groups that become one once all ops are in groups.

use super::worth::has_parallel_rows;
use super::{Candidate, GroupId, Grouping};
use crate::fuse::contract::analyse;
use crate::fuse::cost::LAUNCH;
use std::collections::BTreeSet;
use tessera_ir::plan::Family;

impl Grouping<'_> {
    /// Merges each group with those that read its results, where that makes no more work: a row that is reduced, say, with
    /// what is computed of it and of the row.
    pub(super) fn merge_chains(&mut self) {
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
    pub(super) fn merge_with_reader(&mut self, id: GroupId) {
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
    pub(super) fn merged(&self, a: GroupId, b: GroupId) -> Option<Candidate> {
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

    /// Merges groups that read the same elements of a value at the same places, the quantisations of one value, what is
    /// reduced of its columns, and all that compute scalars.
    pub(super) fn merge_siblings(&mut self) {
        const WALKS: &[Family] = &[Family::Loop, Family::Row];
        for value in self.graph.values() {
            let value_type = self.graph.value_type(value);
            if value_type.shape().is_empty() {
                continue;
            }
            let shape = value_type.shape();
            let is_large = value_type.byte_size() > LAUNCH as usize;
            // Columns may be those of a transpose.
            let passes: [(_, &[Family], _); 3] = [
                (Some(shape), WALKS, is_large),
                (Some(shape), &[Family::Quantize], true),
                (None, &[Family::Column], true),
            ];
            for (shape, families, _) in passes.into_iter().filter(|&(.., tried)| tried) {
                let readers = self.readers[value.index()].iter().copied().collect();
                self.merge_pairs(readers, shape, families);
            }
        }
        let all = (0..self.groups.len()).filter(|&id| self.groups[id].is_some());
        self.merge_pairs(all.map(GroupId).collect(), Some(&[]), WALKS);
    }

    /// Merges those of the groups that walk over that shape, or any, in one of those families, as far as they may.
    pub(super) fn merge_pairs(
        &mut self,
        ids: Vec<GroupId>,
        shape: Option<&[usize]>,
        families: &[Family],
    ) {
        let mut into: Option<GroupId> = None;
        for id in ids {
            let Some(group) = &self.groups[id.0] else {
                continue;
            };
            let Ok(analysis) = analyse(self.graph, &group.members, &group.exports) else {
                continue;
            };
            let is_walked = shape.is_none_or(|shape| analysis.domain == shape);
            if !group.is_kernel || !families.contains(&analysis.family) || !is_walked {
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
}
