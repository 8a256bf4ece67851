//! Where the lanes of a warp access memory, and whether they do so together.

use super::lanes_of;
use crate::memory::address::Window;
use std::ops::Index;

/// The memory and the place in it where each active lane's bytes begin.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    of: [(Window, u64); 32],
    /// Bytes of each lane.
    pub bytes: u32,
    /// What the lanes' places make together, if anything.
    pub together: Option<Together>,
}

/// Places of lanes of which one description does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Together {
    pub window: Window,
    /// The first active lane's.
    pub begin: u64,
    /// Bytes of all.
    pub bytes: u64,
    /// From one active lane to the next: a lane's own bytes, so that they lie one behind the other, or nothing.
    pub step: u64,
}

impl Places {
    /// Places of the active lanes; those of the others mean nothing.
    pub fn new(of: [(Window, u64); 32], active: u32, bytes: u32) -> Self {
        Self {
            of,
            bytes,
            together: together(&of, active, u64::from(bytes)),
        }
    }

    /// Pairs of lanes, the lower one first, that have one place, one for each lane but a place's first.
    pub fn at_one_place(&self, active: u32) -> Vec<(u32, u32)> {
        let is_alone = active.count_ones() < 2;
        if is_alone || self.together.is_some_and(|together| together.step != 0) {
            return Vec::new();
        }
        let mut lanes: Vec<u32> = lanes_of(active).collect();
        let place = |&lane: &u32| self.of[lane as usize];
        if lanes.windows(2).all(|own| place(&own[0]) < place(&own[1])) {
            return Vec::new();
        }
        lanes.sort_by_key(|lane| (place(lane), *lane));
        let pairs = lanes.windows(2).map(|own| (own[0], own[1]));
        pairs
            .filter(|(first, second)| place(first) == place(second))
            .collect()
    }
}

impl Index<usize> for Places {
    type Output = (Window, u64);

    fn index(&self, lane: usize) -> &Self::Output {
        &self.of[lane]
    }
}

impl Together {
    /// The active lane whose bytes a place is among.
    pub fn lane(&self, active: u32, place: u64) -> u32 {
        let number = match self.step {
            0 => 0,
            step => place.saturating_sub(self.begin) / step,
        };
        lanes_of(active).nth(number as usize).unwrap_or(0)
    }
}

fn together(of: &[(Window, u64); 32], active: u32, bytes: u64) -> Option<Together> {
    if active == 0 {
        return None;
    }
    let first = active.trailing_zeros();
    let (window, begin) = of[first as usize];
    let rest = active & (active - 1);
    let step = match rest {
        0 => 0,
        _ if of[rest.trailing_zeros() as usize].1 == begin => 0,
        _ => bytes,
    };
    if active == u32::MAX {
        let last = begin.checked_add(32 * step)?;
        let is_next = |all, (own, next): (&(Window, u64), u64)| all & (*own == (window, next));
        let nexts = (0..32).map(|lane| begin + lane * step);
        return of
            .iter()
            .zip(nexts)
            .fold(true, is_next)
            .then_some(Together {
                window,
                begin,
                bytes: if step == 0 { bytes } else { last - begin },
                step,
            });
    }
    let mut next = begin;
    for lane in lanes_of(active) {
        if of[lane as usize] != (window, next) {
            return None;
        }
        next = next.checked_add(step)?;
    }
    Some(Together {
        window,
        begin,
        bytes: if step == 0 { bytes } else { next - begin },
        step,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(active: u32, place: impl Fn(u64) -> u64) -> Option<Together> {
        let of = std::array::from_fn(|lane| (Window::Shared, place(lane as u64)));
        Places::new(of, active, 4).together
    }

    #[test]
    fn lanes_one_behind_the_other_and_lanes_at_one_place() {
        let together = of(u32::MAX, |lane| 64 + 4 * lane).unwrap();
        assert_eq!(
            (together.begin, together.bytes, together.step),
            (64, 128, 4)
        );
        assert_eq!(together.lane(u32::MAX, 64 + 4 * 9), 9);
        // Of some lanes, each behind the active one before it.
        let together = of(0b1010, |lane| 4 * (lane / 2)).unwrap();
        assert_eq!((together.begin, together.bytes), (0, 8));
        assert_eq!(together.lane(0b1010, 4), 3);
        let together = of(u32::MAX, |_| 32).unwrap();
        assert_eq!((together.begin, together.bytes, together.step), (32, 4, 0));
    }

    #[test]
    fn pairs_at_one_place() {
        let pairs = |active, place: fn(u64) -> u64| {
            let of = std::array::from_fn(|lane| (Window::Shared, place(lane as u64)));
            Places::new(of, active, 4).at_one_place(active)
        };
        assert_eq!(pairs(u32::MAX, |lane| 4 * lane), []);
        assert_eq!(pairs(u32::MAX, |lane| 4 * (31 - lane)), []);
        assert_eq!(pairs(0b1011, |_| 8), [(0, 1), (1, 3)]);
        assert_eq!(pairs(0b1111, |lane| 4 * (lane % 2)), [(0, 2), (1, 3)]);
    }

    #[test]
    fn lanes_that_lie_otherwise() {
        assert_eq!(of(u32::MAX, |lane| 8 * lane), None);
        assert_eq!(of(u32::MAX, |lane| 4 * (31 - lane)), None);
        assert_eq!(of(u32::MAX, |lane| 4 * lane.min(30)), None);
    }
}
