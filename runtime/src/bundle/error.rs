//! What can be wrong with a bundle.

use std::io;
use std::path::PathBuf;

/// Why a bundle cannot be written, opened or loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// A file or folder cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The path is no bundle.
    #[error("{path}: expected a bundle, found {found}")]
    NotABundle {
        /// The path given.
        path: PathBuf,
        /// What is there.
        found: String,
    },
    /// The manifest is not JSON, or not of the manifest's form.
    #[error("{path}: malformed manifest: {message}")]
    Malformed {
        /// The manifest.
        path: PathBuf,
        /// What is wrong, and where.
        message: String,
    },
    /// The bundle is of a version that this program does not read.
    #[error("{path}: expected bundle version {expected}, found {found}")]
    Version {
        /// The manifest.
        path: PathBuf,
        /// The version this program reads.
        expected: u64,
        /// The version in the manifest.
        found: u64,
    },
    /// A file that the manifest lists is not there.
    #[error("{path}: the bundle lists this file, but it is missing")]
    MissingFile {
        /// The file.
        path: PathBuf,
    },
    /// A file is longer or shorter than the manifest says.
    #[error("{path}: expected {expected} bytes, found {found}: the file is truncated or altered")]
    FileSize {
        /// The file.
        path: PathBuf,
        /// The bytes in the manifest.
        expected: u64,
        /// The bytes there are.
        found: u64,
    },
    /// A file's contents are not those the bundle was written with.
    #[error("{path}: expected BLAKE3 hash {expected}, found {found}: the file is altered")]
    FileHash {
        /// The file.
        path: PathBuf,
        /// The hash in the bundle.
        expected: String,
        /// The hash of what is there.
        found: String,
    },
    /// The manifest contradicts itself or a file.
    #[error("{path}: {item}: expected {expected}, found {found}")]
    Inconsistent {
        /// The manifest.
        path: PathBuf,
        /// The place in the manifest: `buffers[3].place.arena`.
        item: String,
        /// What would be right.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The bundle is made for another kind of machine.
    #[error("{path}: made for {expected}, but this program runs code for {found}")]
    Foreign {
        /// The manifest or code file.
        path: PathBuf,
        /// What it is made for.
        expected: String,
        /// What this program runs.
        found: String,
    },
    /// The bundle is made for another kind of device than the one it is to run on.
    #[error("{path}: made for {target}, which {device} does not run; expected {devices}")]
    Device {
        /// The manifest.
        path: PathBuf,
        /// The target it is made for.
        target: String,
        /// The device asked for.
        device: String,
        /// The devices that run it.
        devices: String,
    },
    /// The device to run on is not there.
    #[error("{device}: {message}")]
    NoDevice {
        /// The device asked for.
        device: String,
        /// What there is, or what is missing.
        message: String,
    },
    /// The code needs CPU features that this machine lacks.
    #[error("{path}: the code needs CPU features that this machine lacks: {}", missing.join(", "))]
    MissingFeatures {
        /// The manifest.
        path: PathBuf,
        /// The features, as LLVM names them.
        missing: Vec<String>,
    },
    /// The code needs a CPU feature that this program cannot test for.
    #[error(
        "{path}: the code needs the CPU feature \"{feature}\", which is not known on {architecture}"
    )]
    UnknownFeature {
        /// The manifest.
        path: PathBuf,
        /// The name.
        feature: String,
        /// The instruction set.
        architecture: String,
    },
    /// The system cannot load the code.
    #[error("{path}: cannot load: {message}")]
    Load {
        /// The code file.
        path: PathBuf,
        /// What the dynamic linker says.
        message: String,
    },
    /// A GPU's kernels cannot be read.
    #[error("{path}:{message}")]
    Code {
        /// The code file.
        path: PathBuf,
        /// What is wrong, behind its line and column.
        message: String,
    },
    /// There is not enough memory for the constants.
    #[error("{path}: cannot allocate {bytes} bytes for the constants")]
    OutOfMemory {
        /// The bundle.
        path: PathBuf,
        /// The bytes asked for.
        bytes: usize,
    },
    /// The code lacks a function that the manifest names.
    #[error("{path}: kernel \"{kernel}\" needs the function \"{symbol}\", which the file lacks")]
    MissingSymbol {
        /// The code file.
        path: PathBuf,
        /// The kernel's name.
        kernel: String,
        /// The function's name.
        symbol: String,
    },
}

impl BundleError {
    pub(crate) fn io(path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Io {
            path: path.into(),
            source,
        }
    }
}
