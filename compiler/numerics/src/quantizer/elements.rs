//! Codes of elements, sixteen at a time, as arithmetic without branches.
//!
//! Rounding to a format is done by the processor's own rounding: a number with exponent e added to `2^(e + 23 − m)` is
//! rounded to m mantissa bits, to nearest even, and the sum's low bits count its steps.

use super::vector::{LANES, MAGNITUDE, Vector};
use crate::ElementFormat;

pub(super) const EXPONENT: u32 = 0x7f80_0000;

/// A float in every lane.
#[inline(always)]
pub(super) fn float<V: Vector>(value: f32) -> V {
    V::splat(value.to_bits())
}

/// An element format, known when the kernels are compiled.
pub(super) trait Element: Copy {
    const FORMAT: ElementFormat;
    /// The code that NaN becomes, where it is not the largest number's.
    const NAN: Option<u32>;

    const MANTISSA: u32 = Self::FORMAT.mantissa_bits();
    const LARGEST: f32 = Self::FORMAT.largest();
    const SIGN: u32 = Self::FORMAT.sign_bit() as u32;
    /// The bits of the least normal number, below which the steps stay as they are.
    const LEAST: u32 = Self::FORMAT.least_normal().to_bits();
    /// The bytes of sixteen codes.
    const GROUP_BYTES: usize = LANES / Self::FORMAT.elements_per_byte();
}

macro_rules! elements {
    ($($name:ident $nan:expr;)*) => {
        $(
            #[derive(Clone, Copy)]
            pub(super) struct $name;

            impl Element for $name {
                const FORMAT: ElementFormat = ElementFormat::$name;
                const NAN: Option<u32> = $nan;
            }
        )*
    };
}

elements! {
    E2m1 None;
    E2m3 None;
    E3m2 None;
    E4m3 Some(0x7f);
    E5m2 Some(0x7e);
}

/// The numbers between the format's largest and its negative; NaN becomes the largest.
#[inline(always)]
fn bounded<V: Vector, E: Element>(values: V) -> V {
    values.min(float(E::LARGEST)).max(float(-E::LARGEST))
}

/// Codes made of magnitudes, of which only the bits below the sign count, and of the signs of bounded numbers.
#[inline(always)]
fn finish<V: Vector, E: Element>(magnitudes: V, bounded: V, values: V) -> V {
    let signs = bounded.shift_right(32 - E::FORMAT.bits() as u32);
    let codes = magnitudes
        .and(V::splat(E::SIGN - 1))
        .or(signs.and(V::splat(E::SIGN)));
    match E::NAN {
        None => codes,
        Some(nan) => values.if_nan(V::splat(nan), codes),
    }
}

/// The largest powers of two not above the magnitudes, at least the one where the format's steps stop to shrink.
#[inline(always)]
fn binades<V: Vector, E: Element>(magnitudes: V) -> V {
    magnitudes
        .and(V::splat(EXPONENT))
        .max_words(V::splat(E::LEAST))
}

/// [`ElementFormat::encode`].
#[inline(always)]
pub(super) fn encode_nearest<V: Vector, E: Element>(values: V) -> V {
    let bounded = bounded::<V, E>(values);
    let magnitudes = bounded.and(V::splat(MAGNITUDE));
    let binades = binades::<V, E>(magnitudes);
    let sums = binades.mul_add(float(const { centre::<E>() }), magnitudes);
    // The low bits: steps of the binade; bits 23 and up: the exponent, whose unit is 2^m codes.
    let codes = sums.add_words(sums.shift_right(23 - E::MANTISSA));
    finish::<V, E>(codes, bounded, values)
}

/// What the nearest codes stand for; the largest number for NaN.
#[inline(always)]
pub(super) fn round_nearest<V: Vector, E: Element>(values: V) -> V {
    let bounded = bounded::<V, E>(values);
    let magnitudes = bounded.and(V::splat(MAGNITUDE));
    let centres = binades::<V, E>(magnitudes).mul(float(const { centre::<E>() }));
    let rounded = magnitudes.add(centres).sub(centres);
    rounded.or(bounded.and(V::splat(!MAGNITUDE)))
}

/// 2^(23 − m), and as many steps as make up for its own exponent in the codes: these are counted modulo the sign bit. The
/// number of steps is even, which leaves ties as they are.
const fn centre<E: Element>() -> f32 {
    let exponent = (127 + 23 - E::MANTISSA) << 23;
    let least = exponent + E::LEAST - 1f32.to_bits();
    let steps = (least >> (23 - E::MANTISSA)).wrapping_neg() & (E::SIGN - 1);
    f32::from_bits(exponent + steps)
}

/// [`ElementFormat::encode_stochastic`] with random bytes.
#[inline(always)]
pub(super) fn encode_stochastic<V: Vector, E: Element>(values: V, random: V) -> V {
    let bounded = bounded::<V, E>(values);
    let magnitudes = bounded.and(V::splat(MAGNITUDE));
    // u · step, exact: the byte over 2^8, times the binade over 2^m.
    let parts = binades::<V, E>(magnitudes).sub_words(V::splat((8 + E::MANTISSA) << 23));
    let moved = random.to_float().mul_add(parts, magnitudes);
    let binades = binades::<V, E>(moved);
    // 2^m over the binade, exact; `moved` is finite and below the next power of two after the largest number.
    let inverses = V::splat((254 + E::MANTISSA) << 23).sub_words(binades);
    let steps = moved.mul(inverses).truncate();
    let shift = 23 - E::MANTISSA;
    let exponents = binades
        .shift_right(shift)
        .sub_words(V::splat(E::LEAST >> shift));
    finish::<V, E>(steps.add_words(exponents), bounded, values)
}
