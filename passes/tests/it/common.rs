//! What several tests need: the fixtures, and what it means that two programs give the same.

use std::fs;
use std::path::{Path, PathBuf};
use tessera_ir::{ElementType, Module, Tensor};
use tessera_numerics::Initialiser;

/// The folder of the step of that name.
pub fn step_folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fixtures/steps")
        .join(name)
}

/// The step as JAX exported it.
pub fn import_step(name: &str) -> Module {
    let source = fs::read_to_string(step_folder(name).join("step.mlir")).unwrap();
    tessera_import::import(&source, "step.mlir")
        .unwrap_or_else(|d| panic!("{}", d.render("step.mlir", &source)))
}

/// The inputs that `inputs.toml` beside the step describes.
pub fn step_inputs(name: &str, module: &Module) -> Vec<Tensor> {
    let text = fs::read_to_string(step_folder(name).join("inputs.toml")).unwrap();
    let initialisers = text
        .lines()
        .filter(|line| line.starts_with("arg"))
        .map(|line| {
            let (_, rest) = line.split_once('"').unwrap();
            let (initialiser, _) = rest.split_once('"').unwrap();
            initialiser.parse::<Initialiser>().unwrap()
        });
    let inputs = module.entry().unwrap().inputs();
    let tensors = initialisers
        .zip(inputs)
        .zip(0..)
        .map(|((initialiser, input), stream)| {
            let tensor_type = &input.tensor_type;
            initialiser
                .tensor(tensor_type.element, &tensor_type.shape, stream)
                .unwrap()
        });
    tensors.collect()
}

/// Fails where two programs' results differ in a bit. NaNs are equal: which one an operation gives is not specified.
#[track_caller]
pub fn assert_same(found: &[Tensor], expected: &[Tensor]) {
    assert_eq!(found.len(), expected.len());
    for (number, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found.shape(), expected.shape(), "result {number}");
        assert_eq!(found.element(), expected.element(), "result {number}");
        let size = found.element().size();
        let elements = found
            .bytes()
            .chunks(size)
            .zip(expected.bytes().chunks(size));
        for (index, (a, b)) in elements.enumerate() {
            let same = a == b || is_nan(found.element(), a) && is_nan(found.element(), b);
            assert!(
                same,
                "result {number}, element {index}: {a:02x?}, expected {b:02x?}"
            );
        }
    }
}

fn is_nan(element: ElementType, bytes: &[u8]) -> bool {
    let scalar = Tensor::new(element, [], bytes).unwrap();
    match element {
        ElementType::F32 => scalar.values::<f32>().unwrap()[0].is_nan(),
        ElementType::F64 => scalar.values::<f64>().unwrap()[0].is_nan(),
        ElementType::Bf16 => scalar.values::<half::bf16>().unwrap()[0].is_nan(),
        ElementType::F16 => scalar.values::<half::f16>().unwrap()[0].is_nan(),
        _ => false,
    }
}
