//! Every preset on whole steps: compiled code computes what the interpreter does, and something else than full precision.

use super::{step, tessera};

/// The losses of three steps.
fn losses(name: &str, arguments: &[&str]) -> Vec<f32> {
    let (text, inputs) = step(name);
    let run = ["run", &text, "--inputs", &inputs, "--steps", "3", "--quiet"];
    let outcome = tessera([&run[..], arguments].concat());
    assert_eq!(outcome.code, Some(0), "{arguments:?}: {}", outcome.stderr);
    // The loss is the last scalar of a step's line.
    let loss = |line: &str| line.split_whitespace().last()?.parse().ok();
    outcome.stdout.lines().filter_map(loss).collect()
}

/// Compiled sums have another order, so that a number that lies between two codes may become the other one. Of most
/// operands that is one number of some thousands; of a split's factor it is what sixteen tokens share, and in models this
/// small moves a loss by up to two thousandths. A block that is wrong moves it by more than half a percent.
fn check(name: &str, presets: &[&str]) {
    let full = losses(name, &[]);
    for preset in presets {
        let compiled = losses(name, &["--recipe", preset]);
        let interpreted = losses(name, &["--recipe", preset, "--interpret"]);
        assert_eq!(compiled.len(), 3, "{preset}");
        for (own, oracle) in compiled.iter().zip(&interpreted) {
            assert!(
                (own - oracle).abs() <= 3e-3 * oracle,
                "{preset}: {compiled:?}, interpreted {interpreted:?}"
            );
        }
        assert!(
            compiled[2] < compiled[0],
            "{preset} does not train: {compiled:?}"
        );
        assert_ne!(interpreted, full, "{preset} changes nothing");
    }
}

/// The same steps on a GPU in software, whose checker finds nothing: it computes the CPU's losses. Quantisations have the
/// same bits; sums of products have another order, of which the comment on `check` says what that may do. Matrix units
/// also cut their sums off towards zero: by up to 2⁻²³ of their terms' magnitudes for each 64 products of codes, by less than
/// 22 · 2⁻²⁴ for each 16 of bf16: less, for the few hundred that these have, than a number that becomes another code.
fn check_on_gpus(name: &str, targets: &[(&str, &str)]) {
    for (preset, target) in targets {
        let device = format!("emulator:{target}");
        let cpu = losses(name, &["--recipe", preset]);
        let gpu = losses(name, &["--recipe", preset, "--device", &device]);
        assert_eq!(gpu.len(), 3, "{preset} on {device}");
        for (own, other) in gpu.iter().zip(&cpu) {
            assert!(
                (own - other).abs() <= 3e-3 * other,
                "{preset}: {gpu:?} on {device}, {cpu:?} on the CPU"
            );
        }
    }
}

#[test]
fn the_llama_on_gpus_in_software() {
    let targets = [
        ("averis", "sm_100a"),
        ("nvfp4", "sm_100a"),
        ("nvidia", "sm_120a"),
        ("bf16", "sm_90a"),
        ("metis", "sm_90a"),
        ("quartet2", "sm_80"),
    ];
    check_on_gpus("llama_tiny", &targets);
}

#[test]
fn the_ragged_mixture_of_experts_on_gpus_in_software() {
    let targets = [
        ("averis", "sm_90a"),
        ("averis", "sm_100a"),
        ("averis", "sm_120a"),
        ("metis", "sm_100a"),
    ];
    check_on_gpus("moe_ragged_tiny", &targets);
}

#[test]
fn the_llama_under_block_formats() {
    check(
        "llama_tiny",
        &["bf16", "fp8", "mxfp8", "mxfp6", "mxfp4", "nvfp4"],
    );
}

#[test]
fn the_llama_under_published_recipes() {
    check("llama_tiny", &["nvidia", "four-over-six", "quartet2"]);
}

#[test]
fn the_llama_under_splits() {
    check(
        "llama_tiny",
        &[
            "averis",
            "averis-gated",
            "averis-hadamard",
            "metis",
            "averis-metis",
        ],
    );
}

/// Experts whose rows lie one after the other, of which each has 16 and more.
#[test]
fn the_ragged_mixture_of_experts() {
    let presets = [
        "mxfp4",
        "nvfp4",
        "averis",
        "averis-gated",
        "metis",
        "averis-metis",
    ];
    for preset in presets {
        assert_experts_are_quantised(preset);
    }
    check("moe_ragged_tiny", &presets);
}

/// That a grouped product goes without wgrad's transform is no reason to leave it in high precision.
#[test]
fn the_ragged_mixture_of_experts_without_transforms_of_rows() {
    let presets = ["nvidia", "averis-hadamard", "quartet2"];
    for preset in presets {
        assert_experts_are_quantised(preset);
    }
    check("moe_ragged_tiny", &presets);
}

/// That all nine products of experts have four bits.
fn assert_experts_are_quantised(preset: &str) {
    let (text, _) = step("moe_ragged_tiny");
    let outcome = tessera(["recipe", "explain", &text, "--recipe", preset]);
    let products = outcome
        .stdout
        .lines()
        .filter(|line| line.contains("groups  "));
    let products: Vec<&str> = products.collect();
    assert_eq!(products.len(), 9, "{preset}: {}", outcome.stdout);
    for product in products {
        // What is taken out of an operand may have four bits, too.
        assert!(product.matches("fp4").count() >= 2, "{preset}: {product}");
    }
}

/// A batch of experts with fewer rows than a block has, which presets leave in bf16.
#[test]
fn experts_of_few_rows_that_are_quantised_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    for preset in ["nvfp4", "averis"] {
        let path = folder.path().join(format!("{preset}.toml"));
        let text = format!("extends = \"{preset}\"\n[keep]\nsmallest_dimension = 0\n");
        std::fs::write(&path, text).unwrap();
        check("moe_tiny", &[path.to_str().unwrap()]);
    }
}

#[test]
fn the_mixture_of_experts() {
    check("moe_tiny", &["mxfp4", "nvfp4", "nvidia", "averis", "metis"]);
}
