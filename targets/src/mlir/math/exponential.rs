//! eˣ and what is made of it.

use super::coefficients::{EXP_F32, EXP_F64, LN2_F32, LN2_F64};
use super::float::Float;
use crate::mlir::{Builder, Value};
use std::f64::consts::LOG2_E;

/// x = n ln 2 + r with |r| ≤ ln 2 / 2 and integer n.
pub(super) struct Reduced<'c> {
    pub n: Value<'c>,
    pub r: Value<'c>,
}

/// Splits off the power of two. `x` is held in the range where eˣ is neither zero nor infinite before.
pub(super) fn reduce<'c>(m: &Float<'c>, x: Value<'c>) -> Reduced<'c> {
    let [high, low] = m.pick(LN2_F32, LN2_F64);
    let (number, n) = m.nearest(x, LOG2_E);
    let r = m.fma(number, m.c(-high), x);
    let r = m.fma(number, m.c(-low), r);
    Reduced { n, r }
}

/// eʳ − 1 for |r| ≤ ln 2 / 2.
pub(super) fn expm1_of_rest<'c>(m: &Float<'c>, r: Value<'c>) -> Value<'c> {
    let q = m.polynomial(m.pick(&EXP_F32[..], &EXP_F64[..]), r);
    m.fma(m.mul(r, r), q, r)
}

/// x · 2ⁿ in two steps, so that neither power of two leaves the range and a subnormal result is rounded once.
pub(super) fn scale<'c>(m: &Float<'c>, x: Value<'c>, n: Value<'c>) -> Value<'c> {
    let half = m.integer("arith.shrsi", n, m.int(1));
    let rest = m.integer("arith.subi", n, half);
    m.mul(m.mul(x, m.power_of_two(half)), m.power_of_two(rest))
}

/// eˣ.
pub fn exp<'c>(b: &Builder<'c>, x: Value<'c>) -> Value<'c> {
    let m = Float::of(b, x);
    // At the bounds the result is 0 and ∞ already. Zero is chosen, not computed: processors take a hundred times as
    // long for a product that underflows, and a mask of attention is −∞ for half of all elements.
    let vanishes = m.lt(x, m.c(m.pick(-104.0, -746.0)));
    let held = m.select(vanishes, m.c(0.0), x);
    let held = m.at_most(held, m.pick(89.0, 710.0));
    let Reduced { n, r } = reduce(&m, held);
    let p = m.add(expm1_of_rest(&m, r), m.c(1.0));
    m.select(vanishes, m.c(0.0), scale(&m, p, n))
}

/// eˣ − 1 = 2 (t (eʳ − 1) + (t − ½)) with t = 2ⁿ⁻¹: half the power of two, which is still finite where the result is.
pub fn expm1<'c>(b: &Builder<'c>, x: Value<'c>) -> Value<'c> {
    let m = Float::of(b, x);
    // At the bounds the result is −1 and ∞ already.
    let held = m.at_least(x, m.pick(-20.0, -40.0));
    let held = m.at_most(held, m.pick(89.0, 710.0));
    let Reduced { n, r } = reduce(&m, held);
    let p = expm1_of_rest(&m, r);
    let t = m.power_of_two(m.integer("arith.subi", n, m.int(1)));
    let half = m.fma(t, p, m.sub(t, m.c(0.5)));
    let far = m.add(half, half);
    let near = m.select(m.is_zero(n), p, far);
    // Where x² is lost anyway: keeps the sign of zero and every bit of a subnormal number.
    let tiny = m.lt(m.abs(x), m.c(m.pick(2f64.powi(-30), 2f64.powi(-60))));
    m.select(tiny, x, near)
}

/// tanh x = t / (t + 2) with t = e^2|x| − 1.
pub fn tanh<'c>(b: &Builder<'c>, x: Value<'c>) -> Value<'c> {
    let m = Float::of(b, x);
    let size = m.at_most(m.abs(x), m.pick(10.0, 20.0));
    let t = expm1(b, m.add(size, size));
    let y = m.div(t, m.add(t, m.c(2.0)));
    m.with_sign(y, x)
}

/// 1 / (1 + e⁻ˣ), by e^−|x|, which is never infinite.
pub fn logistic<'c>(b: &Builder<'c>, x: Value<'c>) -> Value<'c> {
    let m = Float::of(b, x);
    let e = exp(b, m.neg(m.abs(x)));
    let numerator = m.select(m.ge(x, m.c(0.0)), m.c(1.0), e);
    m.div(numerator, m.add(e, m.c(1.0)))
}
