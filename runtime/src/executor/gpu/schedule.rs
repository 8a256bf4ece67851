//! A GPU's schedule: one with every place turned into an address of the device's memory.
//!
//! Launches and copies between which nothing is decided are one stretch, which a device may take as a whole.

use crate::bundle::{Manifest, Place, PtxKernel, Step};

/// Where an instance's values lie.
pub(super) struct Addresses {
    /// By input; that of a donated input is its result's.
    pub(super) inputs: Vec<u64>,
    pub(super) results: Vec<u64>,
    /// Of the file of constants.
    pub(super) constants: u64,
    pub(super) arena: u64,
    /// As large as the most demanding kernel asks for; `None` where none does.
    pub(super) workspace: Option<u64>,
}

/// A schedule over one instance's memory.
pub(super) struct Schedule(pub(super) Vec<Instruction>);

pub(super) enum Instruction {
    Stretch(Stretch),
    While {
        condition: Vec<Instruction>,
        /// The address of a byte.
        predicate: u64,
        body: Vec<Instruction>,
    },
    Case {
        /// The address of an i32.
        index: u64,
        branches: Vec<Vec<Instruction>>,
    },
}

/// Launches and copies, one after the other.
pub(in super::super) struct Stretch {
    /// Counts the stretches of a schedule, from 0.
    pub(super) number: usize,
    pub(super) commands: Vec<Command>,
}

pub(super) enum Command {
    Launch(Launch),
    Copy {
        source: u64,
        destination: u64,
        bytes: usize,
    },
}

/// A launch of a kernel over a grid that is not empty.
pub(super) struct Launch {
    /// The kernel's number.
    pub(super) kernel: usize,
    pub(super) code: PtxKernel,
    /// The operands, then the results.
    pub(super) buffers: Vec<Span>,
    /// How many of the buffers are operands.
    pub(super) operands: usize,
    /// Where the kernel asks for it.
    pub(super) workspace: Option<u64>,
}

/// A buffer's bytes in the device's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) address: u64,
    pub(super) bytes: usize,
}

impl Launch {
    /// The kernel's parameters that are addresses.
    pub(super) fn parameters(&self) -> impl Iterator<Item = u64> {
        let buffers = self.buffers.iter().map(|span| span.address);
        buffers.chain(self.workspace)
    }
}

impl Schedule {
    /// Puts addresses into a validated manifest's schedule.
    pub(super) fn new(manifest: &Manifest, addresses: &Addresses) -> Self {
        let mut builder = Builder {
            manifest,
            addresses,
            stretches: 0,
        };
        Self(builder.steps(&manifest.schedule))
    }
}

struct Builder<'a> {
    manifest: &'a Manifest,
    addresses: &'a Addresses,
    /// So far.
    stretches: usize,
}

impl Builder<'_> {
    fn steps(&mut self, steps: &[Step]) -> Vec<Instruction> {
        let mut instructions = Vec::new();
        for step in steps {
            match step {
                Step::Launch {
                    kernel,
                    operands,
                    results,
                } => {
                    let launch = self.launch(*kernel, operands, results);
                    self.append(&mut instructions, launch.map(Command::Launch));
                }
                Step::Copy {
                    source,
                    destination,
                } => {
                    let copy = self.copy(*source, *destination);
                    self.append(&mut instructions, copy);
                }
                Step::While {
                    condition,
                    predicate,
                    body,
                } => instructions.push(Instruction::While {
                    condition: self.steps(condition),
                    predicate: self.span(*predicate).address,
                    body: self.steps(body),
                }),
                Step::Case { index, branches } => instructions.push(Instruction::Case {
                    index: self.span(*index).address,
                    branches: branches.iter().map(|branch| self.steps(branch)).collect(),
                }),
            }
        }
        instructions
    }

    /// Adds a command, where there is something to do, to the stretch that the instructions end with.
    fn append(&mut self, instructions: &mut Vec<Instruction>, command: Option<Command>) {
        let Some(command) = command else { return };
        if let Some(Instruction::Stretch(stretch)) = instructions.last_mut() {
            stretch.commands.push(command);
            return;
        }
        instructions.push(Instruction::Stretch(Stretch {
            number: self.stretches,
            commands: vec![command],
        }));
        self.stretches += 1;
    }

    fn launch(&self, kernel: usize, operands: &[usize], results: &[usize]) -> Option<Launch> {
        // A validated bundle for a GPU has kernels in PTX alone, and none but such bundles come here.
        let code = self.manifest.kernels[kernel].code.as_ptx()?;
        let buffers = operands.iter().chain(results);
        let is_empty = code.grid.contains(&0);
        (!is_empty).then(|| Launch {
            kernel,
            code: code.clone(),
            buffers: buffers.map(|&buffer| self.span(buffer)).collect(),
            operands: operands.len(),
            workspace: self
                .addresses
                .workspace
                .filter(|_| code.workspace_bytes > 0),
        })
    }

    fn copy(&self, source: usize, destination: usize) -> Option<Command> {
        let (source, destination) = (self.span(source), self.span(destination));
        (source != destination && source.bytes > 0).then_some(Command::Copy {
            source: source.address,
            destination: destination.address,
            bytes: source.bytes,
        })
    }

    fn span(&self, buffer: usize) -> Span {
        let buffer = &self.manifest.buffers[buffer];
        let address = match buffer.place {
            Place::Input(input) => self.addresses.inputs[input],
            Place::Result(result) => self.addresses.results[result],
            Place::Constant(constant) => {
                self.addresses.constants + self.manifest.constants[constant].offset as u64
            }
            Place::Arena(offset) => self.addresses.arena + offset as u64,
        };
        Span {
            address,
            bytes: buffer.value_type.bytes().unwrap_or(0),
        }
    }
}
