//! GPUs, in software or not: what walks a schedule of kernels in PTX on any of them.

mod cuda;
mod device;
mod emulator;
mod schedule;

pub(crate) use cuda::capability;
pub(super) use cuda::{Cuda, CudaCode};
pub(super) use emulator::{Emulator, EmulatorCode};

use super::RunError;
use super::engine::{Clock, Engine, Slot};
use super::program::Program;
use device::{Failure, GpuDevice, GpuError};
use schedule::{Addresses, Instruction, Schedule};
use std::borrow::Cow;

/// A program's values in the memory of a GPU.
pub(super) struct Gpu<D> {
    program: Program,
    device: D,
    schedule: Schedule,
    addresses: Addresses,
}

impl<D: GpuDevice> Gpu<D> {
    /// Allocates all that a program needs; `constants` is the file of constants.
    pub(super) fn new(
        program: &Program,
        mut device: D,
        constants: &[u8],
    ) -> Result<Self, RunError> {
        let manifest = program.manifest();
        let mut allocate = |bytes: Option<usize>, purpose: &dyn Fn() -> String| {
            let bytes = bytes.unwrap_or(usize::MAX);
            device.allocate(bytes).map_err(|_| RunError::OutOfMemory {
                bytes,
                purpose: format!("{} on {}", purpose(), device.name()),
            })
        };
        let results = (manifest.results.iter().enumerate())
            .map(|(number, result)| {
                allocate(result.tensor_type.bytes(), &|| {
                    program.describe_result(number)
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let inputs = (manifest.inputs.iter().enumerate())
            .map(|(number, input)| match input.donate {
                Some(result) => Ok(results[result]),
                None => allocate(input.tensor_type.bytes(), &|| {
                    program.describe_input(number)
                }),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let kernels = manifest
            .kernels
            .iter()
            .filter_map(|kernel| kernel.code.as_ptx());
        let workspace = kernels.map(|kernel| kernel.workspace_bytes).max();
        let workspace = workspace.filter(|&bytes| bytes > 0);
        let addresses = Addresses {
            inputs,
            results,
            constants: allocate(Some(constants.len()), &|| "the constants".to_owned())?,
            arena: allocate(Some(manifest.arena_bytes), &|| "the arena".to_owned())?,
            workspace: workspace
                .map(|bytes| allocate(Some(bytes), &|| "the kernels' workspace".to_owned()))
                .transpose()?,
        };
        let done = device.write(addresses.constants, constants);
        done.map_err(|error| failed(&device, || "the constants".to_owned(), error))?;
        Ok(Self {
            program: program.clone(),
            schedule: Schedule::new(manifest, &addresses),
            device,
            addresses,
        })
    }

    fn kernel_failed(&self, failure: Failure) -> RunError {
        let Some(kernel) = failure.kernel else {
            return failed(&self.device, || "the step".to_owned(), failure.error);
        };
        let kernel = self.program.manifest().kernels[kernel].name.clone();
        let device = self.device.name();
        match failure.error {
            GpuError::Failed(message) => RunError::Kernel {
                kernel,
                device,
                message,
            },
            GpuError::Found(findings) => RunError::Findings {
                kernel,
                device,
                findings,
            },
        }
    }
}

fn failed(device: &impl GpuDevice, what: impl Fn() -> String, error: GpuError) -> RunError {
    let (GpuError::Failed(message) | GpuError::Found(message)) = error;
    RunError::Device {
        device: device.name(),
        what: what(),
        message,
    }
}

impl<D: GpuDevice> Engine for Gpu<D> {
    fn threads(&self) -> usize {
        self.device.threads()
    }

    fn write(&mut self, slot: Slot, bytes: &[u8]) -> Result<(), RunError> {
        let address = match slot {
            Slot::Input(input) => self.addresses.inputs[input],
            Slot::Result(result) => self.addresses.results[result],
        };
        let done = self.device.write(address, bytes);
        done.map_err(|error| failed(&self.device, || "an input".to_owned(), error))
    }

    fn read(&self, result: usize) -> Result<Cow<'_, [u8]>, RunError> {
        let tensor_type = &self.program.manifest().results[result].tensor_type;
        let mut bytes = vec![0; tensor_type.bytes().unwrap_or(0)];
        let done = self.device.read(self.addresses.results[result], &mut bytes);
        done.map_err(|error| failed(&self.device, || self.program.describe_result(result), error))?;
        Ok(Cow::Owned(bytes))
    }

    fn step(&mut self, clock: Option<&mut Clock>) -> Result<(), RunError> {
        let mut walk = Walk {
            device: &mut self.device,
            clock,
        };
        let done = walk.run(&self.schedule.0);
        let done = done.and_then(|()| self.device.finish());
        done.map_err(|failure| self.kernel_failed(failure))
    }
}

/// A step on its way through the schedule.
struct Walk<'a, D> {
    device: &'a mut D,
    clock: Option<&'a mut Clock>,
}

impl<D: GpuDevice> Walk<'_, D> {
    fn run(&mut self, instructions: &[Instruction]) -> Result<(), Failure> {
        for instruction in instructions {
            match instruction {
                Instruction::Stretch(stretch) => {
                    self.device.run(stretch, self.clock.as_deref_mut())?;
                }
                Instruction::While {
                    condition,
                    predicate,
                    body,
                } => loop {
                    self.run(condition)?;
                    let [goes_on] = self.read(*predicate, "the predicate of a loop")?;
                    if goes_on == 0 {
                        break;
                    }
                    self.run(body)?;
                },
                Instruction::Case { index, branches } => {
                    let index = i32::from_le_bytes(self.read(*index, "the index of a case")?);
                    let last = branches.len() - 1;
                    let chosen = usize::try_from(index).map_or(last, |index| index.min(last));
                    self.run(&branches[chosen])?;
                }
            }
        }
        Ok(())
    }

    /// What decides how the schedule goes on, read back.
    fn read<const BYTES: usize>(&self, address: u64, what: &str) -> Result<[u8; BYTES], Failure> {
        let mut bytes = [0; BYTES];
        let done = self.device.read(address, &mut bytes);
        done.map_err(|error| match error {
            GpuError::Failed(message) => GpuError::Failed(format!("{what}: {message}")),
            GpuError::Found(message) => GpuError::Found(format!("{what}: {message}")),
        })?;
        Ok(bytes)
    }
}
