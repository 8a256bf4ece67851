//! Stretches of bytes moved from one memory to another: what every kind of copy comes down to.

use super::{Doer, Memories, Operation, Spot};
use crate::instruction::AtomicFunction;
use crate::memory::Bytes;
use std::sync::Arc;

/// Where bytes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Memory(Spot),
    /// Numbers that stand for what is not there, over and over.
    Pattern(&'static [u8]),
}

/// Bytes one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Move {
    pub from: From,
    pub to: Spot,
    pub bytes: u32,
}

/// What becomes of what was there: with a number of so many bytes that is moved to it.
#[derive(Clone)]
pub(crate) struct Combine {
    pub function: Arc<AtomicFunction>,
    pub bytes: u32,
}

/// Some moves, done together.
pub(crate) struct Moves {
    moves: Vec<Move>,
    combine: Option<Combine>,
    taken: Vec<Option<Bytes>>,
    /// Whether the source, and the destination, must not end before: not those of `cp.async`, which hardware waits for.
    is_bulk: bool,
}

impl Moves {
    pub fn new(moves: Vec<Move>, combine: Option<Combine>, is_bulk: bool) -> Self {
        Self {
            moves,
            combine,
            taken: Vec::new(),
            is_bulk,
        }
    }
}

impl Operation for Moves {
    fn read(&mut self, machine: &mut Memories<'_>, by: &Doer<'_>) {
        let take = |one: &Move| match one.from {
            From::Memory(spot) => machine.take(spot, u64::from(one.bytes), by),
            From::Pattern(pattern) => {
                let bytes = pattern.iter().copied().cycle().take(one.bytes as usize);
                Some(Bytes::of(bytes.collect()))
            }
        };
        self.taken = self.moves.iter().map(take).collect();
    }

    fn write(&mut self, machine: &mut Memories<'_>, by: &Doer<'_>) {
        for (one, taken) in self.moves.iter().zip(std::mem::take(&mut self.taken)) {
            let Some(bytes) = taken else {
                continue;
            };
            match &self.combine {
                None => machine.put(one.to, &bytes, by),
                Some(combine) => machine.combine(one.to, &bytes, combine, by),
            }
        }
    }

    fn needs_shared(&self, has_read: bool) -> bool {
        let is_shared = |spot| matches!(spot, Spot::Shared(..));
        self.is_bulk
            && self.moves.iter().any(|one| {
                is_shared(one.to)
                    || (!has_read && matches!(one.from, From::Memory(spot) if is_shared(spot)))
            })
    }
}

impl Memories<'_> {
    /// Makes each number of a place a function of it and of one that is moved there, as an atomic would.
    fn combine(&mut self, to: Spot, bytes: &Bytes, combine: &Combine, by: &Doer<'_>) {
        let Some(mut old) = self.part(to, bytes.len() as u64) else {
            self.beyond("writes", to, bytes.len() as u64, by);
            return;
        };
        self.count(to, bytes.len() as u64, (true, true));
        self.touch_strongly(to, bytes.len() as u64, by);
        let size = combine.bytes as usize;
        for place in (0..bytes.len()).step_by(size) {
            let (Some((before, is_known)), Some((moved, is_written))) =
                (old.read(place, size), bytes.read(place, size))
            else {
                continue;
            };
            let new = (combine.function)(before, moved, 0);
            old.write(place, size, new, is_known && is_written);
        }
        self.replace(to, &old);
        self.leaves_undefined(to, &old, by);
    }
}
