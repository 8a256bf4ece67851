//! The index family: a thread has a column of the tensor that is updated, and a section of its rows. Neighbouring threads
//! have neighbouring columns. It goes over all updates, in their order, and does those of its section: sums come in one
//! order, and nobody waits for anybody.

use super::blocks;
use crate::blocks::index::{self, Grain};
use crate::mlir::Emission;
use crate::mlir::elemental::Unsupported;
use crate::nvptx::Grid;

/// Threads of a CTA.
const THREADS: i64 = 128;

/// Fills a kernel's function.
///
/// # Errors
/// The body holds what the family cannot do.
pub fn emit(emission: &mut Emission<'_, '_>) -> Result<Grid, Unsupported> {
    blocks::each(emission, THREADS, &|emission| {
        index::emit(emission, Grain::Fine)
    })
}
