//! A whole program on scaled tensors, from its text to numbers.

use std::num::NonZeroUsize;
use std::process::Command;
use tessera::{Compiler, Source};
use tessera_ir::Tensor;
use tessera_runtime::{Bundle, Program, RunOptions};

/// Three steps of w ← w + (y − mean y) / 64, where y are the numbers of a quantised product of quantised x and w, and w
/// is rounded at random.
const PROGRAM: &str = "module {
  func.func public @main(%x: tensor<64x64xf32>, %w: tensor<64x64xf32>) -> tensor<64x64xf32> {
    %zero = tsr.constant {value = dense<0>} : tensor<ui32>
    %loop:2 = tsr.while %zero, %w, %x : (tensor<ui32>, tensor<64x64xf32>, tensor<64x64xf32>) -> (tensor<ui32>, tensor<64x64xf32>) {
    ^condition(%i: tensor<ui32>, %v: tensor<64x64xf32>, %u: tensor<64x64xf32>):
      %limit = tsr.constant {value = dense<3>} : tensor<ui32>
      %go = tsr.compare %i, %limit {direction = LT, compare_type = UNSIGNED} : (tensor<ui32>, tensor<ui32>) -> tensor<i1>
      tsr.return %go : tensor<i1>
    }, {
    ^body(%i: tensor<ui32>, %v: tensor<64x64xf32>, %u: tensor<64x64xf32>):
      %one = tsr.constant {value = dense<1>} : tensor<ui32>
      %next = tsr.add %i, %one : tensor<ui32>
      %qu = tsr.quantize %u {rule = rceil, rounding = nearest_even, seed = 1, site = 0} : (tensor<64x64xf32>) -> !tsr.scaled<64x64, mxfp4, axis = 1>
      %qv = tsr.quantize %v, %i {rule = rceil, rounding = stochastic, seed = 1, site = 1} : (tensor<64x64xf32>, tensor<ui32>) -> !tsr.scaled<64x64, mxfp4, axis = 0>
      %p = tsr.scaled_dot %qu, %qv {lhs_batching_dimensions = [], rhs_batching_dimensions = []} : (!tsr.scaled<64x64, mxfp4, axis = 1>, !tsr.scaled<64x64, mxfp4, axis = 0>) -> tensor<64x64xf32>
      %qp = tsr.quantize %p {rule = rceil, rounding = nearest_even, seed = 1, site = 2} : (tensor<64x64xf32>) -> !tsr.scaled<64x64, mxfp4, axis = 1>
      %y = tsr.dequantize %qp : (!tsr.scaled<64x64, mxfp4, axis = 1>) -> tensor<64x64xf32>
      %mean = tsr.column_mean %y {dimensions = [0]} : (tensor<64x64xf32>) -> tensor<64xf32>
      %means = tsr.broadcast_in_dim %mean {broadcast_dimensions = [1]} : (tensor<64xf32>) -> tensor<64x64xf32>
      %centred = tsr.subtract %y, %means : tensor<64x64xf32>
      %factor = tsr.constant {value = dense<0.015625>} : tensor<f32>
      %factors = tsr.broadcast_in_dim %factor {broadcast_dimensions = []} : (tensor<f32>) -> tensor<64x64xf32>
      %change = tsr.multiply %centred, %factors : tensor<64x64xf32>
      %new = tsr.add %v, %change : tensor<64x64xf32>
      tsr.return %next, %new : tensor<ui32>, tensor<64x64xf32>
    }
    return %loop#1 : tensor<64x64xf32>
  }
}
";

/// Integers of −3 to 3.
fn integers(seed: usize) -> Tensor {
    let values: Vec<f32> = (0..64 * 64)
        .map(|i| ((i * 31 + i * i / 7 * seed) % 7) as f32 - 3.0)
        .collect();
    Tensor::from_values([64, 64], &values).unwrap()
}

#[test]
fn a_loop_of_quantised_products_gives_the_interpreters_bits_on_any_number_of_threads() {
    let source = Source {
        name: "loop".to_owned(),
        text: PROGRAM.to_owned(),
    };
    let module = source.module().unwrap();
    let inputs = [integers(3), integers(5)];
    // Codes are small integers and scales powers of two, so that sums of their products, and sums of 64 of the results,
    // are exact in f32 in any order.
    let expected = tessera_interpreter::evaluate(&module, module.entry().unwrap(), &inputs);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("loop.tessera");
    let compiler = Compiler::new("cpu").unwrap();
    compiler.compile(&module, &path).unwrap();
    let program = Program::load(&Bundle::open(&path).unwrap()).unwrap();
    for threads in [1, 2] {
        let options = RunOptions {
            threads: NonZeroUsize::new(threads),
            ..RunOptions::default()
        };
        let found = program.run(&inputs, &options).unwrap();
        assert!(found == *expected.as_ref().unwrap(), "{threads} threads");
    }
    assert!(expected.unwrap()[0] != inputs[1]);

    let output = Command::new(env!("CARGO_BIN_EXE_tessera"))
        .arg("inspect")
        .arg(&path)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for line in [
        "quantize !tsr.scaled<64x64, mxfp4, axis = 0> by rceil, stochastic",
        "scaled_dot 1 × 64x64x64 mxfp4",
        "1 launch(es)  dequantize",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}
