//! Quantisations of one tensor: a thread has a block, of each of the scaled tensors that the kernel makes.
//!
//! The bits are those of [`tessera_numerics::quantize`]. Numbers are computed where they are read, so that what stands
//! before the quantisation, the subtraction of a mean for one, is part of the kernel. Threads next to each other have
//! blocks that are next to each other in the tensor as it is read. By MS-EDEN a thread has a group of blocks.

mod ms_eden;

use super::grid;
use super::storage::Storage;
use crate::blocks::ceil_div;
use crate::mlir::elemental::{Unsupported, logical_indices};
use crate::mlir::index::Expression;
use crate::mlir::low_precision::{self, Encoding};
use crate::mlir::quantization::{self, BlockScale, FourOverSix, TensorScale};
use crate::mlir::{Builder, Emission, Value};
use crate::nvptx::convert::Conversion;
use crate::nvptx::{GpuTarget, Grid, thread};
use tessera_ir::{OpKind, Operation, ScaledType};
use tessera_numerics::{BlockShape, Quantization, Rounding, ScaleRule};

/// Threads of a CTA.
const THREADS: i64 = 128;

/// The elements whose random bytes one call of Philox gives.
const DRAWN: usize = 16;

pub fn emit(emission: &mut Emission<'_, '_>, target: GpuTarget) -> Result<Grid, Unsupported> {
    let graph = &emission.kernel.body;
    let mut most = 0;
    for (number, value) in emission.result_values().into_iter().enumerate() {
        let operation = graph.defining_operation(value);
        let operation = operation.ok_or_else(|| {
            let reason = "stands in a kernel that gives back an input";
            Unsupported::new(&graph.operations()[0], reason)
        })?;
        let output = Output::new(operation, number, target)?;
        most = most.max(output.units());
        output.emit(emission)?;
    }
    grid(emission, ceil_div(most, THREADS), THREADS)
}

/// A scaled tensor that the kernel makes.
struct Output<'g> {
    operation: &'g Operation,
    quantization: Quantization,
    storage: Storage<'g>,
    /// The target's own rounding to nearest, where it has one.
    conversion: Option<Conversion>,
    seed: u64,
    site: i64,
    /// Elements of a block along the axis, and rows.
    length: usize,
    height: usize,
}

impl<'g> Output<'g> {
    fn new(
        operation: &'g Operation,
        number: usize,
        target: GpuTarget,
    ) -> Result<Self, Unsupported> {
        let OpKind::Quantize {
            rule,
            rounding,
            seed,
            site,
            scaled_type,
        } = &operation.op.kind
        else {
            return Err(Unsupported::new(operation, "is not a quantisation"));
        };
        let is_square = scaled_type.blocks() == BlockShape::Square;
        let quantization = Quantization::new(scaled_type.clone(), *rule, *rounding)
            .map_err(|error| Unsupported::new(operation, error.to_string()))?;
        let storage = Storage::new(scaled_type, number);
        let length = storage.length;
        Ok(Self {
            operation,
            storage,
            conversion: Conversion::of(scaled_type.format().element(), target),
            seed: *seed as u64,
            site: *site as i64,
            length,
            height: if is_square { length } else { 1 },
            quantization,
        })
    }

    fn scaled(&self) -> &ScaledType {
        self.quantization.scaled_type()
    }

    /// Blocks along a row, and rows of blocks; with the padding of the scales' layout.
    fn blocks(&self) -> [i64; 2] {
        let scaled = self.scaled();
        let along = self.storage.blocks_along();
        let period = scaled.rows_before_axis().max(1);
        let down = (scaled.rows() / period * period.div_ceil(self.height)) as i64;
        [along, down]
    }

    /// What threads have: blocks or groups of them along a row, and rows of them.
    fn shares(&self) -> [i64; 2] {
        let [along, down] = self.blocks();
        match self.quantization.rounding() {
            Rounding::MsEden => [self.groups(), down],
            Rounding::NearestEven | Rounding::Stochastic => [along, down],
        }
    }

    fn units(&self) -> i64 {
        let [along, down] = self.shares();
        // The first thread also writes what there is once.
        (along * down).max(1)
    }

    fn emit(&self, emission: &mut Emission<'_, 'g>) -> Result<(), Unsupported> {
        let [along, down] = self.shares();
        let is_eden = self.quantization.rounding() == Rounding::MsEden;
        let scales = is_eden.then(|| self.eden_scales(emission));
        let b = emission.elemental.builder();
        let id = thread::global(&b, THREADS);
        let tensor = self.tensor_scale(emission)?;
        let has_tensor_scale = self.scaled().format().has_tensor_scale();
        let tensor_scale = has_tensor_scale.then_some(tensor.decode);
        self.storage.put_once(emission, id, tensor_scale)?;
        if along * down == 0 {
            return Ok(());
        }
        emission.when_below(id, along * down, |emission, unit| {
            let [block, row] = self.storage.part_and_row(&unit, [along, down]);
            match scales {
                Some(scales) => self.eden_group(emission, (&row, &block), tensor, scales),
                None if self.height == 1 => self.vector_block(emission, &row, &block, tensor),
                None => self.square_block(emission, &row, &block, tensor),
            }
        })
    }

    fn tensor_scale<'c>(
        &self,
        emission: &mut Emission<'c, 'g>,
    ) -> Result<TensorScale<'c>, Unsupported> {
        let amax = if self.scaled().format().has_tensor_scale() {
            emission
                .elemental
                .element(self.operation.op.operands[1], &[])?
        } else {
            let b = emission.elemental.builder();
            b.constant_float(b.f32(), 1.0)
        };
        let b = emission.elemental.builder();
        Ok(TensorScale::new(&b, &self.quantization, amax))
    }

    fn vector_block<'c>(
        &self,
        emission: &mut Emission<'c, 'g>,
        row: &Expression,
        block: &Expression,
        tensor: TensorScale<'c>,
    ) -> Result<(), Unsupported> {
        let values = self.values(emission, row, block)?;
        let b = emission.elemental.builder();
        let amax = largest(&b, &values);
        let scale = quantization::block_scale(&b, &self.quantization, (amax, &values), tensor);
        self.write_codes(emission, row, block, &values, scale)?;
        self.storage.put_scale(emission, row, block, scale.code);
        Ok(())
    }

    /// Reads the block's rows twice: for their largest magnitude, and to encode them; by four over six once more between.
    fn square_block<'c>(
        &self,
        emission: &mut Emission<'c, 'g>,
        group: &Expression,
        block: &Expression,
        tensor: TensorScale<'c>,
    ) -> Result<(), Unsupported> {
        let height = self.height as i64;
        let period = self.scaled().rows_before_axis() as i64;
        let groups = ceil_div(period, height);
        let first = group.remainder(groups).times(height);
        let matrix = group.quotient(groups).times(period);
        let start = emission.elemental.number(&first);
        let b = emission.elemental.builder();
        let end = b.binary("arith.addi", start, b.constant_i64(height));
        let end = b.binary("arith.minsi", end, b.constant_i64(period));
        let bounds = [start, end, b.constant_i64(1)];
        let zero = b.constant_float(b.f32(), 0.0);
        let range = (0, period - 1);
        let amax = emission.for_carried(bounds, range, &[zero], |emission, row, amax| {
            let mut values = self.values(emission, &matrix.plus(&row), block)?;
            values.push(amax[0]);
            Ok::<_, Unsupported>(vec![largest(&emission.elemental.builder(), &values)])
        })?[0];
        let b = emission.elemental.builder();
        let scale = match self.quantization.rule() {
            ScaleRule::FourOverSix => {
                let candidates = FourOverSix::new(&b, amax, tensor);
                let errors = self.square_errors(emission, (bounds, &matrix, block), &candidates)?;
                candidates.better(&emission.elemental.builder(), errors)
            }
            _ => quantization::block_scale(&b, &self.quantization, (amax, &[]), tensor),
        };
        emission.for_bounds(bounds, range, None, |emission, row| {
            let row = matrix.plus(&row);
            let values = self.values(emission, &row, block)?;
            self.write_codes(emission, &row, block, &values, scale)?;
            self.storage.put_scale(emission, &row, block, scale.code);
            Ok(())
        })
    }

    /// Twice the error of each scale that a square block may have, as the definition adds it up: the rows' sums and the
    /// columns'.
    fn square_errors<'c>(
        &self,
        emission: &mut Emission<'c, 'g>,
        (bounds, matrix, block): ([Value<'c>; 3], &Expression, &Expression),
        candidates: &FourOverSix<'c>,
    ) -> Result<[Value<'c>; 2], Unsupported> {
        let b = emission.elemental.builder();
        let add = |b: &Builder<'c>, x, y| b.binary("arith.addf", x, y);
        // For each scale the sum of the rows' sums, then each column's sum.
        let each = 1 + self.length;
        let zero = b.constant_float(b.f32(), 0.0);
        let range = (0, self.scaled().rows_before_axis() as i64 - 1);
        let initial = vec![zero; 2 * each];
        let sums = emission.for_carried(bounds, range, &initial, |emission, row, sums| {
            let values = self.values(emission, &matrix.plus(&row), block)?;
            let b = emission.elemental.builder();
            let errors = candidates.each(|candidate| -> Vec<Value<'c>> {
                values
                    .iter()
                    .map(|&value| candidate.error(&b, value))
                    .collect()
            });
            let mut next = Vec::with_capacity(sums.len());
            for (errors, sums) in errors.iter().zip(sums.chunks(each)) {
                let row = errors.iter().fold(zero, |sum, &error| add(&b, sum, error));
                next.push(add(&b, sums[0], row));
                let columns = sums[1..].iter().zip(errors);
                next.extend(columns.map(|(&sum, &error)| add(&b, sum, error)));
            }
            Ok::<_, Unsupported>(next)
        })?;
        let b = emission.elemental.builder();
        Ok([0, each].map(|first| {
            let sums = &sums[first..first + each];
            let columns = sums[1..].iter().fold(zero, |all, &sum| add(&b, all, sum));
            add(&b, sums[0], columns)
        }))
    }

    /// The block's numbers in a row; zeros beyond the row's end.
    fn values<'c>(
        &self,
        emission: &mut Emission<'c, 'g>,
        row: &Expression,
        block: &Expression,
    ) -> Result<Vec<Value<'c>>, Unsupported> {
        let scaled = self.scaled();
        let x = self.operation.op.operands[0];
        let columns = scaled.columns() as i64;
        (0..self.length as i64)
            .map(|place| {
                let column = block.times(self.length as i64).plus_constant(place);
                if column.range().1 < columns {
                    return emission
                        .elemental
                        .element(x, &logical_indices(scaled, row, &column));
                }
                let column = emission.elemental.number(&column);
                let b = emission.elemental.builder();
                let zero = b.constant_float(b.f32(), 0.0);
                let inside =
                    emission.value_below(column, columns, &[zero], |emission, column| {
                        let indices = logical_indices(scaled, row, &column);
                        Ok::<_, Unsupported>(vec![emission.elemental.element(x, &indices)?])
                    })?;
                Ok(inside[0])
            })
            .collect()
    }

    /// Writes the codes of a row of a block.
    fn write_codes<'c>(
        &self,
        emission: &mut Emission<'c, 'g>,
        row: &Expression,
        block: &Expression,
        values: &[Value<'c>],
        scale: BlockScale<'c>,
    ) -> Result<(), Unsupported> {
        let scaled = self.scaled();
        let element = scaled.format().element();
        let random = self.random_bytes(emission, row, block)?;
        let b = emission.elemental.builder();
        let values = values.iter();
        let scaled: Vec<_> = values
            .map(|&value| b.binary("arith.mulf", value, scale.factor))
            .collect();
        let codes = match self.conversion {
            Some(conversion) if random.is_empty() => conversion.codes(&b, &scaled),
            _ => (scaled.iter().enumerate())
                .map(|(place, &value)| {
                    let encoding = match random.get(place) {
                        Some(&random) => Encoding::Stochastic(random),
                        None => Encoding::Nearest,
                    };
                    low_precision::encode(&b, element, value, encoding)
                })
                .collect(),
        };
        self.storage.put_codes(emission, row, block, &codes)
    }

    /// The random byte of each of a block's elements; none where the rounding asks for none.
    fn random_bytes<'c>(
        &self,
        emission: &mut Emission<'c, 'g>,
        row: &Expression,
        block: &Expression,
    ) -> Result<Vec<Value<'c>>, Unsupported> {
        if self.quantization.rounding() != Rounding::Stochastic {
            return Ok(Vec::new());
        }
        let mut bytes = Vec::new();
        for number in 0..(self.length / DRAWN) as i64 {
            let words = self.random_words(emission, row, block, number)?;
            let b = emission.elemental.builder();
            let word = b.integer(32);
            for random in words {
                for byte in 0..4 {
                    let shift = b.constant_integer(word, 8 * byte);
                    let shifted = b.binary("arith.shrui", random, shift);
                    bytes.push(b.binary("arith.andi", shifted, b.constant_integer(word, 0xff)));
                }
            }
        }
        Ok(bytes)
    }

    /// The random words of sixteen elements of a block, the first or the next ones.
    fn random_words<'c>(
        &self,
        emission: &mut Emission<'c, 'g>,
        row: &Expression,
        block: &Expression,
        number: i64,
    ) -> Result<[Value<'c>; 4], Unsupported> {
        let padded = self.scaled().padded_columns();
        if !padded.is_multiple_of(DRAWN) {
            let reason = format!(
                "rounds rows of {padded} elements at random, which are no multiple of {DRAWN}"
            );
            return Err(Unsupported::new(self.operation, reason));
        }
        let step = self.operation.op.operands.last().copied();
        let step = step.expect("the rule asks for a step where the rounding is random");
        let step = emission.elemental.element(step, &[])?;
        let drawn = row
            .times((padded / DRAWN) as i64)
            .plus(&block.times((self.length / DRAWN) as i64))
            .plus_constant(number);
        let drawn = emission.elemental.number(&drawn);
        let b = emission.elemental.builder();
        let word = b.integer(32);
        let upper = b.binary("arith.shrui", drawn, b.constant_i64(32));
        let [low, high] = [drawn, upper].map(|half| b.cast("arith.trunci", half, word));
        let site = b.constant_integer(word, self.site);
        let key = [self.seed as u32, (self.seed >> 32) as u32];
        Ok(low_precision::philox(&b, [low, high, step, site], key))
    }
}

/// The largest magnitude, NaN where one is: magnitudes are in the order of their bits.
fn largest<'c>(b: &Builder<'c>, values: &[Value<'c>]) -> Value<'c> {
    let word = b.integer(32);
    let mask = b.constant_integer(word, 0x7fff_ffff);
    let zero = b.constant_integer(word, 0);
    let bits = values.iter().fold(zero, |largest, &value| {
        let magnitude = b.binary("arith.andi", b.bitcast(value, word), mask);
        b.binary("arith.maxui", largest, magnitude)
    });
    b.bitcast(bits, b.f32())
}
