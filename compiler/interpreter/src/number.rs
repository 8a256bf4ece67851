//! The numbers that ops compute with: of each element type, its functions.

mod boolean;
mod float;
mod integer;
mod special;

use std::cmp::Ordering;
use tessera_ir::{Binary, Unary};
use tessera_numerics::Element;

/// A number without loss, on the way from one element type to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Wide {
    /// An integer, or a boolean as 0 or 1.
    Integer(i128),
    /// A float of any width.
    Float(f64),
}

/// A number of one element type.
pub(crate) trait Number: Element + PartialEq + PartialOrd {
    /// The function of the op, or `None` where it is not defined for this element type or gives another.
    fn unary(function: Unary) -> Option<impl Fn(Self) -> Self>;

    /// The function of the op, or `None` where it is not defined for this element type.
    fn binary(function: Binary) -> Option<impl Fn(Self, Self) -> Self>;

    /// A total order: IEEE 754's totalOrder for floats, the order of the numbers for the others.
    fn total_order(&self, other: &Self) -> Ordering;

    /// The same number, exactly.
    fn widen(self) -> Wide;

    /// The number that `convert` makes of another.
    fn narrow(wide: Wide) -> Self;

    /// The sum of an init and elements: floats accumulate in f64 and are rounded once.
    fn sum(init: Self, elements: impl Iterator<Item = Self>) -> Option<Self> {
        let add = Self::binary(Binary::Add)?;
        Some(elements.fold(init, add))
    }
}

/// Evaluates an expression with `$T` standing for the Rust type of an element type.
macro_rules! with_element {
    ($element:expr, $T:ident => $body:expr) => {
        $crate::number::with_element!(@arms $element, $T, $body,
            I1 bool, I8 i8, I16 i16, I32 i32, I64 i64, Ui8 u8, Ui16 u16, Ui32 u32, Ui64 u64,
            F16 half::f16, Bf16 half::bf16, F32 f32, F64 f64)
    };
    (@arms $element:expr, $T:ident, $body:expr, $($variant:ident $rust:ty),*) => {
        match $element {
            $(tessera_numerics::ElementType::$variant => {
                type $T = $rust;
                $body
            })*
        }
    };
}
pub(crate) use with_element;

#[cfg(test)]
mod tests {
    use super::*;
    use half::{bf16, f16};

    fn convert<A: Number, B: Number>(x: A) -> B {
        B::narrow(x.widen())
    }

    #[test]
    fn floats_become_integers_by_truncation_and_saturation() {
        assert_eq!(convert::<f32, i32>(2.9), 2);
        assert_eq!(convert::<f32, i32>(-2.9), -2);
        assert_eq!(convert::<f32, i8>(300.7), 127);
        assert_eq!(convert::<f32, i8>(-300.7), -128);
        assert_eq!(convert::<f32, u8>(-1.0), 0);
        assert_eq!(convert::<f64, u64>(f64::INFINITY), u64::MAX);
        assert_eq!(convert::<f32, i64>(f32::NAN), 0);
    }

    #[test]
    fn integers_wrap_around_into_narrower_ones() {
        assert_eq!(convert::<i32, i8>(200), -56);
        assert_eq!(convert::<i32, u8>(-1), 255);
        assert_eq!(convert::<u64, i64>(u64::MAX), -1);
        assert_eq!(convert::<i8, u32>(-1), u32::MAX);
    }

    #[test]
    fn integers_round_to_the_nearest_float_ties_to_even() {
        assert_eq!(convert::<i32, f32>(16_777_217), 16_777_216.0);
        assert_eq!(convert::<i32, f32>(16_777_219), 16_777_220.0);
        assert_eq!(convert::<u64, f64>(u64::MAX), 18_446_744_073_709_551_616.0);
        assert_eq!(convert::<i32, f16>(2049).to_f32(), 2048.0);
        assert_eq!(convert::<i32, f16>(70_000), f16::INFINITY);
        // A hair above the middle between two neighbours: going through f64 or f32 would make it a tie.
        let above_tie = (1i64 << 62) + (1 << 54) + 1;
        assert_eq!(
            convert::<i64, bf16>(above_tie).to_f64(),
            2f64.powi(62) + 2f64.powi(55)
        );
        assert_eq!(
            convert::<i64, bf16>(-above_tie).to_f64(),
            -(2f64.powi(62) + 2f64.powi(55))
        );
    }

    #[test]
    fn floats_round_to_narrower_floats_once() {
        assert_eq!(convert::<f64, f32>(1.0 + 2f64.powi(-24)), 1.0);
        assert_eq!(convert::<f32, bf16>(1.0 + 2f32.powi(-8)).to_f32(), 1.0);
        assert_eq!(
            convert::<f32, bf16>(1.0 + 3.0 * 2f32.powi(-8)).to_f32(),
            1.0 + 2f32.powi(-6)
        );
        // A hair above the middle: rounding to f32 in between would make it a tie.
        assert_eq!(
            convert::<f64, bf16>(1.0 + 2f64.powi(-8) + 2f64.powi(-40)).to_f32(),
            1.0 + 2f32.powi(-7)
        );
        assert_eq!(
            convert::<f64, f16>(1.0 + 2f64.powi(-11) + 2f64.powi(-50)).to_f32(),
            1.0 + 2f32.powi(-10)
        );
    }

    #[test]
    fn float_conversions_keep_what_is_special() {
        assert!(convert::<f64, bf16>(f64::NAN).is_nan());
        assert!(convert::<f32, f16>(f32::NAN).is_nan());
        assert_eq!(convert::<f64, f32>(1e300), f32::INFINITY);
        assert_eq!(convert::<f64, bf16>(-1e300), bf16::NEG_INFINITY);
        assert_eq!(convert::<f32, f16>(65_520.0), f16::INFINITY);
        assert_eq!(convert::<f32, f16>(65_519.0), f16::MAX);
        assert_eq!(convert::<f32, f16>(-0.0).to_bits(), 0x8000);
        // The least subnormal numbers, and a hair more than half of them.
        assert_eq!(convert::<f64, f16>(2f64.powi(-25) * 1.001).to_bits(), 1);
        assert_eq!(convert::<f64, f16>(2f64.powi(-25)).to_bits(), 0);
        assert_eq!(convert::<f64, bf16>(2f64.powi(-134) * 1.001).to_bits(), 1);
    }

    #[test]
    fn booleans_are_what_is_not_zero() {
        assert!(convert::<f32, bool>(0.5));
        assert!(convert::<f32, bool>(f32::NAN));
        assert!(!convert::<f32, bool>(-0.0));
        assert!(convert::<i32, bool>(256));
        assert_eq!(convert::<bool, f16>(true), f16::ONE);
    }

    #[test]
    fn sums_of_floats_are_rounded_once() {
        // One after the other in f32, 2²⁴ + 1 + 1 would stay 2²⁴.
        assert_eq!(
            f32::sum(16_777_216.0, [1.0, 1.0].into_iter()),
            Some(16_777_218.0)
        );
        let ones = std::iter::repeat_n(bf16::ONE, 300);
        assert_eq!(bf16::sum(bf16::ZERO, ones).map(f32::from), Some(300.0));
        assert_eq!(i8::sum(127, [1, 1].into_iter()), Some(-127));
    }
}
