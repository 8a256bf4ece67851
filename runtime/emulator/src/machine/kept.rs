//! Fragments that were taken apart, kept for the products that they are in next: a tile of A meets every tile of columns of
//! B, and one of B every tile of rows, out of the same registers.

use crate::arithmetic::{block_scaled, dot};
use crate::instruction::Element;

/// Words of a fragment and of its scales, at most.
const WORDS: usize = 128 + 16 + 2;

/// What a fragment is: the words of its lines, and of their scales where these count.
#[derive(Clone, Copy)]
pub(crate) struct Fragment {
    words: [u32; WORDS],
    count: usize,
    element: Element,
}

impl Fragment {
    pub fn new(element: Element) -> Self {
        Self {
            words: [0; WORDS],
            count: 0,
            element,
        }
    }

    pub fn push(&mut self, words: impl IntoIterator<Item = u32>) {
        for word in words {
            self.words[self.count] = word;
            self.count += 1;
        }
    }

    pub fn words(&self) -> &[u32] {
        &self.words[..self.count]
    }

    fn is(&self, other: &Self) -> bool {
        self.element == other.element && self.words() == other.words()
    }
}

/// Fragments of a kind, by the first of the registers that they came from.
pub(crate) struct Kept<T> {
    /// None until there is one.
    places: Vec<Option<(Fragment, T)>>,
}

/// Fragments that are kept.
const PLACES: usize = 64;

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { places: Vec::new() }
    }
}

impl<T> Kept<T> {
    /// What a fragment is taken apart to.
    pub fn get(&mut self, register: u32, fragment: &Fragment, make: impl FnOnce() -> T) -> &T {
        if self.places.is_empty() {
            self.places.resize_with(PLACES, || None);
        }
        let place = &mut self.places[register as usize % PLACES];
        if !place.as_ref().is_some_and(|(known, _)| known.is(fragment)) {
            *place = None;
        }
        &place.get_or_insert_with(|| (*fragment, make())).1
    }
}

/// Rows of A and columns of B.
#[derive(Default)]
pub(crate) struct KeptFragments {
    pub rows: Kept<dot::Lines>,
    pub columns: Kept<dot::Columns>,
    pub rows_of_codes: Kept<block_scaled::Lines>,
    pub columns_of_codes: Kept<block_scaled::Columns>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(element: Element, words: &[u32]) -> Fragment {
        let mut fragment = Fragment::new(element);
        fragment.push(words.iter().copied());
        fragment
    }

    #[test]
    fn a_fragment_that_is_the_same_is_taken_apart_once() {
        let mut kept = Kept::default();
        let own = fragment(Element::F16, &[1, 2]);
        assert_eq!(*kept.get(7, &own, || 1), 1);
        assert_eq!(*kept.get(7, &own, || 2), 1);
    }

    #[test]
    fn other_words_types_and_registers_are_taken_apart_anew() {
        let mut kept = Kept::default();
        let own = fragment(Element::F16, &[1, 2]);
        kept.get(7, &own, || 1);
        assert_eq!(*kept.get(8, &own, || 2), 2);
        for (number, other) in [
            (3, fragment(Element::F16, &[1, 3])),
            (4, fragment(Element::F16, &[1, 2, 0])),
            (5, fragment(Element::Bf16, &[1, 2])),
        ] {
            assert_eq!(*kept.get(7, &other, || number), number);
        }
        // Registers so far apart share a place.
        assert_eq!(*kept.get(7 + PLACES as u32, &own, || 6), 6);
    }
}
