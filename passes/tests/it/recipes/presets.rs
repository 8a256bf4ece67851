//! What each preset says.

use super::{format, operand, preset, recipe, scaling};
use tessera_numerics::{BlockShape, Format, Rounding, ScaleRule};
use tessera_passes::linears::Role::{Dgrad, Forward, Wgrad};
use tessera_passes::linears::Side::{Activation, Gradient, Weight};
use tessera_passes::recipes::{Hadamard, HighPrecision, Precision, Recipe, Signs, names};

#[test]
fn every_preset_is_a_recipe_with_a_summary() {
    let expected = [
        "bf16",
        "fp8",
        "mxfp8",
        "mxfp6",
        "mxfp4",
        "nvfp4",
        "nvidia",
        "four-over-six",
        "quartet2",
        "averis",
        "averis-gated",
        "averis-hadamard",
        "metis",
        "averis-metis",
    ];
    assert_eq!(names().collect::<Vec<_>>(), expected);
    for name in expected {
        let preset = preset(name).unwrap();
        assert_eq!(preset.name(), name);
        let length = preset.summary().chars().count();
        assert!((20..=90).contains(&length), "{name}: {}", preset.summary());
        assert_eq!(preset.remarks(), [""; 0], "{name}");
    }
}

#[test]
fn every_preset_printed_reads_back_as_itself() {
    for name in names() {
        let preset = preset(name).unwrap();
        let text = preset.to_string();
        let again = Recipe::parse(&text, "another name");
        assert_eq!(again, Ok(preset), "{name}:\n{text}");
    }
}

#[test]
fn nvidia_in_full() {
    insta::assert_snapshot!(preset("nvidia").unwrap());
}

#[test]
fn metis_in_full() {
    insta::assert_snapshot!(preset("metis").unwrap());
}

#[test]
fn bf16_quantises_nothing() {
    let bf16 = preset("bf16").unwrap();
    for role in [Forward, Dgrad, Wgrad] {
        let product = bf16.products().get(role);
        assert_eq!(product.high_precision(), Some(HighPrecision::Bf16));
    }
}

#[test]
fn fp8_and_mx_presets_have_their_formats_forward_and_backward() {
    let cases = [
        ("fp8", Format::Fp8E4m3, Format::Fp8E5m2, ScaleRule::Te),
        (
            "mxfp8",
            Format::Mxfp8E4m3,
            Format::Mxfp8E4m3,
            ScaleRule::Rceil,
        ),
        (
            "mxfp6",
            Format::Mxfp6E2m3,
            Format::Mxfp6E3m2,
            ScaleRule::Rceil,
        ),
        ("mxfp4", Format::Mxfp4, Format::Mxfp4, ScaleRule::Rceil),
    ];
    for (name, forward, gradient, rule) in cases {
        let recipe = preset(name).unwrap();
        for (role, side) in [
            (Forward, Activation),
            (Forward, Weight),
            (Dgrad, Weight),
            (Wgrad, Activation),
        ] {
            assert_eq!(
                format(&recipe, role, side),
                Some(forward),
                "{name} {role} {side}"
            );
            assert_eq!(scaling(&recipe, role, side).rule(), rule);
        }
        for role in [Dgrad, Wgrad] {
            assert_eq!(
                format(&recipe, role, Gradient),
                Some(gradient),
                "{name} {role}"
            );
        }
    }
}

#[test]
fn nvfp4_rounds_gradients_alone_stochastically() {
    let nvfp4 = preset("nvfp4").unwrap();
    for role in [Forward, Dgrad, Wgrad] {
        for (side, own) in nvfp4.products().get(role).operands() {
            let precision = own.precision();
            let scaling = precision.scaling().unwrap();
            assert_eq!(scaling.format(), Format::Nvfp4);
            assert_eq!(scaling.blocks(), BlockShape::Vector);
            let expected = match side {
                Gradient => Rounding::Stochastic,
                Activation | Weight => Rounding::NearestEven,
            };
            assert_eq!(scaling.rounding(), expected, "{role} {side}");
        }
    }
}

#[test]
fn nvidia_has_square_weights_and_rotates_wgrad() {
    let nvidia = preset("nvidia").unwrap();
    assert_eq!(
        scaling(&nvidia, Forward, Weight),
        scaling(&nvidia, Dgrad, Weight)
    );
    assert_eq!(
        scaling(&nvidia, Forward, Weight).blocks(),
        BlockShape::Square
    );
    let rotation = |role| nvidia.products().get(role).hadamard().copied();
    assert_eq!(rotation(Forward), None);
    assert_eq!(rotation(Dgrad), None);
    assert_eq!(rotation(Wgrad), Hadamard::new(16, Signs::Fixed).ok());
}

#[test]
fn quartet2_is_four_over_six_forward_and_rotated_ms_eden_backward() {
    let quartet2 = preset("quartet2").unwrap();
    for side in [Activation, Weight] {
        assert_eq!(
            scaling(&quartet2, Forward, side).rule(),
            ScaleRule::FourOverSix
        );
        assert_eq!(
            scaling(&quartet2, Forward, side).rounding(),
            Rounding::NearestEven
        );
    }
    for role in [Dgrad, Wgrad] {
        let product = quartet2.products().get(role);
        assert_eq!(
            product.hadamard(),
            Hadamard::new(128, Signs::RandomPerStep).ok().as_ref()
        );
        for (side, _) in product.operands() {
            assert_eq!(
                scaling(&quartet2, role, side).rounding(),
                Rounding::MsEden,
                "{role} {side}"
            );
        }
    }
}

#[test]
fn averis_centres_activations_and_keeps_the_mean_in_bf16() {
    let averis = preset("averis").unwrap();
    for role in [Forward, Wgrad] {
        let mean = operand(&averis, role, Activation).mean().unwrap();
        assert_eq!(mean.precision, Precision::High(HighPrecision::Bf16));
        assert_eq!(mean.gate, None);
    }
    for role in [Dgrad, Wgrad] {
        assert_eq!(operand(&averis, role, Gradient).mean(), None);
    }
}

#[test]
fn the_two_switches_of_averis() {
    let switched = recipe(
        "extends = \"averis\"\n[activation]\nmean.precision = \"nvfp4\"\n[gradient]\nmean = true\n",
    );
    let mean = operand(&switched, Forward, Activation).mean().unwrap();
    assert_eq!(mean.precision, Precision::Scaled(Format::Nvfp4));
    for role in [Dgrad, Wgrad] {
        let mean = operand(&switched, role, Gradient).mean().unwrap();
        assert_eq!(mean.precision, Precision::High(HighPrecision::Bf16));
    }
}

#[test]
fn the_gate_of_averis_gated() {
    let gated = preset("averis-gated").unwrap();
    let mean = operand(&gated, Forward, Activation).mean().unwrap();
    let gate = mean.gate.unwrap();
    assert_eq!((gate.threshold().get(), gate.refresh().get()), (0.1, 16));
    assert_eq!(mean.precision, Precision::High(HighPrecision::Bf16));
}

#[test]
fn metis_splits_every_operand_and_samples_what_has_tokens() {
    let metis = preset("metis").unwrap();
    for role in [Forward, Dgrad, Wgrad] {
        for (side, own) in metis.products().get(role).operands() {
            let split = own.spectral().unwrap();
            assert_eq!(split.rank().get(), 0.015);
            assert_eq!(split.refresh().get(), 8);
            assert_eq!(split.factors(), Precision::Scaled(Format::Nvfp4));
            let sampling = if side == Weight { 1.0 } else { 0.01 };
            assert_eq!(split.sampling().get(), sampling, "{role} {side}");
        }
    }
}

#[test]
fn averis_metis_takes_the_mean_out_of_activations_before_the_directions() {
    let both = preset("averis-metis").unwrap();
    assert!(operand(&both, Forward, Activation).mean().is_some());
    assert!(operand(&both, Forward, Activation).spectral().is_some());
    assert!(operand(&both, Dgrad, Gradient).mean().is_none());
    assert!(operand(&both, Dgrad, Gradient).spectral().is_some());
}

#[test]
fn a_part_of_a_split_is_rounded_at_random_where_the_operand_is() {
    let metis = preset("metis").unwrap();
    let part = |role, side| {
        let part = operand(&metis, role, side).part(Precision::Scaled(Format::Mxfp8E4m3));
        let scaling = *part.scaling().unwrap();
        (scaling.format(), scaling.rule(), scaling.rounding())
    };
    let of = |rounding| (Format::Mxfp8E4m3, ScaleRule::Rceil, rounding);
    assert_eq!(part(Forward, Activation), of(Rounding::NearestEven));
    assert_eq!(part(Dgrad, Gradient), of(Rounding::Stochastic));
}

#[test]
fn an_unknown_preset_is_refused_with_the_nearest() {
    let error = preset("averis-hadamar").unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown recipe 'averis-hadamar', did you mean 'averis-hadamard'?"
    );
}
