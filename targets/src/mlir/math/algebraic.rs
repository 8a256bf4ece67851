//! Cube root and remainder.

use super::float::{Float, in_f64};
use crate::mlir::{Builder, FloatPredicate, Value};
use std::convert::Infallible;

/// ∛x: a third of the exponent, then Halley's iteration, whose error is cubed each time (5·10⁻² at first), then one
/// step of Newton's with the residue exact.
pub fn cbrt<'c>(b: &Builder<'c>, x: Value<'c>) -> Value<'c> {
    in_f64(b, [x], |m, [x]| {
        let size = m.abs(x);
        // Subnormal numbers have no exponent to divide, and three times a large one would be infinite.
        let subnormal = m.lt(size, m.c(f64::MIN_POSITIVE));
        let large = m.gt(size, m.c(2f64.powi(1000)));
        let either = |below: i32, above: i32| {
            let [below, above] = [below, above].map(|exponent| m.c(2f64.powi(exponent)));
            m.select(subnormal, below, m.select(large, above, m.c(1.0)))
        };
        let a = m.mul(size, either(54, -54));
        let i32 = b.integer(32);
        let upper = m.integer("arith.shrui", m.bits(a), m.int(32));
        let upper = b.cast("arith.trunci", upper, i32);
        let third = b.binary("arith.divui", upper, b.constant_integer(i32, 3));
        // Two thirds of the exponent's bias, less what makes the largest error of 1 + x/3 for ∛(1 + x) least.
        let guess = b.binary("arith.addi", third, b.constant_integer(i32, 715_094_163));
        let guess = b.cast("arith.extui", guess, b.i64());
        let mut t = m.float_of_bits(m.integer("arith.shli", guess, m.int(32)));
        for _ in 0..3 {
            let cube = m.mul(m.mul(t, t), t);
            let change = m.div(m.sub(cube, a), m.fma(m.c(2.0), cube, a));
            t = m.fma(m.neg(t), change, t);
        }
        let (square, lost) = m.two_product(t, t);
        let residue = m.fma(lost, t, m.fma(square, t, m.neg(a)));
        let t = m.sub(t, m.div(residue, m.mul(m.c(3.0), square)));
        let t = m.mul(t, either(-18, 18));
        let regular = m.both(m.gt(size, m.c(0.0)), m.lt(size, m.c(f64::INFINITY)));
        m.select(regular, m.with_sign(t, x), x)
    })
}

/// The remainder of x / y with the sign of x, exactly: y · 2ᵏ is subtracted, with the largest k that can be, as long as
/// what is left is not less than y. A loop; at most as many rounds as the exponents differ by.
pub fn remainder<'c>(b: &Builder<'c>, x: Value<'c>, y: Value<'c>) -> Value<'c> {
    in_f64(b, [x, y], |m, [x, y]| {
        let (size, divisor) = (m.abs(x), m.abs(y));
        let infinity = m.c(f64::INFINITY);
        let valid = m.both(m.lt(size, infinity), m.gt(divisor, m.c(0.0)));
        let start = m.select(valid, size, m.c(0.0));
        // A NaN divisor compares as nothing and is not valid.
        let step = m.select(valid, divisor, m.c(1.0));
        let exponent = binary_exponent(&m, step);
        let result: Result<_, Infallible> = m.b.while_loop(
            &mut (),
            &[start],
            |(), b, carried| Ok(b.compare_floats(FloatPredicate::Oge, carried[0], step)),
            |(), b, carried| {
                let m = Float { b, wide: true };
                let rest = carried[0];
                let k = m.integer("arith.subi", binary_exponent(&m, rest), exponent);
                let multiple = times_power_of_two(&m, step, k);
                let half = m.mul(multiple, m.c(0.5));
                let fitting = m.select(m.gt(multiple, rest), half, multiple);
                // Between half of `rest` and `rest`: the difference is exact.
                Ok(vec![m.sub(rest, fitting)])
            },
        );
        let rest = result.unwrap_or_else(|never| match never {})[0];
        m.select(valid, m.with_sign(rest, x), m.c(f64::NAN))
    })
}

/// The exponent of a positive finite number, as the bits of a normal number have it; subnormal ones go on below.
fn binary_exponent<'c>(m: &Float<'c>, x: Value<'c>) -> Value<'c> {
    let field = |x| m.integer("arith.shrui", m.bits(x), m.int(52));
    let subnormal = m.lt(x, m.c(f64::MIN_POSITIVE));
    let raised = field(m.mul(x, m.c(2f64.powi(54))));
    let lowered = m.integer("arith.subi", raised, m.int(54));
    m.select(subnormal, lowered, field(x))
}

/// x · 2ᵏ for k in 0 … 2100, in three steps that stay in range.
fn times_power_of_two<'c>(m: &Float<'c>, x: Value<'c>, k: Value<'c>) -> Value<'c> {
    let third = m.integer("arith.divui", k, m.int(3));
    let rest = m.integer("arith.subi", k, m.integer("arith.addi", third, third));
    let power = m.power_of_two(third);
    m.mul(m.mul(m.mul(x, power), power), m.power_of_two(rest))
}
