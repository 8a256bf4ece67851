//! The memories of the machine.

pub(crate) mod address;
mod bytes;
mod global;
mod matrix;
mod pages;
pub(crate) mod tensor;
mod view;

pub use bytes::Bytes;
pub(crate) use bytes::{number, put_number};
pub use global::{Global, GlobalError};
pub(crate) use matrix::SharedMatrix;
pub(crate) use pages::{PAGE, Pages};
pub(crate) use view::{Dirty, View};
