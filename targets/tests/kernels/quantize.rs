//! Quantise kernels of GPUs: a tile of the tensor is read once, whatever is made of it.

use crate::harness::{Case, Random, check_for, plan_of};
use crate::ptx::{assembled, tools};
use crate::scaled::ordinary;
use tessera_emulator::{Counts, Global, Launch, Program, launch, ptx::Module};
use tessera_ir::plan::Family;
use tessera_ir::{Builder, ElementType, Input, QuantizeOperands, Tensor, TensorType};
use tessera_numerics::{
    BlockShape, Format, Quantization, Rounding, ScaleLayout, ScaleRule, ScaledType,
};
use tessera_runtime::Bundle;
use tessera_runtime::bundle::PTX_FILE;
use tessera_targets::{Options, Target, compile};

/// A format by a rule and a rounding, with the blocks' shape, along a dimension.
type Kind = (Format, ScaleRule, Rounding, BlockShape, usize);

const NVFP4: (Format, ScaleRule) = (Format::Nvfp4, ScaleRule::Te);

/// One tensor less its columns' mean, quantised in every kind.
fn kernel(random: &mut Random, shape: &[usize], element: ElementType, kinds: &[Kind]) -> Case {
    let last = shape.len() - 1;
    let x = random.tensor(element, shape);
    let mean = ordinary(random, &shape[last..]);
    let inputs = vec![x, mean, Tensor::scalar(3.5f32), Tensor::scalar(9u32)];
    let types = inputs.iter().map(|input| Input::new(TensorType::of(input)));
    let mut b = Builder::with_inputs("quantize", types.collect());
    let [x, mean, amax, step] = b.inputs()[..] else {
        unreachable!("there are four inputs");
    };
    let means = b.broadcast_in_dim(mean, &[last], shape).unwrap();
    let x = b.convert(x, ElementType::F32).unwrap();
    let centred = b.subtract(x, means).unwrap();
    let mut results = Vec::new();
    for (site, &(format, rule, rounding, blocks, axis)) in kinds.iter().enumerate() {
        let layout = match (format.block(), site % 2) {
            (Some(_), 0) => ScaleLayout::Tiled128x4,
            _ => ScaleLayout::Linear,
        };
        let scaled = ScaledType::new(shape, format, axis, blocks, layout).unwrap();
        let quantization = Quantization::new(scaled, rule, rounding).unwrap();
        let operands = QuantizeOperands {
            amax: format.has_tensor_scale().then_some(amax),
            step: rounding.is_random().then_some(step),
        };
        let result = b.quantize(centred, operands, &quantization, (5, site));
        results.push(result.unwrap());
    }
    Case::of(Family::Quantize, b.finish(results), inputs)
}

/// What a kernel did in the emulator when warps took turns in the order of a seed; its checker found nothing.
fn counts(case: &Case, target: &str, seed: u64) -> Counts {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kernels.tessera");
    let target: Target = target.parse().unwrap();
    let plan = plan_of(std::slice::from_ref(case));
    let writer = compile(&plan, &target, &Options::default()).unwrap();
    writer.write(&path).unwrap();
    let bundle = Bundle::open(&path).unwrap();
    let code = bundle.manifest().kernels[0].code.as_ptx().unwrap().clone();
    let text = std::fs::read_to_string(path.join(PTX_FILE)).unwrap();
    let program = Program::new(&Module::parse(&text).unwrap()).unwrap();
    let mut memory = Global::new();
    let mut grid = Launch::new(&code.entry).grid(code.grid).block(code.block);
    grid.dynamic_shared = code.shared_bytes.into();
    grid.seed = seed;
    for input in &case.inputs {
        grid = grid.u64(memory.allocate_with(input.bytes().to_vec()));
    }
    let results = case.kernel.body.results().iter();
    let bytes = results.map(|result| case.kernel.body.value_type(result.value).byte_size());
    for bytes in bytes {
        grid = grid.u64(memory.allocate(bytes));
    }
    let report = launch(&program, &mut memory, &grid).unwrap();
    assert!(
        report.findings.is_empty(),
        "seed {seed}: {:?}",
        report.findings
    );
    report.counts
}

/// Rows and columns at once, by every way in which threads share a tile, of matrices that tiles fit and do not fit.
#[test]
fn what_is_made_along_both_sides_has_the_interpreters_bits() {
    use BlockShape::{Square, Vector};
    use Rounding::{MsEden, NearestEven, Stochastic};
    let (nvfp4, te) = NVFP4;
    let mut random = Random(61);
    for shape in [&[64, 64][..], &[33, 50], &[2, 80, 48], &[140, 16]] {
        let kinds = [shape.len() - 1, shape.len() - 2].map(|axis| {
            [
                (nvfp4, te, NearestEven, Vector, axis),
                (nvfp4, te, Stochastic, Vector, axis),
                (nvfp4, ScaleRule::FourOverSix, Stochastic, Square, axis),
                (nvfp4, ScaleRule::Torchao, NearestEven, Square, axis),
                (nvfp4, te, MsEden, Vector, axis),
                (Format::Mxfp4, ScaleRule::Rceil, NearestEven, Vector, axis),
                (Format::Fp8E4m3, te, NearestEven, Vector, axis),
            ]
        });
        let kinds = kinds.concat();
        let cases = [&kinds[..], &kinds[1..2], &kinds[7..9], &kinds[9..10]]
            .map(|kinds| kernel(&mut random, shape, ElementType::F32, kinds));
        for target in ["sm_80", "sm_100a"] {
            check_for(target, &cases);
        }
    }
}

/// Columns along different dimensions: each has tiles of its own.
#[test]
fn blocks_along_every_dimension_of_a_batch_have_the_interpreters_bits() {
    let mut random = Random(62);
    let (nvfp4, te) = NVFP4;
    let kinds = [0, 1, 2].map(|axis| (nvfp4, te, Rounding::NearestEven, BlockShape::Vector, axis));
    let case = kernel(&mut random, &[20, 18, 34], ElementType::F32, &kinds);
    check_for("sm_90a", &[case]);
}

#[test]
fn a_tensor_is_read_once_for_codes_along_both_sides() {
    let (nvfp4, te) = NVFP4;
    let mut random = Random(63);
    let shape = [128, 192];
    let elements = 128 * 192;
    let vector = |axis| (nvfp4, te, Rounding::NearestEven, BlockShape::Vector, axis);
    let square = |axis| (nvfp4, te, Rounding::NearestEven, BlockShape::Square, axis);
    for (element, bytes) in [(ElementType::F32, 4), (ElementType::Bf16, 2)] {
        for kinds in [[vector(1), vector(0)], [square(1), square(0)]] {
            let case = kernel(&mut random, &shape, element, &kinds);
            for seed in 0..4 {
                let counts = counts(&case, "sm_100a", seed);
                // The mean is read once for each of its uses, the largest magnitude by each thread of tiles of 4096.
                let threads = elements / 4096 * 256;
                let read = elements * (bytes + 4) + threads * 4;
                assert_eq!(counts.global.read, read as u64, "{element:?} {kinds:?}");
                // Of squares, rows and columns of two are at one bank.
                if kinds[0].3 == BlockShape::Vector {
                    assert_eq!(counts.bank_conflicts, 0, "{element:?} {kinds:?}");
                }
            }
        }
    }
}

#[test]
fn the_assembler_spills_no_register() {
    let (Some(assembler), _) = tools() else {
        eprintln!("SKIPPED: no ptxas on PATH, under CUDA_HOME or in a virtual environment");
        return;
    };
    use BlockShape::{Square, Vector};
    use Rounding::{MsEden, NearestEven, Stochastic};
    let (nvfp4, te) = NVFP4;
    let mut random = Random(64);
    let mut both = |kind: (Format, ScaleRule, Rounding, BlockShape)| {
        let kinds = [1, 0].map(|axis| (kind.0, kind.1, kind.2, kind.3, axis));
        kernel(&mut random, &[256, 512], ElementType::F32, &kinds)
    };
    let cases = [
        both((nvfp4, te, NearestEven, Vector)),
        both((nvfp4, te, Stochastic, Vector)),
        both((nvfp4, ScaleRule::FourOverSix, NearestEven, Square)),
        both((nvfp4, te, MsEden, Vector)),
        both((Format::Mxfp8E4m3, ScaleRule::Rceil, Stochastic, Vector)),
    ];
    let folder = tempfile::tempdir().unwrap();
    for target in ["sm_80", "sm_90a", "sm_100a", "sm_120a"] {
        let manifest = assembled(&assembler, &cases, target, &folder.path().join(target));
        for kernel in &manifest.kernels {
            let resources = kernel.code.as_ptx().unwrap().resources.unwrap();
            let what = format!("{target}, {}: {resources:?}", kernel.name);
            assert_eq!(resources.spill_store_bytes, 0, "{what}");
        }
    }
}
