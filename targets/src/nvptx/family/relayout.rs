//! Scaled tensors that are stored in another way: a thread has a block of the result.

use super::grid;
use super::storage::Storage;
use crate::blocks::ceil_div;
use crate::mlir::elemental::{Unsupported, logical_indices, stored_place};
use crate::mlir::index::Expression;
use crate::mlir::{Emission, Value};
use crate::nvptx::{Grid, thread};
use tessera_ir::{Operation, ScaledType};

/// Threads of a CTA.
const THREADS: i64 = 128;

/// [`tessera_numerics::relayout`] of the operation's operand to that type.
pub fn emit<'g>(
    emission: &mut Emission<'_, 'g>,
    operation: &'g Operation,
    to: &'g ScaledType,
) -> Result<Grid, Unsupported> {
    let operand = operation.op.operands[0];
    let from = emission.kernel.body.value_type(operand).as_scaled();
    let from = from.ok_or_else(|| Unsupported::new(operation, "reads what is no scaled tensor"))?;
    let relayout = Relayout {
        operation,
        from,
        storage: Storage::new(to, 0),
    };
    let blocks = [relayout.storage.blocks_along(), to.rows() as i64];
    let count = blocks[0] * blocks[1];
    let id = thread::global(&emission.elemental.builder(), THREADS);
    let tensor_scale = emission.elemental.tensor_scale(operation, operand)?;
    let ctas = ceil_div(count.max(1), THREADS);
    let thread = (id, ctas * THREADS);
    relayout.storage.put_once(emission, thread, tensor_scale)?;
    if count > 0 {
        emission.when_below(id, count, |emission, unit| {
            let [block, row] = relayout.storage.part_and_row(&unit, blocks);
            relayout.block(emission, &row, &block)
        })?;
    }
    // The first thread also writes what there is once.
    grid(emission, ctas, THREADS)
}

struct Relayout<'g> {
    operation: &'g Operation,
    from: &'g ScaledType,
    storage: Storage<'g>,
}

impl<'g> Relayout<'g> {
    /// A block of a row of the result.
    fn block(
        &self,
        emission: &mut Emission<'_, 'g>,
        row: &Expression,
        block: &Expression,
    ) -> Result<(), Unsupported> {
        let length = self.storage.length as i64;
        let first = block.times(length);
        let mut codes = Vec::with_capacity(self.storage.length);
        for place in 0..length {
            codes.push(self.code(emission, row, &first.plus_constant(place))?);
        }
        self.storage.put_codes(emission, row, block, &codes)?;
        if self.from.format().block().is_some() {
            let (old_row, old_column) = self.place(row, &first);
            let old_block = old_column.quotient(length);
            let operand = self.operation.op.operands[0];
            let scale =
                (emission.elemental).scale_code(self.operation, operand, &old_row, &old_block)?;
            self.storage.put_scale(emission, row, block, scale);
        }
        Ok(())
    }

    /// The code in a row and column of the result; 0 beyond the row's end.
    fn code<'c>(
        &self,
        emission: &mut Emission<'c, 'g>,
        row: &Expression,
        column: &Expression,
    ) -> Result<Value<'c>, Unsupported> {
        let columns = self.storage.scaled.columns() as i64;
        let operand = self.operation.op.operands[0];
        let read = |emission: &mut Emission<'c, 'g>, column: &Expression| {
            let (old_row, old_column) = self.place(row, column);
            emission
                .elemental
                .code(self.operation, operand, &old_row, &old_column)
        };
        if column.range().1 < columns {
            return read(emission, column);
        }
        let column = emission.elemental.number(column);
        let b = emission.elemental.builder();
        let zero = b.constant_integer(b.integer(32), 0);
        let inside = emission.value_below(column, columns, &[zero], |emission, column| {
            Ok::<_, Unsupported>(vec![read(emission, &column)?])
        })?;
        Ok(inside[0])
    }

    /// Where the operand stores what the result does in a row and column.
    fn place(&self, row: &Expression, column: &Expression) -> (Expression, Expression) {
        let indices = logical_indices(self.storage.scaled, row, column);
        stored_place(self.from, &indices)
    }
}
