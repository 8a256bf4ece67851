//! One step of one strand.

mod bypass;
mod control;
mod copy;
mod exchange;
mod fragments;
mod matrix;
mod mbarrier;
mod memory;
mod quad_pairs;
mod synchronise;
mod tcgen05;
mod tensor;
mod tensormap;
mod warpgroup;

pub(crate) use matrix::ring_sum;

use super::context::{Context, Fault};
use super::{Lanes, State};
use crate::counts::Class;
use crate::finding::FindingKind;
use crate::instruction::{Action, Compute, Matrix, SOURCES, Source, Tcgen05, Warpgroup};

/// What stands for a source that is not there.
static NOTHING: Lanes = Lanes::splat(0);

/// What a step leaves.
pub(super) enum Outcome {
    /// The strand goes on behind the step, or was moved by it.
    Done,
    /// It waits at this step.
    Waits,
}

impl Context<'_> {
    /// Executes the next step of a strand. Gives the lanes that executed it.
    pub fn step(&mut self, strand: usize) -> Result<u32, Fault> {
        let own = self.warp.strands[strand];
        self.function = self.warp.frame(own.frame).function;
        let function = &self.program.functions[self.function];
        let Some(step) = function.steps.get(own.step) else {
            // Behind the last instruction there is a `ret`.
            self.return_from(strand, own.lanes);
            return Ok(own.lanes.count_ones());
        };
        self.place = step.place;
        self.along = own.lanes;
        let active = self.guarded(own, step.guard);
        if active != 0 && self.warp.strands.len() > 1 {
            self.goes_past_barriers(strand, step);
        }
        let outcome = match &step.action {
            Action::Compute(compute) => {
                self.compute(own.frame, active, compute);
                Outcome::Done
            }
            Action::Load(load) => self.load(own.frame, active, load)?,
            Action::Store(store) => self.store(own.frame, active, store)?,
            Action::Atomic(atomic) => self.atomic(own.frame, active, atomic)?,
            Action::Discard(access) => self.discard(own.frame, active, access)?,
            Action::Control(control) => {
                self.control(strand, active, control)?;
                self.count_instruction(&step.action);
                return Ok(active.count_ones());
            }
            Action::Synchronise(synchronise) => self.synchronise(strand, active, synchronise)?,
            Action::Exchange(exchange) => self.exchange(strand, active, exchange)?,
            Action::Matrix(matrix) => self.matrix(strand, active, matrix)?,
            Action::Mbarrier(mbarrier) => self.mbarrier(strand, active, mbarrier)?,
            Action::Copy(copy) => self.copy(strand, active, copy)?,
            Action::Tcgen05(instruction) => self.tcgen05(strand, active, instruction)?,
            Action::Warpgroup(warpgroup) => self.warpgroup(strand, active, warpgroup)?,
            Action::Tensormap(instruction) => self.tensormap(strand, active, instruction)?,
            Action::Nothing => Outcome::Done,
            Action::Refused(refusal) => {
                if active != 0 {
                    let reason = format!("'{}' {}", refusal.instruction, refusal.reason);
                    return Err(Fault {
                        kind: FindingKind::Refused { reason },
                        lane: active.trailing_zeros(),
                    });
                }
                Outcome::Done
            }
        };
        if let Some(reason) = self.early.take() {
            self.found.push(Fault {
                kind: FindingKind::Registers { reason },
                lane: active.trailing_zeros() & 31,
            });
        }
        match outcome {
            Outcome::Done => {
                self.count_instruction(&step.action);
                self.warp.strands[strand].step += 1;
                Ok(active.count_ones())
            }
            Outcome::Waits => {
                // Who waits for lanes comes to the step again; who waits for others is moved behind it by them.
                if !matches!(self.warp.strands[strand].state, State::Gathering { .. }) {
                    self.count_instruction(&step.action);
                }
                Ok(0)
            }
        }
    }

    fn count_instruction(&mut self, action: &Action) {
        let class = match action {
            Action::Compute(_) => Class::Arithmetic,
            Action::Load(_) | Action::Store(_) | Action::Atomic(_) | Action::Discard(_) => {
                Class::Memory
            }
            Action::Matrix(Matrix::Move(_)) => Class::Memory,
            Action::Control(_) => Class::Control,
            Action::Synchronise(_) | Action::Mbarrier(_) => Class::Synchronisation,
            Action::Exchange(_) => Class::Exchange,
            Action::Matrix(Matrix::Transpose { .. }) => Class::Exchange,
            Action::Matrix(Matrix::Multiply(_) | Matrix::QuadPairs(_)) => Class::Matrix,
            Action::Copy(_) => Class::Copy,
            Action::Tensormap(_) => Class::Memory,
            Action::Warpgroup(Warpgroup::Multiply(_)) => Class::Matrix,
            Action::Warpgroup(Warpgroup::Fence | Warpgroup::Commit | Warpgroup::Wait(_)) => {
                Class::Synchronisation
            }
            Action::Tcgen05(tcgen05) => match **tcgen05 {
                Tcgen05::Multiply(_) => Class::Matrix,
                Tcgen05::Load { .. } | Tcgen05::Store { .. } => Class::Memory,
                Tcgen05::Copy { .. } => Class::Copy,
                Tcgen05::Allocate { .. }
                | Tcgen05::Deallocate { .. }
                | Tcgen05::Relinquish { .. }
                | Tcgen05::WaitForLoads
                | Tcgen05::WaitForStores
                | Tcgen05::Fence
                | Tcgen05::Commit { .. } => Class::Synchronisation,
            },
            Action::Nothing | Action::Refused(_) => return,
        };
        self.ctas[self.rank].counts.instructions[class as usize] += 1;
    }

    fn compute(&mut self, frame: usize, active: u32, compute: &Compute) {
        if active == 0 {
            return;
        }
        // Registers are read where they are; other sources have their values made.
        let mut made = [None; SOURCES];
        for (source, made) in compute.sources.iter().zip(&mut made) {
            if !matches!(source, Source::Register(_)) {
                *made = Some(self.values(frame, source));
            }
        }
        let mut sources = [&NOTHING; SOURCES];
        for ((source, own), made) in compute.sources.iter().zip(&mut sources).zip(&made) {
            match (source, made) {
                (_, Some(made)) => *own = made,
                (&Source::Register(register), None) => *own = self.register(frame, register),
                _ => {}
            }
        }
        let count = compute.sources.len();
        let parts_written = match compute.parts {
            0 => u32::MAX,
            parts => sources[..parts]
                .iter()
                .fold(0, |all, own| all | own.written),
        };
        let written = sources[compute.parts..count]
            .iter()
            .fold(parts_written, |all, own| all & own.written);
        let values = sources.map(|own| &own.values);
        let unwritten = Lanes {
            values: [0; 32],
            written,
        };
        if let [destination] = compute.destinations[..] {
            let mut result = [unwritten];
            (compute.function)(active, &values, &mut result);
            self.set(frame, destination, active, &result[0]);
            return;
        }
        let mut results = [unwritten; 4];
        (compute.function)(active, &values, &mut results);
        for (&destination, result) in compute.destinations.iter().zip(&results) {
            self.set(frame, destination, active, result);
        }
    }

    /// Whether a whole warp is there for a step that needs one; else the strand waits for the rest.
    fn gathers_warp(&mut self, strand: usize, active: u32) -> Result<bool, Fault> {
        if !self.gathers(strand, active, self.warp.live()) {
            return Ok(false);
        }
        if active == u32::MAX {
            return Ok(true);
        }
        Err(Fault {
            kind: FindingKind::Divergence {
                found: active,
                expected: u32::MAX,
            },
            lane: active.trailing_zeros(),
        })
    }

    /// Whether all the lanes that a step needs are there; else the strand waits for them.
    fn gathers(&mut self, strand: usize, active: u32, needed: u32) -> bool {
        if needed & !active == 0 {
            let live = self.warp.live();
            self.warp.paths.synchronise(needed, live);
            return true;
        }
        self.warp.strands[strand].state = State::Gathering { needed };
        false
    }
}
