//! Quantisation beside a copy of its input, on one thread: bytes read and written per second.
//!
//! `cargo bench -p tessera-numerics`. A copy of n floats moves 8 n bytes, a quantisation to nvfp4 4.56 n for each
//! direction alone and 5.13 n for both. The throughput printed is of these bytes, so that lines compare directly.
//!
//! With AVX-512 arithmetic costs about 22 operations a vector of sixteen numbers and direction (a few and twenty more where
//! rounding is stochastic), at two a cycle 0.7 cycles a number. Measured at 2.5 GHz on a matrix that fits the second cache:
//! 1.2 cycles along the rows, 1.3 along the columns; on one of 64 MiB in huge pages 1.7 and 3.1, both together 4.4, where the copy takes
//! 1.1 and reading alone 0.9. What is left of the columns is the staging of a tile and the writing of lines far apart.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use tessera_numerics::{
    BlockShape, Format, Quantization, Quantizer, QuantizerDraw, QuantizerInput, RandomStream,
    Rounding, ScaleLayout, ScaleRule, ScaledType, largest_centred_magnitude, largest_magnitude,
};

const ROWS: usize = 4096;
const COLUMNS: usize = 4096;

fn quantization(
    format: Format,
    axis: usize,
    blocks: BlockShape,
    rounding: Rounding,
) -> Quantization {
    let scaled_type = ScaledType::new([ROWS, COLUMNS], format, axis, blocks, ScaleLayout::Linear);
    let rule = ScaleRule::default_for(format);
    Quantization::new(scaled_type.expect("a matrix"), rule, rounding).expect("the default rule")
}

/// The outputs to make in one pass, and whether columns are centred.
struct Case {
    name: &'static str,
    quantizations: Vec<Quantization>,
    centred: bool,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let (vector, square) = (BlockShape::Vector, BlockShape::Square);
    for (format, rounding, names) in [
        (
            Format::Nvfp4,
            Rounding::NearestEven,
            ["nvfp4 rows", "nvfp4 columns", "nvfp4 both"],
        ),
        (
            Format::Nvfp4,
            Rounding::Stochastic,
            [
                "nvfp4 stochastic rows",
                "nvfp4 stochastic columns",
                "nvfp4 stochastic both",
            ],
        ),
        (
            Format::Mxfp4,
            Rounding::NearestEven,
            ["mxfp4 rows", "mxfp4 columns", "mxfp4 both"],
        ),
    ] {
        for (name, axes) in names.into_iter().zip([&[1][..], &[0], &[1, 0]]) {
            let each = axes.iter();
            cases.push(Case {
                name,
                quantizations: each
                    .map(|&axis| quantization(format, axis, vector, rounding))
                    .collect(),
                centred: false,
            });
        }
    }
    let nearest = |axes: &[usize]| {
        let each = axes.iter();
        each.map(|&axis| quantization(Format::Nvfp4, axis, vector, Rounding::NearestEven))
            .collect()
    };
    for (name, axes) in [
        ("nvfp4 rows centred", &[1][..]),
        ("nvfp4 columns centred", &[0]),
        ("nvfp4 both centred", &[1, 0]),
    ] {
        cases.push(Case {
            name,
            quantizations: nearest(axes),
            centred: true,
        });
    }
    cases.push(Case {
        name: "nvfp4 both square",
        quantizations: [1, 0]
            .map(|axis| quantization(Format::Nvfp4, axis, square, Rounding::NearestEven))
            .into(),
        centred: false,
    });
    cases
}

fn bench(criterion: &mut Criterion) {
    let values: Vec<f32> = (0..ROWS * COLUMNS)
        .map(|index| ((index.wrapping_mul(2_654_435_761) >> 7) % 65536) as f32 / 32768.0 - 1.0)
        .collect();
    let mean: Vec<f32> = (0..COLUMNS).map(|column| column as f32 / 65536.0).collect();
    let read = size_of_val(values.as_slice()) as u64;

    let mut group = criterion.benchmark_group("quantize");
    group.sample_size(10);

    let mut copy = vec![0.0; values.len()];
    group.throughput(Throughput::Bytes(2 * read));
    group.bench_function("memcpy", |bencher| {
        bencher.iter(|| copy.copy_from_slice(black_box(&values)));
    });
    group.throughput(Throughput::Bytes(read));
    group.bench_function("largest magnitude", |bencher| {
        bencher.iter(|| largest_magnitude(black_box(&values)));
    });
    group.bench_function("largest centred magnitude", |bencher| {
        bencher.iter(|| largest_centred_magnitude(black_box(&values), &mean));
    });

    for case in cases() {
        let quantizer = Quantizer::new(case.quantizations).expect("one shape");
        let mut outputs: Vec<Vec<u8>> = quantizer
            .quantizations()
            .iter()
            .map(|one| vec![0; one.scaled_type().byte_size()])
            .collect();
        let written: usize = outputs.iter().map(Vec::len).sum();
        let draw = QuantizerDraw {
            amax: 1.0,
            stream: Some(RandomStream {
                seed: 1,
                step: 2,
                site: 3,
            }),
        };
        let draws = vec![draw; outputs.len()];
        let input = QuantizerInput {
            values: &values,
            mean: case.centred.then_some(&mean),
            draws: &draws,
        };
        group.throughput(Throughput::Bytes(read + written as u64));
        group.bench_function(BenchmarkId::from_parameter(case.name), |bencher| {
            let mut slices: Vec<&mut [u8]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
            bencher.iter(|| quantizer.run(black_box(input), &mut slices));
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
