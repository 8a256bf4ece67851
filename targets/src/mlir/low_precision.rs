//! The formats of `tessera-numerics` in instructions: codes of numbers, numbers of codes, random bits.
//!
//! Each function has the bits of the one of the same name there, whose documentation says where they come from. Codes are
//! `i32`, numbers `f32`. Nothing here may be fused, and numbers below the least normal f32 count.

use super::{Builder, FloatPredicate, IntegerPredicate, Value};
use tessera_numerics::philox::{KEY_INCREMENTS, MULTIPLIERS, ROUNDS};
use tessera_numerics::{ElementFormat, ScaleFormat};

/// The fields of an element format.
struct Layout {
    mantissa_bits: i64,
    bias: i64,
    /// The code of the largest finite number.
    largest: i64,
    /// The code that NaN becomes.
    nan: i64,
    sign: i64,
}

impl Layout {
    fn of(format: ElementFormat) -> Self {
        // 2^(1 − bias) is the least normal number, whose f32 exponent field is 128 − bias.
        let field = i64::from(format.least_normal().to_bits() >> 23);
        Self {
            mantissa_bits: format.mantissa_bits().into(),
            bias: 128 - field,
            largest: format.encode(format.largest()).into(),
            nan: format.encode(f32::NAN).into(),
            sign: format.sign_bit().into(),
        }
    }
}

/// `i32` arithmetic on values and constants.
struct Words<'b, 'c>(&'b Builder<'c>);

impl<'c> Words<'_, 'c> {
    fn c(&self, value: i64) -> Value<'c> {
        self.0.constant_integer(self.0.integer(32), value)
    }

    fn with(&self, name: &str, x: Value<'c>, y: i64) -> Value<'c> {
        self.0.binary(name, x, self.c(y))
    }

    fn bits(&self, x: Value<'c>) -> Value<'c> {
        self.0.bitcast(x, self.0.integer(32))
    }

    fn float(&self, bits: Value<'c>) -> Value<'c> {
        self.0.bitcast(bits, self.0.f32())
    }

    /// 2 to the power of `exponent` − 127, where that is normal.
    fn power_of_field(&self, field: Value<'c>) -> Value<'c> {
        self.float(self.with("arith.shli", field, 23))
    }
}

/// How a number becomes one of the two codes next to it.
#[derive(Clone, Copy)]
pub enum Encoding<'c> {
    /// The nearest; of two equally near the one with an even mantissa.
    Nearest,
    /// By eight random bits, an `i32` in 0 … 255.
    Stochastic(Value<'c>),
}

/// The code of a number.
pub fn encode<'c>(
    b: &Builder<'c>,
    format: ElementFormat,
    value: Value<'c>,
    encoding: Encoding<'c>,
) -> Value<'c> {
    let layout = Layout::of(format);
    let w = Words(b);
    let bits = w.bits(value);
    let absolute = w.with("arith.andi", bits, 0x7fff_ffff);
    let is_nan = compare(b, IntegerPredicate::Ugt, absolute, 0x7f80_0000);
    // Magnitudes are in the order of their bits, ∞ included.
    let largest = w.c(format.largest().to_bits().into());
    let bounded = b.binary("arith.minui", absolute, largest);
    let (steps, field) = match encoding {
        Encoding::Nearest => {
            let field = step_field(b, &layout, bounded);
            let steps = steps(b, &layout, w.float(bounded), field);
            (b.unary("math.roundeven", steps), field)
        }
        Encoding::Stochastic(random) => {
            let field = step_field(b, &layout, bounded);
            let step = w.power_of_field(w.with("arith.subi", field, layout.mantissa_bits));
            let random = b.cast("arith.uitofp", random, b.f32());
            let uniform = b.binary("arith.mulf", random, b.constant_float(b.f32(), 1.0 / 256.0));
            let part = b.binary("arith.mulf", uniform, step);
            let moved = b.binary("arith.addf", w.float(bounded), part);
            let field = step_field(b, &layout, w.bits(moved));
            let steps = steps(b, &layout, moved, field);
            (b.unary("math.floor", steps), field)
        }
    };
    let steps = b.cast("arith.fptosi", steps, b.integer(32));
    let binade = w.with("arith.subi", field, 128 - layout.bias);
    let shifted = w.with("arith.shli", binade, layout.mantissa_bits);
    let code = b.binary("arith.addi", shifted, steps);
    let code = b.binary("arith.minui", code, w.c(layout.largest));
    let shift = 31 - i64::from(layout.sign.ilog2());
    let sign = w.with(
        "arith.andi",
        w.with("arith.shrui", bits, shift),
        layout.sign,
    );
    b.select(is_nan, w.c(layout.nan), b.binary("arith.ori", code, sign))
}

/// The f32 exponent field of a magnitude's binade, or of the least normal number's.
fn step_field<'c>(b: &Builder<'c>, layout: &Layout, magnitude: Value<'c>) -> Value<'c> {
    let w = Words(b);
    let field = w.with("arith.shrui", magnitude, 23);
    b.binary("arith.maxui", field, w.c(128 - layout.bias))
}

/// A magnitude in units of the distance of the format's numbers in that binade: exact.
fn steps<'c>(
    b: &Builder<'c>,
    layout: &Layout,
    magnitude: Value<'c>,
    field: Value<'c>,
) -> Value<'c> {
    let w = Words(b);
    // 2^(mantissa bits − (field − 127)).
    let inverse = b.binary("arith.subi", w.c(254 + layout.mantissa_bits), field);
    b.binary("arith.mulf", magnitude, w.power_of_field(inverse))
}

/// The number of a code, which has no bits above the format's.
pub fn decode<'c>(b: &Builder<'c>, format: ElementFormat, code: Value<'c>) -> Value<'c> {
    let layout = Layout::of(format);
    let w = Words(b);
    let magnitude = w.with("arith.andi", code, layout.sign - 1);
    let shift = 31 - i64::from(layout.sign.ilog2());
    let sign = w.with("arith.shli", w.with("arith.andi", code, layout.sign), shift);
    // The code's exponent as an f32's, subnormal numbers included; then the difference of the biases, exact.
    let small = w.with("arith.shli", magnitude, 23 - layout.mantissa_bits);
    let factor = f64::from(127 - layout.bias as i32).exp2();
    let number = b.binary(
        "arith.mulf",
        w.float(small),
        b.constant_float(b.f32(), factor),
    );
    let number = match format {
        ElementFormat::E2m1 | ElementFormat::E2m3 | ElementFormat::E3m2 => number,
        ElementFormat::E4m3 => {
            let is_nan = compare(b, IntegerPredicate::Ugt, magnitude, layout.largest);
            b.select(is_nan, w.float(w.c(0x7fc0_0000)), number)
        }
        ElementFormat::E5m2 => {
            let is_infinite = compare(b, IntegerPredicate::Ugt, magnitude, layout.largest);
            let is_nan = compare(b, IntegerPredicate::Ugt, magnitude, layout.largest + 1);
            let number = b.select(is_infinite, w.float(w.c(0x7f80_0000)), number);
            b.select(is_nan, w.float(w.c(0x7fc0_0000)), number)
        }
    };
    w.float(b.binary("arith.ori", w.bits(number), sign))
}

/// The number of a block scale's code.
pub fn decode_scale<'c>(b: &Builder<'c>, format: ScaleFormat, code: Value<'c>) -> Value<'c> {
    let w = Words(b);
    match format {
        ScaleFormat::E4m3 => decode(b, ElementFormat::E4m3, w.with("arith.andi", code, 0x7f)),
        ScaleFormat::E8m0 => {
            let power = w.power_of_field(code);
            let is_least = compare(b, IntegerPredicate::Eq, code, 0);
            let is_nan = compare(b, IntegerPredicate::Eq, code, 0xff);
            // 2^−127 is half of the least normal number.
            let power = b.select(is_least, w.float(w.c(0x0040_0000)), power);
            b.select(is_nan, w.float(w.c(0x7fc0_0000)), power)
        }
    }
}

/// The E4M3 code of one of the two scales next to a non-negative number, chosen by a random word.
pub fn encode_e4m3_scale_stochastic<'c>(
    b: &Builder<'c>,
    value: Value<'c>,
    random: Value<'c>,
) -> Value<'c> {
    let w = Words(b);
    let nearest = encode(b, ElementFormat::E4m3, value, Encoding::Nearest);
    let decoded = |code| decode_scale(b, ScaleFormat::E4m3, code);
    let one_if = |condition| b.cast("arith.extui", condition, b.integer(32));
    let is_above = b.compare_floats(FloatPredicate::Ogt, decoded(nearest), value);
    let below = b.binary("arith.subi", nearest, one_if(is_above));
    let low = decoded(below);
    let high = decoded(w.with("arith.addi", below, 1));
    let [part, distance] = [value, high].map(|x| b.binary("arith.subf", x, low));
    let part = b.binary("arith.divf", part, distance);
    let random = b.cast("arith.uitofp", w.with("arith.shrui", random, 8), b.f32());
    let unit = b.constant_float(b.f32(), (-24f64).exp2());
    let uniform = b.binary("arith.mulf", random, unit);
    let is_upper = b.compare_floats(FloatPredicate::Olt, uniform, part);
    let chosen = b.binary("arith.addi", below, one_if(is_upper));
    // What is no less than the largest saturates; NaN is less than nothing.
    let largest = b.constant_float(b.f32(), ElementFormat::E4m3.largest().into());
    let is_less = b.compare_floats(FloatPredicate::Olt, value, largest);
    b.select(is_less, chosen, nearest)
}

/// The E8M0 code of an exponent; beyond ±127 the nearest.
pub fn encode_e8m0<'c>(b: &Builder<'c>, exponent: Value<'c>) -> Value<'c> {
    let w = Words(b);
    let bounded = b.binary("arith.maxsi", exponent, w.c(-127));
    let bounded = b.binary("arith.minsi", bounded, w.c(127));
    w.with("arith.addi", bounded, 127)
}

/// The E8M0 code of the least power of two not below a magnitude, which is not NaN.
pub fn encode_e8m0_up<'c>(b: &Builder<'c>, magnitude: Value<'c>) -> Value<'c> {
    let w = Words(b);
    let bits = w.with("arith.andi", w.bits(magnitude), 0x7fff_ffff);
    let field = w.with("arith.shrui", bits, 23);
    let mantissa = w.with("arith.andi", bits, 0x7f_ffff);
    let is_tiny = compare(b, IntegerPredicate::Eq, field, 0);
    let half = b.select(is_tiny, w.c(0x40_0000), w.c(0));
    let above = b.compare_integers(IntegerPredicate::Ugt, mantissa, half);
    let above = b.cast("arith.extui", above, b.integer(32));
    let exponent = b.binary("arith.addi", w.with("arith.subi", field, 127), above);
    encode_e8m0(b, exponent)
}

/// The exponent of a magnitude's binade; −127 below f32's normal numbers.
pub fn exponent<'c>(b: &Builder<'c>, magnitude: Value<'c>) -> Value<'c> {
    let w = Words(b);
    let field = w.with("arith.shrui", w.bits(magnitude), 23);
    w.with("arith.subi", field, 127)
}

/// Whether a number is NaN.
pub fn is_nan<'c>(b: &Builder<'c>, x: Value<'c>) -> Value<'c> {
    b.compare_floats(FloatPredicate::Uno, x, x)
}

fn compare<'c>(
    b: &Builder<'c>,
    predicate: IntegerPredicate,
    x: Value<'c>,
    bound: i64,
) -> Value<'c> {
    b.compare_integers(predicate, x, Words(b).c(bound))
}

/// The four words of Philox-4x32-10 for a counter and a key.
pub fn philox<'c>(b: &Builder<'c>, counter: [Value<'c>; 4], key: [u32; 2]) -> [Value<'c>; 4] {
    let w = Words(b);
    let product = |multiplier: u32, x: Value<'c>| {
        let wide = b.cast("arith.extui", x, b.i64());
        let wide = b.binary("arith.muli", wide, b.constant_i64(multiplier.into()));
        let high = b.binary("arith.shrui", wide, b.constant_i64(32));
        [high, wide].map(|half| b.cast("arith.trunci", half, b.integer(32)))
    };
    let mut counter = counter;
    for round in 0..ROUNDS as u32 {
        let [k0, k1] = [0, 1].map(|i| {
            let key = key[i].wrapping_add(KEY_INCREMENTS[i].wrapping_mul(round));
            w.c(i64::from(key.cast_signed()))
        });
        let [c0, c1, c2, c3] = counter;
        let [high0, low0] = product(MULTIPLIERS[0], c0);
        let [high1, low1] = product(MULTIPLIERS[1], c2);
        let xor = |x, y| b.binary("arith.xori", x, y);
        counter = [xor(xor(high1, c1), k0), low1, xor(xor(high0, c3), k1), low0];
    }
    counter
}
