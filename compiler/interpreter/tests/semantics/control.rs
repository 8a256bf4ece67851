//! while, case, call, optimization_barrier.

use super::{run, try_run, vector};
use tessera_ir::Tensor;

/// Doubles x and counts until x is at least the limit, which is captured.
const DOUBLING: &str = "
    func.func @main(%x: tensor<i32>, %n: tensor<i32>, %limit: tensor<i32>) -> (tensor<i32>, tensor<i32>) {
      %0:2 = tsr.while %x, %n, %limit : (tensor<i32>, tensor<i32>, tensor<i32>) -> (tensor<i32>, tensor<i32>) {
      ^condition(%a: tensor<i32>, %b: tensor<i32>, %c: tensor<i32>):
        %d = tsr.compare %a, %c {direction = LT, compare_type = SIGNED} : (tensor<i32>, tensor<i32>) -> tensor<i1>
        tsr.return %d : tensor<i1>
      }, {
      ^body(%a: tensor<i32>, %b: tensor<i32>, %c: tensor<i32>):
        %d = tsr.add %a, %a : tensor<i32>
        %one = tsr.constant {value = dense<1>} : tensor<i32>
        %e = tsr.add %b, %one : tensor<i32>
        tsr.return %d, %e : tensor<i32>, tensor<i32>
      }
      return %0#0, %0#1 : tensor<i32>, tensor<i32>
    }";

#[test]
fn a_loop_runs_while_its_condition_holds() {
    let [x, n] = run(DOUBLING, &[3, 0, 100].map(Tensor::scalar));
    assert_eq!([x, n], [192, 6].map(Tensor::scalar));
}

#[test]
fn a_loop_whose_condition_fails_at_once_gives_back_what_it_took() {
    let [x, n] = run(DOUBLING, &[3, 7, 0].map(Tensor::scalar));
    assert_eq!([x, n], [3, 7].map(Tensor::scalar));
}

#[test]
fn a_loop_has_no_limit() {
    let [n] = run(
        "func.func @main() -> tensor<i32> {
           %zero = tsr.constant {value = dense<0>} : tensor<i32>
           %0 = tsr.while %zero : (tensor<i32>) -> tensor<i32> {
           ^condition(%a: tensor<i32>):
             %c = tsr.constant {value = dense<100000>} : tensor<i32>
             %d = tsr.compare %a, %c {direction = LT, compare_type = SIGNED} : (tensor<i32>, tensor<i32>) -> tensor<i1>
             tsr.return %d : tensor<i1>
           }, {
           ^body(%a: tensor<i32>):
             %one = tsr.constant {value = dense<1>} : tensor<i32>
             %b = tsr.add %a, %one : tensor<i32>
             tsr.return %b : tensor<i32>
           }
           return %0 : tensor<i32>
         }",
        &[],
    );
    assert_eq!(n, Tensor::scalar(100_000));
}

#[test]
fn an_index_out_of_bounds_chooses_the_last_branch() {
    let choose = |index: i32| -> i32 {
        let [chosen] = run(
            "func.func @main(%i: tensor<i32>, %x: tensor<i32>) -> tensor<i32> {
               %0 = tsr.case %i, %x : (tensor<i32>, tensor<i32>) -> tensor<i32> {
               ^branches(%a: tensor<i32>):
                 tsr.return %a : tensor<i32>
               }, {
               ^branches(%a: tensor<i32>):
                 %b = tsr.add %a, %a : tensor<i32>
                 tsr.return %b : tensor<i32>
               }, {
               ^branches(%a: tensor<i32>):
                 %b = tsr.negate %a : tensor<i32>
                 tsr.return %b : tensor<i32>
               }
               return %0 : tensor<i32>
             }",
            &[index, 5].map(Tensor::scalar),
        );
        chosen.values().unwrap()[0]
    };
    assert_eq!([0, 1, 2].map(choose), [5, 10, -5]);
    assert_eq!([3, -1, i32::MAX, i32::MIN].map(choose), [-5; 4]);
}

#[test]
fn a_call_is_the_graph_called() {
    let [difference] = run(
        "func.func @main(%x: tensor<2xf32>, %y: tensor<2xf32>) -> tensor<2xf32> {
           %0 = tsr.call %y, %x {callee = @difference} : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
           return %0 : tensor<2xf32>
         }
         func.func private @difference(%a: tensor<2xf32>, %b: tensor<2xf32>) -> tensor<2xf32> {
           %0 = tsr.subtract %a, %b : tensor<2xf32>
           return %0 : tensor<2xf32>
         }",
        &[vector(&[1f32, 2.0]), vector(&[10f32, 10.0])],
    );
    assert_eq!(difference, vector(&[9f32, 8.0]));
}

#[test]
fn a_region_may_call_a_graph() {
    let [sum] = run(
        "func.func @main(%x: tensor<3xi32>, %init: tensor<i32>) -> tensor<i32> {
           %0 = tsr.reduce %x, %init {dimensions = [0]} : (tensor<3xi32>, tensor<i32>) -> tensor<i32> {
           ^body(%a: tensor<i32>, %b: tensor<i32>):
             %c = tsr.call %a, %b {callee = @plus} : (tensor<i32>, tensor<i32>) -> tensor<i32>
             tsr.return %c : tensor<i32>
           }
           return %0 : tensor<i32>
         }
         func.func private @plus(%a: tensor<i32>, %b: tensor<i32>) -> tensor<i32> {
           %0 = tsr.add %a, %b : tensor<i32>
           return %0 : tensor<i32>
         }",
        &[vector(&[1, 2, 3]), Tensor::scalar(0)],
    );
    assert_eq!(sum, Tensor::scalar(6));
}

#[test]
fn a_barrier_lets_everything_through() {
    let inputs = [vector(&[1f32, 2.0]), Tensor::scalar(3)];
    let results = try_run(
        "func.func @main(%x: tensor<2xf32>, %y: tensor<i32>) -> (tensor<2xf32>, tensor<i32>) {
           %0:2 = tsr.optimization_barrier %x, %y : (tensor<2xf32>, tensor<i32>) -> (tensor<2xf32>, tensor<i32>)
           return %0#0, %0#1 : tensor<2xf32>, tensor<i32>
         }",
        &inputs,
    );
    assert_eq!(results, Ok(inputs.to_vec()));
}

#[test]
fn values_may_be_used_and_given_back_more_than_once_or_never() {
    let results = try_run(
        "func.func @main(%x: tensor<i32>, %unused: tensor<i32>) -> (tensor<i32>, tensor<i32>, tensor<i32>) {
           %0 = tsr.multiply %x, %x : tensor<i32>
           %1 = tsr.add %0, %x : tensor<i32>
           %2 = tsr.negate %x : tensor<i32>
           return %1, %1, %x : tensor<i32>, tensor<i32>, tensor<i32>
         }",
        &[3, 0].map(Tensor::scalar),
    );
    assert_eq!(results, Ok([12, 12, 3].map(Tensor::scalar).to_vec()));
}
