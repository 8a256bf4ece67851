//! Who read and wrote a memory last: races are found here.
//!
//! A cell remembers the last write and the reads since that are not ordered before another one (C. Flanagan, S. Freund,
//! "FastTrack", PLDI 2009). A row of 128 bytes, which is what a warp mostly accesses at once, has one cell; one that is accessed
//! in parts has a cell for each piece of sixteen bytes, which is what a lane accesses at most, such a piece one for each word
//! of four, and such a word one for each byte. What is written as a whole has one cell again.

mod waves;

use super::order::{self, Agent, Audience, FencedMemory, Knowledge};
use crate::instruction::ThreadScope;
use crate::memory::{PAGE, Pages};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// When and where an access was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub agent: Agent,
    /// 0 is no access. The two highest bits are the scope of a strong one, which is an atomic, a volatile one or a relaxed
    /// one, and one more.
    clock: u32,
    /// The line in the module's text. Its highest bit is that of a write among what else must be followed, the next one that of
    /// a read of what the kernel must not write.
    line: u32,
}

/// Bits of a clock beneath those of the scope.
const CLOCK_BITS: u32 = 30;
/// The bit of a line that says the access wrote.
const WROTE: u32 = 1 << 31;
/// The bit of a line that says the access was `ld.global.nc`.
const CONSTANT: u32 = 1 << 30;

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

    /// 0 of a weak access; of a strong one the more, the wider its scope is.
    fn strength(self) -> u32 {
        self.clock >> CLOCK_BITS
    }

    pub fn line(self) -> u32 {
        self.line & !(WROTE | CONSTANT)
    }

    /// Of a read by `ld.global.nc`.
    pub fn of_a_constant(self) -> Self {
        Self {
            line: self.line | CONSTANT,
            ..self
        }
    }

    fn is_of_a_constant(self) -> bool {
        self.line & CONSTANT != 0
    }

    /// Of a write, as one of what else must be followed.
    fn of_a_write(self) -> Self {
        Self {
            line: self.line | WROTE,
            ..self
        }
    }

    fn wrote(self) -> bool {
        self.line & WROTE != 0
    }

    fn strong(self) -> Option<ThreadScope> {
        let scope = self.strength().checked_sub(1)?;
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
    pub proxy: Proxy,
}

/// The way that an access of memory takes (PTX ISA 8.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proxy {
    Generic,
    /// That of asynchronous copies and products, in a memory.
    Asynchronous(FencedMemory),
    /// That by which copies of tensors read the map at an address of global memory.
    TensorMap(u64),
    /// That of `ld.global.nc`, to which all that any thread of the kernel writes may be unknown (PTX ISA 9.7.9.8).
    Constant,
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
        if earlier.clock == 0 || (earlier.agent == self.stamp.agent && self.proxy == Proxy::Generic)
        {
            return Ok(());
        }
        if self.proxy == Proxy::Constant {
            return match writes {
                true => Err(Missing::Constancy),
                false => Ok(()),
            };
        }
        let strong = earlier.strong().zip(self.stamp.strong());
        if strong.is_some_and(|(a, b)| a.min(b) >= self.scope_with(earlier.agent)) {
            return Ok(());
        }
        if !self.knows.covers(earlier.agent, earlier.clock()) {
            return Err(Missing::Order);
        }
        if !writes || !order::is_generic(earlier.agent, self.warps) {
            return Ok(());
        }
        let (agent, clock) = (earlier.agent, earlier.clock());
        match self.proxy {
            Proxy::Asynchronous(memory) if !self.knows.covers_fenced(agent, clock, memory) => {
                Err(Missing::ProxyFence)
            }
            Proxy::TensorMap(map) if !self.knows.covers_map(agent, clock, map) => {
                Err(Missing::TensorMapFence)
            }
            _ => Ok(()),
        }
    }

    /// What an earlier access that is no last write lacks to be followed.
    fn finds(&self, earlier: Stamp) -> Option<Found> {
        if earlier.is_of_a_constant() {
            return Some((earlier, false, Missing::Constancy));
        }
        let wrote = earlier.wrote();
        let missing = self.follows(earlier, wrote).err()?;
        Some((earlier, wrote, missing))
    }

    /// Whether whoever follows the own read follows an earlier one too: it comes before, and no less may meet it.
    fn stands_for(&self, earlier: Stamp) -> bool {
        let own = self.stamp;
        own.strength() <= earlier.strength()
            && !earlier.wrote()
            && (own.is_of_a_constant() || !earlier.is_of_a_constant())
            && (earlier.agent == own.agent || self.knows.covers(earlier.agent, earlier.clock()))
    }
}

/// What is missing between two accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    Order,
    ProxyFence,
    TensorMapFence,
    /// One reads what the kernel must not write at all.
    Constancy,
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

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cell {
    write: Stamp,
    /// A read since, or an access that a stronger write does not stand for: what may meet the write may not meet it.
    read: Stamp,
}

/// As the agent of a write: that the row's pieces, or the quarters of a piece or word, have cells of their own; the clock is the
/// number of those of quarters. As that of a read: that there are several, whose list's number is its clock.
const MANY: Agent = Agent::MAX;

impl Cell {
    /// What it becomes by an access that follows what it knows.
    fn behind(self, writes: bool, own: Stamp) -> Self {
        let (write, read) = if writes {
            (own, Stamp::default())
        } else {
            (self.write, own)
        };
        Self { write, read }
    }

    /// So many cells that know what it does.
    fn copies<const COUNT: usize>(self, reads: &mut Reads) -> [Self; COUNT] {
        let mut cells = [self; COUNT];
        if self.read.agent == MANY {
            for cell in &mut cells[1..] {
                cell.read.clock = reads.copy(self.read.clock);
            }
        }
        cells
    }

    #[inline]
    fn access(&mut self, writes: bool, by: &Accessor<'_>, reads: &mut Reads) -> Option<Found> {
        if writes {
            self.writes(by, reads)
        } else {
            self.reads(by, reads)
        }
    }

    #[inline]
    fn reads(&mut self, by: &Accessor<'_>, reads: &mut Reads) -> Option<Found> {
        let found = by.follows(self.write, true).err();
        let mut found = found.map(|missing| (self.write, true, missing));
        let own = by.stamp;
        if self.read.agent == MANY {
            let mut list = reads.list(self.read.clock);
            let finds = |&earlier: &Stamp| by.finds(earlier).filter(|_| earlier.wrote());
            found = found.or_else(|| list.find_map(finds));
            drop(list);
            reads.add(self.read.clock, own);
        } else if self.read.clock == 0 || by.stands_for(self.read) {
            self.read = own;
        } else {
            if self.read.wrote() {
                found = found.or_else(|| by.finds(self.read));
            }
            self.read = reads.several(&[self.read, own]);
        }
        found
    }

    #[inline]
    fn writes(&mut self, by: &Accessor<'_>, reads: &mut Reads) -> Option<Found> {
        let found = by.follows(self.write, true).err();
        let mut found = found.map(|missing| (self.write, true, missing));
        if self.read.agent == MANY {
            let mut earlier = reads.list(self.read.clock);
            found = found.or_else(|| earlier.find_map(|&earlier| by.finds(earlier)));
        } else {
            found = found.or_else(|| by.finds(self.read));
        }
        let weaker = self.weaker(by.stamp, reads);
        if self.read.agent == MANY {
            reads.free(self.read.clock);
        }
        *self = self.behind(true, by.stamp);
        if !weaker.is_empty() {
            self.read = reads.several(&weaker);
        }
        found
    }

    /// Earlier accesses that are weaker than a write: what may meet it may not meet them.
    fn weaker(&self, write: Stamp, reads: &Reads) -> Vec<Stamp> {
        let strength = write.strength();
        if strength == 0 {
            return Vec::new();
        }
        let is_weaker = |earlier: &Stamp| earlier.clock != 0 && earlier.strength() < strength;
        let last = Some(self.write.of_a_write()).filter(is_weaker);
        if self.read.agent == MANY {
            let list = reads.list(self.read.clock).copied();
            return last.into_iter().chain(list.filter(is_weaker)).collect();
        }
        let other = Some(self.read).filter(is_weaker);
        last.into_iter().chain(other).collect()
    }
}

/// Reads of cells that several agents read.
#[derive(Default)]
struct Reads {
    lists: Vec<List>,
    free: Vec<u32>,
}

/// Reads of one cell, two at least.
struct List {
    first: [Stamp; 2],
    more: Vec<Stamp>,
}

impl List {
    fn iter(&self) -> impl Iterator<Item = &Stamp> {
        self.first.iter().chain(&self.more)
    }
}

impl Reads {
    fn list(&self, index: u32) -> impl Iterator<Item = &Stamp> {
        self.lists[index as usize].iter()
    }

    fn add(&mut self, index: u32, stamp: Stamp) {
        let List { first, more } = &mut self.lists[index as usize];
        let mut all = first.iter_mut().chain(&mut *more);
        let is_stood_for = |own: &&mut Stamp| {
            own.agent == stamp.agent
                && !own.wrote()
                && stamp.strength() <= own.strength()
                && (stamp.is_of_a_constant() || !own.is_of_a_constant())
        };
        match all.find(is_stood_for) {
            Some(own) => *own = stamp,
            None => more.push(stamp),
        }
    }

    /// What stands for some accesses.
    fn several(&mut self, stamps: &[Stamp]) -> Stamp {
        let [first, second, more @ ..] = stamps else {
            return stamps.first().copied().unwrap_or_default();
        };
        let clock = self.new_list(*first, *second);
        self.lists[clock as usize].more.extend(more);
        Stamp {
            agent: MANY,
            clock,
            line: 0,
        }
    }

    fn new_list(&mut self, first: Stamp, second: Stamp) -> u32 {
        let first = [first, second];
        match self.free.pop() {
            Some(index) => {
                let list = &mut self.lists[index as usize];
                list.first = first;
                list.more.clear();
                index
            }
            None => {
                let more = Vec::new();
                self.lists.push(List { first, more });
                self.lists.len() as u32 - 1
            }
        }
    }

    /// Another list of the same reads.
    fn copy(&mut self, index: u32) -> u32 {
        let List { first, ref more } = self.lists[index as usize];
        let more = more.clone();
        let copy = self.new_list(first[0], first[1]);
        self.lists[copy as usize].more = more;
        copy
    }

    fn free(&mut self, index: u32) {
        self.free.push(index);
    }
}

/// Cells of the quarters of pieces and words.
#[derive(Default)]
struct Quarters {
    cells: Vec<[Cell; 4]>,
    free: Vec<u32>,
}

impl Quarters {
    fn of(&self, whole: &Cell) -> &[Cell; 4] {
        &self.cells[whole.write.clock as usize]
    }

    fn of_mut(&mut self, whole: &Cell) -> &mut [Cell; 4] {
        &mut self.cells[whole.write.clock as usize]
    }

    /// What stands for a whole whose quarters have these cells.
    fn keep(&mut self, cells: [Cell; 4]) -> Cell {
        let index = match self.free.pop() {
            Some(index) => {
                self.cells[index as usize] = cells;
                index
            }
            None => {
                self.cells.push(cells);
                self.cells.len() as u32 - 1
            }
        };
        let write = Stamp {
            agent: MANY,
            clock: index,
            line: 0,
        };
        Cell {
            write,
            read: Stamp::default(),
        }
    }
}

/// What cells stand for that is not in them.
#[derive(Default)]
struct Kept {
    quarters: Quarters,
    reads: Reads,
}

/// Bytes of a row.
const ROW: usize = 128;
/// Bytes of a piece: a word of each of four quarters.
const PIECE: usize = 16;
/// Pieces of a row.
const PIECES: usize = ROW / PIECE;
/// Rows of a page.
const ROWS: usize = PAGE as usize / ROW;

/// The cells of a page.
#[derive(Default)]
struct Page {
    rows: [Cell; ROWS],
    /// Of rows whose pieces have cells of their own; else they mean nothing.
    pieces: Option<Box<[[Cell; PIECES]; ROWS]>>,
}

impl Page {
    /// An access of some bytes: the first conflict, and where it is.
    fn access(
        &mut self,
        bytes: Range<usize>,
        writes: bool,
        by: &Accessor<'_>,
        kept: &mut Kept,
    ) -> Option<(usize, Found)> {
        let mut first = None;
        for piece in cut(bytes.start as u64..bytes.end as u64, ROW as u64) {
            let (at, to) = (piece.start as usize, piece.end as usize);
            let begin = at / ROW * ROW;
            let found = self.access_row(at / ROW, at - begin..to - begin, writes, by, kept);
            first = first.or(found.map(|(place, found)| (begin + place, found)));
        }
        first
    }

    /// An access of some bytes of a row: the first conflict, and where in the row it is.
    #[inline]
    fn access_row(
        &mut self,
        row: usize,
        bytes: Range<usize>,
        writes: bool,
        by: &Accessor<'_>,
        kept: &mut Kept,
    ) -> Option<(usize, Found)> {
        let is_whole = bytes.len() == ROW;
        let own = &mut self.rows[row];
        if is_whole && own.write.agent != MANY {
            let found = own.access(writes, by, &mut kept.reads);
            return found.map(|found| (0, found));
        }
        let found = in_row(self.pieces(row, kept), bytes, writes, by, kept);
        if is_whole && writes && by.stamp.strength() == 0 {
            // All pieces have the same past again, which is this write.
            self.rows[row] = Cell::default().behind(true, by.stamp);
        }
        found
    }

    /// The cells of a row's pieces, which from now on know what the row knew.
    fn pieces(&mut self, row: usize, kept: &mut Kept) -> &mut [Cell; PIECES] {
        let pieces = self.pieces.get_or_insert_default();
        let own = &mut self.rows[row];
        if own.write.agent != MANY {
            pieces[row] = std::mem::take(own).copies(&mut kept.reads);
            own.write.agent = MANY;
        }
        &mut pieces[row]
    }
}

/// The cells of a memory, made as they are needed.
#[derive(Default)]
pub(crate) struct Shadow {
    numbers: Pages<usize>,
    pages: Vec<Page>,
    /// The page that was looked for last.
    last: Option<(u64, usize)>,
    kept: Kept,
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
            pages.push(Page::default());
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
        let mut first = None;
        let in_row = (place % ROW as u64) as usize;
        if in_row as u64 + bytes <= ROW as u64 {
            // Most accesses are of a row.
            let page = self.page(place / PAGE);
            let row = (place % PAGE) as usize / ROW;
            let bytes = in_row..in_row + bytes as usize;
            let found = self.pages[page].access_row(row, bytes, writes, by, &mut self.kept);
            first = found.map(|(own, found)| (place - in_row as u64 + own as u64, found));
        } else {
            for piece in cut(place..place.saturating_add(bytes), PAGE) {
                let page = self.page(piece.start / PAGE);
                let begin = piece.start & !(PAGE - 1);
                let bytes = (piece.start - begin) as usize..(piece.end - begin) as usize;
                let found = self.pages[page].access(bytes, writes, by, &mut self.kept);
                first = first.or(found.map(|(own, found)| (begin + own as u64, found)));
            }
        }
        first.map(|(place, (earlier, wrote, missing))| Conflict {
            place,
            earlier,
            wrote,
            missing,
        })
    }
}

/// A stretch of memory cut where pieces of a size end.
fn cut(bytes: Range<u64>, size: u64) -> impl Iterator<Item = Range<u64>> {
    let mut at = bytes.start;
    std::iter::from_fn(move || {
        let begin = at;
        at = bytes.end.min((begin / size * size).saturating_add(size));
        (begin < bytes.end).then_some(begin..at)
    })
}

/// An access of some bytes of a row whose pieces have cells: the first conflict, and where it is.
fn in_row(
    row: &mut [Cell; PIECES],
    bytes: Range<usize>,
    writes: bool,
    by: &Accessor<'_>,
    kept: &mut Kept,
) -> Option<(usize, Found)> {
    let mut first = None;
    let mut at = bytes.start;
    while at < bytes.end {
        let (from, piece) = (at, at / PIECE);
        let count = (bytes.end - at) / PIECE;
        let found = if at.is_multiple_of(PIECE) && count == 1 {
            at += PIECE;
            whole(&mut row[piece], PIECE, writes, by, kept)
        } else if at.is_multiple_of(PIECE) && count > 1 {
            at += PIECE * count;
            pieces(&mut row[piece..piece + count], writes, by, kept)
        } else {
            at = bytes.end.min(PIECE * (piece + 1));
            let own = from - PIECE * piece..at - PIECE * piece;
            let found = in_quarters(&mut row[piece], PIECE, own, writes, by, kept);
            found.map(|(place, found)| (place + PIECE * piece - from, found))
        };
        first = first.or(found.map(|(place, found)| (from + place, found)));
    }
    first
}

/// An access of whole pieces: the first conflict, and which byte has it.
///
/// Neighbours mostly have the same past. So what the access was once found to follow is not asked for again.
fn pieces(
    cells: &mut [Cell],
    writes: bool,
    by: &Accessor<'_>,
    kept: &mut Kept,
) -> Option<(usize, Found)> {
    let mut first = None;
    // A write that comes before, and a read that does or that the own one replaces. What never was comes before everything.
    let mut past = Cell::default();
    let mut present = Cell::default().behind(writes, by.stamp);
    for (number, cell) in cells.iter_mut().enumerate() {
        if *cell == past {
            *cell = present;
            continue;
        }
        let before = *cell;
        let found = whole(cell, PIECE, writes, by, kept);
        // Pieces do not share what is kept of their quarters and of several reads.
        let is_plain = before.write.agent != MANY && before.read.agent != MANY;
        let after = before.behind(writes, by.stamp);
        if found.is_none() && is_plain && *cell == after {
            past = before;
            present = after;
        }
        first = first.or(found.map(|(byte, found)| (PIECE * number + byte, found)));
    }
    first
}

/// An access of a whole piece, word or byte of so many bytes: the first conflict, and which byte has it.
#[inline]
fn whole(
    cell: &mut Cell,
    size: usize,
    writes: bool,
    by: &Accessor<'_>,
    kept: &mut Kept,
) -> Option<(usize, Found)> {
    if cell.write.agent == MANY {
        return in_quarters(cell, size, 0..size, writes, by, kept);
    }
    let found = cell.access(writes, by, &mut kept.reads);
    found.map(|found| (0, found))
}

/// An access of some bytes of a piece or word of so many, by its quarters: the first conflict, and which byte has it.
fn in_quarters(
    cell: &mut Cell,
    size: usize,
    bytes: Range<usize>,
    writes: bool,
    by: &Accessor<'_>,
    kept: &mut Kept,
) -> Option<(usize, Found)> {
    if cell.write.agent != MANY {
        *cell = kept.quarters.keep(cell.copies(&mut kept.reads));
    }
    let is_whole = bytes == (0..size);
    let quarter = size / 4;
    let mut first = None;
    let mut at = bytes.start;
    while at < bytes.end {
        let (number, begin) = (at / quarter, at / quarter * quarter);
        let own = at - begin..bytes.end.min(begin + quarter) - begin;
        at = begin + own.end;
        let mut part = kept.quarters.of(cell)[number];
        let found = match own.len() == quarter {
            true => whole(&mut part, quarter, writes, by, kept),
            false => in_quarters(&mut part, quarter, own, writes, by, kept),
        };
        kept.quarters.of_mut(cell)[number] = part;
        first = first.or(found.map(|(byte, found)| (begin + byte, found)));
    }
    let [one, others @ ..] = kept.quarters.of(cell);
    let is_plain = one.write.agent != MANY && one.read.agent != MANY;
    if writes && is_whole && is_plain && others.iter().all(|other| other == one) {
        // All quarters have the same past again, which is this write.
        let index = cell.write.clock;
        *cell = *one;
        kept.quarters.free.push(index);
    }
    first
}

#[cfg(test)]
mod tests;
