//! What the innermost kernels have in common: the shapes of their tiles, what they pack operands into, how they sum.

use super::cut::Cut;
use super::level::Level;
use super::pack::{Decoder, Lines};
use super::portable;
use super::tile::{COLUMNS, ColumnBlock, ROWS, RowBlock, Tile, VectorTile};
use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};

/// The sizes of a kernel's tiles and of what it packs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    /// Rows of a tile.
    pub(super) rows: usize,
    /// Columns of a tile.
    pub(super) columns: usize,
    /// Elements along the axis between two roundings through memory.
    pub(super) stretch: usize,
    /// Rows and columns of a task, the first that makes enough tasks. Fewer columns pack rows more often, fewer rows
    /// load columns more often.
    pub(super) tasks: [(usize, usize); 5],
    /// The bytes of a block of a tile's rows.
    pub(super) row_block_bytes: usize,
    /// The bytes of a block of a tile's columns.
    pub(super) column_block_bytes: usize,
    /// The bytes of a tile's accumulators.
    pub(super) tile_bytes: usize,
    /// Where accumulators and blocks may begin.
    pub(super) alignment: usize,
}

impl Geometry {
    /// The bytes of one thread's own part of the workspace: tiles, packed rows and, where an epilogue is computed of it, a
    /// task's part of the product.
    pub(super) fn worker_bytes(&self, cut: &Cut, stretch: usize, has_epilogue: bool) -> usize {
        let product = match has_epilogue {
            true => cut.rows * cut.columns * size_of::<f32>(),
            false => 0,
        };
        cut.tiles() * self.tile_bytes
            + self.row_bytes(cut, stretch)
            + product.next_multiple_of(self.alignment)
    }

    /// The bytes of a task's packed rows.
    pub(super) fn row_bytes(&self, cut: &Cut, stretch: usize) -> usize {
        let rows = cut.row_panels() * stretch * self.row_block_bytes;
        rows.next_multiple_of(self.alignment)
    }
}

/// An innermost kernel with the packing it wants.
pub(super) trait Kernel: Copy + Send + Sync {
    /// One block of each of a tile's rows.
    type RowBlock;
    /// One block of each of a tile's columns.
    type ColumnBlock;
    /// The accumulators of a tile, row by row.
    type Tile: AsRef<[f32]>;
    /// What lasts as long as a thread uses the kernel.
    type Session;

    /// The sizes of these.
    const GEOMETRY: Geometry;

    /// What brings an accumulator to its size.
    const RESULT_SCALE: f32;

    /// Prepares the thread for [`accumulate`](Self::accumulate).
    fn begin(self) -> Self::Session;

    /// Packs those blocks of the lines as rows. Each of `packed` is one block.
    fn pack_rows(
        self,
        decoder: &Decoder,
        lines: &Lines<'_>,
        blocks: Range<usize>,
        packed: &mut [Self::RowBlock],
    );

    /// Clears the elements of a block outside of a range.
    fn keep(self, elements: Range<usize>, packed: &mut Self::RowBlock);

    /// Packs all blocks of the lines as columns. Each of `packed` is one block.
    fn pack_columns(self, decoder: &Decoder, lines: &Lines<'_>, packed: &mut [Self::ColumnBlock]);

    /// Adds the products of `rows` and `columns`, block after block, to `tile`, or to zeros where that is `fresh`.
    fn accumulate(
        self,
        fresh: bool,
        rows: &[Self::RowBlock],
        columns: &[Self::ColumnBlock],
        tile: &mut Self::Tile,
    );

    /// Writes a part of a row of accumulators, brought to its size and times `scale`.
    ///
    /// # Safety
    /// From `place` on there is room for all of them, which nobody else reads or writes meanwhile.
    unsafe fn write(self, sums: &[f32], scale: f32, place: *mut f32);
}

/// The kernels of vectors, in integers. `GROUPS` is the number of words of the format's blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vectors<const GROUPS: usize>(pub(super) Level);

impl<const GROUPS: usize> Kernel for Vectors<GROUPS> {
    type RowBlock = RowBlock<GROUPS>;
    type ColumnBlock = ColumnBlock<GROUPS>;
    type Tile = VectorTile;
    type Session = ();

    const GEOMETRY: Geometry = Geometry {
        rows: ROWS,
        columns: COLUMNS,
        // Packed, these and the columns of a tile are half of a cache of 48 KiB.
        stretch: 384,
        tasks: [(48, 1024), (48, 512), (24, 512), (24, 256), (12, 256)],
        row_block_bytes: size_of::<RowBlock<GROUPS>>(),
        column_block_bytes: size_of::<ColumnBlock<GROUPS>>(),
        tile_bytes: size_of::<VectorTile>(),
        alignment: align_of::<VectorTile>(),
    };

    /// Integers are four times the products of elements, and their sums are accumulated 2⁻²² times as large.
    const RESULT_SCALE: f32 = (1 << 20) as f32;

    fn begin(self) {}

    fn pack_rows(
        self,
        decoder: &Decoder,
        lines: &Lines<'_>,
        blocks: Range<usize>,
        packed: &mut [Self::RowBlock],
    ) {
        decoder.pack_rows(self.0, lines, blocks, packed);
    }

    fn keep(self, elements: Range<usize>, packed: &mut Self::RowBlock) {
        packed.keep(elements);
    }

    fn pack_columns(self, decoder: &Decoder, lines: &Lines<'_>, packed: &mut [Self::ColumnBlock]) {
        decoder.pack_columns(self.0, lines, packed);
    }

    fn accumulate(
        self,
        fresh: bool,
        rows: &[Self::RowBlock],
        columns: &[Self::ColumnBlock],
        tile: &mut VectorTile,
    ) {
        if fresh {
            *tile = Tile::ZERO;
        }
        match self.0 {
            Level::Portable => portable::accumulate(rows, columns, tile),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a level is only in use on a CPU that has its instructions.
            Level::Avx2 => unsafe { avx2::accumulate(rows, columns, tile) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Level::AvxVnni => unsafe { avx2::accumulate_vnni(rows, columns, tile) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above; who has AMX-BF16 has AVX-512 VNNI.
            Level::Avx512Vnni | Level::AmxBf16 => unsafe {
                avx512::accumulate(rows, columns, tile);
            },
            #[cfg(not(target_arch = "x86_64"))]
            Level::Avx2 | Level::AvxVnni | Level::Avx512Vnni | Level::AmxBf16 => {
                unreachable!("a level of x86-64")
            }
        }
    }
    unsafe fn write(self, sums: &[f32], scale: f32, place: *mut f32) {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a level is only in use on a CPU that has its instructions; the caller's promise.
            Level::Avx512Vnni | Level::AmxBf16 => unsafe {
                avx512::write(sums, Self::RESULT_SCALE, scale, place);
            },
            _ => {
                for (column, sum) in sums.iter().enumerate() {
                    // SAFETY: the caller's promise.
                    unsafe { *place.add(column) = sum * Self::RESULT_SCALE * scale };
                }
            }
        }
    }
}
