//! ln x and what is made of it.

use super::coefficients::{LN2_EXTENDED, LN2_F32, LN2_F64, LOG_F32, LOG_F64, LOG_TAIL, TWO_THIRDS};
use super::exponential::{Reduced, expm1_of_rest, reduce, scale};
use super::float::{Float, in_f64};
use crate::mlir::{Builder, Value};
use melior::ir::ValueLike;

/// x = 2ᵉ (1 + f) with 1 + f in √½ … √2.
struct Split<'c> {
    e: Value<'c>,
    exponent: Value<'c>,
    f: Value<'c>,
}

/// Splits a positive finite number; of others, something finite.
fn split<'c>(m: &Float<'c>, x: Value<'c>) -> Split<'c> {
    let least_normal = 2f64.powi(1 - m.bias() as i32);
    let shift = m.mantissa_bits() + 1;
    let subnormal = m.lt(x, m.c(least_normal));
    let raised = m.mul(x, m.c(2f64.powi(shift as i32)));
    let x = m.select(subnormal, raised, x);
    // Counted from √½, the exponent field changes where the mantissa is to wrap around.
    let root = m.pick(
        i64::from(std::f32::consts::FRAC_1_SQRT_2.to_bits()),
        std::f64::consts::FRAC_1_SQRT_2.to_bits().cast_signed(),
    );
    let counted = m.integer("arith.subi", m.bits(x), m.int(root));
    let e = m.integer("arith.shrsi", counted, m.int(m.mantissa_bits()));
    let mask = m.int((1 << m.mantissa_bits()) - 1);
    let mantissa = m.integer("arith.andi", counted, mask);
    let mantissa = m.float_of_bits(m.integer("arith.addi", mantissa, m.int(root)));
    let lowered = m.integer("arith.subi", e, m.int(shift));
    let e = m.select(subnormal, lowered, e);
    Split {
        e,
        exponent: integer_to_float(m, e),
        f: m.sub(mantissa, m.c(1.0)),
    }
}

/// A small integer as a float. Through 32 bits: vector units lack the conversion of 64 before AVX-512.
fn integer_to_float<'c>(m: &Float<'c>, n: Value<'c>) -> Value<'c> {
    let i32 = m.b.integer(32);
    let narrow = if n.r#type() == i32 {
        n
    } else {
        m.b.cast("arith.trunci", n, i32)
    };
    m.b.cast("arith.sitofp", narrow, m.float_type())
}

/// e ln 2 + ln(1 + f) + correction, the correction being small.
fn assemble<'c>(
    m: &Float<'c>,
    exponent: Value<'c>,
    f: Value<'c>,
    correction: Value<'c>,
) -> Value<'c> {
    let [high, low] = m.pick(LN2_F32, LN2_F64);
    let z = m.mul(f, f);
    let half_z = m.mul(m.c(0.5), z);
    let small = m.fma(exponent, m.c(low), correction);
    // ln(1 + f) = f − (f²/2 − rest)
    let rest = if m.wide {
        // = f − s (f − R) with s = f/(2 + f); f²/2 in place of f − 2s keeps the bits of f.
        let s = m.div(f, m.add(f, m.c(2.0)));
        let s2 = m.mul(s, s);
        let series = m.mul(s2, m.polynomial(&LOG_F64, s2));
        m.fma(s, m.add(half_z, series), small)
    } else {
        let p = m.polynomial(&LOG_F32, f);
        m.fma(m.mul(f, z), p, small)
    };
    let tail = m.sub(half_z, rest);
    m.fma(exponent, m.c(high), m.sub(f, tail))
}

/// `y` where `x` is positive and finite, else the logarithm of 0, ∞, NaN or a negative number.
fn with_special_values<'c>(m: &Float<'c>, x: Value<'c>, y: Value<'c>) -> Value<'c> {
    let (zero, infinity) = (m.c(0.0), m.c(f64::INFINITY));
    let positive = m.gt(x, zero);
    let regular = m.both(positive, m.lt(x, infinity));
    let rest = m.select(positive, infinity, m.c(f64::NAN));
    let special = m.select(m.eq(x, zero), m.c(f64::NEG_INFINITY), rest);
    m.select(regular, y, special)
}

/// ln x.
pub fn log<'c>(b: &Builder<'c>, x: Value<'c>) -> Value<'c> {
    let m = Float::of(b, x);
    let Split { exponent, f, .. } = split(&m, x);
    let y = assemble(&m, exponent, f, m.c(0.0));
    with_special_values(&m, x, y)
}

/// ln(1 + x): the logarithm of the rounded sum u, and what rounding lost over u. Where u is about 1 it is x itself that
/// counts.
pub fn log1p<'c>(b: &Builder<'c>, x: Value<'c>) -> Value<'c> {
    let m = Float::of(b, x);
    let (u, lost) = m.two_sum(m.c(1.0), x);
    let Split { e, exponent, f } = split(&m, u);
    let near = m.is_zero(e);
    let correction = m.select(near, m.c(0.0), m.div(lost, u));
    let f = m.select(near, x, f);
    let y = with_special_values(&m, u, assemble(&m, exponent, f, correction));
    let tiny = m.lt(m.abs(x), m.c(m.pick(2f64.powi(-30), 2f64.powi(-60))));
    m.select(tiny, x, y)
}

/// ln x of a positive finite `f64` as a sum of two, the second below the first's last place: about 2⁻⁶⁴ relative.
fn extended_log<'c>(m: &Float<'c>, x: Value<'c>) -> (Value<'c>, Value<'c>) {
    let Split { exponent, f, .. } = split(m, x);
    // s = f / (2 + f)
    let (d, d_low) = m.fast_two_sum(m.c(2.0), f);
    let s = m.div(f, d);
    let remainder = m.fma(m.neg(s), d, f);
    let s_low = m.div(m.fma(m.neg(s), d_low, remainder), d);
    // z = s²
    let (z, z_error) = m.two_product(s, s);
    let z_low = m.fma(m.add(s, s), s_low, z_error);
    // w = 2/3 + z R(z)
    let series = m.mul(z, m.polynomial(&LOG_TAIL, z));
    let (w, w_error) = m.fast_two_sum(m.c(TWO_THIRDS[0]), series);
    let w_low = m.add(w_error, m.c(TWO_THIRDS[1]));
    // u = 2 + z w
    let (v, v_error) = m.two_product(z, w);
    let v_low = m.fma(z, w_low, m.fma(z_low, w, v_error));
    let (u, u_error) = m.fast_two_sum(m.c(2.0), v);
    let u_low = m.add(u_error, v_low);
    // ln(1 + f) = s u
    let (l, l_error) = m.two_product(s, u);
    let l_low = m.fma(s, u_low, m.fma(s_low, u, l_error));
    // + e ln 2; the product with the first part is exact.
    let [high, middle, low] = LN2_EXTENDED;
    let (sum, error) = m.fast_two_sum(m.mul(exponent, m.c(high)), l);
    let rest = m.fma(exponent, m.c(low), l_low);
    let rest = m.fma(exponent, m.c(middle), rest);
    m.fast_two_sum(sum, m.add(error, rest))
}

/// xʸ = e^(y ln |x|), with the sign of xʸ for integer y. The logarithm is taken in two parts for `f64`: its error is
/// multiplied by up to 745.
pub fn power<'c>(b: &Builder<'c>, x: Value<'c>, y: Value<'c>) -> Value<'c> {
    let narrow = x.r#type() == b.f32();
    in_f64(b, [x, y], |m, [x, y]| {
        let size = m.abs(x);
        let (log, log_low) = if narrow {
            (log(&m.b, size), m.c(0.0))
        } else {
            let (high, low) = extended_log(&m, size);
            (with_special_values(&m, size, high), low)
        };
        let (product, error) = m.two_product(y, log);
        let product_low = m.fma(y, log_low, error);
        // Where the result is 0 or ∞ the low part does not matter, and may be NaN.
        let regular = m.lt(m.abs(product), m.c(750.0));
        let product_low = m.select(regular, product_low, m.c(0.0));
        // 1ʸ is 1 whatever y is, ∞ and (for x = 1, below) NaN included.
        let one = m.eq(size, m.c(1.0));
        let infinite_y = m.eq(m.abs(y), m.c(f64::INFINITY));
        let product = m.select(m.both(one, infinite_y), m.c(0.0), product);

        let held = m.at_most(m.at_least(product, -746.0), 710.0);
        let Reduced { n, r } = reduce(&m, held);
        let r = m.add(r, product_low);
        let p = m.add(expm1_of_rest(&m, r), m.c(1.0));
        with_power_signs(&m, x, y, scale(&m, p, n))
    })
}

/// `size` = |x|ʸ with the sign that xʸ has, and NaN for a finite negative x with y no integer.
fn with_power_signs<'c>(m: &Float<'c>, x: Value<'c>, y: Value<'c>, size: Value<'c>) -> Value<'c> {
    let is_integer = |x| m.eq(m.b.unary("math.floor", x), x);
    let integer = is_integer(y);
    let odd = m.both(integer, m.not(is_integer(m.mul(y, m.c(0.5)))));
    let negated = m.select(m.both(m.sign_bit(x), odd), m.neg(size), size);
    let finite_negative = m.both(m.lt(x, m.c(0.0)), m.gt(x, m.c(f64::NEG_INFINITY)));
    let invalid = m.both(finite_negative, m.not(integer));
    let result = m.select(invalid, m.c(f64::NAN), negated);
    let one = m.either(m.eq(x, m.c(1.0)), m.eq(y, m.c(0.0)));
    m.select(one, m.c(1.0), result)
}
