//! The C header of a GPU's bundle: all that a host program has to know to run the step, as constant data.
//!
//! The types are the same in every bundle; the data is of one. Control flow is flat: steps that go to others.

use std::fmt::Write;
use tessera_runtime::bundle::{Kernel, Manifest, Place, Step, TensorMap, TensorType, ValueType};

/// The types, and what their fields mean.
const TYPES: &str = include_str!("header/types.h");

/// `step.h`: memory, kernels and steps of the manifest, whose constants have their places.
pub fn header(manifest: &Manifest) -> String {
    let mut text = TYPES.to_owned();
    let mut data = Data(&mut text);
    data.tensors(manifest);
    data.buffers(manifest);
    data.kernels(&manifest.kernels);
    data.steps(&manifest.schedule);
    data.program(manifest);
    text
}

/// Definitions of constants, appended to the text.
struct Data<'a>(&'a mut String);

impl Data<'_> {
    /// An array; an empty one, which C does not have, as one zero.
    fn array(&mut self, name: &str, element: &str, values: &[String]) {
        let _ = writeln!(self.0, "\nstatic const {element} {name}[] = {{");
        for value in values {
            let _ = writeln!(self.0, "    {value},");
        }
        if values.is_empty() {
            let _ = writeln!(self.0, "    {{0}},");
        }
        let _ = writeln!(self.0, "}};");
    }

    fn tensors(&mut self, manifest: &Manifest) {
        let tensor = |name: &Option<String>, tensor_type: &TensorType, donated: Option<usize>| {
            let value_type = ValueType::Tensor(tensor_type.clone());
            format!(
                "{{{}, {}, {}, {}}}",
                string(name.as_deref().unwrap_or("")),
                string(&value_type.to_string()),
                value_type.bytes().unwrap_or(0),
                donated.map_or(-1, |result| result as i64)
            )
        };
        let inputs = manifest.inputs.iter();
        let inputs: Vec<_> = inputs
            .map(|input| tensor(&input.name, &input.tensor_type, input.donate))
            .collect();
        self.array("step_inputs", "struct tessera_tensor", &inputs);
        let results = manifest.results.iter();
        let results: Vec<_> = results
            .map(|result| tensor(&result.name, &result.tensor_type, None))
            .collect();
        self.array("step_results", "struct tessera_tensor", &results);
    }

    fn buffers(&mut self, manifest: &Manifest) {
        let buffers = manifest.buffers.iter().map(|buffer| {
            let (place, number, offset) = match buffer.place {
                Place::Input(number) => ("TESSERA_INPUT", number, 0),
                Place::Result(number) => ("TESSERA_RESULT", number, 0),
                Place::Constant(number) => (
                    "TESSERA_CONSTANT",
                    number,
                    manifest.constants[number].offset,
                ),
                Place::Arena(offset) => ("TESSERA_ARENA", 0, offset),
            };
            let bytes = buffer.value_type.bytes().unwrap_or(0);
            format!("{{{place}, {number}, {offset}, {bytes}}}")
        });
        let buffers: Vec<_> = buffers.collect();
        self.array("step_buffers", "struct tessera_buffer", &buffers);
    }

    fn kernels(&mut self, kernels: &[Kernel]) {
        let mut maps = Vec::new();
        let mut rows = Vec::new();
        for kernel in kernels {
            let Some(code) = kernel.code.as_ptx() else {
                continue;
            };
            let first = maps.len();
            maps.extend(code.tensor_maps.iter().map(tensor_map));
            rows.push(format!(
                "{{{}, {}, {}, {}, {}, {}, {}, {}, step_maps + {first}}}",
                string(&code.entry),
                list(&code.grid),
                list(&code.block),
                list(&code.cluster),
                code.shared_bytes,
                code.workspace_bytes,
                kernel.operands.len() + kernel.results.len(),
                code.tensor_maps.len(),
            ));
        }
        self.array("step_maps", "struct tessera_map", &maps);
        self.array("step_kernels", "struct tessera_kernel", &rows);
    }

    fn steps(&mut self, schedule: &[Step]) {
        let mut flat = Flat::default();
        flat.all(schedule);
        let mut lists = Vec::new();
        let rows: Vec<String> = (flat.steps.iter())
            .map(|step| {
                let first = lists.len();
                lists.extend(step.list.iter().map(ToString::to_string));
                let Line { op, a, b, .. } = step;
                format!("{{{op}, {a}, {b}, step_lists + {first}}}")
            })
            .collect();
        if lists.is_empty() {
            lists.push("0".to_owned());
        }
        self.array("step_lists", "uint32_t", &lists);
        self.array("step_steps", "struct tessera_step", &rows);
        let count = rows.len();
        let _ = writeln!(self.0, "\nenum {{ step_count = {count} }};");
    }

    fn program(&mut self, manifest: &Manifest) {
        let workspace = manifest
            .kernels
            .iter()
            .filter_map(|kernel| kernel.code.as_ptx());
        let workspace = workspace
            .map(|code| code.workspace_bytes)
            .max()
            .unwrap_or(0);
        let _ = writeln!(
            self.0,
            "\n/* The step. */\nstatic const struct tessera_program step = {{\n    {}, {}, step_inputs, {}, step_results, \
             {},\n    step_buffers, step_kernels, {}, step_steps, step_count, {}, {}\n}};",
            string(&manifest.target.name),
            manifest.inputs.len(),
            manifest.results.len(),
            manifest.buffers.len(),
            manifest.kernels.len(),
            manifest.arena_bytes,
            workspace,
        );
    }
}

/// A step that knows where it goes on.
struct Line {
    op: &'static str,
    a: usize,
    b: usize,
    list: Vec<usize>,
}

/// Steps one after the other, with jumps in the place of loops and branches.
#[derive(Default)]
struct Flat {
    steps: Vec<Line>,
}

impl Flat {
    fn push(&mut self, op: &'static str, a: usize, b: usize, list: Vec<usize>) -> usize {
        self.steps.push(Line { op, a, b, list });
        self.steps.len() - 1
    }

    fn all(&mut self, steps: &[Step]) {
        steps.iter().for_each(|step| self.one(step));
    }

    fn one(&mut self, step: &Step) {
        match step {
            Step::Launch {
                kernel,
                operands,
                results,
            } => {
                let buffers = [&operands[..], results].concat();
                self.push("TESSERA_LAUNCH", *kernel, 0, buffers);
            }
            Step::Copy {
                source,
                destination,
            } => {
                self.push("TESSERA_COPY", *source, *destination, Vec::new());
            }
            Step::While {
                condition,
                predicate,
                body,
            } => {
                let begin = self.steps.len();
                self.all(condition);
                let test = self.push("TESSERA_UNLESS", *predicate, 0, Vec::new());
                self.all(body);
                self.push("TESSERA_GOTO", 0, begin, Vec::new());
                self.steps[test].b = self.steps.len();
            }
            Step::Case { index, branches } => {
                let choice = self.push("TESSERA_CASE", *index, branches.len(), Vec::new());
                let mut ends = Vec::new();
                for branch in branches {
                    let begin = self.steps.len();
                    self.steps[choice].list.push(begin);
                    self.all(branch);
                    ends.push(self.push("TESSERA_GOTO", 0, 0, Vec::new()));
                }
                let end = self.steps.len();
                for goto in ends {
                    self.steps[goto].b = end;
                }
            }
        }
    }
}

fn tensor_map(map: &TensorMap) -> String {
    format!(
        "{{{}, {}, {}, {}, {}, {}}}",
        map.buffer,
        map.extents.len(),
        list(&map.extents),
        list(if map.strides.is_empty() {
            &[0]
        } else {
            &map.strides
        }),
        list(&map.box_extents),
        map.swizzle_bytes
    )
}

fn list(numbers: &[impl ToString]) -> String {
    let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    format!("{{{}}}", numbers.join(", "))
}

/// A string of C, whatever characters it has.
fn string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' | b'?' => {
                let _ = write!(quoted, "\\{}", byte as char);
            }
            b' '..=b'~' => quoted.push(byte as char),
            _ => {
                let _ = write!(quoted, "\\{byte:03o}");
            }
        }
    }
    quoted.push('"');
    quoted
}
