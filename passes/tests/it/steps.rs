//! The tiny Llama's and the tiny mixture of experts' training steps: fused and planned, they compute the same bits.

use crate::common::{assert_same, import_step, step_inputs};
use std::time::Duration;
use tessera_passes::manager::{Observer, PassRun};
use tessera_passes::{PlanOptions, default_pipeline, plan, plan::evaluate::evaluate};

#[derive(Default)]
struct Times(Duration);

impl Observer for Times {
    fn after_pass(&mut self, run: &PassRun<'_>) {
        let ops: usize = run
            .module
            .graphs()
            .map(|graph| graph.operations().len())
            .sum();
        eprintln!(
            "{:22} {:5} ms, verified in {:3} ms, {ops} ops {:?} {:?}",
            run.name,
            run.duration.as_millis(),
            run.verification.as_millis(),
            run.report.statistics(),
            run.report.remarks(),
        );
        self.0 += run.duration;
    }
}

fn check_step(name: &str) {
    let module = import_step(name);
    let inputs = step_inputs(name, &module);
    let expected =
        tessera_interpreter::evaluate(&module, module.entry().unwrap(), &inputs).unwrap();
    let fused = default_pipeline()
        .run(&module, &mut Times::default())
        .unwrap_or_else(|error| panic!("{error}"));
    let found = tessera_interpreter::evaluate(&fused, fused.entry().unwrap(), &inputs).unwrap();
    assert_same(&found, &expected);
    for in_place in [true, false] {
        let plan = plan(&fused, PlanOptions { in_place }).unwrap_or_else(|error| panic!("{error}"));
        eprintln!(
            "{} kernels, {} steps, {} buffers, arena {}",
            plan.kernels.len(),
            plan.schedule.len(),
            plan.buffers.len(),
            plan.arena_bytes
        );
        assert_same(&evaluate(&plan, &inputs).unwrap(), &expected);
    }
}

#[test]
fn the_plan_of_the_tiny_llama_computes_its_step() {
    check_step("llama_tiny");
}

#[test]
fn the_plan_of_the_tiny_mixture_of_experts_computes_its_step() {
    check_step("moe_tiny");
}
