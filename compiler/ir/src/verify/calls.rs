//! What calls promise.

use super::{VerifyError, defined_type};
use crate::diagnostic::edit_distance;
use crate::rules::{Constraint, OpError, signature_text};
use crate::{Graph, Module, OpKind, Operation};
use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use std::collections::HashMap;

/// - (T1) a graph of the module has the callee's name.
/// - (T2) it takes the operands' types and gives the results'.
///
/// Other ops promise nothing here. The operation is one of `graph`, with operands that are defined.
pub(super) fn check_call(
    module: &Module,
    graph: &Graph,
    operation: &Operation,
) -> Result<(), OpError> {
    let OpKind::Call {
        callee,
        result_types,
    } = &operation.op.kind
    else {
        return Ok(());
    };
    let error = |constraint, message| OpError {
        op: operation.op.kind.name(),
        constraint: Constraint(constraint),
        message,
    };
    let Some(called) = module.graph(&callee.0) else {
        let nearest = module
            .graphs()
            .map(|graph| (edit_distance(&graph.name, &callee.0), &graph.name))
            .min_by_key(|(distance, _)| *distance)
            .filter(|(distance, _)| distance * 3 <= callee.0.len());
        let suggestion = nearest.map(|(_, name)| format!(", did you mean @{name}?"));
        let suggestion = suggestion.unwrap_or_default();
        let message = format!("no graph of the module is named {callee}{suggestion}");
        return Err(error("T1", message));
    };
    let operands: Vec<_> = operation
        .op
        .operands
        .iter()
        .map(|&operand| graph.value_type(operand))
        .collect();
    let results: Vec<_> = result_types.iter().collect();
    let called_inputs: Vec<_> = called.inputs().iter().map(|i| &i.value_type).collect();
    let called_results: Vec<_> = called
        .results()
        .iter()
        .filter_map(|result| defined_type(called, result.value))
        .collect();
    if operands == called_inputs && results == called_results {
        return Ok(());
    }
    let expected = signature_text(&called_inputs, &called_results);
    let found = signature_text(&operands, &results);
    Err(error(
        "T2",
        format!("{callee} has type {expected}, found a call of type {found}"),
    ))
}

/// Reports each set of graphs that call one another in a circle.
pub(super) fn check_recursion(module: &Module, errors: &mut Vec<VerifyError>) {
    let mut calls = DiGraph::<&Graph, ()>::new();
    let nodes: HashMap<&str, NodeIndex> = module
        .graphs()
        .map(|graph| (graph.name.as_str(), calls.add_node(graph)))
        .collect();
    for graph in module.graphs() {
        let mut callees = Vec::new();
        list_callees(graph, &mut callees);
        for callee in callees {
            if let Some(&callee) = nodes.get(callee) {
                calls.update_edge(nodes[graph.name.as_str()], callee, ());
            }
        }
    }
    let mut circles: Vec<Vec<NodeIndex>> = kosaraju_scc(&calls)
        .into_iter()
        .filter(|circle| circle.len() > 1 || calls.contains_edge(circle[0], circle[0]))
        .collect();
    // Nodes are numbered in the module's order.
    circles.iter_mut().for_each(|circle| circle.sort_unstable());
    circles.sort_unstable();
    errors.extend(circles.into_iter().map(|circle| {
        VerifyError::Recursion {
            graphs: circle
                .iter()
                .map(|&node| calls[node].name.clone())
                .collect(),
            location: calls[circle[0]].location.clone(),
        }
    }));
}

/// The names that a graph and its regions call.
fn list_callees<'a>(graph: &'a Graph, callees: &mut Vec<&'a str>) {
    for operation in graph.operations() {
        if let OpKind::Call { callee, .. } = &operation.op.kind {
            callees.push(&callee.0);
        }
        for region in operation.op.kind.regions() {
            list_callees(region, callees);
        }
    }
}
