//! From a tile to codes and block scales, along the rows and along the columns.

#[cfg(target_arch = "x86_64")]
use super::avx2::Avx2;
#[cfg(target_arch = "x86_64")]
use super::avx512::Avx512;
use super::lanes::{
    Rceil, Scales, TransformerEngine, encode_nearest, encode_stochastic, random_words,
};
use super::sink::Sink;
use super::tile::{Ahead, GROUPS, Place, Tile};
use super::vector::{LANES, Portable, Vector, interleaved};
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

/// The input matrix.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub matrix: &'a [f32],
    /// The elements from one row to the next.
    pub pitch: usize,
    /// What is subtracted from each column.
    pub mean: Option<&'a [f32]>,
    /// The rows of storage before this matrix's, for blocks along its rows and along its columns.
    pub rows_before: usize,
    pub columns_before: usize,
}

for_each_level! {
    /// Fills the tile and writes every output's part of it.
    fn quantize_tile(
        tile: &mut Tile,
        source: Source<'_>,
        place: Place,
        ahead: Ahead<'_>,
        outputs: &[(Encoding, Sink)],
    ) = {
        avx512: quantize_tile_with::<Avx512>,
        avx2: quantize_tile_with::<Avx2>,
        portable: quantize_tile_with::<Portable>,
    };
}

#[inline(always)]
fn quantize_tile_with<V: Vector>(
    tile: &mut Tile,
    source: Source<'_>,
    place: Place,
    ahead: Ahead<'_>,
    outputs: &[(Encoding, Sink)],
) {
    tile.fill(source.matrix, source.pitch, source.mean, place);
    for (index, &(encoding, sink)) in outputs.iter().enumerate() {
        let place = match encoding.direction {
            Direction::Rows => Place {
                row: source.rows_before + place.row,
                ..place
            },
            Direction::Columns => Place {
                column: source.columns_before + place.column,
                ..place
            },
        };
        let part = Part {
            tile,
            place,
            // The first output's pass is long enough to fetch all.
            ahead: if index == 0 { ahead } else { Ahead::NOTHING },
            sink,
            encoding,
        };
        match encoding.scales {
            ScaleMaker::TransformerEngine { encode, decode } => {
                part.write::<V, _, 1>(TransformerEngine { encode, decode });
            }
            ScaleMaker::Rceil => part.write::<V, _, 2>(Rceil),
        }
    }
}

/// One output's part of a tile.
#[derive(Clone, Copy)]
struct Part<'a> {
    tile: &'a Tile,
    /// Where the part lies in storage, rows and columns still the matrix's.
    place: Place,
    /// What is fetched meanwhile.
    ahead: Ahead<'a>,
    sink: Sink,
    encoding: Encoding,
}

impl Part<'_> {
    /// Writes codes and scales; blocks are `BLOCK_GROUPS` groups of sixteen.
    #[inline(always)]
    fn write<V: Vector, S: Scales, const BLOCK_GROUPS: usize>(self, scales: S) {
        let mut largest = [0; GROUPS];
        let is_square = self.encoding.blocks == BlockShape::Square;
        match self.encoding.direction {
            Direction::Rows => {
                self.tile.largest_along_rows::<V>(&mut largest);
                if is_square {
                    self.tile.square_rows(&mut largest);
                }
                if BLOCK_GROUPS == 2 {
                    Tile::pair_rows(&mut largest);
                }
                match self.encoding.random {
                    None => self.rows::<V, S, _, BLOCK_GROUPS>(&largest, scales, Nearest),
                    Some(stream) => {
                        self.rows::<V, S, _, BLOCK_GROUPS>(&largest, scales, Stochastic(stream));
                    }
                }
            }
            Direction::Columns => {
                self.tile.largest_along_columns::<V>(&mut largest);
                if is_square {
                    Tile::square_columns(&mut largest);
                }
                if BLOCK_GROUPS == 2 {
                    self.tile.pair_columns(&mut largest);
                }
                match self.encoding.random {
                    None => self.columns::<V, S, _, BLOCK_GROUPS>(&largest, scales, Nearest),
                    Some(stream) => {
                        self.columns::<V, S, _, BLOCK_GROUPS>(&largest, scales, Stochastic(stream));
                    }
                }
            }
        }
    }

    /// Blocks along the tile's rows: sixteen groups, one after the other in the tile, at a time.
    #[inline(always)]
    fn rows<V: Vector, S: Scales, R: Round, const BLOCK_GROUPS: usize>(
        self,
        largest: &[u32; GROUPS],
        scales: S,
        round: R,
    ) {
        let (place, sink) = (self.place, self.sink);
        let first = place.column / LANES;
        let valid_groups = groups(place.columns, BLOCK_GROUPS);
        // A tile's width is a power of two; divisions would take longer than all else.
        let groups_per_row = self.tile.width / LANES;
        let shift = groups_per_row.trailing_zeros();
        let position = |index: usize| (index >> shift, index & (groups_per_row - 1));
        // The groups that are written together: those of one row.
        let run = groups_per_row.min(LANES);

        let (largest, _) = largest.as_chunks::<LANES>();
        let used = (place.rows * groups_per_row).div_ceil(LANES);
        for (chunk, largest) in largest.iter().take(used).enumerate() {
            self.ahead.fetch(chunk);
            let start = chunk * LANES;
            let (codes, factors) = scales.scales(V::of_words(largest));
            let (codes, factors) = (codes.words(), factors.words());
            let drawn = round.draw::<V>(|group| {
                let (row, along) = position(start + group);
                sink.group(place.row + row, first + along)
            });
            let mut packed = [V::splat(0); LANES];
            for group in 0..LANES {
                let values = V::load(self.tile.group(start + group));
                let scaled = values.mul(V::splat(factors[group]));
                packed[group] = R::along(&drawn, group, scaled);
            }
            let packed = V::pack(&packed);
            let mut scale_codes = [0; LANES];
            for block in 0..LANES / BLOCK_GROUPS {
                scale_codes[block] = codes[block * BLOCK_GROUPS] as u8;
            }
            for from in (0..LANES).step_by(run) {
                let (row, along) = position(start + from);
                if row >= place.rows || along >= valid_groups {
                    continue;
                }
                let to = from + run.min(valid_groups - along);
                let (row, along) = (place.row + row, first + along);
                sink.put_codes(row, along, packed[from..to].as_flattened());
                let blocks = from / BLOCK_GROUPS..to / BLOCK_GROUPS;
                sink.put_scales(row, along / BLOCK_GROUPS, &scale_codes[blocks]);
            }
        }
    }

    /// Blocks along the tile's columns: the groups of sixteen columns side by side at a time.
    #[inline(always)]
    fn columns<V: Vector, S: Scales, R: Round, const BLOCK_GROUPS: usize>(
        self,
        largest: &[u32; GROUPS],
        scales: S,
        round: R,
    ) {
        /// The most groups along a column of a tile.
        const MOST: usize = 8;
        let (place, sink) = (self.place, self.sink);
        let first = place.row / LANES;
        let valid_groups = groups(place.rows, BLOCK_GROUPS).min(MOST);
        let chunks = self.tile.width / LANES;
        let (largest, _) = largest.as_chunks::<LANES>();
        for chunk in 0..place.columns.div_ceil(LANES) {
            let row = place.column + chunk * LANES;
            // The codes of two groups of every column, and the scales of eight blocks as bytes.
            let mut packed = [[[0; 4]; LANES]; MOST / 2];
            let mut scale_codes = [V::splat(0); 2];
            for (pair, packed) in packed.iter_mut().enumerate() {
                let mut halves = [V::splat(0); 4];
                for group in 2 * pair..valid_groups.min(2 * pair + 2) {
                    self.ahead.fetch(group * chunks + chunk);
                    let (codes, factors) =
                        scales.scales(V::of_words(&largest[group * chunks + chunk]));
                    let drawn = round.draw::<V>(|lane| sink.group(row + lane, first + group));
                    // Eight codes in each lane; the first in the lowest bits, so the last is shifted in first.
                    for element in (0..LANES).rev() {
                        let index = (group * LANES + element) * chunks + chunk;
                        let scaled = V::load(self.tile.group(index)).mul(factors);
                        let codes = R::across(&drawn, element, scaled);
                        let half = &mut halves[group % 2 * 2 + element / (LANES / 2)];
                        *half = half.shift_left::<4>().or(codes);
                    }
                    let block = group / BLOCK_GROUPS;
                    let four = &mut scale_codes[block / 4];
                    *four = four.or(at_byte(codes, block % 4));
                }
                *packed = V::interleave(&halves);
            }
            let scale_codes = [scale_codes[0].words(), scale_codes[1].words()];
            for lane in 0..LANES.min(place.columns - chunk * LANES) {
                let mut codes = [0; MOST * 8];
                for (codes, packed) in codes.chunks_exact_mut(16).zip(&packed) {
                    codes.copy_from_slice(
                        packed[interleaved(lane)]
                            .map(u32::to_le_bytes)
                            .as_flattened(),
                    );
                }
                sink.put_codes(row + lane, first, &codes[..8 * valid_groups]);
                let blocks = [scale_codes[0][lane], scale_codes[1][lane]].map(u32::to_le_bytes);
                let blocks = &blocks.as_flattened()[..valid_groups / BLOCK_GROUPS];
                sink.put_scales(row + lane, first / BLOCK_GROUPS, blocks);
            }
        }
    }
}

/// Bytes in the lowest bits of the lanes, moved to another of their four bytes.
#[inline(always)]
fn at_byte<V: Vector>(bytes: V, byte: usize) -> V {
    match byte {
        0 => bytes,
        1 => bytes.shift_left::<8>(),
        2 => bytes.shift_left::<16>(),
        _ => bytes.shift_left::<24>(),
    }
}

/// The groups that elements take, up to a whole number of blocks.
fn groups(elements: usize, block_groups: usize) -> usize {
    elements.div_ceil(LANES).next_multiple_of(block_groups)
}

/// How elements are rounded.
trait Round: Copy {
    /// What is drawn once for sixteen groups.
    type Drawn<V: Vector>;
    /// Draws for sixteen groups, of each of which `number` gives the number in storage.
    fn draw<V: Vector>(self, number: impl Fn(usize) -> u64) -> Self::Drawn<V>;
    /// The codes of the elements of one group.
    fn along<V: Vector>(drawn: &Self::Drawn<V>, group: usize, scaled: V) -> V;
    /// The codes of one element of every group.
    fn across<V: Vector>(drawn: &Self::Drawn<V>, element: usize, scaled: V) -> V;
}

#[derive(Clone, Copy)]
struct Nearest;

impl Round for Nearest {
    type Drawn<V: Vector> = ();

    #[inline(always)]
    fn draw<V: Vector>(self, _number: impl Fn(usize) -> u64) {}

    #[inline(always)]
    fn along<V: Vector>((): &(), _group: usize, scaled: V) -> V {
        encode_nearest(scaled)
    }

    #[inline(always)]
    fn across<V: Vector>((): &(), _element: usize, scaled: V) -> V {
        encode_nearest(scaled)
    }
}

#[derive(Clone, Copy)]
struct Stochastic(RandomStream);

/// The random words of sixteen groups, by word and by group.
struct Drawn<V> {
    words: [V; 4],
    groups: [[u32; 4]; LANES],
}

impl Round for Stochastic {
    type Drawn<V: Vector> = Drawn<V>;

    #[inline(always)]
    fn draw<V: Vector>(self, number: impl Fn(usize) -> u64) -> Drawn<V> {
        let mut numbers = [0; LANES];
        for (group, place) in numbers.iter_mut().enumerate() {
            *place = number(group);
        }
        let words = random_words::<V>(self.0, &numbers);
        let groups = V::interleave(&words);
        Drawn { words, groups }
    }

    #[inline(always)]
    fn along<V: Vector>(drawn: &Drawn<V>, group: usize, scaled: V) -> V {
        encode_stochastic(scaled, V::of_bytes(&drawn.groups[interleaved(group)]))
    }

    #[inline(always)]
    fn across<V: Vector>(drawn: &Drawn<V>, element: usize, scaled: V) -> V {
        let words = drawn.words[element / 4];
        let moved = match element % 4 {
            0 => words,
            1 => words.shift_right::<8>(),
            2 => words.shift_right::<16>(),
            _ => words.shift_right::<24>(),
        };
        encode_stochastic(scaled, moved.and(V::splat(0xff)))
    }
}
