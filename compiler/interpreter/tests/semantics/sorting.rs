//! sort, top_k.

use super::{run, tensor, vector};
use half::bf16;
use tessera_ir::Tensor;

const INF: f32 = f32::INFINITY;
const NAN: f32 = f32::NAN;

#[test]
fn operands_are_sorted_together_and_ties_keep_their_order() {
    let [keys, places] = run(
        "func.func @main(%k: tensor<5xi32>, %p: tensor<5xi32>) -> (tensor<5xi32>, tensor<5xi32>) {
           %0:2 = tsr.sort %k, %p {dimension = 0, is_stable = true} : tensor<5xi32> {
           ^comparator(%a: tensor<i32>, %b: tensor<i32>, %c: tensor<i32>, %d: tensor<i32>):
             %e = tsr.compare %a, %b {direction = LT, compare_type = SIGNED} : (tensor<i32>, tensor<i32>) -> tensor<i1>
             tsr.return %e : tensor<i1>
           }
           return %0#0, %0#1 : tensor<5xi32>, tensor<5xi32>
         }",
        &[vector(&[3, 1, 2, 1, 3]), vector(&[0, 1, 2, 3, 4])],
    );
    assert_eq!(keys, vector(&[1, 1, 2, 3, 3]));
    assert_eq!(places, vector(&[1, 3, 2, 0, 4]));
}

fn sort_table(dimension: usize) -> Tensor {
    let [sorted] = run(
        &format!(
            "func.func @main(%x: tensor<2x3xi32>) -> tensor<2x3xi32> {{
               %0 = tsr.sort %x {{dimension = {dimension}, is_stable = false}} : tensor<2x3xi32> {{
               ^comparator(%a: tensor<i32>, %b: tensor<i32>):
                 %c = tsr.compare %a, %b {{direction = GT, compare_type = SIGNED}} : (tensor<i32>, tensor<i32>) -> tensor<i1>
                 tsr.return %c : tensor<i1>
               }}
               return %0 : tensor<2x3xi32>
             }}"
        ),
        &[tensor(&[2, 3], &[1, 5, 3, 6, 2, 4])],
    );
    sorted
}

#[test]
fn each_line_along_the_dimension_is_sorted_alone() {
    assert_eq!(sort_table(0), tensor(&[2, 3], &[6, 5, 4, 1, 2, 3]));
    assert_eq!(sort_table(1), tensor(&[2, 3], &[5, 3, 1, 6, 4, 2]));
}

#[test]
fn a_comparator_that_is_no_order_still_ends() {
    let [sorted] = run(
        "func.func @main(%x: tensor<40xf32>) -> tensor<40xf32> {
           %0 = tsr.sort %x {dimension = 0, is_stable = true} : tensor<40xf32> {
           ^comparator(%a: tensor<f32>, %b: tensor<f32>):
             %c = tsr.compare %a, %b {direction = NE, compare_type = FLOAT} : (tensor<f32>, tensor<f32>) -> tensor<i1>
             tsr.return %c : tensor<i1>
           }
           return %0 : tensor<40xf32>
         }",
        &[vector(&(0..40).map(|x| x as f32).collect::<Vec<_>>())],
    );
    let mut values: Vec<f32> = sorted.values().unwrap();
    values.sort_by(f32::total_cmp);
    assert_eq!(values, (0..40).map(|x| x as f32).collect::<Vec<_>>());
}

fn top_k(x: &[f32], k: usize) -> [Tensor; 2] {
    let n = x.len();
    run(
        &format!(
            "func.func @main(%x: tensor<{n}xf32>) -> (tensor<{k}xf32>, tensor<{k}xi32>) {{
               %0:2 = tsr.top_k %x {{k = {k}}} : (tensor<{n}xf32>) -> (tensor<{k}xf32>, tensor<{k}xi32>)
               return %0#0, %0#1 : tensor<{k}xf32>, tensor<{k}xi32>
             }}"
        ),
        &[vector(x)],
    )
}

#[test]
fn of_equal_numbers_the_first_comes_first() {
    let [values, places] = top_k(&[1.0, 3.0, 2.0, 3.0, 1.0], 4);
    assert_eq!(values, vector(&[3f32, 3.0, 2.0, 1.0]));
    assert_eq!(places, vector(&[1, 3, 2, 0]));
}

#[test]
fn the_greatest_go_by_the_total_order() {
    let [_, places] = top_k(
        &[-0.0, 1.0, NAN.copysign(-1.0), 0.0, -INF, NAN.abs(), INF],
        7,
    );
    assert_eq!(places, vector(&[5, 6, 1, 3, 0, 4, 2]));
}

#[test]
fn each_row_has_its_own_greatest() {
    let [values, places] = run(
        "func.func @main(%x: tensor<2x3xbf16>) -> (tensor<2x2xbf16>, tensor<2x2xi32>) {
           %0:2 = tsr.top_k %x {k = 2} : (tensor<2x3xbf16>) -> (tensor<2x2xbf16>, tensor<2x2xi32>)
           return %0#0, %0#1 : tensor<2x2xbf16>, tensor<2x2xi32>
         }",
        &[tensor(
            &[2, 3],
            &[1f32, 2.0, 3.0, 6.0, 5.0, 4.0].map(bf16::from_f32),
        )],
    );
    assert_eq!(
        values,
        tensor(&[2, 2], &[3f32, 2.0, 6.0, 5.0].map(bf16::from_f32))
    );
    assert_eq!(places, tensor(&[2, 2], &[2, 1, 0, 1]));
}
