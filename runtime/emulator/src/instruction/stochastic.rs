//! `cvt.rs`: conversions that round up with a probability, by random bits that are an operand (PTX ISA 9.7.9.21).
//!
//! The ISA says which bits serve which number, not how: here a number goes away from zero where its bits, added to as many bits
//! of the fraction that is cut off, carry: so others describe measurements of E4M3 on sm_100a. For E2M1 it is
//! `ElementFormat::encode_stochastic`. Of the two bytes that the ISA gives a pair, the first number's is that of the upper half:
//! ptxas makes of the instruction two that pack a pair each, the second of which takes the first one's result for its random
//! bits, so that both read the upper byte of each half; and in the same instruction to bf16 the upper half is the first's.

use super::number::in_format;
use super::words::Words;
use super::{Action, Compute, Refusal};
use crate::arithmetic::{Float, Rounding};
use tessera_numerics::ElementFormat;

/// `cvt.rs…x4.f32 d, {a, b, e, f}, bits`: the first number is in the highest part of the result.
pub(super) fn to_elements(words: &mut Words<'_>, format: ElementFormat) -> Result<Action, Refusal> {
    if !words.has("satfinite") {
        return Err(words.refuse("needs .satfinite"));
    }
    let relu = words.has("relu");
    words.counted(&[3])?;
    let mut sources = words.sources(1)?;
    if sources.len() != 4 {
        return Err(words.refuse("needs four numbers in braces"));
    }
    sources.push(words.source(2)?);
    let width = if format == ElementFormat::E2m1 { 4 } else { 8 };
    let sources = sources
        .into_iter()
        .map(|source| in_format(source, Float::F32));
    Ok(Action::Compute(Compute {
        parts: 0,
        function: Box::new(move |active, sources, results| {
            let [result] = results else {
                return;
            };
            for lane in crate::machine::lanes_of(active) {
                let lane = lane as usize;
                let random = element_bits(format, sources[4][lane] as u32);
                result.values[lane] = (0..4).fold(0, |all, i| {
                    let value = f32::from_bits(sources[i][lane] as u32);
                    all << width | u64::from(element(format, value, random[i], relu))
                });
            }
        }),
        sources: sources.collect(),
        destinations: vec![words.destination(0)?],
    }))
}

/// `cvt.rs…x2.f32 d, a, b, bits`: the first number is in the upper half.
pub(super) fn to_two(words: &mut Words<'_>, format: Float) -> Result<Action, Refusal> {
    let finite = words.has("satfinite");
    let relu = words.has("relu");
    // As many bits as the format drops of f32's fraction.
    let bits = if format == Float::F16 { 13 } else { 16 };
    let one = move |pattern: u64, random: u64| {
        let value = Float::F32.value(pattern);
        float(
            format,
            value,
            (random & ((1 << bits) - 1), bits),
            (finite, relu),
        )
    };
    words.compute_in(Float::F32, move |[high, low, random]| {
        one(high, random >> 16) << 16 | one(low, random)
    })
}

/// The bits of each of four numbers, and how many those are. Of four-bit formats the upper bytes of the two halves are the first
/// two numbers', the lower bytes the last two's; of others the upper half is the first two's, the first one's in reverse.
fn element_bits(format: ElementFormat, random: u32) -> [(u32, u32); 4] {
    if format == ElementFormat::E2m1 {
        let byte = |at: u32| (random >> (8 * at) & 0xff, 8);
        return [byte(3), byte(1), byte(2), byte(0)];
    }
    let (high, low) = ((random >> 16) as u16, random as u16);
    [high.reverse_bits(), high, low.reverse_bits(), low].map(|bits| (u32::from(bits), 16))
}

fn element(format: ElementFormat, value: f32, (random, bits): (u32, u32), relu: bool) -> u8 {
    if value.is_nan() {
        return super::convert::element(format, value);
    }
    if relu && value.is_sign_negative() {
        return 0;
    }
    let magnitude = value.abs().min(format.largest());
    let nearest = format.encode(magnitude);
    let below = nearest - u8::from(format.decode(nearest) > magnitude);
    let low = f64::from(format.decode(below));
    let sign = format.encode(value) & !format.encode(value.abs());
    if low == f64::from(magnitude) {
        return sign | below;
    }
    let step = f64::from(format.decode(below + 1)) - low;
    sign | (below
        + u8::from(carries(
            (f64::from(magnitude) - low) / step,
            random.into(),
            bits,
        )))
}

/// Whether a fraction of a step, cut to so many bits, and random ones add up to a step.
fn carries(fraction: f64, random: u64, bits: u32) -> bool {
    let one = 1u64 << bits;
    (fraction * one as f64) as u64 + random >= one
}

fn float(
    format: Float,
    value: f64,
    (random, bits): (u64, u32),
    (finite, relu): (bool, bool),
) -> u64 {
    if value.is_nan() {
        return format.nan();
    }
    if relu && value.is_sign_negative() {
        return 0;
    }
    let toward_zero = format.round(value, Rounding::TowardZero);
    let (sign, low) = (toward_zero & format.sign(), toward_zero & !format.sign());
    if value.is_infinite() {
        return toward_zero - u64::from(finite);
    }
    let below = format.value(low);
    // The step above a number is that below it, where a binade does not begin: there it is the next one's.
    let step = match low + 1 == format.infinity() {
        true => below - format.value(low - 1),
        false => format.value(low + 1) - below,
    };
    let up = carries(((value.abs() - below) / step).min(1.0), random, bits);
    let rounded = low + u64::from(up);
    sign | if finite && rounded == format.infinity() {
        low
    } else {
        rounded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers between the format's, at and beyond its ends.
    fn numbers() -> impl Iterator<Item = f32> {
        let grid = (0..2048).map(|i| i as f32 / 256.0);
        let ends = [
            f32::MIN_POSITIVE,
            1e-30,
            448.0,
            500.0,
            6e4,
            1e30,
            f32::INFINITY,
        ];
        let all = grid.chain(ends);
        all.flat_map(|x| [x, -x, x + x / 1024.0])
    }

    #[test]
    fn e2m1_is_the_quantisers() {
        let format = ElementFormat::E2m1;
        for value in numbers() {
            for random in 0..=255u8 {
                assert_eq!(
                    element(format, value, (random.into(), 8), false),
                    format.encode_stochastic(value, random),
                    "{value} {random}"
                );
            }
        }
    }

    #[test]
    fn the_mean_over_all_random_bits_is_the_number() {
        // Numbers that 16 bits of a step tell exactly: the mean is the number itself.
        for format in [
            ElementFormat::E4m3,
            ElementFormat::E5m2,
            ElementFormat::E2m3,
            ElementFormat::E3m2,
        ] {
            for value in [0.3125f32, -1.71875, 0.0009765625, 3.140625, -2.0] {
                let draw = |random| format.decode(element(format, value, (random, 16), false));
                let sum: f64 = (0..1 << 16).map(|random| f64::from(draw(random))).sum();
                assert_eq!(sum / 65536.0, f64::from(value), "{format:?}");
            }
        }
        // All bits that are cut off are seen.
        for (format, bits) in [(Float::F16, 13), (Float::Bf16, 16)] {
            for value in [1.0 + 2f32.powi(-14), -3.25 - 2f32.powi(-20), 0.1] {
                let draw = |random| float(format, value.into(), (random, bits), (false, false));
                let all = 0..1u64 << bits;
                let sum: f64 = all.map(|random| format.value(draw(random))).sum();
                assert_eq!(sum / f64::from(1 << bits), f64::from(value), "{format:?}");
            }
        }
    }

    #[test]
    fn ends() {
        let e4m3 = |value| element(ElementFormat::E4m3, value, (0xffff, 16), false);
        assert_eq!(e4m3(f32::INFINITY), 0x7e);
        assert_eq!(e4m3(-1e9), 0xfe);
        assert_eq!(e4m3(f32::NAN) & 0x7f, 0x7f);
        assert_eq!(e4m3(-0.0), 0x80);
        assert_eq!(element(ElementFormat::E4m3, -3.0, (0, 16), true), 0);
        let f16 = |value, finite| float(Float::F16, value, (0x1fff, 13), (finite, false));
        assert_eq!(f16(65519.0, false), 0x7c00);
        assert_eq!(f16(65519.0, true), 0x7bff);
        assert_eq!(f16(-1e9, true), 0xfbff);
        assert_eq!(f16(f64::NEG_INFINITY, false), 0xfc00);
        assert_eq!(f16(-0.0, false), 0x8000);
    }

    #[test]
    fn which_bits_are_whose() {
        let e2m1 = element_bits(ElementFormat::E2m1, 0x0403_0201);
        assert_eq!(e2m1.map(|(bits, _)| bits), [4, 2, 3, 1]);
        let e4m3 = element_bits(ElementFormat::E4m3, 0x8001_0003);
        assert_eq!(e4m3.map(|(bits, _)| bits), [0x8001, 0x8001, 0xc000, 3]);
    }
}
