//! The verifier: what holds of a whole module.
//!
//! A graph that was built by [`Graph::push`] keeps its ops' constraints already. They are checked again here, after
//! import and after every pass, so that a defect of the builder or of a rule does not travel on, together with what no
//! graph can see alone: calls, donation and the entry.

mod calls;
mod error;

pub use error::{DonationProblem, OpSite, VerifyError};

use crate::rules::{OpError, infer};
use crate::{Graph, Input, Module, Operation, TensorType, ValueId, Visibility};

/// Checks everything that a module promises.
///
/// - A graph has a name, and one graph is the entry.
/// - Inputs fit into memory. Operands are defined before they are used, ops keep the constraints of their kind, their
///   result types are those that follow from the operands', and so in every region.
/// - Graphs give back values of their own.
/// - Calls name a graph of the module and have its signature. No graph calls itself, not even by others.
/// - An input of a public graph is donated to a result that exists, has the same type, and takes no other input's
///   memory. Inputs of private graphs are not donated.
///
/// # Errors
/// Every rule broken, in the module's order.
pub fn verify(module: &Module) -> Result<(), Vec<VerifyError>> {
    let mut errors = Vec::new();
    if module.entry().is_none() {
        errors.push(VerifyError::NoEntry);
    }
    for graph in module.graphs() {
        if graph.name.is_empty() {
            let location = graph.location.clone();
            errors.push(VerifyError::UnnamedGraph { location });
        }
        let mut walk = Walk {
            module,
            root: graph,
            path: Vec::new(),
            errors: &mut errors,
        };
        walk.check_operations(graph);
        check_inputs(graph, &mut errors);
        check_results(graph, &mut errors);
    }
    calls::check_recursion(module, &mut errors);
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors)
    }
}

/// The way through the ops of a graph and their regions.
struct Walk<'a> {
    module: &'a Module,
    /// The graph of the module.
    root: &'a Graph,
    /// The numbers of the ops and regions that lead from there to where the walk is.
    path: Vec<usize>,
    errors: &'a mut Vec<VerifyError>,
}

impl Walk<'_> {
    /// Checks the ops of a graph or region.
    fn check_operations(&mut self, graph: &Graph) {
        let mut defined = graph.inputs().len();
        for (number, operation) in graph.operations().iter().enumerate() {
            self.path.push(number);
            for (number, region) in operation.op.kind.regions().into_iter().enumerate() {
                self.path.push(number);
                self.check_operations(region);
                self.path.pop();
            }
            let checked = check_operation(graph, operation, defined)
                .and_then(|()| Ok(calls::check_call(self.module, graph, operation)?));
            if let Err(broken) = checked {
                let error = broken.at(OpSite {
                    graph: self.root.name.clone(),
                    path: self.path.clone(),
                    location: operation.location.clone(),
                });
                self.errors.push(error);
            }
            self.path.pop();
            defined += operation.results().len();
        }
    }
}

/// What is wrong with an op, wherever it stands.
enum Broken {
    Constraint(OpError),
    ResultTypes {
        op: &'static str,
        expected: Vec<TensorType>,
        found: Vec<TensorType>,
    },
}

impl From<OpError> for Broken {
    fn from(error: OpError) -> Self {
        Self::Constraint(error)
    }
}

impl Broken {
    fn at(self, site: OpSite) -> VerifyError {
        match self {
            Self::Constraint(error) => VerifyError::Op { site, error },
            Self::ResultTypes {
                op,
                expected,
                found,
            } => VerifyError::ResultTypes {
                site,
                op,
                expected,
                found,
            },
        }
    }
}

/// Checks one op, where `defined` values stand before it.
fn check_operation(graph: &Graph, operation: &Operation, defined: usize) -> Result<(), Broken> {
    let kind = &operation.op.kind;
    let operands = &operation.op.operands;
    if let Some(&undefined) = operands.iter().find(|operand| operand.index() >= defined) {
        return Err(OpError::undefined_operand(kind.name(), undefined).into());
    }
    let operand_types: Vec<_> = operands.iter().map(|&o| graph.value_type(o)).collect();
    let inferred = infer(kind, &operand_types)?;
    let stored: Vec<_> = operation.results().map(|r| graph.value_type(r)).collect();
    if inferred.iter().eq(stored.iter().copied()) {
        return Ok(());
    }
    Err(Broken::ResultTypes {
        op: kind.name(),
        expected: inferred,
        found: stored.into_iter().cloned().collect(),
    })
}

fn check_inputs(graph: &Graph, errors: &mut Vec<VerifyError>) {
    let mut donors: Vec<Option<usize>> = vec![None; graph.results().len()];
    for (number, input) in graph.inputs().iter().enumerate() {
        if input.tensor_type.byte_size_checked().is_none() {
            errors.push(VerifyError::InputSize {
                graph: graph.name.clone(),
                input: number,
                tensor_type: input.tensor_type.clone(),
                location: input.location.clone(),
            });
        }
        if let Some(result) = input.donate
            && let Err(problem) = check_donation(graph, number, input, result, &mut donors)
        {
            errors.push(VerifyError::Donation {
                graph: graph.name.clone(),
                input: number,
                problem,
                location: input.location.clone(),
            });
        }
    }
}

/// Checks one input's donation; `donors` holds the input already donated to each result.
fn check_donation(
    graph: &Graph,
    number: usize,
    input: &Input,
    result: usize,
    donors: &mut [Option<usize>],
) -> Result<(), DonationProblem> {
    if graph.visibility == Visibility::Private {
        return Err(DonationProblem::Private);
    }
    let results = donors.len();
    let Some(donor) = donors.get_mut(result) else {
        return Err(DonationProblem::NoSuchResult { result, results });
    };
    if let Some(other) = *donor {
        return Err(DonationProblem::Twice { result, other });
    }
    *donor = Some(number);
    match defined_type(graph, graph.results()[result].value) {
        Some(found) if *found != input.tensor_type => Err(DonationProblem::Type {
            result,
            expected: input.tensor_type.clone(),
            found: found.clone(),
        }),
        _ => Ok(()),
    }
}

fn check_results(graph: &Graph, errors: &mut Vec<VerifyError>) {
    for (number, result) in graph.results().iter().enumerate() {
        if defined_type(graph, result.value).is_none() {
            errors.push(VerifyError::UndefinedResult {
                graph: graph.name.clone(),
                result: number,
                value: result.value,
                location: graph.location.clone(),
            });
        }
    }
}

/// The type of a value, where it is one of the graph.
fn defined_type(graph: &Graph, value: ValueId) -> Option<&TensorType> {
    (value.index() < graph.value_count()).then(|| graph.value_type(value))
}
