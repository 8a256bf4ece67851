//! Small programs: what is taken, what is reported, where the limits are.

use super::{count_named, saturated};
use crate::common::{body, check, program};
use tessera_passes::Pipeline;
use tessera_passes::manager::{Observer, PassRun};

#[derive(Default)]
struct Remarks(Vec<String>);

impl Observer for Remarks {
    fn after_pass(&mut self, run: &PassRun<'_>) {
        let remarks = run.report.remarks().iter();
        self.0.extend(remarks.map(|remark| remark.message.clone()));
    }
}

fn remarks(pipeline: &str, source: &str) -> Vec<String> {
    let mut remarks = Remarks::default();
    let pipeline: Pipeline = pipeline.parse().unwrap();
    pipeline.run(&program(source), &mut remarks).unwrap();
    remarks.0
}

const NO_DIMENSIONS: &str = "lhs_batching_dimensions = [], rhs_batching_dimensions = []";

/// A mean repeated for each row times a matrix.
fn bias_row() -> String {
    format!(
        "(%arg0: t<64xf32>, %arg1: t<64x32xf32>) -> t<128x32xf32> {{
           %0 = tsr.broadcast_in_dim %arg0 {{broadcast_dimensions = [1]}} : (t<64xf32>) -> t<128x64xf32>
           %1 = tsr.dot_general %0, %arg1 {{{NO_DIMENSIONS}, lhs_contracting_dimensions = [1], rhs_contracting_dimensions = [0], accumulator = f32}} : (t<128x64xf32>, t<64x32xf32>) -> t<128x32xf32>
           return %1 : t<128x32xf32>
         }}"
    )
}

#[test]
fn a_product_of_a_repeated_mean_is_a_bias_row() {
    check(
        "saturate{numerics=exact}",
        &bias_row(),
        &format!(
            "%0 = tsr.dot_general %arg0, %arg1 {{{NO_DIMENSIONS}, lhs_contracting_dimensions = [0], rhs_contracting_dimensions = [0], accumulator = f32}} : (t<64xf32>, t<64x32xf32>) -> t<32xf32>
             %1 = tsr.broadcast_in_dim %0 {{broadcast_dimensions = [1]}} : (t<32xf32>) -> t<128x32xf32>
             return %1 : t<128x32xf32>"
        ),
    );
}

#[test]
fn a_remark_says_what_was_saved_and_by_which_rules() {
    assert_eq!(
        remarks("saturate", &bias_row()),
        [
            "ops 2 -> 2, dense products 1 -> 1, launches 1 -> 1, bytes 57 kB -> 8576 B, estimated time 11 us -> 2 us; ops made by: product of repeated rows (2)"
        ]
    );
}

#[test]
fn what_is_cheapest_already_stays_as_it_is() {
    let source = "(%arg0: t<4x8xf32>, %arg1: t<8xf32>) -> t<4x8xf32> {
        %0 = tsr.broadcast_in_dim %arg1 {broadcast_dimensions = [1]} : (t<8xf32>) -> t<4x8xf32>
        %1 = tsr.multiply %arg0, %0 : t<4x8xf32>
        %2 = tsr.exponential %1 : t<4x8xf32>
        return %2 : t<4x8xf32>
      }";
    assert_eq!(body(&saturated("", source)), body(&program(source)));
    assert_eq!(
        remarks("saturate", source),
        [
            "nothing cheaper was found by rules of class 'reassociating', in at most 12 iterations and 60000 nodes: 3 ops, estimated time 0 us"
        ]
    );
}

#[test]
fn sums_in_another_order_are_not_exact() {
    let source = format!(
        "(%arg0: t<64xf32>, %arg1: t<128x32xf32>) -> t<64x32xf32> {{
           %0 = tsr.broadcast_in_dim %arg0 {{broadcast_dimensions = [1]}} : (t<64xf32>) -> t<128x64xf32>
           %1 = tsr.dot_general %0, %arg1 {{{NO_DIMENSIONS}, lhs_contracting_dimensions = [0], rhs_contracting_dimensions = [0], accumulator = f32}} : (t<128x64xf32>, t<128x32xf32>) -> t<64x32xf32>
           return %1 : t<64x32xf32>
         }}"
    );
    let exact = saturated("{numerics=exact}", &source);
    assert_eq!(body(&exact), body(&program(&source)));
    let reassociated = saturated("", &source);
    assert_eq!(count_named(&reassociated, "dot_general"), 0);
    assert_eq!(count_named(&reassociated, "reduce"), 1);
}

#[test]
fn barriers_keep_apart_what_is_equal() {
    let source = "(%arg0: t<8xf32>) -> (t<8xf32>, t<8xf32>) {
        %0 = tsr.exponential %arg0 : t<8xf32>
        %1 = tsr.optimization_barrier %0 : t<8xf32>
        %2 = tsr.exponential %arg0 : t<8xf32>
        %3 = tsr.optimization_barrier %2 : t<8xf32>
        return %1, %3 : t<8xf32>, t<8xf32>
      }";
    let after = saturated("", source);
    assert_eq!(count_named(&after, "exponential"), 1);
    assert_eq!(count_named(&after, "optimization_barrier"), 2);
}

#[test]
fn a_limit_that_is_reached_is_reported() {
    let found = remarks("saturate{max-iterations=0}", &bias_row());
    assert_eq!(
        found,
        [
            "stopped after 0 iterations, before the rules had found everything; what they had found was used",
            "nothing cheaper was found by rules of class 'reassociating', in at most 0 iterations and 60000 nodes: 2 ops, estimated time 11 us"
        ]
    );
}

#[test]
fn a_graph_of_more_ops_than_allowed_is_taken_in_parts_and_says_so() {
    let found = remarks("saturate{max-ops=1}", &bias_row());
    assert_eq!(
        found,
        [
            "2 ops were saturated in 2 parts of at most 1; nothing is shared across them",
            "nothing cheaper was found by rules of class 'reassociating', in at most 12 iterations and 60000 nodes: 2 ops, estimated time 11 us"
        ]
    );
}

#[test]
fn two_runs_choose_the_same() {
    let first = saturated("", &bias_row()).to_string();
    assert_eq!(saturated("", &bias_row()).to_string(), first);
}
