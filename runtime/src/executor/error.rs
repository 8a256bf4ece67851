//! What can go wrong when a program runs.

use crate::bundle::TensorType;
use std::fmt;
use tessera_numerics::{GroupSizesError, TensorError};

/// Why a program cannot run, or has no such input or result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Too few or too many inputs.
    #[error("expected {expected} inputs, found {found}")]
    InputCount {
        /// The number of inputs the program has.
        expected: usize,
        /// The number given.
        found: usize,
    },
    /// An input that the program does not have.
    #[error("no input {found}; the program has {}", Inputs(.names))]
    UnknownInput {
        /// What was asked for.
        found: String,
        /// The inputs there are.
        names: Vec<String>,
    },
    /// A name that several inputs share.
    #[error("the name \"{name}\" stands for inputs {}", Numbers(.inputs))]
    AmbiguousInput {
        /// The name.
        name: String,
        /// The inputs of that name.
        inputs: Vec<usize>,
    },
    /// An input of another shape or element type than the program's.
    #[error("{input}: expected {expected}, found {found}")]
    InputType {
        /// The input, as messages call it: `input 3 ("tokens")`.
        input: String,
        /// The type it has in the program.
        expected: TensorType,
        /// The type given.
        found: TensorType,
    },
    /// A step was asked for before every input was given.
    #[error("missing {}", .inputs.join(", "))]
    MissingInputs {
        /// The inputs, with their types.
        inputs: Vec<String>,
    },
    /// A result that the program does not have.
    #[error("no result {found}; the program has {count} results")]
    UnknownResult {
        /// What was asked for.
        found: usize,
        /// The number of results.
        count: usize,
    },
    /// A result was asked for that no step has computed since its memory was last given as an input.
    #[error("{result} is not computed yet")]
    NotComputed {
        /// The result, as messages call it.
        result: String,
    },
    /// The code left bytes in a result that are no tensor of its type.
    #[error("{result}: the program computed no valid tensor: {source}")]
    InvalidResult {
        /// The result, as messages call it.
        result: String,
        /// What is wrong with the bytes.
        source: TensorError,
    },
    /// Sizes of groups that are none of the rows there are.
    #[error("kernel \"{kernel}\": {source}")]
    GroupSizes {
        /// The kernel's name.
        kernel: String,
        /// What is wrong with them.
        source: GroupSizesError,
    },
    /// A kernel of a GPU could not be launched, or did not come to its end.
    #[error("kernel \"{kernel}\" on {device}: {message}")]
    Kernel {
        /// The kernel's name.
        kernel: String,
        /// The device.
        device: String,
        /// What the device says.
        message: String,
    },
    /// A kernel does what it must not, as the emulator's checker found.
    #[error("kernel \"{kernel}\" on {device}: {findings}")]
    Findings {
        /// The kernel's name.
        kernel: String,
        /// The device.
        device: String,
        /// What was found, with places in the bundle's PTX.
        findings: String,
    },
    /// A device did not do what it was told to.
    #[error("{device}: {what}: {message}")]
    Device {
        /// The device.
        device: String,
        /// What it was to do.
        what: String,
        /// What it says.
        message: String,
    },
    /// There is not enough memory.
    #[error("cannot allocate {bytes} bytes for {purpose}")]
    OutOfMemory {
        /// The bytes asked for.
        bytes: usize,
        /// What they are for.
        purpose: String,
    },
    /// The system does not give threads.
    #[error("cannot start {threads} threads: {message}")]
    Threads {
        /// The number asked for.
        threads: usize,
        /// What the system says.
        message: String,
    },
}

/// Up to this many names are listed in a message.
const LISTED: usize = 12;

struct Inputs<'a>(&'a [String]);

impl fmt::Display for Inputs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no inputs");
        }
        f.write_str(&self.0[..self.0.len().min(LISTED)].join(", "))?;
        match self.0.len().saturating_sub(LISTED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

struct Numbers<'a>(&'a [usize]);

impl fmt::Display for Numbers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(usize::to_string).collect();
        f.write_str(&numbers.join(", "))
    }
}
