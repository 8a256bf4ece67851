//! From a tile of the input to codes and block scales, along the rows and along the columns, in registers.

#[cfg(target_arch = "x86_64")]
use super::avx2::Avx2;
#[cfg(target_arch = "x86_64")]
use super::avx512::Avx512;
use super::lanes::{Keys, Rceil, Scales, TransformerEngine, random_words};
use super::sink::Sink;
use super::source::{Ahead, Place, Source, TILE_COLUMNS, TILE_ROWS};
use super::vector::{LANES, MAGNITUDE, Portable, Vector, Words, interleaved};
use crate::simd::for_each_level;
use crate::{BlockShape, RandomStream};

/// The most groups along a column of a tile.
const GROUPS: usize = TILE_ROWS / LANES;

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

impl ScaleMaker {
    /// The groups of sixteen elements of a block.
    fn block_groups(self) -> usize {
        match self {
            Self::TransformerEngine { .. } => 1,
            Self::Rceil => 2,
        }
    }

    /// The codes of the scales of blocks, and the factors for their numbers.
    #[inline(always)]
    fn scales<V: Vector>(self, largest: V) -> (V, V) {
        match self {
            Self::TransformerEngine { encode, decode } => {
                TransformerEngine { encode, decode }.scales(largest)
            }
            Self::Rceil => Rceil.scales(largest),
        }
    }
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
    /// Writes every output's part of a tile.
    fn quantize_tile(
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
    source: Source<'_>,
    place: Place,
    ahead: Ahead<'_>,
    outputs: &[(Encoding, Sink)],
) {
    let mut squares = [[0; LANES]; GROUPS];
    let is_square = |(encoding, _): &(Encoding, Sink)| encoding.blocks == BlockShape::Square;
    if outputs.iter().any(is_square) {
        largest_of_squares::<V>(&source, place, &mut squares);
    }
    for (index, &(encoding, sink)) in outputs.iter().enumerate() {
        let part = Part {
            source,
            place,
            squares: (encoding.blocks == BlockShape::Square).then_some(&squares),
            // The first output's pass is long enough to fetch all.
            ahead: if index == 0 { ahead } else { Ahead::NOTHING },
            sink,
            encoding,
        };
        part.write::<V>();
    }
}

/// The bits of the largest magnitude of each square of 16 × 16 elements of a tile.
#[inline(always)]
fn largest_of_squares<V: Vector>(
    source: &Source<'_>,
    place: Place,
    squares: &mut [[u32; LANES]; GROUPS],
) {
    for (row, squares) in squares.iter_mut().enumerate() {
        for (column, square) in squares.iter_mut().enumerate() {
            if row * LANES < place.rows && column * LANES < place.columns {
                let values = source.across::<V>(place.part(row * LANES, column * LANES));
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

/// One output's part of a tile.
#[derive(Clone, Copy)]
struct Part<'a> {
    source: Source<'a>,
    place: Place,
    /// The largest magnitudes of the tile's squares, where blocks are square.
    squares: Option<&'a [[u32; LANES]; GROUPS]>,
    /// What is fetched meanwhile.
    ahead: Ahead<'a>,
    sink: Sink,
    encoding: Encoding,
}

impl Part<'_> {
    /// Writes codes and scales.
    #[inline(always)]
    fn write<V: Vector>(self) {
        match (self.encoding.direction, self.encoding.random) {
            (Direction::Rows, None) => self.rows::<V, _>(Nearest),
            (Direction::Rows, Some(stream)) => self.rows::<V, _>(Stochastic::new(stream)),
            (Direction::Columns, None) => self.columns::<V, _>(Nearest),
            (Direction::Columns, Some(stream)) => self.columns::<V, _>(Stochastic::new(stream)),
        }
    }

    /// Blocks along the rows: sixteen groups at a time, of one row or of several short ones.
    #[inline(always)]
    fn rows<V: Vector, R: Round>(self, round: R) {
        let (scales, block_groups) = (self.encoding.scales, self.encoding.scales.block_groups());
        let (place, sink) = (self.place, self.sink);
        let run = groups(place.columns, block_groups)
            .next_power_of_two()
            .min(LANES);
        for row in (0..place.rows).step_by(LANES / run) {
            for ahead in row..row + LANES / run {
                self.ahead.fetch(ahead);
            }
            for column in (0..place.columns).step_by(TILE_COLUMNS) {
                let part = place.part(row, column);
                let values = self.source.along::<V>(part, run);
                let largest = match self.squares {
                    None => V::largest_magnitudes(&values),
                    // Tiles of square blocks are no wider than this; their rows lie in one row of squares.
                    Some(squares) => V::of_words(&repeated(&squares[row / LANES], run)),
                };
                let largest = if block_groups == 2 {
                    largest.max_words(largest.exchange::<1>())
                } else {
                    largest
                };
                let (codes, factors) = scales.scales(largest);
                let (codes, factors) = (codes.words(), factors.words());
                let (first_row, first) = (self.source.rows_before + part.row, part.column / LANES);
                let drawn = round.draw::<V>(Numbers {
                    first: sink.group(first_row, first),
                    minor: 1,
                    run,
                    major: sink.group(1, 0),
                });
                let packed = V::pack(&encode_all::<V, R>(&drawn, &values, &factors));
                let mut scale_codes = [0; LANES];
                for block in 0..LANES / block_groups {
                    scale_codes[block] = codes[block * block_groups] as u8;
                }
                let valid_groups = groups(part.columns, block_groups).min(run);
                for (index, from) in (0..LANES).step_by(run).take(part.rows).enumerate() {
                    let to = from + valid_groups;
                    sink.put_codes(first_row + index, first, packed[from..to].as_flattened());
                    let blocks = from / block_groups..to / block_groups;
                    let block = first / block_groups;
                    sink.put_scales(first_row + index, block, &scale_codes[blocks]);
                }
            }
        }
    }

    /// Blocks along the columns: those of sixteen columns side by side at a time.
    #[inline(always)]
    fn columns<V: Vector, R: Round>(self, round: R) {
        let (scales, block_groups) = (self.encoding.scales, self.encoding.scales.block_groups());
        let (place, sink) = (self.place, self.sink);
        let first = place.row / LANES;
        let valid_groups = groups(place.rows, block_groups).min(GROUPS);
        for chunk in 0..place.columns.div_ceil(LANES) {
            let row = self.source.columns_before + place.column + chunk * LANES;
            // The codes of two groups of every column, and the scales of eight blocks as bytes.
            let mut packed = [[[0; 4]; LANES]; GROUPS / 2];
            let mut scale_codes = [V::splat(0); 2];
            for (pair, packed) in packed.iter_mut().enumerate().take(valid_groups.div_ceil(2)) {
                let mut halves = [V::splat(0); 4];
                let mut block_largest = V::splat(0);
                for half in 0..2 {
                    let group = 2 * pair + half;
                    if group >= valid_groups {
                        break;
                    }
                    self.ahead.fetch(chunk * GROUPS + group);
                    let part = place.part(group * LANES, chunk * LANES);
                    let values = self.source.across::<V>(part);
                    let own = match self.squares {
                        None => largest(&values),
                        Some(squares) => V::splat(squares[group][chunk]),
                    };
                    if block_groups == 1 {
                        block_largest = own;
                    } else if half == 0 {
                        let next = place.part((group + 1) * LANES, chunk * LANES);
                        block_largest = own.max_words(largest(&self.source.across::<V>(next)));
                    }
                    let (codes, factors) = scales.scales(block_largest);
                    let drawn = round.draw::<V>(Numbers {
                        first: sink.group(row, first + group),
                        minor: sink.group(1, 0),
                        run: LANES,
                        major: 0,
                    });
                    halves[2 * half] = encode_eight::<V, R, 0>(&drawn, &values, factors);
                    halves[2 * half + 1] = encode_eight::<V, R, 8>(&drawn, &values, factors);
                    let block = group / block_groups;
                    let four = &mut scale_codes[block / 4];
                    *four = four.or(at_byte(codes, block % 4));
                }
                *packed = V::interleave(&halves);
            }
            let scale_codes = [scale_codes[0].words(), scale_codes[1].words()];
            for lane in 0..LANES.min(place.columns - chunk * LANES) {
                let mut codes = [0; GROUPS * 8];
                for (codes, packed) in codes.chunks_exact_mut(16).zip(&packed) {
                    codes.copy_from_slice(
                        packed[interleaved(lane)]
                            .map(u32::to_le_bytes)
                            .as_flattened(),
                    );
                }
                sink.put_codes(row + lane, first, &codes[..8 * valid_groups]);
                let blocks = [scale_codes[0][lane], scale_codes[1][lane]].map(u32::to_le_bytes);
                let blocks = &blocks.as_flattened()[..valid_groups / block_groups];
                sink.put_scales(row + lane, first / block_groups, blocks);
            }
        }
    }
}

/// The codes of sixteen groups, each times its factor.
#[inline(always)]
fn encode_all<V: Vector, R: Round>(
    drawn: &R::Drawn<V>,
    values: &[V; LANES],
    factors: &Words,
) -> [V; LANES] {
    let mut codes = [V::splat(0); LANES];
    for group in 0..LANES {
        let scaled = values[group].mul(V::splat(factors[group]));
        codes[group] = R::along(drawn, group, scaled);
    }
    codes
}

/// The codes of eight elements of every group, in each lane the first in the lowest bits. Written out, so that all that is
/// in registers stays there.
#[inline(always)]
fn encode_eight<V: Vector, R: Round, const FROM: usize>(
    drawn: &R::Drawn<V>,
    values: &[V; LANES],
    factors: V,
) -> V {
    let mut all = R::across(drawn, FROM + 7, values[FROM + 7].mul(factors));
    macro_rules! below {
        ($($element:literal)*) => {
            $(
                let codes = R::across(drawn, FROM + $element, values[FROM + $element].mul(factors));
                all = all.shift_left::<4>().or(codes);
            )*
        };
    }
    below!(6 5 4 3 2 1 0);
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

/// The numbers in storage of sixteen groups: `run` of them `minor` apart, a power of two, then as many `major` after these.
#[derive(Clone, Copy)]
struct Numbers {
    first: u64,
    minor: u64,
    run: usize,
    major: u64,
}

impl Numbers {
    #[inline(always)]
    fn lanes(self) -> [u64; LANES] {
        let shift = self.run.trailing_zeros();
        let mut numbers = [0; LANES];
        for (lane, number) in numbers.iter_mut().enumerate() {
            let (major, minor) = (lane as u64 >> shift, lane as u64 & (self.run as u64 - 1));
            *number = self.first + major * self.major + minor * self.minor;
        }
        numbers
    }
}

/// How elements are rounded.
trait Round: Copy {
    /// What is drawn once for sixteen groups.
    type Drawn<V: Vector>;
    /// Draws for sixteen groups.
    fn draw<V: Vector>(&self, numbers: Numbers) -> Self::Drawn<V>;
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
    fn draw<V: Vector>(&self, _numbers: Numbers) {}

    #[inline(always)]
    fn along<V: Vector>((): &(), _group: usize, scaled: V) -> V {
        scaled.encode_nearest()
    }

    #[inline(always)]
    fn across<V: Vector>((): &(), _element: usize, scaled: V) -> V {
        scaled.encode_nearest()
    }
}

#[derive(Clone, Copy)]
struct Stochastic {
    stream: RandomStream,
    keys: Keys,
}

impl Stochastic {
    fn new(stream: RandomStream) -> Self {
        let keys = Keys::new(stream.seed);
        Self { stream, keys }
    }
}

/// The random words of sixteen groups, by word and by group.
struct Drawn<V> {
    words: [V; 4],
    groups: [[u32; 4]; LANES],
}

impl Round for Stochastic {
    type Drawn<V: Vector> = Drawn<V>;

    #[inline(always)]
    fn draw<V: Vector>(&self, numbers: Numbers) -> Drawn<V> {
        let words = random_words::<V>(self.stream, &self.keys, &numbers.lanes());
        let groups = V::interleave(&words);
        Drawn { words, groups }
    }

    #[inline(always)]
    fn along<V: Vector>(drawn: &Drawn<V>, group: usize, scaled: V) -> V {
        scaled.encode_stochastic(V::of_bytes(&drawn.groups[interleaved(group)]))
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
        scaled.encode_stochastic(moved.and(V::splat(0xff)))
    }
}
