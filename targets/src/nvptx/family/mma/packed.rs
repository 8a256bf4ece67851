//! Scaled tensors whose codes and block scales the matrix unit reads as they are in memory.
//!
//! Codes come in copies that go on by themselves, as wide as the rows' alignment lets them be; so do scales where those of
//! a row begin at a multiple of a word, and otherwise they come byte by byte.

use super::{Piece, ROW_BYTES, ROW_STRIDE, Staging, WORD, address, scale_bytes, scale_stride};
use crate::blocks::ceil_div;
use crate::mlir::elemental::{Unsupported, scale_place};
use crate::mlir::index::Expression;
use crate::mlir::{Emission, IntegerPredicate, Value};
use crate::nvptx::copy::{self, Width};
use crate::nvptx::family::scaled_dot::Codes;
use crate::nvptx::matrix::{BlockScaled, Mma};
use tessera_ir::{Operation, ScaledType};
use tessera_numerics::ScaleLayout;

/// The rows of a stage and how they are copied.
struct Rows<'c> {
    from: Value<'c>,
    to: Value<'c>,
    width: Width,
    /// Bytes of a row in a stage.
    bytes: i64,
    /// From one row to the next in shared memory.
    stride: i64,
    /// Bytes of a whole row of storage.
    end: i64,
}

/// The staging of scaled tensors.
pub struct Packed<'p, 'g> {
    operation: &'p Operation,
    codes: &'p [Codes<'g>; 2],
    format: BlockScaled,
}

impl<'p, 'g> Packed<'p, 'g> {
    /// For the operands of a product, of that format.
    pub fn new(operation: &'p Operation, codes: &'p [Codes<'g>; 2], format: BlockScaled) -> Self {
        Self {
            operation,
            codes,
            format,
        }
    }

    fn mma(&self) -> Mma {
        Mma::BlockScaled(self.format)
    }

    /// The row of storage, and whether there is one: that of the piece's row `row`.
    fn row<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        piece: &Piece<'_, 'c>,
        row: &Expression,
    ) -> (Expression, Option<Value<'c>>) {
        let at = piece.part.corner[piece.operand].plus(row);
        let own = &self.codes[piece.operand];
        let stored = own.stored_row(&piece.part.batch, &at);
        (stored, below(emission, &at, own.rows()))
    }

    fn stage_codes<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        piece: &Piece<'_, 'c>,
        from: Value<'c>,
    ) -> Result<(), Unsupported> {
        let end = self.codes[piece.operand].scaled_type.row_bytes() as i64;
        let rows = Rows {
            from,
            to: piece.to,
            width: Width::dividing(end).expect("a row has whole blocks, of 8 bytes at least"),
            bytes: ROW_BYTES,
            stride: ROW_STRIDE,
            end,
        };
        self.stage_rows(emission, piece, rows, |row, byte| row.times(end).plus(byte))
    }

    fn stage_scales<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        piece: &Piece<'_, 'c>,
        from: Value<'c>,
    ) -> Result<(), Unsupported> {
        let scaled_type = self.codes[piece.operand].scaled_type;
        let bytes = scale_bytes(self.mma());
        let Some(width) = scale_width(scaled_type, bytes) else {
            return self.stage_single_scales(emission, piece, from);
        };
        let rows = Rows {
            from,
            to: piece.scales,
            width,
            bytes,
            stride: scale_stride(self.mma()),
            // The layout in tiles has zeros up to a multiple of a word.
            end: ceil_div(scaled_type.blocks_per_row() as i64, WORD) * WORD,
        };
        self.stage_rows(emission, piece, rows, |row, block| {
            scale_place(scaled_type, row, block)
        })
    }

    /// Begins the copies of a stage's bytes of every row, the one at a row of storage and a byte of it from `place`.
    fn stage_rows<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        piece: &Piece<'_, 'c>,
        rows: Rows<'c>,
        place: impl Fn(&Expression, &Expression) -> Expression,
    ) -> Result<(), Unsupported> {
        let copies = rows.bytes / rows.width.bytes();
        piece.share(emission, piece.rows * copies, |emission, number| {
            let (row, chunk) = (number.quotient(copies), number.remainder(copies));
            let byte = chunk.times(rows.width.bytes());
            let (stored, is_row) = self.row(emission, piece, &row);
            let along = piece.first_of(rows.bytes).plus(&byte);
            let is_along = below(emission, &along, rows.end);
            let to = row.times(rows.stride).plus(&byte);
            copy_where(
                emission,
                rows.width,
                (rows.to, &to),
                (rows.from, &place(&stored, &along)),
                [is_row, is_along],
            );
            Ok(())
        })
    }

    fn stage_single_scales<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        piece: &Piece<'_, 'c>,
        from: Value<'c>,
    ) -> Result<(), Unsupported> {
        let scaled_type = self.codes[piece.operand].scaled_type;
        let (bytes, stride) = (scale_bytes(self.mma()), scale_stride(self.mma()));
        let blocks = scaled_type.blocks_per_row() as i64;
        piece.share(emission, piece.rows * stride, |emission, place| {
            let (row, byte) = (place.quotient(stride), place.remainder(stride));
            let (stored, is_row) = self.row(emission, piece, &row);
            let block = piece.first_of(bytes).plus(&byte);
            let is_own = below(emission, &byte, bytes);
            let is_block = below(emission, &block, blocks);
            let place = scale_place(scaled_type, &stored, &block);
            let is_there = all(emission, [is_row, is_own, is_block]);
            let place = place_where(emission, &place, is_there);
            let b = emission.elemental.builder();
            let code = b.load(b.element_address(from, b.integer(8), place), b.integer(8));
            let zero = b.constant_integer(b.integer(8), 0);
            let code = is_there.map_or(code, |is_there| b.select(is_there, code, zero));
            let to = address(emission, piece.scales, &row.times(stride).plus(&byte));
            emission.elemental.builder().store(code, to);
            Ok(())
        })
    }
}

impl Staging for Packed<'_, '_> {
    fn stage<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        piece: &Piece<'_, 'c>,
    ) -> Result<(), Unsupported> {
        let operand = self.operation.op.operands[piece.operand];
        let from = emission.elemental.scaled_base(self.operation, operand)?;
        self.stage_codes(emission, piece, from)?;
        self.stage_scales(emission, piece, from)
    }
}

/// How wide copies of a row's scales can be, of which a stage has so many bytes; `None` where they are not aligned.
fn scale_width(scaled_type: &ScaledType, bytes: i64) -> Option<Width> {
    match scaled_type.layout() {
        ScaleLayout::Linear => {
            let blocks = scaled_type.blocks_per_row() as i64;
            [Width::Eight, Width::Four]
                .into_iter()
                .find(|width| blocks % width.bytes() == 0 && bytes % width.bytes() == 0)
        }
        ScaleLayout::Tiled128x4 => (bytes % WORD == 0).then_some(Width::Four),
    }
}

/// Whether an expression is below a bound; `None` where it is in any case.
pub fn below<'c>(
    emission: &mut Emission<'c, '_>,
    expression: &Expression,
    bound: i64,
) -> Option<Value<'c>> {
    if expression.range().1 < bound {
        return None;
    }
    let number = emission.elemental.number(expression);
    let b = emission.elemental.builder();
    let bound = b.constant_i64(bound);
    Some(b.compare_integers(IntegerPredicate::Slt, number, bound))
}

/// Whether all hold; `None` where they do in any case.
fn all<'c, const N: usize>(
    emission: &Emission<'c, '_>,
    conditions: [Option<Value<'c>>; N],
) -> Option<Value<'c>> {
    let b = emission.elemental.builder();
    (conditions.into_iter().flatten()).reduce(|x, y| b.binary("arith.andi", x, y))
}

/// A place where it is one; the first one elsewhere, which is one in any case.
fn place_where<'c>(
    emission: &mut Emission<'c, '_>,
    place: &Expression,
    is_there: Option<Value<'c>>,
) -> Value<'c> {
    let place = emission.elemental.number(place);
    let b = emission.elemental.builder();
    is_there.map_or(place, |is_there| {
        b.select(is_there, place, b.constant_i64(0))
    })
}

/// Begins a copy to a place from another, where all conditions hold; of zeros elsewhere.
pub fn copy_where<'c>(
    emission: &mut Emission<'c, '_>,
    width: Width,
    (to, at): (Value<'c>, &Expression),
    (from, place): (Value<'c>, &Expression),
    conditions: [Option<Value<'c>>; 2],
) {
    let is_there = all(emission, conditions);
    let place = place_where(emission, place, is_there);
    let to = address(emission, to, at);
    let b = emission.elemental.builder();
    let from = b.element_address(from, b.integer(8), place);
    copy::begin(&b, width, to, from, is_there);
}
