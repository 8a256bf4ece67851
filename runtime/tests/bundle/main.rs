//! Bundles from writing to running, over kernels in C.

mod builtins;
mod corruption;
mod cuda;
mod emulated;
mod execution;
mod format;
mod ptx;
mod sample;
mod validation;
