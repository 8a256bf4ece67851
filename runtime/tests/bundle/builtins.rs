//! Kernels that the runtime computes itself, and that contradict themselves: each is refused.

use crate::sample::*;
use crate::validation::refusal;
use tessera_numerics::ElementType::{Bf16, F32, F64, Ui32};
use tessera_numerics::{BlockShape, Format, Rounding, ScaleLayout, ScaleRule, ScaledType};
use tessera_runtime::TensorType;
use tessera_runtime::bundle::{
    ALIGNMENT, Buffer, Code, Epilogue, Family, Hadamard, HadamardMagnitudes, Kernel, Manifest,
    MatrixLayout, Place, Prologue, Quantize, QuantizeOutput, ScaledDot, Step, ValueType, Work,
};

fn nvfp4(shape: [usize; 2], axis: usize) -> ScaledType {
    let (blocks, layout) = (BlockShape::Vector, ScaleLayout::Linear);
    ScaledType::new(shape, Format::Nvfp4, axis, blocks, layout).unwrap()
}

/// Two quantisations of a centred matrix, the second rounded at random, that validation accepts.
fn quantize_kernel() -> (Kernel, Quantize) {
    let output = |rounding| QuantizeOutput {
        rule: ScaleRule::Te,
        rounding,
        seed: 1,
        site: 2,
        hadamard: None,
    };
    let quantize = Quantize {
        centred: true,
        outputs: vec![output(Rounding::NearestEven), output(Rounding::Stochastic)],
        prologue: None,
    };
    let kernel = Kernel {
        name: "quantize".to_owned(),
        family: Family::Quantize,
        operands: vec![
            ty(F32, [32, 48]).into(),
            ty(F32, [48]).into(),
            ty(F32, []).into(),
            ty(F32, []).into(),
            ty(Ui32, []).into(),
        ],
        results: vec![nvfp4([32, 48], 1).into(), nvfp4([32, 48], 0).into()],
        work: Work::default(),
        code: Code::Quantize(quantize.clone()),
    };
    (kernel, quantize)
}

/// The refusal of that kernel with something changed.
fn quantize_refusal(change: impl FnOnce(&mut Kernel, &mut Quantize)) -> String {
    let (mut kernel, mut quantize) = quantize_kernel();
    change(&mut kernel, &mut quantize);
    kernel.code = Code::Quantize(quantize);
    refusal(|m| m.kernels.push(kernel))
}

#[test]
fn quantisations_that_are_in_order() {
    let mut manifest = step_manifest();
    manifest.kernels.push(quantize_kernel().0);
    Sample::write(manifest);
}

#[test]
fn quantisations_of_other_operands_or_results() {
    assert_eq!(
        quantize_refusal(|k, _| k.operands.truncate(4)),
        "kernels[6].quantize.operands: expected (tensor<48xf32>, tensor<f32>, tensor<f32>, tensor<ui32>) after the \
         tensor, found (tensor<48xf32>, tensor<f32>, tensor<f32>)"
    );
    assert_eq!(
        quantize_refusal(|_, q| q.centred = false),
        "kernels[6].quantize.operands: expected (tensor<f32>, tensor<f32>, tensor<ui32>) after the tensor, found \
         (tensor<48xf32>, tensor<f32>, tensor<f32>, tensor<ui32>)"
    );
    assert_eq!(
        quantize_refusal(|k, _| k.operands[0] = ty(F64, [32, 48]).into()),
        "kernels[6].quantize.x: expected elements of f32, found tensor<32x48xf64>"
    );
    assert_eq!(
        quantize_refusal(|k, _| k.results[1] = nvfp4([48, 32], 0).into()),
        "kernels[6].quantize.outputs[1]: expected a result of shape [32, 48], found \
         !tsr.scaled<48x32, nvfp4, axis = 0>"
    );
    assert_eq!(
        quantize_refusal(|_, q| q.outputs.truncate(1)),
        "kernels[6].quantize.outputs: expected at least one, as many as results, found 1 outputs and 2 results"
    );
}

/// Has the kernel's tensor made of two operands, and means subtracted there.
fn make_tensor(kernel: &mut Kernel, quantize: &mut Quantize) {
    kernel.operands[0] = ty(Bf16, [32, 48]).into();
    quantize.centred = false;
    quantize.prologue = Some(Prologue {
        symbol: "quantize_subtract".to_owned(),
        operands: 2,
    });
}

#[test]
fn a_tensor_that_is_made_where_it_is_read() {
    let mut manifest = step_manifest();
    let (mut kernel, mut quantize) = quantize_kernel();
    make_tensor(&mut kernel, &mut quantize);
    kernel.code = Code::Quantize(quantize);
    manifest.kernels.push(kernel);
    Sample::write(manifest);
    assert_eq!(
        quantize_refusal(|k, q| {
            make_tensor(k, q);
            q.prologue.as_mut().unwrap().operands = 1;
        }),
        "kernels[6].quantize.operands: expected (tensor<f32>, tensor<f32>, tensor<ui32>) after the tensor, found \
         (tensor<48xf32>, tensor<f32>, tensor<f32>, tensor<ui32>)"
    );
    assert_eq!(
        quantize_refusal(|k, q| {
            make_tensor(k, q);
            q.prologue.as_mut().unwrap().operands = 6;
        }),
        "kernels[6].quantize.prologue: expected at most 5 operands, found 6"
    );
    assert_eq!(
        quantize_refusal(|k, q| {
            make_tensor(k, q);
            q.prologue.as_mut().unwrap().symbol = "1".to_owned();
        }),
        "kernels[6].quantize.prologue.symbol: expected a C identifier, found \"1\""
    );
}

#[test]
fn a_quantisation_that_there_is_not() {
    assert_eq!(
        quantize_refusal(|_, q| q.outputs[0].rule = ScaleRule::Rceil),
        "kernels[6].quantize.outputs[0]: expected a quantisation that there is, found the scale rule rceil does not \
         apply to nvfp4"
    );
}

/// A product of 32×48 by 48×20 of nvfp4 that validation accepts.
fn scaled_dot_kernel(change: impl FnOnce(&mut Kernel, &mut ScaledDot)) -> Kernel {
    let mut product = ScaledDot {
        m: 32,
        n: 20,
        batch: vec![],
        lhs_stride: 1,
        rhs_stride: 1,
        result: MatrixLayout {
            row_stride: 20,
            column_stride: 1,
        },
        epilogue: None,
    };
    let mut kernel = Kernel {
        name: "scaled_dot".to_owned(),
        family: Family::Dot,
        operands: vec![nvfp4([32, 48], 1).into(), nvfp4([48, 20], 0).into()],
        results: vec![ty(F32, [32, 20]).into()],
        work: Work::default(),
        code: Code::Dequantize,
    };
    change(&mut kernel, &mut product);
    kernel.code = Code::ScaledDot(product);
    kernel
}

fn scaled_dot_refusal(change: impl FnOnce(&mut Kernel, &mut ScaledDot)) -> String {
    refusal(|m| m.kernels.push(scaled_dot_kernel(change)))
}

#[test]
fn a_product_of_scaled_tensors_that_is_in_order() {
    let mut manifest = step_manifest();
    manifest.kernels.push(scaled_dot_kernel(|_, _| {}));
    Sample::write(manifest);
}

#[test]
fn a_product_of_scaled_tensors_that_reaches_beyond_its_buffers() {
    assert_eq!(
        scaled_dot_refusal(|_, p| p.m = 33),
        "kernels[6].scaled_dot.lhs: expected strides that stay inside the 32 rows of \
         !tsr.scaled<32x48, nvfp4, axis = 1>, found 33 at stride 1"
    );
    assert_eq!(
        scaled_dot_refusal(|_, p| p.rhs_stride = 2),
        "kernels[6].scaled_dot.rhs: expected strides that stay inside the 20 rows of \
         !tsr.scaled<48x20, nvfp4, axis = 0>, found 20 at stride 2"
    );
    assert_eq!(
        scaled_dot_refusal(|_, p| p.result.row_stride = 21),
        "kernels[6].scaled_dot.result: expected strides that stay inside the 640 elements of tensor<32x20xf32>, \
         found 32 at stride 21, 20 at stride 1"
    );
    assert_eq!(
        scaled_dot_refusal(|_, p| p.result.row_stride = 0),
        "kernels[6].scaled_dot.result: expected strides that give each element a place of its own, found \
         32 at stride 0, 20 at stride 1"
    );
}

/// Makes the kernel one that adds an operand to its product.
fn add_residual(kernel: &mut Kernel, product: &mut ScaledDot) {
    kernel.operands.push(ty(F32, [32, 20]).into());
    product.epilogue = Some(Epilogue {
        symbol: "scaled_dot_add".to_owned(),
    });
}

#[test]
fn what_is_computed_of_a_product_has_its_elements() {
    let mut manifest = step_manifest();
    manifest.kernels.push(scaled_dot_kernel(|k, p| {
        add_residual(k, p);
        k.results.push(ty(Bf16, [4, 8, 20]).into());
    }));
    Sample::write(manifest);
    let refused = |change: fn(&mut Kernel, &mut ScaledDot)| {
        scaled_dot_refusal(|k, p| {
            add_residual(k, p);
            change(k, p);
        })
    };
    assert_eq!(
        refused(|k, _| k.results.push(ty(F32, [20, 32]).into())),
        "kernels[6].scaled_dot.results[1]: expected a tensor with the elements and the last dimension of the first \
         result, found tensor<20x32xf32>"
    );
    assert_eq!(
        refused(|_, p| (p.n, p.result.column_stride) = (10, 2)),
        "kernels[6].scaled_dot.result: expected rows or columns of neighbours, for an epilogue, found strides of 20 \
         and 2"
    );
    assert_eq!(
        refused(|_, p| p.epilogue.as_mut().unwrap().symbol = "a b".to_owned()),
        "kernels[6].scaled_dot.epilogue.symbol: expected a C identifier, found \"a b\""
    );
}

/// Launches the kernel with its result in the memory of one of its operands.
fn launch_over(manifest: &mut Manifest, operand: usize) {
    const ROOM: usize = 4096;
    let kernel = scaled_dot_kernel(add_residual);
    let places = [0, 1, 2, operand];
    let types = kernel.operands.iter().chain(&kernel.results);
    let (buffers, arena) = (manifest.buffers.len(), manifest.arena_bytes);
    let arena = arena.next_multiple_of(ALIGNMENT);
    manifest.arena_bytes = arena + 3 * ROOM;
    let of = |(value_type, place): (&ValueType, usize)| Buffer {
        value_type: value_type.clone(),
        place: Place::Arena(arena + place * ROOM),
    };
    manifest.buffers.extend(types.zip(places).map(of));
    manifest.schedule.push(Step::Launch {
        kernel: manifest.kernels.len(),
        operands: (buffers..buffers + 3).collect(),
        results: vec![buffers + 3],
    });
    manifest.kernels.push(kernel);
}

#[test]
fn a_result_may_lie_over_what_an_epilogue_alone_reads() {
    let mut manifest = step_manifest();
    launch_over(&mut manifest, 2);
    Sample::write(manifest);
    assert!(refusal(|m| launch_over(m, 0)).contains("which overlaps buffer"));
}

#[test]
fn a_product_of_other_scaled_tensors() {
    assert_eq!(
        scaled_dot_refusal(|k, _| k.operands[1] = nvfp4([32, 20], 0).into()),
        "kernels[6].scaled_dot.rhs: expected nvfp4 with an axis of 48, found !tsr.scaled<32x20, nvfp4, axis = 0>"
    );
    let layout = ScaleLayout::Tiled128x4;
    let tiled = ScaledType::new([32, 48], Format::Nvfp4, 1, BlockShape::Vector, layout).unwrap();
    assert_eq!(
        scaled_dot_refusal(|k, _| k.operands[0] = tiled.into()),
        "kernels[6].scaled_dot.lhs: expected nvfp4 or mxfp4 with linear block scales, found \
         !tsr.scaled<32x48, nvfp4, axis = 1, layout = tiled_128x4>"
    );
    assert_eq!(
        scaled_dot_refusal(|k, _| k.operands[0] = ty(F32, [32, 48]).into()),
        "kernels[6].scaled_dot.lhs: expected a scaled tensor, found tensor<32x48xf32>"
    );
}

#[test]
fn numbers_of_a_scaled_tensor_elsewhere() {
    let kernel = |result: TensorType| Kernel {
        name: "dequantize".to_owned(),
        family: Family::Quantize,
        operands: vec![nvfp4([32, 48], 1).into()],
        results: vec![result.into()],
        work: Work::default(),
        code: Code::Dequantize,
    };
    let mut manifest = step_manifest();
    manifest.kernels.push(kernel(ty(F32, [32, 48])));
    Sample::write(manifest);
    assert_eq!(
        refusal(|m| m.kernels.push(kernel(ty(F32, [32, 47])))),
        "kernels[6].dequantize.result: expected tensor<32x48xf32>, found tensor<32x47xf32>"
    );
}

#[test]
fn bytes_in_an_order_that_there_is_not() {
    let square = |axis| {
        let (blocks, layout) = (BlockShape::Square, ScaleLayout::Linear);
        ScaledType::new([32, 48], Format::Nvfp4, axis, blocks, layout).unwrap()
    };
    let kernel = |from: ScaledType, to: ScaledType| Kernel {
        name: "relayout".to_owned(),
        family: Family::Quantize,
        operands: vec![from.into()],
        results: vec![to.into()],
        work: Work::default(),
        code: Code::Relayout,
    };
    let mut manifest = step_manifest();
    manifest.kernels.push(kernel(square(1), square(0)));
    Sample::write(manifest);
    assert_eq!(
        refusal(|m| m
            .kernels
            .push(kernel(nvfp4([32, 48], 1), nvfp4([32, 48], 0)))),
        "kernels[6].relayout.result: expected !tsr.scaled<32x48, nvfp4, axis = 1> along the same axis, or the other of the \
         last two where blocks are square, found !tsr.scaled<32x48, nvfp4, axis = 0>"
    );
}

#[test]
fn sums_of_a_scaled_tensor_elsewhere() {
    let kernel = |result: TensorType| Kernel {
        name: "axis_sums".to_owned(),
        family: Family::Quantize,
        operands: vec![nvfp4([32, 48], 0).into()],
        results: vec![result.into()],
        work: Work::default(),
        code: Code::AxisSums,
    };
    let mut manifest = step_manifest();
    manifest.kernels.push(kernel(ty(F32, [48])));
    Sample::write(manifest);
    assert_eq!(
        refusal(|m| m.kernels.push(kernel(ty(F32, [32])))),
        "kernels[6].axis_sums.result: expected tensor<48xf32>, found tensor<32xf32>"
    );
}

#[test]
fn weights_that_are_no_vectors() {
    let kernel = |weights: TensorType, result: TensorType| Kernel {
        name: format!("axis_sums of {weights}"),
        family: Family::Quantize,
        operands: vec![nvfp4([32, 48], 0).into(), weights.into()],
        results: vec![result.into()],
        work: Work::default(),
        code: Code::AxisSums,
    };
    let mut manifest = step_manifest();
    let vectors = [ty(F32, [32]), ty(F32, [1, 32]), ty(F32, [6, 32])];
    let products = vectors.map(|vectors| kernel(vectors, ty(F32, [48, 1])));
    manifest.kernels.extend(products);
    Sample::write(manifest);
    let refused = |weights, result| refusal(|m| m.kernels.push(kernel(weights, result)));
    assert_eq!(
        refused(ty(F32, [48]), ty(F32, [48])),
        "kernels[6].axis_sums.weights: expected vectors of 32, as many as divide 48, found tensor<48xf32>"
    );
    assert_eq!(
        refused(ty(F32, [5, 32]), ty(F32, [48])),
        "kernels[6].axis_sums.weights: expected vectors of 32, as many as divide 48, found tensor<5x32xf32>"
    );
    assert_eq!(
        refused(ty(F32, [32]), ty(F32, [32])),
        "kernels[6].axis_sums.result: expected a tensor of 48 elements, found tensor<32xf32>"
    );
}

#[test]
fn transforms_of_blocks_that_there_are_not() {
    let kernel = |axis, signs: usize| Kernel {
        name: "hadamard".to_owned(),
        family: Family::Quantize,
        operands: vec![ty(F32, [32, 40]).into()],
        results: vec![ty(F32, [32, 40]).into()],
        work: Work::default(),
        code: Code::Hadamard(Hadamard {
            axis,
            negative: vec![false; signs],
        }),
    };
    let mut manifest = step_manifest();
    manifest.kernels.push(kernel(0, 16));
    Sample::write(manifest);
    assert_eq!(
        refusal(|m| m.kernels.push(kernel(0, 8))),
        "kernels[6].hadamard.negative: expected [16, 32, 64, 128] signs, found 8"
    );
    assert_eq!(
        refusal(|m| m.kernels.push(kernel(1, 16))),
        "kernels[6].hadamard.axis: expected a dimension of tensor<32x40xf32> that is a multiple of 16, found 1"
    );
}

#[test]
fn quantisations_of_transforms_that_there_are_not() {
    let of_transform = |signs: usize| {
        let (mut kernel, mut quantize) = quantize_kernel();
        quantize.outputs[0].hadamard = Some(vec![false; signs]);
        kernel.code = Code::Quantize(quantize);
        kernel
    };
    let mut manifest = step_manifest();
    manifest.kernels.push(of_transform(16));
    Sample::write(manifest);
    assert_eq!(
        refusal(|m| m.kernels.push(of_transform(8))),
        "kernels[6].quantize.outputs[0].hadamard: expected [16, 32, 64, 128] signs, found 8"
    );
    assert_eq!(
        refusal(|m| m.kernels.push(of_transform(64))),
        "kernels[6].quantize.outputs[0].hadamard: expected an axis that is a multiple of 64, found 48"
    );
}

#[test]
fn magnitudes_of_what_is_no_transform() {
    let kernel = |axis, result: Vec<usize>| Kernel {
        name: format!("magnitudes_{}", result.len()),
        family: Family::Quantize,
        operands: vec![ty(F32, [2, 32, 40]).into(), ty(F32, [40]).into()],
        results: vec![ty(F32, result).into()],
        code: Code::HadamardMagnitudes(HadamardMagnitudes {
            centred: true,
            transform: Hadamard {
                axis,
                negative: vec![false; 16],
            },
        }),
        work: Work::default(),
    };
    let mut manifest = step_manifest();
    manifest.kernels.push(kernel(1, vec![2, 32]));
    manifest.kernels.push(kernel(1, vec![]));
    Sample::write(manifest);
    assert_eq!(
        refusal(|m| m.kernels.push(kernel(2, vec![]))),
        "kernels[6].hadamard_magnitudes.transform.axis: expected a dimension of tensor<2x32x40xf32> that is a multiple of 16, found 2"
    );
    assert_eq!(
        refusal(|m| m.kernels.push(kernel(1, vec![2]))),
        "kernels[6].hadamard_magnitudes.result: expected tensor<2x32xf32> or tensor<f32>, found tensor<2xf32>"
    );
    assert_eq!(
        refusal(|m| {
            let mut kernel = kernel(1, vec![]);
            kernel.operands.truncate(1);
            m.kernels.push(kernel);
        }),
        "kernels[6].hadamard_magnitudes.operands: expected (tensor<40xf32>) after the tensor, found ()"
    );
    assert_eq!(
        refusal(|m| {
            let mut kernel = kernel(0, vec![]);
            kernel.operands[0] = ty(F32, [16, 2, 40]).into();
            m.kernels.push(kernel);
        }),
        "kernels[6].hadamard_magnitudes.transform.axis: expected one of the last two dimensions of tensor<16x2x40xf32>, found 0"
    );
}

#[test]
fn factors_of_wide_matrices() {
    let kernel = |shape: [usize; 3]| Kernel {
        name: "orthonormalize".to_owned(),
        family: Family::Solve,
        operands: vec![ty(F32, shape).into()],
        results: vec![ty(F32, shape).into()],
        work: Work::default(),
        code: Code::Orthonormalize,
    };
    let mut manifest = step_manifest();
    manifest.kernels.push(kernel([2, 5, 3]));
    Sample::write(manifest);
    assert_eq!(
        refusal(|m| m.kernels.push(kernel([2, 3, 5]))),
        "kernels[6].orthonormalize.operand: expected matrices with at least as many rows as columns, found \
         tensor<2x3x5xf32>"
    );
}
