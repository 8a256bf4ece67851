//! Memory of the GPU, and copies from it, to it and in it.

use crate::driver::{Driver, Handle, call, put};
use crate::status::{
    ERROR_ILLEGAL_ADDRESS, ERROR_INVALID_VALUE, ERROR_OUT_OF_MEMORY,
    ERROR_STREAM_CAPTURE_UNSUPPORTED, Status,
};
use crate::work::Work;
use std::ffi::{c_uchar, c_void};
use tessera_emulator::GlobalError;

/// `cuMemAlloc`: bytes that nobody has written, and whoever reads them before is found.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAlloc_v2(address: *mut u64, bytes: usize) -> Status {
    call(|driver| {
        if bytes == 0 {
            return Err(ERROR_INVALID_VALUE);
        }
        // What knows of each byte whether it was written is as large again.
        let mut probe: Vec<u8> = Vec::new();
        let whole = bytes.checked_mul(2).ok_or(ERROR_OUT_OF_MEMORY)?;
        probe
            .try_reserve_exact(whole)
            .map_err(|_| ERROR_OUT_OF_MEMORY)?;
        drop(probe);
        // SAFETY: this module's.
        unsafe { put(address, driver.memory.allocate(bytes)) }
    })
}

/// `cuMemFree`: the bytes stay until the process ends, but no address is given twice.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemFree_v2(address: u64) -> Status {
    call(|driver| {
        let found = driver.memory.contents(address, 1);
        found.map(drop).map_err(|_| ERROR_INVALID_VALUE)
    })
}

/// `cuMemcpyHtoD`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyHtoD_v2(to: u64, from: *const c_void, bytes: usize) -> Status {
    // SAFETY: this module's.
    call(|driver| unsafe { write(driver, to, from, bytes) })
}

/// `cuMemcpyHtoDAsync`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyHtoDAsync_v2(
    to: u64,
    from: *const c_void,
    bytes: usize,
    stream: Handle,
) -> Status {
    call(|driver| {
        not_captured(driver, stream)?;
        // SAFETY: this module's.
        unsafe { write(driver, to, from, bytes) }
    })
}

/// `cuMemcpyDtoH`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoH_v2(to: *mut c_void, from: u64, bytes: usize) -> Status {
    // SAFETY: this module's.
    call(|driver| unsafe { read(driver, to, from, bytes) })
}

/// `cuMemcpyDtoHAsync`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoHAsync_v2(
    to: *mut c_void,
    from: u64,
    bytes: usize,
    stream: Handle,
) -> Status {
    call(|driver| {
        not_captured(driver, stream)?;
        // SAFETY: this module's.
        unsafe { read(driver, to, from, bytes) }
    })
}

/// `cuMemcpyDtoD`.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpyDtoD_v2(to: u64, from: u64, bytes: usize) -> Status {
    cuMemcpyDtoDAsync_v2(to, from, bytes, std::ptr::null_mut())
}

/// `cuMemcpyDtoDAsync`.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: Handle) -> Status {
    call(|driver| driver.enqueue(stream, Work::Copy { from, to, bytes }))
}

/// `cuMemsetD8`.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemsetD8_v2(to: u64, value: c_uchar, bytes: usize) -> Status {
    cuMemsetD8Async(to, value, bytes, std::ptr::null_mut())
}

/// `cuMemsetD8Async`.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemsetD8Async(to: u64, value: c_uchar, bytes: usize, stream: Handle) -> Status {
    call(|driver| driver.enqueue(stream, Work::Fill { to, value, bytes }))
}

/// Copies between the host and the GPU are no part of a graph here.
fn not_captured(driver: &mut Driver, stream: Handle) -> Result<(), Status> {
    match driver.stream(stream)?.captured {
        None => Ok(()),
        Some(_) => Err(ERROR_STREAM_CAPTURE_UNSUPPORTED),
    }
}

/// # Safety
/// `from` is null or has as many bytes.
unsafe fn write(
    driver: &mut Driver,
    to: u64,
    from: *const c_void,
    bytes: usize,
) -> Result<(), Status> {
    if from.is_null() {
        return Err(ERROR_INVALID_VALUE);
    }
    // SAFETY: the caller's promise.
    let bytes = unsafe { std::slice::from_raw_parts(from.cast(), bytes) };
    let written = driver.memory.write_bytes(to, bytes);
    written.map_err(|_| ERROR_INVALID_VALUE)
}

/// # Safety
/// `to` is null or has as many bytes, which nobody else uses now.
unsafe fn read(
    driver: &mut Driver,
    to: *mut c_void,
    from: u64,
    bytes: usize,
) -> Result<(), Status> {
    if to.is_null() {
        return Err(ERROR_INVALID_VALUE);
    }
    let found = driver
        .memory
        .read_bytes(from, bytes)
        .map_err(|error| match error {
            GlobalError::OutOfBounds { .. } => ERROR_INVALID_VALUE,
            GlobalError::Unwritten { .. } => {
                eprintln!("a copy to the host: {error}");
                ERROR_ILLEGAL_ADDRESS
            }
        })?;
    // SAFETY: the caller's promise; `found` has as many bytes.
    unsafe {
        to.cast::<u8>()
            .copy_from_nonoverlapping(found.as_ptr(), bytes)
    };
    Ok(())
}
