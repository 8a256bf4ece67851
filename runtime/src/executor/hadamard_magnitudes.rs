//! The largest magnitudes of a Hadamard transform, with [`tessera_numerics::HadamardMagnitudes`]: the transform is in no
//! memory but a near cache.
//!
//! Stripes of rows are the blocks that threads share.

use super::team::Member;
use crate::bundle::HadamardMagnitudes;

/// The elements that are worth a thread of their own.
const GRAIN_ELEMENTS: usize = 1 << 16;

/// The largest magnitudes of the rows of a tensor's transform, or of all.
pub(super) struct HadamardMagnitudesKernel {
    magnitudes: tessera_numerics::HadamardMagnitudes,
    /// The elements of the tensor, and of its last dimension.
    elements: usize,
    last: usize,
    is_centred: bool,
    /// Whether the result is that of all rows.
    is_of_all: bool,
}

/// What a launch reads, and the address that it writes the rows' magnitudes to.
struct Buffers<'a> {
    x: &'a [f32],
    mean: Option<&'a [f32]>,
    rows: *mut f32,
}

// SAFETY: slices, and an address that `HadamardMagnitudesKernel::run` alone uses, each call for elements of its own.
unsafe impl Sync for Buffers<'_> {}

impl HadamardMagnitudesKernel {
    /// `shape` is the tensor's, of which validation found the transform to be one of the last two dimensions.
    pub(super) fn new(magnitudes: &HadamardMagnitudes, shape: &[usize], is_of_all: bool) -> Self {
        let transform = &magnitudes.transform;
        Self {
            magnitudes: tessera_numerics::HadamardMagnitudes::new(
                shape,
                transform.axis,
                &transform.negative,
            )
            .expect("validation found the transform to be one"),
            elements: shape.iter().product(),
            last: shape.last().copied().unwrap_or(1),
            is_centred: magnitudes.centred,
            is_of_all,
        }
    }

    /// Writes the largest magnitudes. `buffers` are the addresses of the tensor, of the mean if there is one, and of the
    /// result.
    ///
    /// # Safety
    /// The buffers are of the kernel's types, aligned and initialised, and the result apart from all else; nobody else
    /// writes any or reads the result meanwhile.
    pub(super) unsafe fn run(&self, member: Member, buffers: &[*mut u8]) {
        // SAFETY: the caller's promises: the tensor has that many elements, the mean as many as its last dimension.
        let (x, mean) = unsafe {
            let x =
                std::slice::from_raw_parts(buffers[0].cast::<f32>().cast_const(), self.elements);
            let mean = self.is_centred.then(|| {
                std::slice::from_raw_parts(buffers[1].cast::<f32>().cast_const(), self.last)
            });
            (x, mean)
        };
        let result = buffers[1 + usize::from(self.is_centred)].cast::<f32>();
        if !self.is_of_all {
            let rows = result;
            return self.rows(member, &Buffers { x, mean, rows });
        }
        let count = self.magnitudes.rows(0..self.magnitudes.stripes()).len();
        let mut each = vec![0.0; count];
        let rows = each.as_mut_ptr();
        self.rows(member, &Buffers { x, mean, rows });
        let is_nan = each.iter().any(|row| row.is_nan());
        let largest = each.into_iter().fold(0.0, f32::max);
        // SAFETY: the caller's promises: the result is a scalar.
        unsafe { result.write(if is_nan { f32::NAN } else { largest }) };
    }

    /// Writes the largest magnitude of each row.
    fn rows(&self, member: Member, buffers: &Buffers<'_>) {
        let stripes = self.magnitudes.stripes();
        let grain = GRAIN_ELEMENTS * stripes / self.elements.max(1);
        member.share(stripes as u64, grain.max(1) as u64, &|_, range| {
            let stripes = range.start as usize..range.end as usize;
            let rows = self.magnitudes.rows(stripes.clone());
            // SAFETY: there is room for all rows; different stripes are different rows.
            let results =
                unsafe { std::slice::from_raw_parts_mut(buffers.rows.add(rows.start), rows.len()) };
            self.magnitudes
                .run(buffers.x, buffers.mean, stripes, results);
        });
    }
}
