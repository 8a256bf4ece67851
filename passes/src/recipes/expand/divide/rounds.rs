//! Some of a loop's rounds, as a loop of their own.

use crate::linears::{Counted, Place, integer, step_of};
use crate::manager::PassFailure;
use crate::rebuild::Rebuild;
use crate::recipes::expand::parts::LayerLoop;
use std::ops::Range;
use tessera_ir::{
    ComparisonDirection, ElementType, Graph, Location, OpKind, Operation, Region, Tensor, ValueId,
};

/// A loop of the step as it was.
pub(super) struct Loop<'a> {
    /// The graph that it stands in.
    pub source: &'a Graph,
    pub operation: &'a Operation,
    pub condition: &'a Region,
    pub body: &'a Region,
    pub place: Place,
}

impl Loop<'_> {
    /// Appends some rounds, with that body, and gives the results. `carried` is what the rounds before leave.
    pub fn piece(
        &self,
        rebuild: &mut Rebuild<'_>,
        layers: &LayerLoop,
        own: &Range<usize>,
        carried: Option<Vec<ValueId>>,
        body: Graph,
    ) -> Result<Vec<ValueId>, PassFailure> {
        let rounds = layers.rounds_of(own);
        let location = &self.operation.location;
        let mut operands = rebuild.values(&self.operation.op.operands);
        for (number, value) in carried.into_iter().flatten().enumerate() {
            // A counter's number is known, and stays to be seen.
            operands[number] = match self.counter(number, rounds.start) {
                None => value,
                Some(count) => {
                    let kind = OpKind::Constant { value: count };
                    let graph = &mut rebuild.graph;
                    graph.push_value(kind, Vec::new(), location.clone())?
                }
            };
        }
        let condition = match rounds.end == layers.layers {
            true => self.condition.clone(),
            false => self.until(rounds.end)?,
        };
        let body = Region::new(body);
        let kind = OpKind::While { condition, body };
        let id = rebuild.graph.push(kind, operands, location.clone())?;
        Ok(rebuild.graph.operation(id).results().collect())
    }

    /// What a carried value is before a round, if it counts rounds.
    fn counter(&self, number: usize, round: usize) -> Option<Tensor> {
        let operand = self.operation.op.operands[number];
        let start = integer(self.source, operand)?;
        let step = step_of(self.body, number)?;
        let element = self.source.tensor_type(operand).element;
        scalar(element, start + step * round as i128)
    }

    /// A condition that holds before the rounds up to that one.
    fn until(&self, round: usize) -> Result<Region, PassFailure> {
        let internal = || PassFailure::internal("a loop over layers counts its rounds");
        let counted = Counted::of(self.source, self.operation).ok_or_else(internal)?;
        let comparison = (self.condition.results().first())
            .and_then(|result| self.condition.defining_operation(result.value))
            .ok_or_else(internal)?;
        let OpKind::Compare { direction, .. } = &comparison.op.kind else {
            return Err(internal());
        };
        let end = counted.start + counted.step * round as i128;
        let bound = match direction {
            // The counter of the last round before.
            ComparisonDirection::Le | ComparisonDirection::Ge => end - counted.step,
            ComparisonDirection::Lt
            | ComparisonDirection::Gt
            | ComparisonDirection::Eq
            | ComparisonDirection::Ne => end,
        };
        let inputs = self.condition.inputs().to_vec();
        let mut graph = Graph::new("", inputs);
        let counter = graph.input_value(counted.counter).ok_or_else(internal)?;
        let element = graph.tensor_type(counter).element;
        let value = scalar(element, bound).ok_or_else(internal)?;
        let location = || Location::clone(&comparison.location);
        let bound = graph.push_value(OpKind::Constant { value }, Vec::new(), location())?;
        let kind = comparison.op.kind.clone();
        let holds = graph.push_value(kind, [counter, bound], location())?;
        graph.set_result_values([holds]);
        Ok(Region::new(graph))
    }
}

/// A whole number as a scalar of an element type that counters have.
fn scalar(element: ElementType, value: i128) -> Option<Tensor> {
    match element {
        ElementType::I32 => i32::try_from(value).ok().map(Tensor::scalar),
        ElementType::I64 => i64::try_from(value).ok().map(Tensor::scalar),
        ElementType::Ui32 => u32::try_from(value).ok().map(Tensor::scalar),
        ElementType::Ui64 => u64::try_from(value).ok().map(Tensor::scalar),
        _ => None,
    }
}
