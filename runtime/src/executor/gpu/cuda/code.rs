//! A bundle's kernels in a GPU's memory.

use super::super::super::program::read_constants;
use super::driver::{Context, Module, text};
use crate::bundle::{Bundle, BundleError, CUBIN_FILE, PTX_FILE};
use crate::device::{Architecture, Capability, Device, devices_for};
use cudarc::driver::result::function::set_function_attribute;
use cudarc::driver::sys;
use std::collections::BTreeMap;
use std::fs;

/// CTAs of a cluster that every GPU with clusters takes; more have to be asked for.
const PORTABLE_CLUSTER: u32 = 8;

/// A bundle's kernels, loaded on a GPU, and its constants.
pub(in super::super::super) struct CudaCode {
    /// By kernel of the bundle.
    pub(super) functions: Vec<sys::CUfunction>,
    /// What messages call the GPU.
    pub(super) name: String,
    /// The file of constants.
    pub(in super::super::super) constants: Vec<u8>,
    // Fields are dropped in their order: the module while there is the context.
    _module: Option<Module>,
    pub(super) context: Context,
}

// SAFETY: handles of the driver, which any thread may use in the context that they are of.
unsafe impl Send for CudaCode {}
// SAFETY: as above; nothing changes them.
unsafe impl Sync for CudaCode {}

/// What one `.entry` needs of the GPU, over all kernels of the bundle that are it.
#[derive(Default)]
struct Needs {
    shared_bytes: u32,
    cluster: u32,
}

impl CudaCode {
    /// Loads a bundle's machine code, where it has some that the GPU runs, or else its PTX.
    pub(in super::super::super) fn load(
        bundle: &Bundle,
        number: usize,
    ) -> Result<Self, BundleError> {
        let manifest = bundle.manifest();
        let refusal = |device: String| BundleError::Device {
            path: bundle.manifest_path(),
            target: manifest.target.name.clone(),
            device,
            devices: devices_for(&manifest.target),
        };
        let own = manifest.target.name.parse::<Architecture>().ok();
        let (Some(own), true) = (own, manifest.target.is_gpu()) else {
            return Err(refusal(Device::Cuda(number).to_string()));
        };
        let context = open(number)?;
        let (device, capability) = (Device::Cuda(number), context.capability);
        let name = format!(
            "{device} ({}, compute capability {capability})",
            context.name
        );
        if !own.runs_on(capability) {
            return Err(refusal(name));
        }
        context.enter().map_err(|error| BundleError::NoDevice {
            device: device.to_string(),
            message: text(error),
        })?;
        let has = |file: &str| manifest.files.contains_key(file);
        let file = if has(CUBIN_FILE) && own.machine_code_runs_on(capability) {
            CUBIN_FILE
        } else {
            PTX_FILE
        };
        let path = bundle.path().join(file);
        let failed = |message: String| BundleError::Load {
            path: path.clone(),
            message: format!("{name}: {message}"),
        };
        // A bundle without kernels has no file of them.
        let module = has(file).then(|| {
            let image = fs::read(&path).map_err(|error| BundleError::io(&path, error))?;
            Module::load(image).map_err(failed)
        });
        let module = module.transpose()?;
        let mut needs: BTreeMap<&str, Needs> = BTreeMap::new();
        let mut functions = Vec::new();
        for kernel in &manifest.kernels {
            let Some(code) = kernel.code.as_ptx() else {
                continue;
            };
            let function = module
                .as_ref()
                .and_then(|module| module.function(&code.entry));
            let function = function.ok_or_else(|| BundleError::MissingSymbol {
                path: path.clone(),
                kernel: kernel.name.clone(),
                symbol: code.entry.clone(),
            })?;
            let needs = needs.entry(&code.entry).or_default();
            needs.shared_bytes = needs.shared_bytes.max(code.shared_bytes);
            needs.cluster = needs.cluster.max(code.cluster.iter().product());
            needs
                .ask(function)
                .map_err(|message| failed(format!("kernel \"{}\": {message}", kernel.name)))?;
            functions.push(function);
        }
        Ok(Self {
            functions,
            constants: read_constants(bundle)?,
            _module: module,
            name: name.clone(),
            context,
        })
    }
}

impl Drop for CudaCode {
    fn drop(&mut self) {
        // The module, which is dropped next, is unloaded from the current context.
        let _ = self.context.enter();
    }
}

impl Needs {
    /// Asks for what a kernel does not get by itself: dynamic shared memory beyond 48 KiB with what it declares, and
    /// clusters that not every GPU takes.
    fn ask(&self, function: sys::CUfunction) -> Result<(), String> {
        use sys::CUfunction_attribute::{
            CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES as SHARED,
            CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED as CLUSTER,
        };
        let set = |attribute, value: u32, what: &str| {
            let value = i32::try_from(value).unwrap_or(i32::MAX);
            // SAFETY: the function is of a module that is loaded.
            let done = unsafe { set_function_attribute(function, attribute, value) };
            done.map_err(|error| format!("{what}: {}", text(error)))
        };
        if self.shared_bytes > 0 {
            let what = format!("{} bytes of dynamic shared memory", self.shared_bytes);
            set(SHARED, self.shared_bytes, &what)?;
        }
        if self.cluster > PORTABLE_CLUSTER {
            set(CLUSTER, 1, &format!("clusters of {} CTAs", self.cluster))?;
        }
        Ok(())
    }
}

fn open(number: usize) -> Result<Context, BundleError> {
    Context::open(number).map_err(|message| BundleError::NoDevice {
        device: Device::Cuda(number).to_string(),
        message,
    })
}

/// The compute capability of the GPU of that number.
///
/// # Errors
/// There is none.
pub(crate) fn capability(number: usize) -> Result<Capability, BundleError> {
    Ok(open(number)?.capability)
}
