//! The rules of the ops that work element by element.

use super::OpError;
use super::check::{ElementClass, Rule, require};
use crate::{Binary, CompareType, TensorType, Unary};
use tessera_numerics::ElementType;

/// - (I1) the operand's elements are of a class that the function is defined on.
///
/// The result has the operand's type; that of `is_finite` holds booleans.
pub(super) fn unary(
    rule: Rule,
    function: Unary,
    operands: &[&TensorType],
) -> Result<TensorType, OpError> {
    let [operand] = rule.operands(operands)?;
    rule.element("I1", unary_class(function), "the operand", operand)?;
    Ok(match function {
        Unary::IsFinite => operand.with_element(ElementType::I1),
        _ => operand.clone(),
    })
}

fn unary_class(function: Unary) -> ElementClass {
    match function {
        Unary::Abs | Unary::Sign => ElementClass::SignedIntegerOrFloat,
        Unary::Cbrt
        | Unary::Ceil
        | Unary::Cosine
        | Unary::Erf
        | Unary::Erfc
        | Unary::ErfInv
        | Unary::Exponential
        | Unary::ExponentialMinusOne
        | Unary::Floor
        | Unary::IsFinite
        | Unary::Log
        | Unary::LogPlusOne
        | Unary::Logistic
        | Unary::RoundNearestAfz
        | Unary::RoundNearestEven
        | Unary::Rsqrt
        | Unary::Sine
        | Unary::Sqrt
        | Unary::Tan
        | Unary::Tanh => ElementClass::Float,
        Unary::CountLeadingZeros | Unary::Popcnt => ElementClass::Integer,
        Unary::Negate => ElementClass::IntegerOrFloat,
        Unary::Not => ElementClass::BooleanOrInteger,
    }
}

/// - (C1) both operands have one type, which is the result's.
/// - (I1) their elements are of a class that the function is defined on.
pub(super) fn binary(
    rule: Rule,
    function: Binary,
    operands: &[&TensorType],
) -> Result<TensorType, OpError> {
    let [lhs, rhs] = rule.operands(operands)?;
    require!(
        rule,
        "C1",
        lhs == rhs,
        "the operands must have one type, found {lhs} and {rhs}"
    );
    rule.element("I1", binary_class(function), "each operand", lhs)?;
    Ok(lhs.clone())
}

fn binary_class(function: Binary) -> ElementClass {
    match function {
        Binary::Add | Binary::Maximum | Binary::Minimum | Binary::Multiply => ElementClass::Any,
        Binary::And | Binary::Or | Binary::Xor => ElementClass::BooleanOrInteger,
        Binary::Atan2 => ElementClass::Float,
        Binary::Divide | Binary::Power | Binary::Remainder | Binary::Subtract => {
            ElementClass::IntegerOrFloat
        }
        Binary::ShiftLeft | Binary::ShiftRightArithmetic | Binary::ShiftRightLogical => {
            ElementClass::Integer
        }
    }
}

/// - (C1) both operands have one element type.
/// - (C2) both have one shape, which is the result's.
/// - (C3) the comparison's order is that of the element type: `SIGNED` of signed integers, `UNSIGNED` of unsigned
///   integers and booleans, `FLOAT` or `TOTALORDER` of floats.
pub(super) fn compare(
    rule: Rule,
    compare_type: CompareType,
    operands: &[&TensorType],
) -> Result<TensorType, OpError> {
    let [lhs, rhs] = rule.operands(operands)?;
    require!(
        rule,
        "C1",
        lhs.element == rhs.element,
        "the operands must have one element type, found {lhs} and {rhs}"
    );
    require!(
        rule,
        "C2",
        lhs.shape == rhs.shape,
        "the operands must have one shape, found {lhs} and {rhs}"
    );
    let allowed: &[CompareType] = if lhs.element.is_float() {
        &[CompareType::Float, CompareType::TotalOrder]
    } else if lhs.element.is_signed_integer() {
        &[CompareType::Signed]
    } else {
        &[CompareType::Unsigned]
    };
    let names: Vec<_> = allowed.iter().map(|allowed| allowed.name()).collect();
    require!(
        rule,
        "C3",
        allowed.contains(&compare_type),
        "{} elements are compared as {}, found {}",
        lhs.element,
        names.join(" or "),
        compare_type.name()
    );
    Ok(lhs.with_element(ElementType::I1))
}

/// - (I1) the predicate holds booleans.
/// - (C1) the predicate is a scalar or has the shape of the others.
/// - (C2) `on_true` and `on_false` have one type, which is the result's.
pub(super) fn select(rule: Rule, operands: &[&TensorType]) -> Result<TensorType, OpError> {
    let [predicate, on_true, on_false] = rule.operands(operands)?;
    rule.element("I1", ElementClass::Boolean, "the predicate", predicate)?;
    require!(
        rule,
        "C1",
        predicate.rank() == 0 || predicate.shape == on_true.shape,
        "the predicate must be a scalar or have the shape of {on_true}, found {predicate}"
    );
    require!(
        rule,
        "C2",
        on_true == on_false,
        "both choices must have one type, found {on_true} and {on_false}"
    );
    Ok(on_true.clone())
}

/// - (C1) the lower bound is a scalar or has the operand's shape.
/// - (C2) the upper bound is a scalar or has the operand's shape.
/// - (C3) all have one element type.
pub(super) fn clamp(rule: Rule, operands: &[&TensorType]) -> Result<TensorType, OpError> {
    let [min, operand, max] = rule.operands(operands)?;
    require!(
        rule,
        "C1",
        min.rank() == 0 || min.shape == operand.shape,
        "the lower bound must be a scalar or have the shape of {operand}, found {min}"
    );
    require!(
        rule,
        "C2",
        max.rank() == 0 || max.shape == operand.shape,
        "the upper bound must be a scalar or have the shape of {operand}, found {max}"
    );
    require!(
        rule,
        "C3",
        min.element == operand.element && max.element == operand.element,
        "bounds and operand must have one element type, found {min}, {operand} and {max}"
    );
    Ok(operand.clone())
}

/// The result has the operand's shape; any element type becomes any other.
pub(super) fn convert(
    rule: Rule,
    element: ElementType,
    operands: &[&TensorType],
) -> Result<TensorType, OpError> {
    let [operand] = rule.operands(operands)?;
    Ok(operand.with_element(element))
}

/// - (C1) where the result's elements are wider, the operand's fastest dimension is the ratio of the widths (it goes;
///   a ratio comes where they are narrower).
/// - (T1) booleans stay booleans: one takes a byte of which it uses a bit.
pub(super) fn bitcast_convert(
    rule: Rule,
    element: ElementType,
    operands: &[&TensorType],
) -> Result<TensorType, OpError> {
    let [operand] = rule.operands(operands)?;
    let is_boolean = |element| element == ElementType::I1;
    require!(
        rule,
        "T1",
        is_boolean(element) == is_boolean(operand.element),
        "the bits of booleans cannot be taken for another element type, found {operand} to {element}"
    );
    let mut shape = operand.shape.clone();
    let (from, to) = (operand.element.bits(), element.bits());
    if to < from {
        shape.push(from / to);
    } else if to > from {
        let ratio = to / from;
        require!(
            rule,
            "C1",
            shape.pop() == Some(ratio),
            "one {element} is {ratio} {}: expected a fastest dimension of {ratio}, found {operand}",
            operand.element
        );
    }
    Ok(TensorType::new(element, shape))
}
