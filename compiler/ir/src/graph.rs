//! Graphs and modules: ops in SSA form, in an order in which operands stand before their uses.

mod rebuild;

use crate::rules::{self, OpError};
use crate::{Binary, Location, Op, OpKind, TensorType, Type};
use indexmap::IndexMap;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;
use tessera_numerics::Initialiser;

/// A value of a graph: an input or one result of an op. Ids count from 0: first the inputs, then results in op order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(u32);

/// An operation of a graph. Ids count from 0 in the graph's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(u32);

impl ValueId {
    /// The position among the graph's values.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl OpId {
    /// The position in the graph's order.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What defines a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Definition {
    /// The graph's input of that number.
    Input(usize),
    /// A result of an operation.
    Result {
        /// The operation.
        op: OpId,
        /// Which of its results.
        index: usize,
    },
}

/// A graph's input.
#[derive(Clone, Debug)]
pub struct Input {
    /// The type of the value.
    pub value_type: Type,
    /// The name the user knows it by, where the front end gave one.
    pub name: Option<String>,
    /// The number of the result that takes over this input's memory: the caller gives the input away.
    pub donate: Option<usize>,
    /// How the value begins where the caller gives none: state that a pass added to the caller's.
    pub initialiser: Option<Initialiser>,
    /// Where it comes from.
    pub location: Location,
}

impl Input {
    /// An input with a type and nothing else.
    pub fn new(value_type: impl Into<Type>) -> Self {
        Self {
            value_type: value_type.into(),
            name: None,
            donate: None,
            initialiser: None,
            location: Location::Unknown,
        }
    }

    /// The same with a name.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The same, its memory given to the result of that number.
    #[must_use]
    pub fn donated_to(mut self, result: usize) -> Self {
        self.donate = Some(result);
        self
    }

    /// The same, beginning as the initialiser says where the caller gives no value.
    #[must_use]
    pub fn initialised(mut self, initialiser: Initialiser) -> Self {
        self.initialiser = Some(initialiser);
        self
    }

    /// The same from a place.
    #[must_use]
    pub fn located(mut self, location: Location) -> Self {
        self.location = location;
        self
    }
}

/// A graph's result.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GraphResult {
    /// The value given back.
    pub value: ValueId,
    /// The name the user knows it by, where the front end gave one.
    pub name: Option<String>,
}

impl From<ValueId> for GraphResult {
    fn from(value: ValueId) -> Self {
        Self { value, name: None }
    }
}

impl<N: Into<String>> From<(N, ValueId)> for GraphResult {
    fn from((name, value): (N, ValueId)) -> Self {
        Self {
            value,
            name: Some(name.into()),
        }
    }
}

/// An op in its graph.
#[derive(Clone, Debug)]
pub struct Operation {
    /// What is computed, and from which values.
    pub op: Op<ValueId>,
    first_result: u32,
    result_count: u32,
    /// Where it comes from.
    pub location: Location,
}

impl Operation {
    /// The values it defines.
    pub fn results(&self) -> impl ExactSizeIterator<Item = ValueId> + Clone + use<> {
        (self.first_result..self.first_result + self.result_count).map(ValueId)
    }

    /// Its first result: the only one, for most ops.
    pub fn result(&self) -> ValueId {
        ValueId(self.first_result)
    }
}

/// Who may call a graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Visibility {
    /// Who runs the module, and the module's graphs.
    #[default]
    Public,
    /// The module's graphs only.
    Private,
}

/// A function: typed inputs, ops, results.
///
/// Two graphs are equal when they compute the same by the same ops in the same order; locations do not count.
#[derive(Clone, Debug)]
pub struct Graph {
    /// The name in the module; empty in a region.
    pub name: String,
    /// Who may call it.
    pub visibility: Visibility,
    /// Where it comes from.
    pub location: Location,
    inputs: Vec<Input>,
    operations: Vec<Operation>,
    types: Vec<Type>,
    definitions: Vec<Definition>,
    results: Vec<GraphResult>,
}

impl Graph {
    /// A graph with these inputs, without ops and results yet.
    pub fn new(name: impl Into<String>, inputs: Vec<Input>) -> Self {
        let types = inputs.iter().map(|i| i.value_type.clone()).collect();
        let definitions = (0..inputs.len()).map(Definition::Input).collect();
        Self {
            name: name.into(),
            visibility: Visibility::Public,
            location: Location::Unknown,
            inputs,
            operations: Vec::new(),
            types,
            definitions,
            results: Vec::new(),
        }
    }

    /// Appends an op; its result types follow from the op and the operands' types.
    ///
    /// # Errors
    /// An operand is not a value of this graph, or the op breaks one of its constraints.
    pub fn push(
        &mut self,
        kind: OpKind,
        operands: impl Into<Vec<ValueId>>,
        location: Location,
    ) -> Result<OpId, OpError> {
        let operands = operands.into();
        let mut operand_types = Vec::with_capacity(operands.len());
        for operand in &operands {
            let found = self.types.get(operand.index());
            let undefined = || OpError::undefined_operand(kind.name(), *operand);
            operand_types.push(found.ok_or_else(undefined)?);
        }
        let result_types = rules::infer(&kind, &operand_types)?;
        let id = OpId(index(self.operations.len()));
        self.operations.push(Operation {
            op: Op { kind, operands },
            first_result: index(self.types.len()),
            result_count: index(result_types.len()),
            location,
        });
        let results = (0..result_types.len()).map(|index| Definition::Result { op: id, index });
        self.definitions.extend(results);
        self.types.extend(result_types);
        Ok(id)
    }

    /// Appends an op with one result and gives that.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn push_value(
        &mut self,
        kind: OpKind,
        operands: impl Into<Vec<ValueId>>,
        location: Location,
    ) -> Result<ValueId, OpError> {
        let id = self.push(kind, operands, location)?;
        Ok(self.operation(id).result())
    }

    /// Says what the graph gives back, in order, in place of what was said before. That the values are this graph's is
    /// for [`verify`](crate::verify) to check.
    pub fn set_results(&mut self, results: Vec<GraphResult>) {
        self.results = results;
    }

    /// Says what the graph gives back, without names.
    pub fn set_result_values(&mut self, values: impl IntoIterator<Item = ValueId>) {
        self.set_results(values.into_iter().map(GraphResult::from).collect());
    }

    /// The inputs, in order.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// The inputs, to rename, re-donate, relocate or give another beginning. Their types stay as they were.
    pub fn inputs_mut(&mut self) -> impl Iterator<Item = InputAttributes<'_>> {
        self.inputs.iter_mut().map(|input| InputAttributes {
            name: &mut input.name,
            donate: &mut input.donate,
            initialiser: &mut input.initialiser,
            location: &mut input.location,
        })
    }

    /// The value of input `number`, or `None` where there are fewer inputs.
    pub fn input_value(&self, number: usize) -> Option<ValueId> {
        (number < self.inputs.len()).then(|| ValueId(index(number)))
    }

    /// The values of the inputs, in order.
    pub fn input_values(&self) -> impl ExactSizeIterator<Item = ValueId> + use<> {
        (0..index(self.inputs.len())).map(ValueId)
    }

    /// The results, in order.
    pub fn results(&self) -> &[GraphResult] {
        &self.results
    }

    /// The types of the results, in order.
    pub fn result_types(&self) -> impl ExactSizeIterator<Item = &Type> {
        self.results.iter().map(|r| self.value_type(r.value))
    }

    /// The operations, operands before uses.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// One operation.
    pub fn operation(&self, id: OpId) -> &Operation {
        &self.operations[id.index()]
    }

    /// The number of values: inputs and results of operations.
    pub fn value_count(&self) -> usize {
        self.types.len()
    }

    /// All values, in the order of their definition.
    pub fn values(&self) -> impl ExactSizeIterator<Item = ValueId> + use<> {
        (0..index(self.types.len())).map(ValueId)
    }

    /// The type of a value.
    pub fn value_type(&self, value: ValueId) -> &Type {
        &self.types[value.index()]
    }

    /// The type of a value that is a tensor: an operand or result of an op on tensors alone, by that op's rule.
    ///
    /// # Panics
    /// The value is a scaled tensor.
    pub fn tensor_type(&self, value: ValueId) -> &TensorType {
        match self.value_type(value) {
            Type::Tensor(tensor) => tensor,
            Type::Scaled(scaled) => panic!("a tensor was expected, found {scaled}"),
        }
    }

    /// What defines a value.
    pub fn definition(&self, value: ValueId) -> Definition {
        self.definitions[value.index()]
    }

    /// The operation that defines a value, or `None` for an input.
    pub fn defining_operation(&self, value: ValueId) -> Option<&Operation> {
        match self.definition(value) {
            Definition::Input(_) => None,
            Definition::Result { op, .. } => Some(self.operation(op)),
        }
    }

    /// How many operands and results of the graph each value is, by value number.
    pub fn use_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.value_count()];
        let operands = self.operations.iter().flat_map(|o| &o.op.operands);
        for value in operands.chain(self.results.iter().map(|r| &r.value)) {
            counts[value.index()] += 1;
        }
        counts
    }

    /// What makes two graphs equal: everything but locations.
    #[allow(clippy::type_complexity, reason = "named only here")]
    fn structure(
        &self,
    ) -> (
        &str,
        Visibility,
        Vec<(&Type, &Option<String>, Option<usize>, Option<String>)>,
        Vec<&Op<ValueId>>,
        &[GraphResult],
    ) {
        let inputs = self.inputs.iter();
        (
            &self.name,
            self.visibility,
            inputs
                .map(|i| {
                    let initialiser = i.initialiser.map(|one| one.to_string());
                    (&i.value_type, &i.name, i.donate, initialiser)
                })
                .collect(),
            self.operations.iter().map(|o| &o.op).collect(),
            &self.results,
        )
    }
}

#[cfg(test)]
impl Graph {
    /// The ops and the values' types, to make graphs that break what [`push`](Self::push) keeps.
    pub(crate) fn parts_mut(&mut self) -> (&mut [Operation], &mut [Type]) {
        (&mut self.operations, &mut self.types)
    }
}

/// What may change about an input once its graph exists.
#[derive(Debug)]
pub struct InputAttributes<'a> {
    /// The name the user knows it by.
    pub name: &'a mut Option<String>,
    /// The number of the result that takes over this input's memory.
    pub donate: &'a mut Option<usize>,
    /// How the value begins where the caller gives none.
    pub initialiser: &'a mut Option<Initialiser>,
    /// Where it comes from.
    pub location: &'a mut Location,
}

fn index(position: usize) -> u32 {
    u32::try_from(position).expect("a graph's values are far fewer than 2³²: each takes many bytes")
}

impl PartialEq for Graph {
    fn eq(&self, other: &Self) -> bool {
        self.structure() == other.structure()
    }
}

impl Eq for Graph {}

impl PartialOrd for Graph {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Graph {
    fn cmp(&self, other: &Self) -> Ordering {
        self.structure().cmp(&other.structure())
    }
}

impl Hash for Graph {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.structure().hash(state);
    }
}

/// A graph that an op holds. Copies share it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region(Arc<Graph>);

impl Region {
    /// A region of that graph. What only a graph of a module has is left out: its name, visibility and location, the
    /// names of inputs and results, donations.
    pub fn new(mut graph: Graph) -> Self {
        graph.name.clear();
        graph.visibility = Visibility::Public;
        graph.location = Location::Unknown;
        for input in &mut graph.inputs {
            (input.name, input.donate, input.initialiser) = (None, None, None);
        }
        for result in &mut graph.results {
            result.name = None;
        }
        Self(Arc::new(graph))
    }

    /// The binary function that the region is: `(x, y) -> x OP y`, or `y OP x` where the order does not matter. So
    /// reducers are recognised as sums, maxima, ….
    pub fn as_binary(&self) -> Option<Binary> {
        let ([_, _], [operation], [result]) = (self.inputs(), self.operations(), self.results())
        else {
            return None;
        };
        let OpKind::Binary(function) = operation.op.kind else {
            return None;
        };
        let in_order = [ValueId(0), ValueId(1)];
        let swapped = [ValueId(1), ValueId(0)];
        let operands = operation.op.operands.as_slice();
        let applied = operands == in_order || (operands == swapped && function.is_commutative());
        (applied && result.value == operation.result()).then_some(function)
    }

    /// The operand whose element the region picks: 0 for `(x, y) -> x`, 1 for `(x, y) -> y`. So scatters are recognised
    /// as replacing what was there.
    pub fn as_projection(&self) -> Option<usize> {
        match self.results() {
            [result] if result.value.index() < self.inputs().len() => Some(result.value.index()),
            _ => None,
        }
    }
}

impl Deref for Region {
    type Target = Graph;

    fn deref(&self) -> &Graph {
        &self.0
    }
}

/// Graphs that call each other by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Module {
    /// The module's name, as the front end gave it.
    pub name: Option<String>,
    graphs: IndexMap<String, Graph>,
}

impl Module {
    /// A module without graphs.
    pub fn new(name: Option<String>) -> Self {
        Self {
            name,
            graphs: IndexMap::new(),
        }
    }

    /// Adds a graph under its name and gives back the one that had that name, if any.
    pub fn insert(&mut self, graph: Graph) -> Option<Graph> {
        self.graphs.insert(graph.name.clone(), graph)
    }

    /// The graphs, in the order in which they were added.
    pub fn graphs(&self) -> impl ExactSizeIterator<Item = &Graph> {
        self.graphs.values()
    }

    /// The graph of that name.
    pub fn graph(&self, name: &str) -> Option<&Graph> {
        self.graphs.get(name)
    }

    /// The graph that is run: `main`, or else the only public one.
    pub fn entry(&self) -> Option<&Graph> {
        self.graph("main").or_else(|| {
            let mut public = self.graphs().filter(|g| g.visibility == Visibility::Public);
            public.next().filter(|_| public.next().is_none())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Builder, ElementType};

    /// The region that `build` makes of two scalars.
    fn region(
        build: impl FnOnce(&mut Builder, ValueId, ValueId) -> Result<Vec<ValueId>, OpError>,
    ) -> Region {
        let scalar = || Input::new(TensorType::scalar(ElementType::F32));
        let (mut b, [x, y]) = Builder::new("", [scalar(), scalar()]);
        let results = build(&mut b, x, y).unwrap();
        Region::new(b.finish(results))
    }

    #[test]
    fn a_region_of_one_binary_function_is_that() {
        let sum = region(|b, x, y| Ok(vec![b.add(x, y)?]));
        assert_eq!(sum.as_binary(), Some(Binary::Add));
        let swapped_sum = region(|b, x, y| Ok(vec![b.add(y, x)?]));
        assert_eq!(swapped_sum.as_binary(), Some(Binary::Add));
        let difference = region(|b, x, y| Ok(vec![b.subtract(x, y)?]));
        assert_eq!(difference.as_binary(), Some(Binary::Subtract));
    }

    #[test]
    fn other_regions_are_no_binary_function() {
        let swapped_difference = region(|b, x, y| Ok(vec![b.subtract(y, x)?]));
        assert_eq!(swapped_difference.as_binary(), None);
        let double = region(|b, x, _| Ok(vec![b.add(x, x)?]));
        assert_eq!(double.as_binary(), None);
        let unused = region(|b, x, y| {
            b.add(x, y)?;
            Ok(vec![x])
        });
        assert_eq!(unused.as_binary(), None);
        let two_results = region(|b, x, y| {
            let sum = b.add(x, y)?;
            Ok(vec![sum, sum])
        });
        assert_eq!(two_results.as_binary(), None);
    }

    #[test]
    fn a_region_that_gives_an_input_picks_it() {
        assert_eq!(region(|_, _, y| Ok(vec![y])).as_projection(), Some(1));
        assert_eq!(region(|_, x, _| Ok(vec![x])).as_projection(), Some(0));
        let sum = region(|b, x, y| Ok(vec![b.add(x, y)?]));
        assert_eq!(sum.as_projection(), None);
    }

    #[test]
    fn locations_do_not_tell_graphs_apart() {
        let located = |line| {
            let scalar = TensorType::scalar(ElementType::F32);
            let (mut b, [x]) = Builder::new("f", [Input::new(scalar)]);
            b.set_location(Location::file("a.py", line, 1));
            let y = b.negate(x).unwrap();
            b.finish([y])
        };
        assert_eq!(located(1), located(2));
        let mut renamed = located(1);
        renamed.name = "g".to_owned();
        assert_ne!(located(1), renamed);
    }

    #[test]
    fn an_operand_of_no_value_is_refused() {
        let mut graph = Graph::new("f", vec![]);
        assert_eq!(
            graph
                .push(
                    OpKind::OptimizationBarrier {},
                    [ValueId(3)],
                    Location::Unknown
                )
                .unwrap_err()
                .to_string(),
            "'tsr.optimization_barrier' (SSA): operand 3 is not a value of the graph"
        );
    }
}
