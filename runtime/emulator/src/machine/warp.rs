//! A warp: up to 32 lanes, the strands in which they go, the frames that they are in.

use super::asynchronous::Origin;
use super::{Frame, Lanes};
use crate::instruction::Family;
use crate::memory::Bytes;
use crate::program::Register;
use crate::tcgen05::Cell;
use crate::tcgen05::fragment::Fragment;

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
    pub local: Vec<Bytes>,
    /// Groups of asynchronous work that each lane has committed, by family.
    pub groups: [[u64; 32]; Family::COUNT],
    /// Lanes that have come to the cluster's barrier in its phase.
    pub at_cluster: u32,
    /// Loads from tensor memory and stores to it that nobody waited for yet.
    pub pending: Vec<Pending>,
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
            local: vec![Bytes::default(); 32],
            groups: [[0; 32]; Family::COUNT],
            at_cluster: 0,
            pending: Vec::new(),
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
