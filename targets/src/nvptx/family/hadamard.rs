//! Hadamard transforms: a thread has a block, in registers.

use super::grid;
use crate::blocks::{ceil_div, extent};
use crate::mlir::Emission;
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::{self, Expression};
use crate::nvptx::{Grid, thread};
use tessera_ir::{ElementType, Operation};

/// Threads of a CTA.
const THREADS: i64 = 128;

/// [`tessera_numerics::hadamard`] of the operation's operand, in its order of operations.
pub fn emit(
    emission: &mut Emission<'_, '_>,
    operation: &Operation,
    axis: usize,
    signs: &[i64],
) -> Result<Grid, Unsupported> {
    let x = operation.op.operands[0];
    let tensor_type = emission.kernel.body.tensor_type(x);
    let (shape, element) = (&tensor_type.shape, tensor_type.element);
    if element != ElementType::F32 {
        return Err(Unsupported::new(operation, "is of other numbers than f32"));
    }
    let size = signs.len();
    // Threads next to each other have blocks that are next to each other in memory.
    let mut blocks = shape.clone();
    blocks[axis] /= size;
    let count = extent(&blocks);
    if count == 0 {
        return Ok(Grid::EMPTY);
    }
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
            for i in (0..size).filter(|i| i & distance == 0) {
                let (low, high) = (values[i], values[i + distance]);
                values[i] = b.binary("arith.addf", low, high);
                values[i + distance] = b.binary("arith.subf", low, high);
            }
            distance *= 2;
        }
        let factor = b.constant_float(b.f32(), f64::from((1.0 / (size as f64).sqrt()) as f32));
        for (i, &value) in values.iter().enumerate() {
            let scaled = b.binary("arith.mulf", value, factor);
            emission.store_result(0, &place(i), scaled);
        }
        Ok(())
    })?;
    grid(emission, ceil_div(count, THREADS), THREADS)
}
