//! What is known of each class: its type, its number where all elements are one, the place it comes from.

use super::language::Node;
use egg::{DidMerge, Id};
use indexmap::IndexMap;
use tessera_ir::{OpKind, Tensor, Type, ValueId, infer};

pub(super) type EGraph = egg::EGraph<Node, Analysis>;

/// Facts about one class.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// The types of its values: one, but for an opaque op with several results.
    pub(super) types: Vec<Type>,
    /// The scalar that all elements are.
    pub(super) splat: Option<Tensor>,
    /// The number of the first source operation that the class stands for or was made for; it gives the location.
    pub(super) place: usize,
}

impl Facts {
    pub(super) fn value_type(&self) -> &Type {
        &self.types[0]
    }
}

/// What nodes are made from.
#[derive(Debug, Default)]
pub(super) struct Analysis {
    /// The kinds of opaque ops, by number.
    pub(super) opaque: Vec<OpKind>,
    /// The numbers of opaque kinds that may be merged.
    numbers: IndexMap<OpKind, usize>,
    /// The types of values from outside.
    pub(super) values: IndexMap<ValueId, Type>,
    /// The source operation that nodes are being made for.
    pub(super) place: usize,
    /// The rule that makes nodes now, by number; `None` for the source's own.
    pub(super) rule: Option<usize>,
    /// Each node made with the rule that made it, in order.
    pub(super) made: Vec<(Node, Option<usize>)>,
}

impl Analysis {
    /// The number of an opaque kind. Barriers are never merged, so each has its own.
    pub(super) fn number(&mut self, kind: OpKind) -> usize {
        let next = self.opaque.len();
        if let OpKind::OptimizationBarrier {} = kind {
            self.opaque.push(kind);
            return next;
        }
        let number = *self.numbers.entry(kind.clone()).or_insert(next);
        if number == next {
            self.opaque.push(kind);
        }
        number
    }
}

/// The types of an op's results on classes.
pub(super) fn result_types(
    egraph: &EGraph,
    kind: &OpKind,
    operands: &[Id],
) -> Result<Vec<Type>, tessera_ir::OpError> {
    let types: Vec<&Type> = operands
        .iter()
        .map(|&operand| egraph[operand].data.value_type())
        .collect();
    infer(kind, &types)
}

impl egg::Analysis<Node> for Analysis {
    type Data = Facts;

    fn make(egraph: &mut EGraph, node: &Node, _: Id) -> Facts {
        let valid = "ops are added after their types were inferred";
        let types = match node {
            Node::Value(value) => vec![egraph.analysis.values[value].clone()],
            Node::Op(op) => result_types(egraph, &op.kind, &op.operands).expect(valid),
            Node::Opaque { number, operands } => {
                result_types(egraph, &egraph.analysis.opaque[*number], operands).expect(valid)
            }
            Node::Result { index, of } => vec![egraph[of[0]].data.types[*index].clone()],
        };
        let splat = match node {
            Node::Op(op) => match &op.kind {
                OpKind::Constant { value } if value.shape().is_empty() => Some(value.clone()),
                OpKind::BroadcastInDim { .. }
                | OpKind::Reshape { .. }
                | OpKind::Transpose { .. }
                | OpKind::Slice { .. } => egraph[op.operands[0]].data.splat.clone(),
                _ => None,
            },
            Node::Value(_) | Node::Opaque { .. } | Node::Result { .. } => None,
        };
        let made = (node.clone(), egraph.analysis.rule);
        egraph.analysis.made.push(made);
        Facts {
            types,
            splat,
            place: egraph.analysis.place,
        }
    }

    /// Equal values have equal types: what merges others is a rule that is wrong.
    fn merge(&mut self, a: &mut Facts, b: Facts) -> DidMerge {
        assert_eq!(a.types, b.types, "a rule merged values of different types");
        let place = a.place.min(b.place);
        let from_b = (a.splat.is_none() && b.splat.is_some()) || place != a.place;
        let from_a = (b.splat.is_none() && a.splat.is_some()) || place != b.place;
        a.splat = a.splat.take().or(b.splat);
        a.place = place;
        DidMerge(from_b, from_a)
    }
}
