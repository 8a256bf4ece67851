//! What products of groups of rows mean.

use crate::{run, tensor, try_run, vector};
use tessera_ir::Tensor;

/// Six rows of two, and one 2×2 matrix for each of three groups.
const ROWS: &str = "
    func.func @main(%x: tensor<6x2xf32>, %w: tensor<3x2x2xf32>, %sizes: tensor<3xi32>) -> tensor<6x2xf32> {
      %0 = tsr.grouped_dot %x, %w, %sizes {lhs_contracting_dimension = 1, rhs_contracting_dimension = 1, accumulator = f32} : (tensor<6x2xf32>, tensor<3x2x2xf32>, tensor<3xi32>) -> tensor<6x2xf32>
      return %0 : tensor<6x2xf32>
    }";

fn rows() -> Tensor {
    tensor(&[6, 2], &(1..=12).map(|x| x as f32).collect::<Vec<_>>())
}

/// Once, negated, ten times with the columns exchanged.
fn matrices() -> Tensor {
    let values = [1, 0, 0, 1, -1, 0, 0, -1, 0, 10, 10, 0].map(|x| x as f32);
    tensor(&[3, 2, 2], &values)
}

#[test]
fn each_row_meets_the_matrix_of_its_group_and_rows_in_none_become_zero() {
    let [product] = run(ROWS, &[rows(), matrices(), vector(&[2, 0, 3])]);
    let expected = [1, 2, 3, 4, 60, 50, 80, 70, 100, 90, 0, 0].map(|x| x as f32);
    assert_eq!(product, tensor(&[6, 2], &expected));
}

#[test]
fn sums_over_rows_stay_inside_their_group() {
    let source = "
        func.func @main(%x: tensor<6x2xf32>, %sizes: tensor<3xi32>) -> tensor<3x2x2xf32> {
          %0 = tsr.grouped_dot %x, %x, %sizes {lhs_contracting_dimension = 0, rhs_contracting_dimension = 0, accumulator = f32} : (tensor<6x2xf32>, tensor<6x2xf32>, tensor<3xi32>) -> tensor<3x2x2xf32>
          return %0 : tensor<3x2x2xf32>
        }";
    let [product] = run(source, &[rows(), vector(&[2, 0, 1])]);
    // (1, 2) and (3, 4); nothing; (5, 6).
    let expected = [10, 14, 14, 20, 0, 0, 0, 0, 25, 30, 30, 36].map(|x| x as f32);
    assert_eq!(product, tensor(&[3, 2, 2], &expected));
}

#[test]
fn sizes_that_do_not_fit_the_rows_are_an_error() {
    let error = |sizes: [i32; 3]| {
        let inputs = [rows(), matrices(), vector(&sizes)];
        try_run(ROWS, &inputs).unwrap_err().to_string()
    };
    assert_eq!(
        error([2, 2, 3]),
        "'tsr.grouped_dot': expected groups of 6 rows or fewer together, found 7"
    );
    assert_eq!(
        error([2, -1, 3]),
        "'tsr.grouped_dot': expected group sizes of 0 or more, found -1 for group 1"
    );
}

#[test]
fn groups_of_scaled_rows_meet_their_matrix() {
    let (lhs, rhs) = (
        "!tsr.scaled<3x32, mxfp4, axis = 1>",
        "!tsr.scaled<2x32x1, mxfp4, axis = 1>",
    );
    let source = format!(
        "func.func @main(%x: tensor<3x32xf32>, %w: tensor<2x32x1xf32>, %sizes: tensor<2xi32>) -> tensor<3x1xf32> {{
           %0 = tsr.quantize %x {{rule = rceil, rounding = nearest_even, seed = 0, site = 0}} : (tensor<3x32xf32>) -> {lhs}
           %1 = tsr.quantize %w {{rule = rceil, rounding = nearest_even, seed = 0, site = 0}} : (tensor<2x32x1xf32>) -> {rhs}
           %2 = tsr.grouped_scaled_dot %0, %1, %sizes : ({lhs}, {rhs}, tensor<2xi32>) -> tensor<3x1xf32>
           return %2 : tensor<3x1xf32>
         }}"
    );
    let (mut x, mut w) = ([0f32; 96], [0f32; 64]);
    (x[0], x[32], x[64]) = (2.0, 3.0, 4.0);
    (w[0], w[32]) = (1.0, -2.0);
    let x = tensor(&[3, 32], &x);
    let w = tensor(&[2, 32, 1], &w);
    let [product] = run(&source, &[x, w, vector(&[1, 1])]);
    assert_eq!(product, tensor(&[3, 1], &[2f32, -6.0, 0.0]));
}

#[test]
fn a_group_counts_its_own_rows_of_a_block_with_the_scale_of_the_whole() {
    let scaled = "!tsr.scaled<32x1, mxfp4, axis = 0>";
    let source = format!(
        "func.func @main(%x: tensor<32x1xf32>, %sizes: tensor<3xi32>) -> tensor<3x1x1xf32> {{
           %0 = tsr.quantize %x {{rule = rceil, rounding = nearest_even, seed = 0, site = 0}} : (tensor<32x1xf32>) -> {scaled}
           %1 = tsr.grouped_scaled_dot %0, %0, %sizes : ({scaled}, {scaled}, tensor<3xi32>) -> tensor<3x1x1xf32>
           return %1 : tensor<3x1x1xf32>
         }}"
    );
    // 12 makes the scale 2, and 1.4 becomes 1 though the group's own largest is 1.4.
    let mut x = [0f32; 32];
    (x[0], x[1], x[2]) = (12.0, 1.4, 4.0);
    let [product] = run(&source, &[tensor(&[32, 1], &x), vector(&[1, 1, 30])]);
    assert_eq!(product, tensor(&[3, 1, 1], &[144f32, 1.0, 16.0]));
}
