//! What two waves know of a memory: whether they have to do with each other, and both together.

use super::super::order::Audience;
use super::{Cell, Kept, MANY, PIECE, PIECES, Page, ROWS, Reads, Shadow, Stamp};

/// What is known of a byte.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Nothing,
    Read,
    Written,
}

impl Use {
    fn goes_with(self, other: Self) -> bool {
        match (self, other) {
            (Self::Nothing, _) | (_, Self::Nothing) => true,
            (own, other) => own == Self::Read && other == Self::Read,
        }
    }
}

impl Cell {
    fn used(&self) -> Use {
        if self.write.clock != 0 {
            Use::Written
        } else if self.read.clock != 0 || self.read.agent == MANY {
            Use::Read
        } else {
            Use::Nothing
        }
    }

    /// Knows what another one knows, whose lists of reads are in `lists`; not both know a write.
    fn joins(&mut self, other: &Self, lists: &Reads, reads: &mut Reads) {
        if other.write.clock != 0 {
            self.write = other.write;
        }
        let mut join = |read: Stamp| {
            if self.read.agent == MANY {
                reads.add(self.read.clock, read);
            } else if self.read.clock == 0 {
                self.read = read;
            } else {
                self.read = reads.several(&[self.read, read]);
            }
        };
        match other.read {
            Stamp {
                agent: MANY, clock, ..
            } => lists.list(clock).copied().for_each(join),
            Stamp { clock: 0, .. } => {}
            read => join(read),
        }
    }
}

impl Page {
    /// A row's cell, if there is one.
    fn row(&self, row: usize) -> Option<&Cell> {
        let own = &self.rows[row];
        (own.write.agent != MANY).then_some(own)
    }

    /// The cell that knows of a piece of a row.
    fn piece(&self, row: usize, piece: usize) -> &Cell {
        match (self.row(row), &self.pieces) {
            (None, Some(pieces)) => &pieces[row][piece],
            _ => &self.rows[row],
        }
    }
}

impl Shadow {
    /// Whether nothing that it knows to be written is accessed in the other, and nothing that is written there is accessed in it.
    pub fn is_apart_from(&self, other: &Self) -> bool {
        self.numbers.iter().all(|(number, &index)| {
            let Some(&theirs) = other.numbers.get(number) else {
                return true;
            };
            let (own, their) = (&self.pages[index], &other.pages[theirs]);
            (0..ROWS).all(|row| {
                if let (Some(own), Some(their)) = (own.row(row), their.row(row)) {
                    return own.used().goes_with(their.used());
                }
                (0..PIECES).all(|piece| {
                    let own = self.uses(own.piece(row, piece));
                    let their = other.uses(their.piece(row, piece));
                    own.iter()
                        .zip(their)
                        .all(|(own, their)| own.goes_with(their))
                })
            })
        })
    }

    /// What is known of each byte of a piece.
    fn uses(&self, cell: &Cell) -> [Use; PIECE] {
        let words = self.kept.quarters_of(cell);
        let bytes = words.map(|word| self.kept.quarters_of(&word).map(|byte| byte.used()));
        std::array::from_fn(|byte| bytes[byte / 4][byte % 4])
    }

    /// Takes in what another one knows, from which it is apart.
    pub fn take_in(&mut self, other: Self) {
        let Self {
            numbers,
            pages,
            kept: lists,
            told,
            ..
        } = other;
        for (number, index) in numbers {
            let own = self.page(number);
            let (own, their, kept) = (&mut self.pages[own], &pages[index], &mut self.kept);
            for row in 0..ROWS {
                if let Some(cell) = their.row(row)
                    && own.row(row).is_some()
                {
                    own.rows[row].joins(cell, &lists.reads, &mut kept.reads);
                    continue;
                }
                let pieces = own.pieces(row, kept).iter_mut().enumerate();
                pieces.for_each(|(piece, own)| join(own, their.piece(row, piece), &lists, kept));
            }
        }
        // No CTA or cluster has to do with another wave.
        let told = told.into_iter();
        self.told
            .extend(told.filter(|((_, audience), _)| *audience == Audience::All));
    }
}

impl Kept {
    /// What is known of each quarter of a piece or word.
    fn quarters_of(&self, cell: &Cell) -> [Cell; 4] {
        match cell.write.agent {
            MANY => *self.quarters.of(cell),
            _ => [*cell; 4],
        }
    }
}

/// A piece, word or byte knows what another one knows, of which more is in `lists`; not both know a write of a byte.
fn join(own: &mut Cell, their: &Cell, lists: &Kept, kept: &mut Kept) {
    if their.write.agent != MANY && own.write.agent != MANY {
        own.joins(their, &lists.reads, &mut kept.reads);
        return;
    }
    // Quarters by themselves, here or there.
    if own.write.agent != MANY {
        *own = kept.quarters.keep(own.copies(&mut kept.reads));
    }
    for (number, their) in lists.quarters_of(their).iter().enumerate() {
        let mut quarter = kept.quarters.of(own)[number];
        join(&mut quarter, their, lists, kept);
        kept.quarters.of_mut(own)[number] = quarter;
    }
}
