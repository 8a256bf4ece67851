//! The functions of the driver.
//!
//! Where the reference says that a parameter points to something, it has to, or be null: that is what each function's safety
//! stands on.

#![expect(clippy::missing_safety_doc, reason = "it is the same for all, above")]

mod device;
mod launch;
mod memory;
mod stream;
mod tensor_map;

pub use device::*;
pub use launch::*;
pub use memory::*;
pub use stream::*;
pub use tensor_map::*;
