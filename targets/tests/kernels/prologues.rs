//! Tensors that quantize kernels make where they read them: the same codes as of the written tensor.

use crate::harness::{Case, Random, check, check_on_cpu};
use crate::scaled::ordinary;
use tessera_ir::plan::Family;
use tessera_ir::{Builder, ElementType, Input, QuantizeOperands, TensorType, ValueId};
use tessera_numerics::{
    BlockShape, Format, Quantization, Rounding, ScaleLayout, ScaleRule, ScaledType, Tensor,
    transformer_engine_signs,
};

/// A format by a rule and a rounding, with the blocks' shape and along the last dimension or the one before.
type Kind = (Format, ScaleRule, Rounding, BlockShape, bool);

const KINDS: [Kind; 5] = {
    use BlockShape::{Square, Vector};
    use Rounding::{MsEden, NearestEven, Stochastic};
    [
        (Format::Nvfp4, ScaleRule::Te, NearestEven, Vector, true),
        (Format::Nvfp4, ScaleRule::Te, Stochastic, Vector, false),
        (
            Format::Nvfp4,
            ScaleRule::FourOverSix,
            NearestEven,
            Square,
            true,
        ),
        (
            Format::Mxfp8E4m3,
            ScaleRule::Rceil,
            NearestEven,
            Vector,
            false,
        ),
        (Format::Nvfp4, ScaleRule::Te, MsEden, Vector, true),
    ]
};

/// `x·r·gain − mean` quantised in every kind, where `r` has a number for each row of `x`, the others for each column.
fn normalised(random: &mut Random, shape: &[usize], element: ElementType, hadamard: bool) -> Case {
    let last = shape.len() - 1;
    let x = random.tensor(element, shape);
    let [r, gain, mean] =
        [&shape[..last], &shape[last..], &shape[last..]].map(|one| ordinary(random, one));
    let scalars = [Tensor::scalar(6.5f32), Tensor::scalar(9u32)];
    let inputs: Vec<Tensor> = [x, r, gain, mean].into_iter().chain(scalars).collect();
    let types = inputs.iter().map(|input| Input::new(TensorType::of(input)));
    let mut b = Builder::with_inputs("normalised", types.collect());
    let [x, r, gain, mean, amax, step] = b.inputs()[..] else {
        unreachable!("there are six inputs");
    };
    let rows: Vec<usize> = (0..last).collect();
    let made = centred(
        &mut b,
        shape,
        [(r, &rows), (gain, &[last]), (mean, &[last])],
        x,
    );
    let signs = transformer_engine_signs();
    let mut results = Vec::new();
    for (site, (format, rule, rounding, blocks, is_last)) in KINDS.into_iter().enumerate() {
        let axis = if is_last { last } else { last - 1 };
        let scaled = ScaledType::new(shape, format, axis, blocks, ScaleLayout::Linear).unwrap();
        let quantization = Quantization::new(scaled, rule, rounding).unwrap();
        let operands = QuantizeOperands {
            amax: format.has_tensor_scale().then_some(amax),
            step: rounding.is_random().then_some(step),
        };
        let is_transformed = hadamard && blocks == BlockShape::Vector;
        let read = match is_transformed {
            true => b.hadamard(made, axis, &signs).unwrap(),
            false => made,
        };
        results.push(
            b.quantize(read, operands, &quantization, (5, site))
                .unwrap(),
        );
    }
    Case::of(Family::Quantize, b.finish(results), inputs)
}

/// `x` in f32 times the first two factors less the third, each repeated along the dimensions that it has not.
fn centred(
    b: &mut Builder,
    shape: &[usize],
    factors: [(ValueId, &[usize]); 3],
    x: ValueId,
) -> ValueId {
    let [r, gain, mean] =
        factors.map(|(value, dimensions)| b.broadcast_in_dim(value, dimensions, shape).unwrap());
    let x = b.convert(x, ElementType::F32).unwrap();
    let scaled = b.multiply(x, r).unwrap();
    let scaled = b.multiply(scaled, gain).unwrap();
    b.subtract(scaled, mean).unwrap()
}

#[test]
fn what_is_made_where_it_is_read_is_quantised_as_the_interpreter_does() {
    let mut random = Random(41);
    let mut cases = Vec::new();
    for shape in [&[33, 50][..], &[3, 20, 36]] {
        for element in [ElementType::F32, ElementType::Bf16] {
            cases.push(normalised(&mut random, shape, element, false));
        }
    }
    check(cases);
}

/// A mean for each matrix of a batch, and a mean that is itself repeated along the last dimension.
#[test]
fn what_is_no_mean_of_columns_is_subtracted_all_the_same() {
    let mut random = Random(43);
    let shape = [3, 20, 36];
    let cases = [
        (&[3, 36][..], &[0, 2][..]),
        (&[3, 20], &[0, 1]),
        (&[1], &[2]),
    ]
    .map(|(subtracted, dimensions)| {
        let inputs = [
            ordinary(&mut random, &shape),
            ordinary(&mut random, subtracted),
        ];
        let types = inputs.iter().map(|input| Input::new(TensorType::of(input)));
        let mut b = Builder::with_inputs("less", types.collect());
        let [x, mean] = b.inputs()[..] else {
            unreachable!("there are two inputs");
        };
        let means = b.broadcast_in_dim(mean, dimensions, &shape).unwrap();
        let made = b.subtract(x, means).unwrap();
        let (blocks, layout) = (BlockShape::Vector, ScaleLayout::Linear);
        let scaled = ScaledType::new(shape, Format::Mxfp4, 1, blocks, layout).unwrap();
        let quantization =
            Quantization::new(scaled, ScaleRule::Rceil, Rounding::NearestEven).unwrap();
        let operands = QuantizeOperands {
            amax: None,
            step: None,
        };
        let result = b.quantize(made, operands, &quantization, (5, 0)).unwrap();
        Case::of(Family::Quantize, b.finish([result]), inputs.to_vec())
    });
    check(cases.to_vec());
}

/// More rows than a part has, and a matrix that the parts' edges cut; transforms of what is made.
#[test]
fn parts_and_transforms_change_nothing() {
    let mut random = Random(42);
    let shapes = [
        (&[700, 160][..], false),
        (&[320, 128], true),
        (&[2, 160, 48], true),
    ];
    let cases =
        shapes.map(|(shape, hadamard)| normalised(&mut random, shape, ElementType::F32, hadamard));
    check_on_cpu(cases.to_vec());
}
