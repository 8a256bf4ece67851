//! Functions that the mathematics library lacks.

use std::f64::consts::PI;

/// 1 / (1 + e⁻ˣ), by the side on which the exponential is at most 1, so that it neither overflows nor loses digits.
pub(super) fn logistic(x: f64) -> f64 {
    let decay = libm::exp(-x.abs());
    if x < 0.0 {
        decay / (1.0 + decay)
    } else {
        1.0 / (1.0 + decay)
    }
}

/// The inverse of `erf`: ±∞ at ±1, NaN outside.
///
/// A first guess with a relative error below 1/200 (Winitzki, "A handy approximation for the error function and its
/// inverse", 2008) is refined by Halley's method, which triples the digits each step, on erf, or for large |x| on erfc,
/// whose argument 1 − |x| is exact there.
pub(super) fn erf_inv(x: f64) -> f64 {
    if x == 0.0 {
        return x;
    }
    if x.abs() >= 1.0 || x.is_nan() {
        return match x.abs() == 1.0 {
            true => f64::INFINITY.copysign(x),
            false => f64::NAN,
        };
    }
    let magnitude = x.abs();
    let complement = 1.0 - magnitude;
    let mut y = guess(magnitude);
    for _ in 0..3 {
        let excess = if magnitude < 0.5 {
            libm::erf(y) - magnitude
        } else {
            complement - libm::erfc(y)
        };
        let slope = 2.0 / PI.sqrt() * libm::exp(-y * y);
        let newton = excess / slope;
        // erf″ / erf′ = −2y.
        y -= newton / (1.0 + y * newton);
    }
    y.copysign(x)
}

fn guess(x: f64) -> f64 {
    const A: f64 = 0.147;
    // ln(1 − x²), also where x² vanishes beside 1.
    let log = libm::log1p(-x * x);
    let half = 2.0 / (PI * A) + log / 2.0;
    let root = (half * half - log / A).sqrt();
    // √(root − half), without the cancellation of two numbers of one sign.
    if half > 0.0 {
        (-log / A / (root + half)).sqrt()
    } else {
        (root - half).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logistic_keeps_its_digits_on_both_sides() {
        assert_eq!(logistic(0.0), 0.5);
        assert_eq!(logistic(f64::INFINITY), 1.0);
        assert_eq!(logistic(f64::NEG_INFINITY), 0.0);
        assert_eq!(logistic(-720.0), libm::exp(-720.0));
        assert!(logistic(f64::NAN).is_nan());
    }

    #[test]
    fn erf_inv_is_within_four_ulps() {
        // By bisection of erf's Taylor series with 100 digits; the arguments are the f64s written.
        for (x, expected) in [
            (0.1, 0.088_855_990_494_257_69),
            (0.25, 0.225_312_055_012_178_1),
            (0.5, 0.476_936_276_204_469_9),
            (0.75, 0.813_419_847_597_618_5),
            (0.9, 1.163_087_153_676_674_3),
            (0.999, 2.326_753_765_513_524_6),
            (1.0 - 2f64.powi(-30), 4.328_028_275_800_946),
            (1.0 - 2f64.powi(-53), 5.863_584_748_755_167_6),
        ] {
            for (found, expected) in
                [(erf_inv(x), expected), (erf_inv(-x), -expected)] as [(f64, f64); 2]
            {
                let bound = 4.0 * f64::EPSILON * expected.abs();
                assert!(
                    (found - expected).abs() <= bound,
                    "{x}: expected {expected}, found {found}"
                );
            }
        }
    }

    #[test]
    fn erf_inv_is_linear_near_zero() {
        let slope = PI.sqrt() / 2.0;
        for x in [1e-9, 1e-100, 1e-300] {
            assert!((erf_inv(x) / x - slope).abs() <= 4.0 * f64::EPSILON, "{x}");
        }
        assert_eq!(erf_inv(-0.0).to_bits(), (-0.0f64).to_bits());
    }

    #[test]
    fn erf_inv_ends_at_one() {
        assert_eq!(erf_inv(1.0), f64::INFINITY);
        assert_eq!(erf_inv(-1.0), f64::NEG_INFINITY);
        assert!(erf_inv(1.0 + f64::EPSILON).is_nan());
        assert!(erf_inv(f64::NAN).is_nan());
    }
}
