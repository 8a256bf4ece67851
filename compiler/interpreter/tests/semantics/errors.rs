//! What is refused, and how it is told.

use super::{module, run, try_run, vector};
use tessera_interpreter::{EvaluateError, OpFailure, evaluate, evaluate_op};
use tessera_ir::{Binary, ElementType, Location, Module, OpKind, Tensor};

const IDENTITY: &str = "
    func.func @main(%x: tensor<2xf32> {tsr.name = \"weights\"}, %y: tensor<i32>) -> tensor<2xf32> {
      return %x : tensor<2xf32>
    }";

#[test]
fn a_wrong_number_of_inputs() {
    let error = try_run(IDENTITY, &[vector(&[1f32, 2.0])]).unwrap_err();
    assert_eq!(error.to_string(), "@main: expected 2 inputs, found 1");
}

#[test]
fn an_input_of_another_type() {
    let error = try_run(IDENTITY, &[vector(&[1f32]), Tensor::scalar(1)]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "@main, input 0 ('weights'): expected tensor<2xf32>, found tensor<1xf32>"
    );
    let error = try_run(IDENTITY, &[vector(&[1f32, 2.0]), Tensor::scalar(1f32)]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "@main, input 1: expected tensor<i32>, found tensor<f32>"
    );
}

#[test]
fn a_result_beyond_memory_names_its_op_and_place() {
    let broadcast = |loc: &str| {
        format!(
            "func.func @main(%x: tensor<f32>) -> tensor<f32> {{
               %0 = tsr.broadcast_in_dim %x {{broadcast_dimensions = []}} : (tensor<f32>) -> tensor<1000000x1000000x1000000xf32> loc({loc})
               return %x : tensor<f32>
             }}"
        )
    };
    let error = try_run(&broadcast("\"step.py\":10:4"), &[Tensor::scalar(1f32)]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "'tsr.broadcast_in_dim': out of memory: a result is tensor<1000000x1000000x1000000xf32>"
    );
    let EvaluateError::Op { location, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(location, Location::file("step.py", 10, 4));
}

#[test]
fn recursion_does_not_exhaust_the_stack() {
    let mut module = Module::new(None);
    let text = "func.func @main(%x: tensor<f32>) -> tensor<f32> {
                  %0 = tsr.call %x {callee = @other} : (tensor<f32>) -> tensor<f32>
                  return %0 : tensor<f32>
                }";
    let main = tessera_ir::text::parse_graph(text, None).unwrap();
    let other = tessera_ir::text::parse_graph(
        &text
            .replace("@other", "@MAIN")
            .replace("@main", "@other")
            .replace("@MAIN", "@main"),
        None,
    );
    module.insert(main);
    let inputs = [Tensor::scalar(1f32)];
    let error = evaluate(&module, module.entry().unwrap(), &inputs).unwrap_err();
    assert_eq!(
        error.to_string(),
        "'tsr.call': the module has no graph @other"
    );
    module.insert(other.unwrap());
    let error = evaluate(&module, module.entry().unwrap(), &inputs).unwrap_err();
    assert_eq!(
        error.to_string(),
        "'tsr.call': @main calls itself: recursion does not end"
    );
}

#[test]
fn an_error_inside_keeps_its_own_place() {
    let module = module(
        "func.func @main(%x: tensor<f32>) -> tensor<f32> {
           %0 = tsr.call %x {callee = @inner} : (tensor<f32>) -> tensor<f32> loc(\"outer.py\":1:1)
           return %0 : tensor<f32>
         }
         func.func private @inner(%x: tensor<f32>) -> tensor<f32> {
           %0 = tsr.broadcast_in_dim %x {broadcast_dimensions = []} : (tensor<f32>) -> tensor<1000000x1000000x1000000xf32> loc(\"inner.py\":2:2)
           return %x : tensor<f32>
         }",
    );
    let error = evaluate(&module, module.entry().unwrap(), &[Tensor::scalar(1f32)]).unwrap_err();
    let EvaluateError::Op { op, location, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(
        (op, location),
        ("broadcast_in_dim", Location::file("inner.py", 2, 2))
    );
}

#[test]
fn one_op_alone() {
    let module = Module::new(None);
    let add = OpKind::Binary(Binary::Add);
    let sum = evaluate_op(
        &module,
        &add,
        &[vector(&[1, 2]).into(), vector(&[10, 20]).into()],
    );
    assert_eq!(sum, Ok(vec![vector(&[11, 22]).into()]));
    let mismatch = evaluate_op(
        &module,
        &add,
        &[vector(&[1, 2]).into(), Tensor::scalar(1).into()],
    );
    assert!(
        matches!(mismatch, Err(OpFailure::Constraint(_))),
        "{mismatch:?}"
    );
    let convert = OpKind::Convert {
        element: ElementType::F32,
    };
    let [converted] = evaluate_op(&module, &convert, &[Tensor::scalar(3i8).into()])
        .unwrap()
        .try_into()
        .unwrap();
    assert_eq!(converted, Tensor::scalar(3f32).into());
}

#[test]
fn an_empty_tensor_goes_through() {
    let [sum] = run(
        "func.func @main(%x: tensor<0x3xf32>) -> tensor<0x3xf32> {
           %0 = tsr.add %x, %x : tensor<0x3xf32>
           return %0 : tensor<0x3xf32>
         }",
        &[Tensor::zeros(ElementType::F32, [0, 3]).unwrap()],
    );
    assert!(sum.is_empty());
}
