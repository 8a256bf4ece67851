//! Hadamard transforms at the speed of memory, with the bits of [`hadamard`](crate::hadamard()).

#[cfg(target_arch = "x86_64")]
use super::avx2::Avx2;
#[cfg(target_arch = "x86_64")]
use super::avx512::Avx512;
use super::vector::{Floats, LANES, Portable, Vector, Words};
use crate::hadamard::check_size;
use crate::simd::{SimdLevel, for_each_level};
use crate::{HADAMARD_SIZES, HadamardError};

/// The bit of a float's sign.
const SIGN: u32 = 1 << 31;

/// The most groups of sixteen numbers of a block.
const GROUPS: usize = HADAMARD_SIZES[HADAMARD_SIZES.len() - 1] / LANES;

/// The Hadamard transform of blocks of one size, with signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HadamardTransform {
    size: usize,
    /// The sign bits that are flipped, of as many numbers as a block has.
    signs: [Words; GROUPS],
    level: SimdLevel,
}

impl HadamardTransform {
    /// The transform of blocks of as many numbers as there are signs, with the best instructions of this processor. A sign
    /// of true is −1.
    ///
    /// # Errors
    /// The size is none of [`HADAMARD_SIZES`].
    pub fn new(signs: &[bool]) -> Result<Self, HadamardError> {
        check_size(signs.len())?;
        let mut bits = [[0; LANES]; GROUPS];
        for (bits, &negative) in bits.as_flattened_mut().iter_mut().zip(signs) {
            *bits = if negative { SIGN } else { 0 };
        }
        Ok(Self {
            size: signs.len(),
            signs: bits,
            level: SimdLevel::detect(),
        })
    }

    /// The same with chosen instructions; one of [`SimdLevel::available`], or else the best that there are.
    pub fn with_level(mut self, level: SimdLevel) -> Self {
        if SimdLevel::available().contains(&level) {
            self.level = level;
        }
        self
    }

    /// The numbers of a block.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Writes the transforms of blocks that lie one after the other.
    ///
    /// # Panics
    /// The numbers are no whole number of blocks, or the results are not as many.
    pub fn along(&self, values: &[f32], results: &mut [f32]) {
        assert!(values.len().is_multiple_of(self.size) && values.len() == results.len());
        along(self.level, self, values, results);
    }

    /// Transforms blocks that lie side by side, in place: number i of each is in row i of `rows`.
    ///
    /// # Panics
    /// The numbers are no whole number of rows.
    pub fn across(&self, rows: &mut [f32]) {
        assert!(rows.len().is_multiple_of(self.size));
        across(self.level, self, rows);
    }

    /// The transform along an axis of a tensor that has so many numbers for each index of it and of those before.
    pub(super) fn of_axis(&self, values: &[f32], inner: usize) -> Vec<f32> {
        let mut results = values.to_vec();
        if inner == 1 {
            self.along(values, &mut results);
        } else if inner > 1 {
            for rows in results.chunks_exact_mut(self.size * inner) {
                self.across(rows);
            }
        }
        results
    }

    /// Writes the transforms of blocks that lie side by side, `run` groups of sixteen of them: a row of groups after the
    /// other, a block's numbers in as many rows as it has.
    #[inline(always)]
    pub(super) fn side_by_side<V: Vector>(
        &self,
        values: &[Floats],
        results: &mut [Floats],
        run: usize,
    ) {
        let block = self.size * run;
        for (values, results) in values
            .chunks_exact(block)
            .zip(results.chunks_exact_mut(block))
        {
            for column in 0..run {
                self.sixteen_blocks::<V>(&values[column..], &mut results[column..], run);
            }
        }
    }

    /// Sixteen blocks side by side: sixteen numbers of each at a time in registers, then the pairs that are farther apart.
    #[inline(always)]
    fn sixteen_blocks<V: Vector>(&self, values: &[Floats], results: &mut [Floats], run: usize) {
        let norm = V::splat(self.norm().to_bits());
        let is_done = self.size == LANES;
        for (part, signs) in self.signs[..self.size / LANES].iter().enumerate() {
            let first = part * LANES;
            let mut rows = [V::splat(0); LANES];
            for (index, (row, &sign)) in rows.iter_mut().zip(signs).enumerate() {
                *row = V::load(&values[(first + index) * run]).xor(V::splat(sign));
            }
            let mut distance = 1;
            while distance < LANES {
                for low in 0..LANES {
                    if low & distance == 0 {
                        let (a, b) = (rows[low], rows[low + distance]);
                        (rows[low], rows[low + distance]) = (a.add(b), a.sub(b));
                    }
                }
                distance *= 2;
            }
            for (index, row) in rows.iter().enumerate() {
                let row = if is_done { row.mul(norm) } else { *row };
                row.store(&mut results[(first + index) * run]);
            }
        }
        let mut distance = LANES;
        while distance < self.size {
            let is_last = 2 * distance == self.size;
            for low in 0..self.size {
                if low & distance == 0 {
                    let (low, high) = (low * run, (low + distance) * run);
                    let (a, b) = (V::load(&results[low]), V::load(&results[high]));
                    let (mut sum, mut difference) = (a.add(b), a.sub(b));
                    if is_last {
                        (sum, difference) = (sum.mul(norm), difference.mul(norm));
                    }
                    sum.store(&mut results[low]);
                    difference.store(&mut results[high]);
                }
            }
            distance *= 2;
        }
    }

    /// [`along`](Self::along) with instructions that the caller has chosen.
    pub(super) fn along_with(&self, level: SimdLevel, values: &[f32], results: &mut [f32]) {
        along(level, self, values, results);
    }

    /// What numbers are multiplied by at the end.
    #[inline(always)]
    fn norm(&self) -> f32 {
        (1.0 / (self.size as f64).sqrt()) as f32
    }
}

for_each_level! {
    fn along(transform: &HadamardTransform, values: &[f32], results: &mut [f32]) = {
        avx512: along_with::<Avx512>,
        avx2: along_with::<Avx2>,
        portable: along_with::<Portable>,
    };
}

for_each_level! {
    fn across(transform: &HadamardTransform, rows: &mut [f32]) = {
        avx512: across_body,
        avx2: across_body,
        portable: across_body,
    };
}

#[inline(always)]
fn along_with<V: Vector>(transform: &HadamardTransform, values: &[f32], results: &mut [f32]) {
    match transform.size {
        16 => blocks_along::<V, 1>(transform, values, results),
        32 => blocks_along::<V, 2>(transform, values, results),
        64 => blocks_along::<V, 4>(transform, values, results),
        _ => blocks_along::<V, GROUPS>(transform, values, results),
    }
}

/// Blocks of `N` groups.
#[inline(always)]
fn blocks_along<V: Vector, const N: usize>(
    transform: &HadamardTransform,
    values: &[f32],
    results: &mut [f32],
) {
    let norm = V::splat(transform.norm().to_bits());
    let (values, _) = values.as_chunks::<LANES>();
    let (results, _) = results.as_chunks_mut::<LANES>();
    let (values, _) = values.as_chunks::<N>();
    let (results, _) = results.as_chunks_mut::<N>();
    for (values, results) in values.iter().zip(results) {
        let mut block = [V::splat(0); N];
        for (group, (place, value)) in block.iter_mut().zip(values).enumerate() {
            let signed = V::load(value).xor(V::of_words(&transform.signs[group]));
            *place = within_groups(signed);
        }
        let mut distance = 1;
        while distance < N {
            for first in 0..N {
                if first & distance == 0 {
                    let (a, b) = (block[first], block[first + distance]);
                    (block[first], block[first + distance]) = (a.add(b), a.sub(b));
                }
            }
            distance *= 2;
        }
        for (result, group) in results.iter_mut().zip(block) {
            *result = group.mul(norm).words().map(f32::from_bits);
        }
    }
}

/// The steps of the transform whose pairs are within a group.
#[inline(always)]
fn within_groups<V: Vector>(group: V) -> V {
    let group = pairs::<V, 1>(group);
    let group = pairs::<V, 2>(group);
    let group = pairs::<V, 4>(group);
    pairs::<V, 8>(group)
}

/// `(a + b, a − b)` of the lanes that far apart: what is exchanged, plus a or −b.
#[inline(always)]
fn pairs<V: Vector, const DISTANCE: usize>(group: V) -> V {
    let mut signs = [0; LANES];
    for (lane, sign) in signs.iter_mut().enumerate() {
        *sign = if lane & DISTANCE == 0 { 0 } else { SIGN };
    }
    let exchanged = group.exchange::<DISTANCE>();
    exchanged.add(group.xor(V::of_words(&signs)))
}

#[inline(always)]
fn across_body(transform: &HadamardTransform, rows: &mut [f32]) {
    let width = rows.len() / transform.size;
    if width == 0 {
        return;
    }
    let signs = transform.signs.as_flattened();
    for (row, sign) in rows.chunks_exact_mut(width).zip(signs) {
        for value in row {
            *value = f32::from_bits(value.to_bits() ^ sign);
        }
    }
    let mut distance = width;
    while distance < rows.len() {
        for pairs in rows.chunks_exact_mut(2 * distance) {
            let (first, second) = pairs.split_at_mut(distance);
            for (a, b) in first.iter_mut().zip(second) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        distance *= 2;
    }
    let norm = transform.norm();
    for value in rows {
        *value *= norm;
    }
}
