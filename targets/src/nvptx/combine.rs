//! A number of each thread combined into one that all of them know.

use super::shared::Shared;
use super::thread::{self, WARP};
use crate::mlir::elemental::Unsupported;
use crate::mlir::{Emission, Value, scalar};
use tessera_ir::ElementType;

/// A commutative function of two numbers.
pub type Combine<'a, 'c, 'g> =
    dyn Fn(&mut Emission<'c, 'g>, Value<'c>, Value<'c>) -> Result<Value<'c>, Unsupported> + 'a;

/// The combination of the numbers of a warp's threads: halves against halves, so that each thread has the same bits.
///
/// # Errors
/// What `combine` returns.
pub fn in_warp<'c, 'g>(
    emission: &mut Emission<'c, 'g>,
    x: Value<'c>,
    combine: &Combine<'_, 'c, 'g>,
) -> Result<Value<'c>, Unsupported> {
    let mut x = x;
    let mut mask = WARP / 2;
    while mask > 0 {
        let other = thread::shuffle(&emission.elemental.builder(), x, mask);
        x = combine(emission, x, other)?;
        mask /= 2;
    }
    Ok(x)
}

/// The combination of the numbers of a CTA's threads, which are accumulators of that element type. All threads take part.
///
/// # Errors
/// What `combine` returns.
pub fn in_cta<'c, 'g>(
    emission: &mut Emission<'c, 'g>,
    shared: &mut Shared,
    (threads, element): (i64, ElementType),
    x: Value<'c>,
    combine: &Combine<'_, 'c, 'g>,
) -> Result<Value<'c>, Unsupported> {
    let x = in_warp(emission, x, combine)?;
    let warps = threads / WARP;
    let b = emission.elemental.builder();
    let memory = scalar::accumulator_memory_type(&b, element);
    /// The bytes of the largest accumulator.
    const BYTES: u32 = 8;
    let array = shared.array(&b, warps as u32 * BYTES);
    let address = |b: &crate::mlir::Builder<'c>, warp| b.element_address(array, memory, warp);
    let lane = thread::lane(&b);
    emission.when_below::<Unsupported>(lane, 1, |emission, _| {
        let b = emission.elemental.builder();
        let stored = scalar::to_accumulator_memory(&b, x, element);
        b.store(stored, address(&b, thread::warp(&b)));
        Ok(())
    })?;
    thread::barrier(&emission.elemental.builder());
    let mut sum = None;
    for warp in 0..warps {
        let b = emission.elemental.builder();
        let stored = b.load(address(&b, b.constant_i64(warp)), memory);
        let x = scalar::from_accumulator_memory(&b, stored, element);
        sum = Some(match sum {
            None => x,
            Some(sum) => combine(emission, sum, x)?,
        });
    }
    Ok(sum.unwrap_or(x))
}
