//! Tessera's numbers: what an element is, how an array of them lies in memory, and where random ones come from.
//!
//! Every other crate speaks of numbers in these terms; nothing here knows of graphs, kernels or devices.

mod element;
mod format;
pub mod initialiser;
pub mod philox;
mod quantization;
mod scaled;
mod tensor;

pub use element::ElementType;
pub use format::{ElementFormat, Format, ScaleFormat};
pub use initialiser::Initialiser;
pub use quantization::{Quantization, QuantizationError, RandomStream, Rounding, ScaleRule};
pub use scaled::{
    BlockShape, PART_ALIGNMENT, ScaleLayout, ScaledTensor, ScaledTensorError, ScaledType,
    ScaledTypeError,
};
pub use tensor::{Element, Tensor, TensorError};
