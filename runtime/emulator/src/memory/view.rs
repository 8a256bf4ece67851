//! Global memory as a wave of clusters sees it: itself, or as it was at a time, with what the wave wrote since over it.

use super::{Bytes, Global, PAGE, Pages};
use std::sync::Arc;

/// Global memory that a wave reads and writes.
pub(crate) struct View {
    base: Base,
    /// Pages that were written, by their number: the memory beneath does not change.
    pages: Pages<Page>,
}

enum Base {
    Own(Global),
    Shared(Arc<Global>),
}

struct Page {
    bytes: Bytes,
    /// Which of them were written over those beneath.
    is_dirty: Vec<bool>,
}

/// What a view has written that did not change the memory beneath it.
pub(crate) struct Dirty(Pages<Page>);

impl View {
    /// Memory itself, until [`ends`](Self::ends).
    pub fn of(memory: Global) -> Self {
        Self {
            base: Base::Own(memory),
            pages: Pages::default(),
        }
    }

    /// Memory that stays as it is.
    pub fn ahead(memory: Arc<Global>) -> Self {
        Self {
            base: Base::Shared(memory),
            pages: Pages::default(),
        }
    }

    /// The memory that it was of, if it was of memory itself.
    pub fn ends(self) -> Option<Global> {
        match self.base {
            Base::Own(memory) => Some(memory),
            Base::Shared(_) => None,
        }
    }

    /// What was written, where memory stayed as it is.
    pub fn written(self) -> Dirty {
        Dirty(self.pages)
    }

    fn base(&self) -> &Global {
        match &self.base {
            Base::Own(memory) => memory,
            Base::Shared(memory) => memory,
        }
    }

    /// Whether so many bytes are of one allocation.
    pub fn holds(&self, address: u64, size: u64) -> bool {
        self.base().holds(address, size)
    }

    /// Up to eight bytes as a number, and whether all are written; `None` outside of an allocation.
    pub fn read(&self, address: u64, size: usize) -> Option<(u64, bool)> {
        if let Some((values, written)) = self.stretch(address, size as u64) {
            let is_written = written.iter().all(|&written| written);
            return Some((super::number(values), is_written));
        }
        self.part(address, size)?.read(0, size)
    }

    pub fn write(&mut self, address: u64, size: usize, value: u64, written: bool) -> Option<()> {
        if let Some((values, is_written)) = self.stretch_mut(address, size as u64) {
            super::put_number(values, value);
            is_written.fill(written);
            return Some(());
        }
        let mut bytes = Bytes::unwritten(size);
        bytes.write(0, size, value, written)?;
        self.put(address, &bytes)
    }

    /// A stretch of an allocation; `None` where no one place holds all of it, too.
    pub fn stretch(&self, address: u64, size: u64) -> Option<(&[u8], &[bool])> {
        if self.pages.is_empty() {
            return self.base().stretch(address, size);
        }
        let (first, last) = (address / PAGE, address.checked_add(size.max(1) - 1)? / PAGE);
        match self.pages.get(&first) {
            Some(page) if first == last => {
                let within = self.base().holds(address, size);
                let stretch = || page.bytes.stretch((address % PAGE) as usize, size as usize);
                within.then(stretch).flatten()
            }
            _ if (first..=last).any(|page| self.pages.contains_key(&page)) => None,
            _ => self.base().stretch(address, size),
        }
    }

    /// As [`stretch`](Self::stretch), all of which is written.
    pub fn stretch_mut(&mut self, address: u64, size: u64) -> Option<(&mut [u8], &mut [bool])> {
        let base = match &mut self.base {
            Base::Own(memory) => return memory.stretch_mut(address, size),
            Base::Shared(memory) => memory,
        };
        if address % PAGE + size > PAGE || !base.holds(address, size) {
            return None;
        }
        let page = self.pages.entry(address / PAGE);
        let page = page.or_insert_with(|| Page::of(base, address / PAGE));
        let (begin, size) = ((address % PAGE) as usize, size as usize);
        page.is_dirty[begin..begin + size].fill(true);
        page.bytes.stretch_mut(begin, size)
    }

    /// A part of an allocation.
    pub fn part(&self, address: u64, size: usize) -> Option<Bytes> {
        let mut part = self.base().part(address, size)?;
        if self.pages.is_empty() {
            return Some(part);
        }
        for (at, size) in pieces(address, size as u64) {
            if let Some(page) = self.pages.get(&(at / PAGE)) {
                let piece = page.bytes.part((at % PAGE) as usize, size as usize)?;
                part.put((at - address) as usize, &piece)?;
            }
        }
        Some(part)
    }

    /// Writes a part of an allocation.
    pub fn put(&mut self, address: u64, bytes: &Bytes) -> Option<()> {
        if let Base::Own(memory) = &mut self.base {
            return memory.put(address, bytes);
        }
        if !self.holds(address, bytes.len() as u64) {
            return None;
        }
        for (at, size) in pieces(address, bytes.len() as u64) {
            let (own_values, own_written) =
                bytes.stretch((at - address) as usize, size as usize)?;
            let (values, written) = self.stretch_mut(at, size)?;
            values.copy_from_slice(own_values);
            written.copy_from_slice(own_written);
        }
        Some(())
    }
}

impl Page {
    fn of(memory: &Global, number: u64) -> Self {
        Self {
            bytes: memory.page(number * PAGE, PAGE as usize),
            is_dirty: vec![false; PAGE as usize],
        }
    }
}

impl Global {
    /// Writes what a view has written.
    pub(crate) fn put_dirty(&mut self, dirty: &Dirty) {
        for (number, page) in &dirty.0 {
            let mut begin = 0;
            while let Some(first) = page.is_dirty[begin..].iter().position(|&dirty| dirty) {
                let first = begin + first;
                let rest = page.is_dirty[first..].iter().position(|&dirty| !dirty);
                let end = rest.map_or(page.is_dirty.len(), |rest| first + rest);
                if let Some(part) = page.bytes.part(first, end - first) {
                    // What was written lies in an allocation: the view has looked.
                    let _ = self.put(number * PAGE + first as u64, &part);
                }
                begin = end;
            }
        }
    }
}

/// A stretch of memory cut where pages end.
fn pieces(address: u64, size: u64) -> impl Iterator<Item = (u64, u64)> {
    let end = address + size;
    let mut at = address;
    std::iter::from_fn(move || {
        let begin = at;
        at = end.min((begin / PAGE + 1) * PAGE);
        (begin < end).then_some((begin, at - begin))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(memory: &Global, address: u64, size: usize) -> Option<(u64, bool)> {
        memory.part(address, size)?.read(0, size)
    }

    #[test]
    fn what_is_written_ahead_is_seen_there_and_nowhere_else_before_it_is_put() {
        let mut memory = Global::new();
        let x = memory.allocate_with((0..=255).cycle().take(10_000).collect());
        let before = memory.clone();
        let mut view = View::ahead(Arc::new(before));
        // Over the end of a page: allocations begin at multiples of 256, pages at those of 1024.
        let at = (x + 5000) / PAGE * PAGE - 2;
        view.write(at, 4, 0xaabb_ccdd, true).unwrap();
        assert_eq!(view.read(at, 4), Some((0xaabb_ccdd, true)));
        assert_eq!(
            view.part(at - 1, 6).unwrap().read(1, 4),
            Some((0xaabb_ccdd, true))
        );
        assert!(view.stretch(at, 4).is_none());
        assert_eq!(view.read(x + 10_000, 1), None);
        assert_eq!(view.write(x + 9_998, 4, 0, true), None);
        assert_ne!(read(&memory, at, 4).unwrap().0, 0xaabb_ccdd);
        view.write(at, 4, 0xaabb_ccdd, false).unwrap();
        let dirty = view.written();
        memory.write(at + 4, 1, 7, true);
        memory.put_dirty(&dirty);
        assert_eq!(read(&memory, at, 4), Some((0xaabb_ccdd, false)));
        assert_eq!(read(&memory, at + 4, 1), Some((7, true)));
    }
}
