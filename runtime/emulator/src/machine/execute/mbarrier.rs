//! Barrier objects: initialised, arrived at, waited for.

use super::super::context::{Context, Fault};
use super::super::frame::lanes_of;
use super::super::mbarrier::Mbarrier as Object;
use super::super::{Lanes, State};
use super::Outcome;
use crate::finding::FindingKind;
use crate::instruction::{Access, Arrive, Mbarrier, Ordering, Test, ThreadScope};
use crate::machine::asynchronous::{Spot, race};

/// The object of each lane: the CTA's rank, the place in its shared memory.
pub(super) type Objects = [(u32, u64); 32];

impl Context<'_> {
    pub(super) fn mbarrier(
        &mut self,
        strand: usize,
        active: u32,
        mbarrier: &Mbarrier,
    ) -> Result<Outcome, Fault> {
        let frame = self.warp.strands[strand].frame;
        match mbarrier {
            Mbarrier::Initialise { object, count } => {
                let objects = self.objects(frame, active, object, true)?;
                let counts = self.values(frame, count);
                self.need_written(&counts, active, "an mbarrier's number of arrivals");
                for lane in lanes_of(active) {
                    self.initialise(objects[lane as usize], counts.values[lane as usize], lane)?;
                }
            }
            Mbarrier::Invalidate { object } => {
                let objects = self.objects(frame, active, object, true)?;
                for lane in lanes_of(active) {
                    let (rank, place) = objects[lane as usize];
                    if self.ctas[rank as usize].mbarriers.remove(&place).is_none() {
                        return Err(misuse(
                            place,
                            "is invalidated, and was not initialised",
                            lane,
                        ));
                    }
                }
            }
            Mbarrier::Expect { object, bytes } => {
                let objects = self.objects(frame, active, object, false)?;
                let bytes = self.values(frame, bytes);
                for lane in lanes_of(active) {
                    let (object, bytes) = (objects[lane as usize], bytes.values[lane as usize]);
                    self.at_object(object, lane, |barrier| barrier.expect(bytes as u32))?;
                }
            }
            Mbarrier::Complete { object, bytes } => {
                let objects = self.objects(frame, active, object, false)?;
                let bytes = self.values(frame, bytes);
                for lane in lanes_of(active) {
                    let (object, bytes) = (objects[lane as usize], bytes.values[lane as usize]);
                    self.changes_phase(object, lane, |barrier| barrier.complete(bytes as u32))?;
                }
            }
            Mbarrier::Arrive(arrive) => self.arrive(frame, active, arrive)?,
            Mbarrier::Test(test) => return self.test(strand, active, test),
            Mbarrier::Pending { state, destination } => {
                let mut counts = self.values(frame, state);
                let pending = |token: &mut u64| *token = Object::pending_of(*token);
                counts.values.iter_mut().for_each(pending);
                self.set(frame, *destination, active, &counts);
            }
        }
        Ok(Outcome::Done)
    }

    /// The object of each lane; for the race checker, one that is made or ends is written, and any other read.
    pub(super) fn objects(
        &mut self,
        frame: usize,
        active: u32,
        access: &Access,
        writes: bool,
    ) -> Result<Objects, Fault> {
        let places = self.places(frame, active, access, 8, "uses an mbarrier of")?;
        let ordering = Ordering {
            is_strong: !writes,
            ..Ordering::default()
        };
        self.accesses(active, &places, (!writes, writes), ordering);
        let mut objects = [(0, 0); 32];
        for lane in lanes_of(active) {
            let (window, place) = places.of(lane);
            let shared = self.ctas[self.rank].shared.len() as u64;
            match self.spot(window, place) {
                Some(Spot::Shared(rank, own)) if own + 8 <= shared => {
                    objects[lane as usize] = (rank, own);
                }
                _ => {
                    let kind = FindingKind::OutOfBounds {
                        access: "uses an mbarrier of",
                        address: place,
                        bytes: 8,
                    };
                    return Err(Fault { kind, lane });
                }
            }
        }
        Ok(objects)
    }

    /// Notes that work of a lane will arrive at the mbarriers that several CTAs have at one place: who begins it must know them
    /// all.
    pub(super) fn names_objects(&mut self, ranks: &[u32], place: u64, lane: u32) {
        if self.shadow.is_none() {
            return;
        }
        let own = self.rank as u32;
        for &rank in ranks.iter().filter(|&&rank| rank != own) {
            let spot = Spot::Shared(rank, place);
            let scope = Some(ThreadScope::Cluster);
            if let Some(conflict) = self.shadowed(spot, 8, false, scope, lane) {
                let kind = race(spot, 8, false, &conflict);
                self.found.push(Fault { kind, lane });
            }
        }
    }

    fn initialise(
        &mut self,
        (rank, place): (u32, u64),
        count: u64,
        lane: u32,
    ) -> Result<(), Fault> {
        let object = Object::new(count as u32).map_err(|reason| misuse(place, reason, lane))?;
        // What lies there is nobody's to look at.
        let shared = &mut self.ctas[rank as usize].shared;
        shared.forget(place as usize, 8);
        let before = self.ctas[rank as usize].mbarriers.insert(place, object);
        if before.is_some() {
            return Err(misuse(
                place,
                "is initialised again, and was not invalidated",
                lane,
            ));
        }
        Ok(())
    }

    pub(super) fn at_object(
        &mut self,
        (rank, place): (u32, u64),
        lane: u32,
        happens: impl FnOnce(&mut Object) -> Result<(), String>,
    ) -> Result<(), Fault> {
        match self.ctas[rank as usize].mbarriers.get_mut(&place) {
            Some(object) => happens(object).map_err(|reason| misuse(place, reason, lane)),
            None => Err(misuse(place, "is used, and was not initialised", lane)),
        }
    }

    fn changes_phase(
        &mut self,
        (rank, place): (u32, u64),
        lane: u32,
        happens: impl FnOnce(&mut Object) -> Result<bool, String>,
    ) -> Result<(), Fault> {
        let mut ended = None;
        self.at_object((rank, place), lane, |object| {
            let phase = object.phase();
            ended = happens(object)?.then_some(phase);
            Ok(())
        })?;
        if let Some(phase) = ended {
            self.order.ends_phase(rank, place, phase);
        }
        Ok(())
    }

    fn arrive(&mut self, frame: usize, active: u32, arrive: &Arrive) -> Result<(), Fault> {
        let objects = self.objects(frame, active, &arrive.object, false)?;
        let one = Lanes::splat(1);
        let counts = match &arrive.count {
            Some(count) => self.values(frame, count),
            None => one,
        };
        let bytes = match &arrive.bytes {
            Some(bytes) => self.values(frame, bytes),
            None => Lanes::splat(0),
        };
        self.need_written(&counts, active, "a number of arrivals");
        self.need_written(&bytes, active, "a number of bytes that are expected");
        let told = self.order.told(self.agent(), arrive.releases, arrive.scope);
        let mut tokens = Lanes::splat(0);
        for lane in lanes_of(active) {
            let own = lane as usize;
            let (rank, place) = objects[own];
            let count = counts.values[own] as u32;
            self.at_object((rank, place), lane, |object| {
                object.expect(bytes.values[own] as u32)?;
                if arrive.drops {
                    object.drop_expected(count)?;
                }
                tokens.values[own] = object.token();
                Ok(())
            })?;
            let is_own = rank as usize == self.rank;
            self.order.arrives((rank, place), is_own, &told);
            let mut ended = false;
            self.changes_phase((rank, place), lane, |object| {
                ended = object.arrive(count)?;
                Ok(ended)
            })?;
            if ended && !arrive.completes {
                return Err(misuse(
                    place,
                    "ends its phase by an arrival that says .noComplete",
                    lane,
                ));
            }
        }
        self.set(frame, arrive.destination, active, &tokens);
        Ok(())
    }

    /// Whether phases have ended. A strand all of whose lanes ask in vain for the same one sleeps until it has, or until
    /// nothing else goes on.
    fn test(&mut self, strand: usize, active: u32, test: &Test) -> Result<Outcome, Fault> {
        if active == 0 {
            return Ok(Outcome::Done);
        }
        let frame = self.warp.strands[strand].frame;
        let objects = self.objects(frame, active, &test.object, false)?;
        let phases = self.values(frame, &test.phase);
        self.need_written(&phases, active, "an mbarrier's phase");
        let mut ended = Lanes::splat(0);
        let (mut open, mut same) = (None, true);
        for lane in lanes_of(active) {
            let own = lane as usize;
            let (rank, place) = objects[own];
            if rank as usize != self.rank {
                return Err(misuse(place, "is waited for from another CTA", lane));
            }
            let asked = phases.values[own];
            let mut has_ended = false;
            let mut phase = 0;
            self.at_object((rank, place), lane, |object| {
                has_ended = if test.is_parity {
                    object.has_passed_parity(asked)
                } else {
                    object.has_passed(asked)
                };
                phase = object.phase();
                Ok(())
            })?;
            ended.values[own] = u64::from(has_ended);
            if has_ended {
                let warp = self.agent();
                self.order
                    .passes_mbarrier(warp, (rank, place), test.acquires, test.scope);
                if test.acquires {
                    self.warp.paths.clear();
                }
                same = false;
            } else {
                let asked = (rank, place, phase);
                same &= *open.get_or_insert(asked) == asked;
            }
        }
        // The answer may come at once, and does where a warp comes the first time: who does not ask again is found. Later it does
        // one time of four.
        if let Some((rank, place, phase)) = open
            && same
            && !self.warp.denied.insert(self.place.line)
            && self.random.below(4) != 0
        {
            self.warp.strands[strand].state = State::AtMbarrier { rank, place, phase };
            return Ok(Outcome::Waits);
        }
        self.set(frame, test.destination, active, &ended);
        Ok(Outcome::Done)
    }
}

fn misuse(address: u64, reason: impl Into<String>, lane: u32) -> Fault {
    Fault {
        kind: FindingKind::Mbarrier {
            address,
            reason: reason.into(),
        },
        lane,
    }
}
