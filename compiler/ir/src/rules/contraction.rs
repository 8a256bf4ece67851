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
    require!(
        rule,
        "T1",
        accumulates(lhs.element, accumulator),
        "the accumulator must be {} or wider, found {accumulator}",
        lhs.element
    );
    require!(
        rule,
        "T2",
        (element.is_float() && lhs.element.is_float())
            || (element.is_integer() && lhs.element.is_integer()),
        "the result of {} operands must hold {}, found {element}",
        lhs.element,
        if lhs.element.is_float() {
            "floats"
        } else {
            "integers"
        }
    );
    let mut shape: Vec<_> = lhs_batching.iter().map(|&d| lhs.shape[d]).collect();
    shape.extend(without(&lhs.shape, &[lhs_batching, lhs_contracting]));
    shape.extend(without(&rhs.shape, &[rhs_batching, rhs_contracting]));
    Ok(TensorType::new(element, shape))
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
