//! Loads, stores and atomics.

use super::super::asynchronous::Spot;
use super::super::context::{Context, Fault};
use super::super::frame::lanes_of;
use super::Outcome;
use crate::finding::FindingKind;
use crate::instruction::{Access, Atomic, Load, Ordering, Source, Space, Store};
use crate::machine::Lanes;
use crate::machine::places::{Places, Together};
use crate::memory::address::{self, Window};
use crate::memory::{Bytes, number, put_number};

impl Context<'_> {
    /// Where each active lane's elements begin: their memory and the place in it.
    pub(super) fn places(
        &mut self,
        frame: usize,
        active: u32,
        access: &Access,
        bytes: u32,
        what: &'static str,
    ) -> Result<Places, Fault> {
        let made;
        let base = match &access.location.base {
            Source::Register(register) => self.register(frame, *register),
            source => {
                made = self.values(frame, source);
                &made
            }
        };
        let missing = active & !base.written;
        let named = match access.space {
            Space::Generic => None,
            Space::Global | Space::Constant => Some((Window::Global, u64::MAX)),
            Space::Shared => Some((Window::Shared, 0xffff_ffff)),
            Space::Local => Some((Window::Local, u64::MAX)),
            Space::Parameter => Some((Window::Parameter, u64::MAX)),
        };
        let offset = access.location.offset;
        let places = match named {
            Some((window, mask)) => {
                let at = base
                    .values
                    .map(|base| base.wrapping_add_signed(offset) & mask);
                Ok((at, [window; 32]))
            }
            None => generic_places(&base.values, offset, active),
        };
        self.report_unwritten(missing, "an address");
        let (at, windows) = places.map_err(|(lane, address)| Fault {
            kind: FindingKind::OutOfBounds {
                access: what,
                address,
                bytes,
            },
            lane,
        })?;
        // Where all are multiples of a power of two, so is every one.
        let beyond = at.iter().fold(0, |all, own| all | own);
        let are_aligned = bytes.is_power_of_two() && beyond & u64::from(bytes - 1) == 0;
        let misaligned = |&lane: &u32| !at[lane as usize].is_multiple_of(u64::from(bytes));
        if !are_aligned && let Some(lane) = lanes_of(active).find(misaligned) {
            let window = windows[lane as usize];
            let address = match named {
                Some(_) => at[lane as usize],
                None => address::to_generic(window, at[lane as usize]),
            };
            let kind = FindingKind::Misaligned {
                access: what,
                address,
                bytes,
            };
            return Err(Fault { kind, lane });
        }
        Ok(Places::new(at, windows, active, bytes))
    }

    pub(super) fn load(
        &mut self,
        frame: usize,
        active: u32,
        load: &Load,
    ) -> Result<Outcome, Fault> {
        let count = load.destinations.len() as u32;
        let bytes = load.access.bytes;
        let what = names(load.access.space).0;
        let places = self.places(frame, active, &load.access, bytes * count, what)?;
        if load.access.space != Space::Constant {
            for run in load.used_runs() {
                let all = run.len() as u32 * bytes;
                if all == places.bytes {
                    self.accesses(active, &places, (true, false), load.ordering);
                    continue;
                }
                let part = places.part(active, run.start as u64 * u64::from(bytes), all);
                self.accesses(active, &part, (true, false), load.ordering);
            }
        } else {
            let all = u64::from(active.count_ones()) * u64::from(bytes * count);
            let counts = &mut self.ctas[self.rank].counts;
            counts.constant.count(all, (true, false));
        }
        for (element, &destination) in load.destinations.iter().enumerate() {
            let offset = element as u64 * u64::from(bytes);
            let mut lanes = Lanes::splat(0);
            if !load.is_used(element) {
                lanes.written = 0;
                self.set(frame, destination, active, &lanes);
                continue;
            }
            if !self.load_together(frame, active, &places, (offset, bytes), &mut lanes) {
                for lane in lanes_of(active) {
                    let (window, place) = places.of(lane);
                    let place = place + offset;
                    let Some((value, written)) =
                        self.read(frame, lane, window, place, bytes as usize)
                    else {
                        let kind = FindingKind::OutOfBounds {
                            access: what,
                            address: place,
                            bytes,
                        };
                        return Err(Fault { kind, lane });
                    };
                    lanes.values[lane as usize] = value;
                    lanes.written &= !(u32::from(!written) << lane);
                }
            }
            if let Some((element, register)) = load.extends {
                for value in &mut lanes.values {
                    *value = register.wrap(element.value(*value));
                }
            }
            self.set(frame, destination, active, &lanes);
        }
        Ok(Outcome::Done)
    }

    /// An element of each lane, so many bytes from where the lane's begin, where one stretch of memory holds all; whether one
    /// does.
    fn load_together(
        &self,
        frame: usize,
        active: u32,
        places: &Places,
        (offset, bytes): (u64, u32),
        lanes: &mut Lanes,
    ) -> bool {
        let Some(together) = places.together else {
            return false;
        };
        let Together { window, begin, .. } = together;
        let Some((values, written)) = self.stretch(frame, window, begin, together.bytes) else {
            return false;
        };
        // Of what is written throughout nobody looks at the bytes.
        let all_written = written.iter().fold(true, |all, &written| all & written);
        if all_written && together.step == 0 {
            let begin = offset as usize;
            lanes.values = [number(&values[begin..begin + bytes as usize]); 32];
            return true;
        }
        let is_dense = together.step == u64::from(bytes) && bytes <= 8;
        if all_written && is_dense && active == u32::MAX {
            match bytes {
                1 => spread::<1>(values, lanes),
                2 => spread::<2>(values, lanes),
                4 => spread::<4>(values, lanes),
                _ => spread::<8>(values, lanes),
            }
            return true;
        }
        let mut at = offset as usize;
        for lane in lanes_of(active) {
            let end = at + bytes as usize;
            lanes.values[lane as usize] = number(&values[at..end]);
            if all_written {
                at += together.step as usize;
                continue;
            }
            let is_written = written[at..end].iter().all(|&written| written);
            lanes.written &= !(u32::from(!is_written) << lane);
            at += together.step as usize;
        }
        true
    }

    pub(super) fn store(
        &mut self,
        frame: usize,
        active: u32,
        store: &Store,
    ) -> Result<Outcome, Fault> {
        let bytes = store.access.bytes;
        let what = names(store.access.space).1;
        let places = self.places(
            frame,
            active,
            &store.access,
            bytes * store.sources.len() as u32,
            what,
        )?;
        self.accesses(active, &places, (false, true), store.ordering);
        self.check_mbarriers(active, &places);
        let at_one_place = if self.shadow.is_some() && !store.ordering.is_strong {
            places.at_one_place(active)
        } else {
            Vec::new()
        };
        for (element, source) in store.sources.iter().enumerate() {
            let values = self.values(frame, source);
            self.check_lanes(&at_one_place, &places, bytes, &values);
            let offset = element as u64 * u64::from(bytes);
            for lane in lanes_of(active & !values.written) {
                let (window, place) = places.of(lane);
                self.leaves_undefined(lane, window, place + offset, bytes);
            }
            if self.store_together(active, &places, (offset, bytes), &values) {
                continue;
            }
            for lane in lanes_of(active) {
                let (window, place) = places.of(lane);
                let place = place + offset;
                let value = (
                    values.values[lane as usize],
                    values.written >> lane & 1 == 1,
                );
                if self
                    .write(frame, lane, window, place, bytes as usize, value)
                    .is_none()
                {
                    let kind = FindingKind::OutOfBounds {
                        access: what,
                        address: place,
                        bytes,
                    };
                    return Err(Fault { kind, lane });
                }
            }
        }
        Ok(Outcome::Done)
    }

    /// Notes a store of a value that nobody has written.
    fn leaves_undefined(&mut self, lane: u32, window: Window, address: u64, bytes: u32) {
        if window == Window::Global {
            let kind = FindingKind::UninitialisedResult { address, bytes };
            self.found.push(Fault { kind, lane });
        }
    }

    /// Finds lanes, of pairs at one place, that write different numbers: which of them stays is not said. Those that write the
    /// same number, as programs do that let every lane write a result, are in order.
    fn check_lanes(&mut self, pairs: &[(u32, u32)], places: &Places, bytes: u32, values: &Lanes) {
        let mask = u64::MAX >> (64 - 8 * bytes);
        let differs = |&&(first, second): &&(u32, u32)| {
            let [a, b] = [first, second].map(|lane| values.values[lane as usize] & mask);
            a != b && values.written >> first & values.written >> second & 1 == 1
        };
        let Some(&(other, lane)) = pairs.iter().find(differs) else {
            return;
        };
        let (window, place) = places.of(lane);
        if let Some(spot) = self.spot(window, place) {
            let kind = FindingKind::Lanes {
                memory: spot.name(),
                address: place,
                other,
            };
            self.found.push(Fault { kind, lane });
        }
    }

    /// Finds stores where mbarriers lie.
    fn check_mbarriers(&mut self, active: u32, places: &Places) {
        if self.ctas.iter().all(|cta| cta.mbarriers.is_empty()) {
            return;
        }
        for lane in lanes_of(active) {
            let (window, place) = places.of(lane);
            if let Some(Spot::Shared(rank, own)) = self.spot(window, place)
                && let Some(address) =
                    self.ctas[rank as usize].mbarrier_in(own, places.bytes.into())
            {
                let kind = FindingKind::written_over(address);
                self.found.push(Fault { kind, lane });
            }
        }
    }

    /// As [`load_together`](Self::load_together), to memory.
    fn store_together(
        &mut self,
        active: u32,
        places: &Places,
        (offset, bytes): (u64, u32),
        lanes: &Lanes,
    ) -> bool {
        let Some(together) = places.together else {
            return false;
        };
        let Together { window, begin, .. } = together;
        let Some((values, written)) = self.stretch_mut(window, begin, together.bytes) else {
            return false;
        };
        let is_dense = together.step == u64::from(bytes) && bytes <= 8;
        if is_dense && active == u32::MAX && lanes.written == u32::MAX {
            written.fill(true);
            match bytes {
                1 => gather::<1>(lanes, values),
                2 => gather::<2>(lanes, values),
                4 => gather::<4>(lanes, values),
                _ => gather::<8>(lanes, values),
            }
            return true;
        }
        let mut at = offset as usize;
        for lane in lanes_of(active) {
            let end = at + bytes as usize;
            put_number(&mut values[at..end], lanes.values[lane as usize]);
            written[at..end].fill(lanes.written >> lane & 1 == 1);
            at += together.step as usize;
        }
        true
    }

    /// A write of nothing that anybody may read (PTX ISA 9.7.9.17).
    pub(super) fn discard(
        &mut self,
        frame: usize,
        active: u32,
        access: &Access,
    ) -> Result<Outcome, Fault> {
        let what = "discards";
        let places = self.places(frame, active, access, access.bytes, what)?;
        self.notes(active, &places, (false, true), Ordering::default());
        for lane in lanes_of(active) {
            let (window, address) = places.of(lane);
            let nothing = Bytes::unwritten(access.bytes as usize);
            let is_global = window == Window::Global;
            if !is_global || self.memory.put(address, &nothing).is_none() {
                let kind = FindingKind::OutOfBounds {
                    access: what,
                    address,
                    bytes: access.bytes,
                };
                return Err(Fault { kind, lane });
            }
        }
        Ok(Outcome::Done)
    }

    /// Lane by lane, the lowest first: an order that hardware does not promise.
    pub(super) fn atomic(
        &mut self,
        frame: usize,
        active: u32,
        atomic: &Atomic,
    ) -> Result<Outcome, Fault> {
        let bytes = atomic.access.bytes;
        let what = names(atomic.access.space).1;
        let all = bytes * atomic.elements.len() as u32;
        let places = self.places(frame, active, &atomic.access, all, what)?;
        self.accesses(active, &places, (true, true), atomic.ordering);
        if atomic.swaps_whole {
            return self.swap_whole(frame, active, atomic, &places);
        }
        let zero = Lanes::splat(0);
        for (element, parts) in atomic.elements.iter().enumerate() {
            let operands = parts.operands.each_ref().map(|source| match source {
                Some(source) => self.values(frame, source),
                None => zero,
            });
            let mut before = Lanes::splat(0);
            for lane in lanes_of(active) {
                let own = lane as usize;
                let (window, place) = places.of(lane);
                let place = place + element as u64 * u64::from(bytes);
                let out_of_bounds = || Fault {
                    kind: FindingKind::OutOfBounds {
                        access: what,
                        address: place,
                        bytes,
                    },
                    lane,
                };
                let (old, written) = self
                    .read(frame, lane, window, place, bytes as usize)
                    .ok_or_else(out_of_bounds)?;
                let values = operands.each_ref().map(|values| values.values[own]);
                let new = atomic.of(window, old, values);
                let written = written
                    && operands
                        .iter()
                        .all(|values| values.written >> lane & 1 == 1);
                self.write(frame, lane, window, place, bytes as usize, (new, written))
                    .ok_or_else(out_of_bounds)?;
                if !written {
                    self.leaves_undefined(lane, window, place, bytes);
                }
                before.values[own] = old;
                before.written &= !(u32::from(!written) << lane);
            }
            self.set(frame, parts.destination, active, &before);
        }
        Ok(Outcome::Done)
    }
}

impl Context<'_> {
    /// `.cas` of a number of several elements, lane by lane.
    fn swap_whole(
        &mut self,
        frame: usize,
        active: u32,
        atomic: &Atomic,
        places: &Places,
    ) -> Result<Outcome, Fault> {
        let size = atomic.access.bytes as usize;
        let what = names(atomic.access.space).1;
        let nothing = Lanes::splat(0);
        let operands = atomic.elements.iter().map(|element| {
            let of = |source: &Option<Source>| source.as_ref().map(|own| self.values(frame, own));
            element
                .operands
                .each_ref()
                .map(|own| of(own).unwrap_or(nothing))
        });
        let operands: Vec<[Lanes; 2]> = operands.collect();
        let mut before = vec![Lanes::splat(0); operands.len()];
        for lane in lanes_of(active) {
            let own = lane as usize;
            let (window, place) = places.of(lane);
            let at = |element: usize| place + (element * size) as u64;
            let beyond = |address: u64| Fault {
                kind: FindingKind::OutOfBounds {
                    access: what,
                    address,
                    bytes: size as u32,
                },
                lane,
            };
            let (mut is_equal, mut is_written) = (true, true);
            for (element, [expected, new]) in operands.iter().enumerate() {
                let (old, written) = self
                    .read(frame, lane, window, at(element), size)
                    .ok_or_else(|| beyond(at(element)))?;
                is_equal &= old == expected.values[own];
                is_written &= written && (expected.written & new.written) >> lane & 1 == 1;
                before[element].values[own] = old;
            }
            for (element, [_, new]) in operands.iter().enumerate() {
                let value = if is_equal {
                    new.values[own]
                } else {
                    before[element].values[own]
                };
                self.write(frame, lane, window, at(element), size, (value, is_written))
                    .ok_or_else(|| beyond(at(element)))?;
                if !is_written {
                    self.leaves_undefined(lane, window, at(element), size as u32);
                    before[element].written &= !(1 << lane);
                }
            }
        }
        for (element, before) in atomic.elements.iter().zip(&before) {
            self.set(frame, element.destination, active, before);
        }
        Ok(Outcome::Done)
    }
}

/// The places and memories that generic addresses of active lanes name, or the first lane whose address names none.
fn generic_places(
    base: &[u64; 32],
    offset: i64,
    active: u32,
) -> Result<([u64; 32], [Window; 32]), (u32, u64)> {
    let mut at = [0; 32];
    let mut windows = [Window::Global; 32];
    for lane in lanes_of(active) {
        let own = lane as usize;
        let address = base[own].wrapping_add_signed(offset);
        windows[own] = address::window(address).ok_or((lane, address))?;
        at[own] = address::from_generic(windows[own], address);
    }
    Ok((at, windows))
}

/// Elements of all lanes that lie one behind the other.
fn spread<const BYTES: usize>(values: &[u8], lanes: &mut Lanes) {
    for (value, bytes) in lanes.values.iter_mut().zip(values.chunks_exact(BYTES)) {
        *value = number(bytes);
    }
}

/// As [`spread`], to memory.
fn gather<const BYTES: usize>(lanes: &Lanes, values: &mut [u8]) {
    for (&value, bytes) in lanes.values.iter().zip(values.chunks_exact_mut(BYTES)) {
        put_number(bytes, value);
    }
}

/// How a finding names a read and a write of a memory.
fn names(space: Space) -> (&'static str, &'static str) {
    match space {
        Space::Generic => ("reads", "writes"),
        Space::Global => ("reads from global memory", "writes to global memory"),
        Space::Constant => ("reads from constant memory", "writes to constant memory"),
        Space::Shared => ("reads from shared memory", "writes to shared memory"),
        Space::Local => ("reads from local memory", "writes to local memory"),
        Space::Parameter => ("reads from parameter memory", "writes to parameter memory"),
    }
}
