//! What stands behind an instance: memory for a program's values, and a way through its schedule.

use super::RunError;
use std::borrow::Cow;
use std::time::Duration;

/// Memory that a caller's value is put into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// That of an input which is not donated.
    Input(usize),
    /// That of a result, and of the input donated to it.
    Result(usize),
}

/// A machine that takes a program's steps.
pub(super) trait Engine: Send + Sync {
    /// The CPU's threads that it runs on.
    fn threads(&self) -> usize;

    /// Puts a value where it belongs; as many bytes as its type has.
    ///
    /// # Errors
    /// The device fails.
    fn write(&mut self, slot: Slot, bytes: &[u8]) -> Result<(), RunError>;

    /// The bytes of a result.
    ///
    /// # Errors
    /// The device fails, or knows that they were never written.
    fn read(&self, result: usize) -> Result<Cow<'_, [u8]>, RunError>;

    /// Walks the schedule. All inputs have been written.
    ///
    /// # Errors
    /// A kernel could not be computed, or the device fails; results and donated inputs are then undefined.
    fn step(&mut self, clock: Option<&mut Clock>) -> Result<(), RunError>;
}

/// What went into each kernel, and into copies.
pub(super) struct Clock {
    pub(super) kernels: Vec<Spent>,
    pub(super) copies: Spent,
}

/// How often something was done, and what that took in all.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    pub(super) times: u64,
    pub(super) time: Duration,
    /// The shortest time.
    pub(super) least: Duration,
    /// Of lanes, where a machine counts them.
    pub(super) instructions: u64,
}

impl Clock {
    /// For a program of so many kernels.
    pub(super) fn new(kernels: usize) -> Self {
        Self {
            kernels: vec![Spent::default(); kernels],
            copies: Spent::default(),
        }
    }
}

impl Spent {
    /// Adds one time.
    pub(super) fn add(&mut self, time: Duration, instructions: u64) {
        self.least = match self.times {
            0 => time,
            _ => self.least.min(time),
        };
        self.times += 1;
        self.time += time;
        self.instructions += instructions;
    }
}
