//! Packs an operand's codes and block scales for the innermost kernels.

use super::level::Level;
use super::tile::{BIAS, COLUMNS, ColumnBlock, ROWS, RowBlock, THREE};
use std::array;
use std::ops::Range;
use tessera_numerics::{ElementFormat, ScaleFormat, ScaleLayout, ScaledType};

/// Blocks along a line that are packed at a time: the codes of so many nvfp4 blocks are a cache line.
pub(super) const RUN: usize = 8;

/// Columns that are packed at a time.
const QUAD: usize = 4;

/// The largest E8M0 scale, 2¹²⁷. No E4M3 scale comes near.
const LARGEST_SCALE: f32 = f32::from_bits(0x7f00_0000);

/// The codes of a block, a pair of bytes for each word of four elements.
pub(super) type Codes<const GROUPS: usize> = [[u8; 2]; GROUPS];

/// What codes stand for.
#[derive(Clone, Debug)]
pub(super) struct Decoder {
    /// Twice each E2M1 number: an integer.
    elements: [i8; 16],
    pub(super) scales: [f32; 256],
}

/// Where the parts of a scaled tensor lie.
#[derive(Clone, Debug)]
pub(super) struct Storage {
    scaled_type: ScaledType,
    row_bytes: usize,
    blocks: usize,
    scales_offset: usize,
}

/// Lines of an operand along its axis: rows of the lhs, columns of the rhs.
#[derive(Clone, Copy)]
pub(super) struct Lines<'a> {
    pub(super) storage: &'a Storage,
    /// The whole operand.
    pub(super) bytes: &'a [u8],
    /// The first line's row in storage.
    pub(super) first: usize,
    /// Rows in storage from one line to the next.
    pub(super) step: usize,
    /// How many lines there are. Lines of zeros follow, up to the rows or columns of a tile.
    pub(super) count: usize,
}

/// Up to [`RUN`] blocks of one line.
pub(super) struct Run<'a, const GROUPS: usize> {
    pub(super) codes: &'a [Codes<GROUPS>],
    pub(super) scales: [u8; RUN],
}

impl Decoder {
    pub(super) fn new(scales: ScaleFormat) -> Self {
        Self {
            elements: array::from_fn(|code| (2.0 * ElementFormat::E2m1.decode(code as u8)) as i8),
            scales: array::from_fn(|code| scales.decode(code as u8)),
        }
    }

    /// Packs those blocks of the lines as rows. Each of `packed` is one block.
    pub(super) fn pack_rows<const GROUPS: usize>(
        &self,
        level: Level,
        lines: &Lines<'_>,
        blocks: Range<usize>,
        packed: &mut [RowBlock<GROUPS>],
    ) {
        match level {
            Level::Portable => portable::pack_rows(self, lines, blocks, packed),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: every level but the portable one is only in use on a CPU that has AVX2.
            Level::Avx2 | Level::AvxVnni | Level::Avx512Vnni | Level::AmxBf16 => unsafe {
                avx2::pack_rows(self, lines, blocks, packed);
            },
            #[cfg(not(target_arch = "x86_64"))]
            Level::Avx2 | Level::AvxVnni | Level::Avx512Vnni | Level::AmxBf16 => {
                unreachable!("a level of x86-64")
            }
        }
    }

    /// Packs all blocks of the lines as columns. Each of `packed` is one block.
    pub(super) fn pack_columns<const GROUPS: usize>(
        &self,
        level: Level,
        lines: &Lines<'_>,
        packed: &mut [ColumnBlock<GROUPS>],
    ) {
        match level {
            Level::Portable => portable::pack_columns(self, lines, packed),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: every level but the portable one is only in use on a CPU that has AVX2.
            Level::Avx2 | Level::AvxVnni | Level::Avx512Vnni | Level::AmxBf16 => unsafe {
                avx2::pack_columns(self, lines, packed);
            },
            #[cfg(not(target_arch = "x86_64"))]
            Level::Avx2 | Level::AvxVnni | Level::Avx512Vnni | Level::AmxBf16 => {
                unreachable!("a level of x86-64")
            }
        }
    }
}

impl Storage {
    pub(super) fn new(scaled_type: &ScaledType) -> Self {
        Self {
            scaled_type: scaled_type.clone(),
            row_bytes: scaled_type.row_bytes(),
            blocks: scaled_type.blocks_per_row(),
            scales_offset: scaled_type.scales_offset(),
        }
    }

    /// The blocks of a line.
    pub(super) fn blocks(&self) -> usize {
        self.blocks
    }
}

impl Lines<'_> {
    /// The blocks of a line from `first` on, `length` of them. Behind the last line there are zeros with the smallest
    /// scale.
    #[inline(always)]
    pub(super) fn run<const GROUPS: usize>(
        &self,
        line: usize,
        first: usize,
        length: usize,
    ) -> Run<'_, GROUPS> {
        if line >= self.count {
            return Run {
                codes: &const { [[[0; 2]; GROUPS]; RUN] }[..length],
                scales: [0; RUN],
            };
        }
        let Storage {
            scaled_type,
            row_bytes,
            blocks,
            scales_offset,
        } = self.storage;
        let row = self.first + line * self.step;
        let (pairs, _) = self.bytes[row * row_bytes..][..*row_bytes].as_chunks::<2>();
        let (codes, _) = pairs.as_chunks::<GROUPS>();
        let mut scales = [0; RUN];
        match scaled_type.layout() {
            ScaleLayout::Linear => {
                let own = &self.bytes[scales_offset + row * blocks + first..][..length];
                scales[..length].copy_from_slice(own);
            }
            ScaleLayout::Tiled128x4 => {
                for (block, scale) in scales[..length].iter_mut().enumerate() {
                    let position = scaled_type.scale_position(row, first + block);
                    *scale = self.bytes[scales_offset + position];
                }
            }
        }
        Run {
            codes: &codes[first..][..length],
            scales,
        }
    }
}

/// Whether a scale's code may be that of an E8M0 scale at an end of its range, which takes care: 0, 254, or NaN's.
#[inline(always)]
fn is_extreme(code: u8) -> bool {
    code.wrapping_add(2) <= 2
}

/// The scale, but 0 where it is the smallest E8M0 scale and all its block's elements are zeros. CPUs multiply slowly by
/// subnormal numbers, and quantisation gives just this scale to a block of zeros.
#[cold]
fn without_slow_zero<const GROUPS: usize>(scale: f32, codes: &Codes<GROUPS>) -> f32 {
    let is_zero = || codes.as_flattened().iter().all(|pair| pair & 0x77 == 0);
    if scale.is_subnormal() && is_zero() {
        0.0
    } else {
        scale
    }
}

/// Packs rows with `unpack`, which makes the elements of a block, and their sum, of its codes.
///
/// Three times the largest E8M0 scale, 2¹²⁷, is no f32: its block has twice the elements and half the scale instead.
#[inline(always)]
fn pack_rows<const GROUPS: usize>(
    decoder: &Decoder,
    lines: &Lines<'_>,
    blocks: Range<usize>,
    packed: &mut [RowBlock<GROUPS>],
    unpack: impl Fn(&Codes<GROUPS>) -> ([i32; GROUPS], i32),
) {
    for (first, packed) in blocks.step_by(RUN).zip(packed.chunks_mut(RUN)) {
        for row in 0..ROWS {
            let run = lines.run::<GROUPS>(row, first, packed.len());
            for ((block, codes), code) in packed.iter_mut().zip(run.codes).zip(run.scales) {
                let (mut elements, mut sum) = unpack(codes);
                let mut scale = decoder.scales[usize::from(code)];
                if is_extreme(code) {
                    scale = without_slow_zero(scale, codes);
                    if scale == LARGEST_SCALE {
                        elements = elements.map(|word| (word << 1) & 0xfefe_fefe_u32 as i32);
                        (sum, scale) = (2 * sum, scale / 2.0);
                    }
                }
                block.elements[row] = elements;
                block.start[row] = THREE - BIAS * sum;
                (block.scales[row], block.shifts[row]) = (scale, -3.0 * scale);
            }
        }
    }
}

/// Packs columns with `unpack`, which makes biased elements of the codes of four blocks: at word `w` of a block, the
/// words of the four columns.
#[inline(always)]
fn pack_columns<const GROUPS: usize>(
    decoder: &Decoder,
    lines: &Lines<'_>,
    packed: &mut [ColumnBlock<GROUPS>],
    unpack: impl Fn([&Codes<GROUPS>; QUAD]) -> [[u32; QUAD]; GROUPS],
) {
    for (number, packed) in packed.chunks_mut(RUN).enumerate() {
        for quad in 0..COLUMNS / QUAD {
            let runs: [Run<'_, GROUPS>; QUAD] = array::from_fn(|column| {
                lines.run(quad * QUAD + column, number * RUN, packed.len())
            });
            for (number, block) in packed.iter_mut().enumerate() {
                let codes: [_; QUAD] = array::from_fn(|column| &runs[column].codes[number]);
                for (line, words) in block.elements.iter_mut().zip(unpack(codes)) {
                    line.as_chunks_mut::<QUAD>().0[quad] = words;
                }
                block.scales.as_chunks_mut::<QUAD>().0[quad] = array::from_fn(|column| {
                    let code = runs[column].scales[number];
                    let scale = decoder.scales[usize::from(code)];
                    if is_extreme(code) {
                        without_slow_zero(scale, codes[column])
                    } else {
                        scale
                    }
                });
            }
        }
    }
}

mod portable {
    use super::*;

    pub(super) fn pack_rows<const GROUPS: usize>(
        decoder: &Decoder,
        lines: &Lines<'_>,
        blocks: Range<usize>,
        packed: &mut [RowBlock<GROUPS>],
    ) {
        super::pack_rows(decoder, lines, blocks, packed, |codes| {
            let elements = codes.map(|pairs| unpack(decoder, pairs));
            let sums = elements.map(|word| word.iter().map(|&element| i32::from(element)).sum());
            let words = elements.map(|word| i32::from_le_bytes(word.map(|element| element as u8)));
            (words, sums.iter().sum::<i32>())
        });
    }

    pub(super) fn pack_columns<const GROUPS: usize>(
        decoder: &Decoder,
        lines: &Lines<'_>,
        packed: &mut [ColumnBlock<GROUPS>],
    ) {
        super::pack_columns(decoder, lines, packed, |codes| {
            array::from_fn(|group| {
                codes.map(|codes| {
                    let biased = unpack(decoder, codes[group])
                        .map(|element| (i32::from(element) + BIAS) as u8);
                    u32::from_le_bytes(biased)
                })
            })
        });
    }

    fn unpack(decoder: &Decoder, [first, second]: [u8; 2]) -> [i8; 4] {
        [first & 15, first >> 4, second & 15, second >> 4]
            .map(|code| decoder.elements[usize::from(code)])
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::*;
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn pack_rows<const GROUPS: usize>(
        decoder: &Decoder,
        lines: &Lines<'_>,
        blocks: Range<usize>,
        packed: &mut [RowBlock<GROUPS>],
    ) {
        let table = load_table(&decoder.elements);
        super::pack_rows(decoder, lines, blocks, packed, |codes| {
            let mut elements = [0; GROUPS];
            let mut sum = _mm_setzero_si128();
            let (quads, _) = elements.as_chunks_mut::<4>();
            let (codes, _) = codes.as_chunks::<4>();
            for (quad, codes) in quads.iter_mut().zip(codes) {
                let unpacked = unpack(table, codes);
                // `sad` adds bytes without sign.
                let biased = _mm_add_epi8(unpacked, _mm_set1_epi8(BIAS as i8));
                sum = _mm_add_epi64(sum, _mm_sad_epu8(biased, _mm_setzero_si128()));
                *quad = words(unpacked);
            }
            let sum = _mm_cvtsi128_si32(sum) + _mm_extract_epi32(sum, 2);
            (elements, sum - BIAS * 4 * GROUPS as i32)
        });
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn pack_columns<const GROUPS: usize>(
        decoder: &Decoder,
        lines: &Lines<'_>,
        packed: &mut [ColumnBlock<GROUPS>],
    ) {
        let biased = decoder.elements.map(|element| element + BIAS as i8);
        let table = load_table(&biased);
        super::pack_columns(decoder, lines, packed, |codes| {
            let mut elements = [[0; QUAD]; GROUPS];
            let (squares, _) = elements.as_chunks_mut::<4>();
            for (number, square) in squares.iter_mut().enumerate() {
                let rows = codes.map(|codes| unpack(table, &codes.as_chunks::<4>().0[number]));
                let columns = transpose(rows);
                for (words, column) in square.iter_mut().zip(columns) {
                    *words = super::avx2::words(column).map(|word| word as u32);
                }
            }
            elements
        });
    }

    #[target_feature(enable = "avx2")]
    fn load_table(table: &[i8; 16]) -> __m128i {
        // SAFETY: a reference to 16 bytes.
        unsafe { _mm_loadu_si128(table.as_ptr().cast()) }
    }

    /// What `table` has for 16 codes.
    #[target_feature(enable = "avx2")]
    fn unpack(table: __m128i, codes: &[[u8; 2]; 4]) -> __m128i {
        // SAFETY: a reference to 8 bytes.
        let pairs = unsafe { _mm_loadl_epi64(codes.as_ptr().cast()) };
        let low = _mm_set1_epi8(15);
        let first = _mm_and_si128(pairs, low);
        let second = _mm_and_si128(_mm_srli_epi16::<4>(pairs), low);
        _mm_shuffle_epi8(table, _mm_unpacklo_epi8(first, second))
    }

    #[target_feature(enable = "avx2")]
    fn words(vector: __m128i) -> [i32; 4] {
        let mut words = [0; 4];
        // SAFETY: a reference to 16 bytes.
        unsafe { _mm_storeu_si128(words.as_mut_ptr().cast(), vector) };
        words
    }

    /// Transposes a matrix of 4×4 words.
    #[target_feature(enable = "avx2")]
    fn transpose(rows: [__m128i; 4]) -> [__m128i; 4] {
        let low = [0, 2].map(|row| _mm_unpacklo_epi32(rows[row], rows[row + 1]));
        let high = [0, 2].map(|row| _mm_unpackhi_epi32(rows[row], rows[row + 1]));
        [
            _mm_unpacklo_epi64(low[0], low[1]),
            _mm_unpackhi_epi64(low[0], low[1]),
            _mm_unpacklo_epi64(high[0], high[1]),
            _mm_unpackhi_epi64(high[0], high[1]),
        ]
    }
}
