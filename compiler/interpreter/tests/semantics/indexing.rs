//! gather, scatter.

use super::{run, tensor, vector};
use tessera_ir::Tensor;

/// 3x4: the row in the tens, the column in the ones.
fn table() -> Tensor {
    let row = |row: i32| (0..4).map(move |column| 10 * row + column);
    tensor(&[3, 4], &(0..3).flat_map(row).collect::<Vec<_>>())
}

fn gather(operand: &Tensor, indices: &Tensor, attributes: &str, result: &str) -> Tensor {
    let types = [operand, indices].map(|tensor| {
        let dimensions: String = tensor
            .shape()
            .iter()
            .map(|size| format!("{size}x"))
            .collect();
        format!("tensor<{dimensions}{}>", tensor.element())
    });
    let [operand_type, indices_type] = &types;
    let [gathered] = run(
        &format!(
            "func.func @main(%x: {operand_type}, %i: {indices_type}) -> {result} {{
               %0 = tsr.gather %x, %i {{{attributes}, indices_are_sorted = false}} : ({operand_type}, {indices_type}) -> {result}
               return %0 : {result}
             }}"
        ),
        &[operand.clone(), indices.clone()],
    );
    gathered
}

#[test]
fn rows_by_number() {
    let attributes = "offset_dims = [1], collapsed_slice_dims = [0], operand_batching_dims = [], start_indices_batching_dims = [], start_index_map = [0], index_vector_dim = 1, slice_sizes = [1, 4]";
    let rows = gather(
        &table(),
        &tensor(&[2, 1], &[2, 0]),
        attributes,
        "tensor<2x4xi32>",
    );
    assert_eq!(rows, tensor(&[2, 4], &[20, 21, 22, 23, 0, 1, 2, 3]));
}

#[test]
fn a_slice_that_lies_partly_outside_is_moved_inside() {
    let attributes = "offset_dims = [1], collapsed_slice_dims = [0], operand_batching_dims = [], start_indices_batching_dims = [], start_index_map = [0, 1], index_vector_dim = 1, slice_sizes = [1, 2]";
    let indices = tensor(&[3, 2], &[0i64, 3, -1, -5, 9, 1]);
    let slices = gather(&table(), &indices, attributes, "tensor<3x2xi32>");
    assert_eq!(slices, tensor(&[3, 2], &[2, 3, 0, 1, 21, 22]));
}

#[test]
fn unsigned_indices_do_not_wrap_around() {
    let attributes = "offset_dims = [], collapsed_slice_dims = [0], operand_batching_dims = [], start_indices_batching_dims = [], start_index_map = [0], index_vector_dim = 1, slice_sizes = [1]";
    let indices = tensor(&[2, 1], &[u32::MAX, 1]);
    let elements = gather(&vector(&[5, 6, 7]), &indices, attributes, "tensor<2xi32>");
    assert_eq!(elements, vector(&[7, 6]));
}

#[test]
fn the_index_vector_may_lie_along_any_dimension_or_none() {
    // Columns of the indices are index vectors; their components are for column and row.
    let attributes = "offset_dims = [], collapsed_slice_dims = [0, 1], operand_batching_dims = [], start_indices_batching_dims = [], start_index_map = [1, 0], index_vector_dim = 0, slice_sizes = [1, 1]";
    let indices = tensor(&[2, 3], &[0, 1, 3, 0, 1, 2]);
    let elements = gather(&table(), &indices, attributes, "tensor<3xi32>");
    assert_eq!(elements, vector(&[0, 11, 23]));
    // Each index is a vector of one component.
    let attributes = "offset_dims = [], collapsed_slice_dims = [0], operand_batching_dims = [], start_indices_batching_dims = [], start_index_map = [0], index_vector_dim = 1, slice_sizes = [1]";
    let elements = gather(
        &vector(&[5, 6, 7]),
        &vector(&[2, 2, 1]),
        attributes,
        "tensor<3xi32>",
    );
    assert_eq!(elements, vector(&[7, 7, 6]));
}

#[test]
fn offset_dimensions_stand_where_they_are_told_to() {
    // Result dimension 0 runs through the slice, dimension 1 through the indices.
    let attributes = "offset_dims = [0], collapsed_slice_dims = [1], operand_batching_dims = [], start_indices_batching_dims = [], start_index_map = [1], index_vector_dim = 1, slice_sizes = [3, 1]";
    let columns = gather(
        &table(),
        &tensor(&[2, 1], &[3, 1]),
        attributes,
        "tensor<3x2xi32>",
    );
    assert_eq!(columns, tensor(&[3, 2], &[3, 1, 13, 11, 23, 21]));
}

#[test]
fn batching_dimensions_go_together() {
    // For each row an element of that row.
    let attributes = "offset_dims = [], collapsed_slice_dims = [1], operand_batching_dims = [0], start_indices_batching_dims = [0], start_index_map = [1], index_vector_dim = 1, slice_sizes = [1, 1]";
    let elements = gather(
        &table(),
        &tensor(&[3, 1], &[3, 0, 2]),
        attributes,
        "tensor<3xi32>",
    );
    assert_eq!(elements, vector(&[3, 10, 22]));
    // The index vector before the batching dimension.
    let attributes = "offset_dims = [], collapsed_slice_dims = [1], operand_batching_dims = [0], start_indices_batching_dims = [1], start_index_map = [1], index_vector_dim = 0, slice_sizes = [1, 1]";
    let elements = gather(
        &table(),
        &tensor(&[1, 3], &[3, 0, 2]),
        attributes,
        "tensor<3xi32>",
    );
    assert_eq!(elements, vector(&[3, 10, 22]));
}

const ADD: &str = "%c = tsr.add %a, %b : tensor<i32>
                   tsr.return %c : tensor<i32>";

fn scatter(
    input: &[i32],
    indices: &Tensor,
    updates: &Tensor,
    attributes: &str,
    body: &str,
) -> Vec<i32> {
    let types = [indices, updates].map(|tensor| {
        let dimensions: String = tensor
            .shape()
            .iter()
            .map(|size| format!("{size}x"))
            .collect();
        format!("tensor<{dimensions}i32>")
    });
    let [indices_type, updates_type] = &types;
    let input_type = format!("tensor<{}xi32>", input.len());
    let [scattered] = run(
        &format!(
            "func.func @main(%x: {input_type}, %i: {indices_type}, %u: {updates_type}) -> {input_type} {{
               %0 = tsr.scatter %x, %i, %u {{{attributes}, indices_are_sorted = false, unique_indices = false}} : ({input_type}, {indices_type}, {updates_type}) -> {input_type} {{
               ^update_computation(%a: tensor<i32>, %b: tensor<i32>):
                 {body}
               }}
               return %0 : {input_type}
             }}"
        ),
        &[vector(input), indices.clone(), updates.clone()],
    );
    scattered.values().unwrap()
}

const ELEMENTS: &str = "update_window_dims = [], inserted_window_dims = [0], input_batching_dims = [], scatter_indices_batching_dims = [], scatter_dims_to_operand_dims = [0], index_vector_dim = 1";

#[test]
fn updates_to_one_place_add_up() {
    let indices = tensor(&[4, 1], &[1, 0, 1, 1]);
    let sums = scatter(
        &[100, 200, 300],
        &indices,
        &vector(&[1, 2, 3, 4]),
        ELEMENTS,
        ADD,
    );
    assert_eq!(sums, [102, 208, 300]);
}

#[test]
fn the_last_update_replaces_the_ones_before() {
    let indices = tensor(&[3, 1], &[1, 0, 1]);
    let body = "tsr.return %b : tensor<i32>";
    let replaced = scatter(
        &[100, 200, 300],
        &indices,
        &vector(&[1, 2, 3]),
        ELEMENTS,
        body,
    );
    assert_eq!(replaced, [2, 3, 300]);
    let body = "tsr.return %a : tensor<i32>";
    let kept = scatter(
        &[100, 200, 300],
        &indices,
        &vector(&[1, 2, 3]),
        ELEMENTS,
        body,
    );
    assert_eq!(kept, [100, 200, 300]);
}

#[test]
fn any_body_is_applied_in_the_order_of_the_updates() {
    // 2a + b: (2·1 + 5)·2 + 6.
    let body = "%c = tsr.add %a, %a : tensor<i32>
                %d = tsr.add %c, %b : tensor<i32>
                tsr.return %d : tensor<i32>";
    let indices = tensor(&[2, 1], &[0, 0]);
    assert_eq!(
        scatter(&[1, 9], &indices, &vector(&[5, 6]), ELEMENTS, body),
        [20, 9]
    );
}

#[test]
fn updates_outside_are_left_out() {
    let indices = tensor(&[4, 1], &[-1, 3, 2, i32::MAX]);
    let sums = scatter(&[0, 0, 0], &indices, &vector(&[1, 2, 4, 8]), ELEMENTS, ADD);
    assert_eq!(sums, [0, 0, 4]);
}

#[test]
fn a_slice_of_updates_partly_outside_is_left_out_whole() {
    let windows = "update_window_dims = [1], inserted_window_dims = [], input_batching_dims = [], scatter_indices_batching_dims = [], scatter_dims_to_operand_dims = [0], index_vector_dim = 1";
    let indices = tensor(&[4, 1], &[3, -1, 0, 2]);
    let updates = tensor(&[4, 2], &[1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(
        scatter(&[0, 0, 0, 0], &indices, &updates, windows, ADD),
        [5, 6, 7, 8]
    );
}

#[test]
fn batching_dimensions_scatter_each_into_its_own() {
    let [scattered] = run(
        "func.func @main(%x: tensor<2x3xi32>, %i: tensor<2x1x1xi32>, %u: tensor<2x1xi32>) -> tensor<2x3xi32> {
           %0 = tsr.scatter %x, %i, %u {update_window_dims = [], inserted_window_dims = [1], input_batching_dims = [0], scatter_indices_batching_dims = [0], scatter_dims_to_operand_dims = [1], index_vector_dim = 2, indices_are_sorted = false, unique_indices = true} : (tensor<2x3xi32>, tensor<2x1x1xi32>, tensor<2x1xi32>) -> tensor<2x3xi32> {
           ^update_computation(%a: tensor<i32>, %b: tensor<i32>):
             tsr.return %b : tensor<i32>
           }
           return %0 : tensor<2x3xi32>
         }",
        &[
            tensor(&[2, 3], &[0; 6]),
            tensor(&[2, 1, 1], &[2, 0]),
            tensor(&[2, 1], &[7, 8]),
        ],
    );
    assert_eq!(scattered, tensor(&[2, 3], &[0, 0, 7, 8, 0, 0]));
}

#[test]
fn several_inputs_are_scattered_together() {
    // Each sum also counts the other's updates.
    let [sums, counts] = run(
        "func.func @main(%x: tensor<2xf32>, %n: tensor<2xi32>, %i: tensor<3x1xi32>, %u: tensor<3xf32>, %m: tensor<3xi32>) -> (tensor<2xf32>, tensor<2xi32>) {
           %0:2 = tsr.scatter %x, %n, %i, %u, %m {update_window_dims = [], inserted_window_dims = [0], input_batching_dims = [], scatter_indices_batching_dims = [], scatter_dims_to_operand_dims = [0], index_vector_dim = 1, indices_are_sorted = false, unique_indices = false} : (tensor<2xf32>, tensor<2xi32>, tensor<3x1xi32>, tensor<3xf32>, tensor<3xi32>) -> (tensor<2xf32>, tensor<2xi32>) {
           ^update_computation(%a: tensor<f32>, %k: tensor<i32>, %b: tensor<f32>, %l: tensor<i32>):
             %c = tsr.add %a, %b : tensor<f32>
             %d = tsr.add %k, %l : tensor<i32>
             tsr.return %c, %d : tensor<f32>, tensor<i32>
           }
           return %0#0, %0#1 : tensor<2xf32>, tensor<2xi32>
         }",
        &[
            vector(&[0f32, 0.0]),
            vector(&[0, 0]),
            tensor(&[3, 1], &[1, 1, 0]),
            vector(&[0.5f32, 0.25, 4.0]),
            vector(&[1, 1, 1]),
        ],
    );
    assert_eq!(sums, vector(&[4f32, 0.75]));
    assert_eq!(counts, vector(&[1, 2]));
}
