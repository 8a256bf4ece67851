//! Each elementwise op on single elements.
//!
//! In registers, integers are signless integers of their width and booleans `i1`; `f16` and `bf16` are held as `f32`
//! whose value the narrow type can represent. So each op on them is computed in `f32` and rounded once, to nearest,
//! ties to even; NaN stays NaN, subnormal numbers are kept. In memory, a boolean is a byte and a `bf16` sixteen bits:
//! LLVM's own conversion to `bf16` flushes subnormals where the processor has an instruction for it.

use super::{Builder, FloatPredicate, IntegerPredicate, Value, math};
use melior::ir::{Type, ValueLike};
use tessera_ir::{Binary, CompareType, ComparisonDirection, ElementType, Unary};

/// The type that an element has in a register.
pub fn register_type<'c>(b: &Builder<'c>, element: ElementType) -> Type<'c> {
    match element {
        ElementType::F16 | ElementType::Bf16 | ElementType::F32 => b.f32(),
        ElementType::F64 => b.f64(),
        _ => b.integer(element.bits() as u32),
    }
}

/// The type that an element has in memory.
pub fn memory_type<'c>(b: &Builder<'c>, element: ElementType) -> Type<'c> {
    match element {
        ElementType::I1 => b.integer(8),
        ElementType::Bf16 => b.integer(16),
        ElementType::F16 => b.f16(),
        _ => register_type(b, element),
    }
}

/// The type that an accumulator has in memory: that of the register, but a byte for a boolean.
pub fn accumulator_memory_type<'c>(b: &Builder<'c>, element: ElementType) -> Type<'c> {
    match element {
        ElementType::I1 => b.integer(8),
        _ => register_type(b, element),
    }
}

/// A value read with [`accumulator_memory_type`], in a register.
pub fn from_accumulator_memory<'c>(
    b: &Builder<'c>,
    stored: Value<'c>,
    element: ElementType,
) -> Value<'c> {
    match element {
        ElementType::I1 => b.cast("arith.trunci", stored, b.integer(1)),
        _ => stored,
    }
}

/// A value to be written with [`accumulator_memory_type`].
pub fn to_accumulator_memory<'c>(b: &Builder<'c>, x: Value<'c>, element: ElementType) -> Value<'c> {
    match element {
        ElementType::I1 => b.cast("arith.extui", x, b.integer(8)),
        _ => x,
    }
}

/// Reads an element.
pub fn load<'c>(b: &Builder<'c>, address: Value<'c>, element: ElementType) -> Value<'c> {
    let stored = b.load(address, memory_type(b, element));
    match element {
        ElementType::I1 => {
            let zero = b.constant_integer(b.integer(8), 0);
            b.compare_integers(IntegerPredicate::Ne, stored, zero)
        }
        ElementType::Bf16 => bf16_bits_to_f32(b, stored),
        ElementType::F16 => b.cast("arith.extf", stored, b.f32()),
        _ => stored,
    }
}

/// Writes an element.
pub fn store<'c>(b: &Builder<'c>, x: Value<'c>, address: Value<'c>, element: ElementType) {
    b.store(to_memory(b, x, element), address);
}

fn to_memory<'c>(b: &Builder<'c>, x: Value<'c>, element: ElementType) -> Value<'c> {
    match element {
        ElementType::I1 => b.cast("arith.extui", x, b.integer(8)),
        ElementType::Bf16 => {
            let bits = b.bitcast(x, b.integer(32));
            let sixteen = b.constant_integer(b.integer(32), 16);
            let upper = b.binary("arith.shrui", bits, sixteen);
            b.cast("arith.trunci", upper, b.integer(16))
        }
        ElementType::F16 => b.cast("arith.truncf", x, b.f16()),
        _ => x,
    }
}

fn bf16_bits_to_f32<'c>(b: &Builder<'c>, bits: Value<'c>) -> Value<'c> {
    let wide = b.cast("arith.extui", bits, b.integer(32));
    let sixteen = b.constant_integer(b.integer(32), 16);
    let shifted = b.binary("arith.shli", wide, sixteen);
    b.bitcast(shifted, b.f32())
}

/// The element whose value is `number`, rounded where the type needs it.
pub fn constant_number<'c>(b: &Builder<'c>, element: ElementType, number: f64) -> Value<'c> {
    let t = register_type(b, element);
    if element.is_float() {
        b.constant_float(t, number)
    } else {
        b.constant_integer(t, number as i64)
    }
}

/// The element whose bytes are `bytes`, as a tensor holds them.
pub fn constant_bytes<'c>(b: &Builder<'c>, element: ElementType, bytes: &[u8]) -> Value<'c> {
    let mut wide = [0; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    let bits = i64::from_le_bytes(wide);
    let t = register_type(b, element);
    match element {
        ElementType::F16 => {
            let bits = b.constant_integer(b.integer(16), bits);
            let narrow = b.bitcast(bits, b.f16());
            b.cast("arith.extf", narrow, t)
        }
        ElementType::Bf16 => {
            let value = f32::from_bits((bits as u32) << 16);
            constant_f32(b, value)
        }
        ElementType::F32 => constant_f32(b, f32::from_bits(bits as u32)),
        ElementType::F64 => {
            let value = f64::from_bits(bits.cast_unsigned());
            if value.is_finite() {
                b.constant_float(t, value)
            } else {
                let bits = b.constant_integer(b.integer(64), bits);
                b.bitcast(bits, t)
            }
        }
        _ => b.constant_integer(t, sign_extended(bits, element)),
    }
}

/// A constant by its bits where it is not finite, so that the sign and payload of NaN are kept.
fn constant_f32<'c>(b: &Builder<'c>, value: f32) -> Value<'c> {
    if value.is_finite() {
        b.constant_float(b.f32(), value.into())
    } else {
        let bits = b.constant_integer(b.integer(32), i64::from(value.to_bits().cast_signed()));
        b.bitcast(bits, b.f32())
    }
}

fn sign_extended(bits: i64, element: ElementType) -> i64 {
    let unused = 64 - element.bits();
    bits << unused >> unused
}

/// Rounds an `f32` to what the element type can represent.
fn round<'c>(b: &Builder<'c>, x: Value<'c>, element: ElementType) -> Value<'c> {
    match element {
        ElementType::F16 => {
            let narrow = b.cast("arith.truncf", x, b.f16());
            b.cast("arith.extf", narrow, b.f32())
        }
        ElementType::Bf16 => round_to_bf16(b, x),
        _ => x,
    }
}

fn round_to_bf16<'c>(b: &Builder<'c>, x: Value<'c>) -> Value<'c> {
    let i32 = b.integer(32);
    let c = |value| b.constant_integer(i32, value);
    let bits = b.bitcast(x, i32);
    let upper = b.binary("arith.shrui", bits, c(16));
    let odd = b.binary("arith.andi", upper, c(1));
    let bias = b.binary("arith.addi", odd, c(0x7fff));
    let rounded = b.binary("arith.addi", bits, bias);
    // A NaN keeps its sign, becomes quiet, and does not lose its last mantissa bit.
    let quiet = b.binary("arith.ori", bits, c(0x0040_0000));
    let nan = b.compare_floats(FloatPredicate::Uno, x, x);
    let chosen = b.select(nan, quiet, rounded);
    let cleared = b.binary("arith.andi", chosen, c(-0x1_0000));
    b.bitcast(cleared, b.f32())
}

/// Rounds an `f64` to `f32` such that rounding the result again, to a type with fewer than 23 mantissa bits, gives what
/// rounding the `f64` once gives: an inexact result gets an odd last bit ("round to odd").
fn round_to_odd_f32<'c>(b: &Builder<'c>, x: Value<'c>) -> Value<'c> {
    let i32 = b.integer(32);
    let c = |value| b.constant_integer(i32, value);
    let nearest = b.cast("arith.truncf", x, b.f32());
    let back = b.cast("arith.extf", nearest, b.f64());
    let inexact = b.compare_floats(FloatPredicate::Une, back, x);
    let (size, back_size) = (b.unary("math.absf", x), b.unary("math.absf", back));
    let away = b.compare_floats(FloatPredicate::Ogt, back_size, size);
    let bits = b.bitcast(nearest, i32);
    let toward_zero = b.select(away, b.binary("arith.subi", bits, c(1)), bits);
    let odd = b.binary("arith.ori", toward_zero, c(1));
    let nan = b.compare_floats(FloatPredicate::Uno, x, x);
    let exact = b.binary("arith.ori", nan, not(b, inexact));
    let chosen = b.select(exact, bits, odd);
    b.bitcast(chosen, b.f32())
}

fn not<'c>(b: &Builder<'c>, x: Value<'c>) -> Value<'c> {
    let ones = b.constant_integer(x.r#type(), -1);
    b.binary("arith.xori", x, ones)
}

/// A function of one element.
pub fn unary<'c>(
    b: &Builder<'c>,
    function: Unary,
    element: ElementType,
    x: Value<'c>,
) -> Value<'c> {
    let t = x.r#type();
    let zero = || constant_number(b, element, 0.0);
    let rounded = |y| round(b, y, element);
    match function {
        Unary::Abs if element.is_float() => b.unary("math.absf", x),
        Unary::Abs => {
            let negative = b.compare_integers(IntegerPredicate::Slt, x, zero());
            b.select(negative, b.binary("arith.subi", zero(), x), x)
        }
        Unary::Cbrt => rounded(math::cbrt(b, x)),
        Unary::Ceil => b.unary("math.ceil", x),
        Unary::Cosine => rounded(math::cosine(b, x)),
        Unary::CountLeadingZeros => b.unary("math.ctlz", x),
        Unary::Erf => rounded(math::erf(b, x)),
        Unary::Erfc => rounded(math::erfc(b, x)),
        Unary::ErfInv => rounded(math::erf_inv(b, x)),
        Unary::Exponential => rounded(math::exp(b, x)),
        Unary::ExponentialMinusOne => rounded(math::expm1(b, x)),
        Unary::Floor => b.unary("math.floor", x),
        Unary::IsFinite => {
            let infinity = b.constant_float(t, f64::INFINITY);
            b.compare_floats(FloatPredicate::Olt, b.unary("math.absf", x), infinity)
        }
        Unary::Log => rounded(math::log(b, x)),
        Unary::LogPlusOne => rounded(math::log1p(b, x)),
        Unary::Logistic => rounded(math::logistic(b, x)),
        Unary::Negate if element.is_float() => b.unary("arith.negf", x),
        Unary::Negate => b.binary("arith.subi", zero(), x),
        Unary::Not => not(b, x),
        Unary::Popcnt => b.unary("math.ctpop", x),
        Unary::RoundNearestAfz => round_half_away(b, x),
        Unary::RoundNearestEven => b.unary("math.roundeven", x),
        Unary::Rsqrt => {
            let one = constant_number(b, element, 1.0);
            rounded(b.binary("arith.divf", one, b.unary("math.sqrt", x)))
        }
        Unary::Sign if element.is_float() => {
            let one = constant_number(b, element, 1.0);
            let signed = b.binary("math.copysign", one, x);
            let size = b.unary("math.absf", x);
            // Zeros and NaN are their own sign.
            let nonzero = b.compare_floats(FloatPredicate::Ogt, size, zero());
            b.select(nonzero, signed, x)
        }
        Unary::Sign => {
            let c = |value| b.constant_integer(t, value);
            let negative = b.compare_integers(IntegerPredicate::Slt, x, c(0));
            let positive = b.compare_integers(IntegerPredicate::Sgt, x, c(0));
            b.select(negative, c(-1), b.select(positive, c(1), c(0)))
        }
        Unary::Sine => rounded(math::sine(b, x)),
        Unary::Sqrt => rounded(b.unary("math.sqrt", x)),
        Unary::Tan => rounded(math::tan(b, x)),
        Unary::Tanh => rounded(math::tanh(b, x)),
    }
}

/// To the nearest integer, halves away from zero. The distance to the truncated number is exact.
fn round_half_away<'c>(b: &Builder<'c>, x: Value<'c>) -> Value<'c> {
    let t = x.r#type();
    let truncated = b.unary("math.trunc", x);
    let distance = b.unary("math.absf", b.binary("arith.subf", x, truncated));
    let one = b.binary("math.copysign", b.constant_float(t, 1.0), x);
    let away = b.binary("arith.addf", truncated, one);
    let half = b.constant_float(t, 0.5);
    let far = b.compare_floats(FloatPredicate::Oge, distance, half);
    b.select(far, away, truncated)
}

/// A function of two elements of one type.
pub fn binary<'c>(
    b: &Builder<'c>,
    function: Binary,
    element: ElementType,
    x: Value<'c>,
    y: Value<'c>,
) -> Value<'c> {
    let class = Class::of(element);
    let rounded = |name| round(b, b.binary(name, x, y), element);
    match (function, class) {
        (Binary::Add, Class::Float) => rounded("arith.addf"),
        (Binary::Add | Binary::Maximum | Binary::Or, Class::Boolean) => b.binary("arith.ori", x, y),
        (Binary::Add, _) => b.binary("arith.addi", x, y),
        (Binary::And, _) => b.binary("arith.andi", x, y),
        (Binary::Multiply | Binary::Minimum, Class::Boolean) => b.binary("arith.andi", x, y),
        (Binary::Multiply, Class::Float) => rounded("arith.mulf"),
        (Binary::Multiply, _) => b.binary("arith.muli", x, y),
        (Binary::Subtract, Class::Float) => rounded("arith.subf"),
        (Binary::Subtract, _) => b.binary("arith.subi", x, y),
        (Binary::Divide, Class::Float) => rounded("arith.divf"),
        (Binary::Divide | Binary::Remainder, Class::Signed) => divide_signed(b, function, x, y),
        (Binary::Divide | Binary::Remainder, _) if class != Class::Float => {
            divide_unsigned(b, function, x, y)
        }
        (Binary::Remainder, _) => math::remainder(b, x, y),
        (Binary::Maximum, Class::Float) => b.binary("arith.maximumf", x, y),
        (Binary::Maximum, Class::Signed) => b.binary("arith.maxsi", x, y),
        (Binary::Maximum, _) => b.binary("arith.maxui", x, y),
        (Binary::Minimum, Class::Float) => b.binary("arith.minimumf", x, y),
        (Binary::Minimum, Class::Signed) => b.binary("arith.minsi", x, y),
        (Binary::Minimum, _) => b.binary("arith.minui", x, y),
        (Binary::Or, _) => b.binary("arith.ori", x, y),
        (Binary::Xor, _) => b.binary("arith.xori", x, y),
        (Binary::Atan2, _) => round(b, math::atan2(b, x, y), element),
        (Binary::Power, Class::Float) => round(b, math::power(b, x, y), element),
        (Binary::Power, _) => integer_power(b, class, x, y),
        (Binary::ShiftLeft | Binary::ShiftRightLogical | Binary::ShiftRightArithmetic, _) => {
            shift(b, function, element, x, y)
        }
        (Binary::Divide, _) => divide_unsigned(b, function, x, y),
    }
}

/// The neutral element of an associative and commutative function, or `None` for other functions.
pub fn neutral<'c>(b: &Builder<'c>, function: Binary, element: ElementType) -> Option<Value<'c>> {
    let t = register_type(b, element);
    let class = Class::of(element);
    let integer = |value: i64| Some(b.constant_integer(t, value));
    let float = |value: f64| Some(b.constant_float(t, value));
    let least = || -1 << (element.bits() - 1);
    match (function, class) {
        // x + −0 is x, −0 included.
        (Binary::Add, Class::Float) => float(-0.0),
        (Binary::Multiply, Class::Float) => float(1.0),
        (Binary::Maximum, Class::Float) => float(f64::NEG_INFINITY),
        (Binary::Minimum, Class::Float) => float(f64::INFINITY),
        (Binary::Maximum, Class::Signed) => integer(least()),
        (Binary::Minimum, Class::Signed) => integer(!least()),
        (Binary::Add | Binary::Or | Binary::Xor | Binary::Maximum, _) => integer(0),
        (Binary::Multiply, Class::Signed | Class::Unsigned) => integer(1),
        (Binary::Multiply | Binary::And | Binary::Minimum, _) => integer(-1),
        (
            Binary::Atan2
            | Binary::Divide
            | Binary::Power
            | Binary::Remainder
            | Binary::ShiftLeft
            | Binary::ShiftRightArithmetic
            | Binary::ShiftRightLogical
            | Binary::Subtract,
            _,
        ) => None,
    }
}

/// `x y + sum` of an accumulator's type, rounded once.
pub fn multiply_add<'c>(
    b: &Builder<'c>,
    accumulator: ElementType,
    x: Value<'c>,
    y: Value<'c>,
    sum: Value<'c>,
) -> Value<'c> {
    match accumulator {
        accumulator if accumulator.is_float() => {
            b.value("math.fma", &[x, y, sum], register_type(b, accumulator), &[])
        }
        ElementType::I1 => b.binary("arith.ori", sum, b.binary("arith.andi", x, y)),
        _ => b.binary("arith.addi", sum, b.binary("arith.muli", x, y)),
    }
}

/// A step of a reduction: as [`binary`], but sums of narrow floats are kept in `f32` and rounded at the end.
pub fn accumulate<'c>(
    b: &Builder<'c>,
    function: Binary,
    element: ElementType,
    accumulator: Value<'c>,
    x: Value<'c>,
) -> Value<'c> {
    match function {
        Binary::Add if element.is_float() => b.binary("arith.addf", accumulator, x),
        _ => binary(b, function, element, accumulator, x),
    }
}

/// What decides which operation an op is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Boolean,
    Signed,
    Unsigned,
    Float,
}

impl Class {
    fn of(element: ElementType) -> Self {
        if element.is_float() {
            Self::Float
        } else if element.is_signed_integer() {
            Self::Signed
        } else if element.is_unsigned_integer() {
            Self::Unsigned
        } else {
            Self::Boolean
        }
    }
}

/// Division by zero gives −1 and leaves everything as remainder; the least number by −1 is itself.
fn divide_signed<'c>(b: &Builder<'c>, function: Binary, x: Value<'c>, y: Value<'c>) -> Value<'c> {
    let c = |value| b.constant_integer(x.r#type(), value);
    let zero = b.compare_integers(IntegerPredicate::Eq, y, c(0));
    let minus_one = b.compare_integers(IntegerPredicate::Eq, y, c(-1));
    let trapping = b.binary("arith.ori", zero, minus_one);
    let safe = b.select(trapping, c(1), y);
    let (name, by_minus_one, by_zero) = match function {
        Binary::Divide => ("arith.divsi", b.binary("arith.subi", c(0), x), c(-1)),
        _ => ("arith.remsi", c(0), x),
    };
    let divided = b.binary(name, x, safe);
    b.select(zero, by_zero, b.select(minus_one, by_minus_one, divided))
}

/// Division by zero gives the greatest number and leaves everything as remainder.
fn divide_unsigned<'c>(b: &Builder<'c>, function: Binary, x: Value<'c>, y: Value<'c>) -> Value<'c> {
    let c = |value| b.constant_integer(x.r#type(), value);
    let zero = b.compare_integers(IntegerPredicate::Eq, y, c(0));
    let safe = b.select(zero, c(1), y);
    let (name, by_zero) = match function {
        Binary::Divide => ("arith.divui", c(-1)),
        _ => ("arith.remui", x),
    };
    b.select(zero, by_zero, b.binary(name, x, safe))
}

/// Shifts by the width or more leave zeros, or copies of the sign. Negative amounts are such.
fn shift<'c>(
    b: &Builder<'c>,
    function: Binary,
    element: ElementType,
    x: Value<'c>,
    y: Value<'c>,
) -> Value<'c> {
    let c = |value| b.constant_integer(x.r#type(), value);
    let last = c(element.bits() as i64 - 1);
    let inside = b.compare_integers(IntegerPredicate::Ule, y, last);
    let name = match function {
        Binary::ShiftLeft => "arith.shli",
        Binary::ShiftRightLogical => "arith.shrui",
        _ => return b.binary("arith.shrsi", x, b.select(inside, y, last)),
    };
    // Widths are powers of two. A select for the amount too would be dropped as superfluous, and LLVM's NVPTX back end
    // then takes the lower 32 bits of an amount of 64 for it.
    let amount = b.binary("arith.andi", y, last);
    b.select(inside, b.binary(name, x, amount), c(0))
}

/// By squaring; wraps around. A negative exponent asks for 1/xⁿ, which is an integer for 1 and −1 only and 0 otherwise.
fn integer_power<'c>(b: &Builder<'c>, class: Class, x: Value<'c>, y: Value<'c>) -> Value<'c> {
    let t = x.r#type();
    let c = |value| b.constant_integer(t, value);
    let power = b
        .while_loop::<_, std::convert::Infallible>(
            &mut (),
            &[c(1), x, y],
            |(), b, carried| {
                let zero = b.constant_integer(t, 0);
                Ok(b.compare_integers(IntegerPredicate::Ne, carried[2], zero))
            },
            |(), b, carried| {
                let one = b.constant_integer(t, 1);
                let bit = b.binary("arith.andi", carried[2], one);
                let set = b.compare_integers(IntegerPredicate::Ne, bit, b.constant_integer(t, 0));
                let product = b.binary("arith.muli", carried[0], carried[1]);
                Ok(vec![
                    b.select(set, product, carried[0]),
                    b.binary("arith.muli", carried[1], carried[1]),
                    b.binary("arith.shrui", carried[2], one),
                ])
            },
        )
        .unwrap_or_else(|never| match never {})[0];
    if class != Class::Signed {
        return power;
    }
    let odd = b.binary("arith.andi", y, c(1));
    let is_odd = b.compare_integers(IntegerPredicate::Ne, odd, c(0));
    let is = |value| b.compare_integers(IntegerPredicate::Eq, x, c(value));
    let unit = b.select(is(-1), b.select(is_odd, c(-1), c(1)), c(0));
    let reciprocal = b.select(is(1), c(1), unit);
    let negative = b.compare_integers(IntegerPredicate::Slt, y, c(0));
    b.select(negative, reciprocal, power)
}

/// Whether a relation holds.
pub fn compare<'c>(
    b: &Builder<'c>,
    direction: ComparisonDirection,
    compare_type: CompareType,
    element: ElementType,
    x: Value<'c>,
    y: Value<'c>,
) -> Value<'c> {
    use ComparisonDirection as D;
    let signed = |x, y| {
        let predicate = match direction {
            D::Eq => IntegerPredicate::Eq,
            D::Ne => IntegerPredicate::Ne,
            D::Ge => IntegerPredicate::Sge,
            D::Gt => IntegerPredicate::Sgt,
            D::Le => IntegerPredicate::Sle,
            D::Lt => IntegerPredicate::Slt,
        };
        b.compare_integers(predicate, x, y)
    };
    match compare_type {
        CompareType::Signed => signed(x, y),
        CompareType::TotalOrder => signed(total_order(b, x), total_order(b, y)),
        CompareType::Unsigned => {
            let predicate = match direction {
                D::Eq => IntegerPredicate::Eq,
                D::Ne => IntegerPredicate::Ne,
                D::Ge => IntegerPredicate::Uge,
                D::Gt => IntegerPredicate::Ugt,
                D::Le => IntegerPredicate::Ule,
                D::Lt => IntegerPredicate::Ult,
            };
            b.compare_integers(predicate, x, y)
        }
        CompareType::Float => {
            debug_assert!(element.is_float());
            let predicate = match direction {
                D::Eq => FloatPredicate::Oeq,
                D::Ne => FloatPredicate::Une,
                D::Ge => FloatPredicate::Oge,
                D::Gt => FloatPredicate::Ogt,
                D::Le => FloatPredicate::Ole,
                D::Lt => FloatPredicate::Olt,
            };
            b.compare_floats(predicate, x, y)
        }
    }
}

/// A signed integer that orders as IEEE 754's totalOrder does: the bits, all but the sign inverted where that is set.
fn total_order<'c>(b: &Builder<'c>, x: Value<'c>) -> Value<'c> {
    let width = if x.r#type() == b.f32() { 32 } else { 64 };
    let t = b.integer(width);
    let bits = b.bitcast(x, t);
    let sign = b.binary(
        "arith.shrsi",
        bits,
        b.constant_integer(t, i64::from(width) - 1),
    );
    let mask = b.binary("arith.shrui", sign, b.constant_integer(t, 1));
    b.binary("arith.xori", bits, mask)
}

/// `x` held between `lower` and `upper`: min(max(x, lower), upper).
pub fn clamp<'c>(
    b: &Builder<'c>,
    element: ElementType,
    lower: Value<'c>,
    x: Value<'c>,
    upper: Value<'c>,
) -> Value<'c> {
    let raised = binary(b, Binary::Maximum, element, x, lower);
    binary(b, Binary::Minimum, element, raised, upper)
}

/// The same number in another element type. A float becomes the integer toward zero, the nearest the type has where
/// that is out of range, 0 where it is NaN; a boolean is whether a number is not zero.
pub fn convert<'c>(b: &Builder<'c>, from: ElementType, to: ElementType, x: Value<'c>) -> Value<'c> {
    if from == to {
        return x;
    }
    let t = register_type(b, to);
    match (Class::of(from), Class::of(to)) {
        (Class::Float, Class::Float) => convert_float(b, from, to, x),
        (Class::Float, Class::Boolean) => {
            let zero = b.constant_float(x.r#type(), 0.0);
            b.compare_floats(FloatPredicate::Une, x, zero)
        }
        (Class::Float, Class::Signed) => b.intrinsic("llvm.fptosi.sat", &[x], t),
        (Class::Float, Class::Unsigned) => b.intrinsic("llvm.fptoui.sat", &[x], t),
        (_, Class::Boolean) => {
            let zero = b.constant_integer(x.r#type(), 0);
            b.compare_integers(IntegerPredicate::Ne, x, zero)
        }
        (_, Class::Float) => integer_to_float(b, from, to, x),
        (_, Class::Signed | Class::Unsigned) if to.bits() < from.bits() => {
            b.cast("arith.trunci", x, t)
        }
        (_, Class::Signed | Class::Unsigned) if to.bits() == from.bits() => x,
        (Class::Signed, _) => b.cast("arith.extsi", x, t),
        (Class::Boolean | Class::Unsigned, _) => b.cast("arith.extui", x, t),
    }
}

fn convert_float<'c>(
    b: &Builder<'c>,
    from: ElementType,
    to: ElementType,
    x: Value<'c>,
) -> Value<'c> {
    match (from, to) {
        (ElementType::F64, ElementType::F32) => b.cast("arith.truncf", x, b.f32()),
        (ElementType::F64, _) => round(b, round_to_odd_f32(b, x), to),
        (_, ElementType::F64) => b.cast("arith.extf", x, b.f64()),
        (_, _) => round(b, x, to),
    }
}

fn integer_to_float<'c>(
    b: &Builder<'c>,
    from: ElementType,
    to: ElementType,
    x: Value<'c>,
) -> Value<'c> {
    let name = if from.is_signed_integer() {
        "arith.sitofp"
    } else {
        "arith.uitofp"
    };
    match to {
        ElementType::F32 | ElementType::F64 => b.cast(name, x, register_type(b, to)),
        // Exact in f32: one rounding.
        _ if from.bits() <= 16 => round(b, b.cast(name, x, b.f32()), to),
        _ => {
            let wide = if from.bits() < 64 {
                b.cast(name, x, b.f64())
            } else {
                integer_to_odd_f64(b, from, x)
            };
            round(b, round_to_odd_f32(b, wide), to)
        }
    }
}

/// A 64-bit integer as `f64`, rounded to odd: what has more than 53 bits loses eleven, and the last one left says
/// whether any of them was set.
fn integer_to_odd_f64<'c>(b: &Builder<'c>, from: ElementType, x: Value<'c>) -> Value<'c> {
    let c = |value| b.constant_i64(value);
    let (name, shift, size) = if from.is_signed_integer() {
        let negative = b.compare_integers(IntegerPredicate::Slt, x, c(0));
        let size = b.select(negative, b.binary("arith.subi", c(0), x), x);
        ("arith.sitofp", "arith.shrsi", size)
    } else {
        ("arith.uitofp", "arith.shrui", x)
    };
    let lost = b.binary("arith.andi", x, c(0x7ff));
    let sticky = b.compare_integers(IntegerPredicate::Ne, lost, c(0));
    let sticky = b.cast("arith.extui", sticky, b.i64());
    let shifted = b.binary("arith.ori", b.binary(shift, x, c(11)), sticky);
    let scaled = b.binary(
        "arith.mulf",
        b.cast(name, shifted, b.f64()),
        b.constant_float(b.f64(), 2048.0),
    );
    let small = b.compare_integers(IntegerPredicate::Ult, size, c(1 << 53));
    b.select(small, b.cast(name, x, b.f64()), scaled)
}

/// The bits of an element as an integer of its width in memory; a boolean as a byte.
pub fn to_bits<'c>(b: &Builder<'c>, element: ElementType, x: Value<'c>) -> Value<'c> {
    let stored = to_memory(b, x, element);
    b.bitcast(stored, b.integer(8 * element.size() as u32))
}

/// The element that has these bits.
pub fn from_bits<'c>(b: &Builder<'c>, element: ElementType, bits: Value<'c>) -> Value<'c> {
    match element {
        ElementType::I1 => b.cast("arith.trunci", bits, b.integer(1)),
        ElementType::Bf16 => bf16_bits_to_f32(b, bits),
        ElementType::F16 => {
            let narrow = b.bitcast(bits, b.f16());
            b.cast("arith.extf", narrow, b.f32())
        }
        _ => b.bitcast(bits, register_type(b, element)),
    }
}
