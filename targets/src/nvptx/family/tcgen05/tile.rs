//! The tile of a CTA: how large it is, and where its parts are in shared and tensor memory.

use super::kind::Kind;
use super::memory::{OutOfColumns, ScaleTile, SharedMemory, SwizzledTile, TensorMemory};
use crate::blocks::ceil_div;
use crate::nvptx::Capability;
use crate::nvptx::family::boxes::LINE;
use crate::nvptx::family::rounds::Rounds;

/// Rows of A in a tile, which the matrix unit fixes.
pub const ROWS: i64 = 128;

/// The most columns that the matrix unit takes.
const MOST_COLUMNS: i64 = 256;

/// What columns are a multiple of: as many rows of B as all loading threads copy at once, 16 bytes each.
const COLUMNS_STEP: i64 = 16;

/// Tiles are not made narrower than this to have more of them: A's would be most of what is copied.
const FEW_COLUMNS: i64 = ROWS;

/// Multiprocessors of the smallest chip that has the instructions, a B200.
const PROCESSORS: i64 = 148;

/// Stages of shared memory, at most: by so many steps copies are ahead of the matrix unit.
const MOST_STAGES: i64 = 4;

/// Instructions of a step: 128 bytes of a row, 32 each.
const INSTRUCTIONS: i64 = 4;

/// How a product is cut into tiles and steps. A tile has 128 rows of the result where A is the lhs, and 128 columns where
/// A is the rhs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// The operand that is A (0: lhs, 1: rhs); the other one is B.
    pub a: usize,
    /// Rows of B.
    pub columns: i64,
    /// Steps along K, of 128 bytes of a row.
    pub steps: i64,
    /// Instructions of a step.
    pub instructions: i64,
    /// Instructions of the last step: those behind it would add zeros.
    pub last_instructions: i64,
    /// Stages of shared memory.
    pub stages: i64,
    /// Which CTA makes which tiles.
    pub rounds: Rounds,
    /// Sums of so many tiles are in tensor memory at once: while some are written, others are made.
    pub buffers: i64,
}

/// Where the parts of a tile are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    /// Bytes of shared memory of a stage.
    pub stage_bytes: i64,
    /// The tiles of A and B in a stage.
    pub tiles: [SwizzledTile; 2],
    /// Their scales in a stage.
    pub scales: [i64; 2],
    /// Bytes from the first stage on: an mbarrier for each that is full.
    pub full: i64,
    /// An mbarrier for each that is empty.
    pub empty: i64,
    /// An mbarrier for each buffer of sums that are done.
    pub done: i64,
    /// An mbarrier for each buffer of sums that are read.
    pub read: i64,
    /// The word for the address of tensor memory.
    pub slot: i64,
    /// Bytes of all.
    pub shared_bytes: u32,
    /// The first column of tensor memory of the sums, of the first buffer.
    pub sums: u32,
    /// The first columns of tensor memory of the scales of A and B.
    pub scale_columns: [u32; 2],
    /// Columns of tensor memory to allocate.
    pub allocation: u32,
}

impl Tile {
    /// That of products of `m` by `n` numbers from `bytes` bytes of a row, where `is_whole` says of which operands (0: lhs, 1:
    /// rhs) a tile has whole lines of 64 rows.
    pub fn of([batches, m, n]: [i64; 3], bytes: i64, is_whole: [bool; 2]) -> Self {
        let [lhs_step, rhs_step] = is_whole.map(columns_step);
        let padded =
            |a: i64, b: i64, step: i64| multiple(a, ROWS).saturating_mul(multiple(b, step));
        // With the rhs as A, neighbouring threads have neighbouring columns of the result.
        let a = usize::from(padded(n, m, lhs_step) <= padded(m, n, rhs_step));
        let (rows, wide, step) = match a {
            1 => (n, m, lhs_step),
            _ => (m, n, rhs_step),
        };
        let even = |parts: i64| multiple(ceil_div(wide, parts), step);
        let rows = ceil_div(rows, ROWS);
        let mut parts = ceil_div(wide, MOST_COLUMNS);
        // A chip that has too few tiles is better off with narrower ones.
        while batches * rows * parts < PROCESSORS && even(2 * parts) >= FEW_COLUMNS {
            parts *= 2;
        }
        Self::with([batches, m, n], bytes, (a, even(parts)))
    }

    /// The same in tiles of so many rows and columns of the result, if there are such.
    pub fn in_tiles(
        &self,
        extents: [i64; 3],
        bytes: i64,
        (is_whole, tile): ([bool; 2], [i64; 2]),
    ) -> Option<Self> {
        let a = match tile.map(|side| side == ROWS) {
            [true, true] => self.a,
            [true, false] => 0,
            [false, true] => 1,
            [false, false] => return None,
        };
        let columns = tile[1 - a];
        let step = columns_step(is_whole[1 - a]);
        let is_taken = columns % step == 0 && (step..=MOST_COLUMNS).contains(&columns);
        is_taken.then(|| Self::with(extents, bytes, (a, columns)))
    }

    /// With that operand as A, and as many rows of B.
    fn with([batches, m, n]: [i64; 3], bytes: i64, (a, columns): (usize, i64)) -> Self {
        let (rows, wide) = if a == 1 { (n, m) } else { (m, n) };
        let steps = ceil_div(bytes, SwizzledTile::ROW);
        let last = bytes - (steps - 1) * SwizzledTile::ROW;
        let last_instructions = ceil_div(last, SwizzledTile::ROW / INSTRUCTIONS);
        let tiles = [batches, ceil_div(rows, ROWS), ceil_div(wide, columns)];
        let own = Self {
            a,
            columns,
            steps,
            instructions: if steps == 1 {
                last_instructions
            } else {
                INSTRUCTIONS
            },
            last_instructions,
            stages: 1,
            rounds: Rounds::new(tiles, PROCESSORS),
            buffers: 1,
        };
        own.in_rounds(own.rounds)
    }

    /// The same where there are so many tiles of lhs' rows at most, by so many columns of the result.
    pub fn of_groups(self, down: i64, columns: i64) -> Self {
        let across = ceil_div(columns, self.of_result()[1]);
        self.in_rounds(Rounds::in_order([down, across], PROCESSORS))
    }

    fn in_rounds(self, rounds: Rounds) -> Self {
        let most = rounds.most();
        Self {
            rounds,
            stages: (most * self.steps).min(MOST_STAGES),
            buffers: most.min(2),
            ..self
        }
    }

    /// Rows and columns of the result.
    pub fn of_result(&self) -> [i64; 2] {
        let [rows, columns] = self.rows();
        if self.a == 0 {
            [rows, columns]
        } else {
            [columns, rows]
        }
    }

    /// Rows of A and of B.
    pub fn rows(&self) -> [i64; 2] {
        [ROWS, self.columns]
    }

    /// Words of four scales that a row has in a step.
    pub fn words(&self, kind: Kind) -> i64 {
        ceil_div(self.instructions * kind.scales(), 4)
    }

    /// Tiles of scales, side by side, that A and B have in a word.
    pub fn scale_tiles(&self) -> [i64; 2] {
        self.rows().map(|rows| ceil_div(rows, ScaleTile::ROWS))
    }

    /// Where its parts are; with one buffer of sums where tensor memory has no room for more, and with fewer stages where
    /// shared memory has none for all. `None` where there is too little of either for one.
    pub fn places(mut self, kind: Kind, capability: &Capability) -> Option<(Self, Places)> {
        while self.stages > 0 {
            match self.try_places(kind, capability) {
                Ok(places) if places.shared_bytes <= capability.shared_bytes => {
                    return Some((self, places));
                }
                Ok(_) => self.stages -= 1,
                Err(_) if self.buffers > 1 => self.buffers -= 1,
                Err(_) => return None,
            }
        }
        None
    }

    fn try_places(&self, kind: Kind, capability: &Capability) -> Result<Places, OutOfColumns> {
        let mut stage = SharedMemory::default();
        let tiles = self.rows().map(|rows| stage.tile(rows));
        let scale_tiles = self.scale_tiles().map(|tiles| tiles * self.words(kind));
        let scales = scale_tiles.map(|tiles| {
            let bytes = (tiles * ScaleTile::BYTES) as u32;
            i64::from(stage.take(bytes, ScaleTile::BYTES as u32))
        });
        let stage_bytes = i64::from(stage.bytes().next_multiple_of(SharedMemory::BASE));
        let mut all = SharedMemory::default();
        all.take((stage_bytes * self.stages) as u32, SharedMemory::BASE);
        let mut barriers = |count: i64| i64::from(all.take(8 * count as u32, 8));
        let (full, empty) = (barriers(self.stages), barriers(self.stages));
        let (done, read) = (barriers(self.buffers), barriers(self.buffers));
        let slot = i64::from(all.take(4, 4));
        let mut tensor = TensorMemory::new(capability.tensor_memory_columns);
        let sums = tensor.take((self.buffers * self.columns) as u32)?;
        let mut scale_columns = [0; 2];
        for (first, tiles) in scale_columns.iter_mut().zip(scale_tiles) {
            *first = tensor.take((tiles * ScaleTile::COLUMNS) as u32)?;
        }
        Ok(Places {
            stage_bytes,
            tiles,
            scales,
            full,
            empty,
            done,
            read,
            slot,
            shared_bytes: all.bytes(),
            sums,
            scale_columns,
            allocation: tensor.allocation(),
        })
    }
}

/// What columns are a multiple of: of whole lines of B's rows, these.
fn columns_step(is_whole: bool) -> i64 {
    if is_whole { LINE } else { COLUMNS_STEP }
}

/// The next multiple.
fn multiple(count: i64, of: i64) -> i64 {
    ceil_div(count, of) * of
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nvptx::GpuTarget;

    fn b200() -> &'static Capability {
        "sm_100a".parse::<GpuTarget>().unwrap().capability()
    }

    #[test]
    fn the_longer_side_is_the_one_of_128() {
        // Four tokens by 4096 features; 4096 tokens by the 16 directions of a basis.
        assert_eq!(Tile::of([1, 4, 4096], 128, [false; 2]).a, 1);
        assert_eq!(Tile::of([1, 4096, 16], 128, [false; 2]).a, 0);
        assert_eq!(Tile::of([1, 4, 4096], 128, [false; 2]).columns, 16);
    }

    #[test]
    fn tiles_are_as_wide_as_there_are_enough_of_them() {
        assert_eq!(Tile::of([1, 8192, 8192], 4096, [false; 2]).columns, 256);
        assert_eq!(Tile::of([1, 1024, 1024], 4096, [false; 2]).columns, 128);
        assert_eq!(Tile::of([1, 128, 200], 4096, [false; 2]).columns, 208);
        assert_eq!(Tile::of([64, 1024, 1024], 4096, [false; 2]).columns, 256);
    }

    #[test]
    fn lines_of_64_rows_are_whole() {
        // Of whichever operand is B.
        assert_eq!(Tile::of([1, 4, 4096], 128, [true, false]).columns, 64);
        assert_eq!(Tile::of([1, 4, 4096], 128, [false, true]).columns, 16);
    }

    #[test]
    fn a_short_row_has_one_step_of_few_instructions() {
        let tile = Tile::of([1, 128, 128], 40, [false; 2]);
        assert_eq!((tile.steps, tile.instructions, tile.stages), (1, 2, 1));
        let tile = Tile::of([1, 128, 128], 129, [false; 2]);
        assert_eq!((tile.steps, tile.instructions, tile.stages), (2, 4, 2));
        assert_eq!(tile.last_instructions, 1);
    }

    #[test]
    fn a_cta_has_several_tiles_where_there_are_more_than_processors() {
        let one = Tile::of([148, 100, 10], 128, [false; 2]);
        let shared = |tile: &Tile| (tile.rounds.ctas, tile.rounds.most(), tile.buffers);
        assert_eq!(shared(&one), (148, 1, 1));
        let several = Tile::of([400, 100, 10], 128, [false; 2]);
        assert_eq!(shared(&several), (148, 3, 2));
        assert_eq!(several.stages, 3);
    }

    #[test]
    fn everything_has_room_in_the_widest_tile() {
        for kind in [Kind::Mxf4nvf4, Kind::Mxf4, Kind::Mxf8f6f4] {
            let widest = Tile::of([1, 8192, 8192], 4096, [false; 2]);
            let (tile, places) = widest.places(kind, b200()).unwrap();
            assert_eq!((tile.columns, tile.stages, tile.buffers), (256, 4, 1));
            assert!(places.shared_bytes <= 227 << 10);
            assert_eq!(places.allocation, 512);
            assert_eq!(places.stage_bytes % 1024, 0);
            for first in places.tiles.map(SwizzledTile::first) {
                assert_eq!(first % 1024, 0);
            }
        }
    }

    #[test]
    fn sums_of_two_tiles_have_room_where_these_are_half_as_wide() {
        let tile = Tile::of([400, 128, 128], 4096, [false; 2]);
        let (tile, places) = tile.places(Kind::Mxf4nvf4, b200()).unwrap();
        assert_eq!((tile.columns, tile.buffers), (128, 2));
        assert!(places.scale_columns.iter().all(|&first| first >= 256));
    }

    #[test]
    fn a_chip_without_tensor_memory_has_no_place() {
        let hopper = "sm_90a".parse::<GpuTarget>().unwrap().capability();
        assert_eq!(
            Tile::of([1, 128, 128], 128, [false; 2]).places(Kind::Mxf4, hopper),
            None
        );
    }
}
