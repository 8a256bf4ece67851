//! What is no recipe, and the reason given.

use super::shown;
use tessera_passes::recipes::Recipe;

/// The refusal of a text, up to the source line that is shown.
#[track_caller]
fn refused(text: &str, expected: &str) {
    let error = Recipe::parse(text, "test").expect_err("a refusal");
    assert_eq!(
        shown(&error, text).lines().next(),
        Some(format!("test.toml:{expected}").as_str())
    );
}

#[test]
fn text_that_is_no_toml() {
    refused(
        "seed = \n",
        "1:8: error: string values must be quoted, expected literal string",
    );
}

#[test]
fn unknown_keys_are_placed_and_the_nearest_is_suggested() {
    refused(
        "[weight]\nprecision = \"nvfp4\"\nrouding = \"stochastic\"\n",
        "3:1: error: [weight] has no key 'rouding', did you mean 'rounding'?",
    );
    refused(
        "sed = 1",
        "1:1: error: a recipe has no key 'sed', did you mean 'seed'?",
    );
    refused(
        "[activation]\nprecision = \"nvfp4\"\nmean = { presicion = \"bf16\" }\n",
        "3:10: error: [activation.mean] has no key 'presicion', did you mean 'precision'?",
    );
    refused(
        "[keep]\nlayers = 3",
        "2:1: error: [keep] has no key 'layers'",
    );
}

#[test]
fn formats_that_no_kernel_multiplies_in_4_bits() {
    refused(
        "extends = \"nvfp4\"\n[weight]\nprecision = \"mxfp4\"\n",
        "3:13: error: the operands of forward are in nvfp4 and in mxfp4, whose blocks differ: no kernel multiplies the \
         two in 4 bits",
    );
    let mixed = "extends = \"nvfp4\"\n[weight]\nprecision = \"mxfp8_e4m3\"\n";
    assert!(Recipe::parse(mixed, "test").is_ok());
}

#[test]
fn a_refusal_shows_the_line_and_the_words_there_are() {
    let text = "[weight]\nprecision = \"nvfp5\"\n";
    let error = Recipe::parse(text, "test").unwrap_err();
    insta::assert_snapshot!(shown(&error, text));
}

#[test]
fn unknown_words_are_placed_and_the_nearest_is_suggested() {
    refused(
        "extends = \"averys\"",
        "1:11: error: unknown preset 'averys', did you mean 'averis'?",
    );
    refused(
        "[weight]\nprecision = \"fp4\"",
        "2:13: error: unknown precision 'fp4'",
    );
    refused(
        "[weight]\nprecision = \"nvfp4\"\nrule = \"four-over-six\"",
        "3:8: error: unknown scale rule 'four-over-six', did you mean 'four_over_six'?",
    );
}

#[test]
fn values_of_another_kind() {
    refused(
        "seed = -1",
        "1:8: error: expected a number, 0 or more for 'seed', found -1",
    );
    refused(
        "[weight]\nprecision = 4",
        "2:13: error: expected a precision in quotes for 'weight.precision', found 4",
    );
    refused(
        "[keep]\nlast_fraction = 15",
        "2:17: error: expected a number from 0 to 1 for 'keep.last_fraction', found 15",
    );
    refused(
        "[activation]\nprecision = \"nvfp4\"\nspectral = { refresh = 0 }",
        "3:24: error: expected a number, 1 or more for 'activation.spectral.refresh', found 0",
    );
    refused(
        "[keep]\nnames = \"*head*\"",
        "2:9: error: expected a list of names, as [\"*head*\"] for 'keep.names', found the text \"*head*\"",
    );
    refused(
        "[wgrad]\nhadamard = 16",
        "2:12: error: expected false, true or a table for 'wgrad.hadamard', found 16",
    );
}

#[test]
fn a_scale_rule_of_other_formats() {
    refused(
        "[weight]\nprecision = \"mxfp4\"\nrule = \"te\"",
        "3:8: error: the scale rule te does not apply to mxfp4, expected rceil, floor, even or ceil",
    );
    refused(
        "[weight]\nrule = \"rceil\"\nprecision = \"fp8_e4m3\"",
        "2:8: error: the scale rule rceil does not apply to fp8_e4m3, expected te",
    );
}

#[test]
fn square_blocks_of_other_formats() {
    refused(
        "[weight]\nprecision = \"mxfp8_e4m3\"\nblocks = \"square\"",
        "3:10: error: blocks of 16x16 are for nvfp4, found mxfp8_e4m3",
    );
}

#[test]
fn a_refusal_of_what_a_preset_says_names_the_preset() {
    let text = "extends = \"nvidia\"\n[weight]\nprecision = \"mxfp4\"\n";
    let error = Recipe::parse(text, "test").unwrap_err();
    assert_eq!(
        error.to_string(),
        "blocks of 16x16 are for nvfp4, found mxfp4"
    );
    assert_eq!(&text[error.span.clone()], "\"mxfp4\"");
    assert_eq!(error.notes, ["'weight.blocks' is set by the preset nvidia"]);
}

#[test]
fn ms_eden_without_its_format_or_its_transform() {
    refused(
        "[dgrad]\nhadamard = { size = 128 }\ngradient = { precision = \"mxfp4\", rounding = \"ms_eden\" }",
        "3:46: error: rounding ms_eden is for nvfp4 in vector blocks by the scale rule te, found mxfp4 in vector \
         blocks by the scale rule rceil",
    );
    refused(
        "[gradient]\nprecision = \"nvfp4\"\nrounding = \"ms_eden\"",
        "3:12: error: rounding ms_eden needs a Hadamard transform of size 128 on the product, found none in dgrad",
    );
    refused(
        "extends = \"quartet2\"\n[wgrad]\nhadamard = { size = 64 }",
        "3:12: error: rounding ms_eden needs a Hadamard transform of size 128 on the product, found size 64 in wgrad",
    );
}

#[test]
fn a_hadamard_transform_of_one_operand() {
    refused(
        "[activation]\nprecision = \"nvfp4\"\nhadamard = true",
        "3:1: error: 'hadamard' is a key of a product, [forward], [dgrad] or [wgrad], and transforms both of its \
         operands: transforming one alone would change the product",
    );
}

#[test]
fn hadamard_transforms_that_there_are_not() {
    refused(
        "extends = \"nvfp4\"\n[wgrad]\nhadamard = { size = 48 }",
        "3:21: error: expected a Hadamard transform of size 16, 32, 64 or 128, found 48",
    );
    refused(
        "extends = \"nvidia\"\n[wgrad]\nhadamard.size = 32",
        "3:17: error: the fixed signs are TransformerEngine's sixteen, found a Hadamard transform of size 32; its \
         signs can be random or random_per_step",
    );
}

#[test]
fn a_hadamard_transform_of_what_is_not_quantised() {
    refused(
        "[wgrad]\nhadamard = true",
        "2:12: error: 'hadamard' says nothing about bf16, which is not quantised",
    );
}

#[test]
fn quantisation_of_what_is_not_quantised() {
    refused(
        "[gradient]\nprecision = \"bf16\"\nrounding = \"stochastic\"",
        "3:12: error: 'rounding' says nothing about bf16, which is not quantised",
    );
    refused(
        "extends = \"bf16\"\n[activation]\nmean = true",
        "3:8: error: 'mean' says nothing about bf16, which is not quantised",
    );
    refused(
        "[weight]\nblocks = \"square\"",
        "2:10: error: 'blocks' says nothing about bf16, which is not quantised",
    );
}

#[test]
fn a_weight_has_no_tokens() {
    refused(
        "extends = \"nvfp4\"\n[weight]\nmean = true",
        "3:8: error: a weight has no mean over tokens: its rows are inputs; 'mean' is for an activation or a gradient",
    );
    refused(
        "extends = \"metis\"\n[weight]\nspectral = { sampling = 0.01 }",
        "3:25: error: the rows of a weight are no samples of a distribution: 'sampling' must be 1 for a weight",
    );
}

#[test]
fn ranks_and_samples_of_nothing() {
    refused(
        "extends = \"metis\"\n[gradient]\nspectral = { rank = 0 }",
        "3:21: error: expected a rank above 0 and of at most 0.5 of the smaller dimension, found 0",
    );
    refused(
        "extends = \"metis\"\n[gradient]\nspectral.rank = 0.75",
        "3:17: error: expected a rank above 0 and of at most 0.5 of the smaller dimension, found 0.75",
    );
    refused(
        "extends = \"metis\"\n[gradient]\nspectral.sampling = 0.0",
        "3:21: error: expected a sampling above 0: a basis cannot be made of no rows",
    );
}

#[test]
fn gates_that_are_none() {
    for threshold in ["0.0", "1"] {
        refused(
            &format!("extends = \"averis-gated\"\n[activation]\nmean.gate.threshold = {threshold}"),
            &format!(
                "3:23: error: expected a threshold above 0 and below 1, found {}: at 0 a gate centres always, which is \
                 'gate = false', and at 1 never, which is 'mean = false'",
                threshold.trim_end_matches(".0")
            ),
        );
    }
}

#[test]
fn operands_that_a_product_does_not_have() {
    refused(
        "extends = \"nvfp4\"\n[forward.gradient]\nprecision = \"bf16\"",
        "2:10: error: the product of forward has the operands activation and weight, found 'gradient'",
    );
}

#[test]
fn two_high_precisions_in_a_product() {
    refused(
        "[activation]\nprecision = \"f32\"",
        "2:13: error: the operands of forward are in f32 and in bf16: a product that is not quantised has one precision",
    );
}

#[test]
fn overrides_of_nothing() {
    refused(
        "[[override]]\nkeep = \"bf16\"",
        "1:1: error: expected the names that the override is for, as 'names = [\"*\"]'",
    );
    refused(
        "[[override]]\nnames = [\"*\"]\nkeep = true",
        "3:8: error: expected false, \"bf16\" or \"f32\" for 'override.keep', found true",
    );
    refused(
        "[[override]]\nnames = [\"*\"]\nkeep = \"bf16\"\nweight.precision = \"mxfp4\"",
        "4:1: error: the override keeps its linears in bf16: 'weight' would say how to quantise them",
    );
}

#[test]
fn an_override_is_checked_with_the_recipe_that_it_changes() {
    refused(
        "extends = \"nvidia\"\n[[override]]\nnames = [\"*mlp*\"]\nweight.precision = \"mxfp4\"",
        "4:20: error: blocks of 16x16 are for nvfp4, found mxfp4",
    );
}
