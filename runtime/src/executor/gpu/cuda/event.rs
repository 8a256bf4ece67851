//! Moments in a stream, between which the GPU says how long it took.

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;
use std::time::Duration;

/// A moment in a stream, once it was recorded there.
pub(super) struct Event(sys::CUevent);

impl Event {
    /// One that nothing has recorded. A context is current.
    pub(super) fn new() -> Result<Self, DriverError> {
        result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT).map(Self)
    }

    /// Makes it the moment when all that is in the stream is done.
    pub(super) fn record(&self, stream: sys::CUstream) -> Result<(), DriverError> {
        // SAFETY: both are of the current context, and neither has been destroyed.
        unsafe { result::event::record(self.0, stream) }
    }

    /// The time since another moment. The stream of both has been waited for.
    pub(super) fn since(&self, earlier: &Self) -> Result<Duration, DriverError> {
        // SAFETY: both were recorded and have come to pass.
        let milliseconds = unsafe { result::event::elapsed(earlier.0, self.0) }?;
        Ok(Duration::from_secs_f32(milliseconds.max(0.0) * 1e-3))
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: `new` made it, and it is not used again.
        let _ = unsafe { result::event::destroy(self.0) };
    }
}
