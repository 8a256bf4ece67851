//! Gather and scatter.

use super::Scope;
use crate::raw::RawOp;
use tessera_ir::diagnostic::Diagnostic;
use tessera_ir::text::Dictionary;
use tessera_ir::{OpKind, ValueId};

pub(super) fn gather(
    scope: &mut Scope<'_, '_>,
    op: &RawOp<'_>,
) -> Result<Vec<ValueId>, Diagnostic> {
    let numbers = op.attribute("dimension_numbers")?.dictionary()?;
    let kind = OpKind::Gather {
        offset_dims: dimensions(numbers, "offset_dims")?,
        collapsed_slice_dims: dimensions(numbers, "collapsed_slice_dims")?,
        operand_batching_dims: dimensions(numbers, "operand_batching_dims")?,
        start_indices_batching_dims: dimensions(numbers, "start_indices_batching_dims")?,
        start_index_map: dimensions(numbers, "start_index_map")?,
        index_vector_dim: index_vector_dim(numbers)?,
        slice_sizes: op.integers("slice_sizes")?,
        indices_are_sorted: op.flag("indices_are_sorted")?,
    };
    scope.push(op, kind)
}

pub(super) fn scatter<'r, 's>(
    scope: &mut Scope<'r, 's>,
    op: &'r RawOp<'s>,
) -> Result<Vec<ValueId>, Diagnostic> {
    let numbers = op.attribute("scatter_dimension_numbers")?.dictionary()?;
    let [update_computation] = op.regions()?;
    let kind = OpKind::Scatter {
        update_window_dims: dimensions(numbers, "update_window_dims")?,
        inserted_window_dims: dimensions(numbers, "inserted_window_dims")?,
        input_batching_dims: dimensions(numbers, "input_batching_dims")?,
        scatter_indices_batching_dims: dimensions(numbers, "scatter_indices_batching_dims")?,
        scatter_dims_to_operand_dims: dimensions(numbers, "scatter_dims_to_operand_dims")?,
        index_vector_dim: index_vector_dim(numbers)?,
        indices_are_sorted: op.flag("indices_are_sorted")?,
        unique_indices: op.flag("unique_indices")?,
        update_computation: scope.isolated_region(update_computation)?,
    };
    scope.push(op, kind)
}

fn dimensions(numbers: &Dictionary, name: &str) -> Result<Vec<usize>, Diagnostic> {
    numbers
        .get(name)
        .map_or(Ok(Vec::new()), |attribute| attribute.integers())
}

/// Printed only where it is not 0.
fn index_vector_dim(numbers: &Dictionary) -> Result<usize, Diagnostic> {
    numbers
        .get("index_vector_dim")
        .map_or(Ok(0), |attribute| attribute.integer())
}
