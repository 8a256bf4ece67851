//! Loops and branches.

use super::becomes;

/// A loop that counts `%i` up to `%n` and adds `%step` to `%x` each time, with what follows the operands.
fn counting(operands: &str, types: &str, result: &str) -> String {
    format!(
        "(%arg0: t<i32>, %arg1: t<4xf32>, %arg2: t<4xf32>) -> t<4xf32> {{
           %zero = tsr.constant {{value = dense<0>}} : t<i32>
           %loop:3 = tsr.while {operands} : ({types}) -> (t<i32>, t<4xf32>, t<4xf32>) {{
           ^condition(%i: t<i32>, %x: t<4xf32>, %step: t<4xf32>, %n: t<i32>):
             %c = tsr.compare %i, %n {{direction = LT, compare_type = SIGNED}} : (t<i32>, t<i32>) -> t<i1>
             tsr.return %c : t<i1>
           }}, {{
           ^body(%i: t<i32>, %x: t<4xf32>, %step: t<4xf32>, %n: t<i32>):
             %one = tsr.constant {{value = dense<1>}} : t<i32>
             %i2 = tsr.add %i, %one : t<i32>
             %x2 = tsr.add %x, %step : t<4xf32>
             tsr.return %i2, %x2, %step : t<i32>, t<4xf32>, t<4xf32>
           }}
           return {result} : t<4xf32>
         }}"
    )
}

const OPERANDS: &str = "%zero, %arg1, %arg2, %limit";
const TYPES: &str = "t<i32>, t<4xf32>, t<4xf32>, t<i32>";

/// The loop runs as often as its limit says: a small one, for the interpreter's sake.
fn counting_to(limit: &str, result: &str) -> String {
    counting(OPERANDS, TYPES, result).replace(
        "%zero = ",
        &format!("%limit = tsr.constant {{value = dense<{limit}>}} : t<i32>\n%zero = "),
    )
}

#[test]
fn a_value_carried_unchanged_is_captured_and_a_known_one_is_inside() {
    becomes(
        &counting_to("5", "%loop#1"),
        "%0 = tsr.constant {value = dense<0>} : t<i32>
         %1:2 = tsr.while %0, %arg1, %arg2 : (t<i32>, t<4xf32>, t<4xf32>) -> (t<i32>, t<4xf32>) {
         ^condition(%arg3: t<i32>, %arg4: t<4xf32>, %arg5: t<4xf32>):
         %2 = tsr.constant {value = dense<5>} : t<i32>
         %3 = tsr.compare %arg3, %2 {direction = LT, compare_type = SIGNED} : (t<i32>, t<i32>) -> t<i1>
         tsr.return %3 : t<i1>
         }, {
         ^body(%arg6: t<i32>, %arg7: t<4xf32>, %arg8: t<4xf32>):
         %4 = tsr.constant {value = dense<1>} : t<i32>
         %5 = tsr.add %arg6, %4 : t<i32>
         %6 = tsr.add %arg7, %arg8 : t<4xf32>
         tsr.return %5, %6 : t<i32>, t<4xf32>
         }
         return %1#1 : t<4xf32>",
    );
}

#[test]
fn the_result_of_a_value_carried_unchanged_is_that_value() {
    becomes(&counting_to("5", "%loop#2"), "return %arg2 : t<4xf32>");
}

#[test]
fn a_loop_that_is_never_entered_gives_what_it_was_given() {
    becomes(&counting_to("0", "%loop#1"), "return %arg1 : t<4xf32>");
}

#[test]
fn carried_values_that_only_keep_each_other_alive_go() {
    becomes(
        "(%arg0: t<4xf32>, %arg1: t<4xf32>) -> t<4xf32> {
           %zero = tsr.constant {value = dense<0>} : t<i32>
           %loop:4 = tsr.while %zero, %arg0, %arg1, %arg0 : (t<i32>, t<4xf32>, t<4xf32>, t<4xf32>) -> (t<i32>, t<4xf32>, t<4xf32>, t<4xf32>) {
           ^condition(%i: t<i32>, %x: t<4xf32>, %y: t<4xf32>, %z: t<4xf32>):
             %n = tsr.constant {value = dense<3>} : t<i32>
             %c = tsr.compare %i, %n {direction = LT, compare_type = SIGNED} : (t<i32>, t<i32>) -> t<i1>
             tsr.return %c : t<i1>
           }, {
           ^body(%i: t<i32>, %x: t<4xf32>, %y: t<4xf32>, %z: t<4xf32>):
             %one = tsr.constant {value = dense<1>} : t<i32>
             %i2 = tsr.add %i, %one : t<i32>
             %x2 = tsr.negate %x : t<4xf32>
             %y2 = tsr.add %y, %z : t<4xf32>
             %z2 = tsr.multiply %z, %y : t<4xf32>
             tsr.return %i2, %x2, %y2, %z2 : t<i32>, t<4xf32>, t<4xf32>, t<4xf32>
           }
           return %loop#1 : t<4xf32>
         }",
        "%0 = tsr.constant {value = dense<0>} : t<i32>
         %1:2 = tsr.while %0, %arg0 : (t<i32>, t<4xf32>) -> (t<i32>, t<4xf32>) {
         ^condition(%arg2: t<i32>, %arg3: t<4xf32>):
         %2 = tsr.constant {value = dense<3>} : t<i32>
         %3 = tsr.compare %arg2, %2 {direction = LT, compare_type = SIGNED} : (t<i32>, t<i32>) -> t<i1>
         tsr.return %3 : t<i1>
         }, {
         ^body(%arg4: t<i32>, %arg5: t<4xf32>):
         %4 = tsr.constant {value = dense<1>} : t<i32>
         %5 = tsr.add %arg4, %4 : t<i32>
         %6 = tsr.negate %arg5 : t<4xf32>
         tsr.return %5, %6 : t<i32>, t<4xf32>
         }
         return %1#1 : t<4xf32>",
    );
}

const BRANCHES: &str = "%c = tsr.case %index, %arg1, %arg1, %arg2 : (t<i32>, t<4xf32>, t<4xf32>, t<2xi32>) -> t<4xf32> {
   ^branch(%x: t<4xf32>, %y: t<4xf32>, %z: t<2xi32>):
     %a = tsr.add %x, %y : t<4xf32>
     tsr.return %a : t<4xf32>
   }, {
   ^branch(%x: t<4xf32>, %y: t<4xf32>, %z: t<2xi32>):
     %b = tsr.negate %x : t<4xf32>
     tsr.return %b : t<4xf32>
   }
   return %c : t<4xf32>
 }";

#[test]
fn a_known_branch_is_its_ops() {
    for (index, expected) in [
        (0, "%0 = tsr.add %arg1, %arg1 : t<4xf32>"),
        (1, "%0 = tsr.negate %arg1 : t<4xf32>"),
        // Out of bounds: the last one.
        (-1, "%0 = tsr.negate %arg1 : t<4xf32>"),
        (9, "%0 = tsr.negate %arg1 : t<4xf32>"),
    ] {
        becomes(
            &format!(
                "(%arg0: t<i32>, %arg1: t<4xf32>, %arg2: t<2xi32>) -> t<4xf32> {{
                   %index = tsr.constant {{value = dense<{index}>}} : t<i32>
                   {BRANCHES}"
            ),
            &format!("{expected}\nreturn %0 : t<4xf32>"),
        );
    }
}

#[test]
fn branches_capture_what_they_use_and_once() {
    becomes(
        &format!("(%index: t<i32>, %arg1: t<4xf32>, %arg2: t<2xi32>) -> t<4xf32> {{\n{BRANCHES}"),
        "%0 = tsr.case %arg0, %arg1 : (t<i32>, t<4xf32>) -> t<4xf32> {
         ^branches(%arg3: t<4xf32>):
         %1 = tsr.add %arg3, %arg3 : t<4xf32>
         tsr.return %1 : t<4xf32>
         }, {
         ^branches(%arg4: t<4xf32>):
         %2 = tsr.negate %arg4 : t<4xf32>
         tsr.return %2 : t<4xf32>
         }
         return %0 : t<4xf32>",
    );
}
