//! `tcgen05` as warps execute it: allocations, loads and stores, and what is begun for the tensor cores.

mod products;
mod registers;

use super::super::context::{Context, Fault};
use super::super::frame::lanes_of;
use super::super::tensor_memory::{Copying, What};
use super::super::warp::Pending;
use super::super::{Lanes, State};
use super::Outcome;
use crate::finding::FindingKind;
use crate::instruction::{Access, Location, Ordering, Source, Space, Tcgen05};
use crate::tcgen05::Cell;
use crate::tcgen05::shared_descriptor::SharedDescriptor;

impl Context<'_> {
    pub(super) fn tcgen05(
        &mut self,
        strand: usize,
        active: u32,
        instruction: &Tcgen05,
    ) -> Result<Outcome, Fault> {
        if active == 0 {
            return Ok(Outcome::Done);
        }
        let of_threads = matches!(
            instruction,
            Tcgen05::Copy { .. } | Tcgen05::Multiply(_) | Tcgen05::Commit { .. } | Tcgen05::Fence
        );
        if !of_threads && !self.gathers_warp(strand, active)? {
            return Ok(Outcome::Waits);
        }
        let frame = self.warp.strands[strand].frame;
        let lane = active.trailing_zeros();
        match instruction {
            Tcgen05::Allocate {
                pair,
                to,
                generic,
                columns,
            } => {
                self.is_of_group(*pair, lane)?;
                let columns = self.uniform(frame, columns, active, "a number of columns")? as u32;
                return self.allocate(strand, to, *generic, columns);
            }
            Tcgen05::Deallocate {
                pair,
                address,
                columns,
            } => {
                self.is_of_group(*pair, lane)?;
                let address = self.uniform(frame, address, active, TENSOR_ADDRESS)? as u32;
                let columns = self.uniform(frame, columns, active, "a number of columns")? as u32;
                let tensor = &mut self.ctas[self.rank].tensor;
                let first = Cell::of(address);
                let done = if first.lane == 0 {
                    tensor.memory.deallocate(first.column, columns)
                } else {
                    Err(format!("is given back from lane {} on", first.lane))
                };
                done.map_err(|reason| misuse(reason, lane))?;
                tensor
                    .allocated
                    .retain(|&(column, _)| column != first.column);
            }
            Tcgen05::Relinquish { pair } => {
                self.is_of_group(*pair, lane)?;
                self.ctas[self.rank].tensor.memory.is_relinquished = true;
            }
            Tcgen05::Load {
                fragment,
                address,
                destinations,
            } => {
                let first = self.quadrant(frame, address, *fragment)?;
                for &register in destinations.iter().flatten() {
                    // Of one that is held already, an earlier load's: it is used too early.
                    self.set(frame, Some(register), 0, &Lanes::splat(0));
                    self.warp.hold(frame, register);
                }
                let pending = Pending::Load {
                    fragment: *fragment,
                    first,
                    origin: self.origin(frame, 0),
                    frame,
                    destinations: destinations.clone(),
                };
                self.warp.pending.push(pending);
            }
            Tcgen05::Store {
                fragment,
                address,
                sources,
            } => {
                let first = self.quadrant(frame, address, *fragment)?;
                let pending = Pending::Store {
                    fragment: *fragment,
                    first,
                    origin: self.origin(frame, 0),
                    values: sources
                        .iter()
                        .map(|source| self.values(frame, source))
                        .collect(),
                };
                self.warp.pending.push(pending);
            }
            Tcgen05::WaitForLoads => self.wait_for(true)?,
            Tcgen05::WaitForStores => self.wait_for(false)?,
            Tcgen05::Fence => {}
            Tcgen05::Copy {
                pair,
                shape,
                decompresses,
                address,
                descriptor,
            } => {
                self.is_of_group(*pair, lane)?;
                let addresses = self.addresses(frame, address, active);
                let descriptors = self.values(frame, descriptor);
                self.need_written(&descriptors, active, "a shared-memory descriptor");
                for lane in lanes_of(active) {
                    let from = SharedDescriptor::new(descriptors.values[lane as usize]);
                    let copy = Copying {
                        ranks: self.group(*pair, lane)?,
                        shape: *shape,
                        decompresses: *decompresses,
                        to: Cell::of(addresses.values[lane as usize] as u32),
                        from: from.map_err(|reason| impossible(reason, lane))?,
                    };
                    self.begin(frame, lane, What::Copy(copy));
                }
            }
            Tcgen05::Multiply(multiply) => self.begin_products(frame, active, multiply)?,
            Tcgen05::Commit {
                pair,
                object,
                generic,
                mask,
            } => {
                self.is_of_group(*pair, lane)?;
                self.commit_products(frame, active, (object, *generic), mask.as_ref())?;
            }
        }
        Ok(Outcome::Done)
    }

    /// A value that all lanes must have.
    fn uniform(
        &mut self,
        frame: usize,
        source: &Source,
        active: u32,
        what: &'static str,
    ) -> Result<u64, Fault> {
        let values = self.values(frame, source);
        self.need_written(&values, active, what);
        let first = values.values[active.trailing_zeros() as usize];
        let other = lanes_of(active).find(|&lane| values.values[lane as usize] != first);
        match other {
            None => Ok(first),
            Some(lane) => Err(misuse(
                format!("is reached with {what} that is not the same in all lanes"),
                lane,
            )),
        }
    }

    /// Addresses of tensor memory in brackets.
    fn addresses(&mut self, frame: usize, location: &Location, active: u32) -> Lanes {
        let mut values = self.values(frame, &location.base);
        self.need_written(&values, active, TENSOR_ADDRESS);
        for value in &mut values.values {
            *value = value.wrapping_add_signed(location.offset) & 0xffff_ffff;
        }
        values
    }

    /// That all instructions of a CTA are of one CTA, or all of a pair.
    fn is_of_group(&mut self, pair: bool, lane: u32) -> Result<(), Fault> {
        let own = self.ctas[self.rank].tensor.pair.get_or_insert(pair);
        if *own == pair {
            return Ok(());
        }
        Err(misuse(
            "is used with .cta_group::1 and with .cta_group::2 in one kernel".into(),
            lane,
        ))
    }

    /// The CTAs that an instruction is of: the own one, or the pair.
    fn group(&self, pair: bool, lane: u32) -> Result<Vec<u32>, Fault> {
        let own = self.rank as u32;
        if !pair {
            return Ok(vec![own]);
        }
        let first = own & !1;
        if first as usize + 1 >= self.ctas.len() {
            return Err(misuse(
                "is used by a pair of CTAs, and the CTA's cluster has no other one".into(),
                lane,
            ));
        }
        Ok(vec![first, first + 1])
    }

    fn allocate(
        &mut self,
        strand: usize,
        to: &Location,
        generic: bool,
        columns: u32,
    ) -> Result<Outcome, Fault> {
        let frame = self.warp.strands[strand].frame;
        let tensor = &mut self.ctas[self.rank].tensor;
        let found = tensor.memory.allocate(columns);
        let Some(first) = found.map_err(|reason| misuse(reason, 0))? else {
            self.warp.strands[strand].state = State::AtAllocation { columns };
            return Ok(Outcome::Waits);
        };
        let origin = self.origin(frame, 0);
        self.ctas[self.rank].tensor.allocated.push((first, origin));
        let access = Access {
            space: if generic {
                Space::Generic
            } else {
                Space::Shared
            },
            location: to.clone(),
            bytes: 4,
        };
        let what = "writes the address of tensor memory to";
        let places = self.places(frame, 1, &access, 4, what)?;
        self.accesses(1, &places, (false, true), Ordering::default());
        let (window, place) = places.of(0);
        let done = self.write(frame, 0, window, place, 4, (u64::from(first), true));
        if done.is_none() {
            let kind = FindingKind::OutOfBounds {
                access: what,
                address: place,
                bytes: 4,
            };
            return Err(Fault { kind, lane: 0 });
        }
        Ok(Outcome::Done)
    }
}

const TENSOR_ADDRESS: &str = "an address of tensor memory";

fn misuse(reason: String, lane: u32) -> Fault {
    Fault {
        kind: FindingKind::TensorMemory { reason },
        lane,
    }
}

fn impossible(reason: String, lane: u32) -> Fault {
    Fault {
        kind: FindingKind::Descriptor { reason },
        lane,
    }
}
