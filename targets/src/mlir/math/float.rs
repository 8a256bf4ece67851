//! Float arithmetic in one width.

use crate::mlir::{Builder, FloatPredicate, IntegerPredicate, Value};
use melior::ir::{Type, ValueLike};

/// Appends arithmetic on `f32` or on `f64`.
#[derive(Clone, Copy)]
pub(super) struct Float<'c> {
    pub b: Builder<'c>,
    pub wide: bool,
}

impl<'c> Float<'c> {
    /// Arithmetic in the type of `x`.
    pub fn of(b: &Builder<'c>, x: Value<'c>) -> Self {
        Self {
            b: *b,
            wide: x.r#type() == b.f64(),
        }
    }

    /// The constant for this width.
    pub fn pick<T>(&self, narrow: T, wide: T) -> T {
        if self.wide { wide } else { narrow }
    }

    pub fn float_type(&self) -> Type<'c> {
        self.pick(self.b.f32(), self.b.f64())
    }

    /// The integer type of the same width.
    pub fn bits_type(&self) -> Type<'c> {
        self.b.integer(self.pick(32, 64))
    }

    /// Bits of the mantissa without the leading one.
    pub fn mantissa_bits(&self) -> i64 {
        self.pick(23, 52)
    }

    /// The exponent of 1.
    pub fn bias(&self) -> i64 {
        self.pick(127, 1023)
    }

    pub fn c(&self, value: f64) -> Value<'c> {
        self.b.constant_float(self.float_type(), value)
    }

    pub fn int(&self, value: i64) -> Value<'c> {
        self.b.constant_integer(self.bits_type(), value)
    }

    pub fn add(&self, x: Value<'c>, y: Value<'c>) -> Value<'c> {
        self.b.binary("arith.addf", x, y)
    }

    pub fn sub(&self, x: Value<'c>, y: Value<'c>) -> Value<'c> {
        self.b.binary("arith.subf", x, y)
    }

    pub fn mul(&self, x: Value<'c>, y: Value<'c>) -> Value<'c> {
        self.b.binary("arith.mulf", x, y)
    }

    pub fn div(&self, x: Value<'c>, y: Value<'c>) -> Value<'c> {
        self.b.binary("arith.divf", x, y)
    }

    /// x · y + z, rounded once.
    pub fn fma(&self, x: Value<'c>, y: Value<'c>, z: Value<'c>) -> Value<'c> {
        self.b.value("math.fma", &[x, y, z], x.r#type(), &[])
    }

    pub fn neg(&self, x: Value<'c>) -> Value<'c> {
        self.b.unary("arith.negf", x)
    }

    pub fn abs(&self, x: Value<'c>) -> Value<'c> {
        self.b.unary("math.absf", x)
    }

    /// The size of `x` with the sign of `sign`.
    pub fn with_sign(&self, x: Value<'c>, sign: Value<'c>) -> Value<'c> {
        if !self.wide {
            return self.b.binary("math.copysign", x, sign);
        }
        // Of a copysign that is rounded to f16, LLVM rounds the sign's operand too, by a function of a library where x86
        // lacks AVX512-FP16.
        let size = self.abs(x);
        self.select(self.sign_bit(sign), self.neg(size), size)
    }

    pub fn select(&self, condition: Value<'c>, x: Value<'c>, y: Value<'c>) -> Value<'c> {
        self.b.select(condition, x, y)
    }

    pub fn lt(&self, x: Value<'c>, y: Value<'c>) -> Value<'c> {
        self.b.compare_floats(FloatPredicate::Olt, x, y)
    }

    pub fn gt(&self, x: Value<'c>, y: Value<'c>) -> Value<'c> {
        self.b.compare_floats(FloatPredicate::Ogt, x, y)
    }

    pub fn ge(&self, x: Value<'c>, y: Value<'c>) -> Value<'c> {
        self.b.compare_floats(FloatPredicate::Oge, x, y)
    }

    pub fn eq(&self, x: Value<'c>, y: Value<'c>) -> Value<'c> {
        self.b.compare_floats(FloatPredicate::Oeq, x, y)
    }

    pub fn is_nan(&self, x: Value<'c>) -> Value<'c> {
        self.b.compare_floats(FloatPredicate::Uno, x, x)
    }

    pub fn both(&self, x: Value<'c>, y: Value<'c>) -> Value<'c> {
        self.b.binary("arith.andi", x, y)
    }

    pub fn either(&self, x: Value<'c>, y: Value<'c>) -> Value<'c> {
        self.b.binary("arith.ori", x, y)
    }

    pub fn not(&self, x: Value<'c>) -> Value<'c> {
        self.b.binary("arith.xori", x, self.b.constant_bool(true))
    }

    /// `x`, no less than `lower`; NaN stays.
    pub fn at_least(&self, x: Value<'c>, lower: f64) -> Value<'c> {
        let lower = self.c(lower);
        self.select(self.lt(x, lower), lower, x)
    }

    /// `x`, no more than `upper`; NaN stays.
    pub fn at_most(&self, x: Value<'c>, upper: f64) -> Value<'c> {
        let upper = self.c(upper);
        self.select(self.gt(x, upper), upper, x)
    }

    /// Σ coefficients[i] xⁱ.
    pub fn polynomial(&self, coefficients: &[f64], x: Value<'c>) -> Value<'c> {
        let (last, rest) = coefficients
            .split_last()
            .expect("a polynomial has coefficients");
        (rest.iter().rev()).fold(self.c(*last), |sum, &c| self.fma(sum, x, self.c(c)))
    }

    pub fn bits(&self, x: Value<'c>) -> Value<'c> {
        self.b.bitcast(x, self.bits_type())
    }

    pub fn float_of_bits(&self, bits: Value<'c>) -> Value<'c> {
        self.b.bitcast(bits, self.float_type())
    }

    /// An operation on integers.
    pub fn integer(&self, name: &str, x: Value<'c>, y: Value<'c>) -> Value<'c> {
        self.b.binary(name, x, y)
    }

    pub fn is_zero(&self, x: Value<'c>) -> Value<'c> {
        let zero = self.b.constant_integer(x.r#type(), 0);
        self.b.compare_integers(IntegerPredicate::Eq, x, zero)
    }

    /// Whether the sign bit is set, that of zeros and NaN too.
    pub fn sign_bit(&self, x: Value<'c>) -> Value<'c> {
        let bits = self.bits(x);
        self.b
            .compare_integers(IntegerPredicate::Slt, bits, self.int(0))
    }

    /// 2ⁿ for an integer n whose power is a normal number.
    pub fn power_of_two(&self, n: Value<'c>) -> Value<'c> {
        let exponent = self.integer("arith.addi", n, self.int(self.bias()));
        let bits = self.integer("arith.shli", exponent, self.int(self.mantissa_bits()));
        self.float_of_bits(bits)
    }

    /// The nearest integer to `x · factor`, as a float and as an integer, where it is less than 2²² (2⁵¹) in size. The
    /// sum with 1.5 · 2²³ (2⁵²) has the integer in its last bits. NaN becomes some integer.
    pub fn nearest(&self, x: Value<'c>, factor: f64) -> (Value<'c>, Value<'c>) {
        let shifter = 1.5 * 2f64.powi(self.mantissa_bits() as i32);
        let shifted = self.fma(x, self.c(factor), self.c(shifter));
        let number = self.sub(shifted, self.c(shifter));
        let shifter_bits = self.bits(self.c(shifter));
        let integer = self.integer("arith.subi", self.bits(shifted), shifter_bits);
        (number, integer)
    }

    /// x + y as rounded sum and what rounding lost.
    pub fn two_sum(&self, x: Value<'c>, y: Value<'c>) -> (Value<'c>, Value<'c>) {
        let sum = self.add(x, y);
        let y_part = self.sub(sum, x);
        let x_error = self.sub(x, self.sub(sum, y_part));
        (sum, self.add(x_error, self.sub(y, y_part)))
    }

    /// The same where x is not smaller than y in size, or is 0.
    pub fn fast_two_sum(&self, x: Value<'c>, y: Value<'c>) -> (Value<'c>, Value<'c>) {
        let sum = self.add(x, y);
        (sum, self.sub(y, self.sub(sum, x)))
    }

    /// x · y as rounded product and what rounding lost.
    pub fn two_product(&self, x: Value<'c>, y: Value<'c>) -> (Value<'c>, Value<'c>) {
        let product = self.mul(x, y);
        (product, self.fma(x, y, self.neg(product)))
    }
}

/// A function of `f64` applied to `f32` (or to `f64` as it is).
pub(super) fn in_f64<'c, const N: usize>(
    b: &Builder<'c>,
    arguments: [Value<'c>; N],
    function: impl FnOnce(Float<'c>, [Value<'c>; N]) -> Value<'c>,
) -> Value<'c> {
    let float = Float { b: *b, wide: true };
    if arguments[0].r#type() == b.f64() {
        return function(float, arguments);
    }
    let wide = arguments.map(|x| b.cast("arith.extf", x, b.f64()));
    b.cast("arith.truncf", function(float, wide), b.f32())
}
