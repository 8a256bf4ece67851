//! Codes and scales along the columns: sixteen columns side by side, staged until a tile is done.

#[cfg(target_arch = "x86_64")]
use super::avx2::Avx2;
#[cfg(target_arch = "x86_64")]
use super::avx512::Avx512;
use super::elements::Element;
use super::kernel::{Encoding, GROUPS, Part, SETS, Set, groups};
use super::rounding::{Numbers, Round};
use super::scales::{BlockScales, scales_of};
use super::sink::Sink;
use super::source::{Across, PATCH_ROWS, Place, TILE_ROWS};
use super::vector::{Floats, LANES, MAGNITUDE, Portable, Vector, Words};
use crate::simd::for_each_level;

/// What was made along sixteen columns of a tile.
#[derive(Clone)]
#[repr(align(64))]
pub(super) struct Staged {
    /// The first four bytes of codes of each column, the second four …
    codes: [Words; TILE_ROWS / 4],
    /// The scales of each column's first block, of the second …
    scales: [[u8; LANES]; GROUPS],
}

/// Of every sixteen columns of a tile.
pub(super) type Staging = Vec<Staged>;

impl Staged {
    pub const NOTHING: Self = Self {
        codes: [[0; LANES]; TILE_ROWS / 4],
        scales: [[0; LANES]; GROUPS],
    };
}

for_each_level! {
    /// Writes what was staged of a tile's columns, of which the first is that row of storage.
    fn write_columns(row: usize, place: Place, encoding: Encoding, sink: Sink, staged: &[Staged]) = {
        avx512: write_columns_with::<Avx512>,
        avx2: write_columns_with::<Avx2>,
        portable: write_columns_with::<Portable>,
    };
}

#[inline(always)]
fn write_columns_with<V: Vector>(
    row: usize,
    place: Place,
    encoding: Encoding,
    sink: Sink,
    staged: &[Staged],
) {
    let columns = (0..place.columns).step_by(LANES);
    for (column, staged) in columns.zip(staged) {
        let count = LANES.min(place.columns - column);
        write_chunk::<V>(row + column, count, place, encoding, sink, staged);
    }
}

/// Writes what was staged of so many columns, sixteen at most.
#[inline(always)]
fn write_chunk<V: Vector>(
    row: usize,
    columns: usize,
    place: Place,
    encoding: Encoding,
    sink: Sink,
    staged: &Staged,
) {
    let block_groups = encoding.scales.block_groups();
    let groups = groups(place.rows, block_groups);
    let group_bytes = LANES / encoding.element.elements_per_byte();
    let first = place.row / LANES;
    let (lines, _) = staged.codes.as_chunks::<LANES>();
    for (index, words) in lines.iter().enumerate() {
        let from = index * size_of::<Words>();
        let length = (groups * group_bytes).saturating_sub(from);
        if length == 0 {
            break;
        }
        let lines = V::transpose(&vectors(words));
        for (column, line) in lines.iter().take(columns).enumerate() {
            sink.put_line(row + column, first * group_bytes + from, *line, length);
        }
    }
    let blocks = groups / block_groups;
    let mut halves = [[0; LANES]; 2];
    for (half, four) in halves.iter_mut().zip(staged.scales.chunks_exact(4)) {
        let mut words = V::splat(0);
        for scales in four.iter().rev() {
            words = words.shift_left(8).or(V::of_bytes(&as_words(scales)));
        }
        *half = words.words();
    }
    let words = halves[0].iter().zip(&halves[1]).take(columns);
    for (column, (&first_four, &last_four)) in words.enumerate() {
        let scales = (u64::from(last_four) << 32 | u64::from(first_four)).to_le_bytes();
        let (row, from) = (row + column, first / block_groups);
        // A whole tile's are one move.
        match blocks {
            GROUPS => sink.put_scales(row, from, &scales),
            _ => sink.put_scales(row, from, &scales[..blocks]),
        }
    }
}

/// Sixteen vectors of words.
#[inline(always)]
fn vectors<V: Vector>(words: &[Words; LANES]) -> [V; LANES] {
    let mut vectors = [V::splat(0); LANES];
    for (vector, words) in vectors.iter_mut().zip(words) {
        *vector = V::of_words(words);
    }
    vectors
}

/// Sixteen bytes as words.
#[inline(always)]
fn as_words(bytes: &[u8; LANES]) -> [u32; 4] {
    let (words, _) = bytes.as_chunks::<4>();
    [words[0], words[1], words[2], words[3]].map(u32::from_le_bytes)
}

for_each_level! {
    /// Stages codes and scales of a part.
    fn columns<E: Element, R: Round>(part: Part<'_>, round: R, staged: &mut Staging) = {
        avx512: Part::columns::<Avx512, E, R>,
        avx2: Part::columns::<Avx2, E, R>,
        portable: Part::columns::<Portable, E, R>,
    };
}

impl Part<'_> {
    /// Blocks along the columns: those of sixteen columns side by side at a time, two groups of each.
    ///
    /// The scales of several columns' groups come before their codes, as along the rows.
    #[inline(always)]
    fn columns<V: Vector, E: Element, R: Round>(self, round: R, staged: &mut Staging) {
        let place = self.patch.place;
        let block_groups = self.encoding.scales.block_groups();
        let mut blocks = BlockScales::new();
        let mut sets = [[Set::NOTHING; 2]; SETS];
        let chunks = place.columns.div_ceil(LANES);
        let mut fetched = 0;
        for pair in 0..place.rows.div_ceil(PATCH_ROWS) {
            for first in (0..chunks).step_by(SETS) {
                let several = first..chunks.min(first + SETS);
                for (chunk, sets) in several.clone().zip(&mut sets) {
                    self.ahead.fetch(fetched);
                    self.ahead.fetch(fetched + 1);
                    fetched += 2;
                    self.scale_columns::<V, E>(pair, chunk, &mut blocks, sets);
                }
                for (chunk, sets) in several.zip(&sets) {
                    let staged = &mut staged[self.first_chunk + chunk];
                    for (half, set) in sets.iter().enumerate() {
                        let group = self.first_group + 2 * pair + half;
                        let codes = &mut staged.codes[group * E::GROUP_BYTES / 4..];
                        self.stage_codes::<V, E, R>(round, [2 * pair + half, chunk], set, codes);
                        staged.scales[group / block_groups] = set.codes;
                    }
                }
            }
        }
    }

    /// The scales of two groups of sixteen columns.
    #[inline(always)]
    fn scale_columns<V: Vector, E: Element>(
        &self,
        pair: usize,
        chunk: usize,
        blocks: &mut BlockScales,
        sets: &mut [Set; 2],
    ) {
        let scales = self.encoding.scales;
        let groups = [0, 1].map(|half| 2 * pair + half);
        let largest = match self.squares {
            None => [
                largest(self.patch.across(groups[0] * LANES, chunk)),
                largest(self.patch.across(groups[1] * LANES, chunk)),
            ],
            Some(squares) => groups.map(|group| V::splat(squares[group][chunk])),
        };
        let largest = if scales.block_groups() == 2 {
            [largest[0].max_words(largest[1]); 2]
        } else {
            largest
        };
        for half in 0..2 {
            let put_elements = |elements: &mut [Floats; LANES]| {
                let across = self.patch.across(groups[half] * LANES, chunk);
                for (index, element) in elements.iter_mut().enumerate() {
                    *element = *across.row(index);
                }
            };
            let measured = match self.wanted {
                None => largest[half],
                Some(wanted) => V::splat(wanted[groups[half]][chunk]),
            };
            let (codes, factors) = scales_of::<V, E>(scales, measured, blocks, put_elements);
            sets[half] = Set {
                factors: factors.words(),
                codes: codes.bytes(),
                are_small: largest[half].mul(factors).are_small::<E>(),
            };
        }
    }

    /// Stages the codes of a group of each of sixteen columns.
    #[inline(always)]
    fn stage_codes<V: Vector, E: Element, R: Round>(
        &self,
        round: R,
        [group, chunk]: [usize; 2],
        set: &Set,
        staged: &mut [Words],
    ) {
        let place = self.patch.place;
        let row = self.columns_before + place.column + chunk * LANES;
        let drawn = round.draw::<V>(Numbers {
            first: self.sink.group(row, place.row / LANES + group),
            minor: self.sink.group(1, 0),
            run: LANES,
            major: 0,
        });
        let factors = V::of_words(&set.factors);
        let values = self.patch.across(group * LANES, chunk);
        if E::FORMAT.elements_per_byte() == 2 {
            let eights = if set.are_small {
                encode_sixteen::<V, E, R, true>(&drawn, values, factors)
            } else {
                encode_sixteen::<V, E, R, false>(&drawn, values, factors)
            };
            put_words(&eights, staged);
        } else {
            let fours = [
                encode_four::<V, E, R, 0>(&drawn, values, factors),
                encode_four::<V, E, R, 4>(&drawn, values, factors),
                encode_four::<V, E, R, 8>(&drawn, values, factors),
                encode_four::<V, E, R, 12>(&drawn, values, factors),
            ];
            put_words(&fours, staged);
        }
    }
}

/// Stages words of each lane.
#[inline(always)]
fn put_words<V: Vector>(words: &[V], staged: &mut [Words]) {
    for (staged, words) in staged.iter_mut().zip(words) {
        *staged = words.words();
    }
}

/// The bits of the largest magnitude in each lane: of four rows each, then of these, so that few wait for others.
#[inline(always)]
pub(super) fn largest<V: Vector>(values: Across<'_>) -> V {
    let mut fours = [V::splat(0); 4];
    for row in 0..LANES {
        let magnitudes = V::load(values.row(row)).and(V::splat(MAGNITUDE));
        fours[row % 4] = fours[row % 4].max_words(magnitudes);
    }
    let [a, b, c, d] = fours;
    a.max_words(b).max_words(c.max_words(d))
}

/// The codes of sixteen elements of every group: of the first eight, and of the others.
#[inline(always)]
fn encode_sixteen<V: Vector, E: Element, R: Round, const SMALL: bool>(
    drawn: &R::Drawn<V>,
    values: Across<'_>,
    factors: V,
) -> [V; 2] {
    [
        encode_eight::<V, E, R, SMALL, 0>(drawn, values, factors),
        encode_eight::<V, E, R, SMALL, 8>(drawn, values, factors),
    ]
}

/// The codes of eight elements of every group, in each lane the first in the lowest bits. Written out, so that all that is
/// in registers stays there.
#[inline(always)]
fn encode_eight<V: Vector, E: Element, R: Round, const SMALL: bool, const FROM: usize>(
    drawn: &R::Drawn<V>,
    values: Across<'_>,
    factors: V,
) -> V {
    let [a, b, c, d] = [
        encode_two::<V, E, R, SMALL>(drawn, values, factors, FROM),
        encode_two::<V, E, R, SMALL>(drawn, values, factors, FROM + 2),
        encode_two::<V, E, R, SMALL>(drawn, values, factors, FROM + 4),
        encode_two::<V, E, R, SMALL>(drawn, values, factors, FROM + 6),
    ];
    let [low, high] = [b.shift_left(8).or(a), d.shift_left(8).or(c)];
    high.shift_left(16).or(low)
}

/// As [`encode_eight`], the codes of four elements of a byte each.
#[inline(always)]
fn encode_four<V: Vector, E: Element, R: Round, const FROM: usize>(
    drawn: &R::Drawn<V>,
    values: Across<'_>,
    factors: V,
) -> V {
    let [a, b, c, d] = [
        encode_one::<V, E, R, false>(drawn, values, factors, FROM),
        encode_one::<V, E, R, false>(drawn, values, factors, FROM + 1),
        encode_one::<V, E, R, false>(drawn, values, factors, FROM + 2),
        encode_one::<V, E, R, false>(drawn, values, factors, FROM + 3),
    ];
    let [low, high] = [b.shift_left(8).or(a), d.shift_left(8).or(c)];
    high.shift_left(16).or(low)
}

/// The codes of two neighbours in every group, of 4 bits each.
#[inline(always)]
fn encode_two<V: Vector, E: Element, R: Round, const SMALL: bool>(
    drawn: &R::Drawn<V>,
    values: Across<'_>,
    factors: V,
    index: usize,
) -> V {
    let high = encode_one::<V, E, R, SMALL>(drawn, values, factors, index + 1);
    (high.shift_left(4)).or(encode_one::<V, E, R, SMALL>(drawn, values, factors, index))
}

/// The codes of one element of every group.
#[inline(always)]
fn encode_one<V: Vector, E: Element, R: Round, const SMALL: bool>(
    drawn: &R::Drawn<V>,
    values: Across<'_>,
    factors: V,
    index: usize,
) -> V {
    let scaled = V::load(values.row(index)).mul(factors);
    R::across::<V, E, SMALL>(drawn, index, scaled)
}
