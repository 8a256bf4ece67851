//! Modules of PTX, their kernels, and launches of these.

use crate::driver::{Driver, Handle, Thing, call, put};
use crate::status::{
    ERROR_INVALID_HANDLE, ERROR_INVALID_PTX, ERROR_INVALID_VALUE, ERROR_NO_BINARY_FOR_GPU,
    ERROR_NOT_FOUND, Status,
};
use crate::work::Work;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::Arc;
use tessera_emulator::ptx::Module;
use tessera_emulator::{Launch, Program};

/// The first bytes of machine code.
const ELF: [u8; 4] = *b"\x7fELF";

/// `CU_JIT_ERROR_LOG_BUFFER` and the size of that.
const LOG: c_int = 5;
const LOG_BYTES: c_int = 6;

/// `CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION`.
const CLUSTER: c_int = 4;

/// `CUlaunchAttribute`.
#[repr(C)]
pub struct LaunchAttribute {
    id: c_int,
    pad: [c_char; 4],
    value: [c_uint; 16],
}

/// `CUlaunchConfig`.
#[repr(C)]
pub struct LaunchConfig {
    grid: [c_uint; 3],
    block: [c_uint; 3],
    shared_bytes: c_uint,
    stream: Handle,
    attributes: *const LaunchAttribute,
    attribute_count: c_uint,
}

/// `cuModuleLoadData`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoadData(module: *mut Handle, image: *const c_void) -> Status {
    call(|driver| {
        // SAFETY: this module's.
        let loaded = unsafe { load(driver, module, image) };
        loaded.map_err(|(status, message)| {
            eprintln!("{message}");
            status
        })
    })
}

/// `cuModuleLoadDataEx`: of the options the log of errors.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoadDataEx(
    module: *mut Handle,
    image: *const c_void,
    count: c_uint,
    options: *const c_int,
    values: *const *mut c_void,
) -> Status {
    call(|driver| {
        // SAFETY: this module's.
        unsafe { load(driver, module, image) }.map_err(|(status, message)| {
            let option = |wanted| {
                let mut places = 0..count as usize;
                // SAFETY: there are as many options and values as is said.
                let place = places.find(|&place| unsafe { *options.add(place) } == wanted)?;
                // SAFETY: as above.
                Some(unsafe { *values.add(place) })
            };
            if let (Some(log), Some(bytes)) = (option(LOG), option(LOG_BYTES)) {
                let room = bytes.addr().saturating_sub(1);
                for (index, &byte) in message.as_bytes().iter().take(room).chain(&[0]).enumerate() {
                    // SAFETY: the log has the bytes stated.
                    let _ = unsafe { put(log.cast::<u8>().wrapping_add(index), byte) };
                }
            }
            status
        })
    })
}

/// # Safety
/// The image is null, or PTX up to a zero, or machine code; the place is null or can be written.
unsafe fn load(
    driver: &mut Driver,
    place: *mut Handle,
    image: *const c_void,
) -> Result<(), (Status, String)> {
    let fail = |status| move |message: String| (status, message);
    if image.is_null() {
        return Err(fail(ERROR_INVALID_VALUE)(
            "expected a module, found null".to_owned(),
        ));
    }
    // SAFETY: the caller's promise: text ends with a zero, and machine code has one among its first bytes.
    let text = unsafe { CStr::from_ptr(image.cast()) };
    if text.to_bytes().starts_with(&ELF) {
        let message = "expected PTX, found machine code".to_owned();
        return Err(fail(ERROR_NO_BINARY_FOR_GPU)(message));
    }
    let text = text
        .to_str()
        .map_err(|error| fail(ERROR_INVALID_PTX)(error.to_string()))?;
    let module = Module::parse(text).map_err(|error| fail(ERROR_INVALID_PTX)(error.to_string()))?;
    let program = Program::new(&module);
    let program = program.map_err(|error| fail(ERROR_INVALID_PTX)(error.to_string()))?;
    let target = program.target().first().cloned().unwrap_or_default();
    driver.gpu.check(&target).map_err(|status| {
        let number = driver.gpu.number;
        (
            status,
            format!("expected PTX for sm_{number}, found some for {target}"),
        )
    })?;
    let handle = driver.insert(Thing::Module(Arc::new(program)));
    // SAFETY: the caller's promise.
    unsafe { put(place, handle) }.map_err(|status| (status, String::new()))
}

/// `cuModuleUnload`: kernels that were got of it stay.
#[unsafe(no_mangle)]
pub extern "C" fn cuModuleUnload(module: Handle) -> Status {
    call(|driver| driver.remove(module))
}

/// `cuModuleGetFunction`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleGetFunction(
    function: *mut Handle,
    module: Handle,
    name: *const c_char,
) -> Status {
    call(|driver| {
        let Thing::Module(program) = driver.thing(module)? else {
            return Err(ERROR_INVALID_HANDLE);
        };
        if name.is_null() {
            return Err(ERROR_INVALID_VALUE);
        }
        // SAFETY: a name ends with a zero.
        let name = unsafe { CStr::from_ptr(name) }
            .to_string_lossy()
            .into_owned();
        if !program.kernels().any(|kernel| kernel == name) {
            return Err(ERROR_NOT_FOUND);
        }
        let function_of = Thing::Function(Arc::clone(program), name);
        // SAFETY: this module's.
        unsafe { put(function, driver.insert(function_of)) }
    })
}

/// `cuFuncSetAttribute`: a launch here may be all that some GPU's may.
#[unsafe(no_mangle)]
pub extern "C" fn cuFuncSetAttribute(function: Handle, _attribute: c_int, _value: c_int) -> Status {
    call(|driver| driver.thing(function).map(drop))
}

/// `cuLaunchKernel`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchKernel(
    function: Handle,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    shared_bytes: c_uint,
    stream: Handle,
    parameters: *const *const c_void,
    extra: *const *const c_void,
) -> Status {
    let config = LaunchConfig {
        grid: [grid_x, grid_y, grid_z],
        block: [block_x, block_y, block_z],
        shared_bytes,
        stream,
        attributes: std::ptr::null(),
        attribute_count: 0,
    };
    // SAFETY: this module's.
    unsafe { cuLaunchKernelEx(&raw const config, function, parameters, extra) }
}

/// `cuLaunchKernelEx`: of the attributes the dimensions of clusters.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchKernelEx(
    config: *const LaunchConfig,
    function: Handle,
    parameters: *const *const c_void,
    extra: *const *const c_void,
) -> Status {
    call(|driver| {
        // SAFETY: this module's.
        let config = unsafe { config.as_ref() }.ok_or(ERROR_INVALID_VALUE)?;
        if !extra.is_null() {
            return Err(ERROR_INVALID_VALUE);
        }
        let Thing::Function(program, name) = driver.thing(function)? else {
            return Err(ERROR_INVALID_HANDLE);
        };
        let (program, name) = (Arc::clone(program), name.clone());
        let sizes = program.parameters(&name).ok_or(ERROR_NOT_FOUND)?;
        if parameters.is_null() && !sizes.is_empty() {
            return Err(ERROR_INVALID_VALUE);
        }
        // Who asks for no cluster gets the kernel's own (CUDA C++ Programming Guide, "Thread Block Clusters").
        let cluster = program.required_cluster(&name).unwrap_or([1; 3]);
        let launch = Launch::new(name).grid(config.grid).block(config.block);
        let mut launch = launch.cluster(cluster);
        launch.dynamic_shared = config.shared_bytes.into();
        launch.threads = std::thread::available_parallelism().map_or(1, usize::from);
        for (number, bytes) in sizes.into_iter().enumerate() {
            // SAFETY: there are as many parameters as the kernel takes, each of its parameter's bytes.
            let argument = unsafe {
                let argument: *const u8 = (*parameters.add(number)).cast();
                std::slice::from_raw_parts(argument, bytes as usize)
            };
            launch = launch.bytes(argument.to_vec());
        }
        for number in 0..config.attribute_count as usize {
            // SAFETY: there are as many attributes as is said.
            let attribute = unsafe { &*config.attributes.add(number) };
            if attribute.id == CLUSTER {
                launch = launch.cluster([0, 1, 2].map(|axis| attribute.value[axis]));
            }
        }
        driver.enqueue(config.stream, Work::Launch(program, Box::new(launch)))
    })
}
