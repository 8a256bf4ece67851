//! Round trips and errors of the text form.

use super::EXAMPLE;
use crate::diagnostic::Diagnostic;
use crate::plan::{
    Buffer, BufferId, Family, Kernel, KernelId, Place, Plan, PlanInput, PlanResult, Step, parse,
    print,
};
use crate::text::tests::random::{graphs, locations};
use crate::text::tests::round_trip::piece;
use crate::{ElementType, Location, Tensor, TensorType};
use proptest::prelude::*;

#[test]
fn the_example_prints_as_it_is_written() {
    let plan = parse(EXAMPLE, None).unwrap();
    assert_eq!(print(&plan, false), EXAMPLE);
    assert_eq!(plan.check(), Ok(()));
}

#[test]
fn launches_and_kernels_keep_their_locations() {
    let plan = parse(EXAMPLE, Some("main.plan")).unwrap();
    let Step::Launch { location, .. } = &plan.schedule[0] else {
        panic!("expected a launch");
    };
    assert_eq!(*location, Location::file("main.plan", 31, 3));
    assert_eq!(
        plan.kernels[0].body.operations()[0].location,
        Location::file("main.plan", 18, 5)
    );
    let text = print(&plan, true);
    assert!(text.contains("launch @loop_add(%b0, %b1) -> (%b3) loc(\"main.plan\":31:3)\n"));
    assert_eq!(parse(&text, None).unwrap(), plan);
}

#[track_caller]
fn check(old: &str, new: &str, message: &str) -> Diagnostic {
    let plain = new.replace(['«', '»'], "");
    assert!(EXAMPLE.contains(old));
    let source = EXAMPLE.replacen(old, &plain, 1);
    let at = EXAMPLE.find(old).expect("asserted") + new.find('«').expect("the place is marked");
    let length = new.find('»').expect("the place is marked")
        - new.find('«').expect("the place is marked")
        - '«'.len_utf8();
    let error = parse(&source, None).expect_err("the text is wrong");
    assert_eq!(error.message, message);
    assert_eq!(error.span, at..at + length);
    error
}

#[test]
fn errors_name_what_is_wrong_and_where() {
    check(
        "plan @main",
        "«module» @main",
        "expected 'plan', found 'module'",
    );
    check(
        "arena = 320",
        "arena = «-1»",
        "expected the arena's bytes, '-1' is out of range",
    );
    check("input 1", "input «2»", "expected input 1, found input 2");
    check("buffer %b1", "buffer «%b2»", "expected %b1, found %b2");
    check("buffer %b1", "buffer «%c»", "expected %b1, found %c");
    check(
        "at input(1)",
        "at «stack»(1)",
        "expected input, result, constant or arena, found 'stack'",
    );
    check(
        "@row_sum row(",
        "@row_sum «rows»(",
        "expected one of loop, row, column, dot, attention, index, sort, quantize, solve, found 'rows'",
    );
    let twice = check(
        "kernel @row_sum",
        "kernel «@loop_add»",
        "a kernel '@loop_add' is defined already",
    );
    assert_eq!(twice.notes[0].message, "first defined here");
    check(
        "launch @row_sum",
        "launch «@row_sums»",
        "the kernel '@row_sums' is not defined",
    );
    check("copy %b8", "copy «%b9»", "the buffer '%b9' is not defined");
    check(
        "copy %b8",
        "copy «%arg0»",
        "the buffer '%arg0' is not defined",
    );
    check(
        "copy %b8",
        "copy «@loop»",
        "expected a buffer such as %b0, found '@loop'",
    );
    check(
        "copy %b8",
        "«move» %b8",
        "expected launch, copy, while, case or '}', found 'move'",
    );
    check("} do {", "} «else» {", "expected 'do', found 'else'");
}

#[test]
fn very_deep_nesting_is_refused() {
    let source = format!(
        "plan @p arena = 0 {{ buffer %b0 : tensor<i1> at arena(0) {}",
        "while %b0 {".repeat(100_000)
    );
    let error = parse(&source, None).unwrap_err();
    assert_eq!(error.message, "nested more than 64 levels deep");
}

/// Plans with what a text can say, whether or not it makes sense.
fn plans() -> impl Strategy<Value = Plan> {
    let tensor_type = || {
        let shape = prop::collection::vec(0..9usize, 0..3);
        let element = prop::sample::select(ElementType::ALL.to_vec());
        (element, shape).prop_map(|(element, shape)| TensorType::new(element, shape))
    };
    let name = || prop::option::of("\\PC{0,3}");
    let initialiser = prop::option::of(prop::sample::select(vec!["zeros", "normal(std=0.5)"]));
    let input = (
        tensor_type(),
        name(),
        prop::option::of(0..3usize),
        initialiser,
    );
    let input = input.prop_map(|(tensor_type, name, donate, initialiser)| PlanInput {
        tensor_type,
        name,
        donate,
        initialiser: initialiser.map(|text| text.parse().unwrap()),
    });
    let result = (tensor_type(), name());
    let result = result.prop_map(|(tensor_type, name)| PlanResult { tensor_type, name });
    let constant = prop::collection::vec(any::<u32>(), 0..80);
    let constant = constant.prop_map(|values| {
        Tensor::from_values([values.len()], &values).expect("a shape of as many elements")
    });
    let place = prop_oneof![
        (0..9usize).prop_map(Place::Input),
        (0..9usize).prop_map(Place::Result),
        (0..9usize).prop_map(Place::Constant),
        (0..999usize).prop_map(Place::Arena),
    ];
    let buffer = (tensor_type(), place);
    let buffer = buffer.prop_map(|(tensor_type, place)| Buffer {
        value_type: tensor_type.into(),
        place,
    });
    let kernel = (prop::sample::select(Family::ALL.to_vec()), graphs());
    (
        ("[a-z ]{0,3}", 0..9999usize),
        prop::collection::vec(input, 0..3),
        prop::collection::vec(result, 0..3),
        prop::collection::vec(constant, 0..3),
        prop::collection::vec(buffer, 1..9),
        prop::collection::vec(kernel, 1..3),
        prop::collection::vec(steps(), 0..5),
    )
        .prop_map(
            |((name, arena_bytes), inputs, results, constants, buffers, kernels, schedule)| {
                let name_of = |number| format!("k{number}");
                let kernels = kernels.into_iter().enumerate();
                let kernels = kernels.map(|(number, (family, body))| Kernel {
                    name: name_of(number),
                    family,
                    body,
                });
                let mut plan = Plan {
                    name,
                    inputs,
                    results,
                    constants,
                    buffers,
                    kernels: kernels.collect(),
                    schedule,
                    arena_bytes,
                };
                let (buffers, kernels) = (plan.buffers.len() as u32, plan.kernels.len() as u32);
                for step in &mut plan.schedule {
                    narrow(step, buffers, kernels);
                }
                plan
            },
        )
}

fn steps() -> impl Strategy<Value = Step> {
    let buffer = || any::<u32>().prop_map(BufferId);
    let buffers = || prop::collection::vec(buffer(), 0..3);
    let leaf = prop_oneof![
        (any::<u32>(), buffers(), buffers(), locations()).prop_map(
            |(kernel, operands, results, location)| Step::Launch {
                kernel: KernelId(kernel),
                operands,
                results,
                location,
            }
        ),
        (buffer(), buffer()).prop_map(|(source, destination)| Step::Copy {
            source,
            destination
        }),
    ];
    leaf.prop_recursive(3, 8, 3, move |inner| {
        let block = || prop::collection::vec(inner.clone(), 0..3);
        prop_oneof![
            (block(), any::<u32>(), block()).prop_map(|(condition, predicate, body)| {
                Step::While {
                    condition,
                    predicate: BufferId(predicate),
                    body,
                }
            }),
            (any::<u32>(), prop::collection::vec(block(), 0..3)).prop_map(|(index, branches)| {
                Step::Case {
                    index: BufferId(index),
                    branches,
                }
            }),
        ]
    })
}

/// Makes the ids of a step those of buffers and kernels that exist.
fn narrow(step: &mut Step, buffers: u32, kernels: u32) {
    let narrow_all = |steps: &mut Vec<Step>| {
        steps
            .iter_mut()
            .for_each(|step| narrow(step, buffers, kernels));
    };
    match step {
        Step::Launch {
            kernel,
            operands,
            results,
            ..
        } => {
            kernel.0 %= kernels;
            let all = operands.iter_mut().chain(results);
            all.for_each(|buffer| buffer.0 %= buffers);
        }
        Step::Copy {
            source,
            destination,
        } => {
            source.0 %= buffers;
            destination.0 %= buffers;
        }
        Step::While {
            condition,
            predicate,
            body,
        } => {
            predicate.0 %= buffers;
            narrow_all(condition);
            narrow_all(body);
        }
        Step::Case { index, branches } => {
            index.0 %= buffers;
            branches.iter_mut().for_each(narrow_all);
        }
    }
}

proptest! {
    // A plan is large; PROPTEST_CASES asks for more.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, ..ProptestConfig::default() })]

    #[test]
    fn random_plans_read_back(plan in plans()) {
        let text = print(&plan, true);
        let read = parse(&text, None);
        let read = read.map_err(|e| TestCaseError::fail(format!("{}\n{text}", e.render("text", &text))))?;
        prop_assert_eq!(&read, &plan, "{}", text);
        prop_assert_eq!(print(&read, true), text);
        // Whatever it says, it says without a panic.
        let _ = plan.check();
        let _ = plan.dependences();
    }

    #[test]
    fn a_text_with_a_piece_replaced_is_read_or_refused(
        at in 0..EXAMPLE.len(),
        length in 0..60usize,
        piece in piece(),
    ) {
        let end = (at + length).min(EXAMPLE.len());
        let changed = format!("{}{piece}{}", &EXAMPLE[..at], &EXAMPLE[end..]);
        match parse(&changed, Some("file")) {
            Ok(plan) => { let _ = plan.check(); }
            Err(error) => { error.render("file", &changed); }
        }
    }
}
