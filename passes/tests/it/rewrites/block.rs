//! A Llama block with its products written out as Averis' formulas say: each product takes the means of its operands
//! out, quantises the residuals, and multiplies every pair of terms as matrices.
//!
//! ```text
//! forward  Y  = Q(X − 1 μ) Q(W) + (1 μ) Ŵ                      Ŵ, X̂, D̂: what the codes stand for
//! dgrad    dX = Q(D − 1 ν) Q(Wᵀ) + (1 ν) Ŵᵀ
//! wgrad    dW = Q(X − 1 μ)ᵀ Q(D − 1 ν) + X̂ᵀ (1 ν) + (1 μ)ᵀ D̂ + (1 μ)ᵀ (1 ν)
//! ```

use super::{count_named, launches};
use crate::common::{interpret, run};
use std::fmt::Write;
use tessera_ir::{
    Binary, Builder, DotDimensionNumbers, ElementType, Input, Module, OpError, OpKind, Operation,
    QuantizeOperands, Tensor, TensorType, ValueId, verify,
};
use tessera_numerics::{
    BlockShape, Format, Quantization, Rounding, ScaleLayout, ScaleRule, ScaledType,
};
use tessera_passes::rewrites::{CostModel, CpuCosts};

const F32: ElementType = ElementType::F32;

/// Writes products out. Nothing that one product computed is used for another.
struct Plain {
    b: Builder,
    /// Each quantisation has a stream of its own, though none is random.
    sites: usize,
}

impl Plain {
    fn shape(&self, x: ValueId) -> Vec<usize> {
        self.b.graph().value_type(x).shape().to_vec()
    }

    /// The mean of a matrix's rows, repeated for each row, and what is left without it.
    fn split(&mut self, x: ValueId) -> Result<[ValueId; 2], OpError> {
        let shape = self.shape(x);
        let mean = self.b.column_mean(x, &[0])?;
        let means = self.b.broadcast_in_dim(mean, &[1], &shape)?;
        Ok([means, self.b.subtract(x, means)?])
    }

    fn quantized(&mut self, x: ValueId, axis: usize) -> Result<ValueId, OpError> {
        let shape = self.shape(x);
        let (blocks, layout) = (BlockShape::Vector, ScaleLayout::Linear);
        let scaled = ScaledType::new(shape, Format::Nvfp4, axis, blocks, layout).unwrap();
        let quantization = Quantization::new(scaled, ScaleRule::Te, Rounding::NearestEven).unwrap();
        let magnitudes = self.b.abs(x)?;
        let amax = Some(self.b.reduce_max(magnitudes, &[0, 1])?);
        self.sites += 1;
        let operands = QuantizeOperands { amax, step: None };
        self.b.quantize(x, operands, &quantization, (1, self.sites))
    }

    fn product(
        &mut self,
        (lhs, rhs): (ValueId, ValueId),
        (lhs_axis, rhs_axis): (usize, usize),
    ) -> Result<ValueId, OpError> {
        let dimensions = DotDimensionNumbers {
            lhs_contracting: &[lhs_axis],
            rhs_contracting: &[rhs_axis],
            ..Default::default()
        };
        self.b.dot_general(lhs, rhs, &dimensions, F32, F32)
    }

    /// X W, the mean taken out of X; for dgrad W is contracted along its other dimension.
    fn rows_times_weight(
        &mut self,
        x: ValueId,
        w: ValueId,
        axis: usize,
    ) -> Result<ValueId, OpError> {
        let [means, residual] = self.split(x)?;
        let (residual, weight) = (self.quantized(residual, 1)?, self.quantized(w, axis)?);
        let main = self.b.scaled_dot(residual, weight, F32)?;
        let numbers = self.b.dequantize(weight, F32)?;
        let term = self.product((means, numbers), (1, axis))?;
        self.b.add(main, term)
    }

    /// Xᵀ D, the mean taken out of both.
    fn wgrad(&mut self, x: ValueId, d: ValueId) -> Result<ValueId, OpError> {
        let [x_means, x_residual] = self.split(x)?;
        let [d_means, d_residual] = self.split(d)?;
        let (x_codes, d_codes) = (
            self.quantized(x_residual, 0)?,
            self.quantized(d_residual, 0)?,
        );
        let mut sum = self.b.scaled_dot(x_codes, d_codes, F32)?;
        let x_numbers = self.b.dequantize(x_codes, F32)?;
        let d_numbers = self.b.dequantize(d_codes, F32)?;
        for pair in [
            (x_numbers, d_means),
            (x_means, d_numbers),
            (x_means, d_means),
        ] {
            let term = self.product(pair, (0, 0))?;
            sum = self.b.add(sum, term)?;
        }
        Ok(sum)
    }

    /// Tokens × features of an activation batch × sequence × features.
    fn flat(&mut self, x: ValueId) -> Result<ValueId, OpError> {
        let shape = self.shape(x);
        self.b.reshape(x, &[shape[0] * shape[1], shape[2]])
    }

    /// An RMS norm with a gain.
    fn norm(&mut self, x: ValueId, gain: ValueId) -> Result<ValueId, OpError> {
        let shape = self.shape(x);
        let squares = self.b.multiply(x, x)?;
        let sums = self.b.reduce_sum(squares, &[2])?;
        let sums_type = TensorType::new(F32, &shape[..2]);
        let count = self.b.splat(shape[2] as f64, &sums_type)?;
        let mean = self.b.divide(sums, count)?;
        let scale = self.b.rsqrt(mean)?;
        let scale = self.b.broadcast_in_dim(scale, &[0, 1], &shape)?;
        let gain = self.b.broadcast_in_dim(gain, &[2], &shape)?;
        let normed = self.b.multiply(x, scale)?;
        self.b.multiply(normed, gain)
    }
}

/// What a block has of linears that read one normed activation: their number, and whether gradients are asked for.
struct Sizes {
    tokens: [usize; 2],
    features: usize,
    outputs: usize,
    linears: usize,
    gradients: bool,
}

/// norm, then `linears` products of its result; with gradients, dX summed over them and a dW each.
fn block(sizes: &Sizes) -> Result<Module, OpError> {
    let [batch, sequence] = sizes.tokens;
    let activation = |features| Input::new(TensorType::new(F32, [batch, sequence, features]));
    let mut inputs = vec![
        activation(sizes.features).named("x"),
        Input::new(TensorType::new(F32, [sizes.features])).named("gain"),
    ];
    let weight = TensorType::new(F32, [sizes.features, sizes.outputs]);
    for number in 0..sizes.linears {
        inputs.push(Input::new(weight.clone()).named(format!("w{number}")));
        if sizes.gradients {
            inputs.push(activation(sizes.outputs).named(format!("d{number}")));
        }
    }
    let mut plain = Plain {
        b: Builder::with_inputs("main", inputs),
        sites: 0,
    };
    let inputs = plain.b.inputs();
    let normed = plain.norm(inputs[0], inputs[1])?;
    let mut results = Vec::new();
    let mut gradient: Option<ValueId> = None;
    for linear in inputs[2..].chunks(if sizes.gradients { 2 } else { 1 }) {
        let w = linear[0];
        let x = plain.flat(normed)?;
        let y = plain.rows_times_weight(x, w, 0)?;
        results.push(plain.b.reshape(y, &[batch, sequence, sizes.outputs])?);
        if let Some(&d) = linear.get(1) {
            let d = plain.flat(d)?;
            let dx = plain.rows_times_weight(d, w, 1)?;
            let dx = plain.b.reshape(dx, &[batch, sequence, sizes.features])?;
            gradient = Some(match gradient {
                Some(sum) => plain.b.add(sum, dx)?,
                None => dx,
            });
            let x = plain.flat(normed)?;
            results.push(plain.wgrad(x, d)?);
        }
    }
    results.extend(gradient);
    let mut module = Module::new(None);
    module.insert(plain.b.finish(results));
    verify(&module).unwrap();
    Ok(module)
}

const SMALL: Sizes = Sizes {
    tokens: [2, 16],
    features: 32,
    outputs: 48,
    linears: 1,
    gradients: true,
};

/// Sizes at which products cost more than launches.
const LARGE: Sizes = Sizes {
    tokens: [4, 256],
    features: 512,
    outputs: 512,
    linears: 3,
    gradients: true,
};

/// Numbers in [−1, 1) that repeat nowhere, with a mean of `offset`.
fn inputs(module: &Module, offset: f32) -> Vec<Tensor> {
    let inputs = module.entry().unwrap().inputs().iter().enumerate();
    let number = |input: usize, index: usize| {
        let turn = (index as f64 * 0.754_877_666 + input as f64 * 0.569_840_291).fract();
        (2.0 * turn - 1.0) as f32 + offset
    };
    let tensors = inputs.map(|(input, value)| {
        let tensor = value.value_type.as_tensor().unwrap();
        let values: Vec<f32> = (0..tensor.len())
            .map(|index| number(input, index))
            .collect();
        Tensor::from_values(tensor.shape.as_slice(), &values).unwrap()
    });
    tensors.collect()
}

#[test]
fn a_block_before_and_after() {
    let before = block(&SMALL).unwrap();
    let after = run("saturate", &before);
    insta::assert_snapshot!("block", format!("// before\n{before}\n// after\n{after}"));
}

#[test]
fn activations_have_one_mean_one_centring_and_one_quantisation_a_direction() {
    let forward = Sizes {
        gradients: false,
        ..LARGE
    };
    let after = run("saturate", &block(&forward).unwrap());
    assert_eq!(count_named(&after, "column_mean"), 1);
    assert_eq!(count_named(&after, "subtract"), 1);
    // The activation once, the weights of q, k and v.
    assert_eq!(count_named(&after, "quantize"), 1 + 3);
    assert_eq!(count_named(&after, "scaled_dot"), 3);
}

#[test]
fn gradients_share_what_forward_and_each_other_have() {
    let after = run("saturate", &block(&LARGE).unwrap());
    // The activation and three gradients.
    assert_eq!(count_named(&after, "column_mean"), 1 + 3);
    assert_eq!(count_named(&after, "subtract"), 1 + 3);
    // Along features and along tokens: the activation, three gradients; along both dimensions: three weights.
    assert_eq!(count_named(&after, "quantize"), 2 + 3 * 2 + 3 * 2);
    assert_eq!(count_named(&after, "scaled_dot"), 3 * 3);
}

#[test]
fn forward_and_dgrad_have_a_bias_row_and_wgrad_vectors_in_its_epilogue() {
    let module = run("saturate", &block(&LARGE).unwrap());
    let graph = module.entry().unwrap();
    let products = graph
        .operations()
        .iter()
        .filter(|operation| matches!(operation.op.kind, OpKind::DotGeneral { .. }));
    let tokens = LARGE.tokens[0] * LARGE.tokens[1];
    let mut rows = 0;
    for product in products {
        let result = graph.value_type(product.result()).shape();
        assert!(
            !result.contains(&tokens),
            "a product for each token: {result:?}"
        );
        assert_eq!(result.len(), 1, "a matrix times a vector: {result:?}");
        rows += 1;
    }
    // μ Ŵ and ν Ŵᵀ of three linears.
    assert_eq!(rows, 3 * 2);
}

#[test]
fn wgrads_correction_is_of_rank_two() {
    let after = run("saturate", &block(&SMALL).unwrap());
    let graph = after.entry().unwrap();
    let wgrad = graph.results()[1].value;
    // dW = codes' product + ((s_X + l μ) ⊗ ν + μ ⊗ s_D): two outer products, each a multiplication of two broadcasts.
    let is_outer = |operation: &Operation| {
        let operands = operation.op.operands.iter();
        let mut definitions = operands.map(|&operand| graph.defining_operation(operand));
        operation.op.kind == OpKind::Binary(Binary::Multiply)
            && graph.value_type(operation.result()) == graph.value_type(wgrad)
            && definitions.all(|definition| {
                definition.is_some_and(|d| matches!(d.op.kind, OpKind::BroadcastInDim { .. }))
            })
    };
    assert_eq!(graph.operations().iter().filter(|o| is_outer(o)).count(), 2);
}

#[test]
fn exact_rules_keep_all_bits() {
    let before = block(&SMALL).unwrap();
    let after = run("saturate{numerics=exact}", &before);
    let inputs = inputs(&before, 0.5);
    assert_eq!(interpret(&after, &inputs), interpret(&before, &inputs));
}

#[test]
fn all_rules_keep_results_within_the_rounding_of_the_corrections() {
    let before = block(&SMALL).unwrap();
    let after = run("saturate", &before);
    let inputs = inputs(&before, 0.5);
    let (found, expected) = (interpret(&after, &inputs), interpret(&before, &inputs));
    // Codes are the same, so only sums and products of f32 after them differ. An element is a sum of at most four terms
    // of 32 or 48 products of numbers below 6 (a normed activation of at most √32, 1.5 for the rest): each term is below
    // 48 · 6 · 1.5 · 1.5 < 1000. On either side at most eight roundings of 2⁻²⁴ are of numbers below 4 · 1000.
    let bound = 16.0 * 4000.0 * 2.0f32.powi(-24);
    for (found, expected) in found.iter().zip(&expected) {
        let values = found.values::<f32>().unwrap().into_iter();
        for (a, b) in values.zip(expected.values::<f32>().unwrap()) {
            assert!((a - b).abs() <= bound, "{a}, expected {b}");
        }
    }
}

/// Ops, the kernels they become, and what the CPU's cost model says of them, before and after saturation and with exact rules only.
#[test]
fn what_it_saves() {
    let mut table = String::new();
    for (name, linears, gradients) in [
        ("q, k, v forward", 3, false),
        ("gate, up forward", 2, false),
        ("q, k, v", 3, true),
        ("gate, up", 2, true),
    ] {
        let sizes = Sizes {
            linears,
            gradients,
            ..LARGE
        };
        writeln!(table, "{name}").unwrap();
        let module = block(&sizes).unwrap();
        for (form, pipeline) in [
            ("plain", ""),
            ("equal ops merged", "cse"),
            ("saturated, exact", "saturate{numerics=exact}"),
            ("saturated", "saturate"),
        ] {
            let module = run(pipeline, &module);
            let graph = module.entry().unwrap();
            let cost = CpuCosts.graph(graph);
            let quantisations = count_named(&module, "quantize");
            let launches = launches(&module);
            let (ops, time) = (graph.operations().len(), CpuCosts.time(&cost) / 1_000_000);
            writeln!(
                table,
                "  {form}: {ops} ops, {quantisations} quantisations, {launches} kernels started; estimated: {cost}, {time} us"
            )
            .unwrap();
        }
    }
    insta::assert_snapshot!("savings", table);
}
