//! Bundles from writing to running, over kernels in C.

mod corruption;
mod execution;
mod format;
mod sample;
mod validation;
