//! The CPU: a bundle's machine code in this process, and an instance's memory and threads.

use super::RunError;
use super::builtin::Builtin;
use super::engine::{Clock, Engine, Slot};
use super::instance::RunOptions;
use super::library::{KernelFunction, Library, check_host};
use super::memory::{Memory, OutOfMemory};
use super::program::{Program, read_constants};
use super::schedule::{Places, Schedule};
use super::team::Team;
use crate::bundle::{Bundle, BundleError, TensorType};
use std::borrow::Cow;
use std::sync::Arc;

/// A bundle's code and constants in memory.
pub(super) struct CpuCode {
    pub(super) kernels: Vec<LoadedKernel>,
    constants: Memory,
    /// Keeps the kernels' functions in memory.
    _library: Option<Library>,
}

/// A kernel's code.
pub(super) enum LoadedKernel {
    Function(KernelFunction),
    Builtin(Arc<Builtin>),
}

impl CpuCode {
    /// Loads a bundle's machine code into this process.
    pub(super) fn load(bundle: &Bundle) -> Result<Self, BundleError> {
        let manifest = bundle.manifest();
        check_host(&bundle.manifest_path(), manifest)?;
        let library = match bundle.kernels_path() {
            Some(path) => Some(Library::load(&path, manifest)?),
            None => None,
        };
        let functions = match &library {
            Some(library) => library.functions.clone(),
            None => vec![None; manifest.kernels.len()],
        };
        let contents = read_constants(bundle)?;
        let mut constants =
            Memory::zeroed(contents.len()).map_err(|error| BundleError::OutOfMemory {
                path: bundle.path().to_path_buf(),
                bytes: error.bytes,
            })?;
        constants.bytes_mut().copy_from_slice(&contents);
        let kernels = manifest.kernels.iter().enumerate().zip(functions);
        let kernels = kernels
            .map(|((number, kernel), function)| {
                let builtin =
                    Builtin::new(kernel, function).map_err(|found| BundleError::Inconsistent {
                        path: bundle.manifest_path(),
                        item: format!("kernels[{number}]"),
                        expected: "a kernel that fits into memory".to_owned(),
                        found,
                    })?;
                Ok(match (builtin, function) {
                    (Some(builtin), _) => LoadedKernel::Builtin(Arc::new(builtin)),
                    (None, Some(function)) => LoadedKernel::Function(function),
                    (None, None) => {
                        unreachable!("a bundle with functions has a library, which has them all")
                    }
                })
            })
            .collect::<Result<_, BundleError>>()?;
        Ok(Self {
            kernels,
            constants,
            _library: library,
        })
    }
}

/// Memory and threads for a program on this machine's CPU.
pub(super) struct Cpu {
    /// Keeps the code that the schedule calls, too.
    program: Program,
    schedule: Schedule,
    /// By result; the memory of the input donated to it where there is one.
    results: Vec<Memory>,
    /// By input; `None` for a donated one, which has the memory of a result.
    inputs: Vec<Option<Memory>>,
    _arena: Memory,
    _scratch: Vec<Memory>,
    _workspace: Memory,
    team: Team,
}

impl Cpu {
    pub(super) fn new(
        program: &Program,
        code: &CpuCode,
        options: &RunOptions,
    ) -> Result<Self, RunError> {
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
        let scratch = allocate_scratch(program, team.threads())?;
        let workspace = allocate_workspace(code, team.threads())?;

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
            manifest,
            &code.kernels,
            &Places {
                inputs: &input_pointers,
                results: &result_pointers,
                constants: &code.constants,
                arena: &arena,
                scratch: &scratch,
                workspace: &workspace,
            },
        );
        Ok(Self {
            program: program.clone(),
            schedule,
            results,
            inputs,
            _arena: arena,
            _scratch: scratch,
            _workspace: workspace,
            team,
        })
    }
}

impl Engine for Cpu {
    fn threads(&self) -> usize {
        self.team.threads()
    }

    fn write(&mut self, slot: Slot, bytes: &[u8]) -> Result<(), RunError> {
        let memory = match slot {
            Slot::Result(result) => &mut self.results[result],
            Slot::Input(input) => match &mut self.inputs[input] {
                Some(memory) => memory,
                None => unreachable!("only donated inputs have no memory of their own"),
            },
        };
        memory.bytes_mut().copy_from_slice(bytes);
        Ok(())
    }

    fn read(&self, result: usize) -> Result<Cow<'_, [u8]>, RunError> {
        Ok(Cow::Borrowed(self.results[result].bytes()))
    }

    fn step(&mut self, clock: Option<&mut Clock>) -> Result<(), RunError> {
        let schedule = &self.schedule;
        // SAFETY: this value owns the memory its schedule was made over, and is borrowed exclusively meanwhile; the code
        // it calls is kept by the program. Constants, which other instances may read at the same time, are written by
        // none: validation refuses that.
        let done = (self.team).enter(|member| unsafe { schedule.run(member, clock) });
        done.map_err(|failure| RunError::GroupSizes {
            kernel: self.program.manifest().kernels[failure.kernel].name.clone(),
            source: failure.error,
        })
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
fn allocate_workspace(code: &CpuCode, threads: usize) -> Result<Memory, RunError> {
    let bytes = code.kernels.iter().map(|kernel| match kernel {
        LoadedKernel::Builtin(builtin) => builtin.workspace_bytes(threads),
        LoadedKernel::Function(_) => 0,
    });
    Memory::zeroed(bytes.max().unwrap_or(0))
        .map_err(|error| out_of_memory(error, "the kernels' workspace"))
}
