//! The rule of `scatter`.

use super::OpError;
use super::check::{ElementClass, Rule, list, require, without};
use super::gather::{combine, index_components};
use crate::{Region, ScatterDimensionNumbers, TensorType};

/// - (C5) there are as many updates as inputs, and at least one.
/// - (I2) the scatter indices are integers.
/// - (C1) the inputs have one shape.
/// - (C3) the updates have one shape.
/// - (C6) each update has its input's element type.
/// - (C2) each input dimension is a window, an inserted or a batching dimension.
/// - (C7), (C8) `update_window_dims` are distinct, in ascending order, dimensions of the updates.
/// - (C9) `inserted_window_dims` and `input_batching_dims` are distinct.
/// - (C10), (C11) `inserted_window_dims` are in ascending order, dimensions of the inputs.
/// - (C12), (C13) `input_batching_dims` are in ascending order, dimensions of the inputs.
/// - (C22) `index_vector_dim` is a dimension of the scatter indices or their rank.
/// - (C14), (C15) `scatter_indices_batching_dims` are distinct, dimensions of the scatter indices.
/// - (C16) `index_vector_dim` is none of them.
/// - (C17), (C18) there are as many as `input_batching_dims`, of the same sizes.
/// - (C19) `scatter_dims_to_operand_dims` has an entry for each component of an index vector.
/// - (C20) they and `input_batching_dims` are distinct.
/// - (C21) they are dimensions of the inputs.
/// - (C4) the updates' dimensions at `update_window_dims` are no larger than the inputs' but for inserted and batching
///   ones; the others are those of the scatter indices but for `index_vector_dim`.
/// - (C23) the update computation takes the inputs' elements, then the updates', all scalars, and gives the inputs',
///   all of them of the inputs' element types. (StableHLO also lets it work in a wider type.)
pub(super) fn scatter(
    rule: Rule,
    dimensions: &ScatterDimensionNumbers<'_>,
    update_computation: &Region,
    operands: &[&TensorType],
) -> Result<Vec<TensorType>, OpError> {
    let count = operands.len() / 2;
    require!(
        rule,
        "C5",
        count > 0 && operands.len() == 2 * count + 1,
        "expected inputs, scatter_indices and as many updates as inputs, at least one, found {} operand(s)",
        operands.len()
    );
    let (inputs, indices, updates) = (&operands[..count], operands[count], &operands[count + 1..]);
    rule.element("I2", ElementClass::Integer, "scatter_indices", indices)?;
    let differ = |types: &[&TensorType]| types.array_windows().any(|[a, b]| a.shape != b.shape);
    require!(
        rule,
        "C1",
        !differ(inputs),
        "the inputs must have one shape, found {}",
        list(inputs)
    );
    require!(
        rule,
        "C3",
        !differ(updates),
        "the updates must have one shape, found {}",
        list(updates)
    );
    for (input, update) in inputs.iter().zip(updates) {
        require!(
            rule,
            "C6",
            input.element == update.element,
            "each update must have its input's element type, found {update} for {input}"
        );
    }
    check_input_dimensions(rule, dimensions, inputs[0], updates[0])?;
    check_index_dimensions(rule, dimensions, inputs[0], indices)?;
    check_update_shape(rule, dimensions, inputs[0], indices, updates[0])?;
    let scalars: Vec<_> = inputs
        .iter()
        .map(|i| TensorType::scalar(i.element))
        .collect();
    let scalars: Vec<_> = scalars.iter().collect();
    let taken = [scalars.as_slice(), &scalars].concat();
    let name = "the update computation";
    rule.signature("C23", name, update_computation, &taken, &scalars)?;
    Ok(inputs.iter().map(|&input| input.clone()).collect())
}

fn check_input_dimensions(
    rule: Rule,
    dimensions: &ScatterDimensionNumbers<'_>,
    input: &TensorType,
    update: &TensorType,
) -> Result<(), OpError> {
    let (rank, window) = (input.rank(), dimensions.update_window_dims);
    let inserted = dimensions.inserted_window_dims;
    let batching = dimensions.input_batching_dims;
    require!(
        rule,
        "C2",
        window.len() + inserted.len() + batching.len() == rank,
        "update_window_dims, inserted_window_dims and input_batching_dims together must be {rank}, the rank of {input}, found {} + {} + {}",
        window.len(),
        inserted.len(),
        batching.len()
    );
    rule.unique("C7", "update_window_dims", window)?;
    rule.sorted("C7", "update_window_dims", window)?;
    rule.in_rank(
        "C8",
        "update_window_dims",
        window,
        "the updates",
        update.rank(),
    )?;
    let named = [inserted, batching].concat();
    rule.unique("C9", "inserted_window_dims and input_batching_dims", &named)?;
    rule.sorted("C10", "inserted_window_dims", inserted)?;
    rule.in_rank("C11", "inserted_window_dims", inserted, "the inputs", rank)?;
    rule.sorted("C12", "input_batching_dims", batching)?;
    rule.in_rank("C13", "input_batching_dims", batching, "the inputs", rank)
}

fn check_index_dimensions(
    rule: Rule,
    dimensions: &ScatterDimensionNumbers<'_>,
    input: &TensorType,
    indices: &TensorType,
) -> Result<(), OpError> {
    let (batching, rank) = (dimensions.input_batching_dims, indices.rank());
    let index_batching = dimensions.scatter_indices_batching_dims;
    let index_vector_dim = dimensions.index_vector_dim;
    require!(
        rule,
        "C22",
        index_vector_dim <= rank,
        "index_vector_dim must be at most {rank}, the rank of {indices}, found {index_vector_dim}"
    );
    let name = "scatter_indices_batching_dims";
    rule.unique("C14", name, index_batching)?;
    rule.in_rank("C15", name, index_batching, "scatter_indices", rank)?;
    require!(
        rule,
        "C16",
        !index_batching.contains(&index_vector_dim),
        "{name} must not contain index_vector_dim {index_vector_dim}, found {index_batching:?}"
    );
    require!(
        rule,
        "C17",
        batching.len() == index_batching.len(),
        "input_batching_dims and {name} must be as many, found {batching:?} and {index_batching:?}"
    );
    for (&in_input, &in_indices) in batching.iter().zip(index_batching) {
        let sizes = (input.shape[in_input], indices.shape[in_indices]);
        require!(
            rule,
            "C18",
            sizes.0 == sizes.1,
            "batching dimensions must have one size, found {} in dimension {in_input} of {input} and {} in dimension {in_indices} of {indices}",
            sizes.0,
            sizes.1
        );
    }
    let map = dimensions.scatter_dims_to_operand_dims;
    let components = index_components(indices, index_vector_dim);
    require!(
        rule,
        "C19",
        map.len() == components,
        "scatter_dims_to_operand_dims must have one entry for each of the {components} component(s) of an index vector, found {}",
        map.len()
    );
    let named = [map, batching].concat();
    let name = "scatter_dims_to_operand_dims";
    rule.unique("C20", &format!("{name} and input_batching_dims"), &named)?;
    rule.in_rank("C21", name, map, "the inputs", input.rank())
}

fn check_update_shape(
    rule: Rule,
    dimensions: &ScatterDimensionNumbers<'_>,
    input: &TensorType,
    indices: &TensorType,
    update: &TensorType,
) -> Result<(), OpError> {
    let window_dims = dimensions.update_window_dims;
    let scatter_sizes = without(&indices.shape, &[&[dimensions.index_vector_dim]]);
    let not_window = [
        dimensions.inserted_window_dims,
        dimensions.input_batching_dims,
    ];
    let window_limits = without(&input.shape, &not_window);
    let limits = combine(&scatter_sizes, &window_limits, window_dims);
    let fits = update.rank() == limits.len()
        && (0..limits.len()).all(|dimension| {
            let (size, limit) = (update.shape[dimension], limits[dimension]);
            size == limit || (size < limit && window_dims.contains(&dimension))
        });
    require!(
        rule,
        "C4",
        fits,
        "the updates must have shape {limits:?}, or less in dimensions {window_dims:?}, found {update}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::ScatterDimensionNumbers;
    use crate::rules::testing::outcome;

    /// Rows of a `6x4` input named by a list of numbers.
    const ROWS: ScatterDimensionNumbers<'static> = ScatterDimensionNumbers {
        update_window_dims: &[1],
        inserted_window_dims: &[0],
        input_batching_dims: &[],
        scatter_indices_batching_dims: &[],
        scatter_dims_to_operand_dims: &[0],
        index_vector_dim: 1,
    };

    /// Of each of 2 batches of a `2x6x4` input, the elements that pairs of numbers name.
    const BATCHED: ScatterDimensionNumbers<'static> = ScatterDimensionNumbers {
        update_window_dims: &[],
        inserted_window_dims: &[1, 2],
        input_batching_dims: &[0],
        scatter_indices_batching_dims: &[0],
        scatter_dims_to_operand_dims: &[1, 2],
        index_vector_dim: 2,
    };

    fn scatter(operands: [&str; 3], numbers: ScatterDimensionNumbers<'_>) -> String {
        outcome(operands, |b, [x, i, u]| {
            b.scatter(&[x], i, &[u], &numbers, |b, x, u| {
                Ok(vec![b.add(x[0], u[0])?])
            })
        })
    }

    fn rows(numbers: ScatterDimensionNumbers<'_>) -> String {
        scatter(["6x4xf32", "3xi32", "3x4xf32"], numbers)
    }

    fn batched(numbers: ScatterDimensionNumbers<'_>) -> String {
        scatter(["2x6x4xf32", "2x5x2xi32", "2x5xf32"], numbers)
    }

    #[test]
    fn the_result_has_the_inputs_type() {
        assert_eq!(rows(ROWS), "tensor<6x4xf32>");
        assert_eq!(batched(BATCHED), "tensor<2x6x4xf32>");
    }

    #[test]
    fn an_update_may_be_smaller_than_the_input_along_the_window() {
        assert_eq!(
            scatter(["6x4xf32", "3xi32", "3x2xf32"], ROWS),
            "tensor<6x4xf32>"
        );
        for update in ["3x5xf32", "2x4xf32"] {
            assert_eq!(
                scatter(["6x4xf32", "3xi32", update], ROWS),
                format!(
                    "'tsr.scatter' (C4): the updates must have shape [3, 4], or less in dimensions [1], found tensor<{update}>"
                )
            );
        }
        assert_eq!(
            scatter(["6x4xf32", "3xi32", "3xf32"], ROWS),
            "'tsr.scatter' (C8): update_window_dims must be less than the rank of the updates, 1, found dimension 1"
        );
    }

    #[test]
    fn operands_go_together() {
        assert_eq!(
            scatter(["6x4xf32", "3xf32", "3x4xf32"], ROWS),
            "'tsr.scatter' (I2): scatter_indices must be a tensor of integers, found tensor<3xf32>"
        );
        let several = |inputs: [&str; 2], updates: [&str; 2]| {
            outcome(
                [inputs[0], inputs[1], "3xi32", updates[0], updates[1]],
                |b, [x, y, i, u, v]| {
                    b.scatter(&[x, y], i, &[u, v], &ROWS, |_, x, _| Ok(x.to_vec()))
                },
            )
        };
        assert_eq!(
            several(["6x4xf32", "6x4xi8"], ["3x4xf32", "3x4xi8"]),
            "tensor<6x4xf32>, tensor<6x4xi8>"
        );
        assert_eq!(
            several(["6x4xf32", "6x5xi8"], ["3x4xf32", "3x4xi8"]),
            "'tsr.scatter' (C1): the inputs must have one shape, found tensor<6x4xf32>, tensor<6x5xi8>"
        );
        assert_eq!(
            several(["6x4xf32", "6x4xi8"], ["3x4xf32", "3x3xi8"]),
            "'tsr.scatter' (C3): the updates must have one shape, found tensor<3x4xf32>, tensor<3x3xi8>"
        );
        assert_eq!(
            several(["6x4xf32", "6x4xi8"], ["3x4xf32", "3x4xi16"]),
            "'tsr.scatter' (C6): each update must have its input's element type, found tensor<3x4xi16> for tensor<6x4xi8>"
        );
        assert_eq!(
            outcome(["6x4xf32", "3xi32"], |b, [x, i]| {
                b.scatter(&[x], i, &[], &ROWS, |_, x, _| Ok(x.to_vec()))
            }),
            "'tsr.scatter' (C5): expected inputs, scatter_indices and as many updates as inputs, at least one, found 2 operand(s)"
        );
    }

    #[test]
    fn the_update_computation_works_on_scalars() {
        assert_eq!(
            outcome(["6x4xf32", "3xi32", "3x4xf32"], |b, [x, i, u]| {
                b.scatter(&[x], i, &[u], &ROWS, |b, x, _| Ok(vec![b.is_finite(x[0])?]))
            }),
            "'tsr.scatter' (C23): the update computation must have type (tensor<f32>, tensor<f32>) -> tensor<f32>, found (tensor<f32>, tensor<f32>) -> tensor<i1>"
        );
    }

    #[test]
    fn constraints_on_dimension_numbers() {
        let two = ScatterDimensionNumbers {
            inserted_window_dims: &[2],
            scatter_dims_to_operand_dims: &[2],
            index_vector_dim: 3,
            ..BATCHED
        };
        let windows = ScatterDimensionNumbers {
            inserted_window_dims: &[],
            ..BATCHED
        };
        let table = [
            (
                rows(ScatterDimensionNumbers {
                    update_window_dims: &[],
                    ..ROWS
                }),
                "(C2): update_window_dims, inserted_window_dims and input_batching_dims together must be 2, the rank of tensor<6x4xf32>, found 0 + 1 + 0",
            ),
            (
                batched(ScatterDimensionNumbers {
                    update_window_dims: &[1, 0],
                    ..windows
                }),
                "(C7): update_window_dims must be in ascending order, found [1, 0]",
            ),
            (
                batched(ScatterDimensionNumbers {
                    update_window_dims: &[1, 1],
                    ..windows
                }),
                "(C7): update_window_dims must be distinct, found dimension 1 twice in [1, 1]",
            ),
            (
                batched(ScatterDimensionNumbers {
                    inserted_window_dims: &[0, 1],
                    ..BATCHED
                }),
                "(C9): inserted_window_dims and input_batching_dims must be distinct, found dimension 0 twice in [0, 1, 0]",
            ),
            (
                batched(ScatterDimensionNumbers {
                    inserted_window_dims: &[2, 1],
                    ..BATCHED
                }),
                "(C10): inserted_window_dims must be in ascending order, found [2, 1]",
            ),
            (
                rows(ScatterDimensionNumbers {
                    inserted_window_dims: &[2],
                    ..ROWS
                }),
                "(C11): inserted_window_dims must be less than the rank of the inputs, 2, found dimension 2",
            ),
            (
                batched(ScatterDimensionNumbers {
                    input_batching_dims: &[1, 0],
                    ..two
                }),
                "(C12): input_batching_dims must be in ascending order, found [1, 0]",
            ),
            (
                batched(ScatterDimensionNumbers {
                    input_batching_dims: &[3],
                    ..BATCHED
                }),
                "(C13): input_batching_dims must be less than the rank of the inputs, 3, found dimension 3",
            ),
            (
                batched(ScatterDimensionNumbers {
                    input_batching_dims: &[0, 1],
                    scatter_indices_batching_dims: &[0, 0],
                    ..two
                }),
                "(C14): scatter_indices_batching_dims must be distinct, found dimension 0 twice in [0, 0]",
            ),
            (
                batched(ScatterDimensionNumbers {
                    scatter_indices_batching_dims: &[3],
                    ..BATCHED
                }),
                "(C15): scatter_indices_batching_dims must be less than the rank of scatter_indices, 3, found dimension 3",
            ),
            (
                batched(ScatterDimensionNumbers {
                    scatter_indices_batching_dims: &[2],
                    ..BATCHED
                }),
                "(C16): scatter_indices_batching_dims must not contain index_vector_dim 2, found [2]",
            ),
            (
                batched(ScatterDimensionNumbers {
                    scatter_indices_batching_dims: &[],
                    ..BATCHED
                }),
                "(C17): input_batching_dims and scatter_indices_batching_dims must be as many, found [0] and []",
            ),
            (
                batched(ScatterDimensionNumbers {
                    scatter_indices_batching_dims: &[1],
                    ..BATCHED
                }),
                "(C18): batching dimensions must have one size, found 2 in dimension 0 of tensor<2x6x4xf32> and 5 in dimension 1 of tensor<2x5x2xi32>",
            ),
            (
                rows(ScatterDimensionNumbers {
                    scatter_dims_to_operand_dims: &[],
                    ..ROWS
                }),
                "(C19): scatter_dims_to_operand_dims must have one entry for each of the 1 component(s) of an index vector, found 0",
            ),
            (
                batched(ScatterDimensionNumbers {
                    scatter_dims_to_operand_dims: &[1, 0],
                    ..BATCHED
                }),
                "(C20): scatter_dims_to_operand_dims and input_batching_dims must be distinct, found dimension 0 twice in [1, 0, 0]",
            ),
            (
                rows(ScatterDimensionNumbers {
                    scatter_dims_to_operand_dims: &[2],
                    ..ROWS
                }),
                "(C21): scatter_dims_to_operand_dims must be less than the rank of the inputs, 2, found dimension 2",
            ),
            (
                rows(ScatterDimensionNumbers {
                    index_vector_dim: 2,
                    ..ROWS
                }),
                "(C22): index_vector_dim must be at most 1, the rank of tensor<3xi32>, found 2",
            ),
        ];
        for (found, expected) in table {
            assert_eq!(found, format!("'tsr.scatter' {expected}"));
        }
    }
}
