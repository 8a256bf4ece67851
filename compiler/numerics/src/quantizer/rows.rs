//! Codes and scales along the rows: sixteen groups at a time, of one row or of several short ones.

#[cfg(target_arch = "x86_64")]
use super::avx2::Avx2;
#[cfg(target_arch = "x86_64")]
use super::avx512::Avx512;
use super::elements::Element;
use super::kernel::{Part, SETS, Set, groups};
use super::rounding::{Numbers, Round};
use super::scales::{BlockScales, scales_of};
use super::vector::{Floats, LANES, Portable, Vector, Words};
use crate::simd::for_each_level;

for_each_level! {
    /// Writes codes and scales of a part.
    fn rows<E: Element, R: Round>(part: Part<'_>, round: R) = {
        avx512: Part::rows::<Avx512, E, R>,
        avx2: Part::rows::<Avx2, E, R>,
        portable: Part::rows::<Portable, E, R>,
    };
}

impl Part<'_> {
    /// Blocks along the rows: sixteen groups at a time, of one row or of several short ones.
    ///
    /// The scales of several such sets come before their codes: a scale is a long chain of operations, each waiting for the
    /// one before, and other sets' fill the time.
    #[inline(always)]
    fn rows<V: Vector, E: Element, R: Round>(self, round: R) {
        let rows_at_once = LANES / self.patch.run;
        let mut blocks = BlockScales::new();
        let mut centred = [[[0.0; LANES]; LANES]; SETS];
        let mut sets = [Set::NOTHING; SETS];
        for first in (0..self.patch.place.rows).step_by(rows_at_once * SETS) {
            let rows = (first..self.patch.place.rows).step_by(rows_at_once);
            for ((row, centred), set) in rows.clone().zip(&mut centred).zip(&mut sets) {
                self.ahead.fetch(row);
                let groups = self.along::<V>(row, centred);
                *set = self.scale_set::<V, E>(row, groups, &mut blocks);
            }
            for ((row, centred), set) in rows.zip(&centred).zip(&sets) {
                let groups = match self.source {
                    None => self.patch.along(row),
                    Some(source) => {
                        source.again(self.patch.place.row + row, self.patch.place.column, centred)
                    }
                };
                self.put_set::<V, E, R>(round, row, groups, set);
            }
        }
    }

    /// Sixteen groups along the rows, from a row's first on; in `centred`, where that is made.
    #[inline(always)]
    fn along<'b, V: Vector>(
        &'b self,
        row: usize,
        centred: &'b mut [Floats; LANES],
    ) -> &'b [Floats; LANES] {
        let place = self.patch.place;
        match self.source {
            None => self.patch.along(row),
            Some(source) => source.along::<V>(place.row + row, place.column, centred),
        }
    }

    /// The scales of sixteen groups along the rows.
    #[inline(always)]
    fn scale_set<V: Vector, E: Element>(
        &self,
        row: usize,
        groups: &[Floats; LANES],
        blocks: &mut BlockScales,
    ) -> Set {
        let scales = self.encoding.scales;
        let largest = match self.squares {
            None => V::largest_magnitudes(groups),
            // The rows of sixteen groups lie in one row of squares.
            Some(squares) => V::of_words(&repeated(&squares[row / LANES], self.patch.run)),
        };
        let largest = if scales.block_groups() == 2 {
            largest.max_words(largest.exchange::<1>())
        } else {
            largest
        };
        let measured = match self.wanted {
            None => largest,
            Some(wanted) => V::of_words(&repeated(&wanted[row / LANES], self.patch.run)),
        };
        let (codes, factors) = scales_of::<V, E>(scales, measured, blocks, |elements| {
            for (element, value) in elements.iter_mut().zip(V::transpose(&loaded(groups))) {
                value.store(element);
            }
        });
        Set {
            factors: factors.words(),
            codes: codes.bytes(),
            are_small: largest.mul(factors).are_small::<E>(),
        }
    }

    /// Writes the codes and scales of sixteen groups along the rows.
    #[inline(always)]
    fn put_set<V: Vector, E: Element, R: Round>(
        &self,
        round: R,
        row: usize,
        groups: &[Floats; LANES],
        set: &Set,
    ) {
        let block_groups = self.encoding.scales.block_groups();
        let (sink, place, run) = (self.sink, self.patch.place, self.patch.run);
        let valid_groups = self::groups(place.columns, block_groups);
        let first = place.column / LANES;
        let first_row = self.rows_before + place.row + row;
        let drawn = round.draw::<V>(Numbers {
            first: sink.group(first_row, first),
            minor: 1,
            run,
            major: sink.group(1, 0),
        });
        let mut packed = [0; LANES * LANES];
        if set.are_small {
            encode_all::<V, E, R, true>(&drawn, groups, &set.factors, &mut packed);
        } else {
            encode_all::<V, E, R, false>(&drawn, groups, &set.factors, &mut packed);
        }
        let mut scale_codes = set.codes;
        if block_groups == 2 {
            for block in 0..LANES / 2 {
                scale_codes[block] = scale_codes[2 * block];
            }
        }
        let rows_at_once = LANES / run;
        for index in 0..rows_at_once.min(place.rows - row) {
            let group = index * run;
            let codes = &packed[group * E::GROUP_BYTES..][..valid_groups * E::GROUP_BYTES];
            sink.put_codes::<V>(first_row + index, first * E::GROUP_BYTES, codes);
            let (block, valid, from) = match block_groups {
                2 => (group / 2, valid_groups / 2, first / 2),
                _ => (group, valid_groups, first),
            };
            sink.put_scales(first_row + index, from, &scale_codes[block..][..valid]);
        }
    }
}

/// The bytes of the codes of sixteen groups, each times its factor.
#[inline(always)]
fn encode_all<V: Vector, E: Element, R: Round, const SMALL: bool>(
    drawn: &R::Drawn<V>,
    groups: &[Floats; LANES],
    factors: &Words,
    packed: &mut [u8; LANES * LANES],
) {
    let fours = packed.chunks_exact_mut(4 * E::GROUP_BYTES);
    for (four, place) in fours.take(LANES / 4).enumerate() {
        let mut codes = [V::splat(0); 4];
        for (index, codes) in codes.iter_mut().enumerate() {
            let group = 4 * four + index;
            let scaled = V::load(&groups[group]).mul(V::splat(factors[group]));
            *codes = R::along::<V, E, SMALL>(drawn, group, scaled);
        }
        if E::FORMAT.elements_per_byte() == 2 {
            place.copy_from_slice(V::pack(codes).as_flattened());
        } else {
            for (place, codes) in place.chunks_exact_mut(LANES).zip(codes) {
                place.copy_from_slice(&codes.bytes());
            }
        }
    }
}

/// Sixteen groups in registers.
#[inline(always)]
fn loaded<V: Vector>(groups: &[Floats; LANES]) -> [V; LANES] {
    let mut values = [V::splat(0); LANES];
    for (value, group) in values.iter_mut().zip(groups) {
        *value = V::load(group);
    }
    values
}

/// The first of the words, over and over.
#[inline(always)]
fn repeated(words: &Words, count: usize) -> Words {
    let mut repeated = [0; LANES];
    for (lane, word) in repeated.iter_mut().enumerate() {
        *word = words[lane & (count - 1)];
    }
    repeated
}
