//! Tessera's numbers: what an element is, how an array of them lies in memory, and where random ones come from.
//!
//! Every other crate speaks of numbers in these terms; nothing here knows of graphs, kernels or devices.

mod element;
pub mod initialiser;
pub mod philox;
mod tensor;

pub use element::ElementType;
pub use initialiser::Initialiser;
pub use tensor::{Element, Tensor, TensorError};
