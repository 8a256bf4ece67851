//! Whole training steps: the tiny Llama and the tiny mixture of experts, forward, backward and optimizer in one graph.

use super::{fixtures, floats, numbered, roundings};
use safetensors::SafeTensors;
use std::collections::BTreeMap;
use tessera_import::import;
use tessera_interpreter::evaluate;
use tessera_ir::{Graph, Module, Tensor};
use tessera_numerics::Initialiser;

#[test]
fn llama() {
    check("llama_tiny");
}

#[test]
fn mixture_of_experts() {
    check("moe_tiny");
}

#[test]
fn mixture_of_experts_with_checkpointing() {
    check("moe_tiny_checkpoint");
}

#[test]
fn mixture_of_experts_with_grouped_products() {
    check("moe_ragged_tiny");
}

fn check(name: &str) {
    let read = |file: &str| {
        std::fs::read_to_string(fixtures().join("steps").join(name).join(file)).unwrap()
    };
    let module = import(&read("step.mlir"), "step.mlir").unwrap();
    let graph = module.entry().unwrap();
    let losses = read("losses.jsonl");
    let losses: Vec<BTreeMap<String, f64>> = losses
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(losses.len(), 20);

    let mut inputs = initial(graph, &read("inputs.toml"));
    for (step, expected) in losses.iter().enumerate() {
        let results = evaluate(&module, graph, &inputs).unwrap();
        if step == 0 {
            check_gradients(name, &module, graph, &results);
        }
        // The loss stands under its result's name beside the number of the step.
        let label = format!("result{}", results.len() - 1);
        let (found, expected) = (floats(&results[results.len() - 1])[0], expected[&label]);
        // What the project promises. Errors neither vanish nor explode over these few steps.
        let close = (found - expected).abs() <= 1e-4 * expected;
        assert!(close, "step {step}: expected {expected}, found {found}");
        for (number, input) in graph.inputs().iter().enumerate() {
            if let Some(result) = input.donate {
                inputs[number] = results[result].clone();
            }
        }
    }
}

fn initial(graph: &Graph, specs: &str) -> Vec<Tensor> {
    let specs: BTreeMap<String, String> = toml::from_str(specs).unwrap();
    let input = |(number, input): (usize, &tessera_ir::Input)| {
        let spec: Initialiser = specs[&format!("arg{number}")].parse().unwrap();
        let tensor_type = input
            .value_type
            .as_tensor()
            .expect("a program takes tensors");
        spec.tensor(tensor_type.element, &tensor_type.shape, number as u64)
            .unwrap()
    };
    graph.inputs().iter().enumerate().map(input).collect()
}

/// The optimizer's first moments after one step are the gradients but for a factor, the second their squares. The
/// parameters themselves are left to the losses of the steps after: Adam divides a gradient by its own size, so one
/// that is nearly zero moves its parameter by an arbitrary part of the learning rate.
fn check_gradients(name: &str, module: &Module, graph: &Graph, results: &[Tensor]) {
    let file = std::fs::read(
        fixtures()
            .join("steps")
            .join(name)
            .join("expected.safetensors"),
    )
    .unwrap();
    let expected = numbered(&SafeTensors::deserialize(&file).unwrap(), "result");
    assert_eq!(results.len(), expected.len());
    let bound =
        roundings::coarsest(module, graph) * roundings::on_longest_path(module, graph) as f64;
    let mut moments = 0;
    for ((result, found), expected) in graph.results().iter().zip(results).zip(&expected) {
        let label = result.name.as_deref().unwrap_or_default();
        if !found.element().is_float() {
            assert_eq!(found.bytes(), expected.bytes(), "{label}");
        } else if label.contains(".mu") || label.contains(".nu") {
            moments += 1;
            let (found, expected) = (floats(found), floats(expected));
            assert_eq!(found.len(), expected.len(), "{label}");
            let largest = expected
                .iter()
                .fold(0.0, |largest: f64, x| largest.max(x.abs()));
            for (found, expected) in found.iter().zip(&expected) {
                let close = (found - expected).abs() <= bound * largest;
                assert!(
                    close,
                    "{label}: expected {expected} ± {}, found {found}",
                    bound * largest
                );
            }
        }
    }
    assert!(moments > 20, "only {moments} moments");
}
