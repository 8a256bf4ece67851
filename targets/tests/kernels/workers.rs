//! Kernels compiled by other processes: what becomes of one that dies, or is no worker. The workers here are shell
//! scripts.

use crate::harness::{Case, Random, plan_of};
use tessera_ir::ElementType;
use tessera_ir::plan::{Family, Plan};
use tessera_targets::{
    CodeStage, CodegenError, Options, Target, WorkerCommand, compile, compile_reproducer, emit,
};

/// Two kernels; the result of the second lies in place of its operand.
fn plan() -> Plan {
    let case = |body: &str| {
        let input = Random(1).tensor(ElementType::F32, &[4]);
        Case::new(Family::Loop, body, vec![input])
    };
    plan_of(&[
        case(
            "func.func @twice(%x: tensor<4xf32>) -> tensor<4xf32> {
               %0 = tsr.add %x, %x : tensor<4xf32>
               return %0 : tensor<4xf32>
             }",
        ),
        case(
            "func.func @square(%x: tensor<4xf32>) -> tensor<4xf32> {
               %0 = tsr.multiply %x, %x : tensor<4xf32>
               return %0 : tensor<4xf32>
             }",
        )
        .in_place(0, 0),
    ])
}

fn target() -> Target {
    "cpu:x86-64-v3".parse().unwrap()
}

fn options(script: &str, threads: usize) -> Options {
    Options {
        threads,
        worker: Some(WorkerCommand {
            program: "sh".into(),
            arguments: vec!["-c".into(), script.into()],
        }),
        ..Options::default()
    }
}

fn error(plan: &Plan, options: &Options) -> CodegenError {
    compile(plan, &target(), options).err().unwrap()
}

#[test]
fn an_abort_names_the_kernel_and_leaves_a_reproducer() {
    let script = "head -c 1 >/dev/null; echo 'LLVM ERROR: Cannot select: t1' >&2; kill -ABRT $$";
    let plan = plan();
    for threads in [1, 2] {
        let CodegenError::Kernel {
            kernel,
            message,
            reproducer,
        } = error(&plan, &options(script, threads))
        else {
            panic!("another error");
        };
        // The first in the plan's order, whichever died first.
        assert_eq!(kernel, "k0_twice");
        assert!(
            message.starts_with("the process that compiled it ended with signal: 6 (SIGABRT)")
                && message.ends_with(": LLVM ERROR: Cannot select: t1"),
            "{message}"
        );
        // It is the kernel, wanted as the bundle wants it.
        let code = emit(&plan, &target(), CodeStage::Object, &Options::default()).unwrap();
        assert_eq!(code[0].0, "k0_twice");
        assert!(compile_reproducer(&reproducer).unwrap() == code[0].1);
    }
}

#[test]
fn a_reproducer_overlaps_memory_as_the_plan_does() {
    let mut plan = plan();
    plan.schedule.remove(0);
    let CodegenError::Kernel { reproducer, .. } = error(&plan, &options("kill -SEGV $$", 1)) else {
        panic!("another error");
    };
    let code = emit(&plan, &target(), CodeStage::Object, &Options::default()).unwrap();
    assert_eq!(code[0].0, "k1_square_result0_over_operand0");
    assert!(compile_reproducer(&reproducer).unwrap() == code[0].1);
}

#[test]
fn an_exit_is_a_death_as_well() {
    let script = "head -c 1 >/dev/null; echo 'LLVM ERROR: out of registers' >&2; exit 1";
    let error = error(&plan(), &options(script, 1));
    assert_eq!(
        error.to_string(),
        "kernel 'k0_twice' cannot be compiled: the process that compiled it ended with exit status: 1: \
         LLVM ERROR: out of registers"
    );
}

#[test]
fn only_the_last_lines_of_a_long_message_are_shown() {
    let script = "seq 1 1000 >&2; exit 1";
    let message = error(&plan(), &options(script, 1)).to_string();
    let lines: Vec<&str> = message.lines().collect();
    assert_eq!(lines.len(), 20);
    assert!(lines[0].ends_with(": 981"), "{message}");
    assert_eq!(lines[19], "1000");
}

#[test]
fn stages_are_compiled_by_workers_too() {
    let options = options("kill -ABRT $$", 1);
    let error = emit(&plan(), &target(), CodeStage::Assembly, &options).unwrap_err();
    assert!(matches!(error, CodegenError::Kernel { .. }), "{error}");
}

#[test]
fn another_program_is_no_worker() {
    // The second one writes for ever and reads nothing.
    for script in ["echo hello; exec sleep 100", "exec yes"] {
        let error = error(&plan(), &options(script, 2));
        assert_eq!(
            error.to_string(),
            "sh does not compile kernels: its answer is not a worker's"
        );
    }
}

#[test]
fn a_worker_that_does_not_exist_is_named() {
    let mut options = options("", 2);
    options.worker.as_mut().unwrap().program = "no/such/program".into();
    let error = error(&plan(), &options);
    assert_eq!(
        error.to_string(),
        "no/such/program does not compile kernels: it cannot be started: No such file or directory (os error 2)"
    );
}
