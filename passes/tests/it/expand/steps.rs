//! Whole steps under the presets.

use super::*;
use crate::common::{import_step, run, step_inputs};
use std::fs;
use std::path::Path;
use tessera_numerics::Initialiser;

/// The losses of some steps, which are the last of the step's own results.
fn losses(module: &Module, name: &str, steps: usize) -> Vec<f32> {
    let loss = import_step(name).entry().unwrap().results().len() - 1;
    let own = step_inputs(name, module);
    let mut inputs = begun(module, &own);
    let mut losses = Vec::new();
    for _ in 0..steps {
        let results = interpret(module, &inputs);
        losses.push(results[loss].values::<f32>().unwrap()[0]);
        fed_back(module, &mut inputs, &results);
    }
    losses
}

/// Three steps gain 0.25. Roundings of 4 bits err by some percent in each product, and what is left of that in the loss is
/// far less than what is gained.
#[track_caller]
fn assert_trains(step: &str, presets: &[&str], distance: f32) {
    let module = run("inline,canonicalise", &import_step(step));
    let reference = losses(&module, step, 3);
    for name in presets {
        let own = run(&format!("recipe{{name={name}}},canonicalise"), &module);
        let found = losses(&own, step, 3);
        assert_ne!(found, reference, "{name} rounds nothing");
        for (found, expected) in found.iter().zip(&reference) {
            let difference = (found - expected).abs();
            assert!(difference < distance, "{name}: {found}, f32 {expected}");
        }
    }
}

#[test]
fn every_preset_trains_the_llama_near_f32() {
    let presets: Vec<&str> = tessera_passes::recipes::names().collect();
    assert_trains("llama_tiny", &presets, 0.06);
}

#[test]
fn bf16_trains_the_llama_at_bf16s_distance() {
    // Losses of 4 are made of sums of products with an error of 2⁻⁹ each, of either sign.
    assert_trains("llama_tiny", &["bf16"], 4.0 / 512.0);
}

#[test]
fn layers_in_loops_train_near_f32() {
    let presets = [
        "nvfp4",
        "nvidia",
        "quartet2",
        "averis",
        "averis-gated",
        "metis",
    ];
    assert_trains("moe_tiny", &presets, 0.06);
    assert_trains("moe_tiny_checkpoint", &["nvidia", "averis", "metis"], 0.06);
}

#[test]
fn recomputation_changes_no_random_signs() {
    let of = |step: &str| {
        let module = run("inline,canonicalise", &import_step(step));
        let own = run("recipe{name=quartet2},canonicalise", &module);
        losses(&own, step, 3)
    };
    let (kept, computed_again) = (of("moe_tiny"), of("moe_tiny_checkpoint"));
    for (a, b) in kept.iter().zip(&computed_again) {
        // The two lower sums in another order; other signs move the third loss by a thousandth.
        assert!((a - b).abs() < 1e-5 * a, "{kept:?}, {computed_again:?}");
    }
}

#[test]
fn grouped_experts_train_near_f32() {
    assert_trains(
        "moe_ragged_tiny",
        &["nvfp4", "nvidia", "averis", "metis"],
        0.06,
    );
}

/// Numbers for a step's inputs: small ones, and indices that are 0 or 1.
fn some_inputs(module: &Module) -> Vec<Tensor> {
    let inputs = module.entry().unwrap().inputs().iter().zip(0..);
    let tensors = inputs.map(|(input, stream)| {
        let kind = input.value_type.as_tensor().unwrap();
        let text = if kind.element.is_float() {
            "normal(std=0.5)"
        } else {
            "uniform(0, 2)"
        };
        let initialiser: Initialiser = text.parse().unwrap();
        initialiser
            .tensor(kind.element, &kind.shape, stream)
            .unwrap()
    });
    tensors.collect()
}

/// Transposed and concatenated parameters, batched and ragged experts, branches, loops, recomputation, bf16: each product
/// finds its form, whatever the recipe, and has the type that it had.
#[test]
fn every_small_step_can_be_expanded_and_run() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/linears");
    let recipes = [
        "extends = \"nvidia\"\n[keep]\nfirst_fraction = 0.0\nlast_fraction = 0.0",
        "extends = \"averis-metis\"\n[gradient]\nmean = { gate = true }\n[activation]\nmean = { gate = true }",
        "extends = \"quartet2\"",
    ];
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    for file in files
        .iter()
        .filter(|file| file.extension().is_some_and(|e| e == "mlir"))
    {
        let source = fs::read_to_string(file).unwrap();
        let module = tessera_import::import(&source, "step.mlir").unwrap();
        let module = run("inline,canonicalise", &module);
        let own = some_inputs(&module);
        for text in recipes {
            let text = match text.contains("[keep]") {
                true => format!("{text}\nlast_linears = 0\nsmallest_dimension = 0\nnames = []"),
                false => {
                    format!("{text}\n[keep]\nlast_linears = 0\nsmallest_dimension = 0\nnames = []")
                }
            };
            let recipe = Recipe::parse(&text, "test").unwrap_or_else(|e| panic!("{e}"));
            for form in [Form::Factored, Form::Plain] {
                let expansion = expanded(&module, &recipe, form);
                let results = first_step(&expansion.module, &own);
                let types = module.entry().unwrap().result_types();
                for (result, kind) in results.iter().zip(types) {
                    assert_eq!(*kind, TensorType::of(result), "{}", file.display());
                }
            }
        }
    }
}
