//! MS-EDEN, sixteen groups of 128 numbers side by side: what its definition adds up one after the other is added up in the
//! lanes of a vector.

#[cfg(target_arch = "x86_64")]
use super::avx2::Avx2;
#[cfg(target_arch = "x86_64")]
use super::avx512::Avx512;
use super::elements::{E2m1, EXPONENT, float, round_nearest};
use super::kernel::Direction;
use super::rotation::HadamardTransform;
use super::rounding::{Keys, Numbers, random_words};
use super::scales::{e4m3, e4m3_stochastic};
use super::sink::Sink;
use super::source::{Place, Source};
use super::vector::{Floats, LANES, MAGNITUDE, Portable, Vector};
use crate::RandomStream;
use crate::quantize::{MS_EDEN_ELEMENT_LARGEST, MS_EDEN_GROUP};
use crate::simd::for_each_level;

/// The blocks of a group.
const BLOCKS: usize = MS_EDEN_GROUP / LANES;
/// The bytes of a block's codes.
const BLOCK_BYTES: usize = LANES / 2;

/// How an output's tensor is made, for one execution.
#[derive(Clone, Copy)]
pub(super) struct Eden<'a> {
    /// The tensor scale.
    pub decode: f32,
    pub stream: RandomStream,
    pub direction: Direction,
    /// The transform of the input along that direction which it is made of, if it is not of the input itself.
    pub transform: Option<&'a HadamardTransform>,
}

/// Sixteen groups: their first numbers, their second ones …
type Groups = [Floats; MS_EDEN_GROUP];

for_each_level! {
    /// Writes an output's part of a tile, whose rows and columns begin with a group.
    fn eden_tile(source: Source<'_>, place: Place, eden: Eden<'_>, sink: Sink) = {
        avx512: eden_tile_with::<Avx512>,
        avx2: eden_tile_with::<Avx2>,
        portable: eden_tile_with::<Portable>,
    };
}

#[inline(always)]
fn eden_tile_with<V: Vector>(source: Source<'_>, place: Place, eden: Eden<'_>, sink: Sink) {
    let (height, width) = match eden.direction {
        Direction::Rows => (LANES, MS_EDEN_GROUP),
        Direction::Columns => (MS_EDEN_GROUP, LANES),
    };
    let keys = Keys::new(eden.stream.seed);
    let mut groups = [[0.0; LANES]; MS_EDEN_GROUP];
    for row in (0..place.rows).step_by(height) {
        for column in (0..place.columns).step_by(width) {
            let part = Place {
                row: place.row + row,
                column: place.column + column,
                rows: height.min(place.rows - row),
                columns: width.min(place.columns - column),
            };
            let stored = match eden.direction {
                Direction::Rows => {
                    take_rows::<V>(source, part, &mut groups);
                    Stored {
                        row: source.rows_before + part.row,
                        lanes: part.rows,
                        along: part.column / LANES,
                        elements: part.columns,
                    }
                }
                Direction::Columns => {
                    take_columns::<V>(source, part, &mut groups);
                    Stored {
                        row: source.columns_before + part.column,
                        lanes: part.columns,
                        along: part.row / LANES,
                        elements: part.rows,
                    }
                }
            };
            if let Some(transform) = eden.transform {
                rotate::<V>(&mut groups, stored.elements, transform);
            }
            stored.make::<V>(&groups, eden, &keys, sink);
        }
    }
}

/// Transforms the whole blocks of sixteen groups of so many elements.
#[inline(always)]
fn rotate<V: Vector>(groups: &mut Groups, elements: usize, transform: &HadamardTransform) {
    let values = *groups;
    transform.side_by_side::<V>(&values[..elements], &mut groups[..elements], 1);
}

/// Groups along rows, zeros where there are none.
#[inline(always)]
fn take_rows<V: Vector>(source: Source<'_>, place: Place, groups: &mut Groups) {
    for (chunk, elements) in groups.chunks_exact_mut(LANES).enumerate() {
        let mut rows = [V::splat(0); LANES];
        let begin = chunk * LANES;
        if begin < place.columns {
            let part = Place {
                column: place.column + begin,
                columns: LANES.min(place.columns - begin),
                ..place
            };
            for (index, row) in rows.iter_mut().take(place.rows).enumerate() {
                *row = stretch::<V>(source, part, index);
            }
        }
        for (element, lanes) in elements.iter_mut().zip(V::transpose(&rows)) {
            lanes.store(element);
        }
    }
}

/// Groups along columns, zeros where there are none.
#[inline(always)]
fn take_columns<V: Vector>(source: Source<'_>, place: Place, groups: &mut Groups) {
    for (index, element) in groups.iter_mut().enumerate() {
        let lanes = if index < place.rows {
            stretch::<V>(source, place, index)
        } else {
            V::splat(0)
        };
        lanes.store(element);
    }
}

/// The columns of a place's row, sixteen at most, centred; zeros behind them.
#[inline(always)]
fn stretch<V: Vector>(source: Source<'_>, place: Place, row: usize) -> V {
    let start = source.position(place.row + row, place.column);
    let values = padded::<V>(&source.matrix[start..start + place.columns]);
    match source.mean {
        None => values,
        Some(mean) => values.sub(padded::<V>(&mean[place.column..][..place.columns])),
    }
}

/// Sixteen numbers at most, and zeros.
#[inline(always)]
fn padded<V: Vector>(values: &[f32]) -> V {
    if let Some(whole) = values.first_chunk() {
        return V::load(whole);
    }
    let mut padded = [0.0; LANES];
    padded[..values.len()].copy_from_slice(values);
    V::load(&padded)
}

/// Where sixteen groups lie in storage.
#[derive(Clone, Copy)]
struct Stored {
    /// The first group's row; those of the others follow.
    row: usize,
    /// How many groups there are.
    lanes: usize,
    /// The number of their first block in a row.
    along: usize,
    /// How many elements they have.
    elements: usize,
}

impl Stored {
    /// Writes the groups' codes and scales.
    #[inline(always)]
    fn make<V: Vector>(self, groups: &Groups, eden: Eden<'_>, keys: &Keys, sink: Sink) {
        let mut lines = [V::splat(0); LANES];
        let mut scales = [V::splat(0); BLOCKS];
        let (mut squares, mut products) = (V::splat(0), V::splat(0));
        for (block, elements) in groups.chunks_exact(LANES).enumerate() {
            let (scale, factor) = block_scale::<V>(elements, eden.decode);
            scales[block] = scale;
            for (half, eight) in elements.chunks_exact(8).enumerate() {
                let mut word = V::splat(0);
                for element in eight {
                    let scaled = V::load(element).mul(factor);
                    let rounded = round_nearest::<V, E2m1>(scaled);
                    squares = squares.add(scaled.mul(scaled));
                    products = products.add(scaled.mul(rounded));
                    // The first of eight ends in the lowest bits.
                    let code = scaled.encode_nearest::<E2m1>();
                    word = word.shift_right(4).or(code.shift_left(28));
                }
                lines[2 * block + half] = word;
            }
        }
        let correction = correction(squares, products);
        let blocks = self.elements.div_ceil(LANES);
        let mut codes = [[0; BLOCKS]; LANES];
        for (block, scale) in scales.iter().enumerate().take(blocks) {
            let random = self.random::<V>(eden.stream, keys, sink, block);
            let chosen = e4m3_stochastic(scale.mul(correction), random).bytes();
            for (codes, code) in codes.iter_mut().zip(chosen) {
                codes[block] = code;
            }
        }
        let each = V::transpose(&lines)
            .into_iter()
            .zip(&codes)
            .take(self.lanes);
        for (lane, (line, codes)) in each.enumerate() {
            let from = self.along * BLOCK_BYTES;
            sink.put_line(self.row + lane, from, line, blocks * BLOCK_BYTES);
            sink.put_scales(self.row + lane, self.along, &codes[..blocks]);
        }
    }

    /// The random words of a block of each group.
    #[inline(always)]
    fn random<V: Vector>(self, stream: RandomStream, keys: &Keys, sink: Sink, block: usize) -> V {
        let numbers = Numbers {
            first: sink.group(self.row, self.along + block),
            minor: sink.group(1, 0),
            run: LANES,
            major: 0,
        };
        let [words, ..] = random_words::<V>(stream, keys, &numbers.lanes());
        words
    }
}

/// The scales of sixteen blocks, 1 where they would be 0, and the factors for their numbers.
#[inline(always)]
fn block_scale<V: Vector>(elements: &[Floats], decode: f32) -> (V, V) {
    let mut largest = V::splat(0);
    for element in elements {
        largest = largest.max_words(V::load(element).and(V::splat(MAGNITUDE)));
    }
    let wanted = largest
        .div(float(MS_EDEN_ELEMENT_LARGEST))
        .div(float(decode));
    let (_, nearest) = e4m3(wanted, wanted);
    let magnitude = nearest.and(V::splat(MAGNITUDE));
    let scale = magnitude.if_less(V::splat(1), float(1.0), nearest);
    let factor = float::<V>(1.0).div(scale.mul(float(decode)));
    (scale, factor.min(float(f32::MAX)))
}

/// What the blocks' scales are multiplied by, 1 where that is no finite number.
#[inline(always)]
fn correction<V: Vector>(squares: V, products: V) -> V {
    let correction = squares.div(products);
    let magnitude = correction.and(V::splat(MAGNITUDE));
    magnitude.if_less(V::splat(EXPONENT), correction, float(1.0))
}
