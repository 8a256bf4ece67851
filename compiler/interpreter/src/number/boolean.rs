//! The functions of booleans.

use super::{Number, Wide};
use std::cmp::Ordering;
use tessera_ir::{Binary, Unary};

impl Number for bool {
    fn unary(function: Unary) -> Option<impl Fn(Self) -> Self> {
        match function {
            Unary::Not => Some(|x: bool| !x),
            Unary::Abs
            | Unary::Cbrt
            | Unary::Ceil
            | Unary::Cosine
            | Unary::CountLeadingZeros
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
            | Unary::Negate
            | Unary::Popcnt
            | Unary::RoundNearestAfz
            | Unary::RoundNearestEven
            | Unary::Rsqrt
            | Unary::Sign
            | Unary::Sine
            | Unary::Sqrt
            | Unary::Tan
            | Unary::Tanh => None,
        }
    }

    fn binary(function: Binary) -> Option<impl Fn(Self, Self) -> Self> {
        let function: fn(bool, bool) -> bool = match function {
            Binary::Add | Binary::Or | Binary::Maximum => |x, y| x | y,
            Binary::Multiply | Binary::And | Binary::Minimum => |x, y| x & y,
            Binary::Xor => |x, y| x ^ y,
            Binary::Atan2
            | Binary::Divide
            | Binary::Power
            | Binary::Remainder
            | Binary::ShiftLeft
            | Binary::ShiftRightArithmetic
            | Binary::ShiftRightLogical
            | Binary::Subtract => return None,
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
            Wide::Integer(value) => value != 0,
            Wide::Float(value) => value != 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(function: Binary) -> Option<[bool; 4]> {
        let f = bool::binary(function)?;
        Some([
            f(false, false),
            f(false, true),
            f(true, false),
            f(true, true),
        ])
    }

    #[test]
    fn addition_is_or_and_multiplication_is_and() {
        let (or, and) = ([false, true, true, true], [false, false, false, true]);
        for function in [Binary::Add, Binary::Or, Binary::Maximum] {
            assert_eq!(table(function), Some(or));
        }
        for function in [Binary::Multiply, Binary::And, Binary::Minimum] {
            assert_eq!(table(function), Some(and));
        }
        assert_eq!(table(Binary::Xor), Some([false, true, true, false]));
    }

    #[test]
    fn there_is_no_difference_of_booleans() {
        assert_eq!(table(Binary::Subtract), None);
    }
}
