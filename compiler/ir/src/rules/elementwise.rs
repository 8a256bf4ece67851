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

#[cfg(test)]
mod tests {
    use crate::rules::testing::outcome;
    use crate::{Binary, CompareType, ComparisonDirection, ElementType, OpKind, Unary};

    /// The element types a function takes, of one for each class.
    fn takes(kind: &OpKind, arity: usize) -> String {
        let classes = ["i1", "i32", "ui32", "f32"];
        let taken = classes.into_iter().filter(|element| {
            let operand = format!("2x{element}");
            let outcome = outcome([&operand], |b, [x]| b.push(kind.clone(), vec![x; arity]));
            !outcome.contains("(I1)")
        });
        taken.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_unary_function_takes_the_element_types_it_is_defined_on() {
        for &function in Unary::ALL {
            let expected = match function {
                Unary::Abs | Unary::Sign => "i32 f32",
                Unary::CountLeadingZeros | Unary::Popcnt => "i32 ui32",
                Unary::Negate => "i32 ui32 f32",
                Unary::Not => "i1 i32 ui32",
                _ => "f32",
            };
            assert_eq!(takes(&OpKind::Unary(function), 1), expected, "{function:?}");
        }
    }

    #[test]
    fn each_binary_function_takes_the_element_types_it_is_defined_on() {
        for &function in Binary::ALL {
            let expected = match function {
                Binary::Add | Binary::Maximum | Binary::Minimum | Binary::Multiply => {
                    "i1 i32 ui32 f32"
                }
                Binary::And | Binary::Or | Binary::Xor => "i1 i32 ui32",
                Binary::Divide | Binary::Power | Binary::Remainder | Binary::Subtract => {
                    "i32 ui32 f32"
                }
                Binary::ShiftLeft | Binary::ShiftRightArithmetic | Binary::ShiftRightLogical => {
                    "i32 ui32"
                }
                Binary::Atan2 => "f32",
            };
            assert_eq!(
                takes(&OpKind::Binary(function), 2),
                expected,
                "{function:?}"
            );
        }
    }

    #[test]
    fn unary_functions_keep_the_type() {
        assert_eq!(
            outcome(["2x3xbf16"], |b, [x]| b.exponential(x)),
            "tensor<2x3xbf16>"
        );
        assert_eq!(
            outcome(["2x3xf64"], |b, [x]| b.is_finite(x)),
            "tensor<2x3xi1>"
        );
        assert_eq!(
            outcome(["2xi32"], |b, [x]| b.exponential(x)),
            "'tsr.exponential' (I1): the operand must be a tensor of floats, found tensor<2xi32>"
        );
    }

    #[test]
    fn binary_functions_take_operands_of_one_type() {
        assert_eq!(
            outcome(["2xf32", "2xf32"], |b, [x, y]| b.add(x, y)),
            "tensor<2xf32>"
        );
        assert_eq!(
            outcome(["2xf32", "3xf32"], |b, [x, y]| b.add(x, y)),
            "'tsr.add' (C1): the operands must have one type, found tensor<2xf32> and tensor<3xf32>"
        );
        assert_eq!(
            outcome(["2xf32", "2xf32"], |b, [x, y]| b.and(x, y)),
            "'tsr.and' (I1): each operand must be a tensor of i1 or integers, found tensor<2xf32>"
        );
        assert_eq!(
            outcome(["f32"], |b, [x]| b
                .push(OpKind::Binary(Binary::Add), [x, x, x])),
            "'tsr.add' (operands): expected 2 operand(s), found 3"
        );
    }

    #[test]
    fn comparisons_give_booleans() {
        let less = ComparisonDirection::Lt;
        assert_eq!(
            outcome(["2xf32", "2xf32"], |b, [x, y]| b.compare(x, y, less)),
            "tensor<2xi1>"
        );
        assert_eq!(
            outcome(["2xf32", "2xf64"], |b, [x, y]| b.compare(x, y, less)),
            "'tsr.compare' (C1): the operands must have one element type, found tensor<2xf32> and tensor<2xf64>"
        );
        assert_eq!(
            outcome(["2xf32", "f32"], |b, [x, y]| b.compare(x, y, less)),
            "'tsr.compare' (C2): the operands must have one shape, found tensor<2xf32> and tensor<f32>"
        );
    }

    #[test]
    fn the_order_of_a_comparison_is_that_of_its_elements() {
        for (element, allowed) in [
            ("f32", "FLOAT TOTALORDER"),
            ("i8", "SIGNED"),
            ("ui8", "UNSIGNED"),
            ("i1", "UNSIGNED"),
        ] {
            let taken = CompareType::ALL.iter().filter(|&&compare_type| {
                let equal = ComparisonDirection::Eq;
                outcome([element], |b, [x]| b.compare_as(x, x, equal, compare_type)) == "tensor<i1>"
            });
            let taken: Vec<_> = taken.map(|compare_type| compare_type.name()).collect();
            assert_eq!(taken.join(" "), allowed, "{element}");
        }
        assert_eq!(
            outcome(["f32"], |b, [x]| b.compare_as(
                x,
                x,
                ComparisonDirection::Eq,
                CompareType::Signed
            )),
            "'tsr.compare' (C3): f32 elements are compared as FLOAT or TOTALORDER, found SIGNED"
        );
    }

    #[test]
    fn select_takes_a_predicate_and_two_choices_of_one_type() {
        for predicate in ["2xi1", "i1"] {
            assert_eq!(
                outcome([predicate, "2xf32", "2xf32"], |b, [p, x, y]| b
                    .select(p, x, y)),
                "tensor<2xf32>"
            );
        }
        assert_eq!(
            outcome(["2xi8", "2xf32", "2xf32"], |b, [p, x, y]| b.select(p, x, y)),
            "'tsr.select' (I1): the predicate must be a tensor of i1, found tensor<2xi8>"
        );
        assert_eq!(
            outcome(["3xi1", "2xf32", "2xf32"], |b, [p, x, y]| b.select(p, x, y)),
            "'tsr.select' (C1): the predicate must be a scalar or have the shape of tensor<2xf32>, found tensor<3xi1>"
        );
        assert_eq!(
            outcome(["2xi1", "2xf32", "2xf64"], |b, [p, x, y]| b.select(p, x, y)),
            "'tsr.select' (C2): both choices must have one type, found tensor<2xf32> and tensor<2xf64>"
        );
    }

    #[test]
    fn clamp_takes_bounds_that_are_scalars_or_of_the_operands_type() {
        assert_eq!(
            outcome(["f32", "2xf32", "2xf32"], |b, [l, x, h]| b.clamp(l, x, h)),
            "tensor<2xf32>"
        );
        assert_eq!(
            outcome(["3xf32", "2xf32", "f32"], |b, [l, x, h]| b.clamp(l, x, h)),
            "'tsr.clamp' (C1): the lower bound must be a scalar or have the shape of tensor<2xf32>, found tensor<3xf32>"
        );
        assert_eq!(
            outcome(["f32", "2xf32", "1xf32"], |b, [l, x, h]| b.clamp(l, x, h)),
            "'tsr.clamp' (C2): the upper bound must be a scalar or have the shape of tensor<2xf32>, found tensor<1xf32>"
        );
        assert_eq!(
            outcome(["f32", "2xf32", "i32"], |b, [l, x, h]| b.clamp(l, x, h)),
            "'tsr.clamp' (C3): bounds and operand must have one element type, found tensor<f32>, tensor<2xf32> and tensor<i32>"
        );
    }

    #[test]
    fn any_element_type_converts_to_any_other() {
        for from in ElementType::ALL {
            for to in ElementType::ALL {
                assert_eq!(
                    outcome([&format!("2x{from}")], |b, [x]| b.convert(x, to)),
                    format!("tensor<2x{to}>")
                );
            }
        }
    }

    #[test]
    fn bits_are_regrouped_along_the_fastest_dimension() {
        let bits = |from: &str, to| outcome([from], |b, [x]| b.bitcast_convert(x, to));
        assert_eq!(bits("2xf32", ElementType::Ui32), "tensor<2xui32>");
        assert_eq!(bits("2xf32", ElementType::I8), "tensor<2x4xi8>");
        assert_eq!(bits("2x4xi8", ElementType::F32), "tensor<2xf32>");
        assert_eq!(
            bits("2x3xi8", ElementType::F32),
            "'tsr.bitcast_convert' (C1): one f32 is 4 i8: expected a fastest dimension of 4, found tensor<2x3xi8>"
        );
        assert_eq!(
            bits("i8", ElementType::F32),
            "'tsr.bitcast_convert' (C1): one f32 is 4 i8: expected a fastest dimension of 4, found tensor<i8>"
        );
        assert_eq!(bits("2xi1", ElementType::I1), "tensor<2xi1>");
        assert_eq!(
            bits("8xi1", ElementType::I8),
            "'tsr.bitcast_convert' (T1): the bits of booleans cannot be taken for another element type, found tensor<8xi1> to i8"
        );
    }
}
