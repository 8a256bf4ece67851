//! `drop-barriers`.

use crate::common::check;

#[test]
fn barriers_go_and_what_they_kept_apart_stays_apart() {
    check(
        "drop-barriers",
        "(%arg0: t<4xf32>, %arg1: t<i32>) -> (t<4xf32>, t<4xf32>, t<i32>) {
           %0 = tsr.exponential %arg0 : t<4xf32>
           %1:2 = tsr.optimization_barrier %arg0, %arg1 : (t<4xf32>, t<i32>) -> (t<4xf32>, t<i32>)
           %2 = tsr.exponential %1#0 : t<4xf32>
           return %0, %2, %1#1 : t<4xf32>, t<4xf32>, t<i32>
         }",
        "%0 = tsr.exponential %arg0 : t<4xf32>
         %1 = tsr.exponential %arg0 : t<4xf32>
         return %0, %1, %arg1 : t<4xf32>, t<4xf32>, t<i32>",
    );
}
