//! Floating-point numbers as integers mod 2^k: the ring mode.
//!
//! In this mode arithmetic is exact, associative and distributive, so that kernels which are the same up to the order and
//! grouping of sums and products give the same bits, and wrong data flow, an operand too many, an index off by one, gives
//! others but for a chance of about 2^−k. What numbers mean is lost: outputs are compared with those of another kernel, schedule
//! or compiler in this mode, and with nothing else. The idea is that of Triton's FpSan; the map is this module's own.
//!
//! **Numbers.** Memory and registers hold bit patterns as ever. An instruction takes a pattern of a format of k bits as its
//! *payload*, an integer mod 2^k, and writes the pattern whose payload is the result. Payloads and patterns are one to one;
//! 0 is that of +0, 1 that of 1.0, and the opposite sign is the ring's negative (but for −0, which is 2^(k−1)). Beyond that the
//! magnitudes are mixed, so that numbers whose last bits are zeros, such as small integers, do not multiply to 0. Inputs are
//! so encoded by being read: any tensor will do, best one without equal numbers.
//!
//! **What is kept.** `add`, `sub`, `mul`, `fma`, `neg`, atomic and bulk sums, and all products of matrices are the ring's, mod 2^k
//! of the result's format; what is narrower is extended by its sign, scales of blocks are factors. Conversions between formats
//! cut payloads off or extend them, an integer becomes itself. `rcp` and `div` invert odd payloads, and of even ones the odd
//! part; `ex2` is 5^x, which makes products of sums. `min`, `max`, `abs` and comparisons are those of signed integers.
//!
//! **What is not.** Other functions, `sqrt`, `lg2`, `tanh` and the like, and rounding to integers, are one-to-one functions of
//! the payload with a tag, the same for the same operand and nothing else. `.ftz`, `.relu` beside its maximum and rounding
//! modifiers mean nothing; infinities and NaN are numbers like others. `.sat`, `testp`, `copysign`, `.xorsign`, `.abs` of a
//! minimum and `slct` of a float are refused by name. Bit tricks on floats are not seen: who takes a float's bits apart by
//! integer instructions gets a pattern's. Integers are integers here too, and so are products of matrices of integers.

use super::Float;
use tessera_numerics::{ElementFormat, ScaleFormat};

/// A format's payloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ring {
    bits: u32,
    /// The pattern of 1.0.
    one: u64,
    /// Whether the highest bit is a sign.
    signed: bool,
}

/// Odd, and so with an inverse; its bits are those of the golden ratio.
const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
/// Rounds in which magnitudes are mixed.
const ROUNDS: u32 = 3;

impl Ring {
    pub const fn of(format: Float) -> Self {
        let one = match format {
            Float::F16 => 0x3c00,
            Float::Bf16 => 0x3f80,
            Float::F32 => 0x3f80_0000,
            Float::F64 => 0x3ff0_0000_0000_0000,
        };
        Self {
            bits: format.bits(),
            one,
            signed: true,
        }
    }

    pub fn of_element(format: ElementFormat) -> Self {
        Self {
            bits: format.bits() as u32,
            one: u64::from(format.encode(1.0)),
            signed: true,
        }
    }

    /// Of exponents of eight bits, the scales of E8M0.
    pub const fn of_exponents() -> Self {
        Self {
            bits: 8,
            one: 127,
            signed: false,
        }
    }

    /// The payload of a scale: of E4M3 that of the number without its sign.
    pub fn of_scale(format: ScaleFormat, code: u8) -> i64 {
        match format {
            ScaleFormat::E8m0 => Self::of_exponents().payload(u64::from(code)),
            ScaleFormat::E4m3 => {
                Self::of_element(ElementFormat::E4m3).payload(u64::from(code & 0x7f))
            }
        }
    }

    const fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits)
    }

    /// Bits of a magnitude.
    const fn width(self) -> u32 {
        self.bits - self.signed as u32
    }

    /// The payload of a pattern, extended by its sign.
    pub fn payload(self, pattern: u64) -> i64 {
        let width = self.width();
        let magnitude = pattern & (u64::MAX >> (64 - width));
        let payload = self.swapped(mixed(magnitude, width));
        if self.signed && pattern >> width & 1 == 1 {
            let least = 1 << width;
            return self.extend(if magnitude == 0 {
                least
            } else {
                payload.wrapping_neg()
            });
        }
        self.extend(payload)
    }

    /// The pattern of a payload, of which the lowest bits count.
    pub fn pattern(self, payload: i64) -> u64 {
        let width = self.width();
        let payload = payload as u64 & self.mask();
        let least = 1u64 << width;
        if self.signed && payload & least != 0 {
            let magnitude = payload.wrapping_neg() & (least - 1);
            return least | unmixed(self.swapped(magnitude), width);
        }
        unmixed(self.swapped(payload), width)
    }

    /// So that the payload of 1.0 is 1: the two change places.
    fn swapped(self, payload: u64) -> u64 {
        let one = mixed(self.one, self.width());
        match payload {
            1 => one,
            own if own == one => 1,
            own => own,
        }
    }

    fn extend(self, payload: u64) -> i64 {
        let unused = 64 - self.bits;
        ((payload << unused) as i64) >> unused
    }

    /// A function of payloads as one of patterns.
    #[inline]
    pub fn map<const N: usize>(self, patterns: [u64; N], of: impl Fn([i64; N]) -> i64) -> u64 {
        self.pattern(of(patterns.map(|pattern| self.payload(pattern))))
    }

    /// What a payload times this is 1, if it is odd; else the same of its odd part, times the powers of two that it has.
    pub fn inverse(self, payload: i64) -> i64 {
        let payload = payload as u64 & self.mask();
        if payload == 0 {
            return 0;
        }
        let twos = payload.trailing_zeros();
        (inverse(payload >> twos) << twos) as i64
    }

    /// 5 to the power of a payload. The powers of 5 repeat after 2^(k−2).
    pub fn power(self, payload: i64) -> i64 {
        let (mut power, mut square, mut left) = (1u64, 5u64, payload as u64 & self.mask());
        while left != 0 {
            if left & 1 == 1 {
                power = power.wrapping_mul(square);
            }
            square = square.wrapping_mul(square);
            left >>= 1;
        }
        power as i64
    }

    /// A one-to-one function that has nothing of the ring, another one for each name.
    pub fn tagged(self, name: &str, payload: i64) -> i64 {
        let tag = name.bytes().fold(ODD, |tag, byte| {
            (tag ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let own = (payload as u64).wrapping_mul(ODD) ^ tag;
        let own = own & self.mask();
        (own ^ own >> self.bits.div_ceil(2)).wrapping_mul(ODD) as i64
    }
}

/// 1/x mod 2^64 of an odd x: each of Newton's steps doubles the bits that are right, of which x itself has three.
fn inverse(odd: u64) -> u64 {
    (0..5).fold(odd, |own, _| {
        own.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(own)))
    })
}

/// One to one on so many bits, 0 to itself.
fn mixed(mut value: u64, bits: u32) -> u64 {
    let mask = u64::MAX >> (64 - bits);
    let half = bits.div_ceil(2);
    for _ in 0..ROUNDS {
        value ^= value >> half;
        value = value.wrapping_mul(ODD) & mask;
    }
    value ^ value >> half
}

/// The other way.
fn unmixed(mut value: u64, bits: u32) -> u64 {
    let mask = u64::MAX >> (64 - bits);
    // A shift by half the bits and more undoes itself.
    let half = bits.div_ceil(2);
    let back = inverse(ODD);
    value ^= value >> half;
    for _ in 0..ROUNDS {
        value = value.wrapping_mul(back) & mask;
        value ^= value >> half;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_and_payloads_are_one_to_one() {
        let elements = [
            ElementFormat::E4m3,
            ElementFormat::E5m2,
            ElementFormat::E2m3,
            ElementFormat::E3m2,
            ElementFormat::E2m1,
        ];
        let rings = [Ring::of(Float::F16), Ring::of(Float::Bf16)]
            .into_iter()
            .chain(elements.map(Ring::of_element))
            .chain([Ring::of_exponents()]);
        for ring in rings {
            let mut seen = vec![false; 1 << ring.bits];
            for pattern in 0..1 << ring.bits {
                let payload = ring.payload(pattern);
                assert_eq!(ring.pattern(payload), pattern, "{ring:?}");
                let place = (payload as u64 & ring.mask()) as usize;
                assert!(!std::mem::replace(&mut seen[place], true));
                if ring.signed && pattern != 0 && pattern != 1 << ring.width() {
                    let other = ring.payload(pattern ^ 1 << ring.width());
                    assert_eq!(other, -payload, "{ring:?} {pattern:#x}");
                }
            }
            assert_eq!(
                (ring.payload(0), ring.payload(ring.one)),
                (0, 1),
                "{ring:?}"
            );
        }
        for ring in [Ring::of(Float::F32), Ring::of(Float::F64)] {
            for pattern in (0..64).flat_map(|bit| [1u64 << bit, ODD << bit, ODD >> bit]) {
                let pattern = pattern & ring.mask();
                assert_eq!(ring.pattern(ring.payload(pattern)), pattern);
            }
            assert_eq!((ring.payload(0), ring.payload(ring.one)), (0, 1));
        }
    }

    #[test]
    fn inverses_powers_and_tags() {
        let ring = Ring::of(Float::F16);
        for payload in 0..1i64 << 16 {
            let inverse = ring.inverse(payload);
            assert_eq!(ring.inverse(inverse) & 0xffff, payload);
            if payload & 1 == 1 {
                assert_eq!(payload.wrapping_mul(inverse) & 0xffff, 1);
            }
            let sum = ring.power(payload + 77);
            let product = ring.power(payload).wrapping_mul(ring.power(77));
            assert_eq!((sum ^ product) & 0xffff, 0);
        }
        let tagged = |name| -> std::collections::HashSet<i64> {
            let all = 0..1i64 << 16;
            all.map(|payload| ring.tagged(name, payload) & 0xffff)
                .collect()
        };
        assert_eq!(tagged("sqrt").len(), 1 << 16);
        assert_ne!(ring.tagged("sqrt", 9), ring.tagged("lg2", 9));
    }

    #[test]
    fn small_integers_keep_their_bits() {
        // Products of small integers, whose patterns end in zeros, tell all factors apart.
        let ring = Ring::of(Float::F32);
        let payload = |value: f32| ring.payload(u64::from(value.to_bits()));
        let products: std::collections::HashSet<i64> = (1..64)
            .flat_map(|a| (a..64).map(move |b| (a, b)))
            .map(|(a, b)| payload(a as f32).wrapping_mul(payload(b as f32)) as i32 as i64)
            .collect();
        assert_eq!(products.len(), 63 * 64 / 2);
    }
}
