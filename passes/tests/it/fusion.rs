//! `fuse`: which ops become one kernel, and which do not.

mod attention;
mod epilogues;
mod prologues;
mod scaled;

use crate::common::{assert_same, interpret, program, run, sort, special_inputs};
use tessera_ir::{Graph, Module, OpKind};
use tessera_passes::fuse::kernel_family;

/// What the entry of a fused module does, in order: for a launch the family and the ops of the kernel's body, but for
/// constants and broadcasts; for other ops their name.
fn steps(graph: &Graph, module: &Module) -> Vec<String> {
    let describe = |kind: &OpKind| match kind {
        OpKind::Call { callee, .. } => {
            let body = module.graph(&callee.0).unwrap();
            let ops = body.operations().iter().map(|operation| &operation.op.kind);
            let ops = ops.filter(|kind| {
                !matches!(
                    kind,
                    OpKind::Constant { .. } | OpKind::BroadcastInDim { .. }
                )
            });
            let names: Vec<&str> = ops.map(OpKind::name).collect();
            format!("{:?}: {}", kernel_family(body).unwrap(), names.join(" "))
                .trim_end()
                .to_owned()
        }
        other => other.name().to_owned(),
    };
    graph
        .operations()
        .iter()
        .map(|operation| describe(&operation.op.kind))
        .collect()
}

/// The steps of a program after a pipeline, which leaves its results as they were.
#[track_caller]
fn fused_by(pipeline: &str, source: &str) -> Vec<String> {
    let before = program(source);
    let after = run(pipeline, &before);
    let inputs = special_inputs(&before);
    assert_same(&interpret(&after, &inputs), &interpret(&before, &inputs));
    steps(after.entry().unwrap(), &after)
}

#[track_caller]
fn fused(source: &str) -> Vec<String> {
    fused_by(
        "canonicalise,fold-unit-dimensions,canonicalise,fuse",
        source,
    )
}

/// A reduction of `operand` along dimensions, as lines that define `%name`.
fn reduce(
    name: &str,
    operand: &str,
    from: &str,
    to: &str,
    dimensions: &str,
    function: &str,
) -> String {
    let init = if function == "maximum" {
        "0xFF800000"
    } else {
        "0.0"
    };
    format!(
        "%{name}_init = tsr.constant {{value = dense<{init}>}} : t<f32>
         %{name} = tsr.reduce {operand}, %{name}_init {{dimensions = [{dimensions}]}} : (t<{from}>, t<f32>) -> t<{to}> {{
         ^body(%{name}_a: t<f32>, %{name}_b: t<f32>):
           %{name}_c = tsr.{function} %{name}_a, %{name}_b : t<f32>
           tsr.return %{name}_c : t<f32>
         }}"
    )
}

#[test]
fn a_chain_of_elementwise_ops_is_one_kernel() {
    assert_eq!(
        fused(
            "(%arg0: t<4x8xf32>, %arg1: t<8xf32>) -> t<4x8xf32> {
               %0 = tsr.exponential %arg0 : t<4x8xf32>
               %1 = tsr.broadcast_in_dim %arg1 {broadcast_dimensions = [1]} : (t<8xf32>) -> t<4x8xf32>
               %2 = tsr.add %0, %1 : t<4x8xf32>
               %3 = tsr.tanh %2 : t<4x8xf32>
               return %3 : t<4x8xf32>
             }"
        ),
        ["Loop: exponential add tanh"]
    );
}

#[test]
fn what_others_need_too_is_another_result_of_the_kernel() {
    // An optimizer's step: moment and parameter from one walk over all of them.
    let source =
        "(%arg0: t<4x8xf32>, %arg1: t<4x8xf32>, %arg2: t<4x8xf32>) -> (t<4x8xf32>, t<4x8xf32>) {
       %0 = tsr.constant {value = dense<0.9>} : t<4x8xf32>
       %1 = tsr.multiply %arg1, %0 : t<4x8xf32>
       %2 = tsr.add %1, %arg2 : t<4x8xf32>
       %3 = tsr.subtract %arg0, %2 : t<4x8xf32>
       return %2, %3 : t<4x8xf32>, t<4x8xf32>
     }";
    assert_eq!(fused(source), ["Loop: multiply add subtract"]);
}

#[test]
fn softmax_is_one_row_kernel() {
    let source = format!(
        "(%arg0: t<4x8xf32>) -> t<4x8xf32> {{
           {}
           %m = tsr.broadcast_in_dim %max {{broadcast_dimensions = [0]}} : (t<4xf32>) -> t<4x8xf32>
           %d = tsr.subtract %arg0, %m : t<4x8xf32>
           %e = tsr.exponential %d : t<4x8xf32>
           {}
           %s = tsr.broadcast_in_dim %sum {{broadcast_dimensions = [0]}} : (t<4xf32>) -> t<4x8xf32>
           %r = tsr.divide %e, %s : t<4x8xf32>
           return %r : t<4x8xf32>
         }}",
        reduce("max", "%arg0", "4x8xf32", "4xf32", "1", "maximum"),
        reduce("sum", "%e", "4x8xf32", "4xf32", "1", "add")
    );
    assert_eq!(
        fused(&source),
        ["Row: reduce subtract exponential reduce divide"]
    );
}

#[test]
fn a_norm_with_a_kept_dimension_is_one_row_kernel() {
    let source = format!(
        "(%arg0: t<4x8xf32>, %arg1: t<8xf32>) -> (t<4x8xf32>, t<4x1xf32>) {{
           %q = tsr.multiply %arg0, %arg0 : t<4x8xf32>
           {}
           %k = tsr.reshape %sum : (t<4xf32>) -> t<4x1xf32>
           %n = tsr.constant {{value = dense<8.0>}} : t<4x1xf32>
           %v = tsr.divide %k, %n : t<4x1xf32>
           %i = tsr.rsqrt %v : t<4x1xf32>
           %b = tsr.broadcast_in_dim %i {{broadcast_dimensions = [0, 1]}} : (t<4x1xf32>) -> t<4x8xf32>
           %x = tsr.multiply %arg0, %b : t<4x8xf32>
           %w = tsr.broadcast_in_dim %arg1 {{broadcast_dimensions = [1]}} : (t<8xf32>) -> t<4x8xf32>
           %y = tsr.multiply %x, %w : t<4x8xf32>
           return %y, %i : t<4x8xf32>, t<4x1xf32>
         }}",
        reduce("sum", "%q", "4x8xf32", "4xf32", "1", "add")
    );
    assert_eq!(
        fused(&source),
        [
            "Row: multiply reduce multiply rsqrt multiply multiply",
            "reshape"
        ]
    );
}

#[test]
fn a_reduction_of_slow_dimensions_is_a_column_kernel_with_what_is_around_it() {
    let source = format!(
        "(%arg0: t<4x6x8xf32>, %arg1: t<8xf32>) -> t<8xf32> {{
           %q = tsr.negate %arg0 : t<4x6x8xf32>
           {}
           %r = tsr.add %arg1, %sum : t<8xf32>
           return %r : t<8xf32>
         }}",
        reduce("sum", "%q", "4x6x8xf32", "8xf32", "0, 1", "add")
    );
    assert_eq!(fused(&source), ["Column: negate reduce add"]);
}

#[test]
fn what_is_reduced_of_the_same_columns_is_one_kernel() {
    let reduced =
        |name: &str, function: &str| reduce(name, "%arg0", "4x6x8xf32", "6x8xf32", "0", function);
    let source = format!(
        "(%arg0: t<4x6x8xf32>) -> (t<6x8xf32>, t<6x8xf32>) {{
           {}
           {}
           {}
           %range = tsr.subtract %largest, %smallest : t<6x8xf32>
           %share = tsr.divide %range, %sum : t<6x8xf32>
           return %share, %sum : t<6x8xf32>, t<6x8xf32>
         }}",
        reduced("sum", "add"),
        reduced("largest", "maximum"),
        reduced("smallest", "minimum")
    );
    assert_eq!(
        fused(&source),
        ["Column: reduce reduce reduce subtract divide"]
    );
}

#[test]
fn a_transpose_puts_reduced_dimensions_last_where_the_fastest_is_one_of_them() {
    let source = format!(
        "(%arg0: t<4x6x8xf32>) -> t<6xf32> {{
           {}
           return %sum : t<6xf32>
         }}",
        reduce("sum", "%arg0", "4x6x8xf32", "6xf32", "0, 2", "add")
    );
    assert_eq!(fused(&source), ["Row: transpose reduce"]);
}

#[test]
fn a_transpose_puts_reduced_dimensions_first_where_the_fastest_stays() {
    let source = format!(
        "(%arg0: t<4x6x8xf32>) -> t<4x8xf32> {{
           {}
           return %sum : t<4x8xf32>
         }}",
        reduce("sum", "%arg0", "4x6x8xf32", "4x8xf32", "1", "add")
    );
    assert_eq!(fused(&source), ["Column: transpose reduce"]);
}

#[test]
fn a_reduction_of_a_reduction_is_a_kernel_of_its_own() {
    let source = format!(
        "(%arg0: t<4x8xf32>) -> t<f32> {{
           {}
           {}
           return %all : t<f32>
         }}",
        reduce("sum", "%arg0", "4x8xf32", "4xf32", "1", "add"),
        reduce("all", "%sum", "4xf32", "f32", "0", "maximum")
    );
    assert_eq!(fused(&source), ["Row: reduce", "Row: reduce"]);
}

const DOT: &str = "accumulator = f32";

#[test]
fn a_dot_takes_the_transpose_of_its_result_and_leaves_reshapes_outside() {
    let source = format!(
        "(%arg0: t<2x3x4x8xf32>, %arg1: t<2x3x8x4xf32>) -> t<8x12xf32> {{
           %0 = tsr.dot_general %arg0, %arg1 {{lhs_batching_dimensions = [0, 1], rhs_batching_dimensions = [0, 1], lhs_contracting_dimensions = [3], rhs_contracting_dimensions = [2], {DOT}}} : (t<2x3x4x8xf32>, t<2x3x8x4xf32>) -> t<2x3x4x4xf32>
           %1 = tsr.transpose %0 {{permutation = [0, 2, 1, 3]}} : (t<2x3x4x4xf32>) -> t<2x4x3x4xf32>
           %2 = tsr.reshape %1 : (t<2x4x3x4xf32>) -> t<8x12xf32>
           return %2 : t<8x12xf32>
         }}"
    );
    assert_eq!(fused(&source), ["Dot: dot_general transpose", "reshape"]);
}

#[test]
fn a_transpose_whose_dimensions_a_dot_cannot_walk_is_a_kernel_before_it() {
    // The contracted dimension is a pair of dimensions that do not lie side by side.
    let source = format!(
        "(%arg0: t<2x3x4xf32>, %arg1: t<8x5xf32>) -> t<3x5xf32> {{
           %0 = tsr.transpose %arg0 {{permutation = [1, 0, 2]}} : (t<2x3x4xf32>) -> t<3x2x4xf32>
           %1 = tsr.reshape %0 : (t<3x2x4xf32>) -> t<3x8xf32>
           %2 = tsr.dot_general %1, %arg1 {{lhs_batching_dimensions = [], rhs_batching_dimensions = [], lhs_contracting_dimensions = [1], rhs_contracting_dimensions = [0], {DOT}}} : (t<3x8xf32>, t<8x5xf32>) -> t<3x5xf32>
           return %2 : t<3x5xf32>
         }}"
    );
    assert_eq!(
        fused(&source),
        ["Loop: transpose", "reshape", "Dot: dot_general"]
    );
}

#[test]
fn what_a_dot_sums_over_is_put_side_by_side_before_it() {
    let source = format!(
        "(%arg0: t<2x3x4xf32>, %arg1: t<2x4x5xf32>) -> t<3x5xf32> {{
           %0 = tsr.dot_general %arg0, %arg1 {{lhs_batching_dimensions = [], rhs_batching_dimensions = [], lhs_contracting_dimensions = [0, 2], rhs_contracting_dimensions = [0, 1], {DOT}}} : (t<2x3x4xf32>, t<2x4x5xf32>) -> t<3x5xf32>
           return %0 : t<3x5xf32>
         }}"
    );
    assert_eq!(fused(&source), ["Loop: transpose", "Dot: dot_general"]);
}

#[test]
fn elementwise_ops_stay_outside_of_dots() {
    let source = format!(
        "(%arg0: t<4x4xf32>) -> t<4x4xf32> {{
           %0 = tsr.tanh %arg0 : t<4x4xf32>
           %1 = tsr.dot_general %0, %0 {{lhs_batching_dimensions = [], rhs_batching_dimensions = [], lhs_contracting_dimensions = [1], rhs_contracting_dimensions = [0], {DOT}}} : (t<4x4xf32>, t<4x4xf32>) -> t<4x4xf32>
           %2 = tsr.tanh %1 : t<4x4xf32>
           return %2 : t<4x4xf32>
         }}"
    );
    assert_eq!(
        fused(&source),
        ["Loop: tanh", "Dot: dot_general", "Loop: tanh"]
    );
}

#[test]
fn no_kernel_needs_what_another_makes_of_its_results() {
    // %0 and %3 could be one loop but for %1, which stands between.
    let source = "(%arg0: t<8xf32>) -> t<8xf32> {
       %0 = tsr.exponential %arg0 : t<8xf32>
       %1 = tsr.sort %0 {dimension = 0, is_stable = true} : t<8xf32> {
       ^comparator(%a: t<f32>, %b: t<f32>):
         %2 = tsr.compare %a, %b {direction = LT, compare_type = TOTALORDER} : (t<f32>, t<f32>) -> t<i1>
         tsr.return %2 : t<i1>
       }
       %3 = tsr.add %0, %1 : t<8xf32>
       return %3 : t<8xf32>
     }";
    assert_eq!(
        fused(source),
        ["Loop: exponential", "Sort: sort", "Loop: add"]
    );
}

/// A function of a small tensor that is broadcast to a large one.
fn broadcast_after(function: &str) -> Vec<String> {
    fused_by(
        "fuse",
        &format!(
            "(%arg0: t<64xf32>, %arg1: t<512x64xf32>) -> t<512x64xf32> {{
               %0 = tsr.{function} %arg0 : t<64xf32>
               %1 = tsr.broadcast_in_dim %0 {{broadcast_dimensions = [1]}} : (t<64xf32>) -> t<512x64xf32>
               %2 = tsr.add %arg1, %1 : t<512x64xf32>
               return %2 : t<512x64xf32>
             }}"
        ),
    )
}

#[test]
fn what_is_dear_is_not_computed_once_for_each_repetition() {
    assert_eq!(
        broadcast_after("exponential"),
        ["Loop: exponential", "Loop: add"]
    );
}

/// A function of a large tensor that two kernels need, one of which needs the other.
fn needed_twice(function: &str) -> Vec<String> {
    let source = format!(
        "(%arg0: t<256x256xf32>) -> (t<256x256xf32>, t<256x256xf32>) {{
           %0 = tsr.{function} %arg0 : t<256x256xf32>
           %1 = tsr.sine %0 : t<256x256xf32>
           %2 = tsr.sort %1 {{dimension = 1, is_stable = true}} : t<256x256xf32> {{
           ^comparator(%a: t<f32>, %b: t<f32>):
             %3 = tsr.compare %a, %b {{direction = LT, compare_type = TOTALORDER}} : (t<f32>, t<f32>) -> t<i1>
             tsr.return %3 : t<i1>
           }}
           %4 = tsr.sine %2 : t<256x256xf32>
           %5 = tsr.add %4, %0 : t<256x256xf32>
           return %2, %5 : t<256x256xf32>, t<256x256xf32>
         }}"
    );
    fused_by("fuse", &source)
}

#[test]
fn what_is_cheap_is_computed_again_rather_than_kept() {
    assert_eq!(
        needed_twice("negate"),
        ["Loop: negate sine", "Sort: sort", "Loop: sine negate add"]
    );
}

#[test]
fn what_is_dear_is_kept_rather_than_computed_again() {
    assert_eq!(
        needed_twice("tanh"),
        ["Loop: tanh sine", "Sort: sort", "Loop: sine add"]
    );
}

#[test]
fn what_is_made_of_kept_values_is_not_kept_too() {
    // A gated activation and its gradient: sigmoid and gate are kept for it, their product costs less to make again.
    let source = format!(
        "(%arg0: t<256x256xf32>, %arg1: t<256x256xf32>, %arg2: t<256x256xf32>) -> (t<256x256xf32>, t<256x256xf32>) {{
           %g = tsr.sine %arg0 : t<256x256xf32>
           {}
           %s = tsr.logistic %gate : t<256x256xf32>
           %a = tsr.multiply %gate, %s : t<256x256xf32>
           %p = tsr.multiply %a, %arg1 : t<256x256xf32>
           {}
           %x = tsr.multiply %a, %d : t<256x256xf32>
           %y = tsr.multiply %d, %s : t<256x256xf32>
           %z = tsr.multiply %y, %gate : t<256x256xf32>
           return %x, %z : t<256x256xf32>, t<256x256xf32>
         }}",
        sort("gate", "%g", "256x256"),
        sort("d", "%p", "256x256")
    );
    let before = program(&source);
    let after = run("fuse", &before);
    assert_eq!(
        steps(after.entry().unwrap(), &after),
        [
            "Loop: sine",
            "Sort: sort",
            "Loop: logistic multiply multiply",
            "Sort: sort",
            "Loop: multiply multiply multiply multiply",
        ]
    );
    let kept = after.entry().unwrap().operations()[2].results().len();
    assert_eq!(kept, 2, "the sigmoid and what is sorted");
    let inputs = special_inputs(&before);
    assert_same(&interpret(&after, &inputs), &interpret(&before, &inputs));
}

#[test]
fn gathers_pads_slices_and_concatenations_are_part_of_loops() {
    assert_eq!(
        fused(
            "(%arg0: t<5x4xf32>, %arg1: t<3x1xi32>) -> t<4x6xf32> {
               %0 = tsr.gather %arg0, %arg1 {offset_dims = [1], collapsed_slice_dims = [0], operand_batching_dims = [], start_indices_batching_dims = [], start_index_map = [0], index_vector_dim = 1, slice_sizes = [1, 4], indices_are_sorted = false} : (t<5x4xf32>, t<3x1xi32>) -> t<3x4xf32>
               %1 = tsr.slice %0 {start_indices = [0, 1], limit_indices = [3, 3], strides = [1, 1]} : (t<3x4xf32>) -> t<3x2xf32>
               %2 = tsr.concatenate %0, %1 {dimension = 1} : (t<3x4xf32>, t<3x2xf32>) -> t<3x6xf32>
               %3 = tsr.constant {value = dense<1.0>} : t<f32>
               %4 = tsr.pad %2, %3 {edge_padding_low = [1, 0], edge_padding_high = [0, 0], interior_padding = [0, 0]} : (t<3x6xf32>, t<f32>) -> t<4x6xf32>
               %5 = tsr.exponential %4 : t<4x6xf32>
               return %5 : t<4x6xf32>
             }"
        ),
        ["Loop: gather slice concatenate pad exponential"]
    );
}

#[test]
fn a_scatter_fills_what_it_adds_to_and_computes_what_it_adds() {
    assert_eq!(
        fused(
            "(%arg0: t<3x1xi32>, %arg1: t<3x4xf32>) -> t<5x4xf32> {
               %0 = tsr.constant {value = dense<0.0>} : t<5x4xf32>
               %1 = tsr.tanh %arg1 : t<3x4xf32>
               %2 = tsr.scatter %0, %arg0, %1 {update_window_dims = [1], inserted_window_dims = [0], input_batching_dims = [], scatter_indices_batching_dims = [], scatter_dims_to_operand_dims = [0], index_vector_dim = 1, indices_are_sorted = false, unique_indices = false} : (t<5x4xf32>, t<3x1xi32>, t<3x4xf32>) -> t<5x4xf32> {
               ^update_computation(%a: t<f32>, %b: t<f32>):
                 %3 = tsr.add %a, %b : t<f32>
                 tsr.return %3 : t<f32>
               }
               return %2 : t<5x4xf32>
             }"
        ),
        ["Index: tanh scatter"]
    );
}

#[test]
fn what_an_update_changes_is_not_computed_by_it() {
    assert_eq!(
        fused(
            "(%arg0: t<5x4xf32>, %arg1: t<1x4xf32>, %arg2: t<i32>) -> t<5x4xf32> {
               %0 = tsr.tanh %arg0 : t<5x4xf32>
               %1 = tsr.negate %arg1 : t<1x4xf32>
               %2 = tsr.constant {value = dense<0>} : t<i32>
               %3 = tsr.dynamic_update_slice %0, %1, %arg2, %2 : (t<5x4xf32>, t<1x4xf32>, t<i32>, t<i32>) -> t<5x4xf32>
               return %3 : t<5x4xf32>
             }"
        ),
        ["Loop: tanh", "reshape", "Index: negate reshape dynamic_update_slice"]
    );
}

#[test]
fn kernels_that_do_the_same_are_one() {
    let source = format!(
        "(%arg0: t<4x8xf32>, %arg1: t<4x8xf32>, %arg2: t<8x4xf32>) -> (t<4x8xf32>, t<4x8xf32>, t<8x4xf32>) {{
           {}
         }}",
        "%0 = tsr.tanh %arg0 : t<4x8xf32>
         %1 = tsr.multiply %0, %arg1 : t<4x8xf32>
         %2 = tsr.reverse %1 {dimensions = [0, 1]} : t<4x8xf32>
         %3 = tsr.optimization_barrier %2 : t<4x8xf32>
         %4 = tsr.tanh %arg1 : t<4x8xf32>
         %5 = tsr.multiply %3, %4 : t<4x8xf32>
         %6 = tsr.reverse %5 {dimensions = [0, 1]} : t<4x8xf32>
         %7 = tsr.tanh %arg2 : t<8x4xf32>
         return %3, %6, %7 : t<4x8xf32>, t<4x8xf32>, t<8x4xf32>"
    );
    let after = run("fuse", &program(&source));
    let names: Vec<&str> = after.graphs().map(|graph| graph.name.as_str()).collect();
    // The factors stand in another order in the second: it is the same kernel all the same.
    assert_eq!(names, ["main", "loop_tanh_multiply_reverse", "loop_tanh"]);
}

#[test]
fn loops_and_branches_hold_kernels_of_their_own() {
    let source = "(%arg0: t<8xf32>) -> t<8xf32> {
       %0 = tsr.constant {value = dense<0>} : t<i32>
       %1:2 = tsr.while %0, %arg0 : (t<i32>, t<8xf32>) -> (t<i32>, t<8xf32>) {
       ^condition(%i: t<i32>, %x: t<8xf32>):
         %2 = tsr.constant {value = dense<3>} : t<i32>
         %3 = tsr.compare %i, %2 {direction = LT, compare_type = SIGNED} : (t<i32>, t<i32>) -> t<i1>
         tsr.return %3 : t<i1>
       }, {
       ^body(%i: t<i32>, %x: t<8xf32>):
         %4 = tsr.constant {value = dense<1>} : t<i32>
         %5 = tsr.add %i, %4 : t<i32>
         %6 = tsr.sine %x : t<8xf32>
         %7 = tsr.cosine %6 : t<8xf32>
         tsr.return %5, %7 : t<i32>, t<8xf32>
       }
       return %1#1 : t<8xf32>
     }";
    let after = run("canonicalise,fuse", &program(source));
    let entry = after.entry().unwrap();
    assert_eq!(steps(entry, &after), ["constant", "while"]);
    let regions = entry.operations()[1].op.kind.regions();
    assert_eq!(steps(regions[0], &after), ["Loop: compare"]);
    assert_eq!(
        steps(regions[1], &after),
        ["Loop: add", "Loop: sine cosine"]
    );
}

#[test]
fn each_value_that_a_loop_starts_from_is_filled_for_itself() {
    let source = "() -> (t<8xf32>, t<8xf32>) {
       %0 = tsr.constant {value = dense<0>} : t<i32>
       %1 = tsr.constant {value = dense<0.0>} : t<8xf32>
       %2:3 = tsr.while %0, %1, %1 : (t<i32>, t<8xf32>, t<8xf32>) -> (t<i32>, t<8xf32>, t<8xf32>) {
       ^condition(%i: t<i32>, %x: t<8xf32>, %y: t<8xf32>):
         %3 = tsr.constant {value = dense<3>} : t<i32>
         %4 = tsr.compare %i, %3 {direction = LT, compare_type = SIGNED} : (t<i32>, t<i32>) -> t<i1>
         tsr.return %4 : t<i1>
       }, {
       ^body(%i: t<i32>, %x: t<8xf32>, %y: t<8xf32>):
         %5 = tsr.constant {value = dense<1>} : t<i32>
         %6 = tsr.add %i, %5 : t<i32>
         %7 = tsr.cosine %x : t<8xf32>
         %8 = tsr.sine %y : t<8xf32>
         tsr.return %6, %7, %8 : t<i32>, t<8xf32>, t<8xf32>
       }
       return %2#1, %2#2 : t<8xf32>, t<8xf32>
     }";
    assert_eq!(fused(source), ["constant", "Loop:", "Loop:", "while"]);
}

#[test]
fn limits_bound_kernels() {
    let source =
        "(%arg0: t<8xf32>, %arg1: t<8xf32>, %arg2: t<8xf32>, %arg3: t<8xf32>) -> t<8xf32> {
       %0 = tsr.add %arg0, %arg1 : t<8xf32>
       %1 = tsr.multiply %0, %arg2 : t<8xf32>
       %2 = tsr.subtract %1, %arg3 : t<8xf32>
       return %2 : t<8xf32>
     }";
    assert_eq!(
        fused_by("fuse{max-ops=1}", source),
        ["Loop: add", "Loop: multiply", "Loop: subtract"]
    );
    assert_eq!(
        fused_by("fuse{max-ops=2}", source),
        ["Loop: add", "Loop: multiply subtract"]
    );
    assert_eq!(
        fused_by("fuse{max-operands=3}", source),
        ["Loop: add", "Loop: multiply subtract"]
    );
}

#[test]
fn unused_ops_are_in_no_kernel() {
    assert_eq!(
        fused_by(
            "fuse",
            "(%arg0: t<8xf32>) -> t<8xf32> {
               %0 = tsr.tanh %arg0 : t<8xf32>
               return %arg0 : t<8xf32>
             }"
        ),
        Vec::<String>::new()
    );
}

/// Why a body is no kernel.
#[track_caller]
fn refusal(source: &str) -> &'static str {
    kernel_family(program(source).entry().unwrap()).unwrap_err()
}

#[test]
fn bodies_that_break_the_rules_of_every_family_are_refused() {
    assert_eq!(
        refusal(
            "(%arg0: t<8xf32>, %arg1: t<4xf32>) -> (t<8xf32>, t<4xf32>) {
               %0 = tsr.abs %arg0 : t<8xf32>
               %1 = tsr.abs %arg1 : t<4xf32>
               return %0, %1 : t<8xf32>, t<4xf32>
             }"
        ),
        "results of different shapes"
    );
    assert_eq!(
        refusal(
            "(%arg0: t<8xf32>) -> t<8xf32> {
               return %arg0 : t<8xf32>
             }"
        ),
        "a kernel that gives back an input"
    );
    assert_eq!(
        refusal(
            "(%arg0: t<2xf32>) -> t<2xf32> {
               %0 = tsr.constant {value = dense<[1.0, 2.0]>} : t<2xf32>
               %1 = tsr.add %arg0, %0 : t<2xf32>
               return %1 : t<2xf32>
             }"
        ),
        "a constant that is a tensor"
    );
    let moved = format!(
        "(%arg0: t<4x4xf32>) -> t<4x4xf32> {{
           {}
           %0 = tsr.broadcast_in_dim %sum {{broadcast_dimensions = [1]}} : (t<4xf32>) -> t<4x4xf32>
           %1 = tsr.add %arg0, %0 : t<4x4xf32>
           return %1 : t<4x4xf32>
         }}",
        reduce("sum", "%arg0", "4x4xf32", "4xf32", "1", "add")
    );
    assert_eq!(refusal(&moved), "what is computed of a reduction is moved");
    let neither = format!(
        "(%arg0: t<2x4x2xf32>) -> t<2x2xf32> {{
           {}
           return %sum : t<2x2xf32>
         }}",
        reduce("sum", "%arg0", "2x4x2xf32", "2x2xf32", "1", "add")
    );
    assert_eq!(
        refusal(&neither),
        "a reduction along dimensions that are neither first nor last"
    );
}
