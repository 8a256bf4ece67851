//! Ops that choose and repeat graphs.

use crate::elements::integers;
use crate::error::{EvaluateError, OpFailure};
use crate::evaluate::Scope;
use crate::value::Value;
use tessera_ir::{Graph, Region, Symbol};

/// `operands` are the carried values, as many as the body has results, then the captured ones.
pub(crate) fn while_loop(
    scope: &Scope<'_>,
    condition: &Graph,
    body: &Graph,
    operands: Vec<Value>,
) -> Result<Vec<Value>, EvaluateError> {
    let mut carried = operands;
    let captured = carried.split_off(body.results().len());
    loop {
        let values = [carried.as_slice(), &captured].concat();
        let holds = scope.graph(condition, values)?;
        if holds[0].bytes() == [0] {
            return Ok(carried);
        }
        carried.extend_from_slice(&captured);
        carried = scope.graph(body, carried)?;
    }
}

/// `operands` are the index, then the captured values. An index out of bounds means the last branch.
pub(crate) fn case(
    scope: &Scope<'_>,
    branches: &[Region],
    mut operands: Vec<Value>,
) -> Result<Vec<Value>, EvaluateError> {
    let captured = operands.split_off(1);
    let last = branches.len() - 1;
    let index = operands[0].as_tensor();
    let index = index.and_then(|index| usize::try_from(integers(index)[0]).ok());
    scope.graph(
        &branches[index.map_or(last, |index| index.min(last))],
        captured,
    )
}

pub(crate) fn call(
    scope: &Scope<'_>,
    callee: &Symbol,
    operands: Vec<Value>,
) -> Result<Vec<Value>, OpFailure> {
    let unknown = || OpFailure::UnknownCallee {
        callee: callee.clone(),
    };
    let graph = scope.module.graph(&callee.0).ok_or_else(unknown)?;
    let inner = scope.enter(graph).ok_or_else(|| OpFailure::Recursion {
        callee: callee.clone(),
    })?;
    Ok(inner.graph(graph, operands)?)
}
