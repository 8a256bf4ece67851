//! How elements are rounded, and the random words that takes.

use super::elements::Element;
use super::vector::{LANES, Vector, interleaved};
use crate::RandomStream;
use crate::philox::{KEY_INCREMENTS, MULTIPLIERS, ROUNDS};

/// The numbers in storage of sixteen groups: `run` of them `minor` apart, a power of two, then as many `major` after these.
#[derive(Clone, Copy)]
pub(super) struct Numbers {
    pub first: u64,
    pub minor: u64,
    pub run: usize,
    pub major: u64,
}

impl Numbers {
    #[inline(always)]
    pub fn lanes(self) -> [u64; LANES] {
        let shift = self.run.trailing_zeros();
        let mut numbers = [0; LANES];
        for (lane, number) in numbers.iter_mut().enumerate() {
            let (major, minor) = (lane as u64 >> shift, lane as u64 & (self.run as u64 - 1));
            *number = self.first + major * self.major + minor * self.minor;
        }
        numbers
    }
}

/// How elements are rounded.
pub(super) trait Round: Copy {
    /// What is drawn once for sixteen groups.
    type Drawn<V: Vector>;
    /// Draws for sixteen groups.
    fn draw<V: Vector>(&self, numbers: Numbers) -> Self::Drawn<V>;
    /// The codes of the elements of one group; whether they are [small](Vector::are_small) is known.
    fn along<V: Vector, E: Element, const SMALL: bool>(
        drawn: &Self::Drawn<V>,
        group: usize,
        scaled: V,
    ) -> V;
    /// The codes of one element of every group.
    fn across<V: Vector, E: Element, const SMALL: bool>(
        drawn: &Self::Drawn<V>,
        element: usize,
        scaled: V,
    ) -> V;
}

#[derive(Clone, Copy)]
pub(super) struct Nearest;

impl Round for Nearest {
    type Drawn<V: Vector> = ();

    #[inline(always)]
    fn draw<V: Vector>(&self, _numbers: Numbers) {}

    #[inline(always)]
    fn along<V: Vector, E: Element, const SMALL: bool>((): &(), _group: usize, scaled: V) -> V {
        if SMALL {
            scaled.encode_small::<E>()
        } else {
            scaled.encode_nearest::<E>()
        }
    }

    #[inline(always)]
    fn across<V: Vector, E: Element, const SMALL: bool>((): &(), _element: usize, scaled: V) -> V {
        if SMALL {
            scaled.encode_small::<E>()
        } else {
            scaled.encode_nearest::<E>()
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Stochastic {
    stream: RandomStream,
    keys: Keys,
}

impl Stochastic {
    pub fn new(stream: RandomStream) -> Self {
        let keys = Keys::new(stream.seed);
        Self { stream, keys }
    }
}

/// The random words of sixteen groups, by word and by group.
pub(super) struct Drawn<V> {
    words: [V; 4],
    groups: [[u32; 4]; LANES],
}

impl Round for Stochastic {
    type Drawn<V: Vector> = Drawn<V>;

    #[inline(always)]
    fn draw<V: Vector>(&self, numbers: Numbers) -> Drawn<V> {
        let words = random_words::<V>(self.stream, &self.keys, &numbers.lanes());
        let groups = V::interleave(&words);
        Drawn { words, groups }
    }

    #[inline(always)]
    fn along<V: Vector, E: Element, const SMALL: bool>(
        drawn: &Drawn<V>,
        group: usize,
        scaled: V,
    ) -> V {
        scaled.encode_stochastic::<E>(V::of_bytes(&drawn.groups[interleaved(group)]))
    }

    #[inline(always)]
    fn across<V: Vector, E: Element, const SMALL: bool>(
        drawn: &Drawn<V>,
        element: usize,
        scaled: V,
    ) -> V {
        let words = drawn.words[element / 4];
        let moved = match element % 4 {
            0 => words,
            1 => words.shift_right(8),
            2 => words.shift_right(16),
            _ => words.shift_right(24),
        };
        scaled.encode_stochastic::<E>(moved.and(V::splat(0xff)))
    }
}

/// A stream's keys of every round.
#[derive(Clone, Copy)]
pub(super) struct Keys([[u32; 2]; ROUNDS]);

impl Keys {
    pub fn new(seed: u64) -> Self {
        let mut keys = [[0; 2]; ROUNDS];
        let mut key = [seed as u32, (seed >> 32) as u32];
        for place in &mut keys {
            *place = key;
            for (key, increment) in key.iter_mut().zip(KEY_INCREMENTS) {
                *key = key.wrapping_add(increment);
            }
        }
        Self(keys)
    }
}

/// The four random words of each of sixteen blocks of elements: [`RandomStream::words`].
///
/// Products are of the even lanes, 64 bits each, so that the odd lanes' words take turns of their own; what is in the upper
/// halves of a state does not matter.
#[inline(always)]
pub(super) fn random_words<V: Vector>(
    stream: RandomStream,
    keys: &Keys,
    blocks: &[u64; LANES],
) -> [V; 4] {
    let [mut low, mut high] = [[0; LANES]; 2];
    for lane in 0..LANES {
        low[lane] = blocks[lane] as u32;
        high[lane] = (blocks[lane] >> 32) as u32;
    }
    let (low, high) = (V::of_words(&low), V::of_words(&high));
    let (step, site) = (V::splat(stream.step), V::splat(stream.site));
    let mut even = [low, high, step, site];
    let mut odd = [low.upper_halves(), high.upper_halves(), step, site];
    for key in &keys.0 {
        even = V::philox_round(even, *key);
        odd = V::philox_round(odd, *key);
    }
    [
        even[0].with_odd(odd[0]),
        even[1].with_odd(odd[1]),
        even[2].with_odd(odd[2]),
        even[3].with_odd(odd[3]),
    ]
}

/// A round of Philox-4x32 on the even lanes.
#[inline(always)]
pub(super) fn philox_round<V: Vector>(state: [V; 4], key: [u32; 2]) -> [V; 4] {
    let first = state[0].mul_even(MULTIPLIERS[0]);
    let second = state[2].mul_even(MULTIPLIERS[1]);
    [
        second.upper_halves().xor(state[1]).xor(V::splat(key[0])),
        second,
        first.upper_halves().xor(state[3]).xor(V::splat(key[1])),
        first,
    ]
}
