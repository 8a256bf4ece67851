//! What a GPU does for the engine.

use super::super::engine::Clock;
use super::schedule::Stretch;

/// A GPU with memory for one instance.
///
/// What it is told is done in that order; `run` may come back before it is done.
pub(in super::super) trait GpuDevice: Send + Sync {
    /// What messages call it: `emulator:sm_90a`, `cuda:0 (NVIDIA H100)`.
    fn name(&self) -> String;

    /// The CPU's threads that it runs on.
    fn threads(&self) -> usize {
        1
    }

    /// Memory of so many bytes, from a multiple of 256 on, until the device is dropped.
    ///
    /// # Errors
    /// There is not that much.
    fn allocate(&mut self, bytes: usize) -> Result<u64, GpuError>;

    /// Puts bytes into allocated memory.
    ///
    /// # Errors
    /// The device fails.
    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), GpuError>;

    /// Gets bytes of allocated memory, once all is done that writes them.
    ///
    /// # Errors
    /// The device fails, or knows that they were never written.
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), GpuError>;

    /// Launches kernels and copies buffers.
    ///
    /// # Errors
    /// A kernel could not be launched or came to no good end.
    fn run(&mut self, stretch: &Stretch, clock: Option<&mut Clock>) -> Result<(), Failure>;

    /// Waits until all is done.
    ///
    /// # Errors
    /// The device fails.
    fn finish(&mut self) -> Result<(), Failure>;
}

/// What went wrong, in the device's words.
#[derive(Debug)]
pub(in super::super) enum GpuError {
    /// It did not do what it was told to.
    Failed(String),
    /// It did, and found that a kernel does what it must not.
    Found(String),
}

/// What went wrong in a step.
#[derive(Debug)]
pub(in super::super) struct Failure {
    /// The number of the kernel, where it is known which one it was.
    pub(super) kernel: Option<usize>,
    pub(super) error: GpuError,
}

impl From<GpuError> for Failure {
    fn from(error: GpuError) -> Self {
        Self {
            kernel: None,
            error,
        }
    }
}
