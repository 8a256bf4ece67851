//! The plan: the order of kernels and where values lie.

use crate::common::{assert_same, interpret, program, run, sort, special_inputs};
use tessera_ir::plan::{BufferId, Place, Plan, Step};
use tessera_ir::{Module, Tensor};
use tessera_passes::plan::evaluate::evaluate;
use tessera_passes::{DEFAULT_PIPELINE, PlanOptions, plan};

/// A place as tests write it.
fn place(plan: &Plan, buffer: BufferId) -> String {
    match plan.buffers[buffer.0 as usize].place {
        Place::Input(number) => format!("input{number}"),
        Place::Result(number) => format!("result{number}"),
        Place::Constant(number) => format!("constant{number}"),
        Place::Arena(offset) => format!("arena{offset}"),
    }
}

fn places(plan: &Plan, buffers: &[BufferId]) -> String {
    let places: Vec<String> = buffers.iter().map(|&buffer| place(plan, buffer)).collect();
    places.join(" ")
}

/// Steps as lines: the kernel's name, what it reads and what it writes.
fn lines(plan: &Plan, steps: &[Step]) -> Vec<String> {
    let mut all = Vec::new();
    for step in steps {
        match step {
            Step::Launch {
                kernel,
                operands,
                results,
                ..
            } => {
                let name = &plan.kernels[kernel.0 as usize].name;
                let (from, to) = (places(plan, operands), places(plan, results));
                all.push(format!("{name}: {from} -> {to}"));
            }
            Step::Copy {
                source,
                destination,
            } => all.push(format!(
                "copy: {} -> {}",
                place(plan, *source),
                place(plan, *destination)
            )),
            Step::While {
                condition,
                predicate,
                body,
            } => {
                all.push(format!("while {}", place(plan, *predicate)));
                all.extend(
                    lines(plan, condition)
                        .into_iter()
                        .map(|line| format!("  {line}")),
                );
                all.push("do".to_owned());
                all.extend(
                    lines(plan, body)
                        .into_iter()
                        .map(|line| format!("  {line}")),
                );
            }
            Step::Case { index, branches } => {
                for (number, branch) in branches.iter().enumerate() {
                    all.push(format!("case {} = {number}", place(plan, *index)));
                    all.extend(
                        lines(plan, branch)
                            .into_iter()
                            .map(|line| format!("  {line}")),
                    );
                }
            }
        }
    }
    all
}

/// The plan of a program. What it computes is what the program computes.
#[track_caller]
fn planned(before: &Module, options: PlanOptions) -> Plan {
    let fused = run(DEFAULT_PIPELINE, before);
    let plan = plan(&fused, options).unwrap_or_else(|error| panic!("{error}"));
    let inputs = special_inputs(before);
    assert_same(
        &evaluate(&plan, &inputs).unwrap(),
        &interpret(before, &inputs),
    );
    plan
}

#[track_caller]
fn steps(source: &str) -> Vec<String> {
    let plan = planned(&program(source), PlanOptions::default());
    lines(&plan, &plan.schedule)
}

#[test]
fn a_donated_input_is_overwritten_by_the_result_it_is_given_to() {
    let source = "(%arg0: t<8xf32> {tsr.donate = 1}, %arg1: t<8xf32>) -> (t<8xf32>, t<8xf32>) {
       %0 = tsr.multiply %arg0, %arg1 : t<8xf32>
       %1 = tsr.subtract %arg0, %0 : t<8xf32>
       return %0, %1 : t<8xf32>, t<8xf32>
     }";
    assert_eq!(
        steps(source),
        ["loop_multiply_subtract: input0 input1 -> result0 result1"]
    );
}

#[test]
fn a_donated_input_is_read_by_all_others_before_it_is_overwritten() {
    // The graph's own order would overwrite first.
    let source = format!(
        "(%arg0: t<8xf32> {{tsr.donate = 0}}, %arg1: t<8xf32>) -> (t<8xf32>, t<8xf32>) {{
           %0 = tsr.sine %arg0 : t<8xf32>
           {}
           return %0, %s : t<8xf32>, t<8xf32>
         }}",
        sort("s", "%arg0", "8")
    );
    assert_eq!(
        steps(&source),
        ["sort: input0 -> result1", "loop_sine: input0 -> result0"]
    );
}

#[test]
fn a_result_waits_elsewhere_where_its_donor_is_still_needed() {
    // The sort needs the new value, and what follows the sort needs the old one.
    let source = format!(
        "(%arg0: t<8xf32> {{tsr.donate = 0}}) -> (t<8xf32>, t<8xf32>) {{
           %0 = tsr.sine %arg0 : t<8xf32>
           {}
           %1 = tsr.add %s, %arg0 : t<8xf32>
           return %0, %1 : t<8xf32>, t<8xf32>
         }}",
        sort("s", "%0", "8")
    );
    assert_eq!(
        steps(&source),
        [
            "loop_sine: input0 -> arena0",
            "sort: arena0 -> result1",
            "loop_add: input0 result1 -> result1",
            "copy: arena0 -> result0",
        ]
    );
}

#[test]
fn donated_inputs_that_change_places_go_by_way_of_a_temporary() {
    let source = "(%arg0: t<8xf32> {tsr.donate = 0}, %arg1: t<8xf32> {tsr.donate = 1}) -> (t<8xf32>, t<8xf32>) {
       return %arg1, %arg0 : t<8xf32>, t<8xf32>
     }";
    assert_eq!(
        steps(source),
        [
            "copy: input1 -> arena0",
            "copy: input0 -> result1",
            "copy: arena0 -> result0"
        ]
    );
}

#[test]
fn a_donated_input_that_is_its_result_costs_nothing() {
    let source = "(%arg0: t<8xf32> {tsr.donate = 0}) -> t<8xf32> {
       return %arg0 : t<8xf32>
     }";
    assert_eq!(steps(source), Vec::<String>::new());
}

#[test]
fn inputs_constants_and_duplicates_are_copied_to_results() {
    let source = "(%arg0: t<2xf32>) -> (t<2xf32>, t<2xf32>, t<2xf32>, t<2xf32>) {
       %0 = tsr.constant {value = dense<[1.0, 2.0]>} : t<2xf32>
       %1 = tsr.negate %arg0 : t<2xf32>
       return %arg0, %0, %1, %1 : t<2xf32>, t<2xf32>, t<2xf32>, t<2xf32>
     }";
    assert_eq!(
        steps(source),
        [
            "loop_negate: input0 -> result2",
            "copy: input0 -> result0",
            "copy: constant0 -> result1",
            "copy: result2 -> result3",
        ]
    );
}

#[test]
fn a_reshape_between_kernels_is_the_same_memory() {
    let source = format!(
        "(%arg0: t<2x4xf32>) -> t<8xf32> {{
           {}
           %0 = tsr.reshape %s : (t<2x4xf32>) -> t<8xf32>
           {}
           return %u : t<8xf32>
         }}",
        sort("s", "%arg0", "2x4"),
        sort("u", "%0", "8")
    );
    assert_eq!(
        steps(&source),
        ["sort: input0 -> arena0", "sort_1: arena0 -> result0"]
    );
}

#[test]
fn a_barrier_is_the_same_memory() {
    let source = program(
        "(%arg0: t<8xf32>) -> t<8xf32> {
           %0 = tsr.sine %arg0 : t<8xf32>
           %1 = tsr.optimization_barrier %0 : t<8xf32>
           %2 = tsr.cosine %1 : t<8xf32>
           return %2 : t<8xf32>
         }",
    );
    let plan = plan(&run("fuse", &source), PlanOptions::default()).unwrap();
    assert_eq!(
        lines(&plan, &plan.schedule),
        [
            "loop_sine: input0 -> result0",
            "loop_cosine: result0 -> result0"
        ]
    );
}

/// Whatever a kernel finds the largest of begins with a constant that other kernels begin with too.
#[test]
fn a_largest_magnitude_is_written_over_a_copy_of_what_it_begins_with() {
    let one = |n: usize| {
        let dot = "lhs_batching_dimensions = [], rhs_batching_dimensions = [], lhs_contracting_dimensions = [1], rhs_contracting_dimensions = [0], accumulator = f32";
        format!(
            "%p{n} = tsr.dot_general %arg0, %arg{n} {{{dot}}} : (t<8x4xf32>, t<4x8xf32>) -> t<8x8xf32>
             %a{n} = tsr.abs %p{n} : t<8x8xf32>
             %init{n} = tsr.constant {{value = dense<0xFF800000>}} : t<f32>
             %m{n} = tsr.reduce %a{n}, %init{n} {{dimensions = [0, 1]}} : (t<8x8xf32>, t<f32>) -> t<f32> {{
             ^body(%x{n}: t<f32>, %y{n}: t<f32>):
               %z{n} = tsr.maximum %x{n}, %y{n} : t<f32>
               tsr.return %z{n} : t<f32>
             }}"
        )
    };
    let source = format!(
        "(%arg0: t<8x4xf32>, %arg1: t<4x8xf32>, %arg2: t<4x8xf32>) -> (t<8x8xf32>, t<f32>, t<8x8xf32>, t<f32>) {{
           {}
           {}
           return %p1, %m1, %p2, %m2 : t<8x8xf32>, t<f32>, t<8x8xf32>, t<f32>
         }}",
        one(1),
        one(2)
    );
    let before = program(&source);
    let fused = run("canonicalise,fuse{epilogues=all}", &before);
    let inputs = special_inputs(&before);
    for in_place in [true, false] {
        let plan = plan(&fused, PlanOptions { in_place }).unwrap_or_else(|error| panic!("{error}"));
        assert_same(
            &evaluate(&plan, &inputs).unwrap(),
            &interpret(&before, &inputs),
        );
        if in_place {
            let name = &plan.kernels[0].name;
            let expected = [
                "copy: constant0 -> result1".to_owned(),
                format!("{name}: input0 input1 result1 -> result0 result1"),
                "copy: constant0 -> result3".to_owned(),
                format!("{name}: input0 input2 result3 -> result2 result3"),
            ];
            assert_eq!(lines(&plan, &plan.schedule), expected);
        }
    }
}

#[test]
fn a_kernel_that_writes_nothing_is_not_launched() {
    let source = "(%arg0: t<0x8xf32>) -> t<0x8xf32> {
       %0 = tsr.sine %arg0 : t<0x8xf32>
       return %0 : t<0x8xf32>
     }";
    assert_eq!(steps(source), Vec::<String>::new());
}

#[test]
fn memory_is_used_again_once_nobody_needs_what_was_there() {
    let source = format!(
        "(%arg0: t<8xf32>) -> t<8xf32> {{\n{}\n{}\n{}\n{}\nreturn %d : t<8xf32>\n}}",
        sort("a", "%arg0", "8"),
        sort("b", "%a", "8"),
        sort("c", "%b", "8"),
        sort("d", "%c", "8")
    );
    assert_eq!(
        steps(&source),
        [
            "sort: input0 -> arena0",
            "sort: arena0 -> arena64",
            "sort: arena64 -> arena0",
            "sort: arena0 -> result0",
        ]
    );
}

#[test]
fn an_elementwise_kernel_overwrites_an_operand_that_dies() {
    let source = format!(
        "(%arg0: t<8xf32>) -> t<8xf32> {{\n{}\n%0 = tsr.sine %a : t<8xf32>\n{}\nreturn %b : t<8xf32>\n}}",
        sort("a", "%arg0", "8"),
        sort("b", "%0", "8")
    );
    assert_eq!(
        steps(&source),
        [
            "sort: input0 -> arena0",
            "loop_sine: arena0 -> arena0",
            "sort: arena0 -> result0"
        ]
    );
}

#[test]
fn a_kernel_that_moves_elements_overwrites_nothing() {
    let source = format!(
        "(%arg0: t<8xf32>) -> t<8xf32> {{\n{}\n%0 = tsr.reverse %a {{dimensions = [0]}} : t<8xf32>\n{}\nreturn %b : t<8xf32>\n}}",
        sort("a", "%arg0", "8"),
        sort("b", "%0", "8")
    );
    assert_eq!(
        steps(&source),
        [
            "sort: input0 -> arena0",
            "loop_reverse: arena0 -> arena64",
            "sort: arena64 -> result0"
        ]
    );
}

#[test]
fn without_in_place_every_kernel_writes_memory_of_its_own() {
    let source = "(%arg0: t<8xf32> {tsr.donate = 0}) -> t<8xf32> {
       %0 = tsr.sine %arg0 : t<8xf32>
       return %0 : t<8xf32>
     }";
    let plan = planned(&program(source), PlanOptions { in_place: false });
    assert_eq!(
        lines(&plan, &plan.schedule),
        ["loop_sine: input0 -> arena0", "copy: arena0 -> result0"]
    );
}

/// A loop of three rounds that carries a counter and more, with the lines of its body.
fn counted_loop(
    inputs: &str,
    operands: &str,
    types: &str,
    body: &str,
    results: &str,
    returned: &str,
) -> String {
    let arguments: Vec<String> = types
        .split(", ")
        .enumerate()
        .map(|(n, t)| format!("%c{n}: {t}"))
        .collect();
    let in_condition = arguments.join(", ");
    let in_body = in_condition.replace("%c", "%b");
    format!(
        "({inputs}) -> ({returned}) {{
           %zero = tsr.constant {{value = dense<0>}} : t<i32>
           %loop:{count} = tsr.while %zero, {operands} : ({types}) -> ({types}) {{
           ^condition({in_condition}):
             %limit = tsr.constant {{value = dense<3>}} : t<i32>
             %go = tsr.compare %c0, %limit {{direction = LT, compare_type = SIGNED}} : (t<i32>, t<i32>) -> t<i1>
             tsr.return %go : t<i1>
           }}, {{
           ^body({in_body}):
             %one = tsr.constant {{value = dense<1>}} : t<i32>
             %next = tsr.add %b0, %one : t<i32>
             {body}
             tsr.return %next, {results} : {types}
           }}
           return {all} : {returned}
         }}",
        count = types.split(", ").count(),
        all = (1..types.split(", ").count()).map(|n| format!("%loop#{n}")).collect::<Vec<_>>().join(", "),
    )
}

#[test]
fn what_a_loop_stacks_up_is_updated_in_place() {
    // A scan: each round's row goes to its place in the result; the result is filled and updated where it is given back.
    let source = counted_loop(
        "%arg0: t<8xf32>",
        "%arg0, %fill",
        "t<i32>, t<8xf32>, t<3x8xf32>",
        "%x = tsr.sine %b1 : t<8xf32>
         %row = tsr.reshape %x : (t<8xf32>) -> t<1x8xf32>
         %none = tsr.constant {value = dense<0>} : t<i32>
         %stack = tsr.dynamic_update_slice %b2, %row, %b0, %none : (t<3x8xf32>, t<1x8xf32>, t<i32>, t<i32>) -> t<3x8xf32>",
        "%x, %stack",
        "t<8xf32>, t<3x8xf32>",
    )
    .replace("%zero = ", "%fill = tsr.constant {value = dense<0.0>} : t<3x8xf32>\n%zero = ");
    assert_eq!(
        steps(&source),
        [
            "loop_constant_broadcast_in_dim: -> result1".replace(": ->", ":  ->"),
            "copy: constant0 -> arena0".to_owned(),
            "copy: input0 -> result0".to_owned(),
            "while arena64".to_owned(),
            "  loop_compare: arena0 -> arena64".to_owned(),
            "do".to_owned(),
            "  loop_sine: result0 -> result0".to_owned(),
            "  index_dynamic_update_slice: result1 result0 arena0 -> result1".to_owned(),
            "  loop_add: arena0 -> arena0".to_owned(),
        ]
    );
}

#[test]
fn carried_values_that_change_places_go_by_way_of_a_temporary() {
    let source = counted_loop(
        "%arg0: t<8xf32>, %arg1: t<8xf32>",
        "%arg0, %arg1",
        "t<i32>, t<8xf32>, t<8xf32>",
        "",
        "%b2, %b1",
        "t<8xf32>, t<8xf32>",
    );
    let steps = steps(&source);
    let body: Vec<&String> = steps
        .iter()
        .skip_while(|line| *line != "do")
        .filter(|line| line.contains("copy"))
        .collect();
    assert_eq!(
        body,
        [
            "  copy: result1 -> arena0",
            "  copy: result0 -> result1",
            "  copy: arena0 -> result0"
        ]
    );
}

#[test]
fn a_captured_value_keeps_its_memory_for_all_rounds() {
    // The captured sort is read first and could be overwritten by what follows in a round, but for the next round.
    let source = format!(
        "(%arg0: t<8xf32>) -> t<8xf32> {{
           {}
           %zero = tsr.constant {{value = dense<0>}} : t<i32>
           %loop:2 = tsr.while %zero, %arg0, %s : (t<i32>, t<8xf32>, t<8xf32>) -> (t<i32>, t<8xf32>) {{
           ^condition(%i: t<i32>, %x: t<8xf32>, %y: t<8xf32>):
             %limit = tsr.constant {{value = dense<3>}} : t<i32>
             %go = tsr.compare %i, %limit {{direction = LT, compare_type = SIGNED}} : (t<i32>, t<i32>) -> t<i1>
             tsr.return %go : t<i1>
           }}, {{
           ^body(%i: t<i32>, %x: t<8xf32>, %y: t<8xf32>):
             %one = tsr.constant {{value = dense<1>}} : t<i32>
             %next = tsr.add %i, %one : t<i32>
             %sum = tsr.add %x, %y : t<8xf32>
             {}
             tsr.return %next, %u : t<i32>, t<8xf32>
           }}
           return %loop#1 : t<8xf32>
         }}",
        sort("s", "%arg0", "8"),
        sort("u", "%sum", "8")
    );
    let plan = planned(&program(&source), PlanOptions::default());
    let lines = lines(&plan, &plan.schedule);
    let captured = lines[0].strip_prefix("sort: input0 -> ").unwrap();
    let written = lines
        .iter()
        .skip(1)
        .filter(|line| line.ends_with(&format!("-> {captured}")));
    assert_eq!(written.count(), 0, "{lines:#?}");
}

#[test]
fn branches_write_where_the_result_is_wanted() {
    let source = "(%arg0: t<i32>, %arg1: t<8xf32>) -> t<8xf32> {
       %0 = tsr.case %arg0, %arg1 : (t<i32>, t<8xf32>) -> t<8xf32> {
       ^branch(%x: t<8xf32>):
         %1 = tsr.sine %x : t<8xf32>
         tsr.return %1 : t<8xf32>
       }, {
       ^branch(%x: t<8xf32>):
         tsr.return %x : t<8xf32>
       }
       return %0 : t<8xf32>
     }";
    assert_eq!(
        steps(source),
        [
            "case input0 = 0",
            "  loop_sine: input1 -> result0",
            "case input0 = 1",
            "  copy: input1 -> result0",
        ]
    );
}

#[test]
fn the_order_that_needs_less_memory_is_taken() {
    // Two rows are made of two large sorts. The graph's own order has both sorts first: two large tensors at once.
    let dot = "lhs_batching_dimensions = [], rhs_batching_dimensions = [], lhs_contracting_dimensions = [0], rhs_contracting_dimensions = [0], accumulator = f32";
    let source = format!(
        "(%arg0: t<64x4xf32>, %arg1: t<64x4xf32>, %arg2: t<64xf32>) -> (t<4xf32>, t<4xf32>) {{
           {}
           {}
           %x = tsr.dot_general %a, %arg2 {{{dot}}} : (t<64x4xf32>, t<64xf32>) -> t<4xf32>
           %y = tsr.dot_general %b, %arg2 {{{dot}}} : (t<64x4xf32>, t<64xf32>) -> t<4xf32>
           return %x, %y : t<4xf32>, t<4xf32>
         }}",
        sort("a", "%arg0", "64x4"),
        sort("b", "%arg1", "64x4")
    );
    assert_eq!(
        steps(&source),
        [
            "sort: input0 -> arena0",
            "dot: arena0 input2 -> result0",
            "sort: input1 -> arena0",
            "dot: arena0 input2 -> result1",
        ]
    );
}

#[test]
fn what_fuse_has_not_seen_is_refused() {
    let module = program(
        "(%arg0: t<8xf32>) -> t<8xf32> {
           %0 = tsr.sine %arg0 : t<8xf32>
           return %0 : t<8xf32>
         }",
    );
    let error = plan(&module, PlanOptions::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "pass 'plan': 'tsr.sine' is in no kernel: run the pass 'fuse' before"
    );
    assert!(!error.is_internal());
    assert!(error.reproducer.module.contains("tsr.sine"));
}

#[test]
fn the_same_module_gives_the_same_plan() {
    let module = run(DEFAULT_PIPELINE, &crate::common::import_step("moe_tiny"));
    let again = run(DEFAULT_PIPELINE, &crate::common::import_step("moe_tiny"));
    assert_eq!(module, again);
    let options = PlanOptions::default();
    assert_eq!(plan(&module, options), plan(&again, options));
}

/// A plan that computes, on 8 floats, `result0 = reverse(sine(input0))`.
fn good_plan() -> (Plan, Vec<Tensor>) {
    let module = program(&format!(
        "(%arg0: t<8xf32>) -> t<8xf32> {{\n%0 = tsr.sine %arg0 : t<8xf32>\n{}\n{}\nreturn %b : t<8xf32>\n}}",
        sort("a", "%0", "8"),
        sort("b", "%a", "8"),
    ));
    let plan = planned(&module, PlanOptions::default());
    (plan, special_inputs(&module))
}

/// What the evaluator says of the plan with its buffers changed.
fn fault(change: impl FnOnce(&mut Plan)) -> String {
    let (mut plan, inputs) = good_plan();
    change(&mut plan);
    evaluate(&plan, &inputs).unwrap_err().to_string()
}

#[test]
fn the_evaluator_finds_results_that_lie_over_what_is_still_read() {
    let message = fault(|plan| {
        let arena: Vec<usize> = (0..plan.buffers.len())
            .filter(|&number| matches!(plan.buffers[number].place, Place::Arena(_)))
            .collect();
        plan.buffers[arena[1]].place = plan.buffers[arena[0]].place;
    });
    assert!(
        message.contains("sort") || message.contains("overlap"),
        "{message}"
    );
}

#[test]
fn the_evaluator_finds_writes_to_what_is_not_given_away() {
    let message = fault(|plan| {
        for buffer in &mut plan.buffers {
            if buffer.place == Place::Result(0) {
                buffer.place = Place::Input(0);
            }
        }
    });
    assert!(
        message.contains("input 0") || message.contains("donated"),
        "{message}"
    );
}

#[test]
fn the_evaluator_refuses_inputs_of_another_type() {
    let (plan, _) = good_plan();
    let wrong = Tensor::scalar(1.0f32);
    let message = evaluate(&plan, &[wrong]).unwrap_err().to_string();
    assert_eq!(
        message,
        "expected tensor<8xf32> as input 0, found tensor<f32>"
    );
}
