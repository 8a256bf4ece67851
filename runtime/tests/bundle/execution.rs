//! What running a bundle does.

use crate::sample::*;
use std::num::NonZeroUsize;
use tessera_numerics::ElementType::{F32, I1, I32};
use tessera_numerics::Tensor;
use tessera_runtime::bundle::{
    BatchDimension, BundleWriter, Code, Family, Gemm, Kernel, Manifest, MatrixLayout, Place, Step,
    Work,
};
use tessera_runtime::{Bundle, Program, RunError, RunOptions};

fn threads(count: usize) -> RunOptions {
    RunOptions {
        threads: NonZeroUsize::new(count),
        ..RunOptions::default()
    }
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor.values().unwrap()
}

fn integer(tensor: &Tensor) -> i32 {
    tensor.values::<i32>().unwrap()[0]
}

#[test]
fn a_step_runs_its_launches_in_order() {
    let (program, _sample) = program(step_manifest());
    let (state, gradient) = (vector(1), vector(2));
    let results = program
        .run(&[state.clone(), gradient.clone()], &threads(2))
        .unwrap();
    let sums = floats(&state)
        .into_iter()
        .zip(floats(&gradient))
        .map(|(a, b)| a + b);
    let sums: Vec<f32> = sums.collect();
    assert_eq!(floats(&results[0]), sums);
    let losses: Vec<f32> = sums.iter().map(|sum| -(sum + 1.0)).collect();
    assert_eq!(floats(&results[1]), losses);
}

#[test]
fn donated_state_goes_from_step_to_step() {
    let (program, _sample) = program(step_manifest());
    let mut instance = program.instance(&threads(2)).unwrap();
    instance.set_input_named("state", &vector(1)).unwrap();
    instance.set_input_named("gradient", &vector(2)).unwrap();
    for _ in 0..3 {
        instance.step().unwrap();
    }
    // The gradient is not donated and keeps its value; all numbers are small multiples of a quarter, so sums are exact.
    let expected: Vec<f32> = floats(&vector(1))
        .into_iter()
        .zip(floats(&vector(2)))
        .map(|(state, gradient)| state + 3.0 * gradient)
        .collect();
    assert_eq!(floats(&instance.result(0).unwrap()), expected);
    assert_eq!(instance.steps(), 3);
}

#[test]
fn an_input_can_change_between_steps() {
    let (program, _sample) = program(step_manifest());
    let mut instance = program.instance(&threads(1)).unwrap();
    instance.set_inputs(&[vector(1), vector(2)]).unwrap();
    instance.step().unwrap();
    instance.set_input(1, &vector(3)).unwrap();
    instance.step().unwrap();
    let expected: Vec<f32> = (0..1000)
        .map(|i| [1, 2, 3].map(|seed| floats(&vector(seed))[i]).iter().sum())
        .collect();
    assert_eq!(floats(&instance.result(0).unwrap()), expected);
}

#[test]
fn instances_do_not_share_memory() {
    let (program, _sample) = program(step_manifest());
    let mut instances = [1, 2].map(|seed| {
        let mut instance = program.instance(&threads(1)).unwrap();
        instance.set_inputs(&[vector(seed), vector(0)]).unwrap();
        instance
    });
    for instance in &mut instances {
        instance.step().unwrap();
    }
    for (instance, seed) in instances.iter().zip([1, 2]) {
        let expected = program
            .run(&[vector(seed), vector(0)], &threads(1))
            .unwrap();
        assert_eq!(instance.results().unwrap(), expected);
    }
}

#[test]
fn a_result_is_there_once_it_is_computed() {
    let (program, _sample) = program(step_manifest());
    let mut instance = program.instance(&threads(1)).unwrap();
    let message = |result: Result<Tensor, RunError>| result.unwrap_err().to_string();
    instance.set_inputs(&[vector(1), vector(2)]).unwrap();
    assert_eq!(
        message(instance.result(1)),
        "result 1 (\"loss\") is not computed yet"
    );
    instance.step().unwrap();
    instance.result(0).unwrap();
    // The memory of the result is that of the input.
    instance.set_input(0, &vector(3)).unwrap();
    assert_eq!(message(instance.result(0)), "result 0 is not computed yet");
    instance.result(1).unwrap();
    assert_eq!(
        message(instance.result(2)),
        "no result 2; the program has 2 results"
    );
}

/// `counter`, donated, is incremented while it is less than `limit`.
fn counting() -> Manifest {
    let integer = || ty(I32, []);
    Manifest {
        inputs: vec![
            input(Some("counter"), integer(), Some(0)),
            input(Some("limit"), integer(), None),
        ],
        results: vec![output(None, integer())],
        buffers: vec![
            buffer(integer(), Place::Input(0)),
            buffer(integer(), Place::Input(1)),
            buffer(ty(I1, []), Place::Arena(0)),
        ],
        arena_bytes: 64,
        schedule: vec![Step::While {
            condition: vec![launch(LESS, [0, 1], [2])],
            predicate: 2,
            body: vec![launch(INCREMENT, [0], [0])],
        }],
        ..empty_manifest()
    }
}

#[test]
fn a_loop_runs_while_its_condition_holds() {
    let (program, _sample) = program(counting());
    for (counter, limit, expected) in [(0, 10, 10), (9, 10, 10), (10, 10, 10), (25, 10, 25)] {
        let inputs = [counter, limit].map(Tensor::scalar::<i32>);
        let results = program.run(&inputs, &threads(2)).unwrap();
        assert_eq!(integer(&results[0]), expected);
    }
}

/// The counter is incremented as often as the number of the chosen branch says.
fn choosing() -> Manifest {
    let mut manifest = counting();
    let increment = || launch(INCREMENT, [0], [0]);
    manifest.schedule = vec![Step::Case {
        index: 1,
        branches: vec![vec![], vec![increment()], vec![increment(), increment()]],
    }];
    manifest
}

#[test]
fn a_case_runs_the_branch_of_its_index_or_the_last() {
    let (program, _sample) = program(choosing());
    for (index, expected) in [
        (0, 100),
        (1, 101),
        (2, 102),
        (3, 102),
        (-1, 102),
        (i32::MIN, 102),
    ] {
        let inputs = [100, index].map(Tensor::scalar::<i32>);
        let results = program.run(&inputs, &threads(1)).unwrap();
        assert_eq!(integer(&results[0]), expected, "index {index}");
    }
}

#[test]
fn a_copy_moves_all_bytes() {
    // Large enough to be shared between threads, and no multiple of what they share it in.
    let large = || ty(I32, [700_001]);
    let manifest = Manifest {
        inputs: vec![input(None, large(), None)],
        results: vec![output(None, large())],
        buffers: vec![
            buffer(large(), Place::Input(0)),
            buffer(large(), Place::Result(0)),
        ],
        schedule: vec![Step::Copy {
            source: 0,
            destination: 1,
        }],
        ..empty_manifest()
    };
    let (program, _sample) = program(manifest);
    let values: Vec<i32> = (0..700_001).collect();
    let value = Tensor::from_values([700_001], &values).unwrap();
    for count in [1, 2, 3] {
        let results = program
            .run(std::slice::from_ref(&value), &threads(count))
            .unwrap();
        assert!(results[0] == value);
    }
}

/// Row sums with scratch memory, and a product of two of the inputs' views.
fn parallel() -> Manifest {
    let matrix = || ty(F32, [200, 300]);
    let dense = |row_stride| MatrixLayout {
        row_stride,
        column_stride: 1,
    };
    let mut manifest = empty_manifest();
    manifest.kernels.push(Kernel {
        name: "dot".to_owned(),
        family: Family::Dot,
        operands: vec![matrix().into(), matrix().into()],
        results: vec![ty(F32, [2, 200, 100]).into()],
        work: Work::default(),
        code: Code::Gemm(Gemm {
            element_type: F32,
            m: 200,
            n: 100,
            k: 200,
            batch: vec![BatchDimension {
                extent: 2,
                lhs_stride: 50,
                rhs_stride: 100,
                result_stride: 200 * 100,
            }],
            lhs: dense(300),
            rhs: dense(300),
            result: dense(100),
        }),
    });
    Manifest {
        inputs: vec![input(None, matrix(), None)],
        results: vec![
            output(None, ty(F32, [200])),
            output(None, ty(F32, [2, 200, 100])),
        ],
        buffers: vec![
            buffer(matrix(), Place::Input(0)),
            buffer(ty(F32, [200]), Place::Result(0)),
            buffer(ty(F32, [2, 200, 100]), Place::Result(1)),
        ],
        schedule: vec![launch(ROW_SUM, [0], [1]), launch(6, [0, 0], [2])],
        ..manifest
    }
}

#[test]
fn results_are_the_same_bits_for_any_number_of_threads() {
    let (program, _sample) = program(parallel());
    let values: Vec<f32> = (0..60_000).map(|i| (i as f32 * 0.37).sin()).collect();
    let matrix = Tensor::from_values([200, 300], &values).unwrap();
    let one = program
        .run(std::slice::from_ref(&matrix), &threads(1))
        .unwrap();
    for count in [2, 3] {
        let mut instance = program.instance(&threads(count)).unwrap();
        instance.set_input(0, &matrix).unwrap();
        for _ in 0..10 {
            instance.step().unwrap();
            assert!(instance.results().unwrap() == one, "{count} threads");
        }
    }
    // Each sum of 300 terms below 1 is off by at most 9 roundings (the depth of its tree) of sums below 300: 9 · 300 ·
    // 2⁻²⁴ ≈ 1.6e-4.
    for (row, sum) in values.chunks(300).zip(floats(&one[0])) {
        let exact: f64 = row.iter().map(|&value| f64::from(value)).sum();
        assert!((f64::from(sum) - exact).abs() < 1.7e-4);
    }
}

#[test]
fn a_product_over_views_of_an_input() {
    let (program, _sample) = program(parallel());
    // Small integers: products and sums of 200 of them are exact in f32.
    let values: Vec<f32> = (0..60_000).map(|i| (i % 13) as f32 - 6.0).collect();
    let matrix = Tensor::from_values([200, 300], &values).unwrap();
    let results = program.run(&[matrix], &threads(2)).unwrap();
    let found = floats(&results[1]);
    for (batch, i, j) in [
        (0, 0, 0),
        (0, 199, 99),
        (1, 0, 0),
        (1, 100, 37),
        (1, 199, 99),
    ] {
        let expected: f32 = (0..200)
            .map(|l| values[300 * i + l + 50 * batch] * values[300 * l + j + 100 * batch])
            .sum();
        assert_eq!(found[(batch * 200 + i) * 100 + j], expected);
    }
}

#[test]
fn one_thread_is_the_calling_thread() {
    let (program, _sample) = program(step_manifest());
    assert_eq!(program.instance(&threads(1)).unwrap().threads(), 1);
    assert_eq!(program.instance(&threads(3)).unwrap().threads(), 3);
    let available = std::thread::available_parallelism().unwrap().get();
    let default = program.instance(&RunOptions::default()).unwrap();
    assert_eq!(default.threads(), available);
}

#[test]
fn empty_tensors_are_no_work() {
    let empty = || ty(F32, [0, 3]);
    let manifest = Manifest {
        inputs: vec![input(None, empty(), None)],
        results: vec![output(None, empty())],
        buffers: vec![
            buffer(empty(), Place::Input(0)),
            buffer(empty(), Place::Result(0)),
        ],
        schedule: vec![Step::Copy {
            source: 0,
            destination: 1,
        }],
        ..empty_manifest()
    };
    let (program, _sample) = program(manifest);
    let value = Tensor::zeros(F32, [0, 3]).unwrap();
    let results = program
        .run(std::slice::from_ref(&value), &threads(2))
        .unwrap();
    assert_eq!(results, [value]);
}

#[test]
fn an_input_of_another_shape_is_refused() {
    let (program, _sample) = program(step_manifest());
    let mut instance = program.instance(&threads(1)).unwrap();
    let error = instance.set_input(1, &Tensor::zeros(F32, [10, 100]).unwrap());
    assert_eq!(
        error.unwrap_err().to_string(),
        "input 1 (\"gradient\"): expected tensor<1000xf32>, found tensor<10x100xf32>"
    );
    let error = instance.set_input_named("state", &Tensor::zeros(I32, [1000]).unwrap());
    assert_eq!(
        error.unwrap_err().to_string(),
        "input 0 (\"state\"): expected tensor<1000xf32>, found tensor<1000xi32>"
    );
}

#[test]
fn a_missing_input_is_named() {
    let (program, _sample) = program(step_manifest());
    let mut instance = program.instance(&threads(1)).unwrap();
    assert_eq!(
        instance.step().unwrap_err().to_string(),
        "missing input 0 (\"state\") of type tensor<1000xf32>, \
         input 1 (\"gradient\") of type tensor<1000xf32>"
    );
    instance.set_input(0, &vector(1)).unwrap();
    assert_eq!(
        instance.step().unwrap_err().to_string(),
        "missing input 1 (\"gradient\") of type tensor<1000xf32>"
    );
    assert_eq!(instance.steps(), 0);
}

#[test]
fn too_few_inputs_are_refused() {
    let (program, _sample) = program(step_manifest());
    let error = program.run(&[vector(1)], &threads(1)).unwrap_err();
    assert_eq!(error.to_string(), "expected 2 inputs, found 1");
}

#[test]
fn inputs_have_names_and_numbers() {
    let mut manifest = step_manifest();
    let (named, _sample) = program(manifest.clone());
    assert_eq!(named.input_number("gradient").unwrap(), 1);
    assert_eq!(named.input_number("arg0").unwrap(), 0);
    assert_eq!(
        named.input_number("arg2").unwrap_err().to_string(),
        "no input \"arg2\"; the program has input 0 (\"state\"), input 1 (\"gradient\")"
    );
    manifest.inputs[1].name = Some("state".to_owned());
    let (ambiguous, _sample) = program(manifest);
    assert_eq!(
        ambiguous.input_number("state").unwrap_err().to_string(),
        "the name \"state\" stands for inputs 0, 1"
    );
}

#[test]
fn a_result_that_is_no_boolean_is_refused() {
    let manifest = Manifest {
        results: vec![output(Some("mask"), ty(I1, []))],
        buffers: vec![buffer(ty(I1, []), Place::Result(0))],
        schedule: vec![launch(NOT_A_BOOLEAN, [], [0])],
        ..empty_manifest()
    };
    let (program, _sample) = program(manifest);
    assert_eq!(
        program.run(&[], &threads(1)).unwrap_err().to_string(),
        "result 0 (\"mask\"): the program computed no valid tensor: \
         element 0 of a tensor of i1 is stored as 7, expected 0 or 1"
    );
}

#[test]
fn too_much_memory_is_an_error() {
    let mut manifest = step_manifest();
    manifest.arena_bytes = isize::MAX as usize - 63;
    let (program, _sample) = program(manifest);
    assert_eq!(
        program.instance(&threads(1)).err().unwrap().to_string(),
        "cannot allocate 9223372036854775744 bytes for the arena"
    );
}

#[test]
fn a_profile_counts_launches() {
    let (program, _sample) = program(counting());
    let options = RunOptions {
        profile: true,
        ..threads(2)
    };
    let mut instance = program.instance(&options).unwrap();
    instance
        .set_inputs(&[Tensor::scalar(0i32), Tensor::scalar(10i32)])
        .unwrap();
    instance.step().unwrap();
    let profile = instance.profile().unwrap();
    let launches = |name| {
        let kernel = profile.kernels().iter().find(|kernel| kernel.name == name);
        kernel.map(|kernel| kernel.launches)
    };
    assert_eq!(launches("less"), Some(11));
    assert_eq!(launches("increment"), Some(10));
    assert_eq!(launches("add"), None);
    assert_eq!(profile.steps(), 1);
    assert!(program.instance(&threads(1)).unwrap().profile().is_none());
}

#[test]
fn a_program_outlives_its_bundle() {
    let (program, sample) = program(step_manifest());
    let inputs = [vector(1), vector(2)];
    let before = program.run(&inputs, &threads(2)).unwrap();
    drop(sample);
    assert_eq!(program.run(&inputs, &threads(2)).unwrap(), before);
}

#[test]
fn a_replaced_bundle_has_new_code() {
    let (old, sample) = program(step_manifest());
    let source = include_str!("kernels.c").replace("= a[i] + b[i]", "= a[i] - b[i]");
    BundleWriter::new(step_manifest())
        .kernels(compile(&source))
        .constants(&[ones()])
        .write(sample.path())
        .unwrap();
    let new = Program::load(&Bundle::open(sample.path()).unwrap()).unwrap();
    let inputs = [vector(1), vector(1)];
    let first =
        |program: &Program| floats(&program.run(&inputs, &threads(1)).unwrap()[0])[..3].to_vec();
    assert_eq!(first(&new), [0.0, 0.0, 0.0]);
    // 2 · 1/4, 2 · 8/4, 2 · 15/4
    assert_eq!(first(&old), [0.5, 4.0, 7.5]);
}
