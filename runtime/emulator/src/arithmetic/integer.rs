//! Integer and bit arithmetic (PTX ISA 9.7.1, 9.7.2, 9.7.8).

/// Integers of a width, signed or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Integer {
    /// 8, 16, 32 or 64.
    pub bits: u32,
    /// Whether they are signed.
    pub signed: bool,
}

impl Integer {
    /// The bits that a value has.
    pub const fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits)
    }

    /// The value of bits.
    pub const fn value(self, bits: u64) -> i128 {
        let unused = 64 - self.bits;
        if self.signed {
            (((bits << unused) as i64) >> unused) as i128
        } else {
            (bits & self.mask()) as i128
        }
    }

    /// The value of bits mod 2^64: for sums and products that are wrapped, and comparisons of signed integers.
    #[inline(always)]
    pub const fn low(self, bits: u64) -> u64 {
        if self.signed {
            let unused = 64 - self.bits;
            (((bits << unused) as i64) >> unused) as u64
        } else {
            bits & self.mask()
        }
    }

    /// The order of two numbers.
    #[inline(always)]
    pub fn order(self, a: u64, b: u64) -> std::cmp::Ordering {
        // The sign bit the other way round makes the order of signed numbers that of unsigned ones.
        let turned = u64::from(self.signed) << 63;
        (self.low(a) ^ turned).cmp(&(self.low(b) ^ turned))
    }

    /// The bits of a value, wrapped.
    pub const fn wrap(self, value: i128) -> u64 {
        value as u64 & self.mask()
    }

    /// The bits of a value, or of the nearest end of the range.
    pub fn saturate(self, value: i128) -> u64 {
        let (low, high) = if self.signed {
            (-(1i128 << (self.bits - 1)), (1i128 << (self.bits - 1)) - 1)
        } else {
            (0, i128::from(self.mask()))
        };
        self.wrap(value.clamp(low, high))
    }

    /// Whether every number of another type is one of this.
    pub const fn holds(self, other: Self) -> bool {
        if self.signed == other.signed {
            self.bits >= other.bits
        } else {
            self.signed && self.bits > other.bits
        }
    }

    /// Integers of twice the width.
    pub const fn wider(self) -> Self {
        Self {
            bits: self.bits * 2,
            signed: self.signed,
        }
    }

    /// a / b towards zero; by zero all bits are set, as on hardware, and the smallest number by −1 is itself.
    pub const fn divide(self, a: u64, b: u64) -> u64 {
        match self.value(b) {
            0 => self.mask(),
            divisor => self.wrap(self.value(a) / divisor),
        }
    }

    /// What a / b leaves; by zero it is a.
    pub const fn remainder(self, a: u64, b: u64) -> u64 {
        match self.value(b) {
            0 => self.wrap(self.value(a)),
            divisor => self.wrap(self.value(a) % divisor),
        }
    }

    /// Shifted left; by the width and more it is 0.
    pub const fn shift_left(self, a: u64, by: u32) -> u64 {
        if by >= self.bits {
            0
        } else {
            (a << by) & self.mask()
        }
    }

    /// Shifted right, filled with the sign; by the width and more as by the width.
    pub const fn shift_right(self, a: u64, by: u32) -> u64 {
        let by = if by >= self.bits { self.bits } else { by };
        self.wrap(self.value(a) >> by)
    }

    /// The place of the highest bit that differs from the sign, from bit 0; all ones if there is none. With `shift` the
    /// places to shift it to the top.
    pub fn highest_bit(self, a: u64, shift: bool) -> u64 {
        let value = self.value(a);
        let significant = if value < 0 { !value } else { value };
        if significant == 0 {
            return 0xffff_ffff;
        }
        let place = 127 - significant.leading_zeros();
        u64::from(if shift { self.bits - 1 - place } else { place })
    }

    /// `bfe`: so many bits from a place, with the highest of them, or of the value, as sign.
    pub fn extract(self, a: u64, from: u32, length: u32) -> u64 {
        let (from, length) = (from & 0xff, length & 0xff);
        if length == 0 {
            return 0;
        }
        let top = self.bits - 1;
        let sign_place = (from + length - 1).min(top);
        let negative = self.signed && a >> sign_place & 1 == 1;
        let bit = |place: u32| {
            if from + place <= top && place < length {
                a >> (from + place) & 1
            } else {
                u64::from(negative)
            }
        };
        (0..self.bits).fold(0, |bits, place| bits | bit(place) << place)
    }

    /// `bfi`: b with so many of its bits from a place replaced by the lowest of a.
    pub fn insert(self, a: u64, b: u64, from: u32, length: u32) -> u64 {
        let (from, length) = (from & 0xff, length & 0xff);
        let end = (from + length).min(self.bits);
        (from..end).fold(b & self.mask(), |bits, place| {
            let bit = a >> (place - from) & 1;
            bits & !(1 << place) | bit << place
        })
    }
}

/// `lop3`: bit by bit the entry of a table that three bits choose.
pub const fn logic(a: u64, b: u64, c: u64, table: u8) -> u64 {
    let mut result = 0;
    let mut entry = 0;
    while entry < 8 {
        if table >> entry & 1 == 1 {
            let a = if entry & 4 != 0 { a } else { !a };
            let b = if entry & 2 != 0 { b } else { !b };
            let c = if entry & 1 != 0 { c } else { !c };
            result |= a & b & c;
        }
        entry += 1;
    }
    result & 0xffff_ffff
}

/// How `prmt` chooses bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permutation {
    Index,
    F4e,
    B4e,
    Rc8,
    Ecl,
    Ecr,
    Rc16,
}

/// `prmt`: four of the eight bytes of a (low) and b.
pub fn permute(a: u64, b: u64, selector: u64, how: Permutation) -> u64 {
    let bytes = (a & 0xffff_ffff) | b << 32;
    let byte = |index: u64| bytes >> (8 * (index & 7)) & 0xff;
    let low = selector & 3;
    (0..4u64).fold(0, |result, place| {
        let index = match how {
            Permutation::Index => {
                let choice = selector >> (4 * place) & 0xf;
                let chosen = byte(choice);
                // The highest bit of a choice asks for the byte's sign in all its bits.
                let value = if choice & 8 == 0 {
                    chosen
                } else if chosen & 0x80 != 0 {
                    0xff
                } else {
                    0
                };
                return result | value << (8 * place);
            }
            Permutation::F4e => low + place,
            Permutation::B4e => (low + 8 - place) % 8,
            Permutation::Rc8 => low,
            Permutation::Ecl => low.max(place),
            Permutation::Ecr => low.min(place),
            Permutation::Rc16 => (low & 1) * 2 + place % 2,
        };
        result | byte(index) << (8 * place)
    })
}

/// `shf`: the 64 bits of b (high) and a, shifted, one half of them.
pub fn funnel_shift(a: u64, b: u64, by: u64, left: bool, clamp: bool) -> u64 {
    let by = if clamp {
        (by & 0xffff_ffff).min(32)
    } else {
        by & 31
    };
    let joined = (b & 0xffff_ffff) << 32 | (a & 0xffff_ffff);
    let shifted = if left {
        joined << by >> 32
    } else {
        joined >> by
    };
    shifted & 0xffff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    const S32: Integer = Integer {
        bits: 32,
        signed: true,
    };
    const U32: Integer = Integer {
        bits: 32,
        signed: false,
    };

    #[test]
    fn division_by_zero_and_of_the_smallest_number() {
        assert_eq!(S32.divide(7, 0), 0xffff_ffff);
        assert_eq!(S32.remainder(7, 0), 7);
        assert_eq!(S32.divide(0x8000_0000, 0xffff_ffff), 0x8000_0000);
        assert_eq!(S32.divide(0xffff_fff9, 2), 0xffff_fffd);
        assert_eq!(S32.remainder(0xffff_fff9, 2), 0xffff_ffff);
    }

    #[test]
    fn shifts_are_clamped() {
        assert_eq!(U32.shift_left(1, 32), 0);
        assert_eq!(S32.shift_right(0x8000_0000, 40), 0xffff_ffff);
        assert_eq!(U32.shift_right(0x8000_0000, 40), 0);
        assert_eq!(
            funnel_shift(0xaaaa_bbbb, 0x1111_2222, 16, true, false),
            0x2222_aaaa
        );
        assert_eq!(
            funnel_shift(0xaaaa_bbbb, 0x1111_2222, 16, false, false),
            0x2222_aaaa
        );
        assert_eq!(
            funnel_shift(0xaaaa_bbbb, 0x1111_2222, 40, true, true),
            0xaaaa_bbbb
        );
    }

    #[test]
    fn a_field_is_extended_by_its_own_sign() {
        assert_eq!(S32.extract(0b0110_0000, 4, 3), 0xffff_fffe);
        assert_eq!(U32.extract(0b0110_0000, 4, 3), 0b110);
        assert_eq!(S32.extract(0x8000_0000, 28, 8), 0xffff_fff8);
        assert_eq!(S32.extract(0xffff_ffff, 0, 0), 0);
        assert_eq!(U32.insert(0b101, 0xffff_ffff, 4, 3), 0xffff_ffdf);
        assert_eq!(U32.insert(0xff, 0, 28, 8), 0xf000_0000);
    }

    #[test]
    fn highest_bits() {
        assert_eq!(U32.highest_bit(0x10, false), 4);
        assert_eq!(U32.highest_bit(0x10, true), 27);
        assert_eq!(S32.highest_bit(0xffff_ffff, false), 0xffff_ffff);
        assert_eq!(S32.highest_bit(0xffff_fffe, false), 0);
    }

    #[test]
    fn tables_and_permutations() {
        let (a, b, c) = (0xf0f0_1234, 0x00ff_5678, 0x1357_9bdf);
        assert_eq!(logic(a, b, c, 0xf0 & 0xcc & 0xaa), a & b & c);
        assert_eq!(logic(a, b, c, (0xf0 & 0xcc) | 0xaa), (a & b) | c);
        assert_eq!(
            logic(a, b, c, 0xf0 ^ 0xcc ^ 0xaa),
            (a ^ b ^ c) & 0xffff_ffff
        );
        assert_eq!(
            permute(0x3322_1100, 0x7766_5544, 0x7531, Permutation::Index),
            0x7755_3311
        );
        assert_eq!(
            permute(0x3322_1180, 0, 0x8888, Permutation::Index),
            0xffff_ffff
        );
        assert_eq!(
            permute(0x3322_1100, 0x7766_5544, 2, Permutation::F4e),
            0x5544_3322
        );
        assert_eq!(
            permute(0x3322_1100, 0x7766_5544, 2, Permutation::B4e),
            0x7700_1122
        );
        assert_eq!(permute(0x3322_1100, 0, 1, Permutation::Rc16), 0x3322_3322);
    }
}
