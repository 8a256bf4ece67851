//! The driver: whether it is there, a GPU's context, modules with what their translation says.

use crate::device::Capability;
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;
use std::ffi::{CStr, CString, c_int, c_void};

/// The oldest driver that has all that is called here: that of CUDA 12.0.
const VERSION: c_int = 12_000;

/// Bytes of what the translation of PTX may say.
const LOG_BYTES: usize = 16 << 10;

/// What the driver says of an error: `CUDA_ERROR_ILLEGAL_ADDRESS, an illegal memory access was encountered`.
pub(super) fn text(error: DriverError) -> String {
    let words = |text: Result<&CStr, DriverError>| {
        text.map_or_else(
            |_| "unknown".to_owned(),
            |text| text.to_string_lossy().into_owned(),
        )
    };
    format!(
        "{}, {}",
        words(error.error_name()),
        words(error.error_string())
    )
}

/// A GPU's primary context, kept while this value lives.
pub(super) struct Context {
    device: sys::CUdevice,
    handle: sys::CUcontext,
    pub(super) capability: Capability,
    /// `NVIDIA H100 80GB HBM3`.
    pub(super) name: String,
}

// SAFETY: a context may be made current by any thread.
unsafe impl Send for Context {}
// SAFETY: as above; nothing changes it.
unsafe impl Sync for Context {}

impl Context {
    /// Opens the GPU of that number.
    ///
    /// # Errors
    /// A clause that says what is missing.
    pub(super) fn open(number: usize) -> Result<Self, String> {
        start()?;
        let count = result::device::get_count().map_err(text)?;
        let ordinal = c_int::try_from(number)
            .ok()
            .filter(|&number| number < count);
        let Some(ordinal) = ordinal else {
            return Err(match count {
                0 => "the driver finds no GPU".to_owned(),
                1 => "there is one GPU, cuda:0".to_owned(),
                count => format!("there are {count} GPUs, cuda:0 to cuda:{}", count - 1),
            });
        };
        let device = result::device::get(ordinal).map_err(text)?;
        // SAFETY: the device is the one just got.
        let attribute = |attribute| unsafe { result::device::get_attribute(device, attribute) };
        use sys::CUdevice_attribute::{
            CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR as MAJOR,
            CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR as MINOR,
        };
        let [major, minor] = [MAJOR, MINOR].map(attribute);
        let capability = Capability {
            major: u32::try_from(major.map_err(text)?).unwrap_or(0),
            minor: u32::try_from(minor.map_err(text)?).unwrap_or(0),
        };
        let name = result::device::get_name(device).map_err(text)?;
        // SAFETY: as above.
        let handle = unsafe { result::primary_ctx::retain(device) }.map_err(text)?;
        Ok(Self {
            device,
            handle,
            capability,
            name,
        })
    }

    /// Makes it the calling thread's.
    pub(super) fn enter(&self) -> Result<(), DriverError> {
        // SAFETY: this value keeps the context.
        unsafe { result::ctx::set_current(self.handle) }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: `open` retained it.
        let _ = unsafe { result::primary_ctx::release(self.device) };
    }
}

/// Looks for the driver, and starts it.
fn start() -> Result<(), String> {
    // SAFETY: loading the driver's library runs its initialisers, which is what it is for.
    if !unsafe { sys::is_culib_present() } {
        return Err(
            "there is no NVIDIA driver on this machine: its library, libcuda, is not found"
                .to_owned(),
        );
    }
    let mut version = 0;
    // SAFETY: the library is there, and every version of it has this function.
    unsafe { sys::cuDriverGetVersion(&raw mut version) }
        .result()
        .map_err(text)?;
    if version < VERSION {
        let of = |version: c_int| format!("{}.{}", version / 1000, version % 1000 / 10);
        return Err(format!(
            "expected a driver of CUDA {} or newer, found one of {}",
            of(VERSION),
            of(version)
        ));
    }
    result::init().map_err(text)
}

/// Code in a GPU's memory.
pub(super) struct Module(sys::CUmodule);

impl Module {
    /// Loads PTX, which the driver translates, or machine code, into the current context.
    ///
    /// # Errors
    /// What the driver says, and its translator.
    pub(super) fn load(image: Vec<u8>) -> Result<Self, String> {
        // The driver reads PTX up to a zero; machine code knows its own length.
        let mut image = image;
        image.push(0);
        let mut log = vec![0u8; LOG_BYTES];
        use sys::CUjit_option::{
            CU_JIT_ERROR_LOG_BUFFER as BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES as BYTES,
        };
        let mut options = [BUFFER, BYTES];
        // A size is given in the bits of a pointer.
        let mut values: [*mut c_void; 2] = [
            log.as_mut_ptr().cast(),
            std::ptr::without_provenance_mut(LOG_BYTES),
        ];
        let mut module = std::ptr::null_mut();
        // SAFETY: the image ends with a zero; options and values are two of each, and the log has the bytes stated.
        let done = unsafe {
            sys::cuModuleLoadDataEx(
                &raw mut module,
                image.as_ptr().cast(),
                2,
                options.as_mut_ptr(),
                values.as_mut_ptr(),
            )
        };
        done.result().map_err(|error| {
            let log = CStr::from_bytes_until_nul(&log)
                .unwrap_or_default()
                .to_string_lossy();
            match log.trim() {
                "" => text(error),
                log => format!("{}\n{log}", text(error)),
            }
        })?;
        Ok(Self(module))
    }

    /// A kernel by its name; `None` where there is none.
    pub(super) fn function(&self, name: &str) -> Option<sys::CUfunction> {
        let name = CString::new(name).ok()?;
        // SAFETY: the module is loaded.
        unsafe { result::module::get_function(self.0, name) }.ok()
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        // SAFETY: `load` loaded it, and who has its functions keeps it.
        let _ = unsafe { result::module::unload(self.0) };
    }
}
