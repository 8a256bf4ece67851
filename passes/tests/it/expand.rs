//! The pass `recipe`: what each expansion computes, held against its formula, and whole steps under every preset.

mod formulas;
mod grouped;
mod parts;
mod state;
mod steps;
mod text;

use crate::common::interpret;
use tessera_ir::{
    Builder, DotDimensionNumbers, ElementType, Input, Module, Tensor, TensorType, ValueId,
};
use tessera_passes::recipes::Recipe;
use tessera_passes::recipes::expand::{Expansion, Form, expand};

/// Two linears in a row and the gradient of half the square of what they give:
/// `H = X W₁, Y = H W₂, dW₂ = Hᵀ Y, dH = Y W₂ᵀ, dW₁ = Xᵀ dH`; a step subtracts the gradients.
///
/// Inputs are W₁, W₂, X; results the new W₁, W₂, then H, Y, dW₂, dH, dW₁.
fn two_linears(tokens: usize, [inputs, hidden, outputs]: [usize; 3]) -> Module {
    let matrix = |rows, columns| TensorType::new(ElementType::F32, [rows, columns]);
    let (w1, w2) = (matrix(inputs, hidden), matrix(hidden, outputs));
    let arguments = [
        Input::new(w1).named("w1").donated_to(0),
        Input::new(w2).named("w2").donated_to(1),
        Input::new(matrix(tokens, inputs)).named("x"),
    ];
    let (mut b, [w1, w2, x]) = Builder::new("main", arguments);
    let dot = |b: &mut Builder, lhs: (ValueId, usize), rhs: (ValueId, usize)| {
        let numbers = DotDimensionNumbers {
            lhs_contracting: &[lhs.1],
            rhs_contracting: &[rhs.1],
            ..Default::default()
        };
        let f32 = ElementType::F32;
        b.dot_general(lhs.0, rhs.0, &numbers, f32, f32).unwrap()
    };
    let h = dot(&mut b, (x, 1), (w1, 0));
    let y = dot(&mut b, (h, 1), (w2, 0));
    let dw2 = dot(&mut b, (h, 0), (y, 0));
    let dh = dot(&mut b, (y, 1), (w2, 1));
    let dw1 = dot(&mut b, (x, 0), (dh, 0));
    let new1 = b.subtract(w1, dw1).unwrap();
    let new2 = b.subtract(w2, dw2).unwrap();
    let mut module = Module::new(None);
    module.insert(b.finish([new1, new2, h, y, dw2, dh, dw1]));
    module
}

/// The results of [`two_linears`] by name.
const H: usize = 2;
const Y: usize = 3;
const DW2: usize = 4;
const DH: usize = 5;
const DW1: usize = 6;

/// A preset with changes, of all linears.
fn recipe(text: &str) -> Recipe {
    let everywhere = "[keep]\nlast_linears = 0\nsmallest_dimension = 0\nnames = []\n";
    Recipe::parse(&format!("{text}\n{everywhere}"), "test").unwrap_or_else(|e| panic!("{e}"))
}

#[track_caller]
fn expanded(module: &Module, recipe: &Recipe, form: Form) -> Expansion {
    let expansion = expand(module, recipe, form).unwrap_or_else(|error| panic!("{error}"));
    if let Err(errors) = tessera_ir::verify(&expansion.module) {
        panic!("{errors:?}");
    }
    expansion
}

/// The module's inputs as they begin: those given, then what the recipe added.
fn begun(module: &Module, own: &[Tensor]) -> Vec<Tensor> {
    let inputs = module.entry().unwrap().inputs().iter().zip(0..);
    let added = inputs.skip(own.len()).map(|(input, stream)| {
        let kind = input.value_type.as_tensor().unwrap();
        let initialiser = input.initialiser.unwrap();
        initialiser
            .tensor(kind.element, &kind.shape, stream)
            .unwrap()
    });
    own.iter().cloned().chain(added).collect()
}

/// Puts the donated results in place of the inputs.
fn fed_back(module: &Module, inputs: &mut [Tensor], results: &[Tensor]) {
    for (input, value) in module.entry().unwrap().inputs().iter().zip(inputs) {
        if let Some(result) = input.donate {
            *value = results[result].clone();
        }
    }
}

/// The results of the first step.
fn first_step(module: &Module, own: &[Tensor]) -> Vec<Tensor> {
    interpret(module, &begun(module, own))
}

fn matrix(rows: usize, columns: usize, of: impl Fn(usize, usize) -> f32) -> Tensor {
    let places = (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j)));
    let values: Vec<f32> = places.map(|(i, j)| of(i, j)).collect();
    Tensor::from_values([rows, columns], &values).unwrap()
}

/// Numbers that look random: multiples of 1/64 in −1 … 1.
fn noise(seed: usize) -> impl Fn(usize, usize) -> f32 {
    move |i, j| {
        let mixed = (i * 7919 + j * 104_729 + seed * 1_299_709) as u32;
        let mixed = (mixed ^ (mixed >> 7)).wrapping_mul(2_654_435_761);
        ((mixed >> 20) % 129) as f32 / 64.0 - 1.0
    }
}

fn values(tensor: &Tensor) -> Vec<f64> {
    let values = tensor.values::<f32>().unwrap().into_iter();
    values.map(f64::from).collect()
}
