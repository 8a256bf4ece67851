//! `tcgen05` as warps execute it: allocations, loads and stores, and what is begun for the tensor cores.

use super::super::asynchronous::{Begun, NoOperation, Operation, Signal};
use super::super::context::{Context, Fault};
use super::super::frame::lanes_of;
use super::super::order::Channel;
use super::super::shadow::{Accessor, Stamp};
use super::super::tensor_memory::{Batch, Copying, FromA, Multiplying, Step, What};
use super::super::warp::Pending;
use super::super::{Lanes, State};
use super::Outcome;
use crate::finding::FindingKind;
use crate::instruction::{
    Access, Location, MultiplyTensor, OperandA, Ordering, Source, Space, Tcgen05,
};
use crate::memory::tensor::WHOLE;
use crate::tcgen05::Cell;
use crate::tcgen05::datapath::Layout;
use crate::tcgen05::fragment::Fragment;
use crate::tcgen05::instruction_descriptor::InstructionDescriptor;
use crate::tcgen05::shared_descriptor::SharedDescriptor;
use std::rc::Rc;

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
        let (window, place) = places[0];
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

    /// The first word of a load or store, which must lie in the lanes that the warp reaches.
    fn quadrant(
        &mut self,
        frame: usize,
        address: &Location,
        fragment: Fragment,
    ) -> Result<Cell, Fault> {
        let addresses = self.addresses(frame, address, u32::MAX);
        let first = addresses.values[0];
        if let Some(lane) = (0..32).find(|&lane| addresses.values[lane] != first) {
            let reason = "is reached with an address that is not the same in all lanes";
            return Err(misuse(reason.into(), lane as u32));
        }
        let cell = Cell::of(first as u32);
        let own = 32 * (self.warp.index % 4);
        let is_own = cell.lane == own || (cell.lane == own + 16 && fragment.lanes() == 16);
        if !is_own {
            let last = own + 31;
            return Err(misuse(
                format!(
                    "is reached at lane {}, and the warp reaches the lanes {own} to {last}",
                    cell.lane
                ),
                0,
            ));
        }
        Ok(cell)
    }

    /// Does the loads or the stores that the warp has begun.
    fn wait_for(&mut self, loads: bool) -> Result<(), Fault> {
        let all = std::mem::take(&mut self.warp.pending);
        for pending in all {
            match pending {
                Pending::Load {
                    fragment,
                    first,
                    origin,
                    frame,
                    destinations,
                } if loads => {
                    for (register, &destination) in destinations.iter().enumerate() {
                        let mut lanes = Lanes::splat(0);
                        for lane in 0..32 {
                            let cell = fragment.cell(lane, register as u32);
                            let cell = first.plus(cell.lane, cell.column);
                            let (value, written) =
                                self.load_word(cell, fragment.halves, origin.place.line, lane)?;
                            lanes.values[lane as usize] = u64::from(value);
                            lanes.written &= !(u32::from(!written) << lane);
                        }
                        if let Some(register) = destination {
                            self.warp.give(frame, register, &lanes);
                        }
                    }
                }
                Pending::Store {
                    fragment,
                    first,
                    origin,
                    values,
                } if !loads => {
                    for (register, lanes) in values.iter().enumerate() {
                        for lane in 0..32 {
                            let cell = fragment.cell(lane, register as u32);
                            let cell = first.plus(cell.lane, cell.column);
                            let value = lanes.values[lane as usize] as u32;
                            let written = lanes.written >> lane & 1 == 1;
                            let line = origin.place.line;
                            self.store_word(cell, fragment.halves, line, lane, (value, written))?;
                        }
                    }
                }
                other => self.warp.pending.push(other),
            }
        }
        Ok(())
    }

    fn load_word(
        &mut self,
        cell: Cell,
        halves: bool,
        line: u32,
        lane: u32,
    ) -> Result<(u32, bool), Fault> {
        self.touch_tensor(cell, 1 + u32::from(halves), false, line, lane);
        let memory = &self.ctas[self.rank].tensor.memory;
        let read = |cell| memory.read(cell).map_err(|reason| misuse(reason, lane));
        let (low, low_written) = read(cell)?;
        if !halves {
            return Ok((low, low_written == WHOLE));
        }
        let (high, high_written) = read(cell.plus(0, 1))?;
        let is_written = low_written & high_written & HALF == HALF;
        Ok((low & 0xffff | high << 16, is_written))
    }

    fn store_word(
        &mut self,
        cell: Cell,
        halves: bool,
        line: u32,
        lane: u32,
        (value, written): (u32, bool),
    ) -> Result<(), Fault> {
        self.touch_tensor(cell, 1 + u32::from(halves), true, line, lane);
        let memory = &mut self.ctas[self.rank].tensor.memory;
        let mut write = |cell, value, whole: u8| {
            let written = if written { whole } else { 0 };
            let done = memory.write(cell, (value, written));
            done.map_err(|reason| misuse(reason, lane))
        };
        if !halves {
            return write(cell, value, WHOLE);
        }
        write(cell, value & 0xffff, HALF)?;
        write(cell.plus(0, 1), value >> 16, HALF)
    }

    /// Notes an access of the warp's own, for the race checker.
    fn touch_tensor(&mut self, cell: Cell, columns: u32, writes: bool, line: u32, lane: u32) {
        if self.shadow.is_none() {
            return;
        }
        let warp = self.agent();
        let (agent, clock) = self.order.warp(warp);
        let accessor = Accessor {
            stamp: Stamp::new(agent, clock, line, false),
            knows: self.order.knows(warp),
            warps: self.order.warps(),
            is_asynchronous: false,
        };
        let tensor = &mut self.ctas[self.rank].tensor;
        if let Some(kind) = tensor.access(cell, columns, writes, &accessor) {
            self.found.push(super::super::context::Fault { kind, lane });
        }
    }

    fn begin(&mut self, frame: usize, lane: u32, what: What) {
        let warp = self.agent();
        let step = Step {
            origin: self.origin(frame, lane),
            knows: self.order.snapshot(warp),
            what,
        };
        let key = (self.warp.index, lane);
        let pipes = &mut self.ctas[self.rank].tensor.pipes;
        pipes.entry(key).or_default().begun.push(step);
    }

    fn begin_products(
        &mut self,
        frame: usize,
        active: u32,
        multiply: &MultiplyTensor,
    ) -> Result<(), Fault> {
        let form = multiply.form;
        self.is_of_group(form.pair, active.trailing_zeros())?;
        let d = self.addresses(frame, &multiply.d, active);
        let descriptors = self.values(frame, &multiply.descriptor);
        self.need_written(&descriptors, active, "an instruction descriptor");
        let a = match &multiply.a {
            OperandA::Shared(source) => self.values(frame, source),
            OperandA::Tensor(location) => self.addresses(frame, location, active),
        };
        let b = self.values(frame, &multiply.b);
        for values in [&a, &b] {
            self.need_written(values, active, "a shared-memory descriptor");
        }
        let adds = self.values(frame, &multiply.adds);
        self.need_written(&adds, active, "whether a product adds to what is there");
        let scales = multiply
            .scales
            .as_ref()
            .map(|(a, b)| [a, b].map(|location| self.addresses(frame, location, active)));
        let disabled: Vec<Lanes> = multiply
            .disabled
            .iter()
            .map(|source| self.values(frame, source))
            .collect();
        for lane in lanes_of(active) {
            let i = lane as usize;
            let failed = |reason| impossible(reason, lane);
            let descriptor =
                InstructionDescriptor::new(descriptors.values[i] as u32, form).map_err(failed)?;
            let d = Cell::of(d.values[i] as u32);
            if !descriptor.layout.begins_at(d.lane) {
                return Err(misuse(
                    format!(
                        "holds a D of M = {} from lane {} on, where none begins",
                        descriptor.m, d.lane
                    ),
                    lane,
                ));
            }
            if descriptor.layout == Layout::Pair128
                && (form.a_in_tensor_memory || form.kind.is_scaled())
            {
                let reason = "'tcgen05.mma' of a pair with M = 128 and with A or scales in tensor memory is not modelled";
                let kind = FindingKind::Refused {
                    reason: reason.into(),
                };
                return Err(Fault { kind, lane });
            }
            let a = if form.a_in_tensor_memory {
                FromA::Tensor(Cell::of(a.values[i] as u32))
            } else {
                FromA::Shared(SharedDescriptor::new(a.values[i]).map_err(failed)?)
            };
            let of_scales = |values: &Lanes| {
                // The two highest bits are a byte's number for those who keep it there; the lanes are below.
                Cell::of(values.values[i] as u32 & 0x3fff_ffff)
            };
            let product = Multiplying {
                descriptor,
                ranks: self.group(form.pair, lane)?,
                d,
                a,
                b: SharedDescriptor::new(b.values[i]).map_err(failed)?,
                scales: scales.as_ref().map(|[a, b]| (of_scales(a), of_scales(b))),
                disabled: disabled.iter().map(|mask| mask.values[i] as u32).collect(),
                adds: adds.values[i] & 1 == 1,
                shift: multiply.shift,
                is_ring: self.program.is_ring,
            };
            self.begin(frame, lane, What::Multiply(Box::new(product)));
        }
        Ok(())
    }

    /// Arrivals when all that a thread began is done.
    fn commit_products(
        &mut self,
        frame: usize,
        active: u32,
        (object, generic): (&Location, bool),
        mask: Option<&Source>,
    ) -> Result<(), Fault> {
        let access = Access {
            space: if generic {
                Space::Generic
            } else {
                Space::Shared
            },
            location: object.clone(),
            bytes: 8,
        };
        let objects = self.objects(frame, active, &access, false)?;
        let masks = mask.map(|mask| self.values(frame, mask));
        for lane in lanes_of(active) {
            let (rank, place) = objects[lane as usize];
            let ranks: Vec<u32> = match &masks {
                None => vec![rank],
                Some(masks) => {
                    let mask = masks.values[lane as usize] as u16;
                    (0..16).filter(|rank| mask >> rank & 1 == 1).collect()
                }
            };
            if let Some(&missing) = ranks.iter().find(|&&rank| rank as usize >= self.ctas.len()) {
                return Err(misuse(
                    format!("is committed to CTA {missing}, which the cluster does not have"),
                    lane,
                ));
            }
            let warp = self.agent();
            let mut knows = self.order.snapshot(warp);
            let channel = self.order.channel(Channel::Tensor(warp, lane));
            let key = (self.warp.index, lane);
            let pipe = self.ctas[self.rank].tensor.pipes.entry(key).or_default();
            pipe.commits += 1;
            let stamp = (channel, pipe.commits);
            let mut steps = std::mem::take(&mut pipe.begun);
            for step in &mut steps {
                step.knows.learn(stamp.0, stamp.1);
            }
            knows.learn(stamp.0, stamp.1);
            let knows = Rc::new(knows);
            let mut after: Vec<u64> = pipe.last.into_iter().collect();
            let origin = self.origin(frame, lane);
            let mut operation: Box<dyn Operation> = Box::new(Batch { steps, stamp });
            for rank in ranks {
                let begun = Begun {
                    after: after.clone(),
                    origin,
                    operation,
                    signal: Signal::Arrival {
                        rank,
                        place,
                        count: 1,
                    },
                    knows: Rc::clone(&knows),
                    is_asynchronous: false,
                };
                let number = self.queue.push(begun);
                // What is done is done once; other arrivals come after it.
                operation = Box::new(NoOperation);
                after = vec![number];
            }
            if let [last] = after[..]
                && let Some(pipe) = self.ctas[self.rank].tensor.pipes.get_mut(&key)
            {
                pipe.last = Some(last);
            }
        }
        Ok(())
    }
}

const TENSOR_ADDRESS: &str = "an address of tensor memory";
/// The written bytes of a word whose lower half is.
const HALF: u8 = 0b0011;

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
