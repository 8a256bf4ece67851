//! The rule of the matrix product.

use super::OpError;
use super::check::{ElementClass, Rule, require, without};
use crate::{DotDimensionNumbers, TensorType};
use tessera_numerics::ElementType;

/// - (C1) there are as many batching dimensions of lhs as of rhs.
/// - (C2) there are as many contracting dimensions of lhs as of rhs.
/// - (C3) those of lhs are distinct.
/// - (C4) those of rhs are distinct.
/// - (C5), (C6), (C7), (C8) each is a dimension of its operand.
/// - (C9) batching dimensions that go together have one size.
/// - (C10) contracting dimensions that go together have one size.
/// - (C13) both operands have one element type.
/// - (I1) it is one of integers or floats.
/// - (T1) the accumulator holds the operands' elements exactly: floats accumulate in the same type or a wider float,
///   integers in the same type or a wider integer, which is signed if they are.
/// - (T2) the result holds floats where the operands do, integers where they do.
///
/// (C12) The result's dimensions are batching, then the rest of lhs, then the rest of rhs.
pub(super) fn dot_general(
    rule: Rule,
    dimensions: &DotDimensionNumbers<'_>,
    accumulator: ElementType,
    element: ElementType,
    operands: &[&TensorType],
) -> Result<TensorType, OpError> {
    let [lhs, rhs] = rule.operands(operands)?;
    let DotDimensionNumbers {
        lhs_batching,
        rhs_batching,
        lhs_contracting,
        rhs_contracting,
    } = *dimensions;
    check_dimensions(rule, dimensions, lhs, rhs)?;
    require!(
        rule,
        "C13",
        lhs.element == rhs.element,
        "the operands must have one element type, found {lhs} and {rhs}"
    );
    rule.element("I1", ElementClass::IntegerOrFloat, "each operand", lhs)?;
    check_elements(rule, ["T1", "T2"], lhs.element, accumulator, element)?;
    let mut shape: Vec<_> = lhs_batching.iter().map(|&d| lhs.shape[d]).collect();
    shape.extend(without(&lhs.shape, &[lhs_batching, lhs_contracting]));
    shape.extend(without(&rhs.shape, &[rhs_batching, rhs_contracting]));
    Ok(TensorType::new(element, shape))
}

/// The constraints on accumulator and result of a product of such elements.
pub(super) fn check_elements(
    rule: Rule,
    [of_accumulator, of_result]: [&'static str; 2],
    operand: ElementType,
    accumulator: ElementType,
    element: ElementType,
) -> Result<(), OpError> {
    if !accumulates(operand, accumulator) {
        let message = format!("the accumulator must be {operand} or wider, found {accumulator}");
        return Err(rule.error(of_accumulator, message));
    }
    let one_class = (element.is_float() && operand.is_float())
        || (element.is_integer() && operand.is_integer());
    if !one_class {
        let expected = if operand.is_float() {
            "floats"
        } else {
            "integers"
        };
        let message =
            format!("the result of {operand} operands must hold {expected}, found {element}");
        return Err(rule.error(of_result, message));
    }
    Ok(())
}

fn check_dimensions(
    rule: Rule,
    dimensions: &DotDimensionNumbers<'_>,
    lhs: &TensorType,
    rhs: &TensorType,
) -> Result<(), OpError> {
    let DotDimensionNumbers {
        lhs_batching,
        rhs_batching,
        lhs_contracting,
        rhs_contracting,
    } = *dimensions;
    require!(
        rule,
        "C1",
        lhs_batching.len() == rhs_batching.len(),
        "lhs and rhs must have as many batching dimensions, found {lhs_batching:?} and {rhs_batching:?}"
    );
    require!(
        rule,
        "C2",
        lhs_contracting.len() == rhs_contracting.len(),
        "lhs and rhs must have as many contracting dimensions, found {lhs_contracting:?} and {rhs_contracting:?}"
    );
    let lhs_named = [lhs_batching, lhs_contracting].concat();
    rule.unique(
        "C3",
        "batching and contracting dimensions of lhs",
        &lhs_named,
    )?;
    let rhs_named = [rhs_batching, rhs_contracting].concat();
    rule.unique(
        "C4",
        "batching and contracting dimensions of rhs",
        &rhs_named,
    )?;
    let (batching, contracting) = ("batching dimensions", "contracting dimensions");
    rule.in_rank("C5", batching, lhs_batching, "lhs", lhs.rank())?;
    rule.in_rank("C6", contracting, lhs_contracting, "lhs", lhs.rank())?;
    rule.in_rank("C7", batching, rhs_batching, "rhs", rhs.rank())?;
    rule.in_rank("C8", contracting, rhs_contracting, "rhs", rhs.rank())?;
    for (constraint, name, of_lhs, of_rhs) in [
        ("C9", batching, lhs_batching, rhs_batching),
        ("C10", contracting, lhs_contracting, rhs_contracting),
    ] {
        for (&left, &right) in of_lhs.iter().zip(of_rhs) {
            let (left_size, right_size) = (lhs.shape[left], rhs.shape[right]);
            if left_size != right_size {
                let message = format!(
                    "{name} must have one size, found {left_size} in dimension {left} of {lhs} and {right_size} in dimension {right} of {rhs}"
                );
                return Err(rule.error(constraint, message));
            }
        }
    }
    Ok(())
}

/// Whether sums of these elements may be made in that accumulator.
fn accumulates(element: ElementType, accumulator: ElementType) -> bool {
    let wider = accumulator.bits() > element.bits();
    let one_class = (element.is_float() && accumulator.is_float())
        || (element.is_signed_integer() && accumulator.is_signed_integer())
        || (element.is_unsigned_integer() && accumulator.is_integer());
    element == accumulator || (wider && one_class)
}

#[cfg(test)]
mod tests {
    use crate::rules::testing::outcome;
    use crate::{DotDimensionNumbers, ElementType};

    const F32: ElementType = ElementType::F32;

    fn dot(operands: [&str; 2], numbers: &DotDimensionNumbers<'_>) -> String {
        outcome(operands, |b, [x, y]| b.dot_general(x, y, numbers, F32, F32))
    }

    /// `[batch, m, k] · [batch, k, n]`.
    const BATCHED: DotDimensionNumbers<'static> = DotDimensionNumbers {
        lhs_batching: &[0],
        rhs_batching: &[0],
        lhs_contracting: &[2],
        rhs_contracting: &[1],
    };

    #[test]
    fn a_product_has_batching_dimensions_then_the_rest_of_lhs_and_of_rhs() {
        assert_eq!(
            dot(["8x2x3xf32", "8x3x5xf32"], &BATCHED),
            "tensor<8x2x5xf32>"
        );
        let last_batch = DotDimensionNumbers {
            lhs_batching: &[2],
            rhs_batching: &[0],
            lhs_contracting: &[0],
            rhs_contracting: &[2],
        };
        assert_eq!(
            dot(["3x2x8xf32", "8x5x3xf32"], &last_batch),
            "tensor<8x2x5xf32>"
        );
        assert_eq!(
            dot(["2xf32", "3xf32"], &DotDimensionNumbers::default()),
            "tensor<2x3xf32>"
        );
    }

    #[test]
    fn dimensions_that_go_together_are_as_many_and_as_large() {
        let dot = |lhs, numbers| dot([lhs, "8x3x5xf32"], &numbers);
        assert_eq!(
            dot(
                "8x2x3xf32",
                DotDimensionNumbers {
                    rhs_batching: &[],
                    ..BATCHED
                }
            ),
            "'tsr.dot_general' (C1): lhs and rhs must have as many batching dimensions, found [0] and []"
        );
        assert_eq!(
            dot(
                "8x2x3xf32",
                DotDimensionNumbers {
                    rhs_contracting: &[],
                    ..BATCHED
                }
            ),
            "'tsr.dot_general' (C2): lhs and rhs must have as many contracting dimensions, found [2] and []"
        );
        assert_eq!(
            dot("9x2x3xf32", BATCHED),
            "'tsr.dot_general' (C9): batching dimensions must have one size, found 9 in dimension 0 of tensor<9x2x3xf32> and 8 in dimension 0 of tensor<8x3x5xf32>"
        );
        assert_eq!(
            dot("8x2x4xf32", BATCHED),
            "'tsr.dot_general' (C10): contracting dimensions must have one size, found 4 in dimension 2 of tensor<8x2x4xf32> and 3 in dimension 1 of tensor<8x3x5xf32>"
        );
    }

    #[test]
    fn dimensions_are_distinct_and_those_of_the_operands() {
        let dot = |numbers| dot(["8x2x3xf32", "8x3x5xf32"], &numbers);
        let name = "batching and contracting dimensions of";
        assert_eq!(
            dot(DotDimensionNumbers {
                lhs_contracting: &[0],
                ..BATCHED
            }),
            format!(
                "'tsr.dot_general' (C3): {name} lhs must be distinct, found dimension 0 twice in [0, 0]"
            )
        );
        assert_eq!(
            dot(DotDimensionNumbers {
                rhs_contracting: &[0],
                ..BATCHED
            }),
            format!(
                "'tsr.dot_general' (C4): {name} rhs must be distinct, found dimension 0 twice in [0, 0]"
            )
        );
        for (numbers, constraint, name, of) in [
            (
                DotDimensionNumbers {
                    lhs_batching: &[3],
                    ..BATCHED
                },
                "C5",
                "batching",
                "lhs",
            ),
            (
                DotDimensionNumbers {
                    lhs_contracting: &[3],
                    ..BATCHED
                },
                "C6",
                "contracting",
                "lhs",
            ),
            (
                DotDimensionNumbers {
                    rhs_batching: &[3],
                    ..BATCHED
                },
                "C7",
                "batching",
                "rhs",
            ),
            (
                DotDimensionNumbers {
                    rhs_contracting: &[3],
                    ..BATCHED
                },
                "C8",
                "contracting",
                "rhs",
            ),
        ] {
            assert_eq!(
                dot(numbers),
                format!(
                    "'tsr.dot_general' ({constraint}): {name} dimensions must be less than the rank of {of}, 3, found dimension 3"
                )
            );
        }
    }

    #[test]
    fn operands_hold_numbers_of_one_element_type() {
        assert_eq!(
            dot(["8x2x3xf32", "8x3x5xbf16"], &BATCHED),
            "'tsr.dot_general' (C13): the operands must have one element type, found tensor<8x2x3xf32> and tensor<8x3x5xbf16>"
        );
        assert_eq!(
            dot(["8x2x3xi1", "8x3x5xi1"], &BATCHED),
            "'tsr.dot_general' (I1): each operand must be a tensor of integers or floats, found tensor<8x2x3xi1>"
        );
    }

    /// A scalar product of operands of one element type.
    fn inner(operand: &str, accumulator: &str, element: &str) -> String {
        let numbers = DotDimensionNumbers {
            lhs_contracting: &[0],
            rhs_contracting: &[0],
            ..Default::default()
        };
        let (accumulator, element) = (accumulator.parse().unwrap(), element.parse().unwrap());
        outcome([&format!("4x{operand}")], |b, [x]| {
            b.dot_general(x, x, &numbers, accumulator, element)
        })
    }

    #[test]
    fn the_accumulator_holds_the_operands_exactly() {
        for (operand, accumulators) in [
            ("bf16", "bf16 f32 f64"),
            ("f16", "f16 f32 f64"),
            ("f64", "f64"),
            ("i8", "i8 i16 i32 i64"),
            ("ui8", "i16 i32 i64 ui8 ui16 ui32 ui64"),
        ] {
            let element = if operand.contains('f') { "f32" } else { "i32" };
            let taken = ElementType::ALL.map(ElementType::name);
            let taken = taken.into_iter().filter(|accumulator| {
                inner(operand, accumulator, element) == format!("tensor<{element}>")
            });
            let taken: Vec<_> = taken.collect();
            assert_eq!(taken.join(" "), accumulators, "{operand}");
        }
        assert_eq!(
            inner("f32", "bf16", "f32"),
            "'tsr.dot_general' (T1): the accumulator must be f32 or wider, found bf16"
        );
    }

    #[test]
    fn the_result_holds_numbers_of_the_operands_kind() {
        assert_eq!(inner("bf16", "f32", "bf16"), "tensor<bf16>");
        assert_eq!(
            inner("bf16", "f32", "i32"),
            "'tsr.dot_general' (T2): the result of bf16 operands must hold floats, found i32"
        );
        assert_eq!(
            inner("i8", "i32", "f32"),
            "'tsr.dot_general' (T2): the result of i8 operands must hold integers, found f32"
        );
    }
}
