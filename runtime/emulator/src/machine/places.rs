//! Where the lanes of a warp access memory, and whether they do so together.

use super::lanes_of;
use crate::memory::address::Window;

/// The memory and the place in it where each active lane's bytes begin.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    at: [u64; 32],
    windows: [Window; 32],
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
    pub fn new(at: [u64; 32], windows: [Window; 32], active: u32, bytes: u32) -> Self {
        Self {
            together: together(&at, &windows, active, u64::from(bytes)),
            at,
            windows,
            bytes,
        }
    }

    /// Bytes of each lane, from so many behind the first on.
    pub fn part(&self, active: u32, offset: u64, bytes: u32) -> Self {
        let at = self.at.map(|at| at.wrapping_add(offset));
        Self::new(at, self.windows, active, bytes)
    }

    /// The memory and the place of an active lane.
    #[inline]
    pub fn of(&self, lane: u32) -> (Window, u64) {
        (self.windows[lane as usize], self.at[lane as usize])
    }

    /// The first active lane, from one on, that has a byte.
    pub fn owner(&self, active: u32, from: u32, (window, place): (Window, u64)) -> u32 {
        let mut lanes = lanes_of(active & u32::MAX << from);
        let has = |&lane: &u32| {
            let (own, begin) = self.of(lane);
            own == window && begin <= place && place - begin < u64::from(self.bytes)
        };
        lanes.find(has).unwrap_or(from)
    }

    /// Whether no two lanes have one place, by one bit of each: of lanes that have two it is not.
    fn are_clearly_apart(&self, active: u32) -> bool {
        let mut seen = 0u64;
        let unit = u64::from(self.bytes.max(1));
        // Rows of the same length that lie some of their own length apart have other bits, too.
        let bit = |place: u64| (place / unit + place / (unit * 64)) % 64;
        lanes_of(active).all(|lane| {
            let own = 1 << bit(self.at[lane as usize]);
            let is_new = seen & own == 0;
            seen |= own;
            is_new
        })
    }

    /// Pairs of lanes, the lower one first, that have one place, one for each lane but a place's first.
    pub fn at_one_place(&self, active: u32) -> Vec<(u32, u32)> {
        let is_alone = active.count_ones() < 2;
        if is_alone || self.together.is_some_and(|together| together.step != 0) {
            return Vec::new();
        }
        if self.are_clearly_apart(active) {
            return Vec::new();
        }
        let mut lanes: Vec<u32> = lanes_of(active).collect();
        let place = |&lane: &u32| self.of(lane);
        lanes.sort_by_key(|lane| (place(lane), *lane));
        let pairs = lanes.windows(2).map(|own| (own[0], own[1]));
        pairs
            .filter(|(first, second)| place(first) == place(second))
            .collect()
    }
}

fn together(at: &[u64; 32], windows: &[Window; 32], active: u32, bytes: u64) -> Option<Together> {
    if active == 0 {
        return None;
    }
    let first = active.trailing_zeros() as usize;
    let (window, begin) = (windows[first], at[first]);
    let rest = active & (active - 1);
    let step = match rest {
        0 => 0,
        _ if at[rest.trailing_zeros() as usize] == begin => 0,
        _ => bytes,
    };
    let lanes = u64::from(active.count_ones());
    let end = begin.checked_add(lanes * step)?;
    let is_together = if active == u32::MAX {
        let nexts = (0..32).map(|lane| begin + lane * step);
        let differs = |all, (own, next): (&u64, u64)| all | (own ^ next);
        at.iter().zip(nexts).fold(0, differs) == 0 && *windows == [window; 32]
    } else {
        let nexts = (0..).map(|number| begin + number * step);
        lanes_of(active)
            .zip(nexts)
            .all(|(lane, next)| (windows[lane as usize], at[lane as usize]) == (window, next))
    };
    is_together.then_some(Together {
        window,
        begin,
        bytes: if step == 0 { bytes } else { end - begin },
        step,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(active: u32, place: impl Fn(u64) -> u64) -> Places {
        let at = std::array::from_fn(|lane| place(lane as u64));
        Places::new(at, [Window::Shared; 32], active, 4)
    }

    fn of(active: u32, place: impl Fn(u64) -> u64) -> Option<Together> {
        places(active, place).together
    }

    #[test]
    fn who_has_a_byte() {
        let owner =
            |places: &Places, active, from, at| places.owner(active, from, (Window::Shared, at));
        let behind = places(u32::MAX, |lane| 64 + 4 * lane);
        assert_eq!(owner(&behind, u32::MAX, 0, 64 + 4 * 9), 9);
        assert_eq!(owner(&behind, u32::MAX, 0, 64 + 4 * 9 + 3), 9);
        let pairs = places(0b1010, |lane| 4 * (lane / 2));
        assert_eq!(owner(&pairs, 0b1010, 1, 4), 3);
        // Of lanes at one place the first one, from where one looks on.
        let same = places(u32::MAX, |_| 32);
        assert_eq!(owner(&same, u32::MAX, 0, 33), 0);
        assert_eq!(owner(&same, u32::MAX, 5, 33), 5);
    }

    #[test]
    fn lanes_one_behind_the_other_and_lanes_at_one_place() {
        let together = of(u32::MAX, |lane| 64 + 4 * lane).unwrap();
        assert_eq!(
            (together.begin, together.bytes, together.step),
            (64, 128, 4)
        );
        // Of some lanes, each behind the active one before it.
        let together = of(0b1010, |lane| 4 * (lane / 2)).unwrap();
        assert_eq!((together.begin, together.bytes), (0, 8));
        let together = of(u32::MAX, |_| 32).unwrap();
        assert_eq!((together.begin, together.bytes, together.step), (32, 4, 0));
    }

    #[test]
    fn pairs_at_one_place() {
        let pairs = |active, place: fn(u64) -> u64| {
            super::tests::places(active, place).at_one_place(active)
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
