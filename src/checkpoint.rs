#![doc = include_str!("checkpoint/README.md")]

mod decode;
mod dequantize;
mod description;
mod element;
mod file;
mod plan;
mod quantize;
mod recipe;
mod selection;
mod write;

pub use decode::{Loss, decode};
pub use dequantize::dequantize;
pub use description::{Description, METADATA_KEY, Part};
pub use element::SourceElement;
pub use file::{Checkpoint, Entry};
pub use plan::{Action, CopyReason, Plan, Settings, Way};
pub(crate) use plan::{axis_of, element_of};
pub use quantize::{Outcome, quantize, scaled};
pub use recipe::{product_for, unheeded};
pub use selection::Selection;
