//! Streams, the graphs that are captured from them, and events.

use crate::driver::{Handle, Stream, Thing, call, put};
use crate::status::{ERROR_INVALID_HANDLE, ERROR_INVALID_VALUE, Status};
use std::ffi::{c_float, c_int, c_uint, c_ulonglong};
use std::sync::Arc;
use std::time::Instant;

/// `cuStreamCreate`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamCreate(stream: *mut Handle, _flags: c_uint) -> Status {
    // SAFETY: this module's.
    call(|driver| unsafe { put(stream, driver.insert(Thing::Stream(Stream::default()))) })
}

/// `cuStreamDestroy`.
#[unsafe(no_mangle)]
pub extern "C" fn cuStreamDestroy_v2(stream: Handle) -> Status {
    call(|driver| driver.remove(stream))
}

/// `cuStreamSynchronize`.
#[unsafe(no_mangle)]
pub extern "C" fn cuStreamSynchronize(stream: Handle) -> Status {
    call(|driver| driver.stream(stream).map(drop))
}

/// `cuStreamBeginCapture`.
#[unsafe(no_mangle)]
pub extern "C" fn cuStreamBeginCapture_v2(stream: Handle, _mode: c_int) -> Status {
    call(|driver| {
        let captured = &mut driver.stream(stream)?.captured;
        match captured.replace(Vec::new()) {
            None => Ok(()),
            Some(_) => Err(ERROR_INVALID_VALUE),
        }
    })
}

/// `cuStreamEndCapture`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamEndCapture(stream: Handle, graph: *mut Handle) -> Status {
    call(|driver| {
        let captured = driver.stream(stream)?.captured.take();
        let captured = captured.ok_or(ERROR_INVALID_VALUE)?;
        // SAFETY: this module's.
        unsafe { put(graph, driver.insert(Thing::Graph(captured.into()))) }
    })
}

/// `cuGraphInstantiate`: the graph as it is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphInstantiateWithFlags(
    executable: *mut Handle,
    graph: Handle,
    _flags: c_ulonglong,
) -> Status {
    call(|driver| {
        let Thing::Graph(work) = driver.thing(graph)? else {
            return Err(ERROR_INVALID_HANDLE);
        };
        let work = Arc::clone(work);
        // SAFETY: this module's.
        unsafe { put(executable, driver.insert(Thing::Graph(work))) }
    })
}

/// `cuGraphLaunch`.
#[unsafe(no_mangle)]
pub extern "C" fn cuGraphLaunch(executable: Handle, stream: Handle) -> Status {
    call(|driver| {
        let Thing::Graph(work) = driver.thing(executable)? else {
            return Err(ERROR_INVALID_HANDLE);
        };
        let work = Arc::clone(work);
        work.iter()
            .try_for_each(|one| driver.enqueue(stream, one.clone()))
    })
}

/// `cuGraphDestroy`.
#[unsafe(no_mangle)]
pub extern "C" fn cuGraphDestroy(graph: Handle) -> Status {
    call(|driver| driver.remove(graph))
}

/// `cuGraphExecDestroy`.
#[unsafe(no_mangle)]
pub extern "C" fn cuGraphExecDestroy(executable: Handle) -> Status {
    call(|driver| driver.remove(executable))
}

/// `cuEventCreate`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventCreate(event: *mut Handle, _flags: c_uint) -> Status {
    // SAFETY: this module's.
    call(|driver| unsafe { put(event, driver.insert(Thing::Event(None))) })
}

/// `cuEventDestroy`.
#[unsafe(no_mangle)]
pub extern "C" fn cuEventDestroy_v2(event: Handle) -> Status {
    call(|driver| driver.remove(event))
}

/// `cuEventRecord`.
#[unsafe(no_mangle)]
pub extern "C" fn cuEventRecord(event: Handle, stream: Handle) -> Status {
    call(|driver| {
        driver.stream(stream)?;
        match driver.thing(event)? {
            Thing::Event(moment) => *moment = Some(Instant::now()),
            _ => return Err(ERROR_INVALID_HANDLE),
        }
        Ok(())
    })
}

/// `cuEventSynchronize`.
#[unsafe(no_mangle)]
pub extern "C" fn cuEventSynchronize(event: Handle) -> Status {
    call(|driver| driver.thing(event).map(drop))
}

/// `cuEventElapsedTime`, in milliseconds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventElapsedTime(
    milliseconds: *mut c_float,
    begin: Handle,
    end: Handle,
) -> Status {
    call(|driver| {
        let mut moment = |event| match driver.thing(event)? {
            Thing::Event(Some(moment)) => Ok(*moment),
            _ => Err(ERROR_INVALID_HANDLE),
        };
        let time = moment(end)?.saturating_duration_since(moment(begin)?);
        // SAFETY: this module's.
        unsafe { put(milliseconds, time.as_secs_f32() * 1e3) }
    })
}

/// `cuEventElapsedTime` as CUDA 12.8 has it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventElapsedTime_v2(
    milliseconds: *mut c_float,
    begin: Handle,
    end: Handle,
) -> Status {
    // SAFETY: this module's.
    unsafe { cuEventElapsedTime(milliseconds, begin, end) }
}
