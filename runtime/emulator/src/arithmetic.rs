//! What instructions compute, as functions of bits: no machine, no lanes.
//!
//! Values are the low bits of a u64; what stands above a value's bits is zero.

pub(crate) mod block_scaled;
pub(crate) mod dot;
pub(crate) mod exact;
pub(crate) mod float;
pub(crate) mod integer;
pub(crate) mod ring;
pub(crate) mod rounding;

pub(crate) use rounding::{Float, Rounding};
