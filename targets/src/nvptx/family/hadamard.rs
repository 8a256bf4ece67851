//! Hadamard transforms: blocks along the last dimension are shared by neighbouring lanes, others are a thread's.
//!
//! They are sums on the cores, though `mma.sync` multiplies by matrices of ±1. An element is 8 bytes of memory and
//! log2 n + 1 operations: at n = 128, with the 4.8 · 10¹² bytes a second of an H200 go 4.8 · 10¹² operations of the
//! 33.5 · 10¹² that its cores do, with those of a B200 8.0 of 37.5. Addresses, signs and shuffles make it up to 21
//! instructions, 12.4 and 20.8 of these. The memory is what a kernel waits for.
//!
//! And the matrix units give other bits. The definition rounds each of its log2 n sums to 24 bits; they sum n products at
//! once, cut off 24 or 25 bits below the largest one. The two agree for certain only where neither rounds: where
//! a block's numbers are multiples of one power of two, q, and their magnitudes add up to 2²⁴ q at most. Numbers of 24
//! bits, as norms and products make them, almost never are, and taking them apart, into three bf16 each, is five
//! operations. Numbers that were bf16 are where the exponents span 16 − log2 n at most, 12 at n = 16 and 9 at n = 128:
//! of blocks of a normal distribution all but 0.3 % and 33 %. To find that out is two operations an element at
//! least, a largest and a smallest exponent, and the sums would stand beside for the other blocks.

use super::grid;
use crate::blocks::{ceil_div, extent};
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::{self, Expression};
use crate::mlir::{Builder, Emission, IntegerPredicate, Value};
use crate::nvptx::{Grid, thread};
use tessera_ir::{ElementType, Operation, ValueId};

/// Threads of a CTA.
const THREADS: i64 = 128;

/// Neighbouring numbers of a lane: 16 bytes, as much as one instruction reads.
const PART: i64 = 4;

/// Lanes that share a block at most: their parts are a line of memory, 128 bytes.
const LANES: i64 = 8;

/// [`tessera_numerics::hadamard`] of the operation's operand, in its order of operations.
pub fn emit(
    emission: &mut Emission<'_, '_>,
    operation: &Operation,
    axis: usize,
    signs: &[i64],
) -> Result<Grid, Unsupported> {
    let x = operation.op.operands[0];
    let tensor_type = emission.kernel.body.tensor_type(x);
    if tensor_type.element != ElementType::F32 {
        return Err(Unsupported::new(operation, "is of other numbers than f32"));
    }
    let shape = tensor_type.shape.clone();
    if shape.contains(&0) {
        return Ok(Grid::EMPTY);
    }
    if axis + 1 == shape.len() {
        along_rows(emission, x, shape, signs)
    } else {
        by_threads(emission, x, shape, (axis, signs))
    }
}

/// A thread has a block, in registers: those of threads next to each other are next to each other in memory.
fn by_threads(
    emission: &mut Emission<'_, '_>,
    x: ValueId,
    mut blocks: Vec<usize>,
    (axis, signs): (usize, &[i64]),
) -> Result<Grid, Unsupported> {
    let size = signs.len();
    blocks[axis] /= size;
    let count = extent(&blocks);
    let id = thread::global(&emission.elemental.builder(), THREADS);
    emission.when_below(id, count, |emission, unit| {
        let at = index::delinearize(&unit, &blocks);
        let place = |i: usize| {
            let mut indices: Vec<Expression> = at.clone();
            indices[axis] = at[axis].times(size as i64).plus_constant(i as i64);
            indices
        };
        let mut values = Vec::with_capacity(size);
        for (i, &sign) in signs.iter().enumerate() {
            let value = emission.elemental.element(x, &place(i))?;
            let b = emission.elemental.builder();
            values.push(if sign < 0 {
                b.unary("arith.negf", value)
            } else {
                value
            });
        }
        let b = emission.elemental.builder();
        let mut distance = 1;
        while distance < size {
            butterflies(&b, &mut values, distance);
            distance *= 2;
        }
        for (i, value) in scaled(&b, values, size).into_iter().enumerate() {
            emission.store_result(0, &place(i), value);
        }
        Ok::<_, Unsupported>(())
    })?;
    grid(emission, ceil_div(count, THREADS), THREADS)
}

/// Lanes next to each other share a block: each has parts of four numbers, one for each stretch of the block that is as
/// long as the lanes' parts together. So what a warp reads or writes at a time is whole lines of memory.
fn along_rows(
    emission: &mut Emission<'_, '_>,
    x: ValueId,
    shape: Vec<usize>,
    signs: &[i64],
) -> Result<Grid, Unsupported> {
    let size = signs.len();
    let lanes = LANES.min(size as i64 / PART);
    let stretch = lanes * PART;
    let last = shape.len() - 1;
    let mut threads = shape;
    threads[last] = threads[last] / size * lanes as usize;
    let count = extent(&threads);
    // Number i of the thread's is number `i % PART` of its part of stretch `i / PART`.
    let place = |unit: &Expression, i: i64| {
        let mut indices = index::delinearize(unit, &threads);
        let (block, lane) = (
            indices[last].quotient(lanes),
            indices[last].remainder(lanes),
        );
        let first = block.times(size as i64).plus(&lane.times(PART));
        indices[last] = first.plus_constant(i / PART * stretch + i % PART);
        indices
    };
    let own = size as i64 / lanes;
    let b = emission.elemental.builder();
    let id = thread::global(&b, THREADS);
    let lane = b.binary("arith.andi", thread::lane(&b), b.constant_i64(lanes - 1));
    let lane = b.cast("arith.trunci", lane, b.integer(32));
    // All lanes of a warp take part in shuffles, those without a block with zeros.
    let zeros = vec![b.constant_float(b.f32(), 0.0); own as usize];
    let mut values = emission.value_below(id, count, &zeros, |emission, unit| {
        (0..own)
            .map(|i| emission.elemental.element(x, &place(&unit, i)))
            .collect::<Result<Vec<_>, _>>()
    })?;
    let b = emission.elemental.builder();
    for (i, value) in values.iter_mut().enumerate() {
        let first = i as i64 / PART * stretch + i as i64 % PART;
        let is_negative = |lane: i64| signs[(first + lane * PART) as usize] < 0;
        let negative: Vec<bool> = (0..lanes).map(is_negative).collect();
        *value = signed(&b, *value, lane, &negative);
    }
    for distance in [1, 2] {
        butterflies(&b, &mut values, distance);
    }
    let mut mask = 1;
    while mask < lanes {
        across_lanes(&b, &mut values, lane, mask);
        mask *= 2;
    }
    let mut distance = PART as usize;
    while distance < values.len() {
        butterflies(&b, &mut values, distance);
        distance *= 2;
    }
    let values = scaled(&b, values, size);
    emission.when_below(id, count, |emission, unit| {
        for (i, value) in (0..own).zip(values) {
            emission.store_result(0, &place(&unit, i), value);
        }
        Ok::<_, Unsupported>(())
    })?;
    grid(emission, ceil_div(count, THREADS), THREADS)
}

/// The sums and differences of the numbers that lie so far from each other in a thread's.
fn butterflies<'c>(b: &Builder<'c>, values: &mut [Value<'c>], distance: usize) {
    for i in (0..values.len()).filter(|i| i & distance == 0) {
        let (low, high) = (values[i], values[i + distance]);
        values[i] = b.binary("arith.addf", low, high);
        values[i + distance] = b.binary("arith.subf", low, high);
    }
}

/// The sums, in the lanes whose number has no bit of the mask, and the differences, in the others, of the numbers of pairs
/// of lanes. A product by ±1 is exact, so that one `fma` rounds as the sum does.
fn across_lanes<'c>(b: &Builder<'c>, values: &mut [Value<'c>], lane: Value<'c>, mask: i64) {
    let number = |n: i64| b.constant_integer(b.integer(32), n);
    let bit = b.binary("arith.andi", lane, number(mask));
    let is_low = b.compare_integers(IntegerPredicate::Eq, bit, number(0));
    let [plus, minus] = [1.0, -1.0].map(|one| b.constant_float(b.f32(), one));
    let sign = b.select(is_low, plus, minus);
    for value in values {
        let other = thread::shuffle(b, *value, mask);
        *value = b.value("math.fma", &[*value, sign, other], b.f32(), &[]);
    }
}

/// The number, with its sign changed in the lanes of which `negative` says so.
fn signed<'c>(b: &Builder<'c>, x: Value<'c>, lane: Value<'c>, negative: &[bool]) -> Value<'c> {
    if !negative.contains(&true) {
        return x;
    }
    if !negative.contains(&false) {
        return b.unary("arith.negf", x);
    }
    // Shifted by the lane, its bit becomes the highest.
    let bits = (negative.iter().enumerate())
        .filter(|(_, is_negative)| **is_negative)
        .fold(0u32, |bits, (lane, _)| bits | 1 << (31 - lane));
    let number = |n: u32| b.constant_integer(b.integer(32), n.cast_signed().into());
    let shifted = b.binary("arith.shli", number(bits), lane);
    let sign = b.binary("arith.andi", shifted, number(1 << 31));
    let word = b.bitcast(x, b.integer(32));
    b.bitcast(b.binary("arith.xori", word, sign), b.f32())
}

/// The numbers times 1 / √size, rounded to f32.
fn scaled<'c>(b: &Builder<'c>, values: Vec<Value<'c>>, size: usize) -> Vec<Value<'c>> {
    let norm = f64::from((1.0 / (size as f64).sqrt()) as f32);
    let factor = b.constant_float(b.f32(), norm);
    let each = values.into_iter();
    each.map(|value| b.binary("arith.mulf", value, factor))
        .collect()
}
