//! The memories of the machine.

pub(crate) mod address;
mod bytes;
mod global;
mod matrix;
pub(crate) mod tensor;

pub(crate) use bytes::{Bytes, number, put_number};
pub use global::{Global, GlobalError};
pub(crate) use matrix::SharedMatrix;
