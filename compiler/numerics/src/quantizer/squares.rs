//! Square blocks of a patch: what their scales are made of is known before a row or a column of them is scaled.

#[cfg(target_arch = "x86_64")]
use super::avx2::Avx2;
#[cfg(target_arch = "x86_64")]
use super::avx512::Avx512;
use super::columns::largest;
use super::kernel::GROUPS;
use super::scales::Candidate;
use super::source::{Across, Patch};
use super::vector::{LANES, Portable, Vector, Words};
use crate::quantize::TensorScale;
use crate::simd::for_each_level;

/// A number's bits for each square of 16 × 16 elements of a patch, by rows and columns of squares.
pub(super) type Squares = [Words; GROUPS];

for_each_level! {
    /// The largest magnitude of each square.
    fn largest_of_squares(patch: &Patch, squares: &mut Squares) = {
        avx512: largest_of_squares_with::<Avx512>,
        avx2: largest_of_squares_with::<Avx2>,
        portable: largest_of_squares_with::<Portable>,
    };
}

for_each_level! {
    /// From the largest magnitude of each square the scale that the rule `four_over_six` wants for it.
    fn four_over_six_of_squares(patch: &Patch, tensor: TensorScale, squares: &mut Squares) = {
        avx512: four_over_six_of_squares_with::<Avx512>,
        avx2: four_over_six_of_squares_with::<Avx2>,
        portable: four_over_six_of_squares_with::<Portable>,
    };
}

#[inline(always)]
fn largest_of_squares_with<V: Vector>(patch: &Patch, squares: &mut Squares) {
    each_square(patch, squares, |elements, square| {
        let lanes = largest::<V>(elements).words();
        *square = lanes.iter().fold(0, |all, &one| all.max(one));
    });
}

#[inline(always)]
fn four_over_six_of_squares_with<V: Vector>(
    patch: &Patch,
    tensor: TensorScale,
    squares: &mut Squares,
) {
    each_square(patch, squares, |elements, square| {
        let six = f32::from_bits(*square) / 6.0 * tensor.encode;
        let four = six * 1.5;
        let [lost_by_six, lost_by_four] =
            [six, four].map(|wanted| error::<V>(wanted, tensor, elements));
        let wanted = if lost_by_four < lost_by_six {
            four
        } else {
            six
        };
        *square = wanted.to_bits();
    });
}

#[inline(always)]
fn each_square(patch: &Patch, squares: &mut Squares, mut body: impl FnMut(Across<'_>, &mut u32)) {
    for (row, squares) in squares.iter_mut().enumerate() {
        for (column, square) in squares.iter_mut().enumerate() {
            if row * LANES < patch.place.rows && column * LANES < patch.place.columns {
                body(patch.across(row * LANES, column), square);
            }
        }
    }
}

/// Twice the sum of the absolute errors of a square: of its rows' sums and of its columns'.
#[inline(always)]
fn error<V: Vector>(wanted: f32, tensor: TensorScale, elements: Across<'_>) -> f32 {
    let decode = 1.0 / tensor.encode;
    let scale = Candidate::<V>::new(V::splat(wanted.to_bits()), decode);
    let mut errors = [V::splat(0); LANES];
    for (row, error) in errors.iter_mut().enumerate() {
        *error = scale.error(V::load(elements.row(row)), tensor.amax);
    }
    sum_of_sums::<V>(&errors) + sum_of_sums::<V>(&V::transpose(&errors))
}

/// The lanes' sums over the vectors, one after the other, and the sum of these, one after the other.
#[inline(always)]
fn sum_of_sums<V: Vector>(vectors: &[V; LANES]) -> f32 {
    let sums = vectors.iter().fold(V::splat(0), |sum, &one| sum.add(one));
    let sums = sums.words().map(f32::from_bits);
    sums.iter().fold(0.0, |all, one| all + one)
}
