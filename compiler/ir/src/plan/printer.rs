//! Plans as text.
//!
//! ```text
//! plan @main arena = 64 {
//!   input 0 : tensor<4xf32> donate 0 name "w"
//!   result 0 : tensor<4xf32>
//!   constant 0 : dense<2.0> : tensor<f32>
//!   buffer %b0 : tensor<4xf32> at input(0)
//!   buffer %b1 : tensor<f32> at constant(0)
//!   kernel @loop_multiply loop(%arg0: tensor<4xf32>, %arg1: tensor<f32>) -> tensor<4xf32> {
//!     …
//!   }
//!   launch @loop_multiply(%b0, %b1) -> (%b0)
//! }
//! ```

use super::{Kernel, KernelId, Plan, Step};
use crate::text::printer::{Printer, Quoted, SymbolName};
use crate::text::{PrintOptions, write_dense};
use crate::{TensorType, Visibility};
use std::fmt::{self, Write};

/// The text of a plan. [`parse`](super::parse) reads it back to the same plan, if that [checks](Plan::check).
pub fn print(plan: &Plan, locations: bool) -> String {
    let options = PrintOptions {
        locations,
        generic: false,
    };
    let mut printer = PlanPrinter {
        printer: Printer::new(options),
        plan,
    };
    printer.plan();
    printer.printer.finish()
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&print(self, false))
    }
}

struct PlanPrinter<'p> {
    printer: Printer<'p>,
    plan: &'p Plan,
}

impl<'p> PlanPrinter<'p> {
    fn put(&mut self, text: fmt::Arguments<'_>) {
        // A string takes whatever is written to it.
        let _ = self.printer.text.write_fmt(text);
    }

    /// Writes a line.
    fn line(&mut self, text: fmt::Arguments<'_>) {
        self.printer.indent();
        self.put(text);
        self.printer.text.push('\n');
    }

    fn indented(&mut self, write: impl FnOnce(&mut Self)) {
        self.printer.depth += 1;
        write(self);
        self.printer.depth -= 1;
    }

    fn plan(&mut self) {
        let plan = self.plan;
        let name = SymbolName(&plan.name);
        self.line(format_args!("plan {name} arena = {} {{", plan.arena_bytes));
        self.indented(|printer| {
            printer.interface();
            for (number, tensor) in plan.constants.iter().enumerate() {
                let mut dense = String::new();
                write_dense(&mut dense, tensor);
                let tensor_type = TensorType::of(tensor);
                printer.line(format_args!("constant {number} : {dense} : {tensor_type}"));
            }
            for (number, buffer) in plan.buffers.iter().enumerate() {
                let (value_type, place) = (&buffer.value_type, buffer.place);
                printer.line(format_args!("buffer %b{number} : {value_type} at {place}"));
            }
            plan.kernels
                .iter()
                .for_each(|kernel| printer.kernel(kernel));
            plan.schedule.iter().for_each(|step| printer.step(step));
        });
        self.line(format_args!("}}"));
    }

    fn interface(&mut self) {
        let named = |name: &Option<String>| match name {
            Some(name) => format!(" name {}", Quoted(name)),
            None => String::new(),
        };
        for (number, input) in self.plan.inputs.iter().enumerate() {
            let donate = input.donate.map(|result| format!(" donate {result}"));
            let (tensor_type, name) = (&input.tensor_type, named(&input.name));
            let donate = donate.unwrap_or_default();
            let initialiser = input.initialiser.map(|initialiser| {
                let text = initialiser.to_string();
                format!(" initialiser {}", Quoted(&text))
            });
            let initialiser = initialiser.unwrap_or_default();
            self.line(format_args!(
                "input {number} : {tensor_type}{donate}{initialiser}{name}"
            ));
        }
        for (number, result) in self.plan.results.iter().enumerate() {
            let (tensor_type, name) = (&result.tensor_type, named(&result.name));
            self.line(format_args!("result {number} : {tensor_type}{name}"));
        }
    }

    fn kernel(&mut self, kernel: &'p Kernel) {
        let body = &kernel.body;
        self.printer.indent();
        let (name, family) = (SymbolName(&kernel.name), kernel.family.name());
        self.put(format_args!("kernel {name} {family}"));
        // A kernel's graph has no name of its own; where it has one, that is kept.
        if !body.name.is_empty() || body.visibility == Visibility::Private {
            let visibility = match body.visibility {
                Visibility::Public => "public",
                Visibility::Private => "private",
            };
            self.put(format_args!(" {visibility} {}", SymbolName(&body.name)));
        }
        self.printer.signature_and_body(body);
        self.printer.location(&body.location);
        self.printer.text.push('\n');
    }

    fn kernel_name(&self, id: KernelId) -> String {
        match self.plan.kernels.get(id.0 as usize) {
            Some(kernel) => SymbolName(&kernel.name).to_string(),
            None => format!("kernel({})", id.0),
        }
    }

    fn step(&mut self, step: &'p Step) {
        self.printer.indent();
        match step {
            Step::Launch {
                kernel,
                operands,
                results,
                location,
            } => {
                let list = |buffers: &[super::BufferId]| {
                    let names: Vec<String> = buffers.iter().map(ToString::to_string).collect();
                    names.join(", ")
                };
                let name = self.kernel_name(*kernel);
                let (operands, results) = (list(operands), list(results));
                self.put(format_args!("launch {name}({operands}) -> ({results})"));
                self.printer.location(location);
            }
            Step::Copy {
                source,
                destination,
            } => self.put(format_args!("copy {source} -> {destination}")),
            Step::While {
                condition,
                predicate,
                body,
            } => {
                self.put(format_args!("while {predicate} "));
                self.block(condition);
                self.put(format_args!(" do "));
                self.block(body);
            }
            Step::Case { index, branches } => {
                self.put(format_args!("case {index}"));
                for (number, branch) in branches.iter().enumerate() {
                    self.put(format_args!("{}", if number > 0 { ", " } else { " " }));
                    self.block(branch);
                }
            }
        }
        self.printer.text.push('\n');
    }

    fn block(&mut self, steps: &'p [Step]) {
        self.put(format_args!("{{\n"));
        self.indented(|printer| steps.iter().for_each(|step| printer.step(step)));
        self.printer.indent();
        self.put(format_args!("}}"));
    }
}
