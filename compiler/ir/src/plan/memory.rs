//! The memory of a plan: which bytes a buffer is, and sets of bytes.

use super::{Buffer, Place, Plan};
use std::collections::BTreeMap;
use std::ops::Range;

/// A piece of memory that overlaps no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Memory {
    Input(usize),
    /// A result that no input is donated to.
    Result(usize),
    Constant(usize),
    Arena,
}

/// Bytes of a piece of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bytes {
    pub(super) memory: Memory,
    pub(super) range: Range<usize>,
}

impl Bytes {
    /// Whether some byte belongs to both.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.memory == other.memory
            && self.range.start.max(other.range.start) < self.range.end.min(other.range.end)
    }
}

impl Plan {
    /// The bytes a buffer is. A result's memory is that of the input donated to it.
    pub(super) fn bytes(&self, buffer: &Buffer) -> Bytes {
        let size = buffer.value_type.byte_size();
        let donor = |result| {
            let donates = |input: &super::PlanInput| input.donate == Some(result);
            self.inputs.iter().position(donates)
        };
        let (memory, start) = match buffer.place {
            Place::Input(number) => (Memory::Input(number), 0),
            Place::Result(number) => match donor(number) {
                Some(input) => (Memory::Input(input), 0),
                None => (Memory::Result(number), 0),
            },
            Place::Constant(number) => (Memory::Constant(number), 0),
            Place::Arena(offset) => (Memory::Arena, offset),
        };
        Bytes {
            memory,
            range: start..start.saturating_add(size),
        }
    }
}

/// A value for each byte of a memory: disjoint ranges that have one, by where they begin.
#[derive(Clone, Debug, Default)]
pub(super) struct RangeMap<T>(BTreeMap<usize, (usize, T)>);

impl<T: Clone + Default> RangeMap<T> {
    /// Gives each part of a range to `change`, with its value, [`Default`] where there was none.
    pub(super) fn change(&mut self, range: Range<usize>, mut change: impl FnMut(&mut T)) {
        if range.is_empty() {
            return;
        }
        self.split(range.start);
        self.split(range.end);
        let mut missing = Vec::new();
        let mut covered = range.start;
        for (&start, (end, value)) in self.0.range_mut(range.clone()) {
            if covered < start {
                missing.push(covered..start);
            }
            change(value);
            covered = *end;
        }
        if covered < range.end {
            missing.push(covered..range.end);
        }
        for gap in missing {
            let mut value = T::default();
            change(&mut value);
            self.0.insert(gap.start, (gap.end, value));
        }
    }

    /// Cuts the range that contains a byte before that byte.
    fn split(&mut self, at: usize) {
        let Some((_, (end, value))) = self.0.range_mut(..at).next_back() else {
            return;
        };
        if *end > at {
            let rest = (*end, value.clone());
            *end = at;
            self.0.insert(at, rest);
        }
    }
}

impl RangeMap<()> {
    /// Whether every byte of a range has a value.
    pub(super) fn covers(&self, range: &Range<usize>) -> bool {
        let mut covered = range.start;
        let before = self.0.range(..=range.start).next_back();
        if let Some((_, &(end, ()))) = before {
            covered = covered.max(end);
        }
        for (&start, &(end, ())) in self.0.range(range.clone()) {
            if start > covered {
                break;
            }
            covered = covered.max(end);
        }
        covered >= range.end
    }

    /// The bytes that have a value in both.
    pub(super) fn intersection(&self, other: &Self) -> Self {
        let mut both = Self::default();
        for (&start, &(end, ())) in &self.0 {
            for (&other_start, &(other_end, ())) in other.0.range(..end) {
                let range = start.max(other_start)..end.min(other_end);
                both.change(range, |()| {});
            }
        }
        both
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ranges: &[Range<usize>]) -> RangeMap<()> {
        let mut set = RangeMap::default();
        for range in ranges {
            set.change(range.clone(), |()| {});
        }
        set
    }

    #[test]
    fn each_byte_has_a_value_of_its_own() {
        let mut map: RangeMap<Vec<u8>> = RangeMap::default();
        map.change(0..10, |value| value.push(1));
        map.change(5..15, |value| value.push(2));
        map.change(7..8, |value| value.push(3));
        let found: Vec<_> = map
            .0
            .iter()
            .map(|(&s, (e, v))| (s..*e, v.as_slice()))
            .collect();
        assert_eq!(
            found,
            [
                (0..5, &[1][..]),
                (5..7, &[1, 2]),
                (7..8, &[1, 2, 3]),
                (8..10, &[1, 2]),
                (10..15, &[2]),
            ]
        );
    }

    #[test]
    fn a_range_is_covered_by_ranges_that_touch() {
        let touching = set(&[0..4, 4..8, 9..12]);
        assert!(touching.covers(&(1..8)));
        assert!(!touching.covers(&(1..9)));
        assert!(!touching.covers(&(8..9)));
        assert!(touching.covers(&(9..9)));
        assert!(touching.covers(&(10..12)));
    }

    #[test]
    fn an_intersection_has_what_both_have() {
        let both = set(&[0..4, 6..10]).intersection(&set(&[2..8, 9..20]));
        assert!(both.covers(&(2..4)) && both.covers(&(6..8)) && both.covers(&(9..10)));
        assert!(!both.covers(&(1..3)) && !both.covers(&(4..5)) && !both.covers(&(8..9)));
    }
}
