//! Branches, calls and ends.

use super::super::context::{Context, Fault};
use super::super::frame::lanes_of;
use super::super::{Frame, Lanes, State, Strand};
use crate::finding::FindingKind;
use crate::instruction::{Argument, Call, Callee, Control};
use crate::memory::address::Window;
use crate::program::Formal;

impl Context<'_> {
    pub(super) fn control(
        &mut self,
        strand: usize,
        active: u32,
        control: &Control,
    ) -> Result<(), Fault> {
        match control {
            Control::Branch(target) => self.branch(strand, active, *target),
            Control::IndexedBranch { targets, index } => {
                return self.indexed(strand, active, targets, index);
            }
            Control::Call(call) => return self.call(strand, active, call),
            // Nobody's end: all go on.
            Control::Return | Control::Exit | Control::Trap if active == 0 => {
                self.warp.strands[strand].step += 1;
            }
            Control::Return => {
                self.pass_by(strand, active);
                self.return_from(strand, active);
            }
            Control::Exit => {
                self.pass_by(strand, active);
                self.exit(strand, active);
            }
            Control::Trap => {
                return Err(Fault {
                    kind: FindingKind::Trap,
                    lane: active.trailing_zeros(),
                });
            }
        }
        Ok(())
    }

    /// The lanes of a strand that an instruction is not for go on behind it, as a strand of their own.
    fn pass_by(&mut self, strand: usize, active: u32) {
        let own = &mut self.warp.strands[strand];
        let others = own.lanes & !active;
        if others == 0 {
            return;
        }
        let other = Strand {
            lanes: others,
            step: own.step + 1,
            state: State::Ready,
            ..*own
        };
        own.lanes = active;
        self.warp.strands.push(other);
    }

    fn branch(&mut self, strand: usize, active: u32, target: usize) {
        if active == 0 {
            self.warp.strands[strand].step += 1;
            return;
        }
        self.pass_by(strand, active);
        self.warp.strands[strand].step = target;
    }

    fn indexed(
        &mut self,
        strand: usize,
        active: u32,
        targets: &[usize],
        index: &crate::instruction::Source,
    ) -> Result<(), Fault> {
        let own = self.warp.strands[strand];
        let indices = self.values(own.frame, index);
        self.need_written(&indices, active, "a branch's index");
        let mut left = active;
        for (number, &target) in targets.iter().enumerate() {
            let lanes = lanes_of(active)
                .filter(|&lane| indices.values[lane as usize] & 0xffff_ffff == number as u64);
            let lanes = lanes.fold(0, |mask, lane| mask | 1u32 << lane);
            if lanes != 0 {
                self.warp.strands.push(Strand {
                    lanes,
                    step: target,
                    state: State::Ready,
                    ..own
                });
            }
            left &= !lanes;
        }
        if left != 0 {
            let kind = FindingKind::Refused {
                reason: "'brx' has an index beyond its list of targets".into(),
            };
            return Err(Fault {
                kind,
                lane: left.trailing_zeros(),
            });
        }
        let rest = own.lanes & !active;
        if rest == 0 {
            self.warp.strands.swap_remove(strand);
        } else {
            self.warp.strands[strand] = Strand {
                lanes: rest,
                step: own.step + 1,
                ..own
            };
        }
        Ok(())
    }

    /// Lanes enter a function: all that call the same one together.
    fn call(&mut self, strand: usize, active: u32, call: &Call) -> Result<(), Fault> {
        if active == 0 {
            self.warp.strands[strand].step += 1;
            return Ok(());
        }
        self.pass_by(strand, active);
        let own = self.warp.strands[strand];
        let (callee, lanes) = match &call.callee {
            Callee::Function(index) => (*index, active),
            Callee::Indirect(source) => {
                let addresses = self.values(own.frame, source);
                self.need_written(&addresses, active, "a call's target");
                let first = addresses.values[active.trailing_zeros() as usize];
                let same =
                    lanes_of(active).filter(|&lane| addresses.values[lane as usize] == first);
                (
                    first.wrapping_sub(1) as usize,
                    same.fold(0, |mask, lane| mask | 1u32 << lane),
                )
            }
        };
        let refuse = |reason: String| Fault {
            kind: FindingKind::Refused { reason },
            lane: lanes.trailing_zeros(),
        };
        let Some(function) = self.program.functions.get(callee) else {
            return Err(refuse(
                "'call' goes to an address that no function has".into(),
            ));
        };
        if !function.is_defined {
            return Err(refuse(format!(
                "'call' goes to {}, which the module does not define",
                function.name
            )));
        }
        if function.parameters.len() != call.arguments.len()
            || function.results.len() < call.results.len()
        {
            return Err(refuse(format!(
                "'call' gives {} other arguments than it takes",
                function.name
            )));
        }
        if lanes != active {
            // The others call by themselves.
            self.warp.strands.push(Strand {
                lanes: active & !lanes,
                ..own
            });
            self.warp.strands[strand].lanes = lanes;
        }
        let local = self.warp.frame(own.frame).local_end;
        let mut frame = Frame::new(callee, function, Some((own.frame, own.step)), lanes, local);
        for (argument, formal) in call.arguments.iter().zip(&function.parameters) {
            self.pass(own.frame, argument, formal, &mut frame, lanes);
        }
        let end = frame.local_end;
        self.enter_local(lanes, local, end);
        let entered = self.warp.enter(frame);
        self.warp.strands[strand] = Strand {
            lanes,
            frame: entered,
            step: 0,
            state: State::Ready,
        };
        Ok(())
    }

    /// An argument becomes a parameter.
    fn pass(
        &self,
        caller: usize,
        argument: &Argument,
        formal: &Formal,
        frame: &mut Frame,
        lanes: u32,
    ) {
        match (argument, formal) {
            (
                Argument::Memory { offset, bytes },
                Formal::Memory {
                    offset: to,
                    bytes: size,
                },
            ) => {
                for lane in lanes_of(lanes) {
                    for byte in 0..*bytes.min(size) {
                        let read = self.read(caller, lane, Window::Parameter, offset + byte, 1);
                        let (value, written) = read.unwrap_or((0, false));
                        frame.parameters.of_mut(lane).write(
                            (to + byte) as usize,
                            1,
                            value,
                            written,
                        );
                    }
                }
            }
            (Argument::Value(source), Formal::Register(register)) => {
                frame.set(*register, lanes, &self.values(caller, source));
            }
            (Argument::Value(source), Formal::Memory { offset, bytes }) => {
                let values = self.values(caller, source);
                for lane in lanes_of(lanes) {
                    let written = values.written >> lane & 1 == 1;
                    let size = (*bytes).min(8) as usize;
                    frame.parameters.of_mut(lane).write(
                        *offset as usize,
                        size,
                        values.values[lane as usize],
                        written,
                    );
                }
            }
            (Argument::Memory { offset, bytes }, Formal::Register(register)) => {
                let mut lanes_read = Lanes::splat(0);
                for lane in lanes_of(lanes) {
                    let size = (*bytes).min(8) as usize;
                    let read = self.read(caller, lane, Window::Parameter, *offset, size);
                    let (value, written) = read.unwrap_or((0, false));
                    lanes_read.values[lane as usize] = value;
                    lanes_read.written &= !(u32::from(!written) << lane);
                }
                frame.set(*register, lanes, &lanes_read);
            }
        }
    }

    /// Lanes of a strand, which are all of it, go back to where their function was called; those of a kernel are at their
    /// end.
    pub(super) fn return_from(&mut self, strand: usize, lanes: u32) {
        let own = self.warp.strands[strand];
        if lanes == 0 {
            return;
        }
        let Some((caller, step)) = self.warp.frame(own.frame).caller else {
            self.exit(strand, lanes);
            return;
        };
        self.give_results(own.frame, caller, step, lanes);
        self.warp.leave(own.frame, lanes);
        self.warp.strands[strand] = Strand {
            lanes,
            frame: caller,
            step: step + 1,
            state: State::Ready,
        };
    }

    /// A function's results become the call's.
    fn give_results(&mut self, from: usize, to: usize, step: usize, lanes: u32) {
        let program = self.program;
        let function = &program.functions[self.warp.frame(from).function];
        let caller = &program.functions[self.warp.frame(to).function];
        let crate::instruction::Action::Control(Control::Call(call)) = &caller.steps[step].action
        else {
            return;
        };
        for (formal, result) in function.results.iter().zip(&call.results) {
            match (formal, result) {
                (
                    Formal::Memory { offset, bytes },
                    Argument::Memory {
                        offset: to_offset,
                        bytes: size,
                    },
                ) => {
                    for lane in lanes_of(lanes) {
                        for byte in 0..*bytes.min(size) {
                            let read = self
                                .warp
                                .frame(from)
                                .parameters
                                .of(lane)
                                .read((offset + byte) as usize, 1);
                            let value = read.unwrap_or((0, false));
                            self.write(to, lane, Window::Parameter, to_offset + byte, 1, value);
                        }
                    }
                }
                (
                    Formal::Register(register),
                    Argument::Value(crate::instruction::Source::Register(destination)),
                ) => {
                    let values = *self.warp.frame(from).register(*register);
                    self.set(to, Some(*destination), lanes, &values);
                }
                // A result in memory to a register, or the other way round, is no PTX.
                _ => {}
            }
        }
    }

    /// Lanes come to their end. Whoever waits for all that are left must look again.
    fn exit(&mut self, strand: usize, lanes: u32) {
        if lanes == 0 {
            return;
        }
        let mut frame = Some(self.warp.strands[strand].frame);
        while let Some(index) = frame {
            frame = self.warp.frame(index).caller.map(|(caller, _)| caller);
            self.warp.leave(index, lanes);
        }
        self.warp.strands.swap_remove(strand);
        for other in &mut self.warp.strands {
            if matches!(other.state, State::Gathering { .. }) {
                other.state = State::Ready;
            }
        }
    }
}
