//! What is known of a value from the ops that define it.

use half::{bf16, f16};
use tessera_ir::{ElementType, Graph, OpKind, Tensor, ValueId};

/// The one number that all elements of a value are, as a tensor of rank 0.
pub(super) fn splat(graph: &Graph, value: ValueId) -> Option<&Tensor> {
    let scalar = |value: ValueId| match &graph.defining_operation(value)?.op.kind {
        OpKind::Constant { value } if value.shape().is_empty() => Some(value),
        _ => None,
    };
    let operation = graph.defining_operation(value)?;
    match &operation.op.kind {
        OpKind::BroadcastInDim { .. } | OpKind::Reshape { .. } => scalar(operation.op.operands[0]),
        _ => scalar(value),
    }
}

/// The float that all elements of a value are.
pub(super) fn float(graph: &Graph, value: ValueId) -> Option<f64> {
    as_float(splat(graph, value)?)
}

/// The integer or boolean that all elements of a value are.
pub(super) fn integer(graph: &Graph, value: ValueId) -> Option<i128> {
    as_integer(splat(graph, value)?)
}

/// A scalar float, exactly.
pub(super) fn as_float(scalar: &Tensor) -> Option<f64> {
    match scalar.element() {
        ElementType::F16 => scalar.values::<f16>()?.first().map(|v| v.to_f64()),
        ElementType::Bf16 => scalar.values::<bf16>()?.first().map(|v| v.to_f64()),
        ElementType::F32 => scalar.values::<f32>()?.first().map(|&v| f64::from(v)),
        ElementType::F64 => scalar.values::<f64>()?.first().copied(),
        _ => None,
    }
}

/// A scalar integer or boolean.
pub(super) fn as_integer(scalar: &Tensor) -> Option<i128> {
    match scalar.element() {
        ElementType::I1 => first(scalar.values::<bool>()),
        ElementType::I8 => first(scalar.values::<i8>()),
        ElementType::I16 => first(scalar.values::<i16>()),
        ElementType::I32 => first(scalar.values::<i32>()),
        ElementType::I64 => first(scalar.values::<i64>()),
        ElementType::Ui8 => first(scalar.values::<u8>()),
        ElementType::Ui16 => first(scalar.values::<u16>()),
        ElementType::Ui32 => first(scalar.values::<u32>()),
        ElementType::Ui64 => first(scalar.values::<u64>()),
        ElementType::F16 | ElementType::Bf16 | ElementType::F32 | ElementType::F64 => None,
    }
}

fn first<T: Copy + Into<i128>>(values: Option<Vec<T>>) -> Option<i128> {
    values?.first().map(|&value| value.into())
}

/// The scalar of a float type that is exactly `number`; `None` where there is none.
pub(crate) fn exact_float(element: ElementType, number: f64) -> Option<Tensor> {
    let scalar = match element {
        ElementType::F16 => Tensor::scalar(f16::from_f64(number)),
        ElementType::Bf16 => Tensor::scalar(bf16::from_f64(number)),
        #[allow(clippy::cast_possible_truncation, reason = "checked below")]
        ElementType::F32 => Tensor::scalar(number as f32),
        ElementType::F64 => Tensor::scalar(number),
        _ => return None,
    };
    (as_float(&scalar)?.to_bits() == number.to_bits()).then_some(scalar)
}

/// The smallest positive number of a float type that has its full precision.
pub(super) fn smallest_normal(element: ElementType) -> f64 {
    match element {
        ElementType::F16 => f16::MIN_POSITIVE.to_f64(),
        ElementType::Bf16 => bf16::MIN_POSITIVE.to_f64(),
        ElementType::F32 => f64::from(f32::MIN_POSITIVE),
        _ => f64::MIN_POSITIVE,
    }
}

/// Whether each number of `narrow` is a number of `wide`.
pub(super) fn holds_exactly(wide: ElementType, narrow: ElementType) -> bool {
    let float = |element: ElementType| match element {
        // Bits of the significand, the largest exponent.
        ElementType::F16 => Some((11, 15)),
        ElementType::Bf16 => Some((8, 127)),
        ElementType::F32 => Some((24, 127)),
        ElementType::F64 => Some((53, 1023)),
        _ => None,
    };
    if let (Some((wide, wide_exponent)), Some((narrow, narrow_exponent))) =
        (float(wide), float(narrow))
    {
        return wide >= narrow && wide_exponent >= narrow_exponent;
    }
    let integer = |element: ElementType| {
        let signed = element.is_signed_integer();
        let magnitude = element.bits() - usize::from(signed);
        (!element.is_float()).then_some((signed, magnitude))
    };
    match (integer(wide), integer(narrow)) {
        (Some((wide_signed, wide)), Some((narrow_signed, narrow))) => {
            wide >= narrow && (wide_signed || !narrow_signed)
        }
        _ => false,
    }
}
