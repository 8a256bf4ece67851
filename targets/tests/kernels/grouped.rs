//! Products of groups of rows.

use crate::emulated;
use crate::harness::{
    Case, Random, Tolerance, assert_within_roundings, check, interpret, numbers, run, try_run,
};
use tessera_ir::plan::Family;
use tessera_ir::{
    Builder, ElementType, Graph, Input, OpKind, ScaledType, Tensor, TensorType, Type,
};
use tessera_numerics::{
    BlockShape, Format, Quantization, Rounding, ScaleLayout, ScaleRule, largest_magnitude,
};

/// Operands' shapes, and the dimensions summed over.
type Shapes = (&'static [usize], &'static [usize], [usize; 2]);

const SHAPES: [Shapes; 6] = [
    (&[90, 40], &[4, 40, 33], [1, 1]),
    (&[90, 40], &[4, 33, 40], [1, 2]),
    (&[40, 90], &[4, 40, 33], [0, 1]),
    (&[90, 40], &[90, 33], [0, 0]),
    (&[40, 90], &[33, 90], [1, 1]),
    (&[90, 0], &[4, 0, 33], [1, 1]),
];

const SIZES: [[i32; 4]; 3] = [[17, 0, 60, 5], [0, 0, 90, 0], [0, 0, 0, 0]];

fn sizes(sizes: [i32; 4]) -> Tensor {
    Tensor::from_values([4], &sizes).unwrap()
}

fn body((lhs, rhs, contracting): Shapes, element: ElementType) -> Graph {
    let types = [
        TensorType::new(element, lhs),
        TensorType::new(element, rhs),
        TensorType::new(ElementType::I32, [4]),
    ];
    let mut b = Builder::with_inputs("grouped_dot", types.map(Input::new).into());
    let kind = OpKind::GroupedDot {
        lhs_contracting_dimension: contracting[0],
        rhs_contracting_dimension: contracting[1],
        accumulator: element,
        element,
    };
    let operands = b.inputs();
    let result = b.push(kind, operands).unwrap();
    b.finish(result)
}

#[test]
fn grouped_dots_are_within_their_roundings_of_the_interpreters() {
    let mut random = Random(21);
    let mut cases = Vec::new();
    for (element, epsilon) in [
        (ElementType::F32, f32::EPSILON.into()),
        (ElementType::F64, f64::EPSILON),
    ] {
        for shapes in SHAPES {
            for group in SIZES {
                let [lhs, rhs] = [shapes.0, shapes.1].map(|shape| random.tensor(element, shape));
                let case = Case::of(
                    Family::Dot,
                    body(shapes, element),
                    vec![lhs, rhs, sizes(group)],
                );
                // A product and a sum for each of at most 90 terms, each no larger than the largest result's.
                cases.push(case.within(Tolerance::OfLargest(2.0 * 90.0 * epsilon)));
            }
        }
    }
    check(cases);
}

#[test]
fn groups_that_do_not_fit_end_the_step() {
    let shapes = SHAPES[0];
    let mut random = Random(22);
    for (group, expected) in [
        (
            [90, 0, 1, 0],
            "kernel \"k0_grouped_dot\": expected groups of 90 rows or fewer together, found 91",
        ),
        (
            [1, -2, 1, 0],
            "kernel \"k0_grouped_dot\": expected group sizes of 0 or more, found -2 for group 1",
        ),
    ] {
        let [lhs, rhs] = [shapes.0, shapes.1].map(|shape| random.tensor(ElementType::F32, shape));
        let inputs = vec![lhs, rhs, sizes(group)];
        let case = Case::of(Family::Dot, body(shapes, ElementType::F32), inputs);
        let case = [case];
        assert_eq!(try_run(&case, 2).unwrap_err().to_string(), expected);
        let error = emulated::try_run_on(&case, "sm_90a")
            .unwrap_err()
            .to_string();
        assert!(error.contains("trap"), "{error}");
        assert!(error.contains("k0_grouped_dot"), "{error}");
    }
}

/// The bytes of a tensor in that type, and those of its magnitudes.
fn quantized(scaled: &ScaledType, x: &Tensor) -> [Tensor; 2] {
    let rule = ScaleRule::default_for(scaled.format());
    let how = Quantization::new(scaled.clone(), rule, Rounding::NearestEven).unwrap();
    let values = x.values::<f32>().unwrap();
    let magnitudes: Vec<f32> = values.iter().map(|value| value.abs()).collect();
    [values, magnitudes].map(|values| {
        let amax = scaled
            .format()
            .has_tensor_scale()
            .then(|| largest_magnitude(&values));
        let made = tessera_numerics::quantize(&values, &how, amax, None).unwrap();
        Tensor::from_values([made.bytes().len()], made.bytes()).unwrap()
    })
}

#[test]
fn grouped_scaled_dots_are_within_their_roundings_of_the_exact_products() {
    let mut random = Random(23);
    for format in [Format::Nvfp4, Format::Mxfp4] {
        for (lhs, rhs, axes) in SHAPES {
            let scaled = |shape: &[usize], axis| {
                ScaledType::new(shape, format, axis, BlockShape::Vector, ScaleLayout::Linear)
                    .unwrap()
            };
            let types = [scaled(lhs, axes[0]), scaled(rhs, axes[1])];
            let operands = [lhs, rhs].map(|shape| random.tensor(ElementType::F32, shape));
            let [left, right] = [0, 1].map(|n| quantized(&types[n], &operands[n]));
            let mut inputs: Vec<Input> = types.iter().cloned().map(Input::new).collect();
            inputs.push(Input::new(Type::Tensor(TensorType::new(
                ElementType::I32,
                [4],
            ))));
            let mut b = Builder::with_inputs("grouped_scaled_dot", inputs);
            let values = b.inputs();
            let result = b.grouped_scaled_dot(values[0], values[1], values[2], ElementType::F32);
            let body = b.finish([result.unwrap()]);
            for group in SIZES {
                let of = |n: usize| vec![left[n].clone(), right[n].clone(), sizes(group)];
                let expected = numbers(&interpret(&body, &of(0))[0]);
                let magnitudes = numbers(&interpret(&body, &of(1))[0]);
                let case = [Case::of(Family::Dot, body.clone(), of(0))];
                // On the CPU one rounding for each block, on a GPU those of its matrix units, three for the scales, of
                // sums no larger than the sum of magnitudes; one more in the interpreter.
                let blocks = types[0].blocks_per_row();
                let instructions = emulated::roundings_of_halves(types[0].columns());
                for (found, roundings) in
                    [(run(&case), blocks), (emulated::run(&case), instructions)]
                {
                    let roundings = roundings as f64 + 4.0;
                    let what = format!("{format} {lhs:?} {rhs:?} {group:?}");
                    let found = numbers(&found[0]);
                    assert_within_roundings(&found, &expected, &magnitudes, roundings, &what);
                }
            }
        }
    }
}
