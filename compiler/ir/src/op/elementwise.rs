//! The functions of the elementwise ops.

use crate::attribute::{Attribute, AttributeField};

/// Declares an enumeration whose variants have a spelling in the text form.
macro_rules! spelt_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $spelling:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// Every variant, in the order of its declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The spelling in the text form.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $spelling,)*
                }
            }

            /// The variant of that spelling.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|variant| variant.name() == name)
            }
        }
    };
}

spelt_enum! {
    /// A function of one number, applied to each element; StableHLO's and CHLO's names and semantics.
    Unary {
        /// |x|.
        Abs = "abs",
        /// ∛x.
        Cbrt = "cbrt",
        /// ⌈x⌉.
        Ceil = "ceil",
        /// cos x.
        Cosine = "cosine",
        /// The number of leading zero bits.
        CountLeadingZeros = "count_leading_zeros",
        /// 2/√π ∫₀ˣ exp(−t²) dt.
        Erf = "erf",
        /// 1 − erf x, exact where erf x is near 1.
        Erfc = "erfc",
        /// The inverse of `erf` on (−1, 1).
        ErfInv = "erf_inv",
        /// eˣ.
        Exponential = "exponential",
        /// eˣ − 1, exact near 0.
        ExponentialMinusOne = "exponential_minus_one",
        /// ⌊x⌋.
        Floor = "floor",
        /// Whether x is neither infinite nor NaN; a boolean.
        IsFinite = "is_finite",
        /// ln x.
        Log = "log",
        /// ln(1 + x), exact near 0.
        LogPlusOne = "log_plus_one",
        /// 1 / (1 + e⁻ˣ).
        Logistic = "logistic",
        /// −x; wraps around for integers.
        Negate = "negate",
        /// Bitwise complement; logical for booleans.
        Not = "not",
        /// The number of bits set.
        Popcnt = "popcnt",
        /// Round to the nearest integer, halves away from zero.
        RoundNearestAfz = "round_nearest_afz",
        /// Round to the nearest integer, halves to even.
        RoundNearestEven = "round_nearest_even",
        /// 1 / √x.
        Rsqrt = "rsqrt",
        /// −1, ±0, 1 or NaN.
        Sign = "sign",
        /// sin x.
        Sine = "sine",
        /// √x.
        Sqrt = "sqrt",
        /// tan x.
        Tan = "tan",
        /// tanh x.
        Tanh = "tanh",
    }
}

spelt_enum! {
    /// A function of two numbers of one type, applied to each pair of elements; StableHLO's names and semantics.
    Binary {
        /// x + y; logical or for booleans; wraps around for integers.
        Add = "add",
        /// Bitwise and; logical for booleans.
        And = "and",
        /// The angle of the point (y, x): atan2(lhs, rhs).
        Atan2 = "atan2",
        /// x / y; integers round toward zero.
        Divide = "divide",
        /// The larger; NaN where one is NaN.
        Maximum = "maximum",
        /// The smaller; NaN where one is NaN.
        Minimum = "minimum",
        /// x · y; logical and for booleans; wraps around for integers.
        Multiply = "multiply",
        /// Bitwise or; logical for booleans.
        Or = "or",
        /// xʸ.
        Power = "power",
        /// The remainder of x / y, with the sign of x.
        Remainder = "remainder",
        /// x · 2ʸ on the bits; 0 where y is the width or more.
        ShiftLeft = "shift_left",
        /// Shift right, copies of the sign bit entering; all sign bits where y is the width or more.
        ShiftRightArithmetic = "shift_right_arithmetic",
        /// Shift right, zeros entering; 0 where y is the width or more.
        ShiftRightLogical = "shift_right_logical",
        /// x − y; wraps around for integers.
        Subtract = "subtract",
        /// Bitwise exclusive or; logical for booleans.
        Xor = "xor",
    }
}

impl Binary {
    /// Whether the operands may change places.
    pub const fn is_commutative(self) -> bool {
        matches!(
            self,
            Self::Add
                | Self::And
                | Self::Maximum
                | Self::Minimum
                | Self::Multiply
                | Self::Or
                | Self::Xor
        )
    }
}

spelt_enum! {
    /// Which relation a comparison tests.
    ComparisonDirection {
        /// Equal.
        Eq = "EQ",
        /// Not equal; true where one is NaN.
        Ne = "NE",
        /// Greater or equal.
        Ge = "GE",
        /// Greater.
        Gt = "GT",
        /// Less or equal.
        Le = "LE",
        /// Less.
        Lt = "LT",
    }
}

spelt_enum! {
    /// How a comparison orders its operands.
    CompareType {
        /// IEEE 754 order: NaN is unordered, −0 equals +0.
        Float = "FLOAT",
        /// IEEE 754 totalOrder: −NaN < −∞ < … < −0 < +0 < … < ∞ < NaN.
        TotalOrder = "TOTALORDER",
        /// Two's complement.
        Signed = "SIGNED",
        /// Unsigned integers and booleans.
        Unsigned = "UNSIGNED",
    }
}

macro_rules! keyword_attributes {
    ($($name:ident: $expected:literal),*) => {$(
        impl AttributeField for $name {
            const EXPECTED: &'static str = $expected;

            fn to_attribute(&self) -> Attribute {
                Attribute::Keyword(self.name().to_owned())
            }

            fn from_attribute(attribute: &Attribute) -> Option<Self> {
                match attribute {
                    Attribute::Keyword(word) => Self::from_name(word),
                    _ => None,
                }
            }
        }
    )*};
}

keyword_attributes! {
    ComparisonDirection: "EQ, NE, GE, GT, LE or LT",
    CompareType: "FLOAT, TOTALORDER, SIGNED or UNSIGNED"
}
