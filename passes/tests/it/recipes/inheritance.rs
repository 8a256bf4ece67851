//! Which of several sayings counts.

use super::{format, operand, preset, recipe, scaling};
use tessera_numerics::{BlockShape, Format, Rounding};
use tessera_passes::linears::Role::{Dgrad, Forward, Wgrad};
use tessera_passes::linears::Side::{Activation, Gradient, Weight};
use tessera_passes::recipes::{HighPrecision, OperandPrecision, Recipe};

#[test]
fn a_file_of_three_lines() {
    let recipe = recipe("extends = \"nvfp4\"\n[weight]\nblocks = \"square\"\n");
    assert_eq!(
        scaling(&recipe, Forward, Weight).blocks(),
        BlockShape::Square
    );
    assert_eq!(scaling(&recipe, Dgrad, Weight).blocks(), BlockShape::Square);
    assert_eq!(
        scaling(&recipe, Forward, Activation).blocks(),
        BlockShape::Vector
    );
    assert_eq!(
        scaling(&recipe, Dgrad, Gradient).rounding(),
        Rounding::Stochastic
    );
    assert_eq!(recipe.keep(), preset("nvfp4").unwrap().keep());
    assert_eq!(recipe.name(), "test");
    assert_eq!(recipe.summary(), "");
}

#[test]
fn an_empty_file_is_bf16() {
    let empty = recipe("");
    assert_eq!(empty.products(), preset("bf16").unwrap().products());
    assert_eq!(empty.seed(), 0);
    assert_eq!(empty.keep().names, []);
}

#[test]
fn the_seed_is_inherited_and_the_name_is_not() {
    let recipe = recipe("extends = \"nvfp4\"\nname = \"mine\"\nsummary = \"of mine\"\nseed = 7");
    assert_eq!(
        (recipe.name(), recipe.summary(), recipe.seed()),
        ("mine", "of mine", 7)
    );
}

#[test]
fn in_a_file_the_product_has_precedence_over_the_operand() {
    let recipe =
        recipe("[forward.weight]\nprecision = \"mxfp4\"\n[weight]\nprecision = \"mxfp8_e4m3\"\n");
    assert_eq!(format(&recipe, Forward, Weight), Some(Format::Mxfp4));
    assert_eq!(format(&recipe, Dgrad, Weight), Some(Format::Mxfp8E4m3));
}

#[test]
fn an_extending_file_has_precedence_over_the_products_of_its_preset() {
    // quartet2 says ms_eden of [dgrad.weight].
    let recipe = recipe("extends = \"quartet2\"\n[weight]\nrounding = \"nearest_even\"\n");
    assert_eq!(
        scaling(&recipe, Dgrad, Weight).rounding(),
        Rounding::NearestEven
    );
    assert_eq!(
        scaling(&recipe, Dgrad, Gradient).rounding(),
        Rounding::MsEden
    );
}

#[test]
fn a_high_precision_takes_back_rounding_and_splits() {
    let recipe = recipe("extends = \"metis\"\n[gradient]\nprecision = \"bf16\"\n");
    let own = operand(&recipe, Wgrad, Gradient);
    assert_eq!(own.precision(), OperandPrecision::High(HighPrecision::Bf16));
    assert_eq!(own.spectral(), None);
    assert!(operand(&recipe, Wgrad, Activation).spectral().is_some());
}

#[test]
fn a_product_that_is_not_quantised_any_more_loses_its_transform() {
    let recipe = recipe(
        "extends = \"nvidia\"\n[wgrad]\nactivation.precision = \"bf16\"\ngradient.precision = \"bf16\"\n",
    );
    let product = recipe.products().get(Wgrad);
    assert_eq!(product.high_precision(), Some(HighPrecision::Bf16));
    assert_eq!(product.hadamard(), None);
}

#[test]
fn false_takes_a_split_back_with_its_parameters() {
    let off = recipe("extends = \"averis-gated\"\n[activation]\nmean = false\n");
    assert_eq!(operand(&off, Forward, Activation).mean(), None);
    let ungated = recipe("extends = \"averis-gated\"\n[activation]\nmean = { gate = false }\n");
    assert_eq!(
        operand(&ungated, Forward, Activation),
        operand(&preset("averis").unwrap(), Forward, Activation)
    );
}

#[test]
fn a_table_changes_the_parameters_it_names() {
    let recipe = recipe("extends = \"metis\"\n[gradient]\nspectral = { refresh = 1 }\n");
    let split = operand(&recipe, Dgrad, Gradient).spectral().unwrap();
    assert_eq!((split.refresh().get(), split.sampling().get()), (1, 0.01));
}

#[test]
fn keep_is_inherited_key_by_key() {
    let recipe = recipe("extends = \"nvidia\"\n[keep]\nlast_linears = 0\nprecision = \"f32\"\n");
    let (keep, of_nvidia) = (recipe.keep(), preset("nvidia").unwrap().keep().clone());
    assert_eq!(keep.last.linears, 0);
    assert_eq!(keep.precision, HighPrecision::F32);
    assert_eq!(keep.last.fraction, of_nvidia.last.fraction);
    assert_eq!(keep.names, of_nvidia.names);
}

#[test]
fn one_operand_may_be_scaled_and_the_other_not() {
    let recipe = recipe("[weight]\nprecision = \"nvfp4\"\n");
    assert_eq!(format(&recipe, Forward, Weight), Some(Format::Nvfp4));
    assert_eq!(format(&recipe, Forward, Activation), None);
    assert_eq!(recipe.products().get(Forward).high_precision(), None);
}

#[test]
fn what_is_seldom_meant_is_remarked() {
    let recipe = recipe(
        "extends = \"nvidia\"\n[forward.activation]\nrounding = \"stochastic\"\n[dgrad.weight]\nblocks = \"vector\"",
    );
    assert_eq!(
        recipe.remarks(),
        [
            "forward rounds the activation stochastically: without bias, but with more noise than to the nearest",
            "the weight's square blocks in forward serve dgrad too, which quantises it otherwise: the two see different weights",
        ]
    );
}

#[test]
fn the_examples_of_the_description_are_recipes() {
    let description = include_str!("../../../src/recipes/README.md");
    let examples: Vec<&str> = description.split("```toml\n").skip(1).collect();
    assert_eq!(examples.len(), 1);
    for example in examples {
        let (text, _) = example.split_once("```").unwrap();
        let recipe = recipe(text);
        assert_eq!(Recipe::parse(&recipe.to_string(), "other").unwrap(), recipe);
    }
}
