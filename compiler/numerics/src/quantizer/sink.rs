//! Where the parts of an output go while several threads write it.

use super::vector::{LANES, Vector, Words};
use crate::{ScaleLayout, ScaledType};

/// The bytes of a cache line, and of a vector.
const LINE: usize = size_of::<Words>();

/// The bytes of one scaled tensor, of which every thread writes other parts.
#[derive(Clone, Copy)]
pub(super) struct Sink {
    bytes: *mut u8,
    scales_offset: usize,
    byte_size: usize,
    row_bytes: usize,
    groups_per_row: u64,
    blocks_per_row: usize,
    layout: ScaleLayout,
    /// Whether whole lines of codes are written past the caches.
    streams: bool,
}

// SAFETY: `Sink` is a pointer into bytes borrowed for as long as the job that holds it, written through alone, and no two
// threads write the same byte: a job's parts cover different stripes of the input, and a stripe's codes and scales are no
// other stripe's.
unsafe impl Send for Sink {}
// SAFETY: as above.
unsafe impl Sync for Sink {}

impl Sink {
    /// A sink for a tensor of that type, which is written past the caches where they would not hold it.
    ///
    /// # Safety
    /// Until the sink and its copies are last used nothing else may read or write the bytes, and no two threads may put the
    /// same group or scale at a time.
    pub unsafe fn new(scaled_type: &ScaledType, bytes: &mut [u8], is_large: bool) -> Self {
        assert_eq!(bytes.len(), scaled_type.byte_size());
        Self {
            bytes: bytes.as_mut_ptr(),
            scales_offset: scaled_type.scales_offset(),
            byte_size: bytes.len(),
            row_bytes: scaled_type.row_bytes(),
            groups_per_row: (scaled_type.padded_columns() / 16) as u64,
            blocks_per_row: scaled_type.blocks_per_row(),
            layout: scaled_type.layout(),
            streams: is_large
                && bytes.as_ptr().addr().is_multiple_of(LINE)
                && scaled_type.row_bytes().is_multiple_of(LINE),
        }
    }

    /// The number of a group of sixteen elements in storage.
    #[inline(always)]
    pub fn group(&self, row: usize, along: usize) -> u64 {
        row as u64 * self.groups_per_row + along as u64
    }

    /// Writes the codes of a row of storage from a byte of it on, as many as the row has.
    #[inline(always)]
    pub fn put_codes<V: Vector>(&self, row: usize, from: usize, codes: &[u8]) {
        let (lines, rest) = codes.as_chunks::<LINE>();
        if self.streams && rest.is_empty() && from.is_multiple_of(LINE) {
            for (index, line) in lines.iter().enumerate() {
                let (words, _) = line.as_chunks();
                let mut vector = [0; LANES];
                for (word, &bytes) in vector.iter_mut().zip(words) {
                    *word = u32::from_le_bytes(bytes);
                }
                self.put_line(row, from + index * LINE, V::of_words(&vector), LINE);
            }
            return;
        }
        let codes = &codes[..codes.len().min(self.row_bytes - from)];
        let start = row * self.row_bytes + from;
        assert!(start + codes.len() <= self.scales_offset);
        // SAFETY: the place is inside the bytes, and by `new`'s contract nobody else uses it now.
        unsafe {
            let (place, codes, length) = (self.bytes.add(start), codes.as_ptr(), codes.len());
            // Lengths known to the compiler are a few moves, others a call.
            match length {
                64 => place.copy_from_nonoverlapping(codes, 64),
                128 => place.copy_from_nonoverlapping(codes, 128),
                _ => place.copy_from_nonoverlapping(codes, length),
            }
        }
    }

    /// Writes the codes of a row of storage from a byte of it on: the first `length` of a vector's bytes, as many as the row
    /// has.
    #[inline(always)]
    pub fn put_line<V: Vector>(&self, row: usize, from: usize, codes: V, length: usize) {
        let length = length.min(self.row_bytes - from).min(LINE);
        let start = row * self.row_bytes + from;
        assert!(start + length <= self.scales_offset);
        // SAFETY: the place is inside the bytes, and by `new`'s contract nobody else uses it now. Where the sink streams, rows
        // begin at multiples of a line.
        unsafe {
            let place = self.bytes.add(start);
            if length == LINE && self.streams && from.is_multiple_of(LINE) {
                codes.stream(place);
            } else if length == LINE {
                let words = codes.words();
                place.copy_from_nonoverlapping(words.as_ptr().cast(), LINE);
            } else {
                let words = codes.words();
                place.copy_from_nonoverlapping(words.as_ptr().cast(), length);
            }
        }
    }

    /// Writes the scales of a row of storage from a block on, if the format has any.
    #[inline(always)]
    pub fn put_scales(&self, row: usize, block: usize, codes: &[u8]) {
        if self.blocks_per_row == 0 {
            return;
        }
        match self.layout {
            ScaleLayout::Linear => self.put_scale(row * self.blocks_per_row + block, codes),
            ScaleLayout::Tiled128x4 => {
                // `ScaledType::scale_position`: what depends on the row once, what depends on the block for each.
                let tiles = self.blocks_per_row.div_ceil(4);
                let start = (row / 128 * tiles * 32 + row % 32) * 16 + row % 128 / 32 * 4;
                for (block, code) in (block..).zip(codes) {
                    let position = start + block / 4 * 512 + block % 4;
                    self.put_scale(position, std::slice::from_ref(code));
                }
            }
        }
    }

    /// Writes scales from a position among the scales on.
    #[inline(always)]
    fn put_scale(&self, position: usize, codes: &[u8]) {
        let start = self.scales_offset + position;
        assert!(start + codes.len() <= self.byte_size);
        // SAFETY: the place is inside the bytes, and by `new`'s contract nobody else uses it now.
        unsafe {
            let (place, codes, length) = (self.bytes.add(start), codes.as_ptr(), codes.len());
            match length {
                8 => place.copy_from_nonoverlapping(codes, 8),
                16 => place.copy_from_nonoverlapping(codes, 16),
                _ => place.copy_from_nonoverlapping(codes, length),
            }
        }
    }
}

/// Makes what this thread has written past the caches visible to others before what it writes from here on.
pub(super) fn fence() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every processor of this architecture has the instruction.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}
