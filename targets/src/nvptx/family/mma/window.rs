//! Steps of which a part is summed: where a group's codes begin or end inside a step, or inside a block of the scales.
//!
//! Steps and blocks lie where the rows have them, whatever the groups. So a step is brought to shared memory as a whole,
//! and what is another group's becomes zero on its way from there to the matrix unit: codes, which then add zeros, and
//! scales of whole blocks, which may be NaN. A scale of a block that is in part the group's is what its numbers have.

use super::{DEEP, WORD, scale_bytes};
use crate::blocks::ceil_div;
use crate::mlir::index::Expression;
use crate::mlir::{Builder, Emission, IntegerPredicate, Value};
use crate::nvptx::family::part::Part;
use crate::nvptx::matrix::{BlockScaled, Mma};
use std::convert::Infallible;

/// What is summed of a CTA's steps.
pub struct Window<'c> {
    /// The steps before its first.
    pub before: Expression,
    /// The first contracted element and the one to stop before, as `i64`.
    first: Value<'c>,
    end: Value<'c>,
    format: BlockScaled,
}

/// The bits of a thread's registers that are the group's.
pub struct Masks<'c> {
    /// Of codes: for each instruction of a step, those of the first and last 16 bytes of its rows.
    pub codes: Vec<[Value<'c>; 2]>,
    /// Of the scales of lhs and of rhs.
    pub scales: [Value<'c>; 2],
}

impl<'c> Window<'c> {
    /// That of a part whose steps are of so many elements, where it does not begin with its rows; and how many steps it has.
    pub fn of(
        emission: &mut Emission<'c, '_>,
        part: &Part<'c>,
        mma: Mma,
    ) -> Option<(Self, Value<'c>)> {
        let Mma::BlockScaled(format) = mma else {
            return None;
        };
        if part.first.as_constant() == Some(0) {
            return None;
        }
        let depth = DEEP * mma.elements();
        let before = part.first.quotient(depth);
        let number = emission.elemental.number(&before);
        let first = emission.elemental.number(&part.first);
        let b = emission.elemental.builder();
        let end = b.binary("arith.addi", part.end, b.constant_i64(depth - 1));
        let end = b.binary("arith.divui", end, b.constant_i64(depth));
        let count = b.binary("arith.subi", end, number);
        // A group without elements has no block, not even a part of one.
        let is_some = b.compare_integers(IntegerPredicate::Slt, first, part.end);
        let count = b.select(is_some, count, b.constant_i64(0));
        let own = Self {
            before,
            first,
            end: part.end,
            format,
        };
        Some((own, count))
    }

    /// The masks for a step, which only the first and the last compute.
    pub fn masks(
        &self,
        emission: &mut Emission<'c, '_>,
        step: &Expression,
        lane: &Expression,
    ) -> Masks<'c> {
        let mma = Mma::BlockScaled(self.format);
        let depth = DEEP * mma.elements();
        let begin = self.before.plus(step).times(depth);
        let word = begin.plus(&lane.remainder(4).times(mma.elements() / 8));
        let [begin, word] = [begin, word].map(|e| emission.elemental.number(&e));
        let scale_words = scale_words(self.format, lane).map(|e| emission.elemental.number(&e));
        let b = emission.elemental.builder();
        let step_end = b.binary("arith.addi", begin, b.constant_i64(depth));
        let begun = b.compare_integers(IntegerPredicate::Sge, begin, self.first);
        let goes_on = b.compare_integers(IntegerPredicate::Sle, step_end, self.end);
        let is_whole = b.binary("arith.andi", begun, goes_on);
        let count = 2 * DEEP as usize + 2;
        let types = vec![b.integer(32); count];
        let all = |(): &mut (), b: Builder<'c>| {
            Ok::<_, Infallible>(vec![b.constant_integer(b.integer(32), -1); count])
        };
        let some = |(): &mut (), b: Builder<'c>| {
            let codes = (0..2 * DEEP).map(|half| {
                let offset = b.constant_i64(half * mma.elements() / 2);
                let first = b.binary("arith.addi", word, offset);
                self.mask(&b, first, [1, mma.elements() / 8])
            });
            let mut masks: Vec<Value<'c>> = codes.collect();
            let block = mma.elements() / self.format.scales();
            masks.extend(scale_words.map(|words| {
                let offset = b.binary("arith.muli", words, b.constant_i64(WORD * block));
                let first = b.binary("arith.addi", begin, offset);
                self.mask(&b, first, [block, WORD])
            }));
            Ok::<_, Infallible>(masks)
        };
        let Ok(masks) = b.if_else(&mut (), is_whole, &types, all, some);
        let (codes, scales) = masks.split_at(2 * DEEP as usize);
        Masks {
            codes: codes.chunks(2).map(|own| [own[0], own[1]]).collect(),
            scales: [scales[0], scales[1]],
        }
    }

    /// The bits of a register, from the contracted element `first` on, of `count` fields of `unit` elements each: those of
    /// fields that have an element of the group.
    fn mask(&self, b: &Builder<'c>, first: Value<'c>, [unit, count]: [i64; 2]) -> Value<'c> {
        let zero = b.constant_i64(0);
        // A power of two with as many bits below it as there are in the fields before.
        let fields = |place: Value<'c>, rounding: i64| {
            let from = b.binary("arith.subi", place, first);
            let from = b.binary("arith.maxsi", from, zero);
            let from = b.binary("arith.addi", from, b.constant_i64(rounding));
            let fields = b.binary("arith.divui", from, b.constant_i64(unit));
            let fields = b.binary("arith.minsi", fields, b.constant_i64(count));
            let bits = b.binary("arith.muli", fields, b.constant_i64(8 * WORD / count));
            b.binary("arith.shli", b.constant_i64(1), bits)
        };
        let (begin, end) = (fields(self.first, 0), fields(self.end, unit - 1));
        let own = b.binary("arith.subi", end, begin);
        b.cast("arith.trunci", own, b.integer(32))
    }
}

/// How many registers of a row's scales in a stage are before a lane's, of lhs and of rhs. Where an instruction takes a whole
/// register of scales, lanes that the first one leaves out have those of the second.
pub fn scale_words(format: BlockScaled, lane: &Expression) -> [Expression; 2] {
    match ceil_div(scale_bytes(Mma::BlockScaled(format)), WORD) {
        1 => [Expression::constant(0), Expression::constant(0)],
        _ => [lane.remainder(4).quotient(2), lane.remainder(2)],
    }
}

impl<'c> Masks<'c> {
    /// A fragment of an instruction of a step, of which every so many registers one after the other are of the same bytes.
    pub fn of_codes(
        &self,
        b: &Builder<'c>,
        fragment: &[Value<'c>],
        deep: usize,
        same: usize,
    ) -> Vec<Value<'c>> {
        let halves = fragment.chunks(same).zip(self.codes[deep]);
        let masked = halves.flat_map(|(own, mask)| own.iter().map(move |&x| (x, mask)));
        masked
            .map(|(x, mask)| b.binary("arith.andi", x, mask))
            .collect()
    }

    /// Registers of scales of lhs and of rhs.
    pub fn of_scales(
        &self,
        b: &Builder<'c>,
        mut scales: [Vec<Value<'c>>; 2],
    ) -> [Vec<Value<'c>>; 2] {
        for (own, mask) in scales.iter_mut().zip(self.scales) {
            for register in own {
                *register = b.binary("arith.andi", *register, mask);
            }
        }
        scales
    }
}
