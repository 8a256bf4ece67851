//! Dead code: what no result needs is not built again.

use crate::rebuild::{Rebuild, with_selected_inputs};
use tessera_ir::{Graph, OpError, OpKind, Operation, Region, ValueId};

/// The graph without what its results do not need.
pub(super) fn without_dead_code(graph: &Graph) -> Result<Graph, OpError> {
    let roots = graph.results().iter().map(|result| result.value);
    let live = live_values(graph, roots);
    let mut rebuild = Rebuild::new(graph);
    for operation in graph.operations() {
        if !operation.results().any(|result| live[result.index()]) {
            continue;
        }
        match &operation.op.kind {
            OpKind::While { condition, body } => {
                rebuild_while(&mut rebuild, operation, condition, body, &live)?;
            }
            OpKind::Case { branches } => rebuild_case(&mut rebuild, operation, branches, &live)?,
            OpKind::OptimizationBarrier {} => {
                let kept = live_results(operation, &live);
                let operands = kept.iter().map(|&n| operation.op.operands[n]);
                let operands: Vec<_> = operands.map(|old| rebuild.value(old)).collect();
                rebuild_with(
                    &mut rebuild,
                    operation,
                    operation.op.kind.clone(),
                    operands,
                    &kept,
                )?;
            }
            kind => {
                let kind =
                    kind.try_map_regions(|region| without_dead_code(region).map(Region::new))?;
                rebuild.copy_as(operation, kind)?;
            }
        }
    }
    Ok(rebuild.finish())
}

/// The numbers of the results of an op that are needed.
fn live_results(operation: &Operation, live: &[bool]) -> Vec<usize> {
    let results = operation.results().enumerate();
    let kept = results.filter(|(_, value)| live[value.index()]);
    kept.map(|(number, _)| number).collect()
}

/// Appends an op in an old one's place that has only some of its results.
fn rebuild_with(
    rebuild: &mut Rebuild<'_>,
    operation: &Operation,
    kind: OpKind,
    operands: Vec<ValueId>,
    kept: &[usize],
) -> Result<(), OpError> {
    let id = rebuild
        .graph
        .push(kind, operands, operation.location.clone())?;
    let new: Vec<ValueId> = rebuild.graph.operation(id).results().collect();
    let old: Vec<ValueId> = operation.results().collect();
    for (&number, new) in kept.iter().zip(new) {
        rebuild.set(old[number], new);
    }
    Ok(())
}

/// Which values are needed for some of the graph's values.
fn live_values(graph: &Graph, roots: impl IntoIterator<Item = ValueId>) -> Vec<bool> {
    let mut live = vec![false; graph.value_count()];
    for root in roots {
        live[root.index()] = true;
    }
    for operation in graph.operations().iter().rev() {
        if !operation.results().any(|result| live[result.index()]) {
            continue;
        }
        let needed = match &operation.op.kind {
            OpKind::While { condition, body } => needed_by_while(operation, condition, body, &live),
            OpKind::Case { branches } => needed_by_case(operation, branches, &live),
            OpKind::OptimizationBarrier {} => live_results(operation, &live),
            _ => (0..operation.op.operands.len()).collect(),
        };
        for number in needed {
            live[operation.op.operands[number].index()] = true;
        }
    }
    live
}

/// Which inputs some of a graph's results need.
fn needed_inputs(graph: &Graph, results: impl IntoIterator<Item = usize>) -> Vec<bool> {
    let roots = results.into_iter().map(|n| graph.results()[n].value);
    let mut live = live_values(graph, roots);
    live.truncate(graph.inputs().len());
    live
}

/// The graph with only some of its results.
fn with_results(graph: &Graph, kept: &[usize]) -> Graph {
    let mut graph = graph.clone();
    let results = kept.iter().map(|&n| graph.results()[n].clone()).collect();
    graph.set_results(results);
    graph
}

/// The operands of a loop that are needed: carried values that a needed result, the condition or another needed carried
/// value depends on, and captured values that these use.
fn needed_by_while(
    operation: &Operation,
    condition: &Region,
    body: &Region,
    live: &[bool],
) -> Vec<usize> {
    let carried = operation.results().len();
    let mut needed = needed_inputs(condition, [0]);
    for number in live_results(operation, live) {
        needed[number] = true;
    }
    loop {
        let kept = (0..carried).filter(|&n| needed[n]);
        let by_body = needed_inputs(body, kept);
        let more = (0..needed.len()).filter(|&n| by_body[n] && !needed[n]);
        let more: Vec<usize> = more.collect();
        if more.is_empty() {
            return (0..needed.len()).filter(|&n| needed[n]).collect();
        }
        for number in more {
            needed[number] = true;
        }
    }
}

fn rebuild_while(
    rebuild: &mut Rebuild<'_>,
    operation: &Operation,
    condition: &Region,
    body: &Region,
    live: &[bool],
) -> Result<(), OpError> {
    let needed = needed_by_while(operation, condition, body, live);
    let carried = operation.results().len();
    let kept: Vec<usize> = needed.iter().copied().filter(|&n| n < carried).collect();
    let body = with_results(body, &kept);
    let kind = OpKind::While {
        condition: Region::new(without_inputs(condition, &needed)?),
        body: Region::new(without_inputs(&body, &needed)?),
    };
    let operands = needed.iter().map(|&n| operation.op.operands[n]);
    let operands = operands.map(|old| rebuild.value(old)).collect();
    rebuild_with(rebuild, operation, kind, operands, &kept)
}

/// The operands of branches that are needed: the index, and what some needed result of some branch uses.
fn needed_by_case(operation: &Operation, branches: &[Region], live: &[bool]) -> Vec<usize> {
    let kept = live_results(operation, live);
    let mut needed = vec![false; operation.op.operands.len()];
    needed[0] = true;
    for branch in branches {
        let inputs = needed_inputs(branch, kept.iter().copied());
        for (number, used) in inputs.into_iter().enumerate() {
            needed[number + 1] |= used;
        }
    }
    (0..needed.len()).filter(|&n| needed[n]).collect()
}

fn rebuild_case(
    rebuild: &mut Rebuild<'_>,
    operation: &Operation,
    branches: &[Region],
    live: &[bool],
) -> Result<(), OpError> {
    let needed = needed_by_case(operation, branches, live);
    let kept = live_results(operation, live);
    let inputs: Vec<usize> = needed.iter().skip(1).map(|&n| n - 1).collect();
    let mut new = Vec::with_capacity(branches.len());
    for branch in branches {
        let branch = with_results(branch, &kept);
        new.push(Region::new(without_inputs(&branch, &inputs)?));
    }
    let operands = needed.iter().map(|&n| operation.op.operands[n]);
    let operands = operands.map(|old| rebuild.value(old)).collect();
    rebuild_with(
        rebuild,
        operation,
        OpKind::Case { branches: new },
        operands,
        &kept,
    )
}

/// The graph without dead code and with only some of its inputs, which are all that it uses.
fn without_inputs(graph: &Graph, kept: &[usize]) -> Result<Graph, OpError> {
    let graph = without_dead_code(graph)?;
    if kept.len() == graph.inputs().len() {
        return Ok(graph);
    }
    with_selected_inputs(&graph, kept)
}
