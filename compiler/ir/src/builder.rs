//! Building graphs by hand: one method an op.

mod derived;
mod elementwise;
mod regions;
mod scaled;
mod shape;

pub use scaled::QuantizeOperands;

use crate::rules::OpError;
use crate::{
    Graph, GraphResult, Input, Location, OpKind, Region, Tensor, TensorType, ValueId, Visibility,
};

/// Builds a graph op by op.
///
/// Each method appends one op and gives its result, or says which constraint of the op its arguments break. Ops get the
/// current [`location`](Self::set_location). Reducers, loops and branches are built by closures, which are given a
/// builder of the region.
///
/// ```
/// use tessera_ir::{Builder, DotDimensionNumbers, ElementType, Input, Module, TensorType, verify};
///
/// # fn main() -> Result<(), tessera_ir::OpError> {
/// // One step of gradient descent on the mean square of x·w: w − 0.1 · 2/n · xᵀ(x·w).
/// let x = TensorType::new(ElementType::F32, [8, 4]);
/// let w = TensorType::new(ElementType::F32, [4, 3]);
/// let inputs = [Input::new(w.clone()).named("w").donated_to(0), Input::new(x).named("x")];
/// let (mut b, [w0, x]) = Builder::new("main", inputs);
///
/// let y = b.matmul(x, w0)?;
/// let squares = b.multiply(y, y)?;
/// let sum = b.reduce_sum(squares, &[0, 1])?;
/// let count = b.splat(24.0, &TensorType::scalar(ElementType::F32))?;
/// let loss = b.divide(sum, count)?;
///
/// let rows = DotDimensionNumbers { lhs_contracting: &[0], rhs_contracting: &[0], ..Default::default() };
/// let gradient = b.dot_general(x, y, &rows, ElementType::F32, ElementType::F32)?;
/// let rate = b.splat(0.1 * 2.0 / 24.0, &w)?;
/// let change = b.multiply(rate, gradient)?;
/// let w1 = b.subtract(w0, change)?;
///
/// let mut module = Module::new(None);
/// module.insert(b.finish([("w", w1), ("loss", loss)]));
/// assert_eq!(verify(&module), Ok(()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Builder {
    graph: Graph,
    location: Location,
}

impl Builder {
    /// A builder of a public graph with these inputs, and the inputs' values.
    pub fn new<const N: usize>(
        name: impl Into<String>,
        inputs: [Input; N],
    ) -> (Self, [ValueId; N]) {
        let builder = Self::with_inputs(name, inputs.into());
        let mut values = builder.graph.input_values();
        let inputs = [(); N].map(|()| values.next().expect("a graph has a value for each input"));
        (builder, inputs)
    }

    /// A builder of a public graph with inputs whose number is known when the program runs;
    /// [`inputs`](Self::inputs) gives their values.
    pub fn with_inputs(name: impl Into<String>, inputs: Vec<Input>) -> Self {
        Self {
            graph: Graph::new(name, inputs),
            location: Location::Unknown,
        }
    }

    /// A builder that goes on with a graph.
    pub fn continuing(graph: Graph) -> Self {
        Self {
            graph,
            location: Location::Unknown,
        }
    }

    /// The graph as far as it is built, with the results that it had before.
    pub fn into_graph(self) -> Graph {
        self.graph
    }

    /// The values of the inputs, in order.
    pub fn inputs(&self) -> Vec<ValueId> {
        self.graph.input_values().collect()
    }

    /// Says where the ops that follow come from.
    pub fn set_location(&mut self, location: Location) {
        self.location = location;
    }

    /// Where ops come from now.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The graph so far.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The type of a value of this graph, or an error in the name of `op`, which uses it.
    pub(crate) fn type_of(&self, op: &'static str, value: ValueId) -> Result<&TensorType, OpError> {
        if value.index() < self.graph.value_count() {
            Ok(self.graph.tensor_type(value))
        } else {
            Err(OpError::undefined_operand(op, value))
        }
    }

    /// The graph built, public, giving back these values: each a [`ValueId`] or a name and one.
    pub fn finish(self, results: impl IntoIterator<Item = impl Into<GraphResult>>) -> Graph {
        let mut graph = self.graph;
        graph.set_results(results.into_iter().map(Into::into).collect());
        graph
    }

    /// As [`finish`](Self::finish), for the graphs of the same module alone.
    pub fn finish_private(
        self,
        results: impl IntoIterator<Item = impl Into<GraphResult>>,
    ) -> Graph {
        let mut graph = self.finish(results);
        graph.visibility = Visibility::Private;
        graph
    }

    /// Appends an op of any kind and gives its results.
    ///
    /// # Errors
    /// An operand is not a value of this graph, or the op breaks one of its constraints. This holds for all methods that
    /// append an op.
    pub fn push(
        &mut self,
        kind: OpKind,
        operands: impl Into<Vec<ValueId>>,
    ) -> Result<Vec<ValueId>, OpError> {
        let id = self.graph.push(kind, operands, self.location.clone())?;
        Ok(self.graph.operation(id).results().collect())
    }

    /// Appends an op of any kind that has one result and gives that.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn push_value(
        &mut self,
        kind: OpKind,
        operands: impl Into<Vec<ValueId>>,
    ) -> Result<ValueId, OpError> {
        self.graph.push_value(kind, operands, self.location.clone())
    }

    /// A tensor known now.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn constant(&mut self, value: Tensor) -> Result<ValueId, OpError> {
        self.push_value(OpKind::Constant { value }, [])
    }

    /// A region with inputs of these types that `build` fills at the current location.
    fn region<E: From<OpError>>(
        &self,
        inputs: Vec<TensorType>,
        build: impl FnOnce(&mut Self, &[ValueId]) -> Result<Vec<ValueId>, E>,
    ) -> Result<Region, E> {
        let mut builder = Self::with_inputs("", inputs.into_iter().map(Input::new).collect());
        builder.graph.location = self.location.clone();
        builder.location = self.location.clone();
        let values = builder.inputs();
        let results = build(&mut builder, &values)?;
        Ok(Region::new(builder.finish(results)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ElementType;

    #[test]
    fn ops_and_those_of_their_regions_get_the_current_location() {
        let vector = TensorType::new(ElementType::F32, [2]);
        let (mut b, [x]) = Builder::new("main", [Input::new(vector)]);
        b.negate(x).unwrap();
        let place = Location::file("step.py", 3, 5);
        b.set_location(place.clone());
        b.reduce_sum(x, &[0]).unwrap();
        let locations: Vec<_> = b.graph().operations().iter().map(|o| &o.location).collect();
        assert_eq!(locations, [&Location::Unknown, &place, &place]);
        let regions = b.graph().operations()[2].op.kind.regions();
        assert_eq!(regions[0].operations()[0].location, place);
    }

    #[test]
    fn results_have_names_and_visibility() {
        let scalar = TensorType::scalar(ElementType::F32);
        let (b, [x]) = Builder::new("main", [Input::new(scalar.clone())]);
        let graph = b.finish([("loss", x)]);
        assert_eq!(graph.results()[0].name.as_deref(), Some("loss"));
        assert_eq!(graph.visibility, Visibility::Public);
        let (b, [x]) = Builder::new("f", [Input::new(scalar)]);
        assert_eq!(b.finish_private([x]).visibility, Visibility::Private);
    }

    #[test]
    fn a_value_of_another_graph_is_refused_by_name() {
        let scalar = TensorType::scalar(ElementType::F32);
        let (mut other, [x]) = Builder::new("f", [Input::new(scalar)]);
        let y = other.negate(x).unwrap();
        let (mut b, []) = Builder::new("main", []);
        for refused in [
            b.reduce_sum(y, &[]),
            b.matmul(y, y),
            b.broadcast_scalar(y, &[]),
            b.negate(y),
        ] {
            let message = refused.unwrap_err().to_string();
            assert!(
                message.ends_with("(SSA): operand 1 is not a value of the graph"),
                "{message}"
            );
        }
    }
}
