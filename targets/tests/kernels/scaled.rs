//! Scaled tensors, and what prepares for them: kernels that the runtime computes itself.

use crate::emulated;
use crate::harness::{
    Case, Random, Tolerance, assert_within_roundings, check, check_for, check_on_cpu, check_on_gpu,
    interpret, numbers, plan_of, run,
};
use crate::ptx::ptx;
use tessera_ir::plan::Family;
use tessera_ir::{
    Builder, DotDimensionNumbers, ElementType, Graph, Input, OpKind, QuantizeOperands, ScaledType,
    Tensor, TensorType, Type, ValueId,
};
use tessera_numerics::{
    BlockShape, Format, Quantization, Rounding, ScaleLayout, ScaleRule, largest_magnitude,
    random_signs, transformer_engine_signs,
};
use tessera_runtime::bundle::Code;
use tessera_targets::{Options, Target, compile};

fn f32s(shape: &[usize]) -> TensorType {
    TensorType::new(ElementType::F32, shape)
}

fn scaled(shape: &[usize], format: Format, axis: usize) -> ScaledType {
    ScaledType::new(shape, format, axis, BlockShape::Vector, ScaleLayout::Linear).unwrap()
}

/// Every quantisation of a tensor of that shape.
fn quantizations(shape: &[usize]) -> Vec<Quantization> {
    let mut all = Vec::new();
    for format in Format::ALL {
        for axis in 0..shape.len() {
            for blocks in BlockShape::ALL {
                for layout in ScaleLayout::ALL {
                    let Ok(scaled) = ScaledType::new(shape, format, axis, blocks, layout) else {
                        continue;
                    };
                    for rule in ScaleRule::ALL {
                        for rounding in Rounding::ALL {
                            all.extend(Quantization::new(scaled.clone(), rule, rounding));
                        }
                    }
                }
            }
        }
    }
    all
}

/// Numbers of several sizes, with signed zeros and subnormals among them.
pub fn ordinary(random: &mut Random, shape: &[usize]) -> Tensor {
    random.tensor_of(ElementType::F32, shape, |random| {
        let x = random.uniform();
        match random.word() % 16 {
            0 => 0.0f64.copysign(x),
            1 => x * 2f64.powi(-130),
            2 => x * 100.0,
            3 => (x * 12.0).round() / 2.0,
            _ => x,
        }
    })
}

/// The same with a NaN and infinities.
fn special(random: &mut Random, shape: &[usize], specials: &[f32]) -> Tensor {
    let mut values = ordinary(random, shape).values::<f32>().unwrap();
    for special in specials {
        let count = values.len() as u64;
        if let Some(value) = values.get_mut((random.word() % count.max(1)) as usize) {
            *value = *special;
        }
    }
    Tensor::from_values(shape.to_vec(), &values).unwrap()
}

/// The body that quantises one tensor, and its inputs.
fn quantize(quantization: &Quantization, x: &Tensor, step: u32) -> Case {
    let has_tensor_scale = quantization.scaled_type().format().has_tensor_scale();
    let amax = largest_magnitude(&x.values::<f32>().unwrap());
    let mut inputs = vec![x.clone()];
    inputs.extend(has_tensor_scale.then(|| Tensor::scalar(amax)));
    inputs.extend(
        quantization
            .rounding()
            .is_random()
            .then(|| Tensor::scalar(step)),
    );
    let types = inputs.iter().map(|input| Input::new(TensorType::of(input)));
    let mut b = Builder::with_inputs("quantize", types.collect());
    let values = b.inputs();
    let operands = QuantizeOperands {
        amax: has_tensor_scale.then(|| values[1]),
        step: quantization
            .rounding()
            .is_random()
            .then(|| *values.last().unwrap()),
    };
    let result = b.quantize(values[0], operands, quantization, (0x1234_5678_9abc, 7));
    let body = b.finish([result.unwrap()]);
    Case::of(Family::Quantize, body, inputs)
}

/// Whether there is a kernel for GPUs.
fn is_on_gpu(quantization: &Quantization) -> bool {
    let is_drawn_in_parts = quantization.rounding() == Rounding::Stochastic
        && !quantization
            .scaled_type()
            .padded_columns()
            .is_multiple_of(16);
    !is_drawn_in_parts
}

#[test]
fn quantize_gives_the_interpreters_bytes() {
    let mut random = Random(3);
    for shape in [&[33, 50][..], &[3, 40, 17], &[64, 128], &[45], &[0, 16]] {
        let x = ordinary(&mut random, shape);
        let cases = quantizations(shape);
        assert!(cases.len() >= 20, "{shape:?}");
        check_on_cpu(cases.iter().map(|one| quantize(one, &x, 11)).collect());
        // Emulation takes its time: these two have every rank that matters, ragged blocks and padding.
        if [&[33, 50][..], &[45]].contains(&shape) {
            let is_emulated = |one: &&Quantization| is_on_gpu(one) && one.scaled_type().axis() == 0;
            let cases = cases.iter().filter(is_emulated);
            check_on_gpu(cases.map(|one| quantize(one, &x, 11)).collect());
        }
    }
}

/// A correction is of 128 elements: rows of two such groups, the second one shorter and with a shorter last block.
#[test]
fn ms_eden_corrects_each_group_of_a_row() {
    let mut random = Random(5);
    for (shape, axis) in [([3, 200], 1), ([200, 3], 0)] {
        let x = ordinary(&mut random, &shape);
        let cases = ScaleLayout::ALL.map(|layout| {
            let scaled = ScaledType::new(shape, Format::Nvfp4, axis, BlockShape::Vector, layout);
            let quantization =
                Quantization::new(scaled.unwrap(), ScaleRule::Te, Rounding::MsEden).unwrap();
            quantize(&quantization, &x, 11)
        });
        check_for("sm_100a", &cases);
        check(cases.into());
    }
}

/// Halfway between codes, next to that, beyond the largest, −0 and NaN; whole binades of one block.
#[test]
fn chips_own_conversions_give_the_interpreters_codes() {
    let mut random = Random(6);
    let shape = [12, 64];
    let near = random.tensor_of(ElementType::F32, &shape, |random| {
        let tie = (random.word() % 64) as f64 / 8.0 * ((random.word() % 8) as f64 - 4.0).exp2();
        let next = f64::from(f32::EPSILON) * ((random.word() % 3) as f64 - 1.0);
        (tie + tie * next) * if random.word() % 2 == 0 { 1.0 } else { -1.0 }
    });
    let specials = special(&mut random, &shape, &[f32::NAN, f32::INFINITY, -0.0]);
    let to_nearest = |one: &Quantization| {
        one.rounding() == Rounding::NearestEven && one.scaled_type().axis() == 1
    };
    let quantizations: Vec<Quantization> = quantizations(&shape)
        .into_iter()
        .filter(to_nearest)
        .collect();
    for target in ["sm_90a", "sm_100a", "sm_120a"] {
        for x in [&near, &specials] {
            let cases: Vec<Case> = quantizations
                .iter()
                .map(|one| quantize(one, x, 0))
                .collect();
            check_for(target, &cases);
        }
    }
}

#[test]
fn numbers_that_are_not_finite_are_quantized_as_the_interpreter_does() {
    let mut random = Random(4);
    let shape = [18, 34];
    let inputs = [
        Tensor::from_values(shape, &[0f32; 18 * 34]).unwrap(),
        special(&mut random, &shape, &[f32::NAN]),
        special(&mut random, &shape, &[f32::INFINITY]),
        special(
            &mut random,
            &shape,
            &[f32::NEG_INFINITY, f32::MAX, f32::MIN_POSITIVE],
        ),
    ];
    for (number, x) in inputs.iter().enumerate() {
        let cases = quantizations(&shape);
        check_on_cpu(cases.iter().map(|one| quantize(one, x, 0)).collect());
        // Emulation takes its time: each input's share of the quantisations, all of the one with the smallest numbers.
        let is_emulated = |(place, one): &(usize, &Quantization)| {
            is_on_gpu(one) && one.scaled_type().axis() == 0 && (number == 3 || place % 3 == number)
        };
        let cases = cases.iter().enumerate().filter(is_emulated);
        check_on_gpu(cases.map(|(_, one)| quantize(one, x, 0)).collect());
    }
}

#[test]
fn parts_for_threads_change_nothing() {
    // Large enough for several parts.
    let mut random = Random(5);
    let shape = [700, 208];
    let x = ordinary(&mut random, &shape);
    let mut cases = Vec::new();
    for axis in [0, 1] {
        for (format, rule, rounding) in [
            (Format::Nvfp4, ScaleRule::Te, Rounding::NearestEven),
            (Format::Nvfp4, ScaleRule::Te, Rounding::Stochastic),
            (Format::Mxfp4, ScaleRule::Rceil, Rounding::NearestEven),
            (Format::Mxfp8E4m3, ScaleRule::Rceil, Rounding::NearestEven),
        ] {
            let quantization = Quantization::new(scaled(&shape, format, axis), rule, rounding);
            cases.push(quantize(&quantization.unwrap(), &x, 2));
        }
    }
    check_on_cpu(cases);
}

#[test]
fn several_tensors_are_made_of_one_less_its_mean() {
    let mut random = Random(12);
    let mut cases = Vec::new();
    for shape in [&[33, 50][..], &[300, 130], &[3, 20, 36]] {
        let last = shape.len() - 1;
        let x = ordinary(&mut random, shape);
        let mean = ordinary(&mut random, &shape[last..]);
        let inputs = [x, mean, Tensor::scalar(4.5f32), Tensor::scalar(9u32)];
        let types = inputs.iter().map(|input| Input::new(TensorType::of(input)));
        let mut b = Builder::with_inputs("quantize", types.collect());
        let [x, mean, amax, step] = b.inputs()[..] else {
            unreachable!("there are four inputs");
        };
        let means = b.broadcast_in_dim(mean, &[last], shape).unwrap();
        let centred = b.subtract(x, means).unwrap();
        let mut results = Vec::new();
        for (site, (format, rule, rounding, axis)) in [
            (Format::Nvfp4, ScaleRule::Te, Rounding::NearestEven, last),
            (Format::Nvfp4, ScaleRule::Te, Rounding::Stochastic, 0),
            (
                Format::Mxfp6E2m3,
                ScaleRule::Floor,
                Rounding::NearestEven,
                0,
            ),
            (Format::Mxfp4, ScaleRule::Rceil, Rounding::Stochastic, last),
        ]
        .into_iter()
        .enumerate()
        {
            let quantization = Quantization::new(scaled(shape, format, axis), rule, rounding);
            let operands = QuantizeOperands {
                amax: format.has_tensor_scale().then_some(amax),
                step: rounding.is_random().then_some(step),
            };
            let result = b.quantize(centred, operands, &quantization.unwrap(), (5, site));
            results.push(result.unwrap());
        }
        let body = b.finish(results);
        cases.push(Case::of(Family::Quantize, body, inputs.to_vec()));
    }
    check(cases);
}

/// The bytes of a tensor quantised to nearest.
pub fn quantized(scaled_type: &ScaledType, x: &Tensor) -> Tensor {
    let rule = ScaleRule::default_for(scaled_type.format());
    let quantization = Quantization::new(scaled_type.clone(), rule, Rounding::NearestEven).unwrap();
    let values = x.values::<f32>().unwrap();
    let scaled = tessera_numerics::quantize(&values, &quantization, None, None).unwrap();
    Tensor::new(ElementType::Ui8, [scaled.bytes().len()], scaled.bytes()).unwrap()
}

#[test]
fn dequantize_gives_the_interpreters_bits() {
    let mut random = Random(6);
    let mut cases = Vec::new();
    for shape in [
        &[33, 50][..],
        &[3, 40, 17],
        &[2, 3, 70, 130],
        &[45],
        &[16, 0],
        &[0, 16],
    ] {
        for format in Format::ALL {
            for axis in 0..shape.len() {
                for layout in ScaleLayout::ALL {
                    let blocks = BlockShape::Vector;
                    let Ok(scaled) = ScaledType::new(shape, format, axis, blocks, layout) else {
                        continue;
                    };
                    let bytes = quantized(&scaled, &special(&mut random, shape, &[f32::NAN]));
                    let mut b = Builder::with_inputs("dequantize", vec![Input::new(scaled)]);
                    let x = b.inputs()[0];
                    let result = b.dequantize(x, ElementType::F32).unwrap();
                    cases.push(Case::of(Family::Quantize, b.finish([result]), vec![bytes]));
                }
            }
        }
    }
    check(cases);
}

#[test]
fn relayout_gives_the_interpreters_bits() {
    let mut random = Random(7);
    for shape in [
        &[33, 50][..],
        &[3, 40, 17],
        &[2, 3, 70, 130],
        &[16, 0],
        &[0, 16],
        &[130],
    ] {
        let mut cases = Vec::new();
        for format in Format::ALL {
            for from in types(shape, format) {
                for to in types(shape, format) {
                    if !from.can_be_laid_out_as(&to) {
                        continue;
                    }
                    let bytes = quantized(&from, &special(&mut random, shape, &[f32::NAN]));
                    let mut b = Builder::with_inputs("relayout", vec![Input::new(from.clone())]);
                    let x = b.inputs()[0];
                    let result = b.relayout(x, &to).unwrap();
                    cases.push(Case::of(Family::Quantize, b.finish([result]), vec![bytes]));
                }
            }
        }
        // Emulation takes its time.
        match shape.iter().product::<usize>() {
            ..2000 => check(cases),
            _ => check_on_cpu(cases),
        }
    }
}

/// Every scaled type of a format and shape.
fn types(shape: &[usize], format: Format) -> Vec<ScaledType> {
    let mut types = Vec::new();
    for axis in 0..shape.len() {
        for blocks in BlockShape::ALL {
            for layout in ScaleLayout::ALL {
                types.extend(ScaledType::new(shape, format, axis, blocks, layout));
            }
        }
    }
    types
}

#[test]
fn sums_along_the_axis_are_within_their_roundings() {
    let mut random = Random(13);
    for (shape, axis) in [(&[300, 50][..], 0), (&[40, 700], 1), (&[3, 2, 70], 2)] {
        for format in [Format::Nvfp4, Format::Mxfp4, Format::Mxfp8E4m3] {
            let scaled = scaled(shape, format, axis);
            let x = ordinary(&mut random, shape);
            let bytes = vec![quantized(&scaled, &x)];
            let mut b = Builder::with_inputs("sums", vec![Input::new(scaled.clone())]);
            let numbers_of = b.dequantize(b.inputs()[0], ElementType::F32).unwrap();
            let result = b.reduce_sum(numbers_of, &[axis]).unwrap();
            let body = b.finish([result]);
            let expected = numbers(&interpret(&body, &bytes)[0]);
            let sizes = {
                let mut b = Builder::with_inputs("sizes", vec![Input::new(scaled.clone())]);
                let x = b.dequantize(b.inputs()[0], ElementType::F32).unwrap();
                let x = b.abs(x).unwrap();
                let result = b.reduce_sum(x, &[axis]).unwrap();
                numbers(&interpret(&b.finish([result]), &bytes)[0])
            };
            let case = [Case::of(Family::Quantize, body, bytes)];
            // The interpreter rounds once for each element, for it and for its place in the sum; we less often.
            let roundings = 2.0 * (2 * shape[axis]) as f64;
            for found in [run(&case), emulated::run(&case)] {
                assert_within_roundings(&numbers(&found[0]), &expected, &sizes, roundings, &scaled);
            }
        }
    }
}

/// A product of a scaled tensor by vectors along its axis.
struct ByVectors {
    scaled: (&'static [usize], usize),
    vectors: &'static [usize],
    /// How many leading dimensions of both are batching.
    batching: usize,
    /// Which dimension of the vectors is summed over.
    contracting: usize,
    is_lhs: bool,
}

impl ByVectors {
    /// The product of numbers of those, or of their magnitudes.
    fn body(&self, scaled: &ScaledType, of_magnitudes: bool) -> Graph {
        let inputs = vec![Input::new(scaled.clone()), Input::new(f32s(self.vectors))];
        let mut b = Builder::with_inputs("product", inputs);
        let vectors = b.inputs()[1];
        let numbers = b.dequantize(b.inputs()[0], ElementType::F32).unwrap();
        let mut sides = [numbers, vectors];
        if of_magnitudes {
            sides = sides.map(|side| b.abs(side).unwrap());
        }
        let mut contracting = [[scaled.axis()], [self.contracting]];
        if !self.is_lhs {
            sides.reverse();
            contracting.reverse();
        }
        let batching: Vec<usize> = (0..self.batching).collect();
        let dimensions = DotDimensionNumbers {
            lhs_batching: &batching,
            rhs_batching: &batching,
            lhs_contracting: &contracting[0],
            rhs_contracting: &contracting[1],
        };
        let f32 = ElementType::F32;
        let result = b.dot_general(sides[0], sides[1], &dimensions, f32, f32);
        b.finish([result.unwrap()])
    }
}

#[test]
fn products_by_vectors_along_the_axis_are_within_their_roundings() {
    let product = |scaled, vectors, batching, contracting, is_lhs| ByVectors {
        scaled,
        vectors,
        batching,
        contracting,
        is_lhs,
    };
    let products = [
        product((&[300, 50], 0), &[300], 0, 0, true),
        product((&[300, 50], 0), &[300], 0, 0, false),
        product((&[40, 700], 1), &[1, 700], 0, 1, true),
        product((&[40, 700], 1), &[700, 1], 0, 0, false),
        product((&[3, 64, 70], 1), &[3, 64], 1, 1, true),
    ];
    let mut random = Random(17);
    for product in &products {
        for format in [Format::Nvfp4, Format::Mxfp4, Format::Mxfp8E4m3] {
            let (shape, axis) = product.scaled;
            let scaled = scaled(shape, format, axis);
            let x = ordinary(&mut random, shape);
            let vectors = ordinary(&mut random, product.vectors);
            let inputs = vec![quantized(&scaled, &x), vectors];
            let body = product.body(&scaled, false);
            let expected = numbers(&interpret(&body, &inputs)[0]);
            let sizes = numbers(&interpret(&product.body(&scaled, true), &inputs)[0]);
            let case = [Case::of(Family::Quantize, body, inputs)];
            // The interpreter and we round each product and each sum.
            let roundings = 2.0 * (2 * shape[axis]) as f64;
            for found in [run(&case), emulated::run(&case)] {
                assert_within_roundings(&numbers(&found[0]), &expected, &sizes, roundings, &scaled);
            }
        }
    }
}

/// A product of scaled tensors of these shapes and axes, with its operands' batching dimensions.
struct Product {
    lhs: (&'static [usize], usize, &'static [usize]),
    rhs: (&'static [usize], usize, &'static [usize]),
}

impl Product {
    const fn plain(lhs: (&'static [usize], usize), rhs: (&'static [usize], usize)) -> Self {
        Self {
            lhs: (lhs.0, lhs.1, &[]),
            rhs: (rhs.0, rhs.1, &[]),
        }
    }

    fn types(&self, format: Format) -> [ScaledType; 2] {
        [self.lhs, self.rhs].map(|(shape, axis, _)| scaled(shape, format, axis))
    }

    fn body(&self, format: Format) -> Graph {
        let mut b = Builder::with_inputs("scaled_dot", self.types(format).map(Input::new).into());
        let kind = OpKind::ScaledDot {
            lhs_batching_dimensions: self.lhs.2.to_vec(),
            rhs_batching_dimensions: self.rhs.2.to_vec(),
            element: ElementType::F32,
        };
        let operands = b.inputs();
        let result = b.push(kind, operands).unwrap();
        b.finish(result)
    }
}

const PRODUCTS: [Product; 9] = [
    Product::plain((&[7, 33], 1), (&[33, 70], 0)),
    Product::plain((&[40, 17], 0), (&[19, 40], 1)),
    Product::plain((&[100, 300], 1), (&[90, 300], 1)),
    Product::plain((&[5, 0], 1), (&[0, 6], 0)),
    Product::plain((&[1, 16], 1), (&[1, 16], 1)),
    // Rows of two dimensions, of which the axis lies between.
    Product::plain((&[4, 48, 5], 1), (&[3, 6, 48], 2)),
    // Batches first, in the middle, and several in another order.
    Product {
        lhs: (&[3, 9, 40], 2, &[0]),
        rhs: (&[3, 40, 11], 1, &[0]),
    },
    Product {
        lhs: (&[6, 3, 40], 2, &[1]),
        rhs: (&[40, 5, 3], 0, &[2]),
    },
    Product {
        lhs: (&[2, 6, 3, 40], 3, &[2, 0]),
        rhs: (&[3, 40, 2, 5], 1, &[0, 2]),
    },
];

#[test]
fn scaled_dot_is_within_its_roundings_of_the_exact_product() {
    let mut random = Random(7);
    for format in [Format::Nvfp4, Format::Mxfp4] {
        for product in &PRODUCTS {
            let types = product.types(format);
            let operands = types.clone().map(|one| ordinary(&mut random, one.shape()));
            let bytes: Vec<Tensor> = (types.iter().zip(&operands))
                .map(|(scaled, x)| quantized(scaled, x))
                .collect();
            // Rounding to nearest is symmetric: the magnitudes' codes are the codes' magnitudes.
            let magnitudes: Vec<Tensor> = (types.iter().zip(&operands))
                .map(|(scaled, x)| {
                    let values = x.values::<f32>().unwrap();
                    let values: Vec<f32> = values.iter().map(|value| value.abs()).collect();
                    quantized(
                        scaled,
                        &Tensor::from_values(scaled.shape(), &values).unwrap(),
                    )
                })
                .collect();
            let body = product.body(format);
            let expected = numbers(&interpret(&body, &bytes)[0]);
            let sizes = numbers(&interpret(&body, &magnitudes)[0]);
            let case = [Case::of(Family::Dot, body, bytes)];
            // One rounding for each block on the CPU, those of its matrix units on a GPU, and three for the scales, of
            // sums no larger than the sum of magnitudes; one more in the interpreter. What is below 2⁻¹²⁶ is rounded to
            // multiples of 2⁻¹⁴⁹ instead.
            let blocks = types[0].blocks_per_row();
            let instructions = emulated::roundings_of_halves(types[0].columns());
            for (found, roundings) in [(run(&case), blocks), (emulated::run(&case), instructions)] {
                let found = numbers(&found[0]);
                for ((found, expected), size) in found.iter().zip(&expected).zip(&sizes) {
                    let roundings = roundings as f64 + 4.0;
                    let bound = roundings * (2f64.powi(-24) * size * 1.001 + 2f64.powi(-130));
                    assert!(
                        (found - expected).abs() <= bound,
                        "{format} {:?} {:?}: {found}, expected {expected} ± {bound}",
                        product.lhs,
                        product.rhs
                    );
                }
            }
        }
    }
}

#[test]
fn hadamard_gives_the_interpreters_bits() {
    let mut random = Random(8);
    let mut cases = Vec::new();
    for (shape, axis, size) in [
        (&[5, 32][..], 1, 16),
        (&[300, 64], 1, 32),
        (&[32, 5], 0, 32),
        (&[128, 200], 0, 64),
        (&[3, 256, 70], 1, 128),
        (&[128], 0, 128),
        (&[0, 16], 1, 16),
        (&[16, 0], 0, 16),
        (&[0, 7], 0, 16),
    ] {
        let mut b = Builder::with_inputs("hadamard", vec![Input::new(f32s(shape))]);
        let signs: Vec<bool> = (transformer_engine_signs().iter().cycle())
            .take(size)
            .copied()
            .collect();
        let x = b.inputs()[0];
        let result = b.hadamard(x, axis, &signs).unwrap();
        let x = ordinary(&mut random, shape);
        cases.push(Case::of(Family::Quantize, b.finish([result]), vec![x]));
    }
    check(cases);
}

/// Rows of blocks of which warps and CTAs are full or not, and numbers of every kind: zeros of both signs, denormals, numbers whose
/// sums round, overflow, are infinite or none.
#[test]
fn hadamard_along_rows_gives_the_interpreters_bits_of_any_numbers() {
    let kinds: [f32; 10] = [
        0.0,
        -0.0,
        f32::from_bits(1),
        -f32::MIN_POSITIVE / 3.0,
        1.0 + f32::EPSILON,
        -3e-7,
        1e20,
        -f32::MAX,
        f32::INFINITY,
        f32::NAN,
    ];
    let mut random = Random(21);
    let mut cases = Vec::new();
    for (size, rows) in [(16, 37), (32, 19), (64, 17), (128, 35)] {
        for most in [2, 6, kinds.len()] {
            let mut b = Builder::with_inputs("hadamard", vec![Input::new(f32s(&[rows, 2 * size]))]);
            let signs = random_signs(size, 5, most as u32).unwrap();
            let x = b.inputs()[0];
            let result = b.hadamard(x, 1, &signs).unwrap();
            let x = random.tensor_of(ElementType::F32, &[rows, 2 * size], |random| {
                match random.word() % 16 {
                    0 => kinds[random.word() as usize % most].into(),
                    _ => random.uniform(),
                }
            });
            cases.push(Case::of(Family::Quantize, b.finish([result]), vec![x]));
        }
    }
    check(cases);
}

/// A body on a tensor less its mean, or not, and the inputs: x, the mean, a largest magnitude, a step.
fn of_transform(
    random: &mut Random,
    shape: &[usize],
    (axis, size, is_centred): (usize, usize, bool),
    make: impl Fn(&mut Builder, [ValueId; 2], [ValueId; 2]) -> Vec<ValueId>,
) -> Case {
    let last = shape.len() - 1;
    let x = ordinary(random, shape);
    let mean = ordinary(random, &shape[last..]);
    let mut inputs = vec![x];
    inputs.extend(is_centred.then_some(mean));
    inputs.extend([Tensor::scalar(40.5f32), Tensor::scalar(9u32)]);
    let types = inputs.iter().map(|input| Input::new(TensorType::of(input)));
    let mut b = Builder::with_inputs("transformed", types.collect());
    let values = b.inputs();
    let read = if is_centred {
        let means = b.broadcast_in_dim(values[1], &[last], shape).unwrap();
        b.subtract(values[0], means).unwrap()
    } else {
        values[0]
    };
    let signs = transformer_engine_signs();
    let signs: Vec<bool> = signs.iter().cycle().take(size).copied().collect();
    let transformed = b.hadamard(read, axis, &signs).unwrap();
    let scalars = [values[values.len() - 2], values[values.len() - 1]];
    let results = make(&mut b, [read, transformed], scalars);
    Case::of(Family::Quantize, b.finish(results), inputs)
}

#[test]
fn quantisations_of_a_transform_give_the_interpreters_bits() {
    let mut random = Random(14);
    let mut cases = Vec::new();
    for (shape, axis, size, is_centred) in [
        (&[32, 48][..], 0, 16, false),
        (&[320, 130], 0, 64, true),
        (&[33, 256], 1, 128, true),
        (&[3, 32, 36], 1, 32, false),
        (&[128, 5, 7], 0, 128, true),
    ] {
        let transform = (axis, size, is_centred);
        let make = |b: &mut Builder, [plain, transformed]: [ValueId; 2], [amax, step]: [_; 2]| {
            let other = shape.len() - 1 - axis.min(1);
            let mut results = Vec::new();
            for (site, (x, axis, rule, rounding)) in [
                (transformed, axis, ScaleRule::Te, Rounding::NearestEven),
                (plain, other, ScaleRule::FourOverSix, Rounding::NearestEven),
                (transformed, axis, ScaleRule::Te, Rounding::Stochastic),
                (transformed, axis, ScaleRule::Te, Rounding::MsEden),
            ]
            .into_iter()
            .enumerate()
            {
                let kind = scaled(shape, Format::Nvfp4, axis);
                let quantization = Quantization::new(kind, rule, rounding).unwrap();
                let operands = QuantizeOperands {
                    amax: Some(amax),
                    step: rounding.is_random().then_some(step),
                };
                let result = b.quantize(x, operands, &quantization, (5, site));
                results.push(result.unwrap());
            }
            results
        };
        cases.push(of_transform(&mut random, shape, transform, make));
    }
    check_on_cpu(cases);
}

#[test]
fn the_largest_magnitudes_of_a_transform_are_the_interpreters() {
    let mut random = Random(15);
    let mut cases = Vec::new();
    for (shape, axis, size, is_centred) in [
        (&[32, 48][..], 0, 16, false),
        (&[320, 130], 0, 64, true),
        (&[33, 256], 1, 128, true),
        (&[3, 32, 36], 1, 32, true),
    ] {
        for of_all in [false, true] {
            let make = |b: &mut Builder, [_, transformed]: [ValueId; 2], _: [ValueId; 2]| {
                let magnitudes = b.abs(transformed).unwrap();
                let all: Vec<usize> = (0..shape.len()).collect();
                let dimensions = if of_all {
                    &all[..]
                } else {
                    &all[all.len() - 1..]
                };
                vec![b.reduce_max(magnitudes, dimensions).unwrap()]
            };
            let transform = (axis, size, is_centred);
            cases.push(of_transform(&mut random, shape, transform, make));
        }
    }
    check_on_cpu(cases);
}

#[test]
fn orthonormalize_gives_the_interpreters_factor() {
    let mut random = Random(9);
    let mut cases = Vec::new();
    for shape in [
        &[9, 4][..],
        &[200, 31],
        &[4, 50, 7],
        &[5, 5],
        &[6, 0],
        &[0, 0],
    ] {
        let mut b = Builder::with_inputs("orthonormalize", vec![Input::new(f32s(shape))]);
        let x = b.inputs()[0];
        let result = b.orthonormalize(x).unwrap();
        let x = random.tensor(ElementType::F32, shape);
        // Both are computed in f64 with sums in different orders, an error of 2⁻⁵³ times the condition number, which is
        // far below 2²⁰ for random matrices; then each number is rounded to f32, where the two may fall apart by one
        // unit of the largest, which is below 1.
        let case = Case::of(Family::Solve, b.finish([result]), vec![x]);
        cases.push(case.within(Tolerance::OfLargest(2f64.powi(-23))));
    }
    check(cases);
}

#[test]
fn a_column_that_depends_on_others_becomes_zero() {
    let mut b = Builder::with_inputs("orthonormalize", vec![Input::new(f32s(&[4, 3]))]);
    let x = b.inputs()[0];
    let result = b.orthonormalize(x).unwrap();
    let columns = [3f32, 6.0, 0.0, 0.0, 0.0, 0.0, 4.0, 8.0, 0.0, 0.0, 0.0, 2.0];
    let x = Tensor::from_values([4, 3], &columns).unwrap();
    let cases = [Case::of(Family::Solve, b.finish([result]), vec![x])];
    let expected = [
        0.6f32, 0.0, 0.0, 0.0, 0.0, 0.0, 0.8, 0.0, 0.0, 0.0, 0.0, 1.0,
    ];
    for found in [run(&cases), emulated::run(&cases)] {
        assert_eq!(found[0].values::<f32>().unwrap(), expected);
    }
}

#[test]
fn none_of_these_is_a_function() {
    let x = Tensor::from_values([2, 16], &[1f32; 32]).unwrap();
    let mxfp4 = scaled(&[2, 16], Format::Mxfp4, 1);
    let rounding = Rounding::NearestEven;
    let quantization = Quantization::new(mxfp4, ScaleRule::Rceil, rounding).unwrap();
    let plan = plan_of(&[quantize(&quantization, &x, 0)]);
    assert!(matches!(
        plan.kernels[0].body.result_types().next(),
        Some(Type::Scaled(_))
    ));
    let target = "cpu".parse::<Target>().unwrap();
    let writer = compile(&plan, &target, &Options::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("quantize.tessera");
    writer.write(&path).unwrap();
    let bundle = tessera_runtime::Bundle::open(&path).unwrap();
    assert!(matches!(
        bundle.manifest().kernels[0].code,
        Code::Quantize(_)
    ));
    assert!(!bundle.manifest().files.contains_key("kernels.so"));
    let header = std::fs::read_to_string(path.join("step.h")).unwrap();
    assert!(!header.contains("quantize("), "{header}");
}

/// Two lanes' parts of 16 bytes are a sector: a warp's v4 reads and writes touch none twice.
#[test]
fn lanes_of_a_gpu_share_a_hadamard_block_along_rows() {
    let mut b = Builder::with_inputs("hadamard", vec![Input::new(f32s(&[2, 32]))]);
    let x = b.inputs()[0];
    let result = b.hadamard(x, 1, &transformer_engine_signs()).unwrap();
    let x = ordinary(&mut Random(3), &[2, 32]);
    let case = Case::of(Family::Quantize, b.finish([result]), vec![x]);
    insta::assert_snapshot!(ptx(&[case], "sm_80"));
}
