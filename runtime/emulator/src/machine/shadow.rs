//! Who read and wrote a memory last: races are found here.
//!
//! Words of four bytes have a cell each, which remembers the last write and the reads since that are not ordered before
//! another one (C. Flanagan, S. Freund, "FastTrack", PLDI 2009). A word that is accessed in parts has a cell for each byte.

mod waves;

use super::order::{self, Agent, Audience, Knowledge};
use crate::instruction::ThreadScope;
use crate::memory::{PAGE, Pages};
use std::collections::HashMap;
use std::sync::Arc;

/// When and where an access was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub agent: Agent,
    /// 0 is no access. The two highest bits are the scope of a strong one, which is an atomic, a volatile one or a relaxed
    /// one, and one more.
    clock: u32,
    /// The line in the module's text.
    pub line: u32,
}

/// Bits of a clock beneath those of the scope.
const CLOCK_BITS: u32 = 30;

impl Stamp {
    /// With the scope of a strong access.
    pub fn new(agent: Agent, clock: u32, line: u32, strong: Option<ThreadScope>) -> Self {
        let scope = strong.map_or(0, |scope| scope as u32 + 1);
        Self {
            agent,
            clock: clock & ((1 << CLOCK_BITS) - 1) | scope << CLOCK_BITS,
            line,
        }
    }

    fn clock(self) -> u32 {
        self.clock & ((1 << CLOCK_BITS) - 1)
    }

    fn strong(self) -> Option<ThreadScope> {
        let scope = (self.clock >> CLOCK_BITS).checked_sub(1)?;
        ThreadScope::ALL.get(scope as usize).copied()
    }
}

/// Who accesses memory.
pub(crate) struct Accessor<'k> {
    pub stamp: Stamp,
    /// What comes before.
    pub knows: &'k Knowledge,
    /// Warps of a cluster, whose accesses go through the generic proxy, and of a CTA.
    pub warps: u32,
    pub of_cta: u32,
    /// Whether the access goes through the asynchronous proxy.
    pub is_asynchronous: bool,
}

impl Accessor<'_> {
    /// The scope that strong accesses must have so that they may meet. That of asynchronous work is always wide enough.
    fn scope_with(&self, earlier: Agent) -> ThreadScope {
        let warps = [earlier, self.stamp.agent];
        if warps.iter().all(|&agent| order::is_warp(agent, self.warps)) {
            order::together(earlier, self.stamp.agent, self.of_cta)
        } else {
            ThreadScope::Cta
        }
    }

    /// Whether an earlier access is ordered before this one; `writes` says what it did.
    #[inline]
    fn follows(&self, earlier: Stamp, writes: bool) -> Result<(), Missing> {
        if earlier.clock == 0 || (earlier.agent == self.stamp.agent && !self.is_asynchronous) {
            return Ok(());
        }
        let strong = earlier.strong().zip(self.stamp.strong());
        if strong.is_some_and(|(a, b)| a.min(b) >= self.scope_with(earlier.agent)) {
            return Ok(());
        }
        if !self.knows.covers(earlier.agent, earlier.clock()) {
            return Err(Missing::Order);
        }
        if self.is_asynchronous
            && writes
            && order::is_warp(earlier.agent, self.warps)
            && !self.knows.covers_fenced(earlier.agent, earlier.clock())
        {
            return Err(Missing::ProxyFence);
        }
        Ok(())
    }
}

/// What is missing between two accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    Order,
    ProxyFence,
}

/// An access that is not ordered behind an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    pub place: u64,
    pub earlier: Stamp,
    /// Whether the earlier one wrote.
    pub wrote: bool,
    pub missing: Missing,
}

/// An earlier access, whether it wrote, and what is missing behind it.
type Found = (Stamp, bool, Missing);

#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    write: Stamp,
    read: Stamp,
}

/// As the agent of a write: that the word's bytes have cells of their own. As that of a read: that there are several.
const MANY: Agent = Agent::MAX;

impl Cell {
    #[inline]
    fn reads(&mut self, by: &Accessor<'_>, reads: &mut Reads) -> Option<Found> {
        let found = by.follows(self.write, true).err();
        let own = by.stamp;
        if self.read.agent == MANY {
            reads.add(self.read.clock, own);
        } else if self.read.clock == 0
            || self.read.agent == own.agent
            || by.knows.covers(self.read.agent, self.read.clock())
        {
            self.read = own;
        } else {
            let index = reads.new_list(self.read, own);
            self.read = Stamp {
                agent: MANY,
                clock: index,
                line: 0,
            };
        }
        found.map(|missing| (self.write, true, missing))
    }

    #[inline]
    fn writes(&mut self, by: &Accessor<'_>, reads: &mut Reads) -> Option<Found> {
        let mut found = by
            .follows(self.write, true)
            .err()
            .map(|missing| (self.write, true, missing));
        if self.read.agent == MANY {
            for &read in reads.list(self.read.clock) {
                found = found.or_else(|| Some((read, false, by.follows(read, false).err()?)));
            }
            reads.free(self.read.clock);
        } else if found.is_none() {
            let missing = by.follows(self.read, false).err();
            found = missing.map(|missing| (self.read, false, missing));
        }
        *self = Self {
            write: by.stamp,
            read: Stamp::default(),
        };
        found
    }
}

/// Reads of cells that several agents read.
#[derive(Default)]
struct Reads {
    lists: Vec<Vec<Stamp>>,
    free: Vec<u32>,
}

impl Reads {
    fn list(&self, index: u32) -> &[Stamp] {
        &self.lists[index as usize]
    }

    fn add(&mut self, index: u32, stamp: Stamp) {
        let list = &mut self.lists[index as usize];
        match list.iter_mut().find(|own| own.agent == stamp.agent) {
            Some(own) => *own = stamp,
            None => list.push(stamp),
        }
    }

    fn new_list(&mut self, first: Stamp, second: Stamp) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.lists.push(Vec::new());
            self.lists.len() as u32 - 1
        });
        self.lists[index as usize].extend([first, second]);
        index
    }

    fn free(&mut self, index: u32) {
        self.lists[index as usize].clear();
        self.free.push(index);
    }
}

/// The cells of a memory, made as they are needed.
#[derive(Default)]
pub(crate) struct Shadow {
    numbers: Pages<usize>,
    pages: Vec<Box<[Cell]>>,
    /// The page that was looked for last.
    last: Option<(u64, usize)>,
    parts: HashMap<u64, [Cell; 4]>,
    reads: Reads,
    /// What strong writes of a place have told to who reads it strongly.
    told: HashMap<(u64, Audience), Arc<Knowledge>>,
}

impl Shadow {
    fn page(&mut self, number: u64) -> usize {
        if let Some((last, index)) = self.last
            && last == number
        {
            return index;
        }
        let pages = &mut self.pages;
        let index = *self.numbers.entry(number).or_insert_with(|| {
            pages.push(vec![Cell::default(); (PAGE / 4) as usize].into());
            pages.len() - 1
        });
        self.last = Some((number, index));
        index
    }

    /// What strong writes of a place have told somebody.
    pub fn told(&self, place: u64, audience: Audience) -> Option<Arc<Knowledge>> {
        if self.told.is_empty() {
            return None;
        }
        self.told.get(&(place, audience)).map(Arc::clone)
    }

    /// A strong write of a place tells something. It does not make untold what was told before: it may be an atomic, whose
    /// place in a release sequence keeps that.
    pub fn tell(&mut self, place: u64, audience: Audience, told: Arc<Knowledge>) {
        if told.is_empty() {
            return;
        }
        match self.told.entry((place, audience)) {
            std::collections::hash_map::Entry::Occupied(mut known) => {
                Arc::make_mut(known.get_mut()).join(&told);
            }
            std::collections::hash_map::Entry::Vacant(free) => {
                free.insert(told);
            }
        }
    }

    /// An access of some bytes: the first conflict that it has.
    pub fn access(
        &mut self,
        place: u64,
        bytes: u64,
        writes: bool,
        by: &Accessor<'_>,
    ) -> Option<Conflict> {
        let mut conflict = None;
        let end = place + bytes;
        let mut at = place;
        while at < end {
            let word = at & !3;
            let to = end.min(word + 4);
            let found = if at == word && to == word + 4 {
                // As many whole words as the page has, up to one with cells for its bytes.
                let words = ((end - word) / 4).min((PAGE - word % PAGE) / 4);
                let (passed, found) = self.words(word, words, writes, by);
                at += passed * 4;
                found
            } else {
                let found = self.word(word, at - word, to - word, writes, by);
                let found = found.map(|found| (at, found));
                at = to;
                found
            };
            conflict = conflict.or(found.map(|(place, (earlier, wrote, missing))| Conflict {
                place,
                earlier,
                wrote,
                missing,
            }));
        }
        conflict
    }

    /// Whole words of a page, one at least: how many were passed, and the first conflict with its place.
    fn words(
        &mut self,
        first: u64,
        words: u64,
        writes: bool,
        by: &Accessor<'_>,
    ) -> (u64, Option<(u64, Found)>) {
        let page = self.page(first / PAGE);
        let begin = (first % PAGE / 4) as usize;
        let cells = &mut self.pages[page][begin..begin + words as usize];
        let mut conflict = None;
        for (number, cell) in cells.iter_mut().enumerate() {
            let number = number as u64;
            if cell.write.agent == MANY {
                if number > 0 {
                    return (number, conflict);
                }
                let found = self.word(first, 0, 4, writes, by);
                return (1, found.map(|found| (first, found)));
            }
            let found = if writes {
                cell.writes(by, &mut self.reads)
            } else {
                cell.reads(by, &mut self.reads)
            };
            conflict = conflict.or(found.map(|found| (first + 4 * number, found)));
        }
        (words, conflict)
    }

    #[inline]
    fn word(
        &mut self,
        word: u64,
        from: u64,
        to: u64,
        writes: bool,
        by: &Accessor<'_>,
    ) -> Option<Found> {
        let page = self.page(word / PAGE);
        let cell = &mut self.pages[page][(word % PAGE / 4) as usize];
        let is_whole = from == 0 && to == 4;
        if cell.write.agent != MANY {
            if is_whole {
                return if writes {
                    cell.writes(by, &mut self.reads)
                } else {
                    cell.reads(by, &mut self.reads)
                };
            }
            self.split(word, page);
        }
        let parts = self.parts.get_mut(&word)?;
        let mut found = None;
        for part in &mut parts[from as usize..to as usize] {
            let own = if writes {
                part.writes(by, &mut self.reads)
            } else {
                part.reads(by, &mut self.reads)
            };
            found = found.or(own);
        }
        found
    }

    /// Gives each byte of a word a cell of its own.
    fn split(&mut self, word: u64, page: usize) {
        let cell = &mut self.pages[page][(word % PAGE / 4) as usize];
        let whole = *cell;
        cell.write.agent = MANY;
        let mut parts = [whole; 4];
        if whole.read.agent == MANY {
            let list = self.reads.list(whole.read.clock).to_vec();
            for part in &mut parts[1..] {
                let index = self.reads.new_list(list[0], list[1]);
                for &stamp in &list[2..] {
                    self.reads.add(index, stamp);
                }
                part.read.clock = index;
            }
        }
        self.parts.insert(word, parts);
    }
}

#[cfg(test)]
mod tests {
    use super::super::order::Order;
    use super::*;

    /// An access of a warp at its clock.
    fn access(
        shadow: &mut Shadow,
        order: &Order,
        warp: u32,
        place: u64,
        bytes: u64,
        writes: bool,
    ) -> Option<Conflict> {
        let (agent, clock) = order.warp(warp);
        let by = Accessor {
            stamp: Stamp::new(agent, clock, 10 + warp, None),
            knows: order.knows(warp),
            warps: order.warps(),
            of_cta: order.warps(),
            is_asynchronous: false,
        };
        shadow.access(place, bytes, writes, &by)
    }

    #[test]
    fn a_write_and_a_read_that_nothing_orders() {
        let (mut shadow, mut order) = (Shadow::default(), Order::new(0, 2, true));
        assert_eq!(access(&mut shadow, &order, 0, 8, 4, true), None);
        assert_eq!(access(&mut shadow, &order, 0, 8, 4, false), None);
        let found = access(&mut shadow, &order, 1, 8, 4, false).unwrap();
        assert_eq!(
            (found.place, found.earlier.line, found.wrote),
            (8, 10, true)
        );
        order.comes_to_barrier(0, 0, 0);
        let all = order.at_barrier(0, 0);
        order.goes_on(1, &all);
        assert_eq!(access(&mut shadow, &order, 1, 8, 4, false), None);
    }

    #[test]
    fn a_write_behind_reads_of_several() {
        let (mut shadow, order) = (Shadow::default(), Order::new(0, 3, true));
        for warp in [0, 1] {
            assert_eq!(access(&mut shadow, &order, warp, 0, 16, false), None);
        }
        let found = access(&mut shadow, &order, 1, 4, 4, true).unwrap();
        assert_eq!(
            (found.place, found.earlier.line, found.wrote),
            (4, 10, false)
        );
    }

    #[test]
    fn neighbours_in_one_word_do_not_meet() {
        let (mut shadow, order) = (Shadow::default(), Order::new(0, 2, true));
        assert_eq!(access(&mut shadow, &order, 0, 4096, 2, true), None);
        assert_eq!(access(&mut shadow, &order, 1, 4098, 2, true), None);
        assert!(access(&mut shadow, &order, 1, 4096, 4, false).is_some());
    }

    #[test]
    fn parts_remember_what_happened_to_the_whole() {
        let (mut shadow, order) = (Shadow::default(), Order::new(0, 3, true));
        assert_eq!(access(&mut shadow, &order, 0, 0, 4, false), None);
        assert_eq!(access(&mut shadow, &order, 1, 0, 4, false), None);
        let found = access(&mut shadow, &order, 2, 1, 1, true).unwrap();
        assert_eq!((found.place, found.wrote), (1, false));
        assert!(access(&mut shadow, &order, 0, 3, 1, true).is_some());
    }
}
