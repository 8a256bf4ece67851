//! Kernels that Triton compiled, `tests/kernels/triton_kernels.py`, on tensor cores of three architectures.

use half::f16;
use tessera_emulator::{Global, Launch, Program, launch};
use tessera_numerics::{ElementFormat, ScaleFormat};

/// Runs a kernel of one CTA of 128 threads on these memories, of which the last is read afterwards as f32.
fn run(text: &str, kernel: &str, grid: u32, inputs: &[Vec<u8>], results: usize) -> Vec<f32> {
    let program = Program::new(&tessera_emulator::ptx::Module::parse(text).unwrap()).unwrap();
    let mut memory = Global::new();
    let mut launched = Launch::new(kernel).grid([grid, 1, 1]).block([128, 1, 1]);
    launched.dynamic_shared = 64 << 10;
    for input in inputs {
        launched = launched.u64(memory.allocate_with(input.clone()));
    }
    let result = memory.allocate(4 * results);
    // The last two are memory that Triton's own tools may ask for.
    launched = launched.u64(result).u64(0).u64(0);
    for seed in 1..100 {
        let mut launched = launched.clone();
        launched.seed = seed;
        let report = launch(&program, &mut memory.clone(), &launched).unwrap();
        assert_eq!(report.findings, [], "seed {seed}");
    }
    let report = launch(&program, &mut memory, &launched).unwrap();
    let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{findings:#?}");
    assert_eq!(report.counts.model_dependent, 0);
    let bytes = memory.read_bytes(result, 4 * results).unwrap();
    bytes
        .chunks_exact(4)
        .map(|chunk| f32::from_le_bytes(chunk.try_into().unwrap()))
        .collect()
}

fn words(count: usize) -> impl Iterator<Item = u32> {
    (0..count as u32)
        .map(|i| (i.wrapping_mul(0x9e37_79b9) ^ (i << 9).wrapping_mul(0x85eb_ca6b)).rotate_left(11))
}

#[test]
fn a_softmax() {
    let x: Vec<f32> = words(3 * 512)
        .map(|word| (word >> 9) as f32 / 2f32.powi(20) - 4.0)
        .collect();
    let bytes = x.iter().flat_map(|x| x.to_le_bytes()).collect();
    let found = run(
        include_str!("../kernels/triton_softmax_sm_90.ptx"),
        "softmax",
        3,
        &[bytes],
        3 * 512,
    );
    for (row, found) in x.chunks(512).zip(found.chunks(512)) {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = row.iter().map(|&x| f64::from(x - largest).exp()).sum();
        for (&x, &y) in row.iter().zip(found) {
            let expected = f64::from(x - largest).exp() / sum;
            // Arguments up to 8 · log2(e) are rounded to f32, which moves 2^x by up to 2^4 · 2^-24 · ln 2; the sum of 512
            // numbers, by lanes, adds less.
            assert!(
                (f64::from(y) - expected).abs() <= expected * 2f64.powi(-18),
                "{y} for {expected}"
            );
        }
    }
}

/// 32×32 numbers, summed over 64: every product and sum of these integers is exact.
fn check_dot(text: &str) {
    let a: Vec<f16> = words(32 * 64)
        .map(|word| f16::from_f32((word % 33) as f32 - 16.0))
        .collect();
    let b: Vec<f16> = words(64 * 32 + 5)
        .skip(5)
        .map(|word| f16::from_f32((word % 17) as f32 / 4.0 - 2.0))
        .collect();
    let bytes = |values: &[f16]| values.iter().flat_map(|x| x.to_le_bytes()).collect();
    let found = run(text, "dot", 1, &[bytes(&a), bytes(&b)], 1024);
    for (i, &found) in found.iter().enumerate() {
        let expected: f32 = (0..64)
            .map(|k| a[i / 32 * 64 + k].to_f32() * b[k * 32 + i % 32].to_f32())
            .sum();
        assert_eq!(found, expected, "element {i}");
    }
}

#[test]
fn a_product_of_f16_on_ampere() {
    check_dot(include_str!("../kernels/triton_dot_sm_80.ptx"));
}

#[test]
fn a_product_of_f16_on_blackwell() {
    check_dot(include_str!("../kernels/triton_dot_sm_120.ptx"));
}

#[test]
fn a_product_of_nvfp4_on_blackwell() {
    let (m, n, k) = (128, 32, 128);
    let codes = |count: usize, from: usize| {
        words(count + from)
            .skip(from)
            .map(|word| word as u8)
            .collect::<Vec<u8>>()
    };
    // Scales of 2^-4 to 2^4 with all fractions.
    let scales = |count: usize, from: usize| -> Vec<u8> {
        words(count + from)
            .skip(from)
            .map(|word| 0x18 + (word % 0x40) as u8)
            .collect()
    };
    let (a, b) = (codes(m * k / 2, 0), codes(n * k / 2, 77));
    let (a_scales, b_scales) = (scales(m * k / 16, 3), scales(n * k / 16, 9));
    let inputs = [a.clone(), a_scales.clone(), b.clone(), b_scales.clone()];
    let found = run(
        include_str!("../kernels/triton_dot_scaled_sm_120.ptx"),
        "dot_scaled",
        1,
        &inputs,
        m * n,
    );
    let value = |codes: &[u8], scales: &[u8], row: usize, at: usize| {
        let code = codes[row * k / 2 + at / 2] >> (4 * (at % 2)) & 0xf;
        let scale = ScaleFormat::E4m3.decode(scales[row * k / 16 + at / 16]);
        f64::from(ElementFormat::E2m1.decode(code)) * f64::from(scale)
    };
    for (i, &found) in found.iter().enumerate() {
        let terms =
            (0..k).map(|at| value(&a, &a_scales, i / n, at) * value(&b, &b_scales, i % n, at));
        // Exact in f64: products are multiples of 2^-16 below 2^13. The hardware rounds towards zero after each 64.
        let (sum, magnitude) = terms.fold((0.0, 0.0), |(sum, magnitude): (f64, f64), term| {
            (sum + term, magnitude + term.abs())
        });
        assert!(
            (f64::from(found) - sum).abs() <= 2.0 * magnitude * 2f64.powi(-23),
            "element {i}: {found} for {sum}"
        );
    }
}
