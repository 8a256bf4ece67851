//! A bundle's code and constants, ready to run.

use super::RunError;
use super::cpu::{Cpu, CpuCode};
use super::engine::Engine;
use super::gpu::{Cuda, CudaCode, Emulator, EmulatorCode, Gpu};
use super::instance::{Instance, RunOptions};
use crate::bundle::{Bundle, BundleError, Manifest};
use crate::device::Device;
use std::fmt;
use std::fs;
use std::sync::Arc;
use tessera_numerics::Tensor;

/// A bundle's code and constants in memory. Cheap to copy; copies share both.
#[derive(Clone)]
pub struct Program(Arc<Loaded>);

/// What every copy of a program shares.
struct Loaded {
    manifest: Manifest,
    code: Code,
}

/// A bundle's code and constants, where its device can use them.
enum Code {
    Cpu(CpuCode),
    Emulator(Arc<EmulatorCode>),
    Cuda(Arc<CudaCode>),
}

impl Program {
    /// Loads a bundle's machine code into this process, to run on its CPU.
    ///
    /// The code runs with the rights of this process, unchecked: load bundles that come from where you trust.
    ///
    /// # Errors
    /// The bundle is made for another machine, its code cannot be loaded or lacks a kernel's function, or its
    /// constants cannot be read.
    pub fn load(bundle: &Bundle) -> Result<Self, BundleError> {
        Self::load_on(bundle, &Device::Cpu)
    }

    /// Loads a bundle's code for a device; see [`load`](Self::load).
    ///
    /// # Errors
    /// The device is not there or does not run the bundle's target, the code cannot be loaded or lacks a kernel, or the
    /// constants cannot be read.
    pub fn load_on(bundle: &Bundle, device: &Device) -> Result<Self, BundleError> {
        let code = match device {
            Device::Cpu => Code::Cpu(CpuCode::load(bundle)?),
            Device::Emulator(architecture) => {
                Code::Emulator(Arc::new(EmulatorCode::load(bundle, *architecture)?))
            }
            Device::Cuda(number) => Code::Cuda(Arc::new(CudaCode::load(bundle, *number)?)),
        };
        Ok(Self(Arc::new(Loaded {
            manifest: bundle.manifest().clone(),
            code,
        })))
    }

    /// Memory and a way through the schedule for one instance.
    pub(super) fn engine(&self, options: &RunOptions) -> Result<Box<dyn Engine>, RunError> {
        Ok(match &self.0.code {
            Code::Cpu(code) => Box::new(Cpu::new(self, code, options)?),
            Code::Emulator(code) => {
                let emulator = Emulator::new(self, code, options);
                Box::new(Gpu::new(self, emulator, &code.constants)?)
            }
            Code::Cuda(code) => Box::new(Gpu::new(self, Cuda::new(code)?, &code.constants)?),
        })
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

/// The contents of the file of constants, which reach at least to the end of the last one.
pub(super) fn read_constants(bundle: &Bundle) -> Result<Vec<u8>, BundleError> {
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
    Ok(contents)
}
