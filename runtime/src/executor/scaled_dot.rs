//! Products of scaled tensors: nvfp4 and mxfp4, exact within a block.
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
//! Rows and columns are packed as bytes, columns plus 12 so that they are not negative, as the products of unsigned with
//! signed bytes want it (`vpdpbusd`, `vpmaddubsw`). A row's sum starts at what takes the bias away again, plus the bits of
//! 3: read as an f32 the sum then *is* `3 + I·2⁻²²`, and `s·(3 + I·2⁻²²) − 3·s` is an exact fused multiply-add. Another
//! with `t` ends the block. So with AVX-512 VNNI 16×16 multiply-adds of an nvfp4
//! block are four `vpdpbusd` and two `vfmadd`, six instructions at two a cycle: 85.3 multiply-adds a cycle, 2.67 times
//! the 32 of f32. An mxfp4 block is eight and two: 102.4 a cycle, 3.2 times. Those are the floors. On a Xeon with two
//! such units a core, the kernel alone comes to 80 and 96 multiply-adds a cycle, 94 % of them. In a product of
//! 1024×1024×1024 it takes 86 % of the time, packing 8 %, clearing and writing tiles most of the rest.
//!
//! With AMX-BF16, an instruction does the products of 16×16 pairs of nvfp4 blocks in 16 cycles, scales, accumulation and
//! its one rounding included: 256 multiply-adds a cycle. `amx` says why these are the same bits.
//!
//! All columns are packed first, by all threads together. Then each thread takes some rows and some columns, packs
//! the rows for a stretch of the axis, and multiplies tile by tile, the columns of a tile in the nearest cache and the
//! rows in the next.

mod cut;
mod epilogue;
mod error;
mod grouped;
mod kernel;
mod launch;
mod level;
mod pack;
mod portable;
mod product;
mod tile;

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

#[cfg(test)]
mod tests;

pub(super) use grouped::{GroupedScaledDot, GroupedScaledDotBuffers};

pub use error::ScaledDotError;
pub use level::Level;
pub use product::ScaledProduct;

use super::error::RunError;
use super::memory::Memory;
use super::row_function::RowFunction;
use super::team::{Member, Team};
use crate::bundle::MatrixLayout;
use cut::Cut;
use kernel::{Geometry, Kernel, Vectors};
use launch::Launch;
use pack::{Decoder, Storage};
use std::ops::Range;
use tessera_numerics::Format;

#[cfg(target_arch = "x86_64")]
use amx::Tiles;

/// The words of an nvfp4 block.
const NVFP4_GROUPS: usize = 4;

/// The words of an mxfp4 block.
const MXFP4_GROUPS: usize = 8;

/// Rows and columns from which on products of matrices pay: with fewer, most of a tile of theirs is padding.
#[cfg(target_arch = "x86_64")]
const MIN_AMX_LENGTH: usize = 12;

/// One side of a product.
#[derive(Clone, Debug)]
struct Side {
    storage: Storage,
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
    geometry: Geometry,
    decoder: Box<Decoder>,
    /// Whether the lhs' rows are the columns of tiles.
    transposed: bool,
    rows: Side,
    columns: Side,
    /// Strides of the result along `rows` and `columns`.
    result: MatrixLayout,
    products: usize,
    /// Elements along the axis, with their padding.
    axis: usize,
    blocks: usize,
    /// Blocks between two roundings through memory.
    stretch: usize,
    column_bytes: usize,
    /// What is computed of the product and written in its place.
    epilogue: Option<RowFunction>,
}

/// Which parts of its operands each product of a launch is of.
#[derive(Debug)]
enum Groups {
    /// Those that the batch's strides say.
    None,
    /// Product `g` is of these rows of the lhs, and of matrix `g` of the rhs' batch.
    Rows(Vec<Range<usize>>),
    /// Product `g` is summed over these elements of the axis alone, and the results are one after another.
    Depth(Vec<Range<usize>>),
}

/// The addresses of a launch.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScaledDotBuffers<'a> {
    pub(super) lhs: *const u8,
    pub(super) rhs: *const u8,
    /// Where the product goes; unused where there is an epilogue.
    pub(super) result: *mut f32,
    pub(super) workspace: *mut u8,
    /// What an epilogue reads and writes: all operands, then all results.
    pub(super) epilogue: &'a [*mut u8],
}

// SAFETY: addresses; `ScaledDot::run`, which uses them, is unsafe and states what must hold of them.
unsafe impl Sync for ScaledDotBuffers<'_> {}

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
        Self::of_level(product, Level::detect())
    }

    /// Cuts a product, which is validated, for a level that this CPU has.
    fn of_level(product: ScaledProduct, level: Level) -> Result<Self, ScaledDotError> {
        let geometry = Self::geometry(&product, level);
        let transposed = product.is_transposed(&geometry);
        Self::prepare(product, level, transposed)
    }

    /// The same with the lhs' rows as the columns of tiles, or as their rows.
    fn prepare(
        product: ScaledProduct,
        level: Level,
        transposed: bool,
    ) -> Result<Self, ScaledDotError> {
        let geometry = Self::geometry(&product, level);
        let products = product.products();
        let lhs = Side {
            storage: Storage::new(&product.lhs),
            count: product.m,
            stride: product.lhs_stride,
            batch_strides: product.batch.iter().map(|d| d.lhs_stride).collect(),
        };
        let rhs = Side {
            storage: Storage::new(&product.rhs),
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
        let blocks = rows.storage.blocks();
        let (block_elements, scales) = product
            .lhs
            .format()
            .block()
            .expect("validation refuses formats without blocks");
        let column_count = if products == 0 { 0 } else { columns.count };
        let column_bytes = column_count
            .div_ceil(geometry.columns)
            .checked_mul(products)
            .and_then(|panels| panels.checked_mul(blocks))
            .and_then(|count| count.checked_mul(geometry.column_block_bytes))
            .filter(|&bytes| bytes <= isize::MAX as usize / 2)
            .ok_or(ScaledDotError::TooLarge)?;
        let axis = blocks * block_elements;
        let stretches = axis.div_ceil(geometry.stretch).max(1);
        Ok(Self {
            level,
            geometry,
            decoder: Box::new(Decoder::new(scales)),
            transposed,
            rows,
            columns,
            result,
            products,
            axis,
            blocks,
            stretch: blocks.div_ceil(stretches),
            column_bytes,
            epilogue: None,
            product,
        })
    }

    /// The same with something computed of the product before it is written.
    pub(super) fn with_epilogue(self, epilogue: Option<RowFunction>) -> Self {
        Self { epilogue, ..self }
    }

    /// The same product computed with other instructions.
    ///
    /// # Errors
    /// This CPU does not have them.
    pub fn with_level(self, level: Level) -> Result<Self, ScaledDotError> {
        if !level.is_available() {
            return Err(ScaledDotError::Level { level });
        }
        Self::of_level(self.product, level)
    }

    /// The sizes that the kernel of a product has.
    fn geometry(product: &ScaledProduct, level: Level) -> Geometry {
        match product.lhs.format() {
            #[cfg(target_arch = "x86_64")]
            Format::Nvfp4 if Self::is_of_matrices(product, level) => Tiles::GEOMETRY,
            Format::Mxfp4 => Vectors::<MXFP4_GROUPS>::GEOMETRY,
            _ => Vectors::<NVFP4_GROUPS>::GEOMETRY,
        }
    }

    /// Whether an nvfp4 product is computed with products of matrices.
    #[cfg(target_arch = "x86_64")]
    fn is_of_matrices(product: &ScaledProduct, level: Level) -> bool {
        level == Level::AmxBf16 && product.m.min(product.n) >= MIN_AMX_LENGTH
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
        let cut = self.cut(threads);
        let geometry = &self.geometry;
        let worker_bytes = geometry.worker_bytes(&cut, self.stretch, self.epilogue.is_some());
        self.column_bytes
            .saturating_add(threads.saturating_mul(worker_bytes))
    }

    /// The tasks for a number of threads.
    fn cut(&self, threads: usize) -> Cut {
        let (rows, columns) = (self.rows.count, self.columns.count);
        Cut::new(
            self.geometry,
            self.products,
            rows,
            columns,
            self.axis,
            threads,
        )
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
            ("result", self.product.result_span(), result.len(), false),
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
            epilogue: &[],
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
    /// any of the four or reads these two meanwhile. An epilogue's function may be given the buffers that are its.
    pub(super) unsafe fn run(&self, member: Member, buffers: ScaledDotBuffers<'_>) {
        // SAFETY: the caller's promises.
        unsafe { self.run_groups(member, buffers, &Groups::None) }
    }

    /// Computes the products of all groups.
    ///
    /// # Safety
    /// As for [`run`](Self::run); the groups lie inside of what they are groups of.
    unsafe fn run_groups(&self, member: Member, buffers: ScaledDotBuffers<'_>, groups: &Groups) {
        let threads = member.threads();
        // SAFETY: the caller's promises.
        unsafe {
            match self.product.lhs.format() {
                #[cfg(target_arch = "x86_64")]
                Format::Nvfp4 if Self::is_of_matrices(&self.product, self.level) => {
                    Launch::new(Tiles::new(), self, threads, &buffers, groups).run(member);
                }
                Format::Nvfp4 => {
                    let kernel = Vectors::<NVFP4_GROUPS>(self.level);
                    Launch::new(kernel, self, threads, &buffers, groups).run(member);
                }
                Format::Mxfp4 => {
                    let kernel = Vectors::<MXFP4_GROUPS>(self.level);
                    Launch::new(kernel, self, threads, &buffers, groups).run(member);
                }
                other => unreachable!("construction refuses {other}"),
            }
        }
    }
}
