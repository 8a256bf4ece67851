//! One launch of a product: packs the columns, shares the tasks out, writes the result.

use super::cut::Cut;
use super::kernel::Kernel;
use super::pack::Lines;
use super::{ScaledDot, ScaledDotBuffers, Side};
use crate::bundle::MatrixLayout;
use crate::executor::prefetch;
use crate::executor::team::Member;
use std::ops::Range;
use std::slice;
use tessera_numerics::ScaledType;

/// The elements that are worth a thread to pack.
const PACK_WORK: usize = 1 << 17;

/// A launch.
pub(super) struct Launch<'a, K: Kernel> {
    kernel: K,
    dot: &'a ScaledDot,
    cut: Cut,
    row_bytes: &'a [u8],
    column_bytes: &'a [u8],
    /// The packed columns: of each product its panels, of each panel its blocks.
    columns: *mut K::ColumnBlock,
    /// The panels of one product.
    panels: usize,
    /// The threads' own parts of the workspace.
    workers: *mut u8,
    result: *mut f32,
    tensor_scale: f32,
}

// SAFETY: the addresses are used by unsafe functions, which state what must hold of them.
unsafe impl<K: Kernel> Sync for Launch<'_, K> {}

/// The part of a result that is one tile's.
struct Place {
    /// Of the first element.
    offset: usize,
    rows: usize,
    columns: usize,
}

/// One thread's own part of the workspace.
struct Own<'a, K: Kernel> {
    tiles: &'a mut [K::Tile],
    rows: &'a mut [K::RowBlock],
}

impl<'a, K: Kernel> Launch<'a, K> {
    /// # Safety
    /// The buffers are as [`ScaledDot::run`] wants them, for as long as the launch lives, with the workspace of a team
    /// of `threads`; the kernel is that of the product's geometry.
    pub(super) unsafe fn new(
        kernel: K,
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
            kernel,
            dot,
            cut: dot.cut(threads),
            row_bytes,
            column_bytes,
            columns: buffers.workspace.cast(),
            panels: dot.columns.count.div_ceil(K::GEOMETRY.columns),
            workers,
            result: buffers.result,
            tensor_scale: tensor_scale(lhs_type, lhs) * tensor_scale(rhs_type, rhs),
        }
    }

    /// Computes the results.
    ///
    /// # Safety
    /// As for [`new`](Self::new); nothing else runs on the launch's workspace and result meanwhile.
    pub(super) unsafe fn run(&self, member: Member) {
        let panel_elements = K::GEOMETRY.columns * self.dot.axis.max(1);
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
            let _session = self.kernel.begin();
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
            let (product, first) = (
                panel / self.panels,
                panel % self.panels * K::GEOMETRY.columns,
            );
            let count = K::GEOMETRY.columns;
            let lines = self.lines(&dot.columns, self.column_bytes, product, first, count);
            self.kernel.pack_columns(&dot.decoder, &lines, packed);
        }
    }

    /// The packed blocks of one panel of one product.
    ///
    /// # Safety
    /// The panel is packed, and nobody writes it any more.
    unsafe fn packed_columns(&self, product: usize, panel: usize) -> &[K::ColumnBlock] {
        let first = (product * self.panels + panel) * self.dot.blocks;
        // SAFETY: the workspace has room for every panel's blocks; the caller's promise.
        unsafe { slice::from_raw_parts(self.columns.add(first), self.dot.blocks) }
    }

    /// A thread's own part of the workspace.
    ///
    /// # Safety
    /// There is no other one of that worker.
    unsafe fn own(&self, worker: usize) -> Own<'_, K> {
        let stretch = self.dot.stretch;
        let offset = worker * K::GEOMETRY.worker_bytes(&self.cut, stretch);
        // SAFETY: the workspace has room for every worker's part; all parts are aligned as tiles are, and zeros or
        // whatever else is there are numbers.
        unsafe {
            let tiles = self.workers.add(offset).cast::<K::Tile>();
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
    unsafe fn task(&self, task: usize, own: &mut Own<'_, K>) {
        let (dot, cut) = (self.dot, &self.cut);
        let product = task / (cut.row_tasks * cut.column_tasks);
        let first_row = task / cut.column_tasks % cut.row_tasks * cut.rows;
        let first_column = task % cut.column_tasks * cut.columns;
        let row_panels = cut
            .rows
            .min(dot.rows.count - first_row)
            .div_ceil(K::GEOMETRY.rows);
        let columns = cut.columns.min(dot.columns.count - first_column);
        let mut begin = 0;
        loop {
            let end = dot.blocks.min(begin + dot.stretch);
            let length = end - begin;
            for panel in 0..row_panels {
                let first = first_row + panel * K::GEOMETRY.rows;
                let count = K::GEOMETRY.rows;
                let lines = self.lines(&dot.rows, self.row_bytes, product, first, count);
                let packed = &mut own.rows[panel * length..][..length];
                self.kernel
                    .pack_rows(&dot.decoder, &lines, begin..end, packed);
            }
            for column_panel in 0..columns.div_ceil(K::GEOMETRY.columns) {
                let column = first_column + column_panel * K::GEOMETRY.columns;
                // SAFETY: the caller's promise.
                let panel = unsafe { self.packed_columns(product, column / K::GEOMETRY.columns) };
                for row_panel in 0..row_panels {
                    let row = first_row + row_panel * K::GEOMETRY.rows;
                    // What is done in one stretch needs no place of its own.
                    let place = match length == dot.blocks {
                        true => 0,
                        false => column_panel * row_panels + row_panel,
                    };
                    let tile = &mut own.tiles[place];
                    let rows = &own.rows[row_panel * length..][..length];
                    let columns = &panel[begin..end];
                    let result = self.place(product, row, column);
                    if end == dot.blocks {
                        self.prefetch(&result);
                    }
                    self.kernel.accumulate(begin == 0, rows, columns, tile);
                    if end == dot.blocks {
                        // SAFETY: the caller's promise.
                        unsafe { self.store(&result, tile) };
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
    unsafe fn store(&self, place: &Place, tile: &K::Tile) {
        let Place {
            offset,
            rows,
            columns,
        } = *place;
        let MatrixLayout {
            row_stride,
            column_stride,
        } = self.dot.result;
        let lines = tile.as_ref().chunks_exact(K::GEOMETRY.columns);
        for (row, accumulators) in lines.enumerate().take(rows) {
            let sums = &accumulators[..columns];
            // SAFETY: the result has room for what its strides reach, and these elements are the caller's alone.
            unsafe {
                let first = self.result.add(offset + row * row_stride);
                if column_stride == 1 {
                    self.kernel.write(sums, self.tensor_scale, first);
                } else {
                    for (column, sum) in sums.iter().enumerate() {
                        let value = sum * K::RESULT_SCALE * self.tensor_scale;
                        *first.add(column * column_stride) = value;
                    }
                }
            }
        }
    }

    /// Fetches what [`store`](Self::store) will write to, so that it need not wait.
    fn prefetch(&self, place: &Place) {
        /// Elements of a cache line.
        const LINE: usize = 64 / size_of::<f32>();
        let layout = self.dot.result;
        if layout.column_stride == 1 {
            for row in 0..place.rows {
                for column in (0..place.columns).step_by(LINE) {
                    let offset = place.offset + row * layout.row_stride + column;
                    prefetch::to_write(self.result.wrapping_add(offset));
                }
            }
        }
    }

    /// Where the tile from there on lies in the result.
    fn place(&self, product: usize, row: usize, column: usize) -> Place {
        let dot = self.dot;
        let strides = dot.product.batch.iter().map(|d| d.result_stride);
        Place {
            offset: self.batch_offset(product, strides)
                + row * dot.result.row_stride
                + column * dot.result.column_stride,
            rows: K::GEOMETRY.rows.min(dot.rows.count - row),
            columns: K::GEOMETRY.columns.min(dot.columns.count - column),
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

/// The factor of a whole operand.
fn tensor_scale(scaled_type: &ScaledType, bytes: &[u8]) -> f32 {
    if !scaled_type.format().has_tensor_scale() {
        return 1.0;
    }
    let scale = bytes[scaled_type.tensor_scale_offset()..].first_chunk();
    f32::from_le_bytes(*scale.expect("the tensor scale is the last part of a scaled tensor"))
}
