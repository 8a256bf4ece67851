//! Tensors that are made where they are read, and written nowhere: a normalisation, say, that is centred and quantised.

use super::{Candidate, GroupId, Grouping};
use crate::fuse::contract::analyse;
use crate::fuse::cost::weight;
use crate::fuse::quantize::{keeps_rows, quantized};
use std::collections::BTreeSet;
use tessera_ir::{Definition, OpKind, ValueId};

/// What is smaller than a tensor by this factor costs nothing to read beside it: a number for each row or column.
const SMALL: usize = 8;

/// A tensor that a group writes, and the reshapes of it that are read.
struct Tensor {
    owner: GroupId,
    views: BTreeSet<ValueId>,
    /// The groups that reshape it.
    reshapes: BTreeSet<GroupId>,
    /// The kernels that read it.
    readers: BTreeSet<GroupId>,
}

/// How a tensor is made elementwise.
#[derive(Default)]
struct Making {
    /// The numbers of the ops.
    ops: BTreeSet<usize>,
    /// What they are made of.
    leaves: BTreeSet<ValueId>,
    /// Those of these that only the group which writes the tensor knows yet.
    small: BTreeSet<ValueId>,
}

/// A group, and what takes its place, if anything does.
type Replacement = (GroupId, Option<Candidate>);

impl Grouping<'_> {
    /// Has quantisations make their tensor where they read it, and with them all that reads it, where so fewer bytes are
    /// read and written.
    pub(super) fn make_where_quantized(&mut self) {
        self.has_prologues = true;
        for id in (0..self.groups.len()).map(GroupId) {
            let Some(group) = &self.groups[id.0] else {
                continue;
            };
            let read = quantized(self.graph, &group.members);
            let Some(tensor) = read.and_then(|value| self.written_tensor(value)) else {
                continue;
            };
            for (old, candidate) in self.made_in_readers(&tensor).unwrap_or_default() {
                match candidate {
                    Some(candidate) => self.replace(&[old], candidate.group),
                    None => self.remove(old),
                }
            }
        }
    }

    /// The tensor that a value is, or is a reshape of, if a group writes it for kernels alone.
    fn written_tensor(&self, mut value: ValueId) -> Option<Tensor> {
        while let Some(operation) = self.graph.defining_operation(value)
            && let OpKind::Reshape { .. } = operation.op.kind
        {
            value = operation.op.operands[0];
        }
        let mut tensor = Tensor {
            owner: self.writer(value)?,
            views: BTreeSet::new(),
            reshapes: BTreeSet::new(),
            readers: BTreeSet::new(),
        };
        let mut open = vec![value];
        while let Some(view) = open.pop() {
            if self.is_result[view.index()] {
                return None;
            }
            tensor.views.insert(view);
            for &reader in &self.readers[view.index()] {
                let group = self.group(reader);
                if group.is_kernel {
                    tensor.readers.insert(reader);
                    continue;
                }
                let mut operations = group.members.iter().map(|&one| self.operation(one));
                if !operations.all(|operation| keeps_rows(self.graph, operation)) {
                    return None;
                }
                tensor.reshapes.insert(reader);
                open.extend(&group.exports);
            }
        }
        Some(tensor)
    }

    /// The group that writes a value.
    fn writer(&self, value: ValueId) -> Option<GroupId> {
        let mut groups = self.groups.iter();
        let writes = groups
            .position(|group| (group.as_ref()).is_some_and(|group| group.exports.contains(&value)));
        writes.map(GroupId)
    }

    /// The groups that write and read a tensor, as they are when it is made in its readers, if that costs less.
    fn made_in_readers(&self, tensor: &Tensor) -> Option<Vec<Replacement>> {
        let making = self.making(tensor)?;
        let mut replacements = vec![self.without(tensor, &making)?];
        replacements.extend(tensor.reshapes.iter().map(|&reshape| (reshape, None)));
        let bytes = |value: &ValueId| self.graph.value_type(*value).byte_size() as u64;
        let view = tensor.views.first()?;
        let elements = self.graph.value_type(*view).len() as u64;
        let mut cost: u64 = making.small.iter().map(bytes).sum();
        for &reader in &tensor.readers {
            let group = self.group(reader);
            let ops = self.needed_for(&group.reads, &making.ops);
            let computed = ops.iter().map(|&op| weight(&self.operation(op).op.kind));
            let computed = elements * computed.sum::<u64>();
            let members = &group.members | &ops;
            let candidate = self.checked(members, group.exports.clone(), &[reader])?;
            let more: u64 = making.leaves.difference(&group.reads).map(bytes).sum();
            // Computing goes on while memory is read.
            cost += more.max(computed);
            replacements.push((reader, Some(candidate)));
        }
        let saved = bytes(view) * (1 + tensor.readers.len() as u64);
        (cost < saved).then_some(replacements)
    }

    /// How a tensor's views are made of what is written by somebody, and of what is small and known to the group.
    fn making(&self, tensor: &Tensor) -> Option<Making> {
        let view = self.graph.value_type(*tensor.views.first()?);
        let own = self.group(tensor.owner);
        let mut making = Making::default();
        let mut open: Vec<ValueId> = tensor.views.iter().copied().collect();
        while let Some(value) = open.pop() {
            let Definition::Result { op, .. } = self.graph.definition(value) else {
                making.leaves.insert(value);
                continue;
            };
            let operation = self.graph.operation(op);
            let value_type = self.graph.value_type(value);
            let is_made = match &operation.op.kind {
                OpKind::BroadcastInDim { .. } | OpKind::Constant { .. } | OpKind::Iota { .. } => {
                    true
                }
                OpKind::Reshape { .. } => keeps_rows(self.graph, operation),
                kind => kind.is_elementwise() && value_type.len() == view.len(),
            };
            let is_written = !tensor.views.contains(&value) && self.writer(value).is_some();
            if is_made && !is_written {
                if making.ops.insert(op.index()) {
                    open.extend(&operation.op.operands);
                }
                continue;
            }
            if !is_written {
                let is_small = value_type.byte_size() * SMALL <= view.byte_size();
                if !is_small || !own.members.contains(&op.index()) {
                    return None;
                }
                making.small.insert(value);
            }
            making.leaves.insert(value);
        }
        Some(making)
    }

    /// The group that writes a tensor as it is when it writes what that is made of: over the same elements as before.
    fn without(&self, tensor: &Tensor, making: &Making) -> Option<Replacement> {
        let group = self.group(tensor.owner);
        let exports = &group.exports | &making.small;
        let exports = &exports - &tensor.views;
        if exports.is_empty() {
            return Some((tensor.owner, None));
        }
        let members = self.needed_for(&exports, &group.members);
        let before = analyse(self.graph, &group.members, &group.exports).ok()?;
        let candidate = self.checked(members, exports, &[tensor.owner])?;
        let is_same_walk = candidate.analysis.domain == before.domain;
        is_same_walk.then_some((tensor.owner, Some(candidate)))
    }
}
