//! The initialisers against the tensors that their definition in Python makes
//! (`tests/fixtures/jax/initialisers.py` writes `tests/fixtures/initialisers.{toml,safetensors}`).

use safetensors::SafeTensors;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use tessera_numerics::{ElementType, Initialiser, Tensor};

#[derive(Deserialize)]
struct Golden {
    spec: String,
    element_type: String,
    shape: Vec<usize>,
}

#[test]
fn golden_tensors() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
    let specs = std::fs::read_to_string(fixtures.join("initialisers.toml")).unwrap();
    let specs: BTreeMap<String, Golden> = toml::from_str(&specs).unwrap();
    let file = std::fs::read(fixtures.join("initialisers.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    assert_eq!(specs.len(), tensors.len());
    assert!(!specs.is_empty());

    for (name, golden) in &specs {
        let stream = name.strip_prefix("arg").unwrap().parse().unwrap();
        let element: ElementType = golden.element_type.parse().unwrap();
        let initialiser: Initialiser = golden.spec.parse().unwrap();
        let made = initialiser.tensor(element, &golden.shape, stream).unwrap();
        let expected = tensors.tensor(name).unwrap();
        let expected = Tensor::new(element, golden.shape.clone(), expected.data()).unwrap();
        if let (Initialiser::Normal { mean, .. }, Some(made), Some(expected)) =
            (initialiser, made.values::<f64>(), expected.values::<f64>())
        {
            // On either side log, cos and sin are within an ulp of the true number, the square root halves the first,
            // and root and two products round by half an ulp each: std · z is off by 0.5 + 1 + 3 · 0.5 = 3 ulp at most,
            // 6 between the two, and the last sum rounds by half an ulp on each side.
            for (made, expected) in made.iter().zip(&expected) {
                let bound = f64::EPSILON * (6.0 * (expected - mean).abs() + expected.abs());
                assert!(
                    (made - expected).abs() <= bound,
                    "{name}: {made} {expected}"
                );
            }
        } else {
            assert_eq!(made, expected, "{name}: {}", golden.spec);
        }
    }
}
