//! Copies begun, committed, waited for.

use super::super::asynchronous::{
    Begun, Combine, From, Move, Moves, NoOperation, Operation, Signal, Spot, channel,
};
use super::super::context::{Context, Fault};
use super::super::frame::lanes_of;
use super::super::order::Channel;
use super::Outcome;
use crate::finding::FindingKind;
use crate::instruction::{Access, Bulk, BulkReduction, Copy, CopyElement, Family, Source, Target};
use crate::memory::address::Window;
use std::rc::Rc;

impl Context<'_> {
    pub(super) fn copy(
        &mut self,
        strand: usize,
        active: u32,
        copy: &Copy,
    ) -> Result<Outcome, Fault> {
        if active == 0 {
            return Ok(Outcome::Done);
        }
        let frame = self.warp.strands[strand].frame;
        match copy {
            Copy::Element(element) => self.copy_element(frame, active, element)?,
            Copy::Bulk(bulk) => self.copy_bulk(frame, active, bulk)?,
            Copy::Tensor(tensor) => self.copy_tensor(frame, active, tensor)?,
            Copy::Prefetch { from, bytes } => {
                let places = self.places(frame, active, from, 16, "prefetches from")?;
                let sizes = self.values(frame, bytes);
                for lane in lanes_of(active) {
                    let (_, place) = places.of(lane);
                    let size = bulk_size(sizes.values[lane as usize], lane)?;
                    if self.memory.part(place, size as usize).is_none() {
                        return Err(beyond("prefetches from", place, size, lane));
                    }
                }
            }
            Copy::Commit(family) => self.commit(active, *family),
            Copy::Wait {
                family,
                left,
                reading,
            } => self.wait(active, *family, *left, *reading),
            Copy::Arrive { object, increments } => {
                self.arrive_after_copies(frame, active, object, *increments)?;
            }
        }
        Ok(Outcome::Done)
    }

    /// What lanes began becomes a group.
    pub(super) fn commit(&mut self, active: u32, family: Family) {
        for lane in lanes_of(active) {
            self.warp.groups[family as usize][lane as usize] += 1;
        }
    }

    /// Does what lanes wait for: all but some of their last groups.
    pub(super) fn wait(&mut self, active: u32, family: Family, left: Option<u64>, reading: bool) {
        if left.is_none() {
            self.commit(active, family);
        }
        let warp = self.agent();
        let mut clock = 0;
        for lane in lanes_of(active) {
            let committed = self.warp.groups[family as usize][lane as usize];
            let below = committed.saturating_sub(left.unwrap_or(0));
            clock = clock.max(below as u32);
            let works = self.queue.in_groups(warp, 1 << lane, family, below);
            if reading {
                self.memories().finish_reading(works);
            } else {
                self.memories().finish(works);
            }
        }
        if family == Family::Bulk {
            self.order.learn(warp, Channel::BulkRead(warp), clock);
        }
        if !reading {
            self.order.learn(warp, channel(family, warp), clock);
        }
    }

    /// Arrives for lanes when what they copy is done.
    fn arrive_after_copies(
        &mut self,
        frame: usize,
        active: u32,
        object: &Access,
        increments: bool,
    ) -> Result<(), Fault> {
        let objects = self.objects(frame, active, object, false)?;
        let warp = self.agent();
        for lane in lanes_of(active) {
            let (rank, place) = objects[lane as usize];
            if increments {
                self.at_object((rank, place), lane, |object| object.increment(1))?;
            }
            // Who waits for the phase knows the copies: their group is closed for what comes later.
            self.commit(1 << lane, Family::Copies);
            let below = self.warp.groups[Family::Copies as usize][lane as usize];
            let agent = self.order.channel(Channel::Copies(warp));
            let mut knows = self.order.snapshot(warp);
            knows.learn(agent, below as u32);
            let begun = Begun {
                after: self.queue.in_groups(warp, 1 << lane, Family::Copies, below),
                origin: self.origin(frame, lane),
                operation: Box::new(NoOperation),
                signal: Signal::Arrival {
                    rank,
                    place,
                    count: 1,
                },
                knows: Rc::new(knows),
                is_asynchronous: false,
            };
            self.queue.push(begun);
        }
        Ok(())
    }

    fn copy_element(
        &mut self,
        frame: usize,
        active: u32,
        element: &CopyElement,
    ) -> Result<(), Fault> {
        let bytes = element.bytes;
        let to = self.places(frame, active, &element.to, bytes, "copies to shared memory")?;
        let from = self.places(
            frame,
            active,
            &element.from,
            bytes,
            "copies from global memory",
        )?;
        let kept = self.lanes_or(frame, active, element.kept.as_ref(), u64::from(bytes));
        let ignored = self.lanes_or(frame, active, element.ignored.as_ref(), 0);
        let warp = self.agent();
        let knows = Rc::new(self.order.snapshot(warp));
        let mut left = active;
        while left != 0 {
            // Lanes whose groups are counted alike go together.
            let first = left.trailing_zeros();
            let number = self.warp.groups[Family::Copies as usize][first as usize];
            let same =
                |&lane: &u32| self.warp.groups[Family::Copies as usize][lane as usize] == number;
            let lanes = lanes_of(left)
                .filter(same)
                .fold(0, |mask, lane| mask | 1 << lane);
            left &= !lanes;
            let mut moves = Vec::new();
            for lane in lanes_of(lanes) {
                let own = lane as usize;
                let kept = match ignored[own] & 1 {
                    1 => 0,
                    _ => kept[own].min(u64::from(bytes)),
                };
                self.element_moves(to.of(lane), from.of(lane), (kept, bytes), lane, &mut moves)?;
            }
            let begun = Begun {
                after: Vec::new(),
                origin: self.origin(frame, first),
                operation: Box::new(Moves::new(moves, None, false)),
                signal: Signal::Group {
                    warp,
                    lanes,
                    family: Family::Copies,
                    number,
                },
                knows: Rc::clone(&knows),
                is_asynchronous: false,
            };
            self.queue.push(begun);
        }
        Ok(())
    }

    fn element_moves(
        &self,
        (to_window, to): (Window, u64),
        (from_window, from): (Window, u64),
        (kept, bytes): (u64, u32),
        lane: u32,
        moves: &mut Vec<Move>,
    ) -> Result<(), Fault> {
        let size = u64::from(bytes);
        let Some(to) = self.existing(to_window, to, size) else {
            return Err(beyond("copies to shared memory", to, size, lane));
        };
        if kept > 0 {
            let Some(from) = self.existing(from_window, from, kept) else {
                return Err(beyond("copies from global memory", from, kept, lane));
            };
            moves.push(Move {
                from: From::Memory(from),
                to,
                bytes: kept as u32,
            });
        }
        if kept < size {
            moves.push(Move {
                from: From::Pattern(&[0]),
                to: to.plus(kept),
                bytes: bytes - kept as u32,
            });
        }
        Ok(())
    }

    /// The values of an operand that may be missing.
    fn lanes_or(
        &mut self,
        frame: usize,
        active: u32,
        source: Option<&Source>,
        default: u64,
    ) -> [u64; 32] {
        let Some(source) = source else {
            return [default; 32];
        };
        let values = self.values(frame, source);
        self.need_written(&values, active, "what a copy leaves out");
        values.values
    }

    /// A place that is there, with all its bytes.
    pub(super) fn existing(&self, window: Window, place: u64, bytes: u64) -> Option<Spot> {
        let spot = self.spot(window, place)?;
        let is_there = match spot {
            Spot::Global(address) => self.memory.holds(address, bytes),
            Spot::Shared(rank, own) => own + bytes <= self.ctas[rank as usize].shared.len() as u64,
        };
        is_there.then_some(spot)
    }

    fn copy_bulk(&mut self, frame: usize, active: u32, bulk: &Bulk) -> Result<(), Fault> {
        let to = self.places(frame, active, &bulk.to, 16, "copies to")?;
        let from = self.places(frame, active, &bulk.from, 16, "copies from")?;
        let sizes = self.values(frame, &bulk.bytes);
        self.need_written(&sizes, active, "a copy's number of bytes");
        for lane in lanes_of(active) {
            let own = lane as usize;
            let size = bulk_size(sizes.values[own], lane)?;
            let Some(source) = self.existing(from.of(lane).0, from.of(lane).1, size) else {
                return Err(beyond("copies from", from.of(lane).1, size, lane));
            };
            let Some(destination) = self.existing(to.of(lane).0, to.of(lane).1, size) else {
                return Err(beyond("copies to", to.of(lane).1, size, lane));
            };
            let make = |to: Spot| -> Box<dyn Operation> {
                let moves = vec![Move {
                    from: From::Memory(source),
                    to,
                    bytes: size as u32,
                }];
                Box::new(Moves::new(moves, combine(bulk.reduction.as_ref()), true))
            };
            self.begin_bulk(frame, lane, &bulk.target, destination, size as u32, &make)?;
        }
        Ok(())
    }

    /// Begins a bulk copy of a lane to a place, or to the same place of several CTAs.
    pub(super) fn begin_bulk(
        &mut self,
        frame: usize,
        lane: u32,
        target: &Target,
        to: Spot,
        bytes: u32,
        make: &dyn Fn(Spot) -> Box<dyn Operation>,
    ) -> Result<(), Fault> {
        let warp = self.agent();
        let origin = self.origin(frame, lane);
        let begun = |to: Spot, signal: Signal, knows| Begun {
            after: Vec::new(),
            origin,
            operation: make(to),
            signal,
            knows,
            is_asynchronous: true,
        };
        let Target::Barrier {
            object,
            mask,
            is_of_pair,
        } = target
        else {
            let number = self.warp.groups[Family::Bulk as usize][lane as usize];
            let signal = Signal::Group {
                warp,
                lanes: 1 << lane,
                family: Family::Bulk,
                number,
            };
            let knows = Rc::new(self.order.snapshot(warp));
            self.queue.push(begun(to, signal, knows));
            return Ok(());
        };
        let (rank, place) = self.objects(frame, 1 << lane, object, false)?[lane as usize];
        let refuse = |reason: &str| Fault {
            kind: FindingKind::Refused {
                reason: reason.into(),
            },
            lane,
        };
        let mut copies = Vec::new();
        match (mask, to) {
            (None, _) => copies.push((to, rank)),
            (Some(mask), Spot::Shared(_, own)) => {
                let mask = self.values(frame, mask).values[lane as usize] as u32 & 0xffff;
                copies.extend(lanes_of(mask).map(|each| {
                    // Of each pair it is the CTA in which the mbarrier named is in its own.
                    let of_pair = each & !1 | rank & 1;
                    let rank = if *is_of_pair { of_pair } else { each };
                    (Spot::Shared(each, own), rank)
                }));
            }
            (Some(_), Spot::Global(_)) => {
                return Err(refuse("a copy to several CTAs goes to shared memory"));
            }
        }
        for &(to, rank) in &copies {
            let last = self.ctas.len() as u32 - 1;
            if rank > last || matches!(to, Spot::Shared(own, _) if own > last) {
                return Err(refuse(
                    "a copy goes to a CTA that the cluster does not have",
                ));
            }
            let place_of = |rank: u32| if *is_of_pair { rank >> 1 } else { rank };
            if matches!(to, Spot::Shared(own, _) if place_of(own) != place_of(rank)) {
                return Err(refuse(if *is_of_pair {
                    "a copy's mbarrier is in another pair of CTAs than its destination"
                } else {
                    "a copy's mbarrier is in another CTA than its destination"
                }));
            }
        }
        if mask.is_some() {
            let ranks: Vec<u32> = copies.iter().map(|&(_, rank)| rank).collect();
            self.names_objects(&ranks, place, lane);
        }
        let knows = Rc::new(self.order.snapshot(warp));
        for (to, rank) in copies {
            let signal = Signal::Bytes { rank, place, bytes };
            self.queue.push(begun(to, signal, Rc::clone(&knows)));
        }
        Ok(())
    }
}

pub(super) fn combine(reduction: Option<&BulkReduction>) -> Option<Combine> {
    reduction.map(|reduction| Combine {
        function: reduction.function.clone(),
        bytes: reduction.bytes,
    })
}

/// Bytes of a bulk copy: a multiple of 16.
fn bulk_size(size: u64, lane: u32) -> Result<u64, Fault> {
    let size = size & 0xffff_ffff;
    if size.is_multiple_of(16) {
        return Ok(size);
    }
    let reason = format!("a bulk copy is of a multiple of 16 bytes, not of {size}");
    Err(Fault {
        kind: FindingKind::Refused { reason },
        lane,
    })
}

pub(super) fn beyond(access: &'static str, address: u64, bytes: u64, lane: u32) -> Fault {
    Fault {
        kind: FindingKind::OutOfBounds {
            access,
            address,
            bytes: bytes as u32,
        },
        lane,
    }
}
