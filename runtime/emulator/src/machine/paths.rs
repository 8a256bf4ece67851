//! Accesses by lanes of a warp that went different ways.
//!
//! Since Volta lanes that part at a branch go on independently of each other, and where they come together again is the
//! compiler's and the hardware's to choose: that a lane's access comes before another one's is only so where something says
//! so, as `bar.warp.sync` does (CUDA C++ Programming Guide, "Independent Thread Scheduling"; PTX ISA 9.7.13.2). What lanes do
//! that go along together is held to be in order: much code relies on it, and ptxas makes it so.
//!
//! Kept is what lanes did while others of their warp were elsewhere, until these are told: by an instruction that lanes of a
//! mask execute together, by a barrier, or by whatever the warp acquires. The last two are held to tell all lanes all.

use crate::memory::Pages;
use std::collections::hash_map::Entry;

/// Words that are kept: of a warp whose lanes part for longer the earliest are forgotten.
const WORDS: usize = 1 << 12;

/// A memory: global, or the shared memory of a CTA of the cluster.
pub(crate) type Memory = Option<u32>;

/// What a lane did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access {
    pub lane: u32,
    pub writes: bool,
    pub is_strong: bool,
    /// In the module's text.
    pub line: u32,
    /// The lanes that are behind it.
    pub known: u32,
}

/// An access of some bytes of a word.
#[derive(Clone, Copy, Debug)]
struct Part {
    bytes: u8,
    access: Access,
}

/// What lanes of a warp did that not all lanes are behind.
#[derive(Default)]
pub(crate) struct Paths {
    words: Pages<Parts>,
}

/// Accesses of a word.
struct Parts {
    first: Part,
    rest: Vec<Part>,
}

impl Parts {
    fn iter(&self) -> impl Iterator<Item = &Part> {
        std::iter::once(&self.first).chain(&self.rest)
    }
}

/// A word of a memory: addresses leave the highest bits free.
fn key(memory: Memory, word: u64) -> u64 {
    word | memory.map_or(0, |rank| u64::from(rank) + 1) << 56
}

impl Paths {
    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// A lane accesses some bytes, while others of its warp are elsewhere if `is_apart`: the place and the access by a lane
    /// that went another way which this one is not behind.
    pub fn access(
        &mut self,
        memory: Memory,
        (place, bytes): (u64, u64),
        own: Access,
        is_apart: bool,
    ) -> Option<(u64, Access)> {
        let end = place + bytes;
        let mut found = None;
        let mut at = place;
        while at < end {
            let word = at & !3;
            let to = end.min(word + 4);
            let bytes = (0xf << (at - word) & 0xf & (0xf >> (word + 4 - to))) as u8;
            if let Some(parts) = self.words.get(&key(memory, word)) {
                let meets = parts.iter().find(|part| {
                    let other = part.access;
                    part.bytes & bytes != 0
                        && other.known >> own.lane & 1 == 0
                        && (other.writes || own.writes)
                        && !(other.is_strong && own.is_strong)
                });
                found = found.or(meets.map(|part| (at, part.access)));
            }
            if is_apart {
                self.keep(key(memory, word), Part { bytes, access: own });
            }
            at = to;
        }
        found
    }

    fn keep(&mut self, key: u64, part: Part) {
        if self.words.len() >= WORDS {
            self.words.clear();
        }
        let parts = match self.words.entry(key) {
            Entry::Occupied(parts) => parts.into_mut(),
            Entry::Vacant(free) => {
                free.insert(Parts {
                    first: part,
                    rest: Vec::new(),
                });
                return;
            }
        };
        let own = part.access;
        let is_alike = |old: &Part| {
            old.bytes == part.bytes
                && old.access.lane == own.lane
                && old.access.is_strong == own.is_strong
        };
        // Whatever meets a lane's read meets its write.
        let says_as_much = |old: &Part| {
            is_alike(old) && (old.access.writes || !own.writes) && old.access.known == own.known
        };
        if parts.iter().any(says_as_much) {
            return;
        }
        let mut all = std::iter::once(&mut parts.first).chain(&mut parts.rest);
        match all.find(|old| is_alike(old) && (own.writes || !old.access.writes)) {
            Some(old) => *old = part,
            None => parts.rest.push(part),
        }
    }

    /// Lanes have come together, of those that live: each is behind what the others are behind.
    pub fn synchronise(&mut self, lanes: u32, live: u32) {
        if self.words.is_empty() {
            return;
        }
        if live & !lanes == 0 {
            self.words.clear();
            return;
        }
        for parts in self.words.values_mut() {
            for part in std::iter::once(&mut parts.first).chain(&mut parts.rest) {
                if part.access.known & lanes != 0 {
                    part.access.known |= lanes;
                }
            }
        }
    }

    /// All lanes are behind all.
    pub fn clear(&mut self) {
        self.words.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(lane: u32, writes: bool) -> Access {
        Access {
            lane,
            writes,
            is_strong: false,
            line: lane + 10,
            known: 1 << lane,
        }
    }

    #[test]
    fn what_another_lane_did_is_met_until_both_come_together() {
        let mut paths = Paths::default();
        assert!(paths.access(None, (8, 4), by(0, true), true).is_none());
        // The lane itself, another place, another memory.
        assert!(paths.access(None, (8, 4), by(0, false), false).is_none());
        assert!(paths.access(None, (12, 4), by(1, false), false).is_none());
        assert!(paths.access(Some(0), (8, 4), by(1, false), false).is_none());
        let (place, other) = paths.access(None, (6, 8), by(1, false), false).unwrap();
        assert_eq!((place, other.lane, other.line), (8, 0, 10));
        paths.synchronise(0b11, u32::MAX);
        assert!(paths.access(None, (8, 4), by(1, false), false).is_none());
        // Lane 1 knows, and passes it on.
        assert!(paths.access(None, (8, 4), by(2, false), false).is_some());
        paths.synchronise(0b110, u32::MAX);
        assert!(paths.access(None, (8, 4), by(2, false), false).is_none());
        assert!(paths.access(None, (8, 4), by(3, false), false).is_some());
        paths.synchronise(u32::MAX, u32::MAX);
        assert!(paths.is_empty());
    }

    #[test]
    fn bytes_of_a_word_and_reads_do_not_meet() {
        let mut paths = Paths::default();
        paths.access(None, (4, 2), by(0, true), true);
        assert!(paths.access(None, (6, 2), by(1, true), true).is_none());
        assert!(paths.access(None, (5, 1), by(2, false), true).is_some());
        paths.access(None, (64, 4), by(0, false), true);
        assert!(paths.access(None, (64, 4), by(1, false), true).is_none());
        assert!(paths.access(None, (64, 4), by(1, true), true).is_some());
    }

    #[test]
    fn strong_accesses_may_meet() {
        let mut paths = Paths::default();
        let strong = |lane| Access {
            is_strong: true,
            ..by(lane, true)
        };
        paths.access(None, (0, 4), strong(0), true);
        assert!(paths.access(None, (0, 4), strong(1), true).is_none());
        assert!(paths.access(None, (0, 4), by(2, false), true).is_some());
    }
}
