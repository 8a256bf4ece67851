//! Sums of scaled tensors' numbers along the axis, against the numbers, and on every instruction set of this processor.

use tessera_numerics::philox::philox_4x32_10;
use tessera_numerics::{
    AxisSums, BlockShape, Format, Quantization, Rounding, ScaleLayout, ScaleRule, ScaledTensor,
    ScaledType, SimdLevel, dequantize, quantize,
};

const SHAPES: [(&[usize], usize); 7] = [
    (&[5], 0),
    (&[300, 3], 0),
    (&[128, 20], 0),
    (&[3, 256], 1),
    (&[2, 161, 5], 1),
    (&[4, 1000], 1),
    (&[2, 0], 1),
];

/// As many numbers between −4 and 4 as there are elements to weight: a vector for each of the first dimension's indices, or
/// one for all.
fn weights(scaled_type: &ScaledType, vectors: usize) -> Vec<f32> {
    (0..scaled_type.columns() * vectors)
        .map(|index| {
            let [a, ..] = philox_4x32_10([index as u32, 1, 0, 0], [3, 4]);
            a as i32 as f32 / 2f32.powi(29)
        })
        .collect()
}

/// One vector for all rows and, of more dimensions than two, one for each index of the first.
fn vectors(shape: &[usize]) -> Vec<usize> {
    match shape {
        [batch, _, _] => vec![1, *batch],
        _ => vec![1],
    }
}

fn tensor(shape: &[usize], axis: usize, format: Format, layout: ScaleLayout) -> ScaledTensor {
    let scaled_type = ScaledType::new(shape, format, axis, BlockShape::Vector, layout).unwrap();
    let rule = ScaleRule::default_for(format);
    let quantization = Quantization::new(scaled_type, rule, Rounding::NearestEven).unwrap();
    let values: Vec<f32> = (0..shape.iter().product::<usize>())
        .map(|index| {
            let [a, b, ..] = philox_4x32_10([index as u32, 0, 0, 0], [3, 4]);
            a as i32 as f32 / 2f32.powi((b % 8) as i32 + 28)
        })
        .collect();
    let amax = format.has_tensor_scale().then_some(8.0);
    quantize(&values, &quantization, amax, None).unwrap()
}

/// A sum is of one rounding for each of 16 elements of a group (none of E2M1), one by the block scale, one for each group
/// of a partial sum, three for the partial sums and one by the tensor scale; each number itself was rounded twice.
#[test]
fn sums_are_those_of_the_numbers() {
    for (shape, axis) in SHAPES {
        for format in Format::ALL {
            let tensor = tensor(shape, axis, format, ScaleLayout::Linear);
            let scaled_type = tensor.scaled_type();
            let sums = AxisSums::new(scaled_type).of(&tensor);
            assert_eq!(sums.len(), scaled_type.rows());
            let numbers = dequantize(&tensor);
            let roundings = 16 + 1 + scaled_type.columns().div_ceil(16).div_ceil(8) + 3 + 1 + 2;
            for (row, sum) in sums.iter().enumerate() {
                let places =
                    (0..scaled_type.columns()).map(|column| scaled_type.logical_index(row, column));
                let numbers = places.map(|place| f64::from(numbers[place]));
                let exact: f64 = numbers.clone().sum();
                let magnitudes: f64 = numbers.map(f64::abs).sum();
                let bound = roundings as f64 * f64::from(f32::EPSILON) * magnitudes;
                let error = (f64::from(*sum) - exact).abs();
                assert!(error <= bound, "{scaled_type} row {row}: {sum}, {exact}");
            }
        }
    }
}

/// A product is of the number, itself exact here, and the weight, of one rounding; a sum is of one for each of its column's
/// sixteenth and four for the partial sums.
#[test]
fn weighted_sums_are_those_of_the_numbers_times_weights() {
    for (shape, axis) in SHAPES {
        for (format, vectors) in Format::ALL
            .into_iter()
            .flat_map(|format| vectors(shape).into_iter().map(move |n| (format, n)))
        {
            let tensor = tensor(shape, axis, format, ScaleLayout::Linear);
            let scaled_type = tensor.scaled_type();
            let weights = weights(scaled_type, vectors);
            let sums = AxisSums::new(scaled_type).of_weighted(&tensor, &weights);
            let numbers = dequantize(&tensor);
            let columns = scaled_type.columns();
            let roundings = 1 + columns.div_ceil(16) + 4;
            for (row, sum) in sums.iter().enumerate() {
                let first = row / (scaled_type.rows() / vectors) * columns;
                let terms = (0..columns).map(|column| {
                    let number = f64::from(numbers[scaled_type.logical_index(row, column)]);
                    number * f64::from(weights[first + column])
                });
                let exact: f64 = terms.clone().sum();
                let magnitudes: f64 = terms.map(f64::abs).sum();
                let bound = roundings as f64 * f64::from(f32::EPSILON) * magnitudes;
                let error = (f64::from(*sum) - exact).abs();
                assert!(error <= bound, "{scaled_type} row {row}: {sum}, {exact}");
            }
        }
    }
}

#[test]
fn every_level_gives_the_same_bits() {
    for (shape, axis) in SHAPES {
        for format in Format::ALL {
            for layout in [ScaleLayout::Linear, ScaleLayout::Tiled128x4] {
                if layout != ScaleLayout::Linear && format.block().is_none() {
                    continue;
                }
                let tensor = tensor(shape, axis, format, layout);
                let sums = AxisSums::new(tensor.scaled_type());
                let bits =
                    |sums: Vec<f32>| -> Vec<u32> { sums.into_iter().map(f32::to_bits).collect() };
                let of = |level| bits(sums.clone().with_level(level).of(&tensor));
                for level in SimdLevel::available() {
                    assert_eq!(of(level), of(SimdLevel::Portable), "{level:?}");
                }
                for vectors in vectors(shape) {
                    let weights = weights(tensor.scaled_type(), vectors);
                    let weighted = |level| {
                        let sums = sums.clone().with_level(level);
                        bits(sums.of_weighted(&tensor, &weights))
                    };
                    for level in SimdLevel::available() {
                        let expected = weighted(SimdLevel::Portable);
                        assert_eq!(weighted(level), expected, "{level:?} weighted");
                    }
                }
            }
        }
    }
}

#[test]
fn a_part_of_the_rows() {
    let tensor = tensor(&[128, 20], 0, Format::Nvfp4, ScaleLayout::Linear);
    let sums = AxisSums::new(tensor.scaled_type());
    let mut part = [0.0; 5];
    sums.run(tensor.bytes(), 7..12, &mut part);
    assert_eq!(part, sums.of(&tensor)[7..12]);
    let weights = weights(tensor.scaled_type(), 1);
    sums.run_weighted(tensor.bytes(), 7..12, &weights, &mut part);
    assert_eq!(part, sums.of_weighted(&tensor, &weights)[7..12]);
}
