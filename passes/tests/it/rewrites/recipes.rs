//! Saturation of a whole step that the pass `recipe` has expanded with every formula written out.

use super::{count, count_named, launches};
use crate::common::{assert_same, import_step, interpret, run, step_inputs};
use std::fmt::Write;
use tessera_ir::{Module, OpKind, Tensor};
use tessera_passes::rewrites::{CostModel, CpuCosts};

/// The tiny Llama's step under a recipe.
fn expanded(recipe: &str, form: &str) -> Module {
    let pipeline = format!("inline,canonicalise,recipe{{name={recipe} form={form}}}");
    run(&pipeline, &import_step("llama_tiny"))
}

/// Inputs of the step, the recipe's own state as its initialisers say.
fn inputs(module: &Module) -> Vec<Tensor> {
    let mut inputs = step_inputs("llama_tiny", module);
    let own = &module.entry().unwrap().inputs()[inputs.len()..];
    for (input, stream) in own.iter().zip(1000..) {
        let tensor = input.value_type.as_tensor().unwrap();
        let initialiser = input.initialiser.unwrap();
        let value = initialiser.tensor(tensor.element, &tensor.shape, stream);
        inputs.push(value.unwrap());
    }
    inputs
}

#[test]
fn exact_rules_keep_all_bits_of_a_quantised_step() {
    for recipe in ["nvidia", "averis"] {
        let before = expanded(recipe, "plain");
        let after = run("saturate{numerics=exact}", &before);
        let inputs = inputs(&before);
        assert_same(&interpret(&after, &inputs), &interpret(&before, &inputs));
    }
}

#[test]
fn no_product_of_repeated_means_is_left() {
    let after = run("saturate", &expanded("averis", "plain"));
    let graph = after.entry().unwrap();
    for operation in graph.operations() {
        if let OpKind::DotGeneral { .. } = operation.op.kind {
            for &operand in &operation.op.operands {
                let definition = graph.defining_operation(operand);
                let is_broadcast =
                    definition.is_some_and(|d| matches!(d.op.kind, OpKind::BroadcastInDim { .. }));
                assert!(!is_broadcast, "{operation:?}");
            }
        }
    }
}

/// The step of each recipe: written out, after saturation, and as the pass `recipe` factors it by itself.
#[test]
fn what_it_saves_of_a_step() {
    let mut table = String::new();
    for recipe in ["nvfp4", "averis", "metis"] {
        writeln!(table, "{recipe}").unwrap();
        for (name, form, pipeline) in [
            ("plain", "plain", "canonicalise"),
            ("plain, saturated", "plain", "saturate,canonicalise"),
            ("factored", "factored", "canonicalise"),
            ("factored, saturated", "factored", "saturate,canonicalise"),
        ] {
            let module = run(pipeline, &expanded(recipe, form));
            let cost = CpuCosts.graph(module.entry().unwrap());
            let ops = count(&module, |_| true);
            let launches = launches(&module);
            let [means, quantisations, products] =
                ["column_mean", "quantize", "dot_general"].map(|name| count_named(&module, name));
            writeln!(
                table,
                "  {name}: {ops} ops, {launches} kernels started, {means} means, {quantisations} quantisations, {products} dense products; estimated: {cost}, {} us",
                CpuCosts.time(&cost) / 1_000_000
            )
            .unwrap();
        }
    }
    insta::assert_snapshot!("steps", table);
}
