//! Ops that compute each result element from the operands' elements at the same index.

use crate::elements::{cells, elements, elements_or_scalar, tensor, tensor_of_cells, with_size};
use crate::error::OpFailure;
use crate::number::{Number, Wide, with_element};
use std::cmp::Ordering;
use tessera_ir::{Binary, CompareType, ComparisonDirection, ElementType, Tensor, Unary};

/// The failure of a function on an element type that it is not defined for.
pub(crate) fn undefined(element: ElementType) -> OpFailure {
    OpFailure::Undefined { element }
}

pub(crate) fn unary(function: Unary, x: &Tensor) -> Result<Tensor, OpFailure> {
    with_element!(x.element(), T => {
        if function == Unary::IsFinite {
            return is_finite::<T>(x);
        }
        let function = T::unary(function).ok_or_else(|| undefined(x.element()))?;
        Ok(tensor(x.shape(), elements::<T>(x).map(function))?)
    })
}

fn is_finite<T: Number>(x: &Tensor) -> Result<Tensor, OpFailure> {
    if !x.element().is_float() {
        return Err(undefined(x.element()));
    }
    let is_finite = |x: T| match x.widen() {
        Wide::Float(value) => value.is_finite(),
        Wide::Integer(_) => true,
    };
    Ok(tensor(x.shape(), elements(x).map(is_finite))?)
}

pub(crate) fn binary(function: Binary, x: &Tensor, y: &Tensor) -> Result<Tensor, OpFailure> {
    with_element!(x.element(), T => {
        let function = T::binary(function).ok_or_else(|| undefined(x.element()))?;
        let pairs = elements::<T>(x).zip(elements::<T>(y));
        Ok(tensor(x.shape(), pairs.map(|(x, y)| function(x, y)))?)
    })
}

pub(crate) fn compare(
    direction: ComparisonDirection,
    compare_type: CompareType,
    x: &Tensor,
    y: &Tensor,
) -> Result<Tensor, OpFailure> {
    with_element!(x.element(), T => {
        let holds = |(x, y): (T, T)| relation(direction, match compare_type {
            CompareType::TotalOrder => Some(x.total_order(&y)),
            CompareType::Float | CompareType::Signed | CompareType::Unsigned => x.partial_cmp(&y),
        });
        Ok(tensor(x.shape(), elements::<T>(x).zip(elements::<T>(y)).map(holds))?)
    })
}

/// Whether a relation holds between numbers of the given order; `None` stands for unordered.
fn relation(direction: ComparisonDirection, order: Option<Ordering>) -> bool {
    match direction {
        ComparisonDirection::Eq => order.is_some_and(Ordering::is_eq),
        ComparisonDirection::Ne => !order.is_some_and(Ordering::is_eq),
        ComparisonDirection::Ge => order.is_some_and(Ordering::is_ge),
        ComparisonDirection::Gt => order.is_some_and(Ordering::is_gt),
        ComparisonDirection::Le => order.is_some_and(Ordering::is_le),
        ComparisonDirection::Lt => order.is_some_and(Ordering::is_lt),
    }
}

pub(crate) fn select(
    predicate: &Tensor,
    on_true: &Tensor,
    on_false: &Tensor,
) -> Result<Tensor, OpFailure> {
    let predicates = elements_or_scalar::<bool>(predicate, on_true.len());
    with_size!(on_true.element(), N => {
        let choices = predicates.zip(cells::<N>(on_true).iter().zip(cells::<N>(on_false)));
        let chosen = choices.map(|(predicate, (on_true, on_false))| if predicate { *on_true } else { *on_false });
        Ok(tensor_of_cells(on_true.element(), on_true.shape(), chosen.collect())?)
    })
}

/// minimum(maximum(operand, low), high).
pub(crate) fn clamp(low: &Tensor, operand: &Tensor, high: &Tensor) -> Result<Tensor, OpFailure> {
    let element = operand.element();
    with_element!(element, T => {
        let maximum = T::binary(Binary::Maximum).ok_or_else(|| undefined(element))?;
        let minimum = T::binary(Binary::Minimum).ok_or_else(|| undefined(element))?;
        let lows = elements_or_scalar::<T>(low, operand.len());
        let highs = elements_or_scalar::<T>(high, operand.len());
        let bounded = elements::<T>(operand).zip(lows.zip(highs));
        let clamped = bounded.map(|(x, (low, high))| minimum(maximum(x, low), high));
        Ok(tensor(operand.shape(), clamped)?)
    })
}

pub(crate) fn convert(element: ElementType, x: &Tensor) -> Result<Tensor, OpFailure> {
    if element == x.element() {
        return Ok(x.clone());
    }
    with_element!(x.element(), From => {
        let wide = elements::<From>(x).map(Number::widen);
        with_element!(element, To => Ok(tensor(x.shape(), wide.map(To::narrow))?))
    })
}

/// The bytes as they are: elements lie in memory with their least significant byte first, as StableHLO orders the
/// narrower elements that a wider one becomes.
pub(crate) fn bitcast_convert(
    element: ElementType,
    shape: &[usize],
    x: &Tensor,
) -> Result<Tensor, OpFailure> {
    Ok(Tensor::new(element, shape, x.bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: f32 = f32::NAN;

    fn vector<T: tessera_ir::Element>(values: &[T]) -> Tensor {
        Tensor::from_values([values.len()], values).unwrap()
    }

    #[test]
    fn functions_apply_to_each_element() {
        let x = Tensor::from_values([2, 2], &[1f32, 4.0, 9.0, 16.0]).unwrap();
        let roots = Tensor::from_values([2, 2], &[1f32, 2.0, 3.0, 4.0]).unwrap();
        assert_eq!(unary(Unary::Sqrt, &x), Ok(roots.clone()));
        assert_eq!(binary(Binary::Divide, &x, &roots), Ok(roots));
    }

    #[test]
    fn is_finite_gives_booleans() {
        let x = vector(&[1.0, f32::INFINITY, NAN]);
        assert_eq!(
            unary(Unary::IsFinite, &x),
            Ok(vector(&[true, false, false]))
        );
        assert!(unary(Unary::IsFinite, &vector(&[1i32])).is_err());
    }

    #[test]
    fn a_function_without_meaning_is_refused() {
        let failure = unary(Unary::Cosine, &vector(&[1i32])).unwrap_err();
        assert_eq!(failure.to_string(), "not defined for i32");
    }

    #[test]
    fn comparisons_of_floats_are_false_for_nan_except_ne() {
        use ComparisonDirection::*;
        let (x, y) = (
            vector(&[1.0, 2.0, 2.0, NAN, -0.0]),
            vector(&[2f32, 1.0, 2.0, NAN, 0.0]),
        );
        for (direction, expected) in [
            (Eq, [false, false, true, false, true]),
            (Ne, [true, true, false, true, false]),
            (Ge, [false, true, true, false, true]),
            (Gt, [false, true, false, false, false]),
            (Le, [true, false, true, false, true]),
            (Lt, [true, false, false, false, false]),
        ] {
            let found = compare(direction, CompareType::Float, &x, &y);
            assert_eq!(found, Ok(vector(&expected)), "{direction:?}");
        }
    }

    #[test]
    fn the_total_order_tells_zeros_apart_and_puts_nan_last() {
        let (x, y) = (
            vector(&[-0.0f32, 1.0, NAN]),
            vector(&[0.0f32, NAN.abs(), NAN]),
        );
        let found = compare(ComparisonDirection::Lt, CompareType::TotalOrder, &x, &y);
        assert_eq!(found, Ok(vector(&[true, true, false])));
    }

    #[test]
    fn integers_compare_by_their_signedness() {
        let less = |x: Tensor, y: Tensor, compare_type| {
            compare(ComparisonDirection::Lt, compare_type, &x, &y)
        };
        let signed = less(vector(&[-1i8]), vector(&[1i8]), CompareType::Signed);
        assert_eq!(signed, Ok(vector(&[true])));
        let unsigned = less(vector(&[255u8]), vector(&[1u8]), CompareType::Unsigned);
        assert_eq!(unsigned, Ok(vector(&[false])));
        let boolean = less(vector(&[false]), vector(&[true]), CompareType::Unsigned);
        assert_eq!(boolean, Ok(vector(&[true])));
    }

    #[test]
    fn select_takes_a_predicate_for_each_element_or_for_all() {
        let (on_true, on_false) = (vector(&[1i16, 2]), vector(&[-1i16, -2]));
        let each = select(&vector(&[true, false]), &on_true, &on_false);
        assert_eq!(each, Ok(vector(&[1i16, -2])));
        let all = select(&Tensor::scalar(false), &on_true, &on_false);
        assert_eq!(all, Ok(on_false));
    }

    #[test]
    fn clamp_holds_between_bounds_and_passes_nan_on() {
        let x = vector(&[-1.0, 0.5, 3.0, NAN]);
        let clamped = clamp(&Tensor::scalar(0f32), &x, &Tensor::scalar(1f32)).unwrap();
        let clamped: Vec<f32> = clamped.values().unwrap();
        assert_eq!(clamped[..3], [0.0, 0.5, 1.0]);
        assert!(clamped[3].is_nan());
    }

    #[test]
    fn clamp_between_crossed_bounds_gives_the_upper_one() {
        let clamped = clamp(&vector(&[2i32]), &vector(&[5]), &vector(&[1]));
        assert_eq!(clamped, Ok(vector(&[1i32])));
    }

    #[test]
    fn conversion_changes_the_element_type() {
        let x = vector(&[1.75f32, -1.75, 0.0]);
        assert_eq!(convert(ElementType::I32, &x), Ok(vector(&[1i32, -1, 0])));
        assert_eq!(
            convert(ElementType::I1, &x),
            Ok(vector(&[true, true, false]))
        );
        assert_eq!(convert(ElementType::F32, &x), Ok(x));
    }

    #[test]
    fn bits_are_taken_least_significant_first() {
        let word = Tensor::scalar(0x0123_4567u32);
        let halves = bitcast_convert(ElementType::Ui16, &[2], &word);
        assert_eq!(halves, Ok(vector(&[0x4567u16, 0x0123])));
        let back = bitcast_convert(ElementType::Ui32, &[], &halves.unwrap());
        assert_eq!(back, Ok(word));
        let one = bitcast_convert(ElementType::Ui32, &[], &Tensor::scalar(1f32));
        assert_eq!(one, Ok(Tensor::scalar(0x3f80_0000u32)));
    }
}
