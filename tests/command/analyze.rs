//! `tessera analyze`: its tables, its figure, what it refuses.

use super::{Outcome, tessera};
use insta::assert_snapshot;
use std::path::PathBuf;
use tempfile::TempDir;
use tessera_numerics::{ElementType, Initialiser, Tensor};
use tessera_runtime::tensors;

/// A file of tensors in a folder of its own: noise, noise with a mean over its rows, a vector, zeros.
struct File(TempDir);

impl File {
    fn new() -> Self {
        let normal: Initialiser = "normal(seed=3)".parse().unwrap();
        let noise = normal.tensor(ElementType::F32, &[64, 48], 0).unwrap();
        let mean: Initialiser = "normal(std=3, seed=4)".parse().unwrap();
        let mean = mean.tensor(ElementType::F32, &[48], 0).unwrap();
        let mean = mean.values::<f32>().unwrap();
        let values = noise.values::<f32>().unwrap();
        let biased = values.iter().zip(mean.iter().cycle());
        let biased: Vec<f32> = biased.map(|(value, mean)| value + mean).collect();
        let biased = Tensor::from_values([64, 48], &biased).unwrap();
        let zeros = Tensor::zeros(ElementType::F32, [4, 4]).unwrap();
        let norm = Tensor::from_values([48], &mean).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let named = [
            ("weight", &noise),
            ("activation", &biased),
            ("norm", &norm),
            ("zeros", &zeros),
        ];
        tensors::write(folder.path().join("file.safetensors"), named).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, flags: &[&str]) -> Outcome {
        let input = self.path("file.safetensors");
        let arguments = ["analyze", input.to_str().unwrap()].into_iter();
        let mut outcome = tessera(arguments.chain(flags.iter().copied()));
        let folder = format!("{}/", self.0.path().display());
        outcome.stderr = outcome.stderr.replace(&folder, "");
        outcome
    }
}

#[test]
fn the_tables_tell_what_tensors_are_like_and_what_methods_cost() {
    let outcome = File::new().run(&[]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(
        outcome.stderr,
        "note: not analysed: 1 tensor: zeros (all its elements are zero)\n\
         note: not analysed: 1 tensor: norm (fewer than two dimensions)\n"
    );
    assert_snapshot!(outcome.stdout);
}

#[test]
fn recipes_are_told_by_the_operand_they_treat() {
    let flags = [
        "--recipe", "averis", "--recipe", "bf16", "--recipe", "mxfp8",
    ];
    let outcome = File::new().run(&[&flags[..], &["--operand", "activation"]].concat());
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let (_, errors) = outcome.stdout.split_once("\n\n").unwrap();
    assert_snapshot!(errors);
}

/// The errors of recipes' methods for the activation.
fn errors(role: &str) -> Vec<String> {
    let flags = ["--recipe", "averis", "--recipe", "averis-hadamard"];
    let flags = [&flags[..], &["--operand", "activation", "--role", role]].concat();
    let outcome = File::new().run(&flags);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let (_, errors) = outcome.stdout.split_once("\n\n").unwrap();
    let line = errors.lines().find(|line| line.contains("activation"));
    let cells = line.unwrap().split_whitespace().skip(1);
    cells
        .filter(|cell| *cell != "%")
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_transform_of_wgrad_is_seen_in_wgrad() {
    let forward = errors("forward");
    assert_eq!(forward[0], forward[1]);
    let wgrad = errors("wgrad");
    assert_ne!(wgrad[0], wgrad[1]);
    assert_ne!(wgrad[0], forward[0], "blocks run over the tokens");
}

#[test]
fn the_product_of_wgrad_is_of_an_activation_and_a_gradient() {
    let file = File::new();
    let own = |name: &str| format!("{}#{name}", file.path("file.safetensors").display());
    let [lhs, rhs] = ["activation", "weight"].map(own);
    let wgrad = ["--recipe", "averis", "--role", "wgrad"];
    let outcome = tessera(["analyze", "--matmul", &lhs, &rhs].into_iter().chain(wgrad));
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    // Both operands' errors and the product's.
    assert_eq!(outcome.stdout.matches('%').count(), 3, "{}", outcome.stdout);
}

#[test]
fn figure_and_json_hold_every_tensor() {
    let file = File::new();
    let (svg, json) = (file.path("figure.svg"), file.path("figures.json"));
    let flags = [
        "--svg",
        svg.to_str().unwrap(),
        "--json",
        json.to_str().unwrap(),
    ];
    let outcome = file.run(&flags);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let svg = std::fs::read_to_string(svg).unwrap();
    assert_eq!(svg.matches("class=\"name\"").count(), 2);
    let json = std::fs::read_to_string(json).unwrap();
    let reports: serde_json::Value = serde_json::from_str(&json).unwrap();
    let tensors = reports.as_array().unwrap().iter();
    let names: Vec<_> = tensors
        .map(|report| report["tensor"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["activation", "weight"]);
    let error = |method: usize| &reports[0]["errors"][method];
    assert_eq!(error(0)["method"], "nvfp4 te");
    // Both of the same noise; only the activation has a mean, of nine times the noise's energy.
    assert!(reports[0]["energy"]["mean"].as_f64().unwrap() > 0.8);
    assert!(reports[1]["energy"]["mean"].as_f64().unwrap() < 0.1);
    let relative = |method| error(method)["relative_error"].as_f64().unwrap();
    assert_eq!(error(5)["method"], "nvfp4 centred");
    assert!(relative(5) < 0.5 * relative(0));
}

#[test]
fn what_cannot_be_is_refused() {
    let file = File::new();
    let refusals: Vec<String> = [
        &["--tensors", "norm"][..],
        &["--tensors", "zeros"],
        &["--tensors", "wight"],
        &["--tensors", "n*"],
        &["--axis", "-3"],
        &["--recipe", "nvfp"],
        &["--recipe", "nvfp4", "--operand", "weights"],
        &[
            "--recipe",
            "nvfp4",
            "--operand",
            "weight",
            "--role",
            "wgrad",
        ],
        &["--recipe", "nvfp4", "--role", "wgrads"],
    ]
    .iter()
    .map(|flags| {
        let outcome = file.run(flags);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""));
        format!("$ {}\n{}", flags.join(" "), outcome.stderr)
    })
    .collect();
    assert_snapshot!(refusals.join("\n"));
}

#[test]
fn the_product_of_two_tensors_is_told_by_method() {
    let file = File::new();
    let tensor = |name: &str| format!("{}#{name}", file.path("file.safetensors").display());
    // Both of 48 columns: the weight as PyTorch has it, (out, in).
    let [lhs, rhs] = ["activation", "weight"].map(tensor);
    let json = file.path("product.json");
    let json_flags = ["--json", json.to_str().unwrap()];
    let outcome = tessera(
        ["analyze", "--matmul", &lhs, &rhs]
            .into_iter()
            .chain(json_flags),
    );
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_snapshot!(outcome.stdout);
    let json = std::fs::read_to_string(json).unwrap();
    let errors: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(errors[0]["method"], "nvfp4 te");
    assert!(errors[0]["product"].as_f64().unwrap() > 0.05);
}

#[test]
fn products_that_are_none_are_refused() {
    let file = File::new();
    let own = |name: &str| format!("{}#{name}", file.path("file.safetensors").display());
    let cases = [
        ("file".to_owned(), own("weight"), "-1"),
        (own("activation"), own("wight"), "-1"),
        (own("activation"), own("*"), "-1"),
        (own("activation"), own("norm"), "-1"),
        (own("activation"), own("weight"), "0"),
    ];
    let refusals = cases.map(|(lhs, rhs, axis)| {
        let outcome = tessera(["analyze", "--matmul", &lhs, &rhs, "--axis", axis]);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""));
        let folder = format!("{}/", file.0.path().display());
        outcome.stderr.replace(&folder, "")
    });
    assert_snapshot!(refusals.concat());
}
