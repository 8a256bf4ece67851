//! The verifier: what holds of a whole module.
//!
//! A graph that was built by [`Graph::push`] keeps its ops' constraints already. They are checked again here, after
//! import and after every pass, so that a defect of the builder or of a rule does not travel on, together with what no
//! graph can see alone: calls, donation and the entry.

mod calls;
mod error;

pub use error::{DonationProblem, OpSite, VerifyError};

use crate::rules::{OpError, infer};
use crate::{Graph, Input, Module, Operation, Type, ValueId, Visibility};

/// Checks everything that a module promises.
///
/// - A graph has a name, and one graph is the entry.
/// - Inputs fit into memory. Operands are defined before they are used, ops keep the constraints of their kind, their
///   result types are those that follow from the operands', and so in every region.
/// - Graphs give back values of their own.
/// - Calls name a graph of the module and have its signature. No graph calls itself, not even by others.
/// - An input of a public graph is donated to a result that exists, has the same type, and takes no other input's
///   memory. Inputs of private graphs are not donated.
/// - A public graph takes and gives tensors.
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
        check_boundary(graph, &mut errors);
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
        expected: Vec<Type>,
        found: Vec<Type>,
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
        if input.value_type.byte_size_checked().is_none() {
            errors.push(VerifyError::InputSize {
                graph: graph.name.clone(),
                input: number,
                value_type: input.value_type.clone(),
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
        Some(found) if *found != input.value_type => Err(DonationProblem::Type {
            result,
            expected: input.value_type.clone(),
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

/// Checks that a public graph takes and gives tensors.
fn check_boundary(graph: &Graph, errors: &mut Vec<VerifyError>) {
    if graph.visibility == Visibility::Private {
        return;
    }
    let inputs = graph.inputs().iter().map(|input| Some(&input.value_type));
    let results = graph.results().iter();
    let results = results.map(|result| defined_type(graph, result.value));
    let named = |role| move |(number, found)| (role, number, found);
    let inputs = inputs.enumerate().map(named("input"));
    for (role, number, found) in inputs.chain(results.enumerate().map(named("result"))) {
        if let Some(Type::Scaled(scaled)) = found {
            errors.push(VerifyError::ScaledBoundary {
                graph: graph.name.clone(),
                role,
                number,
                found: scaled.clone(),
                location: graph.location.clone(),
            });
        }
    }
}

/// The type of a value, where it is one of the graph.
fn defined_type(graph: &Graph, value: ValueId) -> Option<&Type> {
    (value.index() < graph.value_count()).then(|| graph.value_type(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Builder, ElementType, Location, OpKind, Symbol, TensorType};

    fn f32s(shape: &[usize]) -> Input {
        Input::new(TensorType::new(ElementType::F32, shape))
    }

    fn messages(graphs: impl IntoIterator<Item = Graph>) -> Vec<String> {
        let mut module = Module::new(None);
        for graph in graphs {
            module.insert(graph);
        }
        let errors = verify(&module).err().unwrap_or_default();
        errors.iter().map(ToString::to_string).collect()
    }

    /// `name(x) = -x`.
    fn negation(name: &str) -> Graph {
        let (mut b, [x]) = Builder::new(name, [f32s(&[2])]);
        b.set_location(Location::file("step.py", 3, 5));
        let y = b.negate(x).unwrap();
        b.finish_private([y])
    }

    /// `name(x)` calls graphs, each applied to x.
    fn caller(name: &str, callees: &[&str]) -> Graph {
        let (mut b, [x]) = Builder::new(name, [f32s(&[2])]);
        for callee in callees {
            let kind = OpKind::Call {
                callee: Symbol((*callee).to_owned()),
                result_types: vec![TensorType::new(ElementType::F32, [2]).into()],
            };
            b.push(kind, [x]).unwrap();
        }
        b.finish([x])
    }

    const NONE: [&str; 0] = [];

    #[test]
    fn a_module_that_keeps_the_rules_is_verified() {
        assert_eq!(messages([caller("main", &["f"]), negation("f")]), NONE);
    }

    #[test]
    fn a_module_has_an_entry() {
        assert_eq!(
            messages([negation("f")]),
            ["the module has no entry: expected a graph @main, or one public graph"]
        );
        assert_eq!(
            messages([caller("f", &[]), caller("g", &[])]),
            ["the module has no entry: expected a graph @main, or one public graph"]
        );
    }

    #[test]
    fn graphs_have_names() {
        assert_eq!(
            messages([caller("main", &[]), negation("")]),
            ["a graph of the module has no name"]
        );
    }

    #[test]
    fn stored_types_are_those_that_follow_from_the_op() {
        let mut graph = negation("main");
        graph.parts_mut().1[1] = TensorType::new(ElementType::F64, [2]).into();
        let mut module = Module::new(None);
        module.insert(graph);
        let errors = verify(&module).unwrap_err();
        assert_eq!(
            errors[0].to_string(),
            "@main, op 0: 'tsr.negate' must give (tensor<2xf32>), found (tensor<2xf64>)"
        );
        assert_eq!(errors[0].location(), &Location::file("step.py", 3, 5));
        assert_eq!(errors.len(), 1);
    }

    #[test]
    fn constraints_are_checked_again() {
        let mut graph = negation("main");
        graph.parts_mut().0[0].op.kind = OpKind::Clamp {};
        let mut module = Module::new(None);
        module.insert(graph);
        let errors = verify(&module).unwrap_err();
        assert_eq!(
            errors[0].to_string(),
            "@main, op 0: 'tsr.clamp' (operands): expected 3 operand(s), found 1"
        );
        assert_eq!(errors[0].constraint().unwrap().0, "operands");
        assert_eq!(errors[0].graph(), Some("main"));
    }

    #[test]
    fn operands_are_defined_before_their_use() {
        let mut graph = negation("main");
        let own_result = graph.operations()[0].result();
        graph.parts_mut().0[0].op.operands = vec![own_result];
        assert_eq!(
            messages([graph]),
            ["@main, op 0: 'tsr.negate' (SSA): operand 1 is not a value of the graph"]
        );
    }

    #[test]
    fn regions_are_checked_to_any_depth() {
        let (mut b, [x]) = Builder::new("main", [f32s(&[])]);
        let call = |b: &mut Builder, x| {
            let result_types = vec![TensorType::scalar(ElementType::F32).into()];
            let callee = Symbol("negaet".to_owned());
            b.push(
                OpKind::Call {
                    callee,
                    result_types,
                },
                [x],
            )
        };
        let y = b.negate(x).unwrap();
        b.while_loop(
            &[x],
            &[y],
            |b, carried, _| b.is_finite(carried[0]),
            |b, carried, _| {
                let finite = b.is_finite(carried[0])?;
                b.if_else(
                    finite,
                    carried,
                    |b, captured| call(b, captured[0]),
                    |_, captured| Ok(captured.to_vec()),
                )
            },
        )
        .unwrap();
        assert_eq!(
            messages([b.finish([y]), negation("negate")]),
            [
                "@main, op 1, region 1, op 2, region 1, op 0: 'tsr.call' (T1): no graph of the module is named @negaet, did you mean @negate?"
            ]
        );
    }

    #[test]
    fn a_call_has_its_callees_type() {
        let (mut b, [x, y]) = Builder::new("main", [f32s(&[2]), f32s(&[3])]);
        let callee = negation("f");
        b.call(&callee, &[y]).unwrap();
        b.call(&callee, &[x, x]).unwrap();
        assert_eq!(
            messages([b.finish([x]), callee]),
            [
                "@main, op 0: 'tsr.call' (T2): @f has type (tensor<2xf32>) -> tensor<2xf32>, found a call of type (tensor<3xf32>) -> tensor<2xf32>",
                "@main, op 1: 'tsr.call' (T2): @f has type (tensor<2xf32>) -> tensor<2xf32>, found a call of type (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>",
            ]
        );
    }

    #[test]
    fn no_graph_calls_itself() {
        assert_eq!(
            messages([
                caller("main", &["f", "g"]),
                caller("f", &["h"]),
                caller("g", &["g"]),
                caller("h", &["f"]),
            ]),
            [
                "a graph must not call itself, found a circle of calls among @f, @h",
                "a graph must not call itself, found a circle of calls among @g",
            ]
        );
    }

    #[test]
    fn inputs_fit_into_memory() {
        let (b, [_, x]) = Builder::new("main", [f32s(&[1 << 40, 1 << 40]), f32s(&[])]);
        assert_eq!(
            messages([b.finish([x])]),
            [
                "@main: input 0 is larger than the address space: tensor<1099511627776x1099511627776xf32>"
            ]
        );
    }

    #[test]
    fn results_are_values_of_the_graph() {
        let foreign = negation("f").operations()[0].result();
        let (b, [x]) = Builder::new("main", [f32s(&[])]);
        assert_eq!(
            messages([b.finish([x, foreign])]),
            ["@main: result 1 must be a value of the graph, found value 1"]
        );
    }

    /// `main(x, y) = (x + x, y + y)`, donated so.
    fn donated(x: Option<usize>, y: Option<usize>) -> Graph {
        let (mut b, [x0, y0]) = Builder::new("main", [f32s(&[2]), f32s(&[3])]);
        let (x1, y1) = (b.add(x0, x0).unwrap(), b.add(y0, y0).unwrap());
        let mut graph = b.finish([x1, y1]);
        for (input, donate) in graph.inputs_mut().zip([x, y]) {
            *input.donate = donate;
        }
        graph
    }

    #[test]
    fn inputs_are_donated_to_results_of_their_type() {
        assert_eq!(messages([donated(Some(0), Some(1))]), NONE);
        assert_eq!(
            messages([donated(Some(1), None)]),
            [
                "@main: input 0 of type tensor<2xf32> is donated to result 1, which has type tensor<3xf32>"
            ]
        );
        assert_eq!(
            messages([donated(None, Some(2))]),
            ["@main: input 1 is donated to result 2, expected one of the 2 result(s)"]
        );
    }

    #[test]
    fn a_result_takes_the_memory_of_one_input() {
        assert_eq!(
            messages([donated(Some(0), Some(0))]),
            ["@main: input 1 is donated to result 0, to which input 0 is donated already"]
        );
    }

    #[test]
    fn inputs_of_private_graphs_are_not_donated() {
        let mut private = negation("f");
        private
            .inputs_mut()
            .for_each(|input| *input.donate = Some(0));
        assert_eq!(
            messages([caller("main", &[]), private]),
            ["@f: input 0 is donated, expected none of a private graph"]
        );
    }
}
