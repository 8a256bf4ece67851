//! Matrix products that the runtime computes itself, with the `gemm` crate's kernels or, by small matrices of f32, its
//! own.
//!
//! A product is cut into panels of rows or of columns, and these are the blocks that threads share. Where the cuts lie
//! follows from the product's dimensions alone, and each panel is computed by one thread with one call, so the bits of
//! the result do not depend on the number of threads. They do depend on the CPU: the crate chooses its kernels by the
//! vector instructions at hand, and the length of its partial sums by the sizes of the caches.

#[cfg(target_arch = "x86_64")]
mod narrow;

use super::team::Member;
use crate::bundle::{Gemm, MatrixLayout};
use std::ops::Range;
#[cfg(target_arch = "x86_64")]
use std::slice;
use tessera_numerics::ElementType;

/// The multiply-adds that are worth a block of their own: about a tenth of a millisecond on one core.
const BLOCK_WORK: u128 = 1 << 23;

/// Panels are at least this long, where the matrix is: what each panel packs anew would show in shorter ones.
const MIN_PANEL: usize = 128;

/// Panels but the last are a multiple of this long: the vectors of one register tile.
const PANEL_STEP: usize = 16;

/// A matrix product with its cuts.
#[derive(Clone, Debug)]
pub(super) struct GemmKernel {
    gemm: Gemm,
    /// The products in the batch.
    products: usize,
    /// Which of m and n is cut.
    cut: Cut,
    /// The length of a panel, but for the last.
    panel: usize,
    /// The panels of one product.
    panels: usize,
    /// The blocks that are worth a thread.
    grain: u64,
    /// The product as one by a small matrix, if it is one. Where columns are cut, it is the transposed product.
    #[cfg(target_arch = "x86_64")]
    narrow: Option<narrow::Narrow>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Rows,
    Columns,
}

impl Cut {
    /// The cut that has less packed more than once.
    ///
    /// In the orientation in which the result's rows are contiguous, the crate packs an rhs whose rows are not, and
    /// every panel of rows would pack all of it again; a panel of columns packs its own part of it. In the other
    /// orientation lhs and rhs change places, and so do rows and columns. A cut through a dimension that is much the
    /// shorter is not worth that.
    fn of(gemm: &Gemm) -> Self {
        let by_rows = gemm.result.column_stride <= gemm.result.row_stride;
        let (preferred, length, across) = if by_rows && gemm.rhs.column_stride != 1 {
            (Self::Columns, gemm.n, gemm.m)
        } else if by_rows || gemm.lhs.row_stride != 1 {
            (Self::Rows, gemm.m, gemm.n)
        } else {
            (Self::Columns, gemm.n, gemm.m)
        };
        match preferred {
            _ if length >= across / 4 => preferred,
            Self::Rows => Self::Columns,
            Self::Columns => Self::Rows,
        }
    }
}

/// The addresses of a launch.
#[derive(Clone, Copy, Debug)]
pub(super) struct GemmBuffers {
    pub(super) lhs: *const u8,
    pub(super) rhs: *const u8,
    pub(super) result: *mut u8,
    pub(super) workspace: *mut u8,
}

// SAFETY: addresses; `GemmKernel::run`, which uses them, is unsafe and states what must hold of them.
unsafe impl Sync for GemmBuffers {}

impl GemmKernel {
    /// Cuts a product whose strides and extents a manifest's validation has found in range.
    pub(super) fn new(gemm: &Gemm) -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some((cut, narrow)) = narrow(gemm) {
            return Self {
                narrow: Some(narrow),
                ..Self::of_cut(gemm, cut)
            };
        }
        Self::without_workspace(gemm)
    }

    /// The same by the `gemm` crate's kernels alone, which need no workspace.
    pub(super) fn without_workspace(gemm: &Gemm) -> Self {
        Self::of_cut(gemm, Cut::of(gemm))
    }

    fn of_cut(gemm: &Gemm, cut: Cut) -> Self {
        let products = products(gemm);
        let (length, across) = match cut {
            Cut::Rows => (gemm.m, gemm.n),
            Cut::Columns => (gemm.n, gemm.m),
        };
        // Of a product without elements, dimensions may be too large to count with.
        let length = if products == 0 { 0 } else { length };
        let line_work = (across as u128 * gemm.k as u128).max(1);
        let wanted = usize::try_from(length as u128 * line_work / BLOCK_WORK)
            .unwrap_or(usize::MAX)
            .clamp(1, (length / MIN_PANEL).max(1));
        let panel = length
            .div_ceil(wanted)
            .next_multiple_of(PANEL_STEP)
            .max(PANEL_STEP);
        let panel_work = line_work * panel.min(length).max(1) as u128;
        Self {
            gemm: with_sound_strides(gemm),
            products,
            cut,
            panel,
            panels: length.div_ceil(panel),
            grain: u64::try_from(BLOCK_WORK.div_ceil(panel_work)).unwrap_or(u64::MAX),
            #[cfg(target_arch = "x86_64")]
            narrow: None,
        }
    }

    /// The bytes of workspace that a launch on that many threads needs.
    pub(super) fn workspace_bytes(&self, threads: usize) -> usize {
        #[cfg(target_arch = "x86_64")]
        if let Some(narrow) = &self.narrow {
            return threads * narrow.packed() * size_of::<f32>();
        }
        let _ = threads;
        0
    }

    /// Computes all products.
    ///
    /// # Safety
    /// Each buffer has room for every element that the product's strides reach, holds elements of its element type,
    /// and the result shares no memory with the operands. The workspace has
    /// [`workspace_bytes`](Self::workspace_bytes) of the team's threads, initialised and aligned for f32, in memory of
    /// its own. Nobody else writes any of the four, or reads result and workspace, meanwhile.
    pub(super) unsafe fn run(&self, member: Member, buffers: GemmBuffers) {
        let blocks = self.products as u64 * self.panels as u64;
        member.share(blocks, self.grain, &|worker, range| {
            // The whole struct is shared, for its fields may not be.
            let buffers = &buffers;
            #[cfg(target_arch = "x86_64")]
            if let Some(narrow) = &self.narrow {
                let packed = narrow.packed();
                // SAFETY: the caller's promises; a worker makes one call at a time, and so has its part of the workspace
                // to itself. Different blocks write different elements.
                unsafe {
                    let own = buffers.workspace.cast::<f32>().add(worker * packed);
                    let own = slice::from_raw_parts_mut(own, packed);
                    return self.narrow_blocks(narrow, range, buffers, own);
                }
            }
            let _ = worker;
            // SAFETY: the caller's promises; different blocks write different elements, for validation found the
            // result's strides injective.
            unsafe {
                match self.gemm.element_type {
                    ElementType::F32 => self.blocks(range, buffers, 0f32, 1f32),
                    ElementType::F64 => self.blocks(range, buffers, 0f64, 1f64),
                    other => unreachable!("validation refuses products of {other}"),
                }
            }
        });
    }

    /// # Safety
    /// As for [`run`](Self::run), with `T` the product's element type, `zero` and `one` its numbers.
    unsafe fn blocks<T: Copy + 'static>(
        &self,
        blocks: Range<u64>,
        buffers: &GemmBuffers,
        zero: T,
        one: T,
    ) {
        let gemm = &self.gemm;
        for block in blocks {
            let Panel {
                m,
                n,
                lhs,
                rhs,
                result,
            } = self.panel(block);
            // SAFETY: the offsets and all that the strides reach from there lie inside the buffers. `read_dst` is
            // false, so the result's former contents are not read.
            unsafe {
                gemm::gemm(
                    m,
                    n,
                    gemm.k,
                    buffers.result.cast::<T>().add(result),
                    column_stride(&gemm.result),
                    row_stride(&gemm.result),
                    false,
                    buffers.lhs.cast::<T>().add(lhs),
                    column_stride(&gemm.lhs),
                    row_stride(&gemm.lhs),
                    buffers.rhs.cast::<T>().add(rhs),
                    column_stride(&gemm.rhs),
                    row_stride(&gemm.rhs),
                    zero,
                    one,
                    false,
                    false,
                    false,
                    gemm::Parallelism::None,
                );
            }
        }
    }

    /// # Safety
    /// As for [`run`](Self::run), with a part of the workspace that nobody else uses meanwhile.
    #[cfg(target_arch = "x86_64")]
    unsafe fn narrow_blocks(
        &self,
        narrow: &narrow::Narrow,
        blocks: Range<u64>,
        buffers: &GemmBuffers,
        packed: &mut [f32],
    ) {
        for block in blocks {
            let panel = self.panel(block);
            // SAFETY: the offsets and all that the strides reach from there lie inside the buffers. It pays, for there
            // is a narrow product.
            unsafe {
                let lhs = buffers.lhs.cast::<f32>().add(panel.lhs);
                let rhs = buffers.rhs.cast::<f32>().add(panel.rhs);
                let result = buffers.result.cast::<f32>().add(panel.result);
                match self.cut {
                    Cut::Rows => narrow.multiply(panel.m, lhs, rhs, result, packed),
                    Cut::Columns => narrow.multiply(panel.n, rhs, lhs, result, packed),
                }
            }
        }
    }

    /// The part of the work that is one block's.
    fn panel(&self, block: u64) -> Panel {
        let gemm = &self.gemm;
        let (product, panel) = (
            (block / self.panels as u64) as usize,
            (block % self.panels as u64) as usize,
        );
        let [mut lhs, mut rhs, mut result] = self.product_offsets(product);
        let begin = panel * self.panel;
        let (mut m, mut n) = (gemm.m, gemm.n);
        match self.cut {
            Cut::Rows => {
                m = self.panel.min(gemm.m - begin);
                lhs += begin * gemm.lhs.row_stride;
                result += begin * gemm.result.row_stride;
            }
            Cut::Columns => {
                n = self.panel.min(gemm.n - begin);
                rhs += begin * gemm.rhs.column_stride;
                result += begin * gemm.result.column_stride;
            }
        }
        Panel {
            m,
            n,
            lhs,
            rhs,
            result,
        }
    }

    /// The first elements of one product's matrices; products are counted with the last batch dimension fastest.
    fn product_offsets(&self, mut product: usize) -> [usize; 3] {
        let mut offsets = [0; 3];
        for dimension in self.gemm.batch.iter().rev() {
            let index = product % dimension.extent;
            product /= dimension.extent;
            offsets[0] += index * dimension.lhs_stride;
            offsets[1] += index * dimension.rhs_stride;
            offsets[2] += index * dimension.result_stride;
        }
        offsets
    }
}

/// A block's rows and columns, and its first elements.
struct Panel {
    m: usize,
    n: usize,
    lhs: usize,
    rhs: usize,
    result: usize,
}

/// The product as one by a small matrix, straight with a cut through its rows or transposed with one through its columns,
/// if that pays.
#[cfg(target_arch = "x86_64")]
fn narrow(gemm: &Gemm) -> Option<(Cut, narrow::Narrow)> {
    let transposed = |layout: MatrixLayout| MatrixLayout {
        row_stride: layout.column_stride,
        column_stride: layout.row_stride,
    };
    let straight = narrow::Narrow {
        columns: gemm.n,
        depth: gemm.k,
        lhs: gemm.lhs,
        rhs: gemm.rhs,
        result_stride: gemm.result.row_stride,
    };
    let across = narrow::Narrow {
        columns: gemm.m,
        depth: gemm.k,
        lhs: transposed(gemm.rhs),
        rhs: transposed(gemm.lhs),
        result_stride: gemm.result.column_stride,
    };
    if gemm.element_type != ElementType::F32 {
        None
    } else if gemm.result.column_stride == 1 && straight.pays(gemm.m) {
        Some((Cut::Rows, straight))
    } else if gemm.result.row_stride == 1 && across.pays(gemm.n) {
        Some((Cut::Columns, across))
    } else {
        None
    }
}

/// The products in the batch; 0 where they have no elements.
fn products(gemm: &Gemm) -> usize {
    let extents = gemm.batch.iter().map(|dimension| dimension.extent);
    if gemm.m == 0 || gemm.n == 0 || extents.clone().any(|extent| extent == 0) {
        // Other extents may be too large to multiply.
        return 0;
    }
    extents.product()
}

/// The product itself, but for sums over nothing: their operands have no elements for a stride to step over.
fn with_sound_strides(gemm: &Gemm) -> Gemm {
    let mut gemm = gemm.clone();
    if gemm.k == 0 {
        let nowhere = MatrixLayout {
            row_stride: 0,
            column_stride: 0,
        };
        (gemm.lhs, gemm.rhs) = (nowhere, nowhere);
        for dimension in &mut gemm.batch {
            (dimension.lhs_stride, dimension.rhs_stride) = (0, 0);
        }
    }
    gemm
}

/// Validation refuses strides beyond `isize`.
fn row_stride(layout: &MatrixLayout) -> isize {
    layout.row_stride as isize
}

fn column_stride(layout: &MatrixLayout) -> isize {
    layout.column_stride as isize
}

#[cfg(test)]
mod tests;
