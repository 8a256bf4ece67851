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
        "start_index_map must have one entry for each of the {components} component(s) of an index vector, found {}",
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

#[cfg(test)]
mod tests {
    use crate::GatherDimensionNumbers;
    use crate::rules::testing::outcome;

    /// Rows of a `6x4` operand named by a list of numbers.
    const ROWS: GatherDimensionNumbers<'static> = GatherDimensionNumbers {
        offset_dims: &[1],
        collapsed_slice_dims: &[0],
        operand_batching_dims: &[],
        start_indices_batching_dims: &[],
        start_index_map: &[0],
        index_vector_dim: 1,
    };

    /// Of each of 2 batches of a `2x6x4` operand, the elements that pairs of numbers name.
    const BATCHED: GatherDimensionNumbers<'static> = GatherDimensionNumbers {
        offset_dims: &[],
        collapsed_slice_dims: &[1, 2],
        operand_batching_dims: &[0],
        start_indices_batching_dims: &[0],
        start_index_map: &[1, 2],
        index_vector_dim: 2,
    };

    fn rows(numbers: GatherDimensionNumbers<'_>, slice_sizes: &[usize]) -> String {
        outcome(["6x4xf32", "3xi32"], |b, [x, i]| {
            b.gather(x, i, &numbers, slice_sizes)
        })
    }

    fn batched(numbers: GatherDimensionNumbers<'_>, slice_sizes: &[usize]) -> String {
        outcome(["2x6x4xf32", "2x5x2xi32"], |b, [x, i]| {
            b.gather(x, i, &numbers, slice_sizes)
        })
    }

    #[test]
    fn the_result_has_offset_and_batch_dimensions() {
        assert_eq!(rows(ROWS, &[1, 4]), "tensor<3x4xf32>");
        let offset_first = GatherDimensionNumbers {
            offset_dims: &[0],
            ..ROWS
        };
        assert_eq!(rows(offset_first, &[1, 2]), "tensor<2x3xf32>");
        assert_eq!(batched(BATCHED, &[1, 1, 1]), "tensor<2x5xf32>");
    }

    #[test]
    fn indices_are_integers() {
        assert_eq!(
            outcome(["6x4xf32", "3xf32"], |b, [x, i]| b.gather(
                x,
                i,
                &ROWS,
                &[1, 4]
            )),
            "'tsr.gather' (I2): start_indices must be a tensor of integers, found tensor<3xf32>"
        );
    }

    #[test]
    fn constraints_on_the_slice() {
        let table = [
            (
                rows(
                    GatherDimensionNumbers {
                        offset_dims: &[],
                        ..ROWS
                    },
                    &[1, 4],
                ),
                "(C1): offset_dims, collapsed_slice_dims and operand_batching_dims together must be 2, the rank of tensor<6x4xf32>, found 0 + 1 + 0",
            ),
            (
                batched(
                    GatherDimensionNumbers {
                        offset_dims: &[1, 0],
                        collapsed_slice_dims: &[],
                        ..BATCHED
                    },
                    &[1, 1, 1],
                ),
                "(C4): offset_dims must be in ascending order, found [1, 0]",
            ),
            (
                batched(
                    GatherDimensionNumbers {
                        offset_dims: &[1, 1],
                        collapsed_slice_dims: &[],
                        ..BATCHED
                    },
                    &[1, 1, 1],
                ),
                "(C4): offset_dims must be distinct, found dimension 1 twice in [1, 1]",
            ),
            (
                rows(
                    GatherDimensionNumbers {
                        offset_dims: &[2],
                        ..ROWS
                    },
                    &[1, 4],
                ),
                "(C5): offset_dims must be less than the rank of the result, 2, found dimension 2",
            ),
            (
                batched(
                    GatherDimensionNumbers {
                        collapsed_slice_dims: &[0, 1],
                        ..BATCHED
                    },
                    &[1, 1, 1],
                ),
                "(C6): collapsed_slice_dims and operand_batching_dims must be distinct, found dimension 0 twice in [0, 1, 0]",
            ),
            (
                batched(
                    GatherDimensionNumbers {
                        collapsed_slice_dims: &[2, 1],
                        ..BATCHED
                    },
                    &[1, 1, 1],
                ),
                "(C7): collapsed_slice_dims must be in ascending order, found [2, 1]",
            ),
            (
                rows(
                    GatherDimensionNumbers {
                        collapsed_slice_dims: &[2],
                        ..ROWS
                    },
                    &[1, 4],
                ),
                "(C8): collapsed_slice_dims must be less than the rank of the operand, 2, found dimension 2",
            ),
            (
                rows(ROWS, &[2, 4]),
                "(C9): slice_sizes must be 0 or 1 at collapsed_slice_dims, found 2 at dimension 0",
            ),
            (
                batched(BATCHED, &[2, 1, 1]),
                "(C12): slice_sizes must be 0 or 1 at operand_batching_dims, found 2 at dimension 0",
            ),
            (
                rows(ROWS, &[1]),
                "(C20): slice_sizes must have one entry for each of the 2 dimension(s) of tensor<6x4xf32>, found 1",
            ),
            (
                rows(ROWS, &[1, 5]),
                "(C21): in dimension 1 of tensor<6x4xf32> the slice must be no larger than 4, found 5",
            ),
        ];
        for (found, expected) in table {
            assert_eq!(found, format!("'tsr.gather' {expected}"));
        }
    }

    #[test]
    fn constraints_on_batching_and_indices() {
        let two = GatherDimensionNumbers {
            collapsed_slice_dims: &[2],
            start_index_map: &[2],
            index_vector_dim: 3,
            ..BATCHED
        };
        let table = [
            (
                rows(
                    GatherDimensionNumbers {
                        index_vector_dim: 2,
                        ..ROWS
                    },
                    &[1, 4],
                ),
                "(C2): index_vector_dim must be at most 1, the rank of tensor<3xi32>, found 2",
            ),
            (
                rows(
                    GatherDimensionNumbers {
                        start_index_map: &[0, 1],
                        ..ROWS
                    },
                    &[1, 4],
                ),
                "(C3): start_index_map must have one entry for each of the 1 component(s) of an index vector, found 2",
            ),
            (
                batched(
                    GatherDimensionNumbers {
                        operand_batching_dims: &[1, 0],
                        ..two
                    },
                    &[1, 1, 1],
                ),
                "(C10): operand_batching_dims must be in ascending order, found [1, 0]",
            ),
            (
                batched(
                    GatherDimensionNumbers {
                        operand_batching_dims: &[3],
                        ..BATCHED
                    },
                    &[1, 1, 1],
                ),
                "(C11): operand_batching_dims must be less than the rank of the operand, 3, found dimension 3",
            ),
            (
                batched(
                    GatherDimensionNumbers {
                        operand_batching_dims: &[0, 1],
                        start_indices_batching_dims: &[0, 0],
                        ..two
                    },
                    &[1, 1, 1],
                ),
                "(C13): start_indices_batching_dims must be distinct, found dimension 0 twice in [0, 0]",
            ),
            (
                batched(
                    GatherDimensionNumbers {
                        start_indices_batching_dims: &[3],
                        ..BATCHED
                    },
                    &[1, 1, 1],
                ),
                "(C14): start_indices_batching_dims must be less than the rank of start_indices, 3, found dimension 3",
            ),
            (
                batched(
                    GatherDimensionNumbers {
                        start_indices_batching_dims: &[2],
                        ..BATCHED
                    },
                    &[1, 1, 1],
                ),
                "(C15): start_indices_batching_dims must not contain index_vector_dim 2, found [2]",
            ),
            (
                batched(
                    GatherDimensionNumbers {
                        start_indices_batching_dims: &[],
                        ..BATCHED
                    },
                    &[1, 1, 1],
                ),
                "(C16): operand_batching_dims and start_indices_batching_dims must be as many, found [0] and []",
            ),
            (
                batched(
                    GatherDimensionNumbers {
                        start_indices_batching_dims: &[1],
                        ..BATCHED
                    },
                    &[1, 1, 1],
                ),
                "(C17): batching dimensions must have one size, found 2 in dimension 0 of tensor<2x6x4xf32> and 5 in dimension 1 of tensor<2x5x2xi32>",
            ),
            (
                batched(
                    GatherDimensionNumbers {
                        start_index_map: &[1, 0],
                        ..BATCHED
                    },
                    &[1, 1, 1],
                ),
                "(C18): start_index_map and operand_batching_dims must be distinct, found dimension 0 twice in [1, 0, 0]",
            ),
            (
                rows(
                    GatherDimensionNumbers {
                        start_index_map: &[2],
                        ..ROWS
                    },
                    &[1, 4],
                ),
                "(C19): start_index_map must be less than the rank of the operand, 2, found dimension 2",
            ),
        ];
        for (found, expected) in table {
            assert_eq!(found, format!("'tsr.gather' {expected}"));
        }
    }
}
