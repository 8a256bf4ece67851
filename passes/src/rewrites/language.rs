//! The e-graph's language: the IR's ops with classes for operands.

use egg::{Id, Language};
use tessera_ir::{Op, OpKind, ValueId};

/// A node of the e-graph.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Node {
    /// A value made outside what is saturated.
    Value(ValueId),
    /// An op with one result, of which the rules know what it computes.
    Op(Op<Id>),
    /// An op that the rules see from outside: a loop, a call, several results. Its kind is the one of that number in
    /// [`Analysis::opaque`](super::analysis::Analysis::opaque).
    Opaque { number: usize, operands: Vec<Id> },
    /// One result of an opaque op.
    Result { index: usize, of: [Id; 1] },
}

/// What nodes are looked up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Head {
    /// A value from outside, an opaque op or its result.
    Boundary,
    /// The name of an op.
    Op(&'static str),
}

impl Language for Node {
    type Discriminant = Head;

    fn discriminant(&self) -> Head {
        match self {
            Self::Op(op) => Head::Op(op.kind.name()),
            Self::Value(_) | Self::Opaque { .. } | Self::Result { .. } => Head::Boundary,
        }
    }

    fn matches(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Value(a), Self::Value(b)) => a == b,
            (Self::Op(a), Self::Op(b)) => a.kind == b.kind && a.operands.len() == b.operands.len(),
            (
                Self::Opaque { number, operands },
                Self::Opaque {
                    number: other_number,
                    operands: other_operands,
                },
            ) => number == other_number && operands.len() == other_operands.len(),
            (Self::Result { index, .. }, Self::Result { index: other, .. }) => index == other,
            _ => false,
        }
    }

    fn children(&self) -> &[Id] {
        match self {
            Self::Value(_) => &[],
            Self::Op(op) => &op.operands,
            Self::Opaque { operands, .. } => operands,
            Self::Result { of, .. } => of,
        }
    }

    fn children_mut(&mut self) -> &mut [Id] {
        match self {
            Self::Value(_) => &mut [],
            Self::Op(op) => &mut op.operands,
            Self::Opaque { operands, .. } => operands,
            Self::Result { of, .. } => of,
        }
    }

    /// The e-graph compares nodes after this alone, so operands of commutative ops come in the order of their classes
    /// here: `x + y` and `y + x` are one node, and no rule is needed that would make two.
    fn update_children<F: FnMut(Id) -> Id>(&mut self, mut f: F) {
        self.children_mut().iter_mut().for_each(|id| *id = f(*id));
        if let Self::Op(Op {
            kind: OpKind::Binary(function),
            operands,
        }) = self
            && function.is_commutative()
        {
            operands.sort_unstable();
        }
    }
}

/// Whether rules look inside an op. The others are compared by a number instead of their kind: a region or a large
/// constant is compared once and not for each node.
pub(super) fn is_opaque(kind: &OpKind) -> bool {
    match kind {
        OpKind::While { .. }
        | OpKind::Case { .. }
        | OpKind::Call { .. }
        | OpKind::Sort { .. }
        | OpKind::Scatter { .. }
        | OpKind::ReduceWindow { .. }
        | OpKind::TopK { .. }
        | OpKind::SubspaceIterate { .. }
        | OpKind::OptimizationBarrier {} => true,
        OpKind::Constant { value } => !value.shape().is_empty(),
        OpKind::Reduce { body, .. } => body.results().len() != 1,
        OpKind::Unary(_)
        | OpKind::Binary(_)
        | OpKind::Compare { .. }
        | OpKind::Select {}
        | OpKind::Clamp {}
        | OpKind::Convert { .. }
        | OpKind::BitcastConvert { .. }
        | OpKind::Iota { .. }
        | OpKind::BroadcastInDim { .. }
        | OpKind::Reshape { .. }
        | OpKind::Transpose { .. }
        | OpKind::Slice { .. }
        | OpKind::DynamicSlice { .. }
        | OpKind::DynamicUpdateSlice {}
        | OpKind::Pad { .. }
        | OpKind::Concatenate { .. }
        | OpKind::Reverse { .. }
        | OpKind::DotGeneral { .. }
        | OpKind::Quantize { .. }
        | OpKind::Dequantize { .. }
        | OpKind::Relayout { .. }
        | OpKind::ScaledDot { .. }
        | OpKind::GroupedDot { .. }
        | OpKind::GroupedScaledDot { .. }
        | OpKind::ColumnMean { .. }
        | OpKind::Hadamard { .. }
        | OpKind::Orthonormalize {}
        | OpKind::Gather { .. } => false,
    }
}
