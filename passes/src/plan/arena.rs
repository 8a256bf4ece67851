//! Places in the arena.

use super::coalesce::{Class, Memory};
use tessera_ir::plan::ARENA_ALIGNMENT;

/// Where each class lies in the arena, and how many bytes that takes.
#[derive(Debug)]
pub(super) struct Arena {
    /// By the class's number; 0 for those that lie elsewhere.
    pub(super) offsets: Vec<usize>,
    pub(super) bytes: usize,
}

/// Gives each class that has no place yet one in the arena: the largest first, each in the smallest gap that is free for
/// all its life.
pub(super) fn allocate(classes: &[Class]) -> Arena {
    let mut order: Vec<usize> = (0..classes.len())
        .filter(|&class| classes[class].memory == Memory::Arena && classes[class].bytes > 0)
        .collect();
    order.sort_by_key(|&class| {
        let class_ref = &classes[class];
        (
            std::cmp::Reverse(class_ref.bytes),
            class_ref.live.start(),
            class,
        )
    });
    let mut arena = Arena {
        offsets: vec![0; classes.len()],
        bytes: 0,
    };
    // In ascending order of offsets.
    let mut placed: Vec<(usize, usize)> = Vec::with_capacity(order.len());
    for class in order {
        let size = classes[class].bytes.next_multiple_of(ARENA_ALIGNMENT);
        let taken = placed
            .iter()
            .filter(|&&(_, other)| classes[class].live.overlaps(&classes[other].live, &[]));
        let taken = taken.map(|&(offset, other)| {
            (
                offset,
                offset + classes[other].bytes.next_multiple_of(ARENA_ALIGNMENT),
            )
        });
        let offset = best_gap(taken, size);
        arena.offsets[class] = offset;
        arena.bytes = arena.bytes.max(offset + size);
        let position = placed.partition_point(|&other| other < (offset, class));
        placed.insert(position, (offset, class));
    }
    arena
}

/// The start of the smallest gap of that size between places that are taken, given in ascending order; behind them all
/// where there is none.
fn best_gap(taken: impl Iterator<Item = (usize, usize)>, size: usize) -> usize {
    let mut end = 0;
    let mut best: Option<(usize, usize)> = None;
    for (from, to) in taken {
        if from >= end + size {
            let gap = from - end;
            if best.is_none_or(|(smallest, _)| gap < smallest) {
                best = Some((gap, end));
            }
        }
        end = end.max(to);
    }
    best.map_or(end, |(_, offset)| offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_gap_is_taken() {
        let taken = [(64, 128), (256, 320), (384, 448)];
        assert_eq!(best_gap(taken.into_iter(), 64), 0);
        assert_eq!(best_gap(taken.into_iter(), 128), 128);
        assert_eq!(best_gap(taken.into_iter(), 192), 448);
    }

    #[test]
    fn places_that_overlap_each_other_leave_no_gap_between() {
        let taken = [(0, 256), (64, 128), (256, 320)];
        assert_eq!(best_gap(taken.into_iter(), 64), 320);
    }
}
