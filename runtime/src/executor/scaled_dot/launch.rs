//! One launch of a product: packs the columns, shares the tasks out, writes the result.

use super::cut::Cut;
use super::epilogue::{self, is_along_columns};
use super::kernel::Kernel;
use super::pack::Lines;
use super::{Groups, ScaledDot, ScaledDotBuffers};
use crate::bundle::MatrixLayout;
use crate::executor::prefetch;
use crate::executor::row_function::RowFunction;
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
    /// What an epilogue is given.
    epilogue_buffers: &'a [*mut u8],
    tensor_scale: f32,
    groups: &'a Groups,
    /// Of a grouped product, how many tasks the groups before each have.
    first_tasks: Vec<usize>,
}

/// One product of a launch.
struct Part {
    /// The first of its rows in storage.
    rows_offset: usize,
    rows: usize,
    /// What is summed over, and the blocks that lies in.
    elements: Range<usize>,
    blocks: Range<usize>,
    /// Which of the packed panels of columns are its.
    columns: usize,
    result_offset: usize,
}

// SAFETY: the addresses are used by unsafe functions, which state what must hold of them.
unsafe impl<K: Kernel> Sync for Launch<'_, K> {}

/// The part of a product that is one task's.
struct Area {
    row: usize,
    column: usize,
    rows: usize,
    columns: usize,
    /// Where its first element goes.
    first: *mut f32,
    /// How it lies there.
    layout: MatrixLayout,
}

/// The part of a product that is one tile's.
struct Place {
    first: *mut f32,
    layout: MatrixLayout,
    rows: usize,
    columns: usize,
}

/// One thread's own part of the workspace.
struct Own<'a, K: Kernel> {
    tiles: &'a mut [K::Tile],
    rows: &'a mut [K::RowBlock],
    /// A task's part of the product; without room where there is no epilogue.
    product: *mut f32,
}

impl<'a, K: Kernel> Launch<'a, K> {
    /// # Safety
    /// The buffers are as [`ScaledDot::run`] wants them, for as long as the launch lives, with the workspace of a team
    /// of `threads`; the kernel is that of the product's geometry.
    pub(super) unsafe fn new(
        kernel: K,
        dot: &'a ScaledDot,
        threads: usize,
        buffers: &ScaledDotBuffers<'a>,
        groups: &'a Groups,
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
        let mut cut = dot.cut(threads);
        let tasks = |rows: usize| rows.div_ceil(cut.rows) * cut.column_tasks;
        let counts: Vec<usize> = match groups {
            Groups::None => Vec::new(),
            Groups::Rows(ranges) => ranges.iter().map(|rows| tasks(rows.len())).collect(),
            Groups::Depth(ranges) => vec![tasks(dot.rows.count); ranges.len()],
        };
        let first_tasks = counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum - count)
        });
        let first_tasks = first_tasks.collect();
        if !matches!(groups, Groups::None) {
            cut.tasks = counts.iter().sum();
        }
        Self {
            kernel,
            dot,
            groups,
            first_tasks,
            cut,
            row_bytes,
            column_bytes,
            columns: buffers.workspace.cast(),
            panels: dot.columns.count.div_ceil(K::GEOMETRY.columns),
            workers,
            result: buffers.result,
            epilogue_buffers: buffers.epilogue,
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
            if matches!(self.groups, Groups::Rows(ranges) if ranges[panel / self.panels].is_empty())
            {
                continue;
            }
            // SAFETY: the workspace has room for every panel's blocks, and these are the caller's alone.
            let packed = unsafe {
                slice::from_raw_parts_mut(self.columns.add(panel * dot.blocks), dot.blocks)
            };
            let (product, first) = (
                panel / self.panels,
                panel % self.panels * K::GEOMETRY.columns,
            );
            let offset = self.batch_offset(product, dot.columns.batch_strides.iter().copied());
            let lines = Lines {
                storage: &dot.columns.storage,
                bytes: self.column_bytes,
                first: offset + first * dot.columns.stride,
                step: dot.columns.stride,
                count: K::GEOMETRY.columns.min(dot.columns.count - first),
            };
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
        let (stretch, has_epilogue) = (self.dot.stretch, self.dot.epilogue.is_some());
        let offset = worker * K::GEOMETRY.worker_bytes(&self.cut, stretch, has_epilogue);
        // SAFETY: the workspace has room for every worker's part; all parts are aligned as tiles are, and zeros or
        // whatever else is there are numbers.
        unsafe {
            let tiles = self.workers.add(offset).cast::<K::Tile>();
            let rows = tiles.add(self.cut.tiles()).cast::<u8>();
            let product = rows.add(K::GEOMETRY.row_bytes(&self.cut, stretch));
            Own {
                tiles: slice::from_raw_parts_mut(tiles, self.cut.tiles()),
                rows: slice::from_raw_parts_mut(rows.cast(), self.cut.row_panels() * stretch),
                product: product.cast(),
            }
        }
    }

    /// Computes one task's part of the result.
    ///
    /// # Safety
    /// All columns are packed; nobody else reads or writes the task's part of the result.
    unsafe fn task(&self, task: usize, own: &mut Own<'_, K>) {
        let (dot, cut) = (self.dot, &self.cut);
        let (number, task) = match self.groups {
            Groups::None => {
                let tasks = cut.row_tasks * cut.column_tasks;
                (task / tasks, task % tasks)
            }
            Groups::Rows(_) | Groups::Depth(_) => {
                // A group without tasks has the first task of the next.
                let number = self.first_tasks.partition_point(|&first| first <= task) - 1;
                (number, task - self.first_tasks[number])
            }
        };
        let part = self.part(number);
        let area = self.area(&part, task, own.product);
        let row_panels = area.rows.div_ceil(K::GEOMETRY.rows);
        let mut begin = part.blocks.start;
        loop {
            let end = part.blocks.end.min(begin + dot.stretch);
            let length = end - begin;
            for panel in 0..row_panels {
                let first = area.row + panel * K::GEOMETRY.rows;
                let lines = Lines {
                    storage: &dot.rows.storage,
                    bytes: self.row_bytes,
                    first: part.rows_offset + first * dot.rows.stride,
                    step: dot.rows.stride,
                    count: K::GEOMETRY.rows.min(part.rows - first),
                };
                let packed = &mut own.rows[panel * length..][..length];
                self.kernel
                    .pack_rows(&dot.decoder, &lines, begin..end, packed);
                self.mask(&part, begin, packed);
            }
            for column_panel in 0..area.columns.div_ceil(K::GEOMETRY.columns) {
                let column = area.column + column_panel * K::GEOMETRY.columns;
                // SAFETY: the caller's promise.
                let panel =
                    unsafe { self.packed_columns(part.columns, column / K::GEOMETRY.columns) };
                for row_panel in 0..row_panels {
                    // What is done in one stretch needs no place of its own.
                    let place = match length == part.blocks.len() {
                        true => 0,
                        false => column_panel * row_panels + row_panel,
                    };
                    let tile = &mut own.tiles[place];
                    let rows = &own.rows[row_panel * length..][..length];
                    let columns = &panel[begin..end];
                    let result = area.place::<K>(row_panel, column_panel);
                    if end == part.blocks.end && dot.epilogue.is_none() {
                        Self::prefetch(&result);
                    }
                    let fresh = begin == part.blocks.start;
                    self.kernel.accumulate(fresh, rows, columns, tile);
                    if end == part.blocks.end {
                        // SAFETY: the caller's promise.
                        unsafe { self.store(&result, tile) };
                    }
                }
            }
            begin = end;
            if begin == part.blocks.end {
                break;
            }
        }
        if let Some(function) = &dot.epilogue {
            // SAFETY: the area is computed, and the caller's alone.
            unsafe { self.finish(function, &part, &area) };
        }
    }

    /// Computes the results at an area of the product.
    ///
    /// # Safety
    /// The product's area is where it says; nobody else reads or writes the results there.
    unsafe fn finish(&self, function: &RowFunction, part: &Part, area: &Area) {
        let (dot, local) = (self.dot, area.layout);
        let MatrixLayout {
            row_stride,
            column_stride,
        } = dot.result;
        let (lines, length, stride, place_stride) =
            match is_along_columns(dot.result, dot.columns.count) {
                true => (area.rows, area.columns, row_stride, local.row_stride),
                false => (area.columns, area.rows, column_stride, local.column_stride),
            };
        let lines = epilogue::Lines {
            first: part.result_offset + area.row * row_stride + area.column * column_stride,
            lines,
            length,
            stride,
            place_stride,
        };
        // SAFETY: validation found the function to be the product's epilogue; the launch's buffers are its, and the
        // caller's promise.
        unsafe { epilogue::run(function, self.epilogue_buffers, &lines, area.first) };
    }

    /// Writes a tile, without what reaches over the product's edges.
    ///
    /// # Safety
    /// Nobody else reads or writes the tile's part of the result.
    unsafe fn store(&self, place: &Place, tile: &K::Tile) {
        let Place {
            first: place,
            layout,
            rows,
            columns,
        } = *place;
        let MatrixLayout {
            row_stride,
            column_stride,
        } = layout;
        let lines = tile.as_ref().chunks_exact(K::GEOMETRY.columns);
        for (row, accumulators) in lines.enumerate().take(rows) {
            let sums = &accumulators[..columns];
            // SAFETY: the result has room for what its strides reach, and these elements are the caller's alone.
            unsafe {
                let first = place.add(row * row_stride);
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
    fn prefetch(place: &Place) {
        /// Elements of a cache line.
        const LINE: usize = 64 / size_of::<f32>();
        if place.layout.column_stride == 1 {
            for row in 0..place.rows {
                for column in (0..place.columns).step_by(LINE) {
                    let offset = row * place.layout.row_stride + column;
                    prefetch::to_write(place.first.wrapping_add(offset));
                }
            }
        }
    }

    /// The area of a product's task: in the result, or at `own` where an epilogue is computed of it.
    fn area(&self, part: &Part, task: usize, own: *mut f32) -> Area {
        let (dot, cut) = (self.dot, &self.cut);
        let row = task / cut.column_tasks * cut.rows;
        let column = task % cut.column_tasks * cut.columns;
        let layout = dot.result;
        let (first, layout) = match dot.epilogue {
            None => {
                let offset = row * layout.row_stride + column * layout.column_stride;
                let first = self.result.wrapping_add(part.result_offset + offset);
                (first, layout)
            }
            Some(_) if is_along_columns(layout, dot.columns.count) => {
                let layout = MatrixLayout {
                    row_stride: cut.columns,
                    column_stride: 1,
                };
                (own, layout)
            }
            Some(_) => {
                let layout = MatrixLayout {
                    row_stride: 1,
                    column_stride: cut.rows,
                };
                (own, layout)
            }
        };
        Area {
            row,
            column,
            rows: cut.rows.min(part.rows - row),
            columns: cut.columns.min(dot.columns.count - column),
            first,
            layout,
        }
    }

    /// A product of the launch, or a group.
    fn part(&self, number: usize) -> Part {
        let dot = self.dot;
        let whole = Part {
            rows_offset: 0,
            rows: dot.rows.count,
            elements: 0..dot.axis,
            blocks: 0..dot.blocks,
            columns: 0,
            result_offset: 0,
        };
        match self.groups {
            Groups::None => {
                let results = dot.product.batch.iter().map(|d| d.result_stride);
                let rows = dot.rows.batch_strides.iter().copied();
                Part {
                    rows_offset: self.batch_offset(number, rows),
                    columns: number,
                    result_offset: self.batch_offset(number, results),
                    ..whole
                }
            }
            Groups::Rows(ranges) => Part {
                rows_offset: ranges[number].start * dot.rows.stride,
                rows: ranges[number].len(),
                columns: number,
                result_offset: ranges[number].start * dot.result.row_stride,
                ..whole
            },
            Groups::Depth(ranges) => {
                let elements = ranges[number].clone();
                let block = self.block();
                Part {
                    blocks: match elements.is_empty() {
                        true => 0..0,
                        false => elements.start / block..elements.end.div_ceil(block),
                    },
                    elements,
                    result_offset: number * dot.rows.count * dot.columns.count,
                    ..whole
                }
            }
        }
    }

    /// The elements of a block.
    fn block(&self) -> usize {
        self.dot.axis / self.dot.blocks.max(1)
    }

    /// Clears what a part does not sum over of its packed rows' blocks, the first of them `first`.
    fn mask(&self, part: &Part, first: usize, packed: &mut [K::RowBlock]) {
        let block = self.block();
        let ends = [part.elements.start, part.elements.end].into_iter();
        for end in ends.filter(|end| !end.is_multiple_of(block)) {
            let number = end / block;
            let Some(packed) = number.checked_sub(first).and_then(|n| packed.get_mut(n)) else {
                continue;
            };
            let begin = number * block;
            let elements = part.elements.start.max(begin)..part.elements.end.min(begin + block);
            self.kernel
                .keep(elements.start - begin..elements.end - begin, packed);
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

impl Area {
    /// Where a tile of the area goes.
    fn place<K: Kernel>(&self, row_panel: usize, column_panel: usize) -> Place {
        let row = row_panel * K::GEOMETRY.rows;
        let column = column_panel * K::GEOMETRY.columns;
        let offset = row * self.layout.row_stride + column * self.layout.column_stride;
        Place {
            first: self.first.wrapping_add(offset),
            layout: self.layout,
            rows: K::GEOMETRY.rows.min(self.rows - row),
            columns: K::GEOMETRY.columns.min(self.columns - column),
        }
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
