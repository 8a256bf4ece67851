//! `drop-barriers`: optimization barriers go.
//!
//! A barrier keeps ops that are alike apart: what is computed again on purpose, to save the memory of keeping it, would
//! else be merged with its first computation. So this pass stands behind everything that merges ops.

use crate::manager::{Pass, PassFailure, Report};
use crate::rebuild::{map_regions, push_like};
use tessera_ir::{Graph, Module, OpError, OpKind};

/// The pass `drop-barriers`.
#[derive(Clone, Copy, Debug, Default)]
pub struct DropBarriers;

impl Pass for DropBarriers {
    fn name(&self) -> &'static str {
        "drop-barriers"
    }

    fn summary(&self) -> &'static str {
        "removes optimization_barrier; nothing that merges equal ops may follow"
    }

    fn run(&self, module: &Module, report: &mut Report) -> Result<Module, PassFailure> {
        let mut dropped = 0;
        let mut result = Module::new(module.name.clone());
        for graph in module.graphs() {
            result.insert(without_barriers(graph, &mut dropped)?);
        }
        report.count("barriers dropped", dropped);
        Ok(result)
    }
}

fn without_barriers(graph: &Graph, dropped: &mut usize) -> Result<Graph, OpError> {
    graph.rebuild(|new, operation, operands| {
        if let OpKind::OptimizationBarrier {} = operation.op.kind {
            *dropped += 1;
            return Ok(operands);
        }
        let kind = map_regions(&operation.op.kind, |region| {
            without_barriers(region, dropped)
        })?;
        push_like(new, operation, kind, operands)
    })
}
