//! Whole training steps of JAX: saturated within the limits, they compute the same bits.

use crate::common::{assert_same, import_step, interpret, run, step_inputs};

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

#[test]
fn large_steps_stay_within_the_limits() {
    for name in ["llama", "moe"] {
        let before = run("inline,canonicalise", &import_step(name));
        let after = run("saturate", &before);
        let ops = |module: &tessera_ir::Module| module.entry().unwrap().operations().len();
        assert!(ops(&after) > 0);
        assert!(ops(&after) <= ops(&before), "{name}");
    }
}
