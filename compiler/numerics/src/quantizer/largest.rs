//! The largest magnitude, at the speed of memory.

use super::vector::MAGNITUDE;
use crate::simd::{SimdLevel, for_each_level};

/// The largest absolute value, 0 for none at all. NaN where any number is NaN, as StableHLO's `maximum` has it.
pub fn largest_magnitude(values: &[f32]) -> f32 {
    from_magnitude(largest(SimdLevel::detect(), values))
}

/// The largest absolute value of a matrix's numbers less the mean of their column, `value − mean` in f32; the matrix's rows
/// are as long as there are means. 0 for none at all, NaN where any difference is NaN.
pub fn largest_centred_magnitude(values: &[f32], mean: &[f32]) -> f32 {
    from_magnitude(largest_centred(SimdLevel::detect(), values, mean))
}

/// The magnitude of those bits; any NaN is one.
pub(super) fn from_magnitude(bits: u32) -> f32 {
    let largest = f32::from_bits(bits);
    if largest.is_nan() { f32::NAN } else { largest }
}

for_each_level! {
    fn largest(values: &[f32]) -> u32 = {
        avx512: largest_body,
        avx2: largest_body,
        portable: largest_body,
    };
}

for_each_level! {
    fn largest_centred(values: &[f32], mean: &[f32]) -> u32 = {
        avx512: largest_centred_body,
        avx2: largest_centred_body,
        portable: largest_centred_body,
    };
}

#[inline(always)]
fn largest_body(values: &[f32]) -> u32 {
    let magnitudes = values.iter().map(|value| value.to_bits() & MAGNITUDE);
    magnitudes.fold(0, u32::max)
}

#[inline(always)]
fn largest_centred_body(values: &[f32], mean: &[f32]) -> u32 {
    let rows = values.chunks(mean.len().max(1));
    rows.fold(0, |largest, row| {
        let centred = row.iter().zip(mean).map(|(value, mean)| value - mean);
        let magnitudes = centred.map(|value| value.to_bits() & MAGNITUDE);
        magnitudes.fold(largest, u32::max)
    })
}
