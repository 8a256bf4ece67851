//! What a grid did, in the figures that a roofline needs.

use std::collections::BTreeMap;

/// Figures of a grid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Instructions that warps executed, by class in the order of [`Class::ALL`].
    pub instructions: [u64; Class::ALL.len()],
    /// Bytes of global memory.
    pub global: Traffic,
    /// Stretches of 32 bytes, each at a multiple of 32, that warps' accesses of global memory touch: what the caches are asked
    /// for. An access touches each stretch once, however many lanes do.
    pub global_sectors: u64,
    /// Bytes of shared memory, that of a cluster's other CTAs too.
    pub shared: Traffic,
    /// Rounds that the banks of shared memory need for warps' accesses.
    pub shared_wavefronts: u64,
    /// Those of them that are there because lanes ask one bank for different words.
    pub bank_conflicts: u64,
    /// Bytes of local memory.
    pub local: Traffic,
    /// Bytes of constant memory.
    pub constant: Traffic,
    /// Bytes of parameters.
    pub parameter: Traffic,
    /// Bytes of tensor memory: whole columns of lanes, scales in each of the four copies that are read.
    pub tensor: Traffic,
    /// Multiply-adds of matrix instructions, by what they multiply.
    pub multiply_adds: BTreeMap<MatrixKind, u64>,
    /// Numbers of block-scaled FP4 products that the published models of hardware do not agree on: whoever compares bits with
    /// hardware cannot expect these.
    pub model_dependent: u64,
}

/// Matrix instructions that the hardware has one rate for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MatrixKind {
    /// `mma`, `wgmma` or `tcgen05.mma`.
    pub instruction: &'static str,
    /// `.kind`, of instructions that have one.
    pub kind: Option<&'static str>,
    /// The types of A and B.
    pub types: [&'static str; 2],
}

impl std::fmt::Display for MatrixKind {
    /// As PTX writes it: `mma.kind::mxf4.e2m1.e2m1`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.instruction)?;
        if let Some(kind) = self.kind {
            write!(f, ".kind::{kind}")?;
        }
        let [a, b] = self.types;
        write!(f, ".{a}.{b}")
    }
}

/// Bytes that lanes and asynchronous copies asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Read.
    pub read: u64,
    /// Written.
    pub written: u64,
}

/// A class of instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Functions of each lane's values.
    Arithmetic,
    /// Loads, stores, atomics, and fragments to and from shared memory.
    Memory,
    /// Branches, calls and returns.
    Control,
    /// Barriers and fences.
    Synchronisation,
    /// Values of other lanes.
    Exchange,
    /// Products of matrices.
    Matrix,
    /// Copies that are done beside the warp.
    Copy,
}

impl Class {
    /// Every class, in the order of its declaration.
    pub const ALL: [Self; 7] = [
        Self::Arithmetic,
        Self::Memory,
        Self::Control,
        Self::Synchronisation,
        Self::Exchange,
        Self::Matrix,
        Self::Copy,
    ];

    /// The class's word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Arithmetic => "arithmetic",
            Self::Memory => "memory",
            Self::Control => "control",
            Self::Synchronisation => "synchronisation",
            Self::Exchange => "exchange",
            Self::Matrix => "matrix",
            Self::Copy => "copy",
        }
    }
}

/// Banks of shared memory.
const BANKS: usize = 32;
/// Bytes of a bank's word.
const WORD: u64 = 4;
/// Bytes of a sector of global memory.
const SECTOR: u64 = 32;

impl Counts {
    /// Adds what another part of the grid did.
    pub(crate) fn add(&mut self, other: &Self) {
        for (own, other) in self.instructions.iter_mut().zip(other.instructions) {
            *own += other;
        }
        let traffics = [
            (&mut self.global, other.global),
            (&mut self.shared, other.shared),
            (&mut self.local, other.local),
            (&mut self.constant, other.constant),
            (&mut self.parameter, other.parameter),
            (&mut self.tensor, other.tensor),
        ];
        for (own, other) in traffics {
            own.read += other.read;
            own.written += other.written;
        }
        self.global_sectors += other.global_sectors;
        self.shared_wavefronts += other.shared_wavefronts;
        self.bank_conflicts += other.bank_conflicts;
        for (&kind, &count) in &other.multiply_adds {
            self.multiply(kind, count);
        }
        self.model_dependent += other.model_dependent;
    }

    /// Counts multiply-adds.
    pub(crate) fn multiply(&mut self, kind: MatrixKind, count: u64) {
        *self.multiply_adds.entry(kind).or_default() += count;
    }

    /// Multiply-adds of all matrix instructions.
    pub fn all_multiply_adds(&self) -> u64 {
        self.multiply_adds.values().sum()
    }

    /// Counts an access of global memory by lanes, `bytes` each.
    pub(crate) fn global(&mut self, places: &[u64], bytes: u64, access: (bool, bool)) {
        self.global.count(places.len() as u64 * bytes, access);
        self.global_sectors += sectors(places, bytes);
    }

    /// As [`global`](Self::global), of one stretch, of which lanes ask for so many bytes, some of them more than once.
    pub(crate) fn global_together(
        &mut self,
        begin: u64,
        bytes: u64,
        asked: u64,
        access: (bool, bool),
    ) {
        self.global.count(asked, access);
        let end = begin.saturating_add(bytes);
        self.global_sectors += end.div_ceil(SECTOR) - begin / SECTOR;
    }

    /// As [`shared`](Self::shared), of lanes one behind the other or all at one place.
    pub(crate) fn shared_together(&mut self, lanes: u64, bytes: u64, access: (bool, bool)) {
        self.shared.count(lanes * bytes, access);
        self.shared_wavefronts += lanes.div_ceil(lanes_of_a_round(bytes));
    }

    /// Counts an access of shared memory by lanes, `bytes` each. A round of the banks serves 128 bytes: all lanes where they ask
    /// for a word or less, half of them where for two, a quarter where for four.
    pub(crate) fn shared(&mut self, places: &[u64], bytes: u64, access: (bool, bool)) {
        self.shared.count(places.len() as u64 * bytes, access);
        for places in places.chunks(lanes_of_a_round(bytes) as usize) {
            let rounds = match need_one_round(places, bytes) {
                true => 1,
                false => rounds(&distinct(places, bytes, WORD)),
            };
            self.shared_wavefronts += rounds;
            self.bank_conflicts += rounds - 1;
        }
    }
}

impl Traffic {
    /// Counts bytes that are read, written, or both.
    pub(crate) fn count(&mut self, bytes: u64, (reads, writes): (bool, bool)) {
        self.read += bytes * u64::from(reads);
        self.written += bytes * u64::from(writes);
    }
}

/// Lanes that a round of the banks can serve, of so many bytes each.
fn lanes_of_a_round(bytes: u64) -> u64 {
    (BANKS as u64 * WORD / bytes.max(WORD)).max(1)
}

/// How many sectors accesses touch.
fn sectors(places: &[u64], bytes: u64) -> u64 {
    let mut count = 0;
    // Of sectors that come one behind the other, as they mostly do, the first that is not counted.
    let mut next = 0;
    for &place in places {
        let (first, end) = (place / SECTOR, place.saturating_add(bytes).div_ceil(SECTOR));
        if first + 1 < next {
            return distinct(places, bytes, SECTOR).len() as u64;
        }
        count += end.saturating_sub(first.max(next));
        next = next.max(end);
    }
    count
}

/// Whether accesses, each of whole words, are clearly of banks of their own.
fn need_one_round(places: &[u64], bytes: u64) -> bool {
    if !bytes.is_multiple_of(WORD) || bytes > BANKS as u64 * WORD {
        return false;
    }
    let words = (bytes / WORD) as u32;
    let own = u32::MAX >> (32 - words);
    let mut seen = 0u32;
    places.iter().all(|place| {
        let banks = own.rotate_left((place / WORD % BANKS as u64) as u32);
        let is_alone = seen & banks == 0 && place.is_multiple_of(WORD);
        seen |= banks;
        is_alone
    })
}

/// The numbers of the units of memory that accesses touch, each once.
fn distinct(places: &[u64], bytes: u64, unit: u64) -> Vec<u64> {
    // An access of a warp touches one unit a lane, mostly.
    let mut units = Vec::with_capacity(places.len());
    let mut is_sorted = true;
    for &place in places {
        for touched in place / unit..place.saturating_add(bytes).div_ceil(unit) {
            match units.last() {
                Some(&last) if last == touched => continue,
                Some(&last) => is_sorted &= last < touched,
                None => {}
            }
            units.push(touched);
        }
    }
    if !is_sorted {
        units.sort_unstable();
        units.dedup();
    }
    units
}

/// The most words of one bank.
fn rounds(words: &[u64]) -> u64 {
    let mut banks = [0; BANKS];
    for word in words {
        banks[(word % BANKS as u64) as usize] += 1;
    }
    banks.into_iter().fold(1, u64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wavefronts and conflicts of 32 lanes, `stride` bytes apart.
    fn shared(stride: u64, bytes: u64) -> (u64, u64) {
        let mut counts = Counts::default();
        let places: Vec<u64> = (0..32).map(|lane| lane * stride).collect();
        counts.shared(&places, bytes, (true, false));
        (counts.shared_wavefronts, counts.bank_conflicts)
    }

    #[test]
    fn neighbours_and_one_word_for_all_need_one_round() {
        assert_eq!(shared(4, 4), (1, 0));
        assert_eq!(shared(0, 4), (1, 0));
        assert_eq!(shared(1, 1), (1, 0));
    }

    #[test]
    fn lanes_that_ask_a_bank_for_different_words_wait() {
        assert_eq!(shared(8, 4), (2, 1));
        assert_eq!(shared(128, 4), (32, 31));
        // A row of 33 words is what keeps a transpose free of conflicts.
        assert_eq!(shared(132, 4), (1, 0));
    }

    #[test]
    fn wide_accesses_are_served_in_parts() {
        assert_eq!(shared(8, 8), (2, 0));
        assert_eq!(shared(16, 16), (4, 0));
        // Rows of 128 bytes: eight lanes at a time, all on the same four banks.
        assert_eq!(shared(128, 16), (32, 28));
    }

    #[test]
    fn what_lies_together_is_counted_as_what_lies_apart() {
        for (bytes, begin, step) in [(4, 256, 4), (16, 48, 16), (1, 3, 1), (8, 64, 0), (4, 60, 0)] {
            let places: Vec<u64> = (0..32).map(|lane| begin + lane * step).collect();
            let (mut apart, mut together) = (Counts::default(), Counts::default());
            apart.global(&places, bytes, (true, false));
            apart.shared(&places, bytes, (true, false));
            let all = 31 * step + bytes;
            together.global_together(begin, all, 32 * bytes, (true, false));
            together.shared_together(32, bytes, (true, false));
            assert_eq!(apart, together);
        }
    }

    #[test]
    fn global_memory_is_asked_for_sectors() {
        let sectors = |stride: u64, bytes: u64| {
            let mut counts = Counts::default();
            let places: Vec<u64> = (0..32).map(|lane| 256 + lane * stride).collect();
            counts.global(&places, bytes, (false, true));
            (counts.global_sectors, counts.global.written)
        };
        assert_eq!(sectors(4, 4), (4, 128));
        assert_eq!(sectors(32, 4), (32, 128));
        assert_eq!(sectors(0, 4), (1, 128));
        assert_eq!(sectors(16, 16), (16, 512));
    }
}
