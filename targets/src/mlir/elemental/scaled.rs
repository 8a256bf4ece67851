//! The numbers of scaled tensors.

use super::{Elemental, Source, Unsupported};
use crate::mlir::index::{self, Expression};
use crate::mlir::{Value, low_precision, scalar};
use tessera_ir::{Definition, ElementType, Operation, ScaledType, ValueId};
use tessera_numerics::ScaleLayout;

impl<'c, 'g> Elemental<'c, 'g> {
    /// The element of a dequantize at these indices: code times block scale, then times tensor scale, rounded to
    /// `element`.
    pub(super) fn dequantized(
        &mut self,
        operation: &Operation,
        element: ElementType,
        indices: &[Expression],
    ) -> Result<Value<'c>, Unsupported> {
        let scaled = operation.op.operands[0];
        let (row, column) = stored_place(self.scaled_type(operation, scaled)?, indices);
        let number = self.unscaled(operation, scaled, &row, &column)?;
        let scale = self.tensor_scale(operation, scaled)?;
        let b = self.builder();
        let number = scale.map_or(number, |scale| b.binary("arith.mulf", number, scale));
        Ok(scalar::convert(&b, ElementType::F32, element, number))
    }

    /// Code times block scale of the element that stands in a row and column of a scaled input's storage.
    ///
    /// # Errors
    /// The value is none of the kernel's inputs.
    pub fn unscaled(
        &mut self,
        operation: &Operation,
        scaled: ValueId,
        row: &Expression,
        column: &Expression,
    ) -> Result<Value<'c>, Unsupported> {
        let format = self.scaled_type(operation, scaled)?.format();
        let code = self.code(operation, scaled, row, column)?;
        let number = low_precision::decode(&self.builder(), format.element(), code);
        let Some((length, scale_format)) = format.block() else {
            return Ok(number);
        };
        let block = column.quotient(length as i64);
        let code = self.scale_code(operation, scaled, row, &block)?;
        let b = self.builder();
        let scale = low_precision::decode_scale(&b, scale_format, code);
        Ok(b.binary("arith.mulf", number, scale))
    }

    /// The code, an `i32`, of the element that stands in a row and column of a scaled input's storage.
    ///
    /// # Errors
    /// The value is none of the kernel's inputs.
    pub fn code(
        &mut self,
        operation: &Operation,
        scaled: ValueId,
        row: &Expression,
        column: &Expression,
    ) -> Result<Value<'c>, Unsupported> {
        let scaled_type = self.scaled_type(operation, scaled)?;
        let base = self.scaled_base(operation, scaled)?;
        let per_byte = scaled_type.format().element().elements_per_byte() as i64;
        let row_bytes = scaled_type.row_bytes() as i64;
        let place = row.times(row_bytes).plus(&column.quotient(per_byte));
        let code = self.byte(base, place);
        if per_byte == 1 {
            return Ok(code);
        }
        // Element 2i stands in the low nibble.
        let shift = self.number(&column.remainder(2).times(4));
        let b = self.builder();
        let word = b.integer(32);
        let shift = b.cast("arith.trunci", shift, word);
        let nibble = b.constant_integer(word, 0xf);
        Ok(b.binary("arith.andi", b.binary("arith.shrui", code, shift), nibble))
    }

    /// The code, an `i32`, of the scale of a block in a row of a scaled input's storage.
    ///
    /// # Errors
    /// The value is none of the kernel's inputs.
    pub fn scale_code(
        &mut self,
        operation: &Operation,
        scaled: ValueId,
        row: &Expression,
        block: &Expression,
    ) -> Result<Value<'c>, Unsupported> {
        let scaled_type = self.scaled_type(operation, scaled)?;
        let base = self.scaled_base(operation, scaled)?;
        Ok(self.byte(base, scale_place(scaled_type, row, block)))
    }

    /// The tensor scale of a scaled input, where its format has one.
    ///
    /// # Errors
    /// The value is none of the kernel's inputs.
    pub fn tensor_scale(
        &mut self,
        operation: &Operation,
        scaled: ValueId,
    ) -> Result<Option<Value<'c>>, Unsupported> {
        let scaled_type = self.scaled_type(operation, scaled)?;
        if !scaled_type.format().has_tensor_scale() {
            return Ok(None);
        }
        let base = self.scaled_base(operation, scaled)?;
        let position = (scaled_type.tensor_scale_offset() / size_of::<f32>()) as i64;
        Ok(Some(self.load(
            base,
            ElementType::F32,
            Expression::constant(position),
        )))
    }

    fn byte(&mut self, base: Value<'c>, place: Expression) -> Value<'c> {
        let byte = self.load(base, ElementType::Ui8, place);
        let b = self.builder();
        b.cast("arith.extui", byte, b.integer(32))
    }

    fn scaled_type(
        &self,
        operation: &Operation,
        scaled: ValueId,
    ) -> Result<&'g ScaledType, Unsupported> {
        let found = self.graph.value_type(scaled).as_scaled();
        found.ok_or_else(|| Unsupported::new(operation, "reads what is no scaled tensor"))
    }

    /// Where a scaled input lies.
    ///
    /// # Errors
    /// The value is none of the kernel's inputs.
    pub fn scaled_base(
        &self,
        operation: &Operation,
        scaled: ValueId,
    ) -> Result<Value<'c>, Unsupported> {
        let reason = "reads a scaled tensor that is no input of its kernel";
        let Definition::Input(number) = self.graph.definition(scaled) else {
            return Err(Unsupported::new(operation, reason));
        };
        match self.sources[number] {
            Source::Memory(base) => Ok(base),
            Source::Register(_) => Err(Unsupported::new(operation, reason)),
        }
    }
}

/// The row and column of storage where the element at these indices stands.
pub fn stored_place(scaled_type: &ScaledType, indices: &[Expression]) -> (Expression, Expression) {
    let axis = scaled_type.axis();
    let without = |all: &[usize]| [&all[..axis], &all[axis + 1..]].concat();
    let others = [&indices[..axis], &indices[axis + 1..]].concat();
    let row = index::linearize(&others, &without(scaled_type.shape()));
    (row, indices[axis].clone())
}

/// The indices of the element in a row and column of storage.
pub fn logical_indices(
    scaled_type: &ScaledType,
    row: &Expression,
    column: &Expression,
) -> Vec<Expression> {
    let axis = scaled_type.axis();
    let shape = scaled_type.shape();
    let others = [&shape[..axis], &shape[axis + 1..]].concat();
    let mut indices = index::delinearize(row, &others);
    indices.insert(axis, column.clone());
    indices
}

/// The byte of a block scale, as [`ScaledType::scale_position`] has it, counted from the value's first.
pub fn scale_place(scaled_type: &ScaledType, row: &Expression, block: &Expression) -> Expression {
    let columns = scaled_type.blocks_per_row() as i64;
    let position = match scaled_type.layout() {
        ScaleLayout::Linear => row.times(columns).plus(block),
        ScaleLayout::Tiled128x4 => {
            let tiles = (columns + 3) / 4;
            let tile = row.quotient(128).times(tiles).plus(&block.quotient(4));
            let atom = tile.times(32).plus(&row.remainder(32)).times(16);
            let quarter = row.remainder(128).quotient(32).times(4);
            atom.plus(&quarter).plus(&block.remainder(4))
        }
    };
    position.plus_constant(scaled_type.scales_offset() as i64)
}
