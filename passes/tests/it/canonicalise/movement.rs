//! Ops that put elements elsewhere.

use super::{becomes, stays};

#[test]
fn a_constant_of_equal_elements_is_one_element_broadcast() {
    becomes(
        "() -> t<2x2xf32> {
           %0 = tsr.constant {value = dense<[[2.0, 2.0], [2.0, 2.0]]>} : t<2x2xf32>
           return %0 : t<2x2xf32>
         }",
        "%0 = tsr.constant {value = dense<2.0>} : t<f32>
         %1 = tsr.broadcast_in_dim %0 {broadcast_dimensions = []} : (t<f32>) -> t<2x2xf32>
         return %1 : t<2x2xf32>",
    );
}

#[test]
fn reshapes_in_a_row_are_one_and_none_where_the_shape_is_the_first() {
    becomes(
        "(%arg0: t<2x6xf32>) -> (t<4x3xf32>, t<2x6xf32>) {
           %0 = tsr.reshape %arg0 : (t<2x6xf32>) -> t<12xf32>
           %1 = tsr.reshape %0 : (t<12xf32>) -> t<4x3xf32>
           %2 = tsr.reshape %1 : (t<4x3xf32>) -> t<2x6xf32>
           return %1, %2 : t<4x3xf32>, t<2x6xf32>
         }",
        "%0 = tsr.reshape %arg0 : (t<2x6xf32>) -> t<4x3xf32>
         return %0, %arg0 : t<4x3xf32>, t<2x6xf32>",
    );
}

#[test]
fn transposes_in_a_row_are_one() {
    becomes(
        "(%arg0: t<2x3x4xf32>) -> (t<4x3x2xf32>, t<2x3x4xf32>) {
           %0 = tsr.transpose %arg0 {permutation = [1, 0, 2]} : (t<2x3x4xf32>) -> t<3x2x4xf32>
           %1 = tsr.transpose %0 {permutation = [2, 0, 1]} : (t<3x2x4xf32>) -> t<4x3x2xf32>
           %2 = tsr.transpose %0 {permutation = [1, 0, 2]} : (t<3x2x4xf32>) -> t<2x3x4xf32>
           return %1, %2 : t<4x3x2xf32>, t<2x3x4xf32>
         }",
        "%0 = tsr.transpose %arg0 {permutation = [2, 1, 0]} : (t<2x3x4xf32>) -> t<4x3x2xf32>
         return %0, %arg0 : t<4x3x2xf32>, t<2x3x4xf32>",
    );
}

#[test]
fn a_transpose_that_moves_only_a_dimension_of_one_is_a_reshape() {
    becomes(
        "(%arg0: t<2x1x4xf32>) -> t<1x2x4xf32> {
           %0 = tsr.transpose %arg0 {permutation = [1, 0, 2]} : (t<2x1x4xf32>) -> t<1x2x4xf32>
           return %0 : t<1x2x4xf32>
         }",
        "%0 = tsr.reshape %arg0 : (t<2x1x4xf32>) -> t<1x2x4xf32>
         return %0 : t<1x2x4xf32>",
    );
}

#[test]
fn broadcasts_in_a_row_are_one() {
    becomes(
        "(%arg0: t<4xf32>) -> t<2x3x4xf32> {
           %0 = tsr.broadcast_in_dim %arg0 {broadcast_dimensions = [1]} : (t<4xf32>) -> t<3x4xf32>
           %1 = tsr.broadcast_in_dim %0 {broadcast_dimensions = [1, 2]} : (t<3x4xf32>) -> t<2x3x4xf32>
           return %1 : t<2x3x4xf32>
         }",
        "%0 = tsr.broadcast_in_dim %arg0 {broadcast_dimensions = [2]} : (t<4xf32>) -> t<2x3x4xf32>
         return %0 : t<2x3x4xf32>",
    );
}

#[test]
fn a_broadcast_by_way_of_dimensions_of_one_is_one_broadcast() {
    becomes(
        "(%arg0: t<2x4xf32>) -> t<2x3x4xf32> {
           %0 = tsr.reshape %arg0 : (t<2x4xf32>) -> t<2x1x4xf32>
           %1 = tsr.broadcast_in_dim %0 {broadcast_dimensions = [0, 1, 2]} : (t<2x1x4xf32>) -> t<2x3x4xf32>
           return %1 : t<2x3x4xf32>
         }",
        "%0 = tsr.broadcast_in_dim %arg0 {broadcast_dimensions = [0, 2]} : (t<2x4xf32>) -> t<2x3x4xf32>
         return %0 : t<2x3x4xf32>",
    );
}

#[test]
fn a_broadcast_that_repeats_nothing_is_a_reshape() {
    becomes(
        "(%arg0: t<2x4xf32>) -> t<2x1x4xf32> {
           %0 = tsr.broadcast_in_dim %arg0 {broadcast_dimensions = [0, 2]} : (t<2x4xf32>) -> t<2x1x4xf32>
           return %0 : t<2x1x4xf32>
         }",
        "%0 = tsr.reshape %arg0 : (t<2x4xf32>) -> t<2x1x4xf32>
         return %0 : t<2x1x4xf32>",
    );
}

#[test]
fn a_broadcast_that_also_transposes_is_both() {
    becomes(
        "(%arg0: t<2x4xf32>) -> t<4x3x2xf32> {
           %0 = tsr.broadcast_in_dim %arg0 {broadcast_dimensions = [2, 0]} : (t<2x4xf32>) -> t<4x3x2xf32>
           return %0 : t<4x3x2xf32>
         }",
        "%0 = tsr.transpose %arg0 {permutation = [1, 0]} : (t<2x4xf32>) -> t<4x2xf32>
         %1 = tsr.broadcast_in_dim %0 {broadcast_dimensions = [0, 2]} : (t<4x2xf32>) -> t<4x3x2xf32>
         return %1 : t<4x3x2xf32>",
    );
}

#[test]
fn a_reshape_of_a_broadcast_is_a_broadcast_where_repetitions_stay_apart() {
    becomes(
        "(%arg0: t<4x6xf32>) -> t<10x2x2x6xf32> {
           %0 = tsr.broadcast_in_dim %arg0 {broadcast_dimensions = [2, 3]} : (t<4x6xf32>) -> t<2x5x4x6xf32>
           %1 = tsr.reshape %0 : (t<2x5x4x6xf32>) -> t<10x2x2x6xf32>
           return %1 : t<10x2x2x6xf32>
         }",
        "%0 = tsr.reshape %arg0 : (t<4x6xf32>) -> t<2x2x6xf32>
         %1 = tsr.broadcast_in_dim %0 {broadcast_dimensions = [1, 2, 3]} : (t<2x2x6xf32>) -> t<10x2x2x6xf32>
         return %1 : t<10x2x2x6xf32>",
    );
}

#[test]
fn a_reshape_that_mixes_elements_with_their_repetitions_stays() {
    stays(
        "(%arg0: t<4xf32>) -> t<12xf32> {
           %0 = tsr.broadcast_in_dim %arg0 {broadcast_dimensions = [0]} : (t<4xf32>) -> t<4x3xf32>
           %1 = tsr.reshape %0 : (t<4x3xf32>) -> t<12xf32>
           return %1 : t<12xf32>
         }",
    );
}

#[test]
fn slices_in_a_row_are_one() {
    becomes(
        "(%arg0: t<20xf32>) -> t<3xf32> {
           %0 = tsr.slice %arg0 {start_indices = [2], limit_indices = [18], strides = [2]} : (t<20xf32>) -> t<8xf32>
           %1 = tsr.slice %0 {start_indices = [1], limit_indices = [8], strides = [3]} : (t<8xf32>) -> t<3xf32>
           return %1 : t<3xf32>
         }",
        "%0 = tsr.slice %arg0 {start_indices = [4], limit_indices = [17], strides = [6]} : (t<20xf32>) -> t<3xf32>
         return %0 : t<3xf32>",
    );
}

#[test]
fn a_slice_of_a_concatenation_that_lies_in_one_part_is_a_slice_of_that() {
    becomes(
        "(%arg0: t<4xf32>, %arg1: t<6xf32>) -> (t<2xf32>, t<6xf32>) {
           %0 = tsr.concatenate %arg0, %arg1 {dimension = 0} : (t<4xf32>, t<6xf32>) -> t<10xf32>
           %1 = tsr.slice %0 {start_indices = [5], limit_indices = [7], strides = [1]} : (t<10xf32>) -> t<2xf32>
           %2 = tsr.slice %0 {start_indices = [4], limit_indices = [10], strides = [1]} : (t<10xf32>) -> t<6xf32>
           return %1, %2 : t<2xf32>, t<6xf32>
         }",
        "%0 = tsr.slice %arg1 {start_indices = [1], limit_indices = [3], strides = [1]} : (t<6xf32>) -> t<2xf32>
         return %0, %arg1 : t<2xf32>, t<6xf32>",
    );
}

#[test]
fn a_slice_of_a_broadcast_slices_what_is_broadcast() {
    becomes(
        "(%arg0: t<6xf32>) -> t<2x3xf32> {
           %0 = tsr.broadcast_in_dim %arg0 {broadcast_dimensions = [1]} : (t<6xf32>) -> t<4x6xf32>
           %1 = tsr.slice %0 {start_indices = [1, 3], limit_indices = [3, 6], strides = [1, 1]} : (t<4x6xf32>) -> t<2x3xf32>
           return %1 : t<2x3xf32>
         }",
        "%0 = tsr.slice %arg0 {start_indices = [3], limit_indices = [6], strides = [1]} : (t<6xf32>) -> t<3xf32>
         %1 = tsr.broadcast_in_dim %0 {broadcast_dimensions = [1]} : (t<3xf32>) -> t<2x3xf32>
         return %1 : t<2x3xf32>",
    );
}

#[test]
fn a_dynamic_slice_at_known_places_is_a_slice_clamped() {
    becomes(
        "(%arg0: t<8x5xf32>, %arg1: t<i32>) -> t<3x5xf32> {
           %0 = tsr.constant {value = dense<7>} : t<i32>
           %1 = tsr.dynamic_slice %arg0, %0, %arg1 {slice_sizes = [3, 5]} : (t<8x5xf32>, t<i32>, t<i32>) -> t<3x5xf32>
           return %1 : t<3x5xf32>
         }",
        "%0 = tsr.slice %arg0 {start_indices = [5, 0], limit_indices = [8, 5], strides = [1, 1]} : (t<8x5xf32>) -> t<3x5xf32>
         return %0 : t<3x5xf32>",
    );
}

#[test]
fn an_update_of_everything_is_the_update() {
    becomes(
        "(%arg0: t<8xf32>, %arg1: t<8xf32>, %arg2: t<i32>) -> t<8xf32> {
           %0 = tsr.dynamic_update_slice %arg0, %arg1, %arg2 : (t<8xf32>, t<8xf32>, t<i32>) -> t<8xf32>
           return %0 : t<8xf32>
         }",
        "return %arg1 : t<8xf32>",
    );
}

#[test]
fn an_update_by_what_stands_there_changes_nothing() {
    becomes(
        "(%arg0: t<8xf32>, %arg1: t<i32>) -> t<8xf32> {
           %0 = tsr.dynamic_slice %arg0, %arg1 {slice_sizes = [3]} : (t<8xf32>, t<i32>) -> t<3xf32>
           %1 = tsr.dynamic_update_slice %arg0, %0, %arg1 : (t<8xf32>, t<3xf32>, t<i32>) -> t<8xf32>
           return %1 : t<8xf32>
         }",
        "return %arg0 : t<8xf32>",
    );
}

#[test]
fn padding_with_nothing_goes_and_a_splat_padded_with_itself_is_a_splat() {
    becomes(
        "(%arg0: t<8xf32>) -> (t<8xf32>, t<5xf32>) {
           %0 = tsr.constant {value = dense<1.0>} : t<f32>
           %1 = tsr.pad %arg0, %0 {edge_padding_low = [0], edge_padding_high = [0], interior_padding = [0]} : (t<8xf32>, t<f32>) -> t<8xf32>
           %2 = tsr.constant {value = dense<1.0>} : t<2xf32>
           %3 = tsr.pad %2, %0 {edge_padding_low = [1], edge_padding_high = [1], interior_padding = [1]} : (t<2xf32>, t<f32>) -> t<5xf32>
           return %1, %3 : t<8xf32>, t<5xf32>
         }",
        "%0 = tsr.constant {value = dense<1.0>} : t<f32>
         %1 = tsr.broadcast_in_dim %0 {broadcast_dimensions = []} : (t<f32>) -> t<5xf32>
         return %arg0, %1 : t<8xf32>, t<5xf32>",
    );
}

#[test]
fn concatenations_are_flat_and_without_empty_parts() {
    becomes(
        "(%arg0: t<2xf32>, %arg1: t<3xf32>, %arg2: t<0xf32>) -> t<7xf32> {
           %0 = tsr.concatenate %arg0, %arg1 {dimension = 0} : (t<2xf32>, t<3xf32>) -> t<5xf32>
           %1 = tsr.concatenate %0, %arg2, %arg0 {dimension = 0} : (t<5xf32>, t<0xf32>, t<2xf32>) -> t<7xf32>
           return %1 : t<7xf32>
         }",
        "%0 = tsr.concatenate %arg0, %arg1, %arg0 {dimension = 0} : (t<2xf32>, t<3xf32>, t<2xf32>) -> t<7xf32>
         return %0 : t<7xf32>",
    );
}

#[test]
fn reversing_a_dimension_of_one_goes() {
    becomes(
        "(%arg0: t<1x4xf32>) -> t<1x4xf32> {
           %0 = tsr.reverse %arg0 {dimensions = [0]} : t<1x4xf32>
           return %0 : t<1x4xf32>
         }",
        "return %arg0 : t<1x4xf32>",
    );
}
