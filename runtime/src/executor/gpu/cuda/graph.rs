//! Work of a stream that the driver launches as a whole.

use super::super::device::Failure;
use super::failed;
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;

/// A graph, ready to be launched in the context that it was captured in.
pub(super) struct Graph(sys::CUgraphExec);

impl Graph {
    /// What `enqueue` adds to the stream, as a graph; the stream does nothing of it.
    ///
    /// # Errors
    /// `enqueue` fails, or the driver does.
    pub(super) fn capture(
        stream: sys::CUstream,
        enqueue: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        // Other threads may do what they like meanwhile.
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream is of the current context.
        unsafe { result::stream::begin_capture(stream, mode) }.map_err(failed)?;
        let enqueued = enqueue();
        // SAFETY: as above. The capture has to end whatever came of it, or the stream is of no more use.
        let graph = unsafe { result::stream::end_capture(stream) };
        enqueued?;
        let graph = graph.map_err(failed)?;
        // SAFETY: the graph is the one just captured, which the executable one does not need any more.
        let executable = unsafe {
            let executable = result::graph::instantiate(graph, sys::CUgraphInstantiate_flags(0));
            let _ = result::graph::destroy(graph);
            executable
        };
        Ok(Self(executable.map_err(failed)?))
    }

    /// Adds it to a stream.
    pub(super) fn launch(&self, stream: sys::CUstream) -> Result<(), DriverError> {
        // SAFETY: graph and stream are of the current context.
        unsafe { result::graph::launch(self.0, stream) }
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: nothing runs that uses it: its device waits before it drops its graphs.
        let _ = unsafe { result::graph::exec_destroy(self.0) };
    }
}
