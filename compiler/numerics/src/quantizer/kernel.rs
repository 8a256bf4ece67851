//! From a tile of the input to codes and block scales, along the rows and along the columns.
//!
//! A tile of a large matrix is worked on patch by patch, along its rows, for that is how memory is read fast. What is made
//! along the columns is staged until the tile is done, for only then are the lines of the output whole. A whole tile of a
//! matrix that the caches hold is worked on where it is, sixteen columns after sixteen.

#[cfg(target_arch = "x86_64")]
use super::avx2::Avx2;
#[cfg(target_arch = "x86_64")]
use super::avx512::Avx512;
use super::elements::{E2m1, E2m3, E3m2, E4m3, E5m2, Element};
use super::rounding::{Nearest, Numbers, Round, Stochastic};
use super::scales::{BlockScales, ScaleMaker, scales_of};
use super::sink::Sink;
use super::source::{
    Ahead, PATCH_COLUMNS, PATCH_ROWS, Patch, Place, Source, TILE_COLUMNS, TILE_ROWS, patch_rows,
    run,
};
use super::vector::{Floats, LANES, MAGNITUDE, Portable, Vector, Words};
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
    staged: Vec<Staging>,
}

impl Scratch {
    /// For matrices of that many columns.
    pub fn new(outputs: &[(Encoding, Sink)], columns: usize) -> Self {
        let staged = outputs.iter().map(|(encoding, _)| {
            let chunks = match encoding.direction {
                Direction::Rows => 0,
                Direction::Columns => columns.min(TILE_COLUMNS).div_ceil(LANES),
            };
            vec![Staged::NOTHING; chunks]
        });
        Self {
            patch: Patch::new(),
            staged: staged.collect(),
        }
    }
}

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
type Staging = Vec<Staged>;

impl Staged {
    const NOTHING: Self = Self {
        codes: [[0; LANES]; TILE_ROWS / 4],
        scales: [[0; LANES]; GROUPS],
    };
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
    let is_whole = (!has_rows || place.columns.is_multiple_of(PATCH_COLUMNS))
        && (!has_columns || place.columns.is_multiple_of(LANES))
        && (!has_columns || place.rows.is_multiple_of(PATCH_ROWS));
    let is_direct = !has_square && is_whole && (is_read_once || source.is_near());
    let width = PATCH_COLUMNS.min(place.columns);
    let height = match is_direct {
        true if has_columns => TILE_ROWS,
        _ => patch_rows(run(width)),
    };
    for row in (0..place.rows).step_by(height) {
        for column in (0..place.columns).step_by(width) {
            let part = Place {
                row: place.row + row,
                column: place.column + column,
                rows: height.min(place.rows - row),
                columns: width.min(place.columns - column),
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
            let fetched = |row, column| {
                let (row, column) = (place.row + row, place.column + column);
                Ahead::new(source.matrix, source.pitch, row, column)
            };
            let ahead = if column + width < place.columns {
                fetched(row, column + width)
            } else if row + height < place.rows {
                fetched(row + height, 0)
            } else {
                ahead
            };
            let each = outputs.iter().zip(staged.iter_mut()).enumerate();
            for (index, (&(encoding, sink), staged)) in each {
                let part = Part {
                    patch,
                    source: is_direct.then_some(source),
                    rows_before: source.rows_before,
                    columns_before: source.columns_before,
                    first_group: row / LANES,
                    first_chunk: column / LANES,
                    squares: (encoding.blocks == BlockShape::Square).then_some(&squares),
                    // The first output's pass is long enough to fetch all.
                    ahead: if index == 0 { ahead } else { Ahead::NOTHING },
                    sink,
                    encoding,
                };
                part.make(level, staged);
            }
        }
    }
    for (&(encoding, sink), staged) in outputs.iter().zip(staged) {
        if encoding.direction == Direction::Columns && !is_direct {
            let row = source.columns_before + place.column;
            write_columns(level, row, place, encoding, sink, staged);
        }
    }
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
        let scales = [first_four, last_four].map(u32::to_le_bytes);
        let scales = &scales.as_flattened()[..blocks];
        sink.put_scales(row + column, first / block_groups, scales);
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
    fn columns<E: Element, R: Round>(part: Part<'_>, round: R, staged: &mut Staging) = {
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
    /// The groups of the tile above the patch, and those before it.
    first_group: usize,
    first_chunk: usize,
    /// The largest magnitudes of the patch's squares, where blocks are square.
    squares: Option<&'a [[u32; LANES]; GROUPS]>,
    /// What is fetched meanwhile.
    ahead: Ahead<'a>,
    sink: Sink,
    encoding: Encoding,
}

impl Part<'_> {
    /// Writes codes and scales, or stages them.
    fn make(self, level: SimdLevel, staged: &mut Staging) {
        match self.encoding.element {
            ElementFormat::E2m1 => self.make_elements::<E2m1>(level, staged),
            ElementFormat::E2m3 => self.make_elements::<E2m3>(level, staged),
            ElementFormat::E3m2 => self.make_elements::<E3m2>(level, staged),
            ElementFormat::E4m3 => self.make_elements::<E4m3>(level, staged),
            ElementFormat::E5m2 => self.make_elements::<E5m2>(level, staged),
        }
    }

    fn make_elements<E: Element>(self, level: SimdLevel, staged: &mut Staging) {
        match self.encoding.random {
            None => self.make_rounded::<E, _>(level, Nearest, staged),
            Some(stream) => self.make_rounded::<E, _>(level, Stochastic::new(stream), staged),
        }
    }

    fn make_rounded<E: Element, R: Round>(self, level: SimdLevel, round: R, staged: &mut Staging) {
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
        let mut centred = [[0.0; LANES]; LANES];
        let rows_at_once = LANES / run;
        for row in (0..place.rows).step_by(rows_at_once) {
            self.ahead.fetch(row);
            let groups = match self.source {
                None => patch.along(row),
                Some(source) => source.along::<V>(place.row + row, place.column, &mut centred),
            };
            let mut values = [V::splat(0); LANES];
            for (value, group) in values.iter_mut().zip(groups) {
                *value = V::load(group);
            }
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
                for (element, value) in elements.iter_mut().zip(V::transpose(&values)) {
                    value.store(element);
                }
            });
            let are_small = largest.mul(factors).are_small::<E>();
            let factors = factors.words();
            let first_row = self.rows_before + place.row + row;
            let drawn = round.draw::<V>(Numbers {
                first: sink.group(first_row, first),
                minor: 1,
                run,
                major: sink.group(1, 0),
            });
            let mut packed = [0; LANES * LANES];
            if are_small {
                let encoded = encode_all::<V, E, R, true>(&drawn, &values, &factors);
                pack::<V, E>(&encoded, &mut packed);
            } else {
                let encoded = encode_all::<V, E, R, false>(&drawn, &values, &factors);
                pack::<V, E>(&encoded, &mut packed);
            }
            let mut scale_codes = codes.bytes();
            if block_groups == 2 {
                for block in 0..LANES / 2 {
                    scale_codes[block] = scale_codes[2 * block];
                }
            }
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
    fn columns<V: Vector, E: Element, R: Round>(self, round: R, staged: &mut Staging) {
        let (scales, block_groups) = (self.encoding.scales, self.encoding.scales.block_groups());
        let (patch, sink) = (self.patch, self.sink);
        let place = patch.place;
        let mut blocks = BlockScales::new();
        let mut fetched = 0;
        for chunk in 0..place.columns.div_ceil(LANES) {
            let to = match self.source {
                None => self.first_chunk + chunk,
                Some(_) => 0,
            };
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
                let staged = &mut staged[to];
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
                    let place = &mut staged.codes[(group + half) * E::GROUP_BYTES / 4..];
                    if E::FORMAT.elements_per_byte() == 2 {
                        let eights = if largest.mul(factors).are_small::<E>() {
                            encode_sixteen::<V, E, R, true>(&drawn, values, factors)
                        } else {
                            encode_sixteen::<V, E, R, false>(&drawn, values, factors)
                        };
                        put_words(&eights, place);
                    } else {
                        let fours = [
                            encode_four::<V, E, R, false, 0>(&drawn, values, factors),
                            encode_four::<V, E, R, false, 4>(&drawn, values, factors),
                            encode_four::<V, E, R, false, 8>(&drawn, values, factors),
                            encode_four::<V, E, R, false, 12>(&drawn, values, factors),
                        ];
                        put_words(&fours, place);
                    }
                    staged.scales[(group + half) / block_groups] = codes.bytes();
                }
            }
            if self.source.is_some() {
                // The tile is whole in one part: so are the lines of these columns.
                let row = self.columns_before + place.column + chunk * LANES;
                write_chunk::<V>(row, LANES, place, self.encoding, sink, &staged[0]);
            }
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

/// The codes of sixteen groups, each times its factor.
#[inline(always)]
fn encode_all<V: Vector, E: Element, R: Round, const SMALL: bool>(
    drawn: &R::Drawn<V>,
    values: &[V; LANES],
    factors: &Words,
) -> [V; LANES] {
    let mut codes = [V::splat(0); LANES];
    for group in 0..LANES {
        let scaled = values[group].mul(V::splat(factors[group]));
        codes[group] = R::along::<V, E, SMALL>(drawn, group, scaled);
    }
    codes
}

/// The codes of sixteen elements of every group: of the first eight, and of the others.
#[inline(always)]
fn encode_sixteen<V: Vector, E: Element, R: Round, const SMALL: bool>(
    drawn: &R::Drawn<V>,
    values: &[V; LANES],
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
    values: &[V; LANES],
    factors: V,
) -> V {
    let mut all = R::across::<V, E, SMALL>(drawn, FROM + 7, values[FROM + 7].mul(factors));
    macro_rules! below {
        ($($element:literal)*) => {
            $(
                let scaled = values[FROM + $element].mul(factors);
                all = all.shift_left(4).or(R::across::<V, E, SMALL>(drawn, FROM + $element, scaled));
            )*
        };
    }
    below!(6 5 4 3 2 1 0);
    all
}

/// As [`encode_eight`], the codes of four elements of a byte each.
#[inline(always)]
fn encode_four<V: Vector, E: Element, R: Round, const SMALL: bool, const FROM: usize>(
    drawn: &R::Drawn<V>,
    values: &[V; LANES],
    factors: V,
) -> V {
    let mut all = R::across::<V, E, SMALL>(drawn, FROM + 3, values[FROM + 3].mul(factors));
    macro_rules! below {
        ($($element:literal)*) => {
            $(
                let scaled = values[FROM + $element].mul(factors);
                all = all.shift_left(8).or(R::across::<V, E, SMALL>(drawn, FROM + $element, scaled));
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
