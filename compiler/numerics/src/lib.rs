//! Tessera's numbers: what an element is, how an array of them lies in memory, and where random ones come from.
//!
//! Every other crate speaks of numbers in these terms; nothing here knows of graphs, kernels or devices.

mod axis_sums;
pub mod codec;
mod element;
mod format;
mod groups;
mod hadamard;
pub mod initialiser;
pub mod philox;
mod quantization;
mod quantize;
mod quantizer;
mod relayout;
mod scaled;
mod simd;
mod tensor;

pub use axis_sums::AxisSums;
pub use element::ElementType;
pub use format::{ElementFormat, Format, ScaleFormat};
pub use groups::{GroupSizesError, group_ranges};
pub use hadamard::{
    HADAMARD_SIZES, HadamardError, hadamard, inverse_hadamard, random_signs,
    transformer_engine_signs,
};
pub use initialiser::Initialiser;
pub use quantization::{Quantization, QuantizationError, RandomStream, Rounding, ScaleRule};
pub use quantize::{QuantizeError, dequantize, quantize};
pub use quantizer::{
    HadamardMagnitudes, HadamardTransform, Quantizer, QuantizerDraw, QuantizerError,
    QuantizerInput, QuantizerJob, QuantizerPart, QuantizerValues, largest_centred_magnitude,
    largest_magnitude,
};
pub use relayout::{RelayoutError, relayout};
pub use scaled::{
    BlockShape, PART_ALIGNMENT, ScaleLayout, ScaledTensor, ScaledTensorError, ScaledType,
    ScaledTypeError,
};
pub use simd::SimdLevel;
pub use tensor::{Element, Tensor, TensorError};
