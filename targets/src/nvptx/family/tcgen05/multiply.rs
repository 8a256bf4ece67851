//! The thread of a CTA, or of the first of a pair, that has products made: of every step as soon as it is full.

use super::instructions::Multiplication;
use super::memory::{ScaleTile, bytes_along_k, swizzled};
use super::{Kernel, instructions};
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::Expression;
use crate::mlir::{Builder, Emission, IntegerPredicate, Value};
use crate::nvptx::family::dot::Factors;
use crate::nvptx::family::rounds::turn;
use crate::nvptx::thread;

impl<'c, P: Factors> Kernel<'_, 'c, P> {
    /// One thread of the last warp has all steps of all tiles multiplied.
    pub(super) fn multiply(
        &self,
        emission: &mut Emission<'c, '_>,
        tensor: Value<'c>,
    ) -> Result<Vec<Value<'c>>, Unsupported> {
        let (tile, places) = (&self.own.tile, &self.own.places);
        let b = emission.elemental.builder();
        let first = b.compare_integers(IntegerPredicate::Eq, thread::lane(&b), b.constant_i64(0));
        let all = |emission: &mut Emission<'c, '_>| {
            let count = self.products(emission)?;
            self.for_each_product(emission, count, |emission, round| {
                let [buffer, parity] = turn(emission, &round.number, tile.buffers);
                let b = emission.elemental.builder();
                self.wait_before_sums(&b, buffer, parity);
                instructions::fence_after(&b);
                let sums = self.sums(&b, tensor, buffer);
                emission.for_range(tile.steps, None, |emission, step| {
                    let use_number = round.number.times(tile.steps).plus(&step);
                    let [stage, parity] = turn(emission, &use_number, tile.stages);
                    let b = emission.elemental.builder();
                    self.wait_for_full(&b, stage, parity);
                    instructions::fence_after(&b);
                    let first = self.one_of(&b, 0, places.stage_bytes, stage);
                    self.multiply_step(emission, [tensor, sums], first, &step);
                    let b = emission.elemental.builder();
                    self.commit(&b, self.one_of(&b, places.empty, 8, stage));
                    Ok::<_, Unsupported>(())
                })?;
                let b = emission.elemental.builder();
                self.commit(&b, self.one_of(&b, places.done, 8, buffer));
                Ok(())
            })
        };
        let all = |emission: &mut Emission<'c, '_>, inner| {
            emission.inside(inner, |emission| {
                self.when_leading_or(emission, all, |emission| self.tell_the_leader(emission))
                    .map(|()| Vec::new())
            })
        };
        b.if_else(emission, first, &[], all, |_, _| Ok(Vec::new()))?;
        thread::warp_barrier(&b);
        Ok(Vec::new())
    }

    /// Has a step's scales copied to tensor memory and its products added to the sums.
    fn multiply_step(
        &self,
        emission: &mut Emission<'c, '_>,
        [tensor, sums]: [Value<'c>; 2],
        stage: Value<'c>,
        step: &Expression,
    ) {
        let (kind, tile, places) = (self.own.kind, &self.own.tile, &self.own.places);
        let step = emission.elemental.number(step);
        let b = emission.elemental.builder();
        let [codes, scales] = {
            let [a, b] = [0, 1].map(|side| places.in_stage(&b, stage, side));
            [[a[0], b[0]], [a[1], b[1]]]
        };
        for (side, &scales) in scales.iter().enumerate() {
            for tile in 0..tile.scale_tiles()[side] * tile.words(kind) {
                let from = tile * ScaleTile::BYTES;
                let from = descriptor(&b, ScaleTile::DESCRIPTOR, scales, from);
                let offset = tile * ScaleTile::COLUMNS;
                let to = self.scale_columns(&b, tensor, side, offset);
                instructions::copy_scales(&b, self.ctas(), to, from);
            }
        }
        let one = b.constant_integer(b.integer(32), 1);
        let some = |b: Builder<'c>, instructions: std::ops::Range<i64>, first_adds: Value<'c>| {
            for number in instructions {
                let adds = if number == 0 { first_adds } else { one };
                self.multiply_once(&b, [tensor, sums], codes, number, adds);
            }
        };
        let zero = b.constant_i64(0);
        let follows = b.compare_integers(IntegerPredicate::Ne, step, zero);
        let follows = b.cast("arith.extui", follows, b.integer(32));
        some(b, 0..tile.last_instructions, follows);
        if tile.last_instructions < tile.instructions {
            let last = b.constant_i64(tile.steps - 1);
            let is_before = b.compare_integers(IntegerPredicate::Slt, step, last);
            let rest = |(): &mut (), b: Builder<'c>| {
                some(b, tile.last_instructions..tile.instructions, follows);
                Ok::<_, std::convert::Infallible>(Vec::new())
            };
            let Ok(_) = b.if_else(&mut (), is_before, &[], rest, |(), _| Ok(Vec::new()));
        }
    }

    /// The address of columns of A's (0) or B's (1) scales.
    fn scale_columns(
        &self,
        b: &Builder<'c>,
        tensor: Value<'c>,
        side: usize,
        offset: i64,
    ) -> Value<'c> {
        let first = i64::from(self.own.places.scale_columns[side]) + offset;
        b.binary(
            "arith.addi",
            tensor,
            b.constant_integer(b.integer(32), first),
        )
    }

    /// Begins an instruction of a step.
    fn multiply_once(
        &self,
        b: &Builder<'c>,
        [tensor, sums]: [Value<'c>; 2],
        operands: [Value<'c>; 2],
        number: i64,
        adds: Value<'c>,
    ) {
        let (kind, tile) = (self.own.kind, &self.own.tile);
        let block = number * kind.scales();
        let (word, byte) = (block / 4, block % 4);
        let scales = (kind.scales() > 0).then(|| {
            [0, 1].map(|side| {
                let offset = word * tile.scale_tiles()[side] * ScaleTile::COLUMNS;
                self.scale_columns(b, tensor, side, offset)
            })
        });
        // Along K the start moves on within the swizzled rows, or by whole lines.
        let majors = self.own.majors();
        let tiles = [0, 1].map(|side| {
            let offset = number * bytes_along_k(majors[side]);
            descriptor(b, swizzled(majors[side]), operands[side], offset)
        });
        let formats = (self.own.types()).map(|types| types.map(|own| own.format().element()));
        let bits = match (scales, formats) {
            (Some(_), Some(formats)) => kind.descriptor(formats, tile.rows(), byte),
            _ => kind.plain_descriptor(formats, majors, tile.rows()),
        };
        let own = Multiplication {
            sums,
            tiles,
            scales,
            descriptor: b.constant_integer(b.integer(32), bits.into()),
            adds,
        };
        instructions::multiply(b, self.ctas(), kind, &own);
    }
}

/// A descriptor of what begins so many bytes behind an address in shared memory.
fn descriptor<'c>(b: &Builder<'c>, bits: u64, address: Value<'c>, offset: i64) -> Value<'c> {
    let address = b.binary(
        "arith.addi",
        address,
        b.constant_integer(b.integer(32), offset),
    );
    // Bits 0 to 13: the address in units of sixteen bytes.
    let units = b.binary("arith.shrui", address, b.constant_integer(b.integer(32), 4));
    let units = b.cast("arith.extui", units, b.i64());
    b.binary("arith.ori", units, b.constant_i64(bits.cast_signed()))
}
