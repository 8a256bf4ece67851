//! Making a graph of another: op by op anew, or into a graph that has ops already.

use super::{Graph, GraphResult, Operation, ValueId};
use crate::{Location, OpError};

impl Graph {
    /// Appends another graph's ops, with `arguments` in place of its inputs and what `relocate` makes of their locations,
    /// and gives the values that stand for its results.
    ///
    /// # Errors
    /// There are fewer arguments than inputs, or arguments of types that an op does not take.
    pub fn splice(
        &mut self,
        other: &Self,
        arguments: &[ValueId],
        mut relocate: impl FnMut(&Location) -> Location,
    ) -> Result<Vec<ValueId>, OpError> {
        let mut values = ValueMap::new(other);
        values.set(other.input_values(), arguments.iter().copied());
        for operation in &other.operations {
            let op = &operation.op;
            let operands = values.get_all(op.kind.name(), &op.operands)?;
            let id = self.push(op.kind.clone(), operands, relocate(&operation.location))?;
            values.set(operation.results(), self.operation(id).results());
        }
        let results = other.results.iter().map(|result| result.value);
        results.map(|result| values.get("return", result)).collect()
    }

    /// The graph made anew op by op, with the same name, inputs and results. `rewrite` puts what shall stand for an op
    /// into the new graph and gives the values that stand for its results; it is given the operation and its operands in
    /// the new graph. Values it does not give must not be used.
    ///
    /// # Errors
    /// The first error of `rewrite`, or a use of a value that it did not give.
    pub fn rebuild<E: From<OpError>>(
        &self,
        mut rewrite: impl FnMut(&mut Self, &Operation, Vec<ValueId>) -> Result<Vec<ValueId>, E>,
    ) -> Result<Self, E> {
        let mut rebuilt = Self::new(self.name.clone(), self.inputs.clone());
        rebuilt.visibility = self.visibility;
        rebuilt.location = self.location.clone();
        let mut values = ValueMap::new(self);
        values.set(self.input_values(), rebuilt.input_values());
        for operation in &self.operations {
            let op = &operation.op;
            let operands = values.get_all(op.kind.name(), &op.operands)?;
            let results = rewrite(&mut rebuilt, operation, operands)?;
            values.set(operation.results(), results.into_iter());
        }
        let results = self.results.iter().map(|result| {
            Ok(GraphResult {
                value: values.get("return", result.value)?,
                name: result.name.clone(),
            })
        });
        rebuilt.results = results.collect::<Result<_, OpError>>()?;
        Ok(rebuilt)
    }
}

/// What stands for each value of a graph in another.
struct ValueMap(Vec<Option<ValueId>>);

impl ValueMap {
    fn new(graph: &Graph) -> Self {
        Self(vec![None; graph.value_count()])
    }

    fn set(
        &mut self,
        values: impl Iterator<Item = ValueId>,
        others: impl Iterator<Item = ValueId>,
    ) {
        for (value, other) in values.zip(others) {
            self.0[value.index()] = Some(other);
        }
    }

    /// What stands for a value that `user` uses.
    fn get(&self, user: &'static str, value: ValueId) -> Result<ValueId, OpError> {
        let other = self.0.get(value.index()).copied().flatten();
        other.ok_or_else(|| OpError::undefined_operand(user, value))
    }

    fn get_all(&self, user: &'static str, values: &[ValueId]) -> Result<Vec<ValueId>, OpError> {
        values.iter().map(|&value| self.get(user, value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Binary, ElementType, Input, OpKind, TensorType, Unary};

    /// `(x) -> (-x) + x`, with an op that is not used.
    fn example() -> Graph {
        let mut graph = Graph::new("f", vec![Input::new(TensorType::scalar(ElementType::F32))]);
        let x = graph.input_value(0).unwrap();
        let mut push = |kind, operands: &[ValueId]| {
            graph.push_value(kind, operands, Location::Unknown).unwrap()
        };
        let negated = push(OpKind::Unary(Unary::Negate), &[x]);
        push(OpKind::Unary(Unary::Abs), &[x]);
        let sum = push(OpKind::Binary(Binary::Add), &[negated, x]);
        graph.set_results(vec![("sum", sum).into()]);
        graph
    }

    fn copy(
        graph: &mut Graph,
        operation: &Operation,
        operands: Vec<ValueId>,
    ) -> Result<Vec<ValueId>, OpError> {
        let id = graph.push(operation.op.kind.clone(), operands, Location::Unknown)?;
        Ok(graph.operation(id).results().collect())
    }

    #[test]
    fn a_copy_is_equal() {
        assert_eq!(example().rebuild(copy), Ok(example()));
    }

    #[test]
    fn ops_can_be_left_out_and_replaced() {
        let rebuilt = example().rebuild(|graph, operation, operands| match operation.op.kind {
            OpKind::Unary(Unary::Abs) => Ok(vec![]),
            OpKind::Unary(Unary::Negate) => Ok(operands),
            _ => copy(graph, operation, operands),
        });
        let rebuilt = rebuilt.unwrap();
        let [operation] = rebuilt.operations() else {
            panic!("expected one op, found {:?}", rebuilt.operations());
        };
        let x = rebuilt.input_value(0).unwrap();
        assert_eq!(operation.op.operands, [x, x]);
        assert_eq!(rebuilt.results()[0].name.as_deref(), Some("sum"));
    }

    #[test]
    fn a_value_left_out_and_used_is_an_error() {
        let rebuilt = example().rebuild(|_, _, _| Ok::<_, OpError>(vec![]));
        assert_eq!(
            rebuilt.unwrap_err().to_string(),
            "'tsr.add' (SSA): operand 1 is not a value of the graph"
        );
    }

    #[test]
    fn a_spliced_graph_works_on_the_arguments() {
        let mut graph = example();
        let sum = graph.results()[0].value;
        let place = Location::file("a.py", 1, 2);
        let results = graph.splice(&example(), &[sum], |_| place.clone()).unwrap();
        let last = graph.operations().last().unwrap();
        assert_eq!(results, [last.result()]);
        assert_eq!(last.op.operands[1], sum);
        assert_eq!(last.location, place);
        assert_eq!(graph.operations().len(), 6);
    }
}
