//! The CPU's schedule: one with every place turned into an address, and the loop that runs it.
//!
//! All that a launch needs is put together once, when an instance is made; running a step then only walks the list.

use super::builtin::Builtin;
use super::cpu::LoadedKernel;
use super::engine::Clock;
use super::library::KernelFunction;
use super::memory::Memory;
use super::team::Member;
use crate::bundle::{Buffer, Manifest, Place, Step};
use std::ffi::c_void;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;
use tessera_numerics::GroupSizesError;

/// Copies are shared between threads in pieces of this many bytes.
const COPY_PIECE: u64 = 1 << 20;

/// The memory that places refer to.
pub(super) struct Places<'a> {
    /// By input; that of a donated input is its result's.
    pub(super) inputs: &'a [*mut u8],
    pub(super) results: &'a [*mut u8],
    pub(super) constants: &'a Memory,
    pub(super) arena: &'a Memory,
    /// One for each thread, as large as the most demanding kernel asks for.
    pub(super) scratch: &'a [Memory],
    /// As large as the most demanding kernel that the runtime computes itself asks for.
    pub(super) workspace: &'a Memory,
}

impl Places<'_> {
    fn address(&self, manifest: &Manifest, buffer: &Buffer) -> *mut u8 {
        match buffer.place {
            Place::Input(input) => self.inputs[input],
            Place::Result(result) => self.results[result],
            Place::Constant(constant) => self
                .constants
                .pointer()
                .wrapping_add(manifest.constants[constant].offset),
            Place::Arena(offset) => self.arena.pointer().wrapping_add(offset),
        }
    }
}

/// A schedule over one instance's memory.
pub(super) struct Schedule(Vec<Instruction>);

// SAFETY: a schedule holds addresses of memory that its instance owns; `run`, which uses them, is unsafe.
unsafe impl Send for Schedule {}
// SAFETY: as above.
unsafe impl Sync for Schedule {}

enum Instruction {
    Call(Call),
    Builtin(BuiltinLaunch),
    Copy {
        source: *const u8,
        destination: *mut u8,
        bytes: usize,
    },
    While {
        condition: Vec<Instruction>,
        predicate: *const u8,
        body: Vec<Instruction>,
    },
    Case {
        index: *const u8,
        branches: Vec<Vec<Instruction>>,
    },
}

/// A launch of a function.
struct Call {
    number: usize,
    function: KernelFunction,
    blocks: u64,
    grain: u64,
    /// The addresses that calls are given: one list for all threads, or, where the kernel needs scratch memory, one list
    /// after the other for each.
    addresses: Box<[*mut c_void]>,
    /// From one thread's list to the next; 0 where all share one.
    stride: usize,
}

// SAFETY: addresses and code; `Schedule::run`, which uses them, is unsafe.
unsafe impl Sync for Call {}

/// A launch of a kernel that the runtime computes itself.
struct BuiltinLaunch {
    number: usize,
    kernel: Arc<Builtin>,
    /// Operands, then results.
    buffers: Box<[*mut u8]>,
    workspace: *mut u8,
}

/// A launch that could not be computed.
#[derive(Debug)]
pub(super) struct Failure {
    /// The kernel's number.
    pub(super) kernel: usize,
    pub(super) error: GroupSizesError,
}

impl Schedule {
    /// Puts addresses into a validated program's schedule.
    pub(super) fn new(manifest: &Manifest, kernels: &[LoadedKernel], places: &Places<'_>) -> Self {
        let builder = Builder {
            manifest,
            kernels,
            places,
        };
        Self(builder.steps(&manifest.schedule))
    }

    /// Runs all of it.
    ///
    /// # Errors
    /// A kernel could not be computed; what stands before it in the schedule is done, the rest is not.
    ///
    /// # Safety
    /// The memory it was made over is still there, and nobody else uses it meanwhile.
    pub(super) unsafe fn run(
        &self,
        member: Member,
        clock: Option<&mut Clock>,
    ) -> Result<(), Failure> {
        // SAFETY: the caller's promise.
        unsafe { Runner { member, clock }.run(&self.0) }
    }
}

struct Builder<'a> {
    manifest: &'a Manifest,
    kernels: &'a [LoadedKernel],
    places: &'a Places<'a>,
}

impl Builder<'_> {
    fn steps(&self, steps: &[Step]) -> Vec<Instruction> {
        steps.iter().map(|step| self.step(step)).collect()
    }

    fn step(&self, step: &Step) -> Instruction {
        match step {
            Step::Launch {
                kernel,
                operands,
                results,
            } => self.launch(*kernel, operands, results),
            Step::Copy {
                source,
                destination,
            } => Instruction::Copy {
                source: self.address(*source),
                destination: self.address(*destination),
                bytes: self.manifest.buffers[*source]
                    .value_type
                    .bytes()
                    .unwrap_or(0),
            },
            Step::While {
                condition,
                predicate,
                body,
            } => Instruction::While {
                condition: self.steps(condition),
                predicate: self.address(*predicate),
                body: self.steps(body),
            },
            Step::Case { index, branches } => Instruction::Case {
                index: self.address(*index),
                branches: branches.iter().map(|branch| self.steps(branch)).collect(),
            },
        }
    }

    fn launch(&self, number: usize, operands: &[usize], results: &[usize]) -> Instruction {
        let buffers: Vec<*mut u8> = operands
            .iter()
            .chain(results)
            .map(|&buffer| self.address(buffer))
            .collect();
        match &self.kernels[number] {
            LoadedKernel::Builtin(kernel) => Instruction::Builtin(BuiltinLaunch {
                number,
                kernel: Arc::clone(kernel),
                buffers: buffers.into(),
                workspace: self.places.workspace.pointer(),
            }),
            LoadedKernel::Function(function) => self.call(number, *function, &buffers),
        }
    }

    fn call(&self, number: usize, function: KernelFunction, buffers: &[*mut u8]) -> Instruction {
        let code = self.manifest.kernels[number].code.as_function();
        let (blocks, grain, scratch_bytes) = code.map_or((0, 1, 0), |function| {
            (function.blocks, function.grain, function.scratch_bytes)
        });
        let buffers = buffers.iter().map(|buffer| buffer.cast::<c_void>());
        let (addresses, stride) = if scratch_bytes == 0 {
            (buffers.collect(), 0)
        } else {
            let lists = self.places.scratch.iter().flat_map(|scratch| {
                let scratch = scratch.pointer().cast::<c_void>();
                buffers.clone().chain([scratch])
            });
            (lists.collect(), buffers.len() + 1)
        };
        Instruction::Call(Call {
            number,
            function,
            blocks,
            grain,
            addresses,
            stride,
        })
    }

    fn address(&self, buffer: usize) -> *mut u8 {
        self.places
            .address(self.manifest, &self.manifest.buffers[buffer])
    }
}

struct Runner<'a> {
    member: Member,
    clock: Option<&'a mut Clock>,
}

impl Runner<'_> {
    /// # Safety
    /// As for [`Schedule::run`].
    unsafe fn run(&mut self, instructions: &[Instruction]) -> Result<(), Failure> {
        for instruction in instructions {
            let start = self.clock.as_ref().map(|_| Instant::now());
            match instruction {
                Instruction::Call(call) => {
                    // SAFETY: the caller's promise.
                    unsafe { call.run(self.member) };
                    self.spent(start, Some(call.number));
                }
                Instruction::Builtin(launch) => {
                    // SAFETY: the caller's promise; validation found the buffers to be of the kernel's types, and the
                    // results apart from all else. The workspace is large enough for every kernel, and they run one
                    // after the other.
                    let done = unsafe {
                        let kernel = &launch.kernel;
                        kernel.run(self.member, &launch.buffers, launch.workspace)
                    };
                    done.map_err(|error| Failure {
                        kernel: launch.number,
                        error,
                    })?;
                    self.spent(start, Some(launch.number));
                }
                Instruction::Copy {
                    source,
                    destination,
                    bytes,
                } => {
                    // SAFETY: the caller's promise; validation found both buffers of that size, and apart or the same.
                    unsafe { copy(self.member, *source, *destination, *bytes) };
                    self.spent(start, None);
                }
                Instruction::While {
                    condition,
                    predicate,
                    body,
                } => loop {
                    // SAFETY: the caller's promise.
                    unsafe { self.run(condition)? };
                    // SAFETY: validation found the predicate to be one byte inside its memory.
                    if unsafe { predicate.read() } == 0 {
                        break;
                    }
                    // SAFETY: the caller's promise.
                    unsafe { self.run(body)? };
                },
                Instruction::Case { index, branches } => {
                    // SAFETY: validation found the index to be an i32 inside its memory, where every buffer is aligned
                    // for its elements.
                    let index = unsafe { index.cast::<i32>().read() };
                    let last = branches.len() - 1;
                    let chosen = usize::try_from(index).map_or(last, |index| index.min(last));
                    // SAFETY: the caller's promise.
                    unsafe { self.run(&branches[chosen])? };
                }
            }
        }
        Ok(())
    }

    fn spent(&mut self, start: Option<Instant>, kernel: Option<usize>) {
        if let (Some(start), Some(clock)) = (start, &mut self.clock) {
            let spent = match kernel {
                Some(number) => &mut clock.kernels[number],
                None => &mut clock.copies,
            };
            spent.add(start.elapsed(), 0);
        }
    }
}

impl Call {
    /// # Safety
    /// As for [`Schedule::run`].
    #[inline]
    unsafe fn run(&self, member: Member) {
        member.share(self.blocks, self.grain, &|worker, range: Range<u64>| {
            let addresses = self.addresses[worker * self.stride..].as_ptr();
            // SAFETY: the bundle states that this code, given these addresses, does the blocks of the range and touches
            // nothing else; a worker makes one call at a time, and so has its scratch memory to itself. Validation
            // found the number of blocks to fit into an i64.
            unsafe { (self.function)(addresses, range.start as i64, range.end as i64) }
        });
    }
}

/// # Safety
/// Both places have that many bytes, and are the same or apart; nobody else uses them meanwhile.
unsafe fn copy(member: Member, source: *const u8, destination: *mut u8, bytes: usize) {
    struct Places(*const u8, *mut u8);
    // SAFETY: addresses, used as the caller promises.
    unsafe impl Sync for Places {}

    if std::ptr::eq(source, destination) {
        return;
    }
    let places = Places(source, destination);
    let pieces = (bytes as u64).div_ceil(COPY_PIECE);
    member.share(pieces, 1, &|_, range| {
        let places = &places;
        let begin = (range.start * COPY_PIECE) as usize;
        let end = bytes.min((range.end * COPY_PIECE) as usize);
        // SAFETY: the caller's promise; different calls have different pieces.
        unsafe {
            std::ptr::copy_nonoverlapping(places.0.add(begin), places.1.add(begin), end - begin);
        }
    });
}
