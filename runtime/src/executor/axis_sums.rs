//! Sums of scaled tensors' numbers along the axis, weighted or not, with the bits of [`tessera_numerics::AxisSums`].
//!
//! Rows of storage are the blocks that threads share.

use super::team::Member;
use tessera_numerics::{AxisSums, ScaledType};

/// The elements that are worth a thread of their own.
const GRAIN_ELEMENTS: usize = 1 << 18;

/// The sums of a scaled tensor's rows of storage.
pub(super) struct AxisSumsKernel {
    sums: AxisSums,
    /// How many weights there are, where there are.
    weights: Option<usize>,
}

/// What a launch reads, and the address that it writes to.
struct Buffers<'a> {
    scaled: &'a [u8],
    weights: Option<&'a [f32]>,
    result: *mut f32,
}

// SAFETY: slices, and an address that `AxisSumsKernel::run` alone uses, each call for elements of its own.
unsafe impl Sync for Buffers<'_> {}

impl AxisSumsKernel {
    pub(super) fn new(scaled_type: &ScaledType, weights: Option<usize>) -> Self {
        let sums = AxisSums::new(scaled_type);
        Self { sums, weights }
    }

    /// Writes the sums in the row-major order of the type's shape without its axis. The buffers are a scaled tensor, its
    /// weights where there are any, and the result.
    ///
    /// # Safety
    /// The scaled tensor has the bytes of the type, the weights are as many as were said, floats that are vectors of the
    /// type's, and the result has room for a sum of each row of storage, apart from them; nobody else writes any of them or
    /// reads the result meanwhile.
    pub(super) unsafe fn run(&self, member: Member, buffers: &[*mut u8]) {
        let scaled_type = self.sums.scaled_type();
        let (result, weights) = match self.weights {
            None => (buffers[1], None),
            // SAFETY: the caller's promise.
            Some(count) => (buffers[2], unsafe {
                Some(std::slice::from_raw_parts(
                    buffers[1].cast::<f32>().cast_const(),
                    count,
                ))
            }),
        };
        // SAFETY: the caller's promise.
        let scaled =
            unsafe { std::slice::from_raw_parts(buffers[0].cast_const(), scaled_type.byte_size()) };
        let buffers = Buffers {
            scaled,
            weights,
            result: result.cast(),
        };
        let grain = GRAIN_ELEMENTS.div_ceil(scaled_type.columns().max(1));
        member.share(scaled_type.rows() as u64, grain as u64, &|_, range| {
            // The whole struct is shared, for its fields may not be.
            let buffers = &buffers;
            let rows = range.start as usize..range.end as usize;
            // SAFETY: the caller's promises; different ranges are different sums.
            let sums = unsafe {
                std::slice::from_raw_parts_mut(buffers.result.add(rows.start), rows.len())
            };
            match buffers.weights {
                None => self.sums.run(buffers.scaled, rows, sums),
                Some(weights) => self.sums.run_weighted(buffers.scaled, rows, weights, sums),
            }
        });
    }
}
