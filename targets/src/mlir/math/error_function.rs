//! The error function, its complement and its inverse.

use super::coefficients::{
    ERF_INV_CENTRE, ERF_INV_MIDDLE, ERF_INV_TAIL, ERF_LARGE_F32, ERF_SMALL_F32, ERF_SMALL_F64, ERFC,
};
use super::exponential::exp;
use super::float::{Float, in_f64};
use super::logarithm::log;
use crate::mlir::{Builder, Value};

/// erf x: a polynomial up to 1, 1 − erfc x beyond.
pub fn erf<'c>(b: &Builder<'c>, x: Value<'c>) -> Value<'c> {
    let m = Float::of(b, x);
    let size = m.abs(x);
    let far = if m.wide {
        m.sub(m.c(1.0), erfc_from_half(&m, size))
    } else {
        let u = m.sub(m.at_most(size, 4.0), m.c(2.5));
        let exponent = m.polynomial(&ERF_LARGE_F32, u);
        m.sub(m.c(1.0), exp(b, m.neg(exponent)))
    };
    let near = erf_near(&m, x);
    m.select(m.lt(size, m.c(1.0)), near, m.with_sign(far, x))
}

/// erf x for |x| ≤ 1.
fn erf_near<'c>(m: &Float<'c>, x: Value<'c>) -> Value<'c> {
    let z = m.mul(x, x);
    let p = m.polynomial(m.pick(&ERF_SMALL_F32[..], &ERF_SMALL_F64[..]), z);
    m.fma(x, p, x)
}

/// erfc x for x ≥ ½ in `f64`: e^−x² over 1 + 2x times a polynomial. What rounding x² lost is made good.
fn erfc_from_half<'c>(m: &Float<'c>, x: Value<'c>) -> Value<'c> {
    let x = m.at_most(x, 28.0);
    let (square, lost) = m.two_product(x, x);
    let e = exp(&m.b, m.neg(square));
    let e = m.fma(m.neg(e), lost, e);
    let t = m.div(m.sub(x, m.c(4.0)), m.add(x, m.c(4.0)));
    let ratio = m.div(m.polynomial(&ERFC, t), m.fma(m.c(2.0), x, m.c(1.0)));
    m.mul(e, ratio)
}

/// erfc x = 1 − erf x.
pub fn erfc<'c>(b: &Builder<'c>, x: Value<'c>) -> Value<'c> {
    in_f64(b, [x], |m, [x]| {
        let size = m.abs(x);
        let tail = erfc_from_half(&m, size);
        let reflected = m.sub(m.c(2.0), tail);
        let far = m.select(m.lt(x, m.c(0.0)), reflected, tail);
        let near = m.sub(m.c(1.0), erf_near(&m, x));
        m.select(m.lt(size, m.c(0.5)), near, far)
    })
}

/// erf⁻¹ x = x times a polynomial in w = −ln(1 − x²), or in √w where that is large.
pub fn erf_inv<'c>(b: &Builder<'c>, x: Value<'c>) -> Value<'c> {
    in_f64(b, [x], |m, [x]| {
        let one = m.c(1.0);
        let w = m.neg(log(&m.b, m.mul(m.sub(one, x), m.add(one, x))));
        let root = m.b.unary("math.sqrt", w);
        let centre = m.polynomial(&ERF_INV_CENTRE, m.sub(w, m.c(3.125)));
        let middle = m.polynomial(&ERF_INV_MIDDLE, m.sub(root, m.c(3.25)));
        let tail = m.polynomial(&ERF_INV_TAIL, m.sub(root, m.c(5.0)));
        let far = m.select(m.lt(root, m.c(4.0)), middle, tail);
        let ratio = m.select(m.lt(w, m.c(6.25)), centre, far);
        let y = m.mul(x, ratio);
        let bound = m.eq(m.abs(x), one);
        m.select(bound, m.with_sign(m.c(f64::INFINITY), x), y)
    })
}
