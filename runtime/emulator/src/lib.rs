//! A PTX machine in software: it executes kernels of any NVIDIA architecture instruction by instruction, and checks what
//! hardware does not.

mod arithmetic;
mod counts;
mod finding;
mod instruction;
mod launch;
mod machine;
mod memory;
mod program;
pub mod ptx;
mod tcgen05;
mod tensor_map;

pub use counts::{Class, Counts, MatrixKind, Traffic};
pub use finding::{Awaited, Finding, FindingKind};
pub use launch::{Launch, LaunchError, Report};
pub use machine::{launch, shared_memory_limit};
pub use memory::{Bytes, Global, GlobalError};
pub use program::{DecodeError, Program};
pub use tensor_map::{Fill, Swizzle, TENSOR_MAP_BYTES, TensorElement, TensorMap, TensorMapError};
