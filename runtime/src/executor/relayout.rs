//! Scaled tensors in another order of bytes, with the bytes of [`tessera_numerics::relayout`].
//!
//! Along another axis, sixteen rows of the result are sixteen columns of what is read, eight bytes of each of its rows:
//! squares of 16×16 codes, which are turned in registers. Along the same axis, rows of codes are copied. Sixteen rows of
//! the result are what threads share; what is neither code nor scale goes with the last of them.

use super::team::Member;
use std::ops::Range;
use tessera_numerics::ScaledType;

/// The bytes that are worth a thread of their own.
const GRAIN_BYTES: usize = 1 << 15;

/// Rows of the result that are made together: the side of a square block.
const SIDE: usize = 16;

/// What becomes of a scaled tensor's bytes.
pub(super) struct RelayoutKernel {
    from: ScaledType,
    to: ScaledType,
    /// The rows of the result that lie in one matrix, of which there may be several, one after the other.
    rows: usize,
    matrices: usize,
}

/// The addresses of a launch.
struct Buffers<'a> {
    scaled: &'a [u8],
    result: *mut u8,
}

// SAFETY: a slice, and an address that `RelayoutKernel::run` alone uses, each call for bytes of its own.
unsafe impl Sync for Buffers<'_> {}

impl Buffers<'_> {
    /// Writes bytes of the result.
    ///
    /// # Safety
    /// They are inside of it, and nobody else uses them meanwhile.
    unsafe fn write(&self, place: usize, bytes: &[u8]) {
        // SAFETY: the caller's promise; what is read lies elsewhere.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.result.add(place), bytes.len());
        }
    }

    /// Clears bytes of the result.
    ///
    /// # Safety
    /// As for [`write`](Self::write).
    unsafe fn clear(&self, places: Range<usize>) {
        // SAFETY: the caller's promise.
        unsafe { self.result.add(places.start).write_bytes(0, places.len()) };
    }
}

impl RelayoutKernel {
    /// Of types of which validation found that the one can be laid out as the other.
    pub(super) fn new(from: &ScaledType, to: &ScaledType) -> Self {
        let rows = to.rows_before_axis();
        Self {
            from: from.clone(),
            to: to.clone(),
            rows,
            matrices: to.rows().checked_div(rows).unwrap_or(0),
        }
    }

    /// Writes the result.
    ///
    /// # Safety
    /// `scaled` has the bytes of the one type, `result` room for those of the other, apart from them; nobody else writes
    /// either or reads the result meanwhile.
    pub(super) unsafe fn run(&self, member: Member, scaled: *const u8, result: *mut u8) {
        // SAFETY: the caller's promise.
        let scaled = unsafe { std::slice::from_raw_parts(scaled, self.from.byte_size()) };
        let buffers = Buffers { scaled, result };
        let bands = self.rows.div_ceil(SIDE);
        let count = self.matrices * bands;
        let grain = GRAIN_BYTES.div_ceil(SIDE * self.to.row_bytes().max(1));
        // One more, so that what lies between the parts is written where there are no rows, too.
        member.share(count as u64 + 1, grain as u64, &|_, range| {
            // The whole struct is shared, for its fields may not be.
            let buffers = &buffers;
            for index in range {
                let index = index as usize;
                // SAFETY: the caller's promises; different bands are different rows, with their codes and scales.
                unsafe {
                    if index == count {
                        self.rest(buffers);
                    } else {
                        let first = index % bands * SIDE;
                        let rows = first..self.rows.min(first + SIDE);
                        self.band(buffers, index / bands, rows);
                    }
                }
            }
        });
    }

    /// Writes codes and scales of some rows of a matrix.
    ///
    /// # Safety
    /// As for [`run`](Self::run); nobody else uses these rows of the result meanwhile.
    unsafe fn band(&self, buffers: &Buffers<'_>, matrix: usize, rows: Range<usize>) {
        let (from, to) = (&self.from, &self.to);
        let first = matrix * self.rows + rows.start;
        let blocks = to.blocks_per_row();
        let scales = &buffers.scaled[from.scales_offset()..];
        if from.axis() == to.axis() {
            let codes = first * to.row_bytes()..(first + rows.len()) * to.row_bytes();
            // SAFETY: the caller's promises; codes lie at the same place in both.
            unsafe { buffers.write(codes.start, &buffers.scaled[codes.clone()]) };
            for row in first..first + rows.len() {
                for block in 0..blocks {
                    let scale = scales[from.scale_position(row, block)];
                    // SAFETY: the caller's promises.
                    unsafe { self.put_scale(buffers, row, block, scale) };
                }
            }
            return;
        }
        // Rows of what is read are columns of the result; this matrix's begin there.
        let old_first = matrix * to.columns();
        for block in 0..blocks {
            let columns = block * SIDE..to.columns().min((block + 1) * SIDE);
            let mut square = [0u64; SIDE];
            for (line, column) in square.iter_mut().zip(columns.clone()) {
                let start = (old_first + column) * from.row_bytes() + rows.start / 2;
                let mut codes = [0; SIDE / 2];
                codes.copy_from_slice(&buffers.scaled[start..start + SIDE / 2]);
                *line = u64::from_le_bytes(codes);
            }
            turn(&mut square);
            let scale = scales[from.scale_position(old_first + columns.start, rows.start / SIDE)];
            for (line, row) in square.iter().zip(first..first + rows.len()) {
                // SAFETY: the caller's promises; rows are padded to whole blocks, of eight bytes.
                unsafe {
                    buffers.write(row * to.row_bytes() + block * SIDE / 2, &line.to_le_bytes());
                    self.put_scale(buffers, row, block, scale);
                }
            }
        }
    }

    /// # Safety
    /// As for [`band`](Self::band), of that row.
    unsafe fn put_scale(&self, buffers: &Buffers<'_>, row: usize, block: usize, scale: u8) {
        let place = self.to.scales_offset() + self.to.scale_position(row, block);
        // SAFETY: the caller's promise.
        unsafe { buffers.write(place, &[scale]) };
    }

    /// Writes what is neither code nor scale: the gaps between the parts, the padding of tiled scales, the tensor scale.
    ///
    /// # Safety
    /// As for [`run`](Self::run); nobody else uses these bytes meanwhile.
    unsafe fn rest(&self, buffers: &Buffers<'_>) {
        let (from, to) = (&self.from, &self.to);
        let scales_end = to.scales_offset() + to.scale_bytes();
        // SAFETY: the caller's promises; these are bytes of the type that no row has.
        unsafe {
            buffers.clear(to.code_bytes()..to.scales_offset());
            if to.scale_bytes() > to.rows() * to.blocks_per_row() {
                let blocks = to.blocks_per_row();
                for row in 0..to.rows().next_multiple_of(128) {
                    let padded = if row < to.rows() { blocks } else { 0 };
                    for block in padded..blocks.next_multiple_of(4) {
                        self.put_scale(buffers, row, block, 0);
                    }
                }
            }
            if to.format().has_tensor_scale() {
                buffers.clear(scales_end..to.tensor_scale_offset());
                let scale = &buffers.scaled[from.tensor_scale_offset()..];
                buffers.write(to.tensor_scale_offset(), &scale[..size_of::<f32>()]);
            }
        }
    }
}

/// Turns a square of codes of four bits, of which a line has the first in its lowest bits: halves of the side that lie
/// across are exchanged, then halves of these.
fn turn(square: &mut [u64; SIDE]) {
    for (half, low) in [
        (8, 0x0000_0000_ffff_ffff),
        (4, 0x0000_ffff_0000_ffff),
        (2, 0x00ff_00ff_00ff_00ff),
        (1, 0x0f0f_0f0f_0f0f_0f0f),
    ] {
        for line in (0..SIDE).filter(|line| line & half == 0) {
            let across = (square[line] >> (4 * half) ^ square[line + half]) & low;
            square[line + half] ^= across;
            square[line] ^= across << (4 * half);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_square_is_turned() {
        let code = |line: usize, place: usize| ((7 * line + 3 * place) % 16) as u64;
        let line = |line: usize| (0..SIDE).map(move |place| code(line, place) << (4 * place));
        let mut square: [u64; SIDE] = std::array::from_fn(|number| line(number).sum());
        turn(&mut square);
        for (line, codes) in square.iter().enumerate() {
            for place in 0..SIDE {
                assert_eq!(codes >> (4 * place) & 0xf, code(place, line));
            }
        }
    }
}
