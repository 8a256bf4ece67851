//! Tensor maps that kernels of a GPU take: boxes of a buffer that are copied to shared memory at once.

use serde::{Deserialize, Serialize};

/// How a buffer's bytes lie in global memory, in up to five dimensions, and a box of them in shared memory. The runtime
/// has it encoded for the device when the buffer's address is known. (CUDA Driver API, `cuTensorMapEncodeTiled`, whose
/// elements are bytes here; what lies outside of the tensor is zeros.)
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorMap {
    /// The buffer among the kernel's, operands first, then results. The tensor begins where it does.
    pub buffer: usize,
    /// Bytes, or places, along each dimension, the innermost, of bytes, first.
    pub extents: Vec<u64>,
    /// Bytes from a place to the next along each dimension but the innermost.
    pub strides: Vec<u64>,
    /// Bytes, or places, of the box along each dimension.
    pub box_extents: Vec<u32>,
    /// Within so many bytes of the box 16 bytes change places, by the address in shared memory: 32, 64 or 128; 0 where
    /// they do not.
    pub swizzle_bytes: u32,
}

impl TensorMap {
    /// The most dimensions there are.
    pub const MOST_DIMENSIONS: usize = 5;

    /// Bytes from the first of the tensor to behind its last; `None` where that is more than memory can address, or
    /// there are not as many strides as there have to be.
    pub fn reach(&self) -> Option<u64> {
        let (innermost, others) = self.extents.split_first()?;
        if self.strides.len() != others.len() {
            return None;
        }
        (others.iter().zip(&self.strides)).try_fold(*innermost, |reach, (extent, stride)| {
            reach.checked_add(extent.checked_sub(1)?.checked_mul(*stride)?)
        })
    }
}
