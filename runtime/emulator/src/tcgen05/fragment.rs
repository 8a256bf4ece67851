//! Which lane's which register is which word of tensor memory: `tcgen05.ld` and `tcgen05.st` (PTX ISA 9.7.16.2.3).

use super::Cell;

/// Lanes of tensor memory and bits of each that an instruction moves once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `.32x32b`
    Lanes32,
    /// `.16x64b`
    Bits64,
    /// `.16x128b`
    Bits128,
    /// `.16x256b`
    Bits256,
    /// `.16x32bx2`: the second half of the lanes so many columns on.
    Split(u32),
}

/// What a `tcgen05.ld` or `tcgen05.st` moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fragment {
    pub shape: Shape,
    /// `.x1` to `.x128`
    pub repetition: u32,
    /// `.pack::16b`, `.unpack::16b`: a register is the lower halves of two columns.
    pub halves: bool,
}

impl Fragment {
    /// Registers of a lane; none where the ISA has no such repetition.
    pub fn registers(self) -> Option<u32> {
        let of_one = match self.shape {
            Shape::Lanes32 | Shape::Bits64 | Shape::Split(_) => 1,
            Shape::Bits128 => 2,
            Shape::Bits256 => 4,
        };
        let registers = of_one * self.repetition;
        (registers <= 128).then_some(registers)
    }

    /// Lanes of tensor memory that are reached.
    pub fn lanes(self) -> u32 {
        if self.shape == Shape::Lanes32 { 32 } else { 16 }
    }

    /// The word that a lane's register is: with halves its lower half, and the upper one is the next column's.
    pub fn cell(self, lane: u32, register: u32) -> Cell {
        let (row, column) = match self.shape {
            Shape::Lanes32 => (lane, register),
            Shape::Bits64 => (lane / 4 + 8 * (lane % 2), lane / 2 % 2 + 2 * register),
            Shape::Bits128 => (lane / 4 + 8 * (register % 2), lane % 4 + 4 * (register / 2)),
            Shape::Bits256 => (
                lane / 4 + 8 * (register / 2 % 2),
                register % 2 + 2 * (lane % 4) + 8 * (register / 4),
            ),
            Shape::Split(_) => (lane % 16, register),
        };
        let column = if self.halves { 2 * column } else { column };
        let on = match self.shape {
            Shape::Split(columns) if lane >= 16 => columns,
            _ => 0,
        };
        Cell {
            lane: row,
            column: column + on,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(shape: Shape, lane: u32, register: u32) -> (u32, u32) {
        let fragment = Fragment {
            shape,
            repetition: 2,
            halves: false,
        };
        let Cell { lane, column } = fragment.cell(lane, register);
        (lane, column)
    }

    /// The ISA's figures, written out: for each row of tensor memory the lane and register of each of its words.
    #[test]
    fn figures_of_the_isa() {
        // .32x32b: row i is lane i's.
        assert_eq!(cell(Shape::Lanes32, 31, 1), (31, 1));
        // .16x64b: rows 0 to 7 begin with lanes 0, 4, 8, …, of which the next but one has the second word; rows 8 to 15 are
        // of the odd lanes.
        let rows: [[u32; 2]; 4] = [[0, 2], [4, 6], [1, 3], [29, 31]];
        for (row, lanes) in [0, 1, 8, 15].into_iter().zip(rows) {
            for (column, lane) in lanes.into_iter().enumerate() {
                assert_eq!(cell(Shape::Bits64, lane, 0), (row, column as u32));
                assert_eq!(cell(Shape::Bits64, lane, 1), (row, 2 + column as u32));
            }
        }
        // .16x128b: row i of four lanes' first registers, row 8 + i of their second ones.
        for lane in 0..32 {
            assert_eq!(cell(Shape::Bits128, lane, 0), (lane / 4, lane % 4));
            assert_eq!(cell(Shape::Bits128, lane, 1), (8 + lane / 4, lane % 4));
            assert_eq!(cell(Shape::Bits128, lane, 2), (lane / 4, 4 + lane % 4));
        }
        // .16x256b: as an accumulator of mma.m16n8, two words of a row in each lane.
        for lane in 0..32 {
            assert_eq!(cell(Shape::Bits256, lane, 0), (lane / 4, lane % 4 * 2));
            assert_eq!(cell(Shape::Bits256, lane, 1), (lane / 4, lane % 4 * 2 + 1));
            assert_eq!(
                cell(Shape::Bits256, lane, 3),
                (8 + lane / 4, lane % 4 * 2 + 1)
            );
            assert_eq!(cell(Shape::Bits256, lane, 4), (lane / 4, 8 + lane % 4 * 2));
        }
        // .16x32bx2: lanes 16 to 31 the same rows, so many columns on.
        assert_eq!(cell(Shape::Split(64), 3, 1), (3, 1));
        assert_eq!(cell(Shape::Split(64), 19, 1), (3, 65));
    }

    /// Each shape reaches each word of its rectangle once.
    #[test]
    fn fragments_cover_their_rectangle() {
        let shapes = [
            (Shape::Lanes32, 1),
            (Shape::Bits64, 2),
            (Shape::Bits128, 4),
            (Shape::Bits256, 8),
            (Shape::Split(4), 2),
        ];
        for (shape, columns) in shapes {
            for halves in [false, true] {
                let fragment = Fragment {
                    shape: if halves && shape == Shape::Split(4) {
                        Shape::Split(8)
                    } else {
                        shape
                    },
                    repetition: 4,
                    halves,
                };
                let columns = 4 * columns * (1 + u32::from(halves));
                let mut reached = vec![0; (fragment.lanes() * columns) as usize];
                for lane in 0..32 {
                    for register in 0..fragment.registers().unwrap() {
                        let Cell { lane: row, column } = fragment.cell(lane, register);
                        reached[(row * columns + column) as usize] += 1;
                        if halves {
                            reached[(row * columns + column + 1) as usize] += 1;
                        }
                    }
                }
                assert!(reached.iter().all(|&count| count == 1), "{fragment:?}");
            }
        }
    }

    #[test]
    fn a_lane_has_at_most_128_registers() {
        let registers = |shape, repetition| {
            Fragment {
                shape,
                repetition,
                halves: false,
            }
            .registers()
        };
        assert_eq!(registers(Shape::Lanes32, 128), Some(128));
        assert_eq!(registers(Shape::Bits128, 64), Some(128));
        assert_eq!(registers(Shape::Bits128, 128), None);
        assert_eq!(registers(Shape::Bits256, 64), None);
    }
}
