//! MS-EDEN: a thread has a group of blocks, whose scales one correction multiplies.
//!
//! Codes do not depend on the correction: they are written block by block while the sums are made that the correction is
//! of. Until then the blocks' scales are in the thread's own memory.

use super::Output;
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::Expression;
use crate::mlir::low_precision::{self, Encoding};
use crate::mlir::quantization::{self, BlockScale, TensorScale};
use crate::mlir::{Builder, Emission, FloatPredicate, Value};
use tessera_ir::ElementType;
use tessera_numerics::ElementFormat;

/// The elements that share a correction. ("Quartet II", arXiv 2601.22813.)
const GROUP: usize = 128;

impl<'g> Output<'g> {
    /// The groups of a row.
    pub(super) fn groups(&self) -> i64 {
        self.scaled().columns().div_ceil(GROUP) as i64
    }

    /// A thread's memory for the scales of a group. To be called before any loop begins.
    pub(super) fn eden_scales<'c>(&self, emission: &Emission<'c, 'g>) -> Value<'c> {
        emission.stack_array((GROUP / self.length) as i64, ElementType::F32)
    }

    /// Codes and scales of a group of a row.
    pub(super) fn eden_group<'c>(
        &self,
        emission: &mut Emission<'c, 'g>,
        (row, group): (&Expression, &Expression),
        tensor: TensorScale<'c>,
        scales: Value<'c>,
    ) -> Result<(), Unsupported> {
        let per_group = (GROUP / self.length) as i64;
        let [blocks, _] = self.blocks();
        let first = group.times(per_group);
        let start = emission.elemental.number(&first);
        let b = emission.elemental.builder();
        let end = b.binary("arith.addi", start, b.constant_i64(per_group));
        let end = b.binary("arith.minsi", end, b.constant_i64(blocks));
        let bounds = [start, end, b.constant_i64(1)];
        let range = (0, blocks - 1);
        let zero = b.constant_float(b.f32(), 0.0);
        let sums = emission.for_carried(bounds, range, &[zero; 2], |emission, block, sums| {
            let values = self.values(emission, row, &block)?;
            let b = emission.elemental.builder();
            let amax = super::largest(&b, &values);
            let (scale, factor) = quantization::ms_eden_block_scale(&b, amax, tensor);
            let place = block.remainder(per_group);
            emission.store_accumulator(scale, scales, ElementType::F32, &place);
            let code = b.constant_integer(b.integer(32), 0);
            self.write_codes(emission, row, &block, &values, BlockScale { code, factor })?;
            let b = emission.elemental.builder();
            let mut sums = [sums[0], sums[1]];
            for value in values {
                let scaled = b.binary("arith.mulf", value, factor);
                let code =
                    low_precision::encode(&b, ElementFormat::E2m1, scaled, Encoding::Nearest);
                let rounded = low_precision::decode(&b, ElementFormat::E2m1, code);
                for (sum, other) in sums.iter_mut().zip([scaled, rounded]) {
                    *sum = b.binary("arith.addf", *sum, b.binary("arith.mulf", scaled, other));
                }
            }
            Ok::<_, Unsupported>(sums.to_vec())
        })?;
        let b = emission.elemental.builder();
        let correction = correction(&b, [sums[0], sums[1]]);
        emission.for_bounds(bounds, range, None, |emission, block| {
            let place = block.remainder(per_group);
            let scale = emission.load_accumulator(scales, ElementType::F32, &place);
            let [random, ..] = self.random_words(emission, row, &block, 0)?;
            let b = emission.elemental.builder();
            let wanted = b.binary("arith.mulf", scale, correction);
            let code = low_precision::encode_e4m3_scale_stochastic(&b, wanted, random);
            self.storage.put_scale(emission, row, &block, code);
            Ok(())
        })
    }
}

/// The first sum over the second, 1 where that is no finite number.
fn correction<'c>(b: &Builder<'c>, [squares, products]: [Value<'c>; 2]) -> Value<'c> {
    let quotient = b.binary("arith.divf", squares, products);
    let magnitude = b.unary("math.absf", quotient);
    let infinity = b.constant_float(b.f32(), f64::INFINITY);
    let is_finite = b.compare_floats(FloatPredicate::Olt, magnitude, infinity);
    b.select(is_finite, quotient, b.constant_float(b.f32(), 1.0))
}
