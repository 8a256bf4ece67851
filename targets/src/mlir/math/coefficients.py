#!/usr/bin/env python3
"""Prints coefficients.rs: the polynomials that the functions of mlir/math are made of.

Each polynomial interpolates its function at Chebyshev nodes, computed with 60 digits; its error is within a small
factor of the best one's. Needs mpmath:  python3 coefficients.py > coefficients.rs && rustfmt coefficients.rs
"""

from mpmath import mp, mpf, atan, chebyfit, cos, erf, erfc, erfinv, exp, expm1, floor, log, pi, sin, sqrt, tan

mp.dps = 60


def series(function, taylor, near):
    """The function, by its Taylor series near 0, where the formula divides by 0."""
    return lambda x: taylor(x) if abs(x) < near else function(x)


def polynomial(name, comment, function, lower, upper, degree):
    """Coefficients, constant first."""
    coefficients = chebyfit(function, [mpf(lower), mpf(upper)], degree + 1)[::-1]
    print(f"\n/// {comment}")
    print(f"pub(super) const {name}: [f64; {degree + 1}] = [")
    for coefficient in coefficients:
        print(f"    {float(coefficient)!r},")
    print("];")


def constant(name, comment, value):
    print(f"\n/// {comment}\npub(super) const {name}: f64 = {float(value)!r};")


def upper_bits(value, bits):
    """The first bits of a number: a float with few enough of them multiplies small integers exactly."""
    scale = mpf(2) ** (bits - 1 - int(floor(log(value, 2))))
    return floor(value * scale) / scale


def parts(name, comment, value, bits, count):
    """A number as a sum of floats; all but the last have that many bits."""
    rest, found = mpf(value), []
    for _ in range(count - 1):
        found.append(upper_bits(rest, bits))
        rest -= found[-1]
    found.append(rest)
    print(f"\n/// {comment}\npub(super) const {name}: [f64; {count}] = [")
    for part in found:
        print(f"    {float(part)!r},")
    print("];")


print("//! Polynomials and constants of the mathematical functions. Made by coefficients.py; do not edit.")
print("#![allow(clippy::excessive_precision, clippy::approx_constant, clippy::unreadable_literal)]")

ln2 = log(mpf(2))
half = ln2 / 2
exp_rest = series(lambda r: (exp(r) - 1 - r) / r**2, lambda r: mpf(1) / 2 + r / 6 + r * r / 24, mpf(10) ** -12)
polynomial("EXP_F32", "(eʳ − 1 − r) / r² for |r| ≤ ln 2 / 2.", exp_rest, -half, half, 5)
polynomial("EXP_F64", "(eʳ − 1 − r) / r² for |r| ≤ ln 2 / 2.", exp_rest, -half, half, 10)
parts("LN2_F32", "ln 2, the first part in 15 bits: its product with an exponent is exact in f32.", ln2, 15, 2)
parts("LN2_F64", "ln 2, the first part in 41 bits: its product with an exponent is exact in f64.", ln2, 41, 2)

root = sqrt(mpf(2))
log_rest = series(lambda f: (log(1 + f) - f + f * f / 2) / f**3, lambda f: mpf(1) / 3 - f / 4 + f * f / 5, mpf(10) ** -12)
polynomial("LOG_F32", "(ln(1 + f) − f + f²/2) / f³ for 1 + f in √½ … √2.", log_rest, 1 / root - 1, root - 1, 8)


def log_odd(z):
    return log((1 + sqrt(z)) / (1 - sqrt(z))) / sqrt(z)


widest = ((root - 1) / (root + 1)) ** 2
first = series(lambda z: (log_odd(z) - 2) / z, lambda z: mpf(2) / 3 + z * 2 / 5, mpf(10) ** -20)
polynomial("LOG_F64", "(ln((1 + s)/(1 − s)) / s − 2) / s² as a function of s², for s = f/(2 + f).", first, 0, widest, 7)
second = series(lambda z: (first(z) - mpf(2) / 3) / z, lambda z: mpf(2) / 5 + z * 2 / 7, mpf(10) ** -14)
polynomial("LOG_TAIL", "((ln((1 + s)/(1 − s)) / s − 2) / s² − 2/3) / s² as a function of s².", second, 0, widest, 8)
parts("TWO_THIRDS", "2/3 in two parts.", mpf(2) / 3, 53, 2)
parts("LN2_EXTENDED", "ln 2, the first part in 41 bits, to 147 bits.", ln2, 41, 3)

erf_rest = series(
    lambda z: erf(sqrt(z)) / sqrt(z) - 1, lambda z: 2 / sqrt(pi) * (1 - z / 3) - 1, mpf(10) ** -20
)
polynomial("ERF_SMALL_F32", "erf(x) / x − 1 as a function of x², for |x| ≤ 1.", erf_rest, 0, 1, 6)
polynomial("ERF_SMALL_F64", "erf(x) / x − 1 as a function of x², for |x| ≤ 1.", erf_rest, 0, 1, 12)
polynomial("ERF_LARGE_F32", "−ln erfc(u + 2.5) for |u| ≤ 1.5.", lambda u: -log(erfc(u + mpf("2.5"))), -1.5, 1.5, 8)


def scaled_erfc(t):
    a = 4 * (1 + t) / (1 - t)
    return exp(a * a) * erfc(a) * (1 + 2 * a)


polynomial(
    "ERFC", "exp(a²) erfc(a) (1 + 2a) as a function of t = (a − 4)/(a + 4), for a in ½ … 28.",
    scaled_erfc, (mpf("0.5") - 4) / (mpf("0.5") + 4), mpf(24) / 32, 22,
)


def erf_inv_ratio(w):
    if w < mpf(10) ** -25:
        return sqrt(pi) / 2
    x = sqrt(-expm1(-w))
    return erfinv(x) / x


polynomial(
    "ERF_INV_CENTRE", "erf⁻¹(x) / x as a function of −ln(1 − x²) − 3.125, from −3.125 to 3.125.",
    lambda u: erf_inv_ratio(u + mpf("3.125")), "-3.125", "3.125", 26,
)
polynomial(
    "ERF_INV_MIDDLE", "erf⁻¹(x) / x as a function of √−ln(1 − x²) − 3.25, from −0.75 to 0.75.",
    lambda u: erf_inv_ratio((u + mpf("3.25")) ** 2), "-0.75", "0.75", 20,
)
polynomial(
    "ERF_INV_TAIL", "erf⁻¹(x) / x as a function of √−ln(1 − x²) − 5, from −1 to 1.05.",
    lambda u: erf_inv_ratio((u + 5) ** 2), "-1", "1.05", 20,
)

quarter = pi / 4
sin_rest = series(lambda z: (sin(sqrt(z)) / sqrt(z) - 1) / z, lambda z: -mpf(1) / 6 + z / 120, mpf(10) ** -20)
cos_rest = series(lambda z: (cos(sqrt(z)) - 1 + z / 2) / z**2, lambda z: mpf(1) / 24 - z / 720, mpf(10) ** -15)
polynomial("SIN_F32", "(sin r / r − 1) / r² as a function of r², for |r| ≤ π/4.", sin_rest, 0, quarter**2, 3)
polynomial("SIN_F64", "(sin r / r − 1) / r² as a function of r², for |r| ≤ π/4.", sin_rest, 0, quarter**2, 6)
polynomial("COS_F32", "(cos r − 1 + r²/2) / r⁴ as a function of r², for |r| ≤ π/4.", cos_rest, 0, quarter**2, 3)
polynomial("COS_F64", "(cos r − 1 + r²/2) / r⁴ as a function of r², for |r| ≤ π/4.", cos_rest, 0, quarter**2, 6)
parts("HALF_PI_25", "π/2, all parts but the last in 25 bits: exact products with integers below 2²⁸.", pi / 2, 25, 4)
parts("HALF_PI_33", "π/2, all parts but the last in 33 bits: exact products with integers below 2²⁰.", pi / 2, 33, 4)
constant("TWO_OVER_PI", "2/π.", 2 / pi)

atan_rest = series(lambda z: (atan(sqrt(z)) / sqrt(z) - 1) / z, lambda z: -mpf(1) / 3 + z / 5, mpf(10) ** -20)
polynomial("ATAN", "(atan u / u − 1) / u² as a function of u², for |u| ≤ tan(π/8).", atan_rest, 0, tan(pi / 8) ** 2, 11)
parts("QUARTER_PI", "π/4 in two parts.", pi / 4, 53, 2)

mp.prec = 1600
words = 20
bits = int(floor(2 / pi * mpf(2) ** (64 * words)))
print("\n/// The binary places of 2/π, 64 to a word; the first word holds the first ones after the point.")
print(f"pub(super) const TWO_OVER_PI_BITS: [u64; {words}] = [")
for i in range(words):
    print(f"    0x{bits >> (64 * (words - 1 - i)) & (2**64 - 1):016x},")
print("];")
