//! Products on the warps' matrix units: a CTA has a tile of the result, its warps equal parts of that, in fragments whose
//! sums stay in registers.
//!
//! The operands' tiles come into shared memory some steps ahead of the products, in as many places as there are stages;
//! copies that go on by themselves are waited for a step at a time. Rows stand 16 bytes further apart than they are long,
//! so that the rows of a matrix that is loaded lie in different banks. Where an operand ends there are zeros, codes and
//! scales alike, which add nothing.
//!
//! A sum is made in f32 in the order of the contracted dimension, one instruction after the other. How an instruction
//! rounds is the matrix unit's: of codes with block scales, once, towards zero.

mod copied;
mod division;
mod halves;
mod packed;
mod warps;
mod window;

pub use copied::{Copied, Lines};
pub use division::Division;
pub use halves::Halves;
pub use packed::Packed;
pub use warps::Warps;

use self::window::Window;
use super::boxes::Major;
use super::dot::{Factors, no_such_tile};
use super::grid;
use super::part::Part;
use crate::blocks::ceil_div;
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::Expression;
use crate::mlir::{Emission, Value};
use crate::nvptx::matrix::{self, Mma};
use crate::nvptx::shared::Shared;
use crate::nvptx::{Grid, copy, thread};

/// Instructions along the contracted dimension in a stage.
const DEEP: i64 = 2;

/// Bytes of a row in a stage.
const ROW_BYTES: i64 = DEEP * matrix::BYTES;

/// Numbers of 16 bits of a row in a stage.
pub const NUMBERS: i64 = ROW_BYTES / 2;

/// Bytes from row to row in shared memory.
pub const ROW_STRIDE: i64 = ROW_BYTES + 16;

/// Bytes of a register of block scales.
const WORD: i64 = 4;

/// How an operand comes into shared memory.
pub trait Staging {
    /// Which numbers of lhs and of rhs are next to each other there.
    fn majors(&self) -> [Major; 2] {
        [Major::K; 2]
    }

    /// Brings a piece of an operand into shared memory, or begins to. All threads of the CTA take part.
    ///
    /// # Errors
    /// It cannot be computed here.
    fn stage<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        piece: &Piece<'_, 'c>,
    ) -> Result<(), Unsupported>;
}

/// The part of an operand that a CTA multiplies in one step, and where it goes.
pub struct Piece<'a, 'c> {
    /// 0: lhs, 1: rhs.
    pub operand: usize,
    /// What the CTA makes.
    pub part: &'a Part<'c>,
    /// How many there are.
    pub rows: i64,
    /// How many of the part's steps along the contracted dimension come before.
    pub step: &'a Expression,
    /// Whole steps of the rows before the part's first.
    before: &'a Expression,
    /// Where they go: [`ROW_STRIDE`] bytes apart, or as lines across.
    to: Value<'c>,
    /// Where their block scales go, [`scale_stride`] bytes apart.
    scales: Value<'c>,
    /// The thread in its CTA.
    thread: &'a Expression,
    /// Threads of the CTA.
    threads: i64,
}

impl<'c> Piece<'_, 'c> {
    /// The first of the step's things in a row that has so many of them in each step.
    fn first_of(&self, each: i64) -> Expression {
        self.before.plus(self.step).times(each)
    }

    /// Shares `count` equal pieces of work among the threads.
    fn share<'g>(
        &self,
        emission: &mut Emission<'c, 'g>,
        count: i64,
        mut work: impl FnMut(&mut Emission<'c, 'g>, &Expression) -> Result<(), Unsupported>,
    ) -> Result<(), Unsupported> {
        for turn in 0..ceil_div(count, self.threads) {
            let place = self.thread.plus_constant(turn * self.threads);
            if place.range().1 < count {
                work(emission, &place)?;
            } else {
                let number = emission.elemental.number(&place);
                emission.when_below(number, count, |emission, place| work(emission, &place))?;
            }
        }
        Ok(())
    }
}

/// Bytes of a row's block scales in a stage.
fn scale_bytes(mma: Mma) -> i64 {
    match mma {
        Mma::F16 | Mma::Bf16 => 0,
        Mma::BlockScaled(format) => DEEP * format.scales(),
    }
}

/// Bytes from row to row of the block scales in shared memory: whole registers.
fn scale_stride(mma: Mma) -> i64 {
    ceil_div(scale_bytes(mma), WORD) * WORD
}

/// Fills a kernel's function with a product.
///
/// # Errors
/// An operand or the result cannot be computed here.
pub fn tiles(
    emission: &mut Emission<'_, '_>,
    shared: &mut Shared,
    product: &impl Factors,
    (mma, tile): (Mma, Option<[i64; 2]>),
    staging: &impl Staging,
) -> Result<Grid, Unsupported> {
    let [batches, m, n, k] = product.extents();
    if batches * m * n == 0 {
        return Ok(Grid::EMPTY);
    }
    let row_bytes = ROW_STRIDE + scale_stride(mma);
    let division = match tile {
        None => Division::cheapest(product.even_extents()),
        Some(tile) => Division::in_tiles(tile)
            .ok_or_else(|| no_such_tile(product.operation(), tile, &Division::tiles()))?,
    };
    let stages = division.stages(row_bytes);
    let tile = division.tile();
    let b = emission.elemental.builder();
    let threads = division.threads();
    let own = (emission.elemental).variable(thread::thread(&b), 0, threads - 1);
    let warps = Warps {
        mma,
        division,
        thread: Expression::variable(own),
        majors: staging.majors(),
    };
    let mut array = |bytes: i64| shared.array(&b, (stages * bytes) as u32);
    let rows = [0, 1].map(|operand| array(warps.stage_bytes(operand)));
    let scales = match scale_stride(mma) {
        0 => rows,
        stride => tile.map(|rows| array(rows * stride)),
    };
    let (ctas, part) = product.part(emission, tile)?;
    let (window, steps) = match Window::of(emission, &part, mma) {
        Some((window, steps)) => (Some(window), steps),
        None => (None, part.steps(emission, DEEP * mma.elements())),
    };
    let tile = Tile {
        product,
        staging,
        warps,
        stages,
        most: ceil_div(k, DEEP * mma.elements()),
        steps,
        window,
        rows,
        scales,
        part,
    };
    let sums = tile.sums(emission)?;
    tile.store(emission, &sums)?;
    let tile = super::tile(division.tile(), DEEP * mma.elements(), stages);
    Ok(Grid {
        tile,
        ..grid(emission, ctas, threads)?
    })
}

/// A tile of the result.
struct Tile<'a, 'c, P, S> {
    product: &'a P,
    staging: &'a S,
    warps: Warps,
    /// Stages in shared memory.
    stages: i64,
    /// Steps along the contracted dimension, and how many there are at most.
    steps: Value<'c>,
    most: i64,
    /// What is summed of them, where that is not all.
    window: Option<Window<'c>>,
    /// Where lhs and rhs are staged.
    rows: [Value<'c>; 2],
    /// Where their block scales are.
    scales: [Value<'c>; 2],
    part: Part<'c>,
}

impl<'c, P: Factors, S: Staging> Tile<'_, 'c, P, S> {
    /// The sums of this thread's elements, fragment by fragment.
    fn sums(&self, emission: &mut Emission<'c, '_>) -> Result<Vec<Value<'c>>, Unsupported> {
        let b = emission.elemental.builder();
        let sums = vec![b.constant_float(b.f32(), 0.0); self.warps.sums()];
        if self.most == 0 {
            return Ok(sums);
        }
        for step in 0..self.stages - 1 {
            if step < self.most {
                let number = (b.constant_i64(step), self.most);
                emission.when_before(number, self.steps, |emission, _| {
                    self.stage(emission, &Expression::constant(step))
                })?;
            }
            copy::commit(&b);
        }
        let bounds = [b.constant_i64(0), self.steps, b.constant_i64(1)];
        let range = (0, self.most - 1);
        emission.for_carried(bounds, range, &sums, |emission, step, sums| {
            let b = emission.elemental.builder();
            // What this step multiplies is there, and what the last one multiplied is no longer read.
            copy::wait(&b, self.stages - 2);
            thread::barrier(&b);
            let next = emission
                .elemental
                .number(&step.plus_constant(self.stages - 1));
            emission.when_before((next, self.most), self.steps, |emission, next| {
                self.stage(emission, &next)
            })?;
            copy::commit(&emission.elemental.builder());
            Ok(self.multiply(emission, &step, sums))
        })
    }

    /// Brings what a step multiplies into its stage.
    fn stage(&self, emission: &mut Emission<'c, '_>, step: &Expression) -> Result<(), Unsupported> {
        for operand in [0, 1] {
            let rows = self.warps.division.tile()[operand];
            let stage = step.remainder(self.stages);
            let bytes = stage.times(self.warps.stage_bytes(operand));
            let to = address(emission, self.rows[operand], &bytes);
            let bytes = stage.times(rows * scale_stride(self.warps.mma));
            let scales = address(emission, self.scales[operand], &bytes);
            let zero = Expression::constant(0);
            let piece = Piece {
                operand,
                part: &self.part,
                rows,
                step,
                before: self.window.as_ref().map_or(&zero, |window| &window.before),
                to,
                scales,
                thread: &self.warps.thread,
                threads: self.warps.division.threads(),
            };
            self.staging.stage(emission, &piece)?;
        }
        Ok(())
    }

    /// Adds the products of what a step has in shared memory.
    fn multiply(
        &self,
        emission: &mut Emission<'c, '_>,
        step: &Expression,
        sums: &[Value<'c>],
    ) -> Vec<Value<'c>> {
        let stage = step.remainder(self.stages);
        let mut scales = self.scales(emission, &stage);
        let lane = self.warps.lane();
        let masks = (self.window.as_ref()).map(|window| window.masks(emission, step, &lane));
        if let Some(masks) = &masks {
            let b = emission.elemental.builder();
            scales = scales.map(|scales| masks.of_scales(&b, scales));
        }
        let beside = (scales.as_ref(), masks.as_ref());
        (self.warps).multiply(emission, (self.rows, &stage), beside, sums)
    }

    /// A register of block scales for each fragment of lhs and of rhs, for all of a stage.
    fn scales(
        &self,
        emission: &mut Emission<'c, '_>,
        stage: &Expression,
    ) -> Option<[Vec<Value<'c>>; 2]> {
        let Mma::BlockScaled(format) = self.warps.mma else {
            return None;
        };
        let lane = self.warps.lane();
        let words = window::scale_words(format, &lane).map(|words| words.times(WORD));
        let lower = lane.remainder(2).times(matrix::ROWS / 2);
        let rows = [lane.quotient(4).plus(&lower), lane.quotient(4)];
        let heights = [matrix::ROWS, matrix::COLUMNS];
        Some([0, 1].map(|operand| {
            let first = stage.times(self.warps.division.tile()[operand]);
            let first = first.plus(&self.warps.warp()[operand]).plus(&rows[operand]);
            let of = |fragment: i64| {
                let row = first.plus_constant(fragment * heights[operand]);
                let place = row
                    .times(scale_stride(self.warps.mma))
                    .plus(&words[operand]);
                let address = address(emission, self.scales[operand], &place);
                let b = emission.elemental.builder();
                b.load(address, b.integer(32))
            };
            (0..self.warps.division.fragments[operand])
                .map(of)
                .collect()
        }))
    }

    /// Writes this thread's elements of the result.
    fn store(
        &self,
        emission: &mut Emission<'c, '_>,
        sums: &[Value<'c>],
    ) -> Result<(), Unsupported> {
        let [_, m, n, _] = self.product.extents();
        let sums = self.product.scaled(emission, sums)?;
        let lane = self.warps.lane();
        let [row, column] =
            [0, 1].map(|side| self.part.corner[side].plus(&self.warps.warp()[side]));
        let row = row.plus(&lane.quotient(4));
        let column = column.plus(&lane.remainder(4).times(2));
        let [down, across] = self.warps.division.fragments;
        // A fragment's first two numbers are next to each other in a row, the others eight rows below.
        for upper in 0..2 * down {
            let row = row.plus_constant(upper * matrix::ROWS / 2);
            let number = emission.elemental.number(&row);
            emission.when_before((number, m), self.part.rows_end, |emission, row| {
                for left in 0..2 * across {
                    let column = column.plus_constant(left / 2 * matrix::COLUMNS + left % 2);
                    let fragment = upper / 2 * across + left / 2;
                    let sum = sums[(fragment * 4 + upper % 2 * 2 + left % 2) as usize];
                    let number = emission.elemental.number(&column);
                    emission.when_below(number, n, |emission, column| {
                        let places = [&self.part.batch, &row, &column];
                        self.product.write(emission, sum, places)
                    })?;
                }
                Ok::<_, Unsupported>(())
            })?;
        }
        Ok(())
    }
}

/// The address so many bytes behind another.
pub fn address<'c>(
    emission: &mut Emission<'c, '_>,
    base: Value<'c>,
    bytes: &Expression,
) -> Value<'c> {
    let bytes = emission.elemental.number(bytes);
    let b = emission.elemental.builder();
    b.element_address(base, b.integer(8), bytes)
}
