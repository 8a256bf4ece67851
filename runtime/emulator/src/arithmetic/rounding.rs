//! Rounding to a binary floating-point format, in each of PTX's modes (PTX ISA 9.7, "Rounding modifiers").
//!
//! Results of formats narrower than f64 are computed in f64 *rounded to odd*: if the exact result is no f64, the one of its
//! two neighbours whose last bit is 1. Rounding this to a format of at most 51 bits gives what rounding the exact result
//! would have given, in every mode (S. Boldo, G. Melquiond, "Emulation of FMA and correctly rounded sums", IEEE Trans.
//! Computers 57, 2008, theorem 2).

/// A binary format that registers hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Float {
    /// IEEE 754 binary16.
    F16,
    /// The upper half of binary32.
    Bf16,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
}

/// How a number between two of a format becomes one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// `.rn`: the nearest, of two the even one.
    NearestEven,
    /// `.rna`: the nearest, of two the one away from zero.
    NearestAway,
    /// `.rz`: towards zero.
    TowardZero,
    /// `.rm`: downwards.
    Down,
    /// `.rp`: upwards.
    Up,
}

impl Float {
    /// Bits of a value.
    pub const fn bits(self) -> u32 {
        match self {
            Self::F16 | Self::Bf16 => 16,
            Self::F32 => 32,
            Self::F64 => 64,
        }
    }

    /// Bits of a significand, the hidden one among them, and the exponent of the smallest normal number.
    const fn precision(self) -> (u32, i32) {
        match self {
            Self::F16 => (11, -14),
            Self::Bf16 => (8, -126),
            Self::F32 => (24, -126),
            Self::F64 => (53, -1022),
        }
    }

    /// The bits of +∞; those of the largest number are one less.
    pub const fn infinity(self) -> u64 {
        match self {
            Self::F16 => 0x7c00,
            Self::Bf16 => 0x7f80,
            Self::F32 => 0x7f80_0000,
            Self::F64 => 0x7ff0_0000_0000_0000,
        }
    }

    /// The NaN that arithmetic makes: all bits of the significand set, but f64's, which is the quiet one without payload.
    pub const fn nan(self) -> u64 {
        match self {
            Self::F16 | Self::Bf16 => 0x7fff,
            Self::F32 => 0x7fff_ffff,
            Self::F64 => 0x7ff8_0000_0000_0000,
        }
    }

    /// The sign's bit.
    pub const fn sign(self) -> u64 {
        1 << (self.bits() - 1)
    }

    /// Whether bits are a NaN.
    pub const fn is_nan(self, bits: u64) -> bool {
        bits & (self.sign() - 1) > self.infinity()
    }

    /// Whether bits are a number other than zero below the smallest normal one.
    pub const fn is_subnormal(self, bits: u64) -> bool {
        let magnitude = bits & (self.sign() - 1);
        magnitude != 0 && magnitude < 1 << (self.precision().0 - 1)
    }

    /// The number that bits are; exact.
    #[inline]
    pub fn value(self, bits: u64) -> f64 {
        match self {
            // As f64's the same bits stand for 2^1008 times less, subnormal numbers too.
            Self::F16 if bits & 0x7c00 != 0x7c00 => {
                let sign = (bits & 0x8000) << 48;
                let power = f64::from_bits(sign | (1008 + 1023) << 52);
                f64::from_bits((bits & 0x7fff) << 42) * power
            }
            Self::F16 => half::f16::from_bits(bits as u16).to_f64(),
            Self::Bf16 => half::bf16::from_bits(bits as u16).to_f64(),
            Self::F32 => f64::from(f32::from_bits(bits as u32)),
            Self::F64 => f64::from_bits(bits),
        }
    }

    /// The bits of a number rounded; of a NaN this format's. A number of f64 is taken as it is.
    pub fn round(self, value: f64, rounding: Rounding) -> u64 {
        if value.is_nan() {
            return self.nan();
        }
        if self == Self::F64 {
            return value.to_bits();
        }
        let sign = if value.is_sign_negative() {
            self.sign()
        } else {
            0
        };
        if value.is_infinite() {
            return sign | self.infinity();
        }
        sign | self.round_magnitude(value.abs(), sign != 0, rounding)
    }

    fn round_magnitude(self, value: f64, negative: bool, rounding: Rounding) -> u64 {
        let (precision, smallest) = self.precision();
        let bits = value.to_bits();
        let field = (bits >> 52) as i32;
        let significand = (bits & ((1 << 52) - 1)) | if field == 0 { 0 } else { 1 << 52 };
        // value = significand · 2^(exponent − 52)
        let exponent = field.max(1) - 1023;
        // The result is a multiple of 2^(quantum), counted in these.
        let quantum = exponent.max(smallest) - (precision as i32 - 1);
        let dropped = (quantum - (exponent - 52)) as u32;
        let (kept, rest) = if dropped > 63 {
            (0, u64::from(significand != 0))
        } else {
            // What is dropped, as a fraction of 2^64; its last bit stands for all below.
            let below = significand & ((1u64 << dropped) - 1);
            (significand >> dropped, below << (64 - dropped))
        };
        const HALF: u64 = 1 << 63;
        let up = match rounding {
            Rounding::NearestEven => rest > HALF || (rest == HALF && kept & 1 == 1),
            Rounding::NearestAway => rest >= HALF,
            Rounding::TowardZero => false,
            Rounding::Down => negative && rest != 0,
            Rounding::Up => !negative && rest != 0,
        };
        let kept = kept + u64::from(up);
        // Field and significand are one number: a carry out of the significand is one into the field.
        let field = (exponent.max(smallest) - smallest) as u64;
        let magnitude = (field << (precision - 1)) + kept;
        if magnitude < self.infinity() {
            return magnitude;
        }
        let saturates = match rounding {
            Rounding::NearestEven | Rounding::NearestAway => false,
            Rounding::TowardZero => true,
            Rounding::Down => !negative,
            Rounding::Up => negative,
        };
        self.infinity() - u64::from(saturates)
    }
}

/// `sum` rounded to odd, of which `rest` is what the exact sum has more.
fn odd(sum: f64, rest: f64) -> f64 {
    if rest == 0.0 || !sum.is_finite() || sum.to_bits() & 1 == 1 {
        return sum;
    }
    // The neighbour on the rest's side is the odd one.
    let bits = sum.to_bits();
    if sum == 0.0 {
        return rest;
    }
    let grows = (rest > 0.0) == (sum > 0.0);
    f64::from_bits(if grows { bits + 1 } else { bits - 1 })
}

/// a + b rounded to odd.
pub fn add_odd(a: f64, b: f64) -> f64 {
    let sum = a + b;
    // Knuth's two-sum: the rest is exact.
    let from_b = sum - a;
    let rest = (a - (sum - from_b)) + (b - from_b);
    odd(sum, rest)
}

/// a · b + c rounded to odd, where a · b is an f64: of factors of at most 26 bits.
pub fn multiply_add_odd(a: f64, b: f64, c: f64) -> f64 {
    add_odd(a * b, c)
}

/// a / b rounded to odd, of numbers of at most 26 bits.
pub fn divide_odd(a: f64, b: f64) -> f64 {
    let quotient = a / b;
    if !quotient.is_finite() || b.is_infinite() {
        return quotient;
    }
    let rest = (-quotient).mul_add(b, a);
    odd(quotient, if b < 0.0 { -rest } else { rest })
}

/// √a rounded to odd, of a number of at most 26 bits.
pub fn square_root_odd(a: f64) -> f64 {
    let root = a.sqrt();
    if !root.is_finite() || root == 0.0 {
        return root;
    }
    odd(root, (-root).mul_add(root, a))
}

#[cfg(test)]
mod tests {
    #[test]
    fn values_of_all_halves() {
        for bits in 0..=u16::MAX {
            let expected = half::f16::from_bits(bits).to_f64();
            let found = super::Float::F16.value(bits.into());
            assert_eq!(found.to_bits(), expected.to_bits(), "{bits:#x}");
        }
    }

    use super::*;

    #[test]
    fn nearest_even_is_that_of_the_hardware() {
        let mut bits = 0x0123_4567_89ab_cdefu64;
        for _ in 0..50_000 {
            bits = bits
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let value = f64::from_bits(bits);
            if value.is_nan() {
                continue;
            }
            assert_eq!(
                Float::F32.round(value, Rounding::NearestEven),
                u64::from((value as f32).to_bits()),
                "{value:e}"
            );
            let near = f64::from(f32::from_bits(bits as u32));
            if near.is_nan() {
                continue;
            }
            assert_eq!(
                Float::F16.round(near, Rounding::NearestEven),
                u64::from(half::f16::from_f64(near).to_bits()),
                "{near:e}"
            );
            assert_eq!(
                Float::Bf16.round(near, Rounding::NearestEven),
                u64::from(half::bf16::from_f32(near as f32).to_bits()),
                "{near:e}"
            );
        }
    }

    #[test]
    fn directed_modes_bracket_a_number() {
        let third = 1.0 / 3.0;
        let rounded = |mode| f32::from_bits(Float::F32.round(third, mode) as u32);
        assert!(
            f64::from(rounded(Rounding::Down)) < third && third < f64::from(rounded(Rounding::Up))
        );
        assert_eq!(rounded(Rounding::TowardZero), rounded(Rounding::Down));
        let negative = |mode| f32::from_bits(Float::F32.round(-third, mode) as u32);
        assert_eq!(negative(Rounding::TowardZero), negative(Rounding::Up));
    }

    #[test]
    fn beyond_the_largest_number() {
        use Rounding::*;
        for (mode, positive, negative) in [
            (NearestEven, 0x7c00, 0xfc00),
            (TowardZero, 0x7bff, 0xfbff),
            (Down, 0x7bff, 0xfc00),
            (Up, 0x7c00, 0xfbff),
        ] {
            assert_eq!(Float::F16.round(1e6, mode), positive);
            assert_eq!(Float::F16.round(-1e6, mode), negative);
        }
        assert_eq!(Float::F16.round(65519.0, NearestEven), 0x7bff);
        assert_eq!(Float::F16.round(65520.0, NearestEven), 0x7c00);
    }

    #[test]
    fn below_the_smallest_number() {
        let tiny = 2f64.powi(-25);
        assert_eq!(Float::F16.round(tiny, Rounding::NearestEven), 0);
        assert_eq!(Float::F16.round(tiny, Rounding::NearestAway), 1);
        assert_eq!(Float::F16.round(tiny, Rounding::Up), 1);
        assert_eq!(Float::F16.round(-tiny, Rounding::Up), 0x8000);
        assert_eq!(Float::F16.round(f64::MIN_POSITIVE, Rounding::Up), 1);
    }

    #[test]
    fn a_sum_is_rounded_once() {
        // 1 + 2^-11 + 2^-60 is above the middle of two f16; rounded to f64 first it would be the middle.
        let sum = add_odd(1.0 + 2f64.powi(-11), 2f64.powi(-60));
        assert_eq!(Float::F16.round(sum, Rounding::NearestEven), 0x3c01);
    }
}
