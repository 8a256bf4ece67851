//! From what the text says to graphs: each StableHLO op becomes one tsr op, or a few where tsr has no such op.

mod contraction;
mod control;
mod elementwise;
mod indexing;
mod ragged;
mod reduction;
mod shape;

pub(crate) use control::custom_call;

use crate::raw::{RawFunction, RawModule, RawOp, RawRegion};
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use tessera_ir::diagnostic::Diagnostic;
use tessera_ir::text::{Dictionary, ValueUse};
use tessera_ir::{
    Graph, GraphResult, Input, Location, Module, OpKind, Region, TensorType, ValueId, Visibility,
};

/// The module's graphs, in the order of its functions.
pub(crate) fn module(raw: &RawModule<'_>) -> Result<Module, Diagnostic> {
    let mut signatures = HashMap::new();
    for function in &raw.functions {
        if let Some(first) = signatures.insert(function.name.as_str(), function) {
            let message = format!("the function @{} is defined twice", function.name);
            return Err(Diagnostic::new(message, function.span.clone())
                .with_note("first defined here", Some(first.span.clone())));
        }
    }
    let mut module = Module::new(raw.name.clone());
    for function in &raw.functions {
        module.insert(graph(function, &signatures)?);
    }
    if module.entry().is_none() {
        let message = "expected a function @main, or one public function";
        return Err(Diagnostic::new(message, raw.span.clone()));
    }
    Ok(module)
}

/// The functions of a module by name.
type Signatures<'r, 's> = HashMap<&'r str, &'r RawFunction<'s>>;

fn graph<'r, 's>(
    function: &'r RawFunction<'s>,
    signatures: &'r Signatures<'r, 's>,
) -> Result<Graph, Diagnostic> {
    let donations = donations(function)?;
    let arguments = function.body.arguments.iter();
    let inputs = arguments.zip(donations).map(|(argument, donate)| Input {
        value_type: argument.tensor_type.clone().into(),
        name: match &argument.location {
            Location::Name(name, _) => Some(name.to_string()),
            _ => None,
        },
        donate,
        initialiser: None,
        location: argument.location.clone(),
    });
    let mut graph = Graph::new(&function.name, inputs.collect());
    graph.location = function.location.clone();
    graph.visibility = match function.private {
        true => Visibility::Private,
        false => Visibility::Public,
    };
    let mut scope = Scope::new(graph, signatures);
    scope.define_arguments(&function.body)?;
    let (returned, values) = scope.block(&function.body)?;
    let types: Vec<_> = values
        .iter()
        .map(|&v| scope.graph.tensor_type(v).clone())
        .collect();
    if types != function.result_types {
        let message = format!(
            "@{} returns {}, its signature says {}",
            function.name,
            list(&types),
            list(&function.result_types)
        );
        return Err(Diagnostic::new(message, returned));
    }
    let results = values.into_iter().zip(&function.result_attributes);
    let named = |(value, attributes): (_, &Dictionary)| {
        let info = attributes.get("jax.result_info");
        let name = info
            .map(|info| info.string().map(str::to_owned))
            .transpose()?;
        Ok(GraphResult { value, name })
    };
    let results = results.map(named).collect::<Result<_, Diagnostic>>()?;
    scope.graph.set_results(results);
    Ok(scope.graph)
}

/// The result that takes over each argument's memory: the one `tf.aliasing_output` names, or for `jax.buffer_donor`
/// the first of the same type that no other argument goes to, which is how JAX pairs them too.
fn donations(function: &RawFunction<'_>) -> Result<Vec<Option<usize>>, Diagnostic> {
    let mut taken = vec![false; function.result_types.len()];
    let mut donations = Vec::new();
    for attributes in &function.argument_attributes {
        let Some(attribute) = attributes.get("tf.aliasing_output") else {
            donations.push(None);
            continue;
        };
        let result: usize = attribute.integer()?;
        match taken.get_mut(result) {
            Some(taken) if !*taken => *taken = true,
            Some(_) => {
                let message = format!("result {result} is donated to twice");
                return Err(Diagnostic::new(message, attribute.span.clone()));
            }
            None => {
                let message = format!("expected a result's number, 0 to {}", taken.len());
                return Err(Diagnostic::new(message, attribute.span.clone()));
            }
        }
        donations.push(Some(result));
    }
    for (number, attributes) in function.argument_attributes.iter().enumerate() {
        let donor = attributes
            .get("jax.buffer_donor")
            .map(|a| a.bool())
            .transpose()?;
        if donor != Some(true) || donations[number].is_some() {
            continue;
        }
        let wanted = &function.body.arguments[number].tensor_type;
        let fits = |&result: &usize| !taken[result] && function.result_types[result] == *wanted;
        donations[number] = (0..taken.len()).find(fits);
        if let Some(result) = donations[number] {
            taken[result] = true;
        }
    }
    Ok(donations)
}

/// Whether the importer knows what an op of that name means.
pub(crate) fn is_supported(name: &str) -> bool {
    const OTHERS: [&str; 32] = [
        "chlo.ragged_dot",
        "chlo.top_k",
        "func.call",
        "func.return",
        "stablehlo.broadcast_in_dim",
        "stablehlo.case",
        "stablehlo.composite",
        "stablehlo.concatenate",
        "stablehlo.constant",
        "stablehlo.custom_call",
        "stablehlo.dot_general",
        "stablehlo.dynamic_slice",
        "stablehlo.dynamic_update_slice",
        "stablehlo.gather",
        "stablehlo.if",
        "stablehlo.iota",
        "stablehlo.optimization_barrier",
        "stablehlo.pad",
        "stablehlo.reduce",
        "stablehlo.reduce_precision",
        "stablehlo.reduce_window",
        "stablehlo.reshape",
        "stablehlo.return",
        "stablehlo.reverse",
        "stablehlo.scatter",
        "stablehlo.slice",
        "stablehlo.sort",
        "stablehlo.transpose",
        "stablehlo.while",
        "stablehlo.bitcast_convert",
        "stablehlo.convert",
        "stablehlo.compare",
    ];
    elementwise::is_elementwise(name) || OTHERS.contains(&name)
}

/// The refusal of an op that is not supported.
pub(crate) fn unsupported(op: &RawOp<'_>) -> Diagnostic {
    Diagnostic::new(
        format!("the op '{}' is not supported", op.name),
        op.span.clone(),
    )
}

/// A graph in the making and the names of its values.
struct Scope<'r, 's> {
    graph: Graph,
    values: HashMap<(&'r str, usize), ValueId>,
    signatures: &'r Signatures<'r, 's>,
}

impl<'r, 's> Scope<'r, 's> {
    fn new(graph: Graph, signatures: &'r Signatures<'r, 's>) -> Self {
        Self {
            graph,
            values: HashMap::new(),
            signatures,
        }
    }

    /// Binds the names of a block's arguments to the graph's first inputs.
    fn define_arguments(&mut self, region: &'r RawRegion<'s>) -> Result<(), Diagnostic> {
        for (argument, value) in region.arguments.iter().zip(self.graph.input_values()) {
            self.define(argument.name, 0, value, &argument.span)?;
        }
        Ok(())
    }

    fn define(
        &mut self,
        name: &'r str,
        number: usize,
        value: ValueId,
        span: &Range<usize>,
    ) -> Result<(), Diagnostic> {
        match self.values.insert((name, number), value) {
            None => Ok(()),
            Some(_) => {
                let message = format!("the value '%{name}' is defined twice");
                Err(Diagnostic::new(message, span.clone()))
            }
        }
    }

    /// The value of a name.
    fn value(&self, used: &ValueUse<'_>) -> Result<ValueId, Diagnostic> {
        self.values
            .get(&(used.name, used.number))
            .copied()
            .ok_or_else(|| {
                let name = match used.number {
                    0 => format!("%{}", used.name),
                    number => format!("%{}#{number}", used.name),
                };
                Diagnostic::new(
                    format!("the value '{name}' is not defined"),
                    used.span.clone(),
                )
            })
    }

    /// The values of an op's operands, which have the types written.
    fn operands(&self, op: &RawOp<'_>) -> Result<Vec<ValueId>, Diagnostic> {
        if op.operands.len() != op.operand_types.len() {
            return Err(op.error(format!(
                "{} operands, but the types of {}",
                op.operands.len(),
                op.operand_types.len()
            )));
        }
        let typed = op.operands.iter().zip(&op.operand_types);
        typed
            .map(|(used, written)| {
                let value = self.value(used)?;
                let found = self.graph.tensor_type(value);
                if found == written {
                    return Ok(value);
                }
                let message = format!("expected an operand of type {written}, found {found}");
                Err(Diagnostic::new(message, used.span.clone()))
            })
            .collect()
    }

    /// Converts a block's ops and gives what it returns, with the place.
    fn block(
        &mut self,
        region: &'r RawRegion<'s>,
    ) -> Result<(Range<usize>, Vec<ValueId>), Diagnostic> {
        let Some((last, ops)) = region.ops.split_last() else {
            let message = "expected ops and a return";
            return Err(Diagnostic::new(message, region.span.clone()));
        };
        for op in ops {
            let values = self.convert(op)?;
            self.define_results(op, &values)?;
        }
        if !matches!(last.name.as_str(), "func.return" | "stablehlo.return") {
            return Err(last.error("expected a return at the end"));
        }
        Ok((last.span.clone(), self.operands(last)?))
    }

    /// Binds the names of an op's results, which have the types written.
    fn define_results(&mut self, op: &'r RawOp<'s>, values: &[ValueId]) -> Result<(), Diagnostic> {
        let found: Vec<_> = values
            .iter()
            .map(|&v| self.graph.tensor_type(v).clone())
            .collect();
        if found != op.result_types {
            return Err(op.error(format!(
                "the result is {}, the text says {}",
                list(&found),
                list(&op.result_types)
            )));
        }
        let named: usize = op
            .results
            .iter()
            .map(|definition| definition.count)
            .fold(0, usize::saturating_add);
        // In the generic form results nobody uses may go without names.
        if named != values.len() && !op.results.is_empty() {
            return Err(op.error(format!("{} results, but names for {named}", values.len())));
        }
        let mut values = values.iter();
        for definition in &op.results {
            for (number, &value) in (0..definition.count).zip(values.by_ref()) {
                self.define(definition.name, number, value, &definition.span)?;
            }
        }
        Ok(())
    }

    /// Converts one op and gives its results.
    fn convert(&mut self, op: &'r RawOp<'s>) -> Result<Vec<ValueId>, Diagnostic> {
        if elementwise::is_elementwise(&op.name) {
            return elementwise::convert(self, op);
        }
        match op.name.as_str() {
            "stablehlo.compare" => elementwise::compare(self, op),
            "stablehlo.convert" => elementwise::convert_type(self, op),
            "stablehlo.bitcast_convert" => elementwise::bitcast_convert(self, op),
            "stablehlo.reduce_precision" => elementwise::reduce_precision(self, op),
            "stablehlo.constant" => shape::constant(self, op),
            "stablehlo.iota" => shape::iota(self, op),
            "stablehlo.broadcast_in_dim" => shape::broadcast_in_dim(self, op),
            "stablehlo.reshape" => shape::reshape(self, op),
            "stablehlo.transpose" => shape::transpose(self, op),
            "stablehlo.slice" => shape::slice(self, op),
            "stablehlo.dynamic_slice" => shape::dynamic_slice(self, op),
            "stablehlo.dynamic_update_slice" => self.push(op, OpKind::DynamicUpdateSlice {}),
            "stablehlo.pad" => shape::pad(self, op),
            "stablehlo.concatenate" => shape::concatenate(self, op),
            "stablehlo.reverse" => shape::reverse(self, op),
            "stablehlo.reduce" => reduction::reduce(self, op),
            "stablehlo.reduce_window" => reduction::reduce_window(self, op),
            "stablehlo.sort" => reduction::sort(self, op),
            "chlo.top_k" => reduction::top_k(self, op),
            "stablehlo.dot_general" => contraction::dot_general(self, op),
            "chlo.ragged_dot" => ragged::ragged_dot(self, op),
            "stablehlo.gather" => indexing::gather(self, op),
            "stablehlo.scatter" => indexing::scatter(self, op),
            "stablehlo.while" => control::while_loop(self, op),
            "stablehlo.case" => control::case(self, op),
            "stablehlo.if" => control::if_then_else(self, op),
            "func.call" => control::call(self, op),
            "stablehlo.composite" => control::composite(self, op),
            "stablehlo.optimization_barrier" => self.push(op, OpKind::OptimizationBarrier {}),
            "stablehlo.custom_call" => Err(control::generic_custom_call(op)),
            _ => Err(unsupported(op)),
        }
    }

    /// Adds a tsr op on the op's own operands.
    fn push(&mut self, op: &RawOp<'_>, kind: OpKind) -> Result<Vec<ValueId>, Diagnostic> {
        let operands = self.operands(op)?;
        self.push_on(op, kind, operands)
    }

    /// Adds a tsr op on other operands, in the name of `op`.
    fn push_on(
        &mut self,
        op: &RawOp<'_>,
        kind: OpKind,
        operands: Vec<ValueId>,
    ) -> Result<Vec<ValueId>, Diagnostic> {
        let pushed = self.graph.push(kind, operands, op.location.clone());
        let id = pushed.map_err(|error| {
            let message = format!("'{}' ({}): {}", op.name, error.constraint.0, error.message);
            Diagnostic::new(message, op.span.clone())
        })?;
        Ok(self.graph.operation(id).results().collect())
    }

    /// Adds a tsr op with one result.
    fn push_one(
        &mut self,
        op: &RawOp<'_>,
        kind: OpKind,
        operands: Vec<ValueId>,
    ) -> Result<ValueId, Diagnostic> {
        let results = self.push_on(op, kind, operands)?;
        results
            .first()
            .copied()
            .ok_or_else(|| op.error("the op has no result"))
    }

    /// A region that uses nothing from outside: a reducer, a comparator.
    fn isolated_region(&self, region: &'r RawRegion<'s>) -> Result<Region, Diagnostic> {
        if let Some(used) = free_values([region]).first() {
            let message = format!(
                "the region uses '%{}' from outside, which is not supported",
                used.name
            );
            return Err(Diagnostic::new(message, used.span.clone()));
        }
        self.region(region, &[])
    }

    /// A region whose graph takes the block's arguments and after them `captured` values of this scope.
    fn region(
        &self,
        region: &'r RawRegion<'s>,
        captured: &[ValueUse<'r>],
    ) -> Result<Region, Diagnostic> {
        let arguments = region.arguments.iter().map(|argument| Input {
            location: argument.location.clone(),
            ..Input::new(argument.tensor_type.clone())
        });
        let mut inputs: Vec<_> = arguments.collect();
        for used in captured {
            let tensor_type = self.graph.tensor_type(self.value(used)?);
            inputs.push(Input::new(tensor_type.clone()));
        }
        let mut inner = Scope::new(Graph::new("", inputs), self.signatures);
        inner.define_arguments(region)?;
        let entered = inner.graph.input_values().skip(region.arguments.len());
        for (used, value) in captured.iter().zip(entered) {
            inner.define(used.name, used.number, value, &used.span)?;
        }
        let (_, values) = inner.block(region)?;
        inner.graph.set_result_values(values);
        Ok(Region::new(inner.graph))
    }
}

/// The values that regions use and do not define, each once, in the order of their first use.
fn free_values<'r, 's: 'r>(
    regions: impl IntoIterator<Item = &'r RawRegion<'s>>,
) -> Vec<ValueUse<'r>> {
    fn collect<'r>(
        region: &'r RawRegion<'_>,
        outer: &HashSet<&'r str>,
        found: &mut Vec<ValueUse<'r>>,
    ) {
        let mut defined = outer.clone();
        defined.extend(region.arguments.iter().map(|argument| argument.name));
        for op in &region.ops {
            for used in &op.operands {
                let same = |f: &ValueUse<'_>| f.name == used.name && f.number == used.number;
                if !defined.contains(used.name) && !found.iter().any(same) {
                    found.push(used.clone());
                }
            }
            for inner in &op.regions {
                collect(inner, &defined, found);
            }
            defined.extend(op.results.iter().map(|definition| definition.name));
        }
    }
    let mut found = Vec::new();
    for region in regions {
        collect(region, &HashSet::new(), &mut found);
    }
    found
}

/// Types as a message lists them.
fn list(types: &[TensorType]) -> String {
    let types: Vec<_> = types.iter().map(ToString::to_string).collect();
    match types.as_slice() {
        [one] => one.clone(),
        more => format!("({})", more.join(", ")),
    }
}
