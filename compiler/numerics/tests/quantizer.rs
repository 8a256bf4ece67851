//! The fast quantiser against the definition, bit for bit, on every instruction set of this processor.

use std::sync::Mutex;
use tessera_numerics::philox::philox_4x32_10;
use tessera_numerics::{
    BlockShape, Format, Quantization, Quantizer, QuantizerDraw, QuantizerError, QuantizerInput,
    QuantizerValues, RandomStream, Rounding, ScaleLayout, ScaleRule, ScaledType, SimdLevel,
    largest_centred_magnitude, largest_magnitude, quantize,
};

/// What a tensor's numbers are like.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Of one size, with a few much larger.
    Plain,
    /// Every other stretch of 16 is zero, some with negative zeros.
    Zeros,
    /// Multiples of 1/8 up to 8, so that many lie on ties once scaled by powers of two, and their neighbours.
    Ties,
    /// Any bits but NaN and ∞, subnormal numbers among them.
    Bits,
    /// Any bits at all, NaN and ∞ more often than by chance.
    NotFinite,
    /// Subnormal numbers alone.
    Subnormal,
}

const KINDS: [Kind; 6] = [
    Kind::Plain,
    Kind::Zeros,
    Kind::Ties,
    Kind::Bits,
    Kind::NotFinite,
    Kind::Subnormal,
];

fn numbers(count: usize, kind: Kind) -> Vec<f32> {
    let number = |index: usize| {
        let [a, b, ..] = philox_4x32_10([index as u32, kind as u32, 0, 0], [1, 2]);
        let uniform = a as i32 as f32 / 2f32.powi(31);
        match kind {
            Kind::Plain if b % 64 == 0 => uniform * 30.0,
            Kind::Plain => uniform,
            Kind::Zeros if (index / 16).is_multiple_of(2) => [0.0, -0.0][b as usize % 2],
            Kind::Zeros => uniform,
            Kind::Ties => {
                let tie = (uniform * 64.0).round() / 8.0;
                [tie, tie.next_up(), tie.next_down()][b as usize % 3]
            }
            Kind::Bits => Some(f32::from_bits(a))
                .filter(|value| value.is_finite())
                .unwrap_or(1.0),
            Kind::NotFinite => match b % 50 {
                0 => f32::INFINITY,
                1 => f32::NEG_INFINITY,
                2 => f32::NAN,
                3 => -f32::NAN,
                _ => f32::from_bits(a),
            },
            Kind::Subnormal => f32::from_bits(a & 0x807f_ffff),
        }
    };
    (0..count).map(number).collect()
}

/// Formats whose kernels differ from each other most, for that axis.
fn quantizations(shape: &[usize], axis: usize) -> Vec<Quantization> {
    let kinds = [
        (Format::Nvfp4, BlockShape::Vector, ScaleRule::Te),
        (Format::Nvfp4, BlockShape::Square, ScaleRule::Te),
        (Format::Mxfp4, BlockShape::Vector, ScaleRule::Rceil),
        (Format::Mxfp8E4m3, BlockShape::Vector, ScaleRule::Rceil),
    ];
    let mut all = Vec::new();
    for (format, blocks, rule) in kinds {
        if blocks == BlockShape::Square && shape.len() < 2 {
            continue;
        }
        for layout in [ScaleLayout::Linear, ScaleLayout::Tiled128x4] {
            for rounding in [Rounding::NearestEven, Rounding::Stochastic] {
                let scaled_type = ScaledType::new(shape, format, axis, blocks, layout).unwrap();
                all.push(Quantization::new(scaled_type, rule, rounding).unwrap());
            }
        }
    }
    all
}

/// Every format with every rule, block shape and rounding that it has, for that axis.
fn every_quantization(shape: &[usize], axis: usize) -> Vec<Quantization> {
    let mut all = Vec::new();
    for format in Format::ALL {
        for blocks in BlockShape::ALL {
            let layout = ScaleLayout::Linear;
            let Ok(scaled_type) = ScaledType::new(shape, format, axis, blocks, layout) else {
                continue;
            };
            for rule in ScaleRule::ALL {
                for rounding in Rounding::ALL {
                    all.extend(Quantization::new(scaled_type.clone(), rule, rounding));
                }
            }
        }
    }
    all
}

fn draws(quantizations: &[Quantization], amax: f32) -> Vec<QuantizerDraw> {
    (0..quantizations.len() as u32)
        .map(|site| QuantizerDraw {
            amax,
            stream: Some(RandomStream {
                seed: 0xfeed_0000_beef,
                step: 9,
                site,
            }),
        })
        .collect()
}

/// The scaled tensors' bytes by the quantiser, on memory that holds something else before and begins with a cache line, as
/// an executor's does.
fn fast(quantizer: &Quantizer, input: QuantizerInput<'_>, parts: usize) -> Vec<Vec<u8>> {
    let mut outputs: Vec<Vec<u8>> = quantizer
        .quantizations()
        .iter()
        .map(|one| vec![0xa5; one.scaled_type().byte_size() + 63])
        .collect();
    let each = outputs.iter_mut().zip(quantizer.quantizations());
    let mut slices: Vec<&mut [u8]> = each
        .map(|(bytes, one)| {
            let start = bytes.as_ptr().align_offset(64);
            &mut bytes[start..][..one.scaled_type().byte_size()]
        })
        .collect();
    let mut job = quantizer.job(input, &mut slices).unwrap();
    for part in job.parts(parts) {
        part.run().unwrap();
    }
    slices.into_iter().map(|bytes| bytes.to_vec()).collect()
}

/// Compares every output with the definition's, of numbers in memory and of numbers made where they are read.
fn compare(quantizations: Vec<Quantization>, values: &[f32], mean: Option<&[f32]>, parts: usize) {
    let centred: Vec<f32> = match mean {
        None => values.to_vec(),
        Some(mean) => values
            .iter()
            .zip(mean.iter().cycle())
            .map(|(value, mean)| value - mean)
            .collect(),
    };
    let draws = draws(&quantizations, largest_magnitude(&centred));
    let expected: Vec<_> = quantizations
        .iter()
        .zip(&draws)
        .map(|(one, draw)| quantize(&centred, one, Some(draw.amax), draw.stream).unwrap())
        .collect();
    let quantizer = Quantizer::new(quantizations).unwrap();
    let make =
        |first: usize, room: &mut [f32]| room.copy_from_slice(&values[first..][..room.len()]);
    let given = [QuantizerValues::Given(values), QuantizerValues::Made(&make)];
    let levels = SimdLevel::available().into_iter();
    for (level, values) in levels.flat_map(|level| given.map(|values| (level, values))) {
        let quantizer = quantizer.clone().with_level(level);
        let input = QuantizerInput {
            values,
            mean,
            draws: &draws,
        };
        for (output, bytes) in fast(&quantizer, input, parts).iter().enumerate() {
            let expected = expected[output].bytes();
            let difference = bytes.iter().zip(expected).position(|(a, b)| a != b);
            let quantization = &quantizer.quantizations()[output];
            assert_eq!(
                difference.map(|at| (at, bytes[at], expected[at])),
                None,
                "{level:?}: {} {} {}",
                quantization.scaled_type(),
                quantization.rule(),
                quantization.rounding()
            );
        }
    }
}

#[test]
fn blocks_along_rows() {
    for shape in [
        &[5, 48][..],
        &[37, 530],
        &[1, 1100],
        &[2, 17000],
        &[33],
        &[3, 20, 40],
    ] {
        for kind in KINDS {
            let values = numbers(shape.iter().product(), kind);
            compare(quantizations(shape, shape.len() - 1), &values, None, 1);
        }
    }
}

#[test]
fn rows_shorter_than_a_block() {
    for columns in [1, 8, 15, 16, 17, 31] {
        let shape = [20, columns];
        let values = numbers(20 * columns, Kind::Plain);
        for one in quantizations(&shape, 1) {
            compare(vec![one], &values, None, 1);
        }
    }
}

#[test]
fn blocks_along_columns() {
    for shape in [&[48, 5][..], &[300, 70], &[129, 157], &[40, 3, 5]] {
        for kind in KINDS {
            let values = numbers(shape.iter().product(), kind);
            compare(quantizations(shape, 0), &values, None, 1);
        }
    }
}

#[test]
fn blocks_along_rows_and_columns_in_one_pass() {
    let shape = [150, 290];
    for kind in KINDS {
        let values = numbers(150 * 290, kind);
        let mut both = quantizations(&shape, 1);
        both.extend(quantizations(&shape, 0));
        compare(both, &values, None, 1);
    }
}

#[test]
fn every_format_rule_block_shape_and_rounding() {
    // Whole tiles and ragged ones, narrow matrices and wide ones.
    for shape in [[70, 48], [33, 290], [150, 37], [64, 256]] {
        for kind in KINDS {
            let values = numbers(shape[0] * shape[1], kind);
            let mut both = every_quantization(&shape, 1);
            both.extend(every_quantization(&shape, 0));
            compare(both, &values, None, 1);
        }
    }
}

#[test]
fn less_the_mean_of_whole_tiles() {
    let shape = [160, 512];
    let values = numbers(160 * 512, Kind::Plain);
    let mean: Vec<f32> = (0..512).map(|column| column as f32 * 0.25 - 3.0).collect();
    let both = [0, 1]
        .into_iter()
        .flat_map(|axis| quantizations(&shape, axis));
    compare(both.collect(), &values, Some(&mean), 1);
}

/// Matrices of more than 8 MiB, of which patches are copied: ragged ones, ones of more columns than a tile has, and ones
/// whose codes are whole lines, which are written past the caches.
#[test]
fn matrices_that_are_larger_than_the_caches() {
    for shape in [[8200, 260], [8320, 384], [512, 4480]] {
        larger_than_the_caches(shape);
    }
}

fn larger_than_the_caches(shape: [usize; 2]) {
    let values = numbers(shape[0] * shape[1], Kind::Plain);
    let mean: Vec<f32> = (0..shape[1])
        .map(|column| column as f32 * 0.25 - 3.0)
        .collect();
    let nvfp4 = |axis| {
        let scaled_type = ScaledType::new(
            shape,
            Format::Nvfp4,
            axis,
            BlockShape::Vector,
            ScaleLayout::Linear,
        );
        Quantization::new(scaled_type.unwrap(), ScaleRule::Te, Rounding::NearestEven).unwrap()
    };
    compare(vec![nvfp4(0), nvfp4(1)], &values, Some(&mean), 1);
}

#[test]
fn every_matrix_of_a_batch() {
    let shape = [3, 140, 24];
    for axis in [1, 2] {
        let values = numbers(3 * 140 * 24, Kind::Plain);
        let mut all = quantizations(&shape, axis);
        all.extend(quantizations(&shape, 2));
        compare(all, &values, None, 1);
    }
}

#[test]
fn less_the_mean_of_each_column() {
    for shape in [&[70, 90][..], &[2, 35, 90]] {
        let axes = [shape.len() - 2, shape.len() - 1];
        for kind in [Kind::Plain, Kind::Ties, Kind::NotFinite] {
            let values = numbers(70 * 90, kind);
            let mean: Vec<f32> = (0..90).map(|column| column as f32 * 0.25 - 3.0).collect();
            let all = axes.into_iter().flat_map(|axis| quantizations(shape, axis));
            compare(all.collect(), &values, Some(&mean), 1);
        }
    }
}

#[test]
fn less_a_mean_that_several_dimensions_repeat() {
    let shape = [35, 20, 90];
    let values = numbers(35 * 20 * 90, Kind::Plain);
    let mean: Vec<f32> = (0..90).map(|column| column as f32 * 0.25 - 3.0).collect();
    compare(quantizations(&shape, 0), &values, Some(&mean), 1);
}

#[test]
fn in_any_number_of_parts() {
    let values = numbers(700 * 40, Kind::Plain);
    for parts in [2, 3, 7, 100] {
        let mut both = quantizations(&[700, 40], 1);
        both.extend(quantizations(&[700, 40], 0));
        compare(both, &values, None, parts);
    }
}

#[test]
fn on_several_threads() {
    let shape = [700, 40];
    let values = numbers(700 * 40, Kind::Plain);
    let mut all = quantizations(&shape, 1);
    all.extend(quantizations(&shape, 0));
    let draws = draws(&all, largest_magnitude(&values));
    let quantizer = Quantizer::new(all).unwrap();
    let input = QuantizerInput {
        values: QuantizerValues::Given(&values),
        mean: None,
        draws: &draws,
    };
    let expected = fast(&quantizer, input, 1);
    let mut found: Vec<Vec<u8>> = expected.iter().map(|bytes| vec![0; bytes.len()]).collect();
    let mut slices: Vec<&mut [u8]> = found.iter_mut().map(Vec::as_mut_slice).collect();
    let mut job = quantizer.job(input, &mut slices).unwrap();
    let parts = Mutex::new(job.parts(6));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some(part) = { parts.lock().unwrap().pop() } {
                    part.run().unwrap();
                }
            });
        }
    });
    drop(parts);
    drop(job);
    assert!(found == expected);
}

#[test]
fn what_has_no_fast_path_comes_from_the_definition() {
    let shape = [6, 50];
    let make = |format, axis, rule, rounding| {
        let scaled_type =
            ScaledType::new(shape, format, axis, BlockShape::Vector, ScaleLayout::Linear);
        Quantization::new(scaled_type.unwrap(), rule, rounding).unwrap()
    };
    let mixed = vec![
        make(Format::Nvfp4, 1, ScaleRule::Torchao, Rounding::NearestEven),
        make(Format::Nvfp4, 1, ScaleRule::Te, Rounding::Stochastic),
        make(Format::Nvfp4, 0, ScaleRule::Te, Rounding::MsEden),
        make(Format::Mxfp8E4m3, 0, ScaleRule::Rceil, Rounding::Stochastic),
        make(Format::Fp8E5m2, 1, ScaleRule::Te, Rounding::NearestEven),
    ];
    let mean: Vec<f32> = (0..50).map(|column| column as f32 / 64.0).collect();
    compare(mixed, &numbers(300, Kind::Plain), Some(&mean), 2);
    // Three axes have no common view as one matrix.
    let three = (0..3).flat_map(|axis| quantizations(&[4, 20, 18], axis));
    compare(three.collect(), &numbers(1440, Kind::Plain), None, 2);
}

#[test]
fn tensors_without_elements() {
    for shape in [[0, 4], [4, 0]] {
        let both = [0, 1]
            .into_iter()
            .flat_map(|axis| quantizations(&shape, axis));
        compare(both.collect(), &[], None, 2);
    }
}

#[test]
fn the_largest_magnitude_of_centred_numbers() {
    let values = [1.0, -5.0, 3.0, -2.0];
    assert_eq!(largest_centred_magnitude(&values, &[2.0, -4.0]), 2.0);
    assert!(largest_centred_magnitude(&values, &[f32::NAN, 0.0]).is_nan());
    assert_eq!(largest_centred_magnitude(&[], &[]), 0.0);
    let many = numbers(1000, Kind::Bits);
    let expected = many
        .iter()
        .fold(0f32, |largest, value| largest.max(value.abs()));
    assert_eq!(largest_magnitude(&many), expected);
}

#[test]
fn what_does_not_fit_is_refused() {
    let quantizer = Quantizer::new(quantizations(&[2, 16], 1)[..1].to_vec()).unwrap();
    let draws = draws(quantizer.quantizations(), 1.0);
    let input = QuantizerInput {
        values: QuantizerValues::Given(&[1.0; 32]),
        mean: None,
        draws: &draws,
    };
    let mut bytes = [0; 132];
    let run = |input, outputs: &mut [&mut [u8]]| quantizer.run(input, outputs);
    assert_eq!(run(input, &mut [&mut bytes]), Ok(()));
    let error = run(input, &mut [&mut bytes[..131]]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "expected 132 bytes for output 0, found 131"
    );
    let error = run(input, &mut []).unwrap_err();
    assert!(matches!(
        error,
        QuantizerError::Count {
            what: "outputs",
            ..
        }
    ));
    let error = run(
        QuantizerInput {
            mean: Some(&[0.0; 2]),
            ..input
        },
        &mut [&mut bytes],
    );
    assert_eq!(
        error,
        Err(QuantizerError::Mean {
            expected: 16,
            found: 2
        })
    );
    let values = QuantizerInput {
        values: QuantizerValues::Given(&[1.0; 31]),
        ..input
    };
    assert!(matches!(
        run(values, &mut [&mut bytes]),
        Err(QuantizerError::Quantize(_))
    ));
    assert_eq!(Quantizer::new(vec![]).unwrap_err(), QuantizerError::Empty);
    let mut shapes = quantizations(&[2, 16], 1);
    shapes.extend(quantizations(&[2, 17], 1));
    assert!(matches!(
        Quantizer::new(shapes),
        Err(QuantizerError::Shapes { .. })
    ));
}
