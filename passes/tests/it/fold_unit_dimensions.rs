//! `fold-unit-dimensions`.

use crate::common::{body, check, program, run};

#[test]
fn a_norm_over_kept_dimensions_becomes_one_over_rows() {
    check(
        "canonicalise,fold-unit-dimensions,canonicalise",
        "(%arg0: t<3x4xf32>) -> t<3x4xf32> {
           %0 = tsr.constant {value = dense<0.0>} : t<f32>
           %1 = tsr.reduce %arg0, %0 {dimensions = [1]} : (t<3x4xf32>, t<f32>) -> t<3xf32> {
           ^body(%a: t<f32>, %b: t<f32>):
             %2 = tsr.add %a, %b : t<f32>
             tsr.return %2 : t<f32>
           }
           %3 = tsr.broadcast_in_dim %1 {broadcast_dimensions = [0]} : (t<3xf32>) -> t<3x1xf32>
           %4 = tsr.constant {value = dense<3.0>} : t<3x1xf32>
           %5 = tsr.divide %3, %4 : t<3x1xf32>
           %6 = tsr.broadcast_in_dim %5 {broadcast_dimensions = [0, 1]} : (t<3x1xf32>) -> t<3x4xf32>
           %7 = tsr.subtract %arg0, %6 : t<3x4xf32>
           return %7 : t<3x4xf32>
         }",
        "%0 = tsr.constant {value = dense<0.0>} : t<f32>
         %1 = tsr.reduce %arg0, %0 {dimensions = [1]} : (t<3x4xf32>, t<f32>) -> t<3xf32> {
         ^body(%arg1: t<f32>, %arg2: t<f32>):
         %2 = tsr.add %arg1, %arg2 : t<f32>
         tsr.return %2 : t<f32>
         }
         %3 = tsr.constant {value = dense<3.0>} : t<f32>
         %4 = tsr.broadcast_in_dim %3 {broadcast_dimensions = []} : (t<f32>) -> t<3xf32>
         %5 = tsr.divide %1, %4 : t<3xf32>
         %6 = tsr.broadcast_in_dim %5 {broadcast_dimensions = [0]} : (t<3xf32>) -> t<3x4xf32>
         %7 = tsr.subtract %arg0, %6 : t<3x4xf32>
         return %7 : t<3x4xf32>",
    );
}

/// What is left of one op on `%arg0: t<1x4x1x3xf32>` and a scalar index.
fn folded(result: &str, op: &str) -> Vec<String> {
    let last = op.lines().count() - 1;
    let source = format!(
        "(%arg0: t<1x4x1x3xf32>, %arg1: t<i32>) -> t<{result}> {{
           %0 = {op}
           return %{last} : t<{result}>
         }}"
    );
    check_same(&source);
    let mut lines = body(&run("fold-unit-dimensions", &program(&source)));
    lines.pop();
    lines
}

fn check_same(source: &str) {
    use crate::common::{assert_same, interpret, special_inputs};
    let before = program(source);
    let inputs = special_inputs(&before);
    let after = run("fold-unit-dimensions", &before);
    assert_same(&interpret(&after, &inputs), &interpret(&before, &inputs));
}

#[test]
fn moving_ops_lose_dimensions_of_one() {
    assert_eq!(
        folded(
            "1x3x1x4xf32",
            "tsr.transpose %arg0 {permutation = [0, 3, 2, 1]} : (t<1x4x1x3xf32>) -> t<1x3x1x4xf32>"
        )[1],
        "%1 = tsr.transpose %0 {permutation = [1, 0]} : (t<4x3xf32>) -> t<3x4xf32>"
    );
    assert_eq!(
        folded(
            "1x2x1x3xf32",
            "tsr.slice %arg0 {start_indices = [0, 1, 0, 0], limit_indices = [1, 3, 1, 3], strides = [1, 1, 1, 1]} : (t<1x4x1x3xf32>) -> t<1x2x1x3xf32>"
        )[1],
        "%1 = tsr.slice %0 {start_indices = [1, 0], limit_indices = [3, 3], strides = [1, 1]} : (t<4x3xf32>) -> t<2x3xf32>"
    );
    assert_eq!(
        folded(
            "1x8x1x3xf32",
            "tsr.concatenate %arg0, %arg0 {dimension = 1} : (t<1x4x1x3xf32>, t<1x4x1x3xf32>) -> t<1x8x1x3xf32>"
        )[2],
        "%2 = tsr.concatenate %0, %1 {dimension = 0} : (t<4x3xf32>, t<4x3xf32>) -> t<8x3xf32>"
    );
    assert_eq!(
        folded(
            "1x4x1x3xf32",
            "tsr.reverse %arg0 {dimensions = [0, 3]} : t<1x4x1x3xf32>"
        )[1],
        "%1 = tsr.reverse %0 {dimensions = [1]} : t<4x3xf32>"
    );
}

#[test]
fn the_index_of_a_dimension_of_one_goes_with_it() {
    assert_eq!(
        folded(
            "1x2x1x3xf32",
            "tsr.dynamic_slice %arg0, %arg1, %arg1, %arg1, %arg1 {slice_sizes = [1, 2, 1, 3]} : (t<1x4x1x3xf32>, t<i32>, t<i32>, t<i32>, t<i32>) -> t<1x2x1x3xf32>"
        )[1],
        "%1 = tsr.dynamic_slice %0, %arg1, %arg1 {slice_sizes = [2, 3]} : (t<4x3xf32>, t<i32>, t<i32>) -> t<2x3xf32>"
    );
}

#[test]
fn a_padded_dimension_of_one_stays() {
    let lines = folded(
        "2x4x1x3xf32",
        "tsr.constant {value = dense<0.0>} : t<f32>
         %1 = tsr.pad %arg0, %0 {edge_padding_low = [1, 0, 0, 0], edge_padding_high = [0, 0, 0, 0], interior_padding = [0, 0, 0, 0]} : (t<1x4x1x3xf32>, t<f32>) -> t<2x4x1x3xf32>
         %2 = tsr.abs %1 : t<2x4x1x3xf32>",
    );
    assert!(
        lines
            .iter()
            .any(|line| line.contains("edge_padding_low = [1, 0, 0]")),
        "{lines:?}"
    );
}

/// Dimensions of 1 leave products, but that one of the rows, of the columns and of what is contracted stays.
#[test]
fn products_lose_dimensions_of_one() {
    let dot = |attributes: &str, types: &str| {
        let source = format!(
            "(%arg0: t<1x5x2x1x3xf32>, %arg1: t<1x7x2x3xf32>, %arg2: t<1x1x4xf32>) -> t<{}> {{
               %0 = tsr.dot_general {attributes}, accumulator = f32}} : {types}
               return %0 : t<{0}>
             }}",
            types.rsplit_once("t<").unwrap().1.trim_end_matches('>')
        );
        check_same(&source);
        let mut lines = body(&run("fold-unit-dimensions,canonicalise", &program(&source)));
        lines.pop();
        lines
    };
    assert_eq!(
        dot(
            "%arg0, %arg1 {lhs_batching_dimensions = [0, 2], rhs_batching_dimensions = [0, 2], lhs_contracting_dimensions = [4], rhs_contracting_dimensions = [3]",
            "(t<1x5x2x1x3xf32>, t<1x7x2x3xf32>) -> t<1x2x5x1x7xf32>"
        ),
        [
            "%0 = tsr.reshape %arg0 : (t<1x5x2x1x3xf32>) -> t<5x2x3xf32>",
            "%1 = tsr.reshape %arg1 : (t<1x7x2x3xf32>) -> t<7x2x3xf32>",
            "%2 = tsr.dot_general %0, %1 {lhs_batching_dimensions = [1], rhs_batching_dimensions = [1], lhs_contracting_dimensions = [2], rhs_contracting_dimensions = [2], accumulator = f32} : (t<5x2x3xf32>, t<7x2x3xf32>) -> t<2x5x7xf32>",
            "%3 = tsr.reshape %2 : (t<2x5x7xf32>) -> t<1x2x5x1x7xf32>",
        ]
    );
    assert_eq!(
        dot(
            "%arg2, %arg2 {lhs_batching_dimensions = [], rhs_batching_dimensions = [], lhs_contracting_dimensions = [0], rhs_contracting_dimensions = [1]",
            "(t<1x1x4xf32>, t<1x1x4xf32>) -> t<1x4x1x4xf32>"
        ),
        [
            "%0 = tsr.reshape %arg2 : (t<1x1x4xf32>) -> t<1x4xf32>",
            "%1 = tsr.dot_general %0, %0 {lhs_batching_dimensions = [], rhs_batching_dimensions = [], lhs_contracting_dimensions = [0], rhs_contracting_dimensions = [0], accumulator = f32} : (t<1x4xf32>, t<1x4xf32>) -> t<4x4xf32>",
            "%2 = tsr.reshape %1 : (t<4x4xf32>) -> t<1x4x1x4xf32>",
        ]
    );
}
