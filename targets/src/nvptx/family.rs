//! How each schedule family's kernels are built for a GPU.

mod blocks;
mod column;
mod dot;
mod r#loop;
mod row;

use super::Grid;
use super::shared::Shared;
use crate::mlir::Emission;
use crate::mlir::elemental::Unsupported;
use tessera_ir::plan::Family;

/// What a family made beside the function's code.
pub struct Built {
    /// What it is launched with.
    pub grid: Grid,
    /// The shared memory it declares.
    pub shared: Shared,
}

/// Fills a kernel's function; `symbol` is its name.
///
/// # Errors
/// The body holds what its family cannot do.
pub fn emit(emission: &mut Emission<'_, '_>, symbol: &str) -> Result<Built, Unsupported> {
    let mut shared = Shared::new(symbol);
    let grid = match emission.kernel.family {
        Family::Loop => r#loop::emit(emission)?,
        Family::Row => row::emit(emission, &mut shared)?,
        Family::Column => column::emit(emission, &mut shared)?,
        Family::Dot => dot::emit(emission, &mut shared)?,
        Family::Index | Family::Sort => blocks::emit(emission)?,
        Family::Quantize | Family::Solve => {
            return Err(Unsupported::new(
                &emission.kernel.body.operations()[0],
                "has no kernel for GPUs",
            ));
        }
    };
    Ok(Built { grid, shared })
}

/// A grid, or that there is none of that size.
fn grid(emission: &Emission<'_, '_>, ctas: i64, threads: i64) -> Result<Grid, Unsupported> {
    Grid::new(ctas, threads).ok_or_else(|| {
        let reason = format!("needs {ctas} CTAs, more than a grid has");
        Unsupported::new(&emission.kernel.body.operations()[0], reason)
    })
}
