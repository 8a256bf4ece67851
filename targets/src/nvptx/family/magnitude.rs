//! The largest magnitude of what a kernel makes of its product: of each thread, of its warp, then of all, in memory that
//! holds what it begins with. Magnitudes are in the order of their bits, a NaN's the largest, so any order gives the same.

use crate::mlir::elemental::Unsupported;
use crate::mlir::index::Expression;
use crate::mlir::{Emission, Value};
use crate::nvptx::Grid;
use crate::nvptx::combine::in_warp;
use crate::nvptx::inline::Ptx;
use crate::nvptx::thread;
use tessera_ir::{Definition, ElementType, OpKind, Operation};

/// Fills a product's kernel by `emit`, and writes the largest magnitudes that the body has among its results.
///
/// # Errors
/// What `emit` returns; or a result does not lie where what it begins with does.
pub fn with_magnitudes<'c, 'g>(
    emission: &mut Emission<'c, 'g>,
    emit: impl FnOnce(&mut Emission<'c, 'g>) -> Result<Grid, Unsupported>,
) -> Result<Grid, Unsupported> {
    let only = Expression::constant(0);
    let body = &emission.kernel.body;
    for (number, result) in body.results().iter().enumerate() {
        let made = body.defining_operation(result.value);
        let is_reduction = |made: &&Operation| matches!(made.op.kind, OpKind::Reduce { .. });
        let Some(reduction) = made.filter(is_reduction) else {
            continue;
        };
        if !is_in_place(emission, reduction, number) {
            let reason = "finds the largest of a product elsewhere than where it begins";
            return Err(Unsupported::new(reduction, reason));
        }
        let own = emission.stack_array(1, ElementType::I32);
        let b = emission.elemental.builder();
        let least = b.constant_integer(b.integer(32), i32::MIN.into());
        emission.store_accumulator(least, own, ElementType::I32, &only);
        emission.magnitudes.push((number, own));
    }
    let grid = emit(emission)?;
    for (number, own) in emission.magnitudes.clone() {
        let own = emission.load_accumulator(own, ElementType::I32, &only);
        let largest = in_warp(emission, own, &|emission, x, y| {
            Ok(emission.elemental.builder().binary("arith.maxsi", x, y))
        })?;
        put(emission, number, largest)?;
    }
    Ok(grid)
}

/// Whether a result lies where what its reduction begins with does.
fn is_in_place(emission: &Emission<'_, '_>, reduction: &Operation, number: usize) -> bool {
    let init = reduction.op.operands.last();
    init.is_some_and(|&init| match emission.kernel.body.definition(init) {
        Definition::Input(input) => emission.in_place[input] == Some(number),
        Definition::Result { .. } => false,
    })
}

/// Makes a result the larger of what it is and the bits that a warp's threads have.
fn put<'c>(
    emission: &mut Emission<'c, '_>,
    number: usize,
    largest: Value<'c>,
) -> Result<(), Unsupported> {
    let lane = thread::lane(&emission.elemental.builder());
    emission.when_below(lane, 1, |emission, _| {
        let b = emission.elemental.builder();
        let address = b.cast("llvm.ptrtoint", emission.results[number], b.i64());
        // What it begins with may be less than 0: its bits are then less than all magnitudes', as signed integers.
        let put = Ptx::new("red.relaxed.gpu.global.max.s32 [$0], $1;").memory();
        put.run(&b, &[address, largest]);
        Ok(())
    })
}
