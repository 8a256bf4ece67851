//! Loads, stores and atomics.

use super::super::asynchronous::Spot;
use super::super::context::{Context, Fault};
use super::super::frame::lanes_of;
use super::Outcome;
use crate::finding::FindingKind;
use crate::instruction::{Access, Atomic, Load, Space, Store};
use crate::machine::Lanes;
use crate::memory::address::{self, Window};

impl Context<'_> {
    /// Where each active lane's elements begin: their memory and the place in it.
    pub(super) fn places(
        &mut self,
        frame: usize,
        active: u32,
        access: &Access,
        bytes: u32,
        what: &'static str,
    ) -> Result<[(Window, u64); 32], Fault> {
        let base = self.values(frame, &access.location.base);
        self.need_written(&base, active, "an address");
        let mut places = [(Window::Global, 0); 32];
        for lane in lanes_of(active) {
            let address = base.values[lane as usize].wrapping_add_signed(access.location.offset);
            let fault = |kind| Fault { kind, lane };
            let (window, place) = match access.space {
                Space::Generic => {
                    let Some(window) = address::window(address) else {
                        return Err(fault(FindingKind::OutOfBounds {
                            access: what,
                            address,
                            bytes,
                        }));
                    };
                    (window, address::from_generic(window, address))
                }
                Space::Global | Space::Constant => (Window::Global, address),
                Space::Shared => (Window::Shared, address & 0xffff_ffff),
                Space::Local => (Window::Local, address),
                Space::Parameter => (Window::Parameter, address),
            };
            if !place.is_multiple_of(u64::from(bytes)) {
                return Err(fault(FindingKind::Misaligned {
                    access: what,
                    address,
                    bytes,
                }));
            }
            places[lane as usize] = (window, place);
        }
        Ok(places)
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
            self.accesses(active, &places, bytes * count, (true, false), load.ordering);
        }
        for (element, &destination) in load.destinations.iter().enumerate() {
            let mut lanes = Lanes::splat(0);
            for lane in lanes_of(active) {
                let (window, place) = places[lane as usize];
                let place = place + element as u64 * u64::from(bytes);
                let Some((value, written)) = self.read(frame, lane, window, place, bytes as usize)
                else {
                    let kind = FindingKind::OutOfBounds {
                        access: what,
                        address: place,
                        bytes,
                    };
                    return Err(Fault { kind, lane });
                };
                let value = match load.extends {
                    Some((element, register)) => register.wrap(element.value(value)),
                    None => value,
                };
                lanes.values[lane as usize] = value;
                lanes.written &= !(u32::from(!written) << lane);
            }
            self.set(frame, destination, active, &lanes);
        }
        Ok(Outcome::Done)
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
        let all = bytes * store.sources.len() as u32;
        self.accesses(active, &places, all, (false, true), store.ordering);
        for lane in lanes_of(active) {
            let (window, place) = places[lane as usize];
            if let Some(Spot::Shared(rank, own)) = self.spot(window, place)
                && let Some(address) = self.ctas[rank as usize].mbarrier_in(own, all.into())
            {
                let kind = FindingKind::written_over(address);
                self.found.push(Fault { kind, lane });
            }
        }
        for (element, source) in store.sources.iter().enumerate() {
            let values = self.values(frame, source);
            for lane in lanes_of(active) {
                let (window, place) = places[lane as usize];
                let place = place + element as u64 * u64::from(bytes);
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

    /// Lane by lane, the lowest first: an order that hardware does not promise.
    pub(super) fn atomic(
        &mut self,
        frame: usize,
        active: u32,
        atomic: &Atomic,
    ) -> Result<Outcome, Fault> {
        let bytes = atomic.access.bytes;
        let what = names(atomic.access.space).1;
        let places = self.places(frame, active, &atomic.access, bytes, what)?;
        self.accesses(active, &places, bytes, (true, true), atomic.ordering);
        let zero = Lanes::splat(0);
        let operands = atomic.operands.each_ref().map(|source| match source {
            Some(source) => self.values(frame, source),
            None => zero,
        });
        let mut before = Lanes::splat(0);
        for lane in lanes_of(active) {
            let own = lane as usize;
            let (window, place) = places[own];
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
            let new = (atomic.function)(old, operands[0].values[own], operands[1].values[own]);
            let written = written
                && operands
                    .iter()
                    .all(|values| values.written >> lane & 1 == 1);
            self.write(frame, lane, window, place, bytes as usize, (new, written))
                .ok_or_else(out_of_bounds)?;
            before.values[own] = old;
            before.written &= !(u32::from(!written) << lane);
        }
        self.set(frame, atomic.destination, active, &before);
        Ok(Outcome::Done)
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
