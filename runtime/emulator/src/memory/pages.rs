//! Pages by their numbers.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Bytes of a page. No two allocations are as near to each other as that. Small, since CTAs far from each other share waves.
pub(crate) const PAGE: u64 = 1024;

/// Something for each page, by its number.
pub(crate) type Pages<T> = HashMap<u64, T, BuildHasherDefault<Mix>>;

/// A hash of a number that nobody chooses to harm us: its bits, multiplied.
#[derive(Default)]
pub(crate) struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        let mixed = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ mixed >> 32;
    }
}
