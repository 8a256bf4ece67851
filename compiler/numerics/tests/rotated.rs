//! What is made of a Hadamard transform that is written nowhere, against the same of one that is, bit for bit, on every
//! instruction set of this processor.

use tessera_numerics::philox::philox_4x32_10;
use tessera_numerics::{
    BlockShape, Format, HADAMARD_SIZES, HadamardError, HadamardMagnitudes, Quantization, Quantizer,
    QuantizerDraw, QuantizerError, QuantizerInput, QuantizerValues, RandomStream, Rounding,
    ScaleLayout, ScaleRule, ScaledType, SimdLevel, hadamard, largest_magnitude, quantize,
    random_signs,
};

/// Numbers of many sizes, every seventh of which is a zero of either sign.
fn numbers(count: usize) -> Vec<f32> {
    let number = |index: usize| {
        let [a, b, ..] = philox_4x32_10([index as u32, 0, 0, 0], [3, 4]);
        match b % 14 {
            0 => 0.0,
            1 => -0.0,
            _ => a as i32 as f32 / 2f32.powi((b % 64) as i32),
        }
    };
    (0..count).map(number).collect()
}

fn less_mean(values: &[f32], mean: Option<&[f32]>) -> Vec<f32> {
    match mean {
        None => values.to_vec(),
        Some(mean) => {
            let each = values.iter().zip(mean.iter().cycle());
            each.map(|(value, mean)| value - mean).collect()
        }
    }
}

/// The transform along an axis, by definition.
fn transformed(values: &[f32], shape: &[usize], axis: usize, signs: &[bool]) -> Vec<f32> {
    let inner: usize = shape[axis + 1..].iter().product();
    let mut results = values.to_vec();
    let mut line = vec![0.0; shape[axis]];
    for first in (0..values.len()).filter(|index| (index / inner).is_multiple_of(shape[axis])) {
        for (index, number) in line.iter_mut().enumerate() {
            *number = values[first + index * inner];
        }
        hadamard(&mut line, signs.len(), signs).unwrap();
        for (index, number) in line.iter().enumerate() {
            results[first + index * inner] = *number;
        }
    }
    results
}

/// Quantisations along an axis whose kernels differ most.
fn quantizations(shape: &[usize], axis: usize) -> Vec<Quantization> {
    let kinds = [
        (Format::Nvfp4, ScaleRule::Te, Rounding::NearestEven),
        (Format::Nvfp4, ScaleRule::FourOverSix, Rounding::Stochastic),
        (Format::Nvfp4, ScaleRule::Te, Rounding::MsEden),
        (Format::Mxfp4, ScaleRule::Rceil, Rounding::NearestEven),
        (Format::Mxfp8E4m3, ScaleRule::Rceil, Rounding::Stochastic),
    ];
    let layout = ScaleLayout::Linear;
    let quantization = |(format, rule, rounding)| {
        let kind = ScaledType::new(shape, format, axis, BlockShape::Vector, layout).unwrap();
        Quantization::new(kind, rule, rounding)
    };
    // Four over six has no random rounding.
    kinds.into_iter().flat_map(quantization).collect()
}

/// Compares quantisations of the transform along an axis, and of the tensor itself along each axis, made together.
fn compare(shape: &[usize], axis: usize, size: usize, is_centred: bool) {
    let values = numbers(shape.iter().product());
    let mean = is_centred.then(|| numbers(shape[shape.len() - 1]));
    let centred = less_mean(&values, mean.as_deref());
    let signs = random_signs(size, 1, 2).unwrap();
    let rotated = transformed(&centred, shape, axis, &signs);
    let plain = (0..shape.len()).flat_map(|axis| quantizations(shape, axis));
    let mut all: Vec<(Quantization, Option<Vec<bool>>)> = plain.map(|one| (one, None)).collect();
    let of_transform = quantizations(shape, axis).into_iter();
    all.extend(of_transform.map(|one| (one, Some(signs.clone()))));
    let draws: Vec<QuantizerDraw> = (0..all.len())
        .map(|site| QuantizerDraw {
            amax: match all[site].1 {
                None => largest_magnitude(&centred),
                Some(_) => largest_magnitude(&rotated),
            },
            stream: Some(RandomStream {
                seed: 7,
                step: 3,
                site: site as u32,
            }),
        })
        .collect();
    let expected = all.iter().zip(&draws).map(|((one, signs), draw)| {
        let values = signs.as_ref().map_or(&centred, |_| &rotated);
        quantize(values, one, Some(draw.amax), draw.stream).unwrap()
    });
    let expected: Vec<_> = expected.collect();
    let (quantizations, signs): (Vec<_>, Vec<_>) = all.into_iter().unzip();
    let quantizer = Quantizer::new(quantizations).unwrap();
    let quantizer = quantizer.with_hadamard(&signs).unwrap();
    let input = QuantizerInput {
        values: QuantizerValues::Given(&values),
        mean: mean.as_deref(),
        draws: &draws,
    };
    for level in SimdLevel::available() {
        let quantizer = quantizer.clone().with_level(level);
        let sizes = quantizer.quantizations().iter();
        let mut outputs: Vec<Vec<u8>> = sizes
            .map(|one| vec![0xa5; one.scaled_type().byte_size()])
            .collect();
        let mut slices: Vec<&mut [u8]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
        quantizer.run(input, &mut slices).unwrap();
        for (index, (found, expected)) in outputs.iter().zip(&expected).enumerate() {
            let one = &quantizer.quantizations()[index];
            let difference = found.iter().zip(expected.bytes()).position(|(a, b)| a != b);
            let transform = signs[index].as_ref().map(Vec::len);
            let (kind, rounding) = (one.scaled_type(), one.rounding());
            assert_eq!(
                difference, None,
                "{level:?}: {kind} {rounding} {transform:?}"
            );
        }
    }
}

#[test]
fn quantisations_of_a_transform_along_columns() {
    for size in HADAMARD_SIZES {
        // Patches that are whole and ragged, of one stripe and of several.
        for (rows, columns) in [(size, 7), (384, 70), (256, 290), (128, 512)] {
            compare(&[rows, columns], 0, size, false);
        }
        compare(&[2 * size, 300], 0, size, true);
    }
}

#[test]
fn quantisations_of_a_transform_along_rows() {
    for size in HADAMARD_SIZES {
        for (rows, columns) in [(5, size), (37, 384), (130, 640)] {
            compare(&[rows, columns], 1, size, false);
        }
        compare(&[33, 256], 1, size, true);
    }
}

#[test]
fn quantisations_of_a_transform_along_any_axis() {
    for axis in 0..3 {
        compare(&[32, 64, 48], axis, 16, true);
    }
    compare(&[3, 128, 20], 1, 128, false);
}

/// By definition: square blocks' scales are those of the transform.
#[test]
fn square_blocks_of_a_transform() {
    let shape = [64, 48];
    let values = numbers(64 * 48);
    let signs = random_signs(16, 5, 5).unwrap();
    let rotated = transformed(&values, &shape, 0, &signs);
    let blocks = BlockShape::Square;
    let kind = ScaledType::new(shape, Format::Nvfp4, 0, blocks, ScaleLayout::Linear).unwrap();
    let one = Quantization::new(kind, ScaleRule::Te, Rounding::NearestEven).unwrap();
    let amax = largest_magnitude(&rotated);
    let expected = quantize(&rotated, &one, Some(amax), None).unwrap();
    let quantizer = Quantizer::new(vec![one])
        .unwrap()
        .with_hadamard(&[Some(signs)]);
    let draws = [QuantizerDraw { amax, stream: None }];
    let input = QuantizerInput {
        values: QuantizerValues::Given(&values),
        mean: None,
        draws: &draws,
    };
    let mut found = vec![0; expected.bytes().len()];
    quantizer.unwrap().run(input, &mut [&mut found]).unwrap();
    assert!(found == expected.bytes());
}

#[test]
fn the_largest_magnitude_of_each_row_of_a_transform() {
    for size in HADAMARD_SIZES {
        let signs = random_signs(size, 1, 2).unwrap();
        for (shape, axis) in [
            (&[2 * size, 70][..], 0),
            (&[384, 290], 0),
            (&[37, 384], 1),
            (&[3, 128, 20], 1),
            (&[3, 5, 256], 2),
            (&[128], 0),
        ] {
            let mut values = numbers(shape.iter().product());
            values[1] = f32::NAN;
            let last = shape[shape.len() - 1];
            for mean in [None, Some(numbers(last))] {
                let centred = less_mean(&values, mean.as_deref());
                let rotated = transformed(&centred, shape, axis, &signs);
                let expected: Vec<u32> = (rotated.chunks(last))
                    .map(|row| largest_magnitude(row).to_bits())
                    .collect();
                for level in SimdLevel::available() {
                    let magnitudes = HadamardMagnitudes::new(shape, axis, &signs).unwrap();
                    let magnitudes = magnitudes.with_level(level);
                    let mut found = vec![0.0; expected.len()];
                    for stripe in 0..magnitudes.stripes() {
                        let rows = magnitudes.rows(stripe..stripe + 1);
                        let stripe = stripe..stripe + 1;
                        magnitudes.run(&values, mean.as_deref(), stripe, &mut found[rows]);
                    }
                    let found: Vec<u32> = found.iter().map(|one| one.to_bits()).collect();
                    assert!(found == expected, "{shape:?} {axis} {size} {level:?}");
                }
            }
        }
    }
}

#[test]
fn what_is_no_transform_is_refused() {
    let kind = ScaledType::new(
        [20, 32],
        Format::Nvfp4,
        0,
        BlockShape::Vector,
        ScaleLayout::Linear,
    )
    .unwrap();
    let one = Quantization::new(kind, ScaleRule::Te, Rounding::NearestEven).unwrap();
    let quantizer = Quantizer::new(vec![one]).unwrap();
    let refused = |signs: &[Option<Vec<bool>>]| quantizer.clone().with_hadamard(signs).unwrap_err();
    assert_eq!(
        refused(&[Some(vec![false; 16])]),
        QuantizerError::Hadamard(HadamardError::Length {
            size: 16,
            found: 20
        })
    );
    assert_eq!(
        refused(&[Some(vec![false; 5])]),
        QuantizerError::Hadamard(HadamardError::Size { found: 5 })
    );
    assert_eq!(
        refused(&[]),
        QuantizerError::Count {
            what: "transforms",
            expected: 1,
            found: 0
        }
    );
    // Not along one of the last two axes.
    assert_eq!(
        HadamardMagnitudes::new(&[16, 2, 2], 0, &[false; 16]).unwrap_err(),
        HadamardError::Length {
            size: 16,
            found: 16
        }
    );
}
