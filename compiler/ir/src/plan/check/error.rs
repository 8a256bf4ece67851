//! What a plan breaks.

use crate::Type;
use crate::plan::{ARENA_ALIGNMENT, BufferId, KernelId, Place};
use std::fmt;

/// Which step: its number in the schedule, then in the blocks inside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepPath(Vec<String>);

impl StepPath {
    pub(super) fn then(&self, part: impl fmt::Display) -> Self {
        let mut parts = self.0.clone();
        parts.push(part.to_string());
        Self(parts)
    }
}

impl fmt::Display for StepPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

/// A promise that a plan breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what each field is")]
pub enum PlanError {
    /// A step breaks it.
    #[error("{step}: {error}")]
    Step {
        step: StepPath,
        error: Box<StepError>,
    },
    /// A result is not written in full.
    #[error("result {result} is not written in full")]
    ResultNotWritten { result: usize },
    /// A buffer lies in an input, result or constant that is not there.
    #[error("{buffer} lies in {place}, the plan has {count} of these")]
    UnknownPlace {
        buffer: BufferId,
        place: Place,
        count: usize,
    },
    /// A buffer is larger than the memory in which it lies.
    #[error("{buffer} has {found} bytes and lies in {place}, where there are {available}")]
    BufferSize {
        buffer: BufferId,
        place: Place,
        found: usize,
        available: usize,
    },
    /// A buffer's type is larger than the address space.
    #[error("{buffer} is larger than the address space")]
    BufferOverflow { buffer: BufferId },
    /// An arena buffer begins between multiples of the alignment.
    #[error("{buffer} lies in {place}, which is not a multiple of {ARENA_ALIGNMENT}")]
    Alignment { buffer: BufferId, place: Place },
    /// A donation to a result that is not there, or that has another type, or another donor.
    #[error("input {input} is donated to result {result}, {reason}")]
    Donation {
        input: usize,
        result: usize,
        reason: String,
    },
    /// A kernel's name is no C identifier.
    #[error("the kernel name '{name}' is not a C identifier")]
    KernelName { name: String },
    /// Two kernels have one name.
    #[error("two kernels are named '{name}'")]
    SameName { name: String },
    /// Two kernels are the same but for their names.
    #[error("the kernels '{first}' and '{second}' are equal")]
    EqualKernels { first: String, second: String },
}

/// A promise that one step of a plan breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what each field is")]
pub enum StepError {
    /// A step names a buffer that is not there.
    #[error("there is no buffer {buffer}, the plan has {count}")]
    UnknownBuffer { buffer: BufferId, count: usize },
    /// A step launches a kernel that is not there.
    #[error("there is no kernel {}, the plan has {count}", kernel.0)]
    UnknownKernel { kernel: KernelId, count: usize },
    /// A launch gives a kernel too few or too many buffers.
    #[error("kernel '{kernel}' has {expected} {role}(s), the launch gives {found}")]
    LaunchCount {
        kernel: String,
        role: &'static str,
        expected: usize,
        found: usize,
    },
    /// A launch gives a kernel a buffer of another type.
    #[error("{role} {number} of kernel '{kernel}' is {expected}, {buffer} is {found}")]
    LaunchType {
        kernel: String,
        role: &'static str,
        number: usize,
        expected: Box<Type>,
        buffer: BufferId,
        found: Box<Type>,
    },
    /// A result of a launch overlaps an operand without beginning where that begins.
    #[error("result {result} overlaps operand {operand}, but does not begin where that does")]
    LaunchOverlap { operand: BufferId, result: BufferId },
    /// Two results of a launch overlap.
    #[error("the results {first} and {second} overlap")]
    ResultOverlap { first: BufferId, second: BufferId },
    /// A copy between buffers of different sizes.
    #[error("{source_buffer} has {expected} bytes, {destination} has {found}")]
    CopySize {
        source_buffer: BufferId,
        destination: BufferId,
        expected: usize,
        found: usize,
    },
    /// A copy between buffers that overlap in part.
    #[error("{source_buffer} and {destination} overlap in part")]
    CopyOverlap {
        source_buffer: BufferId,
        destination: BufferId,
    },
    /// A loop's predicate or a case's index has another type.
    #[error("expected a buffer of {expected}, {buffer} is {found}")]
    ControlType {
        expected: Box<Type>,
        buffer: BufferId,
        found: Box<Type>,
    },
    /// A case has no branches.
    #[error("expected at least one branch")]
    NoBranches,
    /// A step writes to memory that must stay as it is.
    #[error("{buffer} is written, but lies in {place}, which {reason}")]
    WriteProtected {
        buffer: BufferId,
        place: Place,
        reason: &'static str,
    },
    /// A step reads memory into which nothing was written.
    #[error("{buffer} is read before all of it is written")]
    ReadBeforeWrite { buffer: BufferId },
}
