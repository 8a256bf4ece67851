//! Quantisation beside a copy of its input, on one thread and on all: bytes read and written per second.
//!
//! `cargo bench -p tessera-numerics`. A copy of n floats moves 8 n bytes, a quantisation to nvfp4 4.56 n for each
//! direction alone and 5.13 n for both. The throughput printed is of these bytes, so that lines compare directly.
//!
//! Sixty per cent of a copy's bytes a second are 0.95 of the copy's time along one direction, and 1.07 for both. With AVX-512
//! nvfp4 costs 14 vector operations for sixteen numbers along the rows (one for the mean, 4 for the largest magnitude, 6 for
//! the codes, 3 for packing and scales), as many along the columns, so at two a cycle 0.45 cycles a number and direction:
//! 3.8 ms for 64 MiB at 2 GHz, beside 5 ms that reading takes. What is along the columns is also staged, and turned to whole
//! lines. Threads share the memory but not the arithmetic: a copy by two is a quarter faster than by one, a
//! quantisation 1.6 to 1.9 times as fast.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use memmap2::MmapMut;
use std::hint::black_box;
use tessera_numerics::{
    BlockShape, Format, Quantization, Quantizer, QuantizerDraw, QuantizerInput, QuantizerValues,
    RandomStream, Rounding, ScaleLayout, ScaleRule, ScaledType, largest_centred_magnitude,
    largest_magnitude,
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
    for (name, axis) in [("nvfp4 ms_eden rows", 1), ("nvfp4 ms_eden columns", 0)] {
        cases.push(Case {
            name,
            quantizations: vec![quantization(Format::Nvfp4, axis, vector, Rounding::MsEden)],
            centred: false,
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

/// Zeros as an executor has them: from the beginning of a page on, in huge pages where the system has any.
fn memory(bytes: usize) -> MmapMut {
    let mapping = MmapMut::map_anon(bytes).expect("memory");
    #[cfg(target_os = "linux")]
    let _ = mapping.advise(memmap2::Advice::HugePage);
    mapping
}

/// The numbers that bytes of memory are.
fn floats(memory: &mut MmapMut) -> &mut [f32] {
    // SAFETY: any bits are a number, and a page begins where one may.
    let (before, floats, after) = unsafe { memory.align_to_mut() };
    assert!(before.is_empty() && after.is_empty());
    floats
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |count| count.get())
}

fn copy_on_all_threads(to: &mut [f32], from: &[f32]) {
    let each = from.len().div_ceil(threads());
    std::thread::scope(|scope| {
        for (to, from) in to.chunks_mut(each).zip(from.chunks(each)) {
            scope.spawn(|| to.copy_from_slice(from));
        }
    });
}

fn on_all_threads(quantizer: &Quantizer, input: QuantizerInput<'_>, outputs: &mut [&mut [u8]]) {
    let mut job = quantizer.job(input, outputs).expect("what fits");
    std::thread::scope(|scope| {
        for part in job.parts(threads()) {
            scope.spawn(|| part.run().expect("what fits"));
        }
    });
}

fn bench(criterion: &mut Criterion) {
    let mut memory_of_values = memory(4 * ROWS * COLUMNS);
    let values = floats(&mut memory_of_values);
    for (index, value) in values.iter_mut().enumerate() {
        *value = ((index.wrapping_mul(2_654_435_761) >> 7) % 65536) as f32 / 32768.0 - 1.0;
    }
    let values = &*values;
    let mean: Vec<f32> = (0..COLUMNS).map(|column| column as f32 / 65536.0).collect();
    let read = size_of_val(values) as u64;

    let mut group = criterion.benchmark_group("quantize");
    group.sample_size(10);

    let mut memory_of_copy = memory(4 * ROWS * COLUMNS);
    let copy = floats(&mut memory_of_copy);
    copy.fill(1.0);
    group.throughput(Throughput::Bytes(2 * read));
    group.bench_function("memcpy", |bencher| {
        bencher.iter(|| copy.copy_from_slice(black_box(values)));
    });
    group.bench_function("memcpy, all threads", |bencher| {
        bencher.iter(|| copy_on_all_threads(copy, black_box(values)));
    });
    group.throughput(Throughput::Bytes(read));
    group.bench_function("largest magnitude", |bencher| {
        bencher.iter(|| largest_magnitude(black_box(values)));
    });
    group.bench_function("largest centred magnitude", |bencher| {
        bencher.iter(|| largest_centred_magnitude(black_box(values), &mean));
    });

    for case in cases() {
        let quantizer = Quantizer::new(case.quantizations).expect("one shape");
        let mut outputs: Vec<MmapMut> = quantizer
            .quantizations()
            .iter()
            .map(|one| memory(one.scaled_type().byte_size()))
            .collect();
        let written: usize = outputs.iter().map(|output| output.len()).sum();
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
            values: QuantizerValues::Given(values),
            mean: case.centred.then_some(&mean),
            draws: &draws,
        };
        group.throughput(Throughput::Bytes(read + written as u64));
        let mut slices: Vec<&mut [u8]> = outputs.iter_mut().map(|output| &mut **output).collect();
        group.bench_function(BenchmarkId::from_parameter(case.name), |bencher| {
            bencher.iter(|| quantizer.run(black_box(input), &mut slices));
        });
        if case.centred {
            let name = format!("{}, all threads", case.name);
            group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                bencher.iter(|| on_all_threads(&quantizer, black_box(input), &mut slices));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
