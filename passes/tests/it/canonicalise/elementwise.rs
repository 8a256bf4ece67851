//! Elementwise ops.

use super::{becomes, stays};

#[test]
fn a_product_with_one_is_the_other_factor() {
    becomes(
        "(%arg0: t<11xf32>) -> t<11xf32> {
           %0 = tsr.constant {value = dense<1.0>} : t<11xf32>
           %1 = tsr.multiply %0, %arg0 : t<11xf32>
           return %1 : t<11xf32>
         }",
        "return %arg0 : t<11xf32>",
    );
}

#[test]
fn adding_minus_zero_changes_no_float() {
    becomes(
        "(%arg0: t<11xf32>) -> t<11xf32> {
           %0 = tsr.constant {value = dense<-0.0>} : t<11xf32>
           %1 = tsr.add %arg0, %0 : t<11xf32>
           return %1 : t<11xf32>
         }",
        "return %arg0 : t<11xf32>",
    );
}

#[test]
fn adding_zero_changes_minus_zero() {
    stays(
        "(%arg0: t<11xf32>) -> t<11xf32> {
           %0 = tsr.constant {value = dense<0.0>} : t<f32>
           %1 = tsr.broadcast_in_dim %0 {broadcast_dimensions = []} : (t<f32>) -> t<11xf32>
           %2 = tsr.add %arg0, %1 : t<11xf32>
           return %2 : t<11xf32>
         }",
    );
}

#[test]
fn subtracting_zero_changes_no_float() {
    becomes(
        "(%arg0: t<11xf32>) -> t<11xf32> {
           %0 = tsr.constant {value = dense<0.0>} : t<11xf32>
           %1 = tsr.subtract %arg0, %0 : t<11xf32>
           return %1 : t<11xf32>
         }",
        "return %arg0 : t<11xf32>",
    );
}

#[test]
fn subtracting_minus_zero_changes_minus_zero() {
    stays(
        "(%arg0: t<11xf32>) -> t<11xf32> {
           %0 = tsr.constant {value = dense<-0.0>} : t<f32>
           %1 = tsr.broadcast_in_dim %0 {broadcast_dimensions = []} : (t<f32>) -> t<11xf32>
           %2 = tsr.subtract %arg0, %1 : t<11xf32>
           return %2 : t<11xf32>
         }",
    );
}

#[test]
fn a_float_product_with_zero_is_not_always_zero() {
    stays(
        "(%arg0: t<11xf32>) -> t<11xf32> {
           %0 = tsr.constant {value = dense<0.0>} : t<f32>
           %1 = tsr.broadcast_in_dim %0 {broadcast_dimensions = []} : (t<f32>) -> t<11xf32>
           %2 = tsr.multiply %arg0, %1 : t<11xf32>
           return %2 : t<11xf32>
         }",
    );
}

#[test]
fn an_integer_product_with_zero_is_zero() {
    becomes(
        "(%arg0: t<8xi32>) -> t<8xi32> {
           %0 = tsr.constant {value = dense<0>} : t<8xi32>
           %1 = tsr.multiply %arg0, %0 : t<8xi32>
           return %1 : t<8xi32>
         }",
        "%0 = tsr.constant {value = dense<0>} : t<i32>
         %1 = tsr.broadcast_in_dim %0 {broadcast_dimensions = []} : (t<i32>) -> t<8xi32>
         return %1 : t<8xi32>",
    );
}

#[test]
fn the_bits_that_are_all_set_are_neutral_to_and() {
    for (element, ones) in [("i32", "-1"), ("ui8", "255"), ("i1", "true")] {
        becomes(
            &format!(
                "(%arg0: t<8x{element}>) -> t<8x{element}> {{
                   %0 = tsr.constant {{value = dense<{ones}>}} : t<8x{element}>
                   %1 = tsr.and %arg0, %0 : t<8x{element}>
                   return %1 : t<8x{element}>
                 }}"
            ),
            &format!("return %arg0 : t<8x{element}>"),
        );
    }
}

#[test]
fn or_with_true_is_true() {
    becomes(
        "(%arg0: t<8xi1>) -> t<8xi1> {
           %0 = tsr.constant {value = dense<true>} : t<8xi1>
           %1 = tsr.or %arg0, %0 : t<8xi1>
           return %1 : t<8xi1>
         }",
        "%0 = tsr.constant {value = dense<true>} : t<i1>
         %1 = tsr.broadcast_in_dim %0 {broadcast_dimensions = []} : (t<i1>) -> t<8xi1>
         return %1 : t<8xi1>",
    );
}

#[test]
fn the_maximum_with_minus_infinity_is_the_other_operand() {
    becomes(
        "(%arg0: t<11xf32>) -> t<11xf32> {
           %0 = tsr.constant {value = dense<0xFF800000>} : t<11xf32>
           %1 = tsr.maximum %0, %arg0 : t<11xf32>
           return %1 : t<11xf32>
         }",
        "return %arg0 : t<11xf32>",
    );
}

#[test]
fn a_float_minus_itself_is_not_always_zero() {
    stays(
        "(%arg0: t<11xf32>) -> t<11xf32> {
           %0 = tsr.subtract %arg0, %arg0 : t<11xf32>
           return %0 : t<11xf32>
         }",
    );
}

#[test]
fn an_integer_minus_itself_is_zero() {
    becomes(
        "(%arg0: t<8xi32>) -> t<8xi32> {
           %0 = tsr.subtract %arg0, %arg0 : t<8xi32>
           return %0 : t<8xi32>
         }",
        "%0 = tsr.constant {value = dense<0>} : t<i32>
         %1 = tsr.broadcast_in_dim %0 {broadcast_dimensions = []} : (t<i32>) -> t<8xi32>
         return %1 : t<8xi32>",
    );
}

#[test]
fn the_maximum_of_a_value_and_itself_is_that_value() {
    becomes(
        "(%arg0: t<11xf32>) -> t<11xf32> {
           %0 = tsr.maximum %arg0, %arg0 : t<11xf32>
           return %0 : t<11xf32>
         }",
        "return %arg0 : t<11xf32>",
    );
}

#[test]
fn two_negations_and_two_complements_cancel() {
    becomes(
        "(%arg0: t<11xf32>, %arg1: t<8xi1>) -> (t<11xf32>, t<8xi1>) {
           %0 = tsr.negate %arg0 : t<11xf32>
           %1 = tsr.negate %0 : t<11xf32>
           %2 = tsr.not %arg1 : t<8xi1>
           %3 = tsr.not %2 : t<8xi1>
           return %1, %3 : t<11xf32>, t<8xi1>
         }",
        "return %arg0, %arg1 : t<11xf32>, t<8xi1>",
    );
}

#[test]
fn a_product_with_minus_one_is_a_negation() {
    becomes(
        "(%arg0: t<11xf32>) -> t<11xf32> {
           %0 = tsr.constant {value = dense<-1.0>} : t<11xf32>
           %1 = tsr.multiply %arg0, %0 : t<11xf32>
           return %1 : t<11xf32>
         }",
        "%0 = tsr.negate %arg0 : t<11xf32>
         return %0 : t<11xf32>",
    );
}

#[test]
fn dividing_by_a_power_of_two_is_multiplying_by_its_reciprocal() {
    becomes(
        "(%arg0: t<11xf32>) -> t<11xf32> {
           %0 = tsr.constant {value = dense<256.0>} : t<11xf32>
           %1 = tsr.divide %arg0, %0 : t<11xf32>
           return %1 : t<11xf32>
         }",
        "%0 = tsr.constant {value = dense<0.00390625>} : t<f32>
         %1 = tsr.broadcast_in_dim %0 {broadcast_dimensions = []} : (t<f32>) -> t<11xf32>
         %2 = tsr.multiply %arg0, %1 : t<11xf32>
         return %2 : t<11xf32>",
    );
}

#[test]
fn dividing_by_other_numbers_stays() {
    // 3 has no exact reciprocal; that of 2¹²⁷ is too small to have all its digits.
    for divisor in ["3.0", "1.70141183E+38"] {
        let source = format!(
            "(%arg0: t<11xf32>) -> t<11xf32> {{
               %0 = tsr.constant {{value = dense<{divisor}>}} : t<11xf32>
               %1 = tsr.divide %arg0, %0 : t<11xf32>
               return %1 : t<11xf32>
             }}"
        );
        let after = crate::common::run("canonicalise", &crate::common::program(&source));
        assert!(
            crate::common::body(&after)
                .iter()
                .any(|line| line.contains("tsr.divide"))
        );
    }
}

#[test]
fn a_conversion_there_and_back_goes_where_nothing_is_lost() {
    becomes(
        "(%arg0: t<7xbf16>, %arg1: t<11xf32>) -> (t<7xbf16>, t<11xf32>) {
           %0 = tsr.convert %arg0 : (t<7xbf16>) -> t<7xf32>
           %1 = tsr.convert %0 : (t<7xf32>) -> t<7xbf16>
           %2 = tsr.convert %arg1 : (t<11xf32>) -> t<11xbf16>
           %3 = tsr.convert %2 : (t<11xbf16>) -> t<11xf32>
           return %1, %3 : t<7xbf16>, t<11xf32>
         }",
        "%0 = tsr.convert %arg1 : (t<11xf32>) -> t<11xbf16>
         %1 = tsr.convert %0 : (t<11xbf16>) -> t<11xf32>
         return %arg0, %1 : t<7xbf16>, t<11xf32>",
    );
}

#[test]
fn a_signed_integer_is_not_held_by_a_wider_unsigned_one() {
    stays(
        "(%arg0: t<8xi32>) -> t<8xf32> {
           %0 = tsr.convert %arg0 : (t<8xi32>) -> t<8xui64>
           %1 = tsr.convert %0 : (t<8xui64>) -> t<8xf32>
           return %1 : t<8xf32>
         }",
    );
}

#[test]
fn a_select_by_a_constant_is_the_value_selected() {
    becomes(
        "(%arg0: t<11xf32>, %arg1: t<11xf32>) -> t<11xf32> {
           %0 = tsr.constant {value = dense<false>} : t<i1>
           %1 = tsr.select %0, %arg0, %arg1 : (t<i1>, t<11xf32>, t<11xf32>) -> t<11xf32>
           return %1 : t<11xf32>
         }",
        "return %arg1 : t<11xf32>",
    );
}

#[test]
fn a_select_of_true_and_false_is_the_predicate() {
    becomes(
        "(%arg0: t<11xi1>) -> (t<11xi1>, t<11xi1>) {
           %0 = tsr.constant {value = dense<true>} : t<11xi1>
           %1 = tsr.constant {value = dense<false>} : t<11xi1>
           %2 = tsr.select %arg0, %0, %1 : t<11xi1>
           %3 = tsr.select %arg0, %1, %0 : t<11xi1>
           return %2, %3 : t<11xi1>, t<11xi1>
         }",
        "%0 = tsr.not %arg0 : t<11xi1>
         return %arg0, %0 : t<11xi1>, t<11xi1>",
    );
}

#[test]
fn a_select_by_a_complement_selects_the_other() {
    becomes(
        "(%arg0: t<11xi1>, %arg1: t<11xf32>, %arg2: t<11xf32>) -> t<11xf32> {
           %0 = tsr.not %arg0 : t<11xi1>
           %1 = tsr.select %0, %arg1, %arg2 : (t<11xi1>, t<11xf32>, t<11xf32>) -> t<11xf32>
           return %1 : t<11xf32>
         }",
        "%0 = tsr.select %arg0, %arg2, %arg1 : (t<11xi1>, t<11xf32>, t<11xf32>) -> t<11xf32>
         return %0 : t<11xf32>",
    );
}

#[test]
fn an_integer_equals_itself_and_a_float_need_not() {
    becomes(
        "(%arg0: t<i32>, %arg1: t<11xf32>) -> (t<i1>, t<11xi1>) {
           %0 = tsr.compare %arg0, %arg0 {direction = EQ, compare_type = SIGNED} : (t<i32>, t<i32>) -> t<i1>
           %1 = tsr.compare %arg1, %arg1 {direction = EQ, compare_type = FLOAT} : (t<11xf32>, t<11xf32>) -> t<11xi1>
           return %0, %1 : t<i1>, t<11xi1>
         }",
        "%0 = tsr.constant {value = dense<true>} : t<i1>
         %1 = tsr.compare %arg1, %arg1 {direction = EQ, compare_type = FLOAT} : (t<11xf32>, t<11xf32>) -> t<11xi1>
         return %0, %1 : t<i1>, t<11xi1>",
    );
}

#[test]
fn what_is_broadcast_is_computed_before() {
    becomes(
        "(%arg0: t<11xf32>, %arg1: t<11xf32>, %arg2: t<f32>) -> t<3x11xf32> {
           %0 = tsr.broadcast_in_dim %arg0 {broadcast_dimensions = [1]} : (t<11xf32>) -> t<3x11xf32>
           %1 = tsr.broadcast_in_dim %arg1 {broadcast_dimensions = [1]} : (t<11xf32>) -> t<3x11xf32>
           %2 = tsr.broadcast_in_dim %arg2 {broadcast_dimensions = []} : (t<f32>) -> t<3x11xf32>
           %3 = tsr.divide %0, %1 : t<3x11xf32>
           %4 = tsr.add %3, %2 : t<3x11xf32>
           return %4 : t<3x11xf32>
         }",
        "%0 = tsr.divide %arg0, %arg1 : t<11xf32>
         %1 = tsr.broadcast_in_dim %arg2 {broadcast_dimensions = []} : (t<f32>) -> t<11xf32>
         %2 = tsr.add %0, %1 : t<11xf32>
         %3 = tsr.broadcast_in_dim %2 {broadcast_dimensions = [1]} : (t<11xf32>) -> t<3x11xf32>
         return %3 : t<3x11xf32>",
    );
}

#[test]
fn what_is_broadcast_along_different_dimensions_stays() {
    stays(
        "(%arg0: t<4xf32>, %arg1: t<4xf32>) -> t<4x4xf32> {
           %0 = tsr.broadcast_in_dim %arg0 {broadcast_dimensions = [0]} : (t<4xf32>) -> t<4x4xf32>
           %1 = tsr.broadcast_in_dim %arg1 {broadcast_dimensions = [1]} : (t<4xf32>) -> t<4x4xf32>
           %2 = tsr.add %0, %1 : t<4x4xf32>
           return %2 : t<4x4xf32>
         }",
    );
}
