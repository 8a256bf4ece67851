//! The two published models of hardware.

use super::{Dot, EXPONENTS, GROUP, HALVES, Pair, SMALLEST, cut_off, toward_zero};
use tessera_numerics::ScaleFormat;

impl Dot<'_> {
    pub(super) fn mma_sim(&self) -> u32 {
        let (c, c_lowest, c_exponent) = self.addend();
        let c_exponent = if c == 0 { SMALLEST } else { c_exponent };
        let exponents = self
            .groups(GROUP)
            .map(|(_, pair)| pair.exponent_of_zero_too());
        let quantum = exponents.fold(c_exponent, i32::max) - 35;
        let terms = self.groups(GROUP).map(|(quarters, pair)| {
            cut_off(
                i128::from(quarters * pair.significand),
                pair.lowest(),
                quantum,
            )
        });
        toward_zero(cut_off(c, c_lowest, quantum) + terms.sum::<i128>(), quantum)
    }

    pub(super) fn tcgen05_model(&self) -> u32 {
        let block = (self.a.len() / self.scales.len().max(1)).max(1);
        // Of each product that is not zero its own exponent and that of its scales.
        let raw = |from: usize, to: usize| {
            (from..to.min(self.a.len())).filter_map(move |k| {
                let (a, b) = (usize::from(self.a[k] & 15), usize::from(self.b[k] & 15));
                let pair = (*self.scales.get(k / block)?)?;
                let is_zero = HALVES[a] * HALVES[b] == 0 || pair.is_zero;
                (!is_zero).then_some((EXPONENTS[a] + EXPONENTS[b] + pair.exponent, pair.exponent))
            })
        };
        let largest_of = |from, to| {
            raw(from, to).fold(None, |all: Option<(i32, i32)>, (product, scale)| {
                let (p, s) = all.unwrap_or((product, scale));
                Some((p.max(product), s.max(scale)))
            })
        };
        let Some((product, scale)) = largest_of(0, self.a.len()) else {
            return self.c;
        };
        let (c, c_lowest, c_exponent) = self.addend();
        let term = |(quarters, pair): (i64, Pair), quantum| {
            cut_off(
                i128::from(quarters * pair.significand),
                pair.lowest(),
                quantum,
            )
        };
        if c != 0 && c_exponent >= product {
            let quantum = c_exponent - 35;
            let terms: i128 = self.groups(GROUP).map(|group| term(group, quantum)).sum();
            return toward_zero(cut_off(c, c_lowest, quantum) + terms, quantum);
        }
        let largest = if c == 0 {
            product
        } else {
            product.max(c_exponent)
        };
        let quantum = (largest - 39).max(scale - 35);
        let c_units = cut_off(c, c_lowest, quantum);
        if self.format == ScaleFormat::E4m3 {
            let terms: i128 = self.groups(4).map(|group| term(group, quantum)).sum();
            return toward_zero(c_units + terms, quantum);
        }
        // Sums of sixteen, cut off below C where C is larger than they are.
        let terms: Vec<(i128, i32)> = self
            .groups(GROUP)
            .enumerate()
            .map(|(number, group)| {
                let own = largest_of(number * GROUP, (number + 1) * GROUP);
                let is_below = own.is_some_and(|(product, _)| c != 0 && c_exponent >= product);
                let own_quantum = if is_below {
                    quantum.max(c_exponent - 35)
                } else {
                    quantum
                };
                let units = term(group, own_quantum) << (own_quantum - quantum);
                (units, own.map_or(i32::MAX, |(_, scale)| scale))
            })
            .collect();
        let sum = toward_zero(
            c_units + terms.iter().map(|(units, _)| units).sum::<i128>(),
            quantum,
        );
        if !(1..1 << 23).contains(&(sum & 0x7fff_ffff)) {
            return sum;
        }
        // Of a subnormal sum, terms below 2^-174 are left out unless their scales are the largest.
        let floor = 1i128 << (-174 - quantum).clamp(0, 126);
        let kept = terms
            .iter()
            .filter(|(units, own)| *own >= scale || units.abs() >= floor);
        toward_zero(
            c_units + kept.map(|(units, _)| units).sum::<i128>(),
            quantum,
        )
    }
}
