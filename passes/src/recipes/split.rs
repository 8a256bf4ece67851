//! Splits: the exact sums that an operand is written as before it is quantised.

use super::{Precision, Refusal};
use std::num::NonZeroU32;

/// A share, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Fraction(f64);

/// The mean split (Averis): `M = 1 μ + R`, μ the mean over the tokens, one number a feature. R is quantised; the products
/// with 1 μ are of rank one and added to the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeanSplit {
    /// What μ is rounded to.
    pub precision: Precision,
    /// Centres only where it pays, if given; everywhere otherwise.
    pub gate: Option<Gate>,
}

/// A switch a linear's operand has, which the step's state keeps: centre, or not. It is set anew from the share of the
/// mean in the energy, `l |μ|² / ‖M‖²` with l tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    threshold: Fraction,
    refresh: NonZeroU32,
}

/// The spectral split (Metis): `M = (M V) Vᵀ + R` with V an orthonormal basis of the leading right singular directions,
/// kept as state. R is quantised, and M V (as a direction times its length) and V are too, each by itself.
///
/// The sum is exact for any V: an old basis costs accuracy of the quantised R, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpectralSplit {
    rank: Fraction,
    refresh: NonZeroU32,
    sampling: Fraction,
    iterations: NonZeroU32,
    factors: Precision,
}

impl Fraction {
    /// All of it.
    pub const ONE: Self = Self(1.0);
    /// Nothing of it.
    pub const ZERO: Self = Self(0.0);

    /// That share; `None` if it is not from 0 to 1.
    pub const fn new(value: f64) -> Option<Self> {
        if value >= 0.0 && value <= 1.0 {
            // `+ 0.0` makes −0 the 0 it equals, so that equal shares print alike.
            Some(Self(value + 0.0))
        } else {
            None
        }
    }

    /// As a number from 0 to 1.
    pub const fn get(self) -> f64 {
        self.0
    }

    /// The share of a number of things, to the nearest whole one, halves up.
    pub fn of(self, count: usize) -> usize {
        // Counts of anything in a step are far below 2⁵³, where an f64 is exact; the cast saturates in any case.
        (self.0 * count as f64).round() as usize
    }
}

// Never NaN, by construction.
impl Eq for Fraction {}

impl Gate {
    /// A gate.
    ///
    /// # Errors
    /// The threshold is 0 (which centres everywhere: no gate) or 1 (which centres nowhere: no split).
    pub fn new(threshold: Fraction, refresh: NonZeroU32) -> Result<Self, Refusal> {
        if threshold == Fraction::ZERO || threshold == Fraction::ONE {
            return Err(Refusal::Threshold { found: threshold });
        }
        Ok(Self { threshold, refresh })
    }

    /// The least share of the mean in the energy with which an operand is centred.
    pub const fn threshold(&self) -> Fraction {
        self.threshold
    }

    /// How many steps the switch stays as it is.
    pub const fn refresh(&self) -> NonZeroU32 {
        self.refresh
    }
}

impl SpectralSplit {
    /// The greatest rank, as a share of the smaller dimension: beyond it the factors are larger than the operand.
    pub const GREATEST_RANK: Fraction = Fraction(0.5);

    /// A spectral split.
    ///
    /// # Errors
    /// The rank is 0 or above one half, or no rows are sampled.
    pub fn new(
        rank: Fraction,
        refresh: NonZeroU32,
        sampling: Fraction,
        iterations: NonZeroU32,
        factors: Precision,
    ) -> Result<Self, Refusal> {
        if rank == Fraction::ZERO || rank > Self::GREATEST_RANK {
            return Err(Refusal::Rank { found: rank });
        }
        if sampling == Fraction::ZERO {
            return Err(Refusal::Sampling);
        }
        Ok(Self {
            rank,
            refresh,
            sampling,
            iterations,
            factors,
        })
    }

    /// The number of directions, as a share of the matrix's smaller dimension.
    pub const fn rank(&self) -> Fraction {
        self.rank
    }

    /// How many steps a basis is used before it is improved.
    pub const fn refresh(&self) -> NonZeroU32 {
        self.refresh
    }

    /// The share of the rows that the basis is improved on.
    pub const fn sampling(&self) -> Fraction {
        self.sampling
    }

    /// The power iterations of one improvement; the first starts at the old basis.
    pub const fn iterations(&self) -> NonZeroU32 {
        self.iterations
    }

    /// What the two factors are rounded to. The lengths between them stay in f32.
    pub const fn factors(&self) -> Precision {
        self.factors
    }

    /// The number of directions for a matrix of that size, at least one.
    pub fn rank_of(&self, rows: usize, columns: usize) -> usize {
        self.rank.of(rows.min(columns)).max(1)
    }

    /// The number of rows that an improvement of the basis looks at: the share of all, but twice the rank at least and
    /// all at most. Fewer rows than directions would leave some of them undetermined.
    pub fn sampled_rows(&self, rows: usize, columns: usize) -> usize {
        let least = 2 * self.rank_of(rows, columns);
        self.sampling.of(rows).max(least).min(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipes::HighPrecision;

    fn metis() -> SpectralSplit {
        let share = |value| Fraction::new(value).unwrap();
        let steps = |count| NonZeroU32::new(count).unwrap();
        let factors = Precision::High(HighPrecision::Bf16);
        SpectralSplit::new(share(0.015), steps(8), share(0.01), steps(1), factors).unwrap()
    }

    #[test]
    fn a_fraction_is_from_0_to_1() {
        assert_eq!(Fraction::new(0.25).map(Fraction::get), Some(0.25));
        assert_eq!(Fraction::new(1.5), None);
        assert_eq!(Fraction::new(-0.1), None);
        assert_eq!(Fraction::new(f64::NAN), None);
        assert!(Fraction::new(-0.0).unwrap().get().is_sign_positive());
    }

    #[test]
    fn the_rank_is_a_share_of_the_smaller_dimension_and_one_at_least() {
        assert_eq!(metis().rank_of(16384, 4096), 61);
        assert_eq!(metis().rank_of(512, 64), 1);
        assert_eq!(metis().rank_of(8, 8), 1);
    }

    #[test]
    fn sampled_rows_determine_the_basis() {
        assert_eq!(metis().sampled_rows(65536, 4096), 655);
        assert_eq!(metis().sampled_rows(4096, 4096), 122, "twice the rank");
        assert_eq!(metis().sampled_rows(1, 4096), 1, "no more than there are");
    }
}
