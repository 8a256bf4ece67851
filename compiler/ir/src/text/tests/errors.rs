//! Each error and its place.

use crate::diagnostic::Diagnostic;
use crate::text::{parse, parse_graph};

/// The error of a text in which `«` and `»` mark the place it must have.
#[track_caller]
fn check(marked: &str, message: &str) -> Diagnostic {
    let source = marked.replace(['«', '»'], "");
    let start = marked.find('«').expect("the place is marked");
    let end = marked.find('»').expect("the place is marked") - '«'.len_utf8();
    let error = parse(&source, None).expect_err("the text is wrong");
    assert_eq!(error.message, message);
    let found = error.span.clone();
    assert_eq!(found, start..end, "{}", error.render("text", &source));
    error
}

/// The error of a body of `(%x: tensor<f32>, %v: tensor<4xf32>) -> tensor<f32>`.
#[track_caller]
fn check_body(body: &str, message: &str) -> Diagnostic {
    let open = "func.func @f(%x: tensor<f32>, %v: tensor<4xf32>) -> tensor<f32> {";
    check(&format!("{open}\n{body}\n}}"), message)
}

#[test]
fn undefined_values() {
    check_body("%0 = tsr.add %x, «%y» : tensor<f32>", "'%y' is not defined");
    let error = check_body(
        "%0:2 = tsr.optimization_barrier %x, %x : tensor<f32>
         %1 = tsr.add %0#0, «%0#2» : tensor<f32>",
        "'%0' has 2 result(s), there is no '#2'",
    );
    assert_eq!(error.notes[0].message, "defined here");
}

#[test]
fn values_of_outside_a_region() {
    let error = check_body(
        "%0 = tsr.reduce %v, %x {dimensions = [0]} : (tensor<4xf32>, tensor<f32>) -> tensor<f32> {
         ^body(%a: tensor<f32>, %b: tensor<f32>):
           %1 = tsr.add %a, «%x» : tensor<f32>",
        "'%x' is not defined in this region",
    );
    assert_eq!(
        error.notes[1].message,
        "what a region uses enters as an operand of its op"
    );
}

#[test]
fn values_defined_twice() {
    let error = check_body(
        "%0 = tsr.abs %x : tensor<f32>
         «%0» = tsr.abs %x : tensor<f32>",
        "'%0' is defined already",
    );
    assert_eq!(error.notes[0].message, "first defined here");
    check(
        "func.func @f(%a: tensor<f32>, «%a»: tensor<f32>) {",
        "'%a' is defined already",
    );
}

#[test]
fn graphs_defined_twice() {
    check(
        "func.func @f() { return } func.func «@f»() { return }",
        "a graph '@f' is defined already",
    );
}

#[test]
fn unknown_ops() {
    check_body(
        "%0 = «tsr.multply» %x, %x : tensor<f32>",
        "unknown op 'tsr.multply', did you mean 'tsr.multiply'?",
    );
    check_body(
        "%0 = «\"tsr.frobnicate\"»(%x) : (tensor<f32>) -> tensor<f32>",
        "unknown op 'tsr.frobnicate'",
    );
    check_body(
        "%0 = «stablehlo.add» %x, %x : tensor<f32>",
        "expected an op of the dialect tsr, found 'stablehlo.add'",
    );
}

#[test]
fn broken_constraints() {
    let source = "func.func @f(%v: tensor<4xf32>) {
        %0 = tsr.transpose %v {permutation = [1]} : tensor<4xf32>";
    let error = parse(source, None).unwrap_err();
    assert!(error.message.starts_with("'tsr.transpose' (C2): "));
    assert_eq!(&source[error.span], "tsr.transpose");
}

#[test]
fn wrong_result_types() {
    check_body(
        "%0 = tsr.compare %x, %x {direction = LT, compare_type = FLOAT} : «(tensor<f32>, tensor<f32>) -> tensor<f32>»",
        "the result of 'tsr.compare' is tensor<i1>, but tensor<f32> is written",
    );
    check_body(
        "%0:2 = tsr.abs %x : «tensor<f32>»",
        "'tsr.abs' has 1 result(s) here, but the types of 2 are written",
    );
    check_body(
        "%0 = tsr.convert %x : «(tensor<f32>) -> ()»",
        "expected one result type, found 0",
    );
}

#[test]
fn wrong_operand_types() {
    let error = check_body(
        "%0 = tsr.add %x, «%v» : tensor<f32>",
        "'%v' is a tensor<4xf32>, but tensor<f32> is written here",
    );
    assert_eq!(error.notes[0].message, "defined here");
    check_body(
        "%0 = tsr.add %x, %x : «(tensor<f32>) -> tensor<f32>»",
        "expected the types of 2 operand(s), found 1",
    );
}

#[test]
fn wrong_numbers_of_names() {
    check_body(
        "«tsr.abs» %x : (tensor<f32>) -> tensor<f32>",
        "the op has 1 result(s), 0 are named",
    );
    check_body(
        "%0, «%1:65535» = tsr.abs %x : tensor<f32>",
        "an op has at most 65535 results",
    );
}

#[test]
fn wrong_attributes() {
    check_body(
        "%0 = «tsr.reverse» %v : tensor<4xf32>",
        "attribute 'dimensions' is missing: expected an array of integers, each 0 or more",
    );
    check_body(
        "%0 = tsr.reverse %v {dimensions = «[-1]»} : tensor<4xf32>",
        "attribute 'dimensions': expected an array of integers, each 0 or more, found '[-1]'",
    );
    check_body(
        "%0 = tsr.reverse %v {dimensions = [0], «dimension» = 0} : tensor<4xf32>",
        "the op has no attribute 'dimension'",
    );
    check_body(
        "%0 = tsr.reverse %v {dimensions = [0], «dimensions» = [0]} : tensor<4xf32>",
        "attribute 'dimensions' is given twice",
    );
    check_body(
        "%0 = tsr.reverse %v {dimensions = «{}»} : tensor<4xf32>",
        "attribute 'dimensions' cannot be a dictionary",
    );
    check_body(
        "%0 = tsr.compare %x, %x {direction = «LESS», compare_type = FLOAT} : (tensor<f32>, tensor<f32>) -> tensor<i1>",
        "attribute 'direction': expected EQ, NE, GE, GT, LE or LT, found 'LESS'",
    );
}

#[test]
fn wrong_constants() {
    check_body(
        "%0 = tsr.constant {value = dense<«1»>} : tensor<f32>",
        "expected a float with a decimal point, or its bits as 0x…, found '1'",
    );
    check_body(
        "%0 = tsr.constant {value = dense<«[1.0, 2.0]»>} : tensor<3xf32>",
        "expected 3 item(s) in dimension 0 of tensor<3xf32>, found 2",
    );
    check_body(
        "%0 = tsr.constant {value = «dense<0.0> : tensor<1000000x1000000xf32>»} : tensor<f32>",
        "a constant of 4000000000000 bytes that are all alike is too large; broadcast a scalar instead",
    );
}

#[test]
fn wrong_regions() {
    check_body(
        "%0 = «tsr.reduce» %v, %x {dimensions = [0]} : (tensor<4xf32>, tensor<f32>) -> tensor<f32>",
        "region 'body' is missing",
    );
    check_body(
        "%0 = «tsr.abs» %x : tensor<f32> { tsr.return }",
        "1 region(s) more than the op has",
    );
    check_body(
        "%0 = tsr.abs %x : tensor<f32> { «}»",
        "expected an op or 'tsr.return', found '}'",
    );
    check_body(
        "%0 = tsr.abs %x : tensor<f32> { ^bb0: «^bb1»: tsr.return }",
        "a graph has one block: branches are ops that hold graphs",
    );
}

#[test]
fn wrong_results_of_a_graph() {
    let error = check_body(
        "«return %x, %x : tensor<f32>, tensor<f32>»",
        "expected 1 result(s), found 2",
    );
    assert_eq!(error.notes[0].message, "as declared here");
    check_body(
        "«return %v : tensor<4xf32>»",
        "result 0 must be tensor<f32>, found tensor<4xf32>",
    );
    check_body(
        "return %x : tensor<f32> «tsr.abs» %x : tensor<f32>",
        "expected '}', found 'tsr.abs'",
    );
}

#[test]
fn wrong_graphs() {
    check(
        "func.func «f»() {}",
        "expected a symbol such as @name, found 'f'",
    );
    check(
        "func.func @f(%x: tensor<f32> {«tf.aliasing_output» = 0 : i32}) { return }",
        "an input has no attribute 'tf.aliasing_output'",
    );
    check(
        "func.func @f(%x: tensor<f32> {tsr.initialiser = «\"normal(\"»}) { return }",
        "column 8: expected a number, found ''",
    );
    check(
        "func.func @f(%x: tensor<f32> {tsr.donate = «-1»}) { return }",
        "the integer -1 is out of range",
    );
    check(
        "func.func @f(%x: tensor<f32>) -> (tensor<f32> {«tsr.donate» = 0}) { return }",
        "a result has no attribute 'tsr.donate'",
    );
    check(
        "«\"func.func\"»() <{sym_name = \"f\"}> ({ func.return }) : () -> ()",
        "attribute 'function_type' is missing",
    );
    check(
        "\"func.func\"() <{sym_name = \"f\", function_type = «() -> tensor<f32>»}> ({ func.return }) : () -> ()",
        "the function's body has the type () -> ()",
    );
}

#[test]
fn wrong_modules() {
    check(
        "«»",
        "expected 'module' or 'func.func', found the end of the text",
    );
    check("«hello»", "expected 'module' or 'func.func', found 'hello'");
    check("module { «hello» }", "expected 'func.func', found 'hello'");
    check(
        "module {«»",
        "expected 'func.func', found the end of the text",
    );
    check("module {} «}»", "expected the end of the text, found '}'");
    check(
        "module «attributes» {mhlo.num_partitions = 1 : i32} {}",
        "expected '{', found 'attributes'",
    );
}

#[test]
fn tokens_that_are_none() {
    check_body("%0 = tsr.abs %x «§»", "unexpected character");
    check_body(
        "%0 = tsr.call {callee = «@\"f} : tensor<f32>»\n",
        "the string is not closed before the end of the line",
    );
}

#[test]
fn very_deep_nesting() {
    let open = "%0 = tsr.case %i : (tensor<i32>) -> tensor<i32> { ^bb0(%i: tensor<i32>): ";
    let source = format!("func.func @f(%i: tensor<i32>) {{ {}", open.repeat(100_000));
    let error = parse(&source, None).unwrap_err();
    assert_eq!(error.message, "nested more than 64 levels deep");
    let source = format!(
        "func.func @f(%x: tensor<f32>) {{ tsr.abs %x {{a = {}",
        "[".repeat(100_000)
    );
    let error = parse(&source, None).unwrap_err();
    assert_eq!(error.message, "nested more than 64 levels deep");
}

#[test]
fn more_than_one_graph() {
    let error = parse_graph("func.func @f() { return } func.func @g() { return }", None);
    assert_eq!(
        error.unwrap_err().message,
        "expected the end of the text, found 'func.func'"
    );
}
