//! Tensor memory: 128 lanes of 512 columns of 32 bits of each CTA (PTX ISA 9.7.16.1).

use crate::tcgen05::Cell;
use std::ops::Range;

pub(crate) const LANES: u32 = 128;
pub(crate) const COLUMNS: u32 = 512;
/// Columns that are allocated at one time, at least.
const UNIT: u32 = 32;
/// What a word reads as that nobody has written: a NaN.
const POISON: u32 = 0xfbfb_fbfb;
/// A word all of whose bytes are written.
pub(crate) const WHOLE: u8 = 0b1111;

/// A clause that says what is wrong with an access or an allocation.
pub(crate) type Misuse = String;

/// The tensor memory of a CTA.
#[derive(Clone, Debug, Default)]
pub(crate) struct TensorMemory {
    /// By lane, then column. Nothing before the first allocation.
    words: Vec<u32>,
    /// The bytes of each word that somebody has written.
    written: Vec<u8>,
    /// Columns that are allocated: first and number.
    allocated: Vec<(u32, u32)>,
    /// Whether the CTA has given up its right to allocate.
    pub is_relinquished: bool,
    /// Whether allocations begin at the last column: a kernel must not know where they lie.
    from_the_end: bool,
}

impl TensorMemory {
    /// Empty memory, whose allocations begin at the first column or at the last.
    pub fn new(from_the_end: bool) -> Self {
        Self {
            from_the_end,
            ..Self::default()
        }
    }

    /// Allocates columns and gives the first one; none while there is no room.
    pub fn allocate(&mut self, columns: u32) -> Result<Option<u32>, Misuse> {
        if self.is_relinquished {
            return Err("is allocated after the permit to was relinquished".into());
        }
        check_size(columns)?;
        let Some(first) = self.room(columns) else {
            return Ok(None);
        };
        if self.words.is_empty() {
            self.words = vec![POISON; (LANES * COLUMNS) as usize];
            self.written = vec![0; (LANES * COLUMNS) as usize];
        }
        self.allocated.push((first, columns));
        Ok(Some(first))
    }

    /// Where so many columns are free.
    fn room(&self, columns: u32) -> Option<u32> {
        let mut places = (0..=(COLUMNS - columns) / UNIT).map(|unit| {
            let place = unit * UNIT;
            if self.from_the_end {
                COLUMNS - columns - place
            } else {
                place
            }
        });
        places.find(|first| {
            let mut taken = self.allocated.iter();
            !taken.any(|&(begin, size)| *first < begin + size && begin < first + columns)
        })
    }

    /// Whether an allocation would find room.
    pub fn has_room(&self, columns: u32) -> bool {
        self.room(columns).is_some()
    }

    /// Gives back what an allocation gave.
    pub fn deallocate(&mut self, first: u32, columns: u32) -> Result<(), Misuse> {
        check_size(columns)?;
        let found = self
            .allocated
            .iter()
            .position(|&one| one == (first, columns));
        let Some(found) = found else {
            return Err(format!(
                "is given back {columns} columns at {first} at a time, and has {}",
                self.allocations()
            ));
        };
        self.allocated.swap_remove(found);
        for lane in 0..LANES {
            let begin = (lane * COLUMNS + first) as usize;
            let range = begin..begin + columns as usize;
            self.words[range.clone()].fill(POISON);
            self.written[range].fill(0);
        }
        Ok(())
    }

    /// The allocations that are not given back, in words.
    fn allocations(&self) -> String {
        if self.allocated.is_empty() {
            return "no allocation".into();
        }
        let one = |&(first, columns): &(u32, u32)| format!("{columns} columns at {first}");
        let all: Vec<String> = self.allocated.iter().map(one).collect();
        format!("allocations of {}", all.join(", "))
    }

    /// What is not given back, if something is not.
    pub fn leak(&self) -> Option<Misuse> {
        (!self.allocated.is_empty()).then(|| format!("has at the CTA's end {}", self.allocations()))
    }

    fn index(&self, cell: Cell) -> Result<usize, Misuse> {
        let Cell { lane, column } = cell;
        if lane >= LANES || column >= COLUMNS {
            return Err(format!(
                "has {LANES} lanes and {COLUMNS} columns, and none at lane {lane} and column {column}"
            ));
        }
        let mut allocated = self.allocated.iter();
        if !allocated.any(|&(first, columns)| (first..first + columns).contains(&column)) {
            return Err(format!("has no allocation at column {column}"));
        }
        Ok((lane * COLUMNS + column) as usize)
    }

    /// Where words of a lane are that lie one behind the other.
    fn run(&self, first: Cell, count: usize) -> Result<Range<usize>, Misuse> {
        let begin = self.index(first)?;
        let last = first.plus(0, count as u32 - 1).column;
        let mut allocated = self.allocated.iter();
        let has = |&&(begin, columns): &&(u32, u32)| {
            begin <= first.column && last < begin + columns && first.column <= last
        };
        if allocated.find(has).is_none() {
            for column in 1..count as u32 {
                self.index(first.plus(0, column))?;
            }
        }
        Ok(begin..begin + count)
    }

    /// Words of a lane that lie one behind the other, and which of their bytes are written.
    pub fn read_run<const COUNT: usize>(&self, first: Cell) -> Result<[(u32, u8); COUNT], Misuse> {
        let run = self.run(first, COUNT)?;
        let (words, written) = (&self.words[run.clone()], &self.written[run]);
        Ok(std::array::from_fn(|number| {
            (words[number], written[number])
        }))
    }

    /// Writes words of a lane that lie one behind the other, of which some bytes are written themselves.
    pub fn write_run<const COUNT: usize>(
        &mut self,
        first: Cell,
        all: [(u32, u8); COUNT],
    ) -> Result<(), Misuse> {
        let run = self.run(first, COUNT)?;
        self.words[run.clone()].copy_from_slice(&all.map(|(word, _)| word));
        self.written[run].copy_from_slice(&all.map(|(_, written)| written));
        Ok(())
    }

    /// A word and which of its bytes are written.
    pub fn read(&self, cell: Cell) -> Result<(u32, u8), Misuse> {
        let index = self.index(cell)?;
        Ok((self.words[index], self.written[index]))
    }

    /// Writes a word, of which some bytes are written themselves.
    pub fn write(&mut self, cell: Cell, (word, written): (u32, u8)) -> Result<(), Misuse> {
        let index = self.index(cell)?;
        self.words[index] = word;
        self.written[index] = written;
        Ok(())
    }
}

fn check_size(columns: u32) -> Result<(), Misuse> {
    if !(UNIT..=COLUMNS).contains(&columns) || !columns.is_power_of_two() {
        return Err(format!(
            "is allocated by powers of two from {UNIT} to {COLUMNS} columns, and not by {columns}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(lane: u32, column: u32) -> Cell {
        Cell { lane, column }
    }

    #[test]
    fn columns_are_allocated_from_either_end() {
        let mut low = TensorMemory::new(false);
        assert_eq!(low.allocate(64), Ok(Some(0)));
        assert_eq!(low.allocate(128), Ok(Some(64)));
        let mut high = TensorMemory::new(true);
        assert_eq!(high.allocate(64), Ok(Some(448)));
        assert_eq!(high.allocate(128), Ok(Some(320)));
    }

    #[test]
    fn an_allocation_waits_for_room() {
        let mut memory = TensorMemory::new(false);
        assert_eq!(memory.allocate(256), Ok(Some(0)));
        assert_eq!(memory.allocate(512), Ok(None));
        assert_eq!(memory.allocate(256), Ok(Some(256)));
        memory.deallocate(0, 256).unwrap();
        assert_eq!(memory.allocate(32), Ok(Some(0)));
    }

    #[test]
    fn sizes_are_powers_of_two_from_32() {
        for columns in [0, 16, 48, 96, 1024] {
            assert!(TensorMemory::default().allocate(columns).is_err());
        }
    }

    /// Of words that are not all there the first that is not is said.
    #[test]
    fn words_of_a_lane_that_lie_one_behind_the_other() {
        let mut memory = TensorMemory::new(false);
        memory.allocate(32).unwrap();
        memory.allocate(32).unwrap();
        memory
            .write_run(at(5, 30), [(1, WHOLE), (2, 0), (3, WHOLE)])
            .unwrap();
        assert_eq!(memory.read(at(5, 32)), Ok((3, WHOLE)));
        assert_eq!(memory.read_run(at(5, 31)), Ok([(2, 0), (3, WHOLE)]));
        let beyond = memory.read_run::<4>(at(5, 61)).unwrap_err();
        assert_eq!(beyond, memory.read(at(5, 64)).unwrap_err());
        memory.deallocate(0, 32).unwrap();
        let before = memory.read_run::<4>(at(5, 30)).unwrap_err();
        assert_eq!(before, memory.read(at(5, 30)).unwrap_err());
    }

    #[test]
    fn words_are_unwritten_until_written_and_after_they_are_given_back() {
        let mut memory = TensorMemory::new(false);
        memory.allocate(32).unwrap();
        assert_eq!(memory.read(at(5, 7)), Ok((POISON, 0)));
        memory.write(at(5, 7), (42, WHOLE)).unwrap();
        assert_eq!(memory.read(at(5, 7)), Ok((42, WHOLE)));
        memory.deallocate(0, 32).unwrap();
        assert!(memory.read(at(5, 7)).is_err());
        memory.allocate(32).unwrap();
        assert_eq!(memory.read(at(5, 7)), Ok((POISON, 0)));
    }

    #[test]
    fn what_is_not_allocated_is_not_reached() {
        let mut memory = TensorMemory::new(false);
        assert!(memory.read(at(0, 0)).is_err());
        memory.allocate(64).unwrap();
        assert!(memory.read(at(127, 63)).is_ok());
        assert!(memory.read(at(0, 64)).is_err());
        assert!(memory.read(at(128, 0)).is_err());
    }

    #[test]
    fn leaks_and_permits() {
        let mut memory = TensorMemory::new(false);
        assert_eq!(memory.leak(), None);
        memory.allocate(64).unwrap();
        assert!(memory.leak().unwrap().contains("64 columns at 0"));
        assert!(memory.deallocate(0, 32).is_err());
        memory.is_relinquished = true;
        assert!(memory.allocate(32).is_err());
        memory.deallocate(0, 64).unwrap();
        assert_eq!(memory.leak(), None);
    }
}
