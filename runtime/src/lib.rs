//! Bundles and the machines that run them; needs neither LLVM nor the compiler.
//!
//! ```no_run
//! use tessera_runtime::{Bundle, Program, RunOptions, tensors};
//!
//! let program = Program::load(&Bundle::open("step.tessera")?)?;
//! let mut instance = program.instance(&RunOptions::default())?;
//! for (name, value) in tensors::read("state.safetensors")? {
//!     instance.set_input_named(&name, &value)?;
//! }
//! for _ in 0..20 {
//!     instance.step()?;
//!     println!("{:?}", instance.result(0)?);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod bundle;
pub mod compare;
mod device;
mod executor;
pub mod files;
pub mod tensors;

pub use bundle::{Bundle, BundleError, Manifest, TensorType};
pub use device::{Architecture, ArchitectureError, Capability, Device, DeviceError};
pub use executor::{
    EmulatorOptions, Instance, KernelProfile, Profile, Program, RunError, RunOptions, Team,
    scaled_dot,
};
