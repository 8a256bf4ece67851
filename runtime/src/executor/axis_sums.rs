//! Sums of scaled tensors' numbers along the axis, with the bits of [`tessera_numerics::AxisSums`].
//!
//! Rows of storage are the blocks that threads share.

use super::team::Member;
use tessera_numerics::{AxisSums, ScaledType};

/// The elements that are worth a thread of their own.
const GRAIN_ELEMENTS: usize = 1 << 18;

/// The sums of a scaled tensor's rows of storage.
pub(super) struct AxisSumsKernel {
    sums: AxisSums,
}

/// The addresses of a launch.
struct Buffers<'a> {
    scaled: &'a [u8],
    result: *mut f32,
}

// SAFETY: a slice, and an address that `AxisSumsKernel::run` alone uses, each call for elements of its own.
unsafe impl Sync for Buffers<'_> {}

impl AxisSumsKernel {
    pub(super) fn new(scaled_type: &ScaledType) -> Self {
        let sums = AxisSums::new(scaled_type);
        Self { sums }
    }

    /// Writes the sums in the row-major order of the type's shape without its axis.
    ///
    /// # Safety
    /// `scaled` has the bytes of the type, `result` room for a sum of each row of storage, apart from them; nobody else
    /// writes either or reads the result meanwhile.
    pub(super) unsafe fn run(&self, member: Member, scaled: *const u8, result: *mut f32) {
        let scaled_type = self.sums.scaled_type();
        // SAFETY: the caller's promise.
        let scaled = unsafe { std::slice::from_raw_parts(scaled, scaled_type.byte_size()) };
        let buffers = Buffers { scaled, result };
        let grain = GRAIN_ELEMENTS.div_ceil(scaled_type.columns().max(1));
        member.share(scaled_type.rows() as u64, grain as u64, &|_, range| {
            // The whole struct is shared, for its fields may not be.
            let buffers = &buffers;
            let rows = range.start as usize..range.end as usize;
            // SAFETY: the caller's promises; different ranges are different sums.
            let sums = unsafe {
                std::slice::from_raw_parts_mut(buffers.result.add(rows.start), rows.len())
            };
            self.sums.run(buffers.scaled, rows, sums);
        });
    }
}
