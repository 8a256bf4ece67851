//! The tile of a CTA or of a pair of them: how large it is, and where its parts are in shared and tensor memory.

use super::kind::Kind;
use super::memory::{OutOfColumns, ScaleTile, SharedMemory, SwizzledTile, TensorMemory};
use crate::blocks::ceil_div;
use crate::nvptx::Capability;
use crate::nvptx::family::boxes::LINE;
use crate::nvptx::family::rounds::Rounds;

/// Rows of A that a CTA has of a tile, which the matrix unit fixes.
pub const ROWS: i64 = 128;

/// CTAs of a pair.
pub const PAIR: i64 = 2;

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

/// What is cut into tiles.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// Products of a batch, rows and columns of each.
    pub extents: [i64; 3],
    /// Bytes of shared memory that a row takes.
    pub bytes: i64,
    /// Of which operands (0: lhs, 1: rhs) a CTA has whole lines of 64 rows.
    pub is_whole: [bool; 2],
    /// Whether pairs of CTAs may make tiles.
    pub in_pairs: bool,
}

/// How a product is cut into tiles and steps. A tile has 128 rows of the result, those of a pair of CTAs 256, where A is the
/// lhs, and as many columns where A is the rhs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// The operand that is A (0: lhs, 1: rhs); the other one is B.
    pub a: usize,
    /// CTAs that make a tile together: each has its half of A's rows, of B's, and of the sums.
    pub ctas: i64,
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
    /// An mbarrier for each that threads of a leader's peer have filled.
    pub filled: i64,
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
    /// The cheapest.
    pub fn of(cut: &Cut) -> Self {
        let [batches, m, n] = cut.extents;
        let [lhs_step, rhs_step] = cut.is_whole.map(columns_step);
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
        let single = Self::with(cut, a, (1, even(parts)));
        let pair = Self::with(cut, a, (PAIR, multiple(even(parts), PAIR * step)));
        // A pair copies half of B's rows in each CTA, and is waited for by both. It is better where pairs have tiles enough
        // for all processors, and are not done later for what their tiles have beyond the result.
        let fills = pair.rounds.clusters == PROCESSORS / PAIR;
        match cut.in_pairs && fills && pair.rounds.most() <= single.rounds.most() {
            true => pair,
            false => single,
        }
    }

    /// The same in tiles of so many rows and columns of the result, if there are such. Where both operands could be A, the
    /// same is.
    pub fn in_tiles(&self, cut: &Cut, tile: [i64; 2]) -> Option<Self> {
        let with = |a: usize| {
            let ctas = [1, PAIR].into_iter().find(|ctas| tile[a] == ctas * ROWS)?;
            let columns = tile[1 - a];
            let step = ctas * columns_step(cut.is_whole[1 - a]);
            let is_taken = columns % step == 0 && (step..=MOST_COLUMNS).contains(&columns);
            let is_allowed = cut.in_pairs || ctas == 1;
            (is_taken && is_allowed).then(|| Self::with(cut, a, (ctas, columns)))
        };
        with(self.a).or_else(|| with(1 - self.a))
    }

    /// With that operand as A, and as many CTAs and rows of B.
    fn with(cut: &Cut, a: usize, (ctas, columns): (i64, i64)) -> Self {
        let [batches, m, n] = cut.extents;
        let (rows, wide) = if a == 1 { (n, m) } else { (m, n) };
        let steps = ceil_div(cut.bytes, SwizzledTile::ROW);
        let last = cut.bytes - (steps - 1) * SwizzledTile::ROW;
        let last_instructions = ceil_div(last, SwizzledTile::ROW / INSTRUCTIONS);
        let (down, across) = (ceil_div(rows, ctas * ROWS), ceil_div(wide, columns));
        let own = Self {
            a,
            ctas,
            columns,
            steps,
            instructions: if steps == 1 {
                last_instructions
            } else {
                INSTRUCTIONS
            },
            last_instructions,
            stages: 1,
            rounds: Rounds::of_clusters([batches, down, across], ctas, PROCESSORS),
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
        [self.ctas * ROWS, self.columns]
    }

    /// Those that a CTA has in shared memory.
    pub fn loaded_rows(&self) -> [i64; 2] {
        self.rows().map(|rows| rows / self.ctas)
    }

    /// Those whose scales a CTA has: of B all, which each CTA's sums ask for. (PTX ISA, "Scale factor B layout organization".)
    pub fn scaled_rows(&self) -> [i64; 2] {
        [ROWS, self.columns]
    }

    /// Words of four scales that a row has in a step.
    pub fn words(&self, kind: Kind) -> i64 {
        ceil_div(self.instructions * kind.scales(), 4)
    }

    /// Tiles of scales, side by side, that A and B have in a word.
    pub fn scale_tiles(&self) -> [i64; 2] {
        self.scaled_rows()
            .map(|rows| ceil_div(rows, ScaleTile::ROWS))
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
        let tiles = self.loaded_rows().map(|rows| stage.tile(rows));
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
        let filled = barriers(if self.ctas > 1 { self.stages } else { 0 });
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
            filled,
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

    fn cut(extents: [i64; 3], bytes: i64, is_whole: [bool; 2]) -> Cut {
        Cut {
            extents,
            bytes,
            is_whole,
            in_pairs: true,
        }
    }

    fn single(extents: [i64; 3], bytes: i64, is_whole: [bool; 2]) -> Tile {
        Tile::of(&Cut {
            in_pairs: false,
            ..cut(extents, bytes, is_whole)
        })
    }

    #[test]
    fn pairs_make_what_has_tiles_enough_for_them() {
        let tile = |extents| {
            let tile = Tile::of(&cut(extents, 4096, [false; 2]));
            (tile.ctas, tile.columns, tile.rounds.ctas())
        };
        assert_eq!(tile([1, 4096, 4096]), (2, 256, 148));
        assert_eq!(tile([1, 8192, 8192]), (2, 256, 148));
        // 64 tiles of 256 by 128 for 74 pairs; 148 products of 128 rows, half of what pairs would make.
        assert_eq!(tile([1, 1024, 2048]), (1, 128, 128));
        assert_eq!(tile([148, 128, 128]), (1, 128, 148));
    }

    #[test]
    fn a_cta_of_a_pair_has_half_of_each_operand_and_all_scales_of_b() {
        let cut = cut([1, 8192, 8192], 4096, [false; 2]);
        for kind in [Kind::Mxf4nvf4, Kind::Mxf4, Kind::Mxf8f6f4] {
            let (tile, places) = Tile::of(&cut).places(kind, b200()).unwrap();
            assert_eq!(tile.rows(), [256, 256]);
            assert_eq!(tile.loaded_rows(), [128, 128]);
            assert_eq!(tile.scale_tiles(), [1, 2]);
            assert_eq!((tile.stages, tile.buffers), (4, 1));
            assert!(places.shared_bytes <= 227 << 10);
            assert_eq!(places.allocation, 512);
        }
    }

    #[test]
    fn the_operand_that_is_a_has_the_side_of_128_or_256_where_it_can() {
        let all = cut([1, 512, 4096], 4096, [false; 2]);
        let own = Tile::of(&all);
        assert_eq!((own.a, own.ctas), (1, 1));
        let asked = |cut: &Cut, tile| {
            let found = own.in_tiles(cut, tile)?;
            Some((found.a, found.ctas, found.columns))
        };
        assert_eq!(asked(&all, [128, 128]), Some((1, 1, 128)));
        assert_eq!(asked(&all, [256, 128]), Some((1, 1, 256)));
        assert_eq!(asked(&all, [128, 256]), Some((1, 2, 128)));
        assert_eq!(asked(&all, [256, 256]), Some((1, 2, 256)));
        assert_eq!(asked(&all, [256, 96]), Some((0, 2, 96)));
        // B's rows are halved, each half in whole passes of the loading threads.
        assert_eq!(asked(&all, [256, 80]), None);
        let alone = Cut {
            in_pairs: false,
            ..all
        };
        assert_eq!(asked(&alone, [128, 256]), Some((0, 1, 256)));
        assert_eq!(asked(&alone, [256, 256]), None);
        let in_lines = Cut {
            is_whole: [true; 2],
            ..all
        };
        assert_eq!(asked(&in_lines, [64, 256]), None);
        assert_eq!(asked(&in_lines, [128, 256]), Some((1, 2, 128)));
    }

    #[test]
    fn the_longer_side_is_the_one_of_128() {
        // Four tokens by 4096 features; 4096 tokens by the 16 directions of a basis.
        assert_eq!(single([1, 4, 4096], 128, [false; 2]).a, 1);
        assert_eq!(single([1, 4096, 16], 128, [false; 2]).a, 0);
        assert_eq!(single([1, 4, 4096], 128, [false; 2]).columns, 16);
    }

    #[test]
    fn tiles_are_as_wide_as_there_are_enough_of_them() {
        assert_eq!(single([1, 8192, 8192], 4096, [false; 2]).columns, 256);
        assert_eq!(single([1, 1024, 1024], 4096, [false; 2]).columns, 128);
        assert_eq!(single([1, 128, 200], 4096, [false; 2]).columns, 208);
        assert_eq!(single([64, 1024, 1024], 4096, [false; 2]).columns, 256);
    }

    #[test]
    fn lines_of_64_rows_are_whole() {
        // Of whichever operand is B.
        assert_eq!(single([1, 4, 4096], 128, [true, false]).columns, 64);
        assert_eq!(single([1, 4, 4096], 128, [false, true]).columns, 16);
    }

    #[test]
    fn a_short_row_has_one_step_of_few_instructions() {
        let tile = single([1, 128, 128], 40, [false; 2]);
        assert_eq!((tile.steps, tile.instructions, tile.stages), (1, 2, 1));
        let tile = single([1, 128, 128], 129, [false; 2]);
        assert_eq!((tile.steps, tile.instructions, tile.stages), (2, 4, 2));
        assert_eq!(tile.last_instructions, 1);
    }

    #[test]
    fn a_cta_has_several_tiles_where_there_are_more_than_processors() {
        let one = single([148, 100, 10], 128, [false; 2]);
        let shared = |tile: &Tile| (tile.rounds.ctas(), tile.rounds.most(), tile.buffers);
        assert_eq!(shared(&one), (148, 1, 1));
        let several = single([400, 100, 10], 128, [false; 2]);
        assert_eq!(shared(&several), (148, 3, 2));
        assert_eq!(several.stages, 3);
    }

    #[test]
    fn everything_has_room_in_the_widest_tile() {
        for kind in [Kind::Mxf4nvf4, Kind::Mxf4, Kind::Mxf8f6f4] {
            let widest = single([1, 8192, 8192], 4096, [false; 2]);
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
        let tile = single([400, 128, 128], 4096, [false; 2]);
        let (tile, places) = tile.places(Kind::Mxf4nvf4, b200()).unwrap();
        assert_eq!((tile.columns, tile.buffers), (128, 2));
        assert!(places.scale_columns.iter().all(|&first| first >= 256));
    }

    #[test]
    fn a_chip_without_tensor_memory_has_no_place() {
        let hopper = "sm_90a".parse::<GpuTarget>().unwrap().capability();
        assert_eq!(
            single([1, 128, 128], 128, [false; 2]).places(Kind::Mxf4, hopper),
            None
        );
    }
}
