//! A bundle's code and constants, ready to run.

use super::RunError;
use super::builtin::Builtin;
use super::instance::{Instance, RunOptions};
use super::library::{KernelFunction, Library, check_host};
use super::memory::Memory;
use crate::bundle::{Bundle, BundleError, Manifest};
use std::fmt;
use std::fs;
use std::sync::Arc;
use tessera_numerics::Tensor;

/// A bundle's code and constants in memory. Cheap to copy; copies share both.
#[derive(Clone)]
pub struct Program(pub(super) Arc<Loaded>);

/// What every copy of a program shares.
pub(super) struct Loaded {
    pub(super) manifest: Manifest,
    pub(super) kernels: Vec<LoadedKernel>,
    pub(super) constants: Memory,
    /// Keeps the kernels' functions in memory.
    _library: Option<Library>,
}

/// A kernel's code.
pub(super) enum LoadedKernel {
    Function(KernelFunction),
    Builtin(Arc<Builtin>),
}

impl Program {
    /// Loads a bundle's machine code into this process.
    ///
    /// The code runs with the rights of this process, unchecked: load bundles that come from where you trust.
    ///
    /// # Errors
    /// The bundle is made for another machine, its code cannot be loaded or lacks a kernel's function, or its
    /// constants cannot be read.
    pub fn load(bundle: &Bundle) -> Result<Self, BundleError> {
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
        let constants = read_constants(bundle)?;
        let kernels = manifest.kernels.iter().enumerate().zip(functions);
        let kernels = kernels
            .map(|((number, kernel), function)| {
                let builtin = Builtin::new(kernel).map_err(|found| BundleError::Inconsistent {
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
        Ok(Self(Arc::new(Loaded {
            manifest: manifest.clone(),
            kernels,
            constants,
            _library: library,
        })))
    }

    /// What the program's bundle says about it.
    pub fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    /// An instance: memory and threads of its own, no inputs yet.
    ///
    /// # Errors
    /// There is not enough memory, or the system does not give the threads.
    pub fn instance(&self, options: &RunOptions) -> Result<Instance, RunError> {
        Instance::new(self.clone(), options)
    }

    /// Runs one step on the given inputs and returns its results.
    ///
    /// # Errors
    /// The inputs are not those of the program, or there is not enough memory.
    pub fn run(&self, inputs: &[Tensor], options: &RunOptions) -> Result<Vec<Tensor>, RunError> {
        let mut instance = self.instance(options)?;
        instance.set_inputs(inputs)?;
        instance.step()?;
        instance.results()
    }

    /// The number of the input called `name`: its own name, or `arg3` for input 3.
    ///
    /// # Errors
    /// There is no such input, or there are several.
    pub fn input_number(&self, name: &str) -> Result<usize, RunError> {
        let inputs = &self.0.manifest.inputs;
        let named: Vec<usize> = (0..inputs.len())
            .filter(|&number| inputs[number].name.as_deref() == Some(name))
            .collect();
        match named[..] {
            [number] => return Ok(number),
            [] => {}
            _ => {
                return Err(RunError::AmbiguousInput {
                    name: name.to_owned(),
                    inputs: named,
                });
            }
        }
        let number = (0..inputs.len()).find(|&number| crate::tensors::argument(number) == name);
        number.ok_or_else(|| self.unknown_input(format!("\"{name}\"")))
    }

    pub(super) fn unknown_input(&self, found: String) -> RunError {
        let count = self.0.manifest.inputs.len();
        RunError::UnknownInput {
            found,
            names: (0..count)
                .map(|number| self.describe_input(number))
                .collect(),
        }
    }

    /// `input 3 ("tokens")`.
    pub(super) fn describe_input(&self, number: usize) -> String {
        describe(
            "input",
            number,
            self.0.manifest.inputs[number].name.as_deref(),
        )
    }

    /// `result 3 ("loss")`.
    pub(super) fn describe_result(&self, number: usize) -> String {
        describe(
            "result",
            number,
            self.0.manifest.results[number].name.as_deref(),
        )
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("graph", &self.0.manifest.graph)
            .field("target", &self.0.manifest.target.name)
            .finish_non_exhaustive()
    }
}

fn describe(what: &str, number: usize, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("{what} {number} (\"{name}\")"),
        None => format!("{what} {number}"),
    }
}

/// Constants keep their offsets, so that they are aligned in memory as they are in the file.
fn read_constants(bundle: &Bundle) -> Result<Memory, BundleError> {
    let path = bundle.constants_path();
    let contents = match &path {
        Some(path) => fs::read(path).map_err(|error| BundleError::io(path, error))?,
        None => Vec::new(),
    };
    let constants = &bundle.manifest().constants;
    let ends = constants
        .iter()
        .map(|constant| constant.offset + constant.bytes);
    let expected = ends.max().unwrap_or(0);
    if contents.len() < expected {
        return Err(BundleError::FileSize {
            path: path.unwrap_or_default(),
            expected: expected as u64,
            found: contents.len() as u64,
        });
    }
    let mut memory = Memory::zeroed(contents.len()).map_err(|error| BundleError::OutOfMemory {
        path: bundle.path().to_path_buf(),
        bytes: error.bytes,
    })?;
    memory.bytes_mut().copy_from_slice(&contents);
    Ok(memory)
}
