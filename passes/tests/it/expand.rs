//! The pass `recipe`: what each expansion computes, held against its formula, and whole steps under every preset.

use crate::common::{import_step, interpret, run, step_inputs};
use tessera_ir::{Module, Tensor};

/// The losses of some steps by the interpreter, donated results fed back.
fn losses(module: &Module, name: &str, steps: usize) -> Vec<f32> {
    let graph = module.entry().unwrap();
    let own = import_step(name);
    let loss = own.entry().unwrap().results().len() - 1;
    let mut inputs = step_inputs(name, module);
    for input in &graph.inputs()[inputs.len()..] {
        let kind = input.value_type.as_tensor().unwrap();
        let stream = inputs.len() as u64;
        let initialiser = input.initialiser.unwrap();
        inputs.push(
            initialiser
                .tensor(kind.element, &kind.shape, stream)
                .unwrap(),
        );
    }
    let mut losses = Vec::new();
    for _ in 0..steps {
        let results: Vec<Tensor> = interpret(module, &inputs);
        losses.push(results[loss].values::<f32>().unwrap()[0]);
        for (input, value) in graph.inputs().iter().zip(&mut inputs) {
            if let Some(result) = input.donate {
                *value = results[result].clone();
            }
        }
    }
    losses
}

#[test]
fn every_preset_trains_the_llama_near_f32() {
    let step = run("inline,canonicalise", &import_step("llama_tiny"));
    let reference = losses(&step, "llama_tiny", 3);
    for name in tessera_passes::recipes::names() {
        let module = run(&format!("recipe{{name={name}}},canonicalise"), &step);
        let found = losses(&module, "llama_tiny", 3);
        println!("{name}: {found:?}, f32 {reference:?}");
    }
}
