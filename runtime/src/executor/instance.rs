//! A program with memory and threads of its own, run step by step.

use super::RunError;
use super::memory::{Memory, OutOfMemory};
use super::profile::{KernelProfile, Profile};
use super::program::{LoadedKernel, Program};
use super::schedule::{Clock, Places, Schedule, Spent};
use super::team::Team;
use crate::bundle::TensorType;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};
use tessera_numerics::Tensor;

/// How an instance runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunOptions {
    /// The number of threads; without one, as many as the machine runs at once. Results do not depend on it.
    pub threads: Option<NonZeroUsize>,
    /// Whether to add up the time each kernel takes.
    pub profile: bool,
}

/// A program with memory and threads of its own.
///
/// Inputs are given once and keep their values from step to step, but for donated ones, which each step replaces by
/// the results they are tied to: a training step's state.
pub struct Instance {
    program: Program,
    schedule: Schedule,
    /// By result; the memory of the input donated to it where there is one.
    results: Vec<Memory>,
    /// By input; `None` for a donated one, which has the memory of a result.
    inputs: Vec<Option<Memory>>,
    given: Vec<bool>,
    computed: Vec<bool>,
    _arena: Memory,
    _scratch: Vec<Memory>,
    _workspace: Memory,
    team: Team,
    clock: Option<Clock>,
    steps: u64,
    time: Duration,
}

impl Instance {
    pub(super) fn new(program: Program, options: &RunOptions) -> Result<Self, RunError> {
        let manifest = program.manifest();
        let team = Team::new(options.threads)?;
        let results = manifest
            .results
            .iter()
            .enumerate()
            .map(|(number, result)| {
                allocate(&result.tensor_type, || program.describe_result(number))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let inputs = manifest
            .inputs
            .iter()
            .enumerate()
            .map(|(number, input)| match input.donate {
                Some(_) => Ok(None),
                None => allocate(&input.tensor_type, || program.describe_input(number)).map(Some),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let arena = Memory::zeroed(manifest.arena_bytes)
            .map_err(|error| out_of_memory(error, "the arena"))?;
        let scratch = allocate_scratch(&program, team.threads())?;
        let workspace = allocate_workspace(&program, team.threads())?;

        let result_pointers: Vec<*mut u8> = results.iter().map(Memory::pointer).collect();
        let input_pointers: Vec<*mut u8> = manifest
            .inputs
            .iter()
            .zip(&inputs)
            .map(|(input, memory)| match (memory, input.donate) {
                (Some(memory), _) => memory.pointer(),
                (None, Some(result)) => result_pointers[result],
                (None, None) => unreachable!("only donated inputs have no memory of their own"),
            })
            .collect();
        let schedule = Schedule::new(
            &program.0,
            &Places {
                inputs: &input_pointers,
                results: &result_pointers,
                constants: &program.0.constants,
                arena: &arena,
                scratch: &scratch,
                workspace: &workspace,
            },
        );
        let clock = options.profile.then(|| Clock {
            kernels: vec![Spent::default(); manifest.kernels.len()],
            copies: Spent::default(),
        });
        Ok(Self {
            given: vec![false; inputs.len()],
            computed: vec![false; results.len()],
            schedule,
            results,
            inputs,
            _arena: arena,
            _scratch: scratch,
            _workspace: workspace,
            team,
            clock,
            steps: 0,
            time: Duration::ZERO,
            program,
        })
    }

    /// The program this runs.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The number of threads it runs on.
    pub fn threads(&self) -> usize {
        self.team.threads()
    }

    /// Gives an input its value. Where the input is donated, the result tied to it has no value until the next step.
    ///
    /// # Errors
    /// There is no such input, or the tensor is not of its type.
    pub fn set_input(&mut self, number: usize, value: &Tensor) -> Result<(), RunError> {
        let Some(input) = self.program.manifest().inputs.get(number) else {
            return Err(self.program.unknown_input(number.to_string()));
        };
        if !input.tensor_type.matches(value) {
            return Err(RunError::InputType {
                input: self.program.describe_input(number),
                expected: input.tensor_type.clone(),
                found: TensorType::of(value),
            });
        }
        let memory = match (&mut self.inputs[number], input.donate) {
            (Some(memory), _) => memory,
            (None, Some(result)) => {
                self.computed[result] = false;
                &mut self.results[result]
            }
            (None, None) => unreachable!("only donated inputs have no memory of their own"),
        };
        memory.bytes_mut().copy_from_slice(value.bytes());
        self.given[number] = true;
        Ok(())
    }

    /// Gives the input called `name` its value; see [`Program::input_number`] and [`set_input`](Self::set_input).
    ///
    /// # Errors
    /// There is no such input or several, or the tensor is not of its type.
    pub fn set_input_named(&mut self, name: &str, value: &Tensor) -> Result<(), RunError> {
        self.set_input(self.program.input_number(name)?, value)
    }

    /// Gives all inputs their values, in order.
    ///
    /// # Errors
    /// There are too few or too many, or one is not of its input's type.
    pub fn set_inputs(&mut self, values: &[Tensor]) -> Result<(), RunError> {
        if values.len() != self.inputs.len() {
            return Err(RunError::InputCount {
                expected: self.inputs.len(),
                found: values.len(),
            });
        }
        values
            .iter()
            .enumerate()
            .try_for_each(|(number, value)| self.set_input(number, value))
    }

    /// Runs one step.
    ///
    /// # Errors
    /// Some input has not been given. Or the numbers that a kernel was given are none that it is defined for; then there
    /// are no results, and donated inputs have to be given anew.
    pub fn step(&mut self) -> Result<(), RunError> {
        if self.given.contains(&false) {
            return Err(self.missing_inputs());
        }
        let start = Instant::now();
        let (schedule, clock) = (&self.schedule, self.clock.as_mut());
        // SAFETY: this instance owns the memory its schedule was made over, and is borrowed exclusively meanwhile.
        // Constants, which other instances may read at the same time, are written by none: validation refuses that.
        let done = (self.team).enter(|member| unsafe { schedule.run(member, clock) });
        if let Err(failure) = done {
            self.computed.fill(false);
            for (given, memory) in self.given.iter_mut().zip(&self.inputs) {
                *given &= memory.is_some();
            }
            let kernel = &self.program.manifest().kernels[failure.kernel];
            return Err(RunError::GroupSizes {
                kernel: kernel.name.clone(),
                source: failure.error,
            });
        }
        self.time += start.elapsed();
        self.steps += 1;
        self.computed.fill(true);
        Ok(())
    }

    fn missing_inputs(&self) -> RunError {
        let inputs = self.program.manifest().inputs.iter();
        let missing = inputs
            .enumerate()
            .filter(|(number, _)| !self.given[*number])
            .map(|(number, input)| {
                let name = self.program.describe_input(number);
                format!("{name} of type {}", input.tensor_type)
            });
        RunError::MissingInputs {
            inputs: missing.collect(),
        }
    }

    /// A copy of a result of the last step.
    ///
    /// # Errors
    /// There is no such result, it has not been computed, or it holds a boolean that is neither 0 nor 1.
    pub fn result(&self, number: usize) -> Result<Tensor, RunError> {
        let results = &self.program.manifest().results;
        let Some(result) = results.get(number) else {
            return Err(RunError::UnknownResult {
                found: number,
                count: results.len(),
            });
        };
        if !self.computed[number] {
            return Err(RunError::NotComputed {
                result: self.program.describe_result(number),
            });
        }
        let TensorType {
            element_type,
            shape,
        } = &result.tensor_type;
        Tensor::new(*element_type, shape.clone(), self.results[number].bytes()).map_err(|source| {
            RunError::InvalidResult {
                result: self.program.describe_result(number),
                source,
            }
        })
    }

    /// Copies of all results of the last step, in order.
    ///
    /// # Errors
    /// As for [`result`](Self::result).
    pub fn results(&self) -> Result<Vec<Tensor>, RunError> {
        (0..self.results.len())
            .map(|number| self.result(number))
            .collect()
    }

    /// The steps run so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The time that all steps took together.
    pub fn time(&self) -> Duration {
        self.time
    }

    /// The time that went into each kernel over all steps so far, if [`RunOptions::profile`] asked for it.
    pub fn profile(&self) -> Option<Profile> {
        let clock = self.clock.as_ref()?;
        let manifest = self.program.manifest();
        let mut kernels: Vec<KernelProfile> = manifest
            .kernels
            .iter()
            .zip(&clock.kernels)
            .map(|(kernel, spent)| KernelProfile {
                name: kernel.name.clone(),
                family: Some(kernel.family),
                launches: spent.times,
                time: spent.time,
            })
            .collect();
        kernels.push(KernelProfile {
            name: "copy".to_owned(),
            family: None,
            launches: clock.copies.times,
            time: clock.copies.time,
        });
        Some(Profile::new(self.steps, self.time, kernels))
    }
}

fn out_of_memory(error: OutOfMemory, purpose: impl Into<String>) -> RunError {
    RunError::OutOfMemory {
        bytes: error.bytes,
        purpose: purpose.into(),
    }
}

fn allocate(tensor_type: &TensorType, purpose: impl Fn() -> String) -> Result<Memory, RunError> {
    let bytes = tensor_type.bytes().unwrap_or(usize::MAX);
    Memory::zeroed(bytes).map_err(|error| out_of_memory(error, purpose()))
}

fn allocate_scratch(program: &Program, threads: usize) -> Result<Vec<Memory>, RunError> {
    let kernels = program.manifest().kernels.iter();
    let bytes = kernels
        .filter_map(|kernel| kernel.code.as_function())
        .map(|function| function.scratch_bytes)
        .max()
        .unwrap_or(0);
    (0..threads)
        .map(|_| Memory::zeroed(bytes).map_err(|error| out_of_memory(error, "scratch memory")))
        .collect()
}

/// One memory for all kernels that the runtime computes itself, which run one after the other.
fn allocate_workspace(program: &Program, threads: usize) -> Result<Memory, RunError> {
    let bytes = program.0.kernels.iter().map(|kernel| match kernel {
        LoadedKernel::Builtin(builtin) => builtin.workspace_bytes(threads),
        LoadedKernel::Function(_) => 0,
    });
    Memory::zeroed(bytes.max().unwrap_or(0))
        .map_err(|error| out_of_memory(error, "the kernels' workspace"))
}
