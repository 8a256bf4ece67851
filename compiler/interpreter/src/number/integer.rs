//! The functions of integers: two's complement, wrapping around.

use super::{Number, Wide};
use std::cmp::Ordering;
use tessera_ir::{Binary, Unary};

macro_rules! integers {
    ($($integer:ident, $signed:ident, $unsigned:ident;)*) => {$(
        impl Number for $integer {
            fn unary(function: Unary) -> Option<impl Fn(Self) -> Self> {
                let function: fn(Self) -> Self = match function {
                    Unary::Abs => |x| if x.cmp(&0).is_lt() { Self::wrapping_sub(0, x) } else { x },
                    Unary::CountLeadingZeros => |x| x.leading_zeros() as Self,
                    Unary::Negate => |x| Self::wrapping_sub(0, x),
                    Unary::Not => |x| !x,
                    Unary::Popcnt => |x| x.count_ones() as Self,
                    Unary::Sign => |x| match x.cmp(&0) {
                        Ordering::Less => !0,
                        Ordering::Equal => 0,
                        Ordering::Greater => 1,
                    },
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
                    | Unary::Tanh => return None,
                };
                Some(function)
            }

            fn binary(function: Binary) -> Option<impl Fn(Self, Self) -> Self> {
                /// The amount of a shift, or `None` for the width or more; a negative one is large as unsigned.
                fn amount(y: $integer) -> Option<u32> {
                    u32::try_from(y).ok().filter(|&amount| amount < $integer::BITS)
                }

                /// By squaring. A negative exponent gives the quotient of 1, rounded toward zero, and 0 for the base 0.
                fn power(mut base: $integer, mut exponent: $integer) -> $integer {
                    if exponent.cmp(&0).is_lt() {
                        return match (base == 1, base == !0, exponent & 1 == 1) {
                            (true, _, _) | (_, true, false) => 1,
                            (_, true, true) => !0,
                            _ => 0,
                        };
                    }
                    let mut result: $integer = 1;
                    while exponent != 0 {
                        if exponent & 1 == 1 {
                            result = result.wrapping_mul(base);
                        }
                        base = base.wrapping_mul(base);
                        exponent >>= 1;
                    }
                    result
                }

                let function: fn(Self, Self) -> Self = match function {
                    Binary::Add => Self::wrapping_add,
                    Binary::And => |x, y| x & y,
                    Binary::Divide => |x, y| if y == 0 { !0 } else { x.wrapping_div(y) },
                    Binary::Maximum => Self::max,
                    Binary::Minimum => Self::min,
                    Binary::Multiply => Self::wrapping_mul,
                    Binary::Or => |x, y| x | y,
                    Binary::Power => power,
                    Binary::Remainder => |x, y| if y == 0 { x } else { x.wrapping_rem(y) },
                    Binary::ShiftLeft => |x, y| amount(y).map_or(0, |amount| x << amount),
                    Binary::ShiftRightArithmetic => |x, y| {
                        (x as $signed >> amount(y).unwrap_or(Self::BITS - 1)) as Self
                    },
                    Binary::ShiftRightLogical => |x, y| {
                        amount(y).map_or(0, |amount| (x as $unsigned >> amount) as Self)
                    },
                    Binary::Subtract => Self::wrapping_sub,
                    Binary::Xor => |x, y| x ^ y,
                    Binary::Atan2 => return None,
                };
                Some(function)
            }

            fn total_order(&self, other: &Self) -> Ordering {
                self.cmp(other)
            }

            fn widen(self) -> Wide {
                Wide::Integer(self.into())
            }

            fn narrow(wide: Wide) -> Self {
                match wide {
                    Wide::Integer(value) => value as Self,
                    Wide::Float(value) => value as Self,
                }
            }
        }
    )*};
}

integers! {
    i8, i8, u8;
    i16, i16, u16;
    i32, i32, u32;
    i64, i64, u64;
    u8, i8, u8;
    u16, i16, u16;
    u32, i32, u32;
    u64, i64, u64;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unary<T: Number>(function: Unary, x: T) -> T {
        T::unary(function).unwrap()(x)
    }

    fn binary<T: Number>(function: Binary, x: T, y: T) -> T {
        T::binary(function).unwrap()(x, y)
    }

    #[test]
    fn arithmetic_wraps_around() {
        assert_eq!(binary(Binary::Add, 127i8, 1), -128);
        assert_eq!(binary(Binary::Subtract, 0u8, 1), 255);
        assert_eq!(binary(Binary::Multiply, i32::MAX, 2), -2);
        assert_eq!(unary(Unary::Negate, i16::MIN), i16::MIN);
        assert_eq!(unary(Unary::Abs, i32::MIN), i32::MIN);
        assert_eq!(unary(Unary::Abs, -5i64), 5);
    }

    #[test]
    fn division_rounds_toward_zero() {
        assert_eq!(binary(Binary::Divide, -7i32, 2), -3);
        assert_eq!(binary(Binary::Remainder, -7i32, 2), -1);
        assert_eq!(binary(Binary::Remainder, 7i32, -2), 1);
    }

    #[test]
    fn division_by_zero_and_overflow_have_results() {
        assert_eq!(binary(Binary::Divide, 7i32, 0), -1);
        assert_eq!(binary(Binary::Divide, 7u32, 0), u32::MAX);
        assert_eq!(binary(Binary::Remainder, -7i32, 0), -7);
        assert_eq!(binary(Binary::Divide, i64::MIN, -1), i64::MIN);
        assert_eq!(binary(Binary::Remainder, i64::MIN, -1), 0);
    }

    #[test]
    fn shifts_by_the_width_or_more_leave_zeros_or_sign_bits() {
        assert_eq!(binary(Binary::ShiftLeft, -5i32, 31), i32::MIN);
        for amount in [32, 40, -1] {
            assert_eq!(binary(Binary::ShiftLeft, -5i32, amount), 0);
            assert_eq!(binary(Binary::ShiftRightLogical, -5i32, amount), 0);
            assert_eq!(binary(Binary::ShiftRightArithmetic, -5i32, amount), -1);
            assert_eq!(binary(Binary::ShiftRightArithmetic, 5i32, amount), 0);
        }
        assert_eq!(binary(Binary::ShiftRightLogical, -1i8, 1), 127);
        assert_eq!(binary(Binary::ShiftRightArithmetic, 0x80u8, 1), 0xc0);
    }

    #[test]
    fn powers_multiply() {
        assert_eq!(binary(Binary::Power, 3i32, 4), 81);
        assert_eq!(binary(Binary::Power, -2i8, 7), -128);
        assert_eq!(binary(Binary::Power, 2u8, 8), 0);
        assert_eq!(binary(Binary::Power, 0i32, 0), 1);
        for (base, exponent, expected) in [
            (1, -3, 1),
            (-1, -3, -1),
            (-1, -2, 1),
            (2, -1, 0),
            (0, -1, 0),
        ] {
            assert_eq!(
                binary(Binary::Power, base, exponent),
                expected,
                "{base}^{exponent}"
            );
        }
    }

    #[test]
    fn bits_are_counted_in_the_width_of_the_type() {
        assert_eq!(unary(Unary::Popcnt, -1i16), 16);
        assert_eq!(unary(Unary::CountLeadingZeros, 1u8), 7);
        assert_eq!(unary(Unary::CountLeadingZeros, 0i64), 64);
        assert_eq!(unary(Unary::Not, 0x0fu8), 0xf0);
        assert_eq!(binary(Binary::Xor, 0b0110i8, 0b0101), 0b0011);
        assert_eq!(binary(Binary::And, 0b0110i8, 0b0101), 0b0100);
        assert_eq!(binary(Binary::Or, 0b0110i8, 0b0101), 0b0111);
    }

    #[test]
    fn the_sign_is_minus_one_zero_or_one() {
        assert_eq!([-9i8, 0, 9].map(|x| unary(Unary::Sign, x)), [-1, 0, 1]);
        assert_eq!([0u8, 200].map(|x| unary(Unary::Sign, x)), [0, 1]);
    }

    #[test]
    fn extremes_go_by_the_signedness_of_the_type() {
        assert_eq!(binary(Binary::Maximum, -1i8, 1), 1);
        assert_eq!(binary(Binary::Maximum, 255u8, 1), 255);
        assert_eq!(binary(Binary::Minimum, -1i8, 1), -1);
    }

    #[test]
    fn transcendental_functions_are_for_floats() {
        assert!(i32::unary(Unary::Exponential).is_none());
        assert!(i32::binary(Binary::Atan2).is_none());
    }
}
