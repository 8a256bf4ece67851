//! What two waves know of a memory: whether they have to do with each other, and both together.

use super::super::order::Audience;
use super::{Cell, MANY, Reads, Shadow, Stamp};
use crate::memory::PAGE;

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
        let theirs = match other.read {
            Stamp {
                agent: MANY, clock, ..
            } => lists.list(clock),
            Stamp { clock: 0, .. } => &[],
            _ => std::slice::from_ref(&other.read),
        };
        for &read in theirs {
            if self.read.agent == MANY {
                reads.add(self.read.clock, read);
            } else if self.read.clock == 0 {
                self.read = read;
            } else {
                self.read = Stamp {
                    agent: MANY,
                    clock: reads.new_list(self.read, read),
                    line: 0,
                };
            }
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
            let cells = self.pages[index].iter().zip(&other.pages[theirs]);
            cells.enumerate().all(|(place, (own, their))| {
                let word = number * PAGE + 4 * place as u64;
                let (own, their) = (self.uses(word, own), other.uses(word, their));
                own.iter()
                    .zip(their)
                    .all(|(own, their)| own.goes_with(their))
            })
        })
    }

    /// What is known of each byte of a word.
    fn uses(&self, word: u64, cell: &Cell) -> [Use; 4] {
        match self.parts.get(&word) {
            Some(parts) if cell.write.agent == MANY => parts.each_ref().map(Cell::used),
            _ => [cell.used(); 4],
        }
    }

    /// Takes in what another one knows, from which it is apart.
    pub fn take_in(&mut self, other: Self) {
        let Self {
            numbers,
            pages,
            parts,
            reads,
            told,
            ..
        } = other;
        let mut pages: Vec<Option<Box<[Cell]>>> = pages.into_iter().map(Some).collect();
        for (number, index) in numbers {
            let Some(cells) = pages[index].take() else {
                continue;
            };
            let own = self.page(number);
            for (place, cell) in cells.into_iter().enumerate() {
                let word = number * PAGE + 4 * place as u64;
                if cell.write.agent != MANY && self.pages[own][place].write.agent != MANY {
                    self.pages[own][place].joins(&cell, &reads, &mut self.reads);
                    continue;
                }
                // Bytes by themselves, here or there.
                let theirs = parts.get(&word).copied().unwrap_or([cell; 4]);
                if self.pages[own][place].write.agent != MANY {
                    self.split(word, own);
                }
                if let Some(parts) = self.parts.get_mut(&word) {
                    for (part, their) in parts.iter_mut().zip(&theirs) {
                        part.joins(their, &reads, &mut self.reads);
                    }
                }
            }
        }
        // No CTA or cluster has to do with another wave.
        let told = told.into_iter();
        self.told
            .extend(told.filter(|((_, audience), _)| *audience == Audience::All));
    }
}
