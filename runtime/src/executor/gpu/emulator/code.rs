//! A bundle's kernels, decoded for the emulator.

use super::super::super::program::read_constants;
use crate::bundle::{Bundle, BundleError, PTX_FILE};
use crate::device::{Architecture, Device, devices_for};
use std::fmt::Display;
use std::fs;
use std::path::Path;
use tessera_emulator::Program;
use tessera_emulator::ptx::Module;

/// A bundle's kernels as the emulator has them, and its constants.
pub(in super::super::super) struct EmulatorCode {
    pub(super) program: Program,
    /// What is emulated.
    pub(super) architecture: Architecture,
    /// The file of constants.
    pub(in super::super::super) constants: Vec<u8>,
}

impl EmulatorCode {
    /// Reads a bundle's PTX, for a GPU of an architecture or else of the bundle's own.
    pub(in super::super::super) fn load(
        bundle: &Bundle,
        emulated: Option<Architecture>,
    ) -> Result<Self, BundleError> {
        let manifest = bundle.manifest();
        let target = &manifest.target;
        let own = target.name.parse::<Architecture>().ok();
        let (Some(own), true) = (own, target.is_gpu()) else {
            return Err(refusal(bundle, emulated));
        };
        let architecture = emulated.unwrap_or(own);
        if !own.runs_on(architecture.capability()) {
            return Err(refusal(bundle, emulated));
        }
        let path = bundle.path().join(PTX_FILE);
        // A bundle without kernels has no text of them.
        let text = match manifest.files.contains_key(PTX_FILE) {
            true => fs::read_to_string(&path).map_err(|error| BundleError::io(&path, error))?,
            false => format!(".version 9.0\n.target {}\n.address_size 64\n", target.name),
        };
        let program = decode(&text, &path)?;
        for kernel in &manifest.kernels {
            let Some(code) = kernel.code.as_ptx() else {
                continue;
            };
            if !program.kernels().any(|entry| entry == code.entry) {
                return Err(BundleError::MissingSymbol {
                    path,
                    kernel: kernel.name.clone(),
                    symbol: code.entry.clone(),
                });
            }
        }
        Ok(Self {
            program,
            architecture,
            constants: read_constants(bundle)?,
        })
    }
}

fn refusal(bundle: &Bundle, emulated: Option<Architecture>) -> BundleError {
    let target = &bundle.manifest().target;
    BundleError::Device {
        path: bundle.manifest_path(),
        target: target.name.clone(),
        device: Device::Emulator(emulated).to_string(),
        devices: devices_for(target),
    }
}

fn decode(text: &str, path: &Path) -> Result<Program, BundleError> {
    let malformed = |error: &dyn Display| BundleError::Code {
        path: path.to_path_buf(),
        message: error.to_string(),
    };
    let module = Module::parse(text).map_err(|error| malformed(&error))?;
    Program::new(&module).map_err(|error| malformed(&error))
}
