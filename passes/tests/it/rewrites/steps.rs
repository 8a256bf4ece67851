//! Whole training steps of JAX: saturated within the limits, they compute the same bits.

use crate::common::{assert_same, import_step, interpret, run, step_inputs};
use tessera_passes::Pipeline;
use tessera_passes::manager::{Observer, PassRun};

/// Saturated with exact rules, the step gives the same bits; with all rules it is a program still.
fn check_step(name: &str) {
    let module = import_step(name);
    let inputs = step_inputs(name, &module);
    let expected = interpret(&module, &inputs);
    for pipeline in [
        "saturate{numerics=exact}",
        "inline,canonicalise,saturate{numerics=exact},decompose,fold-unit-dimensions,canonicalise,drop-barriers,fuse",
    ] {
        let found = run(pipeline, &module);
        assert_same(&interpret(&found, &inputs), &expected);
    }
}

#[test]
fn the_tiny_llama_computes_the_same_bits() {
    check_step("llama_tiny");
}

#[test]
fn the_tiny_mixture_of_experts_computes_the_same_bits() {
    check_step("moe_tiny");
}

#[test]
fn recomputation_stays_apart() {
    check_step("moe_tiny_checkpoint");
}

/// The remarks of a pipeline.
#[derive(Default)]
struct Remarks(Vec<String>);

impl Observer for Remarks {
    fn after_pass(&mut self, run: &PassRun<'_>) {
        let statistics = run.report.statistics();
        eprintln!(
            "{} {} ms {statistics:?}",
            run.name,
            run.duration.as_millis()
        );
        let remarks = run.report.remarks().iter();
        self.0.extend(remarks.map(|remark| remark.message.clone()));
    }
}

#[test]
fn large_steps_are_saturated_within_the_limits() {
    let pipeline: Pipeline = "saturate".parse().unwrap();
    for (name, before) in [
        ("llama", ""),
        ("moe", ""),
        ("llama", ",recipe{name=averis form=plain}"),
        ("moe", ",recipe{name=averis form=plain}"),
    ] {
        let before = format!("inline,canonicalise{before}");
        let module = run(&before, &import_step(name));
        let mut remarks = Remarks::default();
        pipeline.run(&module, &mut remarks).unwrap();
        for remark in remarks.0 {
            eprintln!("{name}: {remark}");
            assert!(!remark.starts_with("stopped"), "{name}: {remark}");
        }
    }
}
