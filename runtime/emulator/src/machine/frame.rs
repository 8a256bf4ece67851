//! A function being executed by lanes of a warp: their registers and its memory.

use crate::memory::Bytes;
use crate::program::{Formal, Function, Register};

/// A value of each lane of a warp.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lanes {
    pub values: [u64; 32],
    /// The lanes whose value somebody has written.
    pub written: u32,
}

impl Lanes {
    /// The same value in every lane.
    pub const fn splat(value: u64) -> Self {
        Self {
            values: [value; 32],
            written: u32::MAX,
        }
    }

    pub fn from_fn(mut value: impl FnMut(u32) -> u64) -> Self {
        Self {
            values: std::array::from_fn(|lane| value(lane as u32)),
            written: u32::MAX,
        }
    }

    /// The lanes whose value is not zero.
    pub fn mask(&self) -> u32 {
        (0..32).fold(0, |mask, lane| {
            mask | u32::from(self.values[lane] & 1 != 0) << lane
        })
    }
}

/// Memory that each lane of a warp has for itself; none until somebody needs it.
#[derive(Clone, Debug, Default)]
pub(crate) struct OfLanes(Vec<Bytes>);

/// The memory of a lane that has none.
static NOTHING: Bytes = Bytes::empty();

impl OfLanes {
    /// So many bytes each, which nobody has written.
    pub fn unwritten(bytes: usize) -> Self {
        match bytes {
            0 => Self::default(),
            _ => Self(vec![Bytes::unwritten(bytes); 32]),
        }
    }

    pub fn of(&self, lane: u32) -> &Bytes {
        self.0.get(lane as usize).unwrap_or(&NOTHING)
    }

    pub fn of_mut(&mut self, lane: u32) -> &mut Bytes {
        if self.0.is_empty() {
            self.0.resize(32, Bytes::empty());
        }
        &mut self.0[lane as usize]
    }
}

/// A call of a function.
pub(crate) struct Frame {
    /// Its number in the program.
    pub function: usize,
    /// The frame that called, and the step of the call; of a kernel none.
    pub caller: Option<(usize, usize)>,
    /// The lanes that are in it.
    pub lanes: u32,
    registers: Vec<Lanes>,
    /// Of each register, how many fences of registers there were when it was last written, and one more; 0 of one that
    /// never was.
    written_at: Vec<u32>,
    fences: u32,
    /// Of each lane; of a kernel its parameters are the launch's arguments.
    pub parameters: OfLanes,
    /// Where its variables begin in each lane's local memory.
    pub local: u64,
    /// Where the local memory of a function that it calls begins.
    pub local_end: u64,
}

impl Frame {
    pub fn new(
        index: usize,
        function: &Function,
        caller: Option<(usize, usize)>,
        lanes: u32,
        local: u64,
    ) -> Self {
        let unwritten = Lanes {
            values: [UNWRITTEN; 32],
            written: 0,
        };
        Self {
            function: index,
            caller,
            lanes,
            registers: vec![unwritten; function.registers],
            written_at: vec![0; function.registers],
            fences: 1,
            parameters: OfLanes::unwritten(own_parameters(function, caller.is_none()) as usize),
            local,
            local_end: (local + function.local_bytes).next_multiple_of(16),
        }
    }

    pub fn register(&self, register: Register) -> &Lanes {
        &self.registers[register.0 as usize]
    }

    /// What was written before may be used by asynchronous work.
    pub fn fence(&mut self) {
        self.fences += 1;
    }

    /// Whether a register was written since the last fence.
    pub fn is_unfenced(&self, register: Register) -> bool {
        self.written_at[register.0 as usize] == self.fences
    }

    /// A register, to be written by asynchronous work, which needs no fence.
    pub fn register_mut(&mut self, register: Register) -> &mut Lanes {
        &mut self.registers[register.0 as usize]
    }

    /// Writes the values of some lanes.
    pub fn set(&mut self, register: Register, lanes: u32, values: &Lanes) {
        self.written_at[register.0 as usize] = self.fences;
        let own = &mut self.registers[register.0 as usize];
        if lanes == u32::MAX {
            *own = *values;
            return;
        }
        for lane in lanes_of(lanes) {
            own.values[lane as usize] = values.values[lane as usize];
        }
        own.written = (own.written & !lanes) | (values.written & lanes);
    }
}

/// Bytes of parameter memory that each lane has for itself: none of a kernel that declares nothing beside its arguments.
fn own_parameters(function: &Function, is_kernel: bool) -> u64 {
    let end = |formal: &Formal| match *formal {
        Formal::Memory { offset, bytes } => offset + bytes,
        Formal::Register(_) => 0,
    };
    let arguments = function.parameters.iter().map(end).max();
    if is_kernel && arguments.unwrap_or(0) == function.parameter_bytes {
        0
    } else {
        function.parameter_bytes
    }
}

/// What a register reads as that nobody has written.
const UNWRITTEN: u64 = 0xfbfb_fbfb_fbfb_fbfb;

/// The lanes of a mask, the lowest first.
pub(crate) fn lanes_of(mut mask: u32) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let lane = mask.trailing_zeros();
        mask &= mask.wrapping_sub(1);
        (lane < 32).then_some(lane)
    })
}
