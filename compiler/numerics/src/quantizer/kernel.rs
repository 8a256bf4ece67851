//! From a tile of the input to codes and block scales, along the rows and along the columns.
//!
//! A tile is worked on patch by patch, along its rows, for that is how memory is read fast. What is made along the columns is
//! staged until the tile is done, for only then are the lines of the output whole. What is read once and as it lies is worked
//! on where it is.

#[cfg(target_arch = "x86_64")]
use super::avx2::Avx2;
#[cfg(target_arch = "x86_64")]
use super::avx512::Avx512;
use super::columns::{Staged, Staging, columns, write_columns};
use super::elements::{E2m1, E2m3, E3m2, E4m3, E5m2, Element};
use super::rotated::Rotation;
use super::rounding::{Nearest, Round, Stochastic};
use super::rows::rows;
use super::scales::ScaleMaker;
use super::sink::Sink;
use super::source::{
    Ahead, PATCH_COLUMNS, Patch, Place, Source, TILE_COLUMNS, TILE_ROWS, patch_rows, run,
};
use super::squares::{Squares, four_over_six_of_squares, largest_of_squares};
use super::vector::{LANES, Portable, Words};
use crate::simd::{SimdLevel, for_each_level};
use crate::{BlockShape, ElementFormat, RandomStream};

/// The most groups along a column of a tile.
pub(super) const GROUPS: usize = TILE_ROWS / LANES;

/// How many sets of sixteen groups are scaled before they are encoded.
pub(super) const SETS: usize = 4;

/// What scales sixteen groups.
#[derive(Clone, Copy)]
pub(super) struct Set {
    pub factors: Words,
    pub codes: [u8; LANES],
    pub are_small: bool,
}

impl Set {
    pub const NOTHING: Self = Self {
        factors: [0; LANES],
        codes: [0; LANES],
        are_small: false,
    };
}

/// How an output's tensor is made, for one execution.
#[derive(Clone, Copy)]
pub(super) struct Encoding {
    pub element: ElementFormat,
    pub scales: ScaleMaker,
    pub random: Option<RandomStream>,
    pub blocks: BlockShape,
    pub direction: Direction,
    /// The number of the input's transform that it is made of, if it is not of the input itself.
    pub rotation: Option<usize>,
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
    /// Of each transform.
    rotated: Vec<Patch>,
    /// Of each output.
    staged: Vec<Staging>,
}

impl Scratch {
    /// For matrices of that many columns and so many transforms of them.
    pub fn new(outputs: &[(Encoding, Sink)], rotations: usize, columns: usize) -> Self {
        let staged = outputs.iter().map(|(encoding, _)| {
            let chunks = match encoding.direction {
                Direction::Rows => 0,
                Direction::Columns => columns.min(TILE_COLUMNS).div_ceil(LANES),
            };
            vec![Staged::NOTHING; chunks]
        });
        Self {
            patch: Patch::new(),
            rotated: (0..rotations).map(|_| Patch::new()).collect(),
            staged: staged.collect(),
        }
    }
}

/// Writes every output's part of a tile. Meanwhile `ahead` is fetched, the first patch of the next tile.
pub(super) fn quantize_tile(
    level: SimdLevel,
    source: Source<'_>,
    place: Place,
    ahead: Ahead<'_>,
    (outputs, rotations): (&[(Encoding, Sink)], &[Rotation]),
    scratch: &mut Scratch,
) {
    let Scratch {
        patch,
        rotated,
        staged,
    } = scratch;
    let is_square = |(encoding, _): &(Encoding, Sink)| encoding.blocks == BlockShape::Square;
    let has_square = outputs.iter().any(is_square);
    // What is near, or is read once and as it lies, is not worth a copy; what is no whole tile needs zeros around it.
    let is_column = |(encoding, _): &(Encoding, Sink)| encoding.direction == Direction::Columns;
    let has_columns = outputs.iter().any(is_column);
    let is_read_once = outputs.len() == 1;
    let is_whole = place.columns.is_multiple_of(PATCH_COLUMNS);
    let is_plain = !has_square && !has_columns && rotations.is_empty();
    let is_direct = is_plain && is_whole && (is_read_once || source.is_near());
    let widths = rotations.iter().map(Rotation::patch_columns);
    let width = widths.fold(PATCH_COLUMNS.min(place.columns), usize::min);
    let height = patch_rows(run(width));
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
            for (rotation, rotated) in rotations.iter().zip(rotated.iter_mut()) {
                rotation.rotate(level, patch, rotated);
            }
            let mut squares: Squares = [[0; LANES]; GROUPS];
            if has_square {
                largest_of_squares(level, patch, &mut squares);
            }
            let fetched = |row, column| source.ahead(place.row + row, place.column + column);
            let ahead = if column + width < place.columns {
                fetched(row, column + width)
            } else if row + height < place.rows {
                fetched(row + height, 0)
            } else {
                ahead
            };
            let each = outputs.iter().zip(staged.iter_mut()).enumerate();
            for (index, (&(encoding, sink), staged)) in each {
                let wanted = match encoding.scales {
                    ScaleMaker::FourOverSixOfSquares(tensor) => {
                        let mut wanted = squares;
                        four_over_six_of_squares(level, patch, tensor, &mut wanted);
                        Some(wanted)
                    }
                    _ => None,
                };
                let part = Part {
                    patch: encoding.rotation.map_or(&*patch, |number| &rotated[number]),
                    source: is_direct.then_some(source),
                    rows_before: source.rows_before,
                    columns_before: source.columns_before,
                    first_group: row / LANES,
                    first_chunk: column / LANES,
                    squares: (encoding.blocks == BlockShape::Square).then_some(&squares),
                    wanted: wanted.as_ref(),
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
        if encoding.direction == Direction::Columns {
            let row = source.columns_before + place.column;
            write_columns(level, row, place, encoding, sink, staged);
        }
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

/// One output's part of a patch.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub patch: &'a Patch,
    /// The input, where the patch has not taken it.
    pub source: Option<Source<'a>>,
    /// The rows of storage before the matrix's, for blocks along its rows and along its columns.
    pub rows_before: usize,
    pub columns_before: usize,
    /// The groups of the tile above the patch, and those before it.
    pub first_group: usize,
    pub first_chunk: usize,
    /// The largest magnitudes of the patch's squares, where blocks are square.
    pub squares: Option<&'a Squares>,
    /// The squares' wanted scales, where these take more than their largest magnitudes.
    pub wanted: Option<&'a Squares>,
    /// What is fetched meanwhile.
    pub ahead: Ahead<'a>,
    pub sink: Sink,
    pub encoding: Encoding,
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
}

/// The groups that elements take, up to a whole number of blocks.
pub(super) fn groups(elements: usize, block_groups: usize) -> usize {
    elements.div_ceil(LANES).next_multiple_of(block_groups)
}
