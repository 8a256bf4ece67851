//! The graphs that come out, and what is said of them.

use super::*;
use crate::common::{body, run};
use insta::assert_snapshot;
use tessera_ir::OpKind;

fn step() -> Module {
    two_linears(32, [48, 32, 16])
}

#[test]
fn nvfp4_of_two_linears() {
    let expansion = expanded(&step(), &recipe("extends = \"nvfp4\""), Form::Factored);
    let module = run("canonicalise", &expansion.module);
    assert_snapshot!(body(&module).join("\n"));
}

#[test]
fn averis_of_two_linears() {
    let expansion = expanded(&step(), &recipe("extends = \"averis\""), Form::Factored);
    let module = run("canonicalise", &expansion.module);
    assert_snapshot!(body(&module).join("\n"));
}

fn count(module: &Module, is_counted: impl Fn(&OpKind) -> bool) -> usize {
    let operations = module.entry().unwrap().operations().iter();
    operations
        .filter(|operation| is_counted(&operation.op.kind))
        .count()
}

#[test]
fn an_operand_is_quantised_once_for_each_direction() {
    let module = expanded(&step(), &recipe("extends = \"nvfp4\""), Form::Factored).module;
    let quantised = count(&module, |kind| matches!(kind, OpKind::Quantize { .. }));
    // X: m, l; W₁: m; H: m, l; W₂: m, n; Y: n, l; dH: l.
    assert_eq!(quantised, 10);
    // One largest magnitude for both directions of X, H, W₂ and Y, and those of W₁ and dH.
    let reductions = count(&module, |kind| matches!(kind, OpKind::Reduce { .. }));
    assert_eq!(reductions, 6);
    let merged = run("canonicalise", &module);
    let left = count(&merged, |kind| matches!(kind, OpKind::Quantize { .. }));
    assert_eq!(left, quantised, "nothing was written twice");
}

#[test]
fn bf16_products_are_summed_in_f32() {
    let module = expanded(&step(), &recipe("extends = \"bf16\""), Form::Factored).module;
    let products = count(&module, |kind| {
        let f32 = ElementType::F32;
        matches!(kind, OpKind::DotGeneral { accumulator, element, .. } if (*accumulator, *element) == (f32, f32))
    });
    assert_eq!(products, 5);
    let converted = count(&module, |kind| matches!(kind, OpKind::Convert { .. }));
    // W₁, W₂, X, H, Y, dH.
    assert_eq!(converted, 6);
}

#[test]
fn each_product_has_a_line() {
    let text = "extends = \"averis-hadamard\"\n[[override]]\nnames = [\"w2\"]\nkeep = \"bf16\"";
    let expansion = expanded(&step(), &recipe(text), Form::Factored);
    let lines: Vec<String> = expansion
        .rows
        .iter()
        .map(|row| format!("{}: {}", row.row, row.outcome))
        .collect();
    assert_eq!(
        lines,
        [
            "w1: forward 32×48×32: activation: mean bf16 + nvfp4; weight: nvfp4",
            "w1: wgrad 32×48×32: activation: mean bf16 + nvfp4; gradient: nvfp4 stochastic; hadamard 16 (fixed signs)",
            "w2: forward 32×32×16: bf16: the override for 'w2' keeps it",
            "w2: dgrad 32×32×16: bf16: the override for 'w2' keeps it",
            "w2: wgrad 32×32×16: bf16: the override for 'w2' keeps it",
        ]
    );
}

#[test]
fn a_pipeline_names_the_recipe() {
    let text = "recipe{name=averis form=plain}";
    let pipeline: tessera_passes::Pipeline = text.parse().unwrap();
    assert_eq!(pipeline.to_string(), text);
}

/// What is said of a pipeline that names that recipe.
fn refusal(name: &str) -> String {
    let text = format!("recipe{{name={name}}}");
    let error = text.parse::<tessera_passes::Pipeline>().unwrap_err();
    error.to_string()
}

#[test]
fn a_recipe_that_there_is_not() {
    let error = refusal("avris");
    let expected = "option 'name': unknown recipe 'avris', did you mean 'averis'?; expected a TOML file, FILE.toml, \
                    or one of bf16, ";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn a_file_that_is_no_recipe() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.toml");
    let path = path.to_str().unwrap();
    let error = refusal(path);
    let expected = format!("option 'name': {path}: No such file");
    assert!(error.starts_with(&expected), "{error}");
    std::fs::write(path, "extends = \"nvfp4\"\nseeds = 3\n").unwrap();
    let error = refusal(path);
    let expected = format!("option 'name': {path}:2:1: a recipe has no key 'seeds'");
    assert!(error.starts_with(&expected), "{error}");
}

/// The notes of a recipe for a step, as they are shown.
fn notes(module: &Module, text: &str) -> Vec<String> {
    let recipe = Recipe::parse(text, "test").unwrap_or_else(|e| panic!("{e}"));
    let expansion = expanded(module, &recipe, Form::Factored);
    expansion.notes.iter().map(ToString::to_string).collect()
}

#[test]
fn patterns_that_fit_no_linear_are_noted() {
    let text = "extends = \"nvfp4\"\n[keep]\nnames = [\"*lm_head*\", \"w3\"]\n\
                [[override]]\nnames = [\"w2\", \"head\"]\nkeep = \"bf16\"\n";
    let names = "names are those that JAX's as_text(debug_info=True) gives, or arg0, arg1, …";
    assert_eq!(
        notes(&step(), text),
        [
            format!("[keep] names: 'w3' fits no linear; {names}"),
            format!("[[override]] names: 'head' fits no linear; {names}"),
        ]
    );
    assert_eq!(
        notes(
            &step(),
            "extends = \"nvfp4\"\n[keep]\nfirst_blocks = 1\nlast_blocks = 1\n"
        ),
        [format!(
            "[keep] first_blocks, last_blocks: no linear's name tells its block; {names}"
        )]
    );
    assert!(notes(&step(), "extends = \"nvfp4\"\n").is_empty());
}

#[test]
fn a_part_of_what_is_multiplied_as_one_cannot_be_named() {
    let override_of = |name: &str| {
        format!("extends = \"nvfp4\"\n[[override]]\nnames = [\"{name}\"]\nkeep = \"bf16\"\n")
    };
    let module = run(
        "inline,canonicalise",
        &super::state::small_step("gathered_experts"),
    );
    let named = Recipe::parse(&override_of("*[2]"), "test").unwrap();
    assert_eq!(
        expand(&module, &named, Form::Factored)
            .unwrap_err()
            .to_string(),
        "[[override]] names: '*[2]' names expert 2 of 6 of state['experts'], which cannot be treated apart: its products \
         are no batches of experts along one dimension"
    );
}

#[test]
fn layers_and_experts_of_groups_can_be_named() {
    let module = run(
        "inline,canonicalise",
        &crate::common::import_step("moe_ragged_tiny"),
    );
    let override_of = |name: &str| {
        format!("extends = \"nvfp4\"\n[[override]]\nnames = [\"{name}\"]\nkeep = \"bf16\"\n")
    };
    let linears = tessera_passes::linears::find(&module).unwrap();
    let mut products = linears.products.iter();
    let grouped = products.find(|own| own.dimensions.is_grouped).unwrap();
    let name = &linears.linear(grouped.linear).name;
    for named in [
        format!("{name}[1]"),
        format!("{name}[1][3]"),
        "*[1]".to_owned(),
    ] {
        assert!(notes(&module, &override_of(&named)).is_empty(), "{named}");
    }
    // There is no layer 2 of 2, and no expert 4 of 4: nothing fits, which is a note.
    let none = override_of(&format!("{name}[2][4]"));
    assert_eq!(notes(&module, &none).len(), 1);
}

#[test]
fn a_recipe_that_quantises_nothing_is_noted() {
    assert_eq!(
        notes(
            &step(),
            "extends = \"nvfp4\"\n[keep]\nsmallest_dimension = 4096\n"
        ),
        [
            "nothing is quantised: all 5 products of linears stay in high precision; 'recipe explain' says why"
        ]
    );
    let untrained = crate::common::module(
        "func.func public @main(%arg0: t<2x3xf32>) -> t<2x2xf32> {
           %0 = tsr.dot_general %arg0, %arg0 {lhs_batching_dimensions = [], rhs_batching_dimensions = [], lhs_contracting_dimensions = [1], rhs_contracting_dimensions = [1], accumulator = f32} : (t<2x3xf32>, t<2x3xf32>) -> t<2x2xf32>
           return %0 : t<2x2xf32>
         }",
    );
    assert_eq!(
        notes(&untrained, "extends = \"nvfp4\"\n"),
        ["nothing is quantised: the step has no linear, a product of activations by a weight"]
    );
    // What quantises nothing anywhere has nothing to say.
    assert!(notes(&untrained, "extends = \"bf16\"\n").is_empty());
}

#[test]
fn layers_in_a_loop_are_blocks() {
    let module = run(
        "inline,canonicalise",
        &crate::common::import_step("moe_tiny"),
    );
    assert!(notes(&module, "extends = \"nvidia\"\n").is_empty());
}
