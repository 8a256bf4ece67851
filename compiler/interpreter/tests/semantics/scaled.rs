//! What the ops on scaled tensors mean: small tensors whose codes are written out.

use crate::{run, tensor, vector};
use tessera_ir::Tensor;

const BLOCK: &str = "!tsr.scaled<1x32, mxfp4, axis = 1>";

/// `x`, a row of 32 numbers, quantised to mxfp4 by `rule` and back.
fn rounded(rule: &str, x: &[f32]) -> Vec<f32> {
    let source = format!(
        "func.func @main(%x: tensor<1x32xf32>) -> tensor<1x32xf32> {{
           %0 = tsr.quantize %x {{rule = {rule}, rounding = nearest_even, seed = 0, site = 0}} : (tensor<1x32xf32>) -> {BLOCK}
           %1 = tsr.dequantize %0 : ({BLOCK}) -> tensor<1x32xf32>
           return %1 : tensor<1x32xf32>
         }}"
    );
    let mut row = [0.0; 32];
    row[..x.len()].copy_from_slice(x);
    let [result] = run(&source, &[tensor(&[1, 32], &row)]);
    result.values::<f32>().unwrap()[..x.len()].to_vec()
}

#[test]
fn a_block_is_rounded_to_multiples_of_its_scale() {
    // The largest is 6: the scale is 1, and E2M1 has 0, 0.5, 1, 1.5, 2, 3, 4, 6, ties to even.
    let x = [6.0, 0.25, 0.75, 1.25, 2.5, -3.4, 5.0, -0.1];
    let expected = [6.0, 0.0, 1.0, 1.0, 2.0, -3.0, 4.0, -0.0];
    assert_eq!(rounded("rceil", &x), expected);
}

#[test]
fn the_rule_decides_what_saturates() {
    // 7 / 6 rounds up to a scale of 2; the specification's floor keeps 1 and saturates.
    assert_eq!(rounded("rceil", &[7.0, 1.0]), [8.0, 1.0]);
    assert_eq!(rounded("floor", &[7.0, 1.0]), [6.0, 1.0]);
}

#[test]
fn a_product_is_summed_along_both_axes_with_the_tensor_scales() {
    // The largest is 448 · 6, so the tensor scale is 1 and the block scales are 448, exactly.
    let scaled = "!tsr.scaled<2x16, nvfp4, axis = 1>";
    let source = format!(
        "func.func @main(%x: tensor<2x16xf32>, %amax: tensor<f32>) -> tensor<2x2xf32> {{
           %0 = tsr.quantize %x, %amax {{rule = te, rounding = nearest_even, seed = 0, site = 0}} : (tensor<2x16xf32>, tensor<f32>) -> {scaled}
           %1 = tsr.scaled_dot %0, %0 {{lhs_batching_dimensions = [], rhs_batching_dimensions = []}} : ({scaled}, {scaled}) -> tensor<2x2xf32>
           return %1 : tensor<2x2xf32>
         }}"
    );
    let mut x = [0.0f32; 32];
    (x[0], x[1], x[16], x[17]) = (2688.0, 448.0, 1344.0, -2688.0);
    let [product] = run(&source, &[tensor(&[2, 16], &x), Tensor::scalar(2688f32)]);
    let expected = [37f32, 12.0, 12.0, 45.0].map(|x| x * 448.0 * 448.0);
    assert_eq!(product, tensor(&[2, 2], &expected));
}

#[test]
fn batching_dimensions_go_together() {
    let (lhs, rhs) = (
        "!tsr.scaled<2x1x32, mxfp4, axis = 2>",
        "!tsr.scaled<32x2, mxfp4, axis = 0>",
    );
    let source = format!(
        "func.func @main(%x: tensor<2x1x32xf32>, %y: tensor<32x2xf32>) -> tensor<2x1xf32> {{
           %0 = tsr.quantize %x {{rule = rceil, rounding = nearest_even, seed = 0, site = 0}} : (tensor<2x1x32xf32>) -> {lhs}
           %1 = tsr.quantize %y {{rule = rceil, rounding = nearest_even, seed = 0, site = 0}} : (tensor<32x2xf32>) -> {rhs}
           %2 = tsr.scaled_dot %0, %1 {{lhs_batching_dimensions = [0], rhs_batching_dimensions = [1]}} : ({lhs}, {rhs}) -> tensor<2x1xf32>
           return %2 : tensor<2x1xf32>
         }}"
    );
    // The rows of x are 1 and 2 throughout, the columns of y 1 and 3.
    let x: Vec<f32> = (0..64).map(|i| if i < 32 { 1.0 } else { 2.0 }).collect();
    let y: Vec<f32> = (0..64)
        .map(|i| if i % 2 == 0 { 1.0 } else { 3.0 })
        .collect();
    let [product] = run(&source, &[tensor(&[2, 1, 32], &x), tensor(&[32, 2], &y)]);
    assert_eq!(product, tensor(&[2, 1], &[32f32, 192.0]));
}

#[test]
fn the_mean_is_taken_along_tokens() {
    let source = "func.func @main(%x: tensor<2x2x2xf32>) -> tensor<2xf32> {
           %0 = tsr.column_mean %x {dimensions = [0, 1]} : (tensor<2x2x2xf32>) -> tensor<2xf32>
           return %0 : tensor<2xf32>
         }";
    let x = tensor(&[2, 2, 2], &[1f32, 10.0, 2.0, 20.0, 3.0, 30.0, 6.0, 40.0]);
    let [mean] = run(source, &[x]);
    assert_eq!(mean, vector(&[3f32, 25.0]));
}

#[test]
fn hadamard_turns_one_element_into_all() {
    let signs = "[-1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]";
    let source = format!(
        "func.func @main(%x: tensor<16x1xf32>) -> tensor<16x1xf32> {{
           %0 = tsr.hadamard %x {{axis = 0, signs = {signs}}} : tensor<16x1xf32>
           return %0 : tensor<16x1xf32>
         }}"
    );
    let mut x = [0f32; 16];
    x[0] = 4.0;
    let [result] = run(&source, &[tensor(&[16, 1], &x)]);
    assert_eq!(result, tensor(&[16, 1], &[-1f32; 16]));
}

#[test]
fn orthonormal_columns_keep_the_direction_of_the_first() {
    let source = "func.func @main(%x: tensor<3x2xf32>) -> tensor<3x2xf32> {
           %0 = tsr.orthonormalize %x : tensor<3x2xf32>
           return %0 : tensor<3x2xf32>
         }";
    // (3, 4, 0) and (1, 0, 0): what the second has beside the first is along (4, −3, 0).
    let x = tensor(&[3, 2], &[3f32, 1.0, 4.0, 0.0, 0.0, 0.0]);
    let [q] = run(source, &[x]);
    assert_eq!(q, tensor(&[3, 2], &[0.6f32, 0.8, 0.8, -0.6, 0.0, 0.0]));
}

#[test]
fn dependent_columns_become_zero() {
    let source = "func.func @main(%x: tensor<2x2xf32>) -> tensor<2x2xf32> {
           %0 = tsr.orthonormalize %x : tensor<2x2xf32>
           return %0 : tensor<2x2xf32>
         }";
    let [q] = run(source, &[tensor(&[2, 2], &[0f32, 0.0, 2.0, 5.0])]);
    assert_eq!(q, tensor(&[2, 2], &[0f32, 0.0, 1.0, 0.0]));
}

#[test]
fn power_iteration_finds_the_leading_direction() {
    let source = "func.func @main(%m: tensor<2x2xf32>, %v: tensor<2x1xf32>) -> (tensor<2x1xf32>, tensor<1xf32>) {
           %0:2 = tsr.subspace_iterate %m, %v {iterations = 3} : (tensor<2x2xf32>, tensor<2x1xf32>) -> (tensor<2x1xf32>, tensor<1xf32>)
           return %0#0, %0#1 : tensor<2x1xf32>, tensor<1xf32>
         }";
    // diag(1000, 1): each iteration takes a factor of 10⁶ off the second direction, so three leave none in f32.
    let m = tensor(&[2, 2], &[1000f32, 0.0, 0.0, 1.0]);
    let [v, s] = run(source, &[m, tensor(&[2, 1], &[0.6f32, 0.8])]);
    let v = v.values::<f32>().unwrap();
    assert_eq!(v[0], 1.0);
    assert!(v[1].abs() < 1e-17, "{}", v[1]);
    assert_eq!(s, vector(&[1000f32]));
}
