//! The functions of floats: computed in f64, rounded once to the element type.

use super::special::{erf_inv, logistic};
use super::{Number, Wide};
use half::{bf16, f16};
use std::cmp::Ordering;
use tessera_ir::{Binary, Unary};

macro_rules! floats {
    ($($float:ty, $from_f64:expr, $from_integer:expr;)*) => {$(
        impl Number for $float {
            fn unary(function: Unary) -> Option<impl Fn(Self) -> Self> {
                let function = unary(function)?;
                Some(move |x: Self| $from_f64(function(f64::from(x))))
            }

            fn binary(function: Binary) -> Option<impl Fn(Self, Self) -> Self> {
                let function = binary(function)?;
                Some(move |x: Self, y: Self| $from_f64(function(f64::from(x), f64::from(y))))
            }

            fn total_order(&self, other: &Self) -> Ordering {
                self.total_cmp(other)
            }

            fn widen(self) -> Wide {
                Wide::Float(f64::from(self))
            }

            fn narrow(wide: Wide) -> Self {
                match wide {
                    Wide::Integer(value) => $from_integer(value),
                    Wide::Float(value) => $from_f64(value),
                }
            }

            fn sum(init: Self, elements: impl Iterator<Item = Self>) -> Option<Self> {
                Some($from_f64(elements.map(f64::from).fold(f64::from(init), |sum, x| sum + x)))
            }
        }
    )*};
}

floats! {
    f16, |x| f16::from_f32(round_to_odd(x)), |x| f16::from_f32(round_to_odd(integer_to_odd(x)));
    bf16, |x| bf16::from_f32(round_to_odd(x)), |x| bf16::from_f32(round_to_odd(integer_to_odd(x)));
    f32, |x: f64| x as f32, |x: i128| x as f32;
    f64, |x: f64| x, |x: i128| x as f64;
}

/// The f32 that is `x`, or else the one of its two neighbours whose last bit is set. Rounding that to a type with two
/// digits less, or fewer, gives what rounding `x` itself gives: neither a tie nor an exact number arises on the way
/// (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to odd", 2008).
fn round_to_odd(x: f64) -> f32 {
    let nearest = x as f32;
    let rounded = f64::from(nearest);
    if rounded == x || x.is_nan() {
        return nearest;
    }
    let magnitude_up = rounded.abs() > x.abs();
    let truncated = nearest.to_bits() - u32::from(magnitude_up);
    f32::from_bits(truncated | 1)
}

/// The f64 that is `x`, or else the one of its two neighbours whose last bit is set.
fn integer_to_odd(x: i128) -> f64 {
    let magnitude = x.unsigned_abs();
    let surplus_bits =
        (u128::BITS - magnitude.leading_zeros()).saturating_sub(f64::MANTISSA_DIGITS);
    let truncated = magnitude >> surplus_bits;
    let sticky = u128::from(truncated << surplus_bits != magnitude);
    let magnitude = (truncated | sticky) as f64 * 2f64.powi(surplus_bits as i32);
    if x < 0 { -magnitude } else { magnitude }
}

fn unary(function: Unary) -> Option<fn(f64) -> f64> {
    Some(match function {
        Unary::Abs => f64::abs,
        Unary::Cbrt => libm::cbrt,
        Unary::Ceil => f64::ceil,
        Unary::Cosine => libm::cos,
        Unary::Erf => libm::erf,
        Unary::Erfc => libm::erfc,
        Unary::ErfInv => erf_inv,
        Unary::Exponential => libm::exp,
        Unary::ExponentialMinusOne => libm::expm1,
        Unary::Floor => f64::floor,
        Unary::Log => libm::log,
        Unary::LogPlusOne => libm::log1p,
        Unary::Logistic => logistic,
        Unary::Negate => |x| -x,
        Unary::RoundNearestAfz => f64::round,
        Unary::RoundNearestEven => f64::round_ties_even,
        Unary::Rsqrt => |x| 1.0 / x.sqrt(),
        // f64::signum gives ±1 for ±0.
        Unary::Sign => |x| if x == 0.0 { x } else { x.signum() },
        Unary::Sine => libm::sin,
        Unary::Sqrt => f64::sqrt,
        Unary::Tan => libm::tan,
        Unary::Tanh => libm::tanh,
        // IsFinite gives a boolean; the others are of bits.
        Unary::IsFinite | Unary::CountLeadingZeros | Unary::Not | Unary::Popcnt => return None,
    })
}

fn binary(function: Binary) -> Option<fn(f64, f64) -> f64> {
    Some(match function {
        Binary::Add => |x, y| x + y,
        Binary::Atan2 => libm::atan2,
        Binary::Divide => |x, y| x / y,
        Binary::Maximum => maximum,
        Binary::Minimum => |x, y| -maximum(-x, -y),
        Binary::Multiply => |x, y| x * y,
        Binary::Power => libm::pow,
        Binary::Remainder => |x, y| x % y,
        Binary::Subtract => |x, y| x - y,
        Binary::And
        | Binary::Or
        | Binary::ShiftLeft
        | Binary::ShiftRightArithmetic
        | Binary::ShiftRightLogical
        | Binary::Xor => return None,
    })
}

/// IEEE 754-2019's maximum: NaN where one is NaN, +0 above −0.
fn maximum(x: f64, y: f64) -> f64 {
    if x.is_nan() || y.is_nan() {
        f64::NAN
    } else if x.total_cmp(&y).is_gt() {
        x
    } else {
        y
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f32::consts::PI;

    const INF: f32 = f32::INFINITY;
    const NAN: f32 = f32::NAN;

    fn unary(function: Unary, x: f32) -> f32 {
        f32::unary(function).unwrap()(x)
    }

    fn binary(function: Binary, x: f32, y: f32) -> f32 {
        f32::binary(function).unwrap()(x, y)
    }

    /// Equal to the bit, or both NaN.
    fn assert_same(found: f32, expected: f32, what: impl std::fmt::Debug) {
        let same = found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
        assert!(same, "{what:?}: expected {expected:?}, found {found:?}");
    }

    #[test]
    fn unary_functions() {
        for (function, x, expected) in [
            (Unary::Abs, -0.0, 0.0),
            (Unary::Abs, -INF, INF),
            (Unary::Cbrt, -27.0, -3.0),
            (Unary::Ceil, -0.5, -0.0),
            (Unary::Ceil, 1.25, 2.0),
            (Unary::Cosine, 0.0, 1.0),
            (Unary::Cosine, PI, -1.0),
            (Unary::Cosine, INF, NAN),
            // Abramowitz and Stegun, table 7.1: erf 1 = 0.84270 07929.
            (Unary::Erf, 1.0, 0.842_700_8),
            (Unary::Erf, -INF, -1.0),
            (Unary::Erfc, 1.0, 0.157_299_2),
            (Unary::Erfc, INF, 0.0),
            (Unary::ErfInv, 1.0, INF),
            (Unary::Exponential, 1.0, std::f32::consts::E),
            (Unary::Exponential, -INF, 0.0),
            (Unary::Exponential, 89.0, INF),
            (Unary::ExponentialMinusOne, 1e-10, 1e-10),
            (Unary::ExponentialMinusOne, -INF, -1.0),
            (Unary::Floor, -0.5, -1.0),
            (Unary::Floor, NAN, NAN),
            (Unary::Log, 1.0, 0.0),
            (Unary::Log, 0.0, -INF),
            (Unary::Log, -1.0, NAN),
            (Unary::LogPlusOne, 1e-10, 1e-10),
            (Unary::LogPlusOne, -1.0, -INF),
            (Unary::Logistic, 0.0, 0.5),
            (Unary::Negate, 0.0, -0.0),
            (Unary::RoundNearestAfz, 2.5, 3.0),
            (Unary::RoundNearestAfz, -0.5, -1.0),
            (Unary::RoundNearestEven, 2.5, 2.0),
            (Unary::RoundNearestEven, -0.5, -0.0),
            (Unary::Rsqrt, 4.0, 0.5),
            (Unary::Rsqrt, 0.0, INF),
            (Unary::Rsqrt, INF, 0.0),
            (Unary::Rsqrt, -1.0, NAN),
            (Unary::Sign, -0.0, -0.0),
            (Unary::Sign, -3.0, -1.0),
            (Unary::Sign, NAN, NAN),
            (Unary::Sine, -0.0, -0.0),
            (Unary::Sine, PI / 2.0, 1.0),
            (Unary::Sqrt, 2.0, std::f32::consts::SQRT_2),
            (Unary::Sqrt, -0.0, -0.0),
            (Unary::Tan, 0.5, 0.546_302_5),
            (Unary::Tanh, INF, 1.0),
            (Unary::Tanh, 1e-20, 1e-20),
        ] {
            assert_same(unary(function, x), expected, (function, x));
        }
    }

    #[test]
    fn binary_functions() {
        for (function, x, y, expected) in [
            (Binary::Add, 1.0, 2f32.powi(-24), 1.0),
            (Binary::Add, INF, -INF, NAN),
            (Binary::Atan2, 1.0, -0.0, PI / 2.0),
            (Binary::Atan2, -0.0, -1.0, -PI),
            (Binary::Divide, 1.0, 3.0, 0.333_333_34),
            (Binary::Divide, -1.0, 0.0, -INF),
            (Binary::Divide, 0.0, 0.0, NAN),
            (Binary::Multiply, 1e30, 1e30, INF),
            (
                Binary::Multiply,
                2f32.powi(-140),
                2f32.powi(-9),
                2f32.powi(-149),
            ),
            (Binary::Power, -8.0, 3.0, -512.0),
            (Binary::Power, -8.0, 0.5, NAN),
            (Binary::Power, NAN, 0.0, 1.0),
            (Binary::Power, 1.0, NAN, 1.0),
            (Binary::Power, 0.0, -1.0, INF),
            (Binary::Remainder, 5.5, -2.0, 1.5),
            (Binary::Remainder, -5.5, 2.0, -1.5),
            (Binary::Remainder, 1.0, 0.0, NAN),
            (Binary::Remainder, 1.0, INF, 1.0),
            (Binary::Subtract, 1.0, 1.0, 0.0),
        ] {
            assert_same(binary(function, x, y), expected, (function, x, y));
        }
    }

    #[test]
    fn extremes_give_nan_on_and_order_zeros() {
        for (x, y, greater, less) in [
            (1.0, 2.0, 2.0, 1.0),
            (-0.0, 0.0, 0.0, -0.0),
            (0.0, -0.0, 0.0, -0.0),
            (NAN, INF, NAN, NAN),
            (-INF, -NAN, NAN, NAN),
            (-INF, INF, INF, -INF),
        ] {
            assert_same(binary(Binary::Maximum, x, y), greater, (x, y));
            assert_same(binary(Binary::Minimum, x, y), less, (x, y));
        }
    }

    #[test]
    fn narrow_floats_are_computed_exactly_and_rounded_once() {
        let add = bf16::binary(Binary::Add).unwrap();
        // 256 + 1 needs nine digits, and bf16 has eight: a tie, to even.
        assert_eq!(add(bf16::from_f32(256.0), bf16::ONE), bf16::from_f32(256.0));
        assert_eq!(add(bf16::from_f32(258.0), bf16::ONE), bf16::from_f32(260.0));
        // 1 + 2⁻⁸ is a tie; the last bits of the smaller number, far away, break it.
        let above_half = bf16::from_f32(2f32.powi(-8) * (1.0 + 2f32.powi(-7)));
        assert_eq!(
            add(bf16::ONE, above_half),
            bf16::from_f32(1.0 + 2f32.powi(-7))
        );
        let multiply = f16::binary(Binary::Multiply).unwrap();
        assert_eq!(
            multiply(f16::from_f32(256.0), f16::from_f32(256.0)),
            f16::INFINITY
        );
        let third = f16::binary(Binary::Divide).unwrap()(f16::ONE, f16::from_f32(3.0));
        assert_eq!(third.to_bits(), 0x3555);
    }

    #[test]
    fn total_order_tells_zeros_and_nans_apart() {
        let ascending = [-NAN.abs(), -INF, -1.0, -0.0, 0.0, 1.0, INF, NAN.abs()];
        for pair in ascending.windows(2) {
            assert_eq!(pair[0].total_order(&pair[1]), Ordering::Less, "{pair:?}");
        }
    }

    #[test]
    fn functions_of_bits_are_for_integers() {
        assert!(f32::unary(Unary::Popcnt).is_none());
        assert!(f32::binary(Binary::And).is_none());
    }
}
