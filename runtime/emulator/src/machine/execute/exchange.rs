//! Values of other lanes. All lanes of a mask that have not ended must be at the instruction, in one strand; lanes that name
//! different masks are groups by themselves.

use super::super::context::{Context, Fault};
use super::super::frame::lanes_of;
use super::Outcome;
use crate::finding::FindingKind;
use crate::instruction::{Exchange, Source, Vote};
use crate::machine::Lanes;

impl Context<'_> {
    pub(super) fn exchange(
        &mut self,
        strand: usize,
        active: u32,
        exchange: &Exchange,
    ) -> Result<Outcome, Fault> {
        let frame = self.warp.strands[strand].frame;
        if active == 0 {
            return Ok(Outcome::Done);
        }
        let mask = match exchange {
            Exchange::Active { destination } => {
                self.set(
                    frame,
                    *destination,
                    active,
                    &Lanes::splat(u64::from(active)),
                );
                return Ok(Outcome::Done);
            }
            Exchange::Shuffle { mask, .. }
            | Exchange::Vote { mask, .. }
            | Exchange::MatchAny { mask, .. }
            | Exchange::MatchAll { mask, .. }
            | Exchange::Reduce { mask, .. }
            | Exchange::Elect { mask, .. } => mask,
        };
        let Some(groups) = self.groups(strand, active, mask)? else {
            return Ok(Outcome::Waits);
        };
        for members in groups {
            self.exchange_within(frame, active & members, members, exchange);
        }
        Ok(Outcome::Done)
    }

    /// An exchange of those lanes of a mask that have not ended; of these the active ones get a result.
    fn exchange_within(&mut self, frame: usize, active: u32, members: u32, exchange: &Exchange) {
        match exchange {
            Exchange::Shuffle {
                shuffle,
                value,
                lane,
                bounds,
                destination,
                within,
                ..
            } => {
                let (values, by, bounds) = (
                    self.values(frame, value),
                    self.values(frame, lane),
                    self.values(frame, bounds),
                );
                let mut result = Lanes::splat(0);
                let mut inside = Lanes::splat(0);
                for own in lanes_of(active) {
                    let i = own as usize;
                    let (from, is_within) =
                        shuffle.lane(own, by.values[i] as u32, bounds.values[i] as u32);
                    // Of a lane that is not there the value is undefined.
                    let written = values.written & active;
                    result.values[i] = values.values[from as usize];
                    result.written &= !(u32::from(written >> from & 1 == 0) << own);
                    inside.values[i] = u64::from(is_within);
                }
                self.set(frame, *destination, active, &result);
                self.set(frame, *within, active, &inside);
            }
            Exchange::Vote {
                vote,
                predicate,
                destination,
                ..
            } => {
                let predicates = self.values(frame, predicate);
                self.need_written(&predicates, members, "a vote");
                let set = predicates.mask() & members;
                let value = match vote {
                    Vote::All => u64::from(set == members),
                    Vote::Any => u64::from(set != 0),
                    Vote::Unanimous => u64::from(set == 0 || set == members),
                    Vote::Ballot => u64::from(set),
                };
                self.set(frame, *destination, active, &Lanes::splat(value));
            }
            Exchange::MatchAny {
                value, destination, ..
            } => {
                let values = self.values(frame, value);
                let result = Lanes::from_fn(|lane| u64::from(equal(&values, lane, members)));
                self.set(frame, *destination, active, &result);
            }
            Exchange::MatchAll {
                value,
                destination,
                all,
                ..
            } => {
                let values = self.values(frame, value);
                let unanimous = equal(&values, members.trailing_zeros() & 31, members) == members;
                let lanes = if unanimous { u64::from(members) } else { 0 };
                self.set(frame, *destination, active, &Lanes::splat(lanes));
                self.set(frame, *all, active, &Lanes::splat(u64::from(unanimous)));
            }
            Exchange::Reduce {
                each: of_each,
                function,
                value,
                destination,
                ..
            } => {
                let values = self.values(frame, value);
                let each = lanes_of(members).map(|lane| of_each(values.values[lane as usize]));
                let reduced = each.reduce(function).unwrap_or(0);
                let written = if values.written & members == members {
                    u32::MAX
                } else {
                    0
                };
                self.set(
                    frame,
                    *destination,
                    active,
                    &Lanes {
                        values: [reduced; 32],
                        written,
                    },
                );
            }
            Exchange::Elect {
                destination,
                elected,
                ..
            } => {
                let leader = members.trailing_zeros();
                self.set(
                    frame,
                    *destination,
                    active,
                    &Lanes::splat(u64::from(leader)),
                );
                self.set(
                    frame,
                    *elected,
                    active,
                    &Lanes::from_fn(|lane| u64::from(lane == leader)),
                );
            }
            Exchange::Active { .. } => {}
        }
    }

    /// The lanes of each mask that have not ended, if they are all there; each lane must name itself, and whom it names must
    /// name the same.
    fn groups(
        &mut self,
        strand: usize,
        active: u32,
        mask: &Source,
    ) -> Result<Option<Vec<u32>>, Fault> {
        let frame = self.warp.strands[strand].frame;
        let masks = self.values(frame, mask);
        self.need_written(&masks, active, "a mask of lanes");
        let mask = |lane: u32| masks.values[lane as usize] as u32;
        let refuse = |lane: u32, reason: String| Fault {
            kind: FindingKind::Refused { reason },
            lane,
        };
        if let Some(lane) = lanes_of(active).find(|&lane| mask(lane) >> lane & 1 == 0) {
            let reason = format!(
                "lane {lane} executes an instruction whose mask {:#010x} does not name it",
                mask(lane)
            );
            return Err(refuse(lane, reason));
        }
        let live = self.warp.live();
        let named = lanes_of(active).fold(0, |all, lane| all | mask(lane) & live);
        if !self.gathers(strand, active, named) {
            return Ok(None);
        }
        let mut groups = Vec::new();
        let mut left = active;
        while left != 0 {
            let first = left.trailing_zeros();
            let members = mask(first) & live;
            if let Some(other) = lanes_of(members).find(|&other| mask(other) != mask(first)) {
                let reason = format!(
                    "lane {first} names lane {other} in its mask {:#010x}, and lane {other} has the mask {:#010x}",
                    mask(first),
                    mask(other)
                );
                return Err(refuse(first, reason));
            }
            groups.push(members);
            left &= !members;
        }
        Ok(Some(groups))
    }
}

/// The members whose value is a lane's.
fn equal(values: &Lanes, lane: u32, members: u32) -> u32 {
    let own = values.values[lane as usize];
    lanes_of(members)
        .filter(|&other| values.values[other as usize] == own)
        .fold(0, |mask, other| mask | 1 << other)
}
