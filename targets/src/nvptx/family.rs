//! How each schedule family's kernels are built for a GPU.

mod attention;
mod blocks;
mod boxes;
mod column;
mod dot;
mod edges;
mod fma;
mod grouped;
mod hadamard;
mod index;
mod r#loop;
mod magnitude;
mod mma;
mod part;
mod quantize;
mod relayout;
mod rounds;
mod row;
mod scaled_dot;
mod solve;
mod storage;
mod swizzled;
mod tcgen05;
mod wgmma;

use super::shared::Shared;
use super::{GpuTarget, Grid};
use crate::mlir::Emission;
use crate::mlir::elemental::Unsupported;
use tessera_ir::OpKind;
use tessera_ir::plan::{Family, Kernel};
use tessera_runtime::bundle::{self, MatrixUnit};

/// What a family made beside the function's code.
pub struct Built {
    /// What it is launched with.
    pub grid: Grid,
    /// The shared memory it declares.
    pub shared: Shared,
}

/// Fills a kernel's function for a target, in tiles of so many rows and columns where these are not its to choose; `symbol`
/// is its name.
///
/// # Errors
/// The body holds what its family cannot do, or is not made in such tiles.
pub fn emit(
    emission: &mut Emission<'_, '_>,
    (target, tile): (GpuTarget, Option<[i64; 2]>),
    symbol: &str,
) -> Result<Built, Unsupported> {
    let mut shared = Shared::new(symbol);
    if tile.is_some() && !matches!(emission.kernel.family, Family::Dot | Family::Attention) {
        let reason = "is in a kernel of no product, which is not cut into tiles";
        return Err(Unsupported::new(
            &emission.kernel.body.operations()[0],
            reason,
        ));
    }
    let grid = match emission.kernel.family {
        Family::Loop => r#loop::emit(emission)?,
        Family::Row => row::emit(emission, &mut shared)?,
        Family::Column => column::emit(emission, &mut shared)?,
        Family::Dot => magnitude::with_magnitudes(emission, |emission| {
            dot::emit(emission, (target, tile), &mut shared)
        })?,
        Family::Attention => attention::emit(emission, (target, tile), &mut shared)?,
        Family::Index => index::emit(emission)?,
        Family::Sort => blocks::emit(emission)?,
        Family::Quantize => of_scaled_tensors(emission, target, &mut shared)?,
        Family::Solve => solve::emit(emission)?,
    };
    Ok(Built { grid, shared })
}

/// The matrix unit that makes a kernel's products, where one does.
pub fn matrix_unit(kernel: &Kernel, target: GpuTarget) -> Option<MatrixUnit> {
    match kernel.family {
        Family::Dot | Family::Quantize => dot::matrix_unit(&kernel.body, target),
        Family::Attention => attention::matrix_unit(&kernel.body, target),
        Family::Loop
        | Family::Row
        | Family::Column
        | Family::Index
        | Family::Sort
        | Family::Solve => None,
    }
}

/// Kernels that make scaled tensors, read them, or prepare for them: by the op that makes the first result.
fn of_scaled_tensors(
    emission: &mut Emission<'_, '_>,
    target: GpuTarget,
    shared: &mut Shared,
) -> Result<Grid, Unsupported> {
    let graph = &emission.kernel.body;
    let first = (emission.result_values().first()).and_then(|&v| graph.defining_operation(v));
    let Some(operation) = first else {
        return Ok(Grid::EMPTY);
    };
    match &operation.op.kind {
        OpKind::Quantize { .. } => quantize::emit(emission, target, shared),
        OpKind::Dequantize { .. } => r#loop::emit(emission),
        OpKind::Reduce { dimensions, .. } => {
            let rank = graph.tensor_type(operation.op.operands[0]).rank();
            match dimensions.contains(&(rank - 1)) {
                true => row::emit(emission, shared),
                false => column::emit(emission, shared),
            }
        }
        OpKind::DotGeneral { .. } => dot::emit(emission, (target, None), shared),
        OpKind::Relayout { scaled_type } => relayout::emit(emission, operation, scaled_type),
        OpKind::Hadamard { axis, signs } => hadamard::emit(emission, operation, *axis, signs),
        _ => Err(Unsupported::new(operation, "has no kernel for GPUs")),
    }
}

/// A tile of so many rows and columns of a result, as the manifest says it.
fn tile([rows, columns]: [i64; 2], depth: i64, stages: i64) -> Option<bundle::Tile> {
    let [rows, columns, depth, stages] = [rows, columns, depth, stages].map(u32::try_from);
    Some(bundle::Tile {
        rows: rows.ok()?,
        columns: columns.ok()?,
        depth: depth.ok()?,
        stages: stages.ok()?,
    })
}

/// A grid, or that there is none of that size.
fn grid(emission: &Emission<'_, '_>, ctas: i64, threads: i64) -> Result<Grid, Unsupported> {
    Grid::new(ctas, threads).ok_or_else(|| {
        let reason = format!("needs {ctas} CTAs, more than a grid has");
        Unsupported::new(&emission.kernel.body.operations()[0], reason)
    })
}
