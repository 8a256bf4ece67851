//! Floating-point arithmetic of every format and rounding (PTX ISA 9.7.3 to 9.7.5).

use super::rounding::{add_odd, divide_odd, multiply_add_odd, square_root_odd};
use super::{Float, Rounding};
use rustc_apfloat::ieee::Double;
use rustc_apfloat::{Float as _, Round};

/// How an instruction treats its operands and result.
#[derive(Clone, Copy, Debug)]
pub struct Mode {
    pub format: Float,
    pub rounding: Rounding,
    /// `.ftz`: subnormal numbers are zeros of their sign, read and written.
    pub flush: bool,
    /// `.sat`: the result is within 0 and 1, and NaN is 0.
    pub saturate: bool,
    /// `.relu`: a negative result, −0 too, is +0, and NaN the canonical one: the larger of the result and +0.
    pub relu: bool,
}

impl Mode {
    /// To the nearest, nothing else.
    pub const fn plain(format: Float) -> Self {
        Self {
            format,
            rounding: Rounding::NearestEven,
            flush: false,
            saturate: false,
            relu: false,
        }
    }

    /// An operand as this mode reads it.
    pub fn read(self, bits: u64) -> u64 {
        if self.flush && self.format.is_subnormal(bits) {
            bits & self.format.sign()
        } else {
            bits
        }
    }

    /// A result as this mode writes it.
    pub fn write(self, bits: u64) -> u64 {
        let Self { format, .. } = self;
        let bits = if format.is_nan(bits) {
            format.nan()
        } else {
            self.read(bits)
        };
        let value = format.value(bits);
        if self.saturate {
            // NaN fails both comparisons.
            return if value >= 1.0 {
                format.round(1.0, Rounding::NearestEven)
            } else if value > 0.0 {
                bits
            } else {
                0
            };
        }
        let is_negative = bits & format.sign() != 0 && !value.is_nan();
        if self.relu && is_negative { 0 } else { bits }
    }

    fn value(self, bits: u64) -> f64 {
        self.format.value(self.read(bits))
    }

    fn finish(self, odd: f64) -> u64 {
        self.write(self.format.round(odd, self.rounding))
    }

    /// Whether [`single`](Self::single) is of this mode: f32, to the nearest, neither `.sat` nor `.relu`.
    pub fn is_single(self) -> bool {
        self.format == Float::F32
            && self.rounding == Rounding::NearestEven
            && !self.saturate
            && !self.relu
    }

    /// What the host's arithmetic, which rounds to the nearest, makes of numbers of f32.
    #[inline]
    pub fn single<const N: usize>(self, values: [u64; N], of: impl Fn([f32; N]) -> f32) -> u64 {
        let flush = |value: f32| {
            if self.flush && value.is_subnormal() {
                0f32.copysign(value)
            } else {
                value
            }
        };
        let result = flush(of(values.map(|bits| flush(f32::from_bits(bits as u32)))));
        if result.is_nan() {
            self.format.nan()
        } else {
            u64::from(result.to_bits())
        }
    }

    /// a + b. Exact cancellation is +0, downwards −0.
    pub fn add(self, a: u64, b: u64) -> u64 {
        let (x, y) = (self.value(a), self.value(b));
        if self.format == Float::F64 {
            return self.write(double(self.rounding, x + y, || {
                apfloat(x).add_r(apfloat(y), round(self.rounding)).value
            }));
        }
        self.finish(self.signed_zero(add_odd(x, y), x, y))
    }

    /// The zero of a sum that cancels has the rounding's sign, that of equal zeros theirs.
    fn signed_zero(self, sum: f64, x: f64, y: f64) -> f64 {
        if sum == 0.0
            && x == -y
            && self.rounding == Rounding::Down
            && x.is_sign_negative() != y.is_sign_negative()
        {
            -0.0
        } else {
            sum
        }
    }

    /// a − b.
    pub fn subtract(self, a: u64, b: u64) -> u64 {
        // A NaN's sign is not read again.
        self.add(a, b ^ self.format.sign())
    }

    /// a · b.
    pub fn multiply(self, a: u64, b: u64) -> u64 {
        let (x, y) = (self.value(a), self.value(b));
        if self.format == Float::F64 {
            return self.write(double(self.rounding, x * y, || {
                apfloat(x).mul_r(apfloat(y), round(self.rounding)).value
            }));
        }
        self.finish(x * y)
    }

    /// a · b + c, rounded once.
    pub fn multiply_add(self, a: u64, b: u64, c: u64) -> u64 {
        let (x, y, z) = (self.value(a), self.value(b), self.value(c));
        if self.format == Float::F64 {
            let fused = || {
                apfloat(x)
                    .mul_add_r(apfloat(y), apfloat(z), round(self.rounding))
                    .value
            };
            return self.write(double(self.rounding, x.mul_add(y, z), fused));
        }
        self.finish(self.signed_zero(multiply_add_odd(x, y, z), x * y, z))
    }

    /// a / b.
    pub fn divide(self, a: u64, b: u64) -> u64 {
        let (x, y) = (self.value(a), self.value(b));
        if self.format == Float::F64 {
            return self.write(double(self.rounding, x / y, || {
                apfloat(x).div_r(apfloat(y), round(self.rounding)).value
            }));
        }
        self.finish(divide_odd(x, y))
    }

    /// √a.
    pub fn square_root(self, a: u64) -> u64 {
        let x = self.value(a);
        if self.format == Float::F64 {
            return self.write(double(self.rounding, x.sqrt(), || {
                double_square_root(x, self.rounding)
            }));
        }
        self.finish(square_root_odd(x))
    }

    /// The smaller or larger of two; the other one where one is NaN, unless `nan` asks for NaN. −0 is below +0. With
    /// `magnitude` they are compared without their signs, `sign` says that the result's is the exclusive or of theirs.
    pub fn extreme(self, a: u64, b: u64, how: Extreme) -> u64 {
        let (a, b) = (self.read(a), self.read(b));
        let (sign, magnitude) = (self.format.sign(), self.format.sign() - 1);
        let xor = (a ^ b) & sign;
        let (a, b) = if how.absolute {
            (a & magnitude, b & magnitude)
        } else {
            (a, b)
        };
        let picked = match (self.format.is_nan(a), self.format.is_nan(b)) {
            (true, true) => return self.format.nan(),
            (true, false) | (false, true) if how.nan => return self.format.nan(),
            (true, false) => b,
            (false, true) => a,
            (false, false) => {
                // As signed integers, magnitudes below zero turned, floats keep their order.
                let key = |bits: u64| {
                    if bits & sign != 0 {
                        !(bits & magnitude) as i64
                    } else {
                        bits as i64
                    }
                };
                if (key(a) < key(b)) == how.smaller {
                    a
                } else {
                    b
                }
            }
        };
        if how.xor_sign {
            (picked & magnitude) | xor
        } else {
            picked
        }
    }
}

/// What `min` and `max` are asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extreme {
    /// `min`, not `max`.
    pub smaller: bool,
    /// `.NaN`
    pub nan: bool,
    /// `.abs`
    pub absolute: bool,
    /// `.xorsign`
    pub xor_sign: bool,
}

/// A result of f64: the hardware's to the nearest, else the one of exact arithmetic.
fn double(rounding: Rounding, nearest: f64, exact: impl FnOnce() -> Double) -> u64 {
    match rounding {
        Rounding::NearestEven => nearest.to_bits(),
        _ => exact().to_bits() as u64,
    }
}

fn apfloat(value: f64) -> Double {
    Double::from_bits(u128::from(value.to_bits()))
}

fn round(rounding: Rounding) -> Round {
    match rounding {
        Rounding::NearestEven => Round::NearestTiesToEven,
        Rounding::NearestAway => Round::NearestTiesToAway,
        Rounding::TowardZero => Round::TowardZero,
        Rounding::Down => Round::TowardNegative,
        Rounding::Up => Round::TowardPositive,
    }
}

/// The root to the nearest, moved by one where the rounding wants the other side.
fn double_square_root(x: f64, rounding: Rounding) -> Double {
    let root = x.sqrt();
    if !root.is_finite() || root == 0.0 {
        return apfloat(root);
    }
    // x − root², whose sign is exact once both are scaled away from underflow.
    let scale = 2f64.powi(200);
    let (scaled, scaled_root) = if x < 2f64.powi(-700) {
        (x * scale * scale, root * scale)
    } else {
        (x, root)
    };
    let rest = (-scaled_root).mul_add(scaled_root, scaled);
    let bits = root.to_bits();
    let bits = match rounding {
        Rounding::Up if rest > 0.0 => bits + 1,
        Rounding::Down | Rounding::TowardZero if rest < 0.0 => bits - 1,
        _ => bits,
    };
    Double::from_bits(u128::from(bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pairs of bits that meet zeros, infinities, NaNs, subnormals and numbers of near exponents.
    fn pairs(format: Float) -> impl Iterator<Item = (u64, u64)> {
        let mut state = 7u64;
        let mask = (format.sign() << 1).wrapping_sub(1);
        let special = [
            0,
            1,
            format.infinity(),
            format.infinity() - 1,
            format.nan(),
            format.sign(),
            format.sign() | 1,
        ];
        (0..8_000).map(move |i| {
            let mut next = || {
                state = state
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                (state >> 7) ^ (state << 23)
            };
            let a = next() & mask;
            let b = match i % 4 {
                0 => next() & mask,
                1 => a ^ (next() & 0xff),
                2 => special[i / 4 % 7],
                _ => a ^ format.sign() ^ (next() & 3),
            };
            (a, b)
        })
    }

    #[test]
    fn single_precision_is_that_of_the_hardware() {
        let mode = Mode::plain(Float::F32);
        let f = |bits: u64| f32::from_bits(bits as u32);
        let same = |found: u64, expected: f32, what: &str| {
            let expected = if expected.is_nan() {
                Float::F32.nan()
            } else {
                u64::from(expected.to_bits())
            };
            assert_eq!(found, expected, "{what}");
        };
        for (a, b) in pairs(Float::F32) {
            same(mode.add(a, b), f(a) + f(b), "add");
            same(mode.subtract(a, b), f(a) - f(b), "subtract");
            same(mode.multiply(a, b), f(a) * f(b), "multiply");
            same(mode.divide(a, b), f(a) / f(b), "divide");
            same(mode.square_root(a), f(a).sqrt(), "square root");
            same(
                mode.multiply_add(a, b, b >> 1),
                f(a).mul_add(f(b), f(b >> 1)),
                "multiply-add",
            );
        }
    }

    #[test]
    fn directed_rounding_is_that_of_exact_arithmetic() {
        use rustc_apfloat::ieee::Single;
        let s = |bits: u64| Single::from_bits(u128::from(bits));
        for rounding in [Rounding::TowardZero, Rounding::Down, Rounding::Up] {
            let mode = Mode {
                rounding,
                ..Mode::plain(Float::F32)
            };
            let bits = |value: Single| {
                if value.is_nan() {
                    Float::F32.nan()
                } else {
                    value.to_bits() as u64
                }
            };
            for (a, b) in pairs(Float::F32) {
                let r = round(rounding);
                assert_eq!(
                    mode.add(a, b),
                    bits(s(a).add_r(s(b), r).value),
                    "{a:x} + {b:x} {rounding:?}"
                );
                assert_eq!(
                    mode.multiply(a, b),
                    bits(s(a).mul_r(s(b), r).value),
                    "{a:x} * {b:x} {rounding:?}"
                );
                assert_eq!(
                    mode.divide(a, b),
                    bits(s(a).div_r(s(b), r).value),
                    "{a:x} / {b:x} {rounding:?}"
                );
                let c = (a ^ b) >> 1;
                assert_eq!(
                    mode.multiply_add(a, b, c),
                    bits(s(a).mul_add_r(s(b), s(c), r).value),
                    "{a:x} {b:x} {c:x} {rounding:?}"
                );
            }
        }
    }

    #[test]
    fn half_precision_is_rounded_once() {
        use rustc_apfloat::ieee::{BFloat, Half};
        let mode = |format| Mode::plain(format);
        for (a, b) in pairs(Float::F16) {
            let c = a.rotate_left(3) & 0xffff;
            let h = |bits: u64| Half::from_bits(u128::from(bits));
            let expected = h(a).mul_add(h(b), h(c)).value;
            let expected = if expected.is_nan() {
                0x7fff
            } else {
                expected.to_bits() as u64
            };
            assert_eq!(
                mode(Float::F16).multiply_add(a, b, c),
                expected,
                "{a:x} {b:x} {c:x}"
            );
            let f = |bits: u64| BFloat::from_bits(u128::from(bits));
            let expected = f(a).mul_add(f(b), f(c)).value;
            let expected = if expected.is_nan() {
                0x7fff
            } else {
                expected.to_bits() as u64
            };
            assert_eq!(
                mode(Float::Bf16).multiply_add(a, b, c),
                expected,
                "{a:x} {b:x} {c:x}"
            );
        }
    }

    #[test]
    fn saturation_flushing_and_relu() {
        let f32s = |value: f32| u64::from(value.to_bits());
        let saturating = Mode {
            saturate: true,
            ..Mode::plain(Float::F32)
        };
        assert_eq!(saturating.add(f32s(0.75), f32s(0.5)), f32s(1.0));
        assert_eq!(saturating.add(f32s(-0.75), f32s(0.5)), f32s(0.0));
        assert_eq!(saturating.add(f32s(f32::NAN), f32s(0.5)), f32s(0.0));
        let flushing = Mode {
            flush: true,
            ..Mode::plain(Float::F32)
        };
        assert_eq!(flushing.add(1, 1), 0);
        assert_eq!(flushing.add(f32s(-0.0), 0x8000_0001), f32s(-0.0));
        let relu = Mode {
            relu: true,
            ..Mode::plain(Float::F16)
        };
        assert_eq!(relu.multiply_add(0x3c00, 0xbc00, 0), 0);
    }

    #[test]
    fn the_smaller_and_the_larger() {
        let mode = Mode::plain(Float::F32);
        let f32s = |value: f32| u64::from(value.to_bits());
        let smaller = Extreme {
            smaller: true,
            ..Extreme::default()
        };
        assert_eq!(mode.extreme(f32s(0.0), f32s(-0.0), smaller), f32s(-0.0));
        assert_eq!(mode.extreme(f32s(f32::NAN), f32s(2.0), smaller), f32s(2.0));
        assert_eq!(
            mode.extreme(
                f32s(f32::NAN),
                f32s(2.0),
                Extreme {
                    nan: true,
                    ..smaller
                }
            ),
            Float::F32.nan()
        );
        assert_eq!(
            mode.extreme(f32s(-3.0), f32s(2.0), Extreme::default()),
            f32s(2.0)
        );
        let by_magnitude = Extreme {
            absolute: true,
            xor_sign: true,
            ..Extreme::default()
        };
        assert_eq!(
            mode.extreme(f32s(-3.0), f32s(2.0), by_magnitude),
            f32s(-3.0)
        );
    }
}
