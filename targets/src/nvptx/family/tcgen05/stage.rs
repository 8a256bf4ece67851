//! What loading threads bring to shared memory in a step: tiles of codes, swizzled, and tiles of scales.
//!
//! Codes are copied as they lie in rows, but for those of `kind::mxf8f6f4` with fewer than eight bits, of which sixteen
//! have sixteen bytes whatever they fill. (PTX ISA, "Packing formats used in shared memory": `b4x16_p64`, `b6x16_p32`.)
//! Scales lie in tiles of 128 rows by four, in the order of `ScaleLayout::Tiled128x4`. Rows beyond an operand's last, and
//! bytes beyond a row's, are zeros, which add exact zeros to sums.

use super::kind::Kind;
use super::memory::{ScaleTile, SwizzledTile};
use super::tile::{Places, Tile};
use super::{LOADING_THREADS, instructions};
use crate::mlir::elemental::{Unsupported, scale_place};
use crate::mlir::index::Expression;
use crate::mlir::{Builder, Emission, Value};
use crate::nvptx::asynchronous::word;
use crate::nvptx::family::edges::{Condition, both, clamped, kept};
use crate::nvptx::family::scaled_dot::Codes;
use tessera_ir::{ElementType, ScaledType};
use tessera_numerics::{ElementFormat, ScaleLayout};

/// How a piece of 16 bytes of shared memory is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    /// By 16 bytes, as they lie.
    Whole,
    /// By 8 bytes of sixteen codes of four bits; what follows is padding.
    Half,
    /// By sixteen codes of six bits, in 16 bytes of global memory, packed in 12; what follows is padding.
    Packed,
}

impl Piece {
    fn of(kind: Kind, element: ElementFormat) -> Self {
        match (kind, element) {
            (Kind::Mxf4nvf4 | Kind::Mxf4 | Kind::F8f6f4 | Kind::Half(_), _) => Self::Whole,
            (Kind::Mxf8f6f4, ElementFormat::E2m1) => Self::Half,
            (Kind::Mxf8f6f4, ElementFormat::E2m3 | ElementFormat::E3m2) => Self::Packed,
            (Kind::Mxf8f6f4, ElementFormat::E4m3 | ElementFormat::E5m2) => Self::Whole,
        }
    }

    /// Bytes of global memory.
    const fn bytes(self) -> i64 {
        match self {
            Self::Whole | Self::Packed => SwizzledTile::PIECE,
            Self::Half => SwizzledTile::PIECE / 2,
        }
    }
}

/// Whether codes go to shared memory as they lie in rows.
pub fn is_whole(kind: Kind, scaled: &ScaledType) -> bool {
    Piece::of(kind, scaled.format().element()) == Piece::Whole
}

/// Whether rows of codes are whole copies.
pub fn has_copies(codes: &Codes<'_>) -> bool {
    codes.scaled_type.row_bytes().is_multiple_of(8)
}

/// Bytes of shared memory that a row's codes take.
pub fn row_bytes(kind: Kind, scaled: &ScaledType) -> i64 {
    let piece = Piece::of(kind, scaled.format().element()).bytes();
    scaled.row_bytes() as i64 * SwizzledTile::PIECE / piece
}

/// An operand as the threads of a CTA load it.
pub struct Side<'a, 'c, 'g> {
    pub codes: &'a Codes<'g>,
    /// The address of its storage.
    pub base: Value<'c>,
    /// Rows of a tile.
    pub rows: i64,
    /// Tiles of scales, side by side.
    pub scale_tiles: i64,
    /// Its tensor map's address, where its codes are copied by one.
    pub map: Option<Value<'c>>,
    /// The product of the batch.
    pub batch: Expression,
    /// The first row of the tile.
    pub corner: Expression,
    /// The first row whose scales are loaded.
    pub scale_corner: Expression,
}

/// A step, and where it is loaded to.
pub struct Stage<'a, 'c> {
    pub kind: Kind,
    pub tile: &'a Tile,
    /// The thread's number among those that load.
    pub thread: &'a Expression,
    pub step: &'a Expression,
    /// The tile of codes, and the tiles of scales: addresses in shared memory.
    pub codes: Value<'c>,
    pub scales: Value<'c>,
}

impl<'c> Side<'_, 'c, '_> {
    fn scaled_type(&self) -> &ScaledType {
        self.codes.scaled_type
    }

    /// Begins a thread's part of the copies of a step.
    ///
    /// # Errors
    /// It cannot be computed here.
    pub fn load(
        &self,
        emission: &mut Emission<'c, '_>,
        stage: &Stage<'_, 'c>,
    ) -> Result<(), Unsupported> {
        if self.map.is_none() {
            self.load_codes(emission, stage);
        }
        self.load_scales(emission, stage)
    }

    fn load_codes(&self, emission: &mut Emission<'c, '_>, stage: &Stage<'_, 'c>) {
        let scaled = self.scaled_type();
        let piece = Piece::of(stage.kind, scaled.format().element());
        let row_bytes = scaled.row_bytes() as i64;
        // Rows are multiples of eight bytes.
        let unit = if row_bytes % piece.bytes() == 0 {
            piece.bytes()
        } else {
            piece.bytes() / 2
        };
        let units_per_piece = piece.bytes() / unit;
        let per_row = SwizzledTile::PIECES * units_per_piece;
        let rows_at_once = LOADING_THREADS / per_row;

        let place = stage.thread.remainder(per_row);
        let first_row = stage.thread.quotient(per_row);
        let last = row_bytes / unit - 1;
        let in_row = stage.step.times(per_row).plus(&place);
        let (in_row, column_is_there) = clamped(emission, &in_row, last);
        // The piece's number is exchanged by the row's: rows at once are a multiple of eight.
        let to = {
            let row = emission.elemental.number(&first_row.remainder(8));
            let number = emission.elemental.number(&place.quotient(units_per_piece));
            let within = first_row
                .times(SwizzledTile::ROW)
                .plus(&place.remainder(units_per_piece).times(unit));
            let within = emission.elemental.number(&within);
            let b = emission.elemental.builder();
            let exchanged = b.binary("arith.xori", number, row);
            let bytes = b.binary("arith.muli", exchanged, b.constant_i64(SwizzledTile::PIECE));
            let offset = word(&b, b.binary("arith.addi", bytes, within));
            b.binary("arith.addi", stage.codes, offset)
        };
        for pass in 0..self.rows / rows_at_once {
            let row = first_row.plus_constant(pass * rows_at_once);
            let row = self.corner.plus(&row);
            let (row, row_is_there) = self.codes.held_row(emission, &self.batch, &row);
            let from = row.times(row_bytes).plus(&in_row.times(unit));
            let from = (emission.elemental).address(self.base, ElementType::Ui8, &from);
            let b = emission.elemental.builder();
            let offset = pass * rows_at_once * SwizzledTile::ROW;
            let to = b.binary("arith.addi", to, b.constant_integer(b.integer(32), offset));
            let is_there = both(&b, row_is_there, column_is_there);
            match piece {
                Piece::Whole | Piece::Half => copy(&b, to, from, unit, is_there),
                Piece::Packed => pack(&b, to, from, is_there),
            }
        }
    }

    fn load_scales(
        &self,
        emission: &mut Emission<'c, '_>,
        stage: &Stage<'_, 'c>,
    ) -> Result<(), Unsupported> {
        let scaled = self.scaled_type();
        let blocks = scaled.blocks_per_row() as i64;
        let words = stage.tile.words(stage.kind);
        // Four scales of a row lie together where rows are whole words; then one copy has them.
        let is_whole = scaled.layout() == ScaleLayout::Tiled128x4 || blocks % 4 == 0;
        for pass in 0..self.scale_tiles * words {
            let unit = stage.thread.plus_constant(pass * LOADING_THREADS);
            let (own, place) = (unit.quotient(words), unit.remainder(words));
            let in_row = stage.step.times(words).plus(&place);
            let row = self.scale_corner.plus(&own);
            let (row, row_is_there) = self.codes.held_row(emission, &self.batch, &row);
            let to = place
                .times(self.scale_tiles)
                .plus(&own.quotient(ScaleTile::ROWS));
            let to = (to.times(ScaleTile::BYTES))
                .plus(&own.remainder(32).times(16))
                .plus(&own.remainder(ScaleTile::ROWS).quotient(32).times(4));
            let to = emission.elemental.number(&to);
            let b = emission.elemental.builder();
            let to = b.binary("arith.addi", stage.scales, word(&b, to));
            if is_whole {
                let last = (blocks + 3) / 4 - 1;
                let (in_row, word_is_there) = clamped(emission, &in_row, last);
                let from = scale_place(scaled, &row, &in_row.times(4));
                let from = (emission.elemental).address(self.base, ElementType::Ui8, &from);
                let b = emission.elemental.builder();
                copy(&b, to, from, 4, both(&b, row_is_there, word_is_there));
            } else {
                let mut all = b.constant_integer(b.integer(32), 0);
                for number in 0..4 {
                    let block = in_row.times(4).plus_constant(number);
                    let (block, is_there) = clamped(emission, &block, blocks - 1);
                    let from = scale_place(scaled, &row, &block);
                    let byte = emission.elemental.load(self.base, ElementType::Ui8, from);
                    let b = emission.elemental.builder();
                    let byte = b.cast("arith.extui", byte, b.integer(32));
                    let byte = kept(&b, byte, both(&b, row_is_there, is_there));
                    let by = b.constant_integer(b.integer(32), 8 * number);
                    all = b.binary("arith.ori", all, b.binary("arith.shli", byte, by));
                }
                let b = emission.elemental.builder();
                instructions::store_word(&b, to, all);
            }
        }
        Ok(())
    }
}

impl Places {
    /// Where the codes and the scales of A (0) or B (1) go in the stage that begins at an address.
    pub fn in_stage<'c>(&self, b: &Builder<'c>, stage: Value<'c>, side: usize) -> [Value<'c>; 2] {
        [i64::from(self.tiles[side].first()), self.scales[side]].map(|offset| {
            b.binary(
                "arith.addi",
                stage,
                b.constant_integer(b.integer(32), offset),
            )
        })
    }
}

fn copy<'c>(b: &Builder<'c>, to: Value<'c>, from: Value<'c>, size: i64, is_there: Condition<'c>) {
    let all = b.constant_integer(b.integer(32), size);
    instructions::copy(b, to, global(b, from), size, kept(b, all, is_there));
}

/// Sixteen codes of six bits from a byte each, four in three bytes.
fn pack<'c>(b: &Builder<'c>, to: Value<'c>, from: Value<'c>, is_there: Condition<'c>) {
    let t = b.integer(32);
    let number = |n: i64| b.constant_integer(t, n);
    let shifted = |name: &str, x: Value<'c>, by: i64| b.binary(name, x, number(by));
    let or = |x, y| b.binary("arith.ori", x, y);
    let of_four = |place: i64| {
        let address = b.element_address(from, t, b.constant_i64(place));
        let bytes = kept(b, b.load(address, t), is_there);
        let field = |code: i64| {
            let own = b.binary("arith.andi", bytes, number(0x3f << (8 * code)));
            match code {
                0 => own,
                _ => shifted("arith.shrui", own, 2 * code),
            }
        };
        or(or(field(0), field(1)), or(field(2), field(3)))
    };
    let [w, x, y, z] = [0, 1, 2, 3].map(of_four);
    let packed = [
        or(w, shifted("arith.shli", x, 24)),
        or(shifted("arith.shrui", x, 8), shifted("arith.shli", y, 16)),
        or(shifted("arith.shrui", y, 16), shifted("arith.shli", z, 8)),
        number(0),
    ];
    instructions::store_words(b, to, packed);
}

/// A generic address as one of global memory.
pub fn global<'c>(b: &Builder<'c>, address: Value<'c>) -> Value<'c> {
    const SPACE: u32 = 1;
    let own = melior::dialect::llvm::r#type::pointer(b.context(), SPACE);
    let address = b.cast("llvm.addrspacecast", address, own);
    b.cast("llvm.ptrtoint", address, b.i64())
}
