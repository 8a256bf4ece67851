//! reduce, reduce_window.

use super::{run, tensor, vector};
use half::bf16;
use tessera_ir::Tensor;

fn reduce(body: &str, dimensions: &str, result: &str, init: f32) -> Tensor {
    let [reduced] = run(
        &format!(
            "func.func @main(%x: tensor<2x3xf32>, %init: tensor<f32>) -> {result} {{
               %0 = tsr.reduce %x, %init {{dimensions = {dimensions}}} : (tensor<2x3xf32>, tensor<f32>) -> {result} {{
               ^body(%a: tensor<f32>, %b: tensor<f32>):
                 {body}
                 tsr.return %c : tensor<f32>
               }}
               return %0 : {result}
             }}"
        ),
        &[
            tensor(&[2, 3], &[1f32, 2.0, 3.0, 4.0, 5.0, 6.0]),
            Tensor::scalar(init),
        ],
    );
    reduced
}

#[test]
fn the_reduced_dimensions_vanish() {
    let sum =
        |dimensions, result| reduce("%c = tsr.add %a, %b : tensor<f32>", dimensions, result, 0.0);
    assert_eq!(sum("[1]", "tensor<2xf32>"), vector(&[6f32, 15.0]));
    assert_eq!(sum("[0]", "tensor<3xf32>"), vector(&[5f32, 7.0, 9.0]));
    assert_eq!(sum("[0, 1]", "tensor<f32>"), Tensor::scalar(21f32));
    assert_eq!(
        sum("[]", "tensor<2x3xf32>").values(),
        Some(vec![1f32, 2.0, 3.0, 4.0, 5.0, 6.0])
    );
}

#[test]
fn the_init_takes_part() {
    let largest = |init| {
        reduce(
            "%c = tsr.maximum %a, %b : tensor<f32>",
            "[1]",
            "tensor<2xf32>",
            init,
        )
    };
    assert_eq!(largest(f32::NEG_INFINITY), vector(&[3f32, 6.0]));
    assert_eq!(largest(4.0), vector(&[4f32, 6.0]));
}

#[test]
fn any_body_is_applied_in_order_to_accumulator_and_element() {
    // 2a + b: ((2·0 + 1)·2 + 2)·2 + 3 = 11.
    let body = "%d = tsr.add %a, %a : tensor<f32>
                %c = tsr.add %d, %b : tensor<f32>";
    assert_eq!(
        reduce(body, "[1]", "tensor<2xf32>", 0.0),
        vector(&[11f32, 32.0])
    );
    // An op that is not commutative, both ways round.
    let left = reduce(
        "%c = tsr.subtract %a, %b : tensor<f32>",
        "[1]",
        "tensor<2xf32>",
        0.0,
    );
    assert_eq!(left, vector(&[-6f32, -15.0]));
    let right = reduce(
        "%c = tsr.subtract %b, %a : tensor<f32>",
        "[1]",
        "tensor<2xf32>",
        0.0,
    );
    assert_eq!(right, vector(&[2f32, 5.0]));
}

#[test]
fn a_sum_of_nothing_is_the_init() {
    let [sum] = run(
        "func.func @main(%x: tensor<0x2xi32>, %init: tensor<i32>) -> tensor<2xi32> {
           %0 = tsr.reduce %x, %init {dimensions = [0]} : (tensor<0x2xi32>, tensor<i32>) -> tensor<2xi32> {
           ^body(%a: tensor<i32>, %b: tensor<i32>):
             %c = tsr.add %a, %b : tensor<i32>
             tsr.return %c : tensor<i32>
           }
           return %0 : tensor<2xi32>
         }",
        &[tensor::<i32>(&[0, 2], &[]), Tensor::scalar(7)],
    );
    assert_eq!(sum, vector(&[7, 7]));
}

#[test]
fn narrow_floats_are_summed_without_rounding_in_between() {
    // In bf16, 256 + 1 is 256: adding ones one by one would not get beyond.
    let [sum] = run(
        "func.func @main(%x: tensor<300xbf16>, %init: tensor<bf16>) -> tensor<bf16> {
           %0 = tsr.reduce %x, %init {dimensions = [0]} : (tensor<300xbf16>, tensor<bf16>) -> tensor<bf16> {
           ^body(%a: tensor<bf16>, %b: tensor<bf16>):
             %c = tsr.add %a, %b : tensor<bf16>
             tsr.return %c : tensor<bf16>
           }
           return %0 : tensor<bf16>
         }",
        &[vector(&[bf16::ONE; 300]), Tensor::scalar(bf16::ZERO)],
    );
    assert_eq!(sum, Tensor::scalar(bf16::from_f32(300.0)));
}

#[test]
fn several_inputs_are_reduced_together() {
    // The largest and where it stands.
    let [largest, place] = run(
        "func.func @main(%x: tensor<2x3xf32>, %n: tensor<2x3xi32>, %least: tensor<f32>, %zero: tensor<i32>) -> (tensor<2xf32>, tensor<2xi32>) {
           %0:2 = tsr.reduce %x, %n, %least, %zero {dimensions = [1]} : (tensor<2x3xf32>, tensor<2x3xi32>, tensor<f32>, tensor<i32>) -> (tensor<2xf32>, tensor<2xi32>) {
           ^body(%a: tensor<f32>, %i: tensor<i32>, %b: tensor<f32>, %j: tensor<i32>):
             %c = tsr.compare %b, %a {direction = GT, compare_type = FLOAT} : (tensor<f32>, tensor<f32>) -> tensor<i1>
             %d = tsr.select %c, %b, %a : (tensor<i1>, tensor<f32>, tensor<f32>) -> tensor<f32>
             %e = tsr.select %c, %j, %i : (tensor<i1>, tensor<i32>, tensor<i32>) -> tensor<i32>
             tsr.return %d, %e : tensor<f32>, tensor<i32>
           }
           return %0#0, %0#1 : tensor<2xf32>, tensor<2xi32>
         }",
        &[
            tensor(&[2, 3], &[1f32, 9.0, 9.0, 4.0, 0.0, 2.0]),
            tensor(&[2, 3], &[0, 1, 2, 0, 1, 2]),
            Tensor::scalar(f32::NEG_INFINITY),
            Tensor::scalar(0),
        ],
    );
    assert_eq!(largest, vector(&[9f32, 4.0]));
    assert_eq!(place, vector(&[1, 0]));
}

fn window(attributes: &str, size: usize, init: f32) -> Tensor {
    let [windows] = run(
        &format!(
            "func.func @main(%x: tensor<4xf32>, %init: tensor<f32>) -> tensor<{size}xf32> {{
               %0 = tsr.reduce_window %x, %init {{{attributes}}} : (tensor<4xf32>, tensor<f32>) -> tensor<{size}xf32> {{
               ^body(%a: tensor<f32>, %b: tensor<f32>):
                 %c = tsr.add %a, %b : tensor<f32>
                 tsr.return %c : tensor<f32>
               }}
               return %0 : tensor<{size}xf32>
             }}"
        ),
        &[vector(&[1f32, 2.0, 3.0, 4.0]), Tensor::scalar(init)],
    );
    windows
}

#[test]
fn a_window_slides_by_its_stride() {
    let attributes = "window_dimensions = [2], window_strides = [1], base_dilations = [1], window_dilations = [1], padding_low = [0], padding_high = [0]";
    assert_eq!(window(attributes, 3, 0.0), vector(&[3f32, 5.0, 7.0]));
    let attributes = "window_dimensions = [2], window_strides = [2], base_dilations = [1], window_dilations = [1], padding_low = [0], padding_high = [0]";
    assert_eq!(window(attributes, 2, 0.0), vector(&[3f32, 7.0]));
}

#[test]
fn padding_counts_as_inits() {
    // A sum over all that came before, as JAX writes a cumulative sum.
    let attributes = "window_dimensions = [4], window_strides = [1], base_dilations = [1], window_dilations = [1], padding_low = [3], padding_high = [0]";
    assert_eq!(window(attributes, 4, 0.0), vector(&[1f32, 3.0, 6.0, 10.0]));
    // With the init 1, once as the init and once for each place of padding.
    assert_eq!(window(attributes, 4, 1.0), vector(&[5f32, 6.0, 8.0, 11.0]));
}

#[test]
fn negative_padding_cuts_away() {
    let attributes = "window_dimensions = [2], window_strides = [1], base_dilations = [1], window_dilations = [1], padding_low = [-1], padding_high = [0]";
    assert_eq!(window(attributes, 2, 0.0), vector(&[5f32, 7.0]));
}

#[test]
fn dilations_spread_the_base_or_the_window() {
    // The window takes every second element: 1 + 3, 2 + 4.
    let attributes = "window_dimensions = [2], window_strides = [1], base_dilations = [1], window_dilations = [2], padding_low = [0], padding_high = [0]";
    assert_eq!(window(attributes, 2, 0.0), vector(&[4f32, 6.0]));
    // The base becomes 1 0 2 0 3 0 4.
    let attributes = "window_dimensions = [3], window_strides = [1], base_dilations = [2], window_dilations = [1], padding_low = [0], padding_high = [0]";
    assert_eq!(
        window(attributes, 5, 0.0),
        vector(&[3f32, 2.0, 5.0, 3.0, 7.0])
    );
}

#[test]
fn windows_of_two_dimensions() {
    let [windows] = run(
        "func.func @main(%x: tensor<2x3xi32>, %init: tensor<i32>) -> tensor<1x2xi32> {
           %0 = tsr.reduce_window %x, %init {window_dimensions = [2, 2], window_strides = [1, 1], base_dilations = [1, 1], window_dilations = [1, 1], padding_low = [0, 0], padding_high = [0, 0]} : (tensor<2x3xi32>, tensor<i32>) -> tensor<1x2xi32> {
           ^body(%a: tensor<i32>, %b: tensor<i32>):
             %c = tsr.maximum %a, %b : tensor<i32>
             tsr.return %c : tensor<i32>
           }
           return %0 : tensor<1x2xi32>
         }",
        &[tensor(&[2, 3], &[1, 5, 2, 4, 3, 6]), Tensor::scalar(i32::MIN)],
    );
    assert_eq!(windows, tensor(&[1, 2], &[5, 6]));
}
