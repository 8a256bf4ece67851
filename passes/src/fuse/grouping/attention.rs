//! Which products shall be in no memory: those between which a softmax stands.
//!
//! From each maximum along rows, the scores are found that it is of, then all that is made of them by elementwise ops, in
//! forward and backward, other scores that these meet among them. Where all of it ends in sums of rows and products, each
//! of those becomes a kernel that makes the scores again, a tile at a time.

use super::{Group, Grouping, Role, role};
use crate::fuse::attention::is_softmax;
use crate::fuse::contract::analyse;
use crate::fuse::cost::operations_per_byte;
use std::collections::{BTreeMap, BTreeSet};
use tessera_ir::plan::Family;
use tessera_ir::{Definition, ElementType, OpKind, Operation, ValueId};

/// Scores and what is made of them.
#[derive(Debug, Default)]
struct Region {
    shape: Vec<usize>,
    /// The numbers of the ops that make scores.
    scores: BTreeSet<usize>,
    /// Those of elementwise ops on them.
    weights: BTreeSet<usize>,
    /// Those of ops that reduce their rows.
    reductions: BTreeSet<usize>,
    /// Those of ops that multiply weights.
    products: BTreeSet<usize>,
}

/// Scores that have to be in memory all the same.
struct Written;

impl Grouping<'_> {
    /// Makes the kernels of all attentions whose scores need not be in memory.
    pub(super) fn attend(&mut self) {
        let mut seen: BTreeSet<usize> = BTreeSet::new();
        for number in 0..self.graph.operations().len() {
            if seen.contains(&number) || !self.is_of_rows(number) {
                continue;
            }
            let Some(score) = self.score_of(self.operation(number).op.operands[0]) else {
                continue;
            };
            let Ok(region) = self.region(score) else {
                continue;
            };
            seen.extend(&region.reductions);
            if let Some(groups) = self.attention_groups(&region) {
                self.preset
                    .extend(groups.iter().flat_map(|group| &group.exports));
                for group in groups {
                    self.insert(group);
                }
            }
        }
    }

    /// Whether an op reduces one tensor along its last dimension.
    fn is_of_rows(&self, number: usize) -> bool {
        let operation = self.operation(number);
        match &operation.op.kind {
            OpKind::Reduce { dimensions, .. } => {
                let rank = self.graph.tensor_type(operation.op.operands[0]).rank();
                operation.op.operands.len() == 2 && rank > 1 && dimensions[..] == [rank - 1]
            }
            _ => false,
        }
    }

    /// A product that a value is made of by elementwise ops of its shape.
    fn score_of(&self, value: ValueId) -> Option<usize> {
        let shape = self.graph.value_type(value).shape();
        let mut seen = BTreeSet::new();
        let mut open = vec![value];
        while let Some(value) = open.pop() {
            let Definition::Result { op, .. } = self.graph.definition(value) else {
                continue;
            };
            let operation = self.graph.operation(op);
            if !seen.insert(op.index()) || self.graph.value_type(value).shape() != shape {
                continue;
            }
            match &operation.op.kind {
                OpKind::DotGeneral { .. } => return Some(op.index()),
                kind if kind.is_elementwise() => open.extend(&operation.op.operands),
                _ => {}
            }
        }
        None
    }

    /// All that is made of a product elementwise, up to where it is reduced and multiplied.
    fn region(&self, score: usize) -> Result<Region, Written> {
        let mut region = Region {
            shape: self
                .graph
                .value_type(self.operation(score).result())
                .shape()
                .to_vec(),
            ..Region::default()
        };
        let mut open = vec![score];
        while let Some(number) = open.pop() {
            let operation = self.operation(number);
            let is_new = match operation.op.kind {
                OpKind::DotGeneral { .. } => region.scores.insert(number),
                _ => region.weights.insert(number),
            };
            if !is_new {
                continue;
            }
            let value = operation.result();
            if self.is_result[value.index()] {
                return Err(Written);
            }
            // What it is made of, for weights: other scores, and weights of these.
            if !matches!(operation.op.kind, OpKind::DotGeneral { .. }) {
                let operands = operation.op.operands.iter();
                open.extend(
                    operands.filter_map(|&operand| self.maker_of_weights(operand, &region)),
                );
            }
            for &user in self.users.get(&value).into_iter().flatten() {
                let kind = &self.operation(user).op.kind;
                match kind {
                    OpKind::DotGeneral { .. } => drop(region.products.insert(user)),
                    OpKind::Reduce { .. } if self.is_of_rows(user) => {
                        region.reductions.insert(user);
                    }
                    kind if kind.is_elementwise() => open.push(user),
                    _ => return Err(Written),
                }
            }
        }
        Ok(region)
    }

    /// The op that makes a value of a region's shape, if it is of scores.
    fn maker_of_weights(&self, value: ValueId, region: &Region) -> Option<usize> {
        let Definition::Result { op, .. } = self.graph.definition(value) else {
            return None;
        };
        let is_of_shape = self.graph.value_type(value).shape() == region.shape;
        (is_of_shape && self.score_of(value).is_some()).then_some(op.index())
    }

    /// The kernels of a region, if its scores need not be in memory and that is worth it. Of f64 tiles of several scores are
    /// more than the shared memory of some GPUs.
    fn attention_groups(&self, region: &Region) -> Option<Vec<Group>> {
        let mut made = region.scores.iter().chain(&region.weights);
        let is_f64 = |&number: &usize| {
            let result = self.operation(number).result();
            self.graph.tensor_type(result).element == ElementType::F64
        };
        if made.any(is_f64) {
            return None;
        }
        let mut groups = Vec::new();
        let mut reductions = region.reductions.iter().copied().peekable();
        while let Some(number) = reductions.next() {
            let pair = reductions.peek().map(|&next| [number, next]);
            match pair.filter(|&pair| is_softmax(self.graph, pair)) {
                Some(pair) => {
                    reductions.next();
                    groups.push(self.attention_group(region, &pair)?);
                }
                None => groups.push(self.attention_group(region, &[number])?),
            }
        }
        for &number in &region.products {
            groups.push(self.attention_group(region, &[number])?);
        }
        self.is_worth_repeating_scores(region, &groups)
            .then_some(groups)
    }

    /// The kernel that ends with some ops.
    fn attention_group(&self, region: &Region, ends: &[usize]) -> Option<Group> {
        let mut members: BTreeSet<usize> = ends.iter().copied().collect();
        let mut open: Vec<usize> = ends.to_vec();
        while let Some(number) = open.pop() {
            for &operand in &self.operation(number).op.operands {
                let Definition::Result { op, .. } = self.graph.definition(operand) else {
                    continue;
                };
                let is_member = self.is_in_attention(region, number, op.index());
                if is_member && members.insert(op.index()) {
                    open.push(op.index());
                }
            }
        }
        let mut exports: BTreeSet<ValueId> = BTreeSet::new();
        for &end in ends {
            let mut result = self.operation(end).result();
            while let Some(transpose) = self.only_transposed(result) {
                members.insert(transpose);
                result = self.operation(transpose).result();
            }
            exports.insert(result);
        }
        let within = members.len() <= self.limits.max_ops;
        let reads = self.reads(&members);
        let family = analyse(self.graph, &members, &exports).ok()?.family;
        let is_allowed = within && reads.len() <= self.limits.max_operands;
        (is_allowed && family == Family::Attention).then_some(Group {
            is_kernel: true,
            members,
            exports,
            reads,
        })
    }

    /// Whether an op is computed where a tile of scores is, for one that is: scores, weights, how factors lie, and for
    /// weights what costs nothing or is made of nothing.
    fn is_in_attention(&self, region: &Region, user: usize, number: usize) -> bool {
        let kind = &self.operation(number).op.kind;
        let is_movement = matches!(kind, OpKind::Transpose { .. } | OpKind::Reshape { .. });
        let user = &self.operation(user).op.kind;
        let user_moves = matches!(user, OpKind::Transpose { .. } | OpKind::Reshape { .. });
        region.scores.contains(&number)
            || region.weights.contains(&number)
            || match user {
                OpKind::DotGeneral { .. } => is_movement,
                _ if user_moves => is_movement,
                _ => matches!(role(kind), Role::Anywhere { .. }) || self.is_made_of_nothing(number),
            }
    }

    /// Whether an op is elementwise of constants and indices.
    fn is_made_of_nothing(&self, number: usize) -> bool {
        let operation = self.operation(number);
        let mut operands = operation.op.operands.iter();
        match &operation.op.kind {
            OpKind::Constant { value } => value.shape().is_empty(),
            OpKind::Iota { .. } => true,
            kind if kind.is_elementwise() || matches!(kind, OpKind::BroadcastInDim { .. }) => {
                operands.all(|&operand| match self.graph.definition(operand) {
                    Definition::Result { op, .. } => self.is_made_of_nothing(op.index()),
                    Definition::Input(_) => false,
                })
            }
            _ => false,
        }
    }

    /// The op that transposes a value, where that is all that is done with it.
    fn only_transposed(&self, value: ValueId) -> Option<usize> {
        match self.users.get(&value).map(Vec::as_slice) {
            Some(&[user]) if !self.is_result[value.index()] => {
                matches!(self.operation(user).op.kind, OpKind::Transpose { .. }).then_some(user)
            }
            _ => None,
        }
    }

    /// Whether making scores again in each kernel takes less time than writing and reading them and what is made of them.
    fn is_worth_repeating_scores(&self, region: &Region, groups: &[Group]) -> bool {
        let elements = |value: ValueId| count(self.graph.value_type(value).shape());
        let bytes = |value: ValueId| self.graph.value_type(value).byte_size() as u64;
        let mut repeated = 0;
        let mut saved = 0;
        for &score in &region.scores {
            let operation = self.operation(score);
            let computing = groups.iter().filter(|group| group.members.contains(&score));
            let more = (computing.count() as u64).saturating_sub(1);
            let [lhs, rhs] = [0, 1].map(|n| self.graph.tensor_type(operation.op.operands[n]));
            let is_half = |e| matches!(e, ElementType::F16 | ElementType::Bf16);
            let unit = operations_per_byte(is_half(lhs.element) && is_half(rhs.element));
            let result = operation.result();
            repeated += 2 * contracted(operation, &lhs.shape) * elements(result) * more / unit;
            saved += 2 * bytes(result);
        }
        // Weights that are multiplied are written once, and read by each product.
        let mut multiplied: BTreeMap<ValueId, u64> = BTreeMap::new();
        for &product in &region.products {
            for &operand in &self.operation(product).op.operands {
                if self.maker_of_weights(operand, region).is_some() {
                    *multiplied.entry(operand).or_default() += 1;
                }
            }
        }
        let moved = multiplied
            .iter()
            .map(|(&value, uses)| bytes(value) * (1 + uses));
        repeated <= saved + moved.sum::<u64>()
    }
}

/// How many products of numbers an element of a dot_general is the sum of.
fn contracted(operation: &Operation, lhs: &[usize]) -> u64 {
    match &operation.op.kind {
        OpKind::DotGeneral {
            lhs_contracting_dimensions,
            ..
        } => (lhs_contracting_dimensions.iter())
            .map(|&d| lhs[d] as u64)
            .product(),
        _ => 0,
    }
}

fn count(shape: &[usize]) -> u64 {
    shape.iter().map(|&size| size as u64).product()
}
