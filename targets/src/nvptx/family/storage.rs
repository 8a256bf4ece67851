//! The bytes of a scaled tensor that a kernel makes: who has which block, and where codes and scales go.

use crate::blocks::extent;
use crate::mlir::elemental::{Unsupported, scale_place};
use crate::mlir::index::{self, Expression};
use crate::mlir::{Emission, Value};
use tessera_ir::{ElementType, ScaledType};

/// Elements of a block where the format has none.
const UNSCALED_BLOCK: usize = 16;

/// A scaled tensor that is a kernel's result.
pub struct Storage<'g> {
    /// What it is.
    pub scaled: &'g ScaledType,
    /// Elements of a block along the axis.
    pub length: usize,
    /// The number of the kernel's result.
    number: usize,
}

impl<'g> Storage<'g> {
    /// The kernel's result of that number.
    pub fn new(scaled: &'g ScaledType, number: usize) -> Self {
        let block = scaled.format().block();
        let length = block.map_or(UNSCALED_BLOCK, |(length, _)| length);
        Self {
            scaled,
            length,
            number,
        }
    }

    /// Blocks along a row.
    pub fn blocks_along(&self) -> i64 {
        self.scaled.columns().div_ceil(self.length) as i64
    }

    /// Of the numbers of `along` parts of each of `down` rows that of a part and its row, so that neighbours are next to
    /// each other in the tensor as it is read: along its last dimension.
    pub fn part_and_row(&self, unit: &Expression, [along, down]: [i64; 2]) -> [Expression; 2] {
        let is_last = self.scaled.axis() + 1 == self.scaled.shape().len();
        if is_last {
            [unit.remainder(along), unit.quotient(along)]
        } else {
            [unit.quotient(down), unit.remainder(down)]
        }
    }

    /// Writes the codes of a block of a row, four bytes at a time where rows are of whole words.
    ///
    /// # Errors
    /// None of its own.
    pub fn put_codes<'c>(
        &self,
        emission: &mut Emission<'c, 'g>,
        row: &Expression,
        block: &Expression,
        codes: &[Value<'c>],
    ) -> Result<(), Unsupported> {
        let scaled = self.scaled;
        let b = emission.elemental.builder();
        let row_bytes = scaled.row_bytes() as i64;
        let per_byte = scaled.format().element().elements_per_byte();
        let first = row
            .times(row_bytes)
            .plus(&block.times((self.length / per_byte) as i64));
        let base = emission.results[self.number];
        let word = b.integer(32);
        let pack = |codes: &[Value<'c>], bits: i64| {
            let mut packed = b.constant_integer(word, 0);
            for (place, &code) in codes.iter().enumerate() {
                let shift = b.constant_integer(word, place as i64 * bits);
                packed = b.binary("arith.ori", packed, b.binary("arith.shli", code, shift));
            }
            packed
        };
        if row_bytes % 4 == 0 && scaled.padded_columns().is_multiple_of(self.length) {
            for (number, codes) in codes.chunks(4 * per_byte).enumerate() {
                let packed = pack(codes, 8 / per_byte as i64);
                let at = first.quotient(4).plus_constant(number as i64);
                emission
                    .elemental
                    .store(packed, base, ElementType::I32, &at);
            }
            return Ok(());
        }
        // A format without blocks, whose codes are bytes.
        for (place, &code) in codes.iter().enumerate() {
            let column = block.times(self.length as i64).plus_constant(place as i64);
            let column = emission.elemental.number(&column);
            emission.when_below(column, scaled.columns() as i64, |emission, column| {
                let b = emission.elemental.builder();
                let byte = b.cast("arith.trunci", code, b.integer(8));
                let at = row.times(row_bytes).plus(&column);
                emission.elemental.store(byte, base, ElementType::Ui8, &at);
                Ok::<_, Unsupported>(())
            })?;
        }
        Ok(())
    }

    /// Writes the code of a block's scale for one of its rows, where the format has any.
    pub fn put_scale<'c>(
        &self,
        emission: &mut Emission<'c, 'g>,
        row: &Expression,
        block: &Expression,
        code: Value<'c>,
    ) {
        if self.scaled.format().block().is_none() {
            return;
        }
        let b = emission.elemental.builder();
        let byte = b.cast("arith.trunci", code, b.integer(8));
        let base = emission.results[self.number];
        let at = scale_place(self.scaled, row, block);
        emission.elemental.store(byte, base, ElementType::Ui8, &at);
    }

    /// What there is once, by thread `id` of so many: the tensor scale, where the format has one, and zeros between the
    /// parts and in the scales' padding, of which each thread writes its share.
    ///
    /// # Errors
    /// None of its own.
    pub fn put_once<'c>(
        &self,
        emission: &mut Emission<'c, 'g>,
        (id, threads): (Value<'c>, i64),
        tensor_scale: Option<Value<'c>>,
    ) -> Result<(), Unsupported> {
        emission.when_below::<Unsupported>(id, 1, |emission, _| {
            self.put_tensor_scale(emission, tensor_scale);
            Ok(())
        })?;
        self.pad_scales(emission, (id, threads))
    }

    /// The tensor scale, and zeros between the parts.
    fn put_tensor_scale<'c>(
        &self,
        emission: &mut Emission<'c, 'g>,
        tensor_scale: Option<Value<'c>>,
    ) {
        let scaled = self.scaled;
        let base = emission.results[self.number];
        let scales_end = scaled.scales_offset() + scaled.scale_bytes();
        let after_codes = scaled.code_bytes()..scaled.scales_offset();
        let mut after_scales = 0..0;
        if let Some(tensor_scale) = tensor_scale {
            after_scales = scales_end..scaled.tensor_scale_offset();
            let at = Expression::constant((scaled.tensor_scale_offset() / 4) as i64);
            emission
                .elemental
                .store(tensor_scale, base, ElementType::F32, &at);
        }
        for byte in after_codes.chain(after_scales) {
            let b = emission.elemental.builder();
            let zero = b.constant_integer(b.integer(8), 0);
            let at = Expression::constant(byte as i64);
            emission.elemental.store(zero, base, ElementType::Ui8, &at);
        }
    }

    /// Zeros in the rows and columns of scales that pad the last tiles of a layout.
    fn pad_scales<'c>(
        &self,
        emission: &mut Emission<'c, 'g>,
        thread: (Value<'c>, i64),
    ) -> Result<(), Unsupported> {
        let scaled = self.scaled;
        let (rows, columns) = (scaled.rows(), scaled.blocks_per_row());
        if scaled.scale_bytes() == rows * columns {
            return Ok(());
        }
        let padded = [rows.next_multiple_of(128), columns.next_multiple_of(4)];
        let ranges = [
            (0..rows, columns..padded[1]),
            (rows..padded[0], 0..padded[1]),
        ];
        for (rows, columns) in ranges {
            self.zero_scales(emission, thread, rows, columns)?;
        }
        Ok(())
    }

    fn zero_scales<'c>(
        &self,
        emission: &mut Emission<'c, 'g>,
        (id, threads): (Value<'c>, i64),
        rows: std::ops::Range<usize>,
        columns: std::ops::Range<usize>,
    ) -> Result<(), Unsupported> {
        let base = emission.results[self.number];
        let shape = [rows.len(), columns.len()];
        let count = extent(&shape);
        let zero = |emission: &mut Emission<'c, 'g>, place: Expression| {
            let at = index::delinearize(&place, &shape);
            let row = at[0].plus_constant(rows.start as i64);
            let column = at[1].plus_constant(columns.start as i64);
            let b = emission.elemental.builder();
            let zero = b.constant_integer(b.integer(8), 0);
            let at = scale_place(self.scaled, &row, &column);
            emission.elemental.store(zero, base, ElementType::Ui8, &at);
            Ok(())
        };
        if count == 0 {
            return Ok(());
        }
        if count <= threads {
            return emission.when_below(id, count, zero);
        }
        let b = emission.elemental.builder();
        let bounds = [id, b.constant_i64(count), b.constant_i64(threads)];
        emission.for_bounds(bounds, (0, count - 1), None, zero)
    }
}
