//! When a variable's memory is in use.
//!
//! Every instruction has a position, loops and branches included: their steps are numbered as they are written down. At
//! position `p` operands are read at time `2p` and results written at time `2p + 1`; an operand is taken to be needed
//! until the results are written.

/// The times between which a variable holds what somebody still needs, both included; in ascending order, disjoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Live(Vec<(usize, usize)>);

/// When the results of the instruction at a position are written.
pub(super) const fn written(position: usize) -> usize {
    2 * position + 1
}

/// When the operands of the instruction at a position are not needed any more.
pub(super) const fn read(position: usize) -> usize {
    2 * position + 1
}

/// After everything.
pub(super) const FOREVER: usize = usize::MAX;

impl Live {
    /// Adds times.
    pub(super) fn add(&mut self, from: usize, to: usize) {
        let mut merged = (from, to.max(from));
        self.0.retain(|&(a, b)| {
            let touches = a <= merged.1 && merged.0 <= b;
            if touches {
                merged = (merged.0.min(a), merged.1.max(b));
            }
            !touches
        });
        let position = self.0.partition_point(|&(a, _)| a < merged.0);
        self.0.insert(position, merged);
    }

    /// Whether both are in use at one time; the times in `but` do not count.
    pub(super) fn overlaps(&self, other: &Self, but: &[usize]) -> bool {
        let (mut i, mut j) = (0, 0);
        while let (Some(&a), Some(&b)) = (self.0.get(i), other.0.get(j)) {
            let (from, to) = (a.0.max(b.0), a.1.min(b.1));
            // Times in `but` are single ones: longer stretches are in use beyond them.
            if from < to || (from == to && !but.contains(&from)) {
                return true;
            }
            if a.1 < b.1 {
                i += 1;
            } else {
                j += 1;
            }
        }
        false
    }

    /// Adds the times of another.
    pub(super) fn extend(&mut self, other: &Self) {
        for &(from, to) in &other.0 {
            self.add(from, to);
        }
    }

    /// The first time, or 0 where there is none.
    pub(super) fn start(&self) -> usize {
        self.0.first().map_or(0, |&(from, _)| from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(times: &[(usize, usize)]) -> Live {
        let mut live = Live::default();
        for &(from, to) in times {
            live.add(from, to);
        }
        live
    }

    #[test]
    fn times_that_touch_become_one() {
        assert_eq!(live(&[(1, 3), (7, 9), (3, 7)]), live(&[(1, 9)]));
        assert_eq!(live(&[(7, 9), (1, 3)]).0, [(1, 3), (7, 9)]);
    }

    #[test]
    fn lives_overlap_where_they_share_a_time() {
        let holes = live(&[(1, 3), (9, 12)]);
        assert!(!holes.overlaps(&live(&[(4, 8)]), &[]));
        assert!(holes.overlaps(&live(&[(4, 9)]), &[]));
        assert!(!holes.overlaps(&live(&[(3, 9)]), &[3, 9]));
        assert!(holes.overlaps(&live(&[(3, 10)]), &[3, 9]));
    }
}
