//! The executor: runs a bundle's schedule on a device.
//!
//! [`Program::load_on`] turns a bundle into code that a device has. An [`Instance`] of it owns everything the code works
//! on, and runs one step after the other: a donated input is updated in place, so that a training loop feeds each step's
//! state to the next without a copy.
//!
//! On the CPU results are the same bits for any number of threads: what a block of a kernel computes does not depend on
//! the thread that does it, and the runtime's own matrix products are cut at places that only depend on their shape.

mod axis_sums;
mod builtin;
mod cpu;
mod dequantize;
mod engine;
mod error;
mod gemm;
mod gpu;
mod grouped;
mod hadamard;
mod hadamard_magnitudes;
mod instance;
mod library;
mod memory;
mod orthonormalize;
mod prefetch;
mod profile;
mod program;
mod quantize;
mod relayout;
mod row_function;
pub mod scaled_dot;
mod schedule;
mod team;
#[cfg(target_arch = "x86_64")]
mod transpose;

pub use error::RunError;
pub(crate) use gpu::capability;
pub use instance::{EmulatorOptions, Instance, RunOptions};
pub use profile::{KernelProfile, Profile};
pub use program::Program;
pub use team::Team;
