//! Grouped linears: each group's product is what the product of its rows alone would be.

use super::*;
use tessera_passes::linears::Role;
use tessera_passes::recipes::expand::{GroupedReason, Outcome, StayReason};

const SIZES: [usize; 3] = [48, 32, 16];

/// The rows of each of two groups: blocks of mxfp4 along the rows, 32 long, are of one group alone.
const ROWS: usize = 64;

/// [`two_linears`] of two groups; the sizes of the groups are the last input.
fn grouped_linears() -> Module {
    let [inputs, hidden, outputs] = SIZES;
    let f32s = |shape: &[usize]| TensorType::new(ElementType::F32, shape);
    let (w1, w2) = (f32s(&[2, inputs, hidden]), f32s(&[2, hidden, outputs]));
    let arguments = [
        Input::new(w1).named("w1").donated_to(0),
        Input::new(w2).named("w2").donated_to(1),
        Input::new(f32s(&[2 * ROWS, inputs])).named("x"),
        Input::new(TensorType::new(ElementType::I32, [2])).named("sizes"),
    ];
    let (mut b, [w1, w2, x, sizes]) = Builder::new("main", arguments);
    let mut dot = |lhs, rhs, contracting| {
        b.grouped_dot(lhs, rhs, sizes, contracting, ElementType::F32)
            .unwrap()
    };
    let h = dot(x, w1, [1, 1]);
    let y = dot(h, w2, [1, 1]);
    let dw2 = dot(h, y, [0, 0]);
    let dh = dot(y, w2, [1, 2]);
    let dw1 = dot(x, dh, [0, 0]);
    let new1 = b.subtract(w1, dw1).unwrap();
    let new2 = b.subtract(w2, dw2).unwrap();
    let mut module = Module::new(None);
    module.insert(b.finish([new1, new2, h, y, dw2, dh, dw1]));
    module
}

/// The weights and rows of a group.
fn group_inputs(group: usize) -> [Tensor; 3] {
    let [inputs, hidden, outputs] = SIZES;
    let (own, offset) = (noise(3 + 10 * group), noise(4 + 10 * group));
    [
        matrix(inputs, hidden, noise(1 + 10 * group)),
        matrix(hidden, outputs, noise(2 + 10 * group)),
        matrix(ROWS, inputs, |i, j| own(i, j) + 8.0 * offset(0, j)),
    ]
}

/// The numbers of both groups, one after the other.
fn joined(shape: &[usize], parts: [&Tensor; 2]) -> Tensor {
    let values = parts.map(|part| part.values::<f32>().unwrap());
    Tensor::from_values(shape, &values.concat()).unwrap()
}

/// Holds a recipe's grouped products against the dense ones of each group. mxfp4 has no scale that tensors share.
#[track_caller]
fn assert_groups_are_dense_products(text: &str) {
    let recipe = recipe(text);
    let groups = [0, 1].map(group_inputs);
    let dense = expanded(&two_linears(ROWS, SIZES), &recipe, Form::Factored).module;
    let dense = [0, 1].map(|group| first_step(&dense, &groups[group]));

    let module = expanded(&grouped_linears(), &recipe, Form::Factored).module;
    let entry = module.entry().unwrap();
    let mut inputs: Vec<Tensor> = (0..3)
        .map(|number| {
            let shape = entry.inputs()[number].value_type.shape().to_vec();
            joined(&shape, [&groups[0][number], &groups[1][number]])
        })
        .collect();
    inputs.push(Tensor::from_values([2], &[ROWS as i32; 2]).unwrap());
    let found = first_step(&module, &inputs);
    for result in [H, Y, DW2, DH, DW1] {
        let shape = found[result].shape().to_vec();
        let expected = values(&joined(&shape, [&dense[0][result], &dense[1][result]]));
        let largest = expected
            .iter()
            .fold(0f64, |largest, x| largest.max(x.abs()));
        for (found, expected) in values(&found[result]).iter().zip(&expected) {
            // The same operands; sums of four terms, each rounded to f32 as a whole.
            let bound = 8.0 * 2f64.powi(-24) * largest;
            assert!(
                (found - expected).abs() <= bound,
                "{result}: {found}, expected {expected}"
            );
        }
    }
}

const NEAREST: &str = "[gradient]\nrounding = \"nearest_even\"";

#[test]
fn operands_are_quantised() {
    assert_groups_are_dense_products(&format!("extends = \"mxfp4\"\n{NEAREST}"));
}

#[test]
fn means_are_those_of_the_groups() {
    assert_groups_are_dense_products(&format!(
        "extends = \"mxfp4\"\n{NEAREST}\n[activation]\nmean = {{ precision = \"bf16\" }}"
    ));
    assert_groups_are_dense_products(&format!(
        "extends = \"mxfp4\"\n{NEAREST}\nmean = {{ precision = \"bf16\" }}\n[activation]\nmean = {{ precision = \"f32\" }}"
    ));
}

#[test]
fn a_transform_of_features_is_that_of_dense_products() {
    assert_groups_are_dense_products(&format!(
        "extends = \"mxfp4\"\n{NEAREST}\n[activation]\nmean = {{ precision = \"bf16\" }}\n[forward]\nhadamard = {{ size = 16, signs = \"fixed\" }}\n[dgrad]\nhadamard = {{ size = 16, signs = \"fixed\" }}"
    ));
}

#[test]
fn what_has_no_meaning_for_groups_stays_and_says_why() {
    let outcomes = |text: &str| -> Vec<(Role, Option<GroupedReason>)> {
        let expansion = expanded(&grouped_linears(), &recipe(text), Form::Factored);
        let rows = expansion.rows.into_iter();
        rows.map(|row| {
            let tessera_passes::linears::Subject::Linear { role, .. } = row.row.subject else {
                panic!("{row:?}");
            };
            match row.outcome {
                Outcome::Scaled(_) => (role, None),
                Outcome::Kept(kept) => match kept.reason {
                    StayReason::Grouped(reason) => (role, Some(reason)),
                    other => panic!("{other}"),
                },
            }
        })
        .collect()
    };
    let rotated = "extends = \"nvfp4\"\n[wgrad]\nhadamard = { size = 16, signs = \"fixed\" }";
    for (role, reason) in outcomes(rotated) {
        assert_eq!(
            reason,
            (role == Role::Wgrad).then_some(GroupedReason::Hadamard)
        );
    }
    for (_, reason) in outcomes("extends = \"metis\"") {
        assert_eq!(reason, Some(GroupedReason::Spectral));
    }
    let gated = outcomes("extends = \"averis-gated\"");
    assert!(gated.contains(&(Role::Forward, Some(GroupedReason::Gate))));
}
