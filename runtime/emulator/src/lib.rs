//! A PTX machine in software: it executes kernels of any NVIDIA architecture instruction by instruction, and checks what
//! hardware does not.

mod arithmetic;
mod instruction;
mod memory;
mod program;
pub mod ptx;

pub use memory::{Global, GlobalError};
pub use program::{DecodeError, Program};
