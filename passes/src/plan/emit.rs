//! The plan, once every variable has a place.

use super::arena::{Arena, allocate};
use super::coalesce::{Coalescing, Memory};
use super::copies::sequence;
use super::program::{Fixed, Instruction, Program, View};
use indexmap::IndexMap;
use tessera_ir::Graph;
use tessera_ir::plan::{Buffer, BufferId, Place, Plan, PlanInput, PlanResult, Step};

/// The plan of a graph.
pub(super) fn plan(graph: &Graph, mut program: Program, mut coalescing: Coalescing) -> Plan {
    sequence(&mut program, &mut coalescing);
    let arena = allocate(coalescing.classes());
    let mut emitter = Emitter {
        program: &program,
        coalescing: &coalescing,
        arena: &arena,
        buffers: IndexMap::new(),
    };
    let schedule = emitter.steps(&program.instructions);
    let buffers = std::mem::take(&mut emitter.buffers);
    let inputs = graph.inputs().iter().zip(graph.input_values());
    let inputs = inputs.map(|(input, value)| PlanInput {
        tensor_type: graph.tensor_type(value).clone(),
        name: input.name.clone(),
        donate: input.donate,
        initialiser: input.initialiser,
    });
    let results = graph.results().iter().map(|result| PlanResult {
        tensor_type: graph.tensor_type(result.value).clone(),
        name: result.name.clone(),
    });
    Plan {
        name: graph.name.clone(),
        inputs: inputs.collect(),
        results: results.collect(),
        buffers: buffers
            .into_keys()
            .map(|(place, value_type)| Buffer { value_type, place })
            .collect(),
        arena_bytes: arena.bytes,
        schedule,
        constants: program.constants.into_iter().collect(),
        kernels: program.kernels,
    }
}

struct Emitter<'a> {
    program: &'a Program,
    coalescing: &'a Coalescing,
    arena: &'a Arena,
    buffers: IndexMap<(Place, tessera_ir::Type), BufferId>,
}

impl Emitter<'_> {
    fn place(&self, view: &View) -> Place {
        let class = self.coalescing.class_number(view.variable);
        // Temporaries of copies came after the program's variables and are fixed nowhere.
        let info = self.program.variables.get(view.variable.0);
        match (
            info.and_then(|info| info.fixed),
            self.coalescing.classes()[class].memory,
        ) {
            (Some(Fixed::Input(input) | Fixed::Donated { input, .. }), _) => Place::Input(input),
            (Some(Fixed::Constant(constant)), _) => Place::Constant(constant),
            (_, Memory::Result(result)) => Place::Result(result),
            (_, Memory::Arena | Memory::ReadOnly) => Place::Arena(self.arena.offsets[class]),
        }
    }

    fn buffer(&mut self, view: &View) -> BufferId {
        let key = (self.place(view), view.value_type.clone());
        let next = BufferId(u32::try_from(self.buffers.len()).unwrap_or(u32::MAX));
        *self.buffers.entry(key).or_insert(next)
    }

    fn all(&mut self, views: &[View]) -> Vec<BufferId> {
        views.iter().map(|view| self.buffer(view)).collect()
    }

    fn steps(&mut self, instructions: &[Instruction]) -> Vec<Step> {
        let mut steps = Vec::with_capacity(instructions.len());
        for instruction in instructions {
            match instruction {
                Instruction::Launch {
                    kernel,
                    operands,
                    results,
                    location,
                    ..
                } => steps.push(Step::Launch {
                    kernel: *kernel,
                    operands: self.all(operands),
                    results: self.all(results),
                    location: location.clone(),
                }),
                Instruction::Copies { copies, .. } => {
                    for copy in copies {
                        steps.push(Step::Copy {
                            source: self.buffer(&copy.source),
                            destination: self.buffer(&copy.destination),
                        });
                    }
                }
                Instruction::While {
                    condition,
                    predicate,
                    body,
                } => steps.push(Step::While {
                    condition: self.steps(condition),
                    predicate: self.buffer(predicate),
                    body: self.steps(body),
                }),
                Instruction::Case { index, branches } => steps.push(Step::Case {
                    index: self.buffer(index),
                    branches: branches.iter().map(|branch| self.steps(branch)).collect(),
                }),
            }
        }
        steps
    }
}
