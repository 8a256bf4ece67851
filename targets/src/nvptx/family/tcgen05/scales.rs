//! Block scales that lie in memory as the matrix unit reads them: a tile of 128 rows by four is 512 bytes there, in shared
//! memory, and in tensor memory, and one thread has it copied by `cp.async.bulk`.
//!
//! That holds where what a CTA reads of an operand's rows begins with a tile's. What a step or a CTA's tile has beyond the
//! tiles that there are is the last one's again: no instruction reads what is beyond the last along K, and what is beyond
//! the last row multiplies codes of zero, for sums that are not written.

use super::memory::ScaleTile;
use super::stage;
use super::tile::Tile;
use super::{Kernel, Operands, Round, instructions};
use crate::blocks::ceil_div;
use crate::mlir::elemental::{Unsupported, scale_place};
use crate::mlir::index::{Expression, Variable};
use crate::mlir::{Emission, Value};
use crate::nvptx::family::dot::Factors;
use crate::nvptx::family::edges::clamped;
use crate::nvptx::family::scaled_dot::Codes;
use tessera_ir::ElementType;
use tessera_numerics::ScaleLayout;

/// Whether an operand's scales are copied in whole tiles, where it is A (0) or B (1) of CTAs' tiles.
pub fn are_tiles(codes: &Codes<'_>, tile: &Tile, side: usize) -> bool {
    let (batches, rows) = (codes.batches(), codes.rows());
    let counter = |number: u32, extent: i64| {
        Expression::variable(Variable {
            number,
            lower: 0,
            upper: extent - 1,
        })
    };
    let row = codes.stored_row(&counter(0, batches), &counter(1, rows));
    let are_rows_in_order = rows == 1 || row.stride(1) == Some(1);
    let do_batches_begin_tiles =
        batches == 1 || (row.stride(0)).is_some_and(|stride| stride % ScaleTile::ROWS == 0);
    // Every tile of A begins at a multiple of 128 rows; of B where there is but one, or each has as many.
    let [.., across] = tile.rounds.tiles;
    let do_tiles_begin_tiles =
        side == 0 || across == 1 || tile.scaled_rows()[side] % ScaleTile::ROWS == 0;
    codes.scaled_type.layout() == ScaleLayout::Tiled128x4
        && are_rows_in_order
        && do_batches_begin_tiles
        && do_tiles_begin_tiles
}

impl<'c, P: Factors> Kernel<'_, 'c, P> {
    /// Bytes of scales that a CTA copies in a step, where it copies any in whole tiles.
    pub(super) fn scale_bytes(&self) -> i64 {
        let (tile, kind) = (&self.own.tile, self.own.kind);
        match self.own.has_scale_tiles {
            true => tile.scale_tiles().iter().sum::<i64>() * tile.words(kind) * ScaleTile::BYTES,
            false => 0,
        }
    }

    /// Begins the copies of a step's scales to the stage at an address, of whose bytes an mbarrier of the CTA learns.
    ///
    /// # Errors
    /// An operand is no input of the kernel.
    pub(super) fn copy_scale_tiles(
        &self,
        emission: &mut Emission<'c, '_>,
        round: &Round<'c>,
        step: &Expression,
        [stage, barrier]: [Value<'c>; 2],
    ) -> Result<(), Unsupported> {
        let Operands::Codes(codes) = &self.own.operands else {
            return Ok(());
        };
        let (tile, places) = (&self.own.tile, &self.own.places);
        let (words, operation) = (tile.words(self.own.kind), self.own.product.operation());
        let corners = [&round.loaded[0], &round.corners[1]];
        for (side, corner) in corners.into_iter().enumerate() {
            let operand = self.own.operand(side);
            let (codes, value) = (&codes[operand], operation.op.operands[operand]);
            let base = emission.elemental.scaled_base(operation, value)?;
            let last_tile = ceil_div(codes.scaled_type.blocks_per_row() as i64, 4) - 1;
            let last_row = (codes.rows() - 1) / ScaleTile::ROWS * ScaleTile::ROWS;
            let side_by_side = tile.scale_tiles()[side];
            for number in 0..side_by_side * words {
                let (place, beside) = (number / side_by_side, number % side_by_side);
                let row = corner.plus_constant(beside * ScaleTile::ROWS);
                let (row, _) = clamped(emission, &row, last_row);
                let in_row = step.times(words).plus_constant(place);
                let (in_row, _) = clamped(emission, &in_row, last_tile);
                let row = codes.stored_row(&round.batch, &row);
                let from = scale_place(codes.scaled_type, &row, &in_row.times(4));
                let from = (emission.elemental).address(base, ElementType::Ui8, &from);
                let b = emission.elemental.builder();
                let [_, first] = places.in_stage(&b, stage, side);
                let offset = b.constant_integer(b.integer(32), number * ScaleTile::BYTES);
                let to = b.binary("arith.addi", first, offset);
                let from = stage::global(&b, from);
                instructions::copy_bytes(&b, to, from, ScaleTile::BYTES, barrier);
            }
        }
        Ok(())
    }
}
