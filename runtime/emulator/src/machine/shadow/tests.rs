//! Accesses of a few agents, one after the other, and what is found of them.

use super::super::order::Order;
use super::*;

/// An access of a warp at its clock.
fn access(
    shadow: &mut Shadow,
    order: &Order,
    warp: u32,
    place: u64,
    bytes: u64,
    writes: bool,
) -> Option<Conflict> {
    with_strength(shadow, order, warp, (place, bytes), writes, None)
}

/// The same, which is a strong one where a scope is given.
fn with_strength(
    shadow: &mut Shadow,
    order: &Order,
    warp: u32,
    (place, bytes): (u64, u64),
    writes: bool,
    strong: Option<ThreadScope>,
) -> Option<Conflict> {
    let (agent, clock) = order.warp(warp);
    let by = Accessor {
        stamp: Stamp::new(agent, clock, 10 + warp, strong),
        knows: order.knows(warp),
        warps: order.warps(),
        of_cta: order.warps(),
        proxy: Proxy::Generic,
    };
    shadow.access(place, bytes, writes, &by)
}

#[test]
fn a_write_and_a_read_that_nothing_orders() {
    let (mut shadow, mut order) = (Shadow::default(), Order::new(0, 2, true));
    assert_eq!(access(&mut shadow, &order, 0, 8, 4, true), None);
    assert_eq!(access(&mut shadow, &order, 0, 8, 4, false), None);
    let found = access(&mut shadow, &order, 1, 8, 4, false).unwrap();
    assert_eq!(
        (found.place, found.earlier.line(), found.wrote),
        (8, 10, true)
    );
    order.comes_to_barrier(0, 0, 0);
    let all = order.at_barrier(0, 0);
    order.goes_on(1, &all);
    assert_eq!(access(&mut shadow, &order, 1, 8, 4, false), None);
}

#[test]
fn a_write_behind_reads_of_several() {
    let (mut shadow, order) = (Shadow::default(), Order::new(0, 3, true));
    for warp in [0, 1] {
        assert_eq!(access(&mut shadow, &order, warp, 0, 16, false), None);
    }
    let found = access(&mut shadow, &order, 1, 4, 4, true).unwrap();
    assert_eq!(
        (found.place, found.earlier.line(), found.wrote),
        (4, 10, false)
    );
}

#[test]
fn neighbours_in_one_word_do_not_meet() {
    let (mut shadow, order) = (Shadow::default(), Order::new(0, 2, true));
    assert_eq!(access(&mut shadow, &order, 0, 4096, 2, true), None);
    assert_eq!(access(&mut shadow, &order, 1, 4098, 2, true), None);
    assert!(access(&mut shadow, &order, 1, 4096, 4, false).is_some());
}

#[test]
fn parts_remember_what_happened_to_the_whole() {
    let (mut shadow, order) = (Shadow::default(), Order::new(0, 3, true));
    assert_eq!(access(&mut shadow, &order, 0, 0, 4, false), None);
    assert_eq!(access(&mut shadow, &order, 1, 0, 4, false), None);
    let found = access(&mut shadow, &order, 2, 1, 1, true).unwrap();
    assert_eq!((found.place, found.wrote), (1, false));
    assert!(access(&mut shadow, &order, 0, 3, 1, true).is_some());
}

/// Warps in turn: warp, first byte, bytes, whether it writes. The place that the last one's conflict is at; none else has
/// one.
fn last_conflict(accesses: &[(u32, u64, u64, bool)]) -> Option<(u64, u32)> {
    let (mut shadow, order) = (Shadow::default(), Order::new(0, 8, true));
    let mut found = accesses
        .iter()
        .map(|&(warp, place, bytes, writes)| {
            access(&mut shadow, &order, warp, place, bytes, writes)
        })
        .collect::<Vec<_>>();
    let last = found.pop().unwrap();
    assert!(found.iter().all(Option::is_none), "{found:?}");
    last.map(|conflict| (conflict.place, conflict.earlier.line()))
}

#[test]
fn a_byte_at_the_border_of_a_row() {
    for writes in [true, false] {
        let row = (0, 128, 128, true);
        assert_eq!(last_conflict(&[row, (1, 127, 1, writes)]), None);
        assert_eq!(last_conflict(&[row, (1, 128, 1, writes)]), Some((128, 10)));
        assert_eq!(last_conflict(&[row, (1, 255, 1, writes)]), Some((255, 10)));
        assert_eq!(last_conflict(&[row, (1, 256, 1, writes)]), None);
        // The other way round: the row comes behind the byte.
        let of_row = |byte| last_conflict(&[(1, byte, 1, true), (0, 128, 128, writes)]);
        assert_eq!(of_row(127), None);
        assert_eq!(of_row(128), Some((128, 11)));
        assert_eq!(of_row(255), Some((255, 11)));
        assert_eq!(of_row(256), None);
    }
}

#[test]
fn rows_that_do_not_begin_where_others_do() {
    // A row beside its own, as a scan reads them: one word of each of two.
    let shifted = (1, 124, 128, false);
    assert_eq!(
        last_conflict(&[(2, 120, 4, true), (0, 128, 128, false), shifted]),
        None
    );
    assert_eq!(
        last_conflict(&[(0, 128, 128, false), shifted, (2, 252, 4, true)]),
        Some((252, 10))
    );
    assert_eq!(
        last_conflict(&[(0, 128, 128, false), shifted, (0, 248, 4, true)]),
        Some((248, 11))
    );
    assert_eq!(
        last_conflict(&[(0, 128, 128, false), shifted, (1, 252, 4, true)]),
        Some((252, 10))
    );
    assert_eq!(last_conflict(&[shifted, (0, 252, 4, true)]), None);
}

#[test]
fn one_word_with_another_past_than_its_neighbours() {
    for word in [0, 1, 17, 30, 31] {
        let place = 256 + 4 * word;
        let all = |writes| [(0, place, 4, true), (1, 256, 128, writes)];
        assert_eq!(last_conflict(&all(true)), Some((place, 10)));
        assert_eq!(last_conflict(&all(false)), Some((place, 10)));
        // Only a read: a write behind it meets it.
        let behind = [(0, place, 4, false), (1, 256, 128, true)];
        assert_eq!(last_conflict(&behind), Some((place, 10)));
        // Several reads of one word among words that one warp alone has read.
        let reads = [
            (1, 256, 128, false),
            (0, place, 4, false),
            (1, 256, 128, true),
        ];
        assert_eq!(last_conflict(&reads), Some((place, 10)));
    }
}

#[test]
fn a_row_is_written_as_a_whole_after_its_parts() {
    // What the parts knew is forgotten with them: they came before.
    let (mut shadow, mut order) = (Shadow::default(), Order::new(0, 2, true));
    for (place, bytes, writes) in [(1, 1, true), (64, 4, false), (0, 128, false), (3, 2, true)] {
        assert_eq!(access(&mut shadow, &order, 0, place, bytes, writes), None);
    }
    order.comes_to_barrier(0, 0, 0);
    let all = order.at_barrier(0, 0);
    order.goes_on(1, &all);
    assert_eq!(access(&mut shadow, &order, 1, 0, 128, true), None);
    assert_eq!(access(&mut shadow, &order, 1, 1, 1, false), None);
    for byte in [0, 1, 2, 3, 64, 127] {
        let found = access(&mut shadow, &order, 0, byte, 1, false).unwrap();
        assert_eq!((found.place, found.earlier.line()), (byte, 11));
    }
}

#[test]
fn several_rows_and_pages_at_once() {
    for byte in [1023, 1024, 1151, 1152, 2047] {
        let found = last_conflict(&[(0, byte, 1, true), (1, 896, 1152, false)]);
        assert_eq!(found, Some((byte, 10)));
    }
    assert_eq!(
        last_conflict(&[(0, 2048, 1, true), (1, 896, 1152, false)]),
        None
    );
    // To the last address of all.
    assert_eq!(last_conflict(&[(0, u64::MAX - 3, 4, true)]), None);
}

/// Accesses of a word by warps, of which the last, a strong one by another warp, meets the earlier one that is told.
fn strong_at_last(accesses: &[(u32, bool, Option<ThreadScope>)]) -> Option<(u32, bool)> {
    let (mut shadow, order) = (Shadow::default(), Order::new(0, 4, true));
    let mut found = accesses
        .iter()
        .map(|&(warp, writes, strong)| {
            with_strength(&mut shadow, &order, warp, (64, 4), writes, strong)
        })
        .collect::<Vec<_>>();
    let last = found.pop().unwrap();
    assert!(found.iter().all(Option::is_none), "{found:?}");
    last.map(|conflict| (conflict.earlier.line(), conflict.wrote))
}

#[test]
fn a_strong_access_does_not_hide_an_earlier_weak_one() {
    let strong = Some(ThreadScope::Device);
    // Strong ones meet.
    assert_eq!(
        strong_at_last(&[(0, true, strong), (1, true, strong)]),
        None
    );
    assert_eq!(
        strong_at_last(&[(0, true, strong), (1, false, strong)]),
        None
    );
    assert_eq!(
        strong_at_last(&[(0, false, strong), (1, true, strong)]),
        None
    );
    // A write by the same warp before, whether the strong access behind it writes or reads.
    for writes in [true, false] {
        let weak = [(0, true, None), (0, writes, strong)];
        assert_eq!(
            strong_at_last(&[&weak[..], &[(1, false, strong)]].concat()),
            Some((10, true))
        );
        assert_eq!(
            strong_at_last(&[&weak[..], &[(1, true, strong)]].concat()),
            Some((10, true))
        );
        // A read by the same warp before: only a write meets it.
        let weak = [(0, false, None), (0, writes, strong)];
        assert_eq!(
            strong_at_last(&[&weak[..], &[(1, false, strong)]].concat()),
            None
        );
        assert_eq!(
            strong_at_last(&[&weak[..], &[(1, true, strong)]].concat()),
            Some((10, false))
        );
    }
    // Several strong ones do not either, nor do those of a wider scope one of a narrower.
    let all = [
        (0, true, None),
        (0, true, strong),
        (0, true, strong),
        (0, false, strong),
    ];
    assert_eq!(
        strong_at_last(&[&all[..], &[(1, true, strong)]].concat()),
        Some((10, true))
    );
    // A weak write forgets what was before it.
    let forgets = [
        (0, false, None),
        (0, true, strong),
        (0, true, None),
        (0, true, strong),
    ];
    assert_eq!(
        strong_at_last(&[&forgets[..], &[(1, true, strong)]].concat()),
        Some((10, true))
    );
}

#[test]
fn a_weak_access_that_comes_before_is_none_for_strong_ones_to_meet() {
    let (mut shadow, mut order) = (Shadow::default(), Order::new(0, 2, true));
    let strong = Some(ThreadScope::Device);
    // One warp begins with a number, all come together, and each adds to it.
    assert_eq!(access(&mut shadow, &order, 0, 64, 4, true), None);
    order.comes_to_barrier(0, 0, 0);
    let all = order.at_barrier(0, 0);
    order.goes_on(1, &all);
    for warp in [1, 0, 1, 0] {
        let found = with_strength(&mut shadow, &order, warp, (64, 4), true, strong);
        assert_eq!(found, None);
    }
    // Who reads it then has no order.
    assert!(access(&mut shadow, &order, 1, 64, 4, false).is_some());
}
