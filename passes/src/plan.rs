//! From a module of kernel calls to a [`Plan`]: an order, and a place for every value.
//!
//! | file | what it does |
//! |---|---|
//! | `schedule` | the order of a graph's ops |
//! | `program` | ops in order become instructions on variables, with the time each variable lives |
//! | `in_place` | which result of a kernel may overwrite which operand |
//! | `coalesce` | variables that can lie in one place become one, so that nothing is copied |
//! | `copies` | copies that happen at once become copies one after another |
//! | `arena` | places in the arena |
//! | [`evaluate`](mod@evaluate) | doing what a plan says, checked step by step: the oracle of its tests |

mod arena;
mod coalesce;
mod copies;
mod emit;
pub mod evaluate;
mod in_place;
mod live;
mod program;
mod schedule;

use crate::manager::{PassError, PassFailure, Reproducer, guarded};
use coalesce::Coalescing;
use program::Program;
use tessera_ir::plan::Plan;
use tessera_ir::text::{self, PrintOptions};
use tessera_ir::{Graph, Module};

/// How a plan is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanOptions {
    /// Whether kernels may overwrite operands that nobody needs any more. Without, every kernel writes memory of its own
    /// and donated inputs are overwritten in the end.
    pub in_place: bool,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self { in_place: true }
    }
}

/// The plan of a module's entry. The module is one that [`fuse`](mod@crate::fuse) made: kernels are private graphs.
///
/// # Errors
/// The module has no entry, or its entry holds an op that is neither a call of a kernel, nor control flow, nor free.
pub fn plan(module: &Module, options: PlanOptions) -> Result<Plan, PassError> {
    let span = tracing::debug_span!("plan");
    let _entered = span.enter();
    guarded(|| plan_entry(module, options)).map_err(|cause| PassError {
        pass: "plan".to_owned(),
        cause,
        reproducer: Box::new(Reproducer {
            pipeline: String::new(),
            module: text::print(
                module,
                PrintOptions {
                    locations: true,
                    ..PrintOptions::default()
                },
            ),
        }),
    })
}

fn plan_entry(module: &Module, options: PlanOptions) -> Result<Plan, PassFailure> {
    let entry = module.entry().ok_or_else(|| {
        PassFailure::refused("the module has no entry: expected @main or one public graph")
    })?;
    plan_graph(module, entry, options)
}

fn plan_graph(module: &Module, entry: &Graph, options: PlanOptions) -> Result<Plan, PassFailure> {
    let program = Program::of(module, entry)?;
    let coalescing = Coalescing::of(&program, options);
    let plan = emit::plan(entry, program, coalescing);
    plan.check().map_err(|errors| {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        PassFailure::internal(format!(
            "the plan breaks its promises: {}",
            errors.join("; ")
        ))
    })?;
    Ok(plan)
}
