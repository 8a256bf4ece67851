//! Grouped linears: each group's product is what the product of its rows alone would be.

use super::*;
use tessera_passes::linears::{Role, Subject};

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

/// The inputs of [`grouped_linears`].
fn both_groups(sizes: [usize; 2]) -> Vec<Tensor> {
    let [inputs, hidden, outputs] = SIZES;
    let shapes: [&[usize]; 3] = [
        &[2, inputs, hidden],
        &[2, hidden, outputs],
        &[2 * ROWS, inputs],
    ];
    let groups = [0, 1].map(group_inputs);
    let parts = shapes.into_iter().enumerate();
    let joined =
        parts.map(|(number, shape)| joined(shape, [&groups[0][number], &groups[1][number]]));
    let sizes = Tensor::from_values([2], &sizes.map(|size| size as i32)).unwrap();
    joined.chain([sizes]).collect()
}

/// Holds a recipe's grouped products against the dense ones of each group. mxfp4 has no scale that tensors share.
#[track_caller]
fn assert_groups_are_dense_products(text: &str) {
    let recipe = recipe(text);
    let groups = [0, 1].map(group_inputs);
    let dense = expanded(&two_linears(ROWS, SIZES), &recipe, Form::Factored).module;
    let dense = [0, 1].map(|group| first_step(&dense, &groups[group]));

    let module = expanded(&grouped_linears(), &recipe, Form::Factored).module;
    let inputs = both_groups([ROWS; 2]);
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
    assert_groups_are_dense_products(&format!(
        "extends = \"mxfp4\"\n{NEAREST}\nmean = {{ precision = \"mxfp4\" }}\n[activation]\nmean = {{ precision = \"mxfp4\" }}"
    ));
}

/// All groups have one gate. Here the mean's share is large in both, so each one's own would be open, too.
#[test]
fn a_gate_is_that_of_all_groups() {
    assert_groups_are_dense_products(&format!(
        "extends = \"mxfp4\"\n{NEAREST}\n[activation]\nmean = {{ precision = \"bf16\", gate = {{ threshold = 0.5 }} }}"
    ));
    let module = |mean: &str| {
        let text = format!("extends = \"mxfp4\"\n{NEAREST}\n[activation]\nmean = {mean}");
        expanded(&grouped_linears(), &recipe(&text), Form::Factored).module
    };
    let closed = module("{ precision = \"bf16\", gate = { threshold = 0.999 } }");
    let inputs = both_groups([40, 50]);
    let found = first_step(&closed, &inputs);
    let expected = first_step(&module("false"), &inputs);
    assert_eq!(values(&found[H]), values(&expected[H]));
}

#[test]
fn a_transform_of_features_is_that_of_dense_products() {
    assert_groups_are_dense_products(&format!(
        "extends = \"mxfp4\"\n{NEAREST}\n[activation]\nmean = {{ precision = \"bf16\" }}\n[forward]\nhadamard = {{ size = 16, signs = \"fixed\" }}\n[dgrad]\nhadamard = {{ size = 16, signs = \"fixed\" }}"
    ));
}

/// Holds a recipe's products of two groups that have the same weights against the dense products of all rows.
#[track_caller]
fn assert_one_weight_is_a_dense_product(text: &str, sizes: [usize; 2]) {
    let recipe = recipe(text);
    let dense = expanded(&two_linears(2 * ROWS, SIZES), &recipe, Form::Factored).module;
    let mut grouped = both_groups(sizes);
    let own: Vec<Tensor> = (0..3)
        .map(|number| match number {
            2 => grouped[2].clone(),
            _ => group_inputs(0)[number].clone(),
        })
        .collect();
    let state = begun(&dense, &own);
    let expected = interpret(&dense, &state);

    let module = expanded(&grouped_linears(), &recipe, Form::Factored).module;
    for number in 0..2 {
        let shape = grouped[number].shape().to_vec();
        grouped[number] = joined(&shape, [&own[number]; 2]);
    }
    // A weight's basis is one of each group; they begin as that of the dense weight.
    let inputs = module.entry().unwrap().inputs();
    for (input, of_dense) in inputs[4..].iter().zip(&state[3..]) {
        let shape = input.value_type.shape();
        grouped.push(match shape.len() > of_dense.shape().len() {
            true => joined(shape, [of_dense; 2]),
            false => of_dense.clone(),
        });
    }
    let found = interpret(&module, &grouped);
    for result in [H, Y, DW2, DH, DW1] {
        let mut own = values(&found[result]);
        let expected = values(&expected[result]);
        if [DW1, DW2].contains(&result) {
            let parts = own.split_at(expected.len());
            own = parts.0.iter().zip(parts.1).map(|(a, b)| a + b).collect();
        }
        let largest = (expected.iter()).fold(0f64, |largest, x| largest.max(x.abs()));
        for (found, expected) in own.iter().zip(&expected) {
            // Sums of at most 2 ROWS products, in f32 and in another order, of numbers that differ as much.
            let bound = 4.0 * (2 * ROWS) as f64 * 2f64.powi(-24) * largest;
            assert!(
                (found - expected).abs() <= bound,
                "{result}: {found}, expected {expected}"
            );
        }
    }
}

/// Directions of rows are those of all groups together, directions of a weight those of each group's matrix.
#[test]
fn leading_directions_are_taken_out() {
    let base = format!("extends = \"mxfp4\"\n{NEAREST}");
    let split = "spectral = { rank = 0.1, factors = \"f32\" }";
    for text in [
        format!("{base}\n[weight]\n{split}"),
        format!("{base}\n[activation]\n{split}"),
        format!("{base}\n{split}"),
        format!("{base}\n{split}\n[activation]\n{split}\n[weight]\n{split}"),
        format!(
            "{base}\n{split}\n[activation]\n{split}\n[weight]\n{split}\n\
             [forward]\nhadamard = {{ size = 16, signs = \"fixed\" }}"
        ),
    ] {
        for sizes in [[ROWS, ROWS], [128, 0], [0, 128], [96, 32]] {
            assert_one_weight_is_a_dense_product(&text, sizes);
        }
    }
}

/// What the mean leaves has directions: of one group that has all rows, those of the dense product.
#[test]
fn directions_of_what_means_leave() {
    let split = "mean = true\nspectral = { rank = 0.1, factors = \"f32\" }";
    let text = format!("extends = \"mxfp4\"\n{NEAREST}\n{split}\n[activation]\n{split}");
    assert_one_weight_is_a_dense_product(&text, [128, 0]);
}

/// What becomes of the products of a recipe for the grouped linears.
fn outcomes(text: &str) -> Vec<(Role, String)> {
    let expansion = expanded(&grouped_linears(), &recipe(text), Form::Factored);
    let rows = expansion.rows.into_iter();
    rows.map(|row| match row.row.subject {
        Subject::Linear { role, .. } => (role, row.outcome.to_string()),
        Subject::Other { .. } => panic!("{row:?}"),
    })
    .collect()
}

#[test]
fn what_has_no_meaning_for_groups_is_left_out_and_named() {
    let of = |preset: &str, role: Role| {
        let mut outcomes = outcomes(&format!("extends = \"{preset}\"")).into_iter();
        outcomes.find(|(own, _)| *own == role).unwrap().1
    };
    assert_eq!(
        of("nvidia", Role::Wgrad),
        "activation: nvfp4; gradient: nvfp4 stochastic; a grouped product: no transform over rows of different groups"
    );
    assert_eq!(
        of("quartet2", Role::Wgrad),
        "activation: nvfp4 stochastic; gradient: nvfp4 stochastic; a grouped product: no transform over rows of different \
         groups"
    );
    assert_eq!(
        of("quartet2", Role::Dgrad),
        "gradient: nvfp4 ms_eden; weight: nvfp4 ms_eden; hadamard 128 (random_per_step signs)"
    );
    assert_eq!(
        of("averis-gated", Role::Forward),
        "activation: gated mean bf16 + nvfp4; weight: nvfp4"
    );
    assert_eq!(
        of("averis-metis", Role::Forward),
        "activation: mean bf16 + 1.5 % of directions nvfp4 + nvfp4; weight: 1.5 % of directions nvfp4 + nvfp4"
    );
}

/// A recipe less what grouped products go without is another preset: both make the same program.
#[test]
fn less_its_transform_averis_hadamard_is_averis() {
    let module = |preset: &str| {
        let recipe = recipe(&format!("extends = \"{preset}\""));
        let expansion = expanded(&grouped_linears(), &recipe, Form::Factored);
        expansion.module.to_string()
    };
    assert_eq!(module("averis-hadamard"), module("averis"));
}

/// Experts never meet: each one's rows and matrices are as if its treatment were that of all, also where a group is empty
/// and where rows are in none. Where tokens are summed over, a block is of rows of several experts; there nothing is
/// quantised.
#[test]
fn an_expert_is_treated_alone() {
    let base = format!(
        "extends = \"mxfp4\"\n{NEAREST}\n[wgrad.activation]\nprecision = \"bf16\"\n\
         [wgrad.gradient]\nprecision = \"bf16\"\n"
    );
    let keep = |name: &str| format!("{base}[[override]]\nnames = [\"{name}\"]\nkeep = \"bf16\"\n");
    let modules = [base.clone(), keep("w2"), keep("w2[1]")];
    let modules =
        modules.map(|text| expanded(&grouped_linears(), &recipe(&text), Form::Factored).module);
    for sizes in [[ROWS, ROWS], [100, 28], [0, 128], [128, 0], [40, 50]] {
        let inputs = both_groups(sizes);
        let results = modules.each_ref().map(|module| first_step(module, &inputs));
        for result in [H, Y, DW2, DH, DW1] {
            let [all, of_linear, of_expert] = results.each_ref().map(|own| values(&own[result]));
            let row = all.len() / (2 * ROWS);
            let first = match [DW1, DW2].contains(&result) {
                true => all.len() / 2,
                false => sizes[0] * row,
            };
            assert_eq!(of_expert[..first], all[..first], "{result}, {sizes:?}");
            assert_eq!(
                of_expert[first..],
                of_linear[first..],
                "{result}, {sizes:?}"
            );
        }
        let precision_matters = sizes[1] == 0 || values(&results[0][Y]) != values(&results[1][Y]);
        assert!(precision_matters);
    }
}
