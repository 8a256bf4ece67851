//! Each promise of a plan, broken.

use super::EXAMPLE;
use crate::plan::{BufferId, Kernel, KernelId, Plan, PlanError, Step, parse};

/// What a changed example breaks.
#[track_caller]
fn messages(change: impl FnOnce(&mut Plan)) -> Vec<String> {
    let mut plan = parse(EXAMPLE, None).unwrap();
    change(&mut plan);
    let errors = plan.check().expect_err("a promise is broken");
    errors.iter().map(PlanError::to_string).collect()
}

/// What an example with another piece of text breaks.
#[track_caller]
fn replaced(old: &str, new: &str) -> Vec<String> {
    assert!(EXAMPLE.contains(old));
    messages(|plan| *plan = parse(&EXAMPLE.replacen(old, new, 1), None).unwrap())
}

#[test]
fn ids_are_those_of_the_plan() {
    let found = messages(|plan| {
        plan.schedule[0] = Step::Launch {
            kernel: KernelId(0),
            operands: vec![BufferId(9), BufferId(0)],
            results: vec![BufferId(3)],
            location: crate::Location::Unknown,
        };
        let Step::While { body, .. } = &mut plan.schedule[1] else {
            panic!("expected a loop");
        };
        body[0] = Step::Launch {
            kernel: KernelId(2),
            operands: vec![],
            results: vec![],
            location: crate::Location::Unknown,
        };
    });
    assert_eq!(
        found,
        [
            "step 0: there is no buffer %b9, the plan has 9",
            "step 1, body, step 0: there is no kernel 2, the plan has 2",
        ]
    );
}

#[test]
fn launches_fit_their_kernels() {
    assert_eq!(
        replaced("@loop_add(%b0, %b1)", "@loop_add(%b0)"),
        ["step 0: kernel 'loop_add' has 2 operand(s), the launch gives 1"]
    );
    assert_eq!(
        replaced(
            "@loop_add(%b0, %b1) -> (%b3)",
            "@loop_add(%b0, %b1) -> (%b8)"
        ),
        ["step 0: result 0 of kernel 'loop_add' is tensor<4xf32>, %b8 is tensor<f32>"]
    );
}

/// What a plan breaks whose schedule is this step, over buffers of 128 bytes that begin 64 bytes apart.
fn of_overlapping_buffers(step: &str) -> Vec<String> {
    let source = format!(
        "plan @p arena = 512 {{
          buffer %b0 : tensor<32xf32> at arena(0)
          buffer %b1 : tensor<32xf32> at arena(64)
          buffer %b2 : tensor<32xf32> at arena(256)
          kernel @zeros loop() -> tensor<32xf32> {{
            %0 = tsr.constant {{value = dense<0.0>}} : tensor<32xf32>
            return %0 : tensor<32xf32>
          }}
          kernel @twice loop(%x: tensor<32xf32>) -> (tensor<32xf32>, tensor<32xf32>) {{
            return %x, %x : tensor<32xf32>, tensor<32xf32>
          }}
          launch @zeros() -> (%b0)
          {step}
        }}"
    );
    let checked = parse(&source, None).unwrap().check();
    let errors = checked.err().unwrap_or_default();
    errors.iter().map(PlanError::to_string).collect()
}

#[test]
fn results_overlap_operands_from_their_first_byte_or_not_at_all() {
    assert_eq!(
        of_overlapping_buffers("launch @twice(%b0) -> (%b0, %b2)"),
        [""; 0]
    );
    assert_eq!(
        of_overlapping_buffers("launch @twice(%b0) -> (%b1, %b2)"),
        ["step 1: result %b1 overlaps operand %b0, but does not begin where that does"]
    );
}

#[test]
fn results_of_a_launch_do_not_overlap() {
    assert_eq!(
        of_overlapping_buffers("launch @twice(%b0) -> (%b2, %b2)"),
        ["step 1: the results %b2 and %b2 overlap"]
    );
}

#[test]
fn copies_do_not_overlap_in_part() {
    assert_eq!(of_overlapping_buffers("copy %b0 -> %b0"), [""; 0]);
    assert_eq!(
        of_overlapping_buffers("copy %b0 -> %b1"),
        ["step 1: %b0 and %b1 overlap in part"]
    );
}

#[test]
fn memory_that_is_given_is_not_written() {
    assert_eq!(
        replaced("-> (%b3)", "-> (%b1)"),
        ["step 0: %b1 is written, but lies in input(1), which is not donated"]
    );
    assert_eq!(
        replaced("copy %b8 -> %b5", "copy %b8 -> %b2"),
        ["step 3: %b2 is written, but lies in constant(0), which is never written"]
    );
}

#[test]
fn what_is_read_was_written() {
    assert_eq!(
        replaced("launch @loop_add(%b0, %b1) -> (%b3)\n  while", "while"),
        [
            "step 0, condition, step 0: %b3 is read before all of it is written",
            "step 0, body, step 0: %b3 is read before all of it is written",
            "step 1, branch 0, step 0: %b3 is read before all of it is written",
            "step 1, branch 1, step 0: %b3 is read before all of it is written",
            "step 1, branch 1, step 0: %b3 is read before all of it is written",
        ]
    );
}

#[test]
fn what_a_loop_s_body_writes_may_not_be_there_after_it() {
    assert_eq!(
        replaced(
            "launch @row_sum(%b3, %b2) -> (%b8, %b6, %b7)\n  } do {",
            "launch @row_sum(%b3, %b2) -> (%b5, %b6, %b7)\n  } do {\n    copy %b2 -> %b8"
        ),
        ["step 3: %b8 is read before all of it is written"]
    );
}

#[test]
fn what_only_one_branch_writes_may_not_be_there_after_it() {
    let branches = "copy %b3 -> %b4
  }, {
    launch @loop_add(%b3, %b3) -> (%b4)
  }
  copy %b8 -> %b5";
    assert_eq!(
        replaced(branches, "copy %b8 -> %b5 }, {}"),
        ["result 1 is not written in full"]
    );
}

#[test]
fn a_result_that_is_a_donated_input_holds_something_from_the_beginning() {
    let source = EXAMPLE.replace("copy %b3 -> %b4", "");
    assert_eq!(parse(&source, None).unwrap().check(), Ok(()));
}

#[test]
fn copies_are_between_buffers_of_one_size() {
    assert_eq!(
        replaced("copy %b8 -> %b5", "copy %b8 -> %b5 copy %b3 -> %b5"),
        ["step 4: %b3 has 16 bytes, %b5 has 4"]
    );
}

#[test]
fn loops_test_a_boolean_and_cases_an_index() {
    assert_eq!(
        replaced("while %b6", "while %b7"),
        ["step 1: expected a buffer of tensor<i1>, %b7 is tensor<i32>"]
    );
    assert_eq!(
        replaced("case %b7", "case %b6"),
        ["step 2: expected a buffer of tensor<i32>, %b6 is tensor<i1>"]
    );
    assert_eq!(
        messages(|plan| {
            let Step::Case { branches, .. } = &mut plan.schedule[2] else {
                panic!("expected a case");
            };
            branches.clear();
        }),
        ["step 2: expected at least one branch"]
    );
}

#[test]
fn buffers_lie_inside_their_memory() {
    assert_eq!(
        replaced("arena = 320", "arena = 192"),
        ["%b8 has 4 bytes and lies in arena(192), where there are 0"]
    );
    assert_eq!(
        replaced("at arena(192)", "at arena(196)"),
        ["%b8 lies in arena(196), which is not a multiple of 64"]
    );
    assert_eq!(
        replaced(
            "%b2 : tensor<f32> at constant(0)",
            "%b2 : tensor<f32> at constant(2)"
        ),
        ["%b2 lies in constant(2), the plan has 2 of these"]
    );
    assert_eq!(
        replaced("input 1 : tensor<2x2xf32>", "input 1 : tensor<3xf32>"),
        ["%b1 has 16 bytes and lies in input(1), where there are 12"]
    );
}

#[test]
fn donations_are_to_results_of_the_same_type_one_each() {
    assert_eq!(
        replaced("donate 0", "donate 2")[0],
        "input 0 is donated to result 2, the plan has 2 result(s)"
    );
    assert_eq!(
        replaced("donate 0", "donate 1")[0],
        "input 0 is donated to result 1, but is tensor<4xf32>, not tensor<f32>"
    );
    assert_eq!(
        replaced("tensor<2x2xf32>", "tensor<2x2xf32> donate 0")[0],
        "input 1 is donated to result 0, and so is input 0"
    );
}

#[test]
fn kernels_have_names_of_their_own_and_differ() {
    let copy = |plan: &mut Plan, name: &str| {
        let kernel = Kernel {
            name: name.to_owned(),
            ..plan.kernels[0].clone()
        };
        plan.kernels.push(kernel);
    };
    assert_eq!(
        messages(|plan| copy(plan, "other")),
        ["the kernels 'loop_add' and 'other' are equal"]
    );
    assert_eq!(
        messages(|plan| copy(plan, "loop_add"))[0],
        "two kernels are named 'loop_add'"
    );
    for name in ["", "1st", "a.b", "é"] {
        assert_eq!(
            messages(|plan| plan.kernels[0].name = name.to_owned()),
            [format!("the kernel name '{name}' is not a C identifier")]
        );
    }
}
