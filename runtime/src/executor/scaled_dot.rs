//! Products of scaled tensors: nvfp4 and mxfp4, in integer arithmetic.
//!
//! # What is computed
//! Twice an E2M1 number is an integer of at most 12, so a block's sum of products is an integer too, and exact. With
//! `x` and `y` those integers, `s` and `t` the block scales of a row and a column, `S` and `T` the tensor scales:
//!
//! ```text
//! a = 0
//! for each block b along the axis, in order:
//!     I = Σ xᵢ·yᵢ                       over the block, exact
//!     a = a + s_b·t_b·I·2⁻²²            one rounding to f32: the term itself is not rounded
//! result = (a·2²⁰)·(S·T)                each product rounded to f32; S and T are 1 for mxfp4
//! ```
//!
//! All roundings are to nearest even. This order is the definition: no vector instruction, tile or thread changes a
//! bit, for nobody splits the axis between threads or accumulators. The powers of two are there so that no intermediate
//! overflows before the result does: the accumulator of numbers near the smallest f32 is subnormal, which costs an
//! mxfp4 result at most 2⁻¹³⁰ a block. A scale of NaN makes a NaN of all that its row or column meets.
//!
//! # How
//! Rows and columns are packed as bytes ([`pack`], [`tile`]), columns plus 12 so that they are not negative, as the
//! products of unsigned with signed bytes want it (`vpdpbusd`, `vpmaddubsw`). A row's sum starts at what takes the bias
//! away again, plus the bits of 3: read as an f32 the sum then *is* `3 + I·2⁻²²`, and `s·(3 + I·2⁻²²) − 3·s` is
//! an exact fused multiply-add. Another with `t` ends the block. So with AVX-512 VNNI 16×16 multiply-adds of an nvfp4
//! block are four `vpdpbusd` and two `vfmadd`, six instructions at two a cycle: 85.3 multiply-adds a cycle, 2.67 times
//! the 32 of f32. An mxfp4 block is eight and two: 102.4 a cycle, 3.2 times. Those are the floors.
//!
//! All columns are packed first, by all threads together. Then each thread takes some rows and some columns, packs
//! the rows for a stretch of the axis, and multiplies tile by tile, the columns of a tile in the nearest cache and the
//! rows in the next.

mod error;
mod level;
mod pack;
mod portable;
mod tile;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

#[cfg(test)]
mod tests;

pub use error::ScaledDotError;
pub use level::Level;

use super::error::RunError;
use super::memory::Memory;
use super::team::{Member, Team};
use crate::bundle::strides::{Axis, describe, is_injective, span};
use crate::bundle::{ALIGNMENT, BatchDimension, MatrixLayout};
use pack::{Decoder, Lines};
use tessera_numerics::{Format, ScaledType};
use tile::{COLUMNS, ColumnBlock, ROWS, RowBlock, Tile};

/// The words of an nvfp4 block.
const NVFP4_GROUPS: usize = 4;

/// The words of an mxfp4 block.
const MXFP4_GROUPS: usize = 8;

/// Elements along the axis between two roundings through memory: packed, they and [`COLUMNS`] columns of them are half
/// of a cache of 48 KiB.
const STRETCH: usize = 512;

/// Rows and columns of a task, the first that makes enough tasks. Fewer columns pack rows more often, fewer rows load
/// columns more often.
const TASK_SHAPES: [(usize, usize); 5] = [(64, 1024), (64, 512), (32, 512), (32, 256), (16, 256)];

/// As many tasks keep the threads of a large machine busy to the end.
const ENOUGH_TASKS: usize = 32;

/// The multiply-adds that are worth a task: about 50 microseconds.
const TASK_WORK: u128 = 1 << 23;

/// The elements that are worth a thread to pack.
const PACK_WORK: usize = 1 << 17;

/// A product of scaled tensors, or a batch of them: what is multiplied and where it lies.
///
/// `result[b, i, j]` is the product of a row of the lhs' storage and one of the rhs', both along their axes. Row 0 of
/// product 0 is the first of the storage; strides of the operands count its rows, those of the result its elements.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ScaledProduct {
    /// The lhs.
    pub lhs: ScaledType,
    /// The rhs.
    pub rhs: ScaledType,
    /// The rows of a result.
    pub m: usize,
    /// The columns of a result.
    pub n: usize,
    /// The batch, slowest dimension first.
    pub batch: Vec<BatchDimension>,
    /// Rows of the lhs' storage from one of the m to the next.
    pub lhs_stride: usize,
    /// Rows of the rhs' storage from one of the n to the next.
    pub rhs_stride: usize,
    /// How a result lies.
    pub result: MatrixLayout,
}

impl ScaledProduct {
    /// All rows of `lhs` by all rows of `rhs`, the result row-major.
    pub fn dense(lhs: ScaledType, rhs: ScaledType) -> Self {
        let (m, n) = (lhs.rows(), rhs.rows());
        Self {
            lhs,
            rhs,
            m,
            n,
            batch: Vec::new(),
            lhs_stride: 1,
            rhs_stride: 1,
            result: MatrixLayout {
                row_stride: n,
                column_stride: 1,
            },
        }
    }

    fn axes(&self, inner: &[Axis], stride: impl Fn(&BatchDimension) -> usize) -> Vec<Axis> {
        let batch = self.batch.iter();
        batch
            .map(|dimension| (dimension.extent, stride(dimension)))
            .chain(inner.iter().copied())
            .collect()
    }

    fn lhs_axes(&self) -> Vec<Axis> {
        self.axes(&[(self.m, self.lhs_stride)], |d| d.lhs_stride)
    }

    fn rhs_axes(&self) -> Vec<Axis> {
        self.axes(&[(self.n, self.rhs_stride)], |d| d.rhs_stride)
    }

    fn result_axes(&self) -> Vec<Axis> {
        let inner = [
            (self.m, self.result.row_stride),
            (self.n, self.result.column_stride),
        ];
        self.axes(&inner, |d| d.result_stride)
    }

    /// Checks everything but the sizes of buffers.
    fn validate(&self) -> Result<(), ScaledDotError> {
        for (operand, scaled_type, axes) in [
            ("lhs", &self.lhs, self.lhs_axes()),
            ("rhs", &self.rhs, self.rhs_axes()),
        ] {
            if !matches!(scaled_type.format(), Format::Nvfp4 | Format::Mxfp4) {
                let found = scaled_type.clone();
                return Err(ScaledDotError::Format { operand, found });
            }
            if span(&axes).is_none_or(|span| span > scaled_type.rows()) {
                return Err(ScaledDotError::Strides {
                    operand,
                    expected: scaled_type.rows(),
                    found: describe(&axes),
                });
            }
        }
        let (lhs, rhs) = (self.lhs.clone(), self.rhs.clone());
        if lhs.format() != rhs.format() {
            return Err(ScaledDotError::Formats { lhs, rhs });
        }
        if lhs.columns() != rhs.columns() {
            return Err(ScaledDotError::Contraction { lhs, rhs });
        }
        let axes = self.result_axes();
        if span(&axes).is_none() || !is_injective(&axes) {
            let found = describe(&axes);
            return Err(ScaledDotError::Result { found });
        }
        Ok(())
    }

    /// The products of the batch; 0 where they have no elements.
    fn products(&self) -> usize {
        let extents = self.batch.iter().map(|dimension| dimension.extent);
        if self.m == 0 || self.n == 0 || extents.clone().any(|extent| extent == 0) {
            // Other extents may be too large to multiply.
            return 0;
        }
        // Validation found that the result has an element of its own for each.
        extents.product()
    }
}

/// One side of a product.
#[derive(Clone, Debug)]
struct Side {
    scaled_type: ScaledType,
    /// The rows of storage that take part in one product.
    count: usize,
    stride: usize,
    /// By batch dimension.
    batch_strides: Vec<usize>,
}

/// A product of scaled tensors with its cuts into tasks.
#[derive(Clone, Debug)]
pub struct ScaledDot {
    product: ScaledProduct,
    level: Level,
    decoder: Box<Decoder>,
    /// Whether the lhs' rows are the columns of tiles.
    transposed: bool,
    rows: Side,
    columns: Side,
    /// Strides of the result along `rows` and `columns`.
    result: MatrixLayout,
    products: usize,
    blocks: usize,
    /// Blocks between two roundings through memory.
    stretch: usize,
    /// Rows and columns of a task, whole tiles.
    task: (usize, usize),
    /// Tasks along the rows and along the columns of one product.
    tasks: (usize, usize),
    column_bytes: usize,
}

/// The addresses of a launch.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScaledDotBuffers {
    pub(super) lhs: *const u8,
    pub(super) rhs: *const u8,
    pub(super) result: *mut f32,
    pub(super) workspace: *mut u8,
}

// SAFETY: addresses; `ScaledDot::run`, which uses them, is unsafe and states what must hold of them.
unsafe impl Sync for ScaledDotBuffers {}

/// Memory for packed operands. One is enough for any number of products, one after the other.
pub struct Workspace(Memory);

impl Workspace {
    /// A workspace for `product` on that team.
    ///
    /// # Errors
    /// There is not enough memory.
    pub fn new(product: &ScaledDot, team: &Team) -> Result<Self, RunError> {
        let bytes = product.workspace_bytes(team.threads());
        let memory = Memory::zeroed(bytes).map_err(|error| RunError::OutOfMemory {
            bytes: error.bytes,
            purpose: "the operands of a scaled_dot".to_owned(),
        })?;
        Ok(Self(memory))
    }
}

impl ScaledDot {
    /// Cuts a product into tasks for this CPU's fastest level.
    ///
    /// # Errors
    /// The operands do not fit each other, are of another format than nvfp4 and mxfp4, or strides leave them, or two
    /// elements of the result would share a place.
    pub fn new(product: ScaledProduct) -> Result<Self, ScaledDotError> {
        product.validate()?;
        let products = product.products();
        let transposed = is_transposed(&product);
        let lhs = Side {
            scaled_type: product.lhs.clone(),
            count: product.m,
            stride: product.lhs_stride,
            batch_strides: product.batch.iter().map(|d| d.lhs_stride).collect(),
        };
        let rhs = Side {
            scaled_type: product.rhs.clone(),
            count: product.n,
            stride: product.rhs_stride,
            batch_strides: product.batch.iter().map(|d| d.rhs_stride).collect(),
        };
        let MatrixLayout {
            row_stride,
            column_stride,
        } = product.result;
        let (rows, columns, result) = if transposed {
            let result = MatrixLayout {
                row_stride: column_stride,
                column_stride: row_stride,
            };
            (rhs, lhs, result)
        } else {
            (lhs, rhs, product.result)
        };
        let blocks = rows.scaled_type.blocks_per_row();
        let (block_elements, scales) = rows
            .scaled_type
            .format()
            .block()
            .expect("validation refuses formats without blocks");
        let (row_count, column_count) = if products == 0 {
            (0, 0)
        } else {
            (rows.count, columns.count)
        };
        let task = task_shape(products, row_count, column_count, blocks * block_elements);
        let column_bytes = column_count
            .div_ceil(COLUMNS)
            .checked_mul(products)
            .and_then(|panels| panels.checked_mul(blocks))
            .and_then(|count| count.checked_mul(column_block_bytes(product.lhs.format())))
            .filter(|&bytes| bytes <= isize::MAX as usize / 2)
            .ok_or(ScaledDotError::TooLarge)?;
        let stretches = (blocks * block_elements).div_ceil(STRETCH).max(1);
        Ok(Self {
            level: Level::detect(),
            decoder: Box::new(Decoder::new(scales)),
            transposed,
            rows,
            columns,
            result,
            products,
            blocks,
            stretch: blocks.div_ceil(stretches),
            task,
            tasks: (row_count.div_ceil(task.0), column_count.div_ceil(task.1)),
            column_bytes,
            product,
        })
    }

    /// The same product computed with other instructions.
    ///
    /// # Errors
    /// This CPU does not have them.
    pub fn with_level(self, level: Level) -> Result<Self, ScaledDotError> {
        if !level.is_available() {
            return Err(ScaledDotError::Level { level });
        }
        Ok(Self { level, ..self })
    }

    /// What is multiplied.
    pub fn product(&self) -> &ScaledProduct {
        &self.product
    }

    /// The instructions it is computed with.
    pub fn level(&self) -> Level {
        self.level
    }

    /// The bytes of workspace that a launch on that many threads needs.
    pub fn workspace_bytes(&self, threads: usize) -> usize {
        self.column_bytes
            .saturating_add(threads.saturating_mul(self.worker_bytes()))
    }

    /// The bytes of one thread's own part of the workspace.
    fn worker_bytes(&self) -> usize {
        let row_bytes = match self.product.lhs.format() {
            Format::Mxfp4 => size_of::<RowBlock<MXFP4_GROUPS>>(),
            _ => size_of::<RowBlock<NVFP4_GROUPS>>(),
        };
        let rows = self.task.0 / ROWS * self.stretch * row_bytes;
        self.tiles() * size_of::<Tile>() + rows.next_multiple_of(ALIGNMENT)
    }

    /// The tiles of a task.
    fn tiles(&self) -> usize {
        self.task.0 / ROWS * (self.task.1 / COLUMNS)
    }

    /// Computes all products of the batch.
    ///
    /// # Errors
    /// An operand has not the bytes of its type, the result is too short for its strides, or the workspace was made for
    /// a smaller product or team.
    pub fn multiply(
        &self,
        team: &Team,
        workspace: &mut Workspace,
        lhs: &[u8],
        rhs: &[u8],
        result: &mut [f32],
    ) -> Result<(), ScaledDotError> {
        let sizes = [
            ("lhs", self.product.lhs.byte_size(), lhs.len(), true),
            ("rhs", self.product.rhs.byte_size(), rhs.len(), true),
            (
                "result",
                span(&self.product.result_axes()).unwrap_or(usize::MAX),
                result.len(),
                false,
            ),
            (
                "workspace",
                self.workspace_bytes(team.threads()),
                workspace.0.bytes().len(),
                false,
            ),
        ];
        for (buffer, expected, found, exactly) in sizes {
            if found < expected || exactly && found > expected {
                return Err(ScaledDotError::Buffer {
                    buffer,
                    expected,
                    found,
                });
            }
        }
        let buffers = ScaledDotBuffers {
            lhs: lhs.as_ptr(),
            rhs: rhs.as_ptr(),
            result: result.as_mut_ptr(),
            workspace: workspace.0.pointer(),
        };
        // SAFETY: the sizes are checked; the references exclude other writers and readers, and workspace memory is
        // aligned.
        team.enter(|member| unsafe { self.run(member, buffers) });
        Ok(())
    }

    /// Computes all products of the batch.
    ///
    /// # Safety
    /// The operands have the bytes of their types, the result has room for every element its strides reach, and the
    /// workspace for [`workspace_bytes`](Self::workspace_bytes), initialised, of the team's threads, from a multiple of
    /// [`ALIGNMENT`] on. Result and workspace share no memory with each other or with an operand; nobody else writes
    /// any of the four or reads these two meanwhile.
    pub(super) unsafe fn run(&self, member: Member, buffers: ScaledDotBuffers) {
        // SAFETY: the caller's promises.
        unsafe {
            match self.product.lhs.format() {
                Format::Nvfp4 => self.run_blocks::<NVFP4_GROUPS>(member, &buffers),
                Format::Mxfp4 => self.run_blocks::<MXFP4_GROUPS>(member, &buffers),
                other => unreachable!("construction refuses {other}"),
            }
        }
    }

    /// # Safety
    /// As for [`run`](Self::run), with the words of a block of the product's format.
    unsafe fn run_blocks<const GROUPS: usize>(&self, member: Member, buffers: &ScaledDotBuffers) {
        // SAFETY: the operands have that many bytes, which nobody writes.
        let (lhs, rhs) = unsafe {
            (
                std::slice::from_raw_parts(buffers.lhs, self.product.lhs.byte_size()),
                std::slice::from_raw_parts(buffers.rhs, self.product.rhs.byte_size()),
            )
        };
        let (row_bytes, column_bytes) = if self.transposed {
            (rhs, lhs)
        } else {
            (lhs, rhs)
        };
        let panels = self.columns.count.div_ceil(COLUMNS);
        let panel_elements = COLUMNS * self.blocks.max(1) * 4 * GROUPS;
        let all_panels = (self.products * panels) as u64;
        let grain = PACK_WORK.div_ceil(panel_elements) as u64;
        member.share(all_panels, grain, &|_, range| {
            for panel in range {
                let panel = panel as usize;
                // SAFETY: the workspace has room for every panel's blocks, and each is one call's alone.
                let packed = unsafe {
                    let first = buffers.workspace.cast::<ColumnBlock<GROUPS>>();
                    std::slice::from_raw_parts_mut(first.add(panel * self.blocks), self.blocks)
                };
                let lines = self.lines(
                    &self.columns,
                    column_bytes,
                    panel / panels,
                    panel % panels * COLUMNS,
                    COLUMNS,
                );
                self.decoder.pack_columns(self.level, &lines, packed);
            }
        });
        // SAFETY: the workspace starts with that many blocks, which are packed now; nobody writes them any more.
        let columns = unsafe {
            std::slice::from_raw_parts(
                buffers.workspace.cast::<ColumnBlock<GROUPS>>(),
                self.products * panels * self.blocks,
            )
        };
        let operands = Operands {
            row_bytes,
            columns,
            panels,
            // Either order of the factors gives the same bits.
            tensor_scale: tensor_scale(&self.product.lhs, lhs)
                * tensor_scale(&self.product.rhs, rhs),
        };
        let tasks = (self.products * self.tasks.0 * self.tasks.1) as u64;
        let task_work =
            (self.task.0 * self.task.1) as u128 * (self.blocks.max(1) * 4 * GROUPS) as u128;
        let grain = TASK_WORK.div_ceil(task_work) as u64;
        member.share(tasks, grain, &|worker, range| {
            // SAFETY: each worker has a part of its own behind the columns, large enough and aligned.
            let (tiles, rows) = unsafe {
                let own = buffers
                    .workspace
                    .add(self.column_bytes + worker * self.worker_bytes());
                let rows = own.add(self.tiles() * size_of::<Tile>());
                (
                    std::slice::from_raw_parts_mut(own.cast::<Tile>(), self.tiles()),
                    std::slice::from_raw_parts_mut(
                        rows.cast::<RowBlock<GROUPS>>(),
                        self.task.0 / ROWS * self.stretch,
                    ),
                )
            };
            for task in range {
                // SAFETY: the result has room for what its strides reach; different tasks write different elements,
                // for validation found the strides injective.
                unsafe { self.task(task as usize, &operands, tiles, rows, buffers.result) };
            }
        });
    }

    /// Computes one task's part of the result.
    ///
    /// # Safety
    /// `result` has room for every element that the result's strides reach; nobody else reads or writes the task's.
    unsafe fn task<const GROUPS: usize>(
        &self,
        task: usize,
        operands: &Operands<'_, GROUPS>,
        tiles: &mut [Tile],
        rows: &mut [RowBlock<GROUPS>],
        result: *mut f32,
    ) {
        let (row_tasks, column_tasks) = self.tasks;
        let product = task / (row_tasks * column_tasks);
        let first_row = task / column_tasks % row_tasks * self.task.0;
        let first_column = task % column_tasks * self.task.1;
        let row_panels = self.task.0.min(self.rows.count - first_row).div_ceil(ROWS);
        let column_panels = self
            .task
            .1
            .min(self.columns.count - first_column)
            .div_ceil(COLUMNS);
        let mut begin = 0;
        loop {
            let end = self.blocks.min(begin + self.stretch);
            let length = end - begin;
            for panel in 0..row_panels {
                let lines = self.lines(
                    &self.rows,
                    operands.row_bytes,
                    product,
                    first_row + panel * ROWS,
                    ROWS,
                );
                let packed = &mut rows[panel * length..][..length];
                self.decoder
                    .pack_rows(self.level, &lines, begin..end, packed);
            }
            for column_panel in 0..column_panels {
                let panel = product * operands.panels + first_column / COLUMNS + column_panel;
                let columns = &operands.columns[panel * self.blocks..][begin..end];
                for row_panel in 0..row_panels {
                    let tile = &mut tiles[column_panel * row_panels + row_panel];
                    if begin == 0 {
                        *tile = Tile::ZERO;
                    }
                    accumulate(
                        self.level,
                        &rows[row_panel * length..][..length],
                        columns,
                        tile,
                    );
                    if end == self.blocks {
                        let row = first_row + row_panel * ROWS;
                        let column = first_column + column_panel * COLUMNS;
                        // SAFETY: the caller's promises.
                        unsafe {
                            self.store(product, row, column, tile, operands.tensor_scale, result)
                        };
                    }
                }
            }
            begin = end;
            if begin == self.blocks {
                return;
            }
        }
    }

    /// Writes a tile, without what reaches over the product's edges.
    ///
    /// # Safety
    /// As for [`task`](Self::task).
    unsafe fn store(
        &self,
        product: usize,
        row: usize,
        column: usize,
        tile: &Tile,
        tensor_scale: f32,
        result: *mut f32,
    ) {
        let strides = self.product.batch.iter().map(|d| d.result_stride);
        let offset = self.batch_offset(product, strides)
            + row * self.result.row_stride
            + column * self.result.column_stride;
        let columns = COLUMNS.min(self.columns.count - column);
        let rows = ROWS.min(self.rows.count - row);
        for (row, accumulators) in tile.0.iter().enumerate().take(rows) {
            let values = accumulators.map(|sum| sum * RESULT_SCALE * tensor_scale);
            let first = offset + row * self.result.row_stride;
            // SAFETY: the caller's promises; these elements are the tile's.
            unsafe {
                if self.result.column_stride == 1 {
                    result
                        .add(first)
                        .copy_from_nonoverlapping(values.as_ptr(), columns);
                } else {
                    for (column, &value) in values.iter().enumerate().take(columns) {
                        *result.add(first + column * self.result.column_stride) = value;
                    }
                }
            }
        }
    }

    /// At most `count` of a side's lines in one product, from line `first` on.
    fn lines<'a>(
        &self,
        side: &'a Side,
        bytes: &'a [u8],
        product: usize,
        first: usize,
        count: usize,
    ) -> Lines<'a> {
        let offset = self.batch_offset(product, side.batch_strides.iter().copied());
        Lines {
            scaled_type: &side.scaled_type,
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
        let dimensions = self.product.batch.iter().zip(strides).rev();
        let offsets = dimensions.map(|(dimension, stride)| {
            let index = product % dimension.extent;
            product /= dimension.extent;
            index * stride
        });
        offsets.sum()
    }
}

/// What the tasks of one launch share.
struct Operands<'a, const GROUPS: usize> {
    row_bytes: &'a [u8],
    columns: &'a [ColumnBlock<GROUPS>],
    /// Panels of columns of one product.
    panels: usize,
    tensor_scale: f32,
}

/// What brings an accumulator to its size: integers are four times the products of elements, and their sums are
/// accumulated 2⁻²² times as large.
const RESULT_SCALE: f32 = (1 << 20) as f32;

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
    let scale = bytes[scaled_type.tensor_scale_offset().min(bytes.len())..].first_chunk();
    match scale {
        Some(&scale) if scaled_type.format().has_tensor_scale() => f32::from_le_bytes(scale),
        _ => 1.0,
    }
}

/// The bytes of one block of the columns of a tile.
fn column_block_bytes(format: Format) -> usize {
    match format {
        Format::Mxfp4 => size_of::<ColumnBlock<MXFP4_GROUPS>>(),
        _ => size_of::<ColumnBlock<NVFP4_GROUPS>>(),
    }
}

/// Whether the lhs' rows make better columns of tiles: where tiles are filled much better so, or as well and the
/// result's columns are contiguous.
fn is_transposed(product: &ScaledProduct) -> bool {
    let work = |rows: usize, columns: usize| {
        rows.div_ceil(ROWS) as u128 * columns.div_ceil(COLUMNS) as u128
    };
    let (straight, transposed) = (work(product.m, product.n), work(product.n, product.m));
    if product.result.row_stride < product.result.column_stride {
        transposed <= straight + straight / 4
    } else {
        transposed + transposed / 4 < straight
    }
}

/// Rows and columns of a task, in whole tiles and no larger than the product.
fn task_shape(products: usize, rows: usize, columns: usize, axis: usize) -> (usize, usize) {
    let fit = |(task_rows, task_columns): (usize, usize)| {
        (
            task_rows.min(rows.max(1).next_multiple_of(ROWS)),
            task_columns.min(columns.max(1).next_multiple_of(COLUMNS)),
        )
    };
    let is_enough = |&(task_rows, task_columns): &(usize, usize)| {
        let tasks = rows.div_ceil(task_rows) as u128
            * columns.div_ceil(task_columns) as u128
            * products as u128;
        let work = task_rows as u128 * task_columns as u128 * axis as u128;
        tasks >= ENOUGH_TASKS as u128 || work <= TASK_WORK
    };
    let shapes = TASK_SHAPES.map(fit);
    let found = shapes.into_iter().find(is_enough);
    found.unwrap_or(shapes[shapes.len() - 1])
}
