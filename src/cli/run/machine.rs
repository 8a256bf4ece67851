//! What runs the steps: compiled code or the interpreter.

use super::super::arguments::{RunArguments, TargetArguments};
use super::super::compile::Stages;
use super::super::passes;
use super::super::table::Measurements;
use crate::inputs::Slot;
use crate::{Failure, Source};
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Instant;
use tessera_ir::{Module, Tensor, TensorType, ValueId};
use tessera_numerics::Initialiser;
use tessera_runtime::bundle::Manifest;
use tessera_runtime::{Bundle, EmulatorOptions, Instance, Profile, Program, RunError, RunOptions};

/// A program that takes steps.
pub(super) enum Machine {
    /// Code of a bundle.
    Compiled(Box<Instance>),
    /// The reference interpreter, with the inputs of the next step and the results of the last.
    Interpreter {
        module: Box<Module>,
        inputs: Vec<Tensor>,
        results: Vec<Tensor>,
    },
}

impl Machine {
    /// Loads a bundle, compiles a text, or readies the interpreter.
    pub(super) fn prepare(
        arguments: &RunArguments,
        measurements: &mut Measurements,
    ) -> Result<Self, Failure> {
        let is_bundle = arguments.input != "-" && Path::new(&arguments.input).is_dir();
        if is_bundle {
            if let Some(flag) = compiling_flag(arguments) {
                let message = format!("{flag} takes a step's text, not a bundle");
                return Err(Failure::error(message));
            }
            return Self::load(Path::new(&arguments.input), arguments);
        }
        let start = Instant::now();
        let source = Source::read(&arguments.input)?;
        if arguments.interpret {
            let module = source.module()?;
            let module = match &arguments.passes.recipe {
                Some(recipe) => {
                    let pipeline = passes::recipe_pipeline(recipe)?;
                    passes::run(&pipeline, &module, &arguments.passes)?
                }
                None => module,
            };
            return Ok(Self::Interpreter {
                module: Box::new(module),
                inputs: Vec::new(),
                results: Vec::new(),
            });
        }
        let folder = tempfile::tempdir().map_err(Failure::error)?;
        let path = folder.path().join("step.tessera");
        Stages::new(&source, &arguments.passes, &target(arguments)?)?.write_bundle(&path)?;
        let machine = Self::load(&path, arguments)?;
        measurements.compile = Some(start.elapsed());
        Ok(machine)
    }

    fn load(path: &Path, arguments: &RunArguments) -> Result<Self, Failure> {
        let bundle = Bundle::open(path).map_err(Failure::error)?;
        let program = Program::load_on(&bundle, &arguments.device).map_err(Failure::error)?;
        let options = RunOptions {
            threads: arguments.threads.and_then(NonZeroUsize::new),
            profile: arguments.profile,
            emulator: EmulatorOptions {
                seed: arguments.emulator_seed,
                races: !arguments.emulator_no_races,
            },
        };
        let instance = program.instance(&options).map_err(Failure::error)?;
        Ok(Self::Compiled(Box::new(instance)))
    }

    /// The inputs the program takes.
    ///
    /// # Errors
    /// A bundle's initialiser is none.
    pub(super) fn slots(&self) -> Result<Vec<Slot>, Failure> {
        match self {
            Self::Compiled(instance) => {
                let inputs = manifest(instance).inputs.iter();
                let slot = |input: &tessera_runtime::bundle::Input| {
                    let initialiser = input
                        .initialiser
                        .as_ref()
                        .map(|text| text.parse::<Initialiser>());
                    Ok(Slot {
                        tensor_type: tensor_type(&input.tensor_type),
                        name: input.name.clone(),
                        initialiser: initialiser.transpose().map_err(Failure::error)?,
                    })
                };
                inputs.map(slot).collect()
            }
            Self::Interpreter { module, .. } => {
                let Some(graph) = module.entry() else {
                    return Ok(Vec::new());
                };
                let inputs = graph.inputs().iter().zip(graph.input_values());
                let slot = |(input, value): (&tessera_ir::Input, ValueId)| Slot {
                    tensor_type: graph.tensor_type(value).clone(),
                    name: input.name.clone(),
                    initialiser: input.initialiser,
                };
                Ok(inputs.map(slot).collect())
            }
        }
    }

    pub(super) fn set_inputs(&mut self, values: Vec<Tensor>) -> Result<(), Failure> {
        match self {
            Self::Compiled(instance) => instance.set_inputs(&values).map_err(Failure::error),
            Self::Interpreter { inputs, .. } => {
                *inputs = values;
                Ok(())
            }
        }
    }

    /// Takes a step. Donated results become the next step's inputs.
    pub(super) fn step(&mut self) -> Result<(), Failure> {
        match self {
            Self::Compiled(instance) => instance.step().map_err(|error| match error {
                RunError::Findings { .. } => Failure::Found(format!("error: {error}")),
                _ => Failure::error(error),
            }),
            Self::Interpreter {
                module,
                inputs,
                results,
            } => {
                let Some(graph) = module.entry() else {
                    return Err(Failure::error("the module has no entry"));
                };
                *results =
                    tessera_interpreter::evaluate(module, graph, inputs).map_err(Failure::error)?;
                for (input, value) in graph.inputs().iter().zip(inputs) {
                    if let Some(result) = input.donate {
                        *value = results[result].clone();
                    }
                }
                Ok(())
            }
        }
    }

    /// The types of the results.
    fn result_types(&self) -> Vec<TensorType> {
        match self {
            Self::Compiled(instance) => {
                let results = manifest(instance).results.iter();
                results
                    .map(|result| tensor_type(&result.tensor_type))
                    .collect()
            }
            Self::Interpreter { module, .. } => module.entry().map_or_else(Vec::new, |graph| {
                let results = graph.results().iter();
                results
                    .map(|result| graph.tensor_type(result.value).clone())
                    .collect()
            }),
        }
    }

    /// The numbers of the results that are scalars, without the state that the compiler added.
    pub(super) fn scalar_results(&self) -> Vec<usize> {
        let types = self.result_types();
        let added = self.added_state();
        let scalars = types
            .iter()
            .enumerate()
            .filter(|(number, result)| result.rank() == 0 && !added.contains(number));
        scalars.map(|(number, _)| number).collect()
    }

    /// The numbers of the results that become inputs which begin by themselves.
    fn added_state(&self) -> Vec<usize> {
        match self {
            Self::Compiled(instance) => {
                let inputs = manifest(instance).inputs.iter();
                let own = inputs.filter(|input| input.initialiser.is_some());
                own.filter_map(|input| input.donate).collect()
            }
            Self::Interpreter { module, .. } => {
                let inputs = module.entry().into_iter().flat_map(|graph| graph.inputs());
                let own = inputs.filter(|input| input.initialiser.is_some());
                own.filter_map(|input| input.donate).collect()
            }
        }
    }

    /// A result of the last step.
    pub(super) fn result(&self, number: usize) -> Result<Tensor, Failure> {
        match self {
            Self::Compiled(instance) => instance.result(number).map_err(Failure::error),
            Self::Interpreter { results, .. } => results
                .get(number)
                .cloned()
                .ok_or_else(|| Failure::error(format!("there is no result{number}"))),
        }
    }

    /// The number of results.
    pub(super) fn result_count(&self) -> usize {
        self.result_types().len()
    }

    /// Writes the results of the last step as result0, result1, ….
    pub(super) fn write_results(&self, path: &Path) -> Result<(), Failure> {
        let tensors = (0..self.result_count()).map(|n| Ok((format!("result{n}"), self.result(n)?)));
        let tensors = tensors.collect::<Result<Vec<_>, Failure>>()?;
        let named = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
        tessera_runtime::tensors::write(path, named).map_err(Failure::error)
    }

    /// The time of every kernel, where it was asked for.
    pub(super) fn profile(&self) -> Option<Profile> {
        match self {
            Self::Compiled(instance) => instance.profile(),
            Self::Interpreter { .. } => None,
        }
    }
}

/// What to compile for: what was asked for, or else what the device runs.
fn target(arguments: &RunArguments) -> Result<TargetArguments, Failure> {
    let mut target = arguments.target.clone();
    if target.target.is_none() {
        let device = &arguments.device;
        let own = device.default_target().map_err(Failure::error)?;
        let Some(own) = own else {
            let message = format!(
                "the device {device} runs code for many targets: name one with --target sm_90a, or the device as \
                 {device}:sm_90a"
            );
            return Err(Failure::error(message));
        };
        target.target = Some(own);
    }
    Ok(target)
}

fn manifest(instance: &Instance) -> &Manifest {
    instance.program().manifest()
}

fn tensor_type(manifest: &tessera_runtime::bundle::TensorType) -> TensorType {
    TensorType::new(manifest.element_type, manifest.shape.clone())
}

/// A flag that says how to compile, or not to, and so means nothing for a bundle.
fn compiling_flag(arguments: &RunArguments) -> Option<&'static str> {
    let (passes, target) = (&arguments.passes, &arguments.target);
    let flags = [
        (arguments.interpret, "--interpret"),
        (target.target.is_some(), "--target"),
        (target.jobs.is_some(), "--jobs"),
        (passes.passes.is_some(), "--passes"),
        (passes.recipe.is_some(), "--recipe"),
        (passes.print_ir_after_all, "--print-ir-after-all"),
        (!passes.print_ir_after.is_empty(), "--print-ir-after"),
        (passes.timing, "--timing"),
    ];
    flags
        .into_iter()
        .find_map(|(given, flag)| given.then_some(flag))
}
