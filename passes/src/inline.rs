//! `inline`: every call becomes the ops of the graph it calls, in regions too; private graphs are gone afterwards.

use crate::manager::{Pass, PassFailure, Report};
use crate::rebuild::{map_regions, push_like};
use std::collections::HashMap;
use std::sync::Arc;
use tessera_ir::{Graph, Location, Module, OpKind, Operation, Symbol, Visibility};

/// The pass `inline`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inline;

impl Pass for Inline {
    fn name(&self) -> &'static str {
        "inline"
    }

    fn summary(&self) -> &'static str {
        "replaces calls by the ops of the graph called and removes private graphs"
    }

    fn run(&self, module: &Module, report: &mut Report) -> Result<Module, PassFailure> {
        let mut inliner = Inliner {
            module,
            done: HashMap::new(),
            open: Vec::new(),
            calls: 0,
        };
        let mut result = Module::new(module.name.clone());
        let entry = module.entry().map(|entry| &entry.name);
        for graph in module.graphs() {
            if graph.visibility == Visibility::Public || Some(&graph.name) == entry {
                result.insert(inliner.graph(graph)?);
            }
        }
        report.count("calls inlined", inliner.calls);
        Ok(result)
    }
}

struct Inliner<'a> {
    module: &'a Module,
    /// Graphs without calls, by the name of the graph they were.
    done: HashMap<&'a str, Arc<Graph>>,
    /// The graphs being inlined, each called by the one before.
    open: Vec<&'a str>,
    calls: usize,
}

impl<'a> Inliner<'a> {
    /// The graph without calls.
    fn graph(&mut self, graph: &Graph) -> Result<Graph, PassFailure> {
        graph.rebuild(|new, operation, operands| {
            let OpKind::Call { callee, .. } = &operation.op.kind else {
                let kind = map_regions(&operation.op.kind, |region| self.graph(region))?;
                return Ok(push_like(new, operation, kind, operands)?);
            };
            let callee = self.callee(callee, operation)?;
            self.calls += 1;
            let locate = |inner: &Location| call_site(inner, &operation.location);
            Ok(new.splice(&callee, &operands, locate)?)
        })
    }

    /// The graph of that name, without calls.
    fn callee(&mut self, name: &Symbol, call: &Operation) -> Result<Arc<Graph>, PassFailure> {
        if let Some(done) = self.done.get(name.0.as_str()) {
            return Ok(Arc::clone(done));
        }
        let Some(graph) = self.module.graph(&name.0) else {
            return Err(
                PassFailure::refused(format!("no graph is named {name}")).at(&call.location)
            );
        };
        if self.open.contains(&graph.name.as_str()) {
            let chain: Vec<String> = self.open.iter().map(|name| format!("@{name}")).collect();
            let message = format!(
                "{name} calls itself by way of {}: recursion cannot be compiled",
                chain.join(", ")
            );
            return Err(PassFailure::refused(message).at(&call.location));
        }
        self.open.push(&graph.name);
        let inlined = Arc::new(self.graph(graph)?);
        self.open.pop();
        self.done.insert(&graph.name, Arc::clone(&inlined));
        Ok(inlined)
    }
}

/// Where an inlined op comes from: the place in the callee, called at the place of the call.
fn call_site(callee: &Location, caller: &Location) -> Location {
    match (callee, caller) {
        (callee, Location::Unknown) => callee.clone(),
        (Location::Unknown, caller) => caller.clone(),
        (callee, caller) => Location::CallSite {
            callee: Arc::new(callee.clone()),
            caller: Arc::new(caller.clone()),
        },
    }
}
