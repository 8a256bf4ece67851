//! Modules and graphs as text.
//!
//! ```text
//! module @step {
//!   func.func public @main(%arg0: tensor<4xf32> {tsr.donate = 0, tsr.name = "w"}) -> tensor<4xf32> {
//!     %0 = tsr.constant {value = dense<2.0>} : tensor<4xf32>
//!     %1 = tsr.multiply %arg0, %0 : tensor<4xf32>
//!     return %1 : tensor<4xf32>
//!   }
//! }
//! ```
//!
//! One type stands for all where all operands and results have it. A dense literal without a type has that of the
//! op's result. Values are numbered in the order of the text, also across the graphs that ops hold.

mod locations;
mod names;

use super::dense::write_dense;
use super::types::TypeList;
use crate::attribute::Attribute;
use crate::{
    Graph, Input, Location, Module, OpKind, Operation, Region, TensorType, Type, Visibility,
};
use locations::LocationNames;
use names::{Counters, Names};
pub(crate) use names::{Quoted, SymbolName};
use std::fmt::{self, Write};

/// How a module is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrintOptions {
    /// Each op, input and graph carries its `loc(…)`; long ones are named `#locN` and defined at the end.
    pub locations: bool,
    /// MLIR's generic form, which `mlir-opt --allow-unregistered-dialect` reads.
    pub generic: bool,
}

/// The text of a module. [`parse`](super::parse) reads it back to the same module.
pub fn print(module: &Module, options: PrintOptions) -> String {
    let mut printer = Printer::new(options);
    printer.module(module);
    printer.finish()
}

/// The text of one graph. [`parse_graph`](super::parse_graph) reads it back to the same graph.
pub fn print_graph(graph: &Graph, options: PrintOptions) -> String {
    let mut printer = Printer::new(options);
    printer.function(graph);
    printer.finish()
}

impl fmt::Display for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&print(self, PrintOptions::default()))
    }
}

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&print_graph(self, PrintOptions::default()))
    }
}

/// Writes to a string, which takes whatever is written.
macro_rules! put {
    ($printer:expr, $($argument:tt)*) => {{
        let _ = write!($printer.text, $($argument)*);
    }};
}

/// What is printed so far, and how to go on.
pub(crate) struct Printer<'m> {
    pub(crate) text: String,
    options: PrintOptions,
    pub(crate) depth: usize,
    locations: LocationNames<'m>,
}

impl<'m> Printer<'m> {
    pub(crate) fn new(options: PrintOptions) -> Self {
        Self {
            text: String::new(),
            options,
            depth: 0,
            locations: LocationNames::default(),
        }
    }

    /// The text, with the locations that were named.
    pub(crate) fn finish(mut self) -> String {
        for (number, body) in self.locations.definitions().enumerate() {
            put!(self, "#loc{number} = loc({body})\n");
        }
        self.text
    }

    /// Begins a line.
    pub(crate) fn indent(&mut self) {
        for _ in 0..self.depth {
            self.text.push_str("  ");
        }
    }

    /// Writes what `write` writes one step further to the right.
    fn indented(&mut self, write: impl FnOnce(&mut Self)) {
        self.depth += 1;
        write(self);
        self.depth -= 1;
    }

    /// Writes ` loc(…)` where locations are asked for.
    pub(crate) fn location(&mut self, location: &'m Location) {
        if self.options.locations {
            let reference = self.locations.reference(location);
            put!(self, " loc({reference})");
        }
    }

    fn module(&mut self, module: &'m Module) {
        if self.options.generic {
            self.text.push_str("\"builtin.module\"()");
            if let Some(name) = &module.name {
                put!(self, " <{{sym_name = {}}}>", Quoted(name));
            }
            self.text.push_str(" ({\n^bb0:\n");
        } else {
            self.text.push_str("module ");
            if let Some(name) = &module.name {
                put!(self, "{} ", SymbolName(name));
            }
            self.text.push_str("{\n");
        }
        self.indented(|printer| module.graphs().for_each(|graph| printer.function(graph)));
        self.text.push_str(if self.options.generic {
            "}) : () -> ()\n"
        } else {
            "}\n"
        });
    }

    fn function(&mut self, graph: &'m Graph) {
        self.indent();
        if self.options.generic {
            self.generic_function(graph);
        } else {
            put!(
                self,
                "func.func {} {}",
                visibility(graph),
                SymbolName(&graph.name)
            );
            self.signature_and_body(graph);
        }
        self.location(&graph.location);
        self.text.push('\n');
    }

    fn generic_function(&mut self, graph: &'m Graph) {
        self.text.push_str("\"func.func\"() <{");
        let inputs = graph.inputs().iter();
        let of_inputs: Vec<String> = inputs.map(|input| input_attributes(input, true)).collect();
        let results = graph.results().iter();
        let of_results: Vec<String> = results
            .map(|result| name_attribute(&result.name).unwrap_or_default())
            .collect();
        let any = |attributes: &[String]| attributes.iter().any(|one| !one.is_empty());
        if any(&of_inputs) {
            put!(self, "arg_attrs = [{}], ", dictionaries(&of_inputs));
        }
        let types: Vec<Type> = graph
            .inputs()
            .iter()
            .map(|i| i.value_type.clone())
            .collect();
        let result_types: Vec<Type> = graph.result_types().cloned().collect();
        put!(self, "function_type = {} -> ", TypeList(&types));
        put!(self, "{}, ", TypeList(&result_types));
        if any(&of_results) {
            put!(self, "res_attrs = [{}], ", dictionaries(&of_results));
        }
        put!(self, "sym_name = {}, ", Quoted(&graph.name));
        put!(self, "sym_visibility = \"{}\"}}> (", visibility(graph));
        self.region("bb0", graph, "func.return", &mut Counters::default());
        self.text.push_str(") : () -> ()");
    }

    /// Writes `(inputs) -> results {` ops `}`.
    pub(crate) fn signature_and_body(&mut self, graph: &'m Graph) {
        let mut counters = Counters::default();
        let mut names = Names::of_inputs(graph, &mut counters);
        self.text.push('(');
        self.inputs(graph, &names, true);
        self.text.push(')');
        let results: Vec<String> = graph
            .results()
            .iter()
            .map(|result| {
                let attributes = name_attribute(&result.name);
                let attributes = attributes.map(|text| format!(" {{{text}}}"));
                let value_type = graph.value_type(result.value);
                format!("{value_type}{}", attributes.unwrap_or_default())
            })
            .collect();
        match results.as_slice() {
            [] => {}
            [one] if !one.ends_with('}') => put!(self, " -> {one}"),
            several => put!(self, " -> ({})", several.join(", ")),
        }
        self.text.push_str(" {\n");
        self.indented(|printer| printer.body(graph, &mut names, "return", &mut counters));
        self.indent();
        self.text.push('}');
    }

    /// Writes the inputs as they are defined, `%arg0: tensor<f32>`.
    fn inputs(&mut self, graph: &'m Graph, names: &Names, with_attributes: bool) {
        for (index, (input, value)) in graph.inputs().iter().zip(graph.input_values()).enumerate() {
            let separator = if index > 0 { ", " } else { "" };
            put!(
                self,
                "{separator}{}: {}",
                names.get(value),
                input.value_type
            );
            if with_attributes {
                let attributes = input_attributes(input, false);
                if !attributes.is_empty() {
                    put!(self, " {{{attributes}}}");
                }
            }
            self.location(&input.location);
        }
    }

    /// Writes a graph in braces, its inputs after a label.
    fn region(&mut self, label: &str, graph: &'m Graph, terminator: &str, counters: &mut Counters) {
        let mut names = Names::of_inputs(graph, counters);
        self.text.push_str("{\n");
        self.indent();
        put!(self, "^{label}");
        if !graph.inputs().is_empty() {
            self.text.push('(');
            self.inputs(graph, &names, false);
            self.text.push(')');
        }
        self.text.push_str(":\n");
        self.indented(|printer| printer.body(graph, &mut names, terminator, counters));
        self.indent();
        self.text.push('}');
    }

    /// Writes the ops and the return.
    fn body(
        &mut self,
        graph: &'m Graph,
        names: &mut Names,
        terminator: &str,
        counters: &mut Counters,
    ) {
        for operation in graph.operations() {
            self.indent();
            let definition = names.define(operation, counters);
            self.text.push_str(&definition);
            if self.options.generic {
                self.generic_operation(graph, operation, names, counters);
            } else {
                self.pretty_operation(graph, operation, names, counters);
            }
            self.location(&operation.location);
            self.text.push('\n');
        }
        self.indent();
        let values = names.list(graph.results().iter().map(|result| result.value));
        let types: Vec<Type> = graph.result_types().cloned().collect();
        if self.options.generic {
            put!(
                self,
                "\"{terminator}\"({values}) : {} -> ()",
                TypeList(&types)
            );
        } else if types.is_empty() {
            put!(self, "{terminator}");
        } else {
            let types: Vec<String> = types.iter().map(ToString::to_string).collect();
            put!(self, "{terminator} {values} : {}", types.join(", "));
        }
        self.text.push('\n');
    }

    fn pretty_operation(
        &mut self,
        graph: &'m Graph,
        operation: &'m Operation,
        names: &Names,
        counters: &mut Counters,
    ) {
        let kind = &operation.op.kind;
        let (operands, results) = types(graph, operation);
        put!(self, "tsr.{}", kind.name());
        if !operands.is_empty() {
            put!(
                self,
                " {}",
                names.list(operation.op.operands.iter().copied())
            );
        }
        let attributes = kind.attributes();
        for (index, (name, attribute)) in attributes.iter().enumerate() {
            put!(self, "{}{name} = ", if index > 0 { ", " } else { " {" });
            self.pretty_attribute(attribute, &results);
        }
        if !attributes.is_empty() {
            self.text.push('}');
        }
        self.text.push_str(" : ");
        let mut all = operands.iter().chain(&results);
        match all.next() {
            Some(first) if all.all(|other| other == first) => put!(self, "{first}"),
            _ => {
                put!(self, "{} -> ", TypeList(&operands));
                match results.as_slice() {
                    [one] => put!(self, "{one}"),
                    several => put!(self, "{}", TypeList(several)),
                }
            }
        }
        self.regions(kind, " ", counters);
    }

    fn generic_operation(
        &mut self,
        graph: &'m Graph,
        operation: &'m Operation,
        names: &Names,
        counters: &mut Counters,
    ) {
        let kind = &operation.op.kind;
        let (operands, results) = types(graph, operation);
        let values = names.list(operation.op.operands.iter().copied());
        put!(self, "\"tsr.{}\"({values})", kind.name());
        let attributes = kind.attributes();
        for (index, (name, attribute)) in attributes.iter().enumerate() {
            put!(self, "{}{name} = ", if index > 0 { ", " } else { " <{" });
            self.generic_attribute(attribute);
        }
        if !attributes.is_empty() {
            self.text.push_str("}>");
        }
        if !kind.regions().is_empty() {
            self.regions(kind, " (", counters);
            self.text.push(')');
        }
        put!(self, " : {} -> ", TypeList(&operands));
        match results.as_slice() {
            [one] => put!(self, "{one}"),
            several => put!(self, "{}", TypeList(several)),
        }
    }

    fn regions(&mut self, kind: &'m OpKind, before: &str, counters: &mut Counters) {
        let regions: Vec<&'m Region> = kind.regions();
        for (index, (region, name)) in regions.iter().zip(kind.region_names()).enumerate() {
            self.text.push_str(if index > 0 { ", " } else { before });
            self.region(name, region, "tsr.return", counters);
        }
    }

    fn pretty_attribute(&mut self, attribute: &Attribute, results: &[Type]) {
        match attribute {
            Attribute::Integer(value) => put!(self, "{value}"),
            Attribute::Integers(values) => put!(self, "{values:?}"),
            Attribute::Keyword(word) => self.text.push_str(word),
            Attribute::Tensor(tensor) => {
                write_dense(&mut self.text, tensor);
                let tensor_type = TensorType::of(tensor);
                if results != [Type::Tensor(tensor_type.clone())] {
                    put!(self, " : {tensor_type}");
                }
            }
            Attribute::Bool(_) | Attribute::Symbol(_) | Attribute::ElementType(_) => {
                self.generic_attribute(attribute);
            }
        }
    }

    fn generic_attribute(&mut self, attribute: &Attribute) {
        match attribute {
            Attribute::Bool(value) => put!(self, "{value}"),
            Attribute::Integer(value) => put!(self, "{value} : i64"),
            Attribute::Integers(values) => {
                let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                let colon = if values.is_empty() { "" } else { ": " };
                put!(self, "array<i64{colon}{}>", values.join(", "));
            }
            Attribute::Keyword(word) => put!(self, "{}", Quoted(word)),
            Attribute::Symbol(symbol) => put!(self, "{}", SymbolName(&symbol.0)),
            Attribute::Tensor(tensor) => {
                write_dense(&mut self.text, tensor);
                put!(self, " : {}", TensorType::of(tensor));
            }
            Attribute::ElementType(element) => put!(self, "{element}"),
        }
    }
}

/// The types of an op's operands and results.
fn types(graph: &Graph, operation: &Operation) -> (Vec<Type>, Vec<Type>) {
    let of = |value| graph.value_type(value).clone();
    (
        operation.op.operands.iter().copied().map(of).collect(),
        operation.results().map(of).collect(),
    )
}

const fn visibility(graph: &Graph) -> &'static str {
    match graph.visibility {
        Visibility::Public => "public",
        Visibility::Private => "private",
    }
}

/// What an input says besides its type, without braces.
fn input_attributes(input: &Input, generic: bool) -> String {
    let suffix = if generic { " : i64" } else { "" };
    let donate = input.donate;
    let donate = donate.map(|result| format!("tsr.donate = {result}{suffix}"));
    let initialiser = input.initialiser.map(|initialiser| {
        let text = initialiser.to_string();
        format!("tsr.initialiser = {}", Quoted(&text))
    });
    let parts = donate.into_iter().chain(initialiser);
    let parts: Vec<String> = parts.chain(name_attribute(&input.name)).collect();
    parts.join(", ")
}

fn name_attribute(name: &Option<String>) -> Option<String> {
    let name = name.as_ref()?;
    Some(format!("tsr.name = {}", Quoted(name)))
}

fn dictionaries(attributes: &[String]) -> String {
    let braced: Vec<String> = attributes.iter().map(|one| format!("{{{one}}}")).collect();
    braced.join(", ")
}
