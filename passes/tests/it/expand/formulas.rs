//! What products become, against the papers' formulas in f64.

use super::*;
use half::bf16;
use tessera_numerics::{
    BlockShape, Format, Quantization, Rounding, ScaleLayout, ScaleRule, ScaledType, dequantize,
    quantize,
};

/// A matrix in f64.
#[derive(Clone)]
struct Matrix {
    rows: usize,
    columns: usize,
    values: Vec<f64>,
}

impl Matrix {
    fn of(tensor: &Tensor) -> Self {
        let [rows, columns] = tensor.shape() else {
            panic!("a matrix was expected");
        };
        Self {
            rows: *rows,
            columns: *columns,
            values: values(tensor),
        }
    }

    fn new(rows: usize, columns: usize, of: impl Fn(usize, usize) -> f64) -> Self {
        let places = (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j)));
        let values = places.map(|(i, j)| of(i, j)).collect();
        Self {
            rows,
            columns,
            values,
        }
    }

    fn at(&self, row: usize, column: usize) -> f64 {
        self.values[row * self.columns + column]
    }

    fn transposed(&self) -> Self {
        Self::new(self.columns, self.rows, |i, j| self.at(j, i))
    }

    fn times(&self, other: &Self) -> Self {
        assert_eq!(self.columns, other.rows);
        Self::new(self.rows, other.columns, |i, j| {
            (0..self.columns)
                .map(|k| self.at(i, k) * other.at(k, j))
                .sum()
        })
    }

    fn plus(&self, other: &Self) -> Self {
        Self::new(self.rows, self.columns, |i, j| {
            self.at(i, j) + other.at(i, j)
        })
    }

    /// In f32, as the graph computes.
    fn minus(&self, other: &Self) -> Self {
        Self::new(self.rows, self.columns, |i, j| {
            f64::from(self.at(i, j) as f32 - other.at(i, j) as f32)
        })
    }

    /// The mean of the rows rounded to bfloat16, in each row.
    fn mean(&self) -> Self {
        let mean = |j| {
            let sum: f64 = (0..self.rows).map(|i| self.at(i, j)).sum();
            f64::from(bf16::from_f32((sum / self.rows as f64) as f32))
        };
        Self::new(self.rows, self.columns, |_, j| mean(j))
    }

    /// As nvfp4 to the nearest, in blocks along a dimension.
    fn nvfp4(&self, axis: usize) -> Self {
        self.nvfp4_within(axis, self.magnitude())
    }

    /// The same as part of a tensor with that largest magnitude.
    fn nvfp4_within(&self, axis: usize, amax: f64) -> Self {
        let shape = [self.rows, self.columns];
        let (blocks, layout) = (BlockShape::Vector, ScaleLayout::Linear);
        let kind = ScaledType::new(shape, Format::Nvfp4, axis, blocks, layout).unwrap();
        let rounding = Rounding::NearestEven;
        let quantization = Quantization::new(kind, ScaleRule::Te, rounding).unwrap();
        let narrow: Vec<f32> = self.values.iter().map(|&value| value as f32).collect();
        let scaled = quantize(&narrow, &quantization, Some(amax as f32), None).unwrap();
        let values = dequantize(&scaled).into_iter().map(f64::from).collect();
        Self {
            values,
            ..self.clone()
        }
    }

    /// The largest magnitude.
    fn magnitude(&self) -> f64 {
        self.values
            .iter()
            .fold(0f64, |amax, value| amax.max(value.abs()))
    }
}

/// Fails where a result is further from the formula than its sums in f32 allow: `terms` sums of `length` products of
/// numbers up to the operands' magnitudes, each product and addition with an error of 2⁻²⁴ of what it gives.
#[track_caller]
fn assert_near(found: &Tensor, expected: &Matrix, operands: [&Matrix; 2], length: usize) {
    let [left, right] = operands.map(Matrix::magnitude);
    // Residual and splits are up to twice the operand each; four terms at most.
    let size = 16.0 * left * right * length as f64;
    let bound = size * (length + 8) as f64 * 2f64.powi(-24);
    for (place, (found, expected)) in values(found).iter().zip(&expected.values).enumerate() {
        let error = (found - expected).abs();
        assert!(
            error <= bound,
            "{place}: {found}, expected {expected} ± {bound}"
        );
    }
}

const TOKENS: usize = 32;
const SIZES: [usize; 3] = [48, 32, 16];

/// Weights, and activations with a mean.
fn inputs() -> [Tensor; 3] {
    let [inputs, hidden, outputs] = SIZES;
    let (own, offset) = (noise(3), noise(4));
    [
        matrix(inputs, hidden, noise(1)),
        matrix(hidden, outputs, noise(2)),
        matrix(TOKENS, inputs, |i, j| own(i, j) + 8.0 * offset(0, j)),
    ]
}

const NEAREST: &str = "[gradient]\nrounding = \"nearest_even\"";

#[test]
fn nvfp4_multiplies_operands_quantised_along_what_is_summed_over() {
    let module = two_linears(TOKENS, SIZES);
    let recipe = recipe(&format!("extends = \"nvfp4\"\n{NEAREST}"));
    let inputs = inputs();
    let results = first_step(&expanded(&module, &recipe, Form::Factored).module, &inputs);
    let [w1, w2, x] = [0, 1, 2].map(|number| Matrix::of(&inputs[number]));
    let [h, y, dh] = [H, Y, DH].map(|number| Matrix::of(&results[number]));

    let forward = x.nvfp4(1).times(&w1.nvfp4(0));
    assert_near(&results[H], &forward, [&x, &w1], SIZES[0]);
    let dgrad = y.nvfp4(1).times(&w2.nvfp4(1).transposed());
    assert_near(&results[DH], &dgrad, [&y, &w2], SIZES[2]);
    let wgrad = x.nvfp4(0).transposed().times(&dh.nvfp4(0));
    assert_near(&results[DW1], &wgrad, [&x, &dh], TOKENS);
    let wgrad = h.nvfp4(0).transposed().times(&y.nvfp4(0));
    assert_near(&results[DW2], &wgrad, [&h, &y], TOKENS);
}

/// (11) and the activation's half of (12).
#[test]
fn averis_adds_the_means_products() {
    let module = two_linears(TOKENS, SIZES);
    let recipe = recipe(&format!("extends = \"averis\"\n{NEAREST}"));
    let inputs = inputs();
    let results = first_step(&expanded(&module, &recipe, Form::Factored).module, &inputs);
    let [w1, x] = [0, 2].map(|number| Matrix::of(&inputs[number]));
    let dh = Matrix::of(&results[DH]);
    let (mean, residual) = (x.mean(), x.minus(&x.mean()));

    let forward = mean.plus(&residual.nvfp4(1)).times(&w1.nvfp4(0));
    assert_near(&results[H], &forward, [&x, &w1], SIZES[0]);
    let summed = mean.plus(&residual.nvfp4(0)).transposed();
    assert_near(
        &results[DW1],
        &summed.times(&dh.nvfp4(0)),
        [&x, &dh],
        TOKENS,
    );
}

/// (12) in full.
#[test]
fn averis_centres_both_operands_of_wgrad() {
    let module = two_linears(TOKENS, SIZES);
    let text = format!("extends = \"averis\"\n{NEAREST}\nmean = true");
    let inputs = inputs();
    let results = first_step(
        &expanded(&module, &recipe(&text), Form::Factored).module,
        &inputs,
    );
    let (x, w2) = (Matrix::of(&inputs[2]), Matrix::of(&inputs[1]));
    let (y, dh) = (Matrix::of(&results[Y]), Matrix::of(&results[DH]));

    let centred = |matrix: &Matrix, axis| {
        matrix
            .mean()
            .plus(&matrix.minus(&matrix.mean()).nvfp4(axis))
    };
    let dgrad = centred(&y, 1).times(&w2.nvfp4(1).transposed());
    assert_near(&results[DH], &dgrad, [&y, &w2], SIZES[2]);
    let wgrad = centred(&x, 0).transposed().times(&centred(&dh, 0));
    assert_near(&results[DW1], &wgrad, [&x, &dh], TOKENS);
}

/// Residuals of E2M1's numbers, each block with a 6, and weights likewise: nothing is lost but the last bits of the scales.
#[test]
fn averis_is_exact_where_the_residual_is() {
    const GRID: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];
    let sizes @ [width, hidden, outputs] = [32, 16, 16];
    let module = two_linears(TOKENS, sizes);
    let offset = noise(4);
    // Rows come in pairs of opposite sign, so that the mean is the offset, a multiple of 1/64 below 128: bfloat16 has it.
    let offset = |j: usize| (64.0 * offset(0, j)).round();
    let x = matrix(TOKENS, width, |i, j| {
        let sign = if i.is_multiple_of(2) { 1.0 } else { -1.0 };
        offset(j) + sign * GRID[(i / 2 + j) % 8]
    });
    let weight = |i: usize, j: usize| {
        GRID[(i + j) % 8]
            * if (i / 8 + j).is_multiple_of(2) {
                1.0
            } else {
                -1.0
            }
    };
    let inputs = [
        matrix(width, hidden, weight),
        matrix(hidden, outputs, weight),
        x,
    ];
    let results = first_step(
        &expanded(&module, &recipe("extends = \"averis\""), Form::Factored).module,
        &inputs,
    );
    let (w, x) = (Matrix::of(&inputs[0]), Matrix::of(&inputs[2]));
    assert_near(&results[H], &x.times(&w), [&x, &w], width);
    let plain = first_step(
        &expanded(&module, &recipe("extends = \"nvfp4\""), Form::Factored).module,
        &inputs,
    );
    let error = |found: &Tensor| {
        let exact = x.times(&w);
        let errors = values(found).into_iter().zip(exact.values);
        errors
            .map(|(found, exact)| (found - exact).abs())
            .fold(0f64, f64::max)
    };
    assert!(error(&plain[H]) > 1.0, "without centring it is not exact");
}

/// Every rounding is the same in both forms, so that only the sums differ.
#[track_caller]
fn assert_forms_agree(text: &str) {
    let module = two_linears(TOKENS, SIZES);
    let recipe = recipe(text);
    let inputs = inputs();
    let factored = first_step(&expanded(&module, &recipe, Form::Factored).module, &inputs);
    let plain = expanded(&module, &recipe, Form::Plain).module;
    let plain = first_step(&plain, &inputs);
    // H comes of the inputs; what comes of H would be rounded otherwise where H differs in its last bit.
    let [w1, x] = [0, 2].map(|number| Matrix::of(&inputs[number]));
    assert_near(&factored[H], &Matrix::of(&plain[H]), [&x, &w1], SIZES[0]);
}

#[test]
fn both_forms_give_the_same_forward() {
    assert_forms_agree("extends = \"averis\"");
    assert_forms_agree("extends = \"averis\"\n[forward]\nhadamard = true");
    assert_forms_agree("extends = \"metis\"");
    assert_forms_agree("extends = \"averis-metis\"");
    assert_forms_agree("extends = \"averis-metis\"\n[forward]\nhadamard = { size = 32 }");
}

/// With one linear the gradient is the input itself, so that wgrad's operands are the same in both forms.
#[test]
fn both_forms_give_the_same_wgrad() {
    let (tokens, sizes) = (40, [48, 32]);
    let module = one_linear(tokens, sizes);
    let [inputs, outputs] = sizes;
    let offset = noise(4);
    let own = noise(3);
    let tensors = [
        matrix(inputs, outputs, noise(1)),
        matrix(tokens, inputs, |i, j| own(i, j) + 4.0 * offset(0, j)),
        matrix(tokens, outputs, |i, j| own(i + 50, j) + offset(1, j)),
    ];
    let [x, d] = [1, 2].map(|number| Matrix::of(&tensors[number]));
    for text in [
        "extends = \"averis\"\n[gradient]\nmean = true",
        "extends = \"averis-hadamard\"\n[gradient]\nmean = true",
        "extends = \"averis-hadamard\"\n[wgrad]\nhadamard = { size = 64, signs = \"random_per_step\" }",
        "extends = \"averis-metis\"\n[gradient]\nmean = true",
        "extends = \"averis\"\n[activation]\nmean = { precision = \"nvfp4\" }",
    ] {
        let recipe = recipe(text);
        let [factored, plain] = [Form::Factored, Form::Plain]
            .map(|form| first_step(&expanded(&module, &recipe, form).module, &tensors));
        assert_near(&factored[1], &Matrix::of(&plain[1]), [&x, &d], 64);
    }
}

/// `Y = X W`, `dW = Xᵀ (Y + D)` … with Y masked away by a product with zero: the gradient is D, and depends on W.
fn one_linear(tokens: usize, [inputs, outputs]: [usize; 2]) -> Module {
    let f32s = |rows, columns| TensorType::new(ElementType::F32, [rows, columns]);
    let arguments = [
        Input::new(f32s(inputs, outputs)).named("w").donated_to(0),
        Input::new(f32s(tokens, inputs)).named("x"),
        Input::new(f32s(tokens, outputs)).named("d"),
    ];
    let (mut b, [w, x, d]) = Builder::new("main", arguments);
    let y = b.matmul(x, w).unwrap();
    let zero = b.splat(0.0, &f32s(tokens, outputs)).unwrap();
    let masked = b.multiply(y, zero).unwrap();
    let gradient = b.add(masked, d).unwrap();
    let numbers = DotDimensionNumbers {
        lhs_contracting: &[0],
        rhs_contracting: &[0],
        ..Default::default()
    };
    let f32 = ElementType::F32;
    let dw = b.dot_general(x, gradient, &numbers, f32, f32).unwrap();
    let new = b.subtract(w, dw).unwrap();
    let mut module = Module::new(None);
    module.insert(b.finish([new, dw]));
    module
}

/// What a Hadamard transform leaves of a product is the product: with operands that are not rounded by much (fp8) it is near.
#[test]
fn a_transform_is_of_both_operands() {
    let module = two_linears(TOKENS, SIZES);
    let inputs = inputs();
    let [w1, x] = [0, 2].map(|number| Matrix::of(&inputs[number]));
    let exact = x.times(&w1);
    for signs in ["random", "random_per_step"] {
        // 48 inputs are padded to 64 or 128.
        for size in [32, 128] {
            let text = format!(
                "extends = \"fp8\"\n[forward]\nhadamard = {{ size = {size}, signs = \"{signs}\" }}"
            );
            let module = expanded(&module, &recipe(&text), Form::Factored).module;
            let found = Matrix::of(&first_step(&module, &inputs)[H]);
            // E4M3 has 4 digits: an error of 2⁻⁴ of each number, one of a row as large as another's at random.
            let bound = 0.125 * (SIZES[0] as f64).sqrt() * x.magnitude() * w1.magnitude();
            for (found, exact) in found.values.iter().zip(&exact.values) {
                assert!((found - exact).abs() < bound, "{found}, {exact}");
            }
        }
    }
}

/// Activations that are one direction for the most part lose less once that is taken out. The weight stays in f32, so that
/// the error is the activations' alone.
#[test]
fn metis_takes_the_leading_direction_out() {
    let module = two_linears(TOKENS, SIZES);
    let inputs = inputs();
    let [w1, x] = [0, 2].map(|number| Matrix::of(&inputs[number]));
    let exact = x.times(&w1);
    let error = |activation: &str| {
        let text = format!(
            "extends = \"nvfp4\"\n[weight]\nprecision = \"f32\"\n[activation]\n{activation}"
        );
        let module = expanded(&module, &recipe(&text), Form::Factored).module;
        let found = Matrix::of(&first_step(&module, &inputs)[H]);
        let errors = found.values.iter().zip(&exact.values);
        errors.map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
    };
    let split = error("spectral = { rank = 0.1, factors = \"f32\" }");
    let plain = error("spectral = false");
    // Blocks' largest magnitudes are those of the mean, 8 at most, without the split, and of the noise, 1, with it.
    assert!(split < plain / 2.0, "{split} against {plain}");
}

/// A batch of products: one tensor scale for all matrices of a tensor, blocks and sums within each.
#[test]
fn experts_are_a_batch_of_matrices() {
    let (experts, tokens, inputs, outputs) = (3, 16, 32, 16);
    let f32s = |rows, columns| TensorType::new(ElementType::F32, [experts, rows, columns]);
    let arguments = [
        Input::new(f32s(inputs, outputs)).named("w").donated_to(0),
        Input::new(f32s(tokens, inputs)).named("x"),
    ];
    let (mut b, [w, x]) = Builder::new("main", arguments);
    let dot = |b: &mut Builder, lhs: (ValueId, usize), rhs: (ValueId, usize)| {
        let numbers = DotDimensionNumbers {
            lhs_batching: &[0],
            rhs_batching: &[0],
            lhs_contracting: &[lhs.1],
            rhs_contracting: &[rhs.1],
        };
        let f32 = ElementType::F32;
        b.dot_general(lhs.0, rhs.0, &numbers, f32, f32).unwrap()
    };
    let y = dot(&mut b, (x, 2), (w, 1));
    // As JAX writes it at times: the weight's gradient transposed.
    let transposed = dot(&mut b, (y, 1), (x, 1));
    let dw = b.transpose(transposed, &[0, 2, 1]).unwrap();
    let new = b.subtract(w, dw).unwrap();
    let mut module = Module::new(None);
    module.insert(b.finish([new, y, dw]));

    let of = |rows: usize, columns: usize, seed: usize| {
        let own = noise(seed);
        let values: Vec<f32> = (0..experts * rows * columns)
            .map(|place| {
                let (row, column) = (place / columns, place % columns);
                (own(row, column) + own(7, column)) * (1 + place / (rows * columns)) as f32
            })
            .collect();
        Tensor::from_values([experts, rows, columns], &values).unwrap()
    };
    let tensors = [of(inputs, outputs, 1), of(tokens, inputs, 2)];
    let recipe = recipe(&format!("extends = \"averis\"\n{NEAREST}"));
    let results = first_step(&expanded(&module, &recipe, Form::Factored).module, &tensors);

    let part = |tensor: &Tensor, expert: usize| {
        let &[_, rows, columns] = tensor.shape() else {
            panic!("a batch of matrices was expected");
        };
        let all = values(tensor);
        let values = all[expert * rows * columns..][..rows * columns].to_vec();
        Matrix {
            rows,
            columns,
            values,
        }
    };
    let [w, x, y] = [&tensors[0], &tensors[1], &results[1]]
        .map(|tensor| [0, 1, 2].map(|expert| part(tensor, expert)));
    let residuals = [0, 1, 2].map(|expert| x[expert].minus(&x[expert].mean()));
    let largest = |parts: &[Matrix; 3]| parts.iter().map(Matrix::magnitude).fold(0f64, f64::max);
    for expert in 0..experts {
        let sum = |axis| {
            let residual = residuals[expert].nvfp4_within(axis, largest(&residuals));
            x[expert].mean().plus(&residual)
        };
        let quantised = w[expert].nvfp4_within(0, largest(&w));
        let found = |result: usize| {
            let part = part(&results[result], expert);
            let narrow: Vec<f32> = part.values.iter().map(|&value| value as f32).collect();
            Tensor::from_values([part.rows, part.columns], &narrow).unwrap()
        };
        let operands = [&x[expert], &w[expert]];
        assert_near(&found(1), &sum(1).times(&quantised), operands, inputs);
        let gradient = y[expert].nvfp4_within(0, largest(&y));
        let wgrad = sum(0).transposed().times(&gradient);
        assert_near(&found(2), &wgrad, [&x[expert], &y[expert]], tokens);
    }
}

/// Forward and dgrad multiply by the same numbers where the weight has square blocks.
#[test]
fn square_blocks_are_the_same_in_both_directions() {
    let module = two_linears(TOKENS, SIZES);
    let recipe = recipe(&format!(
        "extends = \"nvfp4\"\n[weight]\nblocks = \"square\"\n{NEAREST}"
    ));
    let inputs = inputs();
    let results = first_step(&expanded(&module, &recipe, Form::Factored).module, &inputs);
    let w2 = Matrix::of(&inputs[1]);
    let shape = [w2.rows, w2.columns];
    let (blocks, layout) = (BlockShape::Square, ScaleLayout::Linear);
    let kind = ScaledType::new(shape, Format::Nvfp4, 0, blocks, layout).unwrap();
    let quantization = Quantization::new(kind, ScaleRule::Te, Rounding::NearestEven).unwrap();
    let narrow: Vec<f32> = w2.values.iter().map(|&value| value as f32).collect();
    let scaled = quantize(&narrow, &quantization, Some(w2.magnitude() as f32), None).unwrap();
    let numbers = dequantize(&scaled).into_iter().map(f64::from).collect();
    let weight = Matrix {
        values: numbers,
        ..w2.clone()
    };

    let (h, y) = (Matrix::of(&results[H]), Matrix::of(&results[Y]));
    assert_near(&results[Y], &h.nvfp4(1).times(&weight), [&h, &w2], SIZES[1]);
    let dgrad = y.nvfp4(1).times(&weight.transposed());
    assert_near(&results[DH], &dgrad, [&y, &w2], SIZES[2]);
}
