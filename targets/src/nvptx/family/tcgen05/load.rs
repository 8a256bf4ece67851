//! The loading threads of a CTA: steps of all its tiles, one after the other, some ahead of what is full.

use super::memory::SwizzledTile;
use super::stage::{Side, Stage};
use super::{Kernel, LOADING_THREADS, Operands, Round, instructions};
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::Expression;
use crate::mlir::{Builder, Emission, IntegerPredicate, Value};
use crate::nvptx::asynchronous::word;
use crate::nvptx::family::boxes::{LINE, PIECE_BYTES};
use crate::nvptx::family::dot::Factors;
use crate::nvptx::family::rounds::turn;
use crate::nvptx::family::scaled_dot::Codes;
use crate::nvptx::thread;

/// By so many steps the loading threads are ahead of what they say is full.
const AHEAD: i64 = 2;

impl<'c, P: Factors> Kernel<'_, 'c, P> {
    /// Brings all steps of all tiles to shared memory.
    pub(super) fn load(
        &self,
        emission: &mut Emission<'c, '_>,
    ) -> Result<Vec<Value<'c>>, Unsupported> {
        match self.own.operands {
            Operands::Codes(codes) if !self.is_copied() => self.load_codes(emission, codes)?,
            _ => self.copy(emission)?,
        }
        Ok(Vec::new())
    }

    /// One thread has everything copied.
    fn copy(&self, emission: &mut Emission<'c, '_>) -> Result<(), Unsupported> {
        let (tile, places) = (&self.own.tile, &self.own.places);
        let thread = thread::thread(&emission.elemental.builder());
        emission.when_below(thread, 1, |emission, _| {
            let count = self.products(emission)?;
            self.for_each_product(emission, count, |emission, own| {
                let round = self.round(emission, own)?;
                emission.for_range(tile.steps, None, |emission, step| {
                    let use_number = own.number.times(tile.steps).plus(&step);
                    let [stage, parity] = turn(emission, &use_number, tile.stages);
                    let b = emission.elemental.builder();
                    let empty = self.one_of(&b, places.empty, 8, stage);
                    instructions::wait_before(&b, empty, parity);
                    self.copy_step(emission, &round, (&step, stage))
                })
            })?;
            self.wait_for_the_last(emission)
        })
    }

    /// Begins all copies of a step.
    fn copy_step(
        &self,
        emission: &mut Emission<'c, '_>,
        round: &Round<'c>,
        (step, stage): (&Expression, Value<'c>),
    ) -> Result<(), Unsupported> {
        let bytes = self.scale_bytes();
        if bytes == 0 {
            let expect = instructions::arrive_expecting;
            return self.copy_boxes(emission, round, (step, stage), expect);
        }
        // Bytes are expected before they may come, and the arrival is the last to be expected of the thread.
        let expect = instructions::expect_bytes;
        self.copy_boxes(emission, round, (step, stage), expect)?;
        let b = emission.elemental.builder();
        let filled = self.filled_at(&b, stage);
        instructions::arrive_expecting(&b, filled, bytes);
        let first = self.one_of(&b, 0, self.own.places.stage_bytes, stage);
        self.copy_scale_tiles(emission, round, step, [first, filled])
    }

    /// All threads load their part, and one has copied what tensor maps bring.
    fn load_codes(
        &self,
        emission: &mut Emission<'c, '_>,
        codes: &[Codes<'_>; 2],
    ) -> Result<(), Unsupported> {
        let tile = &self.own.tile;
        let ahead = AHEAD.min(tile.stages - 1);
        let b = emission.elemental.builder();
        let thread = emission
            .elemental
            .variable(thread::thread(&b), 0, LOADING_THREADS - 1);
        let thread = Expression::variable(thread);
        let count = self.products(emission)?;
        self.for_each_product(emission, count, |emission, own| {
            let round = self.round(emission, own)?;
            let sides = self.sides(emission, codes, &round)?;
            emission.for_range(tile.steps, None, |emission, step| {
                let use_number = own.number.times(tile.steps).plus(&step);
                let places = [&step, &use_number];
                self.load_step(emission, (&round, &sides), &thread, places)?;
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
            count.unwrap_or_else(|| tile.rounds.count(&b)),
            b.constant_i64(tile.steps),
        );
        for left in (1..=ahead).rev() {
            let done = b.binary("arith.subi", uses, b.constant_i64(left));
            self.say_full(emission, done)?;
        }
        self.wait_for_the_last(emission)
    }

    /// A and B of a tile, as they are loaded.
    fn sides<'s>(
        &self,
        emission: &Emission<'c, '_>,
        codes: &'s [Codes<'s>; 2],
        round: &Round<'c>,
    ) -> Result<[Side<'s, 'c, 's>; 2], Unsupported> {
        let tile = &self.own.tile;
        let operation = self.own.product.operation();
        let side = |number: usize| {
            let operand = self.own.operand(number);
            let value = operation.op.operands[operand];
            Ok(Side {
                codes: &codes[operand],
                base: emission.elemental.scaled_base(operation, value)?,
                rows: tile.loaded_rows()[number],
                scale_tiles: tile.scale_tiles()[number],
                map: self.maps[number],
                batch: round.batch.clone(),
                corner: round.loaded[number].clone(),
                scale_corner: [&round.loaded[0], &round.corners[1]][number].clone(),
            })
        };
        Ok([side(0)?, side(1)?])
    }

    /// Begins the copies of a step; `use_number` counts the steps of all of the CTA's tiles.
    fn load_step(
        &self,
        emission: &mut Emission<'c, '_>,
        (round, sides): (&Round<'c>, &[Side<'_, 'c, '_>]),
        thread: &Expression,
        [step, use_number]: [&Expression; 2],
    ) -> Result<(), Unsupported> {
        let (tile, places) = (&self.own.tile, &self.own.places);
        let [stage, parity] = turn(emission, use_number, tile.stages);
        let b = emission.elemental.builder();
        instructions::wait_before(&b, self.one_of(&b, places.empty, 8, stage), parity);
        let first = self.one_of(&b, 0, places.stage_bytes, stage);
        if self.maps.iter().any(Option::is_some) {
            let thread = emission.elemental.number(thread);
            emission.when_below(thread, 1, |emission, _| {
                self.copy_boxes(emission, round, (step, stage), instructions::expect_bytes)
            })?;
        }
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

    /// Begins the copies of a step by tensor maps to a stage, whose mbarrier is told of their bytes by `expect`.
    fn copy_boxes(
        &self,
        emission: &mut Emission<'c, '_>,
        round: &Round<'c>,
        (step, stage): (&Expression, Value<'c>),
        expect: impl FnOnce(&Builder<'c>, Value<'c>, i64),
    ) -> Result<(), Unsupported> {
        let (tile, places) = (&self.own.tile, &self.own.places);
        let boxed = tile.loaded_rows().into_iter().zip(self.maps);
        let rows = boxed.filter_map(|(rows, map)| map.map(|_| rows));
        // Of a pair those of both.
        let bytes = self.ctas() * rows.sum::<i64>() * SwizzledTile::ROW;
        let expect = |emission: &mut Emission<'c, '_>| {
            let b = emission.elemental.builder();
            expect(&b, self.one_of(&b, places.full, 8, stage), bytes);
            Ok(())
        };
        self.when_leading_or(emission, expect, |_| Ok(()))?;
        let b = emission.elemental.builder();
        let full = self.told(&b, stage);
        let first = self.one_of(&b, 0, places.stage_bytes, stage);
        for (side, map) in self.maps.into_iter().enumerate() {
            let Some(map) = map else {
                continue;
            };
            for (number, at) in self.boxes(side, round, step).iter().enumerate() {
                let at = at.iter().map(|place| {
                    let number = emission.elemental.number(place);
                    word(&emission.elemental.builder(), number)
                });
                let at: Vec<Value<'c>> = at.collect();
                let b = emission.elemental.builder();
                let [mut to, _] = places.in_stage(&b, first, side);
                if number > 0 {
                    let offset = number as i64 * PIECE_BYTES;
                    to = b.binary("arith.addi", to, b.constant_integer(b.integer(32), offset));
                }
                match self.is_pair() {
                    false => instructions::copy_box(&b, to, map, &at, full),
                    true => instructions::copy_box_of_pair(&b, to, map, &at, full),
                }
            }
        }
        Ok(())
    }

    /// Where the boxes of A (0) or B (1) in a step are in its tensor map, one behind the other in shared memory.
    fn boxes(&self, side: usize, round: &Round<'c>, step: &Expression) -> Vec<Vec<Expression>> {
        let operand = self.own.operand(side);
        let (corner, rows) = (&round.loaded[side], self.own.tile.loaded_rows()[side]);
        match &self.own.operands {
            Operands::Boxes(boxes, batch) => {
                let at = [corner, &step.times(LINE)];
                boxes[operand].places(rows, (&round.batch, batch), at)
            }
            Operands::Codes(codes) => {
                // The rows of groups are those of no batch.
                let batch = match codes[operand].batches() {
                    1 => Expression::constant(0),
                    _ => round.batch.clone(),
                };
                vec![vec![step.times(SwizzledTile::ROW), corner.clone(), batch]]
            }
        }
    }

    /// The stage of a use is full, as far as the thread has filled it; nothing where the use is before the first.
    fn say_full(
        &self,
        emission: &mut Emission<'c, '_>,
        use_number: Value<'c>,
    ) -> Result<(), Unsupported> {
        self.when_used(emission, use_number, |b, [stage, _]| {
            instructions::fence_for_matrix_unit(b);
            self.say_filled(b, stage);
        })
    }

    /// Of a pair, waits until all stages are empty: what is said of that by the leader is said while the CTA is there.
    fn wait_for_the_last(&self, emission: &mut Emission<'c, '_>) -> Result<(), Unsupported> {
        let tile = &self.own.tile;
        if !self.is_pair() {
            return Ok(());
        }
        let b = emission.elemental.builder();
        let count = tile.rounds.count(&b);
        let uses = b.binary("arith.muli", count, b.constant_i64(tile.steps));
        for left in (1..=tile.stages).rev() {
            let last = b.binary("arith.subi", uses, b.constant_i64(left));
            self.when_used(emission, last, |b, [stage, parity]| {
                instructions::wait(b, self.one_of(b, self.own.places.empty, 8, stage), parity);
            })?;
        }
        Ok(())
    }

    /// Does something with the stage of a use and the parity of its own uses; nothing where the use is before the first.
    fn when_used(
        &self,
        emission: &mut Emission<'c, '_>,
        use_number: Value<'c>,
        body: impl FnOnce(&Builder<'c>, [Value<'c>; 2]),
    ) -> Result<(), Unsupported> {
        let tile = &self.own.tile;
        let b = emission.elemental.builder();
        let is_one = b.compare_integers(IntegerPredicate::Sge, use_number, b.constant_i64(0));
        let use_it = |emission: &mut Emission<'c, '_>, inner| {
            emission.inside(inner, |emission| {
                let last = tile.rounds.most() * tile.steps - 1;
                let variable = emission.elemental.variable(use_number, 0, last);
                let number = Expression::variable(variable);
                let places = turn(emission, &number, tile.stages);
                body(&emission.elemental.builder(), places);
                Ok(Vec::new())
            })
        };
        b.if_else(emission, is_one, &[], use_it, |_, _| Ok(Vec::new()))?;
        Ok(())
    }
}
