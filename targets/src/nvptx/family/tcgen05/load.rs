//! The loading threads of a CTA: steps of all its tiles, one after the other, some ahead of what is full.

use super::memory::SwizzledTile;
use super::stage::{Side, Stage};
use super::{Kernel, LOADING_THREADS, Round, instructions};
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::Expression;
use crate::mlir::{Emission, IntegerPredicate, Value};
use crate::nvptx::family::dot::Factors;
use crate::nvptx::family::rounds::turn;
use crate::nvptx::thread;

/// By so many steps the loading threads are ahead of what they say is full.
const AHEAD: i64 = 2;

impl<'c> Kernel<'_, 'c, '_> {
    /// Brings codes and scales of all steps to shared memory.
    pub(super) fn load(
        &self,
        emission: &mut Emission<'c, '_>,
    ) -> Result<Vec<Value<'c>>, Unsupported> {
        let tile = &self.own.tile;
        let ahead = AHEAD.min(tile.stages - 1);
        let b = emission.elemental.builder();
        let thread = emission
            .elemental
            .variable(thread::thread(&b), 0, LOADING_THREADS - 1);
        let thread = Expression::variable(thread);
        self.for_each_tile(emission, |emission, round| {
            let sides = self.sides(emission, round)?;
            emission.for_range(tile.steps, None, |emission, step| {
                let use_number = round.number.times(tile.steps).plus(&step);
                self.load_step(emission, &sides, &thread, [&step, &use_number])?;
                let b = emission.elemental.builder();
                instructions::commit_copies(&b);
                instructions::wait_for_copies(&b, ahead);
                let done = emission.elemental.number(&use_number.plus_constant(-ahead));
                self.say_full(emission, done)
            })
        })?;
        // The last ones.
        let b = emission.elemental.builder();
        instructions::wait_for_copies(&b, 0);
        let uses = b.binary(
            "arith.muli",
            tile.rounds.count(&b),
            b.constant_i64(tile.steps),
        );
        for left in (1..=ahead).rev() {
            let done = b.binary("arith.subi", uses, b.constant_i64(left));
            self.say_full(emission, done)?;
        }
        Ok(Vec::new())
    }

    /// A and B of a tile, as they are loaded.
    fn sides<'s>(
        &'s self,
        emission: &Emission<'c, '_>,
        round: &Round,
    ) -> Result<[Side<'s, 'c, 's>; 2], Unsupported> {
        let tile = &self.own.tile;
        let operation = self.own.product.operation();
        let side = |number: usize| {
            let operand = if number == 0 { tile.a } else { 1 - tile.a };
            let value = operation.op.operands[operand];
            Ok(Side {
                codes: &self.own.product.codes()[operand],
                base: emission.elemental.scaled_base(operation, value)?,
                rows: tile.rows()[number],
                scale_tiles: tile.scale_tiles()[number],
                map: self.maps[number],
                batch: round.batch.clone(),
                corner: round.corners[number].clone(),
            })
        };
        Ok([side(0)?, side(1)?])
    }

    /// Begins the copies of a step; `use_number` counts the steps of all of the CTA's tiles.
    fn load_step(
        &self,
        emission: &mut Emission<'c, '_>,
        sides: &[Side<'_, 'c, '_>],
        thread: &Expression,
        [step, use_number]: [&Expression; 2],
    ) -> Result<(), Unsupported> {
        let (tile, places) = (&self.own.tile, &self.own.places);
        let [stage, parity] = turn(emission, use_number, tile.stages);
        let b = emission.elemental.builder();
        instructions::wait_before(&b, self.one_of(&b, places.empty, 8, stage), parity);
        let first = self.one_of(&b, 0, places.stage_bytes, stage);
        self.copy_boxes(emission, sides, [thread, step], stage)?;
        for (number, side) in sides.iter().enumerate() {
            let [codes, scales] = places.in_stage(&b, first, number);
            let stage = Stage {
                kind: self.own.kind,
                tile,
                thread,
                step,
                codes,
                scales,
            };
            side.load(emission, &stage)?;
        }
        Ok(())
    }

    /// One thread begins the copies by tensor maps, if there are any, to a stage.
    fn copy_boxes(
        &self,
        emission: &mut Emission<'c, '_>,
        sides: &[Side<'_, 'c, '_>],
        [thread, step]: [&Expression; 2],
        stage: Value<'c>,
    ) -> Result<(), Unsupported> {
        let places = &self.own.places;
        let boxed = sides.iter().filter(|side| side.map.is_some());
        let bytes: i64 = boxed.map(|side| side.rows * SwizzledTile::ROW).sum();
        if bytes == 0 {
            return Ok(());
        }
        let thread = emission.elemental.number(thread);
        emission.when_below(thread, 1, |emission, _| {
            let b = emission.elemental.builder();
            let full = self.one_of(&b, places.full, 8, stage);
            let first = self.one_of(&b, 0, places.stage_bytes, stage);
            instructions::expect_bytes(&b, full, bytes);
            for (number, side) in sides.iter().enumerate() {
                let Some(map) = side.map else {
                    continue;
                };
                let at = [&step.times(SwizzledTile::ROW), &side.corner, &side.batch];
                let at = at.map(|place| {
                    let number = emission.elemental.number(place);
                    let b = emission.elemental.builder();
                    b.cast("arith.trunci", number, b.integer(32))
                });
                let b = emission.elemental.builder();
                let [codes, _] = places.in_stage(&b, first, number);
                instructions::copy_box(&b, codes, map, &at, full);
            }
            Ok(())
        })
    }

    /// The stage of a use is full, as far as the thread has filled it; nothing where the use is before the first.
    fn say_full(
        &self,
        emission: &mut Emission<'c, '_>,
        use_number: Value<'c>,
    ) -> Result<(), Unsupported> {
        let (tile, places) = (&self.own.tile, &self.own.places);
        let b = emission.elemental.builder();
        let is_one = b.compare_integers(IntegerPredicate::Sge, use_number, b.constant_i64(0));
        let say = |emission: &mut Emission<'c, '_>, inner| {
            emission.inside(inner, |emission| {
                let last = tile.rounds.most() * tile.steps - 1;
                let variable = emission.elemental.variable(use_number, 0, last);
                let number = Expression::variable(variable);
                let [stage, _] = turn(emission, &number, tile.stages);
                let b = emission.elemental.builder();
                instructions::fence_for_matrix_unit(&b);
                instructions::arrive(&b, self.one_of(&b, places.full, 8, stage));
                Ok(Vec::new())
            })
        };
        b.if_else(emission, is_one, &[], say, |_, _| Ok(Vec::new()))?;
        Ok(())
    }
}
