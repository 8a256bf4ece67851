//! The tile of a CTA: how large it is, what it costs, and where its parts are in shared memory.

use super::instructions::DEPTH;
use crate::blocks::ceil_div;
use crate::nvptx::Capability;
use crate::nvptx::family::rounds::Rounds;
use crate::nvptx::family::swizzled::{SharedMemory, SwizzledTile};

/// Rows of A that a warpgroup multiplies, which the instruction fixes.
pub const ROWS: i64 = 64;

/// Numbers along K of a step: 128 bytes of a row.
pub const STEP: i64 = SwizzledTile::ROW / 2;

/// Instructions of a step.
const INSTRUCTIONS: i64 = STEP / DEPTH;

/// Warpgroups that multiply, at most: each has registers for 256 columns.
const MOST_CONSUMERS: i64 = 2;

/// Widths of a tile to choose from. The instruction takes multiples of 8 up to 256.
const COLUMNS: [i64; 8] = [8, 16, 32, 64, 96, 128, 192, 256];

/// Multiprocessors of an H200.
const PROCESSORS: i64 = 132;

/// Stages of shared memory, at most: by so many steps copies are ahead of products.
const MOST_STAGES: i64 = 8;

/// How a product is cut into tiles and steps. A tile's rows are rows of the result where A is the lhs, and columns where A
/// is the rhs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// The operand that is A (0: lhs, 1: rhs); the other one is B.
    pub a: usize,
    /// Warpgroups that multiply, each its own rows of A.
    pub consumers: i64,
    /// Rows of B.
    pub columns: i64,
    /// Steps along K.
    pub steps: i64,
    /// Instructions of a step, or of the only one: those behind it would add zeros.
    pub instructions: i64,
    /// Which CTA makes which tiles.
    pub rounds: Rounds,
    /// Stages of shared memory.
    pub stages: i64,
}

/// Where the parts of a tile are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    /// Bytes of shared memory of a stage.
    pub stage_bytes: i64,
    /// The tiles of A and B in a stage.
    pub tiles: [SwizzledTile; 2],
    /// Bytes from the first stage on: an mbarrier for each that is full.
    pub full: i64,
    /// An mbarrier for each that is empty.
    pub empty: i64,
    /// Bytes of all.
    pub shared_bytes: u32,
}

impl Tile {
    /// The cheapest for products of `m` by `n` numbers over `k`, where `is_whole` says of which operands (0: lhs, 1: rhs) a
    /// tile has whole lines of 64 rows.
    pub fn of(extents: [i64; 4], is_whole: [bool; 2]) -> Self {
        let cheapest = Self::all(extents, is_whole).min_by_key(Self::cost);
        cheapest.expect("there are some")
    }

    /// The cheapest in tiles of so many rows and columns of the result, if there are such.
    pub fn in_tiles(extents: [i64; 4], is_whole: [bool; 2], wanted: [i64; 2]) -> Option<Self> {
        let tiles = Self::all(extents, is_whole);
        tiles
            .filter(|tile| tile.of_result() == wanted)
            .min_by_key(Self::cost)
    }

    /// All that there are.
    fn all([batches, m, n, k]: [i64; 4], is_whole: [bool; 2]) -> impl Iterator<Item = Self> {
        let all = [0, 1].into_iter().flat_map(|a| {
            (1..=MOST_CONSUMERS)
                .flat_map(move |consumers| COLUMNS.map(|columns| (a, consumers, columns)))
        });
        let allowed = all.filter(move |&(a, _, columns)| !is_whole[1 - a] || columns % ROWS == 0);
        allowed.map(move |(a, consumers, columns)| {
            let [rows, wide] = if a == 0 { [m, n] } else { [n, m] };
            let steps = ceil_div(k, STEP);
            let tiles = [
                batches,
                ceil_div(rows, consumers * ROWS),
                ceil_div(wide, columns),
            ];
            let rounds = Rounds::new(tiles, PROCESSORS);
            Self {
                a,
                consumers,
                columns,
                steps,
                instructions: ceil_div(k, DEPTH).min(INSTRUCTIONS),
                rounds,
                stages: (rounds.most() * steps).min(MOST_STAGES),
            }
        })
    }

    /// Cycles of a processor for all its tiles, one after the other. A step takes the longer of its products, of 2048
    /// multiplications a cycle, and its copies, of about 40 bytes a cycle from the second cache; then sums are written, of
    /// about 20 bytes a cycle, after what no step hides.
    fn cost(&self) -> i64 {
        const MULTIPLICATIONS: i64 = 2048;
        const READ: i64 = 40;
        const WRITTEN: i64 = 20;
        const BEGIN: i64 = 1000;
        let [rows, columns] = self.rows();
        let products = rows * columns * STEP / MULTIPLICATIONS;
        let copies = (rows + columns) * SwizzledTile::ROW / READ;
        let sums = rows * columns * 4 / WRITTEN;
        self.rounds.most() * (self.steps * products.max(copies) + sums + BEGIN)
    }

    /// Rows of A and of B.
    pub fn rows(&self) -> [i64; 2] {
        [self.consumers * ROWS, self.columns]
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

    /// Where its parts are, with as many stages as shared memory has room for. `None` where it has none for one.
    pub fn places(mut self, capability: &Capability) -> Option<(Self, Places)> {
        while self.stages > 0 {
            let places = self.all_places();
            if places.shared_bytes <= capability.shared_bytes {
                return Some((self, places));
            }
            self.stages -= 1;
        }
        None
    }

    fn all_places(&self) -> Places {
        let mut stage = SharedMemory::default();
        let tiles = self.rows().map(|rows| stage.tile(rows));
        let stage_bytes = i64::from(stage.bytes().next_multiple_of(SharedMemory::BASE));
        let mut all = SharedMemory::default();
        all.take((stage_bytes * self.stages) as u32, SharedMemory::BASE);
        let mut barriers = || i64::from(all.take(8 * self.stages as u32, 8));
        let (full, empty) = (barriers(), barriers());
        Places {
            stage_bytes,
            tiles,
            full,
            empty,
            shared_bytes: all.bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nvptx::GpuTarget;

    fn tile(m: i64, n: i64, k: i64) -> Tile {
        Tile::of([1, m, n, k], [false; 2])
    }

    fn hopper() -> &'static Capability {
        "sm_90a".parse::<GpuTarget>().unwrap().capability()
    }

    #[test]
    fn a_large_product_has_the_largest_tiles() {
        let tile = tile(8192, 8192, 8192);
        assert_eq!(tile.rows(), [128, 256]);
        assert_eq!(tile.rounds.tiles, [1, 64, 32]);
        let (tile, places) = tile.places(hopper()).unwrap();
        assert_eq!(tile.stages, 4);
        assert!(places.shared_bytes <= 227 << 10);
    }

    #[test]
    fn the_short_side_is_that_of_columns() {
        // Four tokens by 4096 features; 65536 tokens by the 16 directions of a basis.
        let few_rows = tile(4, 4096, 4096);
        assert_eq!((few_rows.a, few_rows.columns), (1, 8));
        let few_columns = tile(65536, 16, 4096);
        assert_eq!((few_columns.a, few_columns.columns), (0, 16));
    }

    #[test]
    fn lines_of_64_rows_are_whole() {
        // Of whichever operand is B.
        assert_eq!(Tile::of([1, 4, 4096, 64], [true, true]).columns % 64, 0);
        assert_eq!(Tile::of([1, 4, 4096, 64], [false, true]).columns, 8);
    }

    #[test]
    fn a_short_row_has_one_step_of_few_instructions() {
        let short = tile(128, 128, 20);
        assert_eq!((short.steps, short.instructions, short.stages), (1, 2, 1));
        let long = tile(128, 128, 65);
        assert_eq!((long.steps, long.instructions, long.stages), (2, 4, 2));
    }

    #[test]
    fn every_tile_has_room() {
        for rows in [1, 64, 100, 1000, 5000] {
            for columns in [1, 8, 70, 300, 5000] {
                let (tile, places) = tile(rows, columns, 4096).places(hopper()).unwrap();
                assert!(tile.stages >= 4, "{tile:?}");
                assert_eq!(places.stage_bytes % 1024, 0);
            }
        }
    }
}
