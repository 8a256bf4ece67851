//! CUDA's driver interface over the PTX machine: host programs run where there is no GPU, and every kernel under the checker.
//!
//! Built as a shared library it takes the place of `libcuda.so`: a program that finds it under that name has one GPU, whose
//! kernels are executed in software. [`TARGET`] says which GPU that is. Modules are PTX; machine code is refused. What the
//! checker finds is printed to standard error, and the call that launched the kernel, and every one after it, gives
//! `CUDA_ERROR_LAUNCH_FAILED`, as after a fault of a kernel on a GPU.
//!
//! Streams do their work when it is added, one after the other: a host that waits too little is not found. Events say when
//! that was by the clock, so times are those of this machine and mean nothing to a GPU.
//!
//! Functions have the names, parameters and results of the CUDA Driver API Reference. Those that are not here do not exist in
//! the library, which programs see when they look them up.

mod calls;
mod driver;
mod gpu;
mod status;
mod work;

pub use calls::*;
pub use gpu::TARGET;
pub use status::Status;
