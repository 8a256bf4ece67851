//! Any family by its blocks: a thread does one.

use super::grid;
use crate::blocks::{self, Division, ceil_div};
use crate::mlir::elemental::Unsupported;
use crate::mlir::{Emission, try_out};
use crate::nvptx::{Grid, thread};
use melior::ir::attribute::{IntegerAttribute, TypeAttribute};

/// Threads of a CTA: few, for a block is much work and there are not many.
const THREADS: i64 = 32;

/// Local memory of a thread. (CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".)
const LOCAL_BYTES: usize = 512 << 10;

/// Fills a kernel's function by its family's blocks.
///
/// # Errors
/// The body holds what the family cannot do, or a block needs more memory than a thread has.
pub fn emit(emission: &mut Emission<'_, '_>) -> Result<Grid, Unsupported> {
    each(emission, THREADS, &|emission| blocks::emit(emission))
}

/// Fills a kernel's function by blocks, in CTAs of so many threads.
///
/// # Errors
/// The blocks cannot be made, or one needs more memory than a thread has.
pub fn each(
    emission: &mut Emission<'_, '_>,
    threads: i64,
    make: &dyn Fn(&mut Emission<'_, '_>) -> Result<Division, Unsupported>,
) -> Result<Grid, Unsupported> {
    let b = emission.elemental.builder();
    let Division {
        blocks,
        scratch_bytes,
        ..
    } = try_out(b.context(), emission.kernel, emission.in_place, |trial| {
        make(trial)
    })?;
    let blocks = blocks.cast_signed();
    if blocks == 0 {
        return Ok(Grid::EMPTY);
    }
    if scratch_bytes > LOCAL_BYTES {
        let reason = format!(
            "needs {scratch_bytes} bytes of memory for a thread of its kernel, of which GPUs have {LOCAL_BYTES}"
        );
        return Err(Unsupported::new(
            &emission.kernel.body.operations()[0],
            reason,
        ));
    }
    if scratch_bytes > 0 {
        let byte = TypeAttribute::new(b.integer(8)).into();
        let alignment = IntegerAttribute::new(b.i64(), 64).into();
        emission.scratch = b.value(
            "llvm.alloca",
            &[b.constant_i64(scratch_bytes as i64)],
            b.pointer(),
            &[("elem_type", byte), ("alignment", alignment)],
        );
    }
    // A call for the only block does it whatever its range is; with more, a range that is empty has nothing done.
    let threads = threads.min(blocks);
    let one = b.constant_i64(1);
    emission.begin = thread::global(&b, threads);
    let next = b.binary("arith.addi", emission.begin, one);
    emission.end = b.binary("arith.minsi", next, b.constant_i64(blocks));
    make(emission)?;
    grid(emission, ceil_div(blocks, threads), threads)
}
