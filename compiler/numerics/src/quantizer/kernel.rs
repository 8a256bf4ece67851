//! From a tile to codes and block scales, along the rows and along the columns.

use super::lanes::{
    Floats, LANES, Rceil, Scales, TransformerEngine, Words, encode_all_nearest,
    encode_all_stochastic, pack, random_bytes, random_words,
};
use super::sink::Sink;
use super::tile::{GROUPS, Place, Tile};
use crate::simd::for_each_level;
use crate::{BlockShape, RandomStream};

/// How an output's tensor is made, for one execution.
#[derive(Clone, Copy)]
pub(super) struct Encoding {
    pub scales: ScaleMaker,
    pub random: Option<RandomStream>,
    pub blocks: BlockShape,
    pub direction: Direction,
}

/// What makes the block scales.
#[derive(Clone, Copy)]
pub(super) enum ScaleMaker {
    TransformerEngine { encode: f32, decode: f32 },
    Rceil,
}

/// How blocks lie in the input matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// Along its rows: storage has the matrix's rows.
    Rows,
    /// Along its columns: storage has the matrix transposed.
    Columns,
}

for_each_level! {
    /// Fills the tile and writes every output's part of it.
    fn quantize_tile(
        tile: &mut Tile,
        source: Source<'_>,
        place: Place,
        outputs: &[(Encoding, Sink)],
    ) = quantize_tile_body;
}

/// The input matrix.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub matrix: &'a [f32],
    /// The elements from one row to the next.
    pub pitch: usize,
    /// What is subtracted from each column.
    pub mean: Option<&'a [f32]>,
    /// Rows of storage, for each direction, before this matrix's.
    pub rows_before: usize,
    pub columns_before: usize,
}

#[inline(always)]
fn quantize_tile_body(
    tile: &mut Tile,
    source: Source<'_>,
    place: Place,
    outputs: &[(Encoding, Sink)],
) {
    tile.fill(source.matrix, source.pitch, source.mean, place);
    for (encoding, sink) in outputs {
        match encoding.scales {
            ScaleMaker::TransformerEngine { encode, decode } => {
                let scales = TransformerEngine { encode, decode };
                quantize_output::<_, 1>(tile, source, place, *encoding, scales, sink);
            }
            ScaleMaker::Rceil => {
                quantize_output::<_, 2>(tile, source, place, *encoding, Rceil, sink);
            }
        }
    }
}

/// One output's part of a tile; its blocks are `BLOCK_GROUPS` groups of sixteen.
#[inline(always)]
fn quantize_output<S: Scales, const BLOCK_GROUPS: usize>(
    tile: &Tile,
    source: Source<'_>,
    place: Place,
    encoding: Encoding,
    scales: S,
    sink: &Sink,
) {
    let mut largest = [0; GROUPS];
    match encoding.direction {
        Direction::Rows => {
            tile.largest_along_rows(&mut largest);
            if encoding.blocks == BlockShape::Square {
                tile.square_rows(&mut largest);
            }
            if BLOCK_GROUPS == 2 {
                Tile::pair_rows(&mut largest);
            }
            let place = Place {
                row: source.rows_before + place.row,
                ..place
            };
            match encoding.random {
                None => rows::<S, _, BLOCK_GROUPS>(tile, place, &largest, scales, Nearest, sink),
                Some(stream) => rows::<S, _, BLOCK_GROUPS>(
                    tile,
                    place,
                    &largest,
                    scales,
                    Stochastic(stream),
                    sink,
                ),
            }
        }
        Direction::Columns => {
            tile.largest_along_columns(&mut largest);
            if encoding.blocks == BlockShape::Square {
                Tile::square_columns(&mut largest);
            }
            if BLOCK_GROUPS == 2 {
                tile.pair_columns(&mut largest);
            }
            let place = Place {
                column: source.columns_before + place.column,
                ..place
            };
            match encoding.random {
                None => columns::<S, _, BLOCK_GROUPS>(tile, place, &largest, scales, Nearest, sink),
                Some(stream) => columns::<S, _, BLOCK_GROUPS>(
                    tile,
                    place,
                    &largest,
                    scales,
                    Stochastic(stream),
                    sink,
                ),
            }
        }
    }
}

/// How elements are rounded.
trait Round: Copy {
    /// What is drawn once for sixteen groups, whose places in storage are given in units of groups.
    type Drawn;
    fn draw(self, groups: &[u64; LANES]) -> Self::Drawn;
    /// The codes of the elements of group `group`.
    fn along(drawn: &Self::Drawn, group: usize, values: &Floats, factors: &Floats) -> Words;
    /// The codes of element `element` of every group.
    fn across(drawn: &Self::Drawn, element: usize, values: &Floats, factors: &Floats) -> Words;
}

#[derive(Clone, Copy)]
struct Nearest;

impl Round for Nearest {
    type Drawn = ();

    #[inline(always)]
    fn draw(self, _groups: &[u64; LANES]) {}

    #[inline(always)]
    fn along((): &(), _group: usize, values: &Floats, factors: &Floats) -> Words {
        encode_all_nearest(values, factors)
    }

    #[inline(always)]
    fn across((): &(), _element: usize, values: &Floats, factors: &Floats) -> Words {
        encode_all_nearest(values, factors)
    }
}

#[derive(Clone, Copy)]
struct Stochastic(RandomStream);

impl Round for Stochastic {
    type Drawn = [Words; 4];

    #[inline(always)]
    fn draw(self, groups: &[u64; LANES]) -> [Words; 4] {
        random_words(self.0, groups)
    }

    #[inline(always)]
    fn along(drawn: &[Words; 4], group: usize, values: &Floats, factors: &Floats) -> Words {
        let random = random_bytes([0, 1, 2, 3].map(|word: usize| drawn[word][group]));
        encode_all_stochastic(values, factors, &random)
    }

    #[inline(always)]
    fn across(drawn: &[Words; 4], element: usize, values: &Floats, factors: &Floats) -> Words {
        let mut random = [0; LANES];
        for lane in 0..LANES {
            random[lane] = drawn[element / 4][lane] >> (8 * (element % 4)) & 0xff;
        }
        encode_all_stochastic(values, factors, &random)
    }
}

/// Blocks along the tile's rows: sixteen groups, one after the other in the tile, at a time.
#[inline(always)]
fn rows<S: Scales, R: Round, const BLOCK_GROUPS: usize>(
    tile: &Tile,
    place: Place,
    largest: &[u32; GROUPS],
    scales: S,
    round: R,
    sink: &Sink,
) {
    let groups_per_row = tile.width / LANES;
    let valid = Valid::new(place.rows, place.columns, BLOCK_GROUPS);
    let (largest, _) = largest.as_chunks::<LANES>();
    let used = (place.rows * groups_per_row).div_ceil(LANES);
    for (chunk, largest) in largest.iter().take(used).enumerate() {
        let (codes, factors) = scales.scales(largest);
        let position = |group: usize| {
            let index = chunk * LANES + group;
            (index / groups_per_row, index % groups_per_row)
        };
        let mut groups = [0; LANES];
        for (group, number) in groups.iter_mut().enumerate() {
            let (row, along) = position(group);
            *number = sink.group(place.row + row, place.column / LANES + along);
        }
        let drawn = round.draw(&groups);
        for group in 0..LANES {
            let (row, along) = position(group);
            if row >= valid.rows || along >= valid.groups {
                continue;
            }
            let values = tile.group(chunk * LANES + group);
            let packed = pack(&R::along(&drawn, group, values, &[factors[group]; LANES]));
            let along = place.column / LANES + along;
            sink.put_codes(place.row + row, along, &packed.to_le_bytes());
            if along.is_multiple_of(BLOCK_GROUPS) {
                sink.put_scale(place.row + row, along / BLOCK_GROUPS, codes[group] as u8);
            }
        }
    }
}

/// The rows of storage and the groups along them that a tile holds, up to the padding of rows to whole blocks.
struct Valid {
    rows: usize,
    groups: usize,
}

impl Valid {
    fn new(rows: usize, elements: usize, block_groups: usize) -> Self {
        let groups = elements.div_ceil(LANES).next_multiple_of(block_groups);
        Self { rows, groups }
    }
}

/// Blocks along the tile's columns: the groups of sixteen columns side by side at a time.
#[inline(always)]
fn columns<S: Scales, R: Round, const BLOCK_GROUPS: usize>(
    tile: &Tile,
    place: Place,
    largest: &[u32; GROUPS],
    scales: S,
    round: R,
    sink: &Sink,
) {
    /// The most groups along a column of a tile.
    const MOST: usize = 8;
    let chunks = tile.width / LANES;
    let valid = Valid::new(place.columns, place.rows, BLOCK_GROUPS);
    assert!(valid.groups <= MOST);
    let (largest, _) = largest.as_chunks::<LANES>();
    for chunk in 0..valid.rows.div_ceil(LANES) {
        let mut packed = [[0u64; MOST]; LANES];
        let mut scale_codes = [[0u8; MOST]; LANES];
        for group in 0..valid.groups {
            let (codes, factors) = scales.scales(&largest[group * chunks + chunk]);
            let mut groups = [0; LANES];
            for (lane, number) in groups.iter_mut().enumerate() {
                let row = place.column + chunk * LANES + lane;
                *number = sink.group(row, place.row / LANES + group);
            }
            let drawn = round.draw(&groups);
            let [mut low, mut high] = [[0u32; LANES]; 2];
            for element in 0..LANES {
                let values = tile.group((group * LANES + element) * chunks + chunk);
                let codes = R::across(&drawn, element, values, &factors);
                let half = if element < LANES / 2 {
                    &mut low
                } else {
                    &mut high
                };
                for lane in 0..LANES {
                    half[lane] |= codes[lane] << (4 * (element % (LANES / 2)));
                }
            }
            for lane in 0..LANES {
                packed[lane][group] = u64::from(low[lane]) | u64::from(high[lane]) << 32;
                scale_codes[lane][group] = codes[lane] as u8;
            }
        }
        let lanes = (valid.rows - chunk * LANES).min(LANES);
        for lane in 0..lanes {
            let row = place.column + chunk * LANES + lane;
            let first = place.row / LANES;
            let bytes = packed[lane].map(u64::to_le_bytes);
            sink.put_codes(row, first, &bytes.as_flattened()[..8 * valid.groups]);
            for group in (0..valid.groups).step_by(BLOCK_GROUPS) {
                sink.put_scale(
                    row,
                    (first + group) / BLOCK_GROUPS,
                    scale_codes[lane][group],
                );
            }
        }
    }
}
