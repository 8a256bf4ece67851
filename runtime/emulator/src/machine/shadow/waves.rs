//! What two waves know of a memory: whether they have to do with each other, and both together.

use super::super::order::Audience;
use super::{Cell, Kept, MANY, Page, ROWS, Reads, Shadow, Stamp, WORDS};

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

    /// The cell that knows of a word of a row.
    fn word(&self, row: usize, word: usize) -> &Cell {
        match (self.row(row), &self.words) {
            (None, Some(words)) => &words[row][word],
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
                (0..WORDS).all(|word| {
                    let own = self.uses(own.word(row, word));
                    let their = other.uses(their.word(row, word));
                    own.iter()
                        .zip(their)
                        .all(|(own, their)| own.goes_with(their))
                })
            })
        })
    }

    /// What is known of each byte of a word.
    fn uses(&self, cell: &Cell) -> [Use; 4] {
        if cell.write.agent == MANY {
            self.kept.parts.of(cell).each_ref().map(Cell::used)
        } else {
            [cell.used(); 4]
        }
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
                let words = own.words(row, kept).iter_mut().enumerate();
                words.for_each(|(word, own)| join_words(own, their.word(row, word), &lists, kept));
            }
        }
        // No CTA or cluster has to do with another wave.
        let told = told.into_iter();
        self.told
            .extend(told.filter(|((_, audience), _)| *audience == Audience::All));
    }
}

/// A word knows what another one knows, of which more is in `lists`; not both know a write of a byte.
fn join_words(own: &mut Cell, their: &Cell, lists: &Kept, kept: &mut Kept) {
    let Kept { parts, reads } = kept;
    if their.write.agent != MANY && own.write.agent != MANY {
        own.joins(their, &lists.reads, reads);
        return;
    }
    // Bytes by themselves, here or there.
    let theirs = match their.write.agent {
        MANY => *lists.parts.of(their),
        _ => [*their; 4],
    };
    if own.write.agent != MANY {
        *own = parts.keep(own.copies(reads));
    }
    for (part, their) in parts.of_mut(own).iter_mut().zip(&theirs) {
        part.joins(their, &lists.reads, reads);
    }
}
