//! Sums without rounding.

use super::dot::round;

/// A sum of f64 without rounding: a list of numbers that do not overlap, the smallest first (J. Shewchuk, "Adaptive precision
/// floating-point arithmetic", Discrete & Computational Geometry 18, 1997).
#[derive(Default)]
pub struct Exact {
    parts: Vec<f64>,
}

impl Exact {
    pub fn add(&mut self, mut value: f64) {
        let mut kept = 0;
        for i in 0..self.parts.len() {
            let other = self.parts[i];
            let (large, small) = if value.abs() >= other.abs() {
                (value, other)
            } else {
                (other, value)
            };
            let sum = large + small;
            let rest = small - (sum - large);
            if rest != 0.0 {
                self.parts[kept] = rest;
                kept += 1;
            }
            value = sum;
        }
        self.parts.truncate(kept);
        if value != 0.0 {
            self.parts.push(value);
        }
    }

    /// The bits of f32 next to the sum on zero's side.
    pub fn toward_zero(&self) -> u64 {
        let Some((&largest, rest)) = self.parts.split_last() else {
            return 0;
        };
        let next = rest.last().copied().unwrap_or(0.0);
        // If what is left points to zero the sum lies below the largest part, however little.
        let toward = if next != 0.0 && (next < 0.0) != (largest < 0.0) {
            f64::from_bits(largest.to_bits() - 1)
        } else {
            largest
        };
        round(toward, 23, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_and_sums_are_rounded_towards_zero() {
        // A number of f32, less something far below: one step towards zero.
        let mut sum = Exact::default();
        sum.add(1.0);
        sum.add(-(2f64.powi(-120)));
        assert_eq!(
            f32::from_bits(sum.toward_zero() as u32),
            1.0 - 2f32.powi(-24)
        );
        // What cancels leaves what is far below.
        sum.add(-1.0);
        assert_eq!(f32::from_bits(sum.toward_zero() as u32), -(2f32.powi(-120)));
        sum.add(2f64.powi(-120));
        assert_eq!(sum.toward_zero(), 0);
    }
}
