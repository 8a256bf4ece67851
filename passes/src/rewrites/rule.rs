//! What a rule is, and how the e-graph applies it.

use super::analysis::{Analysis, EGraph, result_types};
use super::language::{Head, Node};
use egg::{Applier, Id, SearchMatches, Searcher, Subst, Symbol, Var};
use std::fmt;
use tessera_ir::{Op, OpKind, Tensor, TensorType, Type};
use tessera_numerics::ScaledType;

/// What a rule may do to the bits of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NumericClass {
    /// Nothing, but for the sign and payload of NaNs: every element comes from the same operations in the same order.
    Exact,
    /// Equal in real arithmetic. Sums and products are taken in another order or number, so roundings of sums and
    /// products differ, and so may the sign of a zero. What is rounded on purpose, by `quantize` and `convert`, stays.
    Reassociating,
}

impl NumericClass {
    /// The spelling in options and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Reassociating => "reassociating",
        }
    }
}

impl fmt::Display for NumericClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A rule: what else an op is equal to.
///
/// It is directed and legal by construction: asked about one op of one class, it adds what that is equal to. What it
/// needs to know of operands it takes from their classes, so every equality found so far counts.
#[derive(Clone, Copy)]
pub struct Rule {
    /// The name, under which applications are counted.
    pub name: &'static str,
    /// What it may do to the bits.
    pub numerics: NumericClass,
    /// The equality, in one line.
    pub equality: &'static str,
    /// The names of the ops it is asked about; none stand for all elementwise ops.
    pub(super) heads: &'static [&'static str],
    /// The values that the op is equal to, added to the e-graph.
    pub(super) apply: fn(&mut Terms<'_>, &Op<Id>) -> Option<Vec<Id>>,
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.name, self.numerics, self.equality)
    }
}

/// The e-graph as rules see it.
pub(super) struct Terms<'a> {
    egraph: &'a mut EGraph,
}

impl Terms<'_> {
    /// The type of a value.
    pub(super) fn value_type(&self, id: Id) -> &Type {
        self.egraph[id].data.value_type()
    }

    /// The type of a value that is a tensor.
    pub(super) fn tensor(&self, id: Id) -> Option<&TensorType> {
        self.value_type(id).as_tensor()
    }

    /// The shape of a tensor or scaled tensor.
    pub(super) fn shape(&self, id: Id) -> &[usize] {
        self.value_type(id).shape()
    }

    /// The number that all elements of a value are.
    pub(super) fn splat(&self, id: Id) -> Option<&Tensor> {
        self.egraph[id].data.splat.as_ref()
    }

    /// What `find` makes of each op that a value is equal to, in the e-graph's order.
    pub(super) fn ops<T>(&self, id: Id, mut find: impl FnMut(&Op<Id>) -> Option<T>) -> Vec<T> {
        let nodes = self.egraph[id].nodes.iter();
        let ops = nodes.filter_map(|node| match node {
            Node::Op(op) => Some(op),
            Node::Value(_) | Node::Opaque { .. } | Node::Result { .. } => None,
        });
        ops.filter_map(&mut find).collect()
    }

    /// Whether two values are known to be equal.
    pub(super) fn same(&self, a: Id, b: Id) -> bool {
        self.egraph.find(a) == self.egraph.find(b)
    }

    /// A value that is there already, if it is.
    pub(super) fn known(&self, kind: OpKind, operands: &[Id]) -> Option<Id> {
        let operands = operands.to_vec();
        self.egraph.lookup(Node::Op(Op { kind, operands }))
    }

    /// Adds an op; `None` where there is no such op on such operands, or it would be larger than memory.
    pub(super) fn add(&mut self, kind: OpKind, operands: &[Id]) -> Option<Id> {
        result_types(self.egraph, &kind, operands).ok()?;
        let operands = operands.to_vec();
        Some(self.egraph.add(Node::Op(Op { kind, operands })))
    }

    /// A value under another shape.
    pub(super) fn reshape(&mut self, id: Id, shape: &[usize]) -> Option<Id> {
        if self.shape(id) == shape {
            return Some(id);
        }
        let shape = shape.to_vec();
        self.add(OpKind::Reshape { shape }, &[id])
    }

    /// A value with its dimensions in another order.
    pub(super) fn transpose(&mut self, id: Id, permutation: &[usize]) -> Option<Id> {
        if permutation.is_sorted() {
            return Some(id);
        }
        let permutation = permutation.to_vec();
        self.add(OpKind::Transpose { permutation }, &[id])
    }

    /// A value repeated; its dimension `i` becomes `dimensions[i]` of the shape.
    pub(super) fn broadcast(
        &mut self,
        id: Id,
        dimensions: &[usize],
        shape: &[usize],
    ) -> Option<Id> {
        if self.shape(id) == shape && dimensions.is_sorted() {
            return Some(id);
        }
        let kind = OpKind::BroadcastInDim {
            broadcast_dimensions: dimensions.to_vec(),
            shape: shape.to_vec(),
        };
        self.add(kind, &[id])
    }

    /// A value in another element type.
    pub(super) fn convert(&mut self, id: Id, element: tessera_ir::ElementType) -> Option<Id> {
        if self.tensor(id)?.element == element {
            return Some(id);
        }
        self.add(OpKind::Convert { element }, &[id])
    }

    /// The type of a value that is a scaled tensor.
    pub(super) fn scaled(&self, id: Id) -> Option<&ScaledType> {
        self.value_type(id).as_scaled()
    }
}

/// A rule as egg's searcher and applier: the searcher finds the classes that hold an op of the rule's heads, the applier
/// asks the rule about each of these ops.
#[derive(Clone)]
struct Application {
    number: usize,
    rule: Rule,
}

/// The rule of that number as a rewrite of the e-graph.
pub(super) fn rewrite(number: usize, rule: Rule) -> egg::Rewrite<Node, Analysis> {
    let application = Application { number, rule };
    egg::Rewrite::new(rule.name, application.clone(), application)
        .expect("a rule without variables binds all it uses")
}

impl Application {
    fn is_asked(&self, node: &Node) -> bool {
        match node {
            Node::Op(op) if self.rule.heads.is_empty() => op.kind.is_elementwise(),
            Node::Op(op) => self.rule.heads.contains(&op.kind.name()),
            Node::Value(_) | Node::Opaque { .. } | Node::Result { .. } => false,
        }
    }
}

impl Searcher<Node, Analysis> for Application {
    fn search_eclass_with_limit(
        &self,
        egraph: &EGraph,
        eclass: Id,
        _: usize,
    ) -> Option<SearchMatches<'_, Node>> {
        let asked = egraph[eclass].nodes.iter().any(|node| self.is_asked(node));
        asked.then(|| SearchMatches {
            eclass,
            substs: vec![Subst::default()],
            ast: None,
        })
    }

    fn search_with_limit(&self, egraph: &EGraph, limit: usize) -> Vec<SearchMatches<'_, Node>> {
        let mut classes: Vec<Id> = if self.rule.heads.is_empty() {
            egraph.classes().map(|class| class.id).collect()
        } else {
            let heads = self.rule.heads.iter();
            heads
                .filter_map(|head| egraph.classes_for_op(&Head::Op(head)))
                .flatten()
                .collect()
        };
        classes.sort_unstable();
        classes.dedup();
        let matches = classes.into_iter();
        matches
            .filter_map(|class| self.search_eclass_with_limit(egraph, class, limit))
            .collect()
    }

    fn vars(&self) -> Vec<Var> {
        Vec::new()
    }
}

impl Applier<Node, Analysis> for Application {
    fn apply_one(
        &self,
        egraph: &mut EGraph,
        eclass: Id,
        _: &Subst,
        _: Option<&egg::PatternAst<Node>>,
        _: Symbol,
    ) -> Vec<Id> {
        let nodes = egraph[eclass].nodes.iter();
        let ops: Vec<Op<Id>> = nodes
            .filter(|node| self.is_asked(node))
            .filter_map(|node| match node {
                Node::Op(op) => Some(op.clone()),
                Node::Value(_) | Node::Opaque { .. } | Node::Result { .. } => None,
            })
            .collect();
        egraph.analysis.rule = Some(self.number);
        egraph.analysis.place = egraph[eclass].data.place;
        let mut changed = Vec::new();
        for op in ops {
            let equal = (self.rule.apply)(&mut Terms { egraph }, &op);
            for id in equal.into_iter().flatten() {
                if egraph.union(eclass, id) {
                    changed.push(id);
                }
            }
        }
        changed
    }
}
