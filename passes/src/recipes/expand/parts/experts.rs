//! Experts: the products of a batched or grouped linear.

use super::Stack;
use crate::linears::{LinearId, Linears, Role, Side};
use std::fmt;
use tessera_ir::{Graph, Module, OpKind, ValueId};

/// The experts of a linear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Experts {
    /// It is one product, and no batch.
    None,
    /// So many, which can be multiplied apart: each of its products is a batch along one dimension, or is grouped.
    Divisible(usize),
    /// So many, which cannot.
    Whole(usize, WholeReason),
}

/// Why layers or experts cannot be treated apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum WholeReason {
    /// A product is no batch along one dimension, or the batch is of what was gathered.
    Form,
    /// Loops over layers cannot be parted: not all products of the linear run in loops over the same ones.
    Layers,
}

impl fmt::Display for WholeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => "its products are no batches of experts along one dimension",
            Self::Layers => "its products do not all run in loops over the same layers",
        })
    }
}

impl Experts {
    /// Those of a linear, which is of those layers.
    pub fn of(module: &Module, linears: &Linears, id: LinearId, layers: &Stack) -> Self {
        let mut products = linears.products_of(id);
        let forward = products.find(|product| product.role == Role::Forward);
        let Some(forward) = forward.filter(|own| own.dimensions.batch > 1) else {
            return Self::None;
        };
        let count = forward.dimensions.batch;
        if let Stack::Whole(_) = layers {
            return Self::Whole(count, WholeReason::Layers);
        }
        let is_batch = linears.products_of(id).all(|product| {
            let operation = product.place.find(module);
            let has_dimension = match operation.map(|operation| &operation.op.kind) {
                Some(OpKind::GroupedDot { .. }) => true,
                Some(OpKind::DotGeneral {
                    lhs_batching_dimensions,
                    ..
                }) => lhs_batching_dimensions.len() == 1,
                _ => false,
            };
            has_dimension && product.dimensions.batch == count
        });
        let weight = usize::from(forward.rhs == Side::Weight);
        let is_gathered = forward.place.graph_of(module).is_some_and(|graph| {
            let operation = forward.place.find(module);
            operation.is_none_or(|own| is_gathered(graph, own.op.operands[weight]))
        });
        match is_batch && !is_gathered {
            true => Self::Divisible(count),
            false => Self::Whole(count, WholeReason::Form),
        }
    }

    /// How many there are, if it is a batch.
    pub const fn count(self) -> Option<usize> {
        match self {
            Self::None => None,
            Self::Divisible(count) | Self::Whole(count, _) => Some(count),
        }
    }
}

/// Whether rows were chosen on the way to a value.
fn is_gathered(graph: &Graph, value: ValueId) -> bool {
    let mut open = vec![value];
    let mut seen = vec![false; graph.value_count()];
    while let Some(value) = open.pop() {
        if std::mem::replace(&mut seen[value.index()], true) {
            continue;
        }
        if let Some(operation) = graph.defining_operation(value) {
            if matches!(operation.op.kind, OpKind::Gather { .. }) {
                return true;
            }
            open.extend(&operation.op.operands);
        }
    }
    false
}
