//! Loads of tensor memory into registers and stores from them: done when the warp waits for them.

use super::super::super::Lanes;
use super::super::super::context::{Context, Fault};
use super::super::super::shadow::{Accessor, Proxy, Stamp};
use super::super::super::warp::Pending;
use super::misuse;
use crate::instruction::Location;
use crate::memory::tensor::WHOLE;
use crate::tcgen05::Cell;
use crate::tcgen05::fragment::Fragment;

/// The written bytes of a word whose lower half is.
const HALF: u8 = 0b0011;

impl Context<'_> {
    /// The first word of a load or store, which must lie in the lanes that the warp reaches.
    pub(super) fn quadrant(
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
    pub(super) fn wait_for(&mut self, loads: bool) -> Result<(), Fault> {
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
                    let count = destinations.len() as u32;
                    self.touch_fragment((fragment, first), count, false, origin.place.line);
                    for (register, &destination) in destinations.iter().enumerate() {
                        let mut lanes = Lanes::splat(0);
                        for lane in 0..32 {
                            let cell = fragment.cell(lane, register as u32);
                            let cell = first.plus(cell.lane, cell.column);
                            let (value, written) = self.load_word(cell, fragment.halves, lane)?;
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
                    let count = values.len() as u32;
                    self.touch_fragment((fragment, first), count, true, origin.place.line);
                    for (register, lanes) in values.iter().enumerate() {
                        for lane in 0..32 {
                            let cell = fragment.cell(lane, register as u32);
                            let cell = first.plus(cell.lane, cell.column);
                            let value = lanes.values[lane as usize] as u32;
                            let written = lanes.written >> lane & 1 == 1;
                            self.store_word(cell, fragment.halves, lane, (value, written))?;
                        }
                    }
                }
                other => self.warp.pending.push(other),
            }
        }
        Ok(())
    }

    fn load_word(&self, cell: Cell, halves: bool, lane: u32) -> Result<(u32, bool), Fault> {
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
        lane: u32,
        (value, written): (u32, bool),
    ) -> Result<(), Fault> {
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

    /// Counts an access of the warp's own to so many registers' words, and notes it for the race checker: words of a lane that
    /// lie one behind the other as one.
    fn touch_fragment(
        &mut self,
        (fragment, first): (Fragment, Cell),
        registers: u32,
        writes: bool,
        line: u32,
    ) {
        let columns = 1 + u32::from(fragment.halves);
        let bytes = 4 * u64::from(32 * registers * columns);
        let counts = &mut self.ctas[self.rank].counts;
        counts.tensor.count(bytes, (!writes, writes));
        if self.shadow.is_none() {
            return;
        }
        let warp = self.agent();
        let (agent, clock) = self.order.warp(warp);
        let accessor = Accessor {
            stamp: Stamp::new(agent, clock, line, None),
            knows: self.order.knows(warp),
            warps: self.order.warps(),
            of_cta: self.order.warps() / self.ctas.len() as u32,
            proxy: Proxy::Generic,
        };
        let tensor = &mut self.ctas[self.rank].tensor;
        for lane in 0..32 {
            let place = |register| {
                let cell = fragment.cell(lane, register);
                first.plus(cell.lane, cell.column)
            };
            let mut register = 0;
            while register < registers {
                let begin = place(register);
                let mut run = 0;
                while register < registers && place(register) == begin.plus(0, run) {
                    run += columns;
                    register += 1;
                }
                if let Some(kind) = tensor.access(begin, (run, columns), writes, &accessor) {
                    self.found.push(Fault { kind, lane });
                }
            }
        }
    }
}
