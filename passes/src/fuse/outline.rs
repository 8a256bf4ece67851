//! Making calls and kernels of groups.

use super::contract::kernel_family;
use super::grouping::{Group, group};
use super::name::kernel_name;
use super::reductions::{by_rows, left_whole};
use super::{Epilogues, Fuse};
use crate::manager::PassFailure;
use crate::rebuild::{Rebuild, fused, map_regions};
use indexmap::IndexMap;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use tessera_ir::{
    Definition, Graph, Input, Module, OpError, OpKind, Operation, Symbol, ValueId, Visibility,
};

/// Makes graphs of calls, and collects the kernels they call.
#[derive(Debug)]
pub(super) struct Outliner {
    limits: Fuse,
    /// Kernels without a name, and the name each has got.
    kernels: IndexMap<Graph, String>,
    /// Names that are taken.
    names: HashSet<String>,
    /// The calls made.
    pub(super) launches: usize,
}

/// The largest magnitudes of large tensors that were left for products' kernels to find, and are in none.
fn magnitudes_alone(graph: &Graph, groups: &[Group]) -> BTreeSet<usize> {
    let mut alone = left_whole(graph);
    for group in groups {
        let kind = |&member: &usize| &graph.operations()[member].op.kind;
        if group.members.iter().map(kind).any(OpKind::is_product) {
            alone.retain(|number| !group.members.contains(number));
        }
    }
    alone
}

/// A kernel made of a group.
struct Outlined {
    body: Graph,
    /// What it reads, each after that number of reshapes that need not be in the kernel.
    reads: Vec<ValueId>,
}

impl Outliner {
    /// Starts with the names of a module's graphs taken.
    pub(super) fn new(limits: Fuse, module: &Module) -> Self {
        Self {
            limits,
            kernels: IndexMap::new(),
            names: module.graphs().map(|graph| graph.name.clone()).collect(),
            launches: 0,
        }
    }

    /// How many distinct kernels there are.
    pub(super) fn kernel_count(&self) -> usize {
        self.kernels.len()
    }

    /// The kernels, each under its name.
    pub(super) fn into_kernels(self) -> impl Iterator<Item = Graph> {
        self.kernels.into_iter().map(|(mut kernel, name)| {
            kernel.name = name;
            kernel.visibility = Visibility::Private;
            kernel
        })
    }

    /// The graph with its ops in kernels.
    pub(super) fn graph(&mut self, graph: &Graph) -> Result<Graph, PassFailure> {
        let groups = group(graph, self.limits);
        if self.limits.epilogues == Epilogues::All {
            let alone = magnitudes_alone(graph, &groups);
            if !alone.is_empty() {
                return self.graph(&by_rows(graph, &alone)?);
            }
        }
        let mut rebuild = Rebuild::new(graph);
        for group in groups {
            if group.is_kernel {
                self.launch(&mut rebuild, graph, &group)?;
            } else {
                for &member in &group.members {
                    self.alone(&mut rebuild, graph, &graph.operations()[member])?;
                }
            }
        }
        Ok(rebuild.finish())
    }

    /// Appends an op that is in no kernel.
    fn alone(
        &mut self,
        rebuild: &mut Rebuild<'_>,
        graph: &Graph,
        operation: &Operation,
    ) -> Result<(), PassFailure> {
        let kind = map_regions(&operation.op.kind, |region| self.graph(region))?;
        let OpKind::While { .. } = kind else {
            return Ok(rebuild.copy_as(operation, kind)?);
        };
        // A value that several carried values start from is made for each of them, if it is made of nothing: each can
        // then be made where it is carried, and none is copied.
        let mut seen = HashSet::new();
        let mut operands = Vec::with_capacity(operation.op.operands.len());
        for (number, &operand) in operation.op.operands.iter().enumerate() {
            let is_carried = number < operation.results().len();
            let again = is_carried && !seen.insert(operand);
            operands.push(match again.then(|| fill_of(graph, operand)).flatten() {
                Some(fill) => self.launch_again(rebuild, graph, fill)?,
                None => rebuild.value(operand),
            });
        }
        let id = rebuild
            .graph
            .push(kind, operands, operation.location.clone())?;
        let results: Vec<ValueId> = rebuild.graph.operation(id).results().collect();
        for (old, new) in operation.results().zip(results) {
            rebuild.set(old, new);
        }
        Ok(())
    }

    /// Appends the call of a group's kernel.
    fn launch(
        &mut self,
        rebuild: &mut Rebuild<'_>,
        graph: &Graph,
        group: &Group,
    ) -> Result<(), PassFailure> {
        let values = self.call(rebuild, graph, group)?;
        for (&export, value) in group.exports.iter().zip(values) {
            rebuild.set(export, value);
        }
        Ok(())
    }

    /// Appends the call of a kernel that fills a tensor with one constant.
    fn launch_again(
        &mut self,
        rebuild: &mut Rebuild<'_>,
        graph: &Graph,
        fill: Fill,
    ) -> Result<ValueId, PassFailure> {
        let group = Group::of_fill(fill.members, fill.value);
        Ok(self.call(rebuild, graph, &group)?[0])
    }

    fn call(
        &mut self,
        rebuild: &mut Rebuild<'_>,
        graph: &Graph,
        group: &Group,
    ) -> Result<Vec<ValueId>, PassFailure> {
        let outlined = outline(graph, group)?;
        let mut operands = Vec::with_capacity(outlined.reads.len());
        for &read in &outlined.reads {
            operands.push(value_outside(rebuild, graph, group, read)?);
        }
        let result_types = outlined.body.result_types().cloned().collect();
        let callee = Symbol(self.kernel(outlined.body)?);
        let roots = group
            .exports
            .iter()
            .filter_map(|&export| graph.defining_operation(export));
        let location = fused(roots.map(|operation| &operation.location));
        let kind = OpKind::Call {
            callee,
            result_types,
        };
        let id = rebuild.graph.push(kind, operands, location)?;
        self.launches += 1;
        Ok(rebuild.graph.operation(id).results().collect())
    }

    /// The name of a kernel, which it gets when it is seen for the first time.
    fn kernel(&mut self, body: Graph) -> Result<String, PassFailure> {
        if let Some(name) = self.kernels.get(&body) {
            return Ok(name.clone());
        }
        let family = kernel_family(&body).map_err(|refusal| {
            PassFailure::internal(format!("a kernel that no family allows: {refusal}"))
                .about(body.to_string())
        })?;
        let base = kernel_name(family, &body);
        let numbered = (1..).map(|number| format!("{base}_{number}"));
        let mut candidates = std::iter::once(base.clone()).chain(numbered);
        let name = candidates
            .find(|name| !self.names.contains(name))
            .unwrap_or(base);
        self.names.insert(name.clone());
        self.kernels.insert(body, name.clone());
        Ok(name)
    }
}

/// The value a kernel reads, in the new graph. A reshape that is a member stands outside where it is the first op on what
/// is read: there it costs nothing. So does a constant that a result is written over a copy of.
fn value_outside(
    rebuild: &mut Rebuild<'_>,
    graph: &Graph,
    group: &Group,
    read: ValueId,
) -> Result<ValueId, OpError> {
    match member(graph, group, read) {
        None => Ok(rebuild.value(read)),
        Some(operation) => {
            let operands = rebuild.values(&operation.op.operands);
            let kind = operation.op.kind.clone();
            rebuild
                .graph
                .push_value(kind, operands, operation.location.clone())
        }
    }
}

/// The member of a group that defines a value.
fn member<'g>(graph: &'g Graph, group: &Group, value: ValueId) -> Option<&'g Operation> {
    match graph.definition(value) {
        Definition::Result { op, .. } if group.members.contains(&op.index()) => {
            Some(graph.operation(op))
        }
        _ => None,
    }
}

/// The body of a group's kernel. Inputs and ops stand in the order in which the results come to need them, so that
/// groups that do the same have equal bodies.
fn outline(graph: &Graph, group: &Group) -> Result<Outlined, OpError> {
    let shapes = shapes(graph, group);
    let order = Order::of(graph, group, &shapes);
    let inputs = order
        .reads
        .iter()
        .map(|&read| Input::new(graph.value_type(read).clone()));
    let mut body = Graph::new("", inputs.collect());
    body.visibility = Visibility::Private;
    let mut values: BTreeMap<ValueId, ValueId> = BTreeMap::new();
    for (&read, input) in order.reads.iter().zip(body.input_values()) {
        values.insert(read, input);
    }
    for &number in &order.operations {
        let operation = &graph.operations()[number];
        let operands = ordered_operands(operation, order.shapes);
        let operands: Vec<ValueId> = operands.iter().map(|old| values[old]).collect();
        let location = operation.location.clone();
        let id = body.push(operation.op.kind.clone(), operands, location)?;
        values.extend(operation.results().zip(body.operation(id).results()));
    }
    body.set_result_values(group.exports.iter().map(|export| values[export]));
    Ok(Outlined {
        body,
        reads: order.reads,
    })
}

/// An op with its attributes in words; of its regions, the names of the ops.
fn spelling(kind: &OpKind) -> String {
    let mut text = format!("{} {:?}", kind.name(), kind.attributes());
    for region in kind.regions() {
        for operation in region.operations() {
            text.push(' ');
            text.push_str(operation.op.kind.name());
        }
    }
    text
}

/// What each value of a group is, whatever the values are called that the group reads: a hash over the ops it is made
/// of, as they are written, so that the order it gives does not change when ops are added to the IR.
fn shapes(graph: &Graph, group: &Group) -> BTreeMap<ValueId, u64> {
    let mut hashes: BTreeMap<ValueId, u64> = BTreeMap::new();
    for &number in &group.members {
        let operation = &graph.operations()[number];
        let is_outside = is_outside(graph, group, operation);
        let mut operands: Vec<u64> = Vec::new();
        for &operand in &operation.op.operands {
            let hash = hashes.entry(operand).or_insert_with(|| {
                let mut hasher = DefaultHasher::new();
                graph.value_type(operand).to_string().hash(&mut hasher);
                hasher.finish()
            });
            operands.push(*hash);
        }
        if is_commutative(operation) {
            operands.sort_unstable();
        }
        for (index, value) in operation.results().enumerate() {
            let mut hasher = DefaultHasher::new();
            graph.value_type(value).to_string().hash(&mut hasher);
            if !is_outside {
                (spelling(&operation.op.kind), &operands, index).hash(&mut hasher);
            }
            hashes.insert(value, hasher.finish());
        }
    }
    hashes
}

fn is_commutative(operation: &Operation) -> bool {
    matches!(operation.op.kind, OpKind::Binary(function) if function.is_commutative())
}

/// The operands of an op, those that may change places in the order of what they are.
fn ordered_operands(operation: &Operation, shapes: &BTreeMap<ValueId, u64>) -> Vec<ValueId> {
    let mut operands = operation.op.operands.clone();
    if is_commutative(operation) {
        operands.sort_by_key(|operand| shapes.get(operand));
    }
    operands
}

/// The order in which a group's results come to need values and ops.
struct Order<'s> {
    shapes: &'s BTreeMap<ValueId, u64>,
    reads: Vec<ValueId>,
    operations: Vec<usize>,
    seen: HashSet<ValueId>,
}

impl<'s> Order<'s> {
    fn of(graph: &Graph, group: &Group, shapes: &'s BTreeMap<ValueId, u64>) -> Self {
        let mut order = Self {
            shapes,
            reads: Vec::new(),
            operations: Vec::new(),
            seen: HashSet::new(),
        };
        // Depth first, operands before the op: an op is looked at once to open it and once to close it.
        for &export in &group.exports {
            let mut open = vec![(export, false)];
            while let Some((value, is_done)) = open.pop() {
                order.step(graph, group, value, is_done, &mut open);
            }
        }
        order
    }

    fn step(
        &mut self,
        graph: &Graph,
        group: &Group,
        value: ValueId,
        is_done: bool,
        open: &mut Vec<(ValueId, bool)>,
    ) {
        let operation = member(graph, group, value);
        let inside = operation.filter(|operation| !is_outside(graph, group, operation));
        let Some(operation) = inside else {
            if self.seen.insert(value) {
                self.reads.push(value);
            }
            return;
        };
        if is_done {
            if let Definition::Result { op, .. } = graph.definition(value) {
                self.operations.push(op.index());
            }
        } else if self.seen.insert(operation.result()) {
            open.push((operation.result(), true));
            let operands = ordered_operands(operation, self.shapes);
            open.extend(operands.into_iter().rev().map(|operand| (operand, false)));
        }
    }
}

/// Whether a member is a reshape of what the group reads, or what the largest magnitude of a product begins with.
fn is_outside(graph: &Graph, group: &Group, operation: &Operation) -> bool {
    match operation.op.kind {
        OpKind::Reshape { .. } => member(graph, group, operation.op.operands[0]).is_none(),
        OpKind::Constant { .. } => {
            let members = group.members.iter();
            let mut members = members.map(|&number| &graph.operations()[number]);
            let init = operation.result();
            let begins = |other: &Operation| {
                matches!(other.op.kind, OpKind::Reduce { .. })
                    && other.op.operands.last() == Some(&init)
                    && graph.value_type(other.result()).shape().is_empty()
            };
            members.clone().any(|other| other.op.kind.is_product()) && members.any(begins)
        }
        _ => false,
    }
}

/// A value that is one constant, broadcast.
struct Fill {
    value: ValueId,
    members: Vec<usize>,
}

fn fill_of(graph: &Graph, value: ValueId) -> Option<Fill> {
    let Definition::Result { op: broadcast, .. } = graph.definition(value) else {
        return None;
    };
    let operation = graph.operation(broadcast);
    let OpKind::BroadcastInDim { .. } = operation.op.kind else {
        return None;
    };
    let Definition::Result { op: scalar, .. } = graph.definition(operation.op.operands[0]) else {
        return None;
    };
    matches!(graph.operation(scalar).op.kind, OpKind::Constant { .. }).then(|| Fill {
        value,
        members: vec![scalar.index(), broadcast.index()],
    })
}
