//! A training step built in Rust, without JAX: linear regression by gradient descent, compiled and run.
//!
//! `cargo run --example build_a_step`

use std::error::Error;
use tessera::Compiler;
use tessera_ir::{Builder, DotDimensionNumbers, ElementType, Input, Module, OpError, TensorType};
use tessera_numerics::{Initialiser, Tensor};
use tessera_runtime::{Bundle, Program, RunOptions};

const SAMPLES: usize = 64;
const FEATURES: usize = 8;

/// `w ← w − rate · 2/n · xᵀ(x·w − y)`, and the loss before that.
fn step() -> Result<Module, OpError> {
    let matrix = |rows, columns| TensorType::new(ElementType::F32, [rows, columns]);
    let inputs = [
        Input::new(matrix(FEATURES, 1)).named("w").donated_to(0),
        Input::new(matrix(SAMPLES, FEATURES)).named("x"),
        Input::new(matrix(SAMPLES, 1)).named("y"),
    ];
    let (mut b, [w, x, y]) = Builder::new("main", inputs);

    let predicted = b.matmul(x, w)?;
    let error = b.subtract(predicted, y)?;
    let squares = b.multiply(error, error)?;
    let sum = b.reduce_sum(squares, &[0, 1])?;
    let count = b.splat(SAMPLES as f64, &TensorType::scalar(ElementType::F32))?;
    let loss = b.divide(sum, count)?;

    let over_samples = DotDimensionNumbers {
        lhs_contracting: &[0],
        rhs_contracting: &[0],
        ..Default::default()
    };
    let gradient = b.dot_general(x, error, &over_samples, ElementType::F32, ElementType::F32)?;
    let rate = b.splat(0.1 * 2.0 / SAMPLES as f64, &matrix(FEATURES, 1))?;
    let change = b.multiply(rate, gradient)?;
    let updated = b.subtract(w, change)?;

    let mut module = Module::new(Some("regression".into()));
    module.insert(b.finish([("w", updated), ("loss", loss)]));
    Ok(module)
}

fn main() -> Result<(), Box<dyn Error>> {
    let module = step()?;
    println!("{module}");

    let folder = tempfile::tempdir()?;
    let path = folder.path().join("regression.tessera");
    Compiler::new("cpu")?.compile(&module, &path)?;

    let mut instance = Program::load(&Bundle::open(&path)?)?.instance(&RunOptions::default())?;
    let normal: Initialiser = "normal(seed=1)".parse()?;
    let x = normal.tensor(ElementType::F32, &[SAMPLES, FEATURES], 0)?;
    // The targets are the sums of the features, so the weights go towards one.
    let features = x.values::<f32>().unwrap_or_default();
    let y: Vec<f32> = features
        .chunks(FEATURES)
        .map(|row| row.iter().sum())
        .collect();
    instance.set_input_named("w", &Tensor::zeros(ElementType::F32, [FEATURES, 1])?)?;
    instance.set_input_named("x", &x)?;
    instance.set_input_named("y", &Tensor::from_values([SAMPLES, 1], &y)?)?;
    for number in 1..=40 {
        instance.step()?;
        if number % 10 == 0 {
            println!(
                "step {number}: loss {:?}",
                instance.result(1)?.values::<f32>()
            );
        }
    }
    println!("w = {:?}", instance.result(0)?.values::<f32>());
    Ok(())
}
