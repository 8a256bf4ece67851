//! The machine code of a bundle, in memory.

use crate::bundle::{BundleError, Manifest, host_features, known_features};
use crate::device::devices_for;
use std::error::Error;
use std::ffi::c_void;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A function of `kernels.so`; see [`Function`](crate::bundle::Function) and [`Epilogue`](crate::bundle::Epilogue).
pub(super) type KernelFunction =
    unsafe extern "C" fn(buffers: *const *mut c_void, begin: i64, end: i64);

/// The functions of kernels, and the library that holds them.
pub(super) struct Library {
    /// By kernel number; `None` for kernels without one.
    pub(super) functions: Vec<Option<KernelFunction>>,
    /// Keeps the functions in memory.
    _library: libloading::Library,
}

impl Library {
    /// Loads the shared object at `path` and finds the function of each kernel.
    pub(super) fn load(path: &Path, manifest: &Manifest) -> Result<Self, BundleError> {
        check_object_file(path)?;
        let fail = |error: libloading::Error| BundleError::Load {
            path: path.to_path_buf(),
            // The error itself says that loading failed; the linker's reason is behind it.
            message: error
                .source()
                .map_or_else(|| error.to_string(), |reason| reason.to_string()),
        };
        // SAFETY: loading runs the object's initialisers. The object is what its bundle was written with, for its hash
        // has been checked, and a compiler of kernels makes none.
        let library = unsafe { open(&unique_spelling(path)) }.map_err(fail)?;
        let functions = manifest
            .kernels
            .iter()
            .map(|kernel| {
                let Some(symbol) = kernel.code.symbol() else {
                    return Ok(None);
                };
                // SAFETY: the bundle states that its functions are of this type.
                let function = unsafe { library.get::<KernelFunction>(symbol) };
                let function = function.map_err(|_| BundleError::MissingSymbol {
                    path: path.to_path_buf(),
                    kernel: kernel.name.clone(),
                    symbol: symbol.to_owned(),
                })?;
                Ok(Some(*function))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            functions,
            _library: library,
        })
    }
}

/// Another spelling of `path` at each call.
///
/// The dynamic linker takes an object to be loaded already when it has one by the same path, though a new file may have
/// taken the old one's place: a bundle that was compiled anew. It compares paths letter by letter, and files only then.
fn unique_spelling(path: &Path) -> PathBuf {
    static LOADS: AtomicU64 = AtomicU64::new(0);
    let load = LOADS.fetch_add(1, Ordering::Relaxed);
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return path.to_path_buf();
    };
    // The number in binary: `./` for a one, `/` for a zero, neither of which leads elsewhere.
    let digits = u64::BITS - load.leading_zeros();
    let mut spelling = folder.as_os_str().to_owned();
    spelling.push("/");
    for digit in (0..digits).rev() {
        spelling.push(if load >> digit & 1 == 1 { "./" } else { "/" });
    }
    spelling.push(name);
    PathBuf::from(spelling)
}

/// Loads a shared object with all that it refers to, so that a function it lacks is missed now and not when called.
///
/// # Safety
/// The object's initialisers run.
#[cfg(unix)]
unsafe fn open(path: &Path) -> Result<libloading::Library, libloading::Error> {
    use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
    // SAFETY: as the caller promises.
    unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map(Into::into)
}

/// Loads a shared object.
///
/// # Safety
/// The object's initialisers run.
#[cfg(not(unix))]
unsafe fn open(path: &Path) -> Result<libloading::Library, libloading::Error> {
    // SAFETY: as the caller promises.
    unsafe { libloading::Library::new(path) }
}

/// Refuses code for another kind of machine than this one.
pub(super) fn check_host(path: &Path, manifest: &Manifest) -> Result<(), BundleError> {
    let foreign = |expected: &str, found: &str| BundleError::Foreign {
        path: path.to_path_buf(),
        expected: expected.to_owned(),
        found: found.to_owned(),
    };
    let target = &manifest.target;
    if target.is_gpu() {
        return Err(BundleError::Device {
            path: path.to_path_buf(),
            target: target.name.clone(),
            device: "cpu".to_owned(),
            devices: devices_for(target),
        });
    }
    if target.name != "cpu" && !target.name.starts_with("cpu:") {
        return Err(foreign(&target.name, "cpu"));
    }
    let architecture = std::env::consts::ARCH;
    if target.architecture != architecture {
        return Err(foreign(&target.architecture, architecture));
    }
    for feature in &target.features {
        if !known_features().any(|known| known == feature) {
            return Err(BundleError::UnknownFeature {
                path: path.to_path_buf(),
                feature: feature.clone(),
                architecture: architecture.to_owned(),
            });
        }
    }
    let missing: Vec<String> = target
        .features
        .iter()
        .filter(|&feature| !host_features().any(|here| here == feature))
        .cloned()
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(BundleError::MissingFeatures {
            path: path.to_path_buf(),
            missing,
        })
    }
}

/// The machines that an ELF header names, as Rust names them. (System V ABI, ELF header, `e_machine`.)
const MACHINES: [(u16, &str); 5] = [
    (3, "x86"),
    (40, "arm"),
    (62, "x86_64"),
    (183, "aarch64"),
    (243, "riscv64"),
];

/// Reads the header of an ELF shared object, for the dynamic linker's messages do not say what a file is made for.
fn check_object_file(path: &Path) -> Result<(), BundleError> {
    let mut header = [0; 20];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut header));
    let is_short = matches!(&read, Err(error) if error.kind() == io::ErrorKind::UnexpectedEof);
    if !is_short {
        read.map_err(|error| BundleError::io(path, error))?;
    }
    if is_short || header[..4] != *b"\x7fELF" {
        return Err(BundleError::Load {
            path: path.to_path_buf(),
            message: "not an ELF shared object".to_owned(),
        });
    }
    // `e_machine` stands at byte 18 in the byte order that byte 5 names.
    let machine = [header[18], header[19]];
    let machine = match header[5] {
        2 => u16::from_be_bytes(machine),
        _ => u16::from_le_bytes(machine),
    };
    let architecture = MACHINES
        .iter()
        .find(|(number, _)| *number == machine)
        .map_or_else(
            || format!("ELF machine {machine}"),
            |(_, name)| (*name).to_owned(),
        );
    if architecture == std::env::consts::ARCH {
        return Ok(());
    }
    Err(BundleError::Foreign {
        path: path.to_path_buf(),
        expected: architecture,
        found: std::env::consts::ARCH.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_spellings_of_a_path_are_alike_and_all_lead_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kernels.so");
        std::fs::write(&path, "code").unwrap();
        let mut spellings: Vec<PathBuf> = (0..100).map(|_| unique_spelling(&path)).collect();
        for spelling in &spellings {
            assert_eq!(std::fs::read(spelling).unwrap(), b"code", "{spelling:?}");
        }
        // Paths are compared by their parts; the linker compares letters.
        spellings.sort_by_key(|spelling| spelling.as_os_str().to_owned());
        spellings.dedup_by_key(|spelling| spelling.as_os_str().to_owned());
        assert_eq!(spellings.len(), 100);
    }
}
