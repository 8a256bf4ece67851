//! What a `tcgen05.mma` multiplies, taken apart once for all numbers of D, which are made by eights.

use super::instruction_descriptor::{InstructionDescriptor, Operand};
use super::multiply::Codes;
use crate::arithmetic::Float;
use crate::arithmetic::block_scaled::{self, Scale, Sum};
use crate::arithmetic::dot::{self, Accumulation, COLUMNS};
use crate::instruction::{Accumulator, Element};
use tessera_numerics::ScaleFormat;

/// The scales of each row of A or column of B; of none where the kind has none.
pub(crate) type Scales = Vec<Vec<Option<Scale>>>;

/// The operands of a product.
pub(crate) struct Factors<'f> {
    descriptor: &'f InstructionDescriptor,
    a: Vec<Codes>,
    a_scales: Scales,
    b: Vec<Codes>,
    /// As each CTA of a pair has them.
    b_scales: Vec<Scales>,
    parts: Parts,
}

/// How they are taken apart.
enum Parts {
    /// E2M1 with scales of blocks along k; B with those of each CTA.
    BlockScaled {
        a: block_scaled::Lines,
        b: Vec<block_scaled::Columns>,
        format: ScaleFormat,
    },
    /// Other floating-point numbers, with one scale for a row or none.
    Numbers { a: dot::Lines, b: Vec<dot::Columns> },
    /// Integers, and numbers in the ring mode.
    OneByOne { is_ring: bool },
}

impl<'f> Factors<'f> {
    /// Of the codes of A's rows and B's columns, a multiple of eight, and of their scales; `is_ring` is the ring mode.
    pub fn new(
        descriptor: &'f InstructionDescriptor,
        (a, a_scales): (Vec<Codes>, Scales),
        (b, b_scales): (Vec<Codes>, Vec<Scales>),
        is_ring: bool,
    ) -> Self {
        let is_integer = descriptor.result == Accumulator::S32;
        let parts = match (descriptor.scales, descriptor.a.element) {
            _ if is_integer || is_ring => Parts::OneByOne {
                is_ring: !is_integer,
            },
            (
                Some((format, _)),
                Element::Low {
                    in_bytes: false, ..
                },
            ) => Parts::BlockScaled {
                a: block_scaled(&a, &a_scales, descriptor.a),
                b: b_scales
                    .iter()
                    .map(|scales| block_scaled(&b, scales, descriptor.b))
                    .map(block_scaled::Columns::of)
                    .collect(),
                format,
            },
            _ => Parts::Numbers {
                a: numbers(&a, descriptor.a),
                b: dot::Columns::of(&numbers(&b, descriptor.b)),
            },
        };
        Self {
            descriptor,
            a,
            a_scales,
            b,
            b_scales,
            parts,
        }
    }

    /// Numbers of D: of a row and eight columns, with the scales of B that a CTA has, and of what D was, divided by 2^shift.
    pub fn numbers(
        &self,
        row: usize,
        (cta, eight): (usize, usize),
        d: [u32; COLUMNS],
        shift: u32,
    ) -> [Sum; COLUMNS] {
        let own_scales = self.a_scales.get(row).map_or(&[][..], |own| own);
        let scales = |column: usize| {
            let others = self.b_scales[cta].get(COLUMNS * eight + column);
            others.map_or(&[][..], |own| own)
        };
        match &self.parts {
            Parts::BlockScaled { a, b, format } => b[cta].sums((a, row), eight, d, *format),
            Parts::Numbers { a, b } => {
                let pairs = std::array::from_fn(|column| match (own_scales, scales(column)) {
                    ([], _) | (_, []) => Some(0),
                    ([a, ..], [b, ..]) => Some((*a)?.times((*b)?).exponent()),
                });
                self.sums((a, row), &b[eight], pairs, d, shift)
            }
            Parts::OneByOne { is_ring } => std::array::from_fn(|column| {
                let own = (&self.a[row][..], own_scales);
                let other = (&self.b[COLUMNS * eight + column][..], scales(column));
                if *is_ring {
                    self.descriptor.ring_number(own, other, d[column])
                } else {
                    self.descriptor.number(own, other, d[column], shift)
                }
            }),
        }
    }

    /// Sums of floating-point numbers times powers of two; that of a scale that is NaN is not there.
    fn sums(
        &self,
        row: (&dot::Lines, usize),
        columns: &dot::Columns,
        scales: [Option<i32>; COLUMNS],
        d: [u32; COLUMNS],
        shift: u32,
    ) -> [Sum; COLUMNS] {
        let half = self.descriptor.result == Accumulator::F16;
        let divisor = 0.5f64.powi(shift as i32);
        let addends = d.map(|d| {
            let d = match half {
                true => Element::F16.number(d & 0xffff),
                false => f32::from_bits(d),
            };
            f64::from(d) * divisor
        });
        let exponents = scales.map(|scale| scale.unwrap_or(0));
        let how = Accumulation::of(100, false, false);
        let bits = columns.fused(row, addends, exponents, how, half);
        std::array::from_fn(|column| Sum {
            bits: match scales[column] {
                Some(_) => bits[column] as u32,
                None => Float::F32.nan() as u32,
            },
            is_decided: true,
        })
    }
}

/// Codes of E2M1 with the operand's sign, and their scales.
fn block_scaled(codes: &[Codes], scales: &Scales, operand: Operand) -> block_scaled::Lines {
    let sign = if operand.is_negated { 8 } else { 0 };
    let all = codes.iter().flatten().map(|&code| code as u8 ^ sign);
    let blocks = scales.first().map_or(0, Vec::len);
    block_scaled::Lines::new((all.collect(), length(codes)), (scales.concat(), blocks))
}

/// Floating-point numbers with the operand's sign.
fn numbers(codes: &[Codes], operand: Operand) -> dot::Lines {
    let sign = if operand.is_negated { -1.0 } else { 1.0 };
    let all = codes.iter().flatten();
    let all = all.map(|&code| sign * operand.element.number(code));
    dot::Lines::new(
        length(codes),
        all.collect(),
        operand.element.smallest_exponent(),
    )
}

fn length(codes: &[Codes]) -> usize {
    codes.first().map_or(0, Vec::len)
}

#[cfg(test)]
mod tests {
    use super::super::instruction_descriptor::{Form, Kind};
    use super::super::multiply::scales;
    use super::*;

    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u32 {
            self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1);
            (self.0 >> 32) as u32
        }

        fn codes(&mut self, k: usize, bits: usize) -> Codes {
            (0..k).map(|_| self.next() >> (32 - bits)).collect()
        }
    }

    /// Eight numbers of D against each by itself, of random codes, of scales from those of `nearby` codes or of any.
    fn check(kind: Kind, fields: u32, blocks: Option<u32>) {
        let form = Form {
            kind,
            pair: false,
            a_in_tensor_memory: false,
            blocks,
        };
        // Twice eight columns, of 128 rows of which three are here.
        let own = InstructionDescriptor::new(fields | 2 << 17 | 8 << 24, form).unwrap();
        let k = 8 * 32 / own.a.element.bits();
        let mut random = Random(7);
        for round in 0..100 {
            let mut lines = |count: usize, operand: Operand| -> (Vec<Codes>, Scales) {
                let codes = |_| random.codes(k, operand.element.bits());
                let codes = (0..count).map(codes).collect();
                let Some(form) = own.scales else {
                    return (codes, Vec::new());
                };
                let mut word = || match round % 2 {
                    0 => random.next(),
                    _ => random.next() & 0x0303_0303 | 0x3c3c_3c3c,
                };
                (
                    codes,
                    (0..count).map(|_| scales(form, operand, word())).collect(),
                )
            };
            let (a, b) = (lines(3, own.a), lines(16, own.b));
            let (b_codes, b_scales) = (b.0.clone(), vec![b.1.clone()]);
            let factors = Factors::new(&own, a.clone(), (b_codes, b_scales), false);
            for (row, eight) in [(0, 0), (1, 1), (2, 0)] {
                let d = std::array::from_fn(|_| match round % 3 {
                    0 => 0,
                    1 => random.next(),
                    _ => random.next() >> 8 | 0x3f00_0000,
                });
                let shift = if kind == Kind::F16 { round % 16 } else { 0 };
                let found = factors.numbers(row, (0, eight), d, shift);
                let expected = std::array::from_fn(|column| {
                    let number = COLUMNS * eight + column;
                    let none = Vec::new();
                    let own_scales = a.1.get(row).unwrap_or(&none);
                    let others = b.1.get(number).unwrap_or(&none);
                    own.number(
                        (&a.0[row], own_scales),
                        (&b.0[number], others),
                        d[column],
                        shift,
                    )
                });
                assert_eq!(found, expected, "{kind:?}, round {round}");
            }
        }
    }

    #[test]
    fn halves_and_integers_are_what_each_is_by_itself() {
        check(Kind::F16, 0, None);
        // To f32; of bf16, A negated.
        check(Kind::F16, 1 << 4, None);
        check(Kind::F16, 1 << 4 | 1 << 7 | 1 << 10 | 1 << 13, None);
        check(Kind::Tf32, 1 << 4 | 2 << 7 | 2 << 10, None);
        check(Kind::I8, 2 << 4 | 1 << 7 | 1 << 3, None);
    }

    #[test]
    fn low_formats_are_what_each_is_by_itself() {
        for (a, b) in [(0, 1), (3, 4), (5, 0)] {
            check(Kind::F8f6f4, 1 << 4 | a << 7 | b << 10, None);
            check(Kind::Mxf8f6f4, a << 7 | b << 10 | 1 << 23, None);
        }
    }

    #[test]
    fn block_scaled_numbers_are_what_each_is_by_itself() {
        check(Kind::Mxf4, 1 << 7 | 1 << 10 | 1 << 23, Some(2));
        check(Kind::Mxf4nvf4, 1 << 7 | 1 << 10, Some(4));
        // B is negated.
        check(
            Kind::Mxf4nvf4,
            1 << 7 | 1 << 10 | 1 << 14 | 1 << 23,
            Some(4),
        );
    }
}
