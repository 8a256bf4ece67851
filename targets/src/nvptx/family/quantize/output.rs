//! A scaled tensor that the kernel makes: codes and scales of a segment of a row, which a thread has.

use super::super::storage::Storage;
use super::tile::{Segment, Side, Tile};
use super::{ms_eden, square};
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::Expression;
use crate::mlir::low_precision::{self, Encoding};
use crate::mlir::quantization::{self, TensorScale};
use crate::mlir::{Builder, Emission, Value};
use crate::nvptx::GpuTarget;
use crate::nvptx::convert::Conversion;
use tessera_ir::{OpKind, Operation, ScaledType, ValueId};
use tessera_numerics::{BlockShape, Quantization, Rounding, ScaleRule};

/// The elements whose random bytes one call of Philox gives.
const DRAWN: usize = 16;

/// A scaled tensor that the kernel makes.
pub struct Output<'c, 'g> {
    operation: &'g Operation,
    pub quantization: Quantization,
    pub storage: Storage<'g>,
    /// The target's own rounding to nearest, where it has one.
    conversion: Option<Conversion>,
    seed: u64,
    site: i64,
    pub tensor: TensorScale<'c>,
}

impl<'c, 'g> Output<'c, 'g> {
    /// The kernel's result of that number, which the operation makes.
    ///
    /// # Errors
    /// It is none of a quantisation, or of one that is not done here.
    pub fn new(
        emission: &mut Emission<'c, 'g>,
        (operation, number): (&'g Operation, usize),
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
        let padded = scaled_type.padded_columns();
        if rounding.is_random() && !padded.is_multiple_of(DRAWN) {
            let reason = format!(
                "rounds rows of {padded} elements at random, which are no multiple of {DRAWN}"
            );
            return Err(Unsupported::new(operation, reason));
        }
        let quantization = Quantization::new(scaled_type.clone(), *rule, *rounding)
            .map_err(|error| Unsupported::new(operation, error.to_string()))?;
        let amax = if scaled_type.format().has_tensor_scale() {
            (emission.elemental).element(operation.op.operands[1], &[])?
        } else {
            let b = emission.elemental.builder();
            b.constant_float(b.f32(), 1.0)
        };
        let b = emission.elemental.builder();
        Ok(Self {
            operation,
            storage: Storage::new(scaled_type, number),
            conversion: Conversion::of(scaled_type.format().element(), target),
            seed: *seed as u64,
            site: *site as i64,
            tensor: TensorScale::new(&b, &quantization, amax),
            quantization,
        })
    }

    /// The tensor that is quantised.
    pub fn quantized(&self) -> ValueId {
        self.operation.op.operands[0]
    }

    pub fn scaled(&self) -> &'g ScaledType {
        self.storage.scaled
    }

    /// The side of the matrices that blocks run along.
    pub fn side(&self) -> Side {
        match self.scaled().axis() + 1 == self.scaled().shape().len() {
            true => Side::Across,
            false => Side::Down,
        }
    }

    pub fn is_square(&self) -> bool {
        self.scaled().blocks() == BlockShape::Square
    }

    /// Whether a square's columns are asked for where its rows are read.
    pub fn asks_for_columns(&self) -> bool {
        self.is_square() && self.quantization.rule() == ScaleRule::FourOverSix
    }

    /// The rows and columns of a tile that holds nothing in part.
    pub fn least_tile(&self) -> [usize; 2] {
        let length = match self.quantization.rounding() {
            Rounding::MsEden => ms_eden::GROUP as usize,
            Rounding::NearestEven | Rounding::Stochastic => self.storage.length,
        };
        let height = if self.is_square() {
            square::SIDE as usize
        } else {
            1
        };
        self.side().rows_and_columns(height, length)
    }

    /// What there is once, by thread `id` of so many.
    ///
    /// # Errors
    /// None of its own.
    pub fn put_once(
        &self,
        emission: &mut Emission<'c, 'g>,
        id: Value<'c>,
        threads: i64,
    ) -> Result<(), Unsupported> {
        let has_tensor_scale = self.scaled().format().has_tensor_scale();
        let tensor_scale = has_tensor_scale.then_some(self.tensor.decode);
        (self.storage).put_once(emission, (id, threads), tensor_scale)
    }

    /// Makes codes and scale of a segment that is a block, or one row of a square of them.
    ///
    /// # Errors
    /// The tile is not kept and the rule asks for the square's columns too.
    pub fn put(
        &self,
        emission: &mut Emission<'c, 'g>,
        (tile, segment): (&Tile<'_, 'c>, &Segment),
        values: &[Value<'c>],
    ) -> Result<(), Unsupported> {
        let b = emission.elemental.builder();
        let at = tile.row_and_block(self.scaled(), segment);
        let at = [&at[0], &at[1]];
        let (code, codes) = match self.quantization.rounding() {
            Rounding::MsEden => self.eden_block(emission, at, values)?,
            Rounding::NearestEven | Rounding::Stochastic => {
                let scale = if self.is_square() {
                    self.square_scale(emission, (tile, segment), values)
                } else {
                    let amax = largest(&b, values);
                    quantization::block_scale(&b, &self.quantization, (amax, values), self.tensor)
                };
                (scale.code, self.codes(emission, at, values, scale.factor)?)
            }
        };
        tile.when_inside(
            emission,
            (self.scaled(), segment),
            |emission, [row, block]| {
                self.storage.put_codes(emission, row, block, &codes)?;
                self.storage.put_scale(emission, row, block, code);
                Ok(())
            },
        )
    }

    /// The codes of a block of a row.
    pub fn codes(
        &self,
        emission: &mut Emission<'c, 'g>,
        at: [&Expression; 2],
        values: &[Value<'c>],
        factor: Value<'c>,
    ) -> Result<Vec<Value<'c>>, Unsupported> {
        let b = emission.elemental.builder();
        let scaled = values.iter();
        let scaled: Vec<Value<'c>> = scaled
            .map(|&value| b.binary("arith.mulf", value, factor))
            .collect();
        let element = self.scaled().format().element();
        if self.quantization.rounding() != Rounding::Stochastic {
            return Ok(match self.conversion {
                Some(conversion) => conversion.codes(&b, &scaled),
                None => (scaled.iter())
                    .map(|&value| low_precision::encode(&b, element, value, Encoding::Nearest))
                    .collect(),
            });
        }
        // A few words at a time: they wait in registers.
        let mut codes = Vec::with_capacity(scaled.len());
        for (number, drawn) in scaled.chunks(DRAWN).enumerate() {
            let words = self.random_words(emission, at, number as i64)?;
            let b = emission.elemental.builder();
            let word = b.integer(32);
            for (place, &value) in drawn.iter().enumerate() {
                let shift = b.constant_integer(word, (place % 4 * 8) as i64);
                let random = b.binary("arith.shrui", words[place / 4], shift);
                let random = b.binary("arith.andi", random, b.constant_integer(word, 0xff));
                let encoding = Encoding::Stochastic(random);
                codes.push(low_precision::encode(&b, element, value, encoding));
            }
        }
        Ok(codes)
    }

    /// The random words of sixteen elements of a block, the first or the next ones.
    pub fn random_words(
        &self,
        emission: &mut Emission<'c, 'g>,
        [row, block]: [&Expression; 2],
        number: i64,
    ) -> Result<[Value<'c>; 4], Unsupported> {
        let step = self.operation.op.operands.last().copied();
        let step = step.expect("the rule asks for a step where the rounding is random");
        let step = emission.elemental.element(step, &[])?;
        let drawn = row
            .times((self.scaled().padded_columns() / DRAWN) as i64)
            .plus(&block.times((self.storage.length / DRAWN) as i64))
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
pub fn largest<'c>(b: &Builder<'c>, values: &[Value<'c>]) -> Value<'c> {
    let word = b.integer(32);
    let mask = b.constant_integer(word, 0x7fff_ffff);
    let zero = b.constant_integer(word, 0);
    let bits = values.iter().fold(zero, |largest, &value| {
        let magnitude = b.binary("arith.andi", b.bitcast(value, word), mask);
        b.binary("arith.maxui", largest, magnitude)
    });
    b.bitcast(bits, b.f32())
}
