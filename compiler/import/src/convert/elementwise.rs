//! Elementwise ops, StableHLO's and CHLO's.

use super::Scope;
use crate::raw::RawOp;
use tessera_ir::diagnostic::Diagnostic;
use tessera_ir::{
    Binary, CompareType, ComparisonDirection, ElementType, OpKind, Tensor, TensorType, Unary,
    ValueId,
};

/// CHLO's ops that are one tsr op or a few of them.
const CHLO: [&str; 5] = [
    "chlo.atan",
    "chlo.erf",
    "chlo.erf_inv",
    "chlo.erfc",
    "chlo.square",
];

/// Whether the op works element by element, compare and convert aside.
pub(super) fn is_elementwise(name: &str) -> bool {
    same_name(name).is_some() || CHLO.contains(&name)
}

/// The tsr op of the same name and semantics.
fn same_name(name: &str) -> Option<OpKind> {
    let name = name.strip_prefix("stablehlo.")?;
    match name {
        "select" => return Some(OpKind::Select {}),
        "clamp" => return Some(OpKind::Clamp {}),
        // CHLO's, which StableHLO does not have.
        "erf" | "erfc" | "erf_inv" => return None,
        _ => {}
    }
    let unary = Unary::from_name(name).map(OpKind::Unary);
    unary.or_else(|| Binary::from_name(name).map(OpKind::Binary))
}

pub(super) fn convert(
    scope: &mut Scope<'_, '_>,
    op: &RawOp<'_>,
) -> Result<Vec<ValueId>, Diagnostic> {
    if let Some(kind) = same_name(&op.name) {
        return scope.push(op, kind);
    }
    match op.name.as_str() {
        "chlo.erf" => scope.push(op, OpKind::Unary(Unary::Erf)),
        "chlo.erfc" => scope.push(op, OpKind::Unary(Unary::Erfc)),
        "chlo.erf_inv" => scope.push(op, OpKind::Unary(Unary::ErfInv)),
        "chlo.square" => {
            let operands = scope.operands(op)?;
            let twice = [operands.clone(), operands].concat();
            scope.push_on(op, OpKind::Binary(Binary::Multiply), twice)
        }
        "chlo.atan" => atan(scope, op),
        _ => Err(super::unsupported(op)),
    }
}

/// atan x = atan2(x, 1).
fn atan(scope: &mut Scope<'_, '_>, op: &RawOp<'_>) -> Result<Vec<ValueId>, Diagnostic> {
    let mut operands = scope.operands(op)?;
    let tensor_type = op.result_type()?.clone();
    let one = scope.push_one(
        op,
        OpKind::Constant {
            value: Tensor::scalar(1f32),
        },
        Vec::new(),
    )?;
    let converted = OpKind::Convert {
        element: tensor_type.element,
    };
    let one = scope.push_one(op, converted, vec![one])?;
    operands.push(broadcast(scope, op, one, &tensor_type)?);
    scope.push_on(op, OpKind::Binary(Binary::Atan2), operands)
}

/// A scalar, everywhere.
pub(super) fn broadcast(
    scope: &mut Scope<'_, '_>,
    op: &RawOp<'_>,
    scalar: ValueId,
    tensor_type: &TensorType,
) -> Result<ValueId, Diagnostic> {
    let kind = OpKind::BroadcastInDim {
        broadcast_dimensions: Vec::new(),
        shape: tensor_type.shape.clone(),
    };
    scope.push_one(op, kind, vec![scalar])
}

pub(super) fn compare(
    scope: &mut Scope<'_, '_>,
    op: &RawOp<'_>,
) -> Result<Vec<ValueId>, Diagnostic> {
    let attribute = op.attribute("comparison_direction")?;
    let direction = ComparisonDirection::from_name(attribute.word()?)
        .ok_or_else(|| attribute.unexpected("EQ, NE, GE, GT, LE or LT"))?;
    let written = op.attributes.get("compare_type");
    let written = written.map(|attribute| attribute.word()).transpose()?;
    let compare_type = match written {
        None | Some("NOTYPE") => natural_order(op)?,
        Some(word) => CompareType::from_name(word)
            .ok_or_else(|| op.error(format!("unknown comparison type {word}")))?,
    };
    let kind = OpKind::Compare {
        direction,
        compare_type,
    };
    scope.push(op, kind)
}

/// The order of the operands' element type, where the text names none.
fn natural_order(op: &RawOp<'_>) -> Result<CompareType, Diagnostic> {
    let operand = op
        .operand_types
        .first()
        .ok_or_else(|| op.error("expected two operands"))?;
    Ok(match operand.element {
        element if element.is_float() => CompareType::Float,
        element if element.is_signed_integer() => CompareType::Signed,
        _ => CompareType::Unsigned,
    })
}

pub(super) fn convert_type(
    scope: &mut Scope<'_, '_>,
    op: &RawOp<'_>,
) -> Result<Vec<ValueId>, Diagnostic> {
    let element = result_element(op)?;
    scope.push(op, OpKind::Convert { element })
}

pub(super) fn bitcast_convert(
    scope: &mut Scope<'_, '_>,
    op: &RawOp<'_>,
) -> Result<Vec<ValueId>, Diagnostic> {
    let element = result_element(op)?;
    scope.push(op, OpKind::BitcastConvert { element })
}

fn result_element(op: &RawOp<'_>) -> Result<ElementType, Diagnostic> {
    Ok(op.result_type()?.element)
}

/// Rounding to fewer bits, where those are the bits of an element type: there and back.
pub(super) fn reduce_precision(
    scope: &mut Scope<'_, '_>,
    op: &RawOp<'_>,
) -> Result<Vec<ValueId>, Diagnostic> {
    let format = match op.attributes.get("format") {
        Some(format) => format.word()?.to_owned(),
        None => {
            let exponent: u32 = op.attribute("exponent_bits")?.integer()?;
            let mantissa: u32 = op.attribute("mantissa_bits")?.integer()?;
            format!("e{exponent}m{mantissa}")
        }
    };
    let operands = scope.operands(op)?;
    let wide = result_element(op)?;
    match (wide, format.as_str()) {
        (ElementType::F64, "e11m52")
        | (ElementType::F32, "e8m23")
        | (ElementType::Bf16, "e8m7" | "e8m23")
        | (ElementType::F16, "e5m10" | "e8m23") => Ok(operands),
        (ElementType::F32, "e8m7") => {
            let element = ElementType::Bf16;
            let narrow = scope.push_on(op, OpKind::Convert { element }, operands)?;
            scope.push_on(op, OpKind::Convert { element: wide }, narrow)
        }
        _ => Err(op.error(format!("the format {format} of {wide} is not supported"))),
    }
}
