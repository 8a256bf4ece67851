//! Ops that make, read and multiply scaled tensors.

use crate::elements::{elements, tensor};
use crate::error::OpFailure;
use crate::number::{Number, Wide, with_element};
use crate::shape;
use crate::strided::others;
use tessera_ir::{ElementType, ScaledTensor, Tensor};
use tessera_numerics::{Quantization, RandomStream};

/// `operands` are x, then amax and step where they are needed.
pub(crate) fn quantize(
    quantization: &Quantization,
    (seed, site): (usize, usize),
    operands: &[Tensor],
) -> Result<ScaledTensor, OpFailure> {
    let format = quantization.scaled_type().format();
    let (x, rest) = operands.split_first().expect("the rule asks for x");
    let (amax, step) = rest.split_at(usize::from(format.has_tensor_scale()));
    let amax = amax.first().and_then(|amax| elements::<f32>(amax).next());
    let step = step.first().and_then(|step| elements::<u32>(step).next());
    let stream = step.map(|step| RandomStream {
        seed: seed as u64,
        step,
        site: site as u32,
    });
    Ok(tessera_numerics::quantize(
        &floats(x),
        quantization,
        amax,
        stream,
    )?)
}

pub(crate) fn dequantize(element: ElementType, scaled: &ScaledTensor) -> Result<Tensor, OpFailure> {
    let values = tessera_numerics::dequantize(scaled).into_iter();
    let shape = scaled.scaled_type().shape();
    let values = values.map(|value| Wide::Float(value.into()));
    with_element!(element, T => Ok(tensor(shape, values.map(T::narrow))?))
}

/// Each operand with its batching dimensions.
pub(crate) fn scaled_dot(
    (lhs, lhs_batching): (&ScaledTensor, &[usize]),
    (rhs, rhs_batching): (&ScaledTensor, &[usize]),
    element: ElementType,
    shape: &[usize],
) -> Result<Tensor, OpFailure> {
    let (left, right) = (Rows::of(lhs, lhs_batching), Rows::of(rhs, rhs_batching));
    let tensor_scales = f64::from(lhs.tensor_scale()) * f64::from(rhs.tensor_scale());
    let mut sums = Vec::with_capacity(shape.iter().product());
    for (left, right) in left.batches.iter().zip(&right.batches) {
        for left in left {
            for right in right {
                let products = left.iter().zip(right).map(|(x, y)| x * y);
                sums.push(products.sum::<f64>() * tensor_scales);
            }
        }
    }
    let sums = sums.into_iter().map(Wide::Float);
    with_element!(element, T => Ok(tensor(shape, sums.map(T::narrow))?))
}

/// The numbers of a scaled tensor without its tensor scale: by batch, then by the dimensions that stay, rows along the
/// axis. Codes times block scales are exact in f64.
pub(crate) struct Rows {
    pub batches: Vec<Vec<Vec<f64>>>,
}

impl Rows {
    pub fn of(scaled: &ScaledTensor, batching: &[usize]) -> Self {
        let kind = scaled.scaled_type();
        let rank = kind.shape().len();
        // Storage has all dimensions but the axis, in order; here the batching ones come first.
        let stored = others(rank, &[kind.axis()]);
        let free = others(rank, &[batching, &[kind.axis()]].concat());
        let size = |dimensions: &[usize]| -> usize {
            dimensions.iter().map(|&d| kind.shape()[d]).product()
        };
        let number = |position: &[usize]| {
            let digits = stored.iter().map(|&d| (kind.shape()[d], position[d]));
            digits.fold(0, |number, (size, digit)| number * size + digit)
        };
        let row = |batch: usize, free_index: usize| {
            let mut position = vec![0; rank];
            for (dimensions, mut index) in [(batching, batch), (&free[..], free_index)] {
                for &dimension in dimensions.iter().rev() {
                    position[dimension] = index % kind.shape()[dimension];
                    index /= kind.shape()[dimension];
                }
            }
            (0..kind.columns())
                .map(|column| scaled.unscaled_value(number(&position), column))
                .collect()
        };
        let batches = (0..size(batching))
            .map(|batch| (0..size(&free)).map(|index| row(batch, index)).collect())
            .collect();
        Self { batches }
    }
}

/// Blocks of as many elements as there are signs, along an axis.
pub(crate) fn hadamard(axis: usize, signs: &[i64], x: &Tensor) -> Result<Tensor, OpFailure> {
    // The axis is moved to the end and back.
    let mut order = others(x.shape().len(), &[axis]);
    order.push(axis);
    let mut back = vec![0; order.len()];
    for (new, &old) in order.iter().enumerate() {
        back[old] = new;
    }
    let rows = shape::transpose(&order, x)?;
    let mut values = floats(&rows);
    let signs: Vec<bool> = signs.iter().map(|&sign| sign < 0).collect();
    tessera_numerics::hadamard(&mut values, signs.len(), &signs)?;
    let values = values.into_iter().map(|value| Wide::Float(value.into()));
    let rows = with_element!(x.element(), T => tensor(rows.shape(), values.map(T::narrow))?);
    shape::transpose(&back, &rows)
}

/// The elements of a tensor of f16, bf16 or f32, all of which f32 holds.
fn floats(x: &Tensor) -> Vec<f32> {
    let narrow = |wide| match wide {
        Wide::Float(value) => value as f32,
        Wide::Integer(value) => value as f32,
    };
    with_element!(x.element(), T => elements::<T>(x).map(|value| narrow(value.widen())).collect())
}
