//! From a tile of the input to codes and block scales, along the rows and along the columns.
//!
//! A tile of a large matrix is worked on patch by patch. What is made along the columns is staged until the tile is done,
//! for only then are the lines of the output whole. A whole tile of a matrix that the caches hold is worked on where it is,
//! sixteen columns after sixteen.

#[cfg(target_arch = "x86_64")]
use super::avx2::Avx2;
#[cfg(target_arch = "x86_64")]
use super::avx512::Avx512;
use super::elements::{E2m1, E2m3, E3m2, E4m3, E5m2, Element};
use super::rounding::{Nearest, Numbers, Round, Stochastic};
use super::scales::{BlockScales, ScaleMaker, scales_of};
use super::sink::Sink;
use super::source::{
    Ahead, PATCH_ROWS, Patch, Place, Source, TILE_COLUMNS, TILE_ROWS, patch_rows, run,
};
use super::vector::{Floats, LANES, MAGNITUDE, Portable, Vector, Words, interleaved};
use crate::simd::{SimdLevel, for_each_level};
use crate::{BlockShape, ElementFormat, RandomStream};

/// The most groups along a column of a tile.
const GROUPS: usize = TILE_ROWS / LANES;

/// How an output's tensor is made, for one execution.
#[derive(Clone, Copy)]
pub(super) struct Encoding {
    pub element: ElementFormat,
    pub scales: ScaleMaker,
    pub random: Option<RandomStream>,
    pub blocks: BlockShape,
    pub direction: Direction,
}

/// How blocks lie in the input matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// Along its rows: storage has the matrix's rows.
    Rows,
    /// Along its columns: storage has the matrix transposed.
    Columns,
}

/// Memory that tiles are worked on in, one after the other.
pub(super) struct Scratch {
    patch: Patch,
    /// Of each output.
    staged: Vec<Staged>,
}

impl Scratch {
    pub fn new(outputs: &[(Encoding, Sink)]) -> Self {
        let staged = outputs.iter().map(|(encoding, _)| {
            let columns = match encoding.direction {
                Direction::Rows => 0,
                Direction::Columns => TILE_COLUMNS,
            };
            Staged {
                codes: vec![[[0; LANES]; GROUPS]; columns],
                scales: vec![[0; GROUPS]; columns],
            }
        });
        Self {
            patch: Patch::new(),
            staged: staged.collect(),
        }
    }
}

/// What was made along the columns of a tile, column after column.
pub(super) struct Staged {
    /// Codes, sixteen bytes at a time: of one group, or of two.
    codes: Vec<[[u8; LANES]; GROUPS]>,
    scales: Vec<[u8; GROUPS]>,
}

/// Writes every output's part of a tile. Meanwhile `ahead` is fetched, the first patch of the next tile.
pub(super) fn quantize_tile(
    level: SimdLevel,
    source: Source<'_>,
    place: Place,
    ahead: Ahead<'_>,
    outputs: &[(Encoding, Sink)],
    scratch: &mut Scratch,
) {
    let Scratch { patch, staged } = scratch;
    let is_square = |(encoding, _): &(Encoding, Sink)| encoding.blocks == BlockShape::Square;
    let has_square = outputs.iter().any(is_square);
    // What is near, or is read once and as it lies, is not worth a copy; what is no whole tile needs zeros around it.
    let is_row = |(encoding, _): &(Encoding, Sink)| encoding.direction == Direction::Rows;
    let has_rows = outputs.iter().any(is_row);
    let has_columns = !outputs.iter().all(is_row);
    let is_read_once = outputs.len() == 1 && has_rows;
    let is_whole = (!has_rows || place.columns == TILE_COLUMNS)
        && (!has_columns || place.columns.is_multiple_of(LANES))
        && (!has_columns || place.rows.is_multiple_of(PATCH_ROWS));
    let is_direct = !has_square && is_whole && (is_read_once || source.is_near());
    let height = match is_direct {
        true => TILE_ROWS,
        false => patch_rows(run(place.columns)),
    };
    for row in (0..place.rows).step_by(height) {
        let rows = height.min(place.rows - row);
        let part = Place {
            row: place.row + row,
            rows,
            ..place
        };
        if is_direct {
            patch.stand_for(part);
        } else {
            take(level, patch, source, part);
        }
        let mut squares = [[0; LANES]; GROUPS];
        if has_square {
            largest_of_squares(level, patch, &mut squares);
        }
        let ahead = if row + height < place.rows {
            Ahead::new(
                source.matrix,
                source.pitch,
                place.row + row + height,
                place.column,
            )
        } else {
            ahead
        };
        for (index, (&(encoding, sink), staged)) in
            outputs.iter().zip(staged.iter_mut()).enumerate()
        {
            let part = Part {
                patch,
                source: is_direct.then_some(source),
                rows_before: source.rows_before,
                columns_before: source.columns_before,
                first_group: row / LANES,
                squares: (encoding.blocks == BlockShape::Square).then_some(&squares),
                // The first output's pass is long enough to fetch all.
                ahead: if index == 0 { ahead } else { Ahead::NOTHING },
                sink,
                encoding,
            };
            part.make(level, staged);
        }
    }
    for (&(encoding, sink), staged) in outputs.iter().zip(staged) {
        if encoding.direction == Direction::Columns && !is_direct {
            let row = source.columns_before + place.column;
            write_columns(row, place, encoding, sink, staged);
        }
    }
}

/// Writes what was staged of a tile's columns, of which the first is that row of storage.
#[inline(always)]
fn write_columns(row: usize, place: Place, encoding: Encoding, sink: Sink, staged: &Staged) {
    let block_groups = encoding.scales.block_groups();
    let groups = groups(place.rows, block_groups);
    let group_bytes = LANES / encoding.element.elements_per_byte();
    let first = place.row / LANES;
    let each = staged.codes.iter().zip(&staged.scales).take(place.columns);
    for (index, (codes, scales)) in each.enumerate() {
        let codes = &codes.as_flattened()[..groups * group_bytes];
        sink.put_codes(row + index, first * group_bytes, codes);
        sink.put_scales(
            row + index,
            first / block_groups,
            &scales[..groups / block_groups],
        );
    }
}

for_each_level! {
    /// Fills a patch.
    fn take(patch: &mut Patch, source: Source<'_>, place: Place) = {
        avx512: Patch::take::<Avx512>,
        avx2: Patch::take::<Avx2>,
        portable: Patch::take::<Portable>,
    };
}

for_each_level! {
    /// The bits of the largest magnitude of each square of 16 × 16 elements of a patch.
    fn largest_of_squares(patch: &Patch, squares: &mut [[u32; LANES]; GROUPS]) = {
        avx512: largest_of_squares_with::<Avx512>,
        avx2: largest_of_squares_with::<Avx2>,
        portable: largest_of_squares_with::<Portable>,
    };
}

#[inline(always)]
fn largest_of_squares_with<V: Vector>(patch: &Patch, squares: &mut [[u32; LANES]; GROUPS]) {
    for (row, squares) in squares.iter_mut().enumerate() {
        for (column, square) in squares.iter_mut().enumerate() {
            if row * LANES < patch.place.rows && column * LANES < patch.place.columns {
                let values = patch.across::<V>(row * LANES, column);
                let lanes = largest(&values).words();
                *square = lanes.iter().fold(0, |all, &one| all.max(one));
            }
        }
    }
}

/// The bits of the largest magnitude in each lane.
#[inline(always)]
fn largest<V: Vector>(values: &[V; LANES]) -> V {
    let mut all = V::splat(0);
    for value in values {
        all = all.max_words(value.and(V::splat(MAGNITUDE)));
    }
    all
}

for_each_level! {
    fn rows<E: Element, R: Round>(part: Part<'_>, round: R) = {
        avx512: Part::rows::<Avx512, E, R>,
        avx2: Part::rows::<Avx2, E, R>,
        portable: Part::rows::<Portable, E, R>,
    };
}

for_each_level! {
    fn columns<E: Element, R: Round>(part: Part<'_>, round: R, staged: &mut Staged) = {
        avx512: Part::columns::<Avx512, E, R>,
        avx2: Part::columns::<Avx2, E, R>,
        portable: Part::columns::<Portable, E, R>,
    };
}

/// One output's part of a patch.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    patch: &'a Patch,
    /// The input, where the patch has not taken it.
    source: Option<Source<'a>>,
    /// The rows of storage before the matrix's, for blocks along its rows and along its columns.
    rows_before: usize,
    columns_before: usize,
    /// The groups of the tile above the patch.
    first_group: usize,
    /// The largest magnitudes of the patch's squares, where blocks are square.
    squares: Option<&'a [[u32; LANES]; GROUPS]>,
    /// What is fetched meanwhile.
    ahead: Ahead<'a>,
    sink: Sink,
    encoding: Encoding,
}

impl Part<'_> {
    /// Writes codes and scales, or stages them.
    fn make(self, level: SimdLevel, staged: &mut Staged) {
        match self.encoding.element {
            ElementFormat::E2m1 => self.make_elements::<E2m1>(level, staged),
            ElementFormat::E2m3 => self.make_elements::<E2m3>(level, staged),
            ElementFormat::E3m2 => self.make_elements::<E3m2>(level, staged),
            ElementFormat::E4m3 => self.make_elements::<E4m3>(level, staged),
            ElementFormat::E5m2 => self.make_elements::<E5m2>(level, staged),
        }
    }

    fn make_elements<E: Element>(self, level: SimdLevel, staged: &mut Staged) {
        match self.encoding.random {
            None => self.make_rounded::<E, _>(level, Nearest, staged),
            Some(stream) => self.make_rounded::<E, _>(level, Stochastic::new(stream), staged),
        }
    }

    fn make_rounded<E: Element, R: Round>(self, level: SimdLevel, round: R, staged: &mut Staged) {
        match self.encoding.direction {
            Direction::Rows => rows::<E, R>(level, self, round),
            Direction::Columns => columns::<E, R>(level, self, round, staged),
        }
    }

    /// Blocks along the rows: sixteen groups at a time, of one row or of several short ones.
    #[inline(always)]
    fn rows<V: Vector, E: Element, R: Round>(self, round: R) {
        let (scales, block_groups) = (self.encoding.scales, self.encoding.scales.block_groups());
        let (patch, sink) = (self.patch, self.sink);
        let (place, run) = (patch.place, patch.run);
        let valid_groups = groups(place.columns, block_groups);
        let first = place.column / LANES;
        let mut blocks = BlockScales::new();
        for row in (0..place.rows).step_by(LANES / run) {
            self.ahead.fetch(row);
            let values = match self.source {
                None => patch.along::<V>(row),
                Some(source) => source.along::<V>(place.row + row, place.column),
            };
            let largest = match self.squares {
                None => V::largest_magnitudes(&values),
                // The rows of sixteen groups lie in one row of squares.
                Some(squares) => V::of_words(&repeated(&squares[row / LANES], run)),
            };
            let largest = if block_groups == 2 {
                largest.max_words(largest.exchange::<1>())
            } else {
                largest
            };
            let (codes, factors) = scales_of::<V, E>(scales, largest, &mut blocks, |elements| {
                transpose(&values, elements);
            });
            let (codes, factors) = (codes.words(), factors.words());
            let first_row = self.rows_before + place.row + row;
            let drawn = round.draw::<V>(Numbers {
                first: sink.group(first_row, first),
                minor: 1,
                run,
                major: sink.group(1, 0),
            });
            let encoded = encode_all::<V, E, R>(&drawn, &values, &factors);
            let mut packed = [0; LANES * LANES];
            pack::<V, E>(&encoded, &mut packed);
            let mut scale_codes = [0; LANES];
            for block in 0..LANES / block_groups {
                scale_codes[block] = codes[block * block_groups] as u8;
            }
            let rows = packed[..LANES * E::GROUP_BYTES]
                .chunks_exact(run * E::GROUP_BYTES)
                .take(place.rows - row);
            for (index, codes) in rows.enumerate() {
                let codes = &codes[..valid_groups * E::GROUP_BYTES];
                sink.put_codes(first_row + index, first * E::GROUP_BYTES, codes);
                let block = index * run / block_groups;
                let scales = &scale_codes[block..block + valid_groups / block_groups];
                sink.put_scales(first_row + index, first / block_groups, scales);
            }
        }
    }

    /// Sixteen rows of sixteen columns.
    #[inline(always)]
    fn across<V: Vector>(&self, row: usize, chunk: usize) -> [V; LANES] {
        let place = self.patch.place;
        match self.source {
            None => self.patch.across::<V>(row, chunk),
            Some(source) => source.across::<V>(place.row + row, place.column + chunk * LANES),
        }
    }

    /// Blocks along the columns: those of sixteen columns side by side at a time, two groups of each.
    #[inline(always)]
    fn columns<V: Vector, E: Element, R: Round>(self, round: R, staged: &mut Staged) {
        let (scales, block_groups) = (self.encoding.scales, self.encoding.scales.block_groups());
        let (patch, sink) = (self.patch, self.sink);
        let place = patch.place;
        let mut blocks = BlockScales::new();
        let mut fetched = 0;
        for chunk in 0..place.columns.div_ceil(LANES) {
            for pair in 0..place.rows.div_ceil(PATCH_ROWS) {
                let group = self.first_group + 2 * pair;
                self.ahead.fetch(fetched);
                self.ahead.fetch(fetched + 1);
                fetched += 2;
                let row = self.columns_before + place.column + chunk * LANES;
                // Loaded anew where they are used: there are not registers for both halves.
                let upper = pair * PATCH_ROWS;
                let largest = match self.squares {
                    None if block_groups == 1 => [V::splat(0); 2],
                    None => [
                        largest(&self.across::<V>(upper, chunk)),
                        largest(&self.across::<V>(upper + LANES, chunk)),
                    ],
                    Some(squares) => [
                        V::splat(squares[2 * pair][chunk]),
                        V::splat(squares[2 * pair + 1][chunk]),
                    ],
                };
                let largest = if block_groups == 2 {
                    [largest[0].max_words(largest[1]); 2]
                } else {
                    largest
                };
                let first = place.row / LANES + 2 * pair;
                let draw = |half: usize| {
                    round.draw::<V>(Numbers {
                        first: sink.group(row, first + half),
                        minor: sink.group(1, 0),
                        run: LANES,
                        major: 0,
                    })
                };
                let to = if self.source.is_some() {
                    0..LANES
                } else {
                    chunk * LANES..(chunk + 1) * LANES
                };
                let mut words = [V::splat(0); 4];
                for half in 0..2 {
                    let values = &self.across::<V>(upper + half * LANES, chunk);
                    let largest = match self.squares {
                        None if block_groups == 1 => [self::largest(values); 2],
                        _ => largest,
                    };
                    let put_elements = |elements: &mut [Floats; LANES]| {
                        for (element, value) in elements.iter_mut().zip(values) {
                            value.store(element);
                        }
                    };
                    let largest = largest[half];
                    let (codes, factors) =
                        scales_of::<V, E>(scales, largest, &mut blocks, put_elements);
                    let drawn = draw(half);
                    if E::FORMAT.elements_per_byte() == 2 {
                        words[2 * half] = encode_eight::<V, E, R, 0>(&drawn, values, factors);
                        words[2 * half + 1] = encode_eight::<V, E, R, 8>(&drawn, values, factors);
                    } else {
                        let words = [
                            encode_four::<V, E, R, 0>(&drawn, values, factors),
                            encode_four::<V, E, R, 4>(&drawn, values, factors),
                            encode_four::<V, E, R, 8>(&drawn, values, factors),
                            encode_four::<V, E, R, 12>(&drawn, values, factors),
                        ];
                        put_words(&words, &mut staged.codes[to.clone()], group + half);
                    }
                    let block = (group + half) / block_groups;
                    let each = staged.scales[to.clone()].iter_mut().zip(codes.words());
                    for (scales, code) in each {
                        scales[block] = code as u8;
                    }
                }
                if E::FORMAT.elements_per_byte() == 2 {
                    put_words(&words, &mut staged.codes[to], group / 2);
                }
            }
            if self.source.is_some() {
                // The tile is whole in one part: so are the lines of these columns.
                let columns = Place {
                    columns: LANES,
                    ..place
                };
                let row = self.columns_before + place.column + chunk * LANES;
                write_columns(row, columns, self.encoding, sink, staged);
            }
        }
    }
}

/// Stages four words of each lane as its sixteen bytes at a place.
#[inline(always)]
fn put_words<V: Vector>(words: &[V; 4], staged: &mut [[[u8; LANES]; GROUPS]], place: usize) {
    let words = V::interleave(words);
    for (lane, column) in staged.iter_mut().enumerate() {
        let bytes = words[interleaved(lane)].map(u32::to_le_bytes);
        column[place].copy_from_slice(bytes.as_flattened());
    }
}

/// The bytes of sixteen groups' codes.
#[inline(always)]
fn pack<V: Vector, E: Element>(codes: &[V; LANES], packed: &mut [u8; LANES * LANES]) {
    if E::FORMAT.elements_per_byte() == 2 {
        let bytes = V::pack(codes);
        packed[..LANES * LANES / 2].copy_from_slice(bytes.as_flattened());
    } else {
        for (packed, codes) in packed.chunks_exact_mut(LANES).zip(codes) {
            packed.copy_from_slice(&codes.bytes());
        }
    }
}

/// The first lanes of sixteen vectors, the second lanes …
#[inline(always)]
fn transpose<V: Vector>(values: &[V; LANES], transposed: &mut [Floats; LANES]) {
    let (fours, _) = values.as_chunks::<4>();
    for (index, four) in fours.iter().enumerate() {
        let four = V::interleave(four);
        for (lane, numbers) in transposed.iter_mut().enumerate() {
            let words = four[interleaved(lane)];
            numbers[4 * index..][..4].copy_from_slice(&words.map(f32::from_bits));
        }
    }
}

/// The codes of sixteen groups, each times its factor.
#[inline(always)]
fn encode_all<V: Vector, E: Element, R: Round>(
    drawn: &R::Drawn<V>,
    values: &[V; LANES],
    factors: &Words,
) -> [V; LANES] {
    let mut codes = [V::splat(0); LANES];
    for group in 0..LANES {
        let scaled = values[group].mul(V::splat(factors[group]));
        codes[group] = R::along::<V, E>(drawn, group, scaled);
    }
    codes
}

/// The codes of eight elements of every group, in each lane the first in the lowest bits. Written out, so that all that is
/// in registers stays there.
#[inline(always)]
fn encode_eight<V: Vector, E: Element, R: Round, const FROM: usize>(
    drawn: &R::Drawn<V>,
    values: &[V; LANES],
    factors: V,
) -> V {
    let mut all = R::across::<V, E>(drawn, FROM + 7, values[FROM + 7].mul(factors));
    macro_rules! below {
        ($($element:literal)*) => {
            $(
                let scaled = values[FROM + $element].mul(factors);
                all = all.shift_left(4).or(R::across::<V, E>(drawn, FROM + $element, scaled));
            )*
        };
    }
    below!(6 5 4 3 2 1 0);
    all
}

/// As [`encode_eight`], the codes of four elements of a byte each.
#[inline(always)]
fn encode_four<V: Vector, E: Element, R: Round, const FROM: usize>(
    drawn: &R::Drawn<V>,
    values: &[V; LANES],
    factors: V,
) -> V {
    let mut all = R::across::<V, E>(drawn, FROM + 3, values[FROM + 3].mul(factors));
    macro_rules! below {
        ($($element:literal)*) => {
            $(
                let scaled = values[FROM + $element].mul(factors);
                all = all.shift_left(8).or(R::across::<V, E>(drawn, FROM + $element, scaled));
            )*
        };
    }
    below!(2 1 0);
    all
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

/// The groups that elements take, up to a whole number of blocks.
fn groups(elements: usize, block_groups: usize) -> usize {
    elements.div_ceil(LANES).next_multiple_of(block_groups)
}
