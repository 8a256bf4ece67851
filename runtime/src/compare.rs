//! Whether tensors are what they were expected to be.

use crate::bundle::TensorType;
use crate::tensors::compare_names;
use std::fmt;
use tessera_numerics::{Element, ElementType, Tensor};

/// How far a floating-point number may be from the one expected: `|found - expected| ≤ absolute + relative · |expected|`.
///
/// Integers and booleans have to be equal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// The error allowed in proportion to the expected number.
    pub relative: f64,
    /// The error allowed whatever the expected number.
    pub absolute: f64,
    /// Whether a NaN is as good as any other where a NaN is expected.
    pub equal_nan: bool,
}

/// How two tensors of one type differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The number of elements.
    pub elements: usize,
    /// The number of elements out of tolerance.
    pub mismatches: usize,
    /// The largest `|found - expected|` of all pairs of finite numbers.
    pub max_absolute_error: f64,
    /// The largest `|found - expected| / |expected|` of all pairs of finite numbers; infinite where 0 was expected and
    /// another number found.
    pub max_relative_error: f64,
    /// The first element out of tolerance, in row-major order.
    pub first_mismatch: Option<Mismatch>,
}

/// An element out of tolerance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Its place, one number for each dimension.
    pub index: Vec<usize>,
    /// The number that was expected.
    pub expected: String,
    /// The number that was found.
    pub found: String,
}

/// What came of comparing a tensor with the one expected.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Both are of one type and were compared.
    Compared(Difference),
    /// They are of different types.
    TypesDiffer {
        /// The type expected.
        expected: TensorType,
        /// The type found.
        found: TensorType,
    },
    /// There is no tensor of that name.
    Missing,
}

impl Outcome {
    /// Whether the tensor is as expected.
    pub fn agrees(&self) -> bool {
        matches!(self, Self::Compared(difference) if difference.mismatches == 0)
    }
}

/// What came of comparing tensors by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// One for each expected tensor, in the order of [`compare_names`].
    pub outcomes: Vec<(String, Outcome)>,
}

impl Comparison {
    /// Whether every tensor is as expected.
    pub fn agrees(&self) -> bool {
        self.outcomes.iter().all(|(_, outcome)| outcome.agrees())
    }
}

/// Compares tensors with those expected by the same names. Tensors that nothing is expected of are not looked at.
pub fn compare_named(
    found: &[(String, Tensor)],
    expected: &[(String, Tensor)],
    tolerance: Tolerance,
) -> Comparison {
    let mut outcomes: Vec<(String, Outcome)> = expected
        .iter()
        .map(|(name, expected)| {
            let found = found.iter().find(|(other, _)| other == name);
            let outcome = found.map_or(Outcome::Missing, |(_, found)| {
                compare(found, expected, tolerance)
            });
            (name.clone(), outcome)
        })
        .collect();
    outcomes.sort_by(|(a, _), (b, _)| compare_names(a, b));
    Comparison { outcomes }
}

/// Compares a tensor with the one expected.
pub fn compare(found: &Tensor, expected: &Tensor, tolerance: Tolerance) -> Outcome {
    let expected_type = TensorType::of(expected);
    if !expected_type.matches(found) {
        return Outcome::TypesDiffer {
            expected: expected_type,
            found: TensorType::of(found),
        };
    }
    let compare = match expected.element() {
        ElementType::I1 => integers::<bool>,
        ElementType::I8 => integers::<i8>,
        ElementType::I16 => integers::<i16>,
        ElementType::I32 => integers::<i32>,
        ElementType::I64 => integers::<i64>,
        ElementType::Ui8 => integers::<u8>,
        ElementType::Ui16 => integers::<u16>,
        ElementType::Ui32 => integers::<u32>,
        ElementType::Ui64 => integers::<u64>,
        ElementType::F16 => floats::<half::f16>,
        ElementType::Bf16 => floats::<half::bf16>,
        ElementType::F32 => floats::<f32>,
        ElementType::F64 => floats::<f64>,
    };
    Outcome::Compared(compare(found, expected, tolerance))
}

fn floats<T: Element + Into<f64> + fmt::Display>(
    found: &Tensor,
    expected: &Tensor,
    tolerance: Tolerance,
) -> Difference {
    difference::<T>(found, expected, |found, expected| {
        let (found, expected): (f64, f64) = (found.into(), expected.into());
        let error = (found - expected).abs();
        // Equality comes first for infinities, whose difference is a NaN.
        let within = found == expected
            || (found.is_nan() && expected.is_nan() && tolerance.equal_nan)
            || (expected.is_finite()
                && error <= tolerance.absolute + tolerance.relative * expected.abs());
        let finite = found.is_finite() && expected.is_finite();
        Pair {
            within,
            absolute_error: if finite { error } else { 0.0 },
            expected_size: expected.abs(),
        }
    })
}

fn integers<T: Element + Into<i128> + fmt::Display>(
    found: &Tensor,
    expected: &Tensor,
    _tolerance: Tolerance,
) -> Difference {
    difference::<T>(found, expected, |found, expected| {
        let (found, expected): (i128, i128) = (found.into(), expected.into());
        Pair {
            within: found == expected,
            absolute_error: (found - expected).unsigned_abs() as f64,
            expected_size: expected.unsigned_abs() as f64,
        }
    })
}

struct Pair {
    within: bool,
    absolute_error: f64,
    expected_size: f64,
}

fn difference<T: Element + fmt::Display>(
    found: &Tensor,
    expected: &Tensor,
    pair: impl Fn(T, T) -> Pair,
) -> Difference {
    let mut difference = Difference {
        elements: expected.len(),
        mismatches: 0,
        max_absolute_error: 0.0,
        max_relative_error: 0.0,
        first_mismatch: None,
    };
    let size = T::ELEMENT.size();
    let elements = found
        .bytes()
        .chunks_exact(size)
        .zip(expected.bytes().chunks_exact(size));
    for (place, (found, expected_bytes)) in elements.enumerate() {
        let (found, expected_value) = (T::read(found), T::read(expected_bytes));
        let pair = pair(found, expected_value);
        let error = pair.absolute_error;
        if error > 0.0 {
            let relative = error / pair.expected_size;
            difference.max_absolute_error = difference.max_absolute_error.max(error);
            difference.max_relative_error = difference.max_relative_error.max(relative);
        }
        if !pair.within {
            difference.mismatches += 1;
            difference.first_mismatch.get_or_insert_with(|| Mismatch {
                index: unravel(place, expected.shape()),
                expected: expected_value.to_string(),
                found: found.to_string(),
            });
        }
    }
    difference
}

/// The index of the element at a row-major place.
fn unravel(mut place: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for (axis, &dimension) in shape.iter().enumerate().rev() {
        index[axis] = place % dimension;
        place /= dimension;
    }
    index
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("missing"),
            Self::TypesDiffer { expected, found } => {
                write!(f, "expected {expected}, found {found}")
            }
            Self::Compared(difference) => difference.fmt(f),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(first) = &self.first_mismatch {
            write!(
                f,
                "{} of {} elements differ, the first at {:?}: expected {}, found {}; ",
                self.mismatches, self.elements, first.index, first.expected, first.found
            )?;
        }
        write!(
            f,
            "max absolute error {:.3e}, max relative error {:.3e}",
            self.max_absolute_error, self.max_relative_error
        )
    }
}

/// One line for each expected tensor.
impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (name, outcome)) in self.outcomes.iter().enumerate() {
            let line_break = if number == 0 { "" } else { "\n" };
            let verdict = if outcome.agrees() { "ok" } else { "DIFFERS" };
            write!(f, "{line_break}{name}: {verdict}: {outcome}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXACT: Tolerance = Tolerance {
        relative: 0.0,
        absolute: 0.0,
        equal_nan: true,
    };

    fn compared<T: Element>(found: &[T], expected: &[T], tolerance: Tolerance) -> Difference {
        let tensor = |values: &[T]| Tensor::from_values([values.len()], values).unwrap();
        match compare(&tensor(found), &tensor(expected), tolerance) {
            Outcome::Compared(difference) => difference,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn errors_are_the_largest_of_all_elements() {
        let difference = compared(&[1.5f32, 10.0, 4.0], &[1.0, 8.0, 4.0], EXACT);
        assert_eq!(difference.mismatches, 2);
        assert_eq!(difference.max_absolute_error, 2.0);
        assert_eq!(difference.max_relative_error, 0.5);
    }

    #[test]
    fn the_tolerance_is_absolute_plus_relative() {
        let tolerance = Tolerance {
            relative: 0.25,
            absolute: 0.5,
            equal_nan: true,
        };
        // The allowance at 4 is 0.5 + 0.25 · 4 = 1.5.
        assert_eq!(compared(&[5.5f64], &[4.0], tolerance).mismatches, 0);
        assert_eq!(compared(&[5.75f64], &[4.0], tolerance).mismatches, 1);
    }

    #[test]
    fn the_first_mismatch_has_its_index() {
        let tensor = |values: [i32; 6]| Tensor::from_values([2, 3], &values).unwrap();
        let outcome = compare(
            &tensor([1, 2, 3, 4, 50, 60]),
            &tensor([1, 2, 3, 4, 5, 6]),
            EXACT,
        );
        assert_eq!(
            outcome.to_string(),
            "2 of 6 elements differ, the first at [1, 1]: expected 5, found 50; \
             max absolute error 5.400e1, max relative error 9.000e0"
        );
        assert!(!outcome.agrees());
    }

    #[test]
    fn integers_have_no_tolerance() {
        let wide = Tolerance {
            relative: 1.0,
            absolute: 1e9,
            equal_nan: true,
        };
        // These differ by one, and are the same number in f64.
        let difference = compared(&[i64::MAX], &[i64::MAX - 1], wide);
        assert_eq!(difference.mismatches, 1);
        assert_eq!(difference.max_absolute_error, 1.0);
        assert_eq!(compared(&[true], &[false], wide).mismatches, 1);
    }

    #[test]
    fn a_nan_is_a_mismatch_where_none_is_expected() {
        let (nan, tolerant) = (f32::NAN, EXACT);
        let strict = Tolerance {
            equal_nan: false,
            ..EXACT
        };
        assert_eq!(compared(&[nan], &[nan], tolerant).mismatches, 0);
        assert_eq!(compared(&[nan], &[nan], strict).mismatches, 1);
        assert_eq!(compared(&[nan], &[1.0], tolerant).mismatches, 1);
        assert_eq!(compared(&[1.0], &[nan], tolerant).mismatches, 1);
    }

    #[test]
    fn infinities_are_equal_to_themselves_alone() {
        let wide = Tolerance {
            relative: 1.0,
            absolute: 1.0,
            equal_nan: true,
        };
        let infinity = f32::INFINITY;
        assert_eq!(compared(&[infinity], &[infinity], wide).mismatches, 0);
        assert_eq!(compared(&[-infinity], &[infinity], wide).mismatches, 1);
        assert_eq!(compared(&[1.0], &[infinity], wide).mismatches, 1);
        assert_eq!(compared(&[infinity], &[1.0], wide).mismatches, 1);
    }

    #[test]
    fn tensors_are_compared_by_name() {
        let named = |name: &str, value: f32| (name.to_owned(), Tensor::scalar(value));
        let found = [named("result2", 1.0), named("extra", 0.0), named("x", 1.0)];
        let expected = [
            named("result10", 1.0),
            named("result2", 1.0),
            ("x".to_owned(), Tensor::scalar(1i32)),
        ];
        let comparison = compare_named(&found, &expected, EXACT);
        let expected = "\
result2: ok: max absolute error 0.000e0, max relative error 0.000e0
result10: DIFFERS: missing
x: DIFFERS: expected tensor<i32>, found tensor<f32>";
        assert_eq!(comparison.to_string(), expected);
        assert!(!comparison.agrees());
    }
}
