//! Building a graph op by op, each simplified before it is appended.

use super::{control, dot, elementwise, fold, movement, reduction};
use crate::manager::Report;
use crate::rebuild::map_regions;
use std::collections::HashMap;
use tessera_ir::{
    Graph, GraphResult, Location, Op, OpError, OpId, OpKind, Region, Tensor, TensorType, ValueId,
};

/// What the rules may cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The elements of a constant made by evaluating an op.
    pub(super) fold_elements: usize,
}

/// A rule: the values that an op's results are equal to, or `None` where the rule does not apply.
pub(super) struct Rule {
    /// The name under which uses are counted.
    pub(super) name: &'static str,
    /// Tries it.
    pub(super) apply: fn(&mut Simplifier<'_>, &Candidate<'_>) -> Applied,
}

/// What a rule gives.
pub(super) type Applied = Result<Option<Vec<ValueId>>, OpError>;

/// An op that is about to be built.
#[derive(Debug)]
pub(super) struct Candidate<'a> {
    pub(super) kind: &'a OpKind,
    pub(super) operands: &'a [ValueId],
    pub(super) results: &'a [TensorType],
    pub(super) location: &'a Location,
}

/// The rules, in the order in which they are tried.
const RULES: &[&[Rule]] = &[
    elementwise::RULES,
    movement::RULES,
    reduction::RULES,
    dot::RULES,
    control::RULES,
    fold::RULES,
];

/// How many rules may build ops for each other before one is left as it is; the next iteration goes on with it. Far more
/// than rules that lead somewhere need.
const MAX_DEPTH: usize = 64;

/// A graph being built of simplified ops.
pub(super) struct Simplifier<'r> {
    pub(super) graph: Graph,
    /// Ops already built, for those that may be merged.
    known: HashMap<Op<ValueId>, OpId>,
    /// How often the source graph uses what has become each value.
    uses: HashMap<ValueId, usize>,
    /// `None` where ops are only merged.
    pub(super) limits: Option<Limits>,
    /// How many rules are building ops for each other.
    depth: usize,
    report: &'r mut Report,
}

impl<'r> Simplifier<'r> {
    /// The graph with each op simplified, or with equal ops merged only where there are no limits.
    pub(super) fn simplify(
        source: &Graph,
        limits: Option<Limits>,
        report: &'r mut Report,
    ) -> Result<Graph, OpError> {
        let mut graph = Graph::new(source.name.clone(), source.inputs().to_vec());
        graph.visibility = source.visibility;
        graph.location = source.location.clone();
        let mut simplifier = Simplifier {
            graph,
            known: HashMap::new(),
            uses: HashMap::new(),
            limits,
            depth: 0,
            report,
        };
        let use_counts = source.use_counts();
        let mut values: Vec<ValueId> = source.input_values().collect();
        for operation in source.operations() {
            let operands = operation.op.operands.iter();
            let operands: Vec<_> = operands.map(|old| values[old.index()]).collect();
            let kind = map_regions(&operation.op.kind, |region| {
                Simplifier::simplify(region, limits, &mut *simplifier.report)
            })?;
            let results = simplifier.emit(kind, operands, &operation.location)?;
            for (old, &new) in operation.results().zip(&results) {
                *simplifier.uses.entry(new).or_default() += use_counts[old.index()];
            }
            values.extend(results);
        }
        let results = source.results().iter().map(|result| GraphResult {
            value: values[result.value.index()],
            name: result.name.clone(),
        });
        simplifier.graph.set_results(results.collect());
        Ok(simplifier.graph)
    }

    /// The results of an op, simplified.
    pub(super) fn emit(
        &mut self,
        kind: OpKind,
        operands: Vec<ValueId>,
        location: &Location,
    ) -> Result<Vec<ValueId>, OpError> {
        let mut kind = kind;
        let mut operands = operands;
        normalise(&mut kind, &mut operands, &self.graph);
        let key = Op { kind, operands };
        if let Some(&id) = self.known.get(&key) {
            return Ok(self.graph.operation(id).results().collect());
        }
        let Op { kind, operands } = &key;
        if self.limits.is_some() && self.depth < MAX_DEPTH {
            let types: Vec<_> = operands.iter().map(|&o| self.graph.value_type(o)).collect();
            let results = tessera_ir::infer(kind, &types)?;
            // The rules speak of tensors.
            let results: Option<Vec<TensorType>> = (types.iter().copied())
                .all(|operand| operand.as_tensor().is_some())
                .then(|| results.iter().map(|r| r.as_tensor().cloned()).collect())
                .flatten();
            let candidate = results.as_ref().map(|results| Candidate {
                kind,
                operands,
                results,
                location,
            });
            let rules = RULES.iter().copied().flatten();
            for (rule, candidate) in rules.zip(candidate.iter().cycle()) {
                self.depth += 1;
                let applied = (rule.apply)(self, candidate);
                self.depth -= 1;
                if let Some(values) = applied? {
                    self.report.count(rule.name, 1);
                    return Ok(values);
                }
            }
        }
        let id = self
            .graph
            .push(kind.clone(), operands.clone(), location.clone())?;
        let results = self.graph.operation(id).results().collect();
        if may_be_merged(&key.kind) {
            self.known.insert(key, id);
        }
        Ok(results)
    }

    /// The result of an op that has one, simplified.
    pub(super) fn emit_value(
        &mut self,
        kind: OpKind,
        operands: impl Into<Vec<ValueId>>,
        location: &Location,
    ) -> Result<ValueId, OpError> {
        Ok(self.emit(kind, operands.into(), location)?[0])
    }

    /// A constant; where all its elements are one, that one broadcast.
    pub(super) fn constant(
        &mut self,
        value: Tensor,
        location: &Location,
    ) -> Result<ValueId, OpError> {
        self.emit_value(OpKind::Constant { value }, [], location)
    }

    /// A value under another shape.
    pub(super) fn reshape(
        &mut self,
        value: ValueId,
        shape: &[usize],
        location: &Location,
    ) -> Result<ValueId, OpError> {
        let shape = shape.to_vec();
        self.emit_value(OpKind::Reshape { shape }, [value], location)
    }

    /// A value broadcast; dimension `i` becomes `dimensions[i]` of the shape.
    pub(super) fn broadcast(
        &mut self,
        value: ValueId,
        dimensions: &[usize],
        shape: &[usize],
        location: &Location,
    ) -> Result<ValueId, OpError> {
        let kind = OpKind::BroadcastInDim {
            broadcast_dimensions: dimensions.to_vec(),
            shape: shape.to_vec(),
        };
        self.emit_value(kind, [value], location)
    }

    /// The type of a value that is a tensor, as all operands of a candidate are.
    pub(super) fn tensor_type(&self, value: ValueId) -> &TensorType {
        self.graph.tensor_type(value)
    }

    /// The shape of a value.
    pub(super) fn shape(&self, value: ValueId) -> &[usize] {
        &self.graph.tensor_type(value).shape
    }

    /// The op that defines a value, with its operands; `None` for an input.
    pub(super) fn definition(&self, value: ValueId) -> Option<&Op<ValueId>> {
        self.graph.defining_operation(value).map(|o| &o.op)
    }

    /// Whether one op of the source graph, or one of its results, is all that uses a value.
    pub(super) fn is_used_once(&self, value: ValueId) -> bool {
        self.uses.get(&value) == Some(&1)
    }

    /// Simplifies a region that a rule has made.
    pub(super) fn region(&mut self, region: &Graph) -> Result<Region, OpError> {
        Simplifier::simplify(region, self.limits, self.report).map(Region::new)
    }
}

/// Writes an op in the one of several equal ways that others are compared with: the constant, else the later value, of
/// a commutative op on the right.
fn normalise(kind: &mut OpKind, operands: &mut [ValueId], graph: &Graph) {
    let OpKind::Binary(function) = kind else {
        return;
    };
    if !function.is_commutative() {
        return;
    }
    let key = |value: ValueId| (super::facts::splat(graph, value).is_some(), value);
    if key(operands[0]) > key(operands[1]) {
        operands.swap(0, 1);
    }
}

/// Whether two such ops on the same operands may become one.
fn may_be_merged(kind: &OpKind) -> bool {
    !matches!(kind, OpKind::OptimizationBarrier {})
}
