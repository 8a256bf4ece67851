//! A product of `tcgen05.mma`: operands as codes, one number of D after the other.

use super::copy::decompress;
use super::instruction_descriptor::{InstructionDescriptor, Operand};
use super::shared_descriptor::{Major, SharedDescriptor};
use crate::arithmetic::block_scaled::{Dot, Pair, Scale};
use crate::arithmetic::dot::{Accumulation, fused};
use crate::arithmetic::integer::Integer;
use crate::arithmetic::{Float, block_scaled::Sum};
use crate::instruction::{Accumulator, Element};
use crate::machine::ring_sum;
use tessera_numerics::ScaleFormat;

/// Bytes of a row of A or column of B that one instruction reads.
pub(crate) const ROW: usize = 32;

/// A row of A or a column of B as the codes of its elements.
pub(crate) type Codes = Vec<u32>;

/// The elements of the 32 bytes of a row. In shared memory elements of four and six bits of the kinds that mix formats have
/// padding behind sixteen of them; in tensor memory each has a byte.
pub(crate) fn codes(element: Element, bytes: [u8; ROW], is_padded: bool) -> Codes {
    match element {
        Element::Low {
            format,
            in_bytes: true,
        } => {
            let bits = if is_padded { format.bits() } else { 8 };
            let piece = |half: usize| {
                let own = &bytes[16 * half..16 * half + 16];
                decompress(bits, std::array::from_fn(|i| own[i]))
            };
            [piece(0), piece(1)]
                .concat()
                .into_iter()
                .map(u32::from)
                .collect()
        }
        Element::Low { .. } => bytes
            .iter()
            .flat_map(|byte| [u32::from(byte & 15), u32::from(byte >> 4)])
            .collect(),
        _ => {
            let size = element.bits() / 8;
            let value = |chunk: &[u8]| {
                let each = chunk.iter().rev();
                each.fold(0, |code, &byte| code << 8 | u32::from(byte))
            };
            bytes.chunks(size).map(value).collect()
        }
    }
}

/// Pieces of shared memory that an operand is read from: of each row of M or N the address, the bytes, and where they go in
/// the row.
pub(crate) fn pieces(
    descriptor: SharedDescriptor,
    operand: Operand,
    row: u32,
) -> Vec<(u64, usize, usize)> {
    match operand.major {
        Major::K => (0..2)
            .map(|half| {
                let address = descriptor.address(Major::K, u64::from(row), 16 * half);
                (address, 16, 16 * half as usize)
            })
            .collect(),
        Major::Mn => {
            let size = operand.element.bits() / 8;
            (0..ROW / size)
                .map(|k| {
                    let along = u64::from(row) * size as u64;
                    let address = descriptor.address(Major::Mn, k as u64, along);
                    (address, size, size * k)
                })
                .collect()
        }
    }
}

/// The scales of a row: those of a word from a byte on.
pub(crate) fn scales(
    (format, blocks): (ScaleFormat, u32),
    operand: Operand,
    word: u32,
) -> Vec<Option<Scale>> {
    let byte = |block| (word >> (8 * (operand.scale_id + block))) as u8;
    (0..blocks)
        .map(|block| Scale::new(format, byte(block)))
        .collect()
}

impl InstructionDescriptor {
    /// As [`number`](Self::number), in the ring mode.
    pub fn ring_number(
        &self,
        (a, a_scales): (&[u32], &[Option<Scale>]),
        (b, b_scales): (&[u32], &[Option<Scale>]),
        d: u32,
    ) -> Sum {
        let scales: Vec<Option<Pair>> = a_scales
            .iter()
            .zip(b_scales)
            .map(|(a, b)| Some((*a)?.times((*b)?)))
            .collect();
        let sign = self.a.is_negated != self.b.is_negated;
        let products = a.iter().zip(b).map(|(&a, &b)| {
            let a = self.a.element.payload(u64::from(a));
            let product = a.wrapping_mul(self.b.element.payload(u64::from(b)));
            if sign {
                product.wrapping_neg()
            } else {
                product
            }
        });
        let d = match self.result {
            Accumulator::F16 => d & 0xffff,
            _ => d,
        };
        Sum {
            bits: ring_sum(products, &scales, u64::from(d), self.result) as u32,
            is_decided: true,
        }
    }

    /// One number of D: of a row of A and a column of B with their scales, and what D was, divided by 2^shift.
    pub fn number(
        &self,
        (a, a_scales): (&[u32], &[Option<Scale>]),
        (b, b_scales): (&[u32], &[Option<Scale>]),
        d: u32,
        shift: u32,
    ) -> Sum {
        let decided = |bits: u64| Sum {
            bits: bits as u32,
            is_decided: true,
        };
        let value = |operand: &Operand, code: u32| {
            let value = operand.element.value(u64::from(code));
            if operand.is_negated { -value } else { value }
        };
        let scales: Vec<Option<Pair>> = a_scales
            .iter()
            .zip(b_scales)
            .map(|(a, b)| Some((*a)?.times((*b)?)))
            .collect();
        if let (
            Some((format, _)),
            Element::Low {
                in_bytes: false, ..
            },
        ) = (self.scales, self.a.element)
        {
            let signed = |codes: &[u32], operand: &Operand| -> Vec<u8> {
                let sign = if operand.is_negated { 8 } else { 0 };
                codes.iter().map(|&code| code as u8 ^ sign).collect()
            };
            return Dot {
                a: &signed(a, &self.a),
                b: &signed(b, &self.b),
                scales: &scales,
                format,
                c: d,
            }
            .sum();
        }
        if self.result == Accumulator::S32 {
            let products = a.iter().zip(b);
            let sum: f64 = products
                .map(|(&a, &b)| value(&self.a, a) * value(&self.b, b))
                .sum();
            let s32 = Integer {
                bits: 32,
                signed: true,
            };
            let sum = sum as i128 + s32.value(u64::from(d));
            return decided(if self.saturates {
                s32.saturate(sum)
            } else {
                s32.wrap(sum)
            });
        }
        let scale = match scales[..] {
            [] => 0,
            [Some(pair)] => pair.exponent(),
            _ => return decided(Float::F32.nan()),
        };
        let smallest = (
            self.a.element.smallest_exponent(),
            self.b.element.smallest_exponent(),
        );
        let pairs: Vec<_> = a
            .iter()
            .zip(b)
            .map(|(&a, &b)| {
                (
                    (value(&self.a, a), smallest.0),
                    (value(&self.b, b), smallest.1),
                )
            })
            .collect();
        let half = self.result == Accumulator::F16;
        let addend = if half {
            Float::F16.value(u64::from(d & 0xffff))
        } else {
            Float::F32.value(u64::from(d))
        };
        let addend = addend * 0.5f64.powi(shift as i32);
        decided(fused(
            &pairs,
            addend,
            scale,
            Accumulation::of(100, false, false),
            half,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::instruction_descriptor::{Form, Kind};
    use super::*;
    use tessera_numerics::ElementFormat;

    fn descriptor(kind: Kind, bits: u32, blocks: Option<u32>) -> InstructionDescriptor {
        let form = Form {
            kind,
            pair: false,
            a_in_tensor_memory: false,
            blocks,
        };
        InstructionDescriptor::new(bits | 8 << 17 | 8 << 24, form).unwrap()
    }

    fn random(state: &mut u64) -> u8 {
        *state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (*state >> 40) as u8
    }

    #[test]
    fn elements_of_a_row() {
        let bytes = std::array::from_fn(|i| i as u8 | 0x80);
        assert_eq!(codes(Element::F16, bytes, true)[1], 0x8382);
        assert_eq!(codes(Element::Tf32, bytes, true)[7], 0x9f9e_9d9c);
        let packed = Element::Low {
            format: ElementFormat::E2m1,
            in_bytes: false,
        };
        assert_eq!(codes(packed, bytes, true)[..4], [0, 8, 1, 8]);
        assert_eq!(codes(packed, bytes, true).len(), 64);
        let padded = Element::Low {
            format: ElementFormat::E2m1,
            in_bytes: true,
        };
        // Eight bytes of elements, eight of padding.
        let found = codes(padded, bytes, true);
        assert_eq!((found[15], found[16]), (8 << 2, 0));
        assert_eq!(found.len(), 32);
        assert_eq!(codes(padded, bytes, false)[5], 0x85);
    }

    /// All pairs of codes of each format against `tessera-numerics`: products of two are exact.
    #[test]
    fn products_of_every_two_codes() {
        let formats = [
            (0, ElementFormat::E4m3),
            (1, ElementFormat::E5m2),
            (3, ElementFormat::E2m3),
            (4, ElementFormat::E3m2),
            (5, ElementFormat::E2m1),
        ];
        for (a_field, a_format) in formats {
            for (b_field, b_format) in formats {
                let own = descriptor(Kind::F8f6f4, 1 << 4 | a_field << 7 | b_field << 10, None);
                let shift =
                    |format: ElementFormat| if format == ElementFormat::E2m1 { 2 } else { 0 };
                for a in 0..1u32 << a_format.bits() {
                    for b in (0..1u32 << b_format.bits()).step_by(3) {
                        let found = own.number(
                            (&[a << shift(a_format)], &[]),
                            (&[b << shift(b_format)], &[]),
                            0,
                            0,
                        );
                        let expected = a_format.decode(a as u8) * b_format.decode(b as u8);
                        let found = f32::from_bits(found.bits);
                        assert!(
                            found == expected || (found.is_nan() && expected.is_nan()),
                            "{a_format:?} {a:#x} · {b_format:?} {b:#x}: {found} for {expected}"
                        );
                    }
                }
            }
        }
    }

    /// NVFP4 and MXFP4 against the sum in f64, which is exact for scales near to each other.
    #[test]
    fn block_scaled_rows() {
        let mut state = 3;
        let cases = [
            (Kind::Mxf4nvf4, 0, ScaleFormat::E4m3, 4, 0x28..0x48),
            (Kind::Mxf4nvf4, 1 << 23, ScaleFormat::E8m0, 4, 122..132),
            (Kind::Mxf4, 1 << 23, ScaleFormat::E8m0, 2, 122..132),
        ];
        for (kind, bits, format, blocks, range) in cases {
            // B is negated.
            let own = descriptor(kind, bits | 1 << 7 | 1 << 10 | 1 << 14, Some(blocks));
            for _ in 0..200 {
                let mut row = || -> Codes {
                    (0..64)
                        .map(|_| u32::from(random(&mut state) & 15))
                        .collect()
                };
                let (a, b) = (row(), row());
                let mut word = || {
                    let span = range.end - range.start;
                    u32::from_le_bytes(std::array::from_fn(|_| {
                        range.start + random(&mut state) % span
                    }))
                };
                let (x, y) = (word(), word());
                let found = own.number(
                    (&a, &scales((format, blocks), own.a, x)),
                    (&b, &scales((format, blocks), own.b, y)),
                    1.5f32.to_bits(),
                    0,
                );
                let block = |k: usize| k * blocks as usize / 64;
                let value = |codes: &Codes, word: u32, k: usize| {
                    let scale = format.decode((word >> (8 * block(k))) as u8);
                    f64::from(ElementFormat::E2m1.decode(codes[k] as u8)) * f64::from(scale)
                };
                let exact: f64 = 1.5
                    - (0..64)
                        .map(|k| value(&a, x, k) * value(&b, y, k))
                        .sum::<f64>();
                assert!(found.is_decided);
                let expected = Float::F32.round(exact, crate::arithmetic::Rounding::TowardZero);
                assert_eq!(u64::from(found.bits), expected);
            }
        }
    }

    #[test]
    fn one_scale_for_32_elements_of_eight_bits() {
        let own = descriptor(Kind::Mxf8f6f4, 1 << 23 | 2 << 29, None);
        let a = vec![0x38; 32];
        let format = (ScaleFormat::E8m0, 1);
        // Byte 2 of A's word is selected, byte 0 of B's.
        let a_scales = scales(format, own.a, 0x7f80_0000);
        let b_scales = scales(format, own.b, 0x0000_0081);
        let found = own.number((&a, &a_scales), (&a, &b_scales), 0, 0);
        assert_eq!(f32::from_bits(found.bits), 32.0 * 2.0 * 4.0);
        let nan = scales(format, own.a, 0x00ff_0000);
        let found = own.number((&a, &nan), (&a, &b_scales), 0, 0);
        assert_eq!(found.bits, 0x7fff_ffff);
    }

    #[test]
    fn integers_wrap_or_saturate() {
        let a = vec![255; 32];
        let wraps = descriptor(Kind::I8, 2 << 4, None);
        let largest = i32::MAX as u32;
        let sum = 32 * 255 * 255;
        assert_eq!(
            wraps.number((&a, &[]), (&a, &[]), largest, 0).bits,
            largest.wrapping_add(sum)
        );
        let saturates = descriptor(Kind::I8, 2 << 4 | 1 << 3, None);
        assert_eq!(
            saturates.number((&a, &[]), (&a, &[]), largest, 0).bits,
            largest
        );
        // Both signed: 255 is -1.
        let signed = descriptor(Kind::I8, 2 << 4 | 1 << 7 | 1 << 10, None);
        assert_eq!(signed.number((&a, &[]), (&a, &[]), 0, 0).bits, 32);
    }

    #[test]
    fn halves_and_what_d_is_divided_by() {
        let one = vec![0x3c00; 16];
        let half = descriptor(Kind::F16, 0, None);
        // D is the lower half of a word.
        assert_eq!(
            half.number((&one, &[]), (&one, &[]), 0xabcd_3c00, 0).bits,
            0x4c40
        );
        let single = descriptor(Kind::F16, 1 << 4, None);
        let d = 8f32.to_bits();
        let found = single.number((&one, &[]), (&one, &[]), d, 3).bits;
        assert_eq!(f32::from_bits(found), 17.0);
    }

    #[test]
    fn an_operand_along_m_is_read_element_by_element() {
        let bits = 0x100u64 >> 4 | (0x400 >> 4) << 32 | 1 << 46 | 2 << 61;
        let shared = SharedDescriptor::new(bits).unwrap();
        let own = descriptor(Kind::F16, 1 << 4 | 1 << 15, None);
        let found = pieces(shared, own.a, 3);
        assert_eq!(found.len(), 16);
        for (k, &piece) in found.iter().enumerate() {
            let address = shared.address(Major::Mn, k as u64, 6);
            assert_eq!(piece, (address, 2, 2 * k));
        }
    }
}
