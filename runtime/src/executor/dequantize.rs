//! The numbers of scaled tensors: `(code · block scale) · tensor scale` in f32, as
//! [`tessera_numerics::dequantize`] defines them.
//!
//! Storage has the axis fastest. Where the tensor has it last too, rows are written as they are read; else some rows that
//! are neighbours in the tensor are decoded into a tile, which is written transposed. Tiles, or rows, are the blocks that
//! threads share.

use super::team::Member;
use std::ops::Range;
use tessera_numerics::ScaledType;

/// The elements that are worth a thread of their own.
const GRAIN_ELEMENTS: usize = 1 << 15;

/// Neighbouring rows of a tile.
const TILE_ROWS: usize = 32;

/// Columns of a tile; whole blocks of every format.
const TILE_COLUMNS: usize = 64;

/// A scaled tensor's decoding.
pub(super) struct DequantizeKernel {
    scaled_type: ScaledType,
    /// The number of each element code.
    elements: Vec<f32>,
    /// The elements of a block and the number of each scale code.
    scales: Option<(usize, Vec<f32>)>,
    /// The product of the dimensions behind the axis: rows that are neighbours in the tensor.
    neighbours: usize,
}

/// The addresses of a launch.
struct Buffers<'a> {
    scaled: &'a [u8],
    result: *mut f32,
}

// SAFETY: a slice, and an address that `DequantizeKernel::run` alone uses, each call for elements of its own.
unsafe impl Sync for Buffers<'_> {}

impl DequantizeKernel {
    pub(super) fn new(scaled_type: &ScaledType) -> Self {
        let element = scaled_type.format().element();
        let codes = match element.elements_per_byte() {
            1 => 256,
            _ => 16u16,
        };
        let block = scaled_type.format().block();
        Self {
            elements: (0..codes).map(|code| element.decode(code as u8)).collect(),
            scales: block.map(|(length, format)| {
                let numbers = (0..=u8::MAX).map(|code| format.decode(code));
                (length, numbers.collect())
            }),
            neighbours: scaled_type.shape()[scaled_type.axis() + 1..]
                .iter()
                .product(),
            scaled_type: scaled_type.clone(),
        }
    }

    /// Writes the numbers in the row-major order of the type's shape.
    ///
    /// # Safety
    /// `scaled` has the bytes of the type, `result` room for its elements, apart from them; nobody else writes either
    /// or reads the result meanwhile.
    pub(super) unsafe fn run(&self, member: Member, scaled: *const u8, result: *mut f32) {
        let (rows, columns) = (self.scaled_type.rows(), self.scaled_type.columns());
        if rows == 0 || columns == 0 {
            return;
        }
        // SAFETY: the caller's promise.
        let scaled = unsafe { std::slice::from_raw_parts(scaled, self.scaled_type.byte_size()) };
        let buffers = Buffers { scaled, result };
        let tiles = self.neighbours.div_ceil(TILE_ROWS);
        let blocks = rows / self.neighbours * tiles;
        let per_block = columns * self.neighbours.min(TILE_ROWS);
        let grain = GRAIN_ELEMENTS.div_ceil(per_block);
        member.share(blocks as u64, grain as u64, &|_, range| {
            // The whole struct is shared, for its fields may not be.
            let buffers = &buffers;
            for block in range {
                let (outer, tile) = (block as usize / tiles, block as usize % tiles);
                let begin = tile * TILE_ROWS;
                let inner = begin..self.neighbours.min(begin + TILE_ROWS);
                // SAFETY: the caller's promises; different blocks are different rows, whose elements differ.
                unsafe { self.rows(buffers, outer, inner) };
            }
        });
    }

    /// Writes the rows `inner` of all neighbours of number `outer`.
    ///
    /// # Safety
    /// As for [`run`](Self::run); nobody else uses these rows' elements of the result meanwhile.
    unsafe fn rows(&self, buffers: &Buffers<'_>, outer: usize, inner: Range<usize>) {
        let columns = self.scaled_type.columns();
        let first_row = outer * self.neighbours + inner.start;
        let tensor_scale = self.tensor_scale(buffers.scaled);
        if self.neighbours == 1 {
            // SAFETY: row r of the tensor is elements r · columns and on.
            let row = unsafe {
                std::slice::from_raw_parts_mut(buffers.result.add(first_row * columns), columns)
            };
            return self.decode(buffers.scaled, first_row, 0, tensor_scale, row);
        }
        let mut tile = [[0f32; TILE_COLUMNS]; TILE_ROWS];
        for begin in (0..columns).step_by(TILE_COLUMNS) {
            let width = TILE_COLUMNS.min(columns - begin);
            for (index, row) in tile[..inner.len()].iter_mut().enumerate() {
                let row = &mut row[..width];
                self.decode(buffers.scaled, first_row + index, begin, tensor_scale, row);
            }
            for column in 0..width {
                let place = (outer * columns + begin + column) * self.neighbours + inner.start;
                // SAFETY: column c of neighbours o is the elements from (o · columns + c) · neighbours on.
                let line = unsafe {
                    std::slice::from_raw_parts_mut(buffers.result.add(place), inner.len())
                };
                for (number, row) in line.iter_mut().zip(&tile) {
                    *number = row[column];
                }
            }
        }
    }

    fn tensor_scale(&self, scaled: &[u8]) -> f32 {
        let start = self.scaled_type.tensor_scale_offset().min(scaled.len());
        match scaled[start..].first_chunk() {
            Some(&bytes) if self.scaled_type.format().has_tensor_scale() => {
                f32::from_le_bytes(bytes)
            }
            _ => 1.0,
        }
    }

    /// The numbers of a row of storage from column `begin` on, the first of a block.
    fn decode(
        &self,
        scaled: &[u8],
        row: usize,
        begin: usize,
        tensor_scale: f32,
        numbers: &mut [f32],
    ) {
        let codes = &scaled[row * self.scaled_type.row_bytes()..];
        let length = self
            .scales
            .as_ref()
            .map_or(numbers.len(), |scales| scales.0);
        for (index, block) in numbers.chunks_mut(length.max(1)).enumerate() {
            let column = begin + index * length;
            let scale = self.scales.as_ref().map_or(1.0, |(length, numbers)| {
                let place = self.scaled_type.scale_position(row, column / length);
                numbers[usize::from(scaled[self.scaled_type.scales_offset() + place])]
            });
            if self.elements.len() == 16 {
                let mut table = [0f32; 16];
                for (entry, element) in table.iter_mut().zip(&self.elements) {
                    *entry = element * scale * tensor_scale;
                }
                let codes = &codes[column / 2..];
                let (pairs, last) = block.as_chunks_mut::<2>();
                for (pair, code) in pairs.iter_mut().zip(codes) {
                    *pair = [code & 0xf, code >> 4].map(|code| table[usize::from(code)]);
                }
                if let [last] = last {
                    *last = table[usize::from(codes[pairs.len()] & 0xf)];
                }
            } else {
                for (number, &code) in block.iter_mut().zip(&codes[column..]) {
                    *number = self.elements[usize::from(code)] * scale * tensor_scale;
                }
            }
        }
    }
}
