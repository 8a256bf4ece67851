//! The rule of `gather`.

use super::OpError;
use super::check::{ElementClass, Rule, require, without};
use super::slice::slice_inside;
use crate::{GatherDimensionNumbers, TensorType};

/// - (I2) the start indices are integers.
/// - (C1) each operand dimension is an offset, a collapsed or a batching dimension.
/// - (C2) `index_vector_dim` is a dimension of the start indices or their rank.
/// - (C3) `start_index_map` has an entry for each component of an index vector.
/// - (C4) `offset_dims` are distinct and in ascending order.
/// - (C5) each is a dimension of the result.
/// - (C6) `collapsed_slice_dims` and `operand_batching_dims` are distinct.
/// - (C7), (C8) `collapsed_slice_dims` are in ascending order, dimensions of the operand.
/// - (C9) slices have size 0 or 1 there.
/// - (C10), (C11) `operand_batching_dims` are in ascending order, dimensions of the operand.
/// - (C12) slices have size 0 or 1 there.
/// - (C13), (C14) `start_indices_batching_dims` are distinct, dimensions of the start indices.
/// - (C15) `index_vector_dim` is none of them.
/// - (C16), (C17) there are as many as `operand_batching_dims`, of the same sizes.
/// - (C18) `start_index_map` and `operand_batching_dims` are distinct.
/// - (C19) `start_index_map` names dimensions of the operand.
/// - (C20) there is a slice size for each dimension of the operand.
/// - (C21) a slice is no larger than the operand.
///
/// (C22) The result's dimensions at `offset_dims` are those of the slice but for collapsed and batching ones; the
/// others are those of the start indices but for `index_vector_dim`.
pub(super) fn gather(
    rule: Rule,
    dimensions: &GatherDimensionNumbers<'_>,
    slice_sizes: &[usize],
    operands: &[&TensorType],
) -> Result<TensorType, OpError> {
    let [operand, start_indices] = rule.operands(operands)?;
    rule.element("I2", ElementClass::Integer, "start_indices", start_indices)?;
    check_operand_dimensions(rule, dimensions, slice_sizes, operand)?;
    check_index_dimensions(rule, dimensions, operand, start_indices)?;
    let batch_sizes = without(&start_indices.shape, &[&[dimensions.index_vector_dim]]);
    let not_offset = [
        dimensions.collapsed_slice_dims,
        dimensions.operand_batching_dims,
    ];
    let offset_sizes = without(slice_sizes, &not_offset);
    let rank = batch_sizes.len() + offset_sizes.len();
    let offset_dims = dimensions.offset_dims;
    rule.unique("C4", "offset_dims", offset_dims)?;
    rule.sorted("C4", "offset_dims", offset_dims)?;
    rule.in_rank("C5", "offset_dims", offset_dims, "the result", rank)?;
    Ok(operand.with_shape(combine(&batch_sizes, &offset_sizes, offset_dims)))
}

fn check_operand_dimensions(
    rule: Rule,
    dimensions: &GatherDimensionNumbers<'_>,
    slice_sizes: &[usize],
    operand: &TensorType,
) -> Result<(), OpError> {
    let (rank, collapsed) = (operand.rank(), dimensions.collapsed_slice_dims);
    let batching = dimensions.operand_batching_dims;
    let offsets = dimensions.offset_dims.len();
    require!(
        rule,
        "C1",
        offsets + collapsed.len() + batching.len() == rank,
        "offset_dims, collapsed_slice_dims and operand_batching_dims together must be {rank}, the rank of {operand}, found {offsets} + {} + {}",
        collapsed.len(),
        batching.len()
    );
    let named = [collapsed, batching].concat();
    rule.unique(
        "C6",
        "collapsed_slice_dims and operand_batching_dims",
        &named,
    )?;
    rule.sorted("C7", "collapsed_slice_dims", collapsed)?;
    rule.in_rank("C8", "collapsed_slice_dims", collapsed, "the operand", rank)?;
    rule.sorted("C10", "operand_batching_dims", batching)?;
    rule.in_rank(
        "C11",
        "operand_batching_dims",
        batching,
        "the operand",
        rank,
    )?;
    rule.entry_per_dimension("C20", "slice_sizes", slice_sizes.len(), operand)?;
    for (constraint, name, among) in [
        ("C9", "collapsed_slice_dims", collapsed),
        ("C12", "operand_batching_dims", batching),
    ] {
        if let Some(&large) = among.iter().find(|&&d| slice_sizes[d] > 1) {
            let found = slice_sizes[large];
            let message =
                format!("slice_sizes must be 0 or 1 at {name}, found {found} at dimension {large}");
            return Err(rule.error(constraint, message));
        }
    }
    slice_inside(rule, "C21", "the slice", slice_sizes, operand)
}

fn check_index_dimensions(
    rule: Rule,
    dimensions: &GatherDimensionNumbers<'_>,
    operand: &TensorType,
    start_indices: &TensorType,
) -> Result<(), OpError> {
    let batching = dimensions.operand_batching_dims;
    let index_batching = dimensions.start_indices_batching_dims;
    let index_vector_dim = dimensions.index_vector_dim;
    require!(
        rule,
        "C2",
        index_vector_dim <= start_indices.rank(),
        "index_vector_dim must be at most {}, the rank of {start_indices}, found {index_vector_dim}",
        start_indices.rank()
    );
    let map = dimensions.start_index_map;
    let components = index_components(start_indices, index_vector_dim);
    require!(
        rule,
        "C3",
        map.len() == components,
        "start_index_map must have {components} entries, one for each component of an index vector, found {}",
        map.len()
    );
    let name = "start_indices_batching_dims";
    rule.unique("C13", name, index_batching)?;
    let rank = start_indices.rank();
    rule.in_rank("C14", name, index_batching, "start_indices", rank)?;
    require!(
        rule,
        "C15",
        !index_batching.contains(&index_vector_dim),
        "{name} must not contain index_vector_dim {index_vector_dim}, found {index_batching:?}"
    );
    require!(
        rule,
        "C16",
        batching.len() == index_batching.len(),
        "operand_batching_dims and {name} must be as many, found {batching:?} and {index_batching:?}"
    );
    let pairs = batching.iter().zip(index_batching);
    for (&in_operand, &in_indices) in pairs {
        let sizes = (operand.shape[in_operand], start_indices.shape[in_indices]);
        require!(
            rule,
            "C17",
            sizes.0 == sizes.1,
            "batching dimensions must have one size, found {} in dimension {in_operand} of {operand} and {} in dimension {in_indices} of {start_indices}",
            sizes.0,
            sizes.1
        );
    }
    let named = [map, batching].concat();
    rule.unique("C18", "start_index_map and operand_batching_dims", &named)?;
    rule.in_rank("C19", "start_index_map", map, "the operand", operand.rank())
}

/// The number of components of an index vector: it lies along `index_vector_dim`, or is a single number where that is
/// the rank of the indices.
pub(super) fn index_components(indices: &TensorType, index_vector_dim: usize) -> usize {
    indices.shape.get(index_vector_dim).copied().unwrap_or(1)
}

/// A shape with the window sizes at `window_dims`, in their order, and the batch sizes at the other dimensions.
pub(super) fn combine(
    batch_sizes: &[usize],
    window_sizes: &[usize],
    window_dims: &[usize],
) -> Vec<usize> {
    let (mut batch, mut window) = (batch_sizes.iter(), window_sizes.iter());
    let rank = batch_sizes.len() + window_sizes.len();
    (0..rank)
        .filter_map(|dimension| {
            if window_dims.contains(&dimension) {
                window.next().copied()
            } else {
                batch.next().copied()
            }
        })
        .collect()
}
