//! Sine, cosine, tangent, and the angle of a point.

use super::coefficients::{
    ATAN, COS_F32, COS_F64, HALF_PI_25, HALF_PI_33, QUARTER_PI, SIN_F32, SIN_F64, TWO_OVER_PI,
    TWO_OVER_PI_BITS,
};
use super::float::{Float, in_f64};
use crate::mlir::{Builder, IntegerPredicate, Value};
use melior::ir::ValueLike;
use std::convert::Infallible;
use std::f64::consts::{FRAC_PI_2, PI};

/// An angle as `quadrant` · π/2 + `r` + `low`, |r| ≤ π/4 (a little more where it was rounded), in `f64`.
struct Angle<'c> {
    quadrant: Value<'c>,
    r: Value<'c>,
    low: Option<Value<'c>>,
}

/// sin x.
pub fn sine<'c>(b: &Builder<'c>, x: Value<'c>) -> Value<'c> {
    trigonometric(b, x, |m, angle| {
        let (sine, cosine) = sine_and_cosine(m, angle);
        quarter_turns(m, angle.quadrant, sine, cosine)
    })
}

/// cos x = sin(x + π/2).
pub fn cosine<'c>(b: &Builder<'c>, x: Value<'c>) -> Value<'c> {
    trigonometric(b, x, |m, angle| {
        let (sine, cosine) = sine_and_cosine(m, angle);
        let quadrant = m.integer("arith.addi", angle.quadrant, m.int(1));
        quarter_turns(m, quadrant, sine, cosine)
    })
}

/// tan x = sin x / cos x.
pub fn tan<'c>(b: &Builder<'c>, x: Value<'c>) -> Value<'c> {
    trigonometric(b, x, |m, angle| {
        let (sine, cosine) = sine_and_cosine(m, angle);
        let odd = is_set(m, angle.quadrant, 1);
        let numerator = m.select(odd, m.neg(cosine), sine);
        m.div(numerator, m.select(odd, sine, cosine))
    })
}

/// Reduces `x`, computes in `f64`, and makes infinities NaN and tiny numbers (for which sin x and tan x are x) exact.
fn trigonometric<'c>(
    b: &Builder<'c>,
    x: Value<'c>,
    function: impl FnOnce(&Float<'c>, &Angle<'c>) -> Value<'c>,
) -> Value<'c> {
    let narrow = x.r#type() == b.f32();
    let m = Float { b: *b, wide: true };
    let angle = if narrow {
        reduce_f32(&m, x)
    } else {
        reduce_f64(&m, x)
    };
    let y = function(&m, &angle);
    let m = Float::of(b, x);
    let y = if narrow {
        b.cast("arith.truncf", y, b.f32())
    } else {
        y
    };
    let finite = m.lt(m.abs(x), m.c(f64::INFINITY));
    m.select(finite, y, m.c(f64::NAN))
}

fn is_set<'c>(m: &Float<'c>, quadrant: Value<'c>, bit: i64) -> Value<'c> {
    m.not(m.is_zero(m.integer("arith.andi", quadrant, m.int(bit))))
}

/// The sine after that many quarter turns.
fn quarter_turns<'c>(
    m: &Float<'c>,
    quadrant: Value<'c>,
    sine: Value<'c>,
    cosine: Value<'c>,
) -> Value<'c> {
    let y = m.select(is_set(m, quadrant, 1), cosine, sine);
    m.select(is_set(m, quadrant, 2), m.neg(y), y)
}

/// sin and cos of r + low.
fn sine_and_cosine<'c>(m: &Float<'c>, angle: &Angle<'c>) -> (Value<'c>, Value<'c>) {
    let r = angle.r;
    let z = m.mul(r, r);
    let half_z = m.mul(m.c(0.5), z);
    let w = m.sub(m.c(1.0), half_z);
    let Some(low) = angle.low else {
        let sine = m.fma(m.mul(r, z), m.polynomial(&SIN_F32, z), r);
        let cosine = m.fma(m.mul(z, z), m.polynomial(&COS_F32, z), w);
        return (sine, cosine);
    };
    // sin(r + l) = sin r + l cos r; the part of zero is its sign alone.
    let small = m.fma(m.mul(r, z), m.polynomial(&SIN_F64, z), m.mul(low, w));
    let sine = m.add(r, small);
    let sine = m.select(m.eq(r, m.c(0.0)), r, sine);
    // cos(r + l) = cos r − l sin r; what rounding 1 − z/2 lost is made good.
    let lost = m.sub(m.sub(m.c(1.0), w), half_z);
    let small = m.fma(m.mul(z, z), m.polynomial(&COS_F64, z), m.neg(m.mul(low, r)));
    (sine, m.add(w, m.add(lost, small)))
}

/// Up to 2²⁷ by subtracting a multiple of π/2 whose parts have exact products; beyond by 192 places of 2/π.
fn reduce_f32<'c>(m: &Float<'c>, x: Value<'c>) -> Angle<'c> {
    let wide = m.b.cast("arith.extf", x, m.b.f64());
    let (number, quadrant) = m.nearest(wide, TWO_OVER_PI);
    let r = HALF_PI_25
        .iter()
        .fold(wide, |r, &part| m.fma(number, m.c(-part), r));
    let (far_quadrant, far_r) = reduce_far_f32(m, x);
    let near = m.lt(m.abs(wide), m.c(2f64.powi(27)));
    Angle {
        quadrant: m.select(near, quadrant, far_quadrant),
        r: m.select(near, r, far_r),
        low: None,
    }
}

/// Payne and Hanek's reduction. |x| is M 2ᴱ with a 24-bit M; the binary places of 2/π from place E − 2 on, times M, are
/// |x| · 2/π modulo 4: what stands before adds multiples of 4. The product's upper two bits are the quadrant, the other
/// 62 the fraction.
fn reduce_far_f32<'c>(m: &Float<'c>, x: Value<'c>) -> (Value<'c>, Value<'c>) {
    let b = &m.b;
    let narrow = Float { b: *b, wide: false };
    let and = |x, mask: i64| m.integer("arith.andi", x, m.int(mask));
    let shift = |name: &str, x, amount| m.integer(name, x, amount);
    let bits = b.cast("arith.extui", narrow.bits(narrow.abs(x)), b.i64());
    let mantissa = m.integer("arith.ori", and(bits, 0x7f_ffff), m.int(0x80_0000));
    let exponent = shift("arith.shrui", bits, m.int(23));
    // The exponent field of M 2ᴱ is E + 150. For |x| ≥ 2²⁷, the place is in 2 … 102; for others it does not matter.
    let place = and(m.integer("arith.subi", exponent, m.int(152)), 127);
    let second = m.not(m.is_zero(and(place, 64)));
    let amount = and(place, 63);
    let complement = m.integer("arith.subi", m.int(63), amount);
    let word = |i: usize| m.int(TWO_OVER_PI_BITS[i].cast_signed());
    let [w0, w1, w2] = [0, 1, 2].map(|i| m.select(second, word(i + 1), word(i)));
    // (upper · 2⁶⁴ + lower) >> (64 − amount), without a shift by 64.
    let funnel = |upper, lower| {
        let kept = shift("arith.shli", upper, amount);
        let entering = shift(
            "arith.shrui",
            shift("arith.shrui", lower, m.int(1)),
            complement,
        );
        m.integer("arith.ori", kept, entering)
    };
    let upper = funnel(w0, w1);
    let lower = shift("arith.shrui", funnel(w1, w2), m.int(32));
    let carried = shift(
        "arith.shrui",
        m.integer("arith.muli", mantissa, lower),
        m.int(32),
    );
    let product = m.integer(
        "arith.addi",
        m.integer("arith.muli", mantissa, upper),
        carried,
    );
    let (quadrant, fraction) = nearest_quadrant(m, product);
    let scale = m.c(FRAC_PI_2 * 2f64.powi(-62));
    let r = m.mul(b.cast("arith.sitofp", fraction, b.f64()), scale);
    let negative = narrow.sign_bit(x);
    let negated = m.integer("arith.subi", m.int(0), quadrant);
    (
        m.select(negative, negated, quadrant),
        m.select(negative, m.neg(r), r),
    )
}

/// Splits quarter turns, 62 places after the point, into the nearest integer and the signed rest.
fn nearest_quadrant<'c>(m: &Float<'c>, turns: Value<'c>) -> (Value<'c>, Value<'c>) {
    let half = m.integer("arith.addi", turns, m.int(1 << 61));
    let quadrant = m.integer("arith.shrui", half, m.int(62));
    let whole = m.integer("arith.shli", quadrant, m.int(62));
    (quadrant, m.integer("arith.subi", turns, whole))
}

/// Up to 2²⁰ by subtracting a multiple of π/2 whose parts have exact products, all rounding errors kept; beyond, in a
/// branch, by as many places of 2/π as it takes.
fn reduce_f64<'c>(m: &Float<'c>, x: Value<'c>) -> Angle<'c> {
    let near = m.lt(m.abs(x), m.c(2f64.powi(20)));
    let result: Result<_, Infallible> = m.b.if_else(
        &mut (),
        near,
        &[m.b.i64(), m.b.f64(), m.b.f64()],
        |(), b| Ok(reduce_near_f64(&Float { b, wide: true }, x)),
        |(), b| Ok(reduce_far_f64(&Float { b, wide: true }, x)),
    );
    let values = result.unwrap_or_else(|never| match never {});
    Angle {
        quadrant: values[0],
        r: values[1],
        low: Some(values[2]),
    }
}

fn reduce_near_f64<'c>(m: &Float<'c>, x: Value<'c>) -> Vec<Value<'c>> {
    let (number, quadrant) = m.nearest(x, TWO_OVER_PI);
    let [p1, p2, p3, p4] = HALF_PI_33;
    let r = m.fma(number, m.c(-p1), x);
    let (r, e2) = m.two_sum(r, m.mul(number, m.c(-p2)));
    let (r, e3) = m.two_sum(r, m.mul(number, m.c(-p3)));
    let low = m.fma(number, m.c(-p4), m.add(e2, e3));
    let (r, low) = m.fast_two_sum(r, low);
    vec![quadrant, r, low]
}

/// Payne and Hanek's reduction with a 53-bit M and 192 places of 2/π, in 128-bit products.
fn reduce_far_f64<'c>(m: &Float<'c>, x: Value<'c>) -> Vec<Value<'c>> {
    let b = &m.b;
    let i128 = b.integer(128);
    let bits = m.bits(m.abs(x));
    let mask = m.int((1 << 52) - 1);
    let mantissa = m.integer("arith.andi", bits, mask);
    let mantissa = m.integer("arith.ori", mantissa, m.int(1 << 52));
    let exponent = m.integer("arith.shrui", bits, m.int(52));
    // |x| = M 2ᴱ with E = field − 1075; the first place of 2/π that matters is E − 2. Negative ones are zeros.
    let place = m.integer("arith.subi", exponent, m.int(1075 + 2 - 64));
    let index = m.integer("arith.shrui", place, m.int(6));
    let amount = m.integer("arith.andi", place, m.int(63));
    let word = |offset: i64| {
        // Word −1 is the zeros before the point.
        let words = [0].iter().chain(&TWO_OVER_PI_BITS).enumerate();
        words.fold(m.int(0), |chosen, (i, &bits)| {
            let wanted = m.int(i as i64 - offset);
            let here = b.compare_integers(IntegerPredicate::Eq, index, wanted);
            m.select(here, m.int(bits.cast_signed()), chosen)
        })
    };
    let words = [0, 1, 2, 3].map(word);
    let complement = m.integer("arith.subi", m.int(63), amount);
    let window = [0, 1, 2].map(|i| {
        let kept = m.integer("arith.shli", words[i], amount);
        let lower = m.integer("arith.shrui", words[i + 1], m.int(1));
        let entering = m.integer("arith.shrui", lower, complement);
        m.integer("arith.ori", kept, entering)
    });
    // The upper 128 bits of M · window modulo 2¹⁹², in quarter turns with 126 places.
    let wide = |x| b.cast("arith.extui", x, i128);
    let c = |value| b.constant_integer(i128, value);
    let times = |w| b.binary("arith.muli", wide(mantissa), wide(w));
    let high = b.binary("arith.shli", times(window[0]), c(64));
    let low = b.binary("arith.shrui", times(window[2]), c(64));
    let turns = b.binary(
        "arith.addi",
        b.binary("arith.addi", high, times(window[1])),
        low,
    );
    // Nearest integer and signed rest.
    let half = b.binary("arith.addi", turns, b.binary("arith.shli", c(1), c(125)));
    let quadrant = b.binary("arith.shrui", half, c(126));
    let rest = b.binary(
        "arith.subi",
        turns,
        b.binary("arith.shli", quadrant, c(126)),
    );
    let quadrant = b.cast("arith.trunci", quadrant, b.i64());
    let (r, low) = fraction_to_angle(m, rest);
    let negative = m.sign_bit(x);
    vec![
        m.select(
            negative,
            m.integer("arith.subi", m.int(0), quadrant),
            quadrant,
        ),
        m.select(negative, m.neg(r), r),
        m.select(negative, m.neg(low), low),
    ]
}

/// A signed number of quarter turns with 126 places, |x| ≤ ½, as an angle in two parts.
fn fraction_to_angle<'c>(m: &Float<'c>, rest: Value<'c>) -> (Value<'c>, Value<'c>) {
    let b = &m.b;
    let i128 = b.integer(128);
    let c = |value| b.constant_integer(i128, value);
    let sign = b.compare_integers(IntegerPredicate::Slt, rest, c(0));
    let size = b.select(sign, b.binary("arith.subi", c(0), rest), rest);
    // Leading zeros go, so that the first 53 bits and the next 53 hold what there is.
    let zeros = b.unary("math.ctlz", size);
    let shifted = b.binary("arith.shli", size, zeros);
    let part = |name: &str, amount: i64, width: i64| {
        let moved = b.binary(name, shifted, c(amount));
        let low = b.cast("arith.trunci", moved, b.i64());
        let kept = m.integer("arith.andi", low, m.int((1 << width) - 1));
        b.cast("arith.sitofp", kept, b.f64())
    };
    let high = part("arith.shrui", 75, 53);
    let low = part("arith.shrui", 22, 53);
    // size = (high 2⁷⁵ + low 2²²) 2^−zeros, in units of 2⁻¹²⁶. All zeros: 2⁻¹²⁸ of nothing.
    let zeros = b.cast("arith.trunci", zeros, b.i64());
    let exponent = m.integer("arith.subi", m.int(75 - 126), zeros);
    let scale = m.power_of_two(exponent);
    let high = m.mul(high, scale);
    let low = m.mul(low, m.mul(scale, m.c(2f64.powi(-53))));
    // times π/2
    let (product, error) = m.two_product(high, m.c(FRAC_PI_2));
    let half_pi_low = 2.0 * QUARTER_PI[1];
    let small = m.fma(high, m.c(half_pi_low), m.fma(low, m.c(FRAC_PI_2), error));
    let (r, low) = m.fast_two_sum(product, small);
    (m.select(sign, m.neg(r), r), m.select(sign, m.neg(low), low))
}

/// The angle of the point (x, y): that of the octant's point with coordinates 0 ≤ min ≤ max, turned and reflected.
pub fn atan2<'c>(b: &Builder<'c>, y: Value<'c>, x: Value<'c>) -> Value<'c> {
    in_f64(b, [y, x], |m, [y, x]| {
        let (ax, ay) = (m.abs(x), m.abs(y));
        let steep = m.gt(ay, ax);
        let (large, small) = (m.select(steep, ay, ax), m.select(steep, ax, ay));
        let ratio = m.div(small, large);
        // 0/0 is 0 here, ∞/∞ is 1.
        let ratio = m.select(m.eq(large, m.c(0.0)), m.c(0.0), ratio);
        let ratio = m.select(m.eq(small, m.c(f64::INFINITY)), m.c(1.0), ratio);
        // From tan(π/8) on: atan t = π/4 + atan((t − 1)/(t + 1)).
        let turned = m.gt(ratio, m.c(0.414_213_562_373_095_03));
        let one = m.c(1.0);
        let rotated = m.div(m.sub(ratio, one), m.add(ratio, one));
        let u = m.select(turned, rotated, ratio);
        let z = m.mul(u, u);
        let cubic = m.mul(m.mul(u, z), m.polynomial(&ATAN, z));
        let far = m.add(
            m.c(QUARTER_PI[0]),
            m.add(m.add(cubic, m.c(QUARTER_PI[1])), u),
        );
        let octant = m.select(turned, far, m.add(u, cubic));

        let half_pi_low = 2.0 * QUARTER_PI[1];
        let complement = m.add(m.sub(m.c(FRAC_PI_2), octant), m.c(half_pi_low));
        let quadrant = m.select(steep, complement, octant);
        let supplement = m.add(m.sub(m.c(PI), quadrant), m.c(2.0 * half_pi_low));
        let half_plane = m.select(m.sign_bit(x), supplement, quadrant);
        let angle = m.with_sign(half_plane, y);
        let nan = m.either(m.is_nan(x), m.is_nan(y));
        m.select(nan, m.c(f64::NAN), angle)
    })
}
