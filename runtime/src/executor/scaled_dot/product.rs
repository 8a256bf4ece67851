//! What is multiplied and where it lies.

use super::error::ScaledDotError;
use super::kernel::Geometry;
use crate::bundle::strides::{Axis, describe, is_injective, span};
use crate::bundle::{BatchDimension, MatrixLayout};
use tessera_numerics::{Format, ScaledType};

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

    pub(super) fn result_axes(&self) -> Vec<Axis> {
        let inner = [
            (self.m, self.result.row_stride),
            (self.n, self.result.column_stride),
        ];
        self.axes(&inner, |d| d.result_stride)
    }

    /// Checks everything but the sizes of buffers.
    pub(super) fn validate(&self) -> Result<(), ScaledDotError> {
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
    pub(super) fn products(&self) -> usize {
        let extents = self.batch.iter().map(|dimension| dimension.extent);
        if self.m == 0 || self.n == 0 || extents.clone().any(|extent| extent == 0) {
            // Other extents may be too large to multiply.
            return 0;
        }
        // Validation found that the result has an element of its own for each.
        extents.product()
    }

    /// The elements that a result's memory has at least.
    pub(super) fn result_span(&self) -> usize {
        span(&self.result_axes()).expect("validation found that it fits into memory")
    }

    /// Whether the lhs' rows make better columns of tiles: where tiles are filled much better so, or as well and the
    /// result's columns are contiguous.
    pub(super) fn is_transposed(&self, tile: &Geometry) -> bool {
        let work = |rows: usize, columns: usize| {
            rows.div_ceil(tile.rows) as u128 * columns.div_ceil(tile.columns) as u128
        };
        let (straight, transposed) = (work(self.m, self.n), work(self.n, self.m));
        if self.result.row_stride < self.result.column_stride {
            transposed <= straight + straight / 4
        } else {
            transposed + transposed / 4 < straight
        }
    }
}
