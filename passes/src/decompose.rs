//! `decompose`: ops that no kernel computes become ops that kernels do.
//!
//! | op | becomes |
//! |---|---|
//! | column_mean | a sum, times 1 / count |
//! | subspace_iterate | products, orthonormalize, norms, a division, unrolled |
//! | scaled_dot, but of two nvfp4 or two mxfp4 operands with linear scales | dequantize and dot_general |
//! | grouped_scaled_dot, likewise | dequantize and grouped_dot |
//! | grouped_dot of elements other than those of its sums, but with `half-dots=keep` of f16 or bf16 summed in f32 | the same of these, f32 or f64 |
//! | dot_general of f16 or bf16 that gives f32, unless `half-dots=keep` | the same of f32 |
//! | quantize, hadamard, dequantize, scaled_dot, grouped_scaled_dot of f16 or bf16 | the same of f32 |
//!
//! f32 holds every f16 and bf16, and the product of any two, so that the converts added change no number. A pass that
//! merges equal ops should follow: several quantisations of one tensor then share its convert.

use crate::manager::{OptionError, OptionValue, Pass, PassFailure, Report};
use crate::rebuild::{map_regions, push_like};
use tessera_ir::{
    Builder, ComparisonDirection, DotDimensionNumbers, ElementType, Graph, Input, Module, OpError,
    OpKind, ScaledType, TensorType, Type, ValueId,
};
use tessera_numerics::{Format, ScaleLayout};

/// The pass `decompose`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decompose {
    half_dots: HalfDots,
}

/// What becomes of a dot_general of f16 or bf16 that gives f32, and of a grouped_dot that is summed in f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum HalfDots {
    /// One of f32, for machines that have no better.
    #[default]
    Widen,
    /// It stays, for machines with matrix units.
    Keep,
}

impl Pass for Decompose {
    fn name(&self) -> &'static str {
        "decompose"
    }

    fn summary(&self) -> &'static str {
        "makes simpler ops of those that no kernel computes"
    }

    fn options(&self) -> Vec<OptionValue> {
        vec![OptionValue {
            name: "half-dots",
            summary: "whether products of f16 and bf16 that give f32 become those of f32: widen, keep",
            value: match self.half_dots {
                HalfDots::Widen => "widen",
                HalfDots::Keep => "keep",
            }
            .to_owned(),
        }]
    }

    fn set_option(&mut self, name: &str, value: &str) -> Result<(), OptionError> {
        if name != "half-dots" {
            return Err(OptionError::Unknown);
        }
        self.half_dots = match value {
            "widen" => HalfDots::Widen,
            "keep" => HalfDots::Keep,
            _ => {
                return Err(OptionError::Value {
                    expected: "widen or keep",
                    found: value.to_owned(),
                });
            }
        };
        Ok(())
    }

    fn run(&self, module: &Module, report: &mut Report) -> Result<Module, PassFailure> {
        let mut decomposed = 0;
        let mut result = Module::new(module.name.clone());
        for graph in module.graphs() {
            result.insert(self.decompose(graph, &mut decomposed)?);
        }
        report.count("ops decomposed", decomposed);
        Ok(result)
    }
}

impl Decompose {
    fn decompose(self, graph: &Graph, decomposed: &mut usize) -> Result<Graph, OpError> {
        graph.rebuild(|new, operation, operands| {
            let kind = map_regions(&operation.op.kind, |region| {
                self.decompose(region, decomposed)
            })?;
            let types: Vec<Type> = operands
                .iter()
                .map(|&operand| new.value_type(operand).clone())
                .collect();
            match decomposition(&kind, &types, self.half_dots)? {
                Some(ops) => {
                    *decomposed += 1;
                    new.splice(&ops, &operands, |_| operation.location.clone())
                }
                None => push_like(new, operation, kind, operands),
            }
        })
    }
}

/// What an op on operands of those types becomes, as a graph of the operands; `None` where it stays.
fn decomposition(
    kind: &OpKind,
    types: &[Type],
    half_dots: HalfDots,
) -> Result<Option<Graph>, OpError> {
    let inputs = types.iter().cloned().map(Input::new).collect();
    let mut b = Builder::with_inputs("", inputs);
    let operands = b.inputs();
    let results = match kind {
        OpKind::ColumnMean { dimensions } => vec![column_mean(&mut b, operands[0], dimensions)?],
        OpKind::SubspaceIterate { iterations } => {
            subspace_iterate(&mut b, operands[0], operands[1], *iterations)?
        }
        OpKind::ScaledDot { element, .. } => match (&types[0], &types[1]) {
            (Type::Scaled(lhs), Type::Scaled(rhs)) if !is_integer_product(lhs, rhs) => {
                vec![dequantized_dot(&mut b, kind, [lhs, rhs])?]
            }
            _ if *element != ElementType::F32 => {
                let mut wide = kind.clone();
                if let OpKind::ScaledDot { element, .. } = &mut wide {
                    *element = ElementType::F32;
                }
                let product = b.push(wide, operands)?;
                vec![b.convert(product[0], *element)?]
            }
            _ => return Ok(None),
        },
        OpKind::GroupedScaledDot { element } => match (&types[0], &types[1]) {
            (Type::Scaled(lhs), Type::Scaled(rhs)) if !is_integer_product(lhs, rhs) => {
                let [left, right] = [0, 1].map(|n| b.dequantize(operands[n], ElementType::F32));
                let axes = [lhs.axis(), rhs.axis()];
                let product = b.grouped_dot(left?, right?, operands[2], axes, ElementType::F32)?;
                vec![converted(&mut b, product, *element)?]
            }
            _ if *element != ElementType::F32 => {
                let [lhs, rhs, sizes] = [operands[0], operands[1], operands[2]];
                let product = b.grouped_scaled_dot(lhs, rhs, sizes, ElementType::F32)?;
                vec![b.convert(product, *element)?]
            }
            _ => return Ok(None),
        },
        OpKind::GroupedDot {
            lhs_contracting_dimension,
            rhs_contracting_dimension,
            accumulator,
            element,
        } => {
            let wide = match accumulator {
                ElementType::F64 => ElementType::F64,
                _ => ElementType::F32,
            };
            let stays = half_dots == HalfDots::Keep
                && *accumulator == ElementType::F32
                && is_half(&b, operands[0]);
            if stays || *element == wide && b.graph().tensor_type(operands[0]).element == wide {
                return Ok(None);
            }
            let [lhs, rhs] = [0, 1].map(|n| converted(&mut b, operands[n], wide));
            let kind = OpKind::GroupedDot {
                lhs_contracting_dimension: *lhs_contracting_dimension,
                rhs_contracting_dimension: *rhs_contracting_dimension,
                accumulator: wide,
                element: wide,
            };
            let product = b.push(kind, [lhs?, rhs?, operands[2]])?;
            vec![converted(&mut b, product[0], *element)?]
        }
        OpKind::DotGeneral {
            accumulator: ElementType::F32,
            element: ElementType::F32,
            ..
        } if half_dots == HalfDots::Widen
            && operands.iter().any(|&operand| is_half(&b, operand)) =>
        {
            let operands = widened(&mut b, &operands)?;
            b.push(kind.clone(), operands)?
        }
        OpKind::Quantize { .. } if is_half(&b, operands[0]) => {
            let x = widened(&mut b, &operands[..1])?;
            b.push(kind.clone(), [&x, &operands[1..]].concat())?
        }
        OpKind::Hadamard { .. } if is_half(&b, operands[0]) => {
            let element = b.graph().tensor_type(operands[0]).element;
            let x = widened(&mut b, &operands)?;
            let transformed = b.push(kind.clone(), x)?;
            vec![b.convert(transformed[0], element)?]
        }
        OpKind::Dequantize { element } if *element != ElementType::F32 => {
            let numbers = b.dequantize(operands[0], ElementType::F32)?;
            vec![b.convert(numbers, *element)?]
        }
        OpKind::Quantize { .. }
        | OpKind::Hadamard { .. }
        | OpKind::Dequantize { .. }
        | OpKind::Relayout { .. }
        | OpKind::DotGeneral { .. }
        | OpKind::Orthonormalize {}
        | OpKind::Unary(_)
        | OpKind::Binary(_)
        | OpKind::Compare { .. }
        | OpKind::Select {}
        | OpKind::Clamp {}
        | OpKind::Convert { .. }
        | OpKind::BitcastConvert { .. }
        | OpKind::Constant { .. }
        | OpKind::Iota { .. }
        | OpKind::BroadcastInDim { .. }
        | OpKind::Reshape { .. }
        | OpKind::Transpose { .. }
        | OpKind::Slice { .. }
        | OpKind::DynamicSlice { .. }
        | OpKind::DynamicUpdateSlice {}
        | OpKind::Pad { .. }
        | OpKind::Concatenate { .. }
        | OpKind::Reverse { .. }
        | OpKind::Reduce { .. }
        | OpKind::ReduceWindow { .. }
        | OpKind::Gather { .. }
        | OpKind::Scatter { .. }
        | OpKind::Sort { .. }
        | OpKind::TopK { .. }
        | OpKind::While { .. }
        | OpKind::Case { .. }
        | OpKind::Call { .. }
        | OpKind::OptimizationBarrier {} => return Ok(None),
    };
    Ok(Some(b.finish(results)))
}

/// Whether the runtime multiplies such tensors in integers.
pub(crate) fn is_integer_product(lhs: &ScaledType, rhs: &ScaledType) -> bool {
    let is_linear = |scaled: &ScaledType| scaled.layout() == ScaleLayout::Linear;
    matches!(lhs.format(), Format::Nvfp4 | Format::Mxfp4)
        && lhs.format() == rhs.format()
        && is_linear(lhs)
        && is_linear(rhs)
}

/// The value in that element type.
fn converted(b: &mut Builder, value: ValueId, element: ElementType) -> Result<ValueId, OpError> {
    match b.graph().tensor_type(value).element == element {
        true => Ok(value),
        false => b.convert(value, element),
    }
}

fn is_half(b: &Builder, value: ValueId) -> bool {
    let tensor_type = b.graph().value_type(value).as_tensor();
    tensor_type.is_some_and(|t| matches!(t.element, ElementType::F16 | ElementType::Bf16))
}

/// The values with halves as f32.
fn widened(b: &mut Builder, values: &[ValueId]) -> Result<Vec<ValueId>, OpError> {
    let widen = |&value: &ValueId| match is_half(b, value) {
        true => b.convert(value, ElementType::F32),
        false => Ok(value),
    };
    values.iter().map(widen).collect()
}

/// The sum, made in f32 where the elements are halves, times 1 / count.
fn column_mean(b: &mut Builder, x: ValueId, dimensions: &[usize]) -> Result<ValueId, OpError> {
    let TensorType { element, shape } = b.graph().tensor_type(x).clone();
    let count: usize = dimensions.iter().map(|&d| shape[d]).product();
    let wide = widened(b, &[x])?[0];
    let sum = b.reduce_sum(wide, dimensions)?;
    let factor = b.splat(1.0 / count as f64, &b.graph().tensor_type(sum).clone())?;
    let mean = b.multiply(sum, factor)?;
    match element {
        ElementType::F16 | ElementType::Bf16 => b.convert(mean, element),
        _ => Ok(mean),
    }
}

/// U = orthonormalize(m v), W = mᵀ U, s the norms of W's columns, v = W / s where s is not 0, so many times.
fn subspace_iterate(
    b: &mut Builder,
    matrix: ValueId,
    basis: ValueId,
    iterations: usize,
) -> Result<Vec<ValueId>, OpError> {
    let dot = |b: &mut Builder, lhs, rhs, lhs_contracting| {
        let numbers = DotDimensionNumbers {
            lhs_contracting: &[lhs_contracting],
            rhs_contracting: &[0],
            ..Default::default()
        };
        b.dot_general(lhs, rhs, &numbers, ElementType::F32, ElementType::F32)
    };
    let shape = b.graph().tensor_type(basis).shape.clone();
    let (mut basis, mut norms) = (basis, basis);
    for _ in 0..iterations {
        let projected = dot(b, matrix, basis, 1)?;
        let orthonormal = b.orthonormalize(projected)?;
        let images = dot(b, matrix, orthonormal, 0)?;
        // The squares of f32 in range may be out of it.
        let wide = b.convert(images, ElementType::F64)?;
        let squares = b.multiply(wide, wide)?;
        let sums = b.reduce_sum(squares, &[0])?;
        let wide_norms = b.sqrt(sums)?;
        norms = b.convert(wide_norms, ElementType::F32)?;
        let zero = b.splat(0.0, &TensorType::new(ElementType::F32, &shape[1..]))?;
        let is_positive = b.compare(norms, zero, ComparisonDirection::Gt)?;
        let [is_positive, divisors] =
            [is_positive, norms].map(|value| b.broadcast_in_dim(value, &[1], &shape));
        let directions = b.divide(images, divisors?)?;
        basis = b.select(is_positive?, directions, basis)?;
    }
    Ok(vec![basis, norms])
}

/// The product of the numbers that scaled tensors stand for.
fn dequantized_dot(
    b: &mut Builder,
    kind: &OpKind,
    types: [&ScaledType; 2],
) -> Result<ValueId, OpError> {
    let OpKind::ScaledDot {
        lhs_batching_dimensions,
        rhs_batching_dimensions,
        element,
    } = kind
    else {
        unreachable!("asked of scaled_dot alone");
    };
    let operands = b.inputs();
    let lhs = b.dequantize(operands[0], ElementType::F32)?;
    let rhs = b.dequantize(operands[1], ElementType::F32)?;
    let numbers = DotDimensionNumbers {
        lhs_batching: lhs_batching_dimensions,
        rhs_batching: rhs_batching_dimensions,
        lhs_contracting: &[types[0].axis()],
        rhs_contracting: &[types[1].axis()],
    };
    let product = b.dot_general(lhs, rhs, &numbers, ElementType::F32, ElementType::F32)?;
    match element {
        ElementType::F32 => Ok(product),
        element => b.convert(product, *element),
    }
}
