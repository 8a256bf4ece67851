//! Triton's own kernels of NVFP4, run in the emulator with its checker on, against the interpreter's `scaled_dot` of the same
//! codes and scales: what `tl.dot_scaled` means on either of Blackwell's families is what our op means.

use tessera_emulator::{Global, Launch, Program, launch, ptx::Module};
use tessera_interpreter::{Value, evaluate_values};
use tessera_ir::{Builder, ElementType, Input, Module as Graphs, ScaledTensor, ScaledType};
use tessera_numerics::{BlockShape, Format, ScaleLayout};

/// A kernel of one CTA, 128 threads: `tl.dot_scaled` of `m` and `n` rows of `K` codes.
struct Kernel {
    text: &'static str,
    n: usize,
}

const M: usize = 128;
const K: usize = 128;

const SM_100: Kernel = Kernel {
    text: include_str!("../../../runtime/emulator/tests/kernels/triton_dot_nvfp4_sm_100.ptx"),
    n: 64,
};

const SM_120: Kernel = Kernel {
    text: include_str!("../../../runtime/emulator/tests/kernels/triton_dot_scaled_sm_120.ptx"),
    n: 32,
};

/// Rows of codes, all of them, and of scales from `first` on, `span` different ones.
fn operand(rows: usize, from: u32, (first, span): (u32, u32)) -> ScaledTensor {
    let kind = ScaledType::new(
        vec![rows, K],
        Format::Nvfp4,
        1,
        BlockShape::Vector,
        ScaleLayout::Linear,
    );
    let kind = kind.unwrap();
    let words = |count: usize, from: u32| {
        let words = from..from + count as u32;
        words.map(|i| {
            (i.wrapping_mul(0x9e37_79b9) ^ (i << 9).wrapping_mul(0x85eb_ca6b)).rotate_left(11)
        })
    };
    let mut bytes = vec![0; kind.byte_size()];
    for (byte, word) in bytes.iter_mut().zip(words(rows * K / 2, from)) {
        *byte = word as u8;
    }
    let scales = bytes[kind.scales_offset()..].iter_mut();
    for (byte, word) in scales.zip(words(rows * K / 16, from + 9)) {
        *byte = (first + word % span) as u8;
    }
    // Triton's operands have no tensor scale.
    let whole = kind.tensor_scale_offset();
    bytes[whole..].copy_from_slice(&1f32.to_le_bytes());
    ScaledTensor::new(kind, bytes).unwrap()
}

/// The interpreter's `scaled_dot`.
fn reference(a: &ScaledTensor, b: &ScaledTensor) -> Vec<f32> {
    let inputs = [a, b].map(|own| Input::new(own.scaled_type().clone()));
    let mut builder = Builder::with_inputs("product", inputs.into());
    let operands = builder.inputs();
    let product = builder.scaled_dot(operands[0], operands[1], ElementType::F32);
    let graph = builder.finish([product.unwrap()]);
    let operands = [a, b].map(|own| Value::Scaled(own.clone()));
    let results = evaluate_values(&Graphs::default(), &graph, &operands).unwrap();
    let product = results[0].as_tensor().unwrap();
    let numbers = product.bytes().chunks_exact(4);
    let numbers = numbers.map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
    numbers.collect()
}

/// What Triton's kernel gives, in a seeded order of its warps.
fn emulated(kernel: &Kernel, a: &ScaledTensor, b: &ScaledTensor, seed: u64) -> Vec<f32> {
    let program = Program::new(&Module::parse(kernel.text).unwrap()).unwrap();
    let name = program.kernels().next().unwrap().to_owned();
    let mut memory = Global::new();
    let mut grid = Launch::new(name).block([128, 1, 1]);
    grid.dynamic_shared = 64 << 10;
    grid.seed = seed;
    for own in [a, b] {
        let address = memory.allocate_with(own.codes().to_vec());
        let scales = memory.allocate_with(own.scales().to_vec());
        grid = grid.u64(address).u64(scales);
    }
    let result = memory.allocate(4 * M * kernel.n);
    // The last two are memory that Triton's own tools may ask for.
    let grid = grid.u64(result).u64(0).u64(0);
    let report = launch(&program, &mut memory, &grid).unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(report.counts.model_dependent, 0);
    let bytes = memory.read_bytes(result, 4 * M * kernel.n).unwrap();
    let numbers = bytes.chunks_exact(4);
    let numbers = numbers.map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
    numbers.collect()
}

#[test]
fn products_that_are_exact_have_the_same_bits() {
    for kernel in [SM_100, SM_120] {
        // Scales of 1/2 to 15/16: products are multiples of 2^-10, and sums of 128 of at most 36 below 2^13, which f32 has
        // all of.
        let (a, b) = (operand(M, 0, (0x30, 8)), operand(kernel.n, 77, (0x30, 8)));
        let expected = reference(&a, &b);
        for seed in 0..100 {
            let found = emulated(&kernel, &a, &b, seed);
            let same = found.iter().zip(&expected);
            let same = same.filter(|(found, expected)| found.to_bits() == expected.to_bits());
            assert_eq!(same.count(), M * kernel.n, "seed {seed}");
        }
    }
}

#[test]
fn products_with_scales_of_all_sizes_are_within_the_roundings_of_the_hardware() {
    for kernel in [SM_100, SM_120] {
        let scales = (0x18, 0x40);
        let (a, b) = (operand(M, 3, scales), operand(kernel.n, 99, scales));
        let (found, expected) = (emulated(&kernel, &a, &b, 1), reference(&a, &b));
        for (i, (&found, &expected)) in found.iter().zip(&expected).enumerate() {
            let (row, column) = (i / kernel.n, i % kernel.n);
            let terms =
                (0..K).map(|k| (a.unscaled_value(row, k) * b.unscaled_value(column, k)).abs());
            // The interpreter's sum is exact and rounded to nearest; the hardware's is rounded towards zero behind each 64
            // terms, no sum of which is larger than that of their magnitudes.
            let bound = terms.sum::<f64>() * (2.0 * 2f64.powi(-23) + 2f64.powi(-24));
            let difference = (f64::from(found) - f64::from(expected)).abs();
            assert!(difference <= bound, "element {i}: {found} for {expected}");
        }
    }
}
