//! How much of the result a CTA makes, and each of its warps.

use crate::blocks::ceil_div;
use crate::nvptx::{matrix, thread};

/// A tile of the result in equal parts for warps, those in fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Division {
    /// Warps down and across.
    pub warps: [i64; 2],
    /// Fragments of lhs and of rhs that a warp has; of rhs an even number.
    pub fragments: [i64; 2],
}

/// Those to choose from: a large tile where there are enough of them, a middle one, and two for few rows or few columns.
const ALL: [Division; 4] = [
    Division {
        warps: [2, 4],
        fragments: [4, 4],
    },
    Division {
        warps: [2, 2],
        fragments: [2, 4],
    },
    Division {
        warps: [1, 4],
        fragments: [1, 2],
    },
    Division {
        warps: [4, 1],
        fragments: [1, 2],
    },
];

/// Bytes of shared memory that a kernel of any target may declare. (CUDA C++ Programming Guide, "Technical Specifications per
/// Compute Capability": more is asked for when a kernel is launched.)
const SHARED_BYTES: i64 = 48 << 10;

/// CTAs that run at a time, in the order of magnitude: large chips have one or two hundred multiprocessors.
const AT_A_TIME: i64 = 128;

/// What it costs to bring an element of a row or column into shared memory and out, in multiplications by an element of
/// the other operand.
const STAGING: i64 = 64;

impl Division {
    /// The one whose tiles cost least: all multiplications of a tile, in the result or not, and its staging, one after the
    /// other for as many tiles as a multiprocessor has.
    pub fn cheapest([batches, rows, columns]: [i64; 3]) -> Self {
        let cost = |division: &Self| {
            let [tile_rows, tile_columns] = division.tile();
            let tiles = batches * ceil_div(rows, tile_rows) * ceil_div(columns, tile_columns);
            let cost = tile_rows * tile_columns + STAGING * (tile_rows + tile_columns);
            ceil_div(tiles, AT_A_TIME) * cost
        };
        let cheapest = ALL.into_iter().min_by_key(cost);
        cheapest.expect("there are some")
    }

    /// The one of those tiles.
    pub fn in_tiles(tile: [i64; 2]) -> Option<Self> {
        ALL.into_iter().find(|division| division.tile() == tile)
    }

    /// The tiles of all.
    pub fn tiles() -> String {
        let tiles = ALL.map(|division| division.tile());
        tiles
            .map(|[rows, columns]| format!("{rows}x{columns}"))
            .join(", ")
    }

    /// The rows and columns of a warp.
    pub fn warp(self) -> [i64; 2] {
        [
            self.fragments[0] * matrix::ROWS,
            self.fragments[1] * matrix::COLUMNS,
        ]
    }

    /// The rows and columns of a CTA.
    pub fn tile(self) -> [i64; 2] {
        [0, 1].map(|side| self.warps[side] * self.warp()[side])
    }

    /// The threads of a CTA.
    pub fn threads(self) -> i64 {
        self.warps[0] * self.warps[1] * thread::WARP
    }

    /// Stages in shared memory, of which a row or column takes so many bytes in each: as many as there is room for, up to
    /// what hides a copy behind products.
    pub fn stages(self, row_bytes: i64) -> i64 {
        const MOST: i64 = 4;
        let [rows, columns] = self.tile();
        (SHARED_BYTES / ((rows + columns) * row_bytes)).min(MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tile_for(batches: i64, rows: i64, columns: i64) -> [i64; 2] {
        Division::cheapest([batches, rows, columns]).tile()
    }

    #[test]
    fn tiles_are_as_large_as_the_result_fills_the_chip_with() {
        assert_eq!(tile_for(1, 4096, 4096), [128, 128]);
        assert_eq!(tile_for(1, 512, 512), [64, 64]);
        assert_eq!(tile_for(1, 1, 4096), [16, 64]);
        assert_eq!(tile_for(1, 4096, 1), [64, 16]);
        assert_eq!(tile_for(64, 256, 256), [128, 128]);
        assert_eq!(tile_for(3, 256, 256), [64, 64]);
    }

    #[test]
    fn every_tile_has_a_stage_to_copy_to_beside_the_one_it_reads() {
        // Rows of 64 bytes, 16 between them, and 8 of scales.
        for division in ALL {
            assert!(division.stages(64 + 16 + 8) >= 2, "{division:?}");
        }
    }
}
