//! The innermost kernel for AMX-BF16: nvfp4 in products of small matrices.
//!
//! An E2M1 number has two significant bits and an E4M3 scale four, so their product is a bf16, exactly. Of two such
//! operands, an instruction sums the products of 16×16 pairs of blocks in f32: the 16 products of a block are added in
//! two halves that start at zero, the halves to each other, and that sum to the accumulator. All that comes before the
//! last addition is exact, for the terms are multiples of one `s·t/4` and their sum has at most 20 bits; so there is one
//! rounding a block, the one of the definition. Nothing is subnormal or too large, which this unit would not honour:
//! operands are at least 2⁻¹⁰ and at most 2688, or NaN.
//!
//! There are eight tile registers: four of accumulators, 32×32 of them, two of rows and two of columns. The four
//! instructions of a block take 64 cycles in which vectors and memory have little to do.

use super::avx512;
use super::kernel::{Geometry, Kernel};
use super::pack::{Codes, Decoder, Lines, RUN, Run};
use super::tile::Tile;
use crate::executor::transpose::transpose;
use std::arch::asm;
use std::arch::x86_64::*;
use std::array;
use std::ops::Range;
use std::sync::OnceLock;
use tessera_numerics::ElementFormat;

/// Rows, and columns, of a tile register.
const SIDE: usize = 16;

/// Tile registers along a tile's rows, and along its columns.
const REGISTERS: usize = 2;

/// Rows, and columns, of a tile.
const LENGTH: usize = REGISTERS * SIDE;

/// The elements of a block.
const BLOCK: usize = 16;

/// Words of four codes of a block.
const GROUPS: usize = 4;

/// A bf16, as its bits.
type Bf16 = u16;

/// The accumulators of a tile.
type Accumulators = Tile<LENGTH, LENGTH>;

/// One block of each of [`LENGTH`] rows, with their scales.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct RowBlock([[Bf16; BLOCK]; LENGTH]);

/// One block of each of [`LENGTH`] columns, with their scales: for each register of columns, for each pair of elements
/// along the axis, the pairs of all its columns.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct ColumnBlock([[[[Bf16; 2]; SIDE]; BLOCK / 2]; REGISTERS]);

/// The kernel. There is one only where [`is_available`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Tiles(());

impl Tiles {
    /// The kernel.
    ///
    /// # Safety
    /// The CPU has AVX-512 F and BW, and [`is_available`].
    pub(super) unsafe fn new() -> Self {
        Self(())
    }
}

/// Whether CPU and operating system let this process use AMX-BF16.
pub(super) fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        const AMX_BF16: u32 = 1 << 22;
        const AMX_TILE: u32 = 1 << 24;
        let (leaves, _) = __get_cpuid_max(0);
        leaves >= 7
            && __cpuid_count(7, 0).edx & (AMX_BF16 | AMX_TILE) == AMX_BF16 | AMX_TILE
            && request_permission()
    })
}

/// Asks Linux for the tile registers, which a process has only after that.
#[cfg(target_os = "linux")]
fn request_permission() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: i64 = 0x1023;
    const XFEATURE_XTILEDATA: i64 = 18;
    let status: i64;
    // SAFETY: the call changes nothing but the process' permission; it clobbers rcx and r11.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => status,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    status == 0
}

#[cfg(not(target_os = "linux"))]
fn request_permission() -> bool {
    false
}

/// What `ldtilecfg` loads.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    /// The bytes of a register's rows.
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Registers 0 to 3 are accumulators, 4 and 5 rows, 6 and 7 columns.
static CONFIGURATION: Configuration = {
    let row_bytes = (BLOCK * size_of::<Bf16>()) as u16;
    let mut configuration = Configuration {
        palette: 1,
        start_row: 0,
        reserved: [0; 14],
        row_bytes: [0; 16],
        rows: [0; 16],
    };
    let mut register = 0;
    while register < 8 {
        let is_rows = register == 4 || register == 5;
        configuration.row_bytes[register] = if is_rows { row_bytes } else { 64 };
        let is_columns = register >= 6;
        configuration.rows[register] = if is_columns { BLOCK as u8 / 2 } else { 16 };
        register += 1;
    }
    configuration
};

/// While there is one, the thread's tile registers are configured.
pub(super) struct Session(());

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: there is a session only where AMX is; nobody else uses the registers.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

impl Kernel for Tiles {
    type RowBlock = RowBlock;
    type ColumnBlock = ColumnBlock;
    type Tile = Accumulators;
    type Session = Session;

    const GEOMETRY: Geometry = Geometry {
        rows: LENGTH,
        columns: LENGTH,
        // Packed, these and the columns of a tile are half of a cache of 48 KiB.
        stretch: 384,
        tasks: [(64, 1024), (64, 512), (32, 512), (32, 256), (32, 128)],
        row_block_bytes: size_of::<RowBlock>(),
        column_block_bytes: size_of::<ColumnBlock>(),
        tile_bytes: size_of::<Accumulators>(),
        alignment: align_of::<Accumulators>(),
    };

    const RESULT_SCALE: f32 = 1.0;

    fn begin(self) -> Session {
        // SAFETY: there is a kernel only where AMX is; the configuration is one of palette 1.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &raw const CONFIGURATION, options(nostack, readonly));
        }
        Session(())
    }

    fn pack_rows(
        self,
        decoder: &Decoder,
        lines: &Lines<'_>,
        blocks: Range<usize>,
        packed: &mut [RowBlock],
    ) {
        // SAFETY: there is a kernel only where AVX-512 F and BW are.
        unsafe { pack_rows(decoder, lines, blocks, packed) }
    }

    fn keep(self, elements: Range<usize>, packed: &mut RowBlock) {
        for row in &mut packed.0 {
            row[..elements.start].fill(0);
            row[elements.end..].fill(0);
        }
    }

    fn pack_columns(self, decoder: &Decoder, lines: &Lines<'_>, packed: &mut [ColumnBlock]) {
        // SAFETY: as above.
        unsafe { pack_columns(decoder, lines, packed) }
    }

    fn accumulate(
        self,
        fresh: bool,
        rows: &[RowBlock],
        columns: &[ColumnBlock],
        tile: &mut Accumulators,
    ) {
        // SAFETY: a launch has begun a session on this thread.
        unsafe { accumulate(fresh, rows, columns, tile) }
    }

    unsafe fn write(self, sums: &[f32], scale: f32, place: *mut f32) {
        // SAFETY: there is a kernel only where AVX-512 F is; the caller's promise.
        unsafe { avx512::write(sums, Self::RESULT_SCALE, scale, place) }
    }
}

/// # Safety
/// The thread has a [`Session`].
unsafe fn accumulate(
    fresh: bool,
    rows: &[RowBlock],
    columns: &[ColumnBlock],
    tile: &mut Accumulators,
) {
    const LINE: usize = LENGTH * size_of::<f32>();
    let upper = tile.0.as_mut_ptr().cast::<u8>();
    let lower = upper.wrapping_add(SIDE * LINE);
    // SAFETY: the caller's promise. A register of accumulators is 16 lines of 64 bytes of the tile, one of rows 16 lines
    // of 32 bytes, one of columns 8 lines of 64; all of them lie inside what the references are to. Compilers do not use
    // the tile registers, so these keep what they hold from one statement to the next.
    unsafe {
        if fresh {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                options(nostack, nomem),
            );
        } else {
            asm!(
                "tileloadd tmm0, [{upper} + {line}]",
                "tileloadd tmm1, [{upper} + {line} + 64]",
                "tileloadd tmm2, [{lower} + {line}]",
                "tileloadd tmm3, [{lower} + {line} + 64]",
                upper = in(reg) upper,
                lower = in(reg) lower,
                line = in(reg) LINE,
                options(nostack, readonly),
            );
        }
        for (row_block, column_block) in rows.iter().zip(columns) {
            asm!(
                "tileloadd tmm4, [{rows} + {row_line}]",
                "tileloadd tmm6, [{columns} + {column_line}]",
                "tileloadd tmm7, [{columns} + {column_line} + 512]",
                "tileloadd tmm5, [{rows} + {row_line} + 512]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                rows = in(reg) row_block.0.as_ptr(),
                columns = in(reg) column_block.0.as_ptr(),
                row_line = in(reg) BLOCK * size_of::<Bf16>(),
                column_line = in(reg) SIDE * 2 * size_of::<Bf16>(),
                options(nostack, readonly),
            );
        }
        asm!(
            "tilestored [{upper} + {line}], tmm0",
            "tilestored [{upper} + {line} + 64], tmm1",
            "tilestored [{lower} + {line}], tmm2",
            "tilestored [{lower} + {line} + 64], tmm3",
            upper = in(reg) upper,
            lower = in(reg) lower,
            line = in(reg) LINE,
            options(nostack),
        );
    }
}

/// The E2M1 numbers by their codes.
#[target_feature(enable = "avx512f")]
fn elements() -> __m512 {
    let elements: [f32; 16] = array::from_fn(|code| ElementFormat::E2m1.decode(code as u8));
    // SAFETY: a reference to 16 numbers.
    unsafe { _mm512_loadu_ps(elements.as_ptr()) }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn pack_rows(decoder: &Decoder, lines: &Lines<'_>, blocks: Range<usize>, packed: &mut [RowBlock]) {
    let elements = elements();
    let words = load(&array::from_fn(|element| element as i32 / 8));
    let shifts = load(&array::from_fn(|element| element as i32 % 8 * 4));
    for (first, packed) in blocks.step_by(RUN).zip(packed.chunks_mut(RUN)) {
        for row in 0..LENGTH {
            let run = lines.run::<GROUPS>(row, first, packed.len());
            for ((block, codes), code) in packed.iter_mut().zip(run.codes).zip(run.scales) {
                // SAFETY: a reference to 8 bytes.
                let codes = unsafe { _mm_loadl_epi64(codes.as_ptr().cast()) };
                let codes = _mm512_permutexvar_epi32(words, _mm512_castsi128_si512(codes));
                let codes = _mm512_srlv_epi32(codes, shifts);
                // Of an index, a permutation reads the low four bits.
                let numbers = _mm512_permutexvar_ps(codes, elements);
                let scale = _mm512_set1_ps(decoder.scales[usize::from(code)]);
                let numbers = _mm512_castps_si512(_mm512_mul_ps(numbers, scale));
                let numbers = _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(numbers));
                // SAFETY: a reference to 16 bf16.
                unsafe { _mm256_storeu_si256(block.0[row].as_mut_ptr().cast(), numbers) };
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn pack_columns(decoder: &Decoder, lines: &Lines<'_>, packed: &mut [ColumnBlock]) {
    let elements = elements();
    for (number, packed) in packed.chunks_mut(RUN).enumerate() {
        for register in 0..REGISTERS {
            let runs: [Run<'_, GROUPS>; SIDE] = array::from_fn(|column| {
                lines.run(register * SIDE + column, number * RUN, packed.len())
            });
            let mut words = [_mm512_setzero_si512(); SIDE];
            for (word, run) in words.iter_mut().zip(&runs) {
                *word = load_codes(run.codes);
            }
            let words = transpose(words);
            let (words, _) = words.as_chunks::<2>();
            for (number, (block, words)) in packed.iter_mut().zip(words).enumerate() {
                let scales: [f32; SIDE] = array::from_fn(|column| {
                    decoder.scales[usize::from(runs[column].scales[number])]
                });
                // SAFETY: a reference to 16 numbers.
                let scales = unsafe { _mm512_loadu_ps(scales.as_ptr()) };
                let (halves, _) = block.0[register].as_chunks_mut::<{ BLOCK / 4 }>();
                for (pairs, word) in halves.iter_mut().zip(words) {
                    unpack_pairs(elements, scales, *word, pairs);
                }
            }
        }
    }
}

/// The columns' pairs of half a block: of each column, eight codes in a word.
#[target_feature(enable = "avx512f,avx512bw")]
fn unpack_pairs(
    elements: __m512,
    scales: __m512,
    word: __m512i,
    pairs: &mut [[[Bf16; 2]; SIDE]; BLOCK / 4],
) {
    let unpack = |code: i32| {
        let codes = _mm512_srlv_epi32(word, _mm512_set1_epi32(4 * code));
        // Of an index, a permutation reads the low four bits.
        _mm512_castps_si512(_mm512_mul_ps(
            _mm512_permutexvar_ps(codes, elements),
            scales,
        ))
    };
    for (pair, line) in pairs.iter_mut().enumerate() {
        let (first, second) = (unpack(2 * pair as i32), unpack(2 * pair as i32 + 1));
        let both = _mm512_mask_blend_epi16(0xaaaa_aaaa, _mm512_srli_epi32::<16>(first), second);
        // SAFETY: a reference to 32 bf16.
        unsafe { _mm512_storeu_si512(line.as_mut_ptr().cast(), both) };
    }
}

#[target_feature(enable = "avx512f")]
fn load(words: &[i32; SIDE]) -> __m512i {
    // SAFETY: a reference to 16 words.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

/// The codes of up to [`RUN`] blocks; zeros follow.
#[target_feature(enable = "avx512f,avx512bw")]
fn load_codes(codes: &[Codes<GROUPS>]) -> __m512i {
    let bytes = codes.as_flattened().as_flattened();
    let mask = u64::MAX >> (64 - bytes.len().clamp(1, 64));
    // SAFETY: the mask has a bit for each byte of the reference, of which there are at least one and at most 64.
    unsafe { _mm512_maskz_loadu_epi8(mask, bytes.as_ptr().cast()) }
}
