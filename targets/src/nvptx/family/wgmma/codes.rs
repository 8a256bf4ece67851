//! Operands of codes with block scales: what bf16 represents of their products is computed by all loading threads.
//!
//! A thread has sixteen numbers of a row at a time, two pieces of a swizzled line: no more than a block of any format. It reads
//! their codes and their scale some time before the stage that they go to is empty.

use super::WARPGROUP;
use super::tile::STEP;
use crate::mlir::elemental::{Unsupported, scale_place};
use crate::mlir::index::Expression;
use crate::mlir::{Builder, Emission, Value, low_precision};
use crate::nvptx::asynchronous::{self, word};
use crate::nvptx::family::edges::{both, clamped, kept};
use crate::nvptx::family::scaled_dot::Codes;
use crate::nvptx::family::swizzled::SwizzledTile;
use crate::nvptx::inline::Ptx;
use tessera_ir::{ElementType, ScaledType};
use tessera_numerics::ElementFormat;

/// Numbers that a thread decodes at a time.
const RUN: i64 = 16;

/// Runs of a line.
const RUNS: i64 = STEP / RUN;

/// Rows whose runs all loading threads have at once.
const ROWS_AT_ONCE: i64 = WARPGROUP / RUNS;

/// Whether rows of codes are whole runs, each at a multiple of its bytes.
pub fn has_runs(scaled: &ScaledType) -> bool {
    (scaled.row_bytes() as i64) % run_bytes(scaled) == 0
}

fn run_bytes(scaled: &ScaledType) -> i64 {
    RUN / scaled.format().element().elements_per_byte() as i64
}

/// An operand as the loading threads of a CTA decode it, in a tile.
pub struct Side<'a, 'c, 'g> {
    pub codes: &'a Codes<'g>,
    /// The address of its storage.
    pub base: Value<'c>,
    /// Rows of a tile.
    pub rows: i64,
    /// The product of the batch.
    pub batch: Expression,
    /// The first row of the tile.
    pub corner: Expression,
    /// The thread among those that load.
    pub thread: &'a Expression,
}

impl<'c> Side<'_, 'c, '_> {
    fn scaled(&self) -> &ScaledType {
        self.codes.scaled_type
    }

    /// Runs of a tile that a thread has.
    fn count(&self) -> i64 {
        (self.rows + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE
    }

    /// Words of codes of a run.
    fn words(&self) -> i64 {
        run_bytes(self.scaled()) / 4
    }

    /// Words that [`read`](Self::read) gives: of each run its codes', and the code of its scale where it has one.
    pub fn registers(&self) -> usize {
        let scales = i64::from(self.scaled().format().block().is_some());
        (self.count() * (self.words() + scales)) as usize
    }

    /// Reads a thread's runs of a step; zeros where the operand has ended.
    ///
    /// # Errors
    /// It cannot be computed here.
    pub fn read(
        &self,
        emission: &mut Emission<'c, '_>,
        step: &Expression,
    ) -> Result<Vec<Value<'c>>, Unsupported> {
        let scaled = self.scaled();
        let row_bytes = scaled.row_bytes() as i64;
        let run_bytes = run_bytes(scaled);
        let run = step.times(RUNS).plus(&self.thread.remainder(RUNS));
        let (run, is_in_row) = clamped(emission, &run, row_bytes / run_bytes - 1);
        let mut all = Vec::new();
        for pass in 0..self.count() {
            let row = self
                .thread
                .quotient(RUNS)
                .plus_constant(pass * ROWS_AT_ONCE);
            let row = self.corner.plus(&row);
            let (row, is_row) = self.codes.held_row(emission, &self.batch, &row);
            let place = row.times(row_bytes).plus(&run.times(run_bytes));
            let from = (emission.elemental).address(self.base, ElementType::Ui8, &place);
            let b = emission.elemental.builder();
            let is_there = both(&b, is_row, is_in_row);
            for number in 0..self.words() {
                let word = b.integer(32);
                let address = b.element_address(from, word, b.constant_i64(number));
                all.push(kept(&b, b.load(address, word), is_there));
            }
            if let Some((length, _)) = scaled.format().block() {
                let block = run.quotient(length as i64 / RUN);
                let place = scale_place(scaled, &row, &block);
                let code = emission.elemental.load(self.base, ElementType::Ui8, place);
                let b = emission.elemental.builder();
                let code = b.cast("arith.extui", code, b.integer(32));
                all.push(kept(&b, code, is_there));
            }
        }
        Ok(all)
    }

    /// Writes a thread's runs, as they were read, to the tile at an address of shared memory.
    pub fn write(&self, emission: &mut Emission<'c, '_>, read: &[Value<'c>], tile: Value<'c>) {
        let words = self.words() as usize;
        let first_row = self.thread.quotient(RUNS);
        // Rows at once are a multiple of the eight after which pieces are exchanged as before.
        let line = emission
            .elemental
            .number(&first_row.times(SwizzledTile::ROW));
        let exchange = emission.elemental.number(&first_row.remainder(8));
        let piece = emission
            .elemental
            .number(&self.thread.remainder(RUNS).times(2));
        let b = emission.elemental.builder();
        let pieces = [0, 1].map(|next| {
            let piece = b.binary("arith.addi", piece, b.constant_i64(next));
            let piece = b.binary("arith.xori", piece, exchange);
            let bytes = b.binary("arith.muli", piece, b.constant_i64(SwizzledTile::PIECE));
            let within = word(&b, b.binary("arith.addi", line, bytes));
            b.binary("arith.addi", tile, within)
        });
        let each = self.registers() / self.count() as usize;
        for (pass, run) in read.chunks(each).enumerate() {
            let first = pass as i64 * ROWS_AT_ONCE;
            let store = |emission: &mut Emission<'c, '_>| {
                let b = emission.elemental.builder();
                let numbers = self.decode(&b, &run[..words], run.get(words).copied());
                for (half, &piece) in numbers.chunks(4).zip(&pieces) {
                    let offset = b.constant_integer(b.integer(32), first * SwizzledTile::ROW);
                    let to = b.binary("arith.addi", piece, offset);
                    asynchronous::store_words(&b, to, std::array::from_fn(|i| half[i]));
                }
            };
            // Of a narrow tile there are not as many rows.
            if first + ROWS_AT_ONCE <= self.rows {
                store(emission);
            } else {
                let row = emission.elemental.number(&first_row.plus_constant(first));
                let Ok(()) = emission.when_below(row, self.rows, |emission, _| {
                    store(emission);
                    Ok::<_, std::convert::Infallible>(())
                });
            }
        }
    }

    /// A run's numbers in bf16, two in a word, the first in its lower half.
    fn decode(
        &self,
        b: &Builder<'c>,
        codes: &[Value<'c>],
        scale: Option<Value<'c>>,
    ) -> Vec<Value<'c>> {
        let element = self.scaled().format().element();
        let block = self.scaled().format().block();
        let scale = scale.zip(block).map(|(code, (_, format))| {
            let scale = low_precision::decode_scale(b, format, code);
            twice(b, b.bitcast(scale, b.integer(32)))
        });
        let per_byte = element.elements_per_byte() as i64;
        let mut pairs = Vec::new();
        for &codes in codes {
            for pair in 0..2 * per_byte {
                // The pair's codes alone, then one in each half.
                let codes = shifted(b, "arith.shrui", codes, pair * 16 / per_byte);
                let both = b.constant_integer(b.integer(32), (1 << (16 / per_byte)) - 1);
                let codes = b.binary("arith.andi", codes, both);
                let upper = shifted(b, "arith.shli", codes, 16 - 8 / per_byte);
                let number = numbers(b, element, b.binary("arith.ori", codes, upper));
                pairs.push(scale.map_or(number, |scale| multiply(b, number, scale)));
            }
        }
        pairs
    }
}

/// Two codes, in the lower bits of each half of a word, as bf16.
fn numbers<'c>(b: &Builder<'c>, element: ElementFormat, codes: Value<'c>) -> Value<'c> {
    let mask = |x, mask: i64| {
        let mask = mask << 16 | mask;
        b.binary("arith.andi", x, b.constant_integer(b.integer(32), mask))
    };
    if has_specials(element) {
        let one = |by: i64| {
            let code = shifted(b, "arith.shrui", codes, by);
            let byte = b.constant_integer(b.integer(32), 0xff);
            let number = low_precision::decode(b, element, b.binary("arith.andi", code, byte));
            b.bitcast(number, b.integer(32))
        };
        let lower = shifted(b, "arith.shrui", one(0), 16);
        let upper = b.constant_integer(b.integer(32), 0xffff_0000);
        return b.binary("arith.ori", lower, b.binary("arith.andi", one(16), upper));
    }
    let sign = i64::from(element.sign_bit());
    // Exponent and mantissa where bf16 has them: the number by a power of two too small, also a subnormal one.
    let by = 7 - i64::from(element.mantissa_bits());
    let magnitude = mask(shifted(b, "arith.shli", codes, by), (sign - 1) << by);
    let by = 15 - i64::from(sign.ilog2());
    let signs = mask(shifted(b, "arith.shli", codes, by), 1 << 15);
    let small = b.binary("arith.ori", signs, magnitude);
    // The least normal number has exponent 1 there: 2⁻¹²⁶.
    let exponent = element.least_normal().to_bits() >> 23;
    let factor = i64::from(exponent + 126) << 7;
    let factor = b.constant_integer(b.integer(32), factor << 16 | factor);
    multiply(b, small, factor)
}

/// Whether some codes are no finite numbers.
fn has_specials(element: ElementFormat) -> bool {
    match element {
        ElementFormat::E2m1 | ElementFormat::E2m3 | ElementFormat::E3m2 => false,
        ElementFormat::E4m3 | ElementFormat::E5m2 => true,
    }
}

/// The upper half of a word in both.
fn twice<'c>(b: &Builder<'c>, word: Value<'c>) -> Value<'c> {
    let lower = shifted(b, "arith.shrui", word, 16);
    let mask = b.constant_integer(b.integer(32), 0xffff_0000);
    b.binary("arith.ori", lower, b.binary("arith.andi", word, mask))
}

/// Products of bf16 in both halves.
fn multiply<'c>(b: &Builder<'c>, x: Value<'c>, y: Value<'c>) -> Value<'c> {
    Ptx::new("mul.rn.bf16x2 $0, $1, $2;").word(b, &[x, y])
}

fn shifted<'c>(b: &Builder<'c>, name: &str, x: Value<'c>, by: i64) -> Value<'c> {
    match by {
        0 => x,
        _ => b.binary(name, x, b.constant_integer(b.integer(32), by)),
    }
}
