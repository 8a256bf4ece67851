//! Kernels on scaled tensors, those that prepare for them, and grouped products, as the runtime computes them.

use super::gemm::{Strided, joined};
use crate::blocks::{epilogue, prologue};
use crate::units::Builtin;
use std::collections::BTreeSet;
use tessera_ir::plan::Kernel;
use tessera_ir::{Binary, Definition, Graph, OpKind, ScaledType, ValueId};
use tessera_runtime::bundle::{
    Code, Epilogue, GroupedGemm, Hadamard, HadamardMagnitudes, MatrixLayout, Prologue, Quantize,
    QuantizeOutput, ScaledDot,
};

/// The kernel as one that the runtime computes, calling the function of that name where it calls one; `None` where it is
/// more or something else.
pub fn builtin(kernel: &Kernel, symbol: &str) -> Option<Builtin> {
    let body = &kernel.body;
    if let Some(product) = scaled_dot(body, symbol) {
        return Some(product);
    }
    if let Some(quantize) = quantize(body, symbol) {
        return Some(quantize);
    }
    if let Some(sums) = axis_sums(body) {
        return Some(sums);
    }
    if let Some(magnitudes) = hadamard_magnitudes(body) {
        return Some(magnitudes);
    }
    let [operation] = body.operations() else {
        return None;
    };
    let code = match &operation.op.kind {
        OpKind::Dequantize { .. } => Code::Dequantize,
        OpKind::Relayout { .. } => Code::Relayout,
        OpKind::Hadamard { axis, signs } => Code::Hadamard(transform(*axis, signs)),
        OpKind::Orthonormalize {} => Code::Orthonormalize,
        OpKind::GroupedDot {
            lhs_contracting_dimension,
            rhs_contracting_dimension,
            ..
        } => Code::GroupedGemm(GroupedGemm {
            lhs_contracting: *lhs_contracting_dimension,
            rhs_contracting: *rhs_contracting_dimension,
        }),
        OpKind::GroupedScaledDot { .. } => Code::GroupedScaledDot,
        _ => return None,
    };
    let operands = operation.op.operands.iter();
    let operands = operands.map(|&operand| input(body, operand));
    Some(Builtin {
        code,
        operands: operands.collect::<Option<_>>()?,
    })
}

/// A body of a scaled_dot, and of an epilogue in the function of that name; `None` where it is another.
fn scaled_dot(body: &Graph, symbol: &str) -> Option<Builtin> {
    let operation = epilogue::product(body)?;
    let OpKind::ScaledDot {
        lhs_batching_dimensions,
        rhs_batching_dimensions,
        ..
    } = &operation.op.kind
    else {
        return None;
    };
    let [lhs, rhs] = [0, 1].map(|operand| operation.op.operands[operand]);
    let product = product(
        (scaled(body, lhs)?, lhs_batching_dimensions),
        (scaled(body, rhs)?, rhs_batching_dimensions),
    );
    let mut operands = vec![input(body, lhs)?, input(body, rhs)?];
    let has_epilogue = body.operations().len() > 1;
    if has_epilogue {
        let others = (0..body.inputs().len()).filter(|input| !operands.contains(input));
        operands.extend(Vec::from_iter(others));
    }
    let epilogue = has_epilogue.then(|| Epilogue {
        symbol: symbol.to_owned(),
    });
    Some(Builtin {
        code: Code::ScaledDot(ScaledDot {
            epilogue,
            ..product
        }),
        operands,
    })
}

fn transform(axis: usize, signs: &[i64]) -> Hadamard {
    Hadamard {
        axis,
        negative: signs.iter().map(|&sign| sign < 0).collect(),
    }
}

/// A body of quantisations of one tensor, less a mean or not, or of its transforms, where the tensor is an input or what
/// the function of that name makes; `None` where it is another.
fn quantize(body: &Graph, symbol: &str) -> Option<Builtin> {
    let tensor = prologue::quantized(body)?;
    let mut outputs = Vec::with_capacity(body.results().len());
    let mut scalars = Vec::new();
    for result in body.results() {
        let op = &body.defining_operation(result.value)?.op;
        let OpKind::Quantize {
            rule,
            rounding,
            seed,
            site,
            ..
        } = op.kind
        else {
            return None;
        };
        let (&quantized, rest) = op.operands.split_first()?;
        let hadamard = match body.defining_operation(quantized).map(|one| &one.op.kind) {
            Some(OpKind::Hadamard { axis, signs }) => Some(transform(*axis, signs).negative),
            _ => None,
        };
        outputs.push(QuantizeOutput {
            rule,
            rounding,
            seed: seed as u64,
            site: u32::try_from(site).ok()?,
            hadamard,
        });
        for &scalar in rest {
            scalars.push(input(body, scalar)?);
        }
    }
    let (mut operands, prologue) = match tensor_and_mean(body, tensor) {
        Some(operands) => (operands, None),
        None => {
            let operands = inputs_of(body, tensor);
            let prologue = Prologue {
                symbol: symbol.to_owned(),
                operands: operands.len(),
            };
            (operands, Some(prologue))
        }
    };
    let quantize = Quantize {
        centred: prologue.is_none() && operands.len() == 2,
        outputs,
        prologue,
    };
    operands.extend(scalars);
    Some(Builtin {
        code: Code::Quantize(quantize),
        operands,
    })
}

/// The numbers of the inputs that a value is made of.
fn inputs_of(body: &Graph, value: ValueId) -> Vec<usize> {
    let (mut inputs, mut seen, mut open) = (BTreeSet::new(), BTreeSet::new(), vec![value]);
    while let Some(value) = open.pop() {
        match body.defining_operation(value) {
            Some(operation) if seen.insert(value) => open.extend(&operation.op.operands),
            Some(_) => {}
            None => inputs.extend(input(body, value)),
        }
    }
    inputs.into_iter().collect()
}

/// The number of the input that a tensor is, or of the one that it is made of and of the mean along the last dimension that
/// it is less of.
fn tensor_and_mean(body: &Graph, tensor: ValueId) -> Option<Vec<usize>> {
    if let Some(x) = input(body, tensor) {
        return Some(vec![x]);
    }
    let subtract = &body.defining_operation(tensor)?.op;
    let [x, mean] = subtract.operands[..] else {
        return None;
    };
    let broadcast = &body.defining_operation(mean)?.op;
    let shape = &body.tensor_type(tensor).shape;
    let last = shape.len().checked_sub(1)?;
    let is_centring = subtract.kind == OpKind::Binary(Binary::Subtract)
        && matches!(
            &broadcast.kind,
            OpKind::BroadcastInDim { broadcast_dimensions, .. } if *broadcast_dimensions == [last]
        )
        && body.tensor_type(broadcast.operands[0]).shape == shape[last..];
    is_centring.then_some(vec![input(body, x)?, input(body, broadcast.operands[0])?])
}

/// A body that finds the largest magnitudes of a transform; `None` where it is another. The kernel's contract says that a
/// reduction of a transform's magnitudes is that.
fn hadamard_magnitudes(body: &Graph) -> Option<Builtin> {
    let [result] = body.results() else {
        return None;
    };
    let reduce = &body.defining_operation(result.value)?.op;
    let OpKind::Reduce { .. } = reduce.kind else {
        return None;
    };
    let abs = &body.defining_operation(*reduce.operands.first()?)?.op;
    let hadamard = &body.defining_operation(*abs.operands.first()?)?.op;
    let OpKind::Hadamard { axis, signs } = &hadamard.kind else {
        return None;
    };
    let operands = tensor_and_mean(body, hadamard.operands[0])?;
    Some(Builtin {
        code: Code::HadamardMagnitudes(HadamardMagnitudes {
            centred: operands.len() == 2,
            transform: transform(*axis, signs),
        }),
        operands,
    })
}

/// A body that sums a scaled tensor's numbers along its axis, by weights or not; `None` where it is another. The kernel's
/// contract says that a dequantize and a reduce, or a dot_general, are that.
fn axis_sums(body: &Graph) -> Option<Builtin> {
    let [result] = body.results() else {
        return None;
    };
    let sum = &body.defining_operation(result.value)?.op;
    let dequantized = |value: ValueId| match &body.defining_operation(value)?.op {
        dequantize if matches!(dequantize.kind, OpKind::Dequantize { .. }) => {
            input(body, dequantize.operands[0])
        }
        _ => None,
    };
    let operands = match (&sum.kind, &sum.operands[..]) {
        (OpKind::Reduce { .. }, &[numbers, _]) => vec![dequantized(numbers)?],
        (OpKind::DotGeneral { .. }, &[lhs, rhs]) => match dequantized(lhs) {
            Some(scaled) => vec![scaled, input(body, rhs)?],
            None => vec![dequantized(rhs)?, input(body, lhs)?],
        },
        _ => return None,
    };
    Some(Builtin {
        code: Code::AxisSums,
        operands,
    })
}

/// The number of the input that a value is.
fn input(body: &Graph, value: ValueId) -> Option<usize> {
    match body.definition(value) {
        Definition::Input(number) => Some(number),
        Definition::Result { .. } => None,
    }
}

fn scaled(body: &Graph, value: ValueId) -> Option<&ScaledType> {
    body.value_type(value).as_scaled()
}

/// A product by the strides of its operands' rows and its result's elements; each operand with its batching dimensions.
/// Rows and columns that do not lie at one stride become batches.
fn product(
    (lhs, lhs_batching): (&ScaledType, &[usize]),
    (rhs, rhs_batching): (&ScaledType, &[usize]),
) -> ScaledDot {
    let (lhs_free, rhs_free) = (free(lhs, lhs_batching), free(rhs, rhs_batching));
    let (lhs_strides, rhs_strides) = (row_strides(lhs), row_strides(rhs));
    // The result's dimensions in their order, each with the operands' dimensions that it is.
    let batching = lhs_batching.iter().zip(rhs_batching);
    let dimensions: Vec<(Option<usize>, Option<usize>)> = batching
        .map(|(&left, &right)| (Some(left), Some(right)))
        .chain(lhs_free.iter().map(|&left| (Some(left), None)))
        .chain(rhs_free.iter().map(|&right| (None, Some(right))))
        .collect();
    let mut result_stride = 1;
    let mut strided: Vec<Strided> = Vec::with_capacity(dimensions.len());
    for &(left, right) in dimensions.iter().rev() {
        let extent = left.map_or_else(
            || right.map_or(1, |right| rhs.shape()[right]),
            |left| lhs.shape()[left],
        );
        let stride = |strides: &[usize], dimension: Option<usize>| {
            dimension.map_or(0, |dimension| strides[dimension])
        };
        let strides = [
            stride(&lhs_strides, left),
            stride(&rhs_strides, right),
            result_stride,
        ];
        strided.push(Strided { extent, strides });
        result_stride *= extent;
    }
    strided.reverse();
    let columns = strided.split_off(lhs_batching.len() + lhs_free.len());
    let rows = strided.split_off(lhs_batching.len());
    let mut batches = without_ones(strided);
    // The innermost of rows and columns stay; the others are products of their own.
    let [rows, columns] = [rows, columns].map(|group| {
        let mut group = without_ones(group);
        let last = group.pop();
        batches.extend(group);
        last.unwrap_or(Strided {
            extent: 1,
            strides: [0; 3],
        })
    });
    ScaledDot {
        m: rows.extent,
        n: columns.extent,
        batch: batches.iter().map(Strided::batch).collect(),
        lhs_stride: rows.strides[0],
        rhs_stride: columns.strides[1],
        result: MatrixLayout {
            row_stride: rows.strides[2],
            column_stride: columns.strides[2],
        },
        epilogue: None,
    }
}

/// The dimensions that are neither summed over nor batching.
fn free(scaled: &ScaledType, batching: &[usize]) -> Vec<usize> {
    (0..scaled.shape().len())
        .filter(|dimension| *dimension != scaled.axis() && !batching.contains(dimension))
        .collect()
}

/// For each dimension, how many rows of storage lie between two neighbours along it; 0 for the axis.
fn row_strides(scaled: &ScaledType) -> Vec<usize> {
    let mut strides = vec![0; scaled.shape().len()];
    let mut stride = 1;
    for dimension in (0..strides.len()).rev().filter(|&d| d != scaled.axis()) {
        strides[dimension] = stride;
        stride *= scaled.shape()[dimension];
    }
    strides
}

fn without_ones(mut dimensions: Vec<Strided>) -> Vec<Strided> {
    dimensions.retain(|dimension| dimension.extent != 1);
    joined(dimensions)
}
