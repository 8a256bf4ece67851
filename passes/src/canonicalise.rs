//! `canonicalise`, `cse`, `dce`: simplification that changes no bit of any result, but the sign and payload of NaNs.
//!
//! A graph is rebuilt in its order. Each op first meets the rules, which may give values it is equal to, made of ops
//! already there or of simpler ones; then the table of ops already built, which has the same op perhaps; what is left is
//! appended. What nothing uses is removed in the end. This is repeated until nothing changes.
//!
//! Rules are directed: what a rule builds is never more work than what it replaces, so they may be applied in any order.
//! Each has a name, under which its uses are counted. A rule holds for every input, NaN, −0 and ∞ among them: `x + 0` is
//! not `x` for floats, where x is −0, and `x · 0` is not 0.

mod control;
mod dead;
mod dot;
mod elementwise;
mod facts;
mod fold;
mod movement;
mod reduction;
mod shape;
mod simplifier;

pub(crate) use facts::exact_float;
pub(crate) use shape::reshape_groups;

use crate::manager::{OptionError, OptionValue, Pass, PassFailure, Report, integer_option};
use simplifier::{Limits, Simplifier};
use tessera_ir::{Graph, Module, OpError};

/// The pass `canonicalise`.
#[derive(Clone, Copy, Debug)]
pub struct Canonicalise {
    /// How often the rules are applied to the whole graph at most.
    pub max_iterations: usize,
    /// How many elements a constant that is computed here has at most.
    pub fold_limit: usize,
}

impl Default for Canonicalise {
    fn default() -> Self {
        Self {
            max_iterations: 10,
            fold_limit: 4096,
        }
    }
}

impl Pass for Canonicalise {
    fn name(&self) -> &'static str {
        "canonicalise"
    }

    fn summary(&self) -> &'static str {
        "folds constants, merges equal ops, removes unused ones and simplifies, all exactly"
    }

    fn options(&self) -> Vec<OptionValue> {
        vec![
            OptionValue {
                name: "max-iterations",
                summary: "how often the rules are applied to a whole graph at most",
                value: self.max_iterations.to_string(),
            },
            OptionValue {
                name: "fold-limit",
                summary: "how many elements a constant computed here has at most",
                value: self.fold_limit.to_string(),
            },
        ]
    }

    fn set_option(&mut self, name: &str, value: &str) -> Result<(), OptionError> {
        match name {
            "max-iterations" => self.max_iterations = integer_option(value)?,
            "fold-limit" => self.fold_limit = integer_option(value)?,
            _ => return Err(OptionError::Unknown),
        }
        Ok(())
    }

    fn run(&self, module: &Module, report: &mut Report) -> Result<Module, PassFailure> {
        let limits = Limits {
            fold_elements: self.fold_limit,
        };
        map_graphs(module, |graph| {
            // Merged first, so that the rules see how often each value is used.
            let mut graph = Simplifier::simplify(graph, None, report)?;
            for _ in 0..self.max_iterations {
                let simplified = Simplifier::simplify(&graph, Some(limits), report)?;
                let simplified = dead::without_dead_code(&simplified)?;
                if simplified == graph {
                    return Ok(graph);
                }
                graph = simplified;
            }
            report.remark(
                &graph.location,
                format!(
                    "stopped after {} iterations, before nothing changed any more",
                    self.max_iterations
                ),
            );
            Ok(graph)
        })
    }
}

/// The pass `cse`.
#[derive(Clone, Copy, Debug, Default)]
pub struct CommonSubexpressions;

impl Pass for CommonSubexpressions {
    fn name(&self) -> &'static str {
        "cse"
    }

    fn summary(&self) -> &'static str {
        "merges equal ops on equal operands, in regions too"
    }

    fn run(&self, module: &Module, report: &mut Report) -> Result<Module, PassFailure> {
        map_graphs(module, |graph| Simplifier::simplify(graph, None, report))
    }
}

/// The pass `dce`.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeadCode;

impl Pass for DeadCode {
    fn name(&self) -> &'static str {
        "dce"
    }

    fn summary(&self) -> &'static str {
        "removes ops and carried and captured values of loops and branches that no result needs"
    }

    fn run(&self, module: &Module, _: &mut Report) -> Result<Module, PassFailure> {
        map_graphs(module, dead::without_dead_code)
    }
}

fn map_graphs(
    module: &Module,
    mut pass: impl FnMut(&Graph) -> Result<Graph, OpError>,
) -> Result<Module, PassFailure> {
    let mut result = Module::new(module.name.clone());
    for graph in module.graphs() {
        result.insert(pass(graph)?);
    }
    Ok(result)
}
