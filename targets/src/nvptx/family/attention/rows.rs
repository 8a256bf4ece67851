//! What attention kernels make of rows of weights: one reduction, or a softmax's two in one walk.

use super::body::Body;
use super::{Cta, THREADS_OF_ROW, TILE};
use crate::blocks::{Reduction, ceil_div};
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::Expression;
use crate::mlir::{Emission, FloatPredicate, Value, scalar};
use crate::nvptx::family::part::cta;
use crate::nvptx::shared::Shared;
use crate::nvptx::{GpuTarget, Grid, thread};
use tessera_ir::{ElementType, Unary};

/// Reduces the rows of the weights.
///
/// # Errors
/// A weight cannot be computed here.
pub fn reduce<'c, 'g>(
    emission: &mut Emission<'c, 'g>,
    body: &Body<'c, 'g>,
    reduction: &Reduction<'c, 'g>,
    on: (GpuTarget, &mut Shared),
) -> Result<Grid, Unsupported> {
    let nothing = reduction.of_nothing(emission)?;
    let step = |cta: &Cta<'_, 'c, 'g>,
                emission: &mut Emission<'c, 'g>,
                [row, corner]: [&Expression; 2],
                sums: &[Value<'c>]| {
        cta.walk(emission, sums, |emission, column, sums| {
            let at = (row, corner, column);
            cta.value_of_scores(emission, at, sums, |emission, indices| {
                reduction.step(emission, sums, indices)
            })
        })
    };
    let merge = |emission: &mut Emission<'c, 'g>, sums: [&[Value<'c>]; 2]| {
        reduction.merge(emission, &sums.concat())
    };
    let finish = |emission: &mut Emission<'c, 'g>, sums: &[Value<'c>]| {
        let results = reduction.finish_with_inits(emission, sums)?;
        let value = reduction.operation.result();
        Ok(results.into_iter().map(|result| (value, result)).collect())
    };
    of_rows(emission, (body, on), &[nothing], (&step, &merge, &finish))
}

/// Makes the largest weight of each row, and the sum of the exponentials of the others' distances to it.
///
/// # Errors
/// A weight cannot be computed here.
pub fn softmax<'c, 'g>(
    emission: &mut Emission<'c, 'g>,
    body: &Body<'c, 'g>,
    [maximum, sum]: [&Reduction<'c, 'g>; 2],
    on: (GpuTarget, &mut Shared),
) -> Result<Grid, Unsupported> {
    // The largest begins with its init: that may be met more than once.
    let least = emission.elemental.element(maximum.inits()[0], &[])?;
    let nothing = sum.neutral(&emission.elemental.builder());
    let online = Online { maximum, sum };
    let step = |cta: &Cta<'_, 'c, 'g>,
                emission: &mut Emission<'c, 'g>,
                at: [&Expression; 2],
                carried: &[Value<'c>]| online.step(cta, emission, at, carried);
    let merge =
        |emission: &mut Emission<'c, 'g>, both: [&[Value<'c>]; 2]| online.merge(emission, both);
    let is_empty = body.extents()[2] == 0;
    let finish = |emission: &mut Emission<'c, 'g>, carried: &[Value<'c>]| {
        let b = emission.elemental.builder();
        let &[largest, total] = carried else {
            unreachable!("a softmax has two numbers")
        };
        // exp(−∞ − (−∞)) of each column, if there is one.
        let not_a_number = b.constant_float(b.f32(), f64::NAN);
        let total = match is_empty {
            true => total,
            false => b.select(is_least(&b, largest), not_a_number, total),
        };
        let total = sum.finish_with_inits(emission, &[total])?[0];
        let values = [maximum, sum].map(|reduction| reduction.operation.result());
        Ok(values.into_iter().zip([largest, total]).collect())
    };
    of_rows(
        emission,
        (body, on),
        &[least, nothing],
        (&step, &merge, &finish),
    )
}

/// The largest number so far and the sum of exp(x − largest).
struct Online<'a, 'c, 'g> {
    maximum: &'a Reduction<'c, 'g>,
    sum: &'a Reduction<'c, 'g>,
}

impl<'c, 'g> Online<'_, 'c, 'g> {
    /// With those of a tile.
    fn step(
        &self,
        cta: &Cta<'_, 'c, 'g>,
        emission: &mut Emission<'c, 'g>,
        [row, corner]: [&Expression; 2],
        carried: &[Value<'c>],
    ) -> Result<Vec<Value<'c>>, Unsupported> {
        let before = carried[0];
        let largest = cta.walk(emission, &[before], |emission, column, largest| {
            let at = (row, corner, column);
            cta.value_of_scores(emission, at, largest, |emission, indices| {
                self.maximum.step(emission, largest, indices)
            })
        })?[0];
        let total = scaled(emission, carried[1], [before, largest]);
        let indices = cta.body.row([&cta.batch, row]);
        let value = self.maximum.operation.result();
        emission.elemental.provide(value, indices, largest);
        // Where all is −∞ so far, nothing is added: each term is 0 once there is more, and NaN if there never is.
        let is_least = is_least(&emission.elemental.builder(), largest);
        let total = cta.walk(emission, &[total], |emission, column, total| {
            let at = (row, corner, column);
            cta.value_of_scores(emission, at, total, |emission, indices| {
                let next = self.sum.step(emission, total, indices)?[0];
                let b = emission.elemental.builder();
                Ok(vec![b.select(is_least, total[0], next)])
            })
        })?[0];
        Ok(vec![largest, total])
    }

    /// Of two threads.
    fn merge(
        &self,
        emission: &mut Emission<'c, 'g>,
        [one, other]: [&[Value<'c>]; 2],
    ) -> Result<Vec<Value<'c>>, Unsupported> {
        let largest = self.maximum.merge(emission, &[one[0], other[0]])?[0];
        let totals = [one, other].map(|own| scaled(emission, own[1], [own[0], largest]));
        let total = self.sum.merge(emission, &totals)?[0];
        Ok(vec![largest, total])
    }
}

/// A sum of exp(x − before) as one of exp(x − after), what is after not being less.
fn scaled<'c>(
    emission: &Emission<'c, '_>,
    sum: Value<'c>,
    [before, after]: [Value<'c>; 2],
) -> Value<'c> {
    let b = emission.elemental.builder();
    let difference = b.binary("arith.subf", before, after);
    let factor = scalar::unary(&b, Unary::Exponential, ElementType::F32, difference);
    // Infinities are equal, and have no difference.
    let is_same = b.compare_floats(FloatPredicate::Oeq, before, after);
    b.select(is_same, sum, b.binary("arith.mulf", sum, factor))
}

/// Whether a number is −∞.
fn is_least<'c>(b: &crate::mlir::Builder<'c>, x: Value<'c>) -> Value<'c> {
    let least = b.constant_float(b.f32(), f64::NEG_INFINITY);
    b.compare_floats(FloatPredicate::Oeq, x, least)
}

/// What is made of a tile's row by a thread, of two threads' numbers, and of a row's at its end.
type Steps<'s, 'c, 'g> = (
    &'s dyn Fn(
        &Cta<'_, 'c, 'g>,
        &mut Emission<'c, 'g>,
        [&Expression; 2],
        &[Value<'c>],
    ) -> Result<Vec<Value<'c>>, Unsupported>,
    &'s dyn Fn(&mut Emission<'c, 'g>, [&[Value<'c>]; 2]) -> Result<Vec<Value<'c>>, Unsupported>,
    &'s dyn Fn(
        &mut Emission<'c, 'g>,
        &[Value<'c>],
    ) -> Result<Vec<(tessera_ir::ValueId, Value<'c>)>, Unsupported>,
);

/// Fills the function of a kernel that reduces rows, each thread's numbers beginning with `initial`.
fn of_rows<'c, 'g>(
    emission: &mut Emission<'c, 'g>,
    (body, on): (&Body<'c, 'g>, (GpuTarget, &mut Shared)),
    initial: &[Value<'c>],
    (step, merge, finish): Steps<'_, 'c, 'g>,
) -> Result<Grid, Unsupported> {
    let [batches, rows, columns] = body.extents();
    let blocks = ceil_div(rows, TILE);
    let ctas = batches * blocks;
    if ctas == 0 {
        return Ok(Grid::EMPTY);
    }
    let number = cta(emission, ctas);
    let corner = number.remainder(blocks).times(TILE);
    let cta = Cta::new(emission, body, on, number.quotient(blocks))?;
    let tiles = ceil_div(columns, TILE);
    let mut numbers = initial.to_vec();
    if tiles > 0 {
        let b = emission.elemental.builder();
        let bounds = [0, tiles, 1].map(|n| b.constant_i64(n));
        numbers =
            emission.for_carried(bounds, (0, tiles - 1), initial, |emission, tile, own| {
                let column = tile.times(TILE);
                cta.make_scores(emission, [&corner, &column])?;
                let then = |emission: &mut Emission<'c, 'g>, row: &Expression| {
                    step(&cta, emission, [row, &column], own)
                };
                cta.in_row(emission, &corner, own, then, |_| Ok(()))
            })?;
    }
    let mut mask = 1;
    while mask < THREADS_OF_ROW {
        let b = emission.elemental.builder();
        let others: Vec<_> = (numbers.iter())
            .map(|&number| thread::shuffle(&b, number, mask))
            .collect();
        numbers = merge(emission, [&numbers, &others])?;
        mask *= 2;
    }
    let [_, part] = cta.row().map(|e| emission.elemental.number(&e));
    let then = |emission: &mut Emission<'c, 'g>, row: &Expression| {
        let results = finish(emission, &numbers)?;
        let indices = body.row([&cta.batch, row]);
        emission.when_below(part, 1, |emission, _| {
            for (number, value) in emission.result_values().into_iter().enumerate() {
                let own = results.iter().find(|(result, _)| *result == value);
                if let Some(&(_, element)) = own {
                    emission.store_result(number, &indices, element);
                }
            }
            Ok::<_, Unsupported>(())
        })?;
        Ok(Vec::new())
    };
    cta.in_row(emission, &corner, &[], then, |_| Ok(()))?;
    cta.grid(emission, ctas)
}
