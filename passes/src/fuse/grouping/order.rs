//! The order of groups.

use super::{Group, Grouping};
use std::collections::{BTreeMap, BTreeSet};
use tessera_ir::ValueId;

impl Grouping<'_> {
    /// The groups, each after those it reads from; of several possible orders the one nearest to that of the ops.
    pub(super) fn in_order(mut self) -> Vec<Group> {
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
