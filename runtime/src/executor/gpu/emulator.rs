//! The emulator as a device: every launch runs under its checker, in memory that holds nothing but what the kernel is
//! given.
//!
//! An instance's values lie in one memory, as they would on a GPU, but a kernel does not run there. For each launch its
//! buffers are laid out anew, apart from each other, as far beyond a multiple of 256 as they are; operands have their
//! values, results and workspace have none. So an access beyond a buffer is found though the arena goes on there, and
//! what a kernel reads before it writes it is found though an older value lies there. Afterwards results are taken back,
//! and operands must be what they were.

mod code;
mod room;

pub(in super::super) use code::EmulatorCode;

use super::super::engine::{Clock, Spent};
use super::super::instance::RunOptions;
use super::super::program::Program;
use super::device::{Failure, GpuDevice, GpuError};
use super::schedule::{Command, Launch, Stretch};
use crate::bundle::TensorMap;
use room::Room;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;
use tessera_emulator::{Fill, Finding, Global, GlobalError, Swizzle, TensorElement, launch};

/// Up to this many findings are in a message.
const LISTED: usize = 5;

/// The emulator, with memory for one instance.
pub(in super::super) struct Emulator {
    program: Program,
    code: Arc<EmulatorCode>,
    memory: Global,
    races: bool,
    threads: usize,
    /// Of the next launch.
    seed: u64,
}

impl Emulator {
    pub(in super::super) fn new(
        program: &Program,
        code: &Arc<EmulatorCode>,
        options: &RunOptions,
    ) -> Self {
        Self {
            program: program.clone(),
            code: Arc::clone(code),
            memory: Global::new(),
            races: options.emulator.races,
            threads: threads(options),
            seed: options.emulator.seed,
        }
    }

    /// Runs a kernel to its end; the instructions that lanes executed.
    fn launch(&mut self, own: &Launch) -> Result<u64, GpuError> {
        let kernel = &self.program.manifest().kernels[own.kernel];
        let mut room = Room::new(&self.memory, own, kernel)?;
        let mut what = tessera_emulator::Launch::new(&own.code.entry)
            .grid(own.code.grid)
            .block(own.code.block);
        what.cluster = own.code.cluster;
        what.dynamic_shared = u64::from(own.code.shared_bytes);
        what.races = self.races;
        what.threads = self.threads;
        what.seed = self.seed;
        what.arguments = room
            .parameters()
            .map(|address| address.to_le_bytes().to_vec())
            .collect();
        for map in &own.code.tensor_maps {
            let map = tensor_map(map, room.address(map.buffer));
            let bytes = map.encode().map_err(|error| {
                GpuError::Failed(format!("a tensor map that cannot be: {error}"))
            })?;
            what.arguments.push(bytes.to_vec());
        }
        self.seed = self.seed.wrapping_add(1);
        let report = launch(&self.code.program, &mut room.memory, &what)
            .map_err(|error| GpuError::Failed(error.to_string()))?;
        if !report.findings.is_empty() {
            return Err(found(&report.findings, &room, what.seed));
        }
        room.check_operands(&self.memory)?;
        room.take_results(&mut self.memory)?;
        Ok(report.lane_instructions)
    }

    fn command(&mut self, command: &Command) -> Result<u64, Failure> {
        match command {
            Command::Launch(launch) => self.launch(launch).map_err(|error| Failure {
                kernel: Some(launch.kernel),
                error,
            }),
            Command::Copy {
                source,
                destination,
                bytes,
            } => {
                let contents = self
                    .memory
                    .contents(*source, *bytes)
                    .map_err(GpuError::from)?;
                self.memory
                    .set_contents(*destination, &contents)
                    .map_err(GpuError::from)?;
                Ok(0)
            }
        }
    }
}

impl GpuDevice for Emulator {
    fn threads(&self) -> usize {
        self.threads
    }

    fn name(&self) -> String {
        format!("emulator:{}", self.code.architecture)
    }

    fn allocate(&mut self, bytes: usize) -> Result<u64, GpuError> {
        // What knows of each byte whether it was written is as large again.
        let whole = bytes
            .checked_mul(2)
            .filter(|&bytes| isize::try_from(bytes).is_ok());
        let mut probe: Vec<u8> = Vec::new();
        let fits = whole.is_some_and(|bytes| probe.try_reserve_exact(bytes).is_ok());
        drop(probe);
        if !fits {
            return Err(GpuError::Failed("out of memory".to_owned()));
        }
        Ok(self.memory.allocate(bytes))
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), GpuError> {
        Ok(self.memory.write_bytes(address, bytes)?)
    }

    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), GpuError> {
        let contents = self.memory.contents(address, bytes.len())?;
        if let Some(place) = contents.first_unwritten() {
            let message = format!("byte {place} of {} was never written", bytes.len());
            return Err(GpuError::Failed(message));
        }
        bytes.copy_from_slice(&self.memory.read_bytes(address, bytes.len())?);
        Ok(())
    }

    fn run(&mut self, stretch: &Stretch, mut clock: Option<&mut Clock>) -> Result<(), Failure> {
        for command in &stretch.commands {
            let start = Instant::now();
            let instructions = self.command(command)?;
            if let Some(clock) = &mut clock {
                let spent: &mut Spent = match command {
                    Command::Launch(launch) => &mut clock.kernels[launch.kernel],
                    Command::Copy { .. } => &mut clock.copies,
                };
                spent.add(start.elapsed(), instructions);
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

/// A tensor map of a buffer that lies at an address.
fn tensor_map(map: &TensorMap, address: u64) -> tessera_emulator::TensorMap {
    tessera_emulator::TensorMap {
        element: TensorElement::U8,
        address,
        dimensions: map.extents.clone(),
        strides: map.strides.clone(),
        box_dimensions: map.box_extents.clone(),
        swizzle: match map.swizzle_bytes {
            32 => Swizzle::B32,
            64 => Swizzle::B64,
            128 => Swizzle::B128,
            _ => Swizzle::None,
        },
        fill: Fill::Zero,
    }
}

/// As many as were asked for, or else as the machine runs at once.
fn threads(options: &RunOptions) -> usize {
    let threads = options
        .threads
        .or_else(|| std::thread::available_parallelism().ok());
    threads.map_or(1, NonZeroUsize::get)
}

/// The first findings, a line each, with their places in the bundle's text and what lies at their addresses.
fn found(findings: &[Finding], room: &Room<'_>, seed: u64) -> GpuError {
    use std::fmt::Write;

    let mut message = String::from("the emulator found");
    for finding in &findings[..findings.len().min(LISTED)] {
        let [x, y, z] = finding.cta;
        let _ = write!(
            message,
            "\n  {}:{}: {} ({}, CTA {x},{y},{z}, warp {}, lane {})",
            crate::bundle::PTX_FILE,
            finding.place,
            finding.kind,
            finding.code(),
            finding.warp,
            finding.lane
        );
        if let Some(near) = finding
            .kind
            .address()
            .and_then(|address| room.describe(address))
        {
            let _ = write!(message, "; {near}");
        }
    }
    if findings.len() > LISTED {
        let _ = write!(message, "\n  and {} more", findings.len() - LISTED);
    }
    let _ = write!(message, "\n  under the seed {seed}");
    GpuError::Found(message)
}

impl From<GlobalError> for GpuError {
    fn from(error: GlobalError) -> Self {
        Self::Failed(error.to_string())
    }
}
