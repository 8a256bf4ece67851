//! A program with memory of its own, run step by step: what is the same on every device.

use super::RunError;
use super::engine::{Clock, Engine, Slot};
use super::profile::{KernelProfile, Profile};
use super::program::Program;
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
    /// What the emulator does, where that is the device.
    pub emulator: EmulatorOptions,
}

/// How the emulator runs kernels.
#[derive(Clone, Copy, Debug)]
pub struct EmulatorOptions {
    /// What the order of warps and of asynchronous work is drawn from. A program without races does not depend on it.
    pub seed: u64,
    /// Whether to look for races, which takes time and memory.
    pub races: bool,
}

impl Default for EmulatorOptions {
    fn default() -> Self {
        Self {
            seed: 0,
            races: true,
        }
    }
}

/// A program with memory of its own, on its device.
///
/// Inputs are given once and keep their values from step to step, but for donated ones, which each step replaces by
/// the results they are tied to: a training step's state.
pub struct Instance {
    program: Program,
    engine: Box<dyn Engine>,
    given: Vec<bool>,
    computed: Vec<bool>,
    clock: Option<Clock>,
    steps: u64,
    time: Duration,
}

impl Instance {
    pub(super) fn new(program: Program, options: &RunOptions) -> Result<Self, RunError> {
        let manifest = program.manifest();
        let clock = options.profile.then(|| Clock::new(manifest.kernels.len()));
        Ok(Self {
            engine: program.engine(options)?,
            given: vec![false; manifest.inputs.len()],
            computed: vec![false; manifest.results.len()],
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

    /// The number of this machine's threads that it runs on.
    pub fn threads(&self) -> usize {
        self.engine.threads()
    }

    /// Gives an input its value. Where the input is donated, the result tied to it has no value until the next step.
    ///
    /// # Errors
    /// There is no such input, the tensor is not of its type, or the device fails.
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
        let slot = match input.donate {
            Some(result) => {
                self.computed[result] = false;
                Slot::Result(result)
            }
            None => Slot::Input(number),
        };
        self.engine.write(slot, value.bytes())?;
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
        if values.len() != self.given.len() {
            return Err(RunError::InputCount {
                expected: self.given.len(),
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
    /// Some input has not been given. Or a kernel fails, since the numbers it was given are none that it is defined for,
    /// or the device does; then there are no results, and donated inputs have to be given anew.
    pub fn step(&mut self) -> Result<(), RunError> {
        if self.given.contains(&false) {
            return Err(self.missing_inputs());
        }
        let start = Instant::now();
        if let Err(error) = self.engine.step(self.clock.as_mut()) {
            self.computed.fill(false);
            let inputs = self.program.manifest().inputs.iter();
            for (given, input) in self.given.iter_mut().zip(inputs) {
                *given &= input.donate.is_none();
            }
            return Err(error);
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
    /// There is no such result, it has not been computed, it holds a boolean that is neither 0 nor 1, or the device fails.
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
        let bytes = self.engine.read(number)?;
        Tensor::new(*element_type, shape.clone(), &bytes[..]).map_err(|source| {
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
        (0..self.computed.len())
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
                least: spent.least,
                instructions: spent.instructions,
            })
            .collect();
        kernels.push(KernelProfile {
            name: "copy".to_owned(),
            family: None,
            launches: clock.copies.times,
            time: clock.copies.time,
            least: clock.copies.least,
            instructions: 0,
        });
        Some(Profile::new(self.steps, self.time, kernels))
    }
}
