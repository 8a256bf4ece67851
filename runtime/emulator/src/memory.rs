//! The memories of the machine.

pub(crate) mod address;
mod bytes;
mod global;
pub(crate) mod tensor;

pub(crate) use bytes::Bytes;
pub use global::{Global, GlobalError};
