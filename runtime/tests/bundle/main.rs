//! Bundles from writing to running, over kernels in C.

mod builtins;
mod corruption;
mod execution;
mod format;
mod sample;
mod validation;
