//! What quantisation by its definition gives, on blocks small enough to follow by hand.

use tessera_numerics::{
    BlockShape, Format, Quantization, QuantizeError, RandomStream, Rounding, ScaleLayout,
    ScaleRule, ScaledTensor, ScaledType, dequantize, largest_magnitude, quantize,
};

fn scaled_type(shape: &[usize], format: Format, axis: usize) -> ScaledType {
    ScaledType::new(shape, format, axis, BlockShape::Vector, ScaleLayout::Linear).unwrap()
}

fn nearest(values: &[f32], scaled_type: ScaledType, rule: ScaleRule) -> ScaledTensor {
    let quantization = Quantization::new(scaled_type, rule, Rounding::NearestEven).unwrap();
    quantize(values, &quantization, None, None).unwrap()
}

const STREAM: RandomStream = RandomStream {
    seed: 0x0123_4567_89ab_cdef,
    step: 3,
    site: 5,
};

#[test]
fn nvfp4_maps_a_tensor_to_2688_and_a_block_to_6() {
    // 2688 = 448 · 6: the tensor scale is 1. The first block's scale is 448, the second's 1.
    let mut values = [0.0; 32];
    values[0] = 2688.0;
    values[1] = -448.0;
    values[16] = 6.0;
    values[17] = -1.25;
    values[18] = 1.75;
    let tensor = nearest(
        &values,
        scaled_type(&[2, 16], Format::Nvfp4, 1),
        ScaleRule::Te,
    );
    assert_eq!(tensor.tensor_scale(), 1.0);
    assert_eq!(tensor.scales(), [0x7e, 0x38]);
    assert_eq!(tensor.codes()[..2], [0xa7, 0x00]);
    // Ties go to the even code: -1.25 to -1, 1.75 to 2.
    assert_eq!(tensor.codes()[8..10], [0xa7, 0x04]);
    let expected = [(0, 2688.0), (1, -448.0), (16, 6.0), (17, -1.0), (18, 2.0)];
    let found = dequantize(&tensor);
    for (index, value) in expected {
        assert_eq!(found[index], value, "element {index}");
    }
}

#[test]
fn a_leading_axis_is_stored_transposed() {
    // Row r, column c holds the E2M1 number of code (r + 2c) % 8.
    let numbers = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];
    let values: Vec<f32> = (0..32)
        .map(|index| numbers[(index / 2 + 2 * (index % 2)) % 8])
        .collect();
    let tensor = nearest(
        &values,
        scaled_type(&[16, 2], Format::Mxfp4, 0),
        ScaleRule::Rceil,
    );
    assert_eq!(
        tensor.codes(),
        [
            0x10, 0x32, 0x54, 0x76, 0x10, 0x32, 0x54, 0x76, 0, 0, 0, 0, 0, 0, 0, 0, //
            0x32, 0x54, 0x76, 0x10, 0x32, 0x54, 0x76, 0x10, 0, 0, 0, 0, 0, 0, 0, 0
        ]
    );
    assert_eq!(tensor.scales(), [127, 127]);
    assert_eq!(dequantize(&tensor), values);
}

#[test]
fn a_middle_axis_reads_back_in_place() {
    let values: Vec<f32> = (0..2 * 5 * 3).map(|index| (index % 4) as f32).collect();
    for axis in 0..3 {
        let tensor = nearest(
            &values,
            scaled_type(&[2, 5, 3], Format::Mxfp4, axis),
            ScaleRule::Rceil,
        );
        assert_eq!(dequantize(&tensor), values, "axis {axis}");
    }
}

#[test]
fn mx_rules_choose_the_powers_of_two_they_say() {
    // The largest magnitude of the block, and the exponents by floor, even, ceil, rceil for E2M1 (6 = 1.5 · 2^2).
    let cases = [
        (4.0, [0, 0, 0, 0]),
        (6.0, [0, 0, 1, 0]),
        (6.5, [0, 0, 1, 1]),
        (7.0, [0, 1, 1, 1]),
        (8.0, [1, 1, 1, 1]),
        (f32::MAX, [125, 126, 126, 126]),
        (1e-45, [-127, -127, -127, -127]),
        (0.0, [-127, -127, -127, -127]),
        (f32::INFINITY, [126, 126, 126, 127]),
    ];
    let rules = [
        ScaleRule::Floor,
        ScaleRule::Even,
        ScaleRule::Ceil,
        ScaleRule::Rceil,
    ];
    for (amax, exponents) in cases {
        for (rule, exponent) in rules.into_iter().zip(exponents) {
            let tensor = nearest(&[amax], scaled_type(&[1], Format::Mxfp4, 0), rule);
            let found = i32::from(tensor.scales()[0]) - 127;
            assert_eq!(found, exponent, "{rule} of {amax}");
        }
    }
}

#[test]
fn rceil_lets_no_element_saturate() {
    for format in [
        Format::Mxfp4,
        Format::Mxfp6E2m3,
        Format::Mxfp6E3m2,
        Format::Mxfp8E4m3,
        Format::Mxfp8E5m2,
    ] {
        let largest = format.element().largest();
        for value in [largest, largest.next_up(), largest.next_down()] {
            let tensor = nearest(&[value], scaled_type(&[1], format, 0), ScaleRule::Rceil);
            let expected = if value > largest { 128 } else { 127 };
            assert_eq!(tensor.scales(), [expected], "{format} {value}");
        }
    }
}

#[test]
fn torchao_keeps_scales_normal() {
    let mut values = [0.0; 32];
    values[0] = 2688.0;
    let tensor = nearest(
        &values,
        scaled_type(&[32], Format::Nvfp4, 0),
        ScaleRule::Torchao,
    );
    assert_eq!(tensor.scales(), [0x7e, 0x08]);
}

#[test]
fn four_over_six_takes_four_where_that_loses_less() {
    // With the largest at 6, 5 lies on the tie of 4 and 6; with the largest at 4, 6 and 5 become 4 and 3.33 of step 1.5.
    let mut five = [0.0; 16];
    (five[0], five[1]) = (6.0, 5.0);
    // Exact with the largest at 6.
    let mut exact = [0.0; 16];
    (exact[0], exact[1]) = (6.0, 4.0);
    for (values, scale) in [(five, 384.0), (exact, 256.0)] {
        let tensor = nearest(
            &values,
            scaled_type(&[16], Format::Nvfp4, 0),
            ScaleRule::FourOverSix,
        );
        let code = tessera_numerics::ElementFormat::E4m3.encode(scale);
        assert_eq!(tensor.scales(), [code]);
    }
}

#[test]
fn square_blocks_of_a_matrix_and_its_transpose_are_the_same() {
    let (rows, columns) = (35, 21);
    let values: Vec<f32> = (0..rows * columns)
        .map(|index| ((index * index) as f32 * 0.37).sin() * (index as f32 * 0.01).exp())
        .collect();
    let transposed: Vec<f32> = (0..rows * columns)
        .map(|index| values[index % rows * columns + index / rows])
        .collect();
    for rule in [ScaleRule::Te, ScaleRule::Torchao, ScaleRule::FourOverSix] {
        let read_back = |values: &[f32], shape: [usize; 2], axis: usize| {
            let scaled_type = ScaledType::new(
                shape,
                Format::Nvfp4,
                axis,
                BlockShape::Square,
                ScaleLayout::Linear,
            );
            dequantize(&nearest(values, scaled_type.unwrap(), rule))
        };
        let along_rows = read_back(&values, [rows, columns], 1);
        assert_eq!(along_rows, read_back(&values, [rows, columns], 0));
        let of_transpose = read_back(&transposed, [columns, rows], 1);
        for (index, value) in along_rows.iter().enumerate() {
            assert_eq!(
                *value,
                of_transpose[index % columns * rows + index / columns]
            );
        }
    }
}

#[test]
fn square_blocks_do_not_cross_a_leading_index() {
    // Two matrices of 8 × 16: one block each, though 16 rows follow each other in storage.
    let mut values = vec![1.0; 2 * 8 * 16];
    values[..128].fill(448.0);
    let scaled_type = ScaledType::new(
        [2, 8, 16],
        Format::Nvfp4,
        2,
        BlockShape::Square,
        ScaleLayout::Linear,
    );
    let tensor = nearest(&values, scaled_type.unwrap(), ScaleRule::Te);
    assert_eq!(tensor.scales()[..8], [0x7e; 8]);
    assert_eq!(tensor.scales()[8..], [0x38; 8]);
}

#[test]
fn zeros_stay_zeros_with_their_signs() {
    for format in Format::ALL {
        let rule = ScaleRule::default_for(format);
        let tensor = nearest(&[0.0, -0.0], scaled_type(&[2], format, 0), rule);
        let signs = dequantize(&tensor)
            .into_iter()
            .map(|value| (value, value.is_sign_negative()));
        assert!(signs.eq([(0.0, false), (-0.0, true)]), "{format}");
    }
}

#[test]
fn nan_shows_in_its_block() {
    for format in Format::ALL {
        let mut values = vec![1.0; 64];
        values[40] = f32::NAN;
        let rule = ScaleRule::default_for(format);
        let quantization =
            Quantization::new(scaled_type(&[64], format, 0), rule, Rounding::NearestEven);
        // As though the largest magnitude had been made without NaN: the rest of the tensor is left.
        let tensor = quantize(&values, &quantization.unwrap(), Some(1.0), None).unwrap();
        let found = dequantize(&tensor);
        assert!(found[40].is_nan(), "{format}");
        assert!(found[..32].iter().all(|&value| value == 1.0), "{format}");
    }
}

#[test]
fn nan_makes_the_tensor_scale_nan() {
    let quantized = nearest(
        &[1.0, f32::NAN],
        scaled_type(&[2], Format::Nvfp4, 0),
        ScaleRule::Te,
    );
    assert!(quantized.tensor_scale().is_nan());
    assert!(dequantize(&quantized).iter().all(|value| value.is_nan()));
}

#[test]
fn infinity_in_an_mx_block_reads_as_infinity() {
    for format in [Format::Mxfp4, Format::Mxfp6E2m3, Format::Mxfp8E5m2] {
        for rule in [ScaleRule::Rceil, ScaleRule::Floor, ScaleRule::Ceil] {
            let values = [f32::NEG_INFINITY, 1.0];
            let tensor = nearest(&values, scaled_type(&[2], format, 0), rule);
            assert_eq!(dequantize(&tensor), [f32::NEG_INFINITY, 0.0], "{format}");
        }
    }
}

#[test]
fn infinity_saturates_by_te() {
    let values = [f32::INFINITY, 1.0];
    let tensor = nearest(&values, scaled_type(&[2], Format::Nvfp4, 0), ScaleRule::Te);
    assert_eq!(dequantize(&tensor), [2688.0, 0.0]);
    let tensor = nearest(
        &values,
        scaled_type(&[2], Format::Fp8E4m3, 0),
        ScaleRule::Te,
    );
    assert_eq!(dequantize(&tensor), [448.0, 1.0]);
}

#[test]
fn fp8_maps_the_tensor_to_the_largest_number() {
    let tensor = nearest(
        &[56.0, -7.0],
        scaled_type(&[2], Format::Fp8E4m3, 0),
        ScaleRule::Te,
    );
    assert_eq!(tensor.tensor_scale(), 0.125);
    assert_eq!(tensor.codes(), [0x7e, 0xe6]);
    assert_eq!(dequantize(&tensor), [56.0, -7.0]);
}

#[test]
fn the_largest_magnitude_is_nan_where_a_number_is() {
    assert_eq!(largest_magnitude(&[]), 0.0);
    assert_eq!(largest_magnitude(&[-3.0, 2.0, -0.0]), 3.0);
    assert_eq!(largest_magnitude(&[1.0, f32::NEG_INFINITY]), f32::INFINITY);
    assert!(largest_magnitude(&[f32::NAN, f32::INFINITY]).is_nan());
}

#[test]
fn what_does_not_fit_is_refused() {
    let make = |rounding| {
        Quantization::new(
            scaled_type(&[2, 3], Format::Nvfp4, 1),
            ScaleRule::Te,
            rounding,
        )
        .unwrap()
    };
    let error = quantize(&[0.0; 5], &make(Rounding::NearestEven), None, None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "expected 6 numbers for !tsr.scaled<2x3, nvfp4, axis = 1>, found 5"
    );
    for rounding in [Rounding::Stochastic, Rounding::MsEden] {
        let error = quantize(&[0.0; 6], &make(rounding), None, None).unwrap_err();
        assert_eq!(error, QuantizeError::Stream { rounding });
    }
}

#[test]
fn stochastic_rounding_draws_the_documented_bytes() {
    // 0.25 is half a step above zero: the upper neighbour, 0.5, needs a byte of 128 or more.
    let mut values = vec![0.25; 48];
    (values[0], values[16], values[32]) = (6.0, 6.0, 6.0);
    let quantization = Quantization::new(
        scaled_type(&[3, 16], Format::Mxfp4, 1),
        ScaleRule::Rceil,
        Rounding::Stochastic,
    );
    let tensor = quantize(&values, &quantization.unwrap(), None, Some(STREAM)).unwrap();
    let found = dequantize(&tensor);
    for row in 0..3u64 {
        for column in 1..16u64 {
            // Rows are padded to blocks of 32.
            let byte = STREAM.byte(row * 32 + column);
            let expected = if byte >= 128 { 0.5 } else { 0.0 };
            assert_eq!(found[(row * 16 + column) as usize], expected);
        }
    }
}

#[test]
fn ms_eden_corrects_a_groups_scales() {
    // One group of 128 equal numbers: every x is 6 / (17/16 · 0.93) = 6.07 in units of its scale, up to the scale's
    // rounding, so every code is 6 and the correction undoes the difference on average.
    let count = 128 * 64;
    let values = vec![1.0f32; count];
    let quantization = Quantization::new(
        scaled_type(&[64, 128], Format::Nvfp4, 1),
        ScaleRule::Te,
        Rounding::MsEden,
    );
    let tensor = quantize(&values, &quantization.unwrap(), None, Some(STREAM)).unwrap();
    assert!(tensor.codes().iter().all(|&codes| codes == 0x77));
    let found = dequantize(&tensor);
    let mean = found.iter().sum::<f32>() / count as f32;
    // 512 scales between two neighbours at most 1/8 apart: the mean's deviation is at most 1/16/√512 = 0.0028; four of
    // these.
    assert!((mean - 1.0).abs() < 0.011, "{mean}");
}
