//! The driver itself, its one GPU and the context of that, and the words of errors.

use crate::driver::{Handle, call, put};
use crate::status::{ERROR_INVALID_DEVICE, ERROR_INVALID_VALUE, Status, words};
use std::ffi::{CStr, c_char, c_int, c_uint};
use tessera_emulator::shared_memory_limit;

/// The version of the interface: CUDA 12.8's.
const VERSION: c_int = 12_080;

/// The one context's handle.
const CONTEXT: usize = usize::MAX;

/// `cuInit`.
#[unsafe(no_mangle)]
pub extern "C" fn cuInit(_flags: c_uint) -> Status {
    call(|_| Ok(()))
}

/// `cuDriverGetVersion`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDriverGetVersion(version: *mut c_int) -> Status {
    // SAFETY: this module's.
    call(|_| unsafe { put(version, VERSION) })
}

/// `cuDeviceGetCount`: one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetCount(count: *mut c_int) -> Status {
    // SAFETY: this module's.
    call(|_| unsafe { put(count, 1) })
}

/// `cuDeviceGet`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGet(device: *mut c_int, ordinal: c_int) -> Status {
    call(|_| {
        check(ordinal)?;
        // SAFETY: this module's.
        unsafe { put(device, ordinal) }
    })
}

/// `cuDeviceGetName`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetName(
    name: *mut c_char,
    length: c_int,
    device: c_int,
) -> Status {
    call(|driver| {
        check(device)?;
        let text = format!("emulated sm_{}", driver.gpu.number);
        let room = usize::try_from(length).map_err(|_| ERROR_INVALID_VALUE)?;
        let count = text.len().min(room.saturating_sub(1));
        for (index, &byte) in text.as_bytes()[..count]
            .iter()
            .chain(&[0])
            .take(room)
            .enumerate()
        {
            // SAFETY: the name has room for `length` characters.
            unsafe { put(name.wrapping_add(index), byte as c_char)? };
        }
        Ok(())
    })
}

/// `cuDeviceGetAttribute`: of those that say what a launch may be.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetAttribute(
    value: *mut c_int,
    attribute: c_int,
    device: c_int,
) -> Status {
    call(|driver| {
        check(device)?;
        let [major, minor] = driver.gpu.capability();
        let found = match attribute {
            1..=3 => 1024,
            4 => 64,
            5 => c_int::MAX,
            6 | 7 => 65_535,
            8 => 48 << 10,
            10 => 32,
            12 => 65_536,
            16 => 1,
            75 => major as c_int,
            76 => minor as c_int,
            97 => shared_memory_limit(driver.gpu.number) as c_int,
            _ => return Err(ERROR_INVALID_VALUE),
        };
        // SAFETY: this module's.
        unsafe { put(value, found) }
    })
}

/// `cuDevicePrimaryCtxRetain`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxRetain(context: *mut Handle, device: c_int) -> Status {
    call(|_| {
        check(device)?;
        // SAFETY: this module's.
        unsafe { put(context, std::ptr::without_provenance_mut(CONTEXT)) }
    })
}

/// `cuDevicePrimaryCtxRelease`: what is in it stays until the process ends.
#[unsafe(no_mangle)]
pub extern "C" fn cuDevicePrimaryCtxRelease_v2(device: c_int) -> Status {
    call(|_| check(device))
}

/// `cuCtxSetCurrent`.
#[unsafe(no_mangle)]
pub extern "C" fn cuCtxSetCurrent(_context: Handle) -> Status {
    call(|_| Ok(()))
}

/// `cuCtxSynchronize`.
#[unsafe(no_mangle)]
pub extern "C" fn cuCtxSynchronize() -> Status {
    call(|_| Ok(()))
}

/// `cuGetErrorName`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorName(status: Status, text: *mut *const c_char) -> Status {
    // SAFETY: this module's.
    unsafe { say(text, words(status).map(|(name, _)| name)) }
}

/// `cuGetErrorString`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorString(status: Status, text: *mut *const c_char) -> Status {
    // SAFETY: this module's.
    unsafe { say(text, words(status).map(|(_, said)| said)) }
}

/// # Safety
/// The place is null or can be written.
unsafe fn say(place: *mut *const c_char, text: Option<&'static CStr>) -> Status {
    let pointer = text.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: the caller's.
    match (unsafe { put(place, pointer) }, text) {
        (Ok(()), Some(_)) => crate::status::SUCCESS,
        _ => ERROR_INVALID_VALUE,
    }
}

fn check(device: c_int) -> Result<(), Status> {
    (device == 0).then_some(()).ok_or(ERROR_INVALID_DEVICE)
}
