//! Hadamard transforms along any axis, with [`tessera_numerics::HadamardTransform`].
//!
//! Blocks along the last axis are transformed where they lie. Along another axis, as many blocks as there are elements
//! behind it lie side by side, and stretches of them are transformed together, row by row.

use super::team::Member;
use crate::bundle::Hadamard;
use tessera_numerics::HadamardTransform;

/// The elements that are worth a thread of their own.
const GRAIN_ELEMENTS: usize = 1 << 15;

/// Elements that are copied and transformed before the next are touched: half of a near cache.
const CHUNK: usize = 1 << 12;

/// Blocks side by side that are transformed together.
const WIDTH: usize = 64;

/// The longest block.
const MOST: usize = 128;

/// The transforms of a tensor's blocks.
pub(super) struct HadamardKernel {
    transform: HadamardTransform,
    /// Blocks that lie one after the other.
    blocks: usize,
    /// Blocks that lie side by side.
    neighbours: usize,
}

/// The addresses of a launch.
struct Buffers {
    x: *const f32,
    result: *mut f32,
}

// SAFETY: addresses that `HadamardKernel::run` alone uses, each call for elements of its own.
unsafe impl Sync for Buffers {}

impl HadamardKernel {
    /// `shape` is the tensor's, of which validation found the axis a multiple of the blocks' length.
    pub(super) fn new(hadamard: &Hadamard, shape: &[usize]) -> Self {
        let size = hadamard.negative.len();
        let before: usize = shape[..hadamard.axis].iter().product();
        Self {
            transform: HadamardTransform::new(&hadamard.negative)
                .expect("validation found the size to be one"),
            blocks: before * (shape[hadamard.axis] / size),
            neighbours: shape[hadamard.axis + 1..].iter().product(),
        }
    }

    /// Writes the transformed numbers.
    ///
    /// # Safety
    /// Both have the tensor's elements, apart from each other; nobody else writes either or reads the result meanwhile.
    pub(super) unsafe fn run(&self, member: Member, x: *const f32, result: *mut f32) {
        let buffers = Buffers { x, result };
        let size = self.transform.size();
        if self.neighbours == 1 {
            let chunk = CHUNK / size;
            let chunks = self.blocks.div_ceil(chunk) as u64;
            let grain = (GRAIN_ELEMENTS / CHUNK) as u64;
            member.share(chunks, grain, &|_, range| {
                // The whole struct is shared, for its fields may not be.
                let buffers = &buffers;
                for index in range {
                    let begin = index as usize * chunk;
                    let length = chunk.min(self.blocks - begin) * size;
                    // SAFETY: the caller's promises; different chunks are different elements.
                    unsafe { self.chunk(buffers, begin * size, length) };
                }
            });
            return;
        }
        let stretches = self.neighbours.div_ceil(WIDTH);
        let grain = GRAIN_ELEMENTS.div_ceil(size * self.neighbours.clamp(1, WIDTH)) as u64;
        member.share((self.blocks * stretches) as u64, grain, &|_, range| {
            let buffers = &buffers;
            for index in range {
                let (block, stretch) = (index as usize / stretches, index as usize % stretches);
                // SAFETY: the caller's promises; different stretches are different elements.
                unsafe { self.stretch(buffers, block, stretch * WIDTH) };
            }
        });
    }

    /// Transforms whole blocks that lie one after the other.
    ///
    /// # Safety
    /// As for [`run`](Self::run); nobody else uses these elements of the result meanwhile.
    unsafe fn chunk(&self, buffers: &Buffers, begin: usize, length: usize) {
        // SAFETY: the caller's promises.
        let (x, result) = unsafe {
            (
                std::slice::from_raw_parts(buffers.x.add(begin), length),
                std::slice::from_raw_parts_mut(buffers.result.add(begin), length),
            )
        };
        self.transform.along(x, result);
    }

    /// Transforms neighbouring blocks from number `begin` on.
    ///
    /// # Safety
    /// As for [`run`](Self::run); nobody else uses these elements of the result meanwhile.
    unsafe fn stretch(&self, buffers: &Buffers, block: usize, begin: usize) {
        let size = self.transform.size();
        let width = WIDTH.min(self.neighbours - begin);
        let place = |row: usize| (block * size + row) * self.neighbours + begin;
        let mut rows = [[0f32; WIDTH]; MOST];
        let rows = &mut rows[..size];
        for (index, row) in rows.iter_mut().enumerate() {
            // SAFETY: the caller's promises.
            let x = unsafe { std::slice::from_raw_parts(buffers.x.add(place(index)), width) };
            row[..width].copy_from_slice(x);
        }
        self.transform.across(rows.as_flattened_mut());
        for (index, row) in rows.iter().enumerate() {
            // SAFETY: the caller's promises.
            let result =
                unsafe { std::slice::from_raw_parts_mut(buffers.result.add(place(index)), width) };
            result.copy_from_slice(&row[..width]);
        }
    }
}
