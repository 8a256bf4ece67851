//! The bundle: a folder that holds a compiled graph, ready to run without the compiler.
//!
//! ```text
//! step.tessera/
//!   manifest.json      what there is and in which order it runs: a [`Manifest`]
//!   manifest.blake3    the manifest's hash, as `b3sum --check` reads it
//!   kernels.so         machine code, where some kernel is a function
//!   kernels.ptx        the kernels of a GPU
//!   kernels.cubin      the same assembled for one architecture, where that was at hand
//!   constants.bin      the constants, each from a multiple of 64 bytes on
//!   …                  further files that the compiler adds, a C header for one
//! ```
//!
//! [`BundleWriter`] writes the folder whole or not at all. [`Bundle::open`] takes nothing on trust: sizes, hashes,
//! every number in the manifest and the machine it was made for are checked before anything is used.

mod builtins;
mod error;
mod host;
mod json;
mod manifest;
mod open;
pub(crate) mod strides;
mod tensor_map;
mod tensor_type;
mod validate;
mod value_type;
mod work;
mod writer;

pub use builtins::{
    Epilogue, GroupedGemm, Hadamard, HadamardMagnitudes, Prologue, Quantize, QuantizeOutput,
    ScaledDot,
};
pub use error::BundleError;
pub use host::{host_features, known_features};
pub use manifest::{
    BatchDimension, Buffer, BundleFile, Code, CompilerIdentity, Constant, Family, Function, Gemm,
    Input, Kernel, Manifest, MatrixLayout, NVPTX, Output, Place, PtxKernel, Resources, Step,
    Target, Tile,
};
pub use open::Bundle;
pub use tensor_map::TensorMap;
pub use tensor_type::TensorType;
pub use value_type::ValueType;
pub use work::{MatrixUnit, Work};
pub use writer::BundleWriter;

/// What a manifest's `format` says.
pub const FORMAT: &str = "tessera-bundle";

/// The version of the format that this crate reads and writes.
pub const VERSION: u64 = 1;

/// Arena buffers and constants start at multiples of this many bytes: a cache line, and the widest vector.
pub const ALIGNMENT: usize = 64;

/// How deep `while` and `case` steps may be nested.
pub const MAX_NESTING: usize = 32;

/// The file name of the manifest.
pub const MANIFEST_FILE: &str = "manifest.json";

/// The file name of the manifest's hash.
pub const DIGEST_FILE: &str = "manifest.blake3";

/// The file name of the machine code.
pub const KERNELS_FILE: &str = "kernels.so";

/// The file name of the text of a GPU's kernels.
pub const PTX_FILE: &str = "kernels.ptx";

/// The file name of a GPU's kernels as assembled for one architecture.
pub const CUBIN_FILE: &str = "kernels.cubin";

/// The file name of the constants.
pub const CONSTANTS_FILE: &str = "constants.bin";
