//! One launch of a product: packs the columns, shares the tasks out, writes the result.

use super::cut::Cut;
use super::level::Level;
use super::pack::Lines;
use super::tile::{COLUMNS, ColumnBlock, ROWS, RowBlock, Tile};
use super::{ScaledDot, ScaledDotBuffers, Side, portable};
use crate::executor::team::Member;
use std::ops::Range;
use std::slice;
use tessera_numerics::ScaledType;

#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};

/// The elements that are worth a thread to pack.
const PACK_WORK: usize = 1 << 17;

/// What brings an accumulator to its size: integers are four times the products of elements, and their sums are
/// accumulated 2⁻²² times as large.
const RESULT_SCALE: f32 = (1 << 20) as f32;

/// A launch. `GROUPS` is the number of words of the format's blocks.
pub(super) struct Launch<'a, const GROUPS: usize> {
    dot: &'a ScaledDot,
    cut: Cut,
    row_bytes: &'a [u8],
    column_bytes: &'a [u8],
    /// The packed columns: of each product its panels, of each panel its blocks.
    columns: *mut ColumnBlock<GROUPS>,
    /// The panels of one product.
    panels: usize,
    /// The threads' own parts of the workspace.
    workers: *mut u8,
    result: *mut f32,
    tensor_scale: f32,
}

// SAFETY: the addresses are used by unsafe functions, which state what must hold of them.
unsafe impl<const GROUPS: usize> Sync for Launch<'_, GROUPS> {}

/// One thread's own part of the workspace.
struct Own<'a, const GROUPS: usize> {
    tiles: &'a mut [Tile],
    rows: &'a mut [RowBlock<GROUPS>],
}

impl<'a, const GROUPS: usize> Launch<'a, GROUPS> {
    /// # Safety
    /// The buffers are as [`ScaledDot::run`] wants them, for as long as the launch lives, with the workspace of a team
    /// of `threads`; `GROUPS` is the format's.
    pub(super) unsafe fn new(
        dot: &'a ScaledDot,
        threads: usize,
        buffers: &ScaledDotBuffers,
    ) -> Self {
        let (lhs_type, rhs_type) = (&dot.product.lhs, &dot.product.rhs);
        // SAFETY: the operands have that many bytes, which nobody writes. The workspace begins with the columns.
        let (lhs, rhs, workers) = unsafe {
            (
                slice::from_raw_parts(buffers.lhs, lhs_type.byte_size()),
                slice::from_raw_parts(buffers.rhs, rhs_type.byte_size()),
                buffers.workspace.add(dot.column_bytes),
            )
        };
        let (row_bytes, column_bytes) = if dot.transposed {
            (rhs, lhs)
        } else {
            (lhs, rhs)
        };
        Self {
            dot,
            cut: dot.cut(threads),
            row_bytes,
            column_bytes,
            columns: buffers.workspace.cast(),
            panels: dot.columns.count.div_ceil(COLUMNS),
            workers,
            result: buffers.result,
            tensor_scale: tensor_scale(lhs_type, lhs) * tensor_scale(rhs_type, rhs),
        }
    }

    /// The bytes of one thread's own part of the workspace.
    pub(super) fn worker_bytes(cut: &Cut, stretch: usize) -> usize {
        let rows = cut.row_panels() * stretch * size_of::<RowBlock<GROUPS>>();
        cut.tiles() * size_of::<Tile>() + rows.next_multiple_of(align_of::<Tile>())
    }

    /// Computes the results.
    ///
    /// # Safety
    /// As for [`new`](Self::new); nothing else runs on the launch's workspace and result meanwhile.
    pub(super) unsafe fn run(&self, member: Member) {
        let panel_elements = COLUMNS * self.dot.blocks.max(1) * 4 * GROUPS;
        let panels = (self.dot.products * self.panels) as u64;
        let grain = PACK_WORK.div_ceil(panel_elements) as u64;
        member.share(panels, grain, &|_, range| {
            // SAFETY: each panel is packed by one call.
            unsafe { self.pack_columns(range.start as usize..range.end as usize) };
        });
        let (tasks, grain) = (self.cut.tasks as u64, self.cut.grain as u64);
        member.share(tasks, grain, &|worker, range| {
            // SAFETY: no two calls of one worker run at a time.
            let mut own = unsafe { self.own(worker) };
            for task in range {
                // SAFETY: all columns are packed. Different tasks write different elements, for the product's
                // validation found its result's strides injective.
                unsafe { self.task(task as usize, &mut own) };
            }
        });
    }

    /// Packs those of all products' panels of columns.
    ///
    /// # Safety
    /// Nobody else uses these panels meanwhile.
    unsafe fn pack_columns(&self, panels: Range<usize>) {
        let dot = self.dot;
        for panel in panels {
            // SAFETY: the workspace has room for every panel's blocks, and these are the caller's alone.
            let packed = unsafe {
                slice::from_raw_parts_mut(self.columns.add(panel * dot.blocks), dot.blocks)
            };
            let (product, first) = (panel / self.panels, panel % self.panels * COLUMNS);
            let lines = self.lines(&dot.columns, self.column_bytes, product, first, COLUMNS);
            dot.decoder.pack_columns(dot.level, &lines, packed);
        }
    }

    /// The packed blocks of one panel of one product.
    ///
    /// # Safety
    /// The panel is packed, and nobody writes it any more.
    unsafe fn packed_columns(&self, product: usize, panel: usize) -> &[ColumnBlock<GROUPS>] {
        let first = (product * self.panels + panel) * self.dot.blocks;
        // SAFETY: the workspace has room for every panel's blocks; the caller's promise.
        unsafe { slice::from_raw_parts(self.columns.add(first), self.dot.blocks) }
    }

    /// A thread's own part of the workspace.
    ///
    /// # Safety
    /// There is no other one of that worker.
    unsafe fn own(&self, worker: usize) -> Own<'_, GROUPS> {
        let stretch = self.dot.stretch;
        let offset = worker * Self::worker_bytes(&self.cut, stretch);
        // SAFETY: the workspace has room for every worker's part; all parts are aligned as tiles are, and zeros or
        // whatever else is there are numbers.
        unsafe {
            let tiles = self.workers.add(offset).cast::<Tile>();
            let rows = tiles.add(self.cut.tiles()).cast();
            Own {
                tiles: slice::from_raw_parts_mut(tiles, self.cut.tiles()),
                rows: slice::from_raw_parts_mut(rows, self.cut.row_panels() * stretch),
            }
        }
    }

    /// Computes one task's part of the result.
    ///
    /// # Safety
    /// All columns are packed; nobody else reads or writes the task's part of the result.
    unsafe fn task(&self, task: usize, own: &mut Own<'_, GROUPS>) {
        let (dot, cut) = (self.dot, &self.cut);
        let product = task / (cut.row_tasks * cut.column_tasks);
        let first_row = task / cut.column_tasks % cut.row_tasks * cut.rows;
        let first_column = task % cut.column_tasks * cut.columns;
        let row_panels = cut.rows.min(dot.rows.count - first_row).div_ceil(ROWS);
        let columns = cut.columns.min(dot.columns.count - first_column);
        let mut begin = 0;
        loop {
            let end = dot.blocks.min(begin + dot.stretch);
            let length = end - begin;
            for panel in 0..row_panels {
                let first = first_row + panel * ROWS;
                let lines = self.lines(&dot.rows, self.row_bytes, product, first, ROWS);
                let packed = &mut own.rows[panel * length..][..length];
                dot.decoder.pack_rows(dot.level, &lines, begin..end, packed);
            }
            for column_panel in 0..columns.div_ceil(COLUMNS) {
                let column = first_column + column_panel * COLUMNS;
                // SAFETY: the caller's promise.
                let panel = unsafe { self.packed_columns(product, column / COLUMNS) };
                for row_panel in 0..row_panels {
                    let row = first_row + row_panel * ROWS;
                    let tile = &mut own.tiles[column_panel * row_panels + row_panel];
                    if begin == 0 {
                        *tile = Tile::ZERO;
                    }
                    let rows = &own.rows[row_panel * length..][..length];
                    accumulate(dot.level, rows, &panel[begin..end], tile);
                    if end == dot.blocks {
                        // SAFETY: the caller's promise.
                        unsafe { self.store(product, row, column, tile) };
                    }
                }
            }
            begin = end;
            if begin == dot.blocks {
                return;
            }
        }
    }

    /// Writes a tile, without what reaches over the product's edges.
    ///
    /// # Safety
    /// Nobody else reads or writes the tile's part of the result.
    unsafe fn store(&self, product: usize, row: usize, column: usize, tile: &Tile) {
        let dot = self.dot;
        let strides = dot.product.batch.iter().map(|d| d.result_stride);
        let offset = self.batch_offset(product, strides)
            + row * dot.result.row_stride
            + column * dot.result.column_stride;
        let columns = COLUMNS.min(dot.columns.count - column);
        let rows = ROWS.min(dot.rows.count - row);
        let column_stride = dot.result.column_stride;
        for (row, accumulators) in tile.0.iter().enumerate().take(rows) {
            let values = accumulators[..columns]
                .iter()
                .map(|sum| sum * RESULT_SCALE * self.tensor_scale);
            // SAFETY: the result has room for what its strides reach, and these elements are the caller's alone.
            unsafe {
                let first = self.result.add(offset + row * dot.result.row_stride);
                if column_stride == 1 {
                    // A loop of its own, for vectors.
                    for (column, value) in values.enumerate() {
                        *first.add(column) = value;
                    }
                } else {
                    for (column, value) in values.enumerate() {
                        *first.add(column * column_stride) = value;
                    }
                }
            }
        }
    }

    /// At most `count` of a side's lines in one product, from line `first` on.
    fn lines(
        &self,
        side: &'a Side,
        bytes: &'a [u8],
        product: usize,
        first: usize,
        count: usize,
    ) -> Lines<'a> {
        let offset = self.batch_offset(product, side.batch_strides.iter().copied());
        Lines {
            storage: &side.storage,
            bytes,
            first: offset + first * side.stride,
            step: side.stride,
            count: count.min(side.count - first),
        }
    }

    /// Where a product starts; products are counted with the last batch dimension fastest.
    fn batch_offset(
        &self,
        mut product: usize,
        strides: impl DoubleEndedIterator<Item = usize> + ExactSizeIterator,
    ) -> usize {
        let dimensions = self.dot.product.batch.iter().zip(strides).rev();
        let offsets = dimensions.map(|(dimension, stride)| {
            let index = product % dimension.extent;
            product /= dimension.extent;
            index * stride
        });
        offsets.sum()
    }
}

/// Adds the products of blocks to a tile.
fn accumulate<const GROUPS: usize>(
    level: Level,
    rows: &[RowBlock<GROUPS>],
    columns: &[ColumnBlock<GROUPS>],
    tile: &mut Tile,
) {
    match level {
        Level::Portable => portable::accumulate(rows, columns, tile),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a level is only in use on a CPU that has its instructions.
        Level::Avx2 => unsafe { avx2::accumulate(rows, columns, tile) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::AvxVnni => unsafe { avx2::accumulate_vnni(rows, columns, tile) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx512Vnni => unsafe { avx512::accumulate(rows, columns, tile) },
        #[cfg(not(target_arch = "x86_64"))]
        Level::Avx2 | Level::AvxVnni | Level::Avx512Vnni => unreachable!("a level of x86-64"),
    }
}

/// The factor of a whole operand.
fn tensor_scale(scaled_type: &ScaledType, bytes: &[u8]) -> f32 {
    if !scaled_type.format().has_tensor_scale() {
        return 1.0;
    }
    let scale = bytes[scaled_type.tensor_scale_offset()..].first_chunk();
    f32::from_le_bytes(*scale.expect("the tensor scale is the last part of a scaled tensor"))
}
