//! What the driver has: memory, and what its handles stand for.

use crate::gpu::Gpu;
use crate::status::{ERROR_INVALID_HANDLE, ERROR_INVALID_VALUE, SUCCESS, Status};
use crate::work::Work;
use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Instant;
use tessera_emulator::{Global, Program};

/// A handle: a number that no place in memory has.
pub(crate) type Handle = *mut c_void;

/// The last of the handles that stand for default streams: null, `CU_STREAM_LEGACY`, `CU_STREAM_PER_THREAD`.
const LAST_RESERVED: usize = 2;

/// The process's.
static DRIVER: LazyLock<Mutex<Driver>> = LazyLock::new(|| Mutex::new(Driver::new()));

/// All there is.
pub(crate) struct Driver {
    pub gpu: Gpu,
    pub memory: Global,
    /// What every call gives after a kernel failed.
    pub failure: Option<Status>,
    /// What each handle stands for.
    things: HashMap<usize, Thing>,
    last: usize,
    /// What the stream without a handle does.
    default_stream: Stream,
}

/// What a handle stands for.
pub(crate) enum Thing {
    Module(Arc<Program>),
    Function(Arc<Program>, String),
    Stream(Stream),
    Graph(Arc<[Work]>),
    Event(Option<Instant>),
}

/// A stream: its work is captured, or done at once.
#[derive(Default)]
pub(crate) struct Stream {
    pub captured: Option<Vec<Work>>,
}

impl Driver {
    fn new() -> Self {
        Self {
            gpu: Gpu::of_environment(),
            memory: Global::new(),
            failure: None,
            things: HashMap::new(),
            last: LAST_RESERVED,
            default_stream: Stream::default(),
        }
    }

    /// A new handle for a thing.
    pub fn insert(&mut self, thing: Thing) -> Handle {
        self.last += 1;
        self.things.insert(self.last, thing);
        std::ptr::without_provenance_mut(self.last)
    }

    /// What a handle stands for.
    pub fn thing(&mut self, handle: Handle) -> Result<&mut Thing, Status> {
        self.things
            .get_mut(&handle.addr())
            .ok_or(ERROR_INVALID_HANDLE)
    }

    /// The handle stands for nothing any more.
    pub fn remove(&mut self, handle: Handle) -> Result<(), Status> {
        let removed = self.things.remove(&handle.addr());
        removed.map(drop).ok_or(ERROR_INVALID_HANDLE)
    }

    /// A stream; the default one by a null handle and by those that say which kind of default is meant.
    pub fn stream(&mut self, handle: Handle) -> Result<&mut Stream, Status> {
        if handle.addr() <= LAST_RESERVED {
            return Ok(&mut self.default_stream);
        }
        match self.thing(handle)? {
            Thing::Stream(stream) => Ok(stream),
            _ => Err(ERROR_INVALID_HANDLE),
        }
    }

    /// Adds work to a stream.
    pub fn enqueue(&mut self, stream: Handle, work: Work) -> Result<(), Status> {
        match &mut self.stream(stream)?.captured {
            Some(captured) => {
                captured.push(work);
                Ok(())
            }
            None => work.run(self),
        }
    }
}

/// A call: what `body` does with the driver, unless a kernel failed before.
pub(crate) fn call(body: impl FnOnce(&mut Driver) -> Result<(), Status>) -> Status {
    let mut driver = DRIVER.lock().unwrap_or_else(PoisonError::into_inner);
    match driver.failure {
        Some(failure) => failure,
        None => body(&mut driver).err().unwrap_or(SUCCESS),
    }
}

/// Puts a value where the caller wants it.
///
/// # Safety
/// The place is null or can be written.
pub(crate) unsafe fn put<T>(place: *mut T, value: T) -> Result<(), Status> {
    if place.is_null() {
        return Err(ERROR_INVALID_VALUE);
    }
    // SAFETY: the caller's promise.
    unsafe { place.write(value) };
    Ok(())
}
