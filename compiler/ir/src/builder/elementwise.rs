//! The ops that work element by element.

use super::Builder;
use crate::rules::OpError;
use crate::{Binary, CompareType, ComparisonDirection, ElementType, OpKind, Unary, ValueId};

/// One method for each function of an enumeration. A function without a method does not compile.
macro_rules! elementwise_methods {
    (
        $enumeration:ident $operands:tt:
        $($(#[$doc:meta])* $method:ident = $function:ident),* $(,)?
    ) => {
        /// The elementwise functions by name.
        impl Builder {
            $(elementwise_methods!(@method $(#[$doc])* $method $enumeration $function $operands);)*
        }

        const _: fn($enumeration) = |function| match function {
            $($enumeration::$function => (),)*
        };

        #[cfg(test)]
        impl MethodNames for $enumeration {
            const METHODS: &'static [(&'static str, Self)] =
                &[$((stringify!($method), Self::$function)),*];
        }
    };
    (
        @method $(#[$doc:meta])*
        $method:ident $enumeration:ident $function:ident ($($operand:ident),+)
    ) => {
        $(#[$doc])*
        ///
        /// # Errors
        /// As [`push`](Self::push).
        pub fn $method(&mut self, $($operand: ValueId),+) -> Result<ValueId, OpError> {
            let kind = OpKind::$enumeration($enumeration::$function);
            self.push_value(kind, [$($operand),+])
        }
    };
}

elementwise_methods! {
    Unary(x):
    /// |x|.
    abs = Abs,
    /// ∛x.
    cbrt = Cbrt,
    /// ⌈x⌉.
    ceil = Ceil,
    /// cos x.
    cosine = Cosine,
    /// The number of leading zero bits.
    count_leading_zeros = CountLeadingZeros,
    /// 2/√π ∫₀ˣ exp(−t²) dt.
    erf = Erf,
    /// 1 − erf x, exact where erf x is near 1.
    erfc = Erfc,
    /// The inverse of `erf` on (−1, 1).
    erf_inv = ErfInv,
    /// eˣ.
    exponential = Exponential,
    /// eˣ − 1, exact near 0.
    exponential_minus_one = ExponentialMinusOne,
    /// ⌊x⌋.
    floor = Floor,
    /// Whether x is neither infinite nor NaN; a boolean.
    is_finite = IsFinite,
    /// ln x.
    log = Log,
    /// ln(1 + x), exact near 0.
    log_plus_one = LogPlusOne,
    /// 1 / (1 + e⁻ˣ).
    logistic = Logistic,
    /// −x; wraps around for integers.
    negate = Negate,
    /// Bitwise complement; logical for booleans.
    not = Not,
    /// The number of bits set.
    popcnt = Popcnt,
    /// Round to the nearest integer, halves away from zero.
    round_nearest_afz = RoundNearestAfz,
    /// Round to the nearest integer, halves to even.
    round_nearest_even = RoundNearestEven,
    /// 1 / √x.
    rsqrt = Rsqrt,
    /// −1, ±0, 1 or NaN.
    sign = Sign,
    /// sin x.
    sine = Sine,
    /// √x.
    sqrt = Sqrt,
    /// tan x.
    tan = Tan,
    /// tanh x.
    tanh = Tanh,
}

elementwise_methods! {
    Binary(lhs, rhs):
    /// x + y; logical or for booleans; wraps around for integers.
    add = Add,
    /// Bitwise and; logical for booleans.
    and = And,
    /// The angle of the point (y, x): atan2(lhs, rhs).
    atan2 = Atan2,
    /// x / y; integers round toward zero.
    divide = Divide,
    /// The larger; NaN where one is NaN.
    maximum = Maximum,
    /// The smaller; NaN where one is NaN.
    minimum = Minimum,
    /// x · y; logical and for booleans; wraps around for integers.
    multiply = Multiply,
    /// Bitwise or; logical for booleans.
    or = Or,
    /// xʸ.
    power = Power,
    /// The remainder of x / y, with the sign of x.
    remainder = Remainder,
    /// x · 2ʸ on the bits; 0 where y is the width or more.
    shift_left = ShiftLeft,
    /// Shift right, copies of the sign bit entering; all sign bits where y is the width or more.
    shift_right_arithmetic = ShiftRightArithmetic,
    /// Shift right, zeros entering; 0 where y is the width or more.
    shift_right_logical = ShiftRightLogical,
    /// x − y; wraps around for integers.
    subtract = Subtract,
    /// Bitwise exclusive or; logical for booleans.
    xor = Xor,
}

/// The rest of the elementwise ops.
impl Builder {
    /// Whether the relation holds, in the order of the element type: IEEE 754's of floats, signed or unsigned of integers.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn compare(
        &mut self,
        lhs: ValueId,
        rhs: ValueId,
        direction: ComparisonDirection,
    ) -> Result<ValueId, OpError> {
        let element = self.type_of("compare", lhs)?.element;
        let compare_type = if element.is_float() {
            CompareType::Float
        } else if element.is_signed_integer() {
            CompareType::Signed
        } else {
            CompareType::Unsigned
        };
        self.compare_as(lhs, rhs, direction, compare_type)
    }

    /// Whether the relation holds, in the order given.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn compare_as(
        &mut self,
        lhs: ValueId,
        rhs: ValueId,
        direction: ComparisonDirection,
        compare_type: CompareType,
    ) -> Result<ValueId, OpError> {
        let kind = OpKind::Compare {
            direction,
            compare_type,
        };
        self.push_value(kind, [lhs, rhs])
    }

    /// `on_true` where the predicate is true, `on_false` elsewhere; the predicate may be a scalar.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn select(
        &mut self,
        predicate: ValueId,
        on_true: ValueId,
        on_false: ValueId,
    ) -> Result<ValueId, OpError> {
        self.push_value(OpKind::Select {}, [predicate, on_true, on_false])
    }

    /// The operand held between the bounds; a bound may be a scalar.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn clamp(
        &mut self,
        min: ValueId,
        operand: ValueId,
        max: ValueId,
    ) -> Result<ValueId, OpError> {
        self.push_value(OpKind::Clamp {}, [min, operand, max])
    }

    /// The same numbers in another element type.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn convert(&mut self, operand: ValueId, element: ElementType) -> Result<ValueId, OpError> {
        self.push_value(OpKind::Convert { element }, [operand])
    }

    /// The same bits in another element type.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn bitcast_convert(
        &mut self,
        operand: ValueId,
        element: ElementType,
    ) -> Result<ValueId, OpError> {
        self.push_value(OpKind::BitcastConvert { element }, [operand])
    }
}

/// The methods that the macro made.
#[cfg(test)]
trait MethodNames: Sized + 'static {
    const METHODS: &'static [(&'static str, Self)];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_named_as_their_functions() {
        for (method, function) in Unary::METHODS {
            assert_eq!(*method, function.name());
        }
        for (method, function) in Binary::METHODS {
            assert_eq!(*method, function.name());
        }
    }
}
