//! dot_general, reductions, and what is known when the program is compiled.

use super::{becomes, stays};

const DOT: &str = "lhs_batching_dimensions = [], rhs_batching_dimensions = []";

#[test]
fn a_transposed_operand_of_a_dot_is_its_dimension_numbers() {
    becomes(
        &format!(
            "(%arg0: t<4x2xf32>, %arg1: t<3x4xf32>) -> t<2x3xf32> {{
               %0 = tsr.transpose %arg0 {{permutation = [1, 0]}} : (t<4x2xf32>) -> t<2x4xf32>
               %1 = tsr.transpose %arg1 {{permutation = [1, 0]}} : (t<3x4xf32>) -> t<4x3xf32>
               %2 = tsr.dot_general %0, %1 {{{DOT}, lhs_contracting_dimensions = [1], rhs_contracting_dimensions = [0], accumulator = f32}} : (t<2x4xf32>, t<4x3xf32>) -> t<2x3xf32>
               return %2 : t<2x3xf32>
             }}"
        ),
        &format!(
            "%0 = tsr.dot_general %arg0, %arg1 {{{DOT}, lhs_contracting_dimensions = [0], rhs_contracting_dimensions = [1], accumulator = f32}} : (t<4x2xf32>, t<3x4xf32>) -> t<2x3xf32>
             return %0 : t<2x3xf32>"
        ),
    );
}

#[test]
fn a_transpose_that_reorders_what_a_dot_keeps_stays() {
    stays(&format!(
        "(%arg0: t<2x3x4xf32>, %arg1: t<4x5xf32>) -> t<3x2x5xf32> {{
           %0 = tsr.transpose %arg0 {{permutation = [1, 0, 2]}} : (t<2x3x4xf32>) -> t<3x2x4xf32>
           %1 = tsr.dot_general %0, %arg1 {{{DOT}, lhs_contracting_dimensions = [2], rhs_contracting_dimensions = [0], accumulator = f32}} : (t<3x2x4xf32>, t<4x5xf32>) -> t<3x2x5xf32>
           return %1 : t<3x2x5xf32>
         }}"
    ));
}

#[test]
fn the_transpose_of_a_dot_is_the_dot_of_swapped_operands() {
    becomes(
        &format!(
            "(%arg0: t<2x4xf32>, %arg1: t<4x3xf32>) -> t<3x2xf32> {{
               %0 = tsr.dot_general %arg0, %arg1 {{{DOT}, lhs_contracting_dimensions = [1], rhs_contracting_dimensions = [0], accumulator = f32}} : (t<2x4xf32>, t<4x3xf32>) -> t<2x3xf32>
               %1 = tsr.transpose %0 {{permutation = [1, 0]}} : (t<2x3xf32>) -> t<3x2xf32>
               return %1 : t<3x2xf32>
             }}"
        ),
        &format!(
            "%0 = tsr.dot_general %arg1, %arg0 {{{DOT}, lhs_contracting_dimensions = [0], rhs_contracting_dimensions = [1], accumulator = f32}} : (t<4x3xf32>, t<2x4xf32>) -> t<3x2xf32>
             return %0 : t<3x2xf32>"
        ),
    );
}

#[test]
fn a_dot_that_is_also_needed_untransposed_is_made_once() {
    stays(&format!(
        "(%arg0: t<2x4xf32>, %arg1: t<4x3xf32>) -> (t<2x3xf32>, t<3x2xf32>) {{
           %0 = tsr.dot_general %arg0, %arg1 {{{DOT}, lhs_contracting_dimensions = [1], rhs_contracting_dimensions = [0], accumulator = f32}} : (t<2x4xf32>, t<4x3xf32>) -> t<2x3xf32>
           %1 = tsr.transpose %0 {{permutation = [1, 0]}} : (t<2x3xf32>) -> t<3x2xf32>
           return %0, %1 : t<2x3xf32>, t<3x2xf32>
         }}"
    ));
}

#[test]
fn a_reduction_of_one_element_is_its_body() {
    // 0 + −0 = +0: the sum is not the element itself.
    becomes(
        "(%arg0: t<11x1xf32>) -> t<11xf32> {
           %0 = tsr.constant {value = dense<0.0>} : t<f32>
           %1 = tsr.reduce %arg0, %0 {dimensions = [1]} : (t<11x1xf32>, t<f32>) -> t<11xf32> {
           ^body(%a: t<f32>, %b: t<f32>):
             %2 = tsr.add %a, %b : t<f32>
             tsr.return %2 : t<f32>
           }
           return %1 : t<11xf32>
         }",
        "%0 = tsr.constant {value = dense<0.0>} : t<f32>
         %1 = tsr.broadcast_in_dim %0 {broadcast_dimensions = []} : (t<f32>) -> t<11xf32>
         %2 = tsr.reshape %arg0 : (t<11x1xf32>) -> t<11xf32>
         %3 = tsr.add %2, %1 : t<11xf32>
         return %3 : t<11xf32>",
    );
}

#[test]
fn a_reduction_of_nothing_is_the_init() {
    becomes(
        "(%arg0: t<11x0xf32>, %arg1: t<f32>) -> t<11xf32> {
           %1 = tsr.reduce %arg0, %arg1 {dimensions = [1]} : (t<11x0xf32>, t<f32>) -> t<11xf32> {
           ^body(%a: t<f32>, %b: t<f32>):
             %2 = tsr.maximum %a, %b : t<f32>
             tsr.return %2 : t<f32>
           }
           return %1 : t<11xf32>
         }",
        "%0 = tsr.broadcast_in_dim %arg1 {broadcast_dimensions = []} : (t<f32>) -> t<11xf32>
         return %0 : t<11xf32>",
    );
}

#[test]
fn ops_on_constants_are_constants() {
    becomes(
        "() -> (t<3xf32>, t<i1>) {
           %0 = tsr.constant {value = dense<[1.0, 4.0, 9.0]>} : t<3xf32>
           %1 = tsr.sqrt %0 : t<3xf32>
           %2 = tsr.constant {value = dense<7>} : t<i32>
           %3 = tsr.constant {value = dense<8>} : t<i32>
           %4 = tsr.compare %2, %3 {direction = LT, compare_type = SIGNED} : (t<i32>, t<i32>) -> t<i1>
           return %1, %4 : t<3xf32>, t<i1>
         }",
        "%0 = tsr.constant {value = dense<[1.0, 2.0, 3.0]>} : t<3xf32>
         %1 = tsr.constant {value = dense<true>} : t<i1>
         return %0, %1 : t<3xf32>, t<i1>",
    );
}

#[test]
fn constants_larger_than_the_limit_are_not_computed() {
    let source = "() -> t<3xf32> {
       %0 = tsr.constant {value = dense<[1.0, 4.0, 9.0]>} : t<3xf32>
       %1 = tsr.sqrt %0 : t<3xf32>
       return %1 : t<3xf32>
     }";
    crate::common::check(
        "canonicalise{fold-limit=5}",
        source,
        "%0 = tsr.constant {value = dense<[1.0, 4.0, 9.0]>} : t<3xf32>
         %1 = tsr.sqrt %0 : t<3xf32>
         return %1 : t<3xf32>",
    );
}
