//! Schedules of independent blocks, each of which one thread does from its beginning to its end.
//!
//! A family's function does the blocks of a range, which it is given when it runs: the CPU's threads have many at a time, a
//! thread of a GPU has one. What a block computes depends on the kernel alone, so results are the same bits either way.

mod column;
pub(crate) mod dot;
mod elements;
pub(crate) mod epilogue;
pub(crate) mod index;
mod r#loop;
mod nest;
pub(crate) mod prologue;
mod reduction;
mod row;
mod sort;
mod work;

pub(crate) use nest::{ceil_div, extent};
pub(crate) use reduction::Reduction;
pub(crate) use row::{Results, passes};

use crate::mlir::Emission;
use crate::mlir::elemental::Unsupported;
use tessera_ir::OpKind;
use tessera_ir::plan::Family;

/// How a kernel's work is divided into blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Division {
    /// Independent parts, numbered from 0.
    pub blocks: u64,
    /// The least number of blocks that are worth a thread of their own.
    pub grain: u64,
    /// Bytes of memory of its own that a call needs.
    pub scratch_bytes: usize,
}

impl Division {
    /// Nothing to do: no result has an element.
    pub const EMPTY: Self = Self {
        blocks: 0,
        grain: 1,
        scratch_bytes: 0,
    };

    /// So many blocks, each of so many nanoseconds by a rough estimate.
    pub fn new(blocks: i64, nanoseconds: f64) -> Self {
        /// Below this, waking a thread costs more than it brings.
        const THREAD_NANOSECONDS: f64 = 20_000.0;
        let grain = (THREAD_NANOSECONDS / nanoseconds.max(1.0)).ceil();
        Self {
            blocks: blocks.max(0).cast_unsigned(),
            grain: (grain as u64).max(1),
            scratch_bytes: 0,
        }
    }
}

/// Fills a kernel's function.
///
/// # Errors
/// The body holds what its family cannot do.
pub fn emit(emission: &mut Emission<'_, '_>) -> Result<Division, Unsupported> {
    match emission.kernel.family {
        Family::Loop => r#loop::emit(emission),
        Family::Row => row::emit(emission),
        Family::Column => column::emit(emission),
        Family::Dot => match epilogue::product(&emission.kernel.body) {
            Some(product) if matches!(product.op.kind, OpKind::ScaledDot { .. }) => {
                epilogue::emit(emission, product)
            }
            _ => dot::emit(emission),
        },
        Family::Index => index::emit(emission, index::Grain::Coarse),
        Family::Sort => sort::emit(emission),
        Family::Quantize if let Some(tensor) = prologue::quantized(&emission.kernel.body) => {
            prologue::emit(emission, tensor)
        }
        Family::Attention => Err(Unsupported::new(
            &emission.kernel.body.operations()[0],
            "is in an attention kernel, which only GPUs have",
        )),
        Family::Quantize | Family::Solve => Err(Unsupported::new(
            &emission.kernel.body.operations()[0],
            "is not in the form that the runtime computes",
        )),
    }
}
