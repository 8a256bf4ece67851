//! Making a graph of a graph: graphs only grow, so a pass builds a new one op by op and keeps a map of the values.
//!
//! [`Graph::rebuild`] serves passes that replace ops one by one. Here is what those need that leave values out or change
//! inputs.

use tessera_ir::{
    Graph, GraphResult, Input, Location, OpError, OpKind, Operation, Region, ValueId,
};

/// A graph that is being built from the ops of another.
#[derive(Debug)]
pub struct Rebuild<'a> {
    source: &'a Graph,
    /// The new graph, as far as it is built.
    pub graph: Graph,
    values: Vec<Option<ValueId>>,
}

impl<'a> Rebuild<'a> {
    /// Starts with the inputs of `source` and no ops.
    pub fn new(source: &'a Graph) -> Self {
        let mut graph = Graph::new(source.name.clone(), source.inputs().to_vec());
        graph.visibility = source.visibility;
        graph.location = source.location.clone();
        let mut values = vec![None; source.value_count()];
        for (slot, input) in values.iter_mut().zip(graph.input_values()) {
            *slot = Some(input);
        }
        Self {
            source,
            graph,
            values,
        }
    }

    /// The new value of an old one.
    ///
    /// # Panics
    /// Nothing was said of that value yet; operands stand before their uses, so this is a mistake of the caller.
    pub fn value(&self, old: ValueId) -> ValueId {
        self.values[old.index()].expect("values are rebuilt in the graph's order")
    }

    /// The new values of old ones.
    pub fn values(&self, old: &[ValueId]) -> Vec<ValueId> {
        old.iter().map(|&value| self.value(value)).collect()
    }

    /// Says what an old value has become.
    pub fn set(&mut self, old: ValueId, new: ValueId) {
        self.values[old.index()] = Some(new);
    }

    /// Appends an op of another kind in an old one's place, with its operands and location.
    ///
    /// # Errors
    /// The op breaks a constraint.
    pub fn copy_as(&mut self, operation: &Operation, kind: OpKind) -> Result<(), OpError> {
        let operands = self.values(&operation.op.operands);
        let id = self
            .graph
            .push(kind, operands, operation.location.clone())?;
        for (old, new) in operation.results().zip(self.graph.operation(id).results()) {
            self.set(old, new);
        }
        Ok(())
    }

    /// The new graph, with what the old one's results have become.
    pub fn finish(self) -> Graph {
        let results = self.source.results().iter();
        let results = results
            .map(|result| GraphResult {
                value: self.value(result.value),
                name: result.name.clone(),
            })
            .collect();
        let mut graph = self.graph;
        graph.set_results(results);
        graph
    }
}

/// The same graph with other inputs: `build` gives, in the new graph, the value of each old input, or `None` for those
/// that nothing uses.
///
/// # Errors
/// An op breaks a constraint.
pub fn with_inputs(
    source: &Graph,
    inputs: Vec<Input>,
    build: impl FnOnce(&mut Graph) -> Result<Vec<Option<ValueId>>, OpError>,
) -> Result<Graph, OpError> {
    let mut graph = Graph::new(source.name.clone(), inputs);
    graph.visibility = source.visibility;
    graph.location = source.location.clone();
    let mut values: Vec<Option<ValueId>> = vec![None; source.value_count()];
    for (slot, argument) in values.iter_mut().zip(build(&mut graph)?) {
        *slot = argument;
    }
    let new = |values: &[Option<ValueId>], old: ValueId| {
        values[old.index()].expect("operands stand before their uses, and used inputs have values")
    };
    for operation in source.operations() {
        let operands = operation.op.operands.iter();
        let operands: Vec<_> = operands.map(|&old| new(&values, old)).collect();
        let kind = operation.op.kind.clone();
        let id = graph.push(kind, operands, operation.location.clone())?;
        for (old, new) in operation.results().zip(graph.operation(id).results()) {
            values[old.index()] = Some(new);
        }
    }
    let results = source.results().iter().map(|result| GraphResult {
        value: new(&values, result.value),
        name: result.name.clone(),
    });
    graph.set_results(results.collect());
    Ok(graph)
}

/// The same graph with the inputs of those numbers, in that order; nothing uses the others.
///
/// # Errors
/// An op breaks a constraint, which does not happen to one that is built again on the same types.
pub fn with_selected_inputs(source: &Graph, selected: &[usize]) -> Result<Graph, OpError> {
    let inputs = selected.iter().map(|&n| source.inputs()[n].clone());
    with_inputs(source, inputs.collect(), |graph| {
        let mut arguments = vec![None; source.inputs().len()];
        for (&old, new) in selected.iter().zip(graph.input_values()) {
            arguments[old] = Some(new);
        }
        Ok(arguments)
    })
}

/// Appends an op in an old one's place and gives its results.
///
/// # Errors
/// The op breaks a constraint.
pub fn push_like(
    graph: &mut Graph,
    old: &Operation,
    kind: OpKind,
    operands: Vec<ValueId>,
) -> Result<Vec<ValueId>, OpError> {
    let id = graph.push(kind, operands, old.location.clone())?;
    Ok(graph.operation(id).results().collect())
}

/// The op's kind with each graph it holds replaced by what `replace` makes of it.
///
/// # Errors
/// The first error of `replace`.
pub fn map_regions<E>(
    kind: &OpKind,
    mut replace: impl FnMut(&Graph) -> Result<Graph, E>,
) -> Result<OpKind, E> {
    kind.try_map_regions(|region| replace(region).map(Region::new))
}

/// The location of an op that stands for several.
pub fn fused<'a>(locations: impl IntoIterator<Item = &'a Location>) -> Location {
    let mut distinct: Vec<Location> = Vec::new();
    for location in locations {
        if *location != Location::Unknown && !distinct.contains(location) {
            distinct.push(location.clone());
        }
    }
    match distinct.len() {
        0 => Location::Unknown,
        1 => distinct.swap_remove(0),
        _ => Location::Fused(distinct.into()),
    }
}
