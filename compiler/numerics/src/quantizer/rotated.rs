//! Patches of an input's Hadamard transform, made of those of the input: the transform itself is in no memory but a patch's.

#[cfg(target_arch = "x86_64")]
use super::avx2::Avx2;
#[cfg(target_arch = "x86_64")]
use super::avx512::Avx512;
use super::kernel::Direction;
use super::rotation::HadamardTransform;
use super::source::{PATCH_COLUMNS, PATCH_ROWS, Patch, TILE_ROWS};
use super::vector::Portable;
use crate::simd::{SimdLevel, for_each_level};

/// A transform of the input's rows or columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rotation {
    pub transform: HadamardTransform,
    pub direction: Direction,
}

impl Rotation {
    /// The columns of the patches of which whole blocks can be made: narrow ones have room for long columns.
    pub fn patch_columns(&self) -> usize {
        if self.direction == Direction::Columns && self.transform.size() > PATCH_ROWS {
            PATCH_COLUMNS * PATCH_ROWS / TILE_ROWS
        } else {
            PATCH_COLUMNS
        }
    }

    /// Makes a patch the transform of another.
    pub fn rotate(&self, level: SimdLevel, patch: &Patch, rotated: &mut Patch) {
        match self.direction {
            Direction::Rows => rotated.rotate_rows(level, patch, &self.transform),
            Direction::Columns => rotate_columns(level, rotated, patch, &self.transform),
        }
    }
}

for_each_level! {
    fn rotate_columns(rotated: &mut Patch, patch: &Patch, transform: &HadamardTransform) = {
        avx512: Patch::rotate_columns::<Avx512>,
        avx2: Patch::rotate_columns::<Avx2>,
        portable: Patch::rotate_columns::<Portable>,
    };
}
