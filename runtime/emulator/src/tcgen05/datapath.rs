//! Where tensor memory holds the numbers of D, of A and of scales (PTX ISA 9.7.16.10.5, 9.7.16.10.7).

use super::Cell;

/// How the rows of D are laid over CTAs and lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// M = 256 of a pair: 128 rows in each CTA. The ISA's A.
    Pair256,
    /// M = 128 of a pair: 64 rows in each CTA, the second half of the columns in the upper lanes. The ISA's B.
    Pair128,
    /// M = 128: a row in each lane. The ISA's D.
    Single128,
    /// M = 64: sixteen rows in the lower or upper half of each warp's lanes. The ISA's F.
    Single64,
}

impl Layout {
    /// Of so many rows, of one CTA or a pair.
    pub const fn of(m: u32, pair: bool) -> Option<Self> {
        Some(match (m, pair) {
            (256, true) => Self::Pair256,
            (128, true) => Self::Pair128,
            (128, false) => Self::Single128,
            (64, false) => Self::Single64,
            _ => return None,
        })
    }

    /// Rows that each CTA has, of A as well as of D.
    pub const fn rows_of_a_cta(self) -> u32 {
        match self {
            Self::Pair256 | Self::Single128 => 128,
            Self::Pair128 | Self::Single64 => 64,
        }
    }

    /// Columns of tensor memory that D takes.
    pub const fn columns(self, n: u32) -> u32 {
        match self {
            Self::Pair128 => n / 2,
            _ => n,
        }
    }

    /// The CTA of the pair, and the lane and column from D's first, of a number of D.
    pub const fn place(self, row: u32, column: u32, n: u32) -> (u32, Cell) {
        let own = row % self.rows_of_a_cta();
        let cell = match self {
            Self::Pair256 | Self::Single128 => Cell { lane: own, column },
            Self::Pair128 => Cell {
                lane: own + 64 * (column / (n / 2)),
                column: column % (n / 2),
            },
            Self::Single64 => Cell {
                lane: own % 16 + 32 * (own / 16),
                column,
            },
        };
        (row / self.rows_of_a_cta(), cell)
    }

    /// Whether a first lane is one that D may have.
    pub const fn begins_at(self, lane: u32) -> bool {
        lane == 0 || (lane == 16 && matches!(self, Self::Single64))
    }
}

/// Words of tensor memory that a row of A takes: 256 bits, as in shared memory.
pub(crate) const A_COLUMNS: u32 = 8;

/// The word of a row's scales, from the first: each of the four warps' lanes has a copy of its own.
pub(crate) const fn scales(row: u32, warp: u32) -> Cell {
    Cell {
        lane: row % 32 + 32 * warp,
        column: row / 32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(layout: Layout, row: u32, column: u32, n: u32) -> (u32, u32, u32) {
        let (cta, Cell { lane, column }) = layout.place(row, column, n);
        (cta, lane, column)
    }

    /// CUTLASS's atoms of `tmem_frg` as shape and stride, lanes by 1 and columns by 128.
    #[test]
    fn layouts_are_the_atoms_of_cutlass() {
        for n in [32, 64] {
            for row in 0..256 {
                for column in 0..n {
                    // (128, N):(1, 128) in each CTA.
                    let expected = (row / 128, row % 128, column);
                    assert_eq!(place(Layout::Pair256, row, column, n), expected);
                    if row < 128 {
                        assert_eq!(place(Layout::Single128, row, column, n), (0, row, column));
                        // (64, (N/2, 2)):(1, (128, 64)).
                        let (cta, own) = (row / 64, row % 64);
                        let atom = own + 128 * (column % (n / 2)) + 64 * (column / (n / 2));
                        let expected = (cta, atom % 128, atom / 128);
                        assert_eq!(place(Layout::Pair128, row, column, n), expected);
                    }
                    if row < 64 {
                        // ((16, 4), N):((1, 32), 128).
                        let atom = row % 16 + 32 * (row / 16) + 128 * column;
                        let expected = (0, atom % 128, atom / 128);
                        assert_eq!(place(Layout::Single64, row, column, n), expected);
                    }
                }
            }
        }
    }

    #[test]
    fn shapes_that_have_a_layout() {
        assert_eq!(Layout::of(128, false), Some(Layout::Single128));
        assert_eq!(Layout::of(256, false), None);
        assert_eq!(Layout::of(64, true), None);
        assert!(Layout::Single64.begins_at(16) && !Layout::Single128.begins_at(16));
    }

    #[test]
    fn scales_of_128_rows_are_four_columns() {
        assert_eq!(scales(0, 0), Cell { lane: 0, column: 0 });
        assert_eq!(scales(33, 0), Cell { lane: 1, column: 1 });
        assert_eq!(
            scales(127, 2),
            Cell {
                lane: 95,
                column: 3
            }
        );
    }
}
