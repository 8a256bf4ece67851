//! Bundles for a GPU, run in the emulator.

use crate::sample::*;
use std::num::NonZeroUsize;
use tempfile::TempDir;
use tessera_numerics::ElementType::{F32, I1, I32};
use tessera_numerics::Tensor;
use tessera_runtime::bundle::{
    BundleWriter, Code, Family, Kernel, Manifest, Place, PtxKernel, Step, Target, Work,
};
use tessera_runtime::{
    Bundle, Device, EmulatorOptions, Instance, Program, RunError, RunOptions, TensorType,
};

pub const KERNELS: &str = include_str!("kernels.ptx");

const ADD: usize = 0;
const SUM: usize = 1;
const INCREMENT: usize = 2;
const LESS: usize = 3;
const EXCHANGE: usize = 4;
/// The first of those that a test puts there.
const OWN: usize = 5;

fn kernel(
    entry: &str,
    operands: &[TensorType],
    result: TensorType,
    ctas: u32,
    threads: u32,
) -> Kernel {
    Kernel {
        name: format!("the_{entry}"),
        family: Family::Loop,
        operands: operands.iter().cloned().map(Into::into).collect(),
        results: vec![result.into()],
        work: Work::default(),
        code: Code::Ptx(PtxKernel {
            entry: entry.to_owned(),
            grid: [ctas, 1, 1],
            block: [threads, 1, 1],
            cluster: [1; 3],
            shared_bytes: if entry.starts_with("sum") { 1024 } else { 0 },
            workspace_bytes: if entry == "exchange" { 1024 } else { 0 },
            tile: None,
            resources: None,
            tensor_maps: Vec::new(),
        }),
    }
}

fn vector_type() -> TensorType {
    ty(F32, [1000])
}

fn row_type() -> TensorType {
    ty(F32, [256])
}

fn integer() -> TensorType {
    ty(I32, [])
}

/// The kernels of `kernels.ptx` that are right, and no inputs, results or steps.
fn manifest() -> Manifest {
    let (vector, row) = (vector_type, row_type);
    Manifest {
        target: Target {
            name: "sm_90a".to_owned(),
            architecture: "nvptx64".to_owned(),
            features: vec!["ptx80".to_owned()],
        },
        kernels: vec![
            kernel("add", &[vector(), vector()], vector(), 8, 128),
            kernel("sum", &[row()], ty(F32, []), 1, 256),
            kernel("increment", &[integer()], integer(), 1, 1),
            kernel("less", &[integer(), integer()], ty(I1, []), 1, 1),
            kernel("exchange", &[row()], row(), 1, 256),
        ],
        ..empty_manifest()
    }
}

/// `state += gradient`, and the `loss`: the sum of the last 256 elements of `state + 1`.
pub fn training_step() -> Manifest {
    let tail = 744 * 4 / 64 * 64;
    Manifest {
        inputs: vec![
            input(Some("state"), vector_type(), Some(0)),
            input(Some("gradient"), vector_type(), None),
        ],
        results: vec![
            output(None, vector_type()),
            output(Some("loss"), ty(F32, [])),
        ],
        buffers: vec![
            buffer(vector_type(), Place::Input(0)),
            buffer(vector_type(), Place::Input(1)),
            buffer(vector_type(), Place::Result(0)),
            buffer(vector_type(), Place::Constant(0)),
            buffer(vector_type(), Place::Arena(64)),
            buffer(row_type(), Place::Arena(64 + tail)),
            buffer(row_type(), Place::Arena(4096)),
            buffer(ty(F32, []), Place::Result(1)),
        ],
        arena_bytes: 8192,
        schedule: vec![
            launch(ADD, [0, 1], [2]),
            launch(ADD, [2, 3], [4]),
            launch(EXCHANGE, [5], [6]),
            launch(SUM, [6], [7]),
        ],
        ..manifest()
    }
}

fn write(manifest: Manifest) -> (Bundle, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("step.tessera");
    BundleWriter::new(manifest)
        .ptx(KERNELS)
        .constants(&[ones()])
        .write(&path)
        .unwrap();
    (Bundle::open(path).unwrap(), folder)
}

fn load(manifest: Manifest, device: &str) -> Result<Program, String> {
    let (bundle, folder) = write(manifest);
    let path = std::fs::canonicalize(folder.path()).unwrap();
    Program::load_on(&bundle, &device.parse::<Device>().unwrap()).map_err(|error| {
        let path = format!("{}/step.tessera/", path.display());
        error.to_string().replace(&path, "")
    })
}

fn instance(manifest: Manifest) -> Instance {
    let program = load(manifest, "emulator").unwrap();
    program.instance(&RunOptions::default()).unwrap()
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor.values::<f32>().unwrap().to_vec()
}

#[test]
fn a_step_is_taken_again_and_again() {
    takes_steps(&mut instance(training_step()));
}

/// Three of [`training_step`].
pub fn takes_steps(instance: &mut Instance) {
    let (state, gradient) = (vector(1), vector(2));
    instance.set_input_named("state", &state).unwrap();
    instance.set_input_named("gradient", &gradient).unwrap();
    for step in 1..=3 {
        instance.step().unwrap();
        // Quarters below 64: all sums are exact.
        let (state, gradient) = (floats(&state), floats(&gradient));
        let expected: Vec<f32> = (state.iter().zip(&gradient))
            .map(|(state, gradient)| state + step as f32 * gradient)
            .collect();
        assert_eq!(floats(&instance.result(0).unwrap()), expected);
        let loss: f32 = expected[736..992].iter().map(|state| state + 1.0).sum();
        assert_eq!(floats(&instance.result(1).unwrap()), [loss]);
    }
    assert_eq!(instance.steps(), 3);
}

#[test]
fn results_depend_neither_on_the_seed_nor_on_threads() {
    let program = load(training_step(), "emulator:sm_90a").unwrap();
    let inputs = [vector(1), vector(2)];
    let results = [(0, true, 1), (7, true, 2), (8, false, 3)].map(|(seed, races, threads)| {
        let options = RunOptions {
            threads: NonZeroUsize::new(threads),
            emulator: EmulatorOptions { seed, races },
            ..RunOptions::default()
        };
        let mut instance = program.instance(&options).unwrap();
        assert_eq!(instance.threads(), threads);
        instance.set_inputs(&inputs).unwrap();
        instance.step().unwrap();
        instance.results().unwrap()
    });
    assert!(results.iter().all(|other| *other == results[0]));
}

#[test]
fn a_profile_counts_instructions() {
    let program = load(training_step(), "emulator").unwrap();
    let options = RunOptions {
        profile: true,
        ..RunOptions::default()
    };
    let mut instance = program.instance(&options).unwrap();
    instance.set_inputs(&[vector(1), vector(2)]).unwrap();
    instance.step().unwrap();
    let profile = instance.profile().unwrap();
    let add = profile
        .kernels()
        .iter()
        .find(|kernel| kernel.name == "the_add")
        .unwrap();
    assert_eq!(add.launches, 2);
    // 1024 threads take 5 instructions, 24 of them a return, the others 12 more.
    assert_eq!(add.instructions, 2 * (1024 * 5 + 24 + 1000 * 12));
}

/// A loop that counts an input up to another.
pub fn counting() -> Manifest {
    Manifest {
        inputs: vec![
            input(Some("count"), integer(), Some(0)),
            input(Some("limit"), integer(), None),
        ],
        results: vec![output(None, integer())],
        buffers: vec![
            buffer(integer(), Place::Input(0)),
            buffer(integer(), Place::Input(1)),
            buffer(ty(I1, []), Place::Arena(0)),
            buffer(integer(), Place::Arena(64)),
        ],
        arena_bytes: 128,
        schedule: vec![Step::While {
            condition: vec![launch(LESS, [0, 1], [2])],
            predicate: 2,
            body: vec![
                launch(INCREMENT, [0], [3]),
                Step::Copy {
                    source: 3,
                    destination: 0,
                },
            ],
        }],
        ..manifest()
    }
}

#[test]
fn a_loop_goes_on_while_its_predicate_holds() {
    counts(&mut instance(counting()));
}

/// Some of [`counting`].
pub fn counts(instance: &mut Instance) {
    for (count, limit, expected) in [(0, 5, 5), (7, 5, 7), (-3, 0, 0)] {
        instance
            .set_inputs(&[Tensor::scalar(count), Tensor::scalar(limit)])
            .unwrap();
        instance.step().unwrap();
        assert_eq!(instance.result(0).unwrap(), Tensor::scalar(expected));
    }
}

/// A number, to which its index adds: 0, 1 or 2.
pub fn branching() -> Manifest {
    let times = |count: usize| vec![launch(INCREMENT, [1], [1]); count];
    Manifest {
        inputs: vec![
            input(None, integer(), None),
            input(None, integer(), Some(0)),
        ],
        results: vec![output(None, integer())],
        buffers: vec![
            buffer(integer(), Place::Input(0)),
            buffer(integer(), Place::Input(1)),
        ],
        schedule: vec![Step::Case {
            index: 0,
            branches: vec![times(0), times(1), times(2)],
        }],
        ..manifest()
    }
}

#[test]
fn a_case_takes_the_branch_of_its_index_or_the_last() {
    branches(&mut instance(branching()));
}

/// All of [`branching`].
pub fn branches(instance: &mut Instance) {
    for (index, expected) in [(0, 10), (1, 11), (2, 12), (3, 12), (-1, 12)] {
        instance
            .set_inputs(&[Tensor::scalar(index), Tensor::scalar(10)])
            .unwrap();
        instance.step().unwrap();
        assert_eq!(
            instance.result(0).unwrap(),
            Tensor::scalar(expected),
            "index {index}"
        );
    }
}

#[test]
fn a_grid_of_nothing_is_not_launched() {
    let mut manifest = training_step();
    let Code::Ptx(code) = &mut manifest.kernels[ADD].code else {
        unreachable!()
    };
    code.grid = [0, 1, 1];
    manifest.schedule.truncate(1);
    let mut instance = instance(manifest);
    instance.set_inputs(&[vector(1), vector(2)]).unwrap();
    instance.step().unwrap();
    assert_eq!(instance.result(0).unwrap(), vector(1));
}

/// The error of a step of a kernel of its own on `integer` or `vector` operands, in the arena beside other buffers.
#[track_caller]
fn error(own: Kernel, inputs: &[Tensor]) -> RunError {
    let (operands, result) = (own.operands.clone(), own.results[0].clone());
    let tensor = |value: &tessera_runtime::bundle::ValueType| value.as_tensor().unwrap().clone();
    let manifest = manifest();
    let mut kernels = manifest.kernels.clone();
    kernels.push(own);
    let arena = |number: usize| Place::Arena(4096 * number);
    let mut buffers: Vec<_> = (operands.iter().enumerate())
        .flat_map(|(number, operand)| {
            let operand = tensor(operand);
            [
                buffer(operand.clone(), Place::Input(number)),
                buffer(operand, arena(number)),
            ]
        })
        .collect();
    let count = operands.len();
    buffers.push(buffer(tensor(&result), arena(count)));
    buffers.push(buffer(tensor(&result), Place::Result(0)));
    let mut schedule: Vec<Step> = (0..count)
        .map(|number| Step::Copy {
            source: 2 * number,
            destination: 2 * number + 1,
        })
        .collect();
    let operand_buffers: Vec<usize> = (0..count).map(|number| 2 * number + 1).collect();
    // Twice, so that results lie where older ones do.
    schedule.push(launch(OWN, operand_buffers, [2 * count]));
    schedule.push(Step::Copy {
        source: 2 * count,
        destination: 2 * count + 1,
    });
    let mut instance = instance(Manifest {
        inputs: (operands.iter())
            .map(|operand| input(None, tensor(operand), None))
            .collect(),
        results: vec![output(None, tensor(&result))],
        buffers,
        arena_bytes: 4096 * (count + 1),
        kernels,
        schedule,
        ..manifest
    });
    instance.set_inputs(inputs).unwrap();
    let error = instance.step().unwrap_err();
    assert!(instance.result(0).is_err(), "there are no results");
    error
}

/// The line of `kernels.ptx` that this instruction of a kernel stands in.
fn line(entry: &str, instruction: &str) -> usize {
    let lines = KERNELS.lines().enumerate();
    let mut inside = lines.skip_while(|(_, line)| !line.contains(&format!(".entry {entry}(")));
    inside
        .find(|(_, line)| line.contains(instruction))
        .unwrap()
        .0
        + 1
}

#[test]
fn an_access_beyond_a_buffer_is_found_though_the_arena_goes_on() {
    let kernel = kernel(
        "add_beyond",
        &[vector_type(), vector_type()],
        vector_type(),
        8,
        128,
    );
    let error = error(kernel, &[vector(1), vector(2)]).to_string();
    let first = format!(
        "kernel \"the_add_beyond\" on emulator:sm_90a: the emulator found\n  kernels.ptx:{}:5: ",
        line("add_beyond", "ld.global.f32 %f1")
    );
    assert!(error.starts_with(&first), "{error}");
    assert!(
        error.contains("(add_beyond, CTA 7,0,0, warp 3, lane 8)"),
        "{error}"
    );
    assert!(
        error.contains("that is 0 bytes behind the end of operand 0 (tensor<1000xf32>)"),
        "{error}"
    );
}

#[test]
fn a_race_is_found() {
    let kernel = kernel("sum_unordered", &[row_type()], ty(F32, []), 1, 256);
    let values = Tensor::from_values([256], &[1f32; 256]).unwrap();
    let error = error(kernel, &[values]).to_string();
    assert!(
        error.starts_with("kernel \"the_sum_unordered\" on emulator:sm_90a: the emulator found\n"),
        "{error}"
    );
    let lines = [
        line("sum_unordered", "ld.shared.f32 %f2"),
        line("sum_unordered", "st.shared.f32 [%r4], %f2"),
    ];
    assert!(
        lines
            .iter()
            .any(|line| error.contains(&format!("kernels.ptx:{line}:5: "))),
        "{error}"
    );
    assert!(error.contains("nothing orders it behind line"), "{error}");
}

#[test]
fn an_older_value_is_no_value() {
    let kernel = kernel("accumulate", &[integer()], integer(), 1, 1);
    let error = error(kernel, &[Tensor::scalar(1i32)]).to_string();
    assert!(
        error.contains("a value that was never written is"),
        "{error}"
    );
}

#[test]
fn an_operand_stays_what_it_is() {
    let kernel = kernel("forbidden", &[integer()], integer(), 1, 1);
    assert_eq!(
        error(kernel, &[Tensor::scalar(1i32)]).to_string(),
        "kernel \"the_forbidden\" on emulator:sm_90a: it changed byte 0 of operand 0 (tensor<i32>), which is no result"
    );
}

#[test]
fn a_result_that_nobody_writes_is_none() {
    let mut manifest = training_step();
    manifest.schedule.truncate(1);
    let mut instance = instance(manifest);
    instance.set_inputs(&[vector(1), vector(2)]).unwrap();
    instance.step().unwrap();
    instance.result(0).unwrap();
    assert_eq!(
        instance.result(1).unwrap_err().to_string(),
        "emulator:sm_90a: result 1 (\"loss\"): byte 0 of 4 was never written"
    );
}

#[test]
fn a_predicate_that_nobody_writes_decides_nothing() {
    let mut manifest = counting();
    let Step::While { condition, .. } = &mut manifest.schedule[0] else {
        unreachable!()
    };
    condition.clear();
    let mut instance = instance(manifest);
    instance
        .set_inputs(&[Tensor::scalar(1i32), Tensor::scalar(2i32)])
        .unwrap();
    assert_eq!(
        instance.step().unwrap_err().to_string(),
        "emulator:sm_90a: the step: the predicate of a loop: byte 0 of 1 was never written"
    );
}

#[test]
fn a_failed_step_takes_the_donated_inputs_along() {
    let mut manifest = training_step();
    manifest.kernels.push(kernel(
        "add_beyond",
        &[vector_type(), vector_type()],
        vector_type(),
        8,
        128,
    ));
    manifest.schedule.push(launch(OWN, [2, 3], [4]));
    let mut instance = instance(manifest);
    instance.set_inputs(&[vector(1), vector(2)]).unwrap();
    instance.step().unwrap_err();
    assert_eq!(
        instance.step().unwrap_err().to_string(),
        "missing input 0 (\"state\") of type tensor<1000xf32>"
    );
}

#[test]
fn arguments_that_a_kernel_does_not_take() {
    let mut own = kernel("increment", &[integer(), integer()], integer(), 1, 1);
    own.name = "wrong".to_owned();
    assert_eq!(
        error(own, &[Tensor::scalar(1i32), Tensor::scalar(1i32)]).to_string(),
        "kernel \"wrong\" on emulator:sm_90a: increment: expected arguments of [8, 8] bytes, found [8, 8, 8]"
    );
}

#[test]
fn code_for_another_gpu_is_refused() {
    assert_eq!(
        load(training_step(), "emulator:sm_120a").unwrap_err(),
        "manifest.json: made for sm_90a, which emulator:sm_120a does not run; \
         expected the device emulator:sm_90a, or cuda:N where GPU N is one"
    );
    let mut plain = training_step();
    plain.target.name = "sm_80".to_owned();
    load(plain, "emulator:sm_120a").expect("later GPUs run code of a plain architecture");
}

#[test]
fn code_for_a_cpu_is_refused() {
    let sample = Sample::write(step_manifest());
    let bundle = Bundle::open(sample.path()).unwrap();
    let error = Program::load_on(&bundle, &Device::Emulator(None)).unwrap_err();
    let (_, message) = error
        .to_string()
        .split_once("manifest.json: ")
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    assert_eq!(
        message,
        "made for cpu, which emulator does not run; expected the device cpu"
    );
}

#[test]
fn a_kernel_that_the_text_lacks() {
    let mut manifest = manifest();
    manifest
        .kernels
        .push(kernel("divide", &[integer()], integer(), 1, 1));
    assert_eq!(
        load(manifest, "emulator").unwrap_err(),
        "kernels.ptx: kernel \"the_divide\" needs the function \"divide\", which the file lacks"
    );
}

#[test]
fn a_text_that_is_no_ptx() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("step.tessera");
    let manifest = Manifest {
        kernels: Vec::new(),
        ..manifest()
    };
    BundleWriter::new(manifest)
        .ptx(".version 8.0\n.target sm_90a\n.entri f()")
        .write(&path)
        .unwrap();
    let error = Program::load_on(&Bundle::open(path).unwrap(), &Device::Emulator(None))
        .unwrap_err()
        .to_string();
    assert!(error.contains("kernels.ptx:3:"), "{error}");
}

#[test]
fn too_much_memory_is_an_error() {
    let mut manifest = training_step();
    manifest.arena_bytes = isize::MAX as usize - 63;
    let program = load(manifest, "emulator").unwrap();
    assert_eq!(
        program
            .instance(&RunOptions::default())
            .err()
            .unwrap()
            .to_string(),
        "cannot allocate 9223372036854775744 bytes for the arena on emulator:sm_90a"
    );
}
