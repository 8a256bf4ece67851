//! `inline`.

use crate::common::{assert_same, body, interpret, module, run, special_inputs};
use tessera_ir::{Location, OpKind, Symbol, TensorType};
use tessera_passes::Pipeline;
use tessera_passes::manager::Silent;

const NESTED: &str = "
  func.func public @main(%arg0: t<4xf32>, %arg1: t<i32>) -> (t<4xf32>, t<4xf32>) {
    %0 = tsr.call %arg0 {callee = @outer} : (t<4xf32>) -> t<4xf32>
    %1 = tsr.case %arg1, %arg0 : (t<i32>, t<4xf32>) -> t<4xf32> {
    ^branches(%x: t<4xf32>):
      %2 = tsr.call %x {callee = @inner} : (t<4xf32>) -> t<4xf32>
      tsr.return %2 : t<4xf32>
    }
    return %0, %1 : t<4xf32>, t<4xf32>
  }
  func.func private @outer(%arg0: t<4xf32>) -> t<4xf32> {
    %0 = tsr.call %arg0 {callee = @inner} : (t<4xf32>) -> t<4xf32>
    %1 = tsr.call %0 {callee = @inner} : (t<4xf32>) -> t<4xf32>
    return %1 : t<4xf32>
  }
  func.func private @inner(%arg0: t<4xf32>) -> t<4xf32> {
    %0 = tsr.negate %arg0 : t<4xf32>
    return %0 : t<4xf32>
  }";

#[test]
fn calls_become_ops_in_regions_too_and_private_graphs_go() {
    let before = module(NESTED);
    let after = run("inline", &before);
    assert_eq!(after.graphs().len(), 1);
    assert_eq!(
        body(&after).join("\n"),
        "%0 = tsr.negate %arg0 : t<4xf32>\n\
         %1 = tsr.negate %0 : t<4xf32>\n\
         %2 = tsr.case %arg1, %arg0 : (t<i32>, t<4xf32>) -> t<4xf32> {\n\
         ^branches(%arg2: t<4xf32>):\n\
         %3 = tsr.negate %arg2 : t<4xf32>\n\
         tsr.return %3 : t<4xf32>\n\
         }\n\
         return %1, %2 : t<4xf32>, t<4xf32>"
    );
    let inputs = special_inputs(&before);
    assert_same(&interpret(&after, &inputs), &interpret(&before, &inputs));
}

#[test]
fn an_inlined_op_comes_from_its_place_and_that_of_the_call() {
    let source = NESTED
        .replace(
            "%0 = tsr.negate %arg0 : t<4xf32>",
            "%0 = tsr.negate %arg0 : t<4xf32> loc(\"inner.py\":1:2)",
        )
        .replace(
            "%0 = tsr.call %arg0 {callee = @outer} : (t<4xf32>) -> t<4xf32>",
            "%0 = tsr.call %arg0 {callee = @outer} : (t<4xf32>) -> t<4xf32> loc(\"main.py\":3:4)",
        );
    let after = run("inline", &module(&source));
    let operation = &after.entry().unwrap().operations()[0];
    let Location::CallSite { callee, caller } = &operation.location else {
        panic!("{:?}", operation.location);
    };
    assert_eq!(**callee, Location::file("inner.py", 1, 2));
    assert_eq!(**caller, Location::file("main.py", 3, 4));
}

#[test]
fn a_graph_that_calls_itself_is_refused() {
    // The verifier refuses it too; a pass must not loop on what it is given all the same.
    let mut recursive = module(NESTED);
    let mut graph = recursive.graph("inner").unwrap().clone();
    let x = graph.results()[0].value;
    let call = OpKind::Call {
        callee: Symbol("outer".to_owned()),
        result_types: vec![TensorType::new(tessera_ir::ElementType::F32, [4]).into()],
    };
    let place = Location::file("step.py", 9, 1);
    let again = graph.push_value(call, [x], place.clone()).unwrap();
    graph.set_result_values([again]);
    recursive.insert(graph);
    let pipeline: Pipeline = "inline".parse().unwrap();
    let error = pipeline.run(&recursive, &mut Silent).unwrap_err();
    assert_eq!(
        error.to_string(),
        "pass 'inline': @outer calls itself by way of @outer, @inner: recursion cannot be compiled"
    );
    assert_eq!(*error.location(), place);
    assert!(!error.is_internal());
}
