//! A warp: up to 32 lanes, the strands in which they go, the frames that they are in.

use super::asynchronous::Origin;
use super::frame::OfLanes;
use super::paths::Paths;
use super::{Frame, Lanes};
use crate::instruction::Family;
use crate::program::Register;
use crate::tcgen05::Cell;
use crate::tcgen05::fragment::Fragment;
use std::collections::{HashMap, HashSet};

/// Lanes at one step of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Strand {
    pub lanes: u32,
    pub frame: usize,
    pub step: usize,
    pub state: State,
}

/// Whether a strand can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It can.
    Ready,
    /// It waits for other lanes of its warp, so many as the step needs.
    Gathering { needed: u32 },
    /// It has come to a barrier.
    AtBarrier { barrier: u32 },
    /// It has come to the cluster's barrier.
    AtCluster,
    /// It waits for columns of tensor memory.
    AtAllocation { columns: u32 },
    /// It waits for an mbarrier's phase to end: the CTA's rank, the place, the phase.
    AtMbarrier { rank: u32, place: u64, phase: u64 },
}

/// A load or store of tensor memory: it is done when the warp waits for it.
pub(crate) enum Pending {
    Load {
        fragment: Fragment,
        first: Cell,
        origin: Origin,
        frame: usize,
        destinations: Vec<Option<Register>>,
    },
    Store {
        fragment: Fragment,
        first: Cell,
        origin: Origin,
        values: Vec<Lanes>,
    },
}

impl Pending {
    /// Where it was begun.
    pub fn origin(&self) -> Origin {
        match self {
            Self::Load { origin, .. } | Self::Store { origin, .. } => *origin,
        }
    }
}

/// A warp.
pub(crate) struct Warp {
    /// Its number in the CTA.
    pub index: u32,
    pub strands: Vec<Strand>,
    /// Free ones are `None`.
    pub frames: Vec<Option<Frame>>,
    /// Local memory of each lane.
    pub local: OfLanes,
    /// Groups of asynchronous work that each lane has committed, by family.
    pub groups: [[u64; 32]; Family::COUNT],
    /// Lanes that have come to the cluster's barrier in its phase.
    pub at_cluster: u32,
    /// Lines of waits for mbarriers that were answered once that the phase has not ended.
    pub denied: HashSet<u32>,
    /// Loads from tensor memory and stores to it that nobody waited for yet.
    pub pending: Vec<Pending>,
    /// What lanes did apart from others.
    pub paths: Paths,
    /// Registers of frames that asynchronous work is to write.
    held: HashMap<(usize, Register), Held>,
    /// Registers of frames that asynchronous work is to read, and how many works are.
    lent: HashMap<(usize, Register), u32>,
}

/// A register that asynchronous work is to write: it has no value meanwhile.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// The works.
    count: u32,
    /// The lanes whose value somebody has written.
    written: u32,
}

impl Warp {
    pub fn new(index: u32, all: u32, frame: Frame) -> Self {
        let strand = Strand {
            lanes: all,
            frame: 0,
            step: 0,
            state: State::Ready,
        };
        Self {
            index,
            strands: vec![strand],
            frames: vec![Some(frame)],
            local: OfLanes::default(),
            groups: [[0; 32]; Family::COUNT],
            at_cluster: 0,
            denied: HashSet::new(),
            pending: Vec::new(),
            paths: Paths::default(),
            held: HashMap::new(),
            lent: HashMap::new(),
        }
    }

    /// The lanes that have not come to their end.
    pub fn live(&self) -> u32 {
        self.strands
            .iter()
            .fold(0, |lanes, strand| lanes | strand.lanes)
    }

    /// A frame that lanes are in.
    pub fn frame(&self, index: usize) -> &Frame {
        self.frames[index]
            .as_ref()
            .expect("a strand's frame is not free")
    }

    pub fn frame_mut(&mut self, index: usize) -> &mut Frame {
        self.frames[index]
            .as_mut()
            .expect("a strand's frame is not free")
    }

    /// A frame, if lanes are in it still.
    pub fn frame_at(&self, index: usize) -> Option<&Frame> {
        self.frames.get(index)?.as_ref()
    }

    /// Registers that were written may be used by asynchronous work.
    pub fn fence_registers(&mut self) {
        self.frames.iter_mut().flatten().for_each(Frame::fence);
    }

    /// Whether a register was written since the last fence of registers, other than by asynchronous work.
    pub fn is_unfenced(&self, frame: usize, register: Register) -> bool {
        self.frame(frame).is_unfenced(register)
    }

    /// Whether asynchronous work is to write a register.
    #[inline]
    pub fn is_held(&self, frame: usize, register: Register) -> bool {
        !self.held.is_empty() && self.held.contains_key(&(frame, register))
    }

    /// Whether asynchronous work is to read a register.
    #[inline]
    pub fn is_lent(&self, frame: usize, register: Register) -> bool {
        !self.lent.is_empty() && self.lent.contains_key(&(frame, register))
    }

    /// Asynchronous work is to read a register.
    pub fn lend(&mut self, frame: usize, register: Register) {
        *self.lent.entry((frame, register)).or_default() += 1;
    }

    /// Asynchronous work has read a register.
    pub fn take_back(&mut self, frame: usize, register: Register) {
        if let Some(works) = self.lent.get_mut(&(frame, register)) {
            *works -= 1;
            if *works == 0 {
                self.lent.remove(&(frame, register));
            }
        }
    }

    /// Asynchronous work is to write a register.
    pub fn hold(&mut self, frame: usize, register: Register) {
        let own = self.frame_mut(frame).register_mut(register);
        let written = std::mem::take(&mut own.written);
        let held = self
            .held
            .entry((frame, register))
            .or_insert(Held { count: 0, written });
        held.count += 1;
    }

    /// What asynchronous work finds in a register that it is to write.
    pub fn held(&self, frame: usize, register: Register) -> Option<Lanes> {
        let held = self.held.get(&(frame, register))?;
        let mut lanes = *self.frame_at(frame)?.register(register);
        lanes.written = held.written;
        Some(lanes)
    }

    /// Asynchronous work writes a register that it held.
    pub fn give(&mut self, frame: usize, register: Register, lanes: &Lanes) {
        let Some(held) = self.held.get_mut(&(frame, register)) else {
            return;
        };
        held.written = lanes.written;
        held.count -= 1;
        let is_free = held.count == 0;
        if is_free {
            self.held.remove(&(frame, register));
        }
        if let Some(Some(own)) = self.frames.get_mut(frame) {
            let own = own.register_mut(register);
            *own = *lanes;
            if !is_free {
                own.written = 0;
            }
        }
    }

    /// Keeps a frame and gives its number.
    pub fn enter(&mut self, frame: Frame) -> usize {
        match self.frames.iter().position(Option::is_none) {
            Some(free) => {
                self.frames[free] = Some(frame);
                free
            }
            None => {
                self.frames.push(Some(frame));
                self.frames.len() - 1
            }
        }
    }

    /// Lanes leave a frame; without lanes it is free.
    pub fn leave(&mut self, index: usize, lanes: u32) {
        let frame = self.frame_mut(index);
        frame.lanes &= !lanes;
        if frame.lanes == 0 {
            self.frames[index] = None;
            self.held.retain(|(frame, _), _| *frame != index);
            self.lent.retain(|(frame, _), _| *frame != index);
        }
    }

    /// Makes one strand of those that are at one step and can go on. Those that gather are counted as able.
    pub fn merge(&mut self) {
        let mut at = 0;
        while at < self.strands.len() {
            let mut other = at + 1;
            while other < self.strands.len() {
                let (a, b) = (self.strands[at], self.strands[other]);
                let able = |state| matches!(state, State::Ready | State::Gathering { .. });
                if a.frame == b.frame && a.step == b.step && able(a.state) && able(b.state) {
                    self.strands[at].lanes |= b.lanes;
                    self.strands[at].state = State::Ready;
                    self.strands.swap_remove(other);
                } else {
                    other += 1;
                }
            }
            at += 1;
        }
    }

    /// How deep a frame's calls are.
    fn depth(&self, frame: usize) -> usize {
        let mut depth = 0;
        let mut caller = self.frame(frame).caller;
        while let Some((frame, _)) = caller {
            depth += 1;
            caller = self.frame(frame).caller;
        }
        depth
    }

    /// The strand that goes on: the one in the deepest call, of these the furthest behind; with `any` that one of the ready.
    pub fn next(&self, any: Option<usize>) -> Option<usize> {
        let ready = || (0..self.strands.len()).filter(|&i| self.strands[i].state == State::Ready);
        if self.strands.len() == 1 {
            return ready().next();
        }
        if let Some(any) = any {
            let count = ready().count().max(1);
            return ready().nth(any % count);
        }
        ready().min_by_key(|&i| {
            (
                std::cmp::Reverse(self.depth(self.strands[i].frame)),
                self.strands[i].step,
            )
        })
    }
}
