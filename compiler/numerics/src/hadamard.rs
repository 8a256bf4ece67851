//! The Hadamard transform over short blocks, with signs: an orthogonal rotation that spreads outliers.
//!
//! For a block x of n numbers and signs s the transform is `H · (s ⊙ x) / √n`, H in Sylvester's order:
//! `H[i][j] = (−1)^popcount(i & j)`. Its inverse is `s ⊙ (H · x / √n)`.
//!
//! **Order of operations**, all in f32: the signs; then, for distances 1, 2, 4, … up to n / 2, each pair `(a, b)` of places
//! i and i + distance, where i has no bit of the distance, becomes `(a + b, a − b)`; then each number is multiplied by 1/√n
//! rounded to f32. Nothing is fused.

use crate::philox::philox_4x32_10;

/// Why there is no such transform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HadamardError {
    /// A size that is none of [`HADAMARD_SIZES`].
    #[error("expected a Hadamard transform of 16, 32, 64 or 128 numbers, found {found}")]
    Size {
        /// The size asked for.
        found: usize,
    },
    /// Numbers that are no whole number of blocks.
    #[error("expected a multiple of {size} numbers for a Hadamard transform, found {found}")]
    Length {
        /// The size asked for.
        size: usize,
        /// The numbers given.
        found: usize,
    },
    /// Not one sign for each number of a block.
    #[error("expected {size} signs for a Hadamard transform, found {found}")]
    Signs {
        /// The size asked for.
        size: usize,
        /// The signs given.
        found: usize,
    },
}

/// The sizes of blocks that there are transforms for.
pub const HADAMARD_SIZES: [usize; 4] = [16, 32, 64, 128];

/// Transforms every block of `size` numbers in place. A sign of true is −1. A matrix whose rows are a multiple of `size`
/// long is transformed along its rows.
///
/// # Errors
/// The size is none of [`HADAMARD_SIZES`], the numbers are no multiple of it, or the signs are not as many.
pub fn hadamard(values: &mut [f32], size: usize, signs: &[bool]) -> Result<(), HadamardError> {
    check(values, size, signs)?;
    for block in values.chunks_exact_mut(size) {
        flip(block, signs);
        butterflies(block);
    }
    Ok(())
}

/// Undoes [`hadamard`], up to rounding.
///
/// # Errors
/// As [`hadamard`].
pub fn inverse_hadamard(
    values: &mut [f32],
    size: usize,
    signs: &[bool],
) -> Result<(), HadamardError> {
    check(values, size, signs)?;
    for block in values.chunks_exact_mut(size) {
        butterflies(block);
        flip(block, signs);
    }
    Ok(())
}

/// TransformerEngine's signs, the same for every tensor and step: + + + − + − − − − − − + − + − −.
pub const fn transformer_engine_signs() -> [bool; 16] {
    let (p, m) = (false, true);
    [p, p, p, m, p, m, m, m, m, m, m, p, m, p, m, m]
}

/// Signs drawn from a seed: sign i is bit `i % 32` of word `i / 32` of Philox-4x32-10 with the counter `[0, 0, 0, site]`
/// and the seed as the key.
///
/// # Errors
/// The size is none of [`HADAMARD_SIZES`].
pub fn random_signs(size: usize, seed: u64, site: u32) -> Result<Vec<bool>, HadamardError> {
    check_size(size)?;
    let words = philox_4x32_10([0, 0, 0, site], [seed as u32, (seed >> 32) as u32]);
    Ok((0..size)
        .map(|place| words[place / 32] >> (place % 32) & 1 == 1)
        .collect())
}

fn check(values: &[f32], size: usize, signs: &[bool]) -> Result<(), HadamardError> {
    check_size(size)?;
    if !values.len().is_multiple_of(size) {
        let found = values.len();
        return Err(HadamardError::Length { size, found });
    }
    if signs.len() != size {
        let found = signs.len();
        return Err(HadamardError::Signs { size, found });
    }
    Ok(())
}

pub(crate) fn check_size(size: usize) -> Result<(), HadamardError> {
    if HADAMARD_SIZES.contains(&size) {
        Ok(())
    } else {
        Err(HadamardError::Size { found: size })
    }
}

fn flip(block: &mut [f32], signs: &[bool]) {
    for (value, &negative) in block.iter_mut().zip(signs) {
        if negative {
            *value = -*value;
        }
    }
}

fn butterflies(block: &mut [f32]) {
    let mut distance = 1;
    while distance < block.len() {
        for pairs in block.chunks_exact_mut(2 * distance) {
            let (first, second) = pairs.split_at_mut(distance);
            for (a, b) in first.iter_mut().zip(second) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        distance *= 2;
    }
    let norm = (1.0 / (block.len() as f64).sqrt()) as f32;
    for value in block {
        *value *= norm;
    }
}
