//! Merging equal ops and removing unused ones: `cse` and `dce`, and `canonicalise`, which does both.

use super::{becomes, stays};
use crate::common::check;

const TWICE: &str = "(%arg0: t<4xf32>, %arg1: t<4xf32>) -> (t<4xf32>, t<4xf32>) {
   %0 = tsr.add %arg0, %arg1 : t<4xf32>
   %1 = tsr.add %arg1, %arg0 : t<4xf32>
   %2 = tsr.exponential %0 : t<4xf32>
   %3 = tsr.exponential %1 : t<4xf32>
   %4 = tsr.tanh %1 : t<4xf32>
   return %2, %3 : t<4xf32>, t<4xf32>
 }";

#[test]
fn equal_ops_are_one_whatever_the_order_of_a_sum() {
    check(
        "cse",
        TWICE,
        "%0 = tsr.add %arg0, %arg1 : t<4xf32>
         %1 = tsr.exponential %0 : t<4xf32>
         %2 = tsr.tanh %0 : t<4xf32>
         return %1, %1 : t<4xf32>, t<4xf32>",
    );
}

#[test]
fn unused_ops_go() {
    check(
        "dce",
        TWICE,
        "%0 = tsr.add %arg0, %arg1 : t<4xf32>
         %1 = tsr.add %arg1, %arg0 : t<4xf32>
         %2 = tsr.exponential %0 : t<4xf32>
         %3 = tsr.exponential %1 : t<4xf32>
         return %2, %3 : t<4xf32>, t<4xf32>",
    );
}

#[test]
fn equal_ops_on_two_sides_of_a_barrier_stay_two() {
    stays(
        "(%arg0: t<4xf32>) -> (t<4xf32>, t<4xf32>) {
           %0 = tsr.exponential %arg0 : t<4xf32>
           %1 = tsr.optimization_barrier %arg0 : t<4xf32>
           %2 = tsr.exponential %1 : t<4xf32>
           return %0, %2 : t<4xf32>, t<4xf32>
         }",
    );
}

#[test]
fn a_barrier_holds_back_only_what_is_used() {
    becomes(
        "(%arg0: t<4xf32>, %arg1: t<2xi32>) -> t<4xf32> {
           %0:2 = tsr.optimization_barrier %arg1, %arg0 : (t<2xi32>, t<4xf32>) -> (t<2xi32>, t<4xf32>)
           return %0#1 : t<4xf32>
         }",
        "%0 = tsr.optimization_barrier %arg0 : t<4xf32>
         return %0 : t<4xf32>",
    );
}

#[test]
fn a_pipeline_that_does_not_come_to_an_end_says_so() {
    use tessera_passes::manager::{Observer, PassRun};
    struct Remarks(Vec<String>);
    impl Observer for Remarks {
        fn after_pass(&mut self, run: &PassRun<'_>) {
            self.0.extend(
                run.report
                    .remarks()
                    .iter()
                    .map(|remark| remark.message.clone()),
            );
        }
    }
    let mut remarks = Remarks(Vec::new());
    let pipeline: tessera_passes::Pipeline = "canonicalise{max-iterations=1}".parse().unwrap();
    pipeline
        .run(&crate::common::program(TWICE), &mut remarks)
        .unwrap();
    assert_eq!(
        remarks.0,
        ["stopped after 1 iterations, before nothing changed any more"]
    );
}
